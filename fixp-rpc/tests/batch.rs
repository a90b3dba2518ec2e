//! Calls in one packet (SPEC 13.8), over each way that there is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use fixp_codec::{Dialect, LAXCUS6, LEXST1, Packet};
use fixp_rpc::batch::CALLS;
use fixp_rpc::interface::Method;
use fixp_rpc::wire::{Asked, BATCH, Outcome, key};
use fixp_rpc::{Client, Executed, Failure, Format, FormatError, Prepared, Rpc};
use fixp_transport::{Channel, Server, udp};
use serde::{Deserialize, Serialize};
use tokio::sync::Barrier;

#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
struct Odd(u32);

#[fixp_rpc::service]
trait Sums {
    /// What is even.
    async fn even(&self, number: u32) -> Result<u32, Odd>;
    async fn text(&self, len: usize) -> String;
    async fn panic(&self);
    async fn meet(&self) -> bool;
    /// Gives its text once all have met.
    async fn met(&self, len: usize) -> String;
    #[one_way]
    async fn count(&self);
    async fn keyed(&self, map: BTreeMap<(u8, u8), u8>) -> usize;
}

struct Adder {
    meeting: Barrier,
    counted: Arc<AtomicUsize>,
    ran: Arc<AtomicUsize>,
}

impl Sums for Adder {
    async fn even(&self, number: u32) -> Result<u32, Odd> {
        self.ran.fetch_add(1, SeqCst);
        if number.is_multiple_of(2) { Ok(number) } else { Err(Odd(number)) }
    }
    async fn text(&self, len: usize) -> String {
        "x".repeat(len)
    }
    async fn panic(&self) {
        panic!("as it was asked to");
    }
    async fn meet(&self) -> bool {
        self.meeting.wait().await;
        true
    }
    async fn met(&self, len: usize) -> String {
        self.meeting.wait().await;
        "x".repeat(len)
    }
    async fn count(&self) {
        self.counted.fetch_add(1, SeqCst);
    }
    async fn keyed(&self, map: BTreeMap<(u8, u8), u8>) -> usize {
        map.len()
    }
}

/// Another idea of the same interface.
mod other {
    #[fixp_rpc::service(name = "Sums")]
    pub(crate) trait Other {
        async fn odd(&self) -> u8;
        async fn even(&self, number: bool) -> u8;
    }
    #[fixp_rpc::service]
    pub(crate) trait Absent {
        async fn odd(&self) -> u8;
    }
}

struct Served {
    server: Server<Rpc>,
    counted: Arc<AtomicUsize>,
    ran: Arc<AtomicUsize>,
}

impl Served {
    async fn start() -> Self {
        let (counted, ran) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let sums = Adder { meeting: Barrier::new(3), counted: counted.clone(), ran: ran.clone() };
        let rpc = Rpc::new().serve(SumsService::new(sums)).gathered_limit(1 << 20);
        let server = Server::builder(rpc).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        Self { server, counted, ran }
    }

    async fn clients(&self, dialect: &'static Dialect) -> [Client; 3] {
        let addr = self.server.local_addr().unwrap();
        let channel = Channel::builder(dialect).announce_first();
        [
            Client::over(channel.clone().connect(addr).await.unwrap()),
            Client::over(channel.keep_udp(addr)),
            Client::over_udp(udp::Client::builder().dialect(dialect).build(), addr),
        ]
    }

    async fn channel(&self) -> Channel {
        Channel::builder(&LAXCUS6).connect(self.server.local_addr().unwrap()).await.unwrap()
    }
}

/// SPEC 13.8: each call has its own result, whatever the others have, and they run at the same time.
#[tokio::test]
async fn each_has_its_own_result() {
    let served = Served::start().await;
    for dialect in [&LAXCUS6, &LEXST1] as [&'static Dialect; 2] {
        for client in served.clients(dialect).await {
            for format in Format::ALL {
                let client = client.clone().format(format);
                served.counted.store(0, SeqCst);
                let sums = SumsClient::new(client.clone()).calls();
                let other = other::OtherClient::new(client.clone()).calls();
                let absent = other::AbsentClient::new(client.clone()).calls();
                let numbers: Vec<_> = (0..3).map(|number| sums.even(number)).collect();
                let meeting = (sums.meet(), (sums.meet(), sums.meet()));
                let failing = (sums.panic(), other.odd(), absent.odd(), sums.count(), sums.text(3));
                let (numbers, meeting, failing) = client.batch((numbers, meeting, failing)).await;
                assert_eq!(numbers, [Ok(0), Err(Failure::Failed(Odd(1))), Ok(2)]);
                assert_eq!(meeting, (Ok(true), (Ok(true), Ok(true))));
                assert_eq!(
                    failing,
                    (
                        Err(Failure::Broken),
                        Err(Failure::NoMethod),
                        Err(Failure::NoInterface),
                        Ok(()),
                        Ok("xxx".to_owned())
                    )
                );
                while served.counted.load(SeqCst) < 1 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// Calls need not be of one client, nor of its format.
#[tokio::test]
async fn calls_of_several_formats_go_together() {
    let served = Served::start().await;
    let [client, ..] = served.clients(&LAXCUS6).await;
    let calls = Format::ALL.map(|format| SumsClient::new(client.clone().format(format)).calls().even(4));
    assert_eq!(client.batch(Vec::from(calls)).await, [Ok(4), Ok(4), Ok(4)]);
    // One packet went for each batch.
    assert_eq!(client.batch(Vec::<Prepared<u32, Odd>>::new()).await, []);
    // What cannot be written stays here, and what cannot be read comes back, alone.
    let json = SumsClient::new(client.clone().format(Format::Json)).calls();
    let other = other::OtherClient::new(client.clone().format(Format::Json)).calls();
    let (good, unwritable, bad) =
        client.batch((json.even(2), json.keyed(BTreeMap::from([((1, 2), 3)])), other.even(true))).await;
    assert_eq!(good, Ok(2));
    assert!(matches!(unwritable, Err(Failure::Unwritable(_))), "{unwritable:?}");
    assert!(matches!(bad, Err(Failure::BadArgument(_))), "{bad:?}");
}

/// SPEC 13.8: more calls than are taken are not sent, or not executed.
#[tokio::test]
async fn a_batch_of_too_many() {
    let served = Served::start().await;
    let client = Client::over(served.channel().await);
    let calls = SumsClient::new(client.clone()).calls();
    let most = client.batch((0..CALLS).map(|_| calls.even(2)).collect::<Vec<_>>()).await;
    assert!(most.len() == CALLS && most.iter().all(Result::is_ok));
    let more = client.batch((0..=CALLS).map(|_| calls.even(2)).collect::<Vec<_>>()).await;
    assert!(more.len() == CALLS + 1 && more.iter().all(|result| *result == Err(Failure::TooMany)));

    let call = Asked { method: "Sums.even", format: Format::Postcard, one_way: false };
    let call = call.packet(&LAXCUS6, vec![2].into());
    let call = call.to_bytes(fixp_transport::extension::own(&LAXCUS6)).unwrap();
    let channel = served.channel().await;
    served.ran.store(0, SeqCst);
    let answer = channel.call(Packet::new(BATCH).with_entity(call.repeat(CALLS + 1))).await.unwrap();
    assert_eq!(Outcome::of(&LAXCUS6, &answer), Some(Outcome::TooMany));
    // The last of them is cut.
    for broken in [&call[..call.len() - 1], &call[..3], &[0; 100]] {
        let entity = [&call[..], broken].concat();
        let answer = channel.call(Packet::new(BATCH).with_entity(entity)).await.unwrap();
        assert_eq!(Outcome::of(&LAXCUS6, &answer), Some(Outcome::BadBatch));
        assert!(answer.first(key::OUTCOME).is_some());
    }
    assert_eq!(served.ran.load(SeqCst), 0);
    // A packet that is no call has no method.
    let probe = Packet::new(fixp_codec::laxcus6::notify::TEST).to_bytes(&LAXCUS6).unwrap();
    let answer = channel.call(Packet::new(BATCH).with_entity([&probe[..], &call].concat())).await.unwrap();
    let read = fixp_codec::Decoder::new(&LAXCUS6).packet(&answer.entity).unwrap();
    assert_eq!(Outcome::of(&LAXCUS6, &read.to_packet().unwrap()), Some(Outcome::NoMethod));
    assert_eq!(served.ran.load(SeqCst), 1);
}

/// SPEC 13.8: room has who ends first, so that what has none need not be kept until the others end.
#[tokio::test]
async fn room_is_given_in_the_order_in_which_calls_end() {
    let served = Served::start().await;
    let [tcp, keep, udp] = served.clients(&LAXCUS6).await;
    for (client, size) in [(tcp, 3_000_000), (keep, 3_000_000), (udp, 40_000)] {
        let calls = SumsClient::new(client.clone()).calls();
        let (late, early, meeting) =
            client.batch((calls.met(size), calls.text(size), (calls.meet(), calls.meet()))).await;
        assert_eq!(late.map(|text| text.len()), Err(Failure::NoResult(FormatError::default())));
        assert_eq!(early.map(|text| text.len()), Ok(size));
        assert_eq!(meeting, (Ok(true), Ok(true)));
    }
}

/// SPEC 13.8: results that have no room together are left out from where they have none.
#[tokio::test]
async fn what_has_no_room_is_left_out() {
    let served = Served::start().await;
    let [tcp, keep, udp] = served.clients(&LAXCUS6).await;
    for (client, size) in [(tcp, 1_500_000), (keep, 1_500_000), (udp, 30_000)] {
        let calls = SumsClient::new(client.clone()).calls();
        let (large, small, larger) =
            client.batch(((calls.text(size), calls.text(size)), calls.text(5), calls.text(size))).await;
        assert!(large.0.is_ok_and(|text| text.len() == size) && large.1.is_ok());
        assert_eq!(small, Ok("xxxxx".to_owned()));
        assert_eq!(larger, Err(Failure::NoResult(FormatError::default())));
    }
}

/// SPEC 13.9: arguments that are gathered have a limit, and the server says so.
#[tokio::test]
async fn arguments_that_are_too_long() {
    let served = Served::start().await;
    let client = Client::over(served.channel().await).format(Format::Json);
    // Larger than what the server gathers by itself (256 KiB), and than it takes.
    for (len, fits) in [(100, true), (500_000, true), (1_100_000, false)] {
        let argument = [b"[2".to_vec(), vec![b' '; len], b"]".to_vec()].concat();
        let result = client.call_written::<Odd>("Sums.even", false, false, argument.into()).await;
        match result {
            Ok(written) => assert!(fits && written == Ok("2".into())),
            Err(failure) => assert!(!fits && failure.executed() == Executed::No, "{failure:?}"),
        }
    }
}

/// A batch of which a call cannot be written is not sent, and says so.
#[tokio::test]
async fn what_cannot_be_written_is_not_sent() {
    let served = Served::start().await;
    let client = Client::over(served.channel().await);
    // No value is so long.
    let path: &'static str = "x".repeat(5000).leak();
    let method: &'static Method = Box::leak(Box::new(Method { path, ..SumsClient::INTERFACE.methods[0] }));
    let long = client.prepare::<_, u32, Odd>(method, &(2,));
    let (good, long) = client.batch((SumsClient::new(client.clone()).calls().even(2), long)).await;
    assert!(matches!(&long, Err(Failure::Unwritable(_))), "{long:?}");
    assert!(matches!(&good, Err(Failure::Unwritable(_))), "{good:?}");
    assert_eq!(served.ran.load(SeqCst), 0);
}

/// What becomes of the packet becomes of each call.
#[tokio::test]
async fn without_an_answer_all_say_so() {
    let served = Served::start().await;
    let client = Client::over(served.channel().await);
    let calls = SumsClient::new(client.clone()).calls();
    client.clone().close().await;
    let (a, b) = client.batch((calls.even(1), calls.text(1))).await;
    assert!(matches!(a, Err(Failure::NotSent(_))), "{a:?}");
    assert!(matches!(b, Err(Failure::NotSent(_))), "{b:?}");
}
