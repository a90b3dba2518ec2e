//! The decoder of whole packets in a slice.
//!
//! ```
//! use fixp_codec::{Decoder, LEXST1, Policy, lexst1::answer};
//!
//! // OKAY with one byte behind it: a compatible reader leaves the byte alone.
//! let wire = [0xc7, 0x00, 0x01, 0xd0, 0x07, 0x01, 0x00, 0x06, 0x04, 0x01, 0x60, 0x00, 0xff];
//! let packet = Decoder::new(&LEXST1).packet(&wire).unwrap();
//! assert_eq!((packet.code(), packet.wire_len()), (answer::OKAY, 12));
//!
//! let strict = Decoder::new(&LEXST1).with_policy(Policy::Strict);
//! let error = strict.packet(&wire).unwrap_err();
//! assert_eq!(error.to_string(), "trailing-bytes at byte 12: 1 byte behind the packet");
//! ```

use bytes::Bytes;

use crate::head;
use crate::message::HEAD;
use crate::reader::Reader;
use crate::{
    Cause, Command, Deflated, Dialect, Error, HeadRef, Limits, Message, MessageRef, Packet, PacketRef,
    StreamDecoder, Value, ValueRef,
};

/// What a reader takes (SPEC 7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Policy {
    /// Canonical packets and nothing else (SPEC 7.3).
    Strict,
    /// Also what the recorded programs take, with the exceptions of SPEC 7.4.
    #[default]
    Compatible,
}

impl Policy {
    pub(crate) const fn is_strict(self) -> bool {
        matches!(self, Self::Strict)
    }
}

/// Reads packets, heads, commands and messages from a slice. Borrows, allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<'d> {
    dialect: &'d Dialect,
    policy: Policy,
    limits: Limits,
}

impl<'d> Decoder<'d> {
    /// A compatible decoder with the default limits.
    #[must_use]
    pub fn new(dialect: &'d Dialect) -> Self {
        Self { dialect, policy: Policy::default(), limits: Limits::default() }
    }

    /// The same with another policy.
    #[must_use]
    pub const fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The same with other limits.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Its dialect.
    #[must_use]
    pub const fn dialect(&self) -> &'d Dialect {
        self.dialect
    }

    /// Its policy.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// Its limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A stream decoder of the same dialect, policy and limits.
    #[must_use]
    pub const fn stream(&self) -> StreamDecoder<'d> {
        StreamDecoder::with(*self)
    }

    /// The packet at the start of `input`. Bytes behind it are refused by the strict policy and left
    /// alone by the compatible one (SPEC 5.5); [`PacketRef::wire_len`] tells how many were read.
    ///
    /// # Errors
    ///
    /// Whatever rule of SPEC 2 to 5 or limit the packet breaks first.
    #[inline]
    pub fn packet<'a>(&self, input: &'a [u8]) -> Result<PacketRef<'a>, Error>
    where
        'd: 'a,
    {
        let head = self.head(input)?;
        let mut reader = Reader::new(input);
        reader.take(head.head_bytes().len(), Cause::EntityCut)?;
        let entity = reader.take(head.entity_len(), Cause::EntityCut)?;
        if self.policy.is_strict() {
            reader.finish()?;
        }
        Ok(PacketRef::new(head, entity))
    }

    /// The head at the start of `input`: everything but the entity, which need not be there.
    ///
    /// # Errors
    ///
    /// As [`Decoder::packet`], but for the entity and what follows it.
    #[inline]
    pub fn head<'a>(&self, input: &'a [u8]) -> Result<HeadRef<'a>, Error>
    where
        'd: 'a,
    {
        head::read(self.dialect, self.policy, &self.limits, input)
    }

    /// The command at the start of `input`.
    ///
    /// # Errors
    ///
    /// Those of SPEC 2; bytes behind it are refused by the strict policy.
    pub fn command(&self, input: &[u8]) -> Result<Command, Error> {
        let mut reader = Reader::new(input);
        let bytes = reader
            .array(Cause::CommandCut)
            .map_err(|cut| head::cut_or_tag(cut, &Limits { head: usize::MAX, ..self.limits }, input))?;
        let command = Command::read(self.dialect, self.policy.is_strict(), bytes)?;
        if self.policy.is_strict() {
            reader.finish()?;
        }
        Ok(command)
    }

    /// The message at the start of `input`.
    ///
    /// # Errors
    ///
    /// Those of SPEC 3 and 4; bytes behind it are refused by the strict policy.
    pub fn message<'a>(&self, input: &'a [u8]) -> Result<MessageRef<'a>, Error> {
        let strict = self.policy.is_strict();
        let mut reader = Reader::new(input);
        let (key, code, length) = head::split(reader.array(Cause::MessageHeadCut)?);
        let ty = head::known(self.dialect, strict, key, code, 0)?;
        let value = reader.take(length, Cause::ValueCut).map_err(|cut| cut.in_message(key, ty))?;
        head::check_value(self.dialect, strict, (key, code, value), || 0)?;
        if ty.is_none() && value.is_empty() && reader.rest().is_empty() {
            return Err(Error::new(Cause::EmptyValue, 2).in_message(key, ty));
        }
        if strict {
            reader.finish()?;
        }
        Ok(MessageRef::new(self.dialect, key, code, value))
    }

    /// The packet at the start of `input` as its own owner, sharing the bytes of `input` for its
    /// entity and its binary values.
    ///
    /// # Errors
    ///
    /// As [`Decoder::packet`], and strings that are not UTF-8 (SPEC 4.6).
    pub fn shared(&self, input: &Bytes) -> Result<Packet, Error> {
        let packet = self.packet(input)?;
        let entity = input.slice_ref(packet.entity());
        Ok(Packet { entity, ..packet.own(|bytes| input.slice_ref(bytes))? })
    }
}

impl PacketRef<'_> {
    /// The packet as its own owner. Copies entity and values; [`Decoder::shared`] shares them.
    ///
    /// # Errors
    ///
    /// A string that is not UTF-8, which a compatible reader lets pass so that its bytes can be had
    /// (SPEC 4.6): [`Cause::InvalidUtf8`].
    pub fn to_packet(&self) -> Result<Packet, Error> {
        Ok(Packet { entity: Bytes::copy_from_slice(self.entity()), ..self.head().to_packet()? })
    }
}

impl HeadRef<'_> {
    /// The head as a packet of its own, whose entity is yet to come. Copies the values.
    ///
    /// # Errors
    ///
    /// That of [`PacketRef::to_packet`].
    pub fn to_packet(&self) -> Result<Packet, Error> {
        self.own(Bytes::copy_from_slice)
    }

    fn own(&self, bytes: impl Fn(&[u8]) -> Bytes) -> Result<Packet, Error> {
        let mut at = Command::WIRE_LEN;
        let mut messages = alloc::vec::Vec::with_capacity(self.messages().len());
        for message in self.messages() {
            let value = match message.value().map_err(|error| error.moved(at))? {
                ValueRef::Raw(raw) => Value::Raw(bytes(raw)),
                ValueRef::Unknown { code, bytes: raw } => Value::Unknown { code, bytes: bytes(raw) },
                ValueRef::ZRaw(stream) => Value::ZRaw(Deflated::from_stream(bytes(stream.bytes()))),
                ValueRef::ZString(stream) => Value::ZString(Deflated::from_stream(bytes(stream.bytes()))),
                value => value.to_value(),
            };
            messages.push(Message { key: message.key(), value });
            at += HEAD + message.bytes().len();
        }
        let command = self.command();
        Ok(Packet { code: command.code, version: command.version, messages, entity: Bytes::new() })
    }
}
