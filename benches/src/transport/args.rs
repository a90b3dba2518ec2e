//! The command line of the benches with a client and a server, and the runtimes that these have.

use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};

use crate::pin;

const OPTIONS: &str = "\
  --rounds N    rounds, in each of which every competitor has its turn (9)
  --time MS     milliseconds of a turn (300)
  --seeds N     seeds of the laboratory, where there is one, from 1 (5)
  --pin CORE    run on this core alone, by taskset of util-linux
  --markdown    print the tables in Markdown
  --check       exit 1 if a target is missed
  --shared      client and server on one runtime with two workers, not each on one with one
  --ours        without the competitors, for a profiler
  --depth N     only echoes with so many in flight
  --only TEXT   only contests whose names contain this: ";

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Args {
    /// Rounds, at least one.
    pub rounds: usize,
    /// The time of a turn.
    pub time: Duration,
    /// Seeds of the laboratory, at least one.
    pub seeds: u64,
    /// The core to keep to.
    pub pin: Option<usize>,
    /// Whether to print Markdown.
    pub markdown: bool,
    /// Whether a missed target is a failure.
    pub check: bool,
    /// A part of the names of the contests to run.
    pub only: Option<String>,
    /// How many in flight, if not all numbers.
    pub depth: Option<usize>,
    /// Whether the competitors have hardly a turn.
    pub ours: bool,
    /// Whether both sides share one runtime.
    pub shared: bool,
}

impl Args {
    /// Reads the arguments behind the program's name; nothing where they cannot be read.
    #[must_use]
    pub fn parse(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut parsed = Self {
            rounds: 9,
            time: Duration::from_millis(300),
            seeds: 5,
            pin: None,
            markdown: false,
            check: false,
            only: None,
            depth: None,
            ours: false,
            shared: false,
        };
        while let Some(arg) = args.next() {
            match &*arg {
                "--rounds" => parsed.rounds = args.next()?.parse::<usize>().ok()?.max(1),
                "--time" => parsed.time = Duration::from_millis(args.next()?.parse().ok()?),
                "--seeds" => parsed.seeds = args.next()?.parse::<u64>().ok()?.max(1),
                "--pin" => parsed.pin = Some(args.next()?.parse().ok()?),
                "--markdown" => parsed.markdown = true,
                "--check" => parsed.check = true,
                "--depth" => parsed.depth = Some(args.next()?.parse().ok()?),
                "--shared" => parsed.shared = true,
                "--ours" => parsed.ours = true,
                "--only" => parsed.only = Some(args.next()?),
                _ => return None,
            }
        }
        Some(parsed)
    }

    /// Whether a contest is to be run.
    #[must_use]
    pub fn wants(&self, contest: &str) -> bool {
        self.only.as_ref().is_none_or(|only| contest.contains(&**only))
    }

    /// Whether so many in flight are to be measured.
    #[must_use]
    pub fn wants_depth(&self, depth: usize) -> bool {
        self.depth.is_none_or(|only| only == depth)
    }

    /// Whether one thread does all.
    #[must_use]
    pub const fn one_core(&self) -> bool {
        self.pin.is_some()
    }

    /// The time of a row's turn in a round, of which the first, 0, warms up.
    #[must_use]
    pub fn turn(&self, round: usize, row: usize) -> Duration {
        match round {
            _ if self.ours && row > 0 => Duration::from_millis(1),
            0 => self.time / 3,
            _ => self.time,
        }
    }
}

/// A program: reads its arguments, pins itself, makes the runtimes and runs the contests, which count the
/// targets that they miss and are told where servers run.
pub fn main(program: &str, contests: &str, run: impl AsyncFnOnce(Args, Handle) -> usize) -> ExitCode {
    let Some(args) = Args::parse(std::env::args().skip(1)) else {
        eprintln!("usage: {program} [options]\n\n{OPTIONS}{contests}");
        return ExitCode::from(2);
    };
    if cfg!(debug_assertions) {
        eprintln!("numbers of a debug build mean nothing: cargo run --release --bin {program}");
        return ExitCode::from(2);
    }
    if let Some(core) = args.pin
        && let Err(why) = pin::pin(core)
    {
        eprintln!("cannot pin to core {core}: {why}");
        return ExitCode::from(2);
    }
    println!("{} rounds of {} ms, {}\n", args.rounds, args.time.as_millis(), pin::report());
    // Client and server are two programs in life, each with a runtime of its own: here with one worker each;
    // or, to see what it costs, both on one runtime with a worker for each core. On one core two threads would
    // measure how the system switches between them: there both share one worker.
    let runtime = |workers| Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let near = runtime(if args.shared && !args.one_core() { 2 } else { 1 }).expect("a runtime");
    let far = runtime(1).expect("a runtime");
    let servers = if args.shared || args.one_core() { near.handle() } else { far.handle() }.clone();
    let check = args.check;
    let missed = near.block_on(run(args, servers));
    near.shutdown_background();
    far.shutdown_background();
    if check && missed > 0 {
        eprintln!("{missed} targets missed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs on the servers' runtime.
pub async fn on<T: Send + 'static>(servers: &Handle, task: impl Future<Output = T> + Send + 'static) -> T {
    servers.spawn(task).await.expect("a server starts")
}
