//! KEEP UDP: packets of any size over datagrams, cut, numbered, sent again where lost, and joined.
//!
//! Here are the machines that talk to the recorded programs; they have no socket and no clock:
//!
//! - [`pieces`]: cutting a packet and joining it;
//! - [`requester`]: the side that asks, one exchange at a time from one local port to one peer;
//! - [`responder`]: the side that answers, for all peers of one socket;
//! - [`caller`]: many requests to many peers: a requester for each port and peer;
//! - [`control`]: the packets around the pieces, RETRY, ACCEPTED and CANCEL;
//! - [`pace`]: how fast pieces leave;
//! - [`budget`]: what may leave for addresses that have proved nothing;
//! - [`table`]: what differs between the dialects;
//! - [`limits`]: every bound.
//!
//! And [`own`] is the transport between peers of ours. All of them count what they hold in a [`Ledger`].
//!
//! [`Client`] runs a [`caller`] on tokio.
//!
//! ```
//! use std::time::Instant;
//! use fixp_codec::{LAXCUS6, Packet, laxcus6::{answer, notify}};
//! use fixp_transport::keep::{requester, responder, Requester, Responder};
//!
//! let now = Instant::now();
//! let (client, server) = ("192.0.2.1:4000".parse().unwrap(), "192.0.2.2:6600".parse().unwrap());
//! let mut asks = Requester::new(requester::Config::new(&LAXCUS6), server);
//! let mut answers = Responder::new(responder::Config::new(&LAXCUS6));
//!
//! asks.request(now, Packet::new(notify::FLUSH_LOG).with_entity(vec![7; 1000]))?;
//! while let Some(sent) = asks.poll_transmit(now) {
//!     answers.handle_datagram(now, client, &sent.bytes);
//! }
//! let request = answers.poll_event().unwrap();
//! assert_eq!(request.packet.entity.len(), 1000);
//! answers.answer(now, request.ticket, Some(Packet::new(answer::OKAY)))?;
//! while let Some(sent) = answers.poll_transmit(now) {
//!     asks.handle_datagram(now, server, &sent.bytes);
//! }
//! assert_eq!(asks.poll_event().unwrap()?.code, answer::OKAY);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod budget;
pub mod caller;
mod client;
pub mod control;
pub mod few;
mod gathered;
mod ledger;
pub mod limits;
pub mod own;
pub mod pace;
pub mod pieces;
pub mod requester;
pub mod responder;
pub mod table;
mod wanted;

pub(crate) use client::Pending;
pub use client::{BatchedBinder, Builder, Client};
pub use ledger::Ledger;
pub use limits::Limits;
pub use requester::Requester;
pub use responder::Responder;

use std::net::SocketAddr;

use bytes::Bytes;

/// A datagram to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Whom it goes to.
    pub to: SocketAddr,
    /// Its bytes.
    pub bytes: Bytes,
}
