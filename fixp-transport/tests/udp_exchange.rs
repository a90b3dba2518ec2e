//! The bookkeeping of requests over UDP under arbitrary requests, losses, copies, delays, cancels and restarts
//! of peers: on a clock of its own, without sockets (SPEC 11.12).
//!
//! What may be asked of the network: to a legacy peer an answer comes within the quarantine after its request
//! ended, and the copies of an answer within the time to settle; the same of a legacy program that has taken the
//! place of one of ours. Of our own peers nothing is asked.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fixp_codec::{Code, Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::extension::{self, Capabilities, key};
use fixp_transport::udp::exchange::{Action, Config, Exchange, Options, Port, Repeat, Security, Ticket};
use fixp_transport::{Cause, Fate};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// Peers in the world, of which so many are remembered.
const PEERS: u16 = 5;
const REMEMBERED: usize = 4;
const PORTS: usize = 3;
const REQUESTS: usize = 24;
const BYTES: usize = 1000;
const QUARANTINE: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Server {
    /// Answers with all the messages of the request, as the recorded ones.
    Echo,
    /// Answers without them.
    Strip,
    /// One of ours.
    Own,
}

#[derive(Clone, Debug)]
enum Op {
    Request {
        peer: u16,
        timeout: u64,
        repeat: Option<(u32, u64)>,
        wait: bool,
    },
    Notice {
        peer: u16,
    },
    Cancel(usize),
    /// A request reaches its server, and the answer leaves; with `again`, a copy stays on its way.
    Arrive {
        which: usize,
        again: bool,
    },
    Lose(usize),
    /// An answer comes; with `again`, a copy stays on its way.
    Answer {
        which: usize,
        again: bool,
    },
    /// An answer comes from an address that was not asked.
    Stray {
        which: usize,
        peer: u16,
    },
    Garbage {
        peer: u16,
        bytes: Vec<u8>,
    },
    Advance(u64),
    Restart {
        peer: u16,
        server: Server,
    },
    /// The next datagram is refused by its socket.
    Refuse,
    /// The next port cannot be opened.
    Unopened,
    /// The next port has the number of the one that was closed last.
    SameNumber,
    LosePort(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let server = prop_oneof![Just(Server::Echo), Just(Server::Strip), Just(Server::Own)];
    let millis = prop_oneof![0..30_u64, 0..5000_u64, 0..100_000_u64];
    prop_oneof![
        8 => (0..PEERS, 1..20_000_u64, prop::option::of((1..3_u32, 1..3000_u64)), any::<bool>())
            .prop_map(|(peer, timeout, repeat, wait)| Op::Request { peer, timeout, repeat, wait }),
        1 => (0..PEERS).prop_map(|peer| Op::Notice { peer }),
        2 => any::<usize>().prop_map(Op::Cancel),
        8 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(which, again)| Op::Arrive { which, again }),
        1 => any::<usize>().prop_map(Op::Lose),
        8 => (any::<usize>(), prop::bool::weighted(0.3)).prop_map(|(which, again)| Op::Answer { which, again }),
        1 => (any::<usize>(), 0..PEERS).prop_map(|(which, peer)| Op::Stray { which, peer }),
        1 => (0..PEERS, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(peer, bytes)| Op::Garbage { peer, bytes }),
        5 => millis.prop_map(Op::Advance),
        1 => (0..PEERS, server).prop_map(|(peer, server)| Op::Restart { peer, server }),
        1 => Just(Op::Refuse),
        1 => Just(Op::Unopened),
        1 => Just(Op::SameNumber),
        1 => (0..4_usize).prop_map(Op::LosePort),
    ]
}

fn addr(peer: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 6000 + peer))
}

/// A datagram under way. Those of one exchange share the moment until which its copies may come.
#[derive(Clone, Debug)]
struct Flight {
    port: Port,
    peer: SocketAddr,
    bytes: Vec<u8>,
    /// The request that it is, or answers; nothing for SECURE_QUERY, whose answers say what they are.
    request: Option<Ticket>,
}

struct World {
    dialect: &'static Dialect,
    now: Instant,
    exchange: Exchange,
    servers: BTreeMap<SocketAddr, Server>,
    to_servers: Vec<Flight>,
    to_client: Vec<Flight>,
    live: BTreeMap<Ticket, Live>,
    /// Until when an answer to a request may come: past it the network has lost it.
    ends: BTreeMap<Ticket, Instant>,
    /// By the model, not by the exchange: when a port may carry a request without serial to a peer again.
    blocked: BTreeMap<(Port, SocketAddr), Instant>,
    /// The ports that are open, and their numbers.
    open: BTreeMap<Port, u16>,
    /// All that ever were, with the same.
    used: BTreeMap<Port, u16>,
    /// The number of the port that was closed last.
    closed: Option<u16>,
    refuse: bool,
    unopened: bool,
    same_number: bool,
    next_tag: u32,
}

#[derive(Clone, Debug)]
struct Live {
    tag: u32,
    notice: bool,
    peer: SocketAddr,
    /// Where it stands without a serial, SECURE_QUERY included.
    lane: Option<Port>,
    /// Copies of it that a socket took.
    sent: u32,
    /// Without a serial.
    legacy: u32,
}

impl World {
    fn new(dialect: &'static Dialect, extensions: bool, security: Security, servers: &[Server]) -> Self {
        let config = Config {
            extensions,
            security,
            ports: PORTS,
            requests: REQUESTS,
            bytes: BYTES,
            peers: REMEMBERED,
            quarantine: QUARANTINE,
            settle: SETTLE,
            ..Config::new(dialect)
        };
        Self {
            dialect,
            now: Instant::now(),
            exchange: Exchange::new(config, u64::MAX / 2 - 3),
            servers: (0..PEERS).map(addr).zip(servers.iter().copied()).collect(),
            to_servers: Vec::new(),
            to_client: Vec::new(),
            live: BTreeMap::new(),
            ends: BTreeMap::new(),
            blocked: BTreeMap::new(),
            open: BTreeMap::new(),
            used: BTreeMap::new(),
            closed: None,
            refuse: false,
            unopened: false,
            same_number: false,
            next_tag: 1,
        }
    }

    fn request(&self, tag: u32) -> Packet {
        let (code, speak) = if self.dialect.name() == "lexst1" {
            (lexst1::app::ADD_LOG, lexst1::key::SPEAK)
        } else {
            (laxcus6::notify::FLUSH_LOG, laxcus6::key::SPEAK)
        };
        Packet::new(code).with(speak, "hello").with_entity(tag.to_le_bytes().to_vec())
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Request { peer, timeout, repeat, wait } => {
                let options = Options {
                    timeout: Some(Duration::from_millis(timeout)),
                    repeat: repeat.map_or(Repeat::Never, |(times, every)| Repeat::Harmless {
                        times,
                        every: Duration::from_millis(every),
                    }),
                    wait,
                };
                self.begin(peer, options, false);
            }
            Op::Notice { peer } => self.begin(peer, Options::default(), true),
            Op::Cancel(which) => {
                if let Some(&ticket) = pick(&self.live.keys().copied().collect::<Vec<_>>(), which) {
                    self.exchange.cancel(self.now, ticket);
                    self.ended(ticket, false);
                }
            }
            Op::Arrive { which, again } => {
                if self.to_servers.is_empty() {
                    return;
                }
                let at = which % self.to_servers.len();
                let flight = self.to_servers[at].clone();
                if !again {
                    self.to_servers.remove(at);
                }
                let server = self.servers[&flight.peer];
                if let Some(bytes) = serve(self.dialect, server, &flight.bytes) {
                    self.to_client.push(Flight { bytes, ..flight });
                }
            }
            Op::Lose(which) => {
                if !self.to_servers.is_empty() {
                    self.to_servers.remove(which % self.to_servers.len());
                }
            }
            Op::Answer { which, again } => {
                if self.to_client.is_empty() {
                    return;
                }
                let at = which % self.to_client.len();
                let flight = self.to_client[at].clone();
                if !again {
                    self.to_client.remove(at);
                }
                let serial = has_serial(self.dialect, &flight.bytes);
                let late = |ticket| self.ends.get(&ticket).is_some_and(|&end| end <= self.now);
                if !serial && flight.request.is_some_and(late) {
                    return;
                }
                // It comes to whoever has the number.
                let number = self.used[&flight.port];
                if let Some((&port, _)) = self.open.iter().find(|&(_, &open)| open == number) {
                    self.exchange.handle_datagram(self.now, port, flight.peer, &flight.bytes);
                }
            }
            Op::Stray { which, peer } => {
                if let Some(flight) = pick(&self.to_client, which).cloned()
                    && flight.peer != addr(peer)
                    && has_serial(self.dialect, &flight.bytes)
                {
                    let before = self.exchange.stats().answers;
                    self.exchange.handle_datagram(self.now, flight.port, addr(peer), &flight.bytes);
                    assert_eq!(self.exchange.stats().answers, before, "an answer from another address");
                }
            }
            Op::Garbage { peer, ref bytes } => {
                // What is not a packet: one that is one would be an answer of that peer.
                if let Some((&port, _)) = self.open.first_key_value()
                    && Decoder::new(self.dialect).packet(bytes).is_err()
                {
                    self.exchange.handle_datagram(self.now, port, addr(peer), bytes);
                }
            }
            Op::Advance(millis) => self.advance(Duration::from_millis(millis)),
            Op::Restart { peer, server } => {
                self.servers.insert(addr(peer), server);
            }
            Op::Refuse => self.refuse = true,
            Op::Unopened => self.unopened = true,
            Op::SameNumber => self.same_number = true,
            Op::LosePort(which) => {
                let open: Vec<_> = self.open.keys().copied().collect();
                if let Some(&port) = pick(&open, which) {
                    self.open.remove(&port);
                    self.exchange.handle_port_lost(self.now, port, std::io::ErrorKind::Other);
                }
            }
        }
        self.settle();
    }

    fn begin(&mut self, peer: u16, options: Options, notice: bool) {
        let (tag, peer) = (self.next_tag, addr(peer));
        self.next_tag += 1;
        let packet = self.request(tag);
        let begun = if notice {
            self.exchange.notice(self.now, peer, packet, options)
        } else {
            self.exchange.request(self.now, peer, packet, options)
        };
        match begun {
            Ok(ticket) => {
                let live = Live { tag, notice, peer, lane: None, sent: 0, legacy: 0 };
                assert!(self.live.insert(ticket, live).is_none(), "a ticket twice");
            }
            Err(error) => assert_eq!((error.cause, error.fate), (Cause::Full, Fate::NotSent)),
        }
    }

    /// Time passes, from one thing that is due to the next.
    fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(at) = self.exchange.poll_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.exchange.handle_timeout(self.now);
            self.settle();
        }
        self.now = until;
    }

    /// Does all that is to be done at once.
    fn settle(&mut self) {
        loop {
            let mut worked = false;
            while let Some(action) = self.exchange.poll_action() {
                worked = true;
                match action {
                    Action::Open { port, v6 } => {
                        assert!(!v6);
                        // Of a system that gives no number at two times at once.
                        let same = std::mem::take(&mut self.same_number);
                        let number = self.closed.take_if(|_| same).unwrap_or(40000 + self.used.len() as u16);
                        assert!(self.used.insert(port, number).is_none(), "a port twice");
                        if std::mem::take(&mut self.unopened) {
                            let kind = std::io::ErrorKind::AddrInUse;
                            self.exchange.handle_bound(self.now, port, Err(kind));
                        } else {
                            assert!(self.open.values().all(|&open| open != number));
                            self.open.insert(port, number);
                            let local = SocketAddr::from(([10, 0, 0, 1], number));
                            self.exchange.handle_bound(self.now, port, Ok(local));
                        }
                        assert!(self.open.len() <= PORTS + 1);
                    }
                    Action::Close(port) => {
                        self.closed = self.open.remove(&port);
                        assert!(self.closed.is_some(), "closed twice");
                    }
                }
            }
            while let Some((ticket, outcome)) = self.exchange.poll_event() {
                worked = true;
                let live = self.live.get(&ticket).expect("an event for what has ended").clone();
                match outcome {
                    Ok(None) => assert!(live.notice && live.sent == 1),
                    Ok(Some(packet)) => {
                        assert!(!live.notice);
                        assert_eq!(
                            packet.entity[..],
                            live.tag.to_le_bytes(),
                            "the answer to another request"
                        );
                        assert!(live.sent > 0);
                        assert!(!packet.messages.iter().any(|message| key::RANGE.contains(&message.key)));
                        self.ended(ticket, true);
                    }
                    Err(error) => {
                        let fate = if live.sent == 0 { Fate::NotSent } else { Fate::PossiblyExecuted };
                        assert_eq!(error.fate, fate, "{error}");
                    }
                }
                self.ended(ticket, false);
            }
            // One at a time: it may end its request, and give its port to another.
            if let Some(transmit) = self.exchange.poll_transmit(self.now) {
                worked = true;
                self.transmit(&transmit);
            }
            if !worked {
                break;
            }
        }
        let stats = self.exchange.stats();
        assert_eq!(stats.in_flight, self.live.len());
        assert!(stats.in_flight <= REQUESTS && stats.in_flight_bytes <= BYTES, "{stats:?}");
        // One of them takes the place of another that is in use.
        assert!(stats.ports <= PORTS + 1 && stats.peers <= REMEMBERED, "{stats:?}");
    }

    fn transmit(&mut self, transmit: &fixp_transport::udp::exchange::Transmit) {
        let (port, to) = (transmit.port, transmit.to);
        assert!(self.open.contains_key(&port), "a port that is not open");
        let read = Decoder::new(extension::own(self.dialect)).packet(&transmit.bytes).unwrap();
        let serial = read.first(key::SERIAL).is_some();
        let Some(ticket) = transmit.ticket else {
            assert_eq!(read.code(), extension::CANCEL);
            self.exchange.handle_transmitted(self.now, transmit, Ok(()));
            return;
        };
        let query = read.code() == laxcus6::notify::SECURE_QUERY;
        let live = self.live.get(&ticket).expect("sent for what has ended").clone();
        if !serial && !live.notice {
            let others = self
                .live
                .iter()
                .filter(|&(&other, live)| other != ticket && live.peer == to && live.lane == Some(port));
            assert_eq!(others.count(), 0, "two requests without serial from one port to one peer");
            if live.lane != Some(port) {
                let until = self.blocked.get(&(port, to));
                assert!(until.is_none_or(|&until| until <= self.now), "a port in quarantine");
            }
        }
        let refuse = std::mem::take(&mut self.refuse);
        let live = self.live.get_mut(&ticket).unwrap();
        if !serial && !live.notice {
            live.lane = Some(port);
        }
        if !query && !refuse {
            live.sent += 1;
            live.legacy += u32::from(!serial);
        }
        if query {
            live.lane = Some(port);
        }
        if serial {
            live.lane = None;
        }
        let outcome = if refuse {
            Err(std::io::ErrorKind::NetworkUnreachable)
        } else {
            let request = (!query).then_some(ticket);
            self.to_servers.push(Flight { port, peer: to, bytes: transmit.bytes.to_vec(), request });
            Ok(())
        };
        self.exchange.handle_transmitted(self.now, transmit, outcome);
    }

    fn ended(&mut self, ticket: Ticket, answered: bool) {
        let Some(live) = self.live.remove(&ticket) else { return };
        if live.notice {
            // The servers of this world do answer notices, at once.
            self.ends.insert(ticket, self.now);
            return;
        }
        if live.legacy == 0 {
            self.ends.insert(ticket, self.now + QUARANTINE);
            return;
        }
        let Some(port) = live.lane else { return };
        let until = self.now + if answered && live.legacy == 1 { SETTLE } else { QUARANTINE };
        self.ends.insert(ticket, until);
        self.blocked.insert((port, live.peer), until);
    }
}

fn pick<T>(from: &[T], which: usize) -> Option<&T> {
    from.get(which.checked_rem(from.len())?)
}

/// What a server answers.
fn serve(dialect: &'static Dialect, server: Server, bytes: &[u8]) -> Option<Vec<u8>> {
    let request = Decoder::new(extension::own(dialect)).packet(bytes).unwrap().to_packet().unwrap();
    if extension::is_own(request.code) {
        return None;
    }
    let mut answer = Packet { code: okay(dialect), ..request.clone() };
    if request.code == laxcus6::notify::SECURE_QUERY {
        answer = Packet::new(laxcus6::answer::SECURE_NOTIFY).with_entity(vec![0; 5]);
    }
    match server {
        Server::Echo => {}
        Server::Strip => answer.messages.clear(),
        Server::Own => {
            answer.messages.retain(|message| !key::RANGE.contains(&message.key));
            answer.remove(dialect.content_length_key());
            if Capabilities::of_request(&request).is_some() {
                answer = answer.with(key::CAPABILITIES, Capabilities::OURS.in_answer());
            }
            if let Some(serial) = request.first(key::SERIAL) {
                answer = answer.with(key::SERIAL, serial.clone());
            }
        }
    }
    Some(answer.to_bytes(dialect).unwrap().to_vec())
}

fn has_serial(dialect: &Dialect, bytes: &[u8]) -> bool {
    Decoder::new(dialect).packet(bytes).unwrap().first(key::SERIAL).is_some()
}

fn okay(dialect: &Dialect) -> Code {
    fixp_transport::tables::of(dialect).okay
}

fn worlds() -> impl Strategy<Value = (bool, bool, Security, Vec<Server>)> {
    let server = prop_oneof![2 => Just(Server::Echo), 2 => Just(Server::Strip), 3 => Just(Server::Own)];
    let security = prop_oneof![
        Just(Security::Always),
        Just(Security::Unasked),
        Just(Security::Remembered(Duration::from_secs(10)))
    ];
    (any::<bool>(), prop::bool::weighted(0.8), security, prop::collection::vec(server, PEERS as usize))
}

/// A runner with a fixed seed, or that of FIXP_SEED, which it prints.
fn runner(cases: u32) -> TestRunner {
    let seed: u64 = std::env::var("FIXP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x0f1d);
    println!("FIXP_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

#[test]
fn no_answer_goes_astray() {
    let cases = std::env::var("FIXP_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1500);
    let strategy = (worlds(), prop::collection::vec(op(), 1..150));
    let test =
        |((lexst1, extensions, security, servers), ops): ((bool, bool, Security, Vec<Server>), Vec<Op>)| {
            let dialect: &'static Dialect = if lexst1 { &LEXST1 } else { &LAXCUS6 };
            let mut world = World::new(dialect, extensions, security, &servers);
            for op in &ops {
                world.run(op);
            }
            // Everything ends, and is forgotten.
            world.advance(Duration::from_secs(40));
            assert!(world.live.is_empty(), "{:?}", world.live);
            world.advance(Duration::from_secs(3600));
            let stats = world.exchange.stats();
            assert!(stats.ports <= 1 && stats.peers == 0 && stats.waiting == 0, "{stats:?}");
            assert_eq!(world.exchange.poll_timeout(), None);
            assert_eq!(world.open.len(), stats.ports);
            Ok(())
        };
    if let Err(error) = runner(cases).run(&strategy, test) {
        panic!("{error}");
    }
}

/// Opens the ports that are asked for, and gives what is to be sent.
fn sent(exchange: &mut Exchange, now: Instant) -> Vec<fixp_transport::udp::exchange::Transmit> {
    let mut sent = Vec::new();
    loop {
        while let Some(action) = exchange.poll_action() {
            if let Action::Open { port, .. } = action {
                exchange.handle_bound(now, port, Ok(SocketAddr::from(([10, 0, 0, 1], 40000))));
            }
        }
        let Some(transmit) = exchange.poll_transmit(now) else { return sent };
        exchange.handle_transmitted(now, &transmit, Ok(()));
        sent.push(transmit);
    }
}

fn add_log(tag: u8) -> Packet {
    Packet::new(lexst1::app::ADD_LOG).with_entity(vec![tag])
}

/// A peer of ours is replaced by another program while a request with a serial and one without are outstanding
/// at the same port: the answer without a serial could be that of either, and is nobody's.
#[test]
fn replaced_peer() {
    let (now, peer) = (Instant::now(), addr(0));
    let mut exchange = Exchange::new(Config::new(&LEXST1), 7);
    // Two ports; the answer at the second tells what the peer is, while the first is still asked.
    let slow = exchange.request(now, peer, add_log(1), Options::default()).unwrap();
    exchange.request(now, peer, add_log(2), Options::default()).unwrap();
    let first = sent(&mut exchange, now);
    assert_ne!(first[0].port, first[1].port);
    let answer = serve(&LEXST1, Server::Own, &first[1].bytes).unwrap();
    exchange.handle_datagram(now, first[1].port, peer, &answer);
    assert!(exchange.poll_event().unwrap().1.is_ok());
    // From now on requests leave from the first port, with serials.
    exchange.request(now, peer, add_log(3), Options::default()).unwrap();
    let second = sent(&mut exchange, now);
    assert_eq!(second[0].port, first[0].port);

    let foreign = serve(&LEXST1, Server::Strip, &second[0].bytes).unwrap();
    exchange.handle_datagram(now, second[0].port, peer, &foreign);
    assert_eq!(exchange.poll_event(), None);
    assert_eq!(exchange.stats().late, 1);
    // One that says that it has no serial is told from it.
    let own = serve(&LEXST1, Server::Own, &first[0].bytes).unwrap();
    exchange.handle_datagram(now, first[0].port, peer, &own);
    let (ticket, outcome) = exchange.poll_event().unwrap();
    assert_eq!((ticket, &outcome.unwrap().unwrap().entity[..]), (slow, &[1][..]));
}

/// What a request to one of ours carries, and that its caller's going is told (SPEC 10.3, 10.4, 10.8).
#[test]
fn serials() {
    let (now, peer) = (Instant::now(), addr(0));
    let mut exchange = Exchange::new(Config::new(&LEXST1), 7);
    exchange.request(now, peer, add_log(1), Options::default()).unwrap();
    let first = sent(&mut exchange, now);
    let answer = serve(&LEXST1, Server::Own, &first[0].bytes).unwrap();
    exchange.handle_datagram(now, first[0].port, peer, &answer);
    assert!(exchange.poll_event().unwrap().1.is_ok());
    let options = Options { timeout: Some(Duration::from_millis(1500)), ..Options::default() };
    let tickets: Vec<_> =
        (0..1000).map(|tag| exchange.request(now, peer, add_log(tag as u8), options).unwrap()).collect();
    let requests = sent(&mut exchange, now);
    assert_eq!(requests.len(), 1000);
    assert!(requests.iter().all(|request| request.port == first[0].port));
    let read = Decoder::new(&LEXST1).packet(&requests[0].bytes).unwrap().to_packet().unwrap();
    let keys: Vec<_> = read.messages.iter().map(|message| message.key).collect();
    let (bind_ip, length) = (lexst1::key::BIND_IP, lexst1::key::CONTENT_LENGTH);
    assert_eq!(keys, [key::CAPABILITIES, key::SERIAL, key::DEADLINE, bind_ip, length]);
    assert_eq!(read.first(key::SERIAL).unwrap().as_i64(), Some(7));
    assert_eq!(read.first(key::DEADLINE).unwrap().as_i32(), Some(1500));

    exchange.cancel(now, tickets[0]);
    let cancel = sent(&mut exchange, now);
    let cancel = Decoder::new(extension::own(&LEXST1)).packet(&cancel[0].bytes).unwrap();
    assert_eq!(cancel.code(), extension::CANCEL);
    assert_eq!(cancel.first(key::SERIAL).unwrap().as_i64(), Some(7));

    // From an address that nobody has asked, and from one that was asked something else.
    let answer = serve(&LEXST1, Server::Own, &requests[5].bytes).unwrap();
    exchange.handle_datagram(now, requests[5].port, addr(1), &answer);
    exchange.notice(now, addr(1), add_log(0), Options::default()).unwrap();
    exchange.handle_datagram(now, requests[5].port, addr(1), &answer);
    assert_eq!((exchange.stats().strangers, exchange.stats().late), (1, 1));
    assert_eq!(exchange.poll_event(), None);

    // In any order, and each once.
    for request in requests.iter().rev() {
        let answer = serve(&LEXST1, Server::Own, &request.bytes).unwrap();
        exchange.handle_datagram(now, request.port, peer, &answer);
        exchange.handle_datagram(now, request.port, peer, &answer);
    }
    for (at, ticket) in tickets.iter().enumerate().skip(1).rev() {
        let (ended, outcome) = exchange.poll_event().unwrap();
        assert_eq!((ended, outcome.unwrap().unwrap().entity[0]), (*ticket, at as u8));
    }
    assert_eq!(exchange.poll_event(), None);
    assert_eq!(exchange.stats().late, 1002);
}

/// The times of laxcus6: SECURE_QUERY three times in 30 s, and nothing else is ever sent without its answer
/// (SPEC 11.4).
#[test]
fn query_times() {
    let (start, peer) = (Instant::now(), addr(0));
    let config = Config { extensions: false, timeout: Duration::from_secs(100), ..Config::new(&LAXCUS6) };
    let mut exchange = Exchange::new(config, 0);
    let request = Packet::new(laxcus6::notify::FLUSH_LOG);
    exchange.request(start, peer, request, Options::default()).unwrap();
    let mut at = Vec::new();
    let mut now = start;
    loop {
        for transmit in sent(&mut exchange, now) {
            assert_eq!(&transmit.bytes[..], b"\x87\x00\x01\x15\x01\x01\x00\xfc\x03\x01\x50\x00");
            at.push((now - start).as_secs());
        }
        if let Some((_, outcome)) = exchange.poll_event() {
            let error = outcome.unwrap_err();
            assert_eq!((error.cause, error.fate), (Cause::Timeout, Fate::NotSent));
            break;
        }
        now = exchange.poll_timeout().unwrap();
        exchange.handle_timeout(now);
    }
    assert_eq!(at, [0, 10, 20]);
    assert_eq!(now - start, Duration::from_secs(30));
}

/// What leaves of a request that has no answer: once, unless its caller has said how often it may go again, and then at
/// those times.
#[test]
fn what_leaves_of_a_request() {
    let (start, peer) = (Instant::now(), addr(0));
    let (second, every) = (Duration::from_secs(1), Duration::from_secs(2));
    assert_eq!(Options::default().repeat, Repeat::Never);
    for (repeat, times) in
        [(Repeat::Never, vec![0]), (Repeat::Harmless { times: 3, every }, vec![0, 2, 4, 6])]
    {
        for dialect in [&LEXST1, &LAXCUS6] {
            let config = Config { security: Security::Unasked, ..Config::new(dialect) };
            let mut exchange = Exchange::new(config, 0);
            let code =
                if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
            let options = Options { repeat, timeout: Some(20 * second), ..Options::default() };
            exchange.request(start, peer, Packet::new(code).with_entity("once"), options).unwrap();
            let (mut now, mut at, mut datagrams) = (start, Vec::new(), BTreeSet::new());
            let error = loop {
                for transmit in sent(&mut exchange, now) {
                    at.push((now - start).as_secs());
                    datagrams.insert(transmit.bytes.to_vec());
                }
                if let Some((_, outcome)) = exchange.poll_event() {
                    break outcome.unwrap_err();
                }
                now = exchange.poll_timeout().unwrap();
                exchange.handle_timeout(now);
            };
            assert_eq!((error.cause, error.fate), (Cause::Timeout, Fate::PossiblyExecuted));
            assert_eq!((now - start, &at, datagrams.len()), (20 * second, &times, 1), "{}", dialect.name());
        }
    }
}

/// A server that wants a cipher, said in either way, is an error that names it; it has executed nothing.
#[test]
fn ciphers_wanted() {
    let (now, peer) = (Instant::now(), addr(0));
    for (mode, code) in [(2_i32, 2), (3, 3), (0, 1002)] {
        let mut exchange = Exchange::new(Config { extensions: false, ..Config::new(&LAXCUS6) }, 0);
        exchange.request(now, peer, Packet::new(laxcus6::notify::FLUSH_LOG), Options::default()).unwrap();
        for answer in [
            Packet::new(laxcus6::answer::SECURE_NOTIFY).with_entity(mode.to_le_bytes().to_vec()),
            Packet::new(laxcus6::answer::ENCRYPT_CONTENT_NOTIFY),
        ] {
            if let Some(transmit) = sent(&mut exchange, now).first() {
                let bytes = answer.to_bytes(&LAXCUS6).unwrap();
                exchange.handle_datagram(now, transmit.port, peer, &bytes);
            }
        }
        let error = exchange.poll_event().unwrap().1.unwrap_err();
        assert_eq!((error.cause, error.fate), (Cause::Security(code), Fate::NotSent));
    }
}

/// What does not fit in a datagram is refused before anything is sent; what fits exactly is sent, without an
/// announcement if that is what has no room.
#[test]
fn sizes() {
    let (now, peer) = (Instant::now(), addr(0));
    let mut exchange = Exchange::new(Config { bytes: 1 << 20, ..Config::new(&LAXCUS6) }, 0);
    let test = |len| Packet::new(laxcus6::notify::TEST).with_entity(vec![1; len]);
    let head = test(60000).to_bytes(&LAXCUS6).unwrap().len() - 60000;
    let error = exchange.request(now, peer, test(65507 - head + 1), Options::default()).unwrap_err();
    assert_eq!((error.cause, error.fate), (Cause::TooLarge { size: 65508, limit: 65507 }, Fate::NotSent));
    exchange.request(now, peer, test(65507 - head), Options::default()).unwrap();
    let transmits = sent(&mut exchange, now);
    assert_eq!(transmits[0].bytes.len(), 65507);
    assert_eq!(exchange.stats().long, 1);
    let small = exchange.request(now, addr(1), test(1472 - 6 - 6 - 7 - 4), Options::default());
    assert!(small.is_ok());
    sent(&mut exchange, now);
    assert_eq!(exchange.stats().long, 1);
}

/// A datagram that no Ethernet frame carries is counted, by the size of its family and as that is set.
#[test]
fn sizes_of_a_frame() {
    let now = Instant::now();
    let v6: SocketAddr = "[2001:db8::1]:6600".parse().unwrap();
    let usual = Config { extensions: false, ..Config::new(&LAXCUS6) };
    let other = Config { warn_v4: 1000, warn_v6: 900, ..usual.clone() };
    for (config, peer, most) in
        [(&usual, addr(0), 1472), (&usual, v6, 1452), (&other, addr(0), 1000), (&other, v6, 900)]
    {
        for beyond in [0, 1] {
            let mut exchange = Exchange::new(config.clone(), 0);
            // 7 bytes of command, 6 of CONTENT_LENGTH.
            let test = Packet::new(laxcus6::notify::TEST).with_entity(vec![1; most + beyond - 13]);
            exchange.request(now, peer, test, Options::default()).unwrap();
            assert_eq!(sent(&mut exchange, now)[0].bytes.len(), most + beyond);
            assert_eq!(exchange.stats().long, beyond as u64, "{} bytes to {peer}", most + beyond);
        }
    }
}

/// IPv6 peers have ports of their own, and their address in full where the dialect wants it (SPEC 11.11).
#[test]
fn families() {
    let now = Instant::now();
    let mut exchange = Exchange::new(Config { extensions: false, ..Config::new(&LEXST1) }, 0);
    let peer: SocketAddr = "[2001:db8::1]:5000".parse().unwrap();
    exchange.request(now, peer, add_log(1), Options::default()).unwrap();
    let Some(Action::Open { port, v6: true }) = exchange.poll_action() else { panic!("not an IPv6 port") };
    exchange.handle_bound(now, port, Ok("[2001:db8::ab]:40000".parse().unwrap()));
    let transmit = exchange.poll_transmit(now).unwrap();
    let read = Decoder::new(&LEXST1).packet(&transmit.bytes).unwrap();
    assert_eq!(read.first(lexst1::key::BIND_IP).unwrap().as_str(), Some("2001:DB8:0:0:0:0:0:AB"));
    // The same peer as a socket names it.
    let answer = serve(&LEXST1, Server::Strip, &transmit.bytes).unwrap();
    let flow = std::net::SocketAddrV6::new("2001:db8::1".parse().unwrap(), 5000, 9, 0);
    exchange.handle_datagram(now, port, flow.into(), &answer);
    assert!(exchange.poll_event().unwrap().1.is_ok());
}

/// With one port, and callers that wait for a second. The port may have any number of peers.
fn of_one_port() -> (Exchange, Options) {
    let config = Config { extensions: false, ports: 1, ..Config::new(&LEXST1) };
    let options = Options { timeout: Some(Duration::from_secs(1)), ..Options::default() };
    (Exchange::new(config, 0), options)
}

/// The port that is to be opened next.
fn wanted(exchange: &mut Exchange) -> Port {
    let Some(Action::Open { port, v6: false }) = exchange.poll_action() else { panic!("no port is wanted") };
    assert_eq!(exchange.poll_action(), None);
    port
}

fn local(number: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], number))
}

/// The only datagram that is to be sent.
fn leaves(exchange: &mut Exchange, now: Instant) -> fixp_transport::udp::exchange::Transmit {
    let transmit = exchange.poll_transmit(now).unwrap();
    exchange.handle_transmitted(now, &transmit, Ok(()));
    assert_eq!(exchange.poll_transmit(now), None);
    transmit
}

/// A port that is in quarantine for one peer is as good as any for another, and lives as long as that one uses it; what
/// takes its place is open before it is closed (SPEC 11.12).
#[test]
fn a_port_takes_the_place_of_one_in_quarantine() {
    let (start, one, two) = (Instant::now(), addr(0), addr(1));
    let (mut exchange, options) = of_one_port();
    exchange.request(start, one, add_log(1), options).unwrap();
    let first = wanted(&mut exchange);
    exchange.handle_bound(start, first, Ok(local(1)));
    leaves(&mut exchange, start);
    let now = start + Duration::from_secs(1);
    exchange.handle_timeout(now);
    assert_eq!(
        exchange.poll_event().unwrap().1,
        Err(fixp_transport::CallError::possibly_executed(Cause::Timeout))
    );

    exchange.request(now, two, add_log(2), options).unwrap();
    assert_eq!(exchange.poll_action(), None);
    let to_two = leaves(&mut exchange, now);
    assert_eq!((to_two.port, to_two.to), (first, two));
    // Whoever does not want to wait need not.
    exchange.request(now, one, add_log(3), Options { wait: false, ..options }).unwrap();
    let second = wanted(&mut exchange);
    exchange.handle_bound(now, second, Ok(local(2)));
    let to_one = leaves(&mut exchange, now);
    assert_eq!((to_one.port, to_one.to), (second, one));
    assert_eq!((exchange.poll_action(), exchange.stats().ports), (None, 2));

    for transmit in [to_two, to_one] {
        let answer = serve(&LEXST1, Server::Strip, &transmit.bytes).unwrap();
        exchange.handle_datagram(now, transmit.port, transmit.to, &answer);
        assert!(exchange.poll_event().unwrap().1.is_ok());
        // The first is closed with the end of its last request.
        assert_eq!(exchange.poll_action(), (transmit.port == first).then_some(Action::Close(first)));
    }
    // The second is all there is, and rests.
    let now = now + SETTLE;
    for peer in [one, two] {
        exchange.request(now, peer, add_log(4), options).unwrap();
        assert_eq!(leaves(&mut exchange, now).port, second);
    }
    assert_eq!((exchange.poll_action(), exchange.stats().ports), (None, 1));
}

/// A number that was given up with an answer on its way is not used, should the system give it again, before that has had
/// its time.
#[test]
fn the_number_of_a_port_in_quarantine_is_not_used() {
    let (mut now, peer) = (Instant::now(), addr(0));
    let (mut exchange, options) = of_one_port();
    let mut open = None;
    for number in [1, 2] {
        exchange.request(now, peer, add_log(number), options).unwrap();
        let port = wanted(&mut exchange);
        exchange.handle_bound(now, port, Ok(local(number.into())));
        assert_eq!(exchange.poll_action(), open.replace(port).map(Action::Close));
        leaves(&mut exchange, now);
        now += Duration::from_secs(1);
        exchange.handle_timeout(now);
        assert!(exchange.poll_event().unwrap().1.is_err());
    }
    let given_up = now - Duration::from_secs(1) + QUARANTINE;
    exchange
        .request(now, peer, add_log(3), Options { timeout: Some(Duration::from_secs(70)), ..options })
        .unwrap();
    while now < given_up {
        let port = wanted(&mut exchange);
        exchange.handle_bound(now, port, Ok(local(1)));
        // The other one is still there, for other peers.
        assert_eq!((exchange.poll_action(), exchange.stats().ports), (Some(Action::Close(port)), 1));
        assert_eq!(exchange.poll_transmit(now), None);
        now = exchange.poll_timeout().unwrap();
        exchange.handle_timeout(now);
    }
    // The quarantine of the first is over.
    assert_eq!(now, given_up);
    let port = wanted(&mut exchange);
    exchange.handle_bound(now, port, Ok(local(1)));
    assert_eq!(exchange.poll_action(), open.map(Action::Close));
    assert_eq!(leaves(&mut exchange, now).port, port);
}
