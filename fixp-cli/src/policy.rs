//! The policies of a reader, as an argument.

use clap::ValueEnum;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Policy {
    // Canonical bytes and nothing else (SPEC 7.3).
    Strict,
    // Also what the recorded programs take (SPEC 7.4).
    Compatible,
}

impl Policy {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Compatible => "compatible",
        }
    }
}

impl From<Policy> for fixp_codec::Policy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Strict => Self::Strict,
            Policy::Compatible => Self::Compatible,
        }
    }
}
