//! `fixp call`, `fixp list`, `fixp describe`: the interfaces of a server.

use std::time::Duration;

use fixp_rpc::Rpc;
use fixp_transport::{Body, Server};
use tokio::runtime::Runtime;

use crate::common::{Ended, file};
use crate::served::{Nobody, Served, run};

const WAYS: [&[&str]; 6] = [
    &[],
    &["--udp"],
    &["--keep-udp"],
    &["--dialect", "lexst1"],
    &["--dialect", "lexst1", "--udp"],
    &["--dialect", "lexst1", "--keep-udp"],
];

fn at(served: &Served, command: &str, rest: &[&str], way: &[&str]) -> Ended {
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
        (
            "call",
            &["Echo.add", r#"{"a":1,"a":5,"b":2}"#],
            1,
            "the server cannot read the argument: duplicate field",
        ),
        ("call", &[""], 2, "\"\" is not INTERFACE.METHOD"),
        ("call", &["Echo"], 2, "\"Echo\" is not INTERFACE.METHOD"),
        ("call", &["Echo."], 2, "\"Echo.\" is not INTERFACE.METHOD"),
        ("call", &["Echo.add", "--send", "/nowhere/at/all"], 2, "cannot use /nowhere/at/all: "),
        #[cfg(unix)]
        ("call", &["Echo.add", "--send", "/dev/null"], 2, "cannot use /dev/null: a stream must be a file"),
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
        let sentence = "the peer has not announced our extensions, or was not asked";
        assert_eq!(ended.code, Some(1), "{way:?}: {}", ended.err);
        assert!(ended.err.contains(sentence), "{way:?}: {}", ended.err);
    }
}

#[fixp_rpc::service]
trait Things {
    async fn wide(&self, number: u128) -> u128;
    async fn deep(&self) -> Vec<Vec<Vec<u128>>>;
    async fn copy(&self, name: String, body: Body) -> (String, Body);
    async fn length(&self, body: Body) -> u64;
    async fn twelve(&self) -> Body;
    async fn refuses(&self, body: Body) -> Result<Body, u128>;
}

struct Made;

impl Things for Made {
    async fn wide(&self, number: u128) -> u128 {
        number
    }
    async fn deep(&self) -> Vec<Vec<Vec<u128>>> {
        vec![vec![vec![u128::MAX, 1], vec![]]]
    }
    async fn copy(&self, name: String, body: Body) -> (String, Body) {
        (name, body)
    }
    async fn length(&self, body: Body) -> u64 {
        body.len()
    }
    async fn twelve(&self) -> Body {
        Body::from_bytes("12")
    }
    async fn refuses(&self, _: Body) -> Result<Body, u128> {
        Err(u128::MAX)
    }
}

/// A server in this process, and what becomes of calls to it.
fn things(work: impl FnOnce(&dyn Fn(&[&str]) -> Ended)) {
    let runtime = Runtime::new().expect("a runtime");
    let rpc = Rpc::new().serve(ThingsService::new(Made));
    let any = "127.0.0.1:0".parse().expect("an address");
    let server = runtime.block_on(Server::builder(rpc).bind(any).start()).expect("a server");
    let addr = server.local_addr().expect("it listens").to_string();
    work(&|rest| run(&[&["call", &addr][..], rest].concat()));
    runtime.block_on(server.shutdown(Duration::ZERO));
}

#[test]
fn numbers_go_and_come_as_they_are_written() {
    things(|call| {
        let most = u128::MAX.to_string();
        for number in ["18446744073709551616", &most] {
            assert_eq!(call(&["Things.wide", &format!("[{number}]")]).fine(), format!("{number}\n"));
        }
        let deep = format!("[\n  [\n    [{most}, 1],\n    []\n  ]\n]\n");
        assert_eq!(call(&["Things.deep"]).fine(), deep);
        assert_eq!(call(&["Things.deep", "--json"]).fine(), format!("[[[{most},1],[]]]\n"));
        call(&["Things.refuses", "--receive", "not-made"])
            .refused(1, &format!("the method returned an error: {most}"));
        assert!(!std::path::Path::new("not-made").exists());
    });
}

#[test]
fn what_streams_comes_from_a_file_and_goes_to_one() {
    things(|call| {
        let bytes: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
        let (from, to) = (file("sent.bin", &bytes), file("received.bin", b"before"));
        for way in [None, Some("--keep-udp")] {
            let called = |rest: &[&str]| call(&[rest, way.as_slice()].concat());
            let copied = called(&["Things.copy", r#"["it"]"#, "--send", &from, "--receive", &to]);
            assert_eq!(copied.fine(), "\"it\"\n");
            assert!(std::fs::read(&to).expect("a file") == bytes);
            assert_eq!(called(&["Things.length", "--send", &from]).fine(), "300000\n");
            // A stream that is not given has no bytes.
            assert_eq!(called(&["Things.length"]).fine(), "0\n");
            assert_eq!(called(&["Things.twelve", "--receive", &to]).fine(), "null\n");
            assert_eq!(std::fs::read(&to).expect("a file"), b"12");
            called(&["Things.twelve"])
                .refused(1, "the method gives a stream: --receive FILE keeps it; it was executed");
            called(&["Things.copy", r#"["it"]"#, "--send", &from]).refused(
                1,
                "the method gives a stream of 300000 bytes: --receive FILE keeps it; it was executed",
            );
        }
        call(&["Things.twelve", "--udp", "--receive", &to])
            .refused(1, "plain UDP has no streams; it was not executed");
    });
}
