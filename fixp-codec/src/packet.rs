//! Packets, borrowed and owned: command, messages, entity, and nothing between them (SPEC 1.1).
//!
//! ```
//! use fixp_codec::{Decoder, LAXCUS6, Packet, laxcus6::{answer, key}};
//!
//! let packet = Packet::new(answer::OKAY)
//!     .with(key::SPEAK, "here it is")
//!     .with(key::SERIAL_OBJECTS, 2)
//!     .with_entity(&b"two objects"[..]);
//! let wire = packet.to_bytes(&LAXCUS6)?;
//!
//! let read = Decoder::new(&LAXCUS6).packet(&wire)?;
//! assert_eq!(read.first(key::SERIAL_OBJECTS).unwrap().as_i32(), Some(2));
//! assert_eq!(read.entity(), b"two objects");
//!
//! // What was read has the CONTENT_LENGTH that the wire had; without it, it is what was built.
//! let mut owned = read.to_packet()?;
//! assert_eq!(owned.remove(key::CONTENT_LENGTH), 1);
//! assert_eq!(owned, packet);
//! # Ok::<(), fixp_codec::Error>(())
//! ```

use core::ops::Deref;

use alloc::vec::Vec;

use bytes::Bytes;

use crate::{Code, Dialect, Encoder, Error, HeadRef, Message, VERSION, Value};

/// A packet in a slice, checked. Its head's accessors are its own.
#[derive(Clone, Copy, Debug)]
pub struct PacketRef<'a> {
    head: HeadRef<'a>,
    entity: &'a [u8],
}

impl<'a> PacketRef<'a> {
    pub(crate) const fn new(head: HeadRef<'a>, entity: &'a [u8]) -> Self {
        Self { head, entity }
    }

    /// The head: command and messages.
    #[must_use]
    pub const fn head(&self) -> HeadRef<'a> {
        self.head
    }

    /// The data entity, empty for none.
    #[inline]
    #[must_use]
    pub const fn entity(&self) -> &'a [u8] {
        self.entity
    }

    /// The bytes of the packet on the wire.
    #[inline]
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        self.head.bytes.len() + self.entity.len()
    }
}

impl<'a> Deref for PacketRef<'a> {
    type Target = HeadRef<'a>;

    fn deref(&self) -> &HeadRef<'a> {
        &self.head
    }
}

/// A packet that owns its parts. Plain data: everything may be changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The request or answer.
    pub code: Code,
    /// The version, [`VERSION`] unless a compatible reader took another.
    pub version: u16,
    /// The messages in their order. CONTENT_LENGTH need not be among them: encoding appends it (SPEC 5.6).
    pub messages: Vec<Message>,
    /// The data entity, empty for none.
    pub entity: Bytes,
}

impl Packet {
    /// A packet without messages and entity.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self { code, version: VERSION, messages: Vec::new(), entity: Bytes::new() }
    }

    /// A request without messages and entity.
    #[must_use]
    pub const fn request(major: u8, minor: u8) -> Self {
        Self::new(Code::Request { major, minor })
    }

    /// An answer without messages and entity.
    #[must_use]
    pub const fn answer(code: u16) -> Self {
        Self::new(Code::Answer(code))
    }

    /// The same with one more message.
    #[must_use]
    pub fn with(mut self, key: u16, value: impl Into<Value>) -> Self {
        self.messages.push(Message::new(key, value));
        self
    }

    /// The same with this entity.
    #[must_use]
    pub fn with_entity(mut self, entity: impl Into<Bytes>) -> Self {
        self.entity = entity.into();
        self
    }

    /// The first value of a key (SPEC 3.1).
    #[must_use]
    pub fn first(&self, key: u16) -> Option<&Value> {
        self.all(key).next()
    }

    /// All values of a key, in their order.
    pub fn all(&self, key: u16) -> impl Iterator<Item = &Value> + Clone {
        self.messages.iter().filter(move |message| message.key == key).map(|message| &message.value)
    }

    /// Takes away all messages of a key, and tells how many there were.
    pub fn remove(&mut self, key: u16) -> usize {
        let before = self.messages.len();
        self.messages.retain(|message| message.key != key);
        before - self.messages.len()
    }

    /// The packet on the wire.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::packet`].
    pub fn to_bytes(&self, dialect: &Dialect) -> Result<Bytes, Error> {
        let encoder = Encoder::new(dialect);
        let mut wire = Vec::with_capacity(encoder.packet_len(self)?);
        encoder.packet(self, &mut wire)?;
        Ok(wire.into())
    }
}
