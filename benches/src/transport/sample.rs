//! Requests made by so many tasks for so long: how many, and how long each took.

use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_local};

/// What was measured of one competitor in one round.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Requests answered per second.
    pub rate: f64,
    /// Nanoseconds from request to answer, from the shortest to the longest.
    latency: Vec<u32>,
}

impl Sample {
    /// Of latencies in nanoseconds, in any order, of requests made within this time.
    #[must_use]
    pub fn new(mut latency: Vec<u32>, took: Duration) -> Self {
        latency.sort_unstable();
        Self { rate: latency.len() as f64 / took.as_secs_f64(), latency }
    }

    /// Requests answered.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.latency.len()
    }

    /// A quantile of the latency, in microseconds.
    #[must_use]
    pub fn micros(&self, quantile: f64) -> f64 {
        let at = ((self.latency.len() as f64 * quantile) as usize).min(self.latency.len().saturating_sub(1));
        self.latency.get(at).map_or(f64::NAN, |nanos| f64::from(*nanos) / 1000.0)
    }
}

/// The time since then in nanoseconds, at most four seconds.
pub(super) fn nanos(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_nanos()).unwrap_or(u32::MAX)
}

/// Runs `depth` tasks, each making one request after the other, for this time. Each writes the latencies into
/// a list of its own: a histogram for each would fill the cache that the competitors need.
pub async fn sample<C, R>(depth: usize, time: Duration, call: C) -> Sample
where
    C: Fn() -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let start = Instant::now();
    gather(start, (0..depth).map(|_| tokio::spawn(calls(start, time, call.clone()))).collect()).await
}

/// The same by tasks of a `LocalSet`.
pub async fn sample_local<C, R>(depth: usize, time: Duration, call: C) -> Sample
where
    C: Fn() -> R + Clone + 'static,
    R: Future<Output = ()> + 'static,
{
    let start = Instant::now();
    gather(start, (0..depth).map(|_| spawn_local(calls(start, time, call.clone()))).collect()).await
}

/// One task: how long each call took.
async fn calls<C, R>(start: Instant, time: Duration, call: C) -> Vec<u32>
where
    C: Fn() -> R,
    R: Future<Output = ()>,
{
    let mut latency = Vec::with_capacity(4096);
    loop {
        let begin = Instant::now();
        if begin - start >= time {
            return latency;
        }
        call().await;
        latency.push(nanos(begin));
    }
}

async fn gather(start: Instant, tasks: Vec<JoinHandle<Vec<u32>>>) -> Sample {
    let mut latency = Vec::new();
    for task in tasks {
        latency.append(&mut task.await.unwrap_or_default());
    }
    Sample::new(latency, start.elapsed())
}
