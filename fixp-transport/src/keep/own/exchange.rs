//! An exchange: a request and its answer, one of them coming and the other going (SPEC 10.14, 10.16).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::association::Role;
use super::config::Config;
use super::event::AssociationId;
use super::receive_stream::{Bounds, ReceiveStream};
use super::send_stream::SendStream;
use super::shared::Shared;
use super::wire::Reset;
use crate::keep::Ledger;
use crate::keep::ledger::Hold;

/// What goes out: the request of a client, the answer of a server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Going {
    /// Nothing yet.
    Nothing,
    Stream,
    /// It is over before its end, and the peer is told.
    Reset(Reset),
    /// The peer has it all, or knows that it never will.
    Over,
}

/// How far an exchange has come for the application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// A client waits for the answer; at a server the request is not there yet.
    Awaited,
    /// It has what came: a client reads on, a server works on it.
    Told,
    /// A server has answered.
    Answering,
    /// Nobody here waits for anything.
    Over,
}

/// See the [module](self).
///
/// One is used again for another when it has ended, with what it has allocated.
#[derive(Debug)]
pub(super) struct Exchange {
    hold: Hold,
    /// What its ticket says.
    pub(super) serial: u64,
    pub(super) going: Going,
    /// What goes out, if that is a stream.
    pub(super) stream: SendStream,
    /// The length of what went out, when all of it was acknowledged.
    pub(super) whole: u64,
    pub(super) coming: ReceiveStream,
    pub(super) stage: Stage,
    /// When a client no longer waits.
    pub(super) deadline: Option<Instant>,
    /// When the first of it came.
    pub(super) began: Instant,
    /// When something of it came at last, or arrived at the peer.
    pub(super) moved: Instant,
    /// Its place among those that hold bytes of an incomplete packet.
    pub(super) age: Option<u64>,
    /// Whether it stands in the row of those that send, that reset, that tell of a window.
    pub(super) in_row: bool,
    pub(super) resets: bool,
    pub(super) tells: bool,
}

impl Exchange {
    pub(super) fn new(now: Instant, ledger: &Ledger) -> Self {
        Self {
            hold: Hold::new(ledger),
            serial: 0,
            going: Going::Nothing,
            stream: SendStream::new(ledger),
            whole: 0,
            coming: ReceiveStream::new(ledger),
            stage: Stage::Awaited,
            deadline: None,
            began: now,
            moved: now,
            age: None,
            in_row: false,
            resets: false,
            tells: false,
        }
    }

    /// Books what it costs beside its content.
    pub(super) fn book(&mut self, eighths: usize) -> bool {
        self.hold.grow_within(Config::EXCHANGE_COST, eighths)
    }

    /// Begins it.
    pub(super) fn begin(&mut self, now: Instant, serial: u64, going: Going, bounds: Bounds, window: u64) {
        (self.serial, self.going, self.began, self.moved) = (serial, going, now, now);
        self.coming.begin(bounds, window);
    }

    /// It has ended: nothing is held for it.
    pub(super) fn clear(&mut self) {
        self.hold.shrink(usize::MAX);
        self.stream.clear();
        self.coming.clear();
        (self.going, self.whole, self.stage) = (Going::Nothing, 0, Stage::Awaited);
        (self.deadline, self.age) = (None, None);
        (self.in_row, self.resets, self.tells) = (false, false, false);
    }

    /// What goes out, if that is a stream.
    #[inline]
    pub(super) const fn stream(&mut self) -> Option<&mut SendStream> {
        match self.going {
            Going::Stream => Some(&mut self.stream),
            Going::Nothing | Going::Reset(_) | Going::Over => None,
        }
    }

    /// How much of what goes out was sent.
    pub(super) fn sent(&self) -> u64 {
        match &self.going {
            Going::Stream => self.stream.sent(),
            Going::Reset(reset) => reset.sent,
            Going::Nothing => 0,
            Going::Over => self.whole,
        }
    }

    /// Whether both directions have ended.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.going, Going::Over) && self.coming.is_over()
    }

    /// What goes out ends here; the peer is told in the order of those that end.
    pub(super) fn stop(
        &mut self,
        number: u64,
        role: Role,
        answer: bool,
        reason: u64,
        resets: &mut VecDeque<u64>,
    ) {
        let sent = if answer == (role == Role::Server) { self.sent() } else { 0 };
        self.going = Going::Reset(Reset { exchange: number, answer, reason, sent });
        if !std::mem::replace(&mut self.resets, true) {
            resets.push_back(number);
        }
    }

    /// It holds no bytes of an incomplete packet any more.
    #[inline]
    pub(super) fn gathers_no_more(&mut self, shared: &mut Shared, association: AssociationId, number: u64) {
        if let Some(age) = self.age.take() {
            shared.gathered((age, association, number));
        }
    }

    /// What is left of a time that was told when the first of it came.
    pub(super) fn left(&self, now: Instant, told: Duration) -> Duration {
        told.saturating_sub(now.saturating_duration_since(self.began))
    }
}
