//! A message: key, type and value (SPEC 3).
//!
//! ```
//! use fixp_codec::{Decoder, LAXCUS6, Message, Type, ValueRef};
//!
//! let wire = [0xe9, 0x03, 0x02, 0x50, 0xe0, 0x01];
//! let message = Decoder::new(&LAXCUS6).message(&wire).unwrap();
//! assert_eq!((message.key(), message.ty()), (1001, Some(Type::Int32)));
//! assert_eq!(message.as_i32(), Some(480));
//! assert_eq!(message.as_str(), None);
//! assert_eq!(message.to_message().unwrap(), Message::new(1001, 480));
//! ```

use crate::{Cause, DeflatedRef, Dialect, Error, Type, Value, ValueRef, number};

/// The bytes of a message's head on the wire: key, type and length.
pub(crate) const HEAD: usize = 4;

/// A message in a packet that has been checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageRef<'a> {
    key: u16,
    code: u8,
    ty: Option<Type>,
    bytes: &'a [u8],
}

impl<'a> MessageRef<'a> {
    #[inline]
    pub(crate) const fn new(dialect: &Dialect, key: u16, code: u8, bytes: &'a [u8]) -> Self {
        Self { key, code, ty: dialect.type_of(code), bytes }
    }

    /// The key (SPEC 3.1).
    #[inline]
    #[must_use]
    pub const fn key(&self) -> u16 {
        self.key
    }

    /// The type, nothing for a code without a name (SPEC 3.3).
    #[inline]
    #[must_use]
    pub const fn ty(&self) -> Option<Type> {
        self.ty
    }

    /// The type code on the wire, 0..=15.
    #[inline]
    #[must_use]
    pub const fn type_code(&self) -> u8 {
        self.code
    }

    /// The bytes of the value as they stand on the wire, whatever the type.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes of the message on the wire.
    #[inline]
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        HEAD + self.bytes.len()
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// [`Cause::InvalidUtf8`] for a string that is not UTF-8, which a compatible reader lets pass so that
    /// its [`bytes`](Self::bytes) can be had (SPEC 4.6). The offset is within the message. Nothing else fails.
    #[inline(always)]
    pub fn value(&self) -> Result<ValueRef<'a>, Error> {
        let bits = || number::read(self.bytes);
        Ok(match self.ty {
            Some(Type::Raw) => ValueRef::Raw(self.bytes),
            Some(Type::Boolean) => ValueRef::Boolean(self.bytes.first() == Some(&1)),
            Some(Type::String) => ValueRef::String(self.text()?),
            Some(Type::Int16) => ValueRef::Int16(bits() as i16),
            Some(Type::Int32) => ValueRef::Int32(bits() as i32),
            Some(Type::Int64) => ValueRef::Int64(bits() as i64),
            Some(Type::Float32) => ValueRef::Float32(f32::from_bits(bits() as u32)),
            Some(Type::Float64) => ValueRef::Float64(f64::from_bits(bits())),
            Some(Type::ZRaw) => ValueRef::ZRaw(DeflatedRef::new(self.bytes)),
            Some(Type::ZString) => ValueRef::ZString(DeflatedRef::new(self.bytes)),
            None => ValueRef::Unknown { code: self.code, bytes: self.bytes },
        })
    }

    /// The message as its own owner.
    ///
    /// # Errors
    ///
    /// That of [`MessageRef::value`].
    pub fn to_message(&self) -> Result<Message, Error> {
        Ok(Message { key: self.key, value: self.value()?.to_value() })
    }

    /// The bytes of a `raw` value.
    #[inline]
    #[must_use]
    pub fn as_raw(&self) -> Option<&'a [u8]> {
        (self.ty == Some(Type::Raw)).then_some(self.bytes)
    }

    /// A `boolean`.
    #[inline]
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        (self.ty == Some(Type::Boolean)).then(|| self.bytes.first() == Some(&1))
    }

    /// A `string` that is UTF-8.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        (self.ty == Some(Type::String)).then(|| core::str::from_utf8(self.bytes).ok()).flatten()
    }

    /// An `int16`.
    #[inline]
    #[must_use]
    pub fn as_i16(&self) -> Option<i16> {
        self.bits(Type::Int16).map(|bits| bits as i16)
    }

    /// An `int32`.
    #[inline]
    #[must_use]
    pub fn as_i32(&self) -> Option<i32> {
        self.bits(Type::Int32).map(|bits| bits as i32)
    }

    /// An `int64`.
    #[inline]
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.bits(Type::Int64).map(|bits| bits as i64)
    }

    /// A `float32`.
    #[inline]
    #[must_use]
    pub fn as_f32(&self) -> Option<f32> {
        self.bits(Type::Float32).map(|bits| f32::from_bits(bits as u32))
    }

    /// A `float64`.
    #[inline]
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.bits(Type::Float64).map(f64::from_bits)
    }

    /// The stream of a `zraw`.
    #[inline]
    #[must_use]
    pub fn as_zraw(&self) -> Option<DeflatedRef<'a>> {
        (self.ty == Some(Type::ZRaw)).then_some(DeflatedRef::new(self.bytes))
    }

    /// The stream of a `zstring`.
    #[inline]
    #[must_use]
    pub fn as_zstring(&self) -> Option<DeflatedRef<'a>> {
        (self.ty == Some(Type::ZString)).then_some(DeflatedRef::new(self.bytes))
    }

    #[inline]
    fn bits(&self, ty: Type) -> Option<u64> {
        (self.ty == Some(ty)).then(|| number::read(self.bytes))
    }

    #[inline]
    fn text(&self) -> Result<&'a str, Error> {
        core::str::from_utf8(self.bytes).map_err(|error| {
            let good = error.valid_up_to();
            Error::new(Cause::InvalidUtf8, HEAD + good)
                .sizes(good, self.bytes.len())
                .in_message(self.key, self.ty)
        })
    }
}

/// A message that owns its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The key (SPEC 3.1).
    pub key: u16,
    /// The value.
    pub value: Value,
}

impl Message {
    /// A message.
    #[must_use]
    pub fn new(key: u16, value: impl Into<Value>) -> Self {
        Self { key, value: value.into() }
    }
}
