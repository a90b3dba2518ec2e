//! JSON text, and what is decoded, survives the way to JSON and back.
#![no_main]

use fixp_codec::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::json(input));
