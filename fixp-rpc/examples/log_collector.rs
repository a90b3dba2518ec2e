//! A log-collecting service: nodes ship what they log to one collector, in batches, over KEEP UDP.
//!
//!     cargo run --example log_collector
//!
//! It shows what a service over a network has to think of, and what it need not:
//!
//! - **The interface** is a trait. `CollectorClient` and `CollectorService` are made of it.
//! - **Repeating is made harmless by design.** Each node numbers its entries, and the collector takes those that it
//!   does not have. So `append` may be marked `#[idempotent]`: a batch of which nobody knows whether it came is sent
//!   again, and no entry stands twice.
//! - **Either side may begin anew.** A run of a node has a number, larger than those before it; and the collector tells
//!   which entry it wants next, from which the node goes on.
//! - **A refusal is a value.** A collector that is full says so in an error of its own type, and the shipper waits.
//! - **Nothing grows without bound**: a shipper holds so many entries, and whoever logs more waits; a collector keeps
//!   so many of each node, and forgets the oldest.
//! - **Batching**: while a batch is under way, the next one fills. One call carries many entries, and a node that logs
//!   little waits for nobody.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use fixp_codec::LAXCUS6;
use fixp_rpc::{Client, Failure, Rpc};
use fixp_transport::{Channel, Server};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// A line of a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Entry {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub text: String,
}

/// How much an entry matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
pub enum Level {
    /// To whoever looks for a fault.
    Debug,
    /// To whoever wants to know.
    Info,
    /// To whoever is responsible.
    Warning,
    /// To everybody, now.
    Fatal,
}

/// Why entries are not taken.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Refused {
    /// There are too many nodes.
    TooManyNodes,
    /// Entries before these have not come.
    Gap {
        /// The number of the entry that is wanted.
        wanted: u64,
    },
    /// The node has begun anew since.
    Past {
        /// Its latest run.
        run: u64,
    },
}

/// Collects the entries of all nodes.
#[fixp_rpc::service(name = "logs.Collector")]
pub trait Collector {
    /// Takes entries of a run of a node, the first of which has this number, but for those that have come before;
    /// tells the number of the entry that is wanted next. Of a run that it does not know it takes what comes first.
    #[idempotent]
    async fn append(&self, node: String, run: u64, first: u64, entries: Vec<Entry>) -> Result<u64, Refused>;

    /// The last entries of a node of at least this level.
    #[idempotent]
    async fn tail(&self, node: String, level: Level, most: u32) -> Vec<Entry>;
}

/// A collector in memory.
#[derive(Default)]
pub struct Memory {
    nodes: Mutex<BTreeMap<String, Log>>,
}

#[derive(Default)]
struct Log {
    run: u64,
    next: u64,
    entries: VecDeque<Entry>,
}

impl Memory {
    /// Nodes that it knows at most.
    pub const NODES: usize = 1000;
    /// Entries of a node that it keeps.
    pub const ENTRIES: usize = 10_000;
}

impl Collector for Memory {
    async fn append(&self, node: String, run: u64, first: u64, entries: Vec<Entry>) -> Result<u64, Refused> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.len() >= Self::NODES && !nodes.contains_key(&node) {
            return Err(Refused::TooManyNodes);
        }
        let log = nodes.entry(node).or_default();
        match run.cmp(&log.run) {
            Ordering::Less => return Err(Refused::Past { run: log.run }),
            Ordering::Equal => {}
            Ordering::Greater => (log.run, log.next) = (run, first),
        }
        let Some(known) = log.next.checked_sub(first) else { return Err(Refused::Gap { wanted: log.next }) };
        for entry in entries.into_iter().skip(usize::try_from(known).unwrap_or(usize::MAX)) {
            if log.entries.len() == Self::ENTRIES {
                log.entries.pop_front();
            }
            log.entries.push_back(entry);
            log.next += 1;
        }
        Ok(log.next)
    }

    async fn tail(&self, node: String, level: Level, most: u32) -> Vec<Entry> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = nodes.get(&node) else { return Vec::new() };
        let mut tail: Vec<_> = log
            .entries
            .iter()
            .rev()
            .filter(|entry| entry.level >= level)
            .take(most as usize)
            .cloned()
            .collect();
        tail.reverse();
        tail
    }
}

/// Ships what a node logs. Clones share it.
#[derive(Clone)]
pub struct Shipper {
    entries: mpsc::Sender<Entry>,
    flush: mpsc::Sender<oneshot::Sender<Shipped>>,
}

/// What a shipper has done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Shipped {
    /// Entries that the collector has.
    pub entries: u64,
    /// Calls that it took.
    pub calls: u64,
    /// Calls that were sent again.
    pub again: u64,
}

impl Shipper {
    /// Entries that wait at most: whoever logs more waits for room.
    pub const QUEUE: usize = 4096;
    /// Entries of a call at most.
    pub const BATCH: usize = 256;
    /// How long it waits before it tries again, and twice as long after each further time, up to 64 times.
    pub const PAUSE: Duration = Duration::from_millis(50);

    /// Begins to ship the entries of this run of a node: whoever begins later has a larger number.
    pub fn new(node: &str, run: u64, collector: CollectorClient) -> Self {
        let (entries, queue) = mpsc::channel(Self::QUEUE);
        let (flush, flushes) = mpsc::channel(1);
        let line = Line { node: node.to_owned(), run, next: 0, collector };
        tokio::spawn(ship(line, queue, flushes));
        Self { entries, flush }
    }

    /// Logs an entry, and waits for room where there is none.
    pub async fn log(&self, level: Level, text: impl Into<String>) {
        // The other end goes only with the runtime.
        let _ = self.entries.send(Entry { level, text: text.into() }).await;
    }

    /// Waits until all that was logged before has come to the collector.
    pub async fn flush(&self) -> Shipped {
        let (sender, shipped) = oneshot::channel();
        let _ = self.flush.send(sender).await;
        shipped.await.unwrap_or_default()
    }
}

async fn ship(
    mut line: Line,
    mut queue: mpsc::Receiver<Entry>,
    mut flushes: mpsc::Receiver<oneshot::Sender<Shipped>>,
) {
    let mut shipped = Shipped::default();
    let mut batch = Vec::with_capacity(Shipper::BATCH);
    loop {
        tokio::select! {
            biased;
            // Whatever has been logged while the last batch was under way goes with the next.
            came = queue.recv_many(&mut batch, Shipper::BATCH) => {
                if came == 0 {
                    return;
                }
                line.append(std::mem::take(&mut batch), &mut shipped).await;
            }
            Some(flushed) = flushes.recv() => {
                let _ = flushed.send(shipped);
            }
        }
    }
}

/// A run of a node on its way to the collector.
struct Line {
    node: String,
    run: u64,
    /// The number of the next entry.
    next: u64,
    collector: CollectorClient,
}

impl Line {
    /// Sends a batch until the collector has it.
    async fn append(&mut self, entries: Vec<Entry>, shipped: &mut Shipped) {
        let count = entries.len() as u64;
        let mut pause = Shipper::PAUSE;
        loop {
            shipped.calls += 1;
            let Self { node, run, next, collector } = self;
            match collector.append(node.clone(), *run, *next, entries.clone()).await {
                Ok(wanted) if wanted == *next + count => break,
                // It counts otherwise: it has begun anew, or lost some. What it wants is these entries all the same.
                Ok(wanted) | Err(Failure::Failed(Refused::Gap { wanted })) => *next = wanted,
                // The clock that numbers the runs went back.
                Err(Failure::Failed(Refused::Past { run: latest })) => *run = latest + 1,
                // Whether it was executed does not matter, and there is nothing to be done but wait.
                Err(failure) => eprintln!("{node}: {failure:?}"),
            }
            shipped.again += 1;
            sleep(pause).await;
            pause = (pause * 2).min(Shipper::PAUSE * 64);
        }
        self.next += count;
        shipped.entries += count;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    three_nodes().await
}

/// Three nodes and their collector, here in one program.
pub async fn three_nodes() -> Result<(), Box<dyn Error>> {
    let memory = Arc::new(Memory::default());
    let rpc = Rpc::new().serve(CollectorService::new(memory));
    let server = Server::builder(rpc).bind("127.0.0.1:0".parse()?).start().await?;
    let addr = server.local_addr().ok_or("it listens nowhere")?;

    let run = SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
    let collector = || CollectorClient::new(Client::over(Channel::builder(&LAXCUS6).keep_udp(addr)));
    let mut nodes = Vec::new();
    for node in ["home", "data", "work"] {
        let shipper = Shipper::new(node, run, collector());
        nodes.push(tokio::spawn(async move {
            for number in 0..1000 {
                let level = if number % 100 == 0 { Level::Warning } else { Level::Info };
                shipper.log(level, format!("{node} did {number}")).await;
            }
            (node, shipper.flush().await)
        }));
    }
    for node in nodes {
        let (node, shipped) = node.await?;
        println!("{node}: {} entries in {} calls", shipped.entries, shipped.calls);
    }
    for entry in collector().tail("data".to_owned(), Level::Warning, 3).await? {
        println!("data: {:?}: {}", entry.level, entry.text);
    }
    Ok(())
}
