//! When something is due in an association, and what is done then (SPEC 10.13, 10.17, 10.19).

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::{Association, ENDED, End, Role, State, error_of, reason_of};
use crate::Cause;
use crate::extension::Refusal;
use crate::keep::own::config::Config;
use crate::keep::own::event::Event;
use crate::keep::own::exchange::{Going, Stage};
use crate::keep::own::shared::Shared;

impl Association {
    /// Those of exchanges that have ended stay until they are due, or many.
    pub(super) fn note_deadline(&mut self, deadline: Instant, serial: u64) {
        if self.deadlines.len() >= 2 * self.exchanges() + ENDED {
            let mut all = std::mem::take(&mut self.deadlines);
            all.retain(|&Reverse((at, serial))| self.is_deadline(at, serial));
            self.deadlines = all;
        }
        self.deadlines.push(Reverse((deadline, serial)));
    }

    fn is_deadline(&self, at: Instant, serial: u64) -> bool {
        let number = self.number_of(self.ticket(serial));
        let exchange = number.map_or_else(|| self.waiting.get(&serial), |number| self.live.get(number));
        exchange.is_some_and(|exchange| exchange.deadline == Some(at))
    }

    /// Time has passed.
    pub(in super::super) fn handle_timeout(&mut self, now: Instant, shared: &mut Shared) {
        while let Some(&Reverse((at, serial))) = self.deadlines.peek()
            && at <= now
        {
            self.deadlines.pop();
            if self.is_deadline(at, serial) {
                self.deadline(now, shared, serial);
            }
        }
        if self.starved_until.is_some_and(|until| until <= now) {
            self.starved_until = None;
            for serial in std::mem::take(&mut self.starved) {
                shared.event(Event::Writable { ticket: self.ticket(serial) });
            }
        }
        let config = &shared.config;
        match &self.state {
            State::Opening { opens, again, .. } => {
                if *again <= now && *opens >= config.opens {
                    self.end = Some(End::Unopened);
                }
                return;
            }
            State::Open => {}
        }
        if self.unheard.is_some_and(|since| since + config.lost <= now) {
            self.end = Some(End::Lost);
            return;
        }
        if self.idle_at(config.idle).is_some_and(|at| at <= now) {
            self.end = Some(End::Closed);
            return;
        }
        if self.alive_at(config.alive).is_some_and(|at| at <= now) {
            self.ping = true;
            self.pinged = now;
        }
        if self.watch.is_some_and(|at| at <= now) {
            self.watch(now, shared);
        }
        if self.acknowledge_at.is_some_and(|at| at <= now) {
            self.acknowledge_at = None;
            self.acknowledge_now = true;
        }
        if self.paced.is_some_and(|at| at <= now) {
            self.paced = None;
        }
        if self.recovery.poll_timeout().is_some_and(|at| at <= now) {
            self.probes += self.recovery.handle_timeout(now);
            self.take_lost(now, shared);
        }
    }

    /// SPEC 10.19: requests that do not become complete, and answers that are not taken, do not stay for ever.
    fn watch(&mut self, now: Instant, shared: &mut Shared) {
        let numbers: Vec<u64> = self.live.keys().collect();
        self.watch = (!numbers.is_empty()).then_some(now + Config::WATCH);
        for number in numbers {
            let Some(exchange) = self.live.get_mut(number) else { continue };
            let rests = now.saturating_duration_since(exchange.moved);
            match (exchange.stage, exchange.going) {
                (Stage::Awaited, _) => {
                    let lives = now.saturating_duration_since(exchange.began);
                    if rests < shared.config.request_idle && lives < shared.config.request_life {
                        continue;
                    }
                    self.refuse(shared, number, Refusal::Late);
                }
                (Stage::Told, _) => {
                    if !exchange.coming.is_awaited() || self.received >= self.granted.limit() {
                        // It has come, or it is its reader that rests, or that of another one.
                        exchange.moved = now;
                        continue;
                    }
                    if rests < shared.config.request_idle {
                        continue;
                    }
                    self.give_up_answer(shared, number, reason_of(Refusal::NotKept));
                    if let Some(exchange) = self.live.get_mut(number) {
                        exchange.stage = Stage::Over;
                    }
                    let ticket = self.ticket(number);
                    shared.event(Event::Cancelled { ticket });
                }
                (Stage::Answering, Going::Stream) => {
                    if !exchange.stream.is_pending() {
                        // It is its source that rests.
                        exchange.moved = now;
                        continue;
                    }
                    if rests < shared.config.answer_idle {
                        continue;
                    }
                    self.give_up_answer(shared, number, reason_of(Refusal::NotKept));
                }
                _ => continue,
            }
            self.settle(now, shared, number);
        }
    }

    fn deadline(&mut self, now: Instant, shared: &mut Shared, serial: u64) {
        let ticket = self.ticket(serial);
        let number = self.number_of(ticket);
        let exchange =
            number.map_or_else(|| self.waiting.get_mut(&serial), |number| self.live.get_mut(number));
        let Some(exchange) = exchange else { return };
        exchange.deadline = None;
        let (error, stage) = (error_of(exchange, Cause::Timeout), exchange.stage);
        match stage {
            Stage::Awaited => shared.event(Event::Answer { ticket, outcome: Err(error) }),
            Stage::Told => shared.event(Event::Broken { ticket, error }),
            Stage::Answering | Stage::Over => {}
        }
        self.cancel(now, shared, ticket);
    }

    /// When it is forgotten, if nothing happens.
    fn idle_at(&self, idle: Duration) -> Option<Instant> {
        (self.role == Role::Server || self.exchanges() == 0).then(|| self.heard + idle)
    }

    /// When a client asks whether the server is there.
    fn alive_at(&self, alive: Duration) -> Option<Instant> {
        let waits = self.role == Role::Client && self.exchanges() > 0 && self.unheard.is_none();
        waits.then(|| self.heard.max(self.pinged) + alive)
    }

    /// Whether a timer is as early as anything that may have become due before it since it was set. What is not looked at
    /// here are the long times, which only ever move on once they have begun; they have begun just now, or as long before
    /// as the association waited to send.
    #[inline]
    pub(in super::super) fn is_due_behind(&self, now: Instant, timer: Instant, shared: &Shared) -> bool {
        let behind = |at: Option<Instant>| at.is_none_or(|at| timer <= at);
        self.is_open()
            && behind(self.acknowledge_at)
            && behind(self.recovery.poll_timeout())
            && behind(self.paced)
            && behind(self.deadlines.peek().map(|&Reverse((at, _))| at))
            && behind(self.starved_until)
            && behind(self.idle_at(shared.config.idle))
            && timer <= now + shared.shortest_long_time
    }

    /// When it has something to do.
    pub(in super::super) fn next_timeout(&self, shared: &Shared) -> Option<Instant> {
        let config = &shared.config;
        let deadline = self.deadlines.peek().map(|&Reverse((at, _))| at);
        let mut due = deadline;
        let mut by = |at: Option<Instant>| {
            if let Some(at) = at
                && due.is_none_or(|due| at < due)
            {
                due = Some(at);
            }
        };
        by(self.starved_until);
        match &self.state {
            State::Opening { again, .. } => by(Some(*again)),
            State::Open => {
                by(self.unheard.map(|since| since + config.lost));
                by(self.idle_at(config.idle));
                by(self.alive_at(config.alive));
                by(self.watch);
                by(self.acknowledge_at);
                by(self.paced);
                by(self.recovery.poll_timeout());
            }
        }
        due
    }
}
