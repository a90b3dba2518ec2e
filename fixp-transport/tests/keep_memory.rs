//! What is booked for KEEP UDP is at least what the machines take, wherever the exchanges come from.
//!
//! The counter is of the thread, so tests beside each other do not count.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/hostile.rs"]
mod hostile;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use fixp_codec::{Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::keep::own::{Config, Endpoint};
use fixp_transport::keep::pieces::{Form, Pieces};
use fixp_transport::keep::{Ledger, Limits, Responder, responder};
use fixp_transport::tables;

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

#[allow(unsafe_code)]
// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + layout.size().cast_signed());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size().cast_signed());
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const COUNT: u32 = 2500;
/// What there may be once, whoever comes: prefixes and their budgets, addresses and their paces.
const FIXED: usize = 2 << 20;

/// Where the peers are.
#[derive(Clone, Copy, Debug)]
enum From {
    /// Each in a network of its own, in their order or not.
    Networks,
    Scattered,
    Downwards,
    /// Each at an address or port beside the last one's.
    Neighbours,
    Ports,
}

const ALL: [From; 5] = [From::Networks, From::Scattered, From::Downwards, From::Neighbours, From::Ports];

impl From {
    fn peer(self, nth: u32) -> SocketAddr {
        let (address, port) = match self {
            Self::Networks => (nth << 8, 4000),
            Self::Scattered => ((nth.wrapping_mul(0x9e37_79b1) & 0x00ff_ffff) << 8, 4000),
            Self::Downwards => ((1 << 23) - (nth << 8), 4000),
            Self::Neighbours => (nth, 4000),
            Self::Ports => (0, 1024 + nth as u16),
        };
        SocketAddr::from((std::net::Ipv4Addr::from(address.wrapping_add(0x0a00_0000)), port))
    }
}

fn code(dialect: &Dialect) -> fixp_codec::Code {
    if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG }
}

fn piece(dialect: &'static Dialect, size: usize, index: u32) -> Bytes {
    let packet = Packet::new(code(dialect)).with_entity(vec![7; size]);
    Pieces::cut(dialect, packet, Form::of_request(dialect, 1)).unwrap().datagram(index).unwrap()
}

/// Fills a machine, and compares. Tells what each takes.
fn measure(
    what: &str,
    dialect: &'static Dialect,
    from: From,
    fill: impl Fn(&mut Responder, Instant, SocketAddr),
) {
    let now = Instant::now();
    let limits = Limits { bytes: 1 << 30, ..Limits::default() };
    let rates = fixp_transport::keep::budget::Rates { prefixes: 16, ..Default::default() };
    let before = LIVE.get();
    let config = responder::Config { limits, rates, ..responder::Config::new(dialect) };
    let mut machine = Responder::new(config);
    for nth in 0..COUNT {
        fill(&mut machine, now, from.peer(nth));
    }
    let (real, booked) = ((LIVE.get() - before).unsigned_abs(), machine.held());
    drop(machine);
    assert_eq!(LIVE.get(), before);
    println!("{what}, {from:?}: {} each, {} booked", real / COUNT as usize, booked / COUNT as usize);
    // The paces that were learned have a bound of their own.
    assert!(real <= booked + (192 << 10), "{what}, {from:?}: {real} bytes, {booked} booked");
}

fn drain(machine: &mut Responder, now: Instant) {
    while machine.poll_transmit(now).is_some() {}
}

#[test]
fn requests_on_their_way() {
    let datagram = piece(&LAXCUS6, 481, 1);
    for from in ALL {
        measure("one piece of two", &LAXCUS6, from, |machine, now, peer| {
            machine.handle_datagram(now, peer, &datagram);
            drain(machine, now);
        });
    }
    let datagrams = [0, 1, 2].map(|index| piece(&LEXST1, 1900, index));
    measure("three pieces of four", &LEXST1, From::Scattered, |machine, now, peer| {
        for datagram in &datagrams {
            machine.handle_datagram(now, peer, datagram);
        }
        drain(machine, now);
    });
}

#[test]
fn requests_that_are_executed() {
    let datagram = piece(&LAXCUS6, 1, 0);
    for from in ALL {
        measure("not taken yet", &LAXCUS6, from, |machine, now, peer| {
            machine.handle_datagram(now, peer, &datagram);
            drain(machine, now);
        });
        measure("executed", &LAXCUS6, from, |machine, now, peer| {
            machine.handle_datagram(now, peer, &datagram);
            let _ = machine.poll_event();
            drain(machine, now);
        });
        measure("without an answer", &LAXCUS6, from, |machine, now, peer| {
            machine.handle_datagram(now, peer, &datagram);
            let event = machine.poll_event().unwrap();
            machine.answer(now, event.ticket, None).unwrap();
            drain(machine, now);
        });
        measure("answered", &LAXCUS6, from, |machine, now, peer| {
            machine.handle_datagram(now, peer, &datagram);
            let event = machine.poll_event().unwrap();
            machine.answer(now, event.ticket, Some(Packet::new(tables::of(&LAXCUS6).okay))).unwrap();
            drain(machine, now);
        });
        measure("answered, and not sent", &LAXCUS6, from, |machine, now, peer| {
            machine.handle_datagram(now, peer, &datagram);
            let event = machine.poll_event().unwrap();
            machine.answer(now, event.ticket, Some(Packet::new(tables::of(&LAXCUS6).okay))).unwrap();
        });
    }
    let several = [2, 3, 4, 5].map(|size| piece(&LAXCUS6, size, 0));
    measure("in the place of others", &LAXCUS6, From::Scattered, |machine, now, peer| {
        for datagram in &several {
            machine.handle_datagram(now, peer, datagram);
            let _ = machine.poll_event();
            let _ = machine.poll_cancelled();
            drain(machine, now);
        }
    });
}

/// Which piece comes as this one of so many.
type Order = fn(u32, u32) -> u32;

#[test]
fn the_pieces_of_a_large_request() {
    let packet = Packet::new(code(&LAXCUS6)).with_entity(vec![7; 300_000]);
    let form = Form { size: 10, ..Form::of_request(&LAXCUS6, 1) };
    let pieces = Pieces::cut(&LAXCUS6, packet, form).unwrap();
    let count = pieces.count() - 1;
    let orders: [(&str, Order); 3] = [
        ("upwards", |nth, _| nth),
        ("downwards", |nth, count| count - nth),
        ("scattered", |nth, count| (u64::from(nth) * 7919 % u64::from(count)) as u32),
    ];
    for (what, order) in orders {
        let now = Instant::now();
        let before = LIVE.get();
        let mut machine = Responder::new(responder::Config::new(&LAXCUS6));
        for nth in 0..count {
            machine.handle_datagram(now, From::Ports.peer(0), &pieces.datagram(order(nth, count)).unwrap());
            drain(&mut machine, now);
        }
        let (real, booked) = ((LIVE.get() - before).unsigned_abs(), machine.held());
        println!("{what}: {} each, {} booked", real / count as usize, booked / count as usize);
        assert!(real <= booked + 1024, "{what}: {real} bytes, {booked} booked");
    }
}

/// The default bound is one of memory, whoever fills it.
#[test]
fn the_bound() {
    for (bytes, count, sources) in [(Limits::BYTES, 70_000, &ALL[..1]), (1 << 20, 5000, &ALL[..])] {
        for &from in sources {
            let now = Instant::now();
            let before = LIVE.get();
            let limits = Limits { bytes, ..Limits::default() };
            let mut machine =
                Responder::new(responder::Config { limits, ..responder::Config::new(&LAXCUS6) });
            let [begun, whole] = [(481, 1), (10, 0)].map(|(size, index)| piece(&LAXCUS6, size, index));
            let mut most = 0;
            for nth in 0..count {
                machine.handle_datagram(now, from.peer(nth), if nth % 3 == 0 { &begun } else { &whole });
                if let Some(event) = machine.poll_event() {
                    let answer = (nth % 3 == 1).then(|| Packet::new(tables::of(&LAXCUS6).okay));
                    let _ = machine.answer(now, event.ticket, answer);
                }
                drain(&mut machine, now);
                assert!(machine.held() <= bytes);
                most = most.max(LIVE.get() - before);
            }
            println!("{bytes}, {from:?}: {most} at most, {} exchanges", machine.exchanges());
            assert!(most.unsigned_abs() <= bytes + FIXED, "{from:?}: {most} bytes of {bytes}");
        }
    }
}

/// The same of the own transport.
#[test]
fn associations() {
    for from in [From::Networks, From::Scattered, From::Downwards] {
        let now = Instant::now();
        let count = 1000;
        let ledger = Ledger::new(1 << 30);
        let before = LIVE.get();
        let config = || Config { half_open: COUNT as usize, ..Config::default() };
        let mut server = Endpoint::new(config(), ledger.clone(), 1);
        for nth in 0..COUNT {
            let open = hostile::open(u64::from(nth) + 1, &[]);
            server.handle_datagram(now, from.peer(nth), &LAXCUS6, &open);
            drop(hostile::drain(&mut server, now));
        }
        let (real, booked) = ((LIVE.get() - before).unsigned_abs(), ledger.held());
        println!("half open, {from:?}: {} each, {} booked", real / COUNT as usize, booked / COUNT as usize);
        assert!(real <= booked + (32 << 10), "half open, {from:?}: {real} bytes, {booked} booked");
        drop(server);

        let before = LIVE.get();
        let mut server = Endpoint::new(config(), ledger.clone(), 1);
        for nth in 0..count {
            let peer = from.peer(nth);
            let opened = hostile::Hostile::try_open(&mut server, now, peer, u64::from(nth) + 1, &[]);
            opened.unwrap().send(&mut server, now, &[], vec![1]);
            drop(hostile::drain(&mut server, now));
        }
        let (real, booked) = ((LIVE.get() - before).unsigned_abs(), ledger.held());
        println!(
            "associations, {from:?}: {} each, {} booked",
            real / count as usize,
            booked / count as usize
        );
        assert!(real <= booked + (32 << 10), "associations, {from:?}: {real} bytes, {booked} booked");
        drop(server);
        assert_eq!(ledger.held(), 0);
    }
}
