//! Calls on a network that loses, doubles, reorders, cuts and splits, on a virtual clock: each call ends once, with
//! the truth about whether it ran, and the work of one that nobody waits for ends (SPEC 13.4 to 13.6).
//!
//! A run that fails prints its seed; `FIXP_SEED` runs it again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../fixp-transport/tests/common/lab.rs"]
mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixp_codec::{Dialect, LAXCUS6, LEXST1};
use fixp_laboratory::{Cut, Direction, Laboratory, LinkConfig, Random};
use fixp_rpc::{Client, Executed, Failure, Format, Rpc};
use fixp_transport::limits::ServerLimits;
use fixp_transport::{Cause, Channel, ChannelBuilder, udp};
use lab::{Binder, CLIENT, PORT, SERVER, open, serve};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
struct Odd(u32);

#[fixp_rpc::service]
trait Jobs {
    /// Runs so long, and fails if it is odd.
    async fn run(&self, number: u32, millis: u32) -> Result<u32, Odd>;
    #[idempotent]
    async fn again(&self, number: u32, millis: u32) -> Result<u32, Odd>;
    #[one_way]
    async fn leave(&self, number: u32, millis: u32);
}

/// What has become of the jobs, by their numbers.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<BTreeMap<u32, Job>>>);

#[derive(Clone, Copy, Default, Debug)]
struct Job {
    begun: u32,
    ended: u32,
    dropped: u32,
}

/// A job that runs.
struct Working(Book, u32, bool);

impl Book {
    fn job(&self, number: u32) -> Job {
        self.0.lock().unwrap().get(&number).copied().unwrap_or_default()
    }

    fn with(&self, number: u32, change: impl FnOnce(&mut Job)) {
        change(self.0.lock().unwrap().entry(number).or_default());
    }

    fn working(&self) -> u32 {
        self.0.lock().unwrap().values().map(|job| job.begun - job.ended - job.dropped).sum()
    }

    async fn work(&self, number: u32, millis: u32) -> Result<u32, Odd> {
        self.with(number, |job| job.begun += 1);
        let mut working = Working(self.clone(), number, false);
        sleep(millis * MILLI).await;
        working.2 = true;
        if number.is_multiple_of(2) { Ok(number) } else { Err(Odd(number)) }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.with(self.1, |job| if self.2 { job.ended += 1 } else { job.dropped += 1 });
    }
}

impl Jobs for Book {
    async fn run(&self, number: u32, millis: u32) -> Result<u32, Odd> {
        self.work(number, millis).await
    }

    async fn again(&self, number: u32, millis: u32) -> Result<u32, Odd> {
        self.work(number, millis).await
    }

    async fn leave(&self, number: u32, millis: u32) {
        let _ = self.work(number, millis).await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Tcp,
    Ordered,
    Keep,
    Udp,
}

const WAYS: [Way; 4] = [Way::Tcp, Way::Ordered, Way::Keep, Way::Udp];
const BOTH: [&Dialect; 2] = [&LAXCUS6, &LEXST1];

fn channel(dialect: &'static Dialect) -> ChannelBuilder {
    Channel::builder(dialect)
        .announce_first()
        .connect_time(4 * SECOND)
        .heartbeat(Some(3 * SECOND), 2 * SECOND)
        .backoff(50 * MILLI, SECOND)
}

fn client(lab: &Laboratory, dialect: &'static Dialect, way: Way) -> Client {
    let peer = SocketAddr::new(SERVER, PORT);
    let host = lab.host(CLIENT);
    match way {
        Way::Tcp => Client::over(open(lab, channel(dialect))),
        Way::Ordered => Client::over(open(lab, channel(dialect).ordered())),
        Way::Keep => Client::over(channel(dialect).seed(lab.seed()).keep_udp_over(peer, Binder(host))),
        Way::Udp => {
            let client = udp::Client::builder().dialect(dialect).random(lab.seed());
            Client::over_udp(client.sockets(Some(Binder(host)), None).build(), peer)
        }
    }
}

/// What is called, and how long its caller has patience.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Run,
    Again,
    Leave,
}

/// A call that has ended.
#[derive(Debug)]
struct Ended {
    number: u32,
    kind: Kind,
    /// Nothing where the caller has gone.
    outcome: Option<Result<Option<u32>, Failure<Odd>>>,
}

impl Ended {
    fn what(&self) -> &'static str {
        match &self.outcome {
            None => "gone",
            Some(Ok(_)) => "returned",
            Some(Err(Failure::Failed(_))) => "failed",
            Some(Err(failure)) => match failure.executed() {
                Executed::No => "no",
                Executed::Perhaps => "perhaps",
                Executed::Yes => "yes",
            },
        }
    }
}

async fn call(jobs: JobsClient, number: u32, kind: Kind, millis: u32, patience: Option<Duration>) -> Ended {
    let outcome = async {
        match kind {
            Kind::Run => jobs.run(number, millis).await.map(Some),
            Kind::Again => jobs.again(number, millis).await.map(Some),
            Kind::Leave => match jobs.leave(number, millis).await {
                Ok(()) => Ok(None),
                Err(failure) => Err(failure.map(|never| match never {})),
            },
        }
    };
    let outcome = match patience {
        Some(patience) => timeout(patience, outcome).await.ok(),
        None => Some(outcome.await),
    };
    Ended { number, kind, outcome }
}

/// Whether what the caller was told is true.
fn check(ended: &Ended, job: Job, way: Way, doubles: bool) {
    let Ended { number, kind, outcome } = ended;
    let case = format!("{way:?}, {ended:?}: {job:?}");
    match outcome {
        Some(Ok(Some(answer))) => {
            assert_eq!(answer, number, "{case}");
            assert!(job.ended > 0 && number % 2 == 0, "{case}");
        }
        Some(Ok(None)) => assert!(matches!(kind, Kind::Leave) && job.begun > 0, "{case}"),
        Some(Err(Failure::Failed(Odd(answer)))) => {
            assert_eq!(answer, number, "{case}");
            assert!(job.ended > 0 && number % 2 == 1, "{case}");
        }
        Some(Err(failure)) => match failure.executed() {
            Executed::No => assert_eq!(job.begun, 0, "{case}"),
            Executed::Yes => assert!(job.begun > 0, "{case}"),
            Executed::Perhaps => {}
        },
        None => {}
    }
    // Only what may be repeated is; but a network that doubles a datagram makes two requests of it (SPEC 10.3).
    let twice = matches!(kind, Kind::Again) || way == Way::Udp && doubles;
    let once = !twice || way == Way::Ordered;
    assert!(!once || job.begun <= 1, "{case}");
}

/// Troubles of the network, one after another.
async fn troubles(lab: &Laboratory, mut chance: Random) {
    for _ in 0..chance.below(4) {
        sleep(chance.below(3000) as u32 * MILLI).await;
        match chance.below(3) {
            0 => {
                lab.partition(CLIENT, SERVER);
                sleep(chance.below(8000) as u32 * MILLI).await;
                lab.heal(CLIENT, SERVER);
            }
            1 => {
                lab.partition_one_way(SERVER, CLIENT);
                sleep(chance.below(5000) as u32 * MILLI).await;
                lab.heal(CLIENT, SERVER);
            }
            _ => {
                let cut = [Cut::Reset, Cut::Fin, Cut::Silence][chance.below(3) as usize];
                let direction = [Direction::ToServer, Direction::ToClient][chance.below(2) as usize];
                for connection in lab.connections(CLIENT, SERVER) {
                    lab.cut_after(connection, direction, chance.below(200), cut);
                }
            }
        }
    }
}

/// Tells what came of the calls.
async fn story(lab: Laboratory, dialect: &'static Dialect, way: Way) -> Vec<&'static str> {
    let mut chance = lab.random();
    let doubles = chance.below(2) == 0;
    let mut links = LinkConfig::default()
        .with_delay(chance.below(40) as u32 * MILLI)
        .with_jitter(chance.below(10) as u32 * MILLI)
        .with_loss(chance.below(10) as f64 / 100.0)
        .with_reorder(chance.below(10) as f64 / 100.0, 20 * MILLI);
    if doubles {
        links = links.with_duplicate(0.1);
    }
    lab.set_links(links);
    let book = Book::default();
    let rpc = Rpc::new().serve(JobsService::new(book.clone()));
    let _server = serve(&lab, dialect, ServerLimits::default(), rpc).await;
    let format = Format::ALL[chance.below(3) as usize];
    let client = client(&lab, dialect, way).format(format);
    let trouble = tokio::spawn({
        let (lab, chance) = (lab.clone(), lab.random());
        async move { troubles(&lab, chance).await }
    });
    let mut calls = Vec::new();
    for number in 0..20 {
        sleep(chance.below(400) as u32 * MILLI).await;
        let kind = [Kind::Run, Kind::Run, Kind::Again, Kind::Leave][chance.below(4) as usize];
        // Some return at once, some within their time, some never do.
        let millis = [0, chance.below(500) as u32, 120_000][chance.below(3) as usize];
        let time = (100 + chance.below(10_000) as u32) * MILLI;
        let patience = (chance.below(3) == 0).then(|| chance.below(1000) as u32 * MILLI);
        let jobs = JobsClient::new(client.clone().timeout(time));
        calls.push(tokio::spawn(call(jobs, number, kind, millis, patience)));
    }
    let mut outcomes = Vec::new();
    for ended in calls {
        outcomes.push(timeout(60 * SECOND, ended).await.expect("each call ends").unwrap());
    }
    trouble.await.unwrap();
    // The longest time of a call is over for certain: what was not executed by now never is.
    sleep(20 * SECOND).await;
    for ended in &outcomes {
        check(ended, book.job(ended.number), way, doubles);
    }
    assert_eq!(book.working(), 0, "{way:?}: {:?}", book.0.lock().unwrap());
    outcomes.iter().map(Ended::what).collect()
}

/// A peer that has not announced itself yet is asked for that first, and that takes its part of the call's time.
#[test]
fn the_time_of_a_call_is_for_all_that_it_sends() {
    for dialect in BOTH {
        Laboratory::run(&format!("time-{}", dialect.name()), |lab| async move {
            lab.set_links(LinkConfig::default().with_delay(200 * MILLI));
            let rpc = Rpc::new().serve(JobsService::new(Book::default()));
            let _server = serve(&lab, dialect, ServerLimits::default(), rpc).await;
            let jobs = |time| JobsClient::new(client(&lab, dialect, Way::Udp).timeout(time));
            assert_eq!(jobs(2 * SECOND).run(2, 0).await, Ok(2));
            let begun = lab.now();
            let late = jobs(SECOND).run(2, 700).await;
            assert_eq!(late, Err(Failure::MayHaveRun(Cause::Timeout)));
            assert!(lab.now() - begun <= SECOND + MILLI, "{:?}", lab.now() - begun);
        });
    }
}

#[test]
fn each_call_ends_once_with_the_truth() {
    for dialect in BOTH {
        for way in WAYS {
            let name = format!("calls-{}-{way:?}", dialect.name());
            let seen = Arc::new(Mutex::new(BTreeSet::new()));
            Laboratory::run_seeds(&name, 1..=40, |lab| {
                let seen = Arc::clone(&seen);
                async move {
                    let came = story(lab, dialect, way).await;
                    seen.lock().unwrap().extend(came);
                }
            });
            // Everything that can happen does, or nothing has been shown.
            let all = ["failed", "gone", "no", "perhaps", "returned"];
            assert_eq!(seen.lock().unwrap().iter().copied().collect::<Vec<_>>(), all, "{name}");
        }
    }
}
