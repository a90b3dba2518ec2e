//! One direction of an exchange as it comes: put in order, read as a packet, gathered or handed on.

use bytes::Bytes;
use fixp_codec::{
    Cause, Command, Decoder, Dialect, Error, ErrorKind, Event, HeadRef, LAXCUS6, Limits, Packet,
    StreamDecoder,
};

use super::config::Config;
use super::early::Early;
use super::event::Entity;
use super::flow::Granted;
use super::ready::{PIECE_COST, Ready};
use crate::extension::key;
use crate::keep::Ledger;
use crate::keep::ledger::Hold;

/// What a message of a head costs beside its bytes.
const MESSAGE_COST: usize = 64;

/// What a packet may be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// With our own commands.
    pub(super) dialect: &'static Dialect,
    /// Bytes of the head.
    pub(super) head: usize,
    /// Bytes of the entity.
    pub(super) entity: u64,
    /// Those up to which the entity is gathered.
    pub(super) gather: u64,
}

/// Why a chunk was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// There is no room for it now: it is as if it were lost.
    NoRoom,
    /// It would be one piece too many behind a hole. The peer's affair: it is as if it were lost, and nobody gives way.
    Scattered,
    /// There is no room for this packet, and what has come of it is in disorder.
    Full,
    /// It is a packet that is not taken here: its head or its entity is too large.
    TooLarge(Error),
    /// The peer breaks the rules.
    Violation,
    /// It is no packet of the dialect.
    Broken(Error),
}

/// What of ours stood in a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) deadline: Option<i32>,
    pub(super) refusal: Option<i16>,
}

/// What a chunk has brought about.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// The packet without what is ours, when it is whole, or its head, when the entity is to be read.
    pub(super) packet: Option<(Packet, Entity, Told)>,
    /// There is something to read, where there was nothing.
    pub(super) readable: bool,
}

#[derive(Debug)]
enum State {
    /// The head is not whole yet; the decoder holds what has come of it.
    Head(Option<Box<StreamDecoder<'static>>>),
    Gather {
        head: Packet,
        told: Told,
        entity: Vec<u8>,
        len: usize,
    },
    Read(Ready),
    /// Nobody wants it: what has come is counted only.
    Discard,
    /// All of it has come, and has been handed on.
    Over,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct ReceiveStream {
    hold: Hold,
    bounds: Bounds,
    granted: Granted,
    /// Where the bytes that have come without a hole end.
    next: u64,
    /// Where those end that have come at all.
    highest: u64,
    end: Option<u64>,
    /// What has come behind a hole.
    early: Early,
    /// What of the booking is for the head.
    head: usize,
    /// The bytes that the application has taken, and what of them was told to the association.
    taken: u64,
    settled: u64,
    state: State,
}

impl ReceiveStream {
    /// Nothing can come yet.
    pub(super) fn new(ledger: &Ledger) -> Self {
        Self {
            hold: Hold::new(ledger),
            bounds: Bounds { dialect: &LAXCUS6, head: 0, entity: 0, gather: 0 },
            granted: Granted::new(0),
            next: 0,
            highest: 0,
            end: None,
            early: Early::default(),
            head: 0,
            taken: 0,
            settled: 0,
            state: State::Over,
        }
    }

    /// A packet like this may come, in this window.
    pub(super) fn begin(&mut self, bounds: Bounds, window: u64) {
        (self.bounds, self.granted, self.state) = (bounds, Granted::new(window), State::Head(None));
    }

    /// Nothing again.
    pub(super) fn clear(&mut self) {
        self.hold.shrink(usize::MAX);
        (self.early, self.state) = (Early::default(), State::Over);
        (self.next, self.highest, self.end) = (0, 0, None);
        (self.head, self.taken, self.settled) = (0, 0, 0);
    }

    /// Where the bytes end that have come.
    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    /// How many bytes of these are the first ones so far out.
    pub(super) const fn news(&self, end: u64) -> u64 {
        end.saturating_sub(self.highest)
    }

    /// The limit that the peer has, or is told next.
    pub(super) const fn limit(&self) -> u64 {
        self.granted.limit()
    }

    /// Whether bytes are held.
    pub(super) const fn holds(&self) -> bool {
        self.hold.bytes() > 0
    }

    /// How many.
    pub(super) const fn held(&self) -> usize {
        self.hold.bytes()
    }

    /// Whether the packet is still being gathered.
    pub(super) const fn is_gathering(&self) -> bool {
        matches!(self.state, State::Head(_) | State::Gather { .. })
    }

    /// Whether a reader has read all that has come, and there is more to come.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(&self.state, State::Read(ready) if ready.is_empty())
    }

    /// Whether nothing more comes, and nothing is left to be read.
    pub(super) fn is_over(&self) -> bool {
        match &self.state {
            State::Over => true,
            State::Discard => self.end.is_some_and(|end| self.highest >= end),
            _ => false,
        }
    }

    /// What is booked for the packet, or for its head where the entity is read; it goes with that.
    pub(super) fn take_booked(&mut self) -> usize {
        let bytes = if matches!(self.state, State::Over) { self.hold.bytes() } else { self.head };
        self.hold.hand_over(bytes)
    }

    /// Takes the bytes at an offset, the last ones of all or not. After an error that is neither
    /// [`Trouble::NoRoom`] nor [`Trouble::Scattered`] the stream is to be discarded.
    pub(super) fn receive(
        &mut self,
        offset: u64,
        bytes: &[u8],
        last: bool,
        received: &mut Received,
    ) -> Result<(), Trouble> {
        let end = offset.saturating_add(bytes.len() as u64);
        let beyond = self.end.is_some_and(|known| end > known || last && end != known);
        if end > self.granted.limit() || beyond || last && end < self.highest {
            return Err(Trouble::Violation);
        }
        if matches!(self.state, State::Head(None)) && offset == 0 && self.highest == 0 && last {
            let whole = self.whole(bytes)?;
            if whole.is_some() {
                received.packet = whole;
                return Ok(());
            }
        }
        let taken = match &mut self.state {
            State::Over => return Ok(()),
            State::Discard => Ok(()),
            _ if end <= self.next => Ok(()),
            // A head that comes in pieces is held beside the window, and then nothing else is.
            State::Head(_) if offset > self.next && end > self.granted.window() => Err(Trouble::Scattered),
            _ if offset > self.next => {
                self.early.insert(&mut self.hold, self.granted.window(), offset, bytes)
            }
            _ => {
                let known = usize::try_from(self.next - offset).unwrap_or(usize::MAX);
                self.in_order(bytes.get(known..).unwrap_or_default(), received)
            }
        };
        // Some may have been taken of what there is no room for.
        self.highest = self.highest.max(self.next).max(self.early.end());
        taken?;
        self.highest = self.highest.max(end);
        // The head, which has just come perhaps, says where the end is, too.
        if last && *self.end.get_or_insert(end) != end || self.end.is_some_and(|end| end < self.highest) {
            return Err(Trouble::Violation);
        }
        if let State::Discard = self.state {
            self.taken = self.highest;
        }
        Ok(())
    }

    /// A packet that comes at once, and is to be gathered: mostly it is so, and costs less than one in pieces. Nothing where
    /// it is not, or not to be taken.
    #[inline]
    fn whole(&mut self, bytes: &[u8]) -> Result<Option<(Packet, Entity, Told)>, Trouble> {
        let Ok(head) = self.decoder().head(bytes) else { return Ok(None) };
        let (head_len, entity_len) = (head.head_bytes().len(), head.entity_len() as u64);
        if head_len as u64 + entity_len != bytes.len() as u64
            || entity_len > self.bounds.entity.min(self.bounds.gather)
        {
            return Ok(None);
        }
        let cost = bytes.len() + head.messages().len() * MESSAGE_COST;
        if !self.hold.grow_within(cost, Config::GATHER_SHARE) {
            return Ok(None);
        }
        let length = self.bounds.dialect.content_length_key();
        let (mut packet, told) = owned(&head, length).map_err(Trouble::Broken)?;
        packet.entity = Bytes::copy_from_slice(bytes.get(head_len..).unwrap_or_default());
        let end = bytes.len() as u64;
        (self.next, self.highest, self.taken, self.end) = (end, end, end, Some(end));
        self.head = cost;
        self.state = State::Over;
        Ok(Some((packet, Entity::Whole, told)))
    }

    fn decoder(&self) -> Decoder<'static> {
        // How long an entity may be is looked at when the head is there.
        let limits = Limits { head: self.bounds.head, entity: usize::MAX, ..Limits::default() };
        Decoder::new(self.bounds.dialect).with_limits(limits)
    }

    /// Takes the next bytes, and those behind them that came earlier: where they overlap, those.
    fn in_order(&mut self, mut bytes: &[u8], received: &mut Received) -> Result<(), Trouble> {
        let run = self.early.run(self.next + bytes.len() as u64);
        if let State::Gather { entity, len, .. } = &mut self.state {
            // The head's bytes are in none of them.
            let news = usize::try_from(run - self.next).unwrap_or(usize::MAX);
            if !reserve(&mut self.hold, entity, entity.len().saturating_add(news), *len) {
                return Err(Trouble::NoRoom);
            }
        }
        loop {
            let hole = self
                .early
                .start()
                .map_or(usize::MAX, |start| usize::try_from(start - self.next).unwrap_or(usize::MAX));
            let (next, rest) = bytes.split_at(bytes.len().min(hole));
            if let State::Read(ready) = &mut self.state {
                let empty = ready.is_empty();
                if !ready.add(&mut self.hold, next, 0) {
                    return self.some_in_order(next, received);
                }
                received.readable |= empty;
                self.next += next.len() as u64;
            } else {
                self.feed(next, run, received)?;
            }
            let filled = self.next;
            while self.early.start() == Some(self.next)
                && let Some(piece) = self.early.pop()
            {
                if let State::Read(ready) = &mut self.state {
                    self.next += piece.len() as u64;
                    received.readable |= ready.is_empty();
                    ready.adopt(&mut self.hold, piece);
                } else {
                    // Of a head that came in pieces.
                    self.feed(&piece, run, received)?;
                    self.hold.shrink(piece.len() + PIECE_COST);
                }
            }
            let known = usize::try_from(self.next - filled).unwrap_or(usize::MAX);
            bytes = rest.get(known..).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
        }
        if Some(self.next) == self.end && matches!(&self.state, State::Read(ready) if ready.is_empty()) {
            self.state = State::Over;
        }
        Ok(())
    }

    /// Takes as many of the next bytes as there is room for, so that a reader gets on; all of them come again.
    fn some_in_order(&mut self, bytes: &[u8], received: &mut Received) -> Result<(), Trouble> {
        let State::Read(ready) = &mut self.state else { return Err(Trouble::NoRoom) };
        let empty = ready.is_empty();
        let mut some = bytes.len() / 2;
        while some > 0 {
            if ready.add(&mut self.hold, bytes.get(..some).unwrap_or_default(), 0) {
                self.next += some as u64;
                received.readable |= empty;
                break;
            }
            some /= 2;
        }
        Err(Trouble::NoRoom)
    }

    /// The next bytes of a head, or of an entity that is gathered; what is without a hole goes to `run`. Room has
    /// been booked for them, unless a head is among them.
    fn feed(&mut self, mut bytes: &[u8], run: u64, received: &mut Received) -> Result<(), Trouble> {
        let reads = self.decoder();
        if let State::Head(decoder) = &mut self.state {
            // A head that comes whole is read where it stands.
            if decoder.is_none() {
                match reads.head(bytes) {
                    Ok(head) => {
                        let len = head.head_bytes().len();
                        let rest = bytes.get(len..).unwrap_or_default();
                        return self.head_read(&head, rest, run, received);
                    }
                    Err(error) if error.kind() == ErrorKind::Truncated => {}
                    Err(error) => return Err(of_head(error)),
                }
            }
            // The decoder's buffer grows by doubling, to the longest head at most.
            let most = self.bounds.head;
            let booked = |len: usize| len.max(most.min(2 * len));
            let before = usize::try_from(self.next).unwrap_or(usize::MAX);
            let all = before + bytes.len();
            if !self.hold.grow(booked(all) - booked(before)) {
                return Err(if decoder.is_none() { Trouble::NoRoom } else { Trouble::Full });
            }
            let mut decoder = decoder.take().unwrap_or_else(|| Box::new(reads.stream()));
            match decoder.next(&mut bytes) {
                None => {
                    self.next = all as u64;
                    self.taken = self.next;
                    self.state = State::Head(Some(decoder));
                    return Ok(());
                }
                Some(Ok(Event::Head(head))) => {
                    let fed = head.head_bytes().len();
                    self.next = fed as u64;
                    self.hold.shrink(booked(all));
                    return match self.head_read(&head, bytes, run, received) {
                        Err(Trouble::NoRoom) => Err(Trouble::Full),
                        other => other,
                    };
                }
                Some(Ok(_)) => return Err(Trouble::Violation),
                Some(Err(error)) => return Err(of_head(error)),
            }
        }
        self.next += bytes.len() as u64;
        match &mut self.state {
            State::Gather { head, told, entity, len } => {
                entity.extend_from_slice(bytes);
                self.taken = self.next;
                if entity.len() >= *len {
                    let mut packet = std::mem::replace(head, Packet::answer(0));
                    packet.entity = std::mem::take(entity).into();
                    received.packet = Some((packet, Entity::Whole, *told));
                    self.state = State::Over;
                }
            }
            State::Head(_) | State::Read(_) | State::Discard | State::Over => {}
        }
        Ok(())
    }

    /// The head is there, and these bytes of the entity.
    fn head_read(
        &mut self,
        head: &HeadRef<'_>,
        rest: &[u8],
        run: u64,
        received: &mut Received,
    ) -> Result<(), Trouble> {
        let (head_len, entity_len) = (head.head_bytes().len(), head.entity_len());
        let all = head_len as u64 + entity_len as u64;
        if self.end.is_some_and(|end| end != all) || run > all || self.highest > all {
            return Err(Trouble::Violation);
        }
        if entity_len as u64 > self.bounds.entity {
            let limit = usize::try_from(self.bounds.entity).unwrap_or(usize::MAX);
            let error = Error::new(Cause::EntityLimit, head_len).sizes(entity_len, limit);
            return Err(Trouble::TooLarge(error));
        }
        let cost = head_len + head.messages().len() * MESSAGE_COST;
        let gathers = entity_len as u64 <= self.bounds.gather;
        if !self.hold.grow(cost) {
            return Err(Trouble::NoRoom);
        }
        let (mut entity, mut ready) = (Vec::new(), Ready::default());
        let here = usize::try_from(run.saturating_sub(head_len as u64)).unwrap_or(usize::MAX);
        let room = if gathers {
            reserve(&mut self.hold, &mut entity, here.min(entity_len), entity_len)
        } else {
            ready.add(&mut self.hold, rest, 0)
        };
        if !room {
            self.hold.shrink(cost);
            return Err(Trouble::NoRoom);
        }
        let length = self.bounds.dialect.content_length_key();
        let (packet, told) = owned(head, length).map_err(Trouble::Broken)?;
        self.end = Some(all);
        self.next = head_len as u64;
        self.taken = self.next;
        self.head = cost;
        if gathers {
            self.state = State::Gather { head: packet, told, entity, len: entity_len };
            return self.feed(rest, run, received);
        }
        received.packet = Some((packet, Entity::Streamed(entity_len as u64), told));
        received.readable |= !ready.is_empty();
        self.next += rest.len() as u64;
        self.state = State::Read(ready);
        Ok(())
    }

    /// The next bytes of the entity.
    pub(super) fn read(&mut self) -> Option<Bytes> {
        let State::Read(ready) = &mut self.state else { return None };
        let piece = ready.pop(&mut self.hold)?;
        self.taken += piece.len() as u64;
        if ready.is_empty() && Some(self.next) == self.end {
            self.state = State::Over;
        }
        Some(piece)
    }

    /// Nobody wants it any more: what has come is dropped, and what comes is only counted.
    pub(super) fn discard(&mut self) {
        if matches!(self.state, State::Over | State::Discard) {
            return;
        }
        self.early = Early::default();
        self.hold.shrink(usize::MAX);
        self.taken = self.highest;
        self.state = State::Discard;
    }

    /// Nothing comes any more, and what has come is all.
    pub(super) fn end_here(&mut self) {
        let _ = self.reset(self.highest);
    }

    /// Its sender has given up after so many bytes.
    pub(super) fn reset(&mut self, sent: u64) -> Result<(), Trouble> {
        if sent < self.highest || sent > self.granted.limit() {
            return Err(Trouble::Violation);
        }
        self.highest = sent;
        self.taken = sent;
        self.early = Early::default();
        self.hold.shrink(usize::MAX);
        self.state = State::Over;
        Ok(())
    }

    /// What was taken since the last call, and whether the peer is to be told of a new limit.
    pub(super) fn settle(&mut self) -> (u64, bool) {
        let more = self.taken - self.settled;
        self.settled = self.taken;
        let before = self.granted.limit();
        let tell = self.granted.consume(more) && self.end.is_none_or(|end| before < end);
        (more, tell && !matches!(self.state, State::Over))
    }
}

/// A head of its own, without its CONTENT_LENGTH and what is ours, which is told apart: nothing is allocated for one that has
/// nothing else.
fn owned(head: &HeadRef<'_>, length: u16) -> Result<(Packet, Told), Error> {
    let Command { code, version, .. } = head.command();
    let (mut deadline, mut refusal, mut others) = (None, None, 0);
    for message in head.messages() {
        match message.key() {
            key::DEADLINE => _ = deadline.get_or_insert(message.as_i32()),
            key::REFUSAL => _ = refusal.get_or_insert(message.as_i16()),
            other => others += usize::from(is_the_callers(other, length)),
        }
    }
    let mut messages = Vec::with_capacity(others);
    if others > 0 {
        for message in head.messages().filter(|message| is_the_callers(message.key(), length)) {
            messages.push(message.to_message()?);
        }
    }
    let told = Told { deadline: deadline.flatten(), refusal: refusal.flatten() };
    Ok((Packet { code, version, messages, entity: Bytes::new() }, told))
}

fn is_the_callers(key: u16, length: u16) -> bool {
    key != length && !key::TRANSPORT.contains(&key)
}

fn of_head(error: Error) -> Trouble {
    if error.kind() == ErrorKind::Limit { Trouble::TooLarge(error) } else { Trouble::Broken(error) }
}

/// Makes room for so many bytes of an entity, and for more of them where the ledger has it: in steps of four
/// times, so that little is copied, and no more than four times what has come is held.
fn reserve(hold: &mut Hold, entity: &mut Vec<u8>, wanted: usize, len: usize) -> bool {
    let had = entity.capacity();
    let wanted = wanted.min(len);
    if wanted <= had {
        return true;
    }
    for target in [wanted.saturating_mul(4).min(len), wanted] {
        if hold.grow_within(target - had, Config::GATHER_SHARE) {
            entity.reserve_exact(target - entity.len());
            // The allocator may have given more.
            let more = entity.capacity().saturating_sub(target);
            if more > 0 && !hold.grow(more) {
                entity.shrink_to(target);
            }
            return true;
        }
    }
    false
}
