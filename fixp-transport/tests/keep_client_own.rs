//! The client of KEEP UDP with a node of ours, in the laboratory: the announcement, the own transport after it, and
//! what becomes of requests where that is lost.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;
#[path = "common/legacy.rs"]
mod legacy;

use std::net::SocketAddr;
use std::time::Duration;

use fixp_codec::{Dialect, LAXCUS6, LEXST1};
use fixp_laboratory::{Laboratory, LinkConfig};
use fixp_transport::keep::caller::{Options, Repeat};
use fixp_transport::keep::{Builder, Client};
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

fn ours(dialect: &'static Dialect) -> Manner {
    Manner { ours: true, ..Manner::of(dialect) }
}

/// laxcus6 learns it from the answer to SECURE_QUERY, lexst1 from its first exchange; the rest goes over one
/// association from one port, without SECURE_QUERY.
#[test]
fn many_at_once() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("own-many-{}", dialect.name()), |lab| async move {
            lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
            let (peer, log) = node(&lab, Manner { work: Some(20 * MILLI), more: 700, ..ours(dialect) });
            let client = builder(&lab, dialect).build();
            let sent = request(dialect, 1000, 3000);
            assert_eq!(client.request(peer, sent.clone()).await.unwrap(), answer(dialect, &sent.entity, 700));
            let mut tasks = Vec::new();
            for tag in 0..200_u32 {
                let client = client.clone();
                tasks.push(tokio::spawn(async move {
                    let sent = request(dialect, tag, tag as usize * 103);
                    let got = client.request(peer, sent.clone()).await.unwrap();
                    assert_eq!(got, answer(dialect, &sent.entity, 700));
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            sleep(Duration::from_secs(1)).await;
            let stats = client.stats();
            let lexst1 = u64::from(dialect.name() == "lexst1");
            assert_eq!((stats.answers, stats.exchanges, stats.own), (201, lexst1, 201 - lexst1), "{stats:?}");
            assert_eq!((stats.associations, stats.opened, stats.queries), (1, 1, 1 - lexst1), "{stats:?}");
            assert_eq!((stats.in_flight, stats.waiting, stats.ports), (0, 0, 1), "{stats:?}");
            let seen = log.lock().unwrap();
            assert_eq!((seen.executed.len(), seen.from.len()), (201, 1));
        });
    }
}

/// Lossy networks: each request has its answer.
#[test]
fn lossy_networks() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run_seeds(&format!("own-lossy-{}", dialect.name()), 0..4, |lab| async move {
            lab.set_time_limit(Duration::from_secs(3600));
            let (peer, log) = node(&lab, Manner { work: Some(5 * MILLI), more: 5000, ..ours(dialect) });
            let client = builder(&lab, dialect).timeout(Duration::from_secs(120)).build();
            client.request(peer, request(dialect, 1000, 10)).await.unwrap();
            let bad = LinkConfig::default().with_delay(10 * MILLI).with_jitter(5 * MILLI).with_loss(0.1);
            lab.set_links(bad.with_duplicate(0.05));
            let mut tasks = Vec::new();
            for tag in 0..60_u32 {
                let client = client.clone();
                tasks.push(tokio::spawn(async move {
                    let sent = request(dialect, tag, tag as usize * 1000);
                    let got = client.request(peer, sent.clone()).await.unwrap();
                    assert_eq!(got, answer(dialect, &sent.entity, 5000));
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(log.lock().unwrap().executed.len(), 61);
            assert_eq!(client.stats().in_flight, 0);
        });
    }
}

/// A peer that announces the own transport and has none is a legacy one after the sixth OPEN, and the request has its
/// answer.
#[test]
fn falling_back() {
    for dialect in [&LEXST1, &LAXCUS6] {
        Laboratory::run(&format!("own-fallback-{}", dialect.name()), |lab| async move {
            lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
            let (peer, log) = node(&lab, Manner { lies: true, ..ours(dialect) });
            let client = builder(&lab, dialect).build();
            client.request(peer, request(dialect, 1, 10)).await.unwrap();
            let begin = Instant::now();
            client.request(peer, request(dialect, 2, 10)).await.unwrap();
            if dialect.name() == "lexst1" {
                assert!((12..20).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
            }
            // It is not tried again for a while.
            let begin = Instant::now();
            client.request(peer, request(dialect, 3, 10)).await.unwrap();
            assert!(begin.elapsed() < Duration::from_secs(1));
            assert_eq!(client.stats().exchanges, 3);
            assert_eq!(log.lock().unwrap().executed.len(), 3);
        });
    }
}

/// A node that has forgotten the association: what was under way is told truthfully, and the next request goes over
/// a new one; where repeating is harmless, so does the one that was under way.
#[test]
fn a_node_that_restarts() {
    for harmless in [false, true] {
        Laboratory::run(&format!("own-restart-{harmless}"), |lab| async move {
            lab.set_time_limit(Duration::from_secs(3600));
            lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
            let slow = Manner { work: Some(Duration::from_secs(20)), ..ours(&LAXCUS6) };
            let (peer, _) = node(&lab, slow);
            let client = builder(&lab, &LAXCUS6).timeout(Duration::from_secs(100)).build();
            let call = tokio::spawn({
                let client = client.clone();
                let repeat = if harmless { Repeat::Harmless } else { Repeat::Pieces };
                async move {
                    let options = Options { repeat, ..Options::default() };
                    client.request_with(peer, request(&LAXCUS6, 1, 10), options).await
                }
            });
            sleep(Duration::from_secs(1)).await;
            lab.host(SERVER).crash();
            sleep(Duration::from_secs(1)).await;
            lab.host(SERVER).restart();
            let (_, log) = node(&lab, ours(&LAXCUS6));
            let outcome = call.await.unwrap();
            if harmless {
                let sent = request(&LAXCUS6, 1, 10);
                assert_eq!(outcome.unwrap(), answer(&LAXCUS6, &sent.entity, 0));
                assert_eq!(log.lock().unwrap().executed.len(), 1);
            } else {
                let error = outcome.unwrap_err();
                assert_eq!(error.fate, Fate::PossiblyExecuted);
                assert!(matches!(error.cause, Cause::Lost(_)), "{error}");
                client.request(peer, request(&LAXCUS6, 2, 10)).await.unwrap();
                assert_eq!(log.lock().unwrap().executed.len(), 1);
            }
            assert_eq!(client.stats().lost, 1);
        });
    }
}

/// Deadlines, dropping, EXIT and closing are as with any other peer.
#[test]
fn ends() {
    Laboratory::run("own-ends", |lab| async move {
        lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
        let (peer, log) = node(&lab, Manner { work: None, ..ours(&LAXCUS6) });
        let client = builder(&lab, &LAXCUS6).build();
        let options = Options { timeout: Some(Duration::from_secs(2)), ..Options::default() };
        let begin = Instant::now();
        let error = client.request_with(peer, request(&LAXCUS6, 1, 10), options).await.unwrap_err();
        assert_eq!(error, CallError::possibly_executed(Cause::Timeout));
        assert!(begin.elapsed().abs_diff(Duration::from_secs(2)) < 100 * MILLI, "{:?}", begin.elapsed());
        assert!(timeout(MILLI * 100, client.request(peer, request(&LAXCUS6, 2, 100_000))).await.is_err());
        sleep(Duration::from_secs(1)).await;
        assert_eq!((client.stats().cancelled, client.stats().in_flight), (1, 0));
        let farewell = client.exit(peer).await.unwrap();
        assert_eq!(farewell.code, tables::of(&LAXCUS6).exit_okay);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(client.stats().associations, 0, "EXIT ends the association");
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.request(peer, request(&LAXCUS6, 3, 10)).await }
        });
        sleep(100 * MILLI).await;
        client.close();
        assert_eq!(call.await.unwrap().unwrap_err(), CallError::possibly_executed(Cause::Closed));
        assert_eq!(
            client.request(peer, request(&LAXCUS6, 4, 10)).await.unwrap_err(),
            CallError::not_sent(Cause::Closed)
        );
        client.closed().await;
        // The node knows of it, too.
        sleep(100 * MILLI).await;
        assert_eq!(log.lock().unwrap().associations, 0);
        let stats = client.stats();
        assert_eq!((stats.held, stats.in_flight, stats.ports, stats.associations), (0, 0, 0, 0), "{stats:?}");
        assert_eq!(log.lock().unwrap().executed.len(), 3);
    });
}
