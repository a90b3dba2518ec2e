//! What is remembered of peers: what they are, and which ports may carry a request to them.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::exchange::{Port, Ticket};
use foldhash::{HashMap, HashMapExt};

/// What a peer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Nobody knows yet: treated as legacy, and we announce ourselves.
    Unknown,
    /// It has answered an announcement without one of its own.
    Legacy,
    /// It has announced itself.
    Own,
}

/// A port as one peer sees it. One that is not in the peer's list is free.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) port: Port,
    /// The one request without a serial.
    pub(super) outstanding: Option<Ticket>,
    /// Requests with a serial.
    pub(super) own: usize,
    /// An answer may come that nobody waits for.
    pub(super) tainted: Option<Instant>,
    /// A second copy of the last answer may come.
    pub(super) resting: Option<Instant>,
}

impl Lane {
    fn expire(&mut self, now: Instant) {
        self.tainted = self.tainted.filter(|&until| now < until);
        self.resting = self.resting.filter(|&until| now < until);
    }

    fn is_used(&self) -> bool {
        self.outstanding.is_some() || self.own > 0
    }

    fn forgettable(&self) -> bool {
        !self.is_used() && self.tainted.is_none() && self.resting.is_none()
    }

    /// Whether a request without a serial may leave here.
    pub(super) fn is_free(&self) -> bool {
        self.forgettable()
    }

    /// Whether nothing is wrong with it but that a second copy of the last answer may come.
    pub(super) fn rests(&self) -> bool {
        !self.is_used() && self.tainted.is_none()
    }

    /// Whether an answer may come that nobody waits for.
    pub(super) fn is_tainted(&self, now: Instant) -> bool {
        self.tainted.is_some_and(|until| now < until)
    }

    /// When time alone makes it free.
    fn free_at(&self) -> Option<Instant> {
        (!self.is_used()).then_some(self.tainted.max(self.resting)).flatten()
    }
}

/// A peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) kind: Kind,
    /// Its last datagram, or the last to it.
    pub(super) traffic: Instant,
    /// Its last datagram that was an answer to something.
    pub(super) heard: Option<Instant>,
    /// Until when its leave to send in clear is remembered.
    pub(super) clear_until: Option<Instant>,
    /// The address that datagrams to it leave from, where the socket does not tell.
    pub(super) source: Option<IpAddr>,
    /// The port that it last answered at.
    pub(super) last_port: Option<Port>,
    pub(super) lanes: Vec<Lane>,
    /// Those without a port, in their order.
    pub(super) waiting: VecDeque<Ticket>,
    /// The timer that stands for it.
    pub(super) timer: Option<Instant>,
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            kind: Kind::Unknown,
            traffic: now,
            heard: None,
            clear_until: None,
            source: None,
            last_port: None,
            lanes: Vec::new(),
            waiting: VecDeque::new(),
            timer: None,
        }
    }

    /// Forgets what is over.
    pub(super) fn expire(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            lane.expire(now);
        }
        self.lanes.retain(|lane| !lane.forgettable());
    }

    /// Forgets ports that are no longer open: nothing comes there.
    pub(super) fn forget_closed(&mut self, is_open: impl Fn(Port) -> bool) {
        self.lanes.retain(|lane| lane.is_used() || is_open(lane.port));
    }

    pub(super) fn lane(&self, port: Port) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.port == port)
    }

    pub(super) fn lane_mut(&mut self, port: Port) -> &mut Lane {
        let at = self.lanes.iter().position(|lane| lane.port == port).unwrap_or_else(|| {
            self.lanes.push(Lane { port, outstanding: None, own: 0, tainted: None, resting: None });
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }

    /// When time alone gives it a free port.
    pub(super) fn free_at(&self) -> Option<Instant> {
        self.lanes.iter().filter_map(Lane::free_at).min()
    }

    /// Whether nothing would be lost but what it is.
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.lanes.is_empty()
    }
}

/// The peers, a bounded number of them.
#[derive(Debug)]
pub(super) struct Peers {
    map: HashMap<SocketAddr, Peer>,
    most: usize,
    expiry: Duration,
}

impl Peers {
    pub(super) fn new(most: usize, expiry: Duration) -> Self {
        Self { map: HashMap::new(), most: most.max(1), expiry }
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn get(&self, peer: SocketAddr) -> Option<&Peer> {
        self.map.get(&peer)
    }

    pub(super) fn get_mut(&mut self, peer: SocketAddr) -> Option<&mut Peer> {
        self.map.get_mut(&peer)
    }

    /// The peer of an address, new if it is not known or has been silent for too long; nothing where there are
    /// too many that cannot be forgotten.
    pub(super) fn entry(&mut self, now: Instant, peer: SocketAddr) -> Option<&mut Peer> {
        if !self.map.contains_key(&peer) && self.map.len() >= self.most {
            self.make_room(now);
            if self.map.len() >= self.most {
                return None;
            }
        }
        let expiry = self.expiry;
        let entry = self.map.entry(peer).or_insert_with(|| Peer::new(now));
        entry.expire(now);
        if entry.is_idle() && now.saturating_duration_since(entry.traffic) >= expiry {
            *entry = Peer::new(now);
        }
        Some(entry)
    }

    /// Forgets those that have been silent for too long.
    pub(super) fn sweep(&mut self, now: Instant) {
        let expiry = self.expiry;
        self.map.retain(|_, peer| {
            peer.expire(now);
            !(peer.is_idle() && now.saturating_duration_since(peer.traffic) >= expiry)
        });
        if self.map.is_empty() {
            self.map.shrink_to_fit();
        }
    }

    /// Forgets the silent eighth of those that can be forgotten, so that a full table is not searched for each
    /// newcomer.
    fn make_room(&mut self, now: Instant) {
        self.sweep(now);
        if self.map.len() < self.most {
            return;
        }
        let mut idle: Vec<_> = self
            .map
            .iter()
            .filter(|(_, peer)| peer.is_idle())
            .map(|(&at, peer)| (peer.traffic, at))
            .collect();
        idle.sort_unstable();
        idle.truncate(self.most / 8 + 1);
        for (_, peer) in idle {
            self.map.remove(&peer);
        }
    }
}
