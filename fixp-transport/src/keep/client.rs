//! Runs a caller on tokio: one task for all sockets of a client.

mod transfer;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use fixp_codec::{Dialect, LAXCUS6, Packet};
use foldhash::{HashMap, HashMapExt};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;

use self::transfer::Seen;
use super::caller::{Action, Caller, Config, Options, Outcome, Port, Stats, Ticket, Transmission};
use super::few::Few;
use crate::socket::{BatchedSocket, Bind, Datagrams, Inbox};
use crate::timer::{Timer, now};
use crate::udp::{Security, bind_ip, transient};
use crate::{CallError, Cause, Repeat, tables};

/// Opens sockets of the system that take many datagrams at once.
#[derive(Clone, Copy, Debug)]
pub struct BatchedBinder(SocketAddr);

impl BatchedBinder {
    /// Sockets on this address; with port 0, as it should be, each has a port of its own.
    #[must_use]
    pub const fn new(local: SocketAddr) -> Self {
        Self(local)
    }
}

impl Bind for BatchedBinder {
    type Socket = BatchedSocket;

    async fn bind(&self) -> io::Result<BatchedSocket> {
        BatchedSocket::bind(self.0)
    }
}

/// Makes a [`Client`].
#[derive(Clone, Debug)]
pub struct Builder<B = BatchedBinder> {
    config: Config,
    v4: Option<B>,
    v6: Option<B>,
    random: Option<u64>,
}

impl<B: Bind> Builder<B> {
    /// The dialect of all peers; laxcus6 if nothing is said.
    #[must_use]
    pub fn dialect(mut self, dialect: &'static Dialect) -> Self {
        self.config = self.config.in_dialect(dialect);
        self
    }

    /// Whether we announce ourselves; if nothing is said, we do.
    #[must_use]
    pub const fn extensions(mut self, on: bool) -> Self {
        self.config.extensions = on;
        self
    }

    /// How long a request may take unless it says otherwise; [`Config::TIMEOUT`] if nothing is said.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// Whether a laxcus6 client asks SECURE_QUERY first; if nothing is said, before each request.
    #[must_use]
    pub const fn security(mut self, security: Security) -> Self {
        self.config.security = security;
        self
    }

    /// Everything else that can be set.
    #[must_use]
    pub fn configure(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        self
    }

    /// What the first identity comes from, for tests: one that others know lets them forge answers.
    #[must_use]
    pub const fn random(mut self, random: u64) -> Self {
        self.random = Some(random);
        self
    }

    /// Other sockets: those for IPv4 peers, and those for IPv6 peers.
    #[must_use]
    pub fn sockets<C: Bind>(self, v4: Option<C>, v6: Option<C>) -> Builder<C> {
        Builder { config: self.config, v4, v6, random: self.random }
    }

    /// The client. Its sockets are opened when they are needed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn build(self) -> Client {
        let caller = Caller::new(self.config, self.random.unwrap_or_else(rand::random));
        let shared = Arc::new(Shared {
            core: Mutex::new(Core {
                caller,
                waiters: Few::default(),
                woken: Vec::new(),
                seen: HashMap::new(),
                sockets: Vec::new(),
                buffer: Vec::new(),
                segments: 1,
                blocked: None,
                armed: None,
                least: Timer::default().least(),
                closing: None,
                closed: false,
                driver: None,
            }),
            gone: Notify::new(),
        });
        let driver = Driver {
            shared: Arc::clone(&shared),
            v4: self.v4.map(Arc::new),
            v6: self.v6.map(Arc::new),
            sockets: Vec::new(),
            opening: FuturesUnordered::new(),
            timer: Timer::default(),
            inbox: Inbox::new(SLOTS),
            woken: Vec::new(),
        };
        tokio::spawn(driver.run());
        Client { closer: Arc::new(Closer { shared }) }
    }
}

impl Builder<BatchedBinder> {
    fn new() -> Self {
        Self {
            config: Config { source: bind_ip::by_route, ..Config::new(&LAXCUS6) },
            v4: Some(BatchedBinder::new((Ipv4Addr::UNSPECIFIED, 0).into())),
            v6: Some(BatchedBinder::new((Ipv6Addr::UNSPECIFIED, 0).into())),
            random: None,
        }
    }
}

/// Sends requests of any size to any number of peers over KEEP UDP. Clones share its sockets; when the last is
/// dropped, they are closed.
///
/// ```no_run
/// use fixp_codec::{LAXCUS6, Packet, laxcus6::notify};
/// use fixp_transport::keep::Client;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder().dialect(&LAXCUS6).build();
/// let server = "192.0.2.1:6600".parse()?;
/// let log = Packet::new(notify::FLUSH_LOG).with_entity(vec![7; 1 << 20]);
/// let answer = client.request(server, log).await?;
/// println!("{}", answer.code);
/// client.exit(server).await?;
/// # Ok(())
/// # }
/// ```
///
/// It has no notices: those are one datagram that nobody answers, which [`udp::Client`](crate::udp::Client) sends.
#[derive(Clone)]
pub struct Client {
    closer: Arc<Closer>,
}

impl Client {
    /// Makes a client of laxcus6 on sockets of the system, if nothing else is said.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Sends a request, and waits for its answer. Dropping the future gives the request up.
    ///
    /// The answer has neither CONTENT_LENGTH nor anything of pieces or of ours.
    ///
    /// # Errors
    ///
    /// - [`Cause::Timeout`]: no answer in time;
    /// - [`Cause::TooLarge`], [`Cause::Encode`]: not a packet of the dialect, or larger than the bounds;
    /// - [`Cause::Full`]: the limits of [`Config`] are reached;
    /// - [`Cause::Connect`]: no port could be opened, or it did not take the datagrams;
    /// - [`Cause::Security`]: the server wants a cipher;
    /// - [`Cause::Refused`]: one of our own servers has not executed it;
    /// - [`Cause::Lost`], [`Cause::Closed`]: the port broke, the client was closed.
    pub async fn request(&self, peer: SocketAddr, packet: Packet) -> Result<Packet, CallError> {
        self.request_with(peer, packet, Options::default()).await
    }

    /// The same with options.
    ///
    /// # Errors
    ///
    /// Those of [`Client::request`].
    pub async fn request_with(
        &self,
        peer: SocketAddr,
        packet: Packet,
        options: Options,
    ) -> Result<Packet, CallError> {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let ticket = self.begin(Waiter::Task(waker), peer, packet, options)?;
        Pending { closer: &*self.closer, ticket: Some(ticket), placed: true }.await
    }

    /// Says EXIT to a peer, three times at most, and gives its answer: it forgets what it keeps of us. It is one
    /// datagram, as both programs want it (Q15).
    ///
    /// # Errors
    ///
    /// Those of [`Client::request`].
    pub async fn exit(&self, peer: SocketAddr) -> Result<Packet, CallError> {
        let (code, every) = {
            let core = self.lock();
            let config = core.caller.config();
            (tables::of(config.dialect).exit, config.query_every)
        };
        let timeout = Some(every.saturating_mul(3));
        let options = Options { timeout, repeat: Repeat::Harmless, ..Options::default() };
        self.request_with(peer, Packet::new(code), options).await
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lock().caller.stats()
    }

    /// Requests under way end by [`Cause::Closed`], as all later ones do. The sockets are closed when peers of ours
    /// know of the end, which takes a round trip, or a second where they do not answer: see [`Client::closed`].
    pub fn close(&self) {
        self.closer.shared.close();
    }

    /// Waits until the sockets are closed.
    pub async fn closed(&self) {
        let shared = &self.closer.shared;
        loop {
            let gone = shared.gone.notified();
            if shared.lock().closed {
                return;
            }
            gone.await;
        }
    }

    /// Begins a request.
    pub(crate) fn place(
        &self,
        peer: SocketAddr,
        packet: Packet,
        options: Options,
    ) -> Result<Pending, CallError> {
        let ticket = self.begin(Waiter::Nobody, peer, packet, options)?;
        Ok(Pending { closer: Arc::clone(&self.closer), ticket: Some(ticket), placed: false })
    }

    fn begin(
        &self,
        waiter: Waiter,
        peer: SocketAddr,
        packet: Packet,
        options: Options,
    ) -> Result<Ticket, CallError> {
        let now = now();
        let mut core = self.lock();
        let ticket = core.caller.request(now, peer, packet, options)?;
        core.waiters.insert(ticket, waiter);
        self.closer.shared.leave(core, now);
        Ok(ticket)
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.closer.shared.lock()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A request under way. Dropping it gives the request up.
pub(crate) struct Pending<C: Deref<Target = Closer> = Arc<Closer>> {
    closer: C,
    ticket: Option<Ticket>,
    /// It has just been placed by the task that waits for it, which is told of its end.
    placed: bool,
}

impl<C: Deref<Target = Closer> + Unpin> Future for Pending<C> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        if std::mem::take(&mut self.placed) {
            return Poll::Pending;
        }
        let Some(ticket) = self.ticket else { return Poll::Ready(Err(UNKNOWN)) };
        let mut before = None;
        let polled = self.closer.shared.lock().poll_outcome(ticket, cx, &mut before);
        drop(before);
        let outcome = std::task::ready!(polled);
        self.ticket = None;
        Poll::Ready(outcome)
    }
}

impl<C: Deref<Target = Closer>> Drop for Pending<C> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut core = self.closer.shared.lock();
        let waiter = core.waiters.remove(ticket);
        // One that has ended is left alone.
        core.caller.cancel(now(), ticket);
        self.closer.shared.unlock(core, true);
        drop(waiter);
    }
}

/// Who waits for the end of a request, or that.
enum Waiter {
    Nobody,
    Task(Waker),
    Ended(Outcome),
}

/// How a request has ended that is not known any more.
const UNKNOWN: CallError = CallError::possibly_executed(Cause::Closed);

/// Transmissions that a caller hands to the socket by itself; the rest is the driver's.
const FIRST: usize = 4;
/// Transmissions before what has come is looked at: a peer asks for what it misses while a long request leaves.
const BURST: usize = 64;
/// How long peers of ours are told of the end.
const GOODBYE: Duration = Duration::from_secs(1);
/// Rounds before other tasks have theirs, in each of which a socket gives what it has at once.
const ROUNDS: usize = 16;
/// Buffers for what comes: 256 KiB, one after the other for all sockets.
const SLOTS: usize = 4;

struct Core {
    caller: Caller,
    waiters: Few<Ticket, Waiter>,
    /// Tasks that are to be woken once this is not locked any more.
    woken: Vec<Waker>,
    /// What has become of transfers.
    seen: HashMap<Ticket, Seen>,
    sockets: Vec<(Port, Arc<dyn Datagrams>)>,
    /// The datagrams of a transmission, and how many of them the sockets take at once.
    buffer: Vec<u8>,
    segments: usize,
    /// What a socket has not taken yet of those in the buffer.
    blocked: Option<Blocked>,
    /// When the task that runs the sockets looks at the time by itself.
    armed: Option<Instant>,
    /// How soon after a look at the time the next one may be.
    least: Duration,
    /// Until when peers of ours may still be told of the end.
    closing: Option<Instant>,
    closed: bool,
    /// Wakes the task that runs the sockets, unless that has been done.
    driver: Option<Waker>,
}

#[derive(Clone, Copy)]
struct Blocked {
    transmission: Transmission,
    /// Bytes of the buffer that have been dealt with, and whether a datagram of them was taken.
    done: usize,
    taken: bool,
}

impl Core {
    /// Sends what there is to send, so many transmissions at most; tells whether there may be more.
    fn transmit(&mut self, now: Instant, cx: &mut Context<'_>, most: usize) -> bool {
        for _ in 0..most {
            let mut blocked = match self.blocked.take() {
                Some(blocked) => blocked,
                None => match self.caller.poll_transmit(now, &mut self.buffer, self.segments) {
                    Some(transmission) => Blocked { transmission, done: 0, taken: false },
                    None => return false,
                },
            };
            let socket = self.sockets.iter().find(|socket| socket.0 == blocked.transmission.port);
            let sent = match socket {
                Some((_, socket)) => match blocked.poll_send(socket.as_ref(), &self.buffer, cx) {
                    Poll::Pending => {
                        self.blocked = Some(blocked);
                        return false;
                    }
                    Poll::Ready(sent) => sent,
                },
                None => Err(io::ErrorKind::NotConnected),
            };
            self.caller.handle_transmitted(now, &blocked.transmission, self.buffer.len(), sent);
            if !self.caller.wants_transmit() {
                return false;
            }
        }
        true
    }

    /// Whether there is something that only the task with the sockets can do.
    fn has_work(&self) -> bool {
        let sooner = match (self.caller.poll_timeout(), self.armed) {
            (Some(at), Some(armed)) => at < armed,
            (at, _) => at.is_some(),
        };
        sooner || self.blocked.is_some() || self.caller.wants_action() || self.caller.wants_transmit()
    }

    /// When the task with the sockets is to look at the time.
    fn arm(&mut self, now: Instant) -> Option<Instant> {
        // Where nothing is due, whoever comes next has to wake it. What is due now is looked at once more, and not
        // without end. A timer that is early costs a look; one set anew for every request, and a task woken for
        // that, would cost more.
        let mut due = self.caller.poll_timeout();
        if let Some(closing) = self.closing {
            due = Some(due.map_or(closing, |at| at.min(closing)));
        }
        let early = self.armed.filter(|&armed| armed > now);
        self.armed = match (due, early) {
            (None, _) => None,
            (Some(at), Some(early)) if early <= at => Some(early),
            (Some(at), early) => {
                let at = at.max(now + self.least);
                Some(early.map_or(at, |early| early.min(at)))
            }
        };
        self.armed
    }

    /// Closes the sockets.
    fn end(&mut self) {
        self.caller.clear();
        (self.closed, self.closing, self.blocked) = (true, None, None);
        self.sockets.clear();
        self.tell();
    }

    /// Notes which requests have ended, and whom to tell.
    fn tell(&mut self) {
        while let Some((ticket, outcome)) = self.caller.poll_event() {
            // A caller that has gone has nothing to be told.
            if let Some(waiter) = self.waiters.get_mut(ticket)
                && let Waiter::Task(waker) = std::mem::replace(waiter, Waiter::Ended(outcome))
            {
                self.woken.push(waker);
            }
        }
        while let Some((ticket, flow)) = self.caller.poll_flow() {
            if let Some(seen) = self.seen.get_mut(&ticket) {
                self.woken.extend(seen.note(flow));
            }
        }
    }

    /// The end of a request, of which the task is told otherwise. Who was to be told before is dropped behind the lock.
    fn poll_outcome(
        &mut self,
        ticket: Ticket,
        cx: &Context<'_>,
        before: &mut Option<Waker>,
    ) -> Poll<Outcome> {
        match self.waiters.get_mut(ticket) {
            Some(Waiter::Task(waker)) if waker.will_wake(cx.waker()) => {}
            Some(Waiter::Task(waker)) => *before = Some(std::mem::replace(waker, cx.waker().clone())),
            Some(waiter @ Waiter::Nobody) => *waiter = Waiter::Task(cx.waker().clone()),
            Some(Waiter::Ended(_)) | None => {
                let ended = self.waiters.remove(ticket);
                return Poll::Ready(match ended {
                    Some(Waiter::Ended(outcome)) => outcome,
                    _ => Err(UNKNOWN),
                });
            }
        }
        Poll::Pending
    }
}

impl Blocked {
    /// Sends the datagrams one after the other. One that is refused is lost; only where all are is that told.
    fn poll_send(
        &mut self,
        socket: &dyn Datagrams,
        buffer: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), io::ErrorKind>> {
        let Transmission { to, segment, fragments, .. } = self.transmission;
        let mut last = Ok(());
        while let Some(rest) = buffer.get(self.done..).filter(|rest| !rest.is_empty()) {
            let (datagram, _) = rest.split_at(segment.clamp(1, rest.len()));
            let sent = if fragments {
                socket.poll_send_to(cx, datagram, to).map_ok(|_| datagram.len())
            } else {
                socket.poll_send_segments(cx, rest, segment.max(1), to)
            };
            match sent {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(sent)) => {
                    self.taken = true;
                    self.done += sent.max(1);
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!(peer = %to, %error, "a datagram was not taken");
                    last = Err(error.kind());
                    self.done += datagram.len();
                }
            }
        }
        Poll::Ready(if self.taken { Ok(()) } else { last })
    }
}

struct Shared {
    core: Mutex<Core>,
    /// Tells that the sockets are closed.
    gone: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut core = self.lock();
        if core.closed || core.closing.is_some() {
            return;
        }
        let now = now();
        core.caller.close(now);
        // Peers are told that nobody waits, as far as the sockets take it at once.
        core.transmit(now, &mut Context::from_waker(Waker::noop()), BURST);
        core.closing = Some(now + GOODBYE);
        self.end_if_due(&mut core, now);
        self.unlock(core, true);
    }

    /// Sends what there is, and wakes the task of the sockets for the rest.
    fn leave(&self, mut core: MutexGuard<'_, Core>, now: Instant) {
        // Most datagrams leave at once, without another task between.
        core.transmit(now, &mut Context::from_waker(Waker::noop()), FIRST);
        let left = core.has_work();
        self.unlock(core, left);
    }

    /// Tells all who are to be told; nothing is locked when they are woken.
    fn unlock(&self, mut core: MutexGuard<'_, Core>, driver: bool) {
        core.tell();
        let driver = if driver { core.driver.take() } else { None };
        let woken = if core.woken.is_empty() { Vec::new() } else { std::mem::take(&mut core.woken) };
        drop(core);
        woken.into_iter().chain(driver).for_each(Waker::wake);
    }

    /// Closes the sockets when that has been asked for, and peers know; tells whether they are closed.
    fn end_if_due(&self, core: &mut Core, now: Instant) -> bool {
        if core.closing.is_some_and(|until| until <= now || core.caller.is_drained()) {
            core.end();
            self.gone.notify_waiters();
        }
        core.closed
    }
}

/// Closes when the last client is dropped.
pub(crate) struct Closer {
    shared: Arc<Shared>,
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

type Opening<S> = Pin<Box<dyn Future<Output = (Port, io::Result<S>)> + Send>>;

struct Driver<B: Bind> {
    shared: Arc<Shared>,
    v4: Option<Arc<B>>,
    v6: Option<Arc<B>>,
    sockets: Vec<(Port, Arc<dyn Datagrams>)>,
    opening: FuturesUnordered<Opening<B::Socket>>,
    timer: Timer,
    inbox: Inbox,
    /// Whom the caller has told to be woken.
    woken: Vec<Waker>,
}

/// However the task ends, nobody is left waiting.
impl<B: Bind> Drop for Driver<B> {
    fn drop(&mut self) {
        let mut core = self.shared.lock();
        if !core.closed {
            core.caller.close(now());
            core.end();
        }
        self.shared.unlock(core, false);
        self.shared.gone.notify_waiters();
    }
}

impl<B: Bind> Driver<B> {
    async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut again = true;
        for _ in 0..ROUNDS {
            again |= self.poll_opening(cx);
            let (mut time, mut lost) = (None, Vec::new());
            let (came, core) =
                poll_receive(&self.shared, &self.sockets, &mut self.inbox, &mut time, &mut lost, cx);
            // What has come together has been dealt with before the sockets were asked whether there is more.
            if !(came || again) {
                return Poll::Pending;
            }
            let now = time.unwrap_or_else(now);
            let mut core = core.unwrap_or_else(|| self.shared.lock());
            for (port, kind) in lost {
                self.sockets.retain(|socket| socket.0 != port);
                core.sockets.retain(|socket| socket.0 != port);
                core.caller.handle_port_lost(now, port, kind);
            }
            if core.driver.as_ref().is_none_or(|driver| !driver.will_wake(cx.waker())) {
                core.driver = Some(cx.waker().clone());
            }
            core.caller.handle_timeout(now);
            again = core.transmit(now, cx, BURST);
            core.tell();
            let ended = self.shared.end_if_due(&mut core, now);
            let (acts, due) = (core.caller.wants_action(), core.arm(now));
            std::mem::swap(&mut core.woken, &mut self.woken);
            drop(core);
            self.woken.drain(..).for_each(Waker::wake);
            if ended {
                return Poll::Ready(());
            }
            again |= acts && self.act();
            again |= due.is_some_and(|at| self.timer.poll(now, at, cx).is_ready());
            if !(came || again) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> bool {
        let mut worked = false;
        while !self.opening.is_empty()
            && let Poll::Ready(Some((port, socket))) = self.opening.poll_next_unpin(cx)
        {
            worked = true;
            let mut buffer = None;
            let local = socket.and_then(|socket| {
                buffer = socket.buffers().map(|buffers| buffers.receive);
                let local = socket.local_addr()?;
                let socket: Arc<dyn Datagrams> = Arc::new(socket);
                let mut core = self.shared.lock();
                core.segments = core.segments.max(socket.max_segments());
                if buffer.is_some() {
                    // A socket of the system has its clock, too.
                    self.timer.make_fine();
                    core.least = self.timer.least();
                }
                core.sockets.push((port, Arc::clone(&socket)));
                drop(core);
                self.sockets.push((port, socket));
                Ok(local)
            });
            if let Err(error) = &local {
                tracing::warn!(%error, "no port could be opened");
            }
            let local = local.map_err(|error| error.kind());
            self.shared.lock().caller.handle_bound(now(), port, local, buffer);
        }
        worked
    }

    fn close(&mut self, port: Port) {
        self.sockets.retain(|socket| socket.0 != port);
        self.shared.lock().sockets.retain(|socket| socket.0 != port);
    }

    fn act(&mut self) -> bool {
        let mut worked = false;
        while let Some(action) = { self.shared.lock().caller.poll_action() } {
            worked = true;
            match action {
                Action::Close(port) => self.close(port),
                Action::Open { port, v6 } => {
                    let binder = if v6 { &self.v6 } else { &self.v4 }.clone();
                    self.opening.push(Box::pin(async move {
                        match binder {
                            Some(binder) => (port, binder.bind().await),
                            None => (port, Err(io::ErrorKind::Unsupported.into())),
                        }
                    }));
                }
            }
        }
        worked
    }
}

/// Takes what each socket has at once, and the lock that this takes stays. Tells whether there may be more, and adds the
/// sockets that are broken.
fn poll_receive<'a>(
    shared: &'a Shared,
    sockets: &[(Port, Arc<dyn Datagrams>)],
    inbox: &mut Inbox,
    time: &mut Option<Instant>,
    lost: &mut Vec<(Port, io::ErrorKind)>,
    cx: &mut Context<'_>,
) -> (bool, Option<MutexGuard<'a, Core>>) {
    let (mut came, mut core) = (false, None::<MutexGuard<'_, Core>>);
    for (port, socket) in sockets {
        // Others have their turn while the system is asked.
        core = None;
        // What has been received together is of one socket.
        while let Poll::Ready(received) = inbox.poll_next(socket.as_ref(), cx) {
            came = true;
            match received {
                Ok((from, bytes)) => {
                    // One look at the clock for those that came together.
                    let now = *time.get_or_insert_with(now);
                    let core = core.get_or_insert_with(|| shared.lock());
                    core.caller.handle_datagram(now, *port, from, bytes);
                }
                // Somebody's answer to an earlier datagram that nobody listens; it says not whose.
                Err(error) if transient(error.kind()) => {}
                Err(error) => {
                    tracing::warn!(%error, "a port is lost");
                    lost.push((*port, error.kind()));
                }
            }
            if inbox.is_empty() {
                break;
            }
        }
    }
    (came, core)
}
