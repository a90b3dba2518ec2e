//! `fixp dialects`: the tables are those of SPEC 2, 3 and 5.

use crate::common::fixp;
use serde_json::{Value, json};

#[test]
fn the_overview_has_what_differs() {
    let out = fixp(["dialects"]).fine();
    let row = |title: &str| -> Vec<&str> {
        let line = out.lines().find(|line| line.starts_with(title)).expect("a row");
        line.strip_prefix(title).unwrap_or_default().split_whitespace().collect()
    };
    assert_eq!(row("CONTENT_LENGTH"), ["1030", "1020", "1020"]);
    assert_eq!(row("request bytes"), ["major,", "minor", "minor,", "major", "major,", "minor"]);
    assert_eq!(row("int32"), ["type", "6", "type", "5", "type", "5"]);
    assert_eq!(row("zraw"), ["-", "-", "type", "9"]);
}

#[test]
fn a_table_has_names() {
    let out = fixp(["dialects", "laxcus6"]).fine();
    for row in ["  1/5  TEST\n", "  1010  OKAY\n", "     5  int32\n", "1000 to 2999"] {
        assert!(out.contains(row), "{row}: {out}");
    }
    assert!(out.lines().any(|line| line.split_whitespace().eq(["1000", "SPEAK", "string"])), "{out}");
    assert!(out.lines().all(|line| line.len() <= 80 && line.trim_end() == line), "{out}");
    assert!(fixp(["dialects", "lexst1"]).fine().contains("  6/32  SQL_SELECT\n"));
    assert!(fixp(["dialects", "laxcus2"]).fine().contains("  10  zstring\n"));
    assert_eq!(fixp(["dialects", "laxcus7"]).code, Some(2));
}

#[test]
fn the_machine_form_is_an_object_a_line() {
    let all = fixp(["dialects", "--json"]).fine();
    let names: Vec<Value> = all
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["dialect"].clone())
        .collect();
    assert_eq!(names, ["lexst1", "laxcus6", "laxcus2"]);

    let one = fixp(["dialects", "laxcus6", "--json"]).fine();
    let table: Value = serde_json::from_str(&one).expect("JSON");
    assert_eq!(table["request_bytes"], json!(["minor", "major"]));
    assert_eq!(table["content_length_key"], 1020);
    assert_eq!(table["types"][4], json!({"code": 5, "type": "int32"}));
    assert_eq!(table["majors"][0]["minors"][4], json!({"minor": 5, "name": "TEST"}));
    assert_eq!(table["keys"][0], json!({"key": 1000, "name": "SPEAK", "type": "string"}));
    assert_eq!(table["keys"][1]["type"], Value::Null);
    assert_eq!((&table["first_answer"], &table["last_answer"]), (&json!(1000), &json!(2999)));
}
