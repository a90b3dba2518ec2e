//! Runs an exchange on tokio: one task for all sockets of a client.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use fixp_codec::{Dialect, LAXCUS6, Packet, laxcus6};
use foldhash::{HashMap, HashMapExt};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio::time::Sleep;

use super::bind_ip;
use super::exchange::{Action, Config, Exchange, Options, Outcome, Port, Repeat, Security, Ticket, Transmit};
use super::stats::Stats;
use crate::socket::{Bind, Datagrams, Inbox, UdpBinder};
use crate::{CallError, Cause, tables};

/// Makes a [`Client`].
#[derive(Clone, Debug)]
pub struct Builder<B = UdpBinder> {
    config: Config,
    v4: Option<B>,
    v6: Option<B>,
    random: Option<u64>,
}

impl<B: Bind> Builder<B> {
    /// The dialect of all peers; laxcus6 if nothing is said.
    #[must_use]
    pub const fn dialect(mut self, dialect: &'static Dialect) -> Self {
        self.config.dialect = dialect;
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

    /// Where the serials begin, for tests: a number that others know lets them forge answers.
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
        let exchange = Exchange::new(self.config, self.random.unwrap_or_else(rand::random));
        let shared = Arc::new(Shared {
            core: Mutex::new(Core {
                exchange,
                callers: HashMap::new(),
                sockets: Vec::new(),
                blocked: None,
                armed: None,
                closed: false,
            }),
            waker: AtomicWaker::new(),
        });
        let driver = Driver {
            shared: Arc::clone(&shared),
            v4: self.v4.map(Arc::new),
            v6: self.v6.map(Arc::new),
            sockets: Vec::new(),
            opening: FuturesUnordered::new(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
        };
        tokio::spawn(driver.run());
        Client { closer: Arc::new(Closer { shared }) }
    }
}

impl Builder<UdpBinder> {
    fn new() -> Self {
        Self {
            config: Config { source: bind_ip::by_route, ..Config::new(&LAXCUS6) },
            v4: Some(UdpBinder::new((Ipv4Addr::UNSPECIFIED, 0).into())),
            v6: Some(UdpBinder::new((Ipv6Addr::UNSPECIFIED, 0).into())),
            random: None,
        }
    }
}

/// Sends requests and notices to any number of peers. Clones share its sockets; when the last is dropped, they
/// are closed.
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

    /// Sends a request once, and waits for its answer. Dropping the future gives the request up.
    ///
    /// The answer is as it was read, CONTENT_LENGTH included, without anything of ours.
    ///
    /// # Errors
    ///
    /// - [`Cause::Timeout`]: no answer in time;
    /// - [`Cause::TooLarge`], [`Cause::Encode`]: not a datagram of the dialect;
    /// - [`Cause::Full`]: the limits of [`Config`] are reached;
    /// - [`Cause::Connect`]: no port could be opened, or it did not take the datagram;
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
        let outcome = self.run(|exchange, now| exchange.request(now, peer, packet, options)).await?;
        // Only notices end with nothing.
        outcome.ok_or(CallError::possibly_executed(Cause::Unexpected))
    }

    /// Sends something that has no answer, and waits until the socket has taken it.
    ///
    /// # Errors
    ///
    /// Those of [`Client::request`].
    pub async fn notice(&self, peer: SocketAddr, packet: Packet) -> Result<(), CallError> {
        let options = Options::default();
        self.run(|exchange, now| exchange.notice(now, peer, packet, options)).await.map(drop)
    }

    /// Says EXIT to a peer, three times at most, and gives its answer: it forgets what it keeps of us.
    ///
    /// # Errors
    ///
    /// Those of [`Client::request`].
    pub async fn exit(&self, peer: SocketAddr) -> Result<Packet, CallError> {
        let (code, every) = {
            let config = self.lock();
            let config = config.exchange.config();
            (tables::of(config.dialect).exit, config.query_every)
        };
        let repeat = Repeat::Harmless { times: 2, every };
        let options = Options { repeat, timeout: Some(every.saturating_mul(3)), ..Options::default() };
        self.request_with(peer, Packet::new(code), options).await
    }

    /// Says EMPTY_OPERATE to a laxcus6 peer: nothing, so that a NAT between keeps its mapping.
    ///
    /// # Errors
    ///
    /// Those of [`Client::request`].
    pub async fn empty(&self, peer: SocketAddr) -> Result<(), CallError> {
        let packet = Packet::new(laxcus6::notify::EMPTY_OPERATE);
        self.notice(peer, packet.with(laxcus6::key::SPEAK, "helo, laxcus server!")).await
    }

    /// The dialect that it speaks.
    #[must_use]
    pub fn dialect(&self) -> &'static Dialect {
        self.lock().exchange.config().dialect
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lock().exchange.stats()
    }

    /// Closes the sockets; requests under way end by [`Cause::Closed`], as all later ones do.
    pub fn close(&self) {
        self.closer.shared.close();
    }

    async fn run(&self, begin: impl FnOnce(&mut Exchange, Instant) -> Result<Ticket, CallError>) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        let (ticket, left) = {
            let now = now();
            let mut core = self.lock();
            let ticket = begin(&mut core.exchange, now)?;
            core.callers.insert(ticket, sender);
            // Most datagrams leave at once, without another task between.
            core.transmit(now, &mut Context::from_waker(Waker::noop()));
            core.tell();
            (ticket, core.has_work())
        };
        let mut caller = Caller { shared: &self.closer.shared, ticket: Some(ticket) };
        if left {
            self.closer.shared.waker.wake();
        }
        let outcome = receiver.await;
        caller.ticket = None;
        // Without the task that runs the sockets nobody knows.
        outcome.unwrap_or(Err(CallError::possibly_executed(Cause::Closed)))
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

/// The clock of tokio, which a test can stop.
pub(crate) use crate::timer::now;

struct Core {
    exchange: Exchange,
    callers: HashMap<Ticket, oneshot::Sender<Outcome>>,
    sockets: Vec<(Port, Arc<dyn Datagrams>)>,
    /// What a socket has not taken yet.
    blocked: Option<Transmit>,
    /// When the task that runs the sockets looks at the time by itself.
    armed: Option<Instant>,
    closed: bool,
}

struct Shared {
    core: Mutex<Core>,
    /// Wakes the task that runs the sockets.
    waker: AtomicWaker,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut core = self.lock();
        core.exchange.close(now());
        core.closed = true;
        core.sockets.clear();
        core.tell();
        drop(core);
        self.waker.wake();
    }
}

impl Core {
    /// Sends what there is to send.
    fn transmit(&mut self, now: Instant, cx: &mut Context<'_>) {
        loop {
            let next = self.blocked.take().or_else(|| self.exchange.poll_transmit(now));
            let Some(transmit) = next else { return };
            let socket = self.sockets.iter().find(|socket| socket.0 == transmit.port);
            let sent = match socket {
                Some((_, socket)) => match socket.poll_send_to(cx, &transmit.bytes, transmit.to) {
                    Poll::Pending => {
                        self.blocked = Some(transmit);
                        return;
                    }
                    Poll::Ready(sent) => sent.map(drop),
                },
                None => Err(io::ErrorKind::NotConnected.into()),
            };
            if let Err(error) = &sent {
                tracing::debug!(peer = %transmit.to, %error, "a datagram was not taken");
            }
            let sent = sent.map_err(|error| error.kind());
            self.exchange.handle_transmitted(now, &transmit, sent);
        }
    }

    /// Whether there is something that only the task with the sockets can do.
    fn has_work(&self) -> bool {
        let sooner = match (self.exchange.poll_timeout(), self.armed) {
            (Some(at), Some(armed)) => at < armed,
            (at, _) => at.is_some(),
        };
        sooner || self.blocked.is_some() || self.exchange.wants_action()
    }

    /// Tells the callers whose requests have ended.
    fn tell(&mut self) {
        while let Some((ticket, outcome)) = self.exchange.poll_event() {
            if let Some(caller) = self.callers.remove(&ticket) {
                // A caller that has gone has nothing to be told.
                let _ = caller.send(outcome);
            }
        }
    }
}

/// Closes when the last client is dropped.
struct Closer {
    shared: Arc<Shared>,
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Gives the request up when its future is dropped.
struct Caller<'a> {
    shared: &'a Shared,
    ticket: Option<Ticket>,
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let mut core = self.shared.lock();
            if core.callers.remove(&ticket).is_some() {
                core.exchange.cancel(now(), ticket);
            }
            drop(core);
            self.shared.waker.wake();
        }
    }
}

type Opening<S> = Pin<Box<dyn Future<Output = (Port, io::Result<S>)> + Send>>;

struct Driver<B: Bind> {
    shared: Arc<Shared>,
    v4: Option<Arc<B>>,
    v6: Option<Arc<B>>,
    sockets: Vec<(Port, Arc<dyn Datagrams>, Inbox)>,
    opening: FuturesUnordered<Opening<B::Socket>>,
    sleep: Pin<Box<Sleep>>,
}

/// The buffers of a port: two tell by one call of the system that nothing more has come.
const SLOTS: usize = 2;
/// Datagrams taken from one socket before the others have their turn.
const TURN: usize = 64;
/// Rounds before other tasks have theirs.
const ROUNDS: usize = 16;

/// However the task ends, nobody is left waiting.
impl<B: Bind> Drop for Driver<B> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<B: Bind> Driver<B> {
    async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.waker.register(cx.waker());
        let now = now();
        // It goes on beside what is borrowed of `self`.
        let shared = Arc::clone(&self.shared);
        for _ in 0..ROUNDS {
            // What these leave is done below: only what they may still have asks for another round.
            let mut again = self.poll_opening(cx);
            // One lock for all of it: callers wait for a few calls of the system at most.
            let mut core = shared.lock();
            again |= self.poll_receive(&mut core, now, cx);
            if core.closed {
                return Poll::Ready(());
            }
            core.exchange.handle_timeout(now);
            core.transmit(now, cx);
            core.tell();
            again |= self.act(&mut core);
            again |= self.poll_sleep(&mut core, now, cx);
            if !again {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> bool {
        let mut worked = false;
        while let Poll::Ready(Some((port, socket))) = self.opening.poll_next_unpin(cx) {
            worked = true;
            let local = socket.and_then(|socket| {
                let local = socket.local_addr()?;
                let socket: Arc<dyn Datagrams> = Arc::new(socket);
                self.shared.lock().sockets.push((port, Arc::clone(&socket)));
                self.sockets.push((port, socket, Inbox::new(SLOTS)));
                Ok(local)
            });
            if let Err(error) = &local {
                tracing::warn!(%error, "no port could be opened");
            }
            self.shared.lock().exchange.handle_bound(now(), port, local.map_err(|error| error.kind()));
        }
        worked
    }

    /// Takes what has come; tells whether there may be more.
    fn poll_receive(&mut self, core: &mut Core, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut more = false;
        let mut lost = None;
        for (port, socket, inbox) in &mut self.sockets {
            for turn in 1..=TURN {
                match inbox.poll_next(&**socket, cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok((from, bytes))) => {
                        core.exchange.handle_datagram(now, *port, from, bytes);
                    }
                    // Somebody's answer to an earlier datagram that nobody listens; it says not whose.
                    Poll::Ready(Err(error)) if transient(error.kind()) => {}
                    Poll::Ready(Err(error)) => {
                        tracing::warn!(%error, "a port is lost");
                        lost = Some((*port, error.kind()));
                        break;
                    }
                }
                more |= turn == TURN;
            }
        }
        if let Some((port, kind)) = lost {
            more = true;
            self.close(core, port);
            core.exchange.handle_port_lost(now, port, kind);
        }
        more
    }

    fn close(&mut self, core: &mut Core, port: Port) {
        self.sockets.retain(|socket| socket.0 != port);
        core.sockets.retain(|socket| socket.0 != port);
    }

    fn act(&mut self, core: &mut Core) -> bool {
        let mut worked = false;
        while let Some(action) = core.exchange.poll_action() {
            worked = true;
            match action {
                Action::Close(port) => self.close(core, port),
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

    /// Whether a deadline has come.
    fn poll_sleep(&mut self, core: &mut Core, now: Instant, cx: &mut Context<'_>) -> bool {
        let Some(at) = core.exchange.poll_timeout() else {
            // Whoever comes next has to wake this task.
            core.armed = None;
            return false;
        };
        // A timer that is early costs a look; one set anew for every request would cost more. One that is set
        // needs no look before its time.
        if core.armed.is_some_and(|armed| armed <= at && now < armed) && !self.sleep.is_elapsed() {
            return false;
        }
        if core.armed.is_none_or(|armed| at < armed) || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(tokio::time::Instant::from_std(at));
            core.armed = Some(at);
        }
        // Whatever this task has used of its turn: a timer that is not asked now wakes nobody.
        pin!(unconstrained(self.sleep.as_mut())).poll(cx).is_ready()
    }
}

/// Errors that say nothing of the socket itself.
pub(crate) const fn transient(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
        WouldBlock,
    };
    matches!(
        kind,
        ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | WouldBlock
    )
}
