//! Writing packets.
//!
//! Numbers are written in their shortest form, booleans as `00` and `01`, CONTENT_LENGTH last unless the
//! packet has one: what is built is canonical (SPEC 7.2). What was read and is not canonical in what a
//! packet says (another version, a NaN with a payload, CONTENT_LENGTH elsewhere, more than 32767 messages)
//! is written as it was read. What the wire cannot carry is an error, and nothing is written.
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

    /// The length of the entity. Where the entity is not in memory, this is all that [`Encoder::head`] and
    /// [`Encoder::head_len`] ask for, and [`Source::entity`] may be empty.
    fn entity_len(&self) -> usize {
        self.entity().len()
    }
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

    /// The same with another version.
    #[must_use]
    pub const fn with_version(mut self, version: u16) -> Self {
        self.version = version;
        self
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
        self.messages.iter().map(|&(key, value)| (key, value))
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

    /// Its dialect.
    #[must_use]
    pub const fn dialect(&self) -> &'d Dialect {
        self.dialect
    }

    /// The bytes that [`Encoder::packet`] writes.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::packet`].
    pub fn packet_len(&self, packet: &impl Source) -> Result<usize, Error> {
        Ok(self.head_len(packet)? + packet.entity().len())
    }

    /// The bytes that [`Encoder::head`] writes.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::packet`].
    pub fn head_len(&self, packet: &impl Source) -> Result<usize, Error> {
        Ok(self.compose(packet, &mut Nowhere)?.head_len)
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
        let entity = packet.entity();
        if !entity.is_empty() {
            out.put_slice(entity);
        }
        Ok(head_len + entity.len())
    }

    /// Writes all of a packet but its entity, so that a large one need not be copied: send
    /// [`Packet::entity`] after it.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::packet`].
    pub fn head(&self, packet: &impl Source, out: &mut impl BufMut) -> Result<usize, Error> {
        // A short head is composed on the stage and written at once; a longer one has been checked and
        // measured there, and is composed again, the stage emptied as it fills.
        let mut stage = Stage::new();
        let composed = self.compose(packet, &mut stage)?;
        match stage.whole(&composed) {
            Some(head) => out.put_slice(head),
            None => self.compose_long(packet, &composed, out),
        }
        Ok(composed.head_len)
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
        let (key, value) = (message.key, message.value.view());
        self.put(key, &value, 0, 0, &mut Nowhere)?;
        let mut sink = Flushing::new(out);
        let length = self.put(key, &value, 0, 0, &mut sink)?;
        sink.flush(length);
        Ok(length)
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

    /// Checks a packet and puts its messages, CONTENT_LENGTH among them, into a sink.
    #[inline(always)]
    fn compose(&self, packet: &impl Source, sink: &mut impl Sink) -> Result<Composed, Error> {
        let entity_len = packet.entity_len();
        if entity_len > MAX_ENTITY {
            return Err(Error::new(Cause::EntityTooLong, 0).sizes(entity_len, MAX_ENTITY));
        }
        let (mut head_len, mut count, mut found) = (Command::WIRE_LEN, 0, false);
        for (key, value) in packet.messages() {
            head_len += self.put(key, &value, count, head_len, sink)?;
            if key == self.dialect.content_length_key() && !found {
                says(value, entity_len).map_err(|error| error.moved(count))?;
                found = true;
            }
            count += 1;
            if count > MAX_MESSAGES {
                return Err(too_many(count));
            }
        }
        if !found {
            head_len += self.append(entity_len, count, head_len, sink)?;
            count += 1;
        }
        let Ok(message_count) = u16::try_from(count) else {
            return Err(too_many(count));
        };
        let command = Command { code: packet.code(), version: packet.version(), message_count };
        Ok(Composed { command: command.write(self.dialect)?, head_len, appends: !found })
    }

    /// Puts the CONTENT_LENGTH that a packet does not have itself.
    #[inline(always)]
    fn append(
        &self,
        entity_len: usize,
        index: usize,
        at: usize,
        sink: &mut impl Sink,
    ) -> Result<usize, Error> {
        self.number(self.dialect.content_length_key(), Type::Int32, entity_len as u64, (index, at), sink)
    }

    /// Writes a head that has been checked.
    #[inline(never)]
    fn compose_long(&self, packet: &impl Source, composed: &Composed, out: &mut impl BufMut) {
        out.put_slice(&composed.command);
        let mut sink = Flushing::new(out);
        let mut at = 0;
        // What cannot be written has been refused: no error is left to come.
        for (key, value) in packet.messages() {
            at += self.put(key, &value, 0, at, &mut sink).unwrap_or(0);
        }
        if composed.appends {
            at += self.append(packet.entity_len(), 0, at, &mut sink).unwrap_or(0);
        }
        sink.flush(at);
    }

    /// Puts a message at its place in the head and tells its length, or refuses it: the one function that
    /// both measures and writes.
    #[inline(always)]
    fn put(
        &self,
        key: u16,
        value: &ValueRef<'_>,
        index: usize,
        at: usize,
        sink: &mut impl Sink,
    ) -> Result<usize, Error> {
        let to = (index, at);
        match *value {
            ValueRef::Boolean(value) => self.number(key, Type::Boolean, value.into(), to, sink),
            ValueRef::Int16(value) => self.number(key, Type::Int16, value.cast_unsigned().into(), to, sink),
            ValueRef::Int32(value) => self.number(key, Type::Int32, value.cast_unsigned().into(), to, sink),
            ValueRef::Int64(value) => self.number(key, Type::Int64, value.cast_unsigned(), to, sink),
            ValueRef::Float32(value) => self.number(key, Type::Float32, value.to_bits().into(), to, sink),
            ValueRef::Float64(value) => self.number(key, Type::Float64, value.to_bits(), to, sink),
            ValueRef::Raw(bytes) => self.bytes(key, Type::Raw, bytes, to, sink),
            ValueRef::String(text) => self.bytes(key, Type::String, text.as_bytes(), to, sink),
            ValueRef::ZRaw(stream) => self.bytes(key, Type::ZRaw, stream.bytes(), to, sink),
            ValueRef::ZString(stream) => self.bytes(key, Type::ZString, stream.bytes(), to, sink),
            ValueRef::Unknown { code, bytes } => {
                let refuse = |cause| Error::new(cause, index).number_read(code.into()).in_message(key, None);
                if code > 15 || !(self.dialect.keeps_unknown_types() || self.dialect.type_of(code).is_some())
                {
                    return Err(refuse(Cause::UnwritableTypeCode));
                }
                if self.dialect.type_of(code).is_some() {
                    return Err(refuse(Cause::TypeCodeHasName));
                }
                coded(key, code, None, bytes, to, sink)
            }
        }
    }

    #[inline(always)]
    fn number(
        &self,
        key: u16,
        ty: Type,
        bits: u64,
        (index, at): (usize, usize),
        sink: &mut impl Sink,
    ) -> Result<usize, Error> {
        let code = self.code(key, ty, index)?;
        let length = number::shortest(bits);
        sink.number(at, head(key, code, length), bits, length);
        Ok(HEAD + length)
    }

    #[inline(always)]
    fn bytes(
        &self,
        key: u16,
        ty: Type,
        bytes: &[u8],
        to: (usize, usize),
        sink: &mut impl Sink,
    ) -> Result<usize, Error> {
        coded(key, self.code(key, ty, to.0)?, Some(ty), bytes, to, sink)
    }

    #[inline(always)]
    fn code(&self, key: u16, ty: Type, index: usize) -> Result<u8, Error> {
        self.dialect
            .code_of(ty)
            .ok_or_else(|| Error::new(Cause::TypeNotInDialect, index).in_message(key, Some(ty)))
    }
}

#[cold]
const fn too_many(count: usize) -> Error {
    Error::new(Cause::TooManyMessages, 0).sizes(count, MAX_MESSAGES)
}

/// Puts a value that is its own bytes.
#[inline(always)]
fn coded(
    key: u16,
    code: u8,
    ty: Option<Type>,
    bytes: &[u8],
    (index, at): (usize, usize),
    sink: &mut impl Sink,
) -> Result<usize, Error> {
    if bytes.is_empty() || bytes.len() > MAX_VALUE {
        return Err(bad_length(key, ty, bytes.len(), index));
    }
    sink.bytes(at, head(key, code, bytes.len()), bytes);
    Ok(HEAD + bytes.len())
}

/// What the messages of a packet that may be written do not tell.
struct Composed {
    command: [u8; 7],
    head_len: usize,
    /// Whether CONTENT_LENGTH is to be appended.
    appends: bool,
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

/// Where messages go, each at its place in the head.
trait Sink {
    /// A message head and the bytes of a value.
    fn bytes(&mut self, at: usize, head: u32, bytes: &[u8]);
    /// A message head and the low `length` bytes of a number.
    fn number(&mut self, at: usize, head: u32, bits: u64, length: usize);
}

/// For measuring alone.
struct Nowhere;

impl Sink for Nowhere {
    #[inline(always)]
    fn bytes(&mut self, _: usize, _: u32, _: &[u8]) {}

    #[inline(always)]
    fn number(&mut self, _: usize, _: u32, _: u64, _: usize) {}
}

/// The longest head that is composed at once: a few short messages. The stage is cleared for every
/// packet, so it is no larger.
const STAGE: usize = 128;
/// The most a message of a number takes.
const NUMBER: usize = HEAD + 8;

/// A small buffer for a head. What does not fit is not written there. At the start of a cache line, since
/// what is read back across one soon after it was written in pieces waits.
#[repr(align(64))]
struct Stage([u8; STAGE + NUMBER]);

impl Stage {
    #[inline(always)]
    const fn new() -> Self {
        Self([0; STAGE + NUMBER])
    }

    /// The head, if all of it fitted.
    #[inline(always)]
    fn whole(&mut self, composed: &Composed) -> Option<&[u8]> {
        *self.0.first_chunk_mut()? = composed.command;
        self.0.get(..composed.head_len).filter(|head| head.len() <= STAGE)
    }
}

impl Sink for Stage {
    #[inline(always)]
    fn bytes(&mut self, at: usize, head: u32, bytes: &[u8]) {
        if let Some(room) = self.0.get_mut(at..at + HEAD + bytes.len())
            && let Some((to, value)) = room.split_first_chunk_mut()
        {
            *to = head.to_le_bytes();
            value.copy_from_slice(bytes);
        }
    }

    #[inline(always)]
    fn number(&mut self, at: usize, head: u32, bits: u64, _: usize) {
        // Eight bytes are written; those that do not count are written over, or not looked at.
        if let Some(room) = self.0.get_mut(at..at + NUMBER).and_then(<[u8]>::first_chunk_mut::<NUMBER>) {
            let (to, value) = room.split_at_mut(HEAD);
            to.copy_from_slice(&head.to_le_bytes());
            value.copy_from_slice(&bits.to_le_bytes());
        }
    }
}

/// Writes messages to a buffer by way of a stage, so that many short pieces become few long ones.
struct Flushing<'b, B> {
    out: &'b mut B,
    stage: Stage,
    /// The place up to which everything is in `out`.
    flushed: usize,
}

impl<'b, B: BufMut> Flushing<'b, B> {
    fn new(out: &'b mut B) -> Self {
        Self { out, stage: Stage::new(), flushed: 0 }
    }

    /// Empties the stage, which has everything up to `at`.
    fn flush(&mut self, at: usize) {
        self.out.put_slice(self.stage.0.get(..at - self.flushed).unwrap_or_default());
        self.flushed = at;
    }

    /// The place on the stage for so many bytes, emptied if it must be, or nothing if they are too many.
    #[inline]
    fn place(&mut self, at: usize, length: usize) -> Option<usize> {
        if at - self.flushed + length > STAGE {
            self.flush(at);
        }
        (length <= STAGE).then_some(at - self.flushed)
    }
}

impl<B: BufMut> Sink for Flushing<'_, B> {
    #[inline]
    fn bytes(&mut self, at: usize, head: u32, bytes: &[u8]) {
        let length = HEAD + bytes.len();
        match self.place(at, length) {
            Some(place) => self.stage.bytes(place, head, bytes),
            None => {
                self.out.put_slice(&head.to_le_bytes());
                self.out.put_slice(bytes);
                self.flushed = at + length;
            }
        }
    }

    #[inline]
    fn number(&mut self, at: usize, head: u32, bits: u64, length: usize) {
        if let Some(place) = self.place(at, HEAD + length) {
            self.stage.number(place, head, bits, length);
        }
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
