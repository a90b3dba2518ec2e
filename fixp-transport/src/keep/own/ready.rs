//! What has come of an entity in order, and waits to be read: in pieces that are worth reading, however short they
//! came.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::keep::ledger::Hold;

/// What a piece costs beside its bytes: its place in a list, and the allocator's own.
pub(super) const PIECE_COST: usize = 64;
/// Pieces are joined up to so many bytes: those of a window of 4 MiB cost 16 KiB beside it.
pub(super) const JOINED: usize = 16 << 10;

/// Each is booked with all that it has room for.
#[derive(Debug, Default)]
pub(super) struct Ready(VecDeque<Vec<u8>>);

impl Ready {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds bytes for which so much is booked already. False where there is no room for them all, and none was
    /// added; with their own number and [`PIECE_COST`] there always is.
    pub(super) fn add(&mut self, hold: &mut Hold, bytes: &[u8], paid: usize) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let mut last = self.0.back_mut().filter(|last| last.len() < JOINED);
        let len = last.as_ref().map_or(JOINED, |last| last.len());
        let had = last.as_ref().map_or(0, |last| last.capacity());
        let (joins, rest) = bytes.split_at(bytes.len().min(JOINED - len));
        let needed = if joins.is_empty() { had } else { had.max(len + joins.len()) };
        let own = if rest.is_empty() { 0 } else { rest.len() + PIECE_COST };
        // By doubling, so that little is copied; where there is no room for that, for what comes.
        let doubled = if needed > had { needed.max((2 * had).min(JOINED)) } else { had };
        let Some(room) = [doubled, needed].into_iter().find(|room| {
            let cost = room - had + own;
            if cost <= paid {
                hold.shrink(paid - cost);
            }
            cost <= paid || hold.grow(cost - paid)
        }) else {
            return false;
        };
        if let Some(last) = &mut last {
            last.reserve_exact(room - last.len());
            last.extend_from_slice(joins);
        }
        if !rest.is_empty() {
            self.0.push_back(rest.to_vec());
        }
        true
    }

    /// Adds a piece that is booked.
    pub(super) fn adopt(&mut self, hold: &mut Hold, piece: Vec<u8>) {
        if self.0.back().is_some_and(|last| last.len() < JOINED) {
            self.add(hold, &piece, piece.len() + PIECE_COST);
        } else {
            self.0.push_back(piece);
        }
    }

    /// The next piece.
    pub(super) fn pop(&mut self, hold: &mut Hold) -> Option<Bytes> {
        let piece = self.0.pop_front()?;
        hold.shrink(piece.capacity() + PIECE_COST);
        Some(piece.into())
    }
}
