//! The `kcp` crate on the link.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kcp::Kcp;

use super::link::{MTU, Side};

/// The segments under way at most. KCP without its congestion control, which would collapse at every loss, sends as
/// many as it may; each loss has another best window.
pub const WINDOWS: [u16; 4] = [512, 1024, 2048, 4096];

/// One end: segments of the link's MTU, the interval and the fast resend that its documentation calls the fastest, no
/// waiting for the interval where something has come. Of its "fastest" one thing is left out: the shortest time-out of
/// 30 ms is spurious where a round trip is longer, and costs up to a third of the link.
pub struct End {
    kcp: Kcp<Outbox>,
    outbox: Receiver<Bytes>,
    start: Instant,
    next: Instant,
    sends: bool,
    received: u64,
    buffer: Vec<u8>,
}

impl End {
    /// An end; one of the two sends.
    ///
    /// # Panics
    ///
    /// If KCP refuses its settings.
    #[must_use]
    pub fn new(start: Instant, window: u16, sends: bool) -> Self {
        let (sender, outbox) = channel();
        let mut kcp = Kcp::new_stream(7, Outbox(sender));
        kcp.set_mtu(MTU).expect("an MTU");
        kcp.set_nodelay(false, 10, 2, true);
        kcp.set_wndsize(window, window);
        kcp.update(0).expect("a first update");
        let mut end = Self { kcp, outbox, start, next: start, sends, received: 0, buffer: vec![0; 64 << 10] };
        end.fill();
        end
    }

    fn fill(&mut self) {
        static PIECE: [u8; 16 << 10] = [7; 16 << 10];
        while self.sends && self.kcp.wait_snd() < usize::from(self.kcp.snd_wnd()) * 2 {
            self.kcp.send(&PIECE).expect("a piece to send");
        }
    }

    fn update(&mut self, now: Instant) {
        let millis = u32::try_from((now - self.start).as_millis()).expect("a short run");
        self.kcp.update(millis).expect("an update");
        // Its clock has milliseconds.
        self.next = now + Duration::from_millis(u64::from(self.kcp.check(millis).max(1)));
    }
}

impl Side for End {
    fn handle(&mut self, now: Instant, datagram: &[u8]) {
        self.update(now);
        self.kcp.input(datagram).expect("a segment of KCP");
        while let Ok(count) = self.kcp.recv(&mut self.buffer) {
            self.received += count as u64;
        }
        self.fill();
        self.kcp.flush().expect("a flush");
    }

    fn timeout(&mut self, now: Instant) {
        self.update(now);
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        Some(self.next)
    }

    fn transmit(&mut self, _: Instant) -> Option<Bytes> {
        self.outbox.try_recv().ok()
    }

    fn received(&self) -> u64 {
        self.received
    }
}

struct Outbox(Sender<Bytes>);

impl Write for Outbox {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(Bytes::copy_from_slice(bytes)).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
