//! The properties of `fixp_codec::properties` over packets, damaged packets and any bytes.
//!
//! The seed is fixed; `FIXP_SEED=N` sets another, `FIXP_CASES=N` the number of cases.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;

use fixp_codec::properties::{self, dialects};
use fixp_codec::{Dialect, Packet, strategy};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

#[path = "properties/java.rs"]
mod java;
#[path = "properties/tagged.rs"]
mod tagged;

const SEED: u64 = 0x0FD1_0001;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// Runs a check over a strategy, and sees that it did.
fn for_all<S: Strategy>(cases: u64, strategy: S, check: impl Fn(S::Value)) {
    let (seed, cases) = (number("FIXP_SEED", SEED), number("FIXP_CASES", cases));
    eprintln!("seed {seed}, {cases} cases");
    let config = Config {
        cases: u32::try_from(cases).expect("cases fit u32"),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    let ran = Cell::new(0);
    let result = TestRunner::new(config).run(&strategy, |value| {
        ran.set(ran.get() + 1);
        check(value);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("seed {seed}: {failure}");
    }
    assert!(u64::from(ran.get() as u32) >= cases, "{} of {cases} cases ran", ran.get());
}

/// Whole packets, damaged ones, several in a row, and any bytes, of one dialect.
fn input(dialect: &'static Dialect) -> impl Strategy<Value = Vec<u8>> {
    let any_head = (prop_oneof![Just(0x87_u8), Just(0xc7), any::<u8>()], vec(any::<u8>(), 0..120))
        .prop_map(|(tag, rest)| [&[tag, 0, 1][..], &rest].concat());
    prop_oneof![
        2 => strategy::wire(dialect),
        5 => strategy::damaged(dialect),
        2 => vec(strategy::damaged(dialect), 1..4).prop_map(|packets| packets.concat()),
        2 => vec(strategy::wire(dialect), 1..4).prop_map(|packets| packets.concat()),
        1 => any_head,
        1 => vec(any::<u8>(), 0..64),
    ]
}

fn for_all_inputs(cases: u64, check: impl Fn(&[u8])) {
    for dialect in dialects() {
        for_all(cases, input(dialect), |input| check(&input));
    }
}

#[test]
fn decoding_any_bytes() {
    for_all_inputs(400, properties::decode);
}

#[test]
fn streams_however_cut() {
    for dialect in dialects() {
        let chosen = (any::<[u8; 3]>(), input(dialect));
        for_all(400, chosen, |(choice, wire)| properties::stream(&[&choice, &wire[..]].concat()));
    }
}

#[test]
fn round_trips() {
    for dialect in dialects() {
        for_all(400, strategy::packet(dialect), |packet| properties::round_trip(dialect, &packet));
    }
}

#[test]
fn round_trips_of_fuzzer_bytes() {
    for dialect in dialects() {
        for_all(400, vec(any::<u8>(), 0..600), |bytes| {
            let mut bytes = arbitrary::Unstructured::new(&bytes);
            let packet = fixp_codec::arbitrary::packet(&mut bytes, dialect).expect("bytes make a packet");
            properties::round_trip(dialect, &packet);
        });
    }
}

#[test]
fn reader_and_nom_agree() {
    for_all_inputs(400, properties::reader_and_nom);
}

#[test]
fn everything_is_explained() {
    for_all_inputs(100, properties::explanation);
}

#[test]
fn json_survives() {
    for_all_inputs(200, properties::json);
    // Text that is nearly the JSON of a packet.
    for dialect in dialects() {
        let text = strategy::packet(dialect)
            .prop_map(|packet: Packet| serde_json::to_vec(&packet).expect("to JSON"));
        let edited =
            (text, vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)).prop_map(|(mut text, edits)| {
                for (index, byte) in edits {
                    let at = index.index(text.len());
                    text[at] = byte;
                }
                text
            });
        for_all(100, edited, |text| properties::json(&text));
    }
}
