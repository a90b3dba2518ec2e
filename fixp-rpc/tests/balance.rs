//! Clients that are one, over several servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI16, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use fixp_codec::{LAXCUS6, LEXST1, Packet};
use fixp_rpc::balance::{ATTEMPTS, Unbalanced};
use fixp_rpc::wire::CALL;
use fixp_rpc::{Client, Executed, Failure, Rpc};
use fixp_transport::extension::key::REFUSAL;
use fixp_transport::socket::TcpConnector;
use fixp_transport::{Body, Cause, Channel, Handler, Reply, Request, Server, tables};
use futures_util::future::join_all;

#[fixp_rpc::service]
trait Work {
    async fn once(&self) -> usize;
    #[idempotent]
    async fn again(&self) -> usize;
    async fn stand(&self);
    async fn stream(&self, body: Body) -> (usize, Body);
    async fn stuck(&self, body: Body) -> usize;
}

/// A server that may refuse everything.
#[derive(Clone, Default)]
struct Place {
    number: usize,
    begun: Arc<AtomicUsize>,
    refuses: Arc<AtomicI16>,
}

impl Work for Place {
    async fn once(&self) -> usize {
        self.number
    }
    async fn again(&self) -> usize {
        self.number
    }
    async fn stand(&self) {
        if self.number == 0 {
            std::future::pending::<()>().await;
        }
    }
    async fn stream(&self, body: Body) -> (usize, Body) {
        (self.number, body)
    }
    async fn stuck(&self, _: Body) -> usize {
        std::future::pending().await
    }
}

struct Gate(Place, Rpc);

impl Handler for Gate {
    async fn handle(&self, request: Request) -> Reply {
        if request.packet.code != CALL {
            return Reply::Unserved;
        }
        self.0.begun.fetch_add(1, SeqCst);
        match self.0.refuses.load(SeqCst) {
            0 => self.1.handle(request).await,
            number => Packet::new(tables::of(request.peer.dialect).refuse).with(REFUSAL, number).into(),
        }
    }
}

struct Places {
    servers: Vec<Server<Gate>>,
    places: Vec<Place>,
}

impl Places {
    async fn start(count: usize) -> Self {
        let mut this = Self { servers: Vec::new(), places: Vec::new() };
        for number in 0..count {
            let place = Place { number, ..Place::default() };
            let gate = Gate(place.clone(), Rpc::new().serve(WorkService::new(place.clone())));
            let server = Server::builder(gate).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
            this.servers.push(server);
            this.places.push(place);
        }
        this
    }

    fn addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.servers.iter().map(|server| server.local_addr().unwrap())
    }

    fn client(&self) -> WorkClient {
        let channel = |addr| Channel::builder(&LAXCUS6).open(TcpConnector::new(addr));
        WorkClient::new(Client::balanced(self.addrs().map(|addr| Client::over(channel(addr)))).unwrap())
    }

    fn begun(&self) -> Vec<usize> {
        self.places.iter().map(|place| place.begun.load(SeqCst)).collect()
    }

    fn refuse(&self, number: i16) {
        for place in &self.places {
            place.refuses.store(number, SeqCst);
        }
    }
}

#[tokio::test]
async fn who_has_less_to_do_gets_more() {
    let places = Places::start(2).await;
    let client = places.client();
    // The first that goes to 0 stays there, and 1 gets all others.
    let mut standing = Vec::new();
    for sent in 1..=40 {
        let client = client.clone();
        standing.push(tokio::spawn(async move { client.stand().await }));
        let done = async {
            while places.begun()[0] + standing.iter().filter(|call| call.is_finished()).count() < sent {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), done).await.expect("1 answers");
    }
    assert_eq!(places.begun(), [1, 39]);
}

#[tokio::test]
async fn who_is_not_there_gets_nothing() {
    let mut places = Places::start(3).await;
    let gone = places.servers.remove(0).local_addr().unwrap();
    let clients = places
        .addrs()
        .chain([gone])
        .map(|addr| Client::over(Channel::builder(&LAXCUS6).open(TcpConnector::new(addr))));
    let client = WorkClient::new(Client::balanced(clients).unwrap());
    let calls = tokio::time::timeout(Duration::from_secs(20), join_all((0..100).map(|_| client.once())));
    let answered = calls.await.expect("nobody waits for who is not there");
    assert!(answered.iter().all(|answer| matches!(answer, Ok(1 | 2))), "{answered:?}");
    assert!(answered.contains(&Ok(1)) && answered.contains(&Ok(2)));
}

#[tokio::test]
async fn what_was_refused_goes_elsewhere() {
    let places = Places::start(2).await;
    let client = places.client();
    places.places[0].refuses.store(4, SeqCst);
    let answered = join_all((0..50).map(|_| client.once())).await;
    assert!(answered.iter().all(|answer| *answer == Ok(1)), "{answered:?}");
    assert!(places.begun()[0] > 0);
}

#[tokio::test]
async fn what_may_have_run_is_repeated_only_where_that_is_harmless() {
    let places = Places::start(2).await;
    let client = places.client();
    // Nothing is known of such a refusal.
    places.refuse(99);
    let once = client.once().await;
    assert!(matches!(once, Err(Failure::MayHaveRun(_))), "{once:?}");
    assert_eq!(places.begun().iter().sum::<usize>(), 1);
    let again = client.again().await;
    assert!(matches!(again, Err(Failure::MayHaveRun(_))), "{again:?}");
    assert_eq!(places.begun().iter().sum::<usize>(), 1 + ATTEMPTS as usize);
}

/// What is known of the last attempt is not all that is known.
#[tokio::test]
async fn what_an_earlier_attempt_has_done_is_not_forgotten() {
    for _ in 0..4 {
        let places = Places::start(2).await;
        places.places[0].refuses.store(99, SeqCst);
        places.places[1].refuses.store(4, SeqCst);
        // Each of them is asked at least once, for who has refused rests.
        let failure = places.client().again().await.unwrap_err();
        assert_eq!(failure.executed(), Executed::Perhaps, "{failure:?}");
        assert!(places.begun().iter().all(|begun| *begun > 0), "{:?}", places.begun());
    }
}

/// Where all have too much to do, they do not get three times as much for it.
#[tokio::test]
async fn repeating_has_a_budget() {
    let places = Places::start(2).await;
    let client = places.client();
    places.refuse(4);
    let answered = join_all((0..200).map(|_| client.once())).await;
    assert!(answered.iter().all(|answer| *answer == Err(Failure::Overloaded)));
    let sent = places.begun().iter().sum::<usize>();
    // A hundred are spare in ten seconds, and some more if it has taken longer.
    assert!((250..500).contains(&sent), "{sent}");
}

#[tokio::test]
async fn streams_go_to_each_in_turn() {
    let places = Places::start(3).await;
    let client = places.client();
    let mut numbers = Vec::new();
    for _ in 0..6 {
        let (number, body) = client.stream(Body::from_bytes("abc")).await.unwrap();
        assert_eq!(body.collect(3).await.unwrap(), "abc");
        numbers.push(number);
    }
    assert_eq!(numbers, [0, 1, 2, 0, 1, 2]);
}

/// A server that is not there has no turn.
#[tokio::test]
async fn streams_go_to_who_is_there() {
    let mut places = Places::start(3).await;
    let gone = places.servers.remove(0).local_addr().unwrap();
    let of = |addr| Client::over(Channel::builder(&LAXCUS6).open(TcpConnector::new(addr)));
    let all = || places.addrs().chain([gone]).map(of);
    let client = WorkClient::new(Client::balanced(all()).unwrap());
    let mut numbers = Vec::new();
    for _ in 0..8 {
        numbers.push(client.stream(Body::from_bytes("abc")).await.unwrap().0);
    }
    assert!(numbers.contains(&1) && numbers.contains(&2), "{numbers:?}");
    // Where none is, it is waited for within the time, and has got nothing.
    let time = Duration::from_millis(50);
    let nobody = WorkClient::new(Client::balanced([of(gone)]).unwrap().timeout(time));
    let none = nobody.stream(Body::from_bytes("abc")).await.map(|(number, _)| number);
    assert_eq!(none, Err(Failure::NotSent(Cause::Timeout)));
    // Nor has one that was closed.
    let clients: Vec<_> = all().collect();
    clients[0].clone().close().await;
    let client = WorkClient::new(Client::balanced(clients).unwrap());
    for _ in 0..4 {
        assert_eq!(client.stream(Body::from_bytes("abc")).await.map(|(number, _)| number), Ok(2));
    }
}

/// The time is that of the one client, as for calls.
#[tokio::test]
async fn streams_have_a_time() {
    let places = Places::start(1).await;
    let channel = Channel::builder(&LAXCUS6).open(TcpConnector::new(places.addrs().next().unwrap()));
    let client = Client::balanced([Client::over(channel)]).unwrap().timeout(Duration::from_millis(100));
    let client = WorkClient::new(client);
    let stuck = client.stuck(Body::from_bytes("abc"));
    let ended = tokio::time::timeout(Duration::from_secs(10), stuck).await.expect("it has a time");
    assert!(matches!(ended, Err(Failure::Expired | Failure::MayHaveRun(_))), "{ended:?}");
}

#[tokio::test]
async fn what_cannot_be_one() {
    assert_eq!(Client::balanced([]).err(), Some(Unbalanced::Empty));
    let addr = "127.0.0.1:9".parse().unwrap();
    let of = |dialect| Client::over(Channel::builder(dialect).open(TcpConnector::new(addr)));
    assert_eq!(Client::balanced([of(&LAXCUS6), of(&LEXST1)]).err(), Some(Unbalanced::Dialects));
    // Who is nowhere is waited for within the call's time, and was not asked.
    let short = Client::balanced([of(&LAXCUS6)]).unwrap().timeout(Duration::from_millis(50));
    assert!(matches!(WorkClient::new(short).once().await, Err(Failure::NotSent(_))));
}

/// A time without end has one.
#[tokio::test]
async fn all_the_time_there_is() {
    let places = Places::start(1).await;
    let channel = Channel::builder(&LAXCUS6).open(TcpConnector::new(places.addrs().next().unwrap()));
    let client = Client::balanced([Client::over(channel)]).unwrap().timeout(Duration::MAX);
    assert_eq!(WorkClient::new(client).once().await, Ok(0));
}
