//! The bounds of KEEP UDP, each with its default, its reason and what it can cost (SPEC 9.11).
//!
//! ```
//! use fixp_transport::keep::Limits;
//!
//! let small = Limits { bytes: 1 << 20, ..Limits::default() };
//! assert_eq!(small.pieces, Limits::PIECES);
//! ```

use std::time::Duration;

/// What a responder takes at most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Pieces of a packet. A count beyond it is not listened to; one within it allocates nothing.
    pub pieces: u32,
    /// Bytes of the entity of a request, and of an answer.
    pub entity: usize,
    /// Exchanges remembered at a time, those that have ended and are remembered for their duplicates included.
    pub exchanges: usize,
    /// Exchanges at a time of one address and port that have not ended.
    pub exchanges_per_peer: usize,
    /// Bytes of everything held, with what each thing costs beside its content.
    pub bytes: usize,
    /// Datagrams that wait to be sent beside the pieces of answers. Further ones are lost, as on the way.
    pub controls: usize,
    /// How often missing pieces of a request are asked for, without one that comes. The bytes of that never exceed
    /// those that have come.
    pub retries: u32,
    /// How often an answer is sent in all: as many datagrams as it has pieces, times this.
    pub sendings: u32,
    /// How long a request may be silent before it is whole.
    pub idle: Duration,
    /// How long a request may take to be whole.
    pub lifetime: Duration,
    /// How long an answer is held, unless CANCEL comes.
    pub hold: Duration,
    /// How long an exchange is remembered after that, so that it is not executed again.
    pub tombstone: Duration,
    /// How long the identity of a cancelled request is passed over. At CANCEL the exchange is gone, tombstone and
    /// all; only the network's own duplicates come after it, and the programs' clients count on, so an entry of
    /// fixed size in a ring is enough. With zero a duplicate that the network brings after CANCEL is executed again.
    pub settle: Duration,
    /// How many of those there are; the oldest gives way. They are no part of [`Limits::bytes`].
    pub settled: usize,
}

impl Limits {
    /// What an exchange is booked with beside its content, wherever it stands: with its places in all lists, its
    /// address and its network, which may have no other.
    pub const EXCHANGE_COST: usize = 800;
    /// What is booked beside that while its request is on its way, and with [`PIECE_COST`](super::pieces::PIECE_COST) for each
    /// piece.
    pub const GROUP_COST: usize = 256;
    /// Default of [`Limits::pieces`]: 30 MiB in the programs' pieces of 480 bytes.
    pub const PIECES: u32 = 65536;
    /// Default of [`Limits::entity`], 16 MiB.
    pub const ENTITY: usize = 16 << 20;
    /// Default of [`Limits::exchanges`]. Each costs [`Limits::EXCHANGE_COST`] beside its content, and 8 for each piece,
    /// so that [`Limits::BYTES`] is enough to remember all of them.
    pub const EXCHANGES: usize = 65536;
    /// Default of [`Limits::exchanges_per_peer`]: the programs have one; a few may have been given up.
    pub const EXCHANGES_PER_PEER: usize = 8;
    /// Default of [`Limits::bytes`], 64 MiB.
    pub const BYTES: usize = 64 << 20;
    /// Default of [`Limits::controls`]. Costs at most 400 bytes each, within [`Limits::bytes`].
    pub const CONTROLS: usize = 4096;
    /// Default of [`Limits::retries`]: with the pauses that double, more than the time of [`Limits::idle`].
    pub const RETRIES: u32 = 10;
    /// Default of [`Limits::sendings`].
    pub const SENDINGS: u32 = 16;
    /// Default of [`Limits::idle`], the programs' own.
    pub const IDLE: Duration = Duration::from_secs(60);
    /// Default of [`Limits::lifetime`].
    pub const LIFETIME: Duration = Duration::from_secs(600);
    /// Default of [`Limits::hold`], as laxcus6 does.
    pub const HOLD: Duration = Duration::from_secs(60);
    /// Default of [`Limits::tombstone`]: longer than a client sends again.
    pub const TOMBSTONE: Duration = Duration::from_secs(60);
    /// Default of [`Limits::settle`]: a datagram is seldom on its way for longer.
    pub const SETTLE: Duration = Duration::from_secs(1);
    /// Default of [`Limits::settled`]. Costs some 130 bytes each, 0.5 MB in all.
    pub const SETTLED: usize = 4096;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pieces: Self::PIECES,
            entity: Self::ENTITY,
            exchanges: Self::EXCHANGES,
            exchanges_per_peer: Self::EXCHANGES_PER_PEER,
            bytes: Self::BYTES,
            controls: Self::CONTROLS,
            retries: Self::RETRIES,
            sendings: Self::SENDINGS,
            idle: Self::IDLE,
            lifetime: Self::LIFETIME,
            hold: Self::HOLD,
            tombstone: Self::TOMBSTONE,
            settle: Self::SETTLE,
            settled: Self::SETTLED,
        }
    }
}
