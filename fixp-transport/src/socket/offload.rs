//! Sending many datagrams by one call of the system (GSO), as long as it does.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The bytes of one call at most: the longest datagram over IPv6, and what the heads over IPv4 leave.
const LARGEST: usize = 65487;
/// "The device does not do it": EIO and EINVAL have these numbers on every Unix.
const REFUSED: [i32; 2] = [5, 22];
/// EMSGSIZE on Linux and Android; on the BSDs and Apple's; on Windows.
const TOO_LARGE: i32 = if cfg!(windows) {
    10040
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    90
} else {
    40
};

/// Whether a datagram was larger than the way takes whole.
pub(super) fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(TOO_LARGE)
}

/// How many segments go by one call.
#[derive(Debug)]
pub(super) struct Offload(AtomicUsize);

impl Offload {
    pub(super) const fn new(most: usize) -> Self {
        Self(AtomicUsize::new(most))
    }

    /// One by one.
    pub(super) const fn none() -> Self {
        Self::new(1)
    }

    pub(super) fn most(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Sends segments by a function that takes one datagram, or several with the bytes of each: see
    /// [`Datagrams::poll_send_segments`](super::Datagrams::poll_send_segments), where a full socket is an error.
    ///
    /// Some devices say that they do it, and then fail: the same segments go one by one at once, and where the
    /// first of them is taken, all later ones do, too.
    pub(super) fn send(
        &self,
        bytes: &[u8],
        segment: usize,
        mut send: impl FnMut(&[u8], Option<usize>) -> io::Result<()>,
    ) -> io::Result<usize> {
        let segment = segment.max(1);
        let mut most = self.most().min(LARGEST / segment).max(1);
        let mut rest = bytes;
        let (mut refused, mut gone, mut failed) = (false, false, None);
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(rest.len().min(most * segment));
            let several = batch.len() > segment;
            match send(batch, several.then_some(segment)) {
                Ok(()) => {
                    gone = true;
                    if std::mem::take(&mut refused) {
                        self.0.store(1, Relaxed);
                        tracing::debug!(
                            "segments go one by one from now on: the system refused them together"
                        );
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let sent = bytes.len() - rest.len();
                    return if sent > 0 { Ok(sent) } else { Err(error) };
                }
                Err(error)
                    if several && error.raw_os_error().is_some_and(|number| REFUSED.contains(&number)) =>
                {
                    (most, refused) = (1, true);
                    continue;
                }
                Err(error) if is_too_large(&error) => gone = true,
                Err(error) => {
                    refused = false;
                    failed = Some(error);
                }
            }
            rest = others;
        }
        match failed {
            Some(error) if !gone => Err(error),
            _ => Ok(bytes.len()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const EIO: i32 = 5;
    const EINVAL: i32 = 22;
    const ECONNREFUSED: i32 = 111;

    /// What a socket has sent: datagrams, and how many calls it took.
    #[derive(Default)]
    struct Wire {
        datagrams: Vec<Vec<u8>>,
        calls: usize,
    }

    impl Wire {
        fn take(&mut self, bytes: &[u8], segment: Option<usize>) {
            self.calls += 1;
            let segment = segment.unwrap_or(bytes.len());
            self.datagrams.extend(bytes.chunks(segment).map(<[u8]>::to_vec));
        }
    }

    fn segments(bytes: &[u8], segment: usize) -> Vec<Vec<u8>> {
        bytes.chunks(segment).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn as_many_as_the_system_takes_go_at_once() {
        let bytes: Vec<u8> = (0..100_u8).collect();
        for (most, segment, calls) in [(64, 10, 1), (4, 10, 3), (1, 10, 10), (64, 33, 1), (64, 200, 1)] {
            let mut wire = Wire::default();
            let offload = Offload::new(most);
            let sent = offload.send(&bytes, segment, |bytes, segment| {
                assert!(segment.is_none_or(|segment| bytes.len() > segment && bytes.len() <= most * segment));
                wire.take(bytes, segment);
                Ok(())
            });
            assert_eq!(sent.unwrap(), 100);
            assert_eq!((wire.datagrams, wire.calls), (segments(&bytes, segment), calls));
        }
        // No call has more bytes than a datagram may.
        let large = vec![7; 200_000];
        let sent = Offload::new(64).send(&large, 16_384, |bytes, _| {
            assert!(bytes.len() <= LARGEST);
            Ok(())
        });
        assert_eq!(sent.unwrap(), 200_000);
    }

    #[test]
    fn a_lie_costs_nothing_and_is_told_once() {
        let bytes: Vec<u8> = (0..95_u8).collect();
        for number in [EIO, EINVAL] {
            let (mut wire, mut lies) = (Wire::default(), 0);
            let offload = Offload::new(64);
            for _ in 0..2 {
                let sent = offload.send(&bytes, 10, |bytes, segment| {
                    if segment.is_some() {
                        lies += 1;
                        return Err(io::Error::from_raw_os_error(number));
                    }
                    wire.take(bytes, segment);
                    Ok(())
                });
                assert_eq!(sent.unwrap(), 95);
            }
            assert_eq!((lies, offload.most()), (1, 1));
            assert_eq!(wire.datagrams, [segments(&bytes, 10), segments(&bytes, 10)].concat());
        }
    }

    #[test]
    fn a_peer_that_cannot_be_reached_is_no_lie() {
        let offload = Offload::new(64);
        let sent = offload.send(&[0; 40], 10, |_, _| Err(io::Error::from_raw_os_error(EINVAL)));
        assert_eq!(sent.unwrap_err().raw_os_error(), Some(EINVAL));
        let sent = offload.send(&[0; 40], 10, |_, _| Err(io::Error::from_raw_os_error(ECONNREFUSED)));
        assert_eq!(sent.unwrap_err().raw_os_error(), Some(ECONNREFUSED));
        assert_eq!(offload.most(), 64);
    }

    #[test]
    fn what_is_too_large_is_lost_in_silence() {
        let offload = Offload::new(64);
        let sent = offload.send(&[0; 40], 40, |_, _| Err(io::Error::from_raw_os_error(TOO_LARGE)));
        assert_eq!(sent.unwrap(), 40);
    }

    #[test]
    fn a_full_socket_takes_a_part() {
        let offload = Offload::new(2);
        let mut room = 2;
        let mut full = |_: &[u8], _| {
            room -= 1;
            if room < 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        };
        assert_eq!(offload.send(&[0; 55], 10, &mut full).unwrap(), 40);
        assert_eq!(offload.send(&[0; 55], 10, &mut full).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
