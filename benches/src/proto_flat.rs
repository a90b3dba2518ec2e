//! prost with a flat schema: one named field for each key. Not self-describing: a key that the schema
//! does not have is lost, and none may repeat, so the case of 1000 messages cannot be written at all.

use bytes::Bytes;
use fixp_codec::{Value, laxcus6::key};

use crate::cases::{self, CommandForm, own_key};

/// The keys of the cases as fields.
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
    /// The entity.
    #[prost(bytes = "bytes", tag = "6")]
    pub entity: Bytes,
    /// SPEAK.
    #[prost(string, optional, tag = "7")]
    pub speak: Option<String>,
    /// SERIAL_NUMBER.
    #[prost(int64, optional, tag = "8")]
    pub serial_number: Option<i64>,
    /// HOST.
    #[prost(bytes = "bytes", optional, tag = "9")]
    pub host: Option<Bytes>,
    /// DIRECT_NOTIFY.
    #[prost(bool, optional, tag = "10")]
    pub direct_notify: Option<bool>,
    /// CONTENT_TYPE.
    #[prost(int32, optional, tag = "11")]
    pub content_type: Option<i32>,
    /// SUBPACKET_COUNT.
    #[prost(int32, optional, tag = "12")]
    pub subpacket_count: Option<i32>,
    /// SUBPACKET_SERIAL.
    #[prost(int32, optional, tag = "13")]
    pub subpacket_serial: Option<i32>,
    /// PACKET_IDENTIFY.
    #[prost(int32, optional, tag = "14")]
    pub packet_identify: Option<i32>,
    /// SERIAL_TYPE.
    #[prost(string, optional, tag = "15")]
    pub serial_type: Option<String>,
    /// [`own_key::LOAD`].
    #[prost(float, optional, tag = "16")]
    pub load: Option<f32>,
    /// [`own_key::RATIO`].
    #[prost(double, optional, tag = "17")]
    pub ratio: Option<f64>,
}

/// A packet in the flat form; nothing if the schema cannot carry it.
#[must_use]
pub fn of(packet: &fixp_codec::Packet) -> Option<Packet> {
    let CommandForm { kind, major, minor, code, version } = cases::command_form(packet);
    let mut flat = Packet {
        kind: kind.into(),
        major: major.into(),
        minor: minor.into(),
        code: code.into(),
        version: version.into(),
        entity: packet.entity.clone(),
        ..Packet::default()
    };
    for message in &packet.messages {
        let repeated = match (message.key, &message.value) {
            (key::SPEAK, Value::String(text)) => flat.speak.replace(text.clone()).is_some(),
            (key::SERIAL_NUMBER, Value::Int64(value)) => flat.serial_number.replace(*value).is_some(),
            (key::HOST, Value::Raw(bytes)) => flat.host.replace(bytes.clone()).is_some(),
            (key::DIRECT_NOTIFY, Value::Boolean(value)) => flat.direct_notify.replace(*value).is_some(),
            (key::CONTENT_TYPE, Value::Int16(value)) => flat.content_type.replace((*value).into()).is_some(),
            (key::SUBPACKET_COUNT, Value::Int32(value)) => flat.subpacket_count.replace(*value).is_some(),
            (key::SUBPACKET_SERIAL, Value::Int32(value)) => flat.subpacket_serial.replace(*value).is_some(),
            (key::PACKET_IDENTIFY, Value::Int32(value)) => flat.packet_identify.replace(*value).is_some(),
            (key::SERIAL_TYPE, Value::String(text)) => flat.serial_type.replace(text.clone()).is_some(),
            (own_key::LOAD, Value::Float32(value)) => flat.load.replace(*value).is_some(),
            (own_key::RATIO, Value::Float64(value)) => flat.ratio.replace(*value).is_some(),
            (_, other) => cases::not_in_a_case(other),
        };
        if repeated {
            return None;
        }
    }
    Some(flat)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn every_case_comes_back_that_the_schema_can_carry() {
        for case in cases::all() {
            let Some(packet) = of(&case.packet) else {
                assert_eq!(case.name, cases::THOUSAND);
                continue;
            };
            let wire = Bytes::from(packet.encode_to_vec());
            assert_eq!(Packet::decode(wire).expect(case.name), packet);
        }
    }
}
