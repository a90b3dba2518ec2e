//! What the codec promises of its speed, as ratios within one run.

use core::fmt;

use crate::cases::{MIXED, SMALL};
use crate::contest::{Outcome, Row, Side, ratio};
use crate::streaming::TWICE;

/// A promise about a contest.
struct Target {
    /// The case, or the beginning of its name.
    case: &'static str,
    what: &'static str,
    rows: Rows,
    bound: Bound,
}

/// Which rows are held against ours.
enum Rows {
    /// The fastest row of a side.
    Fastest(Side),
    /// The row of this name.
    Named(&'static str),
}

/// How many times as long as ours the row takes.
#[derive(Clone, Copy)]
enum Bound {
    /// At least so many times.
    AtLeast(f64),
    /// We take at most so many times as long as it.
    Within(f64),
    /// Between the two.
    Between(f64, f64),
}

const TARGETS: &[Target] = &[
    faster(SMALL, "decode", Side::Prost, 4.0),
    faster(SMALL, "decode", Side::Borrowed, 2.0),
    faster(SMALL, "encode", Side::Prost, 2.0),
    faster(MIXED, "decode", Side::Prost, 5.0),
    faster(MIXED, "decode", Side::Borrowed, 2.0),
    Target { case: MIXED, what: "decode", rows: Rows::Fastest(Side::Limit), bound: Bound::Within(5.0) },
    faster(MIXED, "encode", Side::Prost, 2.5),
    Target {
        case: "stream",
        what: "byte by byte",
        rows: Rows::Fastest(Side::Limit),
        bound: Bound::Within(5.0),
    },
    Target {
        case: "stream",
        what: "byte by byte",
        rows: Rows::Named(TWICE),
        bound: Bound::Between(1.8, 2.3),
    },
];

const fn faster(case: &'static str, what: &'static str, side: Side, times: f64) -> Target {
    Target { case, what, rows: Rows::Fastest(side), bound: Bound::AtLeast(times) }
}

/// A promise held against what was measured, by medians and by the fastest rounds: it must hold by both.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The case.
    pub case: &'static str,
    /// What was done to it.
    pub what: &'static str,
    /// The row ours is held against.
    pub row: &'static str,
    /// The number that is promised.
    pub promised: String,
    /// The number that was measured, as the promise counts.
    pub measured: f64,
    /// The same by the fastest rounds.
    pub measured_min: f64,
    /// Whether the promise holds.
    pub met: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, what, row, promised, measured, measured_min, met } = self;
        let met = if *met { "met   " } else { "MISSED" };
        write!(
            f,
            "{met} {case}, {what}: {promised} {row}; measured {measured:.2} (by minima {measured_min:.2})"
        )
    }
}

/// Holds every promise against the outcomes; those of cases that were not run are left out.
#[must_use]
pub fn judge(outcomes: &[Outcome]) -> Vec<Verdict> {
    outcomes
        .iter()
        .flat_map(|outcome| {
            TARGETS
                .iter()
                .filter(|target| outcome.case.starts_with(target.case) && outcome.what == target.what)
                .filter_map(|target| target.judge(outcome))
        })
        .collect()
}

impl Target {
    fn judge(&self, outcome: &Outcome) -> Option<Verdict> {
        let (row, ours) = (self.row(outcome)?, outcome.ours()?);
        let theirs = ratio(row, ours);
        let turned = ratio(ours, row);
        let (promised, counted) = match self.bound {
            Bound::AtLeast(times) => (format!("at least {times} times the speed of"), theirs),
            Bound::Within(times) => (format!("at most {times} times the time of"), turned),
            Bound::Between(low, high) => (format!("{low} to {high} times the time for"), theirs),
        };
        let holds = |ratio: f64| match self.bound {
            Bound::AtLeast(times) => ratio >= times,
            Bound::Within(times) => ratio <= times,
            Bound::Between(low, high) => (low..=high).contains(&ratio),
        };
        let (measured, measured_min) = (counted.median, counted.min);
        let met = holds(measured) && holds(measured_min);
        let (case, what) = (outcome.case, outcome.what);
        Some(Verdict { case, what, row: row.name, promised, measured, measured_min, met })
    }

    fn row<'o>(&self, outcome: &'o Outcome) -> Option<&'o Row> {
        match self.rows {
            Rows::Named(name) => outcome.rows.iter().find(|row| row.name == name),
            Rows::Fastest(side) => outcome
                .rows
                .iter()
                .filter(|row| row.side == side)
                .min_by(|a, b| a.median().total_cmp(&b.median())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(rows: &[(Side, f64)]) -> Outcome {
        let rows = rows.iter().map(|&(side, ns)| Row { name: "row", side, rounds: vec![ns] }).collect();
        Outcome { case: SMALL, what: "decode", rows }
    }

    #[test]
    fn the_fastest_of_a_side_counts() {
        let verdicts = judge(&[outcome(&[(Side::Ours, 10.0), (Side::Prost, 90.0), (Side::Prost, 39.0)])]);
        assert_eq!(verdicts.len(), 1, "{verdicts:?}");
        assert!(!verdicts[0].met);
        assert_eq!(verdicts[0].measured, 3.9);
    }
}
