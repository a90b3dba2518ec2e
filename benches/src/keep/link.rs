//! One bulk transfer between two state machines over a link of the laboratory, on a virtual clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_laboratory::{LinkConfig, Wire};

/// The address of the side that sends.
pub const SENDER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 4000);
/// The address of the side that receives.
pub const RECEIVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 6600);

/// Bytes per second, 100 Mbit/s.
pub const BANDWIDTH: u64 = 12_500_000;
/// The time of a datagram from end to end; half of the round trip.
pub const DELAY: Duration = Duration::from_millis(25);
/// What may wait for the bandwidth: what the link holds in a round trip.
pub const QUEUE: usize = 625_000;
/// The longest datagram, that of IPv4 over Ethernet. Without it larger datagrams would be lost no more often than
/// small ones, which no network does.
pub const MTU: usize = 1472;
/// How long a transfer goes.
pub const TIME: Duration = Duration::from_secs(20);

/// One end of a transfer. It has one peer, and no socket.
pub trait Side {
    /// A datagram has come.
    fn handle(&mut self, now: Instant, datagram: &[u8]);

    /// Its time has come.
    fn timeout(&mut self, now: Instant);

    /// When [`Side::timeout`] is to be called.
    fn next_timeout(&mut self) -> Option<Instant>;

    /// The next datagram to send.
    fn transmit(&mut self, now: Instant) -> Option<Bytes>;

    /// The bytes that its user has got so far.
    fn received(&self) -> u64;
}

/// What came of a transfer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Transfer {
    /// The bytes that the receiver's user has got, as a share of what the link carries in the time.
    pub share: f64,
    /// The bytes of the sender's datagrams, as a share of the same; above it is what the queue dropped.
    pub sent: f64,
}

/// Runs a transfer. The link loses so many of its datagrams, in both directions.
pub fn transfer<S: Side>(sender: &mut S, receiver: &mut S, start: Instant, seed: u64, loss: f64) -> Transfer {
    let mut wire = Wire::new(seed);
    wire.set_capture_limit(0);
    let link = LinkConfig { mtu: Some(MTU), queue: QUEUE, ..LinkConfig::default() };
    wire.set_links(link.with_delay(DELAY).with_bandwidth(BANDWIDTH).with_loss(loss));
    let (mut at, mut sent) = (Duration::ZERO, 0);
    while at < TIME {
        let now = start + at;
        while let Some(bytes) = sender.transmit(now) {
            sent += bytes.len() as u64;
            wire.send(at, SENDER, RECEIVER, bytes);
        }
        while let Some(bytes) = receiver.transmit(now) {
            wire.send(at, RECEIVER, SENDER, bytes);
        }
        let timers = [sender.next_timeout(), receiver.next_timeout()];
        let timer = timers.into_iter().flatten().min().map(|timer| timer.saturating_duration_since(start));
        let Some(next) = timer.into_iter().chain(wire.next_time()).min() else { break };
        // A timer that stays due must not hold the clock.
        at = next.max(at + Duration::from_nanos(1));
        let now = start + at;
        while let Some(delivery) = wire.poll(at) {
            let side = if delivery.to == SENDER { &mut *sender } else { &mut *receiver };
            side.handle(now, &delivery.bytes);
        }
        for side in [&mut *sender, &mut *receiver] {
            if side.next_timeout().is_some_and(|timer| timer <= now) {
                side.timeout(now);
            }
        }
    }
    let carried = BANDWIDTH as f64 * TIME.as_secs_f64();
    Transfer { share: receiver.received() as f64 / carried, sent: sent as f64 / carried }
}
