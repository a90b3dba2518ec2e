//! Where output goes. A reader who closes the pipe has seen enough: that is never an error.

use std::fmt;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};

use anstream::AutoStream;

use crate::failure::Failure;
use crate::style::{BOLD, ERROR};
use crate::visible::visible;

/// Standard output as it is, in large pieces.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Prints what somebody waits for. A reader who closes the pipe is told to the caller, who may go on for ever.
pub(crate) fn at_once(
    write: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = stdout();
    write(&mut out)?;
    out.flush()
}

/// Writes text that may have colours in it; they are taken out where nobody can see them.
pub(crate) fn print(text: impl fmt::Display) -> Result<(), Failure> {
    let stdout = io::stdout().lock();
    let choice = AutoStream::choice(&stdout);
    let mut out = BufWriter::with_capacity(1 << 16, AutoStream::new(stdout, choice));
    quietly(write!(out, "{text}").and_then(|()| out.flush()))
}

/// A closed pipe is no error, and must not hide how the command ended.
pub(crate) fn quietly(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Whether colours go to standard output.
pub(crate) fn is_colored() -> bool {
    AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Says on standard error why the command ends.
pub(crate) fn complain(failure: &Failure) {
    if matches!(failure, Failure::Output(error) if error.kind() == ErrorKind::BrokenPipe) {
        return;
    }
    // It may quote what a peer or a file says.
    let failure = visible(&failure.to_string());
    // If this cannot be written either, there is nobody left to tell.
    let _ = writeln!(anstream::stderr().lock(), "{ERROR}fixp:{ERROR:#} {failure}");
}

/// Says on standard error what the user should know though all is well.
pub(crate) fn note(text: impl fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{BOLD}fixp: note:{BOLD:#} {text}");
}
