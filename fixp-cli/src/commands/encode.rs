//! `fixp encode`: JSON to bytes.

use std::io::Write;

use conformance_vectors::exit::Exit;
use fixp_codec::{Dialect, Encoder};

use crate::dialects::{DEFAULT, named};
use crate::failure::Failure;
use crate::input::Input;
use crate::kind::Kind;
use crate::output;

const AFTER: &str = "\
The JSON is that of `fixp decode`; several packets may follow each other, on a
line each or in any other way. `version`, `messages` and `data` may be left out,
and a packet without CONTENT_LENGTH gets one as its last message. A line of hex
is printed for each packet.

Examples:
  fixp encode '{\"type\":\"request\",\"major\":1,\"minor\":5,\"data\":\"cafe\"}'
  fixp encode --kind message '{\"key\":1000,\"type\":\"string\",\"value\":\"TEST!\"}'
  fixp encode --dialect lexst1 --raw packets.jsonl > packets.bin
  fixp decode --dialect lexst1 capture.bin --json | fixp encode --dialect lexst1 -

Exit codes:
  0  everything was encoded
  1  the JSON is broken, or says what the wire cannot carry
  2  wrong arguments";

/// Turn JSON into bytes
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,

    /// What the JSON describes
    #[arg(long, value_enum, default_value = "packet")]
    kind: Kind,

    /// The dialect to write
    #[arg(long, value_name = "DIALECT", default_value = DEFAULT, value_parser = named())]
    dialect: &'static Dialect,

    /// Print the bytes themselves; never to a terminal
    #[arg(long)]
    raw: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if self.raw && output::is_terminal() {
            return Err(Failure::Usage(
                "--raw: standard output is a terminal, send it to a file or a pipe".to_owned(),
            ));
        }
        let text = self.input.json()?;
        let mut out = output::stdout();
        let encoded = self.kind.encode(&Encoder::new(self.dialect), &text, |bytes| {
            if self.raw {
                out.write_all(bytes)?;
            } else {
                writeln!(out, "{}", hex::encode(bytes))?;
            }
            Ok(())
        });
        // What stands before the error is printed, and in front of it.
        output::quietly(out.flush())?;
        encoded.map(|()| Exit::Passed)
    }
}
