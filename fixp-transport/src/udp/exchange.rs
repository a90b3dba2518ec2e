//! The bookkeeping of requests: which port may carry one to a peer, and whose answer a datagram is.
//!
//! No socket, no clock: the caller opens and closes the ports that [`Exchange::poll_action`] asks for, sends
//! what [`Exchange::poll_transmit`] gives, hands in what comes, and calls [`Exchange::handle_timeout`] at
//! [`Exchange::poll_timeout`].
//!
//! ```
//! use std::time::Instant;
//! use fixp_codec::{LAXCUS6, Packet, laxcus6::{answer, notify}};
//! use fixp_transport::udp::exchange::{Action, Config, Exchange, Options};
//!
//! let now = Instant::now();
//! let mut exchange = Exchange::new(Config { extensions: false, ..Config::new(&LAXCUS6) }, 0);
//! let peer = "192.0.2.1:6600".parse().unwrap();
//! let ticket = exchange.request(now, peer, Packet::new(notify::TEST), Options::default())?;
//!
//! // It wants a port first, and then has something to send.
//! let Some(Action::Open { port, .. }) = exchange.poll_action() else { unreachable!() };
//! exchange.handle_bound(now, port, Ok("192.0.2.9:40000".parse().unwrap()));
//! let transmit = exchange.poll_transmit(now).unwrap();
//! assert_eq!((transmit.port, transmit.to), (port, peer));
//! exchange.handle_transmitted(now, &transmit, Ok(()));
//!
//! let answer = Packet::new(answer::ACCEPTED).to_bytes(&LAXCUS6).unwrap();
//! exchange.handle_datagram(now, port, peer, &answer);
//! let (ended, outcome) = exchange.poll_event().unwrap();
//! assert_eq!(ended, ticket);
//! assert_eq!(outcome.unwrap().unwrap().code, answer::ACCEPTED);
//! # Ok::<(), fixp_transport::CallError>(())
//! ```
//!
//! # To a legacy peer
//!
//! One request is outstanding per port and peer (SPEC 11.12). When it ends without an answer, or was sent more than once,
//! an answer may still come: that port is not used for that peer during [`Config::quarantine`]. After an answer
//! the port rests for [`Config::settle`], since the network may have doubled it. Where no port is left one more
//! is opened, up to [`Config::ports`]; past that, one in the place of a port in quarantine, which is closed as soon as
//! its successor is open and nobody uses it, with whatever still comes there. Further requests wait in their order, or
//! are refused ([`Options::wait`]). Ports other than the first are closed when they have not been used for
//! [`Config::LINGER`].
//!
//! So no answer goes to another request as long as none comes later than those two times allow: a successor has another
//! number than the port that it follows, and one that the system gives again before its quarantine is over is not used.
//! When requests wait for ports, the first to wait is the first to go, with the time that it has left.
//!
//! # To our own
//!
//! A request to a peer of whom nothing is known announces [`CAPABILITIES`](crate::extension::key::CAPABILITIES).
//! Once an answer has announced back, requests leave from the first port, as many as there are, with SERIAL,
//! DEADLINE and the announcement, so that the server need not remember us; an answer belongs to the request
//! with its serial, if it comes from its peer, and to nothing else. A peer is asked anew after
//! [`Config::peer_expiry`] without traffic, and after a time-out in which nothing else was heard of it.

mod config;
mod ending;
mod placing;
mod sending;

pub use config::{Config, Options, Repeat, Security};

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Code, Decoder, Encoder, Error, Packet, PacketRef, Value};
use foldhash::{HashMap, HashMapExt};

use super::peers::{Kind, Peers};
use super::stats::Stats;
use super::{MAX_DATAGRAM, bind_ip, security};
use crate::extension::{self, Capabilities, Refusal, key};
use crate::timer::after;
use crate::{CallError, Cause, tables};

/// The number of a request or notice, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket(u64);

/// A local port, never the number of two sockets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Port(u64);

/// What is to be done with the sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Open a port, and tell [`Exchange::handle_bound`] how that went.
    Open {
        /// Its number.
        port: Port,
        /// Whether it is for IPv6 peers.
        v6: bool,
    },
    /// Close a port.
    Close(Port),
}

/// A datagram to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Whose it is; nothing for one that belongs to no request any more.
    pub ticket: Option<Ticket>,
    /// The port that it leaves from.
    pub port: Port,
    /// Whom it goes to.
    pub to: SocketAddr,
    /// Its bytes.
    pub bytes: Bytes,
    /// The number of the copy of its request; SECURE_QUERY has none.
    copy: u32,
}

/// How a request or notice ended: with an answer; nothing for a notice that has been sent.
pub type Outcome = Result<Option<Packet>, CallError>;

/// See the [module](self).
#[derive(Debug)]
pub struct Exchange {
    config: Config,
    calls: HashMap<Ticket, Call>,
    bytes: usize,
    next_ticket: u64,
    serials: HashMap<i64, Ticket>,
    next_serial: i64,
    ports: Vec<Socket>,
    next_port: u64,
    /// The addresses of ports that were closed in quarantine, and until when a late answer may come there.
    spent: HashMap<SocketAddr, Instant>,
    peers: Peers,
    /// Those with requests that have no port.
    waiting: BTreeSet<SocketAddr>,
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
    /// Without CONTENT_LENGTH and anything of ours.
    packet: Packet,
    /// Its bytes on the wire with nothing of ours.
    size: usize,
    notice: bool,
    deadline: Instant,
    times: u32,
    every: Duration,
    stage: Stage,
    /// The timer that stands for it.
    timer: Instant,
    /// How many copies of the packet itself have been given out to be sent.
    copies: u32,
    /// When the first of them was.
    sent: Option<Instant>,
    /// Whether a datagram of it waits in the outbox.
    queued: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Waiting,
    Query { port: Port, left: u32, again: Instant },
    Legacy { port: Port, announces: bool, again: Option<Instant> },
    Own { port: Port, serial: i64, again: Option<Instant> },
}

#[derive(Debug)]
struct Socket {
    port: Port,
    v6: bool,
    /// Its own address, when it is open.
    local: Option<SocketAddr>,
    /// Requests outstanding.
    users: usize,
    /// Until when it is tainted for some peer, or rests.
    until: Option<Instant>,
    timer: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Call(Ticket),
    Peer(SocketAddr),
    Port(Port),
    Sweep,
}

#[derive(Debug)]
enum Out {
    /// What the call's stage says.
    Call(Ticket),
    /// The caller of this serial has gone.
    Cancel { port: Port, to: SocketAddr, serial: i64 },
}

/// Notes of callers that have gone which may wait to be sent; further ones are left out.
const CANCELS: usize = 1024;

/// What is ours in an answer.
struct Ours {
    announced: Option<Capabilities>,
    /// A serial, or a message with its key that is none.
    serial: Option<Option<i64>>,
    refusal: Option<i16>,
}

impl Ours {
    fn of(packet: &PacketRef<'_>) -> Self {
        Self {
            announced: Capabilities::of_answer_head(packet),
            serial: packet.first(key::SERIAL).map(|value| value.as_i64()),
            refusal: packet.first(key::REFUSAL).and_then(|value| value.as_i16()),
        }
    }
}

/// The rest of it.
fn owned(packet: &PacketRef<'_>) -> Result<Packet, Error> {
    Ok(Packet { entity: Bytes::copy_from_slice(packet.entity()), ..extension::stripped(packet)? })
}

impl Exchange {
    /// An exchange without ports and peers. Its serials begin at `random`, which nobody should be able to
    /// guess.
    #[must_use]
    pub fn new(config: Config, random: u64) -> Self {
        let peers = Peers::new(config.peers, config.peer_expiry);
        Self {
            config,
            calls: HashMap::new(),
            bytes: 0,
            next_ticket: 0,
            serials: HashMap::new(),
            next_serial: random.cast_signed(),
            ports: Vec::new(),
            next_port: 0,
            spent: HashMap::new(),
            peers,
            waiting: BTreeSet::new(),
            timers: BTreeSet::new(),
            sweep: None,
            reopen: [None; 2],
            outbox: VecDeque::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            stats: Stats::default(),
            closed: false,
        }
    }

    /// Begins a request. It ends by one event, unless it is cancelled.
    ///
    /// # Errors
    ///
    /// All of them are certain not to have been sent: [`Cause::TooLarge`] over 65507 bytes (in a dialect with
    /// BIND_IP, with the longest text that one can have), [`Cause::Encode`], [`Cause::Full`], [`Cause::Closed`].
    pub fn request(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        packet: Packet,
        options: Options,
    ) -> Result<Ticket, CallError> {
        self.begin(now, peer, packet, options, false)
    }

    /// Begins a notice: something that has no answer. It ends by an event when it has been sent.
    ///
    /// Should the peer answer all the same, that is dropped, if no request to it has taken the port meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`Exchange::request`].
    pub fn notice(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        packet: Packet,
        options: Options,
    ) -> Result<Ticket, CallError> {
        self.begin(now, peer, packet, Options { repeat: Repeat::Never, ..options }, true)
    }

    fn begin(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        mut packet: Packet,
        options: Options,
        notice: bool,
    ) -> Result<Ticket, CallError> {
        if self.closed {
            return Err(CallError::not_sent(Cause::Closed));
        }
        let peer = canonical(peer);
        let length = self.config.dialect.content_length_key();
        packet.messages.retain(|message| message.key != length && !key::TRANSPORT.contains(&message.key));
        let size = self.measure(peer, &packet).map_err(CallError::not_sent)?;
        if self.calls.len() >= self.config.requests || self.bytes + size > self.config.bytes {
            return Err(CallError::not_sent(Cause::Full));
        }
        if self.peers.entry(now, peer).is_none() {
            return Err(CallError::not_sent(Cause::Full));
        }
        if self.sweep.is_none() {
            let at = after(now, self.config.peer_expiry / 4);
            self.sweep = Some(at);
            self.timers.insert((at, Timer::Sweep));
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let deadline = after(now, options.timeout.unwrap_or(self.config.timeout));
        let (times, every) = match options.repeat {
            Repeat::Never => (0, Duration::ZERO),
            Repeat::Harmless { times, every } => (times, every),
        };
        let call = Call {
            peer,
            packet,
            size,
            notice,
            deadline,
            times,
            every,
            stage: Stage::Waiting,
            timer: deadline,
            copies: 0,
            sent: None,
            queued: false,
        };
        self.calls.insert(ticket, call);
        self.bytes += size;
        self.timers.insert((deadline, Timer::Call(ticket)));
        let behind = self.waiting.contains(&peer);
        if behind || !self.place(now, ticket) {
            self.wait(now, peer, ticket);
            if !options.wait && !self.may_come(peer) {
                self.end(now, ticket);
                return Err(CallError::not_sent(Cause::Full));
            }
        }
        if notice {
            self.stats.notices += 1;
        } else {
            self.stats.requests += 1;
        }
        Ok(ticket)
    }

    /// The bytes of a packet with nothing of ours in it.
    fn measure(&self, peer: SocketAddr, packet: &Packet) -> Result<usize, Cause> {
        let dialect = extension::table_of(self.config.dialect, packet.code);
        let mut size = Encoder::new(dialect).packet_len(packet).map_err(Cause::Encode)?;
        if let Some(key) = tables::of(self.config.dialect).bind_ip
            && packet.first(key).is_none()
        {
            size += MESSAGE_HEAD + bind_ip::longest(peer);
        }
        if size > MAX_DATAGRAM { Err(Cause::TooLarge { size, limit: MAX_DATAGRAM }) } else { Ok(size) }
    }

    /// Gives up a request: no event comes for it. One that has ended is left alone.
    pub fn cancel(&mut self, now: Instant, ticket: Ticket) {
        if self.calls.contains_key(&ticket) {
            self.stats.cancelled += 1;
            self.end(now, ticket);
        }
    }

    /// Ends everything by [`Cause::Closed`], closes the ports, and takes nothing any more.
    pub fn close(&mut self, now: Instant) {
        self.closed = true;
        let mut tickets: Vec<_> = self.calls.keys().copied().collect();
        tickets.sort_unstable();
        for ticket in tickets {
            self.fail(now, ticket, Cause::Closed);
        }
        self.outbox.clear();
        self.actions.retain(|action| matches!(action, Action::Close(_)));
        self.actions.extend(self.ports.drain(..).map(|socket| Action::Close(socket.port)));
        self.timers.clear();
        self.serials = HashMap::new();
        self.spent = HashMap::new();
        self.peers = Peers::new(self.config.peers, self.config.peer_expiry);
        self.waiting.clear();
        self.sweep = None;
    }

    /// A port has been opened on this address, or not.
    pub fn handle_bound(&mut self, now: Instant, port: Port, local: Result<SocketAddr, io::ErrorKind>) {
        let Some(at) = self.ports.iter().position(|socket| socket.port == port) else { return };
        match local {
            // An answer to a request of the port that was closed would be taken for that to another.
            Ok(local) if self.spent.get(&local).is_some_and(|&until| now < until) => {
                let v6 = self.ports.remove(at).v6;
                self.reopen[usize::from(v6)] = Some(now + Config::REOPEN);
                self.actions.push_back(Action::Close(port));
            }
            Ok(local) => {
                let socket = &mut self.ports[at];
                socket.local = Some(local);
                let v6 = socket.v6;
                self.idle_port(now, port);
                self.close_spent(now, v6);
            }
            Err(kind) => {
                let v6 = self.ports.remove(at).v6;
                self.reopen[usize::from(v6)] = Some(now + Config::REOPEN);
                if self.ports.iter().all(|socket| socket.v6 != v6) {
                    self.fail_waiting(now, v6, Cause::Connect(kind));
                }
            }
        }
        self.pump_all(now);
    }

    /// A port is broken: nothing can be received there any more. The caller closes it.
    pub fn handle_port_lost(&mut self, now: Instant, port: Port, kind: io::ErrorKind) {
        let Some(at) = self.ports.iter().position(|socket| socket.port == port) else { return };
        self.ports.remove(at);
        let mut lost: Vec<_> = self
            .calls
            .iter()
            .filter(|(_, call)| call.stage.port() == Some(port))
            .map(|(&ticket, _)| ticket)
            .collect();
        lost.sort_unstable();
        for ticket in lost {
            self.fail(now, ticket, Cause::Lost(kind));
        }
        self.pump_all(now);
    }

    /// A datagram has come to a port.
    pub fn handle_datagram(&mut self, now: Instant, port: Port, from: SocketAddr, bytes: &[u8]) {
        let from = canonical(from);
        self.stats.received += 1;
        self.stats.received_bytes += bytes.len() as u64;
        let Some(peer) = self.peers.get_mut(from) else {
            self.stats.strangers += 1;
            return;
        };
        let read = Decoder::new(self.config.dialect).packet(bytes);
        let Ok((ours, packet)) = read.and_then(|packet| Ok((Ours::of(&packet), owned(&packet)?))) else {
            self.stats.malformed += 1;
            tracing::debug!(%from, len = bytes.len(), "a datagram that cannot be read");
            return;
        };
        if packet.code.is_request() {
            self.stats.unserved += 1;
            return;
        }
        let ticket = match ours.serial {
            Some(serial) => {
                let ticket = serial.and_then(|serial| self.serials.get(&serial)).copied();
                ticket.filter(|ticket| {
                    let call = &self.calls[ticket];
                    call.peer == from && call.stage.port() == Some(port)
                })
            }
            None => {
                peer.expire(now);
                // Where an answer to a request with a serial may be about, only one that says that it has none
                // (an announcement without a serial) can be told from it.
                peer.lane(port).and_then(|lane| {
                    let told = lane.own == 0 && lane.tainted.is_none();
                    lane.outstanding.filter(|_| told || ours.announced.is_some())
                })
            }
        };
        let Some(ticket) = ticket else {
            self.stats.late += 1;
            tracing::trace!(%from, code = %packet.code, "an answer that nobody waits for");
            return;
        };
        self.answered(now, ticket, packet, &ours);
    }

    fn answered(&mut self, now: Instant, ticket: Ticket, packet: Packet, ours: &Ours) {
        let call = &self.calls[&ticket];
        let (to, stage, copies) = (call.peer, call.stage, call.copies);
        let asked = security::asks(self.config.dialect);
        let announced = ours.announced;
        let announces = match stage {
            Stage::Waiting => return,
            Stage::Query { port, .. } => {
                // Nothing else answers it, but a refusal; a copy of an earlier answer is none.
                if packet.code != security::NOTIFY && !refuses(packet.code) {
                    self.stats.late += 1;
                    return;
                }
                self.announcing(call, port, &Packet::new(security::QUERY))
            }
            Stage::Legacy { port, announces, .. } => {
                // The second copy of an answer to SECURE_QUERY; or, as EXIT does not wait until its port has
                // rested, of an earlier answer.
                let doubled = asked && packet.code == security::NOTIFY && call.packet.code != security::QUERY;
                let lane = self.peers.get(to).and_then(|peer| peer.lane(port));
                let resting = lane.is_some_and(|lane| lane.resting.is_some_and(|until| now < until));
                if doubled || resting && !self.answers_exit(&packet) {
                    self.stats.late += 1;
                    return;
                }
                announces
            }
            Stage::Own { .. } => false,
        };
        let notice = call.notice;
        if let Some(peer) = self.peers.get_mut(to) {
            (peer.traffic, peer.heard, peer.last_port) = (now, Some(now), stage.port());
            if announced.is_some_and(Capabilities::serials) && self.config.extensions {
                peer.kind = Kind::Own;
            } else if announces {
                peer.kind = Kind::Legacy;
            }
        }
        if matches!(stage, Stage::Query { .. }) {
            if packet.code != security::NOTIFY {
                self.fail(now, ticket, Cause::Security(number(packet.code)));
            } else if let Err(mode) = security::allows(&packet) {
                self.fail(now, ticket, Cause::Security(mode));
            } else {
                self.leave_given(now, ticket);
            }
            self.pump(now, to);
            return;
        }
        // A notice that has not been sent cannot have an answer.
        if notice {
            self.stats.late += 1;
            return;
        }
        let outcome = match ours.refusal {
            Some(number) if announced.is_some() || matches!(stage, Stage::Own { .. }) => {
                let refusal = Refusal::of_number(number);
                let cause = Cause::Refused(refusal);
                // It is of the last copy only.
                let unexecuted = refusal.is_unexecuted() && copies <= 1;
                Err(if unexecuted { CallError::not_sent(cause) } else { CallError::possibly_executed(cause) })
            }
            _ if asked && packet.code == security::WANTED => {
                Err(CallError::not_sent(Cause::Security(number(packet.code))))
            }
            _ => Ok(Some(packet)),
        };
        if outcome.is_ok() {
            self.stats.answers += 1;
        } else {
            self.stats.failed += 1;
        }
        self.events.push_back((ticket, outcome));
        self.leave(now, ticket, true);
        self.pump(now, to);
    }

    /// SECURE_QUERY has been answered: the request itself may go, from the same port.
    fn leave_given(&mut self, now: Instant, ticket: Ticket) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        let Stage::Query { port, .. } = call.stage else { return };
        let to = call.peer;
        let Some(peer) = self.peers.get_mut(to) else { return };
        if let Security::Remembered(time) = self.config.security {
            peer.clear_until = Some(after(now, time));
        }
        call.stage = Stage::Waiting;
        peer.lane_mut(port).outstanding = None;
        if !self.place_own(now, ticket) {
            self.place_legacy(now, ticket, port);
        }
        // Not before: a port in use is not closed.
        self.release(now, port, None);
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
                Timer::Peer(peer) => {
                    if let Some(peer) = self.peers.get_mut(peer) {
                        peer.timer = None;
                    }
                    self.pump(now, peer);
                }
                Timer::Port(port) => self.port_timeout(now, port),
                Timer::Sweep => {
                    self.peers.sweep(now);
                    self.spent.retain(|_, until| now < *until);
                    if self.spent.is_empty() {
                        self.spent.shrink_to_fit();
                    }
                    let remembers = self.peers.len() > 0 || !self.spent.is_empty();
                    self.sweep = remembers.then(|| after(now, self.config.peer_expiry / 4));
                    if let Some(at) = self.sweep {
                        self.timers.insert((at, Timer::Sweep));
                    }
                }
            }
        }
    }

    fn call_timeout(&mut self, now: Instant, ticket: Ticket) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        if call.deadline <= now {
            self.fail(now, ticket, Cause::Timeout);
            return;
        }
        let due = |again: Instant| again <= now;
        let mut exhausted = false;
        match &mut call.stage {
            Stage::Query { left, again, .. } if due(*again) => {
                if *left == 0 {
                    exhausted = true;
                } else {
                    *left -= 1;
                    *again = after(now, self.config.query_every);
                }
            }
            Stage::Legacy { again, .. } | Stage::Own { again, .. } if again.is_some_and(due) => {
                call.times = call.times.saturating_sub(1);
                *again = (call.times > 0).then(|| after(now, call.every));
            }
            _ => {
                self.set_call_timer(ticket);
                return;
            }
        }
        if exhausted {
            self.fail(now, ticket, Cause::Timeout);
            return;
        }
        if !std::mem::replace(&mut call.queued, true) {
            self.outbox.push_back(Out::Call(ticket));
        }
        self.set_call_timer(ticket);
    }

    fn port_timeout(&mut self, now: Instant, port: Port) {
        let Some(at) = self.ports.iter().position(|socket| socket.port == port) else { return };
        self.ports[at].timer = None;
        if self.ports[at].users == 0 && self.ports[at].until.is_none_or(|until| until <= now) {
            self.ports.remove(at);
            self.actions.push_back(Action::Close(port));
        } else {
            self.idle_port(now, port);
        }
    }

    /// When [`Exchange::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Whether something is to be done with the sockets.
    #[must_use]
    pub fn wants_action(&self) -> bool {
        !self.actions.is_empty()
    }

    /// What is to be done with the sockets next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A request or notice that has ended, and how.
    pub fn poll_event(&mut self) -> Option<(Ticket, Outcome)> {
        self.events.pop_front()
    }

    /// What it was made with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            in_flight: self.calls.len(),
            in_flight_bytes: self.bytes,
            waiting: self
                .waiting
                .iter()
                .filter_map(|&peer| self.peers.get(peer))
                .map(|peer| peer.waiting.len())
                .sum(),
            ports: self.ports.len(),
            peers: self.peers.len(),
            ..self.stats
        }
    }

    /// Whether this is what the servers of the dialect answer to EXIT, and to nothing else.
    fn answers_exit(&self, packet: &Packet) -> bool {
        let habits = tables::of(self.config.dialect);
        let told = habits.exit_okay != habits.okay;
        let text = || packet.first(SPEAK).and_then(Value::as_str) == Some(habits.exit_text_udp);
        packet.code == habits.exit_okay && (told || text())
    }

    fn set_call_timer(&mut self, ticket: Ticket) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        let again = match call.stage {
            Stage::Waiting => None,
            Stage::Query { again, .. } => Some(again),
            Stage::Legacy { again, .. } | Stage::Own { again, .. } => again,
        };
        let at = again.map_or(call.deadline, |again| again.min(call.deadline));
        self.timers.remove(&(std::mem::replace(&mut call.timer, at), Timer::Call(ticket)));
        self.timers.insert((at, Timer::Call(ticket)));
    }
}

impl Stage {
    const fn port(self) -> Option<Port> {
        match self {
            Self::Waiting => None,
            Self::Query { port, .. } | Self::Legacy { port, .. } | Self::Own { port, .. } => Some(port),
        }
    }
}

/// SPEAK has one key in all dialects.
const SPEAK: u16 = fixp_codec::laxcus6::key::SPEAK;
/// The bytes of a message before its value.
const MESSAGE_HEAD: usize = 4;
/// The bytes that an announcement adds to a packet.
const ANNOUNCEMENT: usize = MESSAGE_HEAD + 2;
/// The bytes that a request to one of our own has more.
const OWN: usize = ANNOUNCEMENT + (MESSAGE_HEAD + 8) + (MESSAGE_HEAD + 4);

/// One form of an address: what a socket says of a peer, and what its caller says, must be equal.
pub(crate) fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => peer,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(ip.into(), v6.port()),
            None => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
        },
    }
}

/// Whether this is one of laxcus6's answers that refuse.
const fn refuses(code: Code) -> bool {
    matches!(code, Code::Answer(2000..))
}

const fn number(code: Code) -> u16 {
    match code {
        Code::Answer(code) => code,
        Code::Request { major, minor } => u16::from_be_bytes([major, minor]),
    }
}
