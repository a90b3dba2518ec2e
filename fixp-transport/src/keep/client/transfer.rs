//! Large entities in pieces, out and in, over the own transport. Whoever waits for the answer, and then whoever reads
//! it, moves the transfer on; there is no task for it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::MutexGuard;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use fixp_codec::Packet;
use futures_util::Stream;

use super::{Client, Closer, Core, Waiter, now};
use crate::body::{Body, BodyError};
use crate::bulk::Transferred;
use crate::keep::caller::Options;
use crate::keep::caller::{Flow, Ticket};
use crate::udp::security;
use crate::{CallError, Cause, Fate, extension, tables};

/// What has become of a transfer that its owner has not looked at.
#[derive(Default)]
pub(super) struct Seen {
    answer: Option<(Packet, u64)>,
    broken: bool,
    waker: Option<Waker>,
}

impl Seen {
    /// Notes it, and gives who is to be woken.
    pub(super) fn note(&mut self, flow: Flow) -> Option<Waker> {
        match flow {
            Flow::Answer(packet, len) => self.answer = Some((packet, len)),
            Flow::Broken(_) => self.broken = true,
            Flow::Moves => {}
        }
        self.waker.take()
    }
}

impl Client {
    /// Sends a request with a large entity, and gets an answer with one, in pieces. The head of the answer comes within
    /// the client's time of the last byte that has left, and each piece of its body within
    /// [`answer_idle`](crate::keep::own::Config::answer_idle) of when it is waited for. Dropping the future, or the body
    /// of the answer, ends it. It is never repeated.
    ///
    /// Only the [own transport](crate::keep::own) has that, and an answer within what the client
    /// [gathers](crate::keep::own::Config::gather_answers) comes whole there, too. To a peer of another make, or to a
    /// lexst1 peer of which nothing is known yet, the body is gathered and goes as [`Client::request`] does, within
    /// its bounds.
    ///
    /// # Errors
    ///
    /// Those of [`Client::request`], and [`Cause::Body`]; what breaks off behind the answer's head, its body tells.
    pub async fn transfer(
        &self,
        peer: SocketAddr,
        head: Packet,
        body: Body,
    ) -> Result<Transferred, CallError> {
        self.transfer_in((), peer, head, body, |_| {}).await
    }

    /// The same in a place that is taken to the end of the answer's body, with what is not known before it leaves.
    pub(crate) async fn transfer_in<R: Send + Unpin + 'static>(
        &self,
        room: R,
        peer: SocketAddr,
        mut head: Packet,
        body: Body,
        last: impl FnOnce(&mut Packet) + Send,
    ) -> Result<Transferred, CallError> {
        let (dialect, limit, knows) = {
            let core = self.lock();
            let config = core.caller.config();
            (config.dialect, config.exchange.bounds.entity, core.caller.knows(peer))
        };
        let own = extension::is_own(head.code);
        // It says what it is before it is known how to send.
        let question = match (knows, own) {
            (false, true) => Some(tables::of(dialect).probe),
            (false, false) if security::asks(dialect) => Some(security::QUERY),
            _ => None,
        };
        if let Some(question) = question {
            let asked = self.request(peer, Packet::new(question)).await;
            asked.map_err(|error| CallError::not_sent(error.cause))?;
        }
        last(&mut head);
        let mut moving = Moving::begin(self, peer, head.clone(), body)?;
        let (piece, body) = match poll_fn(|cx| moving.poll_answer(cx)).await {
            Ok((packet, 0)) => {
                let entity = packet.entity.clone();
                let packet = packet.with_entity(Bytes::new());
                return Ok(Transferred { packet, body: Body::from_bytes(entity) });
            }
            // From here on whoever reads the answer moves the transfer on.
            Ok((packet, len)) => {
                return Ok(Transferred { packet, body: Body::from_pieces(len, Held(Some((moving, room)))) });
            }
            // What was taken of the body and found no room goes before the rest of it.
            Err(CallError { cause: Cause::NotOurs, fate: Fate::NotSent }) if !own => {
                (std::mem::take(&mut moving.piece), moving.body.take())
            }
            Err(error) => return Err(error),
        };
        drop(moving);
        let rest = match body {
            None => Bytes::new(),
            Some(body) => body.collect(limit.saturating_sub(piece.len())).await.map_err(|error| {
                CallError::not_sent(match error {
                    BodyError::TooLarge { len, limit } => {
                        Cause::TooLarge { size: usize::try_from(len).unwrap_or(usize::MAX), limit }
                    }
                    error => Cause::Body(error),
                })
            })?,
        };
        let entity = if piece.is_empty() { rest } else { [piece, rest].concat().into() };
        let answer = self.request(peer, head.with_entity(entity)).await?;
        let entity = answer.entity.clone();
        Ok(Transferred { packet: answer.with_entity(Bytes::new()), body: Body::from_bytes(entity) })
    }
}

/// A transfer under way. Dropping it ends it.
struct Moving {
    closer: Arc<Closer>,
    ticket: Ticket,
    /// What is sent, until all of it is; and what of it has no room yet.
    body: Option<Body>,
    piece: Bytes,
    /// What is to come of the answer.
    left: u64,
    /// Nothing more comes.
    ended: bool,
}

impl Moving {
    fn begin(client: &Client, peer: SocketAddr, head: Packet, body: Body) -> Result<Self, CallError> {
        let mut core = client.lock();
        let ticket = core.caller.request_stream(now(), peer, head, body.len(), Options::default())?;
        core.waiters.insert(ticket, Waiter::Nobody);
        core.seen.insert(ticket, Seen::default());
        let moving = Self {
            closer: Arc::clone(&client.closer),
            ticket,
            body: Some(body),
            piece: Bytes::new(),
            left: 0,
            ended: false,
        };
        moving.leave(core);
        Ok(moving)
    }

    /// Sends what there is, and wakes the task of the sockets for the rest.
    fn leave(&self, core: MutexGuard<'_, Core>) {
        self.closer.shared.leave(core, now());
    }

    /// Whether it is woken for what happens from now on.
    fn watch(&self, cx: &Context<'_>) {
        if let Some(seen) = self.closer.shared.lock().seen.get_mut(&self.ticket) {
            seen.waker = Some(cx.waker().clone());
        }
    }

    /// Writes what there is room for.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        while let Some(body) = &mut self.body {
            if self.piece.is_empty() {
                match body.poll_chunk(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(None) => {
                        self.body = None;
                        return Ok(());
                    }
                    Poll::Ready(Some(piece)) => self.piece = piece?,
                }
            }
            let mut core = self.closer.shared.lock();
            let all = core.caller.write(now(), self.ticket, &mut self.piece);
            self.leave(core);
            if !all {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The answer and the length of its entity that is to come.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Packet, u64), CallError>> {
        self.watch(cx);
        // Nothing is taken from the body of one that goes another way.
        let begun = self.closer.shared.lock().caller.streams_to_ours(self.ticket);
        if begun && let Err(error) = self.send(cx) {
            // Its head may have left before any of its body.
            let core = self.closer.shared.lock();
            return Poll::Ready(Err(core.caller.error(self.ticket, Cause::Body(error))));
        }
        // Dropped behind the lock.
        let mut before = None;
        let mut core = self.closer.shared.lock();
        if let Poll::Ready(outcome) = core.poll_outcome(self.ticket, cx, &mut before) {
            self.ended = true;
            return Poll::Ready(outcome.map(|packet| (packet, 0)));
        }
        match core.seen.get_mut(&self.ticket).and_then(|seen| seen.answer.take()) {
            Some((packet, len)) => {
                self.left = len;
                Poll::Ready(Ok((packet, len)))
            }
            None => Poll::Pending,
        }
    }
}

impl Stream for Moving {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        this.watch(cx);
        // An answer may come before all of the request has left.
        if let Err(error) = this.send(cx) {
            this.ended = true;
            return Poll::Ready(Some(Err(error)));
        }
        // Dropped behind the lock.
        let mut before = None;
        let mut core = this.closer.shared.lock();
        if let Some(bytes) = core.caller.read(now(), this.ticket) {
            this.leave(core);
            this.left = this.left.saturating_sub(bytes.len() as u64);
            this.ended = this.left == 0;
            return Poll::Ready(Some(Ok(bytes)));
        }
        let broken = core.seen.get(&this.ticket).is_none_or(|seen| seen.broken);
        let over = broken || core.poll_outcome(this.ticket, cx, &mut before).is_ready();
        this.leave(core);
        if over {
            this.ended = true;
            return Poll::Ready(Some(Err(BodyError::Cut { missing: this.left })));
        }
        Poll::Pending
    }
}

/// A transfer whose answer is read, and its place. Both are given back when nothing more comes.
struct Held<R>(Option<(Moving, R)>);

impl<R: Unpin> Stream for Held<R> {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some((moving, _)) = &mut self.0 else { return Poll::Ready(None) };
        let piece = Pin::new(&mut *moving).poll_next(cx);
        if moving.ended {
            self.0 = None;
        }
        piece
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        let mut core = self.closer.shared.lock();
        let waiter = core.waiters.remove(self.ticket);
        let seen = core.seen.remove(&self.ticket);
        // One that has ended is left alone.
        core.caller.cancel(now(), self.ticket);
        self.closer.shared.unlock(core, true);
        drop((waiter, seen));
    }
}
