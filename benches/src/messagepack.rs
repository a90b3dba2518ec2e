//! MessagePack by rmp-serde, everything borrowed.
//!
//! MessagePack types its values itself, so a message is a pair of key and value and no enum is
//! written: rmp-serde would put the variant's name on the wire, which is longer and slower. (The
//! widths of integers are lost that way. FIXP keeps them.)

use core::fmt;

use fixp_codec::Value as FixpValue;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cases::{self, CommandForm};

/// A packet: an array, the compact form of rmp-serde. The messages need a `Vec`; text and bytes are borrowed.
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

/// A value of MessagePack's own types.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    /// Bytes.
    Raw(&'a [u8]),
    /// True or false.
    Boolean(bool),
    /// Text.
    String(&'a str),
    /// An integer of any width.
    Integer(i64),
    /// A float.
    Float32(f32),
    /// A double.
    Float64(f64),
}

impl Serialize for Value<'_> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Raw(bytes) => serializer.serialize_bytes(bytes),
            Self::Boolean(value) => serializer.serialize_bool(value),
            Self::String(text) => serializer.serialize_str(text),
            Self::Integer(value) => serializer.serialize_i64(value),
            Self::Float32(value) => serializer.serialize_f32(value),
            Self::Float64(value) => serializer.serialize_f64(value),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a message")
    }

    #[inline]
    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Value<'de>, E> {
        Ok(Value::Raw(bytes))
    }

    #[inline]
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Boolean(value))
    }

    #[inline]
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::String(text))
    }

    #[inline]
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(value))
    }

    #[inline]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value<'de>, E> {
        i64::try_from(value).map(Value::Integer).map_err(E::custom)
    }

    #[inline]
    fn visit_f32<E: de::Error>(self, value: f32) -> Result<Value<'de>, E> {
        Ok(Value::Float32(value))
    }

    #[inline]
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float64(value))
    }
}

/// A packet in MessagePack's form.
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
        FixpValue::Int16(value) => Value::Integer((*value).into()),
        FixpValue::Int32(value) => Value::Integer((*value).into()),
        FixpValue::Int64(value) => Value::Integer(*value),
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
            let wire = rmp_serde::to_vec(&packet).expect(case.name);
            assert_eq!(rmp_serde::from_slice::<Packet<'_>>(&wire).expect(case.name), packet);
        }
    }
}
