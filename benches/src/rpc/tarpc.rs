//! tarpc over TCP with bincode: the same payload, the same answer.

#![allow(missing_docs, reason = "tarpc's macro writes items without any")]

use std::net::SocketAddr;

use bytes::Bytes;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, context};

use crate::transport::fixp::ANY;

/// The service.
#[tarpc::service]
pub trait Echo {
    /// Gives the payload back.
    async fn echo(payload: Bytes) -> Bytes;
}

#[derive(Clone)]
struct Server;

impl Echo for Server {
    async fn echo(self, _: context::Context, payload: Bytes) -> Bytes {
        payload
    }
}

/// Serves the echo.
pub async fn serve() -> SocketAddr {
    let mut listener = tarpc::serde_transport::tcp::listen(ANY, Bincode::default).await.expect("a listener");
    listener.config_mut().max_frame_length(16 << 20);
    let addr = listener.local_addr();
    tokio::spawn(async move {
        use futures_util::StreamExt;
        while let Some(Ok(transport)) = listener.next().await {
            let _ = transport.get_ref().set_nodelay(true);
            // Each request in a task of its own, as its documentation does it.
            tokio::spawn(BaseChannel::with_defaults(transport).execute(Server.serve()).for_each(
                |request| async {
                    tokio::spawn(request);
                },
            ));
        }
    });
    addr
}

/// A client. Its bound on requests in flight is raised above every depth of the benches.
pub async fn client(addr: SocketAddr) -> EchoClient {
    let transport = tarpc::serde_transport::tcp::connect(addr, Bincode::default).await.expect("a connection");
    let _ = transport.get_ref().set_nodelay(true);
    let mut config = client::Config::default();
    config.max_in_flight_requests = 4096;
    config.pending_request_buffer = 4096;
    EchoClient::new(config, transport).spawn()
}

/// One echo.
pub async fn echo(client: &EchoClient, payload: &'static [u8]) {
    let answer = client.echo(context::current(), Bytes::from_static(payload)).await.expect("an echo");
    assert_eq!(answer.len(), payload.len());
}
