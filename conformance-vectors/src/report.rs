//! What came out of a run: as a value, and as text, JSON or JUnit XML.

mod junit;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::compare::shorten;
use crate::exit::Exit;
use crate::protocol::Hello;
use crate::vector::{Class, Kind, Vector};
use crate::verdict::{Failure, Verdict};

/// What came out of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// What the testee said of itself.
    pub testee: Hello,
    /// The vectors that were selected, in their order.
    pub rows: Vec<Row>,
    /// How long it took, the testee's start included.
    pub elapsed: Duration,
}

/// One vector of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Its dialect.
    pub dialect: String,
    /// Its kind.
    pub kind: Kind,
    /// Its class.
    pub class: Class,
    /// What is special about it.
    pub comment: String,
    /// The beginning of its bytes.
    pub hex: String,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// How many vectors came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Everything that was checked holds.
    pub passed: usize,
    /// Something does not hold, or a known failure passed.
    pub failed: usize,
    /// Not run, or skipped by the testee.
    pub skipped: usize,
    /// Failed, as the list of known failures says.
    pub known: usize,
}

impl Report {
    /// How a program that made this run should end. A run in which nothing was run has not shown anything, so
    /// it fails; a known failure is something that was run.
    pub fn exit(&self) -> Exit {
        let total = self.total();
        if total.failed > 0 || total.passed + total.known == 0 { Exit::Failed } else { Exit::Passed }
    }

    /// All vectors together.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for row in &self.rows {
            total.count(&row.verdict);
        }
        total
    }

    /// The vectors of each dialect and kind.
    pub fn summary(&self) -> BTreeMap<(&str, &Kind), Counts> {
        let mut summary: BTreeMap<_, Counts> = BTreeMap::new();
        for row in &self.rows {
            summary.entry((row.dialect.as_str(), &row.kind)).or_default().count(&row.verdict);
        }
        summary
    }

    /// The vectors that failed, with why.
    pub fn failures(&self) -> impl Iterator<Item = (&Row, &Failure)> {
        self.rows.iter().filter_map(|row| match &row.verdict {
            Verdict::Failed { failure } => Some((row, failure)),
            _ => None,
        })
    }

    /// The reasons for skipping, with the number of vectors, most first.
    pub fn skip_reasons(&self) -> Vec<(&str, usize)> {
        most_first(self.rows.iter().filter_map(|row| match &row.verdict {
            Verdict::Skipped { reason } => Some(reason.as_str()),
            _ => None,
        }))
    }

    /// What is worth knowing of vectors that passed, with the number of vectors, most first.
    pub fn notes(&self) -> Vec<(&str, usize)> {
        let notes = self.rows.iter().flat_map(|row| match &row.verdict {
            Verdict::Passed { notes } => notes.as_slice(),
            _ => &[],
        });
        most_first(notes.map(String::as_str))
    }

    /// The report for people: the failures, what was skipped, and a table. `color` for a terminal that shows
    /// colours.
    pub fn text(&self, color: bool) -> String {
        text::write(self, color)
    }

    /// The report as a JSON object.
    pub fn json(&self) -> serde_json::Value {
        let summary: Vec<_> = self
            .summary()
            .into_iter()
            .map(|((dialect, kind), counts)| Group { dialect, kind, counts })
            .collect();
        serde_json::json!({
            "testee": self.testee,
            "exit": self.exit().code(),
            "seconds": self.elapsed.as_secs_f64(),
            "total": self.total(),
            "summary": summary,
            "vectors": self.rows,
        })
    }

    /// The report in JUnit's XML, one test suite a dialect. A known failure counts as skipped there.
    pub fn junit(&self) -> String {
        junit::write(self)
    }
}

impl Row {
    /// The row of a vector.
    pub(crate) fn new(vector: &Vector, verdict: Verdict, took: Duration) -> Self {
        Self {
            id: vector.id.clone(),
            dialect: vector.dialect.clone(),
            kind: vector.kind.clone(),
            class: vector.class,
            comment: vector.comment.clone(),
            hex: shorten(&vector.parts().join(" ")),
            verdict,
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl Counts {
    fn count(&mut self, verdict: &Verdict) {
        *match verdict {
            Verdict::Passed { .. } => &mut self.passed,
            Verdict::Failed { .. } => &mut self.failed,
            Verdict::Skipped { .. } => &mut self.skipped,
            Verdict::KnownFailure { .. } => &mut self.known,
        } += 1;
    }
}

/// A line of the summary in JSON.
#[derive(Serialize)]
struct Group<'a> {
    dialect: &'a str,
    kind: &'a Kind,
    #[serde(flatten)]
    counts: Counts,
}

fn most_first<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<(&'a str, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}
