//! One decode of a packet, to be counted by callgrind: see `tests/instructions.sh`.
//!
//! `instructions POLICY ENTITY LENGTH` decodes a packet with three integers and an entity of so many
//! bytes whose CONTENT_LENGTH takes LENGTH bytes. A shorter number can be padded with zeros, which a
//! compatible reader takes (SPEC 4.2), so that the heads of a small and a large packet are alike.

use std::hint::black_box;
use std::process::ExitCode;

use fixp_codec::{Decoder, LAXCUS6, Policy};

/// TEST with three integers, up to the key of CONTENT_LENGTH.
const HEAD: &[u8] =
    b"\x87\x00\x01\x05\x01\x04\x00\xe9\x03\x01\x50\x05\xea\x03\x02\x50\x2c\x01\xeb\x03\x01\x50\x07\xfc\x03";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [policy, entity, length] = &args[..] else { return usage() };
    let (Ok(entity), Ok(length)) = (entity.parse::<u32>(), length.parse::<usize>()) else { return usage() };
    let policy = match &**policy {
        "strict" => Policy::Strict,
        "compatible" => Policy::Compatible,
        _ => return usage(),
    };
    let Some(wire) = wire(entity, length) else { return usage() };
    let decoder = black_box(Decoder::new(&LAXCUS6).with_policy(policy));
    // Once before, so that nothing is bound or cached during the one that is counted.
    if decode_once(&decoder, &wire) != Some(entity as usize) {
        eprintln!("the packet is refused");
        return ExitCode::FAILURE;
    }
    black_box(decode_counted(&decoder, &wire));
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: instructions strict|compatible ENTITY LENGTH");
    ExitCode::from(2)
}

/// The name is the one that callgrind is told to look for.
#[inline(never)]
fn decode_counted(decoder: &Decoder<'_>, wire: &[u8]) -> Option<usize> {
    decoder.packet(wire).ok().map(|packet| packet.entity().len())
}

#[inline(never)]
fn decode_once(decoder: &Decoder<'_>, wire: &[u8]) -> Option<usize> {
    black_box(decoder).packet(black_box(wire)).ok().map(|packet| packet.entity().len())
}

/// A packet with an entity of so many bytes whose length stands in so many.
fn wire(entity: u32, length: usize) -> Option<Vec<u8>> {
    let mut wire = HEAD.to_vec();
    wire.extend_from_slice(&(0x5000 | u16::try_from(length).ok()?).to_le_bytes());
    let number = entity.to_le_bytes();
    let (value, lost) = number.split_at_checked(length)?;
    wire.extend_from_slice(value);
    wire.resize(wire.len() + entity as usize, 0xee);
    lost.iter().all(|&byte| byte == 0).then_some(wire)
}
