//! Those who answer a runner, and what can go wrong with them.

use std::fmt;
use std::time::Duration;

use crate::protocol::{Answer, Op};

/// Somebody who answers.
pub(crate) trait Answerer {
    /// Asks and waits for the answer.
    fn ask(&mut self, op: Op) -> Result<Answer, Trouble>;
}

/// The answerer cannot be used any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It could not be started.
    NotStarted(String),
    /// It ended, or closed its output.
    Ended(String),
    /// It did not answer in time.
    Silent(Duration),
    /// It wrote something that is no answer.
    NoAnswer { line: String, detail: String },
    /// It answered another request.
    OtherSeq { asked: u64, answered: Option<u64> },
    /// It wrote a line longer than this.
    TooLong(usize),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(detail) => write!(f, "the testee could not be started: {detail}"),
            Self::Ended(status) => write!(f, "the testee ended without an answer ({status})"),
            Self::Silent(limit) => write!(f, "no answer within {limit:?}"),
            Self::NoAnswer { line, detail } => write!(f, "its line is not an answer ({detail}): {line}"),
            Self::OtherSeq { asked, answered: Some(answered) } => {
                write!(f, "asked with seq {asked}, answered with seq {answered}")
            }
            Self::OtherSeq { asked, answered: None } => {
                write!(f, "asked with seq {asked}, answered without one")
            }
            Self::TooLong(limit) => write!(f, "its line is longer than {limit} bytes"),
        }
    }
}
