//! A session of a client: however its input is cut, the same answers come out, those that the decoder of
//! whole packets gives; and what is written are the requests, each with what is ours behind it.

use fixp_codec::{Code, Dialect, LAXCUS6, LEXST1, Message, Packet, Value, laxcus6};

use super::script::Script;
use super::sink::Sink;
use super::wire;
use crate::channel::ledger::{Outcome, Tag};
use crate::channel::session::{Event, Partner, Session, Terms};
use crate::error::{CallError, Cause};
use crate::extension::{self, Capabilities, Refusal, key};
use crate::outbox::Outbox;
use crate::tables;

/// The serial of heartbeats.
const PING: i64 = -1;

/// What has come out of a session.
#[derive(Clone, PartialEq, Debug)]
enum Seen {
    Open,
    Pong,
    Answer(Option<i64>, Option<Refusal>, Outcome),
    Failed(Cause),
}

/// Any input, in any pieces, and any requests in between.
pub fn session(input: &[u8]) {
    let mut script = Script::new(input);
    let terms = terms(script.byte());
    let mut wire = Vec::new();
    if script.flag() {
        wire.extend(greeting(&mut script, terms.dialect));
    }
    wire.extend(wire::stream(&mut script, [terms.dialect; 2]));
    let (expected, between, partner) = expected(&terms, &wire);

    let mut whole = Run::new(terms);
    whole.deliver(&wire);
    whole.finish(&expected, between, partner);

    let (mut run, mut rest) = (Run::new(terms), &wire[..]);
    while !script.is_over() {
        match script.below(4) {
            0 | 1 => {
                let (piece, behind) = rest.split_at(usize::from(script.byte()).min(rest.len()));
                rest = behind;
                run.deliver(piece);
            }
            2 => run.request(&mut script),
            _ => run.sink.drain(&mut run.outbox, usize::from(script.word())),
        }
    }
    run.deliver(rest);
    run.finish(&expected, between, partner);
}

fn terms(choices: u8) -> Terms {
    let dialect: &'static Dialect = if choices & 1 == 0 { &LEXST1 } else { &LAXCUS6 };
    let (head, entity) = match choices >> 3 & 3 {
        0 => (4096, 8000),
        1 => (200, 300),
        2 => (64, 0),
        _ => (1 << 16, 1 << 24),
    };
    let (announce_first, ordered) = (choices & 4 != 0, choices & 36 == 4);
    Terms { dialect, extensions: choices & 2 == 0, announce_first, ordered, head, entity }
}

/// A likely answer to a greeting.
fn greeting(script: &mut Script<'_>, dialect: &'static Dialect) -> Vec<u8> {
    let kind = script.byte();
    let mut packet = Packet::new(if dialect.name() == "laxcus6" {
        laxcus6::answer::SECURE_NOTIFY
    } else {
        tables::of(dialect).okay
    });
    packet.entity = match kind & 3 {
        0 => vec![script.byte(), 0, 0, script.byte()],
        1 => Vec::new(),
        _ => vec![kind >> 2 & 1, 0, 0, 0],
    }
    .into();
    if kind & 8 == 0 {
        packet.messages.push(Message::new(key::CAPABILITIES, Capabilities::OURS.in_answer()));
    } else {
        wire::ours(script, &mut packet);
    }
    packet.to_bytes(extension::own(dialect)).unwrap_or_default().to_vec()
}

/// What must come out of this input, whether the stream may end behind it, and what the peer is then.
fn expected(terms: &Terms, wire: &[u8]) -> (Vec<Seen>, bool, Partner) {
    let asks = terms.dialect.name() == "laxcus6";
    let mut greeted = !(asks || terms.announce_first && terms.extensions);
    let mut partner = if terms.extensions { Partner::Unknown } else { Partner::Other };
    let mut seen = Vec::new();
    let (frames, error) = wire::frames(extension::own(terms.dialect), terms.head, wire);
    let mut end = 0;
    for framed in frames {
        end = framed.start + framed.head + framed.packet.entity.len();
        let (complete, beyond) = (framed.is_complete(), framed.len > terms.entity as u64);
        if !complete && !beyond {
            return (seen, false, partner);
        }
        let too_large = Cause::TooLarge { size: framed.len as usize, limit: terms.entity };
        let mut packet = framed.packet;
        let raw = |key| packet.first(key).and_then(Value::as_raw);
        let Code::Answer(code) = packet.code else {
            seen.push(Seen::Failed(Cause::Unexpected));
            return (seen, true, partner);
        };
        if partner == Partner::Unknown {
            partner = match raw(key::CAPABILITIES) {
                Some([1..=u8::MAX, bits, ..]) if bits & 1 == 1 => Partner::Ours(
                    Capabilities::of_answer(&packet)
                        .map_or(Capabilities::OURS, |it| it.common(Capabilities::OURS)),
                ),
                _ => Partner::Other,
            };
        }
        if !greeted {
            greeted = true;
            let mode = packet.entity.first_chunk().map_or(-1, |mode| i32::from_le_bytes(*mode));
            let ordered = matches!(partner, Partner::Ours(capabilities) if capabilities.ordered());
            seen.push(if beyond {
                Seen::Failed(too_large)
            } else if asks && packet.code != laxcus6::answer::SECURE_NOTIFY {
                Seen::Failed(Cause::Security(code))
            } else if asks && (mode < 0 || mode & 2 != 0) {
                Seen::Failed(Cause::Security(u16::try_from(mode).unwrap_or(u16::MAX)))
            } else if terms.ordered && !ordered {
                Seen::Failed(Cause::NotOrdered)
            } else {
                Seen::Open
            });
            if let Some(Seen::Failed(_)) = seen.last() {
                return (seen, true, partner);
            }
            continue;
        }
        let (mut serial, mut refusal) = (None, None);
        if let Partner::Ours(_) = partner {
            serial = packet.first(key::SERIAL).and_then(Value::as_i64);
            refusal = packet.first(key::REFUSAL).and_then(Value::as_i16).map(Refusal::of_number);
            packet.messages.retain(|message| !key::TRANSPORT.contains(&message.key));
        }
        seen.push(if serial == Some(PING) {
            Seen::Pong
        } else {
            let outcome = if beyond { Err(CallError::possibly_executed(too_large)) } else { Ok(packet) };
            Seen::Answer(serial, refusal, outcome)
        });
        if !complete {
            return (seen, false, partner);
        }
    }
    if let Some(error) = error {
        seen.push(Seen::Failed(Cause::Decode(error)));
    }
    (seen, end == wire.len(), partner)
}

struct Run {
    terms: Terms,
    session: Session,
    outbox: Outbox,
    sink: Sink,
    seen: Vec<Seen>,
    /// The packets that must have been written.
    requests: Vec<Packet>,
    over: bool,
    taken: usize,
}

impl Run {
    fn new(terms: Terms) -> Self {
        let mut outbox = Outbox::default();
        let session = Session::new(terms, &mut outbox);
        let announced = |packet: Packet| {
            if terms.extensions {
                packet.with(key::CAPABILITIES, Capabilities::OURS.in_request())
            } else {
                packet
            }
        };
        let greeting = if terms.dialect.name() == "laxcus6" {
            Some(announced(Packet::new(laxcus6::notify::SECURE_QUERY)))
        } else if terms.announce_first && terms.extensions {
            Some(announced(Packet::new(tables::of(terms.dialect).okay)))
        } else {
            None
        };
        assert_eq!(session.is_open(), greeting.is_none());
        Self {
            terms,
            session,
            outbox,
            sink: Sink::default(),
            seen: Vec::new(),
            requests: greeting.into_iter().collect(),
            over: false,
            taken: 0,
        }
    }

    fn deliver(&mut self, mut input: &[u8]) {
        while !self.over {
            let before = input.len();
            let event = self.session.next(&mut input);
            self.taken += before - input.len();
            let held = self.session.held();
            assert!(held <= 2 * self.taken + 64, "{held} bytes are held of {}", self.taken);
            let most = 2 * (self.terms.head + self.terms.entity) + 64;
            assert!(held <= most, "{held} bytes are held, {most} are allowed");
            self.seen.push(match event {
                None => break,
                Some(Ok(Event::Open)) => Seen::Open,
                Some(Ok(Event::Pong)) => Seen::Pong,
                Some(Ok(Event::Answer { serial, refusal, outcome })) => {
                    Seen::Answer(serial, refusal, outcome)
                }
                Some(Err(cause)) => {
                    self.over = true;
                    Seen::Failed(cause)
                }
            });
        }
        assert!(self.over || input.is_empty(), "input is used up");
    }

    /// Writes something: a request with any tag, or what is the session's own.
    fn request(&mut self, script: &mut Script<'_>) {
        let dialect = extension::own(self.terms.dialect);
        let (before, had) = (self.session.enqueued, self.outbox.len());
        let serial = i64::from(script.byte());
        let own = |code| Packet::new(code);
        let written = match script.below(8) {
            0 => {
                self.session.cancel(&mut self.outbox, serial);
                own(extension::CANCEL).with(key::SERIAL, serial)
            }
            1 => {
                self.session.ping(&mut self.outbox);
                own(extension::PING).with(key::SERIAL, PING)
            }
            2 => {
                self.session.exit(&mut self.outbox);
                own(tables::of(dialect).exit)
            }
            kind => {
                let mut packet = wire::packet(script, dialect);
                let extras = script.byte();
                if extras & 1 != 0 {
                    wire::ours(script, &mut packet);
                }
                if extras & 2 != 0 {
                    packet.messages.push(Message::new(dialect.content_length_key(), i32::from(extras)));
                }
                if extras & 4 != 0 {
                    let length = usize::from(script.word());
                    packet.messages.push(Message { key: 1, value: Value::Raw(vec![1; length].into()) });
                }
                let tag = match kind {
                    3 | 4 => Tag::None,
                    5 | 6 => Tag::Serial(serial),
                    _ => Tag::Ordered { channel: [1; 16], serial, predecessor: serial - 1, answered: 0 },
                };
                let done = self.session.request(&mut self.outbox, &packet, tag, 1000);
                if done.is_err() {
                    assert_eq!((self.session.enqueued, self.outbox.len()), (before, had));
                    return;
                }
                packet.messages.retain(|message| !key::TRANSPORT.contains(&message.key));
                packet.remove(dialect.content_length_key());
                self.tagged(packet, tag)
            }
        };
        assert_eq!(self.session.enqueued - before, (self.outbox.len() - had) as u64);
        self.requests.push(written);
    }

    fn tagged(&self, packet: Packet, tag: Tag) -> Packet {
        match tag {
            Tag::None if self.session.partner() == Partner::Unknown => {
                packet.with(key::CAPABILITIES, Capabilities::OURS.in_request())
            }
            Tag::None => packet,
            Tag::Serial(serial) => packet.with(key::SERIAL, serial).with(key::DEADLINE, 1000),
            Tag::Ordered { channel, serial, predecessor, answered } => packet
                .with(key::SERIAL, serial)
                .with(key::PREDECESSOR, predecessor)
                .with(key::CHANNEL, Value::Raw(channel.to_vec().into()))
                .with(key::ANSWERED, answered)
                .with(key::DEADLINE, 1000),
        }
    }

    fn finish(mut self, expected: &[Seen], between: bool, partner: Partner) {
        assert_eq!(self.seen, expected);
        assert_eq!(self.session.partner(), partner);
        if !self.over {
            assert_eq!(self.session.between_packets(), between);
        }
        self.sink.drain(&mut self.outbox, usize::MAX);
        assert_eq!(self.sink.written.len() as u64, self.session.enqueued);
        let dialect = extension::own(self.terms.dialect);
        let (frames, error) = wire::frames(dialect, usize::MAX, &self.sink.written);
        assert!(error.is_none() && frames.iter().all(wire::Framed::is_complete), "{error:?}");
        let packets: Vec<_> =
            frames.into_iter().map(|framed| wire::as_read(dialect, framed.packet)).collect();
        assert_eq!(packets, self.requests);
    }
}
