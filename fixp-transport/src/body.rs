//! The entity of a large packet, in pieces.
//!
//! ```
//! use fixp_transport::Body;
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//!
//! let mut body = Body::from_reader(11, &b"hello entity"[..11]);
//! let mut whole = Vec::new();
//! while let Some(piece) = body.chunk().await {
//!     whole.extend_from_slice(&piece.unwrap());
//! }
//! assert_eq!(whole, b"hello entit");
//! # });
//! ```

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::stream::Stream;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::rate::RateLimiter;

pub(crate) mod pipe;

/// The piece that [`Body::from_reader`] reads at a time, 64 KiB: costs that much per body being sent.
pub const PIECE: usize = 64 << 10;

/// An entity of known length, in pieces: a `Stream` of `Bytes`.
///
/// It gives exactly [`Body::len`] bytes, or an error.
pub struct Body {
    len: u64,
    left: u64,
    /// In a box, since most requests and answers have no body and are moved often.
    source: Box<Source>,
    pace: Option<Box<Paced>>,
}

/// The rate of a body, and its turn.
struct Paced {
    limiter: RateLimiter,
    /// What leaves in this turn, and when.
    turn: Bytes,
    until: Option<Pin<Box<Sleep>>>,
    /// What has been read beyond it, and an error behind that.
    next: Bytes,
    error: Option<BodyError>,
}

impl Drop for Paced {
    fn drop(&mut self) {
        // A turn that has not come is the others'.
        if self.until.as_ref().is_some_and(|until| !until.is_elapsed()) {
            self.limiter.give_back(self.turn.len());
        }
    }
}

enum Source {
    Whole(Bytes),
    Pipe(pipe::Drain),
    Stream(Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>),
    Pieces(Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>),
    Done,
}

/// What can happen to a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// It is longer than the reader wants it.
    TooLarge {
        /// Its length.
        len: u64,
        /// What the reader takes.
        limit: usize,
    },
    /// The connection ended, or its time was over, in the middle of it.
    Cut {
        /// The bytes that did not come.
        missing: u64,
    },
    /// What was to give the bytes gave an error.
    Source(io::ErrorKind),
    /// What was to give the bytes gave more of them than was said.
    TooLong {
        /// The length that was said.
        len: u64,
    },
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len, limit } => write!(f, "an entity of {len} bytes, where {limit} are taken"),
            Self::Cut { missing } => write!(f, "the entity was cut: {missing} bytes did not come"),
            Self::Source(kind) => write!(f, "the source of the entity failed: {kind}"),
            Self::TooLong { len } => write!(f, "the source of an entity of {len} bytes gave more than that"),
        }
    }
}

impl std::error::Error for BodyError {}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        let kind = match error {
            BodyError::TooLarge { .. } | BodyError::TooLong { .. } => io::ErrorKind::InvalidData,
            BodyError::Cut { .. } => io::ErrorKind::UnexpectedEof,
            BodyError::Source(kind) => kind,
        };
        Self::new(kind, error)
    }
}

impl Body {
    /// A body that is in memory.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(bytes.len() as u64, Source::Whole(bytes))
    }

    /// A body of `len` bytes from a stream, which must give that many.
    pub fn from_stream(len: u64, stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self::new(len, Source::Stream(Box::pin(stream)))
    }

    /// A body of the next `len` bytes of a reader, read in pieces of [`PIECE`] bytes.
    pub fn from_reader(len: u64, reader: impl AsyncRead + Send + 'static) -> Self {
        Self::from_stream(len, Reader { reader: Box::pin(reader), left: len, buffer: BytesMut::new() })
    }

    pub(crate) fn from_pipe(len: u64, drain: pipe::Drain) -> Self {
        Self::new(len, Source::Pipe(drain))
    }

    pub(crate) fn from_pieces(
        len: u64,
        pieces: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    ) -> Self {
        Self::new(len, Source::Pieces(Box::pin(pieces)))
    }

    fn new(len: u64, source: Source) -> Self {
        Self { len, left: len, source: Box::new(source), pace: None }
    }

    /// The same at a rate that it shares with others, each of which gets the same. While it waits for its turn it reads
    /// on, until [`RateLimiter::PIECE`] bytes are there beyond it.
    #[must_use]
    pub fn paced(self, limiter: &RateLimiter) -> Self {
        let mut body = match &self.pace {
            None => self,
            // Of two rates, each counts.
            Some(_) => {
                let left = self.to_come();
                Self { len: self.len, left, source: Box::new(Source::Pieces(Box::pin(self))), pace: None }
            }
        };
        body.pace = Some(Box::new(Paced {
            limiter: limiter.clone(),
            turn: Bytes::new(),
            until: None,
            next: Bytes::new(),
            error: None,
        }));
        body
    }

    /// Its whole length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes that have not come from its source yet.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The bytes that its reader has not got yet.
    fn to_come(&self) -> u64 {
        let held = self.pace.as_ref().map_or(0, |pace| pace.turn.len() + pace.next.len());
        self.left + held as u64
    }

    /// The next piece, never empty; nothing at the end.
    ///
    /// # Errors
    ///
    /// See [`BodyError`]; an error is the last item.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// As [`Body::chunk`], for those who poll.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(mut pace) = self.pace.take() else { return self.poll_piece(cx) };
        let polled = self.poll_paced(&mut pace, cx);
        self.pace = Some(pace);
        polled
    }

    fn poll_paced(
        &mut self,
        pace: &mut Paced,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(until) = &mut pace.until {
                if until.as_mut().poll(cx).is_pending() {
                    self.read_ahead(pace, cx);
                    return Poll::Pending;
                }
                pace.until = None;
                return Poll::Ready(Some(Ok(std::mem::take(&mut pace.turn))));
            }
            if pace.next.is_empty() {
                if let Some(error) = pace.error.take() {
                    return Poll::Ready(Some(Err(error)));
                }
                match ready!(self.poll_piece(cx)) {
                    Some(Ok(piece)) => pace.next = piece,
                    other => return Poll::Ready(other),
                }
            }
            let turn = pace.next.split_to(pace.next.len().min(RateLimiter::PIECE));
            let now = Instant::now();
            let wait = pace.limiter.take(now, turn.len());
            if wait.is_zero() {
                return Poll::Ready(Some(Ok(turn)));
            }
            pace.turn = turn;
            pace.until = Some(Box::pin(tokio::time::sleep_until(now + wait)));
        }
    }

    /// Reads on while a turn is waited for, until there is enough for the next: turns are shared out, so that what is
    /// sent in one must not depend on how the source cuts its pieces. Nothing is taken of the rate before it is there.
    fn read_ahead(&mut self, pace: &mut Paced, cx: &mut Context<'_>) {
        while pace.next.len() < RateLimiter::PIECE && pace.error.is_none() {
            match self.poll_piece(cx) {
                Poll::Ready(Some(Ok(piece))) if pace.next.is_empty() => pace.next = piece,
                Poll::Ready(Some(Ok(piece))) => {
                    // Copied, since many pieces cost more to hold than their bytes; there is time for it.
                    let mut next = BytesMut::from(std::mem::take(&mut pace.next));
                    next.extend_from_slice(&piece);
                    pace.next = next.freeze();
                }
                Poll::Ready(Some(Err(error))) => pace.error = Some(error),
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let item = match &mut *self.source {
                Source::Done => return Poll::Ready(None),
                Source::Whole(bytes) if bytes.is_empty() => None,
                Source::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
                Source::Pipe(drain) => ready!(drain.poll_next(cx)),
                Source::Pieces(pieces) => ready!(pieces.as_mut().poll_next(cx)),
                Source::Stream(stream) => ready!(stream.as_mut().poll_next(cx))
                    .map(|item| item.map_err(|error| BodyError::Source(error.kind()))),
            };
            let item = match item {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) if bytes.len() as u64 > self.left => {
                    Err(BodyError::TooLong { len: self.len })
                }
                Some(item) => item,
                None if self.left > 0 => Err(BodyError::Cut { missing: self.left }),
                None => {
                    *self.source = Source::Done;
                    return Poll::Ready(None);
                }
            };
            match &item {
                Ok(bytes) => self.left -= bytes.len() as u64,
                Err(_) => *self.source = Source::Done,
            }
            return Poll::Ready(Some(item));
        }
    }

    /// The whole of what is left, of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`] before anything is read; else those of [`Body::chunk`].
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        if self.to_come() > limit as u64 {
            return Err(BodyError::TooLarge { len: self.to_come(), limit });
        }
        if let (Source::Whole(bytes), None) = (&mut *self.source, &self.pace) {
            return Ok(std::mem::take(bytes));
        }
        // Memory grows with the bytes that have come, not with what was announced.
        let mut whole = BytesMut::new();
        while let Some(piece) = self.chunk().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(whole.freeze())
    }

    /// The body as a reader.
    #[must_use]
    pub const fn into_reader(self) -> BodyReader {
        BodyReader { body: self, piece: Bytes::new() }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("len", &self.len).field("left", &self.left).finish_non_exhaustive()
    }
}

impl Stream for Body {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_chunk(cx)
    }
}

/// A body as `AsyncRead`.
#[derive(Debug)]
pub struct BodyReader {
    body: Body,
    piece: Bytes,
}

impl AsyncRead for BodyReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.piece.is_empty() {
            match ready!(this.body.poll_chunk(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                Some(Ok(piece)) => this.piece = piece,
            }
        }
        let taken = this.piece.split_to(this.piece.len().min(buf.remaining()));
        buf.put_slice(&taken);
        Poll::Ready(Ok(()))
    }
}

/// A reader as a stream of pieces.
struct Reader<R> {
    reader: Pin<Box<R>>,
    left: u64,
    buffer: BytesMut,
}

impl<R: AsyncRead> Stream for Reader<R> {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let want = usize::try_from(this.left).unwrap_or(usize::MAX).min(PIECE);
        if want == 0 {
            return Poll::Ready(None);
        }
        if this.buffer.len() < want {
            this.buffer.resize(want, 0);
        }
        let mut buf = ReadBuf::new(&mut this.buffer[..want]);
        ready!(this.reader.as_mut().poll_read(cx, &mut buf))?;
        let came = buf.filled().len();
        this.left -= came as u64;
        Poll::Ready((came > 0).then(|| Ok(this.buffer.split_to(came).freeze())))
    }
}
