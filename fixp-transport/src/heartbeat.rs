//! Heartbeats: HELO to a set of peers, who is up, suspect and down, and when to log in again.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fixp_codec::laxcus6::answer;
//! use fixp_transport::heartbeat::{Config, Event, Heartbeat, What};
//! use fixp_transport::host::Node;
//!
//! // A data site, and its hub.
//! let node = Node::new(8, "192.0.2.8".parse().unwrap(), 6600, 6600);
//! let hub = "192.0.2.1:6600".parse().unwrap();
//! let mut heartbeat = Heartbeat::new(Config::laxcus6(&node));
//! let start = Instant::now();
//! heartbeat.add(start, hub, 0);
//!
//! heartbeat.handle_timeout(start);
//! let transmit = heartbeat.poll_transmit().unwrap();
//! assert_eq!((transmit.peer, transmit.what, transmit.copies), (hub, What::Helo, 1));
//! heartbeat.handle_answer(start, hub, answer::ISEE);
//! assert_eq!(heartbeat.poll_event(), Some(Event::Up(hub)));
//!
//! // Two intervals of silence.
//! heartbeat.handle_timeout(start + Duration::from_secs(40));
//! assert_eq!(heartbeat.poll_event(), Some(Event::Suspect(hub)));
//! ```
//!
//! [`Heartbeat`] is a state machine without a socket; [`Service`] runs it on tokio.
//!
//! # Times
//!
//! As SPEC 11.13, 11.14 and 11.15 have them. I is the interval, 20 s unless the hub tells otherwise; silence is counted from the last answer, or from the
//! first HELO.
//!
//! | | laxcus6 | lexst1 |
//! |---|---|---|
//! | HELO | every I | when nothing was heard, and no HELO said, for I |
//! | copies | 1; after 2 I of silence 2; after 3 I 3 | 1 |
//! | suspect | after 2 I of silence | the same |
//! | down | after 5 I | after 3 I |
//! | then | TEST, each waiting 18 s for its answer and the next 2 s after that, until one is answered or for 5 I; no HELO meanwhile | |
//! | log in again | when TEST is answered, or after those 5 I; again after each 5 I of further silence | at once; again after each 3 I |
//! | COMEBACK | HELO in 5 copies | HELO in 3 copies, three times, 1 s between |
//!
//! The pages on the programs say how often and in how many copies; that a peer is called suspect from two
//! intervals on, the second between the rounds of a burst, and that logging in is asked for again, is ours.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use fixp_codec::{Code, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};

use crate::host::Node;
use crate::tables;

mod service;

pub use service::{Events, Service, ServiceStats};

/// When HELO is said while all is well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rhythm {
    /// Every interval, whatever is heard.
    EveryInterval,
    /// When nothing was heard, and no HELO said, for an interval.
    AfterSilence,
}

/// How a peer that is down is probed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// The request.
    pub packet: Packet,
    /// The code of its answer.
    pub answer: Code,
    /// How long its answer is waited for.
    pub wait: Duration,
    /// How long after that the next one leaves.
    pub pause: Duration,
}

impl Probe {
    /// How long laxcus6 waits for the answer to TEST.
    pub const WAIT: Duration = Duration::from_secs(18);
    /// How long after that it sends the next.
    pub const PAUSE: Duration = Duration::from_secs(2);
}

/// What a heartbeat is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The dialect of all peers.
    pub dialect: &'static Dialect,
    /// The heartbeat, without BIND_IP.
    pub helo: Packet,
    /// The answer of a peer that does not know us.
    pub not_login: Code,
    /// When HELO is said.
    pub rhythm: Rhythm,
    /// The interval, at least a millisecond.
    pub interval: Duration,
    /// In how many copies HELO leaves after one, two, three and more intervals of silence.
    pub copies: [u8; 3],
    /// After how many intervals of silence a peer is suspect.
    pub suspect: u32,
    /// After how many it is down; for as many it is then probed.
    pub dead: u32,
    /// How a peer that is down is probed, if it is.
    pub probe: Option<Probe>,
    /// Rounds after COMEBACK, and copies in each.
    pub burst: (u8, u8),
    /// The time between two rounds; and how long after a burst another COMEBACK is not answered by one, so that
    /// nobody can make us send much.
    pub round: Duration,
    /// Peers at a time.
    pub peers: usize,
}

impl Config {
    /// Default of [`Config::peers`]. Each costs some 400 bytes.
    pub const PEERS: usize = 65536;
    /// Default of [`Config::round`].
    pub const ROUND: Duration = Duration::from_secs(1);
    /// Default of [`Config::suspect`].
    pub const SUSPECT: u32 = 2;

    /// The heartbeat of a site of laxcus6.
    #[must_use]
    pub fn laxcus6(node: &Node) -> Self {
        let helo = Packet::new(laxcus6::notify::HELO).with(laxcus6::key::NODE_ADDRESS, node.to_bytes());
        let test = Packet::new(laxcus6::notify::TEST).with(laxcus6::key::SPEAK, "TEST!");
        let answer = laxcus6::answer::ACCEPTED;
        Self {
            not_login: laxcus6::answer::NOTLOGIN,
            rhythm: Rhythm::EveryInterval,
            probe: Some(Probe { packet: test, answer, wait: Probe::WAIT, pause: Probe::PAUSE }),
            ..Self::of(&LAXCUS6, helo)
        }
    }

    /// The heartbeat of a job of lexst1: its number (1 top, 2 home, 3 live, 4 log, 5 data, 6 call, 7 work,
    /// 8 build), and the address and ports of its communications server.
    #[must_use]
    pub fn lexst1(site: i32, ip: IpAddr, tcp: u16, udp: u16) -> Self {
        let helo = Packet::new(lexst1::notify::HELO)
            .with(lexst1::key::SITE_TYPE, site)
            .with(lexst1::key::IP, crate::udp::bind_ip::text(ip))
            .with(lexst1::key::TCPORT, i32::from(tcp))
            .with(lexst1::key::UDPORT, i32::from(udp));
        Self::of(&LEXST1, helo)
    }

    fn of(dialect: &'static Dialect, helo: Packet) -> Self {
        let habits = tables::of(dialect);
        Self {
            dialect,
            helo,
            not_login: lexst1::answer::NOTLOGIN,
            rhythm: Rhythm::AfterSilence,
            interval: habits.helo_interval,
            copies: habits.helo_copies,
            suspect: Self::SUSPECT,
            dead: habits.helo_dead,
            probe: None,
            burst: habits.comeback_burst,
            round: Self::ROUND,
            peers: Self::PEERS,
        }
    }
}

/// What is known of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// It has been added, and nothing was heard yet.
    New,
    /// It answers.
    Up,
    /// It has been silent for too long.
    Suspect,
    /// It has been silent for so long that nobody counts on it.
    Down,
}

/// Something has become of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// It answers.
    Up(SocketAddr),
    /// It is suspect.
    Suspect(SocketAddr),
    /// It is down.
    Down(SocketAddr),
    /// One should log in again.
    LogIn(SocketAddr, Why),
}

/// Why one should log in again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// It does not know us.
    NotLogin,
    /// It was down, and answers again.
    Returned,
    /// It does not answer.
    Silent,
}

/// One of the two packets that a heartbeat sends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum What {
    /// HELO.
    Helo,
    /// The probe.
    Probe,
}

/// Something to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// To whom.
    pub peer: SocketAddr,
    /// What: see [`Heartbeat::packet`].
    pub what: What,
    /// In how many datagrams.
    pub copies: u8,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Heartbeat {
    config: Config,
    peers: HashMap<SocketAddr, Peer>,
    timers: BTreeSet<(Instant, SocketAddr)>,
    /// Those with something to send, each once.
    sending: VecDeque<SocketAddr>,
    /// Those with something to tell, each once.
    telling: VecDeque<SocketAddr>,
}

#[derive(Debug)]
struct Peer {
    interval: Duration,
    state: State,
    /// The last answer, or the first HELO.
    heard: Instant,
    next_helo: Instant,
    probing: Option<Probing>,
    /// When to ask again for logging in, while it is down and not probed.
    log_in: Option<Instant>,
    /// When it last said that it does not know us.
    not_login: Option<Instant>,
    burst: Option<Burst>,
    timer: Instant,
    /// The copies of HELO to be sent, and whether the probe is.
    helo: u8,
    probe: bool,
    sending: bool,
    /// The state that was last told.
    told: State,
    /// Why to log in, not told yet.
    why: Option<Why>,
    telling: bool,
}

#[derive(Clone, Copy, Debug)]
struct Probing {
    until: Instant,
    /// When the next one leaves, or the answer to the last is no longer waited for.
    next: Instant,
    waits: bool,
}

#[derive(Clone, Copy, Debug)]
struct Burst {
    left: u8,
    next: Instant,
}

impl Heartbeat {
    /// A heartbeat to nobody yet.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        config.interval = at_least(config.interval);
        Self {
            config,
            peers: HashMap::new(),
            timers: BTreeSet::new(),
            sending: VecDeque::new(),
            telling: VecDeque::new(),
        }
    }

    /// Adds a peer, or begins anew with one that is there; false where there are too many. Its first HELO is
    /// said within the interval, at a moment that `random` chooses, so that many peers have theirs at many
    /// moments; from then on the interval is kept.
    pub fn add(&mut self, now: Instant, peer: SocketAddr, random: u64) -> bool {
        if !self.peers.contains_key(&peer) && self.peers.len() >= self.config.peers {
            return false;
        }
        self.remove(peer);
        let interval = self.config.interval;
        let phase = interval.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64);
        let entry = Peer {
            interval,
            state: State::New,
            heard: now + phase,
            next_helo: now + phase,
            probing: None,
            log_in: None,
            not_login: None,
            burst: None,
            timer: now,
            helo: 0,
            probe: false,
            sending: false,
            told: State::New,
            why: None,
            telling: false,
        };
        self.peers.insert(peer, entry);
        self.schedule(peer);
        true
    }

    /// Removes a peer, and tells whether it was there. Nothing is sent to it, or told of it, any more.
    pub fn remove(&mut self, peer: SocketAddr) -> bool {
        let Some(gone) = self.peers.remove(&peer) else { return false };
        self.timers.remove(&(gone.timer, peer));
        if gone.sending {
            self.sending.retain(|&sending| sending != peer);
        }
        if gone.telling {
            self.telling.retain(|&telling| telling != peer);
        }
        true
    }

    /// A peer, when a hub tells its interval. False where it is not there.
    pub fn set_interval(&mut self, now: Instant, peer: SocketAddr, interval: Duration) -> bool {
        let Some(entry) = self.peers.get_mut(&peer) else { return false };
        entry.interval = at_least(interval);
        entry.next_helo = entry.next_helo.min(now + entry.interval);
        self.schedule(peer);
        true
    }

    /// The peers, in no order, and what is known of them.
    pub fn peers(&self) -> impl Iterator<Item = (SocketAddr, State)> {
        self.peers.iter().map(|(&addr, peer)| (addr, peer.state))
    }

    /// What is known of a peer.
    #[must_use]
    pub fn state(&self, peer: SocketAddr) -> Option<State> {
        self.peers.get(&peer).map(|peer| peer.state)
    }

    /// The packet, without BIND_IP.
    #[must_use]
    pub fn packet(&self, what: What) -> &Packet {
        match (what, &self.config.probe) {
            (What::Probe, Some(probe)) => &probe.packet,
            _ => &self.config.helo,
        }
    }

    /// What it was made with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// An answer has come from a peer, and tells whether it is one of ours. Every answer shows that it is up.
    pub fn handle_answer(&mut self, now: Instant, peer: SocketAddr, code: Code) -> bool {
        if code.is_request() {
            return false;
        }
        let Some(entry) = self.peers.get_mut(&peer) else { return false };
        let was_down = entry.state == State::Down;
        entry.hear(now, self.config.rhythm);
        if code == self.config.not_login {
            // Copies of HELO have copies of answers.
            if entry.not_login.is_none_or(|at| now.saturating_duration_since(at) >= entry.interval / 2) {
                entry.not_login = Some(now);
                entry.why = Some(Why::NotLogin);
            }
        } else if was_down && self.config.probe.as_ref().is_some_and(|probe| probe.answer == code) {
            entry.why = Some(Why::Returned);
        }
        self.tell(peer);
        self.schedule(peer);
        true
    }

    /// One has logged in at a peer: it is up. False where it is not there.
    pub fn handle_login(&mut self, now: Instant, peer: SocketAddr) -> bool {
        let Some(entry) = self.peers.get_mut(&peer) else { return false };
        entry.hear(now, self.config.rhythm);
        entry.why = None;
        self.tell(peer);
        self.schedule(peer);
        true
    }

    /// A peer has said COMEBACK: it gets a burst of HELO, unless it just had one. False where it is not there.
    pub fn handle_comeback(&mut self, now: Instant, peer: SocketAddr) -> bool {
        let (rounds, _) = self.config.burst;
        let Some(entry) = self.peers.get_mut(&peer) else { return false };
        if entry.burst.is_none() && rounds > 0 {
            entry.burst = Some(Burst { left: rounds, next: now });
            self.advance(now, peer);
        }
        true
    }

    /// When [`Heartbeat::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, peer)) = self.timers.first() {
            if at > now {
                break;
            }
            self.advance(now, peer);
        }
    }

    /// What is to be sent next.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let &peer = self.sending.front()?;
        let entry = self.peers.get_mut(&peer)?;
        let (what, copies) = if entry.helo > 0 {
            (What::Helo, std::mem::take(&mut entry.helo))
        } else {
            entry.probe = false;
            (What::Probe, 1)
        };
        if entry.helo == 0 && !entry.probe {
            entry.sending = false;
            self.sending.pop_front();
        }
        Some(Transmit { peer, what, copies })
    }

    /// What has become of a peer. Of each peer the newest is kept, its state and whether to log in: one who
    /// does not ask for long misses what has passed, and costs nothing.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            let &peer = self.telling.front()?;
            let entry = self.peers.get_mut(&peer)?;
            if entry.told != entry.state {
                entry.told = entry.state;
                match entry.state {
                    State::New => {}
                    State::Up => return Some(Event::Up(peer)),
                    State::Suspect => return Some(Event::Suspect(peer)),
                    State::Down => return Some(Event::Down(peer)),
                }
            }
            entry.telling = false;
            let why = entry.why.take();
            self.telling.pop_front();
            if let Some(why) = why {
                return Some(Event::LogIn(peer, why));
            }
        }
    }

    /// Does what is due for a peer.
    fn advance(&mut self, now: Instant, peer: SocketAddr) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let config = &self.config;
        entry.grow_silent(now, config);
        entry.probe(now, config);
        if let Some(at) = entry.log_in.filter(|&at| at <= now) {
            entry.why = Some(Why::Silent);
            entry.log_in = Some(at.max(now) + entry.interval * config.dead);
        }
        if entry.next_helo <= now {
            if entry.probing.is_none() {
                entry.helo = entry.helo.max(entry.copies(now, config));
            }
            entry.next_helo = match config.rhythm {
                // What was missed is not made up for, and the phase is kept.
                Rhythm::EveryInterval => after(entry.next_helo, now, entry.interval),
                Rhythm::AfterSilence => now + entry.interval,
            };
        }
        if let Some(burst) = &mut entry.burst
            && burst.next <= now
        {
            if burst.left == 0 {
                entry.burst = None;
            } else {
                burst.left -= 1;
                burst.next = now + config.round;
                entry.helo = entry.helo.max(config.burst.1);
            }
        }
        if (entry.helo > 0 || entry.probe) && !std::mem::replace(&mut entry.sending, true) {
            self.sending.push_back(peer);
        }
        self.tell(peer);
        self.schedule(peer);
    }

    fn tell(&mut self, peer: SocketAddr) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let news = entry.told != entry.state || entry.why.is_some();
        if news && !std::mem::replace(&mut entry.telling, true) {
            self.telling.push_back(peer);
        }
    }

    fn schedule(&mut self, peer: SocketAddr) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let at = entry.next(&self.config);
        self.timers.remove(&(std::mem::replace(&mut entry.timer, at), peer));
        self.timers.insert((at, peer));
    }
}

impl Peer {
    fn hear(&mut self, now: Instant, rhythm: Rhythm) {
        self.heard = now;
        self.state = State::Up;
        (self.probing, self.probe, self.log_in) = (None, false, None);
        if self.why == Some(Why::Silent) {
            self.why = None;
        }
        if rhythm == Rhythm::AfterSilence {
            self.next_helo = now + self.interval;
        }
    }

    /// When it becomes suspect, or down, next.
    fn worse_at(&self, config: &Config) -> Option<Instant> {
        match self.state {
            State::New | State::Up => Some(self.heard + self.interval * config.suspect.min(config.dead)),
            State::Suspect => Some(self.heard + self.interval * config.dead),
            State::Down => None,
        }
    }

    fn grow_silent(&mut self, now: Instant, config: &Config) {
        let silence = now.saturating_duration_since(self.heard);
        if self.state == State::Down || silence < self.interval * config.suspect.min(config.dead) {
            return;
        }
        if silence < self.interval * config.dead {
            self.state = State::Suspect;
            return;
        }
        self.state = State::Down;
        if config.probe.is_some() {
            let until = now + self.interval * config.dead;
            self.probing = Some(Probing { until, next: now, waits: false });
        } else {
            self.log_in = Some(now);
        }
    }

    fn probe(&mut self, now: Instant, config: &Config) {
        let (Some(probing), Some(probe)) = (&mut self.probing, &config.probe) else { return };
        if probing.until <= now {
            self.probing = None;
            self.log_in = Some(now);
            return;
        }
        if probing.waits && probing.next <= now {
            (probing.waits, probing.next) = (false, probing.next + probe.pause);
        }
        if !probing.waits && probing.next <= now {
            (probing.waits, probing.next) = (true, now + probe.wait);
            self.probe = true;
        }
    }

    fn copies(&self, now: Instant, config: &Config) -> u8 {
        let silence = now.saturating_duration_since(self.heard);
        let [one, two, three] = config.copies;
        if silence < self.interval * 2 {
            one
        } else if silence < self.interval * 3 {
            two
        } else {
            three
        }
    }

    /// When something is due next.
    fn next(&self, config: &Config) -> Instant {
        let probing = self.probing.map(|probing| probing.next.min(probing.until));
        let burst = self.burst.map(|burst| burst.next);
        [self.worse_at(config), probing, burst, self.log_in]
            .into_iter()
            .flatten()
            .fold(self.next_helo, Instant::min)
    }
}

/// The first moment after `now` that lies whole intervals after `then`.
fn after(then: Instant, now: Instant, interval: Duration) -> Instant {
    let missed = now.saturating_duration_since(then).as_nanos() / interval.as_nanos();
    let nanos = u64::try_from((missed + 1) * interval.as_nanos()).unwrap_or(u64::MAX);
    then + Duration::from_nanos(nanos)
}

fn at_least(interval: Duration) -> Duration {
    interval.max(Duration::from_millis(1))
}
