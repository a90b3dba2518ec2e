//! Our requester and our responder over a network that loses, doubles and reorders, on a virtual clock: every
//! request ends in its answer or a truthful error, data equal, executed at most once, bounds kept, nothing left.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, Policy, laxcus6, lexst1};
use fixp_laboratory::{LinkConfig, Random, Wire};
use fixp_transport::keep::pieces::{Bounds, Form, Gather, Mark, Pieces};
use fixp_transport::keep::{Limits, Requester, Responder, requester, responder};
use fixp_transport::{Cause, Fate};
use proptest::prelude::*;

const MILLI: Duration = Duration::from_millis(1);

#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    lexst1: bool,
    loss: f64,
    duplicate: f64,
    reorder: f64,
    /// Of each client: the sizes of its requests, one after the other.
    clients: Vec<Vec<usize>>,
    /// From when on nothing passes for a while.
    partition: Option<(u64, u64)>,
    bytes: usize,
    /// The client gives up early.
    timeout: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = prop::collection::vec(prop_oneof![Just(0), 1..2000usize, 480..20_000usize], 1..4);
    (
        (any::<u64>(), any::<bool>(), 0.0..0.3f64, 0.0..0.3f64, 0.0..0.3f64),
        prop::collection::vec(sizes, 1..5),
        prop::option::weighted(0.2, (0..5000u64, 100..200_000u64)),
        prop_oneof![4 => Just(Limits::BYTES), 1 => 2_000..60_000usize],
        prop_oneof![4 => Just(120_000u64), 1 => 1..20_000u64],
    )
        .prop_map(|((seed, lexst1, loss, duplicate, reorder), clients, partition, bytes, timeout)| {
            Case { seed, lexst1, loss, duplicate, reorder, clients, partition, bytes, timeout }
        })
}

fn request(dialect: &Dialect, tag: u32, size: usize) -> Packet {
    let code = if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
    let entity = Random::new(u64::from(tag)).bytes(size);
    Packet::new(code).with(5001, tag.cast_signed()).with_entity(entity)
}

fn answer_to(dialect: &Dialect, request: &Packet) -> Packet {
    let okay = fixp_transport::tables::of(dialect).okay;
    let entity: Vec<u8> = request.entity.iter().rev().copied().collect();
    Packet::new(okay).with(5001, request.first(5001).unwrap().clone()).with_entity(entity)
}

fn run(case: &Case) {
    println!("seed {}", case.seed);
    let dialect: &'static Dialect = if case.lexst1 { &LEXST1 } else { &LAXCUS6 };
    let server: SocketAddr = "10.0.0.100:6600".parse().unwrap();
    let mut wire = Wire::new(case.seed);
    wire.set_capture_limit(0);
    let link = LinkConfig::default().with_delay(10 * MILLI).with_jitter(20 * MILLI);
    wire.set_links(
        link.with_loss(case.loss).with_duplicate(case.duplicate).with_reorder(case.reorder, 80 * MILLI),
    );
    let mut work = Random::new(case.seed ^ 1);
    let limits = Limits { bytes: case.bytes, ..Limits::default() };
    let mut answering = Responder::new(responder::Config { limits, ..responder::Config::new(dialect) });

    struct Client {
        at: SocketAddr,
        machine: Requester,
        left: Vec<usize>,
        asked: Option<Packet>,
    }
    let client = |(nth, sizes): (usize, &Vec<usize>)| Client {
        at: SocketAddr::from(([10, 0, 0, nth as u8 + 1], 4000)),
        machine: Requester::new(
            requester::Config {
                timeout: Duration::from_millis(case.timeout),
                ..requester::Config::new(dialect)
            },
            server,
        ),
        left: sizes.clone(),
        asked: None,
    };
    let mut clients: Vec<Client> = case.clients.iter().enumerate().map(client).collect();

    let start = Instant::now();
    let mut now = Duration::ZERO;
    let mut next_tag = 0;
    let mut executed: HashMap<u32, u32> = HashMap::new();
    let mut working: Vec<(Duration, responder::Ticket, Packet)> = Vec::new();
    let (mut answered, mut failed) = (0, 0);
    let mut healed = case.partition.is_none();
    loop {
        if let Some((from, length)) = case.partition {
            let (from, length) = (Duration::from_millis(from), Duration::from_millis(length));
            for client in &clients {
                if now >= from + length {
                    wire.heal(client.at.ip(), server.ip());
                    healed = true;
                } else if now >= from {
                    wire.partition(client.at.ip(), server.ip());
                }
            }
        }
        while let Some(delivery) = wire.poll(now) {
            if delivery.to == server {
                answering.handle_datagram(start + now, delivery.from, &delivery.bytes);
            } else if let Some(client) = clients.iter_mut().find(|client| client.at == delivery.to) {
                client.machine.handle_datagram(start + now, delivery.from, &delivery.bytes);
            }
            assert!(answering.held() <= case.bytes, "{} of {}", answering.held(), case.bytes);
        }
        answering.handle_timeout(start + now);
        while let Some(event) = answering.poll_event() {
            let tag = event.packet.first(5001).unwrap().as_i32().unwrap().cast_unsigned();
            *executed.entry(tag).or_default() += 1;
            assert_eq!(executed[&tag], 1, "executed at most once");
            let sent = request(dialect, tag, event.packet.entity.len());
            assert_eq!(event.packet.entity, sent.entity);
            working.push((
                now + work.duration(2000 * MILLI),
                event.ticket,
                answer_to(dialect, &event.packet),
            ));
        }
        working.retain(|(at, ticket, answer)| {
            if *at <= now {
                // With little room the answer is refused, and the client told nothing: it ends by its own time.
                let _ = answering.answer(start + now, *ticket, Some(answer.clone()));
            }
            *at > now
        });
        assert!(answering.held() <= case.bytes);
        while let Some(sent) = answering.poll_transmit(start + now) {
            wire.send(now, server, sent.to, sent.bytes);
        }
        for client in &mut clients {
            client.machine.handle_timeout(start + now);
            while let Some(outcome) = client.machine.poll_event() {
                let asked = client.asked.take().unwrap();
                let tag = asked.first(5001).unwrap().as_i32().unwrap().cast_unsigned();
                match outcome {
                    Ok(answer) => {
                        assert_eq!(answer, answer_to(dialect, &asked));
                        assert_eq!(executed.get(&tag), Some(&1));
                        answered += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.cause, Cause::Timeout);
                        assert!(error.fate == Fate::PossiblyExecuted || !executed.contains_key(&tag));
                        failed += 1;
                    }
                }
            }
            if client.machine.is_idle() && !client.left.is_empty() {
                if client.machine.is_spoilt() {
                    // As its user would: another port.
                    client.at.set_port(client.at.port() + 1);
                    client.machine = Requester::new(
                        requester::Config {
                            timeout: Duration::from_millis(case.timeout),
                            ..requester::Config::new(dialect)
                        },
                        server,
                    );
                }
                let packet = request(dialect, next_tag, client.left.remove(0));
                next_tag += 1;
                client.machine.request(start + now, packet.clone()).unwrap();
                client.asked = Some(packet);
            }
            while let Some(sent) = client.machine.poll_transmit(start + now) {
                wire.send(now, client.at, sent.to, sent.bytes);
            }
        }
        let timers = clients.iter().filter_map(|client| client.machine.poll_timeout());
        let timers = timers.chain(answering.poll_timeout()).map(|at| at - start);
        let next = timers
            .chain(wire.next_time())
            .chain(working.iter().map(|(at, ..)| *at))
            .chain(case.partition.filter(|_| !healed).map(|(from, length)| {
                let from = Duration::from_millis(from);
                if now < from { from } else { from + Duration::from_millis(length) }
            }))
            .min();
        let Some(next) = next else { break };
        now = next.max(now);
        assert!(now < Duration::from_secs(3600), "it ends");
    }
    let asked: usize = case.clients.iter().map(Vec::len).sum();
    assert_eq!(answered + failed, asked);
    assert_eq!((answering.held(), answering.exchanges()), (0, 0));
    assert!(clients.iter().all(|client| client.machine.held() == 0));
    // With time, room and a network that lets something through nothing fails.
    let easy = case.bytes == Limits::BYTES && case.timeout == 120_000 && case.partition.is_none();
    if easy && case.loss < 0.15 {
        assert_eq!(failed, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_ends(case in cases()) {
        run(&case);
    }

    /// Whatever the packet, its pieces are those that the codec writes of it, and make it again in any order.
    #[test]
    fn pieces_are_the_codecs(
        sizes in (0..3000usize, 1..700usize),
        (lexst1, answer, bound) in any::<(bool, bool, bool)>(),
        (identity, timeout) in (any::<i32>(), 0..100_000u64),
        values in prop::collection::vec((any::<u16>(), any::<i64>(), prop::collection::vec(any::<u8>(), 1..40)), 0..6),
        seed in any::<u64>(),
    ) {
        let dialect: &'static Dialect = if lexst1 { &LEXST1 } else { &LAXCUS6 };
        let (entity, size) = sizes;
        let mut packet = if answer {
            Packet::new(fixp_transport::tables::of(dialect).okay)
        } else {
            request(dialect, 1, 0)
        };
        packet.entity = Random::new(seed).bytes(entity).into();
        let own = |key: u16| (3000..3010).contains(&key) || key == dialect.content_length_key() || key == 2103;
        for (key, number, bytes) in values {
            if !own(key) {
                packet = packet.with(key, number).with(key, bytes);
            }
        }
        let bind_ip = bound.then(|| "10.0.0.1".parse().unwrap());
        let timeout = Duration::from_millis(timeout);
        let form = Form { identity, timeout, size, bind_ip };
        let pieces = Pieces::cut(dialect, packet.clone(), form).unwrap();
        let whole = if lexst1 && bound { packet.clone().with(2103, "10.0.0.1") } else { packet.clone() };
        let mut indexes: Vec<u32> = (0..pieces.count()).collect();
        indexes.sort_by_key(|&index| Random::new(seed ^ u64::from(index)).below(1 << 30));
        let mut gather: Option<Gather> = None;
        let mut wire = vec![1, 2, 3];
        for index in indexes {
            let datagram = pieces.datagram(index).unwrap();
            prop_assert!(datagram.len() <= pieces.longest());
            wire.truncate(3);
            prop_assert!(pieces.write_into(&mut wire, index));
            prop_assert_eq!(&wire[3..], &datagram[..]);
            let read = Decoder::new(dialect).with_policy(Policy::Strict).packet(&datagram).unwrap();
            // Built by hand: the codec's packet of these messages in this order.
            let number = |number: u32| number.cast_signed();
            let count = (3001, number(pieces.count()));
            let serial = (3002, number(dialect.first_serial() + index));
            let identity = (3000, identity);
            let mut keys = if answer && !lexst1 { vec![identity, count, serial] } else { vec![count, serial, identity] };
            keys.push((3003, i32::try_from(timeout.as_millis()).unwrap()));
            if !lexst1 {
                keys.push((3004, 60_000));
            }
            let mut by_hand = Packet::new(packet.code);
            let last = lexst1 && answer && packet.entity.is_empty();
            if last {
                by_hand.messages.clone_from(&packet.messages);
            }
            for (key, value) in keys {
                by_hand = by_hand.with(key, value);
            }
            by_hand.messages.extend(whole.messages.iter().skip(if last { packet.messages.len() } else { 0 }).cloned());
            let begin = (index as usize * size).min(packet.entity.len());
            by_hand.entity = packet.entity.slice(begin..(begin + size).min(packet.entity.len()));
            prop_assert_eq!(&by_hand.to_bytes(dialect).unwrap(), &datagram);
            let mark = Mark::of(dialect, &read).unwrap();
            gather.get_or_insert_with(|| Gather::new(mark)).add(mark, &read, 0, Bounds::default());
        }
        prop_assert!(!pieces.write_into(&mut wire, pieces.count()));
        prop_assert_eq!(gather.unwrap().join(dialect).unwrap(), whole);
    }

    /// Anything at all into both machines: no panic, bounds kept, an end.
    #[test]
    fn arbitrary_datagrams(
        datagrams in prop::collection::vec((0..3u8, prop::collection::vec(any::<u8>(), 0..80), any::<[i32; 4]>(), 0..5000u64), 0..60),
        lexst1 in any::<bool>(),
    ) {
        let dialect: &'static Dialect = if lexst1 { &LEXST1 } else { &LAXCUS6 };
        let peer: SocketAddr = "10.0.0.1:4000".parse().unwrap();
        let limits = Limits { bytes: 8000, ..Limits::default() };
        let mut answering = Responder::new(responder::Config { limits, ..responder::Config::new(dialect) });
        let mut asking = Requester::new(requester::Config::new(dialect), peer);
        let mut now = Instant::now();
        let begin = now;
        asking.request(now, request(dialect, 1, 2000)).unwrap();
        for (kind, raw, [identity, count, serial, timeout], pause) in datagrams {
            now += Duration::from_millis(pause);
            let bytes = match kind {
                0 => raw.into(),
                _ => {
                    let code = if kind == 1 { request(dialect, 1, 0).code } else { fixp_transport::tables::of(dialect).okay };
                    // Small numbers half of the time.
                    let small = |number: i32, of: i32| if number & 1 == 0 { number } else { (number >> 1).rem_euclid(of) };
                    Packet::new(code)
                        .with(3001, small(count, 5))
                        .with(3002, small(serial, 5))
                        .with(3000, small(identity, 3))
                        .with(3003, timeout)
                        .with_entity(raw)
                        .to_bytes(dialect)
                        .unwrap()
                }
            };
            for _ in 0..2 {
                answering.handle_datagram(now, peer, &bytes);
                asking.handle_datagram(now, peer, &bytes);
                prop_assert!(answering.held() <= 8000);
            }
            while answering.poll_timeout().is_some_and(|at| at <= now) {
                answering.handle_timeout(now);
            }
            while asking.poll_timeout().is_some_and(|at| at <= now) {
                asking.handle_timeout(now);
            }
            let mut out = 0;
            while answering.poll_transmit(now).is_some() { out += 1; }
            while asking.poll_transmit(now).is_some() { out += 1; }
            prop_assert!(out < 200);
            if serial & 1 == 0 && let Some(event) = answering.poll_event() {
                let _ = answering.answer(now, event.ticket, Some(event.packet));
            }
        }
        while let Some(event) = answering.poll_event() {
            let _ = answering.answer(now, event.ticket, None);
        }
        while let Some(at) = [answering.poll_timeout(), asking.poll_timeout()].into_iter().flatten().min() {
            now = at;
            answering.handle_timeout(now);
            asking.handle_timeout(now);
            while answering.poll_transmit(now).is_some() {}
            while asking.poll_transmit(now).is_some() {}
        }
        prop_assert!(now - begin < Duration::from_secs(1800));
        prop_assert_eq!((answering.held(), answering.exchanges(), asking.held()), (0, 0, 0));
    }
}
