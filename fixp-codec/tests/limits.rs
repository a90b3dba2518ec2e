//! Every limit is an error of its own, alike in the decoder and in the stream (SPEC 7.5).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fixp_codec::{Cause, Decoder, Deflated, Error, ErrorKind, LAXCUS6, Limits, Packet, laxcus6::notify};

/// What the decoder says, and the stream however it is cut.
fn refused(wire: &[u8], limits: Limits) -> Error {
    let decoder = Decoder::new(&LAXCUS6).with_limits(limits);
    let error = decoder.packet(wire).expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Limit);
    for size in [1, 3, wire.len()] {
        let mut stream = decoder.stream();
        let mut found = None;
        'stream: for mut piece in wire.chunks(size) {
            loop {
                match stream.next(&mut piece) {
                    Some(Ok(_)) => {}
                    None => break,
                    Some(Err(error)) => {
                        found = Some(error);
                        break 'stream;
                    }
                }
            }
        }
        assert_eq!(found, Some(error), "pieces of {size}");
    }
    error
}

fn wire() -> Vec<u8> {
    let packet = Packet::new(notify::TEST).with(1, 1).with(2, "a text of some length").with(3, 3);
    packet.with_entity(vec![7; 100]).to_bytes(&LAXCUS6).unwrap().to_vec()
}

#[test]
fn messages() {
    let limits = Limits { messages: 3, ..Limits::default() };
    let error = refused(&wire(), limits);
    assert_eq!((error.cause(), error.needed(), error.had(), error.offset()), (Cause::MessageLimit, 4, 3, 5));
    let limits = Limits { messages: 4, ..limits };
    assert!(Decoder::new(&LAXCUS6).with_limits(limits).packet(&wire()).is_ok());
}

#[test]
fn head() {
    let wire = wire();
    let head = Decoder::new(&LAXCUS6).head(&wire).unwrap().head_bytes().len();
    for limit in 0..head {
        let error = refused(&wire, Limits { head: limit, ..Limits::default() });
        assert_eq!((error.cause(), error.had()), (Cause::HeadLimit, limit));
        assert!(error.needed() > limit);
    }
    let limits = Limits { head, ..Limits::default() };
    assert!(Decoder::new(&LAXCUS6).with_limits(limits).packet(&wire).is_ok());
    // Told as soon as the length is announced: the value need not have come.
    let announced = b"\x87\x00\x01\x05\x01\x01\x00\xe8\x03\xff\x1f";
    let error = refused(announced, Limits { head: 1000, ..limits });
    assert_eq!((error.cause(), error.needed()), (Cause::HeadLimit, 11 + 4095));
}

#[test]
fn entity() {
    let error = refused(&wire(), Limits { entity: 99, ..Limits::default() });
    assert_eq!((error.cause(), error.needed(), error.had()), (Cause::EntityLimit, 100, 99));
    let limits = Limits { entity: 100, ..Limits::default() };
    assert!(Decoder::new(&LAXCUS6).with_limits(limits).packet(&wire()).is_ok());
}

#[test]
fn inflated() {
    let zeros = vec![0; 100_000];
    let stream = Deflated::of(&zeros);
    assert!(stream.bytes().len() < 4096, "a bomb fits a message");
    assert_eq!(stream.view().inflate(100_000).unwrap(), zeros);
    let error = stream.view().inflate(99_999).unwrap_err();
    assert_eq!((error.cause(), error.had()), (Cause::InflateLimit, 99_999));
    assert_eq!(stream.view().inflate(0).unwrap_err().cause(), Cause::InflateLimit);
    assert_eq!(Deflated::of(b"").view().inflate(0).unwrap(), b"");
    // Cut short at every byte, and with something behind it.
    let whole = stream.bytes();
    for cut in 0..whole.len() {
        let error = Deflated::from_stream(whole.slice(..cut)).view().inflate(1 << 20).unwrap_err();
        assert_eq!(error.cause(), Cause::Inflate, "{cut} of {}", whole.len());
    }
    let longer = Deflated::from_stream([&whole[..], b"x"].concat().into());
    assert_eq!(longer.view().inflate(1 << 20).unwrap_err().cause(), Cause::InflateLeftOver);
}
