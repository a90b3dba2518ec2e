//! The recorded conversations over UDP that were made by hand, and what of ours goes over UDP.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_laboratory::Laboratory;
use fixp_transport::extension::{self, Capabilities, Refusal};
use fixp_transport::host::Host;
use fixp_transport::limits::ServerLimits;
use fixp_transport::server::node::{Helo, Membership, Node, ShutdownFrom, Site, Verdict};
use fixp_transport::server::{AllowList, DialectChoice, PublicKey, Stop};
use fixp_transport::{Channel, Echo, Handler, Peer, Reply, Request, Server, handler_fn, udp};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// The port of the caller, and its place in the recorded bytes.
const PORT: &str = "PORT";

fn key() -> PublicKey {
    let modulus = "9a40edbe9edfe3d8d39269a7ee2767e8514750811a99fc1b36583f5fd5503ebcd262a746e54c8a32e7c1efd510855a958e\
        d8b1841d96277b6f2f5f30a4dff33d2aa1f438d130325bfd6dfa8e52b9cbb2be370d6fc961a3d5479237de543dc2bdf8cfc71c1d377f81\
        7089dd8729b892da0d8830796a2657b04fa0c480b680310b";
    PublicKey::new(&hex::decode(modulus).unwrap(), &[1, 0, 1]).unwrap()
}

struct Caller {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Caller {
    async fn of<H: Handler>(server: &Server<H>) -> Self {
        let to = server.local_addr().unwrap();
        let local = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(local).await.unwrap();
        socket.connect(to).await.unwrap();
        Self { socket, to }
    }

    async fn sends(&self, hex: &str) {
        self.socket.send(&hex::decode(self.filled(hex)).unwrap()).await.unwrap();
    }

    async fn gets(&self, hex: &str) {
        assert_eq!(::hex::encode(self.datagram().await), self.filled(hex));
    }

    /// The next datagram is the answer to TEST: nothing came before it.
    async fn gets_nothing(&self) {
        self.sends("87000105010200e80305305445535421fc03015000").await;
        self.gets(
            "c70001f3030300e803083052453a5445535421d1071d100200000000000000000100007f000000000100007fPORT00000000\
            0000fc03015000",
        )
        .await;
    }

    fn filled(&self, hex: &str) -> String {
        hex.replace(PORT, &::hex::encode(self.socket.local_addr().unwrap().port().to_le_bytes()))
    }

    async fn datagram(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65536];
        let len = tokio::time::timeout(Duration::from_secs(20), self.socket.recv(&mut buffer))
            .await
            .expect("an answer")
            .unwrap();
        buffer.truncate(len);
        buffer
    }

    async fn send(&self, packet: &Packet, dialect: &'static Dialect) {
        self.socket.send(&packet.to_bytes(extension::own(dialect)).unwrap()).await.unwrap();
    }

    async fn answer(&self, dialect: &'static Dialect) -> Packet {
        Decoder::new(dialect).packet(&self.datagram().await).unwrap().to_packet().unwrap()
    }
}

async fn start<H: Handler>(handler: H, dialect: &'static Dialect) -> Server<H> {
    started(handler, DialectChoice::Fixed(dialect), ServerLimits::default()).await
}

async fn started<H: Handler>(handler: H, dialect: DialectChoice, limits: ServerLimits) -> Server<H> {
    let builder = Server::builder(handler).dialect(dialect).public_key(key()).limits(limits);
    builder.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap()
}

/// Of the recorded server a home node was a member, a data node was not.
fn home(helo: &Helo<'_>) -> Verdict {
    match helo.site {
        Site::Laxcus6(node) if node.family == 7 => Verdict::ISee,
        Site::Lexst1 { kind: 2, .. } => Verdict::HomeISee,
        Site::Lexst1 { kind: 3, .. } => Verdict::LiveISee,
        Site::Lexst1 { kind: 5, .. } => Verdict::ISee,
        _ => Verdict::Unknown,
    }
}

/// laxcus6-hand-shine (SPEC 11.9, 11.10)
#[tokio::test]
async fn laxcus6_shine_and_reflect() {
    let server = start(Echo, &LAXCUS6).await;
    let it = Caller::of(&server).await;
    it.sends(
        "87000107010300d1071d100200000000000000000100007f000000000100007f7969000000000000e80306307368696e6521\
        fc03015000",
    )
    .await;
    it.gets("c70001f8030300d1071d100200000000000000000100007f000000000100007f7969000000000000e803093072653a7368696e65\
        21fc0301501d0200000000000000000100007f000000000100007fPORT000000000000").await;
    // Without HOST; with one of 3 bytes; with one that is a string.
    it.sends("87000107010200e80306307368696e6521fc03015000").await;
    it.gets_nothing().await;
    it.sends("87000107010200d1070310010203fc03015000").await;
    it.gets("c70001f8030300d1070310010203e803093072653a7368696e6521fc0301501d0200000000000000000100007f00000000010000\
        7fPORT000000000000").await;
    it.sends("87000107010200d10711307564703a2f2f3132372e302e302e313a31fc03015000").await;
    it.gets_nothing().await;
    it.sends(
        "87000107010200d1071d100200000000000000000100007f000000000100007f7969000000000000fc03015004476685a4",
    )
    .await;
    it.gets("c70001f8030300d1071d100200000000000000000100007f000000000100007f7969000000000000e803093072653a7368696e65\
        21fc0301501d0200000000000000000100007f000000000100007fPORT000000000000").await;
    // SHINE_ACCEPTED, which nobody asked for.
    it.sends("c70001f8030200d1071d100200000000000000000100007f000000000100007f7969000000000000fc0301501d02000000000000\
        00000100007f000000000100007f7969000000000000").await;
    it.gets_nothing().await;
    it.sends("87000106010300d1071d100200000000000000000100007f000000000100007f7969000000000000e80308307265666c656374\
        21fc03015000").await;
    it.gets("c70001f7030300d1071d100200000000000000000100007f000000000100007f7969000000000000e8030b3072653a7265666c65\
        637421fc0301501d0200000000000000000100007f000000000100007fPORT000000000000").await;
}

/// laxcus6-hand-helo-comeback (SPEC 11.10, 11.13, 11.15)
#[tokio::test]
async fn laxcus6_helo_and_comeback() {
    let server = start(Node::new(Echo).with_membership(home), &LAXCUS6).await;
    let it = Caller::of(&server).await;
    it.sends("87000101010200d2072b1007000100000000000000000100007f000000000100007f891300008a1300000000000000000000ffff\
        fffffc03015000").await;
    it.gets("c70001e8030200e8030b3069207361792068656c6f21fc03015000").await;
    it.sends("87000101010200d2072b1008000100000000000000000100007f000000000100007f891300008a1300000000000000000000ffff\
        fffffc03015000").await;
    it.gets("c70001d2070200e8030b3069207361792068656c6f21fc03015000").await;
    it.sends("87000101010200d20702100101fc03015000").await;
    it.gets("c70001d3070100fc03015000").await;
    for silent in [
        "87000101010200d207013078fc03015000",
        "87000101010100fc03015000",
        "87000103010200e9030260204efc03015000",
        "87000103010100fc03015000",
    ] {
        it.sends(silent).await;
        it.gets_nothing().await;
    }
}

/// Hears what a node is told, and who told it.
#[derive(Clone, Default)]
struct Hearing(Arc<Mutex<Vec<(SocketAddr, Packet)>>>);

impl Membership for Hearing {
    fn helo(&self, _: &Helo<'_>) -> Verdict {
        Verdict::ISee
    }

    fn comeback(&self, peer: &Peer, request: &Packet) {
        self.0.lock().unwrap().push((peer.addr, request.clone()));
    }
}

/// The membership of a node hears COMEBACK with all that is in it, once for each, and the handler inside does not
/// (SPEC 11.15).
#[tokio::test]
async fn the_membership_hears_comeback() {
    for (dialect, comeback) in [
        (&LAXCUS6, "87000103010200e9030260204efc03015000"),
        (&LEXST1, "87000103030500370809103132372e302e302e313908026088133a0802608813e9030270204e0604016000"),
    ] {
        let hearing = Hearing::default();
        let inner = handler_fn(async |_: Request| -> Reply { panic!("it is the node's") });
        let server = start(Node::new(inner).with_membership(hearing.clone()), dialect).await;
        let it = Caller::of(&server).await;
        it.sends(comeback).await;
        it.sends(comeback).await;
        // Datagrams are handled in their order: when this one is answered, those have been.
        let last = if dialect.name() == "lexst1" {
            let helo = Packet::new(lexst1::notify::HELO).with(lexst1::key::SITE_TYPE, 5_i32);
            let helo = helo.with(lexst1::key::IP, "10.0.0.1").with(lexst1::key::TCPORT, 1_i32);
            helo.with(lexst1::key::UDPORT, 2_i32)
        } else {
            Packet::new(laxcus6::notify::TEST)
        };
        it.send(&last, dialect).await;
        it.datagram().await;
        let wire = hex::decode(comeback).unwrap();
        let told = (
            it.socket.local_addr().unwrap(),
            Decoder::new(dialect).packet(&wire).unwrap().to_packet().unwrap(),
        );
        assert_eq!(*hearing.0.lock().unwrap(), [told.clone(), told], "{}", dialect.name());
    }
}

/// laxcus6-hand-shutdown-accepted (SPEC 11.16)
#[tokio::test]
async fn laxcus6_shutdown_accepted() {
    let stop = Stop::new();
    let node = Node::new(Echo).with_shutdown(stop.clone(), ShutdownFrom::own_addresses());
    let server = Server::builder(node).stop(stop.clone()).public_key(key());
    let server = server.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    let it = Caller::of(&server).await;
    it.sends("87000104010100fc03015000").await;
    for _ in 0..5 {
        it.gets("c70001f2030200e8030830676f6f6462796521fc03015000").await;
    }
    stop.stopped().await;
    let report = server.shutdown(Duration::from_secs(20)).await;
    assert_eq!((report.cut, report.late), (0, false));
    // Nobody is there any more.
    UdpSocket::bind(it.to).await.unwrap();
}

/// laxcus6-hand-shutdown-refused
#[tokio::test]
async fn laxcus6_shutdown_refused() {
    let stop = Stop::new();
    let from = ShutdownFrom::list("10.0.0.0/8".parse().unwrap());
    let server = start(Node::new(Echo).with_shutdown(stop.clone(), from), &LAXCUS6).await;
    let it = Caller::of(&server).await;
    it.sends("87000104010100fc03015000").await;
    for _ in 0..5 {
        it.gets("c70001d0070200e8030830676f6f6462796521fc03015000").await;
    }
    it.gets_nothing().await;
    assert!(!stop.is_stopped());
}

/// Beside a loopback address, who has the server's own may stop it, and who is listed; nobody else (SPEC 11.16).
#[test]
fn shutdown_from_its_own_address_and_from_a_list() {
    let listed = || "10.0.0.3".parse().unwrap();
    for (from, ip, may) in [
        (ShutdownFrom::own_addresses(), "10.0.0.2", true),
        (ShutdownFrom::own_addresses(), "10.0.0.3", false),
        (ShutdownFrom::own_addresses().and(listed()), "10.0.0.2", true),
        (ShutdownFrom::own_addresses().and(listed()), "10.0.0.3", true),
        (ShutdownFrom::own_addresses().and(listed()), "10.0.0.1", false),
        (ShutdownFrom::list(listed()), "10.0.0.3", true),
        (ShutdownFrom::list(listed()), "10.0.0.2", false),
        (ShutdownFrom::nobody(), "10.0.0.2", false),
    ] {
        Laboratory::run("shutdown", |laboratory| async move {
            let stop = Stop::new();
            let node = Node::new(Echo).with_shutdown(stop.clone(), from.clone());
            let _server = lab::serve(&laboratory, &LAXCUS6, ServerLimits::default(), node).await;
            let socket = laboratory.host(ip.parse().unwrap()).bind(0).unwrap();
            let ask = Packet::new(laxcus6::notify::SHUTDOWN).to_bytes(&LAXCUS6).unwrap();
            socket.send_to(&ask, (lab::SERVER, lab::PORT).into()).unwrap();
            let mut buffer = [0; 100];
            let (len, _) = socket.recv_from(&mut buffer).await.unwrap();
            let answer = Decoder::new(&LAXCUS6).packet(&buffer[..len]).unwrap().to_packet().unwrap();
            let code = if may { laxcus6::answer::OKAY } else { laxcus6::answer::REFUSE };
            assert_eq!((answer.code, stop.is_stopped()), (code, may), "{from:?}, from {ip}");
        });
    }
}

/// laxcus6-hand-private-secure-none, laxcus6-hand-private-drop: what a server without ciphers has of them.
#[tokio::test]
async fn laxcus6_private_security() {
    const SECURE: &str = "0000000001800000009a40edbe9edfe3d8d39269a7ee2767e8514750811a99fc1b36583f5fd5503ebcd262a746e5\
        4c8a32e7c1efd510855a958ed8b1841d96277b6f2f5f30a4dff33d2aa1f438d130325bfd6dfa8e52b9cbb2be370d6fc961a3d5479237de54\
        3dc2bdf8cfc71c1d377f817089dd8729b892da0d8830796a2657b04fa0c480b680310b03000000010001";
    let server = start(Echo, &LAXCUS6).await;
    let it = Caller::of(&server).await;
    it.sends("87000119010200ea03016001fc03015000").await;
    it.gets(&format!("c70001eb030200ea03016001fc03015090{SECURE}")).await;
    it.sends("87000119010100fc03015000").await;
    it.gets_nothing().await;
    it.sends("87000119010200ea030860fbfffffffffffffffc03015000").await;
    it.gets(&format!("c70001eb030200ea030860fbfffffffffffffffc03015090{SECURE}")).await;
    it.sends("8700011a010200ea03016005fc03015000").await;
    for _ in 0..5 {
        it.gets("00112233445566778899aabbccddeeffc7000109040200ea03016005fc03015000").await;
    }
    it.sends(
        "8700011b010200ea03016001fc030150200100000010000000000102030405060708090a0b0c0d0e0f2a0c6501a2010000",
    )
    .await;
    it.gets(
        "c70001f2030200ea03016001fc030150200100000010000000000102030405060708090a0b0c0d0e0f2a0c6501a2010000",
    )
    .await;
}

/// laxcus6-hand-test-in-keep: the requests that are answered plainly though they look like pieces (SPEC 11.5, 11.9).
#[tokio::test]
async fn laxcus6_plain_among_pieces() {
    let server = start(Echo, &LAXCUS6).await;
    let it = Caller::of(&server).await;
    it.sends(
        "87000105010700b90b015001ba0b015000b80b015003bb0b02507017bc0b025060eae80305305445535421fc03015000",
    )
    .await;
    it.gets("c70001f3030300e803083052453a5445535421d1071d100200000000000000000100007f000000000100007fPORT000000000000\
        fc03015000").await;
    it.sends("87000102010600b90b015001ba0b015000b80b015004bb0b02507017bc0b025060eafc03015000").await;
    it.gets("c70001f5030600e803123053454520594f55204e4558542054494d4521b90b015001ba0b015000b80b015004bb0b0250b80bfc0301\
        5000").await;
    // VISIT with a serial that is no int64.
    it.sends("87000108010200ea03015005fc03015000").await;
    it.gets_nothing().await;
}

/// lexst1-hand-comeback, -hand-shutdown-*, -udp-request-1, and the heartbeats of keepudp.md 1.1.
#[tokio::test]
async fn lexst1_node() {
    let node = Node::new(Echo).with_membership(home).with_shutdown(Stop::new(), ShutdownFrom::nobody());
    let server = start(node, &LEXST1).await;
    let it = Caller::of(&server).await;
    let mark = || async {
        it.sends("87000103020200370809103132372e302e302e310604016000").await;
        it.gets(
            "c70001d0070300e803111073656520796f75206e6578742074696d65370809103132372e302e302e310604016000",
        )
        .await;
    };
    it.sends("87000103030500380809103132372e302e302e313908026088133a0802608813e9030270204e0604016000").await;
    mark().await;
    let (request, answer) = (
        "87000104090700e803111068656c6c6f206669787020e4bda0e5a5bd8913026010208a130870ffffffffffffffff8b130120018c130840\
        000000000000f83f370809103132372e302e302e31060401600114",
        "c70001d0070700e803111068656c6c6f206669787020e4bda0e5a5bd8913026010208a130870ffffffffffffffff8b130120018c130840\
        000000000000f83f370809103132372e302e302e31060401600114",
    );
    it.sends(request).await;
    it.gets(answer).await;
    it.sends("87000103040200370809103132372e302e302e310604016000").await;
    for _ in 0..3 {
        it.gets("c70001b80b0300e8030810676f6f6462796521370809103132372e302e302e310604016000").await;
    }
    // HELO as tcp_security_rpc.md 6 writes it, of a data node (5), a home (2), a live (3) and a build (8) node.
    let helo = |kind: &str| {
        format!("87000103010600370808103130 2e302e302e31d0070160{kind}340808103130 2e302e302e313508026071173608026072170604016000")
            .replace(' ', "")
    };
    it.sends(&helo("05")).await;
    it.gets("c70001e8030300e8030a1069206163636570746564370809103132372e302e302e310604016000").await;
    it.sends(&helo("02")).await;
    it.gets("c70001fc030300e803051068656c6c6f370809103132372e302e302e310604016000").await;
    it.sends(&helo("03")).await;
    it.gets("c70001fd030300e803051068656c6c6f370809103132372e302e302e310604016000").await;
    it.sends(&helo("08")).await;
    mark().await;
}

/// What nobody serves is said to be unsupported, and each datagram may have its dialect (SPEC 11.2, 11.6).
#[tokio::test]
async fn unserved_in_two_dialects() {
    let told = DialectChoice::Told { default: &LAXCUS6 };
    let server = started(fixp_transport::Nobody, told, ServerLimits::default()).await;
    let it = Caller::of(&server).await;
    it.sends("87000133010100fc03015000").await;
    it.gets("c70001d1070200e8030630736f72727921fc03015000").await;
    it.sends("870001040901000604016000").await;
    it.gets("c70001a20f0300e8030610736f72727921370809103132372e302e302e310604016000").await;
    it.gets_nothing().await;
}

#[tokio::test]
async fn an_ipv6_address_is_written_in_full() {
    let server = Server::builder(Echo).dialect(DialectChoice::Fixed(&LEXST1)).public_key(key());
    let server = server.bind("[::1]:0".parse().unwrap()).start().await.unwrap();
    let it = Caller::of(&server).await;
    it.send(&Packet::new(lexst1::notify::HELO), &LEXST1).await;
    let answer = it.answer(&LEXST1).await;
    assert_eq!(answer.first(lexst1::key::BIND_IP).unwrap().as_str(), Some("0:0:0:0:0:0:0:1"));
}

/// A socket for all addresses answers with the one that it was reached at, and sees IPv4 as IPv4.
#[tokio::test]
async fn a_socket_for_both_families() {
    let told = DialectChoice::Told { default: &LAXCUS6 };
    let server = Server::builder(Echo).dialect(told).public_key(key());
    let server = server.bind("[::]:0".parse().unwrap()).start().await.unwrap();
    let port = server.local_addr().unwrap().port();
    for local in ["127.0.0.1", "::1"] {
        let to = SocketAddr::new(local.parse().unwrap(), port);
        let socket = UdpSocket::bind(SocketAddr::new(local.parse().unwrap(), 0)).await.unwrap();
        socket.connect(to).await.unwrap();
        let it = Caller { socket, to };
        it.send(&Packet::new(lexst1::notify::HELO).with(lexst1::key::BIND_IP, "x"), &LEXST1).await;
        let answer = it.answer(&LEXST1).await;
        let all: Vec<_> = answer.all(lexst1::key::BIND_IP).map(|ip| ip.as_str().unwrap()).collect();
        assert_eq!(all, [local.replace("::1", "0:0:0:0:0:0:0:1")]);
        it.send(&Packet::new(laxcus6::notify::TEST), &LAXCUS6).await;
        let answer = it.answer(&LAXCUS6).await;
        let host = Host::read(answer.first(laxcus6::key::HOST).unwrap().as_raw().unwrap()).unwrap();
        assert_eq!(host.addr, it.socket.local_addr().unwrap());
    }
}

fn announcing(packet: Packet) -> Packet {
    packet.with(extension::key::CAPABILITIES, Capabilities::OURS.in_request())
}

/// The handler sees none of our keys, and the answer has those that it should (SPEC 10.1, 10.2, 10.3).
#[tokio::test]
async fn serials_and_announcements() {
    let server = start(Echo, &LAXCUS6).await;
    let it = Caller::of(&server).await;
    let log = || Packet::new(laxcus6::notify::FLUSH_LOG).with(laxcus6::key::SPEAK, "log");
    // Nothing of ours is answered to a peer that has not announced itself.
    it.send(&log().with(extension::key::SERIAL, 7_i64), &LAXCUS6).await;
    let plain = it.answer(&LAXCUS6).await;
    assert_eq!(plain.messages.len(), 2);
    // Announced and numbered in one datagram, and numbered in a later one.
    it.send(&announcing(log()).with(extension::key::SERIAL, 8_i64), &LAXCUS6).await;
    let answer = it.answer(&LAXCUS6).await;
    assert_eq!(Capabilities::of_answer(&answer), Some(Capabilities::OURS));
    assert_eq!(answer.first(extension::key::SERIAL).unwrap().as_i64(), Some(8));
    assert_eq!(answer.all(extension::key::CAPABILITIES).count(), 1);
    it.send(&log().with(extension::key::SERIAL, 9_i64), &LAXCUS6).await;
    let answer = it.answer(&LAXCUS6).await;
    assert_eq!(Capabilities::of_answer(&answer), None);
    assert_eq!(answer.first(extension::key::SERIAL).unwrap().as_i64(), Some(9));
    // What is built in announces, too.
    it.send(&announcing(Packet::new(laxcus6::notify::TEST)), &LAXCUS6).await;
    assert!(Capabilities::of_answer(&it.answer(&LAXCUS6).await).is_some());
}

/// SPEC 10.1, 10.7
#[tokio::test]
async fn own_commands_are_for_our_own() {
    for dialect in [&LAXCUS6, &LEXST1] {
        let server = start(Echo, dialect).await;
        let it = Caller::of(&server).await;
        let okay = fixp_transport::tables::of(dialect).okay;
        let ping = || Packet::new(extension::PING).with(extension::key::SERIAL, 5_i64);
        it.send(&ping(), dialect).await;
        it.send(&announcing(ping()), dialect).await;
        let answer = it.answer(dialect).await;
        assert_eq!(answer.code, okay);
        assert_eq!(answer.first(extension::key::SERIAL).unwrap().as_i64(), Some(5));
        assert!(Capabilities::of_answer(&answer).is_some());
        assert_eq!(server.stats().datagrams_dropped, 1);
    }
}

#[tokio::test]
async fn a_server_without_extensions_shows_none() {
    let server = Server::builder(Echo).extensions(false).public_key(key());
    let server = server.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    let it = Caller::of(&server).await;
    it.send(&announcing(Packet::new(extension::PING)), &LAXCUS6).await;
    it.send(&announcing(Packet::new(laxcus6::notify::TEST)), &LAXCUS6).await;
    let answer = it.answer(&LAXCUS6).await;
    assert_eq!(answer.code, laxcus6::answer::ACCEPTED);
    assert!(answer.first(extension::key::CAPABILITIES).is_none());
}

/// Counts those who are in it, and tells when that changes.
#[derive(Default)]
struct Inside {
    count: AtomicUsize,
    changed: Notify,
}

struct Guard(Arc<Inside>);

impl Inside {
    fn enter(self: &Arc<Self>) -> Guard {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_one();
        Guard(Arc::clone(self))
    }

    async fn reaches(&self, count: usize) {
        let wait = async {
            while self.count.load(Ordering::SeqCst) != count {
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_one();
    }
}

/// A handler that never answers.
fn stuck(inside: &Arc<Inside>) -> impl Handler + use<> {
    let inside = Arc::clone(inside);
    handler_fn(move |_: Request| {
        let guard = inside.enter();
        async move {
            std::future::pending::<()>().await;
            drop(guard);
            Reply::Silence
        }
    })
}

fn numbered(serial: i64) -> Packet {
    announcing(Packet::new(laxcus6::notify::FLUSH_LOG)).with(extension::key::SERIAL, serial)
}

/// SPEC 10.8
#[tokio::test]
async fn cancel_ends_the_work() {
    let inside = Arc::new(Inside::default());
    let server = start(stuck(&inside), &LAXCUS6).await;
    let it = Caller::of(&server).await;
    it.send(&numbered(1), &LAXCUS6).await;
    it.send(&numbered(2), &LAXCUS6).await;
    // A copy of one that is being handled is not handled again.
    it.send(&numbered(2), &LAXCUS6).await;
    it.gets_nothing().await;
    inside.reaches(2).await;
    let other = Caller::of(&server).await;
    let cancel = || Packet::new(extension::CANCEL).with(extension::key::SERIAL, 1_i64);
    // Another peer has its own numbers.
    other.send(&announcing(cancel()), &LAXCUS6).await;
    other.gets_nothing().await;
    assert_eq!(inside.count.load(Ordering::SeqCst), 2);
    it.send(&cancel(), &LAXCUS6).await;
    inside.reaches(1).await;
    it.gets_nothing().await;
    drop(server);
    inside.reaches(0).await;
}

/// SPEC 10.4, 10.6
#[tokio::test]
async fn a_deadline_ends_the_work() {
    let inside = Arc::new(Inside::default());
    let server = start(stuck(&inside), &LAXCUS6).await;
    let it = Caller::of(&server).await;
    it.send(&numbered(1).with(extension::key::DEADLINE, 0), &LAXCUS6).await;
    let answer = it.answer(&LAXCUS6).await;
    assert_eq!(answer.code, laxcus6::answer::REFUSE);
    assert_eq!(answer.first(extension::key::REFUSAL).unwrap().as_i16(), Some(Refusal::Late.number()));
    it.send(&numbered(2).with(extension::key::DEADLINE, 50), &LAXCUS6).await;
    it.gets_nothing().await;
    inside.reaches(0).await;
    assert_eq!(server.stats().bytes_in_flight, 0);
}

#[tokio::test]
async fn more_than_may_be_handled_is_dropped() {
    let inside = Arc::new(Inside::default());
    let limits = ServerLimits { datagrams: 2, ..ServerLimits::default() };
    let fixed = DialectChoice::Fixed(&LAXCUS6);
    let server = started(stuck(&inside), fixed, limits).await;
    let it = Caller::of(&server).await;
    for _ in 0..5 {
        it.sends("87000133010100fc03015000").await;
    }
    // What is built in is answered all the same, and a peer of ours is told.
    it.gets_nothing().await;
    assert_eq!(inside.count.load(Ordering::SeqCst), 2);
    assert_eq!(server.stats().datagrams_dropped, 3);
    it.send(&numbered(1), &LAXCUS6).await;
    let answer = it.answer(&LAXCUS6).await;
    assert_eq!(answer.first(extension::key::REFUSAL).unwrap().as_i16(), Some(Refusal::Overloaded.number()));
    let report = server.shutdown(Duration::ZERO).await;
    assert_eq!((report.cut, report.late), (2, true));
}

#[tokio::test]
async fn bytes_in_flight_are_bounded() {
    let inside = Arc::new(Inside::default());
    let limits = ServerLimits { bytes: 2500, ..ServerLimits::default() };
    let server = started(stuck(&inside), DialectChoice::Fixed(&LAXCUS6), limits).await;
    let it = Caller::of(&server).await;
    for _ in 0..4 {
        it.send(&Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(vec![0; 1000]), &LAXCUS6).await;
    }
    it.gets_nothing().await;
    assert_eq!(inside.count.load(Ordering::SeqCst), 2);
    assert_eq!(server.stats().datagrams_dropped, 2);
}

#[tokio::test]
async fn an_answer_too_large_is_not_sent() {
    let large = async |request: Request| {
        // An entity in pieces is gathered for a datagram, if it fits.
        let len = request.packet.first(laxcus6::key::SERIAL_OBJECTS).unwrap().as_i32().unwrap() as usize;
        let answer: fixp_transport::Answer = Packet::new(laxcus6::answer::OKAY).into();
        answer.with_body(fixp_transport::Body::from_bytes(vec![7; len])).into()
    };
    let server = start(handler_fn(large), &LAXCUS6).await;
    let it = Caller::of(&server).await;
    let ask = |len: i32| Packet::new(laxcus6::notify::FLUSH_LOG).with(laxcus6::key::SERIAL_OBJECTS, len);
    // 7 bytes of command, 6 of CONTENT_LENGTH.
    it.send(&ask(65507 - 13), &LAXCUS6).await;
    assert_eq!(it.datagram().await.len(), 65507);
    // Nobody's frame carries it.
    assert_eq!(server.stats().datagrams_long, 1);
    it.send(&ask(65507 - 12), &LAXCUS6).await;
    it.gets_nothing().await;
    assert_eq!((server.stats().datagrams_unsent, server.stats().datagrams_long), (1, 1));
    it.send(&announcing(ask(65500)).with(extension::key::SERIAL, 3_i64), &LAXCUS6).await;
    let answer = it.answer(&LAXCUS6).await;
    assert_eq!(answer.first(extension::key::REFUSAL).unwrap().as_i16(), Some(Refusal::Unwritable.number()));
    assert_eq!(answer.first(extension::key::SERIAL).unwrap().as_i64(), Some(3));
}

/// An answer that no Ethernet frame carries is counted: over IPv4 one of more than 1472 bytes, over IPv6 of more than 1452.
#[tokio::test]
async fn answers_longer_than_a_frame_are_counted() {
    let long = async |request: Request| -> Reply {
        let len = request.packet.first(laxcus6::key::SERIAL_OBJECTS).unwrap().as_i32().unwrap() as usize;
        Packet::new(laxcus6::answer::OKAY).with_entity(vec![7; len]).into()
    };
    for (local, frame) in [("127.0.0.1:0", 1472), ("[::1]:0", 1452)] {
        let server = Server::builder(handler_fn(long)).public_key(key()).bind(local.parse().unwrap());
        let server = server.start().await.unwrap();
        let it = Caller::of(&server).await;
        for beyond in [0, 1] {
            let len = frame + beyond;
            // 7 bytes of command, 6 of CONTENT_LENGTH.
            let ask = Packet::new(laxcus6::notify::FLUSH_LOG);
            it.send(&ask.with(laxcus6::key::SERIAL_OBJECTS, len - 13), &LAXCUS6).await;
            assert_eq!(it.datagram().await.len(), len as usize);
            assert_eq!(server.stats().datagrams_long, beyond as u64, "{len} bytes from {local}");
        }
    }
}

#[tokio::test]
async fn answers_much_larger_than_their_requests_are_bounded() {
    // SPEC 9.12
    let answers = async |request: Request| -> Reply {
        let entity =
            if request.packet.entity.is_empty() { vec![7; 1000] } else { request.packet.entity.to_vec() };
        Packet::new(laxcus6::answer::OKAY).with_entity(entity).into()
    };
    let limits = ServerLimits { plain_burst: 2500, plain_rate: 1, ..ServerLimits::default() };
    let server = Server::builder(handler_fn(answers)).public_key(key()).limits(limits);
    let server = server.keep_allow(AllowList::nobody()).serve_on_loopback().await;
    let it = Caller::of(&server).await;
    let ask = Packet::new(laxcus6::notify::FLUSH_LOG);
    // 1013 bytes for 13: 974 beyond three times that, of which the burst has two.
    for nth in 0..4_i64 {
        // To have announced oneself proves nothing.
        let ask =
            if nth > 2 { announcing(ask.clone()).with(extension::key::SERIAL, nth) } else { ask.clone() };
        it.send(&ask, &LAXCUS6).await;
        if nth < 2 {
            assert_eq!(it.datagram().await.len(), 1013);
        } else {
            it.gets_nothing().await;
        }
    }
    assert_eq!(server.stats().datagrams_unsent, 2);
    // As long as they came, any number of them.
    for _ in 0..10 {
        it.send(&ask.clone().with_entity(vec![1; 1000]), &LAXCUS6).await;
        assert_eq!(it.datagram().await.len(), 1013);
    }
}

#[tokio::test]
async fn a_panic_is_of_one_datagram() {
    let handler = async |request: Request| -> Reply {
        if request.packet.entity.first() == Some(&1) {
            tokio::task::yield_now().await;
        }
        panic!("as the test wants it");
    };
    let server = start(handler_fn(handler), &LAXCUS6).await;
    let it = Caller::of(&server).await;
    for first in [0, 1] {
        it.send(&Packet::new(laxcus6::notify::FLUSH_LOG).with_entity(vec![first]), &LAXCUS6).await;
        it.gets_nothing().await;
    }
}

#[tokio::test]
async fn only_who_is_allowed_is_answered() {
    let server = Server::builder(Echo).public_key(key()).allow("10.0.0.0/8".parse().unwrap());
    let server = server.serve_on_loopback().await;
    let it = Caller::of(&server).await;
    it.sends("87000105010200e80305305445535421fc03015000").await;
    // What was dropped has been counted before the server has stopped.
    let stats = loop {
        let stats = server.stats();
        if stats.datagrams == 1 {
            break stats;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((stats.datagrams_dropped, stats.datagrams_sent), (1, 0));
    assert!(!AllowList::nobody().allows(it.to.ip()));
}

trait OnLoopback<H> {
    async fn serve_on_loopback(self) -> Server<H>;
}

impl<H: Handler> OnLoopback<H> for fixp_transport::server::Builder<H> {
    async fn serve_on_loopback(self) -> Server<H> {
        self.bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap()
    }
}

/// A server at all addresses of its host answers from the one that was asked, over every way, and knows which it was.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_answer_leaves_from_where_it_was_asked() {
    let tells = async |request: Request| -> Reply {
        let at = request.peer.local.ip().to_string();
        // Larger than a datagram over KEEP UDP, so that some leave together.
        let entity = if request.packet.entity.is_empty() { at.clone() } else { at.repeat(10_000) };
        Packet::new(laxcus6::answer::OKAY).with(laxcus6::key::SPEAK, at).with_entity(entity).into()
    };
    for any in ["0.0.0.0:0", "[::]:0"] {
        let server = Server::builder(handler_fn(tells)).public_key(key()).bind(any.parse().unwrap());
        let server = server.start().await.unwrap();
        let port = server.local_addr().unwrap().port();
        for at in ["127.0.0.2", "127.0.0.1", "127.9.9.9"] {
            let to = SocketAddr::new(at.parse().unwrap(), port);
            for ours in [true, false] {
                let ask = || Packet::new(laxcus6::notify::FLUSH_LOG);
                let client = udp::Client::builder().dialect(&LAXCUS6).extensions(ours).build();
                let answer = client.request(to, ask()).await.unwrap();
                assert_eq!(answer.entity, at, "{any} {ours}");
                let channel = Channel::builder(&LAXCUS6).extensions(ours).keep_udp(to);
                let answer = channel.call(ask().with_entity("much")).await.unwrap();
                assert_eq!(answer.entity, at.repeat(10_000), "{any} {ours}");
            }
        }
    }
}
