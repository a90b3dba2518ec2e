//! Ours: fixp-rpc over one channel, postcard.

use std::net::SocketAddr;

use bytes::Bytes;
use fixp_codec::LAXCUS6;
use fixp_rpc::{Client, Rpc};
use fixp_transport::{Channel, Server};

use crate::transport::fixp::ANY;

/// The interface.
#[fixp_rpc::service]
pub trait Echo {
    /// Gives the payload back.
    async fn echo(&self, payload: Bytes) -> Bytes;
}

struct Back;

impl Echo for Back {
    async fn echo(&self, payload: Bytes) -> Bytes {
        payload
    }
}

/// Serves it; lives as long as the server.
pub async fn serve() -> (impl Sized, SocketAddr) {
    let rpc = Rpc::new().serve(EchoService::new(Back));
    let server = Server::builder(rpc).bind(ANY).start().await.expect("a server on loopback");
    let addr = server.local_addr().expect("it is bound");
    (server, addr)
}

/// A client over one connection.
pub async fn client(addr: SocketAddr) -> EchoClient {
    EchoClient::new(Client::over(Channel::builder(&LAXCUS6).connect(addr).await.expect("a channel")))
}

/// One call.
pub async fn echo(client: &EchoClient, payload: &'static [u8]) {
    let answer = client.echo(Bytes::from_static(payload)).await.expect("an echo");
    assert_eq!(answer.len(), payload.len());
}
