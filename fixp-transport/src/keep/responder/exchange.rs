//! What is known of one address, port and identity: a request on its way, or one that was executed.

use std::time::Instant;

use super::assembly::Group;
use super::exchanges::{Links, Number};
use super::held::Held;
use super::{Key, Ticket};
use crate::keep::limits::Limits;
use crate::keep::pieces::Mark;

/// What of an exchange gives way where there is no room: the pieces of a request that is not whole, an answer that
/// is held, or what is remembered of an exchange that has ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Gives {
    Group,
    Held,
    Tombstone,
}

/// That, and its age among its kind.
pub(super) type Rank = (Gives, Instant);

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) key: Key,
    pub(super) number: Number,
    pub(super) links: [Links; 2],
    /// Apart, since what is remembered longest has none.
    pub(super) group: Option<Box<Group>>,
    pub(super) done: Option<Done>,
    /// Where it stands in the turns.
    pub(super) turn: Option<u64>,
    pub(super) timer: Option<Instant>,
    /// What is in the ledger for it.
    pub(super) booked: usize,
    /// How many it is of what a peer may have at a time.
    pub(super) live: u32,
    /// How it stands among those that give way.
    pub(super) rank: Option<Rank>,
}

/// What of a request tells its duplicates.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Known {
    /// The digests of its pieces.
    Whole(Box<[u64]>),
    /// Of one that is too large, its count, and the digest of the piece that told so, which counts where it is the
    /// only one.
    TooLarge(u32, u64),
}

impl Known {
    /// How many pieces it has.
    pub(super) fn count(&self) -> u32 {
        match self {
            // No more than the pieces that a request may have.
            Self::Whole(digests) => u32::try_from(digests.len()).unwrap_or(u32::MAX),
            Self::TooLarge(count, _) => *count,
        }
    }

    /// The digest of its first piece.
    pub(super) fn digest(&self) -> u64 {
        match self {
            Self::Whole(digests) => digests.first().copied().unwrap_or(0),
            Self::TooLarge(_, digest) => *digest,
        }
    }

    /// Whether a piece is one of it.
    pub(super) fn has(&self, mark: Mark, digest: u64) -> bool {
        self.count() == mark.count
            && match self {
                Self::Whole(digests) => digests[mark.index as usize] == digest,
                Self::TooLarge(count, had) => *count > 1 || *had == digest,
            }
    }

    pub(super) fn cost(&self) -> usize {
        if let Self::Whole(digests) = self { size_of_val(&**digests) } else { 0 }
    }
}

/// A request that was whole, or was refused.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) known: Known,
    pub(super) stage: Stage,
    /// When the peer was last told something for a duplicate.
    pub(super) told: Instant,
    /// Bytes that came for it and for which nothing has left, until there is an answer.
    pub(super) came: usize,
    /// Bytes a second at which it came, where it was long enough to tell.
    pub(super) rate: Option<u64>,
}

#[derive(Debug)]
pub(super) enum Stage {
    Executing {
        ticket: Ticket,
        cancelled: bool,
    },
    Held(Box<Held>),
    /// Executed; what comes of it is not listened to. Each duplicate makes it last.
    Tombstone {
        until: Instant,
    },
}

impl Exchange {
    pub(super) fn new(key: Key, number: Number) -> Self {
        Self {
            key,
            number,
            links: [Links::default(); 2],
            group: None,
            done: None,
            turn: None,
            timer: None,
            booked: 0,
            live: 0,
            rank: None,
        }
    }

    /// How many it is of what a peer may have at a time: what is executed, and beside it a request on its way or an
    /// answer.
    pub(super) fn live(&self) -> u32 {
        let stage = self.done.as_ref().map(|done| &done.stage);
        u32::from(matches!(stage, Some(Stage::Executing { .. }))) + u32::from(self.takes_request())
    }

    /// Whether a request on its way has a place here: where there is one, or an answer that it replaces.
    pub(super) fn takes_request(&self) -> bool {
        self.group.is_some() || matches!(&self.done, Some(Done { stage: Stage::Held(_), .. }))
    }

    /// The request that is executed by this number, unless another has taken its place.
    pub(super) fn done_as(&mut self, number: Ticket) -> Option<&mut Done> {
        let is = |done: &&mut Done| matches!(done.stage, Stage::Executing { ticket, .. } if ticket == number);
        self.done.as_mut().filter(is)
    }

    /// What of it gives way first. A request that is being executed does not.
    pub(super) fn gives(&self) -> Option<Rank> {
        if let Some(group) = &self.group {
            return Some((Gives::Group, group.created));
        }
        match &self.done.as_ref()?.stage {
            Stage::Executing { .. } => None,
            Stage::Held(held) => Some((Gives::Held, held.until)),
            Stage::Tombstone { until } => Some((Gives::Tombstone, *until)),
        }
    }

    pub(super) fn cost(&self) -> usize {
        let group = self.group.as_ref().map_or(0, |group| Limits::GROUP_COST + group.gather.cost());
        let done = self.done.as_ref().map_or(0, |done| {
            let held = match &done.stage {
                Stage::Held(held) => held.cost(),
                _ => 0,
            };
            held + done.known.cost()
        });
        Limits::EXCHANGE_COST + group + done
    }

    /// When something is to be done, beside the questions for missing pieces.
    pub(super) fn timer_of_done(&self) -> Option<Instant> {
        match &self.done.as_ref()?.stage {
            Stage::Held(held) => Some(held.timer().map_or(held.until, |at| at.min(held.until))),
            Stage::Tombstone { until } => Some(*until),
            Stage::Executing { .. } => None,
        }
    }
}
