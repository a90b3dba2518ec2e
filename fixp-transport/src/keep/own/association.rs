//! One association: its exchanges and its numbers. What comes is in `receiving`, what goes in `sending`, what is due in `times`.

mod receiving;
mod sending;
mod times;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Dialect, Encoder, Packet, ValueRef};

use super::config::Config;
use super::event::{AssociationId, Event, Ticket};
use super::exchange::{Exchange, Going, Stage};
use super::flow::{Allowance, Granted};
use super::mtu::PathMtu;
use super::ranges::Ranges;
use super::receive_stream::{Bounds, Trouble};
use super::recovery::{self, Recovery};
use super::send_stream::SendStream;
use super::shared::Shared;
use super::sorted::Sorted;
use super::wire::Hello;
use crate::extended::Extended;
use crate::extension::{self, Refusal, key};
use crate::keep::ledger::Hold;
use crate::keep::responder::AnswerError;
use crate::{CallError, Cause};

/// Ranges of numbers that have come, and that an acknowledgement tells.
const RANGES: usize = 32;
/// How long a writer waits for room in the ledger before it tries again: nothing tells when there is some.
const STARVED: Duration = Duration::from_millis(20);
/// One part in so many of the window for sending is for what is remembered of each packet under way: some hundred
/// bytes beside 1200 at least.
const RECORDS_SHARE: u64 = 8;
/// Deadlines of exchanges that have ended are kept up to as many as there are others, and these.
const ENDED: usize = 64;
/// Records that are kept for the next packets: within [`Config::ASSOCIATION_COST`], with as many packets under way.
const FREE_RECORDS: usize = 16;
/// An entity of so many bytes stands with its head.
const SHORT: usize = 256;
/// What the place where heads are written keeps of its room.
const WRITTEN_KEPT: usize = 4096;

/// Who has opened an association.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Client,
    Server,
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// OPEN has been sent so often, and is sent again then.
    Opening {
        opens: u32,
        again: Instant,
        pause: Duration,
    },
    Open,
}

/// What a part of a SEGMENT was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Item {
    Nothing,
    Chunk {
        number: u64,
        offset: u64,
        /// No datagram has as much.
        len: u32,
    },
    Reset {
        number: u64,
    },
    /// The window of an exchange.
    Window {
        number: u64,
    },
    /// That of all bytes, and that of exchanges.
    Bytes,
    Exchanges,
}

impl Item {
    fn chunk(number: u64, range: &Range<u64>) -> Self {
        let len = u32::try_from(range.end - range.start).unwrap_or(u32::MAX);
        Self::Chunk { number, offset: range.start, len }
    }
}

/// What a SEGMENT carried. Mostly that is one thing, for which nothing is allocated. One is kept for each packet
/// under way, so it is small.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Carried {
    first: Item,
    #[expect(clippy::box_collection, reason = "hardly any has more, and a Vec is three times as long")]
    more: Option<Box<Vec<Item>>>,
    /// All numbers below it were acknowledged as far as they had come; 0 for none.
    acknowledged: u64,
}

impl Carried {
    const fn new() -> Self {
        Self { first: Item::Nothing, more: None, acknowledged: 0 }
    }

    fn push(&mut self, item: Item) {
        if self.first == Item::Nothing {
            self.first = item;
        } else {
            self.more.get_or_insert_default().push(item);
        }
    }

    fn is_empty(&self) -> bool {
        self.first == Item::Nothing
    }

    fn items(&self) -> impl Iterator<Item = Item> {
        std::iter::once(self.first).chain(self.more.iter().flat_map(|more| more.iter().copied()))
    }
}

/// Why an association ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// The peer does not answer.
    Lost,
    /// The peer has ended it, or does not know it any more.
    Gone,
    /// The peer has forgotten it before it began: nothing was executed.
    Unbegun,
    /// Nobody has answered OPEN.
    Unopened,
    /// It cannot be opened in this dialect.
    Unwritable(fixp_codec::Error),
    /// The peer has broken the rules, or sent what cannot be read.
    Violation(Option<fixp_codec::Error>),
    /// From this side, in order.
    Closed,
}

impl End {
    const fn cause(self) -> Cause {
        match self {
            Self::Lost => Cause::Lost(io::ErrorKind::TimedOut),
            Self::Gone | Self::Unbegun => Cause::Lost(io::ErrorKind::ConnectionReset),
            Self::Unopened => Cause::Connect(io::ErrorKind::TimedOut),
            Self::Unwritable(error) => Cause::Encode(error),
            Self::Violation(Some(error)) => Cause::Decode(error),
            Self::Violation(None) => Cause::Unexpected,
            Self::Closed => Cause::Closed,
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Association {
    pub(super) id: AssociationId,
    pub(super) role: Role,
    pub(super) peer: SocketAddr,
    pub(super) dialect: &'static Dialect,
    /// The same with our own commands.
    table: &'static Dialect,
    /// The number that this side has chosen, and that of the other, when it is known.
    pub(super) number: u64,
    pub(super) peer_number: u64,
    state: State,
    opened_at: Instant,
    recovery: Recovery<Carried>,
    mtu: PathMtu,
    /// What is booked for it, and how much of that for packets under way.
    hold: Hold,
    records: usize,

    /// Exchanges that have something to send, in turns; those to be reset; those whose window is to be told.
    row: VecDeque<u64>,
    resets: VecDeque<u64>,
    tells: VecDeque<u64>,
    tell_bytes: bool,
    tell_exchanges: bool,
    ping: bool,
    /// Datagrams to be sent whatever the window says.
    probes: u32,
    /// Before when nothing is to be sent, by the pace.
    paced: Option<Instant>,
    /// Whether there was ever more to send than one datagram has.
    bulky: bool,
    allowance: Allowance,
    /// The window of each exchange for what goes out, at its beginning.
    peer_window: u64,

    come: Ranges,
    largest_at: Instant,
    /// SEGMENTs that want to be acknowledged.
    owed: u32,
    acknowledge_at: Option<Instant>,
    acknowledge_now: bool,
    granted: Granted,
    received: u64,

    /// Of a client: those that have no number yet.
    waiting: BTreeMap<u64, Box<Exchange>>,
    live: Sorted<Box<Exchange>>,
    next_serial: u64,
    /// How many exchanges the server lets a client begin.
    exchanges: Allowance,
    /// The same at a server, and which have ended.
    granted_exchanges: Granted,
    done: Ranges,
    /// With the serials; some of exchanges that have ended before.
    deadlines: BinaryHeap<Reverse<(Instant, u64)>>,
    /// An exchange that is gathered, and for which there was no room.
    pressed: Option<u64>,
    /// Writers that wait for room in the ledger, and until when.
    starved: Vec<u64>,
    starved_until: Option<Instant>,
    /// Of a server: when its exchanges are looked at for those that do not move.
    watch: Option<Instant>,

    /// When something came from the peer, and since when something was sent that it should have answered.
    heard: Instant,
    unheard: Option<Instant>,
    pinged: Instant,
    closing: bool,
    /// Why it has ended; nothing more is done then.
    pub(super) end: Option<End>,
    /// When it is called next, as it is booked.
    pub(super) timer: Option<Instant>,
    /// Whether it stands in the row of those that may send.
    pub(super) queued: bool,
}

impl Association {
    /// A client's, that is not open; or a server's, whose client has just proven its address. The secret is for what
    /// the peer must not foresee; the number it is told.
    pub(super) fn new(
        now: Instant,
        role: Role,
        (id, number, secret): (AssociationId, u64, u64),
        (peer, dialect): (SocketAddr, &'static Dialect),
        shared: &Shared,
        hold: Hold,
    ) -> Self {
        let config = &shared.config;
        let mtu = PathMtu::new(peer.is_ipv6(), config.datagram);
        let recovery = Recovery::new(now, &recovery::Config::default(), secret, mtu.current());
        Self {
            id,
            role,
            peer,
            dialect,
            table: extension::own(dialect),
            number,
            peer_number: 0,
            state: State::Opening { opens: 0, again: now, pause: config.open_every },
            opened_at: now,
            recovery,
            mtu,
            hold,
            records: 0,
            row: VecDeque::new(),
            resets: VecDeque::new(),
            tells: VecDeque::new(),
            tell_bytes: false,
            tell_exchanges: false,
            ping: false,
            probes: 0,
            paced: None,
            bulky: false,
            allowance: Allowance::new(0),
            peer_window: 0,
            come: Ranges::new(2 * RANGES),
            largest_at: now,
            owed: 0,
            acknowledge_at: None,
            acknowledge_now: false,
            granted: Granted::new(config.association_window),
            received: 0,
            waiting: BTreeMap::new(),
            live: Sorted::new(),
            next_serial: 0,
            exchanges: Allowance::new(0),
            granted_exchanges: Granted::new(config.exchanges),
            // As many holes as exchanges can be under way: none is ever forgotten.
            done: Ranges::new(usize::MAX),
            deadlines: BinaryHeap::new(),
            pressed: None,
            starved: Vec::new(),
            starved_until: None,
            watch: None,
            heard: now,
            unheard: None,
            pinged: now,
            closing: false,
            end: None,
            timer: None,
            queued: false,
        }
    }

    /// The peer has said hello: OPENED to a client, or OPEN to a server, which is proven now.
    pub(super) fn open(&mut self, now: Instant, hello: Hello, shared: &mut Shared) {
        if !matches!(self.state, State::Opening { .. }) {
            return;
        }
        self.state = State::Open;
        self.heard = now;
        self.opened_at = now;
        self.peer_number = hello.number;
        self.peer_window = match self.role {
            Role::Client => hello.grants.request,
            Role::Server => hello.grants.answer,
        };
        self.allowance = Allowance::new(hello.grants.bytes);
        self.exchanges = Allowance::new(hello.grants.exchanges);
        self.recovery.set_peer_buffer(u64::from(hello.buffer));
        shared.stats.opened += 1;
        // The server keeps what it has answered for a while only: it is begun now, whether there is a request or not.
        self.ping = self.role == Role::Client;
        self.begin_waiting();
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    pub(super) fn exchanges(&self) -> usize {
        self.live.len() + self.waiting.len()
    }

    const fn ticket(&self, serial: u64) -> Ticket {
        Self::ticket_of(self.id, serial)
    }

    const fn ticket_of(association: AssociationId, serial: u64) -> Ticket {
        Ticket { association, serial }
    }

    fn bounds(&self, shared: &Shared) -> Bounds {
        let config = &shared.config;
        let (entity, gather) = match self.role {
            Role::Client => (config.answer, config.gather_answers),
            Role::Server => (config.request, config.gather_requests),
        };
        Bounds { dialect: self.table, head: config.head, entity, gather }
    }

    /// Books what is remembered of the packets under way. False where there is no room for one more; no timer is needed
    /// then, since something is under way that makes some.
    fn book_records(&mut self) -> bool {
        let records = self.recovery.room().saturating_sub(FREE_RECORDS);
        let (had, wanted) = (self.records, records * Recovery::<Carried>::RECORD);
        if wanted <= had {
            self.hold.shrink(had - wanted);
        } else if !self.hold.grow(wanted - had) {
            // Probes are not booked, and the list keeps its room when all have come.
            return self.recovery.remembered() < FREE_RECORDS;
        }
        self.records = wanted;
        true
    }

    /// Why an exchange of a client has no answer: truthful about whether anything of it was sent.
    pub(super) fn error(&self, ticket: Ticket, cause: Cause) -> CallError {
        let live = self.number_of(ticket).and_then(|number| self.live.get(number));
        match live.or_else(|| self.waiting.get(&ticket.serial)) {
            Some(exchange) => error_of(exchange, cause),
            None => CallError::possibly_executed(cause),
        }
    }

    /// A client's request.
    pub(super) fn request(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        (packet, entity): (&Packet, Bytes),
        left: Option<i32>,
        len: Option<u64>,
    ) -> Result<Ticket, CallError> {
        if self.closing || self.end.is_some() || self.role == Role::Server {
            return Err(CallError::not_sent(Cause::Closed));
        }
        let told = left.or_else(|| packet.first(key::DEADLINE).and_then(fixp_codec::Value::as_i32));
        if told.is_some_and(|millis| millis <= 0) {
            return Err(CallError::not_sent(Cause::Timeout));
        }
        let deadline = told.map(|millis| now + Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
        let (mut exchange, share) = (shared.exchange(now), Config::REQUESTS_SHARE);
        let written =
            write(&mut exchange.stream, self.table, shared, (packet, entity), (left, len), 0, share);
        let written = written.and_then(|()| exchange.book(share).then_some(()).ok_or(AnswerError::Full));
        if let Err(error) = written {
            shared.recycle(exchange);
            return Err(CallError::not_sent(match error {
                AnswerError::Encode(error) => Cause::Encode(error),
                _ => Cause::Full,
            }));
        }
        self.next_serial += 1;
        let serial = self.next_serial;
        exchange.begin(now, serial, Going::Stream, self.bounds(shared), shared.config.exchange_window);
        exchange.deadline = deadline;
        if let Some(deadline) = deadline {
            self.note_deadline(deadline, serial);
        }
        if self.is_open() && self.waiting.is_empty() && self.exchanges.left() > 0 {
            self.begin_own(exchange);
        } else {
            self.waiting.insert(serial, exchange);
        }
        shared.stats.requests += 1;
        if self.exchanges() == 1 {
            self.pinged = now;
        }
        Ok(self.ticket(serial))
    }

    /// Gives numbers to as many as the server lets begin.
    fn begin_waiting(&mut self) {
        if !self.is_open() {
            return;
        }
        while self.exchanges.left() > 0
            && let Some((_, exchange)) = self.waiting.pop_first()
        {
            self.begin_own(exchange);
        }
    }

    /// A client's exchange begins, in the order of serials.
    fn begin_own(&mut self, mut exchange: Box<Exchange>) {
        self.exchanges.take(1);
        let number = self.exchanges.used();
        exchange.stream.raise(self.peer_window);
        exchange.in_row = true;
        self.row.push_back(number);
        self.live.insert(number, exchange);
    }

    /// An exchange with something to send takes its turn.
    fn stand_in_row(&mut self, number: u64) {
        if let Some(exchange) = self.live.get_mut(number)
            && !std::mem::replace(&mut exchange.in_row, true)
        {
            self.row.push_back(number);
        }
    }

    fn number_of(&self, ticket: Ticket) -> Option<u64> {
        match self.role {
            // They have begun in the order of their serials.
            Role::Client => {
                let found = self.live.first_not(|exchange| exchange.serial < ticket.serial);
                found.filter(|(_, exchange)| exchange.serial == ticket.serial).map(|(number, _)| number)
            }
            Role::Server => Some(ticket.serial),
        }
    }

    /// The application waits for nothing more of an exchange.
    pub(super) fn cancel(&mut self, now: Instant, shared: &mut Shared, ticket: Ticket) {
        if self.role == Role::Server {
            self.give_up_answer(shared, ticket.serial, 0);
            self.settle(now, shared, ticket.serial);
            return;
        }
        if self.waiting.remove(&ticket.serial).is_some() {
            return;
        }
        let Some(number) = self.number_of(ticket) else { return };
        self.abandon(shared, number);
        self.settle(now, shared, number);
    }

    /// A client tells the server that nobody waits.
    fn abandon(&mut self, shared: &mut Shared, number: u64) {
        let Some(exchange) = self.live.get_mut(number) else { return };
        if exchange.stage == Stage::Over {
            return;
        }
        exchange.stage = Stage::Over;
        exchange.coming.discard();
        self.stop(number, false, 0);
        self.gathers_no_more(shared, number);
    }

    /// What goes out ends here.
    fn stop(&mut self, number: u64, answer: bool, reason: u64) {
        if let Some(exchange) = self.live.get_mut(number) {
            exchange.stop(number, self.role, answer, reason, &mut self.resets);
        }
    }

    fn gathers_no_more(&mut self, shared: &mut Shared, number: u64) {
        if let Some(exchange) = self.live.get_mut(number) {
            exchange.gathers_no_more(shared, self.id, number);
        }
    }

    /// A server's answer.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        ticket: Ticket,
        answer: Option<(Packet, Option<u64>)>,
    ) -> Result<(), AnswerError> {
        let number = ticket.serial;
        let Some(exchange) = self.live.get_mut(number) else { return Ok(()) };
        if self.role != Role::Server || exchange.stage != Stage::Told {
            return Ok(());
        }
        exchange.stage = Stage::Answering;
        exchange.moved = now;
        let outcome = match answer {
            None => {
                self.stop(number, true, 0);
                Ok(())
            }
            Some((mut packet, len)) => {
                let entity = std::mem::take(&mut packet.entity);
                let (stream, limit) = (&mut exchange.stream, self.peer_window);
                // It cannot wait: it was executed.
                match write(stream, self.table, shared, (&packet, entity), (None, len), limit, 8) {
                    Ok(()) => {
                        exchange.going = Going::Stream;
                        self.stand_in_row(number);
                        return Ok(());
                    }
                    Err(error) => {
                        let refusal = match error {
                            AnswerError::Encode(_) => Refusal::Unwritable,
                            _ => Refusal::NotKept,
                        };
                        self.stop(number, true, reason_of(refusal));
                        Err(error)
                    }
                }
            }
        };
        self.settle(now, shared, number);
        outcome
    }

    /// A server gives an answer up, before it was given or while it is sent.
    fn give_up_answer(&mut self, shared: &mut Shared, number: u64, reason: u64) {
        let Some(exchange) = self.live.get_mut(number) else { return };
        match exchange.stage {
            Stage::Told | Stage::Answering => {}
            Stage::Awaited | Stage::Over => return,
        }
        exchange.stage = Stage::Answering;
        exchange.coming.discard();
        if !matches!(exchange.going, Going::Reset(_) | Going::Over) {
            self.stop(number, true, reason);
        }
        self.gathers_no_more(shared, number);
    }

    /// A server does not listen to a request.
    fn refuse(&mut self, shared: &mut Shared, number: u64, refusal: Refusal) {
        let Some(exchange) = self.live.get_mut(number) else { return };
        if exchange.stage != Stage::Awaited {
            return;
        }
        exchange.stage = Stage::Over;
        exchange.coming.discard();
        self.stop(number, false, reason_of(refusal));
        self.gathers_no_more(shared, number);
        shared.stats.refused += 1;
    }

    /// More of an entity that is written bit by bit.
    pub(super) fn write(&mut self, now: Instant, ticket: Ticket, bytes: &mut Bytes) -> bool {
        let number = self.number_of(ticket);
        // It has begun, or it waits, or it has ended.
        let exchange = match number {
            Some(number) => self.live.get_mut(number),
            None => self.waiting.get_mut(&ticket.serial),
        };
        let Some(stream) = exchange.and_then(|exchange| exchange.stream()) else {
            bytes.clear();
            return true;
        };
        let all = stream.write(bytes);
        if stream.is_starved() && !self.starved.contains(&ticket.serial) {
            self.starved.push(ticket.serial);
            self.starved_until = Some(now + STARVED);
        }
        if let Some(number) = number {
            self.stand_in_row(number);
        }
        all
    }

    pub(super) fn read(&mut self, now: Instant, shared: &mut Shared, ticket: Ticket) -> Option<Bytes> {
        let number = self.number_of(ticket)?;
        let bytes = self.live.get_mut(number)?.coming.read()?;
        self.settle(now, shared, number);
        Some(bytes)
    }

    /// Brings everything in line after something has changed in an exchange, and forgets one that is over.
    fn settle(&mut self, now: Instant, shared: &mut Shared, number: u64) {
        let Some(exchange) = self.live.get_mut(number) else { return };
        let (mut taken, tell) = exchange.coming.settle();
        if tell && !std::mem::replace(&mut exchange.tells, true) {
            self.tells.push_back(number);
        }
        match self.role {
            Role::Client => {
                // The answer has been read to its end: nothing is left to wait for.
                if exchange.stage == Stage::Told && exchange.coming.is_over() {
                    exchange.stage = Stage::Over;
                }
                if exchange.stage == Stage::Over
                    && exchange.coming.is_over()
                    && exchange.stream().is_some_and(|stream| !stream.is_sent())
                {
                    exchange.stop(number, self.role, false, 0, &mut self.resets);
                }
            }
            Role::Server => {
                if matches!(exchange.going, Going::Over) {
                    if exchange.stage == Stage::Answering {
                        exchange.stage = Stage::Over;
                        let ticket = Self::ticket_of(self.id, exchange.serial);
                        shared.event(Event::Ended { ticket });
                    }
                    exchange.coming.discard();
                    taken += exchange.coming.settle().0;
                }
            }
        }
        if !exchange.coming.is_gathering() || !exchange.coming.holds() {
            exchange.gathers_no_more(shared, self.id, number);
        } else if exchange.age.is_none() {
            exchange.age = Some(shared.gathers(self.id, number));
        }
        if exchange.stage == Stage::Over {
            exchange.deadline = None;
        }
        let over = exchange.is_over();
        if taken > 0 && self.granted.consume(taken) {
            self.tell_bytes = true;
        }
        if over {
            self.forget(now, shared, number);
        }
    }

    fn forget(&mut self, now: Instant, shared: &mut Shared, number: u64) {
        let Some(exchange) = self.live.remove(number) else { return };
        shared.recycle(exchange);
        if self.role == Role::Client {
            return;
        }
        self.done.insert(number);
        if self.granted_exchanges.consume(1) {
            self.tell_exchanges = true;
            // It can wait for something to ride on.
            self.acknowledge_by(now + Config::ACKNOWLEDGE);
        }
    }

    /// What comes of an exchange gives way to others.
    pub(super) fn make_room(&mut self, now: Instant, shared: &mut Shared, number: u64) {
        self.give_way(shared, number, Trouble::Full);
        self.settle(now, shared, number);
    }

    /// An acknowledgement, and what rides on it, leaves at the latest then.
    fn acknowledge_by(&mut self, at: Instant) {
        self.acknowledge_at = Some(self.acknowledge_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// New requests are refused, and it ends when nothing is under way.
    pub(super) const fn close(&mut self) {
        self.closing = true;
    }

    /// The peer has ended it. That nothing was executed is not believed where something has come.
    pub(super) fn close_by_peer(&mut self, end: End) {
        let begun = self.role == Role::Server || !self.come.is_empty();
        self.end = Some(if begun { End::Gone } else { end });
    }

    /// It has ended: everything under way in it is told.
    pub(super) fn finish(mut self, shared: &mut Shared) {
        let end = self.end.unwrap_or(End::Closed);
        let cause = end.cause();
        let in_order = end == End::Closed || matches!(end, End::Gone | End::Unbegun) && self.exchanges() == 0;
        if !in_order {
            shared.stats.lost += 1;
        }
        let live: Vec<u64> = self.live.keys().collect();
        for number in live {
            self.gathers_no_more(shared, number);
        }
        let waiting = std::mem::take(&mut self.waiting);
        for exchange in self.live.values().chain(waiting.values()) {
            let ticket = self.ticket(exchange.serial);
            let error = match end {
                End::Unbegun => CallError::not_sent(cause),
                _ => error_of(exchange, cause),
            };
            match (self.role, exchange.stage) {
                (Role::Client, Stage::Awaited) => {
                    shared.event(Event::Answer { ticket, outcome: Err(error) });
                }
                (Role::Client, Stage::Told) => shared.event(Event::Broken { ticket, error }),
                (Role::Server, Stage::Told) => shared.event(Event::Cancelled { ticket }),
                (Role::Server, Stage::Answering) => shared.event(Event::Ended { ticket }),
                _ => {}
            }
        }
        if self.role == Role::Client {
            shared.event(Event::Closed { association: self.id });
        }
    }

    /// The bytes that an exchange holds of a packet that is not complete.
    pub(super) fn gathers(&self, number: u64) -> usize {
        self.live.get(number).map_or(0, |exchange| exchange.coming.held())
    }

    /// Whether it has been closed, and nothing is under way any more.
    pub(super) fn is_drained(&self) -> bool {
        self.closing && self.exchanges() == 0
    }
}

/// Begins what goes out, as it is written: with the time that is left where that is to be added, and for an entity of so
/// many bytes where not all of it is there.
fn write(
    stream: &mut SendStream,
    table: &'static Dialect,
    shared: &mut Shared,
    (packet, entity): (&Packet, Bytes),
    (left, len): (Option<i32>, Option<u64>),
    limit: u64,
    eighths: usize,
) -> Result<(), AnswerError> {
    let length = table.content_length_key();
    let all = len.unwrap_or(entity.len() as u64);
    let left = left.map(|left| (key::DEADLINE, ValueRef::Int32(left)));
    let sized = Extended {
        packet,
        keeps: |key| key != length,
        extra: left.as_slice(),
        len: usize::try_from(all).unwrap_or(usize::MAX),
    };
    let written = &mut shared.written;
    written.clear();
    Encoder::new(table).head(&sized, written).map_err(AnswerError::Encode)?;
    let head = written.len();
    // A short entity is copied for less than it takes to keep it apart.
    let apart = if entity.len() <= SHORT {
        written.extend_from_slice(&entity);
        Bytes::new()
    } else {
        entity
    };
    let limits = (limit, shared.config.send_window - shared.config.send_window / RECORDS_SHARE);
    let begun = stream.begin((written, apart), head as u64 + all, limits, eighths);
    if written.capacity() > WRITTEN_KEPT {
        *written = Vec::new();
    }
    if begun { Ok(()) } else { Err(AnswerError::Full) }
}

/// Truthful: what was not begun was not sent.
fn error_of(exchange: &Exchange, cause: Cause) -> CallError {
    if matches!(exchange.going, Going::Stream) && exchange.sent() == 0 {
        CallError::not_sent(cause)
    } else {
        CallError::possibly_executed(cause)
    }
}

/// The number of a refusal in RESET.
fn reason_of(refusal: Refusal) -> u64 {
    u64::try_from(refusal.number()).unwrap_or(0)
}
