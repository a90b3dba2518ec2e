//! Runs a channel: one task that connects, writes what the ledger has to send, and reads answers.

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
use tokio::time::Sleep;

use super::backoff::Backoff;
use super::ledger::{Matched, Matching, Repeat, Submission};
use super::session::{Event, Partner, Session, Terms};
use super::{Inner, State, Status};
use crate::error::Cause;
use crate::extension;
use crate::outbox::Outbox;
use crate::scratch;
use crate::socket::Connect;
use crate::tables;

/// How long the answer to EXIT is waited for.
const EXIT_TIME: Duration = Duration::from_secs(2);
/// Rounds of writing and reading before other tasks have their turn.
const ROUNDS: usize = 32;

/// A number that nobody guesses, for an ordered channel.
pub(super) fn number(seed: u64) -> u128 {
    SmallRng::seed_from_u64(seed).random()
}

/// Runs the channel until it is closed.
pub(super) async fn run<C: Connect>(inner: Arc<Inner>, connector: Arc<C>, terms: Terms, seed: u64) {
    let config = &inner.config;
    let mut driver = Driver {
        connector,
        terms,
        link: Link::Down,
        retry_at: None,
        last: Cause::Timeout,
        backoff: Backoff::new(config.backoff),
        chance: SmallRng::seed_from_u64(seed ^ 1),
        sleep: None,
        events: Vec::new(),
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
    sleep: Option<Pin<Box<Sleep>>>,
    events: Vec<Event>,
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
        let now = clock();
        for _ in 0..ROUNDS {
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
                    Turn::Closed => return self.finish(),
                },
            };
            let closing = self.inner.lock().closing;
            if let Some(until) = closing
                && !matches!(self.link, Link::Up(_))
                && (until.into_std() <= now || self.inner.lock().ledger.is_idle())
            {
                return self.finish();
            }
            if !progress {
                self.arm(now, cx);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// No connection: one is made if somebody wants it.
    fn down(&mut self, now: Instant) -> bool {
        let mut state = self.inner.lock();
        state.ledger.expire(now, self.last);
        let wanted = state.ledger.queued() > 0
            || *self.inner.status.borrow() == Status::Down && self.inner.status.receiver_count() > 0;
        self.wake(state);
        if !wanted || self.retry_at.is_some_and(|at| at > now) {
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
        let mut state = self.inner.lock();
        state.ledger.expire(now, self.last);
        self.wake(state);
        let failure = match connecting.as_mut().poll(cx) {
            Poll::Pending if until > now => {
                self.link = Link::Connecting(connecting, until);
                return false;
            }
            Poll::Pending => io::ErrorKind::TimedOut,
            Poll::Ready(Err(error)) => error.kind(),
            Poll::Ready(Ok(stream)) => {
                let config = &self.inner.config;
                let mut outbox = Outbox::default();
                let session = Session::new(self.terms, &mut outbox);
                tracing::debug!(peer = %self.connector.peer(), "connected");
                let mut state = self.inner.lock();
                state.stats.connections += 1;
                let matching = if config.ordered { Matching::Ordered } else { Matching::InOrder(1) };
                state.ledger.set_matching(matching);
                drop(state);
                let mut up =
                    Up { stream, session, outbox, written: 0, greeting: until, active: now, exit: None };
                if up.session.is_open() {
                    self.opened(&mut up);
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
        let mut state = self.inner.lock();
        state.stats.failures += 1;
        if cause == Cause::NotOrdered || matches!(cause, Cause::Security(_)) {
            // Another attempt would end the same way.
            state.ledger.fail_all(cause);
        }
        self.wake(state);
        self.inner.status.send_replace(Status::Failed(cause));
    }

    /// Requests may go.
    fn opened(&mut self, up: &mut Up<C::Stream>) {
        self.matched(up.session.partner());
        self.inner.status.send_replace(Status::Open);
    }

    /// What is known of the peer says how answers are matched.
    fn matched(&mut self, partner: Partner) {
        let config = &self.inner.config;
        if config.ordered {
            return;
        }
        self.inner.lock().ledger.set_matching(match partner {
            Partner::Unknown => Matching::InOrder(1),
            Partner::Ours(capabilities) if capabilities.serials() => Matching::Tagged,
            Partner::Ours(_) | Partner::Other => Matching::InOrder(config.depth),
        });
    }

    fn up(&mut self, up: &mut Up<C::Stream>, now: Instant, cx: &mut Context<'_>) -> Turn {
        let mut progress = false;
        let mut state = self.inner.lock();
        if state.ledger.expire(now, Cause::Timeout) {
            self.wake(state);
            return Turn::Cut(Cause::Timeout);
        }
        if up.session.is_open() && up.exit.is_none() {
            self.send(up, &mut state, now);
            if let Some(until) = state.closing
                && up.outbox.is_empty()
                && (state.ledger.is_idle() || until.into_std() <= now)
            {
                up.session.exit(&mut up.outbox);
                up.exit = Some(now + EXIT_TIME);
            }
        }
        self.wake(state);
        if up.greeting <= now && !up.session.is_open() {
            return Turn::Cut(Cause::Connect(io::ErrorKind::TimedOut));
        }
        match up.outbox.poll_write(&mut up.stream, cx) {
            Poll::Ready(Ok(0)) | Poll::Pending => {}
            Poll::Ready(Err(error)) => return Turn::Cut(Cause::Lost(error.kind())),
            Poll::Ready(Ok(count)) => {
                up.written += count as u64;
                up.active = now;
                progress = true;
                let mut state = self.inner.lock();
                state.stats.writes += 1;
                state.stats.bytes_written += count as u64;
            }
        }
        match self.read(up, now, cx) {
            Ok(came) => progress |= came,
            Err(cause) if up.exit.is_some() => {
                // The answer to EXIT, or the end without it.
                let _ = cause;
                return Turn::Closed;
            }
            Err(cause) => return Turn::Cut(cause),
        }
        if up.exit.is_some_and(|until| until <= now) {
            return Turn::Closed;
        }
        if progress { Turn::Progress } else { Turn::Idle }
    }

    /// Puts into the outbox what the ledger has to send.
    fn send(&self, up: &mut Up<C::Stream>, state: &mut State, now: Instant) {
        let config = &self.inner.config;
        for serial in mem::take(&mut state.ledger.canceled) {
            if state.ledger.matching() == Matching::Tagged && up.outbox.len() < config.limits.batch {
                up.session.cancel(&mut up.outbox, serial);
            }
        }
        let held = state.queued_since.is_some_and(|since| since + config.batch_delay > now)
            && state.ledger.in_flight() > 0
            && state.ledger.queued_bytes() < config.limits.batch;
        while !held && up.outbox.len() < config.limits.batch {
            let Some((_, packet, tag, deadline)) = state.ledger.next() else { break };
            let left = deadline.saturating_duration_since(now).as_millis();
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            match up.session.request(&mut up.outbox, packet, tag, left) {
                Ok(()) => state.ledger.sent(up.session.enqueued),
                Err(error) => state.ledger.unsendable(Cause::Encode(error)),
            }
        }
        if !held {
            state.queued_since = None;
        }
        if let Some(after) = config.heartbeat
            && state.ledger.is_idle()
            && up.active + after <= now
        {
            let heartbeat = match up.session.partner() {
                Partner::Ours(_) if !config.ordered => Some(extension::PING),
                Partner::Ours(_) | Partner::Unknown | Partner::Other => tables::of(config.dialect).test,
            };
            if let Some(code) = heartbeat {
                self.heartbeat(code, state, now);
                up.active = now;
            }
        }
    }

    fn heartbeat(&self, code: Code, state: &mut State, now: Instant) {
        state.stats.heartbeats += 1;
        let packet = Packet::new(code);
        let deadline = now + self.inner.config.heartbeat_time;
        let submission = Submission {
            id: 0,
            packet,
            size: 0,
            deadline,
            repeat: Repeat::Never,
            permit: None,
            internal: true,
        };
        let _ = state.ledger.submit(submission);
    }

    /// Reads what the socket has, and gives answers to their requests.
    fn read(&mut self, up: &mut Up<C::Stream>, now: Instant, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let mut buffer = scratch::take();
        let read = scratch::read_into(&mut up.stream, cx, &mut buffer);
        let result = match read {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(Cause::Lost(error.kind())),
            Poll::Ready(Ok(0)) if up.session.between_packets() => Err(Cause::Ended),
            Poll::Ready(Ok(0)) => Err(Cause::Lost(io::ErrorKind::UnexpectedEof)),
            Poll::Ready(Ok(count)) => {
                up.active = now;
                let mut input = &buffer[..];
                let mut events = mem::take(&mut self.events);
                let mut fault = None;
                while let Some(event) = up.session.next(&mut input) {
                    match event {
                        Ok(event) => events.push(event),
                        Err(cause) => {
                            fault = Some(cause);
                            break;
                        }
                    }
                }
                let taken = self.answers(up, &mut events, count);
                self.events = events;
                match fault {
                    Some(cause) => Err(cause),
                    None => taken.map(|()| true),
                }
            }
        };
        scratch::put(buffer);
        result
    }

    fn answers(
        &mut self,
        up: &mut Up<C::Stream>,
        events: &mut Vec<Event>,
        count: usize,
    ) -> Result<(), Cause> {
        let mut state = self.inner.lock();
        state.stats.bytes_read += count as u64;
        let mut fault = None;
        let mut opened = false;
        for event in events.drain(..) {
            match event {
                Event::Open => opened = true,
                Event::Answer { .. } if up.exit.is_some() && state.ledger.in_flight() == 0 => {
                    fault = Some(Cause::Ended);
                }
                Event::Answer { serial, refusal, packet } => {
                    match state.ledger.answer(serial, refusal, packet) {
                        Matched::Answered => state.stats.answered += 1,
                        Matched::Internal => {}
                        Matched::Late => state.stats.late += 1,
                        Matched::Unexpected => fault = fault.or(Some(Cause::Unexpected)),
                    }
                }
            }
        }
        let first = state.ledger.matching() == Matching::InOrder(1);
        self.wake(state);
        if opened {
            self.opened(up);
        } else if first {
            self.matched(up.session.partner());
        }
        self.backoff.reset();
        fault.map_or(Ok(()), Err)
    }

    /// The connection is gone.
    fn cut(&mut self, up: &Up<C::Stream>, cause: Cause, now: Instant) {
        let mut state = self.inner.lock();
        state.stats.cuts += 1;
        let report = state.ledger.cut(cause, up.written);
        self.wake(state);
        tracing::debug!(
            peer = %self.connector.peer(), %cause, answered = report.answered, not_sent = report.not_sent.len(),
            possibly_executed = report.possibly_executed.len(), "the connection is lost"
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

    /// Wakes those whose requests have ended, once nothing is locked.
    fn wake(&self, mut state: std::sync::MutexGuard<'_, State>) {
        if state.ledger.woken.is_empty() {
            return;
        }
        let mut woken = mem::take(&mut state.ledger.woken);
        drop(state);
        self.inner.wake(&mut woken);
        // The list is used again.
        let mut state = self.inner.lock();
        if state.ledger.woken.is_empty() {
            state.ledger.woken = woken;
        }
    }

    /// Sees to it that the task is polled when time changes something.
    fn arm(&mut self, now: Instant, cx: &mut Context<'_>) {
        let config = &self.inner.config;
        let state = self.inner.lock();
        let mut at = state.ledger.earliest();
        let mut sooner = |when: Instant| at = Some(at.map_or(when, |then| then.min(when)));
        if let Some(until) = state.closing {
            sooner(until.into_std());
        }
        match &self.link {
            Link::Down => {
                if state.ledger.queued() > 0 {
                    self.retry_at.into_iter().for_each(&mut sooner);
                }
            }
            Link::Connecting(_, until) => sooner(*until),
            Link::Up(up) => {
                if !up.session.is_open() {
                    sooner(up.greeting);
                }
                up.exit.into_iter().for_each(&mut sooner);
                if let Some(since) = state.queued_since {
                    sooner(since + config.batch_delay);
                }
                if let Some(after) = config.heartbeat
                    && state.ledger.is_idle()
                {
                    sooner(up.active + after);
                }
            }
        }
        drop(state);
        let Some(at) = at else { return };
        // What is due and cannot be done is not asked for without end.
        let at = tokio::time::Instant::from_std(at.max(now + Duration::from_millis(1)));
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        // A timer that is early costs a look; one set anew for every request would cost more.
        if sleep.deadline() > at || sleep.is_elapsed() {
            sleep.as_mut().reset(at);
        }
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn finish(&mut self) -> Poll<()> {
        self.link = Link::Down;
        Poll::Ready(())
    }
}

/// However the task ends, nobody is left waiting.
impl<C: Connect> Drop for Driver<C> {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.closed = true;
        state.ledger.fail_all(Cause::Closed);
        self.wake(state);
        self.inner.count.close();
        self.inner.status.send_replace(Status::Closed);
    }
}

fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}
