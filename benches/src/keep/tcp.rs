//! tokio's TCP, a connection for each exchange at a time.

use tokio::net::TcpListener;

use super::bulk::{self, Call, PIECE, Pool, Way, call};
use crate::transport::fixp::ANY;
use crate::transport::raw::connect;

/// Serves bulks.
///
/// # Panics
///
/// If there is no socket.
pub async fn serve() -> std::net::SocketAddr {
    let listener = TcpListener::bind(ANY).await.expect("a listener");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(bulk::serve_stream(stream));
        }
    });
    addr
}

/// Bulks over so many connections.
pub async fn client(addr: std::net::SocketAddr, way: Way, depth: usize) -> Call {
    let mut connections = Vec::new();
    for _ in 0..depth {
        connections.push((connect(addr).await, vec![0; PIECE]));
    }
    let pool = Pool::new(connections);
    call(move || {
        let pool = std::sync::Arc::clone(&pool);
        async move {
            let (mut stream, mut buffer) = pool.take();
            bulk::over_stream(&mut stream, &mut buffer, way).await;
            pool.give((stream, buffer));
        }
    })
}
