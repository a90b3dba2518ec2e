//! A testee in a process of its own, behind pipes that can neither block the runner nor flood it.
//!
//! One thread writes to the testee and one reads from it, so that the runner itself only ever waits with a
//! deadline. The threads are not joined: a testee's own child may hold a pipe open for ever. They end with
//! the pipe.

use std::ffi::OsString;
use std::io::{BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::answerer::{Answerer, Trouble};
use crate::compare::shorten;
use crate::lines::{Line, read_line};
use crate::protocol::{Answer, Hello, Op, PROTOCOL, Request};

/// How long an ended testee may take to hand over its exit status, and one that is no longer needed to end by
/// itself.
const GRACE: Duration = Duration::from_millis(500);

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    program: OsString,
    args: Vec<OsString>,
    quiet: bool,
}

impl Program {
    /// A program, to be searched for as the system does.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), args: Vec::new(), quiet: false }
    }

    /// The same with one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// The same with more arguments.
    #[must_use]
    pub fn args<T: Into<OsString>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The same with its standard error thrown away; otherwise it goes where the runner's goes.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }
}

/// How long a testee may take and how much it may write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// From its start to its answer to `hello`.
    pub(crate) start: Duration,
    /// For one vector.
    pub(crate) vector: Duration,
    /// The bytes of one line.
    pub(crate) line: usize,
}

/// A running testee.
pub(crate) struct Process {
    child: Child,
    /// Dropping it closes the testee's standard input.
    requests: Option<Sender<Vec<u8>>>,
    events: Receiver<Event>,
    bounds: Bounds,
    next_seq: u64,
    limit: Duration,
    deadline: Instant,
    /// Nothing good is to be expected of it: it is not asked to end, it is ended.
    spoilt: bool,
}

enum Event {
    Line(Vec<u8>),
    TooLong,
    End,
}

impl Process {
    /// Starts a testee and greets it.
    pub(crate) fn start(program: &Program, bounds: Bounds) -> Result<(Self, Hello), Trouble> {
        let not_started = |error: std::io::Error| Trouble::NotStarted(error.to_string());
        let mut command = Command::new(&program.program);
        // A group of its own, so that what a wrapper has started can be ended with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .args(&program.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if program.quiet { Stdio::null() } else { Stdio::inherit() })
            .spawn()
            .map_err(not_started)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (requests, to_write) = channel();
        // One line may wait while another is read: with the one that is judged, three lines at most are ever
        // held.
        let (to_judge, events) = sync_channel(1);
        let mut process = Self {
            child,
            requests: Some(requests),
            events,
            bounds,
            next_seq: 0,
            limit: bounds.start,
            deadline: after(bounds.start),
            spoilt: true,
        };
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(Trouble::NotStarted("it has no standard input or output".to_owned()));
        };
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        named("testee-writer").spawn(move || write_requests(stdin, &to_write)).map_err(not_started)?;
        named("testee-reader")
            .spawn(move || read_lines(stdout, &to_judge, bounds.line))
            .map_err(not_started)?;
        process.spoilt = false;
        let answer = process.ask(Op::Hello { protocol: PROTOCOL })?;
        let hello =
            Hello::from_answer(answer).map_err(|detail| Trouble::NotStarted(format!("hello: {detail}")))?;
        Ok((process, hello))
    }

    /// The time for the next vector begins now.
    pub(crate) fn begin_vector(&mut self) {
        self.limit = self.bounds.vector;
        self.deadline = after(self.limit);
    }

    /// The next line of the testee.
    fn line(&mut self) -> Result<Vec<u8>, Trouble> {
        match self.events.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
            Ok(Event::Line(line)) => Ok(line),
            Ok(Event::TooLong) => Err(Trouble::TooLong(self.bounds.line)),
            Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => {
                let status =
                    self.exit_status().map_or_else(|| "its output is closed".to_owned(), |s| s.to_string());
                Err(Trouble::Ended(status))
            }
            Err(RecvTimeoutError::Timeout) => Err(Trouble::Silent(self.limit)),
        }
    }

    /// The exit status of a testee whose output has ended. The output ends a moment before the process does.
    fn exit_status(&mut self) -> Option<ExitStatus> {
        let give_up = Instant::now() + GRACE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < give_up => thread::sleep(Duration::from_millis(1)),
                _ => return None,
            }
        }
    }
}

impl Answerer for Process {
    fn ask(&mut self, op: Op) -> Result<Answer, Trouble> {
        let seq = self.next_seq;
        self.next_seq += 1;
        let no_answer = |line: &[u8], error: &serde_json::Error| Trouble::NoAnswer {
            line: shorten(&String::from_utf8_lossy(line)),
            detail: error.to_string(),
        };
        let exchange = || {
            let mut line =
                serde_json::to_vec(&Request { seq, op }).map_err(|error| no_answer(b"", &error))?;
            line.push(b'\n');
            if let Some(requests) = &self.requests {
                // An error means that the testee reads no more; its output tells better why.
                let _ = requests.send(line);
            }
            let line = self.line()?;
            let answer: Answer = serde_json::from_slice(&line).map_err(|error| no_answer(&line, &error))?;
            if answer.seq != Some(seq) {
                return Err(Trouble::OtherSeq { asked: seq, answered: answer.seq });
            }
            Ok(answer)
        };
        let answer = exchange();
        self.spoilt |= answer.is_err();
        answer
    }
}

impl Process {
    /// Ends what the testee has started itself: a wrapper's program would outlive it, and hold its standard
    /// error open. By the `kill` of the system, since ending a group takes unsafe code.
    fn end_group(&self) {
        #[cfg(unix)]
        let _ = Command::new("kill")
            .args(["-KILL", "--", &format!("-{}", self.child.id())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.requests = None;
        if !self.spoilt {
            // The testee ends at the end of its input; its output ends with it.
            let give_up = Instant::now() + GRACE;
            let mut left = GRACE;
            // One that goes on writing is not waited for any longer than one that is silent.
            while !left.is_zero() && matches!(self.events.recv_timeout(left), Ok(Event::Line(_))) {
                left = give_up.saturating_duration_since(Instant::now());
            }
            if self.exit_status().is_some() {
                return;
            }
        }
        self.end_group();
        // Either call fails only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The moment when this much time will have passed; of more than a day, a day.
fn after(limit: Duration) -> Instant {
    Instant::now() + limit.min(Duration::from_secs(24 * 60 * 60))
}

fn write_requests(mut stdin: impl Write, requests: &Receiver<Vec<u8>>) {
    for request in requests {
        if stdin.write_all(&request).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read_lines(stdout: impl Read, events: &SyncSender<Event>, limit: usize) {
    let mut stdout = BufReader::with_capacity(1 << 16, stdout);
    loop {
        let mut line = Vec::new();
        let event = match read_line(&mut stdout, &mut line, limit) {
            Ok(Line::Whole) => Event::Line(line),
            Ok(Line::TooLong) => Event::TooLong,
            Ok(Line::End) | Err(_) => Event::End,
        };
        let last = !matches!(event, Event::Line(_));
        if events.send(event).is_err() || last {
            return;
        }
    }
}
