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

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn pauses_double_by_chance_and_begin_anew() {
        let [first, longest] = [100, 1000].map(Duration::from_millis);
        let mut firsts = Vec::new();
        for seed in 0..100 {
            let chance = &mut SmallRng::seed_from_u64(seed);
            let mut backoff = Backoff::new((first, longest));
            for most in [100, 200, 400, 800, 1000, 1000] {
                let pause = backoff.pause(chance).as_millis();
                assert!((most / 2..=most).contains(&pause), "seed {seed}: {pause} of {most} ms");
            }
            backoff.reset();
            firsts.push(backoff.pause(chance));
        }
        assert!(firsts.iter().all(|pause| *pause <= first), "{firsts:?}");
        // Many who lost the same peer do not come back at once.
        let early = firsts.iter().filter(|pause| **pause < first * 3 / 4).count();
        assert!((25..75).contains(&early), "{early} of 100 in the first half");
    }
}
