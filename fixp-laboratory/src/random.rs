//! Random numbers that a seed repeats, in this version and the next.
//!
//! ```
//! use fixp_laboratory::Random;
//!
//! let (mut one, mut same) = (Random::new(7), Random::new(7));
//! assert_eq!(one.bytes(100), same.bytes(100));
//! assert!(one.below(10) < 10);
//! assert!(one.chance(1.0) && !one.chance(0.0));
//! ```

use std::time::Duration;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

/// A generator of random numbers: xoshiro256++, seeded by SplitMix64.
///
/// Everything is drawn from whole 64-bit numbers by arithmetic that stands in this file, because the
/// distributions of the usual crates may change between versions. Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from 0 up to and without `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product. The bias, below bound / 2^64, is beneath any test's notice.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True with this probability. Nothing is drawn when the answer is certain.
    pub fn chance(&mut self, probability: f64) -> bool {
        if probability >= 1.0 {
            return true;
        }
        // 53 bits are the most that a double holds exactly.
        probability > 0.0 && ((self.next_u64() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// A time from 0 to `most`, to the nanosecond. Nothing is drawn for 0.
    pub fn duration(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        if nanos == 0 { Duration::ZERO } else { Duration::from_nanos(self.below(nanos.saturating_add(1))) }
    }

    /// Fills a slice.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// This many random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }

    /// Another generator, whose numbers this one will never meet.
    #[must_use]
    pub fn split(&mut self) -> Self {
        let child = self.clone();
        self.0.long_jump();
        child
    }
}
