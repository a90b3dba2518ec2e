//! `fixp load`: what can be seen of it in a debug build. What it measures is tested beside it.

use crate::served::{Nobody, run};

#[test]
fn a_debug_build_is_refused() {
    if !cfg!(debug_assertions) {
        return;
    }
    let nobody = Nobody::new();
    run(&["load", &nobody.addr])
        .refused(2, "a debug build measures only itself: build fixp with --release for load");
}

#[test]
fn it_sends_to_nobody_by_itself() {
    let ended = run(&["load"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""));
    assert!(ended.err.contains("<ADDR>"), "{}", ended.err);
    for wrong in [&["--connections", "0"][..], &["--depth", "2000"], &["--time", "0"], &["--size", "x"]] {
        assert_eq!(run(&[&["load", "127.0.0.1:1"], wrong].concat()).code, Some(2));
    }
}
