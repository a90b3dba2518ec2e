//! Runs vectors against an implementation.
//!
//! Requests are asked one at a time: a pipe carries an answer back in some twenty microseconds, and the blame
//! for a testee that dies lands on the vector that was asked, with no doubt.

use std::fmt;
use std::time::{Duration, Instant};

use fixp_codec::Policy;

use crate::answerer::{Answerer, Trouble};
use crate::exit::Exit;
use crate::judge::{Expect, judge, skip_reason};
use crate::known::KnownFailures;
pub use crate::process::Program;
use crate::process::{Bounds, Process};
use crate::protocol::{Answer, Hello, Op, Request};
use crate::report::{Report, Row};
use crate::select::Select;
use crate::testee::Testee;
use crate::vector::Vector;
use crate::verdict::{Failure, Verdict};

/// How long a testee may take for one vector, unless told otherwise: enough for any vector in any language on
/// a busy machine.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);

/// How long a testee may take from its start to its answer to `hello`, unless told otherwise: a virtual
/// machine has to warm up.
pub const START_LIMIT: Duration = Duration::from_secs(30);

/// How many restarts in a row there are, unless told otherwise, before the remaining vectors are given up as
/// failed.
pub const RESTARTS: u32 = 10;

/// How many bytes a line of a testee may have, unless told otherwise. The longest honest answer in the
/// vectors of this crate has less than a tenth of it; three such lines may be held at a time.
pub const LINE_LIMIT: usize = 16 << 20;

/// Who is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The codec of this project, in this process, with a policy.
    BuiltIn(Policy),
    /// A program that speaks the testee protocol.
    Command(Program),
}

/// A run, described.
#[derive(Debug, Clone)]
pub struct Runner {
    target: Target,
    select: Select,
    known_failures: KnownFailures,
    expect: Expect,
    time_limit: Duration,
    start_limit: Duration,
    restarts: u32,
    line_limit: usize,
}

impl Runner {
    /// A run of everything, with the limits of this module.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            select: Select::default(),
            known_failures: KnownFailures::default(),
            expect: Expect::Conformance,
            time_limit: TIME_LIMIT,
            start_limit: START_LIMIT,
            restarts: RESTARTS,
            line_limit: LINE_LIMIT,
        }
    }

    /// Runs only the vectors that are selected.
    #[must_use]
    pub fn select(mut self, select: Select) -> Self {
        self.select = select;
        self
    }

    /// Vectors that are known to fail.
    #[must_use]
    pub fn known_failures(mut self, known_failures: KnownFailures) -> Self {
        self.known_failures = known_failures;
        self
    }

    /// Expects of `lenient` vectors not just what is allowed, but what a reader of this policy does: a strict
    /// one refuses them all, a compatible one takes them with their value, but for those that carry a
    /// `refusal` (SPEC 7.3, 7.4).
    #[must_use]
    pub fn expect_exact(mut self, policy: Policy) -> Self {
        self.expect = Expect::Exactly(policy);
        self
    }

    /// How long a testee may take for one vector.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// How long a testee may take from its start to its answer to `hello`.
    #[must_use]
    pub fn start_limit(mut self, limit: Duration) -> Self {
        self.start_limit = limit;
        self
    }

    /// How many restarts in a row there are before the remaining vectors are given up as failed.
    #[must_use]
    pub fn restarts(mut self, restarts: u32) -> Self {
        self.restarts = restarts;
        self
    }

    /// How many bytes a line of a testee may have.
    #[must_use]
    pub fn line_limit(mut self, limit: usize) -> Self {
        self.line_limit = limit;
        self
    }

    /// Runs the vectors. Give all there are: the list of known failures is held against them, selected or
    /// not.
    ///
    /// # Errors
    ///
    /// [`RunError`], if nothing could be run at all. Failures of vectors are in the report.
    pub fn run(&self, vectors: &[Vector]) -> Result<Report, RunError> {
        let unknown = self.known_failures.unknown(vectors);
        if !unknown.is_empty() {
            return Err(RunError::UnknownIds(unknown));
        }
        let began = Instant::now();
        let (mut bench, hello) = Bench::start(self)?;
        let mut rows = Vec::new();
        for vector in vectors.iter().filter(|vector| self.select.takes(vector)) {
            let began = Instant::now();
            let verdict = match skip_reason(vector, &hello) {
                Some(reason) => Verdict::Skipped { reason },
                None => bench.run(vector, &hello),
            };
            rows.push(Row::new(vector, self.with_known_failures(vector, verdict), began.elapsed()));
        }
        drop(bench);
        Ok(Report { testee: hello, rows, elapsed: began.elapsed() })
    }

    fn with_known_failures(&self, vector: &Vector, verdict: Verdict) -> Verdict {
        if !self.known_failures.contains(&vector.id) {
            return verdict;
        }
        match verdict {
            Verdict::Failed { failure } => Verdict::KnownFailure { failure },
            Verdict::Passed { .. } => Verdict::Failed {
                failure: Failure {
                    op: "known failure".to_owned(),
                    what: "it passes: take it off the list".to_owned(),
                    ..Failure::default()
                },
            },
            other => other,
        }
    }
}

/// Why there was no run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunError {
    /// The list of known failures names vectors that do not exist.
    UnknownIds(Vec<String>),
    /// The testee could not be started, or did not answer `hello` as it must.
    NotRun(String),
}

impl RunError {
    /// How a program should end.
    pub fn exit(&self) -> Exit {
        match self {
            Self::UnknownIds(_) => Exit::Usage,
            Self::NotRun(_) => Exit::NotRun,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIds(ids) => {
                write!(f, "the known failures name vectors that do not exist: {}", ids.join(", "))
            }
            Self::NotRun(detail) => f.write_str(detail),
        }
    }
}

impl std::error::Error for RunError {}

/// The testee, between its restarts.
struct Bench<'a> {
    runner: &'a Runner,
    session: Session,
    /// Vectors in a row that ended a testee.
    losses: u32,
}

enum Session {
    BuiltIn(InProcess),
    Running(Box<Process>),
    Ended(Trouble),
}

impl<'a> Bench<'a> {
    fn start(runner: &'a Runner) -> Result<(Self, Hello), RunError> {
        let (session, hello) = match &runner.target {
            Target::BuiltIn(policy) => (Session::BuiltIn(InProcess(Testee::new(*policy))), Testee::hello()),
            Target::Command(program) => {
                let (process, hello) = Process::start(program, runner.bounds())
                    .map_err(|trouble| RunError::NotRun(trouble.to_string()))?;
                (Session::Running(Box::new(process)), hello)
            }
        };
        Ok((Self { runner, session, losses: 0 }, hello))
    }

    fn run(&mut self, vector: &Vector, hello: &Hello) -> Verdict {
        self.revive();
        let expect = self.runner.expect;
        let trouble = match &mut self.session {
            Session::BuiltIn(testee) => match judge(vector, expect, hello, testee) {
                Ok(verdict) => return verdict,
                Err(trouble) => trouble,
            },
            Session::Running(process) => {
                process.begin_vector();
                match judge(vector, expect, hello, process.as_mut()) {
                    Ok(verdict) => {
                        self.losses = 0;
                        return verdict;
                    }
                    Err(trouble) => {
                        self.losses += 1;
                        self.session = Session::Ended(trouble.clone());
                        trouble
                    }
                }
            }
            Session::Ended(trouble) => trouble.clone(),
        };
        let what = if self.given_up() {
            format!("given up after {} restarts in a row; {trouble}", self.runner.restarts)
        } else {
            trouble.to_string()
        };
        Verdict::Failed { failure: Failure { op: "testee".to_owned(), what, ..Failure::default() } }
    }

    fn given_up(&self) -> bool {
        self.losses > self.runner.restarts
    }

    /// Starts an ended testee again, as often as the runner allows.
    fn revive(&mut self) {
        let Target::Command(program) = &self.runner.target else { return };
        if !matches!(self.session, Session::Ended(_)) || self.given_up() {
            return;
        }
        self.session = match Process::start(program, self.runner.bounds()) {
            Ok((process, _)) => Session::Running(Box::new(process)),
            Err(trouble) => {
                self.losses += 1;
                Session::Ended(trouble)
            }
        };
    }
}

impl Runner {
    fn bounds(&self) -> Bounds {
        Bounds { start: self.start_limit, vector: self.time_limit, line: self.line_limit }
    }
}

/// The codec of this project as one who answers.
pub(crate) struct InProcess(pub(crate) Testee);

impl Answerer for InProcess {
    fn ask(&mut self, op: Op) -> Result<Answer, Trouble> {
        Ok(self.0.answer(&Request { seq: 0, op }))
    }
}
