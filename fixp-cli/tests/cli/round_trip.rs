//! Decoding and encoding every valid vector: values and bytes are those of the vectors.

use crate::common::{bytes, fixp_reading};
use conformance_vectors::{Class, Vector};
use serde_json::Value;

fn round_trip(dialect: &str, kind: &str) {
    let vectors = conformance_vectors::all().expect("the vectors are read");
    let valid = |vector: &&Vector| {
        vector.dialect == dialect && vector.kind.name() == kind && vector.class == Class::Valid
    };
    let vectors: Vec<_> = vectors.iter().filter(valid).collect();
    assert!(vectors.len() > 10, "{dialect} {kind}");

    let hex: Vec<_> = vectors.iter().map(|vector| vector.hex.clone().unwrap_or_default()).collect();
    let (dialect, kind) = (["--dialect", dialect], ["--kind", kind]);
    for policy in ["strict", "compatible"] {
        let args = ["decode", "--json", "--policy", policy, dialect[0], dialect[1], kind[0], kind[1]];
        let json = fixp_reading(hex.join("\n"), args).fine();
        let values: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(values.len(), vectors.len());
        for (vector, value) in vectors.iter().zip(&values) {
            assert_eq!(vector.value.as_ref(), Some(value), "{}", vector.id);
        }

        let lines = fixp_reading(&json, ["encode", dialect[0], dialect[1], kind[0], kind[1]]).fine();
        assert_eq!(lines.lines().collect::<Vec<_>>(), hex);
        let raw = fixp_reading(&json, ["encode", "--raw", dialect[0], dialect[1], kind[0], kind[1]]).raw;
        assert_eq!(raw, bytes(&hex.concat()));
    }
}

#[test]
fn packets() {
    for dialect in ["lexst1", "laxcus6", "laxcus2"] {
        round_trip(dialect, "packet");
    }
}

#[test]
fn messages() {
    for dialect in ["lexst1", "laxcus6", "laxcus2"] {
        round_trip(dialect, "message");
    }
}

#[test]
fn commands() {
    for dialect in ["lexst1", "laxcus6", "laxcus2"] {
        round_trip(dialect, "command");
    }
}
