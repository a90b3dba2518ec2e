//! The dispatcher of remote calls: whatever comes is answered as SPEC 13 says.
#![no_main]

use fixp_rpc::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::dispatch(input));
