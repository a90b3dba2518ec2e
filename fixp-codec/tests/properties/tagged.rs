//! Java values through the tagged form of laxcus6 (SPEC 12.10 to 12.23).

use fixp_codec::properties;
use fixp_codec::rpc::{Call, Classable, Reply, Type, Value, laxcus6};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::{option, sample};

use super::{for_all, java};

/// An object that laxcus6 writes itself.
fn classable() -> impl Strategy<Value = Value> {
    (java::text(), vec(any::<u8>(), 0..20))
        .prop_map(|(class, fields)| Value::Classable(Box::new(Classable { class, fields: fields.into() })))
}

/// Calls and answers of whatever can be written: no byte[] is empty, and nothing is shared but within a stream.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let value = || prop_oneof![3 => java::value(), 1 => classable(), 1 => vec(java::value(), 0..3).prop_map(Value::objects)];
    let ty =
        sample::select(vec![None, Some(Type::LONG), Some(Type::bytes()), Some(Type::class("demo.Color"))]);
    let call =
        (option::of(java::text()), option::of(java::text()), option::of(vec(ty, 0..4)), vec(value(), 0..3));
    let call = call.prop_map(|(interface, method, types, params)| Call {
        interface,
        method,
        types,
        params: Some(params),
    });
    prop_oneof![
        call.prop_filter_map("it can be written", |call| laxcus6::encode_call(&call).ok()),
        value().prop_filter_map("it can be written", |value| laxcus6::encode_reply(&Reply::returned(value))
            .ok()),
    ]
}

#[test]
fn payloads_and_damaged_ones() {
    for_all(1500, java::damaged(payload()), |payload| properties::rpc_tagged(&payload));
}

/// What is written is read as it was, but for what this form loses.
#[test]
fn values_come_back() {
    let leaf = prop_oneof![4 => java::leaf(), 1 => classable()].prop_filter("nothing is lost", |value| {
        let shown = format!("{value:?}");
        let lost = shown.contains("utf16") || shown.contains("NaN");
        !lost && !matches!(value, Value::Alias(_)) && *value != Value::from(Vec::<u8>::new())
    });
    let value = leaf.prop_recursive(4, 24, 4, |value| vec(value, 0..4).prop_map(Value::objects));
    for_all(1000, value, |value| {
        let reply = Reply::returned(value);
        let wire = laxcus6::encode_reply(&reply).expect("an answer is written");
        assert_eq!(laxcus6::decode_reply(&wire), Ok(reply));
    });
}
