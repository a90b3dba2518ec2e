//! The JSON forms, from the words of the conformance protocol.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fixp_codec::{Code, Command, Deflated, Message, Packet, Value};
use serde_json::json;

#[test]
fn a_packet_has_the_form_of_the_protocol() {
    let packet = Packet::request(1, 5).with(1000, "TEST!").with_entity(&[0xde, 0xad, 0xbe, 0xef][..]);
    let form = json!({"type":"request","major":1,"minor":5,"version":256,
        "messages":[{"key":1000,"type":"string","value":"TEST!"}],"data":"deadbeef"});
    assert_eq!(serde_json::to_value(&packet).unwrap(), form);
    assert_eq!(serde_json::from_value::<Packet>(form).unwrap(), packet);

    let answer = json!({"type":"answer","code":1011,"version":256,"messages":[],"data":""});
    assert_eq!(serde_json::to_value(Packet::answer(1011)).unwrap(), answer);
    assert_eq!(serde_json::from_value::<Packet>(answer).unwrap(), Packet::answer(1011));
}

#[test]
fn a_command_has_the_form_of_the_protocol() {
    let command = Command { code: Code::Answer(1010), version: 256, message_count: 3 };
    let form = json!({"type":"answer","code":1010,"version":256,"message_count":3});
    assert_eq!(serde_json::to_value(command).unwrap(), form);
    assert_eq!(serde_json::from_value::<Command>(form).unwrap(), command);
    let short = json!({"type":"answer","code":1010});
    assert_eq!(serde_json::from_value::<Command>(short).unwrap(), Command { message_count: 0, ..command });
}

#[test]
fn each_type_has_the_form_of_the_protocol() {
    let unknown = Value::Unknown { code: 9, bytes: vec![1, 2].into() };
    for (value, ty, form) in [
        (Value::Boolean(true), "boolean", json!(true)),
        (Value::Int16(-2), "int16", json!(-2)),
        (Value::Int32(i32::MIN), "int32", json!(-2_147_483_648_i64)),
        (Value::Int64(-1), "int64", json!("-1")),
        (Value::Int64(i64::MAX), "int64", json!("9223372036854775807")),
        (Value::Float32(1.5), "float32", json!("3fc00000")),
        (Value::Float64(f64::from_bits(0x7ff4_0000_0000_0001)), "float64", json!("7ff4000000000001")),
        (Value::from("\u{0}helo\u{4e2d}"), "string", json!("\u{0}helo\u{4e2d}")),
        (Value::from(&[0xfe, 0x01]), "raw", json!("fe01")),
        (Value::ZRaw(Deflated::of(&[0xfe, 0x01])), "zraw", json!("fe01")),
        (Value::ZString(Deflated::of(b"helo")), "zstring", json!("helo")),
        (unknown, "unknown9", json!("0102")),
    ] {
        let form = json!({"key":1000,"type":ty,"value":form});
        let message = Message { key: 1000, value };
        assert_eq!(serde_json::to_value(&message).unwrap(), form);
        assert_eq!(serde_json::from_value::<Message>(form).unwrap(), message);
    }
}

#[test]
fn what_is_not_of_the_form_is_refused() {
    for form in [
        json!({"key":1000,"type":"int16","value":32768}),
        json!({"key":1000,"type":"int32","value":2_147_483_648_i64}),
        json!({"key":1000,"type":"int32","value":"5"}),
        json!({"key":1000,"type":"int32","value":5.0}),
        json!({"key":1000,"type":"int32","value":null}),
        json!({"key":1000,"type":"int64","value":5}),
        json!({"key":1000,"type":"int64","value":"05"}),
        json!({"key":1000,"type":"int64","value":"9223372036854775808"}),
        json!({"key":1000,"type":"float32","value":"3fc0000"}),
        json!({"key":1000,"type":"float32","value":"3FC00000"}),
        json!({"key":1000,"type":"float32","value":"+fc00000"}),
        json!({"key":1000,"type":"raw","value":"abc"}),
        json!({"key":1000,"type":"raw","value":"AB"}),
        json!({"key":1000,"type":"raw","value":"zz"}),
        json!({"key":1000,"type":"boolean","value":1}),
        json!({"key":1000,"type":"unknown16","value":""}),
        json!({"key":1000,"type":"unknown09","value":""}),
        json!({"key":1000,"type":"int8","value":1}),
        json!({"key":65536,"type":"int32","value":1}),
        json!({"key":-1,"type":"int32","value":1}),
        json!({"type":"int32","value":1}),
        json!({"key":1,"value":1}),
        json!({"key":1,"type":"int32"}),
        json!({"key":1,"type":"int32","value":1,"more":1}),
        json!([1, "int32", 5]),
    ] {
        assert!(serde_json::from_value::<Message>(form.clone()).is_err(), "{form}");
    }
    for form in [
        json!({"type":"request","major":1}),
        json!({"type":"request","major":1,"minor":256}),
        json!({"type":"request","major":1,"minor":1,"code":5}),
        json!({"type":"answer","major":1,"minor":1}),
        json!({"type":"answer","code":-1}),
        json!({"type":"answer","code":65536}),
        json!({"type":"reply","code":1}),
        json!({"type":"answer","code":1,"version":65536}),
        json!({"type":"answer","code":1,"data":"0"}),
        json!({"type":"answer","code":1,"data":null}),
        json!({"type":"answer","code":1,"major":null}),
        json!({"type":"answer","code":1,"messages":{}}),
        json!({"type":"answer","code":1,"message_count":0}),
        json!({"type":"answer","code":1,"extra":0}),
        json!([]),
        json!(["request", 1, 5]),
    ] {
        assert!(serde_json::from_value::<Packet>(form.clone()).is_err(), "{form}");
    }
    for form in [json!({"type":"answer","code":1,"messages":[]}), json!({"type":"answer","code":1,"data":""})]
    {
        assert!(serde_json::from_value::<Command>(form.clone()).is_err(), "{form}");
    }
}

#[test]
fn what_is_left_out() {
    // The version of every dialect, no messages, no entity.
    let packet: Packet = serde_json::from_value(json!({"type":"answer","code":7})).unwrap();
    assert_eq!(packet, Packet::answer(7));
    assert_eq!(packet.version, 256);
    let command: Command = serde_json::from_value(json!({"type":"answer","code":7})).unwrap();
    assert_eq!((command.version, command.message_count), (256, 0));
    // Beyond what an i64 holds is no int32 either.
    let message = serde_json::from_str::<Message>(r#"{"key":1,"type":"int32","value":18446744073709551615}"#);
    assert!(message.is_err());
}

#[test]
fn compressed_values_are_bounded_alone_and_together() {
    let mega = Value::ZRaw(Deflated::of(&vec![0; 1 << 20]));
    assert!(serde_json::to_string(&Message { key: 1, value: mega.clone() }).is_ok());
    let more = Value::ZRaw(Deflated::of(&vec![0; (1 << 20) + 1]));
    let error = serde_json::to_string(&Message { key: 1, value: more }).unwrap_err();
    assert!(error.to_string().contains("limit"), "{error}");
    let sixteen = (0..16).fold(Packet::answer(1), |packet, key| packet.with(key, mega.clone()));
    assert!(serde_json::to_string(&sixteen).is_ok());
    assert!(serde_json::to_string(&sixteen.with(16, mega)).is_err());
}
