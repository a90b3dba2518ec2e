//! A server's ordered channels, against a naive model.
#![no_main]

use fixp_transport::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::ordered(input));
