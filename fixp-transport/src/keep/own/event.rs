//! What an endpoint tells, and what its associations and exchanges are called.

use std::net::SocketAddr;
use std::time::Duration;

use fixp_codec::{Dialect, Packet};

use crate::CallError;

/// An association, by a number that is never used twice in an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AssociationId(pub(super) u64);

/// An exchange, by a number that is never used twice in an endpoint. One that has ended may still be named:
/// nothing happens then.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket {
    pub(super) association: AssociationId,
    pub(super) serial: u64,
}

impl Ticket {
    /// Its association.
    #[must_use]
    pub const fn association(self) -> AssociationId {
        self.association
    }
}

/// Where the entity of a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entity {
    /// In the packet.
    Whole,
    /// Not in the packet: so many bytes are to be read, as they come.
    Streamed(u64),
}

/// What has happened.
///
/// The heads have neither CONTENT_LENGTH nor keys of ours (SPEC 10.1) in them.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// To a server: a request, to be answered, unless it is [cancelled](Event::Cancelled) first.
    Request {
        /// Its name, for the answer.
        ticket: Ticket,
        /// Who asks, from a proven address.
        peer: SocketAddr,
        /// In which dialect.
        dialect: &'static Dialect,
        /// The request.
        head: Packet,
        /// Where its entity is.
        entity: Entity,
        /// The time that the caller still waits, where it said that (SPEC 10.4).
        left: Option<Duration>,
    },
    /// To a client, once for each request that was not cancelled: its answer, or why there is none.
    Answer {
        /// The request's name.
        ticket: Ticket,
        /// The answer and where its entity is.
        outcome: Result<(Packet, Entity), CallError>,
    },
    /// To a client: the entity of an answer that is read in pieces has broken off. Nothing more can be read.
    Broken {
        /// The request's name.
        ticket: Ticket,
        /// Why.
        error: CallError,
    },
    /// There is something to read, where there was nothing before.
    Readable {
        /// Of which request or answer.
        ticket: Ticket,
    },
    /// More can be written, where there was no room before.
    Writable {
        /// To which request or answer.
        ticket: Ticket,
    },
    /// To a server: nobody waits for the answer any more, or the client is lost, or nothing has come of the request for
    /// too long.
    Cancelled {
        /// The request's name.
        ticket: Ticket,
    },
    /// To a server: an answer has been delivered, or been given up.
    Ended {
        /// The request's name.
        ticket: Ticket,
    },
    /// To a client: an association has ended. What was under way in it has been told before.
    Closed {
        /// Which.
        association: AssociationId,
    },
}
