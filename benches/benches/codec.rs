//! Every public function of the codec that has work to do, by itself.
//!
//! `cargo bench --bench codec`, or `cargo bench --bench codec -- decode` for a part.

use std::fmt::Write as _;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fixp_benches::cases::{self, Case};
use fixp_benches::decoding::read_all;
use fixp_benches::seen;
use fixp_benches::streaming::{SEGMENT, read_stream};
use fixp_codec::explain::explain;
use fixp_codec::{
    Command, Decoder, Deflated, Dialect, Encoder, LAXCUS6, Message, Packet, Policy, laxcus6::key,
};

/// A group of benches, one for each case and name.
fn group<'c>(
    c: &mut Criterion,
    name: &str,
    cases: &'c [Case],
    mut bench: impl FnMut(&mut criterion::Bencher<'_>, &'c Case),
) {
    let mut group = c.benchmark_group(name);
    for case in cases {
        group.throughput(Throughput::Bytes(case.wire.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(case.name), |b| bench(b, case));
    }
    group.finish();
}

/// The cases that are whole canonical packets: all but the command alone.
fn packets() -> Vec<Case> {
    cases::all().into_iter().filter(|case| !case.is_command()).collect()
}

fn decode(c: &mut Criterion) {
    let (all, packets) = (cases::all(), packets());
    let decoder = black_box(Decoder::new(&LAXCUS6));
    let strict = black_box(decoder.with_policy(Policy::Strict));
    group(c, "decode/compatible", &all, |b, case| b.iter(|| decoder.packet(black_box(&case.wire))));
    group(c, "decode/strict", &packets, |b, case| b.iter(|| strict.packet(black_box(&case.wire))));
    group(c, "decode/head", &all, |b, case| b.iter(|| decoder.head(black_box(&case.wire))));
    group(c, "decode/command", &all[..1], |b, case| b.iter(|| decoder.command(black_box(&case.wire))));
    // The messages of all types, each by itself.
    let mixed = cases::mixed();
    let packet = decoder.packet(&mixed.wire).expect("a legal packet");
    let mut at = Command::WIRE_LEN;
    let mut group = c.benchmark_group("decode/message");
    for message in packet.messages() {
        let wire = &mixed.wire[at..at + message.wire_len()];
        at += message.wire_len();
        let name = format!("{} {}", message.key(), message.ty().map_or("?", |ty| ty.name()));
        group.bench_function(name, |b| b.iter(|| decoder.message(black_box(wire))));
    }
    group.finish();
}

fn own_dialect(c: &mut Criterion) {
    const MINE: Dialect = LAXCUS6.derive("mine");
    let decoder = black_box(Decoder::new(&MINE));
    group(c, "decode/own dialect", &cases::all(), |b, case| b.iter(|| decoder.packet(black_box(&case.wire))));
}

fn read(c: &mut Criterion) {
    let packets = packets();
    let decoder = Decoder::new(&LAXCUS6);
    let head = |case: &'static Case| decoder.packet(&case.wire).expect("a legal packet");
    let packets: &'static [Case] = packets.leak();
    group(c, "read/iterate", packets, |b, case| {
        let packet = head(case);
        b.iter(|| black_box(&packet).messages().map(|message| message.bytes().len()).sum::<usize>());
    });
    group(c, "read/typed", packets, |b, case| {
        let packet = head(case);
        b.iter(|| read_all(black_box(&packet)));
    });
    group(c, "read/value", packets, |b, case| {
        let packet = head(case);
        b.iter(|| black_box(&packet).messages().for_each(|message| seen(message.value())));
    });
    group(c, "read/first, the last key", packets, |b, case| {
        let packet = head(case);
        b.iter(|| black_box(&packet).first(black_box(key::CONTENT_LENGTH)));
    });
    group(c, "read/all of a key", packets, |b, case| {
        let packet = head(case);
        b.iter(|| black_box(&packet).all(black_box(key::SUBPACKET_SERIAL)).count());
    });
    group(c, "read/to_packet", packets, |b, case| {
        let packet = head(case);
        b.iter(|| black_box(&packet).to_packet());
    });
    group(c, "read/shared", packets, |b, case| {
        let wire = Bytes::copy_from_slice(&case.wire);
        b.iter(|| decoder.shared(black_box(&wire)));
    });
    group(c, "read/detect", packets, |b, case| b.iter(|| Dialect::detect(black_box(&case.wire))));
}

fn encode(c: &mut Criterion) {
    let packets = packets();
    let encoder = Encoder::new(black_box(&LAXCUS6));
    let mut wire = Vec::with_capacity(1 << 20);
    group(c, "encode/packet", &packets, |b, case| {
        b.iter(|| {
            wire.clear();
            let written = encoder.packet(black_box(&case.packet), &mut wire);
            black_box(&wire);
            written
        });
    });
    group(c, "encode/packet of a draft", &packets, |b, case| {
        let messages = case.draft_messages();
        let draft = case.draft(&messages);
        b.iter(|| {
            wire.clear();
            let written = encoder.packet(black_box(&draft), &mut wire);
            black_box(&wire);
            written
        });
    });
    group(c, "encode/head", &packets, |b, case| {
        b.iter(|| {
            wire.clear();
            let written = encoder.head(black_box(&case.packet), &mut wire);
            black_box(&wire);
            written
        });
    });
    group(c, "encode/packet_len", &packets, |b, case| b.iter(|| encoder.packet_len(black_box(&case.packet))));
    group(c, "encode/head_len", &packets, |b, case| b.iter(|| encoder.head_len(black_box(&case.packet))));
    group(c, "encode/packet_to_slice", &packets, |b, case| {
        let mut room = vec![0; case.wire.len()];
        b.iter(|| encoder.packet_to_slice(black_box(&case.packet), black_box(&mut room)));
    });
    group(c, "encode/to_parts", &packets, |b, case| {
        b.iter(|| {
            wire.clear();
            black_box(&case.packet).to_parts(encoder_dialect(), &mut wire)
        });
    });
    group(c, "encode/to_bytes", &packets, |b, case| b.iter(|| black_box(&case.packet).to_bytes(&LAXCUS6)));
    c.bench_function("encode/command", |b| {
        let command = Decoder::new(&LAXCUS6).command(&cases::command().wire).expect("a legal command");
        b.iter(|| {
            wire.clear();
            encoder.command(black_box(&command), &mut wire)
        });
    });
    c.bench_function("encode/message", |b| {
        let message = Message::new(key::SPEAK, "hello there!");
        b.iter(|| {
            wire.clear();
            encoder.message(black_box(&message), &mut wire)
        });
    });
}

fn encoder_dialect() -> &'static Dialect {
    black_box(&LAXCUS6)
}

fn stream(c: &mut Criterion) {
    let decoder = black_box(Decoder::new(&LAXCUS6));
    for (name, piece) in [("stream/whole", usize::MAX), ("stream/1460", SEGMENT), ("stream/1", 1)] {
        group(c, name, &packets(), |b, case| {
            let mut stream = decoder.stream();
            b.iter(|| read_stream(&mut stream, black_box(&case.wire), piece));
        });
    }
}

fn forms(c: &mut Criterion) {
    let packets = packets();
    let decoder = Decoder::new(&LAXCUS6);
    let mut text = String::with_capacity(1 << 20);
    group(c, "explain", &packets, |b, case| {
        b.iter(|| {
            text.clear();
            write!(text, "{}", explain(&decoder, black_box(&case.wire)))
        });
    });
    let mut json = Vec::with_capacity(1 << 20);
    group(c, "json/write", &packets, |b, case| {
        b.iter(|| {
            json.clear();
            serde_json::to_writer(&mut json, black_box(&case.packet))
        });
    });
    group(c, "json/read", &packets, |b, case| {
        let json = serde_json::to_string(&case.packet).expect("a packet has a JSON form");
        b.iter(|| serde_json::from_str::<Packet>(black_box(&json)));
    });
}

fn zlib(c: &mut Criterion) {
    let text = "select name, size from chunks where site = 'data' and rank > 17; ".repeat(120);
    let stream = Deflated::of(text.as_bytes());
    let mut group = c.benchmark_group("zlib");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("inflate", |b| b.iter(|| black_box(stream.view()).inflate(1 << 20)));
    group.bench_function("inflate_text", |b| b.iter(|| black_box(stream.view()).inflate_text(1 << 20)));
    group.bench_function("deflate", |b| b.iter(|| Deflated::of(black_box(text.as_bytes()))));
    group.finish();
}

criterion_group!(benches, decode, own_dialect, read, encode, stream, forms, zlib);
criterion_main!(benches);
