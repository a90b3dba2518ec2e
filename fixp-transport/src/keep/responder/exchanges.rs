//! The exchanges of a responder: by peer and identity, by a number that is short, and in lists by age.

use std::collections::BTreeMap;

use super::Key;
use super::exchange::Exchange;

/// The number of an exchange while it is there. Another may have it later.
pub(super) type Number = u32;

/// Nobody's number.
const NONE: Number = Number::MAX;

/// Exchanges of one kind, the oldest first. What a list costs is within its exchanges: a set would cost as much as
/// they do.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: Number,
    last: Number,
}

impl List {
    /// The oldest.
    pub(super) fn first(&self) -> Option<Number> {
        (self.first != NONE).then_some(self.first)
    }
}

impl Default for List {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

/// The neighbours of an exchange in a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    before: Number,
    behind: Number,
}

impl Default for Links {
    fn default() -> Self {
        Self { before: NONE, behind: NONE }
    }
}

/// Each exchange may be in a list of its network, and in one of all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Of {
    Network,
    All,
}

#[derive(Debug, Default)]
pub(super) struct Exchanges {
    numbers: BTreeMap<Key, Number>,
    /// By number.
    slots: Vec<Option<Box<Exchange>>>,
    free: Vec<Number>,
}

impl Exchanges {
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Exchange> {
        self.at(*self.numbers.get(key)?)
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Exchange> {
        self.at_mut(*self.numbers.get(key)?)
    }

    pub(super) fn at(&self, number: Number) -> Option<&Exchange> {
        self.slots.get(number as usize)?.as_deref()
    }

    pub(super) fn at_mut(&mut self, number: Number) -> Option<&mut Exchange> {
        self.slots.get_mut(number as usize)?.as_deref_mut()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Exchange> {
        self.slots.iter().flatten().map(|exchange| &**exchange)
    }

    /// The exchange of this key, a new one where there is none.
    pub(super) fn open(&mut self, key: Key) -> &mut Exchange {
        let Self { numbers, slots, free } = self;
        let number = *numbers.entry(key).or_insert_with(|| {
            free.pop().unwrap_or_else(|| {
                slots.push(None);
                // There are far fewer: each costs more than a byte of a bound in memory.
                Number::try_from(slots.len() - 1).unwrap_or(NONE)
            })
        });
        slots[number as usize].get_or_insert_with(|| Box::new(Exchange::new(key, number)))
    }

    /// It must be in no list.
    pub(super) fn remove(&mut self, key: &Key) {
        let Some(number) = self.numbers.remove(key) else { return };
        if self.numbers.is_empty() {
            *self = Self::default();
        } else {
            self.slots[number as usize] = None;
            self.free.push(number);
        }
    }

    /// Puts an exchange at the end of a list.
    pub(super) fn append(&mut self, list: &mut List, of: Of, number: Number) {
        let before = std::mem::replace(&mut list.last, number);
        match self.at_mut(before) {
            Some(exchange) => exchange.links[of as usize].behind = number,
            None => list.first = number,
        }
        if let Some(exchange) = self.at_mut(number) {
            exchange.links[of as usize] = Links { before, behind: NONE };
        }
    }

    /// Takes an exchange out of the list that it is in.
    pub(super) fn unlink(&mut self, list: &mut List, of: Of, number: Number) {
        let Some(exchange) = self.at_mut(number) else { return };
        let Links { before, behind } = std::mem::take(&mut exchange.links[of as usize]);
        match self.at_mut(before) {
            Some(exchange) => exchange.links[of as usize].behind = behind,
            None => list.first = behind,
        }
        match self.at_mut(behind) {
            Some(exchange) => exchange.links[of as usize].before = before,
            None => list.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn key(identity: i32) -> Key {
        (SocketAddr::from(([192, 0, 2, 1], 4000)), identity)
    }

    #[test]
    fn by_age() {
        let mut exchanges = Exchanges::default();
        let mut list = List::default();
        let order = |exchanges: &Exchanges, list: List| {
            let mut next = list.first;
            let mut order = Vec::new();
            while let Some(exchange) = exchanges.at(next) {
                order.push(exchange.key.1);
                next = exchange.links[Of::All as usize].behind;
            }
            order
        };
        let numbers = [5, 3, 4, 1].map(|identity| exchanges.open(key(identity)).number);
        for number in numbers {
            exchanges.append(&mut list, Of::All, number);
        }
        assert_eq!(order(&exchanges, list), [5, 3, 4, 1]);
        for (number, left) in [(3, vec![5, 3, 4]), (1, vec![5, 4]), (0, vec![4]), (2, vec![])] {
            exchanges.unlink(&mut list, Of::All, numbers[number]);
            assert_eq!(order(&exchanges, list), left);
        }
        exchanges.append(&mut list, Of::All, numbers[1]);
        assert_eq!(order(&exchanges, list), [3]);
    }

    #[test]
    fn numbers_are_used_again() {
        let mut exchanges = Exchanges::default();
        for identity in 0..100 {
            let number = exchanges.open(key(identity)).number;
            assert_eq!(exchanges.open(key(identity)).number, number);
            if identity >= 10 {
                exchanges.remove(&key(identity - 10));
            }
        }
        assert_eq!((exchanges.len(), exchanges.all().count(), exchanges.slots.len()), (10, 10, 11));
        assert!(exchanges.get(&key(89)).is_none() && exchanges.get(&key(90)).is_some());
        for identity in 90..100 {
            exchanges.remove(&key(identity));
        }
        assert_eq!(exchanges.slots.capacity() + exchanges.free.capacity(), 0);
    }
}
