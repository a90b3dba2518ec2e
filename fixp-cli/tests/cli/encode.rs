//! `fixp encode`.

use crate::common::{ADD_LOG, ADD_LOG_JSON, CASTHELO, CASTHELO_JSON, bytes, file, fixp, fixp_reading};

#[test]
fn json_becomes_the_bytes_that_were_recorded() {
    assert_eq!(fixp(["encode", CASTHELO_JSON]).fine(), format!("{CASTHELO}\n"));
    assert_eq!(fixp(["encode", "--dialect", "lexst1", ADD_LOG_JSON]).fine(), format!("{ADD_LOG}\n"));
    assert_eq!(fixp_reading(CASTHELO_JSON, ["encode", "--raw"]).raw, bytes(CASTHELO));
}

#[test]
fn content_length_is_appended() {
    // SPEC 5.6, 2.3: laxcus6 writes minor, major; key 1020, int32.
    let packet = r#"{"type":"request","major":1,"minor":5,"data":"cafe"}"#;
    assert_eq!(fixp(["encode", packet]).fine(), "87000105010100fc03015002cafe\n");
    let command = r#"{"type":"answer","code":1010,"message_count":258}"#;
    assert_eq!(fixp(["encode", "--kind", "command", command]).fine(), "c70001f2030201\n");
    let message = r#"{"key":1001,"type":"int64","value":"-1"}"#;
    assert_eq!(fixp(["encode", "--kind", "message", message]).fine(), "e9030860ffffffffffffffff\n");
}

#[test]
fn packets_follow_each_other_on_lines_or_not() {
    let both = format!("{CASTHELO}\n{CASTHELO}\n");
    assert_eq!(fixp_reading(format!("{CASTHELO_JSON}\n{CASTHELO_JSON}\n"), ["encode", "-"]).fine(), both);
    assert_eq!(fixp_reading(format!("{CASTHELO_JSON}{CASTHELO_JSON}"), ["encode"]).fine(), both);
    let pretty = fixp(["decode", CASTHELO]).fine();
    assert_eq!(fixp_reading(format!("{pretty}\n\n{pretty}"), ["encode"]).fine(), both);
    let path = file("encode-both.jsonl", format!("{CASTHELO_JSON}\n{CASTHELO_JSON}\n"));
    assert_eq!(fixp(["encode", &path]).fine(), both);
    assert_eq!(fixp(["encode", &format!("@{path}")]).fine(), both);
    assert_eq!(fixp(["encode", "--file", &path]).fine(), both);
}

#[test]
fn broken_json_is_refused_at_its_byte() {
    fixp(["encode", "{\"type\":x}"]).refused(1, "bad-json at byte 8 (line 1, column 9): expected value");
    fixp_reading("", ["encode"]).refused(1, "bad-json at byte 0: there is nothing");
    let cut = "bad-json at byte 17 (line 1, column 17): EOF while parsing an object";
    fixp(["encode", "{\"type\":\"request\""]).refused(1, cut);
    // What stands before it is printed; lines are counted over all of the input.
    let ended = fixp_reading(format!("{CASTHELO_JSON}\n{{\"type\":]"), ["encode"]);
    assert_eq!(ended.out, format!("{CASTHELO}\n"));
    let at = CASTHELO_JSON.len() + 1 + 8;
    ended.refused(1, &format!("bad-json at byte {at} (line 2, column 9): expected value"));
}

#[test]
fn json_that_is_no_packet_is_refused() {
    let field = fixp(["encode", r#"{"type":"request","major":1,"minor":5,"entity":""}"#]);
    assert_eq!(field.code, Some(1));
    assert!(field.err.starts_with("fixp: bad-json at byte "), "{}", field.err);
    assert!(field.err.contains("unknown field `entity`"), "{}", field.err);
    let missing = fixp(["encode", r#"{"type":"request","major":1}"#]);
    missing.refused(1, "bad-json at byte 0: a request has major and minor, and no code");
}

#[test]
fn values_out_of_range_are_refused() {
    let ended = fixp(["encode", "--kind", "message", r#"{"key":1,"type":"int16","value":32768}"#]);
    let sentence =
        "bad-json at byte 0: invalid value: integer `32768`, expected an integer of the type's range";
    ended.refused(1, sentence);
    // Inside of a packet there is a place.
    let packet = r#"{"type":"answer","code":1010,"messages":[{"key":70000,"type":"boolean","value":true}]}"#;
    let ended = fixp(["encode", packet]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.starts_with("fixp: bad-json at byte 52 (line 1, column 53): invalid value"),
        "{}",
        ended.err
    );
}

#[test]
fn what_the_wire_cannot_carry_is_refused() {
    // SPEC 2.6, 3.2, 3.4, 4.8, 5.6.
    let refused = |kind: &str, dialect: &str, json: &str, begin: &str| {
        let ended = fixp_reading(format!("  {json}"), ["encode", "--dialect", dialect, "--kind", kind]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
        let (begin, end) = (format!("fixp: {begin}"), " (of the JSON at byte 2)\n");
        assert!(ended.err.starts_with(&begin) && ended.err.ends_with(end), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    };
    refused("packet", "laxcus6", r#"{"type":"request","major":9,"minor":9}"#, "illegal-command");
    refused("message", "lexst1", r#"{"key":1,"type":"zraw","value":"00"}"#, "unknown-type");
    refused("message", "lexst1", r#"{"key":1,"type":"string","value":""}"#, "bad-value");
    let long = format!(r#"{{"key":1,"type":"raw","value":"{}"}}"#, "00".repeat(4096));
    refused("message", "lexst1", &long, "bad-value");
    let lie =
        r#"{"type":"answer","code":1010,"messages":[{"key":1020,"type":"int32","value":2}],"data":"00"}"#;
    refused("packet", "laxcus6", lie, "bad-entity");
}

#[test]
fn a_packet_of_another_dialect_is_noted() {
    // What `decode` told of a lexst1 packet, about to be written as laxcus6.
    let packet = r#"{"type":"answer","code":2000,"messages":[{"key":1030,"type":"int32","value":0}]}"#;
    let ended = fixp(["encode", packet]);
    assert_eq!(ended.code, Some(0));
    let note = "fixp: note: key 1030 is CONTENT_LENGTH in lexst1, not in laxcus6 (see --dialect)\n";
    assert_eq!(ended.err, note);
    let ended = fixp(["encode", "--dialect", "lexst1", packet]);
    // SPEC 2, 5.1.
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("c70001d00701000604016000\n", ""));
}
