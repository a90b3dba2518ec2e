//! What a server holds is what it counts, and whoever holds it without need gives way (SPEC 11.17): on a virtual clock.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Limits, Message, Packet, laxcus6};
use fixp_laboratory::{Laboratory, Stream};
use fixp_transport::extension::{Capabilities, Refusal, key};
use fixp_transport::keep::Client;
use fixp_transport::limits::ServerLimits;
use fixp_transport::server::{AllowList, PublicKey};
use fixp_transport::{Echo, Handler, Reply, Request, Server, handler_fn};
use lab::{Binder, CLIENT, PORT, SERVER, application, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::time::{sleep, timeout};

const BOTH: [&Dialect; 2] = [&LEXST1, &LAXCUS6];
const SECOND: Duration = Duration::from_secs(1);

async fn connect(lab: &Laboratory) -> Stream {
    lab.host(CLIENT).connect(SocketAddr::new(SERVER, PORT)).await.unwrap()
}

/// A request of so many messages that take next to nothing on the wire.
fn flags(dialect: &Dialect, count: u16) -> Packet {
    (0..count).fold(Packet::new(application(dialect)), |packet, _| packet.with(5001, true))
}

fn decoded(dialect: &Dialect, wire: &[u8]) -> Packet {
    let limits = Limits { head: ServerLimits::HEAD, ..Limits::default() };
    Decoder::new(dialect).with_limits(limits).packet(wire).unwrap().to_packet().unwrap()
}

/// What a request counts for.
fn counted(dialect: &Dialect, wire: &[u8]) -> usize {
    wire.len() + decoded(dialect, wire).messages.len() * size_of::<Message>()
}

/// Never answers, and counts those that it has.
fn stuck(inside: &Arc<AtomicUsize>) -> impl Handler + use<> {
    let inside = Arc::clone(inside);
    handler_fn(move |_: Request| {
        let inside = Arc::clone(&inside);
        async move {
            inside.fetch_add(1, SeqCst);
            std::future::pending::<Reply>().await
        }
    })
}

/// However a request comes, each of its messages counts for its place.
#[test]
fn a_message_counts_for_its_place() {
    for dialect in BOTH {
        Laboratory::run("places", |lab| async move {
            let builder = Server::builder(stuck(&Arc::default())).keep_allow(AllowList::everyone());
            let server = lab::serve_as(&lab, builder).await;
            let mut before = 0;
            let mut held = || {
                let now = server.stats().bytes_in_flight as usize;
                now - std::mem::replace(&mut before, now)
            };
            let packet = flags(dialect, 1000).with_entity(vec![7; 100]);
            let wire = packet.to_bytes(dialect).unwrap();
            let mut stream = connect(&lab).await;
            stream.write_all(&wire).await.unwrap();
            sleep(SECOND).await;
            assert_eq!(held(), counted(dialect, &wire));
            let socket = lab.host(CLIENT).bind(0).unwrap();
            socket.send_to(&wire, (SERVER, PORT).into()).unwrap();
            sleep(SECOND).await;
            assert_eq!(held(), counted(dialect, &wire));
            for extensions in [true, false] {
                let binder = Binder(lab.host(CLIENT));
                let client = Client::builder().dialect(dialect).sockets(Some(binder), None);
                let client = client.extensions(extensions).build();
                let packet = packet.clone();
                tokio::spawn(async move { client.request((SERVER, PORT).into(), packet).await });
                sleep(SECOND).await;
                // What it has of its own differs by its way.
                let (held, least) = (held(), counted(dialect, &wire) - 100);
                assert!(
                    (least..least + 500).contains(&held),
                    "{held} bytes, where {least} are held at least"
                );
            }
        });
    }
}

/// So they cannot take more than the server gives.
#[test]
fn small_messages_take_no_more_than_there_is() {
    for dialect in BOTH {
        Laboratory::run("small messages", |lab| async move {
            let (inside, limits) =
                (Arc::default(), ServerLimits { bytes: 1 << 20, ..ServerLimits::default() });
            let server = serve(&lab, dialect, limits, stuck(&inside)).await;
            let wire = flags(dialect, 10_000).to_bytes(dialect).unwrap();
            let socket = lab.host(CLIENT).bind(0).unwrap();
            for _ in 0..20 {
                socket.send_to(&wire, (SERVER, PORT).into()).unwrap();
                sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(inside.load(SeqCst), (1 << 20) / counted(dialect, &wire));
            assert_eq!(server.stats().datagrams_dropped, 19);
        });
    }
}

/// The same of the answers that an ordered channel keeps.
#[test]
fn kept_answers_of_small_messages_are_bounded() {
    for dialect in BOTH {
        // What the answers of a channel may take, and whether the first of three is kept.
        for (bytes, kept) in [(6000, false), (10_000, true)] {
            Laboratory::run("kept messages", |lab| async move {
                let limits = ServerLimits { ordered_bytes: bytes, ..ServerLimits::default() };
                let answer = flags(dialect, 50);
                let handler = handler_fn(move |_: Request| {
                    let answer = Packet { code: laxcus6::answer::OKAY, ..answer.clone() };
                    async move { Reply::from(answer) }
                });
                let _server = serve(&lab, dialect, limits, handler).await;
                let ask = |serial: i64| {
                    Packet::new(application(dialect))
                        .with(key::CAPABILITIES, Capabilities::OURS.in_request())
                        .with(key::SERIAL, serial)
                        .with(key::CHANNEL, &[7; 16][..])
                        .with(key::PREDECESSOR, serial - 1)
                };
                let mut stream = connect(&lab).await;
                let mut refusal = None;
                for serial in [1, 2, 3, 1] {
                    stream.write_all(&ask(serial).to_bytes(dialect).unwrap()).await.unwrap();
                    let mut came = vec![0; 4096];
                    let count = stream.read(&mut came).await.unwrap();
                    refusal = decoded(dialect, &came[..count]).first(key::REFUSAL).and_then(|it| it.as_i16());
                }
                assert_eq!(refusal, (!kept).then(|| Refusal::NotKept.number()));
            });
        }
    }
}

/// A server without sockets that has little room.
async fn small() -> Arc<Server<Echo>> {
    let limits = ServerLimits { bytes: 16 << 20, ..ServerLimits::default() };
    let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
    Arc::new(Server::builder(Echo).limits(limits).public_key(key).start().await.unwrap())
}

/// A connection from the host of this number.
fn join(server: &Server<Echo>, host: u8) -> DuplexStream {
    join_through(server, host, 64 << 10)
}

/// The same by a network that has room for so many bytes.
fn join_through(server: &Server<Echo>, host: u8, room: usize) -> DuplexStream {
    let (here, there) = duplex(room);
    let local = "10.9.9.9:5000".parse().unwrap();
    server.serve_stream(here, ([10, 0, 0, host], 4000).into(), local).unwrap();
    there
}

/// Whether another is answered within a second.
async fn is_answered(server: &Server<Echo>) -> bool {
    let mut stream = join(server, 2);
    stream.write_all(&Packet::new(laxcus6::notify::TEST).to_bytes(&LAXCUS6).unwrap()).await.unwrap();
    matches!(timeout(SECOND, stream.read(&mut [0; 100])).await, Ok(Ok(1..)))
}

/// Those who ask and take next to nothing hold no room that somebody waits for; who takes all it gets keeps his.
#[tokio::test(start_paused = true)]
async fn slow_readers_keep_nobody_out() {
    let server = small().await;
    let wire = Packet::new(application(&LAXCUS6)).with_entity(vec![1; 100_000]).to_bytes(&LAXCUS6).unwrap();
    // How many bytes are read in a second.
    let mut tasks = [50, 200_000].map(|speed| {
        let connections = if speed < 1000 { 30 } else { 4 };
        let tasks = (0..connections).map(|_| {
            let (mut read, mut write) = split(join(&server, 1));
            let wire = wire.clone();
            tokio::spawn(async move {
                let writing = async { while write.write_all(&wire).await.is_ok() {} };
                let reading = async {
                    let mut bytes = vec![0; speed / 10];
                    while !matches!(read.read(&mut bytes).await, Ok(0) | Err(_)) {
                        sleep(SECOND / 10).await;
                    }
                };
                tokio::join!(writing, reading);
            })
        });
        tasks.collect::<Vec<_>>()
    });
    sleep(3 * SECOND).await;
    for _ in 0..10 {
        assert!(is_answered(&server).await, "{:?}", server.stats());
    }
    assert!(server.stats().timed_out > 0);
    assert_eq!(tasks[1].iter().filter(|task| task.is_finished()).count(), 0);
    tasks.iter_mut().flatten().for_each(|task| task.abort());
}

/// Nor do those who take nothing and come again.
#[tokio::test(start_paused = true)]
async fn who_reads_nothing_and_comes_again_keeps_nobody_out() {
    let server = small().await;
    let queries = Packet::new(laxcus6::notify::SECURE_QUERY).to_bytes(&LAXCUS6).unwrap().repeat(4000);
    for _ in 0..24 {
        let (server, queries) = (Arc::clone(&server), queries.clone());
        tokio::spawn(async move {
            loop {
                let mut stream = join(&server, 1);
                while stream.write_all(&queries).await.is_ok() {}
                sleep(SECOND / 20).await;
            }
        });
    }
    sleep(3 * SECOND).await;
    let mut answered = 0;
    for _ in 0..10 {
        answered += u8::from(is_answered(&server).await);
        sleep(SECOND / 10).await;
    }
    assert_eq!(answered, 10, "{:?}", server.stats());
}

/// Heads that stop before their end take no more than there is for what is not whole, beside as much that waits for it
/// and a little for each; and keep nobody out.
#[tokio::test(start_paused = true)]
async fn heads_that_are_not_whole_are_bounded() {
    // What the network carries at once: little, so that it shows what the server has taken, or more.
    for (network, connections) in [(4 << 10, 200), (30 << 10, 300)] {
        let bytes = 1 << 20;
        let limits = ServerLimits { bytes, ..ServerLimits::default() };
        let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
        let server = Arc::new(Server::builder(Echo).limits(limits).public_key(key).start().await.unwrap());
        let packet = Packet::new(application(&LAXCUS6)).with_entity(&b"x"[..]);
        let packet = (0..15).fold(packet, |packet, _| packet.with(5002, &[7; 4000][..]));
        let wire = packet.to_bytes(&LAXCUS6).unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let streams = (0..connections).map(|_| {
            let (mut stream, wire, sent) =
                (join_through(&server, 1, network), wire.clone(), Arc::clone(&sent));
            tokio::spawn(async move {
                for part in wire[..wire.len() - 20].chunks(500) {
                    stream.write_all(part).await?;
                    sent.fetch_add(part.len(), SeqCst);
                }
                stream.read_u8().await
            })
        });
        let streams: Vec<_> = streams.collect();
        // Nobody has waited for long yet.
        sleep(SECOND / 10).await;
        let (sent, all) = (sent.load(SeqCst), connections * wire.len());
        let most = bytes / 2 + bytes + connections * (network + (8 << 10));
        assert!(sent < most && most < all, "{sent} bytes were taken of {all}, not {most}");
        let counted = server.stats().bytes_in_flight as usize;
        assert!((bytes / 4..=bytes / 2).contains(&counted), "{counted} bytes are counted");
        for _ in 0..10 {
            assert!(is_answered(&server).await, "{:?}", server.stats());
        }
        // In the end nothing is left of them.
        for stream in streams {
            assert!(stream.await.unwrap().is_err());
        }
        sleep(SECOND).await;
        assert_eq!((server.stats().bytes_in_flight, server.stats().open), (0, 0));
    }
}
