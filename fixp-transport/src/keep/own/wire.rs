//! What the packets of the own transport say, and how they are read: OPEN, OPENED, SEGMENT and CLOSE (SPEC 10.11 to
//! 10.17). A [`Sheet`](super::sheet::Sheet) writes them.
//!
//! What cannot be read as a whole is dropped as a whole: a reader gives nothing for it.

use bytes::BufMut;
use fixp_codec::{Decoder, Dialect, PacketRef, Type, VERSION, number};

use super::acknowledged::Acknowledged;
use super::config::Config;
use super::varint;
use crate::extension::{self, CLOSE, OPEN, OPENED, Refusal, SEGMENT, key};

/// The bytes of a command.
pub(super) const COMMAND: usize = 7;
/// The bytes of a message beside its value.
pub(super) const MESSAGE: usize = 4;
/// What BUFFER is where it is missing, in bytes.
pub(super) const BUFFER: u32 = Config::BUFFER;

/// Whether a datagram is one of the own transport by its command, broken or not.
pub(super) fn is_own(dialect: &'static Dialect, datagram: &[u8]) -> bool {
    extension::request_of(dialect, datagram)
        .is_some_and(|code| [OPEN, OPENED, SEGMENT, CLOSE].contains(&code))
}

/// The limits that an end sets at the beginning of an association (SPEC 10.12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Grants {
    /// Bytes of each request.
    pub(super) request: u64,
    /// Bytes of each answer.
    pub(super) answer: u64,
    /// Bytes of all exchanges.
    pub(super) bytes: u64,
    /// Exchanges.
    pub(super) exchanges: u64,
}

impl Grants {
    /// Those of an end that says nothing.
    pub(super) const DEFAULT: Self = Self {
        request: Config::EXCHANGE_WINDOW,
        answer: Config::EXCHANGE_WINDOW,
        bytes: Config::ASSOCIATION_WINDOW,
        exchanges: Config::EXCHANGES,
    };

    /// What an end with these limits grants its peer.
    pub(super) const fn of(config: &Config) -> Self {
        Self {
            request: config.exchange_window,
            answer: config.exchange_window,
            bytes: config.association_window,
            exchanges: config.exchanges,
        }
    }

    fn set(&mut self, window: Window) {
        match window {
            Window::Request { limit, .. } => self.request = limit,
            Window::Answer { limit, .. } => self.answer = limit,
            Window::Bytes { limit } => self.bytes = limit,
            Window::Exchanges { limit } => self.exchanges = limit,
        }
    }

    /// What differs from the default, in what a client or a server may set.
    pub(super) fn unusual(self, server: bool) -> impl Iterator<Item = Window> {
        let windows = [
            (
                server,
                self.request != Self::DEFAULT.request,
                Window::Request { exchange: 0, limit: self.request },
            ),
            (
                !server,
                self.answer != Self::DEFAULT.answer,
                Window::Answer { exchange: 0, limit: self.answer },
            ),
            (true, self.bytes != Self::DEFAULT.bytes, Window::Bytes { limit: self.bytes }),
            (server, self.exchanges != Self::DEFAULT.exchanges, Window::Exchanges { limit: self.exchanges }),
        ];
        windows.into_iter().filter_map(|(may, differs, window)| (may && differs).then_some(window))
    }
}

/// What an end says of itself at the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hello {
    /// The number that it chose.
    pub(super) number: u64,
    pub(super) grants: Grants,
    /// The bytes of its buffer for receiving.
    pub(super) buffer: u32,
}

impl Hello {
    pub(super) const fn of(config: &Config, number: u64) -> Self {
        Self { number, grants: Grants::of(config), buffer: config.buffer }
    }
}

/// A part of one direction of an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chunk {
    pub(super) exchange: u64,
    /// Of the answer, or of the request.
    pub(super) answer: bool,
    /// Whether its last byte is that of the direction.
    pub(super) last: bool,
    pub(super) offset: u64,
    pub(super) len: usize,
}

impl Chunk {
    const ANSWER: u64 = 1;
    const LAST: u64 = 2;

    pub(super) const fn flags(self) -> u64 {
        (if self.answer { Self::ANSWER } else { 0 }) | (if self.last { Self::LAST } else { 0 })
    }

    /// The bytes of the message, its head among them.
    pub(super) const fn wire_len(exchange: u64, offset: u64, len: usize) -> usize {
        MESSAGE + varint::length(exchange) + 1 + varint::length(offset) + varint::length(len as u64)
    }

    fn read(mut value: &[u8]) -> Option<Self> {
        let exchange = varint::read(&mut value).ok()?;
        let flags = varint::read(&mut value).ok()?;
        let offset = varint::read(&mut value).ok()?;
        let len = varint::read(&mut value).ok()?;
        // What ends beyond all numbers is nothing.
        offset.checked_add(len)?;
        let len = usize::try_from(len).ok()?;
        let (answer, last) = (flags & Self::ANSWER != 0, flags & Self::LAST != 0);
        (value.is_empty() && exchange > 0).then_some(Self { exchange, answer, last, offset, len })
    }
}

/// How much may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Window {
    /// Bytes of a request.
    Request { exchange: u64, limit: u64 },
    /// Bytes of an answer.
    Answer { exchange: u64, limit: u64 },
    /// Bytes of an association.
    Bytes { limit: u64 },
    /// Exchanges of an association.
    Exchanges { limit: u64 },
}

impl Window {
    fn read(mut value: &[u8]) -> Option<Self> {
        let mut next = || varint::read(&mut value).ok();
        let window = match next()? {
            0 => Self::Request { exchange: next()?, limit: next()? },
            1 => Self::Answer { exchange: next()?, limit: next()? },
            2 => Self::Bytes { limit: next()? },
            3 => Self::Exchanges { limit: next()? },
            _ => return None,
        };
        value.is_empty().then_some(window)
    }

    pub(super) fn write(self, out: &mut impl BufMut) {
        let mut numbers = |numbers: &[u64]| numbers.iter().for_each(|&number| varint::write(number, out));
        match self {
            Self::Request { exchange, limit } => numbers(&[0, exchange, limit]),
            Self::Answer { exchange, limit } => numbers(&[1, exchange, limit]),
            Self::Bytes { limit } => numbers(&[2, limit]),
            Self::Exchanges { limit } => numbers(&[3, limit]),
        }
    }
}

/// A direction of an exchange is over before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reset {
    pub(super) exchange: u64,
    /// Of the answer, or of the request.
    pub(super) answer: bool,
    /// The number of a refusal, 0 for none.
    pub(super) reason: u64,
    /// How many bytes of the direction have been sent, by whom they are sent; else 0.
    pub(super) sent: u64,
}

impl Reset {
    /// More than any message of it has.
    pub(super) const LONGEST: usize = MESSAGE + 3 * varint::LONGEST + 1;

    fn read(mut value: &[u8]) -> Option<Self> {
        let exchange = varint::read(&mut value).ok()?;
        let flags = varint::read(&mut value).ok()?;
        let reason = varint::read(&mut value).ok()?;
        let sent = varint::read(&mut value).ok()?;
        let answer = flags & Chunk::ANSWER != 0;
        (value.is_empty() && exchange > 0).then_some(Self { exchange, answer, reason, sent })
    }
}

/// More than any WINDOW has, with its head.
pub(super) const LONGEST_WINDOW: usize = MESSAGE + 1 + 2 * varint::LONGEST;
/// What stands in a SEGMENT, in vectors that are used again for the next one.
#[derive(Default, Debug)]
pub(super) struct Items {
    /// With the place of each in the entity.
    pub(super) chunks: Vec<(Chunk, usize)>,
    pub(super) windows: Vec<Window>,
    pub(super) resets: Vec<Reset>,
}

impl Items {
    fn clear(&mut self) {
        self.chunks.clear();
        self.windows.clear();
        self.resets.clear();
    }
}

/// A SEGMENT that is sound; what it carries beside stands in the [`Items`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) association: u64,
    pub(super) number: u64,
    pub(super) acknowledged: Option<Acknowledged<'a>>,
    pub(super) entity: &'a [u8],
}

/// A datagram of the own transport.
#[derive(Clone, Copy, Debug)]
pub(super) enum Datagram<'a> {
    Open(Hello),
    Opened {
        association: u64,
        hello: Hello,
    },
    Segment(Segment<'a>),
    /// The receiver's own number.
    Close {
        association: u64,
    },
    /// A number that the sender of this does not know, and whether nothing was executed under it.
    Unknown {
        sender: u64,
        unbegun: bool,
    },
}

fn raw8(packet: &PacketRef<'_>, key: u16) -> Option<u64> {
    Some(u64::from_le_bytes(packet.first(key)?.as_raw()?.try_into().ok()?))
}

fn hello(packet: &PacketRef<'_>) -> Option<Hello> {
    let mut hello = Hello { number: raw8(packet, key::SENDER)?, grants: Grants::DEFAULT, buffer: BUFFER };
    if let Some(buffer) = packet.first(key::BUFFER) {
        hello.buffer = u32::try_from(buffer.as_i32()?).ok()?;
    }
    for window in packet.all(key::WINDOW) {
        hello.grants.set(Window::read(window.as_raw()?)?);
    }
    Some(hello)
}

/// Reads a datagram; nothing where it is broken.
pub(super) fn read<'a>(
    dialect: &'static Dialect,
    datagram: &'a [u8],
    items: &mut Items,
) -> Option<Datagram<'a>> {
    if let Some(segment) = segment_as_written(dialect, datagram, items) {
        return Some(Datagram::Segment(segment));
    }
    let packet = Decoder::new(extension::own(dialect)).packet(datagram).ok()?;
    Some(match packet.code() {
        OPEN => Datagram::Open(hello(&packet)?),
        OPENED => Datagram::Opened { association: raw8(&packet, key::ASSOCIATION)?, hello: hello(&packet)? },
        SEGMENT => Datagram::Segment(segment(&packet, items)?),
        CLOSE => match raw8(&packet, key::ASSOCIATION) {
            Some(association) => Datagram::Close { association },
            None => {
                let refusal = packet.first(key::REFUSAL).and_then(|value| value.as_i16());
                let unbegun = refusal.is_some_and(|number| Refusal::of_number(number).is_unexecuted());
                Datagram::Unknown { sender: raw8(&packet, key::SENDER)?, unbegun }
            }
        },
        _ => return None,
    })
}

fn segment<'a>(packet: &PacketRef<'a>, items: &mut Items) -> Option<Segment<'a>> {
    items.clear();
    let (mut association, mut number, mut acknowledged, mut at) = (None, None, None, 0_usize);
    for message in packet.messages() {
        match message.key() {
            key::ASSOCIATION if association.is_none() => {
                association = Some(u64::from_le_bytes(message.as_raw()?.try_into().ok()?));
            }
            key::NUMBER if number.is_none() => number = Some(u64::try_from(message.as_i64()?).ok()?),
            key::ACKNOWLEDGED if acknowledged.is_none() => {
                acknowledged = Some(Acknowledged::read(message.as_raw()?).ok()?);
            }
            key::CHUNK => {
                let chunk = Chunk::read(message.as_raw()?)?;
                items.chunks.push((chunk, at));
                at = at.checked_add(chunk.len)?;
            }
            key::WINDOW => items.windows.push(Window::read(message.as_raw()?)?),
            key::RESET => items.resets.push(Reset::read(message.as_raw()?)?),
            _ => {}
        }
    }
    let entity = packet.entity();
    (at <= entity.len()).then_some(())?;
    Some(Segment { association: association?, number: number?, acknowledged, entity })
}

/// The same in one pass, of a SEGMENT as it is written here: without a message that is not one of its own, twice what
/// stands there once, or any value that is not as it should be. Nothing of others, of which it decides nothing.
fn segment_as_written<'a>(
    dialect: &'static Dialect,
    datagram: &'a [u8],
    items: &mut Items,
) -> Option<Segment<'a>> {
    let (&[_, v0, v1, _, _, c0, c1], mut rest) = datagram.split_first_chunk::<COMMAND>()?;
    if u16::from_le_bytes([v0, v1]) != VERSION || extension::request_of(dialect, datagram) != Some(SEGMENT) {
        return None;
    }
    let [raw, int64, int32] = [Type::Raw, Type::Int64, Type::Int32].map(|ty| dialect.code_of(ty));
    let (mut association, mut number, mut acknowledged, mut entity) = (None, None, None, None);
    items.clear();
    let mut at = 0_usize;
    for _ in 0..u16::from_le_bytes([c0, c1]) {
        let (&[k0, k1, f0, f1], behind) = rest.split_first_chunk::<MESSAGE>()?;
        let field = u16::from_le_bytes([f0, f1]);
        let (value, behind) = behind.split_at_checked(usize::from(field & 0xfff))?;
        rest = behind;
        let ty = Some((field >> 12) as u8);
        match u16::from_le_bytes([k0, k1]) {
            key::ASSOCIATION if association.is_none() && ty == raw => {
                association = Some(u64::from_le_bytes(value.try_into().ok()?));
            }
            key::NUMBER if number.is_none() && ty == int64 && (1..=8).contains(&value.len()) => {
                let read = number::read(value);
                i64::try_from(read).ok()?;
                number = Some(read);
            }
            key::ACKNOWLEDGED if acknowledged.is_none() && ty == raw => {
                acknowledged = Some(Acknowledged::read(value).ok()?);
            }
            key::CHUNK if ty == raw => {
                let chunk = Chunk::read(value)?;
                items.chunks.push((chunk, at));
                at = at.checked_add(chunk.len)?;
            }
            key::WINDOW if ty == raw => items.windows.push(Window::read(value)?),
            key::RESET if ty == raw => items.resets.push(Reset::read(value)?),
            key if key == dialect.content_length_key()
                && entity.is_none()
                && ty == int32
                && (1..=4).contains(&value.len()) =>
            {
                entity = Some(i32::try_from(number::read(value)).ok()?);
            }
            _ => return None,
        }
    }
    let entity = rest.get(..usize::try_from(entity?).ok()?)?;
    let segment = Segment { association: association?, number: number?, acknowledged, entity };
    (at <= entity.len()).then_some(segment)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use fixp_codec::{LAXCUS6, LEXST1, Message, Packet, Value};
    use proptest::prelude::*;

    use super::super::sheet::Sheet;
    use super::*;

    /// What stands in a SEGMENT, to be compared.
    fn told(segment: Option<Segment<'_>>, items: &Items) -> Option<impl PartialEq + std::fmt::Debug> {
        let Segment { association, number, acknowledged, entity } = segment?;
        let Items { chunks, windows, resets } = items;
        let parts = (chunks.clone(), windows.clone(), resets.clone());
        Some(((association, number), acknowledged.map(|it| format!("{it:?}")), entity.to_vec(), parts))
    }

    fn by_the_codec<'a>(
        dialect: &'static Dialect,
        bytes: &'a [u8],
        items: &mut Items,
    ) -> Option<Segment<'a>> {
        let packet = Decoder::new(extension::own(dialect)).packet(bytes).ok()?;
        if packet.code() == SEGMENT { segment(&packet, items) } else { None }
    }

    proptest! {
        /// What is read in one pass is what the codec reads.
        #[test]
        fn one_pass_reads_what_the_codec_reads(
            dialect in prop::sample::select(vec![&LAXCUS6, &LEXST1]),
            messages in prop::collection::vec(message(), 0..5),
            others in prop::collection::vec(message(), 0..3),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            (entity, cut) in (0..40usize, 0..4usize),
        ) {
            let mut packet = Packet::new(SEGMENT);
            packet.messages = vec![raw(key::ASSOCIATION, vec![7; 8]), Message::new(key::NUMBER, 300_i64)];
            packet.messages.extend(messages);
            // They are used again: what stood there before is gone.
            let mut before = packet.clone();
            before.messages.extend(others);
            let own = extension::own(dialect);
            let (mut quick, mut slow) = (Items::default(), Items::default());
            for packet in [before.with_entity(vec![9; entity]), packet.with_entity(vec![7; entity])] {
                let mut wire = packet.to_bytes(own).unwrap().to_vec();
                for (at, byte) in &changes {
                    let at = at.index(wire.len());
                    wire[at] = *byte;
                }
                wire.truncate(wire.len() - cut);
                let one_pass = segment_as_written(dialect, &wire, &mut quick);
                if one_pass.is_some() {
                    let by_codec = by_the_codec(dialect, &wire, &mut slow);
                    prop_assert_eq!(told(one_pass, &quick), told(by_codec, &slow));
                }
            }
        }
    }

    fn raw(key: u16, bytes: Vec<u8>) -> Message {
        Message::new(key, Value::Raw(bytes.into()))
    }

    /// One that may stand in a SEGMENT, sound or not, or twice.
    fn message() -> impl Strategy<Value = Message> {
        let bytes = || prop::collection::vec(prop_oneof![3 => 0..6u8, 1 => any::<u8>()], 1..9);
        let keys = vec![key::ASSOCIATION, key::ACKNOWLEDGED, key::CHUNK, key::WINDOW, key::RESET, 7];
        prop_oneof![
            4 => (prop::sample::select(keys), bytes()).prop_map(|(key, bytes)| raw(key, bytes)),
            1 => any::<i64>().prop_map(|number| Message::new(key::NUMBER, number)),
            1 => any::<i32>().prop_map(|number| Message::new(key::NUMBER, number)),
        ]
    }

    /// SPEC 10.13: a number has 63 bits, and a second one does not take the place of one that has more.
    #[test]
    fn a_number_of_64_bits_is_none() {
        let mut packet = Packet::new(SEGMENT).with(key::ASSOCIATION, Value::Raw(vec![7; 8].into()));
        packet = packet.with(key::NUMBER, -1_i64).with(key::NUMBER, 5_i64);
        let wire = packet.to_bytes(extension::own(&LAXCUS6)).unwrap();
        let mut items = Items::default();
        assert!(segment_as_written(&LAXCUS6, &wire, &mut items).is_none());
        assert!(read(&LAXCUS6, &wire, &mut items).is_none());
    }

    #[test]
    fn what_is_written_is_read_in_one_pass() {
        let mut sheet = Sheet::new();
        sheet.segment(extension::own(&LAXCUS6), 7, 300);
        sheet.window(Window::Bytes { limit: 5 });
        sheet.reset(Reset { exchange: 3, answer: true, reason: 0, sent: 9 });
        sheet.chunk(Chunk { exchange: 4, answer: false, last: true, offset: 1, len: 2 });
        let mut wire = Vec::new();
        sheet.finish(&mut wire).unwrap();
        wire.extend([7; 2]);
        let (mut quick, mut slow) = (Items::default(), Items::default());
        let one_pass = segment_as_written(&LAXCUS6, &wire, &mut quick);
        assert!(one_pass.is_some());
        assert_eq!(told(one_pass, &quick), told(by_the_codec(&LAXCUS6, &wire, &mut slow), &slow));
    }
}
