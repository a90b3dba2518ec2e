//! Handlers under tower's own layers, and services as handlers.
#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use fixp_codec::{Code, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::extension::{Refusal, key};
use fixp_transport::host::Transport;
use fixp_transport::server::tower::{HandlerService, ServiceHandler};
use fixp_transport::server::{DialectChoice, PublicKey};
use fixp_transport::{
    CallError, Cause, Channel, Echo, Handler, Peer, Reply, Request, Server, handler_fn, tables,
};
use tokio::sync::Semaphore;
use tower::load_shed::error::Overloaded;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

fn request(dialect: &'static Dialect) -> Request {
    let (addr, local) = ("10.0.0.1:6000".parse().unwrap(), "10.0.0.2:5000".parse().unwrap());
    let code = tables::of(dialect).helo;
    let peer = Peer { addr, local, transport: Transport::Tcp, dialect };
    Request { packet: Packet::new(code), body: None, peer, deadline: None }
}

fn answer(reply: Reply) -> Packet {
    let Reply::Answer(answer) = reply else { panic!("{reply:?}") };
    answer.packet
}

fn refusal(packet: &Packet) -> Option<i16> {
    packet.first(key::REFUSAL)?.as_i16()
}

/// Answers when it is given a permit.
fn gated(gate: &Arc<Semaphore>) -> impl Handler + use<> {
    let gate = Arc::clone(gate);
    handler_fn(move |request: Request| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Echo.handle(request).await
        }
    })
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    use futures_util::FutureExt;
    future.now_or_never()
}

#[tokio::test]
async fn a_handler_is_a_service() {
    let mut service = HandlerService::new(Echo);
    let reply = service.ready().await.unwrap().call(request(&LAXCUS6)).await.unwrap();
    assert_eq!(answer(reply).code, laxcus6::answer::OKAY);
}

#[tokio::test]
async fn a_limit_makes_wait() {
    let gate = Arc::new(Semaphore::new(0));
    let service = ServiceBuilder::new().concurrency_limit(1).service(HandlerService::new(gated(&gate)));
    let handler = ServiceHandler::new(service);
    let mut first = Box::pin(handler.handle(request(&LAXCUS6)));
    let mut second = Box::pin(handler.handle(request(&LAXCUS6)));
    assert!(poll_once(&mut first).is_none());
    assert!(poll_once(&mut second).is_none());
    // A permit is for the first: the second has not reached the gate.
    gate.add_permits(1);
    assert!(poll_once(&mut second).is_none());
    assert_eq!(answer(first.await).code, laxcus6::answer::OKAY);
    gate.add_permits(1);
    assert_eq!(answer(second.await).code, laxcus6::answer::OKAY);
}

#[tokio::test]
async fn what_is_shed_is_refused_unexecuted() {
    for (dialect, refuse) in [(&LAXCUS6, laxcus6::answer::REFUSE), (&LEXST1, lexst1::answer::REFUSE)] {
        let gate = Arc::new(Semaphore::new(0));
        let service =
            ServiceBuilder::new().load_shed().concurrency_limit(1).service(HandlerService::new(gated(&gate)));
        let handler = ServiceHandler::new(service).refusing(|error: &BoxError| error.is::<Overloaded>());
        let mut first = Box::pin(handler.handle(request(dialect)));
        assert!(poll_once(&mut first).is_none());
        let shed = answer(handler.handle(request(dialect)).await);
        assert_eq!(shed.code, refuse);
        assert_eq!(refusal(&shed), Some(Refusal::Overloaded.number()));
        gate.add_permits(1);
        assert_eq!(refusal(&answer(first.await)), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_an_error_of_the_server() {
    for (dialect, failed) in
        [(&LAXCUS6, laxcus6::answer::SERVER_ERROR), (&LEXST1, lexst1::answer::SERVER_ERROR)]
    {
        let gate = Arc::new(Semaphore::new(0));
        let service =
            ServiceBuilder::new().timeout(Duration::from_secs(5)).service(HandlerService::new(gated(&gate)));
        let handler = ServiceHandler::new(service).refusing(|error: &BoxError| error.is::<Overloaded>());
        let packet = answer(handler.handle(request(dialect)).await);
        // It may have been executed, so nothing says that it was not.
        assert_eq!((packet.code, refusal(&packet)), (failed, None));
    }
}

/// The same over the sockets of a server: whether on its own connection or on that of what runs, a request that is shed
/// is refused as one that was not executed, and the next finds room again.
#[tokio::test]
async fn a_server_sheds_what_is_too_much() {
    for dialect in [&LAXCUS6, &LEXST1] {
        let (begun, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (begins, inner) = (Arc::clone(&begun), Arc::new(gated(&gate)));
        let handler = handler_fn(move |request: Request| {
            begins.add_permits(1);
            let inner = Arc::clone(&inner);
            async move { inner.handle(request).await }
        });
        let service =
            ServiceBuilder::new().load_shed().concurrency_limit(1).service(HandlerService::new(handler));
        let handler = ServiceHandler::new(service).refusing(|error: &BoxError| error.is::<Overloaded>());
        let server = Server::builder(handler).dialect(DialectChoice::Fixed(dialect));
        let server = server.public_key(PublicKey::new(&[0xff; 64], &[3]).unwrap());
        let server = server.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        let to = server.local_addr().unwrap();
        let code = if dialect == &LEXST1 { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
        let log = move || Packet::new(code).with_entity("a line");
        let connect = || Channel::builder(dialect).announce_first().connect(to);
        let (channel, other) = (connect().await.unwrap(), connect().await.unwrap());

        let first = tokio::spawn({
            let channel = channel.clone();
            async move { channel.call(log()).await }
        });
        let begins = tokio::time::timeout(Duration::from_secs(20), begun.acquire()).await;
        begins.expect("it begins").unwrap().forget();
        for channel in [&channel, &other] {
            let shed = channel.call(log()).await.unwrap_err();
            assert_eq!(shed, CallError::not_sent(Cause::Refused(Refusal::Overloaded)));
        }
        gate.add_permits(2);
        let okay = tables::of(dialect).okay;
        for answer in [first.await.unwrap(), other.call(log()).await] {
            let answer = answer.unwrap();
            assert_eq!((answer.code, &answer.entity[..]), (okay, &b"a line"[..]));
        }
        // The two that were answered, and no other.
        assert_eq!(begun.available_permits(), 1);
    }
}

/// A service that never becomes ready has executed nothing.
#[tokio::test]
async fn a_service_that_has_failed() {
    #[derive(Clone)]
    struct Broken;
    impl Service<Request> for Broken {
        type Response = Reply;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Reply, BoxError>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
            std::task::Poll::Ready(Err("broken".into()))
        }
        fn call(&mut self, _: Request) -> Self::Future {
            unreachable!("it is not ready")
        }
    }
    let packet = answer(ServiceHandler::new(Broken).handle(request(&LAXCUS6)).await);
    assert_eq!(packet.code, laxcus6::answer::REFUSE);
    assert_eq!(refusal(&packet), Some(Refusal::Overloaded.number()));
    assert!(matches!(packet.code, Code::Answer(2000)));
}
