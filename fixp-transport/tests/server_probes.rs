//! What the recorded servers answered to every probe, ours answers: the lines of `recorded/probe-*.jsonl`, over
//! real sockets, with the echo that the recorded servers had (SPEC 11.6, 11.7, 11.8, 11.9).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use fixp_codec::{Dialect, LAXCUS6, LEXST1};
use fixp_transport::server::{DialectChoice, PublicKey};
use fixp_transport::{Echo, Server};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const PROBES: [(&Dialect, &str); 2] = [
    (&LAXCUS6, include_str!("recorded/probe-laxcus6.jsonl")),
    (&LEXST1, include_str!("recorded/probe-lexst1.jsonl")),
];

/// The modulus of the key of the recorded laxcus6 server, from its answer to SECURE_QUERY.
const MODULUS: &str = "9a40edbe9edfe3d8d39269a7ee2767e8514750811a99fc1b36583f5fd5503ebcd262a746e54c8a32e7c1efd51085\
    5a958ed8b1841d96277b6f2f5f30a4dff33d2aa1f438d130325bfd6dfa8e52b9cbb2be370d6fc961a3d5479237de543dc2bdf8cfc71c1d\
    377f817089dd8729b892da0d8830796a2657b04fa0c480b680310b";

/// Probes whose recorded answer is not this server's, each for its reason.
const OTHER: [(&str, &str); 4] = [
    ("zero-len-string", "an echo of an empty string would be one, which no writer makes (SPEC 4.8)"),
    ("rpc-nodata", "the recorded server had an object behind it"),
    ("count-0x8000", "the recorded programs read the count signed, the codec unsigned (SPEC 2.5)"),
    (
        "subpacket-1of1",
        "lexst1 echoed SUBPACKET_DISABLE_TIMEOUT, which it does not know; ours is known in both",
    ),
];

struct Probe {
    name: String,
    udp: bool,
    sends: Vec<u8>,
    answers: Vec<Vec<u8>>,
    closed: bool,
}

fn probes(lines: &str) -> Vec<Probe> {
    let hex = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let mut probes = Vec::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let udp = line["transport"] == "udp";
        let name = line["case"].as_str().unwrap().to_owned();
        // Over TCP a piece is a request as any other.
        let other = OTHER.iter().any(|(other, _)| *other == name);
        if other && (name != "subpacket-1of1" || udp && line["dialect"] == "lex1") {
            continue;
        }
        let answers = line["answers"].as_array().unwrap().iter().map(hex).collect();
        probes.push(Probe {
            name,
            udp,
            sends: hex(&line["hex"]),
            answers,
            closed: line["closed"] == "closed",
        });
    }
    probes
}

async fn server(dialect: &'static Dialect) -> Server<Echo> {
    let key = PublicKey::new(&hex::decode(MODULUS).unwrap(), &[1, 0, 1]).unwrap();
    let builder = Server::builder(Echo).dialect(DialectChoice::Fixed(dialect)).public_key(key);
    builder.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap()
}

/// The answers with the caller's port, at its place in a host, that of the recording replaced by ours.
fn with_port(answer: &[u8], ours: SocketAddr) -> Vec<u8> {
    let mut answer = answer.to_vec();
    // The low half of 127.0.0.1 and its hash stand before the port.
    let before = hex::decode("0100007f000000000100007f").unwrap();
    if let Some(at) = answer.windows(before.len()).position(|bytes| bytes == before) {
        answer[at + 12..at + 14].copy_from_slice(&ours.port().to_le_bytes());
    }
    answer
}

#[tokio::test]
async fn over_udp() {
    for (dialect, lines) in PROBES {
        let server = server(dialect).await;
        let to = server.local_addr().unwrap();
        // An answer that only this brings: the end of what a probe brought.
        let marker = match dialect.name() {
            "lexst1" => "870001040902 00e8030410656e6421e903016007",
            _ => "870001330102 00e8030430656e6421e903015007",
        };
        let marker = hex::decode(marker.replace(' ', "")).unwrap();
        let mut probed = 0;
        for probe in probes(lines).iter().filter(|probe| probe.udp) {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(to).await.unwrap();
            socket.send(&probe.sends).await.unwrap();
            socket.send(&marker).await.unwrap();
            let mut answers = Vec::new();
            let mut buffer = [0; 2048];
            loop {
                let len = receive(&socket, &mut buffer).await;
                if buffer[..len].windows(4).any(|bytes| bytes == b"end!") {
                    break;
                }
                answers.push(buffer[..len].to_vec());
            }
            let ours = socket.local_addr().unwrap();
            let recorded: Vec<_> = probe.answers.iter().map(|answer| with_port(answer, ours)).collect();
            assert_eq!(
                answers.iter().map(hex::encode).collect::<Vec<_>>(),
                recorded.iter().map(hex::encode).collect::<Vec<_>>(),
                "{dialect} {}",
                probe.name
            );
            probed += 1;
        }
        assert!(probed > 30, "{probed} probes");
    }
}

#[tokio::test]
async fn over_tcp() {
    for (dialect, lines) in PROBES {
        let server = server(dialect).await;
        let to = server.local_addr().unwrap();
        let mut probed = 0;
        for probe in probes(lines).iter().filter(|probe| !probe.udp) {
            let mut stream = TcpStream::connect(to).await.unwrap();
            let ours = stream.local_addr().unwrap();
            stream.write_all(&probe.sends).await.unwrap();
            // The recorded server kept open what it had not ended: ours does, until there will be no more.
            if !probe.closed {
                stream.shutdown().await.unwrap();
            }
            let mut answers = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answers)).await;
            // A connection closed with bytes unread is reset.
            assert!(read.is_ok(), "{dialect} {}: neither answered nor closed", probe.name);
            let recorded: Vec<u8> = probe.answers.iter().flat_map(|answer| with_port(answer, ours)).collect();
            assert_eq!(hex::encode(&answers), hex::encode(recorded), "{dialect} {}", probe.name);
            probed += 1;
        }
        assert!(probed > 30, "{probed} probes");
    }
}

async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> usize {
    tokio::time::timeout(Duration::from_secs(20), socket.recv(buffer)).await.expect("an answer").unwrap()
}
