//! The properties of `fixp_transport::properties` over random scripts.
//!
//! The seed is fixed; `FIXP_SEED=N` sets another, `FIXP_CASES=N` the number of cases.

use std::cell::Cell;

use fixp_transport::properties;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

const SEED: u64 = 0x0FD1_0002;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// Runs a property over scripts of up to so many bytes, and sees that it did.
fn for_all(property: properties::Property, cases: u64, longest: usize) {
    let (seed, cases) = (number("FIXP_SEED", SEED), number("FIXP_CASES", cases));
    eprintln!("seed {seed}, {cases} cases");
    let config = Config {
        cases: u32::try_from(cases).expect("cases fit u32"),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    // Small numbers more often than others: they choose what happens.
    let byte = prop_oneof![2 => any::<u8>(), 1 => 0..16_u8];
    let ran = Cell::new(0_u64);
    let result = TestRunner::new(config).run(&vec(byte, 0..longest), |script| {
        ran.set(ran.get() + 1);
        property(&script);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("seed {seed}: {failure}");
    }
    assert!(ran.get() >= cases, "{} of {cases} cases ran", ran.get());
}

#[test]
fn connections_however_cut() {
    for_all(properties::connection, 300, 1500);
}

#[test]
fn ordered_channels_as_the_model() {
    for_all(properties::ordered, 2000, 1500);
}

#[test]
fn ledgers_and_their_peers() {
    for_all(properties::ledger, 1000, 1500);
}

#[test]
fn sessions_however_cut() {
    for_all(properties::session, 1000, 1500);
}

#[test]
fn requesters_of_keep_udp() {
    for_all(properties::keep_requester, 500, 1500);
}

#[test]
fn responders_of_keep_udp() {
    for_all(properties::keep_responder, 500, 1500);
}

#[test]
fn own_transport_whatever_comes() {
    for_all(properties::own, 300, 1500);
}
