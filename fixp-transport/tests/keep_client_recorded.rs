//! The recorded servers of KEEP UDP at our client, in the laboratory: what it sends is what was recorded, byte for
//! byte, and it has the recorded answer.
//!
//! The server of a test says what was recorded, at its time after the first piece of the request, but for what was
//! dropped, and ACCEPTED and its answer not before all pieces have come; it answers SECURE_QUERY, EXIT and CANCEL when
//! they come, and a RETRY of ours as the programs do (Q20). Of what was dropped on the way to it as many copies are
//! lost here, the first ones. Where we differ on purpose stands at the test.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixp_codec::{Code, Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6};
use fixp_laboratory::{Host, Laboratory};
use fixp_transport::keep::pieces::{Added, Bounds, Gather, Mark};
use fixp_transport::keep::{Client, table};
use fixp_transport::{Cause, Fate, tables};
use lab::Binder;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::sleep;

#[derive(Clone, Debug)]
struct Line {
    client: bool,
    dropped: bool,
    time: Duration,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Recording {
    name: String,
    dialect: &'static Dialect,
    lines: Vec<Line>,
}

impl Recording {
    fn code(&self, bytes: &[u8]) -> Code {
        Decoder::new(self.dialect).packet(bytes).unwrap().code()
    }

    fn mark(&self, bytes: &[u8]) -> Option<Mark> {
        let packet = Decoder::new(self.dialect).packet(bytes).unwrap();
        // The programs of lexst1 say EXIT in a piece, too; ours says it plainly (Q15).
        let exit = tables::of(self.dialect).exit == packet.code();
        let farewell = packet.first(1000).is_some_and(|text| text.as_str() == Some("see you next time"));
        Mark::of(self.dialect, &packet).filter(|_| !exit && !farewell)
    }

    /// The packet that the pieces of one side make.
    fn joined(&self, client: bool) -> Option<Packet> {
        let mut group = None;
        for line in self.lines.iter().filter(|line| line.client == client) {
            let Some(mark) = self.mark(&line.bytes) else { continue };
            let packet = Decoder::new(self.dialect).packet(&line.bytes).unwrap();
            let gather = group.get_or_insert_with(|| Gather::new(mark));
            if gather.add(mark, &packet, 0, Bounds::default()) == Added::Whole {
                return group?.join(self.dialect);
            }
        }
        None
    }

    /// The pieces of the request.
    fn pieces(&self) -> BTreeSet<Vec<u8>> {
        let of = |line: &&Line| line.client && self.mark(&line.bytes).is_some();
        self.lines.iter().filter(of).map(|line| line.bytes.clone()).collect()
    }

    /// The pieces of the request that did not come, each copy.
    fn lost(&self) -> impl Iterator<Item = &Vec<u8>> {
        let of = |line: &&Line| line.client && line.dropped && self.mark(&line.bytes).is_some();
        self.lines.iter().filter(of).map(|line| &line.bytes)
    }

    /// What the server answered to a plain request, or to CANCEL.
    fn answer_to(&self, code: Code) -> Option<Vec<u8>> {
        let at = self.lines.iter().position(|line| line.client && self.code(&line.bytes) == code)?;
        let next = self.lines[at..].iter().find(|line| !line.client)?;
        Some(next.bytes.clone())
    }
}

/// Those that the programs' own clients made.
fn recordings() -> Vec<Recording> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keep_recorded");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|file| Some(file.unwrap().file_name().to_str()?.strip_suffix(".jsonl")?.to_owned()))
        .filter(|name| !name.contains("hand"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 34);
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
        let lines = lines.collect();
        Recording { name, dialect, lines }
    };
    names.into_iter().map(one).collect()
}

/// Plays the recorded server, and keeps what comes.
fn play(recording: Recording, host: &Host) -> Arc<Mutex<Vec<Vec<u8>>>> {
    let came = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let kept = Arc::clone(&came);
    let socket = Arc::new(host.bind(6600).unwrap());
    tokio::spawn(async move {
        let table = table::of(recording.dialect);
        let habits = tables::of(recording.dialect);
        let pieces = recording.pieces();
        let mut lost: Vec<Vec<u8>> = recording.lost().cloned().collect();
        let mut missing = pieces.clone();
        let whole = Arc::new(Notify::new());
        let mut begun = false;
        let mut buffer = vec![0; 65536];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let bytes = buffer[..len].to_vec();
            kept.lock().unwrap().push(bytes.clone());
            if let Some(at) = lost.iter().position(|lost| *lost == bytes) {
                lost.remove(at);
                continue;
            }
            if missing.remove(&bytes) && missing.is_empty() {
                whole.notify_one();
            }
            let code = recording.code(&bytes);
            if code == table.retry && recording.lines.iter().all(|line| line.bytes != bytes) {
                // Not one that the recorded client sent: it is answered by the recorded pieces.
                let packet = Decoder::new(recording.dialect).packet(&bytes).unwrap();
                let first = recording.dialect.first_serial();
                for serial in packet.all(3002).take(table.retry_serials) {
                    let index = serial.as_i32().unwrap().cast_unsigned() - first;
                    let is = |line: &&Line| {
                        !line.client && recording.mark(&line.bytes).is_some_and(|mark| mark.index == index)
                    };
                    if let Some(line) = recording.lines.iter().find(is) {
                        socket.send_to(&line.bytes, from).unwrap();
                    }
                }
            } else if [laxcus6::notify::SECURE_QUERY, habits.exit, table.cancel].contains(&code) {
                if let Some(answer) = recording.answer_to(code) {
                    socket.send_to(&answer, from).unwrap();
                }
            } else if pieces.contains(&bytes) && !std::mem::replace(&mut begun, true) {
                let came = |line: &&Line| line.client && !line.dropped && line.bytes == bytes;
                let first = recording.lines.iter().find(came).unwrap().time;
                let (recording, socket, whole) = (recording.clone(), Arc::clone(&socket), Arc::clone(&whole));
                tokio::spawn(async move {
                    let (mut now, mut waits) = (first, true);
                    for line in recording.lines.iter().filter(|line| !line.client && !line.dropped) {
                        let code = recording.code(&line.bytes);
                        let answers = recording.mark(&line.bytes).is_some()
                            || table.accepted.is_some_and(|(accepted, _)| accepted == code);
                        if answers || code == table.retry {
                            sleep(line.time.saturating_sub(now)).await;
                            now = now.max(line.time);
                            if answers && std::mem::take(&mut waits) {
                                whole.notified().await;
                            }
                            socket.send_to(&line.bytes, from).unwrap();
                        }
                    }
                });
            }
        }
    });
    came
}

/// Not compared: RETRY, which comes at other times; and how often anything is sent. The exchange of `-FAILS`
/// succeeds: our client asks for the lost piece. To a server's silence ours says CANCEL, the programs' nothing.
#[test]
fn recorded_servers() {
    for recording in recordings() {
        Laboratory::run(&recording.name.clone(), |lab| async move {
            let (client, server) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
            let came = play(recording.clone(), &lab.host(server));
            let name = &recording.name;
            let dialect = recording.dialect;
            let mut request = recording.joined(true).unwrap();
            if let Some(key) = tables::of(dialect).bind_ip {
                request.remove(key);
            }
            let peer = SocketAddr::new(server, 6600);
            let it = Client::builder().dialect(dialect).extensions(false).timeout(Duration::from_secs(120));
            let it = it.configure(|config| config.identity = Some(1));
            let it = it.sockets(Some(Binder(lab.host(client))), None).build();
            let outcome = it.request(peer, request).await;
            match recording.joined(false) {
                Some(answer) => assert_eq!(outcome.unwrap(), answer, "{name}"),
                None => {
                    let error = outcome.unwrap_err();
                    assert_eq!((error.cause, error.fate), (Cause::Timeout, Fate::PossiblyExecuted), "{name}");
                }
            }
            let exit = tables::of(dialect).exit;
            let plainly = |line: &Line| {
                let packet = Decoder::new(dialect).packet(&line.bytes).unwrap();
                line.client && packet.code() == exit && !Mark::is_claimed(&packet)
            };
            let plainly = recording.lines.iter().any(plainly);
            if plainly {
                assert_eq!(it.exit(peer).await.unwrap().code, tables::of(dialect).exit_okay, "{name}");
            }
            sleep(Duration::from_secs(60)).await;
            assert_eq!((it.stats().held, it.stats().in_flight), (0, 0), "{name}");
            let table = table::of(dialect);
            let distinct = |lines: &mut dyn Iterator<Item = Vec<u8>>| -> BTreeSet<Vec<u8>> {
                lines.filter(|bytes| recording.code(bytes) != table.retry).collect()
            };
            let recorded = recording.lines.iter().filter(|line| line.client).map(|line| line.bytes.clone());
            let mut recorded = distinct(&mut recorded.into_iter());
            if !plainly {
                // EXIT in a piece, and its CANCEL.
                recorded.retain(|bytes| {
                    let packet = Decoder::new(dialect).packet(bytes).unwrap();
                    let second = packet.first(3000).and_then(|it| it.as_i32()) == Some(2);
                    packet.code() != exit && !second
                });
            }
            let mut ours = distinct(&mut came.lock().unwrap().clone().into_iter());
            if recording.joined(false).is_none() {
                ours.retain(|bytes| recording.code(bytes) != table.cancel);
            }
            let cancels =
                |set: &BTreeSet<Vec<u8>>| set.iter().filter(|it| recording.code(it) == table.cancel).count();
            if name.contains("FAILS") {
                // The program gave up without a word; ours has its answer, and says CANCEL.
                assert_eq!((cancels(&recorded), cancels(&ours)), (0, 1));
                ours.retain(|bytes| recording.code(bytes) != table.cancel);
            }
            assert_eq!(ours, recorded, "{name}");
            // In the recorded order, as far as they are distinct.
            assert_eq!(it.stats().exchanges, 1, "{name}");
        });
    }
}
