//! The recorded conversations, played by the recorded client against our server and by the recorded server
//! against our client: what ours says must be, byte for byte, what the other recorded side said (SPEC 11.1, 11.3,
//! 11.5, 11.8).
//!
//! What no rule fixes is made equal before, and nothing else: the caller's port in a HOST, and the server's
//! public key, of which ours is given the recorded one. Where we differ on purpose stands in [`DIFFERENT`].
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/recordings.rs"]
mod recordings;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Code, Dialect, LAXCUS6, LEXST1, Message, Packet, Value, laxcus6, lexst1};
use fixp_transport::extension::{Capabilities, key};
use fixp_transport::host::Transport;
use fixp_transport::server::node::{Helo, Node, ShutdownFrom, Verdict};
use fixp_transport::server::{AllowList, DialectChoice, PublicKey, Stop};
use fixp_transport::{Answer, Cause, Channel, Echo, Fate, Handler, Nobody, Reply, Request, Server, tables};
use recordings::{Line, Recording};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

/// Where our server or client differs from the recorded one, and why. `*` stands for anything.
const DIFFERENT: [(&str, Different, &str); 5] = [
    (
        "*-tcp-address-rpc",
        Different::ModeNone,
        "mode address is none with another number; ours is always none",
    ),
    ("laxcus6-udp-address", Different::ModeNone, "the same"),
    (
        "lexst1-tcp-hand-halfclose",
        Different::Sooner,
        "the program looked for 3 s whether more comes; ours closes at once",
    ),
    ("lexst1-tcp-rpc*", Different::ExitWithoutBindIp, "BIND_IP over TCP is added by the RPC client's layer"),
    (
        "lexst1-tcp-address-match-badbind",
        Different::ClosesKnowingly,
        "the program lost its place in the stream \
        because it left the refused request's entity unread; the handler here says close",
    ),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Different {
    ModeNone,
    Sooner,
    ExitWithoutBindIp,
    ClosesKnowingly,
}

fn differs(recording: &Recording, how: Different) -> bool {
    DIFFERENT.iter().any(|(pattern, what, _)| {
        let (pattern, dialect) = pattern.split_once(' ').unwrap_or((pattern, ""));
        let name = recording.name.as_str();
        let fits = match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(end), _) => name.ends_with(end),
            (_, Some(start)) => name.starts_with(start),
            _ => name == pattern,
        };
        fits && *what == how && name.starts_with(dialect)
    })
}

#[test]
fn every_recording_has_its_place() {
    let table = recordings::table();
    assert_eq!(table.len(), 185);
    let mut expected = vec!["all.txt".to_owned()];
    for (name, what) in &table {
        match what.as_str() {
            "replayed" => expected.extend([format!("{name}.client.json"), format!("{name}.jsonl")]),
            "cipher" | "keep_replay.rs" | "CAST" | "server_probes.rs" => {}
            other => panic!("{name}: {other} is no reason"),
        }
    }
    expected.sort();
    assert_eq!(recordings::files(), expected);
    for (pattern, how, _) in DIFFERENT {
        assert!(
            recordings::all().iter().any(|recording| differs(recording, how)),
            "{pattern} is of no recording"
        );
    }
}

type Members = Box<dyn Fn(&Helo<'_>) -> Verdict + Send + Sync>;

/// The recorded server's handler: RPC and VISIT from the recording, everything else an echo.
struct Recorded {
    /// The entities of calls, and their answers, in their order.
    calls: Mutex<VecDeque<(Bytes, Option<Packet>)>>,
    /// Serves COMEBACK and SHUTDOWN, and HELO in laxcus6, where the recorded server had a node above it.
    node: Option<Node<Nobody, Members>>,
    /// BIND_IP must be the caller's address (lexst1's mode address-match).
    address_match: bool,
}

fn is_call(dialect: &Dialect, packet: &Packet) -> bool {
    match dialect.name() {
        "lexst1" => matches!(packet.code, Code::Request { major: 7, .. }),
        _ => [laxcus6::rpc::EXECUTE, laxcus6::notify::VISIT].contains(&packet.code),
    }
}

impl Recorded {
    fn of(recording: &Recording, stop: &Stop) -> Self {
        let mut calls = VecDeque::new();
        for connection in &recording.connections {
            if recording.tcp {
                let (requests, answers) = recording.packets(connection);
                let requests = requests.into_iter().filter(|packet| packet.code.is_request());
                for (at, request) in
                    requests.enumerate().filter(|(_, packet)| is_call(recording.dialect, packet))
                {
                    calls.push_back((request.entity, answers.get(at).cloned()));
                }
            } else {
                for (at, line) in connection.iter().enumerate() {
                    let Line::Client(bytes) = line else { continue };
                    let request = recordings::packet(recording.dialect, bytes);
                    let answer = match connection.get(at + 1) {
                        Some(Line::Server(bytes)) => Some(recordings::packet(recording.dialect, bytes)),
                        _ => None,
                    };
                    // What mode address-match refused did not come to the object.
                    let refused = |answer: &Packet| answer.code == lexst1::answer::AUTHENTICATE_FAILED;
                    if is_call(recording.dialect, &request) && !answer.as_ref().is_some_and(refused) {
                        calls.push_back((request.entity, answer));
                    }
                }
            }
        }
        let is = |name| recording.name.contains(name);
        let node = (is("hand-helo-comeback") || is("hand-comeback") || is("hand-shutdown")).then(|| {
            let from = if is("refused") { ShutdownFrom::nobody() } else { ShutdownFrom::own_addresses() };
            let seen = Mutex::new(0);
            // The first node of the recording was known.
            let members: Members = Box::new(move |_| {
                let mut seen = seen.lock().unwrap();
                *seen += 1;
                if *seen == 1 { Verdict::ISee } else { Verdict::NotLogin }
            });
            Node::new(Nobody).with_membership(members).with_shutdown(stop.clone(), from)
        });
        Self { calls: Mutex::new(calls), node, address_match: is("address-match") }
    }

    fn address_matches(&self, request: &Request) -> bool {
        let ip = request.peer.addr.ip().to_string();
        let bound = request.packet.first(lexst1::key::BIND_IP).and_then(Value::as_str);
        !self.address_match || bound == Some(&ip)
    }
}

impl Handler for Recorded {
    async fn handle(&self, request: Request) -> Reply {
        let dialect = request.peer.dialect;
        if !self.address_matches(&request) {
            let close = request.peer.transport == Transport::Tcp && !is_call(dialect, &request.packet);
            let answer = Packet::new(lexst1::answer::AUTHENTICATE_FAILED);
            return Reply::Answer(Answer { close, ..answer.into() });
        }
        if is_call(dialect, &request.packet) {
            let request = request.gather(1 << 20).await.unwrap();
            let mut calls = self.calls.lock().unwrap();
            let at = calls.iter().position(|(entity, _)| *entity == request.entity).expect("a recorded call");
            return match calls.remove(at).unwrap().1 {
                None => Reply::Unwritable,
                Some(mut answer) => {
                    // The transport adds it.
                    answer.remove(lexst1::key::BIND_IP);
                    answer.into()
                }
            };
        }
        // lexst1's HELO was an echo's.
        let echoed = dialect.name() == "lexst1" && request.packet.code == lexst1::notify::HELO;
        match &self.node {
            Some(node) if !echoed => node.handle(request).await,
            _ => Echo.handle(request).await,
        }
    }
}

/// A server as the recorded one was.
async fn server(recording: &Recording, choice: DialectChoice) -> Server<Recorded> {
    let key = PublicKey::new(&hex::decode(recordings::MODULUS).unwrap(), &[1, 0, 1]).unwrap();
    let stop = Stop::new();
    let allow =
        if recording.name.ends_with("address-refused") { AllowList::nobody() } else { AllowList::everyone() };
    let builder =
        Server::builder(Recorded::of(recording, &stop)).dialect(choice).public_key(key).allow(allow);
    builder.stop(stop).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap()
}

fn choices(dialect: &'static Dialect) -> [DialectChoice; 2] {
    [DialectChoice::Fixed(dialect), DialectChoice::Told { default: dialect }]
}

/// A recorded answer as it should be now: with our port, and in mode none.
fn now(recording: &Recording, answer: &[u8], ours: SocketAddr) -> Vec<u8> {
    let mut bytes = answer.to_vec();
    if recording.dialect.name() != "laxcus6" {
        return bytes;
    }
    if bytes.starts_with(&[0xc7, 0, 1]) && differs(recording, Different::ModeNone) {
        let mut packet = recordings::packet(&LAXCUS6, &bytes);
        if packet.code == laxcus6::answer::SECURE_NOTIFY {
            for message in &mut packet.messages {
                if message.key == laxcus6::key::SECURE_FAMILY {
                    *message = Message::new(message.key, 0);
                }
            }
            let mut entity = packet.entity.to_vec();
            entity[0] = 0;
            bytes = packet.with_entity(entity).to_bytes(&LAXCUS6).unwrap().to_vec();
        }
    }
    // The last host of an answer is the caller; one before it is the one that was asked for.
    let mut from = 0;
    while let Some(len) = packet_len(&bytes[from..]) {
        let packet = &mut bytes[from..from + len];
        let code = u16::from_le_bytes([packet[3], packet[4]]);
        // ACCEPTED of TEST, REFLECT_ACCEPTED, SHINE_ACCEPTED.
        if [1011, 1015, 1016].contains(&code) {
            let before = hex::decode("0100007f000000000100007f").unwrap();
            let at = packet.windows(before.len()).rposition(|bytes| bytes == before).unwrap();
            packet[at + 12..at + 14].copy_from_slice(&ours.port().to_le_bytes());
        }
        from += len;
    }
    bytes
}

/// The length of the packet that these bytes begin with.
fn packet_len(bytes: &[u8]) -> Option<usize> {
    let packet = recordings::packets(&LAXCUS6, bytes).into_iter().next()?;
    (bytes.len() >= 7).then(|| packet.to_bytes(&LAXCUS6).unwrap().len())
}

/// What comes from a server within a moment: nothing if it is silent, no bytes if it has closed.
async fn moment<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 1 << 16];
    let len = timeout(Duration::from_millis(30), stream.read(&mut bytes)).await.ok()?;
    // A connection closed with bytes unread is reset.
    bytes.truncate(len.unwrap_or(0));
    Some(bytes)
}

async fn play_client<S: AsyncRead + AsyncWrite + Unpin>(
    recording: &Recording,
    connection: &[Line],
    mut stream: S,
    ours: SocketAddr,
) {
    let name = &recording.name;
    let (mut ended, mut shut) = (false, false);
    for (at, line) in connection.iter().enumerate() {
        match line {
            Line::Client(bytes) if ended => {
                // It talked to an end that was closed; ours must be as deaf.
                let _ = stream.write_all(bytes).await;
            }
            Line::Client(bytes) => {
                let next = connection.get(at + 1);
                // Some of it may be enough for the server.
                let written = stream.write_all(bytes).await.is_ok() || matches!(next, Some(Line::ServerEnd));
                assert!(written, "{name}, line {at}: closed");
                // A recorder of streams does not see that a side was shut when nothing came of it.
                if name.ends_with("halfclose") && next.is_some() && !shut {
                    stream.shutdown().await.unwrap();
                    shut = true;
                }
            }
            Line::Server(_) if matches!(connection[at - 1], Line::Server(_)) => {}
            Line::Server(_) => {
                let answers = connection[at..].iter().map_while(|line| match line {
                    Line::Server(bytes) => Some(&bytes[..]),
                    _ => None,
                });
                let expected = now(recording, &answers.collect::<Vec<_>>().concat(), ours);
                let mut answer = vec![0; expected.len()];
                timeout(Duration::from_secs(20), stream.read_exact(&mut answer))
                    .await
                    .unwrap_or_else(|_| panic!("{name}, line {at}: no whole answer"))
                    .unwrap_or_else(|error| panic!("{name}, line {at}: {error}"));
                assert_eq!(hex::encode(answer), hex::encode(expected), "{name}, line {at}");
            }
            Line::ServerEnd => {
                if !ended {
                    let mut rest = Vec::new();
                    let end = timeout(Duration::from_secs(2), stream.read_to_end(&mut rest)).await;
                    assert!(end.is_ok(), "{name}, line {at}: open");
                    assert_eq!(hex::encode(rest), "", "{name}, line {at}: closed without another word");
                }
                ended = true;
            }
            Line::ClientEnd => {
                let _ = stream.shutdown().await;
                shut = true;
            }
        }
    }
    if !ended {
        assert_eq!(moment(&mut stream).await, None, "{name}: it stays open, and says no more");
    }
}

#[tokio::test]
async fn the_recorded_client_against_our_server_over_tcp() {
    let recordings: Vec<_> = recordings::all().into_iter().filter(|recording| recording.tcp).collect();
    assert_eq!(recordings.len(), 48);
    for recording in recordings {
        for choice in choices(recording.dialect) {
            let server = server(&recording, choice).await;
            for connection in &recording.connections {
                let stream = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let ours = stream.local_addr().unwrap();
                play_client(&recording, connection, stream, ours).await;
            }
        }
    }
}

/// The same where every byte comes and goes alone. (Not where more stands behind EXIT: it is not read, and so
/// this client, which reads when it has written, would wait.)
#[tokio::test]
async fn the_recorded_client_against_our_server_byte_by_byte() {
    let recordings = recordings::all().into_iter();
    for recording in recordings.filter(|recording| recording.tcp && !recording.name.contains("hand-exit")) {
        for choice in choices(recording.dialect) {
            let server = server(&recording, choice).await;
            for connection in &recording.connections {
                let (theirs, ours) = tokio::io::duplex(1);
                let [peer, local] = ["127.0.0.1:40000", "127.0.0.1:5000"].map(|addr| addr.parse().unwrap());
                let taken = server.serve_stream(theirs, peer, local);
                if recording.name.ends_with("address-refused") {
                    assert!(taken.is_err());
                    continue;
                }
                taken.unwrap();
                play_client(&recording, connection, ours, peer).await;
            }
        }
    }
}

#[tokio::test]
async fn the_recorded_client_against_our_server_over_udp() {
    let recordings: Vec<_> = recordings::all().into_iter().filter(|recording| !recording.tcp).collect();
    assert_eq!(recordings.len(), 44);
    for recording in recordings {
        for choice in choices(recording.dialect) {
            let name = &recording.name;
            let server = server(&recording, choice).await;
            let to = server.local_addr().unwrap();
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let ours = socket.local_addr().unwrap();
            let mut buffer = vec![0; 1 << 16];
            let lines = recording.connections.first().map_or(&[][..], Vec::as_slice);
            for (at, line) in lines.iter().enumerate() {
                match line {
                    Line::Client(bytes) => {
                        socket.send_to(bytes, to).await.unwrap();
                        if !matches!(lines.get(at + 1), Some(Line::Server(_))) {
                            let more =
                                timeout(Duration::from_millis(50), socket.recv_from(&mut buffer)).await;
                            assert!(more.is_err(), "{name}, line {at}: {more:?} where there is no answer");
                        }
                    }
                    Line::Server(bytes) => {
                        let came = timeout(Duration::from_secs(20), socket.recv_from(&mut buffer)).await;
                        let Ok(came) = came else { panic!("{name}, line {at}: no answer") };
                        let (len, from) = came.unwrap();
                        assert_eq!(from, to);
                        let expected = now(&recording, bytes, ours);
                        assert_eq!(hex::encode(&buffer[..len]), hex::encode(expected), "{name}, line {at}");
                    }
                    Line::ClientEnd | Line::ServerEnd => panic!("{name}: datagrams have no end"),
                }
            }
            let more = timeout(Duration::from_millis(20), socket.recv_from(&mut buffer)).await;
            assert!(more.is_err(), "{name}: more than was recorded");
        }
    }
}

/// What our client is to say of a recorded connection, packet by packet.
fn expected_of_client(recording: &Recording, connection: &[Line], extensions: bool) -> Vec<Bytes> {
    let (mut requests, answers) = recording.packets(connection);
    // EXIT to an end that had closed: ours knows that it has.
    let deaf = connection.iter().rev().find(|line| matches!(line, Line::Client(_) | Line::ServerEnd));
    let is_exit = |packet: &Packet| packet.code == tables::of(recording.dialect).exit;
    if requests.last().is_some_and(is_exit)
        && matches!(deaf, Some(Line::Client(_)))
        && answers.len() < requests.len()
    {
        requests.pop();
    }
    if let Some(exit) = requests.last_mut().filter(|packet| is_exit(packet))
        && differs(recording, Different::ExitWithoutBindIp)
    {
        exit.remove(lexst1::key::BIND_IP);
    }
    // EXIT announces nothing: nothing comes behind it.
    if let Some(first) = requests.first_mut().filter(|packet| extensions && !is_exit(packet)) {
        first.remove(recording.dialect.content_length_key());
        first.messages.push(Message::new(key::CAPABILITIES, Capabilities::OURS.in_request()));
    }
    requests.iter().map(|packet| packet.to_bytes(recording.dialect).unwrap()).collect()
}

/// Plays the recorded server: what comes to it must be the expected packets, and what it says it says when so
/// many have come as had then.
async fn play_server(recording: &Recording, connection: &[Line], expected: &[Bytes], listener: TcpListener) {
    let name = &recording.name;
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut recorded, mut read) = (Vec::new(), 0);
    for line in connection {
        match line {
            Line::Client(bytes) => {
                recorded.extend_from_slice(bytes);
                let whole = recordings::packets(recording.dialect, &recorded).len().min(expected.len());
                for packet in &expected[read..whole] {
                    let mut came = vec![0; packet.len()];
                    let done = timeout(Duration::from_secs(20), stream.read_exact(&mut came)).await;
                    assert!(
                        done.is_ok_and(|done| done.is_ok()),
                        "{name}: {} did not come",
                        hex::encode(packet)
                    );
                    assert_eq!(hex::encode(came), hex::encode(packet), "{name}");
                }
                read = whole;
            }
            Line::Server(bytes) => stream.write_all(bytes).await.unwrap(),
            Line::ServerEnd => drop(stream.shutdown().await),
            Line::ClientEnd => {}
        }
    }
    assert_eq!(read, expected.len(), "{name}");
    let mut rest = Vec::new();
    let end = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "{name}: the client did not close");
    assert_eq!(hex::encode(rest), "", "{name}: the client said more");
}

#[tokio::test]
async fn the_recorded_server_against_our_client() {
    let recordings = recordings::all().into_iter().filter(|recording| recording.tcp && !recording.by_hand);
    let mut played = 0;
    for recording in recordings {
        let name = &recording.name;
        let dialect = recording.dialect;
        // The connection after the first is the program's attempt to say EXIT once more.
        let connection = &recording.connections[0];
        let (requests, answers) = recording.packets(connection);
        let answers = answers.into_iter();
        for extensions in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let to = listener.local_addr().unwrap();
            let expected = expected_of_client(&recording, connection, extensions);
            let server = play_server(&recording, connection, &expected, listener);
            let client = async {
                let mut answers = answers.clone();
                let builder =
                    Channel::builder(dialect).extensions(extensions).heartbeat(None, Duration::ZERO);
                let channel = match builder.timeout(Duration::from_secs(20)).connect(to).await {
                    Ok(channel) => channel,
                    Err(error) => {
                        assert!(name.ends_with("address-refused"), "{name}: {error}");
                        assert_eq!((error.cause, error.fate), (Cause::Ended, Fate::NotSent));
                        return;
                    }
                };
                let habits = tables::of(dialect);
                for request in &requests {
                    if request.code == laxcus6::notify::SECURE_QUERY && dialect.name() == "laxcus6" {
                        answers.next();
                        continue;
                    }
                    if request.code == habits.exit {
                        continue;
                    }
                    let (outcome, recorded) = (channel.call(request.clone()).await, answers.next());
                    match recorded {
                        Some(answer) => {
                            assert_eq!(
                                outcome.unwrap_or_else(|error| panic!("{name}: {error}")),
                                answer,
                                "{name}"
                            );
                        }
                        None => {
                            let error = outcome.unwrap_err();
                            assert_eq!(
                                (error.cause, error.fate),
                                (Cause::Ended, Fate::PossiblyExecuted),
                                "{name}"
                            );
                        }
                    }
                }
                channel.close().await;
            };
            tokio::join!(server, client);
        }
        played += 1;
    }
    assert_eq!(played, 32);
}

/// The probes (`server_probes.rs`) that ours answers otherwise, on purpose, and that the server lives on.
#[tokio::test]
async fn a_message_count_is_unsigned() {
    for (dialect, probe) in [(&LAXCUS6, "87000133010080"), (&LEXST1, "87000104090080")] {
        let server = Server::builder(Echo).dialect(DialectChoice::Fixed(dialect));
        let server = server.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        let to = server.local_addr().unwrap();
        // The programs read 0x8000 messages as none, and answer. Ours waits for them, as long as a head may take,
        // and drops a datagram that has none.
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(&hex::decode(probe).unwrap()).await.unwrap();
        assert_eq!(moment(&mut stream).await, None, "{dialect}");
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&hex::decode(probe).unwrap(), to).await.unwrap();
        let mut buffer = [0; 100];
        let answer = timeout(Duration::from_millis(50), socket.recv_from(&mut buffer)).await;
        assert!(answer.is_err(), "{dialect}: {answer:?}");
        assert_eq!(server.stats().datagrams_dropped, 1);
        let channel = Channel::builder(dialect).connect(to).await.unwrap();
        let request = Packet::new(tables::of(dialect).helo).with_entity("alive");
        assert_eq!(channel.call(request).await.unwrap().entity, "alive");
    }
}

/// A peer of another make has no ordered channels, and the caller is told so, truly (SPEC 10.2, 10.5).
#[tokio::test]
async fn a_peer_of_another_make_has_no_ordered_channels() {
    for dialect in [&LAXCUS6, &LEXST1] {
        let server = Server::builder(Echo).extensions(false).dialect(DialectChoice::Fixed(dialect));
        let server = server.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        let builder = Channel::builder(dialect).ordered().connect_time(Duration::from_millis(300));
        let Err(error) = builder.connect(server.local_addr().unwrap()).await else {
            panic!("{dialect}: connected")
        };
        assert_eq!(error.fate, Fate::NotSent);
        match dialect.name() {
            "laxcus6" => assert_eq!(error.cause, Cause::NotOrdered),
            // It swallows the greeting: there is nothing but silence to be told by.
            _ => assert!(matches!(error.cause, Cause::Connect(std::io::ErrorKind::TimedOut)), "{error}"),
        }
        assert_eq!(server.stats().requests, 1);
    }
}
