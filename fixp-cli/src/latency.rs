//! How long answers took.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Nanoseconds that are told apart, and the longest time: three digits of everything between.
const RANGE: (u64, u64) = (100, 100_000_000_000);
const DIGITS: u8 = 3;

/// Times, counted by their size. Costs 180 KB.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// What `load` tells of them, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    min: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
    max: f64,
}

/// What `ping` tells of them, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Summary {
    min: f64,
    avg: f64,
    max: f64,
    p99: f64,
}

impl Latencies {
    pub(crate) fn new() -> Option<Self> {
        Histogram::new_with_bounds(RANGE.0, RANGE.1, DIGITS).ok().map(Self)
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The same and those of another. Both are of one size.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.0.add(&other.0).unwrap_or_default();
        self
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Nothing where there are none.
    pub(crate) fn summary(&self) -> Option<Summary> {
        (!self.0.is_empty()).then(|| Summary {
            min: milliseconds(self.0.min()),
            avg: milliseconds(self.0.mean().round() as u64),
            max: milliseconds(self.0.max()),
            p99: self.at(0.99),
        })
    }

    /// Nothing where there are none.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        (!self.0.is_empty()).then(|| Percentiles {
            min: milliseconds(self.0.min()),
            p50: self.at(0.5),
            p90: self.at(0.9),
            p99: self.at(0.99),
            p999: self.at(0.999),
            max: milliseconds(self.0.max()),
        })
    }

    fn at(&self, quantile: f64) -> f64 {
        milliseconds(self.0.value_at_quantile(quantile))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, avg, max, p99 } = self;
        write!(f, "min/avg/max/p99 = {min:.3}/{avg:.3}/{max:.3}/{p99:.3} ms")
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, p50, p90, p99, p999, max } = self;
        write!(f, "min {min:.3}, p50 {p50:.3}, p90 {p90:.3}, p99 {p99:.3}, p99.9 {p999:.3}, max {max:.3} ms")
    }
}

/// Milliseconds with the digits that a clock has, and no more.
pub(crate) fn of(time: Duration) -> f64 {
    milliseconds(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_told_to_three_digits() {
        let mut times = Latencies::new().unwrap();
        assert!(times.summary().is_none() && times.percentiles().is_none());
        (1..=1000).for_each(|n| times.record(Duration::from_micros(n * 1000)));
        let told = times.percentiles().unwrap();
        for (told, expected) in [(told.min, 1.0), (told.p50, 500.0), (told.p99, 990.0), (told.max, 1000.0)] {
            assert!((told - expected).abs() <= expected / 500.0, "{told} {expected}");
        }
        let twice = times.clone().and(&times);
        assert_eq!(twice.count(), 2000);
        assert!((twice.summary().unwrap().avg - 500.5).abs() < 1.0);
    }
}
