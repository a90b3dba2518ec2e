//! An answer that is sent, and held to be sent again: as fast as its pace and the budget of its peer allow.

use std::net::IpAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Config;
use crate::keep::budget::Budget;
use crate::keep::pace::Pace;
use crate::keep::pieces::Pieces;
use crate::keep::wanted::Wanted;

/// What a held answer costs beside its pieces.
const HELD_COST: usize = size_of::<Held>() + 64;
/// The bytes that are taken from the budget at a time, so that those of a prefix get them in turns.
const SHARE: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Held {
    pieces: Pieces,
    pub(super) until: Instant,
    burst: Range<u32>,
    asked: Wanted,
    /// Datagrams that may still be sent.
    left: u64,
    /// When the answer is sent again unasked, after how long then, and how often.
    pub(super) again: Option<Instant>,
    pause: Duration,
    agains: u32,
    pace: Pace,
    /// Until when the budget has it wait.
    waits: Option<Instant>,
    /// Bytes that came from the peer, and those taken from its budget, that have not been used.
    came: usize,
    share: usize,
    /// Bytes of the budget that have been used.
    used: usize,
    /// Whether every piece has left once.
    whole: bool,
}

/// What becomes of an answer's turn.
pub(super) enum Turn {
    /// A piece leaves.
    Piece(Bytes),
    /// Not yet: its timer tells when.
    Wait,
    /// There is nothing to be sent.
    Over,
}

impl Held {
    pub(super) fn new(now: Instant, config: &Config, pieces: Pieces, pace: Pace) -> Self {
        Self {
            until: now + config.limits.hold,
            burst: 0..pieces.count(),
            asked: Wanted::new(pieces.count()),
            left: u64::from(pieces.count()) * u64::from(config.limits.sendings),
            again: None,
            pause: config.again,
            agains: config.agains,
            pace,
            waits: None,
            came: 0,
            share: 0,
            used: 0,
            whole: false,
            pieces,
        }
    }

    /// Whether there is nothing of it to be sent by itself for now.
    pub(super) fn has_left(&self) -> bool {
        self.burst.is_empty() || self.left == 0
    }

    /// Whether its next piece has left before.
    pub(super) fn sends_again(&self) -> bool {
        self.whole || !self.asked.is_empty()
    }

    /// How fast its pieces leave.
    pub(super) const fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The same, where all of them have come through.
    pub(super) fn came_through(&self) -> Pace {
        let mut pace = self.pace.clone();
        pace.came_through(self.pieces.longest() * self.pieces.count() as usize);
        pace
    }

    pub(super) const fn count(&self) -> u32 {
        self.pieces.count()
    }

    /// What it costs, with room for the pieces of it that are asked for.
    pub(super) fn cost(&self) -> usize {
        Self::cost_of(&self.pieces)
    }

    pub(super) fn cost_of(pieces: &Pieces) -> usize {
        pieces.cost() + HELD_COST + Wanted::cost_of(pieces.count())
    }

    /// So many bytes have come for it.
    pub(super) const fn came(&mut self, bytes: usize) {
        self.came = self.came.saturating_add(bytes);
    }

    /// Sends all again, unless that is under way.
    pub(super) fn begin(&mut self) {
        if self.burst.is_empty() {
            self.asked.clear();
            (self.burst, self.again) = (0..self.pieces.count(), None);
        }
    }

    /// Sends all again where nothing was heard for as long as it waits for that. Nobody has said that any of it
    /// came, so it goes slower.
    pub(super) fn begin_again(&mut self, now: Instant) -> bool {
        if self.again.is_none_or(|at| at > now) {
            return false;
        }
        self.agains = self.agains.saturating_sub(1);
        self.pause *= 2;
        self.pace.lost(now, 0);
        self.begin();
        true
    }

    /// Its peer has gone on to another request: what is left of it waits to be asked for.
    pub(super) fn rest(&mut self) {
        (self.burst, self.again, self.agains) = (0..0, None, 0);
    }

    /// The peer asks for these pieces: it recovers by itself.
    pub(super) fn ask(&mut self, now: Instant, indexes: impl Iterator<Item = u32>) {
        let before = self.asked.len();
        for index in indexes {
            if !self.burst.contains(&index) {
                self.asked.insert(index);
            }
        }
        // What has not left is not lost.
        let lost = self.asked.len() - before;
        if lost > 0 {
            self.pace.lost(now, lost * self.pieces.longest());
        }
        if let Some(again) = &mut self.again {
            *again = (*again).max(now + self.pause);
        }
    }

    /// When it goes on by itself.
    pub(super) fn timer(&self) -> Option<Instant> {
        [self.again, self.waits].into_iter().flatten().min()
    }

    /// Its wait is over.
    pub(super) fn wakes(&mut self, now: Instant) -> bool {
        let due = self.waits.is_some_and(|at| at <= now);
        if due {
            self.waits = None;
        }
        due
    }

    /// The next piece. Without a budget the peer is not limited.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        patience: Duration,
        budget: Option<(&mut Budget, IpAddr)>,
    ) -> Turn {
        let next = self.asked.first().or((!self.burst.is_empty()).then_some(self.burst.start));
        let Some(index) = next.filter(|_| self.left > 0) else {
            self.stop(now);
            return Turn::Over;
        };
        if self.waits.is_some_and(|at| now < at) {
            return Turn::Wait;
        }
        self.waits = None;
        if let Err(at) = self.pace.ready(now) {
            self.waits = Some(at);
            return Turn::Wait;
        }
        let limited = budget.is_some();
        let longest = self.pieces.longest();
        if let Some((budget, ip)) = budget
            && self.came < longest
            && self.share < longest
        {
            let rest = (self.burst.len() + self.asked.len()).saturating_mul(longest);
            let share = SHARE.max(longest).min(rest);
            let at = budget.reserve(now, ip, share);
            if at > now + patience {
                // Others of its prefix are before it for longer than it is held.
                budget.give_back(now, ip, share);
                self.stop(now);
                return Turn::Over;
            }
            self.share += share;
            if at > now {
                self.waits = Some(at);
                return Turn::Wait;
            }
        }
        let Some(bytes) = self.pieces.datagram(index) else { return Turn::Over };
        if limited {
            if self.came >= longest {
                self.came = self.came.saturating_sub(bytes.len());
            } else {
                self.share = self.share.saturating_sub(bytes.len());
                self.used = self.used.saturating_add(bytes.len());
            }
        }
        self.left -= 1;
        self.pace.sent(bytes.len());
        if self.asked.pop().is_none() {
            self.burst.start += 1;
            if self.burst.is_empty() {
                self.whole = true;
                self.stop(now);
            }
        }
        Turn::Piece(bytes)
    }

    /// The copy that was sent is over: later again, if that is not too often.
    fn stop(&mut self, now: Instant) {
        if self.left == 0 {
            (self.again, self.agains) = (None, 0);
        }
        if !self.burst.is_empty() || self.left == 0 {
            self.asked.clear();
        }
        self.burst = 0..0;
        if self.again.is_none() && self.agains > 0 {
            self.again = Some(now + self.pause);
        }
    }

    /// It is over: the budget gets what has not been used, and, where the peer has said that it got everything,
    /// a sign for what has.
    pub(super) fn end(self, now: Instant, cancelled: bool, budget: &mut Budget, ip: IpAddr) {
        if self.share > 0 {
            budget.give_back(now, ip, self.share);
        }
        if cancelled && self.whole && self.used > 0 {
            budget.sign(now, ip, self.used);
        }
    }
}
