//! `fixp call`, `fixp list`, `fixp describe`: the interfaces of a server.

use crate::common::file;
use crate::served::{Nobody, Served, run};

const WAYS: [&[&str]; 6] = [
    &[],
    &["--udp"],
    &["--keep-udp"],
    &["--dialect", "lexst1"],
    &["--dialect", "lexst1", "--udp"],
    &["--dialect", "lexst1", "--keep-udp"],
];

fn at(served: &Served, command: &str, rest: &[&str], way: &[&str]) -> crate::common::Ended {
    run(&[&[command, &served.addr][..], rest, way].concat())
}

#[test]
fn a_method_is_called_over_every_way() {
    let served = Served::echo();
    for way in WAYS {
        let called = |rest: &[&str]| at(&served, "call", rest, way);
        assert_eq!(called(&["Echo.echo", r#"{"text":"it works"}"#]).fine(), "\"it works\"\n", "{way:?}");
        assert_eq!(called(&["Echo.add", "[2, 3]"]).fine(), "5\n", "{way:?}");
        assert_eq!(at(&served, "list", &[], way).fine(), "Echo\nfixp\n", "{way:?}");
    }
    assert_eq!(at(&served, "list", &["--json"], &[]).fine(), "[\"Echo\",\"fixp\"]\n");
    assert_eq!(at(&served, "call", &["Echo.add", "[2,3]", "--one-way"], &[]).fine(), "");
    assert_eq!(at(&served, "call", &["fixp.list", "--json"], &[]).fine(), "[\"Echo\",\"fixp\"]\n");
    let arguments = file("arguments.json", br#"{"b": 4, "a": 3}"#);
    let arguments = format!("@{arguments}");
    assert_eq!(at(&served, "call", &["Echo.add", &arguments], &[]).fine(), "7\n");
}

#[test]
fn what_is_described_is_what_can_be_called() {
    let served = Served::echo();
    let echo = "\
Echo
  // The same text.
  echo(text: String) -> String  [idempotent]
  // The sum of two numbers, where it is one.
  add(a: i64, b: i64) -> Result<i64, String>  [idempotent]
";
    // What the trait's own author says of it stands above.
    let described = at(&served, "describe", &["Echo"], &[]).fine();
    assert!(described.ends_with(echo), "{described}");
    let all = at(&served, "describe", &[], &[]).fine();
    assert!(all.starts_with(&described) && all.contains("\nfixp\n"), "{all}");
    let add = at(&served, "describe", &["Echo.add"], &[]).fine();
    assert!(add.contains("  add(a: i64") && !add.contains("  echo("), "{add}");
    let json = at(&served, "describe", &["Echo", "--json"], &[]).fine();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["methods"][1]["arguments"][0], serde_json::json!(["a", "i64"]));
}

#[test]
fn what_goes_wrong_is_told_in_a_sentence() {
    let served = Served::echo();
    for (command, rest, code, sentence) in [
        (
            "call",
            &["Echo.add", "[9223372036854775807, 1]"][..],
            1,
            "the method returned an error: \"9223372036854775807 + 1 is not",
        ),
        ("call", &["Echo.add", "[1]"], 1, "the server cannot read the argument: invalid length 1"),
        ("call", &["Echo.sub", "[1, 2]"], 1, "the interface has no such method; it was not executed"),
        ("call", &["Nope.sub"], 1, "the server has no such interface; it was not executed"),
        ("call", &["Echo.add", "[1"], 1, "bad-json at byte 2"),
        ("call", &["Echo.add", "7"], 2, "the arguments are an object or an array"),
        ("call", &["Echo.add", "[1] [2]"], 2, "the arguments are one value of JSON"),
        ("call", &["Echo.add", "--no-extensions"], 2, "calls are extensions"),
        ("describe", &["Nope"], 1, "the server has nothing of the name Nope"),
        // What could play with a terminal is shown.
        ("describe", &["No\u{9b}2Jpe\u{7}"], 1, "the server has nothing of the name No\\u{9b}2Jpe\\u{7}"),
        ("describe", &["Echo.nope"], 1, "the server has nothing of the name Echo.nope"),
    ] {
        let ended = at(&served, command, rest, &[]);
        assert_eq!((ended.code, &*ended.out), (Some(code), ""), "{rest:?}: {}", ended.err);
        assert!(ended.err.starts_with(&format!("fixp: {sentence}")), "{rest:?}: {}", ended.err);
    }
    let nobody = Nobody::new();
    let ended = run(&["list", &nobody.addr]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("no connection"), "{}", ended.err);
}

/// A server that announces nothing has no calls.
#[test]
fn a_server_without_extensions_gets_no_call() {
    let config = file("no-extensions.toml", b"extensions = false\n");
    let served = Served::with(&["--config", &config]);
    for way in [&[][..], &["--udp"], &["--keep-udp"]] {
        let ended = at(&served, "list", &[], way);
        let sentence = "the peer has not announced our extensions; it was not executed";
        assert_eq!(ended.code, Some(1), "{way:?}: {}", ended.err);
        assert!(ended.err.contains(sentence), "{way:?}: {}", ended.err);
    }
}
