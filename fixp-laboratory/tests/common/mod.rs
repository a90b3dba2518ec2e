//! What the tests of several files need.

#![allow(dead_code)]

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use fixp_laboratory::{Host, Laboratory, Stream};

/// What a test gives back.
pub(crate) type Tested = Result<(), Box<dyn Error>>;

/// Milliseconds.
pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The host 10.0.0.n.
pub(crate) fn ip(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

/// Two hosts.
pub(crate) fn two(lab: &Laboratory) -> (Host, Host) {
    (lab.host(ip(1)), lab.host(ip(2)))
}

/// Both ends of a new connection from the first host to the second, the client's first.
pub(crate) async fn pair(lab: &Laboratory) -> Result<(Stream, Stream), Box<dyn Error>> {
    let (a, b) = two(lab);
    let listener = b.listen(0)?;
    let client = a.connect(listener.local_addr()).await?;
    let (server, peer) = listener.accept().await?;
    assert_eq!((client.local_addr(), client.peer_addr()), (server.peer_addr(), server.local_addr()));
    assert_eq!(peer, client.local_addr());
    Ok((client, server))
}

/// Bytes of which no part looks like another.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
