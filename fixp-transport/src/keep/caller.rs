//! The client's bookkeeping: which port may carry an exchange with a peer, and what is said before it (SPEC 9.14).
//!
//! No socket, no clock: whoever runs it opens and closes the ports that [`Caller::poll_action`] asks for, sends
//! what [`Caller::poll_transmit`] gives, hands in what comes, and calls [`Caller::handle_timeout`] at
//! [`Caller::poll_timeout`].
//!
//! ```
//! use std::time::Instant;
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
//! One exchange is under way per port and peer (Q1), a [`Requester`](super::Requester) for each; where no port is free one more is
//! opened, up to [`Config::ports`]; past that, one in the place of a port that is of no more use to the peer. That is closed
//! as soon as its successor is open and nobody else uses it, so that the system cannot give its number to that. Further
//! requests wait in their order. After an exchange with a lexst1 peer the port rests for [`Config::settle`].
//!
//! Of no more use is a port that [is spoilt](super::Requester::is_spoilt); one whose exchange has ended, as soon as
//! CANCEL is sent, or after an answer [`Config::END`] later, for it may take long until that is answered; and, to
//! requests of one datagram, one where another's answer may come late, for a minute. The numbers of such ports are
//! remembered, and should the system give one again in its time, that port is not used for that peer.
//!
//! What may be lost of a request is sent again, as the programs' own clients do, unless its caller says
//! [`Repeat::Never`] ([`requester::Config::repeat`](super::requester::Config::repeat)); how often and when is the
//! dialect's business.
//!
//! At which [pace](super::pace) a peer takes pieces is remembered of its address, and is that of its next exchange,
//! from whatever port (SPEC 9.13). Peers whose requests wait have their turn one after the other, and where there is no
//! room for one no other is looked at: [`Stats::looked`] counts the looks, a few for each request however many wait.
//!
//! A laxcus6 peer is asked SECURE_QUERY from the same port before each exchange, as recorded (Q11). The requests
//! that are one datagram in KEEP UDP, too, EXIT and TEST among them, leave as such (Q15); EXIT from the port that
//! the peer last answered at.
//!
//! # What a forger can do
//!
//! The programs prove nothing: whoever sends from the peer's address to the right local port while an exchange is under
//! way is heard, and all that a RETRY names can be foretold. One that names another identity is what a lexst1 peer
//! says that has one group for two requests, which nothing clears, so the port counts as spoilt. Nothing tells the
//! two apart, and not to believe it would lose requests; the harm is bounded. The exchange goes on and ends in its
//! answer; the next one leaves from another port, whose number the system chooses and the forger has to find anew, and
//! the old one is closed when nobody else uses it. So one exchange loses one port at most, no request is refused for
//! it, and of a peer 64 numbers of ports are remembered, for 20 minutes. A RETRY of the right identity has pieces sent
//! again, as often as [`requester::Config`](super::requester::Config) allows, and halves the pace, to
//! [`Pace::LEAST`](super::pace::Pace::LEAST) at worst. Peers of ours have the own transport, whose numbers nobody can
//! guess.
//!
//! # To our own
//!
//! SECURE_QUERY and the pieces of a request to a peer of whom nothing is known announce
//! [`CAPABILITIES`](crate::extension::key::CAPABILITIES). One that has announced itself is not asked SECURE_QUERY, and
//! if it has the [own transport](super::own) its requests go over that: from the first port, any number at once, in
//! one association, which is opened when it is needed and opened anew where it was lost. A request of which
//! nothing was sent goes over the next one; another fails, unless repeating it is harmless. Where nobody answers
//! OPEN the peer is a legacy one for [`Config::OWN_AGAIN`].

mod calls;
mod config;
mod exchanges;
mod lane;
mod own;
mod peers;
mod placing;
mod ports;
mod stats;
mod streams;
mod timers;

pub use crate::Repeat;
pub use crate::udp::Security;
pub use config::{Config, Options};
pub use ports::{Action, Port};
pub use stats::Stats;
pub use streams::Flow;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::ops::Bound;
use std::time::Instant;

use fixp_codec::{Code, Encoder, Packet, Value};

use super::Ledger;
use super::own::Ticket as OwnTicket;
use super::table::{self, Table};
use crate::extension::{Capabilities, Refusal, key};
use crate::timer::after;
use crate::udp::{MAX_DATAGRAM, canonical, security};
use crate::{CallError, Cause, extension};
use calls::Calls;
use lane::{Lane, Work};
use own::{Own, own_of};
use peers::{Kind, Peers};
use ports::Ports;
use streams::Streams;
use timers::Timers;

/// The number of a request, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket {
    serial: u64,
    /// Where it stands among those that have not ended.
    place: usize,
}

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
/// What RETRY and other small things of one exchange may take: [`Config::RETRIES`] of them at most. It is booked
/// before, since they do not wait for room.
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
    /// Whether requests of a code are one datagram, of the last one: the next is mostly another of it.
    plain: (Code, bool),
    calls: Calls,
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
    /// Whose turn it is among those, where there was no room for all.
    turn: Bound<SocketAddr>,
    /// Those of them for whom a port has to be closed first.
    stuck: BTreeSet<SocketAddr>,
    /// Requests whose exchange is under way.
    running: BTreeSet<Ticket>,
    /// Bytes of requests that wait, those of everything, and how many exchanges with legacy peers there are.
    queued: usize,
    ledger: Ledger,
    busy: usize,
    /// An exchange has not begun for want of room.
    tight: bool,
    timers: Timers,
    sweep: Option<Instant>,
    /// Until when no port is tried, of IPv4 and of IPv6.
    reopen: [Option<Instant>; 2],
    outbox: VecDeque<Out>,
    actions: VecDeque<Action>,
    events: VecDeque<(Ticket, Outcome)>,
    flows: VecDeque<(Ticket, Flow)>,
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
    /// It was lost when it may have been executed: whatever becomes of a further attempt, it may have been.
    sent_before: bool,
    /// Where its entities go and come in pieces.
    streams: Option<Streams>,
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
            plain: (security::QUERY, table::of(config.dialect).plain.contains(&security::QUERY)),
            calls: Calls::default(),
            next_identity: config.identity.unwrap_or(identity),
            ports: Ports::default(),
            buffer: None,
            own: [None, None],
            seed: random,
            peers: Peers::new(config.peers, config.peer_expiry),
            waiting: BTreeSet::new(),
            turn: Bound::Unbounded,
            stuck: BTreeSet::new(),
            running: BTreeSet::new(),
            queued: 0,
            ledger: Ledger::new(config.bytes),
            busy: 0,
            tight: false,
            timers: Timers::default(),
            sweep: None,
            reopen: [None; 2],
            outbox: VecDeque::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            flows: VecDeque::new(),
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
        packet: Packet,
        options: Options,
    ) -> Result<Ticket, CallError> {
        self.begin_call(now, peer, packet, options, None)
    }

    fn begin_call(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        mut packet: Packet,
        options: Options,
        streams: Option<Streams>,
    ) -> Result<Ticket, CallError> {
        if self.closed {
            return Err(CallError::not_sent(Cause::Closed));
        }
        let peer = canonical(peer);
        let length = self.config.dialect.content_length_key();
        packet.messages.retain(|message| message.key != length && !key::TRANSPORT.contains(&message.key));
        let cost = self.measure(&packet).map_err(CallError::not_sent)?;
        let full = self.calls.len() >= self.config.requests || self.queued + cost > self.for_requests();
        if full {
            return Err(CallError::not_sent(Cause::Full));
        }
        let Some(known) = self.peers.entry(now, peer) else { return Err(CallError::not_sent(Cause::Full)) };
        // What goes over the own transport at once is booked there.
        let own = known.is_own(now) && self.own.get(usize::from(peer.is_ipv6())).is_some_and(Option::is_some);
        let behind = self.waiting.contains(&peer);
        let booked = if own && !behind && !self.is_plain(packet.code) { 0 } else { cost };
        let room = if booked > 0 { self.ledger.take(booked) } else { cost <= self.room() };
        if !room {
            return Err(CallError::not_sent(Cause::Full));
        }
        if self.sweep.is_none() {
            self.sweep_at(after(now, self.config.peer_expiry / 4));
        }
        let timeout = options.timeout.unwrap_or(self.config.timeout);
        let deadline = after(now, timeout);
        let (code, repeat) = (packet.code, options.repeat);
        let (place, again, sent_before) = (Place::Waiting, 0, false);
        let packet = Some(packet);
        let call = Call {
            peer,
            code,
            packet,
            cost: booked,
            size: cost,
            deadline,
            repeat,
            place,
            again,
            sent_before,
            streams,
        };
        let ticket = self.calls.insert(call);
        self.queued += booked;
        if behind || !self.place(now, ticket) {
            self.wait(now, peer, ticket);
            if !options.wait && !self.may_come(peer) {
                self.remove(ticket);
                return Err(CallError::not_sent(Cause::Full));
            }
        }
        // An endpoint looks at the times of its exchanges when it sends; here they end though its socket takes nothing.
        if self.calls.contains(ticket) {
            self.timers.insert((deadline, Timer::Call(ticket)));
        }
        self.stats.requests += 1;
        self.note();
        Ok(ticket)
    }

    /// Whether a request of this code is one datagram in KEEP UDP, too.
    fn is_plain(&mut self, code: Code) -> bool {
        if self.plain.0 != code {
            self.plain = (code, self.table.plain.contains(&code));
        }
        self.plain.1
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
        let dialect = extension::table_of(self.config.dialect, packet.code);
        let cost = Encoder::new(dialect).packet_len(packet).map_err(Cause::Encode)?;
        if size > limit {
            return Err(Cause::TooLarge { size, limit });
        }
        // The messages stand in each piece.
        let piece = if size <= piece || self.table.plain.contains(&packet.code) { size } else { piece };
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
        if self.calls.contains(ticket) {
            self.stats.cancelled += 1;
            self.drop_call(now, ticket);
        }
    }

    /// Ends everything by [`Cause::Closed`], and takes nothing any more. There may be something to send still, so
    /// that peers know; then [`Caller::clear`] forgets the rest.
    pub fn close(&mut self, now: Instant) {
        self.closed = true;
        for ticket in self.in_order(|_| true) {
            self.fail(now, ticket, Cause::Closed);
        }
        for v6 in [false, true] {
            if let Some(own) = own_of(&mut self.own, v6) {
                own.endpoint.close_all(now);
            }
            self.settle_own(now, v6);
        }
    }

    /// Whether no peer of ours is still to be told of the end.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.own.iter().flatten().all(|own| !own.queued && own.endpoint.stats().associations == 0)
    }

    /// Forgets everything, and closes the ports.
    pub fn clear(&mut self) {
        self.closed = true;
        self.actions.retain(|action| matches!(action, Action::Close(_)));
        for port in self.ports.all() {
            self.forget_port(port, Cause::Closed);
            self.actions.push_back(Action::Close(port));
        }
        for ticket in self.in_order(|_| true) {
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
                self.opened(now, port, local.port());
            }
            Err(kind) => {
                let v6 = socket.v6;
                self.ports.remove(port);
                self.reopen_later(now, v6);
                if self.ports.of(v6).next().is_none() {
                    self.fail_waiting(v6, Cause::Connect(kind));
                }
            }
        }
        self.pump_all(now);
    }

    /// A port is broken: nothing can be received there any more. Whoever runs it closes it.
    pub fn handle_port_lost(&mut self, now: Instant, port: Port, kind: io::ErrorKind) {
        self.remember(now, port);
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
        self.config.bytes.saturating_sub(self.ledger.held())
    }

    /// The same without what requests may still take: a reserve is not at their cost.
    fn spare(&self) -> usize {
        self.room().saturating_sub(self.for_requests().saturating_sub(self.queued))
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
        let Some(call) = self.calls.get(ticket) else { return false };
        let lane = call.place.port().and_then(|port| self.peers.get(call.peer)?.lane(port));
        lane.is_some_and(|lane| lane.held() > call.size)
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
        let Some(call) = self.calls.get(ticket) else { return };
        let ours = || {
            let peer = self.peers.get(call.peer).filter(|_| self.config.extensions);
            peer.is_some_and(|peer| matches!(peer.kind, Kind::Ours(_)))
        };
        let outcome = outcome.and_then(|mut packet| {
            let refusal = packet.first(key::REFUSAL).and_then(Value::as_i16).filter(|_| ours());
            packet.messages.retain(|message| !key::TRANSPORT.contains(&message.key));
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
        let sent_before = self.calls.get(ticket).is_some_and(|call| call.sent_before);
        let outcome = match outcome {
            Err(CallError { cause, .. }) if sent_before => Err(CallError::possibly_executed(cause)),
            outcome => outcome,
        };
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
        let Some(&Call { peer: to, cost, deadline, place, .. }) = self.calls.get(ticket) else { return };
        self.calls.remove(ticket);
        self.running.remove(&ticket);
        self.timers.remove(&(deadline, Timer::Call(ticket)));
        if cost > 0 {
            self.queued -= cost;
            self.ledger.give(cost);
        }
        if place == Place::Waiting
            && let Some(peer) = self.peers.get_mut(to)
        {
            peer.waiting.retain(|&waiting| waiting != ticket);
            if peer.waiting.is_empty() {
                self.waiting.remove(&to);
            }
        }
    }

    /// The requests of which this is true, as they were begun.
    fn in_order(&self, of: impl Fn(&Call) -> bool) -> Vec<Ticket> {
        let all = self.calls.iter().filter(|(_, call)| of(call));
        let mut tickets: Vec<Ticket> = all.map(|(ticket, _)| ticket).collect();
        tickets.sort_unstable();
        tickets
    }

    /// How a request ends that nobody can answer any more: whether anything of it was sent, if that is still known.
    pub(crate) fn error(&self, ticket: Ticket, cause: Cause) -> CallError {
        let Some(call) = self.calls.get(ticket) else { return CallError::possibly_executed(cause) };
        if let Place::Own(begun) = call.place {
            return match self.own.get(usize::from(call.peer.is_ipv6())) {
                Some(Some(own)) => own.endpoint.error(begun, cause),
                _ => CallError::possibly_executed(cause),
            };
        }
        let lane = call.place.port().and_then(|port| self.peers.get(call.peer)?.lane(port));
        let given = lane.is_some_and(|lane| lane.given > 0 && !matches!(lane.work, Work::Query { .. }));
        if given { CallError::possibly_executed(cause) } else { CallError::not_sent(cause) }
    }

    /// Ends a request by an error.
    fn fail(&mut self, now: Instant, ticket: Ticket, cause: Cause) {
        let error = self.error(ticket, cause);
        let call = self.calls.get(ticket).map(|call| (call.peer, call.place));
        self.ended(ticket, Err(error));
        if let Some((peer, place)) = call {
            self.vacate(now, peer, place);
        }
    }

    /// Takes a request away without a word.
    fn drop_call(&mut self, now: Instant, ticket: Ticket) {
        let call = self.calls.get(ticket).map(|call| (call.peer, call.place));
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

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|at| at <= now)
            && let Some((at, timer)) = self.next_timer()
        {
            self.timers.remove(&(at, timer));
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
                Timer::Port(port) => self.port_timeout(now, port),
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
                        self.sweep_at(after(now, self.config.peer_expiry / 4));
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
        if self.running.contains(&ticket) || self.starved(now, ticket) {
            return;
        }
        let Some(call) = self.calls.get(ticket) else { return };
        let (v6, own) = (call.peer.is_ipv6(), matches!(call.place, Place::Own(_)));
        if let Some(own) = own_of(&mut self.own, v6).filter(|_| own) {
            own.endpoint.handle_timeout(now);
            self.settle_own(now, v6);
        }
        if self.calls.contains(ticket) {
            self.fail(now, ticket, Cause::Timeout);
        }
    }

    /// When [`Caller::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let mut next = self.timers.next();
        for own in self.own.iter().flatten() {
            if let Some(at) = own.timer
                && next.is_none_or(|next| at < next)
            {
                next = Some(at);
            }
        }
        next
    }

    /// Those of the endpoints change with each datagram, and stand beside the others.
    fn next_timer(&self) -> Option<(Instant, Timer)> {
        let [v4, v6] = &self.own;
        let of = |own: &Option<Own>, v6| Some((own.as_ref()?.timer?, Timer::Own(v6)));
        [self.timers.first().copied(), of(v4, false), of(v6, true)].into_iter().flatten().min()
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
                    segment = requester.poll_transmit_into(now, buffer, most.max(1), BATCH);
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
                    if lane.may_be_left(now) {
                        self.told(now, to, port);
                    }
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
            waiting: self.calls.iter().filter(|(_, call)| call.place == Place::Waiting).count(),
            held: self.ledger.held(),
            ports: self.ports.len(),
            peers: self.peers.len(),
            ..self.stats
        }
    }
}

impl Caller {
    /// Notes the most that was held.
    fn note(&mut self) {
        self.stats.held_most = self.stats.held_most.max(self.ledger.held());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fixp_codec::laxcus6::notify;
    use fixp_codec::lexst1::app;
    use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1};

    use super::*;
    use crate::keep::control;
    use crate::keep::pieces::{Form, Pieces};
    use crate::tables;

    /// The bytes that the ports of all peers hold.
    fn held(caller: &mut Caller) -> usize {
        caller.peers.iter_mut().flat_map(|(_, peer)| peer.lanes.iter().map(Lane::held)).sum()
    }

    /// What is held stands in the ledger, though others, as the own transport, have taken all that is left of it.
    fn books_what_it_holds(dialect: &'static Dialect) {
        let mut now = Instant::now();
        let config = Config { extensions: false, security: Security::Unasked, ..Config::new(dialect) };
        let mut caller = Caller::new(config, 0);
        let peer = SocketAddr::from(([192, 0, 2, 1], 6600));
        let packet = || Packet::new(tables::of(dialect).okay).with_entity(vec![7; 1_440_000]);
        let code = if dialect.name() == "lexst1" { app::ADD_LOG } else { notify::FLUSH_LOG };
        let log = Packet { code, ..packet() };
        let ticket = caller.request(now, peer, log, Options::default()).unwrap();
        let Some(Action::Open { port, .. }) = caller.poll_action() else { panic!("no port") };
        caller.handle_bound(now, port, Ok(SocketAddr::from(([192, 0, 2, 9], 4000))), None);
        let mut buffer = Vec::new();
        let mut identity = None;
        while let Some(sent) = caller.poll_transmit(now, &mut buffer, 8) {
            identity = identity.or_else(|| {
                let first = buffer.get(..sent.segment).unwrap();
                control::identity(&Decoder::new(dialect).packet(first).unwrap())
            });
            caller.handle_transmitted(now, &sent, buffer.len(), Ok(()));
        }
        let pieces = Pieces::cut(dialect, packet(), Form::of_answer(dialect, identity.unwrap())).unwrap();
        caller.handle_datagram(now, port, peer, &pieces.datagram(pieces.count() - 1).unwrap());
        let others = caller.room();
        assert!(caller.ledger.take(others), "the rest is somebody else's");
        let mut most = 0;
        for _ in 0..20 {
            now += Duration::from_secs(1);
            // What asks for the missing pieces is held before it is sent.
            caller.handle_timeout(now);
            let (held, booked) = (held(&mut caller), caller.ledger.held() - others);
            assert!(held <= booked, "{held} held, {booked} booked");
            most = most.max(held);
            while let Some(sent) = caller.poll_transmit(now, &mut buffer, 8) {
                caller.handle_transmitted(now, &sent, buffer.len(), Ok(()));
            }
        }
        caller.cancel(now, ticket);
        caller.clear();
        assert_eq!(caller.ledger.held(), others);
    }

    #[test]
    fn what_is_held_is_booked() {
        books_what_it_holds(&LAXCUS6);
        books_what_it_holds(&LEXST1);
    }
}
