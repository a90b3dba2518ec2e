//! The packets of the own transport: OPEN, OPENED, SEGMENT and CLOSE, read and written (SPEC 10.11 to 10.17).
//!
//! What cannot be read as a whole is dropped as a whole: a reader gives nothing for it.

use bytes::BufMut;
use fixp_codec::{Code, Decoder, Dialect, Encoder, PacketRef, Source, ValueRef, number};

use super::acknowledged::{self, Acknowledged};
use super::config::Config;
use super::ranges::Ranges;
use super::varint;
use crate::extension::{self, CLOSE, OPEN, OPENED, Refusal, SEGMENT, key};

/// The bytes of a command.
const COMMAND: usize = 7;
/// The bytes of a message beside its value.
const MESSAGE: usize = 4;
/// What BUFFER is where it is missing, in bytes.
const BUFFER: u32 = Config::BUFFER;

/// Whether a datagram is one of the own transport by its command, broken or not.
pub(super) fn is_own(dialect: &'static Dialect, datagram: &[u8]) -> bool {
    let command = Decoder::new(extension::own(dialect)).command(datagram.get(..COMMAND).unwrap_or_default());
    command.is_ok_and(|command| [OPEN, OPENED, SEGMENT, CLOSE].contains(&command.code))
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
    fn unusual(self, server: bool) -> impl Iterator<Item = Window> {
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

    const fn flags(self) -> u64 {
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

    fn write(self, out: &mut impl BufMut) {
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
    items.chunks.clear();
    items.windows.clear();
    items.resets.clear();
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

/// A packet that is being written: messages first, then [`Sheet::finish`].
///
/// It is used again for the next packet, so that nothing is allocated for one.
#[derive(Debug)]
pub(super) struct Sheet {
    code: Code,
    messages: Vec<(u16, Part)>,
    raw: Vec<u8>,
    /// The bytes of all that is on it.
    len: usize,
    entity: usize,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Raw(usize, usize),
    Int64(i64),
    Int32(i32),
    Int16(i16),
}

impl Sheet {
    pub(super) const fn new() -> Self {
        Self { code: SEGMENT, messages: Vec::new(), raw: Vec::new(), len: COMMAND, entity: 0 }
    }

    fn begin(&mut self, code: Code) {
        self.code = code;
        self.messages.clear();
        self.raw.clear();
        self.len = COMMAND;
        self.entity = 0;
    }

    fn raw(&mut self, key: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.raw.len();
        write(&mut self.raw);
        self.messages.push((key, Part::Raw(start, self.raw.len())));
        self.len += MESSAGE + self.raw.len() - start;
    }

    fn raw8(&mut self, key: u16, number: u64) {
        self.raw(key, |out| out.extend_from_slice(&number.to_le_bytes()));
    }

    /// Begins a SEGMENT.
    pub(super) fn segment(&mut self, association: u64, number: u64) {
        self.begin(SEGMENT);
        self.raw8(key::ASSOCIATION, association);
        self.messages.push((key::NUMBER, Part::Int64(number.cast_signed())));
        self.len += MESSAGE + number::shortest(number);
    }

    pub(super) fn acknowledged(&mut self, come: &Ranges, delay: std::time::Duration, most: usize) {
        self.raw(key::ACKNOWLEDGED, |out| acknowledged::write(come, delay, most, out));
    }

    pub(super) fn window(&mut self, window: Window) {
        self.raw(key::WINDOW, |out| window.write(out));
    }

    pub(super) fn reset(&mut self, reset: Reset) {
        self.raw(key::RESET, |out| {
            varint::write(reset.exchange, out);
            varint::write(u64::from(reset.answer), out);
            varint::write(reset.reason, out);
            varint::write(reset.sent, out);
        });
    }

    /// Puts a chunk; its bytes are to stand in the entity, in the order of the chunks.
    pub(super) fn chunk(&mut self, chunk: Chunk) {
        self.raw(key::CHUNK, |out| {
            varint::write(chunk.exchange, out);
            varint::write(chunk.flags(), out);
            varint::write(chunk.offset, out);
            varint::write(chunk.len as u64, out);
        });
        self.entity += chunk.len;
    }

    /// Puts bytes at the end of the entity that no chunk describes.
    pub(super) const fn pad(&mut self, bytes: usize) {
        self.entity += bytes;
    }

    /// The bytes of the packet as it stands.
    pub(super) const fn wire_len(&self) -> usize {
        self.len + MESSAGE + number::shortest(self.entity as u64) + self.entity
    }

    /// How long a chunk with this place can be in a packet of so many bytes.
    pub(super) const fn room(&self, exchange: u64, offset: u64, most: usize, limit: usize) -> usize {
        let beside = self.len + Chunk::wire_len(exchange, offset, 0) + MESSAGE + 1 + self.entity;
        let Some(room) = limit.checked_sub(beside) else { return 0 };
        let mut len = if room < most { room } else { most };
        // Its length and that of the entity may need more bytes than the one that was counted for each.
        loop {
            let more = varint::length(len as u64) + number::shortest((self.entity + len) as u64) - 2;
            if len + more <= room {
                return len;
            }
            let Some(less) = len.checked_sub(len + more - room) else { return 0 };
            len = less;
        }
    }

    /// How many bytes of padding make the packet exactly so long, where any do.
    pub(super) const fn padding(&self, limit: usize) -> Option<usize> {
        let mut width = 1;
        while width <= 4 {
            if let Some(entity) = limit.checked_sub(self.len + MESSAGE + width)
                && number::shortest(entity as u64) == width
            {
                return entity.checked_sub(self.entity);
            }
            width += 1;
        }
        None
    }

    /// Writes all but the entity.
    pub(super) fn finish(
        &self,
        dialect: &'static Dialect,
        out: &mut impl BufMut,
    ) -> Result<usize, fixp_codec::Error> {
        Encoder::new(extension::own(dialect)).head(self, out)
    }

    fn hello(&mut self, hello: Hello, server: bool) {
        self.raw8(key::SENDER, hello.number);
        if hello.buffer != BUFFER {
            let buffer = i32::try_from(hello.buffer).unwrap_or(i32::MAX);
            self.messages.push((key::BUFFER, Part::Int32(buffer)));
        }
        for window in hello.grants.unusual(server) {
            self.window(window);
        }
    }
}

impl Source for Sheet {
    fn code(&self) -> Code {
        self.code
    }

    fn messages(&self) -> impl Iterator<Item = (u16, ValueRef<'_>)> {
        self.messages.iter().map(|&(key, part)| {
            let value = match part {
                Part::Raw(start, end) => ValueRef::Raw(self.raw.get(start..end).unwrap_or_default()),
                Part::Int64(number) => ValueRef::Int64(number),
                Part::Int32(number) => ValueRef::Int32(number),
                Part::Int16(number) => ValueRef::Int16(number),
            };
            (key, value)
        })
    }

    fn entity(&self) -> &[u8] {
        &[]
    }

    fn entity_len(&self) -> usize {
        self.entity
    }
}

/// Writes packets that have no entity. They stand on a sheet, which is used again.
impl Sheet {
    pub(super) fn open(
        &mut self,
        dialect: &'static Dialect,
        hello: Hello,
    ) -> Result<Vec<u8>, fixp_codec::Error> {
        self.begin(OPEN);
        self.hello(hello, false);
        self.written(dialect)
    }

    pub(super) fn opened(
        &mut self,
        dialect: &'static Dialect,
        association: u64,
        hello: Hello,
    ) -> Result<Vec<u8>, fixp_codec::Error> {
        self.begin(OPENED);
        self.raw8(key::ASSOCIATION, association);
        self.hello(hello, true);
        self.written(dialect)
    }

    /// To a peer, by its own number.
    pub(super) fn close(
        &mut self,
        dialect: &'static Dialect,
        association: u64,
    ) -> Result<Vec<u8>, fixp_codec::Error> {
        self.begin(CLOSE);
        self.raw8(key::ASSOCIATION, association);
        self.written(dialect)
    }

    /// To somebody who named a number that is not known here, perhaps with the word that nothing was executed.
    pub(super) fn unknown(
        &mut self,
        dialect: &'static Dialect,
        sender: u64,
        unbegun: bool,
    ) -> Result<Vec<u8>, fixp_codec::Error> {
        self.begin(CLOSE);
        self.raw8(key::SENDER, sender);
        if unbegun {
            self.messages.push((key::REFUSAL, Part::Int16(Refusal::Overloaded.number())));
        }
        self.written(dialect)
    }

    fn written(&self, dialect: &'static Dialect) -> Result<Vec<u8>, fixp_codec::Error> {
        let mut out = Vec::with_capacity(self.wire_len());
        self.finish(dialect, &mut out)?;
        Ok(out)
    }
}
