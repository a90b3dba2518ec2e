//! Ours: a channel to an echo server.

use std::net::{Ipv4Addr, SocketAddr};

use fixp_codec::{LAXCUS6, Packet, laxcus6::answer, laxcus6::notify};
use fixp_transport::{Body, Channel, Reply, Request, Server, handler_fn, udp};

/// Any port of the loopback.
pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Serves what the benches ask for; lives as long as the server.
pub async fn serve() -> (impl Sized, SocketAddr) {
    let handler = handler_fn(async |request: Request| {
        if request.packet.code == notify::FLUSH_BILL {
            // A download: so many bytes.
            return Reply::Answer(fixp_transport::Answer::from(Packet::new(answer::OKAY)).with_body(pieces()));
        }
        match request.body {
            // An upload: read piece by piece, and answered by a packet without entity.
            Some(mut body) => {
                while let Some(piece) = body.chunk().await {
                    if piece.is_err() {
                        return Reply::Silence;
                    }
                }
                Packet::new(answer::OKAY).into()
            }
            None => Packet::new(answer::OKAY).with_entity(request.packet.entity).into(),
        }
    });
    let server = Server::builder(handler).bind(ANY).start().await.expect("a server on loopback");
    let addr = server.local_addr().expect("it is bound");
    (server, addr)
}

/// The size of a bulk transfer.
pub const BULK: usize = 1 << 20;

/// What is sent in bulk, again and again, by ours and by raw TCP. No zeros: memory of zeros that was never
/// written is one page, however long it looks, and always in the cache.
pub static BYTES: [u8; 256 << 10] = [7; 256 << 10];

/// The bytes of a bulk transfer, in pieces of 64 KiB that are not made anew.
#[must_use]
pub fn pieces() -> Body {
    let pieces = BYTES.chunks(64 << 10).cycle().take(BULK / (64 << 10));
    let pieces = pieces.map(|piece| Ok(bytes::Bytes::from_static(piece)));
    Body::from_stream(BULK as u64, futures::stream(pieces))
}

/// A channel to it.
pub async fn channel(addr: SocketAddr) -> Channel {
    Channel::builder(&LAXCUS6).connect(addr).await.expect("a channel")
}

/// One request of 64 bytes of entity and its echo.
pub async fn echo(channel: &Channel, payload: &'static [u8]) {
    let answer = channel.call(Packet::new(notify::FLUSH_LOG).with_entity(payload)).await.expect("an echo");
    assert_eq!(answer.entity.len(), payload.len());
}

/// A client for datagrams, which knows the server already.
pub async fn datagrams(addr: SocketAddr) -> udp::Client {
    let client = udp::Client::builder().dialect(&LAXCUS6).build();
    ping(&client, addr, b"hello").await;
    client
}

/// A request in a datagram, and its echo.
pub async fn ping(client: &udp::Client, addr: SocketAddr, payload: &'static [u8]) {
    let answer =
        client.request(addr, Packet::new(notify::FLUSH_LOG).with_entity(payload)).await.expect("an echo");
    assert_eq!(answer.entity.len(), payload.len());
}

mod futures {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// An iterator as a stream.
    pub(super) fn stream<I: Iterator + Unpin>(items: I) -> Items<I> {
        Items(items)
    }

    pub(super) struct Items<I>(I);

    impl<I: Iterator + Unpin> futures_core::Stream for Items<I> {
        type Item = I::Item;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
            Poll::Ready(self.0.next())
        }
    }
}

/// One bulk transfer, up or down.
pub async fn bulk(channel: &Channel, up: bool, limiter: Option<&fixp_transport::rate::RateLimiter>) {
    let paced = |body: Body| match limiter {
        Some(limiter) => body.paced(limiter),
        None => body,
    };
    if up {
        let log = Packet::new(notify::FLUSH_LOG);
        channel.transfer(log, paced(pieces())).await.expect("an answer");
        return;
    }
    let bill = Packet::new(notify::FLUSH_BILL);
    let answer = channel.transfer(bill, Body::from_bytes(bytes::Bytes::new())).await.expect("an answer");
    let mut body = paced(answer.body);
    let mut came = 0;
    while let Some(piece) = body.chunk().await {
        came += piece.expect("a piece").len();
    }
    assert_eq!(came, BULK);
}
