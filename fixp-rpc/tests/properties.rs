//! The properties, on bytes that proptest makes and on the corpora of the fuzzers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../fuzz/replay.rs"]
mod replay;

use fixp_codec::{Code, Dialect, LAXCUS6, LEXST1, Packet, Value};
use fixp_rpc::properties::{self, TARGETS};
use fixp_rpc::wire::{CALL, key};
use fixp_transport::{extension, tables};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// `FIXP_SEED` sets the seed, which is printed.
fn runner() -> TestRunner {
    let seed = std::env::var("FIXP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7_u64);
    println!("FIXP_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: 4000, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn json() -> impl Strategy<Value = Vec<u8>> {
    let shape = prop_oneof![
        Just(r#""Nothing""#.to_owned()),
        any::<i64>().prop_map(|number| format!(r#"{{"Number":{number}}}"#)),
        any::<u8>().prop_map(|number| format!(r#"{{"Pair":[{number},{{"Text":"a"}}]}}"#)),
    ];
    shape.prop_map(|shape| format!(r#"{{"shape":{shape}}}"#).into_bytes())
}

/// Calls, whole and broken, one behind the other.
#[test]
fn batches_of_all_kinds() {
    let method = prop_oneof![Just("Fuzzed.same"), Just("Fuzzed.fails"), Just("Fuzzed.none"), Just(".")];
    let call = (any::<u8>(), method, prop_oneof![json(), any::<Vec<u8>>()]);
    let inputs = (any::<u8>(), prop::collection::vec(call, 0..6), prop::collection::vec(any::<u8>(), 0..2));
    runner()
        .run(&inputs, |(choices, calls, behind)| {
            let dialect: &'static Dialect = if choices & 1 == 0 { &LAXCUS6 } else { &LEXST1 };
            let mut input = vec![choices | 4];
            for (choice, method, entity) in calls {
                let code = if choice == 0 { Code::Answer(1010) } else { CALL };
                let format = ["json", "postcard", "java"][usize::from(choice) % 3];
                let packet = Packet::new(code).with(tables::of(dialect).serial_type, format);
                let packet = packet.with(key::METHOD, method).with_entity(entity);
                input.extend_from_slice(&packet.to_bytes(extension::own(dialect)).unwrap());
            }
            input.extend(behind);
            properties::dispatch(&input);
            Ok(())
        })
        .unwrap();
}

#[test]
fn calls_of_all_kinds() {
    let entity = prop_oneof![any::<Vec<u8>>(), json()];
    let text = prop_oneof![
        Just("json".to_owned()),
        Just("postcard".to_owned()),
        Just("Fuzzed.same".to_owned()),
        Just("Fuzzed.fails".to_owned()),
        ".{0,20}",
    ];
    let messages = prop::collection::vec(
        (prop_oneof![Just(1010_u16), Just(1020), Just(key::METHOD), Just(key::ONE_WAY)], text),
        0..4,
    );
    // Whether the entity is a stream, and what stands beside it.
    let beside = prop::option::of((any::<bool>(), prop_oneof![json(), Just(Vec::new())]));
    let time = prop::option::of(-1..3_i32);
    let inputs = (any::<[u8; 2]>(), messages, entity, any::<bool>(), beside, time);
    runner()
        .run(&inputs, |([choices, choice], messages, entity, structured, beside, time)| {
            let mut input = vec![choices & !4];
            if structured {
                let dialect: &'static Dialect = if choices & 1 == 0 { &LAXCUS6 } else { &LEXST1 };
                input[0] &= !2;
                let code = if choice == 0 { Code::Answer(1010) } else { CALL };
                let mut packet = Packet::new(code).with_entity(entity);
                for (key, text) in messages {
                    packet = packet.with(key, text);
                }
                if let Some((stream, value)) = beside {
                    packet = packet.with(key::STREAM, stream).with(key::VALUE, Value::Raw(value.into()));
                }
                if let Some(time) = time {
                    packet = packet.with(key::TIME, time);
                }
                if let Ok(wire) = packet.to_bytes(extension::own(dialect)) {
                    input.extend_from_slice(&wire);
                }
            } else {
                input[0] |= 2;
                input.push(choice);
                input.extend(entity);
            }
            properties::dispatch(&input);
            Ok(())
        })
        .unwrap();
}

#[cfg(all(feature = "lexst1", feature = "laxcus6"))]
mod legacy {
    use fixp_codec::rpc::{self, Call, Type, Value};
    use proptest::prelude::*;

    use super::{properties, runner};

    fn call() -> impl Strategy<Value = (bool, bool, Vec<u8>)> {
        let method = prop_oneof![Just("add"), Just("echo"), Just("any"), Just("empty"), Just("nope")];
        let param = prop_oneof![
            any::<i32>().prop_map(|it| (Type::INT, Value::Int(it))),
            ".{0,9}".prop_map(|it| (Type::string(), Value::from(it))),
            any::<i64>().prop_map(|it| (Type::class("java.lang.Object"), Value::Long(it))),
            any::<i16>().prop_map(|it| (Type::INT, Value::Short(it))),
            Just((Type::string(), Value::Null)),
        ];
        let call = (any::<bool>(), method, prop::collection::vec(param, 0..3)).prop_map(
            |(lexst1, method, params)| {
                let call = params
                    .into_iter()
                    .fold(Call::new("EchoVisit6", method), |call, (ty, it)| call.with(ty, it));
                let write = if lexst1 { rpc::lexst1::encode_call } else { rpc::laxcus6::encode_call };
                (lexst1, write(&call).unwrap())
            },
        );
        let harm = (any::<prop::sample::Index>(), any::<u8>(), 0..3_u8);
        let harmed = (any::<bool>(), call, harm).prop_map(|(visit, (lexst1, mut bytes), (at, by, how))| {
            let at = at.index(bytes.len());
            match how {
                0 => {}
                1 => bytes[at] = by,
                _ => bytes.truncate(at),
            }
            (lexst1, visit, bytes)
        });
        let any = (any::<bool>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..80));
        prop_oneof![4 => harmed, 1 => any]
    }

    /// Calls of the programs, whole and broken.
    #[test]
    fn calls_of_the_programs() {
        runner()
            .run(&(call(), any::<bool>()), |((lexst1, visit, entity), udp)| {
                let choices = u8::from(lexst1) | u8::from(visit) << 1 | u8::from(udp) << 2;
                properties::legacy(&[&[choices], entity.as_slice()].concat());
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn corpora_of_the_fuzzers() {
    replay::corpora(TARGETS);
}
