//! Why a call of a program gave no value.

use std::fmt;

use fixp_codec::Code;
use fixp_codec::rpc::{self, Throwable, Value};
use fixp_transport::{CallError, Cause, Fate};

use crate::failure::Executed;

/// Why a call gave no value.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The call has certainly not been executed: it was not sent, or not whole.
    NotSent(Cause),
    /// The call was sent, and whether it was executed nobody here knows. A program that cannot write a result gives
    /// no answer, so this is the end of such a call, too (SPEC 12.7).
    MayHaveRun(Cause),
    /// The method threw this.
    Threw(Throwable),
    /// The server threw this before it came to the method: the interface or the method is not there, an argument is
    /// of another type, or the call cannot be read (SPEC 12.4 to 12.6).
    Refused(Throwable),
    /// The peer answered with this code, and with nothing that is an answer to a call.
    NotAnAnswer(Code),
    /// The call cannot be written in the dialect, so nothing was sent.
    Unwritable(rpc::Error),
    /// The answer cannot be read.
    Unreadable(rpc::Error),
    /// The result is of another type than was awaited.
    OtherType(Value),
}

impl Failure {
    /// Whether the call was executed.
    #[must_use]
    pub const fn executed(&self) -> Executed {
        match self {
            Self::NotSent(_) | Self::Refused(_) | Self::Unwritable(_) => Executed::No,
            Self::MayHaveRun(_) | Self::NotAnAnswer(_) => Executed::Perhaps,
            Self::Threw(_) | Self::Unreadable(_) | Self::OtherType(_) => Executed::Yes,
        }
    }

    /// What was thrown there: its class, its message, its trace, and what caused it.
    #[must_use]
    pub const fn thrown(&self) -> Option<&Throwable> {
        match self {
            Self::Threw(thrown) | Self::Refused(thrown) => Some(thrown),
            _ => None,
        }
    }

    /// What a server threw: of its method, or by itself (SPEC 12.5).
    pub(crate) fn of(thrown: Throwable) -> Self {
        let Throwable { class, cause, .. } = &thrown;
        match cause {
            Some(cause) if *class == "java.lang.reflect.InvocationTargetException" => {
                Self::Threw((**cause).clone())
            }
            _ => Self::Refused(thrown),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error.fate {
            Fate::NotSent => Self::NotSent(error.cause),
            Fate::PossiblyExecuted => Self::MayHaveRun(error.cause),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threw(thrown) => return thrown.fmt(f),
            Self::NotSent(cause) | Self::MayHaveRun(cause) => cause.fmt(f),
            Self::Refused(thrown) => write!(f, "the server refused the call: {thrown}"),
            Self::NotAnAnswer(code) => write!(f, "{code} is no answer to a call"),
            Self::Unwritable(error) => write!(f, "the call cannot be written: {error}"),
            Self::OtherType(_) => f.write_str("the result is of another type"),
            Self::Unreadable(error) => write!(f, "the answer cannot be read: {error}"),
        }?;
        write!(f, "; {}", self.executed())
    }
}

impl std::error::Error for Failure {}
