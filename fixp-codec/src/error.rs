//! What can be wrong with a packet, as small values with numbers.
//!
//! ```
//! use fixp_codec::{Cause, Decoder, ErrorKind, LAXCUS6};
//!
//! let error = Decoder::new(&LAXCUS6).packet(&[0x87, 0x00]).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Truncated);
//! assert_eq!(error.cause(), Cause::CommandCut);
//! assert_eq!((error.offset(), error.needed(), error.had()), (0, 7, 2));
//! assert_eq!(error.to_string(), "truncated at byte 0: a command needs 7 bytes, 2 are there");
//! ```

use core::fmt;

use crate::Type;

/// A refusal: what was wrong, where, and the numbers that show it.
///
/// At most 32 bytes, `Copy` and comparable; nothing is formatted before it is displayed.
/// [`Display`](fmt::Display) turns it into one sentence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Error {
    cause: Cause,
    ty: Option<Type>,
    key: u16,
    number: u32,
    offset: usize,
    needed: usize,
    had: usize,
}

impl Error {
    /// An error at a place, with no numbers yet.
    #[must_use]
    pub const fn new(cause: Cause, offset: usize) -> Self {
        Self { cause, ty: None, key: 0, number: 0, offset, needed: 0, had: 0 }
    }

    /// The same error with what was needed (or allowed) and what there was.
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

    /// The same error with the message it happened in.
    #[must_use]
    pub const fn in_message(mut self, key: u16, ty: Option<Type>) -> Self {
        self.key = key;
        self.ty = ty;
        self
    }

    /// The same error `base` bytes further on, for a part of a longer input.
    #[must_use]
    pub const fn moved(mut self, base: usize) -> Self {
        self.offset = self.offset.saturating_add(base);
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

    /// The first byte that was refused, from the start of the input: that of the field, or the one within
    /// it that is wrong. When encoding: the index of the message that cannot be written, or 0.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
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

    /// The number that was read and refused: tag, version, code, type code, byte.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The key of the message concerned, 0 where no message is.
    #[must_use]
    pub const fn key(&self) -> u16 {
        self.key
    }

    /// The type of the value concerned, if it is known.
    #[must_use]
    pub const fn ty(&self) -> Option<Type> {
        self.ty
    }
}

/// The kinds of refusal, as the conformance protocol names them (SPEC 7.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input ends inside a command, message or entity.
    Truncated,
    /// The first byte is neither `87` nor `c7`.
    BadTag,
    /// The version is not 0x0100 (strict).
    BadVersion,
    /// A request or answer code outside the dialect's table.
    IllegalCommand,
    /// A type code (or, encoding, a type) that the dialect lacks.
    UnknownType,
    /// A length or content that is impossible for the type.
    BadValue,
    /// Readable, but not as the programs write it (strict).
    NotCanonical,
    /// A string that is not UTF-8.
    InvalidUtf8,
    /// A compressed value that does not inflate.
    BadCompression,
    /// A CONTENT_LENGTH that gives no length, or not the entity's.
    BadEntity,
    /// Bytes behind the packet (strict).
    TrailingBytes,
    /// A configured bound, or one of the wire format, was passed.
    Limit,
}

impl ErrorKind {
    /// The name in the conformance protocol: `truncated`, `bad-tag`, ...
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::BadTag => "bad-tag",
            Self::BadVersion => "bad-version",
            Self::IllegalCommand => "illegal-command",
            Self::UnknownType => "unknown-type",
            Self::BadValue => "bad-value",
            Self::NotCanonical => "not-canonical",
            Self::InvalidUtf8 => "invalid-utf8",
            Self::BadCompression => "bad-compression",
            Self::BadEntity => "bad-entity",
            Self::TrailingBytes => "trailing-bytes",
            Self::Limit => "limit",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What exactly was wrong. Flat and specific; [`Cause::kind`] gives the kind of SPEC 7.6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// Fewer than the 7 bytes of a command. `needed`, `had`.
    CommandCut,
    /// Fewer than the 4 bytes of a message head. `needed`, `had`.
    MessageHeadCut,
    /// Fewer bytes than the value's length. `needed`, `had`, `key`, `ty`.
    ValueCut,
    /// Fewer bytes than the entity's length. `needed`, `had`.
    EntityCut,
    /// Not `87` or `c7` (SPEC 2.1). `number`: the byte.
    Tag,
    /// Not 0x0100 (SPEC 2.2). `number`: the version.
    Version,
    /// A request outside the dialect's table (SPEC 2.6). `number`: major * 256 + minor.
    IllegalRequest,
    /// An answer code outside the dialect's range (SPEC 2.7). `number`: the code.
    IllegalAnswer,
    /// A type code the dialect has no name for (SPEC 3.3). `number`: the code.
    UnknownTypeCode,
    /// A type code that is read and not written (SPEC 3.2): the dialect has another for the type. `number`: the code.
    OtherTypeCode,
    /// A type the dialect has no code for (SPEC 3.2), encoding. `ty`.
    TypeNotInDialect,
    /// An unknown value whose code has a name in the dialect, encoding. `number`: the code.
    TypeCodeHasName,
    /// An unknown value in a dialect that keeps none, or of a code over 15 (SPEC 3.3), encoding.
    /// `number`: the code.
    UnwritableTypeCode,
    /// A request that the dialect does not write (SPEC 2.6), encoding. `number`: major * 256 + minor.
    UnwritableRequest,
    /// An answer code that the dialect does not write (SPEC 2.7), encoding. `number`: the code.
    UnwritableAnswer,
    /// A value of zero bytes (SPEC 4.8), encoding.
    UnwritableEmpty,
    /// A value of zero bytes where there can be none (SPEC 4.8).
    EmptyValue,
    /// Non-zero bytes beyond the type's width (SPEC 4.3). `needed`: the width, `had`: the length.
    DigitsBeyondWidth,
    /// A boolean of more than one byte (SPEC 4.5). `had`: the length.
    LongBoolean,
    /// A value of more than 4095 bytes (SPEC 3.4), encoding. `needed`: its length, `had`: 4095.
    ValueTooLong,
    /// A number with high zero bytes (SPEC 4.1). `needed`: the shortest length, `had`: the length.
    NotShortest,
    /// A boolean that is neither `00` nor `01` (SPEC 4.5). `number`: the byte.
    BooleanByte,
    /// A NaN that no program writes (SPEC 4.4).
    NanBits,
    /// More messages than the programs read (SPEC 2.5). `needed`: the number, `had`: 32767.
    CountOverSigned,
    /// No CONTENT_LENGTH (SPEC 5.3).
    ContentLengthMissing,
    /// A second CONTENT_LENGTH (SPEC 5.1).
    ContentLengthRepeated,
    /// CONTENT_LENGTH is not the last message (SPEC 5.1).
    ContentLengthNotLast,
    /// CONTENT_LENGTH is not an int32 (SPEC 5.1). `ty`.
    ContentLengthType,
    /// CONTENT_LENGTH of zero bytes (SPEC 5.2).
    ContentLengthEmpty,
    /// CONTENT_LENGTH with non-zero bytes behind the fourth (SPEC 5.2). `had`: its length.
    ContentLengthTooWide,
    /// CONTENT_LENGTH below zero (SPEC 5.3). `number`: its 32 bits.
    ContentLengthNegative,
    /// CONTENT_LENGTH does not say the entity's length (SPEC 5.6), encoding. `needed`: the entity's length, `had`: what it says.
    ContentLengthLies,
    /// Not UTF-8 (SPEC 4.6). `needed`: the first byte that is not, within the value.
    InvalidUtf8,
    /// Not a zlib stream, cut short, or its checksum fails (SPEC 4.9).
    Inflate,
    /// Bytes behind the end of a zlib stream (SPEC 4.9). `had`: how many.
    InflateLeftOver,
    /// Bytes behind the packet (SPEC 5.5). `had`: how many.
    TrailingBytes,
    /// More messages than the reader's limit. `needed`, `had`: the limit.
    MessageLimit,
    /// A longer head than the reader's limit. `needed`, `had`: the limit.
    HeadLimit,
    /// A longer entity than the reader's limit. `needed`, `had`: the limit.
    EntityLimit,
    /// A compressed value inflates past the limit. `had`: the limit.
    InflateLimit,
    /// CONTENT_LENGTH with digits beyond four bytes (SPEC 5.2), encoding. `had`: its length.
    UnwritableContentLength,
    /// More than 65535 messages (SPEC 2.5), encoding. `needed`: how many, `had`: 65535.
    TooManyMessages,
    /// An entity of more than 2^31 - 1 bytes (SPEC 5.1), encoding. `needed`, `had`.
    EntityTooLong,
    /// The slice to write to is too short. `needed`, `had`.
    NoRoom,
}

impl Cause {
    /// The kind of SPEC 7.6 that this cause belongs to.
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::CommandCut | Self::MessageHeadCut | Self::ValueCut | Self::EntityCut => {
                ErrorKind::Truncated
            }
            Self::Tag => ErrorKind::BadTag,
            Self::Version => ErrorKind::BadVersion,
            Self::IllegalRequest | Self::IllegalAnswer | Self::UnwritableRequest | Self::UnwritableAnswer => {
                ErrorKind::IllegalCommand
            }
            Self::UnknownTypeCode
            | Self::TypeNotInDialect
            | Self::TypeCodeHasName
            | Self::UnwritableTypeCode => ErrorKind::UnknownType,
            Self::EmptyValue
            | Self::UnwritableEmpty
            | Self::DigitsBeyondWidth
            | Self::LongBoolean
            | Self::ValueTooLong => ErrorKind::BadValue,
            Self::NotShortest
            | Self::BooleanByte
            | Self::NanBits
            | Self::CountOverSigned
            | Self::OtherTypeCode
            | Self::ContentLengthMissing
            | Self::ContentLengthRepeated
            | Self::ContentLengthNotLast
            | Self::ContentLengthType => ErrorKind::NotCanonical,
            Self::InvalidUtf8 => ErrorKind::InvalidUtf8,
            Self::Inflate | Self::InflateLeftOver => ErrorKind::BadCompression,
            Self::ContentLengthEmpty
            | Self::ContentLengthTooWide
            | Self::ContentLengthNegative
            | Self::ContentLengthLies
            | Self::UnwritableContentLength => ErrorKind::BadEntity,
            Self::TrailingBytes => ErrorKind::TrailingBytes,
            Self::MessageLimit
            | Self::HeadLimit
            | Self::EntityLimit
            | Self::InflateLimit
            | Self::TooManyMessages
            | Self::EntityTooLong
            | Self::NoRoom => ErrorKind::Limit,
        }
    }
}

/// A number of bytes or messages for a sentence.
struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

const fn bytes(n: usize) -> Count {
    Count(n, "byte")
}

/// The name of a type for a sentence, where the type may be unknown.
struct TypeName(Option<Type>);

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.map_or("unknown type", Type::name))
    }
}

/// What an error's offset counts.
enum Place {
    /// Bytes of the input.
    Byte,
    /// Messages of the packet that was to be written.
    Message,
    /// Nothing: it is about the packet that was to be written.
    Packet,
}

impl Cause {
    const fn place(self) -> Place {
        match self {
            Self::TypeNotInDialect
            | Self::TypeCodeHasName
            | Self::UnwritableTypeCode
            | Self::UnwritableEmpty
            | Self::ValueTooLong
            | Self::ContentLengthLies
            | Self::UnwritableContentLength => Place::Message,
            Self::UnwritableRequest
            | Self::UnwritableAnswer
            | Self::TooManyMessages
            | Self::EntityTooLong
            | Self::NoRoom => Place::Packet,
            _ => Place::Byte,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, ty, key, number, offset, needed, had } = *self;
        match cause.place() {
            Place::Byte => write!(f, "{} at byte {offset}: ", cause.kind())?,
            Place::Message => write!(f, "{} in message {offset}: ", cause.kind())?,
            Place::Packet => write!(f, "{}: ", cause.kind())?,
        }
        let ty = TypeName(ty);
        let there = if had == 1 { "is" } else { "are" };
        let (needs, has) = (bytes(needed), bytes(had));
        match cause {
            Cause::CommandCut => write!(f, "a command needs {needs}, {had} {there} there"),
            Cause::MessageHeadCut => write!(f, "a message head needs {needs}, {had} {there} there"),
            Cause::ValueCut => write!(f, "the value of key {key} ({ty}) needs {needs}, {had} {there} there"),
            Cause::EntityCut => write!(f, "the entity needs {needs}, {had} {there} there"),
            Cause::Tag => write!(f, "the tag is {number:02x}, not 87 (request) or c7 (answer)"),
            Cause::Version => write!(f, "the version is {number:#06x}, not 0x0100"),
            Cause::IllegalRequest | Cause::UnwritableRequest => {
                write!(f, "request {}/{} is not legal in this dialect", number >> 8, number & 0xff)
            }
            Cause::IllegalAnswer | Cause::UnwritableAnswer => {
                write!(f, "answer {number} is not legal in this dialect")
            }
            Cause::UnknownTypeCode | Cause::UnwritableTypeCode => {
                write!(f, "type code {number} of key {key} is not known in this dialect")
            }
            Cause::OtherTypeCode => {
                write!(f, "{ty} is written with another type code than {number} (key {key})")
            }
            Cause::TypeNotInDialect => write!(f, "this dialect has no {ty} (key {key})"),
            Cause::TypeCodeHasName => {
                write!(f, "type code {number} of key {key} has a name in this dialect, so it is not unknown")
            }
            Cause::EmptyValue | Cause::UnwritableEmpty => {
                write!(f, "the value of key {key} ({ty}) has no bytes")
            }
            Cause::DigitsBeyondWidth => {
                write!(f, "the {ty} of key {key} has digits beyond its {needs} ({has} long)")
            }
            Cause::LongBoolean => write!(f, "the boolean of key {key} has {has}, not 1"),
            Cause::ValueTooLong => {
                write!(f, "the value of key {key} ({ty}) has {needs}, a message carries at most {had}")
            }
            Cause::NotShortest => {
                write!(f, "the {ty} of key {key} is written in {has}, its shortest form is {needed}")
            }
            Cause::BooleanByte => write!(f, "the boolean of key {key} is {number:02x}, not 00 or 01"),
            Cause::NanBits => {
                write!(f, "the {ty} of key {key} is a NaN other than the one the programs write")
            }
            Cause::CountOverSigned => {
                write!(f, "{needed} messages are more than the {had} the programs can read")
            }
            Cause::ContentLengthMissing => f.write_str("the packet has no CONTENT_LENGTH"),
            Cause::ContentLengthRepeated => f.write_str("a second CONTENT_LENGTH"),
            Cause::ContentLengthNotLast => f.write_str("CONTENT_LENGTH is not the last message"),
            Cause::ContentLengthType => write!(f, "CONTENT_LENGTH is of type {ty}, not int32"),
            Cause::ContentLengthEmpty => f.write_str("CONTENT_LENGTH has no bytes"),
            Cause::ContentLengthTooWide | Cause::UnwritableContentLength => {
                write!(f, "CONTENT_LENGTH has digits beyond its {needs} ({has} long)")
            }
            Cause::ContentLengthNegative => write!(f, "CONTENT_LENGTH is {}", number.cast_signed()),
            Cause::ContentLengthLies => {
                write!(f, "CONTENT_LENGTH says {}, the entity has {needs}", number.cast_signed())
            }
            Cause::InvalidUtf8 if self.ty.is_none() => {
                write!(f, "the content is not UTF-8 from its byte {needed} on")
            }
            Cause::InvalidUtf8 => write!(f, "the {ty} of key {key} is not UTF-8 from its byte {needed} on"),
            Cause::Inflate => f.write_str("the zlib stream is cut short or broken"),
            Cause::InflateLeftOver => write!(f, "{has} behind the zlib stream"),
            Cause::TrailingBytes => write!(f, "{has} behind the packet"),
            Cause::MessageLimit => write!(f, "{needed} messages are more than the limit of {had}"),
            Cause::HeadLimit => write!(f, "a head of {needs} is more than the limit of {had}"),
            Cause::EntityLimit => write!(f, "an entity of {needs} is more than the limit of {had}"),
            Cause::InflateLimit => write!(f, "the zlib stream inflates past the limit of {has}"),
            Cause::TooManyMessages => write!(f, "{needed} messages, a packet carries at most {had}"),
            Cause::EntityTooLong => write!(f, "an entity of {needs}, a packet carries at most {had}"),
            Cause::NoRoom => write!(f, "writing needs {needs}, the slice has {had}"),
        }
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_small() {
        assert!(size_of::<Error>() <= 32);
        fn is_copy<T: Copy>() {}
        is_copy::<Error>();
    }
}
