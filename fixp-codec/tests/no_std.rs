//! Links and runs `tests/no-std`: the codec without std, in a program whose allocator always fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

#[test]
fn a_program_without_std_and_without_memory() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/no-std");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-std");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(program.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        // What instruments the tests (coverage, sanitizers) does not link without std.
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo runs");
    assert!(built.success(), "a program without std does not link");
    let ran = Command::new(target.join("release/fixp-without-std")).status().expect("the program runs");
    assert_eq!(ran.code(), Some(0), "the number of the check that failed");
}
