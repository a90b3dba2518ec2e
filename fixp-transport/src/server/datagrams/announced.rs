//! The peers that have announced themselves, for a while.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::extension::Capabilities;

/// Peers whose announcement is remembered, some 100 bytes each.
const ANNOUNCED: usize = 65536;
/// How long an announcement is remembered after the last datagram of its peer.
const ANNOUNCED_TIME: Duration = Duration::from_secs(5 * 60);

/// The peers that have announced themselves: two generations, the older of which goes when the younger is full.
#[derive(Default)]
pub(super) struct Announced {
    young: HashMap<SocketAddr, (Capabilities, Instant)>,
    old: HashMap<SocketAddr, (Capabilities, Instant)>,
    /// The one that was put last, and when: who asks often announces with every request.
    last: Option<(SocketAddr, Capabilities, Instant)>,
}

/// How long the last one is not put again. Little beside [`ANNOUNCED_TIME`].
const FRESH: Duration = Duration::from_secs(1);

impl Announced {
    pub(super) fn put(&mut self, peer: SocketAddr, capabilities: Capabilities, now: Instant) {
        if self.last.is_some_and(|(last, announced, put)| {
            last == peer && announced == capabilities && now.saturating_duration_since(put) < FRESH
        }) {
            return;
        }
        self.last = Some((peer, capabilities, now));
        if self.young.len() >= ANNOUNCED / 2 && !self.young.contains_key(&peer) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&peer);
        self.young.insert(peer, (capabilities, now));
    }

    /// What a peer has announced, if it is not too long ago; it is remembered anew.
    pub(super) fn touch(&mut self, peer: SocketAddr, now: Instant) -> Option<Capabilities> {
        self.last = None;
        let (capabilities, seen) = self.young.remove(&peer).or_else(|| self.old.remove(&peer))?;
        if now.saturating_duration_since(seen) > ANNOUNCED_TIME {
            return None;
        }
        self.put(peer, capabilities, now);
        Some(capabilities)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer(number: u32) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(number.into()), 1)
    }

    #[test]
    fn announcements_are_forgotten_in_time() {
        let (mut announced, now) = (Announced::default(), Instant::now());
        announced.put(peer(1), Capabilities::OURS, now);
        assert_eq!(announced.touch(peer(2), now), None);
        // Every datagram counts as one more announcement.
        let later = now + ANNOUNCED_TIME;
        assert_eq!(announced.touch(peer(1), later), Some(Capabilities::OURS));
        assert_eq!(announced.touch(peer(1), later + ANNOUNCED_TIME), Some(Capabilities::OURS));
        let late = later + ANNOUNCED_TIME * 2 + Duration::from_millis(1);
        assert_eq!(announced.touch(peer(1), late), None);
        assert!(announced.young.is_empty() && announced.old.is_empty());
    }

    #[test]
    fn announcements_are_bounded() {
        let (mut announced, now) = (Announced::default(), Instant::now());
        for number in 0..3 * ANNOUNCED as u32 {
            announced.put(peer(number), Capabilities::OURS, now);
            assert!(announced.young.len() + announced.old.len() <= ANNOUNCED);
            // One that is heard of stays.
            assert_eq!(announced.touch(peer(0), now), Some(Capabilities::OURS));
        }
        assert_eq!(announced.touch(peer(1), now), None);
    }
}
