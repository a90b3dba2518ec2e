//! The client and the heartbeat on simulated links: lossy, doubling, reordering, on a virtual clock.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_laboratory::{Host, Laboratory, LinkConfig, Random};
use fixp_transport::heartbeat::{self, Event, State, Why};
use fixp_transport::host::Node;
use fixp_transport::server::{DialectChoice, PublicKey, Server};
use fixp_transport::socket::{Bind, Datagrams};
use fixp_transport::udp::{Client, Options, Repeat, Security, Stats};
use fixp_transport::{CallError, Cause, Channel, Echo, Fate, Reply, Request, handler_fn};
use lab::{Binder, Socket};
use tokio::io::ReadBuf;
use tokio::time::{Instant, sleep, timeout};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

const MILLI: Duration = Duration::from_millis(1);

/// Loses, doubles and reorders, and holds nothing for longer than 80 ms.
fn bad() -> LinkConfig {
    LinkConfig::default()
        .with_delay(10 * MILLI)
        .with_jitter(20 * MILLI)
        .with_loss(0.15)
        .with_duplicate(0.15)
        .with_reorder(0.1, 50 * MILLI)
}

/// How much longer than the fastest the slowest of our servers on bad links works.
const SLOWEST: Duration = Duration::from_millis(100);
/// How long the second answer may come after the first: link, server and link may differ.
const SETTLE: Duration = Duration::from_millis(70 + 100 + 70 + 1);

fn client(host: &Host, dialect: &'static Dialect, time: Duration, quarantine: Duration) -> Client {
    Client::builder()
        .dialect(dialect)
        .timeout(time)
        .random(1)
        .configure(|config| {
            config.settle = SETTLE;
            config.quarantine = quarantine;
            config.query_every = Duration::from_millis(300);
        })
        .sockets(Some(Binder(host.clone())), None)
        .build()
}

fn request(dialect: &Dialect, tag: u32) -> Packet {
    let code = if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
    Packet::new(code).with_entity(tag.to_le_bytes().to_vec())
}

type Executed = Arc<Mutex<HashSet<Bytes>>>;

/// A server that knows nothing of ours, and takes as long as it likes.
fn legacy(host: &Host, dialect: &'static Dialect, slowest: Duration, mut random: Random) -> Executed {
    let socket = Arc::new(host.bind(6600).unwrap());
    let executed = Executed::default();
    let done = Arc::clone(&executed);
    tokio::spawn(async move {
        let mut buffer = vec![0; 65536];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let request = Decoder::new(dialect).packet(&buffer[..len]).unwrap().to_packet().unwrap();
            let (answer, delay) = if request.code == laxcus6::notify::SECURE_QUERY {
                let notify = Packet::new(laxcus6::answer::SECURE_NOTIFY);
                (notify.with_entity(vec![0; 5]), Duration::ZERO)
            } else {
                done.lock().unwrap().insert(request.entity.clone());
                let okay = fixp_transport::tables::of(dialect).okay;
                (Packet { code: okay, ..request }, random.duration(slowest))
            };
            let (socket, wire) = (Arc::clone(&socket), answer.to_bytes(dialect).unwrap());
            tokio::spawn(async move {
                sleep(delay).await;
                socket.send_to(&wire, from).unwrap();
            });
        }
    });
    executed
}

/// Many requests, some at once; each must end in its own answer or in a truthful error.
async fn flood(
    client: &Client,
    server: SocketAddr,
    dialect: &'static Dialect,
    every: Duration,
    repeat: Repeat,
) -> Flood {
    let mut tasks = Vec::new();
    for tag in 0..200_u32 {
        let client = client.clone();
        tasks.push(tokio::spawn(async move {
            sleep(every * tag).await;
            let options = Options { repeat, ..Options::default() };
            let answer = client.request_with(server, request(dialect, tag), options).await;
            (tag, answer)
        }));
    }
    let mut flood = Flood::default();
    for task in tasks {
        let (tag, answer) = task.await.unwrap();
        match answer {
            Ok(answer) => {
                assert_eq!(answer.entity[..], tag.to_le_bytes(), "the answer to another request");
                flood.answers += 1;
            }
            Err(error) => flood.errors.push((tag, error)),
        }
    }
    flood
}

#[derive(Default)]
struct Flood {
    answers: usize,
    errors: Vec<(u32, CallError)>,
}

impl Flood {
    /// An error that says that nothing was executed tells the truth.
    fn check(&self, executed: &Executed) {
        let executed = executed.lock().unwrap();
        for (tag, error) in &self.errors {
            assert_eq!(error.cause, Cause::Timeout, "{error}");
            if error.fate == Fate::NotSent {
                assert!(!executed.contains(&tag.to_le_bytes()[..]), "{tag} was executed");
            }
        }
    }
}

fn balanced(stats: &Stats) {
    assert_eq!(stats.requests, stats.answers + stats.timeouts + stats.cancelled + stats.failed, "{stats:?}");
    assert_eq!((stats.in_flight, stats.in_flight_bytes, stats.waiting), (0, 0, 0), "{stats:?}");
    assert!(stats.ports <= 16, "{stats:?}");
}

#[test]
fn lossy_links_to_a_legacy_server() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run_seeds(&format!("legacy-{}", dialect.name()), 0..8, |lab| async move {
            let (a, b) = (lab.host([10, 0, 0, 1].into()), lab.host([10, 0, 0, 2].into()));
            lab.set_links(bad());
            let executed = legacy(&b, dialect, SLOWEST, lab.random());
            let client = client(&a, dialect, Duration::from_secs(5), Duration::from_secs(5));
            let repeat = Repeat::Harmless { times: 5, every: 400 * MILLI };
            let server = SocketAddr::new(b.ip(), 6600);
            let flood = flood(&client, server, dialect, 40 * MILLI, repeat).await;
            flood.check(&executed);
            let stats = client.stats();
            balanced(&stats);
            // With repetitions most arrive. (Every port that sent one twice rests for 5 s.)
            assert!(flood.answers > 60, "{} {stats:?}", flood.answers);
            assert!(stats.repeats > 0 && stats.late > 0, "{stats:?}");
        });
    }
}

/// Answers come after their time is over, some long after: none goes to the next request.
#[test]
fn late_answers() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run_seeds(&format!("late-{}", dialect.name()), 0..8, |lab| async move {
            let (a, b) = (lab.host([10, 0, 0, 1].into()), lab.host([10, 0, 0, 2].into()));
            lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
            let executed = legacy(&b, dialect, 2000 * MILLI, lab.random());
            // A request that got its port late may be given up as soon as it was sent.
            let client = client(&a, dialect, Duration::from_secs(1), 2011 * MILLI);
            let server = SocketAddr::new(b.ip(), 6600);
            let flood = flood(&client, server, dialect, 250 * MILLI, Repeat::Never).await;
            flood.check(&executed);
            let stats = client.stats();
            balanced(&stats);
            assert!(flood.answers > 50 && flood.errors.len() > 50 && stats.late > 30, "{stats:?}");
        });
    }
}

/// Callers without patience in a partition: each leaves a port at which its answer may still come, as many as may be
/// open. When the network is whole again the next request has a fresh one at once, and what comes late is nobody's.
#[test]
fn impatient_callers_use_up_no_ports() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("impatient-{}", dialect.name()), |lab| async move {
            let (a, b) = (lab.host([10, 0, 0, 1].into()), lab.host([10, 0, 0, 2].into()));
            lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
            let executed = legacy(&b, dialect, MILLI, lab.random());
            let client = Client::builder().dialect(dialect).extensions(false).security(Security::Unasked);
            let client = client.sockets(Some(Binder(a.clone())), None).build();
            let server = SocketAddr::new(b.ip(), 6600);
            lab.partition(a.ip(), b.ip());
            for tag in 0..16 {
                let gone = timeout(1000 * MILLI, client.request(server, request(dialect, tag))).await;
                assert!(gone.is_err());
            }
            assert_eq!(client.stats().sent, 16);
            lab.heal(a.ip(), b.ip());
            for tag in 16..40 {
                let begun = lab.now();
                let answer = client.request(server, request(dialect, tag)).await.unwrap();
                assert_eq!(answer.entity[..], tag.to_le_bytes());
                assert!(lab.now() - begun < 50 * MILLI, "{:?}", lab.now() - begun);
                // One whose answer is under way when its caller goes.
                let gone = timeout(8 * MILLI, client.request(server, request(dialect, 1000 + tag))).await;
                assert!(gone.is_err());
            }
            let stats = client.stats();
            assert_eq!((stats.answers, stats.cancelled), (24, 16 + 24), "{stats:?}");
            assert!(stats.ports <= 16, "{stats:?}");
            assert!(executed.lock().unwrap().len() >= 24);
        });
    }
}

/// A little loss, and requests that are repeated when they seem lost: each makes its port unfit for a minute, and all the
/// same the others find one.
#[test]
fn a_little_loss_uses_up_no_ports() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("little-loss-{}", dialect.name()), |lab| async move {
            let (a, b) = (lab.host([10, 0, 0, 1].into()), lab.host([10, 0, 0, 2].into()));
            lab.set_links(LinkConfig::default().with_delay(2 * MILLI).with_loss(0.01));
            legacy(&b, dialect, MILLI, lab.random());
            let client = Client::builder().dialect(dialect).extensions(false).security(Security::Unasked);
            let client = client.sockets(Some(Binder(a)), None).build();
            let repeat = Repeat::Harmless { times: 3, every: 300 * MILLI };
            let options = Options { repeat, ..Options::default() };
            let server = SocketAddr::new(b.ip(), 6600);
            let mut tasks = Vec::new();
            for tag in 0..3000_u32 {
                let client = client.clone();
                tasks.push(tokio::spawn(async move {
                    sleep(20 * MILLI * tag).await;
                    let begun = Instant::now();
                    let answer = client.request_with(server, request(dialect, tag), options).await.unwrap();
                    assert_eq!(answer.entity[..], tag.to_le_bytes());
                    assert!(begun.elapsed() < 1000 * MILLI, "{tag} {:?}", begun.elapsed());
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            balanced(&client.stats());
            assert!(client.stats().repeats > 40, "{:?}", client.stats());
        });
    }
}

/// Between our own: one port, hundreds at a time, duplicates and late answers are ignored.
#[test]
fn lossy_links_to_our_own() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run_seeds(&format!("own-{}", dialect.name()), 0..8, |lab| async move {
            let (a, b) = (lab.host([10, 0, 0, 1].into()), lab.host([10, 0, 0, 2].into()));
            lab.set_links(bad());
            let executed = Executed::default();
            let (done, random) = (Arc::clone(&executed), Arc::new(Mutex::new(lab.random())));
            let handler = handler_fn(move |request: Request| {
                done.lock().unwrap().insert(request.packet.entity.clone());
                let delay = random.lock().unwrap().duration(300 * MILLI);
                async move {
                    sleep(delay).await;
                    let code = fixp_transport::tables::of(request.peer.dialect).okay;
                    Reply::from(Packet::new(code).with_entity(request.packet.entity))
                }
            });
            let server = Server::builder(handler)
                .dialect(DialectChoice::Fixed(dialect))
                .public_key(key())
                .start()
                .await
                .unwrap();
            server.serve_datagrams(Socket(b.bind(6600).unwrap())).unwrap();
            let client = client(&a, dialect, Duration::from_secs(5), Duration::from_secs(5));
            let repeat = Repeat::Harmless { times: 8, every: 500 * MILLI };
            let addr = SocketAddr::new(b.ip(), 6600);
            let flood = flood(&client, addr, dialect, 5 * MILLI, repeat).await;
            flood.check(&executed);
            let stats = client.stats();
            balanced(&stats);
            assert!(flood.answers > 195, "{} {stats:?}", flood.answers);

            // A caller that goes away is told to the server, and costs nothing here.
            let gone = timeout(MILLI, client.request(addr, request(dialect, 1000))).await;
            assert!(gone.is_err());
            balanced(&client.stats());
            assert_eq!(client.stats().cancelled, 1);
            sleep(Duration::from_secs(3600 / 4)).await;
            let stats = client.stats();
            assert_eq!((stats.ports, stats.peers), (1, 0), "{stats:?}");
        });
    }
}

fn key() -> PublicKey {
    PublicKey::new(&[0xc5; 64], &[1, 0, 1]).unwrap()
}

/// A closed client leaves nothing: requests under way end, later ones are refused, its ports are free.
#[test]
fn closing() {
    Laboratory::run("closing", |lab| async move {
        let (a, b) = (lab.host([10, 0, 0, 1].into()), lab.host([10, 0, 0, 2].into()));
        let client = client(&a, &LEXST1, Duration::from_secs(100), Duration::from_secs(60));
        let server = SocketAddr::new(b.ip(), 6600);
        let other = client.clone();
        let under_way = tokio::spawn(async move { other.request(server, request(&LEXST1, 1)).await });
        sleep(MILLI).await;
        assert_eq!(client.stats().ports, 1);
        client.close();
        let closed = |fate| CallError { cause: Cause::Closed, fate };
        assert_eq!(under_way.await.unwrap().unwrap_err(), closed(Fate::PossiblyExecuted));
        let late = client.request(server, request(&LEXST1, 2)).await.unwrap_err();
        assert_eq!(late, closed(Fate::NotSent));
        assert_eq!((client.stats().ports, client.stats().peers, client.stats().in_flight), (0, 0, 0));
        // No binder for IPv6 was given.
        let client = self::client(&a, &LEXST1, Duration::from_secs(100), Duration::from_secs(60));
        let error =
            client.request("[2001:db8::1]:1".parse().unwrap(), request(&LEXST1, 3)).await.unwrap_err();
        assert_eq!(
            error,
            CallError { cause: Cause::Connect(io::ErrorKind::Unsupported), fate: Fate::NotSent }
        );
        // Crashed: the port breaks.
        let other = client.clone();
        let under_way = tokio::spawn(async move { other.request(server, request(&LEXST1, 4)).await });
        sleep(MILLI).await;
        a.crash();
        let error = under_way.await.unwrap().unwrap_err();
        assert!(matches!(error.cause, Cause::Lost(_)), "{error}");
        assert_eq!(error.fate, Fate::PossiblyExecuted);
    });
}

/// Counts the warnings of the crate.
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("fixp_transport::server")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Relaxed);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Of answers that are longer than a frame a server warns once a minute, and counts them all.
#[test]
fn long_answers_are_warned_of_now_and_then() {
    let warnings = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Warnings(Arc::clone(&warnings)));
    Laboratory::run("long-answers", |lab| async move {
        let (a, b) = (lab.host([10, 0, 0, 1].into()), lab.host([10, 0, 0, 2].into()));
        let server = Server::builder(Echo).dialect(DialectChoice::Fixed(&LEXST1)).start().await.unwrap();
        server.serve_datagrams(Socket(b.bind(6600).unwrap())).unwrap();
        let client = Client::builder().dialect(&LEXST1).sockets(Some(Binder(a)), None).build();
        let mut warned = Vec::new();
        for (pause, len) in [(0, 1000), (0, 3000), (1, 3000), (58, 3000), (1, 1000), (1, 3000), (1, 3000)] {
            sleep(Duration::from_secs(pause)).await;
            let ask = Packet::new(lexst1::app::ADD_LOG).with_entity(vec![7; len]);
            client.request(SocketAddr::new(b.ip(), 6600), ask).await.unwrap();
            warned.push((server.stats().datagrams_long, warnings.load(Relaxed)));
        }
        assert_eq!(warned, [(0, 0), (1, 1), (2, 1), (3, 1), (3, 1), (4, 2), (5, 2)]);
    });
}

/// A hub that is cut off and comes back, seen by the service; and COMEBACK.
#[test]
fn heartbeat_service() {
    Laboratory::run("heartbeat", |lab| async move {
        let (a, b) = (lab.host([10, 0, 0, 1].into()), lab.host([10, 0, 0, 2].into()));
        let hub = SocketAddr::new(b.ip(), 6600);
        let socket = b.bind(6600).unwrap();
        let heard = Arc::new(Mutex::new(0_usize));
        let helos = Arc::clone(&heard);
        tokio::spawn(async move {
            let mut buffer = vec![0; 65536];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                let code = Decoder::new(&LAXCUS6).packet(&buffer[..len]).unwrap().code();
                let answer = if code == laxcus6::notify::HELO {
                    *helos.lock().unwrap() += 1;
                    laxcus6::answer::ISEE
                } else {
                    assert_eq!(code, laxcus6::notify::TEST);
                    laxcus6::answer::ACCEPTED
                };
                let answer = Packet::new(answer).with(laxcus6::key::SPEAK, "i say helo!");
                socket.send_to(&answer.to_bytes(&LAXCUS6).unwrap(), from).unwrap();
            }
        });
        let node = Node::new(8, a.ip(), 6600, 6600);
        let config = heartbeat::Config::laxcus6(&node);
        let (service, mut events) = heartbeat::Service::start(Socket(a.bind(0).unwrap()), config).unwrap();
        assert!(service.add(hub));
        assert_eq!(events.next().await, Some(Event::Up(hub)));
        let up = lab.now();
        lab.partition(a.ip(), b.ip());
        assert_eq!(events.next().await, Some(Event::Suspect(hub)));
        let since = |then: Duration| (lab.now() - then).as_millis();
        // The clock of tokio counts milliseconds.
        assert!((39_990..40_010).contains(&since(up)), "{}", since(up));
        assert_eq!(events.next().await, Some(Event::Down(hub)));
        assert!((99_990..100_010).contains(&since(up)), "{}", since(up));
        lab.heal(a.ip(), b.ip());
        assert_eq!(events.next().await, Some(Event::Up(hub)));
        assert_eq!(events.next().await, Some(Event::LogIn(hub, Why::Returned)));
        assert!(since(up) < 120_100, "{}", since(up));
        assert!(service.logged_in(hub));

        let before = *heard.lock().unwrap();
        assert!(service.comeback(hub));
        sleep(100 * MILLI).await;
        assert_eq!(*heard.lock().unwrap() - before, 5);
        assert_eq!(service.state(hub), Some(State::Up));
        let stats = service.stats();
        assert_eq!((stats.up, stats.down, stats.malformed, stats.strangers), (1, 0, 0, 0), "{stats:?}");

        // The last handle stops it; what is not read yet is told first.
        drop(service);
        assert_eq!(events.next().await, None);
    });
}

/// COMEBACK as it comes from a hub: HELO at once, in a burst that a second COMEBACK does not make longer (SPEC 11.15); of
/// anyone else it is nothing.
#[test]
fn comeback_is_answered_by_a_burst() {
    for (dialect, expected) in [(&LAXCUS6, vec![0; 5]), (&LEXST1, vec![0, 0, 0, 1, 1, 1, 2, 2, 2])] {
        Laboratory::run(&format!("comeback-{}", dialect.name()), |lab| async move {
            let (a, b) = (lab.host([10, 0, 0, 1].into()), lab.host([10, 0, 0, 2].into()));
            let (hub, stranger) = (b.bind(6600).unwrap(), b.bind(6601).unwrap());
            let config = if dialect.name() == "lexst1" {
                heartbeat::Config::lexst1(5, a.ip(), 6001, 6002)
            } else {
                heartbeat::Config::laxcus6(&Node::new(8, a.ip(), 6600, 6600))
            };
            let (service, mut events) =
                heartbeat::Service::start(Socket(a.bind(0).unwrap()), config).unwrap();
            assert!(service.add(hub.local_addr()));
            let habits = fixp_transport::tables::of(dialect);
            let wire = |code| Packet::new(code).to_bytes(dialect).unwrap();
            let mut buffer = [0; 200];
            let (_, node) = hub.recv_from(&mut buffer).await.unwrap();
            // ISEE is the same in both.
            hub.send_to(&wire(laxcus6::answer::ISEE), node).unwrap();
            assert_eq!(events.next().await, Some(Event::Up(hub.local_addr())));

            stranger.send_to(&wire(habits.comeback), node).unwrap();
            assert!(timeout(5000 * MILLI, hub.recv_from(&mut buffer)).await.is_err());
            assert_eq!((service.stats().strangers, service.stats().helos), (1, 1));

            let (begun, mut told) = (Instant::now(), Vec::new());
            for _ in 0..2 {
                hub.send_to(&wire(habits.comeback), node).unwrap();
            }
            // Until long before the next HELO of its own time.
            while let Ok(came) = timeout(5000 * MILLI, hub.recv_from(&mut buffer)).await {
                let (len, from) = came.unwrap();
                assert_eq!(Decoder::new(dialect).packet(&buffer[..len]).unwrap().code(), habits.helo);
                assert_eq!(from, node);
                // The clock of tokio counts milliseconds.
                told.push((begun.elapsed() + 20 * MILLI).as_secs());
            }
            assert_eq!(told, expected, "{}", dialect.name());
        });
    }
}

/// HELO of lexst1 as the pages have it, with BIND_IP in front.
#[test]
fn heartbeat_of_lexst1() {
    Laboratory::run("heartbeat-lexst1", |lab| async move {
        let (a, b) = (lab.host([10, 0, 0, 1].into()), lab.host([10, 0, 0, 2].into()));
        let hub = b.bind(5000).unwrap();
        let config = heartbeat::Config::lexst1(5, a.ip(), 6001, 6002);
        let (service, mut events) = heartbeat::Service::start(Socket(a.bind(0).unwrap()), config).unwrap();
        assert!(service.add(hub.local_addr()));
        let mut buffer = [0; 100];
        let (len, from) = hub.recv_from(&mut buffer).await.unwrap();
        let pages = "87000103010600370808103130 2e302e302e31 d00701 6005 34080810 31302e302e302e31 \
                     35080260 7117 36080260 7217 06040160 00";
        let pages: String = pages.split_whitespace().collect();
        assert_eq!(hex::encode(&buffer[..len]), pages);
        let answer = Packet::new(lexst1::answer::NOTLOGIN).to_bytes(&LEXST1).unwrap();
        hub.send_to(&answer, from).unwrap();
        assert_eq!(events.next().await, Some(Event::Up(hub.local_addr())));
        assert_eq!(events.next().await, Some(Event::LogIn(hub.local_addr(), Why::NotLogin)));
    });
}

/// A socket with nothing to give, which once, after this time, takes the whole turn of its task to find out.
struct Busy {
    from: Instant,
    left: AtomicUsize,
    sent: Arc<AtomicUsize>,
}

impl Datagrams for Busy {
    fn poll_recv_from(&self, cx: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<SocketAddr>> {
        if Instant::now() >= self.from && self.left.swap(0, Relaxed) > 0 {
            while pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
        }
        Poll::Pending
    }

    fn poll_send_to(&self, _: &mut Context<'_>, buf: &[u8], _: SocketAddr) -> Poll<io::Result<usize>> {
        self.sent.fetch_add(1, Relaxed);
        Poll::Ready(Ok(buf.len()))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok("192.0.2.1:6600".parse().unwrap())
    }
}

struct BusyBinder(Arc<AtomicUsize>);

impl Bind for BusyBinder {
    type Socket = Busy;

    async fn bind(&self) -> io::Result<Busy> {
        Ok(Busy { from: Instant::now() + 500 * MILLI, left: AtomicUsize::new(1), sent: Arc::clone(&self.0) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_used_up_loses_no_timer() {
    let sent = Arc::new(AtomicUsize::new(0));
    let client = Client::builder().sockets(Some(BusyBinder(Arc::clone(&sent))), None).build();
    let repeat = Repeat::Harmless { times: 3, every: Duration::from_secs(1) };
    let options = Options { repeat, timeout: Some(Duration::from_secs(9)), ..Options::default() };
    let peer = "192.0.2.2:6600".parse().unwrap();
    // It has no SECURE_QUERY before it.
    let request = client.request_with(peer, Packet::new(laxcus6::notify::TEST), options);
    let outcome = timeout(Duration::from_secs(60), request).await.unwrap();
    assert_eq!(outcome.unwrap_err().cause, Cause::Timeout);
    assert_eq!(sent.load(Relaxed), 4);
}

/// The first answer of a server that is not there at once waits for no other datagram.
#[test]
fn a_first_answer_that_takes_its_time() {
    for dialect in [&LAXCUS6, &LEXST1] {
        for ours in [false, true] {
            for keep_udp in [false, true] {
                Laboratory::run("first-answer", |lab| async move {
                    let (a, b) = (lab.host([10, 0, 0, 1].into()), lab.host([10, 0, 0, 2].into()));
                    let handler = handler_fn(move |request: Request| async move {
                        sleep(MILLI).await;
                        let okay = fixp_transport::tables::of(dialect).okay;
                        Reply::from(Packet::new(okay).with_entity(request.packet.entity))
                    });
                    let server = Server::builder(handler).dialect(DialectChoice::Fixed(dialect));
                    let server = server.public_key(key()).start().await.unwrap();
                    server.serve_datagrams(Socket(b.bind(6600).unwrap())).unwrap();
                    let to = SocketAddr::new(b.ip(), 6600);
                    let ask = request(dialect, 1);
                    // Neither way asks again within this time.
                    let time = 900 * MILLI;
                    let answer = if keep_udp {
                        let channel =
                            Channel::builder(dialect).extensions(ours).timeout(time).seed(lab.seed());
                        channel.keep_udp_over(to, Binder(a)).call(ask).await
                    } else {
                        let client = Client::builder().dialect(dialect).extensions(ours).timeout(time);
                        client.sockets(Some(Binder(a)), None).build().request(to, ask).await
                    };
                    answer.unwrap_or_else(|error| panic!("{} {ours} {keep_udp}: {error}", dialect.name()));
                });
            }
        }
    }
}

/// A socket for both families tells an IPv4 peer by its mapped address, and a link-local one by its interface, too: it is
/// the peer that was added.
#[test]
fn heartbeat_of_other_forms_of_an_address() {
    for (form, told) in [
        ("[fe80::1%3]:6600", "[fe80::1%3]:6600"),
        ("[::ffff:10.0.0.2]:6600", "10.0.0.2:6600"),
        ("10.0.0.2:6600", "10.0.0.2:6600"),
    ] {
        Laboratory::run("heartbeat-forms", |lab| async move {
            drop(lab);
            let (form, told): (SocketAddr, SocketAddr) = (form.parse().unwrap(), told.parse().unwrap());
            let node = Node::new(8, [10, 0, 0, 1].into(), 6600, 6600);
            let (service, mut events) =
                heartbeat::Service::start(Mirror::default(), heartbeat::Config::laxcus6(&node)).unwrap();
            assert!(service.add(form));
            assert_eq!(events.next().await, Some(Event::Up(told)));
            assert_eq!(service.state(form), Some(State::Up));
            assert_eq!((service.stats().up, service.stats().strangers), (1, 0));
        });
    }
}

/// A socket for both families with ISEE for every HELO, from where it went to.
#[derive(Default)]
struct Mirror {
    answers: Mutex<Vec<SocketAddr>>,
    reader: futures_util::task::AtomicWaker,
}

impl Datagrams for Mirror {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok("[::]:6600".parse().unwrap())
    }

    fn poll_send_to(&self, _: &mut Context<'_>, bytes: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
        assert!(to.is_ipv6(), "the socket takes none of IPv4: {to}");
        self.answers.lock().unwrap().push(to);
        self.reader.wake();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_recv_from(&self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<SocketAddr>> {
        self.reader.register(cx.waker());
        let Some(from) = self.answers.lock().unwrap().pop() else { return Poll::Pending };
        into.put_slice(&Packet::new(laxcus6::answer::ISEE).to_bytes(&LAXCUS6).unwrap());
        Poll::Ready(Ok(from))
    }
}
