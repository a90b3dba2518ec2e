//! Remote calls over FIXP: a local call that happens to cross the network.
//!
//! A trait of async functions with the attribute [`service`](macro@service) becomes an interface: a typed client,
//! and a service to be put into an [`Rpc`], which is a [`Handler`](fixp_transport::Handler) of the communications
//! server. See [`Rpc`] for both sides together.
//!
//! The semantics are the same over TCP, KEEP UDP, and plain UDP where one datagram suffices:
//!
//! - a deadline travels with each call as the time that is left, and ends the work at both sides;
//! - dropping a call cancels it at the server;
//! - each call ends once, in its result, in its method's own error, or in a [`Failure`] that says truthfully whether
//!   it was executed;
//! - methods marked `#[idempotent]` are sent again where that may help, others never.
//!
//! Over plain UDP a network that doubles a datagram makes two calls of one once the first is answered (SPEC 10.3), and
//! an answer to a forged sender is bounded by the server's
//! [`plain_rate`](fixp_transport::limits::ServerLimits::plain_rate) only.
//!
//! Several calls go in one packet as a [`batch`]. A method whose last parameter is a [`Body`](fixp_transport::Body),
//! or whose result is one or a pair with one, streams (SPEC 13.10).

// What the attribute makes names this crate, in this crate's own interfaces too.
extern crate self as fixp_rpc;

#[cfg(feature = "tower")]
pub mod balance;
pub mod batch;
mod client;
mod context;
pub mod describe;
mod failure;
mod format;
pub mod interface;
#[cfg(any(feature = "lexst1", feature = "laxcus6"))]
pub mod legacy;
mod line;
mod one_way;
#[cfg(feature = "properties")]
#[doc(hidden)]
pub mod properties;
mod server;
pub mod wire;

pub use batch::Prepared;
pub use client::Client;
pub use context::Context;
pub use failure::{Executed, Failure, Never};
pub use fixp_rpc_macros::service;
pub use format::{Format, FormatError};
pub use interface::Interface;
pub use server::{Call, Returned, Rpc, Running, Service};

/// What the code that [`service`](macro@service) makes needs.
#[doc(hidden)]
pub mod made {
    pub use serde;

    /// What a method that takes no stream is sent.
    #[must_use]
    pub fn no_body() -> fixp_transport::Body {
        fixp_transport::Body::from_bytes(bytes::Bytes::new())
    }
}

/// The examples of the repository's README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The examples of this crate's README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct CrateReadme;
