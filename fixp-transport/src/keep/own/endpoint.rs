//! The machine of one socket: all peers, as client and as server.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use fixp_codec::{Dialect, Packet};

use super::config::Config;
use super::event::{AssociationId, Event, Ticket};
use super::stats::Stats;
use crate::keep::Ledger;
use crate::keep::responder::AnswerError;
use crate::{CallError, Cause};

/// Datagrams of the same length to one peer, the last of them perhaps shorter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmission {
    /// Whom they go to.
    pub to: SocketAddr,
    /// The length of each but the last.
    pub segment: usize,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    ledger: Ledger,
    next_association: u64,
}

impl Endpoint {
    /// An endpoint without associations. The seed must be one that nobody can guess: the numbers that prove
    /// addresses come from it.
    #[must_use]
    pub fn new(config: Config, ledger: Ledger, seed: u64) -> Self {
        let _ = seed;
        Self { config, ledger, next_association: 0 }
    }

    /// Begins an association as its client. Requests can be made at once.
    pub fn connect(&mut self, now: Instant, peer: SocketAddr, dialect: &'static Dialect) -> AssociationId {
        let _ = (now, peer, dialect, &self.config, &self.ledger);
        self.next_association += 1;
        AssociationId(self.next_association)
    }

    /// Begins an exchange with a request that is in memory. It ends by one [`Event::Answer`], at the latest when
    /// the time of its DEADLINE (SPEC 10.4) is over, if it has one.
    ///
    /// # Errors
    ///
    /// All of them are certain not to have been sent: [`Cause::Closed`] where the association has ended,
    /// [`Cause::Full`] where the ledger is, [`Cause::Encode`].
    pub fn request(
        &mut self,
        now: Instant,
        association: AssociationId,
        request: Packet,
    ) -> Result<Ticket, CallError> {
        let _ = (now, association, request);
        Err(CallError::not_sent(Cause::Closed))
    }

    /// The same, where an entity of so many bytes follows by [`Endpoint::write`].
    ///
    /// # Errors
    ///
    /// Those of [`Endpoint::request`].
    pub fn request_stream(
        &mut self,
        now: Instant,
        association: AssociationId,
        head: Packet,
        len: u64,
    ) -> Result<Ticket, CallError> {
        let _ = (now, association, head, len);
        Err(CallError::not_sent(Cause::Closed))
    }

    /// As a client: nobody waits for the answer any more, and no event comes. As a server: there will be no answer.
    pub fn cancel(&mut self, now: Instant, ticket: Ticket) {
        let _ = (now, ticket);
    }

    /// Answers a request; with nothing, the client is told that there is no answer. Nothing happens where nobody
    /// waits any more.
    ///
    /// # Errors
    ///
    /// Why the answer is not sent. The client is told that it was executed, and that there is no answer.
    pub fn answer(
        &mut self,
        now: Instant,
        ticket: Ticket,
        answer: Option<Packet>,
    ) -> Result<(), AnswerError> {
        let _ = (now, ticket, answer);
        Ok(())
    }

    /// The same, where an entity of so many bytes follows by [`Endpoint::write`].
    ///
    /// # Errors
    ///
    /// Those of [`Endpoint::answer`].
    pub fn answer_stream(
        &mut self,
        now: Instant,
        ticket: Ticket,
        head: Packet,
        len: u64,
    ) -> Result<(), AnswerError> {
        let _ = (now, ticket, head, len);
        Ok(())
    }

    /// Writes the next bytes of an entity, as many as there is room for; those are gone from `bytes`. False where
    /// some are left: [`Event::Writable`] tells when there is room again. Of an exchange that has ended, and of
    /// what is more than the entity was to have, nothing is kept.
    pub fn write(&mut self, now: Instant, ticket: Ticket, bytes: &mut Bytes) -> bool {
        let _ = (now, ticket);
        bytes.clear();
        true
    }

    /// Reads the next bytes of an entity. Nothing where none are there: [`Event::Readable`] tells when there are.
    pub fn read(&mut self, now: Instant, ticket: Ticket) -> Option<Bytes> {
        let _ = (now, ticket);
        None
    }

    /// Ends an association when all that is under way in it has ended. New requests are refused from now on, on
    /// either side.
    pub fn close(&mut self, now: Instant, association: AssociationId) {
        let _ = (now, association);
    }

    /// The same for all associations; no new one is opened by a peer from now on.
    pub fn close_all(&mut self, now: Instant) {
        let _ = now;
    }

    /// A datagram has come to the socket, in this dialect. False where it is not one of the own transport, and
    /// somebody else's.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        dialect: &'static Dialect,
        bytes: &[u8],
    ) -> bool {
        let _ = (now, from, dialect, bytes);
        false
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When [`Endpoint::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Appends datagrams to be sent to a buffer: up to `most` of one length to one peer, the last of them perhaps
    /// shorter, and never more bytes than a single datagram can have.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>, most: usize) -> Option<Transmission> {
        let _ = (now, buffer, most);
        None
    }

    /// What has happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// Whether there is no exchange at all.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        true
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
