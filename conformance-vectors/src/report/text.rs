//! The report for people.

use std::fmt::Write;

use super::{Counts, Report};
use crate::verdict::Verdict;

pub(super) fn write(report: &Report, color: bool) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_to(&mut text, report, Paint { color });
    text
}

fn write_to(out: &mut String, report: &Report, paint: Paint) -> std::fmt::Result {
    let testee = &report.testee;
    let title = format!("{} {}", testee.implementation, testee.version);
    let title = paint.bold(plain(&title).trim());
    let (dialects, ops) = (testee.dialects.join(", "), testee.ops.join(", "));
    writeln!(out, "{title}  speaks {}  can {}\n", plain(&dialects), plain(&ops))?;
    for row in &report.rows {
        let (word, failure) = match &row.verdict {
            Verdict::Failed { failure } => (paint.red("FAILED"), failure),
            Verdict::KnownFailure { failure } => (paint.yellow("known"), failure),
            _ => continue,
        };
        writeln!(out, "{word} {} ({})", row.id, row.class)?;
        writeln!(out, "    {}", row.comment)?;
        writeln!(out, "    {}", plain(&failure.to_string()))?;
        if !row.hex.is_empty() {
            writeln!(out, "    {}", paint.dim(&row.hex))?;
        }
    }
    if report.total().failed + report.total().known > 0 {
        out.push('\n');
    }
    list(out, "skipped", &report.skip_reasons())?;
    list(out, "noted", &report.notes())?;
    table(out, report, paint)?;
    let total = report.total();
    let run = total.passed + total.failed + total.known;
    let seconds = report.elapsed.as_secs_f64();
    let verdict = match (run, total.failed) {
        (0, _) => paint.red("nothing was run"),
        (_, 0) => paint.green("all passed"),
        (_, failed) => paint.red(&format!("{failed} failed")),
    };
    let known = if total.known > 0 && total.failed == 0 { ", but for the known failures" } else { "" };
    writeln!(out, "\n{verdict}{known}: {run} run in {seconds:.2} s")
}

/// A testee's words without control characters: they must not drive the terminal.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            plain.extend(char.escape_default());
        } else {
            plain.push(char);
        }
    }
    plain
}

fn list(out: &mut String, title: &str, texts: &[(&str, usize)]) -> std::fmt::Result {
    if texts.is_empty() {
        return Ok(());
    }
    writeln!(out, "{title}")?;
    for (text, count) in texts {
        writeln!(out, "{count:>7}  {}", plain(text))?;
    }
    out.push('\n');
    Ok(())
}

fn table(out: &mut String, report: &Report, paint: Paint) -> std::fmt::Result {
    let summary = report.summary();
    let widest = |title: &str, names: &mut dyn Iterator<Item = &str>| {
        names.map(|name| name.chars().count()).chain([title.len()]).max().unwrap_or_default()
    };
    let dialects = widest("dialect", &mut summary.keys().map(|(dialect, _)| *dialect));
    let kinds = widest("kind", &mut summary.keys().map(|(_, kind)| kind.name()));
    let head = format!("{:dialects$}  {:kinds$}  passed  failed  skipped  known", "dialect", "kind");
    writeln!(out, "{}", paint.bold(&head))?;
    let mut line = |dialect: &str, kind: &str, counts: Counts| {
        let Counts { passed, failed, skipped, known } = counts;
        let cell = |count: usize, width: usize| {
            if count == 0 { format!("{:>width$}", "-") } else { format!("{count:>width$}") }
        };
        let failed_cell = cell(failed, 6);
        let failed_cell = if failed > 0 { paint.red(&failed_cell) } else { failed_cell };
        let (passed, skipped, known) = (cell(passed, 6), cell(skipped, 7), cell(known, 5));
        writeln!(out, "{dialect:dialects$}  {kind:kinds$}  {passed}  {failed_cell}  {skipped}  {known}")
    };
    for ((dialect, kind), counts) in &summary {
        line(dialect, kind.name(), *counts)?;
    }
    line("all", "", report.total())
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Paint {
    color: bool,
}

impl Paint {
    fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
