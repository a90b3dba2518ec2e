//! A client of the own transport that breaks no rule and means harm: it writes its packets by hand.
#![allow(clippy::unwrap_used, dead_code, reason = "each test takes what it needs")]

use std::net::SocketAddr;
use std::time::Instant;

use fixp_codec::{Decoder, LAXCUS6, Packet, Value, laxcus6};
use fixp_transport::extension::{self, OPEN, SEGMENT, key};
use fixp_transport::keep::own::Endpoint;

pub(crate) fn attacker(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 66], port))
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 128 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn numbers(numbers: &[u64]) -> Value {
    let mut out = Vec::new();
    numbers.iter().for_each(|&number| varint(number, &mut out));
    Value::Raw(out.into())
}

pub(crate) fn bytes(packet: &Packet) -> Vec<u8> {
    packet.to_bytes(extension::own(&LAXCUS6)).unwrap().to_vec()
}

pub(crate) fn packet(bytes: &[u8]) -> Packet {
    Decoder::new(extension::own(&LAXCUS6)).packet(bytes).unwrap().to_packet().unwrap()
}

/// The number of its own that an endpoint tells in this packet.
pub(crate) fn sender(packet: &Packet) -> Option<Vec<u8>> {
    match packet.first(key::SENDER) {
        Some(Value::Raw(raw)) => Some(raw.to_vec()),
        _ => None,
    }
}

/// OPEN with these grants, of an association that its client calls so.
pub(crate) fn open(number: u64, grants: &[&[u64]]) -> Vec<u8> {
    let open = Packet::new(OPEN).with(key::SENDER, Value::Raw(number.to_le_bytes().to_vec().into()));
    bytes(&grants.iter().fold(open, |open, grant| open.with(key::WINDOW, numbers(grant))))
}

/// A request with an entity.
pub(crate) fn log(size: usize) -> Vec<u8> {
    bytes(&Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(vec![7; size]))
}

/// All that an endpoint has to send.
pub(crate) fn drain(endpoint: &mut Endpoint, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut all = Vec::new();
    let mut out = Vec::new();
    while let Some(sent) = endpoint.poll_transmit(now, &mut out, 1) {
        all.push((sent.to, std::mem::take(&mut out)));
    }
    all
}

/// See above.
pub(crate) struct Hostile {
    pub(crate) at: SocketAddr,
    /// The number that the server has chosen.
    pub(crate) server: Vec<u8>,
    next: i64,
}

impl Hostile {
    pub(crate) fn open(server: &mut Endpoint, now: Instant, at: SocketAddr, grants: &[&[u64]]) -> Self {
        Self::try_open(server, now, at, 9, grants).unwrap()
    }

    /// Nothing where the server does not answer.
    pub(crate) fn try_open(
        server: &mut Endpoint,
        now: Instant,
        at: SocketAddr,
        number: u64,
        grants: &[&[u64]],
    ) -> Option<Self> {
        server.handle_datagram(now, at, &LAXCUS6, &open(number, grants));
        let answers = drain(server, now);
        let number = answers.iter().find_map(|(_, bytes)| sender(&packet(bytes)))?;
        Some(Self { at, server: number, next: 0 })
    }

    pub(crate) const fn of(at: SocketAddr, server: Vec<u8>) -> Self {
        Self { at, server, next: 0 }
    }

    pub(crate) fn segment(&mut self) -> Packet {
        self.next += 1;
        Packet::new(SEGMENT)
            .with(key::ASSOCIATION, Value::Raw(self.server.clone().into()))
            .with(key::NUMBER, self.next - 1)
    }

    /// A SEGMENT with chunks: exchange, flags, offset, length.
    pub(crate) fn chunks(&mut self, chunks: &[[u64; 4]], entity: Vec<u8>) -> Vec<u8> {
        let segment = self.segment().with_entity(entity);
        bytes(&chunks.iter().fold(segment, |segment, chunk| segment.with(key::CHUNK, numbers(chunk))))
    }

    /// Sends one.
    pub(crate) fn send(&mut self, server: &mut Endpoint, now: Instant, chunks: &[[u64; 4]], entity: Vec<u8>) {
        let segment = self.chunks(chunks, entity);
        server.handle_datagram(now, self.at, &LAXCUS6, &segment);
    }
}
