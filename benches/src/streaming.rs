//! Streams: many packets behind each other, in pieces of any size (SPEC 8).

use std::hint::black_box;

use bytes::{BufMut, BytesMut};
use fixp_codec::{Decoder, Error, Event, LAXCUS6, StreamDecoder};
use prost::Message as _;

use crate::aligned::Aligned;
use crate::cases::{self, Case};
use crate::contest::{Contest, Entry, Side};
use crate::{proto, seen};

/// The bytes of a TCP segment on Ethernet.
pub const SEGMENT: usize = 1460;

/// A packet, over and over.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The name of the case.
    pub name: &'static str,
    packets: usize,
    wire: Vec<u8>,
    twice: Vec<u8>,
    /// The same packets in prost's form, each behind its length.
    delimited: Vec<u8>,
}

impl Stream {
    /// So many packets of a case.
    #[must_use]
    pub fn new(name: &'static str, case: &Case, packets: usize) -> Self {
        let mut delimited = Vec::new();
        for _ in 0..packets {
            proto::of(&case.packet).encode_length_delimited(&mut delimited).expect("a vector grows");
        }
        let wire = case.wire.repeat(packets);
        Self { name, packets, twice: wire.repeat(2), wire, delimited }
    }

    /// The streams that are measured: of small packets, where nearly every byte is of a head, and of
    /// packets with entities.
    #[must_use]
    pub fn all() -> [Self; 2] {
        [Self::new("stream of 28", &cases::small(), 2000), Self::new("stream of 582", &cases::mixed(), 100)]
    }

    /// The stream in pieces of segments, and whole.
    #[must_use]
    pub fn in_pieces(&self) -> Contest<'_> {
        let (wire, delimited) = (&self.wire[..], &self.delimited[..]);
        let (from, mut to) = (Aligned::new(wire), Aligned::new(wire));
        let entries = vec![
            Entry::new(Side::Ours, "fixp, whole", move || self.read(black_box(wire), usize::MAX)),
            Entry::new(Side::AlsoOurs, "fixp, pieces of 1460", move || self.read(black_box(wire), SEGMENT)),
            Entry::new(Side::AlsoOurs, "fixp, packet by packet", move || read_packets(black_box(wire))),
            Entry::new(Side::Prost, "prost, length-delimited", move || read_delimited(black_box(delimited))),
            Entry::new(Side::Limit, "memcpy", move || {
                black_box(to.bytes_mut()).copy_from_slice(black_box(from.bytes()));
            }),
        ];
        Contest { case: self.name, what: "read", entries }
    }

    /// The stream byte by byte, against the least that anyone could do with a byte: to keep it.
    #[must_use]
    pub fn by_bytes(&self) -> Contest<'_> {
        let (wire, twice) = (&self.wire[..], &self.twice[..]);
        let mut kept = BytesMut::with_capacity(wire.len());
        let entries = vec![
            Entry::new(Side::Ours, "fixp, byte by byte", move || read_byte_by_byte(black_box(wire))),
            Entry::new(Side::AlsoOurs, TWICE, move || read_byte_by_byte(black_box(twice))),
            Entry::new(Side::Limit, "BytesMut::put_u8", move || {
                kept.clear();
                for &byte in black_box(wire) {
                    kept.put_u8(byte);
                }
                seen(&kept);
            }),
        ];
        Contest { case: self.name, what: "byte by byte", entries }
    }

    fn read(&self, wire: &[u8], piece: usize) -> Result<usize, Error> {
        let packets = Self::read_pieces(wire, piece)?;
        debug_assert_eq!(packets, self.packets);
        Ok(packets)
    }

    fn read_pieces(wire: &[u8], piece: usize) -> Result<usize, Error> {
        let mut stream = black_box(Decoder::new(&LAXCUS6)).stream();
        let packets = read_stream(&mut stream, wire, piece)?;
        stream.finish()?;
        Ok(packets)
    }
}

/// The row of the stream of twice the length.
pub const TWICE: &str = "fixp, twice the stream";

/// Feeds a stream in pieces, looks at every event and counts the packets.
///
/// # Errors
///
/// Those of the decoder.
#[inline]
pub fn read_stream(stream: &mut StreamDecoder<'_>, wire: &[u8], piece: usize) -> Result<usize, Error> {
    let mut packets = 0;
    for mut piece in wire.chunks(piece) {
        while let Some(event) = stream.next(&mut piece) {
            match event? {
                Event::Head(head) => seen(&head),
                Event::Entity(bytes) => seen(bytes),
                Event::End => packets += 1,
            }
        }
    }
    Ok(packets)
}

/// The same, fed a byte at a time.
fn read_byte_by_byte(wire: &[u8]) -> Result<usize, Error> {
    let mut stream = black_box(Decoder::new(&LAXCUS6)).stream();
    let mut packets = 0;
    for byte in wire {
        let mut piece = core::slice::from_ref(byte);
        while let Some(event) = stream.next(&mut piece) {
            match event? {
                Event::Head(head) => seen(&head),
                Event::Entity(bytes) => seen(bytes),
                Event::End => packets += 1,
            }
        }
    }
    stream.finish()?;
    Ok(packets)
}

/// The same packets by the decoder of slices.
fn read_packets(mut wire: &[u8]) -> Result<usize, Error> {
    let decoder = black_box(Decoder::new(&LAXCUS6));
    let mut packets = 0;
    while !wire.is_empty() {
        let packet = decoder.packet(wire)?;
        wire = &wire[black_box(packet).wire_len()..];
        packets += 1;
    }
    Ok(packets)
}

fn read_delimited(mut wire: &[u8]) -> Result<usize, prost::DecodeError> {
    let mut packet = proto::Packet::default();
    let mut packets = 0;
    while !wire.is_empty() {
        packet.clear();
        packet.merge_length_delimited(&mut wire)?;
        black_box(&packet);
        packets += 1;
    }
    Ok(packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_readers_find_all_packets() {
        for stream in Stream::all() {
            for piece in [1, SEGMENT, usize::MAX] {
                assert_eq!(Stream::read_pieces(&stream.wire, piece).expect(stream.name), stream.packets);
            }
            assert_eq!(read_byte_by_byte(&stream.wire).expect(stream.name), stream.packets);
            assert_eq!(read_byte_by_byte(&stream.twice).expect(stream.name), 2 * stream.packets);
            assert_eq!(read_packets(&stream.wire).expect(stream.name), stream.packets);
            assert_eq!(read_delimited(&stream.delimited).expect(stream.name), stream.packets);
        }
    }
}
