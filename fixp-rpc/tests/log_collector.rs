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

use example::{Collector, CollectorClient, CollectorService, Entry, Level, Memory, Refused, Shipper};
use fixp_codec::{Dialect, LAXCUS6, LEXST1};
use fixp_laboratory::{Laboratory, LinkConfig};
use fixp_rpc::{Client, Rpc};
use fixp_transport::Channel;
use fixp_transport::limits::ServerLimits;
use lab::{Binder, CLIENT, PORT, SERVER, serve};
use tokio::time::sleep;

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
            let shipper = Shipper::new("data", CollectorClient::new(Client::over(channel)));
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
    let append = |first, numbers| memory.append("a".to_owned(), first, entries(numbers));
    assert_eq!(append(0, 0..3).await, Ok(3));
    assert_eq!(append(1, 1..5).await, Ok(5));
    assert_eq!(append(0, 0..2).await, Ok(5));
    assert_eq!(append(7, 7..8).await, Err(Refused::Gap { wanted: 5 }));
    assert_eq!(memory.tail("a".to_owned(), Level::Info, 10).await, entries(0..5));
    assert_eq!(memory.tail("a".to_owned(), Level::Fatal, 10).await, []);
}
