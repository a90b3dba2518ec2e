//! The clock and the timer of a task.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod fine;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

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
/// more. One that was never asked for costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fine: Option<Fine>,
}

impl Timer {
    /// The same, but that it is fine where the system has such timers. Its clock is that of the system, which no test
    /// stops.
    pub(crate) fn make_fine(&mut self) {
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
    pub(crate) fn poll(&mut self, now: Instant, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(fine) = &mut self.fine
            && at.saturating_duration_since(now) < COARSE * 2
        {
            match fine.poll(now, at, cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(()),
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "timers are 1 ms apart");
                    self.fine = None;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        let at = tokio::time::Instant::from_std(at);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() > at || sleep.is_elapsed() {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}
