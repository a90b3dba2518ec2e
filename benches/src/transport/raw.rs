//! What tokio's sockets do by themselves: messages of one known size, nothing read and nothing matched.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::fixp::{ANY, BULK, BYTES};
use super::sample::{Sample, nanos};

/// Gives every byte back.
pub async fn serve_echo() -> SocketAddr {
    serve(async |mut stream: TcpStream| {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// Takes bulks and answers each by one byte.
pub async fn serve_uploads() -> SocketAddr {
    serve(async |mut stream: TcpStream| {
        let mut buffer = vec![0; 64 << 10];
        let mut came = 0;
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            came += count;
            if came >= BULK {
                came -= BULK;
                if stream.write_all(&[1]).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

/// Answers each byte by a bulk.
pub async fn serve_downloads() -> SocketAddr {
    serve(async |mut stream: TcpStream| {
        while stream.read_u8().await.is_ok() {
            for _ in 0..BULK / BYTES.len() {
                if stream.write_all(&BYTES).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

async fn serve<F, R>(each: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + Sync + Copy + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(ANY).await.expect("a listener");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(each(stream));
        }
    });
    addr
}

/// A connection.
pub async fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).await.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// Keeps `depth` messages of 64 bytes under way over one connection, from one task that writes all it may at
/// once: the ceiling of what batching can do.
pub async fn echoes(stream: &mut TcpStream, depth: usize, time: Duration) -> Sample {
    const SIZE: usize = 64;
    let mut latency = Vec::new();
    let out = vec![0; SIZE * depth];
    let mut buffer = vec![0; 64 << 10];
    let start = Instant::now();
    let mut sent = std::collections::VecDeque::new();
    let (mut free, mut came) = (depth, 0);
    loop {
        let more = start.elapsed() < time;
        if !more && sent.is_empty() {
            break;
        }
        if free > 0 && more {
            stream.write_all(&out[..free * SIZE]).await.expect("a write");
            sent.push_back((Instant::now(), free));
            free = 0;
        }
        came += stream.read(&mut buffer).await.expect("a read");
        while came >= SIZE {
            came -= SIZE;
            free += 1;
            if let Some((at, count)) = sent.front_mut() {
                latency.push(nanos(*at));
                *count -= 1;
                if *count == 0 {
                    sent.pop_front();
                }
            }
        }
    }
    Sample::new(latency, start.elapsed())
}

/// Sends a bulk in writes of 256 KiB, as ours does, and waits for the byte.
pub async fn upload(stream: &mut TcpStream) {
    for _ in 0..BULK / BYTES.len() {
        stream.write_all(&BYTES).await.expect("a write");
    }
    stream.read_u8().await.expect("a read");
}

/// Asks for a bulk and reads it in pieces of 64 KiB.
pub async fn download(stream: &mut TcpStream, buffer: &mut [u8]) {
    stream.write_u8(1).await.expect("a write");
    let mut came = 0;
    while came < BULK {
        came += stream.read(buffer).await.expect("a read");
    }
}

/// Gives every datagram back.
pub async fn serve_datagrams() -> SocketAddr {
    let socket = UdpSocket::bind(ANY).await.expect("a socket");
    let addr = socket.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut buffer = vec![0; 65536];
        while let Ok((count, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..count], from).await;
        }
    });
    addr
}

/// A socket. It is not connected: one socket for many peers cannot be.
pub async fn datagrams() -> UdpSocket {
    UdpSocket::bind(ANY).await.expect("a socket")
}

/// A datagram and its echo.
pub async fn ping(socket: &UdpSocket, peer: SocketAddr, payload: &[u8]) {
    let mut buffer = [0; 2048];
    socket.send_to(payload, peer).await.expect("a datagram sent");
    assert_eq!(socket.recv_from(&mut buffer).await.expect("a datagram").0, payload.len());
}
