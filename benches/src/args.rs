//! The command line of `compare`.

use std::path::PathBuf;
use std::time::Duration;

/// How it is used.
pub const USAGE: &str = "\
usage: compare [--rounds N] [--batch MS] [--pin CORE] [--case TEXT] [--markdown] [--json FILE] [--check]

  --rounds N    rounds, each a batch of every competitor in turn (15)
  --batch MS    milliseconds of a batch (3)
  --pin CORE    run on this core alone, by taskset of util-linux
  --case TEXT   only cases whose names contain this
  --markdown    print the tables in Markdown
  --json FILE   also write every round of every row to a file
  --check       exit 1 if a target is missed
";

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Args {
    /// Rounds, at least one.
    pub rounds: usize,
    /// The time of a batch.
    pub batch: Duration,
    /// The core to keep to.
    pub pin: Option<usize>,
    /// A part of the names of the cases to run.
    pub case: Option<String>,
    /// Whether to print Markdown.
    pub markdown: bool,
    /// Where to write all numbers.
    pub json: Option<PathBuf>,
    /// Whether a missed target is a failure.
    pub check: bool,
}

impl Args {
    /// Reads the arguments behind the program's name.
    ///
    /// # Errors
    ///
    /// What is wrong with them, as a sentence.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self {
            rounds: 15,
            batch: Duration::from_millis(3),
            pin: None,
            case: None,
            markdown: false,
            json: None,
            check: false,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match &*arg {
                "--rounds" => parsed.rounds = number(&arg, &value()?)?.max(1),
                "--batch" => parsed.batch = Duration::from_millis(number(&arg, &value()?)?.max(1) as u64),
                "--pin" => parsed.pin = Some(number(&arg, &value()?)?),
                "--case" => parsed.case = Some(value()?),
                "--json" => parsed.json = Some(value()?.into()),
                "--markdown" => parsed.markdown = true,
                "--check" => parsed.check = true,
                _ => return Err(format!("unknown argument {arg}")),
            }
        }
        Ok(parsed)
    }

    /// Whether a case is to be run.
    #[must_use]
    pub fn wants(&self, case: &str) -> bool {
        self.case.as_ref().is_none_or(|part| case.contains(&**part))
    }
}

fn number(arg: &str, text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{arg} needs a number, not {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_are_read_or_refused() {
        let args = parse("--rounds 3 --pin 1 --check").expect("good arguments");
        assert_eq!((args.rounds, args.pin, args.check, args.markdown), (3, Some(1), true, false));
        assert_eq!(parse("--rounds"), Err("--rounds needs a value".to_owned()));
        assert_eq!(parse("--pin one"), Err("--pin needs a number, not one".to_owned()));
        assert_eq!(parse("--help me"), Err("unknown argument --help".to_owned()));
    }
}
