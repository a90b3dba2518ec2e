//! Endpoints of the own transport on a virtual wire.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fixp_codec::Dialect;
use fixp_laboratory::Wire;
use fixp_transport::keep::Ledger;
use fixp_transport::keep::own::{Config, Endpoint, Event};

pub(crate) const MILLI: Duration = Duration::from_millis(1);

/// An endpoint at an address.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) ledger: Ledger,
    pub(crate) dialect: &'static Dialect,
    pub(crate) config: Config,
}

impl Node {
    pub(crate) fn new(config: Config, dialect: &'static Dialect, bytes: usize, seed: u64) -> Self {
        let ledger = Ledger::new(bytes);
        Self { endpoint: Endpoint::new(config.clone(), ledger.clone(), seed), ledger, dialect, config }
    }

    /// Everything is forgotten, as after a crash.
    pub(crate) fn crash(&mut self, seed: u64) {
        self.endpoint = Endpoint::new(self.config.clone(), self.ledger.clone(), seed);
    }
}

/// A datagram that was sent.
pub(crate) struct Sent {
    pub(crate) at: Duration,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) start: Instant,
    pub(crate) now: Duration,
    pub(crate) wire: Wire,
    pub(crate) nodes: BTreeMap<SocketAddr, Node>,
    /// Datagrams and bytes that were sent, by sender and receiver.
    pub(crate) sent: BTreeMap<(SocketAddr, SocketAddr), (u64, u64)>,
    /// A digest of all that was sent, when and in which order.
    pub(crate) digest: u64,
    /// Everything that was sent, where a test wants to look at it.
    pub(crate) log: Option<Vec<Sent>>,
    /// How many datagrams leave at a time.
    pub(crate) batch: usize,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut wire = Wire::new(seed);
        wire.set_capture_limit(0);
        Self {
            start: Instant::now(),
            now: Duration::ZERO,
            wire,
            nodes: BTreeMap::new(),
            sent: BTreeMap::new(),
            digest: 0,
            log: None,
            batch: 10,
        }
    }

    pub(crate) fn at(&self) -> Instant {
        self.start + self.now
    }

    pub(crate) fn node(&mut self, at: SocketAddr) -> &mut Endpoint {
        &mut self.nodes.get_mut(&at).unwrap().endpoint
    }

    /// Sends something that no endpoint has written.
    pub(crate) fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.note(from, to, bytes);
        self.wire.send(self.now, from, to, bytes.to_vec());
    }

    fn note(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let count = self.sent.entry((from, to)).or_default();
        count.0 += 1;
        count.1 += bytes.len() as u64;
        for &byte in self.now.as_nanos().to_le_bytes().iter().chain(bytes) {
            self.digest = (self.digest.rotate_left(5) ^ u64::from(byte)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        if let Some(log) = &mut self.log {
            log.push(Sent { at: self.now, from, to, bytes: bytes.to_vec() });
        }
    }

    /// What has arrived is taken, timers are heard, what is to be sent is sent. Gives the events.
    pub(crate) fn step(&mut self) -> Vec<(SocketAddr, Event)> {
        let at = self.at();
        while let Some(delivery) = self.wire.poll(self.now) {
            if let Some(node) = self.nodes.get_mut(&delivery.to) {
                node.endpoint.handle_datagram(at, delivery.from, node.dialect, &delivery.bytes);
                assert!(node.ledger.held() <= node.ledger.bound());
            }
        }
        for node in self.nodes.values_mut() {
            if node.endpoint.poll_timeout().is_some_and(|due| due <= at) {
                node.endpoint.handle_timeout(at);
            }
        }
        self.flush();
        let mut events = Vec::new();
        for (&address, node) in &mut self.nodes {
            events.extend(std::iter::from_fn(|| node.endpoint.poll_event()).map(|event| (address, event)));
        }
        events
    }

    /// What is to be sent is sent.
    pub(crate) fn flush(&mut self) {
        let at = self.at();
        let addresses: Vec<SocketAddr> = self.nodes.keys().copied().collect();
        for from in addresses {
            let mut buffer = Vec::new();
            let mut turns = 0;
            while let Some(sent) =
                self.nodes.get_mut(&from).unwrap().endpoint.poll_transmit(at, &mut buffer, self.batch)
            {
                assert!(
                    sent.segment > 0
                        && buffer.len() <= 65507
                        && buffer.len().div_ceil(sent.segment) <= self.batch
                );
                for datagram in buffer.chunks(sent.segment) {
                    self.note(from, sent.to, datagram);
                    self.wire.send(self.now, from, sent.to, datagram.to_vec());
                }
                buffer.clear();
                turns += 1;
                assert!(turns < 100_000, "there is an end");
            }
            assert!(buffer.is_empty());
        }
    }

    /// When something happens next.
    pub(crate) fn next(&self) -> Option<Duration> {
        let timers = self.nodes.values().filter_map(|node| node.endpoint.poll_timeout());
        let timers = timers.map(|at| at.saturating_duration_since(self.start));
        timers.chain(self.wire.next_time()).min().map(|at| at.max(self.now))
    }

    /// Runs until nothing happens before a time, which it is then; gives the events.
    pub(crate) fn run_until(&mut self, until: Duration) -> Vec<(SocketAddr, Event)> {
        let mut events = Vec::new();
        loop {
            events.extend(self.step());
            match self.next() {
                Some(next) if next <= until => self.now = next,
                _ => break,
            }
        }
        self.now = until;
        events
    }

    /// The same for some time from now on.
    pub(crate) fn run_for(&mut self, time: Duration) -> Vec<(SocketAddr, Event)> {
        self.run_until(self.now + time)
    }
}
