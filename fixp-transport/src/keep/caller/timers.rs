//! What is due when.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use super::Timer;

/// Entries of the row at most, so that one is taken from amid them for little.
const ROW: usize = 32;

type Entry = (Instant, Timer);

/// A set of times. Requests mostly have the same time each, so that the next one's is the latest: a few of those stand
/// in a row, and all others in a tree.
#[derive(Debug, Default)]
pub(super) struct Timers {
    row: VecDeque<Entry>,
    tree: BTreeSet<Entry>,
}

impl Timers {
    /// Adds one that is not there.
    pub(super) fn insert(&mut self, entry: Entry) {
        let fits = matches!(entry.1, Timer::Call(_)) && self.row.len() < ROW;
        if fits && self.row.back().is_none_or(|last| *last < entry) {
            self.row.push_back(entry);
        } else {
            self.tree.insert(entry);
        }
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        if self.row.front() == Some(entry) {
            self.row.pop_front();
        } else if let Ok(at) = self.row.binary_search(entry) {
            self.row.remove(at);
        } else {
            self.tree.remove(entry);
        }
    }

    pub(super) fn first(&self) -> Option<&Entry> {
        match (self.row.front(), self.tree.first()) {
            (Some(row), Some(tree)) => Some(row.min(tree)),
            (row, tree) => row.or(tree),
        }
    }

    /// The time of the first one.
    #[inline]
    pub(super) fn next(&self) -> Option<Instant> {
        let row = self.row.front().map(|&(at, _)| at);
        match self.tree.first() {
            Some(&(at, _)) if row.is_none_or(|row| at < row) => Some(at),
            _ => row,
        }
    }

    pub(super) fn clear(&mut self) {
        self.row.clear();
        self.tree.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::Ticket;
    use super::*;

    proptest! {
        #[test]
        fn is_a_set(steps in prop::collection::vec((0..4u8, 0..100u64, any::<bool>()), 0..400)) {
            let now = Instant::now();
            let (mut timers, mut model) = (Timers::default(), BTreeSet::new());
            for (nth, (what, after, calls)) in (0..).zip(steps) {
                // Mostly in their order, and the first to come is mostly the first to go.
                let at = now + Duration::from_secs(if what == 1 { nth } else { after });
                let call = Timer::Call(Ticket { serial: nth % 3, place: 0 });
                let entry = (at, if calls { call } else { Timer::Sweep });
                if what == 3 {
                    let first = timers.first().copied();
                    if let Some(first) = first {
                        timers.remove(&first);
                    }
                    prop_assert_eq!(model.pop_first(), first);
                } else if what == 2 {
                    timers.remove(&entry);
                    model.remove(&entry);
                } else if model.insert(entry) {
                    timers.insert(entry);
                }
                prop_assert_eq!(timers.first(), model.first());
                prop_assert_eq!(timers.next(), model.first().map(|&(at, _)| at));
            }
            while let Some(&first) = timers.first() {
                timers.remove(&first);
                prop_assert!(model.pop_first() == Some(first));
            }
            prop_assert!(model.is_empty());
        }
    }
}
