//! What may leave for addresses that have proved nothing: no more than came from there, and a rate beside it for
//! each source prefix (SPEC 9.12).
//!
//! KEEP UDP of the programs has no proof of an address. All that a client says (its identity, the serials it
//! asks for, CANCEL) is its own choice or can be foretold, so that whoever forges its address can say it too; and
//! an answer may be thousands of times its request. So what leaves beyond what came is counted by prefix, an IPv4
//! /24 or an IPv6 /56, of which a network gets one:
//!
//! - a burst and a rate for everybody ([`Rates::burst`], [`Rates::rate`]);
//! - CANCEL for an answer that has left as a whole is the *sign* of a client that got it. What the answer took is
//!   given back, again by a burst and a rate ([`Rates::sign_burst`], [`Rates::sign_rate`]): a forger who forges
//!   the signs too gets both, and no more. A client of the programs that ends its exchanges is not held up below
//!   the latter.
//!
//! Peers that need more are put on the list of those that are not limited
//! ([`Config::allow`](super::responder::Config::allow)).
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fixp_transport::keep::budget::{Budget, Rates};
//!
//! let now = Instant::now();
//! let mut budget = Budget::new(Rates { rate: 1000, burst: 5000, ..Rates::default() });
//! let (one, neighbour) = ("192.0.2.1".parse().unwrap(), "192.0.2.77".parse().unwrap());
//! assert_eq!(budget.reserve(now, one, 5000), now);
//! assert_eq!(budget.reserve(now, neighbour, 2000), now + Duration::from_secs(2));
//! assert_eq!(budget.reserve(now, "198.51.100.1".parse().unwrap(), 2000), now);
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The rates of a budget, in bytes and bytes a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rates {
    /// What a prefix gets beyond what came from there.
    pub rate: u64,
    /// How much of that at once.
    pub burst: u64,
    /// What of it is given back at most for signs that it arrives.
    pub sign_rate: u64,
    /// How much of that at once.
    pub sign_burst: u64,
    /// Prefixes that are counted apart. All others together are one.
    pub prefixes: usize,
}

impl Rates {
    /// Default of [`Rates::rate`], 2 Mbit/s: nobody's link is filled by it.
    pub const RATE: u64 = 256 << 10;
    /// Default of [`Rates::burst`]: an answer of 1 MiB in the programs' pieces is 1.2 MiB.
    pub const BURST: u64 = 2 << 20;
    /// Default of [`Rates::sign_rate`].
    pub const SIGN_RATE: u64 = 4 << 20;
    /// Default of [`Rates::sign_burst`].
    pub const SIGN_BURST: u64 = 8 << 20;
    /// Default of [`Rates::prefixes`]. Costs some 80 bytes each, 1.3 MB in all.
    pub const PREFIXES: usize = 16384;
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            rate: Self::RATE,
            burst: Self::BURST,
            sign_rate: Self::SIGN_RATE,
            sign_burst: Self::SIGN_BURST,
            prefixes: Self::PREFIXES,
        }
    }
}

/// The network that an address stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Prefix {
    V4(u32),
    V6(u64),
}

impl Prefix {
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(u32::from(ip) >> 8),
            IpAddr::V6(ip) => Self::V6((Ipv6Addr::to_bits(ip) >> 72) as u64),
        }
    }
}

/// Of a prefix: when everything taken is there again, if nothing more is taken.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Instant,
    signs_full_at: Instant,
}

impl Bucket {
    const fn new(now: Instant) -> Self {
        Self { full_at: now, signs_full_at: now }
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now && self.signs_full_at <= now
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Budget {
    rates: Rates,
    prefixes: BTreeMap<Prefix, Bucket>,
    /// Of all prefixes for which there is no room.
    others: Option<Bucket>,
    swept: Option<Instant>,
}

impl Budget {
    /// How often those prefixes are looked for that may be forgotten, when there is no room.
    const SWEEP: Duration = Duration::from_secs(1);

    /// A budget of which nothing has been taken.
    #[must_use]
    pub const fn new(rates: Rates) -> Self {
        Self { rates, prefixes: BTreeMap::new(), others: None, swept: None }
    }

    /// Takes bytes if they may leave now.
    pub fn take(&mut self, now: Instant, ip: IpAddr, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let rates = self.rates;
        let bucket = self.bucket(now, ip);
        let full_at = bucket.full_at.max(now) + time(bytes as u64, rates.rate);
        let may = full_at <= now + time(rates.burst, rates.rate);
        if may {
            bucket.full_at = full_at;
        }
        may
    }

    /// Takes bytes, and tells when they may leave. Those who ask later wait longer.
    pub fn reserve(&mut self, now: Instant, ip: IpAddr, bytes: usize) -> Instant {
        let rates = self.rates;
        let bucket = self.bucket(now, ip);
        bucket.full_at = bucket.full_at.max(now) + time(bytes as u64, rates.rate);
        let burst = time(rates.burst, rates.rate);
        bucket.full_at.checked_sub(burst).map_or(now, |at| at.max(now))
    }

    /// Gives back bytes that were taken and have not left.
    pub fn give_back(&mut self, now: Instant, ip: IpAddr, bytes: usize) {
        let rates = self.rates;
        let bucket = self.bucket(now, ip);
        let full_at = bucket.full_at.checked_sub(time(bytes as u64, rates.rate));
        bucket.full_at = full_at.map_or(now, |at| at.max(now));
    }

    /// Bytes that were taken seem to have arrived: as many as the rates allow are given back.
    pub fn sign(&mut self, now: Instant, ip: IpAddr, bytes: usize) {
        let rates = self.rates;
        let bucket = self.bucket(now, ip);
        let taken = bucket.signs_full_at.saturating_duration_since(now);
        let room = time(rates.sign_burst, rates.sign_rate).saturating_sub(taken);
        let time = time(bytes as u64, rates.sign_rate).min(room);
        bucket.signs_full_at = bucket.signs_full_at.max(now) + time;
        let bytes = time.as_nanos() * u128::from(rates.sign_rate) / 1_000_000_000;
        self.give_back(now, ip, usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// How many prefixes are counted apart.
    #[must_use]
    pub fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    fn bucket(&mut self, now: Instant, ip: IpAddr) -> &mut Bucket {
        let prefix = Prefix::of(ip);
        if self.prefixes.len() >= self.rates.prefixes && !self.prefixes.contains_key(&prefix) {
            if self.swept.is_none_or(|at| now.saturating_duration_since(at) >= Self::SWEEP) {
                self.swept = Some(now);
                // One of which nothing is taken is as good as none.
                self.prefixes.retain(|_, bucket| !bucket.is_full(now));
            }
            if self.prefixes.len() >= self.rates.prefixes {
                return self.others.get_or_insert(Bucket::new(now));
            }
        }
        self.prefixes.entry(prefix).or_insert(Bucket::new(now))
    }
}

/// How long so many bytes take, at most a day.
fn time(bytes: u64, bytes_per_second: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(Duration::from_secs(86400))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RATES: Rates = Rates { rate: 1000, burst: 5000, sign_rate: 2000, sign_burst: 3000, prefixes: 3 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_are_a_24_and_a_56() {
        let same = |a: &str, b: &str| Prefix::of(ip(a)) == Prefix::of(ip(b));
        assert!(same("192.0.2.1", "192.0.2.255") && same("192.0.2.1", "::ffff:192.0.2.9"));
        assert!(!same("192.0.2.1", "192.0.3.1"));
        assert!(same("2001:db8:0:100::1", "2001:db8:0:1ff:ffff::"));
        assert!(!same("2001:db8:0:100::1", "2001:db8:0:200::1"));
    }

    #[test]
    fn burst_then_rate() {
        let (now, ip) = (Instant::now(), ip("192.0.2.1"));
        let mut budget = Budget::new(RATES);
        assert!(budget.take(now, ip, 5000) && !budget.take(now, ip, 1));
        assert!(budget.take(now + SECOND, ip, 1000) && !budget.take(now + SECOND, ip, 1));
        // A long pause gives no more than the burst.
        assert!(!budget.take(now + 100 * SECOND, ip, 5001) && budget.take(now + 100 * SECOND, ip, 5000));
    }

    #[test]
    fn signs_give_back_by_a_rate_of_their_own() {
        let (now, ip) = (Instant::now(), ip("192.0.2.1"));
        let mut budget = Budget::new(RATES);
        assert!(budget.take(now, ip, 5000));
        budget.sign(now, ip, 100_000);
        assert!(budget.take(now, ip, 3000) && !budget.take(now, ip, 1));
        budget.sign(now, ip, 100_000);
        assert!(!budget.take(now, ip, 1));
        // 1000 by the rate, and 2000 of a sign.
        budget.sign(now + SECOND, ip, 100_000);
        assert!(budget.take(now + SECOND, ip, 3000) && !budget.take(now + SECOND, ip, 1));
    }

    #[test]
    fn prefixes_without_room_share_one_and_full_ones_are_forgotten() {
        let now = Instant::now();
        let of = |nth: u32| IpAddr::from((0x0a00_0000 + (nth << 8)).to_be_bytes());
        let mut budget = Budget::new(RATES);
        for nth in 0..3 {
            assert!(budget.take(now, of(nth), 2000));
        }
        assert!(budget.take(now, of(3), 5000) && !budget.take(now, of(4), 1));
        assert_eq!(budget.prefixes(), 3);
        assert!(budget.take(now + 2 * SECOND, of(4), 5000));
        assert_eq!(budget.prefixes(), 1);
    }
}
