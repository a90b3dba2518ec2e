//! Where and how a connection is cut.
//!
//! ```
//! use fixp_laboratory::{Cut, Direction, Laboratory};
//! use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
//!
//! Laboratory::run("cut", |lab| async move {
//!     let (a, b) = (lab.host("10.0.0.1".parse()?), lab.host("10.0.0.2".parse()?));
//!     let listener = b.listen(80)?;
//!     lab.on_next_connection(a.ip(), b.ip()).cut_after(Direction::ToServer, 3, Cut::Fin);
//!     let mut client = a.connect(listener.local_addr()).await?;
//!     let (mut server, _) = listener.accept().await?;
//!     client.write_all(b"hello").await?;
//!     let mut read = Vec::new();
//!     server.read_to_end(&mut read).await?;
//!     assert_eq!(read, b"hel");
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::segment::Side;

/// The number of a connection, by which it can be cut from afar ([`Stream::id`](crate::Stream::id),
/// [`Laboratory::connections`](crate::Laboratory::connections)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub(crate) u64);

/// A direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// From that which connected to that which accepted.
    ToServer,
    /// From that which accepted to that which connected.
    ToClient,
}

/// How a connection is cut, when the last byte before the cut has come to the reader's host.
///
/// The reader reads all bytes before the cut and none behind it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cut {
    /// By a reset of both ends: after the bytes before the cut the reader gets
    /// [`ConnectionReset`](std::io::ErrorKind::ConnectionReset), and so does the writer, when the news has
    /// travelled to it.
    Reset,
    /// As if each end had closed: both read the end of the stream. What the writer had sent before is thrown
    /// away; what it sends later is answered with a reset. What the reader's end writes fails with
    /// [`BrokenPipe`](std::io::ErrorKind::BrokenPipe).
    Fin,
    /// By silence: nothing passes any more in either direction, and nobody is told.
    Silence,
}

impl Direction {
    /// The end that reads.
    pub(crate) const fn reader(self) -> Side {
        match self {
            Self::ToServer => Side::Server,
            Self::ToClient => Side::Client,
        }
    }
}
