//! The laboratory, and the harness of a test in it.
//!
//! ```
//! use std::time::Duration;
//! use fixp_laboratory::{Laboratory, LinkConfig, Verdict};
//! use tokio::time::timeout;
//!
//! // Three runs; a failing one would print its seed.
//! Laboratory::run_seeds("third", 0..3, |lab| async move {
//!     let (a, b) = (lab.host([10, 0, 0, 1].into()), lab.host([10, 0, 0, 2].into()));
//!     lab.link(a.ip(), b.ip(), &LinkConfig::default().with_jitter(Duration::from_millis(30)));
//!     lab.filter(a.ip(), b.ip(), |_, nth| if nth == 2 { Verdict::Drop } else { Verdict::Pass });
//!
//!     let (a, b) = (a.bind(0)?, b.bind(0)?);
//!     for _ in 0..4 {
//!         a.send_to(b"hello", b.local_addr())?;
//!     }
//!     let mut buf = [0; 5];
//!     for _ in 0..3 {
//!         b.recv_from(&mut buf).await?;
//!     }
//!     assert!(timeout(Duration::from_secs(60), b.recv_from(&mut buf)).await.is_err());
//!     Ok::<(), std::io::Error>(())
//! });
//! ```

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::driver::Shared;
use crate::{ConnectionId, Cut, Direction, Host, HostConfig, LinkConfig, Random, Verdict};

/// The variable that sets the seed of a run.
const SEED: &str = "FIXP_SEED";
/// How much time may pass in a run, unless it says otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// Hosts and the network between them, on a virtual clock. A handle: clones are of the same laboratory.
#[derive(Clone, Debug)]
pub struct Laboratory {
    shared: Arc<Shared>,
    seed: u64,
    limit: Arc<Limit>,
}

#[derive(Debug)]
struct Limit {
    time: Mutex<Duration>,
    changed: Notify,
}

/// What a test gives back: nothing, or a result, as from a function marked `#[test]`.
pub trait Outcome {
    /// What has gone wrong, if anything has.
    fn failure(&self) -> Option<String>;
}

impl Outcome for () {
    fn failure(&self) -> Option<String> {
        None
    }
}

impl<T, E: Debug> Outcome for Result<T, E> {
    fn failure(&self) -> Option<String> {
        self.as_ref().err().map(|error| format!("{error:?}"))
    }
}

/// Runs of tests.
impl Laboratory {
    /// Runs a test in a laboratory of its own, in a runtime of its own with a paused clock.
    ///
    /// The seed is that of the variable `FIXP_SEED`, or one made from the name. When the test panics or gives
    /// back an error, the seed is printed, and the capture is written to `NAME-SEED.pcapng` in the directory
    /// of the variable `CARGO_TARGET_TMPDIR`, or else in that for temporary files.
    ///
    /// # Panics
    ///
    /// As the test does; inside of a runtime; and when an hour (or another [limit](Self::set_time_limit)) of virtual time has
    /// passed, because then something waits for what will not come.
    pub fn run<F, T>(name: &str, test: impl FnOnce(Self) -> F) -> T
    where
        F: Future<Output = T>,
        T: Outcome,
    {
        run(name, seed_asked().unwrap_or_else(|| seed_of(name)), test)
    }

    /// Runs a test with each of these seeds, or with that of `FIXP_SEED` only, until one fails.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run), and when a test gives back an error.
    pub fn run_seeds<F, T>(name: &str, seeds: impl IntoIterator<Item = u64>, mut test: impl FnMut(Self) -> F)
    where
        F: Future<Output = T>,
        T: Outcome,
    {
        let mut one = |seed| {
            if let Some(failure) = run(name, seed, &mut test).failure() {
                panic!("laboratory: {name} failed with seed {seed}: {failure}");
            }
        };
        match seed_asked() {
            Some(seed) => one(seed),
            None => seeds.into_iter().for_each(one),
        }
    }

    /// A laboratory in the current runtime, whose clock should be paused.
    ///
    /// # Panics
    ///
    /// Without a runtime.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let limit = Limit { time: Mutex::new(TIME_LIMIT), changed: Notify::new() };
        Self { shared: Shared::start(seed), seed, limit: Arc::new(limit) }
    }

    /// Fails the run when this much virtual time has passed since its start. Default 1 h.
    pub fn set_time_limit(&self, limit: Duration) {
        *self.limit.time.lock().unwrap_or_else(PoisonError::into_inner) = limit;
        self.limit.changed.notify_one();
    }

    /// The seed of this run.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.with(|world| world.now)
    }

    /// Random numbers for the test's own use, from the same seed; each call gives another generator. What a
    /// test draws does not change what the network does.
    #[must_use]
    pub fn random(&self) -> Random {
        self.shared.with(|world| world.random())
    }

    /// Comes back when the time limit has passed.
    async fn time_limit(&self) -> Duration {
        loop {
            let limit = *self.limit.time.lock().unwrap_or_else(PoisonError::into_inner);
            if timeout_at(self.shared.instant(limit), self.limit.changed.notified()).await.is_err() {
                return limit;
            }
        }
    }
}

/// Hosts and links.
impl Laboratory {
    /// The host with this address, made when it is first asked for.
    #[must_use]
    pub fn host(&self, ip: IpAddr) -> Host {
        self.shared.with(|world| world.add_host(ip));
        Host::new(self.shared.clone(), ip)
    }

    /// Sets how hosts are made from now on.
    pub fn set_hosts(&self, config: HostConfig) {
        self.shared.with(|world| world.hosts_config = config);
    }

    /// Changes all links that [`link`](Self::link) has not set.
    pub fn set_links(&self, config: LinkConfig) {
        self.shared.with(|world| world.wire.set_links(config));
    }

    /// Changes the link between two hosts in both directions, for what is sent from now on.
    pub fn link(&self, a: IpAddr, b: IpAddr, config: &LinkConfig) {
        self.shared.with(|world| world.wire.link(a, b, config));
    }

    /// Changes the link from one host to another.
    pub fn link_one_way(&self, from: IpAddr, to: IpAddr, config: LinkConfig) {
        self.shared.with(|world| world.wire.link_one_way(from, to, config));
    }
}

/// Faults.
impl Laboratory {
    /// Lets nothing pass between two hosts. What is under way when it should arrive is lost too.
    pub fn partition(&self, a: IpAddr, b: IpAddr) {
        self.shared.with(|world| world.wire.partition(a, b));
    }

    /// Lets nothing pass from one host to another; the other direction goes on.
    pub fn partition_one_way(&self, from: IpAddr, to: IpAddr) {
        self.shared.with(|world| world.wire.partition_one_way(from, to));
    }

    /// Ends a partition, in both directions. Streams go on with their next attempt.
    pub fn heal(&self, a: IpAddr, b: IpAddr) {
        self.shared.with(|world| world.wire.heal(a, b));
    }

    /// Has every datagram from one host to another judged, in place of an earlier filter. The filter gets
    /// the datagram and how many it has seen before. It must not call the laboratory, which waits for it.
    pub fn filter(
        &self,
        from: IpAddr,
        to: IpAddr,
        filter: impl FnMut(&[u8], u64) -> Verdict + Send + 'static,
    ) {
        self.shared.with(|world| world.wire.filter(from, to, filter));
    }

    /// Takes a filter away.
    pub fn unfilter(&self, from: IpAddr, to: IpAddr) {
        self.shared.with(|world| world.wire.unfilter(from, to));
    }

    /// Cuts a connection when this many bytes, counted from its beginning, have come to the reader of that
    /// direction; at once if they have. A connection has one cut in each direction: a later one replaces it.
    pub fn cut_after(&self, connection: ConnectionId, direction: Direction, bytes: u64, cut: Cut) {
        self.shared.with(|world| world.cut_after(connection, direction, bytes, cut));
    }

    /// Says what will happen to the next connection from one host to another. Said again, it is about the
    /// connection after that one.
    pub fn on_next_connection(&self, from: IpAddr, to: IpAddr) -> NextConnection {
        let rule = self.shared.with(|world| world.add_rule(from, to));
        NextConnection { shared: self.shared.clone(), rule }
    }

    /// The connections between two hosts, whoever has made them, the oldest first.
    #[must_use]
    pub fn connections(&self, a: IpAddr, b: IpAddr) -> Vec<ConnectionId> {
        self.shared.with(|world| world.connections(a, b))
    }
}

/// The capture.
impl Laboratory {
    /// What has been sent, as a pcapng file: packets at the time of sending, with a comment if one was
    /// dropped, changed or came twice.
    #[must_use]
    pub fn capture(&self) -> Vec<u8> {
        self.shared.with(|world| world.wire.capture())
    }

    /// Writes the capture to a file.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn write_capture(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.capture())
    }

    /// Keeps this many bytes of what has been sent, with about 200 for each packet. Default 16 MiB.
    pub fn set_capture_limit(&self, bytes: usize) {
        self.shared.with(|world| world.wire.set_capture_limit(bytes));
    }
}

/// What will happen to a connection that is not there yet ([`Laboratory::on_next_connection`]).
#[derive(Debug)]
pub struct NextConnection {
    shared: Arc<Shared>,
    rule: u64,
}

impl NextConnection {
    /// Only the next connection to this port is meant.
    pub fn to_port(self, port: u16) -> Self {
        self.shared.with(|world| world.set_rule_port(self.rule, port));
        self
    }

    /// It is cut when this many bytes of that direction have come to their reader; before the first byte
    /// for 0, as soon as both ends are open.
    pub fn cut_after(self, direction: Direction, bytes: u64, cut: Cut) -> Self {
        self.shared.with(|world| world.set_rule_cut(self.rule, direction, bytes, cut));
        self
    }
}

fn run<F, T>(name: &str, seed: u64, test: impl FnOnce(Laboratory) -> F) -> T
where
    F: Future<Output = T>,
    T: Outcome,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("laboratory: no runtime: {error}"));
    let lab = runtime.block_on(async { Laboratory::new(seed) });
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut limit = pin!(lab.time_limit());
            let mut test = pin!(test(lab.clone()));
            // The test first: what it gives back at the last moment counts.
            std::future::poll_fn(|cx| {
                if let Poll::Ready(outcome) = test.as_mut().poll(cx) {
                    return Poll::Ready(outcome);
                }
                limit.as_mut().poll(cx).map(|limit| {
                    panic!("laboratory: {limit:?} of virtual time have passed: the run hangs, or needs a higher limit")
                })
            })
            .await
        })
    }));
    let failure = match &outcome {
        Ok(outcome) => outcome.failure(),
        Err(_) => Some("panic".to_owned()),
    };
    if let Some(failure) = failure {
        report(&lab, name, &failure);
    }
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Says how to see a failure again.
fn report(lab: &Laboratory, name: &str, failure: &str) {
    let seed = lab.seed;
    let path = capture_path(name, seed);
    let capture = match lab.write_capture(&path) {
        Ok(()) => format!("capture written to {}", path.display()),
        Err(error) => format!("no capture: {}: {error}", path.display()),
    };
    eprintln!("laboratory: seed {seed}, {capture}");
    eprintln!("laboratory: {name} failed after {:?} ({failure}); {SEED}={seed} runs it again", lab.now());
}

fn capture_path(name: &str, seed: u64) -> PathBuf {
    let plain = |char: char| if char.is_ascii_alphanumeric() || char == '_' { char } else { '-' };
    let name: String = name.chars().map(plain).collect();
    let directory = std::env::var_os("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    directory.join(format!("{name}-{seed}.pcapng"))
}

/// The seed that the caller of the test wants.
fn seed_asked() -> Option<u64> {
    let seed = std::env::var(SEED).ok()?;
    Some(seed.trim().parse().unwrap_or_else(|_| panic!("{SEED} is not a number: {seed}")))
}

/// A seed from a name: FNV-1a.
fn seed_of(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    name.bytes().fold(0xCBF2_9CE4_8422_2325, step)
}
