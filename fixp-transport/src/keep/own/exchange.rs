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
        // Nothing of it is sent any more.
        self.stream.clear();
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fixp_codec::LAXCUS6;

    use super::super::receive_stream::Received;
    use super::*;

    /// One that is used again is as a new one, however the one before it ended.
    #[test]
    fn cleared_is_new() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let ledger = Ledger::new(1 << 20);
        let bounds = Bounds { dialect: &LAXCUS6, head: 1000, entity: 1000, gather: 100 };
        // An answer with an entity of 40 bytes that is gathered, and one of 400 that is read.
        let head = |len: u8, more: u8| [0xc7, 0, 1, 0xf2, 3, 1, 0, 0xfc, 3, 1 + more, 0x50, len, more];
        for (going, entity, at) in [
            (Going::Stream, 40, 0),
            (Going::Over, 40, 5),
            (Going::Reset(Reset { exchange: 1, answer: true, reason: 2, sent: 3 }), 144, 0),
            (Going::Nothing, 144, 5),
        ] {
            let mut used = Exchange::new(now, &ledger);
            assert!(used.book(8));
            used.begin(now, 1, going, bounds, 500);
            assert!(used.stream.begin((b"head", Bytes::from_static(b"entity")), 30, (20, 10), 8));
            let mut more = Bytes::from_static(b"more than there is room for");
            assert!(!used.stream.write(&mut more));
            used.stream.on_sent(0..10);
            used.stream.on_acked(2..3);
            used.stream.on_lost(0..6);
            let bytes = if entity == 40 { head(40, 0)[..12].to_vec() } else { head(144, 1).to_vec() };
            let mut received = Received::default();
            let some = bytes.get(at..).unwrap_or_default();
            let _ = used.coming.receive(at as u64, some, false, &mut received);
            let _ = used.coming.receive(100, &[7; 9], false, &mut received);
            used.coming.settle();
            (used.whole, used.stage, used.age) = (9, Stage::Told, Some(4));
            (used.deadline, used.moved, used.began) = (Some(later), later, later);
            (used.in_row, used.resets, used.tells) = (true, true, true);
            used.clear();
            assert_eq!(ledger.held(), 0, "{going:?}, {entity}");
            let mut new = Exchange::new(now, &ledger);
            for exchange in [&mut used, &mut new] {
                exchange.begin(later, 2, Going::Nothing, bounds, 600);
            }
            assert_eq!(format!("{used:?}"), format!("{new:?}"));
        }
    }
}
