//! Bytes of a stream from a script, and what the decoder of whole packets makes of them.

use arbitrary::Unstructured;
use bytes::Bytes;
use fixp_codec::{Decoder, Dialect, Error, ErrorKind, Limits, MAX_ENTITY, Message, Packet, Value};

use super::script::Script;
use crate::extension::{self, key};
use crate::tables;

/// The most packets and runs of raw bytes of a stream.
const MOST_PARTS: u8 = 24;

/// Lengths of entities that some limit allows, and one more.
const LENGTHS: [usize; 12] = [0, 1, 40, 41, 100, 101, 300, 301, 1000, 1001, 8000, 8001];

/// Bytes of a stream: any, and whole packets of these dialects, in turn.
pub(super) fn stream(script: &mut Script<'_>, dialects: [&'static Dialect; 2]) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 0..script.below(MOST_PARTS) {
        match script.below(4) {
            0 => {
                let length = script.word() & 0xfff;
                wire.extend_from_slice(script.take(usize::from(length)));
            }
            part => {
                let dialect = extension::own(dialects[usize::from(part & 1)]);
                // What cannot be written is left out.
                let mut packet = packet(script, dialect);
                ours(script, &mut packet);
                wire.extend(packet.to_bytes(dialect).unwrap_or_default());
            }
        }
        if script.is_over() {
            break;
        }
    }
    wire
}

/// A packet that the dialect can write, without anything of ours but by chance.
pub(super) fn packet(script: &mut Script<'_>, dialect: &'static Dialect) -> Packet {
    let length = script.byte();
    let bytes = script.take(usize::from(length & 0x7f));
    let mut packet = fixp_codec::arbitrary::packet(&mut Unstructured::new(bytes), dialect)
        .unwrap_or_else(|_| Packet::new(tables::of(dialect).okay));
    if length & 0x80 != 0 {
        let length = match usize::from(script.word()) {
            // Those that are at a limit.
            word @ 0x8000.. => LENGTHS[word % LENGTHS.len()],
            word => word & 0x1fff,
        };
        packet.entity = (0..length).map(|at| at as u8).collect::<Vec<_>>().into();
    }
    packet
}

/// Adds what is ours to a packet, in order or not.
pub(super) fn ours(script: &mut Script<'_>, packet: &mut Packet) {
    let parts = script.byte();
    let mut add = |key, value| packet.messages.push(Message { key, value });
    if parts & 1 != 0 {
        add(key::CAPABILITIES, Value::Raw(Bytes::copy_from_slice(&[script.below(3), script.byte()])));
    }
    if parts & 2 != 0 {
        // Few serials, so that some come twice.
        let serial = match script.byte() {
            // That of heartbeats.
            8 => -1,
            byte => i64::from(byte as i8),
        };
        add(key::SERIAL, if serial == 9 { Value::Int32(9) } else { Value::Int64(serial) });
    }
    if parts & 4 != 0 {
        add(key::PREDECESSOR, Value::Int64(i64::from(script.byte() as i8)));
    }
    if parts & 8 != 0 {
        let length = if script.flag() { 16 } else { 1 + usize::from(script.below(20)) };
        add(key::CHANNEL, Value::Raw(vec![script.byte(); length].into()));
    }
    if parts & 16 != 0 {
        add(key::DEADLINE, Value::Int32(i32::from(script.word() as i16) * 1000));
    }
    if parts & 32 != 0 {
        add(key::ANSWERED, Value::Int64(i64::from(script.byte() as i8)));
    }
    if parts & 64 != 0 {
        add(key::REFUSAL, Value::Int16(i16::from(script.byte() as i8)));
    }
    if parts & 128 != 0 {
        packet.code = if script.flag() { extension::CANCEL } else { extension::PING };
    }
}

/// A packet on a stream.
pub(super) struct Framed {
    /// Its first byte, and the bytes of its head.
    pub(super) start: usize,
    pub(super) head: usize,
    /// The length of its entity.
    pub(super) len: u64,
    /// The packet with as much of its entity as has come.
    pub(super) packet: Packet,
}

impl Framed {
    pub(super) fn is_complete(&self) -> bool {
        self.packet.entity.len() as u64 == self.len
    }
}

/// The packets of a stream, and the error that ends them; where it just ends in a packet there is none.
pub(super) fn frames(dialect: &'static Dialect, head: usize, wire: &[u8]) -> (Vec<Framed>, Option<Error>) {
    let limits = Limits { head, entity: MAX_ENTITY, ..Limits::default() };
    let decoder = Decoder::new(dialect).with_limits(limits);
    let (mut frames, mut start) = (Vec::new(), 0);
    while let Some(rest) = wire.get(start..).filter(|rest| !rest.is_empty()) {
        let read = decoder.head(rest).and_then(|head| {
            let behind = &rest[head.head_bytes().len()..];
            let mut packet = head.to_packet()?;
            packet.entity = Bytes::copy_from_slice(&behind[..head.entity_len().min(behind.len())]);
            Ok(Framed { start, head: head.head_bytes().len(), len: head.entity_len() as u64, packet })
        });
        match read {
            Ok(framed) => {
                start += framed.head + framed.packet.entity.len();
                frames.push(framed);
            }
            Err(error) if error.kind() == ErrorKind::Truncated => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
    (frames, None)
}

/// The same packet as it is read from the wire.
pub(super) fn as_read(dialect: &'static Dialect, mut packet: Packet) -> Packet {
    packet.remove(dialect.content_length_key());
    packet
}
