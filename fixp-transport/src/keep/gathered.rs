//! The pieces of a packet that are there, by their indexes, each with a digest.

use std::collections::BTreeMap;

use bytes::Bytes;

type Piece = (Bytes, u64);

/// The first one takes no tree: most packets are one piece, and all that begin and never go on.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    only: Option<(u32, Piece)>,
    /// All, where there are several.
    several: BTreeMap<u32, Piece>,
}

impl Gathered {
    /// None.
    pub(super) const fn new() -> Self {
        Self { only: None, several: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.only.is_some()) + self.several.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one that is not there.
    pub(super) fn insert(&mut self, index: u32, bytes: Bytes, digest: u64) {
        if self.is_empty() {
            self.only = Some((index, (bytes, digest)));
        } else {
            self.several.extend(self.only.take());
            self.several.insert(index, (bytes, digest));
        }
    }

    pub(super) fn digest_of(&self, index: u32) -> Option<u64> {
        let only = self.only.as_ref().filter(|&&(at, _)| at == index).map(|(_, piece)| piece);
        only.or_else(|| self.several.get(&index)).map(|&(_, digest)| digest)
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        self.digest_of(index).is_some()
    }

    /// The index of the last one.
    pub(super) fn last(&self) -> Option<u32> {
        let only = self.only.as_ref().map(|&(index, _)| index);
        only.or_else(|| self.several.last_key_value().map(|(&index, _)| index))
    }

    /// Index, content and digest in the order of the indexes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Bytes, u64)> {
        let only = self.only.iter().map(|(index, piece)| (index, piece));
        only.chain(&self.several).map(|(&index, (bytes, digest))| (index, bytes, *digest))
    }

    /// The content, in order: of one alone as it is.
    pub(super) fn join(self) -> Bytes {
        match self.only {
            Some((_, (bytes, _))) => bytes,
            None => {
                let mut all = Vec::with_capacity(self.several.values().map(|(bytes, _)| bytes.len()).sum());
                self.several.values().for_each(|(bytes, _)| all.extend_from_slice(bytes));
                all.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_however_they_come() {
        let mut gathered = Gathered::new();
        assert!(gathered.is_empty() && gathered.last().is_none());
        for (nth, index) in [3, 1, 2, 0].into_iter().enumerate() {
            assert!(!gathered.contains(index));
            gathered.insert(index, Bytes::copy_from_slice(&[index as u8; 2]), index.into());
            assert_eq!((gathered.len(), gathered.last()), (nth + 1, Some(3)));
            assert_eq!((gathered.digest_of(index), gathered.digest_of(3)), (Some(index.into()), Some(3)));
            assert_eq!(gathered.iter().count(), nth + 1);
        }
        assert!(gathered.iter().map(|(index, ..)| index).eq(0..4));
        assert_eq!(gathered.join()[..], [0, 0, 1, 1, 2, 2, 3, 3]);
    }
}
