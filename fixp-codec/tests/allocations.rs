//! No allocation on decode, nor on encode into a reused buffer; and what a stream decoder costs.
//!
//! The counter is of the thread, so that tests beside each other do not disturb it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use fixp_codec::{
    Decoder, Draft, Encoder, Event, LAXCUS6, LEXST1, Packet, Policy, ValueRef, explain::explain,
    laxcus6::notify,
};

struct Counting;

thread_local! {
    /// Calls and bytes of this thread.
    static COUNT: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

fn count(size: usize) {
    COUNT.with(|count| count.set((count.get().0 + 1, count.get().1 + size)));
}

#[allow(unsafe_code)]
// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Calls and bytes that `work` allocates.
fn allocated(work: impl FnOnce()) -> (usize, usize) {
    let before = COUNT.get();
    work();
    let after = COUNT.get();
    (after.0 - before.0, after.1 - before.1)
}

const NONE: (usize, usize) = (0, 0);

fn sample() -> Packet {
    let mut packet = Packet::new(notify::TEST).with_entity(vec![7; 480]);
    for i in 0..40 {
        packet = packet.with(1000 + i * 3, "text").with(5000 + i, i32::from(i) * 1000).with(7000, &[1, 2, 3]);
    }
    packet.with(8000, true).with(8001, 1.5_f32).with(8002, -1_i64).with(8003, 2.5_f64).with(8004, 7_i16)
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocated(|| drop(black_box(vec![0_u8; 100]))), (1, 100));
}

#[test]
fn decoding_allocates_nothing() {
    let wire = sample().to_bytes(&LAXCUS6).unwrap();
    for policy in [Policy::Strict, Policy::Compatible] {
        let decoder = Decoder::new(&LAXCUS6).with_policy(policy);
        let cost = allocated(|| {
            let packet = decoder.packet(black_box(&wire)).unwrap();
            for message in packet.messages() {
                black_box(message.value()).unwrap();
                black_box((message.as_str(), message.as_i32(), message.as_raw(), message.as_i64()));
            }
            black_box((packet.first(8003), packet.all(7000).count(), packet.entity().len()));
            black_box(decoder.head(&wire)).unwrap();
            let _ = black_box(decoder.command(&wire));
            let _ = black_box(decoder.message(&wire[7..]));
            let _ = black_box(fixp_codec::Dialect::detect(&wire));
            // Errors cost nothing either.
            for cut in 0..wire.len() {
                assert!(decoder.packet(&wire[..cut]).is_err());
            }
        });
        assert_eq!(cost, NONE, "{policy:?}");
    }
}

#[test]
fn encoding_into_a_reused_buffer_allocates_nothing() {
    let packet = sample();
    let messages = [(1000, ValueRef::String("helo")), (1001, ValueRef::Int64(20_000))];
    let draft = Draft::new(notify::HELO).with_messages(&messages).with_entity(b"abc");
    let encoder = Encoder::new(&LAXCUS6);
    let mut wire = Vec::with_capacity(encoder.packet_len(&packet).unwrap());
    let mut slice = [0; 256];
    let cost = allocated(|| {
        for _ in 0..10 {
            wire.clear();
            encoder.packet(black_box(&packet), &mut wire).unwrap();
            wire.clear();
            encoder.head(black_box(&packet), &mut wire).unwrap();
            wire.clear();
            encoder.packet(black_box(&draft), &mut wire).unwrap();
            encoder.packet_to_slice(black_box(&draft), &mut slice).unwrap();
            // An encoder of another dialect refuses the code.
            assert!(Encoder::new(&LEXST1).packet(&Packet::request(9, 9), &mut wire).is_err());
        }
    });
    assert_eq!(cost, NONE);
}

#[test]
fn a_large_entity_is_not_copied() {
    let packet = Packet::new(notify::TEST).with_entity(vec![7; 1 << 20]);
    let mut head = Vec::with_capacity(64);
    let cost = allocated(|| {
        let entity = packet.to_parts(&LAXCUS6, &mut head).unwrap();
        assert_eq!(entity.as_ptr(), packet.entity.as_ptr());
    });
    // The first clone of a `Bytes` makes its reference count.
    assert!(cost.1 <= 64, "{cost:?}");

    let wire = packet.to_bytes(&LAXCUS6).unwrap();
    let decoder = Decoder::new(&LAXCUS6);
    let cost = allocated(|| {
        let shared = decoder.shared(&wire).unwrap();
        assert_eq!(shared.entity.as_ptr(), wire[wire.len() - (1 << 20)..].as_ptr());
    });
    assert!(cost.1 < 1024, "{cost:?}");
}

#[test]
fn a_stream_of_whole_heads_allocates_nothing() {
    let wire = [sample().to_bytes(&LAXCUS6).unwrap(), sample().to_bytes(&LAXCUS6).unwrap()].concat();
    let decoder = Decoder::new(&LAXCUS6);
    let mut ends = 0;
    let cost = allocated(|| {
        let mut stream = decoder.stream();
        let mut input = &wire[..];
        while let Some(event) = stream.next(&mut input) {
            ends += usize::from(matches!(event, Ok(Event::End)));
        }
    });
    assert_eq!((cost, ends), (NONE, 2));
}

#[test]
fn a_stream_in_pieces_costs_its_head_and_no_entity() {
    let wire = sample().with_entity(vec![7; 100_000]).to_bytes(&LAXCUS6).unwrap();
    let head = Decoder::new(&LAXCUS6).head(&wire).unwrap().head_bytes().len();
    let cost = allocated(|| {
        let mut stream = Decoder::new(&LAXCUS6).stream();
        let mut taken = 0;
        for mut piece in wire.chunks(1) {
            while let Some(event) = stream.next(&mut piece) {
                if let Ok(Event::Entity(bytes)) = event {
                    taken += bytes.len();
                }
            }
        }
        assert_eq!(taken, 100_000);
    });
    // A growing vector: in all at most four times what it ends with.
    assert!(cost.1 <= 4 * head, "{cost:?} for a head of {head}");
}

#[test]
fn an_announced_length_allocates_nothing() {
    // 65535 messages announced, none there; a value of 4095 bytes, 1 there; an entity of 2^31-1.
    let count = [0x87, 0, 1, 5, 1, 0xff, 0xff];
    let value = [0x87, 0, 1, 5, 1, 1, 0, 0xe8, 3, 0xff, 0x1f, 7];
    let entity = [0x87, 0, 1, 5, 1, 1, 0, 0xfc, 3, 4, 0x50, 0xff, 0xff, 0xff, 0x7f, 7];
    let limits = fixp_codec::Limits { entity: usize::MAX, ..fixp_codec::Limits::default() };
    for bomb in [&count[..], &value, &entity] {
        let decoder = Decoder::new(&LAXCUS6).with_limits(limits);
        let cost = allocated(|| {
            assert!(decoder.packet(bomb).is_err());
            let mut stream = decoder.stream();
            for mut piece in bomb.chunks(1) {
                while let Some(event) = stream.next(&mut piece) {
                    assert!(event.is_ok());
                }
            }
            assert!(stream.finish().is_err());
        });
        assert!(cost.1 <= 256, "{cost:?}");
    }
}

#[test]
fn explaining_allocates_nothing() {
    struct Nowhere;
    impl std::fmt::Write for Nowhere {
        fn write_str(&mut self, _: &str) -> std::fmt::Result {
            Ok(())
        }
    }
    let wire = sample().to_bytes(&LAXCUS6).unwrap();
    let decoder = Decoder::new(&LAXCUS6);
    let cost = allocated(|| {
        use std::fmt::Write;
        write!(Nowhere, "{}", explain(&decoder, &wire)).unwrap();
    });
    assert_eq!(cost, NONE);
}

/// SPEC 12.41: what is announced costs nothing, and each value at most what its limit says.
#[cfg(feature = "rpc-lexst1")]
#[test]
fn java_streams_are_bounded() {
    use fixp_codec::rpc::{Limits, java};

    const OBJECTS: &[u8] = b"\xac\xed\x00\x05ur\x00\x13[Ljava.lang.Object;\x90\xceX\x9f\x10s)l\x02\x00\x00xp";
    const BYTES: &[u8] = b"\xac\xed\x00\x05ur\x00\x02[B\xac\xf3\x17\xf8\x06\x08T\xe0\x02\x00\x00xp";
    let string = b"\xac\xed\x00\x05\x7c\x3f\xff\xff\xff\xff\xff\xff\xff".to_vec();
    let count = 0x7fff_ffff_u32.to_be_bytes();
    for bomb in [&[OBJECTS, &count].concat(), &[BYTES, &count].concat(), &string] {
        let cost = allocated(|| assert!(java::decode_value(bomb).is_err()));
        assert!(cost.1 <= 2048, "{cost:?}");
    }

    // Arrays in each other, of which each announces all that is left.
    let left = 500_000_u32;
    let nested: Vec<u8> = (0..100_u32)
        .flat_map(|level| {
            let class: &[u8] = if level == 0 { &OBJECTS[4..] } else { b"uq\x00\x7e\x00\x00" };
            [class, &(left - level * 10).to_be_bytes()].concat()
        })
        .collect();
    let bomb = [&OBJECTS[..4], &nested, &vec![0x70; left as usize]].concat();
    let limits = Limits { values: 1 << 20, ..Limits::default() };
    let cost = allocated(|| assert!(java::decode_value_within(&bomb, &limits).is_err()));
    assert!(cost.1 <= limits.values * 32 + 65536, "{cost:?}");

    // What a value costs, of each kind that is cheap to send; counted with what was given back meanwhile.
    let object = b"sr\x00\x01E\x00\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00xp";
    let kinds: [(&str, usize, &[u8], &[u8]); 6] = [
        ("null", 1, b"p", b"p"),
        ("text", 1, b"t\x00\x00", b"t\x00\x00"),
        (
            "bytes",
            1,
            b"ur\x00\x02[B\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00xp\x00\x00\x00\x00",
            b"uq\x00\x7e\x00\x02\x00\x00\x00\x00",
        ),
        ("object", 2, object, b"sq\x00\x7e\x00\x02"),
        ("array", 1, b"uq\x00\x7e\x00\x00\x00\x00\x00\x00", b"uq\x00\x7e\x00\x00\x00\x00\x00\x00"),
        (
            "class",
            2,
            b"r\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00xp",
            b"r\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00xp",
        ),
    ];
    for (name, counted, first, other) in kinds {
        let n = 100_000_u32;
        let wire = [OBJECTS, &n.to_be_bytes(), first, &other.repeat(n as usize - 1)].concat();
        let cost = allocated(|| assert!(java::decode_value(&wire).is_ok()));
        eprintln!("{name}: {} bytes each, sent in {}", cost.1 / n as usize, other.len());
        assert!(cost.1 <= 160 * counted * n as usize, "{name}: {cost:?}");
        assert!(cost.1 <= 50 * wire.len(), "{name}: {cost:?}");
    }
    let fields = b"I\x00\x00".repeat(0x7fff);
    let wire =
        [&OBJECTS[..4], b"r\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x7f\xff", &fields, b"xp"].concat();
    let cost = allocated(|| assert!(java::decode_value(&wire).is_ok()));
    eprintln!("field: {} bytes each, sent in 3", cost.1 / 0x7fff);
    assert!(cost.1 <= 50 * wire.len(), "{cost:?}");
}

#[cfg(feature = "rpc-laxcus6")]
#[test]
fn tagged_payloads_are_bounded() {
    use fixp_codec::rpc::{Limits, laxcus6};

    // What is only announced costs nothing (SPEC 12.23).
    for tag in [10, 11, 12, 13, 14, 15, 16, 17, 18, 28, 30, 40] {
        let bomb = [&[1, tag][..], &i32::MAX.to_le_bytes()].concat();
        assert_eq!(allocated(|| assert!(laxcus6::decode_reply(&bomb).is_err())), NONE, "{tag}");
    }
    // Arrays in each other, of which each announces all that is left.
    let left = 300_000_u32;
    let nested: Vec<u8> =
        (0..100).flat_map(|level| [&[18][..], &(left - level * 10).to_le_bytes()].concat()).collect();
    let bomb = [&[1][..], &nested, &vec![1; left as usize]].concat();
    let limits = Limits { values: 1 << 20, ..Limits::default() };
    let cost = allocated(|| assert!(laxcus6::decode_reply_within(&bomb, &limits).is_err()));
    assert!(cost.1 <= limits.values * 32 + 65536, "{cost:?}");

    // What a value costs, of each kind that is cheap to send; counted with what was given back meanwhile.
    let n = 100_000_u32;
    let kinds: [(&str, usize, &[u8]); 8] = [
        ("null", 1, b"\x01"),
        ("text", 1, b"\x1c\0\0\0\0"),
        ("array of numbers", 1, b"\x0e\0\0\0\0"),
        ("array", 1, b"\x12\0\0\0\0"),
        ("class", 1, b"\x6a"),
        ("the class Void", 2, b"\x1d"),
        ("object of laxcus6", 1, b"\x1e\x05\0\0\0\x01\0\0\0\0"),
        ("stream", 1, b"\x28\x05\0\0\0\xac\xed\0\x05\x70"),
    ];
    for (name, counted, value) in kinds {
        let wire = [&b"\x01\x12"[..], &n.to_le_bytes(), &value.repeat(n as usize), b"\0"].concat();
        let cost = allocated(|| assert!(laxcus6::decode_reply(&wire).is_ok()));
        eprintln!("{name}: {} bytes each, sent in {}", cost.1 / n as usize, value.len());
        assert!(cost.1 <= 160 * counted * n as usize, "{name}: {cost:?}");
    }
    let wire = [&[0xff; 8][..], &n.to_le_bytes(), &b"\0\0\0\0\0".repeat(n as usize), &[0; 4]].concat();
    let cost = allocated(|| assert!(laxcus6::decode_call(&wire).is_ok()));
    eprintln!("type: {} bytes each, sent in 5", cost.1 / n as usize);
    assert!(cost.1 <= 2 * 160 * n as usize, "{cost:?}");
}
