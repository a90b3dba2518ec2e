//! The phases, one function each.

use std::sync::Arc;
use std::time::Duration;

use conformance_vectors::Kind;
use fixp_codec::LAXCUS6;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::far::{Far, Holding};
use crate::link::{Link, request, source};
use crate::report::{Failures, Report, Times};
use crate::{Failure, HEAD_TIME, Options};

/// What an idle connection may hold.
const BOUND: u64 = 8 << 10;
/// After this silence a connection is idle: the server takes back its buffers after a second.
const SILENCE: Duration = Duration::from_millis(1600);
/// Connections that are being made at a time, fewer than the server's backlog.
const OPENING: usize = 256;
/// How long the server's process may take to come to rest.
const REST: Duration = Duration::from_secs(20);
/// How often a worker sends.
const BEAT: Duration = Duration::from_millis(50);
/// The p99 of the workers may be this whatever it was before, so that a busy machine is no failure...
const WORKERS_P99: Duration = Duration::from_millis(100);
/// ... or so many times what it was.
const WORKERS_TIMES: u32 = 3;
/// How late, at most, the end of a slow connection may come.
const LATE: Duration = Duration::from_secs(2);
/// Datagrams between two questions whether the server is still there.
const VOLLEY: usize = 50;
/// Descriptors of a process beside those of its connections.
const SPARE: usize = 64;
/// The largest entity that the server gathers.
const GATHERED: usize = fixp_transport::limits::ServerLimits::GATHER;

/// How many of each there are.
#[derive(Clone, Copy)]
struct Counts {
    idle: usize,
    sending: usize,
    slow: usize,
    workers: usize,
    random: usize,
    datagrams: usize,
}

impl Counts {
    const fn of(connections: usize) -> Self {
        Self {
            idle: connections,
            sending: connections / 10,
            slow: connections / 10,
            workers: connections / 50,
            random: connections / 20,
            datagrams: connections * 2,
        }
    }

    /// The connections that there are at most at a time.
    const fn most(&self) -> usize {
        let beside = 2 * self.slow + self.workers;
        self.idle + if beside > self.random { beside } else { self.random } + SPARE
    }
}

struct Soak {
    far: Far,
    counts: Counts,
    during: Duration,
    seeds: Xoshiro256PlusPlus,
    /// Recorded packets, of which the half-valid ones are made.
    packets: Vec<Vec<u8>>,
    links: Vec<Link>,
    report: Report,
}

/// Runs them all, and tells whether all bounds held.
pub(crate) async fn run(options: Options) -> Result<bool, Failure> {
    let Options { connections, seconds, seed } = options;
    let own = usize::try_from(rlimit::increase_nofile_limit(u64::MAX)?)?;
    let most = Counts::of(connections).most();
    let far = Far::start(most, HEAD_TIME)?;
    let descriptors = own.min(far.descriptors);
    let mut counts = Counts::of(connections);
    if most > descriptors {
        let fewer = (1..connections).rev().find(|fewer| Counts::of(*fewer).most() <= descriptors);
        let fewer = fewer.filter(|fewer| *fewer >= 100).ok_or("there are not enough descriptors")?;
        println!(
            "SCALED DOWN: {connections} connections need {most} descriptors in each process, and the system \
             gives {descriptors}: {fewer} connections"
        );
        counts = Counts::of(fewer);
    }
    println!(
        "fixp-soak: {} connections, {seconds} s, seed {seed}; the server is a process of its own at {}, with \
         head_time {HEAD_TIME:?}; {} build",
        counts.idle,
        far.addr,
        if cfg!(debug_assertions) { "debug" } else { "release" },
    );
    let mut soak = Soak {
        far,
        counts,
        during: Duration::from_secs(seconds),
        seeds: Xoshiro256PlusPlus::seed_from_u64(seed),
        packets: packets()?,
        links: Vec::new(),
        report: Report::new(),
    };
    soak.start().await?;
    soak.idle().await?;
    soak.sending().await?;
    soak.slowloris().await?;
    soak.random().await?;
    soak.closed().await?;
    Ok(soak.report.held)
}

/// The recorded packets of all dialects.
fn packets() -> Result<Vec<Vec<u8>>, Failure> {
    let vectors = conformance_vectors::all()?;
    let packets = vectors.iter().filter(|vector| vector.kind == Kind::Packet);
    let packets = packets.filter_map(|vector| vector.hex.as_ref()).map(hex::decode);
    Ok(packets.collect::<Result<_, _>>().map_err(|error| error.to_string())?)
}

impl Soak {
    fn seed(&mut self) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(self.seeds.next_u64())
    }

    async fn start(&mut self) -> Result<(), Failure> {
        self.report.phase("0 start: some of each traffic, then silence");
        let mut failures = Failures::default();
        // Enough at once that each thread of the server has had its part.
        for _ in 0..3 {
            let links = self.open(0..self.counts.workers.max(50), &mut failures).await;
            let (_, links) = self.send(links, Duration::from_millis(200), &mut failures).await;
            for mut link in links.into_iter().take(4) {
                // Past what the server gathers.
                failures.sift(link.echo(&[7; 300 << 10]).await);
            }
            self.scatter(20, &mut failures).await;
            self.shower(500, &mut failures).await?;
        }
        self.report.failures(&failures);
        let holding = self.rest(0, |_| true).await?;
        self.report.start(holding);
        Ok(())
    }

    async fn idle(&mut self) -> Result<(), Failure> {
        self.report.phase(format_args!("1 idle: {} connections, one exchange each", self.counts.idle));
        let (mut failures, began) = (Failures::default(), Instant::now());
        self.links = self.open(0..self.counts.idle, &mut failures).await;
        self.report.line(format_args!("connected and answered in {:.1?}", began.elapsed()));
        self.report.failures(&failures);
        sleep(SILENCE).await;
        let holding = self.far.holding()?;
        self.report.each(&holding, self.counts.idle, BOUND);
        self.report.bound(
            holding.open == self.counts.idle as u64,
            format_args!("{} connections are open, {} were turned away", holding.open, holding.turned_away),
        );
        Ok(())
    }

    async fn sending(&mut self) -> Result<(), Failure> {
        let count = self.counts.sending.min(self.links.len());
        self.report.phase(format_args!("2 sending: {count} of them, for {:?}", self.during));
        let mut failures = Failures::default();
        let before = self.far.holding()?;
        let links = self.links.split_off(self.links.len() - count);
        let (times, links) = self.send(links, self.during, &mut failures).await;
        self.links.extend(links);
        self.report.line(times.line(self.during));
        self.report.failures(&failures);
        let holding = self.far.holding()?;
        self.report.holding(&holding);
        let came = holding.requests - before.requests;
        self.report.bound(
            came == times.count() as u64,
            format_args!("{came} requests came, {} were answered, all right", times.count()),
        );
        Ok(())
    }

    async fn slowloris(&mut self) -> Result<(), Failure> {
        let Counts { idle, slow, workers, .. } = self.counts;
        self.report.phase(format_args!(
            "3 slowloris: {slow} connections, a byte of a head each second, and {slow}, a byte of an entity, beside \
             {workers} that work"
        ));
        let mut failures = Failures::default();
        let links = self.open(idle..idle + workers, &mut failures).await;
        let alone_for = self.during.min(Duration::from_secs(5));
        let (alone, links) = work(links, alone_for, &mut failures).await;
        self.report.line(format_args!("alone:  {}", alone.line(alone_for)));
        let before = self.far.holding()?;
        let beside_for = self.during.max(HEAD_TIME + SILENCE);
        let first = idle + workers;
        let crawling = crawl(self.far.addr, first..first + slow);
        let trickling = trickle(self.far.addr, first + slow..first + 2 * slow, beside_for);
        let ((beside, _links), (ends, slow_failures), trickle_failures) =
            tokio::join!(work(links, beside_for, &mut failures), crawling, trickling);
        self.report.line(format_args!("beside: {}", beside.line(beside_for)));
        self.report.failures(&failures);
        let bound = WORKERS_P99.max(WORKERS_TIMES * alone.of_thousand(990));
        let p99 = beside.of_thousand(990);
        self.report.bound(p99 <= bound, format_args!("p99 of the workers {p99:.1?}, of {bound:.1?}"));
        self.report.failures(&slow_failures);
        self.report.failures(&trickle_failures);
        let (first, last) = (ends.of_thousand(0), ends.of_thousand(1000));
        self.report.bound(
            ends.count() == slow && first >= HEAD_TIME && last <= HEAD_TIME + LATE,
            format_args!(
                "{} of {slow} slow ones were ended, {first:.2?} to {last:.2?} after their first byte",
                ends.count()
            ),
        );
        let holding = self.far.holding()?;
        let ended = holding.timed_out - before.timed_out;
        self.report.bound(ended == slow as u64, format_args!("the server counts {ended} that were too slow"));
        self.report.holding(&holding);
        Ok(())
    }

    async fn random(&mut self) -> Result<(), Failure> {
        let Counts { idle, random, datagrams, .. } = self.counts;
        self.report.phase(format_args!(
            "4 random bytes: {random} connections, {datagrams} datagrams, half of them from {} recorded packets",
            self.packets.len()
        ));
        let mut failures = Failures::default();
        let before = self.far.holding()?;
        self.scatter(random, &mut failures).await;
        let after = self.far.holding()?;
        self.report.line(format_args!(
            "over TCP: {} requests among them, {} malformed, {} lost in the middle",
            after.requests - before.requests,
            after.malformed - before.malformed,
            after.lost - before.lost
        ));
        let before = after;
        self.shower(datagrams, &mut failures).await?;
        let after = self.far.holding()?;
        self.report.line(format_args!(
            "over UDP: {} datagrams came (with the questions), {} of them were no packets",
            after.datagrams - before.datagrams,
            after.datagrams_dropped - before.datagrams_dropped
        ));
        self.report.failures(&failures);
        let (began, mut failures) = (Instant::now(), Failures::default());
        let links = std::mem::take(&mut self.links);
        self.links = each(links, &mut failures, |mut link| async { link.test().await.map(|()| link) }).await;
        self.report.line(format_args!(
            "{} of the {idle} connections answer still, asked in {:.1?}",
            self.links.len(),
            began.elapsed()
        ));
        self.report.failures(&failures);
        sleep(SILENCE).await;
        let holding = self.far.holding()?;
        self.report.each(&holding, idle, BOUND);
        Ok(())
    }

    async fn closed(&mut self) -> Result<(), Failure> {
        self.report.phase("5 closed");
        let began = Instant::now();
        self.links.clear();
        let report = std::mem::replace(&mut self.report, Report::new());
        let holding = self.rest(0, |now| report.is_back(now)).await;
        self.report = report;
        let holding = holding?;
        self.report.line(format_args!("at rest after {:.1?}", began.elapsed()));
        self.report.holding(&holding);
        self.report.bound(holding.open == 0, format_args!("{} connections are open", holding.open));
        let in_flight = holding.bytes_in_flight;
        self.report.bound(in_flight == 0, format_args!("{in_flight} bytes of requests and answers are held"));
        self.report.bound(
            self.report.is_back(&holding),
            format_args!("live heap back at its start, within a tenth of it: {} B", holding.live),
        );
        Ok(())
    }

    /// Waits until so many connections are open, and a second more for their buffers; then for `done`, as long
    /// as that may take.
    async fn rest(&mut self, open: u64, done: impl Fn(&Holding) -> bool) -> Result<Holding, Failure> {
        let until = Instant::now() + REST;
        while self.far.holding()?.open > open && Instant::now() < until {
            sleep(Duration::from_millis(50)).await;
        }
        sleep(Duration::from_secs(1)).await;
        loop {
            let holding = self.far.holding()?;
            if done(&holding) || Instant::now() >= until {
                return Ok(holding);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Connections that have had their first exchange.
    async fn open(&self, numbers: std::ops::Range<usize>, failures: &mut Failures) -> Vec<Link> {
        let to = self.far.addr;
        each(numbers.collect(), failures, |number| async move {
            let mut link = Link::open(number, to).await?;
            link.greet().await?;
            Ok(link)
        })
        .await
    }

    /// Each of these connections sends, for that long, its next request when the answer has come.
    async fn send(
        &mut self,
        links: Vec<Link>,
        during: Duration,
        failures: &mut Failures,
    ) -> (Times, Vec<Link>) {
        let until = Instant::now() + during;
        let mut tasks = JoinSet::new();
        for mut link in links {
            let mut chance = self.seed();
            tasks.spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < until {
                    let entity = vec![chance.next_u32() as u8; entity_len(&mut chance)];
                    let began = Instant::now();
                    link.echo(&entity).await?;
                    times.push(began.elapsed());
                }
                Ok((link, times))
            });
        }
        gather(tasks, failures).await
    }

    /// Random bytes over so many connections, each until the server ends it.
    async fn scatter(&mut self, count: usize, failures: &mut Failures) {
        let to = self.far.addr;
        let jobs = (0..count).map(|number| (number, self.seed())).collect();
        each(jobs, failures, |(number, mut chance): (usize, _)| {
            let bytes = noise(&mut chance, &self.packets, 32 << 10);
            async move {
                let mut link = Link::open(number, to).await?;
                let mut output = Vec::new();
                let (mut read, mut write) = link.stream.split();
                // The server may end it at any byte.
                let writing = async {
                    let _ = write.write_all(&bytes).await;
                    let _ = write.shutdown().await;
                };
                let both = async { tokio::join!(writing, read.read_to_end(&mut output)) };
                match timeout(REST, both).await {
                    // A reset is an end as good as any.
                    Ok(_) => Ok(()),
                    Err(_) => Err("a connection of random bytes was not ended".into()),
                }
            }
        })
        .await;
    }

    /// Random datagrams, and between them questions that are answered.
    async fn shower(&mut self, count: usize, failures: &mut Failures) -> Result<(), Failure> {
        let (socket, questions) =
            (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
        socket.connect(self.far.addr).await?;
        questions.connect(self.far.addr).await?;
        let question = request::test().to_bytes(&LAXCUS6)?;
        let mut chance = self.seed();
        for number in 0..count {
            let _ = socket.send(&noise(&mut chance, &self.packets, 1500)).await;
            if number % VOLLEY == 0 {
                failures.sift(asked(&questions, &question).await);
            }
        }
        failures.sift(asked(&questions, &question).await);
        Ok(())
    }
}

/// A question over UDP, which may be lost as any datagram, but not ten times.
async fn asked(socket: &UdpSocket, question: &[u8]) -> Result<(), Failure> {
    let mut buffer = [0; 2048];
    for _ in 0..10 {
        socket.send(question).await?;
        if timeout(Duration::from_secs(1), socket.recv(&mut buffer)).await.is_ok_and(|came| came.is_ok()) {
            return Ok(());
        }
    }
    Err("the server does not answer over UDP".into())
}

/// Most entities are small, some are not.
fn entity_len(chance: &mut Xoshiro256PlusPlus) -> usize {
    let most = match chance.next_u32() % 100 {
        0..90 => 512,
        90..99 => 8 << 10,
        _ => 64 << 10,
    };
    chance.next_u32() as usize % most
}

/// Random bytes; or a recorded packet with some bytes changed, perhaps cut, perhaps with some behind it.
fn noise(chance: &mut Xoshiro256PlusPlus, packets: &[Vec<u8>], most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut below = |bound: usize| chance.next_u64() as usize % bound.max(1);
    if below(2) == 0 || packets.is_empty() {
        bytes.resize(below(most), 0);
        chance.fill_bytes(&mut bytes);
        return bytes;
    }
    bytes.extend_from_slice(&packets[below(packets.len())]);
    for _ in 0..below(4) {
        let at = below(bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte = below(256) as u8;
        }
    }
    match below(4) {
        0 => bytes.truncate(below(bytes.len())),
        1 => bytes.extend((0..below(64)).map(|_| 0x87)),
        _ => {}
    }
    bytes.truncate(most);
    bytes
}

/// Each of these connections sends at its beat, whatever the others do. Counted is from when a request was due:
/// what is late because of the one before counts as well.
async fn work(links: Vec<Link>, during: Duration, failures: &mut Failures) -> (Times, Vec<Link>) {
    let (begin, count) = (Instant::now(), links.len().max(1) as u32);
    let mut tasks = JoinSet::new();
    for (number, mut link) in (0..).zip(links) {
        tasks.spawn(async move {
            let mut beat = interval_at(begin + BEAT * number / count, BEAT);
            beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut times = Vec::new();
            loop {
                let due = beat.tick().await;
                if due >= begin + during {
                    return Ok((link, times));
                }
                link.echo(&[1; 64]).await?;
                times.push(due.elapsed());
            }
        });
    }
    gather(tasks, failures).await
}

async fn gather(
    mut tasks: JoinSet<Result<(Link, Vec<Duration>), Failure>>,
    failures: &mut Failures,
) -> (Times, Vec<Link>) {
    let (mut all, mut links) = (Vec::new(), Vec::new());
    while let Some(ended) = tasks.join_next().await {
        if let Some((link, times)) = failures.sift(ended.unwrap_or_else(|panic| Err(panic.into()))) {
            links.push(link);
            all.extend(times);
        }
    }
    let mut times = Times::default();
    times.extend(all);
    (times, links)
}

/// Connections that send a byte of a head every second, until they are ended: when that was, after their first
/// byte.
async fn crawl(to: std::net::SocketAddr, numbers: std::ops::Range<usize>) -> (Times, Failures) {
    let mut failures = Failures::default();
    let mut tasks = JoinSet::new();
    for number in numbers {
        tasks.spawn(async move {
            // Not all in the same moment: that would be over as soon.
            sleep(Duration::from_millis(number as u64 % 500)).await;
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((source(number), 0).into())?;
            slowly(socket.connect(to).await?).await
        });
    }
    let mut ends = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        ends.extend(failures.sift(ended.unwrap_or_else(|panic| Err(panic.into()))));
    }
    let mut times = Times::default();
    times.extend(ends);
    (times, failures)
}

/// Connections that send, for that long, a byte each second of an entity that is gathered.
async fn trickle(to: std::net::SocketAddr, numbers: std::ops::Range<usize>, during: Duration) -> Failures {
    let until = Instant::now() + during;
    let mut failures = Failures::default();
    let mut tasks = JoinSet::new();
    for number in numbers {
        tasks.spawn(async move {
            let mut stream = Link::open(number, to).await?.stream;
            let request = request::log(&LAXCUS6, &[7; GATHERED]).to_bytes(&LAXCUS6)?;
            let (head, entity) = request.split_at(request.len() - GATHERED);
            stream.write_all(head).await?;
            for byte in entity.chunks(1) {
                stream.write_all(byte).await?;
                if Instant::now() >= until {
                    break;
                }
                sleep(Duration::from_secs(1)).await;
            }
            Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        failures.sift(ended.unwrap_or_else(|panic| Err(panic.into())));
    }
    failures
}

async fn slowly(mut stream: TcpStream) -> Result<Duration, Failure> {
    let mut byte = [0];
    let head = request::test().to_bytes(&LAXCUS6)?;
    let began = Instant::now();
    for next in head.chunks(1) {
        // A byte that comes too late is the server's to refuse.
        let _ = stream.write_all(next).await;
        match timeout(Duration::from_secs(1), stream.read(&mut byte)).await {
            Err(_) => {}
            Ok(Ok(0) | Err(_)) => return Ok(began.elapsed()),
            Ok(Ok(_)) => return Err("a head that is not whole was answered".into()),
        }
    }
    Err("a slow connection was not ended".into())
}

/// Does the same with each, a bounded number at a time.
async fn each<T, U, F>(items: Vec<T>, failures: &mut Failures, job: impl Fn(T) -> F) -> Vec<U>
where
    U: Send + 'static,
    F: Future<Output = Result<U, Failure>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(OPENING));
    let mut tasks = JoinSet::new();
    for item in items {
        let (room, job) = (Arc::clone(&room), job(item));
        tasks.spawn(async move {
            let _room = room.acquire().await?;
            job.await
        });
    }
    let mut done = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        done.extend(failures.sift(ended.unwrap_or_else(|panic| Err(panic.into()))));
    }
    done
}
