//! A stream of Java objects is a value, or is refused, and is written as it was read.
#![no_main]

use fixp_codec::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::rpc_java(input));
