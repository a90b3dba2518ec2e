//! Numbers of the own transport in as few bytes as they need: LEB128, seven bits a byte, the lowest first.
//!
//! ```
//! use fixp_transport::keep::own::varint;
//!
//! let mut bytes = Vec::new();
//! varint::write(300, &mut bytes);
//! assert_eq!(bytes, [0xac, 0x02]);
//! let mut rest = &bytes[..];
//! assert_eq!(varint::read(&mut rest), Ok(300));
//! assert!(rest.is_empty());
//! ```

use std::fmt;

use bytes::BufMut;

/// The most bytes of a number: 64 bits in sevens.
pub const LONGEST: usize = 10;

/// Why bytes are no number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// The bytes end within a number.
    Ends,
    /// A number has more than 64 bits, or more than [`LONGEST`] bytes.
    TooLarge,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ends => f.write_str("the bytes end within a number"),
            Self::TooLarge => write!(f, "a number has more than 64 bits or {LONGEST} bytes"),
        }
    }
}

impl std::error::Error for Broken {}

/// Reads a number and moves behind it. The shortest form is not demanded.
///
/// # Errors
///
/// When the bytes end too early, or the number is too large. What is left of `bytes` then means nothing.
#[inline]
pub fn read(bytes: &mut &[u8]) -> Result<u64, Broken> {
    let mut number = 0;
    for position in 0..LONGEST {
        let (&byte, rest) = bytes.split_first().ok_or(Broken::Ends)?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        // The tenth byte has room for the 64th bit only.
        if position == LONGEST - 1 && part > 1 {
            return Err(Broken::TooLarge);
        }
        number |= part << (7 * position);
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Broken::TooLarge)
}

/// Writes a number in its shortest form.
#[inline]
pub fn write(mut number: u64, out: &mut impl BufMut) {
    while number >= 0x80 {
        out.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

/// How many bytes [`write()`] writes.
#[must_use]
#[inline]
pub const fn length(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn examples_of_leb128() {
        // The examples of the DWARF standard, and the ends of the range.
        let table: [(u64, &[u8]); 8] = [
            (0, &[0]),
            (2, &[2]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (129, &[0x81, 1]),
            (12857, &[0xb9, 0x64]),
            (624_485, &[0xe5, 0x8e, 0x26]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ];
        for (number, expected) in table {
            let mut bytes = Vec::new();
            write(number, &mut bytes);
            assert_eq!(bytes, expected);
            assert_eq!(length(number), expected.len());
            assert_eq!(read(&mut &bytes[..]), Ok(number));
        }
    }

    #[test]
    fn a_longer_form_is_read_and_a_broken_one_is_not() {
        assert_eq!(read(&mut &[0x81, 0x80, 0x00][..]), Ok(1));
        assert_eq!(read(&mut &[][..]), Err(Broken::Ends));
        assert_eq!(read(&mut &[0xff, 0xff][..]), Err(Broken::Ends));
        let mut bytes = [0xff; 11];
        assert_eq!(read(&mut &bytes[..]), Err(Broken::TooLarge));
        bytes[9] = 2;
        assert_eq!(read(&mut &bytes[..]), Err(Broken::TooLarge));
        bytes[9] = 0x81;
        assert_eq!(read(&mut &bytes[..]), Err(Broken::TooLarge));
    }

    proptest! {
        #[test]
        fn comes_back(number: u64, shift in 0..64u32, behind: Vec<u8>) {
            let number = number >> shift;
            let mut bytes = Vec::new();
            write(number, &mut bytes);
            prop_assert_eq!(bytes.len(), length(number));
            bytes.extend(&behind);
            let mut rest = &bytes[..];
            prop_assert_eq!(read(&mut rest), Ok(number));
            prop_assert_eq!(rest, &behind[..]);
        }
    }
}
