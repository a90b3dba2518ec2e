//! The machine of one socket: all peers, as client and as server.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Dialect, Packet};
use foldhash::quality::FixedState;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::association::{Association, End, Role};
use super::config::Config;
use super::event::{AssociationId, Event, Ticket};
use super::shared::{Gathering, Shared};
use super::stats::Stats;
use super::unbegun::Unbegun;
use super::wire::{self, Datagram, Hello, Items, Segment};
use crate::keep::Ledger;
use crate::keep::ledger::Hold;
use crate::keep::responder::AnswerError;
use crate::{CallError, Cause};

/// Datagrams of the same length to one peer, the last of them perhaps shorter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmission {
    /// Whom they go to.
    pub to: SocketAddr,
    /// The length of each but the last.
    pub segment: usize,
}

/// See the [module](super).
#[derive(Debug)]
pub struct Endpoint {
    shared: Shared,
    /// Of the numbers of associations: one must not tell the next, since it proves an address.
    random: StdRng,
    associations: BTreeMap<AssociationId, Association>,
    /// Associations whose client has not proven its address, the one that was silent for longest first.
    halves: BTreeMap<u64, Half>,
    /// By our own number.
    numbers: HashMap<u64, Place, FixedState>,
    /// By the peer's number, and our role. Neither of the two maps is ever gone through.
    peers: HashMap<(SocketAddr, u64, bool), Place, FixedState>,
    /// How many associations there are of clients of each network.
    networks: BTreeMap<IpAddr, usize>,
    timers: BTreeSet<(Instant, AssociationId)>,
    /// Those that may have something to send, in turns.
    row: VecDeque<AssociationId>,
    next_association: u64,
    next_half: u64,
    unbegun: Unbegun,
    closes: Closes,
    closing: bool,
}

/// Where an association is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Half(u64),
    Whole(AssociationId),
}

/// An association whose client has not proven its address.
#[derive(Debug)]
struct Half {
    peer: SocketAddr,
    dialect: &'static Dialect,
    hello: Hello,
    number: u64,
    /// When something of its client came that would begin it.
    heard: Instant,
    /// The bytes that came from there, and that were sent there.
    came: usize,
    sent: usize,
    _hold: Hold,
}

/// The network of an address, which its owner has as a whole, perhaps: an IPv4 /24, an IPv6 /56.
fn network(peer: SocketAddr) -> IpAddr {
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() >> 8 << 8).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 72 << 72).into(),
    }
}

/// So many times the bytes that came are sent to an address that is not proven.
const AMPLIFICATION: usize = 3;
/// A timer is set at least so far ahead, whatever is due: what is due is done by then, or waits to be sent.
const SOON: Duration = Duration::from_millis(1);

/// How many CLOSE for unknown associations have left in this second.
#[derive(Clone, Copy, Debug)]
struct Closes {
    since: Option<Instant>,
    left: u64,
}

impl Closes {
    fn take(&mut self, now: Instant, most: u64) -> bool {
        if self.since.is_none_or(|since| now >= since + Duration::from_secs(1)) {
            *self = Self { since: Some(now), left: most };
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

impl Endpoint {
    /// An endpoint without associations. The seed must be one that nobody can guess: the numbers that prove
    /// addresses come from it.
    #[must_use]
    pub fn new(config: Config, ledger: Ledger, seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            shared: Shared::new(config, ledger),
            random: StdRng::seed_from_u64(seed),
            associations: BTreeMap::new(),
            halves: BTreeMap::new(),
            numbers: HashMap::with_hasher(hasher.clone()),
            peers: HashMap::with_hasher(hasher),
            networks: BTreeMap::new(),
            timers: BTreeSet::new(),
            row: VecDeque::new(),
            next_association: 0,
            next_half: 0,
            unbegun: Unbegun::default(),
            closes: Closes { since: None, left: 0 },
            closing: false,
        }
    }

    /// A number that nobody has.
    fn number(&mut self) -> u64 {
        loop {
            let number = self.random.next_u64();
            if !self.numbers.contains_key(&number) {
                return number;
            }
        }
    }

    /// Begins an association as its client. Requests can be made at once; it ends by [`Event::Closed`], which comes
    /// at once where there is no room for it.
    pub fn connect(&mut self, now: Instant, peer: SocketAddr, dialect: &'static Dialect) -> AssociationId {
        self.next_association += 1;
        let id = AssociationId(self.next_association);
        let hold = Hold::of(&self.shared.ledger, Config::ASSOCIATION_COST);
        let Some(hold) =
            hold.filter(|_| !self.closing && self.associations.len() < self.shared.config.associations)
        else {
            self.shared.event(Event::Closed { association: id });
            return id;
        };
        let (number, secret) = (self.number(), self.random.next_u64());
        let association =
            Association::new(now, Role::Client, (id, number, secret), (peer, dialect), &self.shared, hold);
        self.numbers.insert(number, Place::Whole(id));
        self.associations.insert(id, association);
        self.touch(id);
        id
    }

    /// Begins an exchange with a request that is in memory. It ends by one [`Event::Answer`], at the latest when
    /// the time of its DEADLINE (SPEC 10.4) is over, if it has one.
    ///
    /// # Errors
    ///
    /// All of them are certain not to have been sent: [`Cause::Closed`] where the association has ended,
    /// [`Cause::Full`] where the ledger is, [`Cause::Encode`], [`Cause::Timeout`] where it has no time.
    pub fn request(
        &mut self,
        now: Instant,
        association: AssociationId,
        mut request: Packet,
    ) -> Result<Ticket, CallError> {
        let entity = std::mem::take(&mut request.entity);
        self.ask(now, association, (&request, entity), None, None)
    }

    /// The same, where an entity of so many bytes follows by [`Endpoint::write`].
    ///
    /// # Errors
    ///
    /// Those of [`Endpoint::request`].
    pub fn request_stream(
        &mut self,
        now: Instant,
        association: AssociationId,
        mut head: Packet,
        len: u64,
    ) -> Result<Ticket, CallError> {
        let entity = std::mem::take(&mut head.entity);
        self.ask(now, association, (&head, entity), None, Some(len))
    }

    /// Both of these, where the time that is left is perhaps to be added to the messages.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        id: AssociationId,
        packet: (&Packet, Bytes),
        left: Option<i32>,
        len: Option<u64>,
    ) -> Result<Ticket, CallError> {
        let Some(association) = self.associations.get_mut(&id) else {
            return Err(CallError::not_sent(Cause::Closed));
        };
        let outcome = association.request(now, &mut self.shared, packet, left, len);
        if stand_in_row(association, &mut self.row) {
            self.end(id);
        }
        outcome
    }

    /// Why a request has no answer, where its caller gives up: whether anything of it was sent.
    pub(crate) fn error(&self, ticket: Ticket, cause: Cause) -> CallError {
        match self.associations.get(&ticket.association) {
            Some(association) => association.error(ticket, cause),
            None => CallError::possibly_executed(cause),
        }
    }

    /// As a client: nobody waits for the answer any more, and no event comes. As a server: there will be no answer.
    pub fn cancel(&mut self, now: Instant, ticket: Ticket) {
        if let Some(association) = self.associations.get_mut(&ticket.association) {
            association.cancel(now, &mut self.shared, ticket);
            self.touch(ticket.association);
        }
    }

    /// Answers a request; with nothing, the client is told that there is no answer. Nothing happens where nobody
    /// waits any more.
    ///
    /// # Errors
    ///
    /// Why the answer is not sent. The client is told that it was executed, and that there is no answer.
    pub fn answer(
        &mut self,
        now: Instant,
        ticket: Ticket,
        answer: Option<Packet>,
    ) -> Result<(), AnswerError> {
        self.give(now, ticket, answer.map(|answer| (answer, None)))
    }

    /// The same, where an entity of so many bytes follows by [`Endpoint::write`].
    ///
    /// # Errors
    ///
    /// Those of [`Endpoint::answer`].
    pub fn answer_stream(
        &mut self,
        now: Instant,
        ticket: Ticket,
        head: Packet,
        len: u64,
    ) -> Result<(), AnswerError> {
        self.give(now, ticket, Some((head, Some(len))))
    }

    fn give(
        &mut self,
        now: Instant,
        ticket: Ticket,
        answer: Option<(Packet, Option<u64>)>,
    ) -> Result<(), AnswerError> {
        let Some(association) = self.associations.get_mut(&ticket.association) else { return Ok(()) };
        let outcome = association.answer(now, &mut self.shared, ticket, answer);
        if stand_in_row(association, &mut self.row) {
            self.end(ticket.association);
        }
        outcome
    }

    /// Writes the next bytes of an entity, as many as there is room for; those are gone from `bytes`. False where
    /// some are left: [`Event::Writable`] tells when there is room again. Of an exchange that has ended, and of
    /// what is more than the entity was to have, nothing is kept.
    pub fn write(&mut self, now: Instant, ticket: Ticket, bytes: &mut Bytes) -> bool {
        let Some(association) = self.associations.get_mut(&ticket.association) else {
            bytes.clear();
            return true;
        };
        let all = association.write(now, ticket, bytes);
        self.touch(ticket.association);
        all
    }

    /// Reads the next bytes of an entity. Nothing where none are there: [`Event::Readable`] tells when there are.
    pub fn read(&mut self, now: Instant, ticket: Ticket) -> Option<Bytes> {
        let association = self.associations.get_mut(&ticket.association)?;
        let bytes = association.read(now, &mut self.shared, ticket)?;
        self.touch(ticket.association);
        Some(bytes)
    }

    /// Ends an association when all that is under way in it has ended. New requests are refused from now on, on
    /// either side.
    pub fn close(&mut self, _now: Instant, association: AssociationId) {
        if let Some(open) = self.associations.get_mut(&association) {
            open.close();
            self.touch(association);
        }
    }

    /// The same for all associations; no new one is opened by a peer from now on.
    pub fn close_all(&mut self, now: Instant) {
        self.closing = true;
        while let Some(&half) = self.halves.keys().next() {
            self.forget_half(now, half);
        }
        let ids: Vec<AssociationId> = self.associations.keys().copied().collect();
        for id in ids {
            self.close(now, id);
        }
    }

    /// A datagram has come to the socket, in this dialect. False where it is not one of the own transport, and
    /// somebody else's.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        dialect: &'static Dialect,
        bytes: &[u8],
    ) -> bool {
        if !wire::is_own(dialect, bytes) {
            return false;
        }
        self.shared.stats.datagrams_received += 1;
        self.shared.stats.bytes_received += bytes.len() as u64;
        let mut items = std::mem::take(&mut self.shared.items);
        let taken = match wire::read(dialect, bytes, &mut items) {
            None => false,
            Some(Datagram::Open(hello)) => self.on_open(now, from, dialect, hello, bytes.len()),
            Some(Datagram::Opened { association, hello }) => {
                self.on_opened(now, from, dialect, association, hello)
            }
            Some(Datagram::Segment(segment)) => {
                self.on_segment(now, from, dialect, (&segment, &items), bytes.len())
            }
            Some(Datagram::Close { association }) => {
                let place = self.numbers.get(&association).copied();
                self.on_close(now, from, place, End::Gone)
            }
            Some(Datagram::Unknown { sender, unbegun }) => {
                let client = self.peers.get(&(from, sender, true)).copied();
                let place = client.or_else(|| self.peers.get(&(from, sender, false)).copied());
                self.on_close(now, from, place, if unbegun { End::Unbegun } else { End::Gone })
            }
        };
        self.shared.items = items;
        self.shared.stats.datagrams_dropped += u64::from(!taken);
        true
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.unbegun.handle_timeout(now);
        while let Some((&half, Half { heard, .. })) = self.halves.first_key_value()
            && *heard + self.shared.config.half_open_life <= now
        {
            self.forget_half(now, half);
        }
        while let Some(&(at, id)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(association) = self.associations.get_mut(&id) {
                association.timer = None;
                association.handle_timeout(now, &mut self.shared);
                self.touch(id);
            }
        }
    }

    /// When [`Endpoint::handle_timeout`] is to be called next, as far as is known once [`Endpoint::poll_transmit`]
    /// has nothing more: what has something to send has its timer set when that has left.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let half = self.halves.first_key_value();
        let half = half.map(|(_, half)| half.heard + self.shared.config.half_open_life);
        self.timers.first().map(|&(at, _)| at).into_iter().chain(half).chain(self.unbegun.until).min()
    }

    /// Appends datagrams to be sent to a buffer: up to `most` of one length to one peer, the last of them perhaps
    /// shorter, and never more bytes than a single datagram can have.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>, most: usize) -> Option<Transmission> {
        let start = buffer.len();
        if let Some((to, bytes, _hold)) = self.shared.controls.pop_front() {
            buffer.extend_from_slice(&bytes);
            self.sent(1, bytes.len());
            return Some(Transmission { to, segment: bytes.len() });
        }
        while let Some(id) = self.row.pop_front() {
            let Some(association) = self.associations.get_mut(&id) else { continue };
            association.queued = false;
            let segment = association.poll_transmit(now, &mut self.shared, buffer, most);
            let to = association.peer;
            let more = segment.is_some() && association.wants_transmit();
            if !more && association.end.is_none() {
                arm(now, association, &self.shared, &mut self.timers);
            } else if stand_in_row(association, &mut self.row) {
                self.end(id);
            }
            if let Some(segment) = segment {
                let bytes = buffer.len() - start;
                self.sent(bytes.div_ceil(segment), bytes);
                return Some(Transmission { to, segment });
            }
        }
        None
    }

    /// Whether there may be something to send.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        !(self.row.is_empty() && self.shared.controls.is_empty())
    }

    /// What has happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shared.poll_event()
    }

    /// Whether there is no exchange at all.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.associations.values().all(|association| association.exchanges() == 0)
    }

    /// The counters alone, without counting what there is at the moment.
    pub(crate) const fn counted(&self) -> &Stats {
        &self.shared.stats
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            associations: self.associations.len(),
            half_open: self.halves.len(),
            exchanges: self.associations.values().map(Association::exchanges).sum(),
            ..self.shared.stats
        }
    }
}

/// Puts an association into the row of those that may have something to send. True where it has ended instead.
#[inline]
fn stand_in_row(association: &mut Association, row: &mut VecDeque<AssociationId>) -> bool {
    if association.is_drained() {
        association.end.get_or_insert(End::Closed);
    }
    let ended = association.end.is_some();
    if !ended && !std::mem::replace(&mut association.queued, true) {
        row.push_back(association.id);
    }
    ended
}

/// Sets the timer of an association. One that is too early stays, and is set anew when it is due: mostly the
/// time moves on with each datagram.
#[inline]
fn arm(
    now: Instant,
    association: &mut Association,
    shared: &Shared,
    timers: &mut BTreeSet<(Instant, AssociationId)>,
) {
    if association.timer.is_some_and(|timer| association.is_due_behind(now, timer, shared)) {
        return;
    }
    let Some(at) = association.next_timeout(shared) else { return };
    let at = if at <= now { now + SOON } else { at };
    if association.timer.is_some_and(|timer| timer <= at) {
        return;
    }
    if let Some(timer) = association.timer.replace(at) {
        timers.remove(&(timer, association.id));
    }
    timers.insert((at, association.id));
}

/// What comes.
impl Endpoint {
    fn on_open(
        &mut self,
        now: Instant,
        from: SocketAddr,
        dialect: &'static Dialect,
        hello: Hello,
        came: usize,
    ) -> bool {
        let key = (from, hello.number, false);
        let half = match self.peers.get(&key) {
            Some(&Place::Half(half)) => self.refresh_half(now, half),
            // A copy from the network: the client has our number already.
            Some(Place::Whole(_)) => return false,
            None => {
                let config = &self.shared.config;
                if self.closing || config.half_open == 0 || !self.has_place(from) {
                    return false;
                }
                while self.halves.len() >= self.shared.config.half_open
                    && let Some(&oldest) = self.halves.keys().next()
                {
                    self.forget_half(now, oldest);
                }
                let Some(hold) = Hold::of(&self.shared.ledger, Config::HALF_OPEN_COST) else { return false };
                let number = self.number();
                self.next_half += 1;
                let half =
                    Half { peer: from, dialect, hello, number, heard: now, came: 0, sent: 0, _hold: hold };
                self.numbers.insert(number, Place::Half(self.next_half));
                self.peers.insert(key, Place::Half(self.next_half));
                self.halves.insert(self.next_half, half);
                self.next_half
            }
        };
        let Some(half) = self.halves.get_mut(&half) else { return false };
        if half.dialect.name() != dialect.name() {
            return false;
        }
        half.came += came;
        let ours = Hello::of(&self.shared.config, half.number);
        let Ok(opened) = self.shared.sheet.opened(dialect, hello.number, ours) else { return false };
        if half.sent + opened.len() <= AMPLIFICATION * half.came {
            half.sent += opened.len();
            self.shared.control(from, opened);
        }
        true
    }

    fn on_opened(
        &mut self,
        now: Instant,
        from: SocketAddr,
        dialect: &'static Dialect,
        number: u64,
        hello: Hello,
    ) -> bool {
        let Some(&Place::Whole(id)) = self.numbers.get(&number) else { return false };
        let Some(association) = self.associations.get_mut(&id) else { return false };
        let expected = association.role == Role::Client
            && association.peer == from
            && association.dialect.name() == dialect.name()
            && !association.is_open();
        if expected {
            association.open(now, hello, &mut self.shared);
            self.peers.insert((from, hello.number, true), Place::Whole(id));
            self.touch(id);
        }
        expected
    }

    fn on_segment(
        &mut self,
        now: Instant,
        from: SocketAddr,
        dialect: &'static Dialect,
        (segment, items): (&Segment<'_>, &Items),
        came: usize,
    ) -> bool {
        let id = match self.numbers.get(&segment.association) {
            Some(&Place::Whole(id)) => id,
            Some(&Place::Half(half)) => match self.prove(now, from, dialect, half) {
                Some(id) => id,
                None => return false,
            },
            None => {
                self.say_unknown(now, from, dialect, segment.association, came);
                return false;
            }
        };
        let Some(association) = self.associations.get_mut(&id) else { return false };
        if association.peer != from
            || association.dialect.name() != dialect.name()
            || !association.is_open()
            || association.end.is_some()
        {
            return false;
        }
        let taken = association.segment(now, &mut self.shared, segment, items);
        if stand_in_row(association, &mut self.row) {
            self.end(id);
        }
        if let Some(pressed) = self.shared.gives_way.take()
            && let Some((_, id, number)) = self.heaviest().or(pressed)
            && let Some(association) = self.associations.get_mut(&id)
        {
            association.make_room(now, &mut self.shared, number);
            self.touch(id);
        }
        taken
    }

    /// SPEC 10.19: which exchange gives way to others: the youngest incomplete one of the address that holds most in
    /// such, in the network that does; but not the oldest of all, so that one of them comes to its end.
    fn heaviest(&self) -> Option<Gathering> {
        let others = self.shared.gathering.iter().skip(1).filter_map(|&gathering| {
            let association = self.associations.get(&gathering.1)?;
            Some((association.peer, association.gathers(gathering.2), gathering))
        });
        let mut networks: BTreeMap<IpAddr, usize> = BTreeMap::new();
        let mut addresses: BTreeMap<(IpAddr, IpAddr), (usize, Gathering)> = BTreeMap::new();
        for (peer, bytes, gathering) in others {
            *networks.entry(network(peer)).or_default() += bytes;
            let held = addresses.entry((network(peer), peer.ip())).or_insert((0, gathering));
            *held = (held.0 + bytes, gathering);
        }
        let heaviest = networks.into_iter().max_by_key(|&(_, bytes)| bytes).map(|(network, _)| network);
        let within = addresses.into_iter().filter(|&((network, _), _)| Some(network) == heaviest);
        let youngest = within.max_by_key(|&(_, held)| held).map(|(_, (_, youngest))| youngest);
        youngest.or_else(|| self.shared.gathering.last().copied())
    }

    /// Whether a client of this address may have one more association.
    fn has_place(&self, from: SocketAddr) -> bool {
        let config = &self.shared.config;
        let there = self.networks.get(&network(from)).copied().unwrap_or(0);
        self.associations.len() < config.associations && there < config.associations_of_network
    }

    /// A client names the number that only it was told: its address is proven, and its association begins.
    fn prove(
        &mut self,
        now: Instant,
        from: SocketAddr,
        dialect: &'static Dialect,
        half: u64,
    ) -> Option<AssociationId> {
        let known = self.halves.get(&half)?;
        if known.peer != from || known.dialect.name() != dialect.name() {
            return None;
        }
        let (number, hello) = (known.number, known.hello);
        let room = self.has_place(from);
        let Some(hold) = room.then(|| Hold::of(&self.shared.ledger, Config::ASSOCIATION_COST)).flatten()
        else {
            // There may be room when it comes again.
            self.refresh_half(now, half);
            return None;
        };
        self.remove_half(half);
        self.next_association += 1;
        let (id, secret) = (AssociationId(self.next_association), self.random.next_u64());
        let mut association =
            Association::new(now, Role::Server, (id, number, secret), (from, dialect), &self.shared, hold);
        association.open(now, hello, &mut self.shared);
        self.numbers.insert(number, Place::Whole(id));
        self.peers.insert((from, hello.number, false), Place::Whole(id));
        self.associations.insert(id, association);
        *self.networks.entry(network(from)).or_default() += 1;
        Some(id)
    }

    /// Somebody believes in an association that is not here.
    fn say_unknown(
        &mut self,
        now: Instant,
        from: SocketAddr,
        dialect: &'static Dialect,
        number: u64,
        came: usize,
    ) {
        let mut unbegun = self.unbegun.contains(number);
        let close = loop {
            let Ok(close) = self.shared.sheet.unknown(dialect, number, unbegun) else { return };
            // What is too long to say so says less.
            if !std::mem::take(&mut unbegun) || close.len() <= came {
                break close;
            }
        };
        if close.len() <= came
            && self.closes.take(now, self.shared.config.closes)
            && self.shared.control(from, close)
        {
            self.shared.stats.closes_sent += 1;
        }
    }

    fn on_close(&mut self, now: Instant, from: SocketAddr, place: Option<Place>, end: End) -> bool {
        match place {
            Some(Place::Whole(id)) => {
                let association = self.associations.get_mut(&id);
                let Some(association) = association.filter(|it| it.peer == from) else { return false };
                association.close_by_peer(end);
                self.touch(id);
                true
            }
            Some(Place::Half(half)) => {
                let ours = self.halves.get(&half).is_some_and(|half| half.peer == from);
                if ours {
                    self.forget_half(now, half);
                }
                ours
            }
            None => false,
        }
    }

    /// Its client goes on: it is the youngest again. Gives its new place.
    fn refresh_half(&mut self, now: Instant, half: u64) -> u64 {
        let Some(mut known) = self.halves.remove(&half) else { return half };
        known.heard = now;
        self.next_half += 1;
        let place = Place::Half(self.next_half);
        self.numbers.insert(known.number, place);
        self.peers.insert((known.peer, known.hello.number, false), place);
        self.halves.insert(self.next_half, known);
        self.next_half
    }

    /// It never begins.
    fn forget_half(&mut self, now: Instant, half: u64) {
        if let Some(number) = self.remove_half(half) {
            self.unbegun.insert(now, self.shared.config.half_open_life, &self.shared.ledger, number);
        }
    }

    fn remove_half(&mut self, half: u64) -> Option<u64> {
        let half = self.halves.remove(&half)?;
        self.numbers.remove(&half.number);
        self.peers.remove(&(half.peer, half.hello.number, false));
        Some(half.number)
    }

    /// After anything has happened to an association: it may have something to send, and after that another timer,
    /// or an end.
    #[inline]
    fn touch(&mut self, id: AssociationId) {
        if let Some(association) = self.associations.get_mut(&id)
            && stand_in_row(association, &mut self.row)
        {
            self.end(id);
        }
    }

    fn end(&mut self, id: AssociationId) {
        let Some(association) = self.associations.remove(&id) else { return };
        if association.role == Role::Server
            && let Entry::Occupied(mut there) = self.networks.entry(network(association.peer))
        {
            *there.get_mut() -= 1;
            if *there.get() == 0 {
                there.remove();
            }
        }
        self.numbers.remove(&association.number);
        self.peers.remove(&(association.peer, association.peer_number, association.role == Role::Client));
        if let Some(timer) = association.timer {
            self.timers.remove(&(timer, id));
        }
        // The peer is told, unless it has told us.
        if association.is_open()
            && !matches!(association.end, Some(End::Gone | End::Unbegun))
            && let Ok(close) = self.shared.sheet.close(association.dialect, association.peer_number)
        {
            self.shared.control(association.peer, close);
        }
        association.finish(&mut self.shared);
    }

    const fn sent(&mut self, datagrams: usize, bytes: usize) {
        self.shared.stats.datagrams_sent += datagrams as u64;
        self.shared.stats.bytes_sent += bytes as u64;
    }
}
