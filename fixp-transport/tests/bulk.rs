//! Bulk transfers: in pieces, beside small requests, and under a rate that is shared fairly. All on the
//! virtual clock of a laboratory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Code, LAXCUS6, LEXST1, Packet, laxcus6::answer, laxcus6::notify, lexst1};
use fixp_laboratory::{Host, Laboratory, LinkConfig, Stream};
use fixp_transport::extension::{self, key};
use fixp_transport::rate::RateLimiter;
use fixp_transport::socket::Connect;
use fixp_transport::{
    Answer, Body, BodyError, Cause, Channel, Echo, Fate, Reply, Request, Server, handler_fn,
};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use lab::{CLIENT, PORT, SERVER, open, serve_as};

fn repeat(len: u64) -> Body {
    Body::from_reader(len, tokio::io::repeat(7))
}

async fn drain(mut body: Body) -> Result<u64, BodyError> {
    let mut came = 0;
    while let Some(piece) = body.chunk().await {
        came += piece?.len() as u64;
    }
    Ok(came)
}

#[test]
fn a_transfer_does_not_hold_up_small_requests() {
    Laboratory::run("bulk-beside-small", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(Duration::from_millis(1)).with_bandwidth(10 << 20));
        let _server = serve_as(&lab, Server::builder(Echo)).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6));
        channel.ready().await.unwrap();
        let other = channel.clone();
        let bulk = tokio::spawn(async move {
            let answer = other.transfer(Packet::new(notify::FLUSH_LOG), repeat(20 << 20)).await.unwrap();
            drain(answer.body).await.unwrap()
        });
        let mut small = 0;
        while !bulk.is_finished() {
            channel.call(Packet::new(notify::FLUSH_LOG).with_entity("small")).await.unwrap();
            small += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(bulk.await.unwrap(), 20 << 20);
        // Two seconds of bulk; a small request waits for the link at most, never for the transfer.
        assert!(small > 20, "{small} small requests");
        assert_eq!(channel.stats().connections, 1);
    });
}

#[test]
fn a_rate_is_held_and_shared_fairly() {
    Laboratory::run("bulk-rate", |lab| async move {
        let _server = serve_as(&lab, Server::builder(Echo)).await;
        let rate = RateLimiter::new(1 << 20);
        let channel = open(&lab, Channel::builder(&LAXCUS6));
        let begun = Instant::now();
        // Four transfers of 2 MiB each, at 1 MiB a second together.
        let ends = futures_util::future::join_all((0..4).map(|_| {
            let (channel, rate) = (channel.clone(), rate.clone());
            async move {
                let head = Packet::new(notify::FLUSH_LOG);
                let answer = channel.transfer(head, repeat(2 << 20).paced(&rate)).await.unwrap();
                drain(answer.body).await.unwrap();
                begun.elapsed()
            }
        }))
        .await;
        let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
        assert!((7.9..8.2).contains(&last.as_secs_f64()), "{ends:?}");
        // Fair: they end together.
        assert!(last.as_secs_f64() - first.as_secs_f64() < 0.5, "{ends:?}");
    });
}

#[test]
fn a_server_holds_its_rate_both_ways() {
    Laboratory::run("bulk-server-rate", |lab| async move {
        let _server = serve_as(&lab, Server::builder(Echo).bulk_rate(RateLimiter::new(1 << 20))).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6));
        let begun = Instant::now();
        let answer = channel.transfer(Packet::new(notify::FLUSH_LOG), repeat(2 << 20)).await.unwrap();
        assert_eq!(drain(answer.body).await.unwrap(), 2 << 20);
        // 2 MiB in and 2 MiB out.
        let took = begun.elapsed().as_secs_f64();
        assert!((3.8..4.2).contains(&took), "{took}");
    });
}

#[test]
fn a_reader_that_stops_holds_the_peer_up() {
    Laboratory::run("bulk-backpressure", |lab| async move {
        let (told, mut taken) = tokio::sync::watch::channel(0_u64);
        let told = Arc::new(told);
        let handler = handler_fn(move |_: Request| {
            let told = Arc::clone(&told);
            async move {
                let pieces = StreamExt::map(futures_util::stream::iter(0..1024), move |_| {
                    told.send_modify(|pieces| *pieces += 1);
                    Ok(Bytes::from(vec![7; 64 << 10]))
                });
                let answer = Answer::from(Packet::new(answer::OKAY));
                Reply::from(answer.with_body(Body::from_stream(64 << 20, pieces)))
            }
        });
        let _server = serve_as(&lab, Server::builder(handler)).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6));
        let head = Packet::new(notify::FLUSH_LOG);
        let mut answer = channel.transfer(head, Body::from_bytes(Bytes::new())).await.unwrap();
        let first = answer.body.chunk().await.unwrap().unwrap().len() as u64;
        tokio::time::sleep(Duration::from_secs(5)).await;
        // Of 1024 pieces only what sockets and buffers hold has been made.
        let made = *taken.borrow_and_update();
        assert!(made < 24, "{made} pieces");
        assert_eq!(first + drain(answer.body).await.unwrap(), 64 << 20);
    });
}

#[test]
fn what_breaks_off_is_told() {
    Laboratory::run("bulk-breaks", |lab| async move {
        let _server = serve_as(&lab, Server::builder(Echo)).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6));
        // A source that gives less than it said.
        let short = Body::from_reader(1 << 20, &[7; 1000][..]);
        let error = channel.transfer(Packet::new(notify::FLUSH_LOG), short).await.unwrap_err();
        assert_eq!(error.cause, Cause::Body(BodyError::Cut { missing: (1 << 20) - 1000 }));
        // What there was would have filled no buffer: nothing had left yet.
        assert_eq!(error.fate, Fate::NotSent);
        // Another, of which some has left.
        let short = Body::from_reader(8 << 20, tokio::io::repeat(7).take(1 << 20));
        let answer = channel.transfer(Packet::new(notify::FLUSH_LOG), short).await;
        let missing = 7 << 20;
        match answer {
            Err(error) => {
                assert_eq!(error.cause, Cause::Body(BodyError::Cut { missing }));
                assert_eq!(error.fate, Fate::PossiblyExecuted);
            }
            // The echo had begun before.
            Ok(answer) => assert_eq!(drain(answer.body).await, Err(BodyError::Cut { missing })),
        }
        // The network is cut in the middle of the answer.
        let mut answer = channel.transfer(Packet::new(notify::FLUSH_LOG), repeat(8 << 20)).await.unwrap();
        answer.body.chunk().await.unwrap().unwrap();
        lab.host(SERVER).reset();
        let error = drain(answer.body).await.unwrap_err();
        assert!(matches!(error, BodyError::Cut { missing } if missing > 0), "{error:?}");
    });
}

#[test]
fn nothing_that_moves_is_timed_out_and_nothing_that_stands_is_waited_for() {
    Laboratory::run("bulk-stall", |lab| async move {
        let _server = serve_as(&lab, Server::builder(Echo)).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6).timeout(Duration::from_secs(5)));
        // A minute at 64 KiB a second: longer than the channel's time.
        lab.link(CLIENT, SERVER, &LinkConfig::default().with_bandwidth(64 << 10));
        let begun = Instant::now();
        let answer = channel.transfer(Packet::new(notify::FLUSH_LOG), repeat(4 << 20)).await.unwrap();
        assert_eq!(drain(answer.body).await.unwrap(), 4 << 20);
        assert!(begun.elapsed() > Duration::from_secs(60), "{:?}", begun.elapsed());
        // A peer that is not there any more.
        lab.partition(CLIENT, SERVER);
        let begun = Instant::now();
        let error = channel.transfer(Packet::new(notify::FLUSH_LOG), repeat(4 << 20)).await.unwrap_err();
        assert_eq!(error.cause, Cause::Timeout, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    });
}

/// A connection that is left over says EXIT, as every end of a conversation does (SPEC 11.5).
#[test]
fn a_connection_between_transfers_ends_in_order() {
    Laboratory::run("bulk-exit", |lab| async move {
        let server = serve_as(&lab, Server::builder(Echo)).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6));
        channel.ready().await.unwrap();
        for _ in 0..3 {
            let answer = channel.transfer(Packet::new(notify::FLUSH_LOG), repeat(1 << 20)).await.unwrap();
            assert_eq!(drain(answer.body).await.unwrap(), 1 << 20);
        }
        // One connection for all of them, beside the channel's own.
        let before = server.stats();
        assert_eq!((before.accepted, before.open), (2, 2));
        tokio::time::sleep(Duration::from_secs(20)).await;
        let after = server.stats();
        assert_eq!((after.open, after.requests, after.lost), (1, before.requests + 1, 0));
    });
}

/// SPEC 11.5: so do those for which there is no room, and all of them when the channel ends.
#[test]
fn every_connection_for_transfers_ends_in_order() {
    for closes in [true, false] {
        Laboratory::run("bulk-exits", |lab| async move {
            let server = serve_as(&lab, Server::builder(Echo)).await;
            let channel = open(&lab, Channel::builder(&LAXCUS6));
            channel.ready().await.unwrap();
            let transfers = (0..4).map(|_| async {
                let answer = channel.transfer(Packet::new(notify::FLUSH_LOG), repeat(1 << 20)).await.unwrap();
                assert_eq!(drain(answer.body).await.unwrap(), 1 << 20);
            });
            futures_util::future::join_all(transfers).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            // Five greetings, four transfers, and the ends of those that are not kept.
            let stats = server.stats();
            assert_eq!((stats.accepted, stats.open, stats.requests), (5, 3, 5 + 4 + 2));

            // One more ends when nothing is kept any longer.
            let late = channel.transfer(Packet::new(notify::FLUSH_LOG), repeat(1 << 20)).await.unwrap();
            if closes {
                channel.close().await;
            } else {
                drop(channel);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let stats = server.stats();
            assert_eq!((stats.open, stats.requests), (1, 5 + 5 + 4));
            assert_eq!(drain(late.body).await.unwrap(), 1 << 20);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let stats = server.stats();
            assert_eq!((stats.accepted, stats.open, stats.requests, stats.lost), (5, 0, 5 + 5 + 5, 0));
        });
    }
}

/// [`Channel::close`] returns when EXIT has left on every connection: nothing is owed to a runtime that ends then.
#[test]
fn the_end_of_a_channel_is_that_of_its_connections() {
    Laboratory::run("bulk-exits-first", |lab| async move {
        let _server = serve_as(&lab, Server::builder(Echo)).await;
        let log = Log::default();
        let channel = Channel::builder(&LAXCUS6).open(Noting(lab.host(CLIENT), log.clone()));
        channel.ready().await.unwrap();
        let transfers = (0..4).map(|_| async {
            let answer = channel.transfer(Packet::new(notify::FLUSH_LOG), repeat(1 << 20)).await.unwrap();
            assert_eq!(drain(answer.body).await.unwrap(), 1 << 20);
        });
        futures_util::future::join_all(transfers).await;
        channel.close().await;
        // Its own, and one for each transfer.
        assert_eq!(log.times(&Packet::new(notify::EXIT).to_bytes(&LAXCUS6).unwrap()), 5);
    });
}

/// One that is found too old before it is swept away, and one whose answer was read to its last byte and no further.
#[test]
fn a_connection_that_is_not_used_again_ends_in_order() {
    Laboratory::run("bulk-exit-late", |lab| async move {
        let server = serve_as(&lab, Server::builder(Echo)).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6).heartbeat(None, Duration::ZERO));
        channel.ready().await.unwrap();
        let transfer = || async {
            let mut answer = channel.transfer(Packet::new(notify::FLUSH_LOG), repeat(1 << 20)).await.unwrap();
            let mut left = 1 << 20;
            while left > 0 {
                left -= answer.body.chunk().await.unwrap().unwrap().len();
            }
        };
        for pause in [1, 16, 0] {
            transfer().await;
            tokio::time::sleep(Duration::from_secs(pause)).await;
        }
        tokio::time::sleep(Duration::from_secs(40)).await;
        // Greetings of the channel's own and two more, three transfers, two ends.
        let stats = server.stats();
        assert_eq!((stats.accepted, stats.open, stats.requests, stats.lost), (3, 1, 3 + 3 + 2, 0));
    });
}

/// A runtime may end before the channels on it do: what was kept then ends without a word, and nobody panics.
#[test]
fn a_channel_may_outlive_its_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let channel = runtime.block_on(async {
        let server = Server::builder(Echo).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        let channel = Channel::builder(&LEXST1).connect(server.local_addr().unwrap()).await.unwrap();
        let head = Packet::new(lexst1::app::ADD_LOG);
        let answer = channel.transfer(head, Body::from_bytes("one")).await.unwrap();
        assert_eq!(drain(answer.body).await.unwrap(), 3);
        channel
    });
    drop(runtime);
    drop(channel);
}

/// So does one that was made for a request which does not leave on it.
#[test]
fn a_connection_that_is_not_used_at_all_ends_in_order() {
    Laboratory::run("bulk-exit-unused", |lab| async move {
        let server = serve_as(&lab, Server::builder(Echo).extensions(false)).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6));
        let own = Packet::new(Code::Request { major: extension::MAJOR, minor: extension::HANDLERS });
        let endless = (0..70_000).fold(Packet::new(notify::FLUSH_LOG), |head, _| head.with(1000, 1));
        for (made, head) in [(1, own), (2, endless)] {
            let error = channel.transfer(head, Body::from_bytes("one")).await.unwrap_err();
            assert_eq!(error.fate, Fate::NotSent, "{error}");
            tokio::time::sleep(Duration::from_secs(1)).await;
            // The greeting and the end of each.
            let stats = server.stats();
            assert_eq!((stats.accepted, stats.open, stats.requests), (made, 0, 2 * made), "{error}");
        }
    });
}

/// A peer that says more than it was asked is not asked again on that connection.
#[test]
fn a_connection_with_more_on_it_than_an_answer_is_not_used_again() {
    for more in [2, usize::MAX] {
        Laboratory::run("bulk-more", |lab| async move {
            let listener = lab.host(SERVER).listen(PORT).unwrap();
            let okay = Packet::new(lexst1::answer::OKAY).to_bytes(&LEXST1).unwrap();
            let said = [&okay[..], &okay[..okay.len().min(more)]].concat();
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let said = said.clone();
                    tokio::spawn(async move {
                        let mut request = [0; 4096];
                        while let Ok(1..) = stream.read(&mut request).await {
                            stream.write_all(&said).await.unwrap();
                        }
                    });
                }
            });
            let log = Log::default();
            let builder = Channel::builder(&LEXST1).extensions(false);
            let channel = builder.open(Noting(lab.host(CLIENT), log.clone()));
            for made in 1..4 {
                let _ = channel.transfer(Packet::new(lexst1::app::ADD_LOG), Body::from_bytes("one")).await;
                assert_eq!(log.made(), made);
            }
        });
    }
}

/// What the connections of a channel have said, and how many were reset.
#[derive(Clone, Default)]
struct Log(Arc<(Mutex<Vec<u8>>, AtomicUsize, AtomicUsize)>);

impl Log {
    fn resets(&self) -> usize {
        self.0.1.load(Relaxed)
    }

    /// How many were made.
    fn made(&self) -> usize {
        self.0.2.load(Relaxed)
    }

    /// How often CANCEL was said, of whichever serial.
    fn cancels(&self) -> usize {
        let cancel = |serial: i64| {
            let cancel = Packet::new(extension::CANCEL).with(key::SERIAL, serial);
            cancel.to_bytes(extension::own(&LAXCUS6)).unwrap()
        };
        (0..20).map(|serial| self.times(&cancel(serial))).sum()
    }

    /// How often this was said.
    fn times(&self, wire: &[u8]) -> usize {
        self.0.0.lock().unwrap().windows(wire.len()).filter(|said| *said == wire).count()
    }
}

/// Connects from a host, and notes what becomes of that.
struct Noting(Host, Log);

impl Connect for Noting {
    type Stream = Noted;

    async fn connect(&self) -> io::Result<Noted> {
        let stream = self.0.connect(self.peer()).await?;
        self.1.0.2.fetch_add(1, Relaxed);
        Ok(Noted(stream, self.1.clone()))
    }

    fn peer(&self) -> SocketAddr {
        SocketAddr::new(SERVER, PORT)
    }

    fn reset(stream: Noted) {
        stream.1.0.1.fetch_add(1, Relaxed);
    }
}

struct Noted(Stream, Log);

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.1.0.0.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// SPEC 10.9: where an answer breaks off its peer is told that nobody waits for the rest: by CANCEL, where all of a
/// request with a serial has left, or else by a reset. One that is over is not cancelled, whether or not its reader
/// has looked for the end.
#[test]
fn a_transfer_that_breaks_off_tells_its_peer() {
    const OWN: Code = Code::Request { major: extension::MAJOR, minor: extension::HANDLERS };
    Laboratory::run("bulk-tells", |lab| async move {
        // Half of the answer, and the rest never; or all of it.
        let handler = handler_fn(async |request: Request| {
            let half = request.packet.first(1000).is_some();
            if let Some(mut body) = request.body
                && !half
            {
                while let Some(Ok(_)) = body.chunk().await {}
            }
            let pieces = (0..if half { 4 } else { 8 }).map(|_| Ok(Bytes::from(vec![7; 64 << 10])));
            let never = futures_util::stream::pending().take(usize::from(half));
            let pieces = futures_util::stream::iter(pieces).chain(never);
            Answer::from(Packet::new(answer::OKAY))
                .with_body(Body::from_stream(8 * (64 << 10), pieces))
                .into()
        });
        let server = serve_as(&lab, Server::builder(handler)).await;
        for code in [notify::FLUSH_LOG, OWN] {
            let log = Log::default();
            let builder = Channel::builder(&LAXCUS6).timeout(Duration::from_secs(5));
            let channel = builder.open(Noting(lab.host(CLIENT), log.clone()));
            let told = || (log.resets(), log.cancels());

            tokio::time::sleep(Duration::from_secs(1)).await;
            let lost = server.stats().lost;

            // All that was to come has come.
            for looks in [true, false] {
                let mut answer = channel.transfer(Packet::new(code), repeat(100_000)).await.unwrap();
                let mut came = 0;
                while came < 8 * (64 << 10) {
                    came += answer.body.chunk().await.unwrap().unwrap().len();
                }
                if looks {
                    assert_eq!(answer.body.chunk().await, None);
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!((told(), server.stats().lost), ((0, 0), lost), "{code}");

            // Nothing more comes, and its reader has been told, and keeps what it has.
            let half = Packet::new(code).with(1000, "half");
            let mut answer = channel.transfer(half.clone(), Body::from_bytes("whole")).await.unwrap();
            let missing = 4 * (64 << 10);
            let error = loop {
                if let Err(error) = answer.body.chunk().await.unwrap() {
                    break error;
                }
            };
            assert_eq!(error, BodyError::Cut { missing });
            let first = if code == OWN { (0, 1) } else { (1, 0) };
            assert_eq!(told(), first, "{code}");

            // The source of the request has failed, which its reader is told.
            let short = Body::from_stream(
                1 << 20,
                futures_util::stream::unfold(0, async |time| {
                    tokio::time::sleep(Duration::from_secs(time)).await;
                    let piece = Ok(Bytes::from(vec![7; 1000]));
                    let none = Err(io::ErrorKind::NotFound.into());
                    Some((if time == 0 { piece } else { none }, 1))
                }),
            );
            let mut broken = channel.transfer(half, short).await.unwrap();
            let error = loop {
                if let Err(error) = broken.body.chunk().await.unwrap() {
                    break error;
                }
            };
            assert_eq!(error, BodyError::Source(io::ErrorKind::NotFound));
            assert_eq!(told(), (first.0 + 1, first.1), "{code}");
            drop((answer, broken));
            assert_eq!(told(), (first.0 + 1, first.1), "{code}");
        }
    });
}
