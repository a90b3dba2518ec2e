//! The requester of KEEP UDP under any datagrams and times.
#![no_main]

use fixp_transport::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::keep_requester(input));
