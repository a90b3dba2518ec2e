//! What is counted and remembered of all exchanges: the ledger, the peers, the timers, the turns.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::exchange::{Done, Gives, Stage};
use super::sources::{Takes, Want};
use super::{Key, Peer, REPLACED_COST, Responder, Ticket};

/// How many give way at a time, at most: those of one large request do for a piece.
const GIVE: usize = 64;

impl Responder {
    /// Whether there is room for so many bytes more. What of them is not held in the end is given back by
    /// [`Responder::balance`].
    pub(super) fn has_room(&mut self, bytes: usize) -> bool {
        let wanted = self.held.saturating_add(bytes);
        if wanted > self.config.limits.bytes {
            return false;
        }
        let more = wanted.saturating_sub(self.taken);
        let has = self.config.ledger.as_ref().is_none_or(|ledger| more == 0 || ledger.take(more));
        if has {
            self.taken += more;
        }
        has
    }

    /// The same, where others give way to this address.
    pub(super) fn makes_room(&mut self, now: Instant, ip: IpAddr, bytes: usize) -> bool {
        for _ in 0..GIVE {
            if self.has_room(bytes) {
                return true;
            }
            if !self.gives_way(now, ip, Want::Bytes(bytes)) {
                return false;
            }
        }
        self.has_room(bytes)
    }

    /// Whether there is a place for one exchange more of this address.
    pub(super) fn makes_place(&mut self, now: Instant, ip: IpAddr) -> bool {
        for _ in 0..GIVE {
            if self.exchanges.len() < self.config.limits.exchanges {
                return true;
            }
            if !self.gives_way(now, ip, Want::Exchange) {
                return false;
            }
        }
        self.exchanges.len() < self.config.limits.exchanges
    }

    fn gives_way(&mut self, now: Instant, ip: IpAddr, want: Want) -> bool {
        let gives = self.sources.gives_way(ip, want, &self.config.limits);
        let Some((gives, number)) = gives else { return false };
        let Some(exchange) = self.exchanges.at_mut(number) else { return false };
        let key = exchange.key;
        match gives {
            Gives::Group => exchange.group = None,
            Gives::Held => {
                let tombstone = Stage::Tombstone { until: now + self.config.limits.tombstone };
                if let Some(Done { stage, .. }) = &mut exchange.done
                    && let Stage::Held(held) = std::mem::replace(stage, tombstone)
                {
                    held.end(now, false, &mut self.budget, key.0.ip());
                }
            }
            Gives::Tombstone => exchange.done = None,
        }
        self.stats.gave_way += 1;
        self.book(key);
        self.arm(now, key);
        true
    }

    pub(super) fn balance(&mut self) {
        let less = self.taken.saturating_sub(self.held);
        if let Some(ledger) = self.config.ledger.as_ref().filter(|_| less > 0) {
            ledger.give(less);
        }
        self.taken -= less;
    }

    /// Puts an exchange in the turns of those that send.
    pub(super) fn turn(&mut self, key: Key) {
        if let Some(exchange) = self.exchanges.get_mut(&key)
            && exchange.turn.is_none()
        {
            exchange.turn = Some(self.next_turn);
            self.sending.insert(self.next_turn, key);
            self.next_turn += 1;
        }
    }

    /// The address of this machine that a peer knows. One of whom nothing is kept has sent what is being handled.
    pub(super) fn bind_ip(&self, of: SocketAddr) -> Option<IpAddr> {
        self.peers.get(&of).map_or(self.local, |peer| peer.local).or(self.config.bind_ip)
    }

    /// Whether an identity is one that its peer came with last.
    pub(super) fn is_latest(&self, key: Key) -> bool {
        self.peers.get(&key.0).is_none_or(|peer| peer.latest == key.1 || peer.refused == Some(key.1))
    }

    /// Brings the ledger up to date after anything has changed in an exchange, and forgets one that is over.
    pub(super) fn book(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(&key) else { return };
        let over = exchange.group.is_none() && exchange.done.is_none();
        let cost = if over { 0 } else { exchange.cost() };
        let fresh = exchange.booked == 0;
        let had = Takes { bytes: exchange.booked, is_there: !fresh, rank: exchange.rank };
        let has = Takes { bytes: cost, is_there: !over, rank: exchange.gives() };
        let live = exchange.live();
        let before = std::mem::replace(&mut exchange.live, live);
        (exchange.booked, exchange.rank) = (cost, has.rank);
        let (number, timer, turn) = (exchange.number, exchange.timer, exchange.turn);
        self.held = self.held - had.bytes + cost;
        self.sources.change(&mut self.exchanges, key.0.ip(), number, had, has);
        if !over && !fresh && live == before {
            return;
        }
        let peer = self.peers.entry(key.0).or_insert(Peer {
            exchanges: 0,
            live: 0,
            replaced: 0,
            latest: key.1,
            refused: None,
            local: self.local,
        });
        peer.exchanges += u32::from(fresh);
        peer.live = peer.live + live - before;
        if over {
            peer.exchanges -= 1;
            if peer.exchanges == 0 && peer.replaced == 0 {
                self.peers.remove(&key.0);
            }
            if let Some(at) = timer {
                self.timers.remove(&(at, number));
            }
            if let Some(turn) = turn {
                self.sending.remove(&turn);
            }
            self.exchanges.remove(&key);
        }
    }

    /// A request that is executed gives its place to another. It counts for its peer until it ends, which it is told
    /// to.
    pub(super) fn replaced(&mut self, ticket: Ticket, of: SocketAddr) {
        self.cancelled.insert(ticket);
        self.held += REPLACED_COST;
        if let Some(peer) = self.peers.get_mut(&of) {
            peer.live += 1;
            peer.replaced += 1;
        }
    }

    /// One of those has ended.
    pub(super) fn replaced_ends(&mut self, of: SocketAddr) {
        let Some(peer) = self.peers.get_mut(&of) else { return };
        self.held -= REPLACED_COST;
        peer.live -= 1;
        peer.replaced -= 1;
        if peer.exchanges == 0 && peer.replaced == 0 {
            self.peers.remove(&of);
        }
        self.balance();
    }

    /// Sets the timer of an exchange. One that is early is left: it sets the next when it comes, and a piece that
    /// puts everything off costs nothing.
    pub(super) fn arm(&mut self, now: Instant, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(&key) else { return };
        let limits = &self.config.limits;
        let group = exchange.group.as_ref();
        let ends = group.map(|group| (group.last + limits.idle).min(group.created + limits.lifetime));
        let asks = group.and_then(|group| group.next_question(&self.config, self.table));
        let times = [ends, asks, exchange.timer_of_done()];
        // Never in the past, or a caller might turn around for ever.
        let at = times.into_iter().flatten().min().map(|at| at.max(now));
        if at.is_some() && exchange.timer.is_some_and(|timer| Some(timer) <= at && timer > now) {
            return;
        }
        if let Some(old) = std::mem::replace(&mut exchange.timer, at) {
            self.timers.remove(&(old, exchange.number));
        }
        if let Some(at) = at {
            self.timers.insert((at, exchange.number));
        }
    }
}
