//! The recorded calls, made by the recorded clients at our server and answered by the recorded servers to our client:
//! what ours says is, byte for byte, what the other recorded side said (SPEC 12.1, 12.2, 12.3, 12.4, 12.5, 12.6, 12.7).
//!
//! A real throwable tells its stack and ours does not: there class, message and cause are compared, and the packet
//! around it. The recordings are those of the transport's tests; calls over KEEP UDP are compared as whole packets,
//! since their pieces are the transport's (`keep_replay.rs`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the transport's tests use more of it")]
#[path = "../../fixp-transport/tests/common/recordings.rs"]
mod recordings;

mod echo;

use std::time::Duration;

use fixp_codec::rpc::{self, Reply, Throwable};
use fixp_codec::{Dialect, Packet, laxcus6};
use fixp_rpc::legacy::Visits;
use fixp_transport::server::{DialectChoice, PublicKey};
use fixp_transport::{Server, tables};
use recordings::Line;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

/// Recordings with calls in them that are not named so.
const UNNAMED: [&str; 2] = ["laxcus6-tcp-five", "lexst1-tcp-hand-pipelined"];

/// Those that are not replayed here, and why. `*` stands for anything.
const LEFT: [(&str, &str); 2] = [("*-cipher-*", "encrypted"), ("*-duplex-*", "encrypted")];

fn is_left(name: &str) -> bool {
    LEFT.iter().any(|(pattern, _)| pattern.split('*').all(|part| name.contains(part)))
}

/// The recordings of calls that are replayed: those of the transport's table that this says of.
fn calls(what: &str) -> Vec<String> {
    let named = |name: &str| name.contains("rpc") || name.contains("visit") || UNNAMED.contains(&name);
    let table = recordings::table();
    let table = table.into_iter().filter(|(name, found)| named(name) && !is_left(name) && found == what);
    table.map(|(name, _)| name).collect()
}

#[test]
fn every_recorded_call_has_its_place() {
    let table = recordings::table();
    let named = table.keys().filter(|name| name.contains("rpc") || name.contains("visit"));
    let (left, here): (Vec<_>, Vec<_>) = named.partition(|name| is_left(name));
    let mut replayed = [calls("replayed"), calls("keep_replay.rs")].concat();
    replayed.retain(|name| !UNNAMED.contains(&&**name));
    replayed.sort();
    assert_eq!(here.into_iter().cloned().collect::<Vec<_>>(), replayed);
    assert_eq!((left.len(), replayed.len()), (19, 72));
    for (pattern, _) in LEFT {
        let fits = |name: &&&String| pattern.split('*').all(|part| name.contains(part));
        assert!(left.iter().any(|name| fits(&name)), "{pattern} is of no recording");
    }
}

fn reply_of(dialect: &Dialect, entity: &[u8]) -> Option<Reply> {
    match dialect.name() {
        "lexst1" => rpc::lexst1::decode_reply(entity).ok(),
        _ => rpc::laxcus6::decode_reply(entity).ok(),
    }
}

/// What was thrown, without the places.
fn thrown(dialect: &Dialect, packet: &Packet) -> Option<Throwable> {
    fn bare(thrown: Throwable) -> Throwable {
        let cause = thrown.cause.map(|cause| Box::new(bare(*cause)));
        Throwable { cause, trace: Vec::new(), ..thrown }
    }
    let answers = [tables::of(dialect).okay, laxcus6::answer::VISIT_ACCEPTED];
    if !answers.contains(&packet.code) {
        return None;
    }
    Throwable::of(&reply_of(dialect, &packet.entity)?.throwable?).map(bare)
}

/// Holds an answer of ours against the recorded one.
fn compare(dialect: &'static Dialect, ours: &[u8], recorded: &Packet, place: &str) {
    let theirs = recorded.to_bytes(dialect).unwrap();
    let Some(threw) = thrown(dialect, recorded) else {
        return assert_eq!(hex::encode(ours), hex::encode(theirs), "{place}");
    };
    let ours = recordings::packet(dialect, ours);
    assert_eq!(thrown(dialect, &ours), Some(threw), "{place}");
    let around = |packet: &Packet| {
        let mut packet = packet.clone().with_entity("");
        packet.remove(dialect.content_length_key());
        packet
    };
    assert_eq!(around(&ours), around(recorded), "{place}");
}

async fn server(dialect: &'static Dialect) -> Server<Visits<fixp_transport::Echo>> {
    let key = PublicKey::new(&hex::decode(recordings::MODULUS).unwrap(), &[1, 0, 1]).unwrap();
    let builder = Server::builder(echo::served().or(fixp_transport::Echo))
        .dialect(DialectChoice::Fixed(dialect))
        .public_key(key);
    builder.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap()
}

/// What comes over a connection, packet by packet.
struct Answers {
    stream: TcpStream,
    dialect: &'static Dialect,
    came: Vec<u8>,
}

impl Answers {
    /// The bytes of the next packet; nothing where the stream has ended in order.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(packet) = recordings::packets(self.dialect, &self.came).first() {
                let len = packet.to_bytes(self.dialect).unwrap().len();
                let rest = self.came.split_off(len);
                return Some(std::mem::replace(&mut self.came, rest));
            }
            let read = timeout(LONG, self.stream.read_buf(&mut self.came)).await.expect("an answer in time");
            if read.unwrap() == 0 {
                assert!(self.came.is_empty(), "ended within a packet");
                return None;
            }
        }
    }
}

#[tokio::test]
async fn recorded_clients_over_tcp() {
    let mut played = 0;
    for name in calls("replayed") {
        let recording = recordings::recording(&name);
        if !recording.tcp {
            continue;
        }
        let server = server(recording.dialect).await;
        for connection in &recording.connections {
            let stream = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
            let mut ours = Answers { stream, dialect: recording.dialect, came: Vec::new() };
            let (mut said, mut read) = (Vec::new(), 0);
            for line in connection {
                match line {
                    Line::Client(bytes) => ours.stream.write_all(bytes).await.unwrap(),
                    Line::Server(bytes) => {
                        said.extend_from_slice(bytes);
                        let packets = recordings::packets(recording.dialect, &said);
                        for (at, packet) in packets.iter().enumerate().skip(read) {
                            let place = format!("{name}, answer {at}");
                            let came = ours.next().await.unwrap_or_else(|| panic!("{place}: closed"));
                            // The caller's port, and the number of a mode that is none (replay.rs).
                            let skipped = match packet.code {
                                laxcus6::answer::ACCEPTED => true,
                                laxcus6::answer::SECURE_NOTIFY => name.contains("address"),
                                _ => false,
                            };
                            if !skipped {
                                compare(recording.dialect, &came, packet, &place);
                            }
                        }
                        read = packets.len();
                    }
                    // SPEC 12.7: where a result cannot be written, the end is all that comes.
                    Line::ServerEnd => assert_eq!(ours.next().await, None, "{name}: not closed"),
                    Line::ClientEnd => ours.stream.shutdown().await.unwrap(),
                }
            }
        }
        played += 1;
    }
    assert_eq!(played, 26);
}

/// VISIT as well (SPEC 12.8).
#[tokio::test]
async fn recorded_clients_over_udp() {
    let mut played = 0;
    for name in calls("replayed") {
        let recording = recordings::recording(&name);
        if recording.tcp {
            continue;
        }
        let server = server(recording.dialect).await;
        for connection in &recording.connections {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(server.local_addr().unwrap()).await.unwrap();
            let mut buffer = vec![0; 65536];
            for (at, line) in connection.iter().enumerate() {
                match line {
                    Line::Client(bytes) => {
                        socket.send(bytes).await.unwrap();
                        if !matches!(connection.get(at + 1), Some(Line::Server(_))) {
                            let more = timeout(Duration::from_millis(50), socket.recv(&mut buffer)).await;
                            assert!(more.is_err(), "{name}, line {at}: an answer where there is none");
                        }
                    }
                    Line::Server(bytes) => {
                        let place = format!("{name}, line {at}");
                        let came = timeout(LONG, socket.recv(&mut buffer)).await.expect(&place);
                        let recorded = recordings::packet(recording.dialect, bytes);
                        compare(recording.dialect, &buffer[..came.unwrap()], &recorded, &place);
                    }
                    Line::ClientEnd | Line::ServerEnd => panic!("{name}: datagrams have no end"),
                }
            }
        }
        played += 1;
    }
    assert_eq!(played, 28);
}
