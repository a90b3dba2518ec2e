//! The network between any number of addresses, for state machines: datagrams in, datagrams out, and the
//! clock is an argument.
//!
//! ```
//! use std::time::Duration;
//! use fixp_laboratory::{LinkConfig, Wire};
//!
//! let (a, b) = ("10.0.0.1:400".parse()?, "10.0.0.2:500".parse()?);
//! let mut wire = Wire::new(7);
//! wire.set_links(LinkConfig::default().with_delay(Duration::from_millis(3)));
//! wire.send(Duration::ZERO, a, b, &b"ping"[..]);
//!
//! // The pump of a test: let the clock jump to the next thing that happens.
//! while let Some(now) = wire.next_time() {
//!     while let Some(delivery) = wire.poll(now) {
//!         if &delivery.bytes[..] == b"ping" {
//!             wire.send(now, delivery.to, delivery.from, &b"pong"[..]);
//!         } else {
//!             assert_eq!((now, delivery.to), (Duration::from_millis(6), a));
//!         }
//!     }
//! }
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path as FilePath;
use std::time::Duration;

use bytes::Bytes;

use crate::capture::{Capture, Note};
use crate::headers::LONGEST_DATAGRAM;
use crate::link::{Line, Load};
use crate::segment::{Parcel, Segment};
use crate::{LinkConfig, Random};

/// Links between all addresses, with partitions, filters and a capture.
///
/// Links are between hosts (IP addresses), one for each direction, and hosts need not be declared. The
/// order of everything follows from the seed and the calls, so the same calls give the same run.
#[derive(Debug)]
pub struct Wire {
    random: Random,
    default: LinkConfig,
    configs: BTreeMap<Way, LinkConfig>,
    lines: BTreeMap<Way, Line>,
    partitions: BTreeSet<Way>,
    filters: BTreeMap<Way, Filter>,
    /// By time of arrival, then in the order of sending.
    under_way: BTreeMap<(Duration, u64), Arriving>,
    sent: u64,
    pub(crate) capture: Capture,
}

/// A datagram that has arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Whom it is for.
    pub to: SocketAddr,
    /// Who has sent it.
    pub from: SocketAddr,
    /// What it holds.
    pub bytes: Bytes,
}

/// What a filter decides about a datagram, before the link does its part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is lost.
    Drop,
    /// It is sent twice.
    Duplicate,
    /// It arrives this much later.
    Delay(Duration),
    /// It holds this instead.
    Replace(Vec<u8>),
}

/// From one host to another.
type Way = (IpAddr, IpAddr);

/// What travels, and where.
#[derive(Debug)]
pub(crate) struct Arriving {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) parcel: Parcel,
}

/// What a stream should know of its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    /// The longest segment.
    pub(crate) segment: usize,
    /// How long to wait for an acknowledgement before sending again.
    pub(crate) patience: Duration,
}

/// The segment of a way without an MTU, that of Ethernet.
const SEGMENT: usize = 1460;
/// The longest segment, which leaves room for headers in the 65,535 bytes of a packet.
const LONGEST_SEGMENT: usize = 65_000;

impl Wire {
    /// A wire of perfect links.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Random::new(seed))
    }

    pub(crate) fn with(seed: u64, random: Random) -> Self {
        Self {
            random,
            default: LinkConfig::default(),
            configs: BTreeMap::new(),
            lines: BTreeMap::new(),
            partitions: BTreeSet::new(),
            filters: BTreeMap::new(),
            under_way: BTreeMap::new(),
            sent: 0,
            capture: Capture::new(seed),
        }
    }

    /// Sends a datagram. Time must not go backwards from call to call.
    pub fn send(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        let verdict = match self.filters.get_mut(&(from.ip(), to.ip())) {
            Some(filter) => filter.judge(&bytes),
            None => Verdict::Pass,
        };
        let none = Duration::ZERO;
        match verdict {
            Verdict::Pass => {
                self.transmit(now, from, to, Parcel::Datagram(bytes), none, "");
            }
            Verdict::Drop => {
                self.capture.record(now, from, to, Parcel::Datagram(bytes), "dropped: filter");
            }
            Verdict::Duplicate => {
                self.transmit(now, from, to, Parcel::Datagram(bytes.clone()), none, "");
                self.transmit(now, from, to, Parcel::Datagram(bytes), none, "duplicated by the filter");
            }
            Verdict::Delay(delay) => {
                self.transmit(now, from, to, Parcel::Datagram(bytes), delay, "delayed by the filter");
            }
            Verdict::Replace(bytes) => {
                self.transmit(now, from, to, Parcel::Datagram(bytes.into()), none, "replaced by the filter");
            }
        }
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn next_time(&self) -> Option<Duration> {
        self.under_way.first_key_value().map(|((arrives, _), _)| *arrives)
    }

    /// The next datagram that has arrived by `now`.
    pub fn poll(&mut self, now: Duration) -> Option<Delivery> {
        loop {
            let Arriving { from, to, parcel } = self.arrival(now)?;
            if let Parcel::Datagram(bytes) = parcel {
                return Some(Delivery { to, from, bytes });
            }
        }
    }

    /// Changes all links that [`link`](Self::link) has not set.
    pub fn set_links(&mut self, config: LinkConfig) {
        self.default = config;
    }

    /// Changes the link between two hosts in both directions, for what is sent from now on.
    pub fn link(&mut self, a: IpAddr, b: IpAddr, config: &LinkConfig) {
        self.link_one_way(a, b, config.clone());
        self.link_one_way(b, a, config.clone());
    }

    /// Changes the link from one host to another.
    pub fn link_one_way(&mut self, from: IpAddr, to: IpAddr, config: LinkConfig) {
        self.configs.insert((from, to), config);
    }

    /// Lets nothing pass between two hosts. What is under way when it should arrive is lost too.
    pub fn partition(&mut self, a: IpAddr, b: IpAddr) {
        self.partition_one_way(a, b);
        self.partition_one_way(b, a);
    }

    /// Lets nothing pass from one host to another; the other direction goes on.
    pub fn partition_one_way(&mut self, from: IpAddr, to: IpAddr) {
        self.partitions.insert((from, to));
    }

    /// Ends a partition, in both directions.
    pub fn heal(&mut self, a: IpAddr, b: IpAddr) {
        self.partitions.remove(&(a, b));
        self.partitions.remove(&(b, a));
    }

    /// Has every datagram from one host to another judged, in place of an earlier filter. The filter gets
    /// the datagram and how many it has seen before.
    pub fn filter(
        &mut self,
        from: IpAddr,
        to: IpAddr,
        filter: impl FnMut(&[u8], u64) -> Verdict + Send + 'static,
    ) {
        self.filters.insert((from, to), Filter { seen: 0, judge: Box::new(filter) });
    }

    /// Takes a filter away.
    pub fn unfilter(&mut self, from: IpAddr, to: IpAddr) {
        self.filters.remove(&(from, to));
    }

    /// What has been sent, as a pcapng file: packets at the time of sending, with a comment if one was
    /// dropped, changed or came twice. The earliest are forgotten beyond the
    /// [limit](Self::set_capture_limit).
    #[must_use]
    pub fn capture(&self) -> Vec<u8> {
        self.capture.pcapng()
    }

    /// Writes the capture to a file.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn write_capture(&self, path: impl AsRef<FilePath>) -> io::Result<()> {
        std::fs::write(path, self.capture())
    }

    /// Keeps this many bytes of what has been sent, with about 200 for each packet. Default 16 MiB.
    pub fn set_capture_limit(&mut self, bytes: usize) {
        self.capture.set_limit(bytes);
    }
}

/// For streams.
impl Wire {
    /// The next that has arrived by `now`, unless a partition has come between.
    pub(crate) fn arrival(&mut self, now: Duration) -> Option<Arriving> {
        loop {
            let first = self.under_way.first_entry()?;
            if first.key().0 > now {
                return None;
            }
            let ((time, _), arriving) = first.remove_entry();
            let Arriving { from, to, ref parcel } = arriving;
            if !self.partitions.contains(&(from.ip(), to.ip())) {
                return Some(arriving);
            }
            self.capture.record(time, from, to, parcel.clone(), "dropped under way: partition");
        }
    }

    /// Sends a segment, and says when it has left.
    pub(crate) fn send_segment(
        &mut self,
        now: Duration,
        from: SocketAddr,
        to: SocketAddr,
        segment: Segment,
    ) -> Duration {
        self.transmit(now, from, to, Parcel::Segment(segment), Duration::ZERO, "")
    }

    pub(crate) fn path(&self, from: IpAddr, to: IpAddr) -> Path {
        let config = |way| self.configs.get(&way).unwrap_or(&self.default);
        let (there, back) = (config((from, to)), config((to, from)));
        // Longer than the longest round trip, or much would be sent twice for nothing.
        let spread = |link: &LinkConfig| {
            let held = if link.reorder > 0.0 { link.reorder_delay } else { Duration::ZERO };
            link.jitter.saturating_add(held)
        };
        let patience = there.delay.max(back.delay).saturating_mul(4).max(Duration::from_millis(200));
        Path {
            segment: there.mtu.unwrap_or(SEGMENT).clamp(1, LONGEST_SEGMENT),
            patience: patience.saturating_add(spread(there)).saturating_add(spread(back)),
        }
    }

    /// Notes in the capture what did not get as far as a link, or not from it to its receiver.
    pub(crate) fn note(
        &mut self,
        now: Duration,
        from: SocketAddr,
        to: SocketAddr,
        parcel: Parcel,
        note: &'static str,
    ) {
        self.capture.record(now, from, to, parcel, note);
    }

    fn transmit(
        &mut self,
        now: Duration,
        from: SocketAddr,
        to: SocketAddr,
        parcel: Parcel,
        delay: Duration,
        note: &'static str,
    ) -> Duration {
        let way = (from.ip(), to.ip());
        let load = match &parcel {
            Parcel::Datagram(bytes) => Load::Datagram(bytes.len()),
            Parcel::Segment(segment) if segment.only_acknowledges() => Load::Acknowledgement,
            Parcel::Segment(segment) => Load::Segment(segment.payload.len()),
        };
        let impossible = if self.partitions.contains(&way) {
            Some("partition")
        } else if from.is_ipv4() != to.is_ipv4() {
            Some("no way from IPv4 to IPv6 or back")
        } else if parcel.content().len() > LONGEST_DATAGRAM {
            Some("longer than a datagram can be")
        } else {
            None
        };
        if let Some(why) = impossible {
            self.capture.record(now, from, to, parcel, format!("dropped: {why}"));
            return now;
        }
        let config = self.configs.get(&way).unwrap_or(&self.default);
        let fate = self.lines.entry(way).or_default().transmit(config, now, load, &mut self.random);
        if let Some(why) = fate.dropped {
            self.capture.record(now, from, to, parcel, join(note, &format!("dropped: {why}")));
            return fate.departs;
        }
        for (nth, copy) in fate.copies.into_iter().flatten().enumerate() {
            let mut note = Note::Borrowed(note);
            if let Some(bit) = copy.flipped {
                note = join(&note, &format!("corrupted: bit {} of byte {} flipped", bit % 8, bit / 8));
            }
            if copy.held {
                note = join(&note, "held back");
            }
            if nth > 0 {
                note = join(&note, "duplicate");
            }
            let parcel = parcel.clone().with_content(copy.content(parcel.content()));
            self.capture.record(now, from, to, parcel.clone(), note);
            let arrives = copy.arrives.saturating_add(delay);
            self.under_way.insert((arrives, self.sent), Arriving { from, to, parcel });
            self.sent += 1;
        }
        fate.departs
    }
}

fn join(note: &str, more: &str) -> Note {
    if note.is_empty() { more.to_owned().into() } else { format!("{note}, {more}").into() }
}

type Judge = dyn FnMut(&[u8], u64) -> Verdict + Send;

struct Filter {
    seen: u64,
    judge: Box<Judge>,
}

impl Filter {
    fn judge(&mut self, datagram: &[u8]) -> Verdict {
        let nth = self.seen;
        self.seen += 1;
        (self.judge)(datagram, nth)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter {{ seen: {} }}", self.seen)
    }
}
