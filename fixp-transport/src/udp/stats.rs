//! Counters.

/// What has been done so far, and what is being done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Requests taken.
    pub requests: u64,
    /// Notices taken.
    pub notices: u64,
    /// Requests that ended in an answer.
    pub answers: u64,
    /// Requests whose time was over.
    pub timeouts: u64,
    /// Requests and notices given up by their callers.
    pub cancelled: u64,
    /// Requests and notices that ended in another error.
    pub failed: u64,
    /// SECURE_QUERY sent, repetitions included.
    pub queries: u64,
    /// Repetitions of requests sent.
    pub repeats: u64,
    /// Datagrams given to a socket.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Datagrams that a socket refused.
    pub refused: u64,
    /// Datagrams longer than the warning size.
    pub long: u64,
    /// Datagrams that came.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Dropped: not a packet of the dialect.
    pub malformed: u64,
    /// Dropped: a packet from an address that nobody has asked lately.
    pub strangers: u64,
    /// Dropped: an answer to nothing that is outstanding. Late, doubled, or by a serial nobody knows.
    pub late: u64,
    /// Dropped: a request; a client serves none.
    pub unserved: u64,
    /// Requests and notices that have not ended now.
    pub in_flight: usize,
    /// The bytes of those.
    pub in_flight_bytes: usize,
    /// Of those, how many wait for a port.
    pub waiting: usize,
    /// Ports open now, or being opened.
    pub ports: usize,
    /// Peers remembered now.
    pub peers: usize,
}
