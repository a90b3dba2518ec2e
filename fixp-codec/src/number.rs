//! Numbers on the wire: little-endian (SPEC 1.2), high-order zero bytes left out (SPEC 4.1, 4.2).
//!
//! ```
//! use fixp_codec::number;
//!
//! assert_eq!(number::shortest(0), 1);
//! assert_eq!(number::shortest(256), 2);
//! assert_eq!(number::shortest(u64::MAX), 8);
//! assert_eq!(number::read(&[0x00, 0x01]), 256);
//! ```

/// The number of bytes of the shortest form of these bits: 1..=8 (SPEC 4.1).
#[inline]
#[must_use]
pub const fn shortest(bits: u64) -> usize {
    // `| 1`: zero is one byte long.
    8 - ((bits | 1).leading_zeros() / 8) as usize
}

/// The bits of a number, its missing high bytes zero (SPEC 4.2).
///
/// Bytes behind the eighth are not looked at: decoding has checked that they are zero (SPEC 4.3).
#[inline]
#[must_use]
pub fn read(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_le_bytes(*eight);
    }
    // Two overlapping loads instead of a copy of variable length.
    let n = bytes.len();
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let low = u64::from(u32::from_le_bytes(*low));
        let high = u64::from(u32::from_le_bytes(*high));
        return low | high << ((n - 4) * 8);
    }
    match *bytes {
        [] => 0,
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, ..] => u64::from(u32::from_le_bytes([a, b, c, 0])),
    }
}

/// Whether every byte behind the first `width` is zero (SPEC 4.3).
#[must_use]
pub fn fits(bytes: &[u8], width: usize) -> bool {
    bytes.iter().skip(width).all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_forms_read_back() {
        for bit in 0..64 {
            for bits in [1_u64 << bit, (1_u64 << bit) - 1, u64::MAX << bit] {
                let n = shortest(bits);
                let bytes = bits.to_le_bytes();
                assert_eq!(read(&bytes[..n]), bits, "{bits:x}");
                assert!(n == 1 || bytes[n - 1] != 0, "{bits:x} has a shorter form");
                assert!(fits(&bytes, n));
            }
        }
    }

    #[test]
    fn every_length_is_read_naively_alike() {
        let bytes = [0x91, 0x82, 0x73, 0x64, 0x55, 0x46, 0x37, 0x28, 0, 0];
        for n in 0..=bytes.len() {
            let naive =
                bytes[..n].iter().take(8).rev().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
            assert_eq!(read(&bytes[..n]), naive, "{n} bytes");
        }
    }
}
