//! `fixp`: packets of FIXP, the *Free Information eXchange Protocol* of the Laxcus big-data system, on the command line.
//!
//! A face on the crates, with no logic of its own: `fixp-codec` reads and writes, `fixp-transport` carries,
//! `conformance-vectors` judges. What is here reads arguments and files, and prints.

mod cli;
mod commands;
mod descriptors;
mod dialects;
mod exact_json;
mod failure;
mod hex_text;
mod input;
mod json_text;
mod kind;
mod latency;
mod names;
mod output;
mod peer;
mod policy;
mod runtime;
mod span;
mod style;
mod visible;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::complain(&failure);
            failure.exit().into()
        }
    }
}
