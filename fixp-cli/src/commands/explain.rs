//! `fixp explain`: an annotated hex dump.

use conformance_vectors::exit::Exit;
use fixp_codec::Decoder;
use fixp_codec::explain::{Explanation, Field, Styles};
use serde::Serialize;

use crate::dialects::WhichDialect;
use crate::failure::Failure;
use crate::input::BytesInput;
use crate::json_text::{self, Layout};
use crate::kind::Kind;
use crate::output;
use crate::policy::Policy;
use crate::style::{DIM, DUMP};

const AFTER: &str = "\
The dump has a line for every field: offset, bytes, path and meaning. Where the
input is broken, the error stands under its byte. An argument is hex, in which
white space, colons and 0x do not matter; a file or standard input is hex if it
has nothing else in it, and raw bytes if it has.

Examples:
  fixp explain 87000105010100fc03015000
  fixp explain '87 00 01 05 01 01 00  fc 03 01 50 00'
  fixp explain @capture.bin --all
  xxd -p capture.bin | fixp explain -
  fixp explain --kind message --dialect lexst1 e803011041

Exit codes:
  0  a reader takes the input
  1  the input is broken; the dump shows where
  2  wrong arguments";

/// Show what every byte of a packet means
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    #[command(flatten)]
    input: BytesInput,

    /// What the input is
    #[arg(long, value_enum, default_value = "packet")]
    kind: Kind,

    #[command(flatten)]
    dialect: WhichDialect,

    /// What the reader takes
    #[arg(long, value_enum, default_value = "compatible")]
    policy: Policy,

    /// Show every byte of long values and entities
    #[arg(long, conflicts_with = "json")]
    all: bool,

    /// Print the fields and the error as JSON, on one line
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let input = self.input.read()?;
        let dialect = self.dialect.teller().dialect(self.kind, &input);
        let decoder = Decoder::new(dialect).with_policy(self.policy.into()).with_limits(self.input.limits());
        let explanation = self.kind.explain(&decoder, &input);
        if self.json {
            print_json(dialect.name(), &explanation)?;
        } else {
            let (kind, policy) = (self.kind.name(), self.policy.name());
            let title = format!("{} {kind}, {} bytes, {policy} reader", dialect.name(), input.len());
            print_text(&title, explanation, self.all)?;
        }
        match explanation.error() {
            None => Ok(Exit::Passed),
            // Whoever sees the dump has read this already.
            Some(_) if !self.json && output::is_terminal() => Ok(Exit::Failed),
            Some(error) => Err(error.into()),
        }
    }
}

/// Prints the dump.
pub(crate) fn print_text(title: &str, explanation: Explanation<'_>, all: bool) -> Result<(), Failure> {
    let explanation = if all { explanation.with_bytes(usize::MAX) } else { explanation };
    let styles = if output::is_colored() { DUMP } else { Styles::PLAIN };
    output::print(format_args!("{DIM}{title}{DIM:#}\n{}", explanation.with_styles(styles)))
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Explained<'a> {
    dialect: &'a str,
    fields: Vec<FieldForm>,
    error: Option<ErrorForm>,
}

#[derive(Serialize)]
struct FieldForm {
    offset: usize,
    length: usize,
    path: String,
    meaning: String,
}

#[derive(Serialize)]
struct ErrorForm {
    kind: &'static str,
    offset: usize,
    needed: usize,
    had: usize,
    detail: String,
}

fn print_json(dialect: &str, explanation: &Explanation<'_>) -> Result<(), Failure> {
    let explained = Explained {
        dialect,
        fields: explanation.fields().map(FieldForm::from).collect(),
        error: explanation.error().map(ErrorForm::from),
    };
    output::quietly(json_text::write(output::stdout(), &explained, Layout::Line))
}

impl From<Field<'_>> for FieldForm {
    fn from(field: Field<'_>) -> Self {
        Self {
            offset: field.offset,
            length: field.bytes.len(),
            path: field.place.to_string(),
            meaning: field.to_string(),
        }
    }
}

impl From<fixp_codec::Error> for ErrorForm {
    fn from(error: fixp_codec::Error) -> Self {
        Self {
            kind: error.kind().name(),
            offset: error.offset(),
            needed: error.needed(),
            had: error.had(),
            detail: error.to_string(),
        }
    }
}
