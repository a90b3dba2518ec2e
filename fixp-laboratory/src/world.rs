//! All that there is in a laboratory, without a runtime: hosts and the ends of streams over a [`Wire`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

use crate::connection::Connection;
use crate::segment::{End, Parcel, Segment, Side};
use crate::wire::{Arriving, Wire};
use crate::{ConnectionId, Cut, Direction, HostConfig, Random};

/// The ports that are given to those who do not ask for one (RFC 6335).
const EPHEMERAL: u16 = 49_152;
/// What a datagram counts in a queue besides its content, or empty ones would be without bound.
const DATAGRAM: usize = 32;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) wire: Wire,
    pub(crate) now: Duration,
    pub(crate) hosts_config: HostConfig,
    /// To be woken when the world is left alone again.
    pub(crate) woken: Vec<Waker>,
    /// When the driver will look again.
    pub(crate) driven: Option<Duration>,
    random: Random,
    hosts: BTreeMap<IpAddr, Host>,
    ends: BTreeMap<End, Connection>,
    pairs: BTreeMap<u64, Pair>,
    timers: BTreeSet<(Duration, End)>,
    rules: Vec<Rule>,
    /// The last number given to a connection, a listener, a socket or a rule.
    last: u64,
}

#[derive(Debug)]
struct Host {
    config: HostConfig,
    up: bool,
    next_port: u16,
    listeners: BTreeMap<u16, Listening>,
    sockets: BTreeMap<u16, Bound>,
}

#[derive(Debug)]
struct Listening {
    number: u64,
    /// Connections that are being opened.
    opening: usize,
    open: VecDeque<End>,
    wakers: Vec<Waker>,
}

#[derive(Debug)]
struct Bound {
    number: u64,
    queue: VecDeque<(Bytes, SocketAddr)>,
    bytes: usize,
    wakers: Vec<Waker>,
}

/// What both ends of a connection share.
#[derive(Debug)]
struct Pair {
    client: SocketAddr,
    server: SocketAddr,
    silent: bool,
    /// The cut at the server's end, until that exists.
    cut: Option<(u64, Cut)>,
}

/// What is to happen to a connection that is not there yet.
#[derive(Debug)]
struct Rule {
    number: u64,
    from: IpAddr,
    to: IpAddr,
    port: Option<u16>,
    cuts: [Option<(u64, Cut)>; 2],
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            wire: Wire::with(seed, random.split()),
            now: Duration::ZERO,
            hosts_config: HostConfig::default(),
            woken: Vec::new(),
            driven: None,
            random,
            hosts: BTreeMap::new(),
            ends: BTreeMap::new(),
            pairs: BTreeMap::new(),
            timers: BTreeSet::new(),
            rules: Vec::new(),
            last: 0,
        }
    }

    pub(crate) fn random(&mut self) -> Random {
        self.random.split()
    }

    pub(crate) fn next_time(&self) -> Option<Duration> {
        let timer = self.timers.first().map(|(time, _)| *time);
        [self.wire.next_time(), timer].into_iter().flatten().min()
    }

    /// Lets everything happen that happens until then, each thing at its own time.
    pub(crate) fn advance(&mut self, until: Duration) {
        while let Some(time) = self.next_time()
            && time <= until
        {
            self.now = self.now.max(time);
            while let Some(arriving) = self.wire.arrival(self.now) {
                self.arrive(arriving);
            }
            while self.timers.first().is_some_and(|(time, _)| *time <= self.now)
                && let Some((_, end)) = self.timers.pop_first()
            {
                if let Some(connection) = self.ends.get_mut(&end) {
                    connection.handle_timeout(self.now);
                }
                self.settle(end);
            }
        }
        self.now = self.now.max(until);
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// Hosts.
impl World {
    pub(crate) fn add_host(&mut self, ip: IpAddr) {
        let config = self.hosts_config;
        self.hosts.entry(ip).or_insert_with(|| Host {
            config,
            up: true,
            next_port: EPHEMERAL,
            listeners: BTreeMap::new(),
            sockets: BTreeMap::new(),
        });
    }

    pub(crate) fn configure(&mut self, ip: IpAddr, config: HostConfig) {
        if let Some(host) = self.hosts.get_mut(&ip) {
            host.config = config;
        }
    }

    pub(crate) fn crash(&mut self, ip: IpAddr) {
        for end in self.ends_of(ip) {
            if let Some(connection) = self.ends.get_mut(&end) {
                connection.crash();
            }
            self.settle(end);
        }
        if let Some(host) = self.hosts.get_mut(&ip) {
            host.up = false;
            let listeners = std::mem::take(&mut host.listeners);
            for bound in std::mem::take(&mut host.sockets).into_values() {
                self.woken.extend(bound.wakers);
            }
            for listening in listeners.into_values() {
                self.woken.extend(listening.wakers);
                // Nobody holds these yet, so nobody would drop them.
                for end in listening.open {
                    self.close(end);
                }
            }
        }
    }

    pub(crate) fn restart(&mut self, ip: IpAddr) {
        if let Some(host) = self.hosts.get_mut(&ip) {
            host.up = true;
        }
    }

    pub(crate) fn reset(&mut self, ip: IpAddr) {
        for end in self.ends_of(ip) {
            if let Some(connection) = self.ends.get_mut(&end) {
                connection.reset(ErrorKind::ConnectionReset);
            }
            self.settle(end);
        }
    }

    fn ends_of(&self, ip: IpAddr) -> Vec<End> {
        let ends = self.ends.iter().filter(|(_, connection)| connection.local.ip() == ip);
        ends.map(|(end, _)| *end).collect()
    }

    /// A port of a host for a listener or a client, or for a socket: that which is asked for, if it is free,
    /// or else any.
    fn port(&mut self, ip: IpAddr, asked: u16, datagrams: bool) -> io::Result<u16> {
        let host = self.hosts.get_mut(&ip).filter(|host| host.up).ok_or(ErrorKind::NetworkDown)?;
        let ends = &self.ends;
        let taken = |host: &Host, port: u16| {
            if datagrams { host.sockets.contains_key(&port) } else { host.listeners.contains_key(&port) }
        };
        if asked != 0 {
            return if taken(host, asked) { Err(ErrorKind::AddrInUse.into()) } else { Ok(asked) };
        }
        for _ in EPHEMERAL..=u16::MAX {
            let port = host.next_port;
            host.next_port = port.checked_add(1).unwrap_or(EPHEMERAL);
            let local = SocketAddr::new(ip, port);
            let connected = !datagrams && ends.values().any(|connection| connection.local == local);
            if !taken(host, port) && !connected {
                return Ok(port);
            }
        }
        Err(ErrorKind::AddrNotAvailable.into())
    }
}

/// Datagrams.
impl World {
    pub(crate) fn bind(&mut self, ip: IpAddr, port: u16) -> io::Result<(SocketAddr, u64)> {
        let port = self.port(ip, port, true)?;
        let number = self.number();
        if let Some(host) = self.hosts.get_mut(&ip) {
            let bound = Bound { number, queue: VecDeque::new(), bytes: 0, wakers: Vec::new() };
            host.sockets.insert(port, bound);
        }
        Ok((SocketAddr::new(ip, port), number))
    }

    pub(crate) fn unbind(&mut self, local: SocketAddr, number: u64) {
        if self.bound(local, number).is_ok()
            && let Some(host) = self.hosts.get_mut(&local.ip())
            && let Some(bound) = host.sockets.remove(&local.port())
        {
            self.woken.extend(bound.wakers);
        }
    }

    pub(crate) fn send_to(
        &mut self,
        local: SocketAddr,
        number: u64,
        to: SocketAddr,
        datagram: &[u8],
    ) -> io::Result<()> {
        self.bound(local, number)?;
        self.wire.send(self.now, local, to, Bytes::copy_from_slice(datagram));
        Ok(())
    }

    /// The next datagram that has come to a socket; the waker is kept if there is none.
    pub(crate) fn receive(
        &mut self,
        local: SocketAddr,
        number: u64,
        waker: &Waker,
    ) -> io::Result<Option<(Bytes, SocketAddr)>> {
        let bound = self.bound(local, number)?;
        let datagram = bound.queue.pop_front();
        match &datagram {
            Some((bytes, _)) => bound.bytes -= bytes.len() + DATAGRAM,
            None => keep(&mut bound.wakers, waker),
        }
        Ok(datagram)
    }

    fn bound(&mut self, local: SocketAddr, number: u64) -> io::Result<&mut Bound> {
        let host = self.hosts.get_mut(&local.ip());
        let bound = host.and_then(|host| host.sockets.get_mut(&local.port()));
        // Another may have taken the port since the host crashed.
        bound.filter(|bound| bound.number == number).ok_or_else(|| ErrorKind::ConnectionAborted.into())
    }

    fn datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let Some(host) = self.hosts.get_mut(&to.ip()).filter(|host| host.up) else { return };
        let Some(bound) = host.sockets.get_mut(&to.port()) else { return };
        let size = bytes.len() + DATAGRAM;
        if bound.bytes + size > host.config.datagram_queue {
            let note = "dropped on arrival: receive queue full";
            self.wire.note(self.now, from, to, Parcel::Datagram(bytes), note);
            return;
        }
        bound.bytes += size;
        bound.queue.push_back((bytes, from));
        self.woken.append(&mut bound.wakers);
    }
}

/// Connections being made.
impl World {
    pub(crate) fn listen(&mut self, ip: IpAddr, port: u16) -> io::Result<(SocketAddr, u64)> {
        let port = self.port(ip, port, false)?;
        let number = self.number();
        if let Some(host) = self.hosts.get_mut(&ip) {
            let listening = Listening { number, opening: 0, open: VecDeque::new(), wakers: Vec::new() };
            host.listeners.insert(port, listening);
        }
        Ok((SocketAddr::new(ip, port), number))
    }

    pub(crate) fn unlisten(&mut self, local: SocketAddr, number: u64) {
        if self.listening(local, number).is_ok()
            && let Some(host) = self.hosts.get_mut(&local.ip())
            && let Some(listening) = host.listeners.remove(&local.port())
        {
            self.woken.extend(listening.wakers);
            for end in listening.open {
                if let Some(connection) = self.ends.get_mut(&end) {
                    connection.reset(ErrorKind::ConnectionReset);
                }
                self.close(end);
            }
        }
    }

    /// The next connection to a listener; the waker is kept if there is none.
    pub(crate) fn accept(
        &mut self,
        local: SocketAddr,
        number: u64,
        waker: &Waker,
    ) -> io::Result<Option<(End, SocketAddr)>> {
        loop {
            let listening = self.listening(local, number)?;
            let Some(end) = listening.open.pop_front() else {
                keep(&mut listening.wakers, waker);
                return Ok(None);
            };
            if let Some(connection) = self.ends.get(&end) {
                return Ok(Some((end, connection.peer)));
            }
        }
    }

    fn listening(&mut self, local: SocketAddr, number: u64) -> io::Result<&mut Listening> {
        let host = self.hosts.get_mut(&local.ip());
        let listening = host.and_then(|host| host.listeners.get_mut(&local.port()));
        listening
            .filter(|listening| listening.number == number)
            .ok_or_else(|| ErrorKind::ConnectionAborted.into())
    }

    pub(crate) fn connect(&mut self, ip: IpAddr, server: SocketAddr) -> io::Result<(End, SocketAddr)> {
        if ip.is_ipv4() != server.is_ipv4() || server.port() == 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        let client = SocketAddr::new(ip, self.port(ip, 0, false)?);
        let end = End { connection: self.number(), side: Side::Client };
        let rule = self.rules.iter().position(|rule| {
            (rule.from, rule.to) == (ip, server.ip()) && rule.port.is_none_or(|port| port == server.port())
        });
        let [to_server, to_client] = rule.map_or([None; 2], |rule| self.rules.remove(rule).cuts);
        self.pairs.insert(end.connection, Pair { client, server, silent: false, cut: to_server });
        let config = self.config(ip);
        self.ends.insert(end, Connection::new(end, client, server, config, to_client, self.now));
        self.settle(end);
        Ok((end, client))
    }

    /// Whether a connection has been made; the waker is kept until then.
    pub(crate) fn connected(&mut self, end: End, waker: &Waker) -> io::Result<bool> {
        let connection = self.ends.get_mut(&end).ok_or(ErrorKind::NotConnected)?;
        if connection.opened {
            return Ok(true);
        }
        if let Some(kind) = connection.error() {
            return Err(kind.into());
        }
        connection.writer = Some(waker.clone());
        Ok(false)
    }

    /// A first segment has come: the server's end of a connection begins.
    fn begin(&mut self, from: SocketAddr, to: SocketAddr, end: End) {
        // A late copy of the SYN of a connection that is over, or of one whose client has gone.
        if !self.ends.get(&end.other()).is_some_and(Connection::is_opening) {
            return;
        }
        let Some(host) = self.hosts.get_mut(&to.ip()) else { return };
        let Some(listening) = host.listeners.get_mut(&to.port()) else {
            return self.refuse(from, to, end);
        };
        if listening.opening + listening.open.len() >= host.config.backlog {
            return;
        }
        listening.opening += 1;
        let cut = self.pairs.get_mut(&end.connection).and_then(|pair| pair.cut.take());
        self.ends.insert(end, Connection::new(end, to, from, host.config, cut, self.now));
        self.settle(end);
    }

    /// The server's end has seen that the client's is open too.
    fn opened(&mut self, end: End, local: SocketAddr) {
        let host = self.hosts.get_mut(&local.ip());
        match host.and_then(|host| host.listeners.get_mut(&local.port())) {
            Some(listening) => {
                listening.opening = listening.opening.saturating_sub(1);
                listening.open.push_back(end);
                self.woken.append(&mut listening.wakers);
            }
            None => {
                if let Some(connection) = self.ends.get_mut(&end) {
                    connection.reset(ErrorKind::ConnectionReset);
                    connection.close();
                }
            }
        }
    }

    /// Answers a segment that is for nobody.
    fn refuse(&mut self, from: SocketAddr, to: SocketAddr, end: End) {
        let reset = Segment { rst: true, ..Segment::empty(end.other(), 0, Some(0)) };
        self.wire.send_segment(self.now, to, from, reset);
    }

    fn config(&self, ip: IpAddr) -> HostConfig {
        self.hosts.get(&ip).map_or(self.hosts_config, |host| host.config)
    }
}

/// Connections that are there.
impl World {
    /// Does something with an end, and lets the network have what comes of it.
    pub(crate) fn with_end<T>(
        &mut self,
        end: End,
        act: impl FnOnce(&mut Connection) -> io::Result<T>,
    ) -> io::Result<T> {
        let connection = self.ends.get_mut(&end).ok_or(ErrorKind::NotConnected)?;
        let result = act(connection);
        self.settle(end);
        result
    }

    /// The stream of this end is dropped.
    pub(crate) fn close(&mut self, end: End) {
        if let Some(connection) = self.ends.get_mut(&end) {
            connection.close();
            self.settle(end);
        }
    }

    fn arrive(&mut self, Arriving { from, to, parcel }: Arriving) {
        let segment = match parcel {
            Parcel::Datagram(bytes) => return self.datagram(from, to, bytes),
            Parcel::Segment(segment) => segment,
        };
        let end = segment.end;
        if !self.hosts.get(&to.ip()).is_some_and(|host| host.up) {
            return;
        }
        if self.is_silent(end) {
            let note = "dropped under way: the connection is cut";
            return self.wire.note(self.now, from, to, Parcel::Segment(segment), note);
        }
        match self.ends.get_mut(&end) {
            Some(connection) => {
                let opens = connection.handle(self.now, segment) && end.side == Side::Server;
                if opens {
                    self.opened(end, to);
                }
                self.settle(end);
                if opens {
                    // Its cut may have waited for this.
                    self.settle(end.other());
                }
            }
            None if segment.rst => {}
            None if segment.syn && segment.ack.is_none() => self.begin(from, to, end),
            // A late copy, for a connection of which neither end is left, has nobody who would hear.
            None if !self.pairs.contains_key(&end.connection) => {}
            None => self.refuse(from, to, end),
        }
    }

    /// Sends what an end has to send, cuts it if that is due, wakes its program, sets its timer, and forgets
    /// it when nothing is left.
    fn settle(&mut self, end: End) {
        self.send(end);
        // A cut before the first byte waits until both ends are open, so that there is a connection to be cut.
        if self.ends.get(&end.other()).is_none_or(|other| other.opened)
            && let Some(cut) = self.ends.get_mut(&end).and_then(Connection::cut_due)
        {
            self.cut(end, cut);
            self.send(end);
        }
        let Some(connection) = self.ends.get_mut(&end) else { return };
        if connection.is_readable() {
            self.woken.extend(connection.reader.take());
        }
        if connection.is_writable() {
            self.woken.extend(connection.writer.take());
        }
        let time = connection.next_time();
        if let Some(old) = std::mem::replace(&mut connection.armed, time)
            && Some(old) != time
        {
            self.timers.remove(&(old, end));
        }
        self.timers.extend(time.map(|time| (time, end)));
        // What was never accepted has no stream that could be dropped.
        if end.side == Side::Server && connection.is_dead() && !connection.opened {
            let local = connection.local;
            if let Some(host) = self.hosts.get_mut(&local.ip())
                && let Some(listening) = host.listeners.get_mut(&local.port())
            {
                listening.opening = listening.opening.saturating_sub(1);
            }
            self.forget(end);
        } else if connection.is_finished() {
            let dead = connection.is_dead();
            let other = self.ends.get(&end.other()).is_none_or(Connection::is_finished);
            // While the other end lives it may miss the last acknowledgement, and ask again.
            if dead || other {
                self.forget(end);
            }
            if other {
                self.forget(end.other());
            }
        }
    }

    fn send(&mut self, end: End) {
        let silent = self.is_silent(end);
        let Some(connection) = self.ends.get_mut(&end) else { return };
        let (from, to) = (connection.local, connection.peer);
        let path = self.wire.path(from.ip(), to.ip());
        while let Some(segment) = connection.output(self.now, path) {
            let seq = segment.seq;
            if silent {
                let note = "dropped: the connection is cut";
                self.wire.note(self.now, from, to, Parcel::Segment(segment), note);
            } else {
                let departs = self.wire.send_segment(self.now, from, to, segment);
                connection.departed(seq, self.now, departs);
            }
        }
    }

    fn forget(&mut self, end: End) {
        if let Some(connection) = self.ends.remove(&end) {
            self.woken.extend(connection.reader);
            self.woken.extend(connection.writer);
            if let Some(armed) = connection.armed {
                self.timers.remove(&(armed, end));
            }
        }
        if !self.ends.contains_key(&end.other()) {
            self.pairs.remove(&end.connection);
        }
    }
}

/// Cuts.
impl World {
    pub(crate) fn cut_after(&mut self, connection: ConnectionId, direction: Direction, bytes: u64, cut: Cut) {
        let end = End { connection: connection.0, side: direction.reader() };
        if let Some(connection) = self.ends.get_mut(&end) {
            connection.set_cut(bytes, cut);
            self.settle(end);
        } else if let Some(pair) = self.pairs.get_mut(&connection.0)
            && direction == Direction::ToServer
        {
            pair.cut = Some((bytes, cut));
        }
    }

    pub(crate) fn connections(&self, a: IpAddr, b: IpAddr) -> Vec<ConnectionId> {
        let between = |pair: &Pair| [(a, b), (b, a)].contains(&(pair.client.ip(), pair.server.ip()));
        let pairs = self.pairs.iter().filter(|(_, pair)| between(pair));
        pairs.map(|(number, _)| ConnectionId(*number)).collect()
    }

    pub(crate) fn add_rule(&mut self, from: IpAddr, to: IpAddr) -> u64 {
        let number = self.number();
        self.rules.push(Rule { number, from, to, port: None, cuts: [None; 2] });
        number
    }

    pub(crate) fn set_rule_port(&mut self, number: u64, port: u16) {
        if let Some(rule) = self.rules.iter_mut().find(|rule| rule.number == number) {
            rule.port = Some(port);
        }
    }

    pub(crate) fn set_rule_cut(&mut self, number: u64, direction: Direction, bytes: u64, cut: Cut) {
        if let Some(rule) = self.rules.iter_mut().find(|rule| rule.number == number) {
            let side = match direction {
                Direction::ToServer => 0,
                Direction::ToClient => 1,
            };
            rule.cuts[side] = Some((bytes, cut));
        }
    }

    fn cut(&mut self, end: End, cut: Cut) {
        match cut {
            Cut::Silence => {
                if let Some(pair) = self.pairs.get_mut(&end.connection) {
                    pair.silent = true;
                }
            }
            Cut::Reset => {
                if let Some(connection) = self.ends.get_mut(&end) {
                    connection.reset(ErrorKind::ConnectionReset);
                }
            }
            Cut::Fin => {
                let sent = self.ends.get(&end.other()).map_or(0, Connection::sent);
                if let Some(connection) = self.ends.get_mut(&end) {
                    connection.sever(sent);
                }
            }
        }
    }

    fn is_silent(&self, end: End) -> bool {
        self.pairs.get(&end.connection).is_some_and(|pair| pair.silent)
    }
}

fn keep(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|kept| kept.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}
