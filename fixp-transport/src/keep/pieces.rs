//! Cutting a packet into pieces, and joining it (SPEC 9).
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

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fixp_codec::laxcus6::key::{
    PACKET_IDENTIFY, SUBPACKET_COUNT, SUBPACKET_DISABLE_TIMEOUT, SUBPACKET_SERIAL, SUBPACKET_TIMEOUT,
};
use fixp_codec::{Cause, Code, Decoder, Dialect, Draft, Encoder, Error, Packet, PacketRef, ValueRef};

use super::control;
use super::limits::Limits;
use super::table;
use crate::udp::MAX_DATAGRAM;

/// The bytes of an entity that the programs put in a piece.
pub const PIECE: usize = 480;
/// What SUBPACKET_DISABLE_TIMEOUT says, in milliseconds.
const DISABLE: i32 = 60_000;
/// What a piece costs beside its content.
pub const PIECE_COST: usize = 96;
/// What a packet costs beside its entity and the values of its messages, for each of these.
const MESSAGE_COST: usize = 64;

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
#[derive(Clone, Debug)]
pub struct Pieces {
    dialect: &'static Dialect,
    packet: Packet,
    form: Form,
    timeout: i32,
    count: u32,
    cost: usize,
}

impl Pieces {
    /// Cuts a packet. Messages of its own with the keys of pieces, and CONTENT_LENGTH, are left out.
    ///
    /// # Errors
    ///
    /// What the wire cannot carry: see [`Encoder::packet`]; an entity whose pieces cannot be counted, or
    /// messages that make a datagram too long, are [`Cause::EntityCut`].
    pub fn cut(dialect: &'static Dialect, mut packet: Packet, form: Form) -> Result<Self, Error> {
        let length = dialect.content_length_key();
        packet.messages.retain(|message| !KEYS.contains(&message.key) && message.key != length);
        let packet = control::bound(dialect, form.bind_ip, packet);
        let count = packet.entity.len().div_ceil(form.size.max(1)).max(1);
        let too_long = |had| Error::new(Cause::EntityCut, 0).sizes(MAX_DATAGRAM, had);
        let count = i32::try_from(count).map_err(|_| too_long(count))?.unsigned_abs();
        let timeout = i32::try_from(form.timeout.as_millis()).unwrap_or(i32::MAX);
        let mut pieces = Self { dialect, packet, form, timeout, count, cost: 0 };
        // The largest serial and the longest piece are in these.
        let longest = pieces.write(0)?.len().max(pieces.write(count - 1)?.len());
        if longest > MAX_DATAGRAM {
            return Err(too_long(longest));
        }
        let head = longest.saturating_sub(pieces.packet.entity.len().min(form.size));
        pieces.cost = pieces.packet.entity.len() + head + pieces.packet.messages.len() * MESSAGE_COST;
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
        self.form.identity
    }

    /// The bytes that holding them costs.
    #[must_use]
    pub const fn cost(&self) -> usize {
        self.cost
    }

    /// The piece with this index, from 0, as a datagram; nothing beyond the last.
    #[must_use]
    pub fn datagram(&self, index: u32) -> Option<Bytes> {
        if index < self.count { self.write(index).ok() } else { None }
    }

    fn write(&self, index: u32) -> Result<Bytes, Error> {
        let table = table::of(self.dialect);
        let serial = (self.dialect.first_serial() + index).cast_signed();
        let count = ValueRef::Int32(self.count.cast_signed());
        let identity = ValueRef::Int32(self.form.identity);
        let answer = !self.packet.code.is_request();
        let (count, identity) = ((SUBPACKET_COUNT, count), (PACKET_IDENTIFY, identity));
        let serial = (SUBPACKET_SERIAL, ValueRef::Int32(serial));
        let mut keys = if answer && table.answer_identity_first {
            vec![identity, count, serial]
        } else {
            vec![count, serial, identity]
        };
        keys.push((SUBPACKET_TIMEOUT, ValueRef::Int32(self.timeout)));
        if table.disable {
            keys.push((SUBPACKET_DISABLE_TIMEOUT, ValueRef::Int32(DISABLE)));
        }
        let bind_ip = crate::tables::of(self.dialect).bind_ip;
        let own = self.packet.messages.iter().map(|message| (message.key, message.value.view()));
        let mut messages = Vec::with_capacity(keys.len() + self.packet.messages.len());
        if answer && table.empty_answer_keys_last && self.packet.entity.is_empty() {
            messages.extend(own.clone().filter(|&(key, _)| Some(key) != bind_ip));
            messages.extend(keys);
            messages.extend(own.filter(|&(key, _)| Some(key) == bind_ip));
        } else {
            messages.extend(keys);
            messages.extend(own);
        }
        let start = (index as usize).saturating_mul(self.form.size).min(self.packet.entity.len());
        let end = start.saturating_add(self.form.size.max(1)).min(self.packet.entity.len());
        let draft = Draft::new(self.packet.code)
            .with_version(self.packet.version)
            .with_messages(&messages)
            .with_entity(&self.packet.entity[start..end]);
        let encoder = Encoder::new(self.dialect);
        let mut wire = Vec::with_capacity(encoder.packet_len(&draft)?);
        encoder.packet(&draft, &mut wire)?;
        Ok(wire.into())
    }
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
        let number = |key| packet.first(key)?.as_i32();
        let count = u32::try_from(number(SUBPACKET_COUNT)?).ok()?;
        let serial = u32::try_from(number(SUBPACKET_SERIAL)?).ok()?;
        let index = serial.checked_sub(dialect.first_serial())?;
        let timeout = number(SUBPACKET_TIMEOUT).and_then(|time| u64::try_from(time).ok());
        (index < count).then_some(Self {
            code: packet.code(),
            identity: number(PACKET_IDENTIFY)?,
            count,
            index,
            timeout: timeout.map(Duration::from_millis),
        })
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
    /// It was there already. The first of two stays.
    Known,
    /// It was the last.
    Whole,
    /// It belongs to another group: its code, identity or count is another.
    Foreign,
    /// It would pass the bounds, or its messages cannot be read.
    Refused,
}

/// A group of pieces on its way to be a packet.
///
/// What is compared with the group is the code, the identity and the count. The programs compare more (version,
/// time-outs, the number of messages), and that only makes them refuse what could be joined.
#[derive(Debug)]
pub struct Gather {
    mark: Mark,
    pieces: BTreeMap<u32, (Bytes, u64)>,
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
        Self { mark, pieces: BTreeMap::new(), head: None, head_cost: 0, bytes: 0 }
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
        if self.pieces.contains_key(&mark.index) {
            return Added::Known;
        }
        let entity = packet.entity();
        if mark.count > bounds.pieces || entity.len() > bounds.entity - self.bytes.min(bounds.entity) {
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
        self.pieces.insert(mark.index, (Bytes::copy_from_slice(entity), digest));
        if self.pieces.len() == self.mark.count as usize { Added::Whole } else { Added::Kept }
    }

    /// Whether no piece is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The indexes of missing pieces in their order, at most so many; where asked, only those before one that
    /// is there.
    #[must_use]
    pub fn missing(&self, before_last: bool, most: usize) -> Vec<u32> {
        let end = match self.pieces.last_key_value() {
            Some((&last, _)) if before_last => last,
            _ => self.mark.count,
        };
        let mut missing = Vec::new();
        let mut next = 0;
        for have in self.pieces.keys().copied().chain([end]) {
            // Never more than are wanted, however large the hole is.
            missing.extend((next..have.min(end)).take(most - missing.len()));
            if missing.len() == most {
                break;
            }
            next = have + 1;
        }
        missing
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
        self.pieces.values().map(|&(_, digest)| digest).collect()
    }

    /// The packet: the messages of the first piece without those that pieces have, and without CONTENT_LENGTH
    /// (which is written anew). Nothing where pieces are missing.
    #[must_use]
    pub fn join(mut self, dialect: &Dialect) -> Option<Packet> {
        if self.pieces.len() != self.mark.count as usize {
            return None;
        }
        let mut packet = Decoder::new(dialect).head(&self.head?).ok()?.to_packet().ok()?;
        let length = dialect.content_length_key();
        packet.messages.retain(|message| !KEYS.contains(&message.key) && message.key != length);
        packet.entity = match self.pieces.len() {
            1 => self.pieces.pop_first()?.1.0,
            _ => {
                let mut entity = BytesMut::with_capacity(self.bytes);
                for (bytes, _) in self.pieces.values() {
                    entity.extend_from_slice(bytes);
                }
                entity.freeze()
            }
        };
        Some(packet)
    }
}

fn head_cost(packet: &PacketRef<'_>) -> usize {
    packet.head_bytes().len() + packet.messages().count() * MESSAGE_COST
}
