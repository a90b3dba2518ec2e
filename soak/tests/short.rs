//! The short form of the soak: a thousand connections, the same bounds.

use std::process::Command;
use std::time::Instant;

#[test]
fn all_bounds_hold() {
    let began = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_fixp-soak"))
        .args(["--connections", "1000", "--seconds", "1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{said}{errors}took {:.1?}", began.elapsed());
    assert!(output.status.success(), "{said}{errors}");
    // Nothing was left out.
    for phase in 0..6 {
        assert!(said.contains(&format!("\n{phase} ")), "phase {phase}: {said}");
    }
}
