//! Our own transport on the link: requests whose entities are written and read in pieces.

use std::time::Instant;

use bytes::Bytes;
use fixp_codec::{LAXCUS6, Packet, laxcus6::notify};
use fixp_transport::keep::Ledger;
use fixp_transport::keep::own::{Config, Endpoint, Event, Ticket};

use super::link::{RECEIVER, SENDER, Side};

/// Longer than the link carries in the time.
const ENTITY: u64 = 1 << 30;
/// The bytes that an end may hold in all.
const LEDGER: usize = 64 << 20;

/// One end.
pub struct End {
    endpoint: Endpoint,
    tickets: Vec<Ticket>,
    sends: bool,
    received: u64,
}

impl End {
    /// The end that asks, so many times at once.
    ///
    /// # Panics
    ///
    /// If the request is refused.
    #[must_use]
    pub fn sender(start: Instant, config: Config, seed: u64, exchanges: usize) -> Self {
        let mut endpoint = Endpoint::new(config, Ledger::new(LEDGER), seed);
        let association = endpoint.connect(start, RECEIVER, &LAXCUS6);
        let begin = |_| {
            let head = Packet::new(notify::FLUSH_LOG);
            endpoint.request_stream(start, association, head, ENTITY).expect("a request")
        };
        let tickets = (0..exchanges).map(begin).collect();
        let mut end = Self { endpoint, tickets, sends: true, received: 0 };
        end.work(start);
        end
    }

    /// The end that is asked.
    #[must_use]
    pub fn receiver(config: Config, seed: u64) -> Self {
        Self {
            endpoint: Endpoint::new(config, Ledger::new(LEDGER), !seed),
            tickets: Vec::new(),
            sends: false,
            received: 0,
        }
    }

    fn work(&mut self, now: Instant) {
        static PIECE: [u8; 64 << 10] = [7; 64 << 10];
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request { ticket, .. } => self.tickets.push(ticket),
                Event::Answer { outcome, .. } => panic!("an answer before its time: {outcome:?}"),
                _ => {}
            }
        }
        for &ticket in &self.tickets {
            if self.sends {
                while self.endpoint.write(now, ticket, &mut Bytes::from_static(&PIECE)) {}
            } else {
                while let Some(bytes) = self.endpoint.read(now, ticket) {
                    self.received += bytes.len() as u64;
                }
            }
        }
    }
}

impl Side for End {
    fn handle(&mut self, now: Instant, datagram: &[u8]) {
        let peer = if self.sends { RECEIVER } else { SENDER };
        assert!(self.endpoint.handle_datagram(now, peer, &LAXCUS6, datagram), "a datagram of ours");
        self.work(now);
    }

    fn timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.work(now);
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }

    fn transmit(&mut self, now: Instant) -> Option<Bytes> {
        let mut buffer = Vec::new();
        self.endpoint.poll_transmit(now, &mut buffer, 1)?;
        Some(buffer.into())
    }

    fn received(&self) -> u64 {
        self.received
    }
}
