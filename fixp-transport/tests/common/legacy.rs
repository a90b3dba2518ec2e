//! A node of another make that speaks KEEP UDP, which knows nothing of ours; or one of ours, of the machines alone.

#![allow(dead_code, reason = "not every test file uses all of it")]

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixp_codec::{Decoder, Dialect, Packet, laxcus6, lexst1};
use fixp_transport::extension::{Capabilities, key};
use fixp_transport::keep::own::{self, Endpoint, Event};
use fixp_transport::keep::pieces::Mark;
use fixp_transport::keep::{Ledger, Responder, responder};
use fixp_transport::socket::Datagrams;
use fixp_transport::tables;
use tokio::io::ReadBuf;
use tokio::time::{Instant, sleep_until};

/// What a node has seen and done.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    /// The ports of those who sent something, in the order of their first datagram.
    pub(crate) from: Vec<SocketAddr>,
    /// The codes of all datagrams, without those that follow one of their own kind.
    pub(crate) codes: Vec<(SocketAddr, fixp_codec::Code)>,
    /// The entities of the requests that were executed.
    pub(crate) executed: Vec<bytes::Bytes>,
    /// Associations of the own transport at the moment.
    pub(crate) associations: usize,
    /// Requests over the own transport.
    pub(crate) own: usize,
    /// Pieces that came.
    pub(crate) pieces: usize,
    /// Datagrams that had a key of ours in them.
    pub(crate) ours: usize,
}

pub(crate) type Log = Arc<Mutex<Seen>>;

/// How a node behaves.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) dialect: &'static Dialect,
    /// The mode that SECURE_NOTIFY says; nothing for silence.
    pub(crate) mode: Option<i32>,
    /// How long it works at a request; nothing for ever.
    pub(crate) work: Option<Duration>,
    /// The bytes of an answer's entity more than the request's.
    pub(crate) more: usize,
    /// Whether it is one of ours: it announces itself, and has the own transport.
    pub(crate) ours: bool,
    /// Whether it only says that it has.
    pub(crate) lies: bool,
}

impl Manner {
    pub(crate) fn of(dialect: &'static Dialect) -> Self {
        Self { dialect, mode: Some(0), work: Some(Duration::ZERO), more: 0, ours: false, lies: false }
    }
}

/// The answer of such a node to a request with this entity.
pub(crate) fn answer(dialect: &Dialect, entity: &[u8], more: usize) -> Packet {
    let mut entity = entity.to_vec();
    entity.reverse();
    entity.resize(entity.len() + more, 0x55);
    Packet::new(tables::of(dialect).okay).with(1000, "done").with_entity(entity)
}

/// A request that such a node executes.
pub(crate) fn request(dialect: &Dialect, tag: u32, size: usize) -> Packet {
    let code = if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
    let mut entity = tag.to_le_bytes().to_vec();
    entity.extend((0..size).map(|n| (n as u32 ^ tag) as u8));
    Packet::new(code).with(1000, "log").with_entity(entity)
}

/// Serves at a socket until that breaks.
pub(crate) fn serve(socket: impl Datagrams, manner: Manner) -> Log {
    let log = Log::default();
    let seen = Arc::clone(&log);
    tokio::spawn(async move {
        let dialect = manner.dialect;
        let mut responder = Responder::new(responder::Config::new(dialect));
        let mut endpoint = Endpoint::new(own::Config::default(), Ledger::default(), 7);
        let mut work: Vec<(Instant, Whose, Packet)> = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        let now = || Instant::now().into_std();
        loop {
            let timer = responder.poll_timeout().map(Instant::from_std);
            let own = endpoint.poll_timeout().map(Instant::from_std);
            let done = work.iter().map(|work| work.0).min();
            let next = [timer, own, done].into_iter().flatten().min();
            let mut room = ReadBuf::new(&mut buffer);
            let from = tokio::select! {
                biased;
                from = poll_fn(|cx| socket.poll_recv_from(cx, &mut room)) => match from {
                    Ok(from) => Some(from),
                    Err(_) => return,
                },
                () = async { match next { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => None,
            };
            let mut plain = None;
            if let Some(from) = from {
                let bytes = room.filled();
                if let Ok(packet) = Decoder::new(dialect).packet(bytes) {
                    plain = note(&seen, from, &packet, manner);
                }
                let own =
                    manner.ours && !manner.lies && endpoint.handle_datagram(now(), from, dialect, bytes);
                if plain.is_none() && !own {
                    responder.handle_datagram(now(), from, bytes);
                }
                if let Some(Some(answer)) = plain {
                    let wire = answer.to_bytes(dialect).unwrap();
                    poll_fn(|cx| socket.poll_send_to(cx, &wire, from)).await.unwrap();
                }
            }
            responder.handle_timeout(now());
            endpoint.handle_timeout(now());
            let mut executes = |entity: &bytes::Bytes, whose, announces: bool| {
                seen.lock().unwrap().executed.push(entity.clone());
                if let Some(time) = manner.work {
                    let mut answer = answer(dialect, entity, manner.more);
                    if announces {
                        answer = announcing(answer);
                    }
                    work.push((Instant::now() + time, whose, answer));
                }
            };
            while let Some(event) = responder.poll_event() {
                let announces = manner.ours && Capabilities::of_request(&event.packet).is_some();
                executes(&event.packet.entity, Whose::Legacy(event.ticket), announces);
            }
            while let Some(event) = endpoint.poll_event() {
                if let Event::Request { ticket, head, .. } = event {
                    seen.lock().unwrap().own += 1;
                    executes(&head.entity, Whose::Own(ticket), false);
                }
            }
            let (ready, later) = work.into_iter().partition(|work| work.0 <= Instant::now());
            work = later;
            for (_, whose, answer) in ready {
                let _ = match whose {
                    Whose::Legacy(ticket) => responder.answer(now(), ticket, Some(answer)),
                    Whose::Own(ticket) => endpoint.answer(now(), ticket, Some(answer)),
                };
            }
            seen.lock().unwrap().associations = endpoint.stats().associations;
            let mut wire = Vec::new();
            while let Some(sent) = endpoint.poll_transmit(now(), &mut wire, 10) {
                for datagram in wire.chunks(sent.segment) {
                    if poll_fn(|cx| socket.poll_send_to(cx, datagram, sent.to)).await.is_err() {
                        return;
                    }
                }
                wire.clear();
            }
            while let Some(sent) = responder.poll_transmit(now()) {
                if poll_fn(|cx| socket.poll_send_to(cx, &sent.bytes, sent.to)).await.is_err() {
                    return;
                }
            }
        }
    });
    log
}

enum Whose {
    Legacy(responder::Ticket),
    Own(own::Ticket),
}

/// The same, as one of ours says it.
fn announcing(answer: Packet) -> Packet {
    answer.with(key::CAPABILITIES, Capabilities::OURS.with(Capabilities::OWN_KEEP).in_answer())
}

/// Notes a datagram, and says what answers it where it is none of KEEP UDP: perhaps nothing.
fn note(
    seen: &Log,
    from: SocketAddr,
    packet: &fixp_codec::PacketRef<'_>,
    manner: Manner,
) -> Option<Option<Packet>> {
    let code = packet.code();
    let mut seen = seen.lock().unwrap();
    if !seen.from.contains(&from) {
        seen.from.push(from);
    }
    if seen.codes.last() != Some(&(from, code)) {
        seen.codes.push((from, code));
    }
    let ours = |number: u16| key::RANGE.contains(&number);
    seen.pieces += usize::from(Mark::is_claimed(packet));
    seen.ours += usize::from(packet.messages().any(|message| ours(message.key())));
    let habits = tables::of(manner.dialect);
    if manner.dialect.name() != "lexst1" && code == laxcus6::notify::SECURE_QUERY {
        let notify = Packet::new(laxcus6::answer::SECURE_NOTIFY);
        let notify = if manner.ours && packet.first(key::CAPABILITIES).is_some() {
            announcing(notify)
        } else {
            notify
        };
        return Some(manner.mode.map(|mode| notify.with_entity(mode.to_le_bytes().to_vec())));
    }
    if code == habits.exit {
        return Some(Some(Packet::new(habits.exit_okay).with(1000, habits.exit_text_udp)));
    }
    if Some(code) == habits.test {
        return Some(Some(Packet::new(laxcus6::answer::ACCEPTED).with(1000, "RE:TEST!")));
    }
    None
}
