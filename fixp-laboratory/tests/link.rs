//! Each setting of a link does what it says, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::ms;
use fixp_laboratory::{Link, LinkConfig, Random};

/// Sends numbered datagrams, this far apart, and gives what arrives and when.
fn send(config: LinkConfig, count: u64, apart: Duration, len: usize) -> Vec<(Duration, Bytes)> {
    let mut link = Link::new(config);
    let mut random = Random::new(42);
    for nth in 0..count {
        let mut datagram = nth.to_be_bytes().to_vec();
        datagram.resize(len, 0x55);
        link.send(apart * nth as u32, datagram, &mut random);
    }
    let mut arrived = Vec::new();
    while let Some(time) = link.next_time() {
        let before = time.checked_sub(Duration::from_nanos(1));
        assert_eq!(before.and_then(|before| link.poll(before)), None, "not before its time");
        arrived.push((time, link.poll(time).expect("at its time")));
    }
    arrived
}

fn number(datagram: &[u8]) -> u64 {
    u64::from_be_bytes(datagram[..8].try_into().unwrap())
}

#[test]
fn the_default_is_perfect() {
    let arrived = send(LinkConfig::default(), 1000, Duration::ZERO, 1400);
    for (nth, (time, datagram)) in arrived.iter().enumerate() {
        assert_eq!((*time, number(datagram), datagram.len()), (Duration::ZERO, nth as u64, 1400));
    }
    assert_eq!(arrived.len(), 1000);
}

#[test]
fn delay_is_exact() {
    for (nth, (time, _)) in send(LinkConfig::default().with_delay(ms(7)), 10, ms(3), 8).iter().enumerate() {
        assert_eq!(*time, ms(7 + 3 * nth as u64));
    }
}

#[test]
fn jitter_is_uniform() {
    let config = LinkConfig::default().with_delay(ms(10)).with_jitter(ms(8));
    let arrived = send(config, 10_000, ms(20), 8);
    let late: Vec<_> =
        arrived.iter().map(|(time, datagram)| *time - ms(20) * number(datagram) as u32).collect();
    assert!(late.iter().all(|late| (ms(10)..=ms(18)).contains(late)));
    let mean = late.iter().sum::<Duration>() / 10_000;
    assert!((Duration::from_micros(13_900)..Duration::from_micros(14_100)).contains(&mean), "{mean:?}");
    assert!(late.iter().any(|late| *late < ms(11)) && late.iter().any(|late| *late > ms(17)));
}

#[test]
fn loss_is_as_probable_as_it_says() {
    let arrived = send(LinkConfig::default().with_loss(0.3), 10_000, ms(1), 8).len();
    assert!((6_800..7_200).contains(&arrived), "{arrived}");
    assert_eq!(send(LinkConfig::default().with_loss(1.0), 100, ms(1), 8).len(), 0);
}

#[test]
fn duplicates_are_whole_and_as_probable_as_they_say() {
    let arrived = send(LinkConfig::default().with_duplicate(0.25), 10_000, ms(1), 20);
    assert!((12_300..12_700).contains(&arrived.len()), "{}", arrived.len());
    let twice = arrived.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert_eq!(twice, arrived.len() - 10_000);
}

#[test]
fn what_is_held_back_is_overtaken() {
    let config = LinkConfig::default().with_delay(ms(1)).with_reorder(0.1, ms(5));
    let arrived = send(config, 10_000, ms(2), 8);
    assert_eq!(arrived.len(), 10_000);
    let held = arrived.iter().filter(|(time, datagram)| *time - ms(2) * number(datagram) as u32 == ms(6));
    assert!((900..1_100).contains(&held.count()));
    let overtaken = arrived.windows(2).filter(|pair| number(&pair[0].1) > number(&pair[1].1)).count();
    assert!((700..1_100).contains(&overtaken), "{overtaken}");
}

#[test]
fn one_bit_is_flipped_anywhere() {
    let arrived = send(LinkConfig::default().with_corrupt(0.5), 4_000, ms(1), 16);
    let mut positions = [0; 128];
    for (time, datagram) in &arrived {
        let mut sent = (time.as_millis() as u64).to_be_bytes().to_vec();
        sent.resize(16, 0x55);
        let flipped: Vec<_> = sent.iter().zip(datagram).map(|(sent, came)| sent ^ came).collect();
        let bits: u32 = flipped.iter().map(|byte| byte.count_ones()).sum();
        assert!(bits <= 1);
        if let Some(byte) = flipped.iter().position(|byte| *byte != 0) {
            positions[byte * 8 + flipped[byte].trailing_zeros() as usize] += 1;
        }
    }
    let corrupted: u32 = positions.iter().sum();
    assert!((1_850..2_150).contains(&corrupted), "{corrupted}");
    assert!(positions.iter().all(|count| *count > 0), "every bit has its turn: {positions:?}");
    // An empty datagram has no bit to flip.
    let mut link = Link::new(LinkConfig::default().with_corrupt(1.0));
    link.send(Duration::ZERO, Bytes::new(), &mut Random::new(0));
    assert_eq!(link.poll(Duration::ZERO), Some(Bytes::new()));
}

#[test]
fn the_mtu_is_the_last_that_passes() {
    assert_eq!(send(LinkConfig::default().with_mtu(100), 3, ms(1), 100).len(), 3);
    assert_eq!(send(LinkConfig::default().with_mtu(100), 3, ms(1), 101).len(), 0);
}

#[test]
fn bandwidth_is_exact() {
    // 100 bytes at 10,000 bytes a second take 10 ms each, and 3 ms of delay.
    let config = LinkConfig::default().with_bandwidth(10_000).with_delay(ms(3));
    for (nth, (time, _)) in send(config.clone(), 50, Duration::ZERO, 100).iter().enumerate() {
        assert_eq!(*time, ms(10 * (nth as u64 + 1) + 3));
    }
    // Slower than the line, nothing waits.
    for (nth, (time, _)) in send(config, 50, ms(15), 100).iter().enumerate() {
        assert_eq!(*time, ms(15 * nth as u64 + 13));
    }
    // A third of a nanosecond is rounded up.
    assert_eq!(send(LinkConfig::default().with_bandwidth(3), 1, ms(0), 8)[0].0.as_nanos(), 2_666_666_667);
}

#[test]
fn the_queue_drops_its_tail() {
    let config = LinkConfig::default().with_bandwidth(10_000).with_queue(250);
    let arrived = send(config.clone(), 10, Duration::ZERO, 100);
    // One is being sent, and two wait.
    assert_eq!(arrived.iter().map(|(_, datagram)| number(datagram)).collect::<Vec<_>>(), [0, 1, 2]);
    // Every 5 ms one comes, every 10 ms one leaves: in the long run half of them pass.
    let passed = send(config, 1_000, ms(5), 100).len();
    assert!((500..=503).contains(&passed), "{passed}");
    // However small the queue, one that need not wait passes.
    let config = LinkConfig::default().with_bandwidth(10_000).with_queue(0);
    assert_eq!(send(config, 5, ms(10), 100).len(), 5);
}

#[test]
fn a_change_is_for_what_comes_later() {
    let mut random = Random::new(0);
    let mut link = Link::new(LinkConfig::default().with_delay(ms(50)));
    link.send(ms(0), &b"slow"[..], &mut random);
    link.set(LinkConfig::default());
    link.send(ms(10), &b"fast"[..], &mut random);
    assert_eq!(link.poll(ms(10)).as_deref(), Some(&b"fast"[..]));
    assert_eq!(link.next_time(), Some(ms(50)));
}

#[test]
fn random_numbers_are_those_of_the_algorithm() {
    // xoshiro256++ from the seed 0 by SplitMix64, as its reference implementation gives them.
    let mut random = Random::new(0);
    assert_eq!(random.next_u64(), 0x53175d61490b23df);
    assert_eq!(random.next_u64(), 0x61da6f3dc380d507);
    let mut child = random.split();
    assert_ne!(child.next_u64(), random.next_u64());
    assert_eq!(random.below(0), 0);
    assert!((0..1000).all(|_| random.below(3) < 3));
}
