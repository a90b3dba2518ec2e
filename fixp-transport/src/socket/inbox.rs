//! The datagrams that have been received together, one by one.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::task::{Context, Poll, ready};

use super::{Datagrams, Received};

/// Receives as many datagrams by one call as the socket gives, and hands them out one by one.
///
/// ```
/// use std::future::poll_fn;
/// use std::net::SocketAddr;
/// use std::task::ready;
/// use fixp_transport::socket::{BatchedSocket, Datagrams, Inbox};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
///
/// let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
/// let (a, b) = (BatchedSocket::bind(any)?, BatchedSocket::bind(any)?);
/// let to = b.local_addr()?;
/// poll_fn(|cx| a.poll_send_segments(cx, b"onetwo", 3, to)).await?;
///
/// let mut inbox = Inbox::new(Inbox::SLOTS);
/// for expected in [b"one", b"two"] {
///     poll_fn(|cx| {
///         let (from, bytes) = ready!(inbox.poll_next(&b, cx))?;
///         assert_eq!((from, bytes), (a.local_addr()?, &expected[..]));
///         std::task::Poll::Ready(std::io::Result::Ok(()))
///     })
///     .await?;
/// }
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Debug, Default)]
pub struct Inbox {
    buffer: Box<[u8]>,
    received: Vec<Received>,
    /// How many of them are of now, which one is being handed out, and up to where it has been.
    count: usize,
    at: usize,
    offset: usize,
    /// How many buffers are given to the next call: more where the last were not enough, since each costs.
    given: usize,
}

impl Inbox {
    /// The bytes of a buffer: no datagram, and no datagrams that the system has put together, are longer.
    pub const SLOT: usize = 64 << 10;
    /// How many buffers are good for a server: 1 MiB, of which the system gives what has been used.
    pub const SLOTS: usize = 16;

    /// An inbox with so many buffers, at least one, at most 32.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        let slots = slots.clamp(1, MOST);
        let nobody = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        Self {
            buffer: vec![0; slots * Self::SLOT].into(),
            received: vec![Received { from: nobody, len: 0, segment: 0 }; slots],
            count: 0,
            at: 0,
            offset: 0,
            given: FEW,
        }
    }

    /// Whether datagrams are here that have been received and not handed out.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.at >= self.count
    }

    /// The next datagram and who sent it, from here or from the socket.
    ///
    /// # Errors
    ///
    /// Those of the socket. Nothing is lost by them.
    pub fn poll_next<S: Datagrams + ?Sized>(
        &mut self,
        socket: &S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(SocketAddr, &[u8])>> {
        if self.is_empty() {
            (self.count, self.at, self.offset) = (0, 0, 0);
            let given = self.given.min(self.received.len());
            self.count = ready!(if given <= FEW {
                self.poll_receive::<FEW, S>(socket, cx, given)
            } else {
                self.poll_receive::<MOST, S>(socket, cx, given)
            })?;
            self.given = if self.count < given { FEW } else { (2 * given).min(MOST) };
        }
        // A socket that is ready without a datagram has none to give now; it is asked again.
        let Some(&Received { from, len, segment }) =
            self.received.get(self.at).filter(|_| self.at < self.count)
        else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let start = self.at * Self::SLOT + self.offset;
        let end = self.at * Self::SLOT + len.min(self.offset + segment.max(1)).min(Self::SLOT);
        self.offset += segment.max(1);
        if self.offset >= len {
            (self.at, self.offset) = (self.at + 1, 0);
        }
        Poll::Ready(Ok((from, self.buffer.get(start..end).unwrap_or_default())))
    }
}

impl Inbox {
    /// Receives into the first of the buffers, at most `N`.
    fn poll_receive<const N: usize, S: Datagrams + ?Sized>(
        &mut self,
        socket: &S,
        cx: &mut Context<'_>,
        given: usize,
    ) -> Poll<io::Result<usize>> {
        let mut buffers = self.buffer.chunks_exact_mut(Self::SLOT);
        let mut slots: [_; N] = std::array::from_fn(|_| IoSliceMut::new(buffers.next().unwrap_or_default()));
        socket.poll_receive(cx, slots.get_mut(..given).unwrap_or_default(), &mut self.received)
    }
}

/// The buffers of one call at most.
const MOST: usize = 32;
/// And at least, where there are so many.
const FEW: usize = 2;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::task::Waker;

    use tokio::io::ReadBuf;

    use super::*;

    /// What comes into a buffer, and the bytes of a segment.
    type Piece = (Vec<u8>, usize);

    /// Gives these in their order, as many by a call as there are buffers; and how many those were.
    #[derive(Default)]
    struct Script(Mutex<(VecDeque<Piece>, Vec<usize>)>);

    impl Datagrams for Script {
        fn poll_recv_from(&self, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<SocketAddr>> {
            unreachable!("it receives in batches")
        }

        fn poll_send_to(&self, _: &mut Context<'_>, _: &[u8], _: SocketAddr) -> Poll<io::Result<usize>> {
            unreachable!("it only receives")
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(peer(0))
        }

        fn poll_receive(
            &self,
            _: &mut Context<'_>,
            buffers: &mut [IoSliceMut<'_>],
            received: &mut [Received],
        ) -> Poll<io::Result<usize>> {
            let (script, calls) = &mut *self.0.lock().unwrap();
            calls.push(buffers.len());
            let count = script.len().min(buffers.len());
            for (slot, (bytes, segment)) in script.drain(..count).enumerate() {
                buffers[slot][..bytes.len()].copy_from_slice(&bytes);
                received[slot] = Received { from: peer(bytes.len() as u16), len: bytes.len(), segment };
            }
            if count > 0 { Poll::Ready(Ok(count)) } else { Poll::Pending }
        }
    }

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::new([192, 0, 2, 1].into(), port)
    }

    #[test]
    fn datagrams_come_out_as_they_went_in() {
        let full = vec![9; Inbox::SLOT - 1];
        let pieces: [(&[u8], usize); 5] =
            [(b"aabbc", 2), (b"ddd", 3), (b"", 0), (b"eeff", 2), (&full, full.len())];
        let script = Script::default();
        script.0.lock().unwrap().0 = pieces.map(|(bytes, segment)| (bytes.to_vec(), segment)).into();
        let mut inbox = Inbox::new(4);
        let mut cx = Context::from_waker(Waker::noop());
        let expected: [(u16, &[u8]); 8] = [
            (5, b"aa"),
            (5, b"bb"),
            (5, b"c"),
            (3, b"ddd"),
            (0, b""),
            (4, b"ee"),
            (4, b"ff"),
            (65535, &full),
        ];
        for (port, bytes) in expected {
            let Poll::Ready(Ok(next)) = inbox.poll_next(&script, &mut cx) else { panic!("one is there") };
            assert_eq!(next, (peer(port), bytes));
        }
        assert!(inbox.is_empty());
        assert!(inbox.poll_next(&script, &mut cx).is_pending());
    }

    #[test]
    fn buffers_are_given_as_they_are_needed() {
        let script = Script::default();
        script.0.lock().unwrap().0 = (0..40).map(|_| (b"x".to_vec(), 1)).collect();
        let mut inbox = Inbox::new(16);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..40 {
            assert!(inbox.poll_next(&script, &mut cx).is_ready());
        }
        assert!(inbox.poll_next(&script, &mut cx).is_pending());
        assert!(inbox.poll_next(&script, &mut cx).is_pending());
        // The fifth brought less than it might have.
        assert_eq!(script.0.lock().unwrap().1, [2, 4, 8, 16, 16, 2, 2]);
    }
}
