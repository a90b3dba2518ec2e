//! CBOR by minicbor, everything borrowed: by its derive, and walked in place without a `Vec`.

use fixp_codec::Value as FixpValue;
use minicbor::data::Type;
use minicbor::decode::Error;
use minicbor::{Decode, Decoder, Encode};

use crate::cases::{self, CommandForm};

/// A packet: an array, the compact form of the derive. The messages need a `Vec`; text and bytes are borrowed.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Packet<'a> {
    #[n(0)]
    kind: u8,
    #[n(1)]
    major: u8,
    #[n(2)]
    minor: u8,
    #[n(3)]
    code: u16,
    #[n(4)]
    version: u16,
    #[b(5)]
    messages: Vec<Message<'a>>,
    #[cbor(b(6), with = "minicbor::bytes")]
    entity: &'a [u8],
}

/// A message. The type code is written beside the value: CBOR has no widths of integers, and the
/// derive needs to know the variant.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Message<'a> {
    #[n(0)]
    key: u16,
    #[b(1)]
    value: Value<'a>,
}

/// A value: an array of type code and content.
#[derive(Clone, Copy, PartialEq, Debug, Encode, Decode)]
#[cbor(flat)]
pub enum Value<'a> {
    /// Bytes.
    #[n(0)]
    Raw(#[cbor(b(0), with = "minicbor::bytes")] &'a [u8]),
    /// True or false.
    #[n(1)]
    Boolean(#[n(0)] bool),
    /// Text.
    #[n(2)]
    String(#[b(0)] &'a str),
    /// A 16-bit integer.
    #[n(3)]
    Int16(#[n(0)] i16),
    /// A 32-bit integer.
    #[n(4)]
    Int32(#[n(0)] i32),
    /// A 64-bit integer.
    #[n(5)]
    Int64(#[n(0)] i64),
    /// A float.
    #[n(6)]
    Float32(#[n(0)] f32),
    /// A double.
    #[n(7)]
    Float64(#[n(0)] f64),
}

/// A packet in CBOR's form.
#[must_use]
pub fn of(packet: &fixp_codec::Packet) -> Packet<'_> {
    let CommandForm { kind, major, minor, code, version } = cases::command_form(packet);
    let messages =
        packet.messages.iter().map(|message| Message { key: message.key, value: value(&message.value) });
    Packet { kind, major, minor, code, version, messages: messages.collect(), entity: &packet.entity }
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

/// The command and the entity of a packet walked in place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Walked<'a> {
    /// kind, major, minor, code, version.
    pub command: (u8, u8, u8, u16, u16),
    /// The number of messages.
    pub messages: u64,
    /// The entity.
    pub entity: &'a [u8],
}

/// Reads a packet in place: every message goes to `see`, nothing is gathered. What one would write by
/// hand on minicbor's [`Decoder`] to come near to how FIXP is read.
///
/// # Errors
///
/// Those of minicbor.
#[inline]
pub fn walk<'a>(wire: &'a [u8], mut see: impl FnMut(u16, Value<'a>)) -> Result<Walked<'a>, Error> {
    let mut decoder = Decoder::new(wire);
    expect_array(&mut decoder, 7)?;
    let command = (decoder.u8()?, decoder.u8()?, decoder.u8()?, decoder.u16()?, decoder.u16()?);
    let messages = decoder.array()?.ok_or_else(|| Error::type_mismatch(Type::ArrayIndef))?;
    for _ in 0..messages {
        expect_array(&mut decoder, 2)?;
        let key = decoder.u16()?;
        expect_array(&mut decoder, 2)?;
        let value = match decoder.u32()? {
            0 => Value::Raw(decoder.bytes()?),
            1 => Value::Boolean(decoder.bool()?),
            2 => Value::String(decoder.str()?),
            3 => Value::Int16(decoder.i16()?),
            4 => Value::Int32(decoder.i32()?),
            5 => Value::Int64(decoder.i64()?),
            6 => Value::Float32(decoder.f32()?),
            7 => Value::Float64(decoder.f64()?),
            other => return Err(Error::unknown_variant(other.into())),
        };
        see(key, value);
    }
    Ok(Walked { command, messages, entity: decoder.bytes()? })
}

#[inline]
fn expect_array(decoder: &mut Decoder<'_>, len: u64) -> Result<(), Error> {
    if decoder.array()? == Some(len) {
        return Ok(());
    }
    Err(Error::message("an array of another length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_comes_back() {
        for case in cases::all() {
            let packet = of(&case.packet);
            let wire = minicbor::to_vec(&packet).expect(case.name);
            assert_eq!(minicbor::decode::<Packet<'_>>(&wire).expect(case.name), packet);
            let mut messages = Vec::new();
            let walked = walk(&wire, |key, value| messages.push(Message { key, value })).expect(case.name);
            assert_eq!((messages, walked.entity), (packet.messages, packet.entity), "{}", case.name);
        }
    }
}
