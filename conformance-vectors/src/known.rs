//! Known failures: the vectors an implementation is known to fail, kept in a file that can only shrink.

use std::collections::BTreeSet;

use crate::vector::Vector;

/// A list of ids. A vector on it does not fail the run; one that passes does, so that the list tells the
/// truth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownFailures {
    ids: BTreeSet<String>,
}

impl KnownFailures {
    /// Reads a file of one id per line. `#` begins a comment.
    pub fn parse(text: &str) -> Self {
        let ids = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
            .collect();
        Self { ids }
    }

    /// Whether a vector is on the list.
    pub fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// The ids that no vector has, by name.
    pub fn unknown(&self, vectors: &[Vector]) -> Vec<String> {
        let mut unknown = self.ids.clone();
        for vector in vectors {
            unknown.remove(&vector.id);
        }
        unknown.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_empty_lines_are_no_ids() {
        let known = KnownFailures::parse("# all of these\n\n a/b/c  # since 2020\r\nd\n");
        assert!(known.contains("a/b/c") && known.contains("d"));
        assert_eq!(known.unknown(&[]), ["a/b/c", "d"]);
    }
}
