//! The time of a round trip, measured as TCP (RFC 6298) and QUIC (RFC 9002, 5) do.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fixp_transport::keep::own::rtt::Rtt;
//!
//! let (now, milli) = (Instant::now(), Duration::from_millis);
//! let mut rtt = Rtt::new(milli(100));
//! rtt.measured(now, milli(40), milli(0));
//! assert_eq!((rtt.smoothed(), rtt.variation(), rtt.min()), (milli(40), milli(20), milli(40)));
//! ```

use std::time::{Duration, Instant};

/// How long a smallest time counts, at least half of it: a path that became longer is noticed after this.
pub const WINDOW: Duration = Duration::from_secs(10);

/// What is known of the time of a round trip.
#[derive(Clone, Debug)]
pub struct Rtt {
    smoothed: Duration,
    variation: Duration,
    latest: Duration,
    /// The smallest of the half window before this one, and of this one, which began then.
    min: [Duration; 2],
    began: Option<Instant>,
}

impl Rtt {
    /// Nothing is known yet; what to assume until then.
    #[must_use]
    pub fn new(assumed: Duration) -> Self {
        Self {
            smoothed: assumed,
            variation: assumed / 2,
            latest: assumed,
            min: [Duration::MAX; 2],
            began: None,
        }
    }

    /// A number came back after `time`; `held` of it the peer says to have kept the acknowledgement.
    pub fn measured(&mut self, now: Instant, time: Duration, held: Duration) {
        self.latest = time;
        let Some(began) = self.began else {
            self.began = Some(now);
            self.min = [Duration::MAX, time];
            self.smoothed = time;
            self.variation = time / 2;
            return;
        };
        let [before, here] = &mut self.min;
        if now.saturating_duration_since(began) >= WINDOW / 2 {
            *before = *here;
            *here = time;
            self.began = Some(now);
        } else {
            *here = time.min(*here);
        }
        // A peer that exaggerates does not bring it below the smallest.
        let without = time.saturating_sub(held);
        let time = if without >= self.min() { without } else { time };
        self.variation = (self.variation * 3 + self.smoothed.abs_diff(time)) / 4;
        self.smoothed = (self.smoothed * 7 + time) / 8;
    }

    /// Whether anything has been measured.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.began.is_some()
    }

    /// The moving mean.
    #[must_use]
    pub const fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// The moving mean of the distance from the mean.
    #[must_use]
    pub const fn variation(&self) -> Duration {
        self.variation
    }

    /// What was measured last.
    #[must_use]
    pub const fn latest(&self) -> Duration {
        self.latest
    }

    /// The smallest of the last 5 to 10 seconds; what is assumed as long as nothing is known.
    #[must_use]
    pub fn min(&self) -> Duration {
        let [before, here] = self.min;
        if self.is_known() { before.min(here) } else { self.smoothed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn follows_the_formulas() {
        let now = Instant::now();
        let mut rtt = Rtt::new(MILLI * 100);
        assert!(!rtt.is_known());
        assert_eq!(rtt.min(), MILLI * 100);
        // (measured, held) and then (smoothed, variation, min) in microseconds, by hand from RFC 6298 (2.2, 2.3).
        let table = [
            ((100, 0), (100_000, 50_000, 100_000)),
            ((100, 0), (100_000, 37_500, 100_000)),
            ((180, 0), (110_000, 48_125, 100_000)),
            // 150 ms of which 40 held: 110.
            ((150, 40), (110_000, 36_093, 100_000)),
            // Without what it claims to have held it would be faster than any: it is not believed.
            ((102, 50), (109_000, 29_070, 100_000)),
            ((60, 0), (102_875, 34_052, 60_000)),
        ];
        for ((measured, held), expected) in table {
            rtt.measured(now, MILLI * measured, MILLI * held);
            let micros = |time: Duration| time.as_micros();
            assert_eq!((micros(rtt.smoothed()), micros(rtt.variation()), micros(rtt.min())), expected);
            assert_eq!(rtt.latest(), MILLI * measured);
        }
    }

    #[test]
    fn the_smallest_is_forgotten_after_the_window() {
        let start = Instant::now();
        let mut rtt = Rtt::new(MILLI * 100);
        rtt.measured(start, MILLI * 10, Duration::ZERO);
        for second in 1..=5 {
            rtt.measured(start + Duration::from_secs(second), MILLI * 50, Duration::ZERO);
            assert_eq!(rtt.min(), MILLI * 10);
        }
        for second in 6..=10 {
            rtt.measured(start + Duration::from_secs(second), MILLI * 50, Duration::ZERO);
        }
        assert_eq!(rtt.min(), MILLI * 50);
    }
}
