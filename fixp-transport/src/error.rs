//! What can become of a request that gets no answer, as small values.
//!
//! ```
//! use fixp_transport::{CallError, Cause, Fate};
//!
//! let error = CallError { cause: Cause::Timeout, fate: Fate::PossiblyExecuted };
//! assert_eq!(error.to_string(), "no answer in time; the request may have been executed");
//! ```

use std::fmt;
use std::io;

use crate::extension::Refusal;

/// Why a request has no answer, and what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallError {
    /// Why.
    pub cause: Cause,
    /// Whether it may have been executed.
    pub fate: Fate,
}

/// What is known of a request without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    /// It has certainly not been executed: the socket took no whole head of it, which is when a server may begin, or
    /// the peer says so.
    NotSent,
    /// It was sent, and whether it was executed nobody here knows.
    PossiblyExecuted,
}

/// Why a request has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// Its time was over.
    Timeout,
    /// The connection was lost: by [`TimedOut`](io::ErrorKind::TimedOut) where its peer was silent for too long, be it that
    /// where answers come in order another request had none in time.
    Lost(io::ErrorKind),
    /// The peer ended the connection in order.
    Ended,
    /// No connection could be made.
    Connect(io::ErrorKind),
    /// The peer wants what we do not do: its answer to SECURE_QUERY had this code or mode.
    Security(u16),
    /// The channel has been closed from this side.
    Closed,
    /// The channel's queue is full, and the caller did not want to wait.
    Full,
    /// The request is larger than the channel takes, or, if it was sent, the entity of its answer.
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The request cannot be written in the dialect.
    Encode(fixp_codec::Error),
    /// The peer sent what cannot be read; the connection has been closed.
    Decode(fixp_codec::Error),
    /// The peer sent an answer that nobody waits for, or a request; the connection has been closed.
    Unexpected,
    /// The peer refused it.
    Refused(Refusal),
    /// An ordered channel was asked for, and the peer has none.
    NotOrdered,
    /// It is one of our own commands, and the peer has not announced that it knows them.
    NotOurs,
    /// The entity of the request, or of the answer, broke off.
    Body(crate::BodyError),
}

impl CallError {
    /// A request that was certainly not sent.
    #[must_use]
    pub const fn not_sent(cause: Cause) -> Self {
        Self { cause, fate: Fate::NotSent }
    }

    /// A request that the peer has refused. A server that has forgotten an ordered channel has executed nothing of
    /// it just now.
    #[must_use]
    pub const fn refused(refusal: Refusal) -> Self {
        let cause = Cause::Refused(refusal);
        if refusal.is_unexecuted() || matches!(refusal, Refusal::Forgotten) {
            Self::not_sent(cause)
        } else {
            Self::possibly_executed(cause)
        }
    }

    /// A request that may have been executed.
    #[must_use]
    pub const fn possibly_executed(cause: Cause) -> Self {
        Self { cause, fate: Fate::PossiblyExecuted }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "the request was certainly not executed",
            Self::PossiblyExecuted => "the request may have been executed",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Lost(kind) => write!(f, "the connection was lost: {kind}"),
            Self::Ended => f.write_str("the peer ended the connection"),
            Self::Connect(kind) if is_nameless(*kind) => {
                f.write_str("no connection: a reason without a name, perhaps that no descriptors are left")
            }
            Self::Connect(kind) => write!(f, "no connection: {kind}"),
            Self::Security(code) => write!(f, "the peer wants security that is not there ({code})"),
            Self::Closed => f.write_str("the channel is closed"),
            Self::Full => f.write_str("the channel is full"),
            Self::TooLarge { size, limit } => write!(f, "{size} bytes, where {limit} are taken"),
            Self::Encode(error) => write!(f, "the request cannot be written: {error}"),
            Self::Decode(error) => write!(f, "the peer sent what cannot be read: {error}"),
            Self::Unexpected => f.write_str("the peer sent a packet that nobody asked for"),
            Self::Refused(refusal) => write!(f, "the peer refused the request: {refusal}"),
            Self::NotOrdered => f.write_str("the peer has no ordered channels"),
            Self::NotOurs => f.write_str("the peer has not announced our extensions"),
            Self::Body(error) => error.fmt(f),
        }
    }
}

/// Whether it is the kind of all errors that std knows no kind of, such as those for want of descriptors. That has no
/// name to compare with, so it is compared with what an error is that no system has.
fn is_nameless(kind: io::ErrorKind) -> bool {
    kind == io::Error::from_raw_os_error(i32::MAX).kind()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap => f.write_str("the request before it has not come"),
            Self::Forgotten => f.write_str("its ordered channel is forgotten"),
            Self::NotKept => f.write_str("it was executed before, and its answer is no longer kept"),
            Self::Overloaded => f.write_str("no room"),
            Self::Late => f.write_str("its time was over"),
            Self::TooLarge => f.write_str("its entity is too large"),
            Self::Unwritable => f.write_str("it was executed, and its answer cannot be written"),
            Self::Silent => f.write_str("it was executed, and has no answer"),
            Self::Other(number) => write!(f, "reason {number}"),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause, self.fate)
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// EMFILE has no kind of its own.
    #[cfg(unix)]
    #[test]
    fn a_reason_without_a_name() {
        let said = |number| Cause::Connect(io::Error::from_raw_os_error(number).kind()).to_string();
        assert_eq!(said(24), "no connection: a reason without a name, perhaps that no descriptors are left");
        assert_eq!(said(1), "no connection: permission denied");
    }
}
