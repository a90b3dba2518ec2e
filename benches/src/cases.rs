//! The packets that are measured.

use fixp_codec::{Code, Draft, Encoder, LAXCUS6, Packet, Value, ValueRef, laxcus6};
use laxcus6::{key, notify};

/// Keys without a name in the dialect, for the types that no named key has.
pub mod own_key {
    /// A `float32`.
    pub const LOAD: u16 = 4001;
    /// A `float64`.
    pub const RATIO: u16 = 4002;
}

/// A packet to be measured, and its bytes.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name in tables and on the command line.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub what: &'static str,
    /// The packet as built, without CONTENT_LENGTH: only FIXP needs that message.
    pub packet: Packet,
    /// Its bytes in laxcus6.
    pub wire: Vec<u8>,
}

/// The name of the case that is a command alone.
pub const COMMAND: &str = "command";
/// The name of the case of 28 bytes.
pub const SMALL: &str = "28 bytes";
/// The name of the case of 582 bytes.
pub const MIXED: &str = "582 bytes";
/// The name of the case of many messages.
pub const THOUSAND: &str = "1000 messages";
/// The name of the case of a large entity.
pub const LARGE: &str = "64 KiB";

impl Case {
    fn new(name: &'static str, what: &'static str, packet: Packet) -> Self {
        let wire = packet.to_bytes(&LAXCUS6).expect("a legal packet").to_vec();
        Self { name, what, packet, wire }
    }

    /// The messages as a [`Draft`] borrows them.
    #[must_use]
    pub fn draft_messages(&self) -> Vec<(u16, ValueRef<'_>)> {
        self.packet.messages.iter().map(|message| (message.key, message.value.view())).collect()
    }

    /// The packet as a draft of these messages.
    #[must_use]
    pub fn draft<'a>(&'a self, messages: &'a [(u16, ValueRef<'a>)]) -> Draft<'a> {
        Draft::new(self.packet.code).with_messages(messages).with_entity(&self.packet.entity)
    }

    /// Whether this is the command alone, which has no messages at all.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.name == COMMAND
    }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Case> {
    vec![command(), small(), mixed(), thousand(), large()]
}

/// 7 bytes: no messages, so nothing but the tag, the version, the code and a count of 0.
#[must_use]
pub fn command() -> Case {
    let packet = Packet::new(notify::HELO);
    let mut wire = Vec::new();
    let command = fixp_codec::Command { code: packet.code, version: packet.version, message_count: 0 };
    Encoder::new(&LAXCUS6).command(&command, &mut wire).expect("a legal command");
    Case { name: COMMAND, what: "a command alone, no messages", packet, wire }
}

/// 28 bytes: three small integers, no entity.
#[must_use]
pub fn small() -> Case {
    let packet = Packet::new(notify::RETRY_SUBPACKET)
        .with(key::SUBPACKET_COUNT, 12)
        .with(key::SUBPACKET_SERIAL, 3)
        .with(key::PACKET_IDENTIFY, 4711);
    Case::new(SMALL, "a request with 3 integers, no entity", packet)
}

/// 582 bytes: ten messages of all eight types and the entity of a sub-packet.
#[must_use]
pub fn mixed() -> Case {
    let packet = mixed_messages(Packet::new(notify::CAST), 0).with_entity(entity(480));
    Case::new(MIXED, "10 messages of all types, entity of 480 bytes", packet)
}

/// A thousand messages: those of [`mixed`] a hundred times over, with other numbers.
#[must_use]
pub fn thousand() -> Case {
    let packet = (0..100).fold(Packet::new(notify::CAST), mixed_messages);
    Case::new(THOUSAND, "1000 messages of all types, no entity", packet)
}

/// Three small integers and an entity of 64 KiB.
#[must_use]
pub fn large() -> Case {
    let small = small().packet;
    Case::new(LARGE, "3 integers, entity of 65536 bytes", small.with_entity(entity(64 << 10)))
}

fn mixed_messages(packet: Packet, round: i32) -> Packet {
    packet
        .with(key::SPEAK, "hello there!")
        .with(key::SERIAL_NUMBER, 0x0193_5f2c_7a1e_i64 + i64::from(round))
        .with(key::HOST, &[0xc0, 0xa8, 0x00, 0x11, 0x1f, 0x90])
        .with(key::DIRECT_NOTIFY, round % 2 == 0)
        .with(key::CONTENT_TYPE, 300_i16)
        .with(key::SUBPACKET_COUNT, 1000 + round)
        .with(key::SUBPACKET_SERIAL, 70_000 + round)
        .with(key::SERIAL_TYPE, "chunk")
        .with(own_key::LOAD, 1.5_f32)
        .with(own_key::RATIO, 0.1_f64)
}

/// Bytes that are not all the same.
#[must_use]
pub fn entity(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

/// The numbers of a command, apart: what every competitor carries beside the messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandForm {
    /// 2 for a request, 3 for an answer: the kind of SPEC 2.1.
    pub kind: u8,
    /// The major command of a request.
    pub major: u8,
    /// The minor command of a request.
    pub minor: u8,
    /// The code of an answer.
    pub code: u16,
    /// The version.
    pub version: u16,
}

/// The command of a packet.
#[must_use]
pub fn command_form(packet: &Packet) -> CommandForm {
    let (kind, major, minor, code) = match packet.code {
        Code::Request { major, minor } => (2, major, minor, 0),
        Code::Answer(code) => (3, 0, 0, code),
    };
    CommandForm { kind, major, minor, code, version: packet.version }
}

/// What to say of a value of a type that no case has.
pub(crate) fn not_in_a_case(value: &Value) -> ! {
    panic!("no case has a value like {value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_of_the_published_sizes() {
        let len = |case: Case| case.wire.len();
        assert_eq!((len(command()), len(small()), len(mixed())), (7, 28, 582));
        assert_eq!((len(thousand()), len(large())), (8912, 65566));
        assert_eq!((mixed().packet.messages.len(), mixed().packet.entity.len()), (10, 480));
        assert_eq!((thousand().packet.messages.len(), large().packet.entity.len()), (1000, 65536));
    }
}
