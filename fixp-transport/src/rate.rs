//! A bandwidth that all bulk transfers of a node share, each its fair part.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fixp_transport::rate::Pace;
//!
//! // 1 MB a second, of which a tenth of a second may go at once.
//! let now = Instant::now();
//! let mut pace = Pace::new(1_000_000, 100_000);
//! assert_eq!(pace.take(now, 100_000), Duration::ZERO);
//! assert_eq!(pace.take(now, 50_000), Duration::from_millis(50));
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The state of a rate, without a clock.
///
/// Whoever takes bytes is told how long to wait before it sends them. Who takes some, waits and then takes the next
/// stands in line with all others, so that each has the same number of turns: those who take as much each time get
/// the same.
#[derive(Clone, Debug)]
pub struct Pace {
    bytes_per_second: u64,
    burst: Duration,
    /// When all that was taken has gone, at the rate.
    free_at: Option<Instant>,
}

impl Pace {
    /// A rate of at least 1 byte a second, and how many bytes may go at once after a pause.
    #[must_use]
    pub fn new(bytes_per_second: u64, burst: u64) -> Self {
        let bytes_per_second = bytes_per_second.max(1);
        Self { bytes_per_second, burst: time(burst, bytes_per_second), free_at: None }
    }

    /// Takes bytes, and tells how long to wait before they are sent.
    pub fn take(&mut self, now: Instant, bytes: u64) -> Duration {
        // What was not used in the past is there, up to the burst.
        let earliest = now.checked_sub(self.burst).unwrap_or(now);
        let begins = self.free_at.map_or(earliest, |at| at.max(earliest));
        let ends = begins + time(bytes, self.bytes_per_second);
        self.free_at = Some(ends);
        ends.saturating_duration_since(now)
    }

    /// Gives back bytes that were taken and are not sent: who takes next waits so much less, and who waits already as
    /// long as it was told.
    pub fn give_back(&mut self, bytes: u64) {
        let time = time(bytes, self.bytes_per_second);
        self.free_at = self.free_at.and_then(|at| at.checked_sub(time));
    }
}

/// How long so many bytes take. At most a day: whoever asks for more waits again.
fn time(bytes: u64, bytes_per_second: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(Duration::from_secs(86400))
}

/// A rate that transfers share: clones are the same one.
///
/// ```
/// use fixp_transport::{Body, rate::RateLimiter};
///
/// let limiter = RateLimiter::new(50_000_000);
/// let body = Body::from_bytes(vec![0; 1 << 20]).paced(&limiter);
/// # let _ = body;
/// ```
#[derive(Clone, Debug)]
pub struct RateLimiter(Arc<Mutex<Pace>>);

impl RateLimiter {
    /// What a body takes in its turn at most, 64 KiB: the larger, the less even. Where its source gives shorter pieces
    /// so many bytes of it are read while it waits, that its next turn be worth the same as any other's.
    pub const PIECE: usize = 64 << 10;

    /// A rate in bytes per second. A twentieth of a second's worth, and at least one piece, may go at once.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        let burst = (bytes_per_second / 20).max(Self::PIECE as u64);
        Self(Arc::new(Mutex::new(Pace::new(bytes_per_second, burst))))
    }

    /// Takes bytes, and tells when they may go.
    pub(crate) fn take(&self, now: tokio::time::Instant, bytes: usize) -> Duration {
        self.lock().take(now.into_std(), bytes as u64)
    }

    /// Gives back what was taken and will not go.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.lock().give_back(bytes as u64);
    }

    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
