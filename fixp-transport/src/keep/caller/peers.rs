//! What is remembered of peers: what they are, and which ports may carry an exchange with them.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::lane::Lane;
use super::{Port, Ticket};
use crate::extension::Capabilities;
use crate::keep::pace::Pace;

/// What a peer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Nobody knows yet: treated as legacy, and we announce ourselves.
    Unknown,
    /// It has answered an announcement without one of its own.
    Legacy,
    /// It has announced itself, and what it can do.
    Ours(Capabilities),
}

/// A peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) kind: Kind,
    /// Its last datagram, or the last to it.
    pub(super) traffic: Instant,
    /// Until when its leave to send in clear is remembered.
    pub(super) clear_until: Option<Instant>,
    /// The address that datagrams to it leave from, where the socket does not tell.
    pub(super) source: Option<IpAddr>,
    /// The port that it last answered at.
    pub(super) last_port: Option<Port>,
    pub(super) lanes: Vec<Lane>,
    /// The pace that was learned of it, where it is slower than it may be.
    pub(super) pace: Option<Box<Pace>>,
    /// Exchanges over the own transport.
    pub(super) own: usize,
    /// Until when that is not tried.
    pub(super) own_after: Option<Instant>,
    /// The numbers of local ports that it holds something for or may still answer to, and until when.
    spoilt: VecDeque<(u16, Instant)>,
    /// Those without a port, in their order.
    pub(super) waiting: VecDeque<Ticket>,
}

/// Spoilt local ports remembered of a peer; past it the oldest is forgotten. The system gives a port again by
/// chance only.
const SPOILT: usize = 64;

impl Peer {
    const fn new(now: Instant) -> Self {
        Self {
            kind: Kind::Unknown,
            traffic: now,
            clear_until: None,
            source: None,
            last_port: None,
            lanes: Vec::new(),
            pace: None,
            own: 0,
            own_after: None,
            spoilt: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn lane(&self, port: Port) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.port == port)
    }

    pub(super) fn lane_mut(&mut self, port: Port) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.port == port)
    }

    /// The lane of a port, new if there is none.
    pub(super) fn lane_of(&mut self, port: Port) -> &mut Lane {
        let at = self.lanes.iter().position(|lane| lane.port == port);
        let at = at.unwrap_or_else(|| {
            self.lanes.push(Lane::new(port));
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }

    /// Exchanges that somebody waits for.
    pub(super) fn under_way(&self) -> usize {
        self.lanes.iter().filter(|lane| lane.ticket().is_some()).count()
    }

    /// Whether requests go over the own transport.
    pub(super) fn is_own(&self, now: Instant) -> bool {
        let able = matches!(self.kind, Kind::Ours(capabilities) if capabilities.keep());
        able && self.own_after.is_none_or(|after| after <= now)
    }

    /// Remembers that a local port is not to be used for it.
    pub(super) fn spoil(&mut self, now: Instant, local: u16, until: Instant) {
        let until = self.spoilt_until(now, local).map_or(until, |known| known.max(until));
        self.spoilt.retain(|&(port, until)| port != local && now < until);
        if self.spoilt.len() == SPOILT {
            self.spoilt.pop_front();
        }
        self.spoilt.push_back((local, until));
    }

    pub(super) fn spoilt_until(&self, now: Instant, local: u16) -> Option<Instant> {
        let spoilt = self.spoilt.iter().find(|&&(port, until)| port == local && now < until);
        spoilt.map(|&(_, until)| until)
    }

    /// Whether nothing is under way with it.
    fn is_idle(&self) -> bool {
        self.own == 0 && self.waiting.is_empty() && self.lanes.iter().all(|lane| !lane.is_busy())
    }
}

/// The peers, a bounded number of them.
#[derive(Debug)]
pub(super) struct Peers {
    /// Where each stands.
    map: BTreeMap<SocketAddr, usize>,
    slots: Vec<Option<(SocketAddr, Peer)>>,
    free: Vec<usize>,
    /// Where the last one stands that was asked for: mostly it is the next one, too.
    last: usize,
    most: usize,
    expiry: Duration,
}

impl Peers {
    pub(super) fn new(most: usize, expiry: Duration) -> Self {
        let (map, slots, free) = Default::default();
        Self { map, slots, free, last: 0, most: most.max(1), expiry }
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    #[inline]
    fn place(&self, peer: SocketAddr) -> Option<usize> {
        match self.slots.get(self.last) {
            Some(Some((last, _))) if *last == peer => Some(self.last),
            _ => self.map.get(&peer).copied(),
        }
    }

    pub(super) fn get(&self, peer: SocketAddr) -> Option<&Peer> {
        let slot = self.slots.get(self.place(peer)?)?;
        slot.as_ref().map(|(_, peer)| peer)
    }

    pub(super) fn get_mut(&mut self, peer: SocketAddr) -> Option<&mut Peer> {
        self.last = self.place(peer)?;
        let slot = self.slots.get_mut(self.last)?;
        slot.as_mut().map(|(_, peer)| peer)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SocketAddr, &mut Peer)> {
        self.slots.iter_mut().flatten().map(|(at, peer)| (*at, peer))
    }

    /// The peer of an address, new if it is not known or has been silent for too long; nothing where there are
    /// too many that cannot be forgotten.
    pub(super) fn entry(&mut self, now: Instant, peer: SocketAddr) -> Option<&mut Peer> {
        self.last = match self.place(peer) {
            Some(place) => place,
            None => {
                if self.map.len() >= self.most {
                    self.make_room(now);
                    if self.map.len() >= self.most {
                        return None;
                    }
                }
                self.insert(now, peer)
            }
        };
        let expiry = self.expiry;
        let (_, entry) = self.slots.get_mut(self.last)?.as_mut()?;
        if entry.is_idle() && now.saturating_duration_since(entry.traffic) >= expiry {
            // What it holds for a port may outlive what we know of it.
            let spoilt = std::mem::take(&mut entry.spoilt);
            let lanes = std::mem::take(&mut entry.lanes);
            *entry = Peer { spoilt, lanes, ..Peer::new(now) };
        }
        Some(entry)
    }

    fn insert(&mut self, now: Instant, peer: SocketAddr) -> usize {
        let new = Some((peer, Peer::new(now)));
        let at = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(at) {
            Some(slot) => *slot = new,
            None => self.slots.push(new),
        }
        self.map.insert(peer, at);
        at
    }

    fn remove(&mut self, peer: SocketAddr) {
        let Some(at) = self.map.remove(&peer) else { return };
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = None;
        }
        self.free.push(at);
        if self.map.is_empty() {
            (self.slots, self.free) = Default::default();
        }
    }

    /// Forgets those that have been silent for too long.
    pub(super) fn sweep(&mut self, now: Instant) {
        let expiry = self.expiry;
        let forgets = |peer: &mut Peer| {
            peer.spoilt.retain(|&(_, until)| now < until);
            let silent = now.saturating_duration_since(peer.traffic) >= expiry;
            peer.is_idle() && silent && peer.spoilt.is_empty()
        };
        let silent: Vec<_> = self.iter_mut().filter_map(|(at, peer)| forgets(peer).then_some(at)).collect();
        for peer in silent {
            self.remove(peer);
        }
    }

    /// Forgets the silent eighth of those that can be forgotten, so that a full table is not searched for each
    /// newcomer.
    fn make_room(&mut self, now: Instant) {
        self.sweep(now);
        if self.map.len() < self.most {
            return;
        }
        let mut idle: Vec<_> =
            self.iter_mut().filter(|(_, peer)| peer.is_idle()).map(|(at, peer)| (peer.traffic, at)).collect();
        idle.sort_unstable();
        idle.truncate(self.most / 8 + 1);
        for (_, peer) in idle {
            self.remove(peer);
        }
    }
}
