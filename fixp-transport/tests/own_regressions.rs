//! Defects of the own transport that a review found, each as the test that showed it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/hostile.rs"]
mod hostile;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fixp_codec::{LAXCUS6, Packet, Value, laxcus6};
use fixp_transport::Fate;
use fixp_transport::extension::{CLOSE, Capabilities, key};
use fixp_transport::keep::Ledger;
use fixp_transport::keep::caller::{self, Action, Caller, Options, Port};
use fixp_transport::keep::own::{Config, Endpoint, Entity, Event};
use hostile::{Hostile, attacker, drain, log, packet, sender};

const MILLI: Duration = Duration::from_millis(1);

fn client_at() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 4000))
}

fn server_at() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 6600))
}

fn request(size: usize) -> Packet {
    Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(vec![7; size])
}

fn endpoint(seed: u64) -> Endpoint {
    Endpoint::new(Config::default(), Ledger::new(64 << 20), seed)
}

/// What each has to send comes to the other at once.
fn pass(client: &mut Endpoint, server: &mut Endpoint, now: Instant) {
    loop {
        let (out, back) = (drain(client, now), drain(server, now));
        if out.is_empty() && back.is_empty() {
            return;
        }
        for (_, bytes) in out {
            server.handle_datagram(now, client_at(), &LAXCUS6, &bytes);
        }
        for (_, bytes) in back.into_iter().filter(|(to, _)| *to == client_at()) {
            client.handle_datagram(now, server_at(), &LAXCUS6, &bytes);
        }
    }
}

/// SPEC 10.12: a request was taken back while OPEN was under way. The client says all the same that it is there, or
/// the server would forget the association after a while, and the next request would be lost.
#[test]
fn an_association_that_was_opened_for_nothing() {
    let mut now = Instant::now();
    let (mut client, mut server) = (endpoint(2), endpoint(1));
    let association = client.connect(now, server_at(), &LAXCUS6);
    let ticket = client.request(now, association, request(0)).unwrap();
    client.cancel(now, ticket);
    pass(&mut client, &mut server, now);
    assert_eq!(server.stats().associations, 1);
    for _ in 0..4500 {
        now += 10 * MILLI;
        client.handle_timeout(now);
        server.handle_timeout(now);
        pass(&mut client, &mut server, now);
    }
    client.request(now, association, request(0)).unwrap();
    pass(&mut client, &mut server, now);
    assert!(matches!(server.poll_event(), Some(Event::Request { .. })), "{:?}", client.poll_event());
}

/// SPEC 10.13: an acknowledgement that rode on a probe of the path would be lost with it.
#[test]
fn an_acknowledgement_does_not_ride_on_a_probe_of_the_path() {
    let mut now = Instant::now();
    let mut server = endpoint(1);
    let mut hostile = Hostile::open(&mut server, now, attacker(1), &[]);
    let request = log(0);
    hostile.send(&mut server, now, &[[1, 2, 0, request.len() as u64]], request.clone());
    let Some(Event::Request { ticket, .. }) = server.poll_event() else { panic!("no request") };
    let answer = Packet::new(laxcus6::answer::OKAY).with_entity(vec![7; 100_000]);
    server.answer(now, ticket, Some(answer)).unwrap();
    let mut out = Vec::new();
    assert!(server.poll_transmit(now, &mut out, 1).is_some());
    // The next request comes while the first answer goes out.
    hostile.send(&mut server, now, &[[2, 2, 0, request.len() as u64]], request);
    let mut told = Vec::new();
    for _ in 0..100 {
        now += MILLI;
        server.handle_timeout(now);
        let sent = drain(&mut server, now);
        told.extend(
            sent.iter().map(|(_, sent)| (sent.len(), packet(sent).first(key::ACKNOWLEDGED).cloned())),
        );
    }
    let of_second = |(len, acknowledged): &(usize, Option<Value>)| {
        *len <= 1200 && matches!(acknowledged, Some(Value::Raw(raw)) if raw.first() == Some(&1))
    };
    assert!(told.iter().any(of_second), "a path of 1200 bytes never hears of the second request: {told:?}");
    assert!(told.iter().all(|(len, acknowledged)| *len <= 1200 || acknowledged.is_none()), "{told:?}");
}

/// A caller and a server of ours say all there is to say. Gives how many answers came.
fn turn(caller: &mut Caller, server: &mut Endpoint, port: &mut Option<Port>, now: Instant) -> usize {
    let mut buffer = Vec::new();
    for _ in 0..50 {
        while let Some(action) = caller.poll_action() {
            if let Action::Open { port: new, .. } = action {
                *port = Some(new);
                caller.handle_bound(now, new, Ok(client_at()), None);
            }
        }
        while let Some(sent) = caller.poll_transmit(now, &mut buffer, 1) {
            let datagram = buffer.clone();
            caller.handle_transmitted(now, &sent, datagram.len(), Ok(()));
            if sent.to != server_at() || server.handle_datagram(now, client_at(), &LAXCUS6, &datagram) {
                continue;
            }
            let we = Capabilities::OURS.with(Capabilities::OWN_KEEP);
            let notify = Packet::new(laxcus6::answer::SECURE_NOTIFY).with_entity(vec![0; 4]);
            let notify = notify.with(key::CAPABILITIES, we.in_answer()).to_bytes(&LAXCUS6).unwrap();
            caller.handle_datagram(now, port.unwrap(), server_at(), &notify);
        }
        while let Some(event) = server.poll_event() {
            if let Event::Request { ticket, .. } = event {
                server.answer(now, ticket, Some(Packet::new(laxcus6::answer::OKAY))).unwrap();
            }
        }
        for (_, bytes) in drain(server, now) {
            caller.handle_datagram(now, port.unwrap(), server_at(), &bytes);
        }
    }
    std::iter::from_fn(|| caller.poll_event()).filter(|(_, outcome)| outcome.is_ok()).count()
}

/// A client's socket listens to strangers. They cannot open associations there, and fill its ledger with requests
/// that nobody will ever answer.
#[test]
fn strangers_at_the_socket_of_a_client() {
    let now = Instant::now();
    let mut server = endpoint(1);
    let mut caller = Caller::new(caller::Config::new(&LAXCUS6), 1);
    caller.request(now, server_at(), request(1000), Options::default()).unwrap();
    let mut port = None;
    assert_eq!(turn(&mut caller, &mut server, &mut port, now), 1);
    let port_now = port.unwrap();
    let mut opened = 0;
    for nth in 0..5_u16 {
        let at = attacker(nth + 1);
        caller.handle_datagram(now, port_now, at, &hostile::open(9, &[]));
        let mut number = None;
        let mut out = Vec::new();
        while let Some(sent) = caller.poll_transmit(now, &mut out, 1) {
            caller.handle_transmitted(now, &sent, out.len(), Ok(()));
            number = number.or_else(|| sender(&packet(&out)).filter(|_| sent.to == at));
        }
        let Some(number) = number else { continue };
        opened += 1;
        let mut one = Hostile::of(at, number);
        // Each the whole window of an association: 256 KiB to be gathered and no end of it.
        let request = log(1_000_000);
        for (exchange, part) in (1..=16).flat_map(|exchange| (0..20).map(move |part| (exchange, part))) {
            let from = part * 50_000;
            let part = request[from..from + 50_000].to_vec();
            let segment = one.chunks(&[[exchange, 0, from as u64, 50_000]], part);
            caller.handle_datagram(now, port_now, at, &segment);
        }
    }
    assert_eq!(opened, 0);
    for _ in 0..5 {
        caller.request(now, server_at(), request(1000), Options::default()).unwrap();
    }
    assert_eq!(turn(&mut caller, &mut server, &mut port, now), 5);
    assert!(caller.stats().held < 1 << 20, "strangers hold {} bytes of a client", caller.stats().held);
}

/// SPEC 10.19: requests that never come to their end make room for others, however many of them one client has.
#[test]
fn requests_without_an_end_lock_nobody_out() {
    let mut now = Instant::now();
    let mut server = Endpoint::new(Config::default(), Ledger::new(8 << 20), 1);
    let mut hostile = Hostile::open(&mut server, now, attacker(1), &[]);
    let mut client = endpoint(2);
    // Requests of 200 KB of which the last bytes never come.
    let endless = log(200_000);
    let begin = |server: &mut Endpoint, hostile: &mut Hostile, now, number: u64| {
        for at in [0, 50_000] {
            hostile.send(server, now, &[[number, 0, at, 50_000]], endless[..50_000].to_vec());
        }
        drain(server, now);
    };
    (1..=200).for_each(|number| begin(&mut server, &mut hostile, now, number));
    let association = client.connect(now, server_at(), &LAXCUS6);
    let (mut executed, mut number) = (0, 200);
    for round in 0..60_000_u64 {
        now += MILLI;
        if round % 10_000 == 0 {
            client.request(now, association, request(200_000).with(key::DEADLINE, 9000)).unwrap();
        }
        // The hostile one comes again now and then, with what room there is.
        if round % 100 == 0 {
            number = if number >= 256 { 200 } else { number + 1 };
            begin(&mut server, &mut hostile, now, number);
        }
        client.handle_timeout(now);
        server.handle_timeout(now);
        pass(&mut client, &mut server, now);
        while let Some(event) = server.poll_event() {
            if let Event::Request { ticket, peer, .. } = event {
                executed += usize::from(peer == client_at());
                server.answer(now, ticket, Some(Packet::new(laxcus6::answer::OKAY))).unwrap();
            }
        }
    }
    assert_eq!(executed, 6);
}

/// SPEC 10.19: a request of which nothing comes any more is refused, and one that takes for ever.
#[test]
fn requests_that_stand_still_are_forgotten() {
    for (every, most) in [(1000, 80), (30, 620)] {
        let mut now = Instant::now();
        let ledger = Ledger::new(8 << 20);
        let mut server = Endpoint::new(Config::default(), ledger.clone(), 1);
        let mut hostile = Hostile::open(&mut server, now, attacker(1), &[]);
        let endless = log(200_000);
        hostile.send(&mut server, now, &[[1, 0, 0, 50_000]], endless[..50_000].to_vec());
        for second in 1..=most {
            assert!(ledger.held() > 50_000 || second + 20 > most, "{second} of {most}");
            now += 1000 * MILLI;
            // It lives, and a byte more of it comes now and then.
            let chunk = [1, 0, 49_999 + second / every, 1];
            if second % every == 0 {
                hostile.send(&mut server, now, &[chunk], vec![7]);
            } else {
                hostile.send(&mut server, now, &[], vec![7]);
            }
            server.handle_timeout(now);
            drain(&mut server, now);
        }
        assert!(ledger.held() < 50_000, "{} after {most} s", ledger.held());
        assert_eq!((server.stats().refused, server.stats().associations), (1, 1));
    }
}

/// SPEC 10.19: the clients of one network have no more than a part of all associations.
#[test]
fn one_network_does_not_take_all_associations() {
    let now = Instant::now();
    let ledger = Ledger::new(64 << 20);
    let mut server = Endpoint::new(Config::default(), ledger.clone(), 1);
    let mut begin = |at, number| {
        let Some(mut one) = Hostile::try_open(&mut server, now, at, number, &[]) else { return 0 };
        one.send(&mut server, now, &[], vec![1]);
        drain(&mut server, now);
        server.stats().associations
    };
    for number in 0..5000 {
        begin(attacker(u16::try_from(number % 1000).unwrap() + 1), number);
    }
    assert_eq!(
        begin(SocketAddr::from(([10, 0, 1, 1], 1)), 1),
        Config::ASSOCIATIONS_OF_NETWORK + 1,
        "another network has its own"
    );
    assert!(ledger.held() < ledger.bound() / 2, "one network holds {} of {}", ledger.held(), ledger.bound());
}

/// SPEC 10.19: a client that takes nothing of its answers does not have the server hold them for ever, nor does one that
/// does not even say that it has heard of their end.
#[test]
fn answers_that_nobody_takes_are_given_up() {
    [true, false].into_iter().for_each(nobody_takes_answers);
}

fn nobody_takes_answers(hears_of_ends: bool) {
    let mut now = Instant::now();
    let ledger = Ledger::new(8 << 20);
    let mut server = Endpoint::new(Config::default(), ledger.clone(), 1);
    let mut hostile = Hostile::open(&mut server, now, attacker(1), &[&[1, 0, 0]]);
    let request = log(0);
    for number in 1..=256 {
        hostile.send(&mut server, now, &[[number, 2, 0, request.len() as u64]], request.clone());
        while let Some(event) = server.poll_event() {
            if let Event::Request { ticket, .. } = event {
                let big = Packet::new(laxcus6::answer::OKAY).with_entity(vec![7; 100_000]);
                server.answer(now, ticket, Some(big)).ok();
            }
        }
        drain(&mut server, now);
    }
    assert!(ledger.held() > ledger.bound() / 2);
    for _ in 0..8 {
        now += 10_000 * MILLI;
        hostile.send(&mut server, now, &[], vec![1]);
        server.handle_timeout(now);
        // It acknowledges all that comes, so that it is not thought to be lost.
        for (_, sent) in drain(&mut server, now) {
            let sent = packet(&sent);
            if let Some(number) = sent.first(key::NUMBER).and_then(Value::as_i64)
                && (hears_of_ends || sent.first(key::RESET).is_none())
            {
                let told =
                    hostile.segment().with(key::ACKNOWLEDGED, hostile::numbers(&[number as u64, 0, 0]));
                server.handle_datagram(now, hostile.at, &LAXCUS6, &hostile::bytes(&told));
            }
        }
    }
    assert_eq!(server.stats().associations, 1);
    assert!(ledger.held() < 1 << 20, "{} are held", ledger.held());
}

/// A request that is taken back is held no longer, though its end cannot be told.
#[test]
fn what_is_taken_back_is_not_held() {
    let now = Instant::now();
    let ledger = Ledger::new(64 << 20);
    let mut client = Endpoint::new(Config::default(), ledger.clone(), 2);
    let mut server = endpoint(1);
    let association = client.connect(now, server_at(), &LAXCUS6);
    pass(&mut client, &mut server, now);
    let before = ledger.held();
    let ticket = client.request(now, association, request(1 << 20)).unwrap();
    // Some of it leaves, and is lost.
    assert!(client.poll_transmit(now, &mut Vec::new(), 4).is_some());
    assert!(ledger.held() > before + (1 << 20));
    client.cancel(now, ticket);
    assert!(ledger.held() < before + (4 << 10), "{} are held", ledger.held() - before);
}

/// SPEC 10.13: a peer that acknowledges what never came to it would be sent all there is at any rate. The numbers that
/// were left out give it away.
#[test]
fn who_acknowledges_blindly_is_left_alone() {
    let mut now = Instant::now();
    let mut server = endpoint(1);
    let mut hostile = Hostile::open(&mut server, now, attacker(1), &[]);
    let request = log(0);
    hostile.send(&mut server, now, &[[1, 2, 0, request.len() as u64]], request);
    let Some(Event::Request { ticket, .. }) = server.poll_event() else { panic!("no request") };
    let answer = Packet::new(laxcus6::answer::OKAY).with_entity(vec![7; 3_000_000]);
    server.answer(now, ticket, Some(answer)).unwrap();
    let (mut sent, mut largest) = (0, 0);
    for _ in 0..1000 {
        now += MILLI;
        server.handle_timeout(now);
        for (_, datagram) in drain(&mut server, now) {
            sent += datagram.len();
            let number = packet(&datagram).first(key::NUMBER).and_then(Value::as_i64);
            largest = largest.max(number.unwrap_or(0));
        }
        // None of them has come, and all up to the latest are said to have.
        let largest = largest as u64;
        let told = hostile.segment().with(key::ACKNOWLEDGED, hostile::numbers(&[largest, 0, largest]));
        server.handle_datagram(now, hostile.at, &LAXCUS6, &hostile::bytes(&told));
        if server.stats().associations == 0 {
            break;
        }
    }
    assert_eq!((server.stats().associations, server.stats().lost), (0, 1));
    assert!(sent < 200_000, "{sent} bytes were sent to who got none of them");
}

/// A request of which nothing has left is certain not to have been executed, also where its socket or its caller goes.
#[test]
fn what_has_not_left_was_not_sent() {
    let now = Instant::now();
    for (leaves, port_goes) in [(false, true), (true, true), (false, false), (true, false)] {
        let (mut server, mut port) = (endpoint(1), None);
        let mut caller = Caller::new(caller::Config::new(&LAXCUS6), 1);
        caller.request(now, server_at(), request(1000), Options::default()).unwrap();
        assert_eq!(turn(&mut caller, &mut server, &mut port, now), 1);
        let ticket = caller.request(now, server_at(), request(1000), Options::default()).unwrap();
        if leaves {
            assert!(caller.poll_transmit(now, &mut Vec::new(), 1).is_some());
        }
        if port_goes {
            caller.handle_port_lost(now, port.unwrap(), std::io::ErrorKind::ConnectionReset);
        } else {
            caller.close(now);
        }
        let (ended, outcome) = caller.poll_event().unwrap();
        let fate = if leaves { Fate::PossiblyExecuted } else { Fate::NotSent };
        assert_eq!((ended, outcome.unwrap_err().fate), (ticket, fate), "{leaves} {port_goes}");
    }
}

/// SPEC 10.19: a request whose entity is read as it comes, and comes no more, does not keep its handler for ever.
#[test]
fn a_body_that_stops_is_given_up() {
    for reads in [true, false] {
        let mut now = Instant::now();
        let mut server = endpoint(1);
        let mut hostile = Hostile::open(&mut server, now, attacker(1), &[]);
        let begun = log(1_000_000)[..50_000].to_vec();
        hostile.send(&mut server, now, &[[1, 0, 0, 50_000]], begun);
        let Some(Event::Request { ticket, entity: Entity::Streamed(1_000_000), .. }) = server.poll_event()
        else {
            panic!("no request")
        };
        while reads && server.read(now, ticket).is_some() {}
        let mut cancelled = None;
        for second in 1..=200_u64 {
            now += 1000 * MILLI;
            // It lives.
            hostile.send(&mut server, now, &[], vec![7]);
            server.handle_timeout(now);
            for (_, sent) in drain(&mut server, now) {
                if let Some(number) = packet(&sent).first(key::NUMBER).and_then(Value::as_i64) {
                    let told = hostile::numbers(&[number as u64, 0, 0]);
                    let told = hostile.segment().with(key::ACKNOWLEDGED, told);
                    server.handle_datagram(now, hostile.at, &LAXCUS6, &hostile::bytes(&told));
                }
            }
            let events: Vec<_> = std::iter::from_fn(|| server.poll_event()).collect();
            if events.contains(&Event::Cancelled { ticket }) {
                cancelled = cancelled.or(Some(second));
            }
        }
        assert_eq!(server.stats().associations, 1);
        // Where it is the reader that rests, its client can do nothing.
        assert_eq!(
            cancelled.map(|second| (60..=80).contains(&second)),
            reads.then_some(true),
            "{cancelled:?}"
        );
    }
}

/// SPEC 10.17: whose association was forgotten before it began, since others opened too many, is told that nothing was
/// executed. Of one that has begun nobody can know.
#[test]
fn who_was_crowded_out_was_not_executed() {
    for begins in [false, true] {
        let now = Instant::now();
        let (mut client, mut server) = (endpoint(2), endpoint(1));
        let association = client.connect(now, server_at(), &LAXCUS6);
        for (_, open) in drain(&mut client, now) {
            server.handle_datagram(now, client_at(), &LAXCUS6, &open);
        }
        for (_, opened) in drain(&mut server, now) {
            client.handle_datagram(now, server_at(), &LAXCUS6, &opened);
        }
        client.request(now, association, request(100)).unwrap();
        let segments = drain(&mut client, now);
        if begins {
            server.handle_datagram(now, client_at(), &LAXCUS6, &segments[0].1);
            // It falls over, and comes back without a memory.
            server = endpoint(3);
        }
        for number in 0..Config::HALF_OPEN as u64 + 1 {
            let at = SocketAddr::from(([10, 1, (number >> 8) as u8, number as u8], 7));
            server.handle_datagram(now, at, &LAXCUS6, &hostile::open(number, &[]));
        }
        drain(&mut server, now);
        for (_, segment) in segments {
            server.handle_datagram(now, client_at(), &LAXCUS6, &segment);
        }
        for (_, close) in drain(&mut server, now) {
            assert!(close.len() <= 40);
            client.handle_datagram(now, server_at(), &LAXCUS6, &close);
        }
        let Some(Event::Answer { outcome: Err(error), .. }) = client.poll_event() else { panic!("no end") };
        let fate = if begins { Fate::PossiblyExecuted } else { Fate::NotSent };
        assert_eq!(error.fate, fate, "{error:?}");
        assert_eq!(server.stats().executed, 0);
    }
}

/// The same of one that has had an answer: it has begun, whatever its server says then.
#[test]
fn who_was_answered_was_executed() {
    let now = Instant::now();
    let (mut client, mut server) = (endpoint(2), endpoint(1));
    let association = client.connect(now, server_at(), &LAXCUS6);
    pass(&mut client, &mut server, now);
    let ticket = client.request(now, association, request(100)).unwrap();
    let sent = drain(&mut client, now);
    let number = packet(&sent[0].1).first(key::ASSOCIATION).cloned().unwrap();
    for (_, bytes) in sent {
        server.handle_datagram(now, client_at(), &LAXCUS6, &bytes);
    }
    assert!(server.poll_event().is_some(), "it runs");
    server.handle_timeout(now + 5 * MILLI);
    for (_, bytes) in drain(&mut server, now + 5 * MILLI) {
        client.handle_datagram(now, server_at(), &LAXCUS6, &bytes);
    }
    let lies = Packet::new(CLOSE).with(key::SENDER, number).with(key::REFUSAL, 4_i16);
    assert!(client.handle_datagram(now, server_at(), &LAXCUS6, &hostile::bytes(&lies)));
    let Some(Event::Answer { ticket: ended, outcome: Err(error) }) = client.poll_event() else {
        panic!("no end")
    };
    assert_eq!((ended, error.fate), (ticket, Fate::PossiblyExecuted));
}

/// SPEC 10.19: what is remembered of datagrams under way is booked. Probes are not, and the list that they have made
/// longer stays so: where the ledger is full, nothing would leave any more though nothing is under way.
#[test]
fn a_full_ledger_does_not_stop_who_has_nothing_under_way() {
    let mut now = Instant::now();
    let ledger = Ledger::new(64 << 20);
    let config = Config { datagram: 1200, ..Config::default() };
    let mut client = Endpoint::new(config, ledger.clone(), 2);
    let mut server = endpoint(1);
    let association = client.connect(now, server_at(), &LAXCUS6);
    for full in [false, false, false, true] {
        client.request(now, association, request(200_000)).unwrap();
        if full {
            // Others take the rest. As many datagrams leave as there is room for, and then probes.
            assert!(ledger.take(ledger.bound() - ledger.held()));
            let mut out = drain(&mut client, now);
            while out.len() <= 32 {
                now = client.poll_timeout().unwrap();
                client.handle_timeout(now);
                out.extend(drain(&mut client, now));
            }
            for (_, bytes) in out {
                server.handle_datagram(now, client_at(), &LAXCUS6, &bytes);
            }
        }
        let began = now;
        let ticket = loop {
            pass(&mut client, &mut server, now);
            if let Some(Event::Request { ticket, .. }) = server.poll_event() {
                break ticket;
            }
            assert!(now - began < 1000 * MILLI, "it stands still: {:?}", client.stats());
            now += MILLI;
            client.handle_timeout(now);
            server.handle_timeout(now);
        };
        server.answer(now, ticket, Some(Packet::new(laxcus6::answer::OKAY))).unwrap();
        pass(&mut client, &mut server, now);
    }
}
