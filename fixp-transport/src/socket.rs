//! The sockets that the transport runs on: tokio's, or a laboratory's.
//!
//! ```
//! use fixp_transport::socket::{Connect, TcpConnector};
//!
//! let connector = TcpConnector::new("127.0.0.1:5000".parse().unwrap());
//! assert_eq!(connector.peer().port(), 5000);
//! ```

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};

mod batched;
mod inbox;
mod offload;
mod polled;
mod reached;
mod system;

pub use batched::BatchedSocket;
pub use inbox::Inbox;

/// Makes the connections of a channel.
pub trait Connect: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Connects. The caller bounds the time.
    fn connect(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// The peer that is connected to.
    fn peer(&self) -> SocketAddr;

    /// Has connections that nothing comes on for `after` tried by the system, and those given up on which no answer
    /// comes within `time`. A [`Channel`](crate::Channel) says so before it connects, where its dialect has no request
    /// for a heartbeat; what was set before should stay. By default nothing is done about it.
    fn set_keep_alive(&mut self, after: Duration, time: Duration) {
        let _ = (after, time);
    }

    /// Ends a connection so that the peer gives up what it does for it: over TCP by a reset, since to the other way, the
    /// end of the requests, it would still give its answer. By default the connection is dropped.
    fn reset(stream: Self::Stream) {
        drop(stream);
    }
}

/// A socket for datagrams.
pub trait Datagrams: Send + Sync + 'static {
    /// The next datagram and who sent it; what does not fit in `buf` is lost.
    fn poll_recv_from(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<SocketAddr>>;

    /// Sends a datagram.
    fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], to: SocketAddr) -> Poll<io::Result<usize>>;

    /// Its own address.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Receives into each of some buffers a datagram or several of one peer, and tells into how many: at least
    /// one. What does not fit in its buffer is lost, so each should have [`Inbox::SLOT`] bytes. An [`Inbox`] calls
    /// this, and gives datagrams one by one.
    ///
    /// By default one datagram is received.
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(received)) = (buffers.first_mut(), received.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let mut room = ReadBuf::new(buffer);
        let from = ready!(self.poll_recv_from(cx, &mut room))?;
        let len = room.filled().len();
        *received = Received { from, len, segment: len };
        Poll::Ready(Ok(1))
    }

    /// Sends bytes as datagrams of `segment` bytes each, of which the last may be shorter, to one peer. They are
    /// not fragmented on the way; one that is too large for that is lost, like any other, and nobody is told.
    ///
    /// Tells how many bytes are dealt with: whole datagrams, at least one. The rest is to be sent when the socket
    /// is ready again. An error is that of datagrams of which none has gone.
    ///
    /// By default they are sent one by one.
    fn poll_send_segments(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        segment: usize,
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let one_by_one = offload::Offload::none();
        let sent = one_by_one.send(bytes, segment, |datagram, _| match self.poll_send_to(cx, datagram, to) {
            Poll::Ready(sent) => sent.map(|_| ()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            sent => Poll::Ready(sent),
        }
    }

    /// How many segments [`Datagrams::poll_send_segments`] sends at once, where more than one is cheaper: what a
    /// caller should gather.
    fn max_segments(&self) -> usize {
        1
    }

    /// The address at which this peer has reached the socket last, where the socket is bound to several and that is
    /// known. What goes to the peer leaves from there.
    fn reached_at(&self, peer: SocketAddr) -> Option<IpAddr> {
        let _ = peer;
        None
    }

    /// The sizes of the system's buffers, where they are known.
    fn buffers(&self) -> Option<Buffers> {
        None
    }
}

/// What came into a buffer: a datagram, or several of one peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Who sent it.
    pub from: SocketAddr,
    /// The bytes that came.
    pub len: usize,
    /// The bytes of each datagram but the last, which may be shorter.
    pub segment: usize,
}

/// The sizes of a socket's buffers in bytes, as the system says them. Linux says twice what a datagram's bytes may
/// use, for what it keeps beside them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffers {
    /// For datagrams that nobody has read.
    pub receive: usize,
    /// For datagrams on their way out.
    pub send: usize,
}

impl Datagrams for UdpSocket {
    fn poll_recv_from(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<SocketAddr>> {
        Self::poll_recv_from(self, cx, buf)
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
        Self::poll_send_to(self, cx, buf, to)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

/// Opens sockets for datagrams, each on a port of its own.
pub trait Bind: Send + Sync + 'static {
    /// A socket.
    type Socket: Datagrams;

    /// Opens one more.
    fn bind(&self) -> impl Future<Output = io::Result<Self::Socket>> + Send;
}

/// Opens UDP sockets on free ports.
#[derive(Clone, Copy, Debug)]
pub struct UdpBinder {
    local: SocketAddr,
}

impl UdpBinder {
    /// Sockets on this address; with port 0, as it should be, each has a port of its own.
    #[must_use]
    pub const fn new(local: SocketAddr) -> Self {
        Self { local }
    }
}

impl Bind for UdpBinder {
    type Socket = UdpSocket;

    async fn bind(&self) -> io::Result<UdpSocket> {
        UdpSocket::bind(self.local).await
    }
}

/// Connects to one peer over TCP, without Nagle's delay.
#[derive(Clone, Debug)]
pub struct TcpConnector {
    peer: SocketAddr,
    keep_alive: Option<KeepAlive>,
}

/// After how much silence a connection is tried, and how long the answer may take.
#[derive(Clone, Copy, Debug)]
struct KeepAlive {
    after: Duration,
    time: Duration,
}

impl KeepAlive {
    /// How often a connection is tried within the time, where it is long enough: a try may be lost.
    const TRIES: u64 = 4;
    /// The most seconds that Linux takes.
    const MOST: u64 = 32767;

    /// The system counts in seconds, and refuses none. It gives up when as long after the last try as between two of
    /// them nothing has come: there are as many as fill the time.
    fn options(self) -> socket2::TcpKeepalive {
        let seconds =
            |time: Duration| (time.as_secs() + u64::from(time.subsec_nanos() > 0)).clamp(1, Self::MOST);
        let time = seconds(self.time);
        let interval = (time / Self::TRIES).max(1);
        let options = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(seconds(self.after)))
            .with_interval(Duration::from_secs(interval));
        options.with_retries(u32::try_from(time.div_ceil(interval)).unwrap_or(u32::MAX))
    }
}

impl TcpConnector {
    /// A connector to this peer.
    #[must_use]
    pub const fn new(peer: SocketAddr) -> Self {
        Self { peer, keep_alive: None }
    }

    /// With TCP's own keep-alive after this time of silence, in seconds, at least one: the heartbeat to a peer that has
    /// no request for it. One that does not answer is given up after as much time again;
    /// [`ChannelBuilder::heartbeat`](crate::ChannelBuilder::heartbeat) can say another.
    #[must_use]
    pub const fn with_keep_alive(mut self, after: Duration) -> Self {
        self.keep_alive = Some(KeepAlive { after, time: after });
        self
    }
}

impl Connect for TcpConnector {
    type Stream = TcpStream;

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.peer).await?;
        stream.set_nodelay(true)?;
        if let Some(keep_alive) = self.keep_alive {
            socket2::SockRef::from(&stream).set_tcp_keepalive(&keep_alive.options())?;
        }
        Ok(stream)
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn set_keep_alive(&mut self, after: Duration, time: Duration) {
        self.keep_alive.get_or_insert(KeepAlive { after, time });
    }

    fn reset(stream: TcpStream) {
        // Where the system does not do it, the peer sees the end of the requests, and nothing is lost by that.
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}
