//! What a channel once got wrong, in the laboratory.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixp_codec::{LAXCUS6, LEXST1};
use fixp_laboratory::Laboratory;
use fixp_transport::limits::{ChannelLimits, ServerLimits};
use fixp_transport::{CallError, CallOptions, Cause, Channel, Echo};
use futures_util::future::{join, join_all};
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
        while channel.stats().answered < 2 || channel.stats().in_flight < 2 {
            sleep(millis(10)).await;
        }
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
