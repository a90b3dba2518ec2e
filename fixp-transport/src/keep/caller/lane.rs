//! A port as one peer sees it: one exchange at a time.

use std::time::Instant;

use bytes::Bytes;

use super::{Config, Port, Ticket};
use crate::keep::Requester;
use crate::udp;

/// What is under way.
#[derive(Debug)]
pub(super) enum Work {
    Nothing,
    /// SECURE_QUERY, before the exchange of this request.
    Query {
        ticket: Ticket,
        left: u32,
        again: Instant,
    },
    /// A request that is one datagram in KEEP UDP, too, and its answer another.
    Plain {
        ticket: Ticket,
        wire: Bytes,
        announces: bool,
        again: Option<Instant>,
    },
    /// An exchange. Whose it was may have its answer already: then the peer is told so.
    Exchange {
        ticket: Option<Ticket>,
        requester: Box<Requester>,
        announces: bool,
    },
}

/// One that is not in the peer's list is free.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) port: Port,
    pub(super) work: Work,
    /// The peer holds something for this port that cannot be cleared.
    pub(super) spoilt: bool,
    /// Until when a plain answer may come that nobody waits for: it could be taken for another.
    pub(super) tainted: Option<Instant>,
    /// Until when the network may bring a piece of the last exchange once more, which would spoil the next one.
    pub(super) resting: Option<Instant>,
    /// From when on no port that wants the place of this one waits for what the peer says to the end of an exchange.
    pub(super) leave_at: Option<Instant>,
    /// It is so, and the peer has been told of the end.
    pub(super) left: bool,
    /// Whether it stands in the outbox.
    pub(super) queued: bool,
    /// Whether the datagram of a query or a plain request is to be sent.
    pub(super) wants: bool,
    /// Transmissions of this work given out, and whether a socket has taken one.
    pub(super) given: u32,
    pub(super) taken: bool,
    /// The bytes that stand for it in the ledger.
    pub(super) booked: usize,
    /// The timer that stands for it.
    pub(super) timer: Option<Instant>,
}

impl Lane {
    pub(super) const fn new(port: Port) -> Self {
        Self {
            port,
            work: Work::Nothing,
            spoilt: false,
            tainted: None,
            resting: None,
            leave_at: None,
            left: false,
            queued: false,
            wants: false,
            given: 0,
            taken: false,
            booked: 0,
            timer: None,
        }
    }

    /// Whether an exchange may begin here.
    pub(super) const fn is_free(&self) -> bool {
        !self.spoilt && !self.is_busy()
    }

    pub(super) const fn is_busy(&self) -> bool {
        !matches!(self.work, Work::Nothing)
    }

    /// Whether another port is wanted in place of this one, by a request that is one datagram or by another: it is
    /// of no use for longer than the network may double something.
    pub(super) fn is_unfit(&self, now: Instant, plain: bool) -> bool {
        self.spoilt || self.left || plain && self.is_tainted(now)
    }

    /// Whether an answer may come late, not just a second copy of one.
    pub(super) fn is_tainted(&self, now: Instant) -> bool {
        self.tainted.is_some_and(|until| until > now + udp::Config::SETTLE)
    }

    /// Until when the number of this port, should it be closed now, is not to be used for the peer.
    pub(super) fn unfit_until(&self, now: Instant) -> Option<Instant> {
        match self.work {
            Work::Exchange { .. } if self.given > 0 => Some(now + Config::SPOILT),
            Work::Plain { .. } if self.given > 0 => Some(now + udp::Config::QUARANTINE),
            _ => self.tainted.filter(|_| self.is_tainted(now)),
        }
    }

    /// Whether the end of an exchange has taken its time, and all of it is sent.
    pub(super) fn may_be_left(&self, now: Instant) -> bool {
        self.leaves_at().is_some_and(|at| at <= now) && self.held() == 0
    }

    fn leaves_at(&self) -> Option<Instant> {
        self.leave_at.filter(|_| !self.left)
    }

    /// Whether only the end of an exchange is under way.
    pub(super) const fn is_ending(&self) -> bool {
        matches!(self.work, Work::Exchange { ticket: None, .. })
    }

    /// The request that it works for.
    pub(super) const fn ticket(&self) -> Option<Ticket> {
        match self.work {
            Work::Nothing => None,
            Work::Query { ticket, .. } | Work::Plain { ticket, .. } => Some(ticket),
            Work::Exchange { ticket, .. } => ticket,
        }
    }

    /// The same after now: what waits to be sent is due, and stays so until it is.
    pub(super) fn due_after(&self, now: Instant) -> Option<Instant> {
        let Work::Exchange { requester, .. } = &self.work else { return self.due() };
        requester.poll_timeout().into_iter().chain(self.leaves_at()).filter(|&at| at > now).min()
    }

    /// When time changes something.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.work {
            Work::Nothing => [self.tainted, self.resting].into_iter().flatten().min(),
            Work::Query { again, .. } => Some(*again),
            Work::Plain { again, .. } => *again,
            Work::Exchange { requester, .. } => {
                requester.poll_timeout().into_iter().chain(self.leaves_at()).min()
            }
        }
    }

    /// The bytes held for it.
    pub(super) fn held(&self) -> usize {
        match &self.work {
            Work::Nothing | Work::Query { .. } => 0,
            Work::Plain { wire, .. } => wire.len(),
            Work::Exchange { requester, .. } => requester.held(),
        }
    }

    /// Begins something.
    pub(super) fn begin(&mut self, work: Work) {
        self.work = work;
        self.wants = true;
        (self.given, self.taken) = (0, false);
    }
}
