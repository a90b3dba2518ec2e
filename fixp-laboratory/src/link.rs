//! One direction of a link, for datagrams between two state machines: no sockets, no clock of its own.
//!
//! ```
//! use std::time::Duration;
//! use fixp_laboratory::{Link, LinkConfig, Random};
//!
//! let mut random = Random::new(1);
//! let mut link = Link::new(LinkConfig::default().with_delay(Duration::from_millis(5)));
//! link.send(Duration::ZERO, &b"hello"[..], &mut random);
//! let arrival = link.next_time().expect("something is under way");
//! assert_eq!(arrival, Duration::from_millis(5));
//! assert_eq!(&link.poll(arrival).expect("it has arrived")[..], b"hello");
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::{LinkConfig, Random};

/// One direction of a link that carries datagrams. Time is what the caller says, since its own start.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    line: Line,
    /// By time of arrival, then in the order of sending.
    under_way: BTreeMap<(Duration, u64), Bytes>,
    sent: u64,
}

impl Link {
    /// A link on which nothing is under way.
    #[must_use]
    pub fn new(config: LinkConfig) -> Self {
        Self { config, line: Line::default(), under_way: BTreeMap::new(), sent: 0 }
    }

    /// Changes the link for what is sent from now on.
    pub fn set(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// Sends a datagram.
    pub fn send(&mut self, now: Duration, datagram: impl Into<Bytes>, random: &mut Random) {
        let datagram = datagram.into();
        let fate = self.line.transmit(&self.config, now, Load::Datagram(datagram.len()), random);
        for copy in fate.copies.into_iter().flatten() {
            self.under_way.insert((copy.arrives, self.sent), copy.content(&datagram));
            self.sent += 1;
        }
    }

    /// The next datagram that has arrived by `now`.
    pub fn poll(&mut self, now: Duration) -> Option<Bytes> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn next_time(&self) -> Option<Duration> {
        self.under_way.first_key_value().map(|((arrives, _), _)| *arrives)
    }
}

/// What is given to a line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// A datagram of this length.
    Datagram(usize),
    /// A segment of a stream that carries this many bytes.
    Segment(usize),
    /// A segment that only acknowledges. It takes no bandwidth and does not wait for any: behind a full
    /// queue it would come so late that its sender's peer sends again what has long arrived.
    Acknowledgement,
}

/// What a line does to what it is given.
#[derive(Debug)]
pub(crate) struct Fate {
    /// When the last byte has left.
    pub(crate) departs: Duration,
    /// Why there are no copies.
    pub(crate) dropped: Option<&'static str>,
    pub(crate) copies: [Option<Arrival>; 2],
}

/// The arrival of one copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) arrives: Duration,
    /// The bit that is flipped.
    pub(crate) flipped: Option<usize>,
    /// It is held back, so that others may overtake.
    pub(crate) held: bool,
}

impl Arrival {
    /// What arrives of what was sent.
    pub(crate) fn content(&self, sent: &Bytes) -> Bytes {
        let Some(bit) = self.flipped else { return sent.clone() };
        let mut bytes = sent.to_vec();
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        bytes.into()
    }
}

/// The decisions of a link, without the queue of what is under way.
#[derive(Default, Debug)]
pub(crate) struct Line {
    /// When what was given last has left.
    free: Duration,
    /// What waits for the bandwidth: when it begins to leave, and its length.
    waiting: VecDeque<(Duration, usize)>,
    waiting_bytes: usize,
}

impl Line {
    pub(crate) fn transmit(
        &mut self,
        config: &LinkConfig,
        now: Duration,
        load: Load,
        random: &mut Random,
    ) -> Fate {
        let (len, datagram) = match load {
            Load::Datagram(len) => (len, true),
            Load::Segment(len) => (len, false),
            Load::Acknowledgement => (0, false),
        };
        let dropped = |departs, why| Fate { departs, dropped: Some(why), copies: [None; 2] };
        if datagram && config.mtu.is_some_and(|mtu| len > mtu) {
            return dropped(now, "mtu");
        }
        let departs = match (config.bandwidth, load) {
            (None, _) | (_, Load::Acknowledgement) => now,
            (Some(bandwidth), _) => match self.queue(now, len, bandwidth, datagram.then_some(config.queue)) {
                Some(departs) => departs,
                None => return dropped(now, "queue full"),
            },
        };
        if random.chance(config.loss) {
            return dropped(departs, "loss");
        }
        let held = random.chance(config.reorder);
        let flipped = ((datagram || config.corrupt_streams) && len > 0)
            .then(|| random.chance(config.corrupt))
            .filter(|corrupt| *corrupt)
            .map(|_| random.below(len as u64 * 8) as usize);
        let arrives = departs.saturating_add(config.delay);
        let twice = random.chance(config.duplicate);
        let mut copy = || Arrival {
            arrives: arrives.saturating_add(random.duration(config.jitter)).saturating_add(if held {
                config.reorder_delay
            } else {
                Duration::ZERO
            }),
            flipped,
            held,
        };
        Fate { departs, dropped: None, copies: [Some(copy()), twice.then(copy)] }
    }

    /// When this many bytes will have left, unless there is no room for them to wait.
    fn queue(&mut self, now: Duration, len: usize, bandwidth: u64, room: Option<usize>) -> Option<Duration> {
        while let Some((_, len)) = self.waiting.pop_front_if(|(begins, _)| *begins <= now) {
            self.waiting_bytes -= len;
        }
        let begins = self.free.max(now);
        if begins > now {
            if room.is_some_and(|room| self.waiting_bytes + len > room) {
                return None;
            }
            self.waiting.push_back((begins, len));
            self.waiting_bytes += len;
        }
        let nanos = (len as u128 * 1_000_000_000).div_ceil(u128::from(bandwidth.max(1)));
        self.free = begins.saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        Some(self.free)
    }
}
