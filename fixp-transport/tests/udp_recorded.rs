//! Our client against what the recorded servers answered: it must say what the recorded clients said (SPEC 11.4,
//! 11.11).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::extension::{Capabilities, key};
use fixp_transport::udp::Client;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// A line of a recording.
#[derive(Clone, Debug)]
enum Line {
    Client(Vec<u8>),
    Server(Vec<u8>),
}

fn recording(text: &str) -> Vec<Line> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| match line.split_at(2) {
            ("> ", bytes) => Line::Client(hex::decode(bytes).unwrap()),
            ("< ", bytes) => Line::Server(hex::decode(bytes).unwrap()),
            _ => panic!("not a line of a recording: {line}"),
        })
        .collect()
}

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
                    let mut packet = Decoder::new(dialect).packet(got).unwrap().to_packet().unwrap();
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
    ($($test:ident: $dialect:ident $file:literal announces $announces:expr, |$client:ident, $server:ident| $body:expr;)*) => {$(
        #[tokio::test]
        async fn $test() {
            for extensions in [false, true] {
                let lines = recording(include_str!(concat!("udp_recorded/", $file, ".hex")));
                let ($server, task) = play(&$dialect, lines, extensions).await;
                let $client = Client::builder().dialect(&$dialect).extensions(extensions).build();
                $body;
                // Only until the first answer has come without an announcement.
                let announces: &[bool] = &$announces;
                let expected: Vec<_> = announces.iter().map(|&announces| announces && extensions).collect();
                assert_eq!(task.await.unwrap(), expected);
                assert_eq!($client.stats().late, 0);
            }
        }
    )*};
}

recorded! {
    laxcus6_test: LAXCUS6 "laxcus6-udp-test" announces [true, false], |client, server| {
        let test = Packet::new(laxcus6::notify::TEST).with(laxcus6::key::SPEAK, "TEST!");
        let answer = client.request(server, test).await.unwrap();
        assert_eq!(answer.code, laxcus6::answer::ACCEPTED);
        assert_eq!(client.exit(server).await.unwrap().code, laxcus6::answer::GOODBYE);
    };
    laxcus6_empty: LAXCUS6 "laxcus6-udp-empty" announces [true, false, false], |client, server| {
        client.empty(server).await.unwrap();
        assert_eq!(client.exit(server).await.unwrap().code, laxcus6::answer::GOODBYE);
    };
    laxcus6_request: LAXCUS6 "laxcus6-udp-request-1" announces [true, false, false], |client, server| {
        let request = hello(laxcus6::notify::FLUSH_LOG, b"\x14");
        let answer = client.request(server, request.clone()).await.unwrap();
        assert_eq!(answer.code, laxcus6::answer::OKAY);
        assert_eq!(answer.entity, request.entity);
        assert_eq!(client.exit(server).await.unwrap().code, laxcus6::answer::GOODBYE);
    };
    lexst1_request: LEXST1 "lexst1-udp-request-1" announces [true, false], |client, server| {
        let answer = client.request(server, hello(lexst1::app::ADD_LOG, b"\x14")).await.unwrap();
        assert_eq!(answer.code, lexst1::answer::OKAY);
        assert_eq!(client.exit(server).await.unwrap().code, lexst1::answer::OKAY);
    };
    lexst1_helo: LEXST1 "lexst1-udp-helo" announces [true, false], |client, server| {
        let answer = client.request(server, hello(lexst1::notify::HELO, b"")).await.unwrap();
        assert_eq!(answer.code, lexst1::answer::OKAY);
        assert_eq!(client.exit(server).await.unwrap().code, lexst1::answer::OKAY);
    };
    lexst1_exit: LEXST1 "lexst1-udp-exit" announces [true], |client, server| {
        let answer = client.exit(server).await.unwrap();
        assert_eq!(answer.first(lexst1::key::SPEAK).unwrap().as_str(), Some("see you next time"));
    };
}

/// Mode "address" is none on the wire but for its number: requests go in clear.
#[tokio::test]
async fn laxcus6_address() {
    let lines = recording(include_str!("udp_recorded/laxcus6-udp-address.hex"));
    let request =
        lines.iter().filter_map(|line| if let Line::Client(bytes) = line { Some(bytes) } else { None });
    let request =
        Decoder::new(&LAXCUS6).packet(request.clone().nth(1).unwrap()).unwrap().to_packet().unwrap();
    let (server, task) = play(&LAXCUS6, lines, false).await;
    let client = Client::builder().extensions(false).build();
    let answer = client.request(server, request.clone()).await.unwrap();
    assert_eq!(answer, Packet { code: laxcus6::answer::OKAY, ..request });
    client.exit(server).await.unwrap();
    task.await.unwrap();
}
