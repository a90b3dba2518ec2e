//! The commands, one a file: its arguments, and `run`.

pub(crate) mod call;
pub(crate) mod completions;
pub(crate) mod conformance;
pub(crate) mod decode;
pub(crate) mod describe;
pub(crate) mod dialects;
pub(crate) mod encode;
pub(crate) mod explain;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod ping;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod testee;
