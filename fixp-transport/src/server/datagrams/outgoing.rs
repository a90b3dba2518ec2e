//! Plain answers on their way to the socket.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tracing::debug;

use crate::server::shared::{Counters, Held, Shared};
use crate::socket::Datagrams;

/// Answers that wait for the socket. Past it nothing is read: the system's buffer fills, and then drops.
pub(super) const QUEUE: usize = 1024;

/// An answer that waits for the socket.
struct Waiting<H> {
    wire: Bytes,
    to: SocketAddr,
    copies: u8,
    _held: Held<H>,
}

/// Answers that wait for the socket, in their order.
pub(super) struct Outgoing<H>(VecDeque<Waiting<H>>);

impl<H> Outgoing<H> {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether more may be made.
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < QUEUE
    }

    /// Sends what waits, as far as the socket takes it.
    pub(super) fn poll<S: Datagrams>(&mut self, cx: &mut Context<'_>, socket: &S, counters: &Counters) {
        while let Some(first) = self.0.front_mut() {
            let Poll::Ready(sent) = socket.poll_send_to(cx, &first.wire, first.to) else { return };
            count_sent(counters, first.to, &sent);
            first.copies -= 1;
            if first.copies == 0 {
                self.0.pop_front();
            }
        }
    }

    /// Sends a datagram in so many copies, at once if the socket takes it.
    pub(super) fn send<S: Datagrams>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &S,
        shared: &Arc<Shared<H>>,
        (wire, to): (&[u8], SocketAddr),
        mut copies: u8,
    ) {
        while copies > 0
            && self.0.is_empty()
            && let Poll::Ready(sent) = socket.poll_send_to(cx, wire, to)
        {
            count_sent(&shared.counters, to, &sent);
            copies -= 1;
        }
        if copies == 0 {
            return;
        }
        match Held::take(shared, wire.len()) {
            Some(held) => {
                let wire = Bytes::copy_from_slice(wire);
                self.0.push_back(Waiting { wire, to, copies, _held: held });
            }
            None => Counters::add(&shared.counters.datagrams_unsent),
        }
    }
}

fn count_sent(counters: &Counters, to: SocketAddr, sent: &io::Result<usize>) {
    match sent {
        Ok(_) => Counters::add(&counters.datagrams_sent),
        Err(error) => {
            Counters::add(&counters.datagrams_unsent);
            debug!(peer = %to, %error, "an answer was not sent");
        }
    }
}
