//! Heartbeats on a clock of their own: the times of the two programs (SPEC 11.14), and what any order of things may
//! not do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fixp_codec::{Code, laxcus6, lexst1};
use fixp_transport::heartbeat::{Config, Event, Heartbeat, State, What, Why};
use fixp_transport::host::Node;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

const ISEE: Code = laxcus6::answer::ISEE;
const ACCEPTED: Code = laxcus6::answer::ACCEPTED;

fn data_site() -> Config {
    Config::laxcus6(&Node::new(8, "10.0.0.1".parse().unwrap(), 6001, 6002))
}

fn job() -> Config {
    Config::lexst1(5, "10.0.0.1".parse().unwrap(), 6001, 6002)
}

fn hub() -> SocketAddr {
    "192.0.2.1:6600".parse().unwrap()
}

/// A heartbeat and its clock, in milliseconds.
struct Run {
    heartbeat: Heartbeat,
    start: Instant,
    at: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    Helo(u8),
    Probe,
    Told(Event),
}

impl Run {
    /// With the hub added, its first HELO at once.
    fn new(config: Config) -> Self {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(config);
        assert!(heartbeat.add(start, hub(), 0));
        Self { heartbeat, start, at: 0 }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.at)
    }

    /// All that happens until then, and when.
    fn until(&mut self, millis: u64) -> Vec<(u64, Seen)> {
        let mut seen = self.drain();
        let end = self.start + Duration::from_millis(millis);
        while let Some(at) = self.heartbeat.poll_timeout().filter(|&at| at <= end) {
            self.at = u64::try_from((at - self.start).as_millis()).unwrap();
            self.heartbeat.handle_timeout(at);
            seen.extend(self.drain());
        }
        self.at = millis;
        seen
    }

    fn drain(&mut self) -> Vec<(u64, Seen)> {
        let mut seen = Vec::new();
        while let Some(transmit) = self.heartbeat.poll_transmit() {
            assert_eq!(transmit.peer, hub());
            seen.push(match transmit.what {
                What::Helo => Helo(transmit.copies),
                What::Probe => Probe,
            });
        }
        seen.extend(std::iter::from_fn(|| self.heartbeat.poll_event()).map(Told));
        seen.into_iter().map(|seen| (self.at, seen)).collect()
    }

    fn answer(&mut self, code: Code) -> Vec<(u64, Seen)> {
        assert!(self.heartbeat.handle_answer(self.now(), hub(), code));
        self.drain()
    }
}

/// Seconds, for the times of the tables.
fn s(at: u64, seen: Seen) -> (u64, Seen) {
    (at * 1000, seen)
}

use Seen::{Helo, Probe, Told};

/// The times of laxcus6, from the last answer to logging in again, and a second time.
#[test]
fn laxcus6_silence() {
    let mut run = Run::new(data_site());
    assert_eq!(run.until(0), [(0, Helo(1))]);
    assert_eq!(run.answer(ISEE), [(0, Told(Event::Up(hub())))]);
    let expected = [
        s(20, Helo(1)),
        s(40, Helo(2)),
        s(40, Told(Event::Suspect(hub()))),
        s(60, Helo(3)),
        s(80, Helo(3)),
        // Five intervals: down, and probed every 18 + 2 s for five more.
        s(100, Probe),
        s(100, Told(Event::Down(hub()))),
        s(120, Probe),
        s(140, Probe),
        s(160, Probe),
        s(180, Probe),
        s(200, Helo(3)),
        s(200, Told(Event::LogIn(hub(), Why::Silent))),
        s(220, Helo(3)),
        s(240, Helo(3)),
        s(260, Helo(3)),
        s(280, Helo(3)),
        s(300, Helo(3)),
        s(300, Told(Event::LogIn(hub(), Why::Silent))),
    ];
    assert_eq!(run.until(310_000), expected);
    // It comes back by itself.
    assert_eq!(run.answer(ISEE), [(310_000, Told(Event::Up(hub())))]);
    assert_eq!(run.until(330_000), [s(320, Helo(1))]);
}

/// A probe that is answered ends the probing: log in at once, and HELO goes on in its phase.
#[test]
fn laxcus6_returns() {
    let mut run = Run::new(data_site());
    run.until(0);
    run.answer(ISEE);
    run.until(125_000);
    assert_eq!(run.heartbeat.state(hub()), Some(State::Down));
    let told = [(125_000, Told(Event::Up(hub()))), (125_000, Told(Event::LogIn(hub(), Why::Returned)))];
    assert_eq!(run.answer(ACCEPTED), told);
    assert_eq!(run.until(160_000), [s(140, Helo(1)), s(160, Helo(1))]);
    // Its answer to another TEST, while it is up, is only a sign of life.
    assert_eq!(run.answer(ACCEPTED), []);
}

/// The times of lexst1: HELO after an interval of silence, logging in again after three.
#[test]
fn lexst1_silence() {
    let mut run = Run::new(job());
    assert_eq!(run.until(0), [(0, Helo(1))]);
    assert_eq!(run.answer(lexst1::answer::ISEE), [(0, Told(Event::Up(hub())))]);
    // What is heard meanwhile puts HELO off.
    assert_eq!(run.until(15_000), []);
    assert_eq!(run.answer(lexst1::answer::HOME_ISEE), []);
    let expected = [
        s(35, Helo(1)),
        s(55, Helo(1)),
        s(55, Told(Event::Suspect(hub()))),
        s(75, Helo(1)),
        s(75, Told(Event::Down(hub()))),
        s(75, Told(Event::LogIn(hub(), Why::Silent))),
        s(95, Helo(1)),
        s(115, Helo(1)),
        s(135, Helo(1)),
        s(135, Told(Event::LogIn(hub(), Why::Silent))),
    ];
    assert_eq!(run.until(135_000), expected);
    assert!(run.heartbeat.handle_login(run.now(), hub()));
    assert_eq!(run.drain(), [(135_000, Told(Event::Up(hub())))]);
}

/// COMEBACK is answered by a burst, and another one within it by nothing more (SPEC 11.15).
#[test]
fn comeback() {
    let mut run = Run::new(data_site());
    run.until(5_000);
    assert!(run.heartbeat.handle_comeback(run.now(), hub()));
    assert!(run.heartbeat.handle_comeback(run.now(), hub()));
    assert_eq!(run.drain(), [(5_000, Helo(5))]);
    assert!(run.heartbeat.handle_comeback(run.now(), hub()));
    assert_eq!(run.until(7_000), []);
    assert!(run.heartbeat.handle_comeback(run.now(), hub()));
    // The phase stays.
    assert_eq!(run.until(20_000), [(7_000, Helo(5)), (20_000, Helo(1))]);

    let mut run = Run::new(job());
    run.until(5_000);
    assert!(run.heartbeat.handle_comeback(run.now(), hub()));
    assert_eq!(run.until(9_000), [(5_000, Helo(3)), (6_000, Helo(3)), (7_000, Helo(3))]);
    assert!(!run.heartbeat.handle_comeback(run.now(), "192.0.2.9:1".parse().unwrap()));
}

/// A peer that does not know us is up; and says so once for the copies of one HELO.
#[test]
fn not_login() {
    for (config, code) in [(data_site(), laxcus6::answer::NOTLOGIN), (job(), lexst1::answer::NOTLOGIN)] {
        let mut run = Run::new(config);
        run.until(0);
        let told = [(0, Told(Event::Up(hub()))), (0, Told(Event::LogIn(hub(), Why::NotLogin)))];
        assert_eq!(run.answer(code), told);
        assert_eq!(run.answer(code), []);
        assert_eq!(run.until(20_000), [s(20, Helo(1))]);
        assert_eq!(run.answer(code), [s(20, Told(Event::LogIn(hub(), Why::NotLogin)))]);
    }
}

/// The hub sets the interval.
#[test]
fn intervals() {
    let mut run = Run::new(data_site());
    run.until(1_000);
    assert!(run.heartbeat.set_interval(run.now(), hub(), Duration::from_secs(10)));
    run.answer(ISEE);
    let expected =
        [s(11, Helo(1)), s(21, Helo(2)), s(21, Told(Event::Suspect(hub()))), s(31, Helo(3)), s(41, Helo(3))];
    assert_eq!(run.until(50_000), expected);
}

/// Who does not read events keeps the newest of each peer, and nothing that is over.
#[test]
fn events_unread() {
    let mut run = Run::new(data_site());
    let now = |seconds| run.start + Duration::from_secs(seconds);
    let (zero, later) = (now(0), now(250));
    for at in (0..250).map(now) {
        run.heartbeat.handle_timeout(at);
    }
    // Silent for long: down, and to log in. Suspect is over.
    let heartbeat = &mut run.heartbeat;
    let events: Vec<_> = std::iter::from_fn(|| heartbeat.poll_event()).collect();
    assert_eq!(events, [Event::Down(hub()), Event::LogIn(hub(), Why::Silent)]);
    // Up and down again, unread: it was down, and is.
    heartbeat.handle_answer(later, hub(), ISEE);
    heartbeat.handle_timeout(later + Duration::from_secs(100));
    assert_eq!(heartbeat.poll_event(), None);
    // Removed: nothing is told of it.
    heartbeat.handle_answer(later + Duration::from_secs(101), hub(), ISEE);
    assert!(heartbeat.remove(hub()));
    assert_eq!(
        (heartbeat.poll_event(), heartbeat.poll_transmit(), heartbeat.poll_timeout()),
        (None, None, None)
    );
    assert!(!heartbeat.handle_answer(zero, hub(), ISEE));
}

/// The packets, as recorded from Laxcus 6.0, and as the pages have it of lexst1 (SPEC 11.13).
#[test]
fn packets() {
    let config = Config::laxcus6(&Node::new(7, "127.0.0.1".parse().unwrap(), 5001, 5002));
    let heartbeat = Heartbeat::new(config);
    let helo = heartbeat.packet(What::Helo).to_bytes(heartbeat.config().dialect).unwrap();
    let recorded = "87000101010200d2072b1007000100000000000000000100007f000000000100007f891300008a130000\
                    0000000000000000fffffffffc03015000";
    assert_eq!(hex::encode(helo), recorded);
    let test = heartbeat.packet(What::Probe).to_bytes(heartbeat.config().dialect).unwrap();
    assert_eq!(hex::encode(test), "87000105010200e80305305445535421fc03015000");

    let heartbeat = Heartbeat::new(Config::lexst1(5, "10.0.0.1".parse().unwrap(), 6001, 6002));
    let helo = heartbeat.packet(What::Helo).to_bytes(heartbeat.config().dialect).unwrap();
    // BIND_IP is added by the socket.
    let pages = "87000103010500d0070160053408081031302e302e302e313508026071173608026072170604016000";
    assert_eq!(hex::encode(helo), pages);
}

/// A thousand peers are not beaten at once, and each keeps its interval.
#[test]
fn a_thousand() {
    let start = Instant::now();
    let mut heartbeat = Heartbeat::new(data_site());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let peer = |at: u16| SocketAddr::from(([10, 1, 0, 1], 1000 + at));
    for at in 0..1000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        assert!(heartbeat.add(start, peer(at), random));
    }
    let mut last = vec![None; 1000];
    let mut seconds = vec![0_u32; 200];
    // 200 s in which all answer but every tenth.
    while let Some(at) = heartbeat.poll_timeout().filter(|&at| at < start + Duration::from_secs(200)) {
        heartbeat.handle_timeout(at);
        while let Some(transmit) = heartbeat.poll_transmit() {
            let number = usize::from(transmit.peer.port() - 1000);
            seconds[usize::try_from((at - start).as_secs()).unwrap()] += u32::from(transmit.copies);
            if number % 10 != 0 {
                if let Some(last) = last[number].replace(at) {
                    assert_eq!(at - last, Duration::from_secs(20));
                }
                heartbeat.handle_answer(at, transmit.peer, ISEE);
            }
        }
    }
    // 50 a second on the average, and 20 more while the dead get three copies.
    assert!(seconds.iter().all(|&sent| sent < 110), "{seconds:?}");
    let (up, down): (Vec<_>, Vec<_>) = heartbeat.peers().partition(|&(_, state)| state == State::Up);
    assert_eq!((up.len(), down.len()), (900, 100));
    assert!(down.iter().all(|&(peer, state)| peer.port() % 10 == 0 && state == State::Down));
    assert_eq!(std::iter::from_fn(|| heartbeat.poll_event()).count(), 1000);
}

#[derive(Clone, Debug)]
enum Op {
    Add { peer: u16, random: u64 },
    Remove(u16),
    Answer { peer: u16, code: u16 },
    Comeback(u16),
    Login(u16),
    Interval { peer: u16, millis: u64 },
    Advance(u64),
    Read,
}

fn op() -> impl Strategy<Value = Op> {
    let peer = || 0..6_u16;
    let code = prop_oneof![Just(1000_u16), Just(1011), Just(2002), Just(3002), any::<u16>()];
    prop_oneof![
        2 => (peer(), any::<u64>()).prop_map(|(peer, random)| Op::Add { peer, random }),
        1 => peer().prop_map(Op::Remove),
        4 => (peer(), code).prop_map(|(peer, code)| Op::Answer { peer, code }),
        1 => peer().prop_map(Op::Comeback),
        1 => peer().prop_map(Op::Login),
        1 => (peer(), 0..60_000_u64).prop_map(|(peer, millis)| Op::Interval { peer, millis }),
        6 => prop_oneof![0..1000_u64, 0..50_000_u64, 0..500_000_u64].prop_map(Op::Advance),
        2 => Just(Op::Read),
    ]
}

/// Whatever happens: time goes on (no deadline stays behind), what is sent and told is about peers that are
/// there and bounded, and the states are those of the silence.
#[test]
fn any_order() {
    let seed: u64 = std::env::var("FIXP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x0f1d);
    println!("FIXP_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let strategy = (any::<bool>(), prop::collection::vec(op(), 1..80));
    let outcome = runner.run(&strategy, |(old, ops)| {
        let config = Config { peers: 5, ..if old { job() } else { data_site() } };
        let (dead, suspect) = (config.dead, config.suspect);
        let mut heartbeat = Heartbeat::new(config);
        let mut now = Instant::now();
        let peer = |number: u16| SocketAddr::from(([10, 1, 0, 1], number));
        let mut heard = std::collections::HashMap::new();
        for op in &ops {
            match *op {
                Op::Add { peer: number, random } => {
                    let room = heard.len() < 5 || heard.contains_key(&peer(number));
                    assert_eq!(heartbeat.add(now, peer(number), random), room);
                    if room {
                        let interval = Duration::from_secs(20);
                        let phase = interval.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64);
                        heard.insert(peer(number), (now + phase, interval));
                    }
                }
                Op::Remove(number) => {
                    assert_eq!(heartbeat.remove(peer(number)), heard.remove(&peer(number)).is_some());
                }
                Op::Answer { peer: number, code } => {
                    let known = heartbeat.handle_answer(now, peer(number), Code::Answer(code));
                    assert_eq!(known, heard.get_mut(&peer(number)).map(|heard| heard.0 = now).is_some());
                }
                Op::Comeback(number) => {
                    let known = heartbeat.handle_comeback(now, peer(number));
                    assert_eq!(known, heard.contains_key(&peer(number)));
                }
                Op::Login(number) => {
                    heartbeat.handle_login(now, peer(number));
                    heard.entry(peer(number)).and_modify(|heard| heard.0 = now);
                }
                Op::Interval { peer: number, millis } => {
                    let interval = Duration::from_millis(millis.max(2000));
                    heartbeat.set_interval(now, peer(number), interval);
                    heard.entry(peer(number)).and_modify(|heard| heard.1 = interval);
                }
                Op::Advance(millis) => {
                    now += Duration::from_millis(millis);
                    heartbeat.handle_timeout(now);
                }
                Op::Read => while heartbeat.poll_event().is_some() {},
            }
            heartbeat.handle_timeout(now);
            assert!(heartbeat.poll_timeout().is_none_or(|at| at > now));
            let mut sent = 0;
            while let Some(transmit) = heartbeat.poll_transmit() {
                assert!(heard.contains_key(&transmit.peer) && (1..=5).contains(&transmit.copies));
                sent += 1;
            }
            assert!(sent <= 2 * heard.len());
            for (&peer, &(heard, interval)) in &heard {
                let silence = now.saturating_duration_since(heard);
                let state = heartbeat.state(peer).unwrap();
                if silence >= interval * dead {
                    assert_eq!(state, State::Down);
                } else if state != State::Down && silence >= interval * suspect {
                    assert_eq!(state, State::Suspect);
                }
            }
        }
        let mut events = 0;
        while let Some(event) = heartbeat.poll_event() {
            events += 1;
            let (Event::Up(peer) | Event::Suspect(peer) | Event::Down(peer) | Event::LogIn(peer, _)) = event;
            assert!(heard.contains_key(&peer));
        }
        assert!(events <= 2 * heard.len());
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
