//! Parts of a stream of bytes: which have been acknowledged, which are to be sent again.

use std::collections::VecDeque;
use std::ops::Range;

/// A set of bytes as ranges in their order, which neither overlap nor touch. As many as holes there are: nothing is
/// ever forgotten.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Spans(VecDeque<Range<u64>>);

impl Spans {
    /// Takes all away.
    pub(super) fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(0);
    }

    /// Adds a range.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // Nearly always it begins at the end of the last one, or covers nothing that is there.
        let from = self.0.partition_point(|span| span.end < range.start);
        let to = self.0.partition_point(|span| span.start <= range.end);
        if from == to {
            self.0.insert(from, range);
            return;
        }
        let end = to.checked_sub(1).and_then(|last| self.0.get(last)).map_or(range.end, |span| span.end);
        if let Some(first) = self.0.get_mut(from) {
            first.start = first.start.min(range.start);
            first.end = end.max(range.end);
        }
        self.0.drain(from + 1..to);
    }

    /// Takes a range away.
    pub(super) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let from = self.0.partition_point(|span| span.end <= range.start);
        let to = self.0.partition_point(|span| span.start < range.end);
        if from >= to {
            return;
        }
        let before = self.0.get(from).map(|span| span.start..range.start);
        let behind = self.0.get(to - 1).map(|span| range.end..span.end);
        self.0.drain(from..to);
        for left in [behind, before].into_iter().flatten() {
            if !left.is_empty() {
                self.0.insert(from, left);
            }
        }
    }

    /// The first range.
    pub(super) fn first(&self) -> Option<Range<u64>> {
        self.0.front().cloned()
    }

    /// The parts of a range that are not in it.
    pub(super) fn missing(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let from = self.0.partition_point(|span| span.end <= range.start);
        let mut at = range.start;
        let mut spans = self.0.iter().skip(from);
        std::iter::from_fn(move || {
            while at < range.end {
                let (start, end) = spans.next().map_or((range.end, range.end), |span| (span.start, span.end));
                let hole = at..start.min(range.end);
                at = end.max(at);
                if !hole.is_empty() {
                    return Some(hole);
                }
                if start >= range.end {
                    return None;
                }
            }
            None
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each operation as a set of single numbers would do it.
    #[test]
    fn as_a_set_of_numbers() {
        let mut random = 1_u64;
        let mut below = |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % bound
        };
        for _ in 0..300 {
            let (mut spans, mut set) = (Spans::default(), std::collections::BTreeSet::new());
            for _ in 0..40 {
                let start = below(60);
                let range = start..start + below(12);
                match below(3) {
                    0 => {
                        spans.remove(range.clone());
                        set.retain(|number| !range.contains(number));
                    }
                    _ => {
                        spans.insert(range.clone());
                        set.extend(range);
                    }
                }
                let numbers: Vec<u64> = spans.0.iter().cloned().flatten().collect();
                assert_eq!(numbers, set.iter().copied().collect::<Vec<_>>());
                assert!(spans.0.iter().zip(spans.0.iter().skip(1)).all(|(a, b)| a.end < b.start));
                let (from, to) = (below(40), 40 + below(40));
                let missing: Vec<u64> = spans.missing(from..to).flatten().collect();
                assert_eq!(missing, (from..to).filter(|at| !set.contains(at)).collect::<Vec<_>>());
            }
        }
    }
}
