//! The responder of KEEP UDP under any datagrams, at any times, with any answers: executed at most once, memory and
//! amplification bounded, timers that get on, and nothing left.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Decoder, Dialect, Packet};

use super::keep_wire::{self, TAG};
use super::script::Script;
use crate::keep::budget::Rates;
use crate::keep::pieces::{Bounds, Mark};
use crate::keep::responder::{Config, Responder, Ticket};
use crate::keep::{Limits, control};

/// Peers of whole pieces, each in a network of its own; behind them one whose datagrams are any bytes.
const PEERS: u8 = 3;
const RATES: Rates = Rates { rate: 500, burst: 3000, sign_rate: 700, sign_burst: 2000, prefixes: 3 };

/// Any datagrams, times and answers.
pub fn keep_responder(input: &[u8]) {
    let mut script = Script::new(input);
    let mut run = Run::new(script.byte());
    while !script.is_over() {
        run.step(&mut script);
        run.check();
    }
    run.end();
}

#[derive(Default)]
struct Counts {
    came: u64,
    went: u64,
    /// ACCEPTED and answers to CANCEL, which have a bound of their own.
    controls: u64,
}

/// What was executed of a request, and when the first CANCEL after that came.
struct Executed {
    at: Instant,
    cancelled: Option<Instant>,
    /// What had given way by then.
    gave_way: u64,
}

struct Run {
    dialect: &'static Dialect,
    real: Responder,
    limits: Limits,
    begin: Instant,
    now: Instant,
    counts: BTreeMap<SocketAddr, Counts>,
    /// The last request of each peer and identity.
    executed: BTreeMap<(SocketAddr, i32), (Packet, Executed)>,
    tickets: Vec<Ticket>,
    last: Option<(SocketAddr, Bytes)>,
}

fn peer(nth: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, nth, 1], 4000))
}

impl Run {
    fn new(settings: u8) -> Self {
        let dialect = keep_wire::dialect(settings);
        let limits = Limits {
            pieces: 300,
            entity: 20_000,
            exchanges: [4, 100][usize::from(settings >> 2 & 1)],
            exchanges_per_peer: 3,
            bytes: [3000, 12_000, 100_000, 1 << 20][usize::from(settings >> 3 & 3)],
            controls: 20,
            settled: [1, 100][usize::from(settings >> 5 & 1)],
            ..Limits::default()
        };
        let config = Config { limits: limits.clone(), rates: RATES, ..Config::new(dialect) };
        let now = Instant::now();
        Self {
            dialect,
            real: Responder::new(config),
            limits,
            begin: now,
            now,
            counts: BTreeMap::new(),
            executed: BTreeMap::new(),
            tickets: Vec::new(),
            last: None,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(10) {
            0 => {
                let length = usize::from(script.word());
                let bytes = Bytes::copy_from_slice(script.take(length));
                self.gets(peer(PEERS), bytes);
            }
            1..=3 => {
                let from = peer(script.below(PEERS));
                let bytes = keep_wire::piece(self.dialect, script, false);
                self.gets(from, bytes);
            }
            4 => {
                let from = peer(script.below(PEERS));
                let serials: Vec<u32> = (0..script.below(60)).map(|_| u32::from(script.byte())).collect();
                let retry = control::retry(self.dialect, None, i32::from(script.below(3)), &serials);
                if let Ok(bytes) = retry {
                    self.gets(from, bytes);
                }
            }
            5 => {
                let (from, identity) = (peer(script.below(PEERS)), i32::from(script.below(3)));
                if let Some((_, executed)) = self.executed.get_mut(&(from, identity)) {
                    executed.cancelled.get_or_insert(self.now);
                }
                if let Ok(bytes) = control::cancel(self.dialect, None, identity) {
                    self.gets(from, bytes);
                }
            }
            6 => {
                if let Some((from, bytes)) = self.last.clone() {
                    self.gets(from, bytes);
                }
            }
            7 => self.pass(Duration::from_millis(u64::from(script.word()))),
            8 => {
                let at = usize::from(script.byte()).checked_rem(self.tickets.len());
                if let Some(at) = at {
                    let ticket = self.tickets.swap_remove(at);
                    let size = usize::from(script.word()) % 21_000;
                    let answer = (size != 1).then(|| keep_wire::answer(self.dialect, size));
                    // Without room there is none.
                    let _ = self.real.answer(self.now, ticket, answer);
                }
            }
            _ => self.send(usize::from(script.byte())),
        }
    }

    fn gets(&mut self, from: SocketAddr, bytes: Bytes) {
        self.counts.entry(from).or_default().came += bytes.len() as u64;
        if let Some(identity) = self.too_large(&bytes) {
            self.executed.remove(&(from, identity));
        }
        self.real.handle_datagram(self.now, from, &bytes);
        self.last = Some((from, bytes));
        while let Some(event) = self.real.poll_event() {
            self.tickets.push(event.ticket);
            self.execute(event.from, &event.packet);
        }
    }

    /// The identity of a request that is refused because this piece of it tells that it is too large.
    fn too_large(&self, bytes: &[u8]) -> Option<i32> {
        let packet = Decoder::new(self.dialect).packet(bytes).ok()?;
        let mark = Mark::of(self.dialect, &packet)?;
        let bounds = Bounds { pieces: self.limits.pieces, entity: self.limits.entity };
        bounds.exclude(mark, packet.entity().len()).then_some(mark.identity)
    }

    /// A request is not executed again unless it was cancelled and that has settled, or was forgotten, or another
    /// one of that identity was executed, or refused, in between.
    fn execute(&mut self, from: SocketAddr, packet: &Packet) {
        assert!(self.counts.contains_key(&from), "somebody has sent it");
        if from == peer(PEERS) {
            return;
        }
        let Some(identity) = keep_wire::tagged(packet) else { return };
        let now = self.now;
        let gave_way = self.real.stats().gave_way;
        let executed = Executed { at: now, cancelled: None, gave_way };
        let before = self.executed.insert((from, identity), (packet.clone(), executed));
        let Some((known, before)) = before.filter(|(known, _)| known == packet) else { return };
        let forgotten = now >= before.at + self.limits.tombstone;
        // A full ring forgets early.
        let settled =
            before.cancelled.is_some_and(|at| now >= at + self.limits.settle || self.limits.settled == 1);
        // In a table that is full what is remembered of the largest network gives way.
        let full = gave_way > before.gave_way;
        assert!(forgotten || settled || full, "executed again: {:?}", known.first(TAG));
    }

    fn send(&mut self, most: usize) {
        for _ in 0..most {
            let Some(sent) = self.real.poll_transmit(self.now) else { break };
            let counts = self.counts.entry(sent.to).or_default();
            assert!(counts.came > 0, "nothing goes to somebody who has sent nothing");
            let Ok(packet) = Decoder::new(self.dialect).packet(&sent.bytes) else {
                panic!("it can be read");
            };
            let is_control = !packet.code().is_request() && Mark::of(self.dialect, &packet).is_none();
            let counter = if is_control { &mut counts.controls } else { &mut counts.went };
            *counter += sent.bytes.len() as u64;
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        while let Some(at) = self.real.poll_timeout().filter(|&at| at <= end) {
            turns = if at > self.now { 0 } else { turns + 1 };
            assert!(turns < 400, "time gets on");
            self.now = self.now.max(at);
            self.real.handle_timeout(self.now);
            self.send(usize::MAX);
            self.check();
        }
        self.now = end;
    }

    fn check(&self) {
        assert!(self.real.held() <= self.limits.bytes, "{} bytes", self.real.held());
        assert!(self.real.exchanges() <= self.limits.exchanges);
        let time = (self.now - self.begin).as_secs_f64();
        let rates = (RATES.burst + RATES.sign_burst) as f64 + (RATES.rate + RATES.sign_rate) as f64 * time;
        for (peer, counts) in &self.counts {
            let beyond = counts.went as f64 - counts.came as f64;
            assert!(beyond <= rates + 1.0, "{beyond} bytes to {peer} beyond what came, not {rates}");
            let beyond = counts.controls as f64 - 3.0 * counts.came as f64;
            assert!(beyond <= rates + 1.0, "{beyond} bytes of controls to {peer}, not {rates}");
        }
    }

    fn end(mut self) {
        for ticket in std::mem::take(&mut self.tickets) {
            assert!(self.real.answer(self.now, ticket, None).is_ok());
        }
        self.send(usize::MAX);
        self.pass(Duration::from_secs(3600));
        assert_eq!((self.real.held(), self.real.exchanges()), (0, 0));
        assert_eq!(self.real.poll_timeout(), None);
    }
}
