//! Carries packets of FIXP between nodes.
//!
//! - [`Server`]: the communications server, TCP and UDP on one port, in one dialect or both; a [`Handler`]
//!   says what a node does with a request;
//! - [`Channel`]: one socket per peer, pipelined and batched, kept open and opened anew;
//! - [`bulk`]: large entities on connections of their own, streamed, under a rate that all share;
//! - [`udp`]: requests, notices and heartbeats over UDP.
//!
//! The protocol inside is state machines without sockets and clocks; what runs them on tokio is thin, and runs
//! as well on the links of a laboratory.

pub mod body;
pub mod bulk;
pub mod channel;
pub mod error;
mod extended;
pub mod extension;
pub mod handler;
pub mod heartbeat;
pub mod host;
pub mod keep;
pub mod limits;
mod outbox;
#[cfg(feature = "properties")]
#[doc(hidden)]
pub mod properties;
pub mod rate;
mod repeat;
mod scratch;
pub mod server;
pub mod socket;
pub mod tables;
mod timer;
mod turn;
pub mod udp;

pub use body::{Body, BodyError};
pub use channel::{CallOptions, Channel, ChannelBuilder, ChannelStats, CutReport};
pub use error::{CallError, Cause, Fate};
pub use handler::{Answer, Echo, Handler, Nobody, Peer, Reply, Request, handler_fn};
pub use repeat::Repeat;
pub use server::Server;

/// The examples of this crate's README compile.
#[cfg(all(doctest, feature = "config"))]
#[doc = include_str!("../README.md")]
struct Readme;
