//! Prints docs/TABLES.md: every code, key and type of the built-in dialects.
//!
//!     cargo run -p fixp-codec --example tables > docs/TABLES.md

use std::fmt::{Result, Write};

use fixp_codec::dialect::{BUILT_IN, MinorSet, RequestOrder, Requests};
use fixp_codec::{Dialect, Type};

fn main() {
    print!("{}", tables());
}

/// The whole page.
pub(crate) fn tables() -> String {
    let mut page = String::new();
    write_page(&mut page).expect("a string takes everything");
    page
}

fn write_page(out: &mut String) -> Result {
    writeln!(out, "# Codes and keys\n")?;
    writeln!(out, "Made from the tables in `fixp-codec/src/dialect/` by")?;
    writeln!(out, "`cargo run -p fixp-codec --example tables`; a test fails when they differ.\n")?;
    writeln!(out, "| |{}", row(|dialect| format!(" {} |", dialect.name())))?;
    writeln!(out, "|---|{}", row(|_| "---|".into()))?;
    writeln!(out, "| request bytes |{}", row(|dialect| format!(" {} |", order(dialect))))?;
    writeln!(out, "| CONTENT_LENGTH |{}", row(|dialect| format!(" {} |", dialect.content_length_key())))?;
    writeln!(out, "| first serial |{}", row(|dialect| format!(" {} |", dialect.first_serial())))?;
    let answers = |dialect: &Dialect| format!(" {}..{} |", dialect.answers().0, dialect.answers().1);
    writeln!(out, "| legal answers |{}", row(answers))?;
    let unknown =
        |dialect: &Dialect| format!(" {} |", if dialect.keeps_unknown_types() { "kept" } else { "refused" });
    writeln!(out, "| unknown types |{}", row(unknown))?;
    for ty in Type::ALL {
        let code = |dialect: &Dialect| dialect.code_of(ty).map_or(" - |".into(), |code| format!(" {code} |"));
        writeln!(out, "| type `{}` |{}", ty.name(), row(code))?;
    }
    for dialect in BUILT_IN {
        write_dialect(out, dialect)?;
    }
    Ok(())
}

fn row(cell: impl Fn(&Dialect) -> String) -> String {
    BUILT_IN.into_iter().map(cell).collect()
}

fn order(dialect: &Dialect) -> &'static str {
    match dialect.request_order() {
        RequestOrder::MajorFirst => "major, minor",
        RequestOrder::MinorFirst => "minor, major",
    }
}

fn write_dialect(out: &mut String, dialect: &Dialect) -> Result {
    writeln!(out, "\n## {}", dialect.name())?;
    if let Requests::Any(_) = dialect.requests() {
        writeln!(out, "\nAny request is legal; none has a name.")?;
    } else {
        writeln!(out, "\n| major | minor | request |\n|---|---|---|")?;
    }
    for major in dialect.requests().majors() {
        for minor in major.minors {
            writeln!(out, "| {} | {} | {} {} |", major.number, minor.number, major.name, minor.name)?;
        }
        if major.legal == MinorSet::ALL {
            writeln!(out, "| {} | others | {} |", major.number, major.name)?;
        }
    }
    if !dialect.answer_names().is_empty() {
        writeln!(out, "\n| code | answer |\n|---|---|")?;
    }
    for answer in dialect.answer_names() {
        writeln!(out, "| {} | {} |", answer.number, answer.name)?;
    }
    writeln!(out, "\n| key | name | type |\n|---|---|---|")?;
    for key in dialect.keys() {
        writeln!(out, "| {} | {} | {} |", key.number, key.name, key.ty.map_or("", Type::name))?;
    }
    Ok(())
}
