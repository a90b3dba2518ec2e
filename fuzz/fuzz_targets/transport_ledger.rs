//! A channel's bookkeeping, with a peer that answers, refuses and is cut off.
#![no_main]

use fixp_transport::properties;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| properties::ledger(input));
