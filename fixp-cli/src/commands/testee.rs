//! `fixp testee`: the codec as a testee.

use std::io;

use conformance_vectors::exit::Exit;
use conformance_vectors::testee::serve;

use crate::failure::Failure;
use crate::output;
use crate::policy::Policy;

const AFTER: &str = "\
One JSON request a line on standard input, one answer a line on standard output,
until the input ends.

Examples:
  echo '{\"seq\":0,\"op\":\"hello\",\"protocol\":1}' | fixp testee
  fixp conformance --testee 'fixp testee --policy strict'

Exit codes:
  0  the input has ended
  1  input or output failed
  2  wrong arguments";

/// Serve the testee protocol with the built-in codec
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    /// What the reader takes
    #[arg(long, value_enum, default_value = "compatible")]
    policy: Policy,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        output::quietly(serve(self.policy.into(), io::stdin().lock(), output::stdout()))?;
        Ok(Exit::Passed)
    }
}
