//! Any bytes as the payload of a call or an answer of laxcus6.
#![no_main]

use fixp_codec::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::rpc_tagged(input));
