//! Hosts, and their listeners.
//!
//! ```
//! use std::io::ErrorKind;
//! use fixp_laboratory::Laboratory;
//!
//! Laboratory::run("hosts", |lab| async move {
//!     let (a, b) = (lab.host("fd00::1".parse()?), lab.host("fd00::2".parse()?));
//!     let listener = b.listen(6900)?;
//!     let client = a.connect(listener.local_addr()).await?;
//!     let (server, peer) = listener.accept().await?;
//!     assert_eq!(peer, client.local_addr());
//!
//!     drop((listener, server));
//!     let again = a.connect("[fd00::2]:6900".parse()?).await;
//!     assert_eq!(again.expect_err("nobody listens").kind(), ErrorKind::ConnectionRefused);
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::driver::Shared;
use crate::segment::End;
use crate::{HostConfig, Socket, Stream};

/// A host with one address. A handle: clones are of the same host.
#[derive(Clone, Debug)]
pub struct Host {
    shared: Arc<Shared>,
    ip: IpAddr,
}

impl Host {
    pub(crate) const fn new(shared: Arc<Shared>, ip: IpAddr) -> Self {
        Self { shared, ip }
    }

    /// Its address.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Changes what it does with the connections and datagrams that come from now on.
    pub fn set(&self, config: HostConfig) {
        self.shared.with(|world| world.configure(self.ip, config));
    }

    /// Listens for connections, at any free port for 0.
    ///
    /// # Errors
    ///
    /// `AddrInUse`; `NetworkDown` after a crash.
    pub fn listen(&self, port: u16) -> io::Result<Listener> {
        let (local, number) = self.shared.with(|world| world.listen(self.ip, port))?;
        Ok(Listener { shared: self.shared.clone(), local, number })
    }

    /// Connects to a listener, which takes a round trip.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` if nobody listens, `TimedOut` if nobody answers within
    /// [`connect_timeout`](HostConfig::connect_timeout), `InvalidInput` from IPv4 to IPv6 or back and for
    /// port 0, `NetworkDown` after a crash.
    pub async fn connect(&self, peer: SocketAddr) -> io::Result<Stream> {
        let (end, local) = self.shared.with(|world| world.connect(self.ip, peer))?;
        // Closed if this future is dropped, or fails.
        let stream = Stream::new(self.shared.clone(), end, local, peer);
        poll_fn(|cx| match self.shared.with(|world| world.connected(end, cx.waker())) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        })
        .await?;
        Ok(stream)
    }

    /// Binds a socket for datagrams, to any free port for 0.
    ///
    /// # Errors
    ///
    /// `AddrInUse`; `NetworkDown` after a crash.
    pub fn bind(&self, port: u16) -> io::Result<Socket> {
        let (local, number) = self.shared.with(|world| world.bind(self.ip, port))?;
        Ok(Socket::new(self.shared.clone(), local, number))
    }

    /// Crashes: everything on it is gone, and nobody is told. Its streams, sockets and listeners fail with
    /// `ConnectionAborted`. It answers nothing until it is [restarted](Self::restart); then peers who still
    /// hold a connection are told so when they send.
    pub fn crash(&self) {
        self.shared.with(|world| world.crash(self.ip));
    }

    /// Comes back after a crash, with nothing on it.
    pub fn restart(&self) {
        self.shared.with(|world| world.restart(self.ip));
    }

    /// Resets all its connections: both ends fail with `ConnectionReset`.
    pub fn reset(&self) {
        self.shared.with(|world| world.reset(self.ip));
    }
}

/// Accepts connections. Dropped, it resets those that have not been accepted.
#[derive(Debug)]
pub struct Listener {
    shared: Arc<Shared>,
    local: SocketAddr,
    number: u64,
}

impl Listener {
    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next connection, and who has made it. Nothing is lost if this future is dropped.
    ///
    /// # Errors
    ///
    /// `ConnectionAborted` when the host has crashed.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// The same.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, SocketAddr)>> {
        let (end, peer): (End, SocketAddr) =
            match self.shared.with(|world| world.accept(self.local, self.number, cx.waker())) {
                Ok(Some(accepted)) => accepted,
                Ok(None) => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            };
        Poll::Ready(Ok((Stream::new(self.shared.clone(), end, self.local, peer), peer)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.with(|world| world.unlisten(self.local, self.number));
    }
}
