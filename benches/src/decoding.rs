//! Decoding: bytes to something that can be used.

use std::hint::black_box;

use bytes::Bytes;
use fixp_codec::{Decoder, HeadRef, LAXCUS6, Policy, Type};
use prost::Message as _;

use crate::aligned::Aligned;
use crate::cases::Case;
use crate::contest::{Contest, Entry, Side};
use crate::{cbor, messagepack, post, proto, proto_flat, seen};

/// Reads every message of a checked head, each by the accessor of its type.
#[inline]
pub fn read_all(head: &HeadRef<'_>) {
    for message in head.messages() {
        black_box(message.key());
        match message.ty() {
            Some(Type::Raw) => seen(message.as_raw()),
            Some(Type::Boolean) => seen(message.as_bool()),
            Some(Type::String) => seen(message.as_str()),
            Some(Type::Int16) => seen(message.as_i16()),
            Some(Type::Int32) => seen(message.as_i32()),
            Some(Type::Int64) => seen(message.as_i64()),
            Some(Type::Float32) => seen(message.as_f32()),
            Some(Type::Float64) => seen(message.as_f64()),
            _ => seen(message.bytes()),
        }
    }
}

/// All that decode a case.
#[must_use]
pub fn contest(case: &Case) -> Contest<'_> {
    let mut entries = ours(case);
    entries.extend(proto(case));
    entries.extend(borrowed(case));
    entries.push(memcpy(case));
    Contest { case: case.name, what: "decode", entries }
}

fn ours(case: &Case) -> Vec<Entry<'_>> {
    let wire = &case.wire[..];
    // Behind a black box, so that dialect and policy are not known when compiling.
    let decoder = black_box(Decoder::new(&LAXCUS6));
    let strict = black_box(decoder.with_policy(Policy::Strict));
    let shared = Bytes::copy_from_slice(wire);
    let mut entries = vec![
        Entry::new(Side::Ours, "fixp", move || decoder.packet(black_box(wire))),
        Entry::new(Side::AlsoOurs, "fixp, read every message", move || {
            let packet = decoder.packet(black_box(wire))?;
            read_all(&packet);
            Ok::<_, fixp_codec::Error>(packet)
        }),
    ];
    if case.is_command() {
        entries.push(Entry::new(Side::AlsoOurs, "fixp, the command alone", move || {
            decoder.command(black_box(wire))
        }));
    } else {
        entries.push(Entry::new(Side::AlsoOurs, "fixp, strict", move || strict.packet(black_box(wire))));
    }
    entries.push(Entry::new(Side::AlsoOurs, "fixp, owned copy", move || {
        decoder.packet(black_box(wire))?.to_packet()
    }));
    entries
        .push(Entry::new(Side::AlsoOurs, "fixp, owned shared", move || decoder.shared(black_box(&shared))));
    entries
}

fn proto(case: &Case) -> Vec<Entry<'_>> {
    let packet = proto::of(&case.packet);
    let wire = packet.encode_to_vec();
    let shared = Bytes::copy_from_slice(&wire);
    let (reused_wire, reused_shared) = (wire.clone(), shared.clone());
    let (mut reused, mut reused_sharing) = (packet.clone(), packet);
    let mut entries = vec![
        Entry::new(Side::Prost, "prost", move || proto::Packet::decode(black_box(&wire[..]))),
        Entry::new(Side::Prost, "prost, shared bytes", move || {
            proto::Packet::decode(black_box(&shared).clone())
        }),
        Entry::new(Side::Prost, "prost, reused packet", move || {
            reused.clear();
            reused.merge(black_box(&reused_wire[..])).map(|()| black_box(&reused).messages.len())
        }),
        Entry::new(Side::Prost, "prost, reused, shared", move || {
            reused_sharing.clear();
            let read = reused_sharing.merge(black_box(&reused_shared).clone());
            read.map(|()| black_box(&reused_sharing).messages.len())
        }),
    ];
    if let Some(flat) = proto_flat::of(&case.packet) {
        let wire = flat.encode_to_vec();
        let shared = Bytes::copy_from_slice(&wire);
        let decode = move || proto_flat::Packet::decode(black_box(&wire[..]));
        entries.push(Entry::new(Side::ProstFlat, "prost flat", decode));
        let decode = move || proto_flat::Packet::decode(black_box(&shared).clone());
        entries.push(Entry::new(Side::ProstFlat, "prost flat, shared bytes", decode));
    }
    entries
}

fn borrowed(case: &Case) -> Vec<Entry<'_>> {
    let post = postcard::to_allocvec(&post::of(&case.packet)).expect("postcard writes every case");
    let rmp = rmp_serde::to_vec(&messagepack::of(&case.packet)).expect("rmp-serde writes every case");
    let cbor = minicbor::to_vec(cbor::of(&case.packet)).expect("minicbor writes every case");
    let walked = cbor.clone();
    vec![
        // The length only leaves the closure, as the packet borrows from what the closure owns.
        Entry::new(Side::Other, "postcard, borrowed", move || {
            let read = postcard::from_bytes::<post::Packet<'_>>(black_box(&post));
            black_box(&read).is_ok()
        }),
        Entry::new(Side::Borrowed, "rmp-serde, borrowed", move || {
            let read = rmp_serde::from_slice::<messagepack::Packet<'_>>(black_box(&rmp));
            black_box(&read).is_ok()
        }),
        Entry::new(Side::Borrowed, "minicbor, borrowed", move || {
            let read = minicbor::decode::<cbor::Packet<'_>>(black_box(&cbor));
            black_box(&read).is_ok()
        }),
        Entry::new(Side::Borrowed, "minicbor, in place", move || {
            let read = cbor::walk(black_box(&walked), |key, value| seen((key, value)));
            black_box(&read).is_ok()
        }),
    ]
}

fn memcpy(case: &Case) -> Entry<'_> {
    let (wire, mut copy) = (Aligned::new(&case.wire), Aligned::new(&case.wire));
    Entry::new(Side::Limit, "memcpy", move || {
        black_box(copy.bytes_mut()).copy_from_slice(black_box(wire.bytes()));
    })
}
