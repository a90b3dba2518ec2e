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
//! executed, while its answer is held, and for [`Limits::tombstone`] after that and after each duplicate. At
//! CANCEL all of it is gone, as it is where there is no room and its network has most; for [`Limits::settle`] its identity is passed over, since the network's own
//! duplicates come then. What cannot be told apart: a client that begins its identities anew on the same port,
//! without CANCEL, and asks the very same within that time; it gets the answer that is held, or none. And after
//! CANCEL, within [`Limits::settle`], one that asks for anything in the same number of pieces (for the very same,
//! if that is one); its program sends it again later.
//!
//! # Where the programs' responders fail
//!
//! - A laxcus6 client that has had ACCEPTED never asks for a lost piece of its answer, and a lexst1 client that
//!   has had nothing may wait for ever: the answer is sent again, after 1, 2, 4, 8 and 16 s, until CANCEL or until
//!   the client asks by itself (Q4, Q8). Of an identity that is not the peer's latest nothing leaves unless RETRY
//!   names it (Q2, Q9).
//! - CANCEL is always answered, in lexst1 by NOTFOUND, and everything of the exchange is gone (Q5, Q10).
//! - RETRY and CANCEL are for the identity that they name (Q19). A CANCEL does not touch another exchange.
//! - A request that is larger than [`Limits::entity`] is refused as soon as one of its pieces tells so, by an answer
//!   in one piece; nothing of it is kept or asked for.
//! - Counts allocate nothing; one network does not take everything, and gives way to smaller ones; many with little each give way by age; RETRY is no more bytes than came; everything held is in one ledger
//!   ([`Responder::held`]) with a bound, and all has an end.
//! - What leaves for a source prefix beyond what came from there has a rate (see [`budget`](super::budget)),
//!   unless [`Config::allow`] says otherwise; and the pieces of an answer leave at a [pace](super::pace).
//!
//! [`Limits::entity`]: super::Limits::entity
//! [`Limits::settle`]: super::Limits::settle
//! [`Limits::tombstone`]: super::Limits::tombstone

mod assembly;
mod books;
mod config;
mod exchange;
mod exchanges;
mod held;
mod paces;
mod receiving;
mod settled;
mod sources;

pub use self::config::Config;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use fixp_codec::{Error, Packet};
use foldhash::quality::FixedState;

use self::exchange::{Done, Exchange, Stage};
use self::exchanges::{Exchanges, Number};
use self::held::{Held, Turn};
use self::paces::Paces;
use self::settled::Settled;
use self::sources::Sources;
use super::Transmit;
use super::budget::Budget;
use super::pieces::{Form, Pieces};
use super::table::{self, Table};

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

/// What a request costs that is executed though another has its place.
const REPLACED_COST: usize = 384;
/// What a waiting datagram costs beside its content, in a queue that may be half empty.
const QUEUE_COST: usize = 2 * size_of::<Transmit>();
/// The same of a request that waits to be taken.
const EVENT_COST: usize = 2 * size_of::<(Event, usize)>();

/// See the [module](self).
#[derive(Debug)]
pub struct Responder {
    config: Config,
    table: &'static Table,
    digests: FixedState,
    exchanges: Exchanges,
    peers: BTreeMap<SocketAddr, Peer>,
    tickets: BTreeMap<Ticket, Key>,
    next_ticket: u64,
    timers: BTreeSet<(Instant, Number)>,
    controls: VecDeque<Transmit>,
    /// Exchanges with pieces to be sent, in turns.
    sending: BTreeMap<u64, Key>,
    next_turn: u64,
    events: VecDeque<(Event, usize)>,
    /// Of those that are executed, whose clients have cancelled or gone on: not told yet.
    cancelled: BTreeSet<Ticket>,
    budget: Budget,
    paces: Paces,
    settled: Settled,
    /// Where the datagram came to that is being handled.
    local: Option<IpAddr>,
    sources: Sources,
    /// Everything held, and what of the shared ledger is taken for it.
    held: usize,
    taken: usize,
    stats: Stats,
}

/// What a responder has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Pieces of answers sent.
    pub pieces: u64,
    /// Those of them that had been sent before.
    pub again: u64,
    /// RETRY sent, for pieces of requests.
    pub questions: u64,
    /// Pieces of requests that were not listened to, beyond a limit or without room, and requests that were too large.
    pub refused: u64,
    /// Requests on their way, answers held and exchanges remembered that gave way to those of other networks.
    pub gave_way: u64,
}

/// What an address and port has here.
#[derive(Debug)]
struct Peer {
    exchanges: u32,
    /// What has not ended: requests on their way, being executed, and answers held.
    live: u32,
    /// Those of them that are executed though a later request has taken their place.
    replaced: u32,
    latest: i32,
    /// The identity of one since then that was too large: its answer is sent, too, and ends no other.
    refused: Option<i32>,
    /// The address that its datagrams come to.
    local: Option<IpAddr>,
}

impl Responder {
    /// A responder that knows nobody.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            table: table::of(config.dialect),
            digests: FixedState::with_seed(config.random),
            exchanges: Exchanges::default(),
            peers: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            timers: BTreeSet::new(),
            controls: VecDeque::new(),
            sending: BTreeMap::new(),
            next_turn: 0,
            events: VecDeque::new(),
            cancelled: BTreeSet::new(),
            budget: Budget::new(config.rates),
            paces: Paces::default(),
            settled: Settled::default(),
            local: None,
            sources: Sources::default(),
            held: 0,
            taken: 0,
            stats: Stats::default(),
            config,
        }
    }

    /// The bytes of everything held; never more than [`Limits::bytes`](super::Limits::bytes), and 0 when all has ended.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// How many exchanges are remembered, with those that have ended.
    #[must_use]
    pub fn exchanges(&self) -> usize {
        self.exchanges.len()
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// How many answers are being sent, the first time or again. Counts them each time.
    #[must_use]
    pub fn unsent_answers(&self) -> usize {
        let unsent = |exchange: &&Exchange| matches!(&exchange.done, Some(Done { stage: Stage::Held(held), .. }) if !held.has_left());
        self.exchanges.all().filter(unsent).count()
    }

    /// A datagram has come. Tells whether it was one of KEEP UDP; another one is the caller's business.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        self.handle_datagram_at(now, from, None, bytes)
    }

    /// The same, where the address of this machine that it came to is known: BIND_IP says that to its peer, and
    /// [`Config::bind_ip`] only where it is not.
    pub fn handle_datagram_at(
        &mut self,
        now: Instant,
        from: SocketAddr,
        local: Option<IpAddr>,
        bytes: &[u8],
    ) -> bool {
        self.local = local;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.local = local.or(peer.local);
        }
        let is_ours = self.datagram(now, from, bytes);
        self.balance();
        is_ours
    }

    /// Whether somebody still waits for the answer of a request: it was neither cancelled nor replaced.
    #[must_use]
    pub fn is_awaited(&self, ticket: Ticket) -> bool {
        let exchange = self.tickets.get(&ticket).and_then(|key| self.exchanges.get(key));
        let stage = exchange.and_then(|exchange| exchange.done.as_ref()).map(|done| &done.stage);
        matches!(stage, Some(Stage::Executing { ticket: of, cancelled: false }) if *of == ticket)
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
        self.cancelled.remove(&ticket);
        let Some(key) = self.tickets.remove(&ticket) else { return Ok(()) };
        let limits = &self.config.limits;
        let exchange = self.exchanges.get_mut(&key);
        let Some(done) = exchange.and_then(|exchange| exchange.done_as(ticket)) else {
            self.replaced_ends(key.0);
            return Ok(());
        };
        let Stage::Executing { cancelled, .. } = done.stage else { return Ok(()) };
        let rate = done.rate;
        done.stage = Stage::Tombstone { until: now + limits.tombstone };
        let outcome = match answer {
            _ if cancelled => {
                let done = self.exchanges.get_mut(&key).and_then(|exchange| exchange.done.take());
                if let Some(done) = done {
                    self.settle_done(now, key, &done.known);
                }
                Ok(())
            }
            None => Ok(()),
            Some(answer) => self.hold(now, key, answer, rate),
        };
        self.book(key);
        self.arm(now, key);
        self.balance();
        outcome
    }

    /// Sends an answer, and holds it.
    fn hold(&mut self, now: Instant, key: Key, answer: Packet, rate: Option<u64>) -> Result<(), AnswerError> {
        let mut held = self.cut(now, key, answer, rate)?;
        if !self.is_latest(key) {
            held.rest();
        }
        // To have room for it the exchange itself may have given way.
        let Some(Exchange { done: Some(done), .. }) = self.exchanges.get_mut(&key) else {
            return Err(AnswerError::Full);
        };
        held.came(done.came);
        (done.stage, done.told, done.came) = (Stage::Held(Box::new(held)), now, 0);
        self.turn(key);
        Ok(())
    }

    fn cut(
        &mut self,
        now: Instant,
        key: Key,
        answer: Packet,
        rate: Option<u64>,
    ) -> Result<Held, AnswerError> {
        let limits = &self.config.limits;
        let form = Form {
            size: self.config.piece,
            bind_ip: self.bind_ip(key.0),
            ..Form::of_answer(self.config.dialect, key.1)
        };
        let size = answer.entity.len();
        let pieces = Pieces::cut(self.config.dialect, answer, form).map_err(AnswerError::Encode)?;
        if size > limits.entity || pieces.count() > limits.pieces {
            return Err(AnswerError::TooLarge);
        }
        if !self.makes_room(now, key.0.ip(), Held::cost_of(&pieces)) {
            return Err(AnswerError::Full);
        }
        let pace = self.paces.of(key.0.ip(), self.config.rate, rate);
        Ok(Held::new(now, &self.config, pieces, pace))
    }

    /// The next request that is being executed though its client has cancelled it, or has gone on to another one of
    /// that identity: nobody waits for its answer, which is to be given by [`Responder::answer`] all the same.
    pub fn poll_cancelled(&mut self) -> Option<Ticket> {
        self.cancelled.pop_first()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, number)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            if let Some(exchange) = self.exchanges.at_mut(number) {
                exchange.timer = None;
                let key = exchange.key;
                self.exchange_timeout(now, key);
                self.book(key);
                self.arm(now, key);
            }
        }
        self.balance();
    }

    fn exchange_timeout(&mut self, now: Instant, key: Key) {
        let limits = &self.config.limits;
        let latest = self.is_latest(key);
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
                Stage::Held(held) => {
                    if !latest {
                        held.rest();
                    }
                    turn = held.wakes(now) | held.begin_again(now);
                }
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
        while let Some((_, key)) = self.sending.pop_first() {
            let latest = self.is_latest(key);
            let Some(exchange) = self.exchanges.get_mut(&key) else { continue };
            exchange.turn = None;
            let Some(Done { stage: Stage::Held(held), .. }) = &mut exchange.done else { continue };
            if !latest {
                held.rest();
            }
            let ip = key.0.ip();
            let budget = (!self.config.allow.allows(ip)).then_some((&mut self.budget, ip));
            let again = held.sends_again();
            match held.turn(now, self.config.limits.hold, budget) {
                Turn::Piece(bytes) => {
                    self.stats.pieces += 1;
                    self.stats.again += u64::from(again);
                    self.turn(key);
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use fixp_codec::LAXCUS6;
    use fixp_codec::laxcus6::{answer, notify};

    use super::*;
    use crate::keep::control;

    #[test]
    fn those_who_are_gone_have_no_turn() {
        let now = Instant::now();
        let mut machine = Responder::new(Config::new(&LAXCUS6));
        let from = "127.0.0.1:4000".parse().unwrap();
        for identity in 1..=1000 {
            let log = Packet::new(notify::FLUSH_LOG).with_entity(vec![7; 100]);
            let pieces = Pieces::cut(&LAXCUS6, log, Form::of_request(&LAXCUS6, identity)).unwrap();
            machine.handle_datagram(now, from, &pieces.datagram(0).unwrap());
            let event = machine.poll_event().unwrap();
            machine.answer(now, event.ticket, Some(Packet::new(answer::OKAY))).unwrap();
            assert_eq!(machine.sending.len(), 1);
            machine.handle_datagram(now, from, &control::cancel(&LAXCUS6, None, identity).unwrap());
            assert_eq!((machine.sending.len(), machine.exchanges()), (0, 0));
            assert!(machine.sources.is_empty());
            machine.controls.clear();
        }
    }
}
