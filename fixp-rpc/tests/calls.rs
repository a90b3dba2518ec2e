//! Calls between a client and a server of ours, over each way that there is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use fixp_codec::{Dialect, LAXCUS6, LEXST1};
use fixp_rpc::{Client, Context, Executed, Failure, Format, Never, Rpc};
use fixp_transport::{Cause, Channel, Echo, Server, udp};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
struct Entry {
    level: u8,
    text: String,
}

#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
enum LogError {
    Full { entries: usize },
    Closed,
}

/// A log.
#[fixp_rpc::service]
trait Log {
    /// Adds an entry, and tells how many there are.
    async fn append(&self, entry: Entry) -> Result<usize, LogError>;
    /// All of a level.
    #[idempotent]
    async fn of_level(&self, level: u8, most: usize) -> Vec<Entry>;
    #[one_way]
    async fn note(&self, text: String);
    async fn sleep(&self, millis: u64);
    async fn panic(&self);
    async fn whoami(&self, context: Context) -> String;
    async fn r#type(&self) -> Option<f64>;
}

#[derive(Default)]
struct Memory {
    entries: std::sync::Mutex<Vec<Entry>>,
    /// Sleepers that came to their end, and those that were dropped.
    slept: AtomicUsize,
    dropped: Arc<AtomicUsize>,
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Log for Memory {
    async fn append(&self, entry: Entry) -> Result<usize, LogError> {
        let mut entries = self.entries.lock().unwrap();
        if entries.len() == 3 {
            return Err(LogError::Full { entries: 3 });
        }
        entries.push(entry);
        Ok(entries.len())
    }

    async fn of_level(&self, level: u8, most: usize) -> Vec<Entry> {
        let entries = self.entries.lock().unwrap();
        entries.iter().filter(|entry| entry.level == level).take(most).cloned().collect()
    }

    async fn note(&self, text: String) {
        self.entries.lock().unwrap().push(Entry { level: 0, text });
    }

    async fn sleep(&self, millis: u64) {
        let dropped = Dropped(Arc::clone(&self.dropped));
        tokio::time::sleep(Duration::from_millis(millis)).await;
        std::mem::forget(dropped);
        self.slept.fetch_add(1, SeqCst);
    }

    async fn panic(&self) {
        panic!("as it was asked to");
    }

    async fn whoami(&self, context: Context) -> String {
        format!("{:?}", context.peer.transport)
    }

    async fn r#type(&self) -> Option<f64> {
        Some(1.5)
    }
}

fn entry(level: u8, text: &str) -> Entry {
    Entry { level, text: text.to_owned() }
}

async fn served() -> (Server<Rpc<Echo>>, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    let rpc = Rpc::new().serve(LogService::new(Arc::clone(&memory))).or(Echo);
    (Server::builder(rpc).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap(), memory)
}

async fn exercise(client: Client, memory: &Memory, transport: &str) {
    println!("{transport} in {}", client.dialect().name());
    let log = LogClient::new(client);
    memory.entries.lock().unwrap().clear();
    assert_eq!(log.append(entry(1, "one")).await, Ok(1));
    assert_eq!(log.append(entry(2, "two")).await, Ok(2));
    assert_eq!(log.append(entry(1, "three")).await, Ok(3));
    assert_eq!(log.append(entry(1, "four")).await, Err(Failure::Failed(LogError::Full { entries: 3 })));
    assert_eq!(log.of_level(1, 9).await, Ok(vec![entry(1, "one"), entry(1, "three")]));
    assert_eq!(log.of_level(1, 1).await, Ok(vec![entry(1, "one")]));
    assert_eq!(log.note("noted".to_owned()).await, Ok(()));
    while memory.entries.lock().unwrap().len() < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(log.panic().await, Err(Failure::Broken));
    assert_eq!(log.whoami().await.unwrap(), transport);
    assert_eq!(log.r#type().await, Ok(Some(1.5)));
}

/// SPEC 13.1 to 13.4.
#[tokio::test]
async fn the_same_calls_over_every_way_in_every_dialect_and_format() {
    let (server, memory) = served().await;
    let addr = server.local_addr().unwrap();
    for dialect in [&LAXCUS6, &LEXST1] as [&'static Dialect; 2] {
        for format in Format::ALL {
            let channel = Channel::builder(dialect).announce_first();
            let tcp = Client::over(channel.clone().connect(addr).await.unwrap());
            exercise(tcp.format(format), &memory, "Tcp").await;
            let keep = Client::over(channel.keep_udp(addr));
            exercise(keep.format(format), &memory, "KeepUdp").await;
            let udp = Client::over_udp(udp::Client::builder().dialect(dialect).build(), addr);
            exercise(udp.format(format), &memory, "Udp").await;
        }
    }
}

/// SPEC 13.4: what is no interface, no method, no argument.
#[tokio::test]
async fn what_is_not_there() {
    /// Another trait of the same name, with another idea of it.
    mod other {
        #[fixp_rpc::service]
        pub(crate) trait Log {
            async fn append(&self, entry: u8) -> usize;
            async fn remove(&self, index: usize);
            async fn of_level(&self, level: u8, most: usize) -> u8;
        }
        #[fixp_rpc::service(name = "log.v2")]
        pub(crate) trait Log2 {
            async fn append(&self) -> usize;
        }
    }
    let (server, memory) = served().await;
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    let client = Client::over(channel);
    let log = other::LogClient::new(client.clone());
    assert_eq!(log.remove(1).await, Err(Failure::NoMethod));
    assert_eq!(other::Log2Client::new(client.clone()).append().await, Err(Failure::NoInterface));
    let bad = log.append(1).await.unwrap_err();
    assert!(matches!(bad, Failure::BadArgument(_)) && bad.executed() == Executed::No, "{bad:?}");
    assert!(memory.entries.lock().unwrap().is_empty());
    memory.entries.lock().unwrap().push(entry(1, "one"));
    let json = other::LogClient::new(client.format(Format::Json));
    let bad = json.of_level(1, 1).await.unwrap_err();
    assert!(matches!(bad, Failure::BadResult(_)) && bad.executed() == Executed::Yes, "{bad:?}");
}

/// A peer that announces nothing never sees a call.
#[tokio::test]
async fn a_peer_of_another_make_gets_no_call() {
    let server = Server::builder(Echo).extensions(false).bind("127.0.0.1:0".parse().unwrap());
    let server = server.start().await.unwrap();
    let addr = server.local_addr().unwrap();
    for dialect in [&LAXCUS6, &LEXST1] as [&'static Dialect; 2] {
        let channel = Channel::builder(dialect).announce_first();
        if dialect.name() == "lexst1" {
            // It drops the greeting without a word.
            let greeting = channel.clone().connect_time(Duration::from_millis(200)).connect(addr).await;
            assert_eq!(
                greeting.err().map(|error| error.cause),
                Some(Cause::Connect(io::ErrorKind::TimedOut))
            );
        }
        let clients = [
            Client::over(Channel::builder(dialect).connect(addr).await.unwrap()),
            Client::over(channel.keep_udp(addr)),
            Client::over_udp(udp::Client::builder().dialect(dialect).build(), addr),
        ];
        for client in clients {
            let refused = LogClient::new(client).whoami().await;
            assert_eq!(refused, Err(Failure::<Never>::NotSent(Cause::NotOurs)), "{}", dialect.name());
        }
    }
}

/// SPEC 10.2: what is ours is sent to nobody who has not been asked, and whoever forgot to ask is told how to.
#[tokio::test]
async fn a_lexst1_channel_over_tcp_must_announce_itself() {
    let (server, _) = served().await;
    let channel = Channel::builder(&LEXST1).connect(server.local_addr().unwrap()).await.unwrap();
    let log = LogClient::new(Client::over(channel));
    for _ in 0..2 {
        let refused = log.whoami().await.unwrap_err();
        assert_eq!(refused, Failure::NotSent(Cause::NotOurs));
        let told = "the peer has not announced our extensions, or was not asked (over TCP in lexst1 a channel must be \
                    told to announce itself first); it was not executed";
        assert_eq!(refused.to_string(), told);
    }
}

/// SPEC 13.5: a call that is dropped, and one whose time is over, end at the server too.
#[tokio::test]
async fn whoever_does_not_wait_ends_the_work() {
    let (server, memory) = served().await;
    let addr = server.local_addr().unwrap();
    let channel = Channel::builder(&LAXCUS6);
    let ways = [
        Client::over(channel.clone().connect(addr).await.unwrap()),
        Client::over(channel.keep_udp(addr)),
        Client::over_udp(udp::Client::builder().build(), addr),
    ];
    for (index, client) in ways.into_iter().enumerate() {
        let log = LogClient::new(client.clone());
        // The peer is known, so that a call goes at once.
        assert!(log.whoami().await.is_ok());
        let soon = tokio::time::timeout(Duration::from_millis(50), log.sleep(60_000)).await;
        assert!(soon.is_err());
        let gone = async {
            while memory.dropped.load(SeqCst) < 2 * index + 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone).await.expect("dropping the call ends its work");
        let short = LogClient::new(client.timeout(Duration::from_millis(50)));
        let late = short.sleep(60_000).await.unwrap_err();
        // Whoever is first says so: the server, or the client's own clock.
        assert!(matches!(late, Failure::Expired | Failure::MayHaveRun(Cause::Timeout)), "{late:?}");
        let gone = async {
            while memory.dropped.load(SeqCst) < 2 * index + 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone).await.expect("its time ends the work");
    }
    assert_eq!(memory.slept.load(SeqCst), 0);
}

#[fixp_rpc::service]
trait Slow {
    #[one_way]
    async fn begin(&self);
}
struct Gate(Arc<tokio::sync::Semaphore>, Arc<AtomicUsize>);
impl Slow for Gate {
    async fn begin(&self) {
        self.0.acquire().await.unwrap().forget();
        self.1.fetch_add(1, SeqCst);
    }
}

/// SPEC 13.6: there is room for so many that nobody waits for.
#[tokio::test]
async fn one_way_calls_are_bounded() {
    let (gate, ended) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let rpc = Rpc::new().serve(SlowService::new(Gate(gate.clone(), ended.clone()))).one_way_limit(2);
    let server = Server::builder(rpc).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    let slow = SlowClient::new(Client::over(channel));
    assert_eq!(slow.begin().await, Ok(()));
    assert_eq!(slow.begin().await, Ok(()));
    assert_eq!(slow.begin().await, Err(Failure::Overloaded));
    gate.add_permits(2);
    while ended.load(SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(slow.begin().await, Ok(()));
}

/// SPEC 13.6: a server that stops in order waits for what nobody else waits for, and ends it at its deadline.
#[tokio::test]
async fn one_way_calls_end_with_the_server() {
    for (opens, ends) in [(true, 1), (false, 0)] {
        let (gate, ended) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let rpc = Rpc::new().serve(SlowService::new(Gate(gate.clone(), ended.clone())));
        let server = Server::builder(rpc).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
        let slow = SlowClient::new(Client::over(channel.clone()));
        assert_eq!(slow.begin().await, Ok(()));
        channel.close().await;
        let time = if opens { Duration::from_secs(20) } else { Duration::from_millis(20) };
        let mut stopping = tokio::spawn(server.shutdown(time));
        if opens {
            let early = tokio::time::timeout(Duration::from_millis(50), &mut stopping).await;
            assert!(early.is_err(), "it did not wait");
            gate.add_permits(1);
        }
        assert_eq!(stopping.await.unwrap().late, !opens);
        assert_eq!(ended.load(SeqCst), ends);
        // Nothing runs any more: what runs has a hold on the gate.
        while Arc::strong_count(&gate) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(ended.load(SeqCst), ends);
    }
}
