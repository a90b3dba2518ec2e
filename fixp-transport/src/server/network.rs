//! The services that are built into a network server, below the node and its handler, as a function from
//! packet to answer.
//!
//! ```
//! use fixp_codec::{LAXCUS6, Packet, laxcus6::{answer, key, notify}};
//! use fixp_transport::host::Transport;
//! use fixp_transport::server::{PublicKey, network};
//! use fixp_transport::{Peer, Reply};
//!
//! let secure = PublicKey::new(&[0xff; 64], &[1, 0, 1])?;
//! let (addr, local) = ("10.0.0.1:6000".parse().unwrap(), "10.0.0.2:5000".parse().unwrap());
//! let peer = Peer { addr, local, transport: Transport::Tcp, dialect: &LAXCUS6 };
//!
//! let reply = network::answer(&Packet::new(notify::TEST), &peer, &secure);
//! let Some(Reply::Answer(test)) = reply else { panic!("TEST is built in") };
//! assert_eq!(test.packet.code, answer::ACCEPTED);
//! assert_eq!(test.packet.first(key::SPEAK).unwrap().as_str(), Some("RE:TEST!"));
//!
//! // A log is the handler's business.
//! assert!(network::answer(&Packet::new(notify::FLUSH_LOG), &peer, &secure).is_none());
//! # Ok::<(), fixp_transport::server::PublicKeyError>(())
//! ```

use fixp_codec::laxcus6::key::{
    PACKET_IDENTIFY, SPEAK, SUBPACKET_COUNT, SUBPACKET_SERIAL, SUBPACKET_TIMEOUT,
};
use fixp_codec::{Code, Dialect, LEXST1, Message, Packet, Value, laxcus6, lexst1};

use super::public_key::PublicKey;
use crate::handler::{Answer, Peer, Reply};
use crate::host::{Host, Transport};
use crate::tables;

// SPEAK and the keys of pieces are the same in all dialects, so those of laxcus6 stand for all.

/// The mode of a server that encrypts nothing.
const NONE: i32 = 0;
/// SUBPACKET_TIMEOUT of an answer in one piece, in milliseconds.
const PIECE_TIMEOUT: i32 = 3000;
/// The copies of an answer about a private cipher.
const PRIVATE_COPIES: u8 = 5;

/// What a network server makes of a packet by itself; nothing where it is the handler's business.
///
/// As recorded (SPEC 11.8, 11.9): over TCP a server asks its handler for much that is built in over UDP. A
/// dialect that is not lexst1 has the services of laxcus6, as it has its [habits](crate::tables).
#[must_use]
pub fn answer(packet: &Packet, peer: &Peer, key: &PublicKey) -> Option<Reply> {
    // An answer that nobody waits for is swallowed (SPEC 11.1).
    if !packet.code.is_request() {
        return Some(Reply::Silence);
    }
    match (is_lexst1(peer.dialect), peer.transport) {
        (false, Transport::Tcp) => laxcus6_tcp(packet, peer, key),
        (false, Transport::Udp | Transport::KeepUdp) => laxcus6_udp(packet, peer, key),
        (true, Transport::Tcp) => lexst1_tcp(packet),
        (true, Transport::Udp | Transport::KeepUdp) => lexst1_udp(packet),
    }
}

/// Whether the connection ends at this request, without a word: laxcus6's SECURE_CREATE over TCP, whose secret
/// a server without encryption cannot read. It is asked before [`answer`].
#[must_use]
pub fn ends(packet: &Packet, peer: &Peer) -> bool {
    peer.transport == Transport::Tcp
        && !is_lexst1(peer.dialect)
        && packet.code == laxcus6::notify::SECURE_CREATE
}

/// The answer to what nobody serves, the last one of a TCP connection where the dialect has it so (SPEC 11.6).
#[must_use]
pub fn unserved(dialect: &Dialect, transport: Transport) -> Answer {
    let habits = tables::of(dialect);
    let close = habits.unserved_closes && transport == Transport::Tcp;
    Answer { close, ..Packet::new(habits.unserved).with(SPEAK, "sorry!").into() }
}

fn is_lexst1(dialect: &Dialect) -> bool {
    dialect.name() == LEXST1.name()
}

fn laxcus6_tcp(packet: &Packet, peer: &Peer, key: &PublicKey) -> Option<Reply> {
    use laxcus6::{answer, key as keys, notify};
    let answer = match packet.code {
        notify::TEST => laxcus6_test(peer),
        notify::SECURE_QUERY => Packet::new(answer::SECURE_NOTIFY)
            .with(keys::SECURE_FAMILY, NONE)
            .with_entity(key.secure_body(NONE))
            .into(),
        // DIRECT_NOTIFY is looked at over UDP only.
        notify::EXIT => goodbye(peer.dialect, Transport::Tcp).and_close(),
        // For SECURE_CREATE see `ends`.
        notify::SECURE_DROP | notify::SECURE_CREATE => unserved(peer.dialect, Transport::Tcp),
        _ => return None,
    };
    Some(answer.into())
}

fn laxcus6_udp(packet: &Packet, peer: &Peer, key: &PublicKey) -> Option<Reply> {
    use laxcus6::{answer, key as keys, notify};
    let serial = || packet.first(keys::SERIAL_NUMBER)?.as_i64();
    let built: Option<Answer> = match packet.code {
        notify::TEST => Some(laxcus6_test(peer)),
        notify::REFLECT => laxcus6_mirror(packet, peer, answer::REFLECT_ACCEPTED, "re:reflect!"),
        notify::SHINE => laxcus6_mirror(packet, peer, answer::SHINE_ACCEPTED, "re:shine!"),
        // It keeps the mapping of a NAT alive by having come.
        notify::EMPTY_OPERATE => None,
        notify::EXIT => {
            let direct = packet.first(keys::DIRECT_NOTIFY).and_then(Value::as_bool);
            (direct != Some(true))
                .then(|| identified(goodbye(peer.dialect, Transport::Udp), packet, peer.dialect))
        }
        notify::SECURE_QUERY => {
            Some(Packet::new(answer::SECURE_NOTIFY).with_entity(key.secure_body(NONE)).into())
        }
        // Its secret cannot be read here, as if it were garbage.
        notify::SECURE_CREATE => {
            Some(Packet::new(answer::SECURE_REFUSE).with(SPEAK, "CANNOT BE CREATE SECURY!").into())
        }
        notify::PRIVATE_SECURE_CREATE => serial().map(|serial| {
            let refusal = Packet::new(answer::PRIVATE_CREATE_SECURE_REFUSE);
            Answer::from(refusal.with(keys::SERIAL_NUMBER, serial)).in_copies(PRIVATE_COPIES)
        }),
        // There is no cipher to drop, and in clear it would not be heard.
        notify::SECURE_DROP => None,
        notify::PRIVATE_SECURE_QUERY => serial().map(|serial| {
            Packet::new(answer::PRIVATE_SECURE_NOTIFY)
                .with(keys::SERIAL_NUMBER, serial)
                .with_entity(key.secure_body(NONE))
                .into()
        }),
        notify::RETRY_SUBPACKET => None,
        notify::CANCEL_PACKET => packet
            .first(PACKET_IDENTIFY)
            .and_then(Value::as_i32)
            .map(|_| Packet::new(answer::CANCEL_NOTFOUND).with(SPEAK, "cancel io packet bucket!").into()),
        notify::VISIT if serial().is_none() => None,
        _ if is_sub_packet(packet) => None,
        _ => return None,
    };
    Some(built.map_or(Reply::Silence, Reply::Answer))
}

fn laxcus6_test(peer: &Peer) -> Answer {
    use laxcus6::{answer, key};
    Packet::new(answer::ACCEPTED).with(SPEAK, "RE:TEST!").with(key::HOST, &caller(peer)).into()
}

/// The caller's own address, and the HOST it asked, of whatever length; nothing where there is none.
fn laxcus6_mirror(packet: &Packet, peer: &Peer, code: Code, text: &str) -> Option<Answer> {
    use laxcus6::key;
    let Some(Value::Raw(host)) = packet.first(key::HOST) else { return None };
    let answer = Packet::new(code).with(key::HOST, host.clone()).with(SPEAK, text);
    Some(answer.with_entity(caller(peer).to_vec()).into())
}

fn caller(peer: &Peer) -> [u8; Host::WIRE_LEN] {
    Host::new(peer.transport, peer.addr).to_bytes()
}

fn lexst1_tcp(packet: &Packet) -> Option<Reply> {
    use lexst1::{answer, notify};
    let answer = match packet.code {
        notify::EXIT => goodbye(&LEXST1, Transport::Tcp),
        // The mode is none: there is no cipher to be agreed on.
        notify::INIT_SECURE => Packet::new(answer::NOTACCEPTED).with(SPEAK, "hello!").into(),
        _ => return None,
    };
    Some(answer.and_close().into())
}

fn lexst1_udp(packet: &Packet) -> Option<Reply> {
    use lexst1::{answer, notify};
    let says = |code, text: &str| Answer::from(Packet::new(code).with(SPEAK, text));
    Some(match packet.code {
        notify::EXIT => identified(goodbye(&LEXST1, Transport::Udp), packet, &LEXST1).into(),
        notify::INIT_SECURE => identified(says(answer::NOTACCEPTED, "init secure"), packet, &LEXST1).into(),
        notify::RETRY_SUBPACKET => Reply::Silence,
        notify::CANCEL_PACKET => says(answer::NOTFOUND, "cancel keep").into(),
        _ if is_sub_packet(packet) => Reply::Silence,
        _ => return None,
    })
}

/// The answer to EXIT (SPEC 11.5).
fn goodbye(dialect: &Dialect, transport: Transport) -> Answer {
    let habits = tables::of(dialect);
    let text = match transport {
        Transport::Tcp => habits.exit_text_tcp,
        Transport::Udp | Transport::KeepUdp => habits.exit_text_udp,
    };
    Packet::new(habits.exit_okay).with(SPEAK, text).into()
}

/// The answer as the one piece of an answer in pieces, where the request has the identity of such a one.
fn identified(mut answer: Answer, request: &Packet, dialect: &Dialect) -> Answer {
    if let Some(id) = request.first(PACKET_IDENTIFY).and_then(Value::as_i32) {
        let first = dialect.first_serial() as i32;
        for (key, number) in [
            (SUBPACKET_COUNT, 1),
            (SUBPACKET_SERIAL, first),
            (PACKET_IDENTIFY, id),
            (SUBPACKET_TIMEOUT, PIECE_TIMEOUT),
        ] {
            answer.packet.messages.push(Message::new(key, number));
        }
    }
    answer
}

/// Whether a packet is a piece of one: both keys are there, of whatever type. KEEP UDP has taken those that it can
/// read; nothing is made of the others.
fn is_sub_packet(packet: &Packet) -> bool {
    packet.first(SUBPACKET_COUNT).is_some() && packet.first(SUBPACKET_SERIAL).is_some()
}
