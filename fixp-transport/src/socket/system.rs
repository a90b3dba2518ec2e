//! What is asked of the system beside sending and receiving, where the system is Linux.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::net::UdpSocket;

    use nix::sys::socket::{setsockopt, sockopt};
    use rustix::net::sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
    };

    /// Sends a datagram that is larger than the MTU, in fragments. What others send from the socket meanwhile may
    /// be fragmented, too.
    pub(in crate::socket) fn in_fragments<T>(socket: &UdpSocket, send: impl FnOnce() -> T) -> T {
        // An option that a socket of this family has not is not needed.
        let _ = set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::WANT);
        let _ = set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::WANT);
        let _ = setsockopt(socket, sockopt::Ipv6DontFrag, &false);
        let sent = send();
        let _ = setsockopt(socket, sockopt::Ipv6DontFrag, &true);
        let _ = set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE);
        let _ = set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE);
        sent
    }

    /// Whether the datagrams of a sender that come close to each other are put together (GRO); false where the
    /// system does not know that.
    pub(in crate::socket) fn put_together(socket: &UdpSocket, on: bool) -> bool {
        setsockopt(socket, sockopt::UdpGroSegment, &on).is_ok()
    }

    /// Nobody here asks when a datagram came, or with which marks, and to which address only where there are several;
    /// to tell costs a look at the routes.
    pub(in crate::socket) fn tell_less(socket: &UdpSocket, addresses: bool) {
        if !addresses {
            let _ = setsockopt(socket, sockopt::Ipv4PacketInfo, &false);
            let _ = setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &false);
        }
        let _ = setsockopt(socket, sockopt::ReceiveTimestampns, &false);
        let _ = setsockopt(socket, sockopt::IpRecvTos, &false);
        let _ = setsockopt(socket, sockopt::Ipv6RecvTClass, &false);
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::{in_fragments, put_together, tell_less};

/// Elsewhere the system does what it does.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod elsewhere {
    use std::net::UdpSocket;

    pub(in crate::socket) fn in_fragments<T>(_: &UdpSocket, send: impl FnOnce() -> T) -> T {
        send()
    }

    pub(in crate::socket) const fn put_together(_: &UdpSocket, _: bool) -> bool {
        false
    }

    pub(in crate::socket) const fn tell_less(_: &UdpSocket, _: bool) {}
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use elsewhere::{in_fragments, put_together, tell_less};
