//! A UDP socket, and when it can be read and written.
//!
//! Room to write is waited for only where there was none: every datagram that leaves makes some, and to be told of
//! that would wake its sender once more for each.

use std::io;
use std::net::UdpSocket;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;

#[cfg(unix)]
pub(super) use self::unix::Polled;

#[cfg(unix)]
mod unix {
    use std::os::fd::OwnedFd;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use tokio::io::unix::AsyncFd;
    use tokio::task::coop::poll_proceed;

    use super::*;

    /// See the [module](super).
    #[derive(Debug)]
    pub(in crate::socket) struct Polled {
        reads: AsyncFd<UdpSocket>,
        /// Where there was no room, the same socket as another descriptor, which tells one task when there is.
        writes: Mutex<Option<AsyncFd<OwnedFd>>>,
        /// Whether there is one. Who is late to hear of it tries, and finds no room; who is late to hear that it is gone
        /// waits once more, and is told at once.
        waits: AtomicBool,
    }

    impl Polled {
        /// A socket that does not block.
        pub(in crate::socket) fn new(socket: UdpSocket) -> io::Result<Self> {
            #[allow(
                deprecated,
                reason = "what replaces it is unsafe, and an owned socket needs none of that"
            )]
            let reads = AsyncFd::with_interest(socket, Interest::READABLE)?;
            Ok(Self { reads, writes: Mutex::new(None), waits: AtomicBool::new(false) })
        }

        pub(in crate::socket) fn socket(&self) -> &UdpSocket {
            self.reads.get_ref()
        }

        /// Reads as soon as it can be. What is read comes with whether there is nothing more: then the system is not
        /// asked again before it has told of something.
        pub(in crate::socket) fn poll_read<T>(
            &self,
            cx: &mut Context<'_>,
            mut read: impl FnMut(&UdpSocket) -> io::Result<(T, bool)>,
        ) -> Poll<io::Result<T>> {
            let turn = ready!(poll_proceed(cx));
            loop {
                let mut done = None;
                let tried = self.reads.try_io(Interest::READABLE, |socket| {
                    let (value, all) = read(socket)?;
                    done = Some(value);
                    // What the system would say if it were asked again.
                    if all { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
                });
                let ended = match (done, tried) {
                    (Some(done), _) => Ok(done),
                    (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                    // Only who finds nothing has to be told when there is something.
                    _ => {
                        drop(ready!(self.reads.poll_read_ready(cx))?);
                        continue;
                    }
                };
                turn.made_progress();
                return Poll::Ready(ended);
            }
        }

        /// Writes as soon as it can be. Only the last task that found no room is told.
        pub(in crate::socket) fn poll_write<T>(
            &self,
            cx: &mut Context<'_>,
            mut write: impl FnMut(&UdpSocket) -> io::Result<T>,
        ) -> Poll<io::Result<T>> {
            if !self.waits.load(Relaxed) {
                match write(self.socket()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    done => return Poll::Ready(done),
                }
            }
            let mut writes = self.writes();
            let waits = match &mut *writes {
                Some(waits) => waits,
                none => {
                    let socket = self.socket().try_clone()?.into();
                    #[allow(deprecated, reason = "as above")]
                    let socket = AsyncFd::with_interest(socket, Interest::WRITABLE)?;
                    self.waits.store(true, Relaxed);
                    none.insert(socket)
                }
            };
            loop {
                let mut ready = ready!(waits.poll_write_ready(cx))?;
                if let Ok(done) = ready.try_io(|_| write(self.socket())) {
                    *writes = None;
                    self.waits.store(false, Relaxed);
                    return Poll::Ready(done);
                }
            }
        }

        fn writes(&self) -> MutexGuard<'_, Option<AsyncFd<OwnedFd>>> {
            self.writes.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

/// Elsewhere tokio's own socket waits for both.
#[cfg(not(unix))]
#[derive(Debug)]
pub(super) struct Polled {
    /// The same as another handle.
    ready: tokio::net::UdpSocket,
    socket: UdpSocket,
}

#[cfg(not(unix))]
impl Polled {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        Ok(Self { ready: tokio::net::UdpSocket::from_std(socket.try_clone()?)?, socket })
    }

    pub(super) const fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    pub(super) fn poll_read<T>(
        &self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(&UdpSocket) -> io::Result<(T, bool)>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.ready.poll_recv_ready(cx))?;
            match self.ready.try_io(Interest::READABLE, || read(&self.socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done.map(|(done, _)| done)),
            }
        }
    }

    pub(super) fn poll_write<T>(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&UdpSocket) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.ready.poll_send_ready(cx))?;
            match self.ready.try_io(Interest::WRITABLE, || write(&self.socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// A socket of loopback always has room, so that there is none is only said.
    #[tokio::test]
    async fn who_finds_no_room_is_told_when_there_is() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let polled = Polled::new(socket).unwrap();
        for full in [0, 1, 0, 1] {
            let mut tries = 0;
            let written = poll_fn(|cx| {
                polled.poll_write(cx, |_| {
                    tries += 1;
                    if tries > full { Ok(tries) } else { Err(io::ErrorKind::WouldBlock.into()) }
                })
            });
            assert_eq!(written.await.unwrap(), full + 1);
        }
    }
}
