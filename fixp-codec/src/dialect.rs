//! A dialect is data: one table says all that differs (SPEC 6).
//!
//! ```
//! use fixp_codec::{Code, Dialect, LAXCUS6, LEXST1, Type};
//!
//! // The tables answer by number and by name.
//! assert_eq!(LAXCUS6.content_length_key(), 1020);
//! assert_eq!(LAXCUS6.key_name(1000), Some("SPEAK"));
//! assert_eq!(LAXCUS6.code_name(fixp_codec::laxcus6::notify::TEST), Some("TEST"));
//! assert!(!LAXCUS6.reads(Code::Request { major: 7, minor: 1 }));
//! assert!(LEXST1.reads(Code::Request { major: 7, minor: 1 }));
//!
//! // A dialect of one's own is another table.
//! const MINE: Dialect = LAXCUS6.derive("mine").with_content_length_key(9).with_type(12, Type::ZRaw);
//! assert_eq!(MINE.code_of(Type::ZRaw), Some(12));
//! ```

pub mod laxcus2;
pub mod laxcus6;
pub mod lexst1;
mod table;

pub use laxcus2::LAXCUS2;
pub use laxcus6::LAXCUS6;
pub use lexst1::LEXST1;
pub use table::{AnswerName, KeyName, Major, MinorName, MinorSet};

use core::fmt;

use crate::{Code, Type};

/// The dialects built in.
pub const BUILT_IN: [&Dialect; 3] = [&LEXST1, &LAXCUS6, &LAXCUS2];

/// All that differs between the programs that speak FIXP (SPEC 6.1).
#[derive(Clone, Copy)]
pub struct Dialect {
    pub(crate) built_in: BuiltIn,
    name: &'static str,
    order: RequestOrder,
    types: [Option<Type>; 16],
    keeps_unknown_types: bool,
    wide_booleans: bool,
    content_length_key: u16,
    requests: Requests,
    extra_major: Option<u8>,
    writes_minor_zero: bool,
    answers: (u16, u16),
    answer_names: &'static [AnswerName],
    keys: &'static [KeyName],
    first_serial: u32,
    /// Derived from the rows above: what lengths a value of each type code can have.
    lengths: [Lengths; 16],
    /// Derived too: the legal minors of the majors below 8, where all of the programs' are.
    legal: [MinorSet; 8],
    /// Derived too: the code of each type, more than 15 for none.
    codes: [u8; 10],
}

/// Which table the compiler may fold into the hot loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BuiltIn {
    Lexst1,
    Laxcus6,
    Laxcus2,
    No,
}

/// The lengths that need no second look: `min <= length <= min + span`.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    min: u16,
    span: u16,
}

impl Lengths {
    const fn of(ty: Option<Type>, keeps_unknown_types: bool) -> Self {
        match ty {
            Some(Type::Raw | Type::String) => Self { min: 0, span: 4095 },
            Some(Type::ZRaw | Type::ZString) => Self { min: 1, span: 4094 },
            Some(Type::Boolean) => Self { min: 1, span: 0 },
            Some(Type::Int16) => Self { min: 1, span: 1 },
            Some(Type::Int32 | Type::Float32) => Self { min: 1, span: 3 },
            Some(Type::Int64 | Type::Float64) => Self { min: 1, span: 7 },
            None if keeps_unknown_types => Self { min: 0, span: 4095 },
            // No length is plain.
            None => Self { min: u16::MAX, span: 0 },
        }
    }
}

/// The order of the two bytes of a request (SPEC 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestOrder {
    /// Major, then minor.
    MajorFirst,
    /// Minor, then major.
    MinorFirst,
}

/// The legal requests (SPEC 2.6).
#[derive(Clone, Copy, Debug)]
pub enum Requests {
    /// Every one; the rows give names only.
    Any(&'static [Major]),
    /// Those of the rows.
    Listed(&'static [Major]),
}

impl Requests {
    /// The rows.
    #[must_use]
    pub const fn majors(&self) -> &'static [Major] {
        match self {
            Self::Any(majors) | Self::Listed(majors) => majors,
        }
    }
}

impl Dialect {
    /// The built-in dialect of this name: `lexst1`, `laxcus6`, `laxcus2`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        BUILT_IN.into_iter().find(|dialect| dialect.name == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The order of the two bytes of a request (SPEC 2.3).
    #[must_use]
    pub const fn request_order(&self) -> RequestOrder {
        self.order
    }

    /// The type of a type code, nothing for a code without a name (SPEC 3.2). Only the low four bits count.
    #[inline]
    #[must_use]
    pub const fn type_of(&self, code: u8) -> Option<Type> {
        self.types[(code & 15) as usize]
    }

    /// The code of a type, nothing where the dialect lacks it (SPEC 3.2).
    #[inline]
    #[must_use]
    pub const fn code_of(&self, ty: Type) -> Option<u8> {
        match self.codes[ty as usize] {
            code @ 0..=15 => Some(code),
            _ => None,
        }
    }

    /// Whether a value of this type code and length (0..=4095) is fine for a compatible reader by its length
    /// alone.
    #[inline(always)]
    pub(crate) const fn plain(&self, code: u8, length: usize) -> bool {
        let Lengths { min, span } = self.lengths[(code & 15) as usize];
        (length as u16).wrapping_sub(min) <= span
    }

    /// Whether a value of a type code without a name is kept as it is (SPEC 3.3).
    #[must_use]
    pub const fn keeps_unknown_types(&self) -> bool {
        self.keeps_unknown_types
    }

    /// Whether a compatible reader takes a boolean of several bytes, for its first (SPEC 4.5).
    #[must_use]
    pub const fn wide_booleans(&self) -> bool {
        self.wide_booleans
    }

    /// The key of the message that carries the entity's length (SPEC 5.1).
    #[inline]
    #[must_use]
    pub const fn content_length_key(&self) -> u16 {
        self.content_length_key
    }

    /// The legal requests and their names (SPEC 2.6).
    #[must_use]
    pub const fn requests(&self) -> Requests {
        self.requests
    }

    /// The first and the last legal answer code (SPEC 2.7).
    #[must_use]
    pub const fn answers(&self) -> (u16, u16) {
        self.answers
    }

    /// The answer codes that have names.
    #[must_use]
    pub const fn answer_names(&self) -> &'static [AnswerName] {
        self.answer_names
    }

    /// The keys that have names.
    #[must_use]
    pub const fn keys(&self) -> &'static [KeyName] {
        self.keys
    }

    /// The serial of the first sub-packet of a packet (SPEC 9.2).
    #[must_use]
    pub const fn first_serial(&self) -> u32 {
        self.first_serial
    }

    /// Whether a reader takes this code (SPEC 2.6, 2.7).
    #[inline]
    #[must_use]
    pub const fn reads(&self, code: Code) -> bool {
        match code {
            Code::Answer(code) => self.answers.0 <= code && code <= self.answers.1,
            Code::Request { major, minor } => {
                if major < 8 {
                    return self.legal[major as usize].has(minor);
                }
                let Requests::Listed(majors) = self.requests else { return true };
                if let Some(extra) = self.extra_major
                    && extra == major
                {
                    return true;
                }
                let mut i = 0;
                while i < majors.len() {
                    if majors[i].number == major {
                        return majors[i].legal.has(minor);
                    }
                    i += 1;
                }
                false
            }
        }
    }

    /// Whether a writer writes this code, and a strict reader takes it: [`Dialect::reads`] less the
    /// minor 0 of a dialect whose program cannot write it (SPEC 2.6).
    #[inline]
    #[must_use]
    pub const fn writes(&self, code: Code) -> bool {
        self.reads(code) && (self.writes_minor_zero || !matches!(code, Code::Request { minor: 0, .. }))
    }

    /// The name of a request's major command.
    #[must_use]
    pub fn major_name(&self, major: u8) -> Option<&'static str> {
        self.requests.majors().iter().find(|row| row.number == major).map(|row| row.name)
    }

    /// The name of a request's minor command, or of an answer.
    #[must_use]
    pub fn code_name(&self, code: Code) -> Option<&'static str> {
        match code {
            Code::Request { major, minor } => {
                let row = self.requests.majors().iter().find(|row| row.number == major)?;
                row.minors.iter().find(|row| row.number == minor).map(|row| row.name)
            }
            Code::Answer(code) => self.answer_names.iter().find(|row| row.number == code).map(|row| row.name),
        }
    }

    /// The name of a key.
    #[must_use]
    pub fn key_name(&self, key: u16) -> Option<&'static str> {
        self.keys.iter().find(|row| row.number == key).map(|row| row.name)
    }

    /// Tells the dialect of a whole head by its last message (SPEC 6.2): `lexst1`, `laxcus6`, or nothing
    /// where that does not decide (a bare command, a head cut short, another last message).
    #[must_use]
    pub fn detect(input: &[u8]) -> Option<&'static Self> {
        let (key, code) = last_message(input)?;
        [&LEXST1, &LAXCUS6]
            .into_iter()
            .find(|dialect| dialect.content_length_key == key && dialect.code_of(Type::Int32) == Some(code))
    }

    /// A dialect of another name that is otherwise this one, to be changed by the `with_` functions.
    #[must_use]
    pub const fn derive(mut self, name: &'static str) -> Self {
        self.name = name;
        self.built_in = BuiltIn::No;
        self
    }

    /// The last word of a built-in table: it is the one that the compiler may fold.
    const fn folded(mut self, built_in: BuiltIn) -> Self {
        self.built_in = built_in;
        self
    }

    /// The same with another order of the request bytes.
    #[must_use]
    pub const fn with_request_order(mut self, order: RequestOrder) -> Self {
        self.built_in = BuiltIn::No;
        self.order = order;
        self
    }

    /// The same with a type code (its low four bits) for this type. A type with several codes is
    /// read by all of them and written by the lowest.
    #[must_use]
    pub const fn with_type(mut self, code: u8, ty: Type) -> Self {
        self.built_in = BuiltIn::No;
        self.types[(code & 15) as usize] = Some(ty);
        self.relength()
    }

    /// The same without a meaning for this type code.
    #[must_use]
    pub const fn without_type(mut self, code: u8) -> Self {
        self.built_in = BuiltIn::No;
        self.types[(code & 15) as usize] = None;
        self.relength()
    }

    /// The same, keeping values of unknown type codes or refusing them (SPEC 3.3).
    #[must_use]
    pub const fn with_unknown_types_kept(mut self, kept: bool) -> Self {
        self.built_in = BuiltIn::No;
        self.keeps_unknown_types = kept;
        self.relength()
    }

    /// The same, taking booleans of several bytes or refusing them (SPEC 4.5).
    #[must_use]
    pub const fn with_wide_booleans(mut self, wide: bool) -> Self {
        self.built_in = BuiltIn::No;
        self.wide_booleans = wide;
        self
    }

    /// The same with another key for CONTENT_LENGTH.
    #[must_use]
    pub const fn with_content_length_key(mut self, key: u16) -> Self {
        self.built_in = BuiltIn::No;
        self.content_length_key = key;
        self
    }

    /// The same with other legal requests; `minor_zero` says whether a minor of 0 may be written.
    #[must_use]
    pub const fn with_requests(mut self, requests: Requests, minor_zero: bool) -> Self {
        self.built_in = BuiltIn::No;
        self.requests = requests;
        self.writes_minor_zero = minor_zero;
        self.legal = match requests {
            Requests::Any(_) => [MinorSet::ALL; 8],
            Requests::Listed(_) => [MinorSet::of(&[]); 8],
        };
        if let Requests::Listed(majors) = requests {
            let mut i = 0;
            while i < majors.len() {
                if majors[i].number < 8 {
                    self.legal[majors[i].number as usize] = majors[i].legal;
                }
                i += 1;
            }
        }
        self
    }

    /// The same with every request of one more major legal, such as the 0x46 of extensions between peers
    /// that have agreed on them.
    #[must_use]
    pub const fn with_major(mut self, major: u8) -> Self {
        // Only commands are read otherwise: one that the folded table refuses is looked up in this one.
        self.extra_major = Some(major);
        if major < 8 {
            self.legal[major as usize] = MinorSet::ALL;
        }
        self
    }

    /// The same with other legal answers and their names.
    #[must_use]
    pub const fn with_answers(mut self, first: u16, last: u16, names: &'static [AnswerName]) -> Self {
        self.built_in = BuiltIn::No;
        self.answers = (first, last);
        self.answer_names = names;
        self
    }

    /// The same with other names of keys.
    #[must_use]
    pub const fn with_keys(mut self, keys: &'static [KeyName]) -> Self {
        self.built_in = BuiltIn::No;
        self.keys = keys;
        self
    }

    /// The same with another first serial of sub-packets.
    #[must_use]
    pub const fn with_first_serial(mut self, serial: u32) -> Self {
        self.built_in = BuiltIn::No;
        self.first_serial = serial;
        self
    }

    /// Recomputes what is derived from the types.
    const fn relength(mut self) -> Self {
        self.codes = [u8::MAX; 10];
        let mut code = 16;
        while code > 0 {
            code -= 1;
            self.lengths[code] = Lengths::of(self.types[code], self.keeps_unknown_types);
            if let Some(ty) = self.types[code] {
                self.codes[ty as usize] = code as u8;
            }
        }
        self
    }

    /// The empty table the built-in ones start from: any command, no types, no names.
    const fn empty(name: &'static str) -> Self {
        let none = Lengths { min: u16::MAX, span: 0 };
        Self {
            built_in: BuiltIn::No,
            name,
            order: RequestOrder::MajorFirst,
            types: [None; 16],
            keeps_unknown_types: false,
            wide_booleans: false,
            content_length_key: 0,
            requests: Requests::Any(&[]),
            extra_major: None,
            writes_minor_zero: true,
            answers: (0, u16::MAX),
            answer_names: &[],
            keys: &[],
            first_serial: 0,
            lengths: [none; 16],
            legal: [MinorSet::ALL; 8],
            codes: [u8::MAX; 10],
        }
    }
}

/// Its name: the tables are long.
impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialect({})", self.name)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

/// Two dialects are equal if they have the same name: names are for people to keep apart.
impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Dialect {}

/// Key and type code of the last message of a whole head.
fn last_message(input: &[u8]) -> Option<(u16, u8)> {
    let (&[tag, _, _, _, _, low, high], mut rest) = input.split_first_chunk::<7>()?;
    if tag != Code::REQUEST_TAG && tag != Code::ANSWER_TAG {
        return None;
    }
    let mut last = None;
    for _ in 0..u16::from_le_bytes([low, high]) {
        let (&[k0, k1, t0, t1], behind) = rest.split_first_chunk::<4>()?;
        let field = u16::from_le_bytes([t0, t1]);
        rest = behind.get(usize::from(field & 0x0fff)..)?;
        last = Some((u16::from_le_bytes([k0, k1]), (field >> 12) as u8));
    }
    last
}
