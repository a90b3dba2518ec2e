//! The tagged payload of laxcus6: every recorded one read and written, what is refused, and the limits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fixp_codec::LAXCUS6;
use fixp_codec::laxcus6::{answer, notify, rpc};
use fixp_codec::rpc::{Call, Cause, Classable, Error, Limits, Reply, Text, Throwable, Type, Value, laxcus6};
use recorded::{Codec, wire};

mod recorded;

const LAXCUS6_CALLS: Codec = Codec {
    dialect: &LAXCUS6,
    decode_call: laxcus6::decode_call,
    decode_reply: laxcus6::decode_reply,
    encode_call: laxcus6::encode_call,
    encode_reply: laxcus6::encode_reply,
};

/// SPEC 12.10 to 12.22, as far as bytes tell; the values are compared by the conformance kit.
#[test]
fn what_was_recorded_is_taken_refused_and_written_again() {
    let vectors = LAXCUS6_CALLS.vectors();
    assert_eq!(vectors.len(), 703);
    let (mut refused, mut written) = (0, 0);
    for vector in vectors.iter().filter(|vector| vector.get("hex").is_some()) {
        let (id, wire) = (&vector["id"], wire(vector));
        match (LAXCUS6_CALLS.decode(vector), vector["class"].as_str().unwrap()) {
            (Ok(payload), "valid" | "decode-only" | "lenient") => {
                assert_eq!(LAXCUS6_CALLS.again(&payload), payload, "{id}");
                if vector["recorded"] == "encoded" {
                    assert_eq!(LAXCUS6_CALLS.encode(&payload).unwrap(), wire, "{id}");
                    written += 1;
                }
            }
            (Err(error), "invalid") => {
                assert!(error.offset() <= wire.len(), "{id}: {error}");
                refused += 1;
            }
            (result, class) => panic!("{id} is {class}: {result:?}"),
        }
    }
    assert_eq!((refused, written), (362, 264));
}

/// The calls and answers of the transcripts, TCP, single datagrams and VISIT, are read and written as they were.
#[test]
fn transcripts() {
    let names =
        ["laxcus6-tcp-rpc", "laxcus6-tcp-hand-rpc", "laxcus6-udp-rpc", "laxcus6-visit", "laxcus6-udp-visit"];
    let (calls, replies, refused) = LAXCUS6_CALLS.transcripts(&names, |packet| match packet.code() {
        rpc::EXECUTE | notify::VISIT => true,
        answer::OKAY | answer::VISIT_ACCEPTED => !packet.entity().is_empty(),
        _ => false,
    });
    // Made by hand: no bytes, and one.
    let cut = |had| format!("laxcus6-tcp-hand-rpc-bad: at byte 0: 4 bytes are needed, {had} there");
    assert_eq!(refused, [cut("0 are"), cut("1 is")]);
    assert_eq!((calls, replies), (31, 25));
}

/// A reply with this value, in hex: its flag, tag and content.
fn reply(hex: &str) -> Result<Value, Error> {
    let reply = laxcus6::decode_reply(&hex::decode(format!("01{hex}00")).unwrap())?;
    Ok(reply.object.unwrap_or(Value::Null))
}

fn written(value: impl Into<Value>) -> Result<String, Error> {
    let wire = hex::encode(laxcus6::encode_reply(&Reply::returned(value))?);
    Ok(wire[2..wire.len() - 2].to_owned())
}

fn cause<T: std::fmt::Debug>(result: Result<T, Error>) -> (Cause, usize) {
    let error = result.unwrap_err();
    (error.cause(), error.offset())
}

/// SPEC 12.10.
#[test]
fn text_may_be_null_and_broken() {
    assert_eq!(reply("1cffffffff"), Ok(Value::Null));
    assert_eq!(reply("1c0300000061c080"), Ok("a\u{fffd}\u{fffd}".into()));
    assert_eq!(reply("1c03000000eda080"), Ok("\u{fffd}".into()));
    assert_eq!(cause(reply("1cfeffffff")), (Cause::NegativeLength, 2));
    assert_eq!(cause(reply("1c0300000061")), (Cause::Cut, 6));
    assert_eq!(written(Text::from_utf16(&[0x78, 0xd800, 0x79])).unwrap(), "1c03000000783f79");
}

/// SPEC 12.11, 12.12.
#[test]
fn a_type_may_be_the_name_of_nothing() {
    let call =
        |types: &str| laxcus6::decode_call(&hex::decode(format!("ffffffffffffffff{types}00000000")).unwrap());
    let types = |call: Call| {
        call.types.unwrap().iter().map(|ty| ty.as_ref().map(|ty| ty.name().to_string())).collect::<Vec<_>>()
    };
    let read = |hex: &str| types(call(hex).unwrap());
    assert_eq!(read("010000000103000000696e74"), [Some("int".to_owned())]);
    assert_eq!(read("010000000003000000696e74"), [Some("int".to_owned())]);
    assert_ne!(call("010000000103000000696e74"), call("010000000003000000696e74"));
    assert_eq!(read("0100000001020000005b42"), [None]);
    assert_eq!(read("0100000001ffffffff"), [None]);
    assert_eq!(read("0100000002020000005b42"), [Some("[B".to_owned())]);
    assert_eq!(cause(call("0100000000ffffffff")), (Cause::Class, 12));
    assert_eq!(cause(call("ffffffff")), (Cause::NegativeCount, 8));
}

/// SPEC 12.11.
#[test]
fn no_parameters_are_none_given() {
    let call = Call { params: Some(Vec::new()), ..Call::new("demo.EchoVisit", "currentTime") };
    let wire = laxcus6::encode_call(&call).unwrap();
    assert_eq!(laxcus6::decode_call(&wire).unwrap().params, None);
    assert_eq!(laxcus6::encode_call(&Call::new("demo.EchoVisit", "currentTime")).unwrap(), wire);
    let container = Call { params: Some(vec![Value::Int(1)]), ..Call::default() };
    let wire = laxcus6::encode_call(&container).unwrap();
    assert_eq!(hex::encode(&wire), "ffffffffffffffff00000000010000001801000000");
    assert_eq!(laxcus6::decode_call(&wire).unwrap(), Call { types: Some(Vec::new()), ..container });
}

/// SPEC 12.13, 12.22.
#[test]
fn a_reply_without_a_result_is_two_zeros() {
    for wire in [&b"\0\0"[..], b"\x01\x01\x01\x01", b"\x02\xff", b"\0\0more"] {
        assert_eq!(laxcus6::decode_reply(wire), Ok(Reply::default()), "{wire:x?}");
    }
    let null = Reply { object: Some(Value::Null), throwable: Some(Value::Null) };
    for reply in [Reply::default(), null] {
        assert_eq!(laxcus6::encode_reply(&reply).unwrap(), [0, 0]);
    }
    assert_eq!(cause(laxcus6::decode_reply(b"\0\x01\x1c\x01\0\0\0x")), (Cause::OtherType, 1));
    assert_eq!(cause(laxcus6::decode_reply(b"")), (Cause::Cut, 0));
    assert_eq!(cause(laxcus6::decode_reply(b"\0")), (Cause::Cut, 1));
}

/// SPEC 12.14, 12.21.
#[test]
fn tags_and_values() {
    for (hex, value) in [
        ("01", Value::Null),
        ("14ff", Value::Byte(-1)),
        ("1501", Value::Boolean(true)),
        ("160060", Value::Char(0x6000)),
        ("170080", Value::Short(i16::MIN)),
        ("18ffffff7f", Value::Int(i32::MAX)),
        ("1d", Type::class("java.lang.Void").into()),
        ("65", Value::Class(Type::Primitive(fixp_codec::rpc::Primitive::Void))),
        ("66", Type::BOOLEAN.into()),
        ("67", Type::BYTE.into()),
        ("68", Type::CHAR.into()),
        ("69", Type::SHORT.into()),
        ("6a", Type::INT.into()),
        ("6b", Type::LONG.into()),
        ("6c", Type::FLOAT.into()),
        ("6d", Type::DOUBLE.into()),
    ] {
        assert_eq!(reply(hex).as_ref(), Ok(&value), "{hex}");
        // A lone null is no result, and the class Void is written as other classes are.
        if hex != "01" && hex != "1d" {
            assert_eq!(written(value).as_deref(), Ok(hex));
        }
    }
    for tag in (0..=255).filter(|tag| !matches!(tag, 1 | 10..=18 | 20..=30 | 40 | 101..=109)) {
        let error = reply(&format!("{tag:02x}0000000000000000")).unwrap_err();
        assert_eq!((error.cause(), error.number(), error.offset()), (Cause::Code, tag, 1));
    }
}

/// SPEC 12.15.
#[test]
fn booleans_and_nans() {
    assert_eq!(reply("1502"), Ok(Value::Boolean(false)));
    assert_eq!(reply("0b03000000010002"), Ok(vec![true, false, false].into()));
    let odd = Value::Float(f32::from_bits(0x7fc1_2345));
    assert_eq!(reply("1a4523c17f").as_ref(), Ok(&odd));
    assert_eq!(written(odd).unwrap(), "1a0000c07f");
    let odd = vec![f64::from_bits(0xfff8_1234_5678_9abc)];
    assert_eq!(written(odd).unwrap(), "1101000000000000000000f87f");
}

/// SPEC 12.16, 12.17.
#[test]
fn arrays_of_numbers() {
    assert_eq!(reply("0a00000000"), Ok(Value::Null));
    assert_eq!(cause(written(Vec::<u8>::new())), (Cause::EmptyBytes, 1));
    let nested = Value::objects(vec![Value::Null, Vec::<u8>::new().into()]);
    assert_eq!(cause(written(nested)), (Cause::EmptyBytes, 7));
    assert_eq!(cause(reply("0affffffff")), (Cause::NegativeLength, 2));
    assert_eq!(reply("0e00000000"), Ok(Vec::<i32>::new().into()));
    assert_eq!(written(Vec::<i32>::new()).unwrap(), "0e00000000");
    assert_eq!(reply("0fffffffff"), Ok(Value::Null));
    assert_eq!(cause(reply("0ffeffffff")), (Cause::NegativeLength, 2));
    let error = reply("0fffffff7f").unwrap_err();
    assert_eq!((error.cause(), error.needed(), error.had()), (Cause::Cut, 8 * 0x7fff_ffff, 1));
}

/// SPEC 12.18.
#[test]
fn arrays_of_objects() {
    let strings = Value::strings(["p"]);
    assert_eq!(written(strings).unwrap(), "12010000001c0100000070");
    assert_eq!(reply("12010000001c0100000070"), Ok(Value::objects(vec!["p".into()])));
    assert_eq!(reply("1200000000"), Ok(Value::objects(Vec::new())));
    assert_eq!(cause(reply("12ffffffff")), (Cause::NegativeCount, 2));
    // An array that holds itself.
    let cycle = Value::Anchor(0, Box::new(Value::objects(vec![Value::Alias(0)])));
    assert_eq!(cause(written(cycle)).0, Cause::Alias);
    // One that stands in two places of a stream is written twice.
    let anchor = Value::Anchor(0, Box::new(Value::objects(Vec::new())));
    assert_eq!(written(anchor).unwrap(), "1200000000");
}

/// SPEC 12.19.
#[test]
fn objects_of_laxcus6() {
    let node =
        Classable { class: "com.laxcus.site.Node".into(), fields: (*b"\x07\0\0\xff\xff\xff\xff").into() };
    let wire = "1e200000000114000000636f6d2e6c61786375732e736974652e4e6f6465070000ffffffff";
    assert_eq!(written(Value::Classable(Box::new(node.clone()))).unwrap(), wire);
    assert_eq!(reply(wire), Ok(Value::Classable(Box::new(node))));
    assert_eq!(reply("1e0100000000"), Ok(Value::Null));
    assert_eq!(reply("1e0300000002aabb"), Ok(Value::Null));
    assert_eq!(cause(reply("1e00000000")), (Cause::Empty, 2));
    assert_eq!(cause(reply("1effffffff00")), (Cause::Empty, 2));
    assert_eq!(cause(reply("1e0500000001ffffffff")), (Cause::Class, 7));
    // The name ends behind the part, though not behind the payload.
    assert_eq!(cause(reply("1e06000000010200000061")), (Cause::Cut, 11));
}

/// SPEC 12.20, 12.40.
#[test]
fn other_objects_are_java_streams() {
    assert_eq!(reply("2808000000aced000574000161"), Ok("a".into()));
    assert_eq!(reply("2805000000aced000570"), Ok(Value::Null));
    assert_eq!(reply("2807000000aced000570ffff"), Ok(Value::Null));
    assert_eq!(cause(reply("2800000000")), (Cause::Empty, 2));
    assert_eq!(cause(reply("2805000000aced000574")), (Cause::Cut, 11));
    assert_eq!(cause(reply("2805000000acee000570")), (Cause::Magic, 6));
    assert!(reply("2805000000aced000574").unwrap_err().is_in_java());
    assert!(!reply("2800000000").unwrap_err().is_in_java());
    let thrown = Throwable::new("java.lang.IllegalStateException", "boom");
    let wire = laxcus6::encode_reply(&Reply::threw(&thrown)).unwrap();
    assert_eq!(wire[..3], [0, 1, 40]);
    let read = laxcus6::decode_reply(&wire).unwrap();
    assert_eq!(Throwable::of(&read.throwable.unwrap()), Some(thrown));
}

fn nested(depth: usize) -> Vec<u8> {
    [&b"\x01"[..], &b"\x12\x01\0\0\0".repeat(depth), b"\x01\0"].concat()
}

/// SPEC 12.23.
#[test]
fn each_limit_is_an_error_of_its_own() {
    let deep = nested(20_000);
    assert_eq!(cause(laxcus6::decode_reply(&deep)), (Cause::DepthLimit, 1 + 5 * (Limits::DEPTH - 1)));
    assert!(laxcus6::decode_reply(&nested(Limits::DEPTH - 2)).is_ok());
    let mut value = Value::Null;
    for _ in 0..Limits::DEPTH {
        value = Value::objects(vec![value]);
    }
    assert_eq!(cause(written(value)), (Cause::DepthLimit, 1 + 5 * (Limits::DEPTH - 1)));

    let few = Limits { values: 3, ..Limits::default() };
    let nulls = |n: u32| [&b"\x01\x12"[..], &n.to_le_bytes(), &vec![1; n as usize], b"\0"].concat();
    assert!(laxcus6::decode_reply_within(&nulls(2), &few).is_ok());
    assert_eq!(cause(laxcus6::decode_reply_within(&nulls(4), &few)).0, Cause::ValuesLimit);
    // What is only announced is refused before it is missed.
    let announced = [&b"\x01\x12"[..], &i32::MAX.to_le_bytes()].concat();
    assert_eq!(cause(laxcus6::decode_reply(&announced)).0, Cause::ValuesLimit);
    let many = Reply::returned(Value::objects(vec![Value::Null; 4]));
    assert_eq!(cause(laxcus6::encode_reply_within(&many, &few)).0, Cause::ValuesLimit);

    let small = Limits { bytes: 10, ..Limits::default() };
    let error = laxcus6::decode_reply_within(&nulls(5), &small).unwrap_err();
    assert_eq!((error.cause(), error.needed(), error.had()), (Cause::BytesLimit, 12, 10));
    let text = Reply::returned("eleven bytes");
    assert_eq!(cause(laxcus6::encode_reply_within(&text, &small)).0, Cause::BytesLimit);
}
