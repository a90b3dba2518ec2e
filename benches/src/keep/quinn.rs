//! quinn: one connection, a stream for each exchange, nothing copied that it need not copy.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use bytes::Bytes;
use quinn::{Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime};

use super::bulk::{BYTES, Call, Way, call};
use super::quic::{Identity, LOOPBACK, NAME, Tuning};
use crate::transport::fixp::{ANY, BULK};

/// Serves bulks.
///
/// # Panics
///
/// If there is no socket.
pub async fn serve(identity: &Identity, tuning: Tuning) -> SocketAddr {
    let endpoint = endpoint(Some(identity.server(tuning)), tuning);
    let addr = endpoint.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            if let Ok(connection) = incoming.await {
                tokio::spawn(async move {
                    while let Ok((send, receive)) = connection.accept_bi().await {
                        tokio::spawn(exchange(send, receive));
                    }
                });
            }
        }
    });
    addr
}

fn endpoint(server: Option<ServerConfig>, tuning: Tuning) -> Endpoint {
    let mut config = EndpointConfig::default();
    if tuning == Tuning::Loopback {
        config.max_udp_payload_size(LOOPBACK).expect("a size");
    }
    let socket = UdpSocket::bind(ANY).expect("a socket");
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime)).expect("an endpoint")
}

async fn exchange(mut send: SendStream, mut receive: RecvStream) {
    let up = read(&mut receive).await > 1;
    let answer = if up { &BYTES[..1] } else { &BYTES };
    if send.write_chunk(Bytes::from_static(answer)).await.is_ok() {
        let _ = send.finish();
    }
}

async fn read(stream: &mut RecvStream) -> usize {
    let mut came = 0;
    while let Ok(Some(chunk)) = stream.read_chunk(usize::MAX, true).await {
        came += chunk.bytes.len();
    }
    came
}

/// A connection, and what it belongs to.
///
/// # Panics
///
/// If there is no socket or nobody answers.
pub async fn connect(addr: SocketAddr, identity: &Identity, tuning: Tuning) -> (Endpoint, Connection) {
    let endpoint = endpoint(None, tuning);
    let connecting = endpoint.connect_with(identity.client(tuning), addr, NAME).expect("an address");
    let connection = connecting.await.expect("a connection");
    (endpoint, connection)
}

/// Bulks over a connection.
pub async fn client(addr: SocketAddr, identity: &Identity, tuning: Tuning, way: Way) -> Call {
    let (endpoint, connection) = connect(addr, identity, tuning).await;
    call(move || {
        let (_endpoint, connection) = (endpoint.clone(), connection.clone());
        async move {
            let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
            let (request, answer): (&'static [u8], usize) =
                if way == Way::Up { (&BYTES, 1) } else { (&BYTES[..1], BULK) };
            send.write_chunk(Bytes::from_static(request)).await.expect("a request written");
            send.finish().expect("its end");
            assert_eq!(read(&mut receive).await, answer);
        }
    })
}
