//! What comes to an association: what is taken of it, and what ends it (SPEC 10.13 to 10.17).

use std::time::{Duration, Instant};

use fixp_codec::Packet;

use super::{Association, End, Item, RANGES, Role};
use crate::extension::Refusal;
use crate::keep::own::config::Config;
use crate::keep::own::event::{Entity, Event};
use crate::keep::own::exchange::{Going, Stage};
use crate::keep::own::receive_stream::{Received, Trouble};
use crate::keep::own::recovery::Kind;
use crate::keep::own::shared::Shared;
use crate::keep::own::wire::{Chunk, Items, Reset, Segment, Window};
use crate::{CallError, Cause};

impl Association {
    /// A SEGMENT from the peer. False where it was dropped.
    pub(in super::super) fn segment(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        segment: &Segment<'_>,
        items: &Items,
    ) -> bool {
        // The network's own duplicates. What is sent again has another number.
        if self.come.contains(segment.number) {
            return false;
        }
        self.heard = now;
        if let Some(acknowledged) = segment.acknowledged {
            let ranges = acknowledged.ranges();
            if self.recovery.on_acknowledged(now, ranges, acknowledged.delay).is_err() {
                self.end = Some(End::Violation(None));
                return false;
            }
            self.take_acknowledged(now, shared);
            self.take_lost(now, shared);
        }
        self.unheard = (self.recovery.in_flight() > 0).then_some(now);
        match self.take(now, shared, segment, items) {
            Ok(()) => {}
            Err(Trouble::Scattered) => {
                shared.stats.scattered += 1;
                return false;
            }
            Err(Trouble::NoRoom | Trouble::Full | Trouble::TooLarge(_)) => {
                // Not acknowledged, so it comes again.
                shared.no_room(now, self.pressed.take().map(|number| (0, self.id, number)));
                return false;
            }
            Err(Trouble::Violation) => {
                self.end = Some(End::Violation(None));
                return false;
            }
            Err(Trouble::Broken(error)) => {
                self.end = Some(End::Violation(Some(error)));
                return false;
            }
        }
        let next = self.come.largest().map_or(0, |largest| largest + 1);
        self.come.insert(segment.number);
        if segment.number >= next {
            self.largest_at = now;
        }
        let Items { chunks, windows, resets } = items;
        if !(chunks.is_empty() && windows.is_empty() && resets.is_empty() && segment.entity.is_empty()) {
            self.owed += 1;
            if self.owed > 1 || segment.number != next {
                self.acknowledge_now = true;
            } else {
                self.acknowledge_by(now + shared.config.acknowledge);
            }
        }
        true
    }

    fn take(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        segment: &Segment<'_>,
        items: &Items,
    ) -> Result<(), Trouble> {
        for &window in &items.windows {
            self.window(window);
        }
        for &reset in &items.resets {
            self.reset(now, shared, reset)?;
        }
        let mut room = Ok(());
        for &(chunk, at) in &items.chunks {
            let bytes = segment.entity.get(at..at + chunk.len).unwrap_or_default();
            match self.chunk(now, shared, chunk, bytes) {
                // What there is room for is taken all the same: it need not come again.
                Err(trouble @ (Trouble::NoRoom | Trouble::Scattered)) => room = Err(trouble),
                other => other?,
            }
        }
        room
    }

    fn window(&mut self, window: Window) {
        match (self.role, window) {
            (Role::Client, Window::Request { exchange, limit })
            | (Role::Server, Window::Answer { exchange, limit }) => {
                if let Some(stream) = self.live.get_mut(exchange).and_then(|exchange| exchange.stream())
                    && stream.raise(limit)
                {
                    self.stand_in_row(exchange);
                }
            }
            (_, Window::Bytes { limit }) => {
                self.allowance.raise(limit);
            }
            (Role::Client, Window::Exchanges { limit }) => {
                self.exchanges.raise(limit);
                self.begin_waiting();
            }
            _ => {}
        }
    }

    /// The exchange of a number is there now; or it is one that has ended.
    fn begin(&mut self, now: Instant, shared: &mut Shared, number: u64) -> Result<bool, Trouble> {
        if self.live.contains_key(number) {
            return Ok(true);
        }
        if self.role == Role::Client {
            // Nobody answers what was not asked.
            return if number > self.exchanges.used() { Err(Trouble::Violation) } else { Ok(false) };
        }
        if number > self.granted_exchanges.limit() {
            return Err(Trouble::Violation);
        }
        if self.done.contains(number) {
            return Ok(false);
        }
        let mut exchange = shared.exchange(now);
        if !exchange.book(8) {
            shared.recycle(exchange);
            return Err(Trouble::NoRoom);
        }
        exchange.begin(now, number, Going::Nothing, self.bounds(shared), shared.config.exchange_window);
        self.watch.get_or_insert(now + Config::WATCH);
        self.live.insert(number, exchange);
        if self.closing {
            self.refuse(shared, number, Refusal::Overloaded);
        }
        Ok(true)
    }

    /// Counts bytes up to this end of an exchange against what the association was granted.
    fn count(&mut self, number: u64, end: u64) -> Result<u64, Trouble> {
        let news = self.live.get(number).map_or(0, |exchange| exchange.coming.news(end));
        if self.received.saturating_add(news) > self.granted.limit() {
            return Err(Trouble::Violation);
        }
        Ok(news)
    }

    fn chunk(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        chunk: Chunk,
        bytes: &[u8],
    ) -> Result<(), Trouble> {
        if chunk.answer != (self.role == Role::Client) {
            return Err(Trouble::Violation);
        }
        let number = chunk.exchange;
        if !self.begin(now, shared, number)? {
            return Ok(());
        }
        self.count(number, chunk.offset + chunk.len as u64)?;
        let Some(exchange) = self.live.get_mut(number) else { return Ok(()) };
        let before = exchange.coming.highest();
        let mut received = Received::default();
        let mut outcome = exchange.coming.receive(chunk.offset, bytes, chunk.last, &mut received);
        if let Err(trouble @ (Trouble::TooLarge(_) | Trouble::Full)) = outcome {
            self.give_way(shared, number, trouble);
            // It is counted now.
            let Some(exchange) = self.live.get_mut(number) else { return Ok(()) };
            outcome = exchange.coming.receive(chunk.offset, bytes, chunk.last, &mut received);
        }
        let Some(exchange) = self.live.get_mut(number) else { return Ok(()) };
        self.received += exchange.coming.highest() - before;
        if exchange.coming.highest() > before {
            exchange.moved = now;
        }
        if outcome == Err(Trouble::NoRoom) && exchange.coming.is_gathering() {
            self.pressed = Some(number);
        }
        if let Some((packet, entity, told)) = received.packet {
            match self.role {
                Role::Client => self.answered(shared, number, packet, entity, told.refusal),
                Role::Server => self.requested(now, shared, number, packet, entity, told.deadline),
            }
        }
        if received.readable
            && let Some(exchange) = self.live.get(number)
            && matches!(exchange.stage, Stage::Told | Stage::Answering)
        {
            let ticket = self.ticket(exchange.serial);
            shared.event(Event::Readable { ticket });
        }
        // Without room for all of it some may have been taken.
        self.settle(now, shared, number);
        outcome
    }

    /// A packet that comes is not taken.
    pub(in super::super) fn give_way(&mut self, shared: &mut Shared, number: u64, trouble: Trouble) {
        match self.role {
            Role::Server => {
                let refusal = if matches!(trouble, Trouble::TooLarge(_)) {
                    Refusal::TooLarge
                } else {
                    Refusal::Overloaded
                };
                self.refuse(shared, number, refusal);
            }
            Role::Client => {
                let Some(exchange) = self.live.get(number) else { return };
                if exchange.stage == Stage::Awaited {
                    let cause = match trouble {
                        Trouble::TooLarge(error) => Cause::Decode(error),
                        _ => Cause::Full,
                    };
                    let outcome = Err(CallError::possibly_executed(cause));
                    shared.event(Event::Answer { ticket: self.ticket(exchange.serial), outcome });
                }
                self.abandon(shared, number);
            }
        }
    }

    /// A request has come, or its head.
    fn requested(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        number: u64,
        packet: Packet,
        entity: Entity,
        deadline: Option<i32>,
    ) {
        let Some(exchange) = self.live.get_mut(number) else { return };
        if exchange.stage != Stage::Awaited {
            return;
        }
        let told = deadline.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
        let left = told.map(|told| exchange.left(now, told));
        if left.is_some_and(|left| left.is_zero()) {
            self.refuse(shared, number, Refusal::Late);
            return;
        }
        exchange.stage = Stage::Told;
        let booked = exchange.coming.take_booked();
        let ticket = self.ticket(number);
        let (peer, dialect) = (self.peer, self.dialect);
        shared.stats.executed += 1;
        shared.booked_event(Event::Request { ticket, peer, dialect, head: packet, entity, left }, booked);
    }

    /// An answer has come, or its head.
    fn answered(
        &mut self,
        shared: &mut Shared,
        number: u64,
        packet: Packet,
        entity: Entity,
        refusal: Option<i16>,
    ) {
        let Some(exchange) = self.live.get_mut(number) else { return };
        if exchange.stage != Stage::Awaited {
            return;
        }
        let refusal = refusal.map(Refusal::of_number);
        exchange.stage = if entity == Entity::Whole { Stage::Over } else { Stage::Told };
        let booked = exchange.coming.take_booked();
        let ticket = Self::ticket_of(self.id, exchange.serial);
        let outcome = match refusal {
            Some(refusal) => {
                exchange.stage = Stage::Over;
                exchange.coming.discard();
                Err(refused(refusal))
            }
            None => Ok((packet, entity)),
        };
        shared.booked_event(Event::Answer { ticket, outcome }, booked);
    }

    fn reset(&mut self, now: Instant, shared: &mut Shared, reset: Reset) -> Result<(), Trouble> {
        let number = reset.exchange;
        match (self.role, reset.answer) {
            (Role::Server, false) => {
                if !self.begin(now, shared, number)? {
                    return Ok(());
                }
                let news = self.count(number, reset.sent)?;
                let Some(exchange) = self.live.get_mut(number) else { return Ok(()) };
                exchange.coming.reset(reset.sent)?;
                self.received += news;
                match exchange.stage {
                    Stage::Told => {
                        exchange.stage = Stage::Over;
                        let ticket = Self::ticket_of(self.id, number);
                        shared.event(Event::Cancelled { ticket });
                    }
                    Stage::Awaited => exchange.stage = Stage::Over,
                    Stage::Answering | Stage::Over => {}
                }
                if matches!(exchange.going, Going::Nothing | Going::Stream) {
                    self.stop(number, true, 0);
                }
            }
            (Role::Client, answer) => {
                if !self.begin(now, shared, number)? {
                    return Ok(());
                }
                let news = if answer { self.count(number, reset.sent)? } else { 0 };
                let Some(exchange) = self.live.get_mut(number) else { return Ok(()) };
                if exchange.coming.is_over() && exchange.stage == Stage::Over {
                    return Ok(());
                }
                if answer {
                    exchange.coming.reset(reset.sent)?;
                    self.received += news;
                } else {
                    exchange.coming.end_here();
                }
                let refusal = match reset.reason {
                    0 if answer => Refusal::Silent,
                    reason => Refusal::of_number(i16::try_from(reason).unwrap_or(0)),
                };
                let ticket = Self::ticket_of(self.id, exchange.serial);
                match exchange.stage {
                    Stage::Awaited => {
                        shared.event(Event::Answer { ticket, outcome: Err(refused(refusal)) });
                    }
                    Stage::Told => {
                        let error = CallError::possibly_executed(Cause::Refused(refusal));
                        shared.event(Event::Broken { ticket, error });
                    }
                    Stage::Answering | Stage::Over => {}
                }
                exchange.stage = Stage::Over;
                if !answer && !matches!(exchange.going, Going::Reset(_)) {
                    self.stop(number, false, 0);
                }
            }
            // A client never gives up an answer but by its request.
            (Role::Server, true) => return Ok(()),
        }
        self.settle(now, shared, number);
        Ok(())
    }

    /// What has arrived at the peer.
    fn take_acknowledged(&mut self, now: Instant, shared: &mut Shared) {
        while let Some(gone) = self.recovery.poll_acked() {
            if gone.kind == Kind::MtuProbe {
                self.mtu.on_probe_acked(gone.bytes);
                self.recovery.set_datagram(self.mtu.current());
            } else {
                self.mtu.on_acked(gone.bytes, gone.number);
            }
            // The peer knows what has come up to there: it need not be told for ever.
            if let Some(known) = gone.carried.acknowledged.checked_sub(1)
                && self.come.len() > RANGES / 2
            {
                self.come.forget_below(known);
            }
            for item in gone.carried.items() {
                self.acked(now, shared, item);
            }
        }
    }

    /// What was lost on the way.
    pub(super) fn take_lost(&mut self, now: Instant, shared: &mut Shared) {
        while let Some(gone) = self.recovery.poll_lost() {
            shared.stats.datagrams_lost += 1;
            if gone.kind == Kind::MtuProbe {
                self.mtu.on_probe_lost(gone.bytes);
            } else {
                self.mtu.on_lost(now, gone.bytes, gone.number);
                self.recovery.set_datagram(self.mtu.current());
            }
            for item in gone.carried.items() {
                self.again(item);
            }
        }
    }

    fn acked(&mut self, now: Instant, shared: &mut Shared, item: Item) {
        match item {
            Item::Chunk { number, offset, len } => {
                let Some(exchange) = self.live.get_mut(number) else { return };
                if !matches!(exchange.going, Going::Stream) {
                    return;
                }
                exchange.moved = now;
                let stream = &mut exchange.stream;
                stream.on_acked(offset..offset + u64::from(len));
                if stream.is_acked() {
                    exchange.whole = stream.sent();
                    exchange.going = Going::Over;
                    // A client still waits for the answer, mostly.
                    if self.role == Role::Server || exchange.stage == Stage::Over {
                        self.settle(now, shared, number);
                    }
                } else if stream.is_writable() {
                    stream.stalled = false;
                    let ticket = Self::ticket_of(self.id, exchange.serial);
                    shared.event(Event::Writable { ticket });
                }
            }
            Item::Reset { number } => {
                let Some(exchange) = self.live.get_mut(number) else { return };
                if let Going::Reset(reset) = &exchange.going {
                    exchange.whole = reset.sent;
                    exchange.going = Going::Over;
                    self.settle(now, shared, number);
                }
            }
            Item::Nothing | Item::Window { .. } | Item::Bytes | Item::Exchanges => {}
        }
    }

    /// Something is to be sent again.
    pub(super) fn again(&mut self, item: Item) {
        match item {
            Item::Nothing => {}
            Item::Chunk { number, offset, len } => {
                if let Some(stream) = self.live.get_mut(number).and_then(|exchange| exchange.stream()) {
                    stream.on_lost(offset..offset + u64::from(len));
                    self.stand_in_row(number);
                }
            }
            Item::Reset { number } => {
                if let Some(exchange) = self.live.get_mut(number)
                    && matches!(exchange.going, Going::Reset(_))
                    && !std::mem::replace(&mut exchange.resets, true)
                {
                    self.resets.push_back(number);
                }
            }
            Item::Window { number } => {
                if let Some(exchange) = self.live.get_mut(number)
                    && !exchange.coming.is_over()
                    && !std::mem::replace(&mut exchange.tells, true)
                {
                    self.tells.push_back(number);
                }
            }
            Item::Bytes => self.tell_bytes = true,
            Item::Exchanges => {
                self.tell_exchanges = true;
                self.acknowledge_now = true;
            }
        }
    }
}

fn refused(refusal: Refusal) -> CallError {
    let cause = Cause::Refused(refusal);
    if refusal.is_unexecuted() { CallError::not_sent(cause) } else { CallError::possibly_executed(cause) }
}
