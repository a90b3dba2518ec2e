//! Java values, shared and cyclic ones too, through the streams of lexst1 (SPEC 12.30 to 12.42).

use std::collections::BTreeSet;
use std::sync::Arc;

use fixp_codec::properties;
use fixp_codec::rpc::{
    Array, Call, Class, Content, Enum, Object, Part, Reply, Text, Type, Value, flag, java, lexst1,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::{option, sample};

use super::for_all;

pub(super) fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        "[a-z\0é\u{4f60}\u{1f600}]{0,9}".prop_map(Text::from),
        vec(0xd7f0_u16..0xe010, 0..4).prop_map(|units| Text::from_utf16(&units)),
        // One string in many places.
        Just(Text::from("shared")),
    ]
}

fn numbers<T: Arbitrary>() -> impl Strategy<Value = Vec<T>> {
    vec(any::<T>(), 0..4)
}

/// A value without others in it, or, by any number, one that was before.
pub(super) fn leaf() -> impl Strategy<Value = Value> {
    let color = Arc::new(Class::new("demo.Color", 0, flag::ENUM | flag::SERIALIZABLE));
    let constant = move |constant| Value::Enum(Box::new(Enum { class: Arc::clone(&color), constant }));
    prop_oneof![
        4 => any::<u32>().prop_map(Value::Alias),
        1 => Just(Value::Null),
        2 => text().prop_map(Value::String),
        1 => text().prop_map(constant),
        1 => sample::select(vec![Type::INT, Type::string(), Type::class("demo.Color")]).prop_map(Value::Class),
        1 => Just(Value::Descriptor(Arc::new(Class::named("java.lang.Long")))),
        1 => any::<bool>().prop_map(Value::Boolean),
        1 => any::<i8>().prop_map(Value::Byte),
        1 => any::<u16>().prop_map(Value::Char),
        1 => any::<i16>().prop_map(Value::Short),
        2 => (-200..200).prop_map(Value::Int),
        1 => any::<i64>().prop_map(Value::Long),
        1 => any::<f32>().prop_map(Value::Float),
        1 => any::<f64>().prop_map(Value::Double),
        1 => numbers::<bool>().prop_map(Value::from),
        1 => numbers::<u8>().prop_map(Value::from),
        1 => numbers::<u16>().prop_map(Value::from),
        1 => numbers::<i16>().prop_map(Value::from),
        1 => numbers::<i32>().prop_map(Value::from),
        1 => numbers::<i64>().prop_map(Value::from),
        1 => numbers::<f32>().prop_map(Value::from),
        1 => numbers::<f64>().prop_map(Value::from),
    ]
}

/// An object of one of four shapes: plain, extending that, with a free part, and free altogether.
fn object(shape: u8, number: i32, [a, b, c]: [Value; 3], block: &[u8]) -> Value {
    let plain =
        Class::new("demo.Plain", 1, flag::SERIALIZABLE).with("n", "I").with("a", "Ljava/lang/Object;");
    let base = Part { fields: vec![Value::Int(number), a.clone()], annotation: Vec::new() };
    let free = |rest: [Value; 2]| {
        let [first, last] = rest.map(Content::Value);
        vec![first, Content::Block(block.into()), last]
    };
    let (class, parts) = match shape {
        0 => (plain, vec![base]),
        1 => {
            let class = Class::new("demo.More", 2, flag::SERIALIZABLE)
                .with("z", "Z")
                .with("b", "[I")
                .extending(plain);
            let own = Part { fields: vec![Value::Boolean(number > 0), b], annotation: Vec::new() };
            (class, vec![base, own])
        }
        2 => {
            let class =
                Class::new("demo.Free", 3, flag::SERIALIZABLE | flag::WRITE_METHOD).with("a", "Ldemo/Plain;");
            (class, vec![Part { fields: vec![a], annotation: free([b, c]) }])
        }
        _ => {
            let class = Class::new("demo.Own", 4, flag::EXTERNALIZABLE | flag::BLOCK_DATA);
            (class, vec![Part { fields: Vec::new(), annotation: free([b, c]) }])
        }
    };
    Value::Object(Box::new(Object { class: Arc::new(class), parts }))
}

/// Values in each other, whose aliases name nothing yet.
fn tree() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(5, 40, 4, |value| {
        let values = || vec(value.clone(), 0..4);
        prop_oneof![
            values().prop_map(Value::objects),
            values().prop_map(|items| {
                Value::Array(Box::new(Array { class: Arc::new(Class::new("[Ldemo.Plain;", 9, 2)), items }))
            }),
            (0_u8..4, any::<i32>(), [value.clone(), value.clone(), value], vec(any::<u8>(), 0..300))
                .prop_map(|(shape, number, values, block)| object(shape, number, values, &block)),
        ]
    })
}

/// The values that stand in a value.
fn within(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Array(array) => array.items.iter_mut().collect(),
        Value::Object(object) => object
            .parts
            .iter_mut()
            .flat_map(|part| {
                let free = part.annotation.iter_mut().filter_map(|content| match content {
                    Content::Value(value) => Some(value),
                    Content::Block(_) => None,
                });
                part.fields.iter_mut().chain(free)
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Makes each alias one of an array or object that was begun before, and notes which.
fn link(value: &mut Value, begun: &mut u32, named: &mut BTreeSet<u32>) {
    match value {
        Value::Alias(_) if *begun == 0 => *value = Value::Null,
        Value::Alias(number) => {
            *number %= *begun;
            named.insert(*number);
        }
        Value::Array(_) | Value::Object(_) => *begun += 1,
        _ => {}
    }
    within(value).into_iter().for_each(|value| link(value, begun, named));
}

/// Puts the anchors where they belong.
fn anchor(value: &mut Value, begun: &mut u32, named: &BTreeSet<u32>) {
    if !matches!(value, Value::Array(_) | Value::Object(_)) {
        return;
    }
    let number = *begun;
    *begun += 1;
    within(value).into_iter().for_each(|value| anchor(value, begun, named));
    if named.contains(&number) {
        *value = Value::Anchor(number, Box::new(std::mem::replace(value, Value::Null)));
    }
}

/// Values as a stream gives them.
pub(super) fn value() -> impl Strategy<Value = Value> {
    tree().prop_map(|mut value| {
        let mut named = BTreeSet::new();
        link(&mut value, &mut 0, &mut named);
        anchor(&mut value, &mut 0, &named);
        value
    })
}

/// Streams of calls, answers and values.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let ty =
        sample::select(vec![None, Some(Type::INT), Some(Type::bytes()), Some(Type::class("demo.Color"))]);
    let call =
        (option::of(text()), option::of(text()), option::of(vec(ty, 0..4)), option::of(vec(value(), 0..1)));
    let call = call.prop_map(|(interface, method, types, params)| Call { interface, method, types, params });
    prop_oneof![
        call.prop_map(|call| lexst1::encode_call(&call).expect("a call is written")),
        value()
            .prop_map(|value| lexst1::encode_reply(&Reply::returned(value)).expect("an answer is written")),
        value().prop_map(|value| java::encode_value(&value).expect("a value is written")),
    ]
}

#[test]
fn values_come_back() {
    for_all(1000, value(), |value| {
        let stream = java::encode_value(&value).expect("a value is written");
        assert_eq!(java::decode_value(&stream), Ok(value));
    });
}

/// The same with bytes changed, left out behind one, and put in.
pub(super) fn damaged(stream: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damage = vec((any::<sample::Index>(), any::<u8>(), 0..3), 0..6);
    (stream, damage).prop_map(|(mut stream, damage)| {
        for (at, byte, what) in damage {
            let at = at.index(stream.len());
            match what {
                0 => stream[at] = byte,
                1 => stream.truncate(at.max(1)),
                _ => stream.insert(at, byte),
            }
        }
        stream
    })
}

#[test]
fn streams_and_damaged_ones() {
    for_all(1500, damaged(stream()), |stream| properties::rpc_java(&stream));
}
