//! Channel and server on a network that cuts, stalls, partitions and reorders, on a virtual clock: every request
//! ends in an answer or a truthful error, and nothing is executed twice on an ordered channel (SPEC 10.5).
//!
//! A run that fails prints its seed; `FIXP_SEED` runs it again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixp_codec::{Dialect, LAXCUS6, LEXST1, Packet};
use fixp_laboratory::{Cut, Direction, HostConfig, Laboratory, LinkConfig};
use fixp_transport::limits::ServerLimits;
use fixp_transport::{CallError, CallOptions, Channel, ChannelBuilder, CutReport, Fate, Repeat};
use futures_util::future::join_all;
use lab::{CLIENT, Counting, PORT, SERVER, large, numbered, open, serve};
use tokio::time::sleep;

const BOTH: [&Dialect; 2] = [&LEXST1, &LAXCUS6];
const CUTS: [Cut; 3] = [Cut::Reset, Cut::Fin, Cut::Silence];
const DIRECTIONS: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How a channel is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// To a peer of another make, one request at a time.
    Legacy,
    /// The same with more under way.
    Pipelined,
    /// To one of ours.
    Own,
    /// To one of ours, in order.
    Ordered,
}

const MODES: [Mode; 4] = [Mode::Legacy, Mode::Pipelined, Mode::Own, Mode::Ordered];

fn builder(dialect: &'static Dialect, mode: Mode) -> ChannelBuilder {
    let builder = Channel::builder(dialect)
        .extensions(matches!(mode, Mode::Own | Mode::Ordered))
        .timeout(seconds(20))
        .connect_time(seconds(4))
        .heartbeat(Some(seconds(3)), seconds(2))
        .backoff(Duration::from_millis(50), seconds(1));
    match mode {
        Mode::Legacy | Mode::Own => builder,
        Mode::Pipelined => builder.depth(8),
        Mode::Ordered => builder.ordered(),
    }
}

/// A request and what came of it.
struct Call {
    number: u32,
    repeat: Repeat,
    outcome: Result<Packet, CallError>,
}

async fn call(channel: &Channel, dialect: &Dialect, number: u32, millis: u32, options: CallOptions) -> Call {
    let outcome = channel.call_with(numbered(dialect, number, millis), options).await;
    Call { number, repeat: options.repeat, outcome }
}

/// Whether what the callers were told is true.
#[track_caller]
fn check(mode: Mode, calls: &[Call], handler: &Counting, case: &str) {
    for Call { number, repeat, outcome } in calls {
        let times = handler.times(*number);
        let case = format!("{case}, request {number}: {outcome:?}, executed {times} times");
        match outcome {
            Ok(answer) => {
                assert_eq!(lab::number(answer), *number, "another's answer; {case}");
                assert!(times >= 1, "an answer to what was not executed; {case}");
            }
            Err(error) if error.fate == Fate::NotSent => assert_eq!(times, 0, "{case}"),
            Err(_) => {}
        }
        if *repeat != Repeat::Harmless || mode == Mode::Ordered {
            assert!(times <= 1, "{case}");
        }
    }
    if mode == Mode::Ordered {
        let begun = handler.begun();
        assert!(begun.is_sorted(), "not in order; {case}: {begun:?}");
        assert_eq!(begun, handler.ended(), "one after the other; {case}");
    }
}

/// Three requests over a connection that is cut, and one more when all that is over.
async fn exchange(
    lab: &Laboratory,
    dialect: &'static Dialect,
    mode: Mode,
    cut: Option<Cut>,
    case: &str,
) -> u64 {
    let handler = Counting::default();
    let _server = serve(lab, dialect, ServerLimits::default(), handler.clone()).await;
    let channel = open(lab, builder(dialect, mode));
    let harmless = CallOptions { repeat: Repeat::Harmless, ..CallOptions::default() };
    let calls = [CallOptions::default(), harmless, CallOptions::default()];
    let calls = calls.into_iter().enumerate().map(|(number, options)| {
        let channel = channel.clone();
        async move { call(&channel, dialect, number as u32, 5, options).await }
    });
    let mut calls = join_all(calls).await;
    let read = channel.stats().bytes_read.max(channel.stats().bytes_written);
    // Whatever has happened, the channel is as good as new.
    for number in 3..6 {
        calls.push(call(&channel, dialect, number, 0, CallOptions::default()).await);
    }
    let failed = calls[3..].iter().filter_map(|call| call.outcome.as_ref().err()).collect::<Vec<_>>();
    assert!(failed.len() <= 1, "{case}: one cut, {failed:?}");
    // What may be sent again is; but that a silent peer of another make is gone, or one of which nothing is known
    // because it has never answered, the request's time tells, and no sooner.
    let greeted = mode == Mode::Ordered || mode == Mode::Own && dialect.name() == "laxcus6";
    let known = cut != Some(Cut::Silence) || greeted;
    assert!(!known || calls[1].outcome.is_ok(), "{case}: {:?}", calls[1].outcome);
    if mode == Mode::Ordered {
        for call in &calls {
            assert!(call.outcome.is_ok(), "{case}: {:?}", call.outcome);
        }
    }
    check(mode, &calls, &handler, case);
    channel.close().await;
    read
}

#[test]
fn cut_at_every_byte() {
    for dialect in BOTH {
        for mode in MODES {
            let mut length = 0;
            let name = format!("uncut {} {mode:?}", dialect.name());
            Laboratory::run(&name, |lab| {
                let length = &mut length;
                let name = name.clone();
                async move {
                    lab.set_links(LinkConfig::default().with_delay(Duration::from_millis(2)));
                    *length = exchange(&lab, dialect, mode, None, &name).await;
                }
            });
            for cut in CUTS {
                for direction in DIRECTIONS {
                    for after in 0..=length + 1 {
                        let case = format!("{} {mode:?} {cut:?} {direction:?} after {after}", dialect.name());
                        Laboratory::run(&case, |lab| {
                            let case = case.clone();
                            async move {
                                lab.set_links(LinkConfig::default().with_delay(Duration::from_millis(2)));
                                lab.on_next_connection(CLIENT, SERVER)
                                    .to_port(PORT)
                                    .cut_after(direction, after, cut);
                                exchange(&lab, dialect, mode, Some(cut), &case).await;
                            }
                        });
                    }
                }
            }
        }
    }
}

/// Two requests whose entities the server does not gather, over a connection that is cut.
async fn large_exchange(
    lab: &Laboratory,
    dialect: &'static Dialect,
    mode: Mode,
    cut: bool,
    case: &str,
) -> u64 {
    lab.set_links(LinkConfig::default().with_delay(Duration::from_millis(2)));
    let handler = Counting::default();
    let _server = serve(lab, dialect, ServerLimits::default(), handler.clone()).await;
    let channel = open(lab, builder(dialect, mode));
    let calls = [Repeat::Never, Repeat::Harmless].into_iter().zip(0..).map(|(repeat, number)| {
        let channel = channel.clone();
        async move {
            let options = CallOptions { repeat, ..CallOptions::default() };
            let outcome = channel.call_with(large(dialect, number, LARGE), options).await;
            Call { number, repeat, outcome }
        }
    });
    let mut calls = join_all(calls).await;
    let written = channel.stats().bytes_written;
    assert!(cut || calls.iter().all(|call| call.outcome.is_ok()), "{case}");
    for number in 2..4 {
        calls.push(call(&channel, dialect, number, 0, CallOptions::default()).await);
    }
    assert!(calls.last().is_some_and(|call| call.outcome.is_ok()), "{case}: the channel goes on");
    check(mode, &calls, &handler, case);
    channel.close().await;
    written
}

/// The bytes of an entity that no server gathers by default.
const LARGE: usize = 300_000;

/// SPEC 11.1: a handler may have begun before the entity has come, so its request is not sent again.
#[test]
fn cut_in_a_large_entity() {
    for dialect in BOTH {
        for mode in [Mode::Legacy, Mode::Pipelined, Mode::Own] {
            let mut length = 0;
            let name = format!("large, uncut {} {mode:?}", dialect.name());
            Laboratory::run(&name, |lab| {
                let (length, name) = (&mut length, name.clone());
                async move { *length = large_exchange(&lab, dialect, mode, false, &name).await }
            });
            // About the head of the first one, of the second one, and in both.
            let second = length / 2;
            let mut places: Vec<u64> =
                (0..160).step_by(8).chain((second - 20..second + 100).step_by(8)).collect();
            places.extend((LARGE as u64 / 2..length + 2).step_by(LARGE / 2));
            for (turn, after) in places.into_iter().enumerate() {
                let case = format!("large, {} {mode:?} after {after}", dialect.name());
                Laboratory::run(&case, |lab| {
                    let case = case.clone();
                    async move {
                        let next = lab.on_next_connection(CLIENT, SERVER).to_port(PORT);
                        next.cut_after(Direction::ToServer, after, CUTS[turn % 3]);
                        large_exchange(&lab, dialect, mode, true, &case).await;
                    }
                });
            }
        }
    }
}

/// Many requests, many cuts, at any byte, in any way.
#[test]
fn any_number_of_cuts() {
    for dialect in BOTH {
        for mode in MODES {
            let name = format!("cuts {} {mode:?}", dialect.name());
            Laboratory::run_seeds(&name, 0..60, |lab| {
                let name = name.clone();
                async move {
                    let mut random = lab.random();
                    let delay = Duration::from_millis(random.below(40));
                    lab.set_links(
                        LinkConfig::default().with_delay(delay).with_jitter(delay / 2).with_loss(0.02),
                    );
                    let handler = Counting::default();
                    let server = serve(&lab, dialect, ServerLimits::default(), handler.clone()).await;
                    let channel = open(&lab, builder(dialect, mode).timeout(seconds(60)));
                    let cutter = {
                        let (lab, mut random) = (lab.clone(), lab.random());
                        tokio::spawn(async move {
                            for _ in 0..12 {
                                let cut = CUTS[random.below(3) as usize];
                                let direction = DIRECTIONS[random.below(2) as usize];
                                let next = lab.on_next_connection(CLIENT, SERVER).to_port(PORT);
                                next.cut_after(direction, random.below(2000), cut);
                                sleep(Duration::from_millis(random.below(800))).await;
                            }
                        })
                    };
                    let calls = (0..80).map(|number| {
                        let channel = channel.clone();
                        let pause = Duration::from_millis(u64::from(number) * 20);
                        let millis = random.below(30) as u32;
                        let repeat = if random.below(2) == 0 { Repeat::Never } else { Repeat::Harmless };
                        let options = CallOptions { repeat, ..CallOptions::default() };
                        async move {
                            sleep(pause).await;
                            call(&channel, dialect, number, millis, options).await
                        }
                    });
                    let mut calls = join_all(calls).await;
                    cutter.await.unwrap();
                    // The rest of the cuts were not for this one.
                    let last = call(&channel, dialect, 80, 0, CallOptions::default()).await;
                    calls.push(last);
                    check(mode, &calls, &handler, &name);
                    if mode == Mode::Ordered {
                        assert!(
                            calls.iter().all(|call| call.outcome.is_ok()),
                            "{name}: {:?}",
                            calls
                                .iter()
                                .filter_map(|call| call.outcome.as_ref().err().map(|e| (call.number, e)))
                                .collect::<Vec<_>>()
                        );
                    }
                    channel.close().await;
                    let stats = server.stats();
                    assert_eq!(stats.malformed, 0, "{name}: {stats:?}");
                    drop(Arc::clone(&server));
                }
            });
        }
    }
}

/// Whatever a network, and callers who lose patience, can do to a channel.
#[test]
fn a_storm() {
    for dialect in BOTH {
        for mode in MODES {
            storm("storm", dialect, mode, &ServerLimits::default());
        }
    }
}

/// The same where the server is quick to forget, and has little room.
#[test]
fn a_storm_over_a_small_server() {
    for dialect in BOTH {
        let limits = ServerLimits::default();
        let forgetful = ServerLimits { ordered_time: seconds(1), ..limits.clone() };
        storm("forgetful", dialect, Mode::Ordered, &forgetful);
        let narrow =
            ServerLimits { requests_per_connection: 3, bytes_per_connection: 20_000, ..limits.clone() };
        storm("narrow", dialect, Mode::Ordered, &narrow);
        storm("narrow", dialect, Mode::Own, &narrow);
        storm("narrow", dialect, Mode::Pipelined, &narrow);
        storm("poor", dialect, Mode::Ordered, &ServerLimits { ordered_bytes: 500, bytes: 30_000, ..limits });
    }
}

fn storm(name: &str, dialect: &'static Dialect, mode: Mode, limits: &ServerLimits) {
    let name = format!("{name} {} {mode:?}", dialect.name());
    Laboratory::run_seeds(&name, 0..60, |lab| {
        let (name, limits) = (name.clone(), limits.clone());
        async move {
            let mut random = lab.random();
            let delay = Duration::from_millis(random.below(30));
            let links = LinkConfig::default().with_delay(delay).with_jitter(delay);
            lab.set_links(links.with_loss(0.03).with_bandwidth(200_000));
            let handler = Counting::default();
            let _server = serve(&lab, dialect, limits, handler.clone()).await;
            let channel = open(&lab, builder(dialect, mode));
            let weather = {
                let (lab, mut random) = (lab.clone(), lab.random());
                tokio::spawn(async move {
                    for _ in 0..30 {
                        let cut = CUTS[random.below(3) as usize];
                        let direction = DIRECTIONS[random.below(2) as usize];
                        match random.below(5) {
                            0 | 1 => {
                                let next = lab.on_next_connection(CLIENT, SERVER).to_port(PORT);
                                next.cut_after(direction, random.below(20_000), cut);
                            }
                            2 => {
                                if let Some(last) = lab.connections(CLIENT, SERVER).last() {
                                    lab.cut_after(*last, direction, random.below(50_000), cut);
                                }
                            }
                            3 => lab.partition(CLIENT, SERVER),
                            _ => lab.host(CLIENT).reset(),
                        }
                        sleep(Duration::from_millis(random.below(2000))).await;
                        lab.heal(CLIENT, SERVER);
                        sleep(Duration::from_millis(random.below(1000))).await;
                    }
                })
            };
            let calls = (0..120).map(|number| {
                let channel = channel.clone();
                let pause = Duration::from_millis(u64::from(number) * 250);
                let millis = if random.chance(0.1) { 3000 } else { random.below(50) as u32 };
                let repeat = if random.chance(0.5) { Repeat::Never } else { Repeat::Harmless };
                let timeout = Some(Duration::from_millis(50 + random.below(10_000)));
                let patience = if random.chance(0.2) { random.below(3000) } else { 100_000 };
                let mut packet = numbered(dialect, number, millis);
                if random.chance(0.3) {
                    let mut entity = packet.entity.to_vec();
                    entity.resize(random.below(40_000) as usize + 8, 7);
                    packet = packet.with_entity(entity);
                }
                async move {
                    sleep(pause).await;
                    let outcome = channel.call_with(packet, CallOptions { repeat, timeout, tag: 0 });
                    let outcome = tokio::time::timeout(Duration::from_millis(patience), outcome).await;
                    let gone = CallError::possibly_executed(fixp_transport::Cause::Closed);
                    Call { number, repeat, outcome: outcome.unwrap_or(Err(gone)) }
                }
            });
            let mut calls = join_all(calls).await;
            weather.await.unwrap();
            sleep(seconds(30)).await;
            // Cuts may be left for connections to come; in the end there are none.
            for number in 120..160 {
                calls.push(call(&channel, dialect, number, 0, CallOptions::default()).await);
                if calls.last().is_some_and(|call| call.outcome.is_ok()) {
                    break;
                }
            }
            assert!(
                calls.last().unwrap().outcome.is_ok(),
                "{name}: the channel did not recover: {:?} {:?}",
                calls.last().unwrap().outcome,
                channel.stats()
            );
            check(mode, &calls, &handler, &name);
            let stats = channel.stats();
            assert_eq!((stats.in_flight, stats.queued), (0, 0), "{name}: {stats:?}");
            channel.close().await;
        }
    });
}

/// A request that may be sent twice was sent once, and then there was no connection any more: whether it was
/// executed nobody knows, however certain it is that its second copy was not sent.
#[test]
fn sent_once_and_never_again() {
    for dialect in BOTH {
        for mode in MODES {
            Laboratory::run("sent once", |lab| async move {
                let handler = Counting::default();
                let _server = serve(&lab, dialect, ServerLimits::default(), handler.clone()).await;
                let channel = open(&lab, builder(dialect, mode));
                call(&channel, dialect, 0, 0, CallOptions::default()).await.outcome.unwrap();
                let harmless = CallOptions { repeat: Repeat::Harmless, timeout: Some(seconds(10)), tag: 0 };
                let (once, ()) = tokio::join!(call(&channel, dialect, 1, 1000, harmless), async {
                    sleep(Duration::from_millis(500)).await;
                    lab.host(CLIENT).reset();
                    lab.partition(CLIENT, SERVER);
                });
                assert_eq!(handler.times(1), 1);
                let error = once.outcome.unwrap_err();
                assert_eq!(error.fate, Fate::PossiblyExecuted, "{} {mode:?}: {error}", dialect.name());
            });
        }
    }
}

/// The server forgets an ordered channel that was silent for too long: what was executed on it is not executed
/// again, not even its first request.
#[test]
fn a_forgotten_channel_executes_nothing_twice() {
    for dialect in BOTH {
        for before in 0..3 {
            Laboratory::run("forgotten", |lab| async move {
                let handler = Counting::default();
                let limits = ServerLimits { ordered_time: seconds(10), ..ServerLimits::default() };
                let _server = serve(&lab, dialect, limits, handler.clone()).await;
                let channel = open(&lab, builder(dialect, Mode::Ordered).timeout(seconds(60)));
                for number in 0..before {
                    call(&channel, dialect, number, 0, CallOptions::default()).await.outcome.unwrap();
                }
                let (once, ()) =
                    tokio::join!(call(&channel, dialect, before, 1000, CallOptions::default()), async {
                        sleep(Duration::from_millis(500)).await;
                        lab.host(CLIENT).reset();
                        lab.partition(CLIENT, SERVER);
                        sleep(seconds(30)).await;
                        lab.heal(CLIENT, SERVER);
                    });
                // The channel goes on.
                let next = call(&channel, dialect, before + 1, 0, CallOptions::default()).await;
                next.outcome.as_ref().unwrap();
                check(
                    Mode::Ordered,
                    &[once, next],
                    &handler,
                    &format!("{}, {before} before", dialect.name()),
                );
            });
        }
    }
}

/// A peer that is gone without a word is found by heartbeats, even while requests are under way (SPEC 10.7,
/// 11.17).
#[test]
fn a_half_open_peer_is_found() {
    for dialect in BOTH {
        for mode in [Mode::Own, Mode::Ordered] {
            Laboratory::run("half open", |lab| async move {
                let handler = Counting::default();
                let _server = serve(&lab, dialect, ServerLimits::default(), handler.clone()).await;
                let channel = open(&lab, builder(dialect, mode));
                call(&channel, dialect, 0, 0, CallOptions::default()).await.outcome.unwrap();
                let first = *lab.connections(CLIENT, SERVER).last().unwrap();
                lab.cut_after(first, Direction::ToServer, 0, Cut::Silence);
                let begun = lab.now();
                let harmless = CallOptions { repeat: Repeat::Harmless, ..CallOptions::default() };
                let calls = (1..40).map(|number| {
                    let channel = channel.clone();
                    async move {
                        sleep(Duration::from_millis(u64::from(number) * 100)).await;
                        call(&channel, dialect, number, 0, harmless).await
                    }
                });
                let calls = join_all(calls).await;
                assert!(calls.iter().all(|call| call.outcome.is_ok()), "{} {mode:?}", dialect.name());
                assert!(lab.now() - begun < seconds(6), "{:?}", lab.now() - begun);
                assert_eq!(channel.stats().cuts, 1);
                check(mode, &calls, &handler, "half open");
            });
        }
    }
}

/// An idle channel finds it too, with laxcus6's TEST if the peer is of another make.
#[test]
fn an_idle_half_open_peer_is_found() {
    for (dialect, mode) in
        [(&LAXCUS6, Mode::Legacy), (&LAXCUS6, Mode::Own), (&LEXST1, Mode::Own), (&LEXST1, Mode::Ordered)]
    {
        Laboratory::run("idle half open", |lab| async move {
            let handler = Counting::default();
            let _server = serve(&lab, dialect, ServerLimits::default(), handler.clone()).await;
            let channel = open(&lab, builder(dialect, mode));
            call(&channel, dialect, 0, 0, CallOptions::default()).await.outcome.unwrap();
            sleep(seconds(60)).await;
            let stats = channel.stats();
            assert!(stats.heartbeats >= 15 && stats.cuts == 0, "{} {mode:?}: {stats:?}", dialect.name());
            let first = *lab.connections(CLIENT, SERVER).last().unwrap();
            lab.cut_after(first, Direction::ToServer, 0, Cut::Silence);
            sleep(seconds(6)).await;
            assert_eq!(channel.stats().cuts, 1, "{} {mode:?}", dialect.name());
            call(&channel, dialect, 1, 0, CallOptions::default()).await.outcome.unwrap();
        });
    }
}

/// A slow answer is no dead peer.
#[test]
fn a_slow_answer_is_waited_for() {
    for dialect in BOTH {
        for mode in MODES {
            Laboratory::run("slow answer", |lab| async move {
                let handler = Counting::default();
                let _server = serve(&lab, dialect, ServerLimits::default(), handler.clone()).await;
                let channel = open(&lab, builder(dialect, mode));
                let slow = call(&channel, dialect, 0, 15_000, CallOptions::default()).await;
                assert!(slow.outcome.is_ok(), "{} {mode:?}: {:?}", dialect.name(), slow.outcome);
                assert_eq!(channel.stats().cuts, 0);
            });
        }
    }
}

/// A caller who has gone leaves his request in the order of the answers, and no longer than its time.
#[test]
fn a_caller_who_has_gone_blocks_nobody() {
    for dialect in BOTH {
        for mode in [Mode::Legacy, Mode::Pipelined] {
            Laboratory::run("caller gone", |lab| async move {
                let handler = Counting::default();
                let _server = serve(&lab, dialect, ServerLimits::default(), handler.clone()).await;
                let channel = open(&lab, builder(dialect, mode).heartbeat(None, Duration::ZERO));
                call(&channel, dialect, 0, 0, CallOptions::default()).await.outcome.unwrap();
                let first = *lab.connections(CLIENT, SERVER).last().unwrap();
                lab.cut_after(first, Direction::ToServer, 0, Cut::Silence);
                let short = CallOptions { timeout: Some(seconds(5)), ..CallOptions::default() };
                let gone = call(&channel, dialect, 1, 0, short);
                assert!(tokio::time::timeout(seconds(1), gone).await.is_err());
                sleep(seconds(5)).await;
                call(&channel, dialect, 2, 0, CallOptions::default()).await.outcome.unwrap();
                assert_eq!((handler.begun(), channel.stats().cuts), (vec![0, 2], 1));
            });
        }
    }
}

/// A report of a cut names requests by what their callers call them.
#[test]
fn a_cut_is_reported() {
    for dialect in BOTH {
        Laboratory::run("cut report", |lab| async move {
            let buffer = 100_000;
            lab.host(CLIENT).set(HostConfig::default().with_send_buffer(buffer));
            let handler = Counting::default();
            let _server = serve(&lab, dialect, ServerLimits::default(), handler.clone()).await;
            let reports = Arc::new(Mutex::new(Vec::new()));
            let told = Arc::clone(&reports);
            let builder = builder(dialect, Mode::Own).on_cut(move |report| {
                told.lock().unwrap().push(report.clone());
            });
            let channel = open(&lab, builder);
            let tagged = |tag| CallOptions { tag, ..CallOptions::default() };
            call(&channel, dialect, 0, 0, tagged(70)).await.outcome.unwrap();
            // One is under way, half of the next one has no room in the socket, and the last one waits behind it.
            let calls = futures_util::future::join3(
                call(&channel, dialect, 1, 60_000, tagged(71)),
                async {
                    sleep(seconds(1)).await;
                    lab.partition(CLIENT, SERVER);
                    let packet = numbered(dialect, 2, 0);
                    let entity = [&packet.entity[..], &vec![0; buffer + 1000]].concat();
                    channel.call_with(packet.with_entity(entity), tagged(72)).await
                },
                async {
                    sleep(seconds(2)).await;
                    call(&channel, dialect, 3, 0, tagged(73)).await
                },
            );
            let _ = tokio::time::timeout(seconds(15), calls).await;
            let expected = CutReport { answered: 1, not_sent: vec![73], possibly_executed: vec![71, 72] };
            assert_eq!(*reports.lock().unwrap(), [expected], "{}", dialect.name());
        });
    }
}
