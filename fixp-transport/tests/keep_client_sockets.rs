//! The client of KEEP UDP on sockets of the system, IPv4 and IPv6, with nodes of another make.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/legacy.rs"]
mod legacy;

use std::net::SocketAddr;
use std::time::Duration;

use fixp_codec::{LAXCUS6, LEXST1, Packet, laxcus6};
use fixp_transport::keep::Client;
use fixp_transport::keep::caller::{Options, Repeat};
use fixp_transport::socket::{BatchedSocket, Datagrams};
use fixp_transport::tables;
use legacy::{Manner, answer, request, serve};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// The addresses of this machine that can be bound.
async fn locals() -> Vec<SocketAddr> {
    let mut locals = Vec::new();
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let local: SocketAddr = local.parse().unwrap();
        if UdpSocket::bind(local).await.is_ok() {
            locals.push(local);
        }
    }
    locals
}

/// One client, many nodes and both families.
#[tokio::test]
async fn requests_of_many_sizes() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let client = Client::builder().dialect(dialect).build();
        let mut tasks = Vec::new();
        for local in locals().await {
            for _ in 0..2 {
                let socket = BatchedSocket::bind(local).unwrap();
                let peer = socket.local_addr().unwrap();
                serve(socket, Manner { more: 100, ..Manner::of(dialect) });
                for tag in 0..20_u32 {
                    let client = client.clone();
                    tasks.push(tokio::spawn(async move {
                        let sent = request(dialect, tag, 1 << (tag % 17));
                        let repeat = Repeat::Harmless { times: 20, every: Duration::from_secs(1) };
                        let options = Options { repeat, ..Options::default() };
                        let got = client.request_with(peer, sent.clone(), options).await.unwrap();
                        assert_eq!(got, answer(dialect, &sent.entity, 100));
                        peer
                    }));
                }
            }
        }
        let mut last = None;
        for task in tasks {
            last = Some(timeout(Duration::from_secs(60), task).await.expect("in time").unwrap());
        }
        let answer = client.exit(last.unwrap()).await.unwrap();
        assert_eq!(answer.code, tables::of(dialect).exit_okay);
        let stats = client.stats();
        assert_eq!((stats.in_flight, stats.spoilt), (0, 0), "{stats:?}");
        assert!(stats.ports <= 32, "{stats:?}");
        client.close();
        assert_eq!(client.stats().ports, 0);
    }
}

/// A datagram that the network must fragment, as TEST with much to say.
#[tokio::test]
async fn a_long_plain_request() {
    let socket = BatchedSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let peer = socket.local_addr().unwrap();
    serve(socket, Manner::of(&LAXCUS6));
    let client = Client::builder().build();
    let test = Packet::new(laxcus6::notify::TEST).with_entity(vec![1; 65000]);
    let answer =
        timeout(Duration::from_secs(20), client.request(peer, test)).await.expect("in time").unwrap();
    assert_eq!(answer.code, laxcus6::answer::ACCEPTED);
}
