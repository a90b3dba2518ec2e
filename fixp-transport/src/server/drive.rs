//! Runs one TCP connection of a server: the protocol of `connection.rs` on a stream, and the handlers of its
//! requests, all in one task.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, BytesMut};
use fixp_codec::{Dialect, Encoder, Packet};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tokio::task::coop::has_budget_remaining;

use super::claim::Claim;
use super::coming::Waits;
use super::connection::{Connection, Event, FREE, Fault, Incoming, Ordered, Room, Ticket};
use super::network;
use super::ordered::Verdict;
use super::running::{Place, Running};
use super::shared::{Counters, Held, Shared, places};
use crate::body::pipe::{Feed, pipe};
use crate::body::{Body, PIECE};
use crate::extension::{self, Refusal};
use crate::handler::{Answer, Handler, Peer, Reply, Request};
use crate::host::Transport;
use crate::scratch;
use crate::tables;
use crate::timer::{self, Timer};
use crate::turn;

/// A request of an ordered channel, and the room that it takes.
#[derive(Debug)]
pub(crate) struct Queued<H> {
    request: Request,
    held: Held<H>,
}

/// Who waits for a request of an ordered channel.
pub(crate) type Waiter = oneshot::Sender<Outcome>;

/// What a request has come to.
#[derive(Debug)]
pub(crate) enum Outcome {
    Reply(Reply),
    Refused(Refusal),
    /// The handler panicked.
    Panicked,
}

/// After an answer is more to be written than this, no further piece of a body is taken in.
const HIGH_WATER: usize = 256 << 10;
/// How long the rest of a connection is read after its end has been said: a socket closed with bytes unread
/// would take its last answer with it.
const LINGER: Duration = Duration::from_secs(1);
/// How many bytes of that rest are read.
const LINGER_BYTES: usize = 256 << 10;
/// With so many bytes of answers the first of a batch leave, so that the peer is at work on them while the rest is
/// being done; with twice as many the next, and so on.
const AHEAD: usize = 512;
/// After so much silence a connection gives its buffers back.
const TRIM: Duration = Duration::from_secs(1);
/// Who makes progress now and then has at most so many times what he has without any: for an entity that is gathered,
/// its wait for room included, and for each [`PIECE`] of the answers.
const TIMES: u32 = 10;
/// Rounds of reading and writing before other tasks have their turn.
const ROUNDS: usize = 32;

/// Serves a connection until it ends. Once `stop` is true nothing more is read, what runs is finished, and the
/// connection is closed.
pub(crate) async fn serve<S, H>(
    stream: S,
    peer: SocketAddr,
    local: SocketAddr,
    shared: Arc<Shared<H>>,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Handler,
{
    let handler = Arc::clone(&shared.handler);
    // A handler that panics takes no other request of the connection with it.
    let start = move |job| {
        AssertUnwindSafe(work(Arc::clone(&handler), job)).catch_unwind().map(move |outcome| {
            outcome.unwrap_or_else(|_| {
                tracing::warn!(%peer, "a handler panicked");
                Outcome::Panicked
            })
        })
    };
    let mut driver = Driver::new(stream, peer, local, shared, start);
    loop {
        let stopping = driver.stopping;
        tokio::select! {
            biased;
            () = poll_fn(|cx| driver.poll(cx)) => return,
            _ = stop.wait_for(|stop| *stop), if !stopping => driver.stopping = true,
        }
    }
}

/// What a request's future does.
#[allow(clippy::large_enum_variant, reason = "it goes at once into a future, whose box is used again")]
enum Job {
    Handle(Request),
    /// The body of this answer is to be gathered.
    Gather(Answer),
    Wait(oneshot::Receiver<Outcome>),
}

async fn work<H: Handler>(handler: Arc<H>, job: Job) -> Outcome {
    match job {
        Job::Handle(request) => Outcome::Reply(handler.handle(request).await),
        // It is rare, and must not make all others larger.
        Job::Gather(answer) => Box::pin(gather(answer)).await,
        // The sender is dropped when nothing is executed any more.
        Job::Wait(outcome) => outcome.await.unwrap_or(Outcome::Reply(Reply::Silence)),
    }
}

/// An answer with its whole entity.
async fn gather(mut answer: Answer) -> Outcome {
    if let Some(body) = answer.body.take() {
        // How long it is has been looked at.
        match body.collect(usize::MAX).await {
            Ok(entity) => answer.packet.entity = entity,
            Err(error) => {
                tracing::warn!(code = %answer.packet.code, %error, "the body of an answer broke off");
                return Outcome::Refused(Refusal::Unwritable);
            }
        }
    }
    Outcome::Reply(answer.into())
}

/// The connection has ended.
struct Ended;

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Open,
    /// Nothing more comes, or is taken: what runs is finished.
    Draining,
    /// Its last answer is in the outbox.
    Closing,
    /// Its end has been said; what still comes, of at most so many bytes, is dropped.
    Lingering(Instant, usize),
}

struct Driver<S, H, M, F> {
    stream: S,
    peer: SocketAddr,
    local: SocketAddr,
    shared: Arc<Shared<H>>,
    start: M,
    connection: Connection,
    stage: Stage,
    stopping: bool,
    running: Running<F>,
    /// A request without a serial is being handled: no further one is taken before its answer.
    barrier: bool,
    /// Input that had to wait; in the middle of a large entity, where it is read.
    rest: BytesMut,
    /// Where the pieces of a large entity go.
    upload: Option<Feed>,
    /// The body of the answer that is being written, and the answers behind it.
    download: Option<Body>,
    /// A part of it has just left: others have their turn before the next.
    part: bool,
    /// With so many bytes in the outbox they are not held for what is still to be done.
    ahead: usize,
    ready: VecDeque<(Ticket, Answer)>,
    /// The answer that ends the conversation, behind all others.
    last: Option<(Ticket, Answer)>,
    /// The bytes of the requests that are not answered.
    requests: usize,
    /// The bytes counted in the server's budget.
    charged: usize,
    /// The bytes of its input that have no room, as the server knows.
    unread: usize,
    /// The room of the packet that is coming.
    claim: Claim,
    active: Instant,
    /// The last byte of an entity, or of an answer, that went on.
    received: Instant,
    written: Instant,
    /// The bytes that the peer has taken; since when he takes the next [`PIECE`] of them, and how many they were then.
    taken: u64,
    taking: (Instant, u64),
    /// The peer was held up when it was last looked at; since when he is not.
    held_up: bool,
    wanted: Instant,
    trimmed: bool,
    timer: Timer,
}

impl<S, H, M, F> Driver<S, H, M, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
    M: Fn(Job) -> F,
    F: Future<Output = Outcome>,
{
    fn new(stream: S, peer: SocketAddr, local: SocketAddr, shared: Arc<Shared<H>>, start: M) -> Self {
        let now = timer::now();
        let claim = Claim::new(Arc::clone(&shared.budget), Arc::clone(&shared.coming));
        // In the pipe; and of a body that waits for its turn under a rate, that turn and what is read beyond it.
        let pieces = if shared.rate.is_some() { 4 } else { 1 };
        Self {
            stream,
            peer,
            local,
            connection: Connection::new(shared.dialect, &shared.limits, shared.extensions).holding(pieces),
            shared,
            start,
            stage: Stage::Open,
            stopping: false,
            running: Running::new(),
            barrier: false,
            rest: BytesMut::new(),
            upload: None,
            download: None,
            part: false,
            ahead: AHEAD,
            ready: VecDeque::new(),
            last: None,
            requests: 0,
            charged: 0,
            unread: 0,
            claim,
            active: now,
            received: now,
            written: now,
            taking: (now, 0),
            taken: 0,
            held_up: false,
            wanted: now,
            trimmed: true,
            timer: Timer::default(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = timer::now();
        if self.claim.is_lost() {
            Counters::add(&self.shared.counters.timed_out);
            tracing::debug!(peer = %self.peer, "a connection was slow while others had no room");
            return Poll::Ready(());
        }
        for _ in 0..ROUNDS {
            let round = if self.only_reads() { self.round_of_reading(now, cx) } else { self.round(now, cx) };
            match round {
                Ok(true) => {
                    self.active = now;
                    self.trimmed = false;
                    if std::mem::take(&mut self.part) {
                        self.report_again(now, cx);
                        self.settle();
                        turn::give_way(cx);
                        return Poll::Pending;
                    }
                }
                Ok(false) => {
                    self.settle();
                    return self.wait(now, cx);
                }
                Err(Ended) => {
                    self.settle();
                    return Poll::Ready(());
                }
            }
        }
        self.report_again(now, cx);
        self.settle();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether all there is to do is to read the pieces of a large entity and to show them to its reader.
    fn only_reads(&mut self) -> bool {
        self.running.only_reads()
            && self.stage == Stage::Open
            && self.connection.large_left() > 0
            && self.connection.outbox().is_empty()
            && self.download.is_none()
    }

    /// A round where all others would find nothing to do: there is one for each piece, so what is left out counts.
    fn round_of_reading(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<bool, Ended> {
        if let Poll::Ready(ended) = self.running.poll_reader(cx) {
            // There was nothing to write.
            self.wrote_all(now);
            self.ended(ended, cx);
            return Ok(true);
        }
        if self.upload.as_ref().is_some_and(Feed::is_wanted) {
            return self.read_piece(now, cx);
        }
        // There is something else after all.
        self.round(now, cx)
    }

    /// Does what can be done; tells whether anything could.
    fn round(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut progress = false;
        if self.connection.outbox().is_empty() {
            // The peer's time begins when there is something for it.
            self.wrote_all(now);
        }
        while let Poll::Ready(ended) = self.running.poll_ended(cx) {
            progress = true;
            self.ended(ended, cx);
            self.write_ahead(now, cx)?;
        }
        progress |= self.pump(cx);
        self.ahead = AHEAD;
        match self.connection.outbox().poll_write(&mut self.stream, cx) {
            Poll::Ready(Ok(0)) => {}
            Poll::Ready(Ok(count)) => {
                progress = true;
                self.wrote(now, count);
                self.part = self.download.is_some();
            }
            Poll::Ready(Err(_)) => return Err(self.lost()),
            Poll::Pending => {}
        }
        if self.stopping && self.stage == Stage::Open && self.connection.between_packets() {
            self.stage = Stage::Draining;
        }
        match self.stage {
            Stage::Open => progress |= self.read(now, cx)?,
            Stage::Draining | Stage::Closing => {
                let idle = self.connection.outbox().is_empty() && self.download.is_none();
                let waits =
                    self.stage == Stage::Draining && !(self.running.is_empty() && self.ready.is_empty());
                if idle && !waits {
                    match Pin::new(&mut self.stream).poll_shutdown(cx) {
                        Poll::Pending => {}
                        Poll::Ready(Err(_)) => return Err(Ended),
                        Poll::Ready(Ok(())) => {
                            progress = true;
                            self.stage = Stage::Lingering(now + LINGER, LINGER_BYTES);
                        }
                    }
                }
            }
            Stage::Lingering(until, left) => {
                let read = scratch::read(&mut self.stream, cx, |bytes| bytes.len());
                match read {
                    Poll::Pending => {}
                    Poll::Ready(Ok(count)) if count > 0 && count < left => {
                        progress = true;
                        self.stage = Stage::Lingering(until, left - count);
                    }
                    Poll::Ready(_) => return Err(Ended),
                }
            }
        }
        Ok(progress)
    }

    /// Takes input: what had to wait, then what the stream has.
    fn read(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<bool, Ended> {
        if let Some(feed) = &self.upload
            && self.connection.large_left() > 0
            && !feed.ignored()
        {
            return if feed.poll_ready(cx).is_ready() { self.read_piece(now, cx) } else { Ok(false) };
        }
        // Even without input there may be something: the end of an entity, a packet that has got its room.
        let mut rest = std::mem::take(&mut self.rest);
        let mut input = &rest[..];
        let events = self.take(now, &mut input, cx)?;
        let taken = rest.len() - input.len();
        rest.advance(taken);
        // Behind an entity its buffer is not kept.
        self.rest = if rest.is_empty() { BytesMut::new() } else { rest };
        if events > 0 || taken > 0 || !self.rest.is_empty() {
            return Ok(events > 0 || taken > 0);
        }
        // Behind a request that holds back all others one buffer is read: so the end of the connection is heard.
        let listens = self.barrier && !self.claim.waits() && self.upload.is_none();
        if self.is_blocked(now, cx) && !listens {
            return Ok(false);
        }
        // Everything is done with the bytes before the next poll, so all connections of a thread share one
        // buffer, and an idle one has none.
        let mut buffer = scratch::take();
        let most = if self.shared.budget.is_beset() { FREE } else { scratch::SIZE };
        let read = scratch::read_into(&mut self.stream, cx, &mut (&mut buffer).limit(most));
        let done = match read {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(_)) => Err(self.lost()),
            Poll::Ready(Ok(0)) => self.end_of_input(),
            Poll::Ready(Ok(_)) => {
                self.received = now;
                let mut input = &buffer[..];
                let taken = self.take(now, &mut input, cx);
                let left = input.len();
                if left >= PIECE / 2 && self.connection.large_left() > 0 {
                    // The beginning of a large entity: its reader gets the buffer rather than a copy.
                    buffer.advance(buffer.len() - left);
                    self.rest = std::mem::take(&mut buffer);
                } else if left > 0 {
                    self.rest = BytesMut::from(input);
                }
                taken.map(|_| true)
            }
        };
        scratch::put(buffer);
        done
    }

    /// The middle of a large entity is read where its reader gets it: nothing is copied.
    fn read_piece(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let left = usize::try_from(self.connection.large_left()).unwrap_or(usize::MAX);
        if self.rest.is_empty() {
            // What stands behind the entity may come with it: a read that stops there would need another to find
            // nothing.
            match scratch::read_piece(&mut self.stream, cx, &mut self.rest, PIECE) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(_) | Ok(0)) => return Err(self.lost()),
                Poll::Ready(Ok(_)) => self.received = now,
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(left)).freeze();
        self.connection.pass(&piece);
        if let Some(feed) = &self.upload {
            feed.put_within(piece, cx);
        }
        Ok(true)
    }

    /// Writes what there is, if it is enough, before more is done. Where client and server have a core each, one
    /// would otherwise sleep while the other works on its batch. As each part is twice as long as the one before, they
    /// are few.
    fn write_ahead(&mut self, now: Instant, cx: &mut Context<'_>) -> Result<(), Ended> {
        if self.connection.outbox().len() < self.ahead {
            return Ok(());
        }
        self.ahead *= 2;
        match self.connection.outbox().poll_write(&mut self.stream, cx) {
            Poll::Ready(Ok(count)) => self.wrote(now, count),
            Poll::Ready(Err(_)) => return Err(self.lost()),
            Poll::Pending => {}
        }
        Ok(())
    }

    /// The peer has taken so many bytes.
    fn wrote(&mut self, now: Instant, count: usize) {
        self.written = now;
        self.taken += count as u64;
        if self.taken - self.taking.1 >= PIECE as u64 {
            self.taking = (now, self.taken);
        }
    }

    /// He has taken all that there was.
    fn wrote_all(&mut self, now: Instant) {
        self.written = now;
        self.taking = (now, self.taken);
    }

    /// Whether no input can be taken now.
    fn is_blocked(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        if self.claim.waits() {
            let Poll::Ready(room) = self.claim.poll_room(cx) else { return true };
            // While there was none, it was not the peer who took his time.
            self.received = now;
            self.granted(room);
        }
        if let Some(feed) = &self.upload {
            return feed.poll_ready(cx).is_pending();
        }
        self.is_full()
    }

    /// Whether no further packet is taken before more is answered.
    fn is_full(&mut self) -> bool {
        let limits = &self.shared.limits;
        let unanswered = self.running.len() + self.ready.len();
        let bytes = self.requests + self.connection.outbox().len();
        // One of ours that has too many under way is told so, and still heard: its PING and CANCEL are among
        // what it sends.
        let many = unanswered >= limits.requests_per_connection && !self.connection.is_own();
        !self.connection.has_room() && (self.barrier || many || bytes > limits.bytes_per_connection)
    }

    /// There is room for what comes next.
    fn granted(&mut self, Room { bytes, .. }: Room) {
        self.charged += bytes;
        self.requests += bytes;
        self.connection.grant();
    }

    /// Takes packets from the front of the input, as long as more can be taken.
    fn take(&mut self, now: Instant, input: &mut &[u8], cx: &mut Context<'_>) -> Result<usize, Ended> {
        let mut events = 0;
        while self.stage == Stage::Open && !self.is_blocked(now, cx) {
            let Some(event) = self.connection.next(now, input) else { break };
            events += 1;
            match event {
                Err(fault) => {
                    self.fault(fault);
                    *input = &[];
                }
                Ok(Event::Room(room)) => {
                    if self.claim.ask(now, room) {
                        self.granted(room);
                    }
                }
                Ok(Event::Request(incoming)) => {
                    self.claim.came();
                    self.begin(now, incoming, None, cx);
                }
                // Its pieces come all the same, and nobody reads them.
                Ok(Event::Large(Incoming { ticket, packet, .. }, len)) if len > self.shared.limits.entity => {
                    Counters::add(&self.shared.counters.requests);
                    // Nothing of it is held.
                    self.claim.came();
                    self.barrier |= ticket.serial.is_none();
                    let is_request = packet.code.is_request();
                    let refused = Outcome::Refused(Refusal::TooLarge);
                    self.finish(ticket, if is_request { refused } else { Outcome::Reply(Reply::Silence) });
                }
                Ok(Event::Large(incoming, len)) => {
                    let (feed, drain) = pipe();
                    self.upload = Some(feed);
                    let body = self.paced(Body::from_pipe(len, drain));
                    self.begin(now, incoming, Some(body), cx);
                    // Its pieces go another way.
                    break;
                }
                // One that nobody reads.
                Ok(Event::Piece(_)) => {}
                Ok(Event::End) => {
                    self.claim.came();
                    if let Some(feed) = self.upload.take() {
                        feed.end_within(cx);
                    }
                }
                Ok(Event::Cancel(serial, cost)) => {
                    self.claim.came();
                    self.running.cancel(serial);
                    self.requests = self.requests.saturating_sub(cost);
                }
            }
            self.write_ahead(now, cx)?;
        }
        if self.stage != Stage::Open {
            // Behind the end of the conversation nothing is answered.
            *input = &[];
        }
        Ok(events)
    }

    /// A request has come: whoever serves it begins.
    fn begin(&mut self, now: Instant, incoming: Incoming, body: Option<Body>, cx: &mut Context<'_>) {
        Counters::add(&self.shared.counters.requests);
        let Incoming { packet, ticket, ordered, deadline } = incoming;
        self.barrier |= ticket.serial.is_none();
        let dialect = self.connection.dialect();
        let peer = Peer { addr: self.peer, local: self.local, transport: Transport::Tcp, dialect };
        if packet.code == extension::PING && ordered.is_none() || ticket.greets(&packet) {
            let okay = Packet::new(tables::of(dialect).okay);
            return self.finish(ticket, Outcome::Reply(okay.into()));
        }
        // On an ordered channel it takes its place all the same: see `run_ordered`.
        if ordered.is_none() && deadline.is_some_and(|deadline| deadline <= now) {
            return self.finish(ticket, Outcome::Refused(Refusal::Late));
        }
        if ordered.is_none() {
            if network::ends(&packet, &peer) {
                self.stage = Stage::Draining;
                return self.release(ticket);
            }
            if let Some(reply) = network::answer(&packet, &peer, &self.shared.key) {
                return self.finish(ticket, Outcome::Reply(reply));
            }
            if extension::is_transports(packet.code) {
                return self.finish(ticket, Outcome::Reply(Reply::Unserved));
            }
        }
        let request = Request { packet, body, peer, deadline: deadline.map(Into::into) };
        if self.running.len() + self.ready.len() >= self.shared.limits.requests_per_connection {
            return self.finish(ticket, Outcome::Refused(Refusal::Overloaded));
        }
        let Some(place) = ordered else { return self.run(ticket, Job::Handle(request), cx) };
        if request.body.is_some() {
            return self.finish(ticket, Outcome::Refused(Refusal::TooLarge));
        }
        // It may outlive this connection, so it counts by itself.
        let Some(held) = Held::take(&self.shared, ticket.cost) else {
            return self.finish(ticket, Outcome::Refused(Refusal::Overloaded));
        };
        let queued = Queued { request, held };
        let (waiter, outcome) = oneshot::channel();
        let mut channels = self.shared.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        let (verdict, _) = channels.submit(now, place, queued, waiter);
        drop(channels);
        match verdict {
            Verdict::Refused(refusal) => self.finish(ticket, Outcome::Refused(refusal)),
            Verdict::Kept(answer) => {
                self.finish(ticket, Outcome::Reply(answer.map_or(Reply::Silence, Reply::from)));
            }
            Verdict::Wait => self.run(ticket, Job::Wait(outcome), cx),
            Verdict::Run(queued) => {
                // It runs to its end whatever becomes of this connection: its answer is kept.
                let (shared, end) = (Arc::clone(&self.shared), self.shared.end.subscribe());
                tokio::spawn(run_ordered(shared, end, place, queued));
                self.run(ticket, Job::Wait(outcome), cx);
            }
        }
    }

    fn run(&mut self, ticket: Ticket, job: Job, cx: &mut Context<'_>) {
        let at = match &job {
            Job::Handle(request) if request.body.is_some() => Place::Reader,
            Job::Handle(_) | Job::Gather(_) => Place::Here,
            Job::Wait(_) => Place::Elsewhere,
        };
        let work = (self.start)(job);
        if let Poll::Ready(outcome) = self.running.start(ticket, work, at, cx) {
            self.done(ticket, outcome, cx);
        }
    }

    /// Work has come to its end, or was cancelled.
    fn ended(&mut self, (ticket, outcome): (Ticket, Option<Outcome>), cx: &mut Context<'_>) {
        match outcome {
            Some(outcome) => self.done(ticket, outcome, cx),
            None => self.release(ticket),
        }
    }

    /// Work has come to its end. A short body is gathered before the head of its answer is written, so that others
    /// are answered while its source is slow (SPEC 10.3).
    fn done(&mut self, mut ticket: Ticket, outcome: Outcome, cx: &mut Context<'_>) {
        if let Some(len) = self.short_body(ticket, &outcome)
            && let Outcome::Reply(Reply::Answer(answer)) = outcome
        {
            ticket.cost += len;
            self.requests += len;
            return self.run(ticket, Job::Gather(answer), cx);
        }
        self.finish(ticket, outcome);
    }

    /// The length of a body for which there is room, where others would wait behind it.
    fn short_body(&mut self, ticket: Ticket, outcome: &Outcome) -> Option<usize> {
        let Outcome::Reply(Reply::Answer(Answer { body: Some(body), .. })) = outcome else { return None };
        let limits = &self.shared.limits;
        let held = self.requests + self.connection.outbox().len();
        // The other half is for what comes, a CANCEL say; and nobody's room is taken for what is not there yet.
        let most = limits.gather.min((limits.bytes_per_connection / 2).saturating_sub(held));
        let most = most.min(limits.bytes.saturating_sub(self.shared.budget.used()));
        usize::try_from(body.len()).ok().filter(|len| ticket.among_others && *len <= most)
    }

    /// A request has been dealt with.
    fn finish(&mut self, ticket: Ticket, outcome: Outcome) {
        if !matches!(self.stage, Stage::Open | Stage::Draining) {
            // Its last answer is out, or the beginning of one: the peer would take this for the rest of it.
            if !matches!(outcome, Outcome::Reply(Reply::Silence)) {
                Counters::add(&self.shared.counters.cut);
            }
            return self.release(ticket);
        }
        let mut answer = match outcome {
            Outcome::Reply(Reply::Silence) => return self.release(ticket),
            Outcome::Reply(Reply::Unwritable) if self.connection.is_own() => {
                self.connection.refused(Refusal::Unwritable)
            }
            Outcome::Panicked if self.connection.is_own() => self.connection.refused(Refusal::Silent),
            // The programs have no words for either.
            Outcome::Reply(Reply::Unwritable) | Outcome::Panicked => {
                self.stage = Stage::Closing;
                return self.release(ticket);
            }
            Outcome::Reply(Reply::Answer(answer)) => answer,
            Outcome::Reply(Reply::Unserved) => {
                let mut answer = network::unserved(self.connection.dialect(), Transport::Tcp);
                // To a peer of ours other requests may be under way.
                answer.close &= !self.connection.is_own();
                answer
            }
            Outcome::Refused(refusal) => self.connection.refused(refusal),
        };
        if answer.close && self.last.is_none() && self.is_at_work() {
            // To a peer of ours others may run: nothing more is taken, and what has begun is answered first.
            self.stage = Stage::Draining;
            self.upload = None;
            self.last = Some((ticket, answer));
            return;
        }
        // There is one that ends the conversation behind it.
        answer.close &= self.last.is_none();
        if self.download.is_some() || !self.ready.is_empty() {
            // Behind an answer whose body goes: those without bodies before those with.
            let at = match answer.body {
                None => self.ready.partition_point(|(_, before)| before.body.is_none()),
                Some(_) => self.ready.len(),
            };
            self.ready.insert(at, (ticket, answer));
        } else {
            self.write(ticket, answer);
        }
    }

    /// Whether there are requests without an answer, or with one that is not wholly in the outbox.
    fn is_at_work(&self) -> bool {
        !self.running.is_empty() || !self.ready.is_empty() || self.download.is_some()
    }

    fn write(&mut self, ticket: Ticket, mut answer: Answer) {
        if self.connection.answer(ticket, &mut answer).is_err() {
            // The caller is told, rather than left to wait.
            tracing::warn!(peer = %self.peer, code = %answer.packet.code, "an answer cannot be written");
            answer = self.connection.refused(Refusal::Unwritable);
            if self.connection.answer(ticket, &mut answer).is_err() {
                self.stage = Stage::Closing;
            }
        }
        Counters::add(&self.shared.counters.answers);
        self.download = answer.body.take().map(|body| self.paced(body));
        if answer.close {
            self.stage = Stage::Closing;
        }
        self.release(ticket);
    }

    /// A body at the rate of the server, if it is large and there is one.
    fn paced(&self, body: Body) -> Body {
        match &self.shared.rate {
            Some(rate) if body.len() > self.shared.limits.gather as u64 => body.paced(rate),
            _ => body,
        }
    }

    /// A request no longer counts.
    fn release(&mut self, ticket: Ticket) {
        self.requests = self.requests.saturating_sub(ticket.cost);
        if ticket.serial.is_none() {
            self.barrier = false;
        }
    }

    /// Moves the body of an answer on, and the answers behind it.
    fn pump(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        loop {
            while let Some(body) = &mut self.download {
                if self.connection.outbox().len() >= HIGH_WATER {
                    return progress;
                }
                match body.poll_chunk(cx) {
                    Poll::Pending => return progress,
                    Poll::Ready(Some(Ok(piece))) => {
                        progress = true;
                        self.connection.outbox().push(piece);
                    }
                    Poll::Ready(None) => self.download = None,
                    Poll::Ready(Some(Err(error))) => {
                        // The head has said how long it is: there is no other way to tell the peer.
                        tracing::warn!(peer = %self.peer, %error, "the body of an answer broke off");
                        let cut = 1 + self.ready.len() + usize::from(self.last.is_some());
                        Counters::add_many(&self.shared.counters.cut, cut);
                        self.download = None;
                        self.ready.clear();
                        self.last = None;
                        self.stage = Stage::Closing;
                    }
                }
            }
            let next = self.ready.pop_front().or_else(|| self.last.take_if(|_| self.running.is_empty()));
            let Some((ticket, answer)) = next else { return progress };
            progress = true;
            self.write(ticket, answer);
        }
    }

    /// Counts in the server's budget what is held now.
    fn settle(&mut self) {
        let held = self.requests + self.connection.outbox().len();
        if held > self.charged {
            self.shared.budget.force(held - self.charged);
        } else {
            self.shared.budget.give(self.charged - held);
        }
        self.charged = held;
        let unread = self.rest.len() + self.connection.without_room();
        self.shared.budget.holds_unread(unread, std::mem::replace(&mut self.unread, unread));
    }

    /// Nothing can be done now: what time would change it, and whether it has come.
    fn wait(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.stage != Stage::Open {
            // Nothing more is taken.
            self.claim.wait_no_more();
            self.claim.came();
        }
        self.report(now, cx);
        // What will not be taken need not come.
        let takes = self.stage == Stage::Open;
        // Where he is held up, by a handler that does not read or by what is not answered yet, the peer is not to blame:
        // his time begins when the next byte is wanted.
        let wanted = match &self.upload {
            Some(feed) => feed.poll_ready(cx).is_ready(),
            None => !self.is_full(),
        };
        if std::mem::replace(&mut self.held_up, !wanted) && wanted {
            self.wanted = now;
        }
        let limits = &self.shared.limits;
        let busy = !self.running.is_empty() || self.download.is_some() || self.barrier;
        let mut deadline: Option<Instant> = None;
        let mut sooner = |at: Instant| deadline = Some(deadline.map_or(at, |then| then.min(at)));
        match self.stage {
            Stage::Lingering(until, _) => sooner(until),
            _ => {
                let writes = !self.connection.outbox().is_empty();
                if writes {
                    sooner(self.written + limits.write_time);
                    sooner(timer::after(self.taking.0, limits.write_time.saturating_mul(TIMES)));
                }
                // What comes has its time, whatever is to be written.
                if let Some(since) = self.connection.head_since().filter(|_| takes) {
                    if wanted {
                        sooner(since.max(self.wanted) + limits.head_time);
                    }
                } else if self.claim.waits() {
                    // The peer is not to blame.
                } else if takes && self.connection.in_entity() {
                    if wanted {
                        sooner(self.received.max(self.wanted) + limits.entity_time);
                    }
                } else if !writes && (!busy || self.stage == Stage::Draining) {
                    // Whoever has said that nothing more comes may have gone altogether.
                    sooner(self.active + limits.idle_time);
                }
                // Nobody waits for ever, nor lets others wait by a byte now and then.
                let gathers = self.connection.gathers_since().filter(|_| takes);
                if let Some(since) = gathers.or(self.claim.waits_since()) {
                    sooner(timer::after(since, limits.entity_time.saturating_mul(TIMES)));
                }
                if let Some(at) = self.claim.press(now) {
                    sooner(at);
                }
            }
        }
        // Who has no turn left, as where a handler has used it up, cannot know whether something is there.
        if deadline.is_some_and(|deadline| deadline <= now) && has_budget_remaining() {
            if !matches!(self.stage, Stage::Lingering(..)) {
                Counters::add(&self.shared.counters.timed_out);
                tracing::debug!(peer = %self.peer, "a connection was too slow, or idle");
            }
            return Poll::Ready(());
        }
        if !self.trimmed {
            if self.active + TRIM <= now {
                self.trimmed = true;
                self.trim();
            } else {
                deadline = Some(deadline.map_or(self.active + TRIM, |then| then.min(self.active + TRIM)));
            }
        }
        if let Some(deadline) = deadline {
            self.arm(now, deadline, cx);
        }
        Poll::Pending
    }

    /// Tells the others how the entity gets on that is coming, and what the peer has not taken: one of them may want
    /// the room.
    fn report(&mut self, now: Instant, cx: &mut Context<'_>) {
        let untaken = self.connection.outbox().len();
        self.claim.report_untaken(now, self.peer.ip(), untaken, self.taken, cx);
        if !self.claim.is_coming() {
            return;
        }
        let waits = match &self.upload {
            _ if self.claim.waits() => Waits::Room,
            Some(feed) if feed.poll_ready(cx).is_pending() => Waits::Reader,
            _ => Waits::Peer,
        };
        self.claim.report(now, self.peer.ip(), self.connection.came(), waits, cx);
    }

    /// Who makes progress without end is not taken for slow.
    fn report_again(&mut self, now: Instant, cx: &mut Context<'_>) {
        if self.claim.is_known() {
            self.report(now, cx);
        }
    }

    /// Sees to it that the task is polled at this time, or some time before.
    fn arm(&mut self, now: Instant, at: Instant, cx: &mut Context<'_>) {
        if self.timer.poll(now, at, cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// Gives buffers back.
    fn trim(&mut self) {
        self.connection.outbox().shrink();
        self.running.trim();
        self.ready.shrink_to_fit();
        self.rest = BytesMut::from(&self.rest[..]);
    }

    fn end_of_input(&mut self) -> Result<bool, Ended> {
        if !self.connection.between_packets() {
            return Err(self.lost());
        }
        self.stage = Stage::Draining;
        Ok(true)
    }

    /// A packet that cannot be read ends the connection, once those before it are answered (SPEC 11.7).
    fn fault(&mut self, fault: Fault) {
        Counters::add(&self.shared.counters.malformed);
        match fault {
            Fault::Malformed(error) => tracing::debug!(peer = %self.peer, %error, "a packet cannot be read"),
            Fault::TooLarge(len) => tracing::debug!(peer = %self.peer, len, "an entity is too large"),
            Fault::Extension => tracing::debug!(peer = %self.peer, "an extension is out of place"),
        }
        self.upload = None;
        self.stage = Stage::Draining;
    }

    fn lost(&self) -> Ended {
        Counters::add(&self.shared.counters.lost);
        Ended
    }
}

impl<S, H, M, F> Drop for Driver<S, H, M, F> {
    fn drop(&mut self) {
        self.shared.budget.give(self.charged);
        self.shared.budget.holds_unread(0, self.unread);
        let unwritten = !self.connection.outbox().is_empty() || self.download.is_some();
        let cut = self.running.here()
            + self.ready.len()
            + usize::from(self.last.is_some())
            + usize::from(unwritten);
        Counters::add_many(&self.shared.counters.cut, cut);
    }
}

/// Executes a request of an ordered channel, and those behind it. While it has its `end`, a server that stops waits for
/// it.
async fn run_ordered<H: Handler>(
    shared: Arc<Shared<H>>,
    mut end: watch::Receiver<bool>,
    place: Ordered,
    queued: Queued<H>,
) {
    let mut next = Some(queued);
    while let Some(Queued { request, held: _held }) = next {
        let dialect = request.peer.dialect;
        let mut ended =
            End { shared: &shared, place, dialect, answer: None, bytes: 0, next: None, done: false };
        let answer = tokio::select! {
            biased;
            _ = end.wait_for(|end| *end) => {
                // The server has ended: nothing more begins.
                ended.done = true;
                let cut = shared.ordered.lock().unwrap_or_else(PoisonError::into_inner).clear();
                Counters::add_many(&shared.counters.cut, cut);
                return;
            }
            answer = execute(&shared, request) => answer,
        };
        ended.bytes = Encoder::new(dialect).packet_len(&answer).unwrap_or(0);
        ended.answer = Some(answer);
        next = ended.end();
    }
}

/// Executes a request of an ordered channel to its end, which is that of its answer's body: its deadline is its
/// handler's business (SPEC 10.5).
async fn execute<H: Handler>(shared: &Shared<H>, request: Request) -> Packet {
    let dialect = request.peer.dialect;
    let reply = if request.packet.code == extension::PING {
        // It opens the channel.
        Packet::new(tables::of(dialect).okay).into()
    } else if request.deadline.is_some_and(|deadline| deadline.into_std() <= timer::now()) {
        refused(dialect, Refusal::Late).into()
    } else if extension::is_transports(request.packet.code) || network::ends(&request.packet, &request.peer) {
        Reply::Unserved
    } else if let Some(reply) = network::answer(&request.packet, &request.peer, &shared.key) {
        reply
    } else {
        shared.handler.handle(request).await
    };
    match reply {
        // Whoever waits behind it has to know that it has ended.
        Reply::Silence => refused(dialect, Refusal::Silent),
        Reply::Unwritable => refused(dialect, Refusal::Unwritable),
        Reply::Unserved => network::unserved(dialect, Transport::Tcp).packet,
        Reply::Answer(Answer { packet, body: None, .. }) => packet,
        // It is kept, so it is gathered.
        Reply::Answer(Answer { packet, body: Some(body), .. }) => {
            match body.collect(shared.limits.ordered_bytes).await {
                Ok(entity) => Packet { entity, ..packet },
                Err(_) => refused(dialect, Refusal::NotKept),
            }
        }
    }
}

/// The answer of an ordered channel to what it did not execute, or cannot keep.
fn refused(dialect: &Dialect, refusal: Refusal) -> Packet {
    Packet::new(tables::of(dialect).refuse).with(extension::key::REFUSAL, refusal.number())
}

/// Says that a request of an ordered channel has ended, even if its handler panics: those behind it go on.
struct End<'s, H: Handler> {
    shared: &'s Arc<Shared<H>>,
    place: Ordered,
    dialect: &'static Dialect,
    answer: Option<Packet>,
    bytes: usize,
    next: Option<Queued<H>>,
    done: bool,
}

impl<H: Handler> End<'_, H> {
    fn end(mut self) -> Option<Queued<H>> {
        self.finish();
        self.next.take()
    }

    fn finish(&mut self) {
        self.done = true;
        // Its handler has panicked.
        let silent = self.answer.is_none().then(|| refused(self.dialect, Refusal::Silent));
        let answer = self.answer.as_ref().or(silent.as_ref());
        let bytes = self.bytes + answer.map_or(0, |answer| places(answer.messages.len()));
        let mut channels = self.shared.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = channels.finished(timer::now(), self.place.channel, answer, bytes);
        drop(channels);
        let answer = self.answer.take().or(silent);
        for waiter in finished.waiters {
            let reply = answer.clone().map_or(Reply::Silence, Reply::from);
            // Whoever has gone asks again.
            let _ = waiter.send(Outcome::Reply(reply));
        }
        self.next = finished.next;
    }
}

impl<H: Handler> Drop for End<'_, H> {
    fn drop(&mut self) {
        if !self.done {
            self.finish();
            if let Some(next) = self.next.take() {
                let (shared, end) = (Arc::clone(self.shared), self.shared.end.subscribe());
                tokio::spawn(run_ordered(shared, end, self.place, next));
            }
        }
    }
}
