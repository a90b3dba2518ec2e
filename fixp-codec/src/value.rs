//! Values, borrowed and owned (SPEC 4).
//!
//! ```
//! use fixp_codec::{Value, ValueRef};
//!
//! let value = Value::from("helo");
//! assert_eq!(value.view(), ValueRef::String("helo"));
//! assert_eq!(Value::from(480_i32), Value::Int32(480));
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::{Deflated, DeflatedRef, Type};

/// A value as it stands in a packet.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ValueRef<'a> {
    /// Bytes (SPEC 4.7).
    Raw(&'a [u8]),
    /// True or false (SPEC 4.5).
    Boolean(bool),
    /// Text (SPEC 4.6).
    String(&'a str),
    /// A signed 16-bit integer.
    Int16(i16),
    /// A signed 32-bit integer.
    Int32(i32),
    /// A signed 64-bit integer.
    Int64(i64),
    /// IEEE 754 binary32, all its bits (SPEC 4.4).
    Float32(f32),
    /// IEEE 754 binary64, all its bits (SPEC 4.4).
    Float64(f64),
    /// Compressed bytes (SPEC 4.9).
    ZRaw(DeflatedRef<'a>),
    /// Compressed text (SPEC 4.9).
    ZString(DeflatedRef<'a>),
    /// The bytes of a type code that has no name in the dialect (SPEC 3.3).
    Unknown {
        /// The type code, 0..=15.
        code: u8,
        /// The bytes, untouched.
        bytes: &'a [u8],
    },
}

impl ValueRef<'_> {
    /// The type, nothing for an unknown one.
    #[must_use]
    pub const fn ty(&self) -> Option<Type> {
        Some(match self {
            Self::Raw(_) => Type::Raw,
            Self::Boolean(_) => Type::Boolean,
            Self::String(_) => Type::String,
            Self::Int16(_) => Type::Int16,
            Self::Int32(_) => Type::Int32,
            Self::Int64(_) => Type::Int64,
            Self::Float32(_) => Type::Float32,
            Self::Float64(_) => Type::Float64,
            Self::ZRaw(_) => Type::ZRaw,
            Self::ZString(_) => Type::ZString,
            Self::Unknown { .. } => return None,
        })
    }

    /// The value as its own owner. Copies bytes and text.
    #[inline(always)]
    #[must_use]
    pub fn to_value(&self) -> Value {
        match *self {
            Self::Raw(bytes) => Value::Raw(Bytes::copy_from_slice(bytes)),
            Self::Boolean(value) => Value::Boolean(value),
            Self::String(text) => Value::String(text.into()),
            Self::Int16(value) => Value::Int16(value),
            Self::Int32(value) => Value::Int32(value),
            Self::Int64(value) => Value::Int64(value),
            Self::Float32(value) => Value::Float32(value),
            Self::Float64(value) => Value::Float64(value),
            Self::ZRaw(stream) => Value::ZRaw(stream.to_deflated()),
            Self::ZString(stream) => Value::ZString(stream.to_deflated()),
            Self::Unknown { code, bytes } => Value::Unknown { code, bytes: Bytes::copy_from_slice(bytes) },
        }
    }
}

macro_rules! from_ref {
    ($($from:ty => $variant:ident;)*) => {$(
        impl<'a> From<$from> for ValueRef<'a> {
            fn from(it: $from) -> Self {
                Self::$variant(it)
            }
        }
    )*};
}

from_ref! {
    bool => Boolean;
    i16 => Int16;
    i32 => Int32;
    i64 => Int64;
    f32 => Float32;
    f64 => Float64;
    &'a str => String;
    &'a [u8] => Raw;
}

/// Equal if the bytes on the wire are: floats by their bits, compressed values by their streams.
impl PartialEq for ValueRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Raw(a), Self::Raw(b)) => a == b,
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Int16(a), Self::Int16(b)) => a == b,
            (Self::Int32(a), Self::Int32(b)) => a == b,
            (Self::Int64(a), Self::Int64(b)) => a == b,
            (Self::Float32(a), Self::Float32(b)) => a.to_bits() == b.to_bits(),
            (Self::Float64(a), Self::Float64(b)) => a.to_bits() == b.to_bits(),
            (Self::ZRaw(a), Self::ZRaw(b)) | (Self::ZString(a), Self::ZString(b)) => a == b,
            (Self::Unknown { code: a, bytes: x }, Self::Unknown { code: b, bytes: y }) => a == b && x == y,
            _ => false,
        }
    }
}

impl Eq for ValueRef<'_> {}

/// A value that owns its bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// Bytes (SPEC 4.7).
    Raw(Bytes),
    /// True or false (SPEC 4.5).
    Boolean(bool),
    /// Text (SPEC 4.6).
    String(String),
    /// A signed 16-bit integer.
    Int16(i16),
    /// A signed 32-bit integer.
    Int32(i32),
    /// A signed 64-bit integer.
    Int64(i64),
    /// IEEE 754 binary32, all its bits (SPEC 4.4).
    Float32(f32),
    /// IEEE 754 binary64, all its bits (SPEC 4.4).
    Float64(f64),
    /// Compressed bytes (SPEC 4.9).
    ZRaw(Deflated),
    /// Compressed text (SPEC 4.9).
    ZString(Deflated),
    /// The bytes of a type code that has no name in the dialect (SPEC 3.3).
    Unknown {
        /// The type code, 0..=15.
        code: u8,
        /// The bytes, untouched.
        bytes: Bytes,
    },
}

impl Value {
    /// The value, borrowed.
    #[inline(always)]
    #[must_use]
    pub fn view(&self) -> ValueRef<'_> {
        match self {
            Self::Raw(bytes) => ValueRef::Raw(bytes),
            Self::Boolean(value) => ValueRef::Boolean(*value),
            Self::String(text) => ValueRef::String(text),
            Self::Int16(value) => ValueRef::Int16(*value),
            Self::Int32(value) => ValueRef::Int32(*value),
            Self::Int64(value) => ValueRef::Int64(*value),
            Self::Float32(value) => ValueRef::Float32(*value),
            Self::Float64(value) => ValueRef::Float64(*value),
            Self::ZRaw(stream) => ValueRef::ZRaw(stream.view()),
            Self::ZString(stream) => ValueRef::ZString(stream.view()),
            Self::Unknown { code, bytes } => ValueRef::Unknown { code: *code, bytes },
        }
    }

    /// The type, nothing for an unknown one.
    #[must_use]
    pub fn ty(&self) -> Option<Type> {
        self.view().ty()
    }

    /// The bytes of a `raw` value.
    #[must_use]
    pub fn as_raw(&self) -> Option<&[u8]> {
        if let Self::Raw(bytes) = self { Some(bytes) } else { None }
    }

    /// A `boolean`.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        if let Self::Boolean(value) = self { Some(*value) } else { None }
    }

    /// A `string`.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// An `int16`.
    #[must_use]
    pub const fn as_i16(&self) -> Option<i16> {
        if let Self::Int16(value) = self { Some(*value) } else { None }
    }

    /// An `int32`.
    #[must_use]
    pub const fn as_i32(&self) -> Option<i32> {
        if let Self::Int32(value) = self { Some(*value) } else { None }
    }

    /// An `int64`.
    #[must_use]
    pub const fn as_i64(&self) -> Option<i64> {
        if let Self::Int64(value) = self { Some(*value) } else { None }
    }

    /// A `float32`.
    #[must_use]
    pub const fn as_f32(&self) -> Option<f32> {
        if let Self::Float32(value) = self { Some(*value) } else { None }
    }

    /// A `float64`.
    #[must_use]
    pub const fn as_f64(&self) -> Option<f64> {
        if let Self::Float64(value) = self { Some(*value) } else { None }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl Eq for Value {}

macro_rules! from {
    ($($from:ty => |$it:ident| $value:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($it: $from) -> Self {
                $value
            }
        }
    )*};
}

from! {
    bool => |it| Self::Boolean(it);
    i16 => |it| Self::Int16(it);
    i32 => |it| Self::Int32(it);
    i64 => |it| Self::Int64(it);
    f32 => |it| Self::Float32(it);
    f64 => |it| Self::Float64(it);
    &str => |it| Self::String(it.into());
    String => |it| Self::String(it);
    Bytes => |it| Self::Raw(it);
    Vec<u8> => |it| Self::Raw(it.into());
    &[u8] => |it| Self::Raw(Bytes::copy_from_slice(it));
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(it: &[u8; N]) -> Self {
        Self::Raw(Bytes::copy_from_slice(it))
    }
}
