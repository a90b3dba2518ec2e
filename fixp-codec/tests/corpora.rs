//! The corpora of the fuzzers are replayed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../fuzz/replay.rs"]
mod replay;

#[test]
fn corpora_of_the_fuzzers() {
    replay::corpora(&fixp_codec::properties::TARGETS);
}
