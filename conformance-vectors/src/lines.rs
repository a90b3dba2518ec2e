//! Lines of bounded length. Both sides of the testee protocol read what a stranger writes, so neither may
//! keep what it cannot use.

use std::io::{self, BufRead};

/// What [`read_line`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line; it is in the buffer, without its end.
    Whole,
    /// A line longer than allowed. It is not read further: the rest of it is still to come (see
    /// [`skip_line`]).
    TooLong,
    /// The end of the input.
    End,
}

/// Reads a line of at most `limit` bytes into `buffer`, which is emptied first. The last line may lack its
/// line feed.
pub(crate) fn read_line(input: &mut impl BufRead, buffer: &mut Vec<u8>, limit: usize) -> io::Result<Line> {
    buffer.clear();
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(if buffer.is_empty() { Line::End } else { Line::Whole });
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let piece = &available[..end.unwrap_or(available.len())];
        if piece.len() > limit - buffer.len() {
            buffer.clear();
            return Ok(Line::TooLong);
        }
        buffer.extend_from_slice(piece);
        let taken = piece.len() + usize::from(end.is_some());
        input.consume(taken);
        if end.is_some() {
            return Ok(Line::Whole);
        }
    }
}

/// Passes over the rest of a line that was [too long](Line::TooLong), keeping none of it.
pub(crate) fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |end| end + 1);
        input.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines(text: &str, limit: usize) -> Vec<(Line, Vec<u8>)> {
        // A buffer of three bytes, so that every line comes in pieces.
        let mut input = BufReader::with_capacity(3, text.as_bytes());
        let mut found = Vec::new();
        loop {
            let mut buffer = b"left over".to_vec();
            match read_line(&mut input, &mut buffer, limit).expect("memory cannot fail") {
                Line::End => return found,
                Line::TooLong => {
                    skip_line(&mut input).expect("memory cannot fail");
                    found.push((Line::TooLong, buffer));
                }
                Line::Whole => found.push((Line::Whole, buffer)),
            }
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        assert_eq!(
            lines("12345\n123456\n\n1234", 5),
            [
                (Line::Whole, b"12345".to_vec()),
                (Line::TooLong, Vec::new()),
                (Line::Whole, Vec::new()),
                (Line::Whole, b"1234".to_vec()),
            ]
        );
    }

    #[test]
    fn a_line_that_never_ends_is_given_up_at_the_limit() {
        let mut endless = BufReader::new(io::repeat(b'x'));
        let mut buffer = Vec::new();
        assert_eq!(read_line(&mut endless, &mut buffer, 1 << 16).expect("no errors"), Line::TooLong);
        assert!(buffer.capacity() <= 1 << 17);
    }
}
