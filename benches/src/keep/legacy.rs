//! 1 MiB and 1 MiB back in the pieces of laxcus6, and the same datagrams through two sockets by hand.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use fixp_codec::{LAXCUS6, Packet, laxcus6::answer, laxcus6::notify};
use fixp_transport::keep::pieces::{Form, Pieces};
use tokio::net::UdpSocket;

use super::bulk::{BYTES, Call, call};
use crate::transport::fixp::ANY;

/// Datagrams under way at most. They fit into the buffer of a socket, so that none is lost.
const WINDOW: usize = 64;
/// After how many the receiver says that it has them.
const CREDIT: usize = WINDOW / 2;

/// The datagrams of the request and of the answer.
fn datagrams() -> [Vec<Bytes>; 2] {
    let entity = Bytes::from_static(&BYTES);
    let request = Packet::new(notify::FLUSH_LOG).with_entity(entity.clone());
    let reply = Packet::new(answer::OKAY).with_entity(entity);
    let cut = |packet, form| Pieces::cut(&LAXCUS6, packet, form).expect("pieces");
    let both = [cut(request, Form::of_request(&LAXCUS6, 1)), cut(reply, Form::of_answer(&LAXCUS6, 1))];
    both.map(|pieces| (0..pieces.count()).filter_map(|index| pieces.datagram(index)).collect())
}

/// Takes the datagrams of a request and answers with those of an answer, again and again.
///
/// # Panics
///
/// If there is no socket.
pub async fn serve_raw() -> SocketAddr {
    let socket = UdpSocket::bind(ANY).await.expect("a socket");
    let addr = socket.local_addr().expect("it is bound");
    let [request, reply] = datagrams();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let from = take(&socket, request.len(), &mut buffer).await;
            give(&socket, from, &reply, &mut buffer).await;
        }
    });
    addr
}

/// An exchange with it.
///
/// # Panics
///
/// If there is no socket.
pub async fn raw(addr: SocketAddr) -> Call {
    let socket = Arc::new(UdpSocket::bind(ANY).await.expect("a socket"));
    let both = Arc::new(datagrams());
    call(move || {
        let (socket, both) = (Arc::clone(&socket), Arc::clone(&both));
        async move {
            let mut buffer = [0; 2048];
            give(&socket, addr, &both[0], &mut buffer).await;
            take(&socket, both[1].len(), &mut buffer).await;
        }
    })
}

async fn give(socket: &UdpSocket, to: SocketAddr, datagrams: &[Bytes], buffer: &mut [u8]) {
    let mut free = WINDOW;
    for datagram in datagrams {
        if free == 0 {
            socket.recv_from(buffer).await.expect("a credit");
            free += CREDIT;
        }
        socket.send_to(datagram, to).await.expect("a datagram sent");
        free -= 1;
    }
    // The credits that are still to come are not the other direction's.
    let credits = datagrams.len() / CREDIT;
    let used = (datagrams.len() - 1 - WINDOW) / CREDIT + 1;
    for _ in used..credits {
        socket.recv_from(buffer).await.expect("a credit");
    }
}

async fn take(socket: &UdpSocket, count: usize, buffer: &mut [u8]) -> SocketAddr {
    let mut came = 0;
    loop {
        let (_, from) = socket.recv_from(buffer).await.expect("a datagram");
        came += 1;
        if came % CREDIT == 0 {
            socket.send_to(&[1], from).await.expect("a credit");
        }
        if came == count {
            return from;
        }
    }
}
