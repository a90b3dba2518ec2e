//! `fixp ping`.

use crate::common::command;
use crate::served::{Nobody, Running, Served, run};
use serde_json::Value;

fn ping(served: &Served, args: &[&str]) -> String {
    let mut line = vec!["ping", &served.addr, "-c", "3", "-i", "10ms"];
    line.extend(args);
    run(&line).fine()
}

#[test]
fn test_is_answered_by_the_address_that_was_seen() {
    let served = Served::echo();
    for (transport, args) in [("tcp", &[][..]), ("udp", &["--udp"])] {
        let out = ping(&served, args);
        let lines: Vec<_> = out.lines().collect();
        let what = format!("TEST to {}, {transport}, laxcus6", served.addr);
        assert_eq!(lines[0], what);
        for (n, line) in (1..).zip(&lines[1..4]) {
            assert!(line.starts_with(&format!("{n}: ACCEPTED from {} in ", served.addr)), "{line}");
            assert!(line.contains(" ms, seen as 127.0.0.1:"), "{line}");
        }
        assert_eq!(lines[4..7], ["", &format!("--- {what} ---"), "3 sent, 3 received, 0% lost"]);
        assert!(lines[7].starts_with("min/avg/max/p99 = ") && lines[7].ends_with(" ms"), "{out}");
        assert_eq!(lines.len(), 8);
    }
}

#[test]
fn helo_is_answered_in_both_dialects() {
    let served = Served::with(&[]);
    for args in [&["--udp", "--helo"][..], &["--udp", "--dialect", "lexst1"]] {
        let out = ping(&served, args);
        assert!(out.starts_with("HELO to ") && out.contains("\n3: ISEE from "), "{out}");
    }
    for args in
        [&["--keep-udp"][..], &["--keep-udp", "--dialect", "lexst1"], &["--keep-udp", "--no-extensions"]]
    {
        let out = ping(&served, args);
        assert!(out.starts_with("HELO to ") && out.contains(", keep udp, "), "{out}");
        assert!(out.contains("\n3 sent, 3 received, 0% lost\n"), "{out}");
    }
    // Over TCP nobody serves it: that is an answer too, after which laxcus6 ends the connection.
    let out = ping(&served, &["--helo"]);
    assert!(out.contains("\n3: UNSUPPORT from "), "{out}");
    let out = ping(&served, &["--dialect", "lexst1"]);
    assert!(out.contains("\n3: UNSUPPORT_COMMAND from "), "{out}");
}

#[test]
fn the_lines_are_there_as_json() {
    let served = Served::echo();
    let out = ping(&served, &["--json"]);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!((&lines[2]["n"], &lines[2]["answer"]), (&3.into(), &"ACCEPTED".into()));
    assert!(lines[2]["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{out}");
    assert_eq!(
        (&lines[3]["sent"], &lines[3]["received"], &lines[3]["lost_percent"]),
        (&3.into(), &3.into(), &0.0.into())
    );
    let ms = |name: &str| lines[3]["ms"][name].as_f64().expect("a number");
    assert!(ms("min") <= ms("avg") && ms("avg") <= ms("max") && ms("p99") <= ms("max"), "{out}");
}

#[test]
fn a_peer_that_does_not_answer_is_lost() {
    let nobody = Nobody::new();
    let line = ["ping", &nobody.addr, "-c", "2", "-i", "0", "-W", "50ms"];
    for (transport, why) in [
        (&[][..], "no connection: connection refused"),
        (&["--udp"], "no answer in time"),
        (&["--keep-udp"], "no answer in time"),
    ] {
        let ended = run(&[&line[..], transport].concat());
        assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""), "{ended:?}");
        assert!(ended.out.contains(&format!("\n1: {why}\n2: {why}\n")), "{}", ended.out);
        assert!(ended.out.ends_with("\n2 sent, 0 received, 100% lost\n"), "{}", ended.out);
    }
}

#[cfg(unix)]
#[test]
fn without_a_count_it_goes_on_until_interrupted() {
    let served = Served::echo();
    let process = Running::start(command().args(["ping", &served.addr, "-i", "10ms"]));
    (0..5).for_each(|_| drop(process.line()));
    process.signal("INT");
    let out = process.ended().fine();
    assert!(out.contains(" received, 0% lost\nmin/avg/max/p99 = "), "{out}");
}
