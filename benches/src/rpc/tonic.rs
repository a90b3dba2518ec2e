//! tonic over HTTP/2 without TLS, with prost: what its code generator would write for
//!
//! ```proto
//! message Payload { bytes payload = 1; }
//! service Echo { rpc Echo(Payload) returns (Payload); }
//! ```
//!
//! with the bytes as [`Bytes`], so that nothing is copied that need not be.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::transport::fixp::ANY;

/// Argument and result.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    /// What is echoed.
    #[prost(bytes = "bytes", tag = "1")]
    pub payload: Bytes,
}

/// The only method.
const PATH: &str = "/bench.Echo/Echo";
/// More than any contest has in flight; 200, if nothing is said.
const STREAMS: u32 = 4096;
/// Room for the largest contest, so that none waits for a window: 64 KiB, if nothing is said.
const WINDOW: u32 = 64 << 20;

/// The service, by the path of its method.
#[derive(Clone)]
struct Paths;

impl NamedService for Paths {
    const NAME: &'static str = "bench.Echo";
}

impl Service<http::Request<Body>> for Paths {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let codec = ProstCodec::<Payload, Payload>::default();
            Ok(tonic::server::Grpc::new(codec).unary(Back, request).await)
        })
    }
}

#[derive(Clone)]
struct Back;

impl Service<Request<Payload>> for Back {
    type Response = Response<Payload>;
    type Error = Status;
    type Future = Ready<Result<Response<Payload>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

/// Serves the echo.
pub async fn serve() -> SocketAddr {
    let listener = TcpListener::bind(ANY).await.expect("a listener");
    let addr = listener.local_addr().expect("it is bound");
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .add_service(Paths)
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    addr
}

/// A client.
pub async fn client(addr: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{addr}"))
        .expect("an address")
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .buffer_size(STREAMS as usize)
        .connect()
        .await
        .expect("a connection")
}

/// One echo.
pub async fn echo(client: &Channel, payload: &'static [u8]) {
    let mut client = tonic::client::Grpc::new(client.clone());
    client.ready().await.expect("a client");
    let codec = ProstCodec::<Payload, Payload>::default();
    let request = Request::new(Payload { payload: Bytes::from_static(payload) });
    let answer = client.unary(request, PathAndQuery::from_static(PATH), codec).await.expect("an echo");
    assert_eq!(answer.get_ref().payload.len(), payload.len());
}
