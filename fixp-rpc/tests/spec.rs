//! The bytes that docs/SPEC.md shows in its section 13 are those of the wire.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet};
use fixp_rpc::Format;
use fixp_rpc::wire::{self, Asked, BATCH, CALL, Outcome, key};
use fixp_transport::extension;

/// The lines of bytes of a section, as bytes: text between quotes stands for itself.
fn shown(section: &str) -> Vec<Vec<u8>> {
    let spec = include_str!("../../docs/SPEC.md");
    let section = spec.split(section).nth(1).expect("the section");
    let section = section.split("\n**").next().unwrap_or(section);
    let lines = section.lines().filter_map(|line| line.strip_prefix("    "));
    lines.filter_map(|line| line.split_once(['>', '<'])).map(|(_, bytes)| parse(bytes)).collect()
}

fn parse(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, part) in text.split('"').enumerate() {
        if index % 2 == 1 {
            bytes.extend_from_slice(part.as_bytes());
            continue;
        }
        for word in part.split_whitespace().filter(|word| *word != "|") {
            bytes.push(u8::from_str_radix(word, 16).expect("a byte"));
        }
    }
    bytes
}

/// SPEC 13.1.
#[test]
fn a_call_and_its_answer() {
    let lines = shown("**13.1**");
    let dialects: [&'static Dialect; 2] = [&LAXCUS6, &LEXST1];
    assert_eq!(lines.len(), 4);
    for (dialect, lines) in dialects.into_iter().zip(lines.chunks(2)) {
        let asked = Asked { method: "Clock.now", format: Format::Json, one_way: false };
        let own = extension::own(dialect);
        assert_eq!(asked.packet(dialect, "{}".into()).to_bytes(own).unwrap(), lines[0]);
        let answer = Outcome::Returned.packet(dialect, "1763801200000".into());
        assert_eq!(answer.to_bytes(dialect).unwrap(), lines[1]);
        let read = Decoder::new(dialect).packet(&lines[1]).unwrap().to_packet().unwrap();
        assert_eq!(Outcome::of(dialect, &read), Some(Outcome::Returned));
    }
}

/// SPEC 13.8.
#[test]
fn a_batch_and_its_answer() {
    let lines = shown("**13.8**");
    let [call, answer] = [&lines[0], &lines[1]];
    let asked = Asked { method: "Clock.now", format: Format::Json, one_way: false };
    let own = extension::own(&LAXCUS6);
    let inner = asked.packet(&LAXCUS6, "{}".into()).to_bytes(own).unwrap();
    assert_eq!(Packet::new(BATCH).with_entity(inner).to_bytes(own).unwrap(), call);
    let inner = Outcome::Returned.packet(&LAXCUS6, "1763801200000".into()).to_bytes(&LAXCUS6).unwrap();
    assert_eq!(Outcome::Returned.packet(&LAXCUS6, inner).to_bytes(&LAXCUS6).unwrap(), answer);
}

/// SPEC 13.10.
#[test]
fn a_call_with_a_stream_and_its_answer() {
    let lines = shown("**13.10**");
    let asked = Asked { method: "Log.add", format: Format::Json, one_way: false };
    let call = asked.packet(&LAXCUS6, bytes::Bytes::new());
    let call = wire::streamed(call, "[1]".into()).unwrap().with_entity("abc");
    assert_eq!(call.to_bytes(extension::own(&LAXCUS6)).unwrap(), lines[0]);
    let answer = Outcome::Returned.packet(&LAXCUS6, bytes::Bytes::new());
    let answer = wire::streamed(answer, "7".into()).unwrap().with_entity("more");
    assert_eq!(answer.to_bytes(&LAXCUS6).unwrap(), lines[1]);
    assert_eq!(wire::beside_stream(&answer), Some("7".into()));
    assert_eq!(wire::beside_stream(&Outcome::Returned.packet(&LAXCUS6, "7".into())), None);
}

/// SPEC 13.2, 13.3: what is missing or of another type.
#[test]
fn what_a_call_must_have() {
    fn read(packet: &Packet) -> Result<&str, Outcome> {
        Asked::read(&LAXCUS6, packet).map(|asked| asked.method)
    }
    let json = |packet: Packet| packet.with(1010, "json");
    assert_eq!(read(&Packet::new(CALL).with(key::METHOD, "A.b")), Err(Outcome::Format));
    assert_eq!(read(&Packet::new(CALL).with(key::METHOD, "A.b").with(1010, "java")), Err(Outcome::Format));
    assert_eq!(read(&json(Packet::new(CALL))), Err(Outcome::NoMethod));
    assert_eq!(read(&json(Packet::new(CALL)).with(key::METHOD, 7)), Err(Outcome::NoMethod));
    assert_eq!(read(&json(Packet::new(CALL)).with(key::METHOD, "A.b")), Ok("A.b"));
}

/// SPEC 13.4: the table.
#[test]
fn the_numbers_of_outcomes() {
    let spec = include_str!("../../docs/SPEC.md");
    let table = spec.split("**13.4**").nth(1).expect("the section");
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(1).take(11).collect();
    for (number, row) in rows.into_iter().enumerate() {
        let outcome = Outcome::of_number(i16::try_from(number).unwrap());
        let mut cells = row.split('|').map(str::trim).skip(1);
        assert_eq!(cells.next().unwrap(), number.to_string());
        assert_eq!(cells.next().unwrap(), format!("{outcome:?}"));
        let code = outcome.packet(&LAXCUS6, bytes::Bytes::new()).code;
        let code = LAXCUS6.code_name(code).unwrap();
        assert_eq!(cells.next().unwrap(), code);
        assert_eq!(outcome.number(), i16::try_from(number).unwrap());
    }
    assert_eq!(Outcome::of_number(11), Outcome::Other(11));
}
