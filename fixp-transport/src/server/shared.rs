//! What all connections and datagrams of a server share.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use fixp_codec::{Dialect, Encoder, Message, Packet};
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, watch};

use super::admission::AllowList;
use super::coming::Coming;
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
    pub(crate) budget: Arc<Budget>,
    pub(crate) coming: Arc<Coming>,
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
            budget: Arc::new(Budget::new(limits.bytes)),
            coming: Arc::default(),
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

/// What so many messages take beside their bytes on the wire: each has its place in a list.
pub(crate) const fn places(messages: usize) -> usize {
    messages * size_of::<Message>()
}

/// What a packet counts for: its bytes on the wire, and the places of its messages.
pub(crate) fn counted(dialect: &Dialect, packet: &Packet) -> usize {
    let wire = Encoder::new(dialect).packet_len(packet).unwrap_or(packet.entity.len());
    wire + places(packet.messages.len())
}

/// The bytes of requests and answers in flight in the whole server.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// What of them is of packets that are not whole: at most half, so that one that is finds room whoever takes his
    /// time.
    coming: AtomicUsize,
    /// What connections have read and have no room for yet.
    unread: AtomicUsize,
    /// Those who wait for room.
    waiting: AtomicUsize,
    freed: Arc<Notify>,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
            coming: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Arc::new(Notify::new()),
        }
    }

    /// Takes bytes, if there is room for them or nothing else is in flight.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        add(&self.used, bytes, self.limit, 0)
    }

    /// The same for the end of a packet, which had so many bytes before ([`Budget::take_coming`]).
    pub(crate) fn take_last(&self, bytes: usize, had: usize) -> bool {
        add(&self.used, bytes, self.limit, had)
    }

    /// The same for a packet that is not whole with them.
    pub(crate) fn take_coming(&self, bytes: usize, had: usize) -> bool {
        if !add(&self.coming, bytes, self.limit / 2, had) {
            return false;
        }
        let taken = add(&self.used, bytes, self.limit, had);
        if !taken {
            self.coming.fetch_sub(bytes, SeqCst);
        }
        taken
    }

    /// Whether packets that are not whole hold what they may together.
    pub(crate) fn is_crowded(&self, bytes: usize) -> bool {
        self.coming.load(Relaxed).saturating_add(bytes) > self.limit / 2
    }

    /// A connection has read so many bytes for which it has no room, after it had so many.
    pub(crate) fn holds_unread(&self, bytes: usize, before: usize) {
        if bytes > before {
            self.unread.fetch_add(bytes - before, Relaxed);
        } else if bytes < before {
            self.unread.fetch_sub(before - bytes, Relaxed);
        }
    }

    /// Whether as much as the limit was read without room: then only little is read at a time.
    pub(crate) fn is_beset(&self) -> bool {
        self.unread.load(Relaxed) > self.limit
    }

    /// A packet has come, or never will, that had so many bytes by [`Budget::take_coming`]. It has them still.
    pub(crate) fn came(&self, bytes: usize) {
        if bytes > 0 {
            self.coming.fetch_sub(bytes, SeqCst);
            self.tell();
        }
    }

    /// Takes bytes, whether there is room or not: what is there already has to be counted.
    pub(crate) fn force(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    /// Gives bytes back.
    pub(crate) fn give(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, SeqCst);
            self.tell();
        }
    }

    fn tell(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }

    /// Told when there may be room. It must be asked for before [`Budget::take`], or another, is asked once more,
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

/// Adds bytes, if there is room for them below the limit, or nothing is there but what whoever adds had before.
fn add(count: &AtomicUsize, bytes: usize, limit: usize, had: usize) -> bool {
    count
        .fetch_update(SeqCst, SeqCst, |used| {
            let sum = used.saturating_add(bytes);
            (used <= had || sum <= limit).then_some(sum)
        })
        .is_ok()
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

    pub(crate) fn handler(&self) -> &H {
        &self.shared.handler
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
            /// Bytes of requests and answers in flight now: those on the wire, and the size of a
            /// [`Message`](fixp_codec::Message) for each of a request.
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
    /// What of KEEP UDP was not listened to, beyond a limit or without room: pieces, requests that are too large, and
    /// requests over the own transport.
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
    /// cuts them in pieces, and one of them lost is all of them lost. Each socket warns of one of them a minute.
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
