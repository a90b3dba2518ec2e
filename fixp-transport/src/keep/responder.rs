//! The side that answers, for all peers of one socket (SPEC 9.8, 9.9).
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
//! executed, while its answer is held, and for [`Limits::tombstone`] after that and after each duplicate. At CANCEL all
//! of it is gone; for [`Limits::settle`] its identity is passed over, since the network's own duplicates come then.
//! What cannot be told apart: a client that begins its identities anew on the same port, without CANCEL, and asks
//! the very same within that time; it gets the answer that is held, or none. And after CANCEL, within
//! [`Limits::settle`], one that asks for anything in the same number of pieces (for the very same, if that is
//! one); its program sends it again later.
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
//! - What leaves for a source prefix beyond what came from there has a rate (see [`budget`](super::budget)),
//!   unless [`Config::allow`] says otherwise; and the pieces of an answer leave at a [pace](super::pace).

mod assembly;
mod exchange;
mod held;
mod settled;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::laxcus6::key::SUBPACKET_TIMEOUT;
use fixp_codec::{Decoder, Dialect, Error, Packet, PacketRef};
use foldhash::quality::FixedState;

use self::assembly::Group;
use self::exchange::{Done, Exchange, Stage};
use self::held::{Held, Turn};
use self::settled::Settled;
use super::budget::{Budget, Rates};
use super::limits::Limits;
use super::pace::Pace;
use super::pieces::{Added, Bounds, Form, Gather, Mark, PIECE, Pieces};
use super::table::{self, Table};
use super::{Ledger, Transmit, control};
use crate::server::AllowList;

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
    /// Bytes a second at which the pieces of an answer leave, see [`Pace::RATE`].
    pub rate: u64,
    /// What leaves for a source prefix beyond what came from there.
    pub rates: Rates,
    /// Peers for which that is not limited. By default those of this machine: nobody else can have their address.
    pub allow: AllowList,
    /// A ledger that others count in, too: beside [`Limits::bytes`], what is held never passes its bound.
    pub ledger: Option<Ledger>,
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
            rate: Pace::RATE,
            rates: Rates::default(),
            allow: AllowList::new(["127.0.0.0/8", "::1"]).unwrap_or_default(),
            ledger: None,
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
    budget: Budget,
    settled: Settled,
    /// Everything held, and what of the shared ledger is taken for it.
    held: usize,
    taken: usize,
}

/// What an address and port has here.
#[derive(Debug)]
struct Peer {
    exchanges: usize,
    /// Those of them that have not ended.
    live: usize,
    latest: i32,
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
            budget: Budget::new(config.rates),
            settled: Settled::default(),
            held: 0,
            taken: 0,
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

    /// How many answers have pieces that have not left even once. Counts them each time.
    #[must_use]
    pub fn unsent_answers(&self) -> usize {
        let unsent = |exchange: &&Exchange| matches!(&exchange.done, Some(Done { stage: Stage::Held(held), .. }) if !held.has_left());
        self.exchanges.values().filter(unsent).count()
    }

    /// Whether there is room for so many bytes more. What of them is not held in the end is given back by
    /// [`Responder::balance`].
    fn has_room(&mut self, bytes: usize) -> bool {
        let wanted = self.held.saturating_add(bytes);
        if wanted > self.config.limits.bytes {
            return false;
        }
        let more = wanted.saturating_sub(self.taken);
        let has = self.config.ledger.as_ref().is_none_or(|ledger| more == 0 || ledger.take(more));
        if has {
            self.taken += more;
        }
        has
    }

    fn balance(&mut self) {
        let less = self.taken.saturating_sub(self.held);
        if let Some(ledger) = self.config.ledger.as_ref().filter(|_| less > 0) {
            ledger.give(less);
        }
        self.taken -= less;
    }

    /// A datagram has come. Tells whether it was one of KEEP UDP; another one is the caller's business.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        let is_ours = self.datagram(now, from, bytes);
        self.balance();
        is_ours
    }

    fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
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
                self.duplicate(now, key, bytes.len());
                return;
            }
            if group.is_none() && self.settled.knows(now, key, mark.count, digest) {
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
        let bounds = Bounds { pieces: limits.pieces, entity: limits.entity };
        if !self.has_room(room) {
            return;
        }
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
        let Some(group) = exchange.group.take() else { return };
        let came = group.credit();
        let digests = group.gather.digests();
        if exchange.done.as_ref().is_some_and(|done| done.digests == digests) {
            self.book(key);
            self.duplicate(now, key, came);
            return;
        }
        let cost = group.gather.packet_cost() + QUEUE_COST;
        let Some(packet) = group.gather.join(self.config.dialect) else {
            self.book(key);
            return;
        };
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let stage = Stage::Executing { ticket, cancelled: false };
        match exchange.done.replace(Done { digests, stage, told: now, came }) {
            // Its client has gone on; the answer of the earlier one is nobody's.
            Some(Done { stage: Stage::Executing { ticket, .. }, .. }) => {
                self.tickets.remove(&ticket);
            }
            Some(Done { stage: Stage::Held(held), .. }) => held.end(now, false, &mut self.budget, key.0.ip()),
            _ => {}
        }
        self.tickets.insert(ticket, key);
        self.held += cost;
        self.events.push_back((Event { ticket, from: key.0, packet }, cost));
        self.book(key);
        let copies = self.table.accepted.map_or(0, |(_, copies)| copies);
        self.accept(now, key, copies);
    }

    fn accept(&mut self, now: Instant, key: Key, copies: u8) {
        let Ok(Some(bytes)) = control::accepted(self.config.dialect, key.1) else { return };
        for _ in 0..copies {
            let done = self.exchanges.get_mut(&key).and_then(|exchange| exchange.done.as_mut());
            let paid = done.map_or(0, |done| {
                let paid = done.came.min(bytes.len());
                done.came -= paid;
                paid
            });
            self.say(now, key.0, bytes.clone(), paid);
        }
    }

    /// Sends a datagram for which so many bytes have come. Without room or budget it is lost.
    fn say(&mut self, now: Instant, to: SocketAddr, bytes: Bytes, paid: usize) {
        let cost = bytes.len() + QUEUE_COST;
        let beyond = bytes.len().saturating_sub(paid);
        if self.controls.len() < self.config.limits.controls
            && self.has_room(cost)
            && (beyond == 0 || self.config.allow.allows(to.ip()) || self.budget.take(now, to.ip(), beyond))
        {
            self.held += cost;
            self.controls.push_back(Transmit { to, bytes });
        }
    }

    /// A piece of a request that has been executed, or is being, of so many bytes.
    fn duplicate(&mut self, now: Instant, key: Key, bytes: usize) {
        let spacing = self.config.spacing;
        let accepts = self.table.accepted.is_some();
        let Some(Exchange { done: Some(done), .. }) = self.exchanges.get_mut(&key) else { return };
        let told = now < done.told + spacing;
        if !told {
            done.told = now;
        }
        match &mut done.stage {
            Stage::Executing { .. } => {
                done.came = done.came.saturating_add(bytes);
                if accepts && !told {
                    self.accept(now, key, 1);
                }
            }
            Stage::Held(held) => {
                held.came(bytes);
                if !told {
                    held.begin();
                    self.turn(key);
                }
            }
            // A client that still asks would be executed again once it is forgotten.
            Stage::Tombstone { until } => *until = now + self.config.limits.tombstone,
        }
    }

    fn retry(&mut self, now: Instant, from: SocketAddr, packet: &PacketRef<'_>, bytes: usize) {
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
        self.turn(key);
        self.arm(now, key);
    }

    fn cancel(&mut self, now: Instant, from: SocketAddr, packet: &PacketRef<'_>, bytes: usize) {
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
                        Stage::Executing { ref mut cancelled, .. } => {
                            *cancelled = true;
                            if let Some(exchange) = self.exchanges.get_mut(&key) {
                                exchange.done = Some(done);
                            }
                        }
                        Stage::Held(held) => {
                            found = true;
                            held.end(now, true, &mut self.budget, from.ip());
                            self.settle_done(now, key, &done.digests);
                        }
                        Stage::Tombstone { .. } => self.settle_done(now, key, &done.digests),
                    }
                }
                self.book(key);
                self.arm(now, key);
            }
        }
        // laxcus6 does not answer without an identity. To lexst1 there is never anything left.
        if self.table.cancel_is_idle || identity.is_some() {
            let found = found && !self.table.cancel_is_idle;
            if let Ok(answer) = control::cancelled(self.config.dialect, self.config.bind_ip, found) {
                self.say(now, from, answer, bytes);
            }
        }
    }

    fn settle(&mut self, now: Instant, key: Key, count: u32, digest: u64) {
        let limits = &self.config.limits;
        self.settled.add(now + limits.settle, key, count, digest, limits.settled);
    }

    fn settle_done(&mut self, now: Instant, key: Key, digests: &[u64]) {
        // No more than the pieces that a request may have.
        let count = u32::try_from(digests.len()).unwrap_or(u32::MAX);
        self.settle(now, key, count, digests.first().copied().unwrap_or(0));
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
        let Some(exchange) = self.exchanges.get_mut(&key) else { return Ok(()) };
        let Some(done) = &mut exchange.done else { return Ok(()) };
        let Stage::Executing { cancelled, .. } = done.stage else { return Ok(()) };
        done.stage = Stage::Tombstone { until: now + limits.tombstone };
        let outcome = match answer {
            _ if cancelled => {
                let digests = std::mem::take(&mut done.digests);
                exchange.done = None;
                self.settle_done(now, key, &digests);
                Ok(())
            }
            None => Ok(()),
            Some(answer) => self.cut(now, key.1, answer).map(|mut held| {
                if let Some(Exchange { done: Some(done), .. }) = self.exchanges.get_mut(&key) {
                    held.came(done.came);
                    (done.stage, done.told, done.came) = (Stage::Held(Box::new(held)), now, 0);
                }
                self.turn(key);
            }),
        };
        self.book(key);
        self.arm(now, key);
        self.balance();
        outcome
    }

    fn cut(&mut self, now: Instant, identity: i32, answer: Packet) -> Result<Held, AnswerError> {
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
        if !self.has_room(Held::cost_of(&pieces)) {
            return Err(AnswerError::Full);
        }
        Ok(Held::new(now, &self.config, pieces))
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
        self.balance();
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
                    let tombstone = Stage::Tombstone { until: now + limits.tombstone };
                    if let Stage::Held(held) = std::mem::replace(&mut done.stage, tombstone) {
                        held.end(now, false, &mut self.budget, key.0.ip());
                    }
                }
                // Of an identity that is not the latest nothing is sent unasked.
                Stage::Held(held) => turn = held.wakes(now) | held.begin_again(now, latest),
                Stage::Tombstone { until } if now >= *until => exchange.done = None,
                Stage::Tombstone { .. } => {}
            }
        }
        if turn {
            self.turn(key);
        }
        let due = self.exchanges.get(&key).and_then(|exchange| exchange.group.as_ref());
        if due.and_then(|group| group.next_question(&self.config, self.table)).is_some_and(|at| at <= now) {
            self.ask(now, key, false);
        }
    }

    fn ask_for_gap(&mut self, now: Instant, key: Key) {
        let group = self.exchanges.get(&key).and_then(|exchange| exchange.group.as_ref());
        if group.is_some_and(|group| group.asks_for_gap(now, &self.config)) {
            self.ask(now, key, true);
        }
    }

    fn ask(&mut self, now: Instant, key: Key, before_last: bool) {
        let (dialect, bind_ip) = (self.config.dialect, self.config.bind_ip);
        let Some(Exchange { group: Some(group), .. }) = self.exchanges.get_mut(&key) else { return };
        for question in group.questions(now, dialect, bind_ip, self.table, before_last) {
            // It is no more than what came for the group.
            let paid = question.len();
            self.say(now, key.0, question, paid);
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
        let before = std::mem::replace(&mut exchange.live, live);
        exchange.booked = cost;
        if !over && !fresh && live == before {
            return;
        }
        let timer = exchange.timer;
        let peer = self.peers.entry(key.0).or_insert(Peer { exchanges: 0, live: 0, latest: key.1 });
        peer.exchanges += usize::from(fresh);
        peer.live = peer.live + usize::from(live) - usize::from(before);
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

    /// Sets the timer of an exchange. One that is early is left: it sets the next when it comes, and a piece that
    /// puts everything off costs nothing.
    fn arm(&mut self, now: Instant, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(&key) else { return };
        let limits = &self.config.limits;
        let group = exchange.group.as_ref();
        let ends = group.map(|group| (group.last + limits.idle).min(group.created + limits.lifetime));
        let asks = group.and_then(|group| group.next_question(&self.config, self.table));
        let times = [ends, asks, exchange.timer_of_done()];
        // Never in the past, or a caller might turn around for ever.
        let at = times.into_iter().flatten().min().map(|at| at.max(now));
        if at.is_some() && exchange.timer.is_some_and(|timer| Some(timer) <= at && timer > now) {
            return;
        }
        if let Some(old) = std::mem::replace(&mut exchange.timer, at) {
            self.timers.remove(&(old, key));
        }
        if let Some(at) = at {
            self.timers.insert((at, key));
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
        self.balance();
        Some(event)
    }

    /// The next datagram to be sent now. Where there is none, those that wait for their pace or their budget are
    /// announced by [`Responder::poll_timeout`].
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if let Some(transmit) = self.controls.pop_front() {
            self.held -= transmit.bytes.len() + QUEUE_COST;
            self.balance();
            return Some(transmit);
        }
        while let Some(key) = self.sending.pop_front() {
            let Some(exchange) = self.exchanges.get_mut(&key) else { continue };
            exchange.sending = false;
            let Some(Done { stage: Stage::Held(held), .. }) = &mut exchange.done else { continue };
            let ip = key.0.ip();
            let budget = (!self.config.allow.allows(ip)).then_some((&mut self.budget, ip));
            match held.turn(now, self.config.limits.hold, budget) {
                Turn::Piece(bytes) => {
                    exchange.sending = true;
                    self.sending.push_back(key);
                    return Some(Transmit { to: key.0, bytes });
                }
                Turn::Wait | Turn::Over => self.arm(now, key),
            }
        }
        None
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.held = 0;
        self.balance();
    }
}
