//! The addresses in the recorded calls of laxcus6: the fields of its own objects (SPEC 12.19), read as what they are
//! in packets (SPEC 11.10).

use std::net::IpAddr;

use fixp_transport::host::{Host, Node, Transport, read_address};
use serde_json::Value;

/// The classes and fields of all objects of laxcus6 in a value.
fn classables(value: &Value, found: &mut Vec<(String, Vec<u8>)>) {
    match value {
        Value::Object(fields) => {
            if let Some(hex) = value.pointer("/value/classable_fields_hex").and_then(Value::as_str) {
                let class = fields.get("actual").or(fields.get("type")).and_then(Value::as_str);
                found.push((class.expect("a class").to_owned(), hex::decode(hex).expect("hex")));
            }
            fields.values().for_each(|value| classables(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| classables(value, found)),
        _ => {}
    }
}

#[test]
fn objects_of_recorded_calls_are_addresses() {
    let mut found = Vec::new();
    for vector in conformance_vectors::all().expect("the vectors can be read") {
        if vector.class == conformance_vectors::Class::Valid && vector.dialect == "laxcus6" {
            classables(&vector.value.unwrap_or_default(), &mut found);
        }
    }
    let v4: IpAddr = [192, 168, 1, 2].into();
    let v6: IpAddr = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into();
    let mut counts = [0; 3];
    for (class, fields) in &found {
        match class.as_str() {
            "com.laxcus.util.net.Address" => {
                let ip = fields.as_slice().try_into().ok().and_then(read_address);
                assert!(ip == Some(v4) || ip == Some(v6), "{ip:?}");
                counts[0] += 1;
            }
            "com.laxcus.util.net.SocketHost" => {
                assert_eq!(Host::read(fields), Some(Host::new(Transport::Udp, (v4, 6000).into())));
                counts[1] += 1;
            }
            "com.laxcus.site.Node" => {
                assert_eq!(Node::read(fields), Some(Node::new(7, v4, 5001, 5002)));
                counts[2] += 1;
            }
            _ => {}
        }
    }
    assert_eq!(counts, [3, 1, 4]);
}
