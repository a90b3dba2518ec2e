//! How fast to send, and how much may be under way: from the rate at which packets arrive, and the shortest
//! round trip, in the spirit of BBR.
//!
//! What a path carries is the largest rate at which packets arrived lately; what it holds without a queue is
//! that rate times the shortest round trip. A packet lost now and then says nothing about either. Only when
//! much of a round is lost does a ceiling come down to the rate that got through, and rises again with time.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fixp_transport::keep::own::{congestion::{Config, Congestion}, rtt::Rtt};
//!
//! let (start, trip) = (Instant::now(), Duration::from_millis(50));
//! let mut control = Congestion::new(start, &Config::default(), 1, 1200);
//! let mut rtt = Rtt::new(trip);
//! assert_eq!(control.window(), 12_000);
//!
//! let mark = control.on_sent(start, 0, 1200);
//! rtt.measured(start + trip, trip, Duration::ZERO);
//! control.on_acked(&mark, 1200);
//! control.on_acknowledgement(start + trip, &rtt, 0);
//! assert!(control.window() > 12_000);
//! ```

use std::time::{Duration, Instant};

use super::pacer::FASTEST;
use super::rtt::Rtt;

/// What the controller is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Datagrams that may be under way at first; long ones fewer, two at least and 14,720 bytes (RFC 9002, 7.2).
    pub initial_datagrams: u64,
    /// Bytes under way at most, however much the path holds. What is sent is remembered until then.
    pub most_in_flight: u64,
    /// The bytes of the peer's socket buffer.
    pub peer_buffer: u64,
}

impl Config {
    /// Default of [`Config::initial_datagrams`], that of QUIC and TCP.
    pub const INITIAL_DATAGRAMS: u64 = 10;
    /// Default of [`Config::most_in_flight`], 64 MiB: 10 Gbit/s around 50 ms.
    pub const MOST_IN_FLIGHT: u64 = 64 << 20;
    /// Default of [`Config::peer_buffer`], that of Linux.
    pub const PEER_BUFFER: u64 = 212_992;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            initial_datagrams: Self::INITIAL_DATAGRAMS,
            most_in_flight: Self::MOST_IN_FLIGHT,
            peer_buffer: Self::PEER_BUFFER,
        }
    }
}

/// Rounds over which the largest rate is remembered.
const ROUNDS: usize = 10;
/// A round counts as at least this long there: on loopback ten of them would be over in one scheduling.
const SHORTEST_ROUND: Duration = Duration::from_millis(10);
/// And as at most so many shortest round trips: behind a long queue ten of them would be seconds.
const LONGEST_ROUND: f64 = 1.25;
/// In startup: 4 ln 2, the least with which what arrives doubles each round.
const STARTUP_GAIN: f64 = 2.77;
/// Startup ends when so many rounds brought less than a quarter more.
const STALLED_ROUNDS: u32 = 3;
const GROWTH: f64 = 1.25;
/// The cycle of cruising: look for more, let the queue of that go, then keep to what is known.
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
/// So much is left free while cruising, that a queue is not kept by errors of measurement.
const MARGIN: f64 = 0.99;
/// So much more than before makes a probe worth repeating at once.
const FOUND: f64 = 1.125;
/// The window in products of rate and round trip, so that what is under way may vary.
const WINDOW_GAIN: f64 = 1.5;
const WINDOW_VARIATIONS: f64 = 4.0;
/// How long the shortest round trip is believed, how long a new one is looked for, and with how much less.
const BELIEVED: Duration = Duration::from_secs(10);
/// How long it is believed when all are so much longer that the window does not suffice: the way has changed.
const DOUBTED: Duration = Duration::from_secs(2);
const PROBE_RTT: Duration = Duration::from_millis(200);
const PROBE_RTT_GAIN: f64 = 0.5;
/// A round trip longer by no more than this part confirms the shortest.
const CONFIRMS: u32 = 32;
/// Below this round trip, timers and system calls take longer than the path: what is under way is in the
/// peer's socket buffer, and that is the bound.
const NEAR: Duration = Duration::from_millis(1);
/// The part of a round, and the least number of packets, whose loss lowers the ceiling.
const HEAVY_LOSS: f64 = 0.15;
const HEAVY_PACKETS: u64 = 4;
/// Loss that is there whatever is sent is sent in addition, up to this part; it is told from so many datagrams.
const MOST_USUAL_LOSS: f64 = 0.35;
const SAMPLE_DATAGRAMS: u64 = 64;
/// By how much the ceiling rises in a round without heavy loss.
const CEILING_RISE: f64 = 1.0 / 16.0;
/// The window is never less than this many datagrams. Of long ones fewer count: so many bytes, two at least.
const LEAST_DATAGRAMS: u64 = 4;
const FEW_BYTES: u64 = 14_720;
const FEW_DATAGRAMS: u64 = 2;
/// The least burst of the pacer in bytes, and how long one is at a high rate.
const BURST: u64 = 16 << 10;
const BURST_TIME: Duration = Duration::from_millis(1);

/// What a packet remembers from when it was sent, to measure a rate by when it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    sent_at: Instant,
    /// All bytes that had arrived by then, and how long before the last of these did.
    delivered: u64,
    delivered_before: Before,
    /// How long before the first packet of the flight was sent.
    flight_before: Before,
    /// There was not enough to send.
    limited: bool,
}

/// A time before another, in [`Before::GRAIN`]: one is kept for each packet under way, so it has four bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Before(u32);

impl Before {
    /// What it is counted in, in nanoseconds: up to 42 s, longer than an association with something under way is
    /// not heard of.
    const GRAIN: u64 = 10;

    fn of(now: Instant, then: Instant) -> Self {
        if now == then {
            return Self(0);
        }
        let nanos = u64::try_from(now.saturating_duration_since(then).as_nanos()).unwrap_or(u64::MAX);
        Self(u32::try_from(nanos / Self::GRAIN).unwrap_or(u32::MAX))
    }

    fn time(self) -> Duration {
        Duration::from_nanos(u64::from(self.0) * Self::GRAIN)
    }
}

impl Mark {
    /// When the packet was sent.
    #[must_use]
    pub const fn sent_at(&self) -> Instant {
        self.sent_at
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Mode {
    /// Each round twice the rate, until no more arrives.
    Startup { best: f64, stalled: u32 },
    /// The queue of startup goes.
    Drain,
    /// A phase of the cycle, and since when.
    Cruise { phase: usize, since: Instant, best: f64 },
    /// Little is sent, to see the round trip without a queue.
    ProbeRtt { until: Option<Instant>, shortest: Duration },
}

/// The controller.
#[derive(Clone, Debug)]
pub struct Congestion {
    config: Config,
    datagram: u64,
    random: u64,
    mode: Mode,
    window: u64,
    rate: u64,
    burst: u64,

    /// Bytes that have arrived, ever, and when.
    delivered: u64,
    delivered_at: Instant,
    flight_began: Instant,
    /// What is sent until this much has arrived, was sent for want of more.
    limited_until: u64,
    /// The mark of the packet sent last among those just acknowledged; what came with it.
    newest: Option<Mark>,
    acked: u64,

    round: Round,
    /// Rates in bytes per second.
    rates: Highest,
    /// Parts of rounds that arrived: what is lost in the best round is lost whatever we send.
    arriving: Highest,
    sample: Sample,
    /// A round has passed since it drained.
    settled: bool,
    /// Bytes per second, none for no ceiling.
    ceiling: Option<f64>,
    shortest: Option<Duration>,
    /// The round trip without a queue, in seconds; as long as a timer can tell.
    trip: f64,
    shortest_at: Instant,
    /// When one was measured with which the window still suffices.
    similar_at: Instant,
}

/// A round trip's worth of packets.
#[derive(Clone, Copy, Default, Debug)]
struct Round {
    /// It ends with a packet that was sent after this much had arrived.
    ends: u64,
    delivered: u64,
    lost: u64,
    lost_packets: u64,
    /// The largest rate measured in it.
    rate: f64,
}

/// Packets of one or more rounds, enough to tell which part of them arrived.
#[derive(Clone, Copy, Default, Debug)]
struct Sample {
    delivered: u64,
    lost: u64,
}

/// The highest of what was measured in the last rounds.
#[derive(Clone, Copy, Debug)]
struct Highest {
    rounds: [f64; ROUNDS],
    at: usize,
    since: Instant,
    max: f64,
}

impl Highest {
    fn new(now: Instant) -> Self {
        Self { rounds: [0.0; ROUNDS], at: 0, since: now, max: 0.0 }
    }

    fn add(&mut self, measured: f64) {
        if let Some(here) = self.rounds.get_mut(self.at) {
            *here = here.max(measured);
        }
        self.max = self.max.max(measured);
    }

    fn next_round(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= SHORTEST_ROUND {
            self.since = now;
            self.at = (self.at + 1) % ROUNDS;
            if let Some(here) = self.rounds.get_mut(self.at) {
                *here = 0.0;
            }
            self.max = self.rounds.iter().copied().fold(0.0, f64::max);
        }
    }
}

impl Congestion {
    /// A controller of a path of which nothing is known; datagrams have this size for now.
    #[must_use]
    pub fn new(now: Instant, config: &Config, seed: u64, datagram: usize) -> Self {
        let datagram = (datagram as u64).max(1);
        let mut new = Self {
            config: config.clone(),
            datagram,
            random: seed,
            mode: Mode::Startup { best: 0.0, stalled: 0 },
            window: 0,
            rate: FASTEST,
            burst: 0,
            delivered: 0,
            delivered_at: now,
            flight_began: now,
            limited_until: 0,
            newest: None,
            acked: 0,
            round: Round::default(),
            rates: Highest::new(now),
            arriving: Highest::new(now),
            sample: Sample::default(),
            settled: false,
            ceiling: None,
            shortest: None,
            trip: NEAR.as_secs_f64(),
            shortest_at: now,
            similar_at: now,
        };
        new.window = new.initial_window();
        new.burst = new.window;
        new
    }

    /// The size of datagrams has changed.
    pub fn set_datagram(&mut self, datagram: usize) {
        self.datagram = (datagram as u64).max(1);
        self.window = self.window.max(self.least_window());
    }

    /// The peer has told the bytes of its socket buffer.
    pub fn set_peer_buffer(&mut self, bytes: u64) {
        self.config.peer_buffer = bytes;
    }

    /// Bytes that may be under way.
    #[must_use]
    pub fn window(&self) -> u64 {
        let window = match self.mode {
            Mode::ProbeRtt { .. } => self.window.min(self.product(PROBE_RTT_GAIN) as u64),
            _ => self.window,
        };
        let window = window.min(self.config.most_in_flight).max(self.least_window());
        if self.is_near() {
            window.min((self.config.peer_buffer / 2).max(FEW_DATAGRAMS * self.datagram))
        } else {
            window
        }
    }

    /// The rate at which to send, in bytes per second.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// The bytes that may be sent at once at that rate.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    /// The rate at which packets arrive at best, in bytes per second; 0 when nothing is known.
    #[must_use]
    pub fn delivery_rate(&self) -> u64 {
        self.path_rate() as u64
    }

    /// A packet is sent while so much is under way.
    #[inline]
    pub fn on_sent(&mut self, now: Instant, in_flight: u64, _bytes: usize) -> Mark {
        if in_flight == 0 {
            self.flight_began = now;
            self.delivered_at = now;
        }
        Mark {
            sent_at: now,
            delivered: self.delivered,
            delivered_before: Before::of(now, self.delivered_at),
            flight_before: Before::of(now, self.flight_began),
            limited: self.delivered < self.limited_until,
        }
    }

    /// Whether what is under way is known to be sent for want of more.
    #[inline]
    pub(super) fn is_limited(&self, in_flight: u64) -> bool {
        self.limited_until == self.delivered + in_flight.max(1)
    }

    /// There is nothing to send though more could be: rates measured now say less than the path can do.
    #[inline]
    pub fn on_limited(&mut self, in_flight: u64) {
        self.limited_until = self.delivered + in_flight.max(1);
    }

    /// A packet was acknowledged. [`on_acknowledgement`](Self::on_acknowledgement) follows the last.
    #[inline]
    pub fn on_acked(&mut self, mark: &Mark, bytes: usize) {
        self.delivered += bytes as u64;
        self.acked += bytes as u64;
        self.round.delivered += bytes as u64;
        let is_newer = |newest: &Mark| (newest.delivered, newest.sent_at) <= (mark.delivered, mark.sent_at);
        if self.newest.as_ref().is_none_or(is_newer) {
            self.newest = Some(*mark);
        }
    }

    /// A packet was lost, and not a probe of the path's MTU.
    #[inline]
    pub fn on_lost(&mut self, bytes: usize) {
        self.round.lost += bytes as u64;
        self.round.lost_packets += 1;
    }

    /// A packet that counted as lost has arrived after all.
    pub fn on_not_lost(&mut self, bytes: usize) {
        self.delivered += bytes as u64;
        self.round.delivered += bytes as u64;
        self.round.lost = self.round.lost.saturating_sub(bytes as u64);
        self.round.lost_packets = self.round.lost_packets.saturating_sub(1);
    }

    /// Nothing has arrived for so long that what was known of the path is worth nothing.
    pub fn restart(&mut self, now: Instant) {
        self.mode = Mode::Startup { best: 0.0, stalled: 0 };
        self.window = self.initial_window();
        self.rates = Highest::new(now);
        self.arriving = Highest::new(now);
        self.sample = Sample::default();
        self.ceiling = None;
        self.newest = None;
        self.round = Round { ends: self.delivered, ..Round::default() };
        self.rate = FASTEST;
        self.burst = self.window;
    }

    /// All packets of an acknowledgement have been told, and so much is still under way.
    pub fn on_acknowledgement(&mut self, now: Instant, rtt: &Rtt, in_flight: u64) {
        let acked = std::mem::take(&mut self.acked);
        let Some(newest) = self.newest.take() else { return };
        self.delivered_at = now;
        self.flight_began = newest.sent_at;
        self.measure(now, &newest, rtt);
        let round_ended = newest.delivered >= self.round.ends;
        // While little is sent, on purpose or for want of more, what was measured before is not to be forgotten.
        if !newest.limited
            && !matches!(self.mode, Mode::ProbeRtt { .. })
            && (round_ended || self.is_long_round(now))
        {
            self.rates.next_round(now);
        }
        if round_ended {
            self.end_round(now, newest.limited);
        }
        self.watch_shortest(now, rtt, newest.limited);
        self.change_mode(now, in_flight, round_ended);
        self.set_window(acked, rtt);
        self.set_rate();
    }

    fn is_long_round(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.rates.since).as_secs_f64() > self.trip * LONGEST_ROUND
    }

    fn measure(&mut self, now: Instant, newest: &Mark, rtt: &Rtt) {
        let sending = newest.flight_before.time();
        let arriving = now.saturating_duration_since(newest.sent_at) + newest.delivered_before.time();
        let took = sending.max(arriving);
        // In less than a round trip acknowledgements may have come together: that is no rate.
        if took.is_zero() || took < rtt.min() {
            return;
        }
        let rate = (self.delivered - newest.delivered) as f64 / took.as_secs_f64();
        self.round.rate = self.round.rate.max(rate);
        if !newest.limited || rate > self.rates.max {
            self.rates.add(rate);
        }
    }

    fn end_round(&mut self, now: Instant, limited: bool) {
        let round = self.round;
        self.round = Round { ends: self.delivered, ..Round::default() };
        self.sample.delivered += round.delivered;
        self.sample.lost += round.lost;
        let all = self.sample.delivered + self.sample.lost;
        if all >= SAMPLE_DATAGRAMS * self.datagram {
            self.arriving.next_round(now);
            self.arriving.add(self.sample.delivered as f64 / all as f64);
            self.sample = Sample::default();
        }
        let all = (round.delivered + round.lost) as f64;
        let usual = 1.0 - self.arriving_part();
        let heavy = round.lost_packets >= HEAVY_PACKETS && round.lost as f64 > (usual + HEAVY_LOSS) * all;
        if let Mode::Startup { best, stalled } = &mut self.mode {
            if self.rates.max >= *best * GROWTH {
                (*best, *stalled) = (self.rates.max, 0);
            } else if !limited {
                *stalled = if heavy { STALLED_ROUNDS } else { *stalled + 1 };
            }
            if *stalled >= STALLED_ROUNDS {
                self.mode = Mode::Drain;
            }
        }
        // Of what is lost in startup and while it drains, the cause has gone already.
        if matches!(self.mode, Mode::Startup { .. } | Mode::Drain) {
            return;
        }
        if !std::mem::replace(&mut self.settled, true) {
            return;
        }
        // Without a rate measured in it, a round says nothing of what gets through.
        if heavy && round.rate > 0.0 {
            self.ceiling = Some(round.rate.min(self.path_rate()));
        } else if let Some(ceiling) = &mut self.ceiling {
            *ceiling *= 1.0 + CEILING_RISE;
            if *ceiling > self.rates.max * GROWTH {
                self.ceiling = None;
            }
        }
    }

    fn watch_shortest(&mut self, now: Instant, rtt: &Rtt, limited: bool) {
        let latest = rtt.latest();
        if let Mode::ProbeRtt { shortest, .. } = &mut self.mode {
            *shortest = latest.min(*shortest);
        }
        let Some(shortest) = self.shortest.filter(|shortest| latest > *shortest + *shortest / CONFIRMS)
        else {
            self.set_shortest(now, self.shortest.map_or(latest, |shortest| shortest.min(latest)));
            return;
        };
        if latest.as_secs_f64() <= shortest.as_secs_f64() * WINDOW_GAIN {
            self.similar_at = now;
        }
        if now.saturating_duration_since(self.shortest_at) <= BELIEVED
            && now.saturating_duration_since(self.similar_at) <= DOUBTED
        {
            return;
        }
        // Who sends little keeps no queue that would hide a shorter one.
        if rtt.min() < NEAR || limited {
            self.set_shortest(now, rtt.min());
        } else if matches!(self.mode, Mode::Cruise { .. }) {
            self.mode = Mode::ProbeRtt { until: None, shortest: Duration::MAX };
        }
    }

    fn set_shortest(&mut self, now: Instant, shortest: Duration) {
        if self.shortest != Some(shortest) {
            self.shortest = Some(shortest);
            self.trip = shortest.max(NEAR).as_secs_f64();
        }
        self.shortest_at = now;
        self.similar_at = now;
    }

    fn change_mode(&mut self, now: Instant, in_flight: u64, round_ended: bool) {
        let in_flight = in_flight as f64;
        match self.mode {
            Mode::Startup { .. } => {}
            Mode::Drain => {
                if in_flight <= self.product(1.0) {
                    self.cruise(now);
                }
            }
            Mode::Cruise { phase, since, best } => {
                let over = now.saturating_duration_since(since) > self.shortest.unwrap_or(NEAR).max(NEAR);
                let over = match phase {
                    0 => over && (self.round.lost > 0 || in_flight >= self.product(CYCLE[0])),
                    1 => over || in_flight <= self.product(1.0),
                    _ => over,
                };
                if over {
                    // Where there was much more there may be more still.
                    let next = if phase == 1 && self.rates.max > best * FOUND {
                        0
                    } else {
                        (phase + 1) % CYCLE.len()
                    };
                    let best = if next == 0 { self.rates.max } else { best };
                    self.mode = Mode::Cruise { phase: next, since: now, best };
                }
            }
            Mode::ProbeRtt { until: None, shortest } => {
                if in_flight <= self.product(PROBE_RTT_GAIN).max(self.least_window() as f64) {
                    self.mode = Mode::ProbeRtt { until: Some(now + PROBE_RTT), shortest };
                }
            }
            Mode::ProbeRtt { until: Some(until), shortest } => {
                if now >= until && round_ended {
                    self.set_shortest(now, shortest);
                    self.cruise(now);
                }
            }
        }
    }

    /// Begins anywhere in the cycle but where the queue is let go, so that flows do not probe together.
    fn cruise(&mut self, now: Instant) {
        self.settled = false;
        let phase = match self.next_random() % (CYCLE.len() as u64 - 1) {
            0 => 0,
            other => other as usize + 1,
        };
        self.mode = Mode::Cruise { phase, since: now, best: self.rates.max };
    }

    fn set_window(&mut self, acked: u64, rtt: &Rtt) {
        let grown = self.window + acked;
        // What is under way longer for the path's own reasons is no queue: that varies, a queue stands.
        let varies = rtt.variation().as_secs_f64() * WINDOW_VARIATIONS * self.path_rate();
        let target =
            |gain| (self.product(gain) + varies) as u64 + self.burst.min(64 << 10) + 2 * self.datagram;
        self.window = if let Mode::Startup { .. } = self.mode {
            // As long as nothing is known of the path, what arrives makes room for twice of it.
            if self.window < target(STARTUP_GAIN) || self.delivered < self.initial_window() {
                grown
            } else {
                self.window
            }
        } else {
            grown.min(target(WINDOW_GAIN))
        };
        self.window = self.window.min(self.config.most_in_flight).max(self.least_window());
    }

    fn set_rate(&mut self) {
        let path = self.path_rate() / self.arriving_part();
        let rate = match self.mode {
            Mode::Startup { .. } => {
                let first = self.initial_window() as f64 / self.trip;
                STARTUP_GAIN * path.max(first)
            }
            Mode::Drain => path / STARTUP_GAIN,
            Mode::Cruise { phase, .. } => match CYCLE.get(phase) {
                Some(gain) if *gain > 1.0 => gain * path,
                Some(gain) => gain * path * MARGIN,
                None => path,
            },
            Mode::ProbeRtt { .. } => path,
        };
        // The least window goes in a round trip, however little arrived.
        let least = self.least_window() as f64 / self.trip;
        let rate = rate.max(least);
        self.rate = (rate as u64).clamp(1, FASTEST);
        let burst = BURST.max((rate * BURST_TIME.as_secs_f64()) as u64);
        // Far away a burst arrives as fast as the last link is; a near peer has the window as its bound.
        let burst = if self.is_near() { burst } else { burst.min(self.config.peer_buffer / 2) };
        self.burst = burst.max(2 * self.datagram);
    }

    /// What the path carries, as far as it is known, in bytes per second.
    fn path_rate(&self) -> f64 {
        self.ceiling.map_or(self.rates.max, |ceiling| ceiling.min(self.rates.max))
    }

    /// Which part of what is sent arrives when we cause no loss.
    fn arriving_part(&self) -> f64 {
        if self.arriving.max > 0.0 { self.arriving.max.max(1.0 - MOST_USUAL_LOSS) } else { 1.0 }
    }

    /// What is under way at that rate without a queue, times a gain.
    fn product(&self, gain: f64) -> f64 {
        gain * self.path_rate() / self.arriving_part() * self.trip
    }

    fn is_near(&self) -> bool {
        self.shortest.is_some_and(|shortest| shortest < NEAR)
    }

    fn initial_window(&self) -> u64 {
        self.few(self.config.initial_datagrams.clamp(LEAST_DATAGRAMS, 1000))
    }

    fn least_window(&self) -> u64 {
        self.few(LEAST_DATAGRAMS)
    }

    fn few(&self, datagrams: u64) -> u64 {
        (datagrams * self.datagram).min(FEW_BYTES.max(FEW_DATAGRAMS * self.datagram))
    }

    /// SplitMix64: enough to choose a phase by.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);
    const SIZE: usize = 1000;

    /// A path with a queue of one round trip, and a sender that always has something.
    struct Path {
        now: Instant,
        trip: Duration,
        rate: f64,
        /// Of so many packets one is lost.
        loses: Option<u64>,
        sent: u64,
        send_at: Instant,
        free_at: Instant,
        in_flight: u64,
        /// When they are acknowledged, or noticed to be lost.
        under_way: VecDeque<(Instant, Mark, bool)>,
        rtt: Rtt,
        control: Congestion,
    }

    impl Path {
        fn new(trip: Duration, rate: f64) -> Self {
            let now = Instant::now();
            Self {
                now,
                trip,
                rate,
                loses: None,
                sent: 0,
                send_at: now,
                free_at: now,
                in_flight: 0,
                under_way: VecDeque::new(),
                rtt: Rtt::new(trip),
                control: Congestion::new(now, &Config::default(), 1, SIZE),
            }
        }

        fn rounds(&mut self, count: u32) {
            let end = self.now + self.trip * count;
            loop {
                let sends = self.in_flight < self.control.window();
                let send_at = sends.then_some(self.send_at.max(self.now));
                let come_at = self.under_way.front().map(|(at, ..)| *at);
                let next = send_at.into_iter().chain(come_at).min().unwrap();
                if next > end {
                    break;
                }
                self.now = next;
                if come_at == Some(next) { self.comes() } else { self.sends() }
            }
            self.now = end;
        }

        fn sends(&mut self) {
            let mark = self.control.on_sent(self.now, self.in_flight, SIZE);
            self.in_flight += SIZE as u64;
            self.sent += 1;
            let begins = self.free_at.max(self.now);
            let full = begins > self.now + self.trip;
            let lost = full || self.loses.is_some_and(|one| self.sent.is_multiple_of(one));
            if !full {
                self.free_at = begins + Duration::from_secs_f64(SIZE as f64 / self.rate);
            }
            self.under_way.push_back((self.free_at + self.trip, mark, lost));
            self.send_at = self.now + Duration::from_secs_f64(SIZE as f64 / self.control.rate() as f64);
        }

        fn comes(&mut self) {
            let Some((_, mark, lost)) = self.under_way.pop_front() else { return };
            self.in_flight -= SIZE as u64;
            if lost {
                return self.control.on_lost(SIZE);
            }
            self.rtt.measured(self.now, self.now - mark.sent_at(), Duration::ZERO);
            self.control.on_acked(&mark, SIZE);
            self.control.on_acknowledgement(self.now, &self.rtt, self.in_flight);
        }
    }

    #[test]
    fn startup_finds_the_rate_in_few_rounds() {
        let mut path = Path::new(50 * MILLI, 10e6);
        path.rounds(12);
        let found = path.control.delivery_rate() as f64;
        assert!((8e6..11e6).contains(&found), "{found}");
        assert!(!matches!(path.control.mode, Mode::Startup { .. }));
    }

    #[test]
    fn a_little_loss_changes_nothing_and_much_brings_a_ceiling_that_rises() {
        let mut path = Path::new(50 * MILLI, 10e6);
        path.rounds(20);
        path.loses = Some(10);
        path.rounds(20);
        assert_eq!(path.control.ceiling, None);
        // The path becomes ten times as slow: what is lost tells so, before the last ten rounds are over.
        path.loses = None;
        path.rounds(20);
        path.rate = 1e6;
        path.rounds(8);
        let rate = path.control.rate() as f64;
        assert!(rate < 2e6, "{rate}");
        // It was an incident.
        path.rate = 10e6;
        path.rounds(60);
        let rate = path.control.delivery_rate() as f64;
        assert!(rate > 8e6, "{rate}");
    }

    #[test]
    fn near_the_peers_buffer_is_the_bound() {
        let mut path = Path::new(Duration::from_micros(100), 4e9);
        path.rounds(200);
        assert_eq!(path.control.window(), Config::PEER_BUFFER / 2);
        path.control.set_peer_buffer(1 << 20);
        path.rounds(200);
        assert_eq!(path.control.window(), 1 << 19);
        path.control.set_peer_buffer(1000);
        assert_eq!(path.control.window(), 2 * SIZE as u64, "two go always");
    }

    #[test]
    fn a_burst_fits_in_the_peers_buffer() {
        let mut path = Path::new(20 * MILLI, 1e9);
        path.rounds(30);
        assert!(path.control.rate() > 500_000_000);
        assert_eq!(path.control.burst(), Config::PEER_BUFFER / 2);
    }

    #[test]
    fn for_want_of_more_no_rate_is_forgotten() {
        let mut path = Path::new(50 * MILLI, 10e6);
        path.rounds(20);
        let known = path.control.delivery_rate();
        for _ in 0..100 {
            path.control.on_limited(1);
            let mark = path.control.on_sent(path.now, 0, SIZE);
            path.now += path.trip;
            path.rtt.measured(path.now, path.trip, Duration::ZERO);
            path.control.on_acked(&mark, SIZE);
            path.control.on_acknowledgement(path.now, &path.rtt, 0);
        }
        assert!(path.control.delivery_rate() >= known, "{} of {known}", path.control.delivery_rate());
    }

    #[test]
    fn a_restart_knows_nothing() {
        let mut path = Path::new(50 * MILLI, 10e6);
        path.rounds(20);
        path.control.restart(path.now);
        assert_eq!((path.control.window(), path.control.delivery_rate()), (10 * SIZE as u64, 0));
        path.rounds(12);
        assert!(path.control.delivery_rate() > 8_000_000);
    }
}
