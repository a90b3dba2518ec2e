//! Why a call of a program gave no value.

use std::fmt;

use fixp_codec::Code;
use fixp_codec::rpc::{self, Throwable, Value};
use fixp_transport::{CallError, Cause, Fate};

use crate::failure::Executed;

/// What Java's reflection makes of what a method throws.
const BY_METHOD: &str = "java.lang.reflect.InvocationTargetException";

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
    /// The peer answered with this code, by which it turns calls away before it looks at them: AUTHENTICATE_FAILED of
    /// lexst1, SECURE_NOTIFY of laxcus6 (SPEC 12.2).
    TurnedAway(Code),
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
            Self::NotSent(_) | Self::Refused(_) | Self::TurnedAway(_) | Self::Unwritable(_) => Executed::No,
            // What cannot be read may say that the method was not reached.
            Self::MayHaveRun(_) | Self::NotAnAnswer(_) | Self::Unreadable(_) => Executed::Perhaps,
            Self::Threw(_) | Self::OtherType(_) => Executed::Yes,
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
            Some(cause) if *class == BY_METHOD => Self::Threw((**cause).clone()),
            // The method threw, whether or not it can be read what.
            None if *class == BY_METHOD => Self::Threw(thrown),
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
            Self::TurnedAway(code) => write!(f, "the server turned the call away by {code}"),
            Self::NotAnAnswer(code) => write!(f, "{code} is no answer to a call"),
            Self::Unwritable(error) => write!(f, "the call cannot be written: {error}"),
            Self::OtherType(_) => f.write_str("the result is of another type"),
            Self::Unreadable(error) => write!(f, "the answer cannot be read: {error}"),
        }?;
        write!(f, "; {}", self.executed())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    /// SPEC 12.5.
    #[test]
    fn what_a_method_threw_is_told_from_what_the_server_did() {
        let own = Throwable::new("demo.Own", "mine");
        let by_method = Throwable::invocation_target(own.clone());
        assert_eq!(Failure::of(own.clone()), Failure::Refused(own.clone()));
        assert_eq!(Failure::of(by_method.clone()), Failure::Threw(own));
        let bare = Throwable { cause: None, ..by_method };
        assert_eq!(Failure::of(bare.clone()), Failure::Threw(bare.clone()));
        assert_eq!(Failure::of(bare).executed(), Executed::Yes);
        let unread = Failure::Unreadable(rpc::Error::new(rpc::Cause::Cut, 0));
        assert_eq!(unread.executed(), Executed::Perhaps);
    }
}
