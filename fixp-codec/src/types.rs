//! The ten types of values (SPEC 3.2).
//!
//! ```
//! use fixp_codec::{LAXCUS6, LEXST1, Type};
//!
//! assert_eq!(LEXST1.code_of(Type::Int32), Some(6));
//! assert_eq!(LAXCUS6.code_of(Type::Int32), Some(5));
//! assert_eq!(LAXCUS6.code_of(Type::ZString), None);
//! ```

/// What a value is. The codes on the wire are the dialect's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Type {
    /// Bytes.
    Raw,
    /// True or false, one byte.
    Boolean,
    /// UTF-8 text.
    String,
    /// A signed 16-bit integer.
    Int16,
    /// A signed 32-bit integer.
    Int32,
    /// A signed 64-bit integer.
    Int64,
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64.
    Float64,
    /// Bytes in a zlib stream.
    ZRaw,
    /// UTF-8 text in a zlib stream.
    ZString,
}

impl Type {
    /// All ten, in the order of the book.
    pub const ALL: [Self; 10] = [
        Self::Raw,
        Self::Boolean,
        Self::String,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Float32,
        Self::Float64,
        Self::ZRaw,
        Self::ZString,
    ];

    /// The name in the JSON forms: `raw`, `boolean`, `string`, `int16`, ...
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::ZRaw => "zraw",
            Self::ZString => "zstring",
        }
    }

    /// The type of a name of [`Type::name`].
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.name() == name)
    }

    /// The width in bytes of a number (SPEC 4.1), nothing for other types.
    #[must_use]
    pub const fn number_width(self) -> Option<usize> {
        match self {
            Self::Int16 => Some(2),
            Self::Int32 | Self::Float32 => Some(4),
            Self::Int64 | Self::Float64 => Some(8),
            _ => None,
        }
    }
}

impl core::fmt::Display for Type {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}
