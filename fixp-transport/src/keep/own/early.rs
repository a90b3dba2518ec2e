//! What has come of a stream behind a hole: pieces in their order, neighbours joined, and no more than so many.

use std::collections::VecDeque;

use super::config::Config;
use super::ready::{JOINED, PIECE_COST};
use super::receive_stream::Trouble;
use crate::keep::ledger::Hold;

/// Pieces of a stream at most. Honest datagrams of 1200 bytes make as many where one in seven of a full window of
/// 4 MiB is lost; a peer that sends every second byte alone would have us remember a million. Costs 28 KiB beside
/// their bytes. A longer window has as many more as it is longer, in whole ones.
pub(super) const PIECES: usize = 448;

/// Pieces with the place of each. No two of them overlap, and none is empty.
#[derive(Debug, Default)]
pub(super) struct Early(VecDeque<(u64, Vec<u8>)>);

impl Early {
    /// Keeps of these bytes what is not there yet, in a stream with this window: where two overlap the first one
    /// counts. After an error some may have been kept.
    pub(super) fn insert(
        &mut self,
        hold: &mut Hold,
        window: u64,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Trouble> {
        let longer = usize::try_from(window.saturating_sub(Config::EXCHANGE_WINDOW)).unwrap_or(usize::MAX);
        let end = offset + bytes.len() as u64;
        let index = |place: u64| usize::try_from(place - offset).unwrap_or(usize::MAX);
        let mut at = offset;
        while at < end {
            let next = self.0.partition_point(|&(start, _)| start <= at);
            let before = next.checked_sub(1).and_then(|before| self.0.get(before));
            let covered = before.map_or(0, |(start, piece)| start + piece.len() as u64);
            if covered > at {
                at = covered;
                continue;
            }
            let until = self.0.get(next).map_or(end, |&(start, _)| start.min(end));
            let part = bytes.get(index(at)..index(until)).unwrap_or_default();
            let joins = covered == at && before.is_some_and(|(_, piece)| piece.len() < JOINED);
            if joins && let Some((_, piece)) = self.0.get_mut(next - 1) {
                let (part, _) = part.split_at(part.len().min(JOINED - piece.len()));
                if !hold.grow_within(part.len(), Config::EARLY_SHARE) {
                    return Err(Trouble::NoRoom);
                }
                // There are many of them, so none has room that it does not need.
                piece.reserve_exact(part.len());
                piece.extend_from_slice(part);
                at += part.len() as u64;
                continue;
            }
            if self.0.len() >= PIECES + longer / JOINED {
                return Err(Trouble::Scattered);
            }
            if !hold.grow_within(part.len() + PIECE_COST, Config::EARLY_SHARE) {
                return Err(Trouble::NoRoom);
            }
            self.0.insert(next, (at, part.to_vec()));
            at = until;
        }
        Ok(())
    }

    /// Where the first piece begins.
    pub(super) fn start(&self) -> Option<u64> {
        self.0.front().map(|&(start, _)| start)
    }

    /// Where the last one ends; 0 where there is none.
    pub(super) fn end(&self) -> u64 {
        self.0.back().map_or(0, |(start, piece)| start + piece.len() as u64)
    }

    /// Where the bytes end that are there without a hole, where those up to here are there.
    pub(super) fn run(&self, from: u64) -> u64 {
        let mut run = from;
        for (start, piece) in &self.0 {
            if *start > run {
                break;
            }
            run = run.max(start + piece.len() as u64);
        }
        run
    }

    /// The first piece. What is booked for it is its bytes and [`PIECE_COST`].
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        self.0.pop_front().map(|(_, piece)| piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keep::Ledger;

    /// SPEC 10.13: a full window behind one hole, however long the window is.
    #[test]
    fn a_full_window_behind_a_hole() {
        for window in [Config::EXCHANGE_WINDOW, 16 << 20, 64 << 20] {
            let mut hold = Hold::new(&Ledger::new(1 << 30));
            let mut early = Early::default();
            for at in (1200..window).step_by(1200) {
                let len = (window - at).min(1200);
                assert_eq!(early.insert(&mut hold, window, at, &[7; 1200][..len as usize]), Ok(()), "{at}");
            }
            assert_eq!((early.start(), early.end()), (Some(1200), window));
            // So much it costs beside its bytes: 4 KiB for each 1 MiB.
            assert!(hold.bytes() as u64 <= window + (window >> 8));
        }
    }
}
