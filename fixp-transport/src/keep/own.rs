//! The own transport, between peers that have both announced it (SPEC 10.10 and on).
//!
//! An [`Endpoint`] is the machine of one socket, for all its peers, as client and as server. Peers have an
//! association, which numbers and acknowledges its datagrams; in it any number of exchanges run beside each other.
//!
//! ```
//! use std::time::Instant;
//! use fixp_codec::{LAXCUS6, Packet, laxcus6::{answer, notify}};
//! use fixp_transport::keep::Ledger;
//! use fixp_transport::keep::own::{Config, Endpoint, Entity, Event};
//!
//! let now = Instant::now();
//! let (client, server) = ("192.0.2.1:4000".parse()?, "192.0.2.2:6600".parse()?);
//! let mut asks = Endpoint::new(Config::default(), Ledger::default(), 1);
//! let mut answers = Endpoint::new(Config::default(), Ledger::default(), 2);
//!
//! let association = asks.connect(now, server, &LAXCUS6);
//! asks.request(now, association, Packet::new(notify::FLUSH_LOG).with_entity(vec![7; 5000]))?;
//! // What one sends comes to the other.
//! let answer = loop {
//!     let mut datagram = Vec::new();
//!     while asks.poll_transmit(now, &mut datagram, 1).is_some() {
//!         answers.handle_datagram(now, client, &LAXCUS6, &datagram);
//!         datagram.clear();
//!     }
//!     while let Some(Event::Request { ticket, head, entity: Entity::Whole, .. }) = answers.poll_event() {
//!         assert_eq!(head.entity.len(), 5000);
//!         answers.answer(now, ticket, Some(Packet::new(answer::OKAY)))?;
//!     }
//!     while answers.poll_transmit(now, &mut datagram, 1).is_some() {
//!         asks.handle_datagram(now, server, &LAXCUS6, &datagram);
//!         datagram.clear();
//!     }
//!     if let Some(Event::Answer { outcome, .. }) = asks.poll_event() {
//!         break outcome?.0;
//!     }
//! };
//! assert_eq!(answer, Packet::new(answer::OKAY));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod acknowledged;
mod association;
pub mod config;
pub mod congestion;
mod early;
pub mod endpoint;
pub mod event;
mod exchange;
mod flow;
pub mod mtu;
pub mod pacer;
pub mod ranges;
mod ready;
mod receive_stream;
pub mod recovery;
pub mod rtt;
mod send_stream;
mod shared;
mod sheet;
mod sorted;
mod spans;
pub mod stats;
mod unbegun;
pub mod varint;
mod wire;

pub use config::Config;
pub use endpoint::{Endpoint, Transmission};
pub use event::{AssociationId, Entity, Event, Ticket};
pub use stats::Stats;

pub use super::responder::AnswerError;
