//! The communications server: TCP and UDP on one port, and KEEP UDP beside the plain datagrams.
//!
//! ```
//! use std::time::Duration;
//! use fixp_transport::{Echo, Server};
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
//!
//! let server = Server::builder(Echo).bind("127.0.0.1:0".parse().unwrap()).start().await?;
//! assert_ne!(server.local_addr().unwrap().port(), 0);
//!
//! let report = server.shutdown(Duration::from_secs(5)).await;
//! assert_eq!(report.cut, 0);
//! # Ok::<(), fixp_transport::server::ServerError>(())
//! # }).unwrap();
//! ```

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::{Instrument, debug, debug_span, warn};

pub mod admission;
mod claim;
mod coming;
#[cfg(feature = "config")]
pub mod config;
pub(crate) mod connection;
mod datagrams;
mod drive;
pub mod network;
pub mod node;
pub(crate) mod ordered;
pub mod public_key;
mod running;
pub(crate) mod shared;
mod sniff;
#[cfg(feature = "tower")]
pub mod tower;

pub use admission::{AllowError, AllowList, Source, TurnedAway};
pub use node::{Membership, Node};
pub use public_key::{PublicKey, PublicKeyError};
pub use shared::{DialectChoice, ServerStats};

use admission::{Admission, Admitted};
use shared::{Counters, Shared};

use crate::handler::Handler;
use crate::host::Transport;
use crate::limits::{LimitError, ServerLimits};
use crate::rate::RateLimiter;
use crate::socket::{BatchedSocket, Datagrams};
use crate::udp::canonical;

/// Connections that the system completes before they are accepted.
const BACKLOG: i32 = 1024;
/// How often a TCP port that the system chose is given back because its UDP twin is taken.
const TWIN_TRIES: usize = 32;
/// How long nothing is accepted after the system refused to, at first and at most.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A running server. Dropping it ends everything at once; [`Server::shutdown`] lets it finish.
pub struct Server<H> {
    hub: Arc<Hub<H>>,
    addrs: Vec<SocketAddr>,
}

/// What the tasks of a server share.
struct Hub<H> {
    shared: Arc<Shared<H>>,
    admission: Arc<Admission>,
    stop: Stop,
}

/// Asks a server to stop: it accepts and reads nothing more, and finishes what it has begun.
///
/// It is given to [`Builder::stop`], and to whom else may ask, such as a [`Node`] for SHUTDOWN.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// A handle that has not been used.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Asks.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody has asked.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until somebody asks.
    pub async fn stopped(&self) {
        // The sender is here, so it cannot be gone.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

/// What came of a [shutdown](Server::shutdown).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Answers that went over TCP, and datagrams, after the server was told to stop.
    pub finished: u64,
    /// Requests that were being handled, or whose answers were not wholly sent, when the deadline came.
    pub cut: u64,
    /// Whether the deadline came before all had ended.
    pub late: bool,
    /// All that the server did.
    pub stats: ServerStats,
}

/// Why a server did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// A socket could not be had.
    Bind {
        /// Its address.
        addr: SocketAddr,
        /// Its transport.
        transport: Transport,
        /// Why.
        error: io::Error,
    },
    /// No key could be made.
    Key(PublicKeyError),
    /// A limit leaves no room for anything.
    Limit(LimitError),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { addr, transport, error } => write!(f, "{transport} {addr}: {error}"),
            Self::Key(error) => write!(f, "no public key: {error}"),
            Self::Limit(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { error, .. } => Some(error),
            Self::Key(error) => Some(error),
            Self::Limit(error) => Some(error),
        }
    }
}

/// A server that is being described.
#[derive(Debug)]
pub struct Builder<H> {
    handler: H,
    binds: Vec<SocketAddr>,
    ipv6_only: bool,
    dialect: DialectChoice,
    limits: ServerLimits,
    allow: AllowList,
    keep_allow: AllowList,
    key: Option<PublicKey>,
    key_bits: usize,
    extensions: bool,
    rate: Option<RateLimiter>,
    stop: Stop,
}

impl<H: Handler> Builder<H> {
    /// Listens here too, over TCP and UDP on the same port. With port 0 the system chooses one. `[::]` takes
    /// IPv4 as well, unless an IPv4 address is bound with it or [`Builder::ipv6_only`] says otherwise. Without any
    /// address the server serves only what is handed to it.
    #[must_use]
    pub fn bind(mut self, addr: SocketAddr) -> Self {
        self.binds.push(addr);
        self
    }

    /// Whether IPv6 addresses take IPv6 only, though no IPv4 address is bound with them. By default `[::]` takes both.
    #[must_use]
    pub const fn ipv6_only(mut self, on: bool) -> Self {
        self.ipv6_only = on;
        self
    }

    /// What peers speak. By default each is told by its packets, and is taken for laxcus6 where they do not
    /// tell.
    #[must_use]
    pub const fn dialect(mut self, dialect: DialectChoice) -> Self {
        self.dialect = dialect;
        self
    }

    /// What the server takes at most.
    #[must_use]
    pub fn limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// From whom connections and datagrams are taken; from others not a byte is answered. By default from
    /// everyone.
    #[must_use]
    pub fn allow(mut self, list: AllowList) -> Self {
        self.allow = list;
        self
    }

    /// Whose answers over UDP may be any number of times what they sent; those of others have a rate
    /// ([`ServerLimits::plain_rate`], and [`ServerLimits::keep_budget`] over KEEP UDP), since whoever sends may have
    /// forged its address. By default this machine's own.
    #[must_use]
    pub fn keep_allow(mut self, list: AllowList) -> Self {
        self.keep_allow = list;
        self
    }

    /// The key that laxcus6's clients are given. Without one the server makes one when it starts.
    #[must_use]
    pub fn public_key(mut self, key: PublicKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The modulus of the key that the server makes, in bits. By default [`PublicKey::DEFAULT_BITS`].
    #[must_use]
    pub const fn key_bits(mut self, bits: usize) -> Self {
        self.key_bits = bits;
        self
    }

    /// The rate of large entities, those that come and those that go together; also that of a node's
    /// channels, where they are given the same one ([`Body::paced`](crate::Body::paced)). By default there is
    /// none.
    #[must_use]
    pub fn bulk_rate(mut self, rate: RateLimiter) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Whether our [extensions](crate::extension) are announced to those who announce theirs. By default they
    /// are.
    #[must_use]
    pub const fn extensions(mut self, on: bool) -> Self {
        self.extensions = on;
        self
    }

    /// Who else may stop the server.
    #[must_use]
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    ///
    /// An address that cannot be bound, over TCP or over UDP, and a key that cannot be made; nothing goes on
    /// then.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time.
    pub async fn start(self) -> Result<Server<H>, ServerError> {
        self.limits.check().map_err(ServerError::Limit)?;
        let (key, bits) = (self.key, self.key_bits);
        let key = match key {
            Some(key) => key,
            // It takes a while, and nothing else may wait for it.
            None => tokio::task::spawn_blocking(move || PublicKey::generate(bits))
                .await
                .unwrap_or(Err(PublicKeyError::Primes))
                .map_err(ServerError::Key)?,
        };
        let v6_only = self.ipv6_only || self.binds.iter().any(SocketAddr::is_ipv4);
        let sockets: Vec<Twins> =
            self.binds.iter().map(|addr| bind(*addr, v6_only)).collect::<Result<_, _>>()?;
        let limits = &self.limits;
        let admission = Admission::new(self.allow, limits.connections, limits.connections_per_source);
        let limits = self.limits.bounded();
        let mut shared = Shared::new(self.handler, self.dialect, limits, key, self.extensions);
        shared.rate = self.rate;
        shared.keep_allow = self.keep_allow;
        let hub = Arc::new(Hub { shared: Arc::new(shared), admission, stop: self.stop });
        let mut addrs = Vec::new();
        for Twins { listener, socket, addr } in sockets {
            addrs.push(addr);
            hub.accept(listener);
            hub.serve_datagrams(socket, addr);
        }
        Ok(Server { hub, addrs })
    }
}

impl<H: Handler> Server<H> {
    /// Describes a server whose requests this handler answers.
    #[must_use]
    pub fn builder(handler: H) -> Builder<H> {
        Builder {
            handler,
            binds: Vec::new(),
            ipv6_only: false,
            dialect: DialectChoice::Told { default: &fixp_codec::LAXCUS6 },
            limits: ServerLimits::default(),
            allow: AllowList::everyone(),
            keep_allow: AllowList::loopback(),
            key: None,
            key_bits: PublicKey::DEFAULT_BITS,
            extensions: true,
            rate: None,
            stop: Stop::new(),
        }
    }

    /// The first of its addresses, nothing where it has none.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addrs.first().copied()
    }

    /// The addresses that it listens on, in the order in which they were bound.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let shared = &self.hub.shared;
        shared.counters.stats(&shared.budget, &shared.keep_ledger)
    }

    /// The handle that stops it.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.hub.stop.clone()
    }

    /// Serves a connection that somebody else has accepted.
    ///
    /// # Errors
    ///
    /// Why it was turned away, as one that the server accepts itself would be.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn serve_stream<S>(&self, stream: S, peer: SocketAddr, local: SocketAddr) -> Result<(), TurnedAway>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.hub.serve_stream(stream, peer, local)
    }

    /// Serves a socket for datagrams that somebody else has opened.
    ///
    /// # Errors
    ///
    /// Those of asking the socket for its address.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn serve_datagrams<S: Datagrams>(&self, socket: S) -> io::Result<()> {
        let local = socket.local_addr()?;
        self.hub.serve_datagrams(socket, local);
        Ok(())
    }

    /// Stops, finishes what has begun, and at the deadline cuts what has not ended. Last of all it waits for what the
    /// [handler](Handler::finished) still does.
    pub async fn shutdown(self, deadline: Duration) -> Report {
        let before = self.stats();
        let hub = &self.hub;
        hub.stop.stop();
        let ended = async {
            hub.shared.end.closed().await;
            hub.shared.handler.finished().await;
        };
        let late = tokio::time::timeout(deadline, ended).await.is_err();
        hub.shared.end.send_replace(true);
        hub.shared.end.closed().await;
        let after = self.stats();
        let sent = |stats: &ServerStats| stats.answers + stats.datagrams_sent;
        Report { finished: sent(&after) - sent(&before), cut: after.cut - before.cut, late, stats: after }
    }
}

impl<H> Drop for Server<H> {
    fn drop(&mut self) {
        self.hub.stop.stop();
        self.hub.shared.end.send_replace(true);
    }
}

impl<H> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addrs", &self.addrs).finish_non_exhaustive()
    }
}

impl<H: Handler> Hub<H> {
    // Each of these makes its future where it is run: one that is moved into another takes its room twice.

    fn accept(self: &Arc<Self>, listener: TcpListener) {
        let (hub, mut end) = (Arc::clone(self), self.shared.end.subscribe());
        tokio::spawn(async move {
            let stop = hub.stop.0.subscribe();
            let accepting = pin!(accept(listener, stop, |stream, peer| serve_accepted(&hub, stream, peer)));
            until(&mut end, accepting).await;
        });
    }

    fn serve_stream<S>(&self, stream: S, peer: SocketAddr, local: SocketAddr) -> Result<(), TurnedAway>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (peer, local) = (canonical(peer), canonical(local));
        let counters = &self.shared.counters;
        let admitted = self.admission.admit(peer.ip()).inspect_err(|why| {
            Counters::add(&counters.turned_away);
            debug!(%peer, "a connection was turned away: {why}");
        })?;
        Counters::add(&counters.accepted);
        Counters::add(&counters.open);
        let open = Open { shared: Arc::clone(&self.shared), _admitted: admitted };
        let (stop, mut end) = (self.stop.0.subscribe(), self.shared.end.subscribe());
        let task = async move {
            let connection = pin!(drive::serve(stream, peer, local, Arc::clone(&open.shared), stop));
            until(&mut end, connection).await;
        };
        tokio::spawn(task.instrument(debug_span!("connection", %peer)));
        Ok(())
    }

    fn serve_datagrams<S: Datagrams>(&self, socket: S, local: SocketAddr) {
        let (shared, admission) = (Arc::clone(&self.shared), Arc::clone(&self.admission));
        let (stop, mut end) = (self.stop.0.subscribe(), self.shared.end.subscribe());
        let task = async move {
            let service = pin!(datagrams::serve(socket, local, shared, admission, stop));
            until(&mut end, service).await;
        };
        tokio::spawn(task.instrument(debug_span!("datagrams", %local)));
    }
}

/// Runs a future until it ends, or, giving nothing, until nothing may go on. It is what its task polls first, with all
/// of its turn: one that has none left would listen to nothing.
async fn until<F: Future>(end: &mut watch::Receiver<bool>, mut future: Pin<&mut F>) -> Option<F::Output> {
    let told = end.clone();
    let mut ended = pin!(end.wait_for(|end| *end));
    let mut listens = false;
    poll_fn(|cx| {
        // It is listened to once, and only a glance after that: this is the way of all that comes.
        if (!listens || told.has_changed().unwrap_or(true)) && ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        listens = true;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// A connection that counts as open.
struct Open<H> {
    shared: Arc<Shared<H>>,
    _admitted: Admitted,
}

impl<H> Drop for Open<H> {
    fn drop(&mut self) {
        self.shared.counters.open.fetch_sub(1, Relaxed);
    }
}

/// Where connections come to.
trait Accept: Send {
    type Stream: Send;

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        Self::accept(self).await
    }
}

/// Accepts connections until the server stops.
async fn accept<L: Accept>(
    listener: L,
    mut stop: watch::Receiver<bool>,
    mut serve: impl FnMut(L::Stream, SocketAddr),
) {
    let mut pause = ACCEPT_PAUSE.0;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = ACCEPT_PAUSE.0;
                serve(stream, peer);
            }
            // The connection is gone before it was there.
            Err(error) if is_of_one_connection(&error) => debug!(%error, "a connection was not accepted"),
            // No descriptors, no memory: spinning would not bring any.
            Err(error) => {
                warn!(%error, "nothing can be accepted for the moment");
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(ACCEPT_PAUSE.1),
                }
            }
        }
    }
}

fn serve_accepted<H: Handler>(hub: &Hub<H>, stream: TcpStream, peer: SocketAddr) {
    let local = match stream.set_nodelay(true).and_then(|()| stream.local_addr()) {
        Ok(local) => local,
        Err(error) => {
            debug!(%peer, %error, "a connection was lost at once");
            return;
        }
    };
    // It is turned away by being dropped, and has been counted.
    let _ = hub.serve_stream(stream, peer, local);
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    )
}

/// TCP and UDP on one port.
struct Twins {
    listener: TcpListener,
    socket: BatchedSocket,
    addr: SocketAddr,
}

fn bind(addr: SocketAddr, v6_only: bool) -> Result<Twins, ServerError> {
    bind_by(addr, v6_only, |addr| open(addr, v6_only))
}

/// The same where UDP is opened so.
fn bind_by(
    addr: SocketAddr,
    v6_only: bool,
    mut open: impl FnMut(SocketAddr) -> io::Result<BatchedSocket>,
) -> Result<Twins, ServerError> {
    let mut tries = if addr.port() == 0 { TWIN_TRIES } else { 1 };
    loop {
        let failed = |transport| move |error| ServerError::Bind { addr, transport, error };
        let listener = listen(addr, v6_only).map_err(failed(Transport::Tcp))?;
        let addr = listener.local_addr().map_err(failed(Transport::Tcp))?;
        tries -= 1;
        match open(addr) {
            Ok(socket) => return Ok(Twins { listener, socket, addr }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(ServerError::Bind { addr, transport: Transport::Udp, error }),
        }
    }
}

fn listen(addr: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = socket(addr, socket2::Type::STREAM, v6_only)?;
    // A server that starts again need not wait for the connections of its life before to be forgotten. On UDP
    // the same word would let a second server take the first one's datagrams.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn open(addr: SocketAddr, v6_only: bool) -> io::Result<BatchedSocket> {
    let socket = socket(addr, socket2::Type::DGRAM, v6_only)?;
    socket.bind(&addr.into())?;
    BatchedSocket::answering(socket.into())
}

fn socket(addr: SocketAddr, ty: socket2::Type, v6_only: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), ty, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;

    /// What each look at a listener finds, and when it was looked at; behind that nothing comes.
    struct Looks(Mutex<Vec<Option<io::Error>>>, Arc<Mutex<Vec<Instant>>>);

    impl Accept for Looks {
        type Stream = usize;

        async fn accept(&self) -> io::Result<(usize, SocketAddr)> {
            let (found, left) = {
                let mut looks = self.0.lock().unwrap();
                (looks.pop(), looks.len())
            };
            let Some(found) = found else { return std::future::pending().await };
            self.1.lock().unwrap().push(Instant::now());
            match found {
                Some(error) => Err(error),
                None => Ok((left, ([192, 0, 2, 1], 4000).into())),
            }
        }
    }

    /// EMFILE.
    fn none_left() -> Option<io::Error> {
        Some(io::Error::from_raw_os_error(24))
    }

    /// The pauses before each look but the first, in milliseconds, and how many connections there were.
    async fn pauses(mut looks: Vec<Option<io::Error>>) -> (Vec<u128>, usize) {
        looks.reverse();
        let (count, times) = (looks.len(), Arc::new(Mutex::new(Vec::new())));
        let served = Arc::new(Mutex::new(0));
        let (stop, stopped) = watch::channel(false);
        let (listener, serves) = (Looks(Mutex::new(looks), Arc::clone(&times)), Arc::clone(&served));
        let accepting = tokio::spawn(accept(listener, stopped, move |_, _| *serves.lock().unwrap() += 1));
        for _ in 0..60_000 {
            if times.lock().unwrap().len() == count {
                break;
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(times.lock().unwrap().len(), count, "it looks no more");
        // It waits for a connection, or for its pause, and stops in either.
        stop.send_replace(true);
        let before = Instant::now();
        tokio::time::timeout(Duration::from_secs(60), accepting).await.expect("it stops").unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
        let times = times.lock().unwrap();
        let pauses = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        let served = *served.lock().unwrap();
        (pauses, served)
    }

    /// Where the system has no more descriptors it is asked later and later, and not without end; one that it gives
    /// begins anew.
    #[tokio::test(start_paused = true)]
    async fn without_descriptors_the_pauses_grow() {
        let about = |pauses: &[u128], expected: &[u128]| {
            let near = |(pause, expected): (&u128, &u128)| (*expected..=expected + 3).contains(pause);
            assert!(pauses.len() == expected.len() && pauses.iter().zip(expected).all(near), "{pauses:?}");
        };
        let (waited, served) = pauses((0..11).map(|_| none_left()).collect()).await;
        about(&waited, &[10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
        assert_eq!(served, 0);
        let looks = vec![none_left(), none_left(), none_left(), None, none_left(), None, None];
        let (waited, served) = pauses(looks).await;
        about(&waited, &[10, 20, 40, 0, 10, 0]);
        assert_eq!(served, 3);
    }

    /// Where the system chooses a port that is taken for UDP, another one is asked for, and not without end.
    #[tokio::test]
    async fn a_port_whose_twin_is_taken_is_given_back() {
        let any = ([127, 0, 0, 1], 0).into();
        let mut tried = Vec::new();
        let twins = bind_by(any, false, |addr| {
            tried.push(addr);
            if tried.len() < 3 { Err(io::ErrorKind::AddrInUse.into()) } else { open(addr, false) }
        });
        let Twins { listener, socket, addr } = twins.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((tried.len(), tried[2]), (3, addr));
        assert_eq!((listener.local_addr().unwrap(), socket.local_addr().unwrap()), (addr, addr));

        let tries = |addr, kind: io::ErrorKind| {
            let mut tries = 0;
            let failed = bind_by(addr, false, |_| {
                tries += 1;
                Err(kind.into())
            });
            let failed = failed.err().unwrap();
            assert!(matches!(failed, ServerError::Bind { transport: Transport::Udp, .. }), "{failed}");
            tries
        };
        assert_eq!(tries(any, io::ErrorKind::AddrInUse), TWIN_TRIES);
        // Another port would not help, and whoever names one wants that.
        assert_eq!(tries(any, io::ErrorKind::PermissionDenied), 1);
        drop((listener, socket));
        assert_eq!(tries(addr, io::ErrorKind::AddrInUse), 1);
    }

    /// One connection that is gone before it was there holds up no other.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_gone_costs_no_pause() {
        let aborted = || Some(io::ErrorKind::ConnectionAborted.into());
        let (waited, served) = pauses(vec![aborted(), aborted(), None]).await;
        assert_eq!((waited, served), (vec![0, 0], 1));
    }
}
