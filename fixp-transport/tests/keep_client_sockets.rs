//! The client of KEEP UDP on sockets of the system, IPv4 and IPv6, with nodes of another make.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/legacy.rs"]
mod legacy;

use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use fixp_codec::{LAXCUS6, LEXST1, Packet, laxcus6};
use fixp_transport::keep::Client;
use fixp_transport::socket::{BatchedSocket, Datagrams};
use fixp_transport::{Channel, Echo, Server, tables};
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
                        let got = client.request(peer, sent.clone()).await.unwrap();
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

/// Our own server: after the first answer, everything over one port and one association for each; and as a node of
/// another make sees it.
#[tokio::test]
async fn our_own_servers() {
    for dialect in [&LEXST1, &LAXCUS6] {
        for extensions in [true, false] {
            let client = Client::builder().dialect(dialect).extensions(extensions).build();
            let locals = locals().await;
            let mut servers = Vec::new();
            for local in &locals {
                servers.push(Server::builder(Echo).key_bits(512).bind(*local).start().await.unwrap());
            }
            let mut tasks = Vec::new();
            for server in &servers {
                let peer = server.local_addr().unwrap();
                client.request(peer, request(dialect, 0, 10)).await.unwrap();
                for tag in 0..40_u32 {
                    let client = client.clone();
                    tasks.push(tokio::spawn(async move {
                        let sent = request(dialect, tag, 1 << (tag % 18));
                        let got = client.request(peer, sent.clone()).await.unwrap();
                        assert_eq!((got.code, got.entity), (tables::of(dialect).okay, sent.entity));
                    }));
                }
            }
            for task in tasks {
                timeout(Duration::from_secs(60), task).await.expect("in time").unwrap();
            }
            let stats = client.stats();
            if extensions {
                assert_eq!((stats.associations, stats.ports), (locals.len(), locals.len()), "{stats:?}");
                assert!(stats.own >= 40 * locals.len() as u64 && stats.lost == 0, "{stats:?}");
            } else {
                assert_eq!((stats.own, stats.exchanges), (0, 41 * locals.len() as u64), "{stats:?}");
            }
            for server in servers {
                let answer = client.exit(server.local_addr().unwrap()).await.unwrap();
                assert_eq!(answer.code, tables::of(dialect).exit_okay);
            }
        }
    }
}

/// A channel to our own server, over IPv4 and IPv6.
#[tokio::test]
async fn a_channel_to_our_own_server() {
    for local in locals().await {
        let server = Server::builder(Echo).key_bits(512).bind(local).start().await.unwrap();
        let channel = Channel::builder(&LAXCUS6).keep_udp(server.local_addr().unwrap());
        for size in [0, 1000, 1 << 20] {
            let sent = request(&LAXCUS6, 1, size);
            let got = timeout(Duration::from_secs(60), channel.call(sent.clone())).await.expect("in time");
            assert_eq!(got.unwrap().entity, sent.entity);
        }
        assert_eq!((channel.stats().answered, channel.stats().connections), (3, 1));
        channel.close().await;
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

/// A request that one task has begun, and another waits for.
#[tokio::test]
async fn whoever_waits_last_is_told() {
    let server = Server::builder(Echo).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    let (peer, client) = (server.local_addr().unwrap(), Client::builder().build());
    for tag in 0..4 {
        let mut request = pin!(client.request(peer, request(&LAXCUS6, tag, 10)));
        for _ in 0..2 {
            assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        timeout(Duration::from_secs(60), request).await.expect("it is told").unwrap();
    }
    // One that is dropped leaves nothing, whether its answer has come or not.
    for tag in 0..4 {
        let mut request = pin!(client.request(peer, request(&LAXCUS6, tag, 10)));
        assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        if tag % 2 == 0 {
            timeout(Duration::from_secs(60), client.request(peer, self::request(&LAXCUS6, tag, 10)))
                .await
                .unwrap()
                .unwrap();
        }
    }
    assert_eq!(client.stats().in_flight, 0);
}
