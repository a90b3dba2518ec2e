//! The reader and the nom parsers agree.
#![no_main]

use fixp_codec::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::reader_and_nom(input));
