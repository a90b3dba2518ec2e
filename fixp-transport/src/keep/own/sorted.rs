//! A map whose keys mostly come and go in their order.

use std::collections::VecDeque;

/// A row of entries by their keys, for maps that are nearly always short, and often empty: nothing is allocated for
/// one more, as a tree would. To insert or to remove amid many moves those on one side of it.
#[derive(Debug)]
pub(super) struct Sorted<V>(VecDeque<(u64, V)>);

/// Entries for which an empty map keeps its room.
const KEPT: usize = 64;

impl<V> Sorted<V> {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The place of the first entry whose key is not below this.
    #[inline]
    fn place(&self, key: u64) -> usize {
        match self.0.front() {
            Some(&(first, _)) if first >= key => 0,
            None => 0,
            Some(_) => self.search(key),
        }
    }

    #[inline(never)]
    fn search(&self, key: u64) -> usize {
        self.0.partition_point(|&(other, _)| other < key)
    }

    pub(super) fn contains_key(&self, key: u64) -> bool {
        self.get(key).is_some()
    }

    #[inline]
    pub(super) fn get(&self, key: u64) -> Option<&V> {
        let found = self.0.get(self.place(key))?;
        (found.0 == key).then_some(&found.1)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        let place = self.place(key);
        let found = self.0.get_mut(place)?;
        (found.0 == key).then_some(&mut found.1)
    }

    /// Adds an entry, whose key is not in it.
    pub(super) fn insert(&mut self, key: u64, value: V) {
        if self.0.back().is_none_or(|&(last, _)| last < key) {
            self.0.push_back((key, value));
        } else {
            self.0.insert(self.place(key), (key, value));
        }
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<V> {
        let place = self.place(key);
        self.0.get(place).filter(|found| found.0 == key)?;
        let (_, value) = self.0.remove(place)?;
        if self.0.is_empty() && self.0.capacity() > KEPT {
            self.0 = VecDeque::new();
        }
        Some(value)
    }

    /// The key and the value of the first entry of which this is not true: it is so of none behind that.
    pub(super) fn first_not(&self, before: impl Fn(&V) -> bool) -> Option<(u64, &V)> {
        let place = self.0.partition_point(|(_, value)| before(value));
        self.0.get(place).map(|(key, value)| (*key, value))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|&(key, _)| key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
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
        fn is_a_map(steps in prop::collection::vec((0..3u8, 0..40u64), 0..300)) {
            let (mut map, mut model) = (Sorted::new(), BTreeMap::new());
            for (value, (what, key)) in steps.into_iter().enumerate() {
                if what == 0 {
                    prop_assert_eq!(map.remove(key), model.remove(&key));
                } else if let Entry::Vacant(entry) = model.entry(key) {
                    map.insert(key, value);
                    entry.insert(value);
                }
                prop_assert_eq!(map.get(key), model.get(&key));
                prop_assert_eq!(map.get_mut(key), model.get_mut(&key));
                prop_assert_eq!(map.contains_key(key), model.contains_key(&key));
                prop_assert!(map.keys().eq(model.keys().copied()) && map.values().eq(model.values()));
                prop_assert_eq!(map.len(), model.len());
            }
        }

        #[test]
        fn values_that_ascend_are_found(values in prop::collection::btree_set(0..100u64, 0..40), wanted in 0..100u64) {
            let mut map = Sorted::new();
            for (key, &value) in values.iter().enumerate() {
                map.insert(key as u64, value);
            }
            let expected = values.iter().position(|&value| value >= wanted);
            let found = map.first_not(|&value| value < wanted).map(|(key, _)| key);
            prop_assert_eq!(found, expected.map(|key| key as u64));
        }
    }
}
