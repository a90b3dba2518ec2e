//! `fixp send --raw`: recorded bytes in, recorded bytes out.

use crate::common::file;
use crate::served::{Nobody, Served, run};
use serde_json::Value;

/// Recorded from Laxcus 6.0 over UDP: TEST and its answer, up to the caller's port.
const TEST: &str = "87000105010200e80305305445535421fc03015000";
const TESTED: &str =
    "c70001f3030300e803083052453a5445535421d1071d100200000000000000000100007f000000000100007f";
/// What follows the two bytes of that port.
const TESTED_END: &str = "000000000000fc03015000";

/// Recorded from Laxcus 6.0 over UDP: EXIT and its answer.
const EXIT: &str = "87000102010100fc03015000";
const GOODBYE: &str = "c70001f5030200e803123053454520594f55204e4558542054494d4521fc03015000";
/// The same over TCP, where the server then closes the connection.
const GOODBYE_TCP: &str = "c70001f5030200e803113073656520796f75206e6578742074696d65fc03015000";

/// Recorded from lexst 1.x over UDP and TCP: EXIT and its answer.
const LEXST1_EXIT_UDP: &str = "87000103020200370809103132372e302e302e310604016000";
const LEXST1_GOODBYE_UDP: &str =
    "c70001d0070300e803111073656520796f75206e6578742074696d65370809103132372e302e302e310604016000";
const LEXST1_EXIT: &str = "870001030201000604016000";
const LEXST1_GOODBYE: &str = "c70001d0070200e803111073656520796f75206e6578742074696d650604016000";

/// Recorded from both over TCP: two requests in one write, and their answers by an echo.
const TWO: [(&str, &str); 2] = [
    (
        "87000133010200e80305306669727374fc03015000 87000133010200e80306307365636f6e64fc03015002cafe",
        "c70001f2030200e80305306669727374fc03015000c70001f2030200e80306307365636f6e64fc03015002cafe",
    ),
    (
        "87000104090200e803051066697273740604016000 87000104090200e80306107365636f6e640604016002cafe",
        "c70001d0070200e803051066697273740604016000c70001d0070200e80306107365636f6e640604016002cafe",
    ),
];

fn raw(served: &Served, args: &[&str]) -> String {
    let mut line = vec!["send", &served.addr, "--timeout", "1"];
    line.extend(args);
    run(&line).fine()
}

#[test]
fn recorded_datagrams_get_the_recorded_answers() {
    let served = Served::echo();
    let out = raw(&served, &["--udp", "--raw", TEST]);
    let line = out.trim_end();
    assert!(line.starts_with(TESTED) && line.ends_with(TESTED_END), "{out}");
    assert_eq!(line.len(), TESTED.len() + 4 + TESTED_END.len());
    assert_eq!(raw(&served, &["--udp", "--raw", EXIT]), format!("{GOODBYE}\n"));
    assert_eq!(raw(&served, &["--udp", "--raw", LEXST1_EXIT_UDP]), format!("{LEXST1_GOODBYE_UDP}\n"));
    // Each is a datagram of its own.
    let both = raw(&served, &["--udp", "--raw", EXIT, "--raw", LEXST1_EXIT_UDP]);
    assert_eq!(both, format!("{GOODBYE}\n{LEXST1_GOODBYE_UDP}\n"));
}

#[test]
fn recorded_streams_get_the_recorded_answers() {
    let served = Served::echo();
    let ended = run(&["send", &served.addr, "--raw", EXIT]);
    assert_eq!((ended.code, ended.out), (Some(0), format!("{GOODBYE_TCP}\n")));
    assert_eq!(ended.err, "fixp: note: the peer closed the connection\n");
    let ended = run(&["send", &served.addr, "--raw", LEXST1_EXIT]);
    assert_eq!((ended.code, ended.out), (Some(0), format!("{LEXST1_GOODBYE}\n")));
    for (requests, answers) in TWO {
        // In how many pieces they come is the network's business.
        let out = raw(&served, &["--raw", requests]);
        assert_eq!(out.replace('\n', ""), answers);
    }
}

#[test]
fn bytes_come_from_files_too() {
    let served = Served::echo();
    let hex = file("raw-exit.hex", format!("{EXIT}\n"));
    let binary = file("raw-exit.bin", crate::common::bytes(EXIT));
    for path in [hex, binary] {
        assert_eq!(raw(&served, &["--udp", "--raw", &path]), format!("{GOODBYE}\n"));
        assert_eq!(raw(&served, &["--udp", "--raw", &format!("@{path}")]), format!("{GOODBYE}\n"));
    }
}

#[test]
fn what_comes_back_is_there_as_json() {
    let served = Served::echo();
    let out = raw(&served, &["--raw", EXIT, "--json"]);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["bytes"]["hex"], GOODBYE_TCP);
    assert_eq!(lines[0]["bytes"]["length"], 33);
    assert!(lines[1]["closed"]["after_ms"].as_f64().is_some_and(|after| after > 0.0), "{out}");
}

#[test]
fn when_nothing_comes_back_it_says_so_by_its_code() {
    let served = Served::echo();
    // Not a packet of any dialect.
    let ended = run(&["send", &served.addr, "--udp", "--raw", "ff00", "--timeout", "0.2"]);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(1), "", ""));
    let ended = run(&["send", &served.addr, "--raw", "ff00"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert_eq!(ended.err, "fixp: note: the peer closed the connection\n");
    let nobody = Nobody::new();
    let ended = run(&["send", &nobody.addr, "--raw", EXIT]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.starts_with(&format!("fixp: {}: ", nobody.addr)), "{}", ended.err);
}

#[test]
fn text_that_is_no_hex_is_refused() {
    run(&["send", "127.0.0.1:1", "--raw", "87zz"])
        .refused(1, "bad-hex at byte 2: 'z' is no hex digit, and there is no file of this name");
    assert_eq!(run(&["send", "127.0.0.1:1", "--raw", "87", "--request", "1/5"]).code, Some(2));
}
