//! Which port a request gets, which wait, and which ports are opened and closed for that.

use std::net::SocketAddr;
use std::time::Instant;

use fixp_codec::Code;

use super::{Action, Config, Exchange, OWN, Out, Port, Security, Socket, Stage, Ticket, Timer};
use crate::timer::after;
use crate::udp::peers::{Kind, Lane, Peer};
use crate::udp::{MAX_DATAGRAM, security};
use crate::{Cause, extension, tables};

impl Exchange {
    /// Gives a request a port, if there is one for it.
    pub(super) fn place(&mut self, now: Instant, ticket: Ticket) -> bool {
        if self.place_own(now, ticket) {
            return true;
        }
        let Some(call) = self.calls.get(&ticket) else { return true };
        let (to, notice, code) = (call.peer, call.notice, call.packet.code);
        if extension::is_own(code) && self.peers.get(to).is_none_or(|peer| peer.kind != Kind::Own) {
            self.fail(now, ticket, Cause::NotOurs);
            return true;
        }
        let asks = self.asks(now, to, code);
        let exit = code == tables::of(self.config.dialect).exit;
        let Some(peer) = self.peers.get_mut(to) else { return false };
        peer.expire(now);
        peer.forget_closed(|port| self.ports.iter().any(|socket| socket.port == port));
        let v6 = to.is_ipv6();
        let open = |socket: &&Socket| socket.v6 == v6 && socket.local.is_some();
        let free = |port: Port| {
            peer.lane(port).is_none_or(|lane| {
                // A notice waits for no answer: only a request that does must not be disturbed by one to it.
                lane.is_free() || (notice && !asks && lane.outstanding.is_none() && lane.own == 0)
            })
        };
        // EXIT leaves from the port whose traffic it ends, even if that still rests: its answer can be told
        // from others.
        let last = peer.last_port.filter(|&port| {
            exit && self.ports.iter().filter(open).any(|socket| socket.port == port)
                && peer.lane(port).is_none_or(Lane::rests)
        });
        let first = || self.ports.iter().filter(open).map(|socket| socket.port).find(|&port| free(port));
        let Some(port) = last.or_else(first) else { return false };
        if asks {
            peer.lane_mut(port).outstanding = Some(ticket);
            self.occupy(port);
            let (left, again) =
                (self.config.query_attempts.saturating_sub(1), after(now, self.config.query_every));
            self.enter(ticket, Stage::Query { port, left, again });
        } else {
            self.place_legacy(now, ticket, port);
        }
        true
    }

    /// Gives a request to one of our own the first port, if that is what its peer is.
    pub(super) fn place_own(&mut self, now: Instant, ticket: Ticket) -> bool {
        let Some(call) = self.calls.get(&ticket) else { return false };
        let v6 = call.peer.is_ipv6();
        let Some(port) =
            self.ports.iter().find(|socket| socket.v6 == v6).filter(|socket| socket.local.is_some())
        else {
            return false;
        };
        let port = port.port;
        if !self.config.extensions || call.size + OWN > MAX_DATAGRAM {
            return false;
        }
        let Some(peer) = self.peers.get_mut(call.peer).filter(|peer| peer.kind == Kind::Own) else {
            return false;
        };
        // The answer to a request that has not announced us could not be told from one without its serial.
        let silent =
            peer.lane(port).and_then(|lane| lane.outstanding).and_then(|ticket| self.calls.get(&ticket));
        if silent.is_some_and(|call| !matches!(call.stage, Stage::Legacy { announces: true, .. })) {
            return false;
        }
        peer.lane_mut(port).own += 1;
        let (times, every) = (call.times, call.every);
        let mut serial = self.next_serial;
        while self.serials.contains_key(&serial) {
            serial = serial.wrapping_add(1);
        }
        self.next_serial = serial.wrapping_add(1);
        self.serials.insert(serial, ticket);
        self.occupy(port);
        self.enter(ticket, Stage::Own { port, serial, again: (times > 0).then(|| after(now, every)) });
        true
    }

    /// Sends a request without a serial from a port that is free for it.
    pub(super) fn place_legacy(&mut self, now: Instant, ticket: Ticket, port: Port) {
        let Some(call) = self.calls.get(&ticket) else { return };
        let announces = !call.notice && self.announcing(call, port, &call.packet);
        let again = (call.times > 0).then(|| after(now, call.every));
        if let Some(peer) = self.peers.get_mut(call.peer) {
            peer.lane_mut(port).outstanding = Some(ticket);
        }
        self.occupy(port);
        self.enter(ticket, Stage::Legacy { port, announces, again });
    }

    fn enter(&mut self, ticket: Ticket, stage: Stage) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        call.stage = stage;
        if !std::mem::replace(&mut call.queued, true) {
            self.outbox.push_back(Out::Call(ticket));
        }
        self.set_call_timer(ticket);
    }

    /// Whether this request asks SECURE_QUERY first.
    pub(super) fn asks(&self, now: Instant, peer: SocketAddr, code: Code) -> bool {
        if security::exempt(code) || !security::asks(self.config.dialect) {
            return false;
        }
        match self.config.security {
            Security::Always => true,
            Security::Unasked => false,
            Security::Remembered(_) => {
                let until = self.peers.get(peer).and_then(|peer| peer.clear_until);
                until.is_none_or(|until| until <= now)
            }
        }
    }

    pub(super) fn wait(&mut self, now: Instant, to: SocketAddr, ticket: Ticket) {
        if let Some(peer) = self.peers.get_mut(to) {
            peer.waiting.push_back(ticket);
            self.waiting.insert(to);
        }
        self.want_ports(now, to);
    }

    /// Whether waiting has an end that is near: a port is being opened.
    pub(super) fn may_come(&self, peer: SocketAddr) -> bool {
        let waiting = self.peers.get(peer).map_or(0, |peer| peer.waiting.len());
        self.opening(peer.is_ipv6()) >= waiting
    }

    fn opening(&self, v6: bool) -> usize {
        self.ports.iter().filter(|socket| socket.v6 == v6 && socket.local.is_none()).count()
    }

    /// Opens as many ports as the requests that wait for this peer could use, the last of them in the place of one
    /// in quarantine, and sets the timer for when time gives it one.
    fn want_ports(&mut self, now: Instant, to: SocketAddr) {
        let Some(peer) = self.peers.get(to) else { return };
        let (v6, waiting) = (to.is_ipv6(), peer.waiting.len());
        if waiting == 0 {
            self.set_peer_timer(to, None);
            return;
        }
        let reopen = &mut self.reopen[usize::from(v6)];
        *reopen = reopen.filter(|&at| at > now);
        let reopen = *reopen;
        let mut open = self.ports.iter().filter(|socket| socket.v6 == v6).count();
        let mut opening = self.opening(v6);
        let most = self.most() + usize::from(self.is_tainted(now, to));
        if reopen.is_none() {
            while opening < waiting && open < most {
                let port = Port(self.next_port);
                self.next_port += 1;
                self.ports.push(Socket { port, v6, local: None, users: 0, until: None, timer: None });
                self.actions.push_back(Action::Open { port, v6 });
                opening += 1;
                open += 1;
            }
        }
        let blocked = reopen.filter(|_| open < most);
        let free = self.peers.get(to).and_then(Peer::free_at);
        self.set_peer_timer(to, free.into_iter().chain(blocked).min());
    }

    fn most(&self) -> usize {
        self.config.ports.max(1)
    }

    /// Whether a port that is open is in quarantine for this peer.
    fn is_tainted(&self, now: Instant, to: SocketAddr) -> bool {
        let Some(peer) = self.peers.get(to) else { return false };
        self.ports.iter().any(|socket| peer.lane(socket.port).is_some_and(|lane| lane.is_tainted(now)))
    }

    /// Closes a port that nobody uses where there is one too many, and tells whether there was: the one that is unfit
    /// for longest. It was open until now, so that the system could not give its number to its successor.
    pub(super) fn close_spent(&mut self, now: Instant, v6: bool) -> bool {
        let open = || self.ports.iter().filter(|socket| socket.v6 == v6 && socket.local.is_some());
        if open().count() <= self.most() {
            return false;
        }
        // What a peer of ours is told of a caller who has gone leaves first.
        let tells =
            |port| self.outbox.iter().any(|out| matches!(out, Out::Cancel { port: at, .. } if *at == port));
        let unfit = open().filter(|socket| {
            socket.users == 0 && socket.until.is_some_and(|until| now < until) && !tells(socket.port)
        });
        let Some(port) = unfit.max_by_key(|socket| socket.until).map(|socket| socket.port) else {
            return false;
        };
        let Some(at) = self.ports.iter().position(|socket| socket.port == port) else { return false };
        let socket = self.ports.remove(at);
        if let Some(due) = socket.timer {
            self.timers.remove(&(due, Timer::Port(port)));
        }
        self.spent.extend(socket.local.zip(socket.until));
        self.actions.push_back(Action::Close(port));
        true
    }

    fn set_peer_timer(&mut self, to: SocketAddr, at: Option<Instant>) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        if let Some(old) = std::mem::replace(&mut peer.timer, at) {
            self.timers.remove(&(old, Timer::Peer(to)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Timer::Peer(to)));
        }
    }

    /// Lets those go that wait for this peer, as far as there are ports.
    pub(super) fn pump(&mut self, now: Instant, to: SocketAddr) {
        while let Some(&ticket) = self.peers.get(to).and_then(|peer| peer.waiting.front()) {
            if !self.place(now, ticket) {
                break;
            }
            if let Some(peer) = self.peers.get_mut(to) {
                peer.waiting.pop_front();
            }
        }
        if self.peers.get(to).is_none_or(|peer| peer.waiting.is_empty()) {
            self.waiting.remove(&to);
        }
        self.want_ports(now, to);
    }

    pub(super) fn pump_all(&mut self, now: Instant) {
        for peer in self.waiting.iter().copied().collect::<Vec<_>>() {
            self.pump(now, peer);
        }
    }

    fn occupy(&mut self, port: Port) {
        if let Some(socket) = self.ports.iter_mut().find(|socket| socket.port == port) {
            socket.users += 1;
        }
    }

    pub(super) fn release(&mut self, now: Instant, port: Port, until: Option<Instant>) {
        let Some(socket) = self.ports.iter_mut().find(|socket| socket.port == port) else { return };
        socket.users -= 1;
        socket.until = socket.until.max(until);
        let v6 = socket.v6;
        self.idle_port(now, port);
        if self.close_spent(now, v6) {
            // There is room for the successor of another.
            let mut waiting = self.waiting.iter().copied().filter(|to| to.is_ipv6() == v6);
            if let Some(to) = waiting.find(|&to| self.is_tainted(now, to)) {
                self.want_ports(now, to);
            }
        }
    }

    /// Sets the timer that closes a port nobody uses, unless it is the first of its family.
    pub(super) fn idle_port(&mut self, now: Instant, port: Port) {
        let Some(at) = self.ports.iter().position(|socket| socket.port == port) else { return };
        let v6 = self.ports[at].v6;
        let first = self.ports[..at].iter().all(|socket| socket.v6 != v6);
        let socket = &mut self.ports[at];
        let due = (socket.users == 0 && !first)
            .then(|| socket.until.filter(|&until| until > now).unwrap_or(now) + Config::LINGER);
        if let Some(old) = std::mem::replace(&mut socket.timer, due) {
            self.timers.remove(&(old, Timer::Port(port)));
        }
        if let Some(due) = due {
            self.timers.insert((due, Timer::Port(port)));
        }
    }
}
