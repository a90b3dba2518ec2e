//! The side that answers, for all peers of one socket.
//!
//! ```
//! use std::time::Instant;
//! use fixp_codec::{LAXCUS6, Packet, laxcus6::{answer, notify}};
//! use fixp_transport::keep::pieces::{Form, Pieces};
//! use fixp_transport::keep::responder::{Config, Responder};
//!
//! let now = Instant::now();
//! let client = "192.0.2.1:4000".parse().unwrap();
//! let mut responder = Responder::new(Config::new(&LAXCUS6));
//! let log = Packet::new(notify::FLUSH_LOG).with_entity(vec![7; 100]);
//! let piece = Pieces::cut(&LAXCUS6, log, Form::of_request(&LAXCUS6, 1))?.datagram(0).unwrap();
//!
//! // However often it comes, it is executed once.
//! assert!(responder.handle_datagram(now, client, &piece));
//! assert!(responder.handle_datagram(now, client, &piece));
//! let request = responder.poll_event().unwrap();
//! assert!(responder.poll_event().is_none());
//! responder.answer(now, request.ticket, Some(Packet::new(answer::OKAY))).unwrap();
//!
//! // ACCEPTED three times, then the answer.
//! assert_eq!(std::iter::from_fn(|| responder.poll_transmit(now)).count(), 4);
//! # Ok::<(), fixp_codec::Error>(())
//! ```
//!
//! # At most once
//!
//! A request is known by its address and port, its identity and the digests of its datagrams: while it is
//! executed, while its answer is held, and for [`Limits::tombstone`] after that and after each duplicate. CANCEL ends it, but for
//! [`Limits::settle`], in which the network's own duplicates come. What cannot be told apart: a client that begins
//! its identities anew on the same port, without CANCEL, and asks the very same within that time; it gets the
//! answer that is held, or none.
//!
//! # Where the programs' responders fail
//!
//! - A laxcus6 client that has had ACCEPTED never asks for a lost piece of its answer, and a lexst1 client that
//!   has had nothing may wait for ever: the answer is sent again, after 1, 2, 4, 8 and 16 s, until CANCEL or until
//!   the client asks by itself (Q4, Q8); never that of an identity that is not the peer's latest (Q9).
//! - CANCEL is always answered, in lexst1 by NOTFOUND, and everything of the exchange is gone (Q5, Q10).
//! - RETRY and CANCEL are for the identity that they name (Q19). A CANCEL does not touch another exchange.
//! - Counts allocate nothing; RETRY is no more bytes than came; everything held is in one ledger
//!   ([`Responder::held`]) with a bound, and all has an end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Decoder, Dialect, Error, Packet, PacketRef};
use foldhash::quality::FixedState;

use super::limits::Limits;
use super::pieces::{Added, Bounds, Form, Gather, Mark, PIECE, Pieces};
use super::table::{self, Table};
use super::{Transmit, control};

/// What a responder is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The dialect of all peers.
    pub dialect: &'static Dialect,
    /// The bounds.
    pub limits: Limits,
    /// How long after the last piece those are asked for that come after it. laxcus6 waits 6 s, lexst1 as long as
    /// the pieces say.
    pub tail: Duration,
    /// After how long an answer is sent again where nothing was heard; twice as long after each time.
    pub again: Duration,
    /// How often that is done.
    pub agains: u32,
    /// How soon a duplicate of the request may have the answer sent again.
    pub spacing: Duration,
    /// The bytes of a piece.
    pub piece: usize,
    /// What BIND_IP says, where the dialect has it.
    pub bind_ip: Option<IpAddr>,
    /// What digests begin with: nobody should be able to guess it.
    pub random: u64,
}

impl Config {
    /// Default of [`Config::tail`].
    pub const TAIL: Duration = Duration::from_secs(1);
    /// Default of [`Config::again`].
    pub const AGAIN: Duration = Duration::from_secs(1);
    /// Default of [`Config::agains`].
    pub const AGAINS: u32 = 5;
    /// Default of [`Config::spacing`].
    pub const SPACING: Duration = Duration::from_millis(500);
    /// Between two questions for missing pieces, as laxcus6 does; from the third on twice as long each time.
    pub const GAP: Duration = Duration::from_secs(1);
    /// How long a group is silent before another request with its identity takes its place.
    pub const STALE: Duration = Duration::from_secs(3);
    /// What SUBPACKET_TIMEOUT is brought into.
    pub const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

    /// The defaults.
    #[must_use]
    pub fn new(dialect: &'static Dialect) -> Self {
        Self {
            dialect,
            limits: Limits::default(),
            tail: Self::TAIL,
            again: Self::AGAIN,
            agains: Self::AGAINS,
            spacing: Self::SPACING,
            piece: PIECE,
            bind_ip: None,
            random: 0,
        }
    }
}

/// The number of a request, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket(u64);

/// A whole request, to be executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its number, for [`Responder::answer`].
    pub ticket: Ticket,
    /// Who has sent it.
    pub from: SocketAddr,
    /// The request, without what belongs to the pieces.
    pub packet: Packet,
}

/// Why an answer is not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AnswerError {
    /// It cannot be written in the dialect.
    Encode(Error),
    /// It is larger than the limits allow.
    TooLarge,
    /// There is no room for it.
    Full,
}

impl std::fmt::Display for AnswerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Encode(error) => write!(f, "the answer cannot be written: {error}"),
            Self::TooLarge => f.write_str("the answer is larger than the limits allow"),
            Self::Full => f.write_str("there is no room to hold the answer"),
        }
    }
}

impl std::error::Error for AnswerError {}

type Key = (SocketAddr, i32);

/// What an exchange costs beside its content.
const EXCHANGE_COST: usize = 320;
/// What a waiting datagram or event costs beside its content.
const QUEUE_COST: usize = 96;
/// What a held answer costs beside its pieces.
const HELD_COST: usize = 256;
/// Pieces of one answer that were asked for and wait to be sent.
const ASKED: usize = 1024;

/// See the [module](self).
#[derive(Debug)]
pub struct Responder {
    config: Config,
    table: &'static Table,
    digests: FixedState,
    exchanges: BTreeMap<Key, Exchange>,
    peers: BTreeMap<SocketAddr, Peer>,
    tickets: BTreeMap<Ticket, Key>,
    next_ticket: u64,
    timers: BTreeSet<(Instant, Key)>,
    controls: VecDeque<Transmit>,
    /// Exchanges with pieces to be sent, in turns.
    sending: VecDeque<Key>,
    events: VecDeque<(Event, usize)>,
    /// Everything held.
    held: usize,
}

/// What an address and port has here.
#[derive(Debug)]
struct Peer {
    exchanges: usize,
    /// Those of them that have not ended.
    live: usize,
    latest: i32,
}

#[derive(Debug)]
struct Exchange {
    group: Option<Group>,
    done: Option<Done>,
    /// Whether it stands in the turns.
    sending: bool,
    timer: Option<Instant>,
    /// What is in the ledger for it.
    booked: usize,
    live: bool,
}

#[derive(Debug)]
struct Group {
    gather: Gather,
    created: Instant,
    last: Instant,
    timeout: Duration,
    /// Bytes that came, and those of the questions for more.
    came: usize,
    asked: usize,
    retries: u32,
    /// When the last question was.
    retried: Option<Instant>,
}

#[derive(Debug)]
struct Done {
    digests: Box<[u64]>,
    stage: Stage,
    /// When the peer was last told something for a duplicate.
    told: Instant,
}

#[derive(Debug)]
enum Stage {
    Executing {
        ticket: Ticket,
        cancelled: bool,
    },
    Held(Box<Held>),
    /// Executed; what comes of it is not listened to. Unless CANCEL came, each duplicate makes it last.
    Tombstone {
        until: Instant,
        cancelled: bool,
    },
}

#[derive(Debug)]
struct Held {
    pieces: Pieces,
    until: Instant,
    burst: Range<u32>,
    asked: VecDeque<u32>,
    /// Datagrams that may still be sent.
    left: u64,
    /// When the answer is sent again unasked, after how long then, and how often.
    again: Option<Instant>,
    pause: Duration,
    agains: u32,
}

impl Responder {
    /// A responder that knows nobody.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            table: table::of(config.dialect),
            digests: FixedState::with_seed(config.random),
            exchanges: BTreeMap::new(),
            peers: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            timers: BTreeSet::new(),
            controls: VecDeque::new(),
            sending: VecDeque::new(),
            events: VecDeque::new(),
            held: 0,
            config,
        }
    }

    /// The bytes of everything held; never more than [`Limits::bytes`], and 0 when all has ended.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// How many exchanges are remembered, with those that have ended.
    #[must_use]
    pub fn exchanges(&self) -> usize {
        self.exchanges.len()
    }

    /// A datagram has come. Tells whether it was one of KEEP UDP; another one is the caller's business.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        let Ok(packet) = Decoder::new(self.config.dialect).packet(bytes) else { return false };
        let code = packet.code();
        if !code.is_request() || self.table.plain.contains(&code) {
            return false;
        }
        if code == self.table.retry {
            self.retry(now, from, &packet);
        } else if code == self.table.cancel {
            self.cancel(now, from, &packet);
        } else if Mark::is_claimed(&packet) {
            if let Some(mark) = Mark::of(self.config.dialect, &packet) {
                self.piece(now, from, mark, &packet, bytes);
            }
        } else {
            return false;
        }
        true
    }

    fn piece(&mut self, now: Instant, from: SocketAddr, mark: Mark, packet: &PacketRef<'_>, bytes: &[u8]) {
        let limits = &self.config.limits;
        if mark.count > limits.pieces {
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
                && done.digests.len() == mark.count as usize
                && done.digests[mark.index as usize] == digest
            {
                self.duplicate(now, key);
                return;
            }
            let live = self.peers.get(&from).map_or(0, |peer| peer.live);
            let fresh = exchange.is_none();
            if fresh && self.exchanges.len() >= limits.exchanges
                || !exchange.is_some_and(|exchange| exchange.live) && live >= limits.exchanges_per_peer
            {
                return;
            }
        }
        // What the piece, its group and its digest can add to the ledger.
        let room = Gather::cost_of(mark, packet) + EXCHANGE_COST + QUEUE_COST + 8;
        if self.held + room > limits.bytes {
            return;
        }
        let bounds = Bounds { pieces: limits.pieces, entity: limits.entity };
        let exchange = self.exchanges.entry(key).or_insert_with(Exchange::new);
        if stale {
            exchange.group = None;
        }
        let opened = exchange.group.is_none();
        let group = exchange.group.get_or_insert_with(|| Group::new(now, mark));
        let added = group.gather.add(mark, packet, digest, bounds);
        match added {
            Added::Kept | Added::Known | Added::Whole => {
                group.last = now;
                group.came += bytes.len();
            }
            Added::Foreign => {}
            Added::Refused if group.gather.is_empty() => exchange.group = None,
            Added::Refused => {}
        }
        self.book(key);
        if opened && let Some(peer) = self.peers.get_mut(&from) {
            peer.latest = mark.identity;
        }
        match added {
            Added::Whole => self.whole(now, key),
            // A hole before the last one: laxcus6 asks at once.
            Added::Kept if self.table.accepted.is_some() => self.ask_for_gap(now, key),
            _ => {}
        }
        self.arm(now, key);
    }

    /// The last piece of a request has come.
    fn whole(&mut self, now: Instant, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(&key) else { return };
        let Some(Group { gather, .. }) = exchange.group.take() else { return };
        let digests = gather.digests();
        if exchange.done.as_ref().is_some_and(|done| done.digests == digests) {
            self.book(key);
            self.duplicate(now, key);
            return;
        }
        let cost = gather.packet_cost() + QUEUE_COST;
        let Some(packet) = gather.join(self.config.dialect) else {
            self.book(key);
            return;
        };
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        if let Some(Done { stage: Stage::Executing { ticket, .. }, .. }) = &exchange.done {
            // Its client has gone on; the answer of the earlier one is nobody's.
            self.tickets.remove(ticket);
        }
        let stage = Stage::Executing { ticket, cancelled: false };
        exchange.done = Some(Done { digests, stage, told: now });
        self.tickets.insert(ticket, key);
        self.held += cost;
        self.events.push_back((Event { ticket, from: key.0, packet }, cost));
        self.book(key);
        let copies = self.table.accepted.map_or(0, |(_, copies)| copies);
        self.accept(key, copies);
    }

    fn accept(&mut self, (to, identity): Key, copies: u8) {
        if let Ok(Some(bytes)) = control::accepted(self.config.dialect, identity) {
            for _ in 0..copies {
                self.say(to, bytes.clone());
            }
        }
    }

    fn say(&mut self, to: SocketAddr, bytes: Bytes) {
        let cost = bytes.len() + QUEUE_COST;
        if self.controls.len() < self.config.limits.controls && self.held + cost <= self.config.limits.bytes {
            self.held += cost;
            self.controls.push_back(Transmit { to, bytes });
        }
    }

    /// A piece of a request that has been executed, or is being.
    fn duplicate(&mut self, now: Instant, key: Key) {
        let spacing = self.config.spacing;
        let accepts = self.table.accepted.is_some();
        let Some(Exchange { done: Some(done), .. }) = self.exchanges.get_mut(&key) else { return };
        // A client that still asks would be executed again once it is forgotten.
        if let Stage::Tombstone { until, cancelled: false } = &mut done.stage {
            *until = now + self.config.limits.tombstone;
        }
        if now < done.told + spacing {
            return;
        }
        done.told = now;
        match &mut done.stage {
            Stage::Executing { .. } => {
                if accepts {
                    self.accept(key, 1);
                }
            }
            Stage::Held(held) => {
                held.begin();
                self.turn(key);
            }
            Stage::Tombstone { .. } => {}
        }
    }

    fn retry(&mut self, now: Instant, from: SocketAddr, packet: &PacketRef<'_>) {
        let Some(identity) = control::identity(packet) else { return };
        let key = (from, identity);
        let Some(Exchange { done: Some(Done { stage: Stage::Held(held), .. }), .. }) =
            self.exchanges.get_mut(&key)
        else {
            return;
        };
        let head = packet.head();
        for index in control::asked(self.config.dialect, self.table, &head, held.pieces.count()) {
            held.ask(index);
        }
        // The client recovers by itself.
        if let Some(again) = &mut held.again {
            *again = (*again).max(now + held.pause);
        }
        self.turn(key);
        self.book(key);
        self.arm(now, key);
    }

    fn cancel(&mut self, now: Instant, from: SocketAddr, packet: &PacketRef<'_>) {
        let identity = control::identity(packet);
        let mut found = false;
        if let Some(identity) = identity {
            let key = (from, identity);
            let settle = self.config.limits.settle;
            if let Some(exchange) = self.exchanges.get_mut(&key) {
                exchange.group = None;
                if let Some(done) = &mut exchange.done {
                    match &mut done.stage {
                        Stage::Executing { cancelled, .. } => *cancelled = true,
                        Stage::Held(_) => {
                            found = true;
                            done.stage = Stage::Tombstone { until: now + settle, cancelled: true };
                        }
                        Stage::Tombstone { until, cancelled } => {
                            *until = (*until).min(now + settle);
                            *cancelled = true;
                        }
                    }
                }
                self.book(key);
                self.arm(now, key);
            }
        }
        // laxcus6 does not answer without an identity. To lexst1 there is never anything left.
        if self.table.cancel_is_idle || identity.is_some() {
            let found = found && !self.table.cancel_is_idle;
            if let Ok(bytes) = control::cancelled(self.config.dialect, self.config.bind_ip, found) {
                self.say(from, bytes);
            }
        }
    }

    /// A request has been executed: with an answer, or without one (SPEC 11 has such requests), and then nothing
    /// more is sent for it. An answer whose client has cancelled is dropped.
    ///
    /// # Errors
    ///
    /// Why the answer is not sent. The request is remembered as executed all the same.
    pub fn answer(
        &mut self,
        now: Instant,
        ticket: Ticket,
        answer: Option<Packet>,
    ) -> Result<(), AnswerError> {
        let Some(key) = self.tickets.remove(&ticket) else { return Ok(()) };
        let limits = &self.config.limits;
        let Some(Exchange { done: Some(done), .. }) = self.exchanges.get_mut(&key) else { return Ok(()) };
        let Stage::Executing { cancelled, .. } = done.stage else { return Ok(()) };
        let time = if cancelled { limits.settle } else { limits.tombstone };
        done.stage = Stage::Tombstone { until: now + time, cancelled };
        let held = match answer {
            Some(answer) if !cancelled => self.cut(now, key.1, answer),
            _ => Ok(None),
        };
        let outcome = match held {
            Ok(Some(held)) => {
                if let Some(Exchange { done: Some(done), .. }) = self.exchanges.get_mut(&key) {
                    (done.stage, done.told) = (Stage::Held(held), now);
                }
                self.turn(key);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.book(key);
        self.arm(now, key);
        outcome
    }

    fn cut(&self, now: Instant, identity: i32, answer: Packet) -> Result<Option<Box<Held>>, AnswerError> {
        let limits = &self.config.limits;
        let form = Form {
            size: self.config.piece,
            bind_ip: self.config.bind_ip,
            ..Form::of_answer(self.config.dialect, identity)
        };
        let size = answer.entity.len();
        let pieces = Pieces::cut(self.config.dialect, answer, form).map_err(AnswerError::Encode)?;
        if size > limits.entity || pieces.count() > limits.pieces {
            return Err(AnswerError::TooLarge);
        }
        if self.held + held_cost(&pieces) > limits.bytes {
            return Err(AnswerError::Full);
        }
        Ok(Some(Box::new(Held {
            until: now + limits.hold,
            burst: 0..pieces.count(),
            asked: VecDeque::new(),
            left: u64::from(pieces.count()) * u64::from(limits.sendings),
            again: (self.config.agains > 0).then(|| now + self.config.again),
            pause: self.config.again,
            agains: self.config.agains,
            pieces,
        })))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, key)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            if let Some(exchange) = self.exchanges.get_mut(&key) {
                exchange.timer = None;
                self.exchange_timeout(now, key);
                self.book(key);
                self.arm(now, key);
            }
        }
    }

    fn exchange_timeout(&mut self, now: Instant, key: Key) {
        let limits = &self.config.limits;
        let latest = self.peers.get(&key.0).is_none_or(|peer| peer.latest == key.1);
        let Some(exchange) = self.exchanges.get_mut(&key) else { return };
        if let Some(group) = &exchange.group
            && (now >= group.last + limits.idle || now >= group.created + limits.lifetime)
        {
            exchange.group = None;
        }
        let mut turn = false;
        if let Some(done) = &mut exchange.done {
            match &mut done.stage {
                Stage::Executing { .. } => {}
                Stage::Held(held) if now >= held.until => {
                    done.stage = Stage::Tombstone { until: now + limits.tombstone, cancelled: false };
                }
                Stage::Held(held) => {
                    if held.again.is_some_and(|at| at <= now) {
                        held.agains -= 1;
                        held.pause *= 2;
                        held.again = (held.agains > 0).then(|| now + held.pause);
                        if latest {
                            held.begin();
                            turn = true;
                        }
                    }
                }
                Stage::Tombstone { until, .. } if now >= *until => exchange.done = None,
                Stage::Tombstone { .. } => {}
            }
        }
        if turn {
            self.turn(key);
        }
        let due = self.exchanges.get(&key).and_then(|exchange| exchange.group.as_ref());
        if due.is_some_and(|group| self.next_question(group).is_some_and(|at| at <= now)) {
            self.ask(now, key, false);
        }
    }

    /// When missing pieces are asked for next.
    fn next_question(&self, group: &Group) -> Option<Instant> {
        if group.retries >= self.config.limits.retries || group.budget() == 0 {
            return None;
        }
        if self.table.accepted.is_none() {
            // lexst1: after each silence of the time that the pieces say.
            let since = group.retried.map_or(group.last, |at| at.max(group.last));
            return Some(since + group.timeout);
        }
        let hole = !group.gather.missing(true, 1).is_empty();
        let silent = group.last + if hole { Config::GAP } else { self.config.tail };
        let pause = Config::GAP * (1 << group.retries.saturating_sub(2).min(4));
        Some(group.retried.map_or(silent, |at| silent.max(at + pause)))
    }

    fn ask_for_gap(&mut self, now: Instant, key: Key) {
        let group = self.exchanges.get(&key).and_then(|exchange| exchange.group.as_ref());
        let Some(group) = group else { return };
        let ready = group.retried.is_none_or(|at| now >= at + Config::GAP);
        if ready && group.retries < self.config.limits.retries && !group.gather.missing(true, 1).is_empty() {
            self.ask(now, key, true);
        }
    }

    fn ask(&mut self, now: Instant, key: Key, before_last: bool) {
        let (dialect, bind_ip) = (self.config.dialect, self.config.bind_ip);
        let Some(Exchange { group: Some(group), .. }) = self.exchanges.get_mut(&key) else { return };
        group.retries += 1;
        group.retried = Some(now);
        // A serial is at least five bytes, and then there is the rest of the packet.
        let missing = group.gather.missing(before_last, group.budget() / 5 + 1);
        let first = dialect.first_serial();
        let serials: Vec<u32> = missing.into_iter().map(|index| first + index).collect();
        let mut questions = Vec::new();
        for serials in serials.chunks(self.table.retry_serials) {
            let mut serials = serials;
            // As many as fit into what has come.
            while !serials.is_empty() {
                let Ok(bytes) = control::retry(dialect, bind_ip, key.1, serials) else { break };
                if bytes.len() <= group.budget() {
                    group.asked += bytes.len();
                    questions.push(bytes);
                    break;
                }
                serials = &serials[..serials.len() / 2];
            }
        }
        for bytes in questions {
            self.say(key.0, bytes);
        }
    }

    /// Puts an exchange in the turns of those that send.
    fn turn(&mut self, key: Key) {
        if let Some(exchange) = self.exchanges.get_mut(&key)
            && !std::mem::replace(&mut exchange.sending, true)
        {
            self.sending.push_back(key);
        }
    }

    /// Brings the ledger up to date after anything has changed in an exchange, and forgets one that is over.
    fn book(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(&key) else { return };
        let over = exchange.group.is_none() && exchange.done.is_none();
        let cost = if over { 0 } else { exchange.cost() };
        let live = exchange.is_live();
        let fresh = exchange.booked == 0;
        self.held = self.held - exchange.booked + cost;
        let before = usize::from(std::mem::replace(&mut exchange.live, live));
        exchange.booked = cost;
        let timer = exchange.timer;
        let peer = self.peers.entry(key.0).or_insert(Peer { exchanges: 0, live: 0, latest: key.1 });
        peer.exchanges += usize::from(fresh);
        peer.live = peer.live + usize::from(live) - before;
        if over {
            peer.exchanges -= 1;
            if peer.exchanges == 0 {
                self.peers.remove(&key.0);
            }
            if let Some(at) = timer {
                self.timers.remove(&(at, key));
            }
            self.exchanges.remove(&key);
        }
    }

    /// Sets the timer of an exchange.
    fn arm(&mut self, now: Instant, key: Key) {
        let Some(exchange) = self.exchanges.get(&key) else { return };
        let limits = &self.config.limits;
        let mut at: Option<Instant> = None;
        let mut by = |time: Option<Instant>| {
            if let Some(time) = time {
                at = Some(at.map_or(time, |at| at.min(time)));
            }
        };
        if let Some(group) = &exchange.group {
            by(Some((group.last + limits.idle).min(group.created + limits.lifetime)));
            by(self.next_question(group));
        }
        match exchange.done.as_ref().map(|done| &done.stage) {
            Some(Stage::Held(held)) => {
                by(Some(held.until));
                by(held.again);
            }
            Some(Stage::Tombstone { until, .. }) => by(Some(*until)),
            Some(Stage::Executing { .. }) | None => {}
        }
        // Never in the past, or a caller might turn around for ever.
        let at = at.map(|at| at.max(now));
        if exchange.timer != at {
            if let Some(old) = exchange.timer {
                self.timers.remove(&(old, key));
            }
            if let Some(at) = at {
                self.timers.insert((at, key));
            }
            if let Some(exchange) = self.exchanges.get_mut(&key) {
                exchange.timer = at;
            }
        }
    }

    /// When [`Responder::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// The next request to be executed.
    pub fn poll_event(&mut self) -> Option<Event> {
        let (event, cost) = self.events.pop_front()?;
        self.held -= cost;
        Some(event)
    }

    /// The next datagram to be sent.
    pub fn poll_transmit(&mut self, _now: Instant) -> Option<Transmit> {
        if let Some(transmit) = self.controls.pop_front() {
            self.held -= transmit.bytes.len() + QUEUE_COST;
            return Some(transmit);
        }
        while let Some(key) = self.sending.pop_front() {
            let Some(exchange) = self.exchanges.get_mut(&key) else { continue };
            let mut bytes = None;
            if let Some(Done { stage: Stage::Held(held), .. }) = &mut exchange.done {
                bytes = held.next();
            }
            exchange.sending = bytes.is_some();
            if let Some(bytes) = bytes {
                self.sending.push_back(key);
                self.book(key);
                return Some(Transmit { to: key.0, bytes });
            }
        }
        None
    }
}

impl Exchange {
    const fn new() -> Self {
        Self { group: None, done: None, sending: false, timer: None, booked: 0, live: false }
    }

    fn is_live(&self) -> bool {
        let ended = self.done.as_ref().is_none_or(|done| matches!(done.stage, Stage::Tombstone { .. }));
        self.group.is_some() || !ended
    }

    fn cost(&self) -> usize {
        let group = self.group.as_ref().map_or(0, |group| group.gather.cost());
        let done = self.done.as_ref().map_or(0, |done| {
            let held = match &done.stage {
                Stage::Held(held) => held_cost(&held.pieces),
                _ => 0,
            };
            held + done.digests.len() * 8
        });
        EXCHANGE_COST + group + done
    }
}

/// What an answer costs, with room for the pieces of it that are asked for.
fn held_cost(pieces: &Pieces) -> usize {
    pieces.cost() + HELD_COST + ASKED.min(pieces.count() as usize) * size_of::<u32>()
}

impl Group {
    fn new(now: Instant, mark: Mark) -> Self {
        let (least, most) = Config::TIMEOUTS;
        Self {
            gather: Gather::new(mark),
            created: now,
            last: now,
            timeout: mark.timeout.unwrap_or(most).clamp(least, most),
            came: 0,
            asked: 0,
            retries: 0,
            retried: None,
        }
    }

    /// The bytes that questions may still have.
    const fn budget(&self) -> usize {
        self.came.saturating_sub(self.asked)
    }
}

impl Held {
    /// Sends all again.
    fn begin(&mut self) {
        self.asked.clear();
        self.burst = 0..self.pieces.count();
    }

    fn ask(&mut self, index: u32) {
        if !self.burst.contains(&index) && self.asked.len() < ASKED && !self.asked.contains(&index) {
            self.asked.push_back(index);
        }
    }

    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            (self.burst, self.again) = (0..0, None);
            self.asked.clear();
            return None;
        }
        let index = match self.asked.pop_front() {
            Some(index) => index,
            None => self.burst.next()?,
        };
        self.left -= 1;
        self.pieces.datagram(index)
    }
}
