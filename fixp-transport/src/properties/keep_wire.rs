//! Datagrams of KEEP UDP, as a script chooses them.

use bytes::Bytes;
use fixp_codec::{Dialect, LAXCUS2, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};

use super::script::Script;
use crate::keep::pieces::{Form, Pieces};
use crate::tables;

/// A message that tells packets apart.
pub(super) const TAG: u16 = 5001;

pub(super) const fn dialect(settings: u8) -> &'static Dialect {
    match settings & 3 {
        0 => &LEXST1,
        1 | 2 => &LAXCUS6,
        _ => &LAXCUS2,
    }
}

pub(super) fn request(dialect: &Dialect, size: usize) -> Packet {
    let code = if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
    Packet::new(code).with_entity(vec![7; size])
}

pub(super) fn answer(dialect: &Dialect, size: usize) -> Packet {
    Packet::new(tables::of(dialect).okay).with_entity(vec![9; size])
}

/// A piece of one of a few packets, with one of a few identities. The same choices make the same bytes.
pub(super) fn piece(dialect: &'static Dialect, script: &mut Script<'_>, answers: bool) -> Bytes {
    let (kind, identity, index) = (script.below(8), i32::from(script.below(4)), u32::from(script.byte()));
    let size = [0, 100, 700, 1300, 1800, 9000, 19_000, 30_000][usize::from(kind)];
    let (packet, form) = if answers {
        (answer(dialect, size), Form::of_answer(dialect, identity))
    } else {
        (request(dialect, size), Form::of_request(dialect, identity))
    };
    // Kinds differ in their count, or are one piece: pieces of two are never taken for one.
    let packet = packet.with(TAG, identity | i32::from(kind) << 8);
    let Ok(pieces) = Pieces::cut(dialect, packet, form) else { return Bytes::new() };
    pieces.datagram(index % pieces.count()).unwrap_or_default()
}

/// The identity of a packet that was cut here.
pub(super) fn tagged(packet: &Packet) -> Option<i32> {
    packet.first(TAG)?.as_i32().map(|tag| tag & 0xff)
}
