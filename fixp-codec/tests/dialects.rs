//! The tables of the dialects, and a dialect of a user's own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fixp_codec::dialect::{
    AnswerName, BUILT_IN, KeyName, Major, MinorName, MinorSet, RequestOrder, Requests,
};
use fixp_codec::{
    Cause, Code, Decoder, Dialect, ErrorKind, LAXCUS2, LAXCUS6, LEXST1, Packet, Policy, Type, Value, laxcus6,
    lexst1,
};

#[test]
fn type_codes_are_those_of_spec_3_2() {
    let rows = [
        (Type::Raw, Some(0), Some(1), 1),
        (Type::Boolean, Some(2), Some(2), 2),
        (Type::String, Some(1), Some(3), 3),
        (Type::Int16, Some(5), Some(4), 4),
        (Type::Int32, Some(6), Some(5), 5),
        (Type::Int64, Some(7), Some(6), 6),
        (Type::Float32, Some(3), Some(7), 7),
        (Type::Float64, Some(4), Some(8), 8),
        (Type::ZRaw, None, None, 9),
        (Type::ZString, None, None, 10),
    ];
    for (ty, lexst1, laxcus6, laxcus2) in rows {
        assert_eq!(LEXST1.code_of(ty), lexst1);
        assert_eq!(LAXCUS6.code_of(ty), laxcus6);
        assert_eq!(LAXCUS2.code_of(ty), Some(laxcus2));
    }
    for dialect in BUILT_IN {
        for code in 0..16 {
            if let Some(ty) = dialect.type_of(code) {
                assert_eq!(dialect.code_of(ty), Some(code));
            }
        }
    }
}

#[test]
fn names_and_numbers_are_unique() {
    fn unique<T: Ord + Copy + std::fmt::Debug>(what: &str, items: impl Iterator<Item = T>) {
        let mut items: Vec<T> = items.collect();
        items.sort_unstable();
        for pair in items.windows(2) {
            assert_ne!(pair[0], pair[1], "{what}");
        }
    }
    unique("dialects", BUILT_IN.iter().map(|dialect| dialect.name()));
    for dialect in BUILT_IN {
        unique("keys", dialect.keys().iter().map(|row| row.number));
        unique("key names", dialect.keys().iter().map(|row| row.name));
        unique("answers", dialect.answer_names().iter().map(|row| row.number));
        unique("answer names", dialect.answer_names().iter().map(|row| row.name));
        unique("majors", dialect.requests().majors().iter().map(|row| row.number));
        for major in dialect.requests().majors() {
            unique("minors", major.minors.iter().map(|row| row.number));
            unique("minor names", major.minors.iter().map(|row| row.name));
        }
        // Whatever has a name is legal.
        for row in dialect.answer_names() {
            assert!(dialect.writes(Code::Answer(row.number)), "{}", row.name);
        }
        for major in dialect.requests().majors() {
            for row in major.minors {
                assert!(
                    dialect.writes(Code::Request { major: major.number, minor: row.number }),
                    "{}",
                    row.name
                );
            }
        }
    }
}

#[test]
fn legal_commands_are_those_of_spec_2_6_and_2_7() {
    let laxcus6: [&[u8]; 2] =
        [&[1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 21, 22, 23, 25, 26, 27, 31, 32, 33, 34, 51, 52, 53, 55], &[1]];
    for major in 0..=u8::MAX {
        for minor in 0..=u8::MAX {
            let code = Code::Request { major, minor };
            let listed =
                laxcus6.get(usize::from(major).wrapping_sub(1)).is_some_and(|minors| minors.contains(&minor));
            assert_eq!((LAXCUS6.reads(code), LAXCUS6.writes(code)), (listed, listed), "{code:?}");
            let read = match major {
                1 | 2 => (1..=8).contains(&minor),
                3..=7 => true,
                _ => false,
            };
            assert_eq!((LEXST1.reads(code), LEXST1.writes(code)), (read, read && minor != 0), "{code:?}");
            assert!(LAXCUS2.reads(code) && LAXCUS2.writes(code));
        }
    }
    for code in 0..=u16::MAX {
        assert_eq!(LEXST1.reads(Code::Answer(code)), (1000..=4999).contains(&code));
        assert_eq!(LAXCUS6.reads(Code::Answer(code)), (1000..=2999).contains(&code));
        assert!(LAXCUS2.reads(Code::Answer(code)));
    }
}

#[test]
fn dialects_are_told_apart_by_the_last_message() {
    let lexst1 = Packet::new(lexst1::notify::HELO).to_bytes(&LEXST1).unwrap();
    let laxcus6 = Packet::new(laxcus6::notify::HELO).to_bytes(&LAXCUS6).unwrap();
    assert_eq!(Dialect::detect(&lexst1), Some(&LEXST1));
    assert_eq!(Dialect::detect(&laxcus6), Some(&LAXCUS6));
    // laxcus2 looks like laxcus6 and is never guessed.
    let laxcus2 = Packet::request(1, 1).to_bytes(&LAXCUS2).unwrap();
    assert_eq!(Dialect::detect(&laxcus2), Some(&LAXCUS6));
    // A bare command, a head cut short, another last message, another tag.
    for undecided in [&laxcus6[..7], &laxcus6[..11], &[], b"\x87\x00\x01\x01\x01\x01\x00\xfc\x03\x01\x40\x00"]
    {
        assert_eq!(Dialect::detect(undecided), None);
    }
    let mut other = laxcus6.to_vec();
    other[0] = 0x47;
    assert_eq!(Dialect::detect(&other), None);
}

const PING: Code = Code::Request { major: 9, minor: 1 };

/// Everything of its own.
const MINE: Dialect = LAXCUS2
    .derive("mine")
    .with_request_order(RequestOrder::MinorFirst)
    .with_type(15, Type::Int32)
    .without_type(5)
    .with_unknown_types_kept(true)
    .with_content_length_key(1)
    .with_requests(
        Requests::Listed(&[Major {
            number: 9,
            name: "OWN",
            legal: MinorSet::of(&[MinorName { number: 1, name: "PING" }]),
            minors: &[MinorName { number: 1, name: "PING" }],
        }]),
        true,
    )
    .with_answers(7, 8, &[AnswerName { number: 7, name: "PONG" }])
    .with_keys(&[KeyName { number: 2, name: "TEXT", ty: Some(Type::String) }])
    .with_first_serial(5);

#[test]
fn a_dialect_of_ones_own_is_the_same_code() {
    assert_eq!((MINE.name(), MINE.first_serial()), ("mine", 5));
    assert_eq!((MINE.code_name(PING), MINE.major_name(9)), (Some("PING"), Some("OWN")));
    assert_eq!((MINE.code_name(Code::Answer(7)), MINE.key_name(2)), (Some("PONG"), Some("TEXT")));

    let packet =
        Packet::new(PING).with(2, "a").with(3, 5).with(4, Value::Unknown { code: 5, bytes: vec![9].into() });
    let wire = packet.to_bytes(&MINE).unwrap();
    let expected = b"\x87\x00\x01\x01\x09\x04\x00\x02\x00\x01\x30a\x03\x00\x01\xf0\x05\x04\x00\x01\x50\x09\x01\x00\x01\xf0\x00";
    assert_eq!(&wire[..], expected);
    let read = Decoder::new(&MINE).packet(&wire).unwrap();
    assert_eq!((read.code(), read.dialect().name()), (PING, "mine"));
    assert_eq!(read.first(3).unwrap().as_i32(), Some(5));
    // An unknown type is not canonical.
    let strict = Decoder::new(&MINE).with_policy(Policy::Strict).packet(&wire);
    assert_eq!(strict.unwrap_err().kind(), ErrorKind::UnknownType);
    // Codes outside the table are refused.
    let other = Packet::request(9, 2).to_bytes(&MINE).unwrap_err();
    assert_eq!((other.cause(), other.number()), (Cause::UnwritableRequest, 0x0902));
    assert!(Packet::answer(9).to_bytes(&MINE).is_err());
}

#[test]
fn a_built_in_dialect_changed_without_a_new_name_is_changed_too() {
    // The tables of the built-in dialects are compiled into the decoder: a changed one must not use them.
    const CHANGED: Dialect = LAXCUS6.with_content_length_key(9);
    let packet = Packet::new(laxcus6::notify::TEST).with_entity(&b"abc"[..]);
    let wire = packet.to_bytes(&CHANGED).unwrap();
    assert_eq!(Decoder::new(&CHANGED).packet(&wire).unwrap().entity(), b"abc");
    assert!(Decoder::new(&LAXCUS6).packet(&wire).unwrap().entity().is_empty());
}

#[test]
fn one_more_major() {
    const OURS: Dialect = LAXCUS6.derive("laxcus6 with ours").with_major(0x46);
    let ours = Code::Request { major: 0x46, minor: 200 };
    assert!(OURS.reads(ours) && OURS.writes(ours) && !LAXCUS6.reads(ours));
    assert!(OURS.reads(laxcus6::notify::TEST) && !OURS.reads(Code::Request { major: 7, minor: 1 }));
    assert_eq!(
        format!("{OURS} {OURS:?} {ours}"),
        "laxcus6 with ours Dialect(laxcus6 with ours) request 70/200"
    );
}

/// The decoder folds the tables of the built-in dialects, and looks up only what these refuse: it takes and refuses the
/// same as with a table that is not folded.
#[test]
fn one_more_major_of_a_folded_table() {
    let bodies: [&[u8]; 4] = [
        &[1, 0, 0xfc, 3, 0x01, 0x60, 0],
        &[1, 0, 0xfc, 3, 0x01, 0x50, 0],
        &[2, 0, 9, 0, 0x01, 0x10, 7, 0xfc, 3, 0x01, 0x50, 1, 7],
        &[1, 0, 9, 0, 0x02, 0xf0, 7],
    ];
    let mut taken = 0;
    for dialect in [LEXST1, LAXCUS6, LAXCUS2] {
        for more in [5, 0x46] {
            let (folded, plain) = (dialect.with_major(more), dialect.derive(dialect.name()).with_major(more));
            for (first, second) in (0..=255).flat_map(|first| [(first, 1), (1, first), (first, 200)]) {
                for (body, policy) in bodies
                    .iter()
                    .flat_map(|&body| [Policy::Compatible, Policy::Strict].map(|policy| (body, policy)))
                {
                    let wire = [&[0x87, 0, 1, first, second], body].concat();
                    let [folded, plain] = [&folded, &plain].map(|dialect| {
                        let read = Decoder::new(dialect).with_policy(policy).packet(&wire);
                        read.map(|packet| (packet.code(), packet.to_packet()))
                    });
                    assert_eq!(folded, plain, "{first} {second} {body:?} {policy:?}");
                    taken += usize::from(folded.is_ok());
                }
            }
        }
    }
    assert!(taken > 1000, "{taken} were taken");
}

#[test]
fn a_type_of_two_codes_is_written_with_the_lower() {
    const TWO: Dialect = LAXCUS2.derive("two").with_type(12, Type::Int32);
    let wire = Packet::request(1, 1).with(5, 7).to_bytes(&TWO).unwrap();
    assert_eq!(wire[10] >> 4, 5);
    let mut other = wire.to_vec();
    other[10] = 0xc0;
    assert_eq!(Decoder::new(&TWO).packet(&other).unwrap().first(5).unwrap().as_i32(), Some(7));
    let strict = Decoder::new(&TWO).with_policy(Policy::Strict);
    assert_eq!(strict.packet(&other).unwrap_err().cause(), Cause::OtherTypeCode);
}
