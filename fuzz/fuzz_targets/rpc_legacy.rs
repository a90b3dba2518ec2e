//! The dispatcher of the programs' calls: whatever comes is answered as SPEC 12 says.
#![no_main]

use fixp_rpc::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::legacy(input));
