//! What must hold for any bytes: the entry points of the fuzz targets, of proptest and of the replay of
//! the committed corpora. Each panics where its property fails. Not covered by semver.

use core::fmt::Write as _;

use alloc::string::ToString;
use alloc::vec::Vec;

use nom::Parser;

use crate::dialect::BUILT_IN;
use crate::explain::{explain, explain_command, explain_message};
use crate::parse;
use crate::{
    Cause, Decoder, Dialect, Encoder, Error, ErrorKind, Event, HeadRef, LEXST1, Limits, MessageRef, Packet,
    PacketRef, Policy, StreamDecoder, Type, Value, ValueRef,
};

mod java;
mod tagged;

pub use java::rpc_java;
pub use tagged::rpc_tagged;

/// A property of any bytes.
pub type Property = fn(&[u8]);

/// The fuzz targets, by their names in `fuzz/`, and what each checks.
pub const TARGETS: [(&str, Property); 8] = [
    ("decode", decode),
    ("stream", stream),
    ("round_trip", round_trip_of_bytes),
    ("reader_and_nom", reader_and_nom),
    ("explanation", explanation),
    ("json", json),
    ("rpc_java", rpc_java),
    ("rpc_tagged", rpc_tagged),
];

/// Both policies.
pub const POLICIES: [Policy; 2] = [Policy::Strict, Policy::Compatible];

/// A dialect of a user's own: the code path that no constant folds.
pub const CUSTOM: Dialect = LEXST1.derive("custom").with_type(8, Type::ZRaw).with_type(9, Type::ZString);

/// The dialects that every property is checked in.
#[must_use]
pub fn dialects() -> [&'static Dialect; 4] {
    let [a, b, c] = BUILT_IN;
    [a, b, c, &CUSTOM]
}

/// Any bytes, every dialect and policy: decoding does not panic, what is accepted can be read in full,
/// strict accepts no more than compatible, and what it accepts is written back as it was.
pub fn decode(input: &[u8]) {
    for dialect in dialects() {
        let decoder = Decoder::new(dialect);
        let strict = decoder.with_policy(Policy::Strict);
        read_all(decoder.packet(input), input);
        let _ = decoder.command(input).map(|command| assert!(command.wire_len() <= input.len()));
        let _ = decoder.message(input).map(|message| assert!(message.wire_len() <= input.len()));
        if let Ok(packet) = strict.packet(input) {
            let same = decoder.packet(input);
            assert!(same.is_ok_and(
                |same| same.head_bytes() == packet.head_bytes() && same.entity() == packet.entity()
            ));
            written_back(&packet, input);
        }
        if let Ok(message) = strict.message(input) {
            let owned = decoder.message(input).and_then(|message| message.to_message());
            let mut wire = Vec::new();
            let written = owned.and_then(|owned| Encoder::new(dialect).message(&owned, &mut wire));
            assert_eq!((written, &wire[..]), (Ok(message.wire_len()), input));
        }
        if let Ok(command) = strict.command(input) {
            let mut wire = Vec::new();
            assert_eq!(Encoder::new(dialect).command(&command, &mut wire), Ok(7));
            assert_eq!(wire, input);
        }
        if let Some(detected) = Dialect::detect(input) {
            assert!(detected.name() == "lexst1" || detected.name() == "laxcus6");
        }
    }
}

/// Reads everything there is of a packet that was accepted.
fn read_all(packet: Result<PacketRef<'_>, Error>, input: &[u8]) {
    let packet = match packet {
        Ok(packet) => packet,
        Err(error) => {
            assert!(error.offset() <= input.len(), "{error}");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(packet.wire_len() <= input.len());
    assert_eq!(packet.messages().count(), usize::from(packet.command().message_count));
    let mut length = 7;
    for message in packet.messages() {
        length += message.wire_len();
        assert_eq!(packet.first(message.key()).map(|first| first.key()), Some(message.key()));
        assert!(packet.all(message.key()).any(|other| other == message));
        if let Some(stream) = message.as_zraw().or(message.as_zstring()) {
            let content = stream.inflate(4096);
            assert!(content.is_ok_and(|content| content.len() <= 4096) || stream.inflate(4096).is_err());
        }
        match message.value() {
            Ok(value) => accessors_agree(&message, value),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidUtf8);
                assert!(message.as_str().is_none() && message.ty() == Some(Type::String));
            }
        }
    }
    assert_eq!(length, packet.head_bytes().len());
    let Ok(owned) = packet.to_packet() else { return };
    // What was read can be written back, but for what is read and never written.
    let wire = match owned.to_bytes(packet.dialect()) {
        Ok(wire) => wire,
        Err(error) => {
            let boolean_length = owned
                .first(packet.dialect().content_length_key())
                .is_some_and(|value| matches!(value, Value::Boolean(_)));
            assert!(
                matches!(
                    error.cause(),
                    Cause::UnwritableEmpty | Cause::UnwritableRequest | Cause::TooManyMessages
                ) || (error.cause() == Cause::ContentLengthLies && boolean_length),
                "{error}"
            );
            return;
        }
    };
    let again = Decoder::new(packet.dialect()).packet(&wire).and_then(|packet| packet.to_packet());
    match again {
        Ok(mut again) => {
            if packet.first(packet.dialect().content_length_key()).is_none() {
                again.messages.pop();
            }
            assert_eq!(again, owned);
        }
        Err(error) => panic!("what was written back is not read: {error}"),
    }
}

/// Every typed accessor gives the value of its type, and nothing for any other; so do those of owned values.
fn accessors_agree(message: &MessageRef<'_>, value: ValueRef<'_>) {
    let only = |ty, there: bool| assert_eq!(there, message.ty() == Some(ty), "{ty}: {message:?}");
    only(Type::Raw, message.as_raw().is_some_and(|it| value == ValueRef::Raw(it)));
    only(Type::Boolean, message.as_bool().is_some_and(|it| value == ValueRef::Boolean(it)));
    only(Type::String, message.as_str().is_some_and(|it| value == ValueRef::String(it)));
    only(Type::Int16, message.as_i16().is_some_and(|it| value == ValueRef::Int16(it)));
    only(Type::Int32, message.as_i32().is_some_and(|it| value == ValueRef::Int32(it)));
    only(Type::Int64, message.as_i64().is_some_and(|it| value == ValueRef::Int64(it)));
    only(Type::Float32, message.as_f32().is_some_and(|it| value == ValueRef::Float32(it)));
    only(Type::Float64, message.as_f64().is_some_and(|it| value == ValueRef::Float64(it)));
    only(Type::ZRaw, message.as_zraw().is_some_and(|it| value == ValueRef::ZRaw(it)));
    only(Type::ZString, message.as_zstring().is_some_and(|it| value == ValueRef::ZString(it)));
    if message.ty() == Some(Type::Boolean) {
        assert_eq!(message.as_bool(), Some(message.bytes().first() == Some(&1)));
    }
    let owned = value.to_value();
    assert_eq!(owned.view(), value);
    assert_eq!((owned.as_raw(), owned.as_str()), (message.as_raw(), message.as_str()));
    assert_eq!((owned.as_bool(), owned.as_i16()), (message.as_bool(), message.as_i16()));
    assert_eq!((owned.as_i32(), owned.as_i64()), (message.as_i32(), message.as_i64()));
    assert_eq!(owned.as_f32().map(f32::to_bits), message.as_f32().map(f32::to_bits));
    assert_eq!(owned.as_f64().map(f64::to_bits), message.as_f64().map(f64::to_bits));
}

fn written_back(packet: &PacketRef<'_>, input: &[u8]) {
    match packet.to_packet().and_then(|owned| owned.to_bytes(packet.dialect())) {
        Ok(wire) => assert_eq!(wire, input),
        Err(error) => panic!("a canonical packet is not written back: {error}"),
    }
}

/// A stream, however it is cut, gives the same events and the same error, and they are those of
/// decoding packet by packet. The first three bytes choose dialect, policy and cuts.
pub fn stream(input: &[u8]) {
    let Some((&[choice, step, jump], wire)) = input.split_first_chunk::<3>() else { return };
    let Some(&dialect) = dialects().get(usize::from(choice & 3)) else { return };
    let policy = if choice & 4 == 0 { Policy::Compatible } else { Policy::Strict };
    let limits = if choice & 8 == 0 {
        Limits::default()
    } else {
        Limits { messages: 5, head: 64, entity: 300, ..Limits::default() }
    };
    let decoder = Decoder::new(dialect).with_policy(policy).with_limits(limits);
    let whole = packet_by_packet(&decoder, wire);
    assert_eq!(events(decoder.stream(), [wire]), whole, "whole");
    assert_eq!(events(decoder.stream(), wire.chunks(1)), whole, "byte by byte");
    let (step, jump) = (usize::from(step) + 1, usize::from(jump));
    assert_eq!(events(decoder.stream(), wire.chunks(step)), whole, "pieces of {step}");
    // Pieces of changing length, and empty ones between.
    let (mut rest, mut pieces, mut length) = (wire, Vec::new(), 0);
    while !rest.is_empty() {
        length = (length + jump) % (step + 1);
        let (piece, behind) = rest.split_at(if jump == 0 { rest.len() } else { length.min(rest.len()) });
        if piece.is_empty() && jump % (step + 1) == 0 {
            break;
        }
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    assert_eq!(events(decoder.stream(), pieces), whole, "pieces in steps of {jump} modulo {}", step + 1);
}

/// A packet that came out of a stream: its head, its entity, and whether it was complete.
type Taken = (Vec<u8>, Vec<u8>, bool);

/// What a stream decoder makes of these pieces.
fn events<'a>(
    mut stream: StreamDecoder<'_>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Taken>, Result<(), Error>) {
    let mut packets: Vec<Taken> = Vec::new();
    let mut taken = 0;
    for mut piece in pieces {
        let length = piece.len();
        loop {
            match stream.next(&mut piece) {
                Some(Ok(Event::Head(head))) => packets.push((head.head_bytes().to_vec(), Vec::new(), false)),
                Some(Ok(Event::Entity(bytes))) => {
                    assert!(!bytes.is_empty());
                    if let Some((_, entity, _)) = packets.last_mut() {
                        entity.extend_from_slice(bytes);
                    }
                }
                Some(Ok(Event::End)) => {
                    if let Some((_, _, complete)) = packets.last_mut() {
                        *complete = true;
                    }
                }
                None => break,
                Some(Err(error)) => {
                    assert!(piece.is_empty() && stream.next(&mut &[][..]).is_none());
                    let again = stream.next(&mut &[0x87][..]).and_then(Result::err);
                    assert_eq!(again, Some(error), "an error ends the stream");
                    assert_eq!(stream.finish(), Err(error));
                    return (packets, Err(error));
                }
            }
        }
        assert!(piece.is_empty(), "a piece is used up");
        taken += length as u64;
        assert_eq!(stream.position() + stream.pending() as u64, taken);
    }
    (packets, stream.finish())
}

/// What the decoder of whole packets makes of the same bytes.
fn packet_by_packet(decoder: &Decoder<'_>, wire: &[u8]) -> (Vec<Taken>, Result<(), Error>) {
    // Behind a packet on a stream stands the next one, not trailing bytes: heads know of neither.
    let mut packets = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let head: HeadRef<'_> = match decoder.head(rest) {
            Ok(head) => head,
            Err(error) => return (packets, Err(error)),
        };
        let behind = rest.split_at(head.head_bytes().len()).1;
        let Some((entity, next)) = behind.split_at_checked(head.entity_len()) else {
            packets.push((head.head_bytes().to_vec(), behind.to_vec(), false));
            let cut =
                Error::new(Cause::EntityCut, head.head_bytes().len()).sizes(head.entity_len(), behind.len());
            return (packets, Err(cut));
        };
        packets.push((head.head_bytes().to_vec(), entity.to_vec(), true));
        rest = next;
    }
    (packets, Ok(()))
}

/// A valid packet: its length is known beforehand, every way of writing gives the same bytes, and
/// reading them, strictly, gives the packet.
pub fn round_trip(dialect: &'static Dialect, packet: &Packet) {
    let encoder = Encoder::new(dialect);
    let mut wire = Vec::new();
    let written = encoder.packet(packet, &mut wire);
    assert_eq!(written, Ok(wire.len()), "{packet:?}");
    assert_eq!(encoder.packet_len(packet), Ok(wire.len()));
    let mut head = Vec::new();
    let entity = packet.to_parts(dialect, &mut head);
    assert_eq!(encoder.head_len(packet), Ok(head.len()));
    assert_eq!(entity.as_ref(), Ok(&packet.entity));
    head.extend_from_slice(&packet.entity);
    assert_eq!(head, wire);
    let mut slice = alloc::vec![0; wire.len()];
    assert_eq!(encoder.packet_to_slice(packet, &mut slice), Ok(wire.len()));
    assert_eq!(slice, wire);
    let short = slice.len() - 1;
    let refused = slice.get_mut(..short).map(|slice| encoder.packet_to_slice(packet, slice));
    assert!(matches!(refused, Some(Err(error)) if error.cause() == Cause::NoRoom));

    let strict = Decoder::new(dialect).with_policy(Policy::Strict);
    let shared = strict.shared(&wire.clone().into());
    let mut read = match strict.packet(&wire).and_then(|packet| packet.to_packet()) {
        Ok(read) => read,
        Err(error) => panic!("{error}: {packet:?}"),
    };
    assert_eq!(shared.as_ref(), Ok(&read));
    assert_eq!(read.remove(dialect.content_length_key()), 1);
    assert_eq!(&read, packet);
    let (packets, end) = events(strict.stream(), wire.chunks(1));
    assert_eq!((packets.len(), end), (1, Ok(())));
}

/// A valid packet made from fuzzer bytes, of the dialect that the first byte chooses.
pub fn round_trip_of_bytes(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let Some(&dialect) = dialects().get(usize::from(choice & 3)) else { return };
    if let Ok(packet) = crate::arbitrary::packet(&mut ::arbitrary::Unstructured::new(bytes), dialect) {
        round_trip(dialect, &packet);
    }
}

/// The reader and the nom parsers take the same packets, and refuse the others for the same cause at
/// the same offset with the same numbers.
pub fn reader_and_nom(input: &[u8]) {
    let boundless = Limits { messages: usize::MAX, head: usize::MAX, entity: usize::MAX, inflated: 0 };
    for dialect in dialects() {
        for policy in POLICIES {
            let read = Decoder::new(dialect).with_policy(policy).with_limits(boundless).packet(input);
            let parsed = parse::lone_packet(dialect, policy, input);
            match (read, parsed) {
                (Ok(read), Ok((parsed, rest))) => {
                    assert_eq!(read.command(), parsed.command);
                    assert!(read.messages().eq(parsed.messages.iter().copied()));
                    assert_eq!(read.entity(), parsed.entity);
                    assert_eq!(read.wire_len(), input.len() - rest.len());
                }
                (Err(read), Err(parsed)) => {
                    let numbers = |error: Error| (error.cause(), error.offset());
                    assert_eq!(Some(numbers(read)), parsed.error(input).map(numbers));
                    if read.kind() == ErrorKind::Truncated {
                        assert_eq!((read.needed(), read.had()), (parsed.needed, parsed.had));
                    }
                }
                (read, parsed) => panic!("{} {policy:?}: {read:?} but {parsed:?}", dialect.name()),
            }
            lone_parts(dialect, policy, input);
        }
    }
}

/// The same for lone messages and commands, but for what only the end of the input tells.
fn lone_parts(dialect: &'static Dialect, policy: Policy, input: &[u8]) {
    let decoder = Decoder::new(dialect).with_policy(policy);
    let at_the_end = |error: &Error| {
        error.kind() == ErrorKind::TrailingBytes
            || (error.cause() == Cause::EmptyValue && error.ty().is_none() && policy == Policy::Compatible)
    };
    let place = |failure: nom::Err<parse::Failure>| match failure {
        nom::Err::Error(failure) | nom::Err::Failure(failure) => (failure.cause(), failure.offset(input)),
        nom::Err::Incomplete(_) => (None, 0),
    };
    match (decoder.message(input), parse::message(dialect, policy).parse(input)) {
        (Ok(read), Ok((_, parsed))) => assert_eq!(read, parsed),
        (Err(read), Err(parsed)) => assert_eq!((Some(read.cause()), read.offset()), place(parsed)),
        (Err(read), Ok(_)) => assert!(at_the_end(&read), "{read}"),
        (Ok(read), Err(parsed)) => panic!("{read:?} but {parsed:?}"),
    }
    match (decoder.command(input), parse::command(dialect, policy).parse(input)) {
        (Ok(read), Ok((_, parsed))) => assert_eq!(read, parsed),
        (Err(read), Err(parsed)) => assert_eq!((Some(read.cause()), read.offset()), place(parsed)),
        (Err(read), Ok(_)) => assert!(at_the_end(&read), "{read}"),
        (Ok(read), Err(parsed)) => panic!("{read:?} but {parsed:?}"),
    }
}

/// Explaining any bytes ends, covers each byte once and in order, and shows the decoder's error.
pub fn explanation(input: &[u8]) {
    for dialect in dialects() {
        let decoder = Decoder::new(dialect);
        for (explained, error) in [
            (explain(&decoder, input), decoder.packet(input).err()),
            (explain_command(&decoder, input), decoder.command(input).err()),
            (explain_message(&decoder, input), decoder.message(input).err()),
        ] {
            assert_eq!(explained.error(), error);
            let mut at = 0;
            for field in explained.fields() {
                assert_eq!(field.offset, at);
                assert!(!field.bytes.is_empty());
                at += field.bytes.len();
                assert!(!field.to_string().is_empty());
            }
            assert_eq!(at, input.len());
            let mut text = alloc::string::String::new();
            assert!(write!(text, "{explained}").is_ok());
            assert_eq!(text.lines().any(|line| line.trim() == "^^"), error.is_some());
        }
    }
}

/// Any JSON text is refused or is a packet that survives the way to JSON and back; and what is decoded
/// from any bytes survives it too.
pub fn json(input: &[u8]) {
    if let Ok(packet) = serde_json::from_slice::<Packet>(input) {
        survives(&packet);
    }
    let _ = serde_json::from_slice::<crate::Message>(input);
    let _ = serde_json::from_slice::<crate::Command>(input);
    for dialect in dialects() {
        if let Ok(packet) = Decoder::new(dialect).packet(input).and_then(|packet| packet.to_packet()) {
            survives(&packet);
        }
    }
}

fn survives(packet: &Packet) {
    // A compressed value that does not inflate has no JSON form.
    let Ok(text) = serde_json::to_string(packet) else { return };
    let again: Packet = match serde_json::from_str(&text) {
        Ok(again) => again,
        Err(error) => panic!("{error}: {text}"),
    };
    // Deflating again may give another stream, so the forms are compared, not the streams.
    assert_eq!(serde_json::to_string(&again).ok(), Some(text));
}
