//! The own transport, between peers that have both announced it (SPEC 10.10 and on).
//!
//! An [`Endpoint`] is the machine of one socket, for all its peers, as client and as server. Peers have an
//! association, which numbers and acknowledges its datagrams; in it any number of exchanges run beside each other.

pub mod acknowledged;
pub mod config;
pub mod congestion;
pub mod endpoint;
pub mod event;
pub mod mtu;
pub mod pacer;
pub mod ranges;
pub mod recovery;
pub mod rtt;
pub mod stats;
pub mod varint;

pub use config::Config;
pub use endpoint::{Endpoint, Transmission};
pub use event::{AssociationId, Entity, Event, Ticket};
pub use stats::Stats;

pub use super::responder::AnswerError;
