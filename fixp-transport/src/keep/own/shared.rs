//! What all associations of an endpoint have in common.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::config::Config;
use super::event::{AssociationId, Event};
use super::exchange::Exchange;
use super::sheet::Sheet;
use super::stats::Stats;
use super::wire::Items;
use crate::keep::Ledger;
use crate::keep::ledger::Hold;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    /// The shortest of its times that have to do with silence.
    pub(super) shortest_long_time: Duration,
    pub(super) ledger: Ledger,
    /// With the bytes that are booked for each until it is taken.
    events: VecDeque<(Event, usize)>,
    /// Exchanges that have ended, with what they have allocated: the next ones use it again.
    #[expect(clippy::vec_box, reason = "the box is what is used again")]
    spare: Vec<Box<Exchange>>,
    /// Exchanges that hold bytes of a packet which is not complete, by their age.
    pub(super) gathering: BTreeSet<Gathering>,
    next_age: u64,
    /// There has been no room for too long: one of them is to give way, or else this one, if there is one.
    pub(super) gives_way: Option<Option<Gathering>>,
    /// Since when nothing was completed, though there is no room.
    starved: Option<Instant>,
    /// Datagrams that wait, and are of no association any more.
    pub(super) controls: VecDeque<(SocketAddr, Vec<u8>, Hold)>,
    pub(super) stats: Stats,
    pub(super) sheet: Sheet,
    pub(super) items: Items,
    /// Where packets are written before they are kept.
    pub(super) written: Vec<u8>,
}

/// The age of an exchange, its association, and its number.
pub(super) type Gathering = (u64, AssociationId, u64);

/// What a waiting datagram costs beside its bytes.
const CONTROL_COST: usize = 96;
/// Ended exchanges that are kept: some 20 KiB.
const SPARE: usize = 16;
/// Datagrams that wait and are of no association; further ones are lost, as on the way.
const CONTROLS: usize = 1024;

impl Shared {
    pub(super) fn new(config: Config, ledger: Ledger) -> Self {
        let long = [config.alive, config.lost, config.idle, Config::WATCH];
        Self {
            shortest_long_time: long.into_iter().min().unwrap_or_default(),
            config,
            ledger,
            events: VecDeque::new(),
            spare: Vec::new(),
            gathering: BTreeSet::new(),
            next_age: 0,
            gives_way: None,
            starved: None,
            controls: VecDeque::new(),
            stats: Stats::default(),
            sheet: Sheet::new(),
            items: Items::default(),
            written: Vec::new(),
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.booked_event(event, 0);
    }

    /// An event for which so many bytes are booked.
    pub(super) fn booked_event(&mut self, event: Event, bytes: usize) {
        self.events.push_back((event, bytes));
    }

    /// The next event. What it has is its receiver's.
    #[inline]
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        let (event, bytes) = self.events.pop_front()?;
        if bytes > 0 {
            self.ledger.give(bytes);
        }
        Some(event)
    }

    /// An exchange that has not begun, and is not booked.
    pub(super) fn exchange(&mut self, now: Instant) -> Box<Exchange> {
        self.spare.pop().unwrap_or_else(|| Box::new(Exchange::new(now, &self.ledger)))
    }

    /// An exchange has ended.
    pub(super) fn recycle(&mut self, mut exchange: Box<Exchange>) {
        if self.spare.len() < SPARE {
            exchange.clear();
            self.spare.push(exchange);
        }
    }

    /// A datagram that is not of an association, or of one that has ended. False where there is no room for it.
    pub(super) fn control(&mut self, to: SocketAddr, bytes: Vec<u8>) -> bool {
        if self.controls.len() < CONTROLS
            && let Some(hold) = Hold::of(&self.ledger, bytes.len() + CONTROL_COST)
        {
            self.controls.push_back((to, bytes, hold));
            return true;
        }
        false
    }

    /// An exchange begins to hold bytes.
    pub(super) fn gathers(&mut self, association: AssociationId, number: u64) -> u64 {
        self.next_age += 1;
        self.gathering.insert((self.next_age, association, number));
        self.next_age
    }

    /// It holds none any more.
    pub(super) fn gathered(&mut self, gathering: Gathering) {
        self.gathering.remove(&gathering);
        self.starved = None;
    }

    /// SPEC 10.19: there was no room for something. One is to give way when that has lasted for too long; where no other is
    /// there, what there was no room for.
    pub(super) fn no_room(&mut self, now: Instant, pressed: Option<Gathering>) {
        let since = *self.starved.get_or_insert(now);
        if now >= since + self.config.patience {
            self.starved = None;
            self.gives_way = Some(pressed);
        }
    }
}

/// What nobody has taken is booked no longer.
impl Drop for Shared {
    fn drop(&mut self) {
        self.ledger.give(self.events.iter().map(|(_, bytes)| bytes).sum());
    }
}
