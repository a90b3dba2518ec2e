//! Calls on an ordered channel (SPEC 10.5, 13.1): executed in their order, each at most once, over one connection
//! after another.
//!
//! A run that fails prints its seed; `FIXP_SEED` runs it again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../fixp-transport/tests/common/lab.rs"]
mod lab;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixp_codec::{Dialect, LAXCUS6, LEXST1};
use fixp_laboratory::{Cut, Direction, Laboratory, LinkConfig};
use fixp_rpc::{Client, Rpc};
use fixp_transport::Channel;
use fixp_transport::limits::ServerLimits;
use futures_util::future::join_all;
use lab::{CLIENT, SERVER, open, serve};
use tokio::time::sleep;

const MILLI: Duration = Duration::from_millis(1);

#[fixp_rpc::service]
trait Row {
    /// Stands in the row after a while.
    async fn append(&self, number: u32, millis: u32) -> u32;
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u32>>>);

impl Row for Log {
    async fn append(&self, number: u32, millis: u32) -> u32 {
        sleep(millis * MILLI).await;
        self.0.lock().unwrap().push(number);
        number
    }
}

async fn story(lab: Laboratory, dialect: &'static Dialect) -> u64 {
    const CALLS: u32 = 30;
    let mut chance = lab.random();
    lab.set_links(LinkConfig::default().with_delay(20 * MILLI));
    let log = Log::default();
    let _server =
        serve(&lab, dialect, ServerLimits::default(), Rpc::new().serve(RowService::new(log.clone()))).await;
    let channel = open(&lab, Channel::builder(dialect).ordered().backoff(50 * MILLI, 500 * MILLI));
    let row = RowClient::new(Client::over(channel.clone()));
    let cuts = tokio::spawn({
        let lab = lab.clone();
        let mut chance = lab.random();
        async move {
            for _ in 0..4 {
                sleep(chance.below(400) as u32 * MILLI).await;
                let direction = [Direction::ToServer, Direction::ToClient][chance.below(2) as usize];
                for connection in lab.connections(CLIENT, SERVER) {
                    lab.cut_after(connection, direction, chance.below(300), Cut::Reset);
                }
            }
        }
    });
    // Those that come later are quicker, so that they would overtake if they could.
    let calls = (0..CALLS).map(|number| {
        let millis = chance.below(u64::from(2 * (CALLS - number))) as u32;
        row.append(number, millis)
    });
    let answers = join_all(calls).await;
    cuts.await.unwrap();
    // The server remembers, so each is executed, once, however often it was sent.
    let all: Vec<_> = (0..CALLS).collect();
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), all);
    assert_eq!(*log.0.lock().unwrap(), all);
    channel.stats().cuts
}

#[test]
fn calls_keep_their_order_over_cuts() {
    for dialect in [&LAXCUS6, &LEXST1] as [&'static Dialect; 2] {
        let cuts = Arc::new(Mutex::new(0));
        Laboratory::run_seeds(&format!("ordered-calls-{}", dialect.name()), 1..=30, |lab| {
            let cuts = Arc::clone(&cuts);
            async move {
                let cut = story(lab, dialect).await;
                *cuts.lock().unwrap() += cut;
            }
        });
        assert!(*cuts.lock().unwrap() > 30, "connections were cut: {cuts:?}");
    }
}
