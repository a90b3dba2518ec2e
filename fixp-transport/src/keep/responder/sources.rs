//! How much each network has here, so that none takes everything: where there is no room, the one that has most
//! gives way to those that have less than half of that. Where nobody has so much, the oldest gives way to whoever
//! has little, so that many who have little each do not shut out all others (SPEC 9.11).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::exchange::{Gives, Rank};
use super::exchanges::{Exchanges, List, Number, Of};
use crate::keep::budget::Prefix;
use crate::keep::limits::Limits;

/// Bytes are compared in steps, so that not every piece of a request changes the order.
const STEP: usize = 16 << 10;
/// A network has little that has no more than this part of all.
const LITTLE: usize = 64;

/// What one network has.
#[derive(Debug, Default)]
struct Source {
    bytes: usize,
    exchanges: usize,
    /// What of it may give way, by [`Gives`].
    gives: [List; 3],
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
    /// What may give way, of all networks.
    gives: [List; 3],
}

impl Sources {
    /// An exchange takes something else than before.
    pub(super) fn change(
        &mut self,
        exchanges: &mut Exchanges,
        ip: IpAddr,
        number: Number,
        before: Takes,
        after: Takes,
    ) {
        let prefix = Prefix::of(ip);
        let source = self.of.entry(prefix).or_default();
        let (bytes, count) = (source.bytes, source.exchanges);
        source.bytes = bytes.saturating_sub(before.bytes) + after.bytes;
        source.exchanges = count.saturating_sub(usize::from(before.is_there)) + usize::from(after.is_there);
        if before.rank != after.rank {
            for (gives, of) in [(&mut source.gives, Of::Network), (&mut self.gives, Of::All)] {
                if let Some((kind, _)) = before.rank {
                    exchanges.unlink(&mut gives[kind as usize], of, number);
                }
                if let Some((kind, _)) = after.rank {
                    exchanges.append(&mut gives[kind as usize], of, number);
                }
            }
        }
        let (bytes, now) = (bytes / STEP, source.bytes / STEP);
        if bytes != now || count == 0 {
            self.by_bytes.remove(&(bytes, prefix));
            self.by_bytes.insert((now, prefix));
        }
        if count != source.exchanges {
            self.by_exchanges.remove(&(count, prefix));
            self.by_exchanges.insert((source.exchanges, prefix));
        }
        if source.exchanges == 0 {
            self.by_bytes.remove(&(now, prefix));
            self.by_exchanges.remove(&(0, prefix));
            self.of.remove(&prefix);
        }
    }

    /// What gives way so that an address gets what it wants: the oldest of the network that has most, unless its
    /// own has half as much; then the oldest of all, unless its own has more than a little. A request that has been
    /// executed is forgotten last for bytes. For a place it is forgotten first of the network that has most, and of all
    /// behind a request that is not whole and before an answer that is held.
    pub(super) fn gives_way(&self, ip: IpAddr, want: Want, limits: &Limits) -> Option<(Gives, Number)> {
        let own = self.of.get(&Prefix::of(ip));
        let (own, (most, prefix), order, little, orders) = match want {
            Want::Bytes(bytes) => {
                let own = own.map_or(0, |source| source.bytes) + bytes;
                let order = [Gives::Group, Gives::Held, Gives::Tombstone];
                (own / STEP, *self.by_bytes.last()?, order, own <= limits.bytes / LITTLE, order)
            }
            Want::Exchange => {
                let own = own.map_or(0, |source| source.exchanges) + 1;
                let order = [Gives::Tombstone, Gives::Group, Gives::Held];
                let of_all = [Gives::Group, Gives::Tombstone, Gives::Held];
                (own, *self.by_exchanges.last()?, order, own <= (limits.exchanges / LITTLE).max(1), of_all)
            }
        };
        let oldest = |gives: &[List; 3], order: [Gives; 3]| {
            order.into_iter().find_map(|kind| Some((kind, gives[kind as usize].first()?)))
        };
        // All who have less than a step are alike.
        let of_most = (own <= most / 2 && most > 0).then(|| self.of.get(&prefix)).flatten();
        of_most
            .and_then(|source| oldest(&source.gives, order))
            .or_else(|| little.then(|| oldest(&self.gives, orders)).flatten())
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty() && self.by_bytes.is_empty() && self.by_exchanges.is_empty()
    }
}
