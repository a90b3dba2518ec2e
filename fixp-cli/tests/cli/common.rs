//! Runs the command and says how it ended.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs, thread};

/// Recorded from Laxcus 6.0: request NOTIFY CASTHELO with one string.
pub(crate) const CASTHELO: &str = "8700011f010200e8030f304e4f544946595f4341535448454c4ffc03015000";
/// What it says.
pub(crate) const CASTHELO_JSON: &str = r#"{"type":"request","major":1,"minor":31,"version":256,"messages":[{"key":1000,"type":"string","value":"NOTIFY_CASTHELO"},{"key":1020,"type":"int32","value":0}],"data":""}"#;

/// Recorded from lexst 1.x: request APP ADD_LOG with one number and an entity of one byte.
pub(crate) const ADD_LOG: &str = "870001040902008813016000060401600114";
/// What it says.
pub(crate) const ADD_LOG_JSON: &str = r#"{"type":"request","major":4,"minor":9,"version":256,"messages":[{"key":5000,"type":"int32","value":0},{"key":1030,"type":"int32","value":1}],"data":"14"}"#;

/// How the command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) raw: Vec<u8>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// It did what was asked, and had nothing to remark.
    #[track_caller]
    pub(crate) fn fine(self) -> String {
        assert_eq!((self.code, self.remarks()), (Some(0), String::new()), "{self:?}");
        self.out
    }

    /// What it had to remark, but that this machine has few descriptors.
    pub(crate) fn remarks(&self) -> String {
        let few = "fixp: note: the system lets this process have ";
        self.err.split_inclusive('\n').filter(|line| !line.starts_with(few)).collect()
    }

    /// It refused with this exit code and this one sentence.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, sentence: &str) {
        assert_eq!(
            (self.code, self.err.as_str()),
            (Some(code), format!("fixp: {sentence}\n").as_str()),
            "{self:?}"
        );
    }
}

/// The command, without what the user's terminal has set.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fixp"));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}

/// Runs it with nothing on standard input.
pub(crate) fn fixp<const N: usize>(args: [&str; N]) -> Ended {
    ended(command().args(args), b"")
}

/// Runs it with something on standard input.
pub(crate) fn fixp_reading<const N: usize>(input: impl AsRef<[u8]>, args: [&str; N]) -> Ended {
    ended(command().args(args), input.as_ref())
}

pub(crate) fn ended(command: &mut Command, input: &[u8]) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // One that refuses its arguments does not read.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("the command ends")
    });
    Ended {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        raw: output.stdout,
    }
}

/// A file of this content. The name must be the test's own.
pub(crate) fn file(name: &str, content: impl AsRef<[u8]>) -> String {
    let path = path(name);
    fs::write(&path, content).expect("a file is written");
    path.to_str().expect("a path of this project").to_owned()
}

/// Where a file of this name would be.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).expect("hex")
}
