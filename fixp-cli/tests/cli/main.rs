//! The command as its users see it: arguments in, output and exit code out.

mod call;
mod common;
mod conformance;
mod decode;
mod dialects;
mod encode;
mod explain;
mod face;
mod input;
mod load;
mod ping;
mod raw;
mod round_trip;
mod send;
mod serve;
mod served;
mod testee;
