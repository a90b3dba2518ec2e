//! The client on sockets of the system: both address families, many peers over one port, our own server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use fixp_codec::{Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::extension::{Refusal, key};
use fixp_transport::server::{DialectChoice, PublicKey};
use fixp_transport::udp::{Client, Repeat};
use fixp_transport::{CallError, Cause, Echo, Handler, Reply, Request, Server};
use tokio::net::UdpSocket;

const PEERS: usize = 5;

async fn servers(dialect: &'static Dialect, local: &str) -> Vec<(Server<Echo>, SocketAddr)> {
    let mut servers = Vec::new();
    for _ in 0..PEERS {
        let key = PublicKey::new(&[0xc5; 64], &[1, 0, 1]).unwrap();
        let server = Server::builder(Echo)
            .dialect(DialectChoice::Fixed(dialect))
            .public_key(key)
            .start()
            .await
            .unwrap();
        let socket = UdpSocket::bind(local).await.unwrap();
        let addr = socket.local_addr().unwrap();
        server.serve_datagrams(socket).unwrap();
        servers.push((server, addr));
    }
    servers
}

#[tokio::test]
async fn one_port_for_each_family() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut servers = servers(dialect, "127.0.0.1:0").await;
        let mut families = 1;
        if UdpSocket::bind("[::1]:0").await.is_ok() {
            servers.extend(self::servers(dialect, "[::1]:0").await);
            families = 2;
        }
        let client = Client::builder().dialect(dialect).timeout(Duration::from_secs(20)).build();
        let code = if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
        // The first answer of each tells that it is one of ours; from then on, all at once.
        for (_, peer) in &servers {
            client.request(*peer, Packet::new(code)).await.unwrap();
        }
        assert_eq!(client.stats().ports, families);
        let mut tasks = Vec::new();
        for tag in 0..2000_u32 {
            let (client, peer) = (client.clone(), servers[tag as usize % servers.len()].1);
            tasks.push(tokio::spawn(async move {
                let request = Packet::new(code).with_entity(tag.to_le_bytes().to_vec());
                let repeat = Repeat::Harmless { times: 50, every: Duration::from_millis(200) };
                let options = fixp_transport::udp::Options { repeat, ..Default::default() };
                let answer = client.request_with(peer, request, options).await.unwrap();
                assert_eq!(answer.entity[..], tag.to_le_bytes());
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        for (_, peer) in &servers {
            let answer = client.exit(*peer).await.unwrap();
            assert_eq!(answer.code, fixp_transport::tables::of(dialect).exit_okay);
        }
        let stats = client.stats();
        assert_eq!((stats.ports, stats.peers, stats.malformed), (families, servers.len(), 0), "{stats:?}");
        assert_eq!((stats.in_flight, stats.waiting), (0, 0), "{stats:?}");
    }
}

/// Serves the first copy of a request without a word, and has no room for the second.
#[derive(Default)]
struct Busy(AtomicUsize);

impl Handler for Busy {
    async fn handle(&self, request: Request) -> Reply {
        if self.0.fetch_add(1, SeqCst) == 0 {
            return Reply::Silence;
        }
        let refusal = Refusal::Overloaded.number();
        Packet::new(fixp_transport::tables::of(request.peer.dialect).refuse)
            .with(key::REFUSAL, refusal)
            .into()
    }
}

/// SPEC 10.6: what is said of a copy is not said of the one before it.
#[tokio::test]
async fn a_copy_that_is_refused_says_nothing_of_the_first() {
    let server = Server::builder(Busy::default())
        .dialect(DialectChoice::Fixed(&LAXCUS6))
        .bind("127.0.0.1:0".parse().unwrap())
        .start()
        .await
        .unwrap();
    let client = Client::builder().dialect(&LAXCUS6).timeout(Duration::from_secs(20)).build();
    let repeat = Repeat::Harmless { times: 9, every: Duration::from_millis(50) };
    let options = fixp_transport::udp::Options { repeat, ..Default::default() };
    let request = Packet::new(laxcus6::notify::FLUSH_LOG);
    let error = client.request_with(server.local_addr().unwrap(), request, options).await.unwrap_err();
    assert_eq!(error, CallError::possibly_executed(Cause::Refused(Refusal::Overloaded)));
}
