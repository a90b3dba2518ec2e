//! The bytes that docs/SPEC.md shows in its sections 9, 10 and 11 are those of the wire, and the numbers of its
//! section 9 those of the constants.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::extension::{self, Capabilities, key};
use fixp_transport::server::DialectChoice;
use fixp_transport::{Body, Channel, Echo, Server, tables};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const LEXST1_GREETING: &str = "c70001d0070200 00f002000106 0604016000";
const LEXST1_GREETING_ANSWERED: &str = "c70001d0070200 00f002000107 0604016000";
const LAXCUS6_GREETING: &str = "87000115010200 00f002100106 fc03015000";
const LAXCUS6_QUERY: &str = "87000115010100 fc03015000";

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex.replace(' ', "")).unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("in time")
}

async fn gets(stream: &mut TcpStream, hex: &str) {
    let mut came = vec![0; bytes(hex).len()];
    within(stream.read_exact(&mut came)).await.unwrap();
    assert_eq!(came, bytes(hex));
}

/// The next packet, which ends with CONTENT_LENGTH.
async fn packet(stream: &mut TcpStream, dialect: &'static Dialect) -> Packet {
    let mut came = Vec::new();
    loop {
        came.push(within(stream.read_u8()).await.unwrap());
        if let Ok(packet) = Decoder::new(extension::own(dialect)).packet(&came)
            && packet.first(dialect.content_length_key()).is_some()
        {
            return packet.to_packet().unwrap();
        }
    }
}

fn keys(packet: &Packet) -> Vec<u16> {
    packet.messages.iter().map(|message| message.key).collect()
}

/// SECURE_NOTIFY of mode none, with an announcement or without.
fn notify(announcing: bool) -> Vec<u8> {
    let notify = Packet::new(laxcus6::answer::SECURE_NOTIFY).with_entity(vec![0; 4]);
    let notify =
        if announcing { notify.with(key::CAPABILITIES, Capabilities::OURS.in_answer()) } else { notify };
    notify.to_bytes(&LAXCUS6).unwrap().to_vec()
}

fn log(dialect: &Dialect) -> Packet {
    Packet::new(if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG })
}

/// SPEC 10.2, 10.5: the greetings, and the first requests of an ordered channel.
#[tokio::test]
async fn an_ordered_channel_begins() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let channel = Channel::builder(dialect).ordered();
        let channel = channel.open(fixp_transport::socket::TcpConnector::new(listener.local_addr().unwrap()));
        let call = tokio::spawn({
            let channel = channel.clone();
            async move { channel.call(log(dialect)).await }
        });
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        if dialect.name() == "lexst1" {
            gets(&mut stream, LEXST1_GREETING).await;
            stream.write_all(&bytes(LEXST1_GREETING_ANSWERED)).await.unwrap();
        } else {
            gets(&mut stream, LAXCUS6_GREETING).await;
            stream.write_all(&notify(true)).await.unwrap();
        }
        let opening = packet(&mut stream, dialect).await;
        assert_eq!(opening.code, extension::PING);
        let place = [key::SERIAL, key::PREDECESSOR, key::CHANNEL, key::ANSWERED, key::DEADLINE];
        assert_eq!(keys(&opening)[..5], place);
        assert_eq!(opening.first(key::SERIAL).unwrap().as_i64(), Some(1));
        assert_eq!(opening.first(key::PREDECESSOR).unwrap().as_i64(), Some(0));
        assert_eq!(opening.first(key::CHANNEL).unwrap().as_raw().unwrap().len(), 16);
        // Nothing follows before its answer.
        assert!(timeout(Duration::from_millis(50), stream.read_u8()).await.is_err());
        let okay = Packet::new(tables::of(dialect).okay).with(key::SERIAL, 1_i64);
        stream.write_all(&okay.to_bytes(dialect).unwrap()).await.unwrap();
        let request = packet(&mut stream, dialect).await;
        assert_eq!(request.code, log(dialect).code);
        for (key, number) in [(key::SERIAL, 2), (key::PREDECESSOR, 1), (key::ANSWERED, 1)] {
            assert_eq!(request.first(key).unwrap().as_i64(), Some(number));
        }
        assert_eq!(request.first(key::CHANNEL), opening.first(key::CHANNEL));
        let answer = Packet::new(tables::of(dialect).okay).with(key::SERIAL, 2_i64);
        stream.write_all(&answer.to_bytes(dialect).unwrap()).await.unwrap();
        let answer = within(call).await.unwrap().unwrap();
        // Nothing of ours is left in it.
        assert_eq!(keys(&answer), [dialect.content_length_key()]);
    }
}

/// SPEC 10.1, 10.2: what a client of ours says to a peer of another make, and what a server of ours does not.
#[tokio::test]
async fn nothing_of_ours_goes_to_another_make() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let call = tokio::spawn(async move {
        let channel = Channel::builder(&LAXCUS6).connect(to).await.unwrap();
        channel.call(log(&LAXCUS6)).await.unwrap();
    });
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    gets(&mut stream, LAXCUS6_GREETING).await;
    // An echo of our announcement is none.
    let mut echo = Packet::new(laxcus6::answer::SECURE_NOTIFY).with_entity(vec![0; 4]);
    echo = echo.with(key::CAPABILITIES, Capabilities::OURS.in_request());
    stream.write_all(&echo.to_bytes(&LAXCUS6).unwrap()).await.unwrap();
    gets(&mut stream, "87000133010100 fc03015000").await;
    stream.write_all(&bytes("c70001f2030100 fc03015000")).await.unwrap();
    within(call).await.unwrap();

    let server = Server::builder(Echo).dialect(DialectChoice::Fixed(&LAXCUS6));
    let server = server.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    for broken in ["00f0011001", "00f002100006", "00f002100107", "00f002300106", "00f002400106"] {
        let mut stream = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
        let request = format!("87000133010300 {broken} 01f0016005 fc03015000");
        stream.write_all(&bytes(&request)).await.unwrap();
        gets(&mut stream, "c70001f2030100 fc03015000").await;
        // PING from such a peer ends the connection.
        stream.write_all(&bytes("87000101460100 fc03015000")).await.unwrap();
        assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0, "{broken}");
    }
}

/// SPEC 10.3, 10.6, 10.7, 10.8 over TCP, and what of a place that cannot be read (10.5).
#[tokio::test]
async fn requests_of_our_own_over_tcp() {
    let server = Server::builder(Echo).dialect(DialectChoice::Fixed(&LAXCUS6));
    let server = server.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    let connect = || async {
        let mut stream = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
        stream.write_all(&bytes("c70001f2030200 00f002100106 fc03015000")).await.unwrap();
        gets(&mut stream, "c70001f2030200 00f002100107 fc03015000").await;
        stream
    };
    let mut stream = connect().await;
    // PING, serial -1; CANCEL of a serial that is not known; a request of no time; a gap; an unknown channel.
    for (sends, answer) in [
        (
            "87000101460200 01f00860ffffffffffffffff fc03015000",
            "c70001f2030200 01f00860ffffffffffffffff fc03015000",
        ),
        (
            "87000102460200 01f0016063 fc03015000 87000133010200 01f0016007 fc03015000",
            "c70001f2030200 01f0016007 fc03015000",
        ),
        (
            "87000133010300 01f0016007 04f0015000 fc03015000",
            "c70001d0070300 06f0014005 01f0016007 fc03015000",
        ),
        (
            "87000133010400 01f0016002 02f0016001 03f01010000102030405060708090a0b0c0d0e0f fc03015000",
            "c70001d0070300 06f0014002 01f0016002 fc03015000",
        ),
        (
            "87000101460400 01f0016001 02f0016000 03f01010000102030405060708090a0b0c0d0e0f fc03015000",
            "c70001f2030200 01f0016001 fc03015000",
        ),
        (
            "87000133010400 01f0016003 02f0016002 03f01010000102030405060708090a0b0c0d0e0f fc03015000",
            "c70001d0070300 06f0014001 01f0016003 fc03015000",
        ),
    ] {
        stream.write_all(&bytes(sends)).await.unwrap();
        gets(&mut stream, answer).await;
    }
    // A place that cannot be read; CANCEL without a serial.
    for ends in [
        "87000133010400 01f0016002 02f0016001 03f001100f fc03015000",
        "87000133010300 01f0016002 03f01010000102030405060708090a0b0c0d0e0f fc03015000",
        "87000102460100 fc03015000",
    ] {
        let mut stream = connect().await;
        stream.write_all(&bytes(ends)).await.unwrap();
        assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0, "{ends}");
    }
}

/// SPEC 10.9
#[tokio::test]
async fn a_bulk_transfer_carries_nothing_of_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let channel = Channel::builder(&LAXCUS6);
    let channel = channel.open(fixp_transport::socket::TcpConnector::new(listener.local_addr().unwrap()));
    let transfer =
        tokio::spawn(async move { channel.transfer(log(&LAXCUS6), Body::from_bytes("bulk")).await });
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    gets(&mut stream, LAXCUS6_QUERY).await;
    stream.write_all(&notify(false)).await.unwrap();
    gets(&mut stream, "87000133010100 fc03015004 62756c6b").await;
    stream.write_all(&bytes("c70001f2030100 fc03015000")).await.unwrap();
    assert_eq!(within(transfer).await.unwrap().unwrap().packet.code, laxcus6::answer::OKAY);
}

/// SPEC 11.3, 11.5, 11.6, 11.8, 11.16: the hex of section 11 that is spoken over TCP.
#[tokio::test]
async fn conversations_over_tcp() {
    for (dialect, lines) in [
        (
            &LAXCUS6,
            &[
                ("87000105010100 fc03015000", None),
                ("87000104010100 fc03015000", Some("c70001d1070200 e8030630736f72727921 fc03015000")),
            ][..],
        ),
        (
            &LAXCUS6,
            &[(
                "87000102010100 fc03015000",
                Some("c70001f5030200 e803113073656520796f75206e6578742074696d65 fc03015000"),
            )],
        ),
        (
            &LEXST1,
            &[
                ("87000104090100 0604016000", Some("c70001a20f0200 e8030610736f72727921 0604016000")),
                (
                    "87000103020100 0604016000",
                    Some("c70001d0070200 e803111073656520796f75206e6578742074696d65 0604016000"),
                ),
            ],
        ),
        (&LEXST1, &[("870001030b0100 0604016000", Some("c70001cc0b0200 e803061068656c6c6f21 0604016000"))]),
        // SECURE_CREATE: no word.
        (&LAXCUS6, &[("87000116010100 fc03015000", Some(""))]),
    ] {
        let server =
            Server::builder(fixp_transport::Nobody).dialect(DialectChoice::Told { default: dialect });
        let server = server.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        let mut stream = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
        for (sends, answer) in lines {
            stream.write_all(&bytes(sends)).await.unwrap();
            match answer {
                Some(answer) => gets(&mut stream, answer).await,
                // The answer to TEST has our port in it.
                None => drop(packet(&mut stream, dialect).await),
            }
        }
        assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0, "closed behind the last one");
    }
}

/// Whether the document shows these bytes, however it groups them.
fn shows(section: &str, shown: &[u8]) -> bool {
    let text: String = section.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_lowercase();
    text.contains(&hex::encode(shown))
}

/// The section with this number.
fn section(number: &str) -> String {
    let text = include_str!("../../docs/SPEC.md");
    let begin = text.find(&format!("\n## {number}. ")).unwrap();
    let end = text[begin + 1..].find("\n## ").map_or(text.len(), |at| begin + 1 + at);
    text[begin..end].to_owned()
}

/// SPEC 9.2, 9.5, 9.6, 9.7: the hex of section 9.
#[test]
fn the_packets_of_keep_udp() {
    use fixp_transport::keep::control;
    use fixp_transport::keep::pieces::{Form, Pieces};

    let section = section("9");
    for (dialect, serials) in [(&LAXCUS6, &[0, 2][..]), (&LEXST1, &[2])] {
        let pieces =
            Pieces::cut(dialect, log(dialect).with_entity(vec![7; 1440]), Form::of_request(dialect, 1));
        let piece = pieces.unwrap().datagram(0).unwrap();
        assert!(shows(&section, &piece[..piece.len() - 480]), "{}", hex::encode(piece));
        let retry = control::retry(dialect, None, 1, serials).unwrap();
        assert!(shows(&section, &retry), "{}", hex::encode(retry));
        let cancel = control::cancel(dialect, None, 1).unwrap();
        assert!(shows(&section, &cancel), "{}", hex::encode(cancel));
        // The words stand there as words.
        let found = dialect.name() == "laxcus6";
        let answer = control::cancelled(dialect, None, found).unwrap();
        assert!(shows(&section, &answer[..11]), "{}", hex::encode(&answer));
        let text = fixp_transport::keep::table::of(dialect).cancel_text;
        assert_eq!(answer[11..11 + text.len()], *text.as_bytes());
        assert!(section.contains(&format!("{text:?}")));
    }
    let accepted = control::accepted(&LAXCUS6, 1).unwrap().unwrap();
    assert!(shows(&section, &accepted), "{}", hex::encode(accepted));
}

/// SPEC 9.5, 9.8, 9.9, 9.11, 9.12, 9.13: the numbers of section 9.
#[test]
fn the_numbers_of_keep_udp() {
    use fixp_transport::keep::budget::Rates;
    use fixp_transport::keep::pace::Pace;
    use fixp_transport::keep::{Limits, requester, responder};

    let section = section("9");
    let second = Duration::from_secs(1);
    let limits = Limits::default();
    let mebi = 1 << 20;
    for (number, text) in [
        (u64::from(limits.pieces), "Pieces of a packet 65536"),
        (65536, "65536"),
        (limits.entity as u64 / mebi, "entity 16 MiB"),
        (limits.exchanges as u64, "exchanges 65536 that are remembered"),
        (limits.exchanges_per_peer as u64, ", 8 under way for an address and port"),
        (limits.bytes as u64 / mebi, "everything held 64 MiB"),
        (limits.idle.as_secs(), "forgotten after 60 s of silence"),
        (limits.lifetime.as_secs() / 60, "or 10 minutes"),
        (limits.hold.as_secs(), "and holds it for 60 s"),
        (limits.tombstone.as_secs(), "for 60 s after that and after each copy"),
        (limits.settle.as_secs(), "For 1 s its identity is passed over"),
        (Rates::BURST / mebi, "is bounded, in each dialect, by 2 MiB"),
        (Rates::RATE / 1024, "and 256 KiB a second"),
        (Rates::SIGN_BURST / mebi, "at most 8 MiB"),
        (Rates::SIGN_RATE / mebi, "and 4 MiB a second"),
        (Rates::PREFIXES as u64, "16384 prefixes"),
        (Pace::BURST / 1024, "a burst of 64 KiB"),
        (Pace::RATE / 1_000_000, "at 125 MB a second"),
        (Pace::START / 1_000_000, "with 10 MB a second"),
        (Pace::PROBE.as_millis() as u64, "what leaves in 100 ms"),
        (Pace::LONG / 1024, "in packets of 256 KiB"),
        (Pace::AGAIN.as_secs(), "until 60 s later"),
        (Pace::LEAST / 1_000_000, "no less than 1 MB"),
        (Pace::LOSS.as_millis() as u64, "once in 100 ms"),
        (responder::Config::TAIL.as_secs(), "behind the last piece after 1 s"),
        (requester::Config::TAIL.as_secs(), "its last piece once more after 1 s"),
    ] {
        assert!(section.contains(text), "{text}");
        let said = text.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty()).unwrap();
        assert_eq!(said, number.to_string(), "{text}");
    }
    // Those in words.
    assert!(section.contains("ten times at most") && limits.retries == 10);
    assert!(section.contains("sixteen times in all at most") && limits.sendings == 16);
    assert!(section.contains("says it five times at most") && requester::Config::CANCELS == 5);
    assert!(section.contains("request again, five times at most") && requester::Config::CURES == 5);
    assert!(section.contains("after 1, 2, 4, 8 and 16 s") && responder::Config::AGAINS == 5);
    assert_eq!((responder::Config::AGAIN, responder::Config::SPACING), (second, second / 2));
    assert!(section.contains("after 0.2 s of silence") && requester::Config::SOON == second / 5);
    assert!(section.contains("twice a second at most"));
    assert!(section.contains("doubles after each second") && Pace::GROW == second);
}

/// Every rule of section 9 that is about the exchange is named in the sources, and in the tests.
#[test]
fn rules_of_keep_udp_are_cited() {
    fn texts(folder: &std::path::Path, all: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                texts(&path, all);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let section = section("9");
    let rules: Vec<&str> =
        section.lines().filter_map(|line| line.strip_prefix("**")?.split("**").next()).collect();
    assert_eq!(rules.len(), 14);
    for folder in ["src/keep", "tests"] {
        let mut all = String::new();
        texts(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut all);
        // `SPEC 9.5`, alone or in a row of them.
        let cited: std::collections::BTreeSet<&str> = all
            .match_indices("SPEC 9.")
            .flat_map(|(at, _)| {
                let row = &all[at + 5..];
                let end = row.find(|c: char| !(c.is_ascii_digit() || ", .".contains(c))).unwrap_or(row.len());
                row[..end].split(", ").map(|rule| rule.trim_matches([' ', '.', ',']))
            })
            .collect();
        for rule in &rules {
            assert!(cited.contains(rule), "{rule} is cited nowhere in {folder}: {cited:?}");
        }
    }
}
