//! Defects that a review found, each as the test that showed it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Decoder, Event, LAXCUS6, LEXST1, Packet, Value, laxcus6, lexst1};
use fixp_laboratory::Laboratory;
use fixp_transport::extension::{Capabilities, Refusal, key};
use fixp_transport::limits::{ChannelLimits, ServerLimits};
use fixp_transport::rate::RateLimiter;
use fixp_transport::server::PublicKey;
use fixp_transport::{
    Answer, Body, CallError, CallOptions, Cause, Channel, Echo, Fate, Handler, Nobody, Repeat, Reply,
    Request, Server, handler_fn, socket, tables, udp,
};
use lab::{CLIENT, Counting, PORT, SERVER, application, large, number, numbered, open, serve, serve_as};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;
use tokio::task::coop;
use tokio::time::{sleep, timeout};

async fn start(handler: impl Handler) -> Server<impl Handler> {
    let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
    Server::builder(handler).public_key(key).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap()
}

#[tokio::test]
async fn readiness_is_asked_anew() {
    let l = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = l.local_addr().unwrap();
    drop(l);
    let channel = Channel::builder(&LAXCUS6).open(socket::TcpConnector::new(addr));
    let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
    let _server = Server::builder(Echo).public_key(key).bind(addr).start().await.unwrap();
    for _ in 0..30 {
        if channel.ready().await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("it was never ready: {:?}", channel.stats());
}

#[test]
fn an_ordered_channel_may_be_idle() {
    Laboratory::run("r2", |lab| async move {
        let handler = Counting::default();
        let _s = serve(&lab, &LAXCUS6, ServerLimits::default(), handler.clone()).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6).ordered());
        channel.call(numbered(&LAXCUS6, 1, 0)).await.unwrap();
        sleep(Duration::from_secs(130)).await;
        let r = channel.call(numbered(&LAXCUS6, 2, 0)).await.map(|p| p.code);
        r.unwrap();
    });
}

#[test]
fn a_silent_handler_leaves_no_gap() {
    Laboratory::run("r3", |lab| async move {
        let handler = handler_fn(async |request: Request| {
            if number(&request.packet) < 2 {
                return Reply::Silence;
            }
            Reply::from(Packet::new(laxcus6::answer::OKAY))
        });
        let _s = serve(&lab, &LAXCUS6, ServerLimits::default(), handler).await;
        let limits = ChannelLimits { requests: 2, ..ChannelLimits::default() };
        let channel =
            open(&lab, Channel::builder(&LAXCUS6).ordered().limits(limits).timeout(Duration::from_secs(5)));
        for n in 0..4 {
            let error = channel.call(numbered(&LAXCUS6, n, 0)).await.map(|answer| answer.code);
            let silent = Cause::Refused(Refusal::Silent);
            assert_eq!(error.err(), (n < 2).then_some(CallError::possibly_executed(silent)));
        }
        sleep(Duration::from_secs(1000)).await;
        let r = channel.call(numbered(&LAXCUS6, 9, 0)).await.map(|p| p.code);
        r.unwrap();
    });
}

#[test]
fn a_handler_that_panics_leaves_no_gap() {
    Laboratory::run("r3b", |lab| async move {
        let handler = handler_fn(async |request: Request| {
            if number(&request.packet) < 2 {
                panic!("boom");
            }
            Reply::from(Packet::new(laxcus6::answer::OKAY))
        });
        let _s = serve(&lab, &LAXCUS6, ServerLimits::default(), handler).await;
        let limits = ChannelLimits { requests: 2, ..ChannelLimits::default() };
        let channel =
            open(&lab, Channel::builder(&LAXCUS6).ordered().limits(limits).timeout(Duration::from_secs(5)));
        for n in 0..4 {
            assert_eq!(channel.call(numbered(&LAXCUS6, n, 0)).await.is_err(), n < 2);
        }
        channel.call(numbered(&LAXCUS6, 9, 0)).await.unwrap();
    });
}

#[test]
fn freed_room_wakes_those_who_wait() {
    Laboratory::run("r4", |lab| async move {
        let handler = handler_fn(async |_: Request| {
            sleep(Duration::from_secs(3)).await;
            Reply::from(Packet::new(laxcus6::answer::OKAY))
        });
        let limits = ServerLimits { bytes: 260 << 10, ..ServerLimits::default() };
        let _server = serve(&lab, &LAXCUS6, limits, handler).await;
        let a = open(&lab, Channel::builder(&LAXCUS6));
        let b = open(&lab, Channel::builder(&LAXCUS6));
        let small = Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(vec![1; 20 << 10]);
        let large = Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(vec![1; 250 << 10]);
        let (ra, rb) = tokio::join!(
            biased;
            async { a.call(small).await },
            async { sleep(Duration::from_secs(1)).await; b.call(large).await.map(|p| p.code) });
        ra.unwrap();
        rb.unwrap();
    });
}

#[test]
fn a_rate_ends_no_transfer() {
    Laboratory::run("r5", |lab| async move {
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), Echo).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6));
        let limiter = RateLimiter::new(100_000);
        let calls = (0..64).map(|_| {
            let body = Body::from_bytes(vec![7; 256 << 10]).paced(&limiter);
            channel.transfer(Packet::new(laxcus6::notify::FLUSH_LOG), body)
        });
        let results = futures_util::future::join_all(calls).await;
        let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        assert!(failed.is_empty(), "{failed:?}");
    });
}

#[tokio::test]
async fn no_transfer_behind_the_end() {
    let server = start(Echo).await;
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    let clone = channel.clone();
    channel.close().await;
    let r = clone.transfer(Packet::new(laxcus6::notify::FLUSH_LOG), Body::from_bytes(vec![1; 10])).await;
    assert!(r.is_err());
}

#[tokio::test]
async fn transfers_leave_no_tasks() {
    let server = start(Echo).await;
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    for _ in 0..2000 {
        let mut t = channel
            .transfer(Packet::new(laxcus6::notify::FLUSH_LOG), Body::from_bytes(vec![1; 10]))
            .await
            .unwrap();
        while let Some(p) = t.body.chunk().await {
            p.unwrap();
        }
    }
    assert!(tokio::runtime::Handle::current().metrics().num_alive_tasks() < 100);
}

#[tokio::test]
async fn for_ever_is_a_time() {
    let server = start(Echo).await;
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    let o = CallOptions { timeout: Some(Duration::MAX), ..Default::default() };
    channel.call_with(Packet::new(laxcus6::notify::TEST), o).await.unwrap();
}

#[tokio::test]
async fn a_client_that_was_idle_still_has_timers() {
    let server = start(Echo).await;
    let hole = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = udp::Client::builder()
        .dialect(&LEXST1)
        .timeout(Duration::from_millis(300))
        .configure(|c| c.peer_expiry = Duration::from_millis(50))
        .build();
    client.request(server.local_addr().unwrap(), Packet::new(lexst1::app::ADD_LOG)).await.unwrap();
    // Until everything about the peer is forgotten.
    sleep(Duration::from_millis(500)).await;
    let r = timeout(
        Duration::from_secs(8),
        client.request(hole.local_addr().unwrap(), Packet::new(lexst1::app::ADD_LOG)),
    )
    .await;
    r.expect("a request must end in its time").unwrap_err();
}

#[tokio::test]
async fn a_peer_that_does_not_read_holds_no_end_up() {
    // A proxy that stops passing on.
    let server = start(Echo).await;
    let back = server.local_addr().unwrap();
    let l = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = l.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut c, _) = l.accept().await.unwrap();
        let mut b = tokio::net::TcpStream::connect(back).await.unwrap();
        let mut buf = [0; 4096];
        for _ in 0..2 {
            let n = c.read(&mut buf).await.unwrap();
            b.write_all(&buf[..n]).await.unwrap();
            let n = b.read(&mut buf).await.unwrap();
            c.write_all(&buf[..n]).await.unwrap();
        }
        sleep(Duration::from_secs(1000)).await;
    });
    let channel = Channel::builder(&LAXCUS6)
        .timeout(Duration::from_secs(1))
        .heartbeat(None, Duration::from_secs(1))
        .connect(addr)
        .await
        .unwrap();
    channel.call(Packet::new(laxcus6::notify::TEST)).await.unwrap();
    timeout(Duration::from_secs(8), channel.close()).await.expect("close within the channel's time");
}

/// One that has too much to do says so at once, and still answers what asks whether it is there.
#[test]
fn a_full_server_is_not_taken_for_dead() {
    Laboratory::run("full-server", |lab| async move {
        let handler = Counting::default();
        let limits = ServerLimits { requests_per_connection: 4, ..ServerLimits::default() };
        let _server = serve(&lab, &LAXCUS6, limits, handler.clone()).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6).timeout(Duration::from_secs(300)));
        let calls = (0..8).map(|n| channel.call(numbered(&LAXCUS6, n, 60_000)));
        let outcomes = futures_util::future::join_all(calls).await;
        let refused = CallError::not_sent(Cause::Refused(Refusal::Overloaded));
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 4);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(refused)).count(), 4);
        assert_eq!((channel.stats().connections, handler.begun().len()), (1, 4));
    });
}

/// A peer of ours hears of the one request, one of another make loses the connection; no other request is harmed.
#[test]
fn a_panic_is_of_one_request() {
    Laboratory::run("panic", |lab| async move {
        let handler = handler_fn(async |request: Request| -> Reply {
            assert_ne!(request.packet.entity, "panic", "as the test wants it");
            sleep(Duration::from_secs(1)).await;
            assert_ne!(request.packet.entity, "panic later", "as the test wants it");
            Packet::new(laxcus6::answer::OKAY).into()
        });
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), handler).await;
        let asked = |entity: &str| Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(entity.to_owned());

        let channel = open(&lab, Channel::builder(&LAXCUS6));
        let others: Vec<_> =
            (0..10).map(|_| channel.try_call(asked("x"), CallOptions::default()).unwrap()).collect();
        for entity in ["panic", "panic later"] {
            let error = channel.call(asked(entity)).await.unwrap_err();
            assert_eq!(error.cause, Cause::Refused(Refusal::Silent), "{error}");
            assert_eq!(error.fate, Fate::PossiblyExecuted);
        }
        for other in others {
            assert_eq!(other.await.unwrap().code, laxcus6::answer::OKAY);
        }
        assert_eq!(channel.stats().connections, 1);

        let theirs = open(&lab, Channel::builder(&LAXCUS6).extensions(false));
        let error = theirs.call(asked("panic")).await.unwrap_err();
        assert_eq!(error.cause, Cause::Ended, "{error}");
        assert_eq!(theirs.call(asked("x")).await.unwrap().code, laxcus6::answer::OKAY);
    });
}

#[test]
fn for_ever_is_a_time_of_every_limit() {
    Laboratory::run("for-ever", |lab| async move {
        let limits = ServerLimits {
            head_time: Duration::MAX,
            entity_time: Duration::MAX,
            idle_time: Duration::MAX,
            write_time: Duration::MAX,
            ordered_time: Duration::MAX,
            ..ServerLimits::default()
        };
        let _server = serve(&lab, &LAXCUS6, limits, Echo).await;
        let builder = Channel::builder(&LAXCUS6)
            .connect_time(Duration::MAX)
            .heartbeat(Some(Duration::MAX), Duration::MAX)
            .batch_delay(Duration::MAX)
            .backoff(Duration::MAX, Duration::MAX)
            .timeout(Duration::MAX)
            .ordered();
        let channel = open(&lab, builder);
        for _ in 0..2 {
            channel.call(Packet::new(laxcus6::notify::FLUSH_LOG).with_entity("x")).await.unwrap();
            sleep(Duration::from_secs(10)).await;
        }
    });
}

#[tokio::test]
async fn a_limit_that_leaves_no_room_is_no_start() {
    let limits = ServerLimits { requests_per_connection: 0, ..ServerLimits::default() };
    let error = Server::builder(Echo).limits(limits).start().await.unwrap_err();
    assert_eq!(error.to_string(), "the limit requests_per_connection is 0, so that nothing could be served");
}

/// Answers as its request says: a head or an entity that is too much for the client, or what is usual.
fn too_much(executed: &Arc<AtomicUsize>) -> impl Handler + use<> {
    let executed = Arc::clone(executed);
    handler_fn(move |request: Request| {
        let executed = Arc::clone(&executed);
        async move {
            let okay = Packet::new(tables::of(request.peer.dialect).okay);
            match &request.packet.entity[..] {
                b"entity" => {
                    executed.fetch_add(1, Relaxed);
                    okay.with_entity(vec![0; 200_000]).into()
                }
                b"head" => {
                    executed.fetch_add(1, Relaxed);
                    okay.with(1000, &"x".repeat(4000)[..]).into()
                }
                _ => {
                    sleep(Duration::from_millis(50)).await;
                    okay.into()
                }
            }
        }
    })
}

/// SPEC 11.7: an answer beyond the client's limit fails its own request, once; where it ends the connection, too.
#[test]
fn an_answer_that_is_too_much_is_not_asked_for_again() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let builders = [
            Channel::builder(dialect),
            Channel::builder(dialect).ordered(),
            Channel::builder(dialect).extensions(false).depth(8),
        ];
        for (mode, builder) in builders.into_iter().enumerate() {
            for too in ["entity", "head"] {
                let builder = builder.clone();
                Laboratory::run(&format!("too much {too} {} {mode}", dialect.name()), |lab| async move {
                    let executed = Arc::new(AtomicUsize::new(0));
                    let _server = serve(&lab, dialect, ServerLimits::default(), too_much(&executed)).await;
                    let limits = ChannelLimits { head: 2000, entity: 100_000, ..ChannelLimits::default() };
                    let channel = open(&lab, builder.limits(limits).timeout(Duration::from_secs(20)));
                    let request = |entity| Packet::new(application(dialect)).with_entity(entity);
                    channel.call(request("first")).await.unwrap();
                    let harmless = CallOptions { repeat: Repeat::Harmless, ..CallOptions::default() };
                    let begun = lab.now();
                    let (poison, other) = tokio::join!(
                        biased;
                        channel.call_with(request(too), harmless),
                        channel.call_with(request("other"), harmless),
                    );
                    let error = poison.unwrap_err();
                    assert!(lab.now() - begun < Duration::from_secs(5), "{error}");
                    let whole = too == "entity";
                    let cause = Cause::TooLarge { size: 200_000, limit: 100_000 };
                    assert_eq!(
                        (error.cause == cause, error.fate),
                        (whole, Fate::PossiblyExecuted),
                        "{error}"
                    );
                    assert!(whole == other.is_ok(), "{other:?}");
                    for _ in 0..5 {
                        channel.call(request("next")).await.unwrap();
                    }
                    assert_eq!(executed.load(Relaxed), 1);
                    assert_eq!(channel.stats().cuts, u64::from(!whole), "{:?}", channel.stats());
                });
            }
        }
    }
}

/// SPEC 10.6, 11.7: one of ours is told, and loses nothing else.
#[test]
fn a_request_that_is_too_large_is_refused() {
    for dialect in [&LEXST1, &LAXCUS6] {
        // The one would be gathered, the other not.
        for (ordered, entity) in [(false, 100_000), (false, 300_000), (true, 100_000), (true, 300_000)] {
            Laboratory::run("too large", |lab| async move {
                let handler = Counting::default();
                let limits = ServerLimits { entity, ..ServerLimits::default() };
                let server = serve(&lab, dialect, limits, handler.clone()).await;
                let builder = Channel::builder(dialect);
                let channel = open(&lab, if ordered { builder.ordered() } else { builder });
                // A channel of lexst1 announces itself by its first request, which may be the one (SPEC 10.2).
                if ordered || dialect.name() != LEXST1.name() {
                    channel.call(numbered(dialect, 0, 0)).await.unwrap();
                }
                let harmless = CallOptions { repeat: Repeat::Harmless, ..CallOptions::default() };
                let (other, large) = tokio::join!(
                    biased;
                    channel.call(numbered(dialect, 1, 500)),
                    channel.call_with(large(dialect, 2, entity as usize + 4), harmless),
                );
                assert_eq!(large.err(), Some(CallError::not_sent(Cause::Refused(Refusal::TooLarge))));
                other.unwrap();
                channel.call(numbered(dialect, 3, 0)).await.unwrap();
                assert_eq!((channel.stats().connections, handler.times(2)), (1, 0));
                assert_eq!(server.stats().malformed, 0);
            });
        }
    }
}

/// SPEC 10.3, 11.7: what is too large and is no request has no answer, and nothing that stands behind it is held back.
#[test]
fn an_answer_that_nobody_asked_for_is_not_refused_however_large() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run("large answer", |lab| async move {
            let limits = ServerLimits { entity: 100_000, ..ServerLimits::default() };
            let server = serve(&lab, dialect, limits, Echo).await;
            let mut stream = lab.host(CLIENT).connect((SERVER, PORT).into()).await.unwrap();
            let asked = |number: i64| Packet::new(application(dialect)).with(key::SERIAL, number);
            let large = Packet::new(tables::of(dialect).okay).with_entity(vec![7; 400_000]);
            let packets = [
                asked(1).with(key::CAPABILITIES, Capabilities::OURS.in_request()),
                large.clone().with(key::SERIAL, 2_i64),
                large,
                asked(4).with_entity(vec![7; 400_000]),
                asked(5),
            ];
            for packet in packets {
                stream.write_all(&packet.to_bytes(dialect).unwrap()).await.unwrap();
            }
            sleep(Duration::from_secs(1)).await;
            stream.shutdown().await.unwrap();
            let mut came = Vec::new();
            stream.read_to_end(&mut came).await.unwrap();
            let (mut decoder, mut rest) = (Decoder::new(dialect).stream(), &came[..]);
            let mut answers = Vec::new();
            while let Some(event) = decoder.next(&mut rest) {
                if let Event::Head(head) = event.unwrap() {
                    let packet = head.to_packet().unwrap();
                    let number = |key| packet.first(key).and_then(Value::as_i64);
                    answers.push((number(key::SERIAL), packet.first(key::REFUSAL).is_some()));
                }
            }
            assert_eq!(answers, [(Some(1), false), (Some(4), true), (Some(5), false)], "{}", dialect.name());
            assert_eq!((server.stats().malformed, server.stats().bytes_in_flight), (0, 0));
        });
    }
}

/// SPEC 11.6: the programs' way to refuse ends the connection in the middle of the request, and the caller is told
/// what the answer was.
#[tokio::test]
async fn a_large_request_that_is_refused_has_its_answer() {
    let server = start(Nobody).await;
    let (peer, head) = (server.local_addr().unwrap(), Packet::new(laxcus6::notify::FLUSH_LOG));
    for turn in 0..40 {
        let channel = Channel::builder(&LAXCUS6).connect(peer).await.unwrap();
        let body = Body::from_reader(4 << 20, tokio::io::repeat(7));
        let answer = channel.transfer(head.clone(), body).await;
        assert_eq!(answer.map(|answer| answer.packet.code), Ok(laxcus6::answer::UNSUPPORT), "{turn}");
        let channel = Channel::builder(&LAXCUS6).extensions(false).connect(peer).await.unwrap();
        let answer = channel.call(head.clone().with_entity(vec![7; 4 << 20])).await;
        assert_eq!(answer.map(|answer| answer.code), Ok(laxcus6::answer::UNSUPPORT), "{turn}");
    }
}

/// Connections to a peer that has given its answer to all that may come, and takes nothing.
struct Refusing(Bytes);

/// One of them.
struct Deaf(DuplexStream);

impl socket::Connect for Refusing {
    type Stream = Deaf;

    async fn connect(&self) -> io::Result<Deaf> {
        let (near, mut far) = duplex(1 << 10);
        far.write_all(&self.0).await?;
        Ok(Deaf(near))
    }

    fn peer(&self) -> SocketAddr {
        "127.0.0.1:1".parse().unwrap()
    }
}

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// SPEC 11.6: nor is what has come taken for nothing because the task has to give way before it can read it.
#[tokio::test]
async fn a_peer_that_went_is_heard_though_others_have_their_turn_first() {
    let refusal = tables::of(&LEXST1).refuse;
    let answer = Packet::new(refusal);
    let channel = Channel::builder(&LEXST1).open(Refusing(answer.to_bytes(&LEXST1).unwrap()));
    let piece = futures_util::stream::once(std::future::poll_fn(|cx| {
        // As after much other work.
        while let Poll::Ready(unit) = coop::poll_proceed(cx) {
            unit.made_progress();
        }
        Poll::Ready(Ok(Bytes::from_static(&[7; 1 << 10])))
    }));
    let transfer = channel.transfer(Packet::new(lexst1::app::ADD_LOG), Body::from_stream(1 << 10, piece));
    assert_eq!(transfer.await.map(|answer| answer.packet.code), Ok(refusal));
}

/// SPEC 10.9: a transfer that is whole at the server, and whose caller goes, is worked on no longer.
#[tokio::test]
async fn a_transfer_that_is_dropped_ends_its_work() {
    struct Dropped(mpsc::UnboundedSender<bool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(false);
        }
    }
    for dialect in [&LEXST1, &LAXCUS6] {
        let (told, mut came) = mpsc::unbounded_channel();
        let handler = handler_fn(move |request: Request| {
            let dropped = Dropped(told.clone());
            async move {
                request.gather(2 << 20).await.unwrap();
                let _ = dropped.0.send(true);
                sleep(Duration::from_secs(60)).await;
                Reply::Silence
            }
        });
        let server = start(handler).await;
        let channel = Channel::builder(dialect).connect(server.local_addr().unwrap()).await.unwrap();
        let body = Body::from_reader(1 << 20, tokio::io::repeat(7));
        let transfer = tokio::spawn(async move {
            channel.transfer(Packet::new(application(dialect)), body).await.map(|answer| answer.packet)
        });
        assert_eq!(came.recv().await, Some(true), "it is whole");
        transfer.abort();
        let ended = timeout(Duration::from_secs(10), came.recv()).await;
        assert_eq!(ended, Ok(Some(false)), "{}", dialect.name());
    }
}

/// A body of so many pieces of 1000 bytes, one in so long a time.
fn slow(pieces: u64, pause: Duration) -> Body {
    let pieces_of = futures_util::stream::unfold(0, move |given| async move {
        sleep(pause).await;
        (given < pieces).then(|| (Ok(Bytes::from_static(&[1; 1000])), given + 1))
    });
    Body::from_stream(pieces * 1000, pieces_of)
}

/// SPEC 10.3: an answer that comes slowly holds back no other, a heartbeat neither.
#[test]
fn a_slow_body_holds_back_no_other_answer() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run("slow body", |lab| async move {
            let handler = handler_fn(async |request: Request| {
                let okay = Packet::new(tables::of(request.peer.dialect).okay);
                match &request.packet.entity[..] {
                    b"slow" => Answer::from(okay).with_body(slow(3, Duration::from_secs(5))).into(),
                    b"breaks" => {
                        let short = slow(2, Duration::from_secs(1));
                        let body = Body::from_reader(3000, short.into_reader());
                        Answer::from(okay).with_body(body).into()
                    }
                    _ => okay.into(),
                }
            });
            let server = serve(&lab, dialect, ServerLimits::default(), handler).await;
            let builder =
                Channel::builder(dialect).heartbeat(Some(Duration::from_secs(1)), Duration::from_secs(1));
            let channel = open(&lab, builder);
            let request = |entity| Packet::new(application(dialect)).with_entity(entity);
            channel.call(request("first")).await.unwrap();
            let small = async {
                for _ in 0..20 {
                    sleep(Duration::from_millis(900)).await;
                    let begun = lab.now();
                    channel.call(request("small")).await.unwrap();
                    assert!(lab.now() - begun < Duration::from_millis(100), "{:?}", lab.now() - begun);
                }
            };
            let (slow, broken, ()) =
                tokio::join!(biased; channel.call(request("slow")), channel.call(request("breaks")), small);
            assert_eq!(slow.unwrap().entity, vec![1; 3000]);
            let unwritable = Cause::Refused(Refusal::Unwritable);
            assert_eq!(broken.err(), Some(CallError::possibly_executed(unwritable)));
            assert_eq!((channel.stats().connections, channel.stats().cuts), (1, 0));
            // Dropped while it is gathered, it ends.
            assert!(timeout(Duration::from_secs(1), channel.call(request("slow"))).await.is_err());
            sleep(Duration::from_secs(1)).await;
            assert_eq!(server.stats().bytes_in_flight, 0);
        });
    }
}

/// SPEC 10.3: between two long answers whatever is there goes first.
#[test]
fn the_next_long_body_waits_for_short_answers() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run("long bodies", |lab| async move {
            let handler = handler_fn(async |request: Request| {
                let okay = Packet::new(tables::of(request.peer.dialect).okay);
                if request.packet.entity == "long" {
                    return Answer::from(okay).with_body(Body::from_bytes(vec![0; 2 << 20])).into();
                }
                Reply::from(okay)
            });
            let builder = Server::builder(handler).bulk_rate(RateLimiter::new(1 << 20));
            let _server = serve_as(&lab, builder).await;
            let channel = open(&lab, Channel::builder(dialect));
            let request = |entity| Packet::new(application(dialect)).with_entity(entity);
            channel.call(request("first")).await.unwrap();
            let begun = lab.now();
            let took = async |call| channel.call(request(call)).await.map(|_| lab.now() - begun).unwrap();
            let (first, second, small) = tokio::join!(biased; took("long"), took("long"), async {
                sleep(Duration::from_millis(500)).await;
                took("small").await
            });
            let (long, short) = (first.max(second).as_secs_f64(), small.as_secs_f64());
            assert!(
                (3.5..4.5).contains(&long) && (1.5..2.5).contains(&short),
                "{first:?} {second:?} {small:?}"
            );
        });
    }
}
