//! What the transport bench is made of.

pub mod args;
pub mod fixp;
pub mod raw;
pub mod sample;
pub mod table;
