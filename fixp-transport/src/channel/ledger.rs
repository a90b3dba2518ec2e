//! The bookkeeping of a channel: which request is where, which answer is whose, and what is known of each
//! when time runs out or the connection is cut. No socket, no clock.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;
use std::time::Instant;

use fixp_codec::Packet;

use crate::error::{CallError, Cause, Fate};
use crate::extension::Refusal;

/// How answers find their requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Matching {
    /// In the order of the requests, at most so many under way: a peer of another make.
    InOrder(usize),
    /// By serial, in any order.
    Tagged,
    /// By serial, executed one after the other and never twice, over one connection after another.
    Ordered,
}

/// Whether a request may be sent again when nobody knows if it was executed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Repeat {
    /// It may not.
    #[default]
    Never,
    /// Repeating it is harmless: it is sent again over the next connection, within its time.
    Harmless,
}

/// A request as it comes to the channel.
#[derive(Debug)]
pub(crate) struct Submission<P> {
    pub(crate) id: u64,
    pub(crate) packet: Packet,
    pub(crate) size: usize,
    pub(crate) deadline: Instant,
    pub(crate) repeat: Repeat,
    /// Kept until the request has left the ledger: its place in the channel's limits.
    pub(crate) permit: P,
    /// Whether this is the channel's own request, whose answer nobody takes.
    pub(crate) internal: bool,
}

/// The place of a request in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The serial that says this on the wire where answers are tagged.
    const fn serial(self) -> i64 {
        (self.generation as i64) << 16 | self.index as i64
    }

    const fn of_serial(serial: i64) -> Option<Self> {
        if serial < 0 || serial >> 48 != 0 {
            return None;
        }
        Some(Self { index: (serial & 0xffff) as u32, generation: (serial >> 16) as u32 })
    }
}

/// The most requests of a ledger.
pub(crate) const MAX_REQUESTS: usize = 1 << 16;

/// What a request has come to.
pub(crate) type Outcome = Result<Packet, CallError>;

#[derive(Debug)]
struct Slot<P> {
    generation: u32,
    entry: Option<Entry<P>>,
}

#[derive(Debug)]
struct Entry<P> {
    id: u64,
    state: State,
    packet: Packet,
    size: usize,
    deadline: Instant,
    repeat: Repeat,
    permit: Option<P>,
    internal: bool,
    /// Nobody waits for it any more.
    abandoned: bool,
    waker: Option<Waker>,
    /// What its caller gets before it has ended.
    early: Option<Outcome>,
}

#[derive(Debug)]
enum State {
    Queued,
    /// It ends at this byte of its connection, and has this serial on an ordered channel.
    Sent {
        end: u64,
        serial: i64,
    },
    Done(Outcome),
}

/// What is written with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tag {
    None,
    Serial(i64),
    /// The place on the ordered channel.
    Ordered {
        channel: [u8; 16],
        serial: i64,
        predecessor: i64,
        /// Every answer up to this serial has come.
        answered: i64,
    },
}

/// What becomes of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Matched {
    /// Its request has it.
    Answered,
    /// The answer to a request of the channel's own.
    Internal,
    /// Its request is gone: it came too late.
    Late,
    /// Nobody asked: on a connection without serials it cannot go on.
    Unexpected,
}

/// What is known of the requests of a connection that was cut.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CutReport {
    /// How many requests of the connection were answered.
    pub answered: u64,
    /// The ids of requests that were certainly not sent whole: they go over the next connection.
    pub not_sent: Vec<u64>,
    /// The ids of requests that were sent and may have been executed.
    pub possibly_executed: Vec<u64>,
}

/// The requests of a channel.
#[derive(Debug)]
pub(crate) struct Ledger<P> {
    slots: Vec<Slot<P>>,
    free: Vec<u32>,
    /// Not sent, in their order.
    queue: VecDeque<Key>,
    queued_bytes: usize,
    /// Sent, in their order. (Where answers are tagged, those that are done stay until they are at the front.)
    flight: VecDeque<Key>,
    in_flight: usize,
    matching: Matching,
    next_serial: i64,
    /// The number of the ordered channel.
    channel: u128,
    /// A request of the ordered channel was refused: those behind it will be too.
    broken: bool,
    /// No deadline is earlier.
    earliest: Option<Instant>,
    /// Answers of this connection.
    answered: u64,
    /// Whom to wake, once the ledger is not locked any more.
    pub(crate) woken: Vec<Waker>,
    /// Serials of requests that were given up, to be told to a peer of ours.
    pub(crate) canceled: Vec<i64>,
}

impl<P> Ledger<P> {
    /// A ledger whose first ordered channel has this number, which nobody else should guess.
    pub(crate) fn new(channel: u128) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            flight: VecDeque::new(),
            in_flight: 0,
            matching: Matching::InOrder(1),
            next_serial: 1,
            channel,
            broken: false,
            earliest: None,
            answered: 0,
            woken: Vec::new(),
            canceled: Vec::new(),
        }
    }

    /// A request to be sent. Nothing when there are [`MAX_REQUESTS`] of them.
    pub(crate) fn submit(&mut self, submission: Submission<P>) -> Option<Key> {
        let Submission { id, packet, size, deadline, repeat, permit, internal } = submission;
        let entry = Entry {
            id,
            state: State::Queued,
            packet,
            size,
            deadline,
            repeat,
            permit: Some(permit),
            internal,
            abandoned: internal,
            waker: None,
            early: None,
        };
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() >= MAX_REQUESTS => return None,
            None => {
                self.slots.push(Slot { generation: 0, entry: None });
                (self.slots.len() - 1) as u32
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.entry = Some(entry);
        let key = Key { index, generation: slot.generation };
        self.queue.push_back(key);
        self.queued_bytes += size;
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        Some(key)
    }

    /// How answers are matched from now on. Only while nothing is in flight but on a new connection.
    pub(crate) const fn set_matching(&mut self, matching: Matching) {
        self.matching = matching;
    }

    pub(crate) const fn matching(&self) -> Matching {
        self.matching
    }

    /// Requests that were sent and have no answer.
    pub(crate) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether there is nothing to be sent and nothing to be waited for.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight == 0
    }

    /// The next request to be sent now, and what goes with it.
    pub(crate) fn next(&self) -> Option<(Key, &Packet, Tag, Instant)> {
        if let Matching::InOrder(depth) = self.matching
            && self.in_flight >= depth
        {
            return None;
        }
        let key = *self.queue.front()?;
        let entry = self.entry(key)?;
        let tag = match self.matching {
            Matching::InOrder(_) => Tag::None,
            Matching::Tagged => Tag::Serial(key.serial()),
            Matching::Ordered => {
                // Those that were sent over an earlier connection keep their serials.
                let serial = match entry.state {
                    State::Sent { serial, .. } => serial,
                    // Behind a refused request there is no way to go on but another channel.
                    _ if self.broken => return None,
                    _ => self.next_serial,
                };
                Tag::Ordered {
                    channel: self.channel.to_le_bytes(),
                    serial,
                    predecessor: serial - 1,
                    answered: self.answered_up_to(),
                }
            }
        };
        Some((key, &entry.packet, tag, entry.deadline))
    }

    /// Every answer up to this serial has come.
    fn answered_up_to(&self) -> i64 {
        let oldest = self.flight.front().or(self.queue.front());
        match oldest.and_then(|key| self.entry(*key)).map(|entry| &entry.state) {
            Some(State::Sent { serial, .. }) => serial - 1,
            _ => self.next_serial - 1,
        }
    }

    /// The request that [`Ledger::next`] gave stands in the outbox, and ends at this byte of its connection.
    pub(crate) fn sent(&mut self, end: u64) {
        let Some(key) = self.queue.pop_front() else { return };
        let next_serial = self.next_serial;
        let Some(entry) = self.entry_mut(key) else { return };
        let size = entry.size;
        let mut fresh = false;
        let serial = match entry.state {
            State::Sent { serial, .. } if serial > 0 => serial,
            _ => {
                fresh = true;
                next_serial
            }
        };
        entry.state = State::Sent { end, serial };
        self.next_serial += i64::from(fresh && self.matching == Matching::Ordered);
        self.queued_bytes -= size;
        self.in_flight += 1;
        self.flight.push_back(key);
    }

    /// The request that [`Ledger::next`] gave cannot be sent.
    pub(crate) fn unsendable(&mut self, cause: Cause) {
        if let Some(key) = self.queue.pop_front() {
            self.unqueue(key);
            self.settle(key, Err(CallError::not_sent(cause)));
        }
    }

    fn unqueue(&mut self, key: Key) {
        if let Some(entry) = self.entry(key) {
            self.queued_bytes -= entry.size;
        }
    }

    /// An answer has come.
    pub(crate) fn answer(
        &mut self,
        serial: Option<i64>,
        refusal: Option<Refusal>,
        answer: Packet,
    ) -> Matched {
        let found = match self.matching {
            Matching::InOrder(_) => self.flight.front().copied(),
            Matching::Tagged => serial.and_then(Key::of_serial).filter(|key| self.entry(*key).is_some()),
            Matching::Ordered => serial.and_then(|serial| self.by_serial(serial)),
        };
        let Some(key) = found else {
            return match self.matching {
                Matching::InOrder(_) => Matched::Unexpected,
                _ => Matched::Late,
            };
        };
        let Some(entry) = self.entry(key) else { return Matched::Late };
        if !matches!(entry.state, State::Sent { .. }) {
            return Matched::Late;
        }
        let internal = entry.internal;
        self.answered += 1;
        let outcome = match refusal {
            None => Ok(answer),
            Some(refusal) => {
                let fate = if refusal.is_unexecuted() { Fate::NotSent } else { Fate::PossiblyExecuted };
                Err(CallError { cause: Cause::Refused(refusal), fate })
            }
        };
        self.broken |= refusal.is_some() && self.matching == Matching::Ordered;
        self.settle(key, outcome);
        self.in_flight -= 1;
        self.clear_front();
        self.mend();
        if internal { Matched::Internal } else { Matched::Answered }
    }

    /// Once nothing of a broken ordered channel is under way, a new one begins.
    fn mend(&mut self) {
        let resent = self.queue.front().and_then(|key| self.entry(*key));
        if self.broken
            && self.in_flight == 0
            && !matches!(resent.map(|entry| &entry.state), Some(State::Sent { .. }))
        {
            self.broken = false;
            self.channel = self.channel.wrapping_add(1);
            self.next_serial = 1;
        }
    }

    fn by_serial(&self, wanted: i64) -> Option<Key> {
        let first = match self.entry(*self.flight.front()?)?.state {
            State::Sent { serial, .. } => serial,
            _ => return None,
        };
        let key = *self.flight.get(usize::try_from(wanted.checked_sub(first)?).ok()?)?;
        matches!(self.entry(key)?.state, State::Sent { serial, .. } if serial == wanted).then_some(key)
    }

    /// Requests at the front that are done leave the order.
    fn clear_front(&mut self) {
        while let Some(key) = self.flight.front() {
            if self.entry(*key).is_some_and(|entry| matches!(entry.state, State::Sent { .. })) {
                break;
            }
            self.flight.pop_front();
        }
        // A slow request at the front must not make the rest pile up.
        if self.flight.len() > 2 * self.in_flight + 64 && self.matching == Matching::Tagged {
            let mut flight = mem::take(&mut self.flight);
            flight.retain(|key| {
                self.entry(*key).is_some_and(|entry| matches!(entry.state, State::Sent { .. }))
            });
            self.flight = flight;
        }
    }

    /// Whether any deadline may have passed, and when the next one does.
    pub(crate) const fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// Ends the requests whose time is over; tells whether the connection has to be closed, since a late
    /// answer would go to the wrong caller, or the peer does not answer the channel itself.
    pub(crate) fn expire(&mut self, now: Instant, queued: Cause) -> bool {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return false;
        }
        self.earliest = None;
        let mut close = false;
        for index in 0..self.slots.len() as u32 {
            let slot = &self.slots[index as usize];
            let key = Key { index, generation: slot.generation };
            let Some(entry) = &slot.entry else { continue };
            if entry.deadline > now {
                if !matches!(entry.state, State::Done(_)) && !(entry.abandoned && !entry.internal) {
                    let deadline = entry.deadline;
                    self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
                }
                continue;
            }
            let internal = entry.internal;
            match entry.state {
                State::Done(_) => {}
                State::Queued => {
                    self.queue.retain(|queued| *queued != key);
                    self.unqueue(key);
                    self.settle(key, Err(CallError::not_sent(queued)));
                }
                State::Sent { .. } => {
                    let timeout = Err(CallError::possibly_executed(Cause::Timeout));
                    close |= internal;
                    match self.matching {
                        // The connection is cut at once.
                        Matching::InOrder(_) => {
                            close = true;
                            self.settle(key, timeout);
                        }
                        Matching::Ordered => self.settle_early(key, timeout),
                        Matching::Tagged => {
                            self.drop_sent(key);
                            self.settle(key, timeout);
                        }
                    }
                }
            }
        }
        self.clear_front();
        close
    }

    /// A tagged request that was sent is no longer waited for: its peer is told, if it is still connected.
    fn drop_sent(&mut self, key: Key) {
        match self.queue.iter().position(|queued| *queued == key) {
            Some(at) => {
                self.queue.remove(at);
                self.unqueue(key);
            }
            None => self.in_flight -= 1,
        }
        if self.canceled.len() < MAX_REQUESTS {
            self.canceled.push(key.serial());
        }
    }

    /// The connection is gone, after so many bytes of it were written. What is certainly not sent goes over
    /// the next one, as does what may be repeated.
    pub(crate) fn cut(&mut self, cause: Cause, written: u64) -> CutReport {
        let mut report = CutReport { answered: mem::take(&mut self.answered), ..CutReport::default() };
        let mut again = VecDeque::new();
        for key in mem::take(&mut self.flight) {
            let ordered = self.matching == Matching::Ordered;
            let Some(entry) = self.entry_mut(key) else { continue };
            let State::Sent { end, .. } = entry.state else { continue };
            let whole = end <= written;
            if !entry.internal {
                if whole { &mut report.possibly_executed } else { &mut report.not_sent }.push(entry.id);
            }
            // On an ordered channel what was sent keeps its place even if nobody waits: others come behind it.
            let repeat = ordered || !entry.abandoned && (!whole || entry.repeat == Repeat::Harmless);
            if repeat && !entry.internal {
                if !ordered {
                    entry.state = State::Queued;
                }
                let size = entry.size;
                self.queued_bytes += size;
                again.push_back(key);
                continue;
            }
            let fate = if whole { Fate::PossiblyExecuted } else { Fate::NotSent };
            self.settle(key, Err(CallError { cause, fate }));
        }
        self.in_flight = 0;
        self.canceled.clear();
        again.append(&mut self.queue);
        self.queue = again;
        // The channel's own requests belong to one connection.
        let internal: Vec<Key> = self
            .queue
            .iter()
            .copied()
            .filter(|key| self.entry(*key).is_some_and(|entry| entry.internal))
            .collect();
        for key in internal {
            self.queue.retain(|queued| *queued != key);
            self.unqueue(key);
            self.settle(key, Err(CallError::not_sent(cause)));
        }
        report
    }

    /// Ends every request: the channel is closed, or cannot be what it should.
    pub(crate) fn fail_all(&mut self, cause: Cause) {
        for key in mem::take(&mut self.queue) {
            let fate = match self.entry(key).map(|entry| &entry.state) {
                Some(State::Sent { .. }) => Fate::PossiblyExecuted,
                _ => Fate::NotSent,
            };
            self.settle(key, Err(CallError { cause, fate }));
        }
        for key in mem::take(&mut self.flight) {
            self.settle(key, Err(CallError::possibly_executed(cause)));
        }
        self.in_flight = 0;
        self.queued_bytes = 0;
        self.broken = true;
        self.mend();
    }

    /// The caller has its outcome, while the request keeps its place on its ordered channel.
    fn settle_early(&mut self, key: Key, outcome: Outcome) {
        let Some(entry) = self.entry_mut(key) else { return };
        if !entry.abandoned && entry.early.is_none() {
            entry.early = Some(outcome);
            let waker = entry.waker.take();
            self.woken.extend(waker);
        }
    }

    /// A request's end, unless it has one.
    fn settle(&mut self, key: Key, outcome: Outcome) {
        let Some(entry) = self.entry_mut(key) else { return };
        if matches!(entry.state, State::Done(_)) {
            return;
        }
        if entry.abandoned {
            self.remove(key);
            return;
        }
        entry.state = State::Done(entry.early.take().unwrap_or(outcome));
        entry.permit = None;
        let waker = entry.waker.take();
        self.woken.extend(waker);
    }

    /// What the request has come to, if anything; else the waker is kept.
    pub(crate) fn poll(&mut self, key: Key, waker: &Waker) -> Option<Outcome> {
        let entry = self.entry_mut(key)?;
        if matches!(entry.state, State::Done(_)) {
            let entry = self.remove(key)?;
            return match entry.state {
                State::Done(outcome) => Some(outcome),
                _ => None,
            };
        }
        if let Some(outcome) = entry.early.take() {
            entry.abandoned = true;
            return Some(outcome);
        }
        match &mut entry.waker {
            Some(kept) if kept.will_wake(waker) => {}
            kept => *kept = Some(waker.clone()),
        }
        None
    }

    /// The caller has gone.
    pub(crate) fn cancel(&mut self, key: Key) {
        let tagged = self.matching == Matching::Tagged;
        let Some(entry) = self.entry_mut(key) else { return };
        match entry.state {
            State::Done(_) => {
                self.remove(key);
            }
            State::Queued => {
                self.queue.retain(|queued| *queued != key);
                self.unqueue(key);
                self.remove(key);
            }
            State::Sent { .. } if tagged => {
                self.drop_sent(key);
                self.remove(key);
                self.clear_front();
            }
            // Its answer is still to come, and must not be taken for another's.
            State::Sent { .. } => entry.abandoned = true,
        }
    }

    fn remove(&mut self, key: Key) -> Option<Entry<P>> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        let entry = slot.entry.take()?;
        self.free.push(key.index);
        Some(entry)
    }

    fn entry(&self, key: Key) -> Option<&Entry<P>> {
        self.slots.get(key.index as usize).filter(|slot| slot.generation == key.generation)?.entry.as_ref()
    }

    fn entry_mut(&mut self, key: Key) -> Option<&mut Entry<P>> {
        self.slots
            .get_mut(key.index as usize)
            .filter(|slot| slot.generation == key.generation)?
            .entry
            .as_mut()
    }
}
