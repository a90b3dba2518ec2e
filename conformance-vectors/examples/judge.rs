//! Judges a program that speaks the testee protocol, and ends with the exit code of the run:
//!
//! ```text
//! cargo run --example judge -- python3 testees/python/testee.py
//! ```

use std::env;
use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use conformance_vectors::exit::Exit;
use conformance_vectors::runner::{Program, Runner, Target};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut command = env::args_os().skip(1);
    let Some(program) = command.next() else {
        eprintln!("which program?");
        return Ok(Exit::Usage.into());
    };
    let vectors = conformance_vectors::all()?;
    let target = Target::Command(Program::new(program).args(command));
    Ok(match Runner::new(target).run(&vectors) {
        Ok(report) => {
            print!("{}", report.text(std::io::stdout().is_terminal()));
            report.exit().into()
        }
        Err(error) => {
            eprintln!("{error}");
            error.exit().into()
        }
    })
}
