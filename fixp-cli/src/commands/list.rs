//! `fixp list`: the interfaces of a server of ours.

use std::time::Duration;

use conformance_vectors::exit::Exit;
use fixp_rpc::describe::DirectoryClient;

use crate::failure::Failure;
use crate::json_text::{self, Layout};
use crate::peer::Peer;
use crate::visible::visible;
use crate::{output, span};

const AFTER: &str = "\
Examples:
  fixp list 127.0.0.1:5000
  fixp list 127.0.0.1:5000 --udp --dialect lexst1
  fixp list 127.0.0.1:5000 --json

Exit codes:
  0  the server told them
  1  it did not
  2  wrong arguments";

/// List the interfaces that can be called at a server
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    #[command(flatten)]
    peer: Peer,

    /// How long the answer may take
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = span::some_time)]
    timeout: Duration,

    /// Print them as JSON, for machines
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let names = self
            .peer
            .calling(self.timeout, async |client| Ok(DirectoryClient::new(client.clone()).list().await?))?;
        if self.json {
            output::at_once(|out| json_text::write(out, &names, Layout::Line))?;
        } else {
            output::print(text(&names))?;
        }
        Ok(Exit::Passed)
    }
}

/// A name on a line.
fn text(names: &[String]) -> String {
    names.iter().map(|name| visible(name) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_play_with_the_terminal() {
        assert_eq!(text(&["Echo".to_owned(), "a\u{1b}]0;b\u{7}".to_owned()]), "Echo\na\\u{1b}]0;b\\u{7}\n");
    }
}
