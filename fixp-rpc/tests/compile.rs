//! What [`service`](macro@fixp_rpc::service) says of what is no interface, at its author's line.
//!
//! `TRYBUILD=overwrite cargo test -p fixp-rpc --all-features --test compile` writes what is expected anew.

use std::process::Command;

/// The compiler whose words stand in `by_rustc_*.stderr`: others say the same otherwise. It names our types as long
/// as it must, so with all features.
const COMPILER: &str = concat!("rustc ", env!("CARGO_PKG_RUST_VERSION"), ".");

#[test]
fn errors_point_at_their_cause() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile_pass/*.rs");
    cases.compile_fail("tests/compile_fail/by_us_*.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().expect("rustc runs").stdout;
    let all_features = cfg!(all(feature = "tower", feature = "lexst1", feature = "laxcus6"));
    if all_features && version.starts_with(COMPILER.as_bytes()) {
        cases.compile_fail("tests/compile_fail/by_rustc_*.rs");
    } else {
        println!("by_rustc_*.rs: left out, for they are of {COMPILER} with all features");
    }
}
