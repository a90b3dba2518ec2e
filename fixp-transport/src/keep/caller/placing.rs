//! Which port a request gets, which wait, and which ports are opened and closed for that.

use std::net::SocketAddr;
use std::ops::Bound;
use std::time::Instant;

use fixp_codec::Code;

use super::lane::{Lane, Work};
use super::own::own_of;
use super::peers::Kind;
use super::ports::Socket;
use super::{Action, Call, Caller, Config, Place, Port, RESERVE, Security, Ticket, Timer};
use crate::timer::after;
use crate::udp::security;
use crate::{CallError, Cause, extension, tables};

impl Caller {
    pub(super) fn wait(&mut self, now: Instant, to: SocketAddr, ticket: Ticket) {
        if let Some(peer) = self.peers.get_mut(to) {
            peer.waiting.push_back(ticket);
        }
        self.waiting.insert(to);
        self.want_ports(now, to);
    }

    /// Gives a request a port, if there is one for it.
    pub(super) fn place(&mut self, now: Instant, ticket: Ticket) -> bool {
        let Some(call) = self.calls.get(ticket) else { return true };
        let (to, code, streams) = (call.peer, call.code, call.streams.is_some());
        self.stats.looked += 1;
        let plain = self.is_plain(code);
        let Some(peer) = self.peers.get(to) else { return false };
        if !plain && peer.is_own(now) {
            return self.place_own(now, ticket, to);
        }
        // Nor has anybody else entities in pieces.
        if extension::is_own(code) || streams {
            self.ended(ticket, Err(CallError::not_sent(Cause::NotOurs)));
            return true;
        }
        let free = |port: Port| {
            let rests = |lane: &Lane| if plain { lane.tainted } else { lane.resting };
            peer.lane(port).is_none_or(|lane| lane.is_free() && rests(lane).is_none_or(|until| until <= now))
        };
        let open = |port: Port| self.ports.get(port).is_some_and(|socket| socket.local.is_some());
        let exit = code == tables::of(self.config.dialect).exit;
        let last = peer.last_port.filter(|&port| exit && open(port));
        if last.and_then(|port| peer.lane(port)).is_some_and(Lane::is_ending) {
            // EXIT leaves from the port whose traffic it ends.
            return false;
        }
        let last = last.filter(|&port| free(port));
        let first = || {
            let mut all = self.ports.of(to.is_ipv6()).map(|socket| socket.port);
            all.find(|&port| open(port) && free(port))
        };
        let Some(port) = last.or_else(first) else { return false };
        if !plain && peer.under_way() >= self.config.exchanges.max(1) {
            return false;
        }
        if self.busy > 0 && self.spare() < 2 * RESERVE {
            self.tight = true;
            return false;
        }
        self.busy += 1;
        if let Some(socket) = self.ports.get_mut(port) {
            socket.users += 1;
        }
        self.idle_port(now, port);
        if let Some(call) = self.calls.get_mut(ticket) {
            call.place = Place::Lane(port);
        }
        if self.asks(now, to, code) {
            let left = self.config.query_attempts.saturating_sub(1);
            let again = after(now, self.config.query_every);
            self.work(to, port, Work::Query { ticket, left, again });
        } else {
            self.begin(now, ticket, to, port);
        }
        true
    }

    /// Whether a request asks SECURE_QUERY first.
    pub(super) fn asks(&self, now: Instant, to: SocketAddr, code: Code) -> bool {
        let Some(peer) = self.peers.get(to) else { return false };
        if security::exempt(code)
            || !security::asks(self.config.dialect)
            || matches!(peer.kind, Kind::Ours(_))
        {
            return false;
        }
        match self.config.security {
            Security::Always => true,
            Security::Unasked => false,
            Security::Remembered(_) => peer.clear_until.is_none_or(|until| until <= now),
        }
    }

    /// Whether waiting has an end that is near: a port is being opened.
    pub(super) fn may_come(&self, peer: SocketAddr) -> bool {
        let waiting = self.peers.get(peer).map_or(0, |peer| peer.waiting.len());
        self.ports.opening(peer.is_ipv6()) >= waiting
    }

    /// Opens as many ports as the requests that wait for this peer could use, the last of them in the place of one that
    /// is of no more use to it.
    pub(super) fn want_ports(&mut self, now: Instant, to: SocketAddr) {
        let v6 = to.is_ipv6();
        let reopen = self.reopen.get(usize::from(v6)).copied().flatten();
        if reopen.is_some_and(|at| at > now) {
            return;
        }
        let Some(peer) = self.peers.get(to) else { return };
        let first = peer.waiting.front().and_then(|&ticket| self.calls.get(ticket));
        let plain = first.is_some_and(|call| self.table.plain.contains(&call.code));
        let unfit = peer.lanes.iter().any(|lane| lane.is_unfit(now, plain));
        let exchanges = self.config.exchanges.max(1).saturating_sub(peer.under_way());
        let wanted = peer.waiting.len().min(exchanges);
        let most = self.most() + usize::from(unfit);
        while self.ports.opening(v6) < wanted {
            if self.ports.of(v6).count() >= most {
                if unfit {
                    self.stuck.insert(to);
                }
                return;
            }
            let port = self.ports.add(v6);
            self.actions.push_back(Action::Open { port, v6 });
        }
    }

    pub(super) fn most(&self) -> usize {
        self.config.ports.max(1)
    }

    /// Where there is a port too many, closes one of no more use that nobody uses, and looks after those who wait for
    /// that. It was open until now, so that the system could not give its number to its successor.
    pub(super) fn close_spent(&mut self, now: Instant, v6: bool) {
        if self.ports.open(v6) <= self.most() {
            return;
        }
        let spent = |socket: &&Socket| {
            let own = self.own.iter().flatten().find(|own| own.port == socket.port);
            socket.is_spent(now) && own.is_none_or(|own| own.endpoint.is_idle())
        };
        // One whose peer may say yet that it is at its end is the last to go.
        let last = self.ports.of(v6).filter(spent).max_by_key(|socket| (socket.left == 0, socket.unfit));
        let Some(port) = last.map(|socket| socket.port) else { return };
        self.close_port(now, port);
        self.pump_stuck(now);
        if self.tight {
            self.pump_all(now);
        }
    }

    fn close_port(&mut self, now: Instant, port: Port) {
        self.remember(now, port);
        self.forget_port(port, Cause::Closed);
        self.actions.push_back(Action::Close(port));
    }

    /// Remembers which peers hold something for the number of a port, or may still answer to it.
    pub(super) fn remember(&mut self, now: Instant, port: Port) {
        let local = self.ports.get(port).and_then(|socket| socket.local);
        let Some(local) = local.map(|local| local.port()) else { return };
        for (_, peer) in self.peers.iter_mut() {
            let Some(lane) = peer.lane(port) else { continue };
            if matches!(&lane.work, Work::Exchange { requester, .. } if requester.is_spoilt()) {
                self.stats.spoilt += 1;
            }
            if let Some(until) = lane.unfit_until(now) {
                peer.spoil(now, local, until);
            }
        }
    }

    /// A port is open, with the number of an earlier one perhaps. If that is not to be used for one who waits, and it is
    /// one too many, there is nothing to close in its place but itself; then another is tried later.
    pub(super) fn opened(&mut self, now: Instant, port: Port, local: u16) {
        let Some(v6) = self.ports.get(port).map(|socket| socket.v6) else { return };
        let (mut unfit, mut useless) = (None, false);
        for (at, peer) in self.peers.iter_mut().filter(|(at, _)| at.is_ipv6() == v6) {
            if let Some(until) = peer.spoilt_until(now, local) {
                peer.lane_of(port).spoilt = true;
                unfit = unfit.max(Some(until));
                useless |= self.waiting.contains(&at);
            }
        }
        if useless && self.ports.open(v6) > self.most() {
            self.close_port(now, port);
            self.reopen_later(now, v6);
            return;
        }
        if let Some(socket) = self.ports.get_mut(port) {
            socket.unfit = unfit;
        }
        self.idle_port(now, port);
        self.close_spent(now, v6);
    }

    pub(super) fn reopen_later(&mut self, now: Instant, v6: bool) {
        let at = now + Config::REOPEN;
        if let Some(reopen) = self.reopen.get_mut(usize::from(v6)) {
            *reopen = Some(at);
        }
        self.timers.insert((at, Timer::Reopen(v6)));
    }

    /// Lets those go that wait for this peer, as far as there are ports; tells whether any did.
    pub(super) fn pump(&mut self, now: Instant, to: SocketAddr) -> bool {
        let exit = tables::of(self.config.dialect).exit;
        let (mut at, mut placed) = (0, false);
        while let Some(&ticket) = self.peers.get(to).and_then(|peer| peer.waiting.get(at)) {
            if self.place(now, ticket) {
                placed = true;
                // What has ended meanwhile may have let others go.
                if let Some(peer) = self.peers.get_mut(to)
                    && peer.waiting.get(at) == Some(&ticket)
                {
                    peer.waiting.remove(at);
                }
            } else if self.calls.get(ticket).is_some_and(|call| call.code == exit) {
                // It waits for one port, and holds nobody up.
                at += 1;
            } else {
                break;
            }
        }
        if self.peers.get(to).is_none_or(|peer| peer.waiting.is_empty()) {
            self.waiting.remove(&to);
        } else {
            self.want_ports(now, to);
        }
        placed
    }

    /// Lets those go that wait, peer by peer. Where there is no room for one the others are not looked at: it is
    /// the first when there is, unless it has just had its turn.
    pub(super) fn pump_all(&mut self, now: Instant) {
        self.tight = false;
        for _ in 0..self.waiting.len() {
            let next = self.waiting.range((self.turn, Bound::Unbounded)).next();
            let Some(&peer) = next.or_else(|| self.waiting.first()) else { return };
            self.turn = Bound::Excluded(peer);
            let placed = self.pump(now, peer);
            if self.tight {
                if !placed {
                    self.turn = Bound::Included(peer);
                }
                return;
            }
        }
    }

    /// Looks after those for whom a port has to be closed, as one may be now.
    pub(super) fn pump_stuck(&mut self, now: Instant) {
        for peer in std::mem::take(&mut self.stuck) {
            if self.waiting.contains(&peer) {
                self.want_ports(now, peer);
            }
        }
    }

    pub(super) fn fail_waiting(&mut self, v6: bool, cause: Cause) {
        let waiting = |call: &Call| call.place == Place::Waiting && call.peer.is_ipv6() == v6;
        for ticket in self.in_order(waiting) {
            self.ended(ticket, Err(CallError::not_sent(cause)));
        }
    }

    /// Forgets a port, and ends what is under way there.
    pub(super) fn forget_port(&mut self, port: Port, cause: Cause) {
        for v6 in [false, true] {
            if own_of(&mut self.own, v6).is_some_and(|own| own.port == port) {
                self.lose_own(v6, cause);
            }
        }
        if let Some(due) = self.ports.remove(port).and_then(|socket| socket.due) {
            self.timers.remove(&(due, Timer::Port(port)));
        }
        let mut lost = Vec::new();
        for (to, peer) in self.peers.iter_mut() {
            peer.last_port = peer.last_port.filter(|&last| last != port);
            let Some(at) = peer.lanes.iter().position(|lane| lane.port == port) else { continue };
            let lane = peer.lanes.remove(at);
            if let Some(due) = lane.timer {
                self.timers.remove(&(due, Timer::Lane(to, port)));
            }
            self.ledger.give(lane.booked);
            self.busy -= usize::from(lane.is_busy());
            let given = lane.given > 0 && !matches!(lane.work, Work::Query { .. });
            lost.extend(lane.ticket().map(|ticket| (ticket, given)));
        }
        lost.sort_unstable();
        for (ticket, given) in lost {
            let error = if given { CallError::possibly_executed(cause) } else { CallError::not_sent(cause) };
            self.ended(ticket, Err(error));
        }
    }

    /// Sets the timer that closes a port nobody uses, unless it is the first of its family.
    pub(super) fn idle_port(&mut self, now: Instant, port: Port) {
        let first = self.ports.is_first(port);
        let Some(socket) = self.ports.get_mut(port) else { return };
        let due = (socket.users == 0 && socket.local.is_some() && !first).then(|| now + Config::LINGER);
        if let Some(old) = std::mem::replace(&mut socket.due, due) {
            self.timers.remove(&(old, Timer::Port(port)));
        }
        if let Some(due) = due {
            self.timers.insert((due, Timer::Port(port)));
        }
    }

    pub(super) fn port_timeout(&mut self, now: Instant, port: Port) {
        let Some(socket) = self.ports.get_mut(port) else { return };
        socket.due = None;
        if socket.users == 0 {
            self.close_port(now, port);
            self.pump_stuck(now);
        }
    }
}
