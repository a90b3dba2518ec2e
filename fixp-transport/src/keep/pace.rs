//! How fast pieces leave, so that a large packet does not overrun its receiver or the way to it: a burst, then a rate
//! that is halved where pieces are lost and grows back (SPEC 9.13).
//!
//! Nothing says how fast a way is before something is lost there, and with the programs a loss costs seconds. So to
//! another machine the rate begins low, and doubles when packets have come through without a loss.
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

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The rate of one flow of pieces.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Bytes a second without loss, and now.
    most: u64,
    rate: u64,
    /// What it grows to after a loss: that rate was too much.
    ceiling: u64,
    /// Bytes that have come through at this rate, where it is not known what the way takes.
    probes: Option<u64>,
    careful: bool,
    /// Bytes that may leave; less than nothing after the last piece of a burst.
    room: i64,
    last: Option<Instant>,
    /// Something waited for room, so what a late timer has left out may be made up for.
    waits: bool,
    /// When the rate last changed.
    changed: Option<Instant>,
    /// When something was lost last.
    lost: Option<Instant>,
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
    /// Bytes a second by default, a gigabit: 1 MiB in pieces of 480 bytes leaves in 9 ms. The slowest receivers tell
    /// by their losses.
    pub const RATE: u64 = 125_000_000;
    /// Bytes a second at first towards another machine, less than 100 Mbit: 1 MiB leaves in 0.1 s.
    pub const START: u64 = 10_000_000;
    /// They double when what leaves in this time has come through without a loss.
    pub const PROBE: Duration = Duration::from_millis(100);
    /// Packets of fewer bytes say nothing of that: they are hardly more than a burst.
    pub const LONG: u64 = 4 * Self::BURST;
    /// After this long without a loss it is tried anew what the way takes.
    pub const AGAIN: Duration = Duration::from_secs(60);
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

    /// A flow of so many bytes a second, at least 1.
    #[must_use]
    pub const fn new(rate: u64) -> Self {
        let most = if rate == 0 { 1 } else { rate };
        Self {
            most,
            rate: most,
            ceiling: most,
            probes: None,
            careful: false,
            room: Self::BURST.cast_signed(),
            last: None,
            waits: false,
            changed: None,
            lost: None,
            left: 0,
            loss: None,
        }
    }

    /// A flow to this address, of at most so many bytes a second: within this machine of so many at once.
    #[must_use]
    pub fn towards(to: IpAddr, rate: u64) -> Self {
        let pace = Self::new(rate);
        if to.to_canonical().is_loopback() { pace } else { pace.carefully(Self::START) }
    }

    /// The same, but that it begins with no more than this rate, or [`Pace::LEAST`], where it is careful at all: so
    /// fast something came.
    #[must_use]
    pub fn no_faster(self, rate: u64) -> Self {
        if self.probes.is_some() { self.carefully(rate.max(Self::LEAST)) } else { self }
    }

    fn carefully(self, rate: u64) -> Self {
        Self { rate: self.rate.min(rate), probes: Some(0), careful: true, ..self }
    }

    /// Bytes a second now.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// What two flows have learned of one peer: what was lost, else what was not. Nothing where that is no more than
    /// a new one knows.
    #[must_use]
    pub fn learned(mut self, other: Option<Self>, now: Instant) -> Option<Self> {
        self.grow(now);
        if let Some(mut other) = other {
            other.grow(now);
            let theirs = match (self.probes, other.probes) {
                (Some(_), Some(_)) => other.rate > self.rate,
                (None, None) => other.rate < self.rate,
                (probes, _) => probes.is_some(),
            };
            if theirs {
                self = other;
            }
        }
        (self.careful || self.rate < self.most).then_some(self)
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

    /// A packet of so many bytes has come through, the peer says.
    pub fn came_through(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        if let Some(probes) = self.probes.as_mut().filter(|_| bytes >= Self::LONG) {
            *probes = probes.saturating_add(bytes);
            if u128::from(*probes) * 1000 >= u128::from(self.rate) * Self::PROBE.as_millis() {
                *probes = 0;
                self.rate = self.rate.saturating_mul(2).min(self.most);
            }
        }
    }

    /// Pieces of so many bytes were lost, the peer says. The rate is halved; where more than half of what has left
    /// is missing, it falls to what has come through. Where it was careful it does not pass this rate again for a
    /// minute; where more than one of 32 is missing, not half of it.
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
        let least = Self::LEAST.min(self.most);
        self.rate = rate.max(least);
        if self.careful {
            let much = loss.missing.saturating_mul(32) > loss.left;
            // A few that are lost below a rate that was too much say nothing new of it.
            let ceiling = match (much, self.lost) {
                (true, _) => loss.rate / 2,
                (false, None) => loss.rate,
                (false, Some(_)) => self.ceiling,
            };
            self.ceiling = ceiling.max(least);
            self.probes = None;
        }
        self.changed = Some(now);
        self.lost = Some(now);
        self.loss = Some(loss);
    }

    fn grow(&mut self, now: Instant) {
        if self.lost.is_some_and(|at| now.saturating_duration_since(at) >= Self::AGAIN) {
            (self.lost, self.ceiling) = (None, self.most);
            self.probes = self.careful.then_some(0);
        }
        if self.probes.is_some() {
            return;
        }
        while self.rate < self.ceiling
            && let Some(at) = self.changed
            && now.saturating_duration_since(at) >= Self::GROW
        {
            self.rate = self.rate.saturating_mul(2).min(self.ceiling);
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
            assert!(sent <= Pace::BURST * 2 + 1_875_000 + 500, "{sent}");
        }
    }

    #[test]
    fn towards_another_machine_it_begins_low_and_remembers_what_was_too_much() {
        let now = Instant::now();
        let to = "192.0.2.1".parse().unwrap();
        let mut pace = Pace::towards(to, Pace::RATE);
        // However much leaves, and however long it takes.
        let sent = leaves(&mut pace, now, Duration::from_millis(500), Duration::ZERO);
        assert!((5_000_000..5_100_000).contains(&sent), "{sent}");
        let at = now + 30 * Pace::GROW;
        pace.ready(at).unwrap();
        assert_eq!(pace.rate(), Pace::START);
        // What comes through, but for what is hardly more than a burst.
        for _ in 0..100 {
            pace.came_through(100_000);
        }
        pace.came_through(900_000);
        assert_eq!(pace.rate(), Pace::START);
        for times in [2, 4, 8] {
            pace.came_through(10_000_000);
            assert_eq!(pace.rate(), Pace::START * times);
        }
        // One of many: that rate is not passed.
        pace.sent(1_000_000);
        pace.lost(at, 500);
        assert_eq!(pace.rate(), Pace::START * 4);
        pace.came_through(100_000_000);
        pace.ready(at + 10 * Pace::GROW).unwrap();
        assert_eq!(pace.rate(), Pace::START * 8);
        // A tenth of them: half of that is not passed for a minute, whatever comes through.
        pace.sent(100_000);
        let at = at + 10 * Pace::GROW;
        pace.lost(at, 10_000);
        pace.came_through(100_000_000);
        pace.ready(at + 10 * Pace::GROW).unwrap();
        assert_eq!(pace.rate(), Pace::START * 4);
        pace.ready(at + Pace::AGAIN).unwrap();
        pace.came_through(100_000_000);
        assert_eq!(pace.rate(), Pace::START * 8);
        // So fast something came: not slower than the least, and no matter within the machine.
        for (came, rate) in [(2_000_000, 2_000_000), (1000, Pace::LEAST), (Pace::RATE, Pace::START)] {
            assert_eq!(Pace::towards(to, Pace::RATE).no_faster(came).rate(), rate);
        }
        for within in ["127.0.0.1", "::1", "::ffff:127.0.0.2"] {
            let pace = Pace::towards(within.parse().unwrap(), Pace::RATE);
            assert_eq!(pace.no_faster(1000).rate(), Pace::RATE);
        }
    }

    /// A way that loses a piece now and then at any rate.
    #[test]
    fn single_losses_do_not_add_up() {
        let mut now = Instant::now();
        let mut pace = Pace::towards("192.0.2.1".parse().unwrap(), Pace::RATE);
        for millis in [500, 3000].repeat(10) {
            pace.sent(1_000_000);
            pace.lost(now, 500);
            now += Duration::from_millis(millis);
            let _ = pace.ready(now);
        }
        assert_eq!(pace.rate(), Pace::START);
    }

    #[test]
    fn of_two_flows_a_loss_says_most() {
        let now = Instant::now();
        let fresh = || Pace::towards("192.0.2.1".parse().unwrap(), Pace::RATE);
        let (mut faster, mut loser) = (fresh(), fresh());
        faster.came_through(1_000_000);
        loser.lost(now, 500);
        let rate = |one: &Pace, other: &Pace| one.clone().learned(Some(other.clone()), now).unwrap().rate();
        for (one, other, wanted) in [
            (&faster, &fresh(), Pace::START * 2),
            (&fresh(), &faster, Pace::START * 2),
            (&faster, &loser, Pace::START / 2),
            (&loser, &faster, Pace::START / 2),
        ] {
            assert_eq!(rate(one, other), wanted);
        }
        assert!(Pace::new(Pace::RATE).learned(None, now).is_none());
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
