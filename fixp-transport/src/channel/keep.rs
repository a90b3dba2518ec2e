//! A channel over KEEP UDP: the same calls and limits, and no connection.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fixp_codec::{Dialect, Packet};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::drive::EXIT_TIME;
use super::{CallOptions, ChannelStats, Config, Outcome, Repeat, after};
use crate::body::Body;
use crate::bulk::Transferred;
use crate::error::{CallError, Cause};
use crate::keep::caller::Options;
use crate::keep::{Client, Pending};
use crate::limits::ChannelLimits;
use crate::socket::Bind;

/// The bytes of one permit.
const UNIT: usize = 256;
/// What a request costs its client at most beside its bytes.
const REQUEST_COST: usize = 1 << 10;

/// The channel's part that is not the client's.
pub(super) struct KeepChannel {
    client: Client,
    peer: SocketAddr,
    dialect: &'static Dialect,
    ordered: bool,
    timeout: Duration,
    limits: ChannelLimits,
    /// Room for requests, and for their bytes.
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    taken: AtomicU64,
    answered: AtomicU64,
    waiting: Arc<AtomicU64>,
    closing: AtomicBool,
}

/// A request's room.
type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// A request that was handed over. Dropping it cancels the request.
pub(super) enum Placed {
    /// It has room.
    Begun { channel: Arc<KeepChannel>, pending: Pending, _room: Permits },
    /// It waits for it.
    Waiting(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

impl Future for Placed {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        Poll::Ready(match &mut *self {
            Self::Begun { channel, pending, .. } => {
                let outcome = ready!(Pin::new(pending).poll(cx));
                channel.answered.fetch_add(outcome.is_ok().into(), Relaxed);
                outcome
            }
            Self::Waiting(waiting) => ready!(waiting.as_mut().poll(cx)),
        })
    }
}

/// Counts one that waits for room for as long as it lives.
struct Waits(Arc<AtomicU64>);

impl Waits {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl KeepChannel {
    pub(super) fn new<B: Bind>(config: Config, peer: SocketAddr, sockets: B) -> Self {
        let Config { dialect, extensions, ordered, depth, timeout, limits, seed, .. } = config;
        let requests = limits.requests.clamp(1, Semaphore::MAX_PERMITS);
        let builder =
            Client::builder().dialect(dialect).extensions(extensions).timeout(timeout).configure(|config| {
                config.exchanges = depth;
                config.ports = config.ports.max(depth);
                config.requests = requests;
                // Half of it is for requests, so that none is refused that has room here.
                let held = limits.bytes.saturating_add(requests.saturating_mul(REQUEST_COST));
                config.bytes = config.bytes.max(held.saturating_mul(2)).max(limits.entity.saturating_mul(2));
                config.exchange.bounds.entity = limits.bytes.max(limits.entity);
                config.own.gather_answers = limits.entity as u64;
                config.own.head = limits.head;
            });
        let builder = if let Some(seed) = seed { builder.random(seed) } else { builder };
        let (v4, v6) = if peer.is_ipv4() { (Some(sockets), None) } else { (None, Some(sockets)) };
        let units = limits.bytes.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            client: builder.sockets(v4, v6).build(),
            peer,
            dialect,
            ordered,
            timeout,
            requests: Arc::new(Semaphore::new(requests)),
            bytes: Arc::new(Semaphore::new(units)),
            taken: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            waiting: Arc::default(),
            closing: AtomicBool::new(false),
            limits,
        }
    }

    pub(super) const fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    pub(super) const fn limits(&self) -> &ChannelLimits {
        &self.limits
    }

    pub(super) fn place(
        self: &Arc<Self>,
        packet: Packet,
        size: usize,
        options: CallOptions,
        wait: bool,
    ) -> Result<Placed, CallError> {
        if self.is_closing() {
            return Err(CallError::not_sent(Cause::Closed));
        }
        if self.ordered {
            return Err(CallError::not_sent(Cause::NotOrdered));
        }
        let units = u32::try_from(size.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let time = options.timeout.unwrap_or(self.timeout);
        let request = Arc::clone(&self.requests).try_acquire_owned();
        let bytes =
            request.and_then(|request| Ok((request, Arc::clone(&self.bytes).try_acquire_many_owned(units)?)));
        match bytes {
            Ok(permits) => {
                let begun = self.begin(packet, time, options.repeat, permits)?;
                self.taken.fetch_add(1, Relaxed);
                Ok(begun)
            }
            Err(_) if !wait => Err(CallError::not_sent(Cause::Full)),
            Err(_) => {
                self.taken.fetch_add(1, Relaxed);
                let waits = Waits::new(&self.waiting);
                let (it, deadline) = (Arc::clone(self), after(Instant::now(), time));
                Ok(Placed::Waiting(Box::pin(async move {
                    let room = async {
                        let request = Arc::clone(&it.requests).acquire_owned().await.ok()?;
                        Some((request, Arc::clone(&it.bytes).acquire_many_owned(units).await.ok()?))
                    };
                    let permits = timeout_at(deadline, room).await;
                    let permits = permits.map_err(|_| CallError::not_sent(Cause::Timeout))?;
                    drop(waits);
                    let permits = permits.ok_or(CallError::not_sent(Cause::Closed))?;
                    let left = deadline.saturating_duration_since(Instant::now());
                    it.begin(packet, left, options.repeat, permits)?.await
                })))
            }
        }
    }

    fn begin(
        self: &Arc<Self>,
        packet: Packet,
        time: Duration,
        repeat: Repeat,
        room: Permits,
    ) -> Result<Placed, CallError> {
        let options = Options { timeout: Some(time), repeat, wait: true };
        let pending = self.client.place(self.peer, packet, options)?;
        Ok(Placed::Begun { channel: Arc::clone(self), pending, _room: room })
    }

    /// A transfer: it takes the place of a request to the end of its answer's body, and its bytes are bounded by the
    /// windows of the own transport.
    pub(super) async fn transfer(
        &self,
        head: Packet,
        body: Body,
        last: impl FnOnce(&mut Packet) + Send,
    ) -> Result<Transferred, CallError> {
        if self.is_closing() {
            return Err(CallError::not_sent(Cause::Closed));
        }
        let room = Arc::clone(&self.requests).acquire_owned();
        let Ok(room) = timeout(self.timeout, room).await.map_err(|_| CallError::not_sent(Cause::Timeout))?
        else {
            return Err(CallError::not_sent(Cause::Closed));
        };
        self.taken.fetch_add(1, Relaxed);
        let transferred = self.client.transfer_in(room, self.peer, head, body, last).await;
        self.answered.fetch_add(transferred.is_ok().into(), Relaxed);
        transferred
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    pub(super) fn stats(&self) -> ChannelStats {
        let stats = self.client.stats();
        let room = self.waiting.load(Relaxed);
        ChannelStats {
            requests: self.taken.load(Relaxed),
            answered: self.answered.load(Relaxed),
            late: stats.late,
            heartbeats: 0,
            connections: stats.opened,
            cuts: stats.lost,
            failures: 0,
            writes: stats.sent,
            bytes_written: stats.sent_bytes,
            bytes_read: stats.received_bytes,
            in_flight: (stats.in_flight - stats.waiting) as u64,
            queued: stats.waiting as u64 + room,
        }
    }

    /// Waits for what is under way, says EXIT, and closes the sockets.
    pub(super) async fn close(&self) {
        self.closing.store(true, Relaxed);
        let all = u32::try_from(self.limits.requests.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        // Those who wait for room come first.
        let ended = timeout(self.timeout, self.requests.acquire_many(all)).await;
        if ended.is_ok() && self.client.stats().sent > 0 {
            // Whether it is answered is of no interest any more.
            let _ = timeout(EXIT_TIME, self.client.exit(self.peer)).await;
        }
        self.requests.close();
        self.client.close();
        self.client.closed().await;
    }
}

/// The last one to go ends the channel.
pub(super) struct KeepHandle(pub(super) Arc<KeepChannel>);

impl Drop for KeepHandle {
    fn drop(&mut self) {
        if self.0.closing.swap(true, Relaxed) {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) => {
                let channel = Arc::clone(&self.0);
                runtime.spawn(async move { channel.close().await });
            }
            Err(_) => self.0.client.close(),
        }
    }
}
