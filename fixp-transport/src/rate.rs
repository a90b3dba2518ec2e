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

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The state of a rate, without a clock.
///
/// Whoever takes bytes is told how long to wait before it sends them. Who takes one piece, waits and then takes
/// the next stands in line with all others, so that each gets the same number of pieces.
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
    /// The piece that is taken at a time, 64 KiB: the larger, the less even.
    pub const PIECE: usize = 64 << 10;

    /// A rate in bytes per second. A twentieth of a second's worth, and at least one piece, may go at once.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        let burst = (bytes_per_second / 20).max(Self::PIECE as u64);
        Self(Arc::new(Mutex::new(Pace::new(bytes_per_second, burst))))
    }

    /// Takes bytes, and tells when they may go.
    pub(crate) fn take(&self, now: tokio::time::Instant, bytes: usize) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(now.into_std(), bytes as u64)
    }
}
