//! Limits in time and memory, pauses and the end of a server, on a virtual clock (SPEC 11.17).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Dialect, LAXCUS6, LEXST1, Packet, Value, laxcus6};
use fixp_laboratory::{Host, Laboratory, LinkConfig, Stream};
use fixp_transport::extension::{Capabilities, key};
use fixp_transport::limits::{ChannelLimits, ServerLimits};
use fixp_transport::server::{PublicKey, Server};
use fixp_transport::socket::Connect;
use fixp_transport::{
    Answer, Body, CallOptions, Cause, Channel, Echo, Fate, Handler, Reply, Request, handler_fn, tables,
};
use futures_util::future::join_all;
use futures_util::stream;
use lab::{CLIENT, Counting, PORT, SERVER, application, numbered, open, serve};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::time::{Instant, Sleep, sleep, timeout};

const BOTH: [&Dialect; 2] = [&LEXST1, &LAXCUS6];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn connect(lab: &Laboratory) -> Stream {
    lab.host(CLIENT).connect(SocketAddr::new(SERVER, PORT)).await.unwrap()
}

/// When the server ends this connection, without a word.
async fn closed_after(lab: &Laboratory, stream: &mut Stream) -> Duration {
    let begun = lab.now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
    lab.now() - begun
}

#[track_caller]
fn about(time: Duration, expected: Duration) {
    assert!(time >= expected && time < expected + Duration::from_millis(100), "{time:?}, not {expected:?}");
}

#[test]
fn an_unfinished_head_ends_a_connection() {
    for dialect in BOTH {
        Laboratory::run("head time", |lab| async move {
            let server = serve(&lab, dialect, ServerLimits::default(), Echo).await;
            let request = numbered(dialect, 0, 0).to_bytes(dialect).unwrap();
            for some in 1..20 {
                let mut stream = connect(&lab).await;
                stream.write_all(&request[..some]).await.unwrap();
                about(closed_after(&lab, &mut stream).await, ServerLimits::HEAD_TIME);
            }
            // Nor does it help to send a byte now and then.
            let mut stream = connect(&lab).await;
            let begun = lab.now();
            for byte in &request[..15] {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                sleep(seconds(3)).await;
            }
            closed_after(&lab, &mut stream).await;
            assert!(lab.now() - begun < seconds(16), "{:?}", lab.now() - begun);
            assert_eq!(server.stats().timed_out, 20);
            assert_eq!((server.stats().open, server.stats().bytes_in_flight), (0, 0));
        });
    }
}

#[test]
fn an_entity_that_does_not_come_ends_a_connection() {
    for dialect in BOTH {
        for len in [1000, 1 << 20] {
            Laboratory::run("entity time", |lab| async move {
                let server = serve(&lab, dialect, ServerLimits::default(), Echo).await;
                let request = Packet::new(application(dialect)).with_entity(vec![1; len]);
                let request = request.to_bytes(dialect).unwrap();
                let mut stream = connect(&lab).await;
                // As long as something comes, it may take its time.
                for piece in request[..500].chunks(50) {
                    stream.write_all(piece).await.unwrap();
                    sleep(seconds(50)).await;
                }
                let begun = lab.now();
                // The head of the answer to a large one is there already.
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                about(lab.now() - begun, seconds(10));
                sleep(seconds(1)).await;
                assert_eq!((server.stats().open, server.stats().bytes_in_flight), (0, 0));
            });
        }
    }
}

/// What it says it will bring costs nothing before it is there, and in the end it is not waited for (SPEC 11.17).
#[test]
fn entities_that_trickle_keep_nobody_out() {
    for dialect in BOTH {
        // What comes of each at once: next to nothing, or nearly all of it.
        for share in [0, 95] {
            Laboratory::run("trickle", |lab| async move {
                let limits = ServerLimits { bytes: 1 << 20, ..ServerLimits::default() };
                let server = serve(&lab, dialect, limits, Echo).await;
                let mut slow = Vec::new();
                for len in [256 << 10, 64 << 10, 8 << 10, 1000, 100, 1 << 20].repeat(5) {
                    let wire = Packet::new(application(dialect)).with_entity(vec![1; len]);
                    let wire = wire.to_bytes(dialect).unwrap();
                    let stream = connect(&lab).await;
                    slow.push(tokio::spawn(async move {
                        let (mut read, mut write) = tokio::io::split(stream);
                        let (at_once, rest) =
                            wire.split_at((wire.len() - len + len * share / 100).min(250_000));
                        let writing = async {
                            write.write_all(at_once).await?;
                            for byte in rest {
                                sleep(Duration::from_millis(700)).await;
                                write.write_all(&[*byte]).await?;
                            }
                            io::Result::Ok(())
                        };
                        // Whoever gets pieces echoes them.
                        let mut echo = Vec::new();
                        tokio::join!(writing, read.read_to_end(&mut echo))
                    }));
                }
                sleep(seconds(1)).await;
                for len in [0, 1000, 60_000, 200_000, 1 << 20] {
                    let channel = open(&lab, Channel::builder(dialect));
                    let entity = vec![7; len];
                    let request = Packet::new(application(dialect)).with_entity(entity.clone());
                    let begun = lab.now();
                    let answer = channel.call(request).await.unwrap();
                    assert_eq!(answer.entity, entity);
                    let took = lab.now() - begun;
                    let most = if len < 65_000 { 100 } else { 5000 };
                    assert!(took < Duration::from_millis(most), "{len} bytes took {took:?}");
                }
                slow.iter().for_each(|slow| slow.abort());
                drop(slow);
                sleep(seconds(1)).await;
                assert_eq!(server.stats().bytes_in_flight, 0);
            });
        }
    }
}

#[test]
fn an_entity_that_is_gathered_comes_to_an_end() {
    for dialect in BOTH {
        Laboratory::run("gather time", |lab| async move {
            let server = serve(&lab, dialect, ServerLimits::default(), Echo).await;
            let wire =
                Packet::new(application(dialect)).with_entity(vec![1; 1000]).to_bytes(dialect).unwrap();
            let mut stream = connect(&lab).await;
            stream.write_all(&wire[..wire.len() - 1000]).await.unwrap();
            sleep(seconds(1)).await;
            let begun = lab.now();
            lab.set_time_limit(begun + seconds(3600));
            while server.stats().open > 0 {
                let _ = stream.write_all(&[1]).await;
                sleep(seconds(1)).await;
            }
            let took = lab.now() - begun;
            assert!(took >= seconds(598) && took <= seconds(602), "{took:?}");
            assert_eq!((server.stats().timed_out, server.stats().bytes_in_flight), (1, 0));
        });
    }
}

/// SPEC 11.17: the time in which there is no room is not that of the peer, who has all of his once there is some.
#[test]
fn the_wait_for_room_is_nobodys_time() {
    for dialect in BOTH {
        Laboratory::run("room time", |lab| async move {
            let limits = ServerLimits { bytes: 20_000, ..ServerLimits::default() };
            let handler = handler_fn(async move |request: Request| {
                // The first has all the room, for longer than an entity may stand still.
                sleep(seconds(if request.packet.entity.len() > 10_000 { 100 } else { 0 })).await;
                Packet::new(request.packet.code).into()
            });
            let server = serve(&lab, dialect, limits, handler).await;
            let wire =
                |len| Packet::new(application(dialect)).with_entity(vec![1; len]).to_bytes(dialect).unwrap();
            let mut first = connect(&lab).await;
            first.write_all(&wire(19_500)).await.unwrap();
            sleep(seconds(1)).await;
            let (mut second, wire) = (connect(&lab).await, wire(2_000));
            second.write_all(&wire[..wire.len() - 1_000]).await.unwrap();
            // Its rest comes some time after there is room.
            sleep(seconds(120)).await;
            assert_eq!(server.stats().timed_out, 0);
            second.write_all(&wire[wire.len() - 1_000..]).await.unwrap();
            assert!(second.read(&mut [0; 100]).await.unwrap() > 0, "it is answered");
        });
    }
}

/// SPEC 11.17: nor is the time in which its handler does not want an entity, which was there to be read.
#[test]
fn the_pause_of_a_handler_is_nobodys_time() {
    for dialect in BOTH {
        Laboratory::run("wanted time", |lab| async move {
            let handler = handler_fn(async |mut request: Request| {
                let code = request.packet.code;
                // For longer than an entity may stand still.
                sleep(seconds(100)).await;
                if let Some(body) = &mut request.body {
                    while let Some(Ok(_)) = body.chunk().await {}
                }
                Packet::new(code).into()
            });
            let server = serve(&lab, dialect, ServerLimits::default(), handler).await;
            let wire = Packet::new(application(dialect)).with_entity(vec![1; 1 << 20]);
            let wire = wire.to_bytes(dialect).unwrap();
            let mut stream = connect(&lab).await;
            stream.write_all(&wire[..10_000]).await.unwrap();
            // Its rest comes some time after it is wanted.
            sleep(seconds(120)).await;
            assert_eq!(server.stats().timed_out, 0);
            stream.write_all(&wire[10_000..]).await.unwrap();
            assert!(stream.read(&mut [0; 100]).await.unwrap() > 0, "it is answered");
            // Another's does not come, and has no more than its time from there on.
            let mut stream = connect(&lab).await;
            stream.write_all(&wire[..10_000]).await.unwrap();
            about(closed_after(&lab, &mut stream).await, seconds(160));
            assert_eq!(server.stats().timed_out, 1);
        });
    }
}

/// A stream that has no room for a while when it is written to for the first time.
struct Full(DuplexStream, Option<Pin<Box<Sleep>>>, Duration);

impl AsyncRead for Full {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Full {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self(stream, room, time) = &mut *self;
        let room = room.get_or_insert_with(|| Box::pin(sleep(*time)));
        if !room.is_elapsed() {
            ready!(room.as_mut().poll(cx));
        }
        Pin::new(stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// SPEC 11.17: the time in which a peer takes nothing begins when there is something for it.
#[tokio::test(start_paused = true)]
async fn an_answer_has_its_time_behind_a_long_upload() {
    // There is room again within that time, or not.
    for (full, answered) in [(1, true), (29, true), (31, false)] {
        let handler = handler_fn(async |mut request: Request| {
            let (body, mut came) = (request.body.as_mut().unwrap(), 0);
            while came < 500_000 {
                came += body.chunk().await.unwrap().unwrap().len();
            }
            Packet::new(laxcus6::answer::OKAY).into()
        });
        let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
        let server = Server::builder(handler).public_key(key).start().await.unwrap();
        let (here, mut there) = duplex(1 << 20);
        let peer = "10.0.0.1:1".parse().unwrap();
        server.serve_stream(Full(here, None, seconds(full)), peer, peer).unwrap();
        let wire = Packet::new(application(&LAXCUS6)).with_entity(vec![1; 1 << 20]);
        for piece in wire.to_bytes(&LAXCUS6).unwrap()[..600_000].chunks(100_000) {
            there.write_all(piece).await.unwrap();
            sleep(seconds(10)).await;
        }
        let read = timeout(seconds(60), there.read(&mut [0; 100])).await.unwrap();
        assert_eq!(read.unwrap() > 0, answered, "no room for {full} s");
        assert_eq!(server.stats().timed_out, u64::from(!answered));
    }
}

#[test]
fn an_idle_connection_ends() {
    for dialect in BOTH {
        Laboratory::run("idle time", |lab| async move {
            let _server = serve(&lab, dialect, ServerLimits::default(), Echo).await;
            let mut silent = connect(&lab).await;
            about(closed_after(&lab, &mut silent).await, ServerLimits::IDLE_TIME);
            let request = numbered(dialect, 0, 0).to_bytes(dialect).unwrap();
            let mut stream = connect(&lab).await;
            for _ in 0..2 {
                stream.write_all(&request).await.unwrap();
                let mut answer = vec![0; request.len()];
                stream.read_exact(&mut answer).await.unwrap();
                lab.set_time_limit(lab.now() + seconds(3600));
                sleep(seconds(29 * 60)).await;
            }
            about(closed_after(&lab, &mut stream).await, seconds(60));
        });
    }
}

/// A handler may take longer than a connection may be idle.
#[test]
fn work_is_not_idleness() {
    Laboratory::run("work", |lab| async move {
        let handler = Counting::default();
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), handler.clone()).await;
        let builder = Channel::builder(&LAXCUS6).extensions(false).timeout(seconds(3000));
        let slow = open(&lab, builder).call(numbered(&LAXCUS6, 0, 2_000_000)).await;
        assert_eq!(lab::number(&slow.unwrap()), 0);
    });
}

/// A peer that asks and does not read is not read from any more, costs what the limits say, and is cut in the
/// end.
#[test]
fn a_peer_that_does_not_read() {
    for dialect in BOTH {
        Laboratory::run("slow reader", |lab| async move {
            let server = serve(&lab, dialect, ServerLimits::default(), Echo).await;
            let request =
                Packet::new(application(dialect)).with_entity(vec![1; 20_000]).to_bytes(dialect).unwrap();
            let mut stream = connect(&lab).await;
            let begun = lab.now();
            let mut sent = 0;
            while let Ok(Ok(())) = timeout(seconds(1), stream.write_all(&request)).await {
                sent += request.len();
                assert!(sent < 4 << 20, "the server takes all that comes");
                let held = server.stats().bytes_in_flight as usize;
                assert!(held <= ServerLimits::BYTES_PER_CONNECTION + 2 * request.len(), "{held} bytes held");
            }
            assert!(sent > ServerLimits::BYTES_PER_CONNECTION, "{sent} bytes taken");
            while server.stats().open > 0 {
                sleep(Duration::from_millis(10)).await;
            }
            about(lab.now() - begun, ServerLimits::WRITE_TIME);
            assert_eq!((server.stats().timed_out, server.stats().bytes_in_flight), (1, 0));
        });
    }
}

/// A connection whose peer sends the first of these, 5 s later the second, and takes so many bytes so often: how long
/// it is open, and how much comes.
async fn taken(
    limits: ServerLimits,
    handler: impl Handler,
    [first, second]: [&[u8]; 2],
    (bytes, every): (usize, Duration),
) -> (Duration, usize) {
    let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
    let server = Server::builder(handler).limits(limits).public_key(key).start().await.unwrap();
    // Hardly anything of what it takes is on the way.
    let (here, there) = duplex(64);
    let peer = "10.0.0.1:1".parse().unwrap();
    server.serve_stream(here, peer, peer).unwrap();
    let (mut read, mut write) = tokio::io::split(there);
    let writing = async {
        write.write_all(first).await.unwrap();
        sleep(seconds(5)).await;
        write.write_all(second).await.unwrap();
        pending::<()>().await;
    };
    let (begun, mut came, mut buffer) = (Instant::now(), 0, vec![0; bytes]);
    let reading = async {
        loop {
            sleep(every).await;
            let mut left = bytes;
            while left > 0 {
                match read.read(&mut buffer[..left]).await {
                    Ok(count) if count > 0 => (came, left) = (came + count, left - count),
                    _ => pending().await,
                }
            }
        }
    };
    let ended = async {
        while server.stats().open > 0 && begun.elapsed() < seconds(3 * 3600) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! { biased; () = ended => (), () = writing => (), () = reading => () }
    (begun.elapsed(), came)
}

fn echoed(len: usize) -> Vec<u8> {
    Packet::new(application(&LAXCUS6)).with_entity(vec![1; len]).to_bytes(&LAXCUS6).unwrap().to_vec()
}

/// An answer that is taken slowly does not keep what is not whole behind it.
#[tokio::test(start_paused = true)]
async fn what_is_not_whole_has_its_time_behind_a_slow_answer() {
    let slowly = (100, seconds(25));
    let head = echoed(1000).len() - 1000;
    for (some, time) in [(5, ServerLimits::HEAD_TIME), (head + 5, ServerLimits::ENTITY_TIME)] {
        let wire = [echoed(200_000), echoed(1000)[..some].to_vec()].concat();
        let (open, _) = taken(ServerLimits::default(), Echo, [&wire, &[]], slowly).await;
        about(open, time);
    }
}

/// The peer is not to blame for a head of which the server itself does not take the rest, having too much to write.
#[tokio::test(start_paused = true)]
async fn a_head_that_is_held_back_has_its_time_afterwards() {
    let limits = ServerLimits { bytes_per_connection: 10_000, ..ServerLimits::default() };
    let handler = || {
        handler_fn(async |_: Request| {
            sleep(seconds(1)).await;
            Packet::new(laxcus6::answer::OKAY).with_entity(vec![1; 100_000]).into()
        })
    };
    let request = |serial: i64| {
        let announced = Capabilities::OURS.in_request();
        let request = Packet::new(application(&LAXCUS6)).with(key::CAPABILITIES, announced);
        request.with(key::SERIAL, serial).to_bytes(&LAXCUS6).unwrap()
    };
    let (first, second) = (request(1), request(2));
    let wire = [&first[..], &second[..5]].concat();
    // From the 92nd second on there is room for more.
    let steadily = (1000, seconds(1));
    let (open, came) = taken(limits.clone(), handler(), [&wire, &[]], steadily).await;
    assert!(open > seconds(97) && open < seconds(105), "{open:?}, {came} bytes");
    let (open, came) = taken(limits, handler(), [&wire, &second[5..]], steadily).await;
    assert!(came > 200_000 && open > ServerLimits::IDLE_TIME, "{open:?}, {came} bytes");
}

/// Nor is an answer kept for ever that is taken a byte now and then; but as long as it goes on, a slow link is slow.
#[tokio::test(start_paused = true)]
async fn an_answer_is_taken_at_some_rate() {
    for (pieces, held) in [(1, true), (200, true), (200, false), (1000, false)] {
        let handler = || {
            handler_fn(move |_: Request| {
                let answer = Packet::new(laxcus6::answer::OKAY);
                let body = stream::iter((0..pieces).map(|_| Ok(Bytes::from_static(&[1; 1000]))));
                let answer = match held {
                    true => answer.with_entity(vec![1; pieces * 1000]).into(),
                    false => Answer::from(answer).with_body(Body::from_stream(pieces as u64 * 1000, body)),
                };
                async { Reply::from(answer) }
            })
        };
        let wire = echoed(0);
        let pace = async |pace| taken(ServerLimits::default(), handler(), [&wire, &[]], pace).await;
        // 64 KiB may take ten times what a byte may.
        let (open, came) = pace((1, seconds(25))).await;
        about(open, seconds(300));
        assert_eq!(came, 12);
        if pieces > 1 {
            about(pace((4300, seconds(20))).await.0, seconds(300));
        }
        let (open, came) = pace((5000, seconds(20))).await;
        assert!(came > pieces * 1000 && open > ServerLimits::IDLE_TIME, "{open:?}, {came} bytes");
    }
}

/// Notes when connections are attempted.
struct Attempts {
    host: Host,
    lab: Laboratory,
    times: Arc<Mutex<Vec<Duration>>>,
}

impl Connect for Attempts {
    type Stream = Stream;

    async fn connect(&self) -> io::Result<Stream> {
        self.times.lock().unwrap().push(self.lab.now());
        self.host.connect(self.peer()).await
    }

    fn peer(&self) -> SocketAddr {
        SocketAddr::new(SERVER, PORT)
    }
}

#[test]
fn attempts_to_connect_are_further_and_further_apart() {
    Laboratory::run_seeds("attempts", 0..50, |lab| async move {
        let _nobody = lab.host(SERVER);
        let times = Arc::new(Mutex::new(Vec::new()));
        let attempts = Attempts { host: lab.host(CLIENT), lab: lab.clone(), times: Arc::clone(&times) };
        let builder = Channel::builder(&LEXST1).seed(lab.seed()).timeout(seconds(60));
        let channel = builder.backoff(Duration::from_millis(100), seconds(5)).open(attempts);
        let error = channel.call(numbered(&LEXST1, 0, 0)).await.unwrap_err();
        assert_eq!(error.fate, Fate::NotSent);
        assert!(matches!(error.cause, Cause::Connect(io::ErrorKind::ConnectionRefused)), "{error}");
        let times = times.lock().unwrap().clone();
        let mut longest = Duration::from_millis(100);
        for pair in times.windows(2) {
            let pause = pair[1] - pair[0];
            let most = longest + Duration::from_millis(2);
            assert!(
                pause >= longest / 2 && pause <= most,
                "{pause:?} where {longest:?} is the most: {times:?}"
            );
            longest = (longest * 2).min(seconds(5));
        }
        assert!((12..40).contains(&times.len()), "{} attempts in a minute", times.len());
        // Nobody asks: nobody tries.
        let before = channel.stats().failures;
        sleep(seconds(600)).await;
        assert_eq!(channel.stats().failures, before);
    });
}

/// A server that takes nothing: the channel holds what its limits say, and its callers wait or are told.
#[test]
fn a_channel_is_bounded() {
    for dialect in BOTH {
        Laboratory::run("bounded", |lab| async move {
            let listener = lab.host(SERVER).listen(PORT).unwrap();
            let _deaf = tokio::spawn(async move {
                let mut streams = Vec::new();
                while let Ok((stream, _)) = listener.accept().await {
                    streams.push(stream);
                }
            });
            let limits = ChannelLimits { bytes: 64 << 10, ..ChannelLimits::default() };
            let builder = Channel::builder(dialect).limits(limits).heartbeat(None, Duration::ZERO);
            let channel = open(&lab, builder.connect_time(seconds(600)));
            let request = || Packet::new(application(dialect)).with_entity(Bytes::from(vec![1; 10_000]));
            let options = CallOptions { timeout: Some(seconds(30)), ..CallOptions::default() };
            let mut calls = Vec::new();
            let full = loop {
                match channel.try_call(request(), options) {
                    Ok(call) => calls.push(call),
                    Err(error) => break error,
                }
            };
            assert_eq!((calls.len(), full.cause, full.fate), (6, Cause::Full, Fate::NotSent));
            // Who waits for room waits as long as he said.
            let begun = lab.now();
            let short = CallOptions { timeout: Some(seconds(5)), ..CallOptions::default() };
            let error = channel.call_with(request(), short).await.unwrap_err();
            assert_eq!((error.cause, error.fate), (Cause::Timeout, Fate::NotSent));
            about(lab.now() - begun, seconds(5));
            // All that are there end in time, and then there is room again.
            let outcomes = join_all(calls).await;
            assert!(outcomes.iter().all(Result::is_err));
            about(lab.now() - begun, seconds(30));
            assert!(channel.try_call(request(), options).is_ok());
        });
    }
}

/// A receiver that reads slowly sets the pace; nothing is lost.
#[test]
fn a_slow_link_sets_the_pace() {
    for dialect in BOTH {
        for extensions in [true, false] {
            Laboratory::run("slow link", |lab| async move {
                lab.set_links(
                    LinkConfig::default().with_delay(Duration::from_millis(20)).with_bandwidth(100_000),
                );
                let server = serve(&lab, dialect, ServerLimits::default(), Echo).await;
                let limits = ChannelLimits { bytes: 64 << 10, ..ChannelLimits::default() };
                let builder = Channel::builder(dialect).extensions(extensions).depth(4).limits(limits);
                let channel = open(&lab, builder.timeout(seconds(600)));
                let calls = (0..100u8).map(|number| {
                    let channel = channel.clone();
                    async move {
                        let request = Packet::new(application(dialect)).with_entity(vec![number; 20_000]);
                        let answer = channel.call(request).await.unwrap();
                        assert_eq!(answer.entity, vec![number; 20_000]);
                    }
                });
                join_all(calls).await;
                assert!(lab.now() >= seconds(20), "{:?}", lab.now());
                assert_eq!((channel.stats().cuts, server.stats().bytes_in_flight), (0, 0));
            });
        }
    }
}

#[test]
fn what_is_queued_goes_together() {
    for dialect in BOTH {
        for extensions in [true, false] {
            Laboratory::run("batch", |lab| async move {
                let _server = serve(&lab, dialect, ServerLimits::default(), Echo).await;
                let channel = open(&lab, Channel::builder(dialect).extensions(extensions).depth(1000));
                channel.call(numbered(dialect, 0, 0)).await.unwrap();
                let before = channel.stats();
                let call =
                    |number| channel.try_call(numbered(dialect, number, 0), CallOptions::default()).unwrap();
                let calls = join_all((1..=500).map(call)).await;
                for (number, answer) in (1..).zip(calls) {
                    assert_eq!(lab::number(&answer.unwrap()), number);
                }
                let writes = channel.stats().writes - before.writes;
                assert!(writes <= 2, "500 requests in {writes} writes");
            });
        }
    }
}

/// An answer that is under way when its time is over is late: it goes to nobody, and the connection goes on, or
/// is made anew where answers have no serials.
#[test]
fn a_late_answer_is_nobodys() {
    for dialect in BOTH {
        for extensions in [true, false] {
            Laboratory::run("late", |lab| async move {
                lab.set_links(LinkConfig::default().with_delay(Duration::from_millis(50)));
                let handler = Counting::default();
                let _server = serve(&lab, dialect, ServerLimits::default(), handler.clone()).await;
                let channel = open(&lab, Channel::builder(dialect).extensions(extensions));
                channel.call(numbered(dialect, 0, 0)).await.unwrap();
                let short =
                    CallOptions { timeout: Some(Duration::from_millis(80)), ..CallOptions::default() };
                let error = channel.call_with(numbered(dialect, 1, 0), short).await.unwrap_err();
                assert_eq!((error.cause, error.fate), (Cause::Timeout, Fate::PossiblyExecuted));
                assert_eq!(handler.times(1), 1);
                let answer = channel.call(numbered(dialect, 2, 0)).await.unwrap();
                assert_eq!(lab::number(&answer), 2);
                let stats = channel.stats();
                assert_eq!((stats.late, stats.cuts), if extensions { (1, 0) } else { (0, 1) });
                // One that runs when nobody waits any more is stopped.
                let gone = channel.call_with(numbered(dialect, 3, 1000), short).await.unwrap_err();
                assert_eq!(gone.fate, Fate::PossiblyExecuted);
                sleep(seconds(3)).await;
                assert_eq!(handler.begun(), [0, 1, 2, 3]);
                assert_eq!(handler.ended(), if extensions { vec![0, 1, 2] } else { vec![0, 1, 2, 3] });
            });
        }
    }
}

/// What is under way waits for the network to come back.
#[test]
fn partition_and_heal() {
    for dialect in BOTH {
        Laboratory::run("partition", |lab| async move {
            let handler = Counting::default();
            let _server = serve(&lab, dialect, ServerLimits::default(), handler.clone()).await;
            let builder =
                Channel::builder(dialect).heartbeat(Some(seconds(60)), seconds(10)).timeout(seconds(40));
            let channel = open(&lab, builder);
            channel.call(numbered(dialect, 0, 0)).await.unwrap();
            lab.partition(CLIENT, SERVER);
            let calls = (1..20).map(|number| channel.call(numbered(dialect, number, 10)));
            let (answers, ()) = tokio::join!(join_all(calls), async {
                sleep(seconds(10)).await;
                lab.heal(CLIENT, SERVER);
            });
            assert!(answers.iter().all(Result::is_ok));
            assert_eq!(channel.stats().cuts, 0);
            let mut begun = handler.begun();
            begun.sort_unstable();
            assert_eq!(begun, (0..20).collect::<Vec<_>>());
        });
    }
}

#[test]
fn a_server_that_stops_finishes_what_runs() {
    for dialect in BOTH {
        for extensions in [true, false] {
            Laboratory::run("shutdown", |lab| async move {
                let handler = Counting::default();
                let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
                let server = Server::builder(handler.clone()).public_key(key).start().await.unwrap();
                let listener = lab.host(SERVER).listen(PORT).unwrap();
                let channel = open(&lab, Channel::builder(dialect).extensions(extensions).depth(8));
                let slow = channel.try_call(numbered(dialect, 0, 2000), CallOptions::default()).unwrap();
                let (stream, peer) = listener.accept().await.unwrap();
                server.serve_stream(stream, peer, listener.local_addr()).unwrap();
                sleep(seconds(1)).await;
                let (report, answer) = tokio::join!(server.shutdown(seconds(10)), slow);
                assert_eq!(lab::number(&answer.unwrap()), 0);
                assert_eq!((report.cut, report.late), (0, false), "{report:?}");
                // What would come too late is cut.
                let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
                let server = Server::builder(handler.clone()).public_key(key).start().await.unwrap();
                let slow = channel.try_call(numbered(dialect, 1, 20_000), CallOptions::default()).unwrap();
                let (stream, peer) = listener.accept().await.unwrap();
                server.serve_stream(stream, peer, listener.local_addr()).unwrap();
                sleep(seconds(1)).await;
                let (report, answer) = tokio::join!(server.shutdown(seconds(2)), slow);
                assert_eq!(answer.unwrap_err().fate, Fate::PossiblyExecuted);
                assert_eq!((report.cut, report.late), (1, true), "{report:?}");
            });
        }
    }
}

/// What is built in takes its place on an ordered channel as everything else does (SPEC 10.5).
#[test]
fn what_is_built_in_keeps_the_order() {
    Laboratory::run("ordered-built-in", |lab| async move {
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), Echo).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6).ordered());
        for _ in 0..2 {
            let test = channel.call(Packet::new(laxcus6::notify::TEST)).await.unwrap();
            assert_eq!(test.code, laxcus6::answer::ACCEPTED);
            let echo = channel.call(Packet::new(application(&LAXCUS6)).with_entity("behind")).await.unwrap();
            assert_eq!(echo.entity, "behind");
        }
        assert_eq!(channel.stats().connections, 1);
    });
}

/// A body of so many pieces of 1000 bytes, one in a second.
fn slow(pieces: u64) -> Body {
    let given = stream::unfold(0, move |given| async move {
        sleep(seconds(1)).await;
        (given < pieces).then(|| (Ok(Bytes::from_static(&[1; 1000])), given + 1))
    });
    Body::from_stream(pieces * 1000, given)
}

/// SPEC 10.3: an answer that comes in pieces is gathered where it takes no more than half of what its connection may
/// hold, and what is left of the server's room; another holds back those behind it, and no room.
#[test]
fn an_answer_is_gathered_where_there_is_room() {
    // What a connection and the server may hold, what another connection holds, and the length of the answer.
    for (connection, all, other, len, gathered) in [
        (100_000, 1 << 20, 0, 45_000_i32, true),
        (100_000, 1 << 20, 0, 55_000, false),
        (100_000, 1 << 20, 0, 99_000, false),
        (1 << 20, 200_000, 0, 195_000, true),
        (1 << 20, 200_000, 100_000, 95_000, true),
        (1 << 20, 200_000, 100_000, 105_000, false),
    ] {
        for dialect in BOTH {
            Laboratory::run(&format!("gathered {connection} {all} {other} {len}"), |lab| async move {
                lab.set_time_limit(seconds(3600));
                let handler = handler_fn(async |request: Request| {
                    let okay = Packet::new(tables::of(request.peer.dialect).okay);
                    match &request.packet.entity[..] {
                        b"slow" => {
                            let pieces = request.packet.first(1000).and_then(Value::as_i32).unwrap();
                            Answer::from(okay).with_body(slow(pieces.unsigned_abs().into())).into()
                        }
                        b"small" => okay.into(),
                        _ => {
                            sleep(seconds(1000)).await;
                            Reply::from(okay)
                        }
                    }
                });
                let limits = ServerLimits {
                    bytes_per_connection: connection,
                    bytes: all,
                    gather: 1 << 20,
                    ..ServerLimits::default()
                };
                let server = serve(&lab, dialect, limits, handler).await;
                let asked = |entity: &'static [u8]| Packet::new(application(dialect)).with_entity(entity);
                let builder = || Channel::builder(dialect).heartbeat(None, seconds(1)).timeout(seconds(2000));
                let [one, two] = [(); 2].map(|()| open(&lab, builder()));
                for channel in [&one, &two] {
                    channel.call(asked(b"small")).await.unwrap();
                }
                let holds = (other > 0).then(|| {
                    let holds = Packet::new(application(dialect)).with_entity(vec![7; other]);
                    two.try_call(holds, CallOptions::default()).unwrap()
                });
                sleep(seconds(1)).await;
                let before = server.stats().bytes_in_flight;
                let pieces = len / 1000;
                let answer = one.try_call(asked(b"slow").with(1000, pieces), CallOptions::default()).unwrap();
                sleep(seconds(3)).await;
                let holds_now = server.stats().bytes_in_flight - before;
                assert_eq!(holds_now >= len as u64, gathered, "{holds_now} bytes");
                assert!(gathered || holds_now < 1000, "{holds_now} bytes");
                let begun = lab.now();
                one.call(asked(b"small")).await.unwrap();
                let took = lab.now() - begun;
                let most = if gathered { 1 } else { pieces.unsigned_abs().into() };
                assert!(took < seconds(most) && (gathered || took > seconds(most - 5)), "{took:?}");
                assert_eq!(answer.await.unwrap().entity, vec![1; len as usize]);
                drop((holds, one, two));
                sleep(seconds(1010)).await;
                assert_eq!(server.stats().bytes_in_flight, 0);
            });
        }
    }
}

/// A connection that ends waits for no room any more: its last answer has its time, and nobody gives his room for what
/// will not be taken.
#[test]
fn a_connection_that_ends_wants_no_room() {
    Laboratory::run("ends without room", |lab| async move {
        lab.set_time_limit(seconds(3600));
        let handler = handler_fn(async |request: Request| {
            let okay = Packet::new(laxcus6::answer::OKAY);
            match &request.packet.entity[..] {
                b"last" => {
                    sleep(seconds(2)).await;
                    Answer::from(okay).with_body(slow(60)).and_close().into()
                }
                b"small" => okay.into(),
                _ => {
                    sleep(seconds(300)).await;
                    Reply::from(okay)
                }
            }
        });
        let limits = ServerLimits { bytes: 200_000, entity_time: seconds(2), ..ServerLimits::default() };
        let server = serve(&lab, &LAXCUS6, limits, handler).await;
        let asked = |entity: &[u8]| Packet::new(application(&LAXCUS6)).with_entity(entity.to_vec());
        let builder = || Channel::builder(&LAXCUS6).heartbeat(None, seconds(1)).timeout(seconds(500));
        let [ends, holds] = [(); 2].map(|()| open(&lab, builder()));
        for channel in [&ends, &holds] {
            channel.call(asked(b"small")).await.unwrap();
        }
        let held = holds.try_call(asked(&[7; 180_000]), CallOptions::default()).unwrap();
        sleep(seconds(1)).await;
        let last = ends.try_call(asked(b"last"), CallOptions::default()).unwrap();
        sleep(seconds(1)).await;
        // It waits for room, and then for nothing: the connection ends with the answer before it.
        let wants = ends.try_call(asked(&[7; 100_000]), CallOptions::default()).unwrap();
        sleep(seconds(30)).await;
        assert_eq!(server.stats().timed_out, 0);
        assert_eq!(last.await.unwrap().entity, vec![1; 60_000]);
        drop(wants);
        held.await.unwrap();
        assert_eq!(server.stats().timed_out, 0);
    });
}

/// The same of the half of a head: it will not be taken, and the last answer does not end with the time that it has.
#[test]
fn a_connection_that_ends_waits_for_no_head() {
    Laboratory::run("ends without head", |lab| async move {
        lab.set_time_limit(seconds(3600));
        let handler = handler_fn(async |_: Request| {
            sleep(seconds(1)).await;
            Answer::from(Packet::new(laxcus6::answer::OKAY)).with_body(slow(60)).and_close().into()
        });
        let server = serve(&lab, &LAXCUS6, ServerLimits::default(), handler).await;
        let last = Packet::new(application(&LAXCUS6))
            .with(key::CAPABILITIES, Capabilities::OURS.in_request())
            .with(key::SERIAL, 1_i64);
        let mut wire = last.to_bytes(&LAXCUS6).unwrap().to_vec();
        wire.extend_from_within(..wire.len() / 2);
        let mut stream = connect(&lab).await;
        stream.write_all(&wire).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(lab.now() > ServerLimits::HEAD_TIME && answer.ends_with(&[1; 60_000]), "{:?}", lab.now());
        assert_eq!(server.stats().timed_out, 0);
    });
}
