//! A stream that takes as much as the script says, and remembers it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::task::noop_waker_ref;
use tokio::io::AsyncWrite;

use crate::outbox::Outbox;

/// What was written, and how many more bytes are taken before it is full.
#[derive(Default)]
pub(super) struct Sink {
    pub(super) written: Vec<u8>,
    room: usize,
}

impl Sink {
    /// Lets the outbox write until so many bytes are taken, or it is empty.
    pub(super) fn drain(&mut self, outbox: &mut Outbox, room: usize) {
        self.room = room;
        while !outbox.is_empty() {
            let (before, had) = (self.written.len(), outbox.len());
            match outbox.poll_write(self, &mut Context::from_waker(noop_waker_ref())) {
                Poll::Pending => {
                    assert_eq!((self.room, outbox.len()), (0, had), "only a full stream makes it wait");
                    return;
                }
                Poll::Ready(Ok(count)) => {
                    assert!(count > 0, "an outbox that is not empty writes");
                    assert_eq!((self.written.len() - before, had - outbox.len()), (count, count));
                }
                Poll::Ready(Err(error)) => panic!("{error}"),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = &bytes[..bytes.len().min(self.room)];
        self.room -= taken.len();
        self.written.extend_from_slice(taken);
        taken.len()
    }
}

impl AsyncWrite for Sink {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.room == 0 { Poll::Pending } else { Poll::Ready(Ok(this.take(bytes))) }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.room == 0 {
            return Poll::Pending;
        }
        Poll::Ready(Ok(slices.iter().map(|slice| this.take(slice)).sum()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
