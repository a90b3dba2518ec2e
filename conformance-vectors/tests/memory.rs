//! The memory our codec takes for the vectors that say how much a reader may take: those that announce much
//! and send little.
//!
//! One test, alone in its program: the profiler counts every allocation there is.

use conformance_vectors::{Kind, Policy, Vector, all};
use dhat::{HeapStats, Profiler};
use fixp_codec::{Decoder, Dialect, Error, Event, Limits, Message, Packet, Value};

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

#[test]
fn no_vector_takes_more_memory_than_it_may() {
    let vectors = all().expect("the vectors of this crate can be read");
    let bounded: Vec<_> = vectors.iter().filter_map(|vector| Some((vector, vector.memory?))).collect();
    assert!(bounded.len() > 30, "only {} vectors say how much memory", bounded.len());
    let mut over = Vec::new();
    let mut most = 0;
    for policy in [Policy::Strict, Policy::Compatible] {
        for (vector, allowed) in &bounded {
            let taken = peak(vector, policy);
            most = most.max(taken);
            if taken > *allowed {
                over.push(format!("{} ({policy:?}): {taken} bytes, {allowed} are allowed", vector.id));
            }
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
    // The vectors that inflate do take memory: the measurement sees it.
    assert!(most > Limits::INFLATED as u64, "the most that was taken is {most} bytes");
}

/// The most bytes of the heap that were in use at any one time while the vector was read, its input not
/// counted.
fn peak(vector: &Vector, policy: Policy) -> u64 {
    let parts: Vec<Vec<u8>> = vector.parts().iter().map(|part| hex::decode(part).expect("hex")).collect();
    let dialect = Dialect::by_name(&vector.dialect).expect("a dialect that is built in");
    let decoder = Decoder::new(dialect).with_policy(policy);
    let profiler = Profiler::builder().testing().build();
    // Refusals are what most of these vectors are for; which ones is tested elsewhere.
    let _ = match vector.kind {
        Kind::Message => decoder.message(&parts[0]).and_then(|message| content(&message.to_message()?)),
        Kind::Packet => decoder.packet(&parts[0]).and_then(|packet| contents(&packet.to_packet()?)),
        Kind::Stream => stream(&decoder, &parts),
        ref other => panic!("{}: no reader for kind {other}", vector.id),
    };
    let peak = HeapStats::get().max_bytes;
    drop(profiler);
    peak as u64
}

fn stream(decoder: &Decoder<'_>, chunks: &[Vec<u8>]) -> Result<(), Error> {
    let mut stream = decoder.stream();
    let mut packet = Packet::answer(0);
    let mut entity = Vec::new();
    for chunk in chunks {
        let mut chunk = chunk.as_slice();
        while let Some(event) = stream.next(&mut chunk) {
            match event? {
                Event::Head(head) => packet = head.to_packet()?,
                Event::Entity(piece) => entity.extend_from_slice(piece),
                Event::End => {
                    packet.entity = std::mem::take(&mut entity).into();
                    contents(&packet)?;
                }
            }
        }
    }
    Ok(())
}

fn contents(packet: &Packet) -> Result<(), Error> {
    packet.messages.iter().try_for_each(content)
}

/// Compressed values are inflated as their reader would, one after the other.
fn content(message: &Message) -> Result<(), Error> {
    match &message.value {
        Value::ZRaw(stream) => stream.view().inflate(Limits::INFLATED).map(drop),
        Value::ZString(stream) => stream.view().inflate_text(Limits::INFLATED).map(drop),
        _ => Ok(()),
    }
}
