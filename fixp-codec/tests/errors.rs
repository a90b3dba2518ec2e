//! What errors say: one clear sentence with the offset and the numbers, alike from a slice and a stream.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fixp_codec::Policy::{Compatible, Strict};
use fixp_codec::{Decoder, Dialect, LAXCUS2, LAXCUS6, LEXST1, Policy, Type};

/// LAXCUS2 with a second code for int32.
const TWO_CODES: Dialect = LAXCUS2.derive("two codes").with_type(12, Type::Int32);

#[test]
fn sentences() {
    let bytes = "000000000000000000";
    let cases: &[(&Dialect, Policy, &str, &str)] = &[
        (&LAXCUS6, Compatible, "", "truncated at byte 0: a command needs 7 bytes, 0 are there"),
        (&LAXCUS6, Compatible, "47", "bad-tag at byte 0: the tag is 47, not 87 (request) or c7 (answer)"),
        (&LAXCUS6, Strict, "87010001010000", "bad-version at byte 1: the version is 0x0001, not 0x0100"),
        (
            &LAXCUS6,
            Compatible,
            "87000103070000",
            "illegal-command at byte 3: request 7/3 is not legal in this dialect",
        ),
        (
            &LAXCUS6,
            Compatible,
            "c70001b80b0000",
            "illegal-command at byte 3: answer 3000 is not legal in this dialect",
        ),
        (
            &LEXST1,
            Strict,
            "87000103000000",
            "illegal-command at byte 3: request 3/0 is not legal in this dialect",
        ),
        (
            &LAXCUS6,
            Strict,
            "87000105010080",
            "not-canonical at byte 5: 32768 messages are more than the 32767 the programs can read",
        ),
        (
            &LAXCUS6,
            Compatible,
            "87000105010100e803",
            "truncated at byte 7: a message head needs 4 bytes, 2 are there",
        ),
        (
            &LAXCUS6,
            Compatible,
            "87000105010100e80303306162",
            "truncated at byte 11: the value of key 1000 (string) needs 3 bytes, 2 are there",
        ),
        (
            &LAXCUS6,
            Compatible,
            "87000105010100e803019001",
            "unknown-type at byte 9: type code 9 of key 1000 is not known in this dialect",
        ),
        (
            &LEXST1,
            Strict,
            "87000103010100e803019001",
            "unknown-type at byte 9: type code 9 of key 1000 is not known in this dialect",
        ),
        (
            &LAXCUS6,
            Compatible,
            "87000105010100e8030050",
            "bad-value at byte 9: the value of key 1000 (int32) has no bytes",
        ),
        (
            &LEXST1,
            Compatible,
            "87000103010100e8030080",
            "bad-value at byte 9: the value of key 0 (unknown type) has no bytes",
        ),
        (
            &LAXCUS6,
            Compatible,
            "87000105010100e80303400102030405",
            "bad-value at byte 13: the int16 of key 1000 has digits beyond its 2 bytes (3 bytes long)",
        ),
        (
            &LAXCUS6,
            Compatible,
            "87000105010100e80302200100",
            "bad-value at byte 12: the boolean of key 1000 has 2 bytes, not 1",
        ),
        (
            &LAXCUS6,
            Strict,
            "87000105010100e80302500500",
            "not-canonical at byte 12: the int32 of key 1000 is written in 2 bytes, its shortest form is 1",
        ),
        (
            &LAXCUS6,
            Strict,
            "87000105010100e803012002",
            "not-canonical at byte 11: the boolean of key 1000 is 02, not 00 or 01",
        ),
        (
            &LEXST1,
            Strict,
            "87000103010100eb0304300100a07f",
            "not-canonical at byte 11: the float32 of key 1003 is a NaN other than the one the programs write",
        ),
        (
            &LAXCUS6,
            Strict,
            "87000105010100e803023061ff",
            "invalid-utf8 at byte 12: the string of key 1000 is not UTF-8 from its byte 1 on",
        ),
        (
            &TWO_CODES,
            Strict,
            "87000105010100e80301c001",
            "not-canonical at byte 9: int32 is written with another type code than 12 (key 1000)",
        ),
        (
            &LAXCUS6,
            Strict,
            "87000105010100e803015001",
            "not-canonical at byte 12: the packet has no CONTENT_LENGTH",
        ),
        (
            &LAXCUS6,
            Strict,
            "87000105010200fc03015000e803015001",
            "not-canonical at byte 12: CONTENT_LENGTH is not the last message",
        ),
        (
            &LAXCUS6,
            Strict,
            "87000105010200fc03015000fc03015000",
            "not-canonical at byte 12: a second CONTENT_LENGTH",
        ),
        (
            &LAXCUS6,
            Strict,
            "87000105010100fc03014000",
            "not-canonical at byte 9: CONTENT_LENGTH is of type int16, not int32",
        ),
        (&LAXCUS6, Compatible, "87000105010100fc030010", "bad-entity at byte 9: CONTENT_LENGTH has no bytes"),
        (
            &LAXCUS6,
            Compatible,
            "87000105010100fc030560000000000100",
            "bad-entity at byte 15: CONTENT_LENGTH has digits beyond its 4 bytes (5 bytes long)",
        ),
        (&LAXCUS6, Strict, "87000105010100fc030450ffffffff", "bad-entity at byte 11: CONTENT_LENGTH is -1"),
        (
            &LAXCUS6,
            Compatible,
            "87000105010100fc0301500a0102",
            "truncated at byte 12: the entity needs 10 bytes, 2 are there",
        ),
        (
            &LAXCUS6,
            Compatible,
            "87000105010100fc03045000000005",
            "limit at byte 15: an entity of 83886080 bytes is more than the limit of 67108864",
        ),
    ];
    for (dialect, policy, hex, sentence) in cases {
        let wire = hex::decode(hex).unwrap();
        let decoder = Decoder::new(dialect).with_policy(*policy);
        assert_eq!(decoder.packet(&wire).unwrap_err().to_string(), *sentence, "{hex}");
        // The same from a stream, at the latest when it ends.
        let mut stream = decoder.stream();
        let mut told = None;
        for mut piece in wire.chunks(1) {
            while let Some(event) = stream.next(&mut piece) {
                told = told.or(event.err());
            }
        }
        if !wire.is_empty() {
            assert_eq!(told.or(stream.finish().err()).unwrap().to_string(), *sentence, "{hex}");
        }
    }
    // Trailing bytes are not of a stream.
    let behind = hex::decode(format!("87000105010100fc03015000{bytes}")).unwrap();
    let strict = Decoder::new(&LAXCUS6).with_policy(Strict);
    assert_eq!(
        strict.packet(&behind).unwrap_err().to_string(),
        "trailing-bytes at byte 12: 9 bytes behind the packet"
    );
}

#[test]
fn an_error_is_told_with_its_last_byte() {
    // An illegal request, an unknown type, a bad value: each is told by the byte that shows it, however
    // much of the packet is yet to come.
    let cases = [
        ("4700", 1),
        ("87000103070500", 7),
        ("87000105010500e8030190", 11),
        ("87000105010500e80303400102ff", 14),
        ("87000105010500fc030450ffffffff", 15),
    ];
    for (hex, shown_by) in cases {
        let wire = hex::decode(hex).unwrap();
        let policy = if hex.contains("fc03") { Strict } else { Compatible };
        let mut stream = Decoder::new(&LAXCUS6).with_policy(policy).stream();
        for (i, byte) in wire.iter().enumerate() {
            let told = stream.next(&mut &[*byte][..]).is_some_and(|event| event.is_err());
            assert_eq!(told, i + 1 >= shown_by, "{hex}, byte {i}");
        }
    }
}
