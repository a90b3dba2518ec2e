//! What was sent and not acknowledged: which of it is lost, when to ask, and whether more may be sent.
//!
//! A packet is lost when some that were sent later have arrived, or one has and it is late itself. When nothing
//! arrives at all, a probe is sent. A number is used once: what was lost is sent again in a packet of a new one. Now
//! and then a number is left out, by chance: a peer that acknowledges what it does not have, to be sent more than
//! the path carries, acknowledges that one too (SPEC 10.13).
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fixp_transport::keep::own::recovery::{Config, Kind, Permit, Recovery};
//!
//! let (now, milli) = (Instant::now(), Duration::from_millis(1));
//! let mut recovery = Recovery::new(now, &Config::default(), 1, 1200);
//! for chunk in ["a", "b", "c", "d", "e"] {
//!     assert_eq!(recovery.permit(now, 1200), Permit::Now);
//!     recovery.on_sent(now, 1200, Kind::Data, chunk);
//! }
//! // All but the second have come.
//! recovery.on_acknowledged(now + 20 * milli, [2..=4, 0..=0].into_iter(), Duration::ZERO)?;
//! assert_eq!(recovery.poll_lost().unwrap().carried, "b");
//! // The highest range first, each of them upwards.
//! assert_eq!(recovery.poll_acked().unwrap().carried, "c");
//! # Ok::<(), fixp_transport::keep::own::recovery::Invalid>(())
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::congestion::{self, Congestion, Mark};
use super::pacer::Pacer;
use super::rtt::Rtt;

/// What recovery is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The round trip to assume before one is measured.
    pub assumed_rtt: Duration,
    /// How long the peer keeps an acknowledgement at most.
    pub peer_delay: Duration,
    /// Packets that are remembered at most; no more are permitted then. Each costs some 60 bytes beside what
    /// it carries.
    pub packets: usize,
    /// How fast, and how much.
    pub congestion: congestion::Config,
}

impl Config {
    /// Default of [`Config::assumed_rtt`]: with it the first probe goes after 300 ms.
    pub const ASSUMED_RTT: Duration = Duration::from_millis(100);
    /// Default of [`Config::peer_delay`], what SPEC 10.13 grants.
    pub const PEER_DELAY: Duration = Duration::from_millis(5);
    /// Default of [`Config::packets`]: 64 MiB under way in datagrams of 1 KiB, for 7 MB.
    pub const PACKETS: usize = 65536;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            assumed_rtt: Self::ASSUMED_RTT,
            peer_delay: Self::PEER_DELAY,
            packets: Self::PACKETS,
            congestion: congestion::Config::default(),
        }
    }
}

/// So many packets later have arrived when one is lost, at first and at most.
const REORDERING: u64 = 3;
const MOST_REORDERING: u64 = 1000;
/// After so many eighths of a round trip a packet before one that arrived is lost, at first and at most.
const LATE: u32 = 9;
const MOST_LATE: u32 = 16;
/// What a timer can tell apart.
const GRAIN: Duration = Duration::from_millis(1);
/// Packets for which an empty list keeps its room: a bulk of 64 KiB does not grow it anew.
const KEPT: usize = 64;
/// Lost packets that are remembered in case they arrive after all.
const REMEMBERED: usize = 128;
/// How many numbers there are at least, and less than how many more, from the beginning to the first one that is left
/// out, and from where one has been passed to the next.
const FIRST_GAP: (u64, u64) = (16, 48);
const NEXT_GAP: (u64, u64) = (64, 128);
/// It follows a packet of so many bytes at least: who has little to send has nothing to lose, and where request and
/// answer are one datagram each, none more is needed to acknowledge what seems to be missing.
const BULK: usize = 1000;
/// Probes at a time, and how long at most to wait for the next.
const PROBES: u32 = 2;
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// After so many probes without an answer the path counts as new.
const FORGOTTEN: u32 = 3;

/// What kind of packet is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It carries something that must arrive.
    Data,
    /// It only acknowledges: it takes a number, is not acknowledged itself, and not remembered.
    AckOnly,
    /// A long one, to see whether it passes. Its loss is no congestion.
    MtuProbe,
    /// It makes the peer say what has come.
    LossProbe,
}

/// Whether a packet may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permit {
    /// At once.
    Now,
    /// Not before this time.
    At(Instant),
    /// Not before something under way has arrived or is lost.
    Full,
}

/// A packet that is done: it has arrived, or is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone<T> {
    /// Its number.
    pub number: u64,
    /// Its length.
    pub bytes: usize,
    /// Its kind.
    pub kind: Kind,
    /// What it carried.
    pub carried: T,
}

/// The peer acknowledges a number that was never sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalid {
    /// That number.
    pub number: u64,
    /// The number that would have been the next.
    pub next: u64,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number {} is acknowledged, and {} would be the next", self.number, self.next)
    }
}

impl std::error::Error for Invalid {}

/// What an acknowledgement brought.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Outcome {
    /// Packets that had not been known to have arrived.
    pub acked: u64,
    /// Packets that are now lost.
    pub lost: u64,
    /// Packets that were lost before, and have arrived after all.
    pub late: u64,
}

/// A packet that is remembered.
#[derive(Clone, Debug)]
struct Sent<T> {
    number: u64,
    bytes: u32,
    kind: Kind,
    mark: Mark,
    /// None when it has arrived and one before it has not.
    carried: Option<T>,
}

/// A lost packet that may still arrive.
#[derive(Clone, Copy, Debug)]
struct Lost {
    number: u64,
    bytes: u32,
    counted: bool,
    /// When it was declared lost.
    since: Instant,
    /// It was lost for being late.
    late: bool,
}

/// All of one direction of an association; `T` is what a packet carries.
#[derive(Clone, Debug)]
pub struct Recovery<T> {
    config: Config,
    next: u64,
    /// The number that was left out last, and the lowest that may be next.
    gap: Option<u64>,
    next_gap: u64,
    /// What the peer must not be able to guess.
    secret: u64,
    /// Ascending by number; the first is under way.
    sent: VecDeque<Sent<T>>,
    in_flight: u64,
    largest_acked: Option<u64>,
    lost: VecDeque<Lost>,
    acked_queue: VecDeque<Gone<T>>,
    lost_queue: VecDeque<Gone<T>>,

    rtt: Rtt,
    reordering: u64,
    late: u32,
    loss_at: Option<Instant>,
    probe_at: Option<Instant>,
    /// When something that must arrive was sent last.
    last_sent: Instant,
    /// Probes since the last acknowledgement.
    probes: u32,
    /// By chance: how far the next probe is put off beyond its time.
    spread: u64,

    congestion: Congestion,
    pacer: Pacer,
    lost_packets: u64,
    late_packets: u64,
}

impl<T> Recovery<T> {
    /// Nothing has been sent. Datagrams have this size for now. The seed must be one that the peer cannot guess.
    #[must_use]
    pub fn new(now: Instant, config: &Config, seed: u64, datagram: usize) -> Self {
        let congestion = Congestion::new(now, &config.congestion, seed, datagram);
        Self {
            pacer: Pacer::new(now, congestion.burst()),
            congestion,
            config: config.clone(),
            next: 0,
            gap: None,
            next_gap: chance(seed, 0, FIRST_GAP),
            secret: seed,
            sent: VecDeque::new(),
            in_flight: 0,
            largest_acked: None,
            lost: VecDeque::new(),
            acked_queue: VecDeque::new(),
            lost_queue: VecDeque::new(),
            rtt: Rtt::new(config.assumed_rtt),
            reordering: REORDERING,
            late: LATE,
            loss_at: None,
            probe_at: None,
            last_sent: now,
            probes: 0,
            spread: seed,
            lost_packets: 0,
            late_packets: 0,
        }
    }

    /// The bytes of what is remembered of a packet.
    pub(super) const RECORD: usize = size_of::<Sent<T>>();

    /// Packets for which there is room, or will be with one more that is sent.
    pub(super) fn room(&self) -> usize {
        let room = self.sent.capacity();
        if self.sent.len() < room { room } else { 2 * room }
    }

    /// Packets that are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.sent.len()
    }

    /// The number of the packet that is sent next.
    #[must_use]
    pub const fn next_number(&self) -> u64 {
        self.next
    }

    /// Whether a packet of so many bytes may be sent. Acknowledgements and probes need no permit.
    #[inline]
    pub fn permit(&mut self, now: Instant, bytes: usize) -> Permit {
        if self.in_flight >= self.congestion.window() || self.sent.len() >= self.config.packets {
            return Permit::Full;
        }
        self.pacer.permit(now, bytes).map_or(Permit::Now, Permit::At)
    }

    /// A packet is sent. Returns its number.
    pub fn on_sent(&mut self, now: Instant, bytes: usize, kind: Kind, carried: T) -> u64 {
        let number = self.next;
        self.next += 1;
        if self.next >= self.next_gap && bytes >= BULK {
            self.gap = Some(self.next);
            self.next_gap = u64::MAX;
            self.next += 1;
        }
        self.pacer.sent(bytes);
        if kind == Kind::AckOnly {
            return number;
        }
        let mark = self.congestion.on_sent(now, self.in_flight, bytes);
        let length = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.in_flight += u64::from(length);
        self.sent.push_back(Sent { number, bytes: length, kind, mark, carried: Some(carried) });
        self.last_sent = now;
        self.probe_at = Some(now + self.probe_timeout());
        number
    }

    /// The peer tells which numbers have come, the highest first, and how long it has kept that.
    ///
    /// # Errors
    ///
    /// When a number was never sent. Nothing has changed if it is in the first range, where the largest is.
    pub fn on_acknowledged(
        &mut self,
        now: Instant,
        ranges: impl Iterator<Item = RangeInclusive<u64>>,
        delay: Duration,
    ) -> Result<Outcome, Invalid> {
        let mut outcome = Outcome::default();
        let mut largest = None;
        for range in ranges {
            let (first, last) = range.into_inner();
            if last >= self.next {
                return Err(Invalid { number: last, next: self.next });
            }
            if let Some(gap) = self.gap.filter(|gap| (first..=last).contains(gap)) {
                return Err(Invalid { number: gap, next: self.next });
            }
            if largest.is_none() {
                largest = Some(last);
                self.largest_acked = self.largest_acked.max(largest);
            }
            if let Some(sent_at) = self.arrived(now, first, last, &mut outcome)
                && largest == Some(last)
            {
                let held = delay.min(self.config.peer_delay);
                self.rtt.measured(now, now.saturating_duration_since(sent_at), held);
            }
            self.arrived_late(first, last, &mut outcome);
            if first <= self.oldest_remembered() {
                break;
            }
        }
        outcome.lost = self.detect_lost(now);
        // About once in a round trip: everything before the last one is settled.
        if self.gap.is_some_and(|gap| gap < self.oldest_remembered()) && self.gap < self.largest_acked {
            self.gap = None;
            self.next_gap = self.next + chance(self.secret, self.next, NEXT_GAP);
        }
        if outcome.acked > 0 {
            self.congestion.on_acknowledgement(now, &self.rtt, self.in_flight);
            self.pacer.set(now, self.congestion.rate(), self.congestion.burst());
        }
        if self.in_flight == 0 {
            self.probe_at = None;
        } else if outcome.acked > 0 {
            let earliest = now + GRAIN;
            self.probe_at = Some((self.last_sent + self.probe_timeout()).max(earliest));
        }
        Ok(outcome)
    }

    /// The next packet that has arrived.
    #[inline]
    pub fn poll_acked(&mut self) -> Option<Gone<T>> {
        pop(&mut self.acked_queue)
    }

    /// The next packet that was lost. What it carried is to be sent again.
    #[inline]
    pub fn poll_lost(&mut self) -> Option<Gone<T>> {
        pop(&mut self.lost_queue)
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    #[inline]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.loss_at.or(self.probe_at)
    }

    /// Time has passed. Returns how many probes are to be sent now, whatever the window says.
    pub fn handle_timeout(&mut self, now: Instant) -> u32 {
        if self.loss_at.is_some_and(|at| at <= now) {
            self.detect_lost(now);
            if self.in_flight == 0 {
                self.probe_at = None;
            }
        }
        if self.loss_at.is_some() || self.probe_at.is_none_or(|at| at > now) {
            return 0;
        }
        self.probes = self.probes.saturating_add(1);
        // A multiplier and an increment of the field (Knuth, MMIX).
        self.spread =
            self.spread.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.probe_at = Some(now + self.probe_timeout());
        PROBES
    }

    /// Whether [`on_limited`](Self::on_limited) would say nothing new.
    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.congestion.is_limited(self.in_flight)
    }

    /// There is nothing to send, though [`permit`](Self::permit) says [`Permit::Now`].
    #[inline]
    pub fn on_limited(&mut self, _now: Instant) {
        self.congestion.on_limited(self.in_flight);
    }

    /// What is under way, the oldest first, with its number: a probe carries it again.
    pub fn under_way(&self) -> impl Iterator<Item = (u64, &T)> {
        self.sent.iter().filter_map(|sent| Some((sent.number, sent.carried.as_ref()?)))
    }

    /// The size of datagrams has changed.
    pub fn set_datagram(&mut self, bytes: usize) {
        self.congestion.set_datagram(bytes);
    }

    /// The peer has told the bytes of its socket buffer.
    pub fn set_peer_buffer(&mut self, bytes: u64) {
        self.congestion.set_peer_buffer(bytes);
    }

    /// A round trip was measured otherwise, at the opening.
    pub fn on_round_trip(&mut self, now: Instant, time: Duration) {
        self.rtt.measured(now, time, Duration::ZERO);
    }

    /// What is known of the time of a round trip.
    #[must_use]
    pub const fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// Bytes under way.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Bytes that may be under way.
    #[must_use]
    pub fn window(&self) -> u64 {
        self.congestion.window()
    }

    /// The rate at which to send, in bytes per second.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.congestion.rate()
    }

    /// The rate at which packets arrive at best, in bytes per second; 0 when nothing is known.
    #[must_use]
    pub fn delivery_rate(&self) -> u64 {
        self.congestion.delivery_rate()
    }

    /// Packets that were lost, with those that arrived after all.
    #[must_use]
    pub const fn lost_packets(&self) -> u64 {
        self.lost_packets
    }

    /// Packets that counted as lost and arrived after all.
    #[must_use]
    pub const fn late_packets(&self) -> u64 {
        self.late_packets
    }

    /// Probes since the peer acknowledged anything new.
    #[must_use]
    pub const fn probes(&self) -> u32 {
        self.probes
    }

    /// Numbers of a range have arrived. Returns when the last of the range was sent, if it is news.
    fn arrived(&mut self, now: Instant, first: u64, last: u64, outcome: &mut Outcome) -> Option<Instant> {
        // Mostly the range begins before all that is under way.
        let mut at = match self.sent.front() {
            Some(front) if front.number >= first => 0,
            _ => self.sent.partition_point(|sent| sent.number < first),
        };
        let mut sent_at = None;
        while let Some(sent) = self.sent.get_mut(at)
            && sent.number <= last
        {
            at += 1;
            let Some(carried) = sent.carried.take() else { continue };
            if self.probes >= FORGOTTEN {
                self.congestion.restart(now);
            }
            self.probes = 0;
            let bytes = sent.bytes as usize;
            if sent.number == last {
                sent_at = Some(sent.mark.sent_at());
            }
            self.in_flight -= u64::from(sent.bytes);
            self.congestion.on_acked(&sent.mark, bytes);
            outcome.acked += 1;
            self.acked_queue.push_back(Gone { number: sent.number, bytes, kind: sent.kind, carried });
        }
        sent_at
    }

    /// What counted as lost and is in a range was only late: the network reorders more than was known.
    fn arrived_late(&mut self, first: u64, last: u64, outcome: &mut Outcome) {
        if self.lost.back().is_none_or(|lost| lost.number < first) {
            return;
        }
        let at = self.lost.partition_point(|lost| lost.number < first);
        while self.lost.get(at).is_some_and(|lost| lost.number <= last)
            && let Some(lost) = self.lost.remove(at)
        {
            outcome.late += 1;
            self.late_packets += 1;
            let distance = self.largest_acked.unwrap_or(0).saturating_sub(lost.number);
            self.reordering = self.reordering.max(distance.saturating_add(1).min(MOST_REORDERING));
            if lost.late {
                self.late = (self.late + 1).min(MOST_LATE);
            }
            if lost.counted {
                self.congestion.on_not_lost(lost.bytes as usize);
            }
        }
    }

    /// The smallest number of which an acknowledgement would be news, or nearly.
    fn oldest_remembered(&self) -> u64 {
        let sent = self.sent.front().map_or(self.next, |sent| sent.number);
        self.lost.front().map_or(sent, |lost| lost.number.min(sent))
    }

    /// Declares lost what is, always the oldest, and sets the timer for the next.
    fn detect_lost(&mut self, now: Instant) -> u64 {
        self.loss_at = None;
        while self.sent.pop_front_if(|sent| sent.carried.is_none()).is_some() {}
        if self.sent.is_empty() && self.lost.is_empty() {
            give_back(&mut self.sent);
            return 0;
        }
        let trip = self.rtt.smoothed().max(self.rtt.latest());
        let patience = (trip * self.late / 8).max(GRAIN);
        // What comes later than this is no reordering, and acknowledgements need not be searched for it.
        while self.lost.pop_front_if(|lost| lost.since + patience * 2 <= now).is_some() {}
        let mut count = 0;
        while let Some(front) = self.sent.front() {
            if front.carried.is_some() {
                let Some(distance) = self.largest_acked.and_then(|largest| largest.checked_sub(front.number))
                else {
                    break;
                };
                let late_at = front.mark.sent_at() + patience;
                let late = late_at <= now;
                if distance < self.reordering && !late {
                    self.loss_at = Some(late_at);
                    break;
                }
                count += 1;
                self.lose_front(now, distance < self.reordering);
            } else {
                self.sent.pop_front();
            }
        }
        give_back(&mut self.sent);
        count
    }

    fn lose_front(&mut self, now: Instant, late: bool) {
        let Some(sent) = self.sent.pop_front() else { return };
        let Some(carried) = sent.carried else { return };
        let (number, bytes, kind) = (sent.number, sent.bytes as usize, sent.kind);
        self.in_flight -= u64::from(sent.bytes);
        let counted = kind != Kind::MtuProbe;
        if counted {
            self.congestion.on_lost(bytes);
            self.lost_packets += 1;
        }
        if self.lost.len() >= REMEMBERED {
            self.lost.pop_front();
        }
        self.lost.push_back(Lost { number, bytes: sent.bytes, counted, since: now, late });
        self.lost_queue.push_back(Gone { number, bytes, kind, carried });
    }

    /// How long to wait for an acknowledgement of what was sent last: from the second time on up to half as long
    /// again by chance. Many who began in the same instant would else all fill the same queue together, each time
    /// anew, and always the same ones would find room in it.
    fn probe_timeout(&self) -> Duration {
        let once = self.rtt.smoothed() + (self.rtt.variation() * 4).max(GRAIN) + self.config.peer_delay;
        if self.probes == 0 {
            return once;
        }
        let wait = (once * (1 << self.probes.min(10))).min(LONGEST_WAIT.max(once));
        let parts = u32::try_from(self.spread >> 48).unwrap_or(0);
        wait + wait / (1 << 17) * parts
    }
}

/// A number that nobody can guess who does not know the secret: at least the first of these, and less than the
/// second more.
fn chance(secret: u64, of: u64, (least, more): (u64, u64)) -> u64 {
    let mut hasher = DefaultHasher::new();
    (secret, of).hash(&mut hasher);
    least + hasher.finish() % more
}

fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if first.is_none() {
        give_back(queue);
    }
    first
}

/// An empty list does not keep what it has grown to: an association may be idle for long.
fn give_back<T>(list: &mut VecDeque<T>) {
    if list.is_empty() && list.capacity() > KEPT {
        *list = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::keep::own::association::Carried;
    use crate::keep::own::ranges::Ranges;

    const MILLI: Duration = Duration::from_millis(1);
    /// The first probe: 100 ms assumed, four times half of it, 5 ms of the peer's.
    const FIRST_PROBE: Duration = Duration::from_millis(305);

    /// One is kept for each packet under way, out of an eighth of the window for sending.
    #[test]
    fn a_record_is_small() {
        assert!(size_of::<Sent<Carried>>() <= 96);
    }

    fn recovery(now: Instant) -> Recovery<u64> {
        Recovery::new(now, &Config::default(), 1, 1200)
    }

    fn send(recovery: &mut Recovery<u64>, now: Instant, count: u64) {
        for _ in 0..count {
            let number = recovery.next_number();
            assert_eq!(recovery.on_sent(now, 1200, Kind::Data, number), number);
        }
    }

    fn ack(recovery: &mut Recovery<u64>, now: Instant, ranges: &[RangeInclusive<u64>]) -> Outcome {
        recovery.on_acknowledged(now, ranges.iter().cloned(), Duration::ZERO).unwrap()
    }

    fn lost(recovery: &mut Recovery<u64>) -> Vec<u64> {
        std::iter::from_fn(|| recovery.poll_lost()).map(|gone| gone.carried).collect()
    }

    fn acked(recovery: &mut Recovery<u64>) -> Vec<u64> {
        std::iter::from_fn(|| recovery.poll_acked()).map(|gone| gone.carried).collect()
    }

    #[test]
    fn three_later_ones_make_it_lost() {
        let now = Instant::now();
        let mut recovery = recovery(now);
        send(&mut recovery, now, 6);
        assert_eq!(ack(&mut recovery, now + 10 * MILLI, &[2..=2, 0..=0]).lost, 0);
        assert_eq!(acked(&mut recovery), [2, 0]);
        // 3 is two later than 1; 4 is three later.
        assert_eq!(ack(&mut recovery, now + 10 * MILLI, &[2..=3, 0..=0]).lost, 0);
        assert_eq!(ack(&mut recovery, now + 10 * MILLI, &[2..=4, 0..=0]).lost, 1);
        assert_eq!(lost(&mut recovery), [1]);
        assert_eq!((recovery.in_flight(), recovery.lost_packets()), (1200, 1));
    }

    #[test]
    fn one_later_one_and_an_eighth_of_a_round_trip_make_it_lost() {
        let now = Instant::now();
        let mut recovery = recovery(now);
        send(&mut recovery, now, 2);
        ack(&mut recovery, now + 80 * MILLI, &[1..=1]);
        assert_eq!(recovery.poll_timeout(), Some(now + 90 * MILLI));
        assert_eq!(recovery.handle_timeout(now + 89 * MILLI), 0);
        assert!(lost(&mut recovery).is_empty());
        assert_eq!(recovery.handle_timeout(now + 90 * MILLI), 0);
        assert_eq!(lost(&mut recovery), [0]);
        assert_eq!((recovery.poll_timeout(), recovery.in_flight()), (None, 0));
    }

    #[test]
    fn probes_go_when_nothing_comes_and_twice_as_late_each_time() {
        let mut now = Instant::now();
        let mut recovery = recovery(now);
        send(&mut recovery, now, 1);
        for doubled in [1, 2, 4, 8] {
            let wait = recovery.poll_timeout().unwrap() - now;
            let most = if doubled == 1 { FIRST_PROBE } else { FIRST_PROBE * doubled * 3 / 2 };
            assert!((FIRST_PROBE * doubled..=most).contains(&wait), "{wait:?}");
            now += wait;
            assert_eq!(recovery.handle_timeout(now), 2);
            assert_eq!(recovery.handle_timeout(now), 0);
        }
        now += recovery.poll_timeout().unwrap() - now;
        assert_eq!(recovery.handle_timeout(now), 2);
        let wait = recovery.poll_timeout().unwrap() - now;
        assert!((LONGEST_WAIT..=LONGEST_WAIT * 3 / 2).contains(&wait), "{wait:?}");
        assert!(lost(&mut recovery).is_empty(), "nothing says that it is lost");
        assert_eq!(recovery.under_way().collect::<Vec<_>>(), [(0, &0)]);
        assert_eq!(recovery.probes(), 5);

        // A probe arrives: the path counts as new, and what was before it is lost.
        let probe = recovery.on_sent(now, 1200, Kind::LossProbe, 7);
        ack(&mut recovery, now + 50 * MILLI, &[probe..=probe]);
        assert_eq!((lost(&mut recovery), recovery.probes()), (vec![0], 0));
        assert_eq!(recovery.poll_timeout(), None);
    }

    #[test]
    fn what_was_only_late_makes_patient() {
        let now = Instant::now();
        let mut recovery = recovery(now);
        send(&mut recovery, now, 30);
        assert_eq!(ack(&mut recovery, now + 20 * MILLI, &[9..=9]).lost, 7);
        assert_eq!(lost(&mut recovery), [0, 1, 2, 3, 4, 5, 6]);
        let outcome = ack(&mut recovery, now + 20 * MILLI, &[4..=9]);
        assert_eq!(outcome, Outcome { acked: 2, lost: 0, late: 3 });
        assert_eq!(acked(&mut recovery), [9, 7, 8], "the late ones have been told as lost");
        // The same is no news.
        assert_eq!(ack(&mut recovery, now + 20 * MILLI, &[4..=9]), Outcome::default());
        assert_eq!(recovery.late_packets(), 3);
        // 4 came after 9: five later ones are nothing strange any more, six are.
        assert_eq!(ack(&mut recovery, now + 20 * MILLI, &[15..=15]).lost, 0);
        assert_eq!(ack(&mut recovery, now + 20 * MILLI, &[15..=16]).lost, 1);
        assert_eq!(lost(&mut recovery), [10]);
    }

    #[test]
    fn a_number_that_was_never_sent_is_invalid() {
        let now = Instant::now();
        let mut recovery = recovery(now);
        send(&mut recovery, now, 3);
        let invalid = recovery.on_acknowledged(now, [2..=3].into_iter(), Duration::ZERO);
        assert_eq!(invalid, Err(Invalid { number: 3, next: 3 }));
        assert_eq!(recovery.in_flight(), 3600);
        assert_eq!(recovery.on_acknowledged(now, std::iter::empty(), Duration::ZERO), Ok(Outcome::default()));
    }

    /// SPEC 10.13: a number is left out now and then, and who acknowledges what it cannot know to have been sent
    /// acknowledges that one.
    #[test]
    fn a_peer_that_acknowledges_blindly_is_found_out() {
        for seed in 0..50 {
            let mut now = Instant::now();
            let mut recovery = Recovery::new(now, &Config::default(), seed, 1200);
            let (mut come, mut gaps, mut last) = (Ranges::new(64), Vec::new(), None);
            for _ in 0..40 {
                for _ in 0..20 {
                    let number = recovery.on_sent(now, 1200, Kind::Data, 0);
                    gaps.extend((last.map_or(0, |last| last + 1)..number).filter(|_| last.is_some()));
                    last = Some(number);
                    come.insert(number);
                }
                now += 10 * MILLI;
                // All of it up to the largest, without a look.
                let blind =
                    recovery.clone().on_acknowledged(now, [0..=last.unwrap()].into_iter(), Duration::ZERO);
                let gap = gaps.last().filter(|&&gap| gap + 20 >= last.unwrap());
                if let Some(&gap) = gap {
                    assert_eq!(blind, Err(Invalid { number: gap, next: recovery.next_number() }));
                }
                assert!(
                    recovery.on_acknowledged(now, come.iter(), Duration::ZERO).is_ok(),
                    "who is honest is not"
                );
            }
            assert!((3..=12).contains(&gaps.len()), "seed {seed}: {gaps:?}");
            assert!((16..64).contains(&gaps[0]));
        }
    }

    #[test]
    fn acknowledgements_are_not_remembered_and_long_probes_are_no_loss() {
        let now = Instant::now();
        let mut recovery = recovery(now);
        assert_eq!(recovery.on_sent(now, 60, Kind::AckOnly, 0), 0);
        assert_eq!((recovery.in_flight(), recovery.poll_timeout()), (0, None));
        assert_eq!(recovery.on_sent(now, 9000, Kind::MtuProbe, 1), 1);
        recovery.on_sent(now, 60, Kind::AckOnly, 2);
        send(&mut recovery, now, 2);
        assert_eq!(recovery.in_flight(), 9000 + 2400);
        assert_eq!(
            ack(&mut recovery, now + 10 * MILLI, &[2..=4, 0..=0]),
            Outcome { acked: 2, lost: 1, late: 0 }
        );
        let gone = recovery.poll_lost().unwrap();
        assert_eq!((gone.number, gone.bytes, gone.kind), (1, 9000, Kind::MtuProbe));
        assert_eq!(recovery.lost_packets(), 0);
    }

    #[test]
    fn the_packets_remembered_are_bounded() {
        let now = Instant::now();
        let config = Config { packets: 5, ..Config::default() };
        let mut recovery = Recovery::new(now, &config, 1, 1200);
        for _ in 0..5 {
            assert_eq!(recovery.permit(now, 10), Permit::Now);
            recovery.on_sent(now, 10, Kind::Data, ());
        }
        assert_eq!(recovery.permit(now, 10), Permit::Full);
        recovery.on_acknowledged(now + MILLI, [0..=0].into_iter(), Duration::ZERO).unwrap();
        assert_eq!(recovery.permit(now + MILLI, 10), Permit::Now);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send(usize, Kind, u8),
        /// Which of the latest numbers arrive.
        Arrive(Vec<u64>),
        Acknowledge,
        Wait(u64),
        /// Until the timer.
        Timer,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let kinds = prop_oneof![
            6 => Just(Kind::Data),
            1 => Just(Kind::AckOnly),
            1 => Just(Kind::MtuProbe),
            1 => Just(Kind::LossProbe)
        ];
        let step = prop_oneof![
            4 => (1..2000usize, kinds, 1..20u8).prop_map(|(bytes, kind, count)| Step::Send(bytes, kind, count)),
            3 => prop::collection::vec(0..60u64, 0..20).prop_map(Step::Arrive),
            3 => Just(Step::Acknowledge),
            2 => (0..100_000u64).prop_map(Step::Wait),
            2 => Just(Step::Timer),
        ];
        prop::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn each_packet_is_acked_or_lost_once_and_the_sums_hold(steps in steps(), seed: u64) {
            let mut now = Instant::now();
            let mut recovery = Recovery::new(now, &Config::default(), seed, 1200);
            let mut come = Ranges::new(64);
            let mut arrived = std::collections::BTreeSet::new();
            let mut under_way: BTreeMap<u64, usize> = BTreeMap::new();
            let mut sent = std::collections::BTreeSet::new();
            for step in steps {
                match step {
                    Step::Send(bytes, kind, count) => for _ in 0..count {
                        match recovery.permit(now, bytes) {
                            Permit::Now => {}
                            Permit::At(at) => prop_assert!(at > now),
                            Permit::Full => prop_assert!(recovery.in_flight() > 0),
                        }
                        let number = recovery.on_sent(now, bytes, kind, recovery.next_number());
                        sent.insert(number);
                        if kind != Kind::AckOnly {
                            under_way.insert(number, bytes);
                        }
                    },
                    Step::Arrive(back) => for back in back {
                        if let Some(number) = recovery.next_number().checked_sub(back + 1)
                            && sent.contains(&number)
                        {
                            come.insert(number);
                            arrived.insert(number);
                        }
                    },
                    Step::Acknowledge => {
                        let delay = Duration::from_micros(seed % 10_000);
                        recovery.on_acknowledged(now, come.iter(), delay).unwrap();
                        for range in come.iter() {
                            let left = recovery.under_way().find(|(number, _)| range.contains(number));
                            prop_assert_eq!(left, None);
                        }
                    }
                    Step::Wait(micros) => now += Duration::from_micros(micros),
                    Step::Timer => if let Some(at) = recovery.poll_timeout() {
                        now = now.max(at);
                        recovery.handle_timeout(now);
                        prop_assert!(recovery.poll_timeout().is_none_or(|at| at > now));
                    },
                }
                while let Some(gone) = recovery.poll_acked() {
                    prop_assert_eq!(gone.carried, gone.number);
                    prop_assert!(arrived.contains(&gone.number));
                    prop_assert_eq!(under_way.remove(&gone.number), Some(gone.bytes));
                }
                while let Some(gone) = recovery.poll_lost() {
                    prop_assert_eq!(gone.carried, gone.number);
                    prop_assert!(come.largest() > Some(gone.number), "a later one has come");
                    prop_assert_eq!(under_way.remove(&gone.number), Some(gone.bytes));
                }
                prop_assert_eq!(recovery.in_flight(), under_way.values().sum::<usize>() as u64);
                let left: Vec<u64> = recovery.under_way().map(|(number, _)| number).collect();
                prop_assert_eq!(left, under_way.keys().copied().collect::<Vec<_>>());
                prop_assert_eq!(recovery.poll_timeout().is_some(), !under_way.is_empty());
                prop_assert!(recovery.window() >= 4 * 1200);
                prop_assert!(recovery.rate() > 0);
            }
        }
    }
}
