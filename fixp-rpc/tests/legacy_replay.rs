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

use bytes::Bytes;
use fixp_codec::rpc::{self, Call, Reply, Throwable, Type, Value};
use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_rpc::legacy::{Client, Failure, Visits};
use fixp_transport::keep::pieces::{Added, Bounds, Gather, Mark};
use fixp_transport::server::{DialectChoice, PublicKey};
use fixp_transport::udp::Security;
use fixp_transport::{Cause, Channel, Reply as Answer, Request, Server, handler_fn, tables, udp};
use recordings::{Line, Recording};
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

/// Recordings with calls in them that are not named so.
const UNNAMED: [&str; 5] = [
    "laxcus6-tcp-five",
    "laxcus6-tcp-hand-bytes",
    "laxcus6-tcp-hand-pipelined",
    "lexst1-tcp-hand-bytes",
    "lexst1-tcp-hand-pipelined",
];

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

/// Not replayed here: in it the transport's mode address-match refuses calls before they are looked at (`replay.rs`).
const REFUSED: &str = "lexst1-udp-hand-address-match";

/// Whatever their names are.
#[test]
fn every_recording_with_calls_is_known() {
    let has_calls = |recording: &Recording| {
        let sent = recording.connections.iter().flat_map(|connection| recording.packets(connection).0);
        sent.into_iter().any(|packet| is_call(recording.dialect, &packet))
    };
    let mut found: Vec<_> = recordings::all().into_iter().filter(has_calls).map(|it| it.name).collect();
    found.retain(|name| !name.contains("rpc") && !name.contains("visit"));
    found.sort();
    let mut known = [UNNAMED.as_slice(), &[REFUSED]].concat();
    known.sort_unstable();
    assert_eq!(found, known);
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
    assert_eq!(played, 29);
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

/// Recordings that our client does not make again, beside those made by hand, and why.
const NOT_OF_A_CLIENT: [(&str, &str); 2] = [
    ("laxcus6-tcp-five", "other requests are between"),
    ("laxcus6-udp-visit", "its number was chosen by hand, and SECURE_QUERY went before"),
];

/// Those that our client makes, and what the recorded client made of them.
fn of_clients(what: &str) -> Vec<(String, Json)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixp-transport/tests");
    let folder = format!("{folder}/{}", if what == "replayed" { "transcripts" } else { "keep_recorded" });
    let made = calls(what).into_iter().filter(|name| NOT_OF_A_CLIENT.iter().all(|(not, _)| name != not));
    let made = made.map(|name| {
        let text = std::fs::read_to_string(format!("{folder}/{name}.client.json")).unwrap();
        (name, serde_json::from_str::<Json>(&text).unwrap())
    });
    made.filter(|(_, told)| told["op"] != "by-hand").collect()
}

fn is_call(dialect: &Dialect, packet: &Packet) -> bool {
    match dialect.name() {
        "lexst1" => packet.code == lexst1::rpc::EXECUTE,
        _ => [laxcus6::rpc::EXECUTE, laxcus6::notify::VISIT].contains(&packet.code),
    }
}

fn call_of(dialect: &Dialect, entity: &[u8]) -> Call {
    match dialect.name() {
        "lexst1" => rpc::lexst1::decode_call(entity).unwrap(),
        _ => rpc::laxcus6::decode_call(entity).unwrap(),
    }
}

/// The call that a recording's client was told to make.
fn told_call(told: &Json, dialect: &Dialect, entity: &[u8]) -> Call {
    let call = call_of(dialect, entity);
    if told["call"]["interface"].is_string() {
        assert_eq!(call.interface.as_ref().unwrap().as_str(), told["call"]["interface"].as_str());
        assert_eq!(call.method.as_ref().unwrap().as_str(), told["call"]["method"].as_str());
    }
    call
}

/// Our client made of the answer what the recorded one did.
fn agrees(name: &str, told: &Json, outcome: &Result<Value, Failure>) {
    let deepest = |mut thrown: &Json| {
        while thrown["cause"].is_object() {
            thrown = &thrown["cause"];
        }
        format!("{}: {}", thrown["class"].as_str().unwrap(), thrown["message"].as_str().unwrap())
    };
    let text = told["visit_exception"].as_str().or(told["error"].as_str());
    match outcome {
        Err(failure) => {
            assert!(told["result"].is_null() && told["rpc_result"].is_null(), "{name}: {failure}");
            match failure.thrown() {
                Some(thrown) => {
                    let ours = format!("{}: {}", thrown.class, thrown.message.as_ref().unwrap());
                    match text {
                        Some(text) => assert!(text.contains(&ours), "{name}: {ours}"),
                        None => assert_eq!(ours, deepest(&told["throwable"]), "{name}"),
                    }
                    assert!(!thrown.trace.is_empty(), "{name}: where it was thrown");
                    let by_method = text.map_or_else(
                        || told["throwable"]["cause"].is_object(),
                        |text| text.contains("InvocationTargetException"),
                    );
                    assert_eq!(matches!(failure, Failure::Threw(_)), by_method, "{name}");
                }
                // The client of VISIT says nothing.
                None => assert!(
                    told["ok"] == false
                        && told["throwable"].is_null()
                        && !text.is_some_and(|it| it.contains("laxcus.visit.VisitException")),
                    "{name}: {failure}"
                ),
            }
        }
        Ok(value) => {
            if let Some(text) = told["rpc_result"].as_str() {
                return assert_eq!(value.as_str(), Some(text), "{name}");
            }
            let result = &told["result"];
            let len = |len: usize| assert_eq!(result["len"], len, "{name}");
            match result["type"].as_str().unwrap_or_else(|| panic!("{name}: {value:?}")) {
                "null" => assert_eq!(*value, Value::Null, "{name}"),
                "Integer" => assert_eq!(value.as_i32().unwrap(), result["value"], "{name}"),
                "String" => len(value.as_str().unwrap().len()),
                "byte[]" => len(value.as_bytes().unwrap().len()),
                other => panic!("{name}: {other}"),
            }
        }
    }
}

/// Plays the recorded server to one connection: takes the packets that are expected and gives the recorded answers.
async fn play_server(listener: TcpListener, recording: &Recording, expected: &[Bytes], answers: &[Packet]) {
    let name = &recording.name;
    let (mut stream, _) = listener.accept().await.unwrap();
    for (at, packet) in expected.iter().enumerate() {
        let mut came = vec![0; packet.len()];
        let read = timeout(LONG, stream.read_exact(&mut came)).await;
        assert!(read.is_ok_and(|read| read.is_ok()), "{name}: {} did not come", hex::encode(packet));
        assert_eq!(hex::encode(came), hex::encode(packet), "{name}, request {at}");
        match answers.get(at) {
            Some(answer) => {
                stream.write_all(&answer.to_bytes(recording.dialect).unwrap()).await.unwrap();
            }
            // It closed where it could not write the result.
            None => return,
        }
    }
    let mut rest = Vec::new();
    let end = timeout(LONG, stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok() && rest.is_empty(), "{name}: more than was recorded");
}

#[tokio::test]
async fn recorded_servers_over_tcp() {
    let mut played = 0;
    for (name, told) in of_clients("replayed") {
        let recording = recordings::recording(&name);
        if !recording.tcp {
            continue;
        }
        let dialect = recording.dialect;
        let (mut requests, answers) = recording.packets(&recording.connections[0]);
        // Ours says no EXIT to an end that has closed.
        requests.truncate(answers.len() + usize::from(told["ok"] == false && answers.len() < requests.len()));
        let call = requests.iter().find(|packet| is_call(dialect, packet)).unwrap().clone();
        let bind_ip = call.first(lexst1::key::BIND_IP).is_some();
        let expected = requests.into_iter().map(|mut packet| {
            // Ours has it in calls only (SPEC 12.1).
            if packet.code == tables::of(dialect).exit && dialect.name() == "lexst1" {
                packet.remove(lexst1::key::BIND_IP);
            }
            packet.to_bytes(dialect).unwrap()
        });
        let expected: Vec<Bytes> = expected.collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let client = async {
            let builder = Channel::builder(dialect).extensions(false).heartbeat(None, Duration::ZERO);
            let channel = builder.timeout(LONG).connect(to).await.unwrap();
            let mut client = Client::over(channel);
            if bind_ip {
                client = client.bind_ip([127, 0, 0, 1].into());
            }
            let outcome = client.call(&told_call(&told, dialect, &call.entity)).await;
            agrees(&name, &told, &outcome);
            client.close().await;
        };
        tokio::join!(play_server(listener, &recording, &expected, &answers), client);
        played += 1;
    }
    assert_eq!(played, 22);
}

#[tokio::test]
async fn recorded_servers_over_udp() {
    let mut played = 0;
    for (name, told) in of_clients("replayed") {
        let recording = recordings::recording(&name);
        if recording.tcp {
            continue;
        }
        let dialect = recording.dialect;
        let lines = recording.connections.first().cloned().unwrap_or_default();
        let sent: Vec<Packet> =
            recording.connections.first().map_or_else(Vec::new, |it| recording.packets(it).0);
        let visits = name.contains("visit-rpc");
        let call = match sent.iter().find(|packet| is_call(dialect, packet)) {
            Some(request) => told_call(&told, dialect, &request.entity),
            // It was too long for a datagram. Ours knows before it asks for leave, but to VISIT.
            None => {
                let name = if dialect.name() == "lexst1" { "EchoVisit1" } else { "EchoVisit6" };
                Call::new(name, "bytes").with(Type::bytes(), vec![0; 100_000])
            }
        };
        let too_long = name.ends_with("bytes100k");
        let lines = if too_long && !visits { Vec::new() } else { lines };
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = socket.local_addr().unwrap();
        let server = async {
            let mut buffer = vec![0; 65536];
            let mut from = None;
            for (at, line) in lines.iter().enumerate() {
                match line {
                    Line::Client(expected) => {
                        let came = timeout(LONG, socket.recv_from(&mut buffer)).await;
                        let Ok(came) = came else { panic!("{name}, line {at}: nothing came") };
                        let (len, addr) = came.unwrap();
                        from = Some(addr);
                        assert_eq!(hex::encode(&buffer[..len]), hex::encode(expected), "{name}, line {at}");
                    }
                    Line::Server(bytes) => {
                        socket.send_to(bytes, from.unwrap()).await.unwrap();
                    }
                    Line::ClientEnd | Line::ServerEnd => panic!("{name}: datagrams have no end"),
                }
            }
        };
        let client = async {
            let security = if visits { Security::Unasked } else { Security::Always };
            let builder = udp::Client::builder().dialect(dialect).extensions(false).security(security);
            let datagrams = builder.timeout(LONG).build();
            let client = if visits {
                Client::visiting(datagrams.clone(), to)
            } else {
                Client::over_udp(datagrams.clone(), to)
            };
            let client = if name.ends_with("empty") || name.ends_with("plain") {
                client.timeout(Duration::from_millis(200))
            } else {
                client
            };
            let outcome = client.call(&call).await;
            agrees(&name, &told, &outcome);
            if too_long {
                let refused = matches!(outcome, Err(Failure::NotSent(Cause::TooLarge { .. })));
                assert!(refused, "{name}: {outcome:?}");
            } else if sent.last().is_some_and(|packet| packet.code == tables::of(dialect).exit) {
                datagrams.exit(to).await.unwrap();
            }
        };
        tokio::join!(server, client);
        played += 1;
    }
    assert_eq!(played, 27);
}

/// What one side of a recording over KEEP UDP said, put together.
fn joined(name: &str, client: bool) -> Option<(&'static Dialect, Packet)> {
    let dialect: &'static Dialect = if name.starts_with("lexst1") { &LEXST1 } else { &LAXCUS6 };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixp-transport/tests/keep_recorded");
    let text = std::fs::read_to_string(format!("{folder}/{name}.jsonl")).unwrap();
    let mut group = None;
    for line in text.lines() {
        let line: Json = serde_json::from_str(line).unwrap();
        let bytes = hex::decode(line["hex"].as_str().unwrap()).unwrap();
        let packet = Decoder::new(dialect).packet(&bytes).unwrap();
        let plain = [tables::of(dialect).exit, tables::of(dialect).probe].contains(&packet.code());
        let Some(mark) = Mark::of(dialect, &packet).filter(|_| !plain) else { continue };
        if (line["dir"] == "c2s") == client {
            let gather = group.get_or_insert_with(|| Gather::new(mark));
            if gather.add(mark, &packet, 0, Bounds::default()) == Added::Whole {
                let mut packet = group?.join(dialect)?;
                // The transport's.
                packet.remove(lexst1::key::BIND_IP);
                packet.remove(dialect.content_length_key());
                return Some((dialect, packet));
            }
        }
    }
    None
}

#[tokio::test]
async fn recorded_clients_over_keep_udp() {
    let names = calls("keep_replay.rs");
    assert_eq!(names.len(), 20);
    for name in names {
        let (dialect, request) = joined(&name, true).unwrap();
        let server = server(dialect).await;
        let builder = Channel::builder(dialect).extensions(false).timeout(Duration::from_secs(1));
        let outcome = builder.keep_udp(server.local_addr().unwrap()).call(request).await;
        match joined(&name, false) {
            // SPEC 12.7.
            None => assert_eq!(outcome.unwrap_err().cause, Cause::Timeout, "{name}"),
            Some((_, recorded)) => {
                let mut ours = outcome.unwrap();
                ours.remove(lexst1::key::BIND_IP);
                ours.remove(dialect.content_length_key());
                compare(dialect, &ours.to_bytes(dialect).unwrap(), &recorded, &name);
            }
        }
    }
}

/// Calls in one datagram that were made by hand beside KEEP UDP: with PACKET_IDENTIFY only, with no entity and a bad
/// one, and VISIT with a negative number and with one of another type (SPEC 12.6, 12.8).
#[tokio::test]
async fn calls_by_hand_in_one_datagram() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixp-transport/tests/keep_recorded");
    let text = std::fs::read_to_string(format!("{folder}/laxcus6-hand-test-in-keep.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let lines = lines.map(|line| (line["dir"] == "c2s", hex::decode(line["hex"].as_str().unwrap()).unwrap()));
    let lines: Vec<_> = lines.collect();
    let server = server(&LAXCUS6).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.local_addr().unwrap()).await.unwrap();
    let (mut answered, mut silent) = (0, 0);
    for (at, (client, bytes)) in lines.iter().enumerate() {
        let packet = Decoder::new(&LAXCUS6).packet(bytes).unwrap();
        if !client || !is_call(&LAXCUS6, &packet.to_packet().unwrap()) || Mark::is_claimed(&packet) {
            continue;
        }
        socket.send(bytes).await.unwrap();
        let mut buffer = vec![0; 65536];
        match lines.get(at + 1) {
            Some((false, recorded)) => {
                let place = format!("line {at}");
                let len = timeout(LONG, socket.recv(&mut buffer)).await.expect(&place).unwrap();
                compare(&LAXCUS6, &buffer[..len], &recordings::packet(&LAXCUS6, recorded), &place);
                answered += 1;
            }
            _ => {
                let more = timeout(Duration::from_millis(50), socket.recv(&mut buffer)).await;
                assert!(more.is_err(), "line {at}: an answer where there is none");
                silent += 1;
            }
        }
    }
    assert_eq!((answered, silent), (7, 1));
}

#[tokio::test]
async fn recorded_servers_over_keep_udp() {
    for (name, told) in of_clients("keep_replay.rs") {
        let (dialect, request) = joined(&name, true).unwrap();
        let answer = joined(&name, false);
        let (expected, place) = (request.clone(), name.clone());
        let recorded = handler_fn(move |request: Request| {
            let (expected, place, answer) = (expected.clone(), place.clone(), answer.clone());
            async move {
                let mut packet = request.gather(1 << 20).await.unwrap();
                packet.remove(lexst1::key::BIND_IP);
                packet.remove(dialect.content_length_key());
                assert_eq!(packet, expected, "{place}");
                answer.map_or(Answer::Unwritable, |(_, answer)| answer.into())
            }
        });
        let server = Server::builder(recorded).dialect(DialectChoice::Fixed(dialect));
        let server = server.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        let builder = Channel::builder(dialect).extensions(false).timeout(Duration::from_secs(1));
        let client = Client::over(builder.keep_udp(server.local_addr().unwrap()));
        agrees(&name, &told, &client.call(&told_call(&told, dialect, &request.entity)).await);
    }
}
