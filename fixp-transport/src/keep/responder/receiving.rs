//! What comes: pieces of requests and their duplicates, RETRY and CANCEL; and what is said to that at once.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use fixp_codec::laxcus6::key::SUBPACKET_TIMEOUT;
use fixp_codec::{Decoder, Packet, PacketRef};

use super::assembly::Group;
use super::exchange::{Done, Exchange, Known, Stage};
use super::{Config, EVENT_COST, Event, Key, QUEUE_COST, Responder, Ticket};
use crate::keep::limits::Limits;
use crate::keep::pieces::{Added, Bounds, Gather, Mark};
use crate::keep::{Transmit, control};
use crate::tables;

/// How many times its bytes CANCEL may draw at once, without the budget of its prefix.
const FACTOR: usize = 3;

impl Responder {
    pub(super) fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        let Ok(packet) = Decoder::new(self.config.dialect).packet(bytes) else { return false };
        let code = packet.code();
        if !code.is_request() || self.table.plain.contains(&code) {
            return false;
        }
        if code == self.table.retry {
            self.retry(now, from, &packet, bytes.len());
        } else if code == self.table.cancel {
            self.cancel(now, from, &packet, bytes.len());
        } else if Mark::is_claimed(&packet) {
            // The programs make nothing of a piece without it, which a server's answers need not have.
            let whole = packet.first(SUBPACKET_TIMEOUT).is_some();
            if let Some(mark) = Mark::of(self.config.dialect, &packet).filter(|_| whole) {
                self.piece(now, from, mark, &packet, bytes);
            }
        } else {
            return false;
        }
        true
    }

    pub(super) fn piece(
        &mut self,
        now: Instant,
        from: SocketAddr,
        mark: Mark,
        packet: &PacketRef<'_>,
        bytes: &[u8],
    ) {
        let limits = &self.config.limits;
        let bounds = Bounds { pieces: limits.pieces, entity: limits.entity };
        if mark.count > limits.pieces && !bounds.exclude(mark, packet.entity().len()) {
            self.stats.refused += 1;
            return;
        }
        let key = (from, mark.identity);
        let digest = self.digests.hash_one(bytes);
        let exchange = self.exchanges.get(&key);
        let group = exchange.and_then(|exchange| exchange.group.as_ref());
        let stale = group.is_some_and(|group| {
            !group.gather.takes(mark) && now.saturating_duration_since(group.last) >= Config::STALE
        });
        if group.is_none() || stale {
            if let Some(done) = exchange.and_then(|exchange| exchange.done.as_ref())
                && done.known.has(mark, digest)
            {
                self.duplicate(now, key, bytes.len());
                return;
            }
            if group.is_none() && self.settled.knows(now, key, mark.count, digest) {
                return;
            }
            let live = self.peers.get(&from).map_or(0, |peer| peer.live as usize);
            let fresh = exchange.is_none();
            let crowded = !exchange.is_some_and(Exchange::takes_request) && live >= limits.exchanges_per_peer;
            if crowded || fresh && !self.makes_place(now, from.ip()) {
                self.stats.refused += 1;
                return;
            }
        }
        // What the piece, its group and its digest can add to the ledger.
        let beside = Limits::EXCHANGE_COST + Limits::GROUP_COST + EVENT_COST;
        let room = Gather::cost_of(mark, packet) + beside + size_of::<u64>();
        if !self.makes_room(now, from.ip(), room) {
            self.stats.refused += 1;
            return;
        }
        let exchange = self.exchanges.open(key);
        if stale {
            exchange.group = None;
        }
        let mut opened = exchange.group.is_none();
        let mut group = exchange.group.get_or_insert_with(|| Box::new(Group::new(now, mark)));
        let mut added = group.gather.add(mark, packet, digest, bounds);
        if added == Added::Differs {
            // The earlier one is of another request, which is nobody's by now. They are never joined.
            opened = true;
            group = exchange.group.insert(Box::new(Group::new(now, mark)));
            added = group.gather.add(mark, packet, digest, bounds);
        }
        if added == Added::Kept {
            group.progresses();
        }
        match added {
            Added::Kept | Added::Known | Added::Whole => {
                group.last = now;
                group.came += bytes.len();
            }
            Added::Foreign | Added::Differs => {}
            Added::TooLarge => {
                let came = group.credit() + bytes.len();
                self.refuse(now, key, Known::TooLarge(mark.count, digest), came);
                return;
            }
            Added::Refused if group.gather.is_empty() => exchange.group = None,
            Added::Refused => {}
        }
        self.book(key);
        if opened
            && matches!(added, Added::Kept | Added::Whole)
            && let Some(peer) = self.peers.get_mut(&from)
        {
            (peer.latest, peer.refused) = (mark.identity, None);
        }
        self.stats.refused += u64::from(added == Added::Refused);
        match added {
            Added::Whole => self.whole(now, key),
            // A hole before the last one: laxcus6 asks at once.
            Added::Kept if self.table.accepted.is_some() => self.ask_for_gap(now, key),
            _ => {}
        }
        self.arm(now, key);
    }

    /// The last piece of a request has come.
    pub(super) fn whole(&mut self, now: Instant, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(&key) else { return };
        let Some(group) = exchange.group.take() else { return };
        let (came, rate) = (group.credit(), group.rate(now));
        let known = Known::Whole(group.gather.digests());
        if exchange.done.as_ref().is_some_and(|done| done.known == known) {
            self.book(key);
            self.duplicate(now, key, came);
            return;
        }
        let cost = group.gather.packet_cost() + EVENT_COST;
        let Some(packet) = group.gather.join(self.config.dialect) else {
            self.book(key);
            return;
        };
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let stage = Stage::Executing { ticket, cancelled: false };
        self.goes_on(now, key, Done { known, stage, told: now, came, rate });
        self.tickets.insert(ticket, key);
        self.held += cost;
        self.events.push_back((Event { ticket, from: key.0, packet }, cost));
        self.book(key);
        let copies = self.table.accepted.map_or(0, |(_, copies)| copies);
        self.accept(now, key, copies);
    }

    /// A request takes the place of the earlier one with its identity: its client has gone on, and the answer of that
    /// is nobody's.
    fn goes_on(&mut self, now: Instant, key: Key, done: Done) {
        let Some(exchange) = self.exchanges.get_mut(&key) else { return };
        match exchange.done.replace(done) {
            Some(Done { stage: Stage::Executing { ticket, .. }, .. }) => self.replaced(ticket, key.0),
            Some(Done { stage: Stage::Held(held), .. }) => held.end(now, false, &mut self.budget, key.0.ip()),
            _ => {}
        }
    }

    /// A request, of which so many bytes came, is too large: it is known as if it had been executed, and its answer
    /// says so, if there is room for that.
    fn refuse(&mut self, now: Instant, key: Key, known: Known, came: usize) {
        self.stats.refused += 1;
        if let Some(exchange) = self.exchanges.get_mut(&key) {
            exchange.group = None;
        }
        let stage = Stage::Tombstone { until: now + self.config.limits.tombstone };
        self.goes_on(now, key, Done { known, stage, told: now, came, rate: None });
        self.book(key);
        if let Some(peer) = self.peers.get_mut(&key.0) {
            peer.refused = Some(key.1);
        }
        let answer = Packet::new(tables::of(self.config.dialect).refuse);
        // Without an answer it is known all the same.
        let _ = self.hold(now, key, answer, None);
        self.book(key);
        self.arm(now, key);
    }

    /// ACCEPTED. Three copies are less than three times the shortest piece, so no budget has them wait; but what
    /// they take of the bytes that came is not left for the answer.
    pub(super) fn accept(&mut self, now: Instant, key: Key, copies: u8) {
        let Ok(Some(bytes)) = control::accepted(self.config.dialect, key.1) else { return };
        for _ in 0..copies {
            if let Some(Exchange { done: Some(done), .. }) = self.exchanges.get_mut(&key) {
                done.came = done.came.saturating_sub(bytes.len());
            }
            self.say(now, key.0, bytes.clone());
        }
    }

    /// Sends a datagram that is answer to another. Without room it is lost.
    pub(super) fn say(&mut self, now: Instant, to: SocketAddr, bytes: Bytes) {
        let cost = bytes.len() + QUEUE_COST;
        if self.controls.len() < self.config.limits.controls && self.makes_room(now, to.ip(), cost) {
            self.held += cost;
            self.controls.push_back(Transmit { to, bytes });
        }
    }

    /// A piece of a request that has been executed, or is being, of so many bytes.
    pub(super) fn duplicate(&mut self, now: Instant, key: Key, bytes: usize) {
        let spacing = self.config.spacing;
        let accepts = self.table.accepted.is_some();
        let latest = self.is_latest(key);
        let Some(Exchange { done: Some(done), .. }) = self.exchanges.get_mut(&key) else { return };
        let told = now < done.told + spacing;
        if !told {
            done.told = now;
        }
        match &mut done.stage {
            Stage::Executing { .. } => {
                done.came = done.came.saturating_add(bytes);
                if accepts && !told && latest {
                    self.accept(now, key, 1);
                }
            }
            Stage::Held(held) => {
                held.came(bytes);
                if !told && latest {
                    held.begin();
                    self.turn(key);
                }
            }
            // A client that still asks would be executed again once it is forgotten.
            Stage::Tombstone { until } => *until = now + self.config.limits.tombstone,
        }
    }

    pub(super) fn retry(&mut self, now: Instant, from: SocketAddr, packet: &PacketRef<'_>, bytes: usize) {
        let Some(identity) = control::identity(packet) else { return };
        let key = (from, identity);
        let Some(Exchange { done: Some(Done { stage: Stage::Held(held), .. }), .. }) =
            self.exchanges.get_mut(&key)
        else {
            return;
        };
        let head = packet.head();
        held.came(bytes);
        held.ask(now, control::asked(self.config.dialect, self.table, &head, held.count()));
        self.paces.learn(now, from.ip(), held.pace().clone());
        self.turn(key);
        self.arm(now, key);
    }

    pub(super) fn cancel(&mut self, now: Instant, from: SocketAddr, packet: &PacketRef<'_>, bytes: usize) {
        let identity = control::identity(packet);
        let mut found = false;
        if let Some(identity) = identity {
            let key = (from, identity);
            if let Some(exchange) = self.exchanges.get_mut(&key) {
                let group = exchange.group.take();
                let done = exchange.done.take();
                if let Some(group) = group {
                    self.settle(now, key, group.gather.count(), 0);
                }
                if let Some(mut done) = done {
                    match done.stage {
                        Stage::Executing { ticket, ref mut cancelled } => {
                            if !std::mem::replace(cancelled, true) {
                                self.cancelled.insert(ticket);
                            }
                            if let Some(exchange) = self.exchanges.get_mut(&key) {
                                exchange.done = Some(done);
                            }
                        }
                        Stage::Held(held) => {
                            found = true;
                            if held.has_left() {
                                self.paces.learn(now, from.ip(), held.came_through());
                            }
                            held.end(now, true, &mut self.budget, from.ip());
                            self.settle_done(now, key, &done.known);
                        }
                        Stage::Tombstone { .. } => self.settle_done(now, key, &done.known),
                    }
                }
                self.book(key);
                self.arm(now, key);
            }
        }
        // laxcus6 does not answer without an identity. To lexst1 there is never anything left.
        if self.table.cancel_is_idle || identity.is_some() {
            let found = found && !self.table.cancel_is_idle;
            self.answer_cancel(now, from, found, bytes);
        }
    }

    /// Answers a CANCEL of so many bytes: as recorded where that is not [`FACTOR`] times as much, or the budget of
    /// its prefix has the rest; else without BIND_IP. Only one that says nothing at all may go unanswered.
    fn answer_cancel(&mut self, now: Instant, to: SocketAddr, found: bool, bytes: usize) {
        let most = bytes.saturating_mul(FACTOR);
        let written = |bind_ip| control::cancelled(self.config.dialect, bind_ip, found);
        let Ok(answer) = written(self.bind_ip(to)) else { return };
        let short = written(None);
        let beyond = answer.len().saturating_sub(most);
        if beyond == 0 || self.config.allow.allows(to.ip()) || self.budget.take(now, to.ip(), beyond) {
            self.say(now, to, answer);
        } else if let Ok(short) = short
            && short.len() <= most
        {
            self.say(now, to, short);
        }
    }

    pub(super) fn settle(&mut self, now: Instant, key: Key, count: u32, digest: u64) {
        let limits = &self.config.limits;
        self.settled.add(now + limits.settle, key, count, digest, limits.settled);
    }

    pub(super) fn settle_done(&mut self, now: Instant, key: Key, known: &Known) {
        self.settle(now, key, known.count(), known.digest());
    }

    pub(super) fn ask_for_gap(&mut self, now: Instant, key: Key) {
        let group = self.exchanges.get(&key).and_then(|exchange| exchange.group.as_ref());
        if group.is_some_and(|group| group.asks_for_gap(now, &self.config)) {
            self.ask(now, key, true);
        }
    }

    pub(super) fn ask(&mut self, now: Instant, key: Key, before_last: bool) {
        let (dialect, bind_ip) = (self.config.dialect, self.bind_ip(key.0));
        let Some(Exchange { group: Some(group), .. }) = self.exchanges.get_mut(&key) else { return };
        for question in group.questions(now, dialect, bind_ip, self.table, before_last) {
            // It is no more than what came for the group.
            self.stats.questions += 1;
            self.say(now, key.0, question);
        }
    }
}
