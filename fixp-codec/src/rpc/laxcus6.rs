//! The payload of laxcus6: tags and little-endian numbers (SPEC 12.10 to 12.23).
//!
//! ```
//! use fixp_codec::rpc::{Call, Reply, Value, laxcus6};
//!
//! let call = Call::new("com.laxcus.visit.hub.HubVisit", "currentTime");
//! let wire = laxcus6::encode_call(&call)?;
//! assert_eq!(wire.len(), 56);
//! assert_eq!(laxcus6::decode_call(&wire)?, call);
//!
//! let reply = laxcus6::decode_reply(b"\x01\x19\x90\x78\x56\x34\x12\x00\x00\x00\x00")?;
//! assert_eq!(reply, Reply::returned(0x12_3456_7890_i64));
//! # Ok::<(), fixp_codec::rpc::Error>(())
//! ```

use alloc::vec::Vec;

use super::{Call, Error, Limits, Reply};

mod read;
mod tag;
mod write;

/// The call of a payload, within the default limits. Bytes behind it are ignored (SPEC 12.22).
///
/// # Errors
///
/// What is wrong with it, and where.
pub fn decode_call(payload: &[u8]) -> Result<Call, Error> {
    decode_call_within(payload, &Limits::default())
}

/// The call of a payload, within limits of one's own.
///
/// # Errors
///
/// What is wrong with it, and where.
pub fn decode_call_within(payload: &[u8], limits: &Limits) -> Result<Call, Error> {
    read::Reader::new(payload, limits)?.call()
}

/// The reply of a payload, within the default limits. Bytes behind it are ignored (SPEC 12.22).
///
/// # Errors
///
/// What is wrong with it, and where.
pub fn decode_reply(payload: &[u8]) -> Result<Reply, Error> {
    decode_reply_within(payload, &Limits::default())
}

/// The reply of a payload, within limits of one's own.
///
/// # Errors
///
/// What is wrong with it, and where.
pub fn decode_reply_within(payload: &[u8], limits: &Limits) -> Result<Reply, Error> {
    read::Reader::new(payload, limits)?.reply()
}

/// The payload of a call, within the default limits.
///
/// # Errors
///
/// A value that this form has no room for: a byte[] of no bytes (SPEC 12.16), an array that holds itself
/// (12.18); or a limit.
pub fn encode_call(call: &Call) -> Result<Vec<u8>, Error> {
    encode_call_within(call, &Limits::default())
}

/// The payload of a call, within limits of one's own.
///
/// # Errors
///
/// Those of [`encode_call`].
pub fn encode_call_within(call: &Call, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut writer = write::Writer::new(limits);
    writer.call(call)?;
    Ok(writer.out)
}

/// The payload of a reply, within the default limits.
///
/// # Errors
///
/// Those of [`encode_call`].
pub fn encode_reply(reply: &Reply) -> Result<Vec<u8>, Error> {
    encode_reply_within(reply, &Limits::default())
}

/// The payload of a reply, within limits of one's own.
///
/// # Errors
///
/// Those of [`encode_call`].
pub fn encode_reply_within(reply: &Reply, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut writer = write::Writer::new(limits);
    writer.reply(reply)?;
    Ok(writer.out)
}
