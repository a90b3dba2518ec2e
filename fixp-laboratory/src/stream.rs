//! Streams.
//!
//! ```
//! use fixp_laboratory::Laboratory;
//! use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
//!
//! Laboratory::run("streams", |lab| async move {
//!     let host = lab.host("10.0.0.1".parse()?);
//!     let listener = host.listen(0)?;
//!     let mut client = host.connect(listener.local_addr()).await?;
//!     let (mut server, _) = listener.accept().await?;
//!
//!     client.write_all(b"the question").await?;
//!     client.shutdown().await?;
//!     let mut question = String::new();
//!     server.read_to_string(&mut question).await?;
//!     server.write_all(b"the answer").await?;
//!     drop(server);
//!     let mut answer = String::new();
//!     client.read_to_string(&mut answer).await?;
//!     assert_eq!((&question[..], &answer[..]), ("the question", "the answer"));
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ConnectionId;
use crate::driver::Shared;
use crate::segment::End;

/// One end of a connection, as of TCP.
///
/// What is written arrives whole, in order and once, whatever the link does; loss is time. A writer waits
/// when its send buffer is full, and that empties no faster than the peer reads.
///
/// `shutdown` ends one direction: the peer reads the end after all bytes, and may go on writing. To drop a
/// stream is to end it so, or, if there are bytes that have not been read, to reset it (as Linux does). A
/// reset discards what is under way; bytes that have come can still be read (as on Linux), then every read
/// fails with `ConnectionReset`, as every write does. After the end of the stream reads give nothing,
/// whatever happens later. A stream to a peer that does not answer fails with `TimedOut` in the end
/// ([`HostConfig::give_up`](crate::HostConfig::give_up)), one of a host that has crashed with
/// `ConnectionAborted`.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    end: End,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Stream {
    pub(crate) const fn new(shared: Arc<Shared>, end: End, local: SocketAddr, peer: SocketAddr) -> Self {
        Self { shared, end, local, peer }
    }

    /// The address of this end.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The address of the other end.
    #[must_use]
    pub const fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// The number of the connection, for [`Laboratory::cut_after`](crate::Laboratory::cut_after).
    #[must_use]
    pub const fn id(&self) -> ConnectionId {
        ConnectionId(self.end.connection)
    }

    fn poll_write_pieces(&self, cx: &Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = self.shared.with(|world| {
            world.with_end(self.end, |connection| {
                let written = connection.write(pieces)?;
                if written.is_none() {
                    connection.writer = Some(cx.waker().clone());
                }
                Ok(written)
            })
        });
        match written {
            Ok(Some(written)) => Poll::Ready(Ok(written)),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.shared.with(|world| {
            world.with_end(self.end, |connection| {
                let before = buf.filled().len();
                // As much as there is room for, across the segments it came in: their bounds mean nothing.
                while buf.remaining() > 0 {
                    match connection.read(buf.remaining()) {
                        Ok(Some(bytes)) if bytes.is_empty() => break,
                        Ok(Some(bytes)) => buf.put_slice(&bytes),
                        _ if buf.filled().len() > before => break,
                        Ok(None) => {
                            connection.reader = Some(cx.waker().clone());
                            return Ok(false);
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(true)
            })
        });
        match read {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_pieces(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_pieces(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shared.with(|world| world.with_end(self.end, |connection| connection.shutdown())))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.with(|world| world.close(self.end));
    }
}
