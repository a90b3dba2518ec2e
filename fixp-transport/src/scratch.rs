//! One buffer for reading, shared by all connections of a thread: an idle connection has none.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::body::PIECE;

/// The bytes of one read, 68 KiB: a head and the first piece behind it, so that an entity of whole pieces leaves
/// no crumb for the end. Costs that much per thread of the runtime.
pub(crate) const SIZE: usize = (4 << 10) + PIECE;

thread_local! {
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// Takes the thread's buffer, empty. (Whoever reads while another of the same thread does gets a new one.)
pub(crate) fn take() -> BytesMut {
    SPARE.take().unwrap_or_else(|| BytesMut::with_capacity(SIZE))
}

/// Gives it back.
pub(crate) fn put(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.capacity() >= SIZE {
        SPARE.set(Some(buffer));
    }
}

/// Reads what the stream has, at most what fits behind what is in `buffer`.
pub(crate) fn read_into<R: AsyncRead + Unpin>(
    stream: &mut R,
    cx: &mut Context<'_>,
    buffer: &mut impl BufMut,
) -> Poll<io::Result<usize>> {
    pin!(stream.read_buf(buffer)).poll(cx)
}

/// Reads a piece of an entity, at most so many bytes, into its buffer: that of before, once the pieces in it are
/// gone, or what is left of it.
pub(crate) fn read_piece<R: AsyncRead + Unpin>(
    stream: &mut R,
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
    most: usize,
) -> Poll<io::Result<usize>> {
    if !buffer.try_reclaim(PIECE) && buffer.capacity() < PIECE / 4 {
        buffer.reserve(PIECE);
    }
    let most = most.min(buffer.capacity()).min(PIECE);
    read_into(stream, cx, &mut buffer.limit(most))
}

/// Reads what the stream has and shows it.
pub(crate) fn read<R: AsyncRead + Unpin, T>(
    stream: &mut R,
    cx: &mut Context<'_>,
    look: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    let mut buffer = take();
    let read = read_into(stream, cx, &mut buffer).map_ok(|_| look(&buffer));
    put(buffer);
    read
}
