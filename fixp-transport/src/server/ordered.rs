//! What a server remembers of ordered channels: each request runs once and after its predecessor, and a
//! repeat is answered from what was kept (SPEC 10.5). No clock, no socket, and nothing is executed here.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use fixp_codec::Packet;

use super::connection::Ordered;
use crate::extension::Refusal;
use crate::limits::ServerLimits;

/// All ordered channels. `W` is who waits for an answer, `R` what is to be executed.
#[derive(Debug)]
pub(crate) struct OrderedChannels<W, R> {
    limits: Bounds,
    channels: BTreeMap<[u8; 16], Channel<W, R>>,
    /// When all were last looked at for those to be forgotten.
    swept: Option<Instant>,
}

/// One who waits for an answer, and may have gone.
pub(crate) trait Waits {
    fn has_gone(&self) -> bool;
}

impl<T> Waits for tokio::sync::oneshot::Sender<T> {
    fn has_gone(&self) -> bool {
        self.is_closed()
    }
}

/// What a kept answer costs beside its bytes.
const KEPT: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Bounds {
    waiting: usize,
    channels: usize,
    bytes: usize,
    time: Duration,
}

#[derive(Debug)]
struct Channel<W, R> {
    /// The serial of the last request that was taken.
    last: i64,
    /// The request that runs, and those behind it.
    waiting: VecDeque<Waiting<W, R>>,
    /// Answers that the peer may not have, oldest first.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    touched: Instant,
}

#[derive(Debug)]
struct Waiting<W, R> {
    serial: i64,
    /// Taken out when it runs.
    request: Option<R>,
    /// All who asked, over one connection after another. Which of these is the last nobody knows: what was sent
    /// over an earlier one may come later.
    waiters: Vec<W>,
}

#[derive(Debug)]
struct Kept {
    serial: i64,
    /// Nothing where the request had no answer.
    answer: Option<Packet>,
    bytes: usize,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<R> {
    /// It is to be executed now, and [`OrderedChannels::finished`] called at its end.
    Run(R),
    /// It waits for its predecessor, or runs already: its waiter will be told.
    Wait,
    /// It ran before, and this was the answer.
    Kept(Option<Packet>),
    /// It is not executed.
    Refused(Refusal),
}

/// The end of a request.
#[derive(Debug)]
pub(crate) struct Finished<W, R> {
    /// Who waits for it.
    pub(crate) waiters: Vec<W>,
    /// What is to be executed next on the channel.
    pub(crate) next: Option<R>,
}

impl<W: Waits, R> OrderedChannels<W, R> {
    pub(crate) fn new(limits: &ServerLimits) -> Self {
        let limits = Bounds {
            waiting: limits.requests_per_connection,
            channels: limits.ordered_channels,
            bytes: limits.ordered_bytes,
            time: limits.ordered_time,
        };
        Self { limits, channels: BTreeMap::new(), swept: None }
    }

    /// Forgets everything: the server has ended. Tells how many requests have not.
    pub(crate) fn clear(&mut self) -> usize {
        let channels = std::mem::take(&mut self.channels);
        channels.values().map(|channel| channel.waiting.len()).sum()
    }

    /// A request has come. With [`Verdict::Run`] and [`Verdict::Wait`] the waiter is kept; with the others
    /// it is given back.
    pub(crate) fn submit(
        &mut self,
        now: Instant,
        place: Ordered,
        request: R,
        waiter: W,
    ) -> (Verdict<R>, Option<W>) {
        self.forget(now);
        let Ordered { channel: id, serial, predecessor, answered } = place;
        if !self.channels.contains_key(&id) {
            if predecessor != 0 {
                return (Verdict::Refused(Refusal::Forgotten), Some(waiter));
            }
            if !self.make_room() {
                return (Verdict::Refused(Refusal::Overloaded), Some(waiter));
            }
        }
        let channel = self.channels.entry(id).or_insert_with(|| Channel {
            last: 0,
            waiting: VecDeque::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            touched: now,
        });
        channel.touched = now;
        while channel.kept.front().is_some_and(|kept| kept.serial <= answered) {
            channel.drop_oldest();
        }
        if serial <= channel.last {
            if let Some(known) = channel.waiting.iter_mut().find(|waiting| waiting.serial == serial) {
                // Those who asked over connections that were cut are not kept.
                known.waiters.retain(|waiter| !waiter.has_gone());
                known.waiters.push(waiter);
                return (Verdict::Wait, None);
            }
            return match channel.kept.iter().find(|kept| kept.serial == serial) {
                Some(kept) => (Verdict::Kept(kept.answer.clone()), Some(waiter)),
                None => (Verdict::Refused(Refusal::NotKept), Some(waiter)),
            };
        }
        if predecessor != channel.last {
            return (Verdict::Refused(Refusal::Gap), Some(waiter));
        }
        if channel.waiting.len() >= self.limits.waiting {
            return (Verdict::Refused(Refusal::Overloaded), Some(waiter));
        }
        channel.last = serial;
        if channel.waiting.is_empty() {
            channel.waiting.push_back(Waiting { serial, request: None, waiters: vec![waiter] });
            return (Verdict::Run(request), None);
        }
        channel.waiting.push_back(Waiting { serial, request: Some(request), waiters: vec![waiter] });
        (Verdict::Wait, None)
    }

    /// The request that ran on this channel has ended with this answer, of so many bytes.
    pub(crate) fn finished(
        &mut self,
        now: Instant,
        id: [u8; 16],
        answer: Option<&Packet>,
        bytes: usize,
    ) -> Finished<W, R> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Finished { waiters: Vec::new(), next: None };
        };
        channel.touched = now;
        let Some(done) = channel.waiting.pop_front() else {
            return Finished { waiters: Vec::new(), next: None };
        };
        let bytes = bytes + KEPT;
        channel.kept.push_back(Kept { serial: done.serial, answer: answer.cloned(), bytes });
        channel.kept_bytes += bytes;
        while channel.kept_bytes > self.limits.bytes {
            channel.drop_oldest();
        }
        let next = channel.waiting.front_mut().and_then(|next| next.request.take());
        Finished { waiters: done.waiters, next }
    }

    /// How many channels there are, the most requests that one has waiting, and the most bytes that one keeps.
    #[cfg(feature = "properties")]
    pub(crate) fn held(&self) -> (usize, usize, usize) {
        let waiting = self.channels.values().map(|channel| channel.waiting.len()).max();
        for channel in self.channels.values() {
            let bytes: usize = channel.kept.iter().map(|kept| kept.bytes).sum();
            assert_eq!(bytes, channel.kept_bytes, "the bytes kept are those counted");
        }
        let bytes = self.channels.values().map(|channel| channel.kept_bytes).max();
        (self.channels.len(), waiting.unwrap_or(0), bytes.unwrap_or(0))
    }

    /// Forgets channels that have been silent for too long. One that works is never forgotten.
    fn forget(&mut self, now: Instant) {
        // Looking at all of them each time would be slow.
        let time = self.limits.time;
        if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= time / 4) {
            self.swept = Some(now);
            self.channels.retain(|_, channel| !channel.is_stale(now, time));
        }
    }

    /// Makes room for one more channel.
    fn make_room(&mut self) -> bool {
        if self.channels.len() < self.limits.channels {
            return true;
        }
        let silent = self
            .channels
            .iter()
            .filter(|(_, channel)| channel.waiting.is_empty())
            .min_by_key(|(_, channel)| channel.touched)
            .map(|(id, _)| *id);
        silent.is_some_and(|id| self.channels.remove(&id).is_some())
    }
}

impl<W, R> Channel<W, R> {
    fn is_stale(&self, now: Instant, time: Duration) -> bool {
        self.waiting.is_empty() && now.saturating_duration_since(self.touched) >= time
    }

    fn drop_oldest(&mut self) {
        if let Some(kept) = self.kept.pop_front() {
            self.kept_bytes -= kept.bytes;
        }
    }
}
