//! The packets of the own transport, byte for byte as docs/SPEC.md shows them, and what is broken.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fixp_codec::{Code, Decoder, Dialect, LAXCUS6, LEXST1, Packet, Value, laxcus6, lexst1};
use fixp_transport::extension::{self, CLOSE, OPEN, OPENED, SEGMENT, key};
use fixp_transport::keep::Ledger;
use fixp_transport::keep::own::{Config, Endpoint, Entity, Event, Ticket, varint};
use fixp_transport::{Cause, Fate};

const OURS: &str = "0102030405060708";
const THEIRS: &str = "1112131415161718";

/// What stands in SPEC 10.12 and 10.13, of each dialect.
struct Examples {
    dialect: &'static Dialect,
    request: Code,
    answer: Code,
    open: &'static str,
    opened: &'static str,
    asks: &'static str,
    answers: &'static str,
}

const EXAMPLES: [Examples; 2] = [
    Examples {
        dialect: &LAXCUS6,
        request: laxcus6::notify::FLUSH_LOG,
        answer: laxcus6::answer::OKAY,
        open: "87000103460200 11f008100102030405060708 fc03015000",
        opened: "87000104460300 10f008100102030405060708 11f008101112131415161718 fc03015000",
        asks: "87000105460400 10f008101112131415161718 12f0016000 14f004100102000c fc0301500c \
               87000133010100fc03015000",
        answers: "87000105460500 10f008100102030405060708 12f0016000 13f00310000000 14f004100103000c \
                  fc0301500c c70001f2030100fc03015000",
    },
    Examples {
        dialect: &LEXST1,
        request: lexst1::app::ADD_LOG,
        answer: lexst1::answer::OKAY,
        open: "87000146030200 11f008000102030405060708 0604016000",
        opened: "87000146040300 10f008000102030405060708 11f008001112131415161718 0604016000",
        asks: "87000146050400 10f008001112131415161718 12f0017000 14f004000102000c 060401600c \
               870001040901000604016000",
        answers: "87000146050500 10f008000102030405060708 12f0017000 13f00300000000 14f004000103000c \
                  060401600c c70001d007010006 04016000",
    },
];

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex.replace(' ', "")).unwrap()
}

/// An example with the numbers that the ends have chosen.
fn with(example: &str, client: &str, server: &str) -> Vec<u8> {
    bytes(&example.replace(OURS, client).replace(THEIRS, server))
}

fn peers() -> (SocketAddr, SocketAddr) {
    ("192.0.2.1:4000".parse().unwrap(), "192.0.2.2:6600".parse().unwrap())
}

fn endpoint(seed: u64) -> Endpoint {
    Endpoint::new(Config::default(), Ledger::default(), seed)
}

/// The datagrams that an endpoint has to send.
fn sent(endpoint: &mut Endpoint, now: Instant) -> Vec<Vec<u8>> {
    let mut buffer = Vec::new();
    std::iter::from_fn(|| {
        buffer.clear();
        endpoint.poll_transmit(now, &mut buffer, 1).map(|_| buffer.clone())
    })
    .collect()
}

fn read(dialect: &'static Dialect, datagram: &[u8]) -> Packet {
    Decoder::new(extension::own(dialect)).packet(datagram).unwrap().to_packet().unwrap()
}

fn number(packet: &Packet, key: u16) -> String {
    hex::encode(packet.first(key).unwrap().as_raw().unwrap())
}

fn request(endpoint: &mut Endpoint) -> Option<(Ticket, Packet)> {
    match endpoint.poll_event()? {
        Event::Request { ticket, head, entity: Entity::Whole, .. } => Some((ticket, head)),
        other => panic!("{other:?}"),
    }
}

/// A server with an association that a client has proven, and the hexadecimal numbers of both.
fn opened(example: &Examples, now: Instant) -> (Endpoint, String) {
    let (client, _) = peers();
    let mut server = endpoint(2);
    assert!(server.handle_datagram(now, client, example.dialect, &bytes(example.open)));
    let opened = sent(&mut server, now).pop().unwrap();
    let number = number(&read(example.dialect, &opened), key::SENDER);
    assert_eq!(opened, with(example.opened, OURS, &number));
    (server, number)
}

/// SPEC 10.11, 10.12, 10.13, 10.14: what a server reads and writes.
#[test]
fn the_examples_to_a_server() {
    let (client, _) = peers();
    for example in &EXAMPLES {
        let now = Instant::now();
        let (mut server, number) = opened(example, now);
        assert!(server.poll_event().is_none(), "nothing is executed before the address is proven");
        let asks = with(example.asks, OURS, &number);
        assert!(server.handle_datagram(now, client, example.dialect, &asks));
        let (ticket, head) = request(&mut server).unwrap();
        assert_eq!(head, Packet::new(example.request));
        server.answer(now, ticket, Some(Packet::new(example.answer))).unwrap();
        assert_eq!(sent(&mut server, now), [with(example.answers, OURS, &number)]);
        // However often it comes, it is executed once.
        assert!(server.handle_datagram(now, client, example.dialect, &asks));
        assert!(server.poll_event().is_none());
    }
}

/// SPEC 10.11, 10.12, 10.13, 10.14: what a client writes and reads.
#[test]
fn the_examples_to_a_client() {
    let (_, server) = peers();
    for example in &EXAMPLES {
        let now = Instant::now();
        let mut client = endpoint(1);
        let association = client.connect(now, server, example.dialect);
        let ticket = client.request(now, association, Packet::new(example.request)).unwrap();
        let open = sent(&mut client, now).pop().unwrap();
        let ours = number(&read(example.dialect, &open), key::SENDER);
        assert_eq!(open, with(example.open, &ours, THEIRS));
        client.handle_datagram(now, server, example.dialect, &with(example.opened, &ours, THEIRS));
        assert_eq!(sent(&mut client, now), [with(example.asks, &ours, THEIRS)]);
        client.handle_datagram(now, server, example.dialect, &with(example.answers, &ours, THEIRS));
        let answered = Event::Answer { ticket, outcome: Ok((Packet::new(example.answer), Entity::Whole)) };
        assert_eq!(client.poll_event(), Some(answered));
        assert!(client.is_idle());
    }
}

/// SPEC 10.17: a number that is not known, answered by no more bytes than came.
#[test]
fn an_unknown_association() {
    let (client, server) = peers();
    for example in &EXAMPLES {
        let now = Instant::now();
        let mut restarted = endpoint(3);
        let asks = bytes(example.asks);
        restarted.handle_datagram(now, client, example.dialect, &asks);
        let close = sent(&mut restarted, now).pop().unwrap();
        assert!(close.len() <= asks.len());
        let close = read(example.dialect, &close);
        assert_eq!((close.code, number(&close, key::SENDER)), (CLOSE, THEIRS.into()));
        // Nothing else of what is not known is answered.
        for silent in [example.opened, "87000106460200 11f008101112131415161718 fc03015000"] {
            restarted.handle_datagram(now, server, example.dialect, &bytes(silent));
            assert!(sent(&mut restarted, now).is_empty());
        }
    }
}

/// SPEC 10.10: what cannot be read as a whole is dropped as a whole.
#[test]
fn broken_segments_are_dropped() {
    let (client, _) = peers();
    let now = Instant::now();
    let example = &EXAMPLES[0];
    let broken = [
        // No ASSOCIATION, or one of 7 bytes, or of another type.
        "87000105460300 12f0016000 14f004100102000c fc0301500c 87000133010100fc03015000",
        "87000105460400 10f0071011121314151617 12f0016000 14f004100102000c fc0301500c 87000133010100fc03015000",
        "87000105460400 10f008601112131415161718 12f0016000 14f004100102000c fc0301500c 87000133010100fc03015000",
        // No NUMBER, a negative one, or one of another type.
        "87000105460300 10f008101112131415161718 14f004100102000c fc0301500c 87000133010100fc03015000",
        "87000105460400 10f008101112131415161718 12f00860ffffffffffffffff 14f004100102000c fc0301500c \
         87000133010100fc03015000",
        "87000105460400 10f008101112131415161718 12f0015000 14f004100102000c fc0301500c 87000133010100fc03015000",
        // CHUNK longer than the entity, cut, with something behind it, of exchange 0.
        "87000105460400 10f008101112131415161718 12f0016000 14f004100102000d fc0301500c 87000133010100fc03015000",
        "87000105460400 10f008101112131415161718 12f0016000 14f00310010200 fc0301500c 87000133010100fc03015000",
        "87000105460400 10f008101112131415161718 12f0016000 14f005100102000c00 fc0301500c \
         87000133010100fc03015000",
        "87000105460400 10f008101112131415161718 12f0016000 14f004100002000c fc0301500c 87000133010100fc03015000",
        // ACKNOWLEDGED that reaches below 0; WINDOW of kind 4; RESET that is cut.
        "87000105460500 10f008101112131415161718 12f0016000 13f00310000001 14f004100102000c fc0301500c \
         87000133010100fc03015000",
        "87000105460500 10f008101112131415161718 12f0016000 15f003100401ff01 14f004100102000c fc0301500c \
         87000133010100fc03015000",
        "87000105460500 10f008101112131415161718 12f0016000 16f00310010000 14f004100102000c fc0301500c \
         87000133010100fc03015000",
        // The entity is cut.
        "87000105460400 10f008101112131415161718 12f0016000 14f004100102000c fc0301500c 87000133010100fc030150",
    ];
    for hex in broken {
        let (mut server, number) = opened(example, now);
        assert!(
            server.handle_datagram(now, client, &LAXCUS6, &with(hex, OURS, &number)),
            "it is ours: {hex}"
        );
        assert!(server.poll_event().is_none(), "{hex}");
        assert!(sent(&mut server, now).is_empty(), "{hex}");
        // And the real one is as good as before.
        server.handle_datagram(now, client, &LAXCUS6, &with(example.asks, OURS, &number));
        assert!(request(&mut server).is_some(), "{hex}");
    }
}

/// SPEC 10.10: other packets are left to others.
#[test]
fn what_is_not_of_the_own_transport() {
    let (client, _) = peers();
    let mut server = endpoint(1);
    for hex in
        ["87000133010100 fc03015000", "87000101460100 fc03015000", "c70001f2030100 fc03015000", "", "87"]
    {
        assert!(!server.handle_datagram(Instant::now(), client, &LAXCUS6, &bytes(hex)), "{hex}");
    }
    assert_eq!(server.stats().datagrams_received, 0);
}

fn varints(numbers: &[u64]) -> Value {
    let mut out = Vec::new();
    for &number in numbers {
        varint::write(number, &mut out);
    }
    Value::Raw(out.into())
}

/// A SEGMENT to a server.
fn segment(number: &str, nth: i64) -> Packet {
    let number: Vec<u8> = hex::decode(number).unwrap();
    Packet::new(SEGMENT).with(key::ASSOCIATION, Value::Raw(number.into())).with(key::NUMBER, nth)
}

fn wire(packet: &Packet) -> Vec<u8> {
    packet.to_bytes(extension::own(&LAXCUS6)).unwrap().to_vec()
}

/// SPEC 10.13, 10.14, 10.15, 10.16, 10.17: what breaks a rule ends the association, by a CLOSE.
#[test]
fn breaches_end_the_association() {
    let (client, _) = peers();
    let now = Instant::now();
    let packet = bytes("87000133010100fc03015000");
    let chunk = |values: &[u64], entity: &[u8]| {
        Packet::new(SEGMENT).with(key::CHUNK, varints(values)).with_entity(entity.to_vec())
    };
    let too_many = [0, 0, 0];
    let breaches: Vec<(&str, Packet)> = vec![
        (
            "a number is acknowledged that was not sent",
            Packet::new(SEGMENT).with(key::ACKNOWLEDGED, varints(&too_many)),
        ),
        ("a part of an answer, to a server", chunk(&[1, 3, 0, 12], &packet)),
        ("an exchange beyond the limit", chunk(&[257, 2, 0, 12], &packet)),
        ("beyond the window", chunk(&[1, 0, 4 << 20, 1], &[0])),
        ("beyond what CONTENT_LENGTH says", chunk(&[1, 0, 0, 13], &[&packet[..], &[0]].concat())),
        ("an end before the end", chunk(&[1, 2, 0, 11], &packet[..11])),
        ("no packet", chunk(&[1, 0, 0, 12], &[7; 12])),
        (
            "a reset beyond the window",
            Packet::new(SEGMENT).with(key::RESET, varints(&[1, 0, 0, (4 << 20) + 1])),
        ),
        (
            "a reset beyond the limit of exchanges",
            Packet::new(SEGMENT).with(key::RESET, varints(&[300, 0, 0, 0])),
        ),
    ];
    for (what, breach) in breaches {
        let (mut server, number) = opened(&EXAMPLES[0], now);
        let mut packet = segment(&number, 0);
        packet.messages.extend(breach.messages);
        packet.entity = breach.entity;
        server.handle_datagram(now, client, &LAXCUS6, &wire(&packet));
        if what == "an end before the end" {
            // The head is not whole; the rest would be behind the end.
            let rest = segment(&number, 1).with(key::CHUNK, varints(&[1, 0, 11, 1])).with_entity(vec![0]);
            server.handle_datagram(now, client, &LAXCUS6, &wire(&rest));
        }
        assert!(server.poll_event().is_none(), "{what}");
        let close = read(&LAXCUS6, &sent(&mut server, now).pop().unwrap());
        assert_eq!((close.code, self::number(&close, key::ASSOCIATION)), (CLOSE, OURS.into()), "{what}");
        assert_eq!(server.stats().associations, 0, "{what}");
    }
}

/// SPEC 10.4, 10.16: a request that has no time is not executed, and its client is told by RESET.
#[test]
fn a_request_of_no_time() {
    let (client, _) = peers();
    let now = Instant::now();
    let (mut server, number) = opened(&EXAMPLES[0], now);
    // FLUSH_LOG with DEADLINE 0.
    let request = bytes("87000133010200 04f0015000 fc03015000");
    let asks = segment(&number, 0).with(key::CHUNK, varints(&[1, 2, 0, 17])).with_entity(request);
    server.handle_datagram(now, client, &LAXCUS6, &wire(&asks));
    assert!(server.poll_event().is_none());
    let reset = read(&LAXCUS6, &sent(&mut server, now)[0]);
    // Of exchange 1, of the request, as Late; what was sent is the client's to say.
    assert_eq!(reset.first(key::RESET), Some(&varints(&[1, 0, 5, 0])));
    let answer = segment(&number, 1)
        .with(key::ACKNOWLEDGED, varints(&[0, 0, 0]))
        .with(key::RESET, varints(&[1, 0, 0, 17]));
    server.handle_datagram(now, client, &LAXCUS6, &wire(&answer));
    assert!(server.is_idle());
}

/// SPEC 10.13: at once, or with what is sent within 5 ms, or then by itself.
#[test]
fn acknowledgements() {
    let (client, _) = peers();
    let now = Instant::now();
    let ping = |number: &str, nth| wire(&segment(number, nth).with_entity(vec![0]));
    let acknowledged = |datagram: &[u8]| {
        let packet = read(&LAXCUS6, datagram);
        (packet.code == SEGMENT).then(|| packet.first(key::ACKNOWLEDGED).unwrap().as_raw().unwrap().to_vec())
    };
    let (mut server, number) = opened(&EXAMPLES[0], now);
    server.handle_datagram(now, client, &LAXCUS6, &ping(&number, 0));
    assert!(sent(&mut server, now).is_empty(), "one waits");
    let due = server.poll_timeout().unwrap();
    assert_eq!(due, now + Duration::from_millis(5));
    server.handle_timeout(due);
    // 0, 5000 us ago, one of them.
    assert_eq!(acknowledged(&sent(&mut server, due)[0]).unwrap(), [0, 0x88, 0x27, 0]);
    server.handle_datagram(due, client, &LAXCUS6, &ping(&number, 1));
    server.handle_datagram(due, client, &LAXCUS6, &ping(&number, 2));
    assert_eq!(acknowledged(&sent(&mut server, due)[0]).unwrap(), [2, 0, 2], "the second at once");
    server.handle_datagram(due, client, &LAXCUS6, &ping(&number, 5));
    // 5, now, one; two missing; three.
    assert_eq!(acknowledged(&sent(&mut server, due)[0]).unwrap(), [5, 0, 0, 1, 2], "a gap at once");
    // What only acknowledges is not acknowledged.
    let only = segment(&number, 6).with(key::ACKNOWLEDGED, varints(&[0, 0, 0]));
    server.handle_datagram(due, client, &LAXCUS6, &wire(&only));
    server.handle_timeout(due + Duration::from_millis(100));
    assert!(sent(&mut server, due + Duration::from_millis(100)).is_empty());
}

/// SPEC 10.12: the limits and the buffer that an end tells at the beginning.
#[test]
fn hellos_with_limits() {
    let (client, server) = peers();
    let now = Instant::now();
    let config = Config {
        exchange_window: 30,
        association_window: 50,
        exchanges: 1,
        buffer: 65536,
        ..Config::default()
    };
    let mut small = Endpoint::new(config, Ledger::default(), 4);
    small.handle_datagram(now, client, &LAXCUS6, &bytes(EXAMPLES[0].open));
    let opened = sent(&mut small, now).pop().unwrap();
    let packet = read(&LAXCUS6, &opened);
    assert_eq!(packet.code, OPENED);
    assert_eq!(packet.first(key::BUFFER).unwrap().as_i32(), Some(65536));
    let windows: Vec<_> = packet.all(key::WINDOW).cloned().collect();
    assert_eq!(windows, [varints(&[0, 0, 30]), varints(&[2, 50]), varints(&[3, 1])]);

    // Its client sends no more than that: one exchange, of which 30 bytes.
    let mut asks = endpoint(5);
    let association = asks.connect(now, server, &LAXCUS6);
    for _ in 0..2 {
        asks.request(now, association, Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(vec![7; 100]))
            .unwrap();
    }
    let open = read(&LAXCUS6, &sent(&mut asks, now).pop().unwrap());
    assert_eq!(open.code, OPEN);
    let ours = number(&open, key::SENDER);
    asks.handle_datagram(now, server, &LAXCUS6, &bytes(&hex::encode(&opened).replace(OURS, &ours)));
    let sent = sent(&mut asks, now);
    let chunks: Vec<_> = sent
        .iter()
        .flat_map(|datagram| read(&LAXCUS6, datagram).all(key::CHUNK).cloned().collect::<Vec<_>>())
        .collect();
    assert_eq!(chunks, [varints(&[1, 0, 0, 30])]);
}

/// SPEC 10.12: three times what came, and not a byte more.
#[test]
fn an_opened_that_is_too_long_waits() {
    let (client, _) = peers();
    let now = Instant::now();
    let config = Config {
        exchange_window: 1 << 40,
        association_window: 1 << 40,
        exchanges: 1 << 20,
        buffer: 1 << 30,
        ..Config::default()
    };
    let mut server = Endpoint::new(config, Ledger::default(), 4);
    let open = bytes(EXAMPLES[0].open);
    server.handle_datagram(now, client, &LAXCUS6, &open);
    assert!(sent(&mut server, now).is_empty());
    server.handle_datagram(now, client, &LAXCUS6, &open);
    let [opened] = &sent(&mut server, now)[..] else { panic!("one") };
    assert!(opened.len() > 3 * open.len() && opened.len() <= 6 * open.len(), "{}", opened.len());
    server.handle_datagram(now, client, &LAXCUS6, &open);
    assert_eq!(sent(&mut server, now).first(), Some(opened), "the same again");
}

/// SPEC 10.13: an association is of one address.
#[test]
fn a_segment_from_elsewhere() {
    let (client, other) = peers();
    let now = Instant::now();
    for example in &EXAMPLES {
        let (mut server, number) = opened(example, now);
        let asks = with(example.asks, OURS, &number);
        // Before the address is proven, and after.
        server.handle_datagram(now, other, example.dialect, &asks);
        assert!(server.poll_event().is_none() && sent(&mut server, now).is_empty());
        assert_eq!(server.stats().half_open, 1);
        server.handle_datagram(now, client, example.dialect, &asks);
        assert!(request(&mut server).is_some());
        // The next request, of exchange 2.
        let next = hex::encode(&asks)
            .replace("12f0016000", "12f0016001")
            .replace("12f0017000", "12f0017001")
            .replace("0102000c", "0202000c");
        let next = bytes(&next);
        assert_ne!(next, asks);
        server.handle_datagram(now, other, example.dialect, &next);
        assert!(server.poll_event().is_none() && sent(&mut server, now).is_empty());
        server.handle_datagram(now, client, example.dialect, &next);
        assert!(request(&mut server).is_some());
    }
}

/// SPEC 10.12: without an answer nothing was sent, after six OPEN.
#[test]
fn nobody_answers_open() {
    let (_, server) = peers();
    let begin = Instant::now();
    let mut client = endpoint(1);
    let association = client.connect(begin, server, &LAXCUS6);
    let ticket = client.request(begin, association, Packet::new(laxcus6::notify::FLUSH_LOG)).unwrap();
    let mut opens = vec![(Duration::ZERO, sent(&mut client, begin))];
    while let Some(at) = client.poll_timeout() {
        client.handle_timeout(at);
        opens.push((at - begin, sent(&mut client, at)));
    }
    let times: Vec<u128> =
        opens.iter().filter(|(_, sent)| !sent.is_empty()).map(|(at, _)| at.as_millis()).collect();
    assert_eq!(times, [0, 200, 600, 1400, 3000, 6200]);
    let first = opens[0].1.clone();
    assert!(opens.iter().all(|(_, sent)| sent.is_empty() || *sent == first), "the same each time");
    let Some(Event::Answer { ticket: of, outcome: Err(error) }) = client.poll_event() else { panic!() };
    assert_eq!(
        (of, error.fate, error.cause),
        (ticket, Fate::NotSent, Cause::Connect(std::io::ErrorKind::TimedOut))
    );
    assert_eq!(client.poll_event(), Some(Event::Closed { association }));
}
