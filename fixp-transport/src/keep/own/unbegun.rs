//! The numbers of associations that were forgotten before they began: nothing was executed in them (SPEC 10.17).

use std::time::{Duration, Instant};

use crate::keep::Ledger;
use crate::keep::ledger::Hold;

/// The latest of them, more or less: each has one place, by chance, and a later one takes it.
#[derive(Debug, Default)]
pub(super) struct Unbegun {
    numbers: Vec<u64>,
    hold: Option<Hold>,
    /// When nobody asks for any of them any more.
    pub(super) until: Option<Instant>,
}

/// Numbers that are remembered: four times as many as there are half-open associations at a time, so that a client
/// whose OPEN came in a flood of others has four times as long to hear of it. Costs 128 KiB from where one is forgotten to where nobody asks any more.
const PLACES: usize = 16384;

impl Unbegun {
    /// Remembers one for some time, unless the ledger has no room for any.
    pub(super) fn insert(&mut self, now: Instant, life: Duration, ledger: &Ledger, number: u64) {
        if self.numbers.is_empty() {
            self.hold = Hold::of(ledger, PLACES * size_of::<u64>());
            if self.hold.is_none() {
                return;
            }
            self.numbers = vec![0; PLACES];
        }
        self.until = Some(now + life);
        if let Some(place) = self.numbers.get_mut(place_of(number)) {
            *place = number;
        }
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            *self = Self::default();
        }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        number != 0 && self.numbers.get(place_of(number)) == Some(&number)
    }
}

/// The numbers themselves are by chance.
fn place_of(number: u64) -> usize {
    usize::try_from(number % PLACES as u64).unwrap_or(0)
}
