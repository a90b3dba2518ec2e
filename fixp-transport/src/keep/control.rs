//! The packets of KEEP UDP that are not pieces: RETRY, ACCEPTED, CANCEL and its answers (SPEC 9.5, 9.6, 9.7).
//!
//! ```
//! use fixp_codec::LAXCUS6;
//! use fixp_transport::keep::control;
//!
//! let retry = control::retry(&LAXCUS6, None, 1, &[0, 2])?;
//! assert_eq!(retry[..], hex::decode("8700010b010400b80b015001ba0b015000ba0b015002fc03015000").unwrap()[..]);
//! # Ok::<(), fixp_codec::Error>(())
//! ```

use std::net::IpAddr;

use bytes::Bytes;
use fixp_codec::laxcus6::key::{PACKET_IDENTIFY, SPEAK, SUBPACKET_SERIAL};
use fixp_codec::{Dialect, Error, HeadRef, Packet};

use super::table::{self, Table};
use crate::tables;
use crate::udp::bind_ip;

// The keys of pieces are the same in all dialects, so those of laxcus6 stand for all.

/// The same with BIND_IP, where the dialect has it and it is known.
pub(crate) fn bound(dialect: &Dialect, bind_ip: Option<IpAddr>, packet: Packet) -> Packet {
    match (tables::of(dialect).bind_ip, bind_ip) {
        (Some(key), Some(ip)) if packet.first(key).is_none() => packet.with(key, bind_ip::text(ip)),
        _ => packet,
    }
}

/// Asks for these serials. In lexst1 only the first of them is heard.
///
/// # Errors
///
/// None with less than 65,000 serials.
pub fn retry(
    dialect: &Dialect,
    bind_ip: Option<IpAddr>,
    identity: i32,
    serials: &[u32],
) -> Result<Bytes, Error> {
    let mut packet = Packet::new(table::of(dialect).retry).with(PACKET_IDENTIFY, identity);
    for &serial in serials {
        packet = packet.with(SUBPACKET_SERIAL, serial.cast_signed());
    }
    bound(dialect, bind_ip, packet).to_bytes(dialect)
}

/// Ends an exchange.
///
/// # Errors
///
/// None in the dialects of the programs.
pub fn cancel(dialect: &Dialect, bind_ip: Option<IpAddr>, identity: i32) -> Result<Bytes, Error> {
    let packet = Packet::new(table::of(dialect).cancel).with(PACKET_IDENTIFY, identity);
    bound(dialect, bind_ip, packet).to_bytes(dialect)
}

/// Answers CANCEL.
///
/// # Errors
///
/// None in the dialects of the programs.
pub fn cancelled(dialect: &Dialect, bind_ip: Option<IpAddr>, found: bool) -> Result<Bytes, Error> {
    let table = table::of(dialect);
    let code = if found { table.cancel_okay } else { table.cancel_not_found };
    bound(dialect, bind_ip, Packet::new(code).with(SPEAK, table.cancel_text)).to_bytes(dialect)
}

/// Says that a whole request has come; nothing in a dialect that does not say so.
///
/// # Errors
///
/// None in the dialects of the programs.
pub fn accepted(dialect: &Dialect, identity: i32) -> Result<Option<Bytes>, Error> {
    let Some((code, _)) = table::of(dialect).accepted else { return Ok(None) };
    Packet::new(code).with(PACKET_IDENTIFY, identity).to_bytes(dialect).map(Some)
}

/// The identity that a packet names.
pub(crate) fn identity(head: &HeadRef<'_>) -> Option<i32> {
    head.first(PACKET_IDENTIFY)?.as_i32()
}

/// The indexes (from 0, whatever the dialect's first serial) of the pieces that a RETRY asks for, as many as the
/// dialect hears, those out of range left out.
pub(crate) fn asked<'a>(
    dialect: &Dialect,
    table: &Table,
    head: &'a HeadRef<'a>,
    count: u32,
) -> impl Iterator<Item = u32> + 'a {
    let first = i64::from(dialect.first_serial());
    head.all(SUBPACKET_SERIAL)
        .take(table.retry_serials)
        .filter_map(move |message| u32::try_from(i64::from(message.as_i32()?) - first).ok())
        .filter(move |&index| index < count)
}
