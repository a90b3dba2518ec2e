//! The cost of a stream is linear in its bytes, whatever the pieces and whatever the packet.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, Policy, Value, laxcus6, lexst1};

/// The least of several runs, so that what else the machine does disturbs little.
fn time(wire: &[u8], dialect: &Dialect, policy: Policy, piece: usize) -> Duration {
    let run = || {
        let start = Instant::now();
        let mut stream = Decoder::new(dialect).with_policy(policy).stream();
        for mut piece in wire.chunks(piece) {
            while let Some(event) = stream.next(&mut piece) {
                event.unwrap();
            }
        }
        stream.finish().unwrap();
        start.elapsed()
    };
    (0..5).map(|_| run()).min().unwrap()
}

#[test]
fn sixteen_times_the_messages_cost_about_sixteen_times() {
    let unknown = Value::Unknown { code: 8, bytes: vec![1].into() };
    let cases: [(&Dialect, Policy, Packet, Value); 4] = [
        (&LAXCUS6, Policy::Compatible, Packet::new(laxcus6::notify::TEST), Value::Int32(7)),
        (&LAXCUS6, Policy::Strict, Packet::new(laxcus6::notify::TEST), Value::from("text")),
        (&LEXST1, Policy::Compatible, Packet::new(lexst1::notify::HELO), unknown),
        (&LEXST1, Policy::Strict, Packet::new(lexst1::notify::HELO), Value::Boolean(true)),
    ];
    for (dialect, policy, packet, value) in cases {
        let wire = |messages: u16| {
            let filled =
                (0..messages).fold(packet.clone(), |packet, key| packet.with(key % 900, value.clone()));
            filled.to_bytes(dialect).unwrap()
        };
        let (few, many) = (wire(1_000), wire(16_000));
        for piece in [1, 3, 8, many.len() - 1] {
            // A packet that comes whole goes another way: neither does.
            let short = time(&few, dialect, policy, piece.min(few.len() - 1));
            let long = time(&many, dialect, policy, piece);
            // Quadratic would be 256 times; the room is for a machine that does other things.
            let most = short.max(Duration::from_micros(2)) * 100;
            assert!(long < most, "{dialect} {policy:?} pieces of {piece}: {short:?}, then {long:?}");
        }
    }
}
