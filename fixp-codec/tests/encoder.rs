//! What the wire cannot carry is an error and writes nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::BytesMut;
use fixp_codec::{
    Cause, Code, Command, Decoder, Deflated, Encoder, LAXCUS2, LAXCUS6, LEXST1, MAX_MESSAGES, Message,
    Packet, Policy, Source, Value, ValueRef, laxcus6, lexst1,
};

fn refused(dialect: &fixp_codec::Dialect, packet: &Packet) -> fixp_codec::Error {
    let encoder = Encoder::new(dialect);
    let mut wire = BytesMut::from(&b"before"[..]);
    let error = encoder.packet(packet, &mut wire).expect_err("is refused");
    assert_eq!(&wire[..], b"before", "nothing is written");
    assert_eq!(encoder.packet_len(packet), Err(error));
    assert_eq!(encoder.head_len(packet), Err(error));
    assert_eq!(encoder.head(packet, &mut wire), Err(error));
    assert_eq!(encoder.packet_to_slice(packet, &mut [0; 8]), Err(error));
    assert_eq!(&wire[..], b"before", "nothing is written");
    error
}

fn test() -> Packet {
    Packet::new(laxcus6::notify::TEST)
}

#[test]
fn values_that_are_too_long_or_empty() {
    let error = refused(&LAXCUS6, &test().with(1, 1).with(1000, "x".repeat(4096)));
    assert_eq!((error.cause(), error.needed(), error.had()), (Cause::ValueTooLong, 4096, 4095));
    assert_eq!((error.offset(), error.key()), (1, 1000), "the index of the message");
    let sentence = "bad-value in message 1: the value of key 1000 (string) has 4096 bytes, a message carries at most 4095";
    assert_eq!(error.to_string(), sentence);
    assert_eq!(refused(&LAXCUS6, &test().with(1, vec![0; 70_000])).cause(), Cause::ValueTooLong);
    for empty in [Value::from(""), Value::from(Vec::new())] {
        assert_eq!(refused(&LAXCUS6, &test().with(1, empty)).cause(), Cause::UnwritableEmpty);
    }
    let mut wire = Vec::new();
    let most = Encoder::new(&LAXCUS6).packet(&test().with(1, vec![7; 4095]), &mut wire).unwrap();
    assert_eq!(most, 7 + 4 + 4095 + 5);
}

#[test]
fn types_and_codes_the_dialect_lacks() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let code = if *dialect == LEXST1 { lexst1::notify::HELO } else { laxcus6::notify::HELO };
        for value in [Value::ZRaw(Deflated::of(b"x")), Value::ZString(Deflated::of(b"x"))] {
            assert_eq!(refused(dialect, &Packet::new(code).with(1, value)).cause(), Cause::TypeNotInDialect);
        }
    }
    let unknown = |code| Value::Unknown { code, bytes: vec![1].into() };
    assert_eq!(refused(&LAXCUS6, &test().with(1, unknown(9))).cause(), Cause::UnwritableTypeCode);
    assert_eq!(refused(&LAXCUS6, &test().with(1, unknown(3))).cause(), Cause::TypeCodeHasName);
    let helo = Packet::new(lexst1::notify::HELO);
    assert_eq!(refused(&LEXST1, &helo.clone().with(1, unknown(16))).cause(), Cause::UnwritableTypeCode);
    assert_eq!(refused(&LEXST1, &helo.with(1, unknown(7))).cause(), Cause::TypeCodeHasName);

    assert_eq!(refused(&LAXCUS6, &Packet::request(3, 1)).cause(), Cause::UnwritableRequest);
    assert_eq!(refused(&LAXCUS6, &Packet::answer(3000)).cause(), Cause::UnwritableAnswer);
    // Minor 0 is read and never written (SPEC 2.6).
    assert_eq!(refused(&LEXST1, &Packet::request(3, 0)).cause(), Cause::UnwritableRequest);
}

#[test]
fn messages_are_counted() {
    let mut packet = Packet::request(1, 1);
    packet.messages = vec![Message::new(5, 1); MAX_MESSAGES - 1];
    let wire = packet.to_bytes(&LAXCUS2).unwrap();
    let read = Decoder::new(&LAXCUS2).packet(&wire).unwrap();
    assert_eq!(read.command().message_count, 65535);
    let strict = Decoder::new(&LAXCUS2).with_policy(Policy::Strict).packet(&wire).unwrap_err();
    assert_eq!((strict.cause(), strict.needed(), strict.had()), (Cause::CountOverSigned, 65535, 32767));
    // CONTENT_LENGTH would be the 65536th.
    packet.messages.push(Message::new(5, 1));
    let error = refused(&LAXCUS2, &packet);
    assert_eq!((error.cause(), error.needed(), error.had()), (Cause::TooManyMessages, 65536, 65535));
}

#[test]
fn content_length_is_appended_or_keeps_its_place() {
    let length = laxcus6::key::CONTENT_LENGTH;
    let appended = test().with(1, true).with_entity(&b"abc"[..]).to_bytes(&LAXCUS6).unwrap();
    assert_eq!(&appended[..], b"\x87\x00\x01\x05\x01\x02\x00\x01\x00\x01\x20\x01\xfc\x03\x01\x50\x03abc");
    let kept = test().with(length, 3).with(1, true).with_entity(&b"abc"[..]).to_bytes(&LAXCUS6).unwrap();
    assert_eq!(&kept[..], b"\x87\x00\x01\x05\x01\x02\x00\xfc\x03\x01\x50\x03\x01\x00\x01\x20\x01abc");
    // Whatever its type, it must say the length (SPEC 5.2, 5.6).
    for lie in [Value::from(2), Value::from(4_i64), Value::from(&[4]), Value::from(-1), Value::from(0)] {
        let error = refused(&LAXCUS6, &test().with(length, lie).with_entity(&b"abc"[..]));
        assert_eq!((error.cause(), error.needed()), (Cause::ContentLengthLies, 3));
    }
    for truth in [
        Value::from(3),
        Value::from(3_i16),
        Value::from(3_i64),
        Value::from(&[3]),
        Value::from(&[3, 0, 0, 0, 0]),
    ] {
        assert!(test().with(length, truth).with_entity(&b"abc"[..]).to_bytes(&LAXCUS6).is_ok());
    }
    // Not positive says none; the first one counts.
    assert!(test().with(length, -1).to_bytes(&LAXCUS6).is_ok());
    assert!(test().with(length, 3).with(length, 9).with_entity(&b"abc"[..]).to_bytes(&LAXCUS6).is_ok());
    let wide = refused(&LAXCUS6, &test().with(length, 1_i64 << 32));
    assert_eq!(wide.cause(), Cause::UnwritableContentLength);
}

#[test]
fn lone_parts() {
    let encoder = Encoder::new(&LEXST1);
    let mut wire = Vec::new();
    let helo = Command { code: lexst1::notify::HELO, version: 0x0100, message_count: 2 };
    assert_eq!(encoder.command(&helo, &mut wire), Ok(7));
    assert_eq!(encoder.message(&Message::new(1000, "hi"), &mut wire), Ok(6));
    assert_eq!(wire, b"\x87\x00\x01\x03\x01\x02\x00\xe8\x03\x02\x10hi");
    assert!(encoder.message(&Message::new(1000, ""), &mut wire).is_err());
    assert!(encoder.command(&Command { code: Code::Answer(999), ..helo }, &mut wire).is_err());
    assert_eq!(wire.len(), 13);
}

#[test]
fn a_source_of_ones_own() {
    /// Announces nothing but its own text.
    struct Notice(String);
    impl Source for Notice {
        fn code(&self) -> Code {
            laxcus6::answer::OKAY
        }
        fn messages(&self) -> impl Iterator<Item = (u16, ValueRef<'_>)> {
            std::iter::once((laxcus6::key::SPEAK, ValueRef::String(&self.0)))
        }
        fn entity(&self) -> &[u8] {
            &[]
        }
    }
    let mut wire = Vec::new();
    Encoder::new(&LAXCUS6).packet(&Notice("sorry!".into()), &mut wire).unwrap();
    assert_eq!(wire, b"\xc7\x00\x01\xf2\x03\x02\x00\xe8\x03\x06\x30sorry!\xfc\x03\x01\x50\x00");
}

#[test]
fn an_entity_longer_than_content_length_can_say() {
    /// Nothing but a long entity, which need not be in memory.
    struct Long(usize);
    impl Source for Long {
        fn code(&self) -> Code {
            laxcus6::answer::OKAY
        }
        fn messages(&self) -> impl Iterator<Item = (u16, ValueRef<'_>)> {
            std::iter::empty()
        }
        fn entity(&self) -> &[u8] {
            &[]
        }
        fn entity_len(&self) -> usize {
            self.0
        }
    }
    let encoder = Encoder::new(&LAXCUS6);
    let mut wire = Vec::new();
    encoder.head(&Long(i32::MAX as usize), &mut wire).unwrap();
    assert_eq!(wire, b"\xc7\x00\x01\xf2\x03\x01\x00\xfc\x03\x04\x50\xff\xff\xff\x7f");
    let error = encoder.head(&Long(1 << 31), &mut wire).unwrap_err();
    assert_eq!((error.cause(), error.needed(), error.had()), (Cause::EntityTooLong, 1 << 31, (1 << 31) - 1));
    assert_eq!(wire.len(), 15);
}

#[test]
fn heads_longer_than_the_stage() {
    // Around the sizes at which the encoder empties its stage, and values longer than it.
    for texts in 0..60 {
        for length in [1, 3, 40, 120, 124, 125, 300] {
            let mut packet = test();
            for i in 0..texts {
                packet = packet.with(i, "x".repeat(length)).with(i, i64::from(i) << (i % 60));
            }
            let wire = packet.to_bytes(&LAXCUS6).unwrap();
            let mut read = Decoder::new(&LAXCUS6).with_policy(Policy::Strict).shared(&wire).unwrap();
            read.remove(laxcus6::key::CONTENT_LENGTH);
            assert_eq!(read, packet);
        }
    }
}
