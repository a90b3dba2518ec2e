//! Sockets for datagrams.
//!
//! ```
//! use fixp_laboratory::Laboratory;
//!
//! Laboratory::run("sockets", |lab| async move {
//!     let (a, b) = (lab.host("10.0.0.1".parse()?), lab.host("10.0.0.2".parse()?));
//!     let (a, b) = (a.bind(0)?, b.bind(6900)?);
//!     a.send_to(b"hello", b.local_addr())?;
//!     let mut buf = [0; 1500];
//!     let (len, from) = b.recv_from(&mut buf).await?;
//!     assert_eq!((&buf[..len], from), (&b"hello"[..], a.local_addr()));
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use crate::driver::Shared;
use crate::headers::LONGEST_DATAGRAM;

/// A socket that sends and receives datagrams, as of UDP. Any number of tasks may use it at once.
#[derive(Debug)]
pub struct Socket {
    shared: Arc<Shared>,
    local: SocketAddr,
    number: u64,
}

impl Socket {
    pub(crate) const fn new(shared: Arc<Shared>, local: SocketAddr, number: u64) -> Self {
        Self { shared, local, number }
    }

    /// Where it is bound.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sends a datagram, and never waits. One to nowhere vanishes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is longer than 65,507 bytes, or would go from IPv4 to IPv6 or back;
    /// `ConnectionAborted` when the host has crashed.
    pub fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        if datagram.len() > LONGEST_DATAGRAM || self.local.is_ipv4() != to.is_ipv4() {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.shared.with(|world| world.send_to(self.local, self.number, to, datagram))?;
        Ok(datagram.len())
    }

    /// Receives a datagram: its length and its sender. What `buf` has no room for is lost. No datagram is
    /// lost if this future is dropped.
    ///
    /// # Errors
    ///
    /// `ConnectionAborted` when the host has crashed.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut buf = ReadBuf::new(buf);
        let from = poll_fn(|cx| self.poll_recv_from(cx, &mut buf)).await?;
        Ok((buf.filled().len(), from))
    }

    /// As [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    ///
    /// The same.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        match self.shared.with(|world| world.receive(self.local, self.number, cx.waker())) {
            Ok(Some((bytes, from))) => {
                buf.put_slice(&bytes[..bytes.len().min(buf.remaining())]);
                Poll::Ready(Ok(from))
            }
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.shared.with(|world| world.unbind(self.local, self.number));
    }
}
