//! The side that asks: one exchange at a time, from one local port to one peer (SPEC 9.4, 9.8, 9.10).
//!
//! One at a time, because that is the protocol: the programs hold one group and one answer for an address and
//! port, and a second identity beside the first is refused (laxcus6) or spoils both (lexst1). Whoever wants more
//! exchanges takes more ports, a machine for each; and takes a new one for a port that [`Requester::is_spoilt`].
//!
//! ```
//! use std::time::Instant;
//! use fixp_codec::{LEXST1, Packet, lexst1::app};
//! use fixp_transport::keep::requester::{Config, Requester};
//!
//! let now = Instant::now();
//! let mut requester = Requester::new(Config::new(&LEXST1), "192.0.2.2:5000".parse().unwrap());
//! requester.request(now, Packet::new(app::ADD_LOG).with_entity(vec![7; 1000]))?;
//! assert_eq!(std::iter::from_fn(|| requester.poll_transmit(now)).count(), 3);
//!
//! // Nobody answers: it sends again, gives up in its time, and says CANCEL a few times.
//! while let Some(at) = requester.poll_timeout() {
//!     requester.handle_timeout(at);
//!     while requester.poll_transmit(at).is_some() {}
//! }
//! assert!(requester.poll_event().unwrap().is_err());
//! assert_eq!(requester.held(), 0);
//! # Ok::<(), fixp_transport::CallError>(())
//! ```
//!
//! # Where the programs' requesters fail
//!
//! - A lost piece of an answer is asked for after ACCEPTED, too: their servers serve that (Q20).
//! - An exchange has a deadline, whatever comes; CANCEL is said [`Config::cancels`] times at most (Q6, Q10).
//! - Datagrams that do not belong to the exchange are left alone (Q2, Q9, Q18).
//! - The last piece is sent once more where nothing is heard, since a laxcus6 server misses it late (Q13).
//! - A laxcus6 server that asks for pieces of another identity has a stale group: it is told to cancel that, and
//!   gets the request again (Q21). A lexst1 server has no cure: the port is spoilt (Q1). It is so as soon as a
//!   piece has left twice, since the server puts a late copy among the pieces of the next request; where the
//!   network itself doubles datagrams and brings them late, a request to lexst1 is safe on a port of its own only.
//!
//! A request whose every echo was lost is sent again, and a program executes it a second time. That is so with
//! their own requesters, too; only our responders know a request that they have executed. Where it must not be,
//! there is [`Config::repeat`].
//!
//! The pieces of a request leave at a [pace](super::pace): a burst at once, then a rate that falls where pieces are
//! asked for again.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Code, Decoder, Dialect, LAXCUS6, Packet, PacketRef, laxcus6};

use super::pace::Pace;
use super::pieces::{Added, Bounds, Form, Gather, Mark, PIECE, Pieces};
use super::table::{self, Table};
use super::wanted::Wanted;
use super::{Transmit, control};
use crate::{CallError, Cause};

/// What a requester is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The dialect of the peer.
    pub dialect: &'static Dialect,
    /// Until when there must be an answer.
    pub timeout: Duration,
    /// After how much silence is asked for the answer, or for its missing pieces at the latest.
    pub every: Duration,
    /// After how much silence its missing pieces are asked for where some of it has come, since its pieces leave
    /// together; then twice as long each time until one comes, up to [`Config::every`].
    pub soon: Duration,
    /// How long after it was sent a request is sent again, where nothing says that it has come.
    pub resend: Duration,
    /// How long after it was sent its last piece is, where nothing at all was heard; only for laxcus6, and where
    /// there are several.
    pub tail: Duration,
    /// After how long CANCEL is said again.
    pub cancel_every: Duration,
    /// How often it is said, at least once.
    pub cancels: u32,
    /// How often a stale group of the server is cancelled, and the request sent again for it.
    pub cures: u32,
    /// Datagrams that ask for missing pieces, at a time.
    pub retries: usize,
    /// The bytes of a piece.
    pub piece: usize,
    /// What an answer may have, and a request.
    pub bounds: Bounds,
    /// The identity of the first exchange. The programs' clients begin with 1.
    pub identity: i32,
    /// What BIND_IP says, where the dialect has it.
    pub bind_ip: Option<IpAddr>,
    /// Whether a request is sent again where nothing says that it has come: by default, as the programs do.
    ///
    /// Without that each piece leaves once, and again only where the peer asks for it by name; and one of them
    /// never again, so that no program has all of them twice: it asks for none that it has, but for a piece that
    /// comes late it would begin anew. Only a network that itself doubles datagrams can have it executed twice
    /// then. It costs: where one datagram of a request of one piece is lost, or the last pieces of one towards
    /// laxcus6 for 6 s, or all of them, or what lexst1's server had of it when it began to ask, the request waits,
    /// for its whole [`Config::timeout`] if need be; a stale group of a laxcus6 server (Q21) is cancelled
    /// once, since that server has taken nothing of the request then; at another the request fails.
    pub repeat: bool,
    /// Bytes a second at which pieces leave, see [`Pace::RATE`].
    pub rate: u64,
}

impl Config {
    /// The same for a peer of another dialect: the times that its dialect has become those of this one, where they were
    /// not set otherwise.
    #[must_use]
    pub fn in_dialect(self, dialect: &'static Dialect) -> Self {
        let (from, to) = (table::of(self.dialect), table::of(dialect));
        let time = |set, from, to| if set == from { to } else { set };
        Self {
            dialect,
            every: time(self.every, from.every, to.every),
            resend: time(self.resend, from.resend, to.resend),
            cancel_every: time(self.cancel_every, from.cancel_every, to.cancel_every),
            ..self
        }
    }

    /// Default of [`Config::timeout`], as laxcus6 has it.
    pub const TIMEOUT: Duration = Duration::from_secs(120);
    /// Default of [`Config::soon`].
    pub const SOON: Duration = Duration::from_millis(200);
    /// Default of [`Config::tail`].
    pub const TAIL: Duration = Duration::from_secs(1);
    /// Default of [`Config::cancels`].
    pub const CANCELS: u32 = 5;
    /// Default of [`Config::cures`].
    pub const CURES: u32 = 5;
    /// Default of [`Config::retries`]: 256 pieces of lexst1, 12,800 of laxcus6.
    pub const RETRIES: usize = 256;

    /// The defaults.
    #[must_use]
    pub fn new(dialect: &'static Dialect) -> Self {
        let table = table::of(dialect);
        Self {
            dialect,
            timeout: Self::TIMEOUT,
            every: table.every,
            soon: Self::SOON,
            resend: table.resend,
            tail: Self::TAIL,
            cancel_every: table.cancel_every,
            cancels: Self::CANCELS,
            cures: Self::CURES,
            retries: Self::RETRIES,
            piece: PIECE,
            bounds: Bounds::default(),
            identity: 1,
            bind_ip: None,
            repeat: true,
            rate: Pace::RATE,
        }
    }
}

/// The major command of calls in laxcus6.
const CALL: u8 = 2;
/// What each piece costs that has been asked for, where that is remembered.
const AGAIN_COST: usize = 16;

/// See the [module](self).
#[derive(Debug)]
pub struct Requester {
    config: Config,
    table: &'static Table,
    peer: SocketAddr,
    next_identity: i32,
    state: State,
    controls: VecDeque<Bytes>,
    events: VecDeque<Result<Packet, CallError>>,
    spoilt: bool,
    pace: Pace,
    /// Until when the pace has pieces wait.
    waits: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Idle,
    Asking(Box<Asking>),
    Cancelling { identity: i32, left: u32, again: Instant },
}

#[derive(Debug)]
struct Asking {
    pieces: Pieces,
    /// Whether it is a call, the only kind that laxcus6 wants a cipher for.
    is_call: bool,
    deadline: Instant,
    /// The whole request has come, the peer says.
    accepted: bool,
    /// The peer has asked for pieces or sent some.
    heard: bool,
    /// Whether a whole copy has been given out, and how far the first one has come.
    sent: bool,
    /// What remains of a whole copy that is being sent.
    burst: Range<u32>,
    asked: Wanted,
    answer: Option<Gather>,
    /// When it has been silent for long enough.
    quiet: Instant,
    /// For how long that is, while an answer comes.
    pause: Duration,
    holes: Option<Holes>,
    /// When the last sign of the peer came.
    last: Instant,
    resend: Instant,
    tail: Option<Instant>,
    cures: u32,
    /// Until when no stale group is cancelled.
    cured: Option<Instant>,
    /// How many pieces have left, copies too.
    left: u64,
    /// The pieces that have been asked for, where none is to leave twice unasked.
    again: BTreeSet<u32>,
}

/// What of an answer is asked for while the rest still comes, so that it comes slower: each hole once, when it has been
/// there for a while.
#[derive(Debug)]
struct Holes {
    /// Up to where that was done, and is next.
    asked: u32,
    next: u32,
    at: Instant,
}

impl Requester {
    /// A requester that has not asked anything.
    #[must_use]
    pub fn new(config: Config, peer: SocketAddr) -> Self {
        Self {
            table: table::of(config.dialect),
            peer,
            next_identity: config.identity,
            state: State::Idle,
            controls: VecDeque::new(),
            events: VecDeque::new(),
            spoilt: false,
            pace: Pace::towards(peer.ip(), config.rate),
            waits: None,
            config,
        }
    }

    /// The same, but that it goes on at the pace of one before it: what was learned of its peer.
    #[must_use]
    pub fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// The pace at which its pieces leave.
    #[must_use]
    pub const fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Begins an exchange. It ends by one event.
    ///
    /// # Errors
    ///
    /// All of them are certain not to have been sent: [`Cause::Full`] unless it [is idle](Requester::is_idle),
    /// [`Cause::TooLarge`] past the bounds, [`Cause::Encode`].
    pub fn request(&mut self, now: Instant, packet: Packet) -> Result<(), CallError> {
        if !self.is_idle() {
            return Err(CallError::not_sent(Cause::Full));
        }
        let identity = self.next_identity;
        let form =
            Form { size: self.config.piece, bind_ip: self.config.bind_ip, ..self.form_of_request(identity) };
        let (size, limit) = (packet.entity.len(), self.config.bounds.entity);
        let is_call = matches!(packet.code, Code::Request { major: CALL, .. });
        let pieces = Pieces::cut(self.config.dialect, packet, form)
            .map_err(|error| CallError::not_sent(Cause::Encode(error)))?;
        if size > limit || pieces.count() > self.config.bounds.pieces {
            return Err(CallError::not_sent(Cause::TooLarge { size, limit }));
        }
        // As laxcus6 wraps; lexst1 would go on with negative ones.
        self.next_identity = identity.checked_add(1).unwrap_or(1);
        self.state = State::Asking(Box::new(Asking {
            deadline: now + self.config.timeout,
            accepted: false,
            heard: false,
            sent: false,
            burst: 0..pieces.count(),
            asked: Wanted::new(pieces.count()),
            answer: None,
            quiet: now + self.config.every,
            pause: self.config.soon,
            holes: None,
            last: now,
            resend: now + self.config.resend,
            tail: None,
            cures: self.config.cures,
            cured: None,
            left: 0,
            again: BTreeSet::new(),
            is_call,
            pieces,
        }));
        Ok(())
    }

    fn form_of_request(&self, identity: i32) -> Form {
        Form::of_request(self.config.dialect, identity)
    }

    /// Whether the next exchange may begin. After an answer that is when CANCEL has been answered, or said often
    /// enough.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether the next exchange should leave from another port: the peer holds something for this one that can
    /// not be cleared.
    #[must_use]
    pub const fn is_spoilt(&self) -> bool {
        self.spoilt
    }

    /// The bytes held: the request, what has come of the answer, and what waits to be sent.
    #[must_use]
    pub fn held(&self) -> usize {
        let asking = match &self.state {
            State::Asking(asking) => {
                asking.pieces.cost()
                    + asking.answer.as_ref().map_or(0, Gather::cost)
                    + asking.asked.cost()
                    + asking.again.len() * AGAIN_COST
            }
            _ => 0,
        };
        asking + self.controls.iter().map(Bytes::len).sum::<usize>()
    }

    /// Gives up: no event comes. What was sent is cancelled.
    pub fn abandon(&mut self, now: Instant) {
        if let State::Asking(asking) = &self.state {
            let (identity, sent) = (asking.pieces.identity(), asking.left > 0);
            self.finish(now, identity, sent);
            self.spoilt |= sent && self.table.cancel_is_idle;
        }
    }

    /// A datagram has come to the port.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        // Only whole datagrams of the peer itself are looked at.
        if from != self.peer {
            return;
        }
        let Ok(packet) = Decoder::new(self.config.dialect).packet(bytes) else { return };
        match self.state {
            State::Idle => {}
            State::Cancelling { .. } => self.cancelling(now, &packet),
            State::Asking(_) => self.asking(now, &packet),
        }
    }

    fn cancelling(&mut self, now: Instant, packet: &PacketRef<'_>) {
        let State::Cancelling { identity, left, again } = &mut self.state else { return };
        let code = packet.code();
        if code == self.table.retry && control::identity(packet) == Some(*identity) {
            // A late piece has opened a group there.
            if *left > 0 {
                *again = now;
            }
        } else if (code == self.table.cancel_okay || code == self.table.cancel_not_found)
            && !Mark::is_claimed(packet)
        {
            // In lexst1 OKAY says that there is a group, and that it stays.
            self.spoilt |= self.table.cancel_is_idle && code == self.table.cancel_okay;
            self.state = State::Idle;
            self.controls.clear();
        }
    }

    fn asking(&mut self, now: Instant, packet: &PacketRef<'_>) {
        let State::Asking(asking) = &mut self.state else { return };
        let (code, identity) = (packet.code(), asking.pieces.identity());
        let named = control::identity(packet);
        if code == self.table.retry {
            match named {
                Some(stale) if stale != identity => self.stale(now, stale),
                Some(_) if !asking.accepted => {
                    (asking.heard, asking.tail) = (true, None);
                    asking.heard_at(now, self.config.every);
                    let lost = asking.serve(self.config.dialect, self.table, packet, self.config.repeat);
                    // Only of what has left can anything be lost: laxcus6 also asks for what is on its way.
                    if lost > 0 {
                        self.pace.lost(now, lost * asking.pieces.longest());
                    }
                }
                _ => {}
            }
            return;
        }
        if self.table.accepted.is_some_and(|(accepted, _)| accepted == code) && !Mark::is_claimed(packet) {
            if named == Some(identity) {
                asking.accepted = true;
                asking.tail = None;
                asking.asked.clear();
                asking.burst = 0..0;
                asking.heard_at(now, self.config.every);
            }
            return;
        }
        if code.is_request() {
            return;
        }
        let Some(mark) = Mark::of(self.config.dialect, packet) else {
            let refuses = self.config.dialect.name() != "lexst1" && LAXCUS6.reads(code);
            // It names no identity, so that it may be a stray one. It is said to calls only, and never after this.
            let taken = asking.accepted || asking.heard || asking.answer.is_some();
            if refuses && asking.is_call && !taken && code == laxcus6::answer::ENCRYPT_CONTENT_NOTIFY {
                // It is said instead of serving.
                let Code::Answer(number) = code else { return };
                self.fail(now, CallError::not_sent(Cause::Security(number)));
            }
            return;
        };
        if mark.identity != identity {
            return;
        }
        let gather = asking.answer.get_or_insert_with(|| Gather::new(mark));
        let added = gather.add(mark, packet, 0, self.config.bounds);
        if gather.is_empty() {
            asking.answer = None;
        }
        match added {
            Added::Kept | Added::Known => {
                // An answer says that the request has come.
                (asking.heard, asking.tail) = (true, None);
                asking.burst = 0..0;
                asking.asked.clear();
                if added == Added::Kept {
                    asking.pause = self.config.soon;
                }
                asking.heard_at(now, self.config.every);
                if added == Added::Kept {
                    self.ask_for_holes(now);
                }
            }
            Added::Foreign | Added::Differs | Added::Refused => {}
            Added::TooLarge => {
                let limit = self.config.bounds.entity;
                let size = mark.least(packet.entity().len()).max(limit.saturating_add(1));
                self.fail(now, CallError::possibly_executed(Cause::TooLarge { size, limit }));
            }
            Added::Whole => {
                let packet = asking.answer.take().and_then(|gather| gather.join(self.config.dialect));
                if let Some(packet) = packet {
                    self.pace.came_through(asking.pieces.longest() * asking.pieces.count() as usize);
                    self.events.push_back(Ok(packet));
                    self.finish(now, identity, true);
                }
            }
        }
    }

    /// The peer holds a group of another identity for this port.
    fn stale(&mut self, now: Instant, stale: i32) {
        let State::Asking(asking) = &mut self.state else { return };
        if self.table.cancel_is_idle {
            self.spoilt = true;
            return;
        }
        // One cure at a time: a server repeats its question each second.
        if asking.accepted || asking.answer.is_some() || asking.cured.is_some_and(|until| now < until) {
            return;
        }
        let once = !self.config.repeat;
        if once && !asking.heard && asking.cured.is_some() {
            // What became of the copy is not known, so that one more would be a repetition.
            let of = if asking.sent { CallError::possibly_executed } else { CallError::not_sent };
            self.fail(now, of(Cause::Unexpected));
            return;
        }
        if asking.cures == 0 {
            return;
        }
        asking.cures -= 1;
        asking.cured = Some(now + self.config.every / 2);
        if !(once && asking.heard) {
            // Of this request that server has taken nothing.
            asking.burst = 0..asking.pieces.count();
            asking.asked.clear();
        }
        asking.heard_at(now, self.config.every);
        self.say(|dialect, bind_ip| control::cancel(dialect, bind_ip, stale));
    }

    fn say(&mut self, write: impl FnOnce(&Dialect, Option<IpAddr>) -> Result<Bytes, fixp_codec::Error>) {
        if let Ok(bytes) = write(self.config.dialect, self.config.bind_ip) {
            self.controls.push_back(bytes);
        }
    }

    fn fail(&mut self, now: Instant, error: CallError) {
        let State::Asking(asking) = &self.state else { return };
        let (identity, sent) = (asking.pieces.identity(), asking.left > 0);
        self.events.push_back(Err(error));
        self.finish(now, identity, sent);
        // CANCEL clears a group at laxcus6, and nothing at lexst1.
        self.spoilt |= sent && self.table.cancel_is_idle;
    }

    /// Ends an exchange, by CANCEL where the peer knows of it.
    fn finish(&mut self, now: Instant, identity: i32, known: bool) {
        if let State::Asking(asking) = &self.state {
            // A copy may still be on its way: in lexst1 it would be put among the pieces of the next request,
            // whatever its identity, and be executed with them.
            self.spoilt |= self.table.cancel_is_idle && asking.left > u64::from(asking.pieces.count());
        }
        self.controls.clear();
        self.state = State::Idle;
        if known {
            let left = self.config.cancels.saturating_sub(1);
            self.state = State::Cancelling { identity, left, again: now + self.config.cancel_every };
            self.say(|dialect, bind_ip| control::cancel(dialect, bind_ip, identity));
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Idle => {}
            State::Cancelling { identity, left, again } if *again <= now => {
                let identity = *identity;
                if *left == 0 {
                    // Nobody is there. What it may hold for this port is not known.
                    self.spoilt = true;
                    self.state = State::Idle;
                    self.controls.clear();
                } else {
                    *left -= 1;
                    *again = now + self.config.cancel_every;
                    self.say(|dialect, bind_ip| control::cancel(dialect, bind_ip, identity));
                }
            }
            State::Cancelling { .. } => {}
            State::Asking(asking) if asking.deadline <= now => {
                let cause = Cause::Timeout;
                let error = if asking.sent || asking.accepted || asking.answer.is_some() {
                    CallError::possibly_executed(cause)
                } else {
                    CallError::not_sent(cause)
                };
                self.fail(now, error);
            }
            State::Asking(asking) => {
                if asking.tail.is_some_and(|at| at <= now) {
                    asking.tail = None;
                    if asking.sent && !asking.heard {
                        asking.ask(asking.pieces.count() - 1);
                    }
                }
                if asking.quiet <= now {
                    self.silence(now);
                }
            }
        }
    }

    /// Nothing has come for as long as the configuration says.
    fn silence(&mut self, now: Instant) {
        let State::Asking(asking) = &mut self.state else { return };
        asking.quiet = now + self.config.every;
        if !asking.burst.is_empty() || !self.controls.is_empty() {
            // It is still being sent.
            return;
        }
        let most = self.config.retries * self.table.retry_serials;
        let missing = if let Some(answer) = &asking.answer {
            asking.pause = (asking.pause * 2).min(self.config.every);
            asking.quiet = now + asking.pause;
            answer.missing(false, most)
        } else {
            let silent = now.saturating_duration_since(asking.last);
            // A server that has the request and whose answer is lost may still have it: ask for its first piece.
            let waits = if self.table.accepted.is_some() {
                asking.accepted
            } else {
                asking.heard && silent >= self.config.every * 2
            };
            if waits {
                vec![0]
            } else {
                // lexst1's client does not send all again when it was asked for something: its server asks on.
                let may = self.config.repeat && (self.table.accepted.is_some() || !asking.heard);
                if may && now >= asking.resend {
                    asking.resend = now + self.config.resend;
                    self.pace.lost(now, 0);
                    asking.asked.clear();
                    asking.burst = 0..asking.pieces.count();
                }
                return;
            }
        };
        self.ask(&missing);
    }

    /// Asks for what has been missing for a while, though more comes.
    fn ask_for_holes(&mut self, now: Instant) {
        let State::Asking(asking) = &mut self.state else { return };
        let Some(answer) = &asking.answer else { return };
        let (next, at) = (answer.end(), now + self.config.soon);
        let holes = asking.holes.get_or_insert(Holes { asked: 0, next, at });
        if holes.at > now || !self.controls.is_empty() {
            return;
        }
        let most = self.config.retries * self.table.retry_serials;
        let missing = answer.holes(holes.asked..holes.next, most);
        *holes = Holes { asked: holes.next, next, at };
        self.ask(&missing);
    }

    /// Asks for pieces of the answer.
    fn ask(&mut self, missing: &[u32]) {
        let State::Asking(asking) = &self.state else { return };
        let identity = asking.pieces.identity();
        let first = self.config.dialect.first_serial();
        let serials: Vec<u32> = missing.iter().map(|index| first + index).collect();
        for serials in serials.chunks(self.table.retry_serials) {
            self.say(|dialect, bind_ip| control::retry(dialect, bind_ip, identity, serials));
        }
    }

    /// When [`Requester::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Cancelling { again, .. } => Some(*again),
            State::Asking(asking) => {
                let next = asking.deadline.min(asking.quiet);
                [asking.tail, self.waits].into_iter().flatten().chain([next]).min()
            }
        }
    }

    /// The next datagram to be sent now. Where there is none, those that wait for their pace are announced by
    /// [`Requester::poll_timeout`].
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        let mut wire = Vec::new();
        let written = self.poll_transmit_into(now, &mut wire, 1, usize::MAX) > 0;
        written.then(|| Transmit { to: self.peer, bytes: wire.into() })
    }

    /// The same for as many datagrams of one length as there are, and perhaps a shorter one behind them: they are
    /// written to the end of a buffer, at most so many, and two or more only within so many bytes. Gives that
    /// length, 0 where there is none.
    pub fn poll_transmit_into(
        &mut self,
        now: Instant,
        buffer: &mut Vec<u8>,
        most: usize,
        bytes: usize,
    ) -> usize {
        let (begin, mut segment) = (buffer.len(), 0);
        for _ in 0..most {
            let start = buffer.len();
            let fits = |length| segment == 0 || length <= segment && start - begin + length <= bytes;
            if !self.write_next(now, buffer, fits) {
                break;
            }
            let length = buffer.len() - start;
            segment = segment.max(length);
            if length < segment {
                break;
            }
        }
        segment
    }

    /// Writes the next datagram to be sent now. One that does not fit stays the next.
    fn write_next(&mut self, now: Instant, wire: &mut Vec<u8>, fits: impl Fn(usize) -> bool) -> bool {
        if let Some(control) = self.controls.front() {
            if !fits(control.len()) {
                return false;
            }
            wire.extend_from_slice(control);
            self.controls.pop_front();
            return true;
        }
        self.waits = None;
        let State::Asking(asking) = &mut self.state else { return false };
        let Some(index) = asking.asked.first().or_else(|| asking.burst.clone().next()) else { return false };
        if let Err(at) = self.pace.ready(now) {
            self.waits = Some(at);
            return false;
        }
        let start = wire.len();
        if !asking.pieces.write_into(wire, index) || !fits(wire.len() - start) {
            wire.truncate(start);
            return false;
        }
        if asking.asked.pop().is_none() {
            asking.burst.next();
        }
        if index + 1 == asking.pieces.count() && !asking.sent {
            asking.sent = true;
            // These times begin when all has left.
            asking.resend = now + self.config.resend;
            let tail = self.table.accepted.is_some() && self.config.repeat && asking.pieces.count() > 1;
            asking.tail = (tail && !asking.heard).then(|| now + self.config.tail);
        }
        asking.left += 1;
        self.pace.sent(wire.len() - start);
        true
    }

    /// How an exchange has ended: by its answer, or why not.
    pub fn poll_event(&mut self) -> Option<Result<Packet, CallError>> {
        self.events.pop_front()
    }
}

impl Asking {
    fn heard_at(&mut self, now: Instant, every: Duration) {
        let pause = if self.answer.is_some() { self.pause.min(every) } else { every };
        (self.last, self.quiet) = (now, now + pause);
    }

    /// Sends a piece, unless it will be sent anyway.
    fn ask(&mut self, index: u32) {
        if !self.burst.contains(&index) {
            self.asked.insert(index);
        }
    }

    /// Sends what a RETRY asks for. Tells how many of that had left, and may be lost.
    fn serve(&mut self, dialect: &Dialect, table: &Table, packet: &PacketRef<'_>, repeat: bool) -> usize {
        let before = self.asked.len();
        let head = packet.head();
        for index in control::asked(dialect, table, &head, self.pieces.count()) {
            if !repeat && !self.again.contains(&index) {
                if self.again.len() + 1 >= self.pieces.count() as usize {
                    // It would have all of them twice.
                    continue;
                }
                self.again.insert(index);
            }
            self.ask(index);
        }
        self.asked.len() - before
    }
}
