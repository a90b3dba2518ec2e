//! A client's session: however its input is cut, the same answers.
#![no_main]

use fixp_transport::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::session(input));
