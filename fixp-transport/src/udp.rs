//! Requests, answers and notices in single datagrams: many peers over one socket, IPv4 and IPv6.
//!
//! ```no_run
//! use fixp_codec::{LAXCUS6, Packet, laxcus6::{key, notify}};
//! use fixp_transport::udp::Client;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder().dialect(&LAXCUS6).build();
//! let server = "192.0.2.1:6600".parse()?;
//! let answer = client.request(server, Packet::new(notify::TEST).with(key::SPEAK, "TEST!")).await?;
//! println!("{:?}", answer.first(key::SPEAK));
//! client.exit(server).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing in a packet of the recorded programs tells which request an answer is for. So to them one request
//! is outstanding per local port, a port whose answer may still come is not used for its peer for a while, and
//! as many further ports as the limits allow are opened (SPEC 11.12). Between our own peers, once both have announced
//! themselves, any number of requests leaves from one port, told apart by their serials.
//!
//! [`exchange`] is all of that as a state machine without a socket; [`Client`] runs it on tokio.

pub(crate) mod bind_ip;
mod client;
pub mod exchange;
mod peers;
pub(crate) mod security;
mod stats;

pub use bind_ip::text as bind_ip_text;
pub use client::{Builder, Client};
pub(crate) use client::{now, transient};
pub(crate) use exchange::canonical;
pub use exchange::{Config, Options, Repeat, Security};
pub use security::allows as allows_clear;
pub use stats::Stats;

/// The longest datagram, in bytes: what the programs' buffers take, and what UDP over IPv4 can carry.
pub const MAX_DATAGRAM: usize = 65507;

/// The longest datagram that one Ethernet frame carries over IPv4, in bytes: 1500 without 28 of heads.
pub const MTU_V4: usize = 1472;

/// The longest datagram that one Ethernet frame carries over IPv6, in bytes: 1500 without 48 of heads.
pub const MTU_V6: usize = 1452;

/// The longest that one Ethernet frame carries to this peer.
pub(crate) const fn mtu(peer: std::net::SocketAddr) -> usize {
    if peer.is_ipv4() { MTU_V4 } else { MTU_V6 }
}
