//! A request being handled.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tracing::warn;

use super::answer::Asked;
use crate::extension::Refusal;
use crate::handler::{Handler, Reply, Request};
use crate::server::shared::Held;

/// What a handler makes of a request; nothing where its time is over, or its answer cannot be had whole. The entity
/// of the answer is gathered where there is a bound for it, and one of more bytes is none.
pub(super) async fn handle<H: Handler>(
    request: Request,
    gather: Option<usize>,
    held: Held<H>,
) -> Option<Reply> {
    let deadline = request.deadline;
    let mut work = pin!(async {
        let mut reply = held.handler().handle(request).await;
        if let Reply::Answer(answer) = &mut reply
            && let Some(most) = gather
            && let Some(body) = answer.body.take()
        {
            answer.packet.entity = body.collect(most).await.ok()?;
        }
        Some(reply)
    });
    // Those that answer at once need no timer.
    let first = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
    match (first, deadline) {
        (Poll::Ready(reply), _) => reply,
        (Poll::Pending, None) => work.await,
        // The caller no longer waits, and over UDP nothing else will say so.
        (Poll::Pending, Some(deadline)) => tokio::time::timeout_at(deadline, work).await.ok().flatten(),
    }
}

/// A request being handled. Its work stands in a box that is used again when it ends at once.
pub(super) struct Job<F> {
    pub(super) work: Pin<Box<Option<F>>>,
    pub(super) asked: Asked,
}

/// What becomes of a request that is being handled.
pub(super) fn poll_work<F: Future<Output = Option<Reply>>>(
    work: &mut Pin<Box<Option<F>>>,
    asked: &Asked,
    cx: &mut Context<'_>,
) -> Poll<Option<Reply>> {
    let polls = work.as_mut().as_pin_mut();
    // A handler that panics must not take the whole socket with it.
    let polled = catch_unwind(AssertUnwindSafe(|| polls.map_or(Poll::Ready(None), |work| work.poll(cx))));
    let reply = match polled {
        Ok(polled) => ready!(polled),
        Err(_) => {
            warn!(peer = %asked.peer.addr, "a handler panicked");
            asked.own.then(|| asked.refusal(Refusal::Silent).into())
        }
    };
    work.set(None);
    Poll::Ready(reply)
}

impl<F: Future<Output = Option<Reply>>> Future for Job<F> {
    type Output = (Asked, Option<Reply>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { work, asked } = &mut *self;
        let reply = ready!(poll_work(work, asked, cx));
        Poll::Ready((*asked, reply))
    }
}
