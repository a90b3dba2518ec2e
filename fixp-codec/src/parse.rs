//! nom 8 parsers of commands, messages, heads and packets, for composing with one's own.
//!
//! They are the second decoder of this crate: written apart from [`Decoder`](crate::Decoder), rule by rule,
//! and held against it by tests and fuzzing. They collect messages in a `Vec` and know no limits; use
//! [`Decoder`](crate::Decoder) where speed or hostile input matter.
//!
//! ```
//! use fixp_codec::{Cause, LAXCUS6, Policy, parse};
//! use nom::{Parser, bytes::complete::tag, multi::many1, sequence::preceded};
//!
//! // A capture file of one's own: packets, each behind a mark.
//! let wire = b">\x87\x00\x01\x05\x01\x01\x00\xfc\x03\x01\x50\x00>\xc7\x00\x01\xf2\x03\x00\x00";
//! let mut capture = many1(preceded(tag(">"), parse::packet(&LAXCUS6, Policy::Compatible)));
//! let (rest, packets) = capture.parse(&wire[..]).unwrap();
//! assert_eq!((rest.len(), packets.len()), (0, 2));
//!
//! let cut = &wire[..9];
//! let Err(nom::Err::Error(failure)) = capture.parse(cut) else { panic!() };
//! assert_eq!(failure.cause(), Some(Cause::MessageHeadCut));
//! assert_eq!((failure.offset(cut), failure.needed, failure.had), (8, 4, 1));
//! ```

use core::fmt;

use alloc::vec::Vec;

use nom::bytes::complete::take;
use nom::combinator::verify;
use nom::error::{ContextError, ErrorKind as NomKind, FromExternalError, ParseError};
use nom::number::complete::{le_u8, le_u16};
use nom::{IResult, Parser};

use crate::dialect::RequestOrder;
use crate::{Cause, Code, Command, Dialect, Error, ErrorKind, MessageRef, Policy, Type, VERSION};

/// Why a parser failed: what was read, where, how much was needed and how much there was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// A rule of FIXP that was broken, or a combinator of nom that did not match.
    pub what: What,
    /// As [`Error::needed`].
    pub needed: usize,
    /// As [`Error::had`].
    pub had: usize,
    /// How many bytes of the input were left where the field begins.
    pub left: usize,
}

/// What failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A rule of FIXP.
    Rule(Cause),
    /// A combinator of nom.
    Nom(NomKind),
}

impl Failure {
    /// The offset in `input`, the slice that was given to the outermost parser.
    #[must_use]
    pub const fn offset(&self, input: &[u8]) -> usize {
        input.len().saturating_sub(self.left)
    }

    /// The rule of FIXP that was broken, if it was one.
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        match self.what {
            What::Rule(cause) => Some(cause),
            What::Nom(_) => None,
        }
    }

    /// The kind of refusal of SPEC 7.6, if it was a rule of FIXP that was broken.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        self.cause().map(Cause::kind)
    }

    /// The failure as an error of this crate, if it was a rule of FIXP that was broken.
    #[must_use]
    pub fn error(&self, input: &[u8]) -> Option<Error> {
        let error = |cause| Error::new(cause, self.offset(input)).sizes(self.needed, self.had);
        self.cause().map(error)
    }
}

impl<'a> ParseError<&'a [u8]> for Failure {
    fn from_error_kind(input: &'a [u8], kind: NomKind) -> Self {
        Self { what: What::Nom(kind), needed: 0, had: input.len(), left: input.len() }
    }

    fn append(_: &'a [u8], _: NomKind, other: Self) -> Self {
        other
    }
}

impl<E> FromExternalError<&[u8], E> for Failure {
    fn from_external_error(input: &[u8], kind: NomKind, _: E) -> Self {
        Self::from_error_kind(input, kind)
    }
}

impl ContextError<&[u8]> for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, needed, had, left } = self;
        match what {
            What::Rule(cause) => write!(f, "{} ({cause:?}, needed {needed}, had {had})", cause.kind())?,
            What::Nom(kind) => write!(f, "{}", kind.description())?,
        }
        write!(f, ", {left} bytes before the end")
    }
}

impl core::error::Error for Failure {}

/// The head of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head<'a> {
    /// The command.
    pub command: Command,
    /// The messages in their order.
    pub messages: Vec<MessageRef<'a>>,
    /// The length of the entity that follows.
    pub entity_len: usize,
}

/// A packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// The command.
    pub command: Command,
    /// The messages in their order.
    pub messages: Vec<MessageRef<'a>>,
    /// The entity, empty for none.
    pub entity: &'a [u8],
}

/// A command (SPEC 2).
pub fn command<'a>(
    dialect: &'a Dialect,
    policy: Policy,
) -> impl Parser<&'a [u8], Output = Command, Error = Failure> {
    move |input: &'a [u8]| {
        let is_tag = |&tag: &u8| tag == Code::REQUEST_TAG || tag == Code::ANSWER_TAG;
        let cut = || broken(input, Cause::CommandCut, Command::WIRE_LEN, input.len());
        if input.is_empty() {
            return Err(cut());
        }
        let (rest, tag) =
            verify(le_u8::<_, Failure>, is_tag).parse(input).map_err(|_| broken(input, Cause::Tag, 0, 0))?;
        let fields = (le_u16::<_, Failure>, le_u8, le_u8, le_u16).parse(rest);
        let (rest, (version, third, fourth, message_count)) = fields.map_err(|_| cut())?;
        let code = match (tag, dialect.request_order()) {
            (Code::ANSWER_TAG, _) => Code::Answer(u16::from(fourth) << 8 | u16::from(third)),
            (_, RequestOrder::MajorFirst) => Code::Request { major: third, minor: fourth },
            (_, RequestOrder::MinorFirst) => Code::Request { major: fourth, minor: third },
        };
        let strict = policy == Policy::Strict;
        let refuse =
            |at: usize, cause, needed, had| Err(broken(input.get(at..).unwrap_or(&[]), cause, needed, had));
        if !(if strict { dialect.writes(code) } else { dialect.reads(code) }) {
            return refuse(
                3,
                if code.is_request() { Cause::IllegalRequest } else { Cause::IllegalAnswer },
                0,
                0,
            );
        }
        if strict && version != VERSION {
            return refuse(1, Cause::Version, 0, 0);
        }
        if strict && message_count > Command::MAX_CANONICAL_COUNT {
            return refuse(
                5,
                Cause::CountOverSigned,
                message_count.into(),
                Command::MAX_CANONICAL_COUNT.into(),
            );
        }
        Ok((rest, Command { code, version, message_count }))
    }
}

/// A message (SPEC 3, 4), whatever follows it: that a packet does not end with an empty value of a code
/// without a name (SPEC 4.8) is seen by [`head`], and of a lone message by [`Decoder`](crate::Decoder).
pub fn message<'a>(
    dialect: &'a Dialect,
    policy: Policy,
) -> impl Parser<&'a [u8], Output = MessageRef<'a>, Error = Failure> {
    move |input: &'a [u8]| {
        let cut = |_| broken(input, Cause::MessageHeadCut, 4, input.len());
        let (rest, (key, field)) = (le_u16::<_, Failure>, le_u16).parse(input).map_err(cut)?;
        let (code, length) = ((field >> 12) as u8, usize::from(field & 0x0fff));
        let ty = dialect.type_of(code);
        if ty.is_none() && (policy == Policy::Strict || !dialect.keeps_unknown_types()) {
            return Err(broken(input.get(2..).unwrap_or(&[]), Cause::UnknownTypeCode, 0, 0));
        }
        if policy == Policy::Strict && ty.is_some_and(|ty| dialect.code_of(ty) != Some(code)) {
            return Err(broken(input.get(2..).unwrap_or(&[]), Cause::OtherTypeCode, 0, 0));
        }
        let cut = |_| broken(rest, Cause::ValueCut, length, rest.len());
        let (rest, value) = take::<_, _, Failure>(length)(rest).map_err(cut)?;
        check(dialect, policy, ty, value).map_err(|(cause, at, needed, had)| {
            // A value without bytes is refused at its length.
            let at = if value.is_empty() { 2 } else { 4 + at };
            broken(input.get(at..).unwrap_or(&[]), cause, needed, had)
        })?;
        Ok((rest, MessageRef::new(dialect, key, code, value)))
    }
}

/// A head (SPEC 1 to 5), whatever follows it.
pub fn head<'a>(
    dialect: &'a Dialect,
    policy: Policy,
) -> impl Parser<&'a [u8], Output = Head<'a>, Error = Failure> {
    move |input: &'a [u8]| {
        let strict = policy == Policy::Strict;
        let (mut rest, command) = command(dialect, policy).parse(input)?;
        let mut messages: Vec<MessageRef<'a>> = Vec::new();
        let mut entity_len = None;
        for _ in 0..command.message_count {
            let start = rest;
            let (behind, message) = message(dialect, policy).parse(rest)?;
            rest = behind;
            let is_length = message.key() == dialect.content_length_key();
            if strict && entity_len.is_some() {
                let cause =
                    if is_length { Cause::ContentLengthRepeated } else { Cause::ContentLengthNotLast };
                return Err(broken(start, cause, 0, 0));
            }
            if is_length && entity_len.is_none() {
                entity_len = Some(content_length(strict, message).map_err(|(cause, at, needed, had)| {
                    broken(start.get(at..).unwrap_or(&[]), cause, needed, had)
                })?);
            }
            messages.push(message);
        }
        if strict && entity_len.is_none() {
            return Err(broken(rest, Cause::ContentLengthMissing, 0, 0));
        }
        let entity_len = entity_len.unwrap_or(0);
        let ends_empty = messages.last().is_some_and(|last| last.ty().is_none() && last.bytes().is_empty());
        if ends_empty && entity_len == 0 {
            return Err(broken(
                input.get(input.len() - rest.len() - 2..).unwrap_or(&[]),
                Cause::EmptyValue,
                0,
                0,
            ));
        }
        Ok((rest, Head { command, messages, entity_len }))
    }
}

/// A packet (SPEC 1), whatever follows it: under the strict policy of a lone packet, see that nothing does.
pub fn packet<'a>(
    dialect: &'a Dialect,
    policy: Policy,
) -> impl Parser<&'a [u8], Output = Packet<'a>, Error = Failure> {
    move |input: &'a [u8]| {
        let (rest, Head { command, messages, entity_len }) = head(dialect, policy).parse(input)?;
        let cut = |_| broken(rest, Cause::EntityCut, entity_len, rest.len());
        let (rest, entity) = take::<_, _, Failure>(entity_len)(rest).map_err(cut)?;
        Ok((rest, Packet { command, messages, entity }))
    }
}

/// Parses a lone packet as [`Decoder::packet`](crate::Decoder::packet) does, with its treatment of what
/// stands behind it (SPEC 5.5). Gives the packet and the bytes behind it.
///
/// # Errors
///
/// The rule that is broken first.
pub fn lone_packet<'a>(
    dialect: &'a Dialect,
    policy: Policy,
    input: &'a [u8],
) -> Result<(Packet<'a>, &'a [u8]), Failure> {
    let (rest, packet) = match packet(dialect, policy).parse(input) {
        Ok(parsed) => parsed,
        Err(nom::Err::Error(failure) | nom::Err::Failure(failure)) => return Err(failure),
        // Parsers of whole input never ask for more.
        Err(nom::Err::Incomplete(_)) => return Err(Failure::from_error_kind(input, NomKind::Complete)),
    };
    if policy == Policy::Strict && !rest.is_empty() {
        let what = What::Rule(Cause::TrailingBytes);
        return Err(Failure { what, needed: 0, had: rest.len(), left: rest.len() });
    }
    Ok((packet, rest))
}

fn broken(at: &[u8], cause: Cause, needed: usize, had: usize) -> nom::Err<Failure> {
    nom::Err::Error(Failure { what: What::Rule(cause), needed, had, left: at.len() })
}

/// A cause, the place within the value or message, and the two numbers.
type Broken = (Cause, usize, usize, usize);

/// The rules of SPEC 4, plainly.
fn check(dialect: &Dialect, policy: Policy, ty: Option<Type>, value: &[u8]) -> Result<(), Broken> {
    let strict = policy == Policy::Strict;
    let length = value.len();
    match ty {
        Some(Type::Int16) => number(2, strict, value, |_| false),
        Some(Type::Int32) => number(4, strict, value, |_| false),
        Some(Type::Int64) => number(8, strict, value, |_| false),
        Some(Type::Float32) => number(4, strict, value, |bits| {
            let (exponent, mantissa) = (bits >> 23 & 0xff, bits & 0x7f_ffff);
            exponent == 0xff && mantissa != 0 && bits != 0x7fc0_0000
        }),
        Some(Type::Float64) => number(8, strict, value, |bits| {
            let (exponent, mantissa) = (bits >> 52 & 0x7ff, bits & 0xf_ffff_ffff_ffff);
            exponent == 0x7ff && mantissa != 0 && bits != 0x7ff8_0000_0000_0000
        }),
        Some(Type::Boolean) => match *value {
            [] => Err((Cause::EmptyValue, 0, 0, 0)),
            [0 | 1] => Ok(()),
            [_] if strict => Err((Cause::BooleanByte, 0, 0, 0)),
            [_] => Ok(()),
            _ if dialect.wide_booleans() && !strict => Ok(()),
            _ => Err((Cause::LongBoolean, 1, 1, length)),
        },
        Some(Type::ZRaw | Type::ZString) if value.is_empty() => Err((Cause::EmptyValue, 0, 0, 0)),
        Some(Type::Raw | Type::String) if value.is_empty() && strict => Err((Cause::EmptyValue, 0, 0, 0)),
        Some(Type::String) if strict => core::str::from_utf8(value)
            .map(|_| ())
            .map_err(|error| (Cause::InvalidUtf8, error.valid_up_to(), error.valid_up_to(), length)),
        Some(Type::Raw | Type::String | Type::ZRaw | Type::ZString) | None => Ok(()),
    }
}

fn number(width: usize, strict: bool, value: &[u8], bad_nan: impl Fn(u64) -> bool) -> Result<(), Broken> {
    let Some(last) = value.last() else { return Err((Cause::EmptyValue, 0, 0, 0)) };
    let digits = value.iter().rposition(|&byte| byte != 0).map_or(1, |highest| highest + 1);
    if digits > width {
        return Err((Cause::DigitsBeyondWidth, width, width, value.len()));
    }
    if strict && value.len() > 1 && *last == 0 {
        return Err((Cause::NotShortest, digits, digits, value.len()));
    }
    let bits = value.iter().take(8).rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
    if strict && bad_nan(bits) { Err((Cause::NanBits, 0, 0, 0)) } else { Ok(()) }
}

/// The rules of SPEC 5.2 and 5.3, plainly.
fn content_length(strict: bool, message: MessageRef<'_>) -> Result<usize, Broken> {
    let value = message.bytes();
    if strict && message.ty() != Some(Type::Int32) {
        return Err((Cause::ContentLengthType, 2, 0, 0));
    }
    if value.is_empty() {
        return Err((Cause::ContentLengthEmpty, 2, 0, 0));
    }
    if value.iter().skip(4).any(|&byte| byte != 0) {
        return Err((Cause::ContentLengthTooWide, 8, 4, value.len()));
    }
    let mut four = [0; 4];
    for (to, from) in four.iter_mut().zip(value) {
        *to = *from;
    }
    match usize::try_from(i32::from_le_bytes(four)) {
        Ok(length) => Ok(length),
        Err(_) if strict => Err((Cause::ContentLengthNegative, 4, 0, 0)),
        Err(_) => Ok(0),
    }
}

/// So that the parsers' results can be named where they are composed.
pub type Parsed<'a, T> = IResult<&'a [u8], T, Failure>;
