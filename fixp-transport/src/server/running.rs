//! The requests of a connection that are being handled, all in the task of the connection.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::connection::Ticket;

/// Work under way, each piece of it with the ticket of its request.
pub(super) struct Running<F> {
    /// That which reads the entity that is coming. Every piece concerns it, so it is looked at in every round,
    /// without a waker of its own.
    reader: Option<Job<F>>,
    others: FuturesUnordered<Job<F>>,
    /// The box of work that has ended is used again.
    spare: Option<Pin<Box<F>>>,
}

/// What work is for a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It has the entity that is coming.
    Reader,
    Here,
    /// It waits for what is done, and counted, elsewhere.
    Elsewhere,
}

struct Job<F> {
    ticket: Ticket,
    place: Place,
    /// Nothing once it is cancelled.
    work: Option<Pin<Box<F>>>,
    waker: Option<Waker>,
}

/// How work has ended, with its box; nothing where it was cancelled.
type Ended<F> = Option<(<F as Future>::Output, Pin<Box<F>>)>;

impl<F: Future> Job<F> {
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Ended<F>> {
        let Some(mut work) = self.work.take() else { return Poll::Ready(None) };
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some((output, work)));
        }
        self.work = Some(work);
        Poll::Pending
    }
}

impl<F: Future> Future for Job<F> {
    type Output = (Ticket, Ended<F>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = this.poll_work(cx).map(|ended| (this.ticket, ended));
        if polled.is_pending() {
            this.waker = Some(cx.waker().clone());
        }
        polled
    }
}

impl<F> Running<F> {
    pub(super) fn new() -> Self {
        Self { reader: None, others: FuturesUnordered::new(), spare: None }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.reader.is_some()) + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much of it ends with the connection.
    pub(super) fn here(&self) -> usize {
        self.reader.iter().chain(self.others.iter()).filter(|job| job.place != Place::Elsewhere).count()
    }

    /// Whether nothing is under way but that which reads the entity that is coming.
    pub(super) fn only_reads(&self) -> bool {
        self.reader.is_some() && self.others.is_empty()
    }
}

impl<F: Future> Running<F> {
    /// Begins work, which may end at once.
    pub(super) fn start(
        &mut self,
        ticket: Ticket,
        work: F,
        place: Place,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let mut work = match self.spare.take() {
            Some(mut spare) => {
                spare.set(work);
                spare
            }
            None => Box::pin(work),
        };
        // Most answers are there at once: they cost no place among the others.
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            self.spare = Some(work);
            return Poll::Ready(output);
        }
        let job = Job { ticket, place, work: Some(work), waker: None };
        let other = if place == Place::Reader { self.reader.replace(job) } else { Some(job) };
        self.others.extend(other);
        Poll::Pending
    }

    /// The next that has ended; without an output where it was cancelled.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<(Ticket, Option<F::Output>)> {
        if let Poll::Ready(ended) = self.poll_reader(cx) {
            return Poll::Ready(ended);
        }
        if self.others.is_empty() {
            return Poll::Pending;
        }
        match self.others.poll_next_unpin(cx) {
            Poll::Ready(Some((ticket, ended))) => Poll::Ready((ticket, self.spared(ended))),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// The same of that which reads, alone.
    pub(super) fn poll_reader(&mut self, cx: &mut Context<'_>) -> Poll<(Ticket, Option<F::Output>)> {
        let Some(job) = &mut self.reader else { return Poll::Pending };
        let ticket = job.ticket;
        let ended = ready!(job.poll_work(cx));
        self.reader = None;
        Poll::Ready((ticket, self.spared(ended)))
    }

    fn spared(&mut self, ended: Ended<F>) -> Option<F::Output> {
        let (output, work) = ended?;
        self.spare = Some(work);
        Some(output)
    }

    /// Drops the work of a request with this serial; it is told as ended.
    pub(super) fn cancel(&mut self, serial: i64) {
        let mut jobs = self.reader.iter_mut().chain(self.others.iter_mut());
        if let Some(job) = jobs.find(|job| job.ticket.serial == Some(serial)) {
            job.work = None;
            if let Some(waker) = job.waker.take() {
                waker.wake();
            }
        }
    }

    /// Gives its memory back, as far as it is not needed.
    pub(super) fn trim(&mut self) {
        self.spare = None;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker_ref;
    use tokio::sync::oneshot;

    use super::*;

    fn ticket(serial: i64) -> Ticket {
        Ticket::of_serial(serial)
    }

    #[test]
    fn a_second_reader_holds_back_no_first() {
        let cx = &mut Context::from_waker(noop_waker_ref());
        let mut running = Running::new();
        let (first, work) = oneshot::channel::<u8>();
        assert!(running.start(ticket(1), work, Place::Reader, cx).is_pending());
        let (_second, work) = oneshot::channel();
        assert!(running.start(ticket(2), work, Place::Reader, cx).is_pending());
        assert_eq!(running.len(), 2);
        assert!(running.poll_ended(cx).is_pending());
        assert_eq!(first.send(7), Ok(()));
        let Poll::Ready((ended, output)) = running.poll_ended(cx) else { panic!("it has ended") };
        assert_eq!((ended.serial, output), (Some(1), Some(Ok(7))));
        assert!(running.poll_ended(cx).is_pending());
        assert_eq!(running.len(), 1);
    }

    #[test]
    fn what_is_cancelled_ends_without_an_output() {
        let cx = &mut Context::from_waker(noop_waker_ref());
        let mut running = Running::new();
        let (reader, work) = oneshot::channel::<u8>();
        assert!(running.start(ticket(1), work, Place::Reader, cx).is_pending());
        let (other, work) = oneshot::channel::<u8>();
        assert!(running.start(ticket(2), work, Place::Here, cx).is_pending());
        assert!(running.poll_ended(cx).is_pending());
        for (serial, sender) in [(1, reader), (2, other)] {
            running.cancel(serial);
            assert!(sender.is_closed(), "its work is dropped at once");
            let Poll::Ready((ended, output)) = running.poll_ended(cx) else { panic!("it has ended") };
            assert_eq!((ended.serial, output), (Some(serial), None));
        }
        assert!(running.is_empty());
    }
}
