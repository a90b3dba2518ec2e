//! One vector with all that it says, its bytes explained.

use std::fmt::Write as _;

use conformance_vectors::exit::Exit;
use conformance_vectors::{Vector, vector};
use fixp_codec::explain::Styles;
use fixp_codec::{Decoder, Dialect, Policy};
use serde::Serialize;

use crate::failure::Failure;
use crate::json_text::{self, Layout};
use crate::kind::Kind;
use crate::output;
use crate::style::{BOLD, DIM, DUMP, NAME};

pub(super) fn show(vector: &Vector, policy: Policy, json: bool) -> Result<Exit, Failure> {
    if json {
        output::quietly(json_text::write(output::stdout(), vector, Layout::Line))?;
    } else {
        output::print(text(vector, policy))?;
    }
    Ok(Exit::Passed)
}

fn text(vector: &Vector, policy: Policy) -> String {
    let mut out = format!("{BOLD}{}{BOLD:#}\n{}\n\n", vector.id, vector.comment);
    let rules = vector.rules.join(", ");
    let pending = vector.pending.map(|bytes| bytes.to_string());
    let consumed = vector.consumed.map(|bytes| bytes.to_string());
    for (title, text) in [
        ("dialect", Some(vector.dialect.as_str())),
        ("kind", Some(vector.kind.name())),
        ("class", Some(vector.class.name())),
        ("rules", Some(rules.as_str())),
        ("source", Some(vector.source.as_str())),
        ("recorded", vector.recorded.as_deref()),
        ("error", vector.error.as_deref()),
        ("refusal", vector.refusal.as_deref()),
        ("consumed", consumed.as_deref()),
        ("pending", pending.as_deref()),
    ] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            let _ = writeln!(out, "{title:<10}{text}");
        }
    }
    json(&mut out, "value", vector.value.as_ref());
    json(&mut out, "packets", vector.packets.as_ref());
    bytes(&mut out, vector, policy);
    out
}

fn json(out: &mut String, title: &str, value: Option<&impl Serialize>) {
    let mut text = Vec::new();
    let Some(value) = value else { return };
    // Writing to memory does not fail.
    let _ = json_text::write(&mut text, value, Layout::Readable);
    let _ = write!(out, "\n{DIM}{title}{DIM:#}\n{}", String::from_utf8_lossy(&text));
}

fn bytes(out: &mut String, vector: &Vector, policy: Policy) {
    let kind = match vector.kind {
        vector::Kind::Packet => Some(Kind::Packet),
        vector::Kind::Command => Some(Kind::Command),
        vector::Kind::Message => Some(Kind::Message),
        _ => None,
    };
    for (index, part) in vector.parts().iter().enumerate() {
        let Ok(bytes) = hex::decode(part) else { continue };
        let title = if vector.hex.is_some() { "bytes".to_owned() } else { format!("bytes of part {index}") };
        let _ = writeln!(out, "\n{DIM}{title}, {} bytes{DIM:#}", bytes.len());
        match (kind, Dialect::by_name(&vector.dialect)) {
            (Some(kind), Some(dialect)) => {
                let styles = if output::is_colored() { DUMP } else { Styles::PLAIN };
                let decoder = Decoder::new(dialect).with_policy(policy);
                let _ = write!(out, "{}", kind.explain(&decoder, &bytes).with_styles(styles));
            }
            _ => map(out, vector, vector.hex.is_none().then_some(index), &bytes),
        }
    }
}

/// The bytes on a line, and the most of a field that are shown: as in a dump of the codec.
const LINE: usize = 8;
const MOST: usize = 64;

/// What the codec cannot explain is explained by the vector's own map.
fn map(out: &mut String, vector: &Vector, part: Option<usize>, bytes: &[u8]) {
    for span in vector.map.iter().filter(|span| span.part == part) {
        let field = bytes.get(span.offset..).unwrap_or_default();
        let field = field.get(..span.length).unwrap_or(field);
        let shown = field.get(..MOST).unwrap_or(field);
        for (line, bytes) in shown.chunks(LINE).enumerate() {
            let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let (offset, digits) = (span.offset + line * LINE, digits.join(" "));
            let _ = write!(out, "{DIM}{offset:>8}{DIM:#}  ");
            let _ = match line {
                0 => writeln!(out, "{digits:<23}  {NAME}{:<23}{NAME:#}  {}", span.path, span.meaning),
                _ => writeln!(out, "{digits}"),
            };
        }
        if shown.len() < field.len() {
            let _ = writeln!(out, "{:8}  ... {} more bytes", "", field.len() - shown.len());
        }
    }
}
