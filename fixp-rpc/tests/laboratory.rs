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
use fixp_transport::{Body, Cause, Channel, ChannelBuilder, udp};
use lab::{Binder, CLIENT, PORT, SERVER, open, serve};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The bytes of each stream.
const FED: usize = 40_000;

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
    /// Runs so long once all of the stream has come, and gives a stream as long.
    async fn feed(&self, number: u32, millis: u32, body: Body) -> Result<(u32, Body), Odd>;
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

    fn begin(&self, number: u32) -> Working {
        self.with(number, |job| job.begun += 1);
        Working(self.clone(), number, false)
    }

    async fn work(&self, number: u32, millis: u32) -> Result<u32, Odd> {
        self.begin(number).end(millis).await
    }
}

impl Working {
    async fn end(mut self, millis: u32) -> Result<u32, Odd> {
        sleep(millis * MILLI).await;
        self.2 = true;
        if self.1.is_multiple_of(2) { Ok(self.1) } else { Err(Odd(self.1)) }
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

    async fn feed(&self, number: u32, millis: u32, mut body: Body) -> Result<(u32, Body), Odd> {
        let working = self.begin(number);
        let mut len = 0;
        while let Some(piece) = body.chunk().await {
            // Its caller has gone, and learns nothing of this.
            len += piece.map_err(|_| Odd(number))?.len();
        }
        Ok((working.end(millis).await?, Body::from_bytes(vec![1; len])))
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

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Run,
    Again,
    Leave,
    Feed,
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
            Kind::Leave => left(jobs.leave(number, millis).await),
            Kind::Feed => {
                let (number, body) = jobs.feed(number, millis, Body::from_bytes(vec![7; FED])).await?;
                // What breaks off behind the result, its stream tells.
                if let Ok(fed) = body.collect(FED).await {
                    assert_eq!(fed.len(), FED);
                }
                Ok(Some(number))
            }
        }
    };
    Ended { number, kind, outcome: patient(patience, outcome).await }
}

/// Four calls in one packet, which is never sent again, since it has some that may not be.
async fn batch(client: Client, first: u32, millis: [u32; 4], patience: Option<Duration>) -> Vec<Ended> {
    let calls = JobsClient::new(client.clone()).calls();
    let batch = client.batch((
        calls.run(first, millis[0]),
        calls.again(first + 1, millis[1]),
        calls.run(first + 2, millis[2]),
        calls.leave(first + 3, millis[3]),
    ));
    let outcomes = match patient(patience, batch).await {
        None => [None, None, None, None],
        Some((a, b, c, d)) => [a.map(Some), b.map(Some), c.map(Some), left(d)].map(Some),
    };
    let kinds = [Kind::Run, Kind::Run, Kind::Run, Kind::Leave];
    let numbered = (first..).zip(kinds).zip(outcomes);
    numbered.map(|((number, kind), outcome)| Ended { number, kind, outcome }).collect()
}

/// One call, or a batch of four. Some return at once, some within their time, some never do.
async fn some(mut chance: Random, client: Client, first: u32, patience: Option<Duration>) -> Vec<Ended> {
    let mut millis = [0; 4];
    for millis in &mut millis {
        *millis = [0, chance.below(500) as u32, 120_000][chance.below(3) as usize];
    }
    let kind = match chance.below(6) {
        0 => return batch(client, first, millis, patience).await,
        1 => Kind::Leave,
        2 => Kind::Feed,
        3 => Kind::Again,
        _ => Kind::Run,
    };
    vec![call(JobsClient::new(client), first, kind, millis[0], patience).await]
}

/// Waits for calls, each of which ends.
async fn all(calls: Vec<JoinHandle<Vec<Ended>>>) -> Vec<Ended> {
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.extend(timeout(60 * SECOND, call).await.expect("each call ends").unwrap());
    }
    outcomes
}

/// What is told of a one-way call.
fn left(outcome: Result<(), Failure>) -> Result<Option<u32>, Failure<Odd>> {
    outcome.map(|()| None).map_err(Failure::cast)
}

/// Nothing where the caller has gone before.
async fn patient<T>(patience: Option<Duration>, outcome: impl Future<Output = T>) -> Option<T> {
    match patience {
        Some(patience) => timeout(patience, outcome).await.ok(),
        None => Some(outcome.await),
    }
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
    let twice = *kind == Kind::Again || way == Way::Udp && doubles;
    let once = !twice || way == Way::Ordered;
    assert!(!once || job.begun <= 1, "{case}");
}

/// What a story tells of a call that was executed more than once, and not because the network doubled it.
const REPEATED: &str = "repeated";

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

/// A network that loses nothing.
fn links(chance: &mut Random, doubles: bool) -> LinkConfig {
    let links = LinkConfig::default()
        .with_delay(chance.below(40) as u32 * MILLI)
        .with_jitter(chance.below(10) as u32 * MILLI)
        .with_reorder(chance.below(10) as f64 / 100.0, 20 * MILLI);
    if doubles { links.with_duplicate(0.1) } else { links }
}

/// Tells what came of the calls.
async fn story(lab: Laboratory, dialect: &'static Dialect, way: Way) -> Vec<&'static str> {
    let mut chance = lab.random();
    let doubles = chance.below(2) == 0;
    lab.set_links(links(&mut chance, doubles).with_loss(chance.below(10) as f64 / 100.0));
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
        let time = (100 + chance.below(10_000) as u32) * MILLI;
        let patience = (chance.below(3) == 0).then(|| chance.below(1000) as u32 * MILLI);
        calls.push(tokio::spawn(some(chance.split(), client.clone().timeout(time), number * 4, patience)));
    }
    let outcomes = all(calls).await;
    trouble.await.unwrap();
    // The longest time of a call is over for certain: what was not executed by now never is.
    sleep(20 * SECOND).await;
    let mut told = Vec::new();
    for ended in &outcomes {
        let job = book.job(ended.number);
        check(ended, job, way, doubles);
        told.push(ended.what());
        if ended.kind == Kind::Again && job.begun > 1 && !(way == Way::Udp && doubles) {
            told.push(REPEATED);
        }
    }
    assert_eq!(book.working(), 0, "{way:?}: {:?}", book.0.lock().unwrap());
    told
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
            let mut all = BTreeSet::from(["failed", "gone", "no", "perhaps", "returned"]);
            // The others tell their copies apart.
            if matches!(way, Way::Tcp | Way::Udp) {
                all.insert(REPEATED);
            }
            assert_eq!(*seen.lock().unwrap(), all, "{name}");
        }
    }
}

/// What its caller does not wait for ends long before its time is over: he has said so, and nothing is lost.
async fn dropped(lab: Laboratory, dialect: &'static Dialect, way: Way) {
    let mut chance = lab.random();
    let doubles = chance.below(2) == 0;
    lab.set_links(links(&mut chance, doubles));
    let book = Book::default();
    let rpc = Rpc::new().serve(JobsService::new(book.clone()));
    let _server = serve(&lab, dialect, ServerLimits::default(), rpc).await;
    let client = client(&lab, dialect, way).timeout(600 * SECOND);
    let mut calls = Vec::new();
    for number in 0..20 {
        sleep(chance.below(400) as u32 * MILLI).await;
        let patience = Some(chance.below(1000) as u32 * MILLI);
        calls.push(tokio::spawn(some(chance.split(), client.clone(), number * 4, patience)));
    }
    let outcomes = all(calls).await;
    sleep(10 * SECOND).await;
    for ended in &outcomes {
        let job = book.job(ended.number);
        check(ended, job, way, doubles);
        // Nobody waits for what is one-way from the beginning.
        let over = ended.kind == Kind::Leave || job.begun == job.ended + job.dropped;
        assert!(over, "{way:?}, {ended:?}: {job:?}");
    }
    let dropped = outcomes.iter().any(|ended| book.job(ended.number).dropped > 0);
    assert!(dropped, "nothing was dropped while it ran");
}

/// SPEC 13.5.
#[test]
fn the_work_of_what_is_dropped_ends() {
    for dialect in BOTH {
        // On an ordered channel only the deadline ends it.
        for way in [Way::Tcp, Way::Keep, Way::Udp] {
            let name = format!("dropped-{}-{way:?}", dialect.name());
            Laboratory::run_seeds(&name, 1..=20, |lab| dropped(lab, dialect, way));
        }
    }
}
