//! A server's connection: however its input is cut, the same requests; its answers whole and in order.
#![no_main]

use fixp_transport::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::connection(input));
