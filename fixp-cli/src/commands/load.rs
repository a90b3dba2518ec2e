//! `fixp load`: how many requests a server answers, and how fast.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use conformance_vectors::exit::Exit;
use fixp_codec::{Code, Encoder, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::udp::{Config, Security};
use fixp_transport::{Cause, Repeat, tables};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout_at};

use crate::failure::Failure;
use crate::input::byte_count;
use crate::json_text::{self, Layout};
use crate::latency::{Latencies, Percentiles};
use crate::peer::{Caller, Manner, Peer};
use crate::{descriptors, names, output, runtime, span};

const AFTER: &str = "\
The server must answer by the same entity, as `fixp serve --echo` does: it is asked
by FLUSH_LOG in laxcus6 and ADD_LOG in lexst1, which a node that is no echo takes
for a log. Each connection keeps --depth requests under way: a new one goes when an
answer has come, so a slow server is asked less. Only what is answered after the
warm-up and before the end counts. It sends to the address that is given, and
nowhere else. Ctrl-C ends it earlier.

A MiB is one of entities, in each direction. With --udp and --keep-udp, a connection
is a client with ports of its own. Where the peer announces no extensions, each of its
16 ports rests with --udp for 20 ms behind an answer, so that it sends no more than
800 requests a second, which is said with the result; with --keep-udp such a peer has
16 requests of it under way at most, however deep.

Examples:
  fixp load 127.0.0.1:5000
  fixp load 127.0.0.1:5000 --connections 64 --depth 16 --size 4K --time 30
  fixp load 127.0.0.1:5000 --udp --size 64 --json
  fixp load 127.0.0.1:5000 --keep-udp --size 1M --depth 2

Exit codes:
  0  it was measured, and everything was answered
  1  the server does not echo, or something was not answered
  2  wrong arguments, or a debug build";

/// Connections at a time: as many as a server takes from one address by default.
const CONNECTIONS: std::ops::RangeInclusive<u16> = 1..=4096;
/// Requests under way on one of them: as many as a server takes by default.
const DEPTH: std::ops::RangeInclusive<u16> = 1..=1024;
/// Bytes of an entity at most, which is in memory once for each request under way.
const SIZE: u64 = 64 << 20;
/// Counters of times; connections share them.
const SHARDS: usize = 16;
/// How long a request waits after one that failed, so that a server that is gone is not asked for ever.
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes of an answer that are compared while it is measured: they cost nothing beside a request.
const COMPARED: usize = 4096;
/// Requests a second of a client whose ports rest.
const MOST_PER_CLIENT: f64 = Config::PORTS as f64 / Config::SETTLE.as_secs_f64();
/// How often progress is shown.
const PROGRESS: Duration = Duration::from_millis(500);

/// Measure how many requests a server answers, and how fast
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    #[command(flatten)]
    peer: Peer,

    /// Connections at a time, 1 to 4096
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = within(CONNECTIONS))]
    connections: u16,

    /// Requests under way on each, 1 to 1024
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = within(DEPTH))]
    depth: u16,

    /// Bytes of each entity; 4K and 1M are understood
    #[arg(long, value_name = "BYTES", default_value = "100", value_parser = byte_count)]
    size: u64,

    /// How long to measure; seconds, or with a unit
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span::some_time)]
    time: Duration,

    /// How long to send before that
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = span::time)]
    warm_up: Duration,

    /// How long an answer may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span::some_time)]
    timeout: Duration,

    /// Print the result on one line, for machines
    #[arg(long)]
    json: bool,
}

/// What is shared by all connections.
struct Bench {
    packet: Packet,
    okay: Code,
    depth: usize,
    timeout: Duration,
    begin: Instant,
    end: Instant,
    shards: Vec<Mutex<Shard>>,
    answered: AtomicU64,
}

/// Results of some connections.
struct Shard {
    times: Latencies,
    errors: BTreeMap<String, u64>,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    peer: SocketAddr,
    transport: &'static str,
    dialect: &'static str,
    connections: u16,
    depth: u16,
    size: u64,
    seconds: f64,
    answered: u64,
    requests_per_second: f64,
    mib_per_second: f64,
    /// What our clients let go at most, since they let their ports rest.
    most_per_second: Option<f64>,
    ms: Option<Percentiles>,
    errors: BTreeMap<String, u64>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if cfg!(debug_assertions) {
            return Err(Failure::Usage(
                "a debug build measures only itself: build fixp with --release for load".to_owned(),
            ));
        }
        runtime::large(self.load())
    }

    async fn load(self) -> Result<Exit, Failure> {
        self.reserve()?;
        let measured = self.measure(tokio::signal::ctrl_c()).await?;
        output::quietly(output::at_once(|out| measured.write(self.json, out)))?;
        Ok(measured.exit())
    }

    /// Has descriptors for all connections, so that none fails for want of one.
    fn reserve(&self) -> Result<(), Failure> {
        let connections = usize::from(self.connections);
        // A client for datagrams may open several, and does with one.
        let most = if self.peer.udp || self.peer.keep_udp { Config::PORTS } else { 1 };
        let room = descriptors::room_for(connections * most);
        if room < connections {
            return Err(Failure::Usage(format!(
                "--connections {connections}: the system lets this process have {room} sockets; raise the hard limit \
                 (ulimit -Hn)"
            )));
        }
        Ok(())
    }

    /// Sends until the time is over, or somebody interrupts it.
    async fn measure(&self, interrupt: impl Future) -> Result<Measured, Failure> {
        let addr = self.peer.address()?;
        let bench = self.bench()?;
        let manner = Manner {
            depth: self.depth.into(),
            size: bench.packet.entity.len(),
            // Once is as good as before each request, and is not what is measured.
            security: Security::Remembered(Config::PEER_EXPIRY),
            // The server is an echo.
            repeat: Repeat::Harmless,
            ..Manner::one_by_one(self.timeout)
        };
        let mut callers = Vec::new();
        for _ in 0..self.connections {
            let caller = self.peer.connect(addr, manner).await?;
            self.try_out(&caller, &bench).await?;
            callers.push(caller);
        }
        let rests = self.rests(&callers, &bench).await?;
        // Connecting took its time.
        let now = Instant::now();
        let bench =
            Arc::new(Bench { begin: now + self.warm_up, end: now + self.warm_up + self.time, ..bench });
        let mut tasks = JoinSet::new();
        for (n, caller) in callers.iter().enumerate() {
            tasks.spawn(connection(caller.clone(), Arc::clone(&bench), n));
        }
        let shown = io::stderr().is_terminal();
        tokio::select! {
            biased;
            _ = interrupt => {}
            () = sleep_until(bench.end) => {}
            () = bench.show_progress(), if shown => {}
        }
        if shown {
            show("");
        }
        let seconds = bench.end.min(Instant::now()).saturating_duration_since(bench.begin);
        tasks.shutdown().await;
        // All at once, as each may take a while.
        let mut goodbyes: FuturesUnordered<_> = callers.into_iter().map(Caller::close).collect();
        while goodbyes.next().await.is_some() {}
        bench.measured(self, addr, rests, seconds)
    }

    fn bench(&self) -> Result<Bench, Failure> {
        let dialect = self.peer.dialect;
        let request =
            if dialect.name() == LEXST1.name() { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
        if self.size > SIZE {
            return Err(Failure::Usage(format!("--size: {SIZE} bytes are the most that is measured")));
        }
        let entity = (0..self.size).map(|n| n as u8).collect::<Bytes>();
        let packet = Packet::new(request).with_entity(entity);
        Encoder::new(dialect).packet_len(&packet)?;
        let shard = || Some(Mutex::new(Shard { times: Latencies::new()?, errors: BTreeMap::new() }));
        let shards = (0..SHARDS).map(|_| shard()).collect::<Option<_>>();
        let now = Instant::now();
        Ok(Bench {
            packet,
            okay: tables::of(dialect).okay,
            depth: self.depth.into(),
            timeout: self.timeout,
            begin: now,
            end: now,
            shards: shards.ok_or_else(|| Failure::NotSo("times cannot be counted".to_owned()))?,
            answered: AtomicU64::new(0),
        })
    }

    /// Whether the peer is an echo.
    async fn try_out(&self, caller: &Caller, bench: &Bench) -> Result<(), Failure> {
        let answer = caller.call(bench.packet.clone(), self.timeout).await?;
        if bench.is_echo(&answer, usize::MAX) {
            return Ok(());
        }
        let name = names::of_code(answer.code, self.peer.dialect);
        Err(Failure::NotSo(format!(
            "the peer is no echo: it answered {name} with {} of {} bytes (see fixp serve --echo)",
            answer.entity.len(),
            bench.packet.entity.len()
        )))
    }

    /// Whether the clients let their ports rest: where they cannot tell answers apart, no port of theirs has two requests
    /// under way (SPEC 11.12).
    async fn rests(&self, callers: &[Caller], bench: &Bench) -> Result<bool, Failure> {
        let Some(caller) = callers.first().filter(|_| self.peer.udp) else { return Ok(false) };
        tokio::try_join!(self.try_out(caller, bench), self.try_out(caller, bench))?;
        Ok(caller.ports() > 1)
    }
}

/// Keeps requests under way on one connection, until somebody ends it.
async fn connection(caller: Caller, bench: Arc<Bench>, n: usize) {
    let shard = bench.shards.get(n % SHARDS);
    let slots = (0..bench.depth).map(|_| async {
        loop {
            let begin = Instant::now();
            // What is under way in the end is not counted, so nothing waits longer than that.
            let outcome = timeout_at(bench.end, caller.call(bench.packet.clone(), bench.timeout)).await;
            let Ok(outcome) = outcome else { return };
            let now = Instant::now();
            let error = match outcome {
                Ok(answer) if bench.is_echo(&answer, COMPARED) => None,
                Ok(_) => Some("an answer that is no echo".to_owned()),
                Err(error) => Some(cause(&error.cause)),
            };
            let failed = error.is_some();
            if now >= bench.begin
                && let Some(shard) = shard
            {
                match error {
                    None => {
                        lock(shard).times.record(now - begin);
                        bench.answered.fetch_add(1, Relaxed);
                    }
                    Some(error) => *lock(shard).errors.entry(error).or_default() += 1,
                }
            }
            if failed {
                sleep(PAUSE).await;
            }
        }
    });
    slots.collect::<FuturesUnordered<_>>().for_each(|()| async {}).await;
}

impl Bench {
    /// Whether it is the answer of an echo, as far as so many bytes of its entity tell.
    fn is_echo(&self, answer: &Packet, compared: usize) -> bool {
        let (asked, came) = (&self.packet.entity, &answer.entity);
        let compared = compared.min(asked.len());
        answer.code == self.okay && came.len() == asked.len() && came[..compared] == asked[..compared]
    }

    /// Says on the terminal how it goes, until somebody stops it.
    async fn show_progress(&self) {
        let mut ticks = interval(PROGRESS);
        let mut last = (self.begin, 0);
        loop {
            ticks.tick().await;
            // Not when it should have ticked: what is counted goes on while this task waits for its turn.
            show(&self.progress(Instant::now(), &mut last));
        }
    }

    /// How it goes. `last`: when a rate was told, and what was answered until then.
    fn progress(&self, now: Instant, last: &mut (Instant, u64)) -> String {
        let Some(since) = now.checked_duration_since(last.0) else { return "warming up".to_owned() };
        let left = self.end.saturating_duration_since(now).as_secs();
        // A rate of a moment is one of chance.
        if since < PROGRESS / 2 {
            return format!("{left} s left");
        }
        let answered = self.answered.load(Relaxed);
        let rate = (answered - last.1) as f64 / since.as_secs_f64();
        *last = (now, answered);
        format!("{rate:.0} requests/s, {left} s left")
    }

    fn measured(
        &self,
        args: &Args,
        peer: SocketAddr,
        rests: bool,
        time: Duration,
    ) -> Result<Measured, Failure> {
        let mut shards = self.shards.iter().map(lock);
        let mut all = shards.next().map(|shard| (shard.times.clone(), shard.errors.clone()));
        for shard in shards {
            all = all.map(|(times, mut errors)| {
                for (error, count) in &shard.errors {
                    *errors.entry(error.clone()).or_default() += count;
                }
                (times.and(&shard.times), errors)
            });
        }
        let (times, errors) = all.ok_or_else(|| Failure::NotSo("nothing was counted".to_owned()))?;
        let seconds = time.as_secs_f64();
        if seconds == 0.0 {
            return Err(Failure::NotSo("it was interrupted before it began to measure".to_owned()));
        }
        let requests_per_second = times.count() as f64 / seconds;
        Ok(Measured {
            peer,
            transport: args.peer.transport(),
            dialect: args.peer.dialect.name(),
            connections: args.connections,
            depth: args.depth,
            size: args.size,
            seconds,
            answered: times.count(),
            requests_per_second,
            mib_per_second: requests_per_second * args.size as f64 / f64::from(1 << 20),
            most_per_second: rests.then(|| f64::from(args.connections) * MOST_PER_CLIENT),
            ms: times.percentiles(),
            errors,
        })
    }
}

impl Measured {
    fn exit(&self) -> Exit {
        if self.answered > 0 && self.errors.is_empty() { Exit::Passed } else { Exit::Failed }
    }

    fn write(&self, json: bool, out: &mut impl Write) -> io::Result<()> {
        if json { json_text::write(out, self, Layout::Line) } else { out.write_all(self.text().as_bytes()) }
    }

    fn text(&self) -> String {
        let Self { peer, transport, dialect, connections, depth, size, seconds, answered, .. } = self;
        let mut text = format!(
            "{peer}, {transport}, {dialect}: {connections} connections, {depth} deep, {size} bytes\n\
             {answered} answers in {seconds:.2} s: {:.0} requests/s, {:.2} MiB/s each way\n",
            self.requests_per_second, self.mib_per_second
        );
        // Writing to a text does not fail.
        if let Some(ms) = &self.ms {
            let _ = writeln!(text, "latency: {ms}");
        }
        if let Some(most) = self.most_per_second {
            let _ = writeln!(
                text,
                "without extensions our ports rest behind each answer: more than {most:.0} requests/s are never sent"
            );
        }
        for (error, count) in &self.errors {
            let _ = writeln!(text, "{count} without an answer: {error}");
        }
        text
    }
}

/// A cause without its numbers, so that equal ones are counted together.
fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Timeout => "no answer in time".to_owned(),
        cause => cause.to_string(),
    }
}

/// Writes over the line that is there. If nobody can see it, that is no matter.
fn show(text: &str) {
    let mut out = io::stderr();
    let _ = write!(out, "\r{text:<60}\r{text}").and_then(|()| out.flush());
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn within(range: std::ops::RangeInclusive<u16>) -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(i64::from(*range.start())..=i64::from(*range.end()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use fixp_transport::{Echo, Handler, Nobody, Request, Server, handler_fn};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(addr: SocketAddr, more: &[&str]) -> Args {
        let addr = addr.to_string();
        let line =
            ["load", &addr, "--connections", "2", "--depth", "3", "--warm-up", "0.05", "--time", "0.2"];
        Line::parse_from(line.iter().chain(more)).args
    }

    #[tokio::test]
    async fn an_echo_is_measured() {
        let server =
            Server::builder(Echo).key_bits(512).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        let addr = server.local_addr().unwrap();
        for more in [
            &["--size", "1000"][..],
            &["--udp"],
            &["--dialect", "lexst1", "--no-extensions"],
            &["--keep-udp", "--size", "5000"],
            &["--keep-udp", "--size", "5000", "--no-extensions"],
            &["--keep-udp", "--dialect", "lexst1"],
        ] {
            let measured = args(addr, more).measure(std::future::pending::<()>()).await.unwrap();
            assert!(measured.answered > 0 && measured.errors.is_empty(), "{measured:?}");
            assert!(measured.text().contains("\nlatency: min "), "{}", measured.text());
            assert_eq!((measured.most_per_second, measured.exit()), (None, Exit::Passed), "{more:?}");
        }
        // Without our extensions the ports of its two clients rest.
        let more = ["--udp", "--no-extensions"];
        let measured = args(addr, &more).measure(std::future::pending::<()>()).await.unwrap();
        assert_eq!((measured.most_per_second, measured.exit()), (Some(1600.0), Exit::Passed));
        assert!(
            measured.text().contains("more than 1600 requests/s are never sent\n"),
            "{}",
            measured.text()
        );
    }

    /// An answer of the right length is not enough.
    #[tokio::test]
    async fn what_is_no_echo_is_an_error() {
        // The two connections are tried out, and then every answer is another.
        let well = AtomicU64::new(2);
        let handler = handler_fn(move |request: Request| {
            let is_well = well.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
            async move {
                if is_well {
                    return Echo.handle(request).await;
                }
                Packet::new(laxcus6::answer::OKAY).with_entity(vec![9; 100]).into()
            }
        });
        let server = Server::builder(handler).key_bits(512).bind("127.0.0.1:0".parse().unwrap());
        let server = server.start().await.unwrap();
        let args = args(server.local_addr().unwrap(), &[]);
        let measured = args.measure(std::future::pending::<()>()).await.unwrap();
        assert_eq!((measured.answered, measured.exit()), (0, Exit::Failed));
        let mut line = Vec::new();
        measured.write(true, &mut line).unwrap();
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        let told: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert!(told["errors"]["an answer that is no echo"].as_u64() > Some(0), "{told}");
        let counts = ["answered", "connections", "depth", "size"].map(|name| told[name].as_u64());
        assert_eq!(counts, [Some(0), Some(2), Some(3), Some(100)]);
    }

    /// The first rate is none of the moment in which measuring begins.
    #[test]
    fn progress_is_of_the_time_that_has_passed() {
        let bench = args(([127, 0, 0, 1], 1).into(), &[]).bench().unwrap();
        let begin = bench.begin + Duration::from_secs(1);
        let bench = Bench { begin, end: begin + Duration::from_secs(10), ..bench };
        let at = |millis| begin + Duration::from_millis(millis);
        let mut last = (begin, 0);
        assert_eq!(bench.progress(bench.begin - Duration::from_millis(1), &mut last), "warming up");
        bench.answered.store(2473, Relaxed);
        assert_eq!(bench.progress(at(1), &mut last), "9 s left");
        // A tick that comes late, and one that comes soon after it.
        bench.answered.store(7000, Relaxed);
        assert_eq!(bench.progress(at(700), &mut last), "10000 requests/s, 9 s left");
        bench.answered.store(7010, Relaxed);
        assert_eq!(bench.progress(at(701), &mut last), "9 s left");
        bench.answered.store(8000, Relaxed);
        assert_eq!(bench.progress(at(1200), &mut last), "2000 requests/s, 8 s left");
    }

    #[tokio::test]
    async fn another_server_is_not() {
        let server =
            Server::builder(Nobody).key_bits(512).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        let args = args(server.local_addr().unwrap(), &[]);
        let failure = args.measure(std::future::pending::<()>()).await.unwrap_err();
        let sentence =
            "the peer is no echo: it answered UNSUPPORT with 0 of 100 bytes (see fixp serve --echo)";
        assert_eq!(failure.to_string(), sentence);
    }
}
