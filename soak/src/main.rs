//! A soak of the communications server on loopback: ten thousand connections to one server process, and what
//! that process holds meanwhile, counted by its allocator.
//!
//! ```console
//! cargo run --release -p fixp-soak
//! cargo run --release -p fixp-soak -- --connections 1000 --seconds 1 --seed 7
//! ```
//!
//! The client is this process; the server is another one, of the same program. The bounds:
//!
//! 0. *start*: some of each traffic, so that what is made once is not counted; then the start value is taken.
//! 1. *idle*: N connections (10,000), each with one exchange behind it (SECURE_QUERY and TEST; every fourth
//!    speaks lexst1), then silent: at most 8 KiB of live heap each.
//! 2. *sending*: a tenth of them send, each its next request when the answer has come: all are answered, right.
//! 3. *slowloris*: workers send a request each 50 ms, alone and then beside N/10 connections that send a byte of
//!    a head every second, and N/10 that send one of an entity of 256 KiB. The workers' p99, counted from when a request was due, stays below 100 ms or three
//!    times what it was alone; the heads are ended by the server's `head_time` (2 s here), within 2 s of it.
//! 4. *random*: N/20 connections and 2 N datagrams of random bytes, half of them recorded packets with a few
//!    bytes changed, cut or added; meanwhile the server answers over UDP, and afterwards on each of the N
//!    connections. Idle again, they hold at most 8 KiB each.
//! 5. *closed*: no connection is open, and the live heap is back at its start within a tenth of it.
//!
//! Exits with 1 where a bound is missed, 2 where the soak itself cannot go on. Descriptors: a little more than
//! N in each process; where the system gives less, N is made smaller, and it says so.

mod counting;
mod far;
mod link;
mod phases;
mod report;
mod server;

use std::process::ExitCode;
use std::time::Duration;

/// What goes wrong with the soak itself, and with a request.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long the server waits for a head. Its default of 10 s would show the same, only later.
const HEAD_TIME: Duration = Duration::from_secs(2);

/// What is asked for on the command line.
#[derive(Clone, Debug)]
struct Options {
    connections: usize,
    /// How long the phases that send go on.
    seconds: u64,
    seed: u64,
}

const USAGE: &str = "usage: fixp-soak [--connections N] [--seconds S] [--seed N]";

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self { connections: 10_000, seconds: 15, seed: 1 };
        while let Some(word) = words.next() {
            let mut number = || -> Result<u64, Failure> { Ok(words.next().ok_or(USAGE)?.parse()?) };
            match &*word {
                "--connections" => options.connections = usize::try_from(number()?)?.max(100),
                "--seconds" => options.seconds = number()?.max(1),
                "--seed" => options.seed = number()?,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }
}

fn run() -> Result<ExitCode, Failure> {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|word| word == "server").is_some() {
        let mut number = || -> Result<u64, Failure> { Ok(words.next().ok_or(USAGE)?.parse()?) };
        let (connections, head_time) = (usize::try_from(number()?)?, Duration::from_millis(number()?));
        server::serve(connections, head_time)?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::parse(words)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let held = runtime.block_on(phases::run(options))?;
    println!("{}", if held { "all bounds held" } else { "A BOUND WAS MISSED" });
    Ok(ExitCode::from(u8::from(!held)))
}

fn main() -> ExitCode {
    run().unwrap_or_else(|failure| {
        eprintln!("fixp-soak: {failure}");
        ExitCode::from(2)
    })
}
