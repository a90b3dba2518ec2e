//! The recorded conversations of KEEP UDP without encryption, at the machines: the recorded client against our
//! responder, the recorded server against our requester, and both of ours with the recorded losses.
//!
//! `tests/keep_recorded` holds them all: those that `tests/transcripts/all.txt` says are replayed here. The ten
//! others of KEEP UDP are encrypted, and stand there as `cipher`. Where we differ on purpose stands at the test
//! (SPEC 9.1, 9.2, 9.3, 9.4).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet};
use fixp_transport::keep::pieces::{Added, Bounds, Gather, Mark};
use fixp_transport::keep::{Requester, Responder, control, requester, responder, table};
use serde_json::Value;

#[derive(Clone, Debug)]
struct Line {
    client: bool,
    dropped: bool,
    time: Duration,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Recording {
    name: String,
    dialect: &'static Dialect,
    /// Those of KEEP UDP: without SECURE_QUERY, TEST, EXIT, plain calls and their answers.
    lines: Vec<Line>,
}

fn recordings() -> Vec<Recording> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keep_recorded");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|file| Some(file.unwrap().file_name().to_str()?.strip_suffix(".jsonl")?.to_owned()))
        .collect();
    names.sort();
    assert_eq!(names.len(), 36);
    let place = include_str!("transcripts/all.txt").lines();
    let here: Vec<&str> = place.filter_map(|line| line.strip_suffix(": keep_replay.rs")).collect();
    assert_eq!(names, here);
    let one = |name: String| {
        let dialect: &'static Dialect = if name.starts_with("lexst1") { &LEXST1 } else { &LAXCUS6 };
        let text = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
        let lines = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            Line {
                client: line["dir"] == "c2s",
                dropped: line["dropped"] == true,
                time: Duration::from_secs_f64(line["t_ms"].as_f64().unwrap() / 1000.0),
                bytes: hex::decode(line["hex"].as_str().unwrap()).unwrap(),
            }
        });
        let lines = lines.filter(|line| belongs(dialect, &line.bytes)).collect();
        Recording { name, dialect, lines }
    };
    names.into_iter().map(one).collect()
}

/// Whether a datagram is KEEP UDP's. EXIT and TEST with the keys of pieces are answered plainly.
fn belongs(dialect: &'static Dialect, bytes: &[u8]) -> bool {
    let table = table::of(dialect);
    let packet = Decoder::new(dialect).packet(bytes).unwrap();
    let code = packet.code();
    let speaks = |text: &str| packet.first(1000).is_some_and(|value| value.as_str() == Some(text));
    let control = [table.retry, table.cancel].contains(&code)
        || table.accepted.is_some_and(|(accepted, _)| accepted == code)
        || speaks(table.cancel_text);
    let farewell = speaks("see you next time") || speaks("SEE YOU NEXT TIME!");
    control || Mark::is_claimed(&packet) && !table.plain.contains(&code) && !farewell
}

fn mark(dialect: &'static Dialect, bytes: &[u8]) -> Option<Mark> {
    Mark::of(dialect, &Decoder::new(dialect).packet(bytes).unwrap())
}

/// The packets that one side's pieces make, by identity, duplicates and losses left out.
fn joined(recording: &Recording, client: bool) -> BTreeMap<i32, Packet> {
    let mut groups: BTreeMap<i32, Gather> = BTreeMap::new();
    let mut packets = BTreeMap::new();
    for line in recording.lines.iter().filter(|line| line.client == client) {
        let packet = Decoder::new(recording.dialect).packet(&line.bytes).unwrap();
        let Some(mark) = Mark::of(recording.dialect, &packet) else { continue };
        if packets.contains_key(&mark.identity) {
            continue;
        }
        let group = groups.entry(mark.identity).or_insert_with(|| Gather::new(mark));
        if group.add(mark, &packet, 0, Bounds::default()) == Added::Whole {
            let group = groups.remove(&mark.identity).unwrap();
            packets.insert(mark.identity, group.join(recording.dialect).unwrap());
        }
    }
    packets
}

fn ends() -> (SocketAddr, SocketAddr) {
    ("127.0.0.1:4000".parse().unwrap(), "127.0.0.1:6600".parse().unwrap())
}

fn responder_of(recording: &Recording) -> Responder {
    let bind_ip = Some("127.0.0.1".parse().unwrap());
    Responder::new(responder::Config { bind_ip, ..responder::Config::new(recording.dialect) })
}

fn requester_of(recording: &Recording, identity: i32, to: SocketAddr) -> Requester {
    let bind_ip = Some("127.0.0.1".parse().unwrap());
    let config = requester::Config { bind_ip, identity, ..requester::Config::new(recording.dialect) };
    Requester::new(config, to)
}

/// BIND_IP is made anew by the machines.
fn unbound(recording: &Recording, mut packet: Packet) -> Packet {
    if let Some(key) = fixp_transport::tables::of(recording.dialect).bind_ip {
        packet.remove(key);
    }
    packet
}

/// The datagrams of one side that are pieces, each once.
fn pieces(recording: &Recording, client: bool) -> BTreeSet<Vec<u8>> {
    let lines = recording.lines.iter().filter(|line| line.client == client);
    lines
        .filter(|line| mark(recording.dialect, &line.bytes).is_some())
        .map(|line| line.bytes.clone())
        .collect()
}

/// Every datagram of the recorded client that got through comes to our responder at its time. Requests are
/// executed once, and every piece, ACCEPTED and answer to CANCEL is the recorded one, byte for byte.
///
/// Not compared: when RETRY comes (ours asks for what is missing before the last piece first), how often a piece
/// comes, and in lexst1 what follows CANCEL, where ours has nothing left (Q5).
#[test]
fn recorded_clients_at_our_responder() {
    let (client, _) = ends();
    for recording in recordings() {
        let name = &recording.name;
        let answers = joined(&recording, false);
        let requests = joined(&recording, true);
        let mut responder = responder_of(&recording);
        let start = Instant::now();
        let mut sent: Vec<Vec<u8>> = Vec::new();
        let mut executed = BTreeMap::new();
        let mut settle = |responder: &mut Responder, now: Instant, sent: &mut Vec<Vec<u8>>| {
            while let Some(event) = responder.poll_event() {
                let (&identity, request) = requests
                    .iter()
                    .find(|(_, request)| **request == event.packet)
                    .expect("a recorded request");
                assert_eq!(event.packet, *request);
                *executed.entry(identity).or_insert(0) += 1;
                let answer = answers.get(&identity).cloned().map(|answer| unbound(&recording, answer));
                responder.answer(now, event.ticket, answer).unwrap();
            }
            while let Some(transmit) = responder.poll_transmit(now) {
                assert_eq!(transmit.to, client);
                sent.push(transmit.bytes.to_vec());
            }
        };
        for line in recording.lines.iter().filter(|line| line.client && !line.dropped) {
            let now = start + line.time;
            while let Some(at) = responder.poll_timeout().filter(|&at| at <= now) {
                responder.handle_timeout(at);
                settle(&mut responder, at, &mut sent);
            }
            assert!(responder.handle_datagram(now, client, &line.bytes), "{name}");
            settle(&mut responder, now, &mut sent);
        }
        // To the end of everything.
        while let Some(at) = responder.poll_timeout() {
            assert!(at < start + Duration::from_secs(600), "{name}");
            responder.handle_timeout(at);
            settle(&mut responder, at, &mut sent);
        }
        assert_eq!((responder.held(), responder.exchanges()), (0, 0), "{name}");
        assert_eq!(executed.keys().collect::<Vec<_>>(), requests.keys().collect::<Vec<_>>(), "{name}");
        assert!(executed.values().all(|&times| times == 1), "{name}: {executed:?}");

        let ours: BTreeSet<Vec<u8>> =
            sent.iter().filter(|bytes| mark(recording.dialect, bytes).is_some()).cloned().collect();
        assert_eq!(ours, pieces(&recording, false), "{name}");
        let table = table::of(recording.dialect);
        for line in recording.lines.iter().filter(|line| !line.client) {
            let code = Decoder::new(recording.dialect).packet(&line.bytes).unwrap().code();
            let okay_of_lexst1 = table.cancel_is_idle && code == table.cancel_okay;
            // What is asked for again depends on the time. The lost ones of the recording need not be asked for here.
            if code == table.retry || okay_of_lexst1 {
                continue;
            }
            assert!(sent.contains(&line.bytes), "{name}: {}", hex::encode(&line.bytes));
        }
        if let Some((accepted, 3)) = table.accepted {
            let is =
                |bytes: &Vec<u8>| Decoder::new(recording.dialect).packet(bytes).unwrap().code() == accepted;
            let times = sent.iter().filter(|bytes| is(bytes)).count();
            assert_eq!(times, 3 * requests.len(), "{name}");
        }
    }
}

/// Both of ours, where the datagrams are lost that were lost in the recording: the n-th copy of the same bytes in
/// the same direction. The exchange of `-FAILS` succeeds, too. Every datagram is one of the recording, but for
/// RETRY, and for a server's silence all ends in time.
#[test]
fn ours_with_the_recorded_losses() {
    let (client, server) = ends();
    for recording in recordings().into_iter().filter(|recording| !recording.name.contains("hand")) {
        let name = &recording.name;
        let mut drops: BTreeSet<(bool, Vec<u8>, usize)> = BTreeSet::new();
        let mut seen: BTreeMap<(bool, Vec<u8>), usize> = BTreeMap::new();
        for line in &recording.lines {
            let nth = seen.entry((line.client, line.bytes.clone())).or_default();
            if line.dropped {
                drops.insert((line.client, line.bytes.clone(), *nth));
            }
            *nth += 1;
        }
        let (requests, answers) = (joined(&recording, true), joined(&recording, false));
        for (&identity, request) in &requests {
            let mut asks = requester_of(&recording, identity, server);
            let mut answering = responder_of(&recording);
            let start = Instant::now();
            let mut now = start;
            let mut seen: BTreeMap<(bool, Vec<u8>), usize> = BTreeMap::new();
            let mut lost = |from_client: bool, bytes: &[u8]| {
                let nth = seen.entry((from_client, bytes.to_vec())).or_default();
                *nth += 1;
                drops.contains(&(from_client, bytes.to_vec(), *nth - 1))
            };
            let mut executed = 0;
            let mut ours = BTreeSet::new();
            let mut burst = Vec::new();
            asks.request(now, unbound(&recording, request.clone())).unwrap();
            loop {
                let mut moved = false;
                while let Some(sent) = asks.poll_transmit(now) {
                    moved = true;
                    // The pace has it take a few milliseconds.
                    if now < start + Duration::from_millis(20) {
                        burst.push(sent.bytes.to_vec());
                    }
                    if mark(recording.dialect, &sent.bytes).is_some() {
                        ours.insert(sent.bytes.to_vec());
                    }
                    if !lost(true, &sent.bytes) {
                        answering.handle_datagram(now, client, &sent.bytes);
                    }
                }
                while let Some(event) = answering.poll_event() {
                    executed += 1;
                    let answer = answers.get(&identity).cloned().map(|answer| unbound(&recording, answer));
                    answering.answer(now, event.ticket, answer).unwrap();
                }
                while let Some(sent) = answering.poll_transmit(now) {
                    moved = true;
                    if !lost(false, &sent.bytes) {
                        asks.handle_datagram(now, server, &sent.bytes);
                    }
                }
                if moved {
                    continue;
                }
                let next = [asks.poll_timeout(), answering.poll_timeout()].into_iter().flatten().min();
                let Some(next) = next else { break };
                now = next;
                asks.handle_timeout(now);
                answering.handle_timeout(now);
            }
            assert_eq!(executed, 1, "{name}");
            let ended = asks.poll_event().unwrap();
            match answers.get(&identity) {
                Some(answer) => assert_eq!(ended.unwrap(), *answer, "{name}"),
                None => {
                    let error = ended.unwrap_err();
                    assert_eq!(error.fate, fixp_transport::Fate::PossiblyExecuted, "{name}");
                }
            }
            assert_eq!((asks.held(), answering.held(), answering.exchanges()), (0, 0, 0), "{name}");
            assert!(now - start < Duration::from_secs(400), "{name}: {:?}", now - start);
            let of_this = |bytes: &Vec<u8>| mark(recording.dialect, bytes).unwrap().identity == identity;
            let recorded: BTreeSet<_> = pieces(&recording, true).into_iter().filter(of_this).collect();
            assert_eq!(ours, recorded, "{name}");
            // The first copy, in its order.
            let first: Vec<_> = recording
                .lines
                .iter()
                .filter(|line| {
                    line.client
                        && mark(recording.dialect, &line.bytes).is_some_and(|m| m.identity == identity)
                })
                .map(|line| line.bytes.clone())
                .filter({
                    let mut seen = BTreeSet::new();
                    move |bytes| seen.insert(bytes.clone())
                })
                .collect();
            let mut pieces_of_burst: Vec<_> =
                burst.into_iter().filter(|bytes| mark(recording.dialect, bytes).is_some()).collect();
            pieces_of_burst.dedup();
            pieces_of_burst.truncate(first.len());
            // A question in the same instant may have brought some of them twice.
            if recording.lines.iter().all(|line| !line.dropped) {
                assert_eq!(pieces_of_burst, first, "{name}");
            }
        }
    }
}

/// The recorded server's datagrams that got through, to our requester, as far as they answer what ours sends: its
/// answer is the recorded one, and its CANCEL, too.
#[test]
fn recorded_servers_at_our_requester() {
    let (_, server) = ends();
    for recording in recordings().into_iter().filter(|recording| !recording.name.contains("hand")) {
        let name = &recording.name;
        let answers = joined(&recording, false);
        for (&identity, request) in &joined(&recording, true) {
            let start = Instant::now();
            let mut asks = requester_of(&recording, identity, server);
            asks.request(start, unbound(&recording, request.clone())).unwrap();
            let mut sent = Vec::new();
            let mut drain = |asks: &mut Requester, now| {
                while let Some(transmit) = asks.poll_transmit(now) {
                    sent.push(transmit.bytes.to_vec());
                }
            };
            drain(&mut asks, start);
            let begun = recording.lines.first().unwrap().time;
            for line in recording.lines.iter().filter(|line| !line.client && !line.dropped) {
                let now = start + (line.time - begun);
                while let Some(at) = asks.poll_timeout().filter(|&at| at <= now) {
                    asks.handle_timeout(at);
                    drain(&mut asks, at);
                }
                asks.handle_datagram(now, server, &line.bytes);
                drain(&mut asks, now);
            }
            let fails = name.contains("FAILS");
            if let Some(answer) = answers.get(&identity).filter(|_| !fails) {
                assert_eq!(asks.poll_event().unwrap().unwrap(), *answer, "{name}");
                // In lexst1 a copy of a piece may be on its way, and spoils what comes next from that port.
                let left = sent.iter().filter(|bytes| mark(recording.dialect, bytes).is_some());
                let twice = left.clone().count() > left.collect::<BTreeSet<_>>().len();
                let spoilt = twice && recording.dialect.name() == "lexst1";
                assert!(asks.is_idle() && asks.is_spoilt() == spoilt, "{name}");
                let local = Some("127.0.0.1".parse().unwrap());
                let cancel = control::cancel(recording.dialect, local, identity).unwrap().to_vec();
                assert!(sent.contains(&cancel), "{name}");
                assert!(recording.lines.iter().any(|line| line.client && line.bytes == cancel), "{name}");
            } else if fails {
                // There the program's requester is silent for ever (2.8, P2); ours asks for what is missing.
                for _ in 0..4 {
                    let at = asks.poll_timeout().unwrap();
                    asks.handle_timeout(at);
                    drain(&mut asks, at);
                }
                let retry = control::retry(&LAXCUS6, None, identity, &[2]).unwrap();
                assert!(sent.contains(&retry.to_vec()), "{name}");
            }
        }
    }
}
