//! Large entities on connections of their own, so that small requests do not wait behind them: streamed out
//! and in, never gathered.
//!
//! ```
//! use fixp_codec::{LAXCUS6, Packet, laxcus6::notify};
//! use fixp_transport::{Body, Channel, Echo, Server};
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//!
//! let server = Server::builder(Echo).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
//! let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
//!
//! let chunk = Body::from_reader(3 << 20, tokio::io::repeat(7));
//! let mut answer = channel.transfer(Packet::new(notify::FLUSH_LOG), chunk).await.unwrap();
//! let mut bytes = 0;
//! while let Some(piece) = answer.body.chunk().await {
//!     bytes += piece.unwrap().len();
//! }
//! assert_eq!(bytes, 3 << 20);
//! # });
//! ```

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use fixp_codec::{Decoder, Encoder, Event, Limits, MAX_ENTITY, Packet, StreamDecoder};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use crate::body::pipe::{Feed, pipe};
use crate::body::{Body, PIECE};
use crate::channel::session::{Session, Terms};
use crate::error::{CallError, Cause};
use crate::outbox::Outbox;
use crate::scratch;
use crate::server::connection::WithEntity;
use crate::socket::Connect;

/// The answer to a transfer. Dropping its body ends the transfer, and its connection.
#[derive(Debug)]
pub struct Transferred {
    /// The answer's head.
    pub packet: Packet,
    /// Its entity, as it comes: while it is not read, the peer is held up.
    pub body: Body,
}

/// More than this is not taken from a body before the socket has taken some, 256 KiB.
const HIGH_WATER: usize = 256 << 10;
/// Connections kept between transfers.
const IDLE: usize = 2;
/// How long they are kept.
const IDLE_TIME: Duration = Duration::from_secs(15);
/// Rounds before other tasks have their turn.
const ROUNDS: usize = 32;

trait Bytestream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Bytestream for S {}
type Stream = Box<dyn Bytestream>;

/// What makes the connections of transfers, whatever they are.
trait Connector: Send + Sync {
    fn connect(self: Arc<Self>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;
}

impl<C: Connect> Connector for C {
    fn connect(self: Arc<Self>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        Box::pin(async move { Ok(Box::new(Connect::connect(&*self).await?) as Stream) })
    }
}

/// The connections for transfers to one peer.
pub(crate) struct Transfers {
    connector: Arc<dyn Connector>,
    terms: Terms,
    connect_time: Duration,
    /// How long nothing may move.
    stall: Duration,
    idle: Mutex<Vec<(Stream, Instant)>>,
}

impl Transfers {
    pub(crate) fn new(
        connector: Arc<impl Connect>,
        terms: Terms,
        connect_time: Duration,
        stall: Duration,
    ) -> Self {
        // A transfer's one request is never in the way of another: nothing of ours is needed.
        let terms = Terms { extensions: false, announce_first: false, ..terms };
        Self { connector, terms, connect_time, stall, idle: Mutex::new(Vec::new()) }
    }

    pub(crate) async fn transfer(
        self: Arc<Self>,
        head: Packet,
        body: Body,
    ) -> Result<Transferred, CallError> {
        let dialect = self.terms.dialect;
        let mut outbox = Outbox::default();
        let len = usize::try_from(body.len()).unwrap_or(usize::MAX);
        let mut head = head;
        head.remove(dialect.content_length_key());
        outbox
            .append(|out| Encoder::new(dialect).head(&WithEntity { packet: &head, len }, out))
            .map_err(|error| CallError::not_sent(Cause::Encode(error)))?;
        let stream = match self.kept() {
            Some(stream) => stream,
            None => self.connected().await?,
        };
        let (told, answer) = oneshot::channel();
        let limits = Limits { head: self.terms.head, entity: MAX_ENTITY, ..Limits::default() };
        let now = Instant::now();
        let mut moving = Moving {
            stream,
            outbox,
            body: Some(body),
            decoder: Decoder::new(dialect).with_limits(limits).stream(),
            answer: Some(told),
            feed: None,
            left: 0,
            written: false,
            complete: false,
            stall: self.stall,
            moved: now,
            sleep: Box::pin(tokio::time::sleep_until(now + self.stall)),
        };
        tokio::spawn(async move {
            let done = poll_fn(|cx| moving.poll(cx)).await;
            match done {
                Ok(true) => self.keep(moving.stream),
                Ok(false) => {}
                Err(error) => moving.fail(error),
            }
        });
        // The sender goes away only with the runtime.
        answer.await.unwrap_or(Err(CallError::possibly_executed(Cause::Closed)))
    }

    /// A connection that is left from an earlier transfer.
    fn kept(&self) -> Option<Stream> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        idle.retain(|(_, until)| *until > now);
        // One that the peer has ended meanwhile is readable.
        while let Some((mut stream, _)) = idle.pop() {
            let mut probe = [0; 1];
            let mut probe = tokio::io::ReadBuf::new(&mut probe);
            let mut cx = Context::from_waker(std::task::Waker::noop());
            if Pin::new(&mut stream).poll_read(&mut cx, &mut probe).is_pending() {
                return Some(stream);
            }
        }
        None
    }

    fn keep(self: &Arc<Self>, stream: Stream) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= IDLE {
            return;
        }
        idle.push((stream, Instant::now() + IDLE_TIME));
        let transfers = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(IDLE_TIME).await;
            if let Some(transfers) = transfers.upgrade() {
                let mut idle = transfers.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                idle.retain(|(_, until)| *until > now);
            }
        });
    }

    /// A new connection, greeted.
    async fn connected(&self) -> Result<Stream, CallError> {
        let failed = |kind| CallError::not_sent(Cause::Connect(kind));
        let connect = async {
            let mut stream =
                Arc::clone(&self.connector).connect().await.map_err(|error| failed(error.kind()))?;
            let mut outbox = Outbox::default();
            let mut session = Session::new(self.terms, &mut outbox);
            while !session.is_open() {
                poll_fn(|cx| greet(&mut stream, &mut outbox, &mut session, cx))
                    .await
                    .map_err(CallError::not_sent)?;
            }
            Ok(stream)
        };
        let timed = tokio::time::timeout(self.connect_time, connect).await;
        timed.unwrap_or(Err(failed(io::ErrorKind::TimedOut)))
    }
}

fn greet(
    stream: &mut Stream,
    outbox: &mut Outbox,
    session: &mut Session,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Cause>> {
    while !outbox.is_empty() {
        ready!(outbox.poll_write(stream, cx)).map_err(|error| Cause::Lost(error.kind()))?;
    }
    let came = ready!(scratch::read(stream, cx, |bytes| {
        let mut input = bytes;
        while let Some(event) = session.next(&mut input) {
            if let Err(cause) = event {
                return Err(cause);
            }
        }
        if bytes.is_empty() { Err(Cause::Ended) } else { Ok(()) }
    }));
    Poll::Ready(came.map_err(|error| Cause::Lost(error.kind()))?)
}

/// A transfer under way.
struct Moving {
    stream: Stream,
    outbox: Outbox,
    /// What is sent, until all of it is in the outbox.
    body: Option<Body>,
    decoder: StreamDecoder<'static>,
    /// Who waits for the answer's head.
    answer: Option<oneshot::Sender<Result<Transferred, CallError>>>,
    /// Where the answer's entity goes.
    feed: Option<Feed>,
    /// The bytes of the answer's entity that are to come.
    left: u64,
    written: bool,
    /// The answer is complete.
    complete: bool,
    stall: Duration,
    moved: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Moving {
    /// Ready when the transfer is complete: with true if its connection can be used again.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Cause>> {
        for _ in 0..ROUNDS {
            let out = self.send(cx)?;
            let came = self.receive(cx)?;
            if self.complete {
                self.feed = None;
                return Poll::Ready(Ok(self.body.is_none() && self.outbox.is_empty()));
            }
            let left_alone = match (&mut self.answer, &self.feed) {
                (Some(answer), _) => answer.poll_closed(cx).is_ready(),
                (None, Some(feed)) => feed.poll_ignored(cx).is_ready(),
                (None, None) => false,
            };
            if left_alone {
                return Poll::Ready(Ok(false));
            }
            if out || came {
                self.moved = Instant::now();
                continue;
            }
            // While the reader of the answer does not read, the peer is not to blame.
            if self.feed.as_ref().is_some_and(|feed| feed.poll_ready(cx).is_pending()) {
                self.moved = Instant::now();
                return Poll::Pending;
            }
            let until = self.moved + self.stall;
            if self.sleep.is_elapsed() || self.sleep.deadline() != until {
                self.sleep.as_mut().reset(until);
            }
            if self.sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Cause::Timeout));
            }
            return Poll::Pending;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let mut progress = false;
        while let Some(body) = &mut self.body
            && self.outbox.len() < HIGH_WATER
        {
            match body.poll_chunk(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => self.body = None,
                Poll::Ready(Some(Ok(piece))) => self.outbox.push(piece),
                Poll::Ready(Some(Err(error))) => return Err(Cause::Body(error)),
            }
        }
        while !self.outbox.is_empty() {
            match self.outbox.poll_write(&mut self.stream, cx) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(Cause::Lost(error.kind())),
                Poll::Ready(Ok(_)) => {
                    progress = true;
                    self.written = true;
                }
            }
        }
        Ok(progress)
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        if self.complete || self.feed.as_ref().is_some_and(|feed| feed.poll_ready(cx).is_pending()) {
            return Ok(false);
        }
        // In the middle of an entity nothing but its bytes is read, so that a piece is never cut in two.
        let most = match self.left {
            0 => scratch::SIZE,
            left => usize::try_from(left).unwrap_or(usize::MAX).min(PIECE),
        };
        let mut piece = BytesMut::with_capacity(most).limit(most);
        match scratch::read_into(&mut self.stream, cx, &mut piece) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => return Err(Cause::Lost(error.kind())),
            Poll::Ready(Ok(0)) => return Err(Cause::Ended),
            Poll::Ready(Ok(_)) => {}
        }
        let piece: Bytes = piece.into_inner().freeze();
        let mut input = &piece[..];
        while let Some(event) = self.decoder.next(&mut input) {
            match event.map_err(Cause::Decode)? {
                Event::Head(head) => {
                    if head.code().is_request() || self.answer.is_none() {
                        return Err(Cause::Unexpected);
                    }
                    let packet = head.to_packet().map_err(Cause::Decode)?;
                    let len = head.entity_len() as u64;
                    let (feed, drain) = pipe();
                    self.left = len;
                    self.feed = Some(feed);
                    if let Some(answer) = self.answer.take() {
                        // Whoever has gone is noticed by the pipe.
                        let _ = answer.send(Ok(Transferred { packet, body: Body::from_pipe(len, drain) }));
                    }
                }
                Event::Entity(bytes) => {
                    self.left -= bytes.len() as u64;
                    if let Some(feed) = &self.feed {
                        feed.put(piece.slice_ref(bytes));
                    }
                }
                Event::End => self.complete = true,
            }
        }
        Ok(true)
    }

    fn fail(mut self, cause: Cause) {
        let error =
            if self.written { CallError::possibly_executed(cause) } else { CallError::not_sent(cause) };
        match self.answer.take() {
            Some(answer) => {
                let _ = answer.send(Err(error));
            }
            None => {
                if let Some(feed) = self.feed.take() {
                    feed.fail(match cause {
                        Cause::Body(error) => error,
                        _ => crate::BodyError::Cut { missing: self.left },
                    });
                }
            }
        }
    }
}
