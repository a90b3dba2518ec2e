//! `fixp serve`: a communications server.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anstream::AutoStream;
use clap::{ArgAction, ValueHint};
use conformance_vectors::exit::Exit;
use fixp_rpc::Rpc;
use fixp_transport::server::config::Config;
use fixp_transport::server::{Builder, Node, Report, ServerStats, Stop};
use fixp_transport::{Echo, Handler, Nobody};
use serde::Serialize;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::dialects::WhichDialect;
use crate::failure::Failure;
use crate::json_text::{self, Layout};
use crate::{descriptors, output, runtime, span};

const AFTER: &str = "\
Without --echo it serves what is built into every server and node: TEST, REFLECT,
SHINE, HELO, COMEBACK, EXIT, SHUTDOWN and the SECURE requests (without ciphers);
everything else is refused as the dialect has it. TCP, UDP and KEEP UDP have the
same port. Where neither --listen nor the configuration names an address, it is
127.0.0.1:5000, which only this machine can reach.

Once it listens it prints a line with its addresses. Ctrl-C, SIGTERM, and SHUTDOWN
over UDP from this machine, let it finish what has begun, for as long as
--deadline says; a second signal ends it at once. Then it prints what it has done.
The configuration is that of fixp-transport/server.toml. It asks the system for as
many descriptors as its limits allow connections, and says so where there are fewer.
FIXP_LOG takes levels by target, such as info or fixp_transport::server=debug; -v
and -vv come before it.

Examples:
  fixp serve --echo
  fixp serve --echo --listen 127.0.0.1:0 --dialect lexst1 -v
  fixp serve --config server.toml --listen '[::]:6000'
  FIXP_LOG=debug fixp serve 2> log.txt

Exit codes:
  0  it was stopped, and all that had begun was finished
  1  it could not listen, or something was cut off
  2  wrong arguments, or a configuration that cannot be used";

/// Where it listens if nobody says it: nothing from outside comes here.
const LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 5000);

/// The variable that says what is logged.
const LOG: &str = "FIXP_LOG";

/// Run a communications server, over TCP and UDP
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    /// Listen here, over TCP, UDP and KEEP UDP; may be given several times [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,

    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["dialect", "default_dialect"])]
    config: Option<PathBuf>,

    /// Answer what is not built in by OKAY, the same messages and the same entity; calls have the interface Echo
    #[arg(long)]
    echo: bool,

    #[command(flatten)]
    dialect: WhichDialect,

    /// How long what has begun may go on after a signal [default: 10s, or the configuration's]
    #[arg(long, value_name = "TIME", value_parser = span::time)]
    deadline: Option<Duration>,

    /// Log more, on standard error: once for connections that come to nothing, twice for everything
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// Print what it says as JSON, one line each
    #[arg(long)]
    json: bool,
}

/// An interface to try calls on.
#[fixp_rpc::service(name = "Echo")]
trait Echoing {
    /// The same text.
    #[idempotent]
    async fn echo(&self, text: String) -> String;
    /// The sum of two numbers, where it is one.
    #[idempotent]
    async fn add(&self, a: i64, b: i64) -> Result<i64, String>;
}

struct Mirror;

impl Echoing for Mirror {
    async fn echo(&self, text: String) -> String {
        text
    }

    async fn add(&self, a: i64, b: i64) -> Result<i64, String> {
        a.checked_add(b).ok_or_else(|| format!("{a} + {b} is not a number of 64 bits"))
    }
}

/// What is printed with `--json`.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Listening(&'a [SocketAddr]),
    Stopped(Total),
}

/// What a server has done.
#[derive(Clone, Copy, Debug, Serialize)]
struct Total {
    connections: u64,
    turned_away: u64,
    requests: u64,
    answers: u64,
    datagrams: u64,
    datagrams_dropped: u64,
    datagrams_sent: u64,
    keep_requests: u64,
    keep_answers: u64,
    keep_refused: u64,
    malformed: u64,
    timed_out: u64,
    /// Answers that went after it was told to stop; they are in no other number.
    finished: u64,
    cut: u64,
    /// The deadline came before all had ended.
    late: bool,
    at_once: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        self.log()?;
        let config = self.config()?;
        reserve(&config);
        runtime::large(async {
            if self.echo {
                let rpc = Rpc::new().serve(EchoingService::new(Mirror)).or(Echo);
                self.serve(&config, rpc).await
            } else {
                self.serve(&config, Rpc::new().or(Nobody)).await
            }
        })
    }

    fn config(&self) -> Result<Config, Failure> {
        let mut config = match &self.config {
            None => Config::default(),
            Some(path) => {
                let name = path.display().to_string();
                match fs::read_to_string(path) {
                    Ok(text) => Config::from_toml(&text).map_err(|error| Failure::Config { name, error })?,
                    Err(error) => return Err(Failure::File { name, error }),
                }
            }
        };
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        if config.listen.is_empty() {
            config.listen.push(LISTEN.into());
        }
        if let Some(deadline) = self.deadline {
            config.shutdown.deadline = deadline;
        }
        Ok(config)
    }

    fn log(&self) -> Result<(), Failure> {
        let wanted = std::env::var(LOG).ok().filter(|wanted| self.verbose == 0 && !wanted.is_empty());
        let targets = match (wanted, self.verbose) {
            (Some(wanted), _) => wanted
                .parse::<Targets>()
                .map_err(|error| Failure::Usage(format!("{LOG} is {wanted:?}: {error}")))?,
            (None, 0) => Targets::new().with_default(LevelFilter::WARN),
            (None, 1) => Targets::new().with_default(LevelFilter::DEBUG),
            (None, _) => Targets::new().with_default(LevelFilter::TRACE),
        };
        let colored = AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
        let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colored);
        tracing_subscriber::registry().with(lines).with(targets).init();
        Ok(())
    }

    async fn serve<H: Handler>(&self, config: &Config, handler: H) -> Result<Exit, Failure> {
        // Before anybody is told that it listens, so that a signal then does what it should.
        let mut signals = Signals::new().map_err(Failure::System)?;
        let stop = Stop::new();
        let node = Node::new(handler).with_shutdown(stop.clone(), config.shutdown_from());
        let builder: Builder<_> = config.builder(node).stop(stop.clone());
        let builder = if self.config.is_none() { builder.dialect(self.dialect.of_peers()) } else { builder };
        let server = tokio::select! {
            biased;
            () = signals.next() => return Ok(Exit::Passed),
            server = builder.start() => server.map_err(Failure::Server)?,
        };
        self.say_listening(server.local_addrs())?;
        tokio::select! {
            biased;
            () = signals.next() => {}
            () = stop.stopped() => {}
        }
        let deadline = config.shutdown.deadline;
        if !self.json && io::stderr().is_terminal() {
            output::note(format_args!(
                "finishing what has begun, for {} s at most; a second signal ends it at once",
                deadline.as_secs_f64()
            ));
        }
        let before = server.stats();
        let report = tokio::select! {
            biased;
            () = signals.next() => None,
            report = server.shutdown(deadline) => Some(report),
        };
        let total = Total::of(&before, report);
        self.say_stopped(&total)?;
        Ok(if total.at_once || total.cut > 0 { Exit::Failed } else { Exit::Passed })
    }

    fn say_listening(&self, addrs: &[SocketAddr]) -> Result<(), Failure> {
        if self.json {
            return print_json(&Line::Listening(addrs));
        }
        let addrs: Vec<String> = addrs.iter().map(SocketAddr::to_string).collect();
        print(&format!("listening on {}\n", addrs.join(", ")))
    }

    fn say_stopped(&self, total: &Total) -> Result<(), Failure> {
        if self.json { print_json(&Line::Stopped(*total)) } else { print(&total.to_string()) }
    }
}

impl Total {
    /// What was done in all; where it was ended at once, what was done until it was told to stop.
    fn of(before: &ServerStats, report: Option<Report>) -> Self {
        let stats = report.as_ref().map_or(before, |report| &report.stats);
        Self {
            connections: stats.accepted,
            turned_away: stats.turned_away,
            requests: stats.requests,
            answers: stats.answers,
            datagrams: stats.datagrams,
            datagrams_dropped: stats.datagrams_dropped,
            datagrams_sent: stats.datagrams_sent,
            keep_requests: stats.keep_requests,
            keep_answers: stats.keep_answers,
            keep_refused: stats.keep_refused,
            malformed: stats.malformed,
            timed_out: stats.timed_out,
            finished: report.map_or(0, |report| report.finished),
            cut: report.map_or(0, |report| report.cut),
            late: report.is_some_and(|report| report.late),
            at_once: report.is_none(),
        }
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { connections, turned_away, requests, answers, malformed, timed_out, finished, cut, .. } =
            self;
        writeln!(f, "tcp: {connections} connections, {requests} requests, {answers} answers")?;
        let Self { datagrams, datagrams_sent, datagrams_dropped, .. } = self;
        writeln!(f, "udp: {datagrams} datagrams, {datagrams_sent} sent, {datagrams_dropped} dropped")?;
        let Self { keep_requests, keep_answers, keep_refused, .. } = self;
        if keep_requests + keep_refused > 0 {
            write!(f, "keep udp: {keep_requests} requests, {keep_answers} answers")?;
            if *keep_refused > 0 {
                write!(f, ", {keep_refused} refused")?;
            }
            writeln!(f)?;
        }
        if turned_away + malformed + timed_out > 0 {
            writeln!(
                f,
                "connections turned away: {turned_away}, ended by what could not be read: {malformed}, by time: {timed_out}"
            )?;
        }
        if *finished > 0 {
            writeln!(f, "finished after it was told to stop: {finished}")?;
        }
        if self.at_once {
            return writeln!(f, "stopped at once; what was under way is cut off");
        }
        let when = if self.late { "stopped at the deadline" } else { "stopped" };
        match cut {
            0 => writeln!(f, "{when}; no request was cut off"),
            1 => writeln!(f, "{when}; 1 request was cut off"),
            cut => writeln!(f, "{when}; {cut} requests were cut off"),
        }
    }
}

/// Has a descriptor for every connection that is allowed: a source that takes fewer than its own limit could keep out
/// all others otherwise.
fn reserve(config: &Config) {
    // Each address has a socket for either transport.
    let sockets = config.limits.connections.saturating_add(2 * config.listen.len());
    let room = descriptors::room_for(sockets);
    if room < sockets {
        output::note(format_args!(
            "the system lets this process have {room} sockets, and the server may want {sockets}: raise the hard \
             limit (ulimit -Hn), or lower limits.connections"
        ));
    }
}

/// Ctrl-C, and where there is one SIGTERM.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // Nobody can tell, so nobody does.
            std::future::pending::<()>().await;
        }
    }
}

/// Whoever reads the addresses may have seen enough: that does not end the server.
fn print(text: &str) -> Result<(), Failure> {
    output::quietly(output::at_once(|out| out.write_all(text.as_bytes())))
}

fn print_json(line: &impl Serialize) -> Result<(), Failure> {
    output::quietly(output::at_once(|out| json_text::write(out, line, Layout::Line)))
}
