//! The report in JUnit's XML, as continuous integration reads it.
//!
//! Written by hand: it is five elements, and a writer of XML would be the heaviest dependency of this crate.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::{Counts, Report, Row};
use crate::verdict::{Failure, Verdict};

pub(super) fn write(report: &Report) -> String {
    let mut xml = String::new();
    // Writing to a String cannot fail.
    let _ = write_to(&mut xml, report);
    xml
}

fn write_to(out: &mut String, report: &Report) -> fmt::Result {
    let mut suites: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in &report.rows {
        suites.entry(&row.dialect).or_default().push(row);
    }
    let testee = &report.testee;
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let name = format!("fixp conformance of {} {}", testee.implementation, testee.version);
    element(out, "testsuites", &name, &report.rows.iter().collect::<Vec<_>>())?;
    for (dialect, rows) in suites {
        element(out, "testsuite", dialect, &rows)?;
        for row in rows {
            testcase(out, row)?;
        }
        out.push_str("</testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    Ok(())
}

fn element(out: &mut String, tag: &str, name: &str, rows: &[&Row]) -> fmt::Result {
    let mut counts = Counts::default();
    for row in rows {
        counts.count(&row.verdict);
    }
    let (tests, failures, skipped) = (rows.len(), counts.failed, counts.skipped + counts.known);
    let micros = rows.iter().fold(0, |sum: u64, row| sum.saturating_add(row.micros));
    writeln!(
        out,
        "<{tag} name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{}\">",
        Escaped(name),
        Seconds(micros)
    )
}

fn testcase(out: &mut String, row: &Row) -> fmt::Result {
    let Row { id, dialect, kind, micros, .. } = row;
    let seconds = Seconds(*micros);
    write!(
        out,
        "<testcase name=\"{}\" classname=\"{}.{}\" time=\"{seconds}\"",
        Escaped(id),
        Escaped(dialect),
        Escaped(kind.name())
    )?;
    let message = |failure: &Failure| failure.to_string();
    match &row.verdict {
        Verdict::Passed { .. } => return out.write_str("/>\n"),
        Verdict::Failed { failure } => {
            let message = message(failure);
            let text = format!("{message}\n{}\n{}", row.comment, row.hex);
            let op = &failure.op;
            write!(
                out,
                "><failure message=\"{}\" type=\"{}\">{}</failure>",
                Escaped(&message),
                Escaped(op),
                Escaped(&text)
            )?;
        }
        Verdict::Skipped { reason } => write!(out, "><skipped message=\"{}\"/>", Escaped(reason))?,
        Verdict::KnownFailure { failure } => {
            write!(out, "><skipped message=\"known failure: {}\"/>", Escaped(&message(failure)))?;
        }
    }
    out.write_str("</testcase>\n")
}

/// Microseconds as seconds with six decimals.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Text for an element or an attribute. What XML 1.0 cannot carry at all becomes U+FFFD.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\n' | '\t' => f.write_char(character)?,
                '\0'..' ' | '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_carries_any_text() {
        assert_eq!(
            Escaped("a<b>&\"\u{1b}\u{ffff}\u{e9}").to_string(),
            "a&lt;b&gt;&amp;&quot;\u{fffd}\u{fffd}\u{e9}"
        );
        assert_eq!(Seconds(1_000_250).to_string(), "1.000250");
    }
}
