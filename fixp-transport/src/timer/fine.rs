//! A timer finer than tokio's, which are a millisecond apart: what leaves at a pace would else leave in lumps of what
//! a millisecond or two are worth, and the buffer of its receiver would have to hold them.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer of the system, and when it goes off.
#[derive(Debug)]
pub(super) struct Fine {
    timer: AsyncFd<OwnedFd>,
    armed: Option<Instant>,
}

impl Fine {
    /// A timer that is not set.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[allow(
            deprecated,
            reason = "what replaces it is unsafe, and an owned descriptor needs none of that"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self { timer, armed: None })
    }

    /// When it goes off.
    pub(super) const fn armed(&self) -> Option<Instant> {
        self.armed
    }

    /// Ready at this time, or when it was set to a time before. It is a moment after `now`: the clock is looked at where
    /// the timer is set.
    pub(super) fn poll(&mut self, now: Instant, at: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if at <= now {
            return Poll::Ready(Ok(()));
        }
        if self.armed.is_none_or(|armed| armed > at || armed <= now) {
            let wait = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
            let it_value = Timespec {
                tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
            self.armed = Some(at);
        }
        loop {
            let mut ready = ready!(self.timer.poll_read_ready(cx))?;
            // What it was set to before may have gone off, and not been seen.
            let gone_off = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?));
            if let Ok(gone_off) = gone_off {
                self.armed = None;
                return Poll::Ready(gone_off.map(|_| ()));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn it_goes_off_and_can_be_set_anew() {
        let mut fine = Fine::new().unwrap();
        for micros in [300, 100, 200] {
            let at = Instant::now() + Duration::from_micros(micros);
            // A later one stays behind an earlier one.
            let early = poll_fn(|cx| {
                let now = Instant::now();
                let later = fine.poll(now, at + Duration::from_secs(1), cx);
                if later.is_ready() { Poll::Ready(later) } else { Poll::Ready(fine.poll(now, at, cx)) }
            });
            let early = early.await;
            if early.is_pending() {
                poll_fn(|cx| fine.poll(Instant::now(), at, cx)).await.unwrap();
            }
            assert!(Instant::now() >= at);
        }
    }
}
