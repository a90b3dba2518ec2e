//! The own transport, case by case, on a virtual wire.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/own.rs"]
mod own;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Decoder, LAXCUS6, Packet, Value, laxcus6};
use fixp_laboratory::{LinkConfig, Verdict};
use fixp_transport::extension::{self, CLOSE, OPEN, OPENED, Refusal, SEGMENT, key};
use fixp_transport::keep::Ledger;
use fixp_transport::keep::own::{AnswerError, AssociationId, Config, Endpoint, Entity, Event, Ticket};
use fixp_transport::{CallError, Cause, Fate};
use own::{MILLI, Node, World};

const SECOND: Duration = Duration::from_secs(1);

fn client() -> SocketAddr {
    "10.0.0.1:4000".parse().unwrap()
}

fn server() -> SocketAddr {
    "10.0.0.2:6600".parse().unwrap()
}

/// A client and a server, 10 ms apart.
fn pair(of_client: Config, of_server: Config, bytes: usize) -> World {
    let mut world = World::new(1);
    world.wire.set_links(LinkConfig::default().with_delay(10 * MILLI));
    world.log = Some(Vec::new());
    world.nodes.insert(client(), Node::new(of_client, &LAXCUS6, 64 << 20, 2));
    world.nodes.insert(server(), Node::new(of_server, &LAXCUS6, bytes, 3));
    world
}

fn world() -> World {
    pair(Config::default(), Config::default(), 64 << 20)
}

fn connect(world: &mut World) -> AssociationId {
    let now = world.at();
    world.node(client()).connect(now, server(), &LAXCUS6)
}

fn log(size: usize) -> Packet {
    Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(vec![7; size])
}

fn okay() -> Packet {
    Packet::new(laxcus6::answer::OKAY)
}

fn ask(world: &mut World, association: AssociationId, packet: Packet) -> Ticket {
    let now = world.at();
    world.node(client()).request(now, association, packet).unwrap()
}

fn answer(world: &mut World, ticket: Ticket, packet: Option<Packet>) {
    let now = world.at();
    world.node(server()).answer(now, ticket, packet).unwrap();
}

/// The requests among some events, which are nothing else.
fn requests(events: Vec<(SocketAddr, Event)>) -> Vec<Ticket> {
    let ticket = |(_, event)| match event {
        Event::Request { ticket, .. } => ticket,
        other => panic!("{other:?}"),
    };
    events.into_iter().map(ticket).collect()
}

/// What became of requests, among some events.
fn outcomes(events: &[(SocketAddr, Event)]) -> Vec<Result<Packet, CallError>> {
    let outcome = |(_, event): &(SocketAddr, Event)| match event {
        Event::Answer { outcome, .. } => Some(outcome.clone().map(|(packet, _)| packet)),
        _ => None,
    };
    events.iter().filter_map(outcome).collect()
}

/// Has a request answered, with everything at rest after it.
fn exchange(world: &mut World, association: AssociationId) {
    ask(world, association, log(10));
    let tickets = requests(world.run_for(SECOND));
    assert_eq!(tickets.len(), 1);
    answer(world, tickets[0], Some(okay()));
    let events = world.run_for(SECOND);
    assert_eq!(outcomes(&events), [Ok(okay())]);
}

/// One exchange of a request of this size, and how long it takes.
fn one(world: &mut World, association: AssociationId, size: usize) -> Duration {
    let begin = world.now;
    ask(world, association, log(size));
    while world.now - begin < 60 * SECOND {
        let events = world.run_for(MILLI);
        if let [outcome, ..] = &outcomes(&events)[..] {
            assert_eq!(*outcome, Ok(okay()));
            return world.now - begin;
        }
        for (_, event) in events {
            if let Event::Request { ticket, .. } = event {
                answer(world, ticket, Some(okay()));
            }
        }
    }
    panic!("{size}: no answer in 60 s")
}

fn code(bytes: &[u8]) -> fixp_codec::Code {
    Decoder::new(extension::own(&LAXCUS6)).packet(bytes).unwrap().code()
}

fn refused(refusal: Refusal, fate: Fate) -> Result<Packet, CallError> {
    Err(CallError { cause: Cause::Refused(refusal), fate })
}

fn assert_nothing_left(world: &mut World) {
    let now = world.at();
    for node in world.nodes.values_mut() {
        assert!(node.endpoint.is_idle());
        node.endpoint.close_all(now);
    }
    world.run_for(20 * SECOND);
    for node in world.nodes.values() {
        assert_eq!((node.endpoint.stats().associations, node.ledger.held()), (0, 0));
    }
}

#[test]
fn a_lost_handshake_is_repeated() {
    // SPEC 10.12
    let mut world = world();
    world.wire.filter(
        client().ip(),
        server().ip(),
        |_, nth| if nth < 2 { Verdict::Drop } else { Verdict::Pass },
    );
    world.wire.filter(
        server().ip(),
        client().ip(),
        |_, nth| if nth == 0 { Verdict::Drop } else { Verdict::Pass },
    );
    let association = connect(&mut world);
    ask(&mut world, association, log(10));
    let tickets = requests(world.run_for(5 * SECOND));
    answer(&mut world, tickets[0], Some(okay()));
    assert_eq!(outcomes(&world.run_for(SECOND)), [Ok(okay())]);
    let stats = world.node(server()).stats();
    assert_eq!((stats.opened, stats.half_open), (1, 0));
    assert_nothing_left(&mut world);
}

#[test]
fn everything_doubled_is_executed_once() {
    let mut world = world();
    world.wire.set_links(LinkConfig::default().with_delay(10 * MILLI).with_duplicate(1.0));
    let association = connect(&mut world);
    for _ in 0..20 {
        exchange(&mut world, association);
    }
    let stats = world.node(server()).stats();
    assert_eq!((stats.executed, stats.opened), (20, 1));
    assert_nothing_left(&mut world);
}

#[test]
fn late_copies_of_everything_execute_nothing() {
    // SPEC 10.12
    let mut world = world();
    let association = connect(&mut world);
    exchange(&mut world, association);
    assert_nothing_left(&mut world);
    let copies = world.log.take().unwrap();
    for copy in copies.iter().filter(|copy| copy.to == server()) {
        world.inject(copy.from, copy.to, &copy.bytes);
    }
    // The server of the copies may be a new one, too.
    let seed = 9;
    for _ in 0..2 {
        let events = world.run_for(SECOND);
        assert!(events.is_empty(), "{events:?}");
        world.nodes.get_mut(&server()).unwrap().crash(seed);
        for copy in copies.iter().filter(|copy| copy.to == server()) {
            world.inject(copy.from, copy.to, &copy.bytes);
        }
    }
    let events = world.run_for(50 * SECOND);
    assert!(events.is_empty(), "{events:?}");
    let stats = world.node(server()).stats();
    assert_eq!((stats.executed, stats.half_open), (0, 0), "forgotten after 40 s");
}

#[test]
fn an_unproven_address_gets_three_times_what_it_sent_at_most() {
    // SPEC 10.12
    let mut world = world();
    world.log = None;
    let ghost: SocketAddr = "10.0.0.9:1".parse().unwrap();
    let sender = Value::Raw(vec![1; 8].into());
    let open =
        Packet::new(OPEN).with(key::SENDER, sender.clone()).to_bytes(extension::own(&LAXCUS6)).unwrap();
    // Nobody is there to answer, and nothing follows; other things from there are answered by less.
    for nth in 0..500_u32 {
        match nth % 3 {
            0 => world.inject(ghost, server(), &open),
            1 => {
                let number = Value::Raw(vec![2; 8].into());
                let segment =
                    Packet::new(SEGMENT).with(key::ASSOCIATION, number).with(key::NUMBER, i64::from(nth));
                world.inject(ghost, server(), &segment.to_bytes(extension::own(&LAXCUS6)).unwrap());
            }
            _ => world.inject(ghost, server(), &open[..20]),
        }
        assert!(world.run_for(MILLI * 20).is_empty());
        let count = |from, to| world.sent.get(&(from, to)).map_or(0, |(_, bytes)| *bytes);
        assert!(count(server(), ghost) <= 3 * count(ghost, server()));
    }
    assert!(world.sent[&(server(), ghost)].0 > 100);
}

#[test]
fn half_open_associations_are_bounded() {
    // SPEC 10.12
    let mut world = world();
    world.log = None;
    let open = |nth: u64| {
        let sender = Value::Raw(nth.to_le_bytes().to_vec().into());
        Packet::new(OPEN).with(key::SENDER, sender).to_bytes(extension::own(&LAXCUS6)).unwrap()
    };
    for nth in 0..5000 {
        world.inject(client(), server(), &open(nth));
    }
    world.run_for(SECOND);
    assert_eq!(world.node(server()).stats().half_open, Config::HALF_OPEN);
    let association = connect(&mut world);
    exchange(&mut world, association);
    world.run_for(40 * SECOND);
    assert_eq!(world.node(server()).stats().half_open, 0);
    // Which of them never began is known for as long again.
    world.run_for(40 * SECOND);
    assert_nothing_left(&mut world);
}

#[test]
fn unknown_associations_are_answered_a_thousand_times_a_second() {
    // SPEC 10.17
    let mut world = world();
    let number = Value::Raw(vec![2; 8].into());
    let segment = Packet::new(SEGMENT).with(key::ASSOCIATION, number).with(key::NUMBER, 0_i64);
    let segment = segment.to_bytes(extension::own(&LAXCUS6)).unwrap();
    for _ in 0..30 {
        for _ in 0..100 {
            world.inject(client(), server(), &segment);
        }
        world.run_for(MILLI);
    }
    world.run_for(100 * MILLI);
    assert_eq!(world.node(server()).stats().closes_sent, 1000);
    assert_eq!(world.sent[&(server(), client())].0, 1000);
}

#[test]
fn a_server_that_restarts() {
    // SPEC 10.17
    let mut world = world();
    let association = connect(&mut world);
    exchange(&mut world, association);
    ask(&mut world, association, log(10));
    assert_eq!(requests(world.run_for(100 * MILLI)).len(), 1);
    world.nodes.get_mut(&server()).unwrap().crash(7);
    ask(&mut world, association, log(10));
    let events = world.run_for(SECOND);
    let lost = CallError::possibly_executed(Cause::Lost(ErrorKind::ConnectionReset));
    assert_eq!(outcomes(&events), [Err(lost), Err(lost)]);
    assert_eq!(events.last().unwrap().1, Event::Closed { association });
    let now = world.at();
    let refused = world.node(client()).request(now, association, log(1)).unwrap_err();
    assert_eq!(refused, CallError::not_sent(Cause::Closed));
    let association = connect(&mut world);
    exchange(&mut world, association);
    assert_nothing_left(&mut world);
}

#[test]
fn a_server_that_restarts_in_silence_is_noticed() {
    // SPEC 10.17: the client asks after 10 s.
    let mut world = world();
    let association = connect(&mut world);
    ask(&mut world, association, log(10));
    assert_eq!(requests(world.run_for(100 * MILLI)).len(), 1);
    world.nodes.get_mut(&server()).unwrap().crash(7);
    let events = world.run_for(11 * SECOND);
    let lost = CallError::possibly_executed(Cause::Lost(ErrorKind::ConnectionReset));
    assert_eq!(outcomes(&events), [Err(lost)]);
}

#[test]
fn a_client_that_restarts() {
    let mut world = world();
    let association = connect(&mut world);
    ask(&mut world, association, log(10));
    let tickets = requests(world.run_for(SECOND));
    world.nodes.get_mut(&client()).unwrap().crash(8);
    let association = connect(&mut world);
    ask(&mut world, association, log(10));
    let of_new = requests(world.run_for(SECOND));
    assert_ne!(tickets, of_new);
    // The answer that nobody waits for ends the old association, and not the new one.
    answer(&mut world, tickets[0], Some(okay()));
    let events = world.run_for(SECOND);
    assert_eq!(events, [(server(), Event::Ended { ticket: tickets[0] })]);
    answer(&mut world, of_new[0], Some(okay()));
    assert_eq!(outcomes(&world.run_for(SECOND)), [Ok(okay())]);
    assert_nothing_left(&mut world);
}

#[test]
fn silence_for_thirty_seconds() {
    // SPEC 10.17
    let mut world = world();
    let association = connect(&mut world);
    exchange(&mut world, association);
    ask(&mut world, association, log(10));
    let tickets = requests(world.run_for(SECOND));
    world.wire.partition(client().ip(), server().ip());
    ask(&mut world, association, log(10));
    let begin = world.now;
    let mut ended = None;
    let mut events = Vec::new();
    while ended.is_none() {
        events.extend(world.run_for(SECOND));
        ended = events
            .iter()
            .any(|(_, event)| matches!(event, Event::Closed { .. }))
            .then_some(world.now - begin);
    }
    assert!((30..=31).contains(&ended.unwrap().as_secs()), "{ended:?}");
    let lost = CallError::possibly_executed(Cause::Lost(ErrorKind::TimedOut));
    assert_eq!(outcomes(&events), [Err(lost), Err(lost)]);
    // The server has nothing under way, and forgets the client after five minutes.
    let events = world.run_for(301 * SECOND);
    assert_eq!(events, [(server(), Event::Cancelled { ticket: tickets[0] })]);
    assert_nothing_left(&mut world);
}

#[test]
fn idle_associations_are_forgotten() {
    // SPEC 10.17
    let mut world = world();
    let association = connect(&mut world);
    exchange(&mut world, association);
    world.run_for(290 * SECOND);
    assert_eq!(world.node(server()).stats().associations, 1);
    let events = world.run_for(20 * SECOND);
    assert_eq!(events, [(client(), Event::Closed { association })]);
    assert_eq!(world.node(server()).stats().associations, 0);
    assert_eq!((world.nodes[&client()].ledger.held(), world.nodes[&server()].ledger.held()), (0, 0));
}

#[test]
fn a_caller_with_patience_keeps_an_association_alive() {
    let mut world = world();
    let association = connect(&mut world);
    ask(&mut world, association, log(10));
    let tickets = requests(world.run_for(SECOND));
    assert!(world.run_for(3600 * SECOND).is_empty());
    answer(&mut world, tickets[0], Some(okay()));
    assert_eq!(outcomes(&world.run_for(SECOND)), [Ok(okay())]);
}

#[test]
fn a_request_that_was_not_begun_is_cancelled_without_a_word() {
    let mut world = world();
    let association = connect(&mut world);
    let ticket = ask(&mut world, association, log(10));
    let now = world.at();
    world.node(client()).cancel(now, ticket);
    assert!(world.run_for(5 * SECOND).is_empty());
    assert_eq!(world.node(server()).stats().executed, 0);
    exchange(&mut world, association);
    assert_nothing_left(&mut world);
}

#[test]
fn a_request_that_is_executed_is_cancelled() {
    // SPEC 10.16
    let mut world = world();
    let association = connect(&mut world);
    let ticket = ask(&mut world, association, log(10));
    let tickets = requests(world.run_for(SECOND));
    let now = world.at();
    world.node(client()).cancel(now, ticket);
    let events = world.run_for(SECOND);
    assert_eq!(events, [(server(), Event::Cancelled { ticket: tickets[0] })]);
    assert!(world.node(server()).is_idle() && world.node(client()).is_idle());
    // It may answer all the same.
    answer(&mut world, tickets[0], Some(okay()));
    assert!(world.run_for(SECOND).is_empty());
    exchange(&mut world, association);
    assert_nothing_left(&mut world);
}

#[test]
fn a_request_is_cancelled_while_it_is_sent_and_while_its_answer_is() {
    // SPEC 10.15, 10.16: what was on its way is counted at both ends alike, or the window would be used up.
    let mut world = world();
    world
        .wire
        .set_links(LinkConfig::default().with_delay(10 * MILLI).with_bandwidth(10_000_000).with_loss(0.02));
    let association = connect(&mut world);
    for round in 0..60 {
        let ticket = ask(&mut world, association, log(1_500_000));
        if round % 2 == 0 {
            world.run_for(60 * MILLI);
        } else {
            let tickets = loop {
                let events = world.run_for(100 * MILLI);
                if events.iter().any(|(_, event)| matches!(event, Event::Readable { .. })) {
                    let at = world.at();
                    let server_ticket = match &events[0].1 {
                        Event::Request { ticket, .. } | Event::Readable { ticket } => *ticket,
                        other => panic!("{other:?}"),
                    };
                    while world.node(server()).read(at, server_ticket).is_some() {}
                    break server_ticket;
                }
            };
            answer(&mut world, tickets, Some(okay().with_entity(vec![1; 1_500_000])));
            world.run_for(60 * MILLI);
        }
        let now = world.at();
        world.node(client()).cancel(now, ticket);
        world.run_for(2 * SECOND);
        assert!(world.node(client()).is_idle() && world.node(server()).is_idle(), "round {round}");
    }
    exchange(&mut world, association);
    assert_nothing_left(&mut world);
}

#[test]
fn no_answer() {
    // SPEC 10.16
    let mut world = world();
    let association = connect(&mut world);
    for by_cancel in [false, true] {
        ask(&mut world, association, log(10));
        let tickets = requests(world.run_for(SECOND));
        if by_cancel {
            let now = world.at();
            world.node(server()).cancel(now, tickets[0]);
        } else {
            answer(&mut world, tickets[0], None);
        }
        let events = world.run_for(SECOND);
        assert_eq!(outcomes(&events), [refused(Refusal::Silent, Fate::PossiblyExecuted)]);
        assert!(events.contains(&(server(), Event::Ended { ticket: tickets[0] })));
    }
    assert_nothing_left(&mut world);
}

#[test]
fn refusals() {
    // SPEC 10.14, 10.16
    let config = Config { request: 100_000, ..Config::default() };
    let mut world = pair(Config::default(), config, 64 << 20);
    let association = connect(&mut world);
    // Too large, and one of no time: not executed.
    ask(&mut world, association, log(5_000_000));
    let events = world.run_for(SECOND);
    assert_eq!(events.len(), 1);
    assert_eq!(outcomes(&events), [refused(Refusal::TooLarge, Fate::NotSent)]);
    assert!(world.sent[&(client(), server())].1 < 2_000_000, "the rest was not sent");
    let now = world.at();
    let none = world.node(client()).request(now, association, log(10).with(key::DEADLINE, 0));
    assert_eq!(none, Err(CallError::not_sent(Cause::Timeout)));
    // An answer that cannot be written.
    ask(&mut world, association, log(10));
    let tickets = requests(world.run_for(SECOND));
    let now = world.at();
    let unwritable = Packet::answer(1);
    assert!(matches!(
        world.node(server()).answer(now, tickets[0], Some(unwritable)),
        Err(AnswerError::Encode(_))
    ));
    assert_eq!(outcomes(&world.run_for(SECOND)), [refused(Refusal::Unwritable, Fate::PossiblyExecuted)]);
    // A refusal as a packet, from above.
    ask(&mut world, association, log(10));
    let tickets = requests(world.run_for(SECOND));
    let refuse = Packet::new(laxcus6::answer::REFUSE).with(key::REFUSAL, Refusal::Overloaded.number());
    answer(&mut world, tickets[0], Some(refuse));
    assert_eq!(outcomes(&world.run_for(SECOND)), [refused(Refusal::Overloaded, Fate::NotSent)]);
    assert_nothing_left(&mut world);
}

#[test]
fn deadlines() {
    // SPEC 10.4, 10.14
    let mut world = world();
    let association = connect(&mut world);
    ask(&mut world, association, log(10).with(key::DEADLINE, 500));
    let events = world.run_for(100 * MILLI);
    let [(_, Event::Request { ticket, left: Some(left), head, .. })] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((*left, head.first(key::DEADLINE)), (500 * MILLI, None), "nothing of ours is in it");
    let ticket = *ticket;
    let events = world.run_for(SECOND);
    let timeout = CallError::possibly_executed(Cause::Timeout);
    assert_eq!(outcomes(&events), [Err(timeout)]);
    assert!(events.contains(&(server(), Event::Cancelled { ticket })));
    // A request whose time is over before all of it has come: 100 kB at 100 kB/s.
    world.wire.set_links(LinkConfig::default().with_delay(10 * MILLI).with_bandwidth(100_000));
    world.node(server());
    ask(&mut world, association, log(100_000).with(key::DEADLINE, 300));
    let events = world.run_for(5 * SECOND);
    assert_eq!(outcomes(&events).len(), 1);
    assert_eq!(world.node(server()).stats().executed, 1);
    assert_nothing_left(&mut world);
}

#[test]
fn exchanges_are_bounded_and_all_get_their_turn() {
    // SPEC 10.15
    let mut world = world();
    let association = connect(&mut world);
    for _ in 0..1000 {
        ask(&mut world, association, log(10));
    }
    let mut held: Vec<Ticket> = Vec::new();
    let (mut executed, mut answered) = (0, 0);
    while answered < 1000 {
        let events = world.run_for(50 * MILLI);
        answered += outcomes(&events).len();
        for (_, event) in events {
            if let Event::Request { ticket, .. } = event {
                executed += 1;
                held.push(ticket);
            }
        }
        assert!(held.len() <= 256, "{}", held.len());
        for ticket in held.drain(..) {
            answer(&mut world, ticket, Some(okay()));
        }
        assert!(world.now < 100 * SECOND);
    }
    assert_eq!(executed, 1000);
    world.run_for(SECOND);
    assert_nothing_left(&mut world);
}

#[test]
fn a_stream_is_held_by_its_window() {
    // SPEC 10.15: nobody reads, so no more than the window comes, however large the request.
    let config = Config { exchange_window: 200_000, ..Config::default() };
    let mut world = pair(Config::default(), config, 64 << 20);
    let association = connect(&mut world);
    let size = 3_000_000_u64;
    let now = world.at();
    let ticket = world.node(client()).request_stream(now, association, log(0), size).unwrap();
    let pattern: Bytes = (0..size).map(|at| (at % 251) as u8).collect();
    let mut rest = pattern.clone();
    let (mut came, mut of_server) = (Vec::new(), None);
    let mut most = 0;
    for round in 0.. {
        let now = world.at();
        world.node(client()).write(now, ticket, &mut rest);
        for (_, event) in world.run_for(20 * MILLI) {
            if let Event::Request { ticket, entity, .. } = event {
                assert_eq!(entity, Entity::Streamed(size));
                of_server = Some(ticket);
            }
        }
        let at = world.at();
        if let Some(ticket) = of_server
            && round % 10 == 0
        {
            while let Some(bytes) = world.node(server()).read(at, ticket) {
                came.extend_from_slice(&bytes);
            }
        }
        most = most.max(world.nodes[&server()].ledger.held());
        if came.len() as u64 == size {
            break;
        }
        assert!(round < 2000);
    }
    assert!(came == pattern, "byte for byte");
    assert!(most > 150_000 && most <= 200_000 + (64 << 10), "{most}");
    answer(&mut world, of_server.unwrap(), Some(okay()));
    assert_eq!(outcomes(&world.run_for(SECOND)), [Ok(okay())]);
    assert_nothing_left(&mut world);
}

#[test]
fn when_there_is_no_room_the_youngest_gives_way() {
    // SPEC 10.19
    let config = Config { gather_requests: 1 << 20, ..Config::default() };
    let mut world = pair(Config::default(), config, 700_000);
    world.wire.set_links(LinkConfig::default().with_delay(10 * MILLI).with_bandwidth(1_000_000));
    let association = connect(&mut world);
    let mut tickets = Vec::new();
    for _ in 0..4 {
        tickets.push(ask(&mut world, association, log(400_000)));
        world.run_for(20 * MILLI);
    }
    let events = world.run_for(20 * SECOND);
    let executed: Vec<_> =
        events.iter().filter(|(_, event)| matches!(event, Event::Request { .. })).collect();
    let failed = outcomes(&events);
    assert!(!executed.is_empty() && !failed.is_empty());
    assert_eq!(executed.len() + failed.len(), 4);
    assert!(
        failed.iter().all(|outcome| *outcome == refused(Refusal::Overloaded, Fate::NotSent)),
        "{failed:?}"
    );
    let first =
        |event: &(SocketAddr, Event)| matches!(event.1, Event::Answer { ticket, .. } if ticket == tickets[0]);
    assert!(!events.iter().any(first), "the oldest is executed");
    for (_, event) in events {
        if let Event::Request { ticket, .. } = event {
            answer(&mut world, ticket, Some(okay()));
        }
    }
    world.run_for(SECOND);
    assert_nothing_left(&mut world);
}

#[test]
fn a_full_ledger_refuses_before_anything_is_sent() {
    let mut world = World::new(1);
    world.nodes.insert(client(), Node::new(Config::default(), &LAXCUS6, 10_000, 2));
    let association = connect(&mut world);
    let now = world.at();
    let error = world.node(client()).request(now, association, log(50_000)).unwrap_err();
    assert_eq!(error, CallError::not_sent(Cause::Full));
    // Not even an association.
    let mut tiny = Endpoint::new(Config::default(), Ledger::new(100), 1);
    let association = tiny.connect(now, server(), &LAXCUS6);
    assert_eq!(tiny.poll_event(), Some(Event::Closed { association }));
    assert_eq!(tiny.request(now, association, log(1)).unwrap_err(), CallError::not_sent(Cause::Closed));
}

#[test]
fn one_datagram_each_way() {
    let mut world = world();
    let association = connect(&mut world);
    let one = |world: &mut World| {
        ask(world, association, log(10));
        let mut events = world.run_for(11 * MILLI);
        // The request has acknowledged the answer before it.
        assert!(matches!(events.remove(0), (_, Event::Ended { .. })));
        let tickets = requests(events);
        answer(world, tickets[0], Some(okay()));
        let events = world.run_for(11 * MILLI);
        assert_eq!(outcomes(&events), [Ok(okay())]);
    };
    ask(&mut world, association, log(10));
    let tickets = requests(world.run_for(SECOND));
    answer(&mut world, tickets[0], Some(okay()));
    world.run_for(11 * MILLI);
    let before = world.sent.clone();
    for _ in 0..1000 {
        one(&mut world);
    }
    for way in [(client(), server()), (server(), client())] {
        assert_eq!(world.sent[&way].0 - before[&way].0, 1000);
    }
}

#[test]
fn small_requests_share_a_datagram() {
    let mut world = world();
    let association = connect(&mut world);
    exchange(&mut world, association);
    let before = world.sent[&(client(), server())].0;
    for _ in 0..20 {
        ask(&mut world, association, log(10));
    }
    world.flush();
    assert_eq!(world.sent[&(client(), server())].0 - before, 1);
    assert_eq!(requests(world.run_for(100 * MILLI)).len(), 20);
}

#[test]
fn datagrams_as_long_as_the_path_carries() {
    // SPEC 10.18
    for (mtu, least) in [(None, 65507), (Some(9000), 8900), (Some(1280), 1216)] {
        let mut world = world();
        let mut link = LinkConfig::default().with_delay(MILLI);
        link.mtu = mtu;
        world.wire.set_links(link);
        let association = connect(&mut world);
        for _ in 0..10 {
            ask(&mut world, association, log(2_000_000));
        }
        let mut events = world.run_for(5 * SECOND);
        let tickets: Vec<Ticket> = events
            .drain(..)
            .filter_map(|(_, event)| match event {
                Event::Request { ticket, .. } => Some(ticket),
                _ => None,
            })
            .collect();
        assert_eq!(tickets.len(), 10);
        let mut left = 0;
        while left < 20_000_000 {
            let at = world.at();
            for &ticket in &tickets {
                while let Some(bytes) = world.node(server()).read(at, ticket) {
                    left += bytes.len();
                }
            }
            world.run_for(100 * MILLI);
            assert!(world.now < 60 * SECOND);
        }
        let sent = world.log.take().unwrap();
        let longest = sent.iter().filter(|sent| sent.to == server()).map(|sent| sent.bytes.len());
        let passed = longest.filter(|length| mtu.is_none_or(|mtu| *length <= mtu)).max().unwrap();
        assert!(passed >= least, "{mtu:?}: {passed}");
        let too_long = sent.iter().filter(|sent| mtu.is_some_and(|mtu| sent.bytes.len() > mtu)).count();
        assert!(too_long < 60, "only probes: {too_long}");
    }
}

#[test]
fn a_path_that_becomes_shorter() {
    // SPEC 10.18: long datagrams passed, and are lost from now on, some others with them.
    for (mtu, loss) in [(1280, 0.0), (1200, 0.0), (1472, 0.02)] {
        let mut world = world();
        let link = LinkConfig::default().with_delay(10 * MILLI).with_bandwidth(125_000_000);
        world.wire.set_links(link.clone());
        let association = connect(&mut world);
        for _ in 0..20 {
            one(&mut world, association, 250_000);
        }
        let longest = world.log.take().unwrap().iter().map(|sent| sent.bytes.len()).max().unwrap();
        assert!(longest > 32_000, "{longest}");
        world.wire.set_links(link.with_mtu(mtu).with_loss(loss));
        let times = [3_000, 60_000, 250_000, 3_000].map(|size| one(&mut world, association, size));
        assert!(times.iter().all(|&time| time < 5 * SECOND), "{mtu}, {loss}: {times:?}");
        let stats = world.node(client()).stats();
        assert_eq!((stats.associations, stats.opened, stats.lost), (1, 1, 0), "{mtu}, {loss}");
    }
}

#[test]
fn closing_in_order() {
    // SPEC 10.17
    let mut world = world();
    let association = connect(&mut world);
    exchange(&mut world, association);
    ask(&mut world, association, log(10));
    let tickets = requests(world.run_for(SECOND));
    let now = world.at();
    world.node(server()).close_all(now);
    // A new one is refused, the old one is finished, then the end comes.
    ask(&mut world, association, log(10));
    assert_eq!(outcomes(&world.run_for(SECOND)), [refused(Refusal::Overloaded, Fate::NotSent)]);
    answer(&mut world, tickets[0], Some(okay()));
    let events = world.run_for(SECOND);
    assert_eq!(outcomes(&events), [Ok(okay())]);
    assert!(events.contains(&(client(), Event::Closed { association })));
    assert_eq!(code(&world.log.as_ref().unwrap().last().unwrap().bytes), CLOSE);
    // Nobody opens another one.
    let association = connect(&mut world);
    ask(&mut world, association, log(10));
    let events = world.run_for(20 * SECOND);
    assert_eq!(outcomes(&events), [Err(CallError::not_sent(Cause::Connect(ErrorKind::TimedOut)))]);
}

#[test]
fn a_foreign_close_is_nobodys() {
    // SPEC 10.13, 10.17: the number is needed, and the address.
    let mut world = world();
    let association = connect(&mut world);
    exchange(&mut world, association);
    let log_ = world.log.take().unwrap();
    let opened = log_.iter().find(|sent| code(&sent.bytes) == OPENED).unwrap().bytes.clone();
    let packet = Decoder::new(extension::own(&LAXCUS6)).packet(&opened).unwrap().to_packet().unwrap();
    let (ours, theirs) = (packet.first(key::ASSOCIATION).unwrap(), packet.first(key::SENDER).unwrap());
    let other: SocketAddr = "10.0.0.7:5000".parse().unwrap();
    let close =
        |key, number: &Value| Packet::new(CLOSE).with(key, number.clone()).to_bytes(extension::own(&LAXCUS6));
    let wrong = Value::Raw(vec![0; 8].into());
    for (from, to, key, number) in [
        (other, client(), key::ASSOCIATION, ours),
        (other, server(), key::ASSOCIATION, theirs),
        (other, client(), key::SENDER, theirs),
        (server(), client(), key::ASSOCIATION, &wrong),
        (server(), client(), key::SENDER, &wrong),
        (server(), client(), key::SENDER, ours),
    ] {
        world.inject(from, to, &close(key, number).unwrap());
    }
    exchange(&mut world, association);
    // A SEGMENT from elsewhere, as well.
    let segment = log_.iter().rfind(|sent| sent.to == server()).unwrap().bytes.clone();
    world.inject(other, server(), &segment);
    exchange(&mut world, association);
    // The real one.
    world.inject(server(), client(), &close(key::SENDER, theirs).unwrap());
    let events = world.run_for(SECOND);
    assert_eq!(events, [(client(), Event::Closed { association })]);
}

#[test]
fn an_answer_before_the_whole_request() {
    // SPEC 10.16
    let mut world = world();
    let association = connect(&mut world);
    let now = world.at();
    let ticket = world.node(client()).request_stream(now, association, log(0), 10_000_000).unwrap();
    let mut some = Bytes::from(vec![1; 500_000]);
    world.node(client()).write(now, ticket, &mut some);
    let events = world.run_for(SECOND);
    let Event::Request { ticket, .. } = events[0].1 else { panic!() };
    answer(&mut world, ticket, Some(okay()));
    let events = world.run_for(SECOND);
    assert_eq!(outcomes(&events), [Ok(okay())]);
    assert!(world.node(client()).is_idle() && world.node(server()).is_idle());
    assert_nothing_left(&mut world);
}

#[test]
fn a_thousand_associations() {
    let mut world = world();
    world.log = None;
    let associations: Vec<AssociationId> = (0..1000).map(|_| connect(&mut world)).collect();
    for _ in 0..3 {
        for &association in &associations {
            ask(&mut world, association, log(100));
        }
        let tickets = requests(world.run_for(SECOND));
        assert_eq!(tickets.len(), 1000);
        for ticket in tickets {
            answer(&mut world, ticket, Some(okay()));
        }
        assert_eq!(outcomes(&world.run_for(SECOND)).len(), 1000);
    }
    assert_eq!(world.node(server()).stats().associations, 1000);
    assert_nothing_left(&mut world);
}

/// So many clients, who ask and are answered in the same instant over a link whose queue has room for a fraction of
/// them. Gives what became of their requests, and when the last one was told.
fn stampede(clients: u16, size: usize) -> (Vec<Result<Packet, CallError>>, Duration) {
    let mut world = World::new(1);
    let link = LinkConfig::default().with_delay(10 * MILLI).with_bandwidth(12_500_000).with_queue(256 << 10);
    world.wire.set_links(link);
    world.nodes.insert(server(), Node::new(Config::default(), &LAXCUS6, 64 << 20, 3));
    for nth in 0..clients {
        let client = SocketAddr::new(client().ip(), 4000 + nth);
        let mut node = Node::new(Config::default(), &LAXCUS6, 64 << 20, 10 + u64::from(nth));
        let association = node.endpoint.connect(world.start, server(), &LAXCUS6);
        node.endpoint.request(world.start, association, log(size)).unwrap();
        world.nodes.insert(client, node);
    }
    let (mut told, mut last) = (Vec::new(), Duration::ZERO);
    while told.len() < usize::from(clients) && world.now < 60 * SECOND {
        // A step for each datagram would look at everybody each time.
        world.now += MILLI;
        let events = world.step();
        for (at, event) in &events {
            if let Event::Request { ticket, .. } = event {
                assert_eq!(*at, server());
                answer(&mut world, *ticket, Some(okay()));
            }
        }
        let outcomes = outcomes(&events);
        if !outcomes.is_empty() {
            last = world.now;
        }
        told.extend(outcomes);
    }
    println!("{clients} of {size} bytes: {} told after {last:?}", told.len());
    (told, last)
}

#[test]
fn a_stampede_is_served_to_the_last() {
    // SPEC 10.12: 256 KiB are the queue; 10 MB over this link take 0.8 s.
    for size in [10, 10_000] {
        let (told, last) = stampede(1000, size);
        assert_eq!(told.len(), 1000);
        let failed = told.iter().find(|outcome| outcome.is_err());
        assert!(failed.is_none(), "{failed:?}");
        assert!(last < 30 * SECOND, "{last:?}");
    }
}

#[test]
fn an_association_without_a_request_is_begun_too() {
    // SPEC 10.12
    let mut world = world();
    let association = connect(&mut world);
    world.run_for(60 * SECOND);
    let stats = world.node(server()).stats();
    assert_eq!((stats.associations, stats.half_open), (1, 0));
    exchange(&mut world, association);
    assert_nothing_left(&mut world);
}
