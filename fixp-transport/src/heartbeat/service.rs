//! Runs a heartbeat on tokio, over one socket for datagrams.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use fixp_codec::{Decoder, Message};
use futures_util::task::AtomicWaker;
use tokio::io::ReadBuf;
use tokio::time::Sleep;

use super::{Config, Event, Heartbeat, State, Transmit, What};
use crate::socket::Datagrams;
use crate::tables;
use crate::udp::{MAX_DATAGRAM, bind_ip, canonical, now};

/// What a service has done so far, and whom it knows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct ServiceStats {
    /// HELO said, copies not counted.
    pub helos: u64,
    /// Probes sent.
    pub probes: u64,
    /// Datagrams that the socket took.
    pub sent: u64,
    /// Datagrams that the socket refused.
    pub refused: u64,
    /// Answers of peers.
    pub answers: u64,
    /// Datagrams of others, dropped.
    pub strangers: u64,
    /// Dropped: not a packet of the dialect.
    pub malformed: u64,
    /// Peers of whom nothing was heard yet.
    pub new: usize,
    /// Peers that are up.
    pub up: usize,
    /// Peers that are suspect.
    pub suspect: usize,
    /// Peers that are down.
    pub down: usize,
}

/// A heartbeat under way. Clones are the same one; when the last is dropped, it stops and its socket is closed.
///
/// ```no_run
/// use fixp_transport::heartbeat::{Config, Event, Service};
/// use fixp_transport::host::Node;
///
/// # async fn example() -> std::io::Result<()> {
/// let node = Node::new(8, "192.0.2.8".parse().unwrap(), 6600, 6600);
/// let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await?;
/// let (service, mut events) = Service::start(socket, Config::laxcus6(&node))?;
/// service.add("192.0.2.1:6600".parse().unwrap());
/// while let Some(event) = events.next().await {
///     match event {
///         Event::LogIn(hub, why) => println!("log in at {hub}: {why:?}"),
///         event => println!("{event:?}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Service {
    closer: Arc<Closer>,
}

impl Service {
    /// Starts a heartbeat to nobody yet. The socket serves peers of one address family.
    ///
    /// # Errors
    ///
    /// The socket does not tell its address.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start<S: Datagrams>(socket: S, config: Config) -> io::Result<(Self, Events)> {
        let local = socket.local_addr()?;
        let core = Core { heartbeat: Heartbeat::new(config), stats: ServiceStats::default(), closed: false };
        let shared = Arc::new(Shared {
            core: Mutex::new(core),
            driver: AtomicWaker::new(),
            reader: AtomicWaker::new(),
        });
        let driver = Driver {
            shared: Arc::clone(&shared),
            socket,
            local,
            wires: [None, None],
            blocked: None,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            buffer: vec![0; MAX_DATAGRAM + 1],
        };
        tokio::spawn(driver.run());
        Ok((Self { closer: Arc::new(Closer { shared: Arc::clone(&shared) }) }, Events { shared }))
    }

    /// Adds a peer, or begins anew with one that is there; false where there are too many. An IPv4 address that is
    /// mapped into IPv6 is that IPv4 address, here and in the events; a link-local one has the number of its interface.
    pub fn add(&self, peer: SocketAddr) -> bool {
        self.with(|heartbeat| heartbeat.add(now(), canonical(peer), rand::random()))
    }

    /// Removes a peer, and tells whether it was there.
    pub fn remove(&self, peer: SocketAddr) -> bool {
        self.with(|heartbeat| heartbeat.remove(canonical(peer)))
    }

    /// Sets the interval of a peer, as its hub tells it. False where it is not there.
    pub fn set_interval(&self, peer: SocketAddr, interval: Duration) -> bool {
        self.with(|heartbeat| heartbeat.set_interval(now(), canonical(peer), interval))
    }

    /// A server has received COMEBACK from this peer: it gets a burst of HELO. False where it is not there.
    pub fn comeback(&self, peer: SocketAddr) -> bool {
        self.with(|heartbeat| heartbeat.handle_comeback(now(), canonical(peer)))
    }

    /// One has logged in at this peer. False where it is not there.
    pub fn logged_in(&self, peer: SocketAddr) -> bool {
        self.with(|heartbeat| heartbeat.handle_login(now(), canonical(peer)))
    }

    /// What is known of a peer.
    #[must_use]
    pub fn state(&self, peer: SocketAddr) -> Option<State> {
        self.closer.shared.lock().heartbeat.state(canonical(peer))
    }

    /// The counters. Walks through the peers.
    #[must_use]
    pub fn stats(&self) -> ServiceStats {
        let core = self.closer.shared.lock();
        let mut stats = core.stats;
        for (_, state) in core.heartbeat.peers() {
            *match state {
                State::New => &mut stats.new,
                State::Up => &mut stats.up,
                State::Suspect => &mut stats.suspect,
                State::Down => &mut stats.down,
            } += 1;
        }
        stats
    }

    fn with<T>(&self, change: impl FnOnce(&mut Heartbeat) -> T) -> T {
        let result = change(&mut self.closer.shared.lock().heartbeat);
        self.closer.shared.driver.wake();
        // What it told may have been about this peer.
        self.closer.shared.reader.wake();
        result
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// What becomes of the peers. Where nobody reads, the newest of each peer is kept and nothing grows: its
/// state, and whether to log in.
pub struct Events {
    shared: Arc<Shared>,
}

impl Events {
    /// The next event; nothing when the service has stopped and all has been told. May be dropped and called
    /// again without losing anything.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same for a future written by hand.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.shared.reader.register(cx.waker());
        let mut core = self.shared.lock();
        match core.heartbeat.poll_event() {
            Some(event) => Poll::Ready(Some(event)),
            None if core.closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

struct Core {
    heartbeat: Heartbeat,
    stats: ServiceStats,
    closed: bool,
}

struct Shared {
    core: Mutex<Core>,
    driver: AtomicWaker,
    reader: AtomicWaker,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Closer {
    shared: Arc<Shared>,
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.driver.wake();
        self.shared.reader.wake();
    }
}

struct Driver<S> {
    shared: Arc<Shared>,
    socket: S,
    local: SocketAddr,
    /// The two packets, where they are the same for all peers.
    wires: [Option<Bytes>; 2],
    /// What the socket has not taken yet, and in how many copies.
    blocked: Option<(SocketAddr, Bytes, u8)>,
    sleep: Pin<Box<Sleep>>,
    buffer: Vec<u8>,
}

/// Datagrams taken before other tasks have their turn.
const TURN: usize = 64;
/// Rounds before that.
const ROUNDS: usize = 16;
/// How long nothing is read after the system refused to.
const PAUSE: Duration = Duration::from_millis(10);

impl<S: Datagrams> Driver<S> {
    async fn run(mut self) {
        while !poll_fn(|cx| self.poll(cx)).await {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Goes on until the service stops (true) or the socket cannot be read (false).
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.shared.driver.register(cx.waker());
        for _ in 0..ROUNDS {
            if self.shared.lock().closed {
                return Poll::Ready(true);
            }
            let Ok(mut worked) = self.poll_receive(cx) else { return Poll::Ready(false) };
            self.shared.lock().heartbeat.handle_timeout(now());
            worked |= self.poll_send(cx);
            worked |= self.poll_sleep(cx);
            self.shared.reader.wake();
            if !worked {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Result<bool, ()> {
        for turn in 0..TURN {
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match self.socket.poll_recv_from(cx, &mut buffer) {
                Poll::Pending => return Ok(turn > 0),
                Poll::Ready(Ok(from)) => self.shared.lock().receive(from, buffer.filled()),
                Poll::Ready(Err(error)) => {
                    // Some systems tell here that an earlier datagram did not arrive.
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
                    ) {
                        tracing::warn!(%error, "no datagrams can be read for the moment");
                        return Err(());
                    }
                }
            }
        }
        Ok(true)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> bool {
        let mut worked = false;
        loop {
            if self.blocked.is_none() {
                let Some(transmit) = self.shared.lock().heartbeat.poll_transmit() else { return worked };
                self.blocked = self.wire(transmit);
            }
            worked = true;
            while let Some((to, wire, copies)) = &mut self.blocked {
                let Poll::Ready(sent) = self.socket.poll_send_to(cx, wire, *to) else { return false };
                let stats = &mut self.shared.lock().stats;
                match sent {
                    Ok(_) => stats.sent += 1,
                    Err(error) => {
                        stats.refused += 1;
                        tracing::debug!(peer = %to, %error, "a heartbeat was not taken");
                    }
                }
                *copies -= 1;
                if *copies == 0 {
                    self.blocked = None;
                }
            }
        }
    }

    /// The bytes of a packet, with the address that it leaves from where the dialect wants it.
    fn wire(&mut self, transmit: Transmit) -> Option<(SocketAddr, Bytes, u8)> {
        let Transmit { peer, what, copies } = transmit;
        let peer = match peer {
            // A socket for both families knows those of IPv4 by their mapped addresses.
            SocketAddr::V4(v4) if self.local.is_ipv6() => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            _ => peer,
        };
        let mut core = self.shared.lock();
        let cached = match what {
            What::Helo => {
                core.stats.helos += 1;
                &mut self.wires[0]
            }
            What::Probe => {
                core.stats.probes += 1;
                &mut self.wires[1]
            }
        };
        if let Some(wire) = cached {
            return (copies > 0).then(|| (peer, wire.clone(), copies));
        }
        let dialect = core.heartbeat.config().dialect;
        let mut packet = core.heartbeat.packet(what).clone();
        drop(core);
        let bind_ip = tables::of(dialect).bind_ip;
        let anywhere = self.local.ip().is_unspecified();
        if let Some(key) = bind_ip {
            let route = anywhere.then(|| bind_ip::by_route(peer)).flatten();
            let text = bind_ip::text(route.unwrap_or(self.local.ip()));
            packet.messages.insert(0, Message::new(key, text));
        }
        let wire = match packet.to_bytes(dialect) {
            Ok(wire) => wire,
            Err(error) => {
                tracing::warn!(%error, "a heartbeat cannot be written");
                return None;
            }
        };
        if bind_ip.is_none() || !anywhere {
            *cached = Some(wire.clone());
        }
        (copies > 0).then_some((peer, wire, copies))
    }

    /// Whether the next deadline has come.
    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.shared.lock().heartbeat.poll_timeout() else { return false };
        let at = tokio::time::Instant::from_std(at);
        if self.sleep.deadline() != at || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(at);
        }
        self.sleep.as_mut().poll(cx).is_ready()
    }
}

impl Core {
    fn receive(&mut self, from: SocketAddr, bytes: &[u8]) {
        let dialect = self.heartbeat.config().dialect;
        let from = canonical(from);
        if self.heartbeat.state(from).is_none() {
            self.stats.strangers += 1;
            return;
        }
        let Ok(packet) = Decoder::new(dialect).packet(bytes) else {
            self.stats.malformed += 1;
            return;
        };
        if packet.code() == tables::of(dialect).comeback {
            self.heartbeat.handle_comeback(now(), from);
        } else if self.heartbeat.handle_answer(now(), from, packet.code()) {
            self.stats.answers += 1;
        }
    }
}
