//! What goes together in one write, what waits for company, and what a full channel says. All on the virtual
//! clock of a laboratory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::time::Duration;

use fixp_codec::{LAXCUS6, Packet, laxcus6::notify};
use fixp_laboratory::{Laboratory, LinkConfig};
use fixp_transport::limits::{ChannelLimits, ServerLimits};
use fixp_transport::{CallError, CallOptions, Cause, Channel, Echo};
use futures_util::future::join_all;
use lab::{CLIENT, SERVER, open, serve};
use tokio::time::{Instant, sleep};

fn request(size: usize) -> Packet {
    Packet::new(notify::FLUSH_LOG).with_entity(vec![7; size])
}

const DELAY: Duration = Duration::from_millis(10);

async fn ready(lab: &Laboratory, builder: fixp_transport::ChannelBuilder) -> Channel {
    lab.link(CLIENT, SERVER, &LinkConfig::default().with_delay(DELAY));
    let channel = open(lab, builder);
    channel.ready().await.unwrap();
    channel
}

/// The round trip.
const TRIP: Duration = Duration::from_millis(20);

#[test]
fn on_an_idle_socket_nothing_waits_for_company() {
    Laboratory::run("batch-idle", |lab| async move {
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), Echo).await;
        let channel = ready(&lab, Channel::builder(&LAXCUS6).batch_delay(Duration::from_secs(5))).await;
        for _ in 0..3 {
            let begun = Instant::now();
            channel.call(request(10)).await.unwrap();
            assert!(begun.elapsed() < TRIP + Duration::from_millis(3), "{:?}", begun.elapsed());
        }
    });
}

#[test]
fn a_batch_goes_when_its_oldest_request_has_waited() {
    Laboratory::run("batch-delay", |lab| async move {
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), Echo).await;
        let wait = Duration::from_millis(5);
        let channel = ready(&lab, Channel::builder(&LAXCUS6).batch_delay(wait)).await;
        let before = channel.stats().writes;
        let first = channel.try_call(request(10), CallOptions::default()).unwrap();
        sleep(Duration::from_millis(1)).await;
        // While that one is under way, ten more come, a millisecond apart from each other.
        let begun = Instant::now();
        let mut others = Vec::new();
        for _ in 0..10 {
            others.push(channel.try_call(request(10), CallOptions::default()).unwrap());
            sleep(Duration::from_millis(1)).await;
        }
        first.await.unwrap();
        for answer in join_all(others).await {
            answer.unwrap();
        }
        // The oldest of a batch waits five of them, and six are there then.
        let writes = channel.stats().writes - before;
        assert_eq!(writes, 3, "{:?}", channel.stats());
        assert!(begun.elapsed() < TRIP + 4 * wait, "{:?}", begun.elapsed());
    });
}

#[test]
fn a_full_batch_waits_for_nobody() {
    Laboratory::run("batch-full", |lab| async move {
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), Echo).await;
        let limits = ChannelLimits { batch: 4096, ..ChannelLimits::default() };
        let builder = Channel::builder(&LAXCUS6).batch_delay(Duration::from_secs(5)).limits(limits);
        let channel = ready(&lab, builder).await;
        let first = channel.try_call(request(10), CallOptions::default()).unwrap();
        sleep(Duration::from_millis(1)).await;
        let begun = Instant::now();
        let others: Vec<_> =
            (0..5).map(|_| channel.try_call(request(1000), CallOptions::default()).unwrap()).collect();
        for answer in join_all(others).await {
            answer.unwrap();
        }
        assert!(begun.elapsed() < TRIP + Duration::from_millis(3), "{:?}", begun.elapsed());
        first.await.unwrap();
    });
}

#[test]
fn a_full_channel_makes_wait_or_says_so() {
    Laboratory::run("channel-full", |lab| async move {
        let _server = serve(&lab, &LAXCUS6, ServerLimits::default(), Echo).await;
        let limits = ChannelLimits { requests: 2, bytes: 3000, ..ChannelLimits::default() };
        let channel = ready(&lab, Channel::builder(&LAXCUS6).limits(limits)).await;
        let options = CallOptions::default();
        let full = Err(CallError::not_sent(Cause::Full));
        let one = channel.try_call(request(1000), options).unwrap();
        // By bytes: there is room for one of a thousand, not of two thousand.
        assert_eq!(channel.try_call(request(2000), options).map(drop), full);
        let two = channel.try_call(request(1000), options).unwrap();
        // By number.
        assert_eq!(channel.try_call(request(1), options).map(drop), full);
        // One that can never go is told so.
        let error = channel.call(request(4000)).await.unwrap_err();
        assert!(matches!(error.cause, Cause::TooLarge { size: 4013, limit: 3000 }), "{error}");
        // Those who wait get their turn in the order in which they came, and a large one is not overtaken.
        let begun = Instant::now();
        let order = std::sync::Mutex::new(Vec::new());
        let wait = |name: &'static str, size: usize| {
            let (channel, order) = (&channel, &order);
            async move {
                channel.call(request(size)).await.unwrap();
                order.lock().unwrap().push(name);
            }
        };
        let (one, two, ..) =
            tokio::join!(biased; one, two, wait("large", 2900), wait("small", 10), wait("smaller", 5));
        one.unwrap();
        two.unwrap();
        assert_eq!(*order.lock().unwrap(), ["large", "small", "smaller"]);
        assert!(begun.elapsed() >= 2 * TRIP);
        // One that waits too long was certainly not sent.
        lab.partition(CLIENT, SERVER);
        let _stuck = (channel.try_call(request(10), options), channel.try_call(request(10), options));
        let options = CallOptions { timeout: Some(Duration::from_secs(1)), ..options };
        let error = channel.call_with(request(10), options).await.unwrap_err();
        assert_eq!(error, CallError::not_sent(Cause::Timeout));
    });
}
