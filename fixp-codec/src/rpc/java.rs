//! Java object serialization: streams to values and values to streams (SPEC 12.30).
//!
//! ```
//! use fixp_codec::rpc::{Value, java};
//!
//! let stream = b"\xac\xed\x00\x05\x74\x00\x04helo";
//! assert_eq!(java::decode_value(stream)?, Value::from("helo"));
//! assert_eq!(java::encode_value(&"helo".into())?, stream);
//!
//! let error = java::decode_value(&stream[..8]).unwrap_err();
//! assert_eq!(error.to_string(), "at byte 7: 4 bytes are needed, 1 is there");
//! # Ok::<(), fixp_codec::rpc::Error>(())
//! ```
//!
//! What Java wrote is written again byte for byte, with what its objects share. Not kept are: that a box was
//! shared whose number Java does not keep, the bits of a NaN, what stands behind the description of a class
//! (the programs write nothing there), and forms that Java does not write: text or lengths longer than need be,
//! resets, a class or the type of a field that is described twice.

use alloc::vec::Vec;

use super::limits::Budget;
use super::{Error, Limits, Value};

mod kinds;
mod reader;
mod utf;
mod writer;

pub(crate) use reader::Stream;
pub(crate) use writer::Writer;

/// The first four bytes: magic and version.
const MAGIC: u32 = 0xaced_0005;

/// The handle of the first class, text, array or object.
const FIRST_HANDLE: u32 = 0x007e_0000;

/// The codes of what a stream holds (SPEC 12.31).
mod code {
    pub(super) const NULL: u8 = 0x70;
    pub(super) const REFERENCE: u8 = 0x71;
    pub(super) const DESCRIPTOR: u8 = 0x72;
    pub(super) const OBJECT: u8 = 0x73;
    pub(super) const STRING: u8 = 0x74;
    pub(super) const ARRAY: u8 = 0x75;
    pub(super) const CLASS: u8 = 0x76;
    pub(super) const BLOCK: u8 = 0x77;
    pub(super) const END: u8 = 0x78;
    pub(super) const RESET: u8 = 0x79;
    pub(super) const LONG_BLOCK: u8 = 0x7a;
    pub(super) const LONG_STRING: u8 = 0x7c;
    pub(super) const PROXY: u8 = 0x7d;
    pub(super) const ENUM: u8 = 0x7e;
}

/// Reads the one value of a stream. What stands behind it is not looked at.
pub fn decode_value(input: &[u8]) -> Result<Value, Error> {
    decode_value_within(input, &Limits::default())
}

/// Reads a value within limits of one's own.
pub fn decode_value_within(input: &[u8], limits: &Limits) -> Result<Value, Error> {
    decode_part(input, &mut Budget::new(limits))
}

/// Reads the value of a stream that is a part of a payload.
pub(crate) fn decode_part(input: &[u8], budget: &mut Budget) -> Result<Value, Error> {
    Stream::new(input, budget)?.root()
}

/// Writes the stream of one value.
pub fn encode_value(value: &Value) -> Result<Vec<u8>, Error> {
    encode_value_within(value, &Limits::default())
}

/// Writes a value within limits of one's own.
pub fn encode_value_within(value: &Value, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut writer = Writer::new(limits);
    writer.value(value)?;
    writer.finish()
}
