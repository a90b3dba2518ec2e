//! The vectors of this crate: right in themselves, right with our codec under both policies, and complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use conformance_vectors::check::{check, rules_in, uncovered_rules};
use conformance_vectors::exit::Exit;
use conformance_vectors::runner::{Runner, Target};
use conformance_vectors::verdict::Verdict;
use conformance_vectors::{Class, Policy, Vector, all, files};

fn vectors() -> Vec<Vector> {
    all().expect("the vectors of this crate can be read")
}

fn here(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn numbers_of_rules() -> BTreeSet<String> {
    rules_in(&fs::read_to_string(here("../docs/SPEC.md")).expect("docs/SPEC.md"))
}

/// Fails with all of them, a line each: a list is mended faster than its first element ten times.
fn none(what: &str, found: impl IntoIterator<Item = String>) {
    let found: Vec<String> = found.into_iter().collect();
    assert!(found.is_empty(), "{} {what}:\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_vector_file_is_part_of_the_crate() {
    let in_crate: BTreeSet<String> = files().iter().map(|file| file.name.to_owned()).collect();
    let on_disk: BTreeSet<String> = fs::read_dir(here("vectors"))
        .expect("the folder of the vectors")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".jsonl"))
        .collect();
    assert_eq!(in_crate, on_disk);
    none(
        "empty files",
        files().iter().filter(|file| file.text.trim().is_empty()).map(|file| file.name.to_owned()),
    );
}

#[test]
fn the_vectors_are_right_in_themselves() {
    none("findings", check(&vectors(), &numbers_of_rules()).iter().map(ToString::to_string));
}

#[test]
fn rules() {
    let rules = numbers_of_rules();
    assert!(rules.len() > 40 && rules.contains("1.1") && rules.contains("9.3"), "{rules:?}");
    // No vector holds a conversation.
    let rules = rules.into_iter().filter(|rule| !of_conversations(rule)).collect();
    none("rules without a vector", uncovered_rules(&vectors(), &rules));
}

/// Whether a rule is tested by the tests of the transport and of remote calls: from 9.4 on, all are but those of
/// payloads.
fn of_conversations(rule: &str) -> bool {
    numbers(rule) >= (9, 4) && !of_payloads(rule)
}

/// Whether a rule is about the payload of a remote call, and tested by the tests of the codec as well.
fn of_payloads(rule: &str) -> bool {
    ((12, 10)..(13, 0)).contains(&numbers(rule))
}

fn numbers(rule: &str) -> (u32, u32) {
    let number = |part: &str| part.parse().expect("a number");
    let (section, rule) = rule.split_once('.').expect("a rule has two numbers");
    (number(section), number(rule))
}

/// The rules that the sources name: `SPEC 4.1`, `SPEC 4.1, 4.2 and 5.3`.
fn cited(source: &str) -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    for list in source.split("SPEC ").skip(1) {
        for word in list.split([' ', ')', ';', '`', '\n', ':']) {
            let number = word.trim_end_matches([',', '.']);
            let is_rule = number
                .split_once('.')
                .is_some_and(|(section, rule)| section.parse::<u8>().is_ok() && rule.parse::<u8>().is_ok());
            if is_rule {
                rules.insert(number.to_owned());
            } else if word != "and" {
                break;
            }
        }
    }
    rules
}

/// The rules that the Rust files of these folders name.
fn cited_in(folders: &[&str]) -> BTreeSet<String> {
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| here(folder)).collect();
    let mut rules = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                rules.extend(cited(&fs::read_to_string(&path).expect("a source")));
            }
        }
    }
    rules
}

#[test]
fn every_rule_is_cited_by_the_code() {
    let (of_conversations, of_packets): (BTreeSet<_>, BTreeSet<_>) =
        numbers_of_rules().into_iter().partition(|rule| of_conversations(rule));
    assert!(of_conversations.len() > 20, "{of_conversations:?}");
    let codec = cited_in(&["../fixp-codec/src", "src"]);
    none("rules that the code does not cite", of_packets.difference(&codec).cloned());
    none("cited rules that are not there", codec.difference(&of_packets).cloned());
    let of_payloads = of_packets.iter().filter(|rule| of_payloads(rule)).cloned().collect::<BTreeSet<_>>();
    let codec_tests = cited_in(&["../fixp-codec/tests"]);
    none("rules of payloads that no test cites", of_payloads.difference(&codec_tests).cloned());
    // What the transport does has no vectors: a rule of it is named where it is done, and where it is tested.
    let source = cited_in(&["../fixp-transport/src", "../fixp-rpc/src"]);
    let tests = cited_in(&["../fixp-transport/tests", "../fixp-rpc/tests"]);
    none("rules that the transport does not cite", of_conversations.difference(&source).cloned());
    none("rules that no test of the transport cites", of_conversations.difference(&tests).cloned());
    let all: BTreeSet<_> = of_packets.union(&of_conversations).cloned().collect();
    none("rules that the transport cites and are not there", (&source | &tests).difference(&all).cloned());
}

#[test]
fn citations_are_read() {
    let source = "(SPEC 4.1), SPEC 4.2, 5.3 and 10.8. SPEC 11: SPEC 9";
    assert_eq!(cited(source), ["4.1", "4.2", "5.3", "10.8"].map(String::from).into());
}

#[test]
fn the_built_in_codec_does_exactly_what_its_policy_says() {
    let vectors = vectors();
    for policy in [Policy::Strict, Policy::Compatible] {
        let runner = Runner::new(Target::BuiltIn(policy)).expect_exact(policy);
        let report = runner.run(&vectors).expect("the built-in codec can always be run");
        assert_eq!(report.exit(), Exit::Passed, "{policy:?}\n{}", report.text(false));
        let skipped = report.skip_reasons();
        let expected = |reason: &str| {
            reason.starts_with("the protocol has no operation for kind ")
                || reason == "a note, nothing to run"
                || reason == "the testee has no operation split or join"
        };
        none(
            "unexpected reasons to skip",
            skipped.iter().filter(|(r, _)| !expected(r)).map(|(r, _)| (*r).to_owned()),
        );
    }
}

/// The kinds of refusals are for information (SPEC 7.6): an input with two faults has two right kinds. Where
/// ours is not that of the vector, it is because of one of these pairs of faults; any other disagreement is a
/// mistake on one side.
#[test]
fn the_kinds_of_refusals_agree() {
    let two_faults = [
        // An announced length that passes a limit is not there either.
        ("limit", "truncated"),
        // lexst1 keeps values of codes without a name: such a value can be cut short, or be empty where none
        // may be.
        ("truncated", "unknown-type"),
        ("bad-value", "unknown-type"),
        // A code of more than 16 bits is no value of the JSON form before it is no code.
        ("bad-value", "illegal-command"),
    ];
    let allowed: Vec<_> = two_faults
        .iter()
        .map(|(ours, theirs)| format!("refused as {ours}, the vector says {theirs}"))
        .collect();
    let runner = Runner::new(Target::BuiltIn(Policy::Compatible)).expect_exact(Policy::Compatible);
    let report = runner.run(&vectors()).expect("the built-in codec can always be run");
    let mut found = Vec::new();
    for row in &report.rows {
        if let Verdict::Passed { notes } = &row.verdict {
            let unexplained =
                notes.iter().filter(|note| note.starts_with("refused as") && !allowed.contains(note));
            found.extend(unexplained.map(|note| format!("{}: {note}", row.id)));
        }
    }
    none("kinds that disagree", found);
}

#[test]
fn every_vector_fits_the_schema() {
    let text = fs::read_to_string(here("schema/vector-1.schema.json")).expect("the schema");
    let schema = serde_json::from_str(&text).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is a schema");
    let mut found = Vec::new();
    for file in files() {
        for (index, line) in file.text.lines().enumerate() {
            let vector = serde_json::from_str(line).expect("a line is JSON");
            let errors =
                validator.iter_errors(&vector).map(|error| format!("{}:{}: {error}", file.name, index + 1));
            found.extend(errors);
        }
    }
    none("lines that do not fit", found);
}

#[test]
fn the_schema_refuses_what_the_model_refuses() {
    let text = fs::read_to_string(here("schema/vector-1.schema.json")).expect("the schema");
    let schema = serde_json::from_str(&text).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is a schema");
    let vectors = vectors();
    let valid = vectors.iter().find(|vector| vector.class == Class::Valid).expect("a valid vector");
    let right = serde_json::to_value(valid).expect("a vector is JSON");
    assert!(validator.is_valid(&right));
    let mut misspelled = right.clone();
    misspelled["eror"] = "limit".into();
    assert!(!validator.is_valid(&misspelled));
    assert!(conformance_vectors::parse("misspelled", &misspelled.to_string()).is_err());
    let mut other_class = right;
    other_class["class"] = "correct".into();
    assert!(!validator.is_valid(&other_class));
    assert!(conformance_vectors::parse("other class", &other_class.to_string()).is_err());
}

/// What is written back is what was read: nothing in the files is lost in the model.
#[test]
fn the_model_keeps_every_field() {
    let mut found = Vec::new();
    for file in files() {
        for (index, line) in file.text.lines().enumerate() {
            let read: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            let vector: Vector = serde_json::from_str(line).expect("a line is a vector");
            if serde_json::to_value(&vector).expect("a vector is JSON") != read {
                found.push(format!("{}:{}", file.name, index + 1));
            }
        }
    }
    none("lines that are not kept", found);
}
