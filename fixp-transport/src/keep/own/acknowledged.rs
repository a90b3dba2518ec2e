//! The value of ACKNOWLEDGED: which numbers have come, and how long ago the largest did (SPEC 10.13).
//!
//! ```
//! use std::time::Duration;
//! use fixp_transport::keep::own::{acknowledged::{self, Acknowledged}, ranges::Ranges};
//!
//! let mut come = Ranges::new(64);
//! for number in [0, 1, 2, 5, 6] {
//!     come.insert(number);
//! }
//! let mut value = Vec::new();
//! acknowledged::write(&come, Duration::from_micros(300), 64, &mut value);
//! // 6, after 300 us; two of them; of the two below, 3 and 4, nothing; then three.
//! assert_eq!(value, [6, 0xac, 0x02, 1, 1, 2]);
//!
//! let read = Acknowledged::read(&value)?;
//! assert_eq!((read.largest, read.delay), (6, Duration::from_micros(300)));
//! assert_eq!(read.ranges().collect::<Vec<_>>(), [5..=6, 0..=2]);
//! # Ok::<(), acknowledged::Broken>(())
//! ```

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::BufMut;

use super::ranges::Ranges;
use super::varint;

/// The most ranges of a value: 64 tell all losses of a round trip but the worst, and take 128 bytes mostly.
pub const RANGES: usize = 64;

/// Why a value says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// One of its numbers.
    Number(varint::Broken),
    /// A range reaches below 0. It is the how manieth, from 0.
    BelowZero(usize),
    /// More than [`RANGES`] ranges.
    TooMany,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(broken) => broken.fmt(f),
            Self::BelowZero(range) => write!(f, "range {range} reaches below 0"),
            Self::TooMany => write!(f, "more than {RANGES} ranges"),
        }
    }
}

impl std::error::Error for Broken {}

impl From<varint::Broken> for Broken {
    fn from(broken: varint::Broken) -> Self {
        Self::Number(broken)
    }
}

/// Writes the highest ranges of a set, at most so many and at most [`RANGES`]. Nothing for an empty set.
pub fn write(come: &Ranges, delay: Duration, most: usize, out: &mut impl BufMut) {
    let mut below = None;
    for range in come.iter().take(most.clamp(1, RANGES)) {
        let (first, last) = range.into_inner();
        match below {
            None => {
                varint::write(last, out);
                varint::write(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), out);
            }
            // Ranges of a set never touch: at least one number is between them.
            Some(below) => varint::write(below - last - 2, out),
        }
        varint::write(last - first, out);
        below = Some(first);
    }
}

/// A value that has been read: all of it is known to be sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acknowledged<'a> {
    /// The largest number that has come.
    pub largest: u64,
    /// How long ago it came when this was sent.
    pub delay: Duration,
    ranges: &'a [u8],
}

impl<'a> Acknowledged<'a> {
    /// Reads a value.
    ///
    /// # Errors
    ///
    /// When the bytes end within a number or a pair, a number has more than 64 bits, a range reaches below 0,
    /// or there are more than [`RANGES`].
    pub fn read(mut value: &'a [u8]) -> Result<Self, Broken> {
        let largest = varint::read(&mut value)?;
        let delay = Duration::from_micros(varint::read(&mut value)?);
        let read = Self { largest, delay, ranges: value };
        let mut walk = Walk { next: Some(largest), ranges: value };
        for range in 0.. {
            if range > 0 && walk.ranges.is_empty() {
                break;
            }
            if range == RANGES {
                return Err(Broken::TooMany);
            }
            walk.step()?.ok_or(Broken::BelowZero(range))?;
        }
        Ok(read)
    }

    /// The ranges, the highest first.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u64>> + Clone + 'a {
        Walk { next: Some(self.largest), ranges: self.ranges }
    }
}

/// Goes down the ranges.
#[derive(Clone, Debug)]
struct Walk<'a> {
    /// The last number of the next range; none when that would be below 0.
    next: Option<u64>,
    ranges: &'a [u8],
}

impl Walk<'_> {
    /// The next range. None when it would reach below 0.
    fn step(&mut self) -> Result<Option<RangeInclusive<u64>>, varint::Broken> {
        let length = varint::read(&mut self.ranges)?;
        let range = self.next.and_then(|last| Some(last.checked_sub(length)?..=last));
        self.next = None;
        if !self.ranges.is_empty() {
            let gap = varint::read(&mut self.ranges)?;
            // A gap announces a range.
            if self.ranges.is_empty() {
                return Err(varint::Broken::Ends);
            }
            let first = range.as_ref().map(|range| *range.start());
            self.next = first.and_then(|first| first.checked_sub(gap)?.checked_sub(2));
        }
        Ok(range)
    }
}

impl Iterator for Walk<'_> {
    type Item = RangeInclusive<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_broken_is_refused() {
        let ends = Broken::Number(varint::Broken::Ends);
        let table: [(&[u8], Broken); 9] = [
            (&[], ends),
            (&[5], ends),
            (&[5, 0], ends),
            (&[5, 0, 0x80], ends),
            (&[5, 0, 0, 1], ends),
            (&[5, 0, 6], Broken::BelowZero(0)),
            (&[5, 0, 0, 4, 0], Broken::BelowZero(1)),
            (&[5, 0, 2, 1, 1], Broken::BelowZero(1)),
            (&[0xff; 40], Broken::Number(varint::Broken::TooLarge)),
        ];
        for (value, expected) in table {
            assert_eq!(Acknowledged::read(value), Err(expected), "{value:?}");
        }
        assert!(Acknowledged::read(&[5, 0, 0, 3, 0]).is_ok());
        let mut most = vec![0xff, 1, 0, 0];
        most.extend([0; 126]);
        assert_eq!(Acknowledged::read(&most).unwrap().ranges().count(), 64);
        most.extend([0; 2]);
        assert_eq!(Acknowledged::read(&most), Err(Broken::TooMany));
    }

    proptest! {
        #[test]
        fn comes_back(
            numbers in prop::collection::vec(0..500u64, 1..300),
            base in prop_oneof![Just(0), any::<u64>().prop_map(|base| base >> 1)],
            micros: u64,
            most in 1..80usize,
        ) {
            let mut come = Ranges::new(100);
            for number in numbers {
                come.insert(base + number);
            }
            let mut value = Vec::new();
            write(&come, Duration::from_micros(micros), most, &mut value);
            let read = Acknowledged::read(&value).unwrap();
            prop_assert_eq!(Some(read.largest), come.largest());
            prop_assert_eq!(read.delay, Duration::from_micros(micros));
            let expected: Vec<_> = come.iter().take(most.min(64)).collect();
            prop_assert_eq!(read.ranges().collect::<Vec<_>>(), expected);
        }

        #[test]
        fn of_any_bytes_what_is_read_can_be_written(value in prop::collection::vec(
            prop_oneof![3 => 0..8u8, 1 => any::<u8>()], 0..200,
        )) {
            if let Ok(read) = Acknowledged::read(&value) {
                let ranges: Vec<_> = read.ranges().collect();
                prop_assert!((1..=RANGES).contains(&ranges.len()));
                prop_assert_eq!(*ranges[0].end(), read.largest);
                prop_assert!(ranges.iter().all(|range| range.start() <= range.end()));
                prop_assert!(ranges.windows(2).all(|pair| pair[1].end() + 1 < *pair[0].start()));
            }
        }
    }
}
