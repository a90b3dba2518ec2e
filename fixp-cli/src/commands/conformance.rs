//! `fixp conformance`: the vectors against the built-in codec, or against a testee.

mod report;
mod show;

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io::Write};

use clap::ValueHint;
use conformance_vectors::exit::Exit;
use conformance_vectors::known::KnownFailures;
use conformance_vectors::runner::{Program, Runner, TIME_LIMIT, Target};
use conformance_vectors::select::Select;
use conformance_vectors::{Class, Vector};
use fixp_codec::Dialect;

use crate::dialects::named;
use crate::failure::Failure;
use crate::json_text::{self, Layout};
use crate::output;
use crate::policy::Policy;
use report::{Format, Sink};

const AFTER: &str = "\
A testee is any program that speaks the testee protocol over its standard input
and output. What it skips is counted apart. The built-in codec is held to its
policy where a vector leaves a choice, a testee is not. --dialect, --kind,
--class and --filter may be given several times.

Examples:
  fixp conformance
  fixp conformance --testee 'python3 testee.py' --known-failures known.txt
  fixp conformance --testee ./testee --dialect laxcus6 --class valid
  fixp conformance --testee ./testee --format junit --output report.xml
  fixp conformance --list --filter '*/int32-*'
  fixp conformance --show laxcus6/command/cmd-req-NOTIFY_HELO

Exit codes:
  0  every vector that was run passed
  1  a vector failed, a known failure passed, or nothing was run
  2  wrong arguments, or a file that cannot be used
  3  the testee could not be run";

/// Judge the built-in codec, or any program, by the conformance vectors
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    /// The program to judge and its arguments, split as a shell does
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    testee: Option<String>,

    /// The policy of the built-in codec [default: compatible]
    #[arg(long, value_enum, conflicts_with = "testee")]
    policy: Option<Policy>,

    #[command(flatten)]
    which: Which,

    /// A list of vectors known to fail; one that passes is a failure
    #[arg(long, value_name = "FILE")]
    known_failures: Option<PathBuf>,

    /// Milliseconds that the testee has for a vector
    #[arg(long, value_name = "MS", default_value_t = TIME_LIMIT.as_millis() as u64)]
    timeout: u64,

    /// The form of the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// The same as --format json; --list and --show print whole vectors
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// Write the report to this file, and the text to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// List the ids of the vectors, run nothing
    #[arg(long)]
    list: bool,

    /// Show a vector with its bytes explained, run nothing
    #[arg(long, value_name = "ID", conflicts_with = "list")]
    show: Option<String>,
}

/// Which vectors.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only vectors of this dialect
    #[arg(long, value_name = "DIALECT", value_parser = named())]
    dialect: Vec<&'static Dialect>,

    /// Only vectors of this kind: command, message, packet, stream, ...
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,

    /// Only vectors of this class: valid, lenient, invalid, ...
    #[arg(long, value_name = "CLASS", value_parser = class)]
    class: Vec<Class>,

    /// Only vectors with this in their id; with * or ?, a pattern for all of it
    #[arg(long, value_name = "PATTERN")]
    filter: Vec<String>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let vectors = conformance_vectors::all().map_err(Failure::Vectors)?;
        match &self.show {
            Some(id) => show::show(find(&vectors, id)?, self.policy(), self.json),
            None if self.list => self.list(&vectors),
            None => self.judge(&vectors),
        }
    }

    fn list(&self, vectors: &[Vector]) -> Result<Exit, Failure> {
        let select = self.which.select();
        let mut out = output::stdout();
        let mut listed = Exit::Failed;
        for vector in vectors.iter().filter(|vector| select.takes(vector)) {
            let written = if self.json {
                json_text::write(&mut out, vector, Layout::Line)
            } else {
                writeln!(out, "{}", vector.id)
            };
            written?;
            listed = Exit::Passed;
        }
        output::quietly(out.flush())?;
        Ok(listed)
    }

    fn judge(&self, vectors: &[Vector]) -> Result<Exit, Failure> {
        let runner = self.runner()?;
        let format = if self.json { Format::Json } else { self.format };
        let sink = Sink::open(format, self.output.as_deref())?;
        let report = runner.run(vectors).map_err(Failure::Run)?;
        sink.write(&report)?;
        Ok(report.exit())
    }

    fn policy(&self) -> fixp_codec::Policy {
        self.policy.map(fixp_codec::Policy::from).unwrap_or_default()
    }

    fn runner(&self) -> Result<Runner, Failure> {
        let policy = self.policy();
        let runner = match &self.testee {
            Some(command) => Runner::new(Target::Command(program(command)?)),
            // Of ourselves we know what is to be done with lenient vectors.
            None => Runner::new(Target::BuiltIn(policy)).expect_exact(policy),
        };
        let runner = runner.select(self.which.select()).time_limit(Duration::from_millis(self.timeout));
        Ok(match &self.known_failures {
            Some(file) => runner.known_failures(KnownFailures::parse(&read(file)?)),
            None => runner,
        })
    }
}

impl Which {
    fn select(&self) -> Select {
        Select {
            ids: self.filter.clone(),
            dialects: self.dialect.iter().map(|dialect| dialect.name().to_owned()).collect(),
            kinds: self.kind.clone(),
            classes: self.class.clone(),
        }
    }
}

fn program(command: &str) -> Result<Program, Failure> {
    let mut words = shlex::split(command)
        .ok_or_else(|| Failure::Usage("--testee: a quote is not closed".to_owned()))?
        .into_iter();
    let program = words.next().ok_or_else(|| Failure::Usage("--testee: there is no program".to_owned()))?;
    Ok(Program::new(program).args(words))
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| Failure::File { name: file.display().to_string(), error })
}

fn find<'a>(vectors: &'a [Vector], id: &str) -> Result<&'a Vector, Failure> {
    let found = vectors.iter().find(|vector| vector.id == id);
    found.ok_or_else(|| Failure::Usage(format!("there is no vector {id} (see fixp conformance --list)")))
}

fn class(name: &str) -> Result<Class, String> {
    Class::by_name(name)
        .ok_or_else(|| "not one of valid, lenient, invalid, refuse-encode, decode-only, note".to_owned())
}
