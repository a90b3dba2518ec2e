//! What the README says: one server serves both dialects on one TCP and one UDP port, at once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use fixp_codec::{Code, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::heartbeat::{self, Event};
use fixp_transport::server::{DialectChoice, Node};
use fixp_transport::{Body, Channel, Echo, Server, host, udp};
use futures_util::future::join_all;
use tokio::net::UdpSocket;
use tokio::time::timeout;

const BOTH: [&Dialect; 2] = [&LEXST1, &LAXCUS6];
const CLIENTS: u32 = 8;
const REQUESTS: u32 = 50;

const fn log(dialect: &Dialect) -> Code {
    if dialect.first_serial() == 1 { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG }
}

fn request(dialect: &Dialect, client: u32, number: u32) -> Packet {
    let entity = [client, number].map(u32::to_le_bytes).concat();
    Packet::new(log(dialect)).with(laxcus6::key::SPEAK, dialect.name()).with_entity(entity)
}

/// The echo of a request, in the dialect of its client.
fn check(dialect: &Dialect, request: &Packet, answer: &Packet) {
    assert_eq!(answer.code, fixp_transport::tables::of(dialect).okay);
    assert_eq!(answer.first(laxcus6::key::SPEAK).unwrap().as_str(), Some(dialect.name()));
    assert_eq!(answer.entity, request.entity);
}

async fn over_tcp(dialect: &'static Dialect, server: SocketAddr, client: u32) {
    // Of our own make, of another, and ordered.
    let builder = Channel::builder(dialect);
    let builder = match client % 3 {
        0 => builder,
        1 => builder.extensions(false).depth(8),
        _ => builder.ordered(),
    };
    let channel = builder.connect(server).await.unwrap();
    let calls = (0..REQUESTS).map(|number| {
        let (channel, request) = (channel.clone(), request(dialect, client, number));
        async move { check(dialect, &request, &channel.call(request.clone()).await.unwrap()) }
    });
    join_all(calls).await;
    let body = Body::from_reader(1 << 20, tokio::io::repeat(client as u8));
    let answer = channel.transfer(Packet::new(log(dialect)), body).await.unwrap();
    let entity = answer.body.collect(1 << 20).await.unwrap();
    assert!(entity.len() == 1 << 20 && entity.iter().all(|byte| *byte == client as u8));
    assert_eq!(channel.stats().connections, 1);
    channel.close().await;
}

async fn over_udp(dialect: &'static Dialect, server: SocketAddr, client: u32) {
    let extensions = client.is_multiple_of(2);
    let caller = udp::Client::builder().dialect(dialect).extensions(extensions).build();
    for number in 0..REQUESTS {
        let request = request(dialect, client, number);
        check(dialect, &request, &caller.request(server, request.clone()).await.unwrap());
    }
    caller.exit(server).await.unwrap();
}

async fn over_heartbeats(dialect: &'static Dialect, server: SocketAddr) {
    let site = host::Node::new(8, "127.0.0.1".parse().unwrap(), 6600, 6600);
    let config = match dialect.name() {
        "lexst1" => heartbeat::Config::lexst1(5, "127.0.0.1".parse().unwrap(), 6600, 6600),
        _ => heartbeat::Config::laxcus6(&site),
    };
    let config = heartbeat::Config { interval: Duration::from_millis(20), ..config };
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (service, mut events) = heartbeat::Service::start(socket, config).unwrap();
    service.add(server);
    assert_eq!(events.next().await, Some(Event::Up(server)));
}

/// SPEC 11.2
#[tokio::test]
async fn one_port_for_both_dialects_over_tcp_and_udp() {
    // Whatever stands for those who do not tell: these all do.
    for default in BOTH {
        let server = Server::builder(Node::new(Echo)).dialect(DialectChoice::Told { default });
        let server = server.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        let addr = server.local_addr().unwrap();
        assert_eq!(server.local_addrs().len(), 1);
        let clients = BOTH.into_iter().flat_map(|dialect| {
            (0..CLIENTS).map(move |client| async move {
                tokio::join!(over_tcp(dialect, addr, client), over_udp(dialect, addr, client));
                over_heartbeats(dialect, addr).await;
            })
        });
        timeout(Duration::from_secs(60), join_all(clients)).await.expect("in time");
        let report = server.shutdown(Duration::from_secs(10)).await;
        let stats = report.stats;
        assert_eq!((report.cut, report.late), (0, false));
        assert_eq!((stats.malformed, stats.datagrams_dropped, stats.lost, stats.timed_out), (0, 0, 0, 0));
        assert_eq!(stats.bytes_in_flight, 0);
    }
}
