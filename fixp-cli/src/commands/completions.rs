//! `fixp completions`: what a shell wants to know.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;
use conformance_vectors::exit::Exit;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output;

const AFTER: &str = "\
Examples:
  fixp completions bash > ~/.local/share/bash-completion/completions/fixp
  fixp completions zsh > ~/.zfunc/_fixp
  fixp completions fish > ~/.config/fish/completions/fixp.fish";

/// Print the completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        // Into memory first: the generator panics where it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "fixp", &mut script);
        let mut out = output::stdout();
        output::quietly(out.write_all(&script).and_then(|()| out.flush()))?;
        Ok(Exit::Passed)
    }
}
