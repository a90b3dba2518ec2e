//! Java's strings: UTF-16, surrogates unpaired or not.
//!
//! ```
//! use fixp_codec::rpc::Text;
//!
//! assert_eq!(Text::from("helo").as_str(), Some("helo"));
//! let odd = Text::from_utf16(&[0x78, 0xd800]);
//! assert_eq!((odd.as_str(), odd.to_string().as_str()), (None, "x\u{fffd}"));
//! ```

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

/// A Java string. Cloning shares it: the clones are one object to Java too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Form);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    Utf8(Arc<str>),
    /// Only what UTF-8 cannot say, so that equal texts have equal forms.
    Utf16(Arc<[u16]>),
}

impl Text {
    /// The text of UTF-16 code units, any of them.
    #[must_use]
    pub fn from_utf16(units: &[u16]) -> Self {
        match String::from_utf16(units) {
            Ok(text) => Self(Form::Utf8(text.into())),
            Err(_) => Self(Form::Utf16(units.into())),
        }
    }

    /// The text, unless it has unpaired surrogates.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Form::Utf8(text) => Some(text),
            Form::Utf16(_) => None,
        }
    }

    /// Its UTF-16 code units.
    pub fn units(&self) -> impl Iterator<Item = u16> {
        let (text, units): (&str, &[u16]) = match &self.0 {
            Form::Utf8(text) => (text, &[]),
            Form::Utf16(units) => ("", units),
        };
        text.encode_utf16().chain(units.iter().copied())
    }

    /// Where it lies: the same for clones, another for every other text.
    pub(crate) fn address(&self) -> usize {
        match &self.0 {
            Form::Utf8(text) => Arc::as_ptr(text).cast::<u8>() as usize,
            Form::Utf16(units) => Arc::as_ptr(units).cast::<u8>() as usize,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Form::Utf8(text.into()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Form::Utf8(text.into()))
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

/// Unpaired surrogates become U+FFFD.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        match &self.0 {
            Form::Utf8(text) => f.pad(text),
            Form::Utf16(units) => char::decode_utf16(units.iter().copied())
                .try_for_each(|c| f.write_char(c.unwrap_or(char::REPLACEMENT_CHARACTER))),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Utf8(text) => text.fmt(f),
            Form::Utf16(units) => write!(f, "utf16{units:x?}"),
        }
    }
}
