//! What travels: datagrams, and the segments of streams.

use bytes::Bytes;

/// What a link carries.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    Datagram(Bytes),
    Segment(Segment),
}

impl Parcel {
    pub(crate) fn content(&self) -> &Bytes {
        match self {
            Self::Datagram(bytes) => bytes,
            Self::Segment(segment) => &segment.payload,
        }
    }

    pub(crate) fn with_content(self, content: Bytes) -> Self {
        match self {
            Self::Datagram(_) => Self::Datagram(content),
            Self::Segment(segment) => Self::Segment(Segment { payload: content, ..segment }),
        }
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Side {
    /// That which connected.
    Client,
    /// That which accepted.
    Server,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One end of one connection. Connections have numbers, so that a late segment of an old one is never
/// taken for one of a new connection between the same ports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct End {
    pub(crate) connection: u64,
    pub(crate) side: Side,
}

impl End {
    pub(crate) const fn other(self) -> Self {
        Self { connection: self.connection, side: self.side.other() }
    }
}

/// A segment as of TCP, with positions in the stream rather than sequence numbers: the first byte is at 0,
/// and the end of the stream takes a position of its own.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// The end it is for.
    pub(crate) end: End,
    pub(crate) syn: bool,
    /// With a SYN: how long segments may be. Only for the eyes of who reads a capture.
    pub(crate) longest: u16,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) seq: u64,
    /// All positions below this one have come; none in the first segment of all.
    pub(crate) ack: Option<u64>,
    /// What came ahead of a gap, from and up to.
    pub(crate) ahead: Option<(u64, u64)>,
    /// The bytes from `ack` on that the receiver has room for.
    pub(crate) window: u64,
    pub(crate) payload: Bytes,
}

impl Segment {
    pub(crate) const fn empty(end: End, seq: u64, ack: Option<u64>) -> Self {
        Self {
            end,
            syn: false,
            longest: 0,
            fin: false,
            rst: false,
            seq,
            ack,
            ahead: None,
            window: 0,
            payload: Bytes::new(),
        }
    }

    /// The position after this segment.
    pub(crate) fn next(&self) -> u64 {
        self.seq + self.payload.len() as u64 + u64::from(self.fin)
    }

    /// It says nothing but what has come.
    pub(crate) fn only_acknowledges(&self) -> bool {
        self.payload.is_empty() && !self.fin && !self.rst
    }
}
