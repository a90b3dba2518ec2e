//! What a caller is made with, and how one request is made.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fixp_codec::Dialect;

use crate::Repeat;
use crate::keep::{Limits, own, requester};
use crate::udp::{self, Security};

/// How one request is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Until when there must be an answer, waiting and SECURE_QUERY included; [`Config::timeout`] if nothing.
    pub timeout: Option<Duration>,
    /// What of it may be sent again.
    pub repeat: Repeat,
    /// Whether it waits where no port is free and none can be opened; otherwise that is
    /// [`Cause::Full`](crate::Cause::Full).
    pub wait: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: None, repeat: Repeat::default(), wait: true }
    }
}

/// What a [`Caller`](super::Caller) is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The dialect of all peers.
    pub dialect: &'static Dialect,
    /// Whether we announce ourselves, and use the own transport with peers of ours.
    pub extensions: bool,
    /// How long a request may take unless it says otherwise.
    pub timeout: Duration,
    /// Whether SECURE_QUERY is asked of a peer of another make.
    pub security: Security,
    /// How long one attempt waits of SECURE_QUERY, of EXIT, and of what else is one datagram in KEEP UDP, too, where
    /// [repeating it is harmless](Repeat::Harmless).
    pub query_every: Duration,
    /// How many attempts SECURE_QUERY has.
    pub query_attempts: u32,
    /// Ports open at a time for each address family, at least one; and one more, while it takes the place of one that
    /// is of no more use to a peer. One exchange with each legacy peer is under way on each of them.
    pub ports: usize,
    /// Exchanges under way at a time with one legacy peer; more ports than that are of use, since one has its end
    /// to wait for after each.
    pub exchanges: usize,
    /// How long a port rests after an exchange with a lexst1 peer, whose server puts a piece that the network
    /// brings once more among those of the next request from that port.
    pub settle: Duration,
    /// Requests at a time, those that wait included. One more is [`Cause::Full`](crate::Cause::Full).
    pub requests: usize,
    /// Bytes of everything held: half of it for requests, past which one more is
    /// [`Cause::Full`](crate::Cause::Full), the rest for exchanges under way. One takes its request and 32 KiB to
    /// begin with, and waits where they are not there, unless it is alone; answers on their way may take all that is
    /// left. Past that a piece of an answer is dropped as if it were lost; for the oldest request, the youngest with an
    /// answer on its way is given up.
    pub bytes: usize,
    /// Peers remembered at a time. Past it the most silent are forgotten; if none may be, one more is
    /// [`Cause::Full`](crate::Cause::Full).
    pub peers: usize,
    /// After how long without traffic a peer is forgotten.
    pub peer_expiry: Duration,
    /// The identity of the first exchange; by chance if nothing is said. The programs begin with 1; by chance no
    /// client takes what one before it has left on the same port for its own.
    pub identity: Option<i32>,
    /// How one exchange with a legacy peer goes. Dialect, time-out, identity, BIND_IP and whether it is repeated
    /// are the caller's.
    pub exchange: requester::Config,
    /// The own transport. The buffer's size is that of the socket, where it is known.
    pub own: own::Config,
    /// The address that datagrams to a peer leave from where the socket is bound to none; wanted by dialects
    /// with BIND_IP only.
    pub source: fn(SocketAddr) -> Option<IpAddr>,
}

impl Config {
    /// The same for peers of another dialect. What was set stays, but for times that are a dialect's own.
    #[must_use]
    pub fn in_dialect(self, dialect: &'static Dialect) -> Self {
        Self { dialect, exchange: self.exchange.in_dialect(dialect), ..self }
    }

    /// Default of [`Config::timeout`]: three attempts of SECURE_QUERY, as the programs have.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
    /// Default of [`Config::ports`].
    pub const PORTS: usize = 16;
    /// Default of [`Config::exchanges`].
    pub const EXCHANGES: usize = Self::PORTS;
    /// Default of [`Config::settle`]: doubled frames come together. With sixteen ports it allows 800 requests a
    /// second to one lexst1 peer.
    pub const SETTLE: Duration = udp::Config::SETTLE;
    /// Default of [`Config::requests`]. Each costs some 400 bytes and its packet.
    pub const REQUESTS: usize = 16384;
    /// Default of [`Config::bytes`], 64 MiB: two of the largest answers, and as much of requests.
    pub const BYTES: usize = 64 << 20;
    /// Default of [`Config::peers`]. Each costs some 300 bytes, and 400 for each port in use.
    pub const PEERS: usize = 16384;
    /// Default of [`Config::peer_expiry`].
    pub const PEER_EXPIRY: Duration = Duration::from_secs(5 * 60);
    /// RETRY of one exchange at a time: 3200 pieces of laxcus6, 64 of lexst1. Less than a requester alone has,
    /// since there are many.
    pub const RETRIES: usize = 64;
    /// How long a port other than the first is kept without use.
    pub const LINGER: Duration = Duration::from_secs(5);
    /// After how long another port is tried where one could not be opened, or has a number that is not used yet.
    pub const REOPEN: Duration = Duration::from_secs(1);
    /// How long a port, or another of its number, is not used for a peer that holds what cannot be cleared: as long as
    /// lexst1 holds it.
    pub const SPOILT: Duration = Duration::from_secs(20 * 60);
    /// How long CANCEL may go unanswered after an answer: longer than a peer takes that has heard it, and shorter than
    /// until it is said again. Past it, and at once where there was no answer, another port may take the place.
    pub const END: Duration = Duration::from_secs(1);
    /// How long the own transport is not tried with a peer that has not answered OPEN.
    pub const OWN_AGAIN: Duration = Duration::from_secs(60);

    /// The defaults.
    #[must_use]
    pub fn new(dialect: &'static Dialect) -> Self {
        Self {
            dialect,
            extensions: true,
            timeout: Self::TIMEOUT,
            security: Security::Always,
            query_every: udp::Config::QUERY_EVERY,
            query_attempts: udp::Config::QUERY_ATTEMPTS,
            ports: Self::PORTS,
            exchanges: Self::EXCHANGES,
            settle: Self::SETTLE,
            requests: Self::REQUESTS,
            bytes: Self::BYTES,
            peers: Self::PEERS,
            peer_expiry: Self::PEER_EXPIRY,
            identity: None,
            exchange: requester::Config { retries: Self::RETRIES, ..requester::Config::new(dialect) },
            own: own::Config {
                // Only who asked for that reads an answer in pieces.
                gather_answers: Limits::ENTITY as u64,
                // Nobody answers: a stranger opens nothing here.
                half_open: 0,
                ..own::Config::default()
            },
            source: |_| None,
        }
    }
}
