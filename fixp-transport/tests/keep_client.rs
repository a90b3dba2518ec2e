//! The client of KEEP UDP in the laboratory, with nodes of another make, which say nothing of ours: many requests at
//! once, lossy networks, ports that are of no more use, the security question, what ends a request before its
//! answer, and bounds (SPEC 9.14).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;
#[path = "common/legacy.rs"]
mod legacy;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6};
use fixp_laboratory::{Laboratory, LinkConfig};
use fixp_transport::keep::caller::{Options, Repeat, Security, Stats};
use fixp_transport::keep::{Builder, Client, table};
use fixp_transport::{CallError, Cause, Fate, tables};
use lab::{Binder, CLIENT, SERVER, Socket};
use legacy::{Log, Manner, answer, request, serve};
use tokio::time::{Instant, sleep, timeout};

const MILLI: Duration = Duration::from_millis(1);
const PORT: u16 = 6600;

fn builder(lab: &Laboratory, dialect: &'static Dialect) -> Builder<Binder> {
    let binder = Binder(lab.host(CLIENT));
    Client::builder().dialect(dialect).random(lab.seed()).sockets(Some(binder), None)
}

fn node(lab: &Laboratory, manner: Manner) -> (SocketAddr, Log) {
    let socket = lab.host(SERVER).bind(PORT).unwrap();
    (SocketAddr::new(SERVER, PORT), serve(Socket(socket), manner))
}

fn bad() -> LinkConfig {
    LinkConfig::default()
        .with_delay(10 * MILLI)
        .with_jitter(20 * MILLI)
        .with_loss(0.15)
        .with_duplicate(0.1)
        .with_reorder(0.1, 50 * MILLI)
}

/// Everything is at its end, and nothing is held.
fn balanced(stats: &Stats) {
    assert_eq!(stats.requests, stats.answers + stats.timeouts + stats.cancelled + stats.failed, "{stats:?}");
    assert_eq!((stats.in_flight, stats.waiting, stats.held), (0, 0, 0), "{stats:?}");
}

/// Each has its own answer, over 16 ports at most; a laxcus6 node is asked once before each exchange, from its port.
#[test]
fn many_at_once() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("many-{}", dialect.name()), |lab| async move {
            lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
            let manner = Manner { work: Some(20 * MILLI), more: 700, ..Manner::of(dialect) };
            let (peer, log) = node(&lab, manner);
            let client = builder(&lab, dialect).build();
            let mut tasks = Vec::new();
            for tag in 0..200_u32 {
                let client = client.clone();
                tasks.push(tokio::spawn(async move {
                    let sent = request(dialect, tag, tag as usize * 13);
                    let got = client.request(peer, sent.clone()).await.unwrap();
                    assert_eq!(got, answer(dialect, &sent.entity, 700));
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            sleep(Duration::from_secs(1)).await;
            let stats = client.stats();
            balanced(&stats);
            assert_eq!((stats.answers, stats.exchanges, stats.spoilt), (200, 200, 0), "{stats:?}");
            let seen = log.lock().unwrap();
            assert_eq!((seen.executed.len(), seen.from.len()), (200, 16), "{stats:?}");
            // Each port has its exchanges one after the other, as the programs do.
            let sent = request(dialect, 0, 0).code;
            let cancel = table::of(dialect).cancel;
            for port in &seen.from {
                let codes: Vec<_> = seen.codes.iter().filter(|it| it.0 == *port).map(|it| it.1).collect();
                let one: &[_] = if dialect.name() == "lexst1" {
                    &[sent, cancel]
                } else {
                    &[laxcus6::notify::SECURE_QUERY, sent, cancel]
                };
                let mut merged = codes.clone();
                merged.dedup();
                assert_eq!(merged, one.repeat(merged.len() / one.len()), "{port}");
            }
            assert_eq!(stats.queries, if dialect.name() == "lexst1" { 0 } else { 200 });
        });
    }
}

/// What is answered is right, what fails says the truth, and nothing is executed twice (the node is one that
/// remembers).
#[test]
fn lossy_networks() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run_seeds(&format!("lossy-{}", dialect.name()), 0..6, |lab| async move {
            lab.set_time_limit(Duration::from_secs(3600));
            lab.set_links(bad());
            let (peer, log) =
                node(&lab, Manner { work: Some(50 * MILLI), more: 1500, ..Manner::of(dialect) });
            let client = builder(&lab, dialect).timeout(Duration::from_secs(60)).build();
            let mut tasks = Vec::new();
            for tag in 0..40_u32 {
                let client = client.clone();
                tasks.push(tokio::spawn(async move {
                    let sent = request(dialect, tag, tag as usize * 50);
                    let outcome = client.request(peer, sent.clone()).await;
                    (sent, outcome)
                }));
            }
            let mut answers = 0;
            for task in tasks {
                let (sent, outcome) = task.await.unwrap();
                let times = log.lock().unwrap().executed.iter().filter(|it| **it == sent.entity).count();
                match outcome {
                    Ok(got) => {
                        assert_eq!(got, answer(dialect, &sent.entity, 1500));
                        assert_eq!(times, 1);
                        answers += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.cause, Cause::Timeout);
                        assert!(times == 0 || times == 1 && error.fate == Fate::PossiblyExecuted);
                    }
                }
            }
            assert!(answers >= 38, "{answers}");
            // The last CANCEL may go unanswered to its end.
            sleep(Duration::from_secs(60)).await;
            balanced(&client.stats());
        });
    }
}

/// A request of which nothing is heard is sent again, as the programs do, unless its caller says that it may not be.
#[test]
fn silence() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("silence-{}", dialect.name()), |lab| async move {
            let (peer, log) = node(&lab, Manner { work: None, ..Manner::of(dialect) });
            let client = builder(&lab, dialect).security(Security::Unasked).build();
            lab.partition_one_way(SERVER, CLIENT);
            let lost = CallError::possibly_executed(Cause::Timeout);
            let once = Options { repeat: Repeat::Never, ..Options::default() };
            let error = client.request_with(peer, request(dialect, 1, 10), once).await.unwrap_err();
            assert_eq!((error, log.lock().unwrap().pieces), (lost, 1));
            assert_eq!(client.request(peer, request(dialect, 2, 10)).await.unwrap_err(), lost);
            // In 30 s, after 15 s and after 3 s each.
            let again = if dialect.name() == "lexst1" { 1 } else { 9 };
            assert_eq!(log.lock().unwrap().pieces, 2 + again);
        });
    }
}

/// What the node wants is told, nothing has been sent, and one that says nothing is asked three times.
#[test]
fn the_security_question() {
    Laboratory::run("security", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        let (peer, log) = node(&lab, Manner { mode: Some(2), ..Manner::of(&LAXCUS6) });
        let client = builder(&lab, &LAXCUS6).build();
        let error = client.request(peer, request(&LAXCUS6, 1, 10)).await.unwrap_err();
        assert_eq!(error, CallError::not_sent(Cause::Security(2)));
        assert_eq!(log.lock().unwrap().codes.len(), 1);
    });
    Laboratory::run("security-silent", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        let (peer, log) = node(&lab, Manner { mode: None, ..Manner::of(&LAXCUS6) });
        let client = builder(&lab, &LAXCUS6).timeout(Duration::from_secs(100)).build();
        let begin = Instant::now();
        let error = client.request(peer, request(&LAXCUS6, 1, 10)).await.unwrap_err();
        assert_eq!(error, CallError::not_sent(Cause::Timeout));
        assert_eq!(begin.elapsed().as_secs(), 30);
        assert_eq!(client.stats().queries, 3);
        assert_eq!(log.lock().unwrap().codes.len(), 1);
        // TEST and EXIT are not preceded by it.
        let test = client.request(peer, Packet::new(laxcus6::notify::TEST)).await.unwrap();
        assert_eq!(test.code, laxcus6::answer::ACCEPTED);
        assert_eq!(client.stats().queries, 3);
    });
    Laboratory::run("security-remembered", |lab| async move {
        let (peer, _) = node(&lab, Manner::of(&LAXCUS6));
        let remembered = Security::Remembered(Duration::from_secs(60));
        let client = builder(&lab, &LAXCUS6).security(remembered).build();
        for tag in 0..3 {
            client.request(peer, request(&LAXCUS6, tag, 10)).await.unwrap();
        }
        assert_eq!(client.stats().queries, 1);
    });
}

/// ENCRYPT_CONTENT_NOTIFY in place of an answer is an error of its own.
#[test]
fn a_cipher_is_wanted() {
    Laboratory::run("cipher", |lab| async move {
        let socket = lab.host(SERVER).bind(PORT).unwrap();
        let peer = SocketAddr::new(SERVER, PORT);
        tokio::spawn(async move {
            let mut buffer = vec![0; 65536];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                let code = Decoder::new(&LAXCUS6).packet(&buffer[..len]).unwrap().code();
                let code = match code {
                    laxcus6::notify::SECURE_QUERY => laxcus6::answer::SECURE_NOTIFY,
                    _ => laxcus6::answer::ENCRYPT_CONTENT_NOTIFY,
                };
                let wire = Packet::new(code).with_entity(vec![0; 4]).to_bytes(&LAXCUS6).unwrap();
                socket.send_to(&wire, from).unwrap();
            }
        });
        let client = builder(&lab, &LAXCUS6).build();
        for code in [laxcus6::rpc::EXECUTE, laxcus6::notify::REFLECT] {
            let error = client.request(peer, Packet::new(code)).await.unwrap_err();
            assert_eq!(error, CallError::not_sent(Cause::Security(1002)), "{code}");
        }
    });
}

/// A caller that goes away is told to the peer by CANCEL, from the port of its exchange, and nothing is left.
#[test]
fn dropping_cancels() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("dropping-{}", dialect.name()), |lab| async move {
            lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
            let (peer, log) = node(&lab, Manner { work: None, ..Manner::of(dialect) });
            let client = builder(&lab, dialect).build();
            let call = client.request(peer, request(dialect, 1, 3000));
            assert!(timeout(100 * MILLI, call).await.is_err());
            sleep(100 * MILLI).await;
            let stats = client.stats();
            assert_eq!((stats.cancelled, stats.in_flight, stats.held), (1, 0, 0), "{stats:?}");
            let seen = log.lock().unwrap();
            assert_eq!(seen.codes.last().unwrap().1, table::of(dialect).cancel);
            assert_eq!(seen.from.len(), 1);
            // lexst1 keeps what it has for a port: it is not used for that peer again.
            assert_eq!(stats.spoilt, u64::from(dialect.name() == "lexst1"));
        });
    }
}

/// The error comes when the time is over, not later; a lexst1 peer is asked from another port then, and as there are
/// two at most, from ever new ones.
#[test]
fn deadlines_and_spoilt_ports() {
    Laboratory::run("spoilt", |lab| async move {
        lab.set_time_limit(Duration::from_secs(3600));
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        let (peer, log) = node(&lab, Manner { work: None, ..Manner::of(&LEXST1) });
        let client = builder(&lab, &LEXST1).configure(|config| config.ports = 2).build();
        for tag in 0..7 {
            let options = Options { timeout: Some(Duration::from_secs(2)), ..Options::default() };
            let begin = Instant::now();
            let error = client.request_with(peer, request(&LEXST1, tag, 3000), options).await.unwrap_err();
            assert_eq!(error, CallError::possibly_executed(Cause::Timeout));
            assert_eq!(begin.elapsed(), Duration::from_secs(2));
            sleep(100 * MILLI).await;
            assert!(client.stats().ports <= 2);
        }
        let seen = log.lock().unwrap();
        assert_eq!(seen.executed.len(), 7);
        assert_eq!(seen.from.len(), 7, "a port for each");
        assert_eq!(client.stats().spoilt, 7);
    });
}

/// Callers without patience in a partition, all at once or one after the other: each leaves a port whose exchange no
/// word from the peer ends, and which lexst1 may hold something for. When the network is whole again the next
/// requests are not behind those.
#[test]
fn impatient_callers_use_up_no_ports() {
    for (dialect, at_once) in [(&LEXST1, false), (&LEXST1, true), (&LAXCUS6, false), (&LAXCUS6, true)] {
        Laboratory::run(&format!("impatient-{}-{at_once}", dialect.name()), |lab| async move {
            lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
            let (peer, log) = node(&lab, Manner::of(dialect));
            let client = builder(&lab, dialect).security(Security::Unasked).build();
            lab.partition(CLIENT, SERVER);
            let mut callers = Vec::new();
            for tag in 0..20 {
                let client = client.clone();
                let caller = tokio::spawn(async move {
                    timeout(1000 * MILLI, client.request(peer, request(dialect, tag, 3000))).await
                });
                if at_once {
                    callers.push(caller);
                } else {
                    assert!(caller.await.unwrap().is_err());
                }
            }
            for caller in callers {
                assert!(caller.await.unwrap().is_err());
            }
            lab.heal(CLIENT, SERVER);
            for tag in 20..60 {
                let begun = Instant::now();
                let sent = request(dialect, tag, 3000);
                assert_eq!(
                    client.request(peer, sent.clone()).await.unwrap(),
                    answer(dialect, &sent.entity, 0)
                );
                assert!(begun.elapsed() < 200 * MILLI, "{tag}: {:?}", begun.elapsed());
                // One whose request or answer is under way when its caller goes.
                let gone = timeout(7 * MILLI, client.request(peer, request(dialect, 1000 + tag, 3000))).await;
                assert!(gone.is_err());
            }
            sleep(Duration::from_secs(60)).await;
            let stats = client.stats();
            balanced(&stats);
            assert_eq!((stats.answers, stats.cancelled), (40, 20 + 40), "{stats:?}");
            assert!(stats.ports <= 16, "{stats:?}");
            assert!(log.lock().unwrap().executed.len() >= 40);
        });
    }
}

/// The same with requests of one datagram, whose late answers could be taken for others, so that their ports are unfit
/// for more of them for a minute.
#[test]
fn impatient_callers_of_one_datagram_use_up_no_ports() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("impatient-plain-{}", dialect.name()), |lab| async move {
            lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
            let (peer, _) = node(&lab, Manner::of(dialect));
            let client = builder(&lab, dialect).build();
            let habits = tables::of(dialect);
            let plain = || Packet::new(habits.test.unwrap_or(habits.exit));
            lab.partition(CLIENT, SERVER);
            let callers = (0..20).map(|_| {
                let (client, plain) = (client.clone(), plain());
                tokio::spawn(async move { timeout(1000 * MILLI, client.request(peer, plain)).await })
            });
            for caller in callers.collect::<Vec<_>>() {
                assert!(caller.await.unwrap().is_err());
            }
            lab.heal(CLIENT, SERVER);
            for tag in 0..40 {
                let begun = Instant::now();
                client.request(peer, plain()).await.unwrap();
                assert!(timeout(7 * MILLI, client.request(peer, plain())).await.is_err());
                client.request(peer, request(dialect, tag, 3000)).await.unwrap();
                assert!(begun.elapsed() < 200 * MILLI, "{tag}: {:?}", begun.elapsed());
                // EXIT leaves from the last port, once its exchange is at its end.
                sleep(20 * MILLI).await;
            }
            let stats = client.stats();
            assert_eq!((stats.answers, stats.cancelled), (80, 20 + 40), "{stats:?}");
            assert!(stats.ports <= 16, "{stats:?}");
        });
    }
}

/// Those who wait for a port have their time, too, and it is known that nothing was sent.
#[test]
fn waiting_and_full() {
    Laboratory::run("waiting", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        let (peer, _) = node(&lab, Manner { work: None, ..Manner::of(&LAXCUS6) });
        let client = builder(&lab, &LAXCUS6).timeout(Duration::from_secs(5)).configure(|config| {
            config.ports = 1;
            config.requests = 3;
        });
        let client = client.build();
        let begin = Instant::now();
        let all = tokio::spawn({
            let client = client.clone();
            async move {
                tokio::join!(
                    client.request(peer, request(&LAXCUS6, 0, 10)),
                    client.request(peer, request(&LAXCUS6, 1, 10)),
                    client.request(peer, request(&LAXCUS6, 2, 10)),
                )
            }
        });
        sleep(50 * MILLI).await;
        assert_eq!((client.stats().in_flight, client.stats().waiting), (3, 2));
        let full = CallError::not_sent(Cause::Full);
        assert_eq!(client.request(peer, request(&LAXCUS6, 3, 10)).await.unwrap_err(), full);
        let (a, b, c) = all.await.unwrap();
        assert_eq!(a.unwrap_err(), CallError::possibly_executed(Cause::Timeout));
        for error in [b.unwrap_err(), c.unwrap_err()] {
            assert_eq!(error, CallError::not_sent(Cause::Timeout));
        }
        assert_eq!(begin.elapsed().as_secs(), 5);
        // Whoever does not want to wait is told so.
        let first = tokio::spawn({
            let client = client.clone();
            async move { client.request(peer, request(&LAXCUS6, 4, 10)).await }
        });
        sleep(50 * MILLI).await;
        let options = Options { wait: false, ..Options::default() };
        assert_eq!(client.request_with(peer, request(&LAXCUS6, 5, 10), options).await.unwrap_err(), full);
        client.close();
        assert_eq!(first.await.unwrap().unwrap_err(), CallError::possibly_executed(Cause::Closed));
        assert_eq!(
            client.request(peer, request(&LAXCUS6, 6, 10)).await.unwrap_err(),
            CallError::not_sent(Cause::Closed)
        );
        balanced(&client.stats());
        assert_eq!(client.stats().ports, 0);
    });
}

/// What cannot be sent is refused at once: too long an entity, messages that fill a datagram, a value that the
/// dialect has not.
#[test]
fn what_cannot_be_sent() {
    Laboratory::run("unsendable", |lab| async move {
        let peer = SocketAddr::new(SERVER, PORT);
        let client = builder(&lab, &LAXCUS6).configure(|config| config.exchange.bounds.entity = 1000).build();
        let error = client.request(peer, request(&LAXCUS6, 1, 1000)).await.unwrap_err();
        assert_eq!(error, CallError::not_sent(Cause::TooLarge { size: 1004, limit: 1000 }));
        // What was set stays, whatever the dialect.
        let set = builder(&lab, &LAXCUS6).configure(|config| config.exchange.bounds.entity = 1000);
        let error = set.dialect(&LEXST1).build().request(peer, request(&LEXST1, 1, 1000)).await.unwrap_err();
        assert_eq!(error, CallError::not_sent(Cause::TooLarge { size: 1004, limit: 1000 }));
        let mut long = request(&LAXCUS6, 1, 10);
        for key in 0..17 {
            long = long.with(6000 + key, vec![0_u8; 4000]);
        }
        let error = client.request(peer, long).await.unwrap_err();
        assert!(matches!(error.cause, Cause::TooLarge { .. }), "{error}");
        let error = client.request(peer, Packet::new(fixp_codec::lexst1::app::ADD_LOG)).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Encode(_)), "{error}");
        assert_eq!(client.stats().requests, 0);
        // A time-out that no clock can say is a long one.
        let options = Options { timeout: Some(Duration::MAX), ..Options::default() };
        let (peer, _) = node(&lab, Manner::of(&LAXCUS6));
        client.request_with(peer, request(&LAXCUS6, 1, 10), options).await.unwrap();
    });
}

/// Whatever else comes to a port, from the peer or from others, the answer is the answer.
#[test]
fn wrong_answers() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("wrong-{}", dialect.name()), |lab| async move {
            lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
            let (peer, log) =
                node(&lab, Manner { work: Some(500 * MILLI), more: 2000, ..Manner::of(dialect) });
            let client = builder(&lab, dialect).configure(|config| config.identity = Some(9)).build();
            let sent = request(dialect, 7, 700);
            let call = tokio::spawn({
                let (client, sent) = (client.clone(), sent.clone());
                async move { client.request(peer, sent).await }
            });
            sleep(100 * MILLI).await;
            let port = log.lock().unwrap().from[0];
            let other = lab.host([10, 0, 0, 3].into()).bind(PORT).unwrap();
            let okay = tables::of(dialect).okay;
            let piece = |identity: i32| {
                let packet = Packet::new(okay).with(3001, 1).with(3002, dialect.first_serial().cast_signed());
                packet.with(3000, identity).with(3003, 6000).with(3004, 60000).with_entity("no")
            };
            for identity in [9, 10] {
                other.send_to(&piece(identity).to_bytes(dialect).unwrap(), port).unwrap();
            }
            other.send_to(b"what?", port).unwrap();
            let got = call.await.unwrap().unwrap();
            assert_eq!(got, answer(dialect, &sent.entity, 2000));
            // And to a port where nothing is under way.
            other.send_to(&piece(9).to_bytes(dialect).unwrap(), port).unwrap();
            sleep(100 * MILLI).await;
            assert!(client.stats().strangers >= 4, "{:?}", client.stats());
            balanced(&client.stats());
        });
    }
}

/// EXIT is one datagram, from the port that the peer last answered at, once that has been cleared (Q15).
#[test]
fn exit_is_plain() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("exit-{}", dialect.name()), |lab| async move {
            lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
            let (peer, log) = node(&lab, Manner::of(dialect));
            let client = builder(&lab, dialect).extensions(false).build();
            client.request(peer, request(dialect, 1, 3000)).await.unwrap();
            let farewell = client.exit(peer).await.unwrap();
            assert_eq!(farewell.code, tables::of(dialect).exit_okay);
            let seen = log.lock().unwrap();
            let mut codes =
                vec![request(dialect, 0, 0).code, table::of(dialect).cancel, tables::of(dialect).exit];
            if dialect.name() == "laxcus6" {
                codes.insert(0, laxcus6::notify::SECURE_QUERY);
            }
            assert_eq!(seen.codes.iter().map(|it| it.1).collect::<Vec<_>>(), codes);
            assert_eq!((seen.from.len(), seen.ours), (1, 0));
        });
    }
}

/// Answers for which there is no room at once: the bound holds, the oldest request has its answer, and one that has
/// none is told so.
#[test]
fn more_answers_than_room() {
    Laboratory::run("room", |lab| async move {
        lab.set_time_limit(Duration::from_secs(3600));
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        let (peer, _) = node(&lab, Manner { more: 150_000, ..Manner::of(&LAXCUS6) });
        let bound = 500_000;
        let client = builder(&lab, &LAXCUS6).timeout(Duration::from_secs(120)).configure(|config| {
            config.bytes = bound;
        });
        let client = client.build();
        let calls = (0..6).map(|tag| client.request(peer, request(&LAXCUS6, tag, 10)));
        let ends = futures_util::future::join_all(calls).await;
        ends[0].as_ref().unwrap();
        assert!(ends.iter().any(Result::is_err), "there is no room for all");
        for error in ends.into_iter().filter_map(Result::err) {
            assert_eq!(error, CallError::possibly_executed(Cause::Full));
        }
        let stats = client.stats();
        assert!(stats.held_most <= bound && stats.held_most > 150_000, "{stats:?}");
        // One after the other all have room.
        for tag in 0..3 {
            client.request(peer, request(&LAXCUS6, tag + 10, 10)).await.unwrap();
        }
        sleep(Duration::from_secs(1)).await;
        balanced(&client.stats());
    });
}

/// Until a peer has answered we announce ourselves, in every piece; to one that has not, never again.
#[test]
fn announcements() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("announcing-{}", dialect.name()), |lab| async move {
            let (peer, log) = node(&lab, Manner::of(dialect));
            let client = builder(&lab, dialect).build();
            client.request(peer, request(dialect, 1, 1000)).await.unwrap();
            // laxcus6 says in its first answer, that to SECURE_QUERY, that it is none of ours.
            let announced = if dialect.name() == "lexst1" { 3 } else { 1 };
            assert_eq!(log.lock().unwrap().ours, announced);
            client.request(peer, request(dialect, 2, 1000)).await.unwrap();
            assert_eq!(log.lock().unwrap().ours, announced);
        });
    }
}

/// A port that breaks ends what was under way there, and the next request has another.
#[test]
fn a_host_that_crashes() {
    Laboratory::run("crash", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        let (peer, _) = node(&lab, Manner { work: Some(200 * MILLI), ..Manner::of(&LAXCUS6) });
        let client = builder(&lab, &LAXCUS6).build();
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.request(peer, request(&LAXCUS6, 1, 10)).await }
        });
        sleep(100 * MILLI).await;
        lab.host(CLIENT).crash();
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.fate, Fate::PossiblyExecuted);
        assert!(matches!(error.cause, Cause::Lost(_)), "{error}");
        let error = client.request(peer, request(&LAXCUS6, 2, 10)).await.unwrap_err();
        assert_eq!(error, CallError::not_sent(Cause::Connect(io::ErrorKind::NetworkDown)));
        lab.host(CLIENT).restart();
        sleep(Duration::from_secs(2)).await;
        client.request(peer, request(&LAXCUS6, 3, 10)).await.unwrap();
        balanced_soon(&client).await;
    });
}

async fn balanced_soon(client: &Client) {
    sleep(Duration::from_secs(1)).await;
    balanced(&client.stats());
}

/// Ports other than the first are closed when they have not been used for a while.
#[test]
fn ports_are_closed() {
    Laboratory::run("linger", |lab| async move {
        let (peer, log) = node(&lab, Manner { work: Some(100 * MILLI), ..Manner::of(&LAXCUS6) });
        let client = builder(&lab, &LAXCUS6).build();
        let calls = (0..4).map(|tag| client.request(peer, request(&LAXCUS6, tag, 10)));
        for outcome in futures_util::future::join_all(calls).await {
            outcome.unwrap();
        }
        let from: BTreeSet<_> = log.lock().unwrap().from.iter().copied().collect();
        assert_eq!((client.stats().ports, from.len()), (4, 4));
        sleep(Duration::from_secs(6)).await;
        assert_eq!(client.stats().ports, 1);
        client.request(peer, request(&LAXCUS6, 9, 10)).await.unwrap();
    });
}
