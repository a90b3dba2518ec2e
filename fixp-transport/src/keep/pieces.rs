//! Cutting a packet into pieces, and joining it (SPEC 9.1, 9.2, 9.3).
//!
//! ```
//! use fixp_codec::{Decoder, LAXCUS6, Packet, laxcus6::notify};
//! use fixp_transport::keep::pieces::{Added, Bounds, Form, Gather, Mark, Pieces};
//!
//! let log = Packet::new(notify::FLUSH_LOG).with_entity(vec![1; 1000]);
//! let pieces = Pieces::cut(&LAXCUS6, log.clone(), Form::of_request(&LAXCUS6, 1))?;
//! assert_eq!(pieces.count(), 3);
//!
//! let mut gather = None;
//! for index in [2, 0, 1] {
//!     let datagram = pieces.datagram(index).unwrap();
//!     let packet = Decoder::new(&LAXCUS6).packet(&datagram)?;
//!     let mark = Mark::of(&LAXCUS6, &packet).unwrap();
//!     gather.get_or_insert_with(|| Gather::new(mark)).add(mark, &packet, 0, Bounds::default());
//! }
//! assert_eq!(gather.unwrap().join(&LAXCUS6), Some(log));
//! # Ok::<(), fixp_codec::Error>(())
//! ```

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::laxcus6::key::{
    PACKET_IDENTIFY, SUBPACKET_COUNT, SUBPACKET_DISABLE_TIMEOUT, SUBPACKET_SERIAL, SUBPACKET_TIMEOUT,
};
use fixp_codec::{Cause, Code, Command, Decoder, Dialect, Encoder, Error, Message, Packet, PacketRef};

use super::control;
use super::gathered::Gathered;
use super::limits::Limits;
use super::table;
use crate::udp::MAX_DATAGRAM;

/// The bytes of an entity that the programs put in a piece.
pub const PIECE: usize = 480;
/// What SUBPACKET_DISABLE_TIMEOUT says, in milliseconds.
const DISABLE: i32 = 60_000;
/// What a piece costs beside its content, where it is one of several.
pub const PIECE_COST: usize = 128;
/// What a packet costs beside its entity and the values of its messages, for each of these.
const MESSAGE_COST: usize = 64;

/// The keys of a piece that [`Mark::of`] looks at.
const MARKS: [u16; 4] = [PACKET_IDENTIFY, SUBPACKET_COUNT, SUBPACKET_SERIAL, SUBPACKET_TIMEOUT];

/// What the pieces of a packet say beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    /// PACKET_IDENTIFY.
    pub identity: i32,
    /// SUBPACKET_TIMEOUT, written in milliseconds.
    pub timeout: Duration,
    /// The bytes of a piece.
    pub size: usize,
    /// What BIND_IP says, where the dialect has it.
    pub bind_ip: Option<IpAddr>,
}

impl Form {
    /// The programs' form of a request.
    #[must_use]
    pub fn of_request(dialect: &Dialect, identity: i32) -> Self {
        Self { identity, timeout: table::of(dialect).request_timeout, size: PIECE, bind_ip: None }
    }

    /// The programs' form of an answer.
    #[must_use]
    pub fn of_answer(dialect: &Dialect, identity: i32) -> Self {
        Self { identity, timeout: table::of(dialect).answer_timeout, size: PIECE, bind_ip: None }
    }
}

/// The keys that a piece has more than its packet.
const KEYS: [u16; 5] =
    [PACKET_IDENTIFY, SUBPACKET_COUNT, SUBPACKET_SERIAL, SUBPACKET_TIMEOUT, SUBPACKET_DISABLE_TIMEOUT];

/// A packet in pieces. They are written when they are asked for, so that a piece sent ten times is held once.
///
/// Of each piece only the serial and its own part of the entity differ; the rest of its head is written once.
#[derive(Clone, Debug)]
pub struct Pieces {
    dialect: &'static Dialect,
    entity: Bytes,
    identity: i32,
    size: usize,
    count: u32,
    /// The head up to the serial.
    before: Box<[u8]>,
    /// What stands between the serial and CONTENT_LENGTH.
    between: Box<[u8]>,
    /// CONTENT_LENGTH of all pieces but the last, and of that.
    lengths: [Box<[u8]>; 2],
}

impl Pieces {
    /// Cuts a packet. Messages of its own with the keys of pieces, and CONTENT_LENGTH, are left out.
    ///
    /// # Errors
    ///
    /// What the wire cannot carry: see [`Encoder::packet`]; an entity whose pieces cannot be counted, or
    /// messages that make a datagram too long, are [`Cause::EntityCut`].
    pub fn cut(dialect: &'static Dialect, mut packet: Packet, form: Form) -> Result<Self, Error> {
        let length_key = dialect.content_length_key();
        packet.messages.retain(|message| !KEYS.contains(&message.key) && message.key != length_key);
        let packet = control::bound(dialect, form.bind_ip, packet);
        let size = form.size.max(1);
        let count = packet.entity.len().div_ceil(size).max(1);
        let too_long = |had| Error::new(Cause::EntityCut, 0).sizes(MAX_DATAGRAM, had);
        let count = i32::try_from(count).map_err(|_| too_long(count))?;
        let (before, behind) = keys(dialect, &packet, form, count);

        let encoder = Encoder::new(dialect);
        // All that is written of them, and CONTENT_LENGTH, which is the last.
        let messages = before.len() + behind.len() + 2;
        let message_count = u16::try_from(messages)
            .map_err(|_| Error::new(Cause::TooManyMessages, 0).sizes(messages, u16::MAX.into()))?;
        let command = Command { code: packet.code, version: packet.version, message_count };
        let mut head = Vec::new();
        encoder.command(&command, &mut head)?;
        for message in &before {
            encoder.message(message, &mut head)?;
        }
        let mut between = Vec::new();
        for (index, message) in behind.iter().enumerate() {
            let offset = before.len() + 1 + index;
            encoder.message(message, &mut between).map_err(|error| error.moved(offset))?;
        }
        let length_of = |length: usize| {
            let mut written = Vec::new();
            let length = i32::try_from(length).map_err(|_| too_long(length))?;
            encoder.message(&Message::new(length_key, length), &mut written)?;
            Ok::<_, Error>(written.into_boxed_slice())
        };
        let last = packet.entity.len() - (count.unsigned_abs() as usize - 1) * size;
        let pieces = Self {
            dialect,
            identity: form.identity,
            size,
            count: count.unsigned_abs(),
            before: head.into(),
            between: between.into(),
            lengths: [length_of(size.min(packet.entity.len()))?, length_of(last)?],
            entity: packet.entity,
        };
        if pieces.longest() > MAX_DATAGRAM {
            return Err(too_long(pieces.longest()));
        }
        Ok(pieces)
    }

    /// How many there are, at least one.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The identity that they carry.
    #[must_use]
    pub const fn identity(&self) -> i32 {
        self.identity
    }

    /// The bytes that holding them costs.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.entity.len() + self.head_len()
    }

    /// The most bytes that one of them has as a datagram.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.head_len() + self.size.min(self.entity.len())
    }

    /// The longest head.
    fn head_len(&self) -> usize {
        self.before.len() + SERIAL + self.between.len() + self.lengths[0].len()
    }

    /// The bytes of all of them as datagrams, at most.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.entity.len() + self.head_len() * self.count as usize
    }

    /// The piece with this index, from 0, as a datagram; nothing beyond the last.
    #[must_use]
    pub fn datagram(&self, index: u32) -> Option<Bytes> {
        let mut wire = Vec::with_capacity(self.longest());
        self.write_into(&mut wire, index).then(|| wire.into())
    }

    /// Writes the piece with this index to the end of a buffer; nothing beyond the last. Tells whether it has.
    pub fn write_into(&self, wire: &mut Vec<u8>, index: u32) -> bool {
        if index >= self.count {
            return false;
        }
        let start = (index as usize).saturating_mul(self.size).min(self.entity.len());
        let end = start.saturating_add(self.size).min(self.entity.len());
        let serial = (self.dialect.first_serial() + index).cast_signed();
        wire.reserve(self.longest());
        let begin = wire.len();
        wire.extend_from_slice(&self.before);
        let serial = Message::new(SUBPACKET_SERIAL, serial);
        if Encoder::new(self.dialect).message(&serial, wire).is_err() {
            // Not reached: the dialect has written other numbers of that type.
            wire.truncate(begin);
            return false;
        }
        wire.extend_from_slice(&self.between);
        wire.extend_from_slice(&self.lengths[usize::from(index + 1 == self.count)]);
        wire.extend_from_slice(self.entity.get(start..end).unwrap_or_default());
        true
    }
}

/// The most bytes of the message with the serial.
const SERIAL: usize = 8;

/// The messages of a piece in their order: those before the serial, and those behind it.
fn keys(dialect: &Dialect, packet: &Packet, form: Form, count: i32) -> (Vec<Message>, Vec<Message>) {
    let table = table::of(dialect);
    let answer = !packet.code.is_request();
    let timeout = i32::try_from(form.timeout.as_millis()).unwrap_or(i32::MAX);
    let count = Message::new(SUBPACKET_COUNT, count);
    let identity = Message::new(PACKET_IDENTIFY, form.identity);
    let (mut before, mut behind) = if answer && table.answer_identity_first {
        (vec![identity, count], Vec::new())
    } else {
        (vec![count], vec![identity])
    };
    behind.push(Message::new(SUBPACKET_TIMEOUT, timeout));
    if table.disable {
        behind.push(Message::new(SUBPACKET_DISABLE_TIMEOUT, DISABLE));
    }
    if answer && table.empty_answer_keys_last && packet.entity.is_empty() {
        // BIND_IP stays behind them.
        let bind_ip = crate::tables::of(dialect).bind_ip;
        let (last, first): (Vec<_>, Vec<_>) =
            packet.messages.iter().cloned().partition(|message| Some(message.key) == bind_ip);
        before.splice(0..0, first);
        behind.extend(last);
    } else {
        behind.extend(packet.messages.iter().cloned());
    }
    (before, behind)
}

/// What a piece says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The code of the whole.
    pub code: Code,
    /// PACKET_IDENTIFY.
    pub identity: i32,
    /// How many pieces there are.
    pub count: u32,
    /// Which one this is, from 0 whatever the dialect's first serial; always less than the count.
    pub index: u32,
    /// SUBPACKET_TIMEOUT, where it says a time.
    pub timeout: Option<Duration>,
}

impl Mark {
    /// The mark of a piece; nothing where identity, count or serial is missing or of another type, or the serial is
    /// none of the count. SUBPACKET_TIMEOUT and SUBPACKET_DISABLE_TIMEOUT may be missing: some answers of the
    /// programs lack the latter.
    #[must_use]
    pub fn of(dialect: &Dialect, packet: &PacketRef<'_>) -> Option<Self> {
        let mut found = [None; 4];
        let mut left = found.len();
        // They stand in front, so this is soon over.
        for message in packet.messages() {
            let Some(slot) = MARKS.iter().position(|&key| key == message.key()) else { continue };
            if found[slot].is_none() {
                found[slot] = Some(message);
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        let [identity, count, serial, timeout] = found.map(|message| message?.as_i32());
        let count = u32::try_from(count?).ok()?;
        let serial = u32::try_from(serial?).ok()?;
        let index = serial.checked_sub(dialect.first_serial())?;
        let timeout = timeout.and_then(|time| u64::try_from(time).ok());
        (index < count).then_some(Self {
            code: packet.code(),
            identity: identity?,
            count,
            index,
            timeout: timeout.map(Duration::from_millis),
        })
    }

    /// The bytes that the entity of the whole has at least where that of this piece has so many: all but the last are
    /// of one size (SPEC 9.1).
    #[must_use]
    pub const fn least(self, len: usize) -> usize {
        let alike = if self.index + 1 < self.count { self.count as usize - 1 } else { 1 };
        len.saturating_mul(alike)
    }

    /// Whether a packet claims to be a piece, as the programs see it: both keys are there, of whatever type.
    #[must_use]
    pub fn is_claimed(packet: &PacketRef<'_>) -> bool {
        packet.first(SUBPACKET_COUNT).is_some() && packet.first(SUBPACKET_SERIAL).is_some()
    }
}

/// What a group takes at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Pieces.
    pub pieces: u32,
    /// Bytes of the entity, in all.
    pub entity: usize,
}

impl Bounds {
    /// Whether a piece with an entity of so many bytes says that its packet is too large, whatever else comes.
    #[must_use]
    pub const fn exclude(self, mark: Mark, len: usize) -> bool {
        mark.least(len) > self.entity
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self { pieces: Limits::PIECES, entity: Limits::ENTITY }
    }
}

/// What became of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Added {
    /// It is kept, and some are missing.
    Kept,
    /// It was there already.
    Known,
    /// Another is there in its place: they are of two packets, and the group stays as it was.
    Differs,
    /// It was the last.
    Whole,
    /// It belongs to another group: its code, identity or count is another.
    Foreign,
    /// With it the entity would pass its bound, or it tells that those after it will: the group is of no more use.
    TooLarge,
    /// There are too many pieces, or its messages cannot be read.
    Refused,
}

/// A group of pieces on its way to be a packet.
///
/// What is compared with the group is the code, the identity and the count. The programs compare more (version,
/// time-outs, the number of messages), and that only makes them refuse what could be joined.
#[derive(Debug)]
pub struct Gather {
    mark: Mark,
    pieces: Gathered,
    /// Command and messages of the first piece.
    head: Option<Bytes>,
    /// What that costs, and what its messages will when they are read.
    head_cost: usize,
    bytes: usize,
}

impl Gather {
    /// A group of the pieces that belong to this one, which is not yet in it. Nothing is allocated for the count.
    #[must_use]
    pub const fn new(mark: Mark) -> Self {
        Self { mark, pieces: Gathered::new(), head: None, head_cost: 0, bytes: 0 }
    }

    /// The identity of the group.
    #[must_use]
    pub const fn identity(&self) -> i32 {
        self.mark.identity
    }

    /// How many pieces it wants.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.mark.count
    }

    /// Whether a piece belongs to it.
    #[must_use]
    pub fn takes(&self, mark: Mark) -> bool {
        (mark.code, mark.identity, mark.count) == (self.mark.code, self.mark.identity, self.mark.count)
    }

    /// Adds a piece, with a digest of its datagram.
    pub fn add(&mut self, mark: Mark, packet: &PacketRef<'_>, digest: u64, bounds: Bounds) -> Added {
        if !self.takes(mark) {
            return Added::Foreign;
        }
        // Nearly all come in their order.
        let next = self.pieces.last().is_none_or(|last| mark.index > last);
        if !next && let Some(had) = self.pieces.digest_of(mark.index) {
            return if had == digest { Added::Known } else { Added::Differs };
        }
        let entity = packet.entity();
        if bounds.exclude(mark, entity.len()) || entity.len() > bounds.entity.saturating_sub(self.bytes) {
            return Added::TooLarge;
        }
        if mark.count > bounds.pieces {
            return Added::Refused;
        }
        if mark.index == 0 {
            if packet.head().to_packet().is_err() {
                return Added::Refused;
            }
            self.head = Some(Bytes::copy_from_slice(packet.head_bytes()));
            self.head_cost = head_cost(packet);
        }
        self.bytes += entity.len();
        self.pieces.insert(mark.index, Bytes::copy_from_slice(entity), digest);
        if self.pieces.len() == self.mark.count as usize { Added::Whole } else { Added::Kept }
    }

    /// Whether no piece is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether a piece is missing before one that is there.
    #[must_use]
    pub fn has_hole(&self) -> bool {
        self.pieces.last().is_some_and(|last| last as usize >= self.pieces.len())
    }

    /// The indexes of missing pieces in their order, at most so many; where asked, only those before one that
    /// is there.
    #[must_use]
    pub fn missing(&self, before_last: bool, most: usize) -> Vec<u32> {
        let end = match self.pieces.last() {
            Some(last) if before_last => last,
            _ => self.mark.count,
        };
        let mut missing = Vec::new();
        let mut next = 0;
        for have in self.pieces.iter().map(|(index, ..)| index).chain([end]) {
            // Never more than are wanted, however large the hole is.
            missing.extend((next..have.min(end)).take(most - missing.len()));
            if missing.len() == most {
                break;
            }
            next = have + 1;
        }
        missing
    }

    /// The same of those in a range.
    pub(super) fn holes(&self, range: std::ops::Range<u32>, most: usize) -> Vec<u32> {
        range.filter(|&index| !self.pieces.contains(index)).take(most).collect()
    }

    /// How far its pieces go: behind the last one that is there.
    pub(super) fn end(&self) -> u32 {
        self.pieces.last().map_or(0, |last| last + 1)
    }

    /// The bytes that holding it costs.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.packet_cost() + self.pieces.len() * PIECE_COST
    }

    /// The bytes that its packet will cost.
    #[must_use]
    pub const fn packet_cost(&self) -> usize {
        self.bytes + self.head_cost
    }

    /// The bytes that a piece adds to [`Gather::cost`], at most.
    #[must_use]
    pub fn cost_of(mark: Mark, packet: &PacketRef<'_>) -> usize {
        let head = if mark.index == 0 { head_cost(packet) } else { 0 };
        packet.entity().len() + PIECE_COST + head
    }

    /// The digests of the pieces in their order.
    #[must_use]
    pub fn digests(&self) -> Box<[u64]> {
        self.pieces.iter().map(|(.., digest)| digest).collect()
    }

    /// The packet: the messages of the first piece without those that pieces have, and without CONTENT_LENGTH
    /// (which is written anew). Nothing where pieces are missing.
    #[must_use]
    pub fn join(self, dialect: &Dialect) -> Option<Packet> {
        if self.pieces.len() != self.mark.count as usize {
            return None;
        }
        let mut packet = Decoder::new(dialect).head(&self.head?).ok()?.to_packet().ok()?;
        let length = dialect.content_length_key();
        packet.messages.retain(|message| !KEYS.contains(&message.key) && message.key != length);
        packet.entity = self.pieces.join();
        Some(packet)
    }
}

fn head_cost(packet: &PacketRef<'_>) -> usize {
    packet.head_bytes().len() + packet.messages().count() * MESSAGE_COST
}
