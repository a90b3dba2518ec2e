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

use std::any::Any;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use fixp_codec::{Decoder, Dialect, Encoder, Event, Limits, MAX_ENTITY, Packet, StreamDecoder, ValueRef};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::coop::has_budget_remaining;
use tokio::time::Instant;

use crate::body::{Body, BodyError, PIECE};
use crate::channel::session::{Session, Terms};
use crate::error::{CallError, Cause};
use crate::extended::Extended;
use crate::extension::{self, Refusal, key};
use crate::outbox::Outbox;
use crate::scratch;
use crate::socket::Connect;
use crate::tables;
use crate::timer::Timer;
use crate::turn;

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
/// So many bytes leave on a connection before others have their turn between its parts: a congestion control that
/// measures the path (BBR) finds it too narrow where all it sees first are short bursts.
const FIRST: usize = 8 << 20;
/// Connections kept between transfers.
const IDLE: usize = 2;
/// How long they are kept.
const IDLE_TIME: Duration = Duration::from_secs(15);
/// How long EXIT may take to leave.
const EXIT_TIME: Duration = Duration::from_secs(1);
/// Rounds before other tasks have their turn.
const ROUNDS: usize = 32;

trait Bytestream: AsyncRead + AsyncWrite + Send + Unpin + Any {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + Any> Bytestream for S {}
type Stream = Box<dyn Bytestream>;

/// What makes the connections of transfers, whatever they are.
trait Connector: Send + Sync {
    fn connect(self: Arc<Self>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    /// Ends one of them so that its peer gives up.
    fn reset(&self, stream: Stream);
}

impl<C: Connect> Connector for C {
    fn connect(self: Arc<Self>) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        Box::pin(async move { Ok(Box::new(Connect::connect(&*self).await?) as Stream) })
    }

    fn reset(&self, stream: Stream) {
        if let Ok(stream) = (stream as Box<dyn Any>).downcast() {
            C::reset(*stream);
        }
    }
}

/// A connection that is kept.
struct Idle {
    stream: Stream,
    /// Those of the transfers on it: a timer that is set need not be set anew.
    outbox: Outbox,
    timer: Timer,
    until: Instant,
    /// The bytes that have left on it, at most [`FIRST`].
    sent: usize,
    /// Whether both ends have announced themselves on it.
    own: bool,
}

/// The connections for transfers to one peer.
pub(crate) struct Transfers {
    connector: Arc<dyn Connector>,
    terms: Terms,
    connect_time: Duration,
    /// How long nothing may move.
    stall: Duration,
    idle: Mutex<Vec<Idle>>,
    serials: AtomicI64,
    /// Whether a task ends those that have been idle for long enough.
    sweeping: AtomicBool,
    /// Whether the channel ends: nothing is kept any longer.
    closing: AtomicBool,
    /// Each connection on which EXIT is being said has a receiver.
    ending: watch::Sender<()>,
    /// Of the channel: whoever drops the last of it may be anywhere.
    runtime: Handle,
}

impl Transfers {
    /// Must be called where a tokio runtime is.
    pub(crate) fn new(
        connector: Arc<impl Connect>,
        terms: Terms,
        connect_time: Duration,
        stall: Duration,
    ) -> Self {
        Self {
            connector,
            terms,
            connect_time,
            stall,
            idle: Mutex::new(Vec::new()),
            serials: AtomicI64::new(1),
            sweeping: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            ending: watch::Sender::new(()),
            runtime: Handle::current(),
        }
    }

    pub(crate) async fn transfer(
        self: Arc<Self>,
        mut head: Packet,
        body: Body,
        last: impl FnOnce(&mut Packet),
    ) -> Result<Transferred, CallError> {
        let dialect = self.terms.dialect;
        let len = usize::try_from(body.len()).unwrap_or(usize::MAX);
        // Its one request is never in the way of another: nothing of ours is needed, unless the request is (SPEC 10.9).
        let own = extension::is_own(head.code);
        if own && !self.terms.extensions {
            return Err(CallError::not_sent(Cause::NotOurs));
        }
        let length_key = dialect.content_length_key();
        let kept_back = if own { key::TRANSPORT } else { key::RANGE };
        let keeps = |key| key != length_key && !kept_back.contains(&key);
        // So that it can be cancelled.
        let serial = own.then(|| self.serials.fetch_add(1, Relaxed));
        let extra = serial.map(|serial| (key::SERIAL, ValueRef::Int64(serial)));
        let (stream, mut outbox, timer, sent) = match self.kept(own) {
            Some(Idle { stream, outbox, timer, sent, .. }) => (stream, outbox, timer, sent),
            None => (self.connected(own).await?, Outbox::default(), Timer::default(), 0),
        };
        last(&mut head);
        let encoder = Encoder::new(extension::table_of(dialect, head.code));
        let written = Extended { packet: &head, keeps, extra: extra.as_slice(), len };
        if let Err(error) = outbox.append(|out| encoder.head(&written, out)) {
            self.let_go(stream);
            return Err(CallError::not_sent(Cause::Encode(error)));
        }
        let limits = Limits { head: self.terms.head, entity: MAX_ENTITY, ..Limits::default() };
        let now = Instant::now();
        let mut moving = Moving {
            stream: Some(stream),
            outbox,
            body: Some(body),
            decoder: Decoder::new(dialect).with_limits(limits).stream(),
            packet: None,
            len: 0,
            left: 0,
            buffer: BytesMut::new(),
            piece: None,
            written: false,
            sent,
            part: 0,
            lost: None,
            complete: false,
            serial,
            stall: self.stall,
            moved: now,
            timer,
            transfers: self,
        };
        let mut packet = poll_fn(|cx| moving.poll_head(cx)).await.map_err(|cause| match moving.written {
            true => CallError::possibly_executed(cause),
            false => CallError::not_sent(cause),
        })?;
        if own {
            if let Some(refusal) = packet.first(key::REFUSAL).and_then(fixp_codec::Value::as_i16) {
                return Err(CallError::refused(Refusal::of_number(refusal)));
            }
            packet.messages.retain(|message| !key::TRANSPORT.contains(&message.key));
        }
        if moving.complete && moving.piece.is_none() {
            moving.end();
            return Ok(Transferred { packet, body: Body::from_bytes(Bytes::new()) });
        }
        // From here on whoever reads the answer moves the transfer on.
        Ok(Transferred { packet, body: Body::from_pieces(moving.len, moving) })
    }

    /// A connection that is left from an earlier transfer.
    fn kept(&self, own: bool) -> Option<Idle> {
        let mut idle = self.idle();
        self.let_go_of_old(&mut idle);
        // One that the peer has ended meanwhile is readable.
        while let Some(place) = idle.iter().rposition(|kept| kept.own == own) {
            let mut kept = idle.remove(place);
            let mut probe = [0; 1];
            let mut probe = tokio::io::ReadBuf::new(&mut probe);
            let mut cx = Context::from_waker(Waker::noop());
            if Pin::new(&mut kept.stream).poll_read(&mut cx, &mut probe).is_pending() {
                return Some(kept);
            }
        }
        None
    }

    fn keep(self: &Arc<Self>, kept: Idle) {
        let mut idle = self.idle();
        if idle.len() >= IDLE || self.closing.load(Relaxed) {
            self.let_go(kept.stream);
            return;
        }
        idle.push(kept);
        if self.sweeping.swap(true, Relaxed) {
            return;
        }
        let transfers = Arc::downgrade(self);
        self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(IDLE_TIME).await;
                if transfers.upgrade().is_none_or(|transfers| transfers.sweep()) {
                    return;
                }
            }
        });
    }

    /// Ends the connections that have been kept for long enough; tells whether none is left.
    fn sweep(&self) -> bool {
        let mut idle = self.idle();
        self.let_go_of_old(&mut idle);
        if idle.is_empty() {
            // Under the lock: whoever keeps the next one begins to sweep anew.
            self.sweeping.store(false, Relaxed);
        }
        idle.is_empty()
    }

    fn let_go_of_old(&self, idle: &mut Vec<Idle>) {
        let now = Instant::now();
        for old in idle.extract_if(.., |kept| kept.until <= now) {
            self.let_go(old.stream);
        }
    }

    /// Ends a connection in order, behind the caller's back.
    fn let_go(&self, stream: Stream) {
        let (dialect, ending) = (self.terms.dialect, self.ending.subscribe());
        self.runtime.spawn(async move {
            exit(stream, dialect).await;
            drop(ending);
        });
    }

    /// Keeps no connection any longer; one that is in use ends with its transfer.
    pub(crate) fn close(&self) {
        let mut idle = self.idle();
        // Under the lock: nothing is kept behind this.
        self.closing.store(true, Relaxed);
        for kept in idle.drain(..) {
            self.let_go(kept.stream);
        }
    }

    /// Waits until EXIT has left on all connections that were let go: at most [`EXIT_TIME`].
    pub(crate) async fn ended(&self) {
        self.ending.closed().await;
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection, greeted; for our own commands the peer must be one of ours.
    async fn connected(&self, own: bool) -> Result<Stream, CallError> {
        let terms = Terms { extensions: own, announce_first: own, ordered: false, ..self.terms };
        let failed = |kind| CallError::not_sent(Cause::Connect(kind));
        let connect = async {
            let mut stream =
                Arc::clone(&self.connector).connect().await.map_err(|error| failed(error.kind()))?;
            let mut outbox = Outbox::default();
            let mut session = Session::new(terms, &mut outbox);
            while !session.is_open() {
                poll_fn(|cx| greet(&mut stream, &mut outbox, &mut session, cx))
                    .await
                    .map_err(CallError::not_sent)?;
            }
            if own && !session.partner().is_ours() {
                self.let_go(stream);
                return Err(CallError::not_sent(Cause::NotOurs));
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
            event?;
        }
        if bytes.is_empty() { Err(Cause::Ended) } else { Ok(()) }
    }));
    Poll::Ready(came.map_err(|error| Cause::Lost(error.kind()))?)
}

/// Whether bytes have come.
fn came(read: Poll<io::Result<usize>>) -> Result<bool, Cause> {
    match read {
        Poll::Pending => Ok(false),
        Poll::Ready(Err(error)) => Err(Cause::Lost(error.kind())),
        Poll::Ready(Ok(0)) => Err(Cause::Ended),
        Poll::Ready(Ok(_)) => Ok(true),
    }
}

/// Ends a connection as the dialect does it (SPEC 11.5); the answer is not waited for.
async fn exit(mut stream: Stream, dialect: &'static Dialect) {
    let exit = Packet::new(tables::of(dialect).exit).to_bytes(dialect).unwrap_or_default();
    let said = tokio::io::AsyncWriteExt::write_all(&mut stream, &exit);
    // Whether it has arrived makes no difference any more.
    let _ = tokio::time::timeout(EXIT_TIME, said).await;
}

/// A transfer under way. It moves while it is polled: first for the answer's head, then for its pieces.
struct Moving {
    /// Its connection, until it is given back.
    stream: Option<Stream>,
    outbox: Outbox,
    /// What is sent, until all of it is in the outbox.
    body: Option<Body>,
    decoder: StreamDecoder<'static>,
    /// The answer's head, until it is told.
    packet: Option<Packet>,
    /// The length of the answer's entity, and the bytes of it that are to come.
    len: u64,
    left: u64,
    buffer: BytesMut,
    /// A piece that has come with the head.
    piece: Option<Bytes>,
    written: bool,
    /// The bytes that have left on the connection, at most [`FIRST`], and those since others had their turn.
    sent: usize,
    part: usize,
    /// Why the connection is of no use for anything but what may still come.
    lost: Option<Cause>,
    /// The answer is complete.
    complete: bool,
    /// That of the request, where it is one of our own commands.
    serial: Option<i64>,
    stall: Duration,
    moved: Instant,
    timer: Timer,
    transfers: Arc<Transfers>,
}

impl Moving {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Packet, Cause>> {
        loop {
            if let Some(packet) = self.packet.take() {
                return Poll::Ready(Ok(packet));
            }
            ready!(self.poll_move(cx))?;
        }
    }

    /// Ready when something has come.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        let mut now = Instant::now();
        for _ in 0..ROUNDS {
            if self.body.is_some() && self.outbox.is_empty() {
                // The peer's time begins when something is there for it.
                self.moved = now;
            }
            let sent = match self.send(cx) {
                Ok(sent) => sent,
                Err(cause @ Cause::Lost(_)) => {
                    // What the peer said before it went is heard all the same: it may say why.
                    (self.body, self.outbox, self.lost) = (None, Outbox::default(), Some(cause));
                    false
                }
                Err(cause) => return Poll::Ready(Err(cause)),
            };
            // Where nothing comes now, it may only not be this task's turn: the end of the stream is waited for, at
            // most the stall time.
            let came = self.receive(cx).map_err(|cause| *self.lost.get_or_insert(cause));
            if came? {
                self.moved = Instant::now();
                return Poll::Ready(Ok(()));
            }
            if sent {
                now = Instant::now();
                self.moved = now;
                if self.part >= HIGH_WATER {
                    self.part = 0;
                    turn::give_way(cx);
                    return Poll::Pending;
                }
                continue;
            }
            if self.body.is_some() && self.outbox.is_empty() {
                // It waits for its own source, or for its turn under a rate: the peer is not to blame.
                return Poll::Pending;
            }
            let until = self.moved + self.stall;
            // Who has no turn left cannot know whether something is there.
            if until <= now && has_budget_remaining() {
                return Poll::Ready(Err(self.lost.unwrap_or(Cause::Timeout)));
            }
            // A timer that is early costs a look.
            if self.timer.poll(now.into_std(), until.into_std(), cx).is_ready() {
                continue;
            }
            return Poll::Pending;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let Some(stream) = &mut self.stream else { return Ok(false) };
        let mut progress = false;
        loop {
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
            match self.outbox.poll_write(stream, cx) {
                Poll::Pending | Poll::Ready(Ok(0)) => return Ok(progress),
                Poll::Ready(Err(error)) => return Err(Cause::Lost(error.kind())),
                Poll::Ready(Ok(count)) => {
                    progress = true;
                    self.written = true;
                    if self.sent < FIRST {
                        self.sent = FIRST.min(self.sent + count);
                    } else if self.body.is_some() {
                        self.part += count;
                    }
                    if self.part >= HIGH_WATER {
                        return Ok(true);
                    }
                }
            }
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        match self.left {
            0 => self.receive_head(cx),
            left => self.receive_piece(left, cx),
        }
    }

    /// A head, and what comes with it, is read where all connections of the thread read.
    fn receive_head(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let Some(stream) = &mut self.stream else { return Err(Cause::Ended) };
        let mut buffer = scratch::take();
        let came = came(scratch::read_into(stream, cx, &mut buffer));
        let entity = came.and_then(|came| if came { self.decode(&buffer).map(Some) } else { Ok(None) });
        if let Ok(Some(entity)) = &entity
            && !entity.is_empty()
        {
            self.piece = Some(if entity.len() >= PIECE / 2 {
                // Its reader gets the buffer rather than a copy.
                buffer.truncate(entity.end);
                buffer.advance(entity.start);
                std::mem::take(&mut buffer).freeze()
            } else {
                Bytes::copy_from_slice(&buffer[entity.clone()])
            });
        }
        scratch::put(buffer);
        entity.map(|entity| entity.is_some())
    }

    /// In the middle of an entity nothing but its bytes is read, where its reader gets them.
    fn receive_piece(&mut self, left: u64, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let Some(stream) = &mut self.stream else { return Err(Cause::Ended) };
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if !came(scratch::read_piece(stream, cx, &mut self.buffer, left))? {
            return Ok(false);
        }
        let piece = self.buffer.split().freeze();
        self.decode(&piece)?;
        self.piece = Some(piece);
        Ok(true)
    }

    /// Takes in what has come, and tells where in it the bytes of the answer's entity are.
    fn decode(&mut self, came: &[u8]) -> Result<Range<usize>, Cause> {
        let mut input = came;
        let mut heads = 0;
        let mut entity = 0..0;
        while let Some(event) = self.decoder.next(&mut input) {
            match event.map_err(Cause::Decode)? {
                Event::Head(head) => {
                    heads += 1;
                    if head.code().is_request() || self.complete || heads > 1 {
                        return Err(Cause::Unexpected);
                    }
                    self.packet = Some(head.to_packet().map_err(Cause::Decode)?);
                    self.len = head.entity_len() as u64;
                    self.left = self.len;
                }
                Event::Entity(bytes) => {
                    self.left -= bytes.len() as u64;
                    let end = came.len() - input.len();
                    entity = end - bytes.len()..end;
                }
                Event::End => self.complete = true,
            }
        }
        Ok(entity)
    }

    /// The transfer has ended: its connection is kept, if it is clean.
    fn end(&mut self) {
        if let Some(stream) = self.stream.take()
            && self.body.is_none()
            && self.outbox.is_empty()
            && self.lost.is_none()
            && self.decoder.pending() == 0
        {
            let outbox = std::mem::take(&mut self.outbox).emptied();
            let timer = std::mem::take(&mut self.timer);
            let (until, sent, own) = (Instant::now() + IDLE_TIME, self.sent, self.serial.is_some());
            self.transfers.keep(Idle { stream, outbox, timer, until, sent, own });
        }
    }
}

impl Moving {
    /// Nobody waits for the rest. To a peer that knows the request by a serial that can be said; to any other the
    /// connection is reset, since it would take an end in order for that of the requests alone.
    fn give_up(&mut self) {
        if self.complete && self.body.is_none() && self.outbox.is_empty() {
            // All of it is over, whether or not its reader has seen the end.
            return self.end();
        }
        let Some(mut stream) = self.stream.take() else { return };
        let whole = self.body.is_none() && self.outbox.is_empty() && !self.complete;
        if let (Some(serial), true) = (self.serial, whole) {
            let cancel = Packet::new(extension::CANCEL).with(key::SERIAL, serial);
            let own = extension::own(self.transfers.terms.dialect);
            self.outbox.push(cancel.to_bytes(own).unwrap_or_default());
            // There is room for so little, or the peer takes nothing, and then nothing can be said to it.
            let _ = self.outbox.poll_write(&mut stream, &mut Context::from_waker(Waker::noop()));
        } else {
            self.transfers.connector.reset(stream);
        }
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl futures_util::Stream for Moving {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(piece) = this.piece.take() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if this.complete {
                this.end();
                return Poll::Ready(None);
            }
            if let Err(cause) = ready!(this.poll_move(cx)) {
                this.give_up();
                return Poll::Ready(Some(Err(match cause {
                    Cause::Body(error) => error,
                    _ => BodyError::Cut { missing: this.left },
                })));
            }
        }
    }
}
