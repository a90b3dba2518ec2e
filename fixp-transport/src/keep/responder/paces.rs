//! What was learned of the ways to those who have had large answers: the next one begins as fast as the last one
//! ended.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::keep::pace::Pace;

/// Addresses of which that is remembered, some 200 bytes each. Past it all are forgotten: each begins slowly again.
const ADDRESSES: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Paces(BTreeMap<IpAddr, Pace>);

impl Paces {
    /// The pace of an answer to this address, of so many bytes a second at most. So fast its request has come, where
    /// that can be said.
    pub(super) fn of(&self, to: IpAddr, rate: u64, came: Option<u64>) -> Pace {
        self.0.get(&to).cloned().unwrap_or_else(|| {
            let pace = Pace::towards(to, rate);
            came.map_or(pace.clone(), |came| pace.no_faster(came))
        })
    }

    /// An answer has gone to this address at this pace, or has lost something.
    pub(super) fn learn(&mut self, now: Instant, to: IpAddr, pace: Pace) {
        let known = self.0.remove(&to);
        if let Some(pace) = pace.learned(known, now) {
            if self.0.len() >= ADDRESSES {
                self.0.clear();
            }
            self.0.insert(to, pace);
        }
    }
}
