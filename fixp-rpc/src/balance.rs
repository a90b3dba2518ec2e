//! Calls that go to whichever of several servers has least to do, by tower's layers: a feature, `tower`.
//!
//! Of two servers by chance the one with fewer calls under way is taken, which comes close to the least-loaded of all
//! and needs no look at all. A call that was certainly not executed, or is idempotent, is sent again, to a server
//! that is chosen anew; others never. How many are sent again has a budget, so that servers with too much to do
//! do not get more for it.
//!
//! A stream goes to each in turn that is connected, for how much there is in it nobody knows before. It is never sent
//! again: it has left its caller.
//!
//! ```
//! use fixp_codec::LAXCUS6;
//! use fixp_rpc::{Client, Rpc};
//! use fixp_transport::{Channel, Server};
//!
//! #[fixp_rpc::service]
//! trait Clock {
//!     #[idempotent]
//!     async fn now(&self) -> u64;
//! }
//!
//! struct Stopped(u64);
//!
//! impl Clock for Stopped {
//!     async fn now(&self) -> u64 {
//!         self.0
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let mut clients = Vec::new();
//! # let mut servers = Vec::new();
//! for time in [1, 2, 3] {
//!     let rpc = Rpc::new().serve(ClockService::new(Stopped(time)));
//!     let server = Server::builder(rpc).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
//!     clients.push(Client::over(Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap()));
//! #   servers.push(server);
//! }
//! let clock = ClockClient::new(Client::balanced(clients).unwrap());
//! assert!((1..4).contains(&clock.now().await.unwrap()));
//! # });
//! ```

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use fixp_codec::{Dialect, Packet};
use fixp_transport::{CallError, Cause, Fate};
use futures_util::future::select_ok;
use tokio::time::Instant;
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, Retry};
use tower::{BoxError, Service, ServiceExt};

use crate::client::Client;
use crate::failure::never_fits;

/// How long a call may take, with all its attempts, unless its client says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// No call takes longer, whatever its client says: a year.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// How often a call is sent at most.
pub const ATTEMPTS: u32 = 3;

/// How long a server rests that has refused a call, or lost it: a server that has no room is quick to say so, and
/// would seem to have the least to do.
pub const REST: Duration = Duration::from_millis(200);

/// Calls that wait for a server while none is connected. One more waits before it is counted in. Each costs its
/// packet.
pub const WAITING: usize = 1024;

/// The calls that may be sent again, as a part of all: a fifth. To that come [`SPARE`].
pub const AGAIN: f32 = 0.2;

/// The calls a second that may be sent again whatever else there is.
pub const SPARE: u32 = 10;

/// How long a server that was there before, or is new, may take to connect until it loses its turn to stream.
const CONNECTING: Duration = Duration::from_secs(1);

/// Over how long [`AGAIN`] and [`SPARE`] are counted.
const COUNTED: Duration = Duration::from_secs(10);

/// Why clients cannot be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unbalanced {
    /// There are none.
    Empty,
    /// They speak different dialects, and a call is written once.
    Dialects,
}

impl fmt::Display for Unbalanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "no clients",
            Self::Dialects => "clients of several dialects",
        })
    }
}

impl std::error::Error for Unbalanced {}

/// Clients that are one.
#[derive(Clone)]
pub(crate) struct Balanced {
    pub(crate) dialect: &'static Dialect,
    peers: Arc<[Streamed]>,
    /// Whose turn it is to stream.
    turn: Arc<AtomicUsize>,
    service: Retry<Again, Buffer<Sending, Chosen>>,
}

/// One server, as streams see it.
struct Streamed {
    client: Client,
    /// Whether it was not connected when it was last looked for: then nobody waits for it in its turn.
    away: AtomicBool,
}

type Answered = Result<Packet, CallError>;
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Peers = ServiceList<Vec<PendingRequests<Peer, CompleteOnResponse>>>;
type Chosen = <Balance<Peers, Sending> as Service<Sending>>::Future;

/// A call on its way to a server.
#[derive(Clone)]
struct Sending {
    packet: Packet,
    repeatable: bool,
    until: Instant,
    /// Whether an attempt of it may have been executed.
    executed: Arc<AtomicBool>,
}

impl Balanced {
    pub(crate) fn new(clients: impl IntoIterator<Item = Client>) -> Result<Self, Unbalanced> {
        let streamed = |client| Streamed { client, away: AtomicBool::new(false) };
        let peers: Arc<[Streamed]> = clients.into_iter().map(streamed).collect();
        let dialect = peers.first().ok_or(Unbalanced::Empty)?.client.dialect();
        if peers.iter().any(|peer| peer.client.dialect().name() != dialect.name()) {
            return Err(Unbalanced::Dialects);
        }
        let services = peers.iter().map(|peer| Peer::new(peer.client.clone()));
        let loads = services.map(|peer| PendingRequests::new(peer, CompleteOnResponse::default()));
        let balance = Balance::new(ServiceList::new::<Sending>(loads.collect::<Vec<_>>()));
        let budget = Arc::new(TpsBudget::new(COUNTED, SPARE, AGAIN));
        let service = Retry::new(Again { budget, left: ATTEMPTS - 1 }, Buffer::new(balance, WAITING));
        Ok(Self { dialect, peers, turn: Arc::default(), service })
    }

    pub(crate) async fn send(&self, packet: Packet, repeatable: bool, timeout: Option<Duration>) -> Answered {
        let until = Instant::now() + timeout.unwrap_or(TIMEOUT).min(LONGEST);
        let executed = Arc::<AtomicBool>::default();
        let sending = Sending { packet, repeatable, until, executed: Arc::clone(&executed) };
        // Peers may be clients of this kind, so their types must end somewhere.
        let answered: Boxed<Result<Answered, BoxError>> = Box::pin(self.service.clone().oneshot(sending));
        match tokio::time::timeout_at(until, answered).await {
            Ok(Ok(answered)) => answered,
            // What runs all this has ended.
            Ok(Err(_)) => Err(told(Cause::Closed, &executed)),
            Err(_) => Err(told(Cause::Timeout, &executed)),
        }
    }

    /// Who has the next stream, and what is left of its time.
    pub(crate) async fn next(
        &self,
        time: Option<Duration>,
    ) -> Result<(&Client, Option<Duration>), CallError> {
        let begun = Instant::now();
        let found = tokio::time::timeout(time.unwrap_or(TIMEOUT), self.connected()).await;
        let client = found.map_err(|_| CallError::not_sent(Cause::Timeout))??;
        Ok((client, time.map(|time| time.saturating_sub(begun.elapsed()))))
    }

    /// The first in turn that is connected, and, where none is, whichever first becomes so.
    async fn connected(&self) -> Result<&Client, CallError> {
        let (later, sooner) = self.peers.split_at(self.turn.fetch_add(1, Relaxed) % self.peers.len());
        let in_turn = || sooner.iter().chain(later);
        for peer in in_turn() {
            let patience = if peer.away.load(Relaxed) { Duration::ZERO } else { CONNECTING };
            let found = tokio::time::timeout(patience, peer.client.connected()).await;
            peer.away.store(found != Ok(true), Relaxed);
            if found == Ok(true) {
                return Ok(&peer.client);
            }
        }
        let any = in_turn().map(|peer| {
            Box::pin(async {
                if peer.client.connected().await { Ok(&peer.client) } else { Err(Cause::Closed) }
            })
        });
        select_ok(any).await.map(|(client, _)| client).map_err(CallError::not_sent)
    }

    pub(crate) async fn close(&self) {
        for peer in self.peers.iter() {
            Box::pin(peer.client.clone().close()).await;
        }
    }
}

/// What is known of a call that has ended without an answer of its last attempt.
fn told(cause: Cause, executed: &AtomicBool) -> CallError {
    if executed.load(Relaxed) { CallError::possibly_executed(cause) } else { CallError::not_sent(cause) }
}

/// One server. It is ready while it is connected, where there are connections, and does not rest.
struct Peer {
    client: Client,
    becoming_ready: Option<Boxed<()>>,
    /// Until when it rests.
    rest: Arc<Mutex<Option<Instant>>>,
}

impl Peer {
    fn new(client: Client) -> Self {
        Self { client, becoming_ready: None, rest: Arc::default() }
    }
}

impl Service<Sending> for Peer {
    type Response = Answered;
    type Error = Infallible;
    type Future = Boxed<Result<Answered, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let (client, rest) = (&self.client, &self.rest);
        let becoming_ready = self.becoming_ready.get_or_insert_with(|| {
            let client = client.clone();
            let rested = rest.lock().unwrap_or_else(PoisonError::into_inner).take();
            Box::pin(async move {
                if let Some(until) = rested {
                    tokio::time::sleep_until(until).await;
                }
                client.connected().await;
            })
        });
        std::task::ready!(becoming_ready.as_mut().poll(cx));
        self.becoming_ready = None;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, sending: Sending) -> Self::Future {
        let Sending { packet, repeatable, until, executed } = sending;
        let left = until.saturating_duration_since(Instant::now());
        let (client, rest) = (self.client.clone().timeout(left), Arc::clone(&self.rest));
        Box::pin(async move {
            // While it is under way its caller may give up; and what an earlier attempt has done stays done.
            let before = executed.swap(true, Relaxed);
            let mut answered: Answered = client.ask(|| Ok(packet.clone()), repeatable).await;
            if let Err(error) = &mut answered {
                if helps_elsewhere(error.cause) {
                    *rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
                }
                if error.fate == Fate::NotSent {
                    executed.store(before, Relaxed);
                    *error = told(error.cause, &executed);
                }
            }
            Ok(answered)
        })
    }
}

/// Whether a call that has ended so may end better at another server.
const fn helps_elsewhere(cause: Cause) -> bool {
    !never_fits(cause) && !matches!(cause, Cause::Timeout | Cause::Body(_))
}

/// Which calls are sent again.
#[derive(Clone)]
struct Again {
    budget: Arc<TpsBudget>,
    left: u32,
}

impl Policy<Sending, Answered, BoxError> for Again {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        sending: &mut Sending,
        answered: &mut Result<Answered, BoxError>,
    ) -> Option<Ready<()>> {
        let Ok(Err(error)) = answered else {
            self.budget.deposit();
            return None;
        };
        let harmless = error.fate == Fate::NotSent || sending.repeatable;
        if !helps_elsewhere(error.cause) || !harmless || self.left == 0 || !self.budget.withdraw() {
            return None;
        }
        self.left -= 1;
        Some(ready(()))
    }

    fn clone_request(&mut self, sending: &Sending) -> Option<Sending> {
        Some(sending.clone())
    }
}

#[cfg(test)]
mod tests {
    use fixp_transport::extension::Refusal;

    use super::*;

    #[test]
    fn what_one_server_refuses_as_too_large_others_do() {
        assert!(!helps_elsewhere(Cause::Refused(Refusal::TooLarge)));
        assert!(helps_elsewhere(Cause::Refused(Refusal::Overloaded)));
    }
}
