//! `fixp decode`.

use crate::common::{ADD_LOG, ADD_LOG_JSON, CASTHELO, CASTHELO_JSON, bytes, fixp, fixp_reading};
use serde_json::{Value, json};

#[test]
fn a_packet_becomes_the_json_that_was_recorded() {
    assert_eq!(fixp(["decode", "--json", CASTHELO]).fine(), format!("{CASTHELO_JSON}\n"));
    assert_eq!(fixp(["decode", "--json", ADD_LOG]).fine(), format!("{ADD_LOG_JSON}\n"));
}

#[test]
fn what_people_read_says_the_same() {
    let out = fixp(["decode", CASTHELO]).fine();
    assert!(
        out.contains("\n    {\"key\": 1000, \"type\": \"string\", \"value\": \"NOTIFY_CASTHELO\"},\n"),
        "{out}"
    );
    let value: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(value, serde_json::from_str::<Value>(CASTHELO_JSON).expect("JSON"));
}

#[test]
fn packets_follow_each_other() {
    // The dialect of each is told by itself.
    let input = [bytes(CASTHELO), bytes(ADD_LOG), bytes(CASTHELO)].concat();
    let lines = format!("{CASTHELO_JSON}\n{ADD_LOG_JSON}\n{CASTHELO_JSON}\n");
    assert_eq!(fixp_reading(&input, ["decode", "--json"]).fine(), lines);
    // A strict reader of one packet would refuse the next as trailing bytes.
    assert_eq!(fixp_reading(&input, ["decode", "--json", "--policy", "strict"]).fine(), lines);
}

#[test]
fn what_is_whole_is_printed_before_the_error() {
    let ended = fixp_reading([bytes(CASTHELO), bytes("8700")].concat(), ["decode", "--json"]);
    assert_eq!(ended.out, format!("{CASTHELO_JSON}\n"));
    ended.refused(1, "truncated at byte 31: a command needs 7 bytes, 2 are there");
    // SPEC 8.3: the offset is that of the whole input, inside of a packet too.
    let cut = format!("{CASTHELO}87000105010200e803013041fc0301");
    fixp(["decode", &cut]).refused(1, "truncated at byte 43: a message head needs 4 bytes, 3 are there");
}

#[test]
fn a_dialect_told_once_holds_for_the_packets_behind() {
    // lexst1's request 3/1 without CONTENT_LENGTH is laxcus6's 1/3 as well (SPEC 2.3).
    let silent = "87000103010000";
    let major = |out: &str| {
        let last = out.lines().last().expect("a line");
        serde_json::from_str::<Value>(last).expect("JSON")["major"].clone()
    };
    assert_eq!(major(&fixp(["decode", "--json", ADD_LOG, silent]).fine()), 3);
    let guessed = fixp(["decode", "--json", silent, silent]);
    assert_eq!(guessed.err, "fixp: note: dialect unknown, laxcus6 assumed (see --dialect)\n");
    assert_eq!(major(&guessed.out), 1);
    assert_eq!(guessed.out.lines().count(), 2);
    assert_eq!(major(&fixp(["decode", "--json", "--dialect", "lexst1", silent]).fine()), 3);
    let told = fixp(["decode", "--json", "--default-dialect", "laxcus2", silent]);
    assert_eq!(told.err, "fixp: note: dialect unknown, laxcus2 assumed (see --dialect)\n");
}

#[test]
fn the_wrong_dialect_is_refused() {
    let ended = fixp(["decode", "--dialect", "laxcus6", "--policy", "strict", ADD_LOG]);
    ended.refused(1, "illegal-command at byte 3: request 9/4 is not legal in this dialect");
}

#[test]
fn the_policy_decides() {
    // SPEC 4.1, 4.2: int32 0 in two bytes.
    let padded = "e90302500000";
    let value = json!({"key": 1001, "type": "int32", "value": 0});
    let message = ["decode", "--json", "--dialect", "laxcus6", "--kind", "message"];
    let [a, b, c, d, e, f] = message;
    let out = fixp([a, b, c, d, e, f, padded]).fine();
    assert_eq!(serde_json::from_str::<Value>(&out).expect("JSON"), value);
    let strict = fixp([a, b, c, d, e, f, "--policy", "strict", padded]);
    assert_eq!(strict.code, Some(1));
    assert!(strict.err.starts_with("fixp: not-canonical at byte "), "{}", strict.err);
}

#[test]
fn commands_and_messages_are_decoded_alone() {
    let out =
        fixp(["decode", "--json", "--dialect", "laxcus6", "--kind", "command", "c70001f2030500"]).fine();
    assert_eq!(out, "{\"type\":\"answer\",\"code\":1010,\"version\":256,\"message_count\":5}\n");
    // Two of them: int64 -1 and float32 1.5 (SPEC 4.1, 4.4).
    let two = ["e90308 60ffffffffffffffff", "e90304700000c03f"];
    let out = fixp(["decode", "--json", "--dialect", "laxcus6", "--kind", "message", two[0], two[1]]).fine();
    let lines = "{\"key\":1001,\"type\":\"int64\",\"value\":\"-1\"}\n{\"key\":1001,\"type\":\"float32\",\"value\":\"3fc00000\"}\n";
    assert_eq!(out, lines);
}

#[test]
fn text_that_is_none_is_refused_at_its_byte() {
    let packet = format!("{CASTHELO}87000105010200e80302304 1ff fc03015000");
    let ended = fixp(["decode", "--json", &packet]);
    assert_eq!(ended.out, format!("{CASTHELO_JSON}\n"));
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.starts_with("fixp: invalid-utf8 at byte 43: "), "{}", ended.err);
}

#[test]
fn compressed_values_are_their_content_or_refused_in_front_of_it() {
    // SPEC 4.9: a stored zlib stream of "A", and the same with another checksum, in laxcus2.
    let stream = "78010101 00feff 41 00420042";
    let kind = ["decode", "--json", "--dialect", "laxcus2", "--kind", "message"];
    let [a, b, c, d, e, f] = kind;
    let good = fixp([a, b, c, d, e, f, "e8030ca0", stream]).fine();
    assert_eq!(good, "{\"key\":1000,\"type\":\"zstring\",\"value\":\"A\"}\n");
    let bad = fixp([a, b, c, d, e, f, "e8030ca0", "7801010100feff41", "00420043"]);
    assert_eq!((bad.code, bad.out.as_str()), (Some(1), ""));
    assert!(bad.err.starts_with("fixp: bad-compression at byte "), "{}", bad.err);
}

#[test]
fn nothing_in_a_packet_reaches_the_terminal_as_a_command() {
    // The string ESC [ 3 1 m, then U+009B, which some terminals take for ESC [.
    let out =
        fixp(["decode", "--json", "--dialect", "laxcus6", "--kind", "message", "e80307301b5b33316dc29b"])
            .fine();
    assert_eq!(out, "{\"key\":1000,\"type\":\"string\",\"value\":\"\\u001b[31m\\u009b\"}\n");
    let dump =
        fixp(["explain", "--dialect", "laxcus6", "--kind", "message", "e80307301b5b33316dc29b"]).fine();
    assert!(dump.chars().all(|character| character == '\n' || !character.is_control()), "{dump:?}");
}
