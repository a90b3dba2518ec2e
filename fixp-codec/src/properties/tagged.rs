//! The tagged payloads of laxcus6.

use super::java::payload;
use crate::rpc::laxcus6;

/// Any bytes are a call or an answer of laxcus6, or are refused within them.
pub fn rpc_tagged(input: &[u8]) {
    payload(input, laxcus6::decode_call_within, laxcus6::encode_call);
    payload(input, laxcus6::decode_reply_within, laxcus6::encode_reply);
}
