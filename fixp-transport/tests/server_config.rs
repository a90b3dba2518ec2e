//! The configuration, and the file that explains it.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fixp_codec::{LAXCUS6, LEXST1};
use fixp_transport::keep::budget::Rates;
use fixp_transport::keep::pieces::PIECE_COST;
use fixp_transport::keep::{Limits, own};
use fixp_transport::server::config::{Config, Key};
use fixp_transport::server::{AllowList, PublicKey};

const EXAMPLE: &str = include_str!("../server.toml");

#[test]
fn the_example_has_the_defaults() {
    assert_eq!(Config::from_toml(EXAMPLE), Ok(Config::default()));
    assert_eq!(Config::from_toml(""), Ok(Config::default()));
    // Nor is anything in it left out by being in a comment.
    let options =
        |text: &str| text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count();
    assert_eq!(options(EXAMPLE), 54);
}

/// What things cost is said as it is booked.
#[test]
fn the_example_has_the_costs() {
    for (option, cost) in [
        ("keep_associations", own::Config::ASSOCIATION_COST),
        ("keep_half_open", own::Config::HALF_OPEN_COST),
        ("keep_exchanges", own::Config::EXCHANGE_COST),
        ("exchanges", Limits::EXCHANGE_COST),
    ] {
        let (before, _) = EXAMPLE.split_once(&format!("\n{option} = ")).unwrap();
        let (_, comment) = before.rsplit_once("\n\n").unwrap();
        assert!(
            comment.replace("\n# ", " ").contains(&format!("Each costs {cost} bytes")),
            "{option}: {comment}"
        );
    }
    assert!(EXAMPLE.contains(&format!("on its way {}, and {PIECE_COST} for each piece", Limits::GROUP_COST)));
}

/// An unknown option names the known ones: each of those is in the example, in its section.
#[test]
fn the_example_has_every_option() {
    let mut section = "";
    let mut explained = Vec::new();
    for line in EXAMPLE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            explained.push(section.to_owned());
        } else if let Some((name, _)) = line.trim_start_matches("# ").split_once(" = ") {
            explained.push(if section.is_empty() { name.into() } else { format!("{section}.{name}") });
        }
    }
    let mut known = Vec::new();
    for section in ["", "key", "shutdown", "limits", "limits.keep", "limits.keep_budget"] {
        let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        let error = Config::from_toml(&format!("{header}nonsense = 1")).unwrap_err();
        for name in error.message.split('`').skip(3).step_by(2) {
            known.push(if section.is_empty() { name.into() } else { format!("{section}.{name}") });
        }
    }
    assert!(known.len() >= 30, "{known:?}");
    explained.sort();
    known.sort();
    assert_eq!(explained, known);
}

#[test]
fn every_option_is_read() {
    let config = Config::from_toml(
        r#"
        listen = ["127.0.0.1:5000", "[::1]:0"]
        dialect = "lexst1"
        default_dialect = "lexst1"
        extensions = false
        bulk_rate = "2MiB"
        allow = ["10.0.0.0/8", "10.0.0.1-10.0.0.9"]
        keep_allow = ["10.0.0.9"]
        [key]
        bits = 2048
        [shutdown]
        own_addresses = false
        allow = ["10.0.0.1"]
        deadline = "2min"
        [limits]
        connections = 1
        head = 4096
        entity = "3GiB"
        gather = "1MiB"
        idle_time = "2h"
        head_time = "1500ms"
        keep_pace = 5000000
        [limits.keep]
        pieces = 100
        bytes = "1MiB"
        settle = "0s"
        [limits.keep_budget]
        burst = "1MiB"
        "#,
    )
    .unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!((config.dialect, config.default_dialect), (Some(&LEXST1), &LEXST1));
    assert!(!config.extensions);
    assert_eq!(config.bulk_rate, 2 << 20);
    assert_eq!(config.allow, "10.0.0.0/8".parse::<AllowList>().unwrap());
    assert_eq!(config.key, Key::Made { bits: 2048 });
    assert_eq!(config.shutdown.deadline, Duration::from_secs(120));
    assert_eq!((config.limits.connections, config.limits.head), (1, 4096));
    assert_eq!((config.limits.entity, config.limits.gather), (3 << 30, 1 << 20));
    assert_eq!(config.limits.idle_time, Duration::from_secs(7200));
    assert_eq!(config.limits.head_time, Duration::from_millis(1500));
    assert_eq!(config.limits.datagrams, 4096);
    assert_eq!((config.limits.keep.pieces, config.limits.keep.bytes), (100, 1 << 20));
    assert_eq!((config.limits.keep.settle, config.limits.keep.retries), (Duration::ZERO, 10));
    assert_eq!(config.limits.keep_budget, Rates { burst: 1 << 20, ..Rates::default() });
    assert_eq!(config.limits.keep_pace, 5_000_000);
    assert_eq!(config.keep_allow, "10.0.0.9".parse::<AllowList>().unwrap());
}

#[test]
fn a_given_key() {
    let modulus = "f".repeat(256);
    let config = Config::from_toml(&format!("[key]\nmodulus = \"{modulus}\"\nexponent = \"3\"")).unwrap();
    assert_eq!(config.key, Key::Given(PublicKey::new(&[0xff; 128], &[3]).unwrap()));
    let config = Config::from_toml(&format!("[key]\nmodulus = \"{modulus}\"")).unwrap();
    assert_eq!(config.key, Key::Given(PublicKey::new(&[0xff; 128], &[1, 0, 1]).unwrap()));
}

#[test]
fn what_is_wrong_has_a_line() {
    for (text, line, part) in [
        ("\n\nlisten = 5", 3, "invalid type"),
        ("listen = [\"127.0.0.1\"]", 1, "socket address"),
        ("# one\ndialect = \"fix\"", 2, "\"fix\""),
        ("default_dialect = \"told\"", 1, "\"told\""),
        ("allow = [\"10.0.0.0/40\"]", 1, "10.0.0.0/40"),
        ("[limits]\nhead = \"64KB\"", 2, "size"),
        ("[limits]\nhead = -1", 2, "size"),
        ("[limits]\nbytes = \"99999999999GiB\"", 2, "size"),
        ("[limits]\nidle_time = 10", 2, "expected a string"),
        ("[limits]\nidle_time = \"10\"", 2, "\"10\""),
        ("[limits]\nidle_time = \"-10s\"", 2, "-10s"),
        ("[limits]\nidle = \"10s\"", 2, "unknown field"),
        ("[key]\nbits = 100", 1, "100 bits"),
        ("[key]\nmodulus = \"xyz\"", 1, "xyz"),
        ("[key]\nbits = 512\nmodulus = \"ff\"", 1, "made of"),
        ("[key]\nexponent = \"3\"", 1, "made of"),
        ("a = [", 1, ""),
    ] {
        let error = Config::from_toml(text).unwrap_err();
        assert_eq!(error.line, Some(line), "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
        assert!(error.to_string().starts_with("line "), "{error}");
    }
}

#[tokio::test]
async fn a_server_of_a_configuration() {
    let config = Config::from_toml("listen = [\"127.0.0.1:0\"]\n[key]\nbits = 512").unwrap();
    let server = config.builder(fixp_transport::Echo).start().await.unwrap();
    assert_eq!(server.local_addrs().len(), 1);
    assert_eq!(config.dialect, None);
    assert_eq!(config.default_dialect, &LAXCUS6);
}

/// What would start and be deaf is told with its line.
#[test]
fn zeros_are_told() {
    for (text, line, limit) in [
        ("[limits]\nrequests_per_connection = 0", Some(2), "requests_per_connection"),
        ("[limits]\n\nconnections = 9\nhead = 0", Some(4), "head"),
        ("limits.idle_time = \"0s\"", Some(1), "idle_time"),
        ("limits = { bytes = 0 }", None, "bytes"),
    ] {
        let error = Config::from_toml(text).unwrap_err();
        assert_eq!(error.line, line, "{text}");
        assert_eq!(error.message, format!("the limit {limit} is 0, so that nothing could be served"));
    }
    // These do mean something: no entities, and every one of them in pieces.
    assert!(Config::from_toml("[limits]\nentity = 0\ngather = 0").is_ok());
}
