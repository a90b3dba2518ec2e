//! laxcus6, the dialect of Laxcus 6.0 (SPEC 6.1).
//!
//! ```
//! use fixp_codec::{LAXCUS6, laxcus6::{answer, key, notify}};
//!
//! assert_eq!(LAXCUS6.code_name(notify::HELO), Some("HELO"));
//! assert_eq!(LAXCUS6.code_name(answer::GOODBYE), Some("GOODBYE"));
//! assert_eq!(LAXCUS6.content_length_key(), key::CONTENT_LENGTH);
//! ```

use super::table::{answers, keys, requests};
use super::{BuiltIn, Dialect, RequestOrder, Requests};
use crate::Type;

/// Laxcus 6.0: minor command first, CONTENT_LENGTH 1020, eight types, a closed table of requests.
pub const LAXCUS6: Dialect = Dialect::empty("laxcus6")
    .with_request_order(RequestOrder::MinorFirst)
    .with_type(1, Type::Raw)
    .with_type(2, Type::Boolean)
    .with_type(3, Type::String)
    .with_type(4, Type::Int16)
    .with_type(5, Type::Int32)
    .with_type(6, Type::Int64)
    .with_type(7, Type::Float32)
    .with_type(8, Type::Float64)
    .with_content_length_key(key::CONTENT_LENGTH)
    .with_requests(Requests::Listed(MAJORS), true)
    .with_answers(1000, 2999, ANSWERS)
    .with_keys(KEYS)
    .with_first_serial(0)
    .folded(BuiltIn::Laxcus6);

requests! {
    notify = 1 NOTIFY listed {
        1 HELO, 2 EXIT, 3 COMEBACK, 4 SHUTDOWN, 5 TEST, 6 REFLECT, 7 SHINE, 8 VISIT, 9 EMPTY_OPERATE,
        11 RETRY_SUBPACKET, 12 CANCEL_PACKET,
        21 SECURE_QUERY, 22 SECURE_CREATE, 23 SECURE_DROP,
        25 PRIVATE_SECURE_QUERY, 26 PRIVATE_SECURE_CREATE, 27 PRIVATE_SECURE_DROP,
        31 CASTHELO, 32 CAST, 33 CASTEXIT, 34 CASTREFIRE,
        51 FLUSH_LOG, 52 FLUSH_MEMBER_LOG, 53 FLUSH_TIG, 55 FLUSH_BILL,
    }
    rpc = 2 RPC listed { 1 EXECUTE }
}

answers! {
    1000 ISEE, 1001 SECURE_NOTIFY, 1002 ENCRYPT_CONTENT_NOTIFY, 1003 PRIVATE_SECURE_NOTIFY,
    1010 OKAY, 1011 ACCEPTED, 1012 SECURE_ACCEPTED, 1013 GOODBYE, 1014 SUBPACKETS_ACCEPTED,
    1015 REFLECT_ACCEPTED, 1016 SHINE_ACCEPTED, 1017 VISIT_ACCEPTED,
    1020 CASTHELO_OKAY, 1021 CAST_OKAY, 1022 CASTEXIT_OKAY, 1023 CAST_OKAY_REPLY, 1024 LOCK_CAST_OKAY,
    1030 PRIVATE_DROP_SECURE_ACCEPTED, 1031 PRIVATE_DROP_SECURE_REFUSE,
    1032 PRIVATE_CREATE_SECURE_ACCEPTED, 1033 PRIVATE_CREATE_SECURE_REFUSE,
    2000 REFUSE, 2001 UNSUPPORT, 2002 NOTLOGIN, 2003 CLIENT_ERROR, 2004 SERVER_ERROR,
    2005 SECURE_EXISTED, 2006 SECURE_REFUSE, 2007 CANCEL_NOTFOUND, 2008 CANCEL_OKAY,
}

keys! {
    1000 SPEAK String, 1001 TIMEOUT -, 1002 SERIAL_NUMBER Int64, 1003 SINGER Raw,
    1010 SERIAL_TYPE String, 1011 SERIAL_OBJECTS Int32,
    1020 CONTENT_LENGTH Int32, 1021 CONTENT_TYPE Int16, 1022 CONTENT_ITEMS Int64,
    1040 DIRECT_NOTIFY Boolean,
    1200 SECURE_FAMILY Int32, 1201 DROP_SECURE -,
    2001 HOST Raw, 2002 NODE_ADDRESS Raw, 2003 CAST_FLAG Raw, 2004 CAST_CODE Raw, 2005 EACH_KEY Int64,
    3000 PACKET_IDENTIFY Int32, 3001 SUBPACKET_COUNT Int32, 3002 SUBPACKET_SERIAL Int32,
    3003 SUBPACKET_TIMEOUT Int32, 3004 SUBPACKET_DISABLE_TIMEOUT Int32,
    3005 SUBPACKET_TRANSFER_MODE Int32, 3006 SUBPACKET_SEND_INTERVAL Int32,
    3007 SUBPACKET_CONTENT_SIZE Int32, 3008 SUBPACKET_UNIT Int32, 3009 SUBPACKET_FEEDBACK_TIMEOUT Int32,
}
