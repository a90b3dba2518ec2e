//! What an endpoint is made with: every limit of the own transport, its default, its reason and its cost.
//!
//! ```
//! use fixp_transport::keep::own::Config;
//!
//! let small = Config { exchange_window: 64 << 10, ..Config::default() };
//! assert_eq!(small.gather_requests, Config::GATHER_REQUESTS);
//! ```

use std::time::Duration;

/// See the [module](self). The bytes of everything together are bounded by the [`Ledger`](crate::keep::Ledger).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Entities of requests up to this come whole; larger ones are read in pieces, as their windows open.
    pub gather_requests: u64,
    /// The same for answers.
    pub gather_answers: u64,
    /// The longest entity of a request that is listened to.
    pub request: u64,
    /// The longest entity of an answer.
    pub answer: u64,
    /// The bytes of command and messages of a packet inside.
    pub head: usize,
    /// The bytes of one direction of an exchange that the peer may be ahead of the reader.
    pub exchange_window: u64,
    /// The same for all exchanges of an association together.
    pub association_window: u64,
    /// Exchanges at a time that the peer may have in an association.
    pub exchanges: u64,
    /// The bytes written to a streamed request or answer that are kept until they are acknowledged, with what is
    /// remembered of the packets that carry them (an eighth of it).
    pub send_window: u64,
    /// Associations at a time. A further one is not opened.
    pub associations: usize,
    /// Associations whose client has not proven its address. The oldest goes where there is one too many.
    /// With 0 no peer opens any: that is for an endpoint that only asks.
    pub half_open: usize,
    /// How long they are kept after the last OPEN.
    pub half_open_life: Duration,
    /// How long after the first OPEN the next one is sent; twice as long after each.
    pub open_every: Duration,
    /// How often OPEN is sent.
    pub opens: u32,
    /// The longest time for which an acknowledgement waits for something to ride on.
    pub acknowledge: Duration,
    /// After how long a silence a client with an exchange under way asks whether the server is there.
    pub alive: Duration,
    /// After how long a silence, with something under way, an association is lost.
    pub lost: Duration,
    /// After how long without anything an association is forgotten.
    pub idle: Duration,
    /// Associations at a time of clients of one network: of an IPv4 /24, or an IPv6 /56.
    pub associations_of_network: usize,
    /// How long nothing may come of a request that is not complete, though it may, before it is refused; or cancelled,
    /// where its entity is read as it comes.
    pub request_idle: Duration,
    /// How long a request that is gathered may take to be complete.
    pub request_life: Duration,
    /// How long nothing of an answer may arrive, though some of it is there to be taken, before it is given up. At a
    /// client: how long whoever reads an answer as it comes waits for more of it.
    pub answer_idle: Duration,
    /// How long there may be no room for what comes, before an incomplete exchange is refused: the youngest one of
    /// the peer that holds most.
    pub patience: Duration,
    /// CLOSE for associations that are not known, in a second.
    pub closes: u64,
    /// The longest datagram. Paths of IPv6 take 20 bytes less than the default.
    pub datagram: usize,
    /// The bytes of the socket's buffer for receiving, as the peer is told (BUFFER).
    pub buffer: u32,
}

impl Config {
    /// What an association is booked with beside its exchanges and all but 16 of its packets under way.
    pub const ASSOCIATION_COST: usize = 4096;
    /// What one is booked with whose client has not proven its address.
    pub const HALF_OPEN_COST: usize = 448;
    /// What an exchange is booked with beside its content.
    pub const EXCHANGE_COST: usize = 864;
    /// Default of [`Config::gather_requests`], 256 KiB. Costs that for each request under way.
    pub const GATHER_REQUESTS: u64 = 256 << 10;
    /// Default of [`Config::gather_answers`], 16 MiB, as long as a caller may want one in memory.
    pub const GATHER_ANSWERS: u64 = 16 << 20;
    /// Default of [`Config::request`] and [`Config::answer`]: what CONTENT_LENGTH can say.
    pub const ENTITY: u64 = i32::MAX as u64;
    /// Default of [`Config::head`], 64 KiB: sixteen of the longest messages. Costs up to that while a head comes in
    /// pieces.
    pub const HEAD: usize = 64 << 10;
    /// Default of [`Config::exchange_window`], 4 MiB, known to both ends: 100 Mbit/s over 50 ms in one exchange take
    /// 625 KB, and several times that while what was lost comes again and the reader waits for it. Costs that, or
    /// what [`Config::head`] is where that is more, and 64 KiB for each exchange whose reader is slow, whatever its
    /// peer does; above the default 4 KiB more for each further 1 MiB.
    pub const EXCHANGE_WINDOW: u64 = 4 << 20;
    /// Default of [`Config::association_window`], 16 MiB, known to both ends: four full windows, a quarter of what
    /// the ledger has by default.
    pub const ASSOCIATION_WINDOW: u64 = 16 << 20;
    /// Default of [`Config::exchanges`], known to both ends. Each costs [`Config::EXCHANGE_COST`].
    pub const EXCHANGES: u64 = 256;
    /// Default of [`Config::send_window`], 4 MiB: what fills the peer's window.
    pub const SEND_WINDOW: u64 = 4 << 20;
    /// Default of [`Config::associations`]. Each costs [`Config::ASSOCIATION_COST`].
    pub const ASSOCIATIONS: usize = 65536;
    /// Default of [`Config::associations_of_network`]: an office behind one address, and no way to take all there is.
    pub const ASSOCIATIONS_OF_NETWORK: usize = 4096;
    /// Default of [`Config::request_idle`]: twice what ends an association.
    pub const REQUEST_IDLE: Duration = Duration::from_secs(60);
    /// Default of [`Config::request_life`]: what is gathered is short, 256 KiB at 4 kbit/s.
    pub const REQUEST_LIFE: Duration = Duration::from_secs(600);
    /// Default of [`Config::answer_idle`]: a reader that pauses for longer has lost interest. Until then the server
    /// holds [`Config::send_window`], or a whole answer from memory.
    pub const ANSWER_IDLE: Duration = Duration::from_secs(60);
    /// How often requests and answers are looked at for these times.
    pub const WATCH: Duration = Duration::from_secs(10);
    /// Default of [`Config::half_open`]. Each costs [`Config::HALF_OPEN_COST`].
    pub const HALF_OPEN: usize = 4096;
    /// Default of [`Config::half_open_life`]: longer than [`Config::LOST`], after which a client that was answered
    /// goes on no more. One that comes later is told that nothing was executed, as long as that is known: of the
    /// latest 16384 that were forgotten before they began.
    pub const HALF_OPEN_LIFE: Duration = Duration::from_secs(40);
    /// Default of [`Config::open_every`].
    pub const OPEN_EVERY: Duration = Duration::from_millis(200);
    /// Default of [`Config::opens`]: over 12.6 s.
    pub const OPENS: u32 = 6;
    /// Default of [`Config::acknowledge`].
    pub const ACKNOWLEDGE: Duration = Duration::from_millis(5);
    /// Default of [`Config::alive`].
    pub const ALIVE: Duration = Duration::from_secs(10);
    /// Default of [`Config::lost`].
    pub const LOST: Duration = Duration::from_secs(30);
    /// Default of [`Config::idle`].
    pub const IDLE: Duration = Duration::from_secs(300);
    /// Default of [`Config::patience`]: longer than what has come usually takes to be complete.
    pub const PATIENCE: Duration = Duration::from_millis(200);
    /// Default of [`Config::closes`].
    pub const CLOSES: u64 = 1000;
    /// Default of [`Config::datagram`], what IPv4 can carry.
    pub const DATAGRAM: usize = 65507;
    /// Eighths of the ledger that may be held before a request is not begun, and an entity is not written further:
    /// both ends would wait for each other if what goes out could take all there is.
    pub const REQUESTS_SHARE: usize = 4;
    /// The same before bytes are not taken that come before their turn.
    pub const EARLY_SHARE: usize = 6;
    /// The same before a packet is not gathered further. What is left is for answers, and for what is read at once.
    pub const GATHER_SHARE: usize = 7;
    /// What every path carries: no datagram is longer before the path has been probed.
    pub const BASE: usize = 1200;
    /// Default of [`Config::buffer`], that of Linux.
    pub const BUFFER: u32 = 212_992;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gather_requests: Self::GATHER_REQUESTS,
            gather_answers: Self::GATHER_ANSWERS,
            request: Self::ENTITY,
            answer: Self::ENTITY,
            head: Self::HEAD,
            exchange_window: Self::EXCHANGE_WINDOW,
            association_window: Self::ASSOCIATION_WINDOW,
            exchanges: Self::EXCHANGES,
            send_window: Self::SEND_WINDOW,
            associations: Self::ASSOCIATIONS,
            associations_of_network: Self::ASSOCIATIONS_OF_NETWORK,
            request_idle: Self::REQUEST_IDLE,
            request_life: Self::REQUEST_LIFE,
            answer_idle: Self::ANSWER_IDLE,
            half_open: Self::HALF_OPEN,
            half_open_life: Self::HALF_OPEN_LIFE,
            open_every: Self::OPEN_EVERY,
            opens: Self::OPENS,
            acknowledge: Self::ACKNOWLEDGE,
            alive: Self::ALIVE,
            lost: Self::LOST,
            idle: Self::IDLE,
            patience: Self::PATIENCE,
            closes: Self::CLOSES,
            datagram: Self::DATAGRAM,
            buffer: Self::BUFFER,
        }
    }
}
