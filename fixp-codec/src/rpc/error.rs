//! What can be wrong with a call, an answer or a value, as small values with numbers.
//!
//! ```
//! use fixp_codec::rpc::{Cause, Error};
//!
//! let error = Error::new(Cause::Cut, 4).sizes(2, 1);
//! assert_eq!(error.to_string(), "at byte 4: 2 bytes are needed, 1 is there");
//! ```

use core::fmt;

use crate::ErrorKind;

/// A refusal: what was wrong, where, and the numbers that show it.
///
/// At most 40 bytes, `Copy` and comparable; nothing is formatted before it is displayed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Error {
    cause: Cause,
    in_java: bool,
    number: u32,
    offset: usize,
    needed: usize,
    had: usize,
}

impl Error {
    /// An error at a place, with no numbers yet.
    #[must_use]
    pub const fn new(cause: Cause, offset: usize) -> Self {
        Self { cause, in_java: false, number: 0, offset, needed: 0, had: 0 }
    }

    /// The same error with what was needed (or asked for) and what there was (or the limit).
    #[must_use]
    pub const fn sizes(mut self, needed: usize, had: usize) -> Self {
        self.needed = needed;
        self.had = had;
        self
    }

    /// The same error with the number that was read there.
    #[must_use]
    pub const fn number_read(mut self, number: u32) -> Self {
        self.number = number;
        self
    }

    /// The same error `base` bytes further on, for a part of a longer input.
    #[must_use]
    pub const fn moved(mut self, base: usize) -> Self {
        self.offset = self.offset.saturating_add(base);
        self
    }

    /// The same error, found in the Java stream that is a part of a payload of laxcus6.
    #[must_use]
    pub const fn within_java(mut self) -> Self {
        self.in_java = true;
        self
    }

    /// The kind of refusal, one of those of SPEC 7.6.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.cause.kind()
    }

    /// What exactly was wrong.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// Where, from the start of the input: the first byte of what was refused. When writing: how much was
    /// written before.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Whether it was found in the Java stream that is a part of a payload of laxcus6 (SPEC 12.20).
    #[must_use]
    pub const fn is_in_java(&self) -> bool {
        self.in_java
    }

    /// How much was needed, or, for a limit, how much was asked for.
    #[must_use]
    pub const fn needed(&self) -> usize {
        self.needed
    }

    /// How much there was, or, for a limit, the limit.
    #[must_use]
    pub const fn had(&self) -> usize {
        self.had
    }

    /// The number that was read and refused.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }
}

/// What exactly was wrong. Flat and specific.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The input ends. `needed`, `had`.
    Cut,
    /// More bytes than the limit. `needed`, `had`: the limit.
    BytesLimit,
    /// Deeper than the limit. `had`: the limit.
    DepthLimit,
    /// More values than the limit. `had`: the limit.
    ValuesLimit,
    /// A number of values, or of elements in a Java stream, below zero. `number`: its 32 bits.
    NegativeCount,
    /// A length of text or of an array of numbers below zero, in laxcus6. `number`: its 32 bits.
    NegativeLength,
    /// A part of less than one byte where something must stand, in laxcus6. `number`: the 32 bits of its length;
    /// `had`: the bytes behind that.
    Empty,
    /// Text that is not of its encoding. `number`: the byte.
    Text,
    /// Not the first four bytes of a Java stream. `number`: they.
    Magic,
    /// A type code where none such can be. `number`: the code.
    Code,
    /// A block of bytes, or an end, where the first value of a stream must stand. `number`: the code.
    Block,
    /// A back reference to nothing, or to what cannot stand there. `number`: the reference.
    Reference,
    /// A class descriptor whose flags contradict each other or do not fit its use. `number`: the flags.
    Flags,
    /// A field of a type that does not exist, or a primitive one behind an object.
    Field,
    /// No class where one must be, or one of another kind: not an array, an enum without its constant.
    Class,
    /// A dynamic proxy of more interfaces than Java takes. `needed`, `had`: the limit.
    Interfaces,
    /// Null where a call or an answer must be. The real server answers a call of it with a
    /// NullPointerException, "null point request!".
    Null,
    /// A value of another class than that of a call or an answer, of one that the program has.
    OtherClass,
    /// An object of a class that there is not, in place of a call or an answer.
    NoClass,
    /// The class of a call or an answer with another number.
    OtherNumber,
    /// A field of a call or an answer that holds a value of another type.
    OtherType,
    /// Something in the array of the types of a call that is none.
    Element,
    /// A value that the form has no room for, writing.
    Unwritable,
    /// A byte[] of no bytes, which laxcus6 cannot write (SPEC 12.16).
    EmptyBytes,
    /// An alias without its anchor before it, writing. `number`: the anchor.
    Alias,
}

impl Cause {
    /// The kind of SPEC 7.6 that this cause belongs to.
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::Cut => ErrorKind::Truncated,
            Self::BytesLimit | Self::DepthLimit | Self::ValuesLimit | Self::Interfaces => ErrorKind::Limit,
            Self::Text => ErrorKind::InvalidUtf8,
            Self::Magic => ErrorKind::BadTag,
            Self::Code | Self::Block => ErrorKind::UnknownType,
            _ => ErrorKind::BadValue,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self { cause, in_java: _, number, offset, needed, had } = self;
        write!(f, "at byte {offset}: ")?;
        match cause {
            Cause::Cut => {
                let (bytes, are) = (plural(needed, "byte is", "bytes are"), plural(had, "is", "are"));
                write!(f, "{needed} {bytes} needed, {had} {are} there")
            }
            Cause::BytesLimit => write!(f, "{needed} bytes are more than the limit of {had}"),
            Cause::DepthLimit => write!(f, "values stand deeper in each other than the limit of {had}"),
            Cause::ValuesLimit => write!(f, "more values than the limit of {had}"),
            Cause::NegativeCount => write!(f, "a count of {}", number.cast_signed()),
            Cause::NegativeLength => write!(f, "a length of {}", number.cast_signed()),
            Cause::Empty => write!(f, "a part of {} bytes", number.cast_signed()),
            Cause::Text => write!(f, "byte {number:02x} is not text"),
            Cause::Magic => write!(f, "{number:08x} does not begin a Java stream"),
            Cause::Code => write!(f, "type code {number:02x} cannot stand here"),
            Cause::Block => write!(f, "code {number:02x} where the first value must stand"),
            Cause::Reference => write!(f, "a reference to {number:08x}, which cannot stand here"),
            Cause::Flags => write!(f, "a class of flags {number:02x} cannot stand here"),
            Cause::Field => f.write_str("a field of a type, or at a place, that cannot be"),
            Cause::Class => f.write_str("no class, or one of another kind than must stand here"),
            Cause::Interfaces => write!(f, "{needed} interfaces are more than the limit of {had}"),
            Cause::Null => f.write_str("null instead of a call or an answer"),
            Cause::OtherClass => f.write_str("an object of another class than was awaited"),
            Cause::NoClass => f.write_str("an object of a class that there is not"),
            Cause::OtherNumber => f.write_str("the class has another number"),
            Cause::OtherType => f.write_str("a field holds a value of another type"),
            Cause::Element => f.write_str("a type that is none"),
            Cause::Unwritable => f.write_str("a value that this form cannot carry"),
            Cause::EmptyBytes => f.write_str("laxcus6 cannot write a byte[] of no bytes"),
            Cause::Alias => write!(f, "alias {number} stands without its anchor before it"),
        }
    }
}

const fn plural(n: usize, one: &'static str, many: &'static str) -> &'static str {
    if n == 1 { one } else { many }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_small() {
        assert!(size_of::<Error>() <= 40);
        fn is_copy<T: Copy>() {}
        is_copy::<Error>();
    }
}
