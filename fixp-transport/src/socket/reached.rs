//! At which of a host's addresses the peers of a socket have reached it.
//!
//! A socket that is bound to all addresses sends from the one that the route to the peer has, which need not be the one
//! that was asked; and whoever has asked one address takes no answer from another (SPEC 11.12).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::udp::canonical;

/// Peers of a generation, some 100 bytes each. There are two: whoever has been silent while so many others came is
/// forgotten, and answered from where the route says.
const PEERS: usize = 8192;

/// The addresses that datagrams came to, by their senders.
#[derive(Debug, Default)]
pub(super) struct Reached(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<SocketAddr, IpAddr>,
    old: HashMap<SocketAddr, IpAddr>,
}

impl Reached {
    /// A datagram of this peer has come to this address. One that went to many hosts is no address of this one.
    pub(super) fn heard(&self, peer: SocketAddr, at: IpAddr) {
        let at = at.to_canonical();
        let many = match at {
            IpAddr::V4(at) => at.is_multicast() || at.is_broadcast(),
            IpAddr::V6(at) => at.is_multicast(),
        };
        if many || at.is_unspecified() {
            return;
        }
        let mut peers = self.lock();
        if peers.young.len() >= PEERS {
            peers.old = std::mem::take(&mut peers.young);
        }
        peers.young.insert(canonical(peer), at);
    }

    /// Where this peer has reached the socket last.
    pub(super) fn at(&self, peer: SocketAddr) -> Option<IpAddr> {
        let peer = canonical(peer);
        let peers = self.lock();
        peers.young.get(&peer).or_else(|| peers.old.get(&peer)).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn peer(number: u32) -> SocketAddr {
        SocketAddr::new(number.to_be_bytes().into(), 5000)
    }

    #[test]
    fn the_last_of_a_peer() {
        let reached = Reached::default();
        let [one, two]: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        assert_eq!(reached.at(peer(1)), None);
        reached.heard(peer(1), one);
        // As a socket for both families says it.
        reached.heard("[::ffff:0.0.0.1]:5000".parse().unwrap(), "::ffff:10.0.0.2".parse().unwrap());
        assert_eq!(reached.at(peer(1)), Some(two));
        for to_many in ["224.0.0.1", "255.255.255.255", "ff02::1"] {
            reached.heard(peer(1), to_many.parse().unwrap());
            assert_eq!(reached.at(peer(1)), Some(two));
        }
    }

    #[test]
    fn the_silent_are_forgotten() {
        let reached = Reached::default();
        let at: IpAddr = [10, 0, 0, 1].into();
        reached.heard(peer(1), at);
        for number in 0..3 * PEERS as u32 {
            reached.heard(peer(1000 + number), at);
            reached.heard(peer(2), at);
        }
        assert_eq!((reached.at(peer(1)), reached.at(peer(2))), (None, Some(at)));
        let peers = reached.lock();
        assert!(peers.young.len() <= PEERS && peers.old.len() <= PEERS);
    }
}
