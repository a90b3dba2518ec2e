//! One direction of an exchange as it is sent: what of it is here, was sent, has come.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{BufMut, Bytes};

use super::config::Config;
use super::spans::Spans;
use crate::keep::Ledger;
use crate::keep::ledger::Hold;

/// What a piece costs beside its bytes.
const PIECE_COST: usize = 64;
/// Bytes for which a head that is used again keeps its room.
const KEPT: usize = 512;

/// A packet on its way out, head and entity as one row of bytes. The application's bytes are not copied, unless they are
/// few.
#[derive(Debug)]
pub(super) struct SendStream {
    hold: Hold,
    /// The first bytes: the head, and a short entity.
    head: Vec<u8>,
    /// What has been written behind it and not acknowledged without a hole, with the place of each.
    pieces: VecDeque<(u64, Bytes)>,
    /// Where what has been written ends.
    written: u64,
    /// The end of all.
    len: u64,
    /// How far it was sent for the first time.
    sent: u64,
    /// Where the bytes that have come without a hole end, and those that have come behind it.
    acked: u64,
    acked_behind: Spans,
    /// What is to be sent again.
    lost: Spans,
    /// How far the peer lets it go.
    limit: u64,
    /// The bytes that are kept of a stream that is written bit by bit.
    window: u64,
    /// Whether the writer was told that there is no room.
    pub(super) stalled: bool,
}

impl SendStream {
    /// Nothing, of which nothing is booked.
    pub(super) fn new(ledger: &Ledger) -> Self {
        Self {
            hold: Hold::new(ledger),
            head: Vec::new(),
            pieces: VecDeque::new(),
            written: 0,
            len: 0,
            sent: 0,
            acked: 0,
            acked_behind: Spans::default(),
            lost: Spans::default(),
            limit: 0,
            window: 0,
            stalled: false,
        }
    }

    /// Begins a stream of so many bytes with its head and as much of the entity as is there; false where the ledger has
    /// no room.
    pub(super) fn begin(
        &mut self,
        (head, entity): (&[u8], Bytes),
        len: u64,
        (limit, window): (u64, u64),
        eighths: usize,
    ) -> bool {
        if !self.hold.grow_within(head.len() + entity.len() + 2 * PIECE_COST, eighths) {
            return false;
        }
        self.head.extend_from_slice(head);
        self.written = head.len() as u64;
        (self.len, self.limit, self.window) = (len, limit, window);
        self.push(entity);
        true
    }

    /// Nothing again. Of what it has allocated a little is kept for the next one.
    pub(super) fn clear(&mut self) {
        self.hold.shrink(usize::MAX);
        self.head.clear();
        self.head.shrink_to(KEPT);
        self.pieces.clear();
        self.pieces.shrink_to(2);
        (self.written, self.len, self.sent, self.acked) = (0, 0, 0, 0);
        (self.limit, self.window, self.stalled) = (0, 0, false);
        self.acked_behind.clear();
        self.lost.clear();
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            let start = self.written;
            self.written += piece.len() as u64;
            self.pieces.push_back((start, piece));
        }
    }

    /// Takes of what follows as much as there is room for. False where something is left.
    pub(super) fn write(&mut self, bytes: &mut Bytes) -> bool {
        let rest = self.len - self.written;
        bytes.truncate(usize::try_from(rest).unwrap_or(usize::MAX));
        let kept = self.written - self.acked;
        let mut room =
            usize::try_from(self.window.saturating_sub(kept)).unwrap_or(usize::MAX).min(bytes.len());
        // Where the ledger has no room for all of it, it may have some for less.
        while room > 0 {
            if self.hold.grow_within(room + PIECE_COST, Config::REQUESTS_SHARE) {
                let piece = bytes.split_to(room);
                self.push(piece);
                break;
            }
            room /= 2;
        }
        self.stalled = !bytes.is_empty();
        !self.stalled
    }

    /// Whether a writer who was told to wait may go on.
    pub(super) fn is_writable(&self) -> bool {
        let kept = self.written - self.acked;
        self.stalled && kept <= self.window / 2
    }

    /// Whether a writer waits, and nothing is under way whose arrival would tell it to go on: the ledger is full.
    pub(super) fn is_starved(&self) -> bool {
        self.stalled && self.written == self.acked
    }

    /// How much of it has been sent.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether all of it has been sent, or may be sent again.
    pub(super) const fn is_sent(&self) -> bool {
        self.sent == self.len
    }

    /// Whether some of what was written has not come yet.
    pub(super) fn is_pending(&self) -> bool {
        self.written > self.acked
    }

    /// Whether all of it has come.
    pub(super) fn is_acked(&self) -> bool {
        self.acked == self.len
    }

    /// Whether something can be sent, new or again, if the association has so much left.
    pub(super) fn is_ready(&self, left: u64) -> bool {
        !self.lost.is_empty() || left > 0 && self.sent < self.written.min(self.limit)
    }

    /// The next bytes to be sent: where, and how many at most. The association has so much left for new ones.
    pub(super) fn next(&self, left: u64) -> Option<Range<u64>> {
        if let Some(lost) = self.lost.first() {
            return Some(lost);
        }
        let end = self.written.min(self.limit).min(self.sent.saturating_add(left));
        (self.sent < end).then_some(self.sent..end)
    }

    /// These bytes go out now. Says how many of them for the first time.
    pub(super) fn on_sent(&mut self, range: Range<u64>) -> u64 {
        let new = range.end.saturating_sub(self.sent.max(range.start));
        self.sent = self.sent.max(range.end);
        if !self.lost.is_empty() {
            self.lost.remove(range);
        }
        new
    }

    /// Whether a range ends with the stream.
    pub(super) const fn ends_at(&self, end: u64) -> bool {
        end == self.len
    }

    /// Copies bytes that are here.
    pub(super) fn copy(&self, range: Range<u64>, out: &mut impl BufMut) {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let head = self.head.len().min(place(range.end));
        out.put_slice(self.head.get(place(range.start)..head).unwrap_or_default());
        let mut at = range.start.max(head as u64);
        if at >= range.end {
            return;
        }
        let first = self.pieces.partition_point(|(start, piece)| start + piece.len() as u64 <= at);
        for (start, piece) in self.pieces.iter().skip(first) {
            if at >= range.end {
                break;
            }
            let part = piece.get(place(at - start)..).unwrap_or_default();
            let part = part.get(..place(range.end - at)).unwrap_or(part);
            out.put_slice(part);
            at += part.len() as u64;
        }
    }

    /// Bytes have come.
    pub(super) fn on_acked(&mut self, range: Range<u64>) {
        if !self.lost.is_empty() {
            self.lost.remove(range.clone());
        }
        if range.start > self.acked {
            self.acked_behind.insert(range);
            return;
        }
        self.acked = self.acked.max(range.end);
        while let Some(behind) = self.acked_behind.first().filter(|behind| behind.start <= self.acked) {
            self.acked = self.acked.max(behind.end);
            self.acked_behind.remove(behind);
        }
        let mut done = 0;
        // A short head stays until the exchange ends.
        if self.head.len() > KEPT && self.acked >= self.head.len() as u64 {
            done += self.head.len() + PIECE_COST;
            self.head = Vec::new();
        }
        while let Some((_, piece)) =
            self.pieces.pop_front_if(|(start, piece)| *start + piece.len() as u64 <= self.acked)
        {
            done += piece.len() + PIECE_COST;
        }
        if done > 0 {
            self.hold.shrink(done);
        }
    }

    /// Bytes have been lost. Those that have come by another way are not sent again.
    pub(super) fn on_lost(&mut self, range: Range<u64>) {
        let Self { acked, acked_behind, lost, .. } = self;
        for hole in acked_behind.missing(range.start.max(*acked)..range.end) {
            lost.insert(hole);
        }
    }

    /// Up to so many bytes from the first one on that has not come are sent again. False where there are none.
    pub(super) fn repeat(&mut self, most: u64) -> bool {
        let start = self.acked;
        let end = self.sent.min(start.saturating_add(most));
        self.on_lost(start..end);
        start < end
    }

    /// The peer lets it go further. True where that lets something be sent.
    pub(super) fn raise(&mut self, limit: u64) -> bool {
        let blocked = self.sent == self.limit && self.sent < self.written;
        self.limit = self.limit.max(limit);
        blocked && self.sent < self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(ledger: &Ledger) -> SendStream {
        let entity = Bytes::from_static(b"and entity");
        let mut stream = SendStream::new(ledger);
        assert!(stream.begin((b"head", entity), 14, (12, 100), 8));
        stream
    }

    #[test]
    fn lost_bytes_go_first_and_once() {
        let ledger = Ledger::new(1000);
        let mut stream = stream(&ledger);
        assert_eq!(stream.next(100), Some(0..12), "the window");
        assert_eq!(stream.on_sent(0..6), 6);
        assert_eq!(stream.on_sent(6..12), 6);
        assert_eq!(stream.next(100), None);
        assert!(stream.raise(100));
        stream.on_acked(2..4);
        stream.on_lost(0..6);
        assert_eq!(stream.next(0), Some(0..2));
        assert_eq!(stream.on_sent(0..2), 0);
        assert_eq!(stream.next(0), Some(4..6));
        stream.on_acked(4..6);
        assert_eq!(stream.next(1), Some(12..13));
        assert_eq!(stream.next(0), None);
        let mut out = Vec::new();
        stream.copy(2..7, &mut out);
        assert_eq!(out, b"adand");
    }

    #[test]
    fn what_has_come_is_no_longer_held() {
        let ledger = Ledger::new(1000);
        let mut stream = stream(&ledger);
        assert!(stream.on_sent(0..14) == 14 && stream.is_sent());
        stream.on_acked(8..10);
        stream.on_acked(0..5);
        stream.on_acked(5..8);
        assert_eq!((stream.acked, stream.acked_behind.is_empty()), (10, true), "the hole is filled");
        stream.on_acked(10..14);
        assert!(stream.is_acked());
        assert_eq!(ledger.held(), 4 + PIECE_COST, "a short head stays");
        stream.clear();
        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn a_long_head_goes_when_it_has_come() {
        let ledger = Ledger::new(10_000);
        let mut stream = SendStream::new(&ledger);
        let head = [7; KEPT + 1];
        let len = head.len() as u64;
        assert!(stream.begin((&head, Bytes::from_static(b"and entity")), len + 10, (len + 10, 100), 8));
        stream.on_sent(0..len + 10);
        stream.on_acked(0..len);
        assert_eq!(ledger.held(), 10 + PIECE_COST);
        let mut out = Vec::new();
        stream.copy(len + 4..len + 10, &mut out);
        assert_eq!(out, b"entity");
    }

    #[test]
    fn a_writer_waits_for_half_of_the_window() {
        let ledger = Ledger::new(10_000);
        let mut stream = SendStream::new(&ledger);
        assert!(stream.begin((b"head", Bytes::new()), 154, (1000, 100), 8));
        let mut bytes = Bytes::from(vec![7; 200]);
        assert!(!stream.write(&mut bytes));
        assert_eq!(bytes.len(), 150 - 96, "no more than the entity was to have, in the window");
        assert_eq!(stream.next(1000), Some(0..100));
        stream.on_sent(0..100);
        stream.on_acked(0..49);
        assert!(!stream.is_writable());
        stream.on_acked(49..50);
        assert!(stream.is_writable());
        assert!(!stream.write(&mut bytes));
        stream.on_acked(50..100);
        assert!(stream.write(&mut bytes) && bytes.is_empty());
        assert!(!stream.is_writable());
    }
}
