//! Any bytes, every dialect, both policies.
#![no_main]

use fixp_codec::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::decode(input));
