//! The exit codes of a conformance run.

use std::process::ExitCode;

/// How a program that ran the vectors should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was run passed, and something was run.
    Passed,
    /// A vector failed, a known failure passed, or no vector was run at all.
    Failed,
    /// The run was not begun: wrong arguments, or a file that cannot be used.
    Usage,
    /// The testee could not be run.
    NotRun,
}

impl Exit {
    /// The code of the process.
    pub fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotRun => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
