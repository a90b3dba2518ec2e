//! `fixp testee`: the examples of the testee protocol.

use crate::common::{fixp, fixp_reading};
use serde_json::{Value, json};

fn answers<const N: usize>(requests: &[Value], args: [&str; N]) -> Vec<Value> {
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let out = fixp_reading(lines, args).fine();
    out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn it_serves_until_its_input_ends() {
    let value = json!({"key": 1001, "type": "int32", "value": 0});
    let answers = answers(
        &[
            json!({"seq": 0, "op": "hello", "protocol": 1}),
            json!({"seq": 1, "op": "decode", "dialect": "laxcus6", "kind": "packet", "hex": "87000105010000"}),
            json!({"seq": 2, "op": "decode", "dialect": "laxcus6", "kind": "packet", "hex": "8700"}),
            json!({"seq": 3, "op": "encode", "dialect": "laxcus6", "kind": "message", "value": value}),
        ],
        ["testee"],
    );
    assert_eq!(answers[0]["dialects"], json!(["lexst1", "laxcus6", "laxcus2"]));
    let packet =
        json!({"type": "request", "major": 1, "minor": 5, "version": 256, "messages": [], "data": ""});
    assert_eq!(answers[1], json!({"seq": 1, "value": packet, "consumed": 7}));
    assert_eq!(answers[2]["error"], "truncated");
    assert_eq!(answers[3], json!({"seq": 3, "hex": "e903015000"}));
    assert_eq!(answers.len(), 4);
}

#[test]
fn the_policy_decides() {
    // SPEC 5.3: without CONTENT_LENGTH.
    let request =
        [json!({"seq": 7, "op": "decode", "dialect": "laxcus6", "kind": "packet", "hex": "87000105010000"})];
    assert!(answers(&request, ["testee", "--policy", "compatible"])[0].get("value").is_some());
    assert_eq!(answers(&request, ["testee", "--policy", "strict"])[0]["error"], "not-canonical");
}

#[test]
fn without_requests_there_are_no_answers() {
    assert_eq!(fixp(["testee"]).fine(), "");
}
