//! Calls of the programs between a client and a server of ours, and what no recording shows (SPEC 12.3 to 12.9).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod echo;
#[path = "../../fixp-transport/tests/common/lab.rs"]
mod lab;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fixp_codec::rpc::{self, Call, Throwable, Type, Value};
use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_laboratory::Laboratory;
use fixp_rpc::legacy::{Client, Exception, Failure, Signature, Visit, Visits};
use fixp_rpc::{Context, Executed, Rpc};
use fixp_transport::extension::Refusal;
use fixp_transport::host::Transport;
use fixp_transport::server::DialectChoice;
use fixp_transport::udp::Security;
use fixp_transport::{Cause, Channel, Echo, Handler, Peer, Reply, Request, Server, handler_fn, udp};
use lab::{Binder, CLIENT, PORT, SERVER};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

const DIALECTS: [&Dialect; 2] = [&LEXST1, &LAXCUS6];

/// A client of each way, to a server of the recorded object.
async fn clients(dialect: &'static Dialect, extensions: bool) -> (impl Sized, Vec<Client>) {
    let visits =
        echo::served().gathered_limit(20_000).serve("demo.Odd", Odd).serve("demo.Abrupt", Abrupt).or(Echo);
    let server = Server::builder(visits).dialect(DialectChoice::Fixed(dialect));
    let server = server.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    let to = server.local_addr().unwrap();
    let builder = || Channel::builder(dialect).extensions(extensions);
    let datagrams = || udp::Client::builder().dialect(dialect).extensions(extensions);
    let mut clients = vec![
        Client::over(builder().connect(to).await.unwrap()),
        Client::over(builder().keep_udp(to)),
        Client::over_udp(datagrams().build(), to),
    ];
    if dialect.name() == "laxcus6" {
        clients.push(Client::visiting(datagrams().security(Security::Unasked).build(), to));
    }
    (server, clients)
}

/// What the recorded object does not do.
struct Odd;

impl Visit for Odd {
    fn methods(&self) -> Vec<Signature> {
        vec![Signature::new("panic", []), Signature::new("own", []), Signature::new("wide", [Type::LONG])]
    }

    async fn invoke(&self, _: Context, method: &Signature, params: Vec<Value>) -> Result<Value, Throwable> {
        match (method.name(), params.as_slice()) {
            ("wide", [Value::Long(number)]) => Ok((*number).into()),
            ("own", []) => Err(Throwable::new("demo.OwnException", "mine")),
            _ => panic!("on purpose"),
        }
    }
}

/// A method that panics before there is a future.
struct Abrupt;

impl Visit for Abrupt {
    fn methods(&self) -> Vec<Signature> {
        vec![Signature::new("panic", [])]
    }

    #[allow(clippy::manual_async_fn, reason = "it is not the same")]
    fn invoke(
        &self,
        _: Context,
        method: &Signature,
        _: Vec<Value>,
    ) -> impl Future<Output = Result<Value, Throwable>> + Send {
        assert_ne!(method.name(), "panic", "on purpose");
        async { Ok(Value::Null) }
    }
}

fn thrown(failure: &Failure) -> (String, Executed) {
    let executed = failure.executed();
    (failure.thrown().unwrap_or_else(|| panic!("{failure}")).to_string(), executed)
}

#[tokio::test]
async fn values_and_exceptions_over_every_way() {
    for (dialect, extensions) in DIALECTS.into_iter().flat_map(|dialect| [(dialect, false), (dialect, true)])
    {
        let interface = if dialect.name() == "lexst1" { "EchoVisit1" } else { "EchoVisit6" };
        let (_server, clients) = clients(dialect, extensions).await;
        for client in clients {
            let add = Call::new(interface, "add").with(Type::INT, 2).with(Type::INT, 40);
            assert_eq!(client.call(&add).await, Ok(Value::Int(42)));
            let bytes = Call::new(interface, "bytes").with(Type::bytes(), vec![7_u8; 3000]);
            assert_eq!(client.call(&bytes).await, Ok(vec![7_u8; 3000].into()));
            let fail = Call::new(interface, "fail").with(Type::string(), "boom");
            let expected = ("java.lang.IllegalStateException: boom".to_owned(), Executed::Yes);
            assert_eq!(thrown(&client.call(&fail).await.unwrap_err()), expected);
            let nope = client.call(&Call::new(interface, "nope")).await.unwrap_err();
            let class = interface.replace("Visit", "Impl");
            let expected = format!("java.lang.NoSuchMethodException: {class}.nope()");
            assert_eq!(thrown(&nope), (expected, Executed::No));
            let wide = Call::new("demo.Odd", "wide").with(Type::LONG, 7);
            assert_eq!(client.call(&wide).await, Ok(Value::Long(7)), "an int where a long is declared");
            let own = client.call(&Call::new("demo.Odd", "own")).await.unwrap_err();
            let expected = "java.lang.RuntimeException: demo.OwnException: mine";
            assert_eq!(thrown(&own), (expected.to_owned(), Executed::Yes));
            client.close().await;
        }
    }
}

#[tokio::test]
async fn what_cannot_be() {
    for dialect in DIALECTS {
        let (_server, clients) = clients(dialect, false).await;
        let client = &clients[0];
        let told = async |call: Call| thrown(&client.call(&call).await.unwrap_err()).0;
        // The recorded program has one class for all objects, so the interface's name is that of the class here.
        let nothing = Call { types: Some(vec![None]), ..Call::new("demo.Odd", "wide") };
        if dialect.name() == "lexst1" {
            assert_eq!(told(nothing).await, "java.lang.NoSuchMethodException: demo.Odd.wide(null)");
        }
        let few = Call { params: None, ..Call::new("demo.Odd", "wide").with(Type::LONG, 7) };
        assert_eq!(told(few).await, "java.lang.IllegalArgumentException: wrong number of arguments");
        let null = Call::new("demo.Odd", "wide").with(Type::LONG, Value::Null);
        assert_eq!(told(null).await, "java.lang.IllegalArgumentException: argument type mismatch");
        for object in ["demo.Odd", "demo.Abrupt"] {
            let panic = Call::new(object, "panic");
            assert_eq!(told(panic).await, "java.lang.Error: the method broke off", "{object}");
        }
        // SPEC 12.9.
        let long = Call::new("demo.Odd", "wide").with(Type::bytes(), vec![0_u8; 30_000]);
        let told = told(long).await;
        assert!(told.starts_with("java.lang.OutOfMemoryError: 30"), "{told}");
    }
}

/// SPEC 12.7: a program hears nothing, a peer of ours is told.
#[tokio::test]
async fn results_that_cannot_be_written() {
    for (dialect, extensions) in DIALECTS.into_iter().flat_map(|dialect| [(dialect, false), (dialect, true)])
    {
        let (_server, clients) = clients(dialect, extensions).await;
        let interface = if dialect.name() == "lexst1" { "EchoVisit1" } else { "EchoVisit6" };
        for (way, client) in clients.into_iter().enumerate() {
            let client = client.timeout(Duration::from_millis(400));
            let add = Call::new(interface, "add").with(Type::INT, 2).with(Type::INT, 40);
            client.call(&add).await.unwrap();
            let failure = client.call(&Call::new(interface, "plain")).await.unwrap_err();
            let expected = match (extensions, way) {
                (true, _) => Cause::Refused(Refusal::Unwritable),
                (false, 0) => Cause::Ended,
                (false, _) => Cause::Timeout,
            };
            assert_eq!(failure, Failure::MayHaveRun(expected), "{dialect} {way}");
            assert_eq!(client.timeout(Duration::from_secs(9)).call(&add).await, Ok(Value::Int(42)));
        }
    }
}

/// A method that never ends, and tells when it begins and when its work is dropped.
struct Endless(mpsc::UnboundedSender<&'static str>);

struct Dropped(mpsc::UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

impl Visit for Endless {
    fn methods(&self) -> Vec<Signature> {
        vec![Signature::new("wait", [])]
    }

    async fn invoke(&self, _: Context, _: &Signature, _: Vec<Value>) -> Result<Value, Throwable> {
        let _dropped = Dropped(self.0.clone());
        self.0.send("begun").unwrap();
        std::future::pending().await
    }
}

type Told = mpsc::UnboundedReceiver<&'static str>;

async fn endless(dialect: &'static Dialect) -> (Server<Visits>, Told) {
    let (tell, told) = mpsc::unbounded_channel();
    let server = Server::builder(Visits::new().serve("demo.Endless", Endless(tell)));
    let server = server.dialect(DialectChoice::Fixed(dialect)).bind("127.0.0.1:0".parse().unwrap());
    (server.start().await.unwrap(), told)
}

/// What the method tells next.
async fn next(told: &mut Told, place: &str) -> &'static str {
    let next = tokio::time::timeout(Duration::from_secs(9), told.recv()).await;
    next.unwrap_or_else(|_| panic!("{place}: nothing")).unwrap()
}

/// A call as a program sends it.
fn packet(dialect: &'static Dialect, call: &Call) -> Packet {
    if dialect.name() == "lexst1" {
        Packet::new(lexst1::rpc::EXECUTE).with_entity(rpc::lexst1::encode_call(call).unwrap())
    } else {
        Packet::new(laxcus6::rpc::EXECUTE).with_entity(rpc::laxcus6::encode_call(call).unwrap())
    }
}

/// SPEC 12.9: the caller's future is dropped, which cancels an exchange of KEEP UDP, and a request of ours over TCP.
#[tokio::test]
async fn the_work_of_a_call_that_is_given_up_stops() {
    for (dialect, extensions) in DIALECTS.into_iter().flat_map(|dialect| [(dialect, false), (dialect, true)])
    {
        let (server, mut told) = endless(dialect).await;
        let to = server.local_addr().unwrap();
        let builder = || Channel::builder(dialect).extensions(extensions);
        let mut ways = vec![("KEEP UDP", builder().keep_udp(to))];
        if extensions {
            ways.push(("TCP", builder().announce_first().connect(to).await.unwrap()));
        }
        for (way, channel) in ways {
            let place = format!("{dialect} {way} {extensions}");
            let client = Client::over(channel);
            let call = Call::new("demo.Endless", "wait");
            tokio::select! {
                outcome = client.call(&call) => panic!("{place}: {outcome:?}"),
                begun = next(&mut told, &place) => assert_eq!(begun, "begun", "{place}"),
            }
            assert_eq!(next(&mut told, &place).await, "dropped", "{place}");
        }
    }
}

/// SPEC 12.9, at the packets of a program. A connection of which only one half was closed gets its answers (11.5).
#[tokio::test]
async fn the_work_of_a_call_ends_with_its_connection() {
    for dialect in DIALECTS {
        let (server, mut told) = endless(dialect).await;
        let call = Call::new("demo.Endless", "wait");
        let packet = packet(dialect, &call);
        let mut stream = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
        stream.write_all(&packet.to_bytes(dialect).unwrap()).await.unwrap();
        assert_eq!(next(&mut told, dialect.name()).await, "begun");
        // It breaks.
        stream.set_zero_linger().unwrap();
        drop(stream);
        assert_eq!(next(&mut told, dialect.name()).await, "dropped");
    }
}

/// SPEC 12.9: where nothing tells that the caller has gone.
#[tokio::test(start_paused = true)]
async fn work_over_datagrams_has_an_end() {
    for dialect in DIALECTS {
        let call = Call::new("demo.Endless", "wait");
        let packet = packet(dialect, &call);
        for (transport, ends) in [(Transport::Udp, true), (Transport::KeepUdp, true), (Transport::Tcp, false)]
        {
            let place = format!("{dialect} {transport:?}");
            let (tell, mut told) = mpsc::unbounded_channel();
            let visits = Visits::new().serve("demo.Endless", Endless(tell)).or(Echo);
            let addr = "127.0.0.1:1".parse().unwrap();
            let peer = Peer { addr, local: addr, transport, dialect };
            let request = || Request { packet: packet.clone(), body: None, peer, deadline: None };
            let early = Duration::from_secs(59);
            assert!(tokio::time::timeout(early, visits.handle(request())).await.is_err(), "{place}: early");
            let late = tokio::time::timeout(Duration::from_secs(61), visits.handle(request())).await;
            assert_eq!(matches!(late, Ok(Reply::Silence)), ends, "{place}: {late:?}");
            for expected in ["begun", "dropped"].repeat(2) {
                assert_eq!(next(&mut told, &place).await, expected);
            }
            let longer = visits.time_limit(Duration::MAX);
            let longer = tokio::time::timeout(Duration::from_secs(9999), longer.handle(request())).await;
            assert!(longer.is_err(), "{place}: {longer:?}");
        }
    }
}

/// SPEC 12.2: two answers say that the call was not looked at, others nothing.
#[tokio::test]
async fn calls_that_are_turned_away() {
    let away = [
        (&LEXST1, lexst1::answer::AUTHENTICATE_FAILED, true),
        (&LEXST1, lexst1::answer::ADDRESS_NOTMATCH, false),
        (&LAXCUS6, laxcus6::answer::SECURE_NOTIFY, true),
        (&LAXCUS6, laxcus6::answer::ISEE, false),
    ];
    for (dialect, code, known) in away {
        let server = Server::builder(handler_fn(move |_| async move { Reply::from(Packet::new(code)) }));
        let server = server.dialect(DialectChoice::Fixed(dialect)).bind("127.0.0.1:0".parse().unwrap());
        let server = server.start().await.unwrap();
        let channel = Channel::builder(dialect).extensions(false);
        let client = Client::over(channel.connect(server.local_addr().unwrap()).await.unwrap());
        let failure = client.call(&Call::new("demo.Odd", "own")).await.unwrap_err();
        let expected = if known { Failure::TurnedAway(code) } else { Failure::NotAnAnswer(code) };
        assert_eq!(failure, expected);
        assert_eq!(failure.executed(), if known { Executed::No } else { Executed::Perhaps });
    }
}

/// SPEC 12.8: the notice is for the query's number, and no VISIT goes where it is for another.
#[tokio::test]
async fn a_notice_for_another_query() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = socket.local_addr().unwrap();
    let program = async {
        let mut came = vec![0; 65536];
        for by in 0.. {
            let (len, from) = socket.recv_from(&mut came).await.unwrap();
            let packet = Decoder::new(&LAXCUS6).packet(&came[..len]).unwrap().to_packet().unwrap();
            assert_eq!((packet.code, by < 2), (laxcus6::notify::PRIVATE_SECURE_QUERY, true));
            let number = packet.first(laxcus6::key::SERIAL_NUMBER).unwrap().as_i64().unwrap();
            let notice = Packet::new(laxcus6::answer::PRIVATE_SECURE_NOTIFY);
            let notice = notice.with(laxcus6::key::SERIAL_NUMBER, number + 1).with_entity([0; 5].to_vec());
            socket.send_to(&notice.to_bytes(&LAXCUS6).unwrap(), from).await.unwrap();
        }
    };
    let client = udp::Client::builder().dialect(&LAXCUS6).extensions(false).security(Security::Unasked);
    let client = Client::visiting(client.build(), to).timeout(Duration::from_secs(9));
    let call = Call::new("demo.Odd", "own");
    tokio::select! {
        () = program => {}
        outcome = client.call(&call) => assert_eq!(outcome, Err(Failure::NotSent(Cause::Unexpected))),
    }
}

/// SPEC 12.9: over UDP nothing is written that no datagram carries.
#[tokio::test]
async fn results_beyond_a_datagram() {
    for dialect in DIALECTS {
        let visits = echo::served();
        let call = Call::new("EchoVisit6", "bytes").with(Type::bytes(), vec![7_u8; 66_000]);
        for transport in [Transport::Udp, Transport::KeepUdp, Transport::Tcp] {
            let addr = "127.0.0.1:1".parse().unwrap();
            let peer = Peer { addr, local: addr, transport, dialect };
            let request = Request { packet: packet(dialect, &call), body: None, peer, deadline: None };
            let reply = visits.handle(request).await;
            let expected = transport == Transport::Udp;
            assert_eq!(matches!(reply, Reply::Unwritable), expected, "{dialect} {transport:?}");
        }
    }
}

/// A hub's clock.
struct Hub;

impl Visit for Hub {
    fn methods(&self) -> Vec<Signature> {
        vec![Signature::new("currentTime", [])]
    }

    async fn invoke(&self, _: Context, _: &Signature, _: Vec<Value>) -> Result<Value, Throwable> {
        Ok(Value::Long(0x12_3456_7890))
    }
}

/// The bytes that docs/SPEC.md shows at a rule.
fn shown(rule: &str) -> [Vec<u8>; 2] {
    let spec = include_str!("../../docs/SPEC.md");
    let rule = spec.split(&format!("**{rule}**")).nth(1).unwrap().split("\n**").next().unwrap();
    let lines = rule.lines().filter_map(|line| line.strip_prefix("    "));
    let mut lines = lines.filter_map(|line| line.split_once(['>', '<'])).map(|(_, bytes)| {
        let (head, call) = bytes.split_once("the call of 12.11").unwrap_or((bytes, "-"));
        let mut bytes = hex::decode(head.replace([' ', '|'], "")).unwrap();
        if call != "-" {
            bytes.extend_from_slice(b"\x1d\0\0\0com.laxcus.visit.hub.HubVisit\x0b\0\0\0currentTime");
            bytes.extend_from_slice(&[0; 8]);
        }
        bytes
    });
    [lines.next().unwrap(), lines.next().unwrap()]
}

/// The exchanges that are shown at SPEC 12.2 and SPEC 12.8: at the server as they stand there; at the client over
/// TCP as well.
#[tokio::test]
async fn exchanges_as_shown() {
    let visits = Visits::new().serve("com.laxcus.visit.hub.HubVisit", Hub);
    let server = Server::builder(visits).extensions(false).bind("127.0.0.1:0".parse().unwrap());
    let server = server.start().await.unwrap();
    let to = server.local_addr().unwrap();

    let [request, answer] = shown("12.2");
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut came = vec![0; answer.len()];
    stream.read_exact(&mut came).await.unwrap();
    assert_eq!(hex::encode(came), hex::encode(&answer));

    let [visit, accepted] = shown("12.8");
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&visit, to).await.unwrap();
    let mut came = vec![0; 100];
    let (len, _) = socket.recv_from(&mut came).await.unwrap();
    assert_eq!(hex::encode(&came[..len]), hex::encode(&accepted));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let program = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let query = hex::decode("87000115010100fc03015000").unwrap();
        let mut came = vec![0; query.len()];
        stream.read_exact(&mut came).await.unwrap();
        assert_eq!(came, query);
        let none = Packet::new(laxcus6::answer::SECURE_NOTIFY).with_entity([0; 5].to_vec());
        stream.write_all(&none.to_bytes(&LAXCUS6).unwrap()).await.unwrap();
        let mut came = vec![0; request.len()];
        stream.read_exact(&mut came).await.unwrap();
        assert_eq!(hex::encode(came), hex::encode(&request));
        stream.write_all(&answer).await.unwrap();
        stream
    };
    let caller = async {
        let channel = Channel::builder(&LAXCUS6).extensions(false).connect(to).await.unwrap();
        let client = Client::over(channel);
        let call = Call::new("com.laxcus.visit.hub.HubVisit", "currentTime");
        assert_eq!(client.call(&call).await, Ok(Value::Long(0x12_3456_7890)));
        client
    };
    tokio::join!(program, caller);
}

/// What is no call of this dialect goes to the handler behind.
#[tokio::test]
async fn what_is_no_call() {
    let server = Server::builder(echo::served().or(Echo)).bind("127.0.0.1:0".parse().unwrap());
    let server = server.start().await.unwrap();
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    for code in [laxcus6::notify::VISIT, laxcus6::notify::HELO] {
        let answer = channel.call(Packet::new(code).with_entity("x")).await.unwrap();
        assert_eq!(answer.entity, "x", "over TCP VISIT is not built in either (SPEC 11.8)");
    }
}

#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
enum Refused {
    Closed,
    Full { places: i32 },
}

impl Exception for Refused {
    fn throwable(&self) -> Throwable {
        match self {
            Self::Closed => Throwable::new("java.lang.IllegalStateException", "closed"),
            Self::Full { places } => Throwable::new("java.io.IOException", format!("{places} places")),
        }
    }
}

/// Every type that is Java's.
#[fixp_rpc::service(java = "demo.TypesVisit")]
#[allow(clippy::too_many_arguments)]
trait Types {
    async fn count_all(&self, a: bool, b: i8, c: u16, d: i16, e: i32, f: i64, g: f32, h: f64) -> f64;
    async fn turned(&self, bytes: Vec<u8>, ints: Vec<i32>, texts: Option<String>) -> Vec<i32>;
    async fn perhaps(&self, number: Option<i64>) -> Option<i64>;
    async fn enter(&self, context: Context, name: String) -> Result<bool, Refused>;
    async fn names(&self, count: i32) -> Vec<String>;
    async fn r#yield(&self);
}

struct AllTypes;

impl Types for AllTypes {
    async fn count_all(&self, a: bool, b: i8, c: u16, d: i16, e: i32, f: i64, g: f32, h: f64) -> f64 {
        f64::from(u8::from(a))
            + f64::from(b)
            + f64::from(c)
            + f64::from(d)
            + f64::from(e)
            + f as f64
            + f64::from(g)
            + h
    }

    async fn turned(&self, bytes: Vec<u8>, ints: Vec<i32>, texts: Option<String>) -> Vec<i32> {
        let text = texts.map(|it| it.len() as i32);
        bytes.into_iter().rev().map(i32::from).chain(ints.into_iter().rev()).chain(text).collect()
    }

    async fn perhaps(&self, number: Option<i64>) -> Option<i64> {
        number.map(|number| number + 1)
    }

    async fn enter(&self, context: Context, name: String) -> Result<bool, Refused> {
        match &*name {
            "closed" => Err(Refused::Closed),
            "full" => Err(Refused::Full { places: 7 }),
            _ => Ok(context.peer.addr.ip().is_loopback()),
        }
    }

    async fn names(&self, count: i32) -> Vec<String> {
        (0..count).map(|number| format!("n{number}")).collect()
    }

    async fn r#yield(&self) {
        tokio::task::yield_now().await;
    }
}

/// One object for peers of ours, by CALL, and for the programs, each by what it knows.
#[tokio::test]
async fn typed_interfaces() {
    for dialect in DIALECTS {
        let types = Arc::new(AllTypes);
        let visits = Visits::new().with(TypesService::new(Arc::clone(&types)));
        let handler = Rpc::new().serve(TypesService::new(types)).or(visits);
        let server = Server::builder(handler).dialect(DialectChoice::Fixed(dialect));
        let server = server.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
        let to = server.local_addr().unwrap();

        let own = Channel::builder(dialect).announce_first().connect(to).await.unwrap();
        let own = TypesClient::new(fixp_rpc::Client::over(own));
        assert_eq!(
            own.enter("full".into()).await,
            Err(fixp_rpc::Failure::Failed(Refused::Full { places: 7 }))
        );
        assert_eq!(own.perhaps(None).await, Ok(None));

        let legacy = Channel::builder(dialect).extensions(false).connect(to).await.unwrap();
        let untyped = Client::over(legacy);
        let program = TypesJavaClient::new(untyped.clone());
        let sum = program.count_all(true, -2, 3, 4, 5, 6, 0.5, 0.25).await;
        assert_eq!(sum, Ok(17.75));
        let turned = program.turned(vec![1, 255], vec![-9, 8], Some("four".into())).await;
        assert_eq!(turned, Ok(vec![255, 1, 8, -9, 4]));
        assert_eq!(program.turned(vec![1], vec![], None).await, Ok(vec![1]));
        assert_eq!(program.perhaps(Some(7)).await, Ok(Some(8)));
        assert_eq!(program.perhaps(None).await, Ok(None));
        assert_eq!(program.names(2).await, Ok(vec!["n0".to_owned(), "n1".to_owned()]));
        assert_eq!(program.r#yield().await, Ok(()));
        assert_eq!(program.enter("me".into()).await, Ok(true));
        let full = Throwable::new("java.io.IOException", "7 places");
        assert_eq!(program.enter("full".into()).await, Err(Failure::Threw(full)));
        let closed = Throwable::new("java.lang.IllegalStateException", "closed");
        assert_eq!(program.enter("closed".into()).await, Err(Failure::Threw(closed)));

        // As Java's name and types have it, and nothing else.
        let call = Call::new("demo.TypesVisit", "perhaps").with(Type::class("java.lang.Long"), 1_i64);
        assert_eq!(untyped.call(&call).await, Ok(Value::Long(2)));
        assert_eq!(untyped.call_typed::<String>(&call).await, Err(Failure::OtherType(Value::Long(2))));
        let long = Call::new("demo.TypesVisit", "perhaps").with(Type::LONG, 1_i64);
        let missed = thrown(&untyped.call(&long).await.unwrap_err());
        let expected = "java.lang.NoSuchMethodException: demo.TypesVisit.perhaps(long)";
        assert_eq!(missed, (expected.to_owned(), Executed::No));
        let null = Call::new("demo.TypesVisit", "enter").with(Type::string(), Value::Null);
        let missed = thrown(&untyped.call(&null).await.unwrap_err());
        assert_eq!(missed, ("java.lang.NullPointerException: name".to_owned(), Executed::Yes));
    }
}

/// What of a call leaves over KEEP UDP where nothing is ever heard of the program: its piece once, where the call goes
/// once, and otherwise again as the programs send theirs. On the virtual clock of a laboratory.
#[test]
fn what_leaves_of_a_call_that_goes_once() {
    for dialect in DIALECTS {
        for once in [true, false] {
            Laboratory::run(&format!("legacy once {} {once}", dialect.name()), |lab| async move {
                lab.set_time_limit(Duration::from_secs(600));
                let to = SocketAddr::new(SERVER, PORT);
                let program = lab.host(SERVER).bind(PORT).unwrap();
                let channel = Channel::builder(dialect).extensions(false).timeout(Duration::from_secs(20));
                let channel = channel.keep_udp_over(to, Binder(lab.host(CLIENT)));
                let client = Client::over(channel);
                let client = if once { client.once() } else { client };
                let call = Call::new("demo.EchoVisit", "add").with(Type::INT, 2).with(Type::INT, 40);
                let called = tokio::spawn(async move { client.call(&call).await });
                let (mut buffer, mut pieces) = (vec![0; 2048], Vec::new());
                while !called.is_finished() {
                    let (len, from) =
                        match tokio::time::timeout(Duration::from_secs(1), program.recv_from(&mut buffer))
                            .await
                        {
                            Ok(came) => came.unwrap(),
                            Err(_) => continue,
                        };
                    let packet = Decoder::new(dialect).packet(&buffer[..len]).unwrap().to_packet().unwrap();
                    if packet.code == laxcus6::notify::SECURE_QUERY && dialect.name() == "laxcus6" {
                        let plain = Packet::new(laxcus6::answer::SECURE_NOTIFY).with_entity(vec![0; 4]);
                        program.send_to(&plain.to_bytes(dialect).unwrap(), from).unwrap();
                    } else if !packet.entity.is_empty() {
                        pieces.push(packet);
                    }
                }
                let failure = called.await.unwrap().unwrap_err();
                assert_eq!(failure.executed(), Executed::Perhaps, "{failure:?}");
                // In 20 s, after 3 s each, or after 15 s.
                let again = if dialect.name() == "lexst1" { 1 } else { 6 };
                assert_eq!(pieces.len(), if once { 1 } else { 1 + again }, "{}", dialect.name());
                assert!(pieces.iter().all(|piece| *piece == pieces[0]));
            });
        }
    }
}
