//! The arguments: one command a file, and what all of them share.

use clap::{Parser, Subcommand, ValueEnum};
use conformance_vectors::exit::Exit;

use crate::commands::{
    call, completions, conformance, decode, describe, dialects, encode, explain, list, load, ping, send,
    serve, testee,
};
use crate::failure::Failure;

const AFTER: &str = "\
Examples:
  fixp explain 87000105010100fc03015000
  fixp decode capture.bin
  fixp encode '{\"type\":\"request\",\"major\":1,\"minor\":5}'
  fixp serve --echo
  fixp ping 127.0.0.1:5000 -c 4
  fixp send 127.0.0.1:5000 --request NOTIFY/TEST
  fixp call 127.0.0.1:5000 Echo.add '[2, 3]'
  fixp conformance --testee 'python3 testee.py'

Exit codes:
  0  all is well
  1  the input is broken, vectors failed, or a peer did not answer
  2  wrong arguments, or a file named by an option cannot be used
  3  the testee could not be run";

/// Packets of FIXP, the Free Information eXchange Protocol of the Laxcus big-data system.
#[derive(Debug, Parser)]
#[command(name = "fixp", version, max_term_width = 100, after_help = AFTER)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Use colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto", global = true, display_order = 100)]
    color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    Explain(explain::Args),
    Decode(decode::Args),
    Encode(encode::Args),
    Serve(serve::Args),
    Send(send::Args),
    Ping(ping::Args),
    Load(load::Args),
    List(list::Args),
    Describe(describe::Args),
    Call(call::Args),
    Conformance(conformance::Args),
    Testee(testee::Args),
    Dialects(dialects::Args),
    Completions(completions::Args),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl Cli {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self.color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        match self.command {
            Command::Explain(args) => args.run(),
            Command::Decode(args) => args.run(),
            Command::Encode(args) => args.run(),
            Command::Serve(args) => args.run(),
            Command::Send(args) => args.run(),
            Command::Ping(args) => args.run(),
            Command::Load(args) => args.run(),
            Command::List(args) => args.run(),
            Command::Describe(args) => args.run(),
            Command::Call(args) => args.run(),
            Command::Conformance(args) => args.run(),
            Command::Testee(args) => args.run(),
            Command::Dialects(args) => args.run(),
            Command::Completions(args) => args.run(),
        }
    }
}
