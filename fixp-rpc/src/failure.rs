//! Why a call has no result, so that its caller knows what to do next.
//!
//! ```
//! use fixp_rpc::{Executed, Failure, Never};
//!
//! let failure: Failure<Never> = Failure::Overloaded;
//! assert_eq!(failure.executed(), Executed::No);
//! assert_eq!(failure.to_string(), "the server has no room for the call; it was not executed");
//! ```

use std::fmt;

use fixp_transport::extension::Refusal;
use fixp_transport::{CallError, Cause, Fate};
use serde::{Deserialize, Serialize};

use crate::format::FormatError;

/// Why a call has no result. `E` is the method's own error.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Failure<E = Never> {
    /// The call has certainly not been executed: it was not sent, or not whole.
    NotSent(Cause),
    /// The call was sent, and whether it was executed nobody here knows.
    MayHaveRun(Cause),
    /// The method ran and returned this error.
    Failed(E),
    /// The server had no room for the call.
    Overloaded,
    /// The call's time was over before it began.
    Late,
    /// The call's time was over while it ran; its work was dropped.
    Expired,
    /// The server has no such interface.
    NoInterface,
    /// The interface has no such method.
    NoMethod,
    /// The argument does not decode at the server, which says why.
    BadArgument(FormatError),
    /// The server does not read the call's format; these it reads.
    Format(Box<str>),
    /// The argument cannot be written, or the batch that it stands in, so nothing was sent.
    Unwritable(FormatError),
    /// The arguments beside a stream have so many bytes, more than
    /// [`MAX_VALUE`](fixp_codec::MAX_VALUE), so nothing was sent.
    TooLong(usize),
    /// The method streams, and plain UDP has no streams, so nothing was sent.
    NoStreams,
    /// The server cannot read the batch that the call came in.
    BadBatch,
    /// The call stands in a batch of more calls than may be in one.
    TooMany,
    /// The method ran, and its result cannot be written, or is too large to be sent. The server may say why.
    NoResult(FormatError),
    /// The method ran, and its result does not decode here.
    BadResult(FormatError),
    /// The method ran, and what it gives is a stream, for which this call has no place, but
    /// [`Client::stream`](crate::Client::stream) has.
    Streams,
    /// The method ran and broke off: it panicked.
    Broken,
    /// The server answered what is no answer to a call.
    NotAnAnswer,
}

/// What is known of whether a call was executed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Executed {
    /// Certainly not: it may be sent again.
    No,
    /// Nobody knows: it may be sent again if repeating it is harmless.
    Perhaps,
    /// It was, to its end or up to where it broke off.
    Yes,
}

/// The error of a method that has none.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

impl<E> Failure<E> {
    /// Whether the call was executed.
    #[must_use]
    pub const fn executed(&self) -> Executed {
        match self {
            Self::NotSent(_)
            | Self::Overloaded
            | Self::Late
            | Self::NoInterface
            | Self::NoMethod
            | Self::BadArgument(_)
            | Self::Format(_)
            | Self::Unwritable(_)
            | Self::TooLong(_)
            | Self::NoStreams
            | Self::BadBatch
            | Self::TooMany => Executed::No,
            Self::MayHaveRun(_) | Self::NotAnAnswer => Executed::Perhaps,
            Self::Failed(_)
            | Self::Expired
            | Self::NoResult(_)
            | Self::Streams
            | Self::BadResult(_)
            | Self::Broken => Executed::Yes,
        }
    }

    /// Whether the same call may end better at another time or at another server, and has not been executed. One that
    /// cannot be written, or is too large, may not.
    #[must_use]
    pub const fn is_worth_repeating(&self) -> bool {
        match self {
            Self::NotSent(cause) => !never_fits(*cause),
            Self::Overloaded => true,
            _ => false,
        }
    }

    /// The same with another error of the method's own.
    pub fn map<F>(self, map: impl FnOnce(E) -> F) -> Failure<F> {
        match self {
            Self::Failed(error) => Failure::Failed(map(error)),
            Self::NotSent(cause) => Failure::NotSent(cause),
            Self::MayHaveRun(cause) => Failure::MayHaveRun(cause),
            Self::Overloaded => Failure::Overloaded,
            Self::Late => Failure::Late,
            Self::Expired => Failure::Expired,
            Self::NoInterface => Failure::NoInterface,
            Self::NoMethod => Failure::NoMethod,
            Self::BadArgument(error) => Failure::BadArgument(error),
            Self::Format(formats) => Failure::Format(formats),
            Self::Unwritable(error) => Failure::Unwritable(error),
            Self::TooLong(len) => Failure::TooLong(len),
            Self::NoStreams => Failure::NoStreams,
            Self::BadBatch => Failure::BadBatch,
            Self::TooMany => Failure::TooMany,
            Self::NoResult(why) => Failure::NoResult(why),
            Self::BadResult(error) => Failure::BadResult(error),
            Self::Streams => Failure::Streams,
            Self::Broken => Failure::Broken,
            Self::NotAnAnswer => Failure::NotAnAnswer,
        }
    }
}

impl Failure {
    /// The same as that of a call whose method has errors of its own, which this is none of: so that one `?` ends a
    /// function that calls several methods.
    ///
    /// ```
    /// use fixp_rpc::{Failure, Never};
    ///
    /// fn both(first: Result<u8, Failure>, second: Result<u8, Failure<String>>) -> Result<u8, Failure<String>> {
    ///     Ok(first.map_err(Failure::cast)? + second?)
    /// }
    /// assert_eq!(both(Err(Failure::Broken), Ok(1)), Err(Failure::Broken));
    /// ```
    #[must_use]
    pub fn cast<E>(self) -> Failure<E> {
        self.map(|never| match never {})
    }
}

/// Whether a call is what no server takes: it cannot be written, or is too large.
pub(crate) const fn never_fits(cause: Cause) -> bool {
    matches!(cause, Cause::Encode(_) | Cause::TooLarge { .. } | Cause::Refused(Refusal::TooLarge))
}

impl<E> From<CallError> for Failure<E> {
    fn from(error: CallError) -> Self {
        match (error.cause, error.fate) {
            // An earlier copy may have been executed all the same.
            (Cause::Refused(Refusal::Overloaded), Fate::NotSent) => Self::Overloaded,
            (Cause::Refused(Refusal::Late), Fate::NotSent) => Self::Late,
            (Cause::Refused(Refusal::Unwritable), _) => Self::NoResult(FormatError::default()),
            (cause, Fate::NotSent) => Self::NotSent(cause),
            (cause, Fate::PossiblyExecuted) => Self::MayHaveRun(cause),
        }
    }
}

impl fmt::Display for Executed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "it was not executed",
            Self::Perhaps => "it may have been executed",
            Self::Yes => "it was executed",
        })
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => return error.fmt(f),
            // What its caller can do is not the channel's to say.
            Self::NotSent(Cause::NotOurs) => write!(
                f,
                "{}, or was not asked (over TCP in lexst1 a channel must be told to announce itself first)",
                Cause::NotOurs
            ),
            Self::NotSent(cause) | Self::MayHaveRun(cause) => cause.fmt(f),
            Self::Overloaded => f.write_str("the server has no room for the call"),
            Self::Late => f.write_str("the call's time was over before it began"),
            Self::Expired => f.write_str("the call's time was over while it ran"),
            Self::NoInterface => f.write_str("the server has no such interface"),
            Self::NoMethod => f.write_str("the interface has no such method"),
            Self::BadArgument(error) => write!(f, "the server cannot read the argument: {error}"),
            Self::Format(formats) => write!(f, "the server does not read this format, but {formats}"),
            Self::Unwritable(error) => write!(f, "the argument cannot be written: {error}"),
            Self::TooLong(len) => {
                write!(f, "the arguments beside a stream have {len} bytes, too many for a message")
            }
            Self::NoStreams => f.write_str("plain UDP has no streams"),
            Self::BadBatch => f.write_str("the server cannot read the batch"),
            Self::TooMany => f.write_str("a batch of too many calls"),
            Self::NoResult(why) if why.as_str().is_empty() => f.write_str("the result cannot be sent"),
            Self::NoResult(why) => write!(f, "the result cannot be sent: {why}"),
            Self::BadResult(error) => write!(f, "the result cannot be read: {error}"),
            Self::Streams => f.write_str("the method gives a stream, for which the call has no place"),
            Self::Broken => f.write_str("the method broke off"),
            Self::NotAnAnswer => f.write_str("what the server answered is no answer to a call"),
        }?;
        let in_part = if matches!(self, Self::Expired | Self::Broken) { " in part" } else { "" };
        write!(f, "; {}{in_part}", self.executed())
    }
}

impl<E: fmt::Display + fmt::Debug> std::error::Error for Failure<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    type Own = Failure<Never>;

    /// SPEC 13.4.
    #[test]
    fn what_expired_was_executed_in_part() {
        assert_eq!(Own::Expired.executed(), Executed::Yes);
        let told = "the call's time was over while it ran; it was executed in part";
        assert_eq!(Own::Expired.to_string(), told);
        assert_eq!(Own::Broken.to_string(), "the method broke off; it was executed in part");
    }

    #[test]
    fn what_never_fits_is_not_worth_repeating() {
        let read = fixp_codec::Decoder::new(&fixp_codec::LAXCUS6).packet(&[]).map(|_| ());
        let encode = Cause::Encode(read.expect_err("nothing is no packet"));
        for cause in [encode, Cause::TooLarge { size: 2, limit: 1 }, Cause::Refused(Refusal::TooLarge)] {
            assert!(!Own::NotSent(cause).is_worth_repeating(), "{cause:?}");
        }
        for cause in [Cause::Timeout, Cause::Full, Cause::Refused(Refusal::Gap), Cause::Closed] {
            assert!(Own::NotSent(cause).is_worth_repeating(), "{cause:?}");
        }
        assert!(Own::Overloaded.is_worth_repeating() && !Own::Late.is_worth_repeating());
    }
}
