//! Ours: a client of KEEP UDP to a server of the transport, both as they come.

use std::net::SocketAddr;

use bytes::Bytes;
use fixp_codec::{LAXCUS6, Packet, laxcus6::answer, laxcus6::notify};
use fixp_transport::keep::Client;
use fixp_transport::{Answer, Reply, Request, Server, handler_fn};

use super::bulk::{BYTES, Call, Way, call};
use crate::transport::fixp::{ANY, BULK};

/// Serves what the benches ask for; lives as long as the server. A log is answered without an entity, a bill by a
/// bulk, and what has the size of a bulk back is an echo of it.
///
/// # Panics
///
/// If there is no socket.
pub async fn serve() -> (impl Sized, SocketAddr) {
    let handler = handler_fn(async |request: Request| {
        let code = request.packet.code;
        if let Some(mut body) = request.body {
            let mut came = 0;
            while let Some(Ok(piece)) = body.chunk().await {
                came += piece.len();
            }
            // The caller finds out.
            if came != BULK {
                return Reply::Silence;
            }
        }
        let reply = Packet::new(answer::OKAY);
        let entity = match code {
            notify::FLUSH_BILL => Bytes::from_static(&BYTES),
            notify::FLUSH_LOG => Bytes::new(),
            _ => request.packet.entity,
        };
        Reply::Answer(Answer::from(reply.with_entity(entity)))
    });
    let server = Server::builder(handler).bind(ANY).start().await.expect("a server on loopback");
    let addr = server.local_addr().expect("it is bound");
    (server, addr)
}

/// A client that announces itself, or one that does as the programs of laxcus6.
///
/// # Panics
///
/// If the server does not answer.
pub async fn client(addr: SocketAddr, own: bool) -> Client {
    let client = Client::builder().dialect(&LAXCUS6).extensions(own).build();
    // With the first answer it knows whom it talks to.
    for _ in 0..2 {
        exchange(&client, addr, Packet::new(notify::FLUSH_LOG), 0).await;
    }
    assert_eq!(client.stats().associations, usize::from(own), "the way that is to be measured");
    client
}

/// Bulks.
#[must_use]
pub fn bulk(client: Client, addr: SocketAddr, way: Way) -> Call {
    call(move || {
        let client = client.clone();
        async move {
            match way {
                Way::Up => exchange(&client, addr, log(Bytes::from_static(&BYTES)), 0).await,
                Way::Down => exchange(&client, addr, Packet::new(notify::FLUSH_BILL), BULK).await,
            }
        }
    })
}

/// An echo of so many bytes.
#[must_use]
pub fn echo(client: Client, addr: SocketAddr, len: usize) -> Call {
    call(move || {
        let client = client.clone();
        async move {
            let packet = Packet::new(notify::FLUSH_TIG).with_entity(Bytes::from_static(&BYTES[..len]));
            exchange(&client, addr, packet, len).await;
        }
    })
}

fn log(entity: Bytes) -> Packet {
    Packet::new(notify::FLUSH_LOG).with_entity(entity)
}

async fn exchange(client: &Client, addr: SocketAddr, packet: Packet, len: usize) {
    let answer = client.request(addr, packet).await.expect("an answer");
    assert_eq!(answer.entity.len(), len);
}
