//! A stream gives the same events however it is cut.
#![no_main]

use fixp_codec::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::stream(input));
