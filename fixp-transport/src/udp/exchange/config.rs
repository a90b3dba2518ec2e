//! What an exchange is made with, and how one request is.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fixp_codec::Dialect;

use crate::udp::{MTU_V4, MTU_V6};

/// How often a request in one datagram is sent. What a channel, or KEEP UDP, sends again is another question:
/// [`crate::Repeat`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Repeat {
    /// Once: it would be executed twice otherwise.
    #[default]
    Never,
    /// Again while there is no answer: repeating it is harmless.
    Harmless {
        /// How many times again.
        times: u32,
        /// After how long each.
        every: Duration,
    },
}

/// Whether a laxcus6 client asks SECURE_QUERY before its requests and notices. It never does before TEST, EXIT
/// and the security calls, to our own peers, and in dialects that have no such request.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Security {
    /// Before each, as recorded.
    #[default]
    Always,
    /// When the peer's leave is older than this.
    Remembered(Duration),
    /// Never.
    Unasked,
}

/// How one request is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Until when there must be an answer, waiting and SECURE_QUERY included; [`Config::timeout`] if nothing.
    pub timeout: Option<Duration>,
    /// Whether it is repeated.
    pub repeat: Repeat,
    /// Whether it waits where no port is free and none can be opened; otherwise that is [`Cause::Full`](crate::Cause::Full).
    pub wait: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: None, repeat: Repeat::Never, wait: true }
    }
}

/// What an exchange is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The dialect of all peers.
    pub dialect: &'static Dialect,
    /// Whether we announce ourselves.
    pub extensions: bool,
    /// How long a request may take unless it says otherwise.
    pub timeout: Duration,
    /// Whether SECURE_QUERY is asked.
    pub security: Security,
    /// How long one attempt of SECURE_QUERY waits.
    pub query_every: Duration,
    /// How many attempts it has.
    pub query_attempts: u32,
    /// Ports open at a time for each address family, at least one; and one more, while it takes the place of one in
    /// quarantine.
    pub ports: usize,
    /// How long an answer that nobody waits for any more may still come. For so long the port that it would come to is
    /// not used for its peer, and an address is not used again whose port was closed meanwhile to make room: should the
    /// system give it again, which it does by chance, another is tried after [`Config::REOPEN`]. The addresses that
    /// are remembered for that are ports of this host, 6 MiB of them at worst. That the system gives one to another
    /// program of this host, nobody can prevent.
    pub quarantine: Duration,
    /// How long a second answer may come after the first, where the network has doubled one of them or the
    /// request. In the last case a server's work takes a little longer or shorter, too: where that matters, and
    /// the network doubles, set more.
    pub settle: Duration,
    /// Over how many bytes a datagram to an IPv4 peer is warned of.
    pub warn_v4: usize,
    /// The same for IPv6.
    pub warn_v6: usize,
    /// Requests and notices at a time, those that wait included. One more is [`Cause::Full`](crate::Cause::Full).
    pub requests: usize,
    /// The bytes of those. Past it, one more is [`Cause::Full`](crate::Cause::Full).
    pub bytes: usize,
    /// Peers remembered at a time. Past it the most silent are forgotten; if none may be, one more is
    /// [`Cause::Full`](crate::Cause::Full).
    pub peers: usize,
    /// After how long without traffic a peer is forgotten.
    pub peer_expiry: Duration,
    /// The address that datagrams to a peer leave from where the socket is bound to none; wanted by dialects
    /// with BIND_IP only.
    pub source: fn(SocketAddr) -> Option<IpAddr>,
}

impl Config {
    /// Default of [`Config::timeout`]: three attempts of SECURE_QUERY, as the programs have.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
    /// Default of [`Config::query_every`]: the programs' sub-packet time-out.
    pub const QUERY_EVERY: Duration = Duration::from_secs(10);
    /// Default of [`Config::query_attempts`], as recorded.
    pub const QUERY_ATTEMPTS: u32 = 3;
    /// Default of [`Config::ports`].
    pub const PORTS: usize = 16;
    /// Default of [`Config::quarantine`]: longer than a server works at what its client has given up.
    pub const QUARANTINE: Duration = Duration::from_secs(60);
    /// Default of [`Config::settle`]: doubled frames come together. With sixteen ports it allows 800 requests a
    /// second to one legacy peer.
    pub const SETTLE: Duration = Duration::from_millis(20);
    /// Default of [`Config::requests`]. Each costs some 400 bytes and its packet.
    pub const REQUESTS: usize = 16384;
    /// Default of [`Config::bytes`], 16 MiB.
    pub const BYTES: usize = 16 << 20;
    /// Default of [`Config::peers`]. Each costs some 250 bytes, and 80 for each port in use: 25 MiB at worst.
    pub const PEERS: usize = 16384;
    /// Default of [`Config::peer_expiry`].
    pub const PEER_EXPIRY: Duration = Duration::from_secs(5 * 60);
    /// How long a port other than the first is kept without use.
    pub const LINGER: Duration = Duration::from_secs(5);
    /// After how long another port is tried where one could not be opened, or has an address that is not used yet.
    pub const REOPEN: Duration = Duration::from_secs(1);

    /// The defaults.
    #[must_use]
    pub const fn new(dialect: &'static Dialect) -> Self {
        Self {
            dialect,
            extensions: true,
            timeout: Self::TIMEOUT,
            security: Security::Always,
            query_every: Self::QUERY_EVERY,
            query_attempts: Self::QUERY_ATTEMPTS,
            ports: Self::PORTS,
            quarantine: Self::QUARANTINE,
            settle: Self::SETTLE,
            warn_v4: MTU_V4,
            warn_v6: MTU_V6,
            requests: Self::REQUESTS,
            bytes: Self::BYTES,
            peers: Self::PEERS,
            peer_expiry: Self::PEER_EXPIRY,
            source: |_| None,
        }
    }
}
