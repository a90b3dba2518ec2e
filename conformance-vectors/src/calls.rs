//! The JSON forms of remote calls and their answers; docs/CONFORMANCE.md tells them.
//!
//! Between Java's values and JSON something is lost in both directions: JSON does not know which of two equal
//! texts are one object, and of most objects it is not known here how their class writes them. Such a value is
//! read and not written: [`Unmade::Skipped`].

mod names;
mod read;
mod show;

pub(crate) use read::{call_of, reply_of};
pub(crate) use show::{call_form, reply_form};

use crate::codec::Refusal;

/// Why there is no value for a JSON form.
#[derive(Debug)]
pub(crate) enum Unmade {
    /// It is one that this project does not make.
    Skipped(String),
    /// It is none.
    Refused(Refusal),
}

impl From<Refusal> for Unmade {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
