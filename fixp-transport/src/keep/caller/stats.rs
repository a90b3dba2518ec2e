//! Counters.

/// What a caller has done so far, and what it is doing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Requests taken.
    pub requests: u64,
    /// Requests that ended in an answer.
    pub answers: u64,
    /// Requests whose time was over.
    pub timeouts: u64,
    /// Requests given up by their callers.
    pub cancelled: u64,
    /// Requests that ended in another error.
    pub failed: u64,
    /// SECURE_QUERY sent, repetitions included.
    pub queries: u64,
    /// Exchanges begun with legacy peers.
    pub exchanges: u64,
    /// Exchanges begun over the own transport.
    pub own: u64,
    /// Ports that a peer holds something for which cannot be cleared.
    pub spoilt: u64,
    /// Datagrams given to a socket.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Datagrams that a socket refused.
    pub refused: u64,
    /// Datagrams that came.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Dropped: from an address that nobody has asked lately.
    pub strangers: u64,
    /// Dropped: to a port where nothing is under way with that peer, or that answers nothing.
    pub late: u64,
    /// Dropped: pieces of answers for which there was no room.
    pub full: u64,
    /// Requests that have not ended now.
    pub in_flight: usize,
    /// Of those, how many wait for a port.
    pub waiting: usize,
    /// How often a request was looked at for whether it can begin: a few times for each, however many wait (SPEC 9.14).
    pub looked: u64,
    /// The bytes held now.
    pub held: usize,
    /// The most that were held at a time.
    pub held_most: usize,
    /// Ports open now, or being opened.
    pub ports: usize,
    /// Associations of the own transport now.
    pub associations: usize,
    /// Associations that were opened.
    pub opened: u64,
    /// Associations that were lost.
    pub lost: u64,
    /// Peers remembered now.
    pub peers: usize,
}
