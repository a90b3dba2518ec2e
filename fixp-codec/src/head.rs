//! The head of a packet: command and messages, and the one check of every rule about them.
//!
//! [`Check`] looks at one message at a time. The decoder runs it over a slice, the stream decoder over
//! what has come so far: both by the same code, so that they cannot disagree.

use crate::decoder::Policy;
use crate::message::HEAD;
use crate::reader::Reader;
use crate::{Cause, Code, Command, Dialect, Error, Limits, MessageRef, Type, number};

/// Command and messages of a packet that have been checked, without the entity.
#[derive(Clone, Copy, Debug)]
pub struct HeadRef<'a> {
    pub(crate) dialect: &'a Dialect,
    pub(crate) bytes: &'a [u8],
    pub(crate) entity_len: usize,
}

impl<'a> HeadRef<'a> {
    /// The command.
    #[inline]
    #[must_use]
    pub const fn command(&self) -> Command {
        // Read again rather than kept, which keeps what is handed around small.
        if let Some(bytes) = self.bytes.first_chunk()
            && let Some(command) = Command::fields(self.dialect.request_order(), bytes)
        {
            return command;
        }
        // Not reached: the check has seen a whole command.
        Command { code: Code::Answer(0), version: 0, message_count: 0 }
    }

    /// The request or answer.
    #[inline]
    #[must_use]
    pub const fn code(&self) -> Code {
        self.command().code
    }

    /// The dialect it was read in.
    #[inline]
    #[must_use]
    pub const fn dialect(&self) -> &'a Dialect {
        self.dialect
    }

    /// The messages in their order (SPEC 3.1).
    #[inline]
    #[must_use]
    pub fn messages(&self) -> Messages<'a> {
        Messages {
            dialect: self.dialect,
            rest: self.bytes.get(Command::WIRE_LEN..).unwrap_or_default(),
            left: self.command().message_count.into(),
        }
    }

    /// The first message of a key (SPEC 3.1).
    #[inline]
    #[must_use]
    pub fn first(&self, key: u16) -> Option<MessageRef<'a>> {
        self.all(key).next()
    }

    /// All messages of a key, in their order.
    #[inline]
    pub fn all(&self, key: u16) -> impl Iterator<Item = MessageRef<'a>> + Clone {
        self.messages().filter(move |message| message.key() == key)
    }

    /// The length of the entity that follows (SPEC 5), 0 for none.
    #[inline]
    #[must_use]
    pub const fn entity_len(&self) -> usize {
        self.entity_len
    }

    /// The head as it stands on the wire: command and messages.
    #[inline]
    #[must_use]
    pub const fn head_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// The messages of a head, each where it stands.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    dialect: &'a Dialect,
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Messages<'a> {
    type Item = MessageRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<MessageRef<'a>> {
        // The check has seen that every message is whole: nothing here is ever cut short.
        let (head, rest) = self.rest.split_first_chunk::<HEAD>()?;
        let (key, code, length) = split(head);
        let (value, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        self.left = self.left.saturating_sub(1);
        Some(MessageRef::new(self.dialect, key, code, value))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Messages<'_> {}
impl core::iter::FusedIterator for Messages<'_> {}

/// Key, type code and length of a message head (SPEC 3).
#[inline(always)]
pub(crate) const fn split(head: &[u8; HEAD]) -> (u16, u8, usize) {
    // Two loads of two bytes: the next head is found by this length, so the way to it is kept short.
    let (Some(&key), Some(&field)) = (head.first_chunk(), head.last_chunk()) else { return (0, 0, 0) };
    let field = u16::from_le_bytes(field);
    (u16::from_le_bytes(key), (field >> 12) as u8, (field & 0x0fff) as usize)
}

/// What has been learned of a head so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    /// The length of the entity by the first CONTENT_LENGTH (SPEC 5.2).
    entity_len: u32,
    has_length: bool,
    /// Type code and length of the last message.
    last: (u8, u16),
}

impl Check {
    pub(crate) const fn new() -> Self {
        Self { entity_len: 0, has_length: false, last: (0, 1) }
    }

    /// Checks a whole message that stands at `at` (SPEC 3, 4, 5.2).
    #[inline(always)]
    pub(crate) fn message(
        &mut self,
        dialect: &Dialect,
        strict: bool,
        (key, code, value): (u16, u8, &[u8]),
        at: impl Fn() -> usize + Copy,
    ) -> Result<(), Error> {
        if self.passes(dialect, strict, key, code, value.len()) {
            return Ok(());
        }
        check_value(dialect, strict, (key, code, value), at)?;
        if strict && self.has_length {
            return Err(behind_content_length(dialect, key, at()));
        }
        if key == dialect.content_length_key() && !self.has_length {
            self.entity_len = content_length(dialect, strict, code, value, at())?;
            self.has_length = true;
        }
        Ok(())
    }

    /// Whether a message is good by its head alone, so that nobody need look at its value.
    #[inline(always)]
    pub(crate) fn passes(
        &mut self,
        dialect: &Dialect,
        strict: bool,
        key: u16,
        code: u8,
        length: usize,
    ) -> bool {
        if dialect.keeps_unknown_types() {
            self.last = (code, length as u16);
        }
        dialect.plain(code, length) && !strict && key != dialect.content_length_key()
    }

    /// Checks what only the whole head tells, and gives the length of the entity (SPEC 4.8, 5.3).
    #[inline(always)]
    pub(crate) fn finish(
        &self,
        dialect: &Dialect,
        strict: bool,
        limits: &Limits,
        end: usize,
    ) -> Result<usize, Error> {
        if strict && !self.has_length {
            return Err(Error::new(Cause::ContentLengthMissing, end));
        }
        if dialect.keeps_unknown_types() && self.last.1 == 0 && self.entity_len == 0 {
            let (code, _) = self.last;
            if dialect.type_of(code).is_none() {
                return Err(Error::new(Cause::EmptyValue, end.saturating_sub(2)));
            }
        }
        let entity_len = self.entity_len as usize;
        if entity_len > limits.entity {
            return Err(Error::new(Cause::EntityLimit, end).sizes(entity_len, limits.entity));
        }
        Ok(entity_len)
    }
}

/// Checks a value (SPEC 3.3, 4).
#[inline(always)]
pub(crate) fn check_value(
    dialect: &Dialect,
    strict: bool,
    (key, code, value): (u16, u8, &[u8]),
    at: impl Fn() -> usize,
) -> Result<(), Error> {
    if dialect.plain(code, value.len()) && !strict {
        Ok(())
    } else {
        unusual(dialect, strict, key, code, value, at())
    }
}

/// Reads and checks a head at the start of `input`, which may be longer.
pub(crate) fn read<'a>(
    dialect: &'a Dialect,
    policy: Policy,
    limits: &Limits,
    input: &'a [u8],
) -> Result<HeadRef<'a>, Error> {
    let (len, entity_len) =
        dispatch!(dialect, policy, |table, strict| read_by((table, dialect), strict, limits, input))?;
    let bytes = input.get(..len).unwrap_or(input);
    Ok(HeadRef { dialect, bytes, entity_len })
}

/// Calls `$call` with the table and the policy as constants where they are built in, so that the
/// compiler folds them into the loop; a user's own table is the same code with the table at run time.
macro_rules! dispatch {
    ($dialect:expr, $policy:expr, |$table:ident, $strict:ident| $call:expr) => {
        dispatch!(@ $dialect, $policy, $table, $strict, $call,
            [Lexst1 $crate::LEXST1, Laxcus6 $crate::LAXCUS6, Laxcus2 $crate::LAXCUS2])
    };
    (@ $dialect:expr, $policy:expr, $table:ident, $strict:ident, $call:expr, [$($id:ident $built_in:path),*]) => {
        match ($dialect.built_in, $policy) {
            $(
                ($crate::dialect::BuiltIn::$id, $crate::Policy::Compatible) => {
                    let ($table, $strict) = (&$built_in, false);
                    $call
                }
                ($crate::dialect::BuiltIn::$id, $crate::Policy::Strict) => {
                    let ($table, $strict) = (&$built_in, true);
                    $call
                }
            )*
            ($crate::dialect::BuiltIn::No, policy) => {
                let ($table, $strict) = ($dialect, matches!(policy, $crate::Policy::Strict));
                $call
            }
        }
    };
}
use dispatch;

#[inline(always)]
fn read_by(
    (dialect, whole): (&Dialect, &Dialect),
    strict: bool,
    limits: &Limits,
    input: &[u8],
) -> Result<(usize, usize), Error> {
    let mut reader = Reader::new(input).bounded(limits.head);
    let command = match reader.array(Cause::CommandCut) {
        // One that the table lacks may be of the major that was added to it.
        Ok(bytes) => match Command::read(dialect, strict, bytes) {
            Ok(command) => command,
            Err(_) => Command::read(whole, strict, bytes)?,
        },
        Err(cut) => return Err(cut_or_tag(cut, limits, input)),
    };
    too_many(&command, limits)?;
    let mut check = Check::new();
    for _ in 0..command.message_count {
        let head = match reader.array(Cause::MessageHeadCut) {
            Ok(head) => head,
            Err(cut) => return Err(cut_or_limit(cut, limits)),
        };
        let (key, code, length) = split(head);
        let value = match reader.take(length, Cause::ValueCut) {
            Ok(value) => value,
            Err(cut) => return Err(value_cut(dialect, strict, key, code, cut, limits)),
        };
        let behind = reader.offset();
        check.message(dialect, strict, (key, code, value), || behind - HEAD - value.len())?;
    }
    let end = reader.offset();
    let entity_len = check.finish(dialect, strict, limits, end)?;
    Ok((end, entity_len))
}

/// Refuses a command of more messages than the limit.
#[inline(always)]
pub(crate) fn too_many(command: &Command, limits: &Limits) -> Result<(), Error> {
    let count = usize::from(command.message_count);
    if count > limits.messages {
        return Err(Error::new(Cause::MessageLimit, 5).sizes(count, limits.messages));
    }
    Ok(())
}

/// A head that is cut short: by the limit, if it needs more than that, else by the end of the input.
#[cold]
pub(crate) fn cut_or_limit(cut: Error, limits: &Limits) -> Error {
    let needed = cut.offset().saturating_add(cut.needed());
    if needed > limits.head {
        return Error::new(Cause::HeadLimit, cut.offset()).sizes(needed, limits.head);
    }
    cut
}

/// A command cut short; a wrong tag is told from the first byte.
#[cold]
pub(crate) fn cut_or_tag(cut: Error, limits: &Limits, input: &[u8]) -> Error {
    match input.first() {
        Some(&tag) if tag != Code::REQUEST_TAG && tag != Code::ANSWER_TAG => {
            Error::new(Cause::Tag, 0).number_read(tag.into())
        }
        _ => cut_or_limit(cut, limits),
    }
}

/// A value cut short; an unknown type is told from the head alone.
#[cold]
pub(crate) fn value_cut(
    dialect: &Dialect,
    strict: bool,
    key: u16,
    code: u8,
    cut: Error,
    limits: &Limits,
) -> Error {
    match known(dialect, strict, key, code, cut.offset().saturating_sub(HEAD)) {
        Err(unknown) => unknown,
        Ok(ty) => cut_or_limit(cut, limits).in_message(key, ty),
    }
}

/// Refuses a type code without a name, unless this reader keeps it (SPEC 3.3).
pub(crate) fn known(
    dialect: &Dialect,
    strict: bool,
    key: u16,
    code: u8,
    at: usize,
) -> Result<Option<Type>, Error> {
    let ty = dialect.type_of(code);
    if let Some(ty) = ty {
        // A dialect of a user's own may have several codes for a type; it is written with one.
        if strict && dialect.code_of(ty) != Some(code) {
            let other = Error::new(Cause::OtherTypeCode, at + 2);
            return Err(other.number_read(code.into()).in_message(key, Some(ty)));
        }
        return Ok(Some(ty));
    }
    if dialect.keeps_unknown_types() && !strict {
        return Ok(None);
    }
    Err(Error::new(Cause::UnknownTypeCode, at + 2).number_read(code.into()).in_message(key, None))
}

/// The second look at a value: one whose length is not plain, or any under the strict policy.
/// Never part of the loop of a compatible reader, which it would slow down by its mere place.
#[inline(never)]
fn unusual(
    dialect: &Dialect,
    strict: bool,
    key: u16,
    code: u8,
    value: &[u8],
    at: usize,
) -> Result<(), Error> {
    let ty = known(dialect, strict, key, code, at)?;
    let refuse = |cause, within| Err(Error::new(cause, at + within).in_message(key, ty));
    let start = HEAD;
    let Some(first) = value.first() else {
        let may_be_empty = matches!(ty, None | Some(Type::Raw | Type::String)) && !strict;
        return if may_be_empty { Ok(()) } else { refuse(Cause::EmptyValue, 2) };
    };
    match ty {
        Some(Type::Boolean) if value.len() > 1 && (strict || !dialect.wide_booleans()) => {
            return refuse(Cause::LongBoolean, start + 1).map_err(|error| error.sizes(1, value.len()));
        }
        Some(Type::Boolean) if strict && *first > 1 => {
            return refuse(Cause::BooleanByte, start).map_err(|error| error.number_read((*first).into()));
        }
        Some(Type::String) if strict => {
            if let Err(error) = core::str::from_utf8(value) {
                let good = error.valid_up_to();
                return refuse(Cause::InvalidUtf8, start + good)
                    .map_err(|error| error.sizes(good, value.len()));
            }
        }
        _ => {}
    }
    let Some(width) = ty.and_then(Type::number_width) else { return Ok(()) };
    if !number::fits(value, width) {
        return refuse(Cause::DigitsBeyondWidth, start + width)
            .map_err(|error| error.sizes(width, value.len()));
    }
    if !strict {
        return Ok(());
    }
    let bits = number::read(value);
    let shortest = number::shortest(bits);
    if value.len() != shortest {
        return refuse(Cause::NotShortest, start + shortest)
            .map_err(|error| error.sizes(shortest, value.len()));
    }
    let nan = match ty {
        Some(Type::Float32) => f32::from_bits(bits as u32).is_nan() && bits as u32 != CANONICAL_NAN_32,
        Some(Type::Float64) => f64::from_bits(bits).is_nan() && bits != CANONICAL_NAN_64,
        _ => false,
    };
    if nan { refuse(Cause::NanBits, start) } else { Ok(()) }
}

/// The one NaN the programs write as float32 (SPEC 4.4).
pub(crate) const CANONICAL_NAN_32: u32 = 0x7fc0_0000;
/// The one NaN the programs write as float64 (SPEC 4.4).
pub(crate) const CANONICAL_NAN_64: u64 = 0x7ff8_0000_0000_0000;

/// A strict reader finds a message behind CONTENT_LENGTH (SPEC 5.1).
#[cold]
fn behind_content_length(dialect: &Dialect, key: u16, at: usize) -> Error {
    let cause = if key == dialect.content_length_key() {
        Cause::ContentLengthRepeated
    } else {
        Cause::ContentLengthNotLast
    };
    Error::new(cause, at)
}

/// The length of the entity by the bytes of CONTENT_LENGTH alone (SPEC 5.2, 5.3).
#[inline(always)]
fn content_length(dialect: &Dialect, strict: bool, code: u8, value: &[u8], at: usize) -> Result<u32, Error> {
    let ty = dialect.type_of(code);
    if strict && ty != Some(Type::Int32) {
        return Err(Error::new(Cause::ContentLengthType, at + 2).in_message(dialect.content_length_key(), ty));
    }
    if value.is_empty() {
        return Err(Error::new(Cause::ContentLengthEmpty, at + 2));
    }
    if value.len() > 4 && !number::fits(value, 4) {
        return Err(Error::new(Cause::ContentLengthTooWide, at + HEAD + 4).sizes(4, value.len()));
    }
    let bits = number::read(value) as u32;
    if bits.cast_signed() < 0 {
        if strict {
            return Err(Error::new(Cause::ContentLengthNegative, at + HEAD).number_read(bits));
        }
        return Ok(0);
    }
    Ok(bits)
}
