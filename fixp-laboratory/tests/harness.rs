//! The harness: seeds, hangs, failures that say how to see them again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Tested, ip, ms, pair, two};
use fixp_laboratory::Laboratory;
use tokio::io::AsyncReadExt as _;

/// Set for the runs of this file that other tests of it start.
const INNER: &str = "LABORATORY_TEST_INNER";

/// Takes away the captures of runs that were to fail.
fn clean(name: &str) {
    let directory = std::env::var_os("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, Into::into);
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let file = entry.file_name().into_string().unwrap_or_default();
        if file.starts_with(name) && file.ends_with(".pcapng") {
            _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Somebody wants to see one seed, in all tests.
fn seed_is_asked() -> bool {
    std::env::var_os("FIXP_SEED").is_some()
}

#[test]
fn the_name_is_the_seed() {
    if seed_is_asked() {
        return;
    }
    let seed = |name| {
        let mut seed = 0;
        Laboratory::run(name, |lab| {
            seed = lab.seed();
            async {}
        });
        seed
    };
    assert_eq!(seed("one"), seed("one"));
    assert_ne!(seed("one"), seed("two"));
}

#[test]
fn hours_pass_in_a_moment() {
    let start = Instant::now();
    Laboratory::run("hours", |lab| async move {
        lab.set_time_limit(Duration::from_secs(1_000_000));
        tokio::time::sleep(Duration::from_secs(900_000)).await;
        assert_eq!(lab.now(), Duration::from_secs(900_000));
    });
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn many_seeds_until_one_fails() {
    if seed_is_asked() {
        return;
    }
    let mut seeds = Vec::new();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        Laboratory::run_seeds("laboratory-many", 5..100, |lab| {
            seeds.push(lab.seed());
            async move { if lab.seed() == 8 { Err("eight") } else { Ok(()) } }
        });
    }));
    let message = panic.unwrap_err().downcast_ref::<String>().cloned();
    assert_eq!(message.as_deref(), Some("laboratory: laboratory-many failed with seed 8: \"eight\""));
    assert_eq!(seeds, [5, 6, 7, 8]);
    clean("laboratory-many-");
}

#[test]
fn a_hang_is_an_error() {
    let message = |test: fn(Laboratory) -> std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        let panic = catch_unwind(AssertUnwindSafe(|| Laboratory::run("laboratory-hang", test))).unwrap_err();
        panic.downcast_ref::<String>().cloned().unwrap()
    };
    // Nothing is under way, and no timer is set.
    let forever = message(|_| Box::pin(std::future::pending()));
    assert!(forever.contains("3600s of virtual time have passed"), "{forever}");
    // A read without end, and another limit.
    let read = message(|lab| {
        Box::pin(async move {
            lab.set_time_limit(Duration::from_secs(77));
            let (mut client, _server) = pair(&lab).await.unwrap();
            _ = client.read(&mut [0]).await;
        })
    });
    assert!(read.contains("77s of virtual time have passed"), "{read}");
    // Timers that never stop.
    let ticking = message(|_| {
        Box::pin(async {
            loop {
                tokio::time::sleep(ms(1_000)).await;
            }
        })
    });
    assert!(ticking.contains("3600s"), "{ticking}");
    clean("laboratory-hang-");
}

/// Runs one test of this file, which only does something then, with these variables.
fn inner(test: &str, seed: &str) -> String {
    let directory = std::env::temp_dir();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--ignored"]).env(INNER, "1");
    command.env("CARGO_TARGET_TMPDIR", directory).env("FIXP_SEED", seed);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
#[ignore = "fails; started by another test"]
fn fails() {
    if std::env::var_os(INNER).is_some() {
        Laboratory::run("it fails/badly", |lab| async move {
            let (a, b) = two(&lab);
            a.bind(0).unwrap().send_to(b"x", (b.ip(), 1).into()).unwrap();
            tokio::time::sleep(ms(5)).await;
            assert_eq!(lab.now(), ms(4), "as it should");
        });
    }
}

#[test]
#[ignore = "fails; started by another test"]
fn gives_an_error() -> Tested {
    if std::env::var_os(INNER).is_none() {
        return Ok(());
    }
    Laboratory::run("an-error", |lab| async move {
        lab.host(ip(1)).bind(0)?.send_to(b"x", "[::1]:1".parse()?)?;
        Ok(())
    })
}

#[test]
fn a_failure_prints_its_seed_and_leaves_a_capture() {
    let output = inner("fails", "12345");
    let path = std::env::temp_dir().join("it-fails-badly-12345.pcapng");
    let expected = format!("laboratory: seed 12345, capture written to {}\n", path.display());
    assert!(output.contains(&expected), "{output}");
    assert!(output.contains("failed after 5ms (panic); FIXP_SEED=12345 runs it again"), "{output}");
    assert!(output.contains("as it should"), "the panic itself: {output}");
    let capture = std::fs::read(&path).unwrap();
    assert_eq!(capture[..4], [0x0A, 0x0D, 0x0D, 0x0A]);
    assert!(capture.len() > 100);
    std::fs::remove_file(path).unwrap();

    let output = inner("gives_an_error", "3");
    let path = std::env::temp_dir().join("an-error-3.pcapng");
    assert!(output.contains(&format!("seed 3, capture written to {}\n", path.display())), "{output}");
    std::fs::remove_file(path).unwrap();
}
