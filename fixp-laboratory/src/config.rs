//! What links and hosts are like.
//!
//! ```
//! use std::time::Duration;
//! use fixp_laboratory::LinkConfig;
//!
//! let mobile = LinkConfig::default()
//!     .with_delay(Duration::from_millis(60))
//!     .with_jitter(Duration::from_millis(40))
//!     .with_loss(0.02)
//!     .with_bandwidth(250_000);
//! assert_eq!(mobile.mtu, None);
//! ```

use std::time::Duration;

/// One direction of a link. The default is perfect: nothing is lost, and nothing takes time.
///
/// Sizes are those of contents, without headers: a datagram of 100 bytes counts 100, a segment of a
/// stream what it carries. Probabilities are from 0 to 1, and are drawn for each datagram and segment.
/// Loss, duplicates, jitter and reordering happen to the segments of streams too, which repair it; a
/// reader notices time only.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// The time from the last byte's leaving to its arrival. Default 0.
    pub delay: Duration,
    /// The most that is added to the delay, uniformly. Datagrams may overtake each other by it. Default 0.
    pub jitter: Duration,
    /// The probability of being lost. Default 0.
    pub loss: f64,
    /// The probability of arriving twice, each copy with a jitter of its own. Default 0.
    pub duplicate: f64,
    /// The probability of being held back by `reorder_delay`, so that later ones overtake. Default 0.
    pub reorder: f64,
    /// How long what is reordered is held back. Default 10 ms.
    pub reorder_delay: Duration,
    /// The probability that one bit, anywhere in the content, is flipped. Default 0.
    pub corrupt: f64,
    /// Whether `corrupt` is for streams too, as if TCP's checksum had not noticed. Default false.
    pub corrupt_streams: bool,
    /// The largest datagram in bytes; a larger one is dropped. Streams are cut into segments of at most
    /// this. Default none: any datagram passes, and segments have 1,460 bytes.
    pub mtu: Option<usize>,
    /// Bytes per second. Default none: sending takes no time. 0 counts as 1.
    pub bandwidth: Option<u64>,
    /// The bytes that may wait for the bandwidth, besides what is being sent; a datagram beyond them is
    /// dropped. Streams are not (their window is their bound). Default 256 KiB.
    pub queue: usize,
}

/// What hosts do with streams and datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// The bytes that a stream takes from its writer before they are acknowledged. Default 64 KiB.
    pub send_buffer: usize,
    /// The bytes that a stream keeps for a reader that does not read. Default 64 KiB.
    pub receive_buffer: usize,
    /// How long a connection may take to be made. Default 60 s.
    pub connect_timeout: Duration,
    /// How long a stream sends to a peer that does not answer, before it fails with
    /// [`TimedOut`](std::io::ErrorKind::TimedOut). Default 15 min, about that of TCP.
    pub give_up: Duration,
    /// The connections that may wait to be accepted; a further one is not answered. Default 128.
    pub backlog: usize,
    /// The bytes of datagrams that a socket keeps until they are received; a datagram beyond them is
    /// dropped. Default 256 KiB.
    pub datagram_queue: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::from_millis(10),
            corrupt: 0.0,
            corrupt_streams: false,
            mtu: None,
            bandwidth: None,
            queue: 256 << 10,
        }
    }
}

impl LinkConfig {
    /// With this [`delay`](Self::delay).
    #[must_use]
    pub fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// With this [`jitter`](Self::jitter).
    #[must_use]
    pub fn with_jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// With this [`loss`](Self::loss).
    #[must_use]
    pub fn with_loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }

    /// With this probability of a [`duplicate`](Self::duplicate).
    #[must_use]
    pub fn with_duplicate(self, duplicate: f64) -> Self {
        Self { duplicate, ..self }
    }

    /// With this probability to be held back, and for how long ([`reorder`](Self::reorder)).
    #[must_use]
    pub fn with_reorder(self, reorder: f64, reorder_delay: Duration) -> Self {
        Self { reorder, reorder_delay, ..self }
    }

    /// With this probability of a flipped bit ([`corrupt`](Self::corrupt)), in datagrams.
    #[must_use]
    pub fn with_corrupt(self, corrupt: f64) -> Self {
        Self { corrupt, ..self }
    }

    /// With bits flipped in streams too, or not ([`corrupt_streams`](Self::corrupt_streams)).
    #[must_use]
    pub fn with_corrupt_streams(self, corrupt_streams: bool) -> Self {
        Self { corrupt_streams, ..self }
    }

    /// With this [`mtu`](Self::mtu).
    #[must_use]
    pub fn with_mtu(self, mtu: usize) -> Self {
        Self { mtu: Some(mtu), ..self }
    }

    /// With this [`bandwidth`](Self::bandwidth).
    #[must_use]
    pub fn with_bandwidth(self, bytes_per_second: u64) -> Self {
        Self { bandwidth: Some(bytes_per_second), ..self }
    }

    /// With this [`queue`](Self::queue).
    #[must_use]
    pub fn with_queue(self, queue: usize) -> Self {
        Self { queue, ..self }
    }
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            send_buffer: 64 << 10,
            receive_buffer: 64 << 10,
            connect_timeout: Duration::from_secs(60),
            give_up: Duration::from_secs(15 * 60),
            backlog: 128,
            datagram_queue: 256 << 10,
        }
    }
}

impl HostConfig {
    /// With this [`send_buffer`](Self::send_buffer).
    #[must_use]
    pub fn with_send_buffer(self, send_buffer: usize) -> Self {
        Self { send_buffer, ..self }
    }

    /// With this [`receive_buffer`](Self::receive_buffer).
    #[must_use]
    pub fn with_receive_buffer(self, receive_buffer: usize) -> Self {
        Self { receive_buffer, ..self }
    }

    /// With this [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// With this time to [`give_up`](Self::give_up).
    #[must_use]
    pub fn with_give_up(self, give_up: Duration) -> Self {
        Self { give_up, ..self }
    }

    /// With this [`backlog`](Self::backlog).
    #[must_use]
    pub fn with_backlog(self, backlog: usize) -> Self {
        Self { backlog, ..self }
    }

    /// With this [`datagram_queue`](Self::datagram_queue).
    #[must_use]
    pub fn with_datagram_queue(self, datagram_queue: usize) -> Self {
        Self { datagram_queue, ..self }
    }
}
