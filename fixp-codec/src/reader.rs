//! A borrowed reader that shrinks: what is read is gone from it.
//!
//! ```
//! use fixp_codec::{Cause, reader::Reader};
//!
//! let mut reader = Reader::new(&[1, 2, 3]);
//! assert_eq!(reader.take(2, Cause::ValueCut).unwrap(), &[1, 2]);
//! let error = reader.take(2, Cause::ValueCut).unwrap_err();
//! assert_eq!((error.offset(), error.needed(), error.had()), (2, 2, 1));
//! ```

use crate::{Cause, Error};

/// Bytes not yet read, and where the first of them stands in the whole input.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// The offset of the end of `rest` in the input: it never moves while reading.
    end: usize,
}

impl<'a> Reader<'a> {
    /// A reader of all of `input`.
    #[inline]
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { rest: input, end: input.len() }
    }

    /// The offset of the next byte in the input.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// What has not been read.
    #[inline]
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `n` bytes, or an error of this cause that says how many there are.
    #[inline]
    pub fn take(&mut self, n: usize, cause: Cause) -> Result<&'a [u8], Error> {
        let Some((taken, rest)) = self.rest.split_at_checked(n) else {
            return Err(self.cut(n, cause));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes, or an error of this cause that says how many there are.
    #[inline]
    pub fn array<const N: usize>(&mut self, cause: Cause) -> Result<&'a [u8; N], Error> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.cut(N, cause));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// A child that can read the next `n` bytes and no more; they are gone from this reader.
    #[inline]
    pub fn sub(&mut self, n: usize, cause: Cause) -> Result<Self, Error> {
        let end = self.offset().saturating_add(n);
        let rest = self.take(n, cause)?;
        Ok(Self { rest, end })
    }

    /// A copy of this reader that sees at most `n` bytes.
    #[inline]
    #[must_use]
    pub fn bounded(&self, n: usize) -> Self {
        match self.rest.split_at_checked(n) {
            Some((rest, cut)) => Self { rest, end: self.end - cut.len() },
            None => *self,
        }
    }

    /// Refuses bytes that nobody read.
    #[inline]
    pub const fn finish(self) -> Result<(), Error> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Error::new(Cause::TrailingBytes, self.offset()).sizes(0, self.rest.len()))
    }

    #[cold]
    const fn cut(&self, needed: usize, cause: Cause) -> Error {
        Error::new(cause, self.offset()).sizes(needed, self.rest.len())
    }
}
