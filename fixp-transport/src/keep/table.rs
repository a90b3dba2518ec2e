//! What the two dialects do differently in KEEP UDP, as one table each.
//!
//! ```
//! use fixp_codec::{LAXCUS6, LEXST1};
//! use fixp_transport::keep::table;
//!
//! assert_eq!(table::of(&LEXST1).retry_serials, 1);
//! assert_eq!(table::of(&LAXCUS6).retry_serials, 50);
//! ```

use std::time::Duration;

use fixp_codec::{Code, Dialect, laxcus6, lexst1};

/// The habits of a dialect in KEEP UDP.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Asks for pieces, in either direction.
    pub retry: Code,
    /// How many serials a RETRY carries at most, and how many of one are heard.
    pub retry_serials: usize,
    /// Ends an exchange.
    pub cancel: Code,
    /// The answer to CANCEL where there was something to end.
    pub cancel_okay: Code,
    /// The answer to CANCEL where there was nothing.
    pub cancel_not_found: Code,
    /// What both of them say.
    pub cancel_text: &'static str,
    /// Says that the whole request has come, where the dialect has that, and in how many copies.
    pub accepted: Option<(Code, u8)>,
    /// Whether a server's CANCEL leaves things as they are, so that a port with a stale group is of no more use.
    pub cancel_is_idle: bool,
    /// Whether the pieces carry SUBPACKET_DISABLE_TIMEOUT.
    pub disable: bool,
    /// Whether the identity and the count come first in the pieces of an answer.
    pub answer_identity_first: bool,
    /// Whether the four keys stand behind the messages of an answer that has no entity.
    pub empty_answer_keys_last: bool,
    /// SUBPACKET_TIMEOUT of a request.
    pub request_timeout: Duration,
    /// SUBPACKET_TIMEOUT of an answer.
    pub answer_timeout: Duration,
    /// How long the program's client waits in silence before it asks for what is missing.
    pub every: Duration,
    /// How long it waits in silence before it sends the whole request again.
    pub resend: Duration,
    /// How long it waits for the answer to CANCEL.
    pub cancel_every: Duration,
    /// Requests that are never pieces, whatever keys they carry.
    pub plain: &'static [Code],
}

/// The table of a dialect. A dialect of one's own has that of laxcus6.
#[must_use]
pub fn of(dialect: &Dialect) -> &'static Table {
    match dialect.name() {
        "lexst1" => &LEXST1,
        _ => &LAXCUS6,
    }
}

/// lexst1, the older program.
pub const LEXST1: Table = Table {
    retry: lexst1::notify::RETRY_SUBPACKET,
    retry_serials: 1,
    cancel: lexst1::notify::CANCEL_PACKET,
    cancel_okay: lexst1::answer::OKAY,
    cancel_not_found: lexst1::answer::NOTFOUND,
    cancel_text: "cancel keep",
    accepted: None,
    cancel_is_idle: true,
    disable: false,
    answer_identity_first: false,
    empty_answer_keys_last: true,
    request_timeout: Duration::from_secs(3),
    answer_timeout: Duration::from_secs(3),
    every: Duration::from_secs(3),
    // It sends again where its silence is a multiple of 5 s, and counts silence in steps of 3 s.
    resend: Duration::from_secs(15),
    cancel_every: Duration::from_secs(5),
    plain: &[lexst1::notify::EXIT, lexst1::notify::INIT_SECURE],
};

/// laxcus6, the program of Laxcus 6.0.
pub const LAXCUS6: Table = Table {
    retry: laxcus6::notify::RETRY_SUBPACKET,
    retry_serials: 50,
    cancel: laxcus6::notify::CANCEL_PACKET,
    cancel_okay: laxcus6::answer::CANCEL_OKAY,
    cancel_not_found: laxcus6::answer::CANCEL_NOTFOUND,
    cancel_text: "cancel io packet bucket!",
    accepted: Some((laxcus6::answer::SUBPACKETS_ACCEPTED, 3)),
    cancel_is_idle: false,
    disable: true,
    answer_identity_first: true,
    empty_answer_keys_last: false,
    request_timeout: Duration::from_secs(6),
    answer_timeout: Duration::from_secs(6),
    // The shortest that the program takes, and what was recorded; its default is 10 s.
    every: Duration::from_secs(3),
    resend: Duration::from_secs(3),
    cancel_every: Duration::from_secs(3),
    plain: &[
        laxcus6::notify::TEST,
        laxcus6::notify::REFLECT,
        laxcus6::notify::SHINE,
        laxcus6::notify::VISIT,
        laxcus6::notify::EMPTY_OPERATE,
        laxcus6::notify::EXIT,
        laxcus6::notify::SECURE_QUERY,
        laxcus6::notify::SECURE_CREATE,
        laxcus6::notify::SECURE_DROP,
        laxcus6::notify::PRIVATE_SECURE_QUERY,
        laxcus6::notify::PRIVATE_SECURE_CREATE,
        laxcus6::notify::PRIVATE_SECURE_DROP,
    ],
};
