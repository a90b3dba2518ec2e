//! Capture files: read back by a reader that shares nothing with the writer, and the same for a seed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::{Tested, ip, ms, pair, pattern, two};
use fixp_laboratory::{Laboratory, LinkConfig, Random, Verdict, Wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A packet of a capture.
#[derive(Debug)]
struct Packet {
    time: Duration,
    comment: String,
    protocol: u8,
    ports: (u16, u16),
    /// Of TCP: sequence number, acknowledgement, flags.
    tcp: Option<(u32, u32, u8)>,
    content: Vec<u8>,
}

fn u16be(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32be(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u32le(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The sum of all words, which with a right checksum among them is 0xFFFF.
fn sum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for piece in pieces {
        for pair in piece.chunks(2) {
            sum += u32::from(pair[0]) * 256 + pair.get(1).map_or(0, |byte| u32::from(*byte));
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
    }
    sum as u16
}

/// The options of a block, as code and value.
fn options(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut options = Vec::new();
    while !bytes.is_empty() {
        let code = u16::from_le_bytes([bytes[0], bytes[1]]);
        let len = u16::from_le_bytes([bytes[2], bytes[3]]) as usize;
        if code == 0 {
            assert_eq!(bytes.len(), 4, "the last option ends the block");
            return options;
        }
        options.push((code, bytes[4..4 + len].to_vec()));
        bytes = &bytes[4 + len.div_ceil(4) * 4..];
    }
    assert!(options.is_empty(), "options without an end");
    options
}

/// The comment of the whole, and the packets.
fn read(capture: &[u8]) -> (String, Vec<Packet>) {
    let mut rest = capture;
    let mut comment = String::new();
    let mut packets = Vec::new();
    let mut nth = 0;
    while !rest.is_empty() {
        let (kind, len) = (u32le(rest, 0), u32le(rest, 4) as usize);
        assert_eq!((len % 4, u32le(rest, len - 4) as usize), (0, len));
        let body = &rest[8..len - 4];
        match (nth, kind) {
            (0, 0x0A0D_0D0A) => {
                assert_eq!((u32le(body, 0), &body[4..8]), (0x1A2B_3C4D, &[1, 0, 0, 0][..]));
                let options = options(&body[16..]);
                comment = String::from_utf8(options[0].1.clone()).unwrap();
            }
            (1, 1) => {
                assert_eq!(body[..2], [101, 0]);
                assert_eq!(options(&body[8..]), [(9, vec![9])]);
            }
            (_, 6) => {
                let nanos = u64::from(u32le(body, 4)) << 32 | u64::from(u32le(body, 8));
                let len = u32le(body, 12) as usize;
                assert_eq!((u32le(body, 0), u32le(body, 16) as usize), (0, len));
                let mut packet = packet(&body[20..20 + len]);
                packet.time = Duration::from_nanos(nanos);
                if let [(code, comment)] = &options(&body[20 + len.div_ceil(4) * 4..])[..] {
                    assert_eq!(*code, 1);
                    packet.comment = String::from_utf8(comment.clone()).unwrap();
                }
                packets.push(packet);
            }
            _ => panic!("block {nth} has kind {kind}"),
        }
        rest = &rest[len..];
        nth += 1;
    }
    assert!(packets.is_sorted_by_key(|packet| packet.time));
    (comment, packets)
}

fn packet(bytes: &[u8]) -> Packet {
    let (protocol, addresses, transport) = match bytes[0] {
        0x45 => {
            assert_eq!(u16be(bytes, 2) as usize, bytes.len());
            assert_eq!(sum(&[&bytes[..20]]), 0xFFFF, "IPv4 checksum");
            (bytes[9], &bytes[12..20], &bytes[20..])
        }
        0x60 => {
            assert_eq!(u16be(bytes, 4) as usize, bytes.len() - 40);
            (bytes[6], &bytes[8..40], &bytes[40..])
        }
        other => panic!("version {other:x}"),
    };
    let len = (transport.len() as u16).to_be_bytes();
    assert_eq!(sum(&[addresses, &[0, protocol], &len, transport]), 0xFFFF, "checksum");
    let header = match protocol {
        6 => usize::from(transport[12] >> 4) * 4,
        17 => {
            assert_eq!(u16be(transport, 4) as usize, transport.len());
            assert_ne!(u16be(transport, 6), 0);
            8
        }
        other => panic!("protocol {other}"),
    };
    let tcp = (protocol == 6).then(|| (u32be(transport, 4), u32be(transport, 8), transport[13]));
    Packet {
        time: Duration::ZERO,
        comment: String::new(),
        protocol,
        ports: (u16be(transport, 0), u16be(transport, 2)),
        tcp,
        content: transport[header..].to_vec(),
    }
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

#[test]
fn a_stream_is_captured_as_tcp() -> Tested {
    Laboratory::run("tcp", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(ms(5)));
        let (a, b) = two(&lab);
        let listener = b.listen(80)?;
        let mut client = a.connect(listener.local_addr()).await?;
        let (mut server, _) = listener.accept().await?;
        client.write_all(&pattern(2_000)).await?;
        let mut came = vec![0; 2_000];
        server.read_exact(&mut came).await?;
        drop(client);
        assert_eq!(server.read(&mut came).await?, 0);
        drop(server);
        tokio::time::sleep(ms(50)).await;
        let (comment, packets) = read(&lab.capture());
        assert_eq!(comment, format!("seed {}", lab.seed()));
        let seen: Vec<_> = packets
            .iter()
            .map(|packet| {
                let (seq, ack, flags) = packet.tcp.unwrap();
                (
                    packet.time.as_millis(),
                    packet.ports.0 > packet.ports.1,
                    flags,
                    seq,
                    ack,
                    packet.content.len(),
                )
            })
            .collect();
        let expected = [
            (0, true, SYN, 0, 0, 0),
            (5, false, SYN | ACK, 0, 1, 0),
            (10, true, ACK, 1, 1, 0),
            (15, true, PSH | ACK, 1, 1, 1_460),
            (15, true, PSH | ACK, 1_461, 1, 540),
            (20, false, ACK, 1, 1_461, 0),
            (20, false, ACK, 1, 2_001, 0),
            (20, true, FIN | ACK, 2_001, 1, 0),
            (25, false, ACK, 1, 2_002, 0),
            (25, false, FIN | ACK, 1, 2_002, 0),
            (30, true, ACK, 2_002, 2, 0),
        ];
        assert_eq!(seen, expected);
        assert_eq!([&packets[3].content[..], &packets[4].content[..]].concat(), pattern(2_000));
        Ok(())
    })
}

#[test]
fn what_happened_to_a_datagram_is_said() {
    for (a, b) in [(ip(1), ip(2)), ("fd00::1".parse().unwrap(), "fd00::2".parse::<IpAddr>().unwrap())] {
        let mut wire = Wire::new(3);
        let (from, to) = ((a, 1_000).into(), (b, 2_000).into());
        let mut now = Duration::ZERO;
        let mut comment = |wire: &mut Wire, config: LinkConfig, content: Vec<u8>| {
            now += Duration::from_nanos(1_000_000_007);
            wire.link(a, b, &config);
            wire.send(now, from, to, content.clone());
            let (_, mut packets) = read(&wire.capture());
            let last = packets.pop().unwrap();
            assert_eq!((last.time, last.protocol, last.ports), (now, 17, (1_000, 2_000)));
            if !last.comment.contains("corrupted") && !last.comment.contains("replaced") {
                assert_eq!(last.content, content);
            }
            last.comment
        };
        let perfect = LinkConfig::default();
        assert_eq!(comment(&mut wire, perfect.clone(), vec![]), "");
        assert_eq!(comment(&mut wire, perfect.clone(), vec![1; 333]), "");
        assert_eq!(comment(&mut wire, perfect.clone().with_loss(1.0), vec![1]), "dropped: loss");
        assert_eq!(comment(&mut wire, perfect.clone().with_mtu(10), vec![1; 11]), "dropped: mtu");
        assert_eq!(comment(&mut wire, perfect.clone().with_duplicate(1.0), vec![1]), "duplicate");
        assert_eq!(comment(&mut wire, perfect.clone().with_reorder(1.0, ms(1)), vec![1]), "held back");
        let corrupted = comment(&mut wire, perfect.clone().with_corrupt(1.0), vec![1]);
        assert!(corrupted.starts_with("corrupted: bit ") && corrupted.ends_with(" of byte 0 flipped"));
        wire.partition(a, b);
        assert_eq!(comment(&mut wire, perfect.clone(), vec![1]), "dropped: partition");
        wire.heal(a, b);
        for (verdict, expected) in [
            (Verdict::Drop, "dropped: filter"),
            (Verdict::Duplicate, "duplicated by the filter"),
            (Verdict::Delay(ms(1)), "delayed by the filter"),
            (Verdict::Replace(vec![2]), "replaced by the filter"),
        ] {
            wire.filter(a, b, move |_, _| verdict.clone());
            assert_eq!(comment(&mut wire, perfect.clone(), vec![1]), expected);
        }
    }
}

#[test]
fn every_checksum_is_right() {
    // Two bytes reach every sum, also that which UDP cannot say; an odd length is padded.
    for odd in [false, true] {
        let mut wire = Wire::new(0);
        wire.set_capture_limit(64 << 20);
        for nth in 0..=u16::MAX {
            let mut content = nth.to_be_bytes().to_vec();
            content.extend(odd.then_some(0xAB));
            wire.send(ms(0), (ip(1), 1).into(), (ip(2), 2).into(), content);
        }
        let (_, packets) = read(&wire.capture());
        assert_eq!(packets.len(), 65_536);
    }
}

#[test]
fn a_capture_forgets_the_oldest() {
    let mut wire = Wire::new(0);
    wire.set_capture_limit(10_000);
    for nth in 0..1_000_u32 {
        let (a, b) = ((ip(1), 1).into(), (ip(2), 2).into());
        wire.send(ms(nth.into()), a, b, nth.to_be_bytes().to_vec());
    }
    let (comment, packets) = read(&wire.capture());
    assert!((20..100).contains(&packets.len()), "{}", packets.len());
    assert_eq!(comment, format!("seed 0, {} earlier packets forgotten", 1_000 - packets.len()));
    assert_eq!(packets.last().unwrap().content, 999_u32.to_be_bytes());
}

/// Some of everything, on a bad network.
fn busy(seed: u64) -> Vec<u8> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let lab = Laboratory::new(seed);
        lab.set_links(
            LinkConfig::default()
                .with_delay(ms(8))
                .with_jitter(ms(4))
                .with_loss(0.05)
                .with_duplicate(0.02)
                .with_reorder(0.02, ms(20))
                .with_corrupt(0.02)
                .with_bandwidth(1_000_000),
        );
        let mut tasks = Vec::new();
        for nth in 0..5 {
            let (mut client, server) = pair(&lab).await.unwrap();
            let mut random: Random = lab.random();
            tasks.push(tokio::spawn(async move {
                let len = random.below(50_000) as usize;
                client.write_all(&random.bytes(len)).await.unwrap();
                client.shutdown().await.unwrap();
                client.read_to_end(&mut Vec::new()).await.unwrap();
            }));
            tasks.push(tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(server);
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
            }));
            let socket = lab.host(ip(1)).bind(0).unwrap();
            tasks.push(tokio::spawn(async move {
                for _ in 0..20 {
                    socket.send_to(&[nth; 100], (ip(2), 9).into()).unwrap();
                    tokio::time::sleep(ms(3)).await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        lab.capture()
    })
}

#[test]
fn the_same_seed_is_the_same_run() {
    let capture = busy(11);
    assert!(capture.len() > 100_000);
    assert_eq!(capture, busy(11));
    assert_ne!(capture, busy(12));
    let (_, packets) = read(&capture);
    let flags = packets.iter().filter_map(|packet| packet.tcp).fold(0, |all, (_, _, flags)| all | flags);
    assert_eq!(flags & (SYN | FIN | PSH | ACK), SYN | FIN | PSH | ACK);
    assert_eq!(flags & RST, 0, "all were closed in order");
    assert!(packets.iter().any(|packet| packet.comment == "dropped: loss"));
}
