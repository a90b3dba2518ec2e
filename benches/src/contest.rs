//! Competitors run interleaved: in every round each runs a short batch, and the order turns from round
//! to round, so that a machine that slows down slows them all.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Who a row is, for the targets to speak of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// What the other rows of a contest are held against: `fixp-codec`, doing what is to be measured.
    Ours,
    /// `fixp-codec` doing something else.
    AlsoOurs,
    /// prost with the schema as self-describing as FIXP.
    Prost,
    /// prost with the flat schema.
    ProstFlat,
    /// MessagePack or CBOR, borrowed.
    Borrowed,
    /// What no codec can pass: the same bytes copied, or pushed one by one.
    Limit,
    /// Any other.
    Other,
}

/// One row: a named operation.
pub struct Entry<'a> {
    name: &'static str,
    side: Side,
    batch: Box<dyn FnMut(u64) + 'a>,
}

impl<'a> Entry<'a> {
    /// An operation. What it gives is kept from being optimized away where it stands, for to move it would
    /// be a price that no user pays; then it is dropped, and that is part of the price.
    pub fn new<T>(side: Side, name: &'static str, mut operation: impl FnMut() -> T + 'a) -> Self {
        let batch = Box::new(move |times| {
            for _ in 0..times {
                let result = operation();
                black_box(&result);
            }
        });
        Self { name, side, batch }
    }

    fn time(&mut self, times: u64) -> Duration {
        let start = Instant::now();
        (self.batch)(times);
        start.elapsed()
    }

    /// How many times fit into a batch.
    fn calibrate(&mut self, batch: Duration) -> u64 {
        let mut times = 1;
        loop {
            let took = self.time(times);
            if took * 4 >= batch {
                return ((times as f64 * batch.as_secs_f64() / took.as_secs_f64()) as u64).max(1);
            }
            times *= 2;
        }
    }
}

/// A case and the operation all rows do to it.
pub struct Contest<'a> {
    /// The name of the case.
    pub case: &'static str,
    /// `decode`, `encode`, ...
    pub what: &'static str,
    /// The rows. The one of [`Side::Ours`] stands first.
    pub entries: Vec<Entry<'a>>,
}

/// What was measured of a contest.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The name of the case.
    pub case: &'static str,
    /// What was done to it.
    pub what: &'static str,
    /// The rows in their order.
    pub rows: Vec<Row>,
}

/// What was measured of a row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Who it is.
    pub side: Side,
    /// Nanoseconds an operation, round by round.
    pub rounds: Vec<f64>,
}

impl Row {
    /// The fastest round.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The slowest round.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.rounds.iter().copied().fold(0.0, f64::max)
    }

    /// The round in the middle.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() % 2 {
            0 if middle > 0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted.get(middle).copied().unwrap_or(f64::NAN),
        }
    }
}

/// A row against ours: how many times as long it takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ratio {
    /// Its median by our median.
    pub median: f64,
    /// Its fastest round by our fastest.
    pub min: f64,
    /// The least of the ratios within one round.
    pub least: f64,
}

impl Outcome {
    /// The row the others are held against.
    #[must_use]
    pub fn ours(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.side == Side::Ours)
    }

    /// A row against ours.
    #[must_use]
    pub fn ratio(&self, row: &Row) -> Option<Ratio> {
        self.ours().map(|ours| ratio(row, ours))
    }
}

/// A row against another: how many times as long it takes.
#[must_use]
pub fn ratio(row: &Row, other: &Row) -> Ratio {
    let least = row.rounds.iter().zip(&other.rounds).map(|(a, b)| a / b).fold(f64::INFINITY, f64::min);
    Ratio { median: row.median() / other.median(), min: row.min() / other.min(), least }
}

impl Contest<'_> {
    /// Runs all rows so many rounds.
    #[must_use]
    pub fn run(mut self, rounds: usize, batch: Duration) -> Outcome {
        // Finding out how often also warms caches and branch predictors.
        let times: Vec<u64> = self.entries.iter_mut().map(|entry| entry.calibrate(batch)).collect();
        let mut rows: Vec<Row> = self
            .entries
            .iter()
            .map(|entry| Row { name: entry.name, side: entry.side, rounds: Vec::with_capacity(rounds) })
            .collect();
        let count = self.entries.len();
        for round in 0..rounds {
            for turn in 0..count {
                let i = (round + turn) % count;
                // A few operations first, to have one's own code and bytes in the caches again.
                self.entries[i].time(times[i] / 64 + 1);
                let took = self.entries[i].time(times[i]);
                rows[i].rounds.push(took.as_secs_f64() * 1e9 / times[i] as f64);
            }
        }
        Outcome { case: self.case, what: self.what, rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rounds: &[f64]) -> Row {
        Row { name: "row", side: Side::Other, rounds: rounds.to_vec() }
    }

    #[test]
    fn statistics_of_a_row() {
        let odd = row(&[3.0, 1.0, 2.0]);
        assert_eq!((odd.min(), odd.median(), odd.max()), (1.0, 2.0, 3.0));
        assert_eq!(row(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
    }

    #[test]
    fn ratios_pair_the_rounds() {
        let found = ratio(&row(&[4.0, 6.0, 9.0]), &row(&[1.0, 3.0, 3.0]));
        assert_eq!(found, Ratio { median: 2.0, min: 4.0, least: 2.0 });
    }

    #[test]
    fn every_row_runs_in_every_round() {
        let entries = vec![Entry::new(Side::Ours, "a", || 1), Entry::new(Side::Other, "b", || 2)];
        let outcome = Contest { case: "none", what: "nothing", entries }.run(3, Duration::from_micros(10));
        assert!(outcome.rows.iter().all(|row| row.rounds.len() == 3));
    }
}
