//! How long to wait before the next attempt to connect.

use std::time::Duration;

use rand::{Rng, RngExt};

/// The pause doubles with each failure and begins anew after a success.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new((first, longest): (Duration, Duration)) -> Self {
        let longest = longest.max(first);
        Self { first, longest, next: first }
    }

    /// A connection was made and used.
    pub(super) const fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next pause: by chance between a half and all of what it may be.
    pub(super) fn pause(&mut self, chance: &mut impl Rng) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.longest);
        pause.mul_f64(chance.random_range(0.5..=1.0))
    }
}
