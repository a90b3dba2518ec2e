//! Calls and their answers as packets (SPEC 13).
//!
//! ```
//! use fixp_codec::LAXCUS6;
//! use fixp_rpc::{Format, wire};
//!
//! let call = wire::Asked { method: "Clock.now", format: Format::Json, one_way: false };
//! let packet = call.packet(&LAXCUS6, "{}".into());
//! assert_eq!(wire::Asked::read(&LAXCUS6, &packet), Ok(call));
//! ```

use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Code, Dialect, MAX_VALUE, Message, Packet, Value, laxcus6};
use fixp_transport::extension::{self, HANDLERS, MAJOR, Refusal};
use fixp_transport::tables;

use crate::format::Format;

/// A call (SPEC 13.1).
pub const CALL: Code = Code::Request { major: MAJOR, minor: HANDLERS };

/// Several calls in one (SPEC 13.8).
pub const BATCH: Code = Code::Request { major: MAJOR, minor: HANDLERS + 1 };

/// The keys of calls and their answers (SPEC 13.2).
pub mod key {
    /// Interface and method of a call, string: `Clock.now`.
    pub const METHOD: u16 = 0xF020;
    /// What came of a call, int16: see [`Outcome`](super::Outcome). Missing where it returned.
    pub const OUTCOME: u16 = 0xF021;
    /// The formats that a server reads, string, with commas between.
    pub const FORMATS: u16 = 0xF022;
    /// That nobody waits for the result, boolean.
    pub const ONE_WAY: u16 = 0xF023;
    /// That the entity is a stream, boolean (SPEC 13.10).
    pub const STREAM: u16 = 0xF024;
    /// The arguments or the result beside a stream, raw; missing where they have no bytes.
    pub const VALUE: u16 = 0xF025;
    /// How long the caller of a stream still waits for the result, int32, in milliseconds.
    pub const TIME: u16 = 0xF026;
}

/// What stands in a call beside its argument (SPEC 13.2, 13.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked<'a> {
    /// Interface and method.
    pub method: &'a str,
    /// How the argument is written, and the result is to be.
    pub format: Format,
    /// Whether the answer says only that the call was taken.
    pub one_way: bool,
}

impl<'a> Asked<'a> {
    /// The call as a packet.
    #[must_use]
    pub fn packet(&self, dialect: &Dialect, argument: Bytes) -> Packet {
        let packet = Packet::new(CALL)
            .with(tables::of(dialect).serial_type, self.format.name())
            .with(key::METHOD, self.method);
        let packet = if self.one_way { packet.with(key::ONE_WAY, true) } else { packet };
        packet.with_entity(argument)
    }

    /// The call that a packet is.
    ///
    /// # Errors
    ///
    /// The outcome that says what is wrong with it: a format that is not known here, or no method.
    pub fn read(dialect: &Dialect, packet: &'a Packet) -> Result<Self, Outcome> {
        let text = |key| match packet.first(key) {
            Some(Value::String(text)) => Some(&**text),
            _ => None,
        };
        let format = text(tables::of(dialect).serial_type).and_then(Format::named).ok_or(Outcome::Format)?;
        let method = text(key::METHOD).ok_or(Outcome::NoMethod)?;
        let one_way = packet.first(key::ONE_WAY).is_some_and(|value| *value == Value::Boolean(true));
        Ok(Self { method, format, one_way })
    }
}

/// Puts a value beside the stream that a packet's entity is (SPEC 13.10), unless it is too long for that.
#[must_use]
pub fn streamed(packet: Packet, value: Bytes) -> Option<Packet> {
    let packet = packet.with(key::STREAM, true);
    match value.len() {
        0 => Some(packet),
        1..=MAX_VALUE => Some(packet.with(key::VALUE, Value::Raw(value))),
        _ => None,
    }
}

/// What stands beside the stream that a packet's entity is; nothing where it is none (SPEC 13.10).
#[must_use]
pub fn beside_stream(packet: &Packet) -> Option<Bytes> {
    let stream = packet.first(key::STREAM).is_some_and(|value| *value == Value::Boolean(true));
    stream.then(|| match packet.first(key::VALUE) {
        Some(Value::Raw(value)) => value.clone(),
        _ => Bytes::new(),
    })
}

/// How long the caller of a stream still waits for its result, from now on; nothing where it did not say (SPEC 13.10).
#[must_use]
pub fn time(packet: &Packet) -> Option<Duration> {
    let millis = packet.first(key::TIME).and_then(Value::as_i32)?;
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// Says how long the caller of a stream still waits for its result.
pub(crate) fn tell_time(packet: &mut Packet, left: Duration) {
    let millis = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
    packet.messages.push(Message::new(key::TIME, millis));
}

/// What came of a call (SPEC 13.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It returned: the entity is its result; empty where it was one-way.
    Returned,
    /// It returned an error of its own, which the entity is.
    Failed,
    /// There is no such interface.
    NoInterface,
    /// The interface has no such method.
    NoMethod,
    /// The argument does not decode.
    BadArgument,
    /// The format is not read here.
    Format,
    /// It ran, and its result cannot be written.
    NoResult,
    /// It ran and broke off.
    Broken,
    /// Its time was over while it ran.
    Expired,
    /// What came is not calls, one behind the other: none was executed.
    BadBatch,
    /// A batch of more calls than are taken: none was executed.
    TooMany,
    /// Something that we do not know by number.
    Other(i16),
}

impl Outcome {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Returned => 0,
            Self::Failed => 1,
            Self::NoInterface => 2,
            Self::NoMethod => 3,
            Self::BadArgument => 4,
            Self::Format => 5,
            Self::NoResult => 6,
            Self::Broken => 7,
            Self::Expired => 8,
            Self::BadBatch => 9,
            Self::TooMany => 10,
            Self::Other(number) => number,
        }
    }

    /// The outcome of a number.
    #[must_use]
    pub const fn of_number(number: i16) -> Self {
        match number {
            0 => Self::Returned,
            1 => Self::Failed,
            2 => Self::NoInterface,
            3 => Self::NoMethod,
            4 => Self::BadArgument,
            5 => Self::Format,
            6 => Self::NoResult,
            7 => Self::Broken,
            8 => Self::Expired,
            9 => Self::BadBatch,
            10 => Self::TooMany,
            number => Self::Other(number),
        }
    }

    /// The outcome that an answer tells; nothing where it is no answer to a call.
    #[must_use]
    pub fn of(dialect: &Dialect, answer: &Packet) -> Option<Self> {
        match answer.first(key::OUTCOME) {
            Some(value) => value.as_i16().map(Self::of_number),
            None => (answer.code == tables::of(dialect).okay).then_some(Self::Returned),
        }
    }

    /// The answer with this outcome: OKAY where the method ran to its end, REFUSE where not.
    #[must_use]
    pub fn packet(self, dialect: &Dialect, entity: Bytes) -> Packet {
        let habits = tables::of(dialect);
        match self {
            Self::Returned => Packet::new(habits.okay),
            Self::Failed => Packet::new(habits.okay).with(key::OUTCOME, self.number()),
            _ => Packet::new(habits.refuse).with(key::OUTCOME, self.number()),
        }
        .with_entity(entity)
    }
}

/// An answer that says why a call was not executed (SPEC 10.6).
pub(crate) fn refused(dialect: &Dialect, refusal: Refusal) -> Packet {
    Packet::new(tables::of(dialect).refuse).with(extension::key::REFUSAL, refusal.number())
}

/// The key under which an answer says in words what is wrong.
pub const SPEAK: u16 = laxcus6::key::SPEAK;
