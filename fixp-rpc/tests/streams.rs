//! Methods that stream, either way (SPEC 13.10).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Dialect, LAXCUS6, LEXST1};
use fixp_rpc::wire::{self, Asked, Outcome, streamed};
use fixp_rpc::{Client, Context, Executed, Failure, Format, Never, Rpc};
use fixp_transport::extension::Refusal;
use fixp_transport::socket::{Connect, TcpConnector};
use fixp_transport::{Body, Cause, Channel, Echo, Handler, Reply, Request, Server, udp};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
enum StoreError {
    Absent(String),
    Cut,
}

/// Files.
#[fixp_rpc::service]
trait Store {
    /// Keeps nothing of it, and tells its length and sum.
    async fn put(&self, context: Context, name: String, body: Body) -> Result<(u64, u64), StoreError>;
    async fn get(&self, name: String, len: u64) -> Result<(String, Body), StoreError>;
    async fn zeros(&self, len: u64) -> Body;
    async fn twice(&self, body: Body) -> Result<Body, StoreError>;
    async fn and_name(&self, body: Body) -> (String, Body);
    async fn long_name(&self, len: usize) -> (String, Body);
    async fn forever(&self, body: Body) -> u64;
    async fn plain(&self, number: u8) -> u8;
}

#[derive(Default)]
struct Disk {
    dropped: Arc<AtomicUsize>,
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

async fn sum(mut body: Body) -> Option<(u64, u64)> {
    let (mut len, mut sum) = (0, 0_u64);
    while let Some(piece) = body.chunk().await {
        let piece = piece.ok()?;
        len += piece.len() as u64;
        sum += piece.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    }
    Some((len, sum))
}

impl Store for Disk {
    async fn put(&self, context: Context, name: String, body: Body) -> Result<(u64, u64), StoreError> {
        assert!(context.peer.addr.ip().is_loopback());
        if name.is_empty() {
            return Err(StoreError::Absent(name));
        }
        sum(body).await.ok_or(StoreError::Cut)
    }

    async fn get(&self, name: String, len: u64) -> Result<(String, Body), StoreError> {
        match &*name {
            "absent" => Err(StoreError::Absent(name)),
            _ => Ok((name, Body::from_reader(len, tokio::io::repeat(3)))),
        }
    }

    async fn zeros(&self, len: u64) -> Body {
        Body::from_reader(len, tokio::io::repeat(0))
    }

    async fn twice(&self, body: Body) -> Result<Body, StoreError> {
        let bytes = body.collect(1 << 20).await.map_err(|_| StoreError::Cut)?;
        Ok(Body::from_bytes(Bytes::from(bytes.repeat(2))))
    }

    async fn and_name(&self, body: Body) -> (String, Body) {
        ("name".to_owned(), body)
    }

    async fn long_name(&self, len: usize) -> (String, Body) {
        ("x".repeat(len), Body::from_bytes("a body"))
    }

    async fn forever(&self, body: Body) -> u64 {
        let _dropped = Dropped(Arc::clone(&self.dropped));
        let read = sum(body).await;
        std::future::pending::<()>().await;
        read.map_or(0, |(len, _)| len)
    }

    async fn plain(&self, number: u8) -> u8 {
        number
    }
}

async fn served() -> (Server<Rpc>, Arc<AtomicUsize>) {
    let disk = Disk::default();
    let dropped = Arc::clone(&disk.dropped);
    let rpc = Rpc::new().serve(StoreService::new(disk));
    (Server::builder(rpc).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap(), dropped)
}

fn sevens(len: u64) -> Body {
    Body::from_reader(len, tokio::io::repeat(7))
}

async fn exercise(store: &StoreClient) {
    // What is smaller and what is larger than a server gathers, and than this one's calls may be.
    for len in [0, 3, 100_000, 9 << 20] {
        assert_eq!(store.put("file".to_owned(), sevens(len)).await, Ok((len, 7 * len)));
        let (name, body) = store.get("file".to_owned(), len).await.unwrap();
        assert_eq!((name, sum(body).await), ("file".to_owned(), Some((len, 3 * len))));
        assert_eq!(sum(store.zeros(len).await.unwrap()).await, Some((len, 0)));
        let (name, body) = store.and_name(sevens(len)).await.unwrap();
        assert_eq!((name, sum(body).await), ("name".to_owned(), Some((len, 7 * len))));
    }
    assert_eq!(sum(store.twice(sevens(50)).await.unwrap()).await, Some((100, 700)));
    let absent = store.put(String::new(), sevens(9 << 20)).await;
    assert_eq!(absent, Err(Failure::Failed(StoreError::Absent(String::new()))));
    let absent = store.get("absent".to_owned(), 1).await;
    assert_eq!(absent.err(), Some(Failure::Failed(StoreError::Absent("absent".to_owned()))));
    let too_long = store.twice(sevens((1 << 20) + 1)).await;
    assert_eq!(too_long.err(), Some(Failure::Failed(StoreError::Cut)));
    assert_eq!(store.plain(5).await, Ok(5));
}

#[tokio::test]
async fn streams_over_tcp() {
    let (server, _) = served().await;
    for dialect in [&LAXCUS6, &LEXST1] as [&'static Dialect; 2] {
        let channel = Channel::builder(dialect).announce_first();
        let channel = channel.connect(server.local_addr().unwrap()).await.unwrap();
        for format in Format::ALL {
            exercise(&StoreClient::new(Client::over(channel.clone()).format(format))).await;
        }
    }
}

#[tokio::test]
async fn streams_over_keep_udp() {
    let (server, _) = served().await;
    for dialect in [&LAXCUS6, &LEXST1] as [&'static Dialect; 2] {
        let channel = Channel::builder(dialect).keep_udp(server.local_addr().unwrap());
        exercise(&StoreClient::new(Client::over(channel))).await;
    }
}

/// What stands beside a stream has 4095 bytes at most.
#[tokio::test]
async fn values_beside_a_stream_are_bounded() {
    let (server, _) = served().await;
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    let store = StoreClient::new(Client::over(channel));
    // Postcard says a string's length in two bytes.
    assert!(store.put("x".repeat(4093), sevens(3)).await.is_ok());
    let long = store.put("x".repeat(4094), sevens(3)).await.unwrap_err();
    assert_eq!((&long, long.executed()), (&Failure::TooLong(4096), Executed::No));
    let (name, body) = store.long_name(4093).await.unwrap();
    assert_eq!((name.len(), body.len()), (4093, 6));
    let long = store.long_name(4094).await.unwrap_err();
    assert_eq!(
        long.to_string(),
        "the result cannot be sent: it has 4096 bytes, more than 4095; it was executed"
    );
}

/// SPEC 10.9: nothing of ours goes to a peer that has announced nothing, and plain UDP has no streams.
#[tokio::test]
async fn who_has_no_streams_is_sent_nothing() {
    let server = Server::builder(Echo).extensions(false).bind("127.0.0.1:0".parse().unwrap());
    let server = server.start().await.unwrap();
    let addr = server.local_addr().unwrap();
    let channel = Channel::builder(&LAXCUS6).connect(addr).await.unwrap();
    let refused = StoreClient::new(Client::over(channel)).zeros(1).await.err();
    assert_eq!(refused, Some(Failure::<Never>::NotSent(Cause::NotOurs)));
    let silent = Channel::builder(&LAXCUS6).extensions(false).connect(addr).await.unwrap();
    let refused = StoreClient::new(Client::over(silent)).zeros(1).await.err();
    assert_eq!(refused, Some(Failure::<Never>::NotSent(Cause::NotOurs)));
    let udp = Client::over_udp(udp::Client::builder().build(), addr);
    let refused = StoreClient::new(udp).zeros(1).await.err();
    assert_eq!(refused, Some(Failure::<Never>::NoStreams));
}

/// SPEC 13.10: the work of a stream that nobody waits for ends.
#[tokio::test]
async fn dropping_a_streaming_call_ends_its_work() {
    let (server, dropped) = served().await;
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    let store = StoreClient::new(Client::over(channel));
    // All of it comes, or a part.
    let stuck = || futures_util::stream::once(async { Ok(vec![7; 1 << 20].into()) });
    let stuck = futures_util::StreamExt::chain(stuck(), futures_util::stream::pending());
    let bodies = [sevens(3), sevens(1 << 20), Body::from_stream(20 << 20, stuck)];
    for (ended, body) in bodies.into_iter().enumerate() {
        let soon = tokio::time::timeout(Duration::from_millis(100), store.forever(body)).await;
        assert!(soon.is_err());
        let gone = async {
            while dropped.load(SeqCst) <= ended {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone)
            .await
            .unwrap_or_else(|_| panic!("the work of {ended} goes on"));
    }
}

/// Answers by a stream whatever became of the call.
struct Streaming(Outcome);

impl Handler for Streaming {
    async fn handle(&self, request: Request) -> Reply {
        let packet = self.0.packet(request.peer.dialect, Bytes::from_static(b"\"mine\""));
        streamed(packet, Bytes::from_static(b"\"beside\"")).unwrap().into()
    }
}

/// SPEC 13.10: only what is Returned has a stream.
#[tokio::test]
async fn a_failure_is_none_that_has_a_stream() {
    for (outcome, failure) in [
        (Outcome::Returned, None),
        (Outcome::Failed, Some(Failure::Failed("mine".to_owned()))),
        (Outcome::Broken, Some(Failure::Broken)),
        (Outcome::Other(77), Some(Failure::NotAnAnswer)),
    ] {
        let server = Server::builder(Streaming(outcome)).bind("127.0.0.1:0".parse().unwrap());
        let server = server.start().await.unwrap();
        let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
        let client = Client::over(channel).format(Format::Json);
        let method = &StoreClient::INTERFACE.methods[1];
        let given = client.stream::<_, String, String>(method, &("x", 1), sevens(0)).await;
        assert_eq!(given.as_ref().err(), failure.as_ref(), "{outcome:?}");
        if let Ok((beside, body)) = given {
            assert_eq!((beside, body.len()), ("beside".to_owned(), 6));
        }
    }
}

/// SPEC 13.10: its stream has no bytes then.
#[tokio::test]
async fn a_method_that_streams_can_be_called_without_a_stream() {
    let (server, _) = served().await;
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    let client = Client::over(channel).format(Format::Json);
    let put = client.call_written::<Never>("Store.put", false, false, r#"{"name":"x"}"#.into()).await;
    assert_eq!(put, Ok(Ok("[0,0]".into())));
}

/// SPEC 13.10: a stream is not the result.
#[tokio::test]
async fn a_stream_is_not_taken_for_the_result() {
    let (server, _) = served().await;
    for dialect in [&LAXCUS6, &LEXST1] as [&'static Dialect; 2] {
        let channel = Channel::builder(dialect).announce_first();
        let channel = channel.connect(server.local_addr().unwrap()).await.unwrap();
        let client = Client::over(channel).format(Format::Json);
        for (path, argument) in [("Store.get", r#"["x",3]"#), ("Store.zeros", "[3]")] {
            let none = client.call_written::<Never>(path, false, false, argument.into()).await.unwrap_err();
            assert_eq!((&none, none.executed()), (&Failure::Streams, Executed::Yes));
        }
        let get = client.stream_written::<Never>("Store.get", r#"["x",3]"#.into(), sevens(0)).await;
        let (beside, body) = get.unwrap();
        assert_eq!((beside, sum(body).await), (Ok("\"x\"".into()), Some((3, 9))));
        let put = client.stream_written::<Never>("Store.put", r#"["x"]"#.into(), sevens(3)).await;
        let (summed, body) = put.unwrap();
        assert_eq!((summed, body.len()), (Ok("[3,21]".into()), 0));
        let failed = client.stream_written::<Never>("Store.put", r#"[""]"#.into(), sevens(3)).await;
        assert_eq!(failed.unwrap().0, Err(r#"{"Absent":""}"#.into()));
    }
}

/// SPEC 13.10: the time of the caller ends the work of a stream at both sides.
#[tokio::test]
async fn a_streaming_call_has_a_time() {
    let (server, dropped) = served().await;
    let addr = server.local_addr().unwrap();
    let channel = Channel::builder(&LAXCUS6);
    let ways = [channel.clone().connect(addr).await.unwrap(), channel.keep_udp(addr)];
    for (ended, channel) in ways.into_iter().enumerate() {
        let client = Client::over(channel).timeout(Duration::from_millis(300));
        let late = StoreClient::new(client).forever(sevens(3)).await.unwrap_err();
        assert!(matches!(late, Failure::MayHaveRun(Cause::Timeout) | Failure::Expired), "{late:?}");
        let gone = async {
            while dropped.load(SeqCst) <= ended {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the work ends");
    }
}

/// A connection that takes its time.
struct Slow(TcpConnector, Duration);

impl Connect for Slow {
    type Stream = tokio::net::TcpStream;

    async fn connect(&self) -> std::io::Result<Self::Stream> {
        tokio::time::sleep(self.1).await;
        self.0.connect().await
    }

    fn peer(&self) -> std::net::SocketAddr {
        self.0.peer()
    }
}

/// Tells the time that a call brings.
struct Timed;

impl Handler for Timed {
    async fn handle(&self, request: Request) -> Reply {
        let time = i64::try_from(wire::time(&request.packet).unwrap().as_millis()).unwrap();
        let value = Format::Json.write(&time).unwrap();
        streamed(Outcome::Returned.packet(request.peer.dialect, Bytes::new()), value).unwrap().into()
    }
}

/// SPEC 13.10: what travels is the time that is left when the call leaves; and a call that has not left has not run.
#[tokio::test]
async fn the_time_that_travels_is_what_is_left() {
    let server = Server::builder(Timed).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    let connector = Slow(TcpConnector::new(server.local_addr().unwrap()), Duration::from_secs(1));
    let client = Client::over(Channel::builder(&LAXCUS6).open(connector)).format(Format::Json);
    let method = &StoreClient::INTERFACE.methods[6];
    let asked = async |time| {
        let client = client.clone().timeout(Duration::from_millis(time));
        client.stream::<_, i64, Never>(method, &(), sevens(3)).await.map(|(left, _)| left)
    };
    let left = asked(20_000).await.unwrap();
    assert!(left <= 19_000, "{left} ms are left of 20 s, behind one");
    // The first connection was kept, so it is used once more; the second call has to wait for its own.
    let [first, second] =
        <[_; 2]>::try_from(futures_util::future::join_all([asked(500), asked(500)]).await).unwrap();
    assert!(first.is_ok(), "{first:?}");
    assert_eq!(second, Err(Failure::NotSent(Cause::Timeout)));
}

/// SPEC 13.10: who does not wait any more is told that nothing has run.
#[tokio::test]
async fn a_streaming_call_without_time_does_not_run() {
    let (server, dropped) = served().await;
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    let asked = Asked { method: "Store.forever", format: Format::Json, one_way: false };
    for time in [0, -5] {
        let call = streamed(asked.packet(&LAXCUS6, Bytes::new()), Bytes::new()).unwrap();
        let call = call.with(wire::key::TIME, time);
        let late = channel.transfer(call, sevens(3)).await.err().unwrap();
        assert_eq!(late.cause, Cause::Refused(Refusal::Late));
    }
    assert_eq!(dropped.load(SeqCst), 0, "it ran");
}
