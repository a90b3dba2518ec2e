//! The client's bookkeeping: which port may carry an exchange with a peer, and what is said before it (SPEC 9.14).
//!
//! No socket, no clock: whoever runs it opens and closes the ports that [`Caller::poll_action`] asks for, sends
//! what [`Caller::poll_transmit`] gives, hands in what comes, and calls [`Caller::handle_timeout`] at
//! [`Caller::poll_timeout`].
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fixp_codec::{LEXST1, Packet, lexst1::app};
//! use fixp_transport::keep::caller::{Action, Caller, Config, Options};
//!
//! let now = Instant::now();
//! let mut caller = Caller::new(Config::new(&LEXST1), 0);
//! let peer = "192.0.2.1:5000".parse().unwrap();
//! let log = Packet::new(app::ADD_LOG).with_entity(vec![7; 1000]);
//! let ticket = caller.request(now, peer, log, Options::default())?;
//!
//! // It wants a port first, and then has three pieces to send; two of them are equally long.
//! let Some(Action::Open { port, .. }) = caller.poll_action() else { unreachable!() };
//! caller.handle_bound(now, port, Ok("192.0.2.9:40000".parse().unwrap()), None);
//! let mut buffer = Vec::new();
//! let sent = caller.poll_transmit(now, &mut buffer, 64).unwrap();
//! assert_eq!((sent.port, sent.to, buffer.len().div_ceil(sent.segment)), (port, peer, 3));
//! caller.handle_transmitted(now, &sent, buffer.len(), Ok(()));
//!
//! // Nobody waits any more: the peer is told so.
//! caller.cancel(now, ticket);
//! assert!(caller.poll_transmit(now, &mut buffer, 64).is_some());
//! # Ok::<(), fixp_transport::CallError>(())
//! ```
//!
//! # To a legacy peer
//!
//! One exchange is under way per port and peer (Q1), a [`Requester`] for each; where no port is free one more is
//! opened, up to [`Config::ports`], and further requests wait in their order. After an exchange with a lexst1 peer
//! the port rests for [`Config::settle`]. A port that
//! [is spoilt](Requester::is_spoilt) is not used for that peer again, and closed for another when nobody else
//! uses it.
//!
//! A request is not sent again as a whole unless its caller says that repeating it is harmless
//! ([`requester::Config::repeat`]); how often and when is the dialect's business then, and not that of
//! [`Repeat::Harmless`], which says it for plain requests only.
//!
//! A laxcus6 peer is asked SECURE_QUERY from the same port before each exchange, as recorded (Q11). The requests
//! that are one datagram in KEEP UDP, too, EXIT and TEST among them, leave as such (Q15); EXIT from the port that
//! the peer last answered at.
//!
//! # To our own
//!
//! SECURE_QUERY and the pieces of a request to a peer of whom nothing is known announce
//! [`CAPABILITIES`](crate::extension::key::CAPABILITIES). One that has announced itself is not asked SECURE_QUERY, and
//! if it has the [own transport](super::own) its requests go over that: from the first port, any number at once, in
//! one association, which is opened when it is needed and opened anew where it was lost. A request of which
//! nothing was sent goes over the next one; another fails, unless repeating it is harmless. Where nobody answers
//! OPEN the peer is a legacy one for [`Config::OWN_AGAIN`].

mod config;
mod lane;
mod own;
mod peers;
mod ports;
mod stats;

pub use crate::udp::{Options, Repeat, Security};
pub use config::Config;
pub use ports::{Action, Port};
pub use stats::Stats;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use fixp_codec::{Code, Decoder, Encoder, Packet, PacketRef, Value, laxcus6};

use super::Ledger;
use super::control;
use super::own::{Endpoint, Entity, Event, Ticket as OwnTicket};
use super::pieces::Mark;
use super::requester::{self, Requester};
use super::table::{self, Table};
use crate::extension::{Capabilities, Refusal, key};
use crate::udp::{self, MAX_DATAGRAM, canonical, security};
use crate::{CallError, Cause, Fate, tables};
use lane::{Lane, Work};
use own::Own;
use peers::{Kind, Peers};
use ports::Ports;

/// The number of a request, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket(u64);

/// Datagrams to be sent, all to one peer from one port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmission {
    /// The port that they leave from.
    pub port: Port,
    /// Whom they go to.
    pub to: SocketAddr,
    /// The bytes of each; the last may be shorter.
    pub segment: usize,
    /// Whether they may be fragmented on the way, as they are too long for some.
    pub fragments: bool,
    own: bool,
}

/// How a request ended: by its answer, without anything of ours in it, or why not.
pub type Outcome = Result<Packet, CallError>;

/// What a packet has more than its caller gave it: BIND_IP, the announcement, and what pieces carry.
const EXTRA: usize = 128;
/// What RETRY and other small things of one exchange may take: [`Config::RETRIES`] of them at most.
const RESERVE: usize = 32 << 10;
/// What a request costs beside its packet, and a message of it beside its value.
const REQUEST_COST: usize = 256;
const MESSAGE_COST: usize = 64;
/// What a datagram can cost at most for each of its bytes: a message of four bytes has [`MESSAGE_COST`].
const WORST: usize = 20;
/// The bytes of one transmission at most: what one datagram over IPv4 may have, so that the system can take them
/// as one.
const BATCH: usize = 61440;
/// Datagrams up to this length pass everywhere.
const BASE: usize = 1200;
/// The first identity lies below this, so that it grows for long before it begins anew.
const IDENTITIES: u64 = 1 << 30;

/// What we announce.
const WE: Capabilities = Capabilities::OURS.with(Capabilities::OWN_KEEP);

/// See the [module](self).
#[derive(Debug)]
pub struct Caller {
    config: Config,
    table: &'static Table,
    calls: BTreeMap<Ticket, Call>,
    next_ticket: u64,
    next_identity: i32,
    ports: Ports,
    /// The bytes of their buffers for receiving, as far as that is known.
    buffer: Option<u32>,
    /// The own transport of IPv4, and of IPv6.
    own: [Option<Own>; 2],
    seed: u64,
    peers: Peers,
    /// Those with requests that have no port.
    waiting: BTreeSet<SocketAddr>,
    /// Requests whose exchange is under way.
    running: BTreeSet<Ticket>,
    /// Bytes of requests that wait, those of everything, and how many exchanges with legacy peers there are.
    queued: usize,
    ledger: Ledger,
    busy: usize,
    /// An exchange has not begun for want of room.
    tight: bool,
    timers: BTreeSet<(Instant, Timer)>,
    sweep: Option<Instant>,
    /// Until when no port is tried, of IPv4 and of IPv6.
    reopen: [Option<Instant>; 2],
    outbox: VecDeque<Out>,
    actions: VecDeque<Action>,
    events: VecDeque<(Ticket, Outcome)>,
    stats: Stats,
    closed: bool,
}

#[derive(Debug)]
struct Call {
    peer: SocketAddr,
    code: Code,
    /// Until its exchange begins.
    packet: Option<Packet>,
    /// What stands for that in the ledger, and what it came to.
    cost: usize,
    size: usize,
    deadline: Instant,
    repeat: Repeat,
    place: Place,
    /// How often it was begun anew, over another association or without one.
    again: u32,
}

/// Where a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Waiting,
    Lane(Port),
    Own(OwnTicket),
}

impl Place {
    const fn port(self) -> Option<Port> {
        match self {
            Self::Lane(port) => Some(port),
            _ => None,
        }
    }
}

/// What has something to send.
#[derive(Clone, Copy, Debug)]
enum Out {
    Lane(SocketAddr, Port),
    /// The endpoint of IPv4, or of IPv6.
    Own(bool),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Call(Ticket),
    Lane(SocketAddr, Port),
    Own(bool),
    Port(Port),
    Reopen(bool),
    Sweep,
}

impl Caller {
    /// A caller without ports and peers. `random` is what nobody should be able to guess.
    #[must_use]
    pub fn new(config: Config, random: u64) -> Self {
        let identity = i32::try_from(random % IDENTITIES).unwrap_or(0) + 1;
        Self {
            table: table::of(config.dialect),
            calls: BTreeMap::new(),
            next_ticket: 0,
            next_identity: config.identity.unwrap_or(identity),
            ports: Ports::default(),
            buffer: None,
            own: [None, None],
            seed: random,
            peers: Peers::new(config.peers, config.peer_expiry),
            waiting: BTreeSet::new(),
            running: BTreeSet::new(),
            queued: 0,
            ledger: Ledger::new(config.bytes),
            busy: 0,
            tight: false,
            timers: BTreeSet::new(),
            sweep: None,
            reopen: [None; 2],
            outbox: VecDeque::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            stats: Stats::default(),
            closed: false,
            config,
        }
    }

    /// Begins a request. It ends by one event, unless it is cancelled.
    ///
    /// # Errors
    ///
    /// All of them are certain not to have been sent: [`Cause::TooLarge`], [`Cause::Encode`], [`Cause::Full`],
    /// [`Cause::Closed`].
    pub fn request(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        mut packet: Packet,
        options: Options,
    ) -> Result<Ticket, CallError> {
        if self.closed {
            return Err(CallError::not_sent(Cause::Closed));
        }
        let peer = canonical(peer);
        let length = self.config.dialect.content_length_key();
        packet.messages.retain(|message| message.key != length && !key::RANGE.contains(&message.key));
        let cost = self.measure(&packet).map_err(CallError::not_sent)?;
        let full = self.calls.len() >= self.config.requests || self.queued + cost > self.for_requests();
        if full || self.peers.entry(now, peer).is_none() || !self.ledger.take(cost) {
            return Err(CallError::not_sent(Cause::Full));
        }
        if self.sweep.is_none() {
            self.sweep_at(now + self.config.peer_expiry / 4);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let timeout = options.timeout.unwrap_or(self.config.timeout);
        let deadline = now.checked_add(timeout).unwrap_or(now + LONGEST);
        let (code, repeat) = (packet.code, options.repeat);
        let (place, again) = (Place::Waiting, 0);
        let call =
            Call { peer, code, packet: Some(packet), cost, size: cost, deadline, repeat, place, again };
        self.calls.insert(ticket, call);
        self.queued += cost;
        self.timers.insert((deadline, Timer::Call(ticket)));
        let behind = self.waiting.contains(&peer);
        if behind || !self.place(now, ticket) {
            self.wait(now, peer, ticket);
            if !options.wait && !self.may_come(peer) {
                self.remove(ticket);
                return Err(CallError::not_sent(Cause::Full));
            }
        }
        self.stats.requests += 1;
        self.note();
        Ok(ticket)
    }

    fn wait(&mut self, now: Instant, to: SocketAddr, ticket: Ticket) {
        if let Some(peer) = self.peers.get_mut(to) {
            peer.waiting.push_back(ticket);
        }
        self.waiting.insert(to);
        self.want_ports(now, to);
    }

    /// Bytes that requests may take in all.
    const fn for_requests(&self) -> usize {
        (self.config.bytes / 2).saturating_sub(RESERVE)
    }

    /// What a packet costs at most, in pieces or as it is.
    fn measure(&self, packet: &Packet) -> Result<usize, Cause> {
        let exchange = &self.config.exchange;
        let (size, piece) = (packet.entity.len(), exchange.piece.max(1));
        let limit = exchange.bounds.entity.min(piece.saturating_mul(exchange.bounds.pieces as usize));
        let cost = Encoder::new(self.config.dialect).packet_len(packet).map_err(Cause::Encode)?;
        if size > limit {
            return Err(Cause::TooLarge { size, limit });
        }
        // The messages stand in each piece.
        let piece = if self.table.plain.contains(&packet.code) { size } else { size.min(piece) };
        let (size, limit) = (cost - size + piece + EXTRA, MAX_DATAGRAM);
        if size > limit {
            return Err(Cause::TooLarge { size, limit });
        }
        let cost = cost + REQUEST_COST + EXTRA + (packet.messages.len() + 2) * MESSAGE_COST;
        let limit = self.for_requests();
        if cost > limit { Err(Cause::TooLarge { size: cost, limit }) } else { Ok(cost) }
    }

    /// Gives up a request: no event comes for it. One that has ended is left alone.
    pub fn cancel(&mut self, now: Instant, ticket: Ticket) {
        if self.calls.contains_key(&ticket) {
            self.stats.cancelled += 1;
            self.drop_call(now, ticket);
        }
    }

    /// Ends everything by [`Cause::Closed`], and takes nothing any more. There may be something to send still, so
    /// that peers know; then [`Caller::clear`] forgets the rest.
    pub fn close(&mut self, now: Instant) {
        self.closed = true;
        for ticket in self.calls.keys().copied().collect::<Vec<_>>() {
            self.fail(now, ticket, Cause::Closed);
        }
        for v6 in [false, true] {
            if let Some(own) = own_of(&mut self.own, v6) {
                own.endpoint.close_all(now);
            }
            self.settle_own(now, v6);
        }
    }

    /// Forgets everything, and closes the ports.
    pub fn clear(&mut self) {
        self.closed = true;
        self.actions.retain(|action| matches!(action, Action::Close(_)));
        for port in self.ports.all() {
            self.forget_port(port, Cause::Closed);
            self.actions.push_back(Action::Close(port));
        }
        for ticket in self.calls.keys().copied().collect::<Vec<_>>() {
            self.ended(ticket, Err(CallError::not_sent(Cause::Closed)));
        }
        self.peers = Peers::new(self.config.peers, self.config.peer_expiry);
        self.timers.clear();
        self.outbox.clear();
        self.sweep = None;
    }

    /// A port has been opened on this address, or not.
    ///
    /// `buffer` are the bytes that the system holds of what nobody has read there, if that is known.
    pub fn handle_bound(
        &mut self,
        now: Instant,
        port: Port,
        local: Result<SocketAddr, io::ErrorKind>,
        buffer: Option<usize>,
    ) {
        self.buffer = self.buffer.or_else(|| buffer.and_then(|bytes| u32::try_from(bytes).ok()));
        let Some(socket) = self.ports.get_mut(port) else { return };
        match local {
            Ok(local) => {
                socket.local = Some(local);
                self.idle_port(now, port);
                for (_, peer) in self.peers.iter_mut() {
                    if peer.is_spoilt(now, local.port()) {
                        peer.lane_of(port).spoilt = true;
                    }
                }
            }
            Err(kind) => {
                let v6 = socket.v6;
                self.ports.remove(port);
                let at = now + Config::REOPEN;
                if let Some(reopen) = self.reopen.get_mut(usize::from(v6)) {
                    *reopen = Some(at);
                }
                self.timers.insert((at, Timer::Reopen(v6)));
                if self.ports.of(v6).next().is_none() {
                    self.fail_waiting(v6, Cause::Connect(kind));
                }
            }
        }
        self.pump_all(now);
    }

    /// A port is broken: nothing can be received there any more. Whoever runs it closes it.
    pub fn handle_port_lost(&mut self, now: Instant, port: Port, kind: io::ErrorKind) {
        self.forget_port(port, Cause::Lost(kind));
        self.pump_all(now);
    }

    /// A datagram has come to a port.
    pub fn handle_datagram(&mut self, now: Instant, port: Port, from: SocketAddr, bytes: &[u8]) {
        let from = canonical(from);
        self.stats.received += 1;
        self.stats.received_bytes += bytes.len() as u64;
        let dialect = self.config.dialect;
        if let Some(own) = own_of(&mut self.own, from.is_ipv6()).filter(|own| own.port == port)
            && own.endpoint.handle_datagram(now, from, dialect, bytes)
        {
            if let Some(peer) = self.peers.get_mut(from) {
                peer.traffic = now;
            }
            self.settle_own(now, from.is_ipv6());
            self.rested(now, from.is_ipv6());
            return;
        }
        let Some(peer) = self.peers.get_mut(from) else {
            self.stats.strangers += 1;
            return;
        };
        let Some(lane) = peer.lane_mut(port) else {
            self.stats.late += 1;
            return;
        };
        match &mut lane.work {
            Work::Nothing => self.stats.late += 1,
            Work::Query { .. } => self.query_answered(now, from, port, bytes),
            Work::Plain { .. } => self.plain_answered(now, from, port, bytes),
            Work::Exchange { ticket, .. } => {
                if let Some(ticket) = *ticket
                    && !self.make_room(now, ticket, bytes.len() * WORST)
                {
                    self.stats.full += 1;
                    return;
                }
                let Some(peer) = self.peers.get_mut(from) else { return };
                peer.traffic = now;
                let Some(Lane { work: Work::Exchange { requester, .. }, .. }) = peer.lane_mut(port) else {
                    return;
                };
                requester.handle_datagram(now, from, bytes);
                self.settle(now, from, port);
            }
        }
    }

    /// Bytes that may be held in addition.
    fn room(&self) -> usize {
        self.config.bytes.saturating_sub(self.ledger.held() + self.busy * RESERVE)
    }

    /// Whether there is room for what comes to an exchange: the oldest takes that of the youngest.
    fn make_room(&mut self, now: Instant, ticket: Ticket, wanted: usize) -> bool {
        while self.room() < wanted {
            if self.running.first() != Some(&ticket) {
                return false;
            }
            let holds = |young: &&Ticket| **young != ticket && self.holds_answer(**young);
            match self.running.iter().rev().find(holds).copied() {
                Some(young) => self.fail(now, young, Cause::Full),
                None => {
                    self.fail(now, ticket, Cause::Full);
                    return false;
                }
            }
        }
        true
    }

    /// Whether an exchange holds more than its request.
    fn holds_answer(&self, ticket: Ticket) -> bool {
        let Some(call) = self.calls.get(&ticket) else { return false };
        let lane = call.place.port().and_then(|port| self.peers.get(call.peer)?.lane(port));
        lane.is_some_and(|lane| lane.booked > call.size)
    }

    fn query_answered(&mut self, now: Instant, from: SocketAddr, port: Port, bytes: &[u8]) {
        let read = Decoder::new(self.config.dialect).packet(bytes).ok();
        // What is late of the exchange before it is none.
        let read = read.filter(|packet| self.is_foreign(packet));
        let code = read.as_ref().map(|packet| packet.code());
        let refuses = matches!(code, Some(Code::Answer(2000..)));
        let packet = read.filter(|packet| packet.code() == security::NOTIFY || refuses);
        let Some(packet) = packet.and_then(|packet| packet.to_packet().ok()) else {
            self.stats.late += 1;
            return;
        };
        self.heard(now, from, port, true, &packet);
        let Some(peer) = self.peers.get_mut(from) else { return };
        let Some(lane) = peer.lane_mut(port) else { return };
        let Work::Query { ticket, .. } = lane.work else { return };
        let mode = match packet.code {
            security::NOTIFY => security::allows(&packet),
            code => Err(number(code)),
        };
        if let Err(mode) = mode {
            self.fail(now, ticket, Cause::Security(mode));
            return;
        }
        if let Security::Remembered(time) = self.config.security {
            peer.clear_until = Some(now + time);
        }
        if peer.is_own(now) {
            if let Some(call) = self.calls.get_mut(&ticket) {
                call.place = Place::Waiting;
            }
            if !self.place(now, ticket) {
                self.wait(now, from, ticket);
            }
            self.free(now, from, port);
        } else {
            self.begin(now, ticket, from, port);
        }
    }

    /// Whether a packet belongs to no exchange in pieces.
    fn is_foreign(&self, packet: &PacketRef<'_>) -> bool {
        let code = packet.code();
        let spoken = packet.first(laxcus6::key::SPEAK).and_then(|text| text.as_str());
        !Mark::is_claimed(packet)
            && code != self.table.retry
            && self.table.accepted.is_none_or(|(accepted, _)| accepted != code)
            && spoken != Some(self.table.cancel_text)
    }

    fn plain_answered(&mut self, now: Instant, from: SocketAddr, port: Port, bytes: &[u8]) {
        let read = Decoder::new(self.config.dialect).packet(bytes).ok();
        let lane = self.peers.get(from).and_then(|peer| peer.lane(port));
        let Some(Lane { work: Work::Plain { ticket, announces, .. }, .. }) = lane else { return };
        let (ticket, announces) = (*ticket, *announces);
        let asked = self.calls.get(&ticket).is_some_and(|call| call.code == security::QUERY);
        let read = read.filter(|packet| {
            let code = packet.code();
            // The second copy of an answer to SECURE_QUERY is no answer to what came after.
            !code.is_request() && self.is_foreign(packet) && (asked || code != security::NOTIFY)
        });
        let Some(packet) = read.and_then(|packet| packet.to_packet().ok()) else {
            self.stats.late += 1;
            return;
        };
        self.heard(now, from, port, announces, &packet);
        let outcome = if security::asks(self.config.dialect) && packet.code == security::WANTED {
            Err(CallError::not_sent(Cause::Security(number(packet.code))))
        } else {
            Ok(packet)
        };
        self.conclude(ticket, outcome);
        if let Some(lane) = self.peers.get_mut(from).and_then(|peer| peer.lane_mut(port)) {
            // The network may have doubled it.
            lane.tainted = lane.tainted.max(Some(now + udp::Config::SETTLE));
        }
        self.free(now, from, port);
    }

    /// An answer says what the peer is.
    fn heard(&mut self, now: Instant, from: SocketAddr, port: Port, announces: bool, answer: &Packet) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        (peer.traffic, peer.last_port) = (now, Some(port));
        if !self.config.extensions {
        } else if let Some(capabilities) = Capabilities::of_answer(answer) {
            peer.kind = Kind::Ours(capabilities);
        } else if announces && peer.kind == Kind::Unknown {
            peer.kind = Kind::Legacy;
        }
    }

    /// A peer that does not answer may be another one now.
    fn silent(&mut self, to: SocketAddr) {
        if let Some(peer) = self.peers.get_mut(to) {
            peer.kind = Kind::Unknown;
        }
    }

    /// A request has its answer, or an error.
    fn conclude(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(call) = self.calls.get(&ticket) else { return };
        let ours = self.config.extensions
            && self.peers.get(call.peer).is_some_and(|peer| matches!(peer.kind, Kind::Ours(_)));
        let outcome = outcome.and_then(|mut packet| {
            let refusal = packet.first(key::REFUSAL).and_then(Value::as_i16).filter(|_| ours);
            packet.messages.retain(|message| !key::RANGE.contains(&message.key));
            match refusal.map(Refusal::of_number) {
                None => Ok(packet),
                Some(why) if why.is_unexecuted() => Err(CallError::not_sent(Cause::Refused(why))),
                Some(why) => Err(CallError::possibly_executed(Cause::Refused(why))),
            }
        });
        self.ended(ticket, outcome);
    }

    /// Tells how a request has ended, and forgets it. What its lane does is not its business.
    fn ended(&mut self, ticket: Ticket, outcome: Outcome) {
        match &outcome {
            Ok(_) => self.stats.answers += 1,
            Err(CallError { cause: Cause::Timeout, .. }) => self.stats.timeouts += 1,
            Err(_) => self.stats.failed += 1,
        }
        self.events.push_back((ticket, outcome));
        self.remove(ticket);
    }

    /// Forgets a request.
    fn remove(&mut self, ticket: Ticket) {
        let Some(call) = self.calls.remove(&ticket) else { return };
        self.running.remove(&ticket);
        self.timers.remove(&(call.deadline, Timer::Call(ticket)));
        if call.cost > 0 {
            self.queued -= call.cost;
            self.ledger.give(call.cost);
        }
        if call.place == Place::Waiting
            && let Some(peer) = self.peers.get_mut(call.peer)
        {
            peer.waiting.retain(|&waiting| waiting != ticket);
            if peer.waiting.is_empty() {
                self.waiting.remove(&call.peer);
            }
        }
    }

    /// How a request ends that nobody can answer any more.
    fn error(&self, ticket: Ticket, cause: Cause) -> CallError {
        let call = self.calls.get(&ticket);
        let lane = call.and_then(|call| self.peers.get(call.peer)?.lane(call.place.port()?));
        let given = lane.is_some_and(|lane| lane.given > 0 && !matches!(lane.work, Work::Query { .. }))
            || call.is_some_and(|call| matches!(call.place, Place::Own(_)));
        if given { CallError::possibly_executed(cause) } else { CallError::not_sent(cause) }
    }

    /// Ends a request by an error.
    fn fail(&mut self, now: Instant, ticket: Ticket, cause: Cause) {
        let error = self.error(ticket, cause);
        let call = self.calls.get(&ticket).map(|call| (call.peer, call.place));
        self.ended(ticket, Err(error));
        if let Some((peer, place)) = call {
            self.vacate(now, peer, place);
        }
    }

    /// Takes a request away without a word.
    fn drop_call(&mut self, now: Instant, ticket: Ticket) {
        let call = self.calls.get(&ticket).map(|call| (call.peer, call.place));
        self.remove(ticket);
        if let Some((peer, place)) = call {
            self.vacate(now, peer, place);
        }
    }

    /// Nobody waits for what is under way there.
    fn vacate(&mut self, now: Instant, to: SocketAddr, place: Place) {
        match place {
            Place::Waiting => {}
            Place::Lane(port) => self.leave(now, to, port),
            Place::Own(ticket) => {
                if let Some(own) = own_of(&mut self.own, to.is_ipv6()) {
                    own.cancel(now, ticket);
                }
                self.end_own(to);
            }
        }
    }

    /// Nobody waits for what a lane does.
    fn leave(&mut self, now: Instant, to: SocketAddr, port: Port) {
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return };
        match &mut lane.work {
            Work::Nothing => {}
            // A late answer to these can be told from others.
            Work::Query { .. } => self.free(now, to, port),
            Work::Plain { .. } => {
                // But that of one TEST not from that of the next.
                if lane.given > 0 {
                    lane.tainted = Some(now + udp::Config::QUARANTINE);
                }
                self.free(now, to, port);
            }
            Work::Exchange { ticket, requester, .. } => {
                *ticket = None;
                requester.abandon(now);
                lane.over = None;
                self.settle(now, to, port);
            }
        }
    }

    /// Looks after an exchange that something has happened to.
    fn settle(&mut self, now: Instant, to: SocketAddr, port: Port) {
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return };
        let Work::Exchange { ticket, requester, announces } = &mut lane.work else { return };
        let announces = *announces;
        if let Some(outcome) = requester.poll_event()
            && let Some(ticket) = ticket.take()
        {
            // Its pieces are of no more use.
            lane.over = None;
            match &outcome {
                Ok(answer) => self.heard(now, to, port, announces, answer),
                Err(_) => self.silent(to),
            }
            self.conclude(ticket, outcome);
            // Nobody waits for the rest of it but this port.
            if self.waiting.contains(&to) {
                self.pump(now, to);
            }
        }
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return };
        let Work::Exchange { requester, .. } = &lane.work else { return };
        if requester.is_idle() {
            lane.spoilt |= requester.is_spoilt();
            if self.table.cancel_is_idle {
                lane.resting = Some(now + self.config.settle);
            }
            self.free(now, to, port);
        } else {
            // What waits to be sent is due, and stays so until it is.
            let due = requester.poll_timeout().filter(|&at| at > now);
            self.rebook_until(to, port, due);
            self.enqueue(to, port);
        }
    }

    /// Books what a lane holds, sets its timer, and lets it send.
    fn rebook(&mut self, to: SocketAddr, port: Port) {
        let due = self.peers.get(to).and_then(|peer| peer.lane(port)).and_then(Lane::due);
        self.rebook_until(to, port, due);
    }

    fn rebook_until(&mut self, to: SocketAddr, port: Port, due: Option<Instant>) {
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return };
        let held = lane.held();
        if held < lane.booked {
            self.ledger.give(lane.booked - held);
            lane.booked = held;
        } else if self.ledger.take(held - lane.booked) {
            // Room has been made for it before; what RETRY takes has its reserve.
            lane.booked = held;
        }
        if lane.timer != due {
            if let Some(old) = std::mem::replace(&mut lane.timer, due) {
                self.timers.remove(&(old, Timer::Lane(to, port)));
            }
            if let Some(due) = due {
                self.timers.insert((due, Timer::Lane(to, port)));
            }
        }
        self.note();
    }

    /// Lets a lane send what it has.
    fn enqueue(&mut self, to: SocketAddr, port: Port) {
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return };
        if lane.is_busy() && !std::mem::replace(&mut lane.queued, true) {
            self.outbox.push_back(Out::Lane(to, port));
        }
    }

    /// A lane has done its work.
    fn free(&mut self, now: Instant, to: SocketAddr, port: Port) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        let lane = peer.lane_of(port);
        lane.work = Work::Nothing;
        lane.over = None;
        let spoilt = lane.spoilt;
        self.busy -= 1;
        self.rebook(to, port);
        if let Some(socket) = self.ports.get_mut(port) {
            socket.users -= 1;
            let local = socket.local.map(|local| local.port());
            if spoilt && let (Some(peer), Some(local)) = (self.peers.get_mut(to), local) {
                peer.spoil(now, local);
                self.stats.spoilt += 1;
            }
        }
        self.idle_port(now, port);
        let unused = self.ports.get(port).is_some_and(|socket| socket.users == 0);
        if std::mem::take(&mut self.tight) || unused {
            // Others may have waited for that.
            self.pump_all(now);
        } else {
            self.pump(now, to);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, timer)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Call(ticket) => self.call_timeout(now, ticket),
                Timer::Lane(to, port) => self.lane_timeout(now, to, port),
                Timer::Own(v6) => {
                    if let Some(own) = own_of(&mut self.own, v6) {
                        own.timer = None;
                        own.endpoint.handle_timeout(now);
                    }
                    self.settle_own(now, v6);
                    self.rested(now, v6);
                }
                Timer::Port(port) => self.port_timeout(port),
                Timer::Reopen(v6) => {
                    if let Some(reopen) = self.reopen.get_mut(usize::from(v6)) {
                        *reopen = None;
                    }
                    self.pump_all(now);
                }
                Timer::Sweep => {
                    self.peers.sweep(now);
                    self.sweep = None;
                    if self.peers.len() > 0 {
                        self.sweep_at(now + self.config.peer_expiry / 4);
                    }
                }
            }
        }
    }

    fn sweep_at(&mut self, at: Instant) {
        self.sweep = Some(at);
        self.timers.insert((at, Timer::Sweep));
    }

    fn call_timeout(&mut self, now: Instant, ticket: Ticket) {
        // An exchange looks at its time by itself, and an endpoint knows whether anything was sent.
        if self.running.contains(&ticket) {
            return;
        }
        let Some(call) = self.calls.get(&ticket) else { return };
        let (v6, own) = (call.peer.is_ipv6(), matches!(call.place, Place::Own(_)));
        if let Some(own) = own_of(&mut self.own, v6).filter(|_| own) {
            own.endpoint.handle_timeout(now);
            self.settle_own(now, v6);
        }
        if self.calls.contains_key(&ticket) {
            self.fail(now, ticket, Cause::Timeout);
        }
    }

    fn lane_timeout(&mut self, now: Instant, to: SocketAddr, port: Port) {
        let every = self.config.query_every;
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return };
        lane.timer = None;
        match &mut lane.work {
            Work::Nothing => {
                lane.tainted = lane.tainted.filter(|&until| until > now);
                lane.resting = lane.resting.filter(|&until| until > now);
                self.rebook(to, port);
                self.pump(now, to);
            }
            Work::Query { ticket, left, again } => {
                let ticket = *ticket;
                if *left == 0 {
                    self.fail(now, ticket, Cause::Timeout);
                    return;
                }
                (*left, *again) = (*left - 1, now + every);
                lane.wants = true;
                self.rebook(to, port);
                self.enqueue(to, port);
            }
            Work::Plain { ticket, left, again, .. } => {
                let every = match self.calls.get(ticket).map(|call| call.repeat) {
                    Some(Repeat::Harmless { every, .. }) => every,
                    _ => every,
                };
                *left = left.saturating_sub(1);
                *again = (*left > 0).then(|| now + every);
                lane.wants = true;
                self.rebook(to, port);
                self.enqueue(to, port);
            }
            Work::Exchange { requester, .. } => {
                requester.handle_timeout(now);
                self.settle(now, to, port);
            }
        }
    }

    fn port_timeout(&mut self, port: Port) {
        let Some(socket) = self.ports.get_mut(port) else { return };
        socket.due = None;
        if socket.users == 0 {
            self.forget_port(port, Cause::Closed);
            self.actions.push_back(Action::Close(port));
        }
    }

    /// When [`Caller::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Whether something is to be done with the sockets.
    #[must_use]
    pub fn wants_action(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Whether something may be to be sent.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// What is to be done with the sockets next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A request that has ended, and how.
    pub fn poll_event(&mut self) -> Option<(Ticket, Outcome)> {
        self.events.pop_front()
    }

    /// Fills the buffer with the next datagrams to be sent, so many at most. Their fate goes to
    /// [`Caller::handle_transmitted`].
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>, most: usize) -> Option<Transmission> {
        loop {
            let (to, port) = match self.outbox.pop_front()? {
                Out::Lane(to, port) => (to, port),
                Out::Own(v6) => match self.transmit_own(now, v6, buffer, most) {
                    None => continue,
                    transmission => return transmission,
                },
            };
            let Some(peer) = self.peers.get_mut(to) else { continue };
            let unknown = peer.kind == Kind::Unknown;
            let Some(lane) = peer.lane_mut(port) else { continue };
            lane.queued = false;
            buffer.clear();
            let wants = std::mem::take(&mut lane.wants);
            let mut segment = 0;
            match &mut lane.work {
                Work::Query { .. } if wants => {
                    let mut packet = Packet::new(security::QUERY);
                    if self.config.extensions && unknown {
                        packet = packet.with(key::CAPABILITIES, WE.in_request());
                    }
                    self.stats.queries += 1;
                    if Encoder::new(self.config.dialect).packet(&packet, buffer).is_err() {
                        buffer.clear();
                    }
                    segment = buffer.len();
                }
                Work::Plain { wire, .. } if wants => {
                    buffer.extend_from_slice(wire);
                    segment = wire.len();
                }
                Work::Exchange { requester, .. } => {
                    segment = fill(requester, &mut lane.over, now, buffer, most.max(1));
                }
                _ => {}
            }
            if !buffer.is_empty() {
                lane.given += 1;
                peer.traffic = now;
            }
            // What was taken out is no longer held.
            self.rebook(to, port);
            if buffer.is_empty() {
                continue;
            }
            // What it still has waits until others have had their turn.
            self.enqueue(to, port);
            return Some(Transmission { port, to, segment, fragments: segment > BASE, own: false });
        }
    }

    /// What became of a transmission of so many bytes: the socket took it, or not.
    pub fn handle_transmitted(
        &mut self,
        now: Instant,
        transmission: &Transmission,
        bytes: usize,
        outcome: Result<(), io::ErrorKind>,
    ) {
        let datagrams = bytes.div_ceil(transmission.segment.max(1)) as u64;
        let Transmission { port, to, own, .. } = *transmission;
        // What the own transport has sent and is lost it finds out by itself.
        let lane = if own { None } else { Some(to) };
        let lane = lane.and_then(|to| self.peers.get_mut(to)?.lane_mut(port));
        match outcome {
            Ok(()) => {
                self.stats.sent += datagrams;
                self.stats.sent_bytes += bytes as u64;
                if let Some(lane) = lane {
                    lane.taken = true;
                }
            }
            Err(kind) => {
                self.stats.refused += datagrams;
                // Where one has got out this one is lost as others on the way.
                let Some(lane) = lane.filter(|lane| !lane.taken) else { return };
                let Some(ticket) = lane.ticket() else { return };
                self.ended(ticket, Err(CallError::not_sent(Cause::Connect(kind))));
                self.free(now, to, port);
            }
        }
    }

    /// What it was made with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let own = || self.own.iter().flatten().map(|own| own.endpoint.stats());
        Stats {
            associations: own().map(|own| own.associations).sum(),
            opened: own().map(|own| own.opened).sum(),
            lost: own().map(|own| own.lost).sum(),
            in_flight: self.calls.len(),
            waiting: self.calls.values().filter(|call| call.place == Place::Waiting).count(),
            held: self.ledger.held(),
            ports: self.ports.len(),
            peers: self.peers.len(),
            ..self.stats
        }
    }
}

impl Caller {
    /// Gives a request a port, if there is one for it.
    fn place(&mut self, now: Instant, ticket: Ticket) -> bool {
        let Some(call) = self.calls.get(&ticket) else { return true };
        let (to, code) = (call.peer, call.code);
        let plain = self.table.plain.contains(&code);
        let Some(peer) = self.peers.get(to) else { return false };
        if !plain && peer.is_own(now) {
            return self.place_own(now, ticket, to);
        }
        let free = |port: Port| {
            let rests = |lane: &Lane| if plain { lane.tainted } else { lane.resting };
            peer.lane(port).is_none_or(|lane| lane.is_free() && rests(lane).is_none_or(|until| until <= now))
        };
        let open = |port: Port| self.ports.get(port).is_some_and(|socket| socket.local.is_some());
        let exit = code == tables::of(self.config.dialect).exit;
        let last = peer.last_port.filter(|&port| exit && open(port));
        if last.and_then(|port| peer.lane(port)).is_some_and(Lane::is_ending) {
            // EXIT leaves from the port whose traffic it ends.
            return false;
        }
        let last = last.filter(|&port| free(port));
        let first = || {
            let mut all = self.ports.of(to.is_ipv6()).map(|socket| socket.port);
            all.find(|&port| open(port) && free(port))
        };
        let Some(port) = last.or_else(first) else { return false };
        if !plain && peer.under_way() >= self.config.exchanges.max(1) {
            return false;
        }
        if self.busy > 0 && self.room() < 2 * RESERVE {
            self.tight = true;
            return false;
        }
        self.busy += 1;
        if let Some(socket) = self.ports.get_mut(port) {
            socket.users += 1;
        }
        self.idle_port(now, port);
        if let Some(call) = self.calls.get_mut(&ticket) {
            call.place = Place::Lane(port);
        }
        if self.asks(now, to, code) {
            let left = self.config.query_attempts.saturating_sub(1);
            let again = now + self.config.query_every;
            self.work(to, port, Work::Query { ticket, left, again });
        } else {
            self.begin(now, ticket, to, port);
        }
        true
    }

    /// Whether a request asks SECURE_QUERY first.
    fn asks(&self, now: Instant, to: SocketAddr, code: Code) -> bool {
        let Some(peer) = self.peers.get(to) else { return false };
        if security::exempt(code)
            || !security::asks(self.config.dialect)
            || matches!(peer.kind, Kind::Ours(_))
        {
            return false;
        }
        match self.config.security {
            Security::Always => true,
            Security::Unasked => false,
            Security::Remembered(_) => peer.clear_until.is_none_or(|until| until <= now),
        }
    }

    fn work(&mut self, to: SocketAddr, port: Port, work: Work) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        peer.lane_of(port).begin(work);
        self.rebook(to, port);
        self.enqueue(to, port);
    }

    /// Begins what a request is about, from the port that it has.
    fn begin(&mut self, now: Instant, ticket: Ticket, to: SocketAddr, port: Port) {
        let bind_ip = self.bind_ip(to, port);
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        let Some(mut packet) = call.packet.take() else { return };
        self.queued -= call.cost;
        self.ledger.give(std::mem::take(&mut call.cost));
        let (code, repeat, left) = (call.code, call.repeat, call.deadline.saturating_duration_since(now));
        let unknown = self.peers.get(to).is_some_and(|peer| peer.kind == Kind::Unknown);
        let announces = self.config.extensions && unknown;
        if announces {
            packet = packet.with(key::CAPABILITIES, WE.in_request());
        }
        if self.table.plain.contains(&code) {
            if code == tables::of(self.config.dialect).exit {
                if let Some(own) = own_of(&mut self.own, to.is_ipv6()) {
                    own.close(now, to);
                }
                self.settle_own(now, to.is_ipv6());
            }
            let wire = control::bound(self.config.dialect, bind_ip, packet).to_bytes(self.config.dialect);
            match wire {
                Ok(wire) => {
                    let (left, again) = match repeat {
                        Repeat::Harmless { times, every } if times > 0 => (times, Some(now + every)),
                        _ => (0, None),
                    };
                    self.work(to, port, Work::Plain { ticket, wire, announces, left, again });
                }
                Err(error) => {
                    self.ended(ticket, Err(CallError::not_sent(Cause::Encode(error))));
                    self.free(now, to, port);
                }
            }
            return;
        }
        let identity = self.next_identity;
        self.next_identity = identity.checked_add(1).unwrap_or(1);
        let dialect = self.config.dialect;
        let repeat = repeat != Repeat::Never;
        let template = self.config.exchange.clone();
        let config = requester::Config { dialect, timeout: left, identity, bind_ip, repeat, ..template };
        let mut requester = Box::new(Requester::new(config, to));
        if let Err(error) = requester.request(now, packet) {
            self.ended(ticket, Err(error));
            self.free(now, to, port);
            return;
        }
        self.stats.exchanges += 1;
        self.running.insert(ticket);
        self.work(to, port, Work::Exchange { ticket: Some(ticket), requester, announces });
    }

    /// The address that datagrams to a peer leave from, where the dialect writes it.
    fn bind_ip(&mut self, to: SocketAddr, port: Port) -> Option<IpAddr> {
        tables::of(self.config.dialect).bind_ip?;
        let ip = self.ports.get(port)?.local?.ip();
        if !ip.is_unspecified() {
            return Some(ip);
        }
        let source = self.config.source;
        let peer = self.peers.get_mut(to)?;
        Some(*peer.source.get_or_insert_with(|| source(to).unwrap_or(ip)))
    }

    /// Whether waiting has an end that is near: a port is being opened.
    fn may_come(&self, peer: SocketAddr) -> bool {
        let waiting = self.peers.get(peer).map_or(0, |peer| peer.waiting.len());
        self.ports.opening(peer.is_ipv6()) >= waiting
    }

    /// Opens as many ports as the requests that wait for this peer could use.
    fn want_ports(&mut self, now: Instant, to: SocketAddr) {
        let v6 = to.is_ipv6();
        let reopen = self.reopen.get(usize::from(v6)).copied().flatten();
        if reopen.is_some_and(|at| at > now) {
            return;
        }
        loop {
            let Some(peer) = self.peers.get(to) else { return };
            let most = self.config.exchanges.max(1).saturating_sub(peer.under_way());
            if self.ports.opening(v6) >= peer.waiting.len().min(most) {
                return;
            }
            if self.ports.of(v6).count() >= self.config.ports.max(1) {
                // One that is of no more use to this peer, and that no other uses, makes place for another.
                let useless = self.ports.of(v6).find(|socket| {
                    let spoilt = peer.lane(socket.port).is_some_and(|lane| lane.spoilt);
                    let own = self.own.iter().flatten().find(|own| own.port == socket.port);
                    let unused = socket.users == 0 && own.is_none_or(|own| own.endpoint.is_idle());
                    spoilt && unused && socket.local.is_some()
                });
                let Some(port) = useless.map(|socket| socket.port) else { return };
                self.forget_port(port, Cause::Closed);
                self.actions.push_back(Action::Close(port));
            }
            let port = self.ports.add(v6);
            self.actions.push_back(Action::Open { port, v6 });
        }
    }

    /// Lets those go that wait for this peer, as far as there are ports.
    fn pump(&mut self, now: Instant, to: SocketAddr) {
        let exit = tables::of(self.config.dialect).exit;
        let mut at = 0;
        while let Some(&ticket) = self.peers.get(to).and_then(|peer| peer.waiting.get(at)) {
            if self.place(now, ticket) {
                // What has ended meanwhile may have let others go.
                if let Some(peer) = self.peers.get_mut(to)
                    && peer.waiting.get(at) == Some(&ticket)
                {
                    peer.waiting.remove(at);
                }
            } else if self.calls.get(&ticket).is_some_and(|call| call.code == exit) {
                // It waits for one port, and holds nobody up.
                at += 1;
            } else {
                break;
            }
        }
        if self.peers.get(to).is_none_or(|peer| peer.waiting.is_empty()) {
            self.waiting.remove(&to);
        } else {
            self.want_ports(now, to);
        }
    }

    fn pump_all(&mut self, now: Instant) {
        for peer in self.waiting.iter().copied().collect::<Vec<_>>() {
            self.pump(now, peer);
        }
    }

    fn fail_waiting(&mut self, v6: bool, cause: Cause) {
        let waiting = |call: &Call| call.place == Place::Waiting && call.peer.is_ipv6() == v6;
        let all = self.calls.iter().filter(|(_, call)| waiting(call));
        for ticket in all.map(|(&ticket, _)| ticket).collect::<Vec<_>>() {
            self.ended(ticket, Err(CallError::not_sent(cause)));
        }
    }

    /// Forgets a port, and ends what is under way there.
    fn forget_port(&mut self, port: Port, cause: Cause) {
        for v6 in [false, true] {
            if own_of(&mut self.own, v6).is_some_and(|own| own.port == port) {
                self.lose_own(v6, cause);
            }
        }
        if let Some(due) = self.ports.remove(port).and_then(|socket| socket.due) {
            self.timers.remove(&(due, Timer::Port(port)));
        }
        let mut lost = Vec::new();
        for (to, peer) in self.peers.iter_mut() {
            peer.last_port = peer.last_port.filter(|&last| last != port);
            let Some(at) = peer.lanes.iter().position(|lane| lane.port == port) else { continue };
            let lane = peer.lanes.remove(at);
            if let Some(due) = lane.timer {
                self.timers.remove(&(due, Timer::Lane(to, port)));
            }
            self.ledger.give(lane.booked);
            self.busy -= usize::from(lane.is_busy());
            let given = lane.given > 0 && !matches!(lane.work, Work::Query { .. });
            lost.extend(lane.ticket().map(|ticket| (ticket, given)));
        }
        for (ticket, given) in lost {
            let error = if given { CallError::possibly_executed(cause) } else { CallError::not_sent(cause) };
            self.ended(ticket, Err(error));
        }
    }

    /// Sets the timer that closes a port nobody uses, unless it is the first of its family.
    fn idle_port(&mut self, now: Instant, port: Port) {
        let first = self.ports.is_first(port);
        let Some(socket) = self.ports.get_mut(port) else { return };
        let due = (socket.users == 0 && socket.local.is_some() && !first).then(|| now + Config::LINGER);
        if let Some(old) = std::mem::replace(&mut socket.due, due) {
            self.timers.remove(&(old, Timer::Port(port)));
        }
        if let Some(due) = due {
            self.timers.insert((due, Timer::Port(port)));
        }
    }

    /// Notes the most that was held.
    fn note(&mut self) {
        self.stats.held_most = self.stats.held_most.max(self.ledger.held());
    }
}

impl Caller {
    /// Begins an exchange over the own transport.
    fn place_own(&mut self, now: Instant, ticket: Ticket, to: SocketAddr) -> bool {
        let v6 = to.is_ipv6();
        if !self.open_own(v6) {
            return false;
        }
        let (Some(own), Some(call)) = (own_of(&mut self.own, v6), self.calls.get_mut(&ticket)) else {
            return false;
        };
        let Some(packet) = &call.packet else { return true };
        let left = call.deadline.saturating_duration_since(now).as_millis();
        let packet = packet.clone().with(key::DEADLINE, i32::try_from(left).unwrap_or(i32::MAX));
        // The endpoint books it from here.
        self.queued -= call.cost;
        self.ledger.give(std::mem::take(&mut call.cost));
        match own.request(now, to, self.config.dialect, &packet, ticket) {
            Ok(begun) => {
                call.place = Place::Own(begun);
                self.stats.own += 1;
                if let Some(peer) = self.peers.get_mut(to) {
                    peer.own += 1;
                    peer.traffic = now;
                }
            }
            Err(error) => self.ended(ticket, Err(error)),
        }
        self.settle_own(now, v6);
        true
    }

    /// Makes the endpoint of a family on its first port, once that is open.
    fn open_own(&mut self, v6: bool) -> bool {
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
    fn settle_own(&mut self, now: Instant, v6: bool) {
        while let Some(event) = own_of(&mut self.own, v6).and_then(|own| own.endpoint.poll_event()) {
            self.own_event(now, v6, event);
        }
        let Some(own) = own_of(&mut self.own, v6) else { return };
        // What waits to be sent is due, and stays so until it is.
        let due = own.endpoint.poll_timeout().filter(|&at| at > now);
        if !std::mem::replace(&mut own.queued, true) {
            self.outbox.push_back(Out::Own(v6));
        }
        self.set_own_timer(v6, due);
        self.note();
    }

    /// Those who wait for the port of an endpoint may have it closed, once nothing is under way there.
    fn rested(&mut self, now: Instant, v6: bool) {
        let idle = own_of(&mut self.own, v6).is_some_and(|own| own.endpoint.is_idle());
        if idle && !self.waiting.is_empty() {
            self.pump_all(now);
        }
    }

    fn own_event(&mut self, now: Instant, v6: bool, event: Event) {
        let Some(own) = own_of(&mut self.own, v6) else { return };
        match event {
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
            // A client is asked nothing, and writes and reads nothing in pieces.
            _ => {}
        }
    }

    fn own_answered(&mut self, now: Instant, ticket: Ticket, begun: OwnTicket, outcome: Outcome) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
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
        let harmless = call.repeat != Repeat::Never;
        let may = matches!(&outcome, Err(error) if error.fate == Fate::NotSent || harmless);
        if ended && may && call.again < AGAIN && call.deadline > now && !self.closed {
            call.again += 1;
            call.place = Place::Waiting;
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
    fn end_own(&mut self, to: SocketAddr) {
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
    fn lose_own(&mut self, v6: bool, cause: Cause) {
        self.set_own_timer(v6, None);
        if let Some(own) = self.own.get_mut(usize::from(v6)) {
            *own = None;
        }
        let lost = |call: &Call| matches!(call.place, Place::Own(_)) && call.peer.is_ipv6() == v6;
        let lost = self.calls.iter().filter(|(_, call)| lost(call));
        for (ticket, to) in lost.map(|(&ticket, call)| (ticket, call.peer)).collect::<Vec<_>>() {
            if let Some(peer) = self.peers.get_mut(to) {
                peer.own = peer.own.saturating_sub(1);
            }
            self.ended(ticket, Err(CallError::possibly_executed(cause)));
        }
    }

    fn set_own_timer(&mut self, v6: bool, due: Option<Instant>) {
        let Some(own) = own_of(&mut self.own, v6) else { return };
        if own.timer == due {
            return;
        }
        if let Some(old) = std::mem::replace(&mut own.timer, due) {
            self.timers.remove(&(old, Timer::Own(v6)));
        }
        if let Some(due) = due {
            self.timers.insert((due, Timer::Own(v6)));
        }
    }

    fn transmit_own(
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
        let (port, due) = (own.port, own.endpoint.poll_timeout());
        if sent.is_some() {
            own.queued = true;
            self.outbox.push_back(Out::Own(v6));
        }
        self.set_own_timer(v6, due);
        let sent = sent?;
        Some(Transmission { port, to: sent.to, segment: sent.segment, fragments: false, own: true })
    }
}

/// What a time-out is that the clock cannot say: a year.
const LONGEST: Duration = Duration::from_secs(365 * 86400);
/// How often a request may be begun anew.
const AGAIN: u32 = 2;

fn own_of(own: &mut [Option<Own>; 2], v6: bool) -> Option<&mut Own> {
    own.get_mut(usize::from(v6))?.as_mut()
}

/// Takes datagrams of one length and perhaps a shorter one at the end; what is longer stays over.
fn fill(
    requester: &mut Requester,
    over: &mut Option<Bytes>,
    now: Instant,
    buffer: &mut Vec<u8>,
    most: usize,
) -> usize {
    let mut segment = 0;
    for count in 0..most {
        let Some(bytes) = over.take().or_else(|| requester.poll_transmit(now).map(|sent| sent.bytes)) else {
            break;
        };
        if count > 0 && (bytes.len() > segment || buffer.len() + bytes.len() > BATCH) {
            *over = Some(bytes);
            break;
        }
        segment = segment.max(bytes.len());
        buffer.extend_from_slice(&bytes);
        if bytes.len() < segment {
            break;
        }
    }
    segment
}

const fn number(code: Code) -> u16 {
    match code {
        Code::Answer(code) => code,
        Code::Request { major, minor } => u16::from_be_bytes([major, minor]),
    }
}
