//! KEEP UDP at a whole server, in the laboratory: the recorded clients, clients of all kinds at once on one port,
//! handlers that are slow, silent or panic, limits, large entities in pieces, and the end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6};
use fixp_laboratory::{HostConfig, Laboratory, LinkConfig, Random};
use fixp_transport::extension::{Capabilities, Refusal, key};
use fixp_transport::host::Transport;
use fixp_transport::keep::budget::Rates;
use fixp_transport::keep::caller::Security;
use fixp_transport::keep::own::{self, Endpoint, Entity, Event};
use fixp_transport::keep::pieces::{Added, Bounds, Form, Gather, Mark, Pieces};
use fixp_transport::keep::{self, Client, Ledger, table};
use fixp_transport::limits::ServerLimits;
use fixp_transport::server::{AllowList, DialectChoice, PublicKey};
use fixp_transport::socket::BatchedSocket;
use fixp_transport::{
    Answer, Body, Cause, Channel, Fate, Handler, Reply, Request, Server, handler_fn, tables, udp,
};
use lab::{Binder, CLIENT, PORT, SERVER, Socket, application};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The modulus of the key of the recorded laxcus6 server.
const MODULUS: &str = "9a40edbe9edfe3d8d39269a7ee2767e8514750811a99fc1b36583f5fd5503ebcd262a746e54c8a32e7c1efd5\
    10855a958ed8b1841d96277b6f2f5f30a4dff33d2aa1f438d130325bfd6dfa8e52b9cbb2be370d6fc961a3d5479237de543dc2bdf8cfc71c\
    1d377f817089dd8729b892da0d8830796a2657b04fa0c480b680310b";

fn to() -> SocketAddr {
    SocketAddr::new(SERVER, PORT)
}

async fn start<H: Handler>(lab: &Laboratory, limits: ServerLimits, handler: H) -> Arc<Server<H>> {
    let builder = Server::builder(handler).limits(limits).keep_allow(AllowList::everyone());
    lab::serve_as(lab, builder).await
}

fn client(lab: &Laboratory, dialect: &'static Dialect) -> keep::Builder<Binder> {
    let binder = Binder(lab.host(CLIENT));
    Client::builder().dialect(dialect).random(lab.seed()).sockets(Some(binder), None)
}

fn bad() -> LinkConfig {
    LinkConfig::default()
        .with_delay(10 * MILLI)
        .with_jitter(20 * MILLI)
        .with_loss(0.1)
        .with_duplicate(0.1)
        .with_reorder(0.1, 50 * MILLI)
}

/// A request with a number that its handler counts, and so many bytes more.
fn numbered(dialect: &Dialect, number: u32, size: usize) -> Packet {
    let mut entity = number.to_le_bytes().to_vec();
    entity.extend(Random::new(number.into()).bytes(size));
    Packet::new(application(dialect)).with(1000, "log").with_entity(entity)
}

/// What of a request its handler saw: by what way it came, and in what pieces.
type Seen = Arc<Mutex<BTreeMap<u32, Vec<Transport>>>>;

/// Answers with the request's own entity, and remembers.
fn echo(seen: &Seen) -> impl Handler + use<> {
    let seen = Arc::clone(seen);
    handler_fn(move |request: Request| {
        let seen = Arc::clone(&seen);
        async move {
            let peer = request.peer;
            let packet = request.gather(64 << 20).await.unwrap();
            assert_eq!(packet.first(1000).and_then(|text| text.as_str()), Some("log"));
            assert!(!packet.messages.iter().any(|message| key::RANGE.contains(&message.key)));
            seen.lock().unwrap().entry(lab::number(&packet)).or_default().push(peer.transport);
            Packet::new(tables::of(peer.dialect).okay).with_entity(packet.entity).into()
        }
    })
}

// The recorded clients.

struct Recording {
    name: String,
    dialect: &'static Dialect,
    port: u16,
    lines: Vec<Line>,
}

struct Line {
    client: bool,
    dropped: bool,
    time: Duration,
    bytes: Vec<u8>,
}

fn recordings() -> Vec<Recording> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keep_recorded");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|file| Some(file.unwrap().file_name().to_str()?.strip_suffix(".jsonl")?.to_owned()))
        .collect();
    names.sort();
    assert_eq!(names.len(), 36);
    let read = |name: String| {
        let text = |ending: &str| std::fs::read_to_string(folder.join(format!("{name}{ending}"))).unwrap();
        let client: Value = serde_json::from_str(&text(".client.json")).unwrap();
        let lines = text(".jsonl");
        let lines = lines.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            Line {
                client: line["dir"] == "c2s",
                dropped: line["dropped"] == true,
                time: Duration::from_secs_f64(line["t_ms"].as_f64().unwrap() / 1000.0),
                bytes: hex::decode(line["hex"].as_str().unwrap()).unwrap(),
            }
        });
        Recording {
            dialect: if name.starts_with("lexst1") { &LEXST1 } else { &LAXCUS6 },
            port: client["local_port"].as_u64().unwrap_or(4000) as u16,
            lines: lines.collect(),
            name,
        }
    };
    names.into_iter().map(read).collect()
}

impl Recording {
    fn packet(&self, bytes: &[u8]) -> Packet {
        Decoder::new(self.dialect).packet(bytes).unwrap().to_packet().unwrap()
    }

    /// What is the same at both ends.
    fn bare(&self, mut packet: Packet) -> Packet {
        packet.remove(self.dialect.content_length_key());
        if let Some(key) = tables::of(self.dialect).bind_ip {
            packet.remove(key);
        }
        packet
    }

    /// The recorded answer of a server that encrypts nothing, as ours is.
    fn in_mode_none(&self, bytes: &[u8]) -> Vec<u8> {
        let mut packet = self.packet(bytes);
        if self.dialect.name() == "lexst1" || packet.code != laxcus6::answer::SECURE_NOTIFY {
            return bytes.to_vec();
        }
        let mut entity = packet.entity.to_vec();
        entity[0] = 0;
        packet.entity = entity.into();
        packet.to_bytes(self.dialect).unwrap().to_vec()
    }

    fn is_piece(&self, bytes: &[u8]) -> Option<Mark> {
        let packet = Decoder::new(self.dialect).packet(bytes).unwrap();
        let plain = table::of(self.dialect).plain.contains(&packet.code());
        Mark::of(self.dialect, &packet).filter(|_| Mark::is_claimed(&packet) && !plain)
    }

    /// The packets that one side's pieces make, by identity.
    fn joined(&self, client: bool) -> BTreeMap<i32, Packet> {
        let (mut groups, mut whole) = (BTreeMap::new(), BTreeMap::new());
        for line in self.lines.iter().filter(|line| line.client == client) {
            let Some(mark) = self.is_piece(&line.bytes).filter(|mark| !whole.contains_key(&mark.identity))
            else {
                continue;
            };
            let packet = Decoder::new(self.dialect).packet(&line.bytes).unwrap();
            let group = groups.entry(mark.identity).or_insert_with(|| Gather::new(mark));
            if group.add(mark, &packet, 0, Bounds::default()) == Added::Whole {
                let group = groups.remove(&mark.identity).unwrap();
                whole.insert(mark.identity, self.bare(group.join(self.dialect).unwrap()));
            }
        }
        whole
    }

    /// Every request that a handler gets, with its answer.
    fn pairs(&self) -> Vec<(Packet, Option<Packet>)> {
        let (requests, answers) = (self.joined(true), self.joined(false));
        let mut pairs: Vec<_> = requests
            .into_iter()
            .map(|(identity, request)| (request, answers.get(&identity).cloned()))
            .collect();
        for pair in self.lines.windows(2) {
            let [asks, answers] = pair else { unreachable!() };
            if asks.client && !answers.client && self.is_piece(&asks.bytes).is_none() {
                let answer = self.bare(self.packet(&answers.bytes));
                pairs.push((self.bare(self.packet(&asks.bytes)), Some(answer)));
            }
        }
        pairs
    }
}

/// A recorded conversation, datagram by datagram at its time, at a whole server: every answer of the recorded one is
/// ours byte for byte, plain ones and KEEP UDP's, and every request is executed once.
///
/// Not compared: when RETRY comes, how often a piece comes, and in lexst1 OKAY to CANCEL (Q5).
#[test]
fn recorded_clients() {
    for recording in recordings() {
        let name = format!("keep-server-{}", recording.name);
        Laboratory::run(&name, |lab| async move {
            lab.set_time_limit(Duration::from_secs(3600));
            let Recording { name, dialect, port, .. } = &recording;
            let pairs = Arc::new(recording.pairs());
            let executed = Arc::new(Mutex::new(0));
            let (answers, count) = (Arc::clone(&pairs), Arc::clone(&executed));
            let bind_ip = tables::of(dialect).bind_ip;
            let handler = handler_fn(move |request: Request| {
                let mut packet = request.packet;
                packet.remove(request.peer.dialect.content_length_key());
                if let Some(key) = bind_ip {
                    packet.remove(key);
                }
                let pair = answers.iter().find(|(asked, _)| *asked == packet).expect("a recorded request");
                *count.lock().unwrap() += usize::from(request.peer.transport == Transport::KeepUdp);
                let reply = pair.1.clone().map_or(Reply::Silence, Reply::from);
                async move { reply }
            });
            let key = PublicKey::new(&hex::decode(MODULUS).unwrap(), &[1, 0, 1]).unwrap();
            let builder = Server::builder(handler).dialect(DialectChoice::Told { default: &LAXCUS6 });
            let server = builder.public_key(key).start().await.unwrap();
            // As in the recording, both on the loopback: HOST and BIND_IP say it.
            let host = lab.host("127.0.0.1".parse().unwrap());
            server.serve_datagrams(Socket(host.bind(PORT).unwrap())).unwrap();
            let at = Arc::new(host.bind(*port).unwrap());
            let came = Arc::new(Mutex::new(Vec::new()));
            let (hears, heard) = (Arc::clone(&at), Arc::clone(&came));
            tokio::spawn(async move {
                let mut buffer = vec![0; 65536];
                while let Ok((len, _)) = hears.recv_from(&mut buffer).await {
                    heard.lock().unwrap().push(buffer[..len].to_vec());
                }
            });
            let begin = Instant::now();
            for line in recording.lines.iter().filter(|line| line.client && !line.dropped) {
                sleep_until(begin + line.time).await;
                at.send_to(&line.bytes, SocketAddr::new("127.0.0.1".parse().unwrap(), PORT)).unwrap();
            }
            // To the end of everything.
            sleep(Duration::from_secs(700)).await;
            let came = came.lock().unwrap();
            let table = table::of(dialect);
            for line in recording.lines.iter().filter(|line| !line.client) {
                let code = recording.packet(&line.bytes).code;
                let okay_of_lexst1 = table.cancel_is_idle
                    && code == table.cancel_okay
                    && recording.packet(&line.bytes).first(1000).and_then(|text| text.as_str())
                        == Some(table.cancel_text);
                if code != table.retry && !okay_of_lexst1 {
                    let expected = recording.in_mode_none(&line.bytes);
                    assert!(came.contains(&expected), "{name}: {}", hex::encode(&line.bytes));
                }
            }
            let requests = recording.joined(true).len();
            assert_eq!(*executed.lock().unwrap(), requests, "{name}");
            if let Some((accepted, copies)) = table.accepted {
                let times = came.iter().filter(|bytes| recording.packet(bytes).code == accepted).count();
                assert_eq!(times, usize::from(copies) * requests, "{name}");
            }
            let stats = server.stats();
            assert_eq!((stats.keep_bytes, stats.bytes_in_flight), (0, 0), "{name}: {stats:?}");
            assert_eq!(stats.keep_requests, requests as u64, "{name}");
        });
    }
}

// Clients of all kinds.

/// Both dialects of the programs, the own transport and plain datagrams, at one port at once, over a network that
/// loses, doubles and reorders: every request has its answer, was executed once, and came by its own way.
#[test]
fn all_at_one_port() {
    Laboratory::run_seeds("keep-server-all", 0..3, |lab| async move {
        lab.set_time_limit(Duration::from_secs(3600));
        let seen = Seen::default();
        let server = start(&lab, ServerLimits::default(), echo(&seen)).await;
        let mut tasks = Vec::new();
        let mut ask = |number: u32, dialect: &'static Dialect, client: &Client, size: usize| {
            let client = client.clone();
            tasks.push(tokio::spawn(async move {
                let sent = numbered(dialect, number, size);
                let got = client.request(to(), sent.clone()).await;
                assert_eq!(got.unwrap_or_else(|error| panic!("{number}: {error}")).entity, sent.entity);
            }));
        };
        // SECURE_QUERY is asked three times only, as the programs do: here it is lost too often.
        let any =
            |dialect| client(&lab, dialect).timeout(Duration::from_secs(600)).security(Security::Unasked);
        let legacy = |dialect| any(dialect).extensions(false).build();
        let ours = |dialect| any(dialect).build();
        let clients = [legacy(&LEXST1), legacy(&LAXCUS6), ours(&LEXST1), ours(&LAXCUS6)];
        lab.set_links(bad());
        for number in 0..80_u32 {
            let which = number as usize % 4;
            let dialect: &'static Dialect = if which.is_multiple_of(2) { &LEXST1 } else { &LAXCUS6 };
            ask(number, dialect, &clients[which], number as usize * 211);
        }
        for task in tasks {
            task.await.unwrap();
        }
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        let binder = Binder(lab.host(CLIENT));
        let plain = udp::Client::builder().random(lab.seed()).sockets(Some(binder), None).build();
        for number in 80..90 {
            let sent = numbered(&LAXCUS6, number, 1000);
            assert_eq!(plain.request(to(), sent.clone()).await.unwrap().entity, sent.entity);
        }
        for (number, came) in seen.lock().unwrap().iter() {
            let way = if *number < 80 { Transport::KeepUdp } else { Transport::Udp };
            assert_eq!(came, &[way], "{number}");
        }
        assert_eq!(seen.lock().unwrap().len(), 90);
        assert!(clients[2].stats().own > 0 && clients[3].stats().own > 0);
        assert_eq!((clients[0].stats().own, clients[1].stats().own), (0, 0));
        let stats = server.stats();
        assert_eq!(stats.keep_requests, 80, "{stats:?}");
        assert!(stats.keep_answers == 80 && stats.keep_bytes > 0, "{stats:?}");
        assert_eq!((stats.keep_opened, stats.keep_lost, stats.keep_refused), (2, 0, 0), "{stats:?}");
        assert!(stats.keep_again > 0, "{stats:?}");
        // What is remembered of them has an end.
        sleep(Duration::from_secs(700)).await;
        let stats = server.stats();
        assert_eq!((stats.keep_bytes, stats.bytes_in_flight), (0, 0), "{stats:?}");
    });
}

/// What is ours in the pieces of a request is answered in the pieces of its answer, and the handler sees none of it
/// (SPEC 10.2, 10.3, 10.4).
#[test]
fn extensions_in_pieces() {
    Laboratory::run("keep-server-extensions", |lab| async move {
        let seen = Seen::default();
        let _server = start(&lab, ServerLimits::default(), echo(&seen)).await;
        let announcing = Capabilities::OURS.in_request();
        for (identity, dialect) in [(1, &LEXST1), (2, &LAXCUS6)] {
            let at = lab.host(CLIENT).bind(0).unwrap();
            let exchange = async |identity: i32, packet: Packet| {
                let pieces = Pieces::cut(dialect, packet, Form::of_request(dialect, identity)).unwrap();
                for index in 0..pieces.count() {
                    at.send_to(&pieces.datagram(index).unwrap(), to()).unwrap();
                }
                let mut group = None;
                let mut buffer = vec![0; 65536];
                loop {
                    let (len, _) = timeout(20 * SECOND, at.recv_from(&mut buffer)).await.unwrap().unwrap();
                    let packet = Decoder::new(dialect).packet(&buffer[..len]).unwrap();
                    let Some(mark) = Mark::of(dialect, &packet).filter(|it| it.identity == identity) else {
                        continue;
                    };
                    let group = group.get_or_insert_with(|| Gather::new(mark));
                    if group.add(mark, &packet, 0, Bounds::default()) == Added::Whole {
                        break;
                    }
                }
                group.unwrap().join(dialect).unwrap()
            };
            let request = numbered(dialect, identity as u32, 2000);
            // A stranger is told nothing of ours, whatever it says.
            let plain = exchange(identity, request.clone().with(key::SERIAL, 7_i64)).await;
            assert!(!plain.messages.iter().any(|message| key::RANGE.contains(&message.key)));
            let one = request.clone().with(key::CAPABILITIES, announcing.clone()).with(key::SERIAL, 8_i64);
            let answer = exchange(identity + 10, one).await;
            assert_eq!(answer.entity, request.entity);
            assert_eq!(Capabilities::of_answer(&answer), Some(Capabilities::OURS));
            assert_eq!(answer.first(key::SERIAL).unwrap().as_i64(), Some(8));
            // Who can do more is told more.
            let more = Capabilities::OURS.with(Capabilities::OWN_KEEP);
            let answer =
                exchange(identity + 20, request.clone().with(key::CAPABILITIES, more.in_request())).await;
            assert_eq!(Capabilities::of_answer(&answer), Some(more));
            let before = seen.lock().unwrap()[&(identity as u32)].len();
            let late = request.with(key::CAPABILITIES, announcing.clone()).with(key::DEADLINE, 0);
            let answer = exchange(identity + 30, late).await;
            assert_eq!(answer.code, tables::of(dialect).refuse);
            assert_eq!(answer.first(key::REFUSAL).unwrap().as_i16(), Some(Refusal::Late.number()));
            assert_eq!(seen.lock().unwrap()[&(identity as u32)].len(), before);
        }
    });
}

// Handlers.

/// A handler that takes its time, that is silent, and that panics: each as it should be, and the next request is
/// answered all the same.
#[test]
fn slow_silent_and_broken_handlers() {
    for ours in [false, true] {
        Laboratory::run(&format!("keep-server-handlers-{ours}"), |lab| async move {
            lab.set_time_limit(Duration::from_secs(3600));
            let handler = handler_fn(async |request: Request| -> Reply {
                match lab::number(&request.packet) {
                    0 => sleep(Duration::from_secs(40)).await,
                    1 => return Reply::Silence,
                    2 => panic!("as the test wants it"),
                    3 => {
                        tokio::task::yield_now().await;
                        panic!("as the test wants it");
                    }
                    4 => return Reply::Unserved,
                    _ => {}
                }
                Packet::new(laxcus6::answer::OKAY).with_entity(request.packet.entity).into()
            });
            let server = start(&lab, ServerLimits::default(), handler).await;
            let client = client(&lab, &LAXCUS6).extensions(ours).timeout(Duration::from_secs(100)).build();
            let ask = |number| client.request(to(), numbered(&LAXCUS6, number, 3000));
            assert_eq!(ask(9).await.unwrap().code, laxcus6::answer::OKAY);
            let begin = Instant::now();
            let (slow, quick) = tokio::join!(ask(0), ask(5));
            assert!(slow.unwrap().entity.len() == 3004 && quick.unwrap().entity.len() == 3004);
            assert!(begin.elapsed() < Duration::from_secs(45), "{:?}", begin.elapsed());
            for number in 1..4 {
                let error = ask(number).await.unwrap_err();
                assert_eq!(error.fate, Fate::PossiblyExecuted, "{number}: {error}");
                // Ours is told at once.
                let told = error.cause == Cause::Refused(Refusal::Silent);
                assert_eq!(told, ours, "{number}: {error}");
            }
            assert_eq!(ask(4).await.unwrap().code, tables::of(&LAXCUS6).unserved);
            assert_eq!(ask(6).await.unwrap().entity.len(), 3004);
            assert_eq!(server.stats().bytes_in_flight, 0);
        });
    }
}

/// Lets as many through as it is told to.
#[derive(Clone)]
struct Gate(Arc<Semaphore>, Seen);

impl Gate {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)), Seen::default())
    }

    fn begun(&self) -> usize {
        self.1.lock().unwrap().len()
    }
}

impl Handler for Gate {
    async fn handle(&self, request: Request) -> Reply {
        self.1.lock().unwrap().entry(lab::number(&request.packet)).or_default().push(request.peer.transport);
        self.0.acquire().await.unwrap().forget();
        Packet::new(tables::of(request.peer.dialect).okay).with_entity(request.packet.entity).into()
    }
}

/// A whole request of the programs waits where there is no room; over the own transport it is refused, and its caller
/// knows that it was not executed.
#[test]
fn no_more_than_may_be_handled() {
    for by_bytes in [false, true] {
        Laboratory::run(&format!("keep-server-room-{by_bytes}"), |lab| async move {
            lab.set_time_limit(Duration::from_secs(3600));
            let gate = Gate::new();
            let limits = if by_bytes {
                ServerLimits { bytes: 7000, ..ServerLimits::default() }
            } else {
                ServerLimits { datagrams: 2, ..ServerLimits::default() }
            };
            let server = start(&lab, limits, gate.clone()).await;
            let legacy = client(&lab, &LAXCUS6).extensions(false).timeout(Duration::from_secs(100)).build();
            let mut tasks = Vec::new();
            for number in 0..5 {
                let client = legacy.clone();
                tasks.push(tokio::spawn(async move {
                    client.request(to(), numbered(&LAXCUS6, number, 3000)).await.unwrap()
                }));
            }
            sleep(2 * SECOND).await;
            assert_eq!(gate.begun(), 2);
            let ours = client(&lab, &LEXST1).build();
            // lexst1 learns in pieces what the server is; that request waits, too.
            let waits = tokio::spawn({
                let ours = ours.clone();
                async move { ours.request(to(), numbered(&LEXST1, 10, 3000)).await.unwrap() }
            });
            sleep(2 * SECOND).await;
            assert_eq!(gate.begun(), 2);
            assert!(server.stats().bytes_in_flight <= 7000);
            gate.0.add_permits(6);
            for task in tasks {
                assert_eq!(task.await.unwrap().entity.len(), 3004);
            }
            assert_eq!(waits.await.unwrap().entity.len(), 3004);
            // Now over the own transport.
            let stuck = [11, 12].map(|number| {
                let ours = ours.clone();
                tokio::spawn(
                    async move { ours.request(to(), numbered(&LEXST1, number, 3000)).await.unwrap() },
                )
            });
            sleep(SECOND).await;
            assert_eq!(gate.begun(), 8);
            let error = ours.request(to(), numbered(&LEXST1, 13, 3000)).await.unwrap_err();
            assert_eq!((error.fate, error.cause), (Fate::NotSent, Cause::Refused(Refusal::Overloaded)));
            gate.0.add_permits(2);
            for task in stuck {
                task.await.unwrap();
            }
            assert_eq!(gate.begun(), 8);
            assert_eq!(ours.stats().own, 3);
        });
    }
}

/// A whole request that waits for room is not handled where its client cancels it meanwhile, or begins another under
/// its identity.
#[test]
fn what_nobody_waits_for_is_not_handled() {
    for (by_bytes, cancelled_first) in [(false, false), (false, true), (true, false), (true, true)] {
        Laboratory::run(&format!("keep-server-gone-{by_bytes}-{cancelled_first}"), |lab| async move {
            let gate = Gate::new();
            let limits = if by_bytes {
                ServerLimits { bytes: 4000, ..ServerLimits::default() }
            } else {
                ServerLimits { datagrams: 1, ..ServerLimits::default() }
            };
            let server = start(&lab, limits, gate.clone()).await;
            let ask = async |at: &fixp_laboratory::Socket, number| {
                let request = numbered(&LAXCUS6, number, 3000);
                let pieces = Pieces::cut(&LAXCUS6, request, Form::of_request(&LAXCUS6, 1)).unwrap();
                for index in 0..pieces.count() {
                    at.send_to(&pieces.datagram(index).unwrap(), to()).unwrap();
                }
                sleep(SECOND / 10).await;
            };
            let [first, cancels, begins_anew, waits] = [(); 4].map(|()| lab.host(CLIENT).bind(0).unwrap());
            ask(&first, 0).await;
            assert_eq!(gate.begun(), 1);
            // The first of them has been taken out of its machine, where there is no room for its bytes.
            let two = [(&cancels, 1), (&begins_anew, 2)];
            for (at, number) in if cancelled_first { two } else { [two[1], two[0]] } {
                ask(at, number).await;
            }
            ask(&waits, 4).await;
            cancels.send_to(&keep::control::cancel(&LAXCUS6, None, 1).unwrap(), to()).unwrap();
            ask(&begins_anew, 3).await;
            assert_eq!(gate.begun(), 1);
            gate.0.add_permits(5);
            sleep(SECOND).await;
            let begun: Vec<u32> = gate.1.lock().unwrap().keys().copied().collect();
            assert_eq!(begun, [0, 3, 4]);
            assert_eq!((server.stats().keep_requests, server.stats().bytes_in_flight), (3, 0));
        });
    }
}

/// What is held never passes its bound, and each request has its answer in the end, or was not executed.
#[test]
fn bytes_are_bounded() {
    Laboratory::run("keep-server-bytes", |lab| async move {
        lab.set_time_limit(Duration::from_secs(3600));
        const BOUND: usize = 300_000;
        let seen = Seen::default();
        let keep = keep::Limits { bytes: BOUND, ..keep::Limits::default() };
        let server = start(&lab, ServerLimits { keep, ..ServerLimits::default() }, echo(&seen)).await;
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        let watched = Arc::clone(&server);
        let most = Arc::new(AtomicU64::new(0));
        let watch = Arc::clone(&most);
        let watching = tokio::spawn(async move {
            loop {
                let held = watched.stats().keep_bytes;
                assert!(held <= BOUND as u64, "{held}");
                watch.fetch_max(held, Ordering::Relaxed);
                sleep(MILLI).await;
            }
        });
        let mut tasks = Vec::new();
        for number in 0..40_u32 {
            let dialect: &'static Dialect = if number.is_multiple_of(2) { &LEXST1 } else { &LAXCUS6 };
            let client = client(&lab, dialect).extensions(number % 4 < 2).timeout(Duration::from_secs(300));
            let client = client.build();
            tasks.push(tokio::spawn(async move {
                client.request(to(), numbered(dialect, number, 60_000)).await.map(|it| it.entity.len())
            }));
        }
        let mut answered = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(len) => {
                    assert_eq!(len, 60_004);
                    answered += 1;
                }
                Err(error) => println!("{error}"),
            }
        }
        assert!(!watching.is_finished());
        assert!(seen.lock().unwrap().values().all(|ways| ways.len() == 1));
        assert!(answered >= 10, "{answered}");
        assert!(most.load(Ordering::Relaxed) > BOUND as u64 / 2, "{most:?}");
        sleep(Duration::from_secs(700)).await;
        assert_eq!(server.stats().keep_bytes, 0);
    });
}

/// Whoever forges an address does not get more sent there than the budget says; who is on the list does.
#[test]
fn an_answer_is_no_flood() {
    for trusted in [false, true] {
        Laboratory::run(&format!("keep-server-flood-{trusted}"), |lab| async move {
            const BURST: u64 = 100_000;
            const RATE: u64 = 50_000;
            let handler = handler_fn(async |_: Request| -> Reply {
                Packet::new(laxcus6::answer::OKAY).with_entity(vec![1; 1 << 20]).into()
            });
            let keep_budget = Rates { rate: RATE, burst: BURST, ..Rates::default() };
            let limits = ServerLimits { keep_budget, ..ServerLimits::default() };
            let allow = if trusted { AllowList::everyone() } else { AllowList::loopback() };
            lab.set_hosts(HostConfig::default().with_datagram_queue(BatchedSocket::BUFFER));
            let _server =
                lab::serve_as(&lab, Server::builder(handler).limits(limits).keep_allow(allow)).await;
            let at = lab.host(CLIENT).bind(0).unwrap();
            let request = numbered(&LAXCUS6, 1, 100);
            let piece =
                Pieces::cut(&LAXCUS6, request, Form::of_request(&LAXCUS6, 1)).unwrap().datagram(0).unwrap();
            at.send_to(&piece, to()).unwrap();
            let (mut came, mut buffer) = (0, vec![0; 2048]);
            let until = Instant::now() + 2 * SECOND;
            while let Ok(one) = tokio::time::timeout_at(until, at.recv_from(&mut buffer)).await {
                came += one.unwrap().0 as u64;
            }
            if trusted {
                assert!(came > 1 << 20, "{came}");
            } else {
                // The burst, two seconds, and what is taken from the budget at a time.
                assert!(came > BURST && came < BURST + 2 * RATE + 20_000, "{came}");
            }
        });
    }
}

// The own transport, by an endpoint of the test's own.

/// An endpoint at a host of the laboratory.
struct Peer {
    endpoint: Endpoint,
    socket: fixp_laboratory::Socket,
}

impl Peer {
    fn new(lab: &Laboratory, config: own::Config) -> Self {
        let endpoint = Endpoint::new(config, Ledger::default(), lab.seed());
        Self { endpoint, socket: lab.host(CLIENT).bind(0).unwrap() }
    }

    fn now() -> std::time::Instant {
        Instant::now().into_std()
    }

    /// Sends what there is, waits for something to come or to be due, and gives what has happened.
    async fn step(&mut self) -> Option<Event> {
        let now = Self::now();
        let mut wire = Vec::new();
        while let Some(sent) = self.endpoint.poll_transmit(now, &mut wire, 1) {
            self.socket.send_to(&wire, sent.to).unwrap();
            wire.clear();
        }
        if let Some(event) = self.endpoint.poll_event() {
            return Some(event);
        }
        let due = self.endpoint.poll_timeout().map_or_else(|| Instant::now() + SECOND, Instant::from_std);
        let mut buffer = vec![0; 65536];
        match tokio::time::timeout_at(due, self.socket.recv_from(&mut buffer)).await {
            Ok(came) => {
                let (len, from) = came.unwrap();
                self.endpoint.handle_datagram(Self::now(), from, &LAXCUS6, &buffer[..len]);
            }
            Err(_) => self.endpoint.handle_timeout(Self::now()),
        }
        self.endpoint.poll_event()
    }
}

/// An entity of 8 MiB, there in pieces and back in pieces: byte for byte, while the server holds a window at a time.
#[test]
fn a_large_entity_both_ways() {
    Laboratory::run("keep-server-stream", |lab| async move {
        const LEN: usize = 8 << 20;
        const WINDOW: usize = 256 << 10;
        lab.set_time_limit(Duration::from_secs(600));
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI).with_loss(0.01).with_bandwidth(12_500_000));
        let handler = handler_fn(async |request: Request| -> Reply {
            let body = request.body.expect("too large to be whole");
            Answer::from(Packet::new(laxcus6::answer::OKAY).with(1000, "back")).with_body(body).into()
        });
        let limits = ServerLimits { keep_window: WINDOW as u64, ..ServerLimits::default() };
        let server = start(&lab, limits, handler).await;
        let config = own::Config { gather_answers: 0, send_window: 1 << 20, ..own::Config::default() };
        let mut peer = Peer::new(&lab, config);
        let content = Bytes::from(Random::new(1).bytes(LEN));
        let association = peer.endpoint.connect(Peer::now(), to(), &LAXCUS6);
        let head = Packet::new(laxcus6::notify::FLUSH_LOG);
        let asked = peer.endpoint.request_stream(Peer::now(), association, head, LEN as u64).unwrap();
        let mut rest = content.clone();
        peer.endpoint.write(Peer::now(), asked, &mut rest);
        let (mut back, mut most) = (Vec::new(), 0);
        let mut told = false;
        while back.len() < LEN {
            match peer.step().await {
                Some(Event::Writable { ticket }) if ticket == asked => {
                    peer.endpoint.write(Peer::now(), asked, &mut rest);
                }
                Some(Event::Answer { ticket, outcome }) => {
                    assert_eq!(ticket, asked);
                    let (answer, entity) = outcome.unwrap();
                    assert_eq!(answer.first(1000).unwrap().as_str(), Some("back"));
                    assert_eq!(entity, Entity::Streamed(LEN as u64));
                    told = true;
                }
                Some(Event::Broken { error, .. }) => panic!("{error}"),
                _ => {}
            }
            while told && let Some(bytes) = peer.endpoint.read(Peer::now(), asked) {
                back.extend_from_slice(&bytes);
            }
            most = most.max(server.stats().keep_bytes);
        }
        assert!(back == content);
        // A window that comes, what is kept of the answer until it has arrived, and the association.
        let sending = own::Config::SEND_WINDOW as usize;
        assert!(most as usize <= WINDOW + sending + (128 << 10), "{most}");
        assert!(most as usize > WINDOW / 2, "{most}");
        assert_eq!(server.stats().keep_requests, 1);
    });
}

/// What is built into a server is so over the own transport, too; a host's family is UDP's (SPEC 11.9, 11.10).
#[test]
fn built_in_over_the_own_transport() {
    Laboratory::run("keep-server-built-in", |lab| async move {
        let server = lab::serve(&lab, &LAXCUS6, ServerLimits::default(), fixp_transport::Nobody).await;
        let mut peer = Peer::new(&lab, own::Config::default());
        let association = peer.endpoint.connect(Peer::now(), to(), &LAXCUS6);
        let test = Packet::new(laxcus6::notify::TEST).with(laxcus6::key::SPEAK, "TEST!");
        let mut answers = Vec::new();
        for request in [test, numbered(&LAXCUS6, 1, 10)] {
            peer.endpoint.request(Peer::now(), association, request).unwrap();
            answers.push(loop {
                if let Some(Event::Answer { outcome, .. }) = peer.step().await {
                    break outcome.unwrap().0;
                }
            });
        }
        let [accepted, unserved] = answers.try_into().unwrap();
        assert_eq!(accepted.code, laxcus6::answer::ACCEPTED);
        assert_eq!(accepted.first(laxcus6::key::SPEAK).unwrap().as_str(), Some("RE:TEST!"));
        let host = accepted.first(laxcus6::key::HOST).unwrap().as_raw().unwrap();
        let caller = fixp_transport::host::Host::new(Transport::KeepUdp, peer.socket.local_addr());
        assert_eq!(fixp_transport::host::Host::read(host), Some(caller));
        assert_eq!(host[0], 2);
        assert_eq!(unserved.code, tables::of(&LAXCUS6).unserved);
        assert_eq!(server.stats().keep_requests, 2);
    });
}

/// The programs' CANCEL while a request is executed: its work is dropped.
#[test]
fn cancelled_by_the_programs() {
    Laboratory::run("keep-server-cancel-pieces", |lab| async move {
        struct Drops(Arc<AtomicU64>);

        impl Drop for Drops {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }

        let dropped = Arc::new(AtomicU64::new(0));
        let drops = Arc::clone(&dropped);
        let handler = handler_fn(move |_: Request| {
            let guard = Drops(Arc::clone(&drops));
            async move {
                let _guard = guard;
                std::future::pending().await
            }
        });
        let server = start(&lab, ServerLimits::default(), handler).await;
        let socket = lab.host(CLIENT).bind(0).unwrap();
        for (nth, dialect) in [(1, &LAXCUS6), (2, &LEXST1)] {
            let request = Packet::new(application(dialect)).with_entity(vec![7; 100]);
            let pieces = Pieces::cut(dialect, request, Form::of_request(dialect, 1)).unwrap();
            socket.send_to(&pieces.datagram(0).unwrap(), to()).unwrap();
            sleep(SECOND).await;
            assert_eq!((server.stats().keep_requests, dropped.load(Ordering::Relaxed)), (nth, nth - 1));
            // The second one finds nothing.
            for _ in 0..2 {
                let cancel = keep::control::cancel(dialect, None, 1).unwrap();
                socket.send_to(&cancel, to()).unwrap();
                sleep(SECOND).await;
                assert_eq!(dropped.load(Ordering::Relaxed), nth);
            }
            assert_eq!(server.stats().bytes_in_flight, 0);
        }
        // Another request under its identity is as good: nobody waits for the earlier one.
        for nth in 0..100_u8 {
            let request = Packet::new(application(&LAXCUS6)).with_entity(vec![nth; 10]);
            let pieces = Pieces::cut(&LAXCUS6, request, Form::of_request(&LAXCUS6, 2)).unwrap();
            socket.send_to(&pieces.datagram(0).unwrap(), to()).unwrap();
            sleep(SECOND / 100).await;
        }
        let begun = server.stats().keep_requests - 2;
        let ended = dropped.load(Ordering::Relaxed) - 2;
        assert_eq!((begun, ended), (100, 99));
    });
}

/// Who no longer waits says so, and the work is dropped, whether its request is there or still comes.
#[test]
fn cancelled_over_the_own_transport() {
    Laboratory::run("keep-server-cancel", |lab| async move {
        struct Drops(Arc<Mutex<Vec<&'static str>>>, &'static str);

        impl Drop for Drops {
            fn drop(&mut self) {
                self.0.lock().unwrap().push(self.1);
            }
        }

        let dropped = Arc::new(Mutex::new(Vec::new()));
        let drops = Arc::clone(&dropped);
        let handler = handler_fn(move |request: Request| {
            let drops = Arc::clone(&drops);
            async move {
                let _guard = Drops(drops, if request.body.is_some() { "a part" } else { "a whole" });
                if let Some(mut body) = request.body {
                    while let Some(Ok(_)) = body.chunk().await {}
                }
                std::future::pending().await
            }
        });
        let server = start(&lab, ServerLimits::default(), handler).await;
        let mut peer = Peer::new(&lab, own::Config::default());
        let association = peer.endpoint.connect(Peer::now(), to(), &LAXCUS6);
        let head = Packet::new(laxcus6::notify::FLUSH_LOG);
        let whole = peer.endpoint.request(Peer::now(), association, head.clone()).unwrap();
        let part = peer.endpoint.request_stream(Peer::now(), association, head, 1 << 20).unwrap();
        let mut some = Bytes::from(vec![1; 400_000]);
        peer.endpoint.write(Peer::now(), part, &mut some);
        let until = Instant::now() + SECOND;
        while Instant::now() < until {
            peer.step().await;
        }
        assert_eq!(server.stats().keep_requests, 2);
        assert!(dropped.lock().unwrap().is_empty());
        for ticket in [whole, part] {
            peer.endpoint.cancel(Peer::now(), ticket);
            let until = Instant::now() + SECOND;
            while Instant::now() < until {
                peer.step().await;
            }
        }
        assert_eq!(*dropped.lock().unwrap(), ["a whole", "a part"]);
        assert_eq!(server.stats().bytes_in_flight, 0);
    });
}

/// The source of an answer that fails ends its exchange; the association goes on.
#[test]
fn an_answer_that_breaks_off() {
    Laboratory::run("keep-server-broken", |lab| async move {
        let handler = handler_fn(async |request: Request| -> Reply {
            let answer = Answer::from(Packet::new(laxcus6::answer::OKAY));
            match request.packet.entity.first() {
                // Says more than it gives.
                Some(0) => answer.with_body(Body::from_reader(1 << 20, &b"short"[..])).into(),
                Some(1) => {
                    let broken = futures_util::stream::poll_fn(|_| panic!("as the test wants it"));
                    answer.with_body(Body::from_stream(1 << 20, broken)).into()
                }
                _ => answer.with_body(Body::from_bytes(vec![7; 300_000])).into(),
            }
        });
        let _server = start(&lab, ServerLimits::default(), handler).await;
        let mut peer = Peer::new(&lab, own::Config::default());
        let association = peer.endpoint.connect(Peer::now(), to(), &LAXCUS6);
        for (first, whole) in [(0, false), (1, false), (2, true)] {
            let request = Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(vec![first]);
            peer.endpoint.request(Peer::now(), association, request).unwrap();
            let outcome = loop {
                if let Some(Event::Answer { outcome, .. }) = peer.step().await {
                    break outcome;
                }
            };
            assert_eq!(outcome.is_ok(), whole, "{first}: {outcome:?}");
            if let Ok((answer, _)) = outcome {
                assert_eq!(answer.entity.len(), 300_000);
            }
        }
    });
}

/// Where an answer has a body that is its entity, whatever stands in its packet: over each transport.
#[test]
fn a_body_takes_the_place_of_an_entity() {
    Laboratory::run("keep-server-both", |lab| async move {
        let handler = handler_fn(async |request: Request| -> Reply {
            let okay = Packet::new(tables::of(request.peer.dialect).okay).with_entity("it is not this");
            let len = i32::from_le_bytes(*request.packet.entity.first_chunk().unwrap());
            Answer::from(okay).with_body(Body::from_bytes(vec![7; len as usize])).into()
        });
        let _server = start(&lab, ServerLimits::default(), handler).await;
        let connector = lab::open(&lab, Channel::builder(&LAXCUS6));
        let [ours, program] = [true, false].map(|ours| client(&lab, &LAXCUS6).extensions(ours).build());
        for len in [0, 100, 300_000_u32] {
            let asks = || Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(len.to_le_bytes().to_vec());
            for answer in [
                connector.call(asks()).await,
                ours.request(to(), asks()).await,
                program.request(to(), asks()).await,
            ] {
                assert!(answer.unwrap().entity == vec![7; len as usize], "{len} bytes");
            }
        }
        assert_eq!((ours.stats().own, program.stats().own), (3, 0));
    });
}

// Many.

/// A thousand peers of each kind at one socket: every request is executed once, and answered to its own peer.
#[test]
fn a_thousand_peers_of_each_kind() {
    Laboratory::run("keep-server-many", |lab| async move {
        const PEERS: u32 = 1000;
        lab.set_time_limit(Duration::from_secs(3600));
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        // All of them begin in the same instant, so the socket's buffer is as large as a server asks for.
        lab.set_hosts(HostConfig::default().with_datagram_queue(BatchedSocket::BUFFER));
        let seen = Seen::default();
        let server = start(&lab, ServerLimits::default(), echo(&seen)).await;
        let mut tasks = Vec::new();
        for number in 0..PEERS {
            let at = lab.host(CLIENT).bind(0).unwrap();
            tasks.push(tokio::spawn(async move {
                let sent = numbered(&LAXCUS6, number, 1500);
                let pieces = Pieces::cut(&LAXCUS6, sent.clone(), Form::of_request(&LAXCUS6, 1)).unwrap();
                for index in 0..pieces.count() {
                    at.send_to(&pieces.datagram(index).unwrap(), to()).unwrap();
                }
                let (mut group, mut buffer) = (None, vec![0; 2048]);
                let answer = loop {
                    let (len, _) = timeout(60 * SECOND, at.recv_from(&mut buffer)).await.unwrap().unwrap();
                    let packet = Decoder::new(&LAXCUS6).packet(&buffer[..len]).unwrap();
                    let Some(mark) = Mark::of(&LAXCUS6, &packet) else { continue };
                    let gather = group.get_or_insert_with(|| Gather::new(mark));
                    if gather.add(mark, &packet, 0, Bounds::default()) == Added::Whole {
                        break group.take().and_then(|group| group.join(&LAXCUS6)).unwrap();
                    }
                };
                assert_eq!(answer.entity, sent.entity);
                at.send_to(&keep::control::cancel(&LAXCUS6, None, 1).unwrap(), to()).unwrap();
            }));
        }
        for number in PEERS..2 * PEERS {
            let mut peer = Peer::new(&lab, own::Config::default());
            tasks.push(tokio::spawn(async move {
                let sent = numbered(&LAXCUS6, number, 1500);
                let association = peer.endpoint.connect(Peer::now(), to(), &LAXCUS6);
                peer.endpoint.request(Peer::now(), association, sent.clone()).unwrap();
                let answer = loop {
                    if let Some(Event::Answer { outcome, .. }) = peer.step().await {
                        break outcome.unwrap().0;
                    }
                };
                assert_eq!(answer.entity, sent.entity);
                peer.endpoint.close(Peer::now(), association);
                let until = Instant::now() + SECOND;
                while Instant::now() < until {
                    peer.step().await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(seen.lock().unwrap().len(), 2 * PEERS as usize);
        assert!(seen.lock().unwrap().values().all(|ways| ways == &[Transport::KeepUdp]));
        // All of them have said that they have gone.
        sleep(5 * SECOND).await;
        assert_eq!(server.stats().keep_bytes, 0);
    });
}

/// The source of an answer that nobody waits for any more is dropped, though it never gives anything again.
#[test]
fn the_body_of_a_cancelled_answer_is_dropped() {
    struct Source(Arc<AtomicU64>);
    impl Drop for Source {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    Laboratory::run("keep-server-body-cancelled", |lab| async move {
        lab.set_time_limit(Duration::from_secs(3600));
        let dropped = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&dropped);
        let handler = handler_fn(move |_: Request| {
            let source = Source(Arc::clone(&count));
            async move {
                // A log that is followed: its first bytes at once, the next ones some day.
                let mut first = Some(Bytes::from_static(&[7; 1000]));
                let tail = futures_util::stream::poll_fn(move |_| {
                    let _ = &source;
                    first
                        .take()
                        .map_or(std::task::Poll::Pending, |first| std::task::Poll::Ready(Some(Ok(first))))
                });
                Reply::from(
                    Answer::from(Packet::new(laxcus6::answer::OKAY))
                        .with_body(Body::from_stream(1 << 20, tail)),
                )
            }
        });
        let _server = start(&lab, ServerLimits::default(), handler).await;
        let mut peer = Peer::new(&lab, own::Config::default());
        let association = peer.endpoint.connect(Peer::now(), to(), &LAXCUS6);
        for _ in 0..20 {
            let ticket = peer
                .endpoint
                .request(Peer::now(), association, Packet::new(laxcus6::notify::FLUSH_LOG))
                .unwrap();
            let until = Instant::now() + Duration::from_millis(500);
            while Instant::now() < until {
                let _ = timeout(Duration::from_millis(50), peer.step()).await;
            }
            peer.endpoint.cancel(Peer::now(), ticket);
        }
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            let _ = timeout(Duration::from_millis(500), peer.step()).await;
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 20);
    });
}

// The end.

/// What has been begun is finished when a server stops, and its answer leaves, however large; what never ends is cut
/// and counted.
#[test]
fn the_end() {
    for ours in [false, true] {
        Laboratory::run(&format!("keep-server-end-{ours}"), |lab| async move {
            lab.set_time_limit(Duration::from_secs(3600));
            lab.set_links(LinkConfig::default().with_delay(20 * MILLI));
            let handler = handler_fn(async |request: Request| -> Reply {
                match lab::number(&request.packet) {
                    0 => {}
                    1 => sleep(2 * SECOND).await,
                    _ => std::future::pending().await,
                }
                Packet::new(laxcus6::answer::OKAY).with_entity(vec![9; 1 << 20]).into()
            });
            let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
            let builder = Server::builder(handler).public_key(key).keep_allow(AllowList::everyone());
            let server = builder.start().await.unwrap();
            server.serve_datagrams(Socket(lab.host(SERVER).bind(PORT).unwrap())).unwrap();
            let client = client(&lab, &LAXCUS6).extensions(ours).timeout(Duration::from_secs(100)).build();
            client.request(to(), numbered(&LAXCUS6, 0, 10)).await.unwrap();
            let [finished, cut] = [1, 2].map(|number| {
                let client = client.clone();
                tokio::spawn(async move { client.request(to(), numbered(&LAXCUS6, number, 10)).await })
            });
            sleep(SECOND).await;
            let report = server.shutdown(10 * SECOND).await;
            assert_eq!((report.cut, report.late), (1, true), "{report:?}");
            assert!(report.finished > 10, "{report:?}");
            assert_eq!(finished.await.unwrap().unwrap().entity.len(), 1 << 20);
            assert_eq!((report.stats.keep_bytes, report.stats.bytes_in_flight), (0, 0));
            // Nothing answers any more.
            assert!(client.request(to(), numbered(&LAXCUS6, 0, 10)).await.is_err());
            assert!(cut.await.unwrap().is_err());
        });
    }
}

/// A server that has nothing to do ends at once, whoever it remembers.
#[test]
fn an_idle_end() {
    for ours in [false, true] {
        Laboratory::run(&format!("keep-server-idle-{ours}"), |lab| async move {
            let seen = Seen::default();
            let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
            let server = Server::builder(echo(&seen)).public_key(key).start().await.unwrap();
            server.serve_datagrams(Socket(lab.host(SERVER).bind(PORT).unwrap())).unwrap();
            let client = client(&lab, &LAXCUS6).extensions(ours).build();
            for number in 0..3 {
                client.request(to(), numbered(&LAXCUS6, number, 5000)).await.unwrap();
            }
            sleep(SECOND).await;
            let begin = Instant::now();
            let report = server.shutdown(10 * SECOND).await;
            assert_eq!((report.cut, report.late), (0, false), "{report:?}");
            assert!(begin.elapsed() < SECOND, "{:?}", begin.elapsed());
        });
    }
}
