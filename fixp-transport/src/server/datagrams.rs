//! The UDP side of a server: one loop a socket, that reads, answers at once what it can, and keeps the rest.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::dialect::RequestOrder;
use fixp_codec::{Code, Decoder, Dialect, Encoder, Error, Limits, Message, Packet, PacketRef, laxcus6};
use tokio::io::ReadBuf;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep};
use tracing::{debug, warn};

use super::admission::Admission;
use super::network;
use super::shared::{Counters, DialectChoice, Held, Shared};
use crate::extension::{self, Capabilities, Refusal};
use crate::handler::{Answer, Handler, Peer, Reply, Request};
use crate::host::Transport;
use crate::socket::Datagrams;
use crate::tables;
use crate::udp::bind_ip;

/// The most that a datagram carries over IPv4, which is as much as the programs read.
const MAX: usize = 65507;
/// Answers that wait for the socket. Past it nothing is read: the system's buffer fills, and then drops.
const QUEUE: usize = 1024;
/// Datagrams read in a row before others have their turn.
const TURN: usize = 64;
/// Peers whose announcement is remembered, some 100 bytes each.
const ANNOUNCED: usize = 65536;
/// How long an announcement is remembered after the last datagram of its peer.
const ANNOUNCED_TIME: Duration = Duration::from_secs(5 * 60);
/// Peers of whom it is remembered from which address they are reached, 40 bytes each.
const ROUTES: usize = 1024;
/// What stands before the answer to PRIVATE_SECURE_CREATE, by which its receiver knows it among ciphertext.
const PRIVATE_PREFIX: [u8; 16] =
    [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
/// How long nothing is read after the system refused to.
const PAUSE: Duration = Duration::from_millis(10);

/// Serves a socket. Once `stop` is true nothing more is read, what runs is finished, and its answers leave.
pub(crate) async fn serve<S: Datagrams, H: Handler>(
    socket: S,
    local: SocketAddr,
    shared: Arc<Shared<H>>,
    admission: Arc<Admission>,
    mut stop: watch::Receiver<bool>,
) {
    let handler = Arc::clone(&shared.handler);
    let work = move |request: Request, held: Held<H>| handle(Arc::clone(&handler), request, held);
    let mut service = Service {
        socket,
        local: Local { bound: local, routes: HashMap::new() },
        admission,
        work,
        jobs: JoinSet::new(),
        running: HashMap::new(),
        announced: Announced::default(),
        spare: None,
        buffer: vec![0; MAX + 1].into(),
        wire: Vec::new(),
        queue: VecDeque::new(),
        pause: None,
        shared,
    };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = poll_fn(|cx| service.poll(cx, true)) => {}
    }
    poll_fn(|cx| service.poll(cx, false)).await;
}

/// What a handler makes of a request; nothing where its time is over, or its answer cannot be had whole.
async fn handle<H: Handler>(handler: Arc<H>, request: Request, held: Held<H>) -> Option<Reply> {
    let _held = held;
    let deadline = request.deadline;
    let work = async {
        let mut reply = handler.handle(request).await;
        if let Reply::Answer(answer) = &mut reply
            && let Some(body) = answer.body.take()
        {
            answer.packet.entity = body.collect(MAX).await.ok()?;
        }
        Some(reply)
    };
    match deadline {
        None => work.await,
        // The caller no longer waits, and over UDP nothing else will say so.
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok().flatten(),
    }
}

/// To whom an answer goes, and what of ours is in it.
#[derive(Clone, Copy)]
struct Asked {
    /// The address as the socket gave it, which may be IPv4 mapped into IPv6.
    to: SocketAddr,
    peer: Peer,
    /// The answer announces us: the request announced its sender.
    announces: bool,
    /// Its sender has announced itself, now or before.
    own: bool,
    serial: Option<i64>,
}

/// A request being handled. Its work stands in a box that is used again when it ends at once.
struct Job<F> {
    work: Pin<Box<Option<F>>>,
    asked: Asked,
}

impl<F: Future<Output = Option<Reply>>> Job<F> {
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        let work = self.work.as_mut().as_pin_mut();
        // A handler that panics must not take the whole socket with it.
        let polled = catch_unwind(AssertUnwindSafe(|| work.map_or(Poll::Ready(None), |work| work.poll(cx))));
        let reply = match polled {
            Ok(polled) => ready!(polled),
            Err(_) => {
                warn!(peer = %self.asked.peer.addr, "a handler panicked");
                None
            }
        };
        self.work.set(None);
        Poll::Ready(reply)
    }
}

impl<F: Future<Output = Option<Reply>>> Future for Job<F> {
    type Output = (Asked, Option<Reply>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(self.poll_work(cx));
        Poll::Ready((self.asked, reply))
    }
}

/// An answer that waits for the socket.
struct Waiting<H> {
    wire: Bytes,
    to: SocketAddr,
    copies: u8,
    _held: Held<H>,
}

struct Service<S, H, W, F> {
    socket: S,
    local: Local,
    shared: Arc<Shared<H>>,
    admission: Arc<Admission>,
    work: W,
    jobs: JoinSet<(Asked, Option<Reply>)>,
    /// Those of the jobs that their callers can name.
    running: HashMap<(SocketAddr, i64), AbortHandle>,
    announced: Announced,
    spare: Option<Pin<Box<Option<F>>>>,
    buffer: Box<[u8]>,
    /// Where answers are written.
    wire: Vec<u8>,
    queue: VecDeque<Waiting<H>>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Those who are dropped in their work are counted.
impl<S, H, W, F> Drop for Service<S, H, W, F> {
    fn drop(&mut self) {
        let cut = self.jobs.len() + self.queue.len();
        self.shared.counters.cut.fetch_add(cut as u64, std::sync::atomic::Ordering::Relaxed);
    }
}

impl<S, H, W, F> Service<S, H, W, F>
where
    S: Datagrams,
    H: Handler,
    W: Fn(Request, Held<H>) -> F,
    F: Future<Output = Option<Reply>> + Send + 'static,
{
    /// Goes on until there is nothing to do, which ends it where it no longer reads.
    fn poll(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<()> {
        self.poll_queue(cx);
        while self.queue.len() < QUEUE
            && let Poll::Ready(Some(ended)) = self.jobs.poll_join_next(cx)
        {
            // Cancelled ones have been taken out of the books already.
            if let Ok((asked, reply)) = ended {
                self.forget(&asked);
                self.reply(cx, &asked, reply);
            }
        }
        if !reads {
            let done = self.jobs.is_empty() && self.queue.is_empty();
            return if done { Poll::Ready(()) } else { Poll::Pending };
        }
        for _ in 0..TURN {
            if self.queue.len() >= QUEUE || self.poll_receive(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_queue(&mut self, cx: &mut Context<'_>) {
        while let Some(first) = self.queue.front_mut() {
            let Poll::Ready(sent) = self.socket.poll_send_to(cx, &first.wire, first.to) else { return };
            count_sent(&self.shared.counters, first.to, &sent);
            first.copies -= 1;
            if first.copies == 0 {
                self.queue.pop_front();
            }
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut room = ReadBuf::new(&mut buffer);
        let received = self.socket.poll_recv_from(cx, &mut room);
        let len = room.filled().len();
        if let Poll::Ready(Ok(from)) = &received {
            Counters::add(&self.shared.counters.datagrams);
            if let Err(why) = self.datagram(cx, *from, &buffer[..len]) {
                Counters::add(&self.shared.counters.datagrams_dropped);
                debug!(peer = %from, bytes = len, "a datagram was dropped: {why}");
            }
        }
        self.buffer = buffer;
        if let Poll::Ready(Err(error)) = &received {
            // Some systems tell here that an earlier answer did not arrive.
            if !matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused) {
                warn!(%error, "no datagrams can be read for the moment");
                self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
            }
        }
        received.map(|_| ())
    }

    fn datagram(&mut self, cx: &mut Context<'_>, from: SocketAddr, bytes: &[u8]) -> Result<(), Dropped> {
        if !self.admission.allows(from.ip()) {
            return Err(Dropped::NotAllowed);
        }
        if bytes.len() > MAX {
            return Err(Dropped::TooLarge);
        }
        let dialect = match self.shared.dialect {
            DialectChoice::Fixed(dialect) => dialect,
            DialectChoice::Told { default } => Dialect::detect(bytes).unwrap_or(default),
        };
        let now = Instant::now();
        let packet = self.decode(dialect, bytes)?;
        let peer = Peer {
            addr: SocketAddr::new(from.ip().to_canonical(), from.port()),
            local: self.local.towards(from),
            transport: Transport::Udp,
            dialect,
        };
        let mut asked = Asked { to: from, peer, announces: false, own: false, serial: None };
        let left = if self.shared.extensions { self.extend(&mut asked, &packet, now) } else { None };
        if asked.own && packet.first(extension::key::CHANNEL).is_some() {
            // Ordered channels are of TCP: one that cannot be kept must not be executed as if it had none.
            self.refuse(cx, &asked, Refusal::Gap);
            return Ok(());
        }
        let packet = own_packet(&packet, self.shared.extensions).map_err(Dropped::Malformed)?;
        if extension::is_own(packet.code) {
            if !asked.own {
                return Err(Dropped::NotOwn);
            }
            self.own_command(cx, &asked, packet.code);
            return Ok(());
        }
        if let Some(reply) = network::answer(&packet, &peer, &self.shared.key) {
            self.reply(cx, &asked, Some(reply));
            return Ok(());
        }
        if asked.serial.is_some_and(|serial| self.running.contains_key(&(from, serial))) {
            // A copy: the first one's answer is the answer of both.
            return Ok(());
        }
        let deadline = match left {
            Some(..=0) => {
                self.refuse(cx, &asked, Refusal::Late);
                return Ok(());
            }
            Some(left) => Some(now + Duration::from_millis(left.unsigned_abs().into())),
            None => None,
        };
        let held = if self.jobs.len() < self.shared.limits.datagrams {
            Held::take(&self.shared, bytes.len())
        } else {
            None
        };
        let Some(held) = held else {
            if asked.own {
                self.refuse(cx, &asked, Refusal::Overloaded);
            }
            return Err(Dropped::NoRoom);
        };
        self.start(cx, asked, Request { packet, body: None, peer, deadline }, held);
        Ok(())
    }

    fn decode<'a>(&self, dialect: &'static Dialect, bytes: &'a [u8]) -> Result<PacketRef<'a>, Dropped> {
        // Only our own commands need the larger table, and only the table itself is folded by the compiler.
        let major = match dialect.request_order() {
            RequestOrder::MajorFirst => 3,
            RequestOrder::MinorFirst => 4,
        };
        let own = self.shared.extensions
            && bytes.first() == Some(&Code::REQUEST_TAG)
            && bytes.get(major) == Some(&extension::MAJOR);
        let table = if own { extension::own(dialect) } else { dialect };
        let limits = Limits { head: self.shared.limits.head, ..Limits::default() };
        Decoder::new(table).with_limits(limits).packet(bytes).map_err(Dropped::Malformed)
    }

    /// Reads what is ours in a packet, and gives the time that its caller has left, in milliseconds.
    fn extend(&mut self, asked: &mut Asked, packet: &PacketRef<'_>, now: Instant) -> Option<i32> {
        if packet.code().is_request() {
            let capabilities = match Capabilities::of_request_head(packet) {
                Some(announced) => {
                    asked.announces = true;
                    self.announced.put(asked.to, announced, now);
                    Some(announced)
                }
                None => self.announced.touch(asked.to, now),
            };
            asked.own = capabilities.is_some_and(|theirs| theirs.common(Capabilities::OURS).serials());
        }
        let mut left = None;
        if asked.own {
            asked.serial = packet.first(extension::key::SERIAL).and_then(|value| value.as_i64());
            left = packet.first(extension::key::DEADLINE).and_then(|value| value.as_i32());
        }
        left
    }

    fn own_command(&mut self, cx: &mut Context<'_>, asked: &Asked, code: Code) {
        match code {
            extension::PING => {
                let okay = Packet::new(tables::of(asked.peer.dialect).okay);
                self.reply(cx, asked, Some(okay.into()));
            }
            extension::CANCEL => {
                let named = asked.serial.and_then(|serial| self.running.remove(&(asked.to, serial)));
                if let Some(job) = named {
                    job.abort();
                }
            }
            _ => self.reply(cx, asked, Some(Reply::Unserved)),
        }
    }

    fn start(&mut self, cx: &mut Context<'_>, asked: Asked, request: Request, held: Held<H>) {
        let future = (self.work)(request, held);
        let mut job = Job { work: self.spare.take().unwrap_or_else(|| Box::pin(None)), asked };
        job.work.set(Some(future));
        // Most handlers answer at once: those cost no task.
        match job.poll_work(cx) {
            Poll::Ready(reply) => {
                self.spare = Some(job.work);
                self.reply(cx, &asked, reply);
            }
            Poll::Pending => {
                let handle = self.jobs.spawn(job);
                if let Some(serial) = asked.serial {
                    self.running.insert((asked.to, serial), handle);
                }
            }
        }
    }

    fn forget(&mut self, asked: &Asked) {
        if let Some(serial) = asked.serial {
            self.running.remove(&(asked.to, serial));
        }
    }

    fn refuse(&mut self, cx: &mut Context<'_>, asked: &Asked, refusal: Refusal) {
        self.reply(cx, asked, Some(self::refusal(asked, refusal).into()));
    }

    fn reply(&mut self, cx: &mut Context<'_>, asked: &Asked, reply: Option<Reply>) {
        let answer = match reply {
            None | Some(Reply::Silence) => return,
            Some(Reply::Answer(answer)) => answer,
            Some(Reply::Unserved) => network::unserved(asked.peer.dialect, Transport::Udp),
        };
        let copies = answer.copies.max(1);
        if let Err(error) = self.write(asked, answer) {
            Counters::add(&self.shared.counters.datagrams_unsent);
            warn!(peer = %asked.peer.addr, "an answer was not sent: {error}");
            // A peer of ours is told, rather than left to wait.
            if !asked.own || self.write(asked, refusal(asked, Refusal::Unwritable).into()).is_err() {
                return;
            }
        }
        self.send(cx, asked.to, copies);
    }

    /// Writes an answer into `wire`.
    fn write(&mut self, asked: &Asked, answer: Answer) -> Result<(), Unsent> {
        let dialect = asked.peer.dialect;
        let mut packet = answer.packet;
        finish(&mut packet, asked);
        self.wire.clear();
        if is_prefixed(dialect, packet.code) {
            self.wire.extend_from_slice(&PRIVATE_PREFIX);
        }
        let encoder = Encoder::new(dialect);
        if packet.entity.len() > MAX {
            // Not even copied.
            let size = self.wire.len() + encoder.packet_len(&packet).map_err(Unsent::Encode)?;
            return Err(Unsent::TooLarge(size));
        }
        encoder.packet(&packet, &mut self.wire).map_err(Unsent::Encode)?;
        if self.wire.len() > MAX { Err(Unsent::TooLarge(self.wire.len())) } else { Ok(()) }
    }

    /// Sends `wire`, at once if the socket takes it.
    fn send(&mut self, cx: &mut Context<'_>, to: SocketAddr, mut copies: u8) {
        while copies > 0
            && self.queue.is_empty()
            && let Poll::Ready(sent) = self.socket.poll_send_to(cx, &self.wire, to)
        {
            count_sent(&self.shared.counters, to, &sent);
            copies -= 1;
        }
        if copies == 0 {
            return;
        }
        match Held::take(&self.shared, self.wire.len()) {
            Some(held) => {
                let wire = Bytes::copy_from_slice(&self.wire);
                self.queue.push_back(Waiting { wire, to, copies, _held: held });
            }
            None => Counters::add(&self.shared.counters.datagrams_unsent),
        }
    }
}

fn refusal(asked: &Asked, refusal: Refusal) -> Packet {
    Packet::new(tables::of(asked.peer.dialect).refuse).with(extension::key::REFUSAL, refusal.number())
}

/// Adds to an answer what stands in every datagram of its dialect, and what is ours.
fn finish(packet: &mut Packet, asked: &Asked) {
    let bind_ip = tables::of(asked.peer.dialect).bind_ip;
    let length = asked.peer.dialect.content_length_key();
    packet.messages.retain(|message| {
        let refusal = asked.own && message.key == extension::key::REFUSAL;
        let ours = extension::key::RANGE.contains(&message.key);
        (refusal || !ours) && message.key != length && bind_ip != Some(message.key)
    });
    if asked.announces {
        packet.messages.push(Message::new(extension::key::CAPABILITIES, Capabilities::OURS.in_answer()));
    }
    if let Some(serial) = asked.serial {
        packet.messages.push(Message::new(extension::key::SERIAL, serial));
    }
    // The last but CONTENT_LENGTH, which is written behind it.
    if let Some(key) = bind_ip {
        packet.messages.push(Message::new(key, bind_ip::text(asked.peer.local.ip())));
    }
}

fn is_prefixed(dialect: &Dialect, code: Code) -> bool {
    use laxcus6::answer::{PRIVATE_CREATE_SECURE_ACCEPTED, PRIVATE_CREATE_SECURE_REFUSE};
    tables::of(dialect).asks_security
        && matches!(code, PRIVATE_CREATE_SECURE_ACCEPTED | PRIVATE_CREATE_SECURE_REFUSE)
}

fn count_sent(counters: &Counters, to: SocketAddr, sent: &io::Result<usize>) {
    match sent {
        Ok(_) => Counters::add(&counters.datagrams_sent),
        Err(error) => {
            Counters::add(&counters.datagrams_unsent);
            debug!(peer = %to, %error, "an answer was not sent");
        }
    }
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug)]
enum Dropped {
    NotAllowed,
    TooLarge,
    Malformed(Error),
    NotOwn,
    NoRoom,
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("its address is not allowed"),
            Self::TooLarge => f.write_str("it is too large"),
            Self::Malformed(error) => error.fmt(f),
            Self::NotOwn => f.write_str("one of our own commands, from a peer that has not announced itself"),
            Self::NoRoom => f.write_str("no room"),
        }
    }
}

/// Why an answer was not sent.
#[derive(Clone, Copy, Debug)]
enum Unsent {
    TooLarge(usize),
    Encode(Error),
}

impl std::fmt::Display for Unsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge(size) => write!(f, "it has {size} bytes, and a datagram {MAX}"),
            Self::Encode(error) => error.fmt(f),
        }
    }
}

/// The peers that have announced themselves: two generations, the older of which goes when the younger is full.
#[derive(Default)]
struct Announced {
    young: HashMap<SocketAddr, (Capabilities, Instant)>,
    old: HashMap<SocketAddr, (Capabilities, Instant)>,
    /// The one that was put last, and when: who asks often announces with every request.
    last: Option<(SocketAddr, Capabilities, Instant)>,
}

/// How long the last one is not put again. Little beside [`ANNOUNCED_TIME`].
const FRESH: Duration = Duration::from_secs(1);

impl Announced {
    fn put(&mut self, peer: SocketAddr, capabilities: Capabilities, now: Instant) {
        if self.last.is_some_and(|(last, announced, put)| {
            last == peer && announced == capabilities && now.saturating_duration_since(put) < FRESH
        }) {
            return;
        }
        self.last = Some((peer, capabilities, now));
        if self.young.len() >= ANNOUNCED / 2 && !self.young.contains_key(&peer) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&peer);
        self.young.insert(peer, (capabilities, now));
    }

    /// What a peer has announced, if it is not too long ago; it is remembered anew.
    fn touch(&mut self, peer: SocketAddr, now: Instant) -> Option<Capabilities> {
        self.last = None;
        let (capabilities, seen) = self.young.remove(&peer).or_else(|| self.old.remove(&peer))?;
        if now.saturating_duration_since(seen) > ANNOUNCED_TIME {
            return None;
        }
        self.put(peer, capabilities, now);
        Some(capabilities)
    }
}

/// The address that a socket is reached at, which differs by peer where it is bound to all of them.
struct Local {
    bound: SocketAddr,
    routes: HashMap<IpAddr, IpAddr>,
}

impl Local {
    fn towards(&mut self, peer: SocketAddr) -> SocketAddr {
        let bound = self.bound.ip().to_canonical();
        if !bound.is_unspecified() {
            return SocketAddr::new(bound, self.bound.port());
        }
        let key = peer.ip().to_canonical();
        let ip = self.routes.get(&key).copied().unwrap_or_else(|| {
            let ip = bind_ip::by_route(peer).map_or(bound, |ip| ip.to_canonical());
            if self.routes.len() >= ROUTES {
                self.routes.clear();
            }
            self.routes.insert(key, ip);
            ip
        });
        SocketAddr::new(ip, self.bound.port())
    }
}

/// A packet that is its own owner, with what is ours or without.
fn own_packet(packet: &PacketRef<'_>, strip: bool) -> Result<Packet, Error> {
    let head = if strip { extension::stripped(packet) } else { packet.head().to_packet() }?;
    Ok(Packet { entity: Bytes::copy_from_slice(packet.entity()), ..head })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Mutex;
    use std::task::Waker;

    use fixp_codec::LAXCUS6;

    use super::*;
    use crate::handler::Echo;
    use crate::limits::ServerLimits;
    use crate::server::{AllowList, PublicKey};

    fn peer(number: u32) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(number.into()), 1)
    }

    #[test]
    fn announcements_are_forgotten_in_time() {
        let (mut announced, now) = (Announced::default(), Instant::now());
        announced.put(peer(1), Capabilities::OURS, now);
        assert_eq!(announced.touch(peer(2), now), None);
        // Every datagram counts as one more announcement.
        let later = now + ANNOUNCED_TIME;
        assert_eq!(announced.touch(peer(1), later), Some(Capabilities::OURS));
        assert_eq!(announced.touch(peer(1), later + ANNOUNCED_TIME), Some(Capabilities::OURS));
        let late = later + ANNOUNCED_TIME * 2 + Duration::from_millis(1);
        assert_eq!(announced.touch(peer(1), late), None);
        assert!(announced.young.is_empty() && announced.old.is_empty());
    }

    #[test]
    fn announcements_are_bounded() {
        let (mut announced, now) = (Announced::default(), Instant::now());
        for number in 0..3 * ANNOUNCED as u32 {
            announced.put(peer(number), Capabilities::OURS, now);
            assert!(announced.young.len() + announced.old.len() <= ANNOUNCED);
            // One that is heard of stays.
            assert_eq!(announced.touch(peer(0), now), Some(Capabilities::OURS));
        }
        assert_eq!(announced.touch(peer(1), now), None);
    }

    #[test]
    fn addresses_of_this_host() {
        let mut local = Local { bound: "[::]:5000".parse().unwrap(), routes: HashMap::new() };
        assert_eq!(local.towards("127.0.0.1:7".parse().unwrap()), "127.0.0.1:5000".parse().unwrap());
        assert_eq!(local.towards("[::ffff:127.0.0.1]:7".parse().unwrap()), "127.0.0.1:5000".parse().unwrap());
        let mut local = Local { bound: "10.0.0.1:5000".parse().unwrap(), routes: HashMap::new() };
        assert_eq!(local.towards("127.0.0.1:7".parse().unwrap()), "10.0.0.1:5000".parse().unwrap());
        assert!(local.routes.is_empty());
        assert_eq!(bind_ip::text("2001:db8::ab".parse().unwrap()), "2001:DB8:0:0:0:0:0:AB");
        assert_eq!(bind_ip::text("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1");
    }

    /// A socket with so many datagrams to be read, which takes none until it is opened.
    #[derive(Default)]
    struct Slow(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        unread: usize,
        read: usize,
        sent: usize,
        open: bool,
        wakers: Vec<Waker>,
    }

    impl Datagrams for Slow {
        fn poll_recv_from(
            &self,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<SocketAddr>> {
            let mut state = self.0.lock().unwrap();
            if state.unread == 0 {
                state.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            state.unread -= 1;
            state.read += 1;
            // TEST (keepudp.md 1.3).
            buf.put_slice(b"\x87\x00\x01\x05\x01\x02\x00\xe8\x03\x05\x30TEST!\xfc\x03\x01\x50\x00");
            Poll::Ready(Ok(peer(0x0a00_0001)))
        }

        fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], _: SocketAddr) -> Poll<io::Result<usize>> {
            let mut state = self.0.lock().unwrap();
            if !state.open {
                state.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            state.sent += 1;
            Poll::Ready(Ok(buf.len()))
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(peer(0x0a00_0002))
        }
    }

    #[tokio::test]
    async fn what_waits_for_the_socket_is_bounded() {
        const COUNT: usize = 5 * QUEUE;
        let state = Arc::new(Mutex::new(State { unread: COUNT, ..State::default() }));
        let key = PublicKey::new(&[0xff; 64], &[3]).unwrap();
        let fixed = DialectChoice::Fixed(&LAXCUS6);
        let shared = Arc::new(Shared::new(Echo, fixed, ServerLimits::default(), key, true));
        let admission = Admission::new(AllowList::everyone(), 1, 1);
        let (stop, stopped) = watch::channel(false);
        let socket = Slow(Arc::clone(&state));
        let local = socket.local_addr().unwrap();
        let task = tokio::spawn(serve(socket, local, Arc::clone(&shared), admission, stopped));
        for _ in 0..COUNT {
            tokio::task::yield_now().await;
        }
        assert_eq!(state.lock().unwrap().read, QUEUE);
        // An answer to TEST has 57 bytes.
        assert_eq!(shared.budget.used(), QUEUE * 57);
        let wakers = {
            let mut state = state.lock().unwrap();
            state.open = true;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
        while state.lock().unwrap().sent < COUNT {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
        task.await.unwrap();
        assert_eq!(state.lock().unwrap().sent, COUNT);
        assert_eq!(shared.budget.used(), 0);
    }
}
