//! Spreads what is sent over time, in bursts that are worth a system call.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fixp_transport::keep::own::pacer::Pacer;
//!
//! // 10 MB a second, of which 20 kB may go at once.
//! let now = Instant::now();
//! let mut pacer = Pacer::new(now, 20_000);
//! pacer.set(now, 10_000_000, 20_000);
//! for _ in 0..20 {
//!     assert_eq!(pacer.permit(now, 1000), None);
//!     pacer.sent(1000);
//! }
//! // The next burst of a millisecond goes after a millisecond.
//! assert_eq!(pacer.permit(now, 1000), Some(now + Duration::from_millis(1)));
//! ```

use std::time::{Duration, Instant};

/// The fastest there is, 16 GiB a second: what a second of it has in billionths of a byte fits in 64 bits.
pub const FASTEST: u64 = 1 << 34;
/// Credits are counted in these, so that no rate is too low for a short time to add up, and nothing is divided.
const BILLION: u64 = 1_000_000_000;

/// A bucket that fills at a rate, and out of which datagrams are paid.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// Bytes per second.
    rate: u64,
    /// What the bucket holds when it is full, in bytes.
    burst: u64,
    /// What is in it, in billionths of bytes.
    credit: u64,
    filled: Instant,
}

impl Pacer {
    /// A full bucket of this many bytes, with the fastest rate.
    #[must_use]
    pub fn new(now: Instant, burst: u64) -> Self {
        let burst = burst.clamp(1, FASTEST);
        Self { rate: FASTEST, burst, credit: burst * BILLION, filled: now }
    }

    /// Changes the rate and the size of the bucket from now on.
    #[inline]
    pub fn set(&mut self, now: Instant, rate: u64, burst: u64) {
        if (rate, burst) != (self.rate, self.burst) {
            self.fill(now);
            self.rate = rate.clamp(1, FASTEST);
            self.burst = burst.clamp(1, FASTEST);
            self.credit = self.credit.min(self.burst * BILLION);
        }
    }

    /// When this many bytes may be sent: none for at once.
    ///
    /// Whoever has to wait waits for a batch: what goes in a millisecond, within the burst. That is as fine as
    /// timers are.
    #[inline]
    pub fn permit(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        self.fill(now);
        let least = (bytes as u64).min(self.burst);
        if self.credit >= least * BILLION {
            return None;
        }
        let batch = (self.rate / 1000).clamp(least, self.burst);
        let missing = batch * BILLION - self.credit;
        Some(self.filled + Duration::from_nanos(missing.div_ceil(self.rate)))
    }

    /// This many bytes were sent, permitted or not.
    #[inline]
    pub fn sent(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_sub((bytes as u64).saturating_mul(BILLION));
    }

    #[inline]
    fn fill(&mut self, now: Instant) {
        if now == self.filled {
            return;
        }
        let Some(passed) = now.checked_duration_since(self.filled) else { return };
        // A second at the fastest rate is all that fits, and more than any bucket holds that is of use.
        let nanos = if passed.as_secs() > 0 { BILLION } else { u64::from(passed.subsec_nanos()) };
        self.credit = self.credit.saturating_add(nanos * self.rate).min(self.burst * BILLION);
        self.filled = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_low_rate_adds_up_in_short_times() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, 1000);
        pacer.set(start, 1000, 1000);
        pacer.sent(1000);
        for nanos in (0..999_999_000).step_by(100_000) {
            assert!(pacer.permit(start + Duration::from_nanos(nanos), 1000).is_some());
        }
        assert_eq!(pacer.permit(start + Duration::from_secs(1), 1000), None);
    }

    #[test]
    fn a_datagram_larger_than_the_burst_goes_when_the_bucket_is_full() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now, 1000);
        assert_eq!(pacer.permit(now, 5000), None);
        pacer.sent(5000);
        pacer.set(now, 1000, 1000);
        assert_eq!(pacer.permit(now, 5000), Some(now + Duration::from_secs(1)));
    }

    proptest! {
        /// Whoever sends as soon as it may sends the rate and one burst, at most a datagram more or less.
        #[test]
        fn keeps_the_rate(rate in 1_000..FASTEST, burst in 3_000..1_000_000u64, bytes in 1..1500usize) {
            let start = Instant::now();
            let mut pacer = Pacer::new(start, burst);
            pacer.set(start, rate, burst);
            let (mut now, mut sent) = (start, 0_u64);
            for _ in 0..2000 {
                match pacer.permit(now, bytes) {
                    None => {
                        pacer.sent(bytes);
                        sent += bytes as u64;
                    }
                    Some(at) => {
                        prop_assert!(at > now);
                        now = at;
                    }
                }
            }
            let passed = now.duration_since(start).as_nanos() as f64 / 1e9;
            // The clock's nanoseconds are worth up to 18 bytes each at the highest rate.
            let most = passed * rate as f64 + burst as f64;
            prop_assert!(sent as f64 <= most * 1.000_001 + 1.0, "{sent} of {most}");
            prop_assert!(sent as f64 >= passed * rate as f64 * 0.98 - 1500.0, "{sent} of {most}");
        }
    }
}
