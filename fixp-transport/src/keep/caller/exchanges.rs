//! What goes on between one port and one peer: SECURE_QUERY, a plain request, an exchange in pieces.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use fixp_codec::{Code, Decoder, PacketRef, laxcus6};

use super::lane::{Lane, Work};
use super::own::own_of;
use super::peers::Kind;
use super::{Caller, Config, Out, Place, Port, RESERVE, Security, Ticket, Timer, WE};
use crate::extension::key;
use crate::keep::control;
use crate::keep::pace::Pace;
use crate::keep::pieces::Mark;
use crate::keep::requester::{self, Requester};
use crate::timer::after;
use crate::udp::{self, security};
use crate::{CallError, Cause, Repeat, tables};

impl Caller {
    /// Begins what a request is about, from the port that it has.
    pub(super) fn begin(&mut self, now: Instant, ticket: Ticket, to: SocketAddr, port: Port) {
        let bind_ip = self.bind_ip(to, port);
        let Some(call) = self.calls.get_mut(ticket) else { return };
        let Some(mut packet) = call.packet.take() else { return };
        self.queued -= call.cost;
        self.ledger.give(std::mem::take(&mut call.cost));
        let (code, repeat, left) = (call.code, call.repeat, call.deadline.saturating_duration_since(now));
        let unknown = self.peers.get(to).is_some_and(|peer| peer.kind == Kind::Unknown);
        let announces = self.config.extensions && unknown;
        if announces {
            packet = packet.with(key::CAPABILITIES, WE.in_request());
        }
        if self.table.plain.contains(&code) {
            if code == tables::of(self.config.dialect).exit {
                if let Some(own) = own_of(&mut self.own, to.is_ipv6()) {
                    own.close(now, to);
                }
                self.settle_own(now, to.is_ipv6());
            }
            let wire = control::bound(self.config.dialect, bind_ip, packet).to_bytes(self.config.dialect);
            match wire {
                Ok(wire) => {
                    let every = self.config.query_every;
                    let again = (repeat == Repeat::Harmless).then(|| after(now, every));
                    self.work(to, port, Work::Plain { ticket, wire, announces, again });
                }
                Err(error) => {
                    self.ended(ticket, Err(CallError::not_sent(Cause::Encode(error))));
                    self.free(now, to, port);
                }
            }
            return;
        }
        let identity = self.next_identity;
        self.next_identity = identity.checked_add(1).unwrap_or(1);
        let dialect = self.config.dialect;
        let repeat = repeat != Repeat::Never;
        let template = self.config.exchange.clone();
        let config = requester::Config { dialect, timeout: left, identity, bind_ip, repeat, ..template };
        let mut requester = Requester::new(config, to);
        if let Some(pace) = self.peers.get(to).and_then(|peer| peer.pace.as_deref()) {
            requester = requester.with_pace(pace.clone());
        }
        if let Err(error) = requester.request(now, packet) {
            self.ended(ticket, Err(error));
            self.free(now, to, port);
            return;
        }
        self.stats.exchanges += 1;
        self.running.insert(ticket);
        let requester = Box::new(requester);
        self.work(to, port, Work::Exchange { ticket: Some(ticket), requester, announces });
    }

    pub(super) fn work(&mut self, to: SocketAddr, port: Port, work: Work) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        peer.lane_of(port).begin(work);
        self.rebook(to, port);
        self.enqueue(to, port);
    }

    /// The address that datagrams to a peer leave from, where the dialect writes it.
    pub(super) fn bind_ip(&mut self, to: SocketAddr, port: Port) -> Option<IpAddr> {
        tables::of(self.config.dialect).bind_ip?;
        let ip = self.ports.get(port)?.local?.ip();
        if !ip.is_unspecified() {
            return Some(ip);
        }
        let source = self.config.source;
        let peer = self.peers.get_mut(to)?;
        Some(*peer.source.get_or_insert_with(|| source(to).unwrap_or(ip)))
    }

    pub(super) fn query_answered(&mut self, now: Instant, from: SocketAddr, port: Port, bytes: &[u8]) {
        let read = Decoder::new(self.config.dialect).packet(bytes).ok();
        // What is late of the exchange before it is none.
        let read = read.filter(|packet| self.is_foreign(packet));
        let code = read.as_ref().map(|packet| packet.code());
        let refuses = matches!(code, Some(Code::Answer(2000..)));
        let packet = read.filter(|packet| packet.code() == security::NOTIFY || refuses);
        let Some(packet) = packet.and_then(|packet| packet.to_packet().ok()) else {
            self.stats.late += 1;
            return;
        };
        self.heard(now, from, port, true, &packet);
        let Some(peer) = self.peers.get_mut(from) else { return };
        let Some(lane) = peer.lane_mut(port) else { return };
        let Work::Query { ticket, .. } = lane.work else { return };
        let mode = match packet.code {
            security::NOTIFY => security::allows(&packet),
            code => Err(number(code)),
        };
        if let Err(mode) = mode {
            self.fail(now, ticket, Cause::Security(mode));
            return;
        }
        if let Security::Remembered(time) = self.config.security {
            peer.clear_until = Some(after(now, time));
        }
        if peer.is_own(now) {
            if let Some(call) = self.calls.get_mut(ticket) {
                call.place = Place::Waiting;
            }
            if !self.place(now, ticket) {
                self.wait(now, from, ticket);
            }
            self.free(now, from, port);
        } else {
            self.begin(now, ticket, from, port);
        }
    }

    /// Whether a packet belongs to no exchange in pieces.
    pub(super) fn is_foreign(&self, packet: &PacketRef<'_>) -> bool {
        let code = packet.code();
        let spoken = packet.first(laxcus6::key::SPEAK).and_then(|text| text.as_str());
        !Mark::is_claimed(packet)
            && code != self.table.retry
            && self.table.accepted.is_none_or(|(accepted, _)| accepted != code)
            && spoken != Some(self.table.cancel_text)
    }

    pub(super) fn plain_answered(&mut self, now: Instant, from: SocketAddr, port: Port, bytes: &[u8]) {
        let read = Decoder::new(self.config.dialect).packet(bytes).ok();
        let lane = self.peers.get(from).and_then(|peer| peer.lane(port));
        let Some(Lane { work: Work::Plain { ticket, announces, .. }, .. }) = lane else { return };
        let (ticket, announces) = (*ticket, *announces);
        let asked = self.calls.get(ticket).is_some_and(|call| call.code == security::QUERY);
        let read = read.filter(|packet| {
            let code = packet.code();
            // The second copy of an answer to SECURE_QUERY is no answer to what came after.
            !code.is_request() && self.is_foreign(packet) && (asked || code != security::NOTIFY)
        });
        let Some(packet) = read.and_then(|packet| packet.to_packet().ok()) else {
            self.stats.late += 1;
            return;
        };
        self.heard(now, from, port, announces, &packet);
        let outcome = if security::asks(self.config.dialect) && packet.code == security::WANTED {
            Err(CallError::not_sent(Cause::Security(number(packet.code))))
        } else {
            Ok(packet)
        };
        self.conclude(ticket, outcome);
        if let Some(lane) = self.peers.get_mut(from).and_then(|peer| peer.lane_mut(port)) {
            // The network may have doubled it.
            lane.tainted = lane.tainted.max(Some(now + udp::Config::SETTLE));
        }
        self.free(now, from, port);
    }

    /// Nobody waits for what a lane does.
    pub(super) fn leave(&mut self, now: Instant, to: SocketAddr, port: Port) {
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return };
        match &mut lane.work {
            Work::Nothing => {}
            // A late answer to these can be told from others.
            Work::Query { .. } => self.free(now, to, port),
            Work::Plain { .. } => {
                // But that of one TEST not from that of the next.
                if lane.given > 0 {
                    lane.tainted = Some(now + udp::Config::QUARANTINE);
                }
                self.free(now, to, port);
            }
            Work::Exchange { ticket, requester, .. } => {
                *ticket = None;
                requester.abandon(now);
                let pace = requester.pace().clone();
                lane.leave_at = Some(now);
                self.learn(now, to, pace);
                self.settle(now, to, port);
            }
        }
    }

    /// At which pace a peer takes pieces is for the exchanges after this, too.
    fn learn(&mut self, now: Instant, to: SocketAddr, pace: Pace) {
        if let Some(peer) = self.peers.get_mut(to) {
            let known = peer.pace.take().map(|known| *known);
            peer.pace = pace.learned(known, now).map(Box::new);
        }
    }

    /// Looks after an exchange that something has happened to.
    pub(super) fn settle(&mut self, now: Instant, to: SocketAddr, port: Port) {
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return };
        let Work::Exchange { ticket, requester, announces } = &mut lane.work else { return };
        let announces = *announces;
        if let Some(outcome) = requester.poll_event()
            && let Some(ticket) = ticket.take()
        {
            let pace = requester.pace().clone();
            lane.leave_at = Some(if outcome.is_ok() { after(now, Config::END) } else { now });
            self.learn(now, to, pace);
            match &outcome {
                Ok(answer) => self.heard(now, to, port, announces, answer),
                Err(_) => self.silent(to),
            }
            self.conclude(ticket, outcome);
            // Nobody waits for the rest of it but this port.
            if self.waiting.contains(&to) {
                self.pump(now, to);
            }
        }
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return };
        let Work::Exchange { requester, .. } = &lane.work else { return };
        if requester.is_idle() {
            lane.spoilt |= requester.is_spoilt();
            if self.table.cancel_is_idle {
                lane.resting = Some(after(now, self.config.settle));
            }
            self.free(now, to, port);
        } else {
            let due = lane.due_after(now);
            let whose = lane.ticket();
            let booked = self.rebook_until(to, port, due);
            match whose {
                Some(ticket) if !booked => self.fail(now, ticket, Cause::Full),
                _ => self.enqueue(to, port),
            }
        }
    }

    /// Books what a lane holds, and sets its timer.
    pub(super) fn rebook(&mut self, to: SocketAddr, port: Port) {
        let due = self.peers.get(to).and_then(|peer| peer.lane(port)).and_then(Lane::due);
        self.rebook_until(to, port, due);
    }

    /// The same with this timer; tells whether there was room for all that it holds.
    pub(super) fn rebook_until(&mut self, to: SocketAddr, port: Port, due: Option<Instant>) -> bool {
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return true };
        let held = lane.held();
        let wanted = held + if lane.is_busy() { RESERVE } else { 0 };
        if wanted <= lane.booked {
            self.ledger.give(lane.booked - wanted);
            lane.booked = wanted;
        } else if self.ledger.take(wanted - lane.booked) {
            lane.booked = wanted;
        } else if held > lane.booked && self.ledger.take(held - lane.booked) {
            lane.booked = held;
        }
        let booked = held <= lane.booked;
        if lane.timer != due {
            if let Some(old) = std::mem::replace(&mut lane.timer, due) {
                self.timers.remove(&(old, Timer::Lane(to, port)));
            }
            if let Some(due) = due {
                self.timers.insert((due, Timer::Lane(to, port)));
            }
        }
        self.note();
        booked
    }

    /// Lets a lane send what it has.
    pub(super) fn enqueue(&mut self, to: SocketAddr, port: Port) {
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return };
        if lane.is_busy() && !std::mem::replace(&mut lane.queued, true) {
            self.outbox.push_back(Out::Lane(to, port));
        }
    }

    /// A peer has been told of the end: who wants the place of its port need not wait any longer for what it says.
    pub(super) fn told(&mut self, now: Instant, to: SocketAddr, port: Port) {
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return };
        lane.left = true;
        if let Some(socket) = self.ports.get_mut(port) {
            socket.left += 1;
        }
        self.close_spent(now, to.is_ipv6());
        if self.waiting.contains(&to) {
            self.want_ports(now, to);
        }
    }

    /// A lane has done its work.
    pub(super) fn free(&mut self, now: Instant, to: SocketAddr, port: Port) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        let lane = peer.lane_of(port);
        lane.work = Work::Nothing;
        let left = std::mem::take(&mut lane.left);
        lane.leave_at = None;
        let spoilt = lane.spoilt.then(|| now + Config::SPOILT);
        let unfit = spoilt.max(lane.tainted.filter(|_| lane.is_tainted(now)));
        self.busy -= 1;
        self.rebook(to, port);
        if let Some(socket) = self.ports.get_mut(port) {
            socket.users -= 1;
            socket.left -= usize::from(left);
            socket.unfit = socket.unfit.max(unfit);
            let local = socket.local.map(|local| local.port());
            if let (Some(until), Some(peer), Some(local)) = (spoilt, self.peers.get_mut(to), local) {
                peer.spoil(now, local, until);
                self.stats.spoilt += 1;
            }
        }
        self.idle_port(now, port);
        self.close_spent(now, to.is_ipv6());
        if self.tight {
            self.pump_all(now);
        } else {
            self.pump(now, to);
        }
    }

    pub(super) fn lane_timeout(&mut self, now: Instant, to: SocketAddr, port: Port) {
        let every = self.config.query_every;
        let Some(lane) = self.peers.get_mut(to).and_then(|peer| peer.lane_mut(port)) else { return };
        lane.timer = None;
        match &mut lane.work {
            Work::Nothing => {
                lane.tainted = lane.tainted.filter(|&until| until > now);
                lane.resting = lane.resting.filter(|&until| until > now);
                self.rebook(to, port);
                self.pump(now, to);
            }
            Work::Query { ticket, left, again } => {
                let ticket = *ticket;
                if *left == 0 {
                    self.fail(now, ticket, Cause::Timeout);
                    return;
                }
                (*left, *again) = (*left - 1, after(now, every));
                lane.wants = true;
                self.rebook(to, port);
                self.enqueue(to, port);
            }
            Work::Plain { again, .. } => {
                *again = Some(after(now, every));
                lane.wants = true;
                self.rebook(to, port);
                self.enqueue(to, port);
            }
            Work::Exchange { requester, .. } => {
                requester.handle_timeout(now);
                if lane.may_be_left(now) {
                    self.told(now, to, port);
                }
                self.settle(now, to, port);
            }
        }
    }
}

const fn number(code: Code) -> u16 {
    match code {
        Code::Answer(code) => code,
        Code::Request { major, minor } => u16::from_be_bytes([major, minor]),
    }
}
