//! Sockets of the system: segments out and in, both families, fragments, and who is told of what does not fit.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::poll_fn;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use fixp_codec::{Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::keep::Client;
use fixp_transport::server::PublicKey;
use fixp_transport::socket::{BatchedSocket, Datagrams, Inbox};
use fixp_transport::{Echo, Reply, Request, Server, handler_fn, tables};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The addresses of a family that a test needs; nothing on a host without it, which is said.
fn families() -> Vec<SocketAddr> {
    let mut families = vec![addr("127.0.0.1:0")];
    match std::net::UdpSocket::bind("[::1]:0") {
        Ok(_) => families.push(addr("[::1]:0")),
        Err(error) => println!("without IPv6: {error}"),
    }
    families
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("in time")
}

async fn send_all<S: Datagrams>(socket: &S, bytes: &[u8], segment: usize, to: SocketAddr) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let sent = within(poll_fn(|cx| socket.poll_send_segments(cx, rest, segment, to))).await.unwrap();
        assert!(sent % segment == 0 || sent == rest.len(), "{sent} of {}", rest.len());
        rest = &rest[sent..];
    }
}

async fn next<S: Datagrams>(inbox: &mut Inbox, socket: &S) -> (SocketAddr, Vec<u8>) {
    let one = poll_fn(|cx| {
        let (from, bytes) = ready!(inbox.poll_next(socket, cx))?;
        Poll::Ready(io::Result::Ok((from, bytes.to_vec())))
    });
    within(one).await.unwrap()
}

/// Bytes of which every segment is another.
fn content(len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Batched to batched, batched to tokio's and back: the same datagrams in the same order, whatever the sizes.
#[tokio::test]
async fn segments_arrive_as_datagrams() {
    for any in families() {
        let (a, b) = (BatchedSocket::bind(any).unwrap(), BatchedSocket::bind(any).unwrap());
        let plain = UdpSocket::bind(any).await.unwrap();
        let (from, to) = (a.local_addr().unwrap(), b.local_addr().unwrap());
        let mut inbox = Inbox::new(Inbox::SLOTS);
        let mut plain_inbox = Inbox::new(1);
        for (len, segment) in
            [(1, 1), (1200, 1200), (1201, 1200), (60_000, 1200), (100_000, 1452), (65_487, 65_487)]
        {
            let bytes = content(len);
            send_all(&a, &bytes, segment, to).await;
            send_all(&a, &bytes, segment, plain.local_addr().unwrap()).await;
            send_all(&plain, &bytes, segment, to).await;
            for datagram in bytes.chunks(segment) {
                assert_eq!(next(&mut inbox, &b).await, (from, datagram.to_vec()), "{len} by {segment}");
                assert_eq!(next(&mut plain_inbox, &plain).await, (from, datagram.to_vec()));
            }
            for datagram in bytes.chunks(segment) {
                assert_eq!(next(&mut inbox, &b).await, (plain.local_addr().unwrap(), datagram.to_vec()));
            }
        }
        assert!(inbox.is_empty());
    }
}

/// Where the system puts segments together, they come out by one call.
#[tokio::test]
async fn many_datagrams_by_few_calls() {
    struct Counted(BatchedSocket, std::sync::atomic::AtomicUsize);

    impl Datagrams for Counted {
        fn poll_recv_from(
            &self,
            cx: &mut std::task::Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<SocketAddr>> {
            self.0.poll_recv_from(cx, buf)
        }

        fn poll_send_to(
            &self,
            cx: &mut std::task::Context<'_>,
            buf: &[u8],
            to: SocketAddr,
        ) -> Poll<io::Result<usize>> {
            self.0.poll_send_to(cx, buf, to)
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            self.0.local_addr()
        }

        fn poll_receive(
            &self,
            cx: &mut std::task::Context<'_>,
            buffers: &mut [io::IoSliceMut<'_>],
            received: &mut [fixp_transport::socket::Received],
        ) -> Poll<io::Result<usize>> {
            let count = ready!(self.0.poll_receive(cx, buffers, received))?;
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Poll::Ready(Ok(count))
        }
    }

    let any = addr("127.0.0.1:0");
    let a = BatchedSocket::bind(any).unwrap();
    let b = Counted(BatchedSocket::bind(any).unwrap(), 0.into());
    let bytes = content(1200 * 200);
    send_all(&a, &bytes, 1200, b.local_addr().unwrap()).await;
    let mut inbox = Inbox::new(Inbox::SLOTS);
    for datagram in bytes.chunks(1200) {
        assert_eq!(next(&mut inbox, &b).await.1, datagram);
    }
    let calls = b.1.load(std::sync::atomic::Ordering::Relaxed);
    if a.max_segments() > 1 {
        assert!(calls <= 20, "{calls} calls for 200 datagrams");
    } else {
        println!("this system sends datagrams one by one: {calls} calls");
    }
}

/// Single datagrams from a socket that puts them together are single all the same.
#[tokio::test]
async fn one_by_one_from_a_batched_socket() {
    let any = addr("127.0.0.1:0");
    let (a, b) = (BatchedSocket::bind(any).unwrap(), BatchedSocket::bind(any).unwrap());
    let bytes = content(10_000);
    send_all(&a, &bytes, 1000, b.local_addr().unwrap()).await;
    for datagram in bytes.chunks(1000) {
        let mut buffer = [0; 2000];
        let mut room = ReadBuf::new(&mut buffer);
        within(poll_fn(|cx| b.poll_recv_from(cx, &mut room))).await.unwrap();
        assert_eq!(room.filled(), datagram);
    }
    // What does not fit is lost, as from any socket.
    send_all(&a, &bytes[..2000], 1000, b.local_addr().unwrap()).await;
    for datagram in bytes[..2000].chunks(1000) {
        let mut buffer = [0; 10];
        let mut room = ReadBuf::new(&mut buffer);
        within(poll_fn(|cx| b.poll_recv_from(cx, &mut room))).await.unwrap();
        assert_eq!(room.filled(), &datagram[..10]);
    }
}

/// One socket for both families.
#[tokio::test]
async fn a_dual_stack_socket() {
    if families().len() < 2 {
        return;
    }
    let server = BatchedSocket::bind(addr("[::]:0")).unwrap();
    let port = server.local_addr().unwrap().port();
    let mut inbox = Inbox::new(4);
    for any in families() {
        let client = BatchedSocket::bind(any).unwrap();
        let to = SocketAddr::new(any.ip(), port);
        send_all(&client, &content(5000), 1000, to).await;
        for datagram in content(5000).chunks(1000) {
            let (from, bytes) = next(&mut inbox, &server).await;
            assert_eq!(bytes, datagram);
            assert_eq!(from.ip().to_canonical(), client.local_addr().unwrap().ip());
            send_all(&server, &bytes, 300, from).await;
        }
        let mut back = Inbox::new(4);
        for datagram in content(5000).chunks(1000).flat_map(|datagram| datagram.chunks(300)) {
            assert_eq!(next(&mut back, &client).await.1, datagram);
        }
    }
}

/// What is larger than a datagram can be is nobody's business; a single one is, as from any socket.
#[tokio::test]
async fn too_large_is_silent() {
    for any in families() {
        let socket = BatchedSocket::bind(any).unwrap();
        let to = socket.local_addr().unwrap();
        let large = vec![0; 66_000];
        let sent = poll_fn(|cx| socket.poll_send_segments(cx, &large, 66_000, to)).await;
        assert_eq!(sent.unwrap(), 66_000);
        assert!(poll_fn(|cx| socket.poll_send_to(cx, &large, to)).await.is_err());
        // Nor is the socket the worse for it.
        send_all(&socket, b"small", 5, to).await;
        assert_eq!(next(&mut Inbox::new(1), &socket).await.1, b"small");
    }
}

#[tokio::test]
async fn buffers_are_what_the_system_gave() {
    let socket = BatchedSocket::bind(addr("127.0.0.1:0")).unwrap();
    let buffers = socket.buffers().unwrap();
    let system = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let system = socket2::SockRef::from(&system);
    assert!(buffers.receive >= system.recv_buffer_size().unwrap(), "{buffers:?}");
    assert!(buffers.send >= system.send_buffer_size().unwrap(), "{buffers:?}");
    let plain = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    assert_eq!((plain.buffers(), plain.max_segments()), (None, 1));
}

fn log(dialect: &Dialect, len: usize) -> Packet {
    let code = if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
    Packet::new(code).with(1000, "log").with_entity(content(len))
}

/// A server on one port, over IPv4 and IPv6, of the programs' clients and of ours: entities of any size come back
/// whole, and the counters say what the system gave.
#[tokio::test]
async fn a_server_over_both_families() {
    let families = families();
    let any = if families.len() > 1 { addr("[::]:0") } else { addr("127.0.0.1:0") };
    let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
    let server = Server::builder(Echo).public_key(key).bind(any).start().await.unwrap();
    let port = server.local_addr().unwrap().port();
    let mut expected = 0;
    for family in families {
        let to = SocketAddr::new(family.ip(), port);
        for dialect in [&LEXST1, &LAXCUS6] {
            for ours in [false, true] {
                let client = Client::builder().dialect(dialect).extensions(ours).build();
                for len in [0, 100, 5000, 200_000, 1 << 20] {
                    let sent = log(dialect, len);
                    let got = within(client.request(to, sent.clone())).await.unwrap();
                    assert_eq!(got.code, tables::of(dialect).okay);
                    assert!(got.entity == sent.entity, "{to} {} {ours} {len}", dialect.name());
                    expected += 1;
                }
                // The own transport from the first answer on, which lexst1 has in pieces.
                let own = client.stats().own;
                assert!(if ours { own >= 4 } else { own == 0 }, "{to} {} {own}", dialect.name());
            }
        }
    }
    let stats = server.stats();
    assert_eq!((stats.keep_requests, stats.keep_answers), (expected, expected), "{stats:?}");
    let system = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let least = socket2::SockRef::from(&system).recv_buffer_size().unwrap() as u64;
    assert!(stats.receive_buffers >= least && stats.send_buffers >= least, "{stats:?}");
    let report = server.shutdown(Duration::from_secs(10)).await;
    assert_eq!((report.cut, report.late), (0, false), "{report:?}");
    assert_eq!((report.stats.receive_buffers, report.stats.send_buffers), (0, 0));
}

/// The name of the next test, by which this program runs itself in a network namespace with a small MTU.
const SMALL: &str = "on_a_small_mtu";
const INSIDE: &str = "FIXP_SOCKETS_INSIDE";

/// A network with an MTU of 1500, both families. Needs Linux, `ip` and the right to make namespaces; says on the
/// standard error where it is skipped.
#[test]
fn on_a_small_mtu() {
    if std::env::var_os(INSIDE).is_some() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(inside());
        return;
    }
    let name = format!("fixp-{}-mtu", std::process::id());
    let ip = |args: &[&str]| Command::new("ip").args(args).status().is_ok_and(|status| status.success());
    let made = cfg!(target_os = "linux")
        && ip(&["netns", "add", &name])
        && ip(&["-n", &name, "link", "set", "lo", "up", "mtu", "1500"]);
    if made {
        let status = Command::new("ip")
            .args(["netns", "exec", &name])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", SMALL, "--nocapture"])
            .env(INSIDE, "1")
            .status();
        ip(&["netns", "delete", &name]);
        assert!(status.unwrap().success());
    } else {
        let line = format!("\nSKIPPED: {SMALL}: no network namespaces here\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

async fn inside() {
    let both = BatchedSocket::bind(addr("[::]:0")).unwrap();
    let port = both.local_addr().unwrap().port();
    let mut inbox = Inbox::new(4);
    for (any, mtu) in [(addr("127.0.0.1:0"), 1472), (addr("[::1]:0"), 1452)] {
        let to = SocketAddr::new(any.ip(), port);
        for socket in [BatchedSocket::bind(any).unwrap(), BatchedSocket::bind(addr("[::]:0")).unwrap()] {
            let to = match (socket.local_addr().unwrap().is_ipv6(), to) {
                (true, SocketAddr::V4(to)) => SocketAddr::new(to.ip().to_ipv6_mapped().into(), port),
                (_, to) => to,
            };
            // As large as the way takes: together, and alone. One byte more does not come.
            let before = socket.max_segments();
            send_all(&socket, &content(10 * mtu), mtu, to).await;
            send_all(&socket, &content(mtu + 1), mtu + 1, to).await;
            // A plain one is cut by the system, as ever.
            poll_fn(|cx| socket.poll_send_to(cx, &content(20_000), to)).await.unwrap();
            // And that was for one.
            send_all(&socket, &content(mtu + 1), mtu + 1, to).await;
            send_all(&socket, &content(mtu), mtu, to).await;
            for datagram in content(10 * mtu).chunks(mtu) {
                assert_eq!(next(&mut inbox, &both).await.1, datagram);
            }
            assert_eq!(next(&mut inbox, &both).await.1, content(20_000));
            assert_eq!(next(&mut inbox, &both).await.1, content(mtu));
            assert_eq!(socket.max_segments(), before);
            // Segments that are too large together are lost together, and leave all as it was.
            send_all(&socket, &content(10 * mtu), mtu + 1, to).await;
            send_all(&socket, &content(10), 1, to).await;
            let mut last = 0;
            while last < 10 {
                let (_, bytes) = next(&mut inbox, &both).await;
                assert!(bytes.len() <= mtu, "{}", bytes.len());
                last += usize::from(bytes.len() == 1);
            }
            assert_eq!(socket.max_segments(), before);
        }
    }
}

/// The answers of a server to clients of the programs: some thousand pieces for one.
#[tokio::test]
async fn large_answers_do_not_stall() {
    let large = async |request: Request| -> Reply {
        let code = tables::of(request.peer.dialect).okay;
        Packet::new(code).with_entity(vec![7; 1 << 20]).into()
    };
    let key = PublicKey::new(&[0xff; 64], &[3]).unwrap();
    let server = Server::builder(handler_fn(large)).public_key(key).bind(addr("127.0.0.1:0"));
    let server = server.start().await.unwrap();
    for (dialect, code) in [(&LAXCUS6, laxcus6::notify::FLUSH_LOG), (&LEXST1, lexst1::app::ADD_LOG)] {
        let client = Client::builder().dialect(dialect).extensions(false).build();
        // Other tests may have the processor just then: one in three is enough to tell it from a stall of seconds.
        let mut took = Vec::new();
        for _ in 0..3 {
            let began = Instant::now();
            let asked =
                client.request(server.local_addr().unwrap(), Packet::new(code).with_entity(vec![1; 10]));
            assert_eq!(within(asked).await.unwrap().entity.len(), 1 << 20);
            took.push(began.elapsed());
        }
        assert!(took.iter().min().unwrap() < &Duration::from_secs(1), "{}: {took:?}", dialect.name());
    }
}
