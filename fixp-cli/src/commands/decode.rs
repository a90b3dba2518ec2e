//! `fixp decode`: bytes to JSON.

use std::io::Write;

use conformance_vectors::exit::Exit;
use fixp_codec::Decoder;

use crate::dialects::WhichDialect;
use crate::failure::Failure;
use crate::input::BytesInput;
use crate::json_text::{self, Layout};
use crate::kind::Kind;
use crate::output;
use crate::policy::Policy;

const AFTER: &str = "\
Packets that follow each other in one input are decoded one after another. The
JSON is that of the conformance protocol: an int64 is a decimal string, floats
are bit patterns in hex, bytes are hex; `data` is the entity.
An argument is hex, in which white space, colons and 0x do not matter; a file or
standard input is hex if it has nothing else in it, and raw bytes if it has.

Examples:
  fixp decode 87000105010100fc03015000
  fixp decode capture.bin --json | jq .code
  fixp decode --dialect lexst1 --policy strict @packet.hex
  fixp decode --dialect lexst1 capture.bin --json |
    fixp encode --dialect lexst1 - --raw > same.bin

Exit codes:
  0  everything was decoded
  1  the input is broken; what was decoded before that is printed
  2  wrong arguments";

/// Turn bytes into JSON
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    #[command(flatten)]
    input: BytesInput,

    /// What the input consists of
    #[arg(long, value_enum, default_value = "packet")]
    kind: Kind,

    #[command(flatten)]
    dialect: WhichDialect,

    /// What the reader takes
    #[arg(long, value_enum, default_value = "compatible")]
    policy: Policy,

    /// Print one line per packet, for machines
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let input = self.input.read()?;
        let mut out = output::stdout();
        let decoded = self.decode(&input, &mut out);
        // What stands before the error is printed, and in front of it.
        output::quietly(out.flush())?;
        decoded.map(|()| Exit::Passed)
    }

    fn decode(&self, input: &[u8], mut out: impl Write) -> Result<(), Failure> {
        let layout = if self.json { Layout::Line } else { Layout::Readable };
        let mut teller = self.dialect.teller();
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let decoder = Decoder::new(teller.dialect(self.kind, rest))
                .with_policy(self.policy.into())
                .with_limits(self.input.limits());
            let (decoded, length) = self.kind.decode(&decoder, rest).map_err(|error| error.moved(at))?;
            json_text::write(&mut out, &decoded, layout)?;
            at += length;
            if at >= input.len() {
                return Ok(());
            }
        }
    }
}
