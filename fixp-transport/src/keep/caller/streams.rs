//! Entities that go and come in pieces, which only the own transport has: nobody gathers them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::Packet;

use super::calls::Calls;
use super::own::own_of;
use super::peers::Kind;
use super::{Caller, Options, Place, Ticket, Timer};
use crate::extension::key;
use crate::keep::own;
use crate::timer::after;
use crate::{CallError, Cause};

/// What has become of a request with an entity in pieces, beside its end.
#[derive(Clone, PartialEq, Debug)]
pub enum Flow {
    /// Its answer, whose entity of so many bytes is to be read: there is no other end than that, or that it breaks.
    Answer(Packet, u64),
    /// There may be room for more, or more to be read.
    Moves,
    /// The entity of its answer has broken off.
    Broken(CallError),
}

/// The two entities of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    /// The length of its own.
    len: u64,
    /// How long nothing may move.
    time: Duration,
    /// Some of its own is gone: it cannot begin anew.
    begun: bool,
    /// What is to go of its own, and whether that waits for room.
    unsent: u64,
    full: bool,
    /// What is to come of its answer's, once that has begun.
    left: Option<u64>,
    /// The answer's reader has found nothing, and it has its time.
    hungry: bool,
}

impl Streams {
    pub(super) const fn len(self) -> u64 {
        self.len
    }

    pub(super) const fn has_begun(self) -> bool {
        self.begun
    }
}

/// Whether the entities of a request go and come in pieces.
pub(super) fn is_streamed(calls: &Calls, ticket: Ticket) -> bool {
    calls.get(ticket).is_some_and(|call| call.streams.is_some())
}

impl Caller {
    /// Begins a request whose entity of so many bytes follows by [`Caller::write`], over the own transport. To any
    /// other peer it ends by [`Cause::NotOurs`], and is certain not to have been sent. It is never repeated, and has
    /// its time from one of its bytes to the next.
    ///
    /// It ends as every request, but for [`Flow::Answer`].
    ///
    /// # Errors
    ///
    /// Those of [`Caller::request`].
    pub fn request_stream(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        packet: Packet,
        len: u64,
        options: Options,
    ) -> Result<Ticket, CallError> {
        let limit = own::Config::ENTITY;
        if len > limit {
            let [size, limit] = [len, limit].map(|size| usize::try_from(size).unwrap_or(usize::MAX));
            return Err(CallError::not_sent(Cause::TooLarge { size, limit }));
        }
        let time = options.timeout.unwrap_or(self.config.timeout);
        let streams =
            Streams { len, time, begun: false, unsent: len, full: false, left: None, hungry: false };
        self.begin_call(now, peer, packet.with_entity(Bytes::new()), options, Some(streams))
    }

    /// Whether it is known of a peer whether it has the own transport.
    #[must_use]
    pub fn knows(&self, peer: SocketAddr) -> bool {
        let peer = self.peers.get(crate::udp::canonical(peer));
        !self.config.extensions || peer.is_some_and(|peer| peer.kind != Kind::Unknown)
    }

    /// Whether a request with an entity in pieces is under way to a peer that takes them.
    #[must_use]
    pub fn streams_to_ours(&self, ticket: Ticket) -> bool {
        self.streams(ticket).is_some()
    }

    /// Writes the next bytes of an entity, as many as there is room for; those are gone from `bytes`. False where
    /// some are left: [`Flow::Moves`] tells when there may be room again. Of a request that has ended nothing is
    /// kept.
    pub fn write(&mut self, now: Instant, ticket: Ticket, bytes: &mut Bytes) -> bool {
        let Some((v6, begun)) = self.streams(ticket) else {
            if self.calls.contains(ticket) {
                // It has no association yet.
                return false;
            }
            bytes.clear();
            return true;
        };
        let Some(own) = own_of(&mut self.own, v6) else { return true };
        let before = bytes.len();
        let all = own.endpoint.write(now, begun, bytes);
        if let Some(streams) = self.calls.get_mut(ticket).and_then(|call| call.streams.as_mut()) {
            streams.unsent = streams.unsent.saturating_sub((before - bytes.len()) as u64);
            streams.full = !all;
        }
        if bytes.len() < before {
            self.fed(ticket);
            self.moved(now, ticket);
        }
        self.settle_own(now, v6);
        all
    }

    /// Reads the next bytes of an answer's entity. Nothing where none are there: [`Flow::Moves`] tells when there
    /// may be some.
    pub fn read(&mut self, now: Instant, ticket: Ticket) -> Option<Bytes> {
        let (v6, begun) = self.streams(ticket)?;
        let bytes = own_of(&mut self.own, v6)?.endpoint.read(now, begun);
        if bytes.is_some() {
            self.fed(ticket);
        } else {
            self.hungers(now, ticket);
        }
        let bytes = bytes?;
        let streams = self.calls.get_mut(ticket).and_then(|call| call.streams.as_mut());
        let left = streams.and_then(|streams| streams.left.as_mut())?;
        *left = left.saturating_sub(bytes.len() as u64);
        if *left == 0 {
            self.end_stream(ticket, begun);
        }
        self.settle_own(now, v6);
        Some(bytes)
    }

    /// What has become of a request with an entity in pieces.
    pub fn poll_flow(&mut self) -> Option<(Ticket, Flow)> {
        self.flows.pop_front()
    }

    /// The family and the exchange of a request with an entity in pieces.
    fn streams(&self, ticket: Ticket) -> Option<(bool, own::Ticket)> {
        let call = self.calls.get(ticket).filter(|call| call.streams.is_some())?;
        match call.place {
            Place::Own(begun) => Some((call.peer.is_ipv6(), begun)),
            _ => None,
        }
    }

    /// Something of the request has left: it has its time anew.
    fn moved(&mut self, now: Instant, ticket: Ticket) {
        let Some(call) = self.calls.get_mut(ticket) else { return };
        let Some(streams) = &mut call.streams else { return };
        streams.begun = true;
        if streams.left.is_none() {
            let deadline = after(now, streams.time);
            let before = std::mem::replace(&mut call.deadline, deadline);
            self.timers.remove(&(before, Timer::Call(ticket)));
            self.timers.insert((deadline, Timer::Call(ticket)));
        }
    }

    /// An answer has begun whose entity is read in pieces.
    pub(super) fn answer_flows(&mut self, ticket: Ticket, mut packet: Packet, len: u64) {
        let Some(call) = self.calls.get_mut(ticket) else { return };
        let Some(streams) = &mut call.streams else { return };
        streams.left = Some(len);
        // From here on its reader takes its time, and the peer has some when the reader waits.
        self.timers.remove(&(call.deadline, Timer::Call(ticket)));
        packet.messages.retain(|message| !key::RANGE.contains(&message.key));
        self.flows.push_back((ticket, Flow::Answer(packet, len)));
    }

    /// Whoever reads the answer has found nothing: the peer has its time to send something, unless it waits for what
    /// is to come from here.
    fn hungers(&mut self, now: Instant, ticket: Ticket) {
        let deadline = after(now, self.config.own.answer_idle);
        let Some(call) = self.calls.get_mut(ticket) else { return };
        let Some(streams) = call.streams.as_mut().filter(|streams| streams.left.is_some()) else { return };
        if !streams.hungry && (streams.unsent == 0 || streams.full) {
            streams.hungry = true;
            call.deadline = deadline;
            self.timers.insert((deadline, Timer::Call(ticket)));
        }
    }

    /// Something has moved.
    pub(super) fn fed(&mut self, ticket: Ticket) {
        let Some(call) = self.calls.get_mut(ticket) else { return };
        let Some(streams) = call.streams.as_mut() else { return };
        if std::mem::take(&mut streams.hungry) {
            self.timers.remove(&(call.deadline, Timer::Call(ticket)));
        }
    }

    /// Whether a time was that of an answer's next piece, which has not come.
    pub(super) fn starved(&mut self, now: Instant, ticket: Ticket) -> bool {
        let Some(call) = self.calls.get(ticket) else { return false };
        let (to, Place::Own(begun)) = (call.peer, call.place) else { return false };
        if !call.streams.is_some_and(|streams| streams.hungry) {
            return false;
        }
        if let Some(own) = own_of(&mut self.own, to.is_ipv6()) {
            own.endpoint.cancel(now, begun);
        }
        self.broken(ticket, begun, CallError::possibly_executed(Cause::Timeout));
        self.settle_own(now, to.is_ipv6());
        true
    }

    /// Something may move.
    pub(super) fn flows(&mut self, ticket: Ticket) {
        if is_streamed(&self.calls, ticket) {
            self.flows.push_back((ticket, Flow::Moves));
        }
    }

    /// The entity of an answer has broken off.
    pub(super) fn broken(&mut self, ticket: Ticket, begun: own::Ticket, error: CallError) {
        self.stats.failed += 1;
        self.flows.push_back((ticket, Flow::Broken(error)));
        self.forget_stream(ticket, begun);
    }

    fn end_stream(&mut self, ticket: Ticket, begun: own::Ticket) {
        self.stats.answers += 1;
        self.forget_stream(ticket, begun);
    }

    fn forget_stream(&mut self, ticket: Ticket, begun: own::Ticket) {
        let Some(to) = self.calls.get(ticket).map(|call| call.peer) else { return };
        if let Some(own) = own_of(&mut self.own, to.is_ipv6()) {
            own.take(begun);
        }
        self.remove(ticket);
        self.end_own(to);
    }
}
