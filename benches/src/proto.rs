//! prost with a schema as self-describing as FIXP: keys and types are on the wire, any key may come.
//!
//! Written by hand, so that no `protoc` is needed. `bytes` are [`Bytes`], which prost shares instead
//! of copying when it decodes from one.

use bytes::Bytes;
use fixp_codec::Value as FixpValue;

use crate::cases::{self, CommandForm};

/// `message Packet { ... repeated Message messages = 6; bytes entity = 7; }`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Packet {
    /// The kind of the command.
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    /// The major command.
    #[prost(uint32, tag = "2")]
    pub major: u32,
    /// The minor command.
    #[prost(uint32, tag = "3")]
    pub minor: u32,
    /// The answer code.
    #[prost(uint32, tag = "4")]
    pub code: u32,
    /// The version.
    #[prost(uint32, tag = "5")]
    pub version: u32,
    /// The messages.
    #[prost(message, repeated, tag = "6")]
    pub messages: Vec<Message>,
    /// The entity.
    #[prost(bytes = "bytes", tag = "7")]
    pub entity: Bytes,
}

/// `message Message { uint32 key = 1; oneof value { ... } }`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    /// The key.
    #[prost(uint32, tag = "1")]
    pub key: u32,
    /// The value.
    #[prost(oneof = "Value", tags = "2, 3, 4, 5, 6, 7, 8, 9")]
    pub value: Option<Value>,
}

/// The value of a message. Integers are plain varints: the cases have no negative ones, for which
/// the zigzag forms would be shorter.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    /// Bytes.
    #[prost(bytes = "bytes", tag = "2")]
    Raw(Bytes),
    /// True or false.
    #[prost(bool, tag = "3")]
    Boolean(bool),
    /// Text.
    #[prost(string, tag = "4")]
    String(String),
    /// A 16-bit integer.
    #[prost(int32, tag = "5")]
    Int16(i32),
    /// A 32-bit integer.
    #[prost(int32, tag = "6")]
    Int32(i32),
    /// A 64-bit integer.
    #[prost(int64, tag = "7")]
    Int64(i64),
    /// A float.
    #[prost(float, tag = "8")]
    Float32(f32),
    /// A double.
    #[prost(double, tag = "9")]
    Float64(f64),
}

/// A packet in prost's form.
#[must_use]
pub fn of(packet: &fixp_codec::Packet) -> Packet {
    let CommandForm { kind, major, minor, code, version } = cases::command_form(packet);
    Packet {
        kind: kind.into(),
        major: major.into(),
        minor: minor.into(),
        code: code.into(),
        version: version.into(),
        messages: packet.messages.iter().map(message).collect(),
        entity: packet.entity.clone(),
    }
}

fn message(message: &fixp_codec::Message) -> Message {
    let value = match &message.value {
        FixpValue::Raw(bytes) => Value::Raw(bytes.clone()),
        FixpValue::Boolean(value) => Value::Boolean(*value),
        FixpValue::String(text) => Value::String(text.clone()),
        FixpValue::Int16(value) => Value::Int16((*value).into()),
        FixpValue::Int32(value) => Value::Int32(*value),
        FixpValue::Int64(value) => Value::Int64(*value),
        FixpValue::Float32(value) => Value::Float32(*value),
        FixpValue::Float64(value) => Value::Float64(*value),
        other => cases::not_in_a_case(other),
    };
    Message { key: message.key.into(), value: Some(value) }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn every_case_comes_back() {
        for case in cases::all() {
            let packet = of(&case.packet);
            let wire = Bytes::from(packet.encode_to_vec());
            assert_eq!(Packet::decode(&wire[..]).expect(case.name), packet);
            assert_eq!(Packet::decode(wire).expect(case.name), packet);
        }
    }
}
