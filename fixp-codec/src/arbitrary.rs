//! Packets from fuzzer bytes: valid ones of a dialect, whatever the bytes.
//!
//! ```
//! use arbitrary::Unstructured;
//! use fixp_codec::{Decoder, LAXCUS6, Policy, arbitrary::packet};
//!
//! let bytes: Vec<u8> = (0..200).collect();
//! let packet = packet(&mut Unstructured::new(&bytes), &LAXCUS6)?;
//! let wire = packet.to_bytes(&LAXCUS6).unwrap();
//! assert!(Decoder::new(&LAXCUS6).with_policy(Policy::Strict).packet(&wire).is_ok());
//! # Ok::<(), arbitrary::Error>(())
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use ::arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;

use crate::dialect::Requests;
use crate::head::{CANONICAL_NAN_32, CANONICAL_NAN_64};
use crate::{Code, Deflated, Dialect, LAXCUS2, MAX_VALUE, Message, Packet, Type, Value};

/// The most messages that [`packet`] makes.
pub const MOST_MESSAGES: usize = 64;

/// A packet that `dialect` can write and a strict reader takes, without CONTENT_LENGTH.
///
/// # Errors
///
/// Those of [`Unstructured`].
pub fn packet(u: &mut Unstructured<'_>, dialect: &Dialect) -> Result<Packet> {
    let mut packet = Packet::new(code(u, dialect)?);
    for _ in 0..u.int_in_range(0..=MOST_MESSAGES)? {
        if u.is_empty() {
            break;
        }
        packet.messages.push(message(u, dialect)?);
    }
    packet.entity = Bytes::copy_from_slice(u.arbitrary()?);
    Ok(packet)
}

/// A code that `dialect` can write.
///
/// # Errors
///
/// Those of [`Unstructured`].
pub fn code(u: &mut Unstructured<'_>, dialect: &Dialect) -> Result<Code> {
    if u.arbitrary()? {
        let (first, last) = dialect.answers();
        return Ok(Code::Answer(u.int_in_range(first..=last)?));
    }
    let (major, minor) = match dialect.requests() {
        Requests::Any(_) => u.arbitrary()?,
        Requests::Listed(majors) => {
            let row = u.choose(majors)?;
            let minor = u.arbitrary()?;
            let code = Code::Request { major: row.number, minor };
            let named = u.choose(row.minors).map_or(minor, |row| row.number);
            (row.number, if dialect.writes(code) { minor } else { named })
        }
    };
    Ok(Code::Request { major, minor })
}

/// A message of any key but CONTENT_LENGTH.
///
/// # Errors
///
/// Those of [`Unstructured`].
pub fn message(u: &mut Unstructured<'_>, dialect: &Dialect) -> Result<Message> {
    let key = match u.choose(dialect.keys()) {
        Ok(row) if u.arbitrary()? => row.number,
        _ => u.arbitrary()?,
    };
    // Encoding appends CONTENT_LENGTH.
    let key = if key == dialect.content_length_key() { !key } else { key };
    Ok(Message { key, value: value(u, dialect)? })
}

/// A value of one of the dialect's types.
///
/// # Errors
///
/// Those of [`Unstructured`].
pub fn value(u: &mut Unstructured<'_>, dialect: &Dialect) -> Result<Value> {
    let ty = *u.choose(&Type::ALL)?;
    let ty = if dialect.code_of(ty).is_some() { ty } else { Type::Raw };
    Ok(match ty {
        Type::Raw => Value::Raw(content(u)?.into()),
        Type::Boolean => Value::Boolean(u.arbitrary()?),
        Type::String => Value::String(text(u)?),
        Type::Int16 => Value::Int16(u.arbitrary()?),
        Type::Int32 => Value::Int32(u.arbitrary()?),
        Type::Int64 => Value::Int64(u.arbitrary()?),
        Type::Float32 => {
            let float: f32 = u.arbitrary()?;
            Value::Float32(if float.is_nan() { f32::from_bits(CANONICAL_NAN_32) } else { float })
        }
        Type::Float64 => {
            let float: f64 = u.arbitrary()?;
            Value::Float64(if float.is_nan() { f64::from_bits(CANONICAL_NAN_64) } else { float })
        }
        Type::ZRaw => Value::ZRaw(Deflated::of(&content(u)?)),
        Type::ZString => Value::ZString(Deflated::of(text(u)?.as_bytes())),
    })
}

/// The longest content made: even if it does not compress, its stream fits a message.
const CONTENT: usize = MAX_VALUE - 64;

fn content(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let bytes: &[u8] = u.arbitrary()?;
    let bytes = bytes.get(..CONTENT).unwrap_or(bytes);
    Ok(if bytes.is_empty() { [0].to_vec() } else { bytes.to_vec() })
}

fn text(u: &mut Unstructured<'_>) -> Result<String> {
    let text: &str = u.arbitrary()?;
    let end = (0..=CONTENT.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    Ok(match text.get(..end) {
        None | Some("") => "?".into(),
        Some(text) => text.into(),
    })
}

/// A packet of [`LAXCUS2`], which has all types and any command.
impl<'a> Arbitrary<'a> for Packet {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        packet(u, &LAXCUS2)
    }
}

/// A message of [`LAXCUS2`], which has all types.
impl<'a> Arbitrary<'a> for Message {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        message(u, &LAXCUS2)
    }
}

/// A value of [`LAXCUS2`], which has all types.
impl<'a> Arbitrary<'a> for Value {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        value(u, &LAXCUS2)
    }
}

/// Any code, as [`LAXCUS2`] has them.
impl<'a> Arbitrary<'a> for Code {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        code(u, &LAXCUS2)
    }
}
