//! `fixp explain`.

use crate::common::{ADD_LOG, CASTHELO, fixp};
use serde_json::{Value, json};

#[test]
fn every_byte_is_explained() {
    let out = fixp(["explain", CASTHELO]).fine();
    let mut digits = String::new();
    for line in out.lines().skip(1) {
        let words = line.split_whitespace().skip(1);
        digits.extend(words.take_while(|word| word.len() == 2 && u8::from_str_radix(word, 16).is_ok()));
    }
    assert_eq!(digits, CASTHELO);
    for meaning in [
        "laxcus6 packet, 31 bytes",
        "31 CASTHELO",
        "1000 SPEAK",
        "\"NOTIFY_CASTHELO\"",
        "1020 CONTENT_LENGTH",
    ] {
        assert!(out.contains(meaning), "{meaning}: {out}");
    }
}

#[test]
fn the_dialect_is_told_by_the_bytes_or_by_the_user() {
    let title = |out: String| out.lines().next().unwrap_or_default().to_owned();
    assert_eq!(title(fixp(["explain", ADD_LOG]).fine()), "lexst1 packet, 18 bytes, compatible reader");
    let told = fixp(["explain", "--dialect", "laxcus2", "--policy", "strict", CASTHELO]).fine();
    assert_eq!(title(told), "laxcus2 packet, 31 bytes, strict reader");
    // A lone message tells nothing.
    let guessed = fixp(["explain", "--kind", "message", "--default-dialect", "lexst1", "e803011041"]);
    assert_eq!(guessed.err, "fixp: note: dialect unknown, lexst1 assumed (see --dialect)\n");
    assert!(guessed.out.contains("\"A\""), "{}", guessed.out);
    assert_eq!(guessed.code, Some(0));
}

#[test]
fn what_is_broken_is_shown_and_refused() {
    // SPEC 3: the second message has three bytes of its head.
    let cut = "87000105010200e803013041fc0301";
    let ended = fixp(["explain", "--dialect", "laxcus6", cut]);
    let sentence = "truncated at byte 12: a message head needs 4 bytes, 3 are there";
    assert!(ended.out.contains(sentence), "{}", ended.out);
    ended.refused(1, sentence);
    // SPEC 2: seven bytes, of which the first tells most.
    let ended = fixp(["explain", "--dialect", "lexst1", "8700"]);
    ended.refused(1, "truncated at byte 0: a command needs 7 bytes, 2 are there");
    let tag = fixp(["explain", "--dialect", "laxcus6", "00000105010000"]);
    tag.refused(1, "bad-tag at byte 0: the tag is 00, not 87 (request) or c7 (answer)");
}

#[test]
fn commands_are_explained_alone() {
    let out = fixp(["explain", "--kind", "command", "--dialect", "laxcus6", "c70001f2030000"]).fine();
    assert!(out.contains("1010 OKAY"), "{out}");
}

#[test]
fn long_values_are_cut_unless_all_is_asked_for() {
    // An entity of 300 bytes.
    let packet = format!("87000105010100fc0302502c01{}", "ab".repeat(300));
    let count = |out: String| out.matches(" ab").count();
    let short = fixp(["explain", &packet]).fine();
    assert!(short.contains("more bytes"), "{short}");
    assert!(count(short) < 300);
    assert_eq!(count(fixp(["explain", "--all", &packet]).fine()), 300);
}

#[test]
fn the_machine_form_is_one_object() {
    let value: Value = serde_json::from_str(&fixp(["explain", "--json", CASTHELO]).fine()).expect("JSON");
    assert_eq!(value["dialect"], "laxcus6");
    assert_eq!(value["error"], Value::Null);
    let fields = value["fields"].as_array().expect("fields");
    assert_eq!(fields[0], json!({"offset": 0, "length": 1, "path": "command.tag", "meaning": "request"}));
    let length: u64 = fields.iter().filter_map(|field| field["length"].as_u64()).sum();
    assert_eq!(length, 31);
    let last = json!({"offset": 30, "length": 1, "path": "messages[1].value", "meaning": "0"});
    assert_eq!(fields.last(), Some(&last));

    let broken = fixp(["explain", "--json", "--dialect", "laxcus6", "87000105010100fc0302"]);
    let value: Value = serde_json::from_str(&broken.out).expect("JSON");
    let detail = "truncated at byte 7: a message head needs 4 bytes, 3 are there";
    let error = json!({"kind": "truncated", "offset": 7, "needed": 4, "had": 3, "detail": detail});
    assert_eq!(value["error"], error);
    broken.refused(1, detail);
}
