//! Bytes explained: an annotated hex dump, field by field, with the error under its byte.
//!
//! ```
//! use fixp_codec::{Decoder, LAXCUS6, explain::explain};
//!
//! let decoder = Decoder::new(&LAXCUS6);
//! let wire = [0x87, 0x00, 0x01, 0x05, 0x01, 0x01, 0x00, 0xfc, 0x03, 0x02, 0x50, 0xe0, 0x01];
//! let text = explain(&decoder, &wire).to_string();
//! assert!(text.contains("command.minor            5 TEST"), "{text}");
//! assert!(text.contains("messages[0].value        480"), "{text}");
//! assert!(text.ends_with("truncated at byte 13: the entity needs 480 bytes, 0 are there\n"));
//! ```

use core::fmt::{self, Write as _};

use crate::dialect::RequestOrder;
use crate::head::split;
use crate::{Code, Decoder, Dialect, Error, MessageRef, Type, ValueRef, number};

/// Explains a packet.
#[must_use]
pub fn explain<'a>(decoder: &Decoder<'a>, input: &'a [u8]) -> Explanation<'a> {
    Explanation::new(decoder.dialect(), input, Unit::Packet, decoder.packet(input).err())
}

/// Explains a lone command.
#[must_use]
pub fn explain_command<'a>(decoder: &Decoder<'a>, input: &'a [u8]) -> Explanation<'a> {
    Explanation::new(decoder.dialect(), input, Unit::Command, decoder.command(input).err())
}

/// Explains a lone message.
#[must_use]
pub fn explain_message<'a>(decoder: &Decoder<'a>, input: &'a [u8]) -> Explanation<'a> {
    Explanation::new(decoder.dialect(), input, Unit::Message, decoder.message(input).err())
}

/// The most bytes of a field that are shown unless told otherwise.
const MOST: usize = 64;
/// The bytes on a line.
const LINE: usize = 8;

/// What the bytes are, field by field, and what is wrong with them. Allocates nothing.
///
/// [`Display`](fmt::Display) gives the annotated hex dump.
#[derive(Clone, Copy, Debug)]
pub struct Explanation<'a> {
    dialect: &'a Dialect,
    input: &'a [u8],
    unit: Unit,
    error: Option<Error>,
    styles: Styles,
    most: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Packet,
    Command,
    Message,
}

impl<'a> Explanation<'a> {
    const fn new(dialect: &'a Dialect, input: &'a [u8], unit: Unit, error: Option<Error>) -> Self {
        Self { dialect, input, unit, error, styles: Styles::PLAIN, most: MOST }
    }

    /// The fields in their order. They cover every byte of the input once.
    #[must_use]
    pub const fn fields(&self) -> Fields<'a> {
        let next = match self.unit {
            Unit::Message => Place::Key(None),
            Unit::Packet | Unit::Command => Place::Tag,
        };
        let known =
            Known { is_request: false, major: 0, messages: 0, key: 0, code: 0, length: 0, entity_len: None };
        let broken_at = match self.error {
            Some(error) => error.offset(),
            None => usize::MAX,
        };
        Fields { dialect: self.dialect, unit: self.unit, rest: self.input, offset: 0, next, known, broken_at }
    }

    /// Why the decoder refuses the input, if it does.
    #[must_use]
    pub const fn error(&self) -> Option<Error> {
        self.error
    }

    /// The same with at most so many bytes of each field shown.
    #[must_use]
    pub const fn with_bytes(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// The same with text around its parts, for colours.
    #[must_use]
    pub const fn with_styles(mut self, styles: Styles) -> Self {
        self.styles = styles;
        self
    }
}

/// Texts in front of and behind the parts of a line, for colours on a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Styles {
    /// Around an offset.
    pub offset: [&'static str; 2],
    /// Around the bytes.
    pub bytes: [&'static str; 2],
    /// Around the path of a field.
    pub path: [&'static str; 2],
    /// Around the error.
    pub error: [&'static str; 2],
}

impl Styles {
    /// Nothing around anything.
    pub const PLAIN: Self = Self { offset: [""; 2], bytes: [""; 2], path: [""; 2], error: [""; 2] };
}

/// Where a field stands in a packet. Displays as a path: `messages[0].key`, or `key` of a lone message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Place {
    /// The tag of the command.
    Tag,
    /// The version of the command.
    Version,
    /// The major command of a request.
    Major,
    /// The minor command of a request.
    Minor,
    /// The code of an answer.
    Code,
    /// The number of messages.
    MessageCount,
    /// The key of the message of this index, or of a lone message.
    Key(Option<usize>),
    /// Type code and length of a message.
    TypeLength(Option<usize>),
    /// The value of a message.
    Value(Option<usize>),
    /// The entity.
    Entity,
    /// What stands behind a whole packet.
    Trailing,
    /// What cannot be told apart, because what comes before is broken or cut short.
    Rest,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag => f.write_str("command.tag"),
            Self::Version => f.write_str("command.version"),
            Self::Major => f.write_str("command.major"),
            Self::Minor => f.write_str("command.minor"),
            Self::Code => f.write_str("command.code"),
            Self::MessageCount => f.write_str("command.message_count"),
            Self::Key(Some(i)) => write!(f, "messages[{i}].key"),
            Self::TypeLength(Some(i)) => write!(f, "messages[{i}].type_length"),
            Self::Value(Some(i)) => write!(f, "messages[{i}].value"),
            Self::Key(None) => f.write_str("key"),
            Self::TypeLength(None) => f.write_str("type_length"),
            Self::Value(None) => f.write_str("value"),
            Self::Entity => f.write_str("entity"),
            Self::Trailing => f.write_str("trailing"),
            Self::Rest => f.write_str("rest"),
        }
    }
}

/// A field: where it stands, its bytes, and, displayed, what they mean.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The offset of its first byte.
    pub offset: usize,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What it is.
    pub place: Place,
    dialect: &'a Dialect,
    known: Known,
}

/// What the fields in front have told.
#[derive(Clone, Copy, Debug)]
struct Known {
    is_request: bool,
    major: u8,
    messages: usize,
    key: u16,
    code: u8,
    length: usize,
    entity_len: Option<usize>,
}

/// The fields of an input.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    dialect: &'a Dialect,
    unit: Unit,
    rest: &'a [u8],
    offset: usize,
    next: Place,
    known: Known,
    /// Where the decoder refuses the input: what ends behind it has no entity and nothing trailing.
    broken_at: usize,
}

impl Fields<'_> {
    /// How long the next field is.
    fn length(&self) -> usize {
        match self.next {
            Place::Tag | Place::Major | Place::Minor => 1,
            Place::Version | Place::Code | Place::MessageCount | Place::Key(_) | Place::TypeLength(_) => 2,
            Place::Value(_) => self.known.length,
            Place::Entity => self.known.entity_len.unwrap_or(0),
            Place::Trailing | Place::Rest => self.rest.len(),
        }
    }

    /// Learns from a whole field, and tells what comes behind it.
    fn learn(&mut self, bytes: &[u8]) -> Place {
        let minor_first = self.dialect.request_order() == RequestOrder::MinorFirst;
        let first = bytes.first().copied().unwrap_or(0);
        let pair = bytes.first_chunk().copied().map_or(0, u16::from_le_bytes);
        match self.next {
            Place::Tag => {
                self.known.is_request = first == Code::REQUEST_TAG;
                let good = self.known.is_request || first == Code::ANSWER_TAG;
                if good { Place::Version } else { Place::Rest }
            }
            Place::Version if !self.known.is_request => Place::Code,
            Place::Version if minor_first => {
                // A minor's name depends on the major behind it.
                self.known.major = self.rest.get(1).copied().unwrap_or(0);
                Place::Minor
            }
            Place::Version => {
                self.known.major = self.rest.first().copied().unwrap_or(0);
                Place::Major
            }
            Place::Minor if minor_first => Place::Major,
            Place::Major if !minor_first => Place::Minor,
            Place::Major | Place::Minor | Place::Code => Place::MessageCount,
            Place::MessageCount => {
                self.known.messages = if self.unit == Unit::Packet { pair.into() } else { 0 };
                self.behind(0)
            }
            Place::Key(i) => {
                self.known.key = pair;
                Place::TypeLength(i)
            }
            Place::TypeLength(i) => {
                let [low, high] = pair.to_le_bytes();
                (_, self.known.code, self.known.length) = split(&[0, 0, low, high]);
                Place::Value(i)
            }
            Place::Value(i) => {
                if self.known.key == self.dialect.content_length_key() && self.known.entity_len.is_none() {
                    let signed = (number::read(bytes) as u32).cast_signed();
                    self.known.entity_len = Some(usize::try_from(signed).unwrap_or(0));
                }
                self.behind(i.map_or(0, |i| i + 1))
            }
            Place::Entity | Place::Trailing => Place::Trailing,
            Place::Rest => Place::Rest,
        }
    }

    /// What comes behind so many messages.
    fn behind(&self, messages: usize) -> Place {
        match self.unit {
            _ if messages < self.known.messages => Place::Key(Some(messages)),
            Unit::Packet => Place::Entity,
            Unit::Command | Unit::Message => Place::Trailing,
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        while !self.rest.is_empty() {
            if self.broken_at < self.offset && matches!(self.next, Place::Entity | Place::Trailing) {
                self.next = Place::Rest;
            }
            let Some((bytes, rest)) = self.rest.split_at_checked(self.length()) else {
                self.next = Place::Rest;
                continue;
            };
            let (offset, place) = (self.offset, self.next);
            self.rest = rest;
            self.offset += bytes.len();
            self.next = self.learn(bytes);
            // A value or an entity of no bytes is no field.
            if !bytes.is_empty() {
                return Some(Field { offset, bytes, place, dialect: self.dialect, known: self.known });
            }
        }
        None
    }
}

/// The meaning of the bytes: names of codes and keys where they have one, numbers where not.
impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.bytes.first().copied().unwrap_or(0);
        let pair = self.bytes.first_chunk().copied().map_or(0, u16::from_le_bytes);
        let named = |f: &mut fmt::Formatter<'_>, number: u16, name: Option<&str>| match name {
            Some(name) => write!(f, "{number} {name}"),
            None => write!(f, "{number}"),
        };
        match self.place {
            Place::Tag => f.write_str(match first {
                Code::REQUEST_TAG => "request",
                Code::ANSWER_TAG => "answer",
                _ => "neither request (87) nor answer (c7)",
            }),
            Place::Version => write!(f, "{pair:#06x}"),
            Place::Major => named(f, first.into(), self.dialect.major_name(first)),
            Place::Minor => {
                let code = Code::Request { major: self.known.major, minor: first };
                named(f, first.into(), self.dialect.code_name(code))
            }
            Place::Code => named(f, pair, self.dialect.code_name(Code::Answer(pair))),
            Place::MessageCount => write!(f, "{pair} message{}", plural(pair.into())),
            Place::Key(_) => named(f, pair, self.dialect.key_name(pair)),
            Place::TypeLength(_) => {
                match self.dialect.type_of(self.known.code) {
                    Some(ty) => f.write_str(ty.name())?,
                    None => write!(f, "unknown type {}", self.known.code)?,
                }
                write!(f, ", {} byte{}", self.known.length, plural(self.known.length))
            }
            Place::Value(_) => self.value(f),
            Place::Entity | Place::Trailing | Place::Rest => {
                write!(f, "{} byte{}", self.bytes.len(), plural(self.bytes.len()))?;
                match self.place {
                    Place::Trailing => f.write_str(" behind the packet"),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl Field<'_> {
    fn value(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = MessageRef::new(self.dialect, self.known.key, self.known.code, self.bytes);
        let too_wide = |width| !number::fits(self.bytes, width);
        if message.ty().and_then(Type::number_width).is_some_and(too_wide) {
            return write!(f, "{} bytes, too many for the type", self.bytes.len());
        }
        match message.value() {
            Err(_) => f.write_str("not UTF-8"),
            Ok(ValueRef::String(text)) => {
                let cut = text.char_indices().nth(TEXT).map_or(text.len(), |(at, _)| at);
                let (shown, rest) = text.split_at_checked(cut).unwrap_or((text, ""));
                write!(f, "{shown:?}{}", if rest.is_empty() { "" } else { "..." })
            }
            Ok(ValueRef::Boolean(value)) => write!(f, "{value}"),
            Ok(ValueRef::Int16(value)) => write!(f, "{value}"),
            Ok(ValueRef::Int32(value)) => write!(f, "{value}"),
            Ok(ValueRef::Int64(value)) => write!(f, "{value}"),
            Ok(ValueRef::Float32(value)) => write!(f, "{value:?}"),
            Ok(ValueRef::Float64(value)) => write!(f, "{value:?}"),
            Ok(ValueRef::ZRaw(_) | ValueRef::ZString(_)) => {
                write!(f, "zlib stream of {} byte{}", self.bytes.len(), plural(self.bytes.len()))
            }
            Ok(ValueRef::Raw(_) | ValueRef::Unknown { .. }) => {
                write!(f, "{} byte{}", self.bytes.len(), plural(self.bytes.len()))
            }
        }
    }
}

/// The most characters of a string that are shown.
const TEXT: usize = 64;

const fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut marked, mut last) = (false, 0);
        for field in self.fields() {
            let end = field.offset + field.bytes.len();
            let mut path = Fixed::default();
            let _ = write!(path, "{}", field.place);
            let shown = field.bytes.get(..self.most).unwrap_or(field.bytes);
            for (i, line) in shown.chunks(LINE).enumerate() {
                let offset = field.offset + i * LINE;
                last = offset;
                self.line(f, offset, line)?;
                if i == 0 {
                    let [before, behind] = self.styles.path;
                    let pad = 3 * (LINE - line.len()) + 2;
                    write!(f, "{:pad$}{before}{:<23}{behind}  {field}", "", path.text())?;
                }
                f.write_char('\n')?;
                if let Some(error) =
                    self.error.filter(|error| !marked && error.offset() < offset + line.len())
                {
                    marked = true;
                    self.mark(f, error, error.offset().saturating_sub(offset))?;
                }
            }
            if shown.len() < field.bytes.len() {
                writeln!(f, "{:8}  ... {} more bytes", "", field.bytes.len() - shown.len())?;
                if let Some(error) = self.error.filter(|error| !marked && error.offset() < end) {
                    marked = true;
                    self.mark(f, error, 0)?;
                }
            }
        }
        match self.error {
            // Something is missing behind the last byte.
            Some(error) if !marked => self.mark(f, error, error.offset().saturating_sub(last).min(LINE)),
            _ => Ok(()),
        }
    }
}

impl Explanation<'_> {
    fn line(&self, f: &mut fmt::Formatter<'_>, offset: usize, bytes: &[u8]) -> fmt::Result {
        let [before, behind] = self.styles.offset;
        write!(f, "{before}{offset:8}{behind}  ")?;
        let [before, behind] = self.styles.bytes;
        f.write_str(before)?;
        for (i, byte) in bytes.iter().enumerate() {
            write!(f, "{}{byte:02x}", if i == 0 { "" } else { " " })?;
        }
        f.write_str(behind)
    }

    /// The error, under the byte in this column.
    fn mark(&self, f: &mut fmt::Formatter<'_>, error: Error, column: usize) -> fmt::Result {
        let [before, behind] = self.styles.error;
        let indent = 10 + 3 * column;
        writeln!(f, "{:indent$}{before}^^{behind}", "")?;
        writeln!(f, "{:10}{before}{error}{behind}", "")
    }
}

/// The text of a path, to be padded: no path is longer.
#[derive(Default)]
struct Fixed {
    bytes: [u8; 32],
    used: usize,
}

impl Fixed {
    fn text(&self) -> &str {
        self.bytes.get(..self.used).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Write for Fixed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.used..self.used + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.used += text.len();
        Ok(())
    }
}
