//! Large entities in pieces by a client of KEEP UDP: byte for byte to a peer of ours without being gathered, whole to
//! any other, and each with an end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;
#[path = "common/legacy.rs"]
mod legacy;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Dialect, LAXCUS6, LEXST1, Packet};
use fixp_laboratory::{Laboratory, LinkConfig, Random};
use fixp_transport::body::BodyError;
use fixp_transport::keep::Client;
use fixp_transport::limits::{ChannelLimits, ServerLimits};
use fixp_transport::{
    Answer, Body, CallError, Cause, Channel, Fate, Reply, Request, Server, handler_fn, tables,
};
use futures_util::stream;
use lab::{Binder, CLIENT, PORT, SERVER, Socket};
use legacy::{Manner, request};
use tokio::time::{Instant, sleep};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const LEN: usize = 6 << 20;
const WINDOW: u64 = 512 << 10;

fn to() -> SocketAddr {
    SocketAddr::new(SERVER, PORT)
}

fn client(lab: &Laboratory, dialect: &'static Dialect) -> Client {
    let client = Client::builder().dialect(dialect).random(lab.seed()).configure(|config| {
        (config.own.gather_answers, config.own.send_window) = (1 << 20, WINDOW);
        config.own.exchange_window = WINDOW;
    });
    client.sockets(Some(Binder(lab.host(CLIENT))), None).build()
}

/// What comes goes back, as it comes.
async fn echo(request: Request) -> Reply {
    let okay = Packet::new(tables::of(request.peer.dialect).okay).with(1000, "back");
    match request.body {
        Some(body) => Answer::from(okay).with_body(body).into(),
        None => okay.with_entity(request.packet.entity).into(),
    }
}

async fn serve(lab: &Laboratory, dialect: &'static Dialect) -> Arc<Server<impl fixp_transport::Handler>> {
    lab.set_links(LinkConfig::default().with_delay(5 * MILLI).with_bandwidth(12_500_000));
    let limits = ServerLimits { keep_window: WINDOW, ..ServerLimits::default() };
    lab::serve(lab, dialect, limits, handler_fn(echo)).await
}

fn head(dialect: &Dialect) -> Packet {
    request(dialect, 1, 0).with_entity(Bytes::new())
}

fn pieces(content: &Bytes) -> Body {
    let content = content.clone();
    let all = (0..content.len()).step_by(50_000).map(move |at| {
        let end = content.len().min(at + 50_000);
        Ok(content.slice(at..end))
    });
    Body::from_stream(LEN as u64, stream::iter(all))
}

/// Of a stranger a laxcus6 client finds out whom it asks, and a lexst1 client by what it asked before. What either
/// end holds is windows, and not entities.
#[test]
fn both_ways_in_pieces() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("transfer-{}", dialect.name()), |lab| async move {
            lab.set_time_limit(60 * SECOND);
            let server = serve(&lab, dialect).await;
            lab.set_links(
                LinkConfig::default().with_delay(5 * MILLI).with_bandwidth(12_500_000).with_loss(0.01),
            );
            let client = client(&lab, dialect);
            if dialect.name() == "lexst1" {
                client.request(to(), request(dialect, 1, 10)).await.unwrap();
            }
            let content = Bytes::from(Random::new(lab.seed()).bytes(LEN));
            let mut answer = client.transfer(to(), head(dialect), pieces(&content)).await.unwrap();
            assert_eq!(answer.packet.first(1000).unwrap().as_str(), Some("back"));
            assert_eq!(answer.body.len(), LEN as u64);
            let mut back = Vec::new();
            while let Some(piece) = answer.body.chunk().await {
                back.extend_from_slice(&piece.unwrap());
            }
            assert!(back == content);
            let stats = client.stats();
            assert!(stats.held_most < 4 * WINDOW as usize, "{stats:?}");
            assert!(server.stats().keep_bytes < 6 * WINDOW, "{:?}", server.stats());
            // A short answer comes whole, and nothing is left of either.
            let answer = client.transfer(to(), head(dialect), Body::from_bytes("short")).await.unwrap();
            assert_eq!(answer.body.collect(10).await.unwrap(), "short");
            sleep(SECOND).await;
            assert_eq!(client.stats().in_flight, 0);
            client.close();
            client.closed().await;
            assert_eq!(client.stats().held, 0);
        });
    }
}

/// An answer that nobody reads any more, and a request whose body fails, end on both sides.
#[test]
fn dropped_and_broken() {
    Laboratory::run("transfer-dropped", |lab| async move {
        let server = serve(&lab, &LAXCUS6).await;
        let client = client(&lab, &LAXCUS6);
        let content = Bytes::from(vec![7; LEN]);
        let mut answer = client.transfer(to(), head(&LAXCUS6), pieces(&content)).await.unwrap();
        answer.body.chunk().await.unwrap().unwrap();
        drop(answer);
        sleep(2 * SECOND).await;
        assert_eq!(client.stats().in_flight, 0);
        assert!(server.stats().keep_bytes < 64 << 10, "{:?}", server.stats());

        let broken = [Ok(content.slice(..100_000)), Err(std::io::ErrorKind::NotFound.into())];
        let broken = Body::from_stream(LEN as u64, stream::iter(broken));
        let error = client.transfer(to(), head(&LAXCUS6), broken).await.err().unwrap();
        assert_eq!(error.cause, Cause::Body(BodyError::Source(std::io::ErrorKind::NotFound)));
        assert_eq!(error.fate, Fate::PossiblyExecuted);
        // The way is as good as before.
        let answer = client.transfer(to(), head(&LAXCUS6), pieces(&content)).await.unwrap();
        assert!(answer.body.collect(LEN).await.unwrap() == content);
    });
}

/// A body that fails before its first byte: its head has left, and a handler may have begun with that.
#[test]
fn a_body_that_fails_at_once() {
    Laboratory::run("transfer-fails", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        let began = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&began);
        let counts = handler_fn(move |_| {
            seen.fetch_add(1, Relaxed);
            std::future::pending::<Reply>()
        });
        let limits = ServerLimits { keep_window: WINDOW, ..ServerLimits::default() };
        let _server = lab::serve(&lab, &LAXCUS6, limits, counts).await;
        let client = client(&lab, &LAXCUS6);
        let fails = stream::once(async {
            sleep(SECOND).await;
            Err(std::io::ErrorKind::NotFound.into())
        });
        let body = Body::from_stream(LEN as u64, Box::pin(fails));
        let error = client.transfer(to(), head(&LAXCUS6), body).await.err().unwrap();
        let cause = Cause::Body(BodyError::Source(std::io::ErrorKind::NotFound));
        assert_eq!(began.load(Relaxed), 1);
        assert_eq!(error, CallError::possibly_executed(cause));
    });
}

/// A peer that vanishes while its answer comes: the body says so in the time of the association.
#[test]
fn a_peer_that_vanishes() {
    Laboratory::run("transfer-vanishes", |lab| async move {
        lab.set_time_limit(600 * SECOND);
        let _server = serve(&lab, &LAXCUS6).await;
        let client = client(&lab, &LAXCUS6);
        let content = Bytes::from(vec![7; LEN]);
        let mut answer = client.transfer(to(), head(&LAXCUS6), pieces(&content)).await.unwrap();
        answer.body.chunk().await.unwrap().unwrap();
        let began = Instant::now();
        lab.set_links(LinkConfig::default().with_loss(1.0));
        let error = loop {
            match answer.body.chunk().await {
                Some(Ok(_)) => {}
                end => break end.unwrap().unwrap_err(),
            }
        };
        assert!(matches!(error, BodyError::Cut { missing } if missing > 0), "{error:?}");
        assert!(began.elapsed() < 60 * SECOND, "{:?}", began.elapsed());
        assert_eq!(client.stats().in_flight, 0);
    });
}

/// Nothing moves: its time is that from the last byte that has left.
#[test]
fn a_handler_that_reads_nothing() {
    Laboratory::run("transfer-stall", |lab| async move {
        lab.set_time_limit(600 * SECOND);
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        let silent = handler_fn(async |request: Request| -> Reply {
            let _unread = request.body;
            std::future::pending().await
        });
        let _server = lab::serve(&lab, &LAXCUS6, ServerLimits::default(), silent).await;
        let client = Client::builder().dialect(&LAXCUS6).random(lab.seed()).timeout(7 * SECOND);
        let client = client.sockets(Some(Binder(lab.host(CLIENT))), None).build();
        let began = Instant::now();
        let body = Body::from_reader(100 << 20, tokio::io::repeat(7));
        let error = client.transfer(to(), head(&LAXCUS6), body).await.err().unwrap();
        assert_eq!(error, CallError::possibly_executed(Cause::Timeout));
        assert!((7 * SECOND..10 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert_eq!(client.stats().in_flight, 0);
    });
}

/// The programs have no entities in pieces: it is gathered, within the bounds.
#[test]
fn to_another_make() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("transfer-make-{}", dialect.name()), |lab| async move {
            lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
            let socket = Socket(lab.host(SERVER).bind(PORT).unwrap());
            let log = legacy::serve(socket, Manner::of(dialect));
            let client = client(&lab, dialect);
            let sent = request(dialect, 3, 100_000);
            let body = Body::from_reader(50_000, std::io::Cursor::new(sent.entity.clone()));
            let answer = client.transfer(to(), head(dialect), body).await.unwrap();
            let whole = legacy::answer(dialect, &sent.entity[..50_000], 0);
            assert_eq!(answer.body.collect(50_000).await.unwrap(), whole.entity);
            let before = log.lock().unwrap().pieces;
            let body = Body::from_reader(17 << 20, tokio::io::repeat(7));
            let error = client.transfer(to(), head(dialect), body).await.err().unwrap();
            assert_eq!(error, CallError::not_sent(Cause::TooLarge { size: 17 << 20, limit: 16 << 20 }));
            assert_eq!(log.lock().unwrap().pieces, before);
        });
    }
}

/// By a channel as by a client.
#[test]
fn by_a_channel() {
    Laboratory::run("transfer-channel", |lab| async move {
        let _server = serve(&lab, &LAXCUS6).await;
        let builder = Channel::builder(&LAXCUS6).seed(lab.seed());
        let channel = builder.keep_udp_over(to(), Binder(lab.host(CLIENT)));
        let content = Bytes::from(vec![7; LEN]);
        let answer = channel.transfer(head(&LAXCUS6), pieces(&content)).await.unwrap();
        assert!(answer.body.collect(LEN).await.unwrap() == content);
        assert_eq!(channel.stats().answered, 1);
        channel.clone().close().await;
        let error = channel.transfer(head(&LAXCUS6), Body::from_bytes("x")).await.err().unwrap();
        assert_eq!(error, CallError::not_sent(Cause::Closed));
    });
}

/// A server that says how long its answer is, and gives only a part of it: each piece has its time from when it is
/// waited for, and a reader may take longer.
#[test]
fn an_answer_that_goes_no_further() {
    Laboratory::run("transfer-starves", |lab| async move {
        lab.set_time_limit(600 * SECOND);
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        let stops = handler_fn(async |request: Request| -> Reply {
            let part = stream::iter([Ok(Bytes::from(vec![7; 2 << 20]))]);
            let body = Body::from_stream(LEN as u64, stream::StreamExt::chain(part, stream::pending()));
            Answer::from(Packet::new(tables::of(request.peer.dialect).okay)).with_body(body).into()
        });
        let _server = lab::serve(&lab, &LAXCUS6, ServerLimits::default(), stops).await;
        let client = Client::builder().dialect(&LAXCUS6).random(lab.seed());
        let client = client.configure(|config| {
            (config.own.gather_answers, config.own.answer_idle) = (1 << 20, 30 * SECOND);
        });
        let client = client.sockets(Some(Binder(lab.host(CLIENT))), None).build();
        let body = Body::from_bytes("x");
        let mut answer = client.transfer(to(), head(&LAXCUS6), body).await.unwrap();
        let mut came = answer.body.chunk().await.unwrap().unwrap().len();
        // The reader's time is its own.
        sleep(45 * SECOND).await;
        let (error, waited) = loop {
            let waits = Instant::now();
            match answer.body.chunk().await.unwrap() {
                Ok(piece) => came += piece.len(),
                Err(error) => break (error, waits.elapsed()),
            }
        };
        assert_eq!(came, 2 << 20);
        assert_eq!(error, BodyError::Cut { missing: (LEN - came) as u64 });
        assert!((30 * SECOND..31 * SECOND).contains(&waited), "{waited:?}");
        assert_eq!(client.stats().in_flight, 0);
    });
}

/// A channel's place is that of a transfer to the end of its answer's body.
#[test]
fn a_place_is_taken_to_the_end() {
    Laboratory::run("transfer-place", |lab| async move {
        let _server = serve(&lab, &LAXCUS6).await;
        let builder = Channel::builder(&LAXCUS6).seed(lab.seed()).timeout(2 * SECOND);
        let builder =
            builder.limits(ChannelLimits { requests: 1, entity: 1 << 20, ..ChannelLimits::default() });
        let channel = builder.keep_udp_over(to(), Binder(lab.host(CLIENT)));
        let content = Bytes::from(vec![7; LEN]);
        let transfer = async || channel.transfer(head(&LAXCUS6), pieces(&content)).await;
        for whole in [true, false] {
            let mut first = transfer().await.unwrap();
            first.body.chunk().await.unwrap().unwrap();
            assert_eq!(transfer().await.err().unwrap(), CallError::not_sent(Cause::Timeout));
            if whole {
                while let Some(piece) = first.body.chunk().await {
                    piece.unwrap();
                }
                // Its end gives it back, whoever still has it.
                assert!(transfer().await.is_ok());
            } else {
                drop(first);
                assert!(transfer().await.is_ok());
            }
        }
    });
}
