//! Streams of Java objects.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::rpc::{Cause, Error, Limits, Throwable, Value, java, lexst1};

/// Tighter than the default in every way.
const TIGHT: Limits = Limits { bytes: 4096, depth: 12, values: 200 };

/// Any bytes are a call or an answer of lexst1, or a stream of a value, or are refused within them.
pub fn rpc_java(input: &[u8]) {
    payload(input, lexst1::decode_call_within, lexst1::encode_call);
    payload(input, lexst1::decode_reply_within, lexst1::encode_reply);
    if let Some(value) = payload(input, java::decode_value_within, java::encode_value) {
        look_at(&value);
    }
}

/// What is read within tight limits is the same as within wide ones. What is read is written, unless its
/// alias has no anchor, a name grows too long in its proper form, or laxcus6 has no room for it, and from then on
/// it is written alike: a NaN is written as the programs do it, and what was one number in two places as two.
pub(super) fn payload<T: PartialEq + core::fmt::Debug>(
    input: &[u8],
    decode: fn(&[u8], &Limits) -> Result<T, Error>,
    encode: fn(&T) -> Result<Vec<u8>, Error>,
) -> Option<T> {
    let wide = Limits::default();
    let read = decode(input, &wide);
    match decode(input, &TIGHT) {
        Ok(tight) => assert_eq!(read.as_ref(), Ok(&tight)),
        Err(error) => {
            let limits = [Cause::BytesLimit, Cause::DepthLimit, Cause::ValuesLimit];
            assert!(limits.contains(&error.cause()) || read == Err(error), "{error}");
        }
    }
    let value = match read {
        Ok(value) => value,
        Err(error) => {
            assert!(error.offset() <= input.len(), "{error}");
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    match encode(&value) {
        Ok(wire) => assert_eq!(decode(&wire, &wide).and_then(|again| encode(&again)), Ok(wire)),
        Err(error) => {
            let long = error.cause() == Cause::Unwritable && input.len() > 0x7fff;
            assert!(long || matches!(error.cause(), Cause::Alias | Cause::EmptyBytes), "{error}");
        }
    }
    Some(value)
}

fn look_at(value: &Value) {
    if let Some(throwable) = Throwable::of(value) {
        assert!(!throwable.to_string().is_empty() || throwable.class.units().next().is_none());
        let written = Throwable::of(&throwable.to_value());
        assert_eq!(written.map(|written| written.cause.is_some()), Some(throwable.cause.is_some()));
    }
}
