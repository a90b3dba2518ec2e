//! What a channel once got wrong, in the laboratory.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixp_codec::{Code, LAXCUS6, LEXST1, Packet};
use fixp_laboratory::{HostConfig, Laboratory};
use fixp_transport::limits::{ChannelLimits, ServerLimits};
use fixp_transport::{CallError, CallOptions, Cause, Channel, Echo, Fate};
use futures_util::future::{join, join_all, join3};
use lab::*;
use tokio::time::{sleep, timeout};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn within(time: Duration) -> CallOptions {
    CallOptions { timeout: Some(time), ..CallOptions::default() }
}

/// A peer that works at one request for long is not gone when it is given another.
#[test]
fn a_slow_answer_is_waited_for_though_another_request_goes() {
    for dialect in [&LAXCUS6, &LEXST1] {
        Laboratory::run("slow, and another", |lab| async move {
            let handler = Counting::default();
            let _server = serve(&lab, dialect, ServerLimits::default(), handler.clone()).await;
            let builder = Channel::builder(dialect).extensions(false).depth(4).timeout(seconds(120));
            let channel = open(&lab, builder);
            let another = async {
                sleep(seconds(50)).await;
                channel.call(numbered(dialect, 2, 0)).await
            };
            let (slow, another) = join(channel.call(numbered(dialect, 1, 60_000)), another).await;
            assert!(slow.is_ok() && another.is_ok(), "{}: {slow:?}, {another:?}", dialect.name());
            assert_eq!(channel.stats().cuts, 0);
        });
    }
}

/// Whoever waits for the connection has another attempt when its pause is over, though nobody has a request.
#[test]
fn readiness_is_found_out_within_the_pauses() {
    Laboratory::run("ready, refused", |lab| async move {
        let _nobody = lab.host(SERVER);
        let channel = open(&lab, Channel::builder(&LAXCUS6).backoff(millis(100), seconds(10)));
        for _ in 0..3 {
            let failed = timeout(seconds(1), channel.ready()).await.expect("within its pause");
            assert!(matches!(failed.unwrap_err().cause, Cause::Connect(_)));
        }
    });
    Laboratory::run("ready, cut", |lab| async move {
        let handler = Counting::default();
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), handler.clone()).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6).heartbeat(None, Duration::ZERO));
        channel.call(numbered(&LAXCUS6, 1, 0)).await.unwrap();
        sleep(seconds(60)).await;
        lab.host(CLIENT).reset();
        sleep(millis(1)).await;
        assert_eq!(channel.stats().cuts, 1);
        timeout(seconds(1), channel.ready()).await.expect("within its pause").unwrap();
    });
}

/// The pauses begin anew with each connection that gave an answer, however answers are matched, and there is a pause
/// behind each cut.
#[test]
fn after_an_answer_the_pauses_begin_anew() {
    for (extensions, depth) in [(false, 1), (false, 2), (true, 2)] {
        Laboratory::run("pauses", |lab| async move {
            let handler = Counting::default();
            let _server = serve(&lab, &LEXST1, ServerLimits::default(), handler.clone()).await;
            let builder = Channel::builder(&LEXST1).extensions(extensions).depth(depth);
            let channel = open(&lab, builder.backoff(millis(100), seconds(10)));
            for number in 0..8 {
                channel.call(numbered(&LEXST1, number, 0)).await.unwrap();
                lab.host(CLIENT).reset();
                sleep(millis(1)).await;
                let begun = lab.now();
                channel.ready().await.unwrap();
                let pause = lab.now() - begun;
                assert!((millis(48)..millis(110)).contains(&pause), "after cut {number} it was {pause:?}");
            }
        });
    }
}

/// A batch of nothing is one of a request.
#[test]
fn a_batch_without_room_sends_one_by_one() {
    Laboratory::run("batch 0", |lab| async move {
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), Echo).await;
        let limits = ChannelLimits { batch: 0, ..ChannelLimits::default() };
        let channel = open(&lab, Channel::builder(&LAXCUS6).limits(limits));
        let calls = (0..10).map(|number| channel.call(numbered(&LAXCUS6, number, 0)));
        for answer in join_all(calls).await {
            answer.unwrap();
        }
    });
}

/// The time of one request is not that of another, which shares its end.
#[test]
fn who_had_time_left_hears_that_the_connection_was_lost() {
    Laboratory::run("another's time", |lab| async move {
        let handler = Counting::default();
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), handler.clone()).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6).extensions(false).depth(4));
        channel.call(numbered(&LAXCUS6, 0, 0)).await.unwrap();
        let (late, other) = join(
            channel.call_with(numbered(&LAXCUS6, 1, 5000), within(seconds(1))),
            channel.call_with(numbered(&LAXCUS6, 2, 0), within(seconds(30))),
        )
        .await;
        assert_eq!(late.unwrap_err(), CallError::possibly_executed(Cause::Timeout));
        let lost = Cause::Lost(std::io::ErrorKind::TimedOut);
        assert_eq!(other.unwrap_err(), CallError::possibly_executed(lost));
    });
}

/// A batch waits for its oldest request, also where that could not go because of the depth.
#[test]
fn a_batch_waits_no_longer_than_its_oldest_request() {
    Laboratory::run("delay", |lab| async move {
        let handler = Counting::default();
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), handler.clone()).await;
        let builder = Channel::builder(&LAXCUS6).extensions(false).depth(2).batch_delay(seconds(1));
        let channel = open(&lab, builder);
        channel.call(numbered(&LAXCUS6, 0, 0)).await.unwrap();
        let begun = lab.now();
        let call = |number, work, at| {
            let channel = channel.clone();
            async move {
                sleep(millis(at)).await;
                channel.call(numbered(&LAXCUS6, number, work)).await.unwrap();
            }
        };
        // The first is answered after 5 s: then there is room for the third, there since 2 ms, the fourth since 4.9 s.
        let calls = [call(1, 5000, 0), call(2, 5000, 1), call(3, 0, 2), call(4, 0, 4900)].map(tokio::spawn);
        let third_goes = async {
            while channel.stats().answered < 2 || channel.stats().in_flight < 2 {
                sleep(millis(10)).await;
            }
        };
        timeout(seconds(20), third_goes).await.expect("it goes");
        let third = lab.now() - begun;
        assert!((millis(5000)..millis(5200)).contains(&third), "it went after {third:?}");
        for call in calls {
            call.await.unwrap();
        }
    });
}

/// What waits for its turn is known not to be sent; what was dropped while it waited for room is never sent.
#[test]
fn what_waits_when_the_connection_is_cut_was_not_sent() {
    Laboratory::run("report", |lab| async move {
        let handler = Counting::default();
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), handler.clone()).await;
        let reports = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&reports);
        let builder = Channel::builder(&LAXCUS6)
            .extensions(false)
            .limits(ChannelLimits { requests: 3, ..ChannelLimits::default() })
            .on_cut(move |report| told.lock().unwrap().push(report.clone()));
        let channel = open(&lab, builder);
        channel.ready().await.unwrap();
        let call = |number: u32| {
            let options = CallOptions { tag: number.into(), ..CallOptions::default() };
            channel.call_with(numbered(&LAXCUS6, number, 2000), options)
        };
        let cut = async {
            // No room for this one, and then it has no caller either.
            assert!(timeout(seconds(1), call(4)).await.is_err());
            lab.host(CLIENT).reset();
        };
        let (calls, ()) = join(join_all((1..4).map(call)), cut).await;
        let outcomes: Vec<_> = calls.iter().map(Result::is_ok).collect();
        assert_eq!(outcomes, [false, true, true]);
        {
            let reports = reports.lock().unwrap();
            let report = &reports[0];
            assert_eq!((&report.not_sent[..], &report.possibly_executed[..]), (&[2, 3][..], &[1][..]));
        }
        sleep(seconds(30)).await;
        assert_eq!(handler.begun(), [1, 2, 3]);
    });
}

/// What finds nothing under way waits for no company, however it came to be the next.
#[test]
fn a_request_that_finds_nothing_under_way_goes_at_once() {
    for delay in [1, 60] {
        Laboratory::run("alone", |lab| async move {
            let handler = Counting::default();
            let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), handler.clone()).await;
            let limits = ChannelLimits { requests: 1, ..ChannelLimits::default() };
            let builder =
                Channel::builder(&LAXCUS6).extensions(false).limits(limits).batch_delay(seconds(delay));
            let channel = open(&lab, builder.heartbeat(None, Duration::ZERO));
            channel.ready().await.unwrap();
            let begun = lab.now();
            // There is room for one. The second cannot be sent, and ends when its turn comes.
            let own = Packet::new(Code::Request { major: 0x46, minor: 1 });
            let (slow, own, last) = join3(
                channel.call(numbered(&LAXCUS6, 1, 5000)),
                channel.call(own),
                channel.call(numbered(&LAXCUS6, 2, 0)),
            )
            .await;
            assert_eq!((slow.is_ok(), own.unwrap_err()), (true, CallError::not_sent(Cause::NotOurs)));
            last.unwrap();
            let took = lab.now() - begun;
            assert!(took < millis(5200), "{took:?}");
        });
    }
}

/// A heartbeat waits for no company.
#[test]
fn a_dead_peer_is_found_while_a_batch_is_held() {
    Laboratory::run("held, and dead", |lab| async move {
        let handler = Counting::default();
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), handler.clone()).await;
        let channel = open(&lab, Channel::builder(&LAXCUS6).batch_delay(seconds(300)).timeout(seconds(600)));
        channel.call(numbered(&LAXCUS6, 0, 0)).await.unwrap();
        let begun = lab.now();
        let held = async {
            sleep(seconds(1)).await;
            lab.partition(CLIENT, SERVER);
            channel.call_with(numbered(&LAXCUS6, 2, 0), within(seconds(100))).await
        };
        let lost = async {
            let lost = channel.call(numbered(&LAXCUS6, 1, 600_000)).await;
            (lost.unwrap_err().cause, lab.now() - begun)
        };
        let ((cause, took), held) = join(lost, held).await;
        assert_eq!(cause, Cause::Lost(std::io::ErrorKind::TimedOut));
        assert!(took < seconds(45), "{took:?}");
        assert_eq!(held.unwrap_err().fate, Fate::NotSent);
        assert_eq!(handler.begun(), [0, 1]);
    });
}

/// What stood in the outbox when its time was over was not sent, as the report of the cut says.
#[test]
fn what_the_socket_did_not_take_was_not_sent() {
    Laboratory::run("not taken", |lab| async move {
        let buffer = 100_000;
        lab.host(CLIENT).set(HostConfig::default().with_send_buffer(buffer));
        let handler = Counting::default();
        let _server = serve(&lab, &LEXST1, ServerLimits::default(), handler.clone()).await;
        let reports = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&reports);
        let builder = Channel::builder(&LEXST1)
            .extensions(false)
            .depth(4)
            .on_cut(move |report| told.lock().unwrap().push(report.clone()));
        let channel = open(&lab, builder);
        channel.call(numbered(&LEXST1, 0, 0)).await.unwrap();
        lab.partition(CLIENT, SERVER);
        let large = numbered(&LEXST1, 1, 0).with_entity(vec![0; buffer + 1000]);
        let tagged = |tag, time| CallOptions { tag, ..within(seconds(time)) };
        let (_, small) = join(
            channel.call_with(large, tagged(1, 20)),
            channel.call_with(numbered(&LEXST1, 2, 0), tagged(2, 5)),
        )
        .await;
        assert_eq!(small.unwrap_err(), CallError::not_sent(Cause::Timeout));
        assert_eq!(reports.lock().unwrap()[0].not_sent, [2]);
    });
}
