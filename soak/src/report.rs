//! What is printed: measured values, and bounds that held or were missed.

use std::fmt::Display;
use std::time::Duration;

use crate::Failure;
use crate::far::Holding;

/// Whether all bounds held.
pub(crate) struct Report {
    pub(crate) held: bool,
    start: Option<Holding>,
}

impl Report {
    pub(crate) const fn new() -> Self {
        Self { held: true, start: None }
    }

    /// A phase begins.
    pub(crate) fn phase(&self, what: impl Display) {
        println!("\n{what}");
    }

    /// A line of it.
    pub(crate) fn line(&self, what: impl Display) {
        println!("    {what}");
    }

    /// A bound.
    pub(crate) fn bound(&mut self, held: bool, what: impl Display) {
        self.held &= held;
        println!("    {} {what}", if held { "ok:    " } else { "MISSED:" });
    }

    /// That nothing failed.
    pub(crate) fn failures(&mut self, failures: &Failures) {
        let first = failures.first.as_ref().map(|first| format!(", the first: {first}")).unwrap_or_default();
        self.bound(failures.count == 0, format_args!("{} errors{first}", failures.count));
    }

    /// What later values are compared with.
    pub(crate) fn start(&mut self, holding: Holding) {
        self.line(format_args!(
            "start: live heap {}, resident {}",
            bytes(holding.live),
            bytes(holding.resident)
        ));
        self.start = Some(holding);
    }

    /// What the server holds.
    pub(crate) fn holding(&self, now: &Holding) {
        self.line(format_args!(
            "{} connections open; live heap {} (at most {} so far), resident {} (at most {})",
            now.open,
            bytes(now.live),
            bytes(now.peak),
            bytes(now.resident),
            bytes(now.resident_peak),
        ));
    }

    /// The live heap of each of these connections, which is bounded, and their resident memory, which is not.
    pub(crate) fn each(&mut self, now: &Holding, connections: usize, bound: u64) {
        self.holding(now);
        let Some(start) = self.start else { return };
        let count = connections.max(1) as u64;
        let live = now.live.saturating_sub(start.live) / count;
        let resident = now.resident.saturating_sub(start.resident) / count;
        self.line(format_args!("resident memory: {resident} B for each idle connection"));
        self.bound(live <= bound, format_args!("live heap: {live} B for each idle connection, of {bound} B"));
    }

    /// Whether the live heap is back at its start, within a tenth.
    pub(crate) fn is_back(&self, now: &Holding) -> bool {
        self.start.is_some_and(|start| now.live.abs_diff(start.live) <= start.live / 10)
    }
}

/// What went wrong in a phase.
#[derive(Default)]
pub(crate) struct Failures {
    pub(crate) count: usize,
    pub(crate) first: Option<String>,
}

impl Failures {
    pub(crate) fn add(&mut self, failure: &Failure) {
        self.count += 1;
        self.first.get_or_insert_with(|| failure.to_string());
    }

    /// The value, or one failure more.
    pub(crate) fn sift<T>(&mut self, result: Result<T, Failure>) -> Option<T> {
        result.map_err(|failure| self.add(&failure)).ok()
    }
}

/// How long requests took.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn extend(&mut self, times: Vec<Duration>) {
        self.0.extend(times);
        self.0.sort_unstable();
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that so many of a thousand did not pass.
    pub(crate) fn of_thousand(&self, parts: usize) -> Duration {
        let place = (self.0.len() * parts).div_ceil(1000).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn line(&self, during: Duration) -> String {
        format!(
            "{} requests, {:.0}/s, p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
            self.count(),
            self.count() as f64 / during.as_secs_f64(),
            self.of_thousand(500),
            self.of_thousand(990),
            self.of_thousand(1000),
        )
    }
}

/// Bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    if count < 10 << 20 {
        format!("{:.1} KiB", count as f64 / 1024.0)
    } else {
        format!("{:.1} MiB", count as f64 / f64::from(1 << 20))
    }
}
