//! One count of the bytes that machines hold, with a bound that all of them share.
//!
//! ```
//! use fixp_transport::keep::Ledger;
//!
//! let ledger = Ledger::new(1000);
//! let same = ledger.clone();
//! assert!(ledger.take(600));
//! assert!(!same.take(600));
//! same.give(600);
//! assert_eq!(ledger.held(), 0);
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::limits::Limits;

/// Clones are the same ledger. The bytes are never more than its bound.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    held: AtomicUsize,
    bound: usize,
}

impl Ledger {
    /// A ledger of nothing, bounded.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self(Arc::new(Counts { held: AtomicUsize::new(0), bound }))
    }

    /// Books so many bytes more, or nothing at all where they would pass the bound.
    #[must_use]
    pub fn take(&self, bytes: usize) -> bool {
        self.take_within(bytes, 8)
    }

    /// The same, where so many eighths of the bound are all that may be held then: what can wait leaves room for
    /// what cannot.
    #[must_use]
    pub(crate) fn take_within(&self, bytes: usize, eighths: usize) -> bool {
        let most = if eighths >= 8 { self.0.bound } else { self.0.bound / 8 * eighths };
        let add = |held: usize| held.checked_add(bytes).filter(|&held| held <= most);
        // A count and nothing else: no memory is published by it.
        self.0.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// Books so many bytes less.
    pub fn give(&self, bytes: usize) {
        let subtract = |held: usize| Some(held.saturating_sub(bytes));
        // It always gives something, so it never fails.
        let _ = self.0.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract);
    }

    /// The bytes that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// The bound.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.0.bound
    }
}

/// What one thing has booked. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    ledger: Ledger,
    bytes: usize,
}

impl Hold {
    /// Nothing yet.
    pub(crate) fn new(ledger: &Ledger) -> Self {
        Self { ledger: ledger.clone(), bytes: 0 }
    }

    /// Books so many bytes, if there is room.
    pub(crate) fn of(ledger: &Ledger, bytes: usize) -> Option<Self> {
        Self::within(ledger, bytes, 8)
    }

    /// The same within so many eighths of the bound.
    pub(crate) fn within(ledger: &Ledger, bytes: usize, eighths: usize) -> Option<Self> {
        ledger.take_within(bytes, eighths).then(|| Self { ledger: ledger.clone(), bytes })
    }

    /// Books so many bytes more, or nothing.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        self.grow_within(bytes, 8)
    }

    /// The same within so many eighths of the bound.
    #[must_use]
    pub(crate) fn grow_within(&mut self, bytes: usize, eighths: usize) -> bool {
        let grown = self.ledger.take_within(bytes, eighths);
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    /// Gives back so many bytes, at most all.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        if bytes > 0 {
            self.bytes -= bytes;
            self.ledger.give(bytes);
        }
    }

    /// So many bytes, at most all, are somebody else's from now on, who gives them back to the ledger.
    pub(crate) const fn hand_over(&mut self, bytes: usize) -> usize {
        let bytes = if bytes < self.bytes { bytes } else { self.bytes };
        self.bytes -= bytes;
        bytes
    }

    /// What is booked.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.ledger.give(self.bytes);
        }
    }
}

/// Bounded by [`Limits::BYTES`].
impl Default for Ledger {
    fn default() -> Self {
        Self::new(Limits::BYTES)
    }
}
