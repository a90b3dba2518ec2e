//! The three forms of a report, of a run in which something passed, failed, was skipped and failed as known.

use conformance_vectors::Policy;
use conformance_vectors::exit::Exit;
use conformance_vectors::known::KnownFailures;
use conformance_vectors::report::Report;
use conformance_vectors::runner::{Runner, Target};
use quick_xml::events::Event;
use quick_xml::{Reader, XmlVersion};

/// Two vectors are right, two lie about their value, one is a note.
const VECTORS: &str = r#"
{"id":"laxcus6/right","dialect":"laxcus6","kind":"message","class":"valid","hex":"e903015020","value":{"key":1001,"type":"int32","value":32},"rules":["4.1"],"source":"test","map":[{"offset":0,"length":4,"path":"key","meaning":"head"},{"offset":4,"length":1,"path":"value","meaning":"32"}],"comment":"right"}
{"id":"laxcus6/wrong","dialect":"laxcus6","kind":"message","class":"valid","hex":"e903015020","value":{"key":1001,"type":"int32","value":33},"rules":["4.1"],"source":"test","map":[{"offset":0,"length":4,"path":"key","meaning":"head"},{"offset":4,"length":1,"path":"value","meaning":"32"}],"comment":"<wrong> & \"quoted\""}
{"id":"laxcus6/known","dialect":"laxcus6","kind":"command","class":"valid","hex":"87000105010000","value":{},"rules":["2.1"],"source":"test","map":[],"comment":"known"}
{"id":"laxcus2/note","dialect":"laxcus2","kind":"call","class":"note","rules":[],"source":"test","map":[],"comment":"a note"}
{"id":"laxcus6/kind","dialect":"laxcus6","kind":"message","class":"invalid","hex":"e9","error":"limit","rules":["3.4"],"source":"test","map":[{"offset":0,"length":1,"path":"key","meaning":"cut"}],"comment":"refused as truncated"}
"#;

fn report() -> Report {
    let vectors = conformance_vectors::parse("test", VECTORS).expect("the vectors of the test can be read");
    let runner = Runner::new(Target::BuiltIn(Policy::Compatible))
        .known_failures(KnownFailures::parse("laxcus6/known"));
    runner.run(&vectors).expect("the built-in codec can always be run")
}

#[test]
fn the_text_says_what_failed_and_where() {
    let text = report().text(false);
    let expected = [
        "speaks lexst1, laxcus6, laxcus2  can decode, encode, stream\n",
        "FAILED laxcus6/wrong (valid)\n    <wrong> & \"quoted\"\n    decode: value: expected 33, got 32 (byte 4)\n    e903015020\n",
        "known laxcus6/known (valid)\n    known\n    decode: type: expected nothing, got \"request\"\n",
        "skipped\n      1  a note, nothing to run\n",
        "noted\n      1  refused as truncated, the vector says limit\n",
        concat!(
            "dialect  kind     passed  failed  skipped  known\n",
            "laxcus2  call          -       -        1      -\n",
            "laxcus6  command       -       -        -      1\n",
            "laxcus6  message       2       1        -      -\n",
            "all                    2       1        1      1\n",
        ),
        "\n1 failed: 4 run in 0.",
    ];
    for part in expected {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    assert!(!text.contains('\x1b'));
}

#[test]
fn a_testee_cannot_drive_the_terminal() {
    let mut report = report();
    report.testee.implementation = "\x1b[2Jevil".into();
    let text = report.text(false);
    assert!(!text.contains('\x1b') && text.contains("\\u{1b}[2Jevil"), "{text}");
}

#[test]
fn colours_change_nothing_but_colours() {
    let report = report();
    let colored = report.text(true);
    assert!(colored.contains("\x1b[31mFAILED\x1b[0m"));
    let mut plain = colored;
    for code in ["0", "1", "2", "31", "32", "33"] {
        plain = plain.replace(&format!("\x1b[{code}m"), "");
    }
    assert_eq!(plain, report.text(false));
}

#[test]
fn the_json_has_everything() {
    let report = report();
    let json = report.json();
    assert_eq!(json["exit"], 1);
    assert_eq!(json["testee"]["implementation"], "fixp-codec");
    assert_eq!(json["total"], serde_json::json!({"passed": 2, "failed": 1, "skipped": 1, "known": 1}));
    assert_eq!(json["summary"][2]["kind"], "message");
    assert_eq!(json["summary"][2]["failed"], 1);
    let vectors = json["vectors"].as_array().expect("a list");
    assert_eq!(vectors.len(), report.rows.len());
    assert_eq!(vectors[0]["verdict"], "passed");
    assert_eq!(vectors[1]["verdict"], "failed");
    assert_eq!(vectors[1]["failure"]["path"], "value");
    assert_eq!(vectors[1]["failure"]["bytes"], serde_json::json!({"offset": 4, "length": 1}));
    assert_eq!(vectors[2]["verdict"], "known-failure");
    assert_eq!(vectors[3]["verdict"], "skipped");
    assert_eq!(vectors[3]["reason"], "a note, nothing to run");
    assert_eq!(vectors[4]["notes"][0], "refused as truncated, the vector says limit");
}

#[test]
fn the_junit_is_xml_with_true_counts() {
    let xml = report().junit();
    let mut reader = Reader::from_str(&xml);
    let mut suites = Vec::new();
    let mut elements = std::collections::BTreeMap::<String, usize>::new();
    loop {
        match reader.read_event().expect("well-formed XML") {
            Event::Eof => break,
            Event::Start(element) | Event::Empty(element) => {
                let name = element.name().as_ref().to_owned();
                let mut attributes = Vec::new();
                for attribute in element.attributes() {
                    let attribute = attribute.expect("a well-formed attribute");
                    let key = attribute.key.as_ref().to_owned();
                    attributes.push((
                        key,
                        attribute
                            .normalized_value(XmlVersion::Explicit1_0)
                            .expect("well-escaped")
                            .into_owned(),
                    ));
                }
                let value = |key: &str| {
                    attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
                };
                if name.starts_with("testsuite") {
                    let counts = ["tests", "failures", "skipped"].map(|key| value(key).unwrap_or_default());
                    suites.push((value("name").unwrap_or_default(), counts.join(" ")));
                }
                if name == "failure" {
                    assert_eq!(
                        value("message").as_deref(),
                        Some("decode: value: expected 33, got 32 (byte 4)")
                    );
                }
                *elements.entry(name).or_default() += 1;
            }
            _ => {}
        }
    }
    assert_eq!(suites[1..], [("laxcus2".into(), "1 0 1".into()), ("laxcus6".into(), "4 1 1".into())]);
    assert_eq!(suites[0].1, "5 1 2");
    assert_eq!((elements["testcase"], elements["failure"], elements["skipped"]), (5, 1, 2));
    assert!(xml.contains("&lt;wrong&gt; &amp; &quot;quoted&quot;"));
}

#[test]
fn exit_codes_are_those_of_the_documentation() {
    assert_eq!([Exit::Passed, Exit::Failed, Exit::Usage, Exit::NotRun].map(Exit::code), [0, 1, 2, 3]);
    assert_eq!(report().exit(), Exit::Failed);
}
