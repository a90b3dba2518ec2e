//! Recovery and congestion control of the own transport as an unlimited sender on a virtual link: how much of the
//! link it uses at random loss, how it shares, how long the queues are that it makes, how it follows a change.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use fixp_laboratory::{Link, LinkConfig, Random};
use fixp_transport::keep::own::acknowledged::{self, Acknowledged};
use fixp_transport::keep::own::ranges::Ranges;
use fixp_transport::keep::own::recovery::{Config, Kind, Permit, Recovery};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// 100 Mbit/s.
const RATE: u64 = 12_500_000;
/// 50 ms of it.
const PRODUCT: usize = 625_000;
const SEEDS: [u64; 3] = [1, 2, 3];

/// The link of most tests, one direction: 100 Mbit/s, half of 50 ms, a queue of one product.
fn link() -> LinkConfig {
    LinkConfig::default().with_bandwidth(RATE).with_delay(25 * MILLI).with_queue(PRODUCT)
}

/// A sender that always has something, and a receiver that acknowledges every second packet, gaps at once.
struct Flow {
    sender: Recovery<()>,
    begins: Duration,
    size: usize,
    paced: Option<Duration>,
    come: Ranges,
    unacknowledged: u32,
    acknowledge_at: Option<Duration>,
    largest_came: Duration,
    /// Bytes sent, and received less those of packets that were taken for lost.
    sent: u64,
    received: u64,
}

/// What one test runs: flows over one link there, and one back.
struct Simulation {
    start: Instant,
    now: Duration,
    random: Random,
    there: Link,
    back: Link,
    delay: Duration,
    flows: Vec<Flow>,
    /// Of every arrival: when, the flow, the number.
    log: Vec<(Duration, usize, u64)>,
    /// The longest, and all times that arrivals took beyond the delay, and how many.
    waited_most: Duration,
    waited: Duration,
    arrivals: u32,
}

impl Simulation {
    fn new(seed: u64, there: LinkConfig, back: LinkConfig) -> Self {
        println!("seed {seed}");
        Self {
            start: Instant::now(),
            now: Duration::ZERO,
            random: Random::new(seed),
            delay: there.delay,
            there: Link::new(there),
            back: Link::new(back),
            flows: Vec::new(),
            log: Vec::new(),
            waited_most: Duration::ZERO,
            waited: Duration::ZERO,
            arrivals: 0,
        }
    }

    /// The link of most tests, with random loss in both directions.
    fn lossy(seed: u64, loss: f64) -> Self {
        Self::new(seed, link().with_loss(loss), link().with_loss(loss)).with_flow(Duration::ZERO, 1472)
    }

    fn with_flow(mut self, begins: Duration, size: usize) -> Self {
        let seed = self.random.next_u64();
        self.flows.push(Flow {
            sender: Recovery::new(self.start + begins, &Config::default(), seed, size),
            begins,
            size,
            paced: None,
            come: Ranges::new(64),
            unacknowledged: 0,
            acknowledge_at: None,
            largest_came: Duration::ZERO,
            sent: 0,
            received: 0,
        });
        self
    }

    /// Runs until then. Returns what arrived of each flow, in bytes.
    fn run_until(&mut self, end: Duration) -> Vec<u64> {
        let before: Vec<u64> = self.flows.iter().map(|flow| flow.received).collect();
        self.waited_most = Duration::ZERO;
        self.waited = Duration::ZERO;
        self.arrivals = 0;
        let mut stuck = 0;
        loop {
            self.send();
            let next = self.next_time();
            if next > end {
                break;
            }
            stuck = if next > self.now { 0 } else { stuck + 1 };
            assert!(stuck < 10_000, "a busy loop at {next:?}");
            self.now = next;
            self.receive();
            self.acknowledgements();
            self.timers();
        }
        self.now = end;
        self.flows.iter().zip(before).map(|(flow, before)| flow.received - before).collect()
    }

    fn next_time(&self) -> Duration {
        let flows = self.flows.iter().flat_map(|flow| {
            let timer = flow.sender.poll_timeout().map(|at| at - self.start);
            [timer, flow.paced, flow.acknowledge_at, Some(flow.begins).filter(|begins| *begins > self.now)]
        });
        let next = flows.chain([self.there.next_time(), self.back.next_time()]).flatten().min();
        next.unwrap_or(Duration::MAX)
    }

    fn send(&mut self) {
        for index in 0..self.flows.len() {
            self.flows[index].paced = None;
            while self.flows[index].begins <= self.now {
                let flow = &mut self.flows[index];
                match flow.sender.permit(self.start + self.now, flow.size) {
                    Permit::Now => {
                        assert!(flow.sender.in_flight() <= flow.sender.window());
                        self.datagram(index, Kind::Data);
                    }
                    Permit::At(at) => {
                        assert!(at > self.start + self.now);
                        flow.paced = Some(at - self.start);
                        break;
                    }
                    Permit::Full => {
                        assert!(flow.sender.in_flight() > 0, "nothing would ever go on");
                        break;
                    }
                }
            }
        }
    }

    fn datagram(&mut self, index: usize, kind: Kind) {
        let flow = &mut self.flows[index];
        let number = flow.sender.on_sent(self.start + self.now, flow.size, kind, ());
        flow.sent += flow.size as u64;
        let mut bytes = vec![0; flow.size];
        bytes[0] = index as u8;
        bytes[1..9].copy_from_slice(&number.to_be_bytes());
        bytes[9..17].copy_from_slice(&(self.now.as_nanos() as u64).to_be_bytes());
        self.there.send(self.now, bytes, &mut self.random);
    }

    fn receive(&mut self) {
        while let Some(bytes) = self.there.poll(self.now) {
            let index = usize::from(bytes[0]);
            let number = u64::from_be_bytes(bytes[1..9].try_into().unwrap());
            let sent = u64::from_be_bytes(bytes[9..17].try_into().unwrap());
            self.log.push((self.now, index, number));
            let waited = self.now - Duration::from_nanos(sent) - self.delay;
            self.waited_most = self.waited_most.max(waited);
            self.waited += waited;
            self.arrivals += 1;
            let flow = &mut self.flows[index];
            let expected = flow.come.largest().map_or(0, |largest| largest + 1);
            if flow.come.insert(number) {
                flow.received += bytes.len() as u64;
                flow.unacknowledged += 1;
            }
            if number >= expected {
                flow.largest_came = self.now;
                // So much earlier nothing is under way any more.
                flow.come.forget_below(number.saturating_sub(4000));
            }
            if flow.unacknowledged >= 2 || number != expected {
                self.acknowledge(index);
            } else if flow.acknowledge_at.is_none() {
                flow.acknowledge_at = Some(self.now + 5 * MILLI);
            }
        }
    }

    fn acknowledge(&mut self, index: usize) {
        let flow = &mut self.flows[index];
        flow.unacknowledged = 0;
        flow.acknowledge_at = None;
        let mut bytes = vec![index as u8];
        acknowledged::write(&flow.come, self.now - flow.largest_came, 64, &mut bytes);
        self.back.send(self.now, bytes, &mut self.random);
    }

    fn acknowledgements(&mut self) {
        while let Some(bytes) = self.back.poll(self.now) {
            let flow = &mut self.flows[usize::from(bytes[0])];
            let read = Acknowledged::read(&bytes[1..]).unwrap();
            flow.sender.on_acknowledged(self.start + self.now, read.ranges(), read.delay).unwrap();
            while flow.sender.poll_acked().is_some() {}
            while flow.sender.poll_lost().is_some() {}
        }
    }

    fn timers(&mut self) {
        let now = self.start + self.now;
        for index in 0..self.flows.len() {
            if self.flows[index].acknowledge_at.is_some_and(|at| at <= self.now) {
                self.acknowledge(index);
            }
            let flow = &mut self.flows[index];
            if flow.sender.poll_timeout().is_some_and(|at| at <= now) {
                let probes = flow.sender.handle_timeout(now);
                assert!(flow.sender.poll_timeout().is_none_or(|at| at > now));
                while flow.sender.poll_lost().is_some() {}
                for _ in 0..probes {
                    self.datagram(index, Kind::LossProbe);
                }
            }
        }
    }

    /// The part of the link's 100 Mbit/s.
    fn share(bytes: u64, time: Duration) -> f64 {
        bytes as f64 / (RATE as f64 * time.as_secs_f64())
    }
}

fn goodput(loss: f64) -> f64 {
    let runs = SEEDS.map(|seed| {
        let mut simulation = Simulation::lossy(seed, loss);
        let bytes = simulation.run_until(20 * SECOND)[0];
        let flow = &simulation.flows[0];
        let late = flow.sender.late_packets() * flow.size as u64;
        let share = Simulation::share(bytes - late, 20 * SECOND);
        println!(
            "loss {loss}: {share:.3} of the link, {} packets lost, {} late, sent {:.3}, queue {:?} in the mean",
            flow.sender.lost_packets(),
            flow.sender.late_packets(),
            Simulation::share(flow.sent, 20 * SECOND),
            simulation.waited / simulation.arrivals,
        );
        share
    });
    runs.into_iter().fold(1.0, f64::min)
}

#[test]
fn without_loss_the_link_is_full() {
    assert!(goodput(0.0) >= 0.95);
}

#[test]
fn one_percent_of_loss_costs_little() {
    assert!(goodput(0.01) >= 0.92);
}

#[test]
fn five_percent_of_loss_is_no_congestion() {
    assert!(goodput(0.05) >= 0.85);
}

#[test]
fn a_long_queue_is_not_filled() {
    for seed in SEEDS {
        let mut simulation =
            Simulation::new(seed, link().with_queue(10 * PRODUCT), link()).with_flow(Duration::ZERO, 1472);
        simulation.run_until(2 * SECOND);
        println!("startup waits {:?} at most", simulation.waited_most);
        let bytes = simulation.run_until(20 * SECOND)[0];
        let mean = simulation.waited / simulation.arrivals;
        println!("waits {mean:?} in the mean, {:?} at most", simulation.waited_most);
        assert!(simulation.waited_most < 75 * MILLI, "1.5 products");
        assert!(mean < 25 * MILLI);
        assert!(Simulation::share(bytes, 18 * SECOND) > 0.9);
    }
}

#[test]
fn a_tenth_of_the_rate_is_noticed_in_seconds() {
    for (seed, queue) in [(1, PRODUCT), (2, PRODUCT), (3, PRODUCT / 10), (4, 4 * PRODUCT)] {
        let mut simulation =
            Simulation::new(seed, link().with_queue(queue), link()).with_flow(Duration::ZERO, 1472);
        simulation.run_until(5 * SECOND);
        simulation.there.set(link().with_bandwidth(RATE / 10).with_queue(queue));
        simulation.run_until(8 * SECOND);
        let (sent, lost) = (simulation.flows[0].sent, simulation.flows[0].sender.lost_packets());
        let bytes = simulation.run_until(13 * SECOND)[0];
        let (sent, lost) =
            (simulation.flows[0].sent - sent, simulation.flows[0].sender.lost_packets() - lost);
        let share = 10.0 * Simulation::share(bytes, 5 * SECOND);
        println!(
            "queue {queue}: {share:.3} of the new rate, sent {sent}, {lost} lost, waited {:?}",
            simulation.waited / simulation.arrivals
        );
        assert!(share > 0.8, "of the new rate");
        assert!(simulation.waited / simulation.arrivals < 100 * MILLI, "the old queue is gone");
        assert!(sent as f64 <= 1.2 * f64::from(RATE as u32 / 10 * 5), "no flood");
        simulation.there.set(link().with_queue(queue));
        simulation.run_until(18 * SECOND);
        let bytes = simulation.run_until(23 * SECOND)[0];
        let share = Simulation::share(bytes, 5 * SECOND);
        println!("queue {queue}: {share:.3} of the old rate again");
        assert!(share > 0.8, "of the old rate");
    }
}

#[test]
fn thirty_percent_of_loss_moves_and_does_not_flood() {
    for seed in SEEDS {
        let mut simulation = Simulation::lossy(seed, 0.3);
        let bytes = simulation.run_until(20 * SECOND)[0];
        let share = Simulation::share(bytes, 20 * SECOND);
        let sent = Simulation::share(simulation.flows[0].sent, 20 * SECOND);
        println!("{share:.3} of the link arrived, {sent:.3} was sent");
        assert!(share > 0.1);
        assert!(sent <= 2.0);
    }
}

#[test]
fn two_flows_share() {
    for (seed, begins) in [(1, 0), (2, 1), (3, 3)] {
        let begins = SECOND * begins;
        let mut simulation = Simulation::lossy(seed, 0.0).with_flow(begins, 1472);
        simulation.run_until(begins);
        let bytes = simulation.run_until(begins + 30 * SECOND);
        let sum = bytes.iter().sum::<u64>() as f64;
        let squares = bytes.iter().map(|bytes| (*bytes as f64).powi(2)).sum::<f64>();
        let jain = sum * sum / (2.0 * squares);
        let lost: u64 = simulation.flows.iter().map(|flow| flow.sender.lost_packets()).sum();
        println!(
            "second begins after {begins:?}: {bytes:?}, Jain's index {jain:.3}, {:.3} of the link, {lost} lost",
            Simulation::share(sum as u64, 30 * SECOND)
        );
        assert!(jain > 0.8);
        assert!(Simulation::share(sum as u64, 30 * SECOND) > 0.9);
    }
}

#[test]
fn a_short_queue_is_not_overrun_for_long() {
    for (seed, packets) in [(1, 10), (2, 30), (3, 100)] {
        let mut simulation =
            Simulation::new(seed, link().with_queue(packets * 1472), link()).with_flow(Duration::ZERO, 1472);
        simulation.run_until(2 * SECOND);
        let (sent, lost) = (simulation.flows[0].sent, simulation.flows[0].sender.lost_packets());
        let bytes = simulation.run_until(20 * SECOND)[0];
        let share = Simulation::share(bytes, 18 * SECOND);
        let sent = (simulation.flows[0].sent - sent) / 1472;
        let lost = (simulation.flows[0].sender.lost_packets() - lost) as f64 / sent as f64;
        println!("{packets} packets: {share:.3} of the link, {lost:.3} lost");
        assert!(share > 0.8);
        assert!(lost < 0.05);
    }
}

#[test]
fn loopback_is_fast() {
    for (seed, size) in [(1, 65507), (2, 8932), (3, 1472), (4, 32768)] {
        let there = LinkConfig::default()
            .with_bandwidth(4_000_000_000)
            .with_delay(Duration::from_micros(15))
            .with_queue(200_000);
        let mut simulation = Simulation::new(seed, there.clone(), there).with_flow(Duration::ZERO, size);
        let time = 50 * MILLI;
        let bytes = simulation.run_until(time)[0];
        let flow = &simulation.flows[0];
        let rate = bytes as f64 / time.as_secs_f64();
        let lost = flow.sender.lost_packets() as f64 * size as f64 / flow.sent as f64;
        println!("datagrams of {size}: {rate:.2e} bytes a second, {lost:.4} lost");
        assert!(rate > 1e9);
        assert!(lost < 0.01);
    }
}

#[test]
fn a_pause_of_the_path_is_survived() {
    for seed in SEEDS {
        let mut simulation = Simulation::lossy(seed, 0.0);
        simulation.run_until(5 * SECOND);
        simulation.there.set(link().with_loss(1.0));
        let sent = simulation.flows[0].sent;
        simulation.run_until(15 * SECOND);
        let sent = simulation.flows[0].sent - sent;
        println!("{sent} bytes into the dark");
        assert!(sent < 3 * PRODUCT as u64);
        simulation.there.set(link());
        simulation.run_until(22 * SECOND);
        let bytes = simulation.run_until(27 * SECOND)[0];
        let share = Simulation::share(bytes, 5 * SECOND);
        println!("{share:.3} of the link afterwards");
        assert!(share > 0.9);
    }
}

#[test]
fn reordering_is_learned() {
    let there = link().with_reorder(0.05, 5 * MILLI);
    let mut simulation = Simulation::new(1, there, link()).with_flow(Duration::ZERO, 1472);
    simulation.run_until(2 * SECOND);
    let late = simulation.flows[0].sender.late_packets();
    let bytes = simulation.run_until(10 * SECOND)[0];
    let flow = &simulation.flows[0];
    println!("{late} late at first, then {}", flow.sender.late_packets() - late);
    assert!(flow.sender.late_packets() - late < 50);
    assert!(Simulation::share(bytes, 8 * SECOND) > 0.9);
}

#[test]
fn jitter_does_not_make_it_slow() {
    // With the last, packets arrive in more ranges than an acknowledgement tells.
    for (seed, delay, jitter, least) in [(1, 25, 10, 0.9), (2, 5, 5, 0.9), (3, 25, 50, 0.5)] {
        let there = LinkConfig::default().with_bandwidth(RATE).with_queue(PRODUCT).with_delay(delay * MILLI);
        let config = there.with_jitter(jitter * MILLI);
        let mut simulation = Simulation::new(seed, config.clone(), config).with_flow(Duration::ZERO, 1472);
        simulation.run_until(3 * SECOND);
        let bytes = simulation.run_until(10 * SECOND)[0];
        let flow = &simulation.flows[0];
        let share = Simulation::share(bytes, 7 * SECOND);
        println!(
            "delay {delay} ms, jitter {jitter} ms: {share:.3} of the link, {} late",
            flow.sender.late_packets()
        );
        assert!(share > least);
    }
}

#[test]
fn a_longer_way_is_learned() {
    let mut simulation = Simulation::lossy(1, 0.0);
    simulation.run_until(5 * SECOND);
    // Three times as long from now on.
    simulation.there.set(link().with_delay(75 * MILLI));
    simulation.back.set(link().with_delay(75 * MILLI));
    let bytes = simulation.run_until(17 * SECOND)[0];
    let share = Simulation::share(bytes, 12 * SECOND);
    println!("{share:.3} of the link until it is learned");
    assert!(share > 0.4);
    simulation.run_until(22 * SECOND);
    let bytes = simulation.run_until(27 * SECOND)[0];
    let share = Simulation::share(bytes, 5 * SECOND);
    println!("{share:.3} of the link afterwards");
    assert!(share > 0.8);
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let run = |seed| {
        let mut simulation = Simulation::lossy(seed, 0.05).with_flow(SECOND, 1200);
        simulation.run_until(5 * SECOND);
        simulation.log
    };
    assert!(run(7) == run(7));
    assert!(run(7) != run(8));
}
