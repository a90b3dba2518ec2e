//! Why a command ends early, in one sentence.

use std::{fmt, io};

use conformance_vectors::LoadError;
use conformance_vectors::exit::Exit;
use conformance_vectors::runner::RunError;
use fixp_transport::CallError;
use fixp_transport::server::ServerError;
use fixp_transport::server::config::ConfigError;

use crate::hex_text::BadHex;
use crate::json_text::BadJson;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The bytes are not what they should be. The offset is that of the whole input.
    Broken(fixp_codec::Error),
    /// What the JSON describes cannot be written. `offset`: where the JSON of the packet begins.
    Unwritable { error: fixp_codec::Error, offset: usize },
    /// A text that should be hex is not.
    Hex(BadHex),
    /// An argument is neither hex nor a file.
    Argument(BadHex),
    /// A text that should be JSON is not, or not that of a packet.
    Json(BadJson),
    /// The input cannot be read.
    Input { name: String, error: io::Error },
    /// The input is longer than `--max-bytes`.
    TooLong { name: String, limit: u64 },
    /// The output cannot be written.
    Output(io::Error),
    /// The arguments do not go together.
    Usage(String),
    /// A file named by an option cannot be used.
    File { name: String, error: io::Error },
    /// The vectors inside this program cannot be read.
    Vectors(LoadError),
    /// There was no run.
    Run(RunError),
    /// The configuration of a server is wrong.
    Config { name: String, error: ConfigError },
    /// A server could not be started.
    Server(ServerError),
    /// A request has no answer.
    Call(CallError),
    /// A remote call has no result.
    Rpc(fixp_rpc::Failure),
    /// A method returned an error of its own: its JSON.
    Method(String),
    /// A peer cannot be talked to.
    Peer { name: String, error: io::Error },
    /// The system does not give what a command needs.
    System(io::Error),
    /// A command was told that something is so, and it is not.
    NotSo(String),
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::File { .. } | Self::Config { .. } => Exit::Usage,
            Self::Run(error) => error.exit(),
            // Whoever reads our output has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Passed,
            _ => Exit::Failed,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => write!(f, "{error}"),
            Self::Unwritable { error, offset } => write!(f, "{error} (of the JSON at byte {offset})"),
            Self::Hex(bad) => write!(f, "{bad}"),
            Self::Argument(bad) => write!(f, "{bad}, and there is no file of this name"),
            Self::Json(bad) => write!(f, "{bad}"),
            Self::Input { name, error } => write!(f, "cannot read {name}: {error}"),
            Self::TooLong { name, limit } => {
                write!(f, "limit at byte {limit}: {name} is longer (--max-bytes)")
            }
            Self::Output(error) => write!(f, "cannot write: {error}"),
            Self::Usage(what) | Self::NotSo(what) => f.write_str(what),
            Self::File { name, error } => write!(f, "cannot use {name}: {error}"),
            Self::Vectors(error) => write!(f, "the vectors inside this program: {error}"),
            Self::Run(error) => write!(f, "{error}"),
            Self::Config { name, error } => write!(f, "cannot use {name}: {error}"),
            Self::Server(error) => write!(f, "cannot serve: {error}"),
            Self::Call(error) => write!(f, "{error}"),
            Self::Rpc(failure) => write!(f, "{failure}"),
            Self::Method(error) => write!(f, "the method returned an error: {error}"),
            Self::Peer { name, error } => write!(f, "{name}: {error}"),
            Self::System(error) => write!(f, "{error}"),
        }
    }
}

impl From<fixp_codec::Error> for Failure {
    fn from(error: fixp_codec::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<fixp_rpc::Failure> for Failure {
    fn from(failure: fixp_rpc::Failure) -> Self {
        Self::Rpc(failure)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
