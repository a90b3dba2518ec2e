//! The UDP side of a server: one loop a socket, that reads, answers at once what it can, and keeps the rest.

mod announced;
mod answer;
mod job;
mod keep;
mod local;
mod outgoing;
mod own;

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Code, Decoder, Dialect, Error, LAXCUS6, Limits, Packet, PacketRef};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep};
use tracing::{debug, warn};

use self::announced::Announced;
use self::answer::{Asked, Unsent, Via};
use self::job::{Job, handle, poll_work};
use self::keep::{Keep, Whole};
use self::local::Local;
use self::outgoing::Outgoing;
use self::own::{Asks, Happened, Own};
use super::admission::Admission;
use super::network;
use super::shared::{Counters, DialectChoice, Held, Shared, counted, places};
use crate::body::Body;
use crate::extension::{self, Capabilities, Refusal, Said};
use crate::handler::{Answer, Handler, Peer, Reply, Request};
use crate::host::Transport;
use crate::keep::budget::{Budget, Rates};
use crate::keep::own::{self as own_transport, Endpoint, Ticket as OwnTicket};
use crate::keep::responder;
use crate::limits::ServerLimits;
use crate::socket::{Buffers, Datagrams, Inbox};
use crate::tables;
use crate::timer::Timer;
use crate::udp::{self, MAX_DATAGRAM, canonical};

/// Datagrams read in a row before others have their turn.
const TURN: usize = 64;
/// So many times the bytes of its request an answer has without taking from the budget of its prefix.
const AMPLIFICATION: usize = 3;
/// How long nothing is read after the system refused to, and how long a whole request waits where there is no
/// room for it.
const PAUSE: Duration = Duration::from_millis(10);

/// How often a socket warns that its answers are longer than a frame; each of them is counted.
const WARNED: Duration = Duration::from_secs(60);

/// Serves a socket. Once `stop` is true nothing more is read, what runs is finished, and its answers leave.
pub(crate) async fn serve<S: Datagrams, H: Handler>(
    socket: S,
    local: SocketAddr,
    shared: Arc<Shared<H>>,
    admission: Arc<Admission>,
    mut stop: watch::Receiver<bool>,
) {
    let buffers = socket.buffers();
    if let Some(Buffers { receive, send }) = buffers {
        Counters::add_many(&shared.counters.receive_buffers, receive);
        Counters::add_many(&shared.counters.send_buffers, send);
    }
    let most = shared.limits.keep.entity;
    let work = move |request: Request, via: Via, held: Held<H>| {
        let gather = match via {
            Via::Plain => Some(MAX_DATAGRAM),
            Via::Pieces(_) => Some(most),
            Via::Own(_) => None,
        };
        handle(request, gather, held)
    };
    let mut service = Service {
        socket,
        buffers,
        local: Local::new(local),
        admission,
        work,
        jobs: JoinSet::new(),
        running: HashMap::new(),
        announced: Announced::default(),
        spare: None,
        inbox: Inbox::new(Inbox::SLOTS),
        wire: Vec::new(),
        outgoing: Outgoing::new(),
        plain: Budget::new(plain_rates(&shared.limits)),
        pause: None,
        warned: None,
        now: Instant::now(),
        own_jobs: HashMap::new(),
        piece_jobs: HashMap::new(),
        keep: Keep::new(keep_config(&shared), own(&shared, buffers)),
        stopping: false,
        timer: Timer::default(),
        shared,
    };
    // A socket of the system has its clock, too.
    if buffers.is_some() {
        service.timer.make_fine();
    }
    let told = stop.clone();
    let mut stopped = pin!(stop.wait_for(|stop| *stop));
    let mut listens = false;
    poll_fn(|cx| {
        // It is listened to once, and only a glance after that: this is the way of every datagram.
        if (!listens || told.has_changed().unwrap_or(true)) && stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        listens = true;
        service.poll(cx, true)
    })
    .await;
    poll_fn(|cx| service.poll(cx, false)).await;
}

struct Service<S, H, W, F> {
    socket: S,
    buffers: Option<Buffers>,
    local: Local,
    shared: Arc<Shared<H>>,
    admission: Arc<Admission>,
    work: W,
    jobs: JoinSet<(Asked, Option<Reply>)>,
    /// Those of the jobs that their callers can name.
    running: HashMap<(SocketAddr, i64), (AbortHandle, Asked)>,
    /// Those of the own transport.
    own_jobs: HashMap<OwnTicket, AbortHandle>,
    /// Those of the programs' KEEP UDP.
    piece_jobs: HashMap<keep::Ticket, (AbortHandle, Asked)>,
    announced: Announced,
    spare: Option<Pin<Box<Option<F>>>>,
    inbox: Inbox,
    /// Where answers are written.
    wire: Vec<u8>,
    outgoing: Outgoing<H>,
    /// Of plain answers, beyond what came.
    plain: Budget,
    pause: Option<Pin<Box<Sleep>>>,
    /// When it was last warned of an answer that is longer than a frame.
    warned: Option<Instant>,
    /// When the clock was looked at last, which is done once for what has come together.
    now: Instant,
    keep: Keep,
    /// No request is begun any more; what comes is for those that have been.
    stopping: bool,
    timer: Timer,
}

/// Those who are dropped in their work are counted.
impl<S, H, W, F> Drop for Service<S, H, W, F> {
    fn drop(&mut self) {
        let counters = &self.shared.counters;
        // Those of the own transport that are being handled are exchanges of its, too.
        let cut = self.jobs.len() - self.own_jobs.len() + self.outgoing.len() + self.keep.give_up();
        Counters::add_many(&counters.cut, cut);
        if let Some(Buffers { receive, send }) = self.buffers {
            Counters::take_many(&counters.receive_buffers, receive);
            Counters::take_many(&counters.send_buffers, send);
        }
    }
}

impl<S, H, W, F> Service<S, H, W, F>
where
    S: Datagrams,
    H: Handler,
    W: Fn(Request, Via, Held<H>) -> F,
    F: Future<Output = Option<Reply>> + Send + 'static,
{
    /// Goes on until there is nothing to do, which ends it where it no longer reads.
    fn poll(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<()> {
        self.now = Instant::now();
        self.outgoing.poll(cx, &self.socket, &self.shared.counters);
        while self.outgoing.has_room()
            && let Poll::Ready(Some(ended)) = self.jobs.poll_join_next(cx)
        {
            // Cancelled ones have been taken out of the books already.
            if let Ok((asked, reply)) = ended {
                self.forget(&asked);
                self.reply(cx, &asked, reply);
            }
        }
        // A set without jobs does not remember whom to wake.
        let idle = self.jobs.is_empty();
        if !reads && !std::mem::replace(&mut self.stopping, true) {
            self.keep.close(self.now.into_std());
        }
        let (mut waits, mut sent, mut next) = (false, Poll::Ready(()), None);
        let (mut taken, mut read) = (0, Poll::Ready(0));
        // What has come together is answered before the system is asked whether there is more.
        while taken < TURN && read.is_ready() {
            if reads || !self.keep.is_idle() {
                read = self.poll_receive(cx, taken);
            } else {
                read = Poll::Pending;
            }
            // The first time there may be something else to do.
            if read.is_pending() && taken > 0 {
                break;
            }
            // Until somebody speaks KEEP UDP, plain datagrams pay nothing for it.
            if self.keep.is_used() {
                let now = self.now;
                self.keep.handle_timeout(now.into_std());
                waits = reads && !self.execute(cx, now);
                self.end_cancelled(now);
                self.execute_own(cx, now);
                sent = self.keep.poll_send(cx, now.into_std(), &self.socket, &self.shared.counters);
                self.keep.count(&self.shared.counters);
                next = self.keep.poll_timeout();
            }
            if let Poll::Ready(count) = read {
                taken += count;
            }
        }
        if !reads {
            let plain = self.jobs.is_empty() && self.outgoing.is_empty();
            if plain && sent.is_ready() && self.keep.is_idle() {
                return Poll::Ready(());
            }
        }
        let later = waits.then(|| (self.now + PAUSE).into_std());
        let next = next.into_iter().chain(later).min();
        let begun = idle && !self.jobs.is_empty();
        if read.is_ready()
            || begun
            || next.is_some_and(|next| self.timer.poll(self.now.into_std(), next, cx).is_ready())
        {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Reads the datagrams that have come together, after so many others, and tells how many: there may be more.
    fn poll_receive(&mut self, cx: &mut Context<'_>, before: usize) -> Poll<usize> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut received = Poll::Pending;
        for count in 1..=TURN.saturating_sub(before) {
            if !self.outgoing.has_room() || count > 1 && inbox.is_empty() {
                break;
            }
            match inbox.poll_next(&self.socket, cx) {
                Poll::Ready(Ok((from, bytes))) => {
                    received = Poll::Ready(count);
                    // One look at the clock for those that came together.
                    if before > 0 && count == 1 {
                        self.now = Instant::now();
                    }
                    Counters::add(&self.shared.counters.datagrams);
                    if let Err(why) = self.datagram(cx, from, bytes, self.now) {
                        Counters::add(&self.shared.counters.datagrams_dropped);
                        debug!(peer = %from, bytes = bytes.len(), "a datagram was dropped: {why}");
                    }
                }
                Poll::Ready(Err(error)) => {
                    received = Poll::Ready(count);
                    // Some systems tell here that an earlier answer did not arrive.
                    use io::ErrorKind::{ConnectionRefused, ConnectionReset};
                    if !matches!(error.kind(), ConnectionReset | ConnectionRefused) {
                        warn!(%error, "no datagrams can be read for the moment");
                        self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
                        break;
                    }
                }
                Poll::Pending => break,
            }
        }
        self.inbox = inbox;
        received
    }

    fn datagram(
        &mut self,
        cx: &mut Context<'_>,
        from: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), Dropped> {
        if !self.admission.allows(from.ip()) {
            return Err(Dropped::NotAllowed);
        }
        if bytes.len() > MAX_DATAGRAM {
            return Err(Dropped::TooLarge);
        }
        let dialect = match self.shared.dialect {
            DialectChoice::Fixed(dialect) => dialect,
            DialectChoice::Told { default } => Dialect::detect(bytes).unwrap_or(default),
        };
        if is_of_major(dialect, bytes) && self.keep.handle_own(now.into_std(), from, dialect, bytes) {
            return Ok(());
        }
        let packet = self.decode(dialect, bytes)?;
        if self.stopping && !keep::is_about_answers(dialect, packet.code()) {
            return Err(Dropped::Stopping);
        }
        let local = self.local.towards(from, self.socket.reached_at(from));
        if keep::claims(dialect, &packet)
            && self.keep.handle_datagram(now.into_std(), (from, local.ip()), dialect, bytes)
        {
            return Ok(());
        }
        let mut asked = Asked {
            to: from,
            peer: Peer { addr: canonical(from), local, transport: Transport::Udp, dialect },
            via: Via::Plain,
            announces: None,
            own: false,
            serial: None,
            came: bytes.len(),
        };
        // What came first is answered first.
        if self.keep.has_heard() {
            self.execute(cx, now);
            let _ = self.keep.poll_send(cx, now.into_std(), &self.socket, &self.shared.counters);
        }
        let told = self.read_extensions(&mut asked, packet.code(), &packet.head(), now);
        let packet = own_packet(&packet, self.shared.extensions).map_err(Dropped::Malformed)?;
        if extension::is_own(packet.code) && !asked.own {
            return Err(Dropped::NotOwn);
        }
        let Some(deadline) = self.screen(cx, &asked, &packet, told, now) else { return Ok(()) };
        let held = if self.jobs.len() < self.shared.limits.datagrams {
            Held::take(&self.shared, bytes.len() + places(packet.messages.capacity()))
        } else {
            None
        };
        let Some(held) = held else {
            if asked.own {
                self.refuse(cx, &asked, Refusal::Overloaded);
            }
            return Err(Dropped::NoRoom);
        };
        self.start(cx, &asked, Request { packet, body: None, peer: asked.peer, deadline }, held);
        Ok(())
    }

    /// Has the whole requests of KEEP UDP handled: false where some wait for room.
    fn execute(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        // Whoever ends makes room, and is heard of here.
        while self.jobs.len() < self.shared.limits.datagrams && self.outgoing.has_room() {
            let Some(whole) = self.keep.poll_request() else { return true };
            let Some(held) = Held::take(&self.shared, counted(whole.dialect, &whole.packet)) else {
                self.keep.put_back(whole);
                return false;
            };
            self.whole(cx, whole, held, now);
        }
        true
    }

    /// A whole request of KEEP UDP: what becomes of it is told to its machine in any case.
    fn whole(&mut self, cx: &mut Context<'_>, whole: Whole, held: Held<H>, now: Instant) {
        let Whole { ticket, from, dialect, mut packet } = whole;
        // While it waited for room it was cancelled, or another took its place.
        if !self.keep.is_awaited(ticket) {
            let _ = self.keep.answer(now.into_std(), ticket, None);
            return;
        }
        Counters::add(&self.shared.counters.keep_requests);
        let local = self.local.towards(from, self.socket.reached_at(from));
        let mut asked = Asked {
            to: from,
            peer: Peer { addr: canonical(from), local, transport: Transport::KeepUdp, dialect },
            via: Via::Pieces(ticket),
            announces: None,
            own: false,
            serial: None,
            came: 0,
        };
        let told = self.read_extensions(&mut asked, packet.code, &packet, now);
        if self.shared.extensions {
            packet.messages.retain(|message| !extension::key::TRANSPORT.contains(&message.key));
        }
        if let Some(deadline) = self.screen(cx, &asked, &packet, told, now) {
            self.start(cx, &asked, Request { packet, body: None, peer: asked.peer, deadline }, held);
        }
    }

    /// Whoever cancels a request by the programs' CANCEL waits for nothing: its work is dropped.
    fn end_cancelled(&mut self, now: Instant) {
        while let Some(ticket) = self.keep.poll_cancelled() {
            if let Some((job, asked)) = self.piece_jobs.remove(&ticket) {
                job.abort();
                self.forget(&asked);
                let _ = self.keep.answer(now.into_std(), ticket, None);
            }
        }
    }

    /// What the own transport has: requests to be handled, and entities under way.
    fn execute_own(&mut self, cx: &mut Context<'_>, now: Instant) {
        loop {
            let Some(own) = &mut self.keep.own else { return };
            match own.poll_event() {
                Some(Happened::Asks(asks)) => self.asked_by_own(cx, asks, now),
                Some(Happened::Cancelled(ticket)) => {
                    if let Some(job) = self.own_jobs.remove(&ticket) {
                        job.abort();
                    }
                }
                None => {
                    own.poll_bodies(cx, now.into_std());
                    return;
                }
            }
        }
    }

    fn asked_by_own(&mut self, cx: &mut Context<'_>, asks: Asks, now: Instant) {
        let Asks { ticket, from, dialect, packet, body, left } = asks;
        Counters::add(&self.shared.counters.keep_requests);
        let asked = Asked {
            to: from,
            peer: Peer {
                addr: canonical(from),
                local: self.local.towards(from, self.socket.reached_at(from)),
                transport: Transport::KeepUdp,
                dialect,
            },
            via: Via::Own(ticket),
            announces: None,
            own: true,
            serial: None,
            came: 0,
        };
        let left = left.map(|left| i32::try_from(left.as_millis()).unwrap_or(i32::MAX));
        let Some(deadline) = self.screen(cx, &asked, &packet, Told { left, ordered: false }, now) else {
            return;
        };
        let room = self.jobs.len() < self.shared.limits.datagrams && !self.stopping;
        let Some(held) = room.then(|| Held::take(&self.shared, counted(dialect, &packet))).flatten() else {
            self.refuse(cx, &asked, Refusal::Overloaded);
            return;
        };
        let body = body.map(|body| self.paced(body));
        self.start(cx, &asked, Request { packet, body, peer: asked.peer, deadline }, held);
    }

    fn paced(&self, body: Body) -> Body {
        match &self.shared.rate {
            Some(rate) if body.len() > self.shared.limits.gather as u64 => body.paced(rate),
            _ => body,
        }
    }

    fn decode<'a>(&self, dialect: &'static Dialect, bytes: &'a [u8]) -> Result<PacketRef<'a>, Dropped> {
        // Only our own commands need the larger table, and only the table itself is folded by the compiler.
        let own = self.shared.extensions && is_of_major(dialect, bytes);
        let table = if own { extension::own(dialect) } else { dialect };
        let limits = Limits { head: self.shared.limits.head, ..Limits::default() };
        Decoder::new(table).with_limits(limits).packet(bytes).map_err(Dropped::Malformed)
    }

    /// Reads what is ours in a packet.
    fn read_extensions(&mut self, asked: &mut Asked, code: Code, said: &impl Said, now: Instant) -> Told {
        if !self.shared.extensions {
            return Told::default();
        }
        if code.is_request() {
            let capabilities = match said.capabilities() {
                Some(announced) => {
                    // Who does not know the own transport hears nothing of it.
                    let keep = announced.common(Capabilities::OWN_KEEP);
                    asked.announces = Some(Capabilities::OURS.with(keep));
                    self.announced.put(asked.to, announced, now);
                    Some(announced)
                }
                None => self.announced.touch(asked.to, now),
            };
            asked.own = capabilities.is_some_and(|theirs| theirs.common(Capabilities::OURS).serials());
        }
        if !asked.own {
            return Told::default();
        }
        asked.serial = said.serial();
        Told { left: said.deadline(), ordered: said.is_ordered() }
    }

    /// Answers what needs no handler, and otherwise gives the time by which the handler must have answered.
    fn screen(
        &mut self,
        cx: &mut Context<'_>,
        asked: &Asked,
        packet: &Packet,
        told: Told,
        now: Instant,
    ) -> Option<Option<Instant>> {
        let reply = if told.ordered {
            // Ordered channels are of TCP: one that cannot be kept must not be executed as if it had none.
            Some(asked.refusal(Refusal::Gap).into())
        } else if extension::is_transports(packet.code) {
            self.own_command(asked, packet.code)
        } else if let Some(reply) = network::answer(packet, &asked.peer, &self.shared.key) {
            Some(reply)
        } else if asked.serial.is_some_and(|serial| self.running.contains_key(&(asked.to, serial))) {
            // A copy: the first one's answer is the answer of both.
            None
        } else {
            match told.left {
                None => return Some(None),
                Some(..=0) => Some(asked.refusal(Refusal::Late).into()),
                Some(left) => return Some(Some(now + Duration::from_millis(left.unsigned_abs().into()))),
            }
        };
        self.reply(cx, asked, reply);
        None
    }

    fn own_command(&mut self, asked: &Asked, code: Code) -> Option<Reply> {
        match code {
            extension::PING => Some(Packet::new(tables::of(asked.peer.dialect).okay).into()),
            extension::CANCEL => {
                let serial = asked.serial?;
                let (job, cancelled) = self.running.remove(&(asked.to, serial))?;
                job.abort();
                self.forget(&cancelled);
                self.answer_in_keep(&cancelled, None);
                None
            }
            _ => Some(Reply::Unserved),
        }
    }

    fn start(&mut self, cx: &mut Context<'_>, asked: &Asked, request: Request, held: Held<H>) {
        let mut work = self.spare.take().unwrap_or_else(|| Box::pin(None));
        work.set(Some((self.work)(request, asked.via, held)));
        // Most handlers answer at once: those cost no task.
        match poll_work(&mut work, asked, cx) {
            Poll::Ready(reply) => {
                self.spare = Some(work);
                self.reply(cx, asked, reply);
            }
            Poll::Pending => {
                let handle = self.jobs.spawn(Job { work, asked: *asked });
                match asked.via {
                    Via::Own(ticket) => {
                        self.own_jobs.insert(ticket, handle);
                        return;
                    }
                    Via::Pieces(ticket) => {
                        self.piece_jobs.insert(ticket, (handle.clone(), *asked));
                    }
                    Via::Plain => {}
                }
                if let Some(serial) = asked.serial {
                    self.running.insert((asked.to, serial), (handle, *asked));
                }
            }
        }
    }

    fn forget(&mut self, asked: &Asked) {
        match asked.via {
            Via::Own(ticket) => {
                self.own_jobs.remove(&ticket);
                return;
            }
            Via::Pieces(ticket) => {
                self.piece_jobs.remove(&ticket);
            }
            Via::Plain => {}
        }
        if let Some(serial) = asked.serial {
            self.running.remove(&(asked.to, serial));
        }
    }

    fn refuse(&mut self, cx: &mut Context<'_>, asked: &Asked, refusal: Refusal) {
        self.reply(cx, asked, Some(asked.refusal(refusal).into()));
    }

    fn reply(&mut self, cx: &mut Context<'_>, asked: &Asked, reply: Option<Reply>) {
        let answer = match reply {
            None | Some(Reply::Silence) => None,
            Some(Reply::Unwritable) => asked.own.then(|| asked.refusal(Refusal::Unwritable).into()),
            Some(Reply::Answer(answer)) => Some(answer),
            Some(Reply::Unserved) => Some(network::unserved(asked.peer.dialect, asked.peer.transport)),
        };
        if asked.via != Via::Plain {
            self.answer_in_keep(asked, answer);
            return;
        }
        let Some(answer) = answer else { return };
        let mut packet = answer.packet;
        asked.finish(&mut packet);
        if let Err(why) = asked.write(&packet, &mut self.wire) {
            self.unsent(asked, why);
            // A peer of ours is told, rather than left to wait.
            let mut refusal = asked.refusal(Refusal::Unwritable);
            asked.finish(&mut refusal);
            if !asked.own || asked.write(&refusal, &mut self.wire).is_err() {
                return;
            }
        }
        let copies = answer.copies.max(1);
        let beyond = (self.wire.len() * usize::from(copies)).saturating_sub(AMPLIFICATION * asked.came);
        let ip = asked.peer.addr.ip();
        if beyond > 0
            && !self.shared.keep_allow.allows(ip)
            && !self.plain.take(crate::timer::now(), ip, beyond)
        {
            Counters::add(&self.shared.counters.datagrams_unsent);
            debug!(peer = %asked.peer.addr, "an answer was not sent: too many larger than their requests");
            return;
        }
        if self.wire.len() > udp::mtu(asked.peer.addr) {
            Counters::add(&self.shared.counters.datagrams_long);
            // One peer that asks for such answers would fill a log with them.
            if self.warned.is_none_or(|warned| self.now >= warned + WARNED) {
                self.warned = Some(self.now);
                warn!(peer = %asked.peer.addr, len = self.wire.len(), "an answer that the network cuts in pieces");
            }
        }
        let datagram = (self.wire.as_slice(), asked.to);
        self.outgoing.send(cx, &self.socket, &self.shared, datagram, copies);
    }

    /// Gives an answer to its machine, which sends it in its time.
    fn answer_in_keep(&mut self, asked: &Asked, answer: Option<Answer>) {
        let now = self.now.into_std();
        let answer = answer.map(|Answer { mut packet, body, .. }| {
            asked.finish(&mut packet);
            (packet, body)
        });
        let answers = answer.is_some();
        let given = match asked.via {
            Via::Plain => return,
            Via::Own(ticket) => {
                let answer = answer.map(|(packet, body)| (packet, body.map(|body| self.paced(body))));
                self.keep.own.as_mut().map_or(Ok(()), |own| own.answer(now, ticket, answer))
            }
            Via::Pieces(ticket) => {
                let mut packet = answer.map(|(packet, _)| packet);
                if let Some(why) = packet.as_ref().and_then(|packet| self.keep.hinders(ticket, packet)) {
                    self.unsent(asked, why);
                    // A peer of ours is told, rather than left to wait.
                    packet = asked.own.then(|| asked.refusal(Refusal::Unwritable));
                    if let Some(refusal) = &mut packet {
                        asked.finish(refusal);
                    }
                }
                self.keep.answer(now, ticket, packet)
            }
        };
        match given {
            Ok(()) if answers => Counters::add(&self.shared.counters.keep_answers),
            Ok(()) => {}
            Err(why) => self.unsent(asked, why),
        }
    }

    fn unsent(&self, asked: &Asked, why: Unsent) {
        Counters::add(&self.shared.counters.datagrams_unsent);
        warn!(peer = %asked.peer.addr, "an answer was not sent: {why}");
    }
}

/// The budget of plain answers. Nothing tells that they arrive.
fn plain_rates(limits: &ServerLimits) -> Rates {
    let (rate, burst) = (limits.plain_rate, limits.plain_burst);
    Rates { rate, burst, sign_rate: 0, sign_burst: 0, ..Rates::default() }
}

/// What the machines of KEEP UDP are made with.
fn keep_config<H>(shared: &Shared<H>) -> responder::Config {
    let limits = &shared.limits;
    responder::Config {
        limits: limits.keep.clone(),
        rate: limits.keep_pace,
        rates: limits.keep_budget,
        allow: shared.keep_allow.clone(),
        ledger: Some(shared.keep_ledger.clone()),
        ..responder::Config::new(&LAXCUS6)
    }
}

/// The own transport of a socket, where it is offered.
fn own<H>(shared: &Shared<H>, buffers: Option<Buffers>) -> Option<Own> {
    let limits = &shared.limits;
    let default = own_transport::Config::default();
    let config = own_transport::Config {
        gather_requests: limits.gather as u64,
        request: limits.entity.min(default.request),
        head: limits.head,
        exchange_window: limits.keep_window,
        association_window: limits.keep_association_window,
        exchanges: limits.keep_exchanges,
        associations: limits.keep_associations,
        half_open: limits.keep_half_open,
        buffer: buffers.map_or(default.buffer, |it| u32::try_from(it.receive).unwrap_or(u32::MAX)),
        ..default
    };
    let endpoint = Endpoint::new(config, shared.keep_ledger.clone(), rand::random());
    shared.extensions.then(|| Own::new(endpoint))
}

/// Whether a datagram begins like one of our own commands.
fn is_of_major(dialect: &Dialect, bytes: &[u8]) -> bool {
    extension::request_of(dialect, bytes).is_some_and(extension::is_own)
}

/// What a peer of ours says beside its request.
#[derive(Clone, Copy, Default)]
struct Told {
    /// The time that its caller has left, in milliseconds.
    left: Option<i32>,
    /// Whether it stands on an ordered channel.
    ordered: bool,
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug)]
enum Dropped {
    NotAllowed,
    TooLarge,
    Malformed(Error),
    NotOwn,
    NoRoom,
    Stopping,
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("its address is not allowed"),
            Self::TooLarge => f.write_str("it is too large"),
            Self::Malformed(error) => error.fmt(f),
            Self::NotOwn => f.write_str("one of our own commands, from a peer that has not announced itself"),
            Self::NoRoom => f.write_str("no room"),
            Self::Stopping => f.write_str("the server stops"),
        }
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
    use std::net::IpAddr;
    use std::sync::Mutex;
    use std::task::Waker;

    use tokio::io::ReadBuf;

    use super::outgoing::QUEUE;
    use super::*;
    use crate::handler::Echo;
    use crate::server::{AllowList, PublicKey};

    fn peer(number: u32) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(number.into()), 1)
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
