//! Starting, limits of connections, stopping.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{LAXCUS6, Packet, laxcus6};
use fixp_transport::extension::{self, Capabilities, key};
use fixp_transport::host::Transport;
use fixp_transport::limits::ServerLimits;
use fixp_transport::server::{Builder, PublicKey, ServerError, Stop, TurnedAway};
use fixp_transport::{Answer, Body, Echo, Handler, Nobody, Reply, Request, Server, handler_fn};
use futures_util::stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

const TEST: &str = "87000105010200e80305305445535421fc03015000";
const LOG: &str = "87000133010100fc03015000";
/// The echo of LOG.
const LOGGED: &str = "c70001f2030100fc03015000";

fn builder<H: Handler>(handler: H) -> Builder<H> {
    Server::builder(handler).public_key(PublicKey::new(&[0xff; 64], &[3]).unwrap())
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn send(stream: &mut TcpStream, hex: &str) {
    stream.write_all(&::hex::decode(hex).unwrap()).await.unwrap();
}

async fn gets(stream: &mut (impl AsyncRead + Unpin), hex: &str) {
    let mut bytes = vec![0; hex.len() / 2];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(::hex::encode(bytes), hex);
}

async fn gets_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = within(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "{rest:?}");
    // What it had sent may not have been read.
    assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// Waits for what another task will have done soon.
async fn until(mut done: impl FnMut() -> bool) {
    within(async {
        while !done() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn tcp_and_udp_have_one_port() {
    let server = builder(Echo).bind(loopback()).start().await.unwrap();
    let to = server.local_addr().unwrap();
    let mut stream = TcpStream::connect(to).await.unwrap();
    send(&mut stream, LOG).await;
    gets(&mut stream, LOGGED).await;
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    socket.send_to(&hex::decode(LOG).unwrap(), to).await.unwrap();
    let mut buffer = [0; 64];
    let (len, from) = within(socket.recv_from(&mut buffer)).await.unwrap();
    assert_eq!((hex::encode(&buffer[..len]), from), (LOGGED.into(), to));
    let stats = server.stats();
    assert_eq!((stats.accepted, stats.open, stats.datagrams), (1, 1, 1));
}

#[tokio::test]
async fn several_addresses() {
    let server = builder(Echo).bind("[::]:0".parse().unwrap()).start().await.unwrap();
    let port = server.local_addr().unwrap().port();
    for ip in ["127.0.0.1", "::1"] {
        let mut stream = TcpStream::connect(SocketAddr::new(ip.parse().unwrap(), port)).await.unwrap();
        send(&mut stream, LOG).await;
        gets(&mut stream, LOGGED).await;
    }
    drop(server);
    // With an IPv4 address beside it, [::] has IPv6 only.
    let server = builder(Echo).bind("127.0.0.1:0".parse().unwrap()).bind("[::]:0".parse().unwrap());
    let server = server.start().await.unwrap();
    let [v4, v6] = *server.local_addrs() else { panic!("two addresses") };
    assert!(TcpStream::connect(v4).await.is_ok());
    assert!(TcpStream::connect(SocketAddr::new("::1".parse().unwrap(), v6.port())).await.is_ok());
    if v4.port() != v6.port() {
        assert!(TcpStream::connect(SocketAddr::new("127.0.0.1".parse().unwrap(), v6.port())).await.is_err());
    }
}

#[tokio::test]
async fn a_port_that_is_taken() {
    let tcp = TcpListener::bind(loopback()).await.unwrap();
    let addr = tcp.local_addr().unwrap();
    let error = builder(Echo).bind(addr).start().await.unwrap_err();
    assert!(
        matches!(&error, ServerError::Bind { transport: Transport::Tcp, addr: at, .. } if *at == addr),
        "{error}"
    );
    let udp = UdpSocket::bind(loopback()).await.unwrap();
    let addr = udp.local_addr().unwrap();
    let error = builder(Echo).bind(addr).start().await.unwrap_err();
    assert!(
        matches!(&error, ServerError::Bind { transport: Transport::Udp, addr: at, .. } if *at == addr),
        "{error}"
    );
}

#[tokio::test]
async fn a_key_is_made_at_the_start() {
    let server = Server::builder(Nobody).key_bits(512).bind(loopback()).start().await.unwrap();
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    let query = Packet::new(laxcus6::notify::SECURE_QUERY).to_bytes(&LAXCUS6).unwrap();
    socket.send_to(&query, server.local_addr().unwrap()).await.unwrap();
    let mut buffer = [0; 256];
    let len = within(socket.recv(&mut buffer)).await.unwrap();
    // c7 .. e9 03: 12 bytes of head and 80 of a key of 512 bits (tcp_security_rpc.md 2.2).
    assert_eq!(
        (len, hex::encode(&buffer[..21])),
        (92, "c70001e9030100fc030150500000000001 40000000".replace(' ', ""))
    );
    assert!(matches!(Server::builder(Nobody).key_bits(8).start().await, Err(ServerError::Key(_))));
}

#[tokio::test]
async fn connections_are_limited() {
    let limits = ServerLimits { connections: 3, connections_per_source: 2, ..ServerLimits::default() };
    let server = builder(Echo).limits(limits).bind(loopback()).start().await.unwrap();
    let to = server.local_addr().unwrap();
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(to).await.unwrap();
        send(&mut stream, LOG).await;
        gets(&mut stream, LOGGED).await;
        kept.push(stream);
    }
    // A third from the same source ends without a byte.
    gets_end(&mut TcpStream::connect(to).await.unwrap()).await;
    assert_eq!(server.stats().turned_away, 1);
    // From other sources there is room for one more.
    let local = to;
    let (here, _there) = duplex(64);
    server.serve_stream(here, "10.0.0.1:1".parse().unwrap(), local).unwrap();
    let (here, _there) = duplex(64);
    let turned_away = server.serve_stream(here, "10.0.0.2:1".parse().unwrap(), local);
    assert_eq!(turned_away, Err(TurnedAway::Full));
    assert_eq!((server.stats().open, server.stats().turned_away), (3, 2));
    drop(kept.pop());
    until(|| server.stats().open == 2).await;
    let mut stream = TcpStream::connect(to).await.unwrap();
    send(&mut stream, LOG).await;
    gets(&mut stream, LOGGED).await;
}

#[tokio::test]
async fn who_is_not_allowed_is_not_heard() {
    let list = "10.0.0.0/8".parse().unwrap();
    let server = builder(Echo).allow(list).bind(loopback()).start().await.unwrap();
    let mut stream = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
    let _ = stream.write_all(&hex::decode(TEST).unwrap()).await;
    gets_end(&mut stream).await;
    let (here, _there) = duplex(64);
    assert_eq!(server.serve_stream(here, loopback(), loopback()), Err(TurnedAway::NotAllowed));
}

/// A server without an address serves what it is handed.
#[tokio::test]
async fn streams_and_sockets_of_others() {
    let server = builder(Echo).start().await.unwrap();
    assert_eq!(server.local_addr(), None);
    let (here, mut there) = duplex(4096);
    server.serve_stream(here, "10.0.0.1:6000".parse().unwrap(), "10.0.0.2:5000".parse().unwrap()).unwrap();
    there.write_all(&hex::decode(LOG).unwrap()).await.unwrap();
    gets(&mut there, LOGGED).await;
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    let to = socket.local_addr().unwrap();
    server.serve_datagrams(socket).unwrap();
    let caller = UdpSocket::bind(loopback()).await.unwrap();
    caller.send_to(&hex::decode(LOG).unwrap(), to).await.unwrap();
    let mut buffer = [0; 64];
    let len = within(caller.recv(&mut buffer)).await.unwrap();
    assert_eq!(hex::encode(&buffer[..len]), LOGGED);
}

/// A handler that begins, and answers when it is given a permit.
fn gated(begun: &Arc<Semaphore>, gate: &Arc<Semaphore>) -> impl Handler + use<> {
    let (begun, gate) = (Arc::clone(begun), Arc::clone(gate));
    handler_fn(move |request: Request| {
        let (begun, gate) = (Arc::clone(&begun), Arc::clone(&gate));
        async move {
            begun.add_permits(1);
            gate.acquire().await.unwrap().forget();
            Echo.handle(request).await
        }
    })
}

#[tokio::test]
async fn a_shutdown_finishes_what_has_begun() {
    let (begun, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let server = builder(gated(&begun, &gate)).bind(loopback()).start().await.unwrap();
    let to = server.local_addr().unwrap();
    let mut stream = TcpStream::connect(to).await.unwrap();
    send(&mut stream, LOG).await;
    let caller = UdpSocket::bind(loopback()).await.unwrap();
    caller.send_to(&hex::decode(LOG).unwrap(), to).await.unwrap();
    within(begun.acquire_many(2)).await.unwrap().forget();
    let mut idle = TcpStream::connect(to).await.unwrap();
    until(|| server.stats().open == 2).await;

    let stop = server.stop();
    let shutdown = tokio::spawn(server.shutdown(Duration::from_secs(20)));
    within(stop.stopped()).await;
    gets_end(&mut idle).await;
    gate.add_permits(2);
    gets(&mut stream, LOGGED).await;
    gets_end(&mut stream).await;
    let mut buffer = [0; 64];
    assert_eq!(within(caller.recv(&mut buffer)).await.unwrap(), LOGGED.len() / 2);
    let report = within(shutdown).await.unwrap();
    assert_eq!((report.finished, report.cut, report.late), (2, 0, false));
    assert!(TcpStream::connect(to).await.is_err());
}

#[tokio::test]
async fn a_shutdown_cuts_at_its_deadline() {
    let (begun, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let server = builder(gated(&begun, &gate)).bind(loopback()).start().await.unwrap();
    let to = server.local_addr().unwrap();
    let caller = UdpSocket::bind(loopback()).await.unwrap();
    caller.send_to(&hex::decode(LOG).unwrap(), to).await.unwrap();
    within(begun.acquire_many(1)).await.unwrap().forget();
    let report = within(server.shutdown(Duration::from_millis(20))).await;
    assert_eq!((report.finished, report.cut, report.late), (0, 1, true));
}

/// Whoever holds the handle may stop a server that nobody watches; dropping it ends it at once.
#[tokio::test]
async fn stopped_and_dropped() {
    let stop = Stop::new();
    let server = builder(Echo).stop(stop.clone()).bind(loopback()).start().await.unwrap();
    let to = server.local_addr().unwrap();
    let mut stream = TcpStream::connect(to).await.unwrap();
    send(&mut stream, LOG).await;
    gets(&mut stream, LOGGED).await;
    stop.stop();
    gets_end(&mut stream).await;
    until(|| server.stats().open == 0).await;

    let (begun, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let server = builder(gated(&begun, &gate)).bind(loopback()).start().await.unwrap();
    let to = server.local_addr().unwrap();
    let mut stream = TcpStream::connect(to).await.unwrap();
    send(&mut stream, LOG).await;
    within(begun.acquire_many(1)).await.unwrap().forget();
    drop(server);
    gets_end(&mut stream).await;
    within(async { while TcpListener::bind(to).await.is_err() {} }).await;
    // The handler and all it held have gone.
    until(|| Arc::strong_count(&gate) == 1).await;
}

/// A connection to this server.
fn connect<H: Handler>(server: &Server<H>) -> DuplexStream {
    let (here, there) = duplex(1 << 16);
    server.serve_stream(here, "10.0.0.1:6000".parse().unwrap(), "10.0.0.2:5000".parse().unwrap()).unwrap();
    there
}

/// LOG as a peer of ours says it.
fn log(serial: i64) -> Packet {
    let announced = Capabilities::OURS.in_request();
    Packet::new(laxcus6::notify::FLUSH_LOG).with(key::CAPABILITIES, announced).with(key::SERIAL, serial)
}

/// So many requests, plain or on an ordered channel, which is opened before them.
fn requests(count: i64, ordered: bool) -> Vec<u8> {
    let plain = (1..=count).map(log);
    let opening = Packet { code: extension::PING, ..log(1) };
    let places = std::iter::once(opening).chain((2..=count + 1).map(log)).zip(0_i64..);
    let places =
        places.map(|(packet, last)| packet.with(key::PREDECESSOR, last).with(key::CHANNEL, &[7; 16][..]));
    let packets: Vec<Packet> = if ordered { places.collect() } else { plain.collect() };
    packets.iter().flat_map(|packet| packet.to_bytes(extension::own(&LAXCUS6)).unwrap()).collect()
}

/// The answer's body is part of the work: where it does not come, the end does not wait for it either.
#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_holds_no_end_up() {
    for ordered in [false, true] {
        let begun = Arc::new(Semaphore::new(0));
        let handler = || {
            let begun = Arc::clone(&begun);
            handler_fn(move |_: Request| {
                begun.add_permits(1);
                let held = Arc::clone(&begun);
                let body = stream::poll_fn(move |_| {
                    let _ = &held;
                    Poll::<Option<std::io::Result<Bytes>>>::Pending
                });
                let answer =
                    Answer::from(Packet::new(laxcus6::answer::OKAY)).with_body(Body::from_stream(10, body));
                async { Reply::from(answer) }
            })
        };
        let server = builder(handler()).start().await.unwrap();
        let mut stream = connect(&server);
        stream.write_all(&requests(1, ordered)).await.unwrap();
        within(begun.acquire()).await.unwrap().forget();
        let told = Instant::now();
        let report = within(server.shutdown(Duration::from_secs(1))).await;
        assert_eq!((report.cut, report.late), (1, true), "ordered: {ordered}");
        assert_eq!(told.elapsed().as_secs(), 1);

        // Nor is anything of it left behind a server that is dropped.
        let server = builder(handler()).start().await.unwrap();
        let mut stream = connect(&server);
        stream.write_all(&requests(1, ordered)).await.unwrap();
        within(begun.acquire()).await.unwrap().forget();
        drop(server);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(Arc::strong_count(&begun), 1, "ordered: {ordered}");
    }
}

/// Each request that is cut counts once: whether or not its connection is still there, or two wait for its answer.
#[tokio::test(start_paused = true)]
async fn what_is_cut_counts_once() {
    for (ordered, connections) in [(false, 1), (true, 1), (true, 2), (true, 0_u64)] {
        let (begun, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let server = builder(gated(&begun, &gate)).start().await.unwrap();
        let mut kept = Vec::new();
        for _ in 0..connections.max(1) {
            let mut stream = connect(&server);
            stream.write_all(&requests(3, ordered)).await.unwrap();
            kept.push(stream);
        }
        within(begun.acquire()).await.unwrap().forget();
        // All that was sent is taken.
        sleep(Duration::from_secs(1)).await;
        if connections == 0
            && let Some(mut stream) = kept.pop()
        {
            // It is lost: there is an end in the middle of a head.
            stream.write_all(&requests(1, false)[..5]).await.unwrap();
            drop(stream);
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(server.stats().open, connections);
        let report = within(server.shutdown(Duration::from_secs(1))).await;
        assert_eq!((report.cut, report.late), (3, true), "ordered: {ordered}, {connections} connections");
    }
}

/// A handler that takes 300 ms, and half of them for what it ends the connection behind.
fn closing() -> impl Handler {
    handler_fn(async |request: Request| {
        let last = request.packet.entity == "last";
        sleep(Duration::from_millis(if last { 150 } else { 300 })).await;
        let answer = Answer::from(Packet::new(laxcus6::answer::OKAY).with_entity(request.packet.entity));
        Reply::from(if last { answer.and_close() } else { answer })
    })
}

/// SPEC 11.1, 11.5: what stands before the end of a conversation is answered before it.
#[tokio::test(start_paused = true)]
async fn the_end_stands_behind_what_runs() {
    let goodbye = Packet::new(laxcus6::answer::GOODBYE).with(laxcus6::key::SPEAK, "see you next time");
    let last = log(9).with_entity("last");
    let ends = [
        (Packet::new(laxcus6::notify::EXIT), goodbye.to_bytes(&LAXCUS6).unwrap()),
        (last.clone(), answered(9, "last")),
        (Packet::new(laxcus6::notify::SECURE_CREATE), Bytes::new()),
    ];
    // The peer goes on behind it, or has said that nothing more comes.
    for ((end, says), goes_on) in ends.iter().flat_map(|end| [(end, true), (end, false)]) {
        let server = builder(closing()).start().await.unwrap();
        let mut stream = connect(&server);
        for packet in [&log(1).with_entity("1"), &log(2).with_entity("2"), end] {
            stream.write_all(&packet.to_bytes(&LAXCUS6).unwrap()).await.unwrap();
        }
        if goes_on {
            // A handler may have to end it first.
            sleep(Duration::from_millis(200)).await;
            stream.write_all(&log(3).to_bytes(&LAXCUS6).unwrap()).await.unwrap();
        } else {
            stream.shutdown().await.unwrap();
        }
        let mut whole = Vec::new();
        within(stream.read_to_end(&mut whole)).await.unwrap();
        let expected = [answered(1, "1"), answered(2, "2"), says.clone()].concat();
        assert_eq!(hex::encode(whole), hex::encode(expected), "{}, goes on: {goes_on}", end.code);
        drop(stream);
        sleep(Duration::from_secs(1)).await;
        let stats = server.stats();
        assert_eq!((stats.open, stats.cut, stats.bytes_in_flight), (0, 0, 0));
    }
}

/// A peer would take another answer for the rest of the entity.
#[tokio::test(start_paused = true)]
async fn nothing_stands_behind_an_answer_that_broke_off() {
    const CAME: usize = 200_000;
    let handler = handler_fn(async |request: Request| {
        if request.packet.entity == "slow" {
            sleep(Duration::from_millis(300)).await;
            return Reply::from(Packet::new(laxcus6::answer::OKAY));
        }
        let pieces = [Ok(Bytes::from(vec![7; CAME])), Err(ErrorKind::Other.into())];
        let body = Body::from_stream(500_000, stream::iter(pieces));
        Answer::from(Packet::new(laxcus6::answer::OKAY)).with_body(body).into()
    });
    let server = builder(handler).start().await.unwrap();
    let (here, mut there) = duplex(1 << 10);
    server.serve_stream(here, loopback(), loopback()).unwrap();
    for packet in [log(1).with_entity("slow"), log(2)] {
        there.write_all(&packet.to_bytes(&LAXCUS6).unwrap()).await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    let mut whole = Vec::new();
    within(there.read_to_end(&mut whole)).await.unwrap();
    assert!(whole.len() > CAME && whole.ends_with(&[7; CAME]), "{} bytes", whole.len());
}

/// The answer to a peer of ours.
fn answered(serial: i64, entity: &'static str) -> Bytes {
    let answer = Packet::new(laxcus6::answer::OKAY).with(key::SERIAL, serial);
    let answer = answer.with(key::CAPABILITIES, Capabilities::OURS.in_answer()).with_entity(entity);
    answer.to_bytes(&LAXCUS6).unwrap()
}

/// A stream on which nothing happens.
struct Idle;

impl AsyncRead for Idle {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Idle {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// An idle connection costs little: 8 KiB at most, of resident memory, in a debug build.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn idle_connections_are_small() {
    const COUNT: usize = 10_000;
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let limits = ServerLimits { connections_per_source: COUNT, ..ServerLimits::default() };
    let server = builder(Echo).limits(limits).start().await.unwrap();
    let before = resident();
    for _ in 0..COUNT {
        server.serve_stream(Idle, loopback(), loopback()).unwrap();
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let each = resident().saturating_sub(before) / COUNT;
    println!("{each} bytes a connection");
    assert!(each <= 8192, "{each} bytes a connection");
    assert_eq!(within(server.shutdown(Duration::from_secs(20))).await.cut, 0);
}
