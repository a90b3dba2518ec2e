//! Every recorded payload of lexst1's remote calls, read and written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use fixp_codec::rpc::{
    Array, Call, Cause, Class, Content, Error, Limits, Object, Part, Reply, Text, Throwable, Type, Value,
    flag, java, lexst1,
};
use fixp_codec::{LEXST1, PacketRef};
use recorded::{Codec, Payload, wire};
use serde_json::{Value as Json, json};

mod recorded;

const LEXST1_CALLS: Codec = Codec {
    dialect: &LEXST1,
    decode_call: lexst1::decode_call,
    decode_reply: lexst1::decode_reply,
    encode_call: lexst1::encode_call,
    encode_reply: lexst1::encode_reply,
};

fn vectors() -> Vec<Json> {
    let vectors = LEXST1_CALLS.vectors();
    assert_eq!(vectors.len(), 811);
    vectors
}

fn decode(vector: &Json) -> Result<Payload, Error> {
    LEXST1_CALLS.decode(vector)
}

fn encode(payload: &Payload) -> Result<Vec<u8>, Error> {
    LEXST1_CALLS.encode(payload)
}

fn id(vector: &Json) -> &str {
    vector["id"].as_str().unwrap().strip_prefix("lexst1/rpc/").unwrap()
}

/// What the recorded Java has not loaded, or has with other members, is kept (SPEC 12.42).
const KEPT: [&str; 3] = ["reply-class-unknown", "reply-bean-suid", "reply-enum-unknown-constant"];

/// The recorded Java reads null here, and fails when it looks at it (SPEC 12.37).
const NULL: [&str; 3] = ["call-first-code-70", "call-null-object", "reply-null-object"];

/// SPEC 12.30, 12.31, 12.32, 12.34, 12.35, 12.36: each is broken in many ways in what was recorded as refused.
#[test]
fn accepted_and_refused() {
    for vector in vectors().into_iter().filter(|vector| vector.get("hex").is_some()) {
        let id = id(&vector);
        match decode(&vector) {
            Ok(_) => assert!(vector["class"] != "invalid" || KEPT.contains(&id), "{id} is read"),
            Err(error) => {
                assert!(error.offset() <= wire(&vector).len(), "{id}: {error}");
                let null = error.cause() == Cause::Null;
                assert_eq!(null, NULL.contains(&id), "{id}: {error}");
                assert!(null || vector["class"] == "invalid", "{id}: {error}");
            }
        }
    }
}

/// SPEC 12.37, 12.38 and 12.39.
#[test]
fn what_was_recorded_is_written_again() {
    let mut other = Vec::new();
    for vector in vectors().iter().filter(|vector| vector["recorded"] == "encoded") {
        let payload = decode(vector).unwrap();
        if encode(&payload) != Ok(wire(vector)) {
            other.push(id(vector).to_owned());
        }
        assert_eq!(LEXST1_CALLS.again(&payload), payload, "{}", id(vector));
    }
    // One Integer object of a million, twice: it is read as two numbers, and written as two.
    assert_eq!(other, ["call-shared-integer"]);
}

/// SPEC 12.37, 12.39: `add(2, 2)` as the document shows it; the second type and the second box are references.
#[test]
fn the_call_of_the_document() {
    let call = Call::new("demo.EchoVisit", "add").with(Type::INT, 2).with(Type::INT, 2);
    let text = include_str!("../../docs/SPEC.md");
    let from = text.find("    74 000e \"demo.EchoVisit\"").unwrap();
    let shown = &text[from..from + text[from..].find("\n\n").unwrap()];
    let mut wire = Vec::new();
    for (at, part) in shown.split('"').enumerate() {
        match at % 2 {
            0 => wire.extend(hex::decode(part.replace(['|', ' ', '\n'], "")).unwrap()),
            _ => wire.extend(part.bytes()),
        }
    }
    let written = lexst1::encode_call(&call).unwrap();
    assert!(written.ends_with(&wire), "{}\n{}", hex::encode(written), hex::encode(wire));
    assert_eq!(lexst1::decode_call(&written), Ok(call));
}

/// The recorded call `add(2, 40)` (SPEC 12.37).
#[test]
fn calls_are_built() {
    let recorded = "aced000573720016636f6d2e6c657873742e72656d6f74652e4170706c79557cbe466bbbb6120200044c000d696e\
        746572666163654e616d657400124c6a6176612f6c616e672f537472696e673b4c000a6d6574686f644e616d6571007e00015b000a\
        706172616d54797065737400125b4c6a6176612f6c616e672f436c6173733b5b0006706172616d737400135b4c6a6176612f6c616e\
        672f4f626a6563743b787074000a4563686f566973697431740003616464757200125b4c6a6176612e6c616e672e436c6173733bab\
        16d7aecbcd5a9902000078700000000276720003696e740000000000000000000000787071007e000a757200135b4c6a6176612e6c\
        616e672e4f626a6563743b90ce589f1073296c020000787000000002737200116a6176612e6c616e672e496e746567657212e2a0a4\
        f781873802000149000576616c7565787200106a6176612e6c616e672e4e756d62657286ac951d0b94e08b02000078700000000273\
        71007e000d00000028";
    let call = Call::new("EchoVisit1", "add").with(Type::INT, 2).with(Type::INT, 40);
    assert_eq!(hex::encode(lexst1::encode_call(&call).unwrap()), recorded);
}

/// A throwable as the vectors say it.
fn shown(throwable: &Throwable) -> Json {
    json!({
        "class": throwable.class.to_string(),
        "message": throwable.message.as_ref().map(ToString::to_string),
        "cause": throwable.cause.as_deref().map(shown),
        "stack": throwable.trace.len(),
    })
}

/// SPEC 12.40.
#[test]
fn throwables_are_read() {
    let mut count = 0;
    for vector in vectors() {
        let mut wanted = vector["value"]["throwable"].clone();
        if wanted.is_null() || vector.get("hex").is_none() {
            continue;
        }
        wanted.as_object_mut().unwrap().remove("suppressed");
        let reply = lexst1::decode_reply(&wire(&vector)).unwrap();
        let throwable = Throwable::of(&reply.throwable.unwrap()).unwrap();
        assert_eq!(shown(&throwable), wanted, "{}", id(&vector));
        count += 1;
    }
    assert_eq!(count, 30);
}

/// SPEC 12.40: the hand-made forms that the programs were seen to read are what is written. (The one with a cause
/// names its types twice; we refer to them.)
#[test]
fn throwables_are_written() {
    let mut count = 0;
    for vector in vectors().iter().filter(|vector| id(vector).starts_with("reply-minthrow-")) {
        let reply = lexst1::decode_reply(&wire(vector)).unwrap();
        let throwable = Throwable::of(&reply.throwable.unwrap()).unwrap();
        let again = lexst1::encode_reply(&Reply::threw(&throwable)).unwrap();
        if throwable.cause.is_none() {
            assert_eq!(hex::encode(&again), vector["hex"], "{}", id(vector));
        }
        let read = lexst1::decode_reply(&again).unwrap().throwable.unwrap();
        assert_eq!(Throwable::of(&read), Some(throwable), "{}", id(vector));
        count += 1;
    }
    assert_eq!(count, 8);
    // A class whose number nobody knows.
    let own = Throwable { message: None, ..Throwable::new("demo.OwnException", "") };
    let written = Throwable::of(&own.to_value()).unwrap();
    assert_eq!(written, Throwable::new("java.lang.RuntimeException", "demo.OwnException"));
}

#[test]
fn a_trace_is_text() {
    let vectors = vectors();
    let vector = vectors.iter().find(|vector| id(vector) == "reply-throw-real-stack").unwrap();
    let reply = lexst1::decode_reply(&wire(vector)).unwrap();
    let throwable = Throwable::of(&reply.throwable.unwrap()).unwrap();
    let text = "java.lang.IllegalStateException: boom\n\tat GenRpc.common(GenRpc.java:137)\n\tat GenRpc.main(GenRpc.java:93)";
    assert_eq!(throwable.to_string(), text);
}

/// SPEC 12.33: strings as they are written and read, unpaired surrogates and long ones too.
#[test]
fn strings() {
    let long = "x".repeat(70_000);
    for text in [Text::from("a\0\u{1f600}"), Text::from_utf16(&[0x78, 0xd800, 0x79]), Text::from(long)] {
        let value = Value::String(text);
        let stream = java::encode_value(&value).unwrap();
        assert_eq!(java::decode_value(&stream), Ok(value));
    }
    assert_eq!(java::encode_value(&"a\0".into()).unwrap(), b"\xac\xed\x00\x05\x74\x00\x03a\xc0\x80");
}

/// SPEC 12.41: each limit has an error of its own, and what is just within it passes.
#[test]
fn limits() {
    let nested = |levels| (1..levels).fold(Value::objects(vec![]), |inner, _| Value::objects(vec![inner]));
    let limits = Limits::default();
    let deepest = java::encode_value(&nested(limits.depth)).unwrap();
    assert!(java::decode_value(&deepest).is_ok());
    let error = java::encode_value(&nested(limits.depth + 1)).unwrap_err();
    assert_eq!((error.cause(), error.needed(), error.had()), (Cause::DepthLimit, 129, 128));
    let shallow = Limits { depth: 127, ..limits };
    let error = java::decode_value_within(&deepest, &shallow).unwrap_err();
    assert_eq!((error.cause(), error.needed(), error.had()), (Cause::DepthLimit, 128, 127));

    let short = Limits { bytes: deepest.len() - 1, ..limits };
    let error = java::decode_value_within(&deepest, &short).unwrap_err();
    assert_eq!((error.cause(), error.needed(), error.had()), (Cause::BytesLimit, deepest.len(), short.bytes));
    assert_eq!(java::encode_value_within(&nested(128), &short).unwrap_err().cause(), Cause::BytesLimit);

    // The array, its ten elements, and the class.
    let ten = java::encode_value(&Value::objects(vec![Value::Null; 10])).unwrap();
    assert!(java::decode_value_within(&ten, &Limits { values: 12, ..limits }).is_ok());
    let error = java::decode_value_within(&ten, &Limits { values: 11, ..limits }).unwrap_err();
    assert_eq!((error.cause(), error.had()), (Cause::ValuesLimit, 11));
}

/// SPEC 12.41: a list of lists of the same list, of more values than there are atoms, and one in itself.
#[test]
fn what_comes_twice_costs_nothing() {
    let mut value = Value::Anchor(0, Box::new(Value::objects(vec!["x".into()])));
    for level in 1..100 {
        let twice = Value::objects(vec![value, Value::Alias(level - 1)]);
        value = Value::Anchor(level, Box::new(twice));
    }
    let Value::Anchor(_, value) = value else { unreachable!() };
    let stream = java::encode_value(&value).unwrap();
    assert!(stream.len() < 2000, "{}", stream.len());
    let read = java::decode_value_within(&stream, &Limits { values: 400, ..Limits::default() }).unwrap();
    assert_eq!(java::encode_value(&read).unwrap(), stream);

    let itself = Value::Anchor(7, Box::new(Value::objects(vec![Value::Alias(7)])));
    let stream = java::encode_value(&itself).unwrap();
    assert_eq!(
        java::decode_value(&stream),
        Ok(Value::Anchor(0, Box::new(Value::objects(vec![Value::Alias(0)]))))
    );
    let error = java::encode_value(&Value::objects(vec![Value::Alias(7)])).unwrap_err();
    assert_eq!((error.cause(), error.number()), (Cause::Alias, 7));
}

/// The calls and answers of the transcripts, TCP and single datagrams, are read and written as they were.
#[test]
fn transcripts() {
    let names = ["lexst1-tcp-rpc", "lexst1-udp-rpc", "lexst1-tcp-hand-rpc"];
    let is_payload = |packet: &PacketRef<'_>| packet.entity().starts_with(&[0xac, 0xed]);
    let (calls, replies, refused) = LEXST1_CALLS.transcripts(&names, is_payload);
    // A null in place of a call, made by hand.
    assert_eq!(refused, ["lexst1-tcp-hand-rpc-bad: at byte 4: null instead of a call or an answer"]);
    assert_eq!((calls, replies), (21, 22));
}

/// SPEC 12.41: the deepest value there can be, of what takes most of the stack: an object in the free part of an
/// object, and a class whose description holds one.
#[test]
fn the_deepest_value_fits_a_small_stack() {
    let class = Arc::new(Class::new("demo.Free", 1, flag::SERIALIZABLE | flag::WRITE_METHOD));
    let value = (0..Limits::DEPTH).fold(Value::Null, |inner, _| {
        let part = Part { fields: Vec::new(), annotation: vec![Content::Value(inner)] };
        Value::Object(Box::new(Object { class: Arc::clone(&class), parts: vec![part] }))
    });
    // Each class has the next in front of its end.
    let described = b"r\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00";
    let classes = [&b"\xac\xed\x00\x05"[..], &described.repeat(Limits::DEPTH + 2)].concat();
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let work = move || {
        let stream = java::encode_value(&value).unwrap();
        let read = java::decode_value(&stream).unwrap();
        assert!(read == value.clone() && format!("{read:?}").len() > Limits::DEPTH);
        drop((read, value));
        assert_eq!(java::decode_value(&classes).unwrap_err().cause(), Cause::DepthLimit);
    };
    small.spawn(work).unwrap().join().unwrap();
}

/// SPEC 12.39: what JSON cannot tell: strings and boxes that were one object to the program.
#[test]
fn shared_objects_are_written_as_recorded() {
    let call = |method: Text| Call::new("demo.EchoVisit", method);
    let string = |text: &Text| Value::String(text.clone());
    let (empty, same, one, p) = (Text::from(""), Text::from("same"), Text::from("one"), Text::from("p"));
    let million = |number| match number {
        0 => Value::Anchor(0, Box::new(Value::Int(1_000_000))),
        1 => Value::Alias(0),
        _ => Value::Int(1_000_000),
    };
    let integer = || Type::class("java.lang.Integer");
    let strings = vec![string(&p), Value::Null, "".into(), "q".into(), string(&p)];
    let built = [
        ("call-empty-names", Payload::Call(Call::new(empty.clone(), empty))),
        (
            "call-shared-string-twice",
            Payload::Call(
                call("two".into()).with(Type::string(), string(&same)).with(Type::string(), string(&same)),
            ),
        ),
        (
            "call-equal-strings",
            Payload::Call(call("two".into()).with(Type::string(), "eq").with(Type::string(), "eq")),
        ),
        ("call-param-equals-method", Payload::Call(call(one.clone()).with(Type::string(), string(&one)))),
        (
            "call-shared-integer",
            Payload::Call(
                (0..3).fold(call("three".into()), |call, number| call.with(integer(), million(number))),
            ),
        ),
        ("reply-strings", Payload::Reply(Reply::returned(Value::array("[Ljava.lang.String;", strings)))),
    ];
    let vectors = vectors();
    for (name, payload) in built {
        let vector = vectors.iter().find(|vector| id(vector) == name).unwrap();
        assert_eq!(hex::encode(encode(&payload).unwrap()), vector["hex"], "{name}");
    }
}

/// SPEC 12.35, 12.42: an object of a class that nobody here knows, by the names of its fields; what its class extends
/// has fields too.
#[test]
fn unknown_objects_are_named_fields() {
    let vectors = vectors();
    let read = |name| {
        let vector = vectors.iter().find(|vector| id(vector) == name).unwrap();
        lexst1::decode_reply(&wire(vector)).unwrap().object.unwrap()
    };
    let bean = read("reply-bean-sub");
    let object = bean.as_object().unwrap();
    assert!(object.class.name == "RpcBean$Sub" && object.class.is("RpcBean"));
    let field = |name| object.field(name).unwrap();
    assert_eq!(
        (field("extra").as_i64(), field("a").as_i32(), field("b").as_str()),
        (Some(77), Some(1), Some("s"))
    );
    assert_eq!((field("flag").as_bool(), field("d").as_f64()), (Some(true), Some(1.5)));
    assert_eq!((field("a").as_i64(), object.field("none")), (None, None));

    // A date writes its milliseconds itself.
    let date = read("reply-date-negative");
    let (class, part) = date.as_object().unwrap().parts().next().unwrap();
    assert_eq!(class.name, "java.util.Date");
    assert_eq!(part.annotation, [Content::Block((-1_i64).to_be_bytes().as_slice().into())]);
}

/// A throwable whose trace refers to one text again and again.
fn traced(elements: usize, text: usize) -> Throwable {
    let object = Class::new("java.lang.Object", 0, flag::SERIALIZABLE);
    let element = Class { name: "java.lang.StackTraceElement".into(), ..object.clone() };
    let element = Arc::new(element.with("declaringClass", "Ljava/lang/String;"));
    let class = Class { name: "java.lang.Throwable".into(), ..object };
    let class = Arc::new(class.with("stackTrace", "[Ljava/lang/StackTraceElement;"));
    let of = |class: &Arc<Class>, value: Value| {
        let parts = vec![Part { fields: vec![value], annotation: Vec::new() }];
        Value::Object(Box::new(Object { class: Arc::clone(class), parts }))
    };
    let name = Value::from("x".repeat(text));
    let items = (0..elements).map(|_| of(&element, name.clone())).collect();
    let reply = Reply { object: None, throwable: Some(of(&class, Value::array("[Lx;", items))) };
    let reply = lexst1::decode_reply(&lexst1::encode_reply(&reply).unwrap()).unwrap();
    Throwable::of(reply.throwable.as_ref().unwrap()).unwrap()
}

/// SPEC 12.40: as text a stream of a megabyte would have 6 GiB.
#[test]
fn a_trace_is_bounded() {
    assert_eq!(traced(100_000, 60_000).trace.len(), 2);
    assert_eq!(traced(2000, 1).trace.len(), 1024);
    assert_eq!(traced(1000, 1).trace.len(), 1000);
}

/// Many arrays of one class with many fields, and many classes that extend it: none is compared field by field each
/// time it is written, which took minutes.
#[test]
fn long_classes_are_written_in_no_time() {
    let long = (0..32_000).fold(Class::new("[Lx;", 1, flag::SERIALIZABLE), |class, _| class.with("", "I"));
    let long = Arc::new(long);
    let one = |class: &Arc<Class>| Value::Array(Box::new(Array { class: Arc::clone(class), items: vec![] }));
    let same: Vec<Value> = (0..100_000).map(|_| one(&long)).collect();
    let extending =
        |_| Arc::new(Class { parent: Some(Arc::clone(&long)), ..Class::new("[Ly;", 2, flag::SERIALIZABLE) });
    let others: Vec<Value> = (0..100_000).map(extending).map(|class| one(&class)).collect();
    let types: Vec<Value> = (0..100_000).map(|_| Value::Class(Type::Class(Arc::clone(&long)))).collect();
    let begun = std::time::Instant::now();
    assert!(java::encode_value(&Value::objects(types)).is_ok());
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
    for items in [same, others] {
        let begun = std::time::Instant::now();
        let wire = java::encode_value(&Value::objects(items)).unwrap();
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
        // What each of them takes, and the fields once.
        assert!((1_096_000..1_097_000).contains(&wire.len()), "{}", wire.len());
    }
}
