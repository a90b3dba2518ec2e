//! The transport on the hosts of a laboratory: sockets, a server, and a handler that remembers what it executed.

#![allow(dead_code, reason = "not every test file uses all of it")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use fixp_codec::{Code, Dialect, Packet, Value, laxcus6, lexst1};
use fixp_laboratory::{Host, Laboratory, Stream};
use fixp_transport::limits::ServerLimits;
use fixp_transport::server::{Builder, DialectChoice, PublicKey};
use fixp_transport::socket::{Bind, Connect, Datagrams};
use fixp_transport::{Channel, ChannelBuilder, Handler, Reply, Request, Server, tables};
use tokio::io::ReadBuf;
use tokio::time::sleep;

/// The port of the server.
pub(crate) const PORT: u16 = 5000;

/// The client's address.
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// The server's.
pub(crate) const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

/// Connects from a host.
pub(crate) struct Connector {
    host: Host,
    peer: SocketAddr,
}

impl Connect for Connector {
    type Stream = Stream;

    async fn connect(&self) -> io::Result<Stream> {
        self.host.connect(self.peer).await
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// A socket for datagrams.
pub(crate) struct Socket(pub(crate) fixp_laboratory::Socket);

impl Datagrams for Socket {
    fn poll_recv_from(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<SocketAddr>> {
        self.0.poll_recv_from(cx, buf)
    }

    fn poll_send_to(&self, _: &mut Context<'_>, buf: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.send_to(buf, to))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.local_addr())
    }
}

/// Opens such sockets on a host.
pub(crate) struct Binder(pub(crate) Host);

impl Bind for Binder {
    type Socket = Socket;

    async fn bind(&self) -> io::Result<Socket> {
        self.0.bind(0).map(Socket)
    }
}

/// A channel, which connects when it is needed.
pub(crate) fn open(lab: &Laboratory, builder: ChannelBuilder) -> Channel {
    let peer = SocketAddr::new(SERVER, PORT);
    builder.seed(lab.seed()).open(Connector { host: lab.host(CLIENT), peer })
}

/// A server on its host, over TCP and UDP.
pub(crate) async fn serve<H: Handler>(
    lab: &Laboratory,
    dialect: &'static Dialect,
    limits: ServerLimits,
    handler: H,
) -> Arc<Server<H>> {
    let builder = Server::builder(handler).dialect(DialectChoice::Told { default: dialect }).limits(limits);
    serve_as(lab, builder).await
}

/// A server so described on its host, over TCP and UDP.
pub(crate) async fn serve_as<H: Handler>(lab: &Laboratory, builder: Builder<H>) -> Arc<Server<H>> {
    let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
    let server = Arc::new(builder.public_key(key).start().await.unwrap());
    let host = lab.host(SERVER);
    server.serve_datagrams(Socket(host.bind(PORT).unwrap())).unwrap();
    let listener = host.listen(PORT).unwrap();
    let accepting = Arc::clone(&server);
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let _ = accepting.serve_stream(stream, peer, listener.local_addr());
        }
    });
    server
}

/// A request that a [`Counting`] handler knows by its number, and takes so many milliseconds for.
pub(crate) fn numbered(dialect: &Dialect, number: u32, millis: u32) -> Packet {
    let entity = [number.to_le_bytes(), millis.to_le_bytes()].concat();
    Packet::new(application(dialect)).with(1000, "counted").with_entity(entity)
}

/// A request with so large an entity that a [`Counting`] handler begins before it has come.
pub(crate) fn large(dialect: &Dialect, number: u32, len: usize) -> Packet {
    let entity = number.to_le_bytes().repeat(len / 4);
    Packet::new(application(dialect)).with(NUMBER, number as i32).with_entity(entity)
}

/// The key of the number of a large request.
const NUMBER: u16 = 1001;

/// A request that is the handler's business.
pub(crate) fn application(dialect: &Dialect) -> Code {
    if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG }
}

/// The number of a request, or of its answer.
pub(crate) fn number(packet: &Packet) -> u32 {
    u32::from_le_bytes(*packet.entity.first_chunk().unwrap())
}

/// Remembers what it has executed, in order.
#[derive(Clone, Default)]
pub(crate) struct Counting {
    begun: Arc<Mutex<Vec<u32>>>,
    ended: Arc<Mutex<Vec<u32>>>,
}

impl Counting {
    /// The numbers of all requests, in the order in which they began.
    pub(crate) fn begun(&self) -> Vec<u32> {
        self.begun.lock().unwrap().clone()
    }

    /// The same of those that came to their end, in the order of that.
    pub(crate) fn ended(&self) -> Vec<u32> {
        self.ended.lock().unwrap().clone()
    }

    /// How often a request was executed.
    pub(crate) fn times(&self, number: u32) -> usize {
        self.begun().iter().filter(|begun| **begun == number).count()
    }
}

impl Handler for Counting {
    async fn handle(&self, request: Request) -> Reply {
        let okay = Packet::new(tables::of(request.peer.dialect).okay);
        if request.body.is_some() {
            let number = request.packet.first(NUMBER).and_then(Value::as_i32).unwrap() as u32;
            self.begun.lock().unwrap().push(number);
            let Ok(packet) = request.gather(1 << 20).await else { return Reply::Silence };
            self.ended.lock().unwrap().push(number);
            return okay.with_entity(packet.entity).into();
        }
        let number = number(&request.packet);
        let millis = u32::from_le_bytes(*request.packet.entity[4..].first_chunk().unwrap());
        self.begun.lock().unwrap().push(number);
        if millis > 0 {
            sleep(Duration::from_millis(millis.into())).await;
        }
        self.ended.lock().unwrap().push(number);
        okay.with_entity(request.packet.entity).into()
    }
}
