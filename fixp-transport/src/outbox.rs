//! What is to be written to a stream: small packets run together, large entities are not copied.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// An entity shorter than this is copied behind its head; a longer one is a buffer of its own.
const COPIED: usize = 4096;
/// The buffers of one write.
const SLICES: usize = 16;

/// Bytes to be written, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Ahead of `tail`.
    front: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl Outbox {
    /// The bytes in it.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets `write` append to the tail.
    pub(crate) fn append<T>(&mut self, write: impl FnOnce(&mut BytesMut) -> T) -> T {
        let before = self.tail.len();
        let result = write(&mut self.tail);
        self.len += self.tail.len() - before;
        result
    }

    /// Appends bytes, sharing them if they are many.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        if bytes.len() < COPIED {
            self.tail.extend_from_slice(&bytes);
            return;
        }
        if !self.tail.is_empty() {
            self.front.push_back(self.tail.split().freeze());
        }
        self.front.push_back(bytes);
    }

    /// The same of bytes that their owner keeps.
    pub(crate) fn push_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < COPIED {
            self.append(|tail| tail.extend_from_slice(bytes));
        } else {
            self.push(bytes.clone());
        }
    }

    /// Writes as much as the stream takes, and tells how much; nothing to write is 0.
    pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.len == 0 {
            return Poll::Ready(Ok(0));
        }
        let written = if self.front.is_empty() {
            ready!(Pin::new(stream).poll_write(cx, &self.tail))?
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, bytes) in
                slices.iter_mut().zip(self.front.iter().map(|bytes| &bytes[..]).chain([&self.tail[..]]))
            {
                *slice = IoSlice::new(bytes);
                count += 1;
            }
            ready!(Pin::new(stream).poll_write_vectored(cx, &slices[..count]))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(first) = self.front.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.front.pop_front();
        }
        if count == self.tail.len() {
            self.tail.clear();
        } else {
            self.tail.advance(count);
        }
    }

    /// What of it costs little to keep for the next: the list of its buffers, and none of them.
    pub(crate) fn emptied(mut self) -> Self {
        self.front.clear();
        Self { front: self.front, ..Self::default() }
    }

    /// Gives its buffer back, if nothing is in it: an idle connection holds none.
    pub(crate) fn shrink(&mut self) {
        if self.len == 0 {
            *self = Self::default();
        }
    }
}
