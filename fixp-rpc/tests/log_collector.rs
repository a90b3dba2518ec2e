//! The example `log_collector`, as it stands there and on a bad network: every entry comes once and in order.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/log_collector.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "a program of its own")]
mod example;
#[path = "../../fixp-transport/tests/common/lab.rs"]
mod lab;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use example::{
    Collector, CollectorClient, CollectorService, Entry, Level, Memory, Refused, Shipped, Shipper,
};
use fixp_codec::{Dialect, LAXCUS6, LEXST1};
use fixp_laboratory::{Laboratory, LinkConfig};
use fixp_rpc::{Client, Rpc};
use fixp_transport::limits::ServerLimits;
use fixp_transport::{Channel, Server};
use lab::{Binder, CLIENT, PORT, SERVER, serve};
use tokio::time::{sleep, timeout};

#[tokio::test(flavor = "multi_thread")]
async fn it_runs() {
    example::three_nodes().await.unwrap();
}

#[test]
fn every_entry_comes_once_and_in_order() {
    for dialect in [&LAXCUS6, &LEXST1] as [&'static Dialect; 2] {
        Laboratory::run_seeds(&format!("logs-{}", dialect.name()), 1..=10, |lab| async move {
            let links = LinkConfig::default().with_delay(Duration::from_millis(10)).with_loss(0.1);
            lab.set_links(links.with_duplicate(0.05).with_reorder(0.1, Duration::from_millis(15)));
            let memory = Arc::new(Memory::default());
            let rpc = Rpc::new().serve(CollectorService::new(Arc::clone(&memory)));
            let _server = serve(&lab, dialect, ServerLimits::default(), rpc).await;
            let channel = Channel::builder(dialect).seed(lab.seed()).timeout(Duration::from_secs(2));
            let channel = channel.keep_udp_over(SocketAddr::new(SERVER, PORT), Binder(lab.host(CLIENT)));
            let shipper = Shipper::new("data", 7, CollectorClient::new(Client::over(channel)));
            let trouble = tokio::spawn(async move {
                sleep(Duration::from_secs(1)).await;
                lab.partition(CLIENT, SERVER);
                sleep(Duration::from_secs(5)).await;
                lab.heal(CLIENT, SERVER);
            });
            for number in 0..600_u32 {
                shipper.log(Level::Info, number.to_string()).await;
                sleep(Duration::from_millis(5)).await;
            }
            let shipped = shipper.flush().await;
            trouble.await.unwrap();
            assert_eq!(shipped.entries, 600);
            assert!(shipped.again > 0, "the network was split: {shipped:?}");
            assert!(shipped.calls < 300, "many entries go in one call: {shipped:?}");
            let there = memory.tail("data".to_owned(), Level::Debug, 1000).await;
            let numbers: Vec<_> = there.iter().map(|entry| entry.text.parse::<u32>().unwrap()).collect();
            assert_eq!(numbers, (0..600).collect::<Vec<_>>());
        });
    }
}

#[tokio::test]
async fn what_has_come_is_not_taken_again() {
    let memory = Memory::default();
    let entries = |numbers: std::ops::Range<u32>| {
        numbers.map(|number| Entry { level: Level::Info, text: number.to_string() }).collect::<Vec<_>>()
    };
    let append = |run, first, numbers| memory.append("a".to_owned(), run, first, entries(numbers));
    assert_eq!(append(0, 0, 0..2).await, Ok(2));
    assert_eq!(append(3, 0, 2..3).await, Ok(1));
    assert_eq!(append(3, 0, 2..5).await, Ok(3));
    assert_eq!(append(3, 1, 3..4).await, Ok(3));
    assert_eq!(append(3, 4, 7..8).await, Err(Refused::Gap { wanted: 3 }));
    assert_eq!(append(2, 0, 0..9).await, Err(Refused::Past { run: 3 }));
    assert_eq!(memory.tail("a".to_owned(), Level::Info, 10).await, entries(0..5));
    assert_eq!(memory.tail("a".to_owned(), Level::Fatal, 10).await, []);
}

/// A server of a collector, and clients of whichever is there.
async fn collector(memory: &Arc<Memory>, addr: SocketAddr) -> Server<Rpc> {
    let rpc = || Rpc::new().serve(CollectorService::new(Arc::clone(memory)));
    loop {
        // The port is free once all of the server before is gone.
        match Server::builder(rpc()).bind(addr).start().await {
            Ok(server) => return server,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

fn shipper(run: u64, addr: SocketAddr) -> Shipper {
    let channel = Channel::builder(&LAXCUS6).timeout(Duration::from_millis(500)).keep_udp(addr);
    Shipper::new("data", run, CollectorClient::new(Client::over(channel)))
}

async fn log(shipper: &Shipper, text: &str, count: u64) -> Shipped {
    for number in 0..count {
        shipper.log(Level::Info, format!("{text} {number}")).await;
    }
    timeout(Duration::from_secs(30), shipper.flush()).await.expect("all of it comes")
}

async fn there(memory: &Memory) -> Vec<String> {
    let tail = memory.tail("data".to_owned(), Level::Debug, u32::MAX).await;
    tail.into_iter().map(|entry| entry.text).collect()
}

#[tokio::test]
async fn a_node_begins_anew() {
    let memory = Arc::new(Memory::default());
    let server = collector(&memory, "127.0.0.1:0".parse().unwrap()).await;
    let addr = server.local_addr().unwrap();
    // The last one's clock went back.
    for (text, run) in [("first", 7), ("second", 8), ("third", 5)] {
        assert_eq!(log(&shipper(run, addr), text, 300).await.entries, 300);
    }
    let all = ["first", "second", "third"].map(|text| (0..300).map(move |n| format!("{text} {n}")));
    assert_eq!(there(&memory).await, all.into_iter().flatten().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_collector_begins_anew() {
    let memory = Arc::new(Memory::default());
    let server = collector(&memory, "127.0.0.1:0".parse().unwrap()).await;
    let addr = server.local_addr().unwrap();
    let shipper = shipper(7, addr);
    assert_eq!(log(&shipper, "before", 10).await.entries, 10);
    server.shutdown(Duration::from_secs(1)).await;
    let memory = Arc::new(Memory::default());
    let _server = collector(&memory, addr).await;
    assert_eq!(log(&shipper, "after", 10).await.entries, 20);
    assert_eq!(there(&memory).await, (0..10).map(|number| format!("after {number}")).collect::<Vec<_>>());
}
