//! What was measured, as text, Markdown and JSON.

use core::fmt::Write as _;

use serde_json::{Value, json};

use crate::contest::{Outcome, Row, Side};
use crate::targets::Verdict;

/// The columns of all tables.
const HEADER: [&str; 7] = ["", "min ns", "median ns", "max ns", "x fixp", "x by minima", "least in a round"];

/// A table of a contest for a terminal.
#[must_use]
pub fn text(outcome: &Outcome) -> String {
    let mut out = format!("{}, {}\n", outcome.case, outcome.what);
    let _ = write!(out, "  {:<28}", HEADER[0]);
    for column in &HEADER[1..] {
        let _ = write!(out, " {column:>16}");
    }
    out.push('\n');
    for row in &outcome.rows {
        let _ = write!(out, "  {:<28}", row.name);
        for cell in cells(outcome, row) {
            let _ = write!(out, " {cell:>16}");
        }
        out.push('\n');
    }
    out
}

/// The same in Markdown.
#[must_use]
pub fn markdown(outcome: &Outcome) -> String {
    let mut out = format!("#### {}, {}\n\n| {} |\n|---|", outcome.case, outcome.what, HEADER.join(" | "));
    out.push_str(&"---:|".repeat(HEADER.len() - 1));
    out.push('\n');
    for row in &outcome.rows {
        let name = if row.side == Side::Ours { format!("**{}**", row.name) } else { row.name.to_owned() };
        let _ = writeln!(out, "| {name} | {} |", cells(outcome, row).join(" | "));
    }
    out
}

/// The targets in Markdown.
#[must_use]
pub fn markdown_targets(verdicts: &[Verdict]) -> String {
    let mut out =
        "| case | target | held against | by medians | by minima | |\n|---|---|---|---:|---:|---|\n"
            .to_owned();
    for verdict in verdicts {
        let Verdict { case, what, row, promised, measured, measured_min, met } = verdict;
        let met = if *met { "met" } else { "**missed**" };
        let _ = writeln!(
            out,
            "| {case}, {what} | {promised} | {row} | {measured:.2} | {measured_min:.2} | {met} |"
        );
    }
    out
}

fn cells(outcome: &Outcome, row: &Row) -> [String; 6] {
    let [min, median, max] = [row.min(), row.median(), row.max()].map(time);
    let ratios = match outcome.ratio(row) {
        Some(ratio) if row.side != Side::Ours => {
            [ratio.median, ratio.min, ratio.least].map(|x| format!("{x:.2}"))
        }
        _ => [const { String::new() }; 3],
    };
    let [by_median, by_min, least] = ratios;
    [min, median, max, by_median, by_min, least]
}

fn time(ns: f64) -> String {
    if ns < 1000.0 { format!("{ns:.1}") } else { format!("{ns:.0}") }
}

/// Everything that was measured.
#[must_use]
pub fn json(pinning: &str, rounds: usize, outcomes: &[Outcome], verdicts: &[Verdict]) -> Value {
    json!({
        "pinning": pinning,
        "rounds": rounds,
        "contests": outcomes.iter().map(contest).collect::<Vec<_>>(),
        "targets": verdicts.iter().map(target).collect::<Vec<_>>(),
    })
}

fn contest(outcome: &Outcome) -> Value {
    let rows = outcome.rows.iter().map(|row| {
        let ratio = outcome.ratio(row);
        json!({
            "name": row.name,
            "side": format!("{:?}", row.side),
            "min": row.min(),
            "median": row.median(),
            "max": row.max(),
            "ratio": ratio.map(|ratio| json!({ "median": ratio.median, "min": ratio.min, "least": ratio.least })),
            "rounds": row.rounds,
        })
    });
    json!({ "case": outcome.case, "what": outcome.what, "rows": rows.collect::<Vec<_>>() })
}

fn target(verdict: &Verdict) -> Value {
    json!({
        "case": verdict.case,
        "what": verdict.what,
        "against": verdict.row,
        "promised": verdict.promised,
        "median": verdict.measured,
        "min": verdict.measured_min,
        "met": verdict.met,
    })
}
