//! `fixp dialects`: the tables of the dialects.

mod form;
mod text;

use std::io::Write;

use conformance_vectors::exit::Exit;
use fixp_codec::Dialect;
use fixp_codec::dialect::BUILT_IN;

use crate::dialects::named;
use crate::failure::Failure;
use crate::json_text::{self, Layout};
use crate::output;
use form::DialectForm;

const AFTER: &str = "\
Examples:
  fixp dialects
  fixp dialects laxcus6
  fixp dialects lexst1 | grep SQL_
  fixp dialects --json | jq '.keys[] | select(.name == \"SPEAK\")'";

/// Show the tables of a dialect: types, requests, answers, keys
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    /// The dialect; without it, how the dialects differ
    #[arg(value_name = "DIALECT", value_parser = named())]
    dialect: Option<&'static Dialect>,

    /// Print the tables as JSON, one line per dialect
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self.dialect {
            _ if self.json => {
                let chosen = BUILT_IN
                    .into_iter()
                    .filter(|dialect| self.dialect.is_none_or(|chosen| chosen == *dialect));
                print_json(chosen)?;
            }
            Some(dialect) => output::print(text::tables(dialect))?,
            None => output::print(text::overview())?,
        }
        Ok(Exit::Passed)
    }
}

fn print_json(dialects: impl Iterator<Item = &'static Dialect>) -> Result<(), Failure> {
    let mut out = output::stdout();
    for dialect in dialects {
        output::quietly(json_text::write(&mut out, &DialectForm::from(dialect), Layout::Line))?;
    }
    output::quietly(out.flush())
}
