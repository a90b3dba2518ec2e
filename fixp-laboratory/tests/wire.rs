//! The wire between state machines: no runtime, and no clock but the argument.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{ip, ms};
use fixp_laboratory::{LinkConfig, Verdict, Wire};

fn at(n: u8) -> SocketAddr {
    SocketAddr::new(ip(n), 400)
}

/// All that arrives from now on.
fn rest(wire: &mut Wire) -> Vec<(Duration, SocketAddr, Vec<u8>)> {
    let mut arrived = Vec::new();
    while let Some(now) = wire.next_time() {
        while let Some(delivery) = wire.poll(now) {
            arrived.push((now, delivery.to, delivery.bytes.to_vec()));
        }
    }
    arrived
}

/// Two machines, of which one sends until all is acknowledged, over a bad link.
fn stop_and_wait(seed: u64) -> (Duration, Vec<u8>) {
    let mut wire = Wire::new(seed);
    let bad = LinkConfig::default()
        .with_delay(ms(10))
        .with_jitter(ms(5))
        .with_loss(0.3)
        .with_duplicate(0.1)
        .with_reorder(0.1, ms(50));
    wire.link(ip(1), ip(2), &bad);
    let (mut now, mut next, mut due, mut received) = (Duration::ZERO, 0_u8, Duration::ZERO, Vec::new());
    while next < 100 {
        if now >= due {
            wire.send(now, at(1), at(2), vec![next]);
            due = now + ms(40);
        }
        now = wire.next_time().map_or(due, |time| time.min(due));
        while let Some(delivery) = wire.poll(now) {
            if delivery.to == at(2) {
                if delivery.bytes[0] as usize == received.len() {
                    received.push(delivery.bytes[0]);
                }
                wire.send(now, at(2), at(1), delivery.bytes);
            } else if delivery.bytes[0] == next {
                (next, due) = (next + 1, now);
            }
        }
    }
    assert_eq!(received, (0..100).collect::<Vec<_>>());
    (now, wire.capture())
}

#[test]
fn state_machines_are_pumped_and_a_seed_repeats_the_run() {
    let (time, capture) = stop_and_wait(5);
    assert!(time > ms(2_000), "{time:?}");
    assert_eq!(stop_and_wait(5), (time, capture.clone()));
    assert_ne!(stop_and_wait(6).1, capture);
}

#[test]
fn links_are_between_hosts_and_have_a_direction() {
    let mut wire = Wire::new(0);
    wire.set_links(LinkConfig::default().with_delay(ms(1)));
    wire.link_one_way(ip(1), ip(2), LinkConfig::default().with_delay(ms(5)));
    wire.send(ms(0), at(1), at(2), &b"1"[..]);
    wire.send(ms(0), at(2), at(1), &b"2"[..]);
    wire.send(ms(0), at(1), at(3), &b"3"[..]);
    let expected =
        [(ms(1), at(1), b"2".to_vec()), (ms(1), at(3), b"3".to_vec()), (ms(5), at(2), b"1".to_vec())];
    assert_eq!(rest(&mut wire), expected);
    // The default changes what has not been set.
    wire.set_links(LinkConfig::default());
    wire.send(ms(9), at(1), at(3), &b"3"[..]);
    assert_eq!(wire.next_time(), Some(ms(9)));
}

#[test]
fn a_partition_takes_what_is_under_way_until_it_is_healed() {
    let mut wire = Wire::new(0);
    wire.set_links(LinkConfig::default().with_delay(ms(10)));
    wire.send(ms(0), at(1), at(2), &b"under way"[..]);
    wire.partition(ip(1), ip(2));
    wire.send(ms(1), at(2), at(1), &b"after"[..]);
    wire.send(ms(1), at(1), at(3), &b"elsewhere"[..]);
    assert_eq!(rest(&mut wire), [(ms(11), at(3), b"elsewhere".to_vec())]);
    wire.heal(ip(2), ip(1));
    wire.send(ms(20), at(1), at(2), &b"healed"[..]);
    assert_eq!(rest(&mut wire), [(ms(30), at(2), b"healed".to_vec())]);
    wire.partition_one_way(ip(1), ip(2));
    wire.send(ms(40), at(1), at(2), &b"lost"[..]);
    wire.send(ms(40), at(2), at(1), &b"passes"[..]);
    assert_eq!(rest(&mut wire), [(ms(50), at(1), b"passes".to_vec())]);
}

#[test]
fn filters_do_what_they_decide() {
    let mut wire = Wire::new(0);
    wire.filter(ip(1), ip(2), |datagram, nth| {
        assert_eq!(datagram, [nth as u8]);
        match nth {
            1 => Verdict::Drop,
            2 => Verdict::Duplicate,
            3 => Verdict::Delay(ms(5)),
            4 => Verdict::Replace(b"other".to_vec()),
            _ => Verdict::Pass,
        }
    });
    for nth in 0..6 {
        wire.send(ms(0), at(1), at(2), vec![nth]);
        wire.send(ms(0), at(2), at(1), vec![nth]);
    }
    let mut arrived = rest(&mut wire);
    arrived.retain(|(_, to, _)| *to == at(2));
    let contents: Vec<_> = arrived.iter().map(|(time, _, bytes)| (time.as_millis(), &bytes[..])).collect();
    let expected: [(u128, &[u8]); 6] = [(0, &[0]), (0, &[2]), (0, &[2]), (0, b"other"), (0, &[5]), (5, &[3])];
    assert_eq!(contents, expected);
    wire.unfilter(ip(1), ip(2));
    wire.send(ms(9), at(1), at(2), vec![77]);
    assert_eq!(rest(&mut wire).len(), 1);
}

#[test]
fn what_no_network_could_carry_is_dropped() {
    let mut wire = Wire::new(0);
    wire.send(ms(0), at(1), at(2), vec![0; 65_507]);
    wire.send(ms(0), at(1), at(2), vec![0; 65_508]);
    wire.send(ms(0), at(1), "[::1]:1".parse().unwrap(), vec![0]);
    assert_eq!(rest(&mut wire).len(), 1);
}
