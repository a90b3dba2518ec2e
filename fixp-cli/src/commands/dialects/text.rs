//! The tables of a dialect as text: a row on a line, so that `grep` finds whole rows.

use std::fmt::Write;

use fixp_codec::dialect::{BUILT_IN, MinorSet, Requests};
use fixp_codec::{Dialect, Type};

use super::form::{request_bytes, types};
use crate::style::{BOLD, DIM};

/// How the dialects differ, one a column.
pub(super) fn overview() -> String {
    let mut out = String::new();
    let names = BUILT_IN.map(|dialect| dialect.name().to_owned());
    row(&mut out, &format!("{BOLD}"), "", &names, &format!("{BOLD:#}"));
    let mut line =
        |title: &str, cell: &dyn Fn(&Dialect) -> String| row(&mut out, "", title, &BUILT_IN.map(cell), "");
    line("request bytes", &|dialect| request_bytes(dialect).join(", "));
    line("requests", &requests);
    line("answers", &answers);
    line("CONTENT_LENGTH", &|dialect| dialect.content_length_key().to_string());
    line("first sub-packet", &|dialect| dialect.first_serial().to_string());
    line("unknown types", &|dialect| unknown_types(dialect).to_owned());
    for ty in Type::ALL {
        line(ty.name(), &|dialect| dialect.code_of(ty).map_or("-".to_owned(), |code| format!("type {code}")));
    }
    let _ = writeln!(out, "\n{DIM}The tables of one of them: fixp dialects NAME{DIM:#}");
    out
}

/// All tables of a dialect.
pub(super) fn tables(dialect: &Dialect) -> String {
    let mut out = String::new();
    let name = dialect.name();
    let _ = writeln!(out, "{BOLD}{name}{BOLD:#}\n");
    for (title, cell) in [
        ("request bytes", request_bytes(dialect).join(", ")),
        ("CONTENT_LENGTH", dialect.content_length_key().to_string()),
        ("first sub-packet", dialect.first_serial().to_string()),
        ("unknown types", unknown_types(dialect).to_owned()),
    ] {
        let _ = writeln!(out, "{title:<18}{cell}");
    }
    section(
        &mut out,
        "types",
        "",
        types(dialect).map(|(code, ty)| [code.to_string(), ty.to_owned(), String::new()]),
    );
    section(&mut out, "requests", &requests(dialect), request_rows(dialect));
    let answer_rows =
        dialect.answer_names().iter().map(|row| [row.number.to_string(), row.name.to_owned(), String::new()]);
    section(&mut out, "answers", &answers(dialect), answer_rows);
    let key_rows = dialect
        .keys()
        .iter()
        .map(|row| [row.number.to_string(), row.name.to_owned(), row.ty.map_or("", Type::name).to_owned()]);
    section(&mut out, "keys", "any is legal", key_rows);
    out
}

fn row(out: &mut String, before: &str, title: &str, cells: &[String; 3], behind: &str) {
    let [first, second, last] = cells;
    let _ = writeln!(out, "{before}{title:<18}{first:<16}{second:<16}{last}{behind}");
}

fn section(out: &mut String, title: &str, legal: &str, rows: impl Iterator<Item = [String; 3]>) {
    let legal = if legal.is_empty() { String::new() } else { format!("  {DIM}{legal}{DIM:#}") };
    let _ = writeln!(out, "\n{BOLD}{title}{BOLD:#}{legal}");
    for [number, name, ty] in rows {
        let line = format!("{number:>6}  {name:<32}{ty}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn request_rows(dialect: &Dialect) -> impl Iterator<Item = [String; 3]> {
    dialect.requests().majors().iter().flat_map(|major| {
        let others = if major.legal == MinorSet::ALL { "and any other minor" } else { "" };
        let head = [major.number.to_string(), major.name.to_owned(), others.to_owned()];
        let minors = major.minors.iter().map(|minor| {
            [format!("{}/{}", major.number, minor.number), minor.name.to_owned(), String::new()]
        });
        std::iter::once(head).chain(minors)
    })
}

fn requests(dialect: &Dialect) -> String {
    match dialect.requests() {
        Requests::Any(_) => "any".to_owned(),
        Requests::Listed(_) => "listed".to_owned(),
    }
}

fn answers(dialect: &Dialect) -> String {
    match dialect.answers() {
        (0, u16::MAX) => "any".to_owned(),
        (first, last) => format!("{first} to {last}"),
    }
}

const fn unknown_types(dialect: &Dialect) -> &'static str {
    if dialect.keeps_unknown_types() { "kept" } else { "refused" }
}
