//! The configuration, and the file that explains it.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use fixp_codec::{Decoder, LAXCUS6, LEXST1, Packet, laxcus6};
use fixp_transport::extension::{self, Capabilities};
use fixp_transport::keep::budget::Rates;
use fixp_transport::keep::pieces::PIECE_COST;
use fixp_transport::keep::{Limits, own};
use fixp_transport::server::config::{Config, Key};
use fixp_transport::server::{AllowList, PublicKey, TurnedAway};
use fixp_transport::{Channel, Echo, Handler, Request, Server, handler_fn, udp};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

const EXAMPLE: &str = include_str!("../server.toml");

#[test]
fn the_example_has_the_defaults() {
    assert_eq!(Config::from_toml(EXAMPLE), Ok(Config::default()));
    assert_eq!(Config::from_toml(""), Ok(Config::default()));
    // Nor is anything in it left out by being in a comment.
    let options =
        |text: &str| text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count();
    assert_eq!(options(EXAMPLE), 55);
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
        ipv6_only = true
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
    assert!(config.ipv6_only && !config.extensions);
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
    let server = config.builder(Echo).start().await.unwrap();
    assert_eq!(server.local_addrs().len(), 1);
    assert_eq!(config.dialect, None);
    assert_eq!(config.default_dialect, &LAXCUS6);
}

/// A connection of this peer with a server.
fn connection<H: Handler>(server: &Server<H>, peer: &str) -> Result<DuplexStream, TurnedAway> {
    let (here, there) = duplex(1 << 16);
    let addr = |ip: &str| format!("{ip}:5000").parse().unwrap();
    server.serve_stream(here, addr(peer), addr("10.0.0.9"))?;
    Ok(there)
}

/// What the file says is what the server does: each of these is another than its default.
#[tokio::test]
async fn a_configuration_reaches_its_server() {
    let config = Config::from_toml(
        r#"
        listen = ["127.0.0.1:0"]
        extensions = false
        allow = ["10.0.0.0/8", "127.0.0.1"]
        keep_allow = ["10.0.0.1"]
        [key]
        modulus = "c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5"
        exponent = "3"
        [limits]
        connections = 1
        plain_rate = 1
        plain_burst = 1
        "#,
    );
    let server = config.unwrap().builder(Echo).start().await.unwrap();
    assert_eq!(connection(&server, "192.0.2.1").unwrap_err(), TurnedAway::NotAllowed);
    let mut stream = connection(&server, "10.0.0.1").unwrap();
    assert_eq!(connection(&server, "10.0.0.2").unwrap_err(), TurnedAway::Full);
    let ask = Packet::new(laxcus6::notify::SECURE_QUERY);
    let announcing = ask.clone().with(extension::key::CAPABILITIES, Capabilities::OURS.in_request());
    stream.write_all(&announcing.to_bytes(extension::own(&LAXCUS6)).unwrap()).await.unwrap();
    // The whole of it: a head without an announcement, and the key.
    let mut answer = [0; 17 + 78];
    timeout(Duration::from_secs(20), stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
    let answer = Decoder::new(&LAXCUS6).packet(&answer).unwrap().to_packet().unwrap();
    let key = [&[0xc5; 64][..], &[1, 0, 0, 0, 3]].concat();
    assert!(answer.entity.ends_with(&key), "{:x}", answer.entity);
    // The same over UDP is more than three times what asks for it, and that this host may have by default.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&ask.to_bytes(&LAXCUS6).unwrap(), server.local_addr().unwrap()).await.unwrap();
    let answered = async {
        loop {
            let stats = server.stats();
            if stats.datagrams_sent + stats.datagrams_unsent > 0 {
                break (stats.datagrams_sent, stats.datagrams_unsent);
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(timeout(Duration::from_secs(20), answered).await.expect("in time"), (0, 1));
}

/// All addresses of IPv6 and none of IPv4: another server has those, on the same port.
#[tokio::test]
async fn a_configuration_of_ipv6_alone() {
    let key = PublicKey::new(&[0xff; 64], &[3]).unwrap();
    let v4 = Server::builder(Echo).public_key(key.clone()).bind("127.0.0.1:0".parse().unwrap());
    let v4 = v4.start().await.unwrap();
    let port = v4.local_addr().unwrap().port();
    let text = |only| format!("listen = [\"[::]:{port}\"]\nipv6_only = {only}\n[key]\nbits = 512");
    let started = async |only| Config::from_toml(&text(only)).unwrap().builder(Echo).start().await;
    assert!(started(false).await.is_err(), "it takes IPv4 as well");
    let v6 = started(true).await.unwrap();
    for (server, ip) in [(&v4, "127.0.0.1"), (&v6, "::1")] {
        let to = SocketAddr::new(ip.parse().unwrap(), port);
        let client = udp::Client::builder().build();
        client.request(to, Packet::new(laxcus6::notify::TEST)).await.unwrap();
        let channel = Channel::builder(&LAXCUS6).connect(to).await.unwrap();
        channel.call(Packet::new(laxcus6::notify::TEST)).await.unwrap();
        let stats = server.stats();
        assert_eq!((stats.accepted, stats.datagrams > 0), (1, true), "{ip}");
    }
}

/// 256 KiB at 64 KiB a second, of which the first 64 go at once.
#[tokio::test(start_paused = true)]
async fn the_rate_of_a_configuration_reaches_its_server() {
    for (rate, seconds) in [("64KiB", 3), ("0B", 0)] {
        let text = format!("bulk_rate = \"{rate}\"\n[key]\nmodulus = \"{}\"", "c5".repeat(64));
        let handler = handler_fn(async |request: Request| {
            request.gather(1 << 20).await.unwrap();
            Packet::new(laxcus6::answer::OKAY).into()
        });
        let limits = "\n[limits]\ngather = \"1KiB\"";
        let config = Config::from_toml(&(text + limits)).unwrap();
        let server = config.builder(handler).start().await.unwrap();
        let mut stream = connection(&server, "10.0.0.1").unwrap();
        let begun = Instant::now();
        let log = Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(vec![7; 256 << 10]);
        stream.write_all(&log.to_bytes(&LAXCUS6).unwrap()).await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), seconds, "{rate}");
    }
}

/// What would start and be deaf is told with its line.
#[test]
fn zeros_are_told() {
    for (text, line, limit) in [
        ("[limits]\nrequests_per_connection = 0", Some(2), "requests_per_connection"),
        ("[limits]\n\nconnections = 9\nhead = 0", Some(4), "head"),
        ("limits.idle_time = \"0s\"", Some(1), "idle_time"),
        ("limits = { bytes = 0 }", Some(1), "bytes"),
        ("[limits.keep]\nentity = 5\nbytes = 2\n[limits]\nbytes = 0", Some(5), "bytes"),
        ("[limits]\n# bytes = 0\n\"bytes\" = 0", Some(3), "bytes"),
    ] {
        let error = Config::from_toml(text).unwrap_err();
        assert_eq!(error.line, line, "{text}");
        assert_eq!(error.message, format!("the limit {limit} is 0, so that nothing could be served"));
    }
    // These do mean something: no entities, and every one of them in pieces.
    assert!(Config::from_toml("[limits]\nentity = 0\ngather = 0").is_ok());
}
