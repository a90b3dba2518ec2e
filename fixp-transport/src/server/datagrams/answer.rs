//! To whom an answer goes, and what stands in it.

use std::net::SocketAddr;

use fixp_codec::{Code, Dialect, Encoder, Error, Message, Packet, laxcus6};

use super::keep;
use crate::extension::{self, Capabilities, Refusal};
use crate::handler::Peer;
use crate::keep::own;
use crate::tables;
use crate::udp::{MAX_DATAGRAM, bind_ip};

/// What stands before the answer to PRIVATE_SECURE_CREATE, by which its receiver knows it among ciphertext.
const PRIVATE_PREFIX: [u8; 16] =
    [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];

/// How an answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Via {
    /// As a plain datagram.
    Plain,
    /// In the pieces of the programs.
    Pieces(keep::Ticket),
    /// Over the own transport.
    Own(own::Ticket),
}

/// To whom an answer goes, and what of ours is in it.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// The address as the socket gave it, which may be IPv4 mapped into IPv6.
    pub(super) to: SocketAddr,
    pub(super) peer: Peer,
    pub(super) via: Via,
    /// What the answer announces, where the request announced its sender.
    pub(super) announces: Option<Capabilities>,
    /// Its sender has announced itself, now or before.
    pub(super) own: bool,
    pub(super) serial: Option<i64>,
    /// The bytes of the datagram with the request, of a plain one.
    pub(super) came: usize,
}

impl Asked {
    /// The answer that says why there is none.
    pub(super) fn refusal(&self, refusal: Refusal) -> Packet {
        Packet::new(tables::of(self.peer.dialect).refuse).with(extension::key::REFUSAL, refusal.number())
    }

    /// Adds to an answer what stands in every datagram of its dialect, and what is ours.
    pub(super) fn finish(&self, packet: &mut Packet) {
        let bind_ip = tables::of(self.peer.dialect).bind_ip;
        let length = self.peer.dialect.content_length_key();
        packet.messages.retain(|message| {
            let fits = extension::may_answer(message.key, self.own);
            fits && message.key != length && bind_ip != Some(message.key)
        });
        if let Some(ours) = self.announces {
            packet.messages.push(Message::new(extension::key::CAPABILITIES, ours.in_answer()));
        }
        if let Some(serial) = self.serial {
            packet.messages.push(Message::new(extension::key::SERIAL, serial));
        }
        // The last but CONTENT_LENGTH, which is written behind it.
        if let Some(key) = bind_ip {
            packet.messages.push(Message::new(key, bind_ip::text(self.peer.local.ip())));
        }
    }

    /// Writes an answer, which is [finished](Asked::finish), as a plain datagram in place of what `wire` has.
    pub(super) fn write(&self, packet: &Packet, wire: &mut Vec<u8>) -> Result<(), Unsent> {
        let dialect = self.peer.dialect;
        wire.clear();
        if is_prefixed(dialect, packet.code) {
            wire.extend_from_slice(&PRIVATE_PREFIX);
        }
        let encoder = Encoder::new(dialect);
        if packet.entity.len() > MAX_DATAGRAM {
            // Not even copied.
            let size = wire.len() + encoder.packet_len(packet).map_err(Unsent::Encode)?;
            return Err(Unsent::TooLarge { size, most: MAX_DATAGRAM });
        }
        encoder.packet(packet, wire).map_err(Unsent::Encode)?;
        if wire.len() > MAX_DATAGRAM {
            Err(Unsent::TooLarge { size: wire.len(), most: MAX_DATAGRAM })
        } else {
            Ok(())
        }
    }
}

fn is_prefixed(dialect: &Dialect, code: Code) -> bool {
    use laxcus6::answer::{PRIVATE_CREATE_SECURE_ACCEPTED, PRIVATE_CREATE_SECURE_REFUSE};
    tables::of(dialect).asks_security
        && matches!(code, PRIVATE_CREATE_SECURE_ACCEPTED | PRIVATE_CREATE_SECURE_REFUSE)
}

/// Why an answer was not sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unsent {
    TooLarge { size: usize, most: usize },
    Encode(Error),
    Full,
}

impl std::fmt::Display for Unsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge { size, most } => write!(f, "it has {size} bytes, where {most} can be sent"),
            Self::Encode(error) => error.fmt(f),
            Self::Full => f.write_str("there is no room to hold it"),
        }
    }
}
