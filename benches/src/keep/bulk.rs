//! Bulks of 1 MiB up and down over sockets of the loopback: what is the same for all who carry them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::transport::fixp::BULK;

/// The bytes of a bulk, which are made once.
pub static BYTES: [u8; BULK] = [7; BULK];
/// What a stream is written in, and read in.
pub const PIECE: usize = 64 << 10;

/// A request and its answer.
pub type Call = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The direction of the megabyte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// A large request, a small answer.
    Up,
    /// A small request, a large answer.
    Down,
}

/// A call out of a function.
pub fn call<F, R>(function: F) -> Call
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    Arc::new(move || Box::pin(function()))
}

/// Connections, each of which carries one exchange at a time.
pub struct Pool<C>(Mutex<Vec<C>>);

impl<C> Pool<C> {
    /// Of these, as many as there are exchanges at a time.
    pub fn new(connections: Vec<C>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(connections)))
    }

    /// Takes one.
    ///
    /// # Panics
    ///
    /// If all are taken.
    pub fn take(&self) -> C {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().expect("a connection is free")
    }

    /// Gives one back.
    pub fn give(&self, connection: C) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

/// Serves both directions over a stream of bytes: a byte says which, and one byte is the small part.
pub async fn serve_stream(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = vec![0; PIECE];
    while let Ok(way) = stream.read_u8().await {
        let done = if way == 0 {
            read(&mut stream, &mut buffer).await && stream.write_all(&[1]).await.is_ok()
        } else {
            write(&mut stream).await
        };
        if !done || stream.flush().await.is_err() {
            return;
        }
    }
}

/// An exchange over a stream of bytes.
///
/// # Panics
///
/// If the stream ends.
pub async fn over_stream(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), buffer: &mut [u8], way: Way) {
    stream.write_u8(u8::from(way == Way::Down)).await.expect("a write");
    match way {
        Way::Up => {
            assert!(write(stream).await, "a bulk written");
            stream.flush().await.expect("a flush");
            stream.read_u8().await.expect("an answer");
        }
        Way::Down => {
            stream.flush().await.expect("a flush");
            assert!(read(stream, buffer).await, "a bulk read");
        }
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin)) -> bool {
    for piece in BYTES.chunks(PIECE) {
        if stream.write_all(piece).await.is_err() {
            return false;
        }
    }
    true
}

async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> bool {
    let mut left = BULK;
    while left > 0 {
        let most = left.min(buffer.len());
        match stream.read(&mut buffer[..most]).await {
            Ok(count @ 1..) => left -= count,
            _ => return false,
        }
    }
    true
}
