//! What was learned of the ways to those who have had large answers: the next one begins as fast as the last one
//! ended.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::keep::pace::Pace;

/// Addresses of which that is remembered, some 300 bytes each. Past it the one is forgotten that has had no answer
/// for longest: it begins slowly again.
const ADDRESSES: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Paces {
    /// Each with when it was learned, counted.
    known: BTreeMap<IpAddr, (u64, Pace)>,
    /// The same in the order in which they were learned.
    order: BTreeMap<u64, IpAddr>,
    next: u64,
}

impl Paces {
    /// The pace of an answer to this address, of so many bytes a second at most. So fast its request has come, where
    /// that can be said.
    pub(super) fn of(&self, to: IpAddr, rate: u64, came: Option<u64>) -> Pace {
        self.known.get(&to).map(|(_, pace)| pace.clone()).unwrap_or_else(|| {
            let pace = Pace::towards(to, rate);
            came.map_or(pace.clone(), |came| pace.no_faster(came))
        })
    }

    /// An answer has gone to this address at this pace, or has lost something.
    pub(super) fn learn(&mut self, now: Instant, to: IpAddr, pace: Pace) {
        let known = self.known.remove(&to).map(|(at, pace)| {
            self.order.remove(&at);
            pace
        });
        let Some(pace) = pace.learned(known, now) else { return };
        if self.known.len() >= ADDRESSES
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(to, (self.next, pace));
        self.order.insert(self.next, to);
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(n: usize) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n).unwrap_or(u32::MAX)).into()
    }

    #[test]
    fn the_oldest_is_forgotten_and_no_other() {
        const LEARNED: u64 = Pace::LEAST;
        let now = Instant::now();
        let mut paces = Paces::default();
        let learn = |paces: &mut Paces, n| {
            paces.learn(now, address(n), Pace::towards(address(n), Pace::RATE).no_faster(LEARNED));
        };
        let knows = |paces: &Paces, n| paces.of(address(n), Pace::RATE, None).rate() == LEARNED;
        (0..ADDRESSES).for_each(|n| learn(&mut paces, n));
        assert!((0..ADDRESSES).all(|n| knows(&paces, n)));
        // The first has another answer, so the second is the oldest.
        learn(&mut paces, 0);
        learn(&mut paces, ADDRESSES);
        assert!((0..=ADDRESSES).all(|n| knows(&paces, n) == (n != 1)));
        assert_eq!((paces.known.len(), paces.order.len()), (ADDRESSES, ADDRESSES));
    }
}
