//! docs/TABLES.md is what the tables say.

#[allow(dead_code, reason = "its main is for people")]
#[path = "../examples/tables.rs"]
mod page;

#[test]
fn the_page_is_made_from_the_tables() {
    let written = include_str!("../../docs/TABLES.md");
    assert!(page::tables() == written, "run: cargo run -p fixp-codec --example tables > docs/TABLES.md");
}
