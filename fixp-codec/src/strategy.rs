//! proptest strategies for valid packets of a dialect, for one's own tests.
//!
//! ```
//! use fixp_codec::{Decoder, LAXCUS6, Policy, strategy};
//! use proptest::prelude::*;
//!
//! proptest!(|(packet in strategy::packet(&LAXCUS6))| {
//!     let wire = packet.to_bytes(&LAXCUS6).unwrap();
//!     let read = Decoder::new(&LAXCUS6).with_policy(Policy::Strict).packet(&wire).unwrap();
//!     prop_assert_eq!(read.code(), packet.code);
//!     prop_assert_eq!(read.entity(), &packet.entity[..]);
//! });
//! ```

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::dialect::Requests;
use crate::head::{CANONICAL_NAN_32, CANONICAL_NAN_64};
use crate::{Code, Deflated, Dialect, MAX_VALUE, Message, Packet, Type, Value};

/// Packets that the dialect can write and a strict reader takes, without CONTENT_LENGTH: up to 24
/// messages, entities of up to 2 KiB.
pub fn packet(dialect: &'static Dialect) -> impl Strategy<Value = Packet> + Clone {
    (code(dialect), vec(message(dialect), 0..24), vec(any::<u8>(), 0..2048))
        .prop_map(|(code, messages, entity)| Packet { messages, ..Packet::new(code).with_entity(entity) })
}

/// The bytes of valid packets.
pub fn wire(dialect: &'static Dialect) -> impl Strategy<Value = Vec<u8>> + Clone {
    packet(dialect).prop_map(|packet| match packet.to_bytes(dialect) {
        Ok(wire) => wire.to_vec(),
        Err(error) => unreachable!("a valid packet is written: {error}"),
    })
}

/// The bytes of valid packets with a few bytes changed, cut off or added: what a decoder must survive.
pub fn damaged(dialect: &'static Dialect) -> impl Strategy<Value = Vec<u8>> + Clone {
    let edits = vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4);
    (wire(dialect), edits).prop_map(|(mut wire, edits)| {
        for (index, byte, what) in edits {
            let at = index.index(wire.len().max(1));
            match what {
                0 => wire.truncate(at),
                1 => wire.insert(at.min(wire.len()), byte),
                // The head is where damage tells: hit it more often than the entity.
                2 => {
                    let head = wire.len().clamp(1, 40);
                    if let Some(hit) = wire.get_mut(at % head) {
                        *hit = byte;
                    }
                }
                _ => {
                    if let Some(hit) = wire.get_mut(at) {
                        *hit ^= 1 << (byte & 7);
                    }
                }
            }
        }
        wire
    })
}

/// Codes that the dialect can write.
pub fn code(dialect: &'static Dialect) -> impl Strategy<Value = Code> + Clone {
    let (first, last) = dialect.answers();
    let answers = (first..=last).prop_map(Code::Answer);
    let requests = match dialect.requests() {
        Requests::Any(_) => {
            any::<(u8, u8)>().prop_map(|(major, minor)| Code::Request { major, minor }).boxed()
        }
        Requests::Listed(majors) => {
            let legal: Vec<Code> = majors
                .iter()
                .flat_map(|row| (0..=u8::MAX).map(|minor| Code::Request { major: row.number, minor }))
                .filter(|&code| dialect.writes(code))
                .collect();
            select(legal).boxed()
        }
    };
    prop_oneof![answers, requests]
}

/// Messages of any key but CONTENT_LENGTH.
pub fn message(dialect: &'static Dialect) -> impl Strategy<Value = Message> + Clone {
    let named: Vec<u16> = dialect.keys().iter().map(|row| row.number).collect();
    let key = if named.is_empty() {
        any::<u16>().boxed()
    } else {
        prop_oneof![select(named), any::<u16>()].boxed()
    };
    let key = key.prop_map(|key| if key == dialect.content_length_key() { !key } else { key });
    (key, value(dialect)).prop_map(|(key, value)| Message { key, value })
}

/// Values of the dialect's types: mostly short, now and then as long as a message carries.
pub fn value(dialect: &'static Dialect) -> impl Strategy<Value = Value> + Clone {
    let types: Vec<Type> = Type::ALL.into_iter().filter(|&ty| dialect.code_of(ty).is_some()).collect();
    select(types).prop_flat_map(of_type)
}

fn of_type(ty: Type) -> BoxedStrategy<Value> {
    match ty {
        Type::Raw => content(MAX_VALUE).prop_map(Value::from).boxed(),
        Type::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Type::String => text().prop_map(Value::from).boxed(),
        Type::Int16 => any::<i16>().prop_map(Value::from).boxed(),
        Type::Int32 => sized().prop_map(|bits| Value::Int32(bits as i32)).boxed(),
        Type::Int64 => sized().prop_map(|bits| Value::Int64(bits.cast_signed())).boxed(),
        Type::Float32 => any::<u32>()
            .prop_map(f32::from_bits)
            .prop_map(|float| if float.is_nan() { f32::from_bits(CANONICAL_NAN_32) } else { float })
            .prop_map(Value::Float32)
            .boxed(),
        Type::Float64 => sized()
            .prop_map(f64::from_bits)
            .prop_map(|float| if float.is_nan() { f64::from_bits(CANONICAL_NAN_64) } else { float })
            .prop_map(Value::Float64)
            .boxed(),
        Type::ZRaw => content(MAX_VALUE - 64).prop_map(|bytes| Value::ZRaw(Deflated::of(&bytes))).boxed(),
        Type::ZString => text().prop_map(|text| Value::ZString(Deflated::of(text.as_bytes()))).boxed(),
    }
}

/// Numbers of every length on the wire, equally often.
fn sized() -> impl Strategy<Value = u64> + Clone {
    (any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift)
}

fn content(most: usize) -> impl Strategy<Value = Vec<u8>> + Clone {
    prop_oneof![8 => vec(any::<u8>(), 1..64), 1 => vec(any::<u8>(), 1..=most)]
}

fn text() -> impl Strategy<Value = std::string::String> + Clone {
    // At most four bytes a character: a thousand fit any message.
    prop_oneof![8 => "\\PC{1,24}", 1 => ".{1,900}"]
}
