//! FIXP on the wire: bytes to packets and packets to bytes.
//!
//! FIXP is the *Free Information eXchange Protocol* of the Laxcus big-data system (not the FIX Trading
//! Community's protocol of the same letters). This crate reads and writes its packets in the dialects of
//! the two public programs that speak it, [`LEXST1`] and [`LAXCUS6`], in that of the Laxcus 2.0 book,
//! [`LAXCUS2`], and in any [`Dialect`] of your own. The rules it follows are numbered in `docs/SPEC.md`;
//! the code cites them (`SPEC 4.1`).
//!
//! Decoding borrows and allocates nothing; the whole packet is checked once, and after that no accessor
//! fails for a reason of layout:
//!
//! ```
//! use fixp_codec::{Decoder, LAXCUS6, laxcus6::{key, notify}};
//!
//! let wire = b"\x87\x00\x01\x05\x01\x02\x00\xe8\x03\x05\x30TEST!\xfc\x03\x01\x50\x00";
//! let packet = Decoder::new(&LAXCUS6).packet(wire)?;
//! assert_eq!(packet.code(), notify::TEST);
//! assert_eq!(packet.first(key::SPEAK).unwrap().as_str(), Some("TEST!"));
//! # Ok::<(), fixp_codec::Error>(())
//! ```
//!
//! What the wire cannot carry is an error and writes nothing; what is built is written canonically:
//!
//! ```
//! use fixp_codec::{LAXCUS6, Packet, laxcus6::{key, notify}};
//!
//! let packet = Packet::new(notify::TEST).with(key::SPEAK, "TEST!");
//! let wire = packet.to_bytes(&LAXCUS6)?;
//! assert_eq!(&wire[..], b"\x87\x00\x01\x05\x01\x02\x00\xe8\x03\x05\x30TEST!\xfc\x03\x01\x50\x00");
//! # Ok::<(), fixp_codec::Error>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | read a datagram, a file, a slice | [`Decoder`] |
//! | read a stream, in any pieces | [`StreamDecoder`] |
//! | write | [`Encoder`] |
//! | own, build, change a packet | [`Packet`] |
//! | look at bytes | [`explain`] |
//! | compose parsers | [`parse`] |
//! | read and write remote calls | [`rpc`] |
//!
//! # Features
//!
//! | feature | gives |
//! |---|---|
//! | `nom` (default) | [`parse`]: nom 8 parsers |
//! | `serde` | the JSON forms of the conformance protocol for [`Packet`], [`Message`], [`Command`] |
//! | `zlib` | the content of the compressed types |
//! | `arbitrary` | `Arbitrary` for [`Packet`] and its parts |
//! | `rpc-lexst1`, `rpc-laxcus6` | [`rpc`]: the remote calls of the two programs |
//! | `proptest` | strategies for valid packets of a dialect |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "proptest"))]
extern crate std;

mod code;
mod decoder;
mod deflated;
pub mod dialect;
mod encoder;
mod error;
pub mod explain;
mod head;
mod limits;
mod message;
pub mod number;
mod packet;
pub mod reader;
mod stream;
mod types;
mod value;

#[cfg(feature = "arbitrary")]
pub mod arbitrary;
#[cfg(feature = "serde")]
mod json;
#[cfg(feature = "nom")]
pub mod parse;
#[cfg(feature = "properties")]
#[doc(hidden)]
pub mod properties;
#[cfg(any(feature = "rpc-lexst1", feature = "rpc-laxcus6"))]
pub mod rpc;
#[cfg(feature = "proptest")]
pub mod strategy;

pub use code::{Code, Command, VERSION};
pub use decoder::{Decoder, Policy};
pub use deflated::{Deflated, DeflatedRef};
pub use dialect::{Dialect, LAXCUS2, LAXCUS6, LEXST1, laxcus2, laxcus6, lexst1};
pub use encoder::{Draft, Encoder, MAX_ENTITY, MAX_MESSAGES, MAX_VALUE, Source};
pub use error::{Cause, Error, ErrorKind};
pub use head::{HeadRef, Messages};
pub use limits::Limits;
pub use message::{Message, MessageRef};
pub use packet::{Packet, PacketRef};
pub use stream::{Event, StreamDecoder};
pub use types::Type;
pub use value::{Value, ValueRef};

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
