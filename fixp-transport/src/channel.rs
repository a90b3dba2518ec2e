//! One socket per peer, kept open and used for all requests to it.
//!
//! ```
//! use fixp_codec::{LAXCUS6, Packet, laxcus6::{answer, notify}};
//! use fixp_transport::{Channel, Echo, Server};
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//!
//! let server = Server::builder(Echo).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
//!
//! let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
//! let log = Packet::new(notify::FLUSH_LOG).with_entity("it works");
//! let echo = channel.call(log).await.unwrap();
//! assert_eq!((echo.code, &echo.entity[..]), (answer::OKAY, &b"it works"[..]));
//! channel.close().await;
//! # });
//! ```

mod backoff;
mod drive;
mod keep;
pub(crate) mod ledger;
pub(crate) mod session;
#[cfg(feature = "tower")]
pub mod tower;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use fixp_codec::{Dialect, Encoder, Packet};
use futures_util::task::AtomicWaker;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::Instrument;

pub use crate::repeat::Repeat;
pub use ledger::CutReport;

use crate::body::Body;
use crate::bulk::{Transferred, Transfers};
use crate::error::{CallError, Cause};
use crate::keep::BatchedBinder;
use crate::limits::ChannelLimits;
use crate::socket::{Bind, Connect, TcpConnector};
use crate::tables;
use crate::timer;
use keep::{KeepChannel, KeepHandle};
use ledger::{MAX_REQUESTS, Outcome};
use session::Terms;

/// A channel to one peer. Clones share it; when the last one goes, it says EXIT and ends.
///
/// All requests go over one connection, which is made when it is needed and made anew when it is lost. To a
/// peer of ours many are under way at once and a slow answer holds back no other; but one connection carries one entity
/// at a time, and where a request or an answer is longer than the server gathers (256 KiB unless set) the others wait
/// until its handler has read it, or given it: what is large belongs to [`Channel::transfer`]. To another peer they go one
/// at a time, unless [`ChannelBuilder::depth`] says more, and a time-out closes the connection, since the late
/// answer would go to the wrong caller.
#[derive(Clone)]
pub struct Channel {
    way: Way,
}

/// How the peer is reached.
#[derive(Clone)]
enum Way {
    /// Over connections; a task has all of them.
    Stream { inner: Arc<Inner>, _open: Arc<OpenHandle> },
    /// Over KEEP UDP.
    Keep { channel: Arc<KeepChannel>, _open: Arc<KeepHandle> },
}

/// How a channel behaves.
#[derive(Clone)]
pub struct ChannelBuilder {
    config: Config,
}

#[derive(Clone)]
struct Config {
    dialect: &'static Dialect,
    extensions: bool,
    ordered: bool,
    announce_first: bool,
    depth: usize,
    timeout: Duration,
    connect_time: Duration,
    batch_delay: Duration,
    heartbeat: Option<Duration>,
    heartbeat_time: Duration,
    backoff: (Duration, Duration),
    limits: ChannelLimits,
    seed: Option<u64>,
    on_cut: Option<Arc<OnCut>>,
}

type OnCut = dyn Fn(&CutReport) + Send + Sync;

/// How one request behaves.
#[derive(Clone, Copy, Default, Debug)]
pub struct CallOptions {
    /// How long its caller waits, from the call to the answer; the channel's time unless it is given.
    pub timeout: Option<Duration>,
    /// What of it may be sent again.
    pub repeat: Repeat,
    /// What a [`CutReport`] calls it, so that its caller finds it there; 0 unless it is given.
    pub tag: u64,
}

/// What a channel has done so far, and what it is doing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Requests taken.
    pub requests: u64,
    /// Requests answered.
    pub answered: u64,
    /// Answers that came after their request was given up.
    pub late: u64,
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// Connections made.
    pub connections: u64,
    /// Connections lost.
    pub cuts: u64,
    /// Attempts to connect that failed.
    pub failures: u64,
    /// Writes to the socket: with [`ChannelStats::requests`] it tells how well requests are batched.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Requests that are under way now.
    pub in_flight: u64,
    /// Requests that wait to be sent now.
    pub queued: u64,
}

/// How the connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Down,
    Failed(Cause),
    Open,
    Closed,
}

struct Inner {
    /// Short locks only: what is to be done with the requests is the driver's business alone.
    inbox: Mutex<Inbox>,
    driver: AtomicWaker,
    ids: AtomicU64,
    status: watch::Sender<Status>,
    transfers: Arc<Transfers>,
    config: Config,
}

type Submission = ledger::Submission<oneshot::Sender<Outcome>>;

/// What callers leave for the driver.
struct Inbox {
    queue: Vec<Submission>,
    /// Requests for which there is no room yet, in their order.
    waiting: VecDeque<Submission>,
    /// No deadline of those is earlier.
    waiting_until: Option<Instant>,
    /// Ids of requests whose callers have gone.
    gone: Vec<u64>,
    /// The requests that have room, and their bytes.
    requests: usize,
    bytes: usize,
    stats: ChannelStats,
    /// When the channel is to be closed, at the latest.
    closing: Option<Instant>,
    closed: bool,
}

impl Inbox {
    fn has_room(&self, limits: &ChannelLimits, size: usize) -> bool {
        self.requests < limits.requests && self.bytes + size <= limits.bytes
    }

    fn enter(&mut self, submission: Submission) {
        self.requests += 1;
        self.bytes += submission.size;
        self.queue.push(submission);
    }
}

impl ChannelBuilder {
    /// Whether our extensions are announced; they are unless this says no.
    #[must_use]
    pub const fn extensions(mut self, extensions: bool) -> Self {
        self.config.extensions = extensions;
        self
    }

    /// An ordered channel: requests are executed one after the other, in the order of the calls, each exactly
    /// once, over one connection after another if need be. The peer must be one of ours, else every request
    /// fails with [`Cause::NotOrdered`].
    #[must_use]
    pub const fn ordered(mut self) -> Self {
        self.config.ordered = true;
        self
    }

    /// Announces our extensions before the first request, so that this may be one of our own commands. Where
    /// connections begin with SECURE_QUERY that is so anyway; in lexst1 the channel says an OKAY that nobody asked
    /// for, which a peer of another make drops without a word (SPEC 10.2).
    #[must_use]
    pub const fn announce_first(mut self) -> Self {
        self.config.announce_first = true;
        self
    }

    /// How many requests are under way to a peer of another make, 1 unless this says more. Both recorded
    /// programs take any number and answer in order.
    #[must_use]
    pub const fn depth(mut self, depth: usize) -> Self {
        self.config.depth = if depth == 0 { 1 } else { depth };
        self
    }

    /// How long a caller waits, 30 s unless this or [`CallOptions`] says otherwise.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// How long making a connection may take, with its greeting; 10 s.
    #[must_use]
    pub const fn connect_time(mut self, time: Duration) -> Self {
        self.config.connect_time = timer::bounded(time);
        self
    }

    /// How long a request may wait for company while others are under way; 0: whatever is there when the
    /// socket is free goes together. On an idle socket nothing ever waits.
    #[must_use]
    pub const fn batch_delay(mut self, delay: Duration) -> Self {
        self.config.batch_delay = timer::bounded(delay);
        self
    }

    /// After how much silence an idle connection is tried (30 s; nothing for never), and how long the answer
    /// may take (10 s). A peer of ours is asked by our own PING, laxcus6 by TEST; lexst1 has no request for
    /// it, and TCP's keep-alive does it, in whole seconds, where the connections are TCP's
    /// ([`Connect::set_keep_alive`]).
    /// A peer that takes nothing of a large request for both times together is taken to be gone, too, whatever its
    /// handler is doing.
    #[must_use]
    pub const fn heartbeat(mut self, after: Option<Duration>, time: Duration) -> Self {
        self.config.heartbeat = match after {
            Some(after) => Some(timer::bounded(after)),
            None => None,
        };
        self.config.heartbeat_time = timer::bounded(time);
        self
    }

    /// The first and the longest pause between attempts to connect, 100 ms and 10 s; it doubles, and each is
    /// shortened by chance to between a half and all of it, so that a thousand clients do not come at once.
    #[must_use]
    pub const fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.config.backoff = (timer::bounded(first), timer::bounded(longest));
        self
    }

    /// What the channel holds at most.
    #[must_use]
    pub const fn limits(mut self, limits: ChannelLimits) -> Self {
        self.config.limits = limits;
        self
    }

    /// The seed of the channel's chances, for tests that are to run the same again.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.config.seed = Some(seed);
        self
    }

    /// Called each time a connection is lost, with what is known of its requests.
    #[must_use]
    pub fn on_cut(mut self, report: impl Fn(&CutReport) + Send + Sync + 'static) -> Self {
        self.config.on_cut = Some(Arc::new(report));
        self
    }

    /// A channel that has connected over TCP.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub async fn connect(self, peer: SocketAddr) -> Result<Channel, CallError> {
        let channel = self.open(TcpConnector::new(peer));
        channel.ready().await?;
        Ok(channel)
    }

    /// A channel over [KEEP UDP](crate::keep), to a server's UDP port. Must be called where a tokio runtime is.
    ///
    /// There is nothing to connect, so it is always [ready](Channel::ready); a peer of another make has as many
    /// requests under way as [`ChannelBuilder::depth`] says, each from a port that no other has. Calls, limits and counters
    /// are those of every channel: connections are the associations of the own transport, writes are datagrams. An
    /// answer has no CONTENT_LENGTH, which no piece has of the whole.
    /// What is about connections alone has no meaning here: time to connect, back-off, batches, heartbeats,
    /// [`ChannelBuilder::on_cut`]. [Transfers](Channel::transfer) are those of [`keep::Client`](crate::keep::Client::transfer):
    /// in pieces to a peer of ours. A channel that is [ordered](ChannelBuilder::ordered) refuses all calls by
    /// [`Cause::NotOrdered`]: SPEC 10.5 has order over TCP only.
    #[must_use]
    pub fn keep_udp(self, peer: SocketAddr) -> Channel {
        let any: std::net::IpAddr = match peer {
            SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        self.keep_udp_over(peer, BatchedBinder::new((any, 0).into()))
    }

    /// The same over other sockets.
    pub fn keep_udp_over(self, peer: SocketAddr, sockets: impl Bind) -> Channel {
        let channel = Arc::new(KeepChannel::new(self.config, peer, sockets));
        Channel { way: Way::Keep { _open: Arc::new(KeepHandle(Arc::clone(&channel))), channel } }
    }

    /// A channel that connects when it is needed. Must be called where a tokio runtime is.
    pub fn open(self, mut connector: impl Connect) -> Channel {
        let mut config = self.config;
        config.limits.requests = config.limits.requests.clamp(1, MAX_REQUESTS / 4);
        // A batch is a request at least.
        config.limits.batch = config.limits.batch.max(1);
        let seed = config.seed.unwrap_or_else(rand::random);
        let (status, _) = watch::channel(Status::Down);
        if let (Some(after), None) = (config.heartbeat, tables::of(config.dialect).test) {
            connector.set_keep_alive(after, config.heartbeat_time);
        }
        let connector = Arc::new(connector);
        let terms = Terms {
            dialect: config.dialect,
            // Without them there is no order.
            extensions: config.extensions || config.ordered,
            announce_first: config.ordered || config.announce_first,
            ordered: config.ordered,
            head: config.limits.head,
            entity: config.limits.entity,
        };
        let transfers = Transfers::new(Arc::clone(&connector), terms, config.connect_time, config.timeout);
        let inner = Arc::new(Inner {
            inbox: Mutex::new(Inbox {
                queue: Vec::new(),
                waiting: VecDeque::new(),
                waiting_until: None,
                gone: Vec::new(),
                requests: 0,
                bytes: 0,
                stats: ChannelStats::default(),
                closing: None,
                closed: false,
            }),
            driver: AtomicWaker::new(),
            ids: AtomicU64::new(1),
            status,
            transfers: Arc::new(transfers),
            config,
        });
        let span = tracing::debug_span!("channel", peer = %connector.peer());
        tokio::spawn(drive::run(Arc::clone(&inner), connector, terms, seed).instrument(span));
        Channel { way: Way::Stream { _open: Arc::new(OpenHandle(Arc::clone(&inner))), inner } }
    }
}

impl Channel {
    /// The settings of a channel in this dialect.
    #[must_use]
    pub fn builder(dialect: &'static Dialect) -> ChannelBuilder {
        ChannelBuilder {
            config: Config {
                dialect,
                extensions: true,
                ordered: false,
                announce_first: false,
                depth: 1,
                timeout: Duration::from_secs(30),
                connect_time: Duration::from_secs(10),
                batch_delay: Duration::ZERO,
                heartbeat: Some(Duration::from_secs(30)),
                heartbeat_time: Duration::from_secs(10),
                backoff: (Duration::from_millis(100), Duration::from_secs(10)),
                limits: ChannelLimits::default(),
                seed: None,
                on_cut: None,
            },
        }
    }

    /// The dialect that it speaks.
    #[must_use]
    pub fn dialect(&self) -> &'static Dialect {
        match &self.way {
            Way::Stream { inner, .. } => inner.config.dialect,
            Way::Keep { channel, .. } => channel.dialect(),
        }
    }

    /// Sends a request and waits for its answer, and before that, if the channel is full, for room in it.
    /// Dropping the future cancels the request.
    ///
    /// # Errors
    ///
    /// Why there is no answer, and whether the request may have been executed.
    pub async fn call(&self, packet: Packet) -> Result<Packet, CallError> {
        self.call_with(packet, CallOptions::default()).await
    }

    /// As [`Channel::call`], with options.
    ///
    /// # Errors
    ///
    /// Those of [`Channel::call`].
    pub async fn call_with(&self, packet: Packet, options: CallOptions) -> Result<Packet, CallError> {
        let span = tracing::trace_span!("call", code = %packet.code);
        self.place(packet, options, true)?.instrument(span).await
    }

    /// Sends a request if there is room for it now; the future then waits for the answer.
    ///
    /// # Errors
    ///
    /// [`Cause::Full`] at once when there is no room.
    pub fn try_call(
        &self,
        packet: Packet,
        options: CallOptions,
    ) -> Result<impl Future<Output = Result<Packet, CallError>> + Send + use<>, CallError> {
        self.place(packet, options, false)
    }

    /// Sends a request with a large entity, and gets an answer with one, over a connection of its own, in
    /// pieces. There is no limit in time but that something has to move: after the channel's time without a
    /// byte either way it ends. [`Body::paced`] holds it under a rate. Dropping the future, or the body of the
    /// answer, ends it, and its connection, by a reset where that can be done ([`Connect::reset`]): a server of ours then ends
    /// the work. It has no place on an ordered channel, and is never repeated.
    ///
    /// # Errors
    ///
    /// Why there is no answer; what breaks off behind the answer's head, its body tells.
    pub async fn transfer(&self, head: Packet, body: Body) -> Result<Transferred, CallError> {
        self.transfer_with(head, body, |_| {}).await
    }

    /// The same, where something is to stand in the request that is not known before it leaves: how long its answer is
    /// still waited for, say. What is called last is not called where there is no connection for it; over KEEP UDP it
    /// is called before the association is there.
    ///
    /// # Errors
    ///
    /// Those of [`Channel::transfer`].
    pub async fn transfer_with(
        &self,
        head: Packet,
        body: Body,
        last: impl FnOnce(&mut Packet) + Send,
    ) -> Result<Transferred, CallError> {
        let inner = match &self.way {
            Way::Stream { inner, .. } => inner,
            Way::Keep { channel, .. } => return channel.transfer(head, body, last).await,
        };
        if inner.is_closing() {
            return Err(CallError::not_sent(Cause::Closed));
        }
        Arc::clone(&inner.transfers).transfer(head, body, last).await
    }

    /// Waits until the channel is connected.
    ///
    /// # Errors
    ///
    /// Why it is not, as soon as an attempt has failed.
    pub async fn ready(&self) -> Result<(), CallError> {
        let inner = match &self.way {
            Way::Stream { inner, .. } => inner,
            Way::Keep { channel, .. } if channel.is_closing() => {
                return Err(CallError::not_sent(Cause::Closed));
            }
            Way::Keep { .. } => return Ok(()),
        };
        let mut status = inner.status.subscribe();
        // What failed before says nothing of the next attempt.
        inner.status.send_if_modified(|status| {
            let failed = matches!(status, Status::Failed(_));
            if failed {
                *status = Status::Down;
            }
            failed
        });
        inner.driver.wake();
        let found = status.wait_for(|status| !matches!(status, Status::Down)).await.map(|status| *status);
        match found {
            Ok(Status::Open) => Ok(()),
            Ok(Status::Failed(cause)) => Err(CallError::not_sent(cause)),
            _ => Err(CallError::not_sent(Cause::Closed)),
        }
    }

    /// What it has done, and is doing.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        match &self.way {
            Way::Stream { inner, .. } => inner.lock().stats,
            Way::Keep { channel, .. } => channel.stats(),
        }
    }

    /// Ends the channel in order: what is under way is waited for, within the channel's time, EXIT is said,
    /// and the connection closed; so are those that are kept for transfers. Further calls, of clones too, are refused.
    /// A transfer whose answer is still read goes on, and its connection ends with it.
    pub async fn close(self) {
        let inner = match &self.way {
            Way::Stream { inner, .. } => inner,
            Way::Keep { channel, .. } => return channel.close().await,
        };
        inner.begin_to_close();
        let mut status = inner.status.subscribe();
        // The sender lives as long as the channel does.
        let _ = status.wait_for(|status| *status == Status::Closed).await;
        inner.transfers.ended().await;
    }

    fn place(&self, packet: Packet, options: CallOptions, wait: bool) -> Result<Placed, CallError> {
        match &self.way {
            Way::Stream { inner, .. } => inner.place(packet, options, wait).map(Placed::Stream),
            Way::Keep { channel, .. } => {
                let size = size(&packet, channel.dialect(), channel.limits().bytes)?;
                channel.place(packet, size, options, wait).map(Placed::Keep)
            }
        }
    }
}

/// The bytes of a request, unless they are too many.
fn size(packet: &Packet, dialect: &'static Dialect, limit: usize) -> Result<usize, CallError> {
    let encoder = Encoder::new(crate::extension::own(dialect));
    let size = encoder.packet_len(packet).map_err(|error| CallError::not_sent(Cause::Encode(error)))?;
    if size > limit {
        return Err(CallError::not_sent(Cause::TooLarge { size, limit }));
    }
    Ok(size)
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// So long after this; a time that the clock cannot say is a year.
fn after(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or(now + Duration::from_secs(365 * 86400))
}

/// A request that was handed over. Dropping it cancels the request.
enum Placed {
    Stream(Submitted),
    Keep(keep::Placed),
}

impl Future for Placed {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut *self {
            Self::Stream(submitted) => Pin::new(submitted).poll(cx),
            Self::Keep(placed) => Pin::new(placed).poll(cx),
        }
    }
}

/// A request that is the driver's.
struct Submitted {
    inner: Arc<Inner>,
    id: u64,
    outcome: oneshot::Receiver<Outcome>,
    ended: bool,
}

impl Future for Submitted {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = std::task::ready!(Pin::new(&mut self.outcome).poll(cx));
        self.ended = true;
        // The driver ends every request before it goes, unless the whole runtime goes.
        Poll::Ready(outcome.unwrap_or(Err(CallError::possibly_executed(Cause::Closed))))
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        if !self.ended {
            self.inner.lock().gone.push(self.id);
            self.inner.driver.wake();
        }
    }
}

/// The last one to go ends the channel.
struct OpenHandle(Arc<Inner>);

impl Drop for OpenHandle {
    fn drop(&mut self) {
        self.0.begin_to_close();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        let inbox = self.lock();
        inbox.closed || inbox.closing.is_some()
    }

    fn place(
        self: &Arc<Self>,
        packet: Packet,
        options: CallOptions,
        wait: bool,
    ) -> Result<Submitted, CallError> {
        let config = &self.config;
        let size = size(&packet, config.dialect, config.limits.bytes)?;
        let since = Instant::now();
        let deadline = after(since, options.timeout.unwrap_or(config.timeout));
        let id = self.ids.fetch_add(1, Relaxed);
        let (waiter, outcome) = oneshot::channel();
        let submission = Submission {
            id,
            packet,
            size,
            since: since.into_std(),
            deadline: deadline.into_std(),
            repeat: options.repeat,
            tag: options.tag,
            waiter: Some(waiter),
        };
        let mut inbox = self.lock();
        if inbox.closed || inbox.closing.is_some() {
            return Err(CallError::not_sent(Cause::Closed));
        }
        // Those who wait come first.
        if inbox.waiting.is_empty() && inbox.has_room(&config.limits, size) {
            inbox.enter(submission);
        } else if wait {
            inbox.waiting_until = Some(inbox.waiting_until.map_or(deadline, |until| until.min(deadline)));
            inbox.waiting.push_back(submission);
        } else {
            return Err(CallError::not_sent(Cause::Full));
        }
        inbox.stats.requests += 1;
        drop(inbox);
        self.driver.wake();
        Ok(Submitted { inner: Arc::clone(self), id, outcome, ended: false })
    }

    fn begin_to_close(&self) {
        let mut inbox = self.lock();
        if inbox.closing.is_none() {
            inbox.closing = Some(after(Instant::now(), self.config.timeout));
        }
        drop(inbox);
        self.transfers.close();
        self.driver.wake();
    }
}
