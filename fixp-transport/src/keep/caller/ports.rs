//! The local ports: which are open, which are used, and which may be closed.

use std::net::SocketAddr;
use std::time::Instant;

/// A local port, never the number of two sockets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Port(u64);

/// What is to be done with the sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Open a port, and tell [`Caller::handle_bound`](super::Caller::handle_bound) how that went.
    Open {
        /// Its number.
        port: Port,
        /// Whether it is for IPv6 peers.
        v6: bool,
    },
    /// Close a port.
    Close(Port),
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) port: Port,
    pub(super) v6: bool,
    /// Its own address, when it is open.
    pub(super) local: Option<SocketAddr>,
    /// Exchanges under way, with any peer.
    pub(super) users: usize,
    /// Those of them that nobody waits for, and whose peer is silent.
    pub(super) left: usize,
    /// Until when there is a peer that it is not used for.
    pub(super) unfit: Option<Instant>,
    /// When it is closed for want of use.
    pub(super) due: Option<Instant>,
}

impl Socket {
    /// Whether it is of no more use to somebody, and none to anybody else now.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        let unfit = self.left > 0 || self.unfit.is_some_and(|until| now < until);
        unfit && self.users == self.left && self.local.is_some()
    }
}

/// The ports of both families, a few of each.
#[derive(Debug, Default)]
pub(super) struct Ports {
    all: Vec<Socket>,
    next: u64,
}

impl Ports {
    /// One more, which is not open yet.
    pub(super) fn add(&mut self, v6: bool) -> Port {
        let port = Port(self.next);
        self.next += 1;
        self.all.push(Socket { port, v6, local: None, users: 0, left: 0, unfit: None, due: None });
        port
    }

    pub(super) fn get(&self, port: Port) -> Option<&Socket> {
        self.all.iter().find(|socket| socket.port == port)
    }

    pub(super) fn get_mut(&mut self, port: Port) -> Option<&mut Socket> {
        self.all.iter_mut().find(|socket| socket.port == port)
    }

    pub(super) fn remove(&mut self, port: Port) -> Option<Socket> {
        let at = self.all.iter().position(|socket| socket.port == port)?;
        Some(self.all.remove(at))
    }

    /// Those of a family, in the order in which they were made.
    pub(super) fn of(&self, v6: bool) -> impl Iterator<Item = &Socket> {
        self.all.iter().filter(move |socket| socket.v6 == v6)
    }

    /// How many of a family are open.
    pub(super) fn open(&self, v6: bool) -> usize {
        self.of(v6).filter(|socket| socket.local.is_some()).count()
    }

    /// How many of a family are not open yet.
    pub(super) fn opening(&self, v6: bool) -> usize {
        self.of(v6).filter(|socket| socket.local.is_none()).count()
    }

    /// Whether it is the one that its family keeps.
    pub(super) fn is_first(&self, port: Port) -> bool {
        let family = self.get(port).map(|socket| socket.v6);
        family.is_some_and(|v6| self.of(v6).next().is_some_and(|first| first.port == port))
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn all(&self) -> Vec<Port> {
        self.all.iter().map(|socket| socket.port).collect()
    }
}
