use std::collections::VecDeque;

use serde_json::json;

use super::*;

/// A testee that gives prepared answers and remembers what it was asked.
struct Scripted {
    answers: VecDeque<Answer>,
    asked: Vec<Op>,
}

impl Answerer for Scripted {
    fn ask(&mut self, op: Op) -> Result<Answer, Trouble> {
        self.asked.push(op);
        self.answers.pop_front().ok_or(Trouble::Ended("no more answers".to_owned()))
    }
}

fn vector(fields: &Value) -> Vector {
    let mut all =
        json!({"id": "laxcus6/x", "dialect": "laxcus6", "rules": [], "source": "", "map": [], "comment": ""});
    for (name, value) in fields.as_object().expect("an object") {
        all[name] = value.clone();
    }
    serde_json::from_value(all).expect("a vector")
}

fn message(class: &str) -> Vector {
    vector(
        &json!({"kind": "message", "class": class, "hex": "e903015020", "value": {"key": 1001, "type": "int32", "value": 32},
        "map": [{"offset": 0, "length": 2, "path": "key", "meaning": "key 1001"},
            {"offset": 2, "length": 2, "path": "type", "meaning": "int32, 1 byte"},
            {"offset": 4, "length": 1, "path": "value", "meaning": "32"}]}),
    )
}

fn answer(fields: Value) -> Answer {
    serde_json::from_value(fields).expect("an answer")
}

const ALL_OPS: [&str; 5] = ["decode", "encode", "stream", "split", "join"];

fn run(vector: &Vector, expect: Expect, ops: &[&str], answers: &[Value]) -> (Verdict, Vec<Op>) {
    let hello = Hello {
        implementation: "scripted".to_owned(),
        version: "1".to_owned(),
        dialects: vec!["laxcus6".to_owned()],
        ops: ops.iter().map(|op| (*op).to_owned()).collect(),
    };
    assert_eq!(skip_reason(vector, &hello), None);
    let mut testee = Scripted { answers: answers.iter().cloned().map(answer).collect(), asked: Vec::new() };
    let verdict = judge(vector, expect, &hello, &mut testee).expect("no trouble");
    assert!(testee.answers.is_empty(), "not all answers were asked for");
    (verdict, testee.asked)
}

fn judged(vector: &Vector, answers: &[Value]) -> Verdict {
    run(vector, Expect::Conformance, &ALL_OPS, answers).0
}

fn notes(verdict: Verdict) -> Vec<String> {
    match verdict {
        Verdict::Passed { notes } => notes,
        other => panic!("not passed: {other:?}"),
    }
}

fn failure(verdict: Verdict) -> Failure {
    match verdict {
        Verdict::Failed { failure } => failure,
        other => panic!("not failed: {other:?}"),
    }
}

fn passes(verdict: Verdict) {
    assert_eq!(notes(verdict), [""; 0]);
}

const RIGHT: &str = "e903015020";

fn right() -> Value {
    json!({"value": {"key": 1001, "type": "int32", "value": 32}, "consumed": 5})
}

#[test]
fn valid_decodes_to_its_value_and_encodes_to_its_bytes() {
    let (verdict, asked) =
        run(&message("valid"), Expect::Conformance, &ALL_OPS, &[right(), json!({"hex": RIGHT})]);
    passes(verdict);
    assert_eq!(asked.iter().map(Op::name).collect::<Vec<_>>(), ["decode", "encode"]);
}

#[test]
fn a_wrong_value_is_named_with_its_path_and_its_bytes() {
    let lie = json!({"value": {"key": 1001, "type": "int32", "value": 33}});
    let failure = failure(judged(&message("valid"), &[lie]));
    assert_eq!(failure.to_string(), "decode: value: expected 32, got 33 (byte 4)");
    assert_eq!(failure.path.as_deref(), Some("value"));
    assert_eq!(failure.bytes, Some(Bytes { part: None, offset: 4, length: 1 }));
}

#[test]
fn a_wrong_byte_is_named_with_its_field() {
    let failure = failure(judged(&message("valid"), &[right(), json!({"hex": "e903025020"})]));
    assert_eq!(failure.to_string(), "encode: byte 2 (type: int32, 1 byte): expected 01, got 02");
}

#[test]
fn a_short_or_a_long_encoding_fails_at_its_end() {
    let short = failure(judged(&message("valid"), &[right(), json!({"hex": "e9030150"})]));
    assert_eq!(short.what, "byte 4 (value: 32): expected 20, got the end");
    let long = failure(judged(&message("valid"), &[right(), json!({"hex": "e90301502000"})]));
    assert_eq!(long.what, "byte 5: expected the end, got 00");
}

#[test]
fn an_answer_must_be_hex_where_hex_is_asked_for() {
    let failure = failure(judged(&message("valid"), &[right(), json!({"hex": "0x12"})]));
    assert_eq!(failure.what, "not hex: 0x12");
}

#[test]
fn consumed_is_compared_where_it_is_said() {
    let mut short = right();
    short["consumed"] = json!(4);
    assert_eq!(failure(judged(&message("valid"), &[short.clone()])).what, "consumed: expected 5, got 4");
    let mut vector = message("valid");
    vector.consumed = Some(4);
    passes(judged(&vector, &[short, json!({"hex": RIGHT})]));
}

#[test]
fn a_valid_vector_may_not_be_refused() {
    let error = json!({"error": "truncated", "detail": "too short"});
    assert_eq!(
        failure(judged(&message("valid"), &[error])).to_string(),
        "decode: must be accepted, but was refused: truncated (too short)"
    );
}

#[test]
fn an_operation_that_is_not_announced_is_noted_and_not_asked() {
    let (verdict, _) = run(&message("valid"), Expect::Conformance, &["decode"], &[right()]);
    assert_eq!(notes(verdict), ["not judged by encode, which the testee does not have"]);
    let (verdict, _) = run(&message("valid"), Expect::Conformance, &["encode"], &[json!({"hex": RIGHT})]);
    assert_eq!(notes(verdict), ["not judged by decode, which the testee does not have"]);
}

#[test]
fn a_skip_is_neither_a_pass_nor_a_failure_and_hides_no_failure() {
    let skip = json!({"skip": "not today"});
    let skipped = judged(&message("valid"), &[right(), skip.clone()]);
    assert_eq!(skipped, Verdict::Skipped { reason: "encode: not today".to_owned() });
    failure(judged(&message("valid"), &[skip.clone(), json!({"hex": "00"})]));
    for class in ["lenient", "invalid"] {
        assert_eq!(
            judged(&message(class), std::slice::from_ref(&skip)),
            Verdict::Skipped { reason: "decode: not today".to_owned() }
        );
    }
}

#[test]
fn an_answer_is_one_thing() {
    let mut both = right();
    both["error"] = json!("limit");
    assert_eq!(failure(judged(&message("invalid"), &[both])).what, "it gives a result and the error limit");
    let neither = failure(judged(&message("invalid"), &[json!({})]));
    assert_eq!(neither.what, "the answer has neither a result nor an error nor a skip");
}

#[test]
fn lenient_is_refused_or_taken_with_the_recorded_value() {
    passes(judged(&message("lenient"), &[json!({"error": "not-canonical"})]));
    passes(judged(&message("lenient"), &[right()]));
    let mut lie = right();
    lie["value"]["value"] = json!(0);
    failure(judged(&message("lenient"), &[lie]));
    let mut unrecorded = message("lenient");
    unrecorded.value = None;
    assert_eq!(notes(judged(&unrecorded, &[right()])), ["accepted; no value is recorded to compare with"]);
}

#[test]
fn our_own_readers_have_no_choice_with_lenient() {
    let exactly =
        |vector: &Vector, policy, answer: Value| run(vector, Expect::Exactly(policy), &ALL_OPS, &[answer]).0;
    let refusal = json!({"error": "bad-value"});
    let vector = message("lenient");
    passes(exactly(&vector, Policy::Compatible, right()));
    failure(exactly(&vector, Policy::Compatible, refusal.clone()));
    passes(exactly(&vector, Policy::Strict, refusal.clone()));
    failure(exactly(&vector, Policy::Strict, right()));
    let mut vector = vector;
    vector.refusal = Some("bad-value".to_owned());
    passes(exactly(&vector, Policy::Compatible, refusal.clone()));
    failure(exactly(&vector, Policy::Compatible, right()));
    passes(exactly(&vector, Policy::Strict, refusal));
}

#[test]
fn invalid_is_refused_and_the_kind_is_for_information() {
    let mut vector = message("invalid");
    vector.error = Some("truncated".to_owned());
    passes(judged(&vector, &[json!({"error": "truncated"})]));
    assert_eq!(
        notes(judged(&vector, &[json!({"error": "limit"})])),
        ["refused as limit, the vector says truncated"]
    );
    assert!(failure(judged(&vector, &[right()])).what.starts_with("must be refused, but gave {\"key\":1001"));
}

#[test]
fn an_encoder_refuses_what_cannot_be_written() {
    let mut vector = message("refuse-encode");
    vector.hex = None;
    let (verdict, asked) = run(&vector, Expect::Conformance, &["encode"], &[json!({"error": "bad-value"})]);
    passes(verdict);
    assert_eq!(asked[0].name(), "encode");
    failure(judged(&vector, &[json!({"hex": RIGHT})]));
}

#[test]
fn decode_only_goes_round_through_the_testees_own_bytes() {
    let (verdict, asked) = run(
        &message("decode-only"),
        Expect::Conformance,
        &ALL_OPS,
        &[right(), json!({"hex": "aabb"}), right()],
    );
    passes(verdict);
    let own =
        Op::Decode { dialect: "laxcus6".to_owned(), kind: "message".to_owned(), hex: "aabb".to_owned() };
    assert_eq!(asked[2], own);
    let mut lie = right();
    lie["value"]["value"] = json!(0);
    let failure = failure(judged(&message("decode-only"), &[right(), json!({"hex": "aabb"}), lie]));
    assert_eq!(failure.op, "decode of its own encoding");
    assert_eq!(notes(run(&message("decode-only"), Expect::Conformance, &["decode"], &[right()]).0).len(), 1);
}

#[test]
fn what_is_only_to_be_decoded_need_not_be_written() {
    let skip = json!({"skip": "not written"});
    let verdict = judged(&message("decode-only"), &[right(), skip.clone()]);
    assert_eq!(notes(verdict), ["encode: not written"]);
    let verdict = judged(&message("decode-only"), &[skip.clone(), skip]);
    assert_eq!(verdict, Verdict::Skipped { reason: "decode: not written; encode: not written".to_owned() });
}

#[test]
fn the_payload_of_a_call_has_one_reader_under_both_policies() {
    let mut call = message("lenient");
    call.kind = Kind::Call;
    let exactly = |policy, answer: Value| run(&call, Expect::Exactly(policy), &ALL_OPS, &[answer]).0;
    for policy in [Policy::Strict, Policy::Compatible] {
        passes(exactly(policy, right()));
        failure(exactly(policy, json!({"error": "bad-value"})));
    }
    passes(judged(&call, &[json!({"error": "bad-value"})]));
}

fn stream(class: &str) -> Vector {
    vector(
        &json!({"kind": "stream", "class": class, "chunks": ["87", ""], "packets": [{"type": "request"}], "pending": 3}),
    )
}

#[test]
fn a_stream_gives_its_packets_and_says_what_waits() {
    passes(judged(&stream("valid"), &[json!({"packets": [{"type": "request"}], "pending": 3})]));
    passes(judged(
        &stream("valid"),
        &[json!({"packets": [{"type": "request"}], "pending": 3, "hex": "ignored"})],
    ));
    let lie = failure(judged(&stream("valid"), &[json!({"packets": [{"type": "answer"}], "pending": 3})]));
    assert_eq!(lie.what, "packets[0].type: expected \"request\", got \"answer\"");
    let lie = failure(judged(&stream("valid"), &[json!({"packets": [{"type": "request"}], "pending": 2})]));
    assert_eq!(lie.what, "pending: expected 3, got 2");
    let silent = failure(judged(&stream("valid"), &[json!({"packets": [{"type": "request"}]})]));
    assert_eq!(silent.what, "pending: expected 3, got nothing");
    failure(judged(&stream("valid"), &[json!({"error": "truncated"})]));
}

#[test]
fn a_broken_stream_gives_an_error_and_perhaps_the_packets_before_it() {
    passes(judged(&stream("invalid"), &[json!({"error": "bad-tag"})]));
    passes(judged(&stream("invalid"), &[json!({"error": "bad-tag", "packets": [{"type": "request"}]})]));
    passes(judged(&stream("invalid"), &[json!({"error": "bad-tag", "packets": []})]));
    failure(judged(&stream("invalid"), &[json!({"error": "bad-tag", "packets": [{"type": "answer"}]})]));
    failure(judged(&stream("invalid"), &[json!({"packets": [{"type": "request"}], "pending": 0})]));
    let short = json!({"error": "bad-tag", "packets": []});
    failure(run(&stream("invalid"), Expect::Exactly(Policy::Strict), &ALL_OPS, &[short]).0);
}

fn group(class: &str) -> Vector {
    vector(&json!({"kind": "group", "class": class, "hex_list": ["8700", "8701"],
        "value": {"packet_id": 7, "whole": {"data": "00"}, "composed": {"data": "01"}},
        "map": [{"part": 0, "offset": 0, "length": 2, "path": "subs[0]", "meaning": "first"},
            {"part": 1, "offset": 0, "length": 2, "path": "subs[1]", "meaning": "second"}]}))
}

#[test]
fn a_group_is_split_and_joined() {
    let joined = json!({"value": {"data": "01"}});
    let (verdict, asked) = run(
        &group("valid"),
        Expect::Conformance,
        &ALL_OPS,
        &[json!({"hex_list": ["8700", "8701"]}), joined.clone()],
    );
    passes(verdict);
    let split =
        Op::Split { dialect: "laxcus6".to_owned(), packet_id: 7, size: 480, value: json!({"data": "00"}) };
    assert_eq!(asked[0], split);
    let lie = failure(judged(&group("valid"), &[json!({"hex_list": ["8700", "8702"]})]));
    assert_eq!(lie.what, "byte 1 of part 1 (subs[1]: second): expected 01, got 02");
    let short = failure(judged(&group("valid"), &[json!({"hex_list": ["8700"]})]));
    assert_eq!(short.what, "expected 2 sub-packets, got 1");
    failure(judged(
        &group("valid"),
        &[json!({"hex_list": ["8700", "8701"]}), json!({"value": {"data": "00"}})],
    ));
    passes(judged(&group("invalid"), &[json!({"error": "bad-value"})]));
    failure(judged(&group("invalid"), &[joined]));
}

#[test]
fn what_cannot_be_run_is_skipped_with_a_reason() {
    let hello = |dialects: &[&str], ops: &[&str]| Hello {
        implementation: String::new(),
        version: String::new(),
        dialects: dialects.iter().map(|name| (*name).to_owned()).collect(),
        ops: ops.iter().map(|name| (*name).to_owned()).collect(),
    };
    let reason = |vector: &Vector| skip_reason(vector, &hello(&["laxcus6"], &["decode"])).unwrap_or_default();
    let mut bucket = group("note");
    assert_eq!(reason(&bucket), "a note, nothing to run");
    bucket.class = Class::Valid;
    bucket.kind = Kind::Other("bucket".to_owned());
    assert_eq!(reason(&bucket), "the protocol has no operation for kind bucket");
    assert_eq!(reason(&group("valid")), "the testee has no operation split or join");
    assert_eq!(reason(&stream("valid")), "the testee has no operation stream");
    assert_eq!(reason(&message("refuse-encode")), "the testee has no operation encode");
    assert_eq!(reason(&message("valid")), "");
    let elsewhere = skip_reason(&message("valid"), &hello(&["lexst1"], &["decode"]));
    assert_eq!(elsewhere.as_deref(), Some("the testee does not speak laxcus6"));
}

#[test]
fn a_vector_without_what_its_class_needs_fails() {
    let mut broken = message("valid");
    broken.hex = None;
    assert_eq!(failure(judged(&broken, &[])).to_string(), "vector: it has no hex");
}
