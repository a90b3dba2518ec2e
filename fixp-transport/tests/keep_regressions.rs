//! What a review of KEEP UDP has found, a test each, so that it stays mended.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::keep::caller::{self, Action, Caller};
use fixp_transport::keep::pieces::{Added, Bounds, Form, Gather, Mark, Pieces};
use fixp_transport::keep::responder::AnswerError;
use fixp_transport::keep::{Ledger, Limits, Requester, Responder, control, requester, responder};
use fixp_transport::server::AllowList;
use fixp_transport::{CallError, Cause, Fate, tables};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const MEBIBYTE: usize = 1 << 20;

fn code(dialect: &Dialect) -> fixp_codec::Code {
    if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG }
}

fn okay(dialect: &Dialect, size: usize) -> Packet {
    Packet::new(tables::of(dialect).okay).with_entity(vec![9; size])
}

fn cut(dialect: &'static Dialect, identity: i32, entity: Vec<u8>) -> Pieces {
    let packet = Packet::new(code(dialect)).with_entity(entity);
    Pieces::cut(dialect, packet, Form::of_request(dialect, identity)).unwrap()
}

fn client() -> SocketAddr {
    "203.0.113.5:4000".parse().unwrap()
}

/// The identities of the pieces that leave now.
fn identities(dialect: &'static Dialect, machine: &mut Responder, now: Instant) -> Vec<i32> {
    std::iter::from_fn(|| machine.poll_transmit(now))
        .filter_map(|sent| {
            let packet = Decoder::new(dialect).packet(&sent.bytes).unwrap();
            Mark::of(dialect, &packet).map(|mark| mark.identity)
        })
        .collect()
}

/// The codes of the datagrams that leave now.
fn codes(dialect: &'static Dialect, machine: &mut Responder, now: Instant) -> Vec<fixp_codec::Code> {
    std::iter::from_fn(|| machine.poll_transmit(now))
        .map(|sent| Decoder::new(dialect).packet(&sent.bytes).unwrap().code())
        .collect()
}

/// Pieces of two requests are never one: the later of two pieces with one serial begins anew.
#[test]
fn two_requests_are_not_mixed() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let now = Instant::now();
        let mut machine = Responder::new(responder::Config::new(dialect));
        let (one, other) = (cut(dialect, 1, vec![b'a'; 900]), cut(dialect, 1, vec![b'b'; 900]));
        machine.handle_datagram(now, client(), &one.datagram(0).unwrap());
        // Its client is started anew, or another has got its port.
        let now = now + 20 * SECOND;
        machine.handle_timeout(now);
        for index in 0..2 {
            machine.handle_datagram(now, client(), &other.datagram(index).unwrap());
        }
        assert_eq!(machine.poll_event().unwrap().packet.entity, vec![b'b'; 900], "{}", dialect.name());
        assert!(machine.poll_event().is_none());
    }
}

/// Q2, Q9: an answer that comes late is that of an old identity. RETRY still gets it.
#[test]
fn a_late_answer_of_an_old_identity_is_not_sent() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let now = Instant::now();
        let mut machine = Responder::new(responder::Config::new(dialect));
        machine.handle_datagram(now, client(), &cut(dialect, 1, vec![1; 10]).datagram(0).unwrap());
        let one = machine.poll_event().unwrap();
        let now = now + 130 * SECOND;
        machine.handle_timeout(now);
        machine.handle_datagram(now, client(), &cut(dialect, 2, vec![2; 10]).datagram(0).unwrap());
        machine.poll_event().unwrap();
        while machine.poll_transmit(now).is_some() {}
        machine.answer(now, one.ticket, Some(okay(dialect, 1000))).unwrap();
        for second in 0..40 {
            let now = now + second * SECOND;
            machine.handle_timeout(now);
            assert_eq!(identities(dialect, &mut machine, now), [0; 0], "{} after {second} s", dialect.name());
        }
        let now = now + 40 * SECOND;
        let retry = control::retry(dialect, None, 1, &[dialect.first_serial()]).unwrap();
        machine.handle_datagram(now, client(), &retry);
        assert_eq!(identities(dialect, &mut machine, now), [1]);
    }
}

/// A burst of the old identity ends where a new one comes.
#[test]
fn a_burst_of_an_old_identity_ends() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut now = Instant::now();
        let mut machine = Responder::new(responder::Config::new(dialect));
        machine.handle_datagram(now, client(), &cut(dialect, 1, vec![1; 10]).datagram(0).unwrap());
        let one = machine.poll_event().unwrap();
        machine.answer(now, one.ticket, Some(okay(dialect, 8 << 20))).unwrap();
        while machine.poll_transmit(now).is_some() {}
        machine.handle_datagram(now, client(), &cut(dialect, 2, vec![2; 10]).datagram(0).unwrap());
        for _ in 0..100 {
            now += SECOND / 10;
            machine.handle_timeout(now);
            assert_eq!(identities(dialect, &mut machine, now), [0; 0], "{}", dialect.name());
        }
    }
}

/// Q9: a late duplicate of an old request draws neither its answer nor ACCEPTED.
#[test]
fn a_late_duplicate_draws_no_old_answer() {
    for dialect in [&LEXST1, &LAXCUS6] {
        for answered in [true, false] {
            let now = Instant::now();
            let mut machine = Responder::new(responder::Config::new(dialect));
            let first = cut(dialect, 1, vec![1; 10]).datagram(0).unwrap();
            machine.handle_datagram(now, client(), &first);
            let one = machine.poll_event().unwrap();
            if answered {
                machine.answer(now, one.ticket, Some(okay(dialect, 1000))).unwrap();
            }
            while machine.poll_transmit(now).is_some() {}
            let now = now + 2 * SECOND;
            machine.handle_datagram(now, client(), &cut(dialect, 2, vec![2; 10]).datagram(0).unwrap());
            while machine.poll_transmit(now).is_some() {}
            machine.handle_datagram(now, client(), &first);
            assert_eq!(codes(dialect, &mut machine, now), [], "{}", dialect.name());
        }
    }
}

/// A piece that is refused does not make its identity the latest.
#[test]
fn a_refused_piece_ends_no_answer() {
    let now = Instant::now();
    let limits = Limits { entity: 1000, ..Limits::default() };
    let mut machine = Responder::new(responder::Config { limits, ..responder::Config::new(&LAXCUS6) });
    machine.handle_datagram(now, client(), &cut(&LAXCUS6, 1, vec![1; 10]).datagram(0).unwrap());
    let one = machine.poll_event().unwrap();
    let large = Packet::new(code(&LAXCUS6)).with_entity(vec![2; 3000]);
    let form = Form { size: 1500, ..Form::of_request(&LAXCUS6, 2) };
    let large = Pieces::cut(&LAXCUS6, large, form).unwrap();
    machine.handle_datagram(now, client(), &large.datagram(0).unwrap());
    while machine.poll_transmit(now).is_some() {}
    machine.answer(now, one.ticket, Some(okay(&LAXCUS6, 100))).unwrap();
    assert_eq!(identities(&LAXCUS6, &mut machine, now), [1]);
}

/// Q5, Q10: CANCEL and whole requests are answered whatever others of the prefix take.
#[test]
fn cancel_is_answered_while_a_neighbour_downloads() {
    for dialect in [&LEXST1, &LAXCUS6] {
        for bind_ip in ["203.0.113.5", "2001:db8:1111:2222:3333:4444:5555:6666"] {
            let mut now = Instant::now();
            let bind_ip = Some(bind_ip.parse().unwrap());
            let config = responder::Config { bind_ip, ..responder::Config::new(dialect) };
            let mut machine = Responder::new(config);
            for nth in 0..4 {
                let neighbour = SocketAddr::from(([203, 0, 113, 9 + nth], 4000));
                machine.handle_datagram(now, neighbour, &cut(dialect, 1, vec![1; 10]).datagram(0).unwrap());
                let one = machine.poll_event().unwrap();
                machine.answer(now, one.ticket, Some(okay(dialect, 8 << 20))).unwrap();
            }
            let accepts = usize::from(dialect.name() == "laxcus6") * 3;
            for nth in 0..2000 {
                now += SECOND / 100;
                machine.handle_timeout(now);
                while machine.poll_transmit(now).is_some() {}
                if nth > 300 && nth % 100 == 0 {
                    // As short as a client's can be.
                    let cancel = control::cancel(dialect, None, 7).unwrap();
                    machine.handle_datagram(now, client(), &cancel);
                    let answers: Vec<_> = std::iter::from_fn(|| machine.poll_transmit(now)).collect();
                    let bytes: usize = answers.iter().map(|answer| answer.bytes.len()).sum();
                    assert!(
                        answers.len() == 1 && bytes <= 3 * cancel.len(),
                        "{}: {answers:?}",
                        dialect.name()
                    );

                    let request = cut(dialect, nth, Vec::new()).datagram(0).unwrap();
                    machine.handle_datagram(now, client(), &request);
                    let accepted = std::iter::from_fn(|| machine.poll_transmit(now));
                    assert_eq!(accepted.filter(|sent| sent.to == client()).count(), accepts);
                    let ticket = machine.poll_event().unwrap().ticket;
                    machine.answer(now, ticket, None).unwrap();
                }
            }
        }
    }
}

/// A request of which anything has left is cancelled, however little.
#[test]
fn abandoning_half_a_request_says_cancel() {
    for dialect in [&LAXCUS6, &LEXST1] {
        let now = Instant::now();
        let mut machine = Requester::new(requester::Config::new(dialect), client());
        machine.request(now, Packet::new(code(dialect)).with_entity(vec![1; 1 << 20])).unwrap();
        let out = std::iter::from_fn(|| machine.poll_transmit(now)).count();
        assert!(out > 10);
        machine.abandon(now);
        assert_eq!(std::iter::from_fn(|| machine.poll_transmit(now)).count(), 1);
        assert_eq!(machine.is_spoilt(), dialect.name() == "lexst1");
    }
}

/// A call that is dropped half-way leaves nothing that refuses the next one of its port.
#[test]
fn after_a_dropped_call_the_next_one_works() {
    let begin = Instant::now();
    let mut now = begin;
    let config = caller::Config {
        extensions: false,
        security: caller::Security::Unasked,
        ports: 1,
        ..caller::Config::new(&LAXCUS6)
    };
    let (mut machine, peer, mut buffer) = (Caller::new(config, 1), client(), Vec::new());
    let log = |size| Packet::new(code(&LAXCUS6)).with_entity(vec![1; size]);
    let big = machine.request(now, peer, log(1 << 20), caller::Options::default()).unwrap();
    let Some(Action::Open { port, .. }) = machine.poll_action() else { panic!("a port is wanted") };
    machine.handle_bound(now, port, Ok("192.0.2.9:4000".parse().unwrap()), None);
    // The program: one group for the port, of the identity that came first, until CANCEL.
    let mut group: Option<(i32, BTreeSet<u32>)> = None;
    let mut dropped = false;
    loop {
        machine.handle_timeout(now);
        while let Some(sent) = machine.poll_transmit(now, &mut buffer, 1) {
            machine.handle_transmitted(now, &sent, buffer.len(), Ok(()));
            let packet = Decoder::new(&LAXCUS6).packet(&buffer).unwrap();
            if packet.code() == laxcus6::notify::CANCEL_PACKET {
                group = None;
                let answer = control::cancelled(&LAXCUS6, None, false).unwrap();
                machine.handle_datagram(now, port, peer, &answer);
            } else if let Some(mark) = Mark::of(&LAXCUS6, &packet) {
                let (identity, has) = group.get_or_insert_with(|| (mark.identity, BTreeSet::new()));
                if *identity == mark.identity {
                    has.insert(mark.index);
                    if has.len() as u32 == mark.count {
                        let form = Form::of_answer(&LAXCUS6, mark.identity);
                        group = None;
                        let answer = Pieces::cut(&LAXCUS6, okay(&LAXCUS6, 5), form).unwrap();
                        machine.handle_datagram(now, port, peer, &answer.datagram(0).unwrap());
                    }
                }
            }
        }
        if !dropped {
            dropped = true;
            machine.cancel(now, big);
            machine.request(now, peer, log(1000), caller::Options::default()).unwrap();
            continue;
        }
        if let Some((_, outcome)) = machine.poll_event() {
            assert_eq!(outcome.unwrap().entity.len(), 5);
            break;
        }
        now += SECOND / 100;
        assert!(now < begin + 5 * SECOND, "the next one is refused");
    }
}

/// A RETRY of another identity may be forged, and nothing tells: it costs the exchange its port, and nothing else.
#[test]
fn a_forged_retry_costs_a_port_and_nothing_else() {
    let mut now = Instant::now();
    let config = caller::Config {
        extensions: false,
        security: caller::Security::Unasked,
        ..caller::Config::new(&LEXST1)
    };
    let (mut machine, peer, mut buffer) = (Caller::new(config, 1), client(), Vec::new());
    let mut used = BTreeSet::new();
    for nth in 0..100_u16 {
        let log = Packet::new(code(&LEXST1)).with_entity(vec![1; 1000]);
        let ticket = machine.request(now, peer, log, caller::Options::default()).unwrap();
        let mut end = None;
        for _ in 0..20 {
            while let Some(action) = machine.poll_action() {
                if let Action::Open { port, .. } = action {
                    machine.handle_bound(now, port, Ok(SocketAddr::from(([192, 0, 2, 9], 4000 + nth))), None);
                }
            }
            while let Some(sent) = machine.poll_transmit(now, &mut buffer, 1) {
                machine.handle_transmitted(now, &sent, buffer.len(), Ok(()));
                let Some(mark) = Mark::of(&LEXST1, &Decoder::new(&LEXST1).packet(&buffer).unwrap()) else {
                    continue;
                };
                for forged in 1..10 {
                    let retry = control::retry(&LEXST1, None, mark.identity + forged, &[1]).unwrap();
                    machine.handle_datagram(now, sent.port, peer, &retry);
                }
                if mark.index + 1 == mark.count {
                    used.insert(sent.port);
                    let form = Form::of_answer(&LEXST1, mark.identity);
                    let answer = Pieces::cut(&LEXST1, okay(&LEXST1, 5), form).unwrap();
                    machine.handle_datagram(now, sent.port, peer, &answer.datagram(0).unwrap());
                }
            }
            end = end.or(machine.poll_event());
            now += SECOND / 10;
            machine.handle_timeout(now);
        }
        let (ended, outcome) = end.unwrap();
        assert!(ended == ticket && outcome.is_ok(), "{outcome:?}");
        assert!(machine.stats().ports <= 16);
    }
    // The last ones still say CANCEL.
    let spoilt = machine.stats().spoilt;
    assert!(used.len() == 100 && (50..=100).contains(&spoilt), "one for each at most, and {spoilt}");
}

/// A stale group costs a request that is not repeated one cure: its peer has taken nothing of it.
#[test]
fn a_stale_group_is_cured_once_where_nothing_is_repeated() {
    let begin = Instant::now();
    let config = requester::Config { repeat: false, identity: 5, ..requester::Config::new(&LAXCUS6) };
    let mut machine = Requester::new(config, client());
    machine.request(begin, Packet::new(code(&LAXCUS6)).with_entity(vec![1; 1000])).unwrap();
    assert_eq!(std::iter::from_fn(|| machine.poll_transmit(begin)).count(), 3);

    let stale = control::retry(&LAXCUS6, None, 3, &[0]).unwrap();
    let now = begin + SECOND;
    machine.handle_datagram(now, client(), &stale);
    // One question is often several datagrams.
    machine.handle_datagram(now + MILLI, client(), &stale);
    let sent: Vec<_> = std::iter::from_fn(|| machine.poll_transmit(now)).map(|sent| sent.bytes).collect();
    assert_eq!(sent[0], control::cancel(&LAXCUS6, None, 3).unwrap());
    assert_eq!(sent[1..], [0, 1, 2].map(|index| cut(&LAXCUS6, 5, vec![1; 1000]).datagram(index).unwrap()));

    // Asked again, nobody knows what became of the copy.
    machine.handle_datagram(now + 5 * SECOND, client(), &stale);
    let error = machine.poll_event().unwrap().unwrap_err();
    assert_eq!((error.cause, error.fate), (Cause::Unexpected, Fate::PossiblyExecuted));
    let cancel = control::cancel(&LAXCUS6, None, 5).unwrap();
    assert_eq!(machine.poll_transmit(now + 5 * SECOND).unwrap().bytes, cancel);
}

/// A request that was taken was sent, whoever says 1002; and for what is no call 1002 is never said.
#[test]
fn a_stray_encrypt_notify_is_not_not_sent() {
    let now = Instant::now();
    let notify = Packet::new(laxcus6::answer::ENCRYPT_CONTENT_NOTIFY).to_bytes(&LAXCUS6).unwrap();
    let accepted = control::accepted(&LAXCUS6, 5).unwrap().unwrap();
    let retry = control::retry(&LAXCUS6, None, 5, &[0]).unwrap();
    let piece = Pieces::cut(&LAXCUS6, okay(&LAXCUS6, 1000), Form::of_answer(&LAXCUS6, 5)).unwrap();
    let piece = piece.datagram(1).unwrap();
    let call = fixp_codec::Code::Request { major: 2, minor: 1 };
    for (code, before, refused) in [
        (call, None, true),
        (call, Some(&accepted), false),
        (call, Some(&retry), false),
        (call, Some(&piece), false),
        (code(&LAXCUS6), None, false),
    ] {
        let config = requester::Config { identity: 5, ..requester::Config::new(&LAXCUS6) };
        let mut machine = Requester::new(config, client());
        machine.request(now, Packet::new(code).with_entity(vec![1; 10])).unwrap();
        while machine.poll_transmit(now).is_some() {}
        if let Some(before) = before {
            machine.handle_datagram(now, client(), before);
        }
        machine.handle_datagram(now, client(), &notify);
        let error = machine.poll_event().map(|outcome| outcome.unwrap_err().fate);
        assert_eq!(error, refused.then_some(Fate::NotSent), "{code:?} {before:?}");
    }
}

/// A server of several addresses names to each peer the one that it has asked.
#[test]
fn each_peer_is_told_the_address_that_it_knows() {
    let now = Instant::now();
    let mut machine = Responder::new(responder::Config::new(&LEXST1));
    let told = |sent: &Bytes| {
        let packet = Decoder::new(&LEXST1).packet(sent).unwrap();
        packet.first(lexst1::key::BIND_IP).map(|message| message.bytes().to_vec())
    };
    let of = |nth| (SocketAddr::from(([203, 0, 113, nth], 4000)), std::net::IpAddr::from([10, 0, 0, nth]));
    for nth in 1..3 {
        let (from, local) = of(nth);
        let piece = cut(&LEXST1, 1, vec![nth; 10]).datagram(0).unwrap();
        machine.handle_datagram_at(now, from, Some(local), &piece);
    }
    // The answers come in another order.
    let events: Vec<_> = std::iter::from_fn(|| machine.poll_event()).collect();
    for event in events.into_iter().rev() {
        machine.answer(now, event.ticket, Some(okay(&LEXST1, 10))).unwrap();
        let sent = machine.poll_transmit(now).unwrap();
        let (_, local) = of(event.packet.entity[0]);
        assert_eq!(told(&sent.bytes), Some(local.to_string().into_bytes()));
    }
    // One of whom nothing is known says CANCEL.
    let (from, local) = of(7);
    let bind_ip = "192.0.2.1".parse().ok();
    let cancel = control::cancel(&LEXST1, bind_ip, 1).unwrap();
    machine.handle_datagram_at(now, from, Some(local), &cancel);
    assert_eq!(told(&machine.poll_transmit(now).unwrap().bytes), Some(local.to_string().into_bytes()));
}

/// One network does not take everything, neither of the bytes nor of the exchanges.
#[test]
fn one_source_does_not_take_all() {
    let now = Instant::now();
    let mut machine = Responder::new(responder::Config::new(&LAXCUS6));
    let mut sent = 0;
    let pieces = cut(&LAXCUS6, 1, vec![1; 15_000_000]);
    'all: for port in 1..2000 {
        let from = SocketAddr::from(([198, 51, 100, 1], port));
        for index in 1..pieces.count() {
            let bytes = pieces.datagram(index).unwrap();
            sent += bytes.len();
            let before = machine.held();
            machine.handle_datagram(now, from, &bytes);
            if machine.held() == before {
                break 'all;
            }
        }
    }
    assert!(sent > Limits::BYTES / 2);
    machine.handle_datagram(now, client(), &cut(&LAXCUS6, 1, vec![1; 470]).datagram(0).unwrap());
    assert!(machine.poll_event().is_some(), "another is not served after {sent} bytes of one address");
    // Its own large request has room, too.
    let large = cut(&LAXCUS6, 2, vec![1; 15_000_000]);
    for index in 0..large.count() {
        machine.handle_datagram(now, client(), &large.datagram(index).unwrap());
        assert!(machine.held() <= Limits::BYTES);
    }
    assert!(machine.poll_event().is_some());
}

/// The same of exchanges: those that are only remembered give way first, and only those of the largest.
#[test]
fn one_source_does_not_take_all_exchanges() {
    let now = Instant::now();
    let limits = Limits { exchanges: 64, ..Limits::default() };
    let mut machine = Responder::new(responder::Config { limits, ..responder::Config::new(&LAXCUS6) });
    let mut ask = |from: SocketAddr, identity| {
        let piece = cut(&LAXCUS6, identity, vec![1; 10]).datagram(0).unwrap();
        machine.handle_datagram(now, from, &piece);
        let event = machine.poll_event();
        if let Some(event) = &event {
            machine.answer(now, event.ticket, None).unwrap();
        }
        assert!(machine.exchanges() <= 64);
        event.is_some()
    };
    let honest = |nth| SocketAddr::from(([203, 0, nth, 5], 4000));
    assert!(ask(honest(1), 1));
    let flood = SocketAddr::from(([198, 51, 100, 1], 4000));
    for identity in 0..1000 {
        ask(flood, identity);
    }
    for nth in 2..12 {
        assert!(ask(honest(nth), 1), "{nth}");
    }
    // Each is still remembered, and not executed again.
    for nth in 1..12 {
        assert!(!ask(honest(nth), 1), "{nth}");
    }
}

/// So many bytes a second, 25 ms each way, and a queue of so many bytes.
struct Link {
    rate: f64,
    queue: f64,
    free: Instant,
    lost: u64,
    way: VecDeque<(Instant, Bytes)>,
}

impl Link {
    fn new(now: Instant, rate: f64, queue: f64) -> Self {
        Self { rate, queue, free: now, lost: 0, way: VecDeque::new() }
    }

    /// 100 Mbit/s and 256 KiB.
    fn slow(now: Instant) -> Self {
        Self::new(now, 12_500_000.0, 262_144.0)
    }

    /// 10 Mbit/s and 128 KiB.
    fn slower(now: Instant) -> Self {
        Self::new(now, 1_250_000.0, 131_072.0)
    }

    fn send(&mut self, now: Instant, bytes: Bytes) {
        if self.free.saturating_duration_since(now).as_secs_f64() * self.rate > self.queue {
            self.lost += 1;
            return;
        }
        self.free = self.free.max(now) + Duration::from_secs_f64(bytes.len() as f64 / self.rate);
        self.way.push_back((self.free + 25 * MILLI, bytes));
    }

    fn receive(&mut self, now: Instant) -> Option<Bytes> {
        self.way.pop_front_if(|(at, _)| *at <= now).map(|(_, bytes)| bytes)
    }

    fn next(&self) -> Option<Instant> {
        self.way.front().map(|&(at, _)| at)
    }
}

/// How long an exchange takes over such a link, and the pieces that it costs.
fn over_a_link(
    link: fn(Instant) -> Link,
    dialect: &'static Dialect,
    request: usize,
    answer: usize,
    repeat: bool,
) -> (Duration, u64) {
    let begin = Instant::now();
    let mut now = begin;
    let server: SocketAddr = "203.0.113.9:6600".parse().unwrap();
    let config = requester::Config { repeat, ..requester::Config::new(dialect) };
    let mut asks = Requester::new(config, server);
    let allow: AllowList = "203.0.113.0/24".parse().unwrap();
    let mut answers = Responder::new(responder::Config { allow, ..responder::Config::new(dialect) });
    asks.request(now, Packet::new(code(dialect)).with_entity(vec![1; request])).unwrap();
    let (mut there, mut back) = (link(now), link(now));
    loop {
        asks.handle_timeout(now);
        answers.handle_timeout(now);
        while let Some(event) = answers.poll_event() {
            assert_eq!(event.packet.entity.len(), request);
            answers.answer(now, event.ticket, Some(okay(dialect, answer))).unwrap();
        }
        while let Some(sent) = asks.poll_transmit(now) {
            there.send(now, sent.bytes);
        }
        while let Some(sent) = answers.poll_transmit(now) {
            back.send(now, sent.bytes);
        }
        if let Some(outcome) = asks.poll_event() {
            assert_eq!(outcome.unwrap().entity.len(), answer);
            return (now - begin, there.lost + back.lost);
        }
        let times = [asks.poll_timeout(), answers.poll_timeout(), there.next(), back.next()];
        now = now.max(times.into_iter().flatten().min().unwrap());
        while let Some(bytes) = there.receive(now) {
            answers.handle_datagram(now, client(), &bytes);
        }
        while let Some(bytes) = back.receive(now) {
            asks.handle_datagram(now, server, &bytes);
        }
    }
}

/// A large request does not crawl over an ordinary link, whether it may be repeated or not.
#[test]
fn a_large_request_over_a_slow_link() {
    for (size, most) in [(1 << 20, 3), (2 << 20, 3), (4 << 20, 3), (15 << 20, 10)] {
        for repeat in [false, true] {
            let (took, lost) = over_a_link(Link::slow, &LAXCUS6, size, 10, repeat);
            println!("{size} {repeat}: {took:?}, {lost} lost");
            assert!(took < most * SECOND, "{size} {repeat}: {took:?}");
        }
    }
}

/// SPEC 9.13: a mebibyte either way and both ways does not overrun it, in either dialect.
#[test]
fn a_mebibyte_over_a_slow_link() {
    for dialect in [&LEXST1, &LAXCUS6] {
        for (request, answer) in [(MEBIBYTE, 10), (10, MEBIBYTE), (MEBIBYTE, MEBIBYTE)] {
            let (took, lost) = over_a_link(Link::slow, dialect, request, answer, true);
            println!("{} {request} {answer}: {took:?}", dialect.name());
            assert!(
                took < SECOND / 2 && lost == 0,
                "{} {request} {answer}: {took:?}, {lost}",
                dialect.name()
            );
        }
    }
}

/// Nor does more of an answer, of which nobody says how it comes.
#[test]
fn large_answers_over_a_slow_link() {
    for dialect in [&LEXST1, &LAXCUS6] {
        for (size, most) in [(4 * MEBIBYTE, SECOND), (15 * MEBIBYTE, 2 * SECOND)] {
            let (took, lost) = over_a_link(Link::slow, dialect, 10, size, true);
            println!("{} {size}: {took:?}", dialect.name());
            assert!(took < most && lost == 0, "{} {size}: {took:?}, {lost}", dialect.name());
        }
    }
}

/// SPEC 9.5: what a link loses that is slower than the first pace is asked for while the rest comes. It carries a
/// mebibyte in 0.9 s. A lexst1 server asks after 3 s of silence only, as its pieces say.
#[test]
fn a_mebibyte_over_a_slower_link() {
    for (dialect, up, down) in [(&LEXST1, 12, 4), (&LAXCUS6, 3, 2)] {
        for (request, answer, most) in [(MEBIBYTE, 10, up), (10, MEBIBYTE, down)] {
            let (took, lost) = over_a_link(Link::slower, dialect, request, answer, true);
            println!("{} {request} {answer}: {took:?}, {lost} lost", dialect.name());
            assert!(took < most * SECOND, "{} {request} {answer}: {took:?}, {lost}", dialect.name());
        }
    }
}

/// One address and port has no more under way than its bound, whether its identities differ or not: what is executed
/// though another request has come under its identity counts until it ends, and is told to end.
#[test]
fn one_identity_does_not_take_all_handlers() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let now = Instant::now();
        let mut machine = Responder::new(responder::Config::new(dialect));
        let ask = |machine: &mut Responder, nth: u16| {
            let request = cut(dialect, 1, nth.to_le_bytes().to_vec()).datagram(0).unwrap();
            machine.handle_datagram(now, client(), &request);
            machine.poll_event().map(|event| event.ticket)
        };
        let begun: Vec<_> = (0..5000).filter_map(|nth| ask(&mut machine, nth)).collect();
        assert_eq!(begun.len(), Limits::EXCHANGES_PER_PEER);
        assert_eq!(machine.stats().refused, 5000 - begun.len() as u64);
        // A request of several pieces takes no place beside them either.
        machine.handle_datagram(now, client(), &cut(dialect, 2, vec![1; 1000]).datagram(0).unwrap());
        assert_eq!(machine.exchanges(), 1);
        let told: Vec<_> = std::iter::from_fn(|| machine.poll_cancelled()).collect();
        assert_eq!(told, begun[..begun.len() - 1]);
        // Each that ends makes room for one, the last of them gives the answer.
        for (nth, &ticket) in told.iter().enumerate() {
            machine.answer(now, ticket, Some(okay(dialect, 10))).unwrap();
            assert!(ask(&mut machine, 6000 + nth as u16).is_some());
            assert!(ask(&mut machine, 7000).is_none());
        }
        while machine.poll_transmit(now).is_some() {}
        assert!(identities(dialect, &mut machine, now).is_empty());
    }
}

/// The same where requests of several pieces were begun beforehand, and nothing of it is left.
#[test]
fn requests_begun_beforehand_take_no_more_places() {
    let mut now = Instant::now();
    let mut machine = Responder::new(responder::Config::new(&LAXCUS6));
    let mut begun = Vec::new();
    for round in 0..3 {
        for index in 0..2 {
            for identity in 0..20 {
                let request = cut(&LAXCUS6, identity, vec![round; 900]);
                machine.handle_datagram(now, client(), &request.datagram(index).unwrap());
                begun.extend(std::iter::from_fn(|| machine.poll_event()).map(|event| event.ticket));
            }
        }
    }
    assert_eq!(begun.len(), Limits::EXCHANGES_PER_PEER);
    for ticket in begun {
        machine.answer(now, ticket, None).unwrap();
    }
    while let Some(at) = machine.poll_timeout() {
        now = now.max(at);
        machine.handle_timeout(now);
        while machine.poll_transmit(now).is_some() {}
    }
    while machine.poll_transmit(now).is_some() {}
    assert_eq!((machine.held(), machine.exchanges()), (0, 0));
}

/// A request that is larger than the server takes is refused by its first piece, whichever that is: nothing of it is
/// gathered or asked for, its other pieces draw no more than its answer again, and it ends as any other.
#[test]
fn a_request_that_can_never_be_whole_is_refused_at_once() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let begin = Instant::now();
        let mut machine = Responder::new(responder::Config::new(dialect));
        let pieces = cut(dialect, 7, vec![1; 20_000_000]);
        let last = pieces.count() - 1;
        let mut sent = Vec::new();
        let mut now = begin;
        // The last piece alone does not tell; what has begun then is dropped.
        machine.handle_datagram(now, client(), &pieces.datagram(last).unwrap());
        while machine.poll_transmit(now).is_some() {}
        let questions = machine.stats().questions;
        for index in 0..last {
            now += Duration::from_micros(50);
            machine.handle_datagram(now, client(), &pieces.datagram(index).unwrap());
            machine.handle_timeout(now);
            assert!(machine.held() < 4096 && machine.exchanges() == 1, "{}", machine.held());
            sent.extend(std::iter::from_fn(|| machine.poll_transmit(now)));
        }
        let stats = machine.stats();
        assert_eq!((stats.refused, stats.questions), (1, questions));
        assert!((1..8).contains(&sent.len()), "{}", sent.len());
        let mut answer = None;
        for sent in sent {
            let packet = Decoder::new(dialect).packet(&sent.bytes).unwrap();
            let mark = Mark::of(dialect, &packet).unwrap();
            let mut gather = Gather::new(mark);
            assert_eq!((mark.identity, mark.count), (7, 1));
            assert_eq!(gather.add(mark, &packet, 0, Bounds::default()), Added::Whole);
            answer = gather.join(dialect);
        }
        assert_eq!(answer.unwrap().code, tables::of(dialect).refuse);
        // CANCEL ends it, and what the network still brings of it begins nothing.
        machine.handle_datagram(now, client(), &control::cancel(dialect, None, 7).unwrap());
        assert_eq!(codes(dialect, &mut machine, now).len(), 1);
        machine.handle_datagram(now, client(), &pieces.datagram(last).unwrap());
        assert_eq!((machine.held(), machine.exchanges()), (0, 0));
        assert!(machine.poll_event().is_none());
    }
}

/// Where only all pieces together are too large, the last of them tells; and another piece of it begins nothing anew.
#[test]
fn a_request_that_is_just_too_large_is_refused() {
    let now = Instant::now();
    let limits = Limits { entity: 1000, ..Limits::default() };
    let mut machine = Responder::new(responder::Config { limits, ..responder::Config::new(&LAXCUS6) });
    for size in [1000, 1001] {
        let pieces = cut(&LAXCUS6, 1, vec![1; size]);
        for index in [1, 0, 2, 0, 1, 2] {
            machine.handle_datagram(now, client(), &pieces.datagram(index).unwrap());
        }
        let executed = machine.poll_event().map(|event| machine.answer(now, event.ticket, None));
        assert_eq!(executed.is_some(), size <= 1000);
    }
    assert_eq!((machine.stats().refused, machine.exchanges()), (1, 1));
    // A piece alone may be larger than a server takes, too, and another of that identity is not.
    let form = |identity| Form { size: 1500, ..Form::of_request(&LAXCUS6, identity) };
    let one = |size: usize| {
        Pieces::cut(&LAXCUS6, Packet::new(code(&LAXCUS6)).with_entity(vec![2; size]), form(2)).unwrap()
    };
    machine.handle_datagram(now, client(), &one(1200).datagram(0).unwrap());
    assert_eq!(machine.stats().refused, 2);
    machine.handle_datagram(now, client(), &one(900).datagram(0).unwrap());
    assert!(machine.poll_event().is_some());
}

/// So a call ends at once, with what the server has said, where it was sent until its time was over.
#[test]
fn a_call_that_is_too_large_for_the_server_ends() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut now = Instant::now();
        let server: SocketAddr = "203.0.113.9:6600".parse().unwrap();
        let bounds = Bounds { entity: 1 << 30, ..Bounds::default() };
        let mut asks =
            Requester::new(requester::Config { bounds, ..requester::Config::new(dialect) }, server);
        let mut answers = Responder::new(responder::Config::new(dialect));
        asks.request(now, Packet::new(code(dialect)).with_entity(vec![1; 20_000_000])).unwrap();
        let (begin, mut pieces) = (now, 0);
        let outcome = loop {
            asks.handle_timeout(now);
            answers.handle_timeout(now);
            while let Some(sent) = asks.poll_transmit(now) {
                pieces += 1;
                answers.handle_datagram(now, client(), &sent.bytes);
                while let Some(sent) = answers.poll_transmit(now) {
                    asks.handle_datagram(now, server, &sent.bytes);
                }
            }
            if let Some(outcome) = asks.poll_event() {
                break outcome;
            }
            now = asks.poll_timeout().into_iter().chain(answers.poll_timeout()).min().unwrap().max(now);
        };
        assert_eq!(outcome.unwrap().code, tables::of(dialect).refuse);
        assert!(now < begin + SECOND && pieces < 10, "{pieces} pieces in {:?}", now - begin);
    }
}

/// The other way round: the first piece of an answer that is larger than the client takes ends the call.
#[test]
fn an_answer_that_is_too_large_for_the_client_ends_the_call() {
    let now = Instant::now();
    let server: SocketAddr = "203.0.113.9:6600".parse().unwrap();
    let bounds = Bounds { entity: 1000, ..Bounds::default() };
    let mut asks = Requester::new(requester::Config { bounds, ..requester::Config::new(&LAXCUS6) }, server);
    asks.request(now, Packet::new(code(&LAXCUS6))).unwrap();
    while asks.poll_transmit(now).is_some() {}
    let answer = Pieces::cut(&LAXCUS6, okay(&LAXCUS6, 2000), Form::of_answer(&LAXCUS6, 1)).unwrap();
    asks.handle_datagram(now, server, &answer.datagram(1).unwrap());
    let error = asks.poll_event().unwrap().unwrap_err();
    assert_eq!(error, CallError::possibly_executed(Cause::TooLarge { size: 1920, limit: 1000 }));
    // It says CANCEL, so that nothing more of it comes.
    let sent = asks.poll_transmit(now).unwrap();
    assert_eq!(sent.bytes, control::cancel(&LAXCUS6, None, 1).unwrap());
}

/// Who forges a network for each datagram, and so has one exchange in each, shuts nobody out: neither by requests that
/// are never whole nor by those that are executed. The oldest give way, those that are not whole first.
#[test]
fn a_flood_from_many_networks_shuts_nobody_out() {
    for size in [1, 2] {
        let now = Instant::now();
        let limits = Limits { exchanges: 1 << 14, ..Limits::default() };
        let mut machine = Responder::new(responder::Config { limits, ..responder::Config::new(&LAXCUS6) });
        // One of one piece, or of two without the first.
        let form = Form { size: 1, ..Form::of_request(&LAXCUS6, 1) };
        let packet = Packet::new(code(&LAXCUS6)).with_entity(vec![7; size]);
        let forged = Pieces::cut(&LAXCUS6, packet, form).unwrap().datagram(size as u32 - 1).unwrap();
        let flood = |machine: &mut Responder, nth: u32| {
            let from = std::net::Ipv4Addr::from(0x0a00_0000 + (nth << 8));
            machine.handle_datagram(now, SocketAddr::from((from, 4000)), &forged);
            while let Some(event) = machine.poll_event() {
                machine.answer(now, event.ticket, Some(okay(&LAXCUS6, 1))).unwrap();
            }
            while machine.poll_transmit(now).is_some() {}
        };
        for nth in 0..1 << 14 {
            flood(&mut machine, nth);
        }
        assert_eq!(machine.exchanges(), 1 << 14);
        // An office of a hundred behind one address, each with a request of one piece and one of three.
        for port in 4000..4100 {
            let from = SocketAddr::from(([203, 0, 113, 9], port));
            let mut executed = 0;
            for request in [cut(&LAXCUS6, 1, vec![9; 10]), cut(&LAXCUS6, 2, vec![9; 1400])] {
                for index in 0..request.count() {
                    machine.handle_datagram(now, from, &request.datagram(index).unwrap());
                    flood(&mut machine, 100_000 + u32::from(port) * 4 + index);
                    while machine.poll_transmit(now).is_some() {}
                }
                // The flood has answered it.
                let again = request.datagram(0).unwrap();
                let asked = machine.stats().questions;
                machine.handle_datagram(now, from, &again);
                executed += u32::from(machine.poll_event().is_none() && machine.stats().questions == asked);
            }
            assert_eq!(executed, 2, "{size} {port}");
        }
        assert_eq!(machine.stats().refused, 0);
    }
}

/// A network that has more than a little takes nothing from those that have less.
#[test]
fn a_large_network_takes_no_place_of_others() {
    let now = Instant::now();
    let limits = Limits { exchanges: 640, ..Limits::default() };
    let mut machine = Responder::new(responder::Config { limits, ..responder::Config::new(&LAXCUS6) });
    let begin = cut(&LAXCUS6, 1, vec![1; 900]).datagram(0).unwrap();
    let others: Vec<_> = (0..100).map(|nth| SocketAddr::from(([198, 51, nth, 1], 4000))).collect();
    for &from in &others {
        machine.handle_datagram(now, from, &begin);
    }
    for port in 0..5000 {
        machine.handle_datagram(now, SocketAddr::from(([203, 0, 113, 9], port)), &begin);
    }
    assert_eq!((machine.exchanges(), machine.stats().gave_way), (640, 0));
    let end = cut(&LAXCUS6, 1, vec![1; 900]).datagram(1).unwrap();
    for &from in &others {
        machine.handle_datagram(now, from, &end);
        assert!(machine.poll_event().is_some());
    }
}

/// Nobody waits any more for the answer of a request that was cancelled, replaced or answered.
#[test]
fn who_is_still_awaited() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let now = Instant::now();
        let mut machine = Responder::new(responder::Config::new(dialect));
        let asks = |machine: &mut Responder, identity, entity| {
            machine.handle_datagram(now, client(), &cut(dialect, identity, entity).datagram(0).unwrap());
            machine.poll_event().unwrap().ticket
        };
        let one = asks(&mut machine, 1, vec![1; 10]);
        let two = asks(&mut machine, 2, vec![2; 10]);
        // A duplicate changes nothing.
        machine.handle_datagram(now, client(), &cut(dialect, 1, vec![1; 10]).datagram(0).unwrap());
        assert!(machine.is_awaited(one) && machine.is_awaited(two), "{}", dialect.name());
        machine.handle_datagram(now, client(), &control::cancel(dialect, None, 1).unwrap());
        assert!(!machine.is_awaited(one) && machine.is_awaited(two), "{}", dialect.name());
        // Another request under its identity: the client has begun anew.
        let other = asks(&mut machine, 2, vec![3; 10]);
        assert!(!machine.is_awaited(two) && machine.is_awaited(other), "{}", dialect.name());
        machine.answer(now, other, Some(okay(dialect, 10))).unwrap();
        for ticket in [one, two, other] {
            assert!(!machine.is_awaited(ticket), "{}", dialect.name());
            machine.answer(now, ticket, None).unwrap();
        }
    }
}

/// SPEC 9.11: where all give way to an answer, its own exchange may be the last of them: it is then not sent, and
/// whoever gave it is told so.
#[test]
fn an_answer_that_its_own_exchange_gave_way_to_is_full() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut ends = BTreeSet::new();
        for free in (0..4000).step_by(50) {
            let now = Instant::now();
            let ledger = Ledger::default();
            let config =
                responder::Config { ledger: Some(ledger.clone()), ..responder::Config::new(dialect) };
            let mut machine = Responder::new(config);
            machine.handle_datagram(now, client(), &cut(dialect, 1, vec![1; 10]).datagram(0).unwrap());
            let one = machine.poll_event().unwrap();
            // Its client sends the first half of another under its identity.
            machine.handle_datagram(now, client(), &cut(dialect, 1, vec![2; 900]).datagram(0).unwrap());
            while machine.poll_transmit(now).is_some() {}
            // Others have what is left, but for a little.
            assert!(ledger.take(ledger.bound() - ledger.held() - free));
            let outcome = machine.answer(now, one.ticket, Some(okay(dialect, 1200)));
            let pieces = identities(dialect, &mut machine, now);
            let sent = if outcome.is_ok() { vec![1; 3] } else { Vec::new() };
            assert_eq!(pieces, sent, "{} with {free}: {outcome:?}", dialect.name());
            if let Err(error) = outcome {
                assert_eq!(error, AnswerError::Full);
            }
            ends.insert((machine.stats().gave_way, outcome.is_ok(), machine.exchanges()));
        }
        // Nothing gave way, its other half did, and it did itself.
        println!("{}: {ends:?}", dialect.name());
        assert!(ends.contains(&(0, true, 1)) && ends.contains(&(1, true, 1)), "{ends:?}");
        assert!(ends.contains(&(2, false, 0)), "{ends:?}");
    }
}
