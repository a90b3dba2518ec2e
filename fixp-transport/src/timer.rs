//! The clock and the timer of a task.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod fine;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::task::coop::has_budget_remaining;
use tokio::time::Sleep;

#[cfg(any(target_os = "linux", target_os = "android"))]
use self::fine::Fine;

/// The clock of tokio, which tests may stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// So long after this; a time that the clock cannot say is a year.
pub(crate) fn after(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).or_else(|| now.checked_add(YEAR)).unwrap_or(now)
}

/// This time, or a year: a time that no clock can say is for ever.
pub(crate) const fn bounded(time: Duration) -> Duration {
    if time.as_secs() < YEAR.as_secs() { time } else { YEAR }
}

const YEAR: Duration = Duration::from_secs(365 * 86400);
/// What tokio's timers are apart.
const COARSE: Duration = Duration::from_millis(1);

/// Wakes its task, perhaps too early: a look at what is due costs little, a timer set anew for every packet
/// more. One that was never asked for costs nothing, and one that is set early enough nearly nothing.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fine: Option<Fine>,
    set: Option<Set>,
}

/// A timer that is set.
#[derive(Debug)]
struct Set {
    at: Instant,
    /// It does up to here: from there on a finer one may be wanted.
    until: Instant,
    /// Whom it wakes.
    task: Waker,
}

impl Timer {
    /// The same, but that it is fine where the system has such timers. Its clock is that of the system, which no test
    /// stops.
    pub(crate) fn make_fine(&mut self) {
        self.set = None;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.fine.is_none() {
            self.fine =
                Fine::new().inspect_err(|error| tracing::debug!(%error, "timers are 1 ms apart")).ok();
        }
    }

    /// What there should be between two looks at the clock: where it is not fine, a task that waits for less is woken
    /// later anyway.
    pub(crate) const fn least(&self) -> Duration {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.fine.is_some() {
            return Duration::from_micros(50);
        }
        COARSE
    }

    /// Sees to it that the task is polled at this time, or some time before; ready when it is to look now, which is a
    /// moment after `now`.
    #[inline]
    pub(crate) fn poll(&mut self, now: Instant, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match &self.set {
            Some(set) if now < set.until && set.at <= at && set.task.will_wake(cx.waker()) => Poll::Pending,
            _ => self.set(now, at, cx),
        }
    }

    fn set(&mut self, now: Instant, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.set.take().map(|set| set.task);
        let Some((at, until)) = self.poll_set(now, at, cx) else { return Poll::Ready(()) };
        // Who has no turn left is polled again anyway, and no timer knows of it, perhaps.
        if has_budget_remaining() {
            let task = task.filter(|task| task.will_wake(cx.waker())).unwrap_or_else(|| cx.waker().clone());
            self.set = Some(Set { at, until, task });
        }
        Poll::Pending
    }

    /// When it goes off, and until when that is exact enough; nothing where that is now.
    fn poll_set(&mut self, now: Instant, at: Instant, cx: &mut Context<'_>) -> Option<(Instant, Instant)> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(fine) = &mut self.fine
            && at.saturating_duration_since(now) < COARSE * 2
        {
            match fine.poll(now, at, cx) {
                Poll::Ready(Ok(())) => return None,
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "timers are 1 ms apart");
                    self.fine = None;
                }
                Poll::Pending => {
                    let at = fine.armed().unwrap_or(now);
                    return Some((at, at));
                }
            }
        }
        let at = tokio::time::Instant::from_std(at);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() > at || sleep.is_elapsed() {
            sleep.as_mut().reset(at);
        }
        let at = sleep.deadline().into_std();
        sleep.as_mut().poll(cx).is_pending().then(|| (at, at.checked_sub(COARSE * 2).unwrap_or(now)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::task::coop::poll_proceed;

    use super::*;

    /// Waits for a time by a timer that is asked when its task is woken, or at the latest after a minute.
    async fn wait(timer: &mut Timer, at: Instant) {
        let wait = poll_fn(|cx| {
            let now = now();
            if now < at {
                let _ = timer.poll(now, at, cx);
                return Poll::Pending;
            }
            Poll::Ready(now)
        });
        let woken = tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it is asked");
        assert!(woken < at + Duration::from_secs(1), "nobody was woken");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_turn_left_is_woken_all_the_same() {
        let mut timer = Timer::default();
        let at = now() + Duration::from_secs(1);
        poll_fn(|cx| {
            while let Poll::Ready(turn) = poll_proceed(cx) {
                turn.made_progress();
            }
            assert!(timer.poll(now(), at, cx).is_pending());
            Poll::Ready(())
        })
        .await;
        wait(&mut timer, at).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_wakes_whoever_asked_last() {
        let mut timer = Timer::default();
        let at = now() + Duration::from_secs(1);
        assert!(timer.poll(now(), at, &mut Context::from_waker(Waker::noop())).is_pending());
        wait(&mut timer, at).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_time_is_set_and_a_later_one_is_not() {
        let mut timer = Timer::default();
        let [sooner, later] = [1, 3].map(|secs| now() + Duration::from_secs(secs));
        let set = poll_fn(|cx| {
            for at in [later, sooner, later] {
                assert!(timer.poll(now(), at, cx).is_pending());
            }
            Poll::Ready(timer.set.as_ref().map(|set| set.at))
        });
        assert_eq!(set.await, Some(sooner));
        wait(&mut timer, later).await;
    }
}
