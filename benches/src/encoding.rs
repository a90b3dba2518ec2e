//! Encoding: into a buffer that is reused and never grows while measured, whoever writes.

use std::hint::black_box;

use fixp_codec::{Command, Encoder, LAXCUS6, ValueRef};
use prost::Message as _;

use crate::aligned::Aligned;
use crate::cases::Case;
use crate::contest::{Contest, Entry, Side};
use crate::{cbor, messagepack, post, proto, proto_flat, seen};

/// All that encode a case. The draft's messages are borrowed from the outside.
#[must_use]
pub fn contest<'a>(case: &'a Case, messages: &'a [(u16, ValueRef<'a>)]) -> Contest<'a> {
    let mut entries = ours(case, messages);
    entries.extend(proto(case));
    entries.extend(others(case));
    entries.push(memcpy(case));
    Contest { case: case.name, what: "encode", entries }
}

/// More than the allocator keeps in its own pools.
const PAGES: usize = 256 << 10;

/// Room for a case in any of the forms.
fn buffer(case: &Case) -> Vec<u8> {
    // So large that the allocator gives it pages of its own: where a small one lies is chance, and one in
    // a hundred has a packet across the end of a page, which costs whoever writes it in one piece 6 ns.
    Vec::with_capacity((case.wire.len() * 4).max(PAGES))
}

fn ours<'a>(case: &'a Case, messages: &'a [(u16, ValueRef<'a>)]) -> Vec<Entry<'a>> {
    // Behind a black box, so that the dialect is not known when compiling.
    let encoder = Encoder::new(black_box(&LAXCUS6));
    let (mut owned, mut drafted, mut head) = (buffer(case), buffer(case), buffer(case));
    let (packet, draft) = (&case.packet, case.draft(messages));
    if case.is_command() {
        let command = Command { code: packet.code, version: packet.version, message_count: 0 };
        return vec![Entry::new(Side::Ours, "fixp, the command alone", move || {
            owned.clear();
            seen(&encoder.command(black_box(&command), &mut owned));
            seen(&owned);
        })];
    }
    vec![
        Entry::new(Side::Ours, "fixp", move || {
            owned.clear();
            seen(&encoder.packet(black_box(packet), &mut owned));
            seen(&owned);
        }),
        Entry::new(Side::AlsoOurs, "fixp, from a draft", move || {
            drafted.clear();
            seen(&encoder.packet(black_box(&draft), &mut drafted));
            seen(&drafted);
        }),
        Entry::new(Side::AlsoOurs, "fixp, all but the entity", move || {
            head.clear();
            seen(&encoder.head(black_box(packet), &mut head));
            seen(&head);
        }),
    ]
}

fn proto(case: &Case) -> Vec<Entry<'_>> {
    let packet = proto::of(&case.packet);
    let (mut wire, mut flat_wire) = (buffer(case), buffer(case));
    let mut entries = vec![Entry::new(Side::Prost, "prost", move || {
        wire.clear();
        seen(&black_box(&packet).encode(&mut wire));
        seen(&wire);
    })];
    if let Some(flat) = proto_flat::of(&case.packet) {
        entries.push(Entry::new(Side::ProstFlat, "prost flat", move || {
            flat_wire.clear();
            seen(&black_box(&flat).encode(&mut flat_wire));
            seen(&flat_wire);
        }));
    }
    entries
}

fn others(case: &Case) -> Vec<Entry<'_>> {
    let (post, rmp, cbor) = (post::of(&case.packet), messagepack::of(&case.packet), cbor::of(&case.packet));
    let (mut post_wire, mut rmp_wire, mut cbor_wire) = (buffer(case), buffer(case), buffer(case));
    // postcard writes fastest to a slice.
    post_wire.resize(post_wire.capacity(), 0);
    vec![
        Entry::new(Side::Other, "postcard", move || {
            seen(&postcard::to_slice(black_box(&post), &mut post_wire).map(|wire| wire.len()));
            seen(&post_wire);
        }),
        Entry::new(Side::Borrowed, "rmp-serde", move || {
            rmp_wire.clear();
            seen(&rmp_serde::encode::write(&mut rmp_wire, black_box(&rmp)));
            seen(&rmp_wire);
        }),
        Entry::new(Side::Borrowed, "minicbor", move || {
            cbor_wire.clear();
            seen(&minicbor::encode(black_box(&cbor), &mut cbor_wire));
            seen(&cbor_wire);
        }),
    ]
}

fn memcpy(case: &Case) -> Entry<'_> {
    let (wire, mut copy) = (Aligned::new(&case.wire), Aligned::new(&case.wire));
    Entry::new(Side::Limit, "memcpy", move || {
        black_box(copy.bytes_mut()).copy_from_slice(black_box(wire.bytes()));
    })
}
