//! Compressed values: one zlib stream, inflated when asked for and never beyond a bound (SPEC 4.9).
//!
//! ```
//! # #[cfg(feature = "zlib")] {
//! use fixp_codec::{Deflated, ErrorKind};
//!
//! let text = "chunk ".repeat(1000);
//! let stream = Deflated::of(text.as_bytes());
//! assert!(stream.bytes().len() < 100);
//! assert_eq!(stream.view().inflate(6000).unwrap(), text.as_bytes());
//! assert_eq!(stream.view().inflate(5999).unwrap_err().kind(), ErrorKind::Limit);
//! # }
//! ```

use bytes::Bytes;

/// A zlib stream as it stands in a packet. Nothing is checked before its content is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeflatedRef<'a>(&'a [u8]);

impl<'a> DeflatedRef<'a> {
    /// The bytes of a stream.
    #[must_use]
    pub const fn new(stream: &'a [u8]) -> Self {
        Self(stream)
    }

    /// The stream itself, as it is on the wire.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The stream as its own owner.
    #[must_use]
    pub fn to_deflated(&self) -> Deflated {
        Deflated(Bytes::copy_from_slice(self.0))
    }
}

/// A zlib stream that owns its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deflated(Bytes);

impl Deflated {
    /// A stream that is already there. It is not looked at.
    #[must_use]
    pub const fn from_stream(stream: Bytes) -> Self {
        Self(stream)
    }

    /// The stream itself, as it is on the wire.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The stream, borrowed.
    #[must_use]
    pub fn view(&self) -> DeflatedRef<'_> {
        DeflatedRef(&self.0)
    }
}

#[cfg(feature = "zlib")]
mod zlib {
    use alloc::boxed::Box;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    use miniz_oxide::deflate::compress_to_vec_zlib;
    use miniz_oxide::inflate::TINFLStatus;
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

    use super::{Deflated, DeflatedRef};
    use crate::{Cause, Error};

    /// The compression level of zlib's own default.
    const LEVEL: u8 = 6;

    impl Deflated {
        /// The stream of a content. Its bytes depend on the library and are not canonical (SPEC 4.9);
        /// whether they fit a message is seen when encoding.
        #[must_use]
        pub fn of(content: &[u8]) -> Self {
            Self(compress_to_vec_zlib(content, LEVEL).into())
        }
    }

    impl DeflatedRef<'_> {
        /// The content, if it has at most `limit` bytes. Allocates at most about `limit` bytes and
        /// some 12 KiB of state, and only as the stream unfolds.
        ///
        /// # Errors
        ///
        /// [`Cause::Inflate`], [`Cause::InflateLeftOver`], [`Cause::InflateLimit`]; the offset is
        /// within the stream.
        pub fn inflate(&self, limit: usize) -> Result<Vec<u8>, Error> {
            let flags = inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER
                | inflate_flags::TINFL_FLAG_COMPUTE_ADLER32
                | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
            let mut state = Box::<DecompressorOxide>::default();
            let mut content = vec![0; limit.min(self.0.len().saturating_mul(4))];
            let (mut read, mut written) = (0, 0);
            loop {
                let input = self.0.get(read..).unwrap_or_default();
                let (status, consumed, produced) =
                    decompress(&mut state, input, &mut content, written, flags);
                read += consumed;
                written += produced;
                match status {
                    TINFLStatus::Done if read < self.0.len() => {
                        return Err(Error::new(Cause::InflateLeftOver, read).sizes(0, self.0.len() - read));
                    }
                    TINFLStatus::Done => {
                        content.truncate(written);
                        return Ok(content);
                    }
                    TINFLStatus::HasMoreOutput if content.len() < limit => {
                        let longer = limit.min(content.len().saturating_mul(2).max(64));
                        // Exactly: a vector that grows by itself would pass the limit.
                        content.reserve_exact(longer - content.len());
                        content.resize(longer, 0);
                    }
                    TINFLStatus::HasMoreOutput => {
                        return Err(
                            Error::new(Cause::InflateLimit, read).sizes(limit.saturating_add(1), limit)
                        );
                    }
                    _ => return Err(Error::new(Cause::Inflate, read)),
                }
            }
        }

        /// The content as text, if it has at most `limit` bytes.
        ///
        /// # Errors
        ///
        /// Those of [`DeflatedRef::inflate`], and [`Cause::InvalidUtf8`], whose offset is within the content.
        pub fn inflate_text(&self, limit: usize) -> Result<String, Error> {
            String::from_utf8(self.inflate(limit)?)
                .map_err(|error| error.utf8_error().valid_up_to())
                .map_err(|good| Error::new(Cause::InvalidUtf8, good).sizes(good, 0))
        }
    }
}
