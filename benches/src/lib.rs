//! How fast `fixp-codec` is: the packets that are measured, the competitors that carry the same
//! packets, and the bench that runs them against each other. See `docs/BENCHMARKS.md`.
//!
//! One packet, [`cases`], is the source of all: every competitor's form is made from it, so that
//! none can carry less than the others unnoticed.

pub mod aligned;
pub mod args;
pub mod cases;
pub mod cbor;
pub mod contest;
pub mod decoding;
pub mod encoding;
pub mod keep;
pub mod messagepack;
pub mod pin;
pub mod post;
pub mod proto;
pub mod proto_flat;
pub mod report;
pub mod rpc;
pub mod streaming;
pub mod targets;
pub mod transport;

/// Keeps a value from being optimized away.
#[inline(always)]
pub fn seen<T>(value: T) {
    core::hint::black_box(value);
}
