//! A connection of a server: however its input is cut, and whenever its requests are answered, what comes out
//! is what the decoder of whole packets says, and what is written are the answers that were given.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Code, Dialect, LAXCUS6, LEXST1, Message, Packet, Value};
use futures_util::task::noop_waker_ref;

use super::script::Script;
use super::sink::Sink;
use super::wire::{self, Framed};
use crate::body::{Body, PIECE};
use crate::extension::{self, Capabilities, Refusal, key};
use crate::handler::Answer;
use crate::limits::ServerLimits;
use crate::server::connection::{Connection, Event, Fault, Incoming, Ordered, Ticket};
use crate::server::shared::DialectChoice;
use crate::tables;

/// How the connection is set up.
struct Settings {
    choice: DialectChoice,
    extensions: bool,
    limits: ServerLimits,
}

/// What has come out of a connection. The pieces of an entity run together.
#[derive(Clone, PartialEq, Debug)]
enum Seen {
    Request(Told),
    Large(Told, u64),
    Pieces(Vec<u8>),
    End,
    Cancel(i64),
    Fault(Fault),
}

/// A request that has come out.
#[derive(Clone, PartialEq, Debug)]
struct Told {
    packet: Packet,
    serial: Option<i64>,
    greets: bool,
    cost: usize,
    ordered: Option<Ordered>,
    left: Option<Duration>,
}

/// Any input, in any pieces, with answers at any time.
pub fn connection(input: &[u8]) {
    let mut script = Script::new(input);
    let settings = Settings::read(script.byte());
    let wire = wire::stream(&mut script, [&LEXST1, &LAXCUS6]);
    let expected = Expected::of(&settings, &wire);

    let mut whole = Run::new(&settings, &expected);
    whole.deliver(&wire);
    whole.finish(&mut Script::new(&[]));

    let (mut run, mut rest) = (Run::new(&settings, &expected), &wire[..]);
    run.late = true;
    while !script.is_over() {
        match script.below(8) {
            0..=2 => {
                let (piece, behind) = rest.split_at(usize::from(script.byte()).min(rest.len()));
                rest = behind;
                run.deliver(piece);
            }
            3 => run.grant(),
            4 => run.answer(&mut script),
            5 => run.now += Duration::from_millis(u64::from(script.word())),
            6 => run.sink.drain(run.connection.outbox(), usize::from(script.word())),
            _ => run.connection.outbox().shrink(),
        }
    }
    run.deliver(rest);
    run.finish(&mut script);
}

impl Settings {
    fn read(choices: u8) -> Self {
        let dialect = if choices & 1 == 0 { &LEXST1 } else { &LAXCUS6 };
        let choice = if choices & 2 == 0 {
            DialectChoice::Told { default: dialect }
        } else {
            DialectChoice::Fixed(dialect)
        };
        let (head, entity, gather) = match choices >> 3 & 3 {
            0 => (4096, 8000, 1000),
            1 => (200, 300, 40),
            2 => (64, 100, 0),
            _ => (ServerLimits::HEAD, ServerLimits::ENTITY, ServerLimits::GATHER),
        };
        let limits = ServerLimits { head, entity, gather, ..ServerLimits::default() };
        Self { choice, extensions: choices & 4 == 0, limits }
    }
}

/// What must come out.
struct Expected {
    dialect: &'static Dialect,
    events: Vec<Seen>,
    /// Whether the answer to the request at this place of the events announces what we can do.
    announces: Vec<bool>,
    /// Whether the stream may end where it does.
    between: bool,
    /// Where a head begins that is not whole.
    unfinished: Option<usize>,
}

/// What the first bytes of a stream are.
enum FirstHead {
    /// They are not enough.
    More,
    Whole(usize),
    /// They are no head, or one that is too long.
    Bad,
}

fn first_head(wire: &[u8], limit: usize) -> FirstHead {
    let limit = limit.max(7);
    if wire.first().is_some_and(|tag| ![Code::REQUEST_TAG, Code::ANSWER_TAG].contains(tag)) {
        return FirstHead::Bad;
    }
    let word = |at: usize| Some(u16::from_le_bytes([*wire.get(at)?, *wire.get(at + 1)?]));
    let Some(messages) = word(5) else { return FirstHead::More };
    let mut end = 7;
    for _ in 0..messages {
        if end + 4 > limit {
            return FirstHead::Bad;
        }
        let Some(length) = word(end + 2) else { return FirstHead::More };
        end += 4 + usize::from(length & 0xfff);
        if end > limit {
            return FirstHead::Bad;
        }
        if end > wire.len() {
            return FirstHead::More;
        }
    }
    FirstHead::Whole(end)
}

impl Expected {
    fn of(settings: &Settings, wire: &[u8]) -> Self {
        let limits = &settings.limits;
        let mut expected = Self {
            dialect: &LEXST1,
            events: Vec::new(),
            announces: Vec::new(),
            between: true,
            unfinished: None,
        };
        expected.dialect = match settings.choice {
            DialectChoice::Fixed(dialect) => dialect,
            DialectChoice::Told { default } => match first_head(wire, limits.head) {
                FirstHead::Bad => default,
                FirstHead::Whole(end) => Dialect::detect(&wire[..end]).unwrap_or(default),
                FirstHead::More => {
                    expected.dialect = default;
                    expected.between = wire.is_empty();
                    expected.unfinished = (!wire.is_empty()).then_some(0);
                    return expected;
                }
            },
        };
        let (frames, error) = wire::frames(extension::own(expected.dialect), limits.head, wire);
        let mut partner = false;
        let mut end = 0;
        for framed in frames {
            end = framed.start + framed.head + framed.packet.entity.len();
            if !expected.packet(settings, &mut partner, framed) {
                return expected;
            }
        }
        if let Some(error) = error {
            expected.events.push(Seen::Fault(Fault::Malformed(error)));
        } else if end < wire.len() {
            expected.between = false;
            expected.unfinished = Some(end);
        }
        expected
    }

    /// What comes of one packet; whether anything can come behind it.
    fn packet(&mut self, settings: &Settings, partner: &mut bool, framed: Framed) -> bool {
        let limits = &settings.limits;
        let raw = |key| framed.packet.first(key).and_then(Value::as_raw);
        let announces = settings.extensions
            && matches!(raw(key::CAPABILITIES), Some([1..=u8::MAX, bits, ..]) if bits & 1 == 0);
        // Whoever announces himself in this packet is told why it is refused.
        if framed.len > limits.entity && !*partner && !announces {
            self.events.push(Seen::Fault(Fault::TooLarge(framed.len)));
            return false;
        }
        let large = framed.len > limits.entity.min(limits.gather as u64);
        let places = framed.packet.messages.len() * size_of::<Message>();
        let cost = framed.head + places + if large { PIECE } else { framed.len as usize };
        let complete = framed.is_complete();
        if !large && !complete {
            self.between = false;
            return false;
        }
        let mut packet = framed.packet;
        let pieces = if large { std::mem::take(&mut packet.entity) } else { Bytes::new() };
        let raw = |key| packet.first(key).and_then(Value::as_raw);
        *partner |= announces;
        let number = |key| packet.first(key).and_then(Value::as_i64).filter(|_| *partner);
        let serial = number(key::SERIAL);
        let left = packet.first(key::DEADLINE).and_then(Value::as_i32).filter(|_| *partner);
        let is_own = matches!(packet.code, Code::Request { major: extension::MAJOR, .. });
        let canceled = *partner && packet.code == extension::CANCEL;
        let placed = *partner && packet.first(key::CHANNEL).is_some();
        let place = || {
            Some(Ordered {
                channel: raw(key::CHANNEL)?.try_into().ok()?,
                serial: serial?,
                predecessor: number(key::PREDECESSOR)?,
                answered: number(key::ANSWERED).unwrap_or(0),
            })
        };
        let ordered = if placed { place() } else { None };
        let fault = is_own && !*partner || canceled && serial.is_none();
        if fault || !canceled && placed && ordered.is_none() {
            self.events.push(Seen::Fault(Fault::Extension));
            return false;
        }
        if canceled {
            self.events.push(Seen::Cancel(serial.unwrap_or(0)));
        } else {
            if *partner {
                packet.messages.retain(|message| !key::TRANSPORT.contains(&message.key));
            }
            let left = left.map(|left| Duration::from_millis(left.max(0) as u64));
            let greets = announces && !packet.code.is_request();
            let told = Told { packet, serial, greets, cost, ordered, left };
            self.announces.resize(self.events.len(), false);
            self.announces.push(announces);
            self.events.push(if large { Seen::Large(told, framed.len) } else { Seen::Request(told) });
        }
        if large {
            if !pieces.is_empty() {
                self.events.push(Seen::Pieces(pieces.to_vec()));
            }
            if complete {
                self.events.push(Seen::End);
            }
        }
        self.between = complete;
        complete
    }
}

/// A request that is not answered: its ticket, and its place among the events.
type Unanswered = (Ticket, usize);

struct Run<'e> {
    connection: Connection,
    expected: &'e Expected,
    limits: ServerLimits,
    now: Instant,
    /// Whether room is granted only when the script says so.
    late: bool,
    seen: Vec<Seen>,
    /// Input that has to wait, since there is no room for a packet.
    rest: Vec<u8>,
    blocked: bool,
    /// The room that the packet has that is coming.
    granted: usize,
    over: bool,
    taken: usize,
    /// When the byte at such a place was taken.
    times: Vec<(usize, Instant)>,
    large_left: u64,
    unanswered: Vec<Unanswered>,
    answers: Vec<Packet>,
    sink: Sink,
}

impl<'e> Run<'e> {
    fn new(settings: &Settings, expected: &'e Expected) -> Self {
        Self {
            connection: Connection::new(settings.choice, &settings.limits, settings.extensions),
            expected,
            limits: settings.limits.clone(),
            now: Instant::now(),
            late: false,
            seen: Vec::new(),
            rest: Vec::new(),
            blocked: false,
            granted: 0,
            over: false,
            taken: 0,
            times: Vec::new(),
            large_left: 0,
            unanswered: Vec::new(),
            answers: Vec::new(),
            sink: Sink::default(),
        }
    }

    fn deliver(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        let rest = std::mem::take(&mut self.rest);
        let mut input = &rest[..];
        while !self.over {
            let before = input.len();
            let left = usize::try_from(self.connection.large_left()).unwrap_or(usize::MAX);
            let event = if left > 0 && before > 0 && self.taken.is_multiple_of(2) {
                // As where the entity has a reader.
                let (piece, rest) = input.split_at(left.min(before));
                self.connection.pass(piece);
                input = rest;
                Some(Ok(Event::Piece(piece)))
            } else {
                self.connection.next(self.now, &mut input)
            };
            self.taken += before - input.len();
            self.times.push((self.taken, self.now));
            // Only what has come costs memory, and of that no more than the limits say.
            let held = self.connection.held();
            assert!(held <= 2 * self.taken + 64, "{held} bytes are held of {}", self.taken);
            let most = 2 * (self.limits.head.max(7) + self.limits.gather) + 64;
            assert!(held <= most, "{held} bytes are held, {most} are allowed");
            if self.blocked {
                assert!(event.is_none() && input.len() == before, "nothing is taken without room");
            }
            let Some(event) = event else { break };
            self.event(event);
        }
        assert!(input.is_empty() || self.blocked || self.over, "input is used up");
        self.rest = input.to_vec();
        let sniffed = matches!(self.connection.dialect().name(), "lexst1" | "laxcus6");
        assert!(sniffed);
    }

    fn event(&mut self, event: Result<Event<'_>, Fault>) {
        match event {
            Err(fault) => {
                self.seen.push(Seen::Fault(fault));
                self.over = true;
                let mut more: &[u8] = &[0x87, 0, 1, 1, 1, 0, 0];
                let after = self.connection.next(self.now, &mut more);
                assert!(after.is_none(), "behind a fault comes {after:?}");
                assert!(self.connection.head_since().is_none() && !self.connection.in_entity());
                return;
            }
            Ok(Event::Room(room)) => {
                self.granted += room.bytes;
                self.blocked = true;
                if !self.late {
                    self.connection.grant();
                    self.blocked = false;
                }
                return;
            }
            Ok(Event::Request(incoming)) => {
                let ticket = incoming.ticket;
                let told = self.told(incoming);
                self.seen.push(Seen::Request(told));
                self.unanswered.push((ticket, self.seen.len() - 1));
            }
            Ok(Event::Large(incoming, len)) => {
                let ticket = incoming.ticket;
                let told = self.told(incoming);
                self.seen.push(Seen::Large(told, len));
                self.unanswered.push((ticket, self.seen.len() - 1));
                self.large_left = len;
            }
            Ok(Event::Piece(bytes)) => {
                assert!(!bytes.is_empty());
                if let Some(Seen::Pieces(pieces)) = self.seen.last_mut() {
                    pieces.extend_from_slice(bytes);
                } else {
                    self.seen.push(Seen::Pieces(bytes.to_vec()));
                }
                if self.large_left > 0 {
                    self.large_left -= bytes.len() as u64;
                    assert_eq!(self.connection.large_left(), self.large_left);
                }
            }
            Ok(Event::End) => self.seen.push(Seen::End),
            Ok(Event::Cancel(serial, _)) => {
                self.granted = 0;
                self.seen.push(Seen::Cancel(serial));
            }
        }
        let last = self.seen.len() - 1;
        let (seen, expected) = (&self.seen[last], self.expected.events.get(last));
        match (seen, expected) {
            (Seen::Pieces(seen), Some(Seen::Pieces(expected))) => assert!(expected.starts_with(seen)),
            _ => assert_eq!(Some(seen), expected),
        }
    }

    fn told(&mut self, incoming: Incoming) -> Told {
        let Incoming { packet, ticket, ordered, deadline } = incoming;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(self.now));
        let greets = ticket.greets(&packet);
        assert_eq!(
            std::mem::take(&mut self.granted),
            ticket.cost,
            "a request counts for the room that it had"
        );
        Told { packet, serial: ticket.serial, greets, cost: ticket.cost, ordered, left }
    }

    fn grant(&mut self) {
        self.connection.grant();
        self.blocked = false;
        self.deliver(&[]);
    }

    /// Answers one of the requests, with anything.
    fn answer(&mut self, script: &mut Script<'_>) {
        if self.unanswered.is_empty() {
            return;
        }
        let (ticket, place) = self.unanswered.remove(usize::from(script.byte()) % self.unanswered.len());
        let dialect = self.connection.dialect();
        assert_eq!(dialect, self.expected.dialect);
        let mut packet = wire::packet(script, dialect);
        let kind = script.byte();
        if kind & 1 != 0 {
            wire::ours(script, &mut packet);
        }
        if kind & 2 != 0 {
            packet.messages.push(Message::new(dialect.content_length_key(), i32::from(kind)));
        }
        if kind & 4 != 0 {
            packet
                .messages
                .push(Message { key: 1, value: Value::Raw(vec![1; usize::from(script.word())].into()) });
        }
        let body = (kind & 8 != 0).then(|| Bytes::from(vec![kind; usize::from(script.word() & 0x3fff)]));
        let mut answer = Answer::from(packet.clone());
        answer.body = body.clone().map(Body::from_bytes);
        let before = self.connection.outbox().len();
        if self.connection.answer(ticket, &mut answer).is_ok() {
            packet.entity = body.unwrap_or(packet.entity);
        } else {
            assert_eq!(self.connection.outbox().len(), before, "of what cannot be written nothing is");
            answer = self.connection.refused(Refusal::Unwritable);
            packet = Packet::new(tables::of(dialect).refuse).with(key::REFUSAL, Refusal::Unwritable.number());
            let refused = self.connection.answer(ticket, &mut answer);
            assert!(refused.is_ok(), "{refused:?}");
        }
        while let Some(Poll::Ready(Some(Ok(piece)))) =
            answer.body.as_mut().map(|body| body.poll_chunk(&mut Context::from_waker(noop_waker_ref())))
        {
            self.connection.outbox().push(piece);
        }
        let own = self.connection.is_own();
        packet.messages.retain(|message| {
            // What the issue of the transport says, in other words than the code's.
            let ours = key::RANGE.contains(&message.key);
            let handlers = ours && !key::TRANSPORT.contains(&message.key);
            !ours || own && (handlers || message.key == key::REFUSAL)
        });
        packet.remove(dialect.content_length_key());
        if let Some(serial) = ticket.serial {
            packet.messages.push(Message::new(key::SERIAL, serial));
        }
        if self.expected.announces[place] {
            packet.messages.push(Message::new(key::CAPABILITIES, Capabilities::OURS.in_answer()));
        }
        self.answers.push(packet);
    }

    fn finish(mut self, script: &mut Script<'_>) {
        while self.blocked {
            self.grant();
        }
        assert_eq!(self.seen, self.expected.events);
        if !self.over {
            assert_eq!(self.connection.between_packets(), self.expected.between);
            let since = self
                .expected
                .unfinished
                .and_then(|start| self.times.iter().find(|(taken, _)| *taken > start).map(|(_, time)| *time));
            assert_eq!(self.connection.head_since(), since, "the time of a head runs from its first byte");
        }
        while !self.unanswered.is_empty() {
            self.answer(script);
        }
        self.sink.drain(self.connection.outbox(), usize::MAX);
        let dialect = self.expected.dialect;
        let (frames, error) = wire::frames(dialect, usize::MAX, &self.sink.written);
        assert!(error.is_none(), "{error:?}");
        let own = self.connection.is_own();
        let mut written = 0;
        let answers: Vec<Packet> = frames
            .into_iter()
            .map(|framed| {
                assert!(framed.is_complete());
                written += framed.head + framed.packet.entity.len();
                let ours = framed.packet.messages.iter().any(|message| key::RANGE.contains(&message.key));
                assert!(own || !ours, "a stranger sees what is ours: {:?}", framed.packet);
                wire::as_read(dialect, framed.packet)
            })
            .collect();
        assert_eq!(written, self.sink.written.len());
        assert_eq!(answers, self.answers);
    }
}
