//! What all connections and datagrams of a server share.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use fixp_codec::Dialect;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, watch};

use super::admission::AllowList;
use super::drive;
use super::ordered::OrderedChannels;
use super::public_key::PublicKey;
use crate::keep::Ledger;
use crate::limits::ServerLimits;
use crate::rate::RateLimiter;

/// Which dialect a peer speaks (SPEC 11.2).
#[derive(Clone, Copy, Debug)]
pub enum DialectChoice {
    /// Always this one.
    Fixed(&'static Dialect),
    /// What the first whole head of a connection, and each datagram, says (SPEC 6.2); this one where that
    /// does not decide.
    Told {
        /// The dialect where the packet does not tell.
        default: &'static Dialect,
    },
}

pub(crate) struct Shared<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) dialect: DialectChoice,
    pub(crate) limits: ServerLimits,
    /// Given to laxcus6's clients, which insist on one.
    pub(crate) key: PublicKey,
    /// Whether our extensions are announced to those who announce theirs.
    pub(crate) extensions: bool,
    /// The rate of large entities, both ways.
    pub(crate) rate: Option<RateLimiter>,
    /// What KEEP UDP holds, on all sockets.
    pub(crate) keep_ledger: Ledger,
    /// Whose answers over KEEP UDP are not limited.
    pub(crate) keep_allow: AllowList,
    pub(crate) budget: Budget,
    pub(crate) counters: Counters,
    pub(crate) ordered: Mutex<OrderedChannels<drive::Waiter, drive::Queued<H>>>,
    /// True once nothing may go on. Every task holds a receiver: when there is none, all have ended.
    pub(crate) end: watch::Sender<bool>,
}

impl<H> Shared<H> {
    /// Without a rate, and with the default for KEEP UDP.
    pub(crate) fn new(
        handler: H,
        dialect: DialectChoice,
        limits: ServerLimits,
        key: PublicKey,
        extensions: bool,
    ) -> Self {
        Self {
            handler: Arc::new(handler),
            dialect,
            budget: Budget::new(limits.bytes),
            ordered: Mutex::new(OrderedChannels::new(&limits)),
            key,
            extensions,
            rate: None,
            keep_ledger: Ledger::new(limits.keep.bytes),
            keep_allow: AllowList::loopback(),
            limits,
            counters: Counters::default(),
            end: watch::Sender::new(false),
        }
    }
}

/// The bytes of requests and answers in flight in the whole server.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// Those who wait for room.
    waiting: AtomicUsize,
    freed: Arc<Notify>,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Arc::new(Notify::new()),
        }
    }

    /// Takes bytes, if there is room for them or nothing else is in flight.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        self.used
            .fetch_update(SeqCst, SeqCst, |used| {
                (used == 0 || used.saturating_add(bytes) <= self.limit).then(|| used.saturating_add(bytes))
            })
            .is_ok()
    }

    /// Takes bytes, whether there is room or not: what is there already has to be counted.
    pub(crate) fn force(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    /// Gives bytes back.
    pub(crate) fn give(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, SeqCst);
            if self.waiting.load(SeqCst) > 0 {
                self.freed.notify_waiters();
            }
        }
    }

    /// Told when bytes have been given back. It must be asked for before [`Budget::take`] is asked once more,
    /// and [`Budget::waits_no_more`] called for it.
    pub(crate) fn wait(&self) -> OwnedNotified {
        self.waiting.fetch_add(1, SeqCst);
        Arc::clone(&self.freed).notified_owned()
    }

    /// One who waited does so no more.
    pub(crate) fn waits_no_more(&self) {
        self.waiting.fetch_sub(1, SeqCst);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

/// Bytes taken from the budget of the server, given back in the end.
pub(crate) struct Held<H> {
    shared: Arc<Shared<H>>,
    bytes: usize,
}

impl<H> Held<H> {
    pub(crate) fn take(shared: &Arc<Shared<H>>, bytes: usize) -> Option<Self> {
        shared.budget.take(bytes).then(|| Self { shared: Arc::clone(shared), bytes })
    }
}

impl<H> Drop for Held<H> {
    fn drop(&mut self) {
        self.shared.budget.give(self.bytes);
    }
}

impl<H> fmt::Debug for Held<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What a server has done so far, and what it is doing.
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        #[non_exhaustive]
        pub struct ServerStats {
            $($(#[$doc])* pub $name: u64,)*
            /// Bytes of requests and answers in flight now.
            pub bytes_in_flight: u64,
            /// Bytes that KEEP UDP holds now: requests that are not whole or wait, and answers.
            pub keep_bytes: u64,
        }

        #[derive(Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn stats(&self, budget: &Budget, keep: &Ledger) -> ServerStats {
                ServerStats {
                    $($name: self.$name.load(Relaxed),)*
                    bytes_in_flight: budget.used() as u64,
                    keep_bytes: keep.held() as u64,
                }
            }
        }
    };
}

counters! {
    /// TCP connections open now.
    open,
    /// TCP connections accepted.
    accepted,
    /// TCP connections closed at once, by a limit or the allow-list.
    turned_away,
    /// Requests that came over TCP.
    requests,
    /// Answers that went over TCP.
    answers,
    /// Connections ended by a packet that could not be read.
    malformed,
    /// Connections ended by a limit in time.
    timed_out,
    /// Connections that the peer lost in the middle of something.
    lost,
    /// Datagrams that came.
    datagrams,
    /// Datagrams dropped: not readable, not allowed, or no room.
    datagrams_dropped,
    /// Whole requests that came over KEEP UDP and were begun.
    keep_requests,
    /// Answers to them that were given, to be sent until their peers have them or time is over.
    keep_answers,
    /// Datagrams of KEEP UDP that carried again what had been sent before.
    keep_again,
    /// Pieces, and requests over the own transport, that were not listened to: beyond a limit, or without room.
    keep_refused,
    /// Associations of the own transport that were opened.
    keep_opened,
    /// Those of them that were lost, or ended by their peers in the middle.
    keep_lost,
    /// The system's buffers for datagrams that have come, of all sockets together, in bytes as it says them.
    receive_buffers,
    /// The same for datagrams on their way out.
    send_buffers,
    /// Datagrams that went.
    datagrams_sent,
    /// Answers of them that are longer than [`MTU_V4`](crate::udp::MTU_V4) or [`MTU_V6`](crate::udp::MTU_V6): the network
    /// cuts them in pieces.
    datagrams_long,
    /// Answers that did not go as datagrams: too large for one, no room to wait, or refused by the system.
    datagrams_unsent,
    /// Requests that were being handled, or whose answers were not wholly sent, when their connection, or the
    /// server, ended.
    cut,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_many(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn take_many(counter: &AtomicU64, count: usize) {
        counter.fetch_sub(count as u64, Relaxed);
    }
}
