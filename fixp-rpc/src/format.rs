//! How arguments and results are written: postcard between programs of ours, JSON and CBOR for people and other
//! languages (SPEC 13.3).
//!
//! ```
//! use fixp_rpc::Format;
//!
//! assert_eq!(Format::named("json"), Some(Format::Json));
//! assert_eq!(Format::Json.write(&("a", 1)).unwrap(), &br#"["a",1]"#[..]);
//! assert_eq!(Format::Postcard.write(&("a", 1)).unwrap(), &[1, b'a', 2][..]);
//! let read: (String, i32) = Format::Cbor.read(&[0x82, 0x61, b'a', 0x01]).unwrap();
//! assert_eq!(read, ("a".to_owned(), 1));
//! ```

mod bounded;

use std::cell::Cell;
use std::fmt;

use bounded::{Bounded, Bounds};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is longer than this is handed out as it was written, in a buffer of its own.
const KEPT: usize = 4096;

thread_local! {
    /// Where a value is written whose length nobody knows yet: short ones grow no buffer of their own.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A way to write values, named on the wire by SERIAL_TYPE.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub enum Format {
    /// Short and fast, and read only by who knows the types.
    #[default]
    Postcard,
    /// Text, arguments by name.
    Json,
    /// JSON's model in bytes.
    Cbor,
}

/// A value that could not be written or read, in the words of its format; none where a peer does not say why.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FormatError(Box<str>);

impl FormatError {
    /// The bytes of an error's text that are kept.
    pub const LEN: usize = 512;

    pub(crate) fn new(error: &dyn fmt::Display) -> Self {
        let mut text = error.to_string();
        text.truncate(text.floor_char_boundary(Self::LEN));
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FormatError {}

impl Format {
    /// All of them, the default first.
    pub const ALL: [Self; 3] = [Self::Postcard, Self::Json, Self::Cbor];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postcard => "postcard",
            Self::Json => "json",
            Self::Cbor => "cbor",
        }
    }

    /// The format of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// A value in this format.
    ///
    /// # Errors
    ///
    /// What the value's own `Serialize` says, or that the format has no such value.
    pub fn write<T: Serialize + ?Sized>(self, value: &T) -> Result<Bytes, FormatError> {
        let mut bytes = SCRATCH.take();
        bytes.clear();
        let bytes = match self {
            Self::Postcard => postcard::to_extend(value, bytes).map_err(|error| FormatError::new(&error))?,
            Self::Json => match serde_json::to_writer(&mut bytes, value) {
                Ok(()) => bytes,
                Err(error) => return Err(FormatError::new(&error)),
            },
            Self::Cbor => match ciborium::into_writer(value, &mut bytes) {
                Ok(()) => bytes,
                Err(error) => return Err(FormatError::new(&error)),
            },
        };
        if bytes.len() >= KEPT {
            return Ok(bytes.into());
        }
        let value = Bytes::copy_from_slice(&bytes);
        SCRATCH.set(bytes);
        Ok(value)
    }

    /// The value that these bytes are, all of them.
    ///
    /// Values stand in one another no deeper than 128 levels (in CBOR 256), and a list has no more elements than there
    /// are bytes, and 65536.
    ///
    /// # Errors
    ///
    /// They are not one.
    pub fn read<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, FormatError> {
        match self {
            Self::Postcard => {
                let elements = Cell::new(bytes.len().saturating_add(bounded::EMPTY_ELEMENTS));
                let mut reads = postcard::Deserializer::from_bytes(bytes);
                let value = T::deserialize(Bounded { inner: &mut reads, bounds: Bounds::new(&elements) });
                match value.and_then(|value| Ok((value, reads.finalize()?))) {
                    Ok((value, [])) => Ok(value),
                    Ok((_, rest)) => Err(FormatError::new(&format_args!("{} bytes too many", rest.len()))),
                    Err(error) => Err(FormatError::new(&error)),
                }
            }
            Self::Json => serde_json::from_slice(bytes).map_err(|error| FormatError::new(&error)),
            Self::Cbor => {
                let mut rest = bytes;
                match ciborium::from_reader(&mut rest) {
                    Ok(value) if rest.is_empty() => Ok(value),
                    Ok(_) => Err(FormatError::new(&format_args!("{} bytes too many", rest.len()))),
                    Err(error) => Err(FormatError::new(&error)),
                }
            }
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    enum Nested {
        End,
        In(Box<Nested>),
    }

    /// A stack is not as deep as a packet is long.
    #[test]
    fn depth() {
        let nested = |depth: usize| (0..depth).fold(Nested::End, |inner, _| Nested::In(Box::new(inner)));
        for format in Format::ALL {
            let bytes = format.write(&nested(100)).expect("it is written");
            assert_eq!(format.read::<Nested>(&bytes), Ok(nested(100)));
        }
        let deep: [(Format, Vec<u8>); 3] = [
            (Format::Postcard, vec![1; 16 << 20]),
            (Format::Json, br#"{"In":"#.repeat(1 << 20)),
            (Format::Cbor, [0xa1, 0x62, b'I', b'n'].repeat(1 << 20)),
        ];
        for (format, bytes) in deep {
            let error = format.read::<Nested>(&bytes).expect_err("too deep");
            assert!(!error.as_str().is_empty(), "{format}");
        }
    }

    /// What stands in an element costs no more than its bytes, nor does the end of a list.
    #[test]
    fn lists_of_small_things() {
        let pairs = vec![((1_u8,), 2_u8); 100_000];
        let bytes = Format::Postcard.write(&pairs).expect("it is written");
        assert_eq!(Format::Postcard.read(&bytes), Ok(pairs));
        let empty = vec![Vec::<u8>::new(); 100_000];
        let bytes = Format::Postcard.write(&empty).expect("it is written");
        assert_eq!(Format::Postcard.read(&bytes), Ok(empty));
    }

    /// What takes no byte could be told without end.
    #[test]
    fn lists_of_nothing() {
        let endless = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert!(Format::Postcard.read::<Vec<()>>(&endless).is_err());
        let some = Format::Postcard.write(&vec![(); 65_000]).expect("it is written");
        assert_eq!(Format::Postcard.read::<Vec<()>>(&some).map(|list| list.len()), Ok(65_000));
    }
}
