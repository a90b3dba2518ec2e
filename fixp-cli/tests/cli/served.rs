//! A server that runs while a test does, and commands that must end in time.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common::{Ended, command};

/// How long any command of these tests may take. A machine that is busy with other tests is slow.
const LIMIT: Duration = Duration::from_secs(60);

/// A process that does not outlive its test, and whose output is read to the end.
pub(crate) struct Running {
    child: Child,
    out: Option<JoinHandle<Vec<u8>>>,
    err: Option<JoinHandle<Vec<u8>>>,
    /// The lines of standard output as they come.
    lines: mpsc::Receiver<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_reading(command, Stdio::null())
    }

    pub(crate) fn start_reading(command: &mut Command, input: Stdio) -> Self {
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let (sender, lines) = mpsc::channel();
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let out = thread::spawn(move || {
            let mut all = Vec::new();
            loop {
                let begin = all.len();
                match out.read_until(b'\n', &mut all) {
                    Ok(0) | Err(_) => return all,
                    // Nobody may want to see it now.
                    Ok(_) => drop(sender.send(String::from_utf8_lossy(&all[begin..]).trim_end().to_owned())),
                }
            }
        });
        let mut err = child.stderr.take().expect("a pipe");
        let err = thread::spawn(move || {
            let mut all = Vec::new();
            let _ = err.read_to_end(&mut all);
            all
        });
        Self { child, out: Some(out), err: Some(err), lines }
    }

    /// The next line of its standard output.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line in time")
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill starts");
        assert!(status.success(), "a signal is sent");
    }

    /// Whether it is still there.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Waits until it ends.
    pub(crate) fn ended(mut self) -> Ended {
        let status = self.wait();
        let read =
            |thread: Option<JoinHandle<Vec<u8>>>| thread.expect("not read before").join().expect("read");
        let (raw, err) = (read(self.out.take()), read(self.err.take()));
        Ended {
            code: status.code(),
            out: String::from_utf8_lossy(&raw).into_owned(),
            err: String::from_utf8_lossy(&err).into_owned(),
            raw,
        }
    }

    fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => return status,
                None => assert!(begin.elapsed() < LIMIT, "it ends in time"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `fixp serve`, on a port of its own.
pub(crate) struct Served {
    pub(crate) process: Running,
    pub(crate) addr: String,
}

impl Served {
    /// A server that echoes, of both dialects.
    pub(crate) fn echo() -> Self {
        Self::with(&["--echo"])
    }

    pub(crate) fn with(args: &[&str]) -> Self {
        let mut line = vec!["serve", "--listen", "127.0.0.1:0"];
        line.extend(args);
        Self::of(command().args(line))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let process = Running::start(command.env_remove("FIXP_LOG"));
        let line = process.line();
        let addr = line.strip_prefix("listening on ").expect("the address").to_owned();
        Self { process, addr }
    }
}

/// Runs the command, which must end in time.
pub(crate) fn run(args: &[&str]) -> Ended {
    Running::start(command().args(args)).ended()
}

/// An address where nobody listens, over TCP or UDP, and nobody will: the sockets hold it.
pub(crate) struct Nobody {
    pub(crate) addr: String,
    _udp: UdpSocket,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        loop {
            let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            let addr: SocketAddr = udp.local_addr().expect("its address");
            // Free at this moment, and taken by nobody who asks the system for a port of both.
            if TcpListener::bind(addr).is_ok() {
                return Self { addr: addr.to_string(), _udp: udp };
            }
        }
    }
}
