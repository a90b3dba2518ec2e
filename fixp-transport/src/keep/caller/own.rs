//! The own transport's part: one endpoint for each address family, on its first port, one association for each peer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use fixp_codec::{Dialect, Packet};

use super::peers::Kind;
use super::streams::{Streams, is_streamed};
use super::{Call, Caller, Config, Out, Outcome, Place, Port, Ticket, Timer, Transmission};
use crate::keep::few::Few;
use crate::keep::own::{self, AssociationId, Endpoint, Entity, Event};
use crate::{CallError, Cause, Fate, Repeat};

/// The endpoint of a port.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) port: Port,
    pub(super) endpoint: Endpoint,
    associations: BTreeMap<SocketAddr, AssociationId>,
    /// The same the other way round.
    peers: BTreeMap<AssociationId, SocketAddr>,
    tickets: Few<own::Ticket, Ticket>,
    /// The timer that stands for it.
    pub(super) timer: Option<Instant>,
    /// Whether it stands in the outbox.
    pub(super) queued: bool,
}

impl Own {
    pub(super) fn new(port: Port, endpoint: Endpoint) -> Self {
        let (associations, peers, tickets) = Default::default();
        Self { port, endpoint, associations, peers, tickets, timer: None, queued: false }
    }

    /// Begins an exchange, in an association that is opened for it if there is none.
    pub(super) fn request(
        &mut self,
        now: Instant,
        to: SocketAddr,
        dialect: &'static Dialect,
        (packet, left, len): (&Packet, Option<i32>, Option<u64>),
        ticket: Ticket,
    ) -> Result<own::Ticket, CallError> {
        let known = self.associations.get(&to).copied();
        let ask = |endpoint: &mut Endpoint, association| {
            endpoint.ask(now, association, (packet, packet.entity.clone()), left, len)
        };
        let first = known.map(|association| ask(&mut self.endpoint, association));
        let begun = match first {
            // One that has just ended is not told of yet.
            None | Some(Err(CallError { cause: Cause::Closed, .. })) => {
                let association = self.endpoint.connect(now, to, dialect);
                if let Some(ended) = self.associations.insert(to, association) {
                    self.peers.remove(&ended);
                }
                self.peers.insert(association, to);
                ask(&mut self.endpoint, association)
            }
            Some(begun) => begun,
        };
        let begun = begun?;
        self.tickets.insert(begun, ticket);
        Ok(begun)
    }

    /// Whose exchange it was. It has ended.
    pub(super) fn take(&mut self, ticket: own::Ticket) -> Option<Ticket> {
        self.tickets.remove(ticket)
    }

    /// Ends an exchange that nobody waits for.
    pub(super) fn cancel(&mut self, now: Instant, ticket: own::Ticket) {
        if self.tickets.remove(ticket).is_some() {
            self.endpoint.cancel(now, ticket);
        }
    }

    /// An association has ended, or is of no more use.
    pub(super) fn forget(&mut self, association: AssociationId) {
        if let Some(to) = self.peers.remove(&association) {
            self.associations.remove(&to);
        }
    }

    /// Ends the association with a peer in order.
    pub(super) fn close(&mut self, now: Instant, to: SocketAddr) {
        if let Some(association) = self.associations.remove(&to) {
            self.peers.remove(&association);
            self.endpoint.close(now, association);
        }
    }
}

/// How often a request may be begun anew.
const AGAIN: u32 = 2;

pub(super) fn own_of(own: &mut [Option<Own>; 2], v6: bool) -> Option<&mut Own> {
    own.get_mut(usize::from(v6))?.as_mut()
}

impl Caller {
    /// Begins an exchange over the own transport.
    pub(super) fn place_own(&mut self, now: Instant, ticket: Ticket, to: SocketAddr) -> bool {
        let v6 = to.is_ipv6();
        if !self.open_own(v6) {
            return false;
        }
        let (Some(own), Some(call)) = (own_of(&mut self.own, v6), self.calls.get_mut(ticket)) else {
            return false;
        };
        let Some(packet) = &call.packet else { return true };
        let left = call.deadline.saturating_duration_since(now).as_millis();
        let streams = call.streams;
        // Where entities stream its time is that from one byte to the next.
        let left = streams.is_none().then(|| i32::try_from(left).unwrap_or(i32::MAX));
        // The endpoint books it from here.
        if call.cost > 0 {
            self.queued -= call.cost;
            self.ledger.give(std::mem::take(&mut call.cost));
        }
        match own.request(now, to, self.config.dialect, (packet, left, streams.map(Streams::len)), ticket) {
            Ok(begun) => {
                call.place = Place::Own(begun);
                self.stats.own += 1;
                if let Some(peer) = self.peers.get_mut(to) {
                    peer.own += 1;
                    peer.traffic = now;
                }
                self.flows(ticket);
            }
            Err(error) => self.ended(ticket, Err(error)),
        }
        self.settle_own(now, v6);
        true
    }

    /// Makes the endpoint of a family on its first port, once that is open.
    pub(super) fn open_own(&mut self, v6: bool) -> bool {
        let Some(own) = self.own.get_mut(usize::from(v6)) else { return false };
        if own.is_some() {
            return true;
        }
        let Some(first) = self.ports.of(v6).next().filter(|first| first.local.is_some()) else {
            return false;
        };
        let mut config = self.config.own.clone();
        config.buffer = self.buffer.unwrap_or(config.buffer);
        // Two endpoints of one seed would choose the same numbers.
        let seed = self.seed ^ u64::from(v6) << 63;
        *own = Some(Own::new(first.port, Endpoint::new(config, self.ledger.clone(), seed)));
        true
    }

    /// Looks after an endpoint that something has happened to.
    pub(super) fn settle_own(&mut self, now: Instant, v6: bool) {
        while let Some(event) = own_of(&mut self.own, v6).and_then(|own| own.endpoint.poll_event()) {
            self.own_event(now, v6, event);
        }
        let Some(own) = own_of(&mut self.own, v6) else { return };
        // Its timer is set when it has nothing more to send.
        if !std::mem::replace(&mut own.queued, true) {
            self.outbox.push_back(Out::Own(v6));
        }
        self.note();
    }

    /// Those who wait for the port of an endpoint may have it closed, once nothing is under way there.
    pub(super) fn rested(&mut self, now: Instant, v6: bool) {
        // Going through all associations costs: nearly always nobody waits.
        if !self.stuck.is_empty() && own_of(&mut self.own, v6).is_some_and(|own| own.endpoint.is_idle()) {
            self.close_spent(now, v6);
        }
    }

    pub(super) fn own_event(&mut self, now: Instant, v6: bool, event: Event) {
        let Some(own) = own_of(&mut self.own, v6) else { return };
        match event {
            Event::Answer { ticket: begun, outcome: Ok((packet, Entity::Streamed(len))) }
                if own.tickets.get(begun).is_some_and(|ticket| is_streamed(&self.calls, *ticket)) =>
            {
                if let Some(ticket) = own.tickets.get(begun).copied() {
                    self.answer_flows(ticket, packet, len);
                }
            }
            Event::Answer { ticket: begun, outcome } => {
                let Some(ticket) = own.take(begun) else { return };
                let outcome = outcome.and_then(|(packet, entity)| match entity {
                    Entity::Whole => Ok(packet),
                    Entity::Streamed(len) => {
                        // Nobody here reads in pieces.
                        own.endpoint.cancel(now, begun);
                        let size = usize::try_from(len).unwrap_or(usize::MAX);
                        let limit = self.config.exchange.bounds.entity;
                        Err(CallError::possibly_executed(Cause::TooLarge { size, limit }))
                    }
                });
                self.own_answered(now, ticket, begun, outcome);
            }
            Event::Closed { association } => own.forget(association),
            Event::Readable { ticket: begun } => {
                if let Some(ticket) = own.tickets.get(begun).copied() {
                    self.fed(ticket);
                    self.flows(ticket);
                }
            }
            Event::Writable { ticket: begun } => {
                if let Some(ticket) = own.tickets.get(begun).copied() {
                    self.flows(ticket);
                }
            }
            Event::Broken { ticket: begun, error } => {
                if let Some(ticket) = own.take(begun) {
                    self.broken(ticket, begun, error);
                }
            }
            // A client is asked nothing.
            _ => {}
        }
    }

    pub(super) fn own_answered(
        &mut self,
        now: Instant,
        ticket: Ticket,
        begun: own::Ticket,
        outcome: Outcome,
    ) {
        let Some(call) = self.calls.get_mut(ticket) else { return };
        let to = call.peer;
        let (unopened, ended) = match &outcome {
            Err(CallError { cause: Cause::Connect(_), .. }) => (true, true),
            Err(CallError { cause: Cause::Lost(_) | Cause::Closed, .. }) => (false, true),
            _ => (false, false),
        };
        if let Some(own) = own_of(&mut self.own, to.is_ipv6()).filter(|_| ended) {
            own.forget(begun.association());
        }
        if unopened && let Some(peer) = self.peers.get_mut(to) {
            // It announced this, and is not that peer any more.
            (peer.kind, peer.own_after) = (Kind::Unknown, Some(now + Config::OWN_AGAIN));
        }
        let harmless = call.repeat == Repeat::Harmless;
        let whole = call.streams.is_none_or(|streams| !streams.has_begun());
        let may = whole && matches!(&outcome, Err(error) if error.fate == Fate::NotSent || harmless);
        if ended && may && call.again < AGAIN && call.deadline > now && !self.closed {
            call.again += 1;
            call.sent_before |= matches!(&outcome, Err(error) if error.fate == Fate::PossiblyExecuted);
            call.place = Place::Waiting;
            // An exchange of the endpoint may have had its time there.
            let timer = (call.deadline, Timer::Call(ticket));
            self.timers.remove(&timer);
            self.timers.insert(timer);
            if self.ledger.take(call.size) {
                call.cost = call.size;
                self.queued += call.cost;
                self.end_own(to);
                // Those that wait are behind it: it has waited for longer.
                if !self.place(now, ticket) {
                    self.wait(now, to, ticket);
                }
                return;
            }
        }
        if matches!(&outcome, Err(CallError { cause: Cause::Timeout, .. })) {
            self.silent(to);
        }
        self.conclude(ticket, outcome);
        self.end_own(to);
    }

    /// An exchange over the own transport has ended.
    pub(super) fn end_own(&mut self, to: SocketAddr) {
        if let Some(peer) = self.peers.get_mut(to) {
            peer.own = peer.own.saturating_sub(1);
        }
        let v6 = to.is_ipv6();
        if let Some(own) = own_of(&mut self.own, v6)
            && !std::mem::replace(&mut own.queued, true)
        {
            self.outbox.push_back(Out::Own(v6));
        }
    }

    /// The port of an endpoint has gone, and its associations with it.
    pub(super) fn lose_own(&mut self, v6: bool, cause: Cause) {
        let lost = |call: &Call| matches!(call.place, Place::Own(_)) && call.peer.is_ipv6() == v6;
        for ticket in self.in_order(lost) {
            let error = self.error(ticket, cause);
            if let Some(call) = self.calls.get(ticket)
                && let Some(peer) = self.peers.get_mut(call.peer)
            {
                peer.own = peer.own.saturating_sub(1);
            }
            self.ended(ticket, Err(error));
        }
        if let Some(own) = self.own.get_mut(usize::from(v6)) {
            *own = None;
        }
    }

    pub(super) fn transmit_own(
        &mut self,
        now: Instant,
        v6: bool,
        buffer: &mut Vec<u8>,
        most: usize,
    ) -> Option<Transmission> {
        let own = own_of(&mut self.own, v6)?;
        own.queued = false;
        buffer.clear();
        let sent = own.endpoint.poll_transmit(now, buffer, most.max(1));
        let port = own.port;
        if own.endpoint.wants_transmit() {
            own.queued = true;
            self.outbox.push_back(Out::Own(v6));
        } else {
            own.timer = own.endpoint.poll_timeout();
        }
        let sent = sent?;
        Some(Transmission { port, to: sent.to, segment: sent.segment, fragments: false, own: true })
    }
}
