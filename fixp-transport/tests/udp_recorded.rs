//! Our client against what the recorded servers answered: it must say what the recorded clients said (SPEC 11.4,
//! 11.11).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "common/recordings.rs"]
mod recordings;

use std::net::SocketAddr;

use fixp_codec::{Dialect, Packet, Value, laxcus6, lexst1};
use fixp_transport::extension::{Capabilities, key};
use fixp_transport::udp::Client;
use recordings::Line;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Plays the server. With `extensions`, what comes must be the recorded packet but for the announcement.
async fn play(
    dialect: &'static Dialect,
    lines: Vec<Line>,
    extensions: bool,
) -> (SocketAddr, JoinHandle<Vec<bool>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut client, mut announced) = (None, Vec::new());
        for (at, line) in lines.into_iter().enumerate() {
            match line {
                Line::Client(expected) => {
                    let mut buffer = vec![0; 65536];
                    let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                    // The programs have one socket.
                    assert_eq!(*client.get_or_insert(from), from, "line {at}");
                    let got = &buffer[..len];
                    let mut packet = recordings::packet(dialect, got);
                    announced.push(Capabilities::of_request(&packet).is_some());
                    let got = if extensions {
                        packet.remove(key::CAPABILITIES);
                        packet.to_bytes(dialect).unwrap()
                    } else {
                        got.to_vec().into()
                    };
                    assert_eq!(hex::encode(got), hex::encode(expected), "line {at}");
                }
                Line::Server(bytes) => {
                    socket.send_to(&bytes, client.unwrap()).await.unwrap();
                }
                Line::ClientEnd | Line::ServerEnd => panic!("line {at}: datagrams have no end"),
            }
        }
        announced
    });
    (addr, task)
}

/// The request that most recordings make.
fn hello(request: fixp_codec::Code, entity: &'static [u8]) -> Packet {
    Packet::new(request)
        .with(1000, "hello fixp 你好")
        .with(5001, 8208)
        .with(5002, -1_i64)
        .with(5003, true)
        .with(5004, 1.5_f64)
        .with_entity(entity)
}

macro_rules! recorded {
    ($($test:ident: $name:literal announces $announces:expr, |$client:ident, $server:ident| $body:expr;)*) => {
        /// Those that are played.
        const PLAYED: &[&str] = &[$($name),*];
        $(
        #[tokio::test]
        async fn $test() {
            for extensions in [false, true] {
                let mut recording = recordings::recording($name);
                let dialect = recording.dialect;
                let ($server, task) = play(dialect, recording.connections.remove(0), extensions).await;
                let $client = Client::builder().dialect(dialect).extensions(extensions).build();
                $body;
                // Only until the first answer has come without an announcement.
                let announces: &[bool] = &$announces;
                let expected: Vec<_> = announces.iter().map(|&announces| announces && extensions).collect();
                assert_eq!(task.await.unwrap(), expected);
                assert_eq!($client.stats().late, 0);
            }
        }
        )*
    };
}

recorded! {
    laxcus6_test: "laxcus6-udp-test" announces [true, false], |client, server| {
        let test = Packet::new(laxcus6::notify::TEST).with(laxcus6::key::SPEAK, "TEST!");
        let answer = client.request(server, test).await.unwrap();
        assert_eq!(answer.code, laxcus6::answer::ACCEPTED);
        assert_eq!(client.exit(server).await.unwrap().code, laxcus6::answer::GOODBYE);
    };
    laxcus6_empty: "laxcus6-udp-empty" announces [true, false, false], |client, server| {
        client.empty(server).await.unwrap();
        assert_eq!(client.exit(server).await.unwrap().code, laxcus6::answer::GOODBYE);
    };
    laxcus6_request: "laxcus6-udp-request-1" announces [true, false, false], |client, server| {
        let request = hello(laxcus6::notify::FLUSH_LOG, b"\x14");
        let answer = client.request(server, request.clone()).await.unwrap();
        assert_eq!(answer.code, laxcus6::answer::OKAY);
        assert_eq!(answer.entity, request.entity);
        assert_eq!(client.exit(server).await.unwrap().code, laxcus6::answer::GOODBYE);
    };
    laxcus6_helo: "laxcus6-udp-helo" announces [true, false, false], |client, server| {
        let answer = client.request(server, hello(laxcus6::notify::HELO, b"")).await.unwrap();
        assert_eq!(answer.code, laxcus6::answer::OKAY);
        assert_eq!(client.exit(server).await.unwrap().code, laxcus6::answer::GOODBYE);
    };
    laxcus6_visit: "laxcus6-udp-visit" announces [true, false, false], |client, server| {
        let request = requested("laxcus6-udp-visit");
        let answer = client.request(server, request.clone()).await.unwrap();
        assert_eq!(answer.first(1002).and_then(Value::as_i64), Some(12345));
        assert_eq!(client.exit(server).await.unwrap().code, laxcus6::answer::GOODBYE);
    };
    // Mode "address" is none on the wire but for its number: requests go in clear.
    laxcus6_address: "laxcus6-udp-address" announces [true, false, false], |client, server| {
        let request = requested("laxcus6-udp-address");
        let answer = client.request(server, request.clone()).await.unwrap();
        assert_eq!(answer, Packet { code: laxcus6::answer::OKAY, ..request });
        client.exit(server).await.unwrap();
    };
    lexst1_request: "lexst1-udp-request-1" announces [true, false], |client, server| {
        let answer = client.request(server, hello(lexst1::app::ADD_LOG, b"\x14")).await.unwrap();
        assert_eq!(answer.code, lexst1::answer::OKAY);
        assert_eq!(client.exit(server).await.unwrap().code, lexst1::answer::OKAY);
    };
    lexst1_helo: "lexst1-udp-helo" announces [true, false], |client, server| {
        let answer = client.request(server, hello(lexst1::notify::HELO, b"")).await.unwrap();
        assert_eq!(answer.code, lexst1::answer::OKAY);
        assert_eq!(client.exit(server).await.unwrap().code, lexst1::answer::OKAY);
    };
    lexst1_exit: "lexst1-udp-exit" announces [true], |client, server| {
        let answer = client.exit(server).await.unwrap();
        assert_eq!(answer.first(lexst1::key::SPEAK).unwrap().as_str(), Some("see you next time"));
    };
}

/// The recorded request itself, where the recording says no more of it: it stands behind SECURE_QUERY.
fn requested(name: &str) -> Packet {
    let recording = recordings::recording(name);
    let (mut requests, _) = recording.packets(&recording.connections[0]);
    requests.remove(1)
}

/// Those over UDP that are not played here, and why. `*` stands for anything.
const LEFT: [(&str, &str); 3] = [
    ("*-udp-rpc*", "a call: fixp-rpc's legacy_replay.rs plays it"),
    ("*-visit-rpc*", "the same"),
    ("*-hand-*", "made by hand, request by request: no client says it"),
];

#[test]
fn every_recording_has_its_place() {
    for recording in recordings::all().into_iter().filter(|recording| !recording.tcp) {
        let name = recording.name.as_str();
        let fits = |pattern: &str| pattern.split('*').all(|part| name.contains(part));
        let left = LEFT.iter().filter(|(pattern, _)| fits(pattern)).count();
        let played = PLAYED.iter().filter(|played| **played == name).count();
        assert_eq!(left + played, 1, "{name} is played, or has its reason");
    }
}
