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
use fixp_transport::server::AllowList;
use fixp_transport::{Handler, Reply, Request, Server, handler_fn};
use lab::{Binder, CLIENT, PORT, SERVER, application, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

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
                assert!((least..least + 500).contains(&held), "{held} bytes, where {least} are held at least");
            }
        });
    }
}

/// So they cannot take more than the server gives.
#[test]
fn small_messages_take_no_more_than_there_is() {
    for dialect in BOTH {
        Laboratory::run("small messages", |lab| async move {
            let (inside, limits) = (Arc::default(), ServerLimits { bytes: 1 << 20, ..ServerLimits::default() });
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
