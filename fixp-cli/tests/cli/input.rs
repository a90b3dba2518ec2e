//! Where input comes from, and input of every bad sort.

use crate::common::{CASTHELO, CASTHELO_JSON, Ended, bytes, command, ended, file, fixp, fixp_reading, path};

#[track_caller]
fn reads<const N: usize>(args: [&str; N]) {
    assert_eq!(fixp(args).fine(), format!("{CASTHELO_JSON}\n"));
}

#[test]
fn hex_is_read_as_people_paste_it() {
    let spaced: Vec<_> = CASTHELO.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect();
    reads(["decode", "--json", CASTHELO]);
    reads(["decode", "--json", &CASTHELO.to_uppercase()]);
    reads(["decode", "--json", &format!("0x{CASTHELO}")]);
    reads(["decode", "--json", &spaced.join(" ")]);
    reads(["decode", "--json", &spaced.join(":")]);
    reads(["decode", "--json", &spaced.join("\r\n")]);
    reads(["decode", "--json", &CASTHELO[..8], &CASTHELO[8..]]);
}

#[test]
fn files_are_read_raw_or_in_hex() {
    let raw = file("input-raw.bin", bytes(CASTHELO));
    let hex = file("input-hex.txt", format!("{}\n{}\n", &CASTHELO[..20], &CASTHELO[20..]));
    for path in [&raw, &hex] {
        reads(["decode", "--json", path]);
        reads(["decode", "--json", &format!("@{path}")]);
        reads(["decode", "--json", "--file", path]);
    }
    reads(["decode", "--json", "--input", "raw", &raw]);
    reads(["decode", "--json", "--input", "hex", &hex]);
    let forced = fixp(["decode", "--input", "raw", "--dialect", "laxcus6", &hex]);
    forced.refused(1, "bad-tag at byte 0: the tag is 38, not 87 (request) or c7 (answer)");
    fixp(["decode", "--input", "hex", &raw]).refused(1, "bad-hex at byte 0: 0x87 is no hex digit");
}

#[test]
fn standard_input_is_read_raw_or_in_hex() {
    let line = format!("{CASTHELO_JSON}\n");
    assert_eq!(fixp_reading(bytes(CASTHELO), ["decode", "--json", "-"]).fine(), line);
    assert_eq!(fixp_reading(bytes(CASTHELO), ["decode", "--json"]).fine(), line);
    assert_eq!(fixp_reading(CASTHELO, ["decode", "--json", "-"]).fine(), line);
    assert_eq!(fixp_reading(format!("0x{CASTHELO}\n"), ["decode", "--json"]).fine(), line);
}

#[test]
fn a_bare_word_that_names_a_file_is_the_file() {
    // "87" is hex as well.
    let content = path("input-dir");
    std::fs::create_dir_all(&content).expect("a directory");
    std::fs::write(content.join("87"), bytes(CASTHELO)).expect("a file");
    let mut command = command();
    let out = ended(command.current_dir(&content).args(["decode", "--json", "87"]), b"").fine();
    assert_eq!(out, format!("{CASTHELO_JSON}\n"));
}

#[test]
fn bad_hex_is_refused_at_its_byte() {
    let argument = |text: &str, sentence: &str| {
        for command in ["explain", "decode"] {
            fixp([command, text]).refused(1, &format!("{sentence}, and there is no file of this name"));
        }
    };
    argument("870", "bad-hex at byte 2: the last of 3 digits is half a byte");
    argument("87 00 0g", "bad-hex at byte 7: 'g' is no hex digit");
    argument("no-such-file.bin", "bad-hex at byte 0: 'n' is no hex digit");
    argument("87\u{e9}", "bad-hex at byte 2: 0xc3 is no hex digit");
    // A file that looks like hex is held to it.
    fixp_reading("8700 0\n", ["decode"]).refused(1, "bad-hex at byte 5: the last of 5 digits is half a byte");
}

#[test]
fn nothing_is_too_little() {
    for command in ["explain", "decode"] {
        let sentence = "truncated at byte 0: a command needs 7 bytes, 0 are there";
        fixp([command, "--dialect", "laxcus6", ""]).refused(1, sentence);
        fixp_reading("", [command, "--dialect", "laxcus6"]).refused(1, sentence);
    }
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let missing = path("input-missing.bin");
    let missing = missing.to_str().expect("a path");
    for command in ["explain", "decode", "encode"] {
        for refused in [fixp([command, "--file", missing]), fixp([command, &format!("@{missing}")])] {
            assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
            assert!(refused.err.starts_with(&format!("fixp: cannot read {missing}: ")), "{}", refused.err);
            assert_eq!(refused.err.lines().count(), 1);
        }
        let directory = fixp([command, "--file", env!("CARGO_TARGET_TMPDIR")]);
        assert_eq!(directory.code, Some(1));
    }
}

#[test]
fn no_more_is_read_than_is_allowed() {
    let raw = file("input-long.bin", bytes(CASTHELO));
    reads(["decode", "--json", "--max-bytes", "31", &raw]);
    fixp(["decode", "--max-bytes", "30", &raw])
        .refused(1, &format!("limit at byte 30: {raw} is longer (--max-bytes)"));
    let ended = fixp_reading(CASTHELO_JSON, ["encode", "--max-bytes", "100"]);
    ended.refused(1, "limit at byte 100: standard input is longer (--max-bytes)");
    assert_eq!(fixp(["decode", "--max-bytes", "many", &raw]).code, Some(2));
}

#[test]
fn arguments_that_do_not_go_together_are_refused() {
    let wrong = |ended: Ended| {
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
        assert!(!ended.err.is_empty());
    };
    wrong(fixp(["decode", "--file", "a", "87"]));
    wrong(fixp(["decode", "--dialect", "laxcus7", "87"]));
    wrong(fixp(["encode", "--dialect", "auto", "{}"]));
    wrong(fixp(["explain", "--kind", "group", "87"]));
    wrong(fixp(["explain", "--all", "--json", "87"]));
    wrong(fixp(["conformance", "--testee", "x", "--policy", "strict"]));
    wrong(fixp(["conformance", "--testee", ""]));
    wrong(fixp(["conformance", "--testee", "a 'b"]));
    wrong(fixp(["completions", "tcsh"]));
    wrong(fixp(["nonsense"]));
    wrong(fixp([]));
}

#[test]
fn no_cut_and_no_flipped_byte_ends_in_a_panic() {
    let packet = bytes(CASTHELO);
    for at in 0..packet.len() {
        let mut flipped = packet.clone();
        flipped[at] ^= 0xff;
        for input in [&packet[..at], &flipped] {
            for command in ["explain", "decode"] {
                let ended = fixp_reading(input, [command, "--input", "raw", "--dialect", "lexst1"]);
                assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
                assert_eq!(ended.err.lines().count(), usize::from(ended.code == Some(1)), "{ended:?}");
            }
        }
    }
}
