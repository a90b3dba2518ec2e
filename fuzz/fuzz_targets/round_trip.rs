//! Packets made from the bytes are written and read back.
#![no_main]

use fixp_codec::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::round_trip_of_bytes(input));
