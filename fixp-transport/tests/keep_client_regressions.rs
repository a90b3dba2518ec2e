//! Defects of the clients over UDP that a review found, each as the test that showed it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::keep::caller::{self, Action, Caller, Options, Port, Repeat, Security};
use fixp_transport::keep::pieces::{Form, Mark, Pieces};
use fixp_transport::keep::{self, Requester, control, requester};
use fixp_transport::{Cause, tables, udp};

const SECOND: Duration = Duration::from_secs(1);

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 6600))
}

fn me() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 40_000))
}

fn request(dialect: &Dialect, size: usize) -> Packet {
    let code = if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
    Packet::new(code).with_entity(vec![7; size])
}

/// An answer of one piece.
fn answer(dialect: &'static Dialect, identity: i32) -> Bytes {
    let okay = Packet::new(tables::of(dialect).okay).with_entity(vec![9; 5]);
    Pieces::cut(dialect, okay, Form::of_answer(dialect, identity)).unwrap().datagram(0).unwrap()
}

fn cancelled(dialect: &'static Dialect) -> Bytes {
    control::cancelled(dialect, None, false).unwrap()
}

/// The identity of a piece; nothing for CANCEL.
fn identity(dialect: &'static Dialect, bytes: &[u8]) -> Option<Mark> {
    Mark::of(dialect, &Decoder::new(dialect).packet(bytes).unwrap())
}

/// Opens the ports that it wants.
fn open(caller: &mut Caller, now: Instant) -> Vec<Port> {
    let mut opened = Vec::new();
    while let Some(action) = caller.poll_action() {
        if let Action::Open { port, .. } = action {
            caller.handle_bound(now, port, Ok(me()), None);
            opened.push(port);
        }
    }
    opened
}

#[test]
fn times_that_the_clock_cannot_say() {
    let now = Instant::now();
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut config = caller::Config::new(dialect);
        (config.timeout, config.settle, config.query_every) = (Duration::MAX, Duration::MAX, Duration::MAX);
        config.peer_expiry = Duration::MAX;
        let mut caller = Caller::new(config, 1);
        let repeat = Repeat::Harmless;
        let plain = Packet::new(tables::of(dialect).exit);
        let mut buffer = Vec::new();
        for timeout in [None, Some(Duration::MAX)] {
            for packet in [request(dialect, 10), plain.clone()] {
                caller
                    .request(now, peer(), packet, Options { timeout, repeat, ..Options::default() })
                    .unwrap();
                open(&mut caller, now);
                assert!(caller.poll_transmit(now, &mut buffer, 1).is_some());
                assert!(caller.poll_timeout().is_some());
            }
        }
        assert_eq!(caller.stats().in_flight, 4);
        caller.close(now);
        caller.clear();
        assert_eq!((caller.stats().in_flight, caller.stats().held), (0, 0));
    }
}

#[tokio::test]
async fn times_that_no_timer_can_say() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let keep = keep::Client::builder().dialect(dialect).timeout(Duration::MAX);
        let keep = keep.configure(|config| config.query_every = Duration::MAX).build();
        let udp = udp::Client::builder().dialect(dialect).timeout(Duration::MAX).configure(|config| {
            (config.settle, config.query_every, config.quarantine) =
                (Duration::MAX, Duration::MAX, Duration::MAX);
            config.peer_expiry = Duration::MAX;
        });
        let udp = udp.build();
        let timeout = Some(Duration::MAX);
        let options = Options { timeout, repeat: Repeat::Harmless, ..Options::default() };
        let repeat = udp::Repeat::Harmless { times: 2, every: Duration::MAX };
        let plain = udp::Options { timeout, repeat, ..udp::Options::default() };
        // Nobody listens there.
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let silent = silent.local_addr().unwrap();
        let asked = async {
            tokio::join!(
                keep.request_with(silent, request(dialect, 10), options),
                keep.exit(silent),
                udp.request_with(silent, request(dialect, 10), plain),
                udp.exit(silent),
            )
        };
        assert!(tokio::time::timeout(SECOND / 20, asked).await.is_err());
        assert_eq!((keep.stats().in_flight, udp.stats().in_flight), (0, 0));
    }
}

/// A client may outlive the runtime that it was made in.
#[test]
fn without_its_task_a_client_is_closed() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (keep, udp) = first.block_on(async {
        (keep::Client::builder().dialect(&LEXST1).build(), udp::Client::builder().dialect(&LEXST1).build())
    });
    // One is asked before the task is gone, and one after.
    let before = {
        let _here = first.enter();
        let (keep, udp) = (keep.clone(), udp.clone());
        runtime().block_on(async move {
            let log = request(&LEXST1, 10);
            let asked =
                async { tokio::join!(keep.request(peer(), log.clone()), udp.request(peer(), log.clone())) };
            tokio::pin!(asked);
            assert!(tokio::time::timeout(SECOND / 100, &mut asked).await.is_err());
            first.shutdown_background();
            tokio::time::timeout(5 * SECOND, asked).await
        })
    };
    let (by_keep, by_udp) = before.unwrap();
    assert_eq!([by_keep.unwrap_err().cause, by_udp.unwrap_err().cause], [Cause::Closed; 2]);
    runtime().block_on(async move {
        let log = request(&LEXST1, 10);
        let asked =
            async { tokio::join!(keep.request(peer(), log.clone()), udp.request(peer(), log.clone())) };
        let (by_keep, by_udp) = tokio::time::timeout(5 * SECOND, asked).await.unwrap();
        assert_eq!([by_keep.unwrap_err().cause, by_udp.unwrap_err().cause], [Cause::Closed; 2]);
    });
}

/// Where there is no room for more exchanges, those that wait have their turn, and are not all looked at each time.
#[test]
fn many_peers_that_wait_are_not_searched() {
    let now = Instant::now();
    let mut config = caller::Config::new(&LEXST1);
    config.extensions = false;
    let mut caller = Caller::new(config, 1);
    let many = 10_000;
    for n in 0..many {
        let peer = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + n), 5000));
        caller.request(now, peer, request(&LEXST1, 10), Options::default()).unwrap();
    }
    let mut buffer = Vec::new();
    let mut ended = 0;
    while ended < many {
        open(&mut caller, now);
        let sent = caller.poll_transmit(now, &mut buffer, 1).unwrap();
        caller.handle_transmitted(now, &sent, buffer.len(), Ok(()));
        let says = match identity(&LEXST1, &buffer) {
            Some(mark) => answer(&LEXST1, mark.identity),
            None => cancelled(&LEXST1),
        };
        caller.handle_datagram(now, sent.port, sent.to, &says);
        while let Some((_, outcome)) = caller.poll_event() {
            outcome.unwrap();
            ended += 1;
        }
        if ended % 100 == 0 {
            let looked = caller.stats().looked;
            assert!(looked < 4 * u64::from(many) + 1000, "{looked} looks, {ended} ended");
        }
    }
}

/// What is reserved for exchanges under way refuses no request: who finds none waits in the queue.
#[test]
fn many_peers_at_once_are_not_refused() {
    let now = Instant::now();
    let mut config = caller::Config::new(&LEXST1);
    config.extensions = false;
    let bytes = config.bytes;
    let mut caller = Caller::new(config, 1);
    let many = 16_000;
    let mut buffer = Vec::new();
    let mut asked = VecDeque::new();
    for n in 0..many {
        let peer = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + n), 5000));
        caller.request(now, peer, request(&LEXST1, 1), Options::default()).unwrap();
        open(&mut caller, now);
        while let Some(sent) = caller.poll_transmit(now, &mut buffer, 1) {
            caller.handle_transmitted(now, &sent, buffer.len(), Ok(()));
            asked.push_back((sent, identity(&LEXST1, &buffer).unwrap()));
        }
    }
    let stats = caller.stats();
    assert!(stats.waiting > 0 && asked.len() >= 1000, "{} under way, {stats:?}", asked.len());
    let mut answers = 0;
    while let Some((asks, mark)) = asked.pop_front() {
        caller.handle_datagram(now, asks.port, asks.to, &answer(&LEXST1, mark.identity));
        while let Some((_, outcome)) = caller.poll_event() {
            outcome.unwrap();
            answers += 1;
        }
        while let Some(sent) = caller.poll_transmit(now, &mut buffer, 1) {
            caller.handle_transmitted(now, &sent, buffer.len(), Ok(()));
            match identity(&LEXST1, &buffer) {
                Some(mark) => asked.push_back((sent, mark)),
                None => caller.handle_datagram(now, sent.port, sent.to, &cancelled(&LEXST1)),
            }
        }
    }
    let stats = caller.stats();
    assert_eq!((answers, stats.in_flight, stats.held), (many, 0, 0), "{stats:?}");
    assert!(stats.held_most <= bytes, "{stats:?}");
}

/// A laxcus6 program keeps the half of a request that nobody cancels, and refuses the next one of that port.
#[test]
fn after_a_dropped_call_the_next_one_works() {
    let mut now = Instant::now();
    let begun = now;
    let mut config = caller::Config::new(&LAXCUS6);
    (config.extensions, config.security, config.ports) = (false, Security::Unasked, 1);
    let mut caller = Caller::new(config, 1);
    let dropped = caller.request(now, peer(), request(&LAXCUS6, 1 << 20), Options::default()).unwrap();
    let port = open(&mut caller, now)[0];
    // The program: one group for a port, that of the identity that came first; CANCEL clears it.
    let (mut group, mut has, mut cancels) = (None, BTreeSet::new(), 0);
    let mut buffer = Vec::new();
    let mut waiting = true;
    loop {
        caller.handle_timeout(now);
        while let Some(sent) = caller.poll_transmit(now, &mut buffer, 1) {
            caller.handle_transmitted(now, &sent, buffer.len(), Ok(()));
            let Some(mark) = identity(&LAXCUS6, &buffer) else {
                (group, cancels) = (None, cancels + 1);
                has.clear();
                caller.handle_datagram(now, port, peer(), &cancelled(&LAXCUS6));
                continue;
            };
            if *group.get_or_insert(mark.identity) == mark.identity {
                has.insert(mark.index);
                if has.len() == mark.count as usize {
                    caller.handle_datagram(now, port, peer(), &answer(&LAXCUS6, mark.identity));
                }
            }
        }
        if std::mem::take(&mut waiting) {
            assert!(has.len() > 10 && group.is_some(), "a part of the first has left");
            caller.cancel(now, dropped);
            caller.request(now, peer(), request(&LAXCUS6, 1000), Options::default()).unwrap();
            continue;
        }
        if let Some((_, outcome)) = caller.poll_event() {
            outcome.unwrap();
            break;
        }
        now += SECOND / 100;
    }
    assert!(now - begun < SECOND && cancels > 0, "{:?}, {cancels} CANCEL", now - begun);
}

/// What a peer has said of its pace by what it lost is known to the next exchange with it, from whatever port; and
/// what it took without a loss.
#[test]
fn the_pace_of_a_peer_is_remembered() {
    let [here, there] = [[127, 0, 0, 1], [192, 0, 2, 1]].map(|ip| SocketAddr::from((ip, 6600)));
    for (dialect, peer) in [(&LEXST1, here), (&LAXCUS6, here), (&LEXST1, there), (&LAXCUS6, there)] {
        let mut now = Instant::now();
        let mut config = caller::Config::new(dialect);
        (config.extensions, config.security) = (false, Security::Unasked);
        let mut caller = Caller::new(config, 1);
        let mut buffer = Vec::new();
        let mut took = Vec::new();
        for _ in 0..2 {
            caller.request(now, peer, request(dialect, 1 << 20), Options::default()).unwrap();
            open(&mut caller, now);
            let (begun, mut has) = (now, BTreeSet::new());
            let (port, mark) = loop {
                let Some(sent) = caller.poll_transmit(now, &mut buffer, 1) else {
                    now = now.max(caller.poll_timeout().unwrap());
                    caller.handle_timeout(now);
                    continue;
                };
                caller.handle_transmitted(now, &sent, buffer.len(), Ok(()));
                // CANCEL of the one before is no piece.
                let Some(mark) = identity(dialect, &buffer) else { continue };
                has.insert(mark.index);
                if has.len() == mark.count as usize {
                    break (sent.port, mark);
                }
            };
            took.push(now - begun);
            // It has lost some, or not, and answers when it has them.
            let loses = peer == here;
            let lost = control::retry(dialect, None, mark.identity, &[1, 2, 3]).unwrap();
            if loses {
                caller.handle_datagram(now, port, peer, &lost);
            }
            caller.handle_datagram(now, port, peer, &answer(dialect, mark.identity));
            caller.poll_event().unwrap().1.unwrap();
        }
        let learned = if peer == here { took[1] > took[0] * 3 / 2 } else { took[0] > took[1] * 3 / 2 };
        assert!(learned, "{} {peer}: {took:?}", dialect.name());
    }
}

/// Datagrams that are written together, for the system to take at once, are the same as one by one.
#[test]
fn pieces_written_together() {
    let now = Instant::now();
    for dialect in [&LEXST1, &LAXCUS6] {
        let config = requester::Config::new(dialect);
        let [mut single, mut many] = [(); 2].map(|()| {
            let mut requester = Requester::new(config.clone(), peer());
            requester.request(now, request(dialect, 200_000)).unwrap();
            // The last of them, which is shorter, is asked for before others.
            let count = 200_000_u32.div_ceil(480) - 1 + dialect.first_serial();
            let again = control::retry(dialect, None, config.identity, &[1, count, 300, 2]).unwrap();
            let pieces = std::iter::from_fn(|| requester.poll_transmit(now)).count();
            assert!(pieces > 50, "a part has left");
            requester.handle_datagram(now, peer(), &again);
            requester
        });
        let (mut later, mut left) = (now, 0);
        loop {
            let mut buffer = vec![1, 2, 3];
            let segment = many.poll_transmit_into(later, &mut buffer, 7, 3000);
            let (before, datagrams) = buffer.split_at(3);
            assert_eq!(before, [1, 2, 3]);
            assert!(datagrams.len() <= 3000 && datagrams.len() <= 7 * segment);
            for datagram in datagrams.chunks(segment.max(1)) {
                assert_eq!(single.poll_transmit(later).unwrap().bytes, datagram);
                left += 1;
            }
            if segment == 0 {
                assert!(single.poll_transmit(later).is_none());
                let Some(next) = many.poll_timeout().filter(|&next| next < now + 30 * SECOND) else { break };
                later = next;
                assert_eq!(single.poll_timeout(), Some(next));
                many.handle_timeout(later);
                single.handle_timeout(later);
            }
        }
        assert!(left > 250, "{left}");
    }
}

fn local(number: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], number))
}

/// With one port, and nothing but exchanges.
fn of_one_port(dialect: &'static Dialect) -> Caller {
    let mut config = caller::Config::new(dialect);
    (config.extensions, config.security, config.ports) = (false, Security::Unasked, 1);
    Caller::new(config, 1)
}

/// The port that is to be opened: nothing else is to be done.
fn wanted(caller: &mut Caller) -> Port {
    let Some(Action::Open { port, v6: false }) = caller.poll_action() else { panic!("no port is wanted") };
    assert_eq!(caller.poll_action(), None);
    port
}

/// Sends all that is to be sent, and tells from which port and to whom that went; the last of it.
fn sends(caller: &mut Caller, now: Instant) -> Option<(Port, SocketAddr, Bytes)> {
    let (mut buffer, mut last) = (Vec::new(), None);
    while let Some(sent) = caller.poll_transmit(now, &mut buffer, 1) {
        caller.handle_transmitted(now, &sent, buffer.len(), Ok(()));
        last = Some((sent.port, sent.to, Bytes::copy_from_slice(&buffer)));
    }
    last
}

/// The same where that is a piece or another request, and with the identity of it.
fn asks(caller: &mut Caller, dialect: &'static Dialect, now: Instant) -> (Port, SocketAddr, i32) {
    let (port, to, bytes) = sends(caller, now).unwrap();
    (port, to, identity(dialect, &bytes).unwrap().identity)
}

/// SPEC 9.14: an exchange that was given up is in nobody's way, once the peer has been told: another port takes the
/// place of its own, is open before that is closed, and has another number; one that comes again is not used.
#[test]
fn a_port_takes_the_place_of_one_that_was_left() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut now = Instant::now();
        let mut caller = of_one_port(dialect);
        let options = Options { timeout: Some(100 * SECOND), ..Options::default() };
        let mut open = None;
        for number in [1, 2] {
            let ticket = caller.request(now, peer(), request(dialect, 1000), options).unwrap();
            let port = wanted(&mut caller);
            caller.handle_bound(now, port, Ok(local(number)), None);
            assert_eq!(caller.poll_action(), open.replace(port).map(Action::Close));
            assert_eq!(asks(&mut caller, dialect, now).0, port);
            caller.cancel(now, ticket);
            assert_eq!(caller.poll_action(), None);
            let cancel = sends(&mut caller, now).unwrap();
            assert_eq!((cancel.0, identity(dialect, &cancel.2)), (port, None));
        }
        // Whoever does not want to wait need not.
        let options = Options { wait: false, ..options };
        caller.request(now, peer(), request(dialect, 1000), options).unwrap();
        for _ in 0..3 {
            let port = wanted(&mut caller);
            caller.handle_bound(now, port, Ok(local(1)), None);
            // The other one is still there, for other peers.
            assert_eq!((caller.poll_action(), caller.stats().ports), (Some(Action::Close(port)), 1));
            now += caller::Config::REOPEN;
            caller.handle_timeout(now);
            assert!(sends(&mut caller, now).is_none_or(|sent| identity(dialect, &sent.2).is_none()));
        }
        let port = wanted(&mut caller);
        caller.handle_bound(now, port, Ok(local(3)), None);
        assert_eq!(caller.poll_action(), open.map(Action::Close));
        let (from, to, identity) = asks(&mut caller, dialect, now);
        assert_eq!((from, to), (port, peer()));
        caller.handle_datagram(now, port, peer(), &answer(dialect, identity));
        assert!(caller.poll_event().unwrap().1.is_ok());
        sends(&mut caller, now);
        caller.handle_datagram(now, port, peer(), &cancelled(dialect));
        let spoilt = if dialect.name() == "lexst1" { 2 } else { 0 };
        let stats = caller.stats();
        assert_eq!((stats.ports, stats.spoilt, stats.held), (1, spoilt, 0), "{stats:?}");
    }
}

/// A port that one peer holds something for is as good as any for another, and lives as long as that one uses it.
#[test]
fn a_port_that_another_peer_uses_is_not_closed() {
    let (now, other) = (Instant::now(), SocketAddr::from(([192, 0, 2, 2], 6600)));
    let mut caller = of_one_port(&LEXST1);
    let ticket = caller.request(now, peer(), request(&LEXST1, 10), Options::default()).unwrap();
    let first = wanted(&mut caller);
    caller.handle_bound(now, first, Ok(local(1)), None);
    asks(&mut caller, &LEXST1, now);
    caller.cancel(now, ticket);
    sends(&mut caller, now);
    caller.handle_datagram(now, first, peer(), &cancelled(&LEXST1));
    assert_eq!(caller.poll_action(), None);

    caller.request(now, other, request(&LEXST1, 10), Options::default()).unwrap();
    let (from, to, identity) = asks(&mut caller, &LEXST1, now);
    assert_eq!((from, to), (first, other));
    caller.request(now, peer(), request(&LEXST1, 10), Options::default()).unwrap();
    let second = wanted(&mut caller);
    caller.handle_bound(now, second, Ok(local(2)), None);
    let (from, to, _) = asks(&mut caller, &LEXST1, now);
    assert_eq!((from, to, caller.poll_action()), (second, peer(), None));

    caller.handle_datagram(now, first, other, &answer(&LEXST1, identity));
    assert!(caller.poll_event().unwrap().1.is_ok());
    sends(&mut caller, now);
    assert_eq!(caller.poll_action(), None);
    caller.handle_datagram(now, first, other, &cancelled(&LEXST1));
    assert_eq!((caller.poll_action(), caller.stats().ports), (Some(Action::Close(first)), 1));
}

/// The same of requests of one datagram, whose answer may come late; one that has come is not in the way for more than
/// 20 ms, and no reason for another port.
#[test]
fn a_port_takes_the_place_of_one_with_a_late_answer() {
    let now = Instant::now();
    let mut caller = of_one_port(&LAXCUS6);
    let test = || Packet::new(laxcus6::notify::TEST);
    let answer = Packet::new(laxcus6::answer::ACCEPTED).to_bytes(&LAXCUS6).unwrap();
    let ticket = caller.request(now, peer(), test(), Options::default()).unwrap();
    let first = wanted(&mut caller);
    caller.handle_bound(now, first, Ok(local(1)), None);
    assert_eq!(sends(&mut caller, now).unwrap().0, first);
    caller.cancel(now, ticket);
    assert_eq!(caller.poll_action(), None);

    for _ in 0..2 {
        caller.request(now, peer(), test(), Options::default()).unwrap();
    }
    let second = wanted(&mut caller);
    caller.handle_bound(now, second, Ok(local(2)), None);
    assert_eq!(caller.poll_action(), Some(Action::Close(first)));
    assert_eq!(sends(&mut caller, now).unwrap().0, second);
    caller.handle_datagram(now, second, peer(), &answer);
    assert!(caller.poll_event().unwrap().1.is_ok());
    assert_eq!((caller.poll_action(), sends(&mut caller, now)), (None, None));
    let now = now + udp::Config::SETTLE;
    caller.handle_timeout(now);
    assert_eq!(sends(&mut caller, now).unwrap().0, second);

    caller.request(now, peer(), test(), Options::default()).unwrap();
    assert_eq!(caller.poll_action(), None);
    let now = now + 30 * SECOND;
    caller.handle_timeout(now);
    assert!(caller.poll_event().unwrap().1.is_err());
    caller.request(now, peer(), test(), Options::default()).unwrap();
    let third = wanted(&mut caller);
    caller.handle_bound(now, third, Ok(local(1)), None);
    assert_eq!((caller.poll_action(), sends(&mut caller, now)), (Some(Action::Close(third)), None));
}

/// CANCEL after an answer is mostly answered at once, and no reason for another port; where it is lost, one is there
/// after a second.
#[test]
fn an_end_that_is_not_heard_of_is_in_the_way_for_a_second() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut now = Instant::now();
        let mut caller = of_one_port(dialect);
        for _ in 0..2 {
            caller.request(now, peer(), request(dialect, 10), Options::default()).unwrap();
        }
        let first = wanted(&mut caller);
        caller.handle_bound(now, first, Ok(local(1)), None);
        let (_, _, asked) = asks(&mut caller, dialect, now);
        caller.handle_datagram(now, first, peer(), &answer(dialect, asked));
        assert!(caller.poll_event().unwrap().1.is_ok());
        let (from, _, cancel) = sends(&mut caller, now).unwrap();
        assert_eq!((from, identity(dialect, &cancel)), (first, None));
        let answered = now;
        while now < answered + caller::Config::END {
            assert_eq!(caller.poll_action(), None);
            now = caller.poll_timeout().unwrap();
            caller.handle_timeout(now);
        }
        assert_eq!(now, answered + caller::Config::END);
        let second = wanted(&mut caller);
        caller.handle_bound(now, second, Ok(local(2)), None);
        assert_eq!(caller.poll_action(), Some(Action::Close(first)));
        assert_eq!(asks(&mut caller, dialect, now).0, second);
    }
}
