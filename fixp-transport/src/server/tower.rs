//! Between [`Handler`] and `tower::Service`, for those who want tower's layers.
//!
//! ```
//! use std::time::Duration;
//! use fixp_transport::{Nobody, Server};
//! use fixp_transport::server::tower::{HandlerService, ServiceHandler};
//! use tower::load_shed::error::Overloaded;
//! use tower::{BoxError, ServiceBuilder};
//!
//! let service = ServiceBuilder::new()
//!     .load_shed()
//!     .concurrency_limit(64)
//!     .timeout(Duration::from_secs(5))
//!     .service(HandlerService::new(Nobody));
//! // What has been shed has not been executed, and its caller may be told so.
//! let handler = ServiceHandler::new(service).refusing(|error: &BoxError| error.is::<Overloaded>());
//! let server = Server::builder(handler);
//! ```

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use fixp_codec::{Dialect, LEXST1, Packet, laxcus6, lexst1};
use tower_service::Service;

use crate::extension::{Refusal, key};
use crate::handler::{Handler, Reply, Request};
use crate::tables;

/// A service as a handler. Each request has a clone of the service, and waits until that is ready.
///
/// An error while it waits, and one that [`ServiceHandler::refusing`] names, becomes the dialect's REFUSE, which
/// tells a peer of ours that the request was not executed ([`Refusal::Overloaded`]); any other error becomes
/// the dialect's SERVER_ERROR.
///
/// A stop does not wait for what a handler within the service still does behind its answers, as it does for a handler
/// by itself ([`Handler::finished`]): a service cannot be asked.
pub struct ServiceHandler<S, C> {
    /// A service need not be `Sync`: it is cloned under a lock, and called outside of it.
    service: Mutex<S>,
    unexecuted: C,
}

impl<S: Service<Request>> ServiceHandler<S, fn(&S::Error) -> bool> {
    /// The handler of a service.
    pub fn new(service: S) -> Self {
        Self { service: Mutex::new(service), unexecuted: |_| false }
    }
}

impl<S: Service<Request>, C> ServiceHandler<S, C> {
    /// The same, with a word on which errors say that a request was not executed.
    pub fn refusing<D>(self, unexecuted: D) -> ServiceHandler<S, D>
    where
        D: Fn(&S::Error) -> bool + Send + Sync + 'static,
    {
        ServiceHandler { service: self.service, unexecuted }
    }
}

impl<S, C> fmt::Debug for ServiceHandler<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceHandler").finish_non_exhaustive()
    }
}

impl<S, C> Handler for ServiceHandler<S, C>
where
    S: Service<Request, Response = Reply> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    C: Fn(&S::Error) -> bool + Send + Sync + 'static,
{
    async fn handle(&self, request: Request) -> Reply {
        let dialect = request.peer.dialect;
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if poll_fn(|cx| service.poll_ready(cx)).await.is_err() {
            return refused(dialect);
        }
        let called = service.call(request);
        match called.await {
            Ok(reply) => reply,
            Err(error) if (self.unexecuted)(&error) => refused(dialect),
            Err(_) => Packet::new(server_error(dialect)).into(),
        }
    }
}

/// The transport takes the reason out again where the peer is not one of ours.
fn refused(dialect: &Dialect) -> Reply {
    Packet::new(tables::of(dialect).refuse).with(key::REFUSAL, Refusal::Overloaded.number()).into()
}

fn server_error(dialect: &Dialect) -> fixp_codec::Code {
    if dialect.name() == LEXST1.name() { lexst1::answer::SERVER_ERROR } else { laxcus6::answer::SERVER_ERROR }
}

/// A handler as a service: always ready, and without errors of its own.
#[derive(Debug)]
pub struct HandlerService<H> {
    handler: Arc<H>,
}

impl<H: Handler> HandlerService<H> {
    /// The service of a handler.
    pub fn new(handler: H) -> Self {
        Self { handler: Arc::new(handler) }
    }
}

impl<H> Clone for HandlerService<H> {
    fn clone(&self) -> Self {
        Self { handler: Arc::clone(&self.handler) }
    }
}

impl<H: Handler> Service<Request> for HandlerService<H> {
    type Response = Reply;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let handler = Arc::clone(&self.handler);
        Box::pin(async move { Ok(handler.handle(request).await) })
    }
}
