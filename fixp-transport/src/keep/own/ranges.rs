//! A set of numbers in few ranges: which packets have come, which exchanges are done.
//!
//! ```
//! use fixp_transport::keep::own::ranges::Ranges;
//!
//! let mut come = Ranges::new(64);
//! for number in [0, 1, 2, 5, 6] {
//!     assert!(come.insert(number));
//! }
//! assert!(!come.insert(5), "it has come before");
//! assert_eq!(come.iter().collect::<Vec<_>>(), [5..=6, 0..=2]);
//! assert_eq!(come.first_missing(0), Some(3));
//! ```

use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// A set of numbers, held as at most so many ranges.
///
/// One range too many, and the lowest is forgotten: all numbers up to its end then count as contained, so
/// that nothing is taken for new twice. Costs 16 bytes per range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ranges {
    /// First and last number of each, ascending; between two of them at least one number is missing.
    ranges: VecDeque<(u64, u64)>,
    most: usize,
    /// What is below counts as contained.
    floor: u64,
}

impl Ranges {
    /// An empty set of at most so many ranges, at least one.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { ranges: VecDeque::new(), most: most.max(1), floor: 0 }
    }

    /// Adds a number. Says whether it is new.
    #[inline]
    pub fn insert(&mut self, number: u64) -> bool {
        // Nearly always it is the one behind the largest.
        if let Some((_, last)) = self.ranges.back_mut()
            && number > 0
            && *last == number - 1
        {
            *last = number;
            return true;
        }
        self.insert_anywhere(number)
    }

    fn insert_anywhere(&mut self, number: u64) -> bool {
        if self.contains(number) {
            return false;
        }
        let above = self.ranges.partition_point(|(_, last)| *last < number);
        let follows = above.checked_sub(1).filter(|below| {
            self.ranges.get(*below).is_some_and(|(_, last)| last.checked_add(1) == Some(number))
        });
        let precedes = self.ranges.get(above).is_some_and(|(first, _)| number.checked_add(1) == Some(*first));
        match (follows, precedes) {
            (Some(below), true) => {
                if let Some((_, end)) = self.ranges.remove(above)
                    && let Some((_, last)) = self.ranges.get_mut(below)
                {
                    *last = end;
                }
            }
            (Some(below), false) => {
                if let Some((_, last)) = self.ranges.get_mut(below) {
                    *last = number;
                }
            }
            (None, true) => {
                if let Some((first, _)) = self.ranges.get_mut(above) {
                    *first = number;
                }
            }
            (None, false) => {
                self.ranges.insert(above, (number, number));
                if self.ranges.len() > self.most
                    && let Some((_, last)) = self.ranges.pop_front()
                {
                    self.floor = last.saturating_add(1);
                }
            }
        }
        true
    }

    /// Whether a number is in it, or so low that it is forgotten.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        if number < self.floor {
            return true;
        }
        let at = self.ranges.partition_point(|(_, last)| *last < number);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= number)
    }

    /// Forgets the ranges below a number. All that is below it counts as contained from now on.
    ///
    /// Of numbers whose acknowledgement has itself been acknowledged, nothing needs to be told again: without
    /// this, every acknowledgement repeats the gaps of packets lost long ago.
    pub fn forget_below(&mut self, number: u64) {
        self.floor = self.floor.max(number);
        while self.ranges.pop_front_if(|(_, last)| *last < number).is_some() {}
        if let Some((first, _)) = self.ranges.front_mut() {
            *first = number.max(*first);
        }
    }

    /// The ranges that are held, the highest first.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> + Clone + '_ {
        self.ranges.iter().rev().map(|(first, last)| *first..=*last)
    }

    /// The lowest number, from this one on, that is not contained. None when there is none.
    #[must_use]
    pub fn first_missing(&self, from: u64) -> Option<u64> {
        let from = from.max(self.floor);
        let at = self.ranges.partition_point(|(_, last)| *last < from);
        match self.ranges.get(at) {
            Some((first, last)) if *first <= from => last.checked_add(1),
            _ => Some(from),
        }
    }

    /// The largest number.
    #[must_use]
    pub fn largest(&self) -> Option<u64> {
        self.ranges.back().map(|(_, last)| *last)
    }

    /// How many ranges it takes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether no range is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lowest_is_forgotten_and_not_new_again() {
        let mut set = Ranges::new(2);
        for number in [10, 20, 30] {
            assert!(set.insert(number));
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [30..=30, 20..=20]);
        assert!(!set.insert(10) && !set.insert(3));
        assert!(set.insert(11));
        assert_eq!(set.first_missing(0), Some(12), "11 was a range too many, and is forgotten");
        set.forget_below(25);
        assert_eq!(set.iter().collect::<Vec<_>>(), [30..=30]);
        assert!(set.contains(24) && !set.contains(25));
    }

    #[test]
    fn the_ends_of_the_numbers() {
        let mut set = Ranges::new(4);
        assert!(set.insert(u64::MAX) && set.insert(0) && set.insert(u64::MAX - 1) && !set.insert(u64::MAX));
        assert_eq!(set.iter().collect::<Vec<_>>(), [u64::MAX - 1..=u64::MAX, 0..=0]);
        assert_eq!(set.first_missing(u64::MAX - 1), None);
    }

    proptest! {
        #[test]
        fn is_a_set(
            numbers in prop::collection::vec(0..200u64, 0..200),
            most in 1..40usize,
            forget in prop::option::of((0..200usize, 0..200u64)),
        ) {
            let mut set = Ranges::new(most);
            let mut model = BTreeSet::new();
            let mut floor = 0;
            for (step, number) in numbers.into_iter().enumerate() {
                if let Some((at, below)) = forget && at == step {
                    set.forget_below(below);
                    floor = floor.max(below);
                }
                let new = number >= floor && model.insert(number);
                prop_assert_eq!(set.insert(number), new);
                // The model's ranges, counted from the highest; what the bound leaves out goes below the floor.
                let starts: Vec<u64> = model.iter().rev().copied()
                    .filter(|n| *n >= floor && (*n == floor || !model.contains(&(n - 1)))).collect();
                if starts.len() > most {
                    let lowest = starts[starts.len() - 1];
                    floor = (lowest..).find(|n| !model.contains(n)).unwrap();
                }
                prop_assert!(set.len() <= most);
            }
            for number in 0..210 {
                prop_assert_eq!(set.contains(number), number < floor || model.contains(&number));
                let missing = (number.max(floor)..).find(|n| !model.contains(n));
                prop_assert_eq!(set.first_missing(number), missing);
            }
            let held: Vec<u64> = set.iter().flat_map(|range| range.rev()).collect();
            let expected: Vec<u64> = model.iter().rev().copied().filter(|n| *n >= floor).collect();
            prop_assert_eq!(held, expected);
            let ranges: Vec<_> = set.iter().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[1].end() + 1 < *pair[0].start()));
        }
    }
}
