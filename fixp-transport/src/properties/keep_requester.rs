//! The requester of KEEP UDP under any datagrams at any times: each exchange ends once and in its time, by an
//! answer that came or a truthful error; memory is bounded, timers get on, and only the peer hears of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Decoder, Dialect};

use super::keep_wire;
use super::script::Script;
use crate::keep::control;
use crate::keep::pieces::{Bounds, Mark, PIECE_COST};
use crate::keep::requester::{Config, Requester};
use crate::{CallError, Cause, Fate};

const BOUNDS: Bounds = Bounds { pieces: 40, entity: 9000 };
/// What a datagram that is any bytes may bring in messages, as the requester counts it.
const HEAD: usize = 1 << 20;

/// Any datagrams and times.
pub fn keep_requester(input: &[u8]) {
    let mut script = Script::new(input);
    let mut run = Run::new(script.byte(), script.byte());
    while !script.is_over() {
        run.step(&mut script);
        run.check();
    }
    run.end();
}

struct Run {
    dialect: &'static Dialect,
    config: Config,
    real: Requester,
    now: Instant,
    /// The exchange under way: its deadline, its identity and its pieces.
    asked: Option<(Instant, i32, u32)>,
    identity: i32,
    /// The pieces of answers that came for it: which answer, which piece.
    came: BTreeSet<(Cut, u32)>,
    /// Any bytes came, so that the answer may be any.
    anything: bool,
    left: BTreeSet<u32>,
    /// How often each piece has left, and was asked for.
    sent: Vec<u32>,
    wanted: Vec<u32>,
    /// How often its peer has asked for another identity.
    stale: u32,
    last: Option<Bytes>,
}

/// An answer: the count of its pieces and its tag.
type Cut = (u32, Vec<u8>);

fn peer() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 6600))
}

impl Run {
    fn new(settings: u8, time: u8) -> Self {
        let dialect = keep_wire::dialect(settings);
        let config = Config {
            timeout: Duration::from_secs(1 + u64::from(time)),
            repeat: settings & 4 == 0,
            bounds: BOUNDS,
            ..Config::new(dialect)
        };
        Self {
            dialect,
            real: Requester::new(config.clone(), peer()),
            now: Instant::now(),
            identity: config.identity,
            config,
            asked: None,
            came: BTreeSet::new(),
            anything: false,
            stale: 0,
            left: BTreeSet::new(),
            sent: Vec::new(),
            wanted: Vec::new(),
            last: None,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(10) {
            0 => {
                let length = usize::from(script.word());
                let bytes = Bytes::copy_from_slice(script.take(length));
                self.anything = true;
                self.gets(&bytes);
            }
            1..=3 => {
                let bytes = keep_wire::piece(self.dialect, script, true);
                self.gets(&bytes);
            }
            4 => {
                let serials: Vec<u32> = (0..script.below(60)).map(|_| u32::from(script.below(40))).collect();
                let retry = control::retry(self.dialect, None, i32::from(script.below(4)), &serials);
                if let Ok(bytes) = retry {
                    self.gets(&bytes);
                }
            }
            5 => {
                let identity = i32::from(script.below(4));
                let control = match script.below(3) {
                    0 => control::accepted(self.dialect, identity),
                    found => control::cancelled(self.dialect, None, found == 1).map(Some),
                };
                if let Ok(Some(bytes)) = control {
                    self.gets(&bytes);
                }
            }
            6 => {
                if let Some(bytes) = self.last.clone() {
                    self.gets(&bytes);
                }
            }
            7 => self.pass(Duration::from_millis(u64::from(script.word()))),
            8 => self.ask(usize::from(script.word()) % 10_000, script.byte()),
            _ => self.send(usize::from(script.byte())),
        }
    }

    fn ask(&mut self, size: usize, kind: u8) {
        if kind == 7 {
            // The caller has gone.
            self.real.abandon(self.now);
            self.asked = None;
            return;
        }
        let idle = self.real.is_idle();
        let packet = keep_wire::request(self.dialect, size);
        match self.real.request(self.now, packet) {
            Ok(()) => {
                assert!(idle && size <= BOUNDS.entity);
                let count = size.div_ceil(480).max(1);
                self.asked = Some((self.now + self.config.timeout, self.identity, count as u32));
                (self.sent, self.wanted) = (vec![0; count], vec![0; count]);
                self.identity += 1;
                self.came.clear();
                self.left.clear();
                self.anything = false;
                self.stale = 0;
            }
            Err(error) => {
                assert_eq!(error.fate, Fate::NotSent);
                let refused = if idle {
                    matches!(error.cause, Cause::TooLarge { .. })
                } else {
                    error.cause == Cause::Full
                };
                assert!(refused, "{error:?}");
            }
        }
    }

    fn gets(&mut self, bytes: &Bytes) {
        self.last = Some(bytes.clone());
        // From elsewhere it is nothing.
        let before = (self.real.held(), self.real.is_idle(), self.real.poll_timeout());
        self.real.handle_datagram(self.now, SocketAddr::from(([10, 0, 0, 3], 6600)), bytes);
        assert_eq!(before, (self.real.held(), self.real.is_idle(), self.real.poll_timeout()));
        if let Ok(packet) = Decoder::new(self.dialect).packet(bytes) {
            let named = control::identity(&packet.head());
            if let Some((_, identity, _)) = self.asked {
                let is_retry = packet.code() == crate::keep::table::of(self.dialect).retry;
                self.stale += u32::from(is_retry && named.is_some_and(|named| named != identity));
                if is_retry && named == Some(identity) {
                    for serial in packet.all(fixp_codec::laxcus6::key::SUBPACKET_SERIAL) {
                        let first = self.dialect.first_serial();
                        let index = serial.as_i32().map(|serial| i64::from(serial) - i64::from(first));
                        let slot = index.and_then(|index| self.wanted.get_mut(usize::try_from(index).ok()?));
                        if let Some(slot) = slot {
                            *slot += 1;
                        }
                    }
                }
                if let Some(mark) = Mark::of(self.dialect, &packet)
                    && mark.identity == identity
                    && let Some(tag) = packet.first(keep_wire::TAG)
                {
                    self.came.insert(((mark.count, tag.bytes().to_vec()), mark.index));
                }
            }
        }
        self.real.handle_datagram(self.now, peer(), bytes);
        self.events();
    }

    fn events(&mut self) {
        while let Some(outcome) = self.real.poll_event() {
            let Some((deadline, _, count)) = self.asked.take() else {
                panic!("an event that nobody waits for")
            };
            match outcome {
                Ok(packet) => {
                    assert!(!packet.code.is_request());
                    let pieces = packet.entity.len().div_ceil(480).max(1) as u32;
                    let all = self.anything
                        || self.came.iter().any(|((of, tag), _)| {
                            *of == pieces
                                && (0..*of).all(|index| self.came.contains(&((*of, tag.clone()), index)))
                        });
                    assert!(all, "every piece of it came");
                }
                // A piece of the answer has told how long it is.
                Err(CallError { cause: Cause::TooLarge { size, limit }, fate: Fate::PossiblyExecuted }) => {
                    assert!(size > limit && limit == BOUNDS.entity, "{size} {limit}");
                }
                Err(error) => match error.fate {
                    Fate::NotSent if error.cause == Cause::Timeout => {
                        assert!(self.left.len() < count as usize, "all of it has left");
                        assert!(self.now >= deadline);
                    }
                    // It was not to be repeated, and its peer has asked for another a second time.
                    _ if error.cause == Cause::Unexpected => {
                        assert!(!self.config.repeat && self.stale > 1, "{error:?}");
                    }
                    Fate::NotSent => assert!(matches!(error.cause, Cause::Security(_)), "{error:?}"),
                    _ => {
                        assert_eq!(error.cause, Cause::Timeout);
                        assert!(self.now >= deadline);
                    }
                },
            }
        }
    }

    fn send(&mut self, most: usize) {
        for _ in 0..most {
            let Some(sent) = self.real.poll_transmit(self.now) else { break };
            assert_eq!(sent.to, peer());
            let Ok(packet) = Decoder::new(self.dialect).packet(&sent.bytes) else {
                panic!("it can be read");
            };
            let Some(mark) = Mark::of(self.dialect, &packet) else { continue };
            let Some((_, identity, _)) = self.asked else { panic!("a piece of nothing") };
            assert_eq!(mark.identity, identity);
            self.left.insert(mark.index);
            let index = mark.index as usize;
            self.sent[index] += 1;
            if !self.config.repeat {
                // Once more for a stale group of its peer, which has taken nothing then.
                let cured = u32::from(self.stale > 0);
                assert!(self.sent[index] <= 1 + cured + self.wanted[index], "sent again though nobody asked");
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        while let Some(at) = self.real.poll_timeout().filter(|&at| at <= end) {
            turns = if at > self.now { 0 } else { turns + 1 };
            assert!(turns < 100, "time gets on");
            self.now = self.now.max(at);
            self.real.handle_timeout(self.now);
            self.events();
            self.send(usize::MAX);
            self.check();
        }
        self.now = end;
    }

    fn check(&self) {
        if let Some((deadline, ..)) = self.asked {
            assert!(self.real.poll_timeout().is_some_and(|at| at <= deadline), "it ends in time");
        }
        let pieces = BOUNDS.pieces as usize;
        // Request and answer, and what waits to be sent: some pieces, and questions.
        let most = 2 * BOUNDS.entity + pieces * PIECE_COST + 4096 + 256 * 400;
        assert!(self.real.held() <= most + HEAD, "{}", self.real.held());
        assert!(self.asked.is_some() || self.real.held() <= 1000, "{}", self.real.held());
    }

    fn end(mut self) {
        self.send(usize::MAX);
        self.pass(self.config.timeout + Duration::from_secs(120));
        assert!(self.asked.is_none() && self.real.is_idle());
        assert_eq!((self.real.held(), self.real.poll_timeout()), (0, None));
    }
}
