//! A map of mostly few entries, whose keys mostly come and go in their order.

use std::collections::VecDeque;
use std::hash::Hash;

use foldhash::fast::FixedState;

/// Entries of the row at most, so that one is found, and taken from amid them, for little.
const ROW: usize = 32;

/// The first few entries stand in a row, where the oldest is found at once. All others are hashed, by a seed that anybody
/// knows: it is for keys that nobody else chooses.
#[derive(Debug)]
pub(super) struct Few<K, V> {
    row: VecDeque<(K, V)>,
    rest: std::collections::HashMap<K, V, FixedState>,
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self { row: VecDeque::new(), rest: Default::default() }
    }
}

impl<K: Copy + Ord + Hash, V> Few<K, V> {
    /// Where it stands in the row.
    #[inline]
    fn place(&self, key: K) -> Option<usize> {
        match self.row.front() {
            Some((first, _)) if *first == key => Some(0),
            Some(_) => self.row.binary_search_by_key(&key, |&(key, _)| key).ok(),
            None => None,
        }
    }

    /// Adds an entry whose key is not there.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.row.len() < ROW && self.row.back().is_none_or(|&(last, _)| last < key) {
            self.row.push_back((key, value));
        } else {
            self.rest.insert(key, value);
        }
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        match self.place(key) {
            Some(at) => self.row.get(at).map(|(_, value)| value),
            None => self.rest.get(&key),
        }
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        match self.place(key) {
            Some(at) => self.row.get_mut(at).map(|(_, value)| value),
            None => self.rest.get_mut(&key),
        }
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        match self.place(key) {
            Some(0) => self.row.pop_front().map(|(_, value)| value),
            Some(at) => self.row.remove(at).map(|(_, value)| value),
            None => self.rest.remove(&key),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_map(steps in prop::collection::vec((0..4u8, 0..100u32), 0..400)) {
            let (mut few, mut model) = (Few::default(), BTreeMap::new());
            for (value, (what, key)) in (0..).zip(steps) {
                // Mostly in their order, and the first to come is mostly the first to go.
                let key = match what {
                    0 => 1000 + value,
                    1 => model.keys().next().copied().unwrap_or(key),
                    _ => key,
                };
                prop_assert_eq!(few.get(key), model.get(&key));
                prop_assert_eq!(few.get_mut(key), model.get_mut(&key));
                if what == 1 || what == 2 {
                    prop_assert_eq!(few.remove(key), model.remove(&key));
                } else if let Entry::Vacant(entry) = model.entry(key) {
                    few.insert(key, value);
                    entry.insert(value);
                }
            }
            for (key, value) in model {
                prop_assert_eq!(few.remove(key), Some(value));
            }
            prop_assert!(few.row.is_empty() && few.rest.is_empty());
        }
    }
}
