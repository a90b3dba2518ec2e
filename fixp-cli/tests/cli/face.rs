//! Help, version, completions, colours, closed pipes.

use std::io::Read;
use std::process::Stdio;

use crate::common::{CASTHELO, CASTHELO_JSON, command, ended, file, fixp};

const COMMANDS: [&str; 14] = [
    "explain",
    "decode",
    "encode",
    "serve",
    "send",
    "ping",
    "load",
    "list",
    "describe",
    "call",
    "conformance",
    "testee",
    "dialects",
    "completions",
];

#[test]
fn everything_has_help_with_examples() {
    let help = fixp(["--help"]).fine();
    for name in COMMANDS {
        assert!(help.contains(&format!("\n  {name} ")), "{name}: {help}");
        let help = fixp([name, "--help"]).fine();
        assert!(help.contains("Usage: fixp ") && help.contains("Examples:\n  "), "{help}");
        // Nothing needs a wide terminal.
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert_eq!(fixp(["help", name]).fine(), help);
        assert_eq!(fixp([name, "-h"]).fine(), help);
    }
    assert!(help.contains("Exit codes:"));
}

#[test]
fn it_tells_its_version() {
    assert_eq!(fixp(["--version"]).fine(), format!("fixp {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn each_shell_has_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = fixp(["completions", shell]).fine();
        for name in COMMANDS {
            assert!(script.contains(name), "{shell} {name}");
        }
    }
}

/// A run of everything that prints.
const PRINTING: [&[&str]; 12] = [
    &["explain", CASTHELO],
    &["explain", "8700"],
    &["explain", "--json", "8700"],
    &["decode", CASTHELO],
    &["decode", "8700"],
    &["encode", CASTHELO_JSON],
    &["encode", "{"],
    &["dialects"],
    &["dialects", "lexst1"],
    &["conformance", "--filter", "NOTIFY_HELO"],
    &["conformance", "--show", "laxcus6/command/cmd-req-NOTIFY_HELO"],
    &["--help"],
];

#[test]
fn there_are_no_colours_in_a_pipe() {
    for args in PRINTING {
        let ended = ended(command().args(args), b"");
        assert!(!ended.out.contains('\x1b') && !ended.err.contains('\x1b'), "{args:?}: {ended:?}");
    }
}

#[test]
fn colours_come_when_asked_for() {
    let colored = |args: &[&str], variables: &[(&str, &str)]| {
        let ended = ended(command().args(args).envs(variables.iter().copied()), b"");
        [ended.out.contains('\x1b'), ended.err.contains('\x1b')]
    };
    let force = ("CLICOLOR_FORCE", "1");
    assert_eq!(colored(&["explain", "8700", "--color", "always"], &[]), [true, true]);
    assert_eq!(colored(&["explain", "8700"], &[force]), [true, true]);
    assert_eq!(colored(&["explain", "8700"], &[force, ("NO_COLOR", "1")]), [false, false]);
    assert_eq!(colored(&["explain", "8700", "--color", "never"], &[force]), [false, false]);
    assert_eq!(colored(&["dialects", "--color", "always"], &[]), [true, false]);
    assert_eq!(colored(&["conformance", "--filter", "NOTIFY_HELO", "--color", "always"], &[]), [true, false]);
    // What programs read has none even then.
    for args in
        [&["explain", "--json", CASTHELO], &["decode", "--json", CASTHELO], &["dialects", "--json", "lexst1"]]
    {
        assert_eq!(colored(args, &[force]), [false, false], "{args:?}");
    }
    assert_eq!(colored(&["decode", CASTHELO], &[force]), [false, false]);
    assert_eq!(colored(&["encode", CASTHELO_JSON], &[force]), [false, false]);
}

#[test]
fn colours_change_nothing_else() {
    let plain = fixp(["explain", CASTHELO]).fine();
    let mut colored = fixp(["explain", "--color", "always", CASTHELO]).fine();
    for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[36m"] {
        colored = colored.replace(code, "");
    }
    assert_eq!(colored, plain);
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    // More than a pipe holds.
    let hex = file("face-many.hex", CASTHELO.repeat(20_000));
    let json = file("face-many.jsonl", CASTHELO_JSON.repeat(20_000));
    for args in [
        &["decode", &hex, "--json"][..],
        &["explain", &hex, "--all"],
        &["encode", &json],
        &["conformance", "--list", "--json"],
        &["conformance", "--json"],
    ] {
        let mut child = command()
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut first = [0; 10];
        let mut out = child.stdout.take().expect("a pipe");
        out.read_exact(&mut first).expect("something is printed");
        drop(out);
        let output = child.wait_with_output().expect("the command ends");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{args:?}");
    }
}
