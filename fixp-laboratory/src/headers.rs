//! The headers of IP, UDP and TCP around what travels, so that a capture can be read by any tool.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::segment::{Parcel, Segment};

/// The most that a datagram can hold: what is left of an IPv4 packet of 65,535 bytes.
pub(crate) const LONGEST_DATAGRAM: usize = 65_535 - 20 - 8;

const TCP: u8 = 6;
const UDP: u8 = 17;
const TTL: u8 = 64;

/// The packet from its IP header on. A content too long for the header's length is cut.
pub(crate) fn packet(from: SocketAddr, to: SocketAddr, parcel: &Parcel) -> Vec<u8> {
    let content = parcel.content();
    let content = &content[..content.len().min(LONGEST_DATAGRAM - 60)];
    let (protocol, checksum_at, mut transport) = match parcel {
        Parcel::Datagram(_) => (UDP, 6, udp(from, to, content)),
        Parcel::Segment(segment) => (TCP, 16, tcp(from, to, segment, content)),
    };
    let mut sum = Checksum::default();
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            sum.add(&from.octets());
            sum.add(&to.octets());
        }
        (from, to) => {
            sum.add(&v6(from).octets());
            sum.add(&v6(to).octets());
        }
    }
    sum.add(&[0, protocol]);
    sum.add(&(transport.len() as u16).to_be_bytes());
    sum.add(&transport);
    let sum = match (sum.finish(), protocol) {
        // In UDP, 0 says that there is no checksum.
        (0, UDP) => 0xFFFF,
        (sum, _) => sum,
    };
    transport[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    let mut packet = ip(from.ip(), to.ip(), protocol, transport.len());
    packet.append(&mut transport);
    packet
}

fn ip(from: IpAddr, to: IpAddr, protocol: u8, len: usize) -> Vec<u8> {
    let mut header = Vec::with_capacity(len + 40);
    if let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) {
        header.extend([0x45, 0]);
        header.extend((len as u16 + 20).to_be_bytes());
        // Never a fragment, so no identification.
        header.extend([0, 0, 0x40, 0, TTL, protocol, 0, 0]);
        header.extend(from.octets());
        header.extend(to.octets());
        let mut sum = Checksum::default();
        sum.add(&header);
        header[10..12].copy_from_slice(&sum.finish().to_be_bytes());
    } else {
        header.extend([0x60, 0, 0, 0]);
        header.extend((len as u16).to_be_bytes());
        header.extend([protocol, TTL]);
        header.extend(v6(from).octets());
        header.extend(v6(to).octets());
    }
    header
}

fn udp(from: SocketAddr, to: SocketAddr, content: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(content.len() + 8);
    header.extend(from.port().to_be_bytes());
    header.extend(to.port().to_be_bytes());
    header.extend((content.len() as u16 + 8).to_be_bytes());
    header.extend([0, 0]);
    header.extend(content);
    header
}

fn tcp(from: SocketAddr, to: SocketAddr, segment: &Segment, content: &[u8]) -> Vec<u8> {
    let mut options = Vec::new();
    if segment.syn {
        options.extend([2, 4]);
        options.extend(segment.longest.to_be_bytes());
        // Selective acknowledgements are permitted.
        options.extend([1, 1, 4, 2]);
    }
    if let Some((start, end)) = segment.ahead {
        options.extend([1, 1, 5, 10]);
        options.extend(number(start).to_be_bytes());
        options.extend(number(end).to_be_bytes());
    }
    let flags = u8::from(segment.fin)
        | u8::from(segment.syn) << 1
        | u8::from(segment.rst) << 2
        | u8::from(!content.is_empty()) << 3
        | u8::from(segment.ack.is_some()) << 4;
    let seq = if segment.syn { 0 } else { number(segment.seq) };
    let mut header = Vec::with_capacity(content.len() + 40);
    header.extend(from.port().to_be_bytes());
    header.extend(to.port().to_be_bytes());
    header.extend(seq.to_be_bytes());
    header.extend(segment.ack.map_or(0, number).to_be_bytes());
    header.extend([((20 + options.len()) as u8 / 4) << 4, flags]);
    header.extend(u16::try_from(segment.window).unwrap_or(u16::MAX).to_be_bytes());
    header.extend([0; 4]);
    header.extend(options);
    header.extend(content);
    header
}

/// The sequence number of a position: that of the SYN is 0, in every connection.
const fn number(position: u64) -> u32 {
    (position as u32).wrapping_add(1)
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// The Internet checksum of pieces, of which only the last may have an odd length.
#[derive(Default)]
struct Checksum(u64);

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(2);
        for word in &mut words {
            self.0 += u64::from(u16::from_be_bytes([word[0], word[1]]));
        }
        if let [last] = *words.remainder() {
            self.0 += u64::from(last) << 8;
        }
    }

    fn finish(mut self) -> u16 {
        while self.0 > 0xFFFF {
            self.0 = (self.0 >> 16) + (self.0 & 0xFFFF);
        }
        !(self.0 as u16)
    }
}
