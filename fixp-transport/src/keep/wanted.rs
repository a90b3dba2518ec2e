//! The pieces that a peer has asked for, in the order of its asking, each once.

use std::collections::VecDeque;

/// Indexes below the count of a packet's pieces, so that it has a bound by itself.
#[derive(Debug)]
pub(super) struct Wanted {
    count: u32,
    order: VecDeque<u32>,
    /// A bit for each piece, so that a question for thousands is no search through thousands. Empty until the
    /// first is asked for.
    has: Vec<u64>,
}

impl Wanted {
    /// None of so many.
    pub(super) const fn new(count: u32) -> Self {
        Self { count, order: VecDeque::new(), has: Vec::new() }
    }

    /// The bytes that all of so many cost, at most.
    pub(super) const fn cost_of(count: u32) -> usize {
        2 * count as usize * size_of::<u32>() + count.div_ceil(u64::BITS) as usize * size_of::<u64>()
    }

    /// The bytes that it costs.
    pub(super) fn cost(&self) -> usize {
        self.order.capacity() * size_of::<u32>() + self.has.len() * size_of::<u64>()
    }

    /// Adds one. Tells whether it was not there.
    pub(super) fn insert(&mut self, index: u32) -> bool {
        if index >= self.count {
            return false;
        }
        if self.has.is_empty() {
            self.has = vec![0; self.count.div_ceil(u64::BITS) as usize];
        }
        let bit = 1 << (index % u64::BITS);
        let Some(word) = self.has.get_mut((index / u64::BITS) as usize).filter(|word| **word & bit == 0)
        else {
            return false;
        };
        *word |= bit;
        self.order.push_back(index);
        true
    }

    pub(super) fn first(&self) -> Option<u32> {
        self.order.front().copied()
    }

    pub(super) fn pop(&mut self) -> Option<u32> {
        let index = self.order.pop_front()?;
        if let Some(word) = self.has.get_mut((index / u64::BITS) as usize) {
            *word &= !(1 << (index % u64::BITS));
        }
        if self.order.is_empty() {
            // What it took is given back.
            self.clear();
        }
        Some(index)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn clear(&mut self) {
        (self.order, self.has) = (VecDeque::new(), Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_in_the_order_of_asking() {
        let mut wanted = Wanted::new(130);
        let asked = [129, 0, 64, 0, 130, 63, 129, u32::MAX];
        assert_eq!(
            asked.map(|index| wanted.insert(index)),
            [true, true, true, false, false, true, false, false]
        );
        assert_eq!(wanted.pop(), Some(129));
        // Once it has left it may be asked for again.
        assert!(wanted.insert(129) && wanted.len() == 4);
        assert!(wanted.cost() <= Wanted::cost_of(130));
        let rest: Vec<u32> = std::iter::from_fn(|| wanted.pop()).collect();
        assert_eq!(rest, [0, 64, 63, 129]);
        assert_eq!((wanted.cost(), wanted.is_empty()), (0, true));
    }
}
