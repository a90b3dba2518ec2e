//! Finds how long a datagram may be on a path, and notices when that is no longer so.
//!
//! A probe is a datagram with padding. What is lost of these is not congestion.
//!
//! ```
//! use std::time::Instant;
//! use fixp_transport::keep::own::mtu::{BASE, PathMtu};
//!
//! let now = Instant::now();
//! let mut path = PathMtu::new(false, 1472);
//! assert_eq!((path.current(), path.poll_probe(now)), (BASE, Some(1472)));
//! path.on_probe_acked(1472);
//! assert_eq!((path.current(), path.poll_probe(now)), (1472, None));
//! ```

use std::time::{Duration, Instant};

/// What every path carries, in bytes of UDP.
pub const BASE: usize = 1200;
/// The sizes that are tried first: Ethernet, pages, jumbo frames, and what UDP can at all; over IPv4 and IPv6.
const LADDER: [[usize; 6]; 2] =
    [[1472, 4096, 8932, 16384, 32768, 65507], [1452, 4096, 8932, 16384, 32768, 65487]];
/// How exactly a size between two rungs is found: finer is not worth the probes.
const GRAIN: usize = 64;
/// How often a size is tried: more than one may be lost by chance.
const TRIES: u32 = 3;
/// After so many bursts of lost long datagrams, with none of them arriving, the path has become shorter.
const BURSTS: u32 = 3;
/// How long to stay with [`BASE`] then.
const AFTER_BLACK_HOLE: Duration = Duration::from_secs(60);
/// How long to wait before a larger size is tried again: paths get longer rarely.
const AGAIN: Duration = Duration::from_secs(600);

/// The search for the longest datagram of a path.
#[derive(Clone, Debug)]
pub struct PathMtu {
    ladder: [usize; 6],
    limit: usize,
    current: usize,
    /// The smallest size known not to pass.
    refused: Option<usize>,
    probe: Option<usize>,
    tries: u32,
    search: Search,
    black_hole: BlackHole,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Search {
    Running,
    /// From when on it goes on.
    Paused(Instant),
}

/// What speaks for a path that carries no long datagrams any more.
#[derive(Clone, Copy, Default, Debug)]
struct BlackHole {
    /// The highest number of a long datagram that arrived.
    arrived: Option<u64>,
    bursts: u32,
    burst: Option<Instant>,
}

impl PathMtu {
    /// Nothing but [`BASE`] is known. No datagram is to be longer than `limit`.
    #[must_use]
    pub fn new(v6: bool, limit: usize) -> Self {
        let [v4_sizes, v6_sizes] = LADDER;
        let ladder = if v6 { v6_sizes } else { v4_sizes };
        let [.., longest] = ladder;
        Self {
            ladder,
            limit: limit.clamp(BASE, longest),
            current: BASE,
            refused: None,
            probe: None,
            tries: 0,
            search: Search::Running,
            black_hole: BlackHole::default(),
        }
    }

    /// The longest datagram that is known to pass.
    #[must_use]
    pub const fn current(&self) -> usize {
        self.current
    }

    /// The size of a probe to be sent now. One at a time is under way.
    pub fn poll_probe(&mut self, now: Instant) -> Option<usize> {
        if let Search::Paused(until) = self.search {
            if now < until {
                return None;
            }
            self.search = Search::Running;
            self.refused = None;
            self.tries = 0;
        }
        if self.probe.is_some() {
            return None;
        }
        self.probe = self.candidate();
        if self.probe.is_none() {
            self.search = Search::Paused(now + AGAIN);
        }
        self.probe
    }

    /// When [`poll_probe`](Self::poll_probe) has something again, if a probe is not what it waits for.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.search {
            Search::Paused(until) => Some(until),
            Search::Running => None,
        }
    }

    /// A probe of this size has arrived.
    pub fn on_probe_acked(&mut self, size: usize) {
        if self.probe == Some(size) {
            self.probe = None;
            self.tries = 0;
            self.current = self.current.max(size);
        }
    }

    /// A probe of this size was lost, or was not sent after all.
    pub fn on_probe_lost(&mut self, size: usize) {
        if self.probe == Some(size) {
            self.probe = None;
            self.tries += 1;
            if self.tries >= TRIES {
                self.refuse(size);
            }
        }
    }

    /// A datagram arrived that was not a probe.
    #[inline]
    pub fn on_acked(&mut self, size: usize, number: u64) {
        if size > BASE {
            self.black_hole.arrived = self.black_hole.arrived.max(Some(number));
            self.black_hole.bursts = 0;
        }
    }

    /// A datagram was lost that was not a probe. Of one acknowledgement, report what arrived first.
    pub fn on_lost(&mut self, now: Instant, size: usize, number: u64) {
        // What is lost in a full queue is followed by what is not.
        let black_hole = &mut self.black_hole;
        if size <= BASE || black_hole.arrived >= Some(number) || black_hole.burst == Some(now) {
            return;
        }
        black_hole.burst = Some(now);
        black_hole.bursts += 1;
        if black_hole.bursts >= BURSTS {
            self.fall(now);
        }
    }

    fn refuse(&mut self, size: usize) {
        self.tries = 0;
        self.refused = Some(self.refused.map_or(size, |refused| refused.min(size)));
    }

    /// Back to what always passes.
    fn fall(&mut self, now: Instant) {
        self.current = BASE;
        self.refused = None;
        self.probe = None;
        self.tries = 0;
        self.black_hole.bursts = 0;
        self.search = Search::Paused(now + AFTER_BLACK_HOLE);
    }

    /// The next rung of the ladder, or the middle between what passes and what does not.
    fn candidate(&self) -> Option<usize> {
        match self.refused {
            None => {
                let rung = self.ladder.iter().copied().find(|rung| *rung > self.current);
                rung.map(|rung| rung.min(self.limit)).filter(|rung| *rung > self.current)
            }
            Some(refused) => {
                let between = refused.saturating_sub(self.current);
                (between > GRAIN).then_some(self.current + between / 2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Probes until the search rests. Returns how many were sent.
    fn search(path: &mut PathMtu, now: Instant, carries: usize) -> usize {
        let mut probes = 0;
        while let Some(size) = path.poll_probe(now) {
            probes += 1;
            assert!(probes < 100);
            assert_eq!(path.poll_probe(now), None, "one at a time");
            if size <= carries { path.on_probe_acked(size) } else { path.on_probe_lost(size) }
        }
        probes
    }

    #[test]
    fn climbs_the_ladder_of_loopback() {
        let now = Instant::now();
        let mut path = PathMtu::new(false, usize::MAX);
        assert_eq!(search(&mut path, now, 65507), 6);
        assert_eq!(path.current(), 65507);
        let mut path = PathMtu::new(true, usize::MAX);
        assert_eq!(search(&mut path, now, 1 << 20), 6);
        assert_eq!(path.current(), 65487);
    }

    #[test]
    fn a_path_that_becomes_shorter_is_noticed_and_one_that_becomes_longer() {
        let start = Instant::now();
        let mut path = PathMtu::new(false, usize::MAX);
        search(&mut path, start, 1472);
        let found = path.current();
        assert!((1472 - GRAIN..=1472).contains(&found), "{found}");

        // Of what is lost some arrives: bad luck. Short datagrams say nothing.
        let at = |second| start + Duration::from_secs(second);
        for number in 0..100 {
            path.on_lost(at(number), 1400, 3 * number + 1);
            path.on_lost(at(number), 1400, 3 * number + 2);
            if number % 2 == 0 {
                path.on_acked(1400, 3 * number + 3);
            }
            path.on_acked(300, 3 * number + 3);
        }
        // Many are lost at a time, and the one behind them arrives.
        path.on_acked(1400, 2000);
        for number in 1000..2000 {
            path.on_lost(at(number), 1400, number);
        }
        assert_eq!(path.current(), found);

        for burst in 0..3 {
            assert_eq!(path.current(), found);
            for number in 0..10 {
                path.on_lost(at(200 + burst), 1400, 3000 + burst * 10 + number);
            }
        }
        assert_eq!((path.current(), path.poll_timeout()), (BASE, Some(at(262))));
        assert_eq!(path.poll_probe(at(261)), None);
        search(&mut path, at(262), 9000);
        assert!((8932..9000).contains(&path.current()), "{}", path.current());
        assert_eq!(path.poll_timeout(), Some(at(862)));
        search(&mut path, at(862), 65507);
        assert!(path.current() > 65507 - GRAIN, "{}", path.current());
    }

    proptest! {
        #[test]
        fn finds_what_a_path_carries(
            carries in BASE..70_000usize, limit in 0..70_000usize, v6: bool, lost in 0..TRIES,
        ) {
            let now = Instant::now();
            let mut path = PathMtu::new(v6, limit);
            let mut probes = 0;
            let mut unlucky = 0;
            while let Some(size) = path.poll_probe(now) {
                prop_assert!(size > path.current() && size <= limit.max(BASE));
                probes += 1;
                prop_assert!(probes < 100);
                // Some probes are lost by chance, fewer in a row than there are tries.
                if size <= carries && unlucky == lost {
                    unlucky = 0;
                    path.on_probe_acked(size);
                } else {
                    unlucky += u32::from(size <= carries);
                    path.on_probe_lost(size);
                }
                if size > carries { unlucky = 0; }
            }
            let longest = carries.min(limit.max(BASE)).min(if v6 { 65487 } else { 65507 });
            prop_assert!(path.current() <= longest);
            prop_assert!(path.current() + GRAIN >= longest, "{} of {longest}", path.current());
        }
    }
}
