//! The runner against testees that behave badly in every way we could think of.
//!
//! These tests start real processes, since pipes, exit statuses and time limits are what is tested. Those
//! that wait for a silent testee wait for real, some tenths of a second: a child's silence has no virtual
//! clock.

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{program, runner, scratch, vectors};
use conformance_vectors::exit::Exit;
use conformance_vectors::known::KnownFailures;
use conformance_vectors::report::{Counts, Report};
use conformance_vectors::runner::{Program, RunError, Runner, Target};
use conformance_vectors::select::Select;
use conformance_vectors::verdict::Verdict;

const SHORT: Duration = Duration::from_millis(500);

fn run(runner: &Runner) -> Report {
    runner.run(&vectors()).expect("the testee can be started")
}

/// What failed, as `id: operation: sentence`.
fn failures(report: &Report) -> Vec<String> {
    report.failures().map(|(row, failure)| format!("{}: {failure}", row.id)).collect()
}

/// A testee that behaves badly at `b` fails `b` and nothing else, and the run fails.
fn only_b_fails(runner: &Runner, why: &str) {
    let report = run(runner);
    assert_eq!(failures(&report), [format!("laxcus6/b: {why}")]);
    assert_eq!(report.total(), Counts { passed: 4, failed: 1, ..Counts::default() });
    assert_eq!(report.exit(), Exit::Failed);
}

#[test]
fn an_honest_testee_passes() {
    let report = run(&runner("honest", "say(honest)"));
    assert_eq!(failures(&report), [""; 0]);
    assert_eq!(report.total(), Counts { passed: 5, ..Counts::default() });
    assert_eq!(report.exit(), Exit::Passed);
    assert_eq!((report.testee.implementation.as_str(), report.testee.version.as_str()), ("scripted", "1"));
}

#[test]
fn a_testee_that_dies_fails_one_vector_and_is_started_again() {
    only_b_fails(
        &runner("dead", "if at('b'): sys.exit(7)\nsay(honest)"),
        "testee: the testee ended without an answer (exit status: 7)",
    );
}

#[test]
fn a_mute_testee_fails_one_vector_after_the_time_limit() {
    let began = Instant::now();
    let runner = runner("mute", "if not at('b'): say(honest)").time_limit(SHORT);
    only_b_fails(&runner, "testee: no answer within 500ms");
    assert!(began.elapsed() >= SHORT);
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_wrapper_started_ends_with_it() {
    // A shell that waits for a mute program: killing the shell alone would leave the program behind.
    let mark = format!("9{:07}", std::process::id());
    let script = format!("sleep {mark}; true");
    let started = || {
        let processes = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
        let line = |path: PathBuf| fs::read(path.join("cmdline")).unwrap_or_default();
        processes
            .map(|entry| line(entry.path()))
            .filter(|line| *line == format!("sleep\0{mark}\0").into_bytes())
            .count()
    };
    let runner = Runner::new(Target::Command(Program::new("sh").arg("-c").arg(script))).start_limit(SHORT);
    assert_eq!(runner.run(&vectors()).map_err(|error| error.exit()).err(), Some(Exit::NotRun));
    // A killed process is gone a moment later.
    let patience = Instant::now() + Duration::from_secs(5);
    while started() > 0 && Instant::now() < patience {
        std::thread::yield_now();
    }
    assert_eq!(started(), 0);
}

#[test]
fn the_time_limit_is_for_the_vector_not_for_each_answer() {
    // Two answers, each in time, that together are not.
    let runner = runner("slow", "if at('b'): time.sleep(0.3)\nsay(honest)").time_limit(SHORT);
    only_b_fails(&runner, "testee: no answer within 500ms");
}

#[test]
fn a_testee_that_does_not_read_cannot_block_the_runner() {
    // A request larger than any pipe, to a testee that never reads it.
    let mut vectors = vectors();
    let big = format!("e903ff1f{}", "00".repeat(1 << 20));
    vectors[1].hex = Some(big);
    let text = "say(dict(HELLO, seq=0))\ntime.sleep(5)";
    let report =
        runner("deaf", text).time_limit(SHORT).restarts(0).run(&vectors[1..2]).expect("it says hello");
    assert_eq!(
        failures(&report),
        ["laxcus6/b: testee: given up after 0 restarts in a row; no answer within 500ms"]
    );
}

#[test]
fn answers_out_of_order_fail_the_vector() {
    only_b_fails(
        &runner("disorder", "if at('b'): honest['seq'] += 1\nsay(honest)"),
        "testee: asked with seq 3, answered with seq 4",
    );
    only_b_fails(
        &runner("unnumbered", "if at('b'): del honest['seq']\nsay(honest)"),
        "testee: asked with seq 3, answered without one",
    );
}

#[test]
fn an_answer_too_many_breaks_the_order() {
    let report = run(&runner("twice", "say(honest)\nif at('b') and request['op'] == 'encode': say(honest)"));
    assert_eq!(failures(&report), ["laxcus6/c: testee: asked with seq 5, answered with seq 4"]);
}

#[test]
fn garbage_is_not_an_answer_and_does_not_reach_the_terminal() {
    let report = run(&runner(
        "garbage",
        r"if at('b'): sys.stdout.write('hello \x1b[2J\n')
say(honest)",
    ));
    let failures = failures(&report);
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(
        failures[0].starts_with("laxcus6/b: testee: its line is not an answer (expected value at"),
        "{failures:?}"
    );
    assert!(failures[0].ends_with("hello \\u{1b}[2J"), "{failures:?}");
    assert!(!report.text(false).contains('\x1b'));
}

#[test]
fn bytes_that_are_not_text_are_not_an_answer() {
    let report = run(&runner(
        "bytes",
        r"if at('b'): sys.stdout.buffer.write(b'\xff\xfe\x00\n'); sys.stdout.flush()
else: say(honest)",
    ));
    assert_eq!(report.total(), Counts { passed: 4, failed: 1, ..Counts::default() });
}

#[test]
fn an_endless_line_is_cut_off() {
    only_b_fails(
        &runner("endless", "while at('b'): sys.stdout.write('x' * 4096)\nsay(honest)").line_limit(1 << 16),
        "testee: its line is longer than 65536 bytes",
    );
}

#[test]
fn endless_answers_cannot_flood_the_runner() {
    let began = Instant::now();
    let report = run(&runner("flood", "say(honest)\nwhile at('b'): say(honest)").time_limit(SHORT));
    assert_eq!(failures(&report), ["laxcus6/b: testee: asked with seq 4, answered with seq 3"]);
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_testee_that_does_not_end_is_ended() {
    let began = Instant::now();
    let flood =
        run(&runner("flood-at-end", "say(honest)\nwhile at('e') and request['op'] == 'encode': say(honest)"));
    assert_eq!(flood.exit(), Exit::Passed);
    let stubborn =
        run(&runner("stubborn", "say(honest)\nif at('e') and request['op'] == 'encode': time.sleep(60)"));
    assert_eq!(stubborn.exit(), Exit::Passed);
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_testee_that_lies_in_one_byte_is_told_which() {
    only_b_fails(
        &runner("lie-byte", "if at('b') and 'hex' in honest: honest['hex'] = 'e903015003'\nsay(honest)"),
        "encode: byte 4 (value: 2): expected 02, got 03",
    );
    only_b_fails(
        &runner("lie-value", "if at('b') and 'value' in honest: honest['value']['key'] = 7\nsay(honest)"),
        "decode: key: expected 1001, got 7 (bytes 0..2)",
    );
}

#[test]
fn a_testee_that_takes_what_is_invalid_fails() {
    let report = run(&runner("gullible", "say(dict(seq=request['seq'], value={}) if at('c') else honest)"));
    assert_eq!(failures(&report), ["laxcus6/c: decode: must be refused, but gave {}"]);
}

#[test]
fn a_skip_is_counted_apart() {
    let report = run(&runner(
        "skips",
        "say(dict(seq=request['seq'], skip='no negative numbers') if at('b') else honest)",
    ));
    assert_eq!(report.total(), Counts { passed: 4, skipped: 1, ..Counts::default() });
    assert_eq!(report.skip_reasons(), [("decode: no negative numbers; encode: no negative numbers", 1)]);
    assert_eq!(report.exit(), Exit::Passed);
}

#[test]
fn a_run_of_nothing_fails() {
    let all_skipped = run(&runner("other-dialect", "if hello: honest['dialects'] = ['other']\nsay(honest)"));
    assert_eq!(all_skipped.total(), Counts { skipped: 5, ..Counts::default() });
    assert_eq!(all_skipped.exit(), Exit::Failed);
    let select = Select { ids: vec!["no such id".to_owned()], ..Select::default() };
    let none = run(&runner("nothing", "say(honest)").select(select));
    assert_eq!(none.total(), Counts::default());
    assert_eq!(none.exit(), Exit::Failed);
    assert!(none.text(false).contains("nothing was run"));
}

#[test]
fn a_known_failure_does_not_fail_the_run() {
    let lie = "if at('b'): honest = dict(seq=request['seq'], error='limit')\nsay(honest)";
    let known = KnownFailures::parse("laxcus6/b # we are working on it");
    let report = run(&runner("known", lie).known_failures(known));
    assert_eq!(report.total(), Counts { passed: 4, known: 1, ..Counts::default() });
    assert_eq!(report.exit(), Exit::Passed);
}

#[test]
fn a_known_failure_that_passes_fails_the_run() {
    let known = KnownFailures::parse("laxcus6/b");
    let report = run(&runner("cured", "say(honest)").known_failures(known));
    assert_eq!(failures(&report), ["laxcus6/b: known failure: it passes: take it off the list"]);
    assert_eq!(report.exit(), Exit::Failed);
}

#[test]
fn a_known_failure_that_does_not_exist_stops_the_run() {
    let known = KnownFailures::parse("laxcus6/nothing\nlaxcus6/b");
    // The selection leaves `b` out: it exists all the same.
    let select = Select { ids: vec!["laxcus6/a".to_owned()], ..Select::default() };
    let error = runner("unknown", "say(honest)")
        .known_failures(known)
        .select(select)
        .run(&vectors())
        .expect_err("no such id");
    assert_eq!(error, RunError::UnknownIds(vec!["laxcus6/nothing".to_owned()]));
    assert_eq!(error.exit(), Exit::Usage);
}

#[test]
fn a_testee_that_cannot_be_started_is_not_run() {
    let not_run = |runner: &Runner| {
        let error = runner.run(&vectors()).expect_err("it cannot be started");
        assert_eq!(error.exit(), Exit::NotRun);
        error.to_string()
    };
    let nobody = Target::Command(Program::new("fixp-no-such-program").quiet());
    assert!(not_run(&Runner::new(nobody)).starts_with("the testee could not be started: "));
    assert_eq!(
        not_run(&runner("stillborn", "sys.exit(2)")),
        "the testee ended without an answer (exit status: 2)"
    );
    assert_eq!(not_run(&runner("shy", "time.sleep(5)").start_limit(SHORT)), "no answer within 500ms");
    assert_eq!(
        not_run(&runner("nameless", "del honest['implementation']\nsay(honest)")),
        "the testee could not be started: hello: its answer lacks implementation"
    );
}

#[test]
fn a_testee_that_always_dies_is_given_up() {
    let starts = scratch("starts");
    let script = format!("open({starts:?}, 'a').write('x')\nif not hello: sys.exit(1)\nsay(honest)");
    let report = run(&runner("always-dead", &script).restarts(2));
    // The first start and two restarts, each of which said hello and was then asked once.
    assert_eq!(fs::read_to_string(&starts).expect("it was started").len(), 6);
    assert_eq!(report.total(), Counts { failed: 5, ..Counts::default() });
    assert_eq!(report.exit(), Exit::Failed);
    let failures = failures(&report);
    assert_eq!(failures[1], "laxcus6/b: testee: the testee ended without an answer (exit status: 1)");
    assert!(
        failures[4].starts_with("laxcus6/e: testee: given up after 2 restarts in a row; "),
        "{failures:?}"
    );
}

#[test]
fn restarts_count_only_in_a_row() {
    // It dies at every second vector.
    let report =
        run(&runner("often-dead", "if at('a') or at('c') or at('e'): sys.exit(1)\nsay(honest)").restarts(1));
    assert_eq!(report.total(), Counts { passed: 2, failed: 3, ..Counts::default() });
    assert!(failures(&report).iter().all(|failure| !failure.contains("given up")));
}

#[test]
fn a_selection_runs_what_it_names() {
    let select = Select { ids: vec!["*/d".to_owned()], ..Select::default() };
    let report = run(&runner("selection", "say(honest)").select(select));
    assert_eq!(report.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["laxcus6/d"]);
    assert!(matches!(report.rows[0].verdict, Verdict::Passed { .. }));
}

#[test]
fn the_testee_ends_with_its_input() {
    // What it writes at the end of its input is there when the run is over: it was waited for, not killed.
    let ended = scratch("ended");
    let path = scratch("polite.py");
    let script = format!(
        "import json, sys\nfor line in sys.stdin:\n    print(json.dumps(dict(seq=json.loads(line)['seq'], implementation='x', dialects=[], ops=[])), flush=True)\nopen({ended:?}, 'w').write('bye')\n"
    );
    fs::write(&path, script).expect("the test's own directory can be written to");
    let program = Program::new("python3").arg(path).quiet();
    Runner::new(Target::Command(program)).run(&vectors()).expect("it says hello");
    assert_eq!(fs::read_to_string(ended).expect("it ended by itself"), "bye");
}

#[test]
fn the_program_gets_its_arguments() {
    let program = program("arguments", "if hello: honest['version'] = ' '.join(sys.argv[1:])\nsay(honest)");
    let report = run(&Runner::new(Target::Command(program.args(["--policy", "strict"]))));
    assert_eq!(report.testee.version, "--policy strict");
}
