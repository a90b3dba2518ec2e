//! `fixp conformance`.

use std::fs;

use crate::common::{file, fixp, path};
use serde_json::Value;

const HELO: &str = "laxcus6/command/cmd-req-NOTIFY_HELO";

#[test]
fn the_built_in_codec_passes_by_both_policies() {
    for policy in ["compatible", "strict"] {
        let out = fixp(["conformance", "--policy", policy]).fine();
        let verdict = out.lines().last().expect("a verdict");
        assert!(verdict.starts_with("all passed: "), "{verdict}");
        assert!(out.lines().all(|line| line.len() <= 80), "{out}");
    }
}

#[test]
fn a_testee_is_run_as_a_shell_would() {
    let testee = format!("'{}' testee --policy \"strict\"", env!("CARGO_BIN_EXE_fixp"));
    let out = fixp(["conformance", "--testee", &testee, "--dialect", "laxcus6", "--kind", "packet"]).fine();
    assert!(out.contains("fixp-codec "), "{out}");
}

#[test]
fn a_testee_that_cannot_be_run_is_told_apart() {
    for testee in ["/no/such/program", "false"] {
        let ended = fixp(["conformance", "--testee", testee]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""), "{ended:?}");
        assert!(ended.err.starts_with("fixp: ") && ended.err.lines().count() == 1, "{}", ended.err);
    }
}

#[test]
fn nothing_run_is_a_failure() {
    let ended = fixp(["conformance", "--filter", "no-such-vector"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""));
    assert!(ended.out.contains("nothing was run"), "{}", ended.out);
    assert_eq!(fixp(["conformance", "--list", "--filter", "no-such-vector"]).code, Some(1));
    assert_eq!(fixp(["conformance", "--class", "wrong"]).code, Some(2));
    assert_eq!(fixp(["conformance", "--dialect", "wrong"]).code, Some(2));
}

/// A testee that greets, and then refuses whatever it is asked.
#[cfg(unix)]
fn refuser() -> String {
    let hello = r#"{"seq":0,"implementation":"refuser","version":"0","dialects":["laxcus6"],"ops":["decode","encode"]}"#;
    let answer = r#"{"seq":%s,"error":"bad-tag"}\n"#;
    let script = format!(
        "n=0\nwhile read -r line; do\n[ $n = 0 ] && echo '{hello}' || printf '{answer}' $n\nn=$((n+1))\ndone\n"
    );
    format!("sh {}", file("conformance-refuser.sh", script))
}

#[cfg(unix)]
#[test]
fn failures_fail_unless_they_are_known() {
    let refuser = refuser();
    let ended = fixp(["conformance", "--testee", &refuser, "--filter", HELO]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.out.contains(&format!("FAILED {HELO}")), "{}", ended.out);

    let known = file("conformance-known.txt", format!("# why\n{HELO}\n"));
    let args = ["conformance", "--filter", HELO, "--known-failures", &known];
    let [a, b, c, d, e] = args;
    assert_eq!(fixp([a, b, c, d, e, "--testee", &refuser]).code, Some(0));
    // Our own codec passes it, so the list is wrong.
    let passes = fixp(args);
    assert_eq!(passes.code, Some(1));
    assert!(passes.out.contains("take it off the list"), "{}", passes.out);
}

#[cfg(unix)]
#[test]
fn a_silent_testee_is_not_waited_for() {
    let hello = r#"{"seq":0,"implementation":"sleeper","version":"0","dialects":["laxcus6"],"ops":["decode","encode"]}"#;
    let script = file("conformance-sleeper.sh", format!("read -r line; echo '{hello}'; exec sleep 20\n"));
    let began = std::time::Instant::now();
    let ended =
        fixp(["conformance", "--testee", &format!("sh {script}"), "--timeout", "50", "--filter", HELO]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(began.elapsed().as_secs() < 10);
}

#[test]
fn files_that_cannot_be_used_are_wrong_arguments() {
    let missing = path("conformance-missing.txt");
    let missing = missing.to_str().expect("a path");
    assert_eq!(fixp(["conformance", "--known-failures", missing]).code, Some(2));
    let unknown = file("conformance-unknown.txt", "laxcus6/no-such-vector\n");
    let ended = fixp(["conformance", "--known-failures", &unknown]);
    ended.refused(2, "the known failures name vectors that do not exist: laxcus6/no-such-vector");
    assert_eq!(fixp(["conformance", "--output", env!("CARGO_TARGET_TMPDIR")]).code, Some(2));
    fixp(["conformance", "--show", "nothing"])
        .refused(2, "there is no vector nothing (see fixp conformance --list)");
}

#[test]
fn reports_are_for_programs_too() {
    let json = fixp(["conformance", "--json", "--filter", HELO]).fine();
    let report: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["total"]["passed"], 1);
    assert_eq!(report["vectors"][0]["id"], HELO);
    let same: Value =
        serde_json::from_str(&fixp(["conformance", "--format", "json", "--filter", HELO]).fine())
            .expect("JSON");
    assert_eq!(same["vectors"][0]["verdict"], report["vectors"][0]["verdict"]);

    let output = path("conformance-report.xml");
    let output_name = output.to_str().expect("a path");
    let text = fixp(["conformance", "--format", "junit", "--output", output_name, "--filter", HELO]).fine();
    assert!(text.contains("all passed: 1 run"), "{text}");
    let xml = fs::read_to_string(output).expect("a report");
    assert!(xml.starts_with("<?xml") && xml.contains(HELO), "{xml}");
}

#[test]
fn vectors_are_listed_and_shown() {
    let all = fixp(["conformance", "--list"]).fine();
    let vectors = conformance_vectors::all().expect("the vectors are read");
    assert!(all.lines().eq(vectors.iter().map(|vector| vector.id.as_str())));

    let commands =
        fixp(["conformance", "--list", "--dialect", "laxcus6", "--kind", "command", "--class", "valid"])
            .fine();
    assert!(
        commands.lines().any(|id| id == HELO)
            && commands.lines().all(|id| id.starts_with("laxcus6/command/"))
    );
    assert_eq!(
        fixp(["conformance", "--list", "--filter", "*-NOTIFY_HELO", "--kind", "command"]).fine(),
        format!("{HELO}\n")
    );
    let line = fixp(["conformance", "--list", "--json", "--filter", HELO]).fine();
    assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON")["hex"], "87000101010000");
    assert_eq!(fixp(["conformance", "--show", HELO, "--json"]).fine(), line);

    let shown = fixp(["conformance", "--show", HELO]).fine();
    for part in [HELO, "class     valid", "\"minor\": 1", "1 HELO"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_vector_of_each_kind_and_class_is_shown() {
    let mut seen = std::collections::BTreeSet::new();
    for vector in conformance_vectors::all().expect("the vectors are read") {
        if seen.insert((vector.kind.name().to_owned(), vector.class.name())) {
            let shown = fixp(["conformance", "--show", &vector.id]).fine();
            assert!(shown.starts_with(&vector.id), "{shown}");
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
}
