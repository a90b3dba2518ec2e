//! Where a socket is reached.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::udp::bind_ip;

/// Peers of whom it is remembered from which address they are reached, 40 bytes each.
const ROUTES: usize = 1024;

/// The address that a socket is reached at, which differs by peer where it is bound to all of them.
pub(super) struct Local {
    bound: SocketAddr,
    routes: HashMap<IpAddr, IpAddr>,
}

impl Local {
    pub(super) fn new(bound: SocketAddr) -> Self {
        Self { bound, routes: HashMap::new() }
    }

    /// The address that this peer reaches us at: where the socket does not tell, the one of the route to it.
    pub(super) fn towards(&mut self, peer: SocketAddr, reached: Option<IpAddr>) -> SocketAddr {
        if let Some(ip) = reached {
            return SocketAddr::new(ip, self.bound.port());
        }
        let bound = self.bound.ip().to_canonical();
        if !bound.is_unspecified() {
            return SocketAddr::new(bound, self.bound.port());
        }
        let key = peer.ip().to_canonical();
        let ip = self.routes.get(&key).copied().unwrap_or_else(|| {
            let ip = bind_ip::by_route(peer).map_or(bound, |ip| ip.to_canonical());
            if self.routes.len() >= ROUTES {
                self.routes.clear();
            }
            self.routes.insert(key, ip);
            ip
        });
        SocketAddr::new(ip, self.bound.port())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_host() {
        let mut local = Local::new("[::]:5000".parse().unwrap());
        assert_eq!(local.towards("127.0.0.1:7".parse().unwrap(), None), "127.0.0.1:5000".parse().unwrap());
        assert_eq!(
            local.towards("[::ffff:127.0.0.1]:7".parse().unwrap(), None),
            "127.0.0.1:5000".parse().unwrap()
        );
        let told = Some([10, 0, 0, 9].into());
        assert_eq!(local.towards("127.0.0.1:7".parse().unwrap(), told), "10.0.0.9:5000".parse().unwrap());
        let mut local = Local::new("10.0.0.1:5000".parse().unwrap());
        assert_eq!(local.towards("127.0.0.1:7".parse().unwrap(), None), "10.0.0.1:5000".parse().unwrap());
        assert!(local.routes.is_empty());
        assert_eq!(bind_ip::text("2001:db8::ab".parse().unwrap()), "2001:DB8:0:0:0:0:0:AB");
        assert_eq!(bind_ip::text("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1");
    }
}
