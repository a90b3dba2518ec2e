//! How fast pieces leave, so that a large packet does not overrun its receiver: a burst, then a rate that is
//! halved where pieces are lost and grows back (SPEC 9.13).
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fixp_transport::keep::pace::Pace;
//!
//! let now = Instant::now();
//! let mut pace = Pace::new(Pace::RATE);
//! let mut sent = 0;
//! while pace.ready(now).is_ok() {
//!     pace.sent(500);
//!     sent += 500;
//! }
//! assert!(sent >= Pace::BURST && sent < Pace::BURST + 500);
//! // More when there is room for a quarter of a burst.
//! let next = pace.ready(now).unwrap_err();
//! assert!(next - now < Duration::from_micros(200));
//! assert!(pace.ready(next).is_ok());
//! ```

use std::time::{Duration, Instant};

/// The rate of one flow of pieces.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Bytes a second without loss, and now.
    most: u64,
    rate: u64,
    /// Bytes that may leave; less than nothing after the last piece of a burst.
    room: i64,
    last: Option<Instant>,
    /// Something waited for room, so what a late timer has left out may be made up for.
    waits: bool,
    /// When the rate last changed.
    changed: Option<Instant>,
    /// What has left since the last loss began.
    left: u64,
    loss: Option<Loss>,
}

/// A loss, of which one datagram after the other tells.
#[derive(Clone, Debug)]
struct Loss {
    began: Instant,
    /// The rate until then, what had left at it, and what of that is missing.
    rate: u64,
    left: u64,
    missing: u64,
}

impl Pace {
    /// Bytes a second by default: 1 MiB in pieces of 480 bytes leaves in 11 ms. That is most of a gigabit's link;
    /// the slowest receivers tell by their losses.
    pub const RATE: u64 = 100_000_000;
    /// The rate never falls below this.
    pub const LEAST: u64 = 1_000_000;
    /// Bytes that may leave at once after a pause: a receive buffer of 100 KiB, which laxcus6's client asks for,
    /// holds some 160 pieces of 480 bytes, with what the kernel counts for each. Twice as much after a timer
    /// that came late.
    pub const BURST: u64 = 64 << 10;
    /// Losses within this time are one loss: a RETRY of many pieces is many datagrams.
    pub const LOSS: Duration = Duration::from_millis(100);
    /// One loss makes the rate no less than this part of it.
    pub const FALL: u64 = 16;
    /// After this long without a loss the rate doubles.
    pub const GROW: Duration = Duration::from_secs(1);

    /// A flow of at most so many bytes a second, at least 1.
    #[must_use]
    pub const fn new(rate: u64) -> Self {
        let most = if rate == 0 { 1 } else { rate };
        let room = Self::BURST.cast_signed();
        Self { most, rate: most, room, last: None, waits: false, changed: None, left: 0, loss: None }
    }

    /// Bytes a second now.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// What two flows have learned of one peer: the slower of them, nothing where none is slower than it may be.
    #[must_use]
    pub fn slower(mut self, other: Option<Self>, now: Instant) -> Option<Self> {
        self.grow(now);
        if let Some(mut other) = other {
            other.grow(now);
            if other.rate < self.rate {
                self = other;
            }
        }
        (self.rate < self.most).then_some(self)
    }

    /// Whether a piece may leave now.
    ///
    /// # Errors
    ///
    /// When it may: once there is room for a quarter of a burst, so that a timer is worth its while.
    pub fn ready(&mut self, now: Instant) -> Result<(), Instant> {
        self.grow(now);
        let last = *self.last.get_or_insert(now);
        let gained = i64::try_from(
            now.saturating_duration_since(last).as_nanos() * u128::from(self.rate) / 1_000_000_000,
        )
        .unwrap_or(i64::MAX);
        if gained > 0 {
            self.last = Some(now);
            let most = Self::BURST.cast_signed() * if self.waits { 2 } else { 1 };
            self.room = self.room.saturating_add(gained).min(most.max(self.room));
        }
        if self.room > 0 {
            self.waits = false;
            return Ok(());
        }
        self.waits = true;
        let wanted = (Self::BURST / 4).cast_signed() - self.room;
        let nanos = u128::from(wanted.unsigned_abs()) * 1_000_000_000 / u128::from(self.rate) + 1;
        Err(now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// A piece of so many bytes has left.
    pub fn sent(&mut self, bytes: usize) {
        self.room = self.room.saturating_sub_unsigned(bytes as u64);
        self.left = self.left.saturating_add(bytes as u64);
    }

    /// Pieces of so many bytes were lost, the peer says. The rate is halved; where more than half of what has left
    /// is missing, it falls to what has come through.
    pub fn lost(&mut self, now: Instant, bytes: usize) {
        self.grow(now);
        let mut loss =
            self.loss.take().filter(|loss| now.saturating_duration_since(loss.began) < Self::LOSS).unwrap_or(
                Loss { began: now, rate: self.rate, left: std::mem::take(&mut self.left), missing: 0 },
            );
        loss.missing = loss.missing.saturating_add(bytes as u64);
        let came = u128::from(loss.left.saturating_sub(loss.missing)) * u128::from(loss.rate);
        let came = came.checked_div(loss.left.into()).and_then(|came| u64::try_from(came).ok());
        // More than one step at a time only as far as it is known how much more.
        let rate = came.unwrap_or(loss.rate).clamp(loss.rate / Self::FALL, loss.rate / 2);
        self.rate = rate.max(Self::LEAST.min(self.most));
        self.changed = Some(now);
        self.loss = Some(loss);
    }

    fn grow(&mut self, now: Instant) {
        while self.rate < self.most
            && let Some(at) = self.changed
            && now.saturating_duration_since(at) >= Self::GROW
        {
            self.rate = self.rate.saturating_mul(2).min(self.most);
            self.changed = Some(at + Self::GROW);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that leave in a time, a caller's timers that much late.
    fn leaves(pace: &mut Pace, begin: Instant, time: Duration, late: Duration) -> u64 {
        let (mut now, mut sent) = (begin, 0);
        loop {
            match pace.ready(now) {
                Ok(()) => {
                    pace.sent(500);
                    sent += 500;
                }
                Err(at) => now = at + late,
            }
            if now - begin >= time {
                return sent;
            }
        }
    }

    #[test]
    fn a_mebibyte_in_pieces_leaves_in_15_ms_even_with_timers_that_are_late() {
        let now = Instant::now();
        let wanted = 2200 * 530;
        for late in [Duration::ZERO, Duration::from_micros(900)] {
            let sent = leaves(&mut Pace::new(Pace::RATE), now, Duration::from_millis(15), late);
            assert!(sent >= wanted, "{sent} at {late:?}");
            assert!(sent <= Pace::BURST * 2 + 1_500_000 + 500, "{sent}");
        }
    }

    #[test]
    fn a_pause_gives_one_burst() {
        let now = Instant::now();
        let mut pace = Pace::new(Pace::RATE);
        for second in 0..3 {
            let at = now + Duration::from_secs(second);
            let mut sent = 0;
            while pace.ready(at).is_ok() {
                pace.sent(500);
                sent += 500;
            }
            assert!((Pace::BURST..=Pace::BURST * 2 + 500).contains(&sent), "{sent}");
        }
    }

    #[test]
    fn losses_halve_the_rate_once_each_and_it_grows_back() {
        let now = Instant::now();
        let mut pace = Pace::new(Pace::RATE);
        for _ in 0..10 {
            pace.lost(now, 0);
        }
        assert_eq!(pace.rate(), Pace::RATE / 2);
        pace.lost(now + Pace::LOSS, 0);
        assert_eq!(pace.rate(), Pace::RATE / 4);
        let later = now + Pace::LOSS + Pace::GROW;
        pace.ready(later).unwrap();
        assert_eq!(pace.rate(), Pace::RATE / 2);
        for nth in 0..100 {
            pace.lost(later + nth * Pace::LOSS, 0);
        }
        assert_eq!(pace.rate(), Pace::LEAST);
        pace.ready(later + 60 * Pace::GROW).unwrap();
        assert_eq!(pace.rate(), Pace::RATE);
    }

    #[test]
    fn a_large_loss_tells_the_rate_of_the_way() {
        let now = Instant::now();
        let mut pace = Pace::new(Pace::RATE);
        pace.sent(1_000_000);
        // It is told by many datagrams.
        for _ in 0..16 {
            pace.lost(now, 50_000);
        }
        assert_eq!(pace.rate(), Pace::RATE / 5);
        // All of what has left since.
        pace.sent(1000);
        pace.lost(now + Pace::LOSS, 1000);
        assert_eq!(pace.rate(), Pace::RATE / 5 / Pace::FALL);
    }
}
