//! A UDP socket that sends and receives many datagrams by one call of the system.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::ReadBuf;
use tracing::debug;

use super::offload::{self, Offload};
use super::polled::Polled;
use super::reached::Reached;
use super::{Buffers, Datagrams, Inbox, Received, system};

/// What one call receives at most.
const MOST: usize = quinn_udp::BATCH_SIZE;
/// So few are received for less.
const FEW: usize = 2;
/// After so many single datagrams in a row, which left others behind, many are received by one call.
const ROW: u32 = 4;

/// Whether the system gives fewer datagrams than there are buffers only when it has no more. Then it need not be asked
/// for that: what comes from now on wakes the task, as it does after a call that found nothing.
const ENDS_SHORT: bool = cfg!(target_os = "linux");

/// A UDP socket with all that the system offers to many datagrams: segments put together on the way out (GSO) and
/// in (GRO), many datagrams by one call, large buffers. What it does not offer is done without, and nobody
/// notices but by the time it takes.
///
/// Datagrams of [`Datagrams::poll_send_segments`] are not fragmented, so that the path MTU can be found. Those of
/// [`Datagrams::poll_send_to`] are where they have to be, as with every other socket (on Linux; elsewhere a
/// datagram larger than the MTU may fail).
///
/// ```
/// use fixp_transport::socket::{BatchedSocket, Datagrams};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
///
/// let socket = BatchedSocket::bind("[::]:0".parse().unwrap())?;
/// assert!(socket.buffers().unwrap().receive > 0);
/// assert!(socket.max_segments() >= 1);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct BatchedSocket {
    socket: Polled,
    /// Nothing where the system does not even let itself be asked.
    state: Option<UdpSocketState>,
    offload: Offload,
    /// How many single datagrams have come in a row, less those that have left: who is asked and answers in turns has
    /// others waiting for another reason, that on one core the asker had its turn first. A call for many costs a single one more than it needs, and a
    /// socket whose datagrams are put together cannot go back: they may wait there.
    row: AtomicU32,
    buffers: Option<Buffers>,
    /// Where it answers from the address that was asked, of several.
    reached: Option<Reached>,
    /// Of those who receive single datagrams; who receives in batches never has it.
    one_by_one: Mutex<Option<Inbox>>,
}

impl BatchedSocket {
    /// What is asked of the system as buffers, 4 MiB each way: some ten milliseconds of 3 Gbit/s, or sixty full
    /// datagrams. It gives less where its own limit is lower ([`Datagrams::buffers`] tells).
    pub const BUFFER: usize = 4 << 20;

    /// A socket of this address. `[::]` takes IPv4 as well.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(addr);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
        if addr.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&addr.into())?;
        Self::new(socket.into())
    }

    /// The same of a socket that is bound already.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        Self::of(socket, false)
    }

    /// The same for a server: where the socket is bound to all addresses of the host, each answer leaves from the one that
    /// was asked last by its peer. That costs a look at the peer for each datagram, and up to 2 MiB; a socket that is
    /// bound to one address costs nothing more.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn answering(socket: UdpSocket) -> io::Result<Self> {
        let several = socket.local_addr()?.ip().is_unspecified();
        Self::of(socket, several)
    }

    fn of(socket: UdpSocket, several: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let system = socket2::SockRef::from(&socket);
        // Where the system gives less, less is made of it.
        let _ = system.set_recv_buffer_size(Self::BUFFER);
        let _ = system.set_send_buffer_size(Self::BUFFER);
        let buffers = system
            .recv_buffer_size()
            .and_then(|receive| Ok(Buffers { receive, send: system.send_buffer_size()? }))
            .ok();
        let state = UdpSocketState::new((&socket).into())
            .inspect_err(|error| debug!(%error, "datagrams go one by one"))
            .ok();
        // Until many come.
        let several = several && state.is_some();
        system::tell_less(&socket, several);
        // What comes by the call for one datagram does not tell its address.
        let alone = state.is_some() && !several && system::put_together(&socket, false);
        let offload = Offload::new(state.as_ref().map_or(1, UdpSocketState::max_gso_segments));
        debug!(?buffers, segments = offload.most(), "a socket for datagrams");
        let row = AtomicU32::new(if alone { 0 } else { ROW });
        let socket = Polled::new(socket)?;
        let reached = several.then(Reached::default);
        Ok(Self { socket, state, offload, row, buffers, reached, one_by_one: Mutex::new(None) })
    }
}

impl BatchedSocket {
    fn receive_one(
        &self,
        cx: &mut Context<'_>,
        row: u32,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(received)) = (buffers.first_mut(), received.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let Poll::Ready(one) = self.socket.poll_read(cx, |socket| Ok((socket.recv_from(buffer)?, false)))
        else {
            self.row.store(0, Ordering::Relaxed);
            return Poll::Pending;
        };
        let (len, from) = one?;
        *received = Received { from, len, segment: len };
        if self.state.is_some() {
            self.row.store(row + 1, Ordering::Relaxed);
            if row + 1 == ROW {
                system::put_together(self.socket.socket(), true);
            }
        }
        Poll::Ready(Ok(1))
    }

    /// A datagram has left alone.
    fn sent_one(&self) {
        let row = self.row.load(Ordering::Relaxed);
        if row > 0 && row < ROW {
            self.row.store(row - 1, Ordering::Relaxed);
        }
    }

    /// Receives into at most `N` buffers.
    fn receive<const N: usize>(
        &self,
        cx: &mut Context<'_>,
        state: &UdpSocketState,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>> {
        let mut metas = [RecvMeta::default(); N];
        let count = ready!(self.socket.poll_read(cx, |socket| {
            let count = state.recv(socket.into(), buffers, &mut metas)?;
            Ok((count, ENDS_SHORT && count < buffers.len()))
        }))?;
        for (received, meta) in received.iter_mut().zip(&metas).take(count) {
            *received = Received { from: meta.addr, len: meta.len, segment: meta.stride };
            if let (Some(reached), Some(at)) = (&self.reached, meta.dst_ip) {
                reached.heard(meta.addr, at);
            }
        }
        Poll::Ready(Ok(count))
    }
}

impl BatchedSocket {
    /// Sends one datagram, from this address of the host.
    fn send_from(
        &self,
        socket: &UdpSocket,
        from: Option<IpAddr>,
        contents: &[u8],
        to: SocketAddr,
    ) -> io::Result<()> {
        if let (Some(state), Some(_)) = (&self.state, from) {
            let transmit =
                Transmit { destination: to, ecn: None, contents, segment_size: None, src_ip: from };
            match state.try_send(socket.into(), &transmit) {
                Err(error) if is_not_ours(&error) => {}
                sent => return sent,
            }
        }
        socket.send_to(contents, to).map(|_| ())
    }
}

/// The host has lost the address that it was to send from, or never had it: a datagram came to all of a network. Linux
/// says over IPv4 that there is no way from there; where there is none at all, the same is said without the address.
fn is_not_ours(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, InvalidInput, NetworkUnreachable};
    matches!(error.kind(), AddrNotAvailable | InvalidInput | NetworkUnreachable)
}

impl Datagrams for BatchedSocket {
    fn poll_recv_from(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<SocketAddr>> {
        // What the system has put together does not fit, and is not one datagram.
        let mut inbox = self.one_by_one.lock().unwrap_or_else(PoisonError::into_inner);
        let inbox = inbox.get_or_insert_with(|| Inbox::new(1));
        let (from, bytes) = ready!(inbox.poll_next(self, cx))?;
        buf.put_slice(bytes.get(..buf.remaining()).unwrap_or(bytes));
        Poll::Ready(Ok(from))
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
        self.sent_one();
        let from = self.reached_at(to);
        self.socket
            .poll_write(cx, |socket| match self.send_from(socket, from, buf, to) {
                Err(error) if offload::is_too_large(&error) => {
                    system::in_fragments(socket, || self.send_from(socket, from, buf, to))
                }
                sent => sent,
            })
            .map_ok(|()| buf.len())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.socket().local_addr()
    }

    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>> {
        let row = self.row.load(Ordering::Relaxed);
        let Some(state) = self.state.as_ref().filter(|_| row >= ROW) else {
            return self.receive_one(cx, row, buffers, received);
        };
        let most = buffers.len().min(received.len()).min(MOST);
        let Some(buffers) = buffers.get_mut(..most).filter(|buffers| !buffers.is_empty()) else {
            return Poll::Ready(Ok(0));
        };
        if most <= FEW {
            self.receive::<FEW>(cx, state, buffers, received)
        } else {
            self.receive::<MOST>(cx, state, buffers, received)
        }
    }

    fn poll_send_segments(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        segment: usize,
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        if bytes.len() <= segment {
            self.sent_one();
        }
        let from = self.reached_at(to);
        self.socket.poll_write(cx, |socket| {
            self.offload.send(bytes, segment, |contents, segment_size| match &self.state {
                Some(state) if segment_size.is_some() => {
                    let send = |src_ip| {
                        let transmit =
                            Transmit { destination: to, ecn: None, contents, segment_size, src_ip };
                        state.try_send(socket.into(), &transmit)
                    };
                    match send(from) {
                        Err(error) if from.is_some() && is_not_ours(&error) => send(None),
                        sent => sent,
                    }
                }
                // One datagram goes the short way.
                _ => self.send_from(socket, from, contents, to),
            })
        })
    }

    fn max_segments(&self) -> usize {
        self.offload.most()
    }

    fn reached_at(&self, peer: SocketAddr) -> Option<IpAddr> {
        self.reached.as_ref()?.at(peer)
    }

    fn buffers(&self) -> Option<Buffers> {
        self.buffers
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Where the address is gone that a peer has asked, all leaves from another: one datagram, and many segments.
    #[tokio::test]
    async fn what_is_to_leave_from_an_address_that_is_gone_leaves_from_another() {
        for (bound, peer_at, gone) in [
            ("0.0.0.0:0", "127.0.0.1:0", "192.0.2.1"),
            ("[::]:0", "[::1]:0", "2001:db8::1"),
            ("[::]:0", "127.0.0.1:0", "192.0.2.1"),
        ] {
            let bound = UdpSocket::bind(bound.parse::<SocketAddr>().unwrap()).unwrap();
            let socket = BatchedSocket::answering(bound).unwrap();
            let peer = BatchedSocket::bind(peer_at.parse().unwrap()).unwrap();
            let mut to = peer.local_addr().unwrap();
            if let (IpAddr::V4(ip), true) = (to.ip(), socket.local_addr().unwrap().is_ipv6()) {
                to.set_ip(ip.to_ipv6_mapped().into());
            }
            // As if it had been asked there while the host still had it.
            socket.reached.as_ref().unwrap().heard(to, gone.parse().unwrap());
            assert_eq!(socket.reached_at(to), Some(gone.parse().unwrap()));
            let bytes: Vec<u8> = (0..5000_u32).map(|n| n as u8).collect();
            let most = socket.max_segments();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let sent = poll_fn(|cx| socket.poll_send_segments(cx, rest, 1000, to)).await.unwrap();
                rest = &rest[sent..];
            }
            poll_fn(|cx| socket.poll_send_to(cx, b"one", to)).await.unwrap();
            let mut came = Vec::new();
            for len in [1000, 1000, 1000, 1000, 1000, 3] {
                let mut buffer = [0; 2000];
                let mut buffer = ReadBuf::new(&mut buffer);
                let from = poll_fn(|cx| peer.poll_recv_from(cx, &mut buffer)).await.unwrap();
                assert_eq!((from.ip(), buffer.filled().len()), (peer.local_addr().unwrap().ip(), len));
                came.extend_from_slice(buffer.filled());
            }
            assert!(came == [&bytes[..], b"one"].concat());
            // It is the address that was refused, and not that they went together.
            assert_eq!(socket.max_segments(), most);
        }
    }
}
