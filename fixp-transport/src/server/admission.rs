//! Who may connect, and how often: lists of addresses, and connections counted by their source.
//!
//! ```
//! use fixp_transport::server::AllowList;
//!
//! let list: AllowList = "10.0.0.0/8, 192.168.1.1-192.168.1.99, ::1".parse()?;
//! assert!(list.allows("10.20.30.40".parse().unwrap()));
//! // An IPv4 address mapped into IPv6 is that IPv4 address.
//! assert!(list.allows("::ffff:10.20.30.40".parse().unwrap()));
//! assert!(!list.allows("192.168.1.100".parse().unwrap()));
//! # Ok::<(), fixp_transport::server::AllowError>(())
//! ```

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Addresses that are allowed: networks (`10.0.0.0/8`), ranges (`10.0.0.1-10.0.0.99`) and single ones.
///
/// The default allows nobody. Costs 8 bytes a range of IPv4 and 32 bytes one of IPv6; asking takes the
/// logarithm of their number.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AllowList {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

/// Why something is not an address, network or range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllowError {
    /// What was to be one.
    pub entry: String,
}

impl fmt::Display for AllowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no address, network (a/n) or range (a-b)", self.entry)
    }
}

impl std::error::Error for AllowError {}

impl AllowList {
    /// A list that allows everyone.
    #[must_use]
    pub fn everyone() -> Self {
        Self { v4: vec![(0, u32::MAX)], v6: vec![(0, u128::MAX)] }
    }

    /// A list that allows nobody.
    #[must_use]
    pub fn nobody() -> Self {
        Self::default()
    }

    /// A list of this machine's addresses that nobody else can have: those of the loopback.
    #[must_use]
    pub fn loopback() -> Self {
        use std::net::{Ipv4Addr, Ipv6Addr};
        let v4 = (u32::from(Ipv4Addr::new(127, 0, 0, 0)), u32::from(Ipv4Addr::new(127, 255, 255, 255)));
        let v6 = u128::from(Ipv6Addr::LOCALHOST);
        Self { v4: vec![v4], v6: vec![(v6, v6)] }
    }

    /// The list of these entries, each a network, a range or an address.
    ///
    /// # Errors
    ///
    /// The first entry that is none of them.
    pub fn new<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, AllowError> {
        let mut list = Self::default();
        for entry in entries {
            let entry = entry.as_ref().trim();
            let (first, last) = range(entry).ok_or_else(|| AllowError { entry: entry.into() })?;
            match (first.to_canonical(), last.to_canonical()) {
                (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
                    list.v4.push((first.into(), last.into()));
                }
                (IpAddr::V6(_), IpAddr::V6(_)) if first <= last => {
                    list.v6.push((bits(first), bits(last)));
                }
                _ => return Err(AllowError { entry: entry.into() }),
            }
        }
        merge(&mut list.v4, |last| last.checked_add(1));
        merge(&mut list.v6, |last| last.checked_add(1));
        Ok(list)
    }

    /// Whether an address is on the list.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => has(&self.v4, u32::from(ip)),
            ip @ IpAddr::V6(_) => has(&self.v6, bits(ip)),
        }
    }
}

/// Entries between commas or white space.
impl FromStr for AllowList {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, AllowError> {
        let apart = |c: char| c == ',' || c.is_whitespace();
        Self::new(text.split(apart).filter(|entry| !entry.is_empty()))
    }
}

/// The first and the last address of an entry, of one family.
fn range(entry: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((address, length)) = entry.split_once('/') {
        let (ip, length) = (address.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?);
        return match ip {
            IpAddr::V4(ip) if length <= 32 => {
                let host = u32::MAX.checked_shr(length).unwrap_or(0);
                let ip = u32::from(ip);
                Some((IpAddr::V4((ip & !host).into()), IpAddr::V4((ip | host).into())))
            }
            IpAddr::V6(ip) if length <= 128 => {
                let host = u128::MAX.checked_shr(length).unwrap_or(0);
                let ip = u128::from(ip);
                Some((IpAddr::V6((ip & !host).into()), IpAddr::V6((ip | host).into())))
            }
            _ => None,
        };
    }
    match entry.split_once('-') {
        Some((first, last)) => Some((first.trim().parse().ok()?, last.trim().parse().ok()?)),
        None => entry.parse().ok().map(|ip| (ip, ip)),
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// Sorts ranges and joins those that touch, so that one search decides.
fn merge<T: Ord + Copy>(ranges: &mut Vec<(T, T)>, next: impl Fn(T) -> Option<T>) {
    ranges.sort_unstable();
    ranges.dedup_by(|(first, last), (_, before)| {
        let joined = next(*before).is_none_or(|next| *first <= next);
        if joined {
            *before = (*before).max(*last);
        }
        joined
    });
}

fn has<T: Ord + Copy>(ranges: &[(T, T)], ip: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= ip);
    after > 0 && ip <= ranges[after - 1].1
}

/// What counts as one source: an IPv4 address, or an IPv6 /64, all of which one host can have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// The address.
    V4(u32),
    /// The first half of the address.
    V6(u64),
}

impl Source {
    /// That of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.into()),
            IpAddr::V6(ip) => Self::V6((Ipv6Addr::to_bits(ip) >> 64) as u64),
        }
    }
}

/// Why a connection was turned away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TurnedAway {
    /// Its source is not on the list.
    NotAllowed,
    /// There are as many connections as there may be.
    Full,
    /// There are as many connections from its source as there may be.
    SourceFull,
}

impl fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAllowed => "its address is not allowed",
            Self::Full => "too many connections",
            Self::SourceFull => "too many connections from its address",
        })
    }
}

impl std::error::Error for TurnedAway {}

/// Lets connections in, and counts them. Costs some 40 bytes a source that has any.
#[derive(Debug)]
pub struct Admission {
    allow: AllowList,
    connections: usize,
    per_source: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    connections: usize,
    sources: HashMap<Source, usize>,
}

impl Admission {
    /// Admits those on the list, so many in all and so many from one source.
    #[must_use]
    pub fn new(allow: AllowList, connections: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self { allow, connections, per_source, open: Mutex::default() })
    }

    /// Whether an address is on the list, which is all that is asked of a datagram.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.allow.allows(ip)
    }

    /// Admits a connection, which lasts as long as what is returned.
    ///
    /// # Errors
    ///
    /// Why it is turned away.
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<Admitted, TurnedAway> {
        if !self.allows(ip) {
            return Err(TurnedAway::NotAllowed);
        }
        let source = Source::of(ip);
        let mut open = self.open();
        if open.connections >= self.connections {
            return Err(TurnedAway::Full);
        }
        if open.sources.get(&source).copied().unwrap_or(0) >= self.per_source {
            return Err(TurnedAway::SourceFull);
        }
        open.connections += 1;
        *open.sources.entry(source).or_default() += 1;
        drop(open);
        Ok(Admitted { admission: Arc::clone(self), source })
    }

    /// The connections that there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open().connections
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that has been let in; dropping it makes room for another.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    source: Source,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.open();
        open.connections -= 1;
        if let Some(count) = open.sources.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.sources.remove(&self.source);
            }
        }
        // A flood of sources leaves no room behind.
        if open.sources.is_empty() {
            open.sources.shrink_to(64);
        }
    }
}
