//! Runs one TCP connection of a server.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::shared::Shared;
use crate::handler::Handler;

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    /// Requests that were being handled, or whose answers were not wholly written.
    pub(crate) cut: usize,
}

/// Serves a connection until it ends. Once `stop` is true nothing more is read, what runs is finished, and the
/// connection is closed.
pub(crate) async fn serve<S, H>(
    _stream: S,
    _peer: SocketAddr,
    _local: SocketAddr,
    _shared: Arc<Shared<H>>,
    _stop: watch::Receiver<bool>,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Handler,
{
    Ended { cut: 0 }
}
