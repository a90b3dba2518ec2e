//! The checks find what they are there to find.

use std::collections::BTreeSet;

use conformance_vectors::check::{check, rules_in, uncovered_rules};
use conformance_vectors::{Vector, parse};

const RIGHT: &str = r#"{"id":"laxcus6/message/x","dialect":"laxcus6","kind":"message","class":"valid","hex":"e903015020","value":{"key":1001,"type":"int32","value":32},"rules":["4.1"],"source":"test","map":[{"offset":0,"length":4,"path":"key","meaning":"head"},{"offset":4,"length":1,"path":"value","meaning":"32"}],"comment":"right"}"#;

fn rules() -> BTreeSet<String> {
    BTreeSet::from(["4.1".to_owned(), "4.2".to_owned()])
}

fn vectors(text: &str) -> Vec<Vector> {
    parse("test", text).expect("the vectors of the test can be read")
}

/// What the checks say of the right vector with one text replaced by another.
fn findings(old: &str, new: &str) -> Vec<String> {
    assert!(RIGHT.contains(old), "{old}");
    check(&vectors(&RIGHT.replacen(old, new, 1)), &rules()).into_iter().map(|finding| finding.what).collect()
}

#[track_caller]
fn finds(old: &str, new: &str, what: &str) {
    let found = findings(old, new);
    assert!(found.iter().any(|finding| finding.contains(what)), "{what} is not in {found:?}");
}

#[test]
fn a_right_vector_is_right() {
    assert_eq!(check(&vectors(RIGHT), &rules()), []);
}

#[test]
fn ids() {
    finds("laxcus6/message/x", "lexst1/message/x", "the id does not begin with laxcus6/");
    finds("laxcus6/message/x", "laxcus6/", "the id does not begin with laxcus6/");
    finds("laxcus6/message/x", "laxcus6/a b", "the id has a character");
    let twice = check(&vectors(&format!("{RIGHT}\n{RIGHT}\n{RIGHT}")), &rules());
    assert_eq!(twice.len(), 1, "{twice:?}");
    assert_eq!(twice[0].to_string(), "laxcus6/message/x: the id stands more than once");
}

#[test]
fn hex() {
    finds("e903015020", "E903015020", "part 0 is not lower-case hex of whole bytes");
    finds("e903015020", "e90301502", "part 0 is not lower-case hex of whole bytes");
    finds("\"value\":{", "\"chunks\":[],\"value\":{", "more than one of hex, hex_list and chunks");
}

#[test]
fn maps_cover_each_byte_once_and_in_order() {
    finds(
        r#""offset":4,"length":1"#,
        r#""offset":3,"length":2"#,
        "the map goes on at byte 3 where 4 is next",
    );
    finds(
        r#""offset":0,"length":4"#,
        r#""offset":0,"length":3"#,
        "the map goes on at byte 4 where 3 is next",
    );
    finds(r#""offset":4,"length":1"#, r#""offset":4,"length":2"#, "the map covers 6 bytes, there are 5");
    finds(r#""offset":4,"length":1"#, r#""offset":4,"length":0"#, "an entry without bytes at byte 4");
    finds(r#""offset":4"#, r#""part":0,"offset":4"#, "the map covers 4 bytes, there are 5");
    finds(r#""offset":4"#, r#""part":0,"offset":4"#, "entries for parts that are not there");
    let backwards = r#"[{"offset":4,"length":1,"path":"value","meaning":""},{"offset":0,"length":4,"path":"key","meaning":""}]"#;
    let map =
        &RIGHT[RIGHT.find("[{\"offset\"").expect("a map")..RIGHT.find(",\"comment\"").expect("a comment")];
    finds(map, backwards, "the map goes on at byte 4 where 0 is next");
    finds(map, "[]", "the map covers 0 bytes, there are 5");
}

/// What the checks say of a group of two packets with the entities `aa` and `bb`.
fn group(map: &str, entity: &str) -> Vec<String> {
    let head = "87000105010100fc03015001";
    let text = format!(
        r#"{{"id":"laxcus6/g","dialect":"laxcus6","kind":"group","class":"valid","hex_list":["{head}aa","{head}bb"],
        "value":{{"whole":{{"data":"{entity}"}},"composed":{{"data":"aabb"}}}},
        "rules":["4.1"],"source":"","map":[{map}],"comment":""}}"#
    );
    let vectors = vectors(&text.replace('\n', ""));
    check(&vectors, &rules()).into_iter().map(|finding| finding.what).collect()
}

fn span(part: usize, length: usize) -> String {
    format!(r#"{{"part":{part},"offset":0,"length":{length},"path":"x","meaning":""}}"#)
}

#[test]
fn a_group_is_mapped_part_by_part() {
    assert_eq!(group(&format!("{},{}", span(0, 13), span(1, 13)), "aabb"), [""; 0]);
    assert_eq!(group(&span(0, 13), "aabb"), ["the map covers 0 bytes of part 1, there are 13"]);
    assert!(!group(&format!("{},{}", span(1, 13), span(0, 13)), "aabb").is_empty());
}

#[test]
fn the_parts_of_a_group_make_the_whole() {
    let map = format!("{},{}", span(0, 13), span(1, 13));
    assert_eq!(group(&map, "aabbcc"), ["the entities of its parts do not make that of whole"]);
    finds("\"message\"", "\"group\"", "part 0 is no packet: bad-tag at byte 0");
}

#[test]
fn a_class_has_its_fields() {
    finds(r#""hex":"e903015020","#, "", "a valid vector of kind message needs hex");
    finds("\"valid\"", "\"invalid\"", "a invalid vector of kind message needs error");
    finds("\"valid\"", "\"refuse-encode\"", "a refuse-encode vector of kind message has no hex");
    finds("\"rules\"", "\"error\":\"limit\",\"rules\"", "a valid vector of kind message has no error");
    finds("\"rules\"", "\"refusal\":\"limit\",\"rules\"", "only a lenient vector has a refusal");
    finds("\"message\"", "\"stream\"", "a valid vector of kind stream needs chunks");
    finds("\"message\"", "\"stream\"", "a valid stream needs pending");
}

#[test]
fn rules_exist() {
    finds("[\"4.1\"]", "[\"4.10\"]", "there is no rule 4.10");
    finds("[\"4.1\"]", "[]", "it tests no rule");
}

#[test]
fn bytes_and_value_say_the_same() {
    finds(
        r#""value":32}"#,
        r#""value":33}"#,
        "the Strict reader of this project disagrees: decode: value: expected 33, got 32 (byte 4)",
    );
    finds("e903015020", "e903015021", "the Compatible reader of this project disagrees: decode: value");
    finds("\"value\":{", "\"consumed\":4,\"value\":{", "consumed: expected 4, got 5");
}

#[test]
fn a_class_is_the_right_one() {
    finds("\"valid\"", "\"lenient\"", "the Strict reader of this project disagrees: decode: must be refused");
    finds(
        "\"valid\"",
        "\"invalid\"",
        "the Compatible reader of this project disagrees: decode: must be refused",
    );
}

#[test]
fn rules_are_read_from_the_specification_and_counted() {
    let rules = rules_in(
        "# Title\n**4.1** A rule.\ntext **9.9** inside\n**4.2** Another.\n**bold** text\n**4.x** no\n",
    );
    assert_eq!(rules, self::rules());
    assert_eq!(uncovered_rules(&vectors(RIGHT), &rules), BTreeSet::from(["4.2".to_owned()]));
    let note = RIGHT.replace("\"valid\"", "\"note\"");
    assert_eq!(uncovered_rules(&vectors(&note), &rules), rules);
}
