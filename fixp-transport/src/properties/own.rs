//! A client and a server of the own transport, joined by a network that does what the bytes say, and with anything
//! else thrown in: memory is bounded, every request ends once, and nothing is left at the end.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, Value};

use super::script::Script;
use crate::extension::{self, CLOSE, OPEN, OPENED, SEGMENT, key};
use crate::keep::Ledger;
use crate::keep::own::{Config, Endpoint, Entity, Event, Ticket, varint};
use crate::tables;

/// Datagrams that are on their way at a time.
const UNDER_WAY: usize = 200;

/// Any datagrams and times.
pub fn own(input: &[u8]) {
    let mut script = Script::new(input);
    let mut run = Run::new(script.byte(), script.word());
    while !script.is_over() {
        run.step(&mut script);
    }
    run.end();
}

struct Side {
    at: SocketAddr,
    endpoint: Endpoint,
    ledger: Ledger,
    /// What comes to it.
    inbox: VecDeque<Bytes>,
}

struct Run {
    dialect: &'static Dialect,
    now: Instant,
    /// The client and the server.
    sides: [Side; 2],
    association: Option<crate::keep::own::AssociationId>,
    /// Requests that have not ended, and those whose entity is being read.
    asked: BTreeSet<Ticket>,
    reading: BTreeSet<Ticket>,
    /// Of the server: requests that it works on, all that it ever had, and those that it has answered.
    working: BTreeSet<Ticket>,
    executed: BTreeSet<Ticket>,
    answered: BTreeSet<Ticket>,
    /// Numbers of associations that were seen.
    numbers: Vec<Value>,
    nth: i64,
}

impl Run {
    fn new(settings: u8, bytes: u16) -> Self {
        let dialect: &'static Dialect = if settings & 1 == 0 { &LAXCUS6 } else { &LEXST1 };
        let config = Config {
            gather_requests: 3000,
            gather_answers: 5000,
            request: 100_000,
            exchange_window: if settings & 2 == 0 { 4000 } else { 1 << 20 },
            association_window: if settings & 4 == 0 { 9000 } else { 16 << 20 },
            exchanges: if settings & 8 == 0 { 3 } else { 256 },
            send_window: 4000,
            half_open: 4,
            associations: 5,
            ..Config::default()
        };
        let bound = 10_000 + if settings & 16 == 0 { 1 << 20 } else { usize::from(bytes) };
        let side = |nth: u8| {
            let ledger = Ledger::new(bound);
            Side {
                at: SocketAddr::from(([10, 0, 0, nth], 6600)),
                endpoint: Endpoint::new(config.clone(), ledger.clone(), u64::from(nth)),
                ledger,
                inbox: VecDeque::new(),
            }
        };
        Self {
            dialect,
            now: Instant::now(),
            sides: [side(1), side(2)],
            association: None,
            asked: BTreeSet::new(),
            reading: BTreeSet::new(),
            working: BTreeSet::new(),
            executed: BTreeSet::new(),
            answered: BTreeSet::new(),
            numbers: Vec::new(),
            nth: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let server = script.flag();
        let kind = script.below(14);
        match kind {
            0 => self.ask(usize::from(script.word()) % 20_000, script.byte()),
            1 => self.pump(script.below(8)),
            2..=4 => self.deliver(server, usize::from(script.below(4)), kind == 4),
            5 => {
                // Lost.
                let inbox = &mut self.side(server).inbox;
                inbox.pop_front();
            }
            6 => {
                let length = usize::from(script.word());
                let bytes = Bytes::copy_from_slice(script.take(length));
                self.gets(server, &bytes);
            }
            7 => {
                let bytes = self.forged(script);
                self.gets(server, &bytes);
            }
            8 => {
                // One bit of what is on its way.
                let (at, bit) = (usize::from(script.word()), script.below(8));
                let inbox = &mut self.side(server).inbox;
                if let Some(bytes) = inbox.pop_front() {
                    let mut bytes = bytes.to_vec();
                    let length = bytes.len().max(1);
                    if let Some(byte) = bytes.get_mut(at % length) {
                        *byte ^= 1 << bit;
                    }
                    inbox.push_front(bytes.into());
                }
            }
            9 => self.pass(Duration::from_millis(u64::from(script.byte()))),
            10 => self.pass(Duration::from_millis(u64::from(script.word()))),
            11 => self.answer(script.below(4), usize::from(script.word()) % 20_000),
            12 => self.read(),
            _ => {
                let nth = usize::from(script.byte());
                let ticket = self.asked.iter().nth(nth % 4).copied();
                if let Some(ticket) = ticket {
                    let now = self.now;
                    self.side(false).endpoint.cancel(now, ticket);
                    self.asked.remove(&ticket);
                }
            }
        }
        self.settle();
    }

    fn side(&mut self, server: bool) -> &mut Side {
        let [client, other] = &mut self.sides;
        if server { other } else { client }
    }

    fn ask(&mut self, size: usize, kind: u8) {
        let (now, dialect, server) = (self.now, self.dialect, self.side(true).at);
        let association = self.association;
        let endpoint = &mut self.side(false).endpoint;
        let association = association.unwrap_or_else(|| endpoint.connect(now, server, dialect));
        let mut packet = Packet::new(tables::of(dialect).helo);
        if kind & 1 != 0 {
            packet = packet.with(key::DEADLINE, i32::from(kind) * 20);
        }
        let ticket = if kind & 2 == 0 {
            endpoint.request(now, association, packet.with_entity(vec![kind; size]))
        } else {
            endpoint.request_stream(now, association, packet, size as u64)
        };
        self.association = Some(association);
        if let Ok(ticket) = ticket {
            let mut bytes = Bytes::from(vec![kind; size]);
            if kind & 2 != 0 {
                self.side(false).endpoint.write(now, ticket, &mut bytes);
            }
            assert!(self.asked.insert(ticket), "a ticket is used once");
        }
    }

    fn deliver(&mut self, server: bool, nth: usize, twice: bool) {
        let inbox = &mut self.side(server).inbox;
        let nth = if nth < inbox.len() { nth } else { 0 };
        let Some(bytes) = (if twice { inbox.get(nth).cloned() } else { inbox.remove(nth) }) else { return };
        self.gets(server, &bytes);
    }

    /// The network does what it should, for a while.
    fn pump(&mut self, rounds: u8) {
        for _ in 0..=rounds {
            for server in [true, false] {
                while let Some(bytes) = self.side(server).inbox.pop_front() {
                    self.gets(server, &bytes);
                }
                self.settle();
            }
        }
    }

    fn gets(&mut self, server: bool, bytes: &[u8]) {
        let (now, dialect) = (self.now, self.dialect);
        let from = self.side(!server).at;
        let side = self.side(server);
        side.endpoint.handle_datagram(now, from, dialect, bytes);
    }

    /// Something that is nearly right.
    fn forged(&mut self, script: &mut Script<'_>) -> Bytes {
        let [open, opened, segment, close] = [OPEN, OPENED, SEGMENT, CLOSE];
        let code = match script.below(8) {
            0 => open,
            1 => opened,
            2 => close,
            _ => segment,
        };
        let mut packet = Packet::new(code);
        for key in [key::ASSOCIATION, key::SENDER] {
            if let Some(number) = self.numbers.get(usize::from(script.below(8))) {
                packet = packet.with(key, number.clone());
            }
        }
        self.nth += i64::from(script.below(3));
        packet = packet.with(key::NUMBER, self.nth);
        for _ in 0..script.below(4) {
            let (key, count) = match script.below(4) {
                0 => (key::CHUNK, 4),
                1 => (key::WINDOW, 3),
                2 => (key::RESET, 4),
                _ => (key::ACKNOWLEDGED, 3),
            };
            let mut value = Vec::new();
            for _ in 0..count {
                let number = u64::from(script.byte());
                varint::write(
                    if number > 250 { u64::from(script.word()) << (number % 40) } else { number },
                    &mut value,
                );
            }
            packet = packet.with(key, Value::Raw(value.into()));
        }
        let length = usize::from(script.byte());
        let packet = packet.with_entity(Bytes::copy_from_slice(script.take(length)));
        packet.to_bytes(extension::own(self.dialect)).unwrap_or_default()
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let due = self.sides.iter().filter_map(|side| side.endpoint.poll_timeout()).min();
            let Some(due) = due.filter(|due| *due <= until) else { break };
            self.now = self.now.max(due);
            let now = self.now;
            for side in &mut self.sides {
                side.endpoint.handle_timeout(now);
            }
            self.settle();
            assert!(
                self.sides.iter().all(|side| side.endpoint.poll_timeout().is_none_or(|at| at > now)),
                "timers get on"
            );
        }
        self.now = until;
    }

    fn answer(&mut self, kind: u8, size: usize) {
        let Some(ticket) = self.working.pop_first() else { return };
        let (now, dialect) = (self.now, self.dialect);
        let okay = Packet::new(tables::of(dialect).okay);
        let endpoint = &mut self.side(true).endpoint;
        let mut bytes = Bytes::from(vec![kind; size]);
        // Without room for it the client is told.
        let _ = match kind {
            0 => endpoint.answer(now, ticket, None),
            1 => {
                let outcome = endpoint.answer_stream(now, ticket, okay, size as u64);
                endpoint.write(now, ticket, &mut bytes);
                outcome
            }
            _ => endpoint.answer(now, ticket, Some(okay.with_entity(bytes))),
        };
        self.answered.insert(ticket);
    }

    fn read(&mut self) {
        let now = self.now;
        for ticket in self.reading.clone() {
            while self.side(false).endpoint.read(now, ticket).is_some() {}
        }
        for ticket in self.working.clone() {
            while self.side(true).endpoint.read(now, ticket).is_some() {}
        }
    }

    /// What is to be sent is on its way, and what happened is taken.
    fn settle(&mut self) {
        for server in [false, true] {
            let now = self.now;
            let (mut buffer, mut turns) = (Vec::new(), 0);
            let to = self.side(!server).at;
            while let Some(sent) = self.side(server).endpoint.poll_transmit(now, &mut buffer, 3) {
                assert_eq!(sent.to, to);
                assert!(sent.segment > 0 && buffer.len() <= 65507 && buffer.len() <= 3 * sent.segment);
                for datagram in buffer.chunks(sent.segment) {
                    self.look(datagram);
                    let inbox = &mut self.side(!server).inbox;
                    if inbox.len() < UNDER_WAY {
                        inbox.push_back(Bytes::copy_from_slice(datagram));
                    }
                }
                buffer.clear();
                turns += 1;
                assert!(turns < 5000, "there is an end to what is sent at a time");
            }
            while let Some(event) = self.side(server).endpoint.poll_event() {
                self.happens(server, event);
            }
            let side = self.side(server);
            assert!(side.ledger.held() <= side.ledger.bound());
        }
    }

    /// What we send can be read, and tells the numbers.
    fn look(&mut self, datagram: &[u8]) {
        let packet = Decoder::new(extension::own(self.dialect)).packet(datagram);
        assert!(packet.as_ref().is_ok_and(|packet| packet.wire_len() == datagram.len()), "{packet:?}");
        let Some(packet) = packet.ok().and_then(|packet| packet.to_packet().ok()) else { return };
        for key in [key::SENDER, key::ASSOCIATION] {
            if let Some(number) = packet.first(key)
                && self.numbers.len() < 8
                && !self.numbers.contains(number)
            {
                self.numbers.push(number.clone());
            }
        }
    }

    fn happens(&mut self, server: bool, event: Event) {
        match event {
            Event::Request { ticket, .. } => {
                assert!(server && self.executed.insert(ticket), "executed at most once");
                self.working.insert(ticket);
            }
            Event::Cancelled { ticket } => {
                assert!(server && !self.answered.contains(&ticket));
                assert!(self.working.remove(&ticket), "told once");
            }
            Event::Ended { ticket } => assert!(server && self.answered.remove(&ticket), "told once"),
            Event::Answer { ticket, outcome } => {
                assert!(!server && self.asked.remove(&ticket), "told once");
                if let Ok((_, Entity::Streamed(_))) = outcome {
                    self.reading.insert(ticket);
                }
            }
            Event::Broken { ticket, .. } => assert!(!server && self.reading.remove(&ticket), "told once"),
            Event::Closed { association } => {
                assert!(!server);
                self.association = self.association.filter(|known| *known != association);
            }
            Event::Readable { .. } | Event::Writable { .. } => {}
        }
    }

    /// Nothing comes any more: all ends by itself.
    fn end(mut self) {
        while !self.working.is_empty() {
            self.answer(0, 0);
        }
        let now = self.now;
        for side in &mut self.sides {
            side.endpoint.close_all(now);
        }
        // Who asks without a deadline waits for as long as there is a server; that has gone.
        for ticket in self.asked.clone() {
            self.side(false).endpoint.cancel(now, ticket);
        }
        for ticket in self.reading.clone() {
            self.side(false).endpoint.cancel(now, ticket);
        }
        self.asked.clear();
        self.reading.clear();
        self.settle();
        self.pass(Duration::from_secs(700));
        for side in &self.sides {
            assert!(side.endpoint.is_idle());
            assert_eq!((side.endpoint.stats().associations, side.ledger.held()), (0, 0));
        }
        assert!(self.working.is_empty() && self.answered.is_empty());
    }
}
