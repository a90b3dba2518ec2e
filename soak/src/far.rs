//! The server's process, as its conductor sees it.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::Failure;

/// The server's process. It ends when this is dropped.
pub(crate) struct Far {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// The address of the server.
    pub(crate) addr: SocketAddr,
    /// The descriptors that its process may have.
    pub(crate) descriptors: usize,
}

/// What the server's process holds, and what its server has done. (The resident memory is 0 where the system
/// does not tell it.)
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holding {
    pub(crate) live: u64,
    pub(crate) peak: u64,
    pub(crate) resident: u64,
    pub(crate) resident_peak: u64,
    pub(crate) open: u64,
    pub(crate) turned_away: u64,
    pub(crate) requests: u64,
    pub(crate) malformed: u64,
    pub(crate) timed_out: u64,
    pub(crate) lost: u64,
    pub(crate) datagrams: u64,
    pub(crate) datagrams_dropped: u64,
    pub(crate) bytes_in_flight: u64,
}

impl Far {
    /// Starts this program once more, as a server.
    pub(crate) fn start(connections: usize, head_time: Duration) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["server", &connections.to_string(), &head_time.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("the server has no output")?);
        let mut far = Self { child, input, output, addr: ([0; 4], 0).into(), descriptors: 0 };
        let hello = far.line()?;
        far.addr = hello["addr"].as_str().ok_or("the server does not tell its address")?.parse()?;
        far.descriptors = hello["descriptors"].as_u64().unwrap_or(0).try_into()?;
        Ok(far)
    }

    /// What it holds now.
    pub(crate) fn holding(&mut self) -> Result<Holding, Failure> {
        let mut input = self.input.as_ref().ok_or("the server's input is closed")?;
        input.write_all(b"\n")?;
        let line = self.line()?;
        let number = |name: &str| line[name].as_u64().unwrap_or(0);
        Ok(Holding {
            live: number("live"),
            peak: number("peak"),
            resident: number("resident"),
            resident_peak: number("resident_peak"),
            open: number("open"),
            turned_away: number("turned_away"),
            requests: number("requests"),
            malformed: number("malformed"),
            timed_out: number("timed_out"),
            lost: number("lost"),
            datagrams: number("datagrams"),
            datagrams_dropped: number("datagrams_dropped"),
            bytes_in_flight: number("bytes_in_flight"),
        })
    }

    fn line(&mut self) -> Result<Value, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(format!("the server has ended: {}", self.child.wait()?).into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // It ends with its input.
        self.input = None;
        let _ = self.child.wait();
    }
}
