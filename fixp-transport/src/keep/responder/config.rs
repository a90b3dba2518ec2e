//! What a responder is made with.

use std::net::IpAddr;
use std::time::Duration;

use fixp_codec::Dialect;

use crate::keep::Ledger;
use crate::keep::budget::Rates;
use crate::keep::limits::Limits;
use crate::keep::pace::Pace;
use crate::keep::pieces::PIECE;
use crate::server::AllowList;

/// What a responder is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The dialect of all peers.
    pub dialect: &'static Dialect,
    /// The bounds.
    pub limits: Limits,
    /// How long after the last piece those are asked for that come after it. laxcus6 waits 6 s, lexst1 as long as
    /// the pieces say.
    pub tail: Duration,
    /// After how long an answer is sent again where nothing was heard; twice as long after each time.
    pub again: Duration,
    /// How often that is done.
    pub agains: u32,
    /// How soon a duplicate of the request may have the answer sent again.
    pub spacing: Duration,
    /// The bytes of a piece.
    pub piece: usize,
    /// What BIND_IP says, where the dialect has it.
    pub bind_ip: Option<IpAddr>,
    /// What digests begin with: nobody should be able to guess it.
    pub random: u64,
    /// Bytes a second at which the pieces of an answer leave, see [`Pace::RATE`].
    pub rate: u64,
    /// What leaves for a source prefix beyond what came from there.
    pub rates: Rates,
    /// Peers for which that is not limited. By default those of this machine: nobody else can have their address.
    pub allow: AllowList,
    /// A ledger that others count in, too: beside [`Limits::bytes`], what is held never passes its bound.
    pub ledger: Option<Ledger>,
}

impl Config {
    /// Default of [`Config::tail`].
    pub const TAIL: Duration = Duration::from_secs(1);
    /// Default of [`Config::again`].
    pub const AGAIN: Duration = Duration::from_secs(1);
    /// Default of [`Config::agains`].
    pub const AGAINS: u32 = 5;
    /// Default of [`Config::spacing`].
    pub const SPACING: Duration = Duration::from_millis(500);
    /// Between two questions for missing pieces, as laxcus6 does; from the third on twice as long each time.
    pub const GAP: Duration = Duration::from_secs(1);
    /// How long a group is silent before another request with its identity takes its place.
    pub const STALE: Duration = Duration::from_secs(3);
    /// What SUBPACKET_TIMEOUT is brought into.
    pub const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

    /// The defaults.
    #[must_use]
    pub fn new(dialect: &'static Dialect) -> Self {
        Self {
            dialect,
            limits: Limits::default(),
            tail: Self::TAIL,
            again: Self::AGAIN,
            agains: Self::AGAINS,
            spacing: Self::SPACING,
            piece: PIECE,
            bind_ip: None,
            random: 0,
            rate: Pace::RATE,
            rates: Rates::default(),
            allow: AllowList::loopback(),
            ledger: None,
        }
    }
}
