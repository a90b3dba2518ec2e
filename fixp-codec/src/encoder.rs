//! Writing packets: the canonical form, or nothing (SPEC 7.2).
//!
//! ```
//! use fixp_codec::{Draft, Encoder, LAXCUS6, ValueRef, laxcus6::{answer, key}};
//!
//! // A draft borrows everything, so nothing is allocated but what the buffer needs.
//! let messages = [(key::SPEAK, ValueRef::String("helo")), (key::TIMEOUT, ValueRef::Int64(20_000))];
//! let draft = Draft::new(answer::OKAY).with_messages(&messages).with_entity(b"abc");
//!
//! let encoder = Encoder::new(&LAXCUS6);
//! let mut wire = Vec::new();
//! let written = encoder.packet(&draft, &mut wire)?;
//! assert_eq!(written, encoder.packet_len(&draft)?);
//! assert_eq!(wire.len(), written);
//! # Ok::<(), fixp_codec::Error>(())
//! ```

use bytes::{BufMut, Bytes};

use crate::message::HEAD;
use crate::{Cause, Code, Command, Dialect, Error, Message, Packet, Type, VERSION, ValueRef, number};

/// The longest value of a message, in bytes (SPEC 3.4).
pub const MAX_VALUE: usize = 4095;
/// The most messages of a packet (SPEC 2.5). Peers that are one of the recorded programs read at most
/// [`Command::MAX_CANONICAL_COUNT`].
pub const MAX_MESSAGES: usize = 65535;
/// The longest entity, in bytes: what CONTENT_LENGTH can say (SPEC 5.1).
pub const MAX_ENTITY: usize = i32::MAX as usize;

/// A packet to be written: an owned [`Packet`], a borrowed [`Draft`], or something of one's own.
pub trait Source {
    /// The request or answer.
    fn code(&self) -> Code;

    /// The version, [`VERSION`] unless something else is to be written.
    fn version(&self) -> u16 {
        VERSION
    }

    /// Keys and values in their order. Gives the same ones each time it is called.
    fn messages(&self) -> impl Iterator<Item = (u16, ValueRef<'_>)>;

    /// The data entity, empty for none.
    fn entity(&self) -> &[u8];
}

impl Source for Packet {
    fn code(&self) -> Code {
        self.code
    }

    fn version(&self) -> u16 {
        self.version
    }

    #[inline]
    fn messages(&self) -> impl Iterator<Item = (u16, ValueRef<'_>)> {
        self.messages.iter().map(|message| (message.key, message.value.view()))
    }

    fn entity(&self) -> &[u8] {
        &self.entity
    }
}

/// A packet to be written that borrows all its parts.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    code: Code,
    version: u16,
    messages: &'a [(u16, ValueRef<'a>)],
    entity: &'a [u8],
}

impl<'a> Draft<'a> {
    /// A packet without messages and entity.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self { code, version: VERSION, messages: &[], entity: &[] }
    }

    /// The same with these messages.
    #[must_use]
    pub const fn with_messages(mut self, messages: &'a [(u16, ValueRef<'a>)]) -> Self {
        self.messages = messages;
        self
    }

    /// The same with this entity.
    #[must_use]
    pub const fn with_entity(mut self, entity: &'a [u8]) -> Self {
        self.entity = entity;
        self
    }
}

impl Source for Draft<'_> {
    fn code(&self) -> Code {
        self.code
    }

    fn version(&self) -> u16 {
        self.version
    }

    #[inline]
    fn messages(&self) -> impl Iterator<Item = (u16, ValueRef<'_>)> {
        self.messages.iter().copied()
    }

    fn entity(&self) -> &[u8] {
        self.entity
    }
}

/// Writes packets, heads, commands and messages of a dialect.
///
/// Everything is checked and measured before the first byte is written, by the code that writes:
/// an error writes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Encoder<'d> {
    dialect: &'d Dialect,
}

impl<'d> Encoder<'d> {
    /// An encoder of a dialect.
    #[must_use]
    pub const fn new(dialect: &'d Dialect) -> Self {
        Self { dialect }
    }

    /// The bytes that [`Encoder::packet`] writes.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::packet`].
    pub fn packet_len(&self, packet: &impl Source) -> Result<usize, Error> {
        Ok(self.measure(packet)?.head_len + packet.entity().len())
    }

    /// The bytes that [`Encoder::head`] writes.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::packet`].
    pub fn head_len(&self, packet: &impl Source) -> Result<usize, Error> {
        Ok(self.measure(packet)?.head_len)
    }

    /// Writes a packet and tells how many bytes that were.
    ///
    /// A packet without CONTENT_LENGTH gets one as its last message; one that has it keeps it where
    /// it is (SPEC 5.6).
    ///
    /// # Errors
    ///
    /// What the wire cannot carry, and then nothing is written: a code that is not legal in the dialect,
    /// a type it lacks, a value of 0 or of more than [`MAX_VALUE`] bytes, more than [`MAX_MESSAGES`]
    /// messages, an entity of more than [`MAX_ENTITY`] bytes, a CONTENT_LENGTH that is not the entity's.
    /// The offset of an error about a message is its index.
    ///
    /// # Panics
    ///
    /// Where `out` does, when its memory cannot grow.
    pub fn packet(&self, packet: &impl Source, out: &mut impl BufMut) -> Result<usize, Error> {
        let head_len = self.head(packet, out)?;
        out.put_slice(packet.entity());
        Ok(head_len + packet.entity().len())
    }

    /// Writes all of a packet but its entity, so that a large one need not be copied: send
    /// [`Packet::entity`] after it.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::packet`].
    pub fn head(&self, packet: &impl Source, out: &mut impl BufMut) -> Result<usize, Error> {
        let measured = self.measure(packet)?;
        let mut sink = Staged::new(out);
        sink.bytes(&measured.command);
        for (key, value) in packet.messages() {
            // Measuring has refused what cannot be written.
            let _ = self.put(key, value, 0, &mut sink);
        }
        if measured.append {
            let _ = self.put(self.dialect.content_length_key(), measured.content_length, 0, &mut sink);
        }
        sink.flush();
        Ok(measured.head_len)
    }

    /// Writes a packet to the front of a slice and tells how many bytes that were.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::packet`], and [`Cause::NoRoom`] if the slice is too short.
    pub fn packet_to_slice(&self, packet: &impl Source, out: &mut [u8]) -> Result<usize, Error> {
        let needed = self.packet_len(packet)?;
        let had = out.len();
        let Some(mut room) = out.get_mut(..needed) else {
            return Err(Error::new(Cause::NoRoom, 0).sizes(needed, had));
        };
        self.packet(packet, &mut room)
    }

    /// Writes a lone message and tells how many bytes that were.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::packet`] about values.
    pub fn message(&self, message: &Message, out: &mut impl BufMut) -> Result<usize, Error> {
        let mut counter = Counter(0);
        self.put(message.key, message.value.view(), 0, &mut counter)?;
        let mut sink = Staged::new(out);
        let _ = self.put(message.key, message.value.view(), 0, &mut sink);
        sink.flush();
        Ok(counter.0)
    }

    /// Writes a lone command and tells how many bytes that were.
    ///
    /// # Errors
    ///
    /// A code that is not legal in the dialect.
    pub fn command(&self, command: &Command, out: &mut impl BufMut) -> Result<usize, Error> {
        let bytes = command.write(self.dialect)?;
        out.put_slice(&bytes);
        Ok(bytes.len())
    }

    /// Checks a packet and measures its head.
    fn measure(&self, packet: &impl Source) -> Result<Measured, Error> {
        let entity_len = packet.entity().len();
        if entity_len > MAX_ENTITY {
            return Err(Error::new(Cause::EntityTooLong, 0).sizes(entity_len, MAX_ENTITY));
        }
        let mut counter = Counter(Command::WIRE_LEN);
        let (mut count, mut found) = (0, false);
        for (key, value) in packet.messages() {
            self.put(key, value, count, &mut counter)?;
            if key == self.dialect.content_length_key() && !found {
                says(value, entity_len).map_err(|error| error.moved(count))?;
                found = true;
            }
            count += 1;
        }
        let content_length = ValueRef::Int32(entity_len as i32);
        if !found {
            self.put(self.dialect.content_length_key(), content_length, count, &mut counter)?;
            count += 1;
        }
        let Ok(message_count) = u16::try_from(count) else {
            return Err(Error::new(Cause::TooManyMessages, 0).sizes(count, MAX_MESSAGES));
        };
        let command = Command { code: packet.code(), version: packet.version(), message_count };
        Ok(Measured {
            command: command.write(self.dialect)?,
            head_len: counter.0,
            append: !found,
            content_length,
        })
    }

    /// Writes a message, or refuses it before anything is written: the one function that both measures
    /// and writes.
    #[inline]
    fn put(&self, key: u16, value: ValueRef<'_>, index: usize, sink: &mut impl Sink) -> Result<(), Error> {
        match value {
            ValueRef::Boolean(value) => self.number(key, Type::Boolean, value.into(), index, sink),
            ValueRef::Int16(value) => {
                self.number(key, Type::Int16, value.cast_unsigned().into(), index, sink)
            }
            ValueRef::Int32(value) => {
                self.number(key, Type::Int32, value.cast_unsigned().into(), index, sink)
            }
            ValueRef::Int64(value) => self.number(key, Type::Int64, value.cast_unsigned(), index, sink),
            ValueRef::Float32(value) => self.number(key, Type::Float32, value.to_bits().into(), index, sink),
            ValueRef::Float64(value) => self.number(key, Type::Float64, value.to_bits(), index, sink),
            ValueRef::Raw(bytes) => self.bytes(key, Type::Raw, bytes, index, sink),
            ValueRef::String(text) => self.bytes(key, Type::String, text.as_bytes(), index, sink),
            ValueRef::ZRaw(stream) => self.bytes(key, Type::ZRaw, stream.bytes(), index, sink),
            ValueRef::ZString(stream) => self.bytes(key, Type::ZString, stream.bytes(), index, sink),
            ValueRef::Unknown { code, bytes } => {
                let refuse = |cause| Error::new(cause, index).number_read(code.into()).in_message(key, None);
                if code > 15 || !(self.dialect.keeps_unknown_types() || self.dialect.type_of(code).is_some())
                {
                    return Err(refuse(Cause::UnwritableTypeCode));
                }
                if self.dialect.type_of(code).is_some() {
                    return Err(refuse(Cause::TypeCodeHasName));
                }
                self.coded(key, code, None, bytes, index, sink)
            }
        }
    }

    #[inline(always)]
    fn number(&self, key: u16, ty: Type, bits: u64, index: usize, sink: &mut impl Sink) -> Result<(), Error> {
        let code = self.code(key, ty, index)?;
        let length = number::shortest(bits);
        sink.number(head(key, code, length), bits, length);
        Ok(())
    }

    #[inline(always)]
    fn bytes(
        &self,
        key: u16,
        ty: Type,
        bytes: &[u8],
        index: usize,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        self.coded(key, self.code(key, ty, index)?, Some(ty), bytes, index, sink)
    }

    #[inline(always)]
    fn coded(
        &self,
        key: u16,
        code: u8,
        ty: Option<Type>,
        bytes: &[u8],
        index: usize,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        if bytes.is_empty() || bytes.len() > MAX_VALUE {
            return Err(bad_length(key, ty, bytes.len(), index));
        }
        sink.bytes(&head(key, code, bytes.len()).to_le_bytes());
        sink.bytes(bytes);
        Ok(())
    }

    #[inline(always)]
    fn code(&self, key: u16, ty: Type, index: usize) -> Result<u8, Error> {
        match self.dialect.codes[ty as usize] {
            0..=15 => Ok(self.dialect.codes[ty as usize]),
            _ => Err(Error::new(Cause::TypeNotInDialect, index).in_message(key, Some(ty))),
        }
    }
}

/// A packet that may be written.
struct Measured {
    command: [u8; 7],
    head_len: usize,
    append: bool,
    content_length: ValueRef<'static>,
}

/// The four bytes in front of a value (SPEC 3).
#[inline(always)]
const fn head(key: u16, code: u8, length: usize) -> u32 {
    key as u32 | (length as u32) << 16 | (code as u32) << 28
}

#[cold]
fn bad_length(key: u16, ty: Option<Type>, length: usize, index: usize) -> Error {
    let cause = if length == 0 { Cause::UnwritableEmpty } else { Cause::ValueTooLong };
    Error::new(cause, index).sizes(length, MAX_VALUE).in_message(key, ty)
}

/// Whether a CONTENT_LENGTH that is there says the entity's length, read as a reader does (SPEC 5.2, 5.3).
fn says(value: ValueRef<'_>, entity_len: usize) -> Result<(), Error> {
    let bits = match value {
        ValueRef::Boolean(value) => value.into(),
        ValueRef::Int16(value) => value.cast_unsigned().into(),
        ValueRef::Int32(value) => value.cast_unsigned().into(),
        ValueRef::Int64(value) => value.cast_unsigned(),
        ValueRef::Float32(value) => value.to_bits().into(),
        ValueRef::Float64(value) => value.to_bits(),
        ValueRef::Raw(bytes) | ValueRef::Unknown { bytes, .. } => wide(bytes)?,
        ValueRef::String(text) => wide(text.as_bytes())?,
        ValueRef::ZRaw(stream) | ValueRef::ZString(stream) => wide(stream.bytes())?,
    };
    let Ok(low) = u32::try_from(bits) else {
        return Err(Error::new(Cause::UnwritableContentLength, 0).sizes(4, number::shortest(bits)));
    };
    let said = usize::try_from(low.cast_signed()).unwrap_or(0);
    if said == entity_len {
        return Ok(());
    }
    Err(Error::new(Cause::ContentLengthLies, 0).sizes(entity_len, said).number_read(low))
}

/// The number in the bytes of a value that is not one.
fn wide(bytes: &[u8]) -> Result<u64, Error> {
    if number::fits(bytes, 4) {
        return Ok(number::read(bytes));
    }
    Err(Error::new(Cause::UnwritableContentLength, 0).sizes(4, bytes.len()))
}

/// Where bytes go: counted, or written.
trait Sink {
    fn bytes(&mut self, bytes: &[u8]);
    /// A message head and the low `length` bytes of a number.
    fn number(&mut self, head: u32, bits: u64, length: usize);
}

/// Counts what the others write.
struct Counter(usize);

impl Sink for Counter {
    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    #[inline(always)]
    fn number(&mut self, _: u32, _: u64, length: usize) {
        self.0 += HEAD + length;
    }
}

/// Writes to a buffer by way of a small stage, so that many short pieces become few long ones.
struct Staged<'b, B> {
    out: &'b mut B,
    stage: [u8; STAGE],
    used: usize,
}

/// The bytes of the stage: a few short messages.
const STAGE: usize = 128;
/// The most a message of a number takes.
const NUMBER: usize = HEAD + 8;

impl<'b, B: BufMut> Staged<'b, B> {
    #[inline(always)]
    fn new(out: &'b mut B) -> Self {
        Self { out, stage: [0; STAGE], used: 0 }
    }

    #[inline(always)]
    fn flush(&mut self) {
        let staged = self.stage.get(..self.used).unwrap_or_default();
        self.out.put_slice(staged);
        self.used = 0;
    }
}

impl<B: BufMut> Sink for Staged<'_, B> {
    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.used + bytes.len();
        if let Some(room) = self.stage.get_mut(self.used..end) {
            room.copy_from_slice(bytes);
            self.used = end;
            return;
        }
        self.flush();
        self.out.put_slice(bytes);
    }

    #[inline(always)]
    fn number(&mut self, head: u32, bits: u64, length: usize) {
        if self.used > STAGE - NUMBER {
            self.flush();
        }
        // Eight bytes are written, `length` of them count.
        if let Some(room) = self.stage.get_mut(self.used..).and_then(<[u8]>::first_chunk_mut::<NUMBER>) {
            let [h0, h1, h2, h3] = head.to_le_bytes();
            let [b0, b1, b2, b3, b4, b5, b6, b7] = bits.to_le_bytes();
            *room = [h0, h1, h2, h3, b0, b1, b2, b3, b4, b5, b6, b7];
        }
        self.used += HEAD + length;
    }
}

/// An entity is handed on, never copied: a packet's is shared.
impl Packet {
    /// Writes all of the packet but its entity, and gives the entity: two buffers for a vectored write.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::packet`].
    pub fn to_parts(&self, dialect: &Dialect, head: &mut impl BufMut) -> Result<Bytes, Error> {
        Encoder::new(dialect).head(self, head)?;
        Ok(self.entity.clone())
    }
}
