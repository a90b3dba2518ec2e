//! What an association sends: new bytes, lost ones, probes and acknowledgements (SPEC 10.13, 10.18).

use std::time::Instant;

use super::{Association, Carried, End, Item, RANGES, Role, State};
use crate::keep::own::config::Config;
use crate::keep::own::exchange::Going;
use crate::keep::own::recovery::{Kind, Permit};
use crate::keep::own::shared::Shared;
use crate::keep::own::wire::{self, Chunk, Hello, Reset, Window};

/// The most bytes that leave at a time: what one datagram can have, and the kernel takes in one call.
const BATCH: usize = 65507;
/// A shorter part of a longer chunk is not worth its head.
const SCRAP: usize = 64;

/// What a datagram is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Data,
    /// To make the peer say what has come.
    Probe,
    /// To see whether one of this length passes.
    Mtu(usize),
    /// To acknowledge only.
    Acknowledge,
}

impl Association {
    /// Writes datagrams to the end of a buffer, and tells the length of each but the last. There may be more as long
    /// as [`Association::wants_transmit`].
    pub(in super::super) fn poll_transmit(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Option<usize> {
        if let State::Opening { opens, again, pause } = &mut self.state {
            if *again > now || *opens >= shared.config.opens {
                return None;
            }
            *opens += 1;
            *again = now + *pause;
            *pause *= 2;
            let hello = Hello::of(&shared.config, self.number);
            return match shared.sheet.open(self.dialect, hello) {
                Ok(bytes) => {
                    out.extend_from_slice(&bytes);
                    Some(bytes.len())
                }
                Err(error) => {
                    self.end = Some(End::Unwritable(error));
                    None
                }
            };
        }
        if self.probes > 0 {
            self.probes -= 1;
            self.repeat_first();
            let limit = Config::BASE.min(self.mtu.current());
            if let Some((len, _)) = self.build(now, shared, out, limit, Purpose::Probe) {
                return Some(len);
            }
        }
        if self.bulky
            && let Some(size) = self.mtu.poll_probe(now)
        {
            if let Some((len, _)) = self.build(now, shared, out, size, Purpose::Mtu(size)) {
                return Some(len);
            }
            self.mtu.on_probe_lost(size);
        }
        let start = out.len();
        let mut segment = None;
        for _ in 0..most.max(1) {
            let limit = segment.unwrap_or_else(|| self.mtu.current());
            if out.len() - start + limit > BATCH || !self.has_work() || !self.book_records() {
                break;
            }
            match self.recovery.permit(now, limit) {
                Permit::Now => {}
                Permit::At(at) => {
                    self.paced = Some(at);
                    break;
                }
                Permit::Full => break,
            }
            let Some((len, full)) = self.build(now, shared, out, limit, Purpose::Data) else { break };
            let first = *segment.get_or_insert(len);
            if !full || len < first {
                break;
            }
        }
        if segment.is_none() || !self.wants_transmit() {
            self.note_limit(now);
        }
        if segment.is_some() {
            return segment;
        }
        if self.acknowledge_now {
            let limit = self.mtu.current().min(Config::BASE);
            self.acknowledge_now = false;
            return self.build(now, shared, out, limit, Purpose::Acknowledge).map(|(len, _)| len);
        }
        None
    }

    /// Whether it is to be asked again after it has sent something.
    pub(in super::super) fn wants_transmit(&self) -> bool {
        self.has_work() || self.acknowledge_now || self.probes > 0 || self.bulky || !self.is_open()
    }

    /// More could be sent than there is.
    fn note_limit(&mut self, now: Instant) {
        if !self.has_work()
            && !self.recovery.is_limited()
            && self.recovery.permit(now, self.mtu.current()) == Permit::Now
        {
            self.recovery.on_limited(now);
        }
    }

    /// Whether there is something that must arrive. A limit of exchanges waits for something to ride on.
    fn has_work(&self) -> bool {
        self.ping
            || self.tell_bytes
            || !(self.row.is_empty() && self.resets.is_empty() && self.tells.is_empty())
    }

    /// Of each exchange the first bytes that have not come are sent again, and the resets. A peer that has no room
    /// for what comes later has some for these.
    fn repeat_first(&mut self) {
        let numbers: Vec<u64> = self.live.keys().collect();
        for number in numbers {
            let Some(exchange) = self.live.get_mut(number) else { continue };
            match exchange.going {
                Going::Stream => {
                    if exchange.stream.repeat(Config::BASE as u64) {
                        self.stand_in_row(number);
                    }
                }
                Going::Reset(_) => self.again(Item::Reset { number }),
                Going::Nothing | Going::Over => {}
            }
        }
    }

    /// Writes one datagram of at most so many bytes. Tells its length, and whether there was more for it than it
    /// has; then it is exactly so long.
    fn build(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        out: &mut Vec<u8>,
        limit: usize,
        purpose: Purpose,
    ) -> Option<(usize, bool)> {
        let number = self.recovery.next_number();
        let sheet = &mut shared.sheet;
        sheet.segment(self.table, self.peer_number, number);
        let mut carried = Carried::new();
        // SPEC 10.13: a probe of the path is lost without a trace, perhaps.
        let acknowledges = self.owed > 0 && !self.come.is_empty() && !matches!(purpose, Purpose::Mtu(_));
        if acknowledges {
            sheet.acknowledged(&self.come, now.saturating_duration_since(self.largest_at), RANGES);
            carried.acknowledged = self.come.largest().map_or(0, |largest| largest + 1);
        }
        let mut full = false;
        if matches!(purpose, Purpose::Data | Purpose::Probe) {
            self.put_signs(shared, limit, &mut carried);
            full = self.put_chunks(shared, limit, &mut carried);
        } else if purpose == Purpose::Acknowledge {
            self.put_signs(shared, limit, &mut carried);
        }
        let sheet = &mut shared.sheet;
        let pads = match purpose {
            Purpose::Mtu(size) => sheet.padding(size)?,
            Purpose::Probe if carried.is_empty() => 1,
            Purpose::Data if carried.is_empty() && self.ping => 1,
            _ if full => sheet.padding(limit).unwrap_or(0),
            _ => 0,
        };
        if carried.is_empty() && pads == 0 && !(purpose == Purpose::Acknowledge && acknowledges) {
            return None;
        }
        sheet.pad(pads);
        let len = sheet.wire_len();
        let start = out.len();
        if let Err(error) = sheet.finish(out) {
            self.end = Some(End::Unwritable(error));
            return None;
        }
        for item in carried.items() {
            if let Item::Chunk { number, offset, len } = item
                && let Some(exchange) = self.live.get(number)
            {
                exchange.stream.copy(offset..offset + u64::from(len), out);
            }
        }
        out.resize(start + len, 0);
        let kind = match purpose {
            Purpose::Mtu(_) => Kind::MtuProbe,
            Purpose::Probe => Kind::LossProbe,
            _ if carried.is_empty() && pads == 0 => Kind::AckOnly,
            _ => Kind::Data,
        };
        if kind != Kind::AckOnly {
            self.ping = false;
            self.unheard.get_or_insert(now);
        }
        if acknowledges {
            self.owed = 0;
            self.acknowledge_now = false;
            // What rides on it may still be there: a probe carries nothing else.
            self.acknowledge_at = self.tell_exchanges.then(|| now + Config::ACKNOWLEDGE);
        }
        self.bulky |= full;
        self.recovery.on_sent(now, len, kind, carried);
        Some((len, full))
    }

    /// Resets and windows.
    fn put_signs(&mut self, shared: &mut Shared, limit: usize, carried: &mut Carried) {
        let sheet = &mut shared.sheet;
        while sheet.wire_len() + Reset::LONGEST <= limit
            && let Some(number) = self.resets.pop_front()
        {
            let Some(exchange) = self.live.get_mut(number) else { continue };
            exchange.resets = false;
            if let Going::Reset(reset) = exchange.going {
                sheet.reset(reset);
                carried.push(Item::Reset { number });
            }
        }
        while sheet.wire_len() + wire::LONGEST_WINDOW <= limit
            && let Some(number) = self.tells.pop_front()
        {
            let Some(exchange) = self.live.get_mut(number) else { continue };
            exchange.tells = false;
            let limit = exchange.coming.limit();
            sheet.window(match self.role {
                Role::Client => Window::Answer { exchange: number, limit },
                Role::Server => Window::Request { exchange: number, limit },
            });
            carried.push(Item::Window { number });
        }
        if self.tell_bytes && sheet.wire_len() + wire::LONGEST_WINDOW <= limit {
            self.tell_bytes = false;
            sheet.window(Window::Bytes { limit: self.granted.limit() });
            carried.push(Item::Bytes);
        }
        if self.tell_exchanges && sheet.wire_len() + wire::LONGEST_WINDOW <= limit {
            self.tell_exchanges = false;
            sheet.window(Window::Exchanges { limit: self.granted_exchanges.limit() });
            carried.push(Item::Exchanges);
        }
    }

    /// Chunks of the exchanges, in turns. True where there is more than the datagram has room for.
    fn put_chunks(&mut self, shared: &mut Shared, limit: usize, carried: &mut Carried) -> bool {
        let sheet = &mut shared.sheet;
        // Of those that the association's own limit holds back each is looked at once.
        let mut blocked = 0;
        while blocked < self.row.len()
            && let Some(&number) = self.row.front()
        {
            let left = self.allowance.left();
            let Some(exchange) = self.live.get_mut(number) else {
                self.row.pop_front();
                continue;
            };
            if !matches!(exchange.going, Going::Stream) {
                exchange.in_row = false;
                self.row.pop_front();
                continue;
            }
            let stream = &mut exchange.stream;
            let Some(range) = stream.next(left) else {
                if stream.is_ready(u64::MAX) {
                    blocked += 1;
                    self.row.rotate_left(1);
                } else {
                    exchange.in_row = false;
                    self.row.pop_front();
                }
                continue;
            };
            let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let len = sheet.room(number, range.start, wanted, limit);
            if len < wanted.min(SCRAP) {
                return true;
            }
            let range = range.start..range.start + len as u64;
            sheet.chunk(Chunk {
                exchange: number,
                answer: self.role == Role::Server,
                last: stream.ends_at(range.end),
                offset: range.start,
                len,
            });
            carried.push(Item::chunk(number, &range));
            self.allowance.take(stream.on_sent(range));
            if len < wanted {
                self.row.rotate_left(1);
                return true;
            }
        }
        false
    }
}
