//! What the bench of remote calls is made of: one module for each competitor, all with an echo behind one connection.

#[allow(missing_docs, clippy::all, reason = "written by capnpc; see `capnp`")]
#[rustfmt::skip]
pub mod echo_capnp;

pub mod allocations;
pub mod capnp;
pub mod fixp;
pub mod tarpc;
pub mod tonic;
