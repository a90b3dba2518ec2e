//! BIND_IP: the address that a datagram of lexst1 leaves from, as text in it (SPEC 11.11).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The text of an address as lexst1 writes it: IPv4 dotted, IPv6 as eight upper-case groups, no zeros left out
/// between them (SPEC 11.11).
#[must_use]
pub fn text(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ip.segments().map(|group| format!("{group:X}")).join(":"),
    }
}

/// The bytes that the longest text of the peer's family can have.
pub(crate) const fn longest(peer: SocketAddr) -> usize {
    match peer {
        SocketAddr::V4(_) => 15,
        SocketAddr::V6(_) => 39,
    }
}

/// The address that datagrams to a peer leave from, by the system's routes. Sends nothing.
pub(crate) fn by_route(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(text("127.0.0.1".parse().unwrap()), "127.0.0.1");
        assert_eq!(text("::ffff:10.0.0.9".parse().unwrap()), "10.0.0.9");
        assert_eq!(text("fe80::ab:1".parse().unwrap()), "FE80:0:0:0:0:0:AB:1");
        let all = text("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap());
        assert_eq!(all.len(), longest("[::1]:1".parse().unwrap()));
        assert_eq!("255.255.255.255".len(), longest("1.1.1.1:1".parse().unwrap()));
    }

    #[test]
    fn routes() {
        assert_eq!(by_route("127.0.0.1:9".parse().unwrap()), Some("127.0.0.1".parse().unwrap()));
    }
}
