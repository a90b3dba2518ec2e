//! The bookkeeping of a channel: which request is where, which answer is whose, and what is known of each
//! when time runs out or the connection is cut. No socket, no clock, no lock.

use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

use fixp_codec::Packet;

use crate::Repeat;
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

/// A request as it comes to the channel.
#[derive(Debug)]
pub(crate) struct Submission<W> {
    pub(crate) id: u64,
    pub(crate) packet: Packet,
    pub(crate) size: usize,
    /// When it was asked for.
    pub(crate) since: Instant,
    pub(crate) deadline: Instant,
    pub(crate) repeat: Repeat,
    pub(crate) tag: u64,
    /// Who gets the outcome; nobody for a request of the channel's own.
    pub(crate) waiter: Option<W>,
}

/// The place of a request in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
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
struct Slot<W> {
    generation: u32,
    entry: Option<Entry<W>>,
}

#[derive(Debug)]
struct Entry<W> {
    id: u64,
    state: State,
    packet: Packet,
    size: usize,
    since: Instant,
    deadline: Instant,
    repeat: Repeat,
    tag: u64,
    internal: bool,
    /// The whole head of a copy went over an earlier connection: whatever becomes of this one, it may be executed.
    copied: bool,
    /// Nobody, once the caller has gone or has its outcome.
    waiter: Option<W>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Queued,
    /// Its head ends at this byte of its connection: a server that does not wait for the entity, as none does for
    /// a large one, may begin it then. It has this serial on an ordered channel. (In the queue: it was sent over
    /// an earlier connection, and keeps its serial.)
    Sent {
        head: u64,
        serial: i64,
    },
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

/// What is known of the requests of a channel whose connection was cut.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CutReport {
    /// How many requests of the connection were answered.
    pub answered: u64,
    /// The [tags](crate::CallOptions::tag) of requests of which not even the head was sent whole, those that waited for
    /// their turn included: they go over the next connection, if there is one and their callers still wait. (Who waits
    /// for room in the channel is not in it yet.)
    pub not_sent: Vec<u64>,
    /// The tags of requests that were sent, over this connection or one before, and may have been executed.
    pub possibly_executed: Vec<u64>,
}

/// The requests of a channel. `W` is who waits for an outcome.
#[derive(Debug)]
pub(crate) struct Ledger<W> {
    slots: Vec<Slot<W>>,
    free: Vec<u32>,
    /// Not sent, in their order.
    queue: VecDeque<Key>,
    queued_bytes: usize,
    /// Sent, in their order. Those that have ended stay until they are at the front.
    flight: VecDeque<Key>,
    in_flight: usize,
    matching: Matching,
    next_serial: i64,
    /// The number of the ordered channel.
    channel: u128,
    /// The server has said that it remembers the ordered channel.
    opened: bool,
    /// A request of the ordered channel was refused: those behind it will be too.
    broken: bool,
    /// No deadline is earlier.
    earliest: Option<Instant>,
    /// Answers of this connection.
    answered: u64,
    /// What has come of requests, for those who wait.
    pub(crate) ended: VecDeque<(W, Outcome)>,
    /// Requests that have left, and their bytes.
    pub(crate) freed: (usize, usize),
    /// Serials of requests that were given up, to be told to a peer of ours.
    pub(crate) canceled: Vec<i64>,
}

impl<W> Ledger<W> {
    /// A ledger whose first ordered channel has this number, which nobody else should guess.
    pub(crate) fn new(channel: u128, matching: Matching) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            flight: VecDeque::new(),
            in_flight: 0,
            matching,
            next_serial: 1,
            channel,
            opened: false,
            broken: false,
            earliest: None,
            answered: 0,
            ended: VecDeque::new(),
            freed: (0, 0),
            canceled: Vec::new(),
        }
    }

    /// A request to be sent. With [`MAX_REQUESTS`] of them it fails at once.
    pub(crate) fn submit(&mut self, submission: Submission<W>) {
        let Submission { id, packet, size, since, deadline, repeat, tag, waiter } = submission;
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() >= MAX_REQUESTS => {
                self.freed = (self.freed.0 + 1, self.freed.1 + size);
                self.ended.extend(waiter.map(|waiter| (waiter, Err(CallError::not_sent(Cause::Full)))));
                return;
            }
            None => {
                self.slots.push(Slot { generation: 0, entry: None });
                (self.slots.len() - 1) as u32
            }
        };
        let internal = waiter.is_none();
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.entry = Some(Entry {
            id,
            state: State::Queued,
            packet,
            size,
            since,
            deadline,
            repeat,
            tag,
            internal,
            copied: false,
            waiter,
        });
        self.queue.push_back(Key { index, generation: slot.generation });
        self.queued_bytes += size;
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    /// Whether an ordered channel is to be opened before anything else goes.
    ///
    /// Its first request is a heartbeat, and nothing follows before its answer: a first request that is sent
    /// again would open a forgotten channel anew and be executed once more, and to this one that does nothing.
    pub(crate) fn wants_opening(&self) -> bool {
        let waiting =
            self.queue.front().and_then(|key| self.entry(*key)).is_some_and(|entry| !entry.internal);
        self.matching == Matching::Ordered && !self.opened && !self.broken && self.in_flight == 0 && waiting
    }

    /// The request that opens it.
    pub(crate) fn open(&mut self, opening: Submission<W>) {
        self.submit(opening);
        if let Some(opening) = self.queue.pop_back() {
            self.queue.push_front(opening);
        }
    }

    /// How answers are matched from now on. An ordered ledger stays one.
    pub(crate) const fn set_matching(&mut self, matching: Matching) {
        if !matches!(self.matching, Matching::Ordered) {
            self.matching = matching;
        }
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

    /// Since when the first of those that are not sent waits.
    pub(crate) fn queued_since(&self) -> Option<Instant> {
        self.queue.front().and_then(|key| self.entry(*key)).map(|entry| entry.since)
    }

    /// Whether there is nothing to be sent and nothing to be waited for.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight == 0
    }

    /// The next request to be sent now, what goes with it, and its deadline.
    pub(crate) fn next(&self) -> Option<(&Packet, Tag, Instant)> {
        if let Matching::InOrder(depth) = self.matching
            && self.in_flight >= depth
        {
            return None;
        }
        let key = *self.queue.front()?;
        let entry = self.entry(key)?;
        if self.matching == Matching::Ordered && !self.opened && !entry.internal {
            return None;
        }
        let tag = match self.matching {
            Matching::InOrder(_) => Tag::None,
            Matching::Tagged => Tag::Serial(key.serial()),
            Matching::Ordered => {
                let serial = match entry.state {
                    State::Sent { serial, .. } => serial,
                    // Behind a refused request there is no way to go on but another channel.
                    State::Queued if self.broken => return None,
                    State::Queued => self.next_serial,
                };
                Tag::Ordered {
                    channel: self.channel.to_le_bytes(),
                    serial,
                    predecessor: serial - 1,
                    answered: self.answered_up_to(),
                }
            }
        };
        Some((&entry.packet, tag, entry.deadline))
    }

    /// Every answer up to this serial has come.
    fn answered_up_to(&self) -> i64 {
        let oldest = self.flight.front().or(self.queue.front());
        match oldest.and_then(|key| self.entry(*key)).map(|entry| entry.state) {
            Some(State::Sent { serial, .. }) => serial - 1,
            _ => self.next_serial - 1,
        }
    }

    /// The request that [`Ledger::next`] gave stands in the outbox, and its head ends at this byte of its connection.
    pub(crate) fn sent(&mut self, head: u64) {
        let Some(key) = self.queue.pop_front() else { return };
        let (ordered, next_serial) = (self.matching == Matching::Ordered, self.next_serial);
        let Some(entry) = self.entry_mut(key) else { return };
        let (size, fresh) = (entry.size, entry.state == State::Queued);
        let serial = match entry.state {
            State::Sent { serial, .. } => serial,
            State::Queued => next_serial,
        };
        entry.state = State::Sent { head, serial };
        self.next_serial += i64::from(ordered && fresh);
        self.queued_bytes -= size;
        self.in_flight += 1;
        self.flight.push_back(key);
    }

    /// The request that [`Ledger::next`] gave cannot be sent.
    pub(crate) fn unsendable(&mut self, cause: Cause) {
        if let Some(key) = self.queue.pop_front() {
            self.end_queued(key, Err(CallError::not_sent(cause)));
        }
    }

    /// An answer has come.
    pub(crate) fn answer(
        &mut self,
        serial: Option<i64>,
        refusal: Option<Refusal>,
        outcome: Outcome,
    ) -> Matched {
        let found = match self.matching {
            Matching::InOrder(_) => self.flight.front().copied(),
            Matching::Tagged => serial.and_then(Key::of_serial),
            Matching::Ordered => serial.and_then(|serial| self.by_serial(serial)),
        };
        let sent = |key: &Key| self.entry(*key).is_some_and(|entry| entry.state != State::Queued);
        let Some(key) = found.filter(sent) else {
            return match self.matching {
                Matching::InOrder(_) => Matched::Unexpected,
                Matching::Tagged | Matching::Ordered => Matched::Late,
            };
        };
        let internal = self.entry(key).is_some_and(|entry| entry.internal);
        self.answered += u64::from(!internal);
        // What was sent before, `tell` knows.
        let outcome = refusal.map_or(outcome, |refusal| Err(CallError::refused(refusal)));
        let ordered = self.matching == Matching::Ordered;
        self.broken |= ordered && refusal.is_some_and(|refusal| !refusal.keeps_place());
        if ordered && internal {
            // A request that has its place there says that the server knows the channel, whatever its answer.
            self.opened = refusal.is_none_or(Refusal::keeps_place);
            if let Err(error) = outcome
                && !self.opened
            {
                // There is no channel for those that wait for it.
                for key in mem::take(&mut self.queue) {
                    self.end_queued(key, Err(CallError::not_sent(error.cause)));
                }
            }
        }
        self.end(key, outcome);
        self.in_flight -= 1;
        self.clear_front();
        self.mend();
        if internal { Matched::Internal } else { Matched::Answered }
    }

    /// Nothing has been sent for so long that the server may have forgotten the ordered channel: the next
    /// request opens another.
    pub(crate) fn restart(&mut self) {
        if self.matching == Matching::Ordered && self.opened && self.in_flight == 0 {
            self.broken = true;
            self.mend();
        }
    }

    /// Once nothing of a broken ordered channel is under way, a new one begins.
    fn mend(&mut self) {
        let next = self.queue.front().and_then(|key| self.entry(*key)).map(|entry| entry.state);
        if self.broken && self.in_flight == 0 && !matches!(next, Some(State::Sent { .. })) {
            self.broken = false;
            self.opened = false;
            self.channel = self.channel.wrapping_add(1);
            self.next_serial = 1;
        }
    }

    fn by_serial(&self, wanted: i64) -> Option<Key> {
        let State::Sent { serial: first, .. } = self.entry(*self.flight.front()?)?.state else { return None };
        let is_it = |key: &&Key| {
            let state = self.entry(**key).map(|entry| entry.state);
            matches!(state, Some(State::Sent { serial, .. }) if serial == wanted)
        };
        let near = usize::try_from(wanted.checked_sub(first)?).ok()?;
        // Where some were refused before a cut, those behind them are nearer.
        self.flight.get(near).filter(is_it).or_else(|| self.flight.iter().find(is_it)).copied()
    }

    /// Requests at the front that have ended leave the order.
    fn clear_front(&mut self) {
        while self.flight.front().is_some_and(|key| self.entry(*key).is_none()) {
            self.flight.pop_front();
        }
        // A slow request at the front must not make the rest pile up, even at a peer that answers an ordered
        // channel out of order.
        if self.flight.len() > 2 * self.in_flight + 64 {
            let mut flight = mem::take(&mut self.flight);
            flight.retain(|key| self.entry(*key).is_some());
            self.flight = flight;
        }
    }

    /// When the next deadline may pass.
    pub(crate) const fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// Ends the requests whose time is over, those that were not sent for this cause; so many bytes of the connection
    /// were written. Tells whether the connection has to be closed, since a late answer would go to the wrong caller, or the peer does not
    /// answer the channel itself.
    pub(crate) fn expire(&mut self, now: Instant, queued: Cause, written: u64) -> bool {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return false;
        }
        self.earliest = None;
        let mut close = false;
        for index in 0..self.slots.len() as u32 {
            let slot = &self.slots[index as usize];
            let key = Key { index, generation: slot.generation };
            let Some(entry) = &slot.entry else { continue };
            // Where answers come in order, those behind one wait for it even if its caller has gone.
            let awaited = matches!(self.matching, Matching::InOrder(_)) && entry.state != State::Queued;
            if entry.waiter.is_none() && !entry.internal && !awaited {
                continue;
            }
            if entry.deadline > now {
                let deadline = entry.deadline;
                self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
                continue;
            }
            let State::Sent { head, .. } = entry.state else {
                self.unqueue(key);
                self.end_queued(key, Err(CallError::not_sent(queued)));
                continue;
            };
            close |= entry.internal || matches!(self.matching, Matching::InOrder(_));
            let timeout = CallError::possibly_executed(Cause::Timeout);
            match self.matching {
                Matching::Tagged => self.give_up(key, Some(timeout)),
                // It keeps its place: in the order of the answers until the connection is cut, which is at
                // once, or on the ordered channel until it is answered.
                Matching::InOrder(_) if head > written => {
                    self.tell(key, Err(CallError::not_sent(Cause::Timeout)));
                }
                Matching::InOrder(_) | Matching::Ordered => self.tell(key, Err(timeout)),
            }
        }
        self.clear_front();
        close
    }

    /// A tagged request that was sent is no longer waited for: its peer is told.
    fn give_up(&mut self, key: Key, error: Option<CallError>) {
        if let Some(error) = error {
            self.tell(key, Err(error));
        }
        self.in_flight -= 1;
        self.remove(key);
        if self.canceled.len() < MAX_REQUESTS {
            self.canceled.push(key.serial());
        }
    }

    /// The connection is gone, after so many bytes of it were written. What is certainly not sent goes over
    /// the next one, as does what may be repeated. On an ordered channel what is not sent again counts as answered:
    /// those behind it go on, or are told that it never came.
    pub(crate) fn cut(&mut self, cause: Cause, written: u64) -> CutReport {
        let mut report = CutReport { answered: mem::take(&mut self.answered), ..CutReport::default() };
        let ordered = self.matching == Matching::Ordered;
        // What came in place of an answer would come again, and cost all others this connection, too.
        let repeats = !matches!(cause, Cause::Decode(_) | Cause::Unexpected);
        let mut again = VecDeque::new();
        for key in mem::take(&mut self.flight).into_iter().chain(mem::take(&mut self.queue)) {
            let Some(entry) = self.entry_mut(key) else { continue };
            let sent = match entry.state {
                State::Sent { head, .. } if head != UNSENT => Some(head),
                _ => None,
            };
            let begun = sent.is_some_and(|head| head <= written);
            if !entry.internal && (sent.is_some() || entry.waiter.is_some()) {
                if begun || entry.copied { &mut report.possibly_executed } else { &mut report.not_sent }
                    .push(entry.tag);
            }
            if sent.is_none() {
                if entry.internal {
                    // The channel's own requests belong to one connection.
                    self.end_queued(key, Err(CallError::not_sent(cause)));
                } else {
                    again.push_back(key);
                }
                continue;
            }
            // On an ordered channel what was sent keeps its place even if nobody waits: others come behind it.
            let wanted = ordered || entry.waiter.is_some() && (!begun || entry.repeat == Repeat::Harmless);
            if !entry.internal && wanted && (!begun || repeats) {
                entry.state = match entry.state {
                    State::Sent { serial, .. } if ordered => State::Sent { head: UNSENT, serial },
                    _ => State::Queued,
                };
                entry.copied |= begun;
                self.queued_bytes += entry.size;
                again.push_back(key);
                continue;
            }
            let fate = if begun { Fate::PossiblyExecuted } else { Fate::NotSent };
            self.end(key, Err(CallError { cause, fate }));
        }
        if !self.opened {
            // Only the opening can have had a serial.
            self.next_serial = 1;
        }
        self.queue = again;
        self.in_flight = 0;
        self.canceled.clear();
        self.mend();
        report
    }

    /// Ends every request: the channel is closed, or cannot be what it should.
    pub(crate) fn fail_all(&mut self, cause: Cause) {
        for key in mem::take(&mut self.queue).into_iter().chain(mem::take(&mut self.flight)) {
            let sent = self.entry(key).is_some_and(|entry| entry.state != State::Queued);
            let fate = if sent { Fate::PossiblyExecuted } else { Fate::NotSent };
            self.end(key, Err(CallError { cause, fate }));
        }
        self.in_flight = 0;
        self.queued_bytes = 0;
        self.broken = true;
        self.mend();
    }

    /// The caller of the request with this id has gone.
    pub(crate) fn cancel(&mut self, id: u64) {
        // Rare, so a look at all of them is as good as another table.
        let found = self.slots.iter().zip(0..).find_map(|(slot, index)| {
            let waits = slot.entry.as_ref().is_some_and(|entry| entry.id == id && !entry.internal);
            waits.then_some(Key { index, generation: slot.generation })
        });
        let Some(key) = found else { return };
        let tagged = self.matching == Matching::Tagged;
        let Some(entry) = self.entry_mut(key) else { return };
        entry.waiter = None;
        match entry.state {
            State::Queued => {
                self.unqueue(key);
                self.end_queued(key, Err(CallError::not_sent(Cause::Closed)));
            }
            State::Sent { .. } if tagged => {
                self.give_up(key, None);
                self.clear_front();
            }
            // Its answer is still to come, and must not be taken for another's.
            State::Sent { .. } => {}
        }
    }

    /// Checks what must always hold; the requests of others in it, and their bytes.
    #[cfg(feature = "properties")]
    pub(crate) fn check(&self) -> (usize, usize) {
        let entries = || self.slots.iter().filter_map(|slot| slot.entry.as_ref());
        let queued: Vec<_> = self.queue.iter().filter_map(|key| self.entry(*key)).collect();
        assert_eq!(queued.len(), self.queue.len(), "what has ended is not in the queue");
        assert_eq!(queued.iter().map(|entry| entry.size).sum::<usize>(), self.queued_bytes);
        assert_eq!(self.flight.iter().filter(|key| self.entry(**key).is_some()).count(), self.in_flight);
        assert_eq!(entries().count(), self.queue.len() + self.in_flight, "each is in one place");
        assert_eq!(self.free.len() + entries().count(), self.slots.len(), "each place is used again");
        let most = 2 * self.in_flight + 64;
        assert!(self.flight.len() <= most, "{} of {} in flight", self.in_flight, self.flight.len());
        let others = || entries().filter(|entry| !entry.internal);
        (others().count(), others().map(|entry| entry.size).sum())
    }

    fn unqueue(&mut self, key: Key) {
        self.queue.retain(|queued| *queued != key);
    }

    /// The end of a request that has just left the queue.
    fn end_queued(&mut self, key: Key, outcome: Outcome) {
        self.queued_bytes -= self.entry(key).map_or(0, |entry| entry.size);
        self.end(key, outcome);
    }

    /// The end of a request.
    fn end(&mut self, key: Key, outcome: Outcome) {
        self.tell(key, outcome);
        self.remove(key);
    }

    /// Whoever waits has the outcome.
    fn tell(&mut self, key: Key, outcome: Outcome) {
        let Some(entry) = self.entry_mut(key) else { return };
        let copied = entry.copied;
        let Some(waiter) = entry.waiter.take() else { return };
        let outcome = outcome.map_err(|error| match error.fate {
            Fate::NotSent if copied => CallError::possibly_executed(error.cause),
            _ => error,
        });
        self.ended.push_back((waiter, outcome));
    }

    fn remove(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(key.index as usize) else { return };
        if slot.generation == key.generation
            && let Some(entry) = slot.entry.take()
        {
            self.free.push(key.index);
            if !entry.internal {
                self.freed = (self.freed.0 + 1, self.freed.1 + entry.size);
            }
        }
    }

    fn entry(&self, key: Key) -> Option<&Entry<W>> {
        self.slots.get(key.index as usize).filter(|slot| slot.generation == key.generation)?.entry.as_ref()
    }

    fn entry_mut(&mut self, key: Key) -> Option<&mut Entry<W>> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.entry.as_mut() } else { None }
    }
}

/// The end of a request that was sent over an earlier connection, and not yet over this one.
const UNSENT: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fixp_codec::laxcus6::{answer, notify};

    use super::*;

    fn submission(id: u64, waiter: Option<u64>) -> Submission<u64> {
        let (packet, since) = (Packet::new(notify::TEST), Instant::now());
        let deadline = since + Duration::from_secs(60);
        Submission { id, packet, size: 1, since, deadline, repeat: Repeat::Never, tag: id, waiter }
    }

    fn okay() -> Packet {
        Packet::new(answer::OKAY)
    }

    /// SPEC 10.5: it was executed, over a connection before, and its answer is gone.
    #[test]
    fn an_opening_that_is_not_kept_opens() {
        let mut ledger = Ledger::new(1, Matching::Ordered);
        ledger.submit(submission(1, Some(1)));
        ledger.open(submission(0, None));
        ledger.sent(10);
        assert!(ledger.next().is_none(), "nothing goes before it is answered");
        assert_eq!(ledger.answer(Some(1), Some(Refusal::NotKept), Ok(okay())), Matched::Internal);
        assert!(ledger.ended.is_empty(), "{:?}", ledger.ended);
        assert!(matches!(ledger.next(), Some((_, Tag::Ordered { serial: 2, predecessor: 1, .. }, _))));
    }

    #[test]
    fn answers_out_of_order_pile_up_nothing() {
        for (matching, first) in [(Matching::Ordered, 2), (Matching::Tagged, 1_i64 << 16)] {
            let mut ledger = Ledger::new(1, matching);
            if matching == Matching::Ordered {
                ledger.open(submission(0, None));
                ledger.sent(10);
                ledger.answer(Some(1), None, Ok(okay()));
            }
            // The first one is never answered.
            for id in 0..1000 {
                ledger.submit(submission(id, Some(id)));
                let tag = ledger.next().map(|(_, tag, _)| tag);
                ledger.sent(20 + id);
                let Some(Tag::Serial(serial) | Tag::Ordered { serial, .. }) = tag else { panic!("{tag:?}") };
                if serial != first {
                    assert_eq!(ledger.answer(Some(serial), None, Ok(okay())), Matched::Answered);
                }
            }
            assert_eq!((ledger.in_flight(), ledger.ended.len()), (1, 999));
            assert!(ledger.flight.len() <= 2 + 64, "{} in flight", ledger.flight.len());
        }
    }
}
