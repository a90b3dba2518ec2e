//! One piece at a time from a connection to the reader of a body: a reader that stops holds the peer up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::BodyError;

/// The two ends of a pipe.
pub(crate) fn pipe() -> (Feed, Drain) {
    let shared = Arc::new(Mutex::new(Shared::default()));
    (Feed(Arc::clone(&shared)), Drain(shared))
}

#[derive(Default)]
struct Shared {
    piece: Option<Bytes>,
    /// The feeding end is done, or gone.
    ended: bool,
    /// The draining end is gone: whatever comes is dropped.
    ignored: bool,
    feeding: Option<Waker>,
    draining: Option<Waker>,
}

/// The end at the connection.
pub(crate) struct Feed(Arc<Mutex<Shared>>);
/// The end at the body.
pub(crate) struct Drain(Arc<Mutex<Shared>>);

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feed {
    /// Ready when a piece can be put, or would be dropped.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut shared = lock(&self.0);
        if shared.piece.is_none() || shared.ignored {
            return Poll::Ready(());
        }
        shared.feeding = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Puts a piece where there is none.
    pub(crate) fn put(&self, piece: Bytes) {
        self.fill(piece, |_| true);
    }

    /// The same for a task that looks at its own readers next: it is not woken for one of them.
    pub(crate) fn put_within(&self, piece: Bytes, cx: &Context<'_>) {
        self.fill(piece, |waker| !waker.will_wake(cx.waker()));
    }

    /// Ends it, for such a task.
    pub(crate) fn end_within(self, cx: &Context<'_>) {
        let _own = lock(&self.0).draining.take_if(|waker| waker.will_wake(cx.waker()));
    }

    /// Wakes the reader, if it is to be; else its waker stays: with the next piece it would be the same again.
    fn fill(&self, piece: Bytes, wakes: impl FnOnce(&mut Waker) -> bool) {
        let mut shared = lock(&self.0);
        if shared.ignored {
            return;
        }
        debug_assert!(shared.piece.is_none(), "poll_ready was not asked");
        shared.piece = Some(piece);
        let waker = shared.draining.take_if(wakes);
        drop(shared);
        wake(waker);
    }

    /// Whether nobody reads what is put.
    pub(crate) fn ignored(&self) -> bool {
        lock(&self.0).ignored
    }

    /// Whether a piece can be put that somebody may read.
    pub(crate) fn is_wanted(&self) -> bool {
        let shared = lock(&self.0);
        shared.piece.is_none() && !shared.ignored
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.ended = true;
        let waker = shared.draining.take();
        drop(shared);
        wake(waker);
    }
}

impl Drain {
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut shared = lock(&self.0);
        match shared.piece.take() {
            Some(piece) => {
                let waker = shared.feeding.take();
                drop(shared);
                wake(waker);
                Poll::Ready(Some(Ok(piece)))
            }
            None if shared.ended => Poll::Ready(None),
            None => {
                match &mut shared.draining {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.ignored = true;
        shared.piece = None;
        let waker = shared.feeding.take();
        drop(shared);
        wake(waker);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
