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
//! is opened, up to [`Config::ports`]; further requests wait in their order, or are refused
//! ([`Options::wait`]). Ports other than the first are closed when they have not been used for
//! [`Config::LINGER`].
//!
//! So no answer goes to another request as long as none comes later than those two times allow. When requests
//! wait for ports, the first to wait is the first to go, with the time that it has left.
//!
//! # To our own
//!
//! A request to a peer of whom nothing is known announces [`CAPABILITIES`](crate::extension::key::CAPABILITIES).
//! Once an answer has announced back, requests leave from the first port, as many as there are, with SERIAL,
//! DEADLINE and the announcement, so that the server need not remember us; an answer belongs to the request
//! with its serial, if it comes from its peer, and to nothing else. A peer is asked anew after
//! [`Config::peer_expiry`] without traffic, and after a time-out in which nothing else was heard of it.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Code, Decoder, Dialect, Encoder, Error, Packet, PacketRef, Value};
use foldhash::{HashMap, HashMapExt};

use super::peers::{Kind, Lane, Peer, Peers};
use super::stats::Stats;
use super::{MAX_DATAGRAM, MTU_V4, MTU_V6, bind_ip, security};
use crate::extension::{self, Capabilities, Refusal, key};
use crate::timer::after;
use crate::{CallError, Cause, tables};

/// The number of a request or notice, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket(u64);

/// A local port, never the number of two sockets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Port(u64);

/// How often a request in one datagram is sent. What a channel, or KEEP UDP, sends again is another question:
/// [`crate::Repeat`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Repeat {
    /// Once: it would be executed twice otherwise.
    #[default]
    Never,
    /// Again while there is no answer: repeating it is harmless.
    Harmless {
        /// How many times again.
        times: u32,
        /// After how long each.
        every: Duration,
    },
}

/// Whether a laxcus6 client asks SECURE_QUERY before its requests and notices. It never does before TEST, EXIT
/// and the security calls, to our own peers, and in dialects that have no such request.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Security {
    /// Before each, as recorded.
    #[default]
    Always,
    /// When the peer's leave is older than this.
    Remembered(Duration),
    /// Never.
    Unasked,
}

/// How one request is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Until when there must be an answer, waiting and SECURE_QUERY included; [`Config::timeout`] if nothing.
    pub timeout: Option<Duration>,
    /// Whether it is repeated.
    pub repeat: Repeat,
    /// Whether it waits where no port is free and none can be opened; otherwise that is [`Cause::Full`].
    pub wait: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: None, repeat: Repeat::Never, wait: true }
    }
}

/// What an exchange is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The dialect of all peers.
    pub dialect: &'static Dialect,
    /// Whether we announce ourselves.
    pub extensions: bool,
    /// How long a request may take unless it says otherwise.
    pub timeout: Duration,
    /// Whether SECURE_QUERY is asked.
    pub security: Security,
    /// How long one attempt of SECURE_QUERY waits.
    pub query_every: Duration,
    /// How many attempts it has.
    pub query_attempts: u32,
    /// Ports open at a time for each address family, at least one.
    pub ports: usize,
    /// How long an answer that nobody waits for any more may still come.
    pub quarantine: Duration,
    /// How long a second answer may come after the first, where the network has doubled one of them or the
    /// request. In the last case a server's work takes a little longer or shorter, too: where that matters, and
    /// the network doubles, set more.
    pub settle: Duration,
    /// Over how many bytes a datagram to an IPv4 peer is warned of.
    pub warn_v4: usize,
    /// The same for IPv6.
    pub warn_v6: usize,
    /// Requests and notices at a time, those that wait included. One more is [`Cause::Full`].
    pub requests: usize,
    /// The bytes of those. Past it, one more is [`Cause::Full`].
    pub bytes: usize,
    /// Peers remembered at a time. Past it the most silent are forgotten; if none may be, one more is
    /// [`Cause::Full`].
    pub peers: usize,
    /// After how long without traffic a peer is forgotten.
    pub peer_expiry: Duration,
    /// The address that datagrams to a peer leave from where the socket is bound to none; wanted by dialects
    /// with BIND_IP only.
    pub source: fn(SocketAddr) -> Option<IpAddr>,
}

impl Config {
    /// Default of [`Config::timeout`]: three attempts of SECURE_QUERY, as the programs have.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
    /// Default of [`Config::query_every`]: the programs' sub-packet time-out.
    pub const QUERY_EVERY: Duration = Duration::from_secs(10);
    /// Default of [`Config::query_attempts`], as recorded.
    pub const QUERY_ATTEMPTS: u32 = 3;
    /// Default of [`Config::ports`].
    pub const PORTS: usize = 16;
    /// Default of [`Config::quarantine`]: longer than a server works at what its client has given up.
    pub const QUARANTINE: Duration = Duration::from_secs(60);
    /// Default of [`Config::settle`]: doubled frames come together. With sixteen ports it allows 800 requests a
    /// second to one legacy peer.
    pub const SETTLE: Duration = Duration::from_millis(20);
    /// Default of [`Config::requests`]. Each costs some 400 bytes and its packet.
    pub const REQUESTS: usize = 16384;
    /// Default of [`Config::bytes`], 16 MiB.
    pub const BYTES: usize = 16 << 20;
    /// Default of [`Config::peers`]. Each costs some 250 bytes, and 80 for each port in use: 25 MiB at worst.
    pub const PEERS: usize = 16384;
    /// Default of [`Config::peer_expiry`].
    pub const PEER_EXPIRY: Duration = Duration::from_secs(5 * 60);
    /// How long a port other than the first is kept without use.
    pub const LINGER: Duration = Duration::from_secs(5);
    /// After how long another port is tried where one could not be opened.
    pub const REOPEN: Duration = Duration::from_secs(1);

    /// The defaults.
    #[must_use]
    pub const fn new(dialect: &'static Dialect) -> Self {
        Self {
            dialect,
            extensions: true,
            timeout: Self::TIMEOUT,
            security: Security::Always,
            query_every: Self::QUERY_EVERY,
            query_attempts: Self::QUERY_ATTEMPTS,
            ports: Self::PORTS,
            quarantine: Self::QUARANTINE,
            settle: Self::SETTLE,
            warn_v4: MTU_V4,
            warn_v6: MTU_V6,
            requests: Self::REQUESTS,
            bytes: Self::BYTES,
            peers: Self::PEERS,
            peer_expiry: Self::PEER_EXPIRY,
            source: |_| None,
        }
    }
}

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
        self.peers = Peers::new(self.config.peers, self.config.peer_expiry);
        self.waiting.clear();
        self.sweep = None;
    }

    /// A port has been opened on this address, or not.
    pub fn handle_bound(&mut self, now: Instant, port: Port, local: Result<SocketAddr, io::ErrorKind>) {
        let Some(at) = self.ports.iter().position(|socket| socket.port == port) else { return };
        match local {
            Ok(local) => {
                self.ports[at].local = Some(local);
                self.idle_port(now, port);
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
        self.release(now, port, None);
        if !self.place_own(now, ticket) {
            self.place_legacy(now, ticket, port);
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
                Timer::Peer(peer) => {
                    if let Some(peer) = self.peers.get_mut(peer) {
                        peer.timer = None;
                    }
                    self.pump(now, peer);
                }
                Timer::Port(port) => self.port_timeout(now, port),
                Timer::Sweep => {
                    self.peers.sweep(now);
                    self.sweep = (self.peers.len() > 0).then(|| after(now, self.config.peer_expiry / 4));
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

    /// The next datagram to be sent. Its fate goes to [`Exchange::handle_transmitted`].
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        loop {
            match self.outbox.pop_front()? {
                Out::Call(ticket) => {
                    if let Some(transmit) = self.transmit(now, ticket) {
                        return Some(transmit);
                    }
                }
                Out::Cancel { port, to, serial } => {
                    let packet = Packet::new(extension::CANCEL)
                        .with(key::CAPABILITIES, Capabilities::OURS.in_request())
                        .with(key::SERIAL, serial);
                    if let Some(bytes) = self.encode(port, to, packet, extension::own(self.config.dialect)) {
                        return Some(Transmit { ticket: None, port, to, bytes, copy: 0 });
                    }
                }
            }
        }
    }

    fn transmit(&mut self, now: Instant, ticket: Ticket) -> Option<Transmit> {
        let call = self.calls.get_mut(&ticket)?;
        call.queued = false;
        let (to, stage) = (call.peer, call.stage);
        let port = stage.port()?;
        let left = call.deadline.saturating_duration_since(now);
        let mut packet = if let Stage::Query { .. } = stage {
            Packet::new(security::QUERY)
        } else {
            call.copies += 1;
            call.sent.get_or_insert(now);
            match stage {
                // The only copy: nothing but its code is looked at again.
                Stage::Own { .. } if call.times == 0 => {
                    let code = call.packet.code;
                    std::mem::replace(&mut call.packet, Packet::new(code))
                }
                _ => call.packet.clone(),
            }
        };
        let (copies, notice) = (call.copies, call.notice);
        match stage {
            Stage::Waiting => return None,
            Stage::Query { .. } => {
                self.stats.queries += 1;
                if self.announcing(&self.calls[&ticket], port, &packet) {
                    packet = packet.with(key::CAPABILITIES, Capabilities::OURS.in_request());
                }
            }
            Stage::Legacy { announces, .. } => {
                self.stats.repeats += u64::from(copies > 1);
                if announces {
                    packet = packet.with(key::CAPABILITIES, Capabilities::OURS.in_request());
                }
            }
            Stage::Own { serial, .. } => {
                self.stats.repeats += u64::from(copies > 1);
                if !notice {
                    let left = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
                    packet = packet
                        .with(key::CAPABILITIES, Capabilities::OURS.in_request())
                        .with(key::SERIAL, serial)
                        .with(key::DEADLINE, left);
                }
            }
        }
        if let Some(peer) = self.peers.get_mut(to) {
            peer.traffic = now;
        }
        let dialect = extension::table_of(self.config.dialect, packet.code);
        let Some(bytes) = self.encode(port, to, packet, dialect) else {
            // What can be encoded has been checked: only a port that has gone comes here.
            self.fail(now, ticket, Cause::Lost(io::ErrorKind::NotConnected));
            return None;
        };
        let copy = if let Stage::Query { .. } = stage { 0 } else { copies };
        Some(Transmit { ticket: Some(ticket), port, to, bytes, copy })
    }

    fn encode(&mut self, port: Port, to: SocketAddr, mut packet: Packet, dialect: &Dialect) -> Option<Bytes> {
        let socket = self.ports.iter().find(|socket| socket.port == port)?;
        if let Some(key) = tables::of(dialect).bind_ip
            && packet.first(key).is_none()
        {
            let mut ip = socket.local?.ip();
            if ip.is_unspecified() {
                let peer = self.peers.get_mut(to)?;
                ip = *peer.source.get_or_insert_with(|| (self.config.source)(to).unwrap_or(ip));
            }
            packet = packet.with(key, bind_ip::text(ip));
        }
        // Measured when it came: this is only where it begins to grow.
        let mut wire = Vec::with_capacity(128 + packet.entity.len());
        Encoder::new(dialect).packet(&packet, &mut wire).ok()?;
        let bytes = Bytes::from(wire);
        let warn = if to.is_ipv4() { self.config.warn_v4 } else { self.config.warn_v6 };
        if bytes.len() > warn {
            self.stats.long += 1;
            tracing::warn!(peer = %to, len = bytes.len(), warn, "a datagram that the network cuts in pieces");
        }
        Some(bytes)
    }

    /// What became of a datagram: the socket took it, or not.
    pub fn handle_transmitted(
        &mut self,
        now: Instant,
        transmit: &Transmit,
        outcome: Result<(), io::ErrorKind>,
    ) {
        match outcome {
            Ok(()) => {
                self.stats.sent += 1;
                self.stats.sent_bytes += transmit.bytes.len() as u64;
            }
            Err(_) => self.stats.refused += 1,
        }
        let Some(ticket) = transmit.ticket else { return };
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        // It may have gone on meanwhile.
        if call.stage.port() != Some(transmit.port) || call.copies != transmit.copy {
            return;
        }
        match (outcome, call.stage) {
            (Ok(()), Stage::Query { .. }) => {}
            (Ok(()), _) if call.notice => {
                let to = call.peer;
                self.events.push_back((ticket, Ok(None)));
                self.leave(now, ticket, true);
                self.pump(now, to);
            }
            (Err(kind), Stage::Query { .. }) => self.fail(now, ticket, Cause::Connect(kind)),
            (Err(kind), _) if call.copies <= 1 => {
                (call.copies, call.sent) = (0, None);
                self.fail(now, ticket, Cause::Connect(kind));
            }
            // An earlier copy has gone out: its answer may come.
            _ => {}
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

    /// Whether a request of this size announces us.
    fn announcing(&self, call: &Call, port: Port, packet: &Packet) -> bool {
        let fits = || {
            let size = if packet.code == security::QUERY { 0 } else { call.size };
            size + ANNOUNCEMENT <= MAX_DATAGRAM
        };
        let unknown = self.peers.get(call.peer).is_some_and(|peer| peer.kind == Kind::Unknown);
        let open = self.ports.iter().any(|socket| socket.port == port);
        self.config.extensions && unknown && open && fits()
    }

    /// Gives a request a port, if there is one for it.
    fn place(&mut self, now: Instant, ticket: Ticket) -> bool {
        if self.place_own(now, ticket) {
            return true;
        }
        let Some(call) = self.calls.get(&ticket) else { return true };
        let (to, notice, code) = (call.peer, call.notice, call.packet.code);
        if extension::is_own(code) && self.peers.get(to).is_none_or(|peer| peer.kind != Kind::Own) {
            self.fail(now, ticket, Cause::NotOurs);
            return true;
        }
        let asks = self.asks(now, to, code);
        let exit = code == tables::of(self.config.dialect).exit;
        let Some(peer) = self.peers.get_mut(to) else { return false };
        peer.expire(now);
        let v6 = to.is_ipv6();
        let open = |socket: &&Socket| socket.v6 == v6 && socket.local.is_some();
        let free = |port: Port| {
            peer.lane(port).is_none_or(|lane| {
                // A notice waits for no answer: only a request that does must not be disturbed by one to it.
                lane.is_free() || (notice && !asks && lane.outstanding.is_none() && lane.own == 0)
            })
        };
        // EXIT leaves from the port whose traffic it ends, even if that still rests: its answer can be told
        // from others.
        let last = peer.last_port.filter(|&port| {
            exit && self.ports.iter().filter(open).any(|socket| socket.port == port)
                && peer.lane(port).is_none_or(Lane::rests)
        });
        let first = || self.ports.iter().filter(open).map(|socket| socket.port).find(|&port| free(port));
        let Some(port) = last.or_else(first) else { return false };
        if asks {
            peer.lane_mut(port).outstanding = Some(ticket);
            self.occupy(port);
            let (left, again) =
                (self.config.query_attempts.saturating_sub(1), after(now, self.config.query_every));
            self.enter(ticket, Stage::Query { port, left, again });
        } else {
            self.place_legacy(now, ticket, port);
        }
        true
    }

    /// Gives a request to one of our own the first port, if that is what its peer is.
    fn place_own(&mut self, now: Instant, ticket: Ticket) -> bool {
        let Some(call) = self.calls.get(&ticket) else { return false };
        let v6 = call.peer.is_ipv6();
        let Some(port) =
            self.ports.iter().find(|socket| socket.v6 == v6).filter(|socket| socket.local.is_some())
        else {
            return false;
        };
        let port = port.port;
        if !self.config.extensions || call.size + OWN > MAX_DATAGRAM {
            return false;
        }
        let Some(peer) = self.peers.get_mut(call.peer).filter(|peer| peer.kind == Kind::Own) else {
            return false;
        };
        // The answer to a request that has not announced us could not be told from one without its serial.
        let silent =
            peer.lane(port).and_then(|lane| lane.outstanding).and_then(|ticket| self.calls.get(&ticket));
        if silent.is_some_and(|call| !matches!(call.stage, Stage::Legacy { announces: true, .. })) {
            return false;
        }
        peer.lane_mut(port).own += 1;
        let (times, every) = (call.times, call.every);
        let mut serial = self.next_serial;
        while self.serials.contains_key(&serial) {
            serial = serial.wrapping_add(1);
        }
        self.next_serial = serial.wrapping_add(1);
        self.serials.insert(serial, ticket);
        self.occupy(port);
        self.enter(ticket, Stage::Own { port, serial, again: (times > 0).then(|| after(now, every)) });
        true
    }

    /// Sends a request without a serial from a port that is free for it.
    fn place_legacy(&mut self, now: Instant, ticket: Ticket, port: Port) {
        let Some(call) = self.calls.get(&ticket) else { return };
        let announces = !call.notice && self.announcing(call, port, &call.packet);
        let again = (call.times > 0).then(|| after(now, call.every));
        if let Some(peer) = self.peers.get_mut(call.peer) {
            peer.lane_mut(port).outstanding = Some(ticket);
        }
        self.occupy(port);
        self.enter(ticket, Stage::Legacy { port, announces, again });
    }

    fn enter(&mut self, ticket: Ticket, stage: Stage) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        call.stage = stage;
        if !std::mem::replace(&mut call.queued, true) {
            self.outbox.push_back(Out::Call(ticket));
        }
        self.set_call_timer(ticket);
    }

    /// Whether this is what the servers of the dialect answer to EXIT, and to nothing else.
    fn answers_exit(&self, packet: &Packet) -> bool {
        let habits = tables::of(self.config.dialect);
        let told = habits.exit_okay != habits.okay;
        let text = || packet.first(SPEAK).and_then(Value::as_str) == Some(habits.exit_text_udp);
        packet.code == habits.exit_okay && (told || text())
    }

    /// Whether this request asks SECURE_QUERY first.
    fn asks(&self, now: Instant, peer: SocketAddr, code: Code) -> bool {
        if security::exempt(code) || !security::asks(self.config.dialect) {
            return false;
        }
        match self.config.security {
            Security::Always => true,
            Security::Unasked => false,
            Security::Remembered(_) => {
                let until = self.peers.get(peer).and_then(|peer| peer.clear_until);
                until.is_none_or(|until| until <= now)
            }
        }
    }

    fn wait(&mut self, now: Instant, to: SocketAddr, ticket: Ticket) {
        if let Some(peer) = self.peers.get_mut(to) {
            peer.waiting.push_back(ticket);
            self.waiting.insert(to);
        }
        self.want_ports(now, to);
    }

    /// Whether waiting has an end that is near: a port is being opened.
    fn may_come(&self, peer: SocketAddr) -> bool {
        let waiting = self.peers.get(peer).map_or(0, |peer| peer.waiting.len());
        self.opening(peer.is_ipv6()) >= waiting
    }

    fn opening(&self, v6: bool) -> usize {
        self.ports.iter().filter(|socket| socket.v6 == v6 && socket.local.is_none()).count()
    }

    /// Opens as many ports as the requests that wait for this peer could use, and sets the timer for when time
    /// gives it one.
    fn want_ports(&mut self, now: Instant, to: SocketAddr) {
        let Some(peer) = self.peers.get(to) else { return };
        let (v6, waiting) = (to.is_ipv6(), peer.waiting.len());
        if waiting == 0 {
            self.set_peer_timer(to, None);
            return;
        }
        let reopen = &mut self.reopen[usize::from(v6)];
        *reopen = reopen.filter(|&at| at > now);
        let reopen = *reopen;
        let mut open = self.ports.iter().filter(|socket| socket.v6 == v6).count();
        let mut opening = self.opening(v6);
        let most = self.config.ports.max(1);
        if reopen.is_none() {
            while opening < waiting && open < most {
                let port = Port(self.next_port);
                self.next_port += 1;
                self.ports.push(Socket { port, v6, local: None, users: 0, until: None, timer: None });
                self.actions.push_back(Action::Open { port, v6 });
                opening += 1;
                open += 1;
            }
        }
        let blocked = reopen.filter(|_| open < most);
        let free = self.peers.get(to).and_then(Peer::free_at);
        self.set_peer_timer(to, free.into_iter().chain(blocked).min());
    }

    fn set_peer_timer(&mut self, to: SocketAddr, at: Option<Instant>) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        if let Some(old) = std::mem::replace(&mut peer.timer, at) {
            self.timers.remove(&(old, Timer::Peer(to)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Timer::Peer(to)));
        }
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

    /// Lets those go that wait for this peer, as far as there are ports.
    fn pump(&mut self, now: Instant, to: SocketAddr) {
        while let Some(&ticket) = self.peers.get(to).and_then(|peer| peer.waiting.front()) {
            if !self.place(now, ticket) {
                break;
            }
            if let Some(peer) = self.peers.get_mut(to) {
                peer.waiting.pop_front();
            }
        }
        if self.peers.get(to).is_none_or(|peer| peer.waiting.is_empty()) {
            self.waiting.remove(&to);
        }
        self.want_ports(now, to);
    }

    fn pump_all(&mut self, now: Instant) {
        for peer in self.waiting.iter().copied().collect::<Vec<_>>() {
            self.pump(now, peer);
        }
    }

    fn fail_waiting(&mut self, now: Instant, v6: bool, cause: Cause) {
        let peers: Vec<_> = self.waiting.iter().copied().filter(|peer| peer.is_ipv6() == v6).collect();
        for to in peers {
            let waiting = self.peers.get(to).map(|peer| peer.waiting.clone()).unwrap_or_default();
            for ticket in waiting {
                self.fail(now, ticket, cause);
            }
        }
    }

    /// Ends a request by an error.
    fn fail(&mut self, now: Instant, ticket: Ticket, cause: Cause) {
        let Some(call) = self.calls.get(&ticket) else { return };
        let error =
            if call.copies > 0 { CallError::possibly_executed(cause) } else { CallError::not_sent(cause) };
        if cause == Cause::Timeout {
            self.stats.timeouts += 1;
        } else {
            self.stats.failed += 1;
        }
        self.events.push_back((ticket, Err(error)));
        self.end(now, ticket);
    }

    /// Takes a request away that has no answer.
    fn end(&mut self, now: Instant, ticket: Ticket) {
        let Some(to) = self.calls.get(&ticket).map(|call| call.peer) else { return };
        self.leave(now, ticket, false);
        self.pump(now, to);
    }

    /// Takes a request away and gives its port back, for what may still come there.
    fn leave(&mut self, now: Instant, ticket: Ticket, answered: bool) {
        let Some(call) = self.calls.remove(&ticket) else { return };
        self.bytes -= call.size;
        self.timers.remove(&(call.timer, Timer::Call(ticket)));
        let (quarantine, settle) = (after(now, self.config.quarantine), after(now, self.config.settle));
        let Some(peer) = self.peers.get_mut(call.peer) else { return };
        let (port, until) = match call.stage {
            Stage::Waiting => {
                peer.waiting.retain(|&waiting| waiting != ticket);
                return;
            }
            // Its answers are told from all others by their code: nothing can be mistaken.
            Stage::Query { port, .. } => {
                peer.lane_mut(port).outstanding = None;
                (port, None)
            }
            Stage::Legacy { port, .. } => {
                let lane = peer.lane_mut(port);
                lane.outstanding = None;
                if call.notice {
                    lane.resting = lane.resting.max(Some(settle));
                    (port, Some(settle))
                } else if call.copies == 0 {
                    (port, None)
                } else if answered && call.copies == 1 {
                    lane.resting = lane.resting.max(Some(settle));
                    (port, Some(settle))
                } else {
                    lane.tainted = lane.tainted.max(Some(quarantine));
                    (port, Some(quarantine))
                }
            }
            Stage::Own { port, serial, .. } => {
                self.serials.remove(&serial);
                let lane = peer.lane_mut(port);
                lane.own -= 1;
                let lost = !answered && !call.notice && call.copies > 0;
                if lost {
                    // Should another program have taken its place, its answer has no serial.
                    lane.tainted = lane.tainted.max(Some(quarantine));
                    if peer.heard <= call.sent {
                        peer.kind = Kind::Unknown;
                    }
                    if call.deadline > now
                        && self.outbox.len() < self.config.requests.saturating_add(CANCELS)
                        && !self.closed
                    {
                        self.outbox.push_back(Out::Cancel { port, to: call.peer, serial });
                    }
                }
                (port, lost.then_some(quarantine))
            }
        };
        peer.expire(now);
        self.release(now, port, until);
    }

    fn occupy(&mut self, port: Port) {
        if let Some(socket) = self.ports.iter_mut().find(|socket| socket.port == port) {
            socket.users += 1;
        }
    }

    fn release(&mut self, now: Instant, port: Port, until: Option<Instant>) {
        if let Some(socket) = self.ports.iter_mut().find(|socket| socket.port == port) {
            socket.users -= 1;
            socket.until = socket.until.max(until);
        }
        self.idle_port(now, port);
    }

    /// Sets the timer that closes a port nobody uses, unless it is the first of its family.
    fn idle_port(&mut self, now: Instant, port: Port) {
        let Some(at) = self.ports.iter().position(|socket| socket.port == port) else { return };
        let v6 = self.ports[at].v6;
        let first = self.ports[..at].iter().all(|socket| socket.v6 != v6);
        let socket = &mut self.ports[at];
        let due = (socket.users == 0 && !first)
            .then(|| socket.until.filter(|&until| until > now).unwrap_or(now) + Config::LINGER);
        if let Some(old) = std::mem::replace(&mut socket.timer, due) {
            self.timers.remove(&(old, Timer::Port(port)));
        }
        if let Some(due) = due {
            self.timers.insert((due, Timer::Port(port)));
        }
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
