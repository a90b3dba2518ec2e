//! Addresses as laxcus6 writes them into HOST and NODE_ADDRESS (SPEC 11.10).
//!
//! ```
//! use fixp_transport::host::{Host, Transport};
//!
//! let host = Host::new(Transport::Udp, "192.168.1.2:6000".parse().unwrap());
//! let wire = host.to_bytes();
//! assert_eq!(wire[..13], [2, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 168, 192]);
//! assert_eq!(Host::read(&wire), Some(host));
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How packets come: by TCP, by UDP, or in pieces over UDP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
    /// KEEP UDP: packets of any size over datagrams. As the family of a host it is UDP.
    KeepUdp,
}

impl Transport {
    const fn family(self) -> u8 {
        match self {
            Self::Tcp => 1,
            Self::Udp | Self::KeepUdp => 2,
        }
    }
}

/// `tcp`, `udp` or `keep-udp`.
impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::KeepUdp => "keep-udp",
        })
    }
}

/// The bytes of an address: high and low half, little-endian, and a hash whose top bit is the family.
pub const ADDRESS_LEN: usize = 20;

/// The 20 bytes of an address. An IPv4 address mapped into IPv6 is written as IPv4.
#[must_use]
pub fn address(ip: IpAddr) -> [u8; ADDRESS_LEN] {
    let (high, low, hash) = match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let low = u64::from(u32::from(ip));
            (0, low, low as u32 & 0x7fff_ffff)
        }
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            let (high, low) = ((bits >> 64) as u64, bits as u64);
            (high, low, 0x8000_0000 | ((high ^ low) as u32 & 0x7fff_ffff))
        }
    };
    let mut bytes = [0; ADDRESS_LEN];
    bytes[..8].copy_from_slice(&high.to_le_bytes());
    bytes[8..16].copy_from_slice(&low.to_le_bytes());
    bytes[16..].copy_from_slice(&hash.to_le_bytes());
    bytes
}

/// The address of 20 bytes, nothing where the hash does not fit: a wrong hash would turn one family into the
/// other.
#[must_use]
pub fn read_address(bytes: &[u8; ADDRESS_LEN]) -> Option<IpAddr> {
    let half = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    let (high, low) = (half(0), half(8));
    let family = bytes[19] & 0x80 != 0;
    let ip = if family {
        IpAddr::V6(Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)))
    } else {
        IpAddr::V4(Ipv4Addr::from(u32::try_from(low).ok()?))
    };
    let hash = match ip {
        IpAddr::V4(_) => low as u32 & 0x7fff_ffff,
        IpAddr::V6(_) => 0x8000_0000 | ((high ^ low) as u32 & 0x7fff_ffff),
    };
    (bytes[16..] == hash.to_le_bytes() && (family || high == 0)).then_some(ip)
}

/// A socket of laxcus6 ("SocketHost"): transport, address, port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Host {
    /// Its transport.
    pub transport: Transport,
    /// Its address and port.
    pub addr: SocketAddr,
    /// The port that a NAT mapped it to, 0 for none.
    pub reflect: u16,
}

impl Host {
    /// The bytes of a host on the wire.
    pub const WIRE_LEN: usize = 29;

    /// A host that no NAT has mapped.
    #[must_use]
    pub const fn new(transport: Transport, addr: SocketAddr) -> Self {
        // What a reader of its bytes finds.
        let transport = match transport {
            Transport::Tcp => Transport::Tcp,
            Transport::Udp | Transport::KeepUdp => Transport::Udp,
        };
        Self { transport, addr, reflect: 0 }
    }

    /// The host on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::WIRE_LEN] {
        let mut bytes = [0; Self::WIRE_LEN];
        bytes[0] = self.transport.family();
        bytes[1..21].copy_from_slice(&address(self.addr.ip()));
        bytes[21..25].copy_from_slice(&u32::from(self.addr.port()).to_le_bytes());
        bytes[25..].copy_from_slice(&u32::from(self.reflect).to_le_bytes());
        bytes
    }

    /// The host of 29 bytes, nothing where they are not one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::WIRE_LEN] = bytes.try_into().ok()?;
        let transport = match bytes[0] {
            1 => Transport::Tcp,
            2 => Transport::Udp,
            _ => return None,
        };
        let ip = read_address(&std::array::from_fn(|at| bytes[1 + at]))?;
        Some(Self { transport, addr: SocketAddr::new(ip, port(bytes, 21)?), reflect: port(bytes, 25)? })
    }
}

/// A 32-bit port.
fn port(bytes: &[u8], at: usize) -> Option<u16> {
    let number = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
    u16::try_from(number).ok()
}

/// A site of laxcus6 ("Node"), the value of NODE_ADDRESS in HELO.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    /// What the site is for: 1 top, 7 home, 8 data, 9 work, 11 call, 13 log, 15 front, and others.
    pub family: u8,
    /// Its rank, 0 for none.
    pub rank: u8,
    /// Its address and the ports of its communications server.
    pub site: Option<Site>,
    /// Its name for people.
    pub alias: Option<String>,
}

/// The address of a site's communications server ("SiteHost").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Site {
    /// Its address.
    pub ip: IpAddr,
    /// Its TCP port.
    pub tcp: u16,
    /// Its UDP port.
    pub udp: u16,
    /// The TCP port that a NAT mapped it to, 0 for none.
    pub reflect_tcp: u16,
    /// The UDP port that a NAT mapped it to, 0 for none.
    pub reflect_udp: u16,
}

impl Node {
    /// A site without rank and alias.
    #[must_use]
    pub const fn new(family: u8, ip: IpAddr, tcp: u16, udp: u16) -> Self {
        Self {
            family,
            rank: 0,
            site: Some(Site { ip, tcp, udp, reflect_tcp: 0, reflect_udp: 0 }),
            alias: None,
        }
    }

    /// The node on the wire, 43 bytes for a site without alias.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.family, self.rank, u8::from(self.site.is_some())];
        if let Some(site) = &self.site {
            bytes.extend(address(site.ip));
            for port in [site.tcp, site.udp, site.reflect_tcp, site.reflect_udp] {
                bytes.extend(u32::from(port).to_le_bytes());
            }
        }
        match &self.alias {
            None => bytes.extend((-1_i32).to_le_bytes()),
            Some(alias) => {
                bytes.extend((alias.len() as u32).to_le_bytes());
                bytes.extend(alias.as_bytes());
            }
        }
        bytes
    }

    /// The node of these bytes, nothing where they are not one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (&[family, rank, present], rest) = bytes.split_first_chunk()?;
        let (site, rest) = if present == 1 {
            let (ip, rest) = rest.split_first_chunk()?;
            let (ports, rest) = rest.split_at_checked(16)?;
            let site = Site {
                ip: read_address(ip)?,
                tcp: port(ports, 0)?,
                udp: port(ports, 4)?,
                reflect_tcp: port(ports, 8)?,
                reflect_udp: port(ports, 12)?,
            };
            (Some(site), rest)
        } else {
            (None, rest)
        };
        let (length, text) = rest.split_first_chunk()?;
        let alias = match i32::from_le_bytes(*length) {
            -1 => None,
            length => Some(String::from_utf8(text.get(..usize::try_from(length).ok()?)?.to_vec()).ok()?),
        };
        Some(Self { family, rank, site, alias })
    }
}
