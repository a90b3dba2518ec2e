//! What the transport bench is made of.

pub mod fixp;
pub mod raw;
#[allow(missing_docs, reason = "tarpc's macro writes items without any")]
pub mod rpc;
pub mod sample;
pub mod table;
