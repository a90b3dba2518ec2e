//! Every bound of the transport, with its default, its reason, and the memory it can cost. Those in time are of
//! SPEC 11.17.
//!
//! ```
//! use fixp_transport::limits::ServerLimits;
//!
//! let small = ServerLimits { connections: 100, ..ServerLimits::default() };
//! assert_eq!(small.gather, ServerLimits::GATHER);
//! ```

use std::fmt;
use std::time::Duration;

use crate::keep;
use crate::keep::budget::Rates;
use crate::keep::own;
use crate::keep::pace::Pace;
use crate::timer::bounded;

/// What a server takes at most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerLimits {
    /// TCP connections at a time. One more is closed at once, without a byte.
    pub connections: usize,
    /// TCP connections at a time from one address (for IPv6, from one /64).
    pub connections_per_source: usize,
    /// Bytes of the head of a packet: see [`fixp_codec::Limits::head`].
    pub head: usize,
    /// Bytes of an entity. A longer one ends the connection; one of a peer of ours is refused, and dropped as it comes.
    pub entity: u64,
    /// Bytes of an entity that is gathered before the handler is called. A longer one is handed to it in pieces. Also of
    /// the body of an answer that is gathered before its head leaves, where others would wait behind it.
    pub gather: usize,
    /// Requests of one connection whose answers are not written, where its peer pipelines.
    pub requests_per_connection: usize,
    /// Bytes of requests and answers of one connection: past it, nothing is read from it.
    pub bytes_per_connection: usize,
    /// The same of all connections and datagrams together. What counts are the bytes on the wire and, of requests, the
    /// size of a [`Message`](fixp_codec::Message), 48 bytes, for each. At most half of them are of packets that are not
    /// whole. Costs twice that, since what was read and waits for room may be as much, and 4 KiB for each connection. Where somebody finds no room, the slowest whose packet comes, or who takes what is
    /// written to it, at less than 64 KiB a second loses its own.
    pub bytes: usize,
    /// Datagrams being handled at a time; further ones are dropped, as a full socket would.
    pub datagrams: usize,
    /// What plain answers over UDP may have for a source prefix (an IPv4 /24, an IPv6 /56) beyond three times the
    /// bytes of their requests, in bytes a second: what passes it is not sent.
    pub plain_rate: u64,
    /// The same at once.
    pub plain_burst: u64,
    /// How long a head may take from its first byte to its last.
    pub head_time: Duration,
    /// How long an entity may make no progress while the server wants it. One that is gathered takes at most ten times
    /// that.
    pub entity_time: Duration,
    /// How long a connection may be idle: no byte either way, and nothing being handled.
    pub idle_time: Duration,
    /// How long a peer may take no byte while there are some for it. In ten times that it takes 64 KiB, or all there are.
    pub write_time: Duration,
    /// How long an ordered channel is remembered without a request.
    pub ordered_time: Duration,
    /// Ordered channels remembered at a time; past it, the one silent for longest without work is forgotten.
    pub ordered_channels: usize,
    /// Bytes of kept answers of one ordered channel, counted as in `bytes`; past it the oldest are dropped.
    pub ordered_bytes: usize,
    /// Those of KEEP UDP: of each socket and dialect, its bytes of all together. A request that is whole waits where `datagrams` or `bytes` have no room
    /// for it.
    pub keep: keep::Limits,
    /// What leaves for a source prefix over KEEP UDP beyond what came from there, for each socket and dialect.
    pub keep_budget: Rates,
    /// Bytes a second at which the pieces of an answer leave, at most.
    pub keep_pace: u64,
    /// Associations of the own transport at a time, on each socket.
    pub keep_associations: usize,
    /// Beside them, those whose client has not proven its address. The oldest gives way.
    pub keep_half_open: usize,
    /// Exchanges of an association at a time.
    pub keep_exchanges: u64,
    /// Bytes of a request that its client may be ahead of the handler.
    pub keep_window: u64,
    /// The same of all requests of an association.
    pub keep_association_window: u64,
}

impl ServerLimits {
    /// Default of [`ServerLimits::connections`]. Idle, each costs at most 8 KiB: 128 MiB in all.
    pub const CONNECTIONS: usize = 16384;
    /// Default of [`ServerLimits::connections_per_source`]: a whole cluster behind one gateway, not one peer
    /// that takes all.
    pub const CONNECTIONS_PER_SOURCE: usize = 4096;
    /// Default of [`ServerLimits::head`], 64 KiB: a thousand messages. Costs up to twice that while a head comes, and
    /// 48 bytes for each message once it is whole: 768 KiB for a head of empty ones, within [`ServerLimits::bytes`].
    pub const HEAD: usize = 64 << 10;
    /// Default of [`ServerLimits::entity`], 1 GiB: sixteen Laxcus data chunks. Costs nothing: it comes in pieces.
    pub const ENTITY: u64 = 1 << 30;
    /// Default of [`ServerLimits::gather`], 256 KiB: a call or a log, not a chunk.
    pub const GATHER: usize = 256 << 10;
    /// Default of [`ServerLimits::requests_per_connection`]: as many as a channel has by default.
    pub const REQUESTS_PER_CONNECTION: usize = 4096;
    /// Default of [`ServerLimits::bytes_per_connection`], 1 MiB.
    pub const BYTES_PER_CONNECTION: usize = 1 << 20;
    /// Default of [`ServerLimits::bytes`], 256 MiB.
    pub const BYTES: usize = 256 << 20;
    /// Default of [`ServerLimits::datagrams`]. Costs up to 64 KiB each, and 48 bytes for each of its messages, within
    /// [`ServerLimits::bytes`].
    pub const DATAGRAMS: usize = 4096;
    /// Default of [`ServerLimits::plain_rate`], 1 MiB: thousands of answers of an ordinary size, to whoever is said to
    /// have asked. Costs 80 bytes for each of [`Rates::PREFIXES`].
    pub const PLAIN_RATE: u64 = 1 << 20;
    /// Default of [`ServerLimits::plain_burst`], 8 MiB: a hundred of the largest answers.
    pub const PLAIN_BURST: u64 = 8 << 20;
    /// Default of [`ServerLimits::head_time`]: a head is one segment or two.
    pub const HEAD_TIME: Duration = Duration::from_secs(10);
    /// Default of [`ServerLimits::entity_time`].
    pub const ENTITY_TIME: Duration = Duration::from_secs(60);
    /// Default of [`ServerLimits::idle_time`]: the programs keep theirs for ever, and connect anew when told.
    pub const IDLE_TIME: Duration = Duration::from_secs(30 * 60);
    /// Default of [`ServerLimits::write_time`].
    pub const WRITE_TIME: Duration = Duration::from_secs(30);
    /// Default of [`ServerLimits::ordered_time`]: longer than a client tries to reconnect.
    pub const ORDERED_TIME: Duration = Duration::from_secs(120);
    /// Default of [`ServerLimits::ordered_channels`]. Costs some 500 bytes each, and their kept answers: up to
    /// 256 MiB in all.
    pub const ORDERED_CHANNELS: usize = 1024;
    /// Default of [`ServerLimits::ordered_bytes`], 256 KiB.
    pub const ORDERED_BYTES: usize = 256 << 10;
    /// Default of [`ServerLimits::keep_pace`], that of [`Pace::RATE`].
    pub const KEEP_PACE: u64 = Pace::RATE;
    /// Default of [`ServerLimits::keep_associations`]. Each costs [`own::Config::ASSOCIATION_COST`].
    pub const KEEP_ASSOCIATIONS: usize = own::Config::ASSOCIATIONS;
    /// Default of [`ServerLimits::keep_half_open`]. Each costs [`own::Config::HALF_OPEN_COST`].
    pub const KEEP_HALF_OPEN: usize = own::Config::HALF_OPEN;
    /// Default of [`ServerLimits::keep_exchanges`]. Each costs [`own::Config::EXCHANGE_COST`].
    pub const KEEP_EXCHANGES: u64 = own::Config::EXCHANGES;
    /// Default of [`ServerLimits::keep_window`], 4 MiB. Costs that much for each request, within the bytes of
    /// [`ServerLimits::keep`].
    pub const KEEP_WINDOW: u64 = own::Config::EXCHANGE_WINDOW;
    /// Default of [`ServerLimits::keep_association_window`], 16 MiB. Costs that much for each association, within
    /// the same bytes.
    pub const KEEP_ASSOCIATION_WINDOW: u64 = own::Config::ASSOCIATION_WINDOW;
}

impl ServerLimits {
    /// Whether a server with these limits can do anything.
    ///
    /// # Errors
    ///
    /// The first limit that is zero where nothing could be served.
    ///
    /// ```
    /// use fixp_transport::limits::ServerLimits;
    ///
    /// let deaf = ServerLimits { requests_per_connection: 0, ..ServerLimits::default() };
    /// assert_eq!(deaf.check().unwrap_err().limit, "requests_per_connection");
    /// ```
    pub fn check(&self) -> Result<(), LimitError> {
        let counts = [
            ("connections", self.connections),
            ("connections_per_source", self.connections_per_source),
            ("head", self.head),
            ("requests_per_connection", self.requests_per_connection),
            ("bytes_per_connection", self.bytes_per_connection),
            ("bytes", self.bytes),
            ("datagrams", self.datagrams),
        ];
        let times = [
            ("head_time", self.head_time),
            ("entity_time", self.entity_time),
            ("idle_time", self.idle_time),
            ("write_time", self.write_time),
        ];
        let counts = counts.into_iter().map(|(limit, count)| (limit, count == 0));
        let mut all = counts.chain(times.into_iter().map(|(limit, time)| (limit, time.is_zero())));
        match all.find(|(_, zero)| *zero) {
            Some((limit, _)) => Err(LimitError { limit }),
            None => Ok(()),
        }
    }

    /// The same, with times that a clock can say.
    pub(crate) fn bounded(mut self) -> Self {
        let keep = &mut self.keep;
        for time in [
            &mut self.head_time,
            &mut self.entity_time,
            &mut self.idle_time,
            &mut self.write_time,
            &mut self.ordered_time,
            &mut keep.idle,
            &mut keep.lifetime,
            &mut keep.hold,
            &mut keep.tombstone,
            &mut keep.settle,
        ] {
            *time = bounded(*time);
        }
        self
    }
}

/// A limit of zero that leaves no room for anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitError {
    /// The name of its field in [`ServerLimits`], and of its option.
    pub limit: &'static str,
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the limit {} is 0, so that nothing could be served", self.limit)
    }
}

impl std::error::Error for LimitError {}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: Self::CONNECTIONS,
            connections_per_source: Self::CONNECTIONS_PER_SOURCE,
            head: Self::HEAD,
            entity: Self::ENTITY,
            gather: Self::GATHER,
            requests_per_connection: Self::REQUESTS_PER_CONNECTION,
            bytes_per_connection: Self::BYTES_PER_CONNECTION,
            bytes: Self::BYTES,
            datagrams: Self::DATAGRAMS,
            plain_rate: Self::PLAIN_RATE,
            plain_burst: Self::PLAIN_BURST,
            head_time: Self::HEAD_TIME,
            entity_time: Self::ENTITY_TIME,
            idle_time: Self::IDLE_TIME,
            write_time: Self::WRITE_TIME,
            ordered_time: Self::ORDERED_TIME,
            ordered_channels: Self::ORDERED_CHANNELS,
            ordered_bytes: Self::ORDERED_BYTES,
            keep: keep::Limits::default(),
            keep_budget: Rates::default(),
            keep_pace: Self::KEEP_PACE,
            keep_associations: Self::KEEP_ASSOCIATIONS,
            keep_half_open: Self::KEEP_HALF_OPEN,
            keep_exchanges: Self::KEEP_EXCHANGES,
            keep_window: Self::KEEP_WINDOW,
            keep_association_window: Self::KEEP_ASSOCIATION_WINDOW,
        }
    }
}

/// What a channel holds at most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelLimits {
    /// Requests that wait to be sent or are under way, at most 16384. One more waits, or is refused.
    pub requests: usize,
    /// Bytes of those requests; also of one request. More go as a bulk transfer.
    pub bytes: usize,
    /// Bytes of the head of an answer.
    pub head: usize,
    /// Bytes of the entity of an answer, which is gathered. A longer one is dropped as it comes, and its request fails.
    pub entity: usize,
    /// Bytes after which a batch is full.
    pub batch: usize,
}

impl ChannelLimits {
    /// Default of [`ChannelLimits::requests`]. Costs some 300 bytes each, beside the requests.
    pub const REQUESTS: usize = 4096;
    /// Default of [`ChannelLimits::bytes`], 16 MiB.
    pub const BYTES: usize = 16 << 20;
    /// Default of [`ChannelLimits::head`], 64 KiB: a thousand messages.
    pub const HEAD: usize = 64 << 10;
    /// Default of [`ChannelLimits::entity`], 16 MiB. Costs that much for one answer at a time.
    pub const ENTITY: usize = 16 << 20;
    /// Default of [`ChannelLimits::batch`], 64 KiB: what a socket takes at once.
    pub const BATCH: usize = 64 << 10;
}

impl Default for ChannelLimits {
    fn default() -> Self {
        Self {
            requests: Self::REQUESTS,
            bytes: Self::BYTES,
            head: Self::HEAD,
            entity: Self::ENTITY,
            batch: Self::BATCH,
        }
    }
}
