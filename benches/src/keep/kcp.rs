//! tokio_kcp, a connection for each exchange at a time.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_kcp::{KcpConfig, KcpListener, KcpNoDelayConfig, KcpStream};

use super::bulk::{self, Call, PIECE, Pool, Way, call};
use crate::transport::fixp::ANY;

/// A stream with what it calls the fastest settings; windows of 256 segments, as it comes. It sends what its window
/// allows every 10 ms.
#[must_use]
pub fn fastest() -> KcpConfig {
    KcpConfig { nodelay: KcpNoDelayConfig::fastest(), stream: true, ..KcpConfig::default() }
}

/// The same, and no waiting for the 10 ms: written and acknowledged at once. Windows of 128 to 1024 segments and
/// segments of 1400 to 60,000 bytes were tried: this is the best or within a tenth of it, and larger segments are much
/// slower, for it has no bound on what it puts into the buffer of a socket at a time.
#[must_use]
pub fn flushed() -> KcpConfig {
    KcpConfig { flush_write: true, flush_acks_input: true, ..fastest() }
}

/// Serves bulks.
///
/// # Panics
///
/// If there is no socket.
pub async fn serve(config: KcpConfig) -> SocketAddr {
    let mut listener = KcpListener::bind(config, ANY).await.expect("a listener");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(bulk::serve_stream(stream));
        }
    });
    addr
}

/// Bulks over so many connections.
///
/// # Panics
///
/// If there is no socket.
pub async fn client(addr: SocketAddr, config: KcpConfig, way: Way, depth: usize) -> Call {
    let mut connections = Vec::new();
    for _ in 0..depth {
        let stream = KcpStream::connect(&config, addr).await.expect("a connection");
        connections.push((stream, vec![0; PIECE]));
    }
    let pool = Pool::new(connections);
    call(move || {
        let pool = Arc::clone(&pool);
        async move {
            let (mut stream, mut buffer) = pool.take();
            bulk::over_stream(&mut stream, &mut buffer, way).await;
            pool.give((stream, buffer));
        }
    })
}
