//! The own transport at a socket: requests become work, large entities go through pipes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use fixp_codec::{Dialect, Packet};
use tokio::task::{AbortHandle, JoinSet};

use super::answer::Unsent;
use crate::body::Body;
use crate::body::pipe::{Drain, Feed, pipe};
use crate::keep::own::{AnswerError, Endpoint, Entity, Event, Ticket};

/// A request over the own transport.
pub(super) struct Asks {
    pub(super) ticket: Ticket,
    pub(super) from: SocketAddr,
    pub(super) dialect: &'static Dialect,
    pub(super) packet: Packet,
    pub(super) body: Option<Body>,
    /// The time that the caller still waits.
    pub(super) left: Option<std::time::Duration>,
}

/// What has happened that is not done here.
pub(super) enum Happened {
    Asks(Asks),
    /// Nobody waits for the answer any more.
    Cancelled(Ticket),
}

/// See the [module](self).
pub(super) struct Own {
    pub(super) endpoint: Endpoint,
    /// Requests whose entities are read in pieces.
    coming: BTreeMap<Ticket, Coming>,
    /// Answers whose entities are written in pieces.
    going: BTreeMap<Ticket, Going>,
    /// Those who read the bodies of answers: a body is its handler's, and may do what it likes.
    readers: JoinSet<()>,
}

struct Coming {
    feed: Feed,
    left: u64,
    /// Nothing is there: the endpoint tells when there is.
    hungry: bool,
}

struct Going {
    drain: Drain,
    /// Who reads the body: it ends with this, though the body's next bytes may never come.
    reader: AbortHandle,
    piece: Bytes,
    left: u64,
    /// There is no room: the endpoint tells when there is.
    full: bool,
}

impl Own {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, coming: BTreeMap::new(), going: BTreeMap::new(), readers: JoinSet::new() }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.endpoint.is_idle()
    }

    /// The next thing that is not done here.
    #[inline]
    pub(super) fn poll_event(&mut self) -> Option<Happened> {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request { ticket, peer: from, dialect, head: packet, entity, left } => {
                    let body = match entity {
                        Entity::Whole => None,
                        Entity::Streamed(len) => {
                            let (feed, drain) = pipe();
                            self.coming.insert(ticket, Coming { feed, left: len, hungry: false });
                            Some(Body::from_pipe(len, drain))
                        }
                    };
                    return Some(Happened::Asks(Asks { ticket, from, dialect, packet, body, left }));
                }
                Event::Readable { ticket } => {
                    if let Some(coming) = self.coming.get_mut(&ticket) {
                        coming.hungry = false;
                    }
                }
                Event::Writable { ticket } => {
                    if let Some(going) = self.going.get_mut(&ticket) {
                        going.full = false;
                    }
                }
                Event::Cancelled { ticket } => {
                    self.forget(ticket);
                    return Some(Happened::Cancelled(ticket));
                }
                Event::Ended { ticket } => self.forget(ticket),
                // A server asks nobody.
                _ => {}
            }
        }
        None
    }

    /// The entity is cut where it has not come, and no more of an answer goes.
    fn forget(&mut self, ticket: Ticket) {
        self.coming.remove(&ticket);
        self.going.remove(&ticket);
    }

    /// A request has been handled.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        ticket: Ticket,
        answer: Option<(Packet, Option<Body>)>,
    ) -> Result<(), Unsent> {
        // Where there is a body it is the entity, whatever stands in the packet.
        let answer = answer.map(|(packet, body)| match body {
            Some(_) => (packet.with_entity(Bytes::new()), body),
            None => (packet, body),
        });
        let given = match answer {
            None => self.endpoint.answer(now, ticket, None),
            Some((packet, None)) => self.endpoint.answer(now, ticket, Some(packet)),
            Some((packet, Some(body))) if body.is_empty() => self.endpoint.answer(now, ticket, Some(packet)),
            Some((packet, Some(mut body))) => {
                let len = body.len();
                let given = self.endpoint.answer_stream(now, ticket, packet, len);
                if given.is_ok() {
                    let (feed, drain) = pipe();
                    let reader = self.readers.spawn(async move {
                        while let Some(Ok(piece)) = body.chunk().await {
                            std::future::poll_fn(|cx| feed.poll_ready(cx)).await;
                            if feed.ignored() {
                                return;
                            }
                            feed.put(piece);
                        }
                    });
                    let going = Going { drain, reader, piece: Bytes::new(), left: len, full: false };
                    self.going.insert(ticket, going);
                }
                given
            }
        };
        given.map_err(|error| match error {
            AnswerError::Encode(error) => Unsent::Encode(error),
            AnswerError::TooLarge => Unsent::TooLarge { size: 0, most: usize::MAX },
            AnswerError::Full => Unsent::Full,
        })
    }

    /// Moves what entities there are between the endpoint and their pipes.
    pub(super) fn poll_bodies(&mut self, cx: &mut Context<'_>, now: Instant) {
        // Those who have ended are taken off the books; one that panicked has cut its answer.
        while let Poll::Ready(Some(_)) = self.readers.poll_join_next(cx) {}
        let endpoint = &mut self.endpoint;
        self.coming.retain(|&ticket, coming| coming.poll(cx, now, endpoint, ticket));
        self.going.retain(|&ticket, going| going.poll(cx, now, endpoint, ticket));
    }
}

impl Coming {
    /// Whether it goes on.
    fn poll(&mut self, cx: &mut Context<'_>, now: Instant, endpoint: &mut Endpoint, ticket: Ticket) -> bool {
        // What nobody reads is read here, so that its sender comes to an end.
        while !self.hungry && (self.feed.poll_ready(cx).is_ready() || self.feed.ignored()) {
            let Some(bytes) = endpoint.read(now, ticket) else {
                self.hungry = true;
                return true;
            };
            self.left = self.left.saturating_sub(bytes.len() as u64);
            self.feed.put(bytes);
            if self.left == 0 {
                return false;
            }
        }
        true
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Going {
    /// Whether it goes on.
    fn poll(&mut self, cx: &mut Context<'_>, now: Instant, endpoint: &mut Endpoint, ticket: Ticket) -> bool {
        while !self.full {
            if self.piece.is_empty() {
                match self.drain.poll_next(cx) {
                    Poll::Pending => return true,
                    Poll::Ready(Some(Ok(piece))) => self.piece = piece,
                    Poll::Ready(Some(Err(_)) | None) => {
                        // The source of the answer has failed: there will be no more of it.
                        endpoint.cancel(now, ticket);
                        return false;
                    }
                }
            }
            let before = self.piece.len();
            self.full = !endpoint.write(now, ticket, &mut self.piece);
            self.left = self.left.saturating_sub((before - self.piece.len()) as u64);
            if self.left == 0 {
                return false;
            }
        }
        true
    }
}
