//! The command: 7 bytes in front of every packet (SPEC 2).
//!
//! ```
//! use fixp_codec::{Code, Decoder, LAXCUS6, LEXST1};
//!
//! // The same two bytes are another request in another dialect (SPEC 2.3).
//! let wire = [0x87, 0x00, 0x01, 0x03, 0x01, 0x00, 0x00];
//! let command = Decoder::new(&LEXST1).command(&wire).unwrap();
//! assert_eq!(command.code, Code::Request { major: 3, minor: 1 });
//! let command = Decoder::new(&LAXCUS6).command(&wire).unwrap();
//! assert_eq!(command.code, Code::Request { major: 1, minor: 3 });
//! ```

use crate::dialect::RequestOrder;
use crate::{Cause, Dialect, Error};

/// The version of the wire format that all dialects write (SPEC 2.2).
pub const VERSION: u16 = 0x0100;

/// What a packet asks for, or answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Code {
    /// A request: major and minor command (SPEC 2.3).
    Request {
        /// The major command.
        major: u8,
        /// The minor command.
        minor: u8,
    },
    /// An answer code (SPEC 2.4).
    Answer(u16),
}

impl Code {
    /// The first byte of a request (SPEC 2.1).
    pub const REQUEST_TAG: u8 = 0x87;
    /// The first byte of an answer (SPEC 2.1).
    pub const ANSWER_TAG: u8 = 0xc7;

    /// Whether this is a request.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        matches!(self, Self::Request { .. })
    }
}

/// `request 1/5`, `answer 1010`; [`Dialect::code_name`] has the names.
impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Request { major, minor } => write!(f, "request {major}/{minor}"),
            Self::Answer(code) => write!(f, "answer {code}"),
        }
    }
}

/// A command: what the packet is, its version, and how many messages follow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Command {
    /// The request or answer.
    pub code: Code,
    /// The version, [`VERSION`] unless a compatible reader took another (SPEC 2.2).
    pub version: u16,
    /// The number of messages that follow, read unsigned (SPEC 2.5).
    pub message_count: u16,
}

impl Command {
    /// The bytes of a command on the wire.
    pub const WIRE_LEN: usize = 7;
    /// The most messages that the programs read (SPEC 2.5).
    pub const MAX_CANONICAL_COUNT: u16 = 32767;

    /// Always [`Command::WIRE_LEN`].
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        Self::WIRE_LEN
    }

    /// The fields of a command, legal or not; nothing for a wrong tag (SPEC 2.1).
    #[inline(always)]
    pub(crate) const fn fields(order: RequestOrder, bytes: &[u8; 7]) -> Option<Self> {
        let [tag, v0, v1, b3, b4, n0, n1] = *bytes;
        let code = match (tag, order) {
            (Code::REQUEST_TAG, RequestOrder::MajorFirst) => Code::Request { major: b3, minor: b4 },
            (Code::REQUEST_TAG, RequestOrder::MinorFirst) => Code::Request { major: b4, minor: b3 },
            (Code::ANSWER_TAG, _) => Code::Answer(u16::from_le_bytes([b3, b4])),
            _ => return None,
        };
        let version = u16::from_le_bytes([v0, v1]);
        Some(Self { code, version, message_count: u16::from_le_bytes([n0, n1]) })
    }

    /// Reads and checks a command.
    #[inline(always)]
    pub(crate) fn read(dialect: &Dialect, strict: bool, bytes: &[u8; 7]) -> Result<Self, Error> {
        let Some(command) = Self::fields(dialect.request_order(), bytes) else {
            return Err(bad_tag(bytes[0]));
        };
        let code = command.code;
        let legal = if strict { dialect.writes(code) } else { dialect.reads(code) };
        if !legal {
            return Err(illegal(code));
        }
        if strict {
            command.canonical()?;
        }
        Ok(command)
    }

    /// What a strict reader asks of a command that is legal (SPEC 2.2, 2.5).
    fn canonical(&self) -> Result<(), Error> {
        if self.version != VERSION {
            return Err(Error::new(Cause::Version, 1).number_read(self.version.into()));
        }
        if self.message_count > Self::MAX_CANONICAL_COUNT {
            return Err(Error::new(Cause::CountOverSigned, 5)
                .sizes(self.message_count.into(), Self::MAX_CANONICAL_COUNT.into()));
        }
        Ok(())
    }

    /// The bytes of this command, or why it may not be written (SPEC 2.6, 2.7).
    #[inline]
    pub(crate) fn write(&self, dialect: &Dialect) -> Result<[u8; 7], Error> {
        if !dialect.writes(self.code) {
            return Err(match self.code {
                Code::Request { major, minor } => Error::new(Cause::UnwritableRequest, 0)
                    .number_read(u16::from_be_bytes([major, minor]).into()),
                Code::Answer(code) => Error::new(Cause::UnwritableAnswer, 0).number_read(code.into()),
            });
        }
        let (tag, [b3, b4]) = match (self.code, dialect.request_order()) {
            (Code::Request { major, minor }, RequestOrder::MajorFirst) => (Code::REQUEST_TAG, [major, minor]),
            (Code::Request { major, minor }, RequestOrder::MinorFirst) => (Code::REQUEST_TAG, [minor, major]),
            (Code::Answer(code), _) => (Code::ANSWER_TAG, code.to_le_bytes()),
        };
        let [v0, v1] = self.version.to_le_bytes();
        let [n0, n1] = self.message_count.to_le_bytes();
        Ok([tag, v0, v1, b3, b4, n0, n1])
    }
}

#[cold]
fn bad_tag(tag: u8) -> Error {
    Error::new(Cause::Tag, 0).number_read(tag.into())
}

#[cold]
fn illegal(code: Code) -> Error {
    match code {
        Code::Request { major, minor } => {
            Error::new(Cause::IllegalRequest, 3).number_read(u16::from_be_bytes([major, minor]).into())
        }
        Code::Answer(code) => Error::new(Cause::IllegalAnswer, 3).number_read(code.into()),
    }
}
