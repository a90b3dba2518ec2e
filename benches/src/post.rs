//! postcard with a schema that mirrors FIXP, everything borrowed.

use fixp_codec::Value as FixpValue;
use serde::{Deserialize, Serialize};

use crate::cases::{self, CommandForm};

/// A packet. The messages need a `Vec`; text and bytes are borrowed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Packet<'a> {
    kind: u8,
    major: u8,
    minor: u8,
    code: u16,
    version: u16,
    #[serde(borrow)]
    messages: Vec<(u16, Value<'a>)>,
    #[serde(with = "serde_bytes")]
    entity: &'a [u8],
}

/// A value. postcard writes the variant in one byte: FIXP's type code.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub enum Value<'a> {
    /// Bytes.
    Raw(#[serde(with = "serde_bytes")] &'a [u8]),
    /// True or false.
    Boolean(bool),
    /// Text.
    String(&'a str),
    /// A 16-bit integer.
    Int16(i16),
    /// A 32-bit integer.
    Int32(i32),
    /// A 64-bit integer.
    Int64(i64),
    /// A float.
    Float32(f32),
    /// A double.
    Float64(f64),
}

/// A packet in postcard's form.
#[must_use]
pub fn of(packet: &fixp_codec::Packet) -> Packet<'_> {
    let CommandForm { kind, major, minor, code, version } = cases::command_form(packet);
    let messages = packet.messages.iter().map(|message| (message.key, value(&message.value))).collect();
    Packet { kind, major, minor, code, version, messages, entity: &packet.entity }
}

fn value(value: &FixpValue) -> Value<'_> {
    match value {
        FixpValue::Raw(bytes) => Value::Raw(bytes),
        FixpValue::Boolean(value) => Value::Boolean(*value),
        FixpValue::String(text) => Value::String(text),
        FixpValue::Int16(value) => Value::Int16(*value),
        FixpValue::Int32(value) => Value::Int32(*value),
        FixpValue::Int64(value) => Value::Int64(*value),
        FixpValue::Float32(value) => Value::Float32(*value),
        FixpValue::Float64(value) => Value::Float64(*value),
        other => cases::not_in_a_case(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_comes_back() {
        for case in cases::all() {
            let packet = of(&case.packet);
            let wire = postcard::to_allocvec(&packet).expect(case.name);
            assert_eq!(postcard::from_bytes::<Packet<'_>>(&wire).expect(case.name), packet);
        }
    }
}
