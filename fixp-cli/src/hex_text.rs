//! Hex as people paste it: in groups, with colons, over several lines, with `0x` in front.

use std::fmt;

/// Why a text is not hex. Offsets are those of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BadHex {
    /// A byte that no hex text has, or one that is out of place.
    NotADigit { offset: usize, byte: u8 },
    /// The digits end in the middle of a byte.
    HalfAByte { offset: usize, digits: usize },
}

/// The bytes of a hex text. White space and colons may stand anywhere, `0x` in front of any group of whole bytes.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<u8>, BadHex> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high: Option<(usize, u8)> = None;
    let mut group_begins = true;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if is_separator(byte) {
            group_begins = true;
        } else if byte == b'0'
            && matches!(text.get(at + 1), Some(b'x' | b'X'))
            && group_begins
            && high.is_none()
        {
            at += 1;
            group_begins = false;
        } else {
            let digit = digit(byte).ok_or(BadHex::NotADigit { offset: at, byte })?;
            match high.take() {
                Some((_, high)) => bytes.push(high << 4 | digit),
                None => high = Some((at, digit)),
            }
            group_begins = false;
        }
        at += 1;
    }
    match high {
        Some((offset, _)) => Err(BadHex::HalfAByte { offset, digits: bytes.len() * 2 + 1 }),
        None => Ok(bytes),
    }
}

/// Whether a file is meant as hex: it has no other characters. A packet never looks like that, its tag is not ASCII.
pub(crate) fn looks_like_hex(content: &[u8]) -> bool {
    content.iter().all(|&byte| digit(byte).is_some() || is_separator(byte) || matches!(byte, b'x' | b'X'))
}

const fn is_separator(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b':'
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for BadHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotADigit { offset, byte } if byte.is_ascii() => {
                write!(f, "bad-hex at byte {offset}: {:?} is no hex digit", char::from(byte))
            }
            Self::NotADigit { offset, byte } => {
                write!(f, "bad-hex at byte {offset}: {byte:#04x} is no hex digit")
            }
            Self::HalfAByte { offset, digits } => {
                write!(f, "bad-hex at byte {offset}: the last of {digits} digits is half a byte")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_paste_is_read() {
        for text in [
            "8700fC",
            "87 00 fc",
            "87:00:fc",
            "0x8700fc",
            "0x87 0x00\n0XFC\n",
            " 8700\r\n\tfc ",
            "8 7 0 0 f c",
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(vec![0x87, 0x00, 0xfc]), "{text:?}");
        }
        assert_eq!(parse(b""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_hex_is_refused_at_its_place() {
        let not_a_digit = |offset, byte| Err(BadHex::NotADigit { offset, byte });
        assert_eq!(parse(b"87zz"), not_a_digit(2, b'z'));
        assert_eq!(parse(b"870x00"), not_a_digit(3, b'x'));
        assert_eq!(parse(b"8 0x70"), not_a_digit(3, b'x'));
        assert_eq!(parse("87é".as_bytes()), not_a_digit(2, 0xc3));
        assert_eq!(parse(b"87 0 "), Err(BadHex::HalfAByte { offset: 3, digits: 3 }));
    }
}
