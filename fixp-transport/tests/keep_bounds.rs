//! What KEEP UDP may cost others: the bytes that a forger has sent to somebody else, the pace of pieces, and the
//! memory of several machines in one ledger (SPEC 9.12, 9.13).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_laboratory::Random;
use fixp_transport::keep::budget::Rates;
use fixp_transport::keep::pace::Pace;
use fixp_transport::keep::pieces::{Added, Bounds, Form, Gather, Mark, Pieces};
use fixp_transport::keep::{Ledger, Requester, Responder, control, requester, responder};
use fixp_transport::server::AllowList;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const MEBIBYTE: usize = 1 << 20;

fn code(dialect: &Dialect) -> fixp_codec::Code {
    if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG }
}

fn okay(dialect: &Dialect, size: usize) -> Packet {
    Packet::new(fixp_transport::tables::of(dialect).okay).with_entity(vec![9; size])
}

fn piece(dialect: &'static Dialect, identity: i32, entity: Vec<u8>) -> Bytes {
    let packet = Packet::new(code(dialect)).with_entity(entity);
    Pieces::cut(dialect, packet, Form::of_request(dialect, identity)).unwrap().datagram(0).unwrap()
}

/// A responder that is asked by whoever, its clock, and what came from and went to one network.
struct Node {
    machine: Responder,
    dialect: &'static Dialect,
    begin: Instant,
    now: Instant,
    came: u64,
    went: u64,
    /// What of that were ACCEPTED and answers to CANCEL, which have a bound of their own.
    controls: u64,
    /// The most that ever went beside them beyond what came and the rates.
    beyond: i64,
    signs: bool,
    /// The size of its answers.
    size: usize,
}

impl Node {
    fn new(dialect: &'static Dialect, size: usize) -> Self {
        let now = Instant::now();
        let machine = Responder::new(responder::Config::new(dialect));
        let (came, went, controls, beyond) = (0, 0, 0, i64::MIN);
        Self { machine, dialect, begin: now, now, came, went, controls, beyond, signs: false, size }
    }

    /// What has left now.
    fn settle(&mut self) -> Vec<Bytes> {
        while let Some(event) = self.machine.poll_event() {
            // Without room there is no answer, and that is fine.
            let _ = self.machine.answer(self.now, event.ticket, Some(okay(self.dialect, self.size)));
        }
        let mut out = Vec::new();
        while let Some(sent) = self.machine.poll_transmit(self.now) {
            self.went += sent.bytes.len() as u64;
            let packet = Decoder::new(self.dialect).packet(&sent.bytes).unwrap();
            if !packet.code().is_request() && Mark::of(self.dialect, &packet).is_none() {
                self.controls += sent.bytes.len() as u64;
            }
            out.push(sent.bytes);
        }
        let time = (self.now - self.begin).as_secs_f64();
        let mut may = self.came as f64 + Rates::BURST as f64 + Rates::RATE as f64 * time;
        if self.signs {
            may += Rates::SIGN_BURST as f64 + Rates::SIGN_RATE as f64 * time;
        }
        self.beyond = self.beyond.max((self.went - self.controls) as i64 - may as i64);
        assert!(self.controls <= 3 * self.came, "{} of {}", self.controls, self.came);
        out
    }

    fn gets(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<Bytes> {
        self.came += bytes.len() as u64;
        assert!(self.machine.handle_datagram(self.now, from, bytes));
        self.settle()
    }

    /// Lets time pass, and collects what leaves with its time.
    fn until(&mut self, end: Instant) -> Vec<(Instant, Bytes)> {
        let mut out = Vec::new();
        while let Some(at) = self.machine.poll_timeout().filter(|&at| at <= end) {
            assert!(at >= self.now);
            self.now = at;
            self.machine.handle_timeout(at);
            out.extend(self.settle().into_iter().map(|bytes| (at, bytes)));
        }
        self.now = self.now.max(end);
        out
    }
}

/// Somebody of the victim's network.
fn forged(random: &mut Random) -> SocketAddr {
    let (host, port) = (random.below(256) as u8, 1024 + random.below(60_000) as u16);
    SocketAddr::from(([198, 51, 100, host], port))
}

/// 2.11, 2: a forged request of one piece draws a large answer, three ACCEPTED and, since nobody says CANCEL, that
/// again and again.
#[test]
fn forged_requests_draw_no_more_than_the_rates() {
    for dialect in [&LAXCUS6, &LEXST1] {
        let (mut node, mut random) = (Node::new(dialect, MEBIBYTE), Random::new(1));
        for nth in 0..600 {
            let from = forged(&mut random);
            node.gets(from, &piece(dialect, nth, vec![7; 10]));
            node.until(node.begin + 100 * MILLI * nth as u32);
        }
        node.until(node.begin + 180 * SECOND);
        assert!(node.beyond <= 0, "{} bytes beyond", node.beyond);
        // The limit was reached: without it there would be thousands of MiB.
        assert!(node.went > Rates::BURST + 60 * Rates::RATE, "{}", node.went);
        println!("{}: {} bytes came, {} went in 180 s", dialect.name(), node.came, node.went);
    }
}

/// 2.11, 2: a forged piece of 200 draws questions, of no more bytes than it has, whatever it says and however long
/// one waits.
#[test]
fn a_forged_count_draws_no_more_than_it_brings() {
    for dialect in [&LAXCUS6, &LEXST1] {
        let (mut node, mut random) = (Node::new(dialect, 0), Random::new(2));
        for nth in 0..2000 {
            let serial = 199 + i32::from(dialect.name() == "lexst1");
            let packet = Packet::new(code(dialect)).with(3001, 200).with(3002, serial);
            let packet = packet.with(3000, nth % 50).with(3003, 1).to_bytes(dialect).unwrap();
            let from = forged(&mut random);
            node.gets(from, &packet);
            node.until(node.begin + 10 * MILLI * nth as u32);
        }
        node.until(node.begin + 300 * SECOND);
        assert!(node.went > 0 && node.went <= node.came, "{} of {}", node.went, node.came);
        assert_eq!((node.machine.held(), node.machine.exchanges()), (0, 0));
    }
}

/// 2.11, 4: floods of CANCEL and RETRY.
#[test]
fn floods_of_controls_draw_no_more_than_the_rates() {
    let (mut node, mut random) = (Node::new(&LAXCUS6, MEBIBYTE), Random::new(3));
    for nth in 0..4000_i32 {
        let from = forged(&mut random);
        node.gets(from, &piece(&LAXCUS6, 1, nth.to_le_bytes().to_vec()));
        for _ in 0..5 {
            let serials: Vec<u32> = (0..50).map(|_| random.below(2185) as u32).collect();
            node.gets(from, &control::retry(&LAXCUS6, None, 1, &serials).unwrap());
        }
        for identity in [2, 77] {
            node.gets(from, &control::cancel(&LAXCUS6, None, identity).unwrap());
        }
        node.until(node.begin + 10 * MILLI * nth as u32);
    }
    node.until(node.begin + 240 * SECOND);
    assert!(node.beyond <= 0, "{} bytes beyond", node.beyond);
    assert!(node.went > node.came + Rates::BURST, "{} of {}", node.went, node.came);
    println!("{} bytes came, {} went in 240 s", node.came, node.went);
    assert_eq!(node.machine.held(), 0);
}

/// A forger who also forges the signs that everything arrived gets the second rate, too, and no more.
#[test]
fn forged_signs_draw_no_more_than_their_rate() {
    let (mut node, mut random) = (Node::new(&LAXCUS6, MEBIBYTE), Random::new(5));
    node.signs = true;
    for nth in 0..250 {
        let from = forged(&mut random);
        node.gets(from, &piece(&LAXCUS6, 1, vec![7; 10]));
        node.until(node.begin + 120 * MILLI * nth + 110 * MILLI);
        for _ in 0..3 {
            node.gets(from, &control::cancel(&LAXCUS6, None, 1).unwrap());
        }
        node.until(node.begin + 120 * MILLI * (nth + 1));
    }
    assert!(node.beyond <= 0, "{} bytes beyond", node.beyond);
    assert!(node.went > Rates::BURST + Rates::SIGN_BURST, "{}", node.went);
    println!("{} bytes came, {} went in 30 s", node.came, node.went);
    assert_eq!(node.machine.held(), 0);
}

/// A laxcus6 client as recorded: one piece, then silence until everything is there, then CANCEL. The times of its
/// exchanges, one after the other on one port.
fn downloads(node: &mut Node, from: SocketAddr, count: i32) -> Vec<Duration> {
    let mut times = Vec::new();
    for identity in 1..=count {
        let begin = node.now;
        let mut gather: Option<Gather> = None;
        let mut came: VecDeque<(Instant, Bytes)> = node
            .gets(from, &piece(&LAXCUS6, identity, vec![7; 10]))
            .into_iter()
            .map(|b| (begin, b))
            .collect();
        loop {
            let Some((at, bytes)) = came.pop_front() else {
                let at = node.machine.poll_timeout().unwrap();
                came.extend(node.until(at));
                continue;
            };
            let packet = Decoder::new(&LAXCUS6).packet(&bytes).unwrap();
            let Some(mark) = Mark::of(&LAXCUS6, &packet) else { continue };
            let gather = gather.get_or_insert_with(|| Gather::new(mark));
            if gather.add(mark, &packet, 0, Bounds::default()) == Added::Whole {
                times.push(at - begin);
                break;
            }
        }
        assert!(came.is_empty(), "each piece once");
        let okay = node.gets(from, &control::cancel(&LAXCUS6, None, identity).unwrap());
        assert_eq!(okay, [control::cancelled(&LAXCUS6, None, true).unwrap()]);
    }
    assert_eq!((node.machine.held(), node.machine.exchanges()), (0, 0));
    times
}

#[test]
fn a_recorded_client_gets_answers_of_a_mebibyte_fast() {
    let client = "203.0.113.5:4000".parse().unwrap();
    // The burst and its signs carry the first ones at the pace; then the rate of signs does.
    let mut node = Node::new(&LAXCUS6, MEBIBYTE);
    node.signs = true;
    let times = downloads(&mut node, client, 20);
    assert!(times[0] < 110 * MILLI && times[3] < 30 * MILLI, "{times:?}");
    assert!(times[7] < 15 * MILLI, "{times:?}");
    assert!(times.iter().sum::<Duration>() < 7 * SECOND, "{times:?}");
    assert!(node.beyond <= 0);
    // Others of its network come after it, those of another do not.
    let mut other = downloads(&mut node, "203.0.114.5:4000".parse().unwrap(), 1);
    assert!(other.pop().unwrap() < 110 * MILLI);
    // On the list nothing but the pace is felt.
    let mut node = Node::new(&LAXCUS6, MEBIBYTE);
    let allow: AllowList = "203.0.113.0/24".parse().unwrap();
    node.machine = Responder::new(responder::Config { allow, ..responder::Config::new(&LAXCUS6) });
    let times = downloads(&mut node, client, 100);
    assert!(times[8..].iter().all(|&time| time < 15 * MILLI), "{times:?}");
}

/// An answer that leaves slowly is not begun anew: not by the time after which it would be sent again, and not by
/// a client that sends its request again meanwhile.
#[test]
fn a_slow_answer_is_not_begun_anew() {
    let rates = Rates { rate: 100_000, burst: 10_000, ..Rates::default() };
    let mut machine = Responder::new(responder::Config { rates, ..responder::Config::new(&LAXCUS6) });
    let (begin, from) = (Instant::now(), "203.0.113.5:4000".parse().unwrap());
    let request = piece(&LAXCUS6, 1, vec![7; 10]);
    machine.handle_datagram(begin, from, &request);
    let event = machine.poll_event().unwrap();
    machine.answer(begin, event.ticket, Some(okay(&LAXCUS6, MEBIBYTE))).unwrap();
    let mut serials = Vec::new();
    let mut now = begin;
    let mut again = begin + 3 * SECOND;
    while serials.len() < 2185 {
        while let Some(sent) = machine.poll_transmit(now) {
            let packet = Decoder::new(&LAXCUS6).packet(&sent.bytes).unwrap();
            serials.extend(Mark::of(&LAXCUS6, &packet).map(|mark| mark.index));
        }
        now = machine.poll_timeout().unwrap().min(again);
        machine.handle_timeout(now);
        if now == again {
            machine.handle_datagram(now, from, &request);
            again += 3 * SECOND;
        }
    }
    assert!(serials.iter().copied().eq(0..2185));
    let time = now - begin;
    assert!((11 * SECOND..14 * SECOND).contains(&time), "{time:?}");
}

/// An answer that is as large as its request needs no budget.
#[test]
fn what_came_may_go() {
    let rates = Rates { rate: 1, burst: 0, ..Rates::default() };
    let mut machine = Responder::new(responder::Config { rates, ..responder::Config::new(&LAXCUS6) });
    let (now, from) = (Instant::now(), "203.0.113.5:4000".parse().unwrap());
    let packet = Packet::new(code(&LAXCUS6)).with_entity(vec![7; 20_000]);
    let pieces = Pieces::cut(&LAXCUS6, packet, Form::of_request(&LAXCUS6, 1)).unwrap();
    for index in 0..pieces.count() {
        machine.handle_datagram(now, from, &pieces.datagram(index).unwrap());
    }
    let event = machine.poll_event().unwrap();
    machine.answer(now, event.ticket, Some(okay(&LAXCUS6, 18_000))).unwrap();
    assert_eq!(std::iter::from_fn(|| machine.poll_transmit(now)).count(), 3 + 18_000_usize.div_ceil(480));
}

#[test]
fn both_machines_keep_the_pace_and_slow_down_for_losses() {
    let (client, server): (SocketAddr, SocketAddr) =
        ("127.0.0.1:4000".parse().unwrap(), "127.0.0.1:6600".parse().unwrap());
    let mut now = Instant::now();
    let mut asking = Requester::new(requester::Config::new(&LAXCUS6), server);
    let request = Packet::new(code(&LAXCUS6)).with_entity(vec![7; 4 * MEBIBYTE]);
    asking.request(now, request).unwrap();
    let burst = |asking: &mut Requester, now| {
        let sent: usize = std::iter::from_fn(|| asking.poll_transmit(now)).map(|sent| sent.bytes.len()).sum();
        sent as u64
    };
    let first = burst(&mut asking, now);
    assert!((Pace::BURST..Pace::BURST + 600).contains(&first), "{first}");
    // A millisecond later, a millisecond's worth.
    now += MILLI;
    asking.handle_timeout(now);
    let next = burst(&mut asking, now);
    assert!((Pace::RATE / 1000 - 600..Pace::RATE / 1000 + 600).contains(&next), "{next}");
    while let Some(at) = asking.poll_timeout().filter(|&at| at < now + 100 * MILLI) {
        asking.handle_timeout(at);
        burst(&mut asking, at);
    }
    // The server asks for what was lost: half as fast, and half of that for the next loss, where it is less than
    // half of what has left since.
    now += 200 * MILLI;
    for (rate, packets) in [(Pace::RATE / 2, 20), (Pace::RATE / 4, 8)] {
        now += Pace::LOSS;
        for packet in 0..packets {
            let serials: Vec<u32> = (0..50).map(|serial| packet * 50 + serial).collect();
            let retry = control::retry(&LAXCUS6, None, 1, &serials).unwrap();
            asking.handle_datagram(now, server, &retry);
        }
        burst(&mut asking, now);
        let next = burst(&mut asking, now + MILLI);
        assert!((rate / 1000 - 600..rate / 1000 + 600).contains(&next), "{next}");
        now += 50 * MILLI;
        while burst(&mut asking, now) > 0 {
            now += MILLI;
        }
    }

    let mut answering = Responder::new(responder::Config::new(&LAXCUS6));
    answering.handle_datagram(now, client, &piece(&LAXCUS6, 1, vec![7; 10]));
    let event = answering.poll_event().unwrap();
    answering.answer(now, event.ticket, Some(okay(&LAXCUS6, 4 * MEBIBYTE))).unwrap();
    let burst = |answering: &mut Responder, now| {
        answering.handle_timeout(now);
        let sent: usize =
            std::iter::from_fn(|| answering.poll_transmit(now)).map(|sent| sent.bytes.len()).sum();
        sent as u64
    };
    let first = burst(&mut answering, now);
    assert!((Pace::BURST..Pace::BURST + 700).contains(&first), "{first}");
    now += MILLI;
    answering.handle_datagram(now, client, &control::retry(&LAXCUS6, None, 1, &[3]).unwrap());
    let next = burst(&mut answering, now);
    assert!((Pace::RATE / 2000 - 600..Pace::RATE / 2000 + 600).contains(&next), "{next}");
}

/// A ledger that others count in: its bound holds, and everything is given back, by a machine that is dropped too.
#[test]
fn one_ledger_for_several() {
    let ledger = Ledger::new(30_000);
    let machine = || {
        let config = responder::Config { ledger: Some(ledger.clone()), ..responder::Config::new(&LAXCUS6) };
        Responder::new(config)
    };
    let mut machines = [machine(), machine(), machine()];
    let (mut now, mut random) = (Instant::now(), Random::new(4));
    let mut most = 0;
    for _ in 0..3000 {
        now += random.duration(20 * MILLI);
        let machine = &mut machines[random.below(3) as usize];
        let from = SocketAddr::from(([127, 0, 0, 1], 4000 + random.below(20) as u16));
        let identity = random.below(30) as i32;
        let count = 1 + random.below(4);
        let pieces = Packet::new(code(&LAXCUS6)).with_entity(vec![identity as u8; 480 * count as usize]);
        let pieces = Pieces::cut(&LAXCUS6, pieces, Form::of_request(&LAXCUS6, identity)).unwrap();
        let bytes = match random.below(4) {
            0 => control::cancel(&LAXCUS6, None, identity).unwrap(),
            _ => pieces.datagram(random.below(count) as u32).unwrap(),
        };
        machine.handle_datagram(now, from, &bytes);
        if random.below(2) == 0
            && let Some(event) = machine.poll_event()
        {
            let _ = machine.answer(now, event.ticket, Some(okay(&LAXCUS6, 5000)));
        }
        machine.handle_timeout(now);
        while random.below(10) > 0 && machine.poll_transmit(now).is_some() {}
        let held: usize = machines.iter().map(Responder::held).sum();
        assert_eq!(ledger.held(), held);
        most = most.max(held);
    }
    assert!((29_000..=30_000).contains(&most), "{most}");
    let [mut one, two, three] = machines;
    drop((two, three));
    assert_eq!(ledger.held(), one.held());
    while let Some(event) = one.poll_event() {
        one.answer(now, event.ticket, None).unwrap();
    }
    while one.poll_transmit(now).is_some() {}
    while let Some(at) = one.poll_timeout() {
        one.handle_timeout(at);
        while one.poll_transmit(at).is_some() {}
    }
    assert_eq!((ledger.held(), one.exchanges()), (0, 0));
}
