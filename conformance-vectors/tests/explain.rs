//! The fields that `explain` tells apart are those of the vectors' byte maps, which were made by another
//! program in another language.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use conformance_vectors::Kind;
use fixp_codec::explain::{explain, explain_command, explain_message};
use fixp_codec::{Decoder, Dialect};

/// Offset, length, path.
type Fields = Vec<(usize, usize, String)>;

#[test]
fn explain_agrees_with_the_byte_maps() {
    let mut compared = 0;
    for vector in conformance_vectors::all().unwrap() {
        let (Some(hex), Some(dialect)) = (&vector.hex, Dialect::by_name(&vector.dialect)) else { continue };
        let (wire, decoder) = (hex::decode(hex).unwrap(), Decoder::new(dialect));
        let explanation = match vector.kind {
            Kind::Command => explain_command(&decoder, &wire),
            Kind::Message => explain_message(&decoder, &wire),
            Kind::Packet => explain(&decoder, &wire),
            _ => continue,
        };
        let explained: Fields = explanation
            .fields()
            .map(|field| (field.offset, field.bytes.len(), field.place.to_string()))
            .collect();
        let mapped: Fields =
            vector.map.iter().map(|span| (span.offset, span.length, span.path.clone())).collect();
        // Maps of very long heads name many messages at once.
        if mapped.iter().any(|(_, _, path)| path.contains("..")) {
            continue;
        }
        // Behind an error, maps and `explain` may tell apart more or less.
        let whole = |(offset, length, _): &&(usize, usize, String)| {
            explanation.error().is_none_or(|error| offset + length <= error.offset())
        };
        let (explained, mapped): (Vec<_>, Vec<_>) =
            (explained.iter().filter(whole).collect(), mapped.iter().filter(whole).collect());
        compared += usize::from(!mapped.is_empty());
        assert_eq!(explained, mapped, "{}", vector.id);
    }
    assert!(compared > 2400, "only {compared} maps compared");
}
