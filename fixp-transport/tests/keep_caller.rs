//! The client's bookkeeping with random operations over random networks, without sockets: every request has one end,
//! no answer goes to another, what is said not to have been sent was not executed, nothing is executed twice, memory
//! stays within its bound, and nothing is left.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_laboratory::{LinkConfig, Random, Wire};
use fixp_transport::extension::{Capabilities, key};
use fixp_transport::keep::caller::{Action, Caller, Config, Flow, Options, Port, Repeat, Ticket};
use fixp_transport::keep::own::{self, Endpoint, Event};
use fixp_transport::keep::pieces::Mark;
use fixp_transport::keep::{Ledger, Responder, responder};
use fixp_transport::{Cause, Fate};

const MILLI: Duration = Duration::from_millis(1);
const ME: [u8; 4] = [10, 0, 0, 1];

/// A node of the network: one of ours, or not.
struct Node {
    dialect: &'static Dialect,
    at: SocketAddr,
    ours: bool,
    responder: Responder,
    endpoint: Endpoint,
    /// Answers that are ready at their time.
    work: Vec<(Instant, Whose, Packet)>,
    executed: Vec<Bytes>,
}

enum Whose {
    Legacy(responder::Ticket),
    Own(own::Ticket),
}

impl Node {
    fn new(dialect: &'static Dialect, at: SocketAddr, ours: bool) -> Self {
        let responder = Responder::new(responder::Config::new(dialect));
        let endpoint = Endpoint::new(own::Config::default(), Ledger::default(), at.port().into());
        Self { dialect, at, ours, responder, endpoint, work: Vec::new(), executed: Vec::new() }
    }

    fn gets(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Option<Bytes> {
        if self.ours && self.endpoint.handle_datagram(now, from, self.dialect, bytes) {
            return None;
        }
        let packet = Decoder::new(self.dialect).packet(bytes).ok()?;
        if self.dialect.name() == "laxcus6" && packet.code() == laxcus6::notify::SECURE_QUERY {
            let announces = self.ours && packet.first(key::CAPABILITIES).is_some();
            let notify = Packet::new(laxcus6::answer::SECURE_NOTIFY).with_entity(vec![0; 4]);
            return announced(notify, announces).to_bytes(self.dialect).ok();
        }
        self.responder.handle_datagram(now, from, bytes);
        None
    }

    fn works(&mut self, now: Instant, random: &mut Random) {
        self.responder.handle_timeout(now);
        self.endpoint.handle_timeout(now);
        while let Some(event) = self.responder.poll_event() {
            let announces = self.ours && Capabilities::of_request(&event.packet).is_some();
            self.executes(now, Whose::Legacy(event.ticket), &event.packet.entity, announces, random);
        }
        while let Some(event) = self.endpoint.poll_event() {
            if let Event::Request { ticket, head, .. } = event {
                self.executes(now, Whose::Own(ticket), &head.entity, false, random);
            }
        }
        let (ready, later) = std::mem::take(&mut self.work).into_iter().partition(|work| work.0 <= now);
        self.work = later;
        for (_, whose, answer) in ready {
            let _ = match whose {
                Whose::Legacy(ticket) => self.responder.answer(now, ticket, Some(answer)),
                Whose::Own(ticket) => self.endpoint.answer(now, ticket, Some(answer)),
            };
        }
    }

    fn executes(&mut self, now: Instant, whose: Whose, entity: &Bytes, announces: bool, random: &mut Random) {
        self.executed.push(entity.clone());
        let okay = fixp_transport::tables::of(self.dialect).okay;
        let mut answer = entity.to_vec();
        answer.resize(answer.len() + random.below(20_000) as usize, 3);
        let answer = announced(Packet::new(okay).with_entity(answer), announces);
        self.work.push((now + random.duration(500 * MILLI), whose, answer));
    }

    fn next(&self) -> Option<Instant> {
        let work = self.work.iter().map(|work| work.0);
        work.chain(self.responder.poll_timeout()).chain(self.endpoint.poll_timeout()).min()
    }
}

fn announced(answer: Packet, announces: bool) -> Packet {
    let we = Capabilities::OURS.with(Capabilities::OWN_KEEP);
    if announces { answer.with(key::CAPABILITIES, we.in_answer()) } else { answer }
}

/// The exchange that a piece belongs to.
fn identity(dialect: &'static Dialect, bytes: &[u8]) -> Option<i32> {
    let packet = Decoder::new(dialect).packet(bytes).ok()?;
    Mark::of(dialect, &packet).map(|mark| mark.identity)
}

#[derive(Debug)]
struct Asked {
    to: usize,
    entity: Bytes,
    cancelled: bool,
}

/// One run; the number of answers.
fn run(dialect: &'static Dialect, seed: u64) -> usize {
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut wire = Wire::new(seed);
    let loss = [0.0, 0.02, 0.15][random.below(3) as usize];
    let link = LinkConfig::default().with_delay(random.duration(20 * MILLI)).with_loss(loss);
    // A network that doubles has lexst1's port spoilt, which keep_servers.rs is about.
    wire.set_links(link.with_jitter(random.duration(10 * MILLI)));
    let mut nodes: Vec<Node> = (0..4_u8)
        .map(|n| Node::new(dialect, SocketAddr::new([10, 0, 1, n].into(), 6600), n % 2 == 0))
        .collect();
    let bound = 1 << 20;
    let mut config = Config { bytes: bound, ports: 1 + random.below(4) as usize, ..Config::new(dialect) };
    config.extensions = random.chance(0.7);
    config.timeout = Duration::from_secs(40);
    let mut caller = Caller::new(config, seed);
    let start = Instant::now();
    let (mut now, mut next_port) = (Duration::ZERO, 40_000);
    let mut ports: BTreeMap<Port, SocketAddr> = BTreeMap::new();
    let mut asked: BTreeMap<Ticket, Asked> = BTreeMap::new();
    let mut open: BTreeSet<Ticket> = BTreeSet::new();
    let (mut answers, mut tag) = (0, 0_u32);
    let mut buffer = Vec::new();
    let mut next_op = Duration::ZERO;
    let mut closed = None;
    // From which number of a port each peer was asked what at last, and what of that it has answered.
    let (mut last, mut answered) = (BTreeMap::new(), BTreeSet::new());
    loop {
        let at = start + now;
        if next_op <= now && tag < 60 {
            next_op = now + random.duration(200 * MILLI);
            if random.chance(0.1) && !open.is_empty() {
                let ticket = *open.iter().nth(random.below(open.len() as u64) as usize).unwrap();
                caller.cancel(at, ticket);
                open.remove(&ticket);
                asked.get_mut(&ticket).unwrap().cancelled = true;
            } else {
                tag += 1;
                let mut entity = tag.to_le_bytes().to_vec();
                entity.resize(4 + random.below(30_000) as usize, 7);
                let entity = Bytes::from(entity);
                let code = if dialect.name() == "lexst1" {
                    lexst1::app::ADD_LOG
                } else {
                    laxcus6::notify::FLUSH_LOG
                };
                let to = random.below(nodes.len() as u64) as usize;
                let repeat = [Repeat::Harmless, Repeat::Pieces, Repeat::Never][random.below(3) as usize];
                let timeout = random.chance(0.1).then(|| random.duration(500 * MILLI));
                let options = Options { repeat, wait: random.chance(0.9), timeout };
                let packet = Packet::new(code).with_entity(entity.clone());
                match caller.request(at, nodes[to].at, packet, options) {
                    Ok(ticket) => {
                        open.insert(ticket);
                        asked.insert(ticket, Asked { to, entity, cancelled: false });
                    }
                    Err(error) => {
                        assert_eq!((error.cause, error.fate), (Cause::Full, Fate::NotSent));
                    }
                }
            }
        }
        while let Some(delivery) = wire.poll(now) {
            if let Some(node) = nodes.iter_mut().find(|node| node.at == delivery.to) {
                if let Some(answer) = node.gets(at, delivery.from, &delivery.bytes) {
                    wire.send(now, delivery.to, delivery.from, answer);
                }
            } else if let Some((&port, _)) = ports.iter().find(|(_, local)| **local == delivery.to) {
                answered
                    .extend(identity(dialect, &delivery.bytes).map(|it| (delivery.to, delivery.from, it)));
                caller.handle_datagram(at, port, delivery.from, &delivery.bytes);
            }
        }
        caller.handle_timeout(at);
        while let Some(action) = caller.poll_action() {
            match action {
                Action::Open { port, v6 } => {
                    assert!(!v6);
                    // A number that is free again may come again.
                    let again = closed.take_if(|_| random.chance(0.5));
                    let local = again.unwrap_or_else(|| {
                        next_port += 1;
                        SocketAddr::new(ME.into(), next_port)
                    });
                    assert!(ports.values().all(|open| *open != local));
                    ports.insert(port, local);
                    caller.handle_bound(at, port, Ok(local), None);
                }
                Action::Close(port) => {
                    closed = ports.remove(&port);
                    assert!(closed.is_some());
                }
            }
        }
        while let Some(sent) = caller.poll_transmit(at, &mut buffer, 16) {
            let local = ports[&sent.port];
            for datagram in buffer.chunks(sent.segment) {
                if let Some(identity) = identity(dialect, datagram)
                    && let Some(last) = last.insert((local, sent.to), identity)
                    && dialect.name() == "lexst1"
                {
                    // What it holds of an exchange without an answer would be put together with this one.
                    let clear = last == identity || answered.contains(&(local, sent.to, last));
                    assert!(clear, "{local} is used for {} again", sent.to);
                }
                wire.send(now, local, sent.to, Bytes::copy_from_slice(datagram));
            }
            caller.handle_transmitted(at, &sent, buffer.len(), Ok(()));
        }
        let stats = caller.stats();
        assert!(stats.held <= bound && stats.ports <= caller.config().ports + 1, "{stats:?}");
        while let Some((ticket, outcome)) = caller.poll_event() {
            assert!(open.remove(&ticket), "one end, and none after it was cancelled");
            let Asked { to, entity, .. } = &asked[&ticket];
            let times = nodes[*to].executed.iter().filter(|executed| *executed == entity).count();
            match outcome {
                Ok(answer) => {
                    assert_eq!(answer.entity.get(..entity.len()), Some(&entity[..]), "its own answer");
                    assert!(answer.messages.iter().all(|message| !key::RANGE.contains(&message.key)));
                    assert_eq!(times, 1);
                    answers += 1;
                }
                Err(error) => {
                    assert!(matches!(error.cause, Cause::Timeout | Cause::Full), "{error}");
                    assert!(error.fate == Fate::PossiblyExecuted || times == 0, "{error}");
                }
            }
        }
        for node in &mut nodes {
            node.works(at, &mut random);
            while let Some(sent) = node.responder.poll_transmit(at) {
                wire.send(now, node.at, sent.to, sent.bytes);
            }
            buffer.clear();
            while let Some(sent) = node.endpoint.poll_transmit(at, &mut buffer, 16) {
                for datagram in buffer.chunks(sent.segment) {
                    wire.send(now, node.at, sent.to, Bytes::copy_from_slice(datagram));
                }
                buffer.clear();
            }
        }
        let op = (tag < 60).then_some(next_op);
        let timers = nodes.iter().filter_map(Node::next).chain(caller.poll_timeout());
        let timer = timers.min().map(|at| at.saturating_duration_since(start));
        let Some(next) = [wire.next_time(), op, timer].into_iter().flatten().min() else { break };
        // What is due is not looked at more often than each tenth of a millisecond.
        now = next.max(now + MILLI / 10);
        if now > Duration::from_secs(1200) {
            break;
        }
    }
    assert!(open.is_empty(), "each has its end");
    let stats = caller.stats();
    let ended = stats.answers + stats.timeouts + stats.cancelled + stats.failed;
    assert_eq!((stats.requests, stats.in_flight, stats.waiting), (ended, 0, 0), "{stats:?}");
    assert_eq!((stats.held, stats.associations), (0, 0), "{stats:?}");
    for node in &nodes {
        // Twice only what nobody knows the end of: legacy ones are told again, and ours remember.
        let mut seen = BTreeSet::new();
        assert!(node.executed.iter().all(|entity| seen.insert(entity.clone())), "executed twice");
    }
    answers
}

#[test]
fn lexst1() {
    let answers: usize = (0..12).map(|seed| run(&LEXST1, seed)).sum();
    assert!(answers > 12 * 30, "{answers}");
}

#[test]
fn laxcus6() {
    let answers: usize = (100..112).map(|seed| run(&LAXCUS6, seed)).sum();
    assert!(answers > 12 * 30, "{answers}");
}

/// The same seed, the same end.
#[test]
fn a_seed_replays() {
    assert_eq!(run(&LAXCUS6, 7), run(&LAXCUS6, 7));
}

/// A caller and one node of ours that know each other, on a network that brings everything at once.
struct Both {
    caller: Caller,
    node: Node,
    port: Port,
    now: Instant,
}

impl Both {
    fn me() -> SocketAddr {
        SocketAddr::new(ME.into(), 40_000)
    }

    fn new() -> Self {
        let mut config = Config::new(&LAXCUS6);
        config.own.send_window = 64 << 10;
        let (mut caller, mut now) = (Caller::new(config, 1), Instant::now());
        let mut node = Node::new(&LAXCUS6, SocketAddr::new([10, 0, 1, 0].into(), 6600), true);
        let own = own::Config {
            exchange_window: 64 << 10,
            request_idle: Duration::from_secs(600),
            ..own::Config::default()
        };
        node.endpoint = Endpoint::new(own, Ledger::default(), 2);
        let first = Packet::new(laxcus6::notify::FLUSH_LOG);
        caller.request(now, node.at, first, Options::default()).unwrap();
        let Some(Action::Open { port, .. }) = caller.poll_action() else { panic!("no port") };
        caller.handle_bound(now, port, Ok(Self::me()), None);
        let mut both = Self { caller, node, port, now };
        both.exchange();
        let Some(Event::Request { ticket, .. }) = both.node.endpoint.poll_event() else { panic!("not ours") };
        let okay = Packet::new(laxcus6::answer::OKAY);
        both.node.endpoint.answer(both.now, ticket, Some(okay)).unwrap();
        both.exchange();
        assert!(matches!(both.caller.poll_event(), Some((_, Ok(_)))));
        now += Duration::from_secs(1);
        both.pass(now);
        while both.caller.poll_flow().is_some() || both.node.endpoint.poll_event().is_some() {}
        both
    }

    /// Until neither has anything to send.
    fn exchange(&mut self) {
        let (mut buffer, now) = (Vec::new(), self.now);
        loop {
            let mut moved = false;
            while let Some(sent) = self.caller.poll_transmit(now, &mut buffer, 16) {
                moved = true;
                for datagram in buffer.chunks(sent.segment) {
                    if let Some(answer) = self.node.gets(now, Self::me(), datagram) {
                        self.caller.handle_datagram(now, self.port, self.node.at, &answer);
                    }
                }
                self.caller.handle_transmitted(now, &sent, buffer.len(), Ok(()));
            }
            buffer.clear();
            while let Some(sent) = self.node.endpoint.poll_transmit(now, &mut buffer, 16) {
                moved = true;
                for datagram in buffer.chunks(sent.segment) {
                    self.caller.handle_datagram(now, self.port, self.node.at, datagram);
                }
                buffer.clear();
            }
            if !moved {
                return;
            }
        }
    }

    /// Until this time, with all that is due and is sent before.
    fn pass(&mut self, end: Instant) {
        loop {
            self.exchange();
            let timers = self.caller.poll_timeout().into_iter().chain(self.node.endpoint.poll_timeout());
            let Some(next) = timers.min().filter(|&next| next <= end) else { break };
            self.now = next.max(self.now + MILLI / 10);
            self.caller.handle_timeout(self.now);
            self.node.endpoint.handle_timeout(self.now);
        }
        self.now = self.now.max(end);
    }
}

/// A request over the own transport ends in its time though the socket takes nothing, and its caller knows whether
/// anything of it was sent.
#[test]
fn a_socket_that_takes_nothing_keeps_nobody_waiting() {
    for sent in [false, true] {
        let mut both = Both::new();
        let (begin, time) = (both.now, Duration::from_secs(5));
        let log = Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(vec![7; 100_000]);
        let options = Options { timeout: Some(time), ..Options::default() };
        let ticket = both.caller.request(begin, both.node.at, log, options).unwrap();
        assert_eq!(both.caller.stats().own, 2, "it is over the own transport");
        if sent {
            let mut buffer = Vec::new();
            let sent = both.caller.poll_transmit(begin, &mut buffer, 1).unwrap();
            both.caller.handle_transmitted(begin, &sent, buffer.len(), Ok(()));
        }
        let (at, outcome) = loop {
            let at = both.caller.poll_timeout().unwrap();
            assert!(at <= begin + time, "nothing has ended, and nothing will before {:?}", at - begin);
            both.caller.handle_timeout(at);
            if let Some((of, outcome)) = both.caller.poll_event() {
                assert_eq!(of, ticket);
                break (at, outcome);
            }
        };
        let error = outcome.unwrap_err();
        let fate = if sent { Fate::PossiblyExecuted } else { Fate::NotSent };
        assert_eq!((at - begin, error.cause, error.fate), (time, Cause::Timeout, fate));
        assert_eq!(both.caller.stats().in_flight, 0);
    }
}

/// SPEC 10.14: who reads an answer of which nothing comes has his end in its time, though his own writer finds room now
/// and then; where bytes of his leave, the peer has its time anew.
#[test]
fn room_alone_is_no_sign_of_life() {
    for writes in [false, true] {
        let mut both = Both::new();
        let (head, second) = (Packet::new(laxcus6::notify::FLUSH_LOG), Duration::from_secs(1));
        let ticket =
            both.caller.request_stream(both.now, both.node.at, head, 4 << 20, Options::default()).unwrap();
        both.exchange();
        let Some(Event::Request { ticket: asked, .. }) = both.node.endpoint.poll_event() else {
            panic!("it has not come");
        };
        let okay = Packet::new(laxcus6::answer::OKAY);
        both.node.endpoint.answer_stream(both.now, asked, okay, 64 << 20).unwrap();
        both.pass(both.now + second);
        // As much as the peer takes that does not read, and as much as waits here for that.
        let mut bytes = Bytes::from(vec![7; 4 << 20]);
        for _ in 0..5 {
            assert!(!both.caller.write(both.now, ticket, &mut bytes));
            both.pass(both.now + second);
        }
        let flows = std::iter::from_fn(|| both.caller.poll_flow()).collect::<Vec<_>>();
        assert!(flows.iter().any(|(_, flow)| matches!(flow, Flow::Answer(_, len) if *len == 64 << 20)));
        assert_eq!(both.caller.read(both.now, ticket), None);
        let (mut since, mut moves, mut left) = (both.now, 0, bytes.len());
        let error = 'read: loop {
            both.pass(both.now + second);
            assert!(both.now - since < 100 * second, "it is still waited for after {moves} moves");
            // Now and then, for some time, the peer reads what is there, and says so.
            if (both.now - since).as_secs() == 20 && moves < 5 {
                while both.node.endpoint.read(both.now, asked).is_some() {}
                both.exchange();
            }
            while let Some((of, flow)) = both.caller.poll_flow() {
                assert_eq!(of, ticket);
                match flow {
                    Flow::Moves => moves += 1,
                    Flow::Broken(error) => break 'read error,
                    Flow::Answer(..) => panic!("a second answer"),
                }
                if writes {
                    both.caller.write(both.now, ticket, &mut bytes);
                    if bytes.len() < left {
                        (left, since) = (bytes.len(), both.now);
                    }
                }
            }
            assert_eq!(both.caller.read(both.now, ticket), None);
        };
        assert_eq!((error.cause, error.fate), (Cause::Timeout, Fate::PossiblyExecuted));
        let waited = both.now - since;
        assert!((60 * second..62 * second).contains(&waited), "{waited:?} after {moves} moves");
        assert!(if writes { moves >= 5 } else { moves > 0 }, "{moves}");
    }
}
