//! The own transport over networks that lose, double, reorder, delay and cut, on a virtual clock: every request
//! ends in its answer or a truthful error, data equal, executed at most once, bounds kept, nothing left.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/own.rs"]
mod own;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Code, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_laboratory::{LinkConfig, Random};
use fixp_transport::extension::{Refusal, key};
use fixp_transport::keep::own::{AssociationId, Config, Entity, Event, Ticket};
use fixp_transport::{CallError, Cause, Fate, tables};
use own::{MILLI, Node, World};
use proptest::prelude::*;
use proptest::test_runner::{Config as Proptest, RngSeed, TestRunner};

const TAG: u16 = 5001;
const ANSWER: u16 = 5002;
const MODE: u16 = 5003;

/// How a request is answered.
#[allow(dead_code, reason = "all others")]
const WHOLE: i32 = 0;
const STREAMED: i32 = 1;
const SILENT: i32 = 2;
/// Before its entity was read, where that is streamed.
const EARLY: i32 = 3;
const REFUSED: i32 = 4;

#[derive(Clone, Debug)]
struct Ask {
    /// After the one before it, in milliseconds.
    after: u64,
    size: usize,
    answer: usize,
    mode: i32,
    streamed: bool,
    deadline: Option<u64>,
    /// When its caller loses interest.
    cancel: Option<u64>,
}

#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    loss: f64,
    duplicate: f64,
    reorder: f64,
    jitter: u64,
    delay: u64,
    mtu: Option<usize>,
    bandwidth: Option<u64>,
    /// The lexst1 clients are the odd ones.
    clients: Vec<Vec<Ask>>,
    partition: Option<(u64, u64)>,
    /// When, and whether it is the server.
    crash: Option<(u64, bool)>,
    bytes: usize,
    slow: u64,
    windows: Option<(u64, u64, u64)>,
    batch: usize,
}

fn asks() -> impl Strategy<Value = Ask> {
    let size = || prop_oneof![3 => 0..300usize, 2 => 300..20_000usize, 1 => 20_000..600_000usize, 1 => Just(3_000_000usize)];
    (
        (0..200u64, size(), size(), 0..5i32, any::<bool>()),
        prop::option::weighted(0.15, 1..3000u64),
        prop::option::weighted(0.15, 0..1000u64),
    )
        .prop_map(|((after, size, answer, mode, streamed), deadline, cancel)| Ask {
            after,
            size,
            answer,
            mode,
            streamed,
            deadline,
            cancel,
        })
}

fn cases() -> impl Strategy<Value = Case> {
    (
        (any::<u64>(), 0.0..0.3f64, 0.0..0.3f64, 0.0..0.3f64, 0..30u64, 0..60u64),
        (
            prop_oneof![2 => Just(None), 1 => (1200..9000usize).prop_map(Some)],
            prop::option::weighted(0.3, 200_000..20_000_000u64),
            prop::collection::vec(prop::collection::vec(asks(), 1..8), 1..4),
        ),
        prop::option::weighted(0.2, (0..3000u64, 10..60_000u64)),
        prop::option::weighted(0.2, (0..3000u64, any::<bool>())),
        (
            prop_oneof![3 => Just(64 << 20), 1 => 30_000..900_000usize],
            prop_oneof![Just(1), Just(300u64), Just(3000)],
            prop::option::weighted(0.3, (2_000..100_000u64, 4_000..300_000u64, 1..9u64)),
            1..12usize,
        ),
    )
        .prop_map(
            |(
                (seed, loss, duplicate, reorder, jitter, delay),
                (mtu, bandwidth, clients),
                partition,
                crash,
                (bytes, slow, windows, batch),
            )| Case {
                seed,
                loss,
                duplicate,
                reorder,
                jitter,
                delay,
                mtu,
                bandwidth,
                clients,
                partition,
                crash,
                bytes,
                slow,
                windows,
                batch,
            },
        )
}

fn entity(tag: i32, salt: u64, size: usize) -> Bytes {
    Random::new(tag.unsigned_abs().into()).split().bytes(0);
    Random::new(u64::from(tag.unsigned_abs()) << 8 | salt).bytes(size).into()
}

fn code(dialect: &Dialect) -> Code {
    if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG }
}

fn number(packet: &Packet, key: u16) -> i32 {
    packet.first(key).unwrap().as_i32().unwrap()
}

/// A request at a client.
struct Asked {
    tag: i32,
    ask: Ask,
    at: Duration,
    ticket: Option<Ticket>,
    /// What is still to be written.
    rest: Bytes,
    ended: bool,
    cancelled: bool,
    /// What has come of an answer that is read in pieces.
    reads: Option<(usize, Vec<u8>)>,
}

/// A request at the server.
struct Work {
    head: Packet,
    entity: Vec<u8>,
    due: Option<Duration>,
    rest: Bytes,
}

struct Tally {
    answered: usize,
    failed: usize,
    digest: u64,
}

const SERVER: &str = "10.0.0.100:6600";

fn run(case: &Case) -> Tally {
    let server: SocketAddr = SERVER.parse().unwrap();
    let mut world = World::new(case.seed);
    world.batch = case.batch;
    let mut link = LinkConfig::default().with_delay(MILLI * u32::try_from(case.delay).unwrap());
    link.jitter = MILLI * u32::try_from(case.jitter).unwrap();
    link.mtu = case.mtu;
    link.bandwidth = case.bandwidth;
    world.wire.set_links(
        link.with_loss(case.loss).with_duplicate(case.duplicate).with_reorder(case.reorder, 80 * MILLI),
    );
    let mut config = Config { gather_requests: 50_000, gather_answers: 200_000, ..Config::default() };
    if let Some((exchange, association, exchanges)) = case.windows {
        config.exchange_window = exchange;
        config.association_window = association;
        config.exchanges = exchanges;
    }
    // A server of both dialects is one of each here, as the driver tells them apart.
    let dialect_of = |nth: usize| -> &'static Dialect { if nth % 2 == 1 { &LEXST1 } else { &LAXCUS6 } };
    let server_of =
        |nth: usize| SocketAddr::new(server.ip(), server.port() + u16::try_from(nth % 2).unwrap());
    for nth in 0..2 {
        let node = Node::new(config.clone(), dialect_of(nth), case.bytes, case.seed ^ (nth as u64 + 77));
        world.nodes.insert(server_of(nth), node);
    }
    let mut random = Random::new(case.seed ^ 1);
    let address = |nth: usize| SocketAddr::from(([10, 0, 0, nth as u8 + 1], 4000));
    let mut tag = 0;
    let mut asked: BTreeMap<SocketAddr, Vec<Asked>> = BTreeMap::new();
    let mut associations: BTreeMap<SocketAddr, AssociationId> = BTreeMap::new();
    for (nth, asks) in case.clients.iter().enumerate() {
        let node = Node::new(config.clone(), dialect_of(nth), case.bytes, case.seed ^ (nth as u64 + 1000));
        world.nodes.insert(address(nth), node);
        let mut at = Duration::ZERO;
        let mut list = Vec::new();
        for ask in asks {
            at += MILLI * u32::try_from(ask.after).unwrap();
            tag += 1;
            list.push(Asked {
                tag,
                ask: ask.clone(),
                at,
                ticket: None,
                rest: Bytes::new(),
                ended: false,
                cancelled: false,
                reads: None,
            });
        }
        asked.insert(address(nth), list);
    }
    let servers: HashMap<SocketAddr, SocketAddr> =
        (0..case.clients.len()).map(|nth| (address(nth), server_of(nth))).collect();
    let mut executed: HashMap<i32, u32> = HashMap::new();
    let mut working: BTreeMap<(SocketAddr, Ticket), Work> = BTreeMap::new();
    let (mut answered, mut failed) = (0, 0);
    let mut crash = case.crash;
    let mut partition = case.partition;
    let mut partitioned = false;
    let mut closed = false;
    loop {
        // The network and the machines fail.
        if let Some((from, length)) = partition {
            let (from, until) = (Duration::from_millis(from), Duration::from_millis(from + length));
            if !partitioned && world.now >= from {
                partitioned = true;
                for client in servers.keys() {
                    world.wire.partition(client.ip(), server.ip());
                }
            }
            if world.now >= until {
                partition = None;
                for client in servers.keys() {
                    world.wire.heal(client.ip(), server.ip());
                }
            }
        }
        if let Some((at, of_server)) = crash
            && world.now >= Duration::from_millis(at)
        {
            crash = None;
            if of_server {
                world.nodes.get_mut(&server).unwrap().crash(case.seed ^ 5);
                working.retain(|(at, _), _| *at != server);
            } else {
                let client = address(0);
                world.nodes.get_mut(&client).unwrap().crash(case.seed ^ 6);
                associations.remove(&client);
                for asked in asked.get_mut(&client).unwrap() {
                    // Whoever has asked has crashed, too.
                    asked.ended |= asked.ticket.take().is_some();
                }
            }
        }
        // The callers.
        let now = world.at();
        for (&client, list) in &mut asked {
            let dialect = world.nodes[&client].dialect;
            for asked in list.iter_mut() {
                if asked.ended {
                    continue;
                }
                if asked.ticket.is_none() && asked.at <= world.now {
                    let endpoint = world.node(client);
                    let association = *associations
                        .entry(client)
                        .or_insert_with(|| endpoint.connect(now, servers[&client], dialect));
                    let entity = entity(asked.tag, 1, asked.ask.size);
                    let mut head = Packet::new(code(dialect))
                        .with(TAG, asked.tag)
                        .with(ANSWER, i32::try_from(asked.ask.answer).unwrap())
                        .with(MODE, asked.ask.mode);
                    if let Some(deadline) = asked.ask.deadline {
                        head = head.with(key::DEADLINE, i32::try_from(deadline).unwrap());
                    }
                    let outcome = if asked.ask.streamed {
                        asked.rest = entity;
                        endpoint.request_stream(now, association, head, asked.ask.size as u64)
                    } else {
                        endpoint.request(now, association, head.with_entity(entity))
                    };
                    match outcome {
                        Ok(ticket) => asked.ticket = Some(ticket),
                        Err(error) => {
                            assert_eq!(error.fate, Fate::NotSent);
                            assert!(matches!(error.cause, Cause::Full | Cause::Closed), "{error:?}");
                            asked.ended = true;
                            failed += 1;
                            continue;
                        }
                    }
                }
                let Some(ticket) = asked.ticket else { continue };
                if !asked.rest.is_empty() {
                    world.node(client).write(now, ticket, &mut asked.rest);
                }
                if let Some(cancel) = asked.ask.cancel
                    && asked.at + Duration::from_millis(cancel) <= world.now
                {
                    world.node(client).cancel(now, ticket);
                    asked.ended = true;
                    asked.cancelled = true;
                }
            }
        }
        // The handlers.
        let due: Vec<(SocketAddr, Ticket)> = working
            .iter()
            .filter(|(_, work)| work.due.is_some_and(|due| due <= world.now))
            .map(|(&key, _)| key)
            .collect();
        for (at, ticket) in due {
            let work = working.get_mut(&(at, ticket)).unwrap();
            work.due = None;
            let tag = number(&work.head, TAG);
            let dialect = world.nodes[&at].dialect;
            let size = usize::try_from(number(&work.head, ANSWER)).unwrap();
            let body = entity(tag, 2, size);
            let head = Packet::new(Code::Answer(okay(dialect))).with(TAG, tag);
            let endpoint = world.node(at);
            // Without room for it the client is told.
            match number(&work.head, MODE) {
                SILENT => endpoint.answer(now, ticket, None).unwrap(),
                STREAMED => {
                    let _ = endpoint.answer_stream(now, ticket, head, size as u64);
                    work.rest = body;
                }
                REFUSED => {
                    let refuse = Packet::new(tables::of(dialect).refuse);
                    let refuse = refuse.with(key::REFUSAL, Refusal::Overloaded.number());
                    let _ = endpoint.answer(now, ticket, Some(refuse));
                }
                _ => {
                    let _ = endpoint.answer(now, ticket, Some(head.with_entity(body)));
                }
            }
        }
        for ((at, ticket), work) in &mut working {
            if !work.rest.is_empty() {
                world.node(*at).write(now, *ticket, &mut work.rest);
            }
        }
        // What happens.
        let events = world.step();
        for (at, event) in events {
            match event {
                Event::Request { ticket, head, entity: place, dialect, .. } => {
                    assert_eq!(dialect.name(), world.nodes[&at].dialect.name());
                    assert_eq!(head.code, code(dialect));
                    let tag = number(&head, TAG);
                    *executed.entry(tag).or_default() += 1;
                    assert_eq!(executed[&tag], 1, "executed at most once");
                    let time = now + random.duration(MILLI * u32::try_from(case.slow).unwrap()) - world.start;
                    let early = number(&head, MODE) == EARLY;
                    let (whole, due) = match place {
                        Entity::Whole => (head.entity.to_vec(), Some(time)),
                        Entity::Streamed(_) => (Vec::new(), early.then_some(time)),
                    };
                    let size = match place {
                        Entity::Whole => head.entity.len(),
                        Entity::Streamed(len) => usize::try_from(len).unwrap(),
                    };
                    if place == Entity::Whole {
                        assert_eq!(whole, entity(tag, 1, size));
                    }
                    working.insert((at, ticket), Work { head, entity: whole, due, rest: Bytes::new() });
                }
                Event::Cancelled { ticket } | Event::Ended { ticket } => {
                    assert!(working.remove(&(at, ticket)).is_some(), "told once: {event:?}");
                }
                Event::Readable { ticket } => {
                    if let Some(work) = working.get_mut(&(at, ticket)) {
                        if number(&work.head, MODE) == EARLY {
                            continue;
                        }
                        let tag = number(&work.head, TAG);
                        while let Some(bytes) = world.node(at).read(now, ticket) {
                            work.entity.extend_from_slice(&bytes);
                        }
                        let list = asked.values().flatten();
                        let size = list.into_iter().find(|asked| asked.tag == tag).unwrap().ask.size;
                        if work.entity.len() == size {
                            assert_eq!(work.entity, entity(tag, 1, size));
                            work.due = Some(world.now + random.duration(MILLI * 100));
                        }
                    } else if let Some(asked) = find(&mut asked, at, ticket)
                        && !asked.ended
                    {
                        let (size, body) = asked.reads.as_mut().unwrap();
                        while let Some(bytes) = world.node(at).read(now, ticket) {
                            body.extend_from_slice(&bytes);
                        }
                        if body.len() == *size {
                            assert_eq!(*body, entity(asked.tag, 2, *size));
                            asked.ended = true;
                            answered += 1;
                        }
                    }
                }
                Event::Answer { ticket, outcome } => {
                    let asked = find(&mut asked, at, ticket).unwrap();
                    assert!(!asked.ended && asked.reads.is_none(), "told once");
                    match outcome {
                        Ok((head, Entity::Whole)) => {
                            assert_eq!(head.code, Code::Answer(okay(world.nodes[&at].dialect)));
                            assert_eq!(number(&head, TAG), asked.tag);
                            assert_eq!(head.entity, entity(asked.tag, 2, asked.ask.answer));
                            asked.ended = true;
                            answered += 1;
                        }
                        Ok((head, Entity::Streamed(len))) => {
                            assert_eq!(number(&head, TAG), asked.tag);
                            assert_eq!(len, asked.ask.answer as u64);
                            asked.reads = Some((asked.ask.answer, Vec::new()));
                        }
                        Err(error) => {
                            failed += fails(&error, asked, &executed);
                            answered += usize::from(is_said(&error, asked));
                            asked.ended = true;
                        }
                    }
                }
                Event::Broken { ticket, error } => {
                    let asked = find(&mut asked, at, ticket).unwrap();
                    assert!(!asked.ended && asked.reads.is_some(), "told once");
                    asked.ended = true;
                    failed += fails(&error, asked, &executed);
                }
                Event::Closed { association } if associations.get(&at) == Some(&association) => {
                    associations.remove(&at);
                }
                _ => {}
            }
        }
        world.flush();
        // When something happens next.
        let all = asked.values().flatten();
        let idle = all.clone().all(|asked| asked.ended) && working.is_empty();
        let mut next = vec![];
        for asked in all {
            if !asked.ended {
                if asked.ticket.is_none() {
                    next.push(asked.at);
                } else if let Some(cancel) = asked.ask.cancel {
                    next.push(asked.at + Duration::from_millis(cancel));
                }
            }
        }
        if !idle {
            next.extend(working.values().filter_map(|work| work.due));
            next.extend(crash.map(|(at, _)| Duration::from_millis(at)));
            next.extend(
                partition.map(|(from, length)| {
                    Duration::from_millis(if partitioned { from + length } else { from })
                }),
            );
        }
        if idle && !closed {
            closed = true;
            let now = world.at();
            for node in world.nodes.values_mut() {
                node.endpoint.close_all(now);
            }
            world.flush();
        }
        next.extend(world.next());
        let Some(next) = next.into_iter().min() else { break };
        world.now = next.max(world.now);
        assert!(world.now < Duration::from_secs(3600), "it ends");
    }
    for (at, node) in &world.nodes {
        assert!(node.endpoint.is_idle());
        assert_eq!(node.endpoint.stats().associations, 0);
        assert_eq!(node.ledger.held(), 0, "nothing is left at {at}");
    }
    assert!(asked.values().flatten().all(|asked| asked.ended));
    Tally { answered, failed, digest: world.digest }
}

fn okay(dialect: &Dialect) -> u16 {
    match tables::of(dialect).okay {
        Code::Answer(code) => code,
        Code::Request { .. } => panic!("an answer"),
    }
}

fn find(asked: &mut BTreeMap<SocketAddr, Vec<Asked>>, at: SocketAddr, ticket: Ticket) -> Option<&mut Asked> {
    asked.get_mut(&at)?.iter_mut().find(|asked| asked.ticket == Some(ticket))
}

/// What the server has said itself is no failure.
fn is_said(error: &CallError, asked: &Asked) -> bool {
    match asked.ask.mode {
        SILENT => error.cause == Cause::Refused(Refusal::Silent),
        REFUSED => error.cause == Cause::Refused(Refusal::Overloaded),
        _ => false,
    }
}

fn fails(error: &CallError, asked: &Asked, executed: &HashMap<i32, u32>) -> usize {
    if asked.ask.mode != REFUSED && error.fate == Fate::NotSent {
        assert!(!executed.contains_key(&asked.tag), "{error:?} of {}", asked.tag);
    }
    usize::from(!is_said(error, asked))
}

const SEED: u64 = 0x0FD1_0046;

fn number_of(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// The seed is fixed; `FIXP_SEED=N` sets another, `FIXP_CASES=N` the number of cases.
fn for_all(cases: u64, check: impl Fn(&Case)) {
    let (seed, number) = (number_of("FIXP_SEED", SEED), number_of("FIXP_CASES", cases));
    eprintln!("seed {seed}, {number} cases");
    let config = Proptest {
        cases: u32::try_from(number).unwrap(),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Proptest::default()
    };
    let outcome = TestRunner::new(config).run(&self::cases(), |case| {
        check(&case);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("seed {seed}: {failure}");
    }
}

#[test]
fn every_request_ends() {
    for_all(64, |case| {
        let tally = run(case);
        let asks: Vec<&Ask> = case.clients.iter().flatten().collect();
        // With time, room and a network that lets something through nothing fails.
        let easy =
            case.bytes == 64 << 20 && case.partition.is_none() && case.crash.is_none() && case.loss < 0.15;
        if easy && asks.iter().all(|ask| ask.deadline.is_none() && ask.cancel.is_none()) {
            assert_eq!((tally.answered, tally.failed), (asks.len(), 0));
        }
    });
}

#[test]
fn the_same_seed_is_the_same_run() {
    for_all(8, |case| {
        let (one, two) = (run(case), run(case));
        assert_eq!((one.answered, one.failed, one.digest), (two.answered, two.failed, two.digest));
    });
}
