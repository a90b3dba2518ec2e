//! Channels under tower's own layers: retries and balancing.
#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use fixp_codec::{LAXCUS6, Packet, laxcus6::answer, laxcus6::notify};
use fixp_transport::channel::tower::ChannelService;
use fixp_transport::{CallError, Channel, Fate, Reply, Request, Server, handler_fn};
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::retry::{Policy, Retry};
use tower::{Service, ServiceExt};

/// A server that counts what it answers.
async fn counting() -> (Server<impl fixp_transport::Handler>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let handler = handler_fn(move |_: Request| {
        counted.fetch_add(1, Relaxed);
        ready(Reply::from(Packet::new(answer::OKAY)))
    });
    (Server::builder(handler).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap(), count)
}

async fn channel(server: &Server<impl fixp_transport::Handler>) -> Channel {
    Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap()
}

/// Tries again what was certainly not executed.
#[derive(Clone)]
struct Unexecuted(usize);

impl Policy<Packet, Packet, CallError> for Unexecuted {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Packet, result: &mut Result<Packet, CallError>) -> Option<Ready<()>> {
        let again = matches!(result, Err(CallError { fate: Fate::NotSent, .. })) && self.0 > 0;
        self.0 -= usize::from(again);
        again.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Packet) -> Option<Packet> {
        Some(request.clone())
    }
}

/// The first calls fail as a full channel does, without having reached anybody.
#[derive(Clone)]
struct Flaky<S> {
    service: S,
    failures: Arc<AtomicUsize>,
}

impl<S: Service<Packet, Error = CallError>> Service<Packet> for Flaky<S>
where
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    type Response = S::Response;
    type Error = CallError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<S::Response, CallError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), CallError>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, packet: Packet) -> Self::Future {
        if self.failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Box::pin(ready(Err(CallError::not_sent(fixp_transport::Cause::Full))));
        }
        Box::pin(self.service.call(packet))
    }
}

#[tokio::test]
async fn what_was_not_executed_is_tried_again() {
    let (server, count) = counting().await;
    let service = ChannelService::new(channel(&server).await);
    let failures = Arc::new(AtomicUsize::new(3));
    let flaky = Flaky { service, failures: Arc::clone(&failures) };
    let mut retrying = Retry::new(Unexecuted(5), flaky.clone());
    let answered = retrying.ready().await.unwrap().call(Packet::new(notify::FLUSH_LOG)).await.unwrap();
    assert_eq!((answered.code, count.load(Relaxed)), (answer::OKAY, 1));
    // One that gives up sooner tells why.
    failures.store(3, Relaxed);
    let mut retrying = Retry::new(Unexecuted(2), flaky);
    let error = retrying.ready().await.unwrap().call(Packet::new(notify::FLUSH_LOG)).await.unwrap_err();
    assert_eq!((error, count.load(Relaxed)), (CallError::not_sent(fixp_transport::Cause::Full), 1));
}

#[tokio::test]
async fn requests_are_balanced_over_channels() {
    let (one, first) = counting().await;
    let (two, second) = counting().await;
    let members = [channel(&one).await, channel(&two).await]
        .map(|channel| PendingRequests::new(ChannelService::new(channel), CompleteOnResponse::default()));
    let mut balance = Balance::new(ServiceList::new::<Packet>(members));
    let mut calls = Vec::new();
    for _ in 0..100 {
        calls.push(balance.ready().await.unwrap().call(Packet::new(notify::FLUSH_LOG)));
    }
    for call in futures_util::future::join_all(calls).await {
        assert_eq!(call.unwrap().code, answer::OKAY);
    }
    let counts = (first.load(Relaxed), second.load(Relaxed));
    assert_eq!(counts.0 + counts.1, 100);
    // The one with fewer requests under way has the next.
    assert!(counts.0.abs_diff(counts.1) <= 10, "{counts:?}");
}
