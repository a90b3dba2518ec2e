//! The clock and the timer of a task.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// The clock of tokio, which tests may stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// So long after this; a time that the clock cannot say is a year.
pub(crate) fn after(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).or_else(|| now.checked_add(YEAR)).unwrap_or(now)
}

const YEAR: Duration = Duration::from_secs(365 * 86400);

/// Wakes its task, perhaps too early: a look at what is due costs little, a timer set anew for every packet
/// more. One that was never asked for costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Sees to it that the task is polled at this time, or some time before; ready when it is to look now.
    pub(crate) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let at = tokio::time::Instant::from_std(at);
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() > at || sleep.is_elapsed() {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}
