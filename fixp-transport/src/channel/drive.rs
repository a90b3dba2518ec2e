//! Runs a channel: one task that connects, writes what the ledger has to send, and reads answers.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use fixp_codec::{Code, Packet};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;

use super::backoff::Backoff;
use super::ledger::{Ledger, Matched, Matching, Outcome};
use super::session::{Event, Partner, Session, Terms};
use super::{ChannelStats, Inner, Status, Submission};
use crate::Repeat;
use crate::error::{CallError, Cause};
use crate::extension;
use crate::outbox::Outbox;
use crate::scratch;
use crate::socket::Connect;
use crate::tables;
use crate::timer::{self, Timer};
use crate::turn;

/// How long the answer to EXIT is waited for.
pub(super) const EXIT_TIME: Duration = Duration::from_secs(2);
/// After so much idleness an ordered channel is begun anew: half of the time that servers remember one by
/// default.
const ORDERED_IDLE: Duration = Duration::from_secs(60);
/// Rounds of writing and reading before other tasks have their turn.
const ROUNDS: usize = 32;
/// So many callers are told what has come of their requests before they have their turn. Those whom a thread of
/// tokio has no room for in its queue of 256 would go behind all others, again and again.
const TOLD: usize = 128;
/// Why a connection ends whose peer is silent for too long. Of the requests on it, those have [`Cause::Timeout`] whose
/// own time is over.
const SILENT: Cause = Cause::Lost(io::ErrorKind::TimedOut);

/// Runs the channel until it is closed.
pub(super) async fn run<C: Connect>(inner: Arc<Inner>, connector: Arc<C>, terms: Terms, seed: u64) {
    let config = &inner.config;
    let mut chance = SmallRng::seed_from_u64(seed);
    let matching = if config.ordered { Matching::Ordered } else { Matching::InOrder(1) };
    let mut driver = Driver {
        connector,
        terms,
        link: Link::Down,
        retry_at: None,
        last: Cause::Timeout,
        backoff: Backoff::new(config.backoff),
        // Nobody must guess the number of an ordered channel.
        ledger: Ledger::new(chance.random(), matching),
        chance,
        stats: ChannelStats::default(),
        used: timer::now(),
        overflows: false,
        closing: None,
        gathered: false,
        told: 0,
        incoming: Vec::new(),
        timer: Timer::default(),
        inner: Arc::clone(&inner),
    };
    poll_fn(|cx| driver.poll(cx)).await;
}

type Connecting<S> = Pin<Box<dyn Future<Output = io::Result<S>> + Send>>;

struct Driver<C: Connect> {
    inner: Arc<Inner>,
    connector: Arc<C>,
    terms: Terms,
    link: Link<C::Stream>,
    /// When the next attempt may begin.
    retry_at: Option<Instant>,
    /// Why there is no connection.
    last: Cause,
    backoff: Backoff,
    chance: SmallRng,
    ledger: Ledger<oneshot::Sender<Outcome>>,
    /// What this task counts; the callers' counter is in the inbox.
    stats: ChannelStats,
    /// When a request was last under way.
    used: Instant,
    /// The last batch was full: what came with it goes behind it and waits for no company.
    overflows: bool,
    /// When the channel is to be closed, at the latest.
    closing: Option<Instant>,
    /// Callers that are about to run have had their turn to add to the batch.
    gathered: bool,
    /// Callers that were told since others had their turn.
    told: usize,
    /// The inbox's list of before, used again.
    incoming: Vec<Submission>,
    timer: Timer,
}

enum Link<S> {
    Down,
    Connecting(Connecting<S>, Instant),
    Up(Box<Up<S>>),
}

struct Up<S> {
    stream: S,
    session: Session,
    outbox: Outbox,
    /// The bytes that the socket has taken.
    written: u64,
    /// When the greeting must be answered.
    greeting: Instant,
    /// The last byte either way.
    active: Instant,
    /// When there was last nothing to be written.
    empty: Instant,
    /// The last byte from the peer, and since when, if at all, a heartbeat waits for one.
    heard: Instant,
    asked: Option<Instant>,
    /// EXIT was said, and this is how long its answer is waited for.
    exit: Option<Instant>,
}

/// How a connection is after a round.
enum Turn {
    Progress,
    Idle,
    Cut(Cause),
    /// The end that was asked for.
    Closed,
}

impl<C: Connect> Driver<C> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.driver.register(cx.waker());
        // The first of many callers that are ready to run wakes this task, and the runtime would have it run
        // before the others: it goes to the end of the line, so that their requests go together.
        if !mem::replace(&mut self.gathered, true) && !self.inner.lock().queue.is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let now = timer::now();
        self.told = 0;
        for _ in 0..ROUNDS {
            self.exchange(now);
            let progress = match mem::replace(&mut self.link, Link::Down) {
                Link::Down => self.down(now),
                Link::Connecting(connecting, until) => self.connecting(connecting, until, now, cx),
                Link::Up(mut up) => match self.up(&mut up, now, cx) {
                    Turn::Progress => {
                        self.link = Link::Up(up);
                        true
                    }
                    Turn::Idle => {
                        self.link = Link::Up(up);
                        false
                    }
                    Turn::Cut(cause) => {
                        self.cut(&up, cause, now);
                        true
                    }
                    Turn::Closed => return Poll::Ready(()),
                },
            };
            if let Some(until) = self.closing
                && !matches!(self.link, Link::Up(_))
                && (until <= now || self.ledger.is_idle())
            {
                return Poll::Ready(());
            }
            if self.told == TOLD {
                self.gathered = false;
                turn::give_way(cx);
                return Poll::Pending;
            }
            if !progress {
                // What has ended in this round is told before the task sleeps.
                self.exchange(now);
                if self.told == TOLD || self.ledger.queued() > 0 && self.is_free(now) {
                    continue;
                }
                self.arm(now, cx);
                self.gathered = false;
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes what callers have left, tells them what has ended, and gives back its room.
    fn exchange(&mut self, now: Instant) {
        let (requests, bytes) = mem::take(&mut self.ledger.freed);
        let limits = &self.inner.config.limits;
        let mut inbox = self.inner.lock();
        inbox.requests -= requests;
        inbox.bytes -= bytes;
        if inbox.waiting_until.is_some_and(|until| until.into_std() <= now) {
            let (late, waiting): (VecDeque<_>, VecDeque<_>) =
                mem::take(&mut inbox.waiting).into_iter().partition(|waiting| waiting.deadline <= now);
            inbox.waiting = waiting;
            inbox.waiting_until = inbox.waiting.iter().map(|waiting| waiting.deadline.into()).min();
            let late = late.into_iter().filter_map(|late: Submission| late.waiter);
            self.ledger.ended.extend(late.map(|waiter| (waiter, Err(CallError::not_sent(Cause::Timeout)))));
        }
        while let Some(first) = inbox.waiting.front()
            && inbox.has_room(limits, first.size)
            && let Some(first) = inbox.waiting.pop_front()
        {
            inbox.enter(first);
        }
        mem::swap(&mut self.incoming, &mut inbox.queue);
        let gone = mem::take(&mut inbox.gone);
        if !gone.is_empty() {
            inbox.waiting.retain(|waiting| !gone.contains(&waiting.id));
        }
        self.closing = inbox.closing.map(tokio::time::Instant::into_std);
        inbox.stats = ChannelStats {
            requests: inbox.stats.requests,
            in_flight: self.ledger.in_flight() as u64,
            queued: (self.ledger.queued() + self.incoming.len() + inbox.waiting.len()) as u64,
            ..self.stats
        };
        drop(inbox);
        for submission in self.incoming.drain(..) {
            self.ledger.submit(submission);
        }
        for id in gone {
            self.ledger.cancel(id);
        }
        self.tell(TOLD - self.told);
    }

    /// Tells those who wait what has come of their requests, at most so many of them.
    fn tell(&mut self, most: usize) {
        let count = most.min(self.ledger.ended.len());
        self.told += count;
        for (waiter, outcome) in self.ledger.ended.drain(..count) {
            // Whoever has gone does not want to know.
            let _ = waiter.send(outcome);
        }
    }

    /// Whether what has just been taken in could be sent at once.
    fn is_free(&self, now: Instant) -> bool {
        match &self.link {
            Link::Up(up) => {
                up.session.is_open()
                    && up.exit.is_none()
                    && up.outbox.is_empty()
                    && !self.is_held(now)
                    && self.ledger.next().is_some()
            }
            Link::Down => self.retry_at.is_none(),
            Link::Connecting(..) => false,
        }
    }

    /// Whether somebody wants a connection where there is none.
    fn is_wanted(&self) -> bool {
        let status = &self.inner.status;
        self.ledger.queued() > 0 || *status.borrow() == Status::Down && status.receiver_count() > 0
    }

    /// No connection: one is made if somebody wants it.
    fn down(&mut self, now: Instant) -> bool {
        self.ledger.expire(now, self.last, 0);
        if !self.is_wanted() || self.retry_at.is_some_and(|at| at > now) {
            return false;
        }
        let connector = Arc::clone(&self.connector);
        let connecting = Box::pin(async move { connector.connect().await });
        self.link = Link::Connecting(connecting, now + self.inner.config.connect_time);
        true
    }

    fn connecting(
        &mut self,
        mut connecting: Connecting<C::Stream>,
        until: Instant,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> bool {
        self.ledger.expire(now, self.last, 0);
        let failure = match connecting.as_mut().poll(cx) {
            Poll::Pending if until > now => {
                self.link = Link::Connecting(connecting, until);
                return false;
            }
            Poll::Pending => io::ErrorKind::TimedOut,
            Poll::Ready(Err(error)) => error.kind(),
            Poll::Ready(Ok(stream)) => {
                let mut outbox = Outbox::default();
                let session = Session::new(self.terms, &mut outbox);
                tracing::debug!(peer = %self.connector.peer(), "connected");
                self.stats.connections += 1;
                self.ledger.set_matching(Matching::InOrder(1));
                let up = Up {
                    stream,
                    session,
                    outbox,
                    written: 0,
                    greeting: until,
                    active: now,
                    empty: now,
                    heard: now,
                    asked: None,
                    exit: None,
                };
                if up.session.is_open() {
                    self.opened(&up);
                }
                self.link = Link::Up(Box::new(up));
                return true;
            }
        };
        self.failed(Cause::Connect(failure), now);
        true
    }

    /// There is no connection, and the next attempt waits.
    fn failed(&mut self, cause: Cause, now: Instant) {
        tracing::debug!(peer = %self.connector.peer(), %cause, "no connection");
        self.last = cause;
        self.retry_at = Some(now + self.backoff.pause(&mut self.chance));
        self.stats.failures += 1;
        if cause == Cause::NotOrdered || matches!(cause, Cause::Security(_)) {
            // Another attempt would end the same way.
            self.ledger.fail_all(cause);
        }
        self.inner.status.send_replace(Status::Failed(cause));
    }

    /// Requests may go.
    fn opened(&mut self, up: &Up<C::Stream>) {
        self.matched(up.session.partner());
        self.inner.status.send_replace(Status::Open);
    }

    /// What is known of the peer says how answers are matched.
    fn matched(&mut self, partner: Partner) {
        self.ledger.set_matching(match partner {
            Partner::Unknown => Matching::InOrder(1),
            Partner::Ours(capabilities) if capabilities.serials() => Matching::Tagged,
            Partner::Ours(_) | Partner::Other => Matching::InOrder(self.inner.config.depth),
        });
    }

    fn up(&mut self, up: &mut Up<C::Stream>, now: Instant, cx: &mut Context<'_>) -> Turn {
        let mut progress = false;
        if self.ledger.expire(now, Cause::Timeout, up.written) {
            return Turn::Cut(SILENT);
        }
        if up.outbox.is_empty() {
            // The peer's time to take something begins when it is there.
            up.empty = now;
        }
        if up.session.is_open() && up.exit.is_none() {
            self.send(up, now);
            if let Some(until) = self.closing
                && up.outbox.is_empty()
                && (self.ledger.is_idle() || until <= now)
            {
                up.session.exit(&mut up.outbox);
                up.exit = Some(now + EXIT_TIME);
            }
        }
        if up.asked.is_some_and(|since| since + self.inner.config.heartbeat_time <= now)
            || self.stuck_at(up).is_some_and(|at| at <= now)
        {
            return Turn::Cut(SILENT);
        }
        if up.exit.is_none() && self.closing.is_some_and(|until| until <= now) && !up.outbox.is_empty() {
            // A peer that does not read is not waited for without end.
            return Turn::Closed;
        }
        if up.greeting <= now && !up.session.is_open() {
            return Turn::Cut(Cause::Connect(io::ErrorKind::TimedOut));
        }
        let mut broken = None;
        match up.outbox.poll_write(&mut up.stream, cx) {
            Poll::Ready(Ok(0)) | Poll::Pending => {}
            // What the peer said before it went is heard all the same: it may say why.
            Poll::Ready(Err(error)) => broken = Some(Cause::Lost(error.kind())),
            Poll::Ready(Ok(count)) => {
                up.written += count as u64;
                up.active = now;
                progress = true;
                self.stats.writes += 1;
                self.stats.bytes_written += count as u64;
            }
        }
        match self.read(up, now, cx) {
            Ok(came) => progress |= came,
            // The answer to EXIT, or the end without it.
            Err(_) if up.exit.is_some() => return Turn::Closed,
            Err(cause) => return Turn::Cut(cause),
        }
        if let Some(cause) = broken
            && !progress
            // Where so many have been told nothing was read: that is for the next turn.
            && self.told < TOLD
        {
            return Turn::Cut(cause);
        }
        if up.exit.is_some_and(|until| until <= now) {
            return Turn::Closed;
        }
        if progress { Turn::Progress } else { Turn::Idle }
    }

    /// When a peer that takes no byte and gives none, though there are some for it, is taken to be gone: as long
    /// as it would have for a heartbeat.
    fn stuck_at(&self, up: &Up<C::Stream>) -> Option<Instant> {
        let config = &self.inner.config;
        let after = config.heartbeat.filter(|_| !up.outbox.is_empty())?;
        Some(up.active.max(up.empty) + after + config.heartbeat_time)
    }

    /// Puts into the outbox what the ledger has to send.
    fn send(&mut self, up: &mut Up<C::Stream>, now: Instant) {
        let config = &self.inner.config;
        let batch = config.limits.batch;
        for serial in self.ledger.canceled.drain(..) {
            if up.outbox.len() < batch {
                up.session.cancel(&mut up.outbox, serial);
            }
        }
        if !self.is_held(now) {
            self.send_queued(up, now);
        }
        self.ask_for_life(up, now);
    }

    /// Whether what is queued waits for company.
    fn is_held(&self, now: Instant) -> bool {
        let config = &self.inner.config;
        !config.batch_delay.is_zero()
            && !self.overflows
            && self.ledger.queued_since().is_some_and(|since| since + config.batch_delay > now)
            && self.ledger.in_flight() > 0
            && self.ledger.queued_bytes() < config.limits.batch
    }

    fn send_queued(&mut self, up: &mut Up<C::Stream>, now: Instant) {
        let config = &self.inner.config;
        let batch = config.limits.batch;
        if self.ledger.in_flight() > 0 {
            self.used = now;
        } else if now.saturating_duration_since(self.used) >= ORDERED_IDLE {
            self.used = now;
            self.ledger.restart();
        }
        if self.ledger.wants_opening() {
            self.ledger.open(own(extension::PING, now, now + config.connect_time));
        }
        while up.outbox.len() < batch {
            let Some((packet, tag, deadline)) = self.ledger.next() else { break };
            let left = deadline.saturating_duration_since(now).as_millis();
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            if extension::is_own(packet.code) && !up.session.partner().is_ours() {
                self.ledger.unsendable(Cause::NotOurs);
                continue;
            }
            match up.session.request(&mut up.outbox, packet, tag, left) {
                Ok(head) => self.ledger.sent(head),
                Err(error) => self.ledger.unsendable(Cause::Encode(error)),
            }
        }
        self.overflows = up.outbox.len() >= batch && self.ledger.next().is_some();
    }

    /// A heartbeat, where it is time for one.
    fn ask_for_life(&mut self, up: &mut Up<C::Stream>, now: Instant) {
        let config = &self.inner.config;
        let Some(after) = config.heartbeat else { return };
        if let Partner::Ours(_) = up.session.partner() {
            // Whatever else is under way: its answers may take long. What is still to be written would hold the
            // heartbeat up, too.
            if up.asked.is_none() && up.outbox.is_empty() && up.heard + after <= now {
                self.stats.heartbeats += 1;
                up.session.ping(&mut up.outbox);
                up.asked = Some(now);
            }
        } else if self.ledger.is_idle() && up.active + after <= now {
            if let Some(test) = tables::of(config.dialect).test {
                self.stats.heartbeats += 1;
                self.ledger.submit(own(test, now, now + config.heartbeat_time));
            }
            up.active = now;
        }
    }

    /// Reads what the socket has, and gives answers to their requests.
    fn read(&mut self, up: &mut Up<C::Stream>, now: Instant, cx: &mut Context<'_>) -> Result<bool, Cause> {
        if self.told == TOLD {
            return Ok(false);
        }
        let mut buffer = scratch::take();
        let read = scratch::read_into(&mut up.stream, cx, &mut buffer);
        let result = match read {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(Cause::Lost(error.kind())),
            Poll::Ready(Ok(0)) if up.session.between_packets() => Err(Cause::Ended),
            Poll::Ready(Ok(0)) => Err(Cause::Lost(io::ErrorKind::UnexpectedEof)),
            Poll::Ready(Ok(count)) => {
                (up.active, up.heard, up.asked) = (now, now, None);
                self.stats.bytes_read += count as u64;
                self.answers(up, &buffer).map(|()| true)
            }
        };
        scratch::put(buffer);
        result
    }

    fn answers(&mut self, up: &mut Up<C::Stream>, mut input: &[u8]) -> Result<(), Cause> {
        while let Some(event) = up.session.next(&mut input) {
            match event? {
                Event::Open => {
                    self.opened(up);
                    self.backoff.reset();
                }
                Event::Pong => {}
                // The answer to EXIT.
                Event::Answer { .. } if up.exit.is_some() && self.ledger.in_flight() == 0 => {
                    return Err(Cause::Ended);
                }
                Event::Answer { serial, refusal, outcome } => {
                    match self.ledger.answer(serial, refusal, outcome) {
                        Matched::Answered => self.stats.answered += 1,
                        Matched::Internal => {}
                        Matched::Late => self.stats.late += 1,
                        Matched::Unexpected => return Err(Cause::Unexpected),
                    }
                    self.backoff.reset();
                    if self.ledger.matching() == Matching::InOrder(1) {
                        // The first answer says what the peer is.
                        self.matched(up.session.partner());
                    }
                }
            }
        }
        Ok(())
    }

    /// The connection is gone.
    fn cut(&mut self, up: &Up<C::Stream>, cause: Cause, now: Instant) {
        self.stats.cuts += 1;
        let report = self.ledger.cut(cause, up.written);
        tracing::debug!(
            peer = %self.connector.peer(),
            %cause,
            answered = report.answered,
            not_sent = report.not_sent.len(),
            possibly_executed = report.possibly_executed.len(),
            "the connection is lost"
        );
        if let Some(on_cut) = &self.inner.config.on_cut {
            on_cut(&report);
        }
        if up.session.is_open() {
            self.last = cause;
            self.inner.status.send_replace(Status::Down);
            self.retry_at = Some(now + self.backoff.pause(&mut self.chance));
        } else {
            self.failed(cause, now);
        }
    }

    /// Sees to it that the task is polled when time changes something.
    fn arm(&mut self, now: Instant, cx: &mut Context<'_>) {
        let config = &self.inner.config;
        let mut at = self.ledger.earliest();
        let mut sooner = |when: Instant| at = Some(at.map_or(when, |then| then.min(when)));
        self.closing.into_iter().for_each(&mut sooner);
        let waiting = self.inner.lock().waiting_until;
        waiting.into_iter().for_each(|until| sooner(until.into_std()));
        match &self.link {
            Link::Down if self.is_wanted() => self.retry_at.into_iter().for_each(&mut sooner),
            Link::Down => {}
            Link::Connecting(_, until) => sooner(*until),
            Link::Up(up) => {
                if !up.session.is_open() {
                    sooner(up.greeting);
                }
                up.exit.into_iter().for_each(&mut sooner);
                if !config.batch_delay.is_zero()
                    && let Some(since) = self.ledger.queued_since()
                    // Else it waits for the answer to another.
                    && since + config.batch_delay > now
                {
                    sooner(since + config.batch_delay);
                }
                self.stuck_at(up).into_iter().for_each(&mut sooner);
                if let Some(after) = config.heartbeat {
                    match (up.session.partner(), up.asked) {
                        (_, Some(since)) => sooner(since + config.heartbeat_time),
                        (Partner::Ours(_), None) if up.outbox.is_empty() => sooner(up.heard + after),
                        (Partner::Ours(_), None) => {}
                        _ if self.ledger.is_idle() => sooner(up.active + after),
                        _ => {}
                    }
                }
            }
        }
        let Some(at) = at else { return };
        // What is due and cannot be done yet is not asked for without end.
        let at = at.max(now + Duration::from_millis(1));
        if self.timer.poll(now, at, cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

/// A request of the channel's own.
fn own(code: Code, since: Instant, deadline: Instant) -> Submission {
    let (packet, repeat) = (Packet::new(code), Repeat::Never);
    Submission { id: 0, packet, size: 0, since, deadline, repeat, tag: 0, waiter: None }
}

/// However the task ends, nobody is left waiting.
impl<C: Connect> Drop for Driver<C> {
    fn drop(&mut self) {
        self.ledger.fail_all(Cause::Closed);
        self.tell(usize::MAX);
        let mut inbox = self.inner.lock();
        inbox.closed = true;
        let queue = mem::take(&mut inbox.queue);
        let waiting = mem::take(&mut inbox.waiting);
        inbox.stats = ChannelStats { requests: inbox.stats.requests, in_flight: 0, queued: 0, ..self.stats };
        drop(inbox);
        for waiter in queue.into_iter().chain(waiting).filter_map(|submission| submission.waiter) {
            let _ = waiter.send(Err(CallError::not_sent(Cause::Closed)));
        }
        self.inner.status.send_replace(Status::Closed);
    }
}
