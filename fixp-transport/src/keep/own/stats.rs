//! What an endpoint counts.

/// The counters of an endpoint, from its beginning, and what it has at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Associations at the moment.
    pub associations: usize,
    /// Those of them whose client has not proven its address.
    pub half_open: usize,
    /// Exchanges at the moment.
    pub exchanges: usize,
    /// Associations that were opened, from either side.
    pub opened: u64,
    /// Associations that were lost: silent for too long, or ended by the peer in the middle.
    pub lost: u64,
    /// Requests that were begun, as a client.
    pub requests: u64,
    /// Requests that were given to the handler, as a server.
    pub executed: u64,
    /// Requests that were refused for want of room or as too large, as a server.
    pub refused: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Datagrams of ours that came.
    pub datagrams_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Datagrams that were dropped: broken, of nobody, or for want of room.
    pub datagrams_dropped: u64,
    /// Of those, the ones with a part that would have been one too many behind the holes of its stream.
    pub scattered: u64,
    /// Datagrams that were counted as lost on their way to the peer.
    pub datagrams_lost: u64,
    /// CLOSE for associations that are not known.
    pub closes_sent: u64,
}
