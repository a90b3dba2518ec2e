//! What a node does with a request: a packet in, perhaps an answer out.
//!
//! ```
//! use fixp_codec::{Packet, laxcus6::{answer, key, notify}};
//! use fixp_transport::{Answer, Handler, Reply, Request};
//!
//! struct Log;
//!
//! impl Handler for Log {
//!     async fn handle(&self, request: Request) -> Reply {
//!         match request.packet.code {
//!             notify::FLUSH_LOG => Packet::new(answer::OKAY).with(key::SPEAK, "reply log").into(),
//!             _ => Reply::Unserved,
//!         }
//!     }
//! }
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use fixp_codec::{Dialect, Packet};
use tokio::time::Instant;

use crate::body::{Body, BodyError};
use crate::host::Transport;
use crate::tables;

/// Answers requests. Dropping the future that `handle` gives cancels the work: the caller has gone.
///
/// The requests of one TCP connection are handled by turns in one task, that of the connection, so that an answer that
/// is there at once costs no task: a handler that computes for long without an `await` holds back the others of its
/// connection, and belongs into [`tokio::task::spawn_blocking`] or a task of its own. One that panics harms no other
/// request: a peer of ours is told that this one has no answer, one of another make loses the connection.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request, or not.
    fn handle(&self, request: Request) -> impl Future<Output = Reply> + Send;

    /// Waits for work that was begun by requests and goes on without them. A server that shuts down waits for it, until
    /// its deadline; who has another handler within waits for that, too.
    fn finished(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address, as seen from here.
    pub addr: SocketAddr,
    /// The address that it reached us at.
    pub local: SocketAddr,
    /// How its packets come.
    pub transport: Transport,
    /// What it speaks.
    pub dialect: &'static Dialect,
}

/// A request that has come.
#[derive(Debug)]
pub struct Request {
    /// The packet. Nothing of ours ([`extension`](crate::extension)) is in it any more. Its entity is here if
    /// it is small ([`Limits::gather`](crate::limits::ServerLimits::gather)), and in `body` if it is large.
    pub packet: Packet,
    /// The entity of a large packet, as it comes: while it is not read, the peer is held up.
    pub body: Option<Body>,
    /// Who asks.
    pub peer: Peer,
    /// When the caller stops waiting, where it said so.
    pub deadline: Option<Instant>,
}

impl Request {
    /// The packet with its whole entity, of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`], before anything of it is gathered; [`BodyError::Cut`] when the peer went away.
    pub async fn gather(self, limit: usize) -> Result<Packet, BodyError> {
        let mut packet = self.packet;
        if let Some(body) = self.body {
            packet.entity = body.collect(limit).await?;
        } else if packet.entity.len() > limit {
            return Err(BodyError::TooLarge { len: packet.entity.len() as u64, limit });
        }
        Ok(packet)
    }

    /// The length of the entity, wherever it is.
    #[must_use]
    pub fn entity_len(&self) -> u64 {
        self.body.as_ref().map_or(self.packet.entity.len() as u64, Body::len)
    }
}

/// What a handler makes of a request.
#[derive(Debug)]
pub enum Reply {
    /// An answer.
    Answer(Answer),
    /// Nothing is answered, as some commands want it.
    Silence,
    /// There is an answer, but it cannot be written. As in the programs a TCP connection ends without it, and over
    /// UDP there is silence; a peer of ours is told.
    Unwritable,
    /// Nobody here serves this: the next handler is asked, and at last it is refused as the dialect does it.
    Unserved,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl From<Packet> for Reply {
    fn from(packet: Packet) -> Self {
        Self::Answer(packet.into())
    }
}

/// An answer: a packet, and what else is to be done.
#[derive(Debug)]
pub struct Answer {
    /// The packet. Its version, CONTENT_LENGTH and what its dialect wants beside it are added on the way.
    pub packet: Packet,
    /// The entity, where it is not in the packet but comes in pieces. It leaves as it comes over TCP, and over KEEP
    /// UDP to our own; else it is gathered first. Over TCP it is gathered, too, where others are answered on the same
    /// connection and it is not longer than [`gather`](crate::limits::ServerLimits::gather); a longer one holds them
    /// back until it is out, and belongs to a [transfer](crate::Channel::transfer).
    pub body: Option<Body>,
    /// How many copies leave (UDP only), at least 1.
    pub copies: u8,
    /// Whether the connection ends with this answer (TCP only).
    pub close: bool,
}

impl Answer {
    /// The answer with an entity that comes in pieces.
    #[must_use]
    pub fn with_body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// The same as the last one of its connection.
    #[must_use]
    pub const fn and_close(mut self) -> Self {
        self.close = true;
        self
    }

    /// The same in so many copies.
    #[must_use]
    pub const fn in_copies(mut self, copies: u8) -> Self {
        self.copies = copies;
        self
    }
}

impl From<Packet> for Answer {
    fn from(packet: Packet) -> Self {
        Self { packet, body: None, copies: 1, close: false }
    }
}

/// Serves nothing: a server with it has only what is built in.
#[derive(Clone, Copy, Default, Debug)]
pub struct Nobody;

impl Handler for Nobody {
    async fn handle(&self, _: Request) -> Reply {
        Reply::Unserved
    }
}

/// Answers every request by OKAY with the same messages and the same entity, as the recorded servers did.
#[derive(Clone, Copy, Default, Debug)]
pub struct Echo;

impl Handler for Echo {
    async fn handle(&self, request: Request) -> Reply {
        let Request { mut packet, body, peer, .. } = request;
        if !packet.code.is_request() {
            return Reply::Silence;
        }
        let habits = tables::of(peer.dialect);
        packet.code = habits.okay;
        packet.version = fixp_codec::VERSION;
        packet.remove(peer.dialect.content_length_key());
        if let Some(key) = habits.bind_ip {
            // The sender's own address: the transport adds ours where it belongs.
            packet.remove(key);
        }
        Reply::Answer(Answer { body, ..packet.into() })
    }
}

/// A handler from an async function.
///
/// ```
/// use fixp_transport::{Reply, Request, handler_fn};
///
/// let silent = handler_fn(async |_: Request| Reply::Silence);
/// # let _ = fixp_transport::Server::builder(silent);
/// ```
pub const fn handler_fn<F>(function: F) -> HandlerFn<F> {
    HandlerFn(function)
}

/// See [`handler_fn`].
#[derive(Clone, Copy, Debug)]
pub struct HandlerFn<F>(F);

impl<F, R> Handler for HandlerFn<F>
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Reply> + Send,
{
    fn handle(&self, request: Request) -> impl Future<Output = Reply> + Send {
        (self.0)(request)
    }
}

/// A shared handler.
impl<H: Handler> Handler for Arc<H> {
    fn handle(&self, request: Request) -> impl Future<Output = Reply> + Send {
        H::handle(self, request)
    }

    fn finished(&self) -> impl Future<Output = ()> + Send {
        H::finished(self)
    }
}
