//! How much each network has here, so that none takes everything: where there is no room, the one that has most
//! gives way to those that have less than half of that (SPEC 9.11).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use super::Key;
use super::exchange::{Gives, Rank};
use crate::keep::budget::Prefix;

/// Bytes are compared in steps, so that not every piece of a request changes the order.
const STEP: usize = 16 << 10;

/// What one network has.
#[derive(Debug, Default)]
struct Source {
    bytes: usize,
    exchanges: usize,
    /// What of it may give way, the oldest of each kind first.
    gives: BTreeMap<Gives, BTreeSet<(Instant, Key)>>,
}

/// What there may be too little of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Want {
    /// So many bytes.
    Bytes(usize),
    /// One exchange.
    Exchange,
}

/// What an exchange takes: its bytes, whether it is there, and what of it may give way.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Takes {
    pub(super) bytes: usize,
    pub(super) is_there: bool,
    pub(super) rank: Option<Rank>,
}

#[derive(Debug, Default)]
pub(super) struct Sources {
    of: BTreeMap<Prefix, Source>,
    by_bytes: BTreeSet<(usize, Prefix)>,
    by_exchanges: BTreeSet<(usize, Prefix)>,
}

impl Sources {
    /// An exchange takes something else than before.
    pub(super) fn change(&mut self, key: Key, before: Takes, after: Takes) {
        let prefix = Prefix::of(key.0.ip());
        let source = self.of.entry(prefix).or_default();
        let (bytes, exchanges) = (source.bytes, source.exchanges);
        source.bytes = bytes.saturating_sub(before.bytes) + after.bytes;
        source.exchanges =
            exchanges.saturating_sub(usize::from(before.is_there)) + usize::from(after.is_there);
        if before.rank != after.rank {
            if let Some((kind, since)) = before.rank
                && let Some(those) = source.gives.get_mut(&kind)
            {
                those.remove(&(since, key));
            }
            if let Some((kind, since)) = after.rank {
                source.gives.entry(kind).or_default().insert((since, key));
            }
        }
        let (bytes, now) = (bytes / STEP, source.bytes / STEP);
        if bytes != now || exchanges == 0 {
            self.by_bytes.remove(&(bytes, prefix));
            self.by_bytes.insert((now, prefix));
        }
        if exchanges != source.exchanges {
            self.by_exchanges.remove(&(exchanges, prefix));
            self.by_exchanges.insert((source.exchanges, prefix));
        }
        if source.exchanges == 0 {
            self.by_bytes.remove(&(now, prefix));
            self.by_exchanges.remove(&(0, prefix));
            self.of.remove(&prefix);
        }
    }

    /// What gives way so that an address gets what it wants: the oldest of the network that has most, unless its
    /// own has half as much. A request that has been executed is forgotten last for bytes, and first for a place.
    pub(super) fn gives_way(&self, ip: IpAddr, want: Want) -> Option<(Gives, Key)> {
        let own = self.of.get(&Prefix::of(ip));
        let (own, &(most, prefix), order) = match want {
            Want::Bytes(bytes) => (
                (own.map_or(0, |source| source.bytes) + bytes) / STEP,
                self.by_bytes.last()?,
                [Gives::Group, Gives::Held, Gives::Tombstone],
            ),
            Want::Exchange => (
                own.map_or(0, |source| source.exchanges) + 1,
                self.by_exchanges.last()?,
                [Gives::Tombstone, Gives::Group, Gives::Held],
            ),
        };
        if own > most / 2 {
            return None;
        }
        let gives = &self.of.get(&prefix)?.gives;
        order.into_iter().find_map(|kind| gives.get(&kind)?.first().map(|&(_, key)| (kind, key)))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty() && self.by_bytes.is_empty() && self.by_exchanges.is_empty()
    }
}
