//! What must hold for any bytes: the entry points of the fuzz target, of proptest and of the replay of the committed
//! corpus. Not covered by semver.

#[cfg(all(feature = "lexst1", feature = "laxcus6"))]
mod legacy;

use std::pin::pin;
use std::task::{Context as Task, Poll, Waker};

use bytes::Bytes;
use fixp_codec::{Decoder, Dialect, Encoder, LAXCUS6, LEXST1, Packet, Value};
use fixp_transport::extension::{self, Refusal};
use fixp_transport::host::Transport;
use fixp_transport::{Handler, Peer, Reply, Request, tables};
use serde::{Deserialize, Serialize};

use crate::client::read;
use crate::format::Format;
use crate::server::Rpc;
use crate::wire::{Asked, BATCH, CALL, Outcome, beside_stream, key};
use crate::{Failure, Never};

#[cfg(all(feature = "lexst1", feature = "laxcus6"))]
pub use self::legacy::legacy;

/// A property of any bytes.
pub type Property = fn(&[u8]);

/// The fuzz targets, by their names in `fuzz/`, and what each checks.
pub const TARGETS: &[(&str, Property)] = &[
    ("rpc_dispatch", dispatch),
    #[cfg(all(feature = "lexst1", feature = "laxcus6"))]
    ("rpc_legacy", legacy),
];

/// A value of all shapes that serde has.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
enum Shape {
    Nothing,
    Number(i64),
    Text(String),
    Pair(u8, Box<Shape>),
    Named { flag: bool, list: Vec<Shape>, maybe: Option<char> },
}

/// Gives back what it is given.
#[crate::service]
trait Fuzzed {
    async fn same(&self, shape: Shape) -> Shape;
    async fn fails(&self, text: String) -> Result<u32, Shape>;
    #[one_way]
    async fn leave(&self, number: u32);
}

struct Mirror;

impl Fuzzed for Mirror {
    async fn same(&self, shape: Shape) -> Shape {
        shape
    }

    async fn fails(&self, text: String) -> Result<u32, Shape> {
        text.parse().map_err(|_| Shape::Text(text))
    }

    async fn leave(&self, _: u32) {}
}

/// Whatever packet comes to the dispatcher is answered by what SPEC 13 says, which can be written; and whatever is
/// answered, its caller learns something of it.
///
/// The first byte chooses the dialect, and whether the rest is a packet, the entity of a batch, or, behind a byte that
/// chooses method and format, the entity of a call.
///
/// # Panics
///
/// It is not so.
pub fn dispatch(input: &[u8]) {
    let Some((&choices, rest)) = input.split_first() else { return };
    let dialect: &'static Dialect = if choices & 1 == 0 { &LAXCUS6 } else { &LEXST1 };
    if choices & 4 != 0 {
        let answer = answered(dialect, Packet::new(BATCH).with_entity(Bytes::copy_from_slice(rest)));
        return check_batch(dialect, rest, &answer);
    }
    let packet = if choices & 2 == 0 {
        let Ok(packet) = Decoder::new(extension::own(dialect)).packet(rest) else { return };
        let Ok(packet) = packet.to_packet() else { return };
        // What a client is told of any answer.
        let told: Result<_, Failure<Never>> = read(dialect, packet.clone());
        if let Err(failure) = told {
            assert!(!failure.to_string().is_empty());
        }
        packet
    } else {
        let Some((&choice, entity)) = rest.split_first() else { return };
        let methods = [
            "Fuzzed.same",
            "Fuzzed.fails",
            "Fuzzed.leave",
            "Fuzzed.none",
            "None.none",
            "none",
            "",
            "fixp.describe",
        ];
        let method = methods[usize::from(choice & 7)];
        let format = Format::ALL[usize::from(choice >> 3) % 3];
        let one_way = choice >> 6 == 3;
        let asked = Asked { method, format, one_way };
        asked.packet(dialect, Bytes::copy_from_slice(entity))
    };
    if packet.code != CALL {
        return;
    }
    let answer = answered(dialect, packet.clone());
    // SPEC 13.10: by itself a call may have a stream, and a time.
    let beside = beside_stream(&packet);
    if beside.is_some() && packet.first(key::TIME).and_then(Value::as_i32).is_some_and(|time| time <= 0) {
        assert_eq!(refusal(&answer), Some(Refusal::Late));
        return;
    }
    check(dialect, &packet, beside.as_ref().unwrap_or(&packet.entity), &answer);
}

fn refusal(answer: &Packet) -> Option<Refusal> {
    answer.first(extension::key::REFUSAL).and_then(Value::as_i16).map(Refusal::of_number)
}

fn answered(dialect: &'static Dialect, packet: Packet) -> Packet {
    // Nobody waits for what is one-way, and there is no runtime to run it.
    let rpc = Rpc::new().serve(FuzzedService::new(Mirror)).one_way_limit(0);
    let addr = ([127, 0, 0, 1], 5000).into();
    let peer = Peer { addr, local: addr, transport: Transport::Tcp, dialect };
    let handling = pin!(rpc.handle(Request { packet, body: None, peer, deadline: None }));
    match handling.poll(&mut Task::from_waker(Waker::noop())) {
        Poll::Ready(Reply::Answer(answer)) => answer.packet,
        other => panic!("a call is answered at once: {other:?}"),
    }
}

/// The answers of a batch are those of its calls, one by one (SPEC 13.8).
fn check_batch(dialect: &'static Dialect, mut entity: &[u8], answer: &Packet) {
    let outcome = Outcome::of(dialect, answer);
    let decoder = Decoder::new(extension::own(dialect));
    let mut calls = Vec::new();
    while !entity.is_empty() {
        if calls.len() == 1024 {
            return assert_eq!(outcome, Some(Outcome::TooMany));
        }
        let Some(call) =
            decoder.packet(entity).ok().and_then(|call| Some((call.to_packet().ok()?, call.wire_len())))
        else {
            return assert_eq!(outcome, Some(Outcome::BadBatch));
        };
        entity = &entity[call.1..];
        calls.push(call.0);
    }
    assert_eq!(outcome, Some(Outcome::Returned));
    let mut answers = &answer.entity[..];
    for call in calls {
        let one = Decoder::new(dialect).packet(answers).expect("an answer for each call");
        answers = &answers[one.wire_len()..];
        let one = one.to_packet().expect("an answer");
        if call.code == CALL {
            check(dialect, &call, &call.entity, &one);
        } else {
            assert_eq!(Outcome::of(dialect, &one), Some(Outcome::NoMethod));
        }
    }
    assert!(answers.is_empty(), "an answer too many");
}

/// The answer is the one that SPEC 13.2 to 13.6 have for this call with these arguments, said in another way than the
/// dispatcher does.
fn check(dialect: &'static Dialect, call: &Packet, arguments: &Bytes, answer: &Packet) {
    let written = Encoder::new(dialect).packet_len(answer);
    assert!(written.is_ok(), "{answer:?}: {written:?}");
    let text = |key| match call.first(key) {
        Some(Value::String(text)) => Some(&**text),
        _ => None,
    };
    let habits = tables::of(dialect);
    let outcome = Outcome::of(dialect, answer);
    let format = match text(habits.serial_type) {
        Some("postcard") => Format::Postcard,
        Some("json") => Format::Json,
        Some("cbor") => Format::Cbor,
        _ => {
            assert_eq!(outcome, Some(Outcome::Format));
            assert_eq!(answer.first(key::FORMATS), Some(&"postcard,json,cbor".into()));
            return;
        }
    };
    let Some(method) = text(key::METHOD) else {
        assert_eq!(outcome, Some(Outcome::NoMethod));
        return;
    };
    let one_way = call.first(key::ONE_WAY) == Some(&Value::Boolean(true));
    let known = ["Fuzzed.same", "Fuzzed.fails", "Fuzzed.leave", "fixp.list", "fixp.describe"];
    if !known.contains(&method) {
        let interface = method.rfind('.').map_or(method, |at| &method[..at]);
        let there = matches!(interface, "Fuzzed" | "fixp");
        assert_eq!(outcome, Some(if there { Outcome::NoMethod } else { Outcome::NoInterface }), "{method}");
        return;
    }
    if one_way {
        assert_eq!((answer.code, refusal(answer)), (habits.refuse, Some(Refusal::Overloaded)));
        return;
    }
    #[derive(Deserialize)]
    struct Same {
        shape: Shape,
    }
    #[derive(Deserialize)]
    struct Fails {
        text: String,
    }
    match method {
        "Fuzzed.same" => match format.read::<Same>(arguments) {
            Ok(Same { shape }) => {
                assert_eq!(outcome, Some(Outcome::Returned));
                assert_eq!(format.read::<Shape>(&answer.entity), Ok(shape));
            }
            Err(_) => assert_eq!(outcome, Some(Outcome::BadArgument)),
        },
        "Fuzzed.fails" => match format.read::<Fails>(arguments) {
            Ok(Fails { text }) => match text.parse::<u32>() {
                Ok(number) => {
                    assert_eq!(outcome, Some(Outcome::Returned));
                    assert_eq!(format.read::<u32>(&answer.entity), Ok(number));
                }
                Err(_) => {
                    assert_eq!(outcome, Some(Outcome::Failed));
                    assert_eq!(format.read::<Shape>(&answer.entity), Ok(Shape::Text(text)));
                }
            },
            Err(_) => assert_eq!(outcome, Some(Outcome::BadArgument)),
        },
        _ => assert!(
            matches!(outcome, Some(Outcome::Returned | Outcome::BadArgument)),
            "{method}: {outcome:?}"
        ),
    }
}
