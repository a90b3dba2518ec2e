//! Java's modified UTF-8: U+0000 is `c0 80`, and each surrogate, paired or not, has three bytes (SPEC 12.33).

use alloc::string::String;
use alloc::vec::Vec;

use super::super::{Cause, Error, Text};

/// The text of these bytes, which stand at `offset`. As Java does, takes a bare `00` and forms that are
/// longer than they need be.
pub(super) fn read(bytes: &[u8], offset: usize) -> Result<Text, Error> {
    if let Ok(text) = core::str::from_utf8(bytes)
        && !bytes.iter().any(|byte| *byte >= 0xf0)
    {
        return Ok(text.into());
    }
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let (unit, length) = match *rest {
            [a @ 0..=0x7f, ..] => (u16::from(a), 1),
            [a @ 0xc0..=0xdf, b @ 0x80..=0xbf, ..] => (u16::from(a & 0x1f) << 6 | u16::from(b & 0x3f), 2),
            [a @ 0xe0..=0xef, b @ 0x80..=0xbf, c @ 0x80..=0xbf, ..] => {
                (u16::from(a & 0x0f) << 12 | u16::from(b & 0x3f) << 6 | u16::from(c & 0x3f), 3)
            }
            _ => {
                let at = offset + (bytes.len() - rest.len());
                return Err(Error::new(Cause::Text, at).number_read(first.into()));
            }
        };
        units.push(unit);
        rest = &rest[length..];
    }
    Ok(Text::from_utf16(&units))
}

/// The bytes of a text.
pub(super) fn bytes(text: &Text) -> Vec<u8> {
    if let Some(text) = text.as_str()
        && !text.bytes().any(|byte| byte == 0 || byte >= 0xf0)
    {
        return String::from(text).into_bytes();
    }
    let mut bytes = Vec::new();
    for unit in text.units() {
        let [low, middle] = [unit, unit >> 6].map(|bits| 0x80 | (bits & 0x3f) as u8);
        match unit {
            1..=0x7f => bytes.push(unit as u8),
            0 | 0x80..=0x7ff => bytes.extend([0xc0 | (unit >> 6) as u8, low]),
            _ => bytes.extend([0xe0 | (unit >> 12) as u8, middle, low]),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    /// SPEC 12.33: what Java takes and refuses, as recorded.
    #[test]
    fn modified_utf_8() {
        let units = |bytes: &[u8]| read(bytes, 7).map(|text| text.units().collect::<Vec<_>>());
        assert_eq!(units(b"a\x00c"), Ok(vec![0x61, 0, 0x63]));
        assert_eq!(units(b"\xc1\x81c"), Ok(vec![0x41, 0x63]));
        assert_eq!(units(b"\xed\xa0\xbd\xed\xb8\x80"), Ok(vec![0xd83d, 0xde00]));
        assert_eq!(units(b"\xed\xb0\x80"), Ok(vec![0xdc00]));
        let refused = [
            (&b"a\xf0\x9f\x98\x80"[..], 8, 0xf0),
            (b"\x80", 7, 0x80),
            (b"ab\xe4\xbd", 9, 0xe4),
            (b"\xc3\x28", 7, 0xc3),
            (b"\xff", 7, 0xff),
        ];
        for (bytes, offset, number) in refused {
            assert_eq!(read(bytes, 7), Err(Error::new(Cause::Text, offset).number_read(number)));
        }
    }

    #[test]
    fn written() {
        assert_eq!(bytes(&"a\0b".into()), b"a\xc0\x80b");
        assert_eq!(bytes(&"\u{1f600}".into()), b"\xed\xa0\xbd\xed\xb8\x80");
        assert_eq!(bytes(&Text::from_utf16(&[0xdc00])), b"\xed\xb0\x80");
        assert_eq!(bytes(&"caf\u{e9}\u{4f60}".into()), "caf\u{e9}\u{4f60}".as_bytes());
    }
}
