//! What we add between our own peers, invisible to all others (SPEC 10).
//!
//! ```
//! use fixp_codec::Packet;
//! use fixp_codec::laxcus6::{answer, notify};
//! use fixp_transport::extension::{self, Capabilities};
//!
//! // A request announces what its sender can do; an answer announces back.
//! let request = Packet::new(notify::TEST).with(extension::key::CAPABILITIES, Capabilities::OURS.in_request());
//! assert_eq!(Capabilities::of_request(&request), Some(Capabilities::OURS));
//!
//! // A peer that echoes every message it does not know has announced nothing (SPEC 10.2).
//! let echo = Packet { code: answer::ACCEPTED, ..request };
//! assert_eq!(Capabilities::of_answer(&echo), None);
//! ```

use bytes::Bytes;
use fixp_codec::dialect::RequestOrder;
use fixp_codec::{Code, Dialect, HeadRef, LAXCUS2, LAXCUS6, LEXST1, Packet, Value};

/// Our keys (SPEC 10.1). All lie in 0xF000..=0xF0FF.
pub mod key {
    /// What the sender can do, raw: see [`Capabilities`](super::Capabilities) (SPEC 10.2).
    pub const CAPABILITIES: u16 = 0xF000;
    /// The number of a request, int64, repeated in its answer (SPEC 10.3).
    pub const SERIAL: u16 = 0xF001;
    /// The serial of the request before this one on its ordered channel, int64, 0 for the first (SPEC 10.5).
    pub const PREDECESSOR: u16 = 0xF002;
    /// The ordered channel of a request, raw, 16 bytes (SPEC 10.5).
    pub const CHANNEL: u16 = 0xF003;
    /// The time that is left for the answer, int32, in milliseconds (SPEC 10.4).
    pub const DEADLINE: u16 = 0xF004;
    /// Up to which serial the sender has the answers of its ordered channel, int64 (SPEC 10.5).
    pub const ANSWERED: u16 = 0xF005;
    /// Why a request was refused, int16: see [`Refusal`](super::Refusal) (SPEC 10.6).
    pub const REFUSAL: u16 = 0xF006;

    /// The receiver's number of an association, raw, 8 bytes (SPEC 10.11).
    pub const ASSOCIATION: u16 = 0xF010;
    /// The sender's number of an association, raw, 8 bytes (SPEC 10.11).
    pub const SENDER: u16 = 0xF011;
    /// The number of a SEGMENT, int64 (SPEC 10.13).
    pub const NUMBER: u16 = 0xF012;
    /// The numbers that have come, raw (SPEC 10.13).
    pub const ACKNOWLEDGED: u16 = 0xF013;
    /// Where a part of the entity belongs, raw (SPEC 10.14).
    pub const CHUNK: u16 = 0xF014;
    /// How much may be sent, raw (SPEC 10.15).
    pub const WINDOW: u16 = 0xF015;
    /// That a direction of an exchange is over before its end, raw (SPEC 10.16).
    pub const RESET: u16 = 0xF016;
    /// The bytes of the sender's buffer for receiving, int32 (SPEC 10.12).
    pub const BUFFER: u16 = 0xF017;

    /// All of them.
    pub const RANGE: core::ops::RangeInclusive<u16> = 0xF000..=0xF0FF;
    /// Those that the transport writes and takes out itself; the others are its callers' and handlers'.
    pub const TRANSPORT: core::ops::RangeInclusive<u16> = 0xF000..=0xF01F;
}

/// The major command of our own requests (SPEC 10.1).
pub const MAJOR: u8 = 0x46;
/// From this minor command on our own requests are handlers' (SPEC 10.1).
pub const HANDLERS: u8 = 0x20;
/// A heartbeat, answered by the dialect's OKAY (SPEC 10.7).
pub const PING: Code = Code::Request { major: MAJOR, minor: 1 };
/// The caller has gone: the request with this SERIAL need not be answered (SPEC 10.8). Has no answer.
pub const CANCEL: Code = Code::Request { major: MAJOR, minor: 2 };
/// Opens an association (SPEC 10.12).
pub const OPEN: Code = Code::Request { major: MAJOR, minor: 3 };
/// The answer to OPEN (SPEC 10.12).
pub const OPENED: Code = Code::Request { major: MAJOR, minor: 4 };
/// Everything in an association (SPEC 10.13).
pub const SEGMENT: Code = Code::Request { major: MAJOR, minor: 5 };
/// Ends an association (SPEC 10.17).
pub const CLOSE: Code = Code::Request { major: MAJOR, minor: 6 };

/// What a peer can do beyond its dialect (SPEC 10.2): on the wire a version byte, then a bit set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities(u8);

impl Capabilities {
    /// The version byte that we write. A reader takes every version from 1 on: later ones add bits.
    pub const VERSION: u8 = 1;
    /// Set in answers and never in requests, so that an echo is not taken for an announcement.
    const ANSWERING: u8 = 0x01;
    const SERIALS: u8 = 0x02;
    const ORDERED: u8 = 0x04;
    const KEEP: u8 = 0x08;

    /// The own transport over UDP, [`keep::own`](crate::keep::own).
    pub const OWN_KEEP: Self = Self(Self::KEEP);

    /// What this crate can do: serials and ordered channels.
    pub const OURS: Self = Self(Self::SERIALS | Self::ORDERED);

    /// Whether requests may carry SERIAL, DEADLINE and our own commands.
    #[must_use]
    pub const fn serials(self) -> bool {
        self.0 & Self::SERIALS != 0
    }

    /// Whether requests may stand on ordered channels.
    #[must_use]
    pub const fn ordered(self) -> bool {
        self.0 & Self::ORDERED != 0 && self.serials()
    }

    /// Whether the own transport over UDP may be spoken (SPEC 10.10).
    #[must_use]
    pub const fn keep(self) -> bool {
        self.0 & Self::KEEP != 0
    }

    /// The same with what another one can do.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both of two peers can do.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// The value that announces this in a request.
    #[must_use]
    pub fn in_request(self) -> Value {
        Value::Raw(if self == Self::OURS {
            Bytes::from_static(&[Self::VERSION, Self::OURS.0])
        } else {
            Bytes::copy_from_slice(&[Self::VERSION, self.0])
        })
    }

    /// The value that announces this in an answer.
    #[must_use]
    pub fn in_answer(self) -> Value {
        Value::Raw(if self == Self::OURS {
            Bytes::from_static(&[Self::VERSION, Self::OURS.0 | Self::ANSWERING])
        } else {
            Bytes::copy_from_slice(&[Self::VERSION, self.0 | Self::ANSWERING])
        })
    }

    /// What a request announces; nothing where it says nothing or what it says is broken.
    #[must_use]
    pub fn of_request(packet: &Packet) -> Option<Self> {
        Self::read(packet, false)
    }

    /// What an answer announces; nothing where it says nothing or what it says is broken.
    #[must_use]
    pub fn of_answer(packet: &Packet) -> Option<Self> {
        Self::read(packet, true)
    }

    /// As [`Capabilities::of_request`], of a head that has not been made a packet.
    pub(crate) fn of_request_head(head: &HeadRef<'_>) -> Option<Self> {
        Self::of_value(head.first(key::CAPABILITIES)?.as_raw()?, false)
    }

    /// As [`Capabilities::of_answer`], of a head that has not been made a packet.
    pub(crate) fn of_answer_head(head: &HeadRef<'_>) -> Option<Self> {
        Self::of_value(head.first(key::CAPABILITIES)?.as_raw()?, true)
    }

    fn read(packet: &Packet, answering: bool) -> Option<Self> {
        Self::of_value(packet.first(key::CAPABILITIES)?.as_raw()?, answering)
    }

    fn of_value(value: &[u8], answering: bool) -> Option<Self> {
        let [1..=u8::MAX, bits, ..] = *value else { return None };
        ((bits & Self::ANSWERING != 0) == answering).then_some(Self(bits & !Self::ANSWERING))
    }
}

/// Why a peer of ours refused a request (SPEC 10.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// Its predecessor on the ordered channel has not come.
    Gap,
    /// The ordered channel is not known (any more), and the request is not its first.
    Forgotten,
    /// It was executed before, and its answer is no longer kept.
    NotKept,
    /// The server has no room for it.
    Overloaded,
    /// Its time was over before it began.
    Late,
    /// Its entity is larger than such a request may have here.
    TooLarge,
    /// It was executed, and its answer cannot be written in the dialect.
    Unwritable,
    /// It was executed, and has no answer.
    Silent,
    /// Something that we do not know by number.
    Other(i16),
}

impl Refusal {
    /// Whether the request has certainly not been executed.
    #[must_use]
    pub const fn is_unexecuted(self) -> bool {
        matches!(self, Self::Gap | Self::Overloaded | Self::Late | Self::TooLarge)
    }

    /// Whether a refused request of an ordered channel has taken its place there all the same, so that those
    /// behind it are executed.
    #[must_use]
    pub const fn keeps_place(self) -> bool {
        matches!(self, Self::Late | Self::NotKept | Self::Unwritable | Self::Silent)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Gap => 1,
            Self::Forgotten => 2,
            Self::NotKept => 3,
            Self::Overloaded => 4,
            Self::Late => 5,
            Self::TooLarge => 6,
            Self::Unwritable => 7,
            Self::Silent => 8,
            Self::Other(number) => number,
        }
    }

    /// The refusal of a number.
    #[must_use]
    pub const fn of_number(number: i16) -> Self {
        match number {
            1 => Self::Gap,
            2 => Self::Forgotten,
            3 => Self::NotKept,
            4 => Self::Overloaded,
            5 => Self::Late,
            6 => Self::TooLarge,
            7 => Self::Unwritable,
            8 => Self::Silent,
            number => Self::Other(number),
        }
    }
}

static LEXST1_OWN: Dialect = LEXST1.with_major(MAJOR);
static LAXCUS6_OWN: Dialect = LAXCUS6.with_major(MAJOR);
static LAXCUS2_OWN: Dialect = LAXCUS2.with_major(MAJOR);

/// The dialect with our own commands added, for a connection on which both ends have announced
/// themselves; a dialect that is not built in as it is.
#[must_use]
pub fn own(dialect: &'static Dialect) -> &'static Dialect {
    match dialect.name() {
        "lexst1" => &LEXST1_OWN,
        "laxcus6" => &LAXCUS6_OWN,
        "laxcus2" => &LAXCUS2_OWN,
        _ => dialect,
    }
}

/// The request that a packet begins like, where the bytes of a command are there; whether the dialect has it is not looked
/// at.
pub(crate) fn request_of(dialect: &Dialect, packet: &[u8]) -> Option<Code> {
    let [Code::REQUEST_TAG, _, _, first, second, _, _, ..] = *packet else { return None };
    let (major, minor) = match dialect.request_order() {
        RequestOrder::MajorFirst => (first, second),
        RequestOrder::MinorFirst => (second, first),
    };
    Some(Code::Request { major, minor })
}

/// The dialect that a request of this code is written in.
pub(crate) fn table_of(dialect: &'static Dialect, code: Code) -> &'static Dialect {
    if is_own(code) { own(dialect) } else { dialect }
}

/// What stands in a request beside it, if its sender is one of ours: read from a head or a packet alike.
pub(crate) trait Said {
    /// What the sender can do.
    fn capabilities(&self) -> Option<Capabilities>;
    /// The number of the request.
    fn serial(&self) -> Option<i64>;
    /// The time that is left for the answer, in milliseconds.
    fn deadline(&self) -> Option<i32>;
    /// Whether it stands on an ordered channel.
    fn is_ordered(&self) -> bool;
}

impl Said for HeadRef<'_> {
    fn capabilities(&self) -> Option<Capabilities> {
        Capabilities::of_request_head(self)
    }

    fn serial(&self) -> Option<i64> {
        self.first(key::SERIAL)?.as_i64()
    }

    fn deadline(&self) -> Option<i32> {
        self.first(key::DEADLINE)?.as_i32()
    }

    fn is_ordered(&self) -> bool {
        self.first(key::CHANNEL).is_some()
    }
}

impl Said for Packet {
    fn capabilities(&self) -> Option<Capabilities> {
        Capabilities::of_request(self)
    }

    fn serial(&self) -> Option<i64> {
        self.first(key::SERIAL)?.as_i64()
    }

    fn deadline(&self) -> Option<i32> {
        self.first(key::DEADLINE)?.as_i32()
    }

    fn is_ordered(&self) -> bool {
        self.first(key::CHANNEL).is_some()
    }
}

/// The packet of a head, without what is the transport's.
pub(crate) fn stripped(head: &HeadRef<'_>) -> Result<Packet, fixp_codec::Error> {
    let command = head.command();
    let mut messages = Vec::with_capacity(head.messages().len());
    for message in head.messages().filter(|message| !key::TRANSPORT.contains(&message.key())) {
        messages.push(message.to_message()?);
    }
    Ok(Packet { code: command.code, version: command.version, messages, entity: Bytes::new() })
}

/// Whether a handler's answer may have this key: to a peer that has announced nothing none of ours.
pub(crate) const fn may_answer(key: u16, own: bool) -> bool {
    let ours = key >= *key::RANGE.start() && key <= *key::RANGE.end();
    let transports = ours && key <= *key::TRANSPORT.end();
    !ours || own && (!transports || key == key::REFUSAL)
}

/// Whether a request is one of our own commands, which go only to a peer that has announced itself.
#[must_use]
pub const fn is_own(code: Code) -> bool {
    matches!(code, Code::Request { major: MAJOR, .. })
}

/// Whether a request is one of our own commands that the transport serves itself: no handler sees it.
#[must_use]
pub const fn is_transports(code: Code) -> bool {
    matches!(code, Code::Request { major: MAJOR, minor: ..HANDLERS })
}
