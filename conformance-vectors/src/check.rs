//! Checks on the vectors themselves. A kit that judges others has to be right first.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use fixp_codec::Policy;

use crate::codec;
use crate::judge::{Expect, judge, skip_reason};
use crate::runner::InProcess;
use crate::testee::Testee;
use crate::vector::{Class, Kind, Span, Vector};
use crate::verdict::Verdict;

/// Something wrong with a vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The id of the vector.
    pub id: String,
    /// What is wrong, in one sentence.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.what)
    }
}

/// Everything that is wrong with a set of vectors. `rules` are the numbers of the rules there are, see
/// [`rules_in`].
///
/// Checked are the ids, the hex, the byte maps, the fields that a class requires, the rules, and, with the
/// codec of this project, that the bytes and the value of a vector say the same and that its class is right
/// under both policies.
pub fn check(vectors: &[Vector], rules: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for vector in vectors {
        let mut found = Vec::new();
        let times = seen.entry(&vector.id).or_default();
        *times += 1;
        if *times == 2 {
            found.push("the id stands more than once".to_owned());
        }
        check_id(vector, &mut found);
        check_hex(vector, &mut found);
        check_map(vector, &mut found);
        check_fields(vector, &mut found);
        for rule in &vector.rules {
            if !rules.contains(rule) {
                found.push(format!("there is no rule {rule}"));
            }
        }
        check_meaning(vector, &mut found);
        check_group(vector, &mut found);
        findings.extend(found.into_iter().map(|what| Finding { id: vector.id.clone(), what }));
    }
    findings
}

/// The rules that no vector tests. A note tests nothing.
pub fn uncovered_rules(vectors: &[Vector], rules: &BTreeSet<String>) -> BTreeSet<String> {
    let mut uncovered = rules.clone();
    for vector in vectors.iter().filter(|vector| vector.class != Class::Note) {
        for rule in &vector.rules {
            uncovered.remove(rule);
        }
    }
    uncovered
}

/// The numbers of the rules in the text of a specification, in which each rule begins with its number in
/// bold, `**4.1**`.
pub fn rules_in(specification: &str) -> BTreeSet<String> {
    let number = |line: &str| {
        let (number, _) = line.strip_prefix("**")?.split_once("**")?;
        let (section, rule) = number.split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (digits(section) && digits(rule)).then(|| number.to_owned())
    };
    specification.lines().filter_map(number).collect()
}

fn check_id(vector: &Vector, found: &mut Vec<String>) {
    let rest = vector.id.strip_prefix(&vector.dialect).and_then(|rest| rest.strip_prefix('/'));
    if rest.is_none_or(str::is_empty) {
        found.push(format!("the id does not begin with {}/", vector.dialect));
    }
    if vector
        .id
        .contains(|character: char| character.is_whitespace() || character.is_control() || character == '#')
    {
        found.push("the id has a character that a list of known failures cannot carry".to_owned());
    }
}

fn check_hex(vector: &Vector, found: &mut Vec<String>) {
    for (index, part) in vector.parts().iter().enumerate() {
        let digits = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !digits || part.len() % 2 == 1 {
            found.push(format!("part {index} is not lower-case hex of whole bytes"));
        }
    }
    let forms = [vector.hex.is_some(), vector.hex_list.is_some(), vector.chunks.is_some()];
    if forms.iter().filter(|has| **has).count() > 1 {
        found.push("it has more than one of hex, hex_list and chunks".to_owned());
    }
}

/// The map must cover every byte of every part exactly once, in order: then any byte can be explained, and
/// nothing is claimed twice.
fn check_map(vector: &Vector, found: &mut Vec<String>) {
    let alone = vector.hex.is_some();
    let mut spans = vector.map.iter().peekable();
    for (index, bytes) in vector.parts().iter().enumerate() {
        let part = (!alone).then_some(index);
        let length = bytes.len() / 2;
        let mut covered = 0;
        while let Some(span) = spans.next_if(|span| span.part == part) {
            if span.offset != covered {
                found.push(format!(
                    "the map goes on at byte {} where {} is next{}",
                    span.offset,
                    covered,
                    of_part(span)
                ));
            }
            if span.length == 0 {
                found.push(format!(
                    "the map has an entry without bytes at byte {}{}",
                    span.offset,
                    of_part(span)
                ));
            }
            covered = span.offset.saturating_add(span.length);
        }
        if covered != length {
            let place = if alone { String::new() } else { format!(" of part {index}") };
            found.push(format!("the map covers {covered} bytes{place}, there are {length}"));
        }
    }
    if spans.next().is_some() {
        found.push("the map has entries for parts that are not there, or not in their order".to_owned());
    }
}

fn of_part(span: &Span) -> String {
    span.part.map_or_else(String::new, |part| format!(" of part {part}"))
}

fn check_fields(vector: &Vector, found: &mut Vec<String>) {
    let bytes = match vector.kind {
        Kind::Group => ("hex_list", vector.hex_list.is_some()),
        Kind::Stream => ("chunks", vector.chunks.is_some()),
        Kind::Command | Kind::Message | Kind::Packet | Kind::Call | Kind::Reply => {
            ("hex", vector.hex.is_some())
        }
        Kind::Other(_) => return,
    };
    let value = match vector.kind {
        Kind::Stream => ("packets", vector.packets.is_some()),
        _ => ("value", vector.value.is_some()),
    };
    let error = ("error", vector.error.is_some());
    let (with, without): (&[_], &[_]) = match vector.class {
        Class::Valid | Class::DecodeOnly => (&[bytes, value], &[error]),
        // The program may have refused it, or its value may be one that is lost: there is not always one to
        // compare with.
        Class::Lenient => (&[bytes], &[error]),
        Class::Invalid => (&[bytes, error], &[]),
        Class::RefuseEncode => (&[value, error], &[bytes]),
        Class::Note => (&[], &[]),
    };
    for (name, _) in with.iter().filter(|(_, has)| !has) {
        found.push(format!("a {} vector of kind {} needs {name}", vector.class, vector.kind));
    }
    for (name, _) in without.iter().filter(|(_, has)| *has) {
        found.push(format!("a {} vector of kind {} has no {name}", vector.class, vector.kind));
    }
    if vector.class == Class::Valid && vector.kind == Kind::Stream && vector.pending.is_none() {
        found.push("a valid stream needs pending".to_owned());
    }
    if vector.refusal.is_some() && vector.class != Class::Lenient {
        found.push("only a lenient vector has a refusal".to_owned());
    }
    if vector.class != Class::Note && vector.rules.is_empty() {
        found.push("it tests no rule".to_owned());
    }
}

/// What our own codec makes of the vector, under both policies.
fn check_meaning(vector: &Vector, found: &mut Vec<String>) {
    let hello = Testee::hello();
    if skip_reason(vector, &hello).is_some() {
        return;
    }
    for policy in [Policy::Strict, Policy::Compatible] {
        let mut testee = InProcess(Testee::new(policy));
        let failure = match judge(vector, Expect::Exactly(policy), &hello, &mut testee) {
            Ok(Verdict::Failed { failure }) => failure.to_string(),
            Err(trouble) => trouble.to_string(),
            Ok(_) => continue,
        };
        found.push(format!("the {policy:?} reader of this project disagrees: {failure}"));
    }
}

/// Every part of a group is a packet, and their entities make that of the whole (SPEC 9.1, 9.3). The runner cannot see this with
/// our codec, which does not split and join.
fn check_group(vector: &Vector, found: &mut Vec<String>) {
    if (&vector.kind, vector.class) != (&Kind::Group, Class::Valid) {
        return;
    }
    let mut entity = String::new();
    for (index, part) in vector.parts().iter().enumerate() {
        // What is not hex has been found before.
        let bytes = hex::decode(part).unwrap_or_default();
        match codec::decode_packet(&vector.dialect, Policy::Strict, &bytes) {
            Ok((packet, _)) => entity.push_str(packet["data"].as_str().unwrap_or_default()),
            Err(refusal) => found.push(format!("part {index} is no packet: {}", refusal.detail)),
        }
    }
    for packet in ["whole", "composed"] {
        let data = vector.value.as_ref().and_then(|value| value.get(packet)?.get("data")?.as_str());
        if data != Some(&entity) {
            found.push(format!("the entities of its parts do not make that of {packet}"));
        }
    }
}
