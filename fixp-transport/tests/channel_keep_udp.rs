//! A channel over KEEP UDP: the calls, limits and counters of every channel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;
#[path = "common/legacy.rs"]
mod legacy;

use std::net::SocketAddr;
use std::time::Duration;

use fixp_codec::{Dialect, LAXCUS6, LEXST1};
use fixp_laboratory::{Laboratory, LinkConfig};
use fixp_transport::limits::ChannelLimits;
use fixp_transport::{CallError, CallOptions, Cause, Channel, ChannelBuilder, Repeat, tables};
use lab::{Binder, CLIENT, SERVER, Socket};
use legacy::{Log, Manner, answer, request, serve};
use tokio::time::{Instant, sleep};

const MILLI: Duration = Duration::from_millis(1);
const PORT: u16 = 6600;

/// A channel to a node that behaves so, 5 ms away.
fn open(lab: &Laboratory, builder: ChannelBuilder, manner: Manner) -> (Channel, Log) {
    lab.set_links(LinkConfig::default().with_delay(5 * MILLI));
    let log = serve(Socket(lab.host(SERVER).bind(PORT).unwrap()), manner);
    let peer = SocketAddr::new(SERVER, PORT);
    (builder.seed(lab.seed()).keep_udp_over(peer, Binder(lab.host(CLIENT))), log)
}

fn slow(dialect: &'static Dialect) -> Manner {
    Manner { work: Some(500 * MILLI), ..Manner::of(dialect) }
}

/// To another make as many at a time as the depth says, to one of ours any number; the counters say so, and EXIT is
/// the last that is said.
#[test]
fn calls_and_counters() {
    for (dialect, ours) in [(&LEXST1, false), (&LAXCUS6, false), (&LEXST1, true), (&LAXCUS6, true)] {
        Laboratory::run(&format!("calls-{}-{ours}", dialect.name()), |lab| async move {
            let manner = Manner { ours, ..slow(dialect) };
            let (channel, log) = open(&lab, Channel::builder(dialect).depth(2), manner);
            channel.ready().await.unwrap();
            let sent = request(dialect, 99, 5000);
            assert_eq!(channel.call(sent.clone()).await.unwrap(), answer(dialect, &sent.entity, 0));
            let mut tasks = Vec::new();
            for tag in 0..6_u32 {
                let channel = channel.clone();
                tasks.push(tokio::spawn(async move {
                    let sent = request(dialect, tag, 1000);
                    assert_eq!(channel.call(sent.clone()).await.unwrap(), answer(dialect, &sent.entity, 0));
                }));
            }
            sleep(200 * MILLI).await;
            let stats = channel.stats();
            let (under_way, queued) = if ours { (6, 0) } else { (2, 4) };
            assert_eq!((stats.requests, stats.answered), (7, 1), "{stats:?}");
            assert_eq!((stats.in_flight, stats.queued), (under_way, queued), "{stats:?}");
            assert_eq!(stats.connections, u64::from(ours));
            assert!(stats.writes > 3 && stats.bytes_written > 7000 && stats.bytes_read > 5000, "{stats:?}");
            for task in tasks {
                task.await.unwrap();
            }
            let other = channel.clone();
            channel.close().await;
            assert_eq!(log.lock().unwrap().codes.last().unwrap().1, tables::of(dialect).exit);
            let closed = CallError::not_sent(Cause::Closed);
            assert_eq!(other.call(request(dialect, 7, 0)).await.unwrap_err(), closed);
            assert_eq!(other.ready().await.unwrap_err(), closed);
            assert_eq!((other.stats().answered, other.stats().in_flight), (7, 0));
        });
    }
}

/// A full channel has callers wait, in their order and their time, or refuses them.
#[test]
fn room() {
    Laboratory::run("room", |lab| async move {
        let limits = ChannelLimits { requests: 2, ..ChannelLimits::default() };
        let builder = Channel::builder(&LAXCUS6).depth(8).limits(limits);
        let (channel, _) = open(&lab, builder, slow(&LAXCUS6));
        let place = |tag| channel.try_call(request(&LAXCUS6, tag, 10), CallOptions::default());
        let (one, two) = (place(1).unwrap(), place(2).unwrap());
        assert_eq!(place(3).err(), Some(CallError::not_sent(Cause::Full)));
        let waits = tokio::spawn({
            let channel = channel.clone();
            async move { channel.call(request(&LAXCUS6, 4, 10)).await }
        });
        let late = tokio::spawn({
            let channel = channel.clone();
            let options = CallOptions { timeout: Some(100 * MILLI), ..CallOptions::default() };
            async move { channel.call_with(request(&LAXCUS6, 5, 10), options).await }
        });
        let begin = Instant::now();
        assert_eq!(late.await.unwrap().unwrap_err(), CallError::not_sent(Cause::Timeout));
        assert_eq!(begin.elapsed(), 100 * MILLI);
        assert_eq!((channel.stats().in_flight, channel.stats().queued), (2, 1));
        // Dropping one makes room for the one that waits.
        drop(one);
        two.await.unwrap();
        waits.await.unwrap().unwrap();
        assert_eq!(channel.stats().queued, 0);
    });
    Laboratory::run("bytes", |lab| async move {
        let limits = ChannelLimits { bytes: 10_000, ..ChannelLimits::default() };
        let builder = Channel::builder(&LAXCUS6).depth(8).limits(limits);
        let (channel, _) = open(&lab, builder, slow(&LAXCUS6));
        let place = |tag, size| channel.try_call(request(&LAXCUS6, tag, size), CallOptions::default());
        let error = place(1, 10_000).err().unwrap();
        assert!(matches!(error.cause, Cause::TooLarge { limit: 10_000, .. }), "{error}");
        let one = place(1, 8000).unwrap();
        assert_eq!(place(2, 8000).err(), Some(CallError::not_sent(Cause::Full)));
        let two = place(2, 1000).unwrap();
        one.await.unwrap();
        two.await.unwrap();
    });
}

/// What is under way is waited for; a channel whose last handle is dropped ends itself the same way.
#[test]
fn closing() {
    for close in [true, false] {
        Laboratory::run(&format!("closing-{close}"), |lab| async move {
            let (channel, log) = open(&lab, Channel::builder(&LAXCUS6), slow(&LAXCUS6));
            let call = channel.try_call(request(&LAXCUS6, 1, 10), CallOptions::default()).unwrap();
            let call = tokio::spawn(call);
            sleep(100 * MILLI).await;
            if close {
                channel.close().await;
            } else {
                drop(channel);
                sleep(Duration::from_secs(2)).await;
            }
            call.await.unwrap().unwrap();
            assert_eq!(log.lock().unwrap().codes.last().unwrap().1, tables::of(&LAXCUS6).exit);
        });
    }
}

/// Without an answer the error is that of every channel.
#[test]
fn deadlines() {
    Laboratory::run("deadlines", |lab| async move {
        let builder = Channel::builder(&LAXCUS6).timeout(Duration::from_secs(3));
        let (channel, _) = open(&lab, builder, Manner { work: None, ..Manner::of(&LAXCUS6) });
        let begin = Instant::now();
        let error = channel.call(request(&LAXCUS6, 1, 10)).await.unwrap_err();
        assert_eq!(error, CallError::possibly_executed(Cause::Timeout));
        assert_eq!(begin.elapsed(), Duration::from_secs(3));
    });
}

/// The first datagrams are lost: the call is sent again, as the programs send theirs, unless it may not be.
#[test]
fn what_is_lost() {
    Laboratory::run("lost", |lab| async move {
        let builder = Channel::builder(&LEXST1).timeout(Duration::from_secs(20));
        let (channel, log) = open(&lab, builder, Manner::of(&LEXST1));
        for repeat in [Repeat::Never, Repeat::default()] {
            lab.partition(CLIENT, SERVER);
            let options = CallOptions { repeat, ..CallOptions::default() };
            let call = channel.call_with(request(&LEXST1, 1, 10), options);
            let heal = async {
                sleep(Duration::from_secs(1)).await;
                lab.heal(CLIENT, SERVER);
            };
            let (outcome, ()) = tokio::join!(call, heal);
            let executed = log.lock().unwrap().executed.len();
            if repeat == Repeat::Never {
                let lost = CallError::possibly_executed(Cause::Timeout);
                assert_eq!((outcome.unwrap_err(), executed), (lost, 0));
            } else {
                assert_eq!((outcome.unwrap().code, executed), (tables::of(&LEXST1).okay, 1));
            }
        }
    });
}

/// There is no order over KEEP UDP.
#[test]
fn what_there_is_not() {
    Laboratory::run("not", |lab| async move {
        let (channel, log) = open(&lab, Channel::builder(&LAXCUS6).ordered(), Manner::of(&LAXCUS6));
        let error = channel.call(request(&LAXCUS6, 1, 10)).await.unwrap_err();
        assert_eq!(error, CallError::not_sent(Cause::NotOrdered));
        assert!(log.lock().unwrap().from.is_empty());
    });
}

/// As a `tower::Service`.
#[cfg(feature = "tower")]
#[test]
fn as_a_service() {
    use fixp_transport::channel::tower::ChannelService;
    use tower::{Service, ServiceBuilder, ServiceExt};

    Laboratory::run("service", |lab| async move {
        let (channel, _) = open(&lab, Channel::builder(&LAXCUS6), Manner::of(&LAXCUS6));
        let mut service = ServiceBuilder::new().concurrency_limit(4).service(ChannelService::new(channel));
        let sent = request(&LAXCUS6, 1, 10);
        let got = service.ready().await.unwrap().call(sent.clone()).await.unwrap();
        assert_eq!(got, answer(&LAXCUS6, &sent.entity, 0));
    });
}

/// What may be repeated is begun anew when its association is lost. However the next attempt ends, the first one may
/// have been executed.
#[test]
fn an_earlier_attempt_is_not_forgotten() {
    Laboratory::run("earlier-attempt", |lab| async move {
        let manner = Manner { ours: true, ..slow(&LAXCUS6) };
        let builder = Channel::builder(&LAXCUS6).timeout(Duration::from_secs(300));
        let (channel, _) = open(&lab, builder, manner);
        channel.call(request(&LAXCUS6, 1, 10)).await.unwrap();
        let harmless = CallOptions { repeat: Repeat::Harmless, ..CallOptions::default() };
        let call = tokio::spawn({
            let channel = channel.clone();
            async move { channel.call_with(request(&LAXCUS6, 2, 10), harmless).await }
        });
        sleep(200 * MILLI).await;
        // It has long come: the answer is 5 ms away, and takes 300 ms more.
        lab.partition(CLIENT, SERVER);
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error, CallError::possibly_executed(error.cause));
    });
}
