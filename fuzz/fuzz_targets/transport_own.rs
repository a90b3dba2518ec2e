//! The own transport: whatever comes to its two ends, every request ends once and nothing is left.
#![no_main]

use fixp_transport::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::own(input));
