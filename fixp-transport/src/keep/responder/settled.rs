//! The identities that have just been cancelled, for the network's own duplicates.
//!
//! At CANCEL everything of an exchange is gone. What remains for a moment is no exchange and no timer: one entry
//! of fixed size in a ring of fixed length.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::Key;

/// A cancelled request: whose it was, its count, and the digest of its only piece. Of one of several pieces there
/// is no room for the digests of all, and it is 0.
type Request = (Key, u32, u64);

#[derive(Debug, Default)]
pub(super) struct Settled {
    until: BTreeMap<Request, Instant>,
    /// In the order of their time. One that was cancelled again stands here twice.
    order: VecDeque<(Instant, Request)>,
}

impl Settled {
    /// A request of so many pieces is cancelled. At most so many are kept; the oldest gives way.
    pub(super) fn add(&mut self, until: Instant, key: Key, count: u32, digest: u64, most: usize) {
        if most == 0 {
            return;
        }
        while self.order.len() >= most
            && let Some((until, request)) = self.order.pop_front()
        {
            if self.until.get(&request) == Some(&until) {
                self.until.remove(&request);
            }
        }
        let request = (key, count, if count == 1 { digest } else { 0 });
        self.order.push_back((until, request));
        self.until.insert(request, until);
    }

    /// Whether a piece is a late duplicate. One of several is by its address, identity and count alone.
    pub(super) fn knows(&self, now: Instant, key: Key, count: u32, digest: u64) -> bool {
        let request = (key, count, if count == 1 { digest } else { 0 });
        self.until.get(&request).is_some_and(|&until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_ring_of_few() {
        let (now, at) = (Instant::now(), SocketAddr::from(([192, 0, 2, 1], 4000)));
        let until = now + Duration::from_secs(1);
        let mut settled = Settled::default();
        for identity in 0..10 {
            settled.add(until, (at, identity), 1, 77, 4);
        }
        assert_eq!((settled.until.len(), settled.order.len()), (4, 4));
        assert!(!settled.knows(now, (at, 5), 1, 77) && settled.knows(now, (at, 6), 1, 77));
        assert!(!settled.knows(now, (at, 9), 1, 78) && !settled.knows(until, (at, 9), 1, 77));
        // The same again and again: its newest entry counts.
        for nth in 0..10 {
            settled.add(until + Duration::from_secs(nth), (at, 3), 2, 0, 4);
        }
        assert!(settled.knows(until, (at, 3), 2, 5) && !settled.knows(until, (at, 3), 3, 5));
        assert_eq!((settled.until.len(), settled.order.len()), (1, 4));
    }
}
