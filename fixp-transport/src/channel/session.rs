//! The protocol of one connection at the client, without socket and clock: what is said first, requests
//! out, answers in.

use std::mem;

use bytes::{Bytes, BytesMut};
use fixp_codec::{
    Code, Decoder, Dialect, Encoder, Error, Limits, MAX_ENTITY, Packet, StreamDecoder, ValueRef, laxcus6,
};

use super::ledger::{Outcome, Tag};
use crate::error::{CallError, Cause};
use crate::extended::Extended;
use crate::extension::{self, Capabilities, Refusal, key};
use crate::outbox::Outbox;
use crate::tables;

/// The serial of heartbeats.
const PING_SERIAL: i64 = -1;

/// What a request says that announces what we can do.
const ANNOUNCEMENT: [u8; 2] = [Capabilities::VERSION, Capabilities::OURS.bits()];

/// What a session does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) dialect: &'static Dialect,
    /// Whether our extensions are announced.
    pub(crate) extensions: bool,
    /// Whether the announcement must come before the first request.
    pub(crate) announce_first: bool,
    /// Whether the peer must have ordered channels.
    pub(crate) ordered: bool,
    /// Bytes of the head of an answer.
    pub(crate) head: usize,
    /// Bytes of the entity of an answer.
    pub(crate) entity: usize,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    terms: Terms,
    decoder: StreamDecoder<'static>,
    stage: Stage,
    partner: Partner,
    coming: Coming,
    gathered: BytesMut,
    /// The bytes put into the outbox since the connection was made.
    pub(crate) enqueued: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The answer to the greeting has not come.
    Greeting,
    Open,
}

/// What comes.
#[derive(Debug)]
enum Coming {
    Head,
    /// The entity of this packet, so long.
    Entity(Packet, usize),
    /// An entity that nobody wants.
    Dropped,
}

/// What is known of the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Partner {
    /// Nothing has come from it yet.
    Unknown,
    /// It has announced nothing.
    Other,
    Ours(Capabilities),
}

impl Partner {
    /// Whether our own requests may go to it.
    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Ours(capabilities) if capabilities.serials())
    }
}

/// What has come.
#[derive(Debug)]
pub(crate) enum Event {
    /// The greeting is answered: requests may go.
    Open,
    /// The peer is there.
    Pong,
    /// An answer, what it repeats, and why it is a refusal, if it is one of ours. One with more of an entity than is
    /// taken is told as an error when its head has come.
    Answer { serial: Option<i64>, refusal: Option<Refusal>, outcome: Outcome },
}

impl Session {
    /// A session whose greeting, if it has one, is in the outbox (SPEC 11.3).
    pub(crate) fn new(terms: Terms, outbox: &mut Outbox) -> Self {
        // How long an entity may be is the session's own limit: the decoder's would end the connection.
        let limits = Limits { head: terms.head, entity: MAX_ENTITY, ..Limits::default() };
        let decoder = Decoder::new(extension::own(terms.dialect)).with_limits(limits).stream();
        let habits = tables::of(terms.dialect);
        let mut session = Self {
            terms,
            decoder,
            stage: Stage::Open,
            partner: if terms.extensions { Partner::Unknown } else { Partner::Other },
            coming: Coming::Head,
            gathered: BytesMut::new(),
            enqueued: 0,
        };
        let greeting = if habits.asks_security {
            Some(Packet::new(laxcus6::notify::SECURE_QUERY))
        } else if terms.announce_first && terms.extensions {
            // An answer that nobody asked for: a peer of another make drops it without a word, one of ours
            // answers it with its own (SPEC 10.2).
            Some(Packet::new(habits.okay))
        } else {
            None
        };
        if let Some(greeting) = greeting {
            session.stage = Stage::Greeting;
            let announcement = [(key::CAPABILITIES, ValueRef::Raw(&ANNOUNCEMENT))];
            let extra = if terms.extensions { &announcement[..] } else { &[] };
            session.put(outbox, &greeting, extra).unwrap_or_default();
        }
        session
    }

    pub(crate) const fn partner(&self) -> Partner {
        self.partner
    }

    /// Whether requests may be sent.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Writes a request; tells at which byte of the connection its head ends.
    pub(crate) fn request(
        &mut self,
        outbox: &mut Outbox,
        packet: &Packet,
        tag: Tag,
        left_ms: i32,
    ) -> Result<u64, Error> {
        match tag {
            Tag::None if self.partner == Partner::Unknown => {
                self.put(outbox, packet, &[(key::CAPABILITIES, ValueRef::Raw(&ANNOUNCEMENT))])
            }
            Tag::None => self.put(outbox, packet, &[]),
            Tag::Serial(serial) => self.put(
                outbox,
                packet,
                &[(key::SERIAL, ValueRef::Int64(serial)), (key::DEADLINE, ValueRef::Int32(left_ms))],
            ),
            Tag::Ordered { channel, serial, predecessor, answered } => self.put(
                outbox,
                packet,
                &[
                    (key::SERIAL, ValueRef::Int64(serial)),
                    (key::PREDECESSOR, ValueRef::Int64(predecessor)),
                    (key::CHANNEL, ValueRef::Raw(&channel)),
                    (key::ANSWERED, ValueRef::Int64(answered)),
                    (key::DEADLINE, ValueRef::Int32(left_ms)),
                ],
            ),
        }
    }

    /// Tells a peer of ours that nobody waits for an answer any more.
    pub(crate) fn cancel(&mut self, outbox: &mut Outbox, serial: i64) {
        let cancel = Packet::new(extension::CANCEL);
        self.put(outbox, &cancel, &[(key::SERIAL, ValueRef::Int64(serial))]).unwrap_or_default();
    }

    /// Asks a peer of ours whether it is there. Its answer repeats a serial that no request has: a heartbeat has
    /// no place among the requests, least of all on an ordered channel.
    pub(crate) fn ping(&mut self, outbox: &mut Outbox) {
        let ping = Packet::new(extension::PING);
        self.put(outbox, &ping, &[(key::SERIAL, ValueRef::Int64(PING_SERIAL))]).unwrap_or_default();
    }

    /// Says that the conversation ends.
    pub(crate) fn exit(&mut self, outbox: &mut Outbox) {
        let exit = Packet::new(tables::of(self.terms.dialect).exit);
        self.put(outbox, &exit, &[]).unwrap_or_default();
    }

    fn put(
        &mut self,
        outbox: &mut Outbox,
        packet: &Packet,
        extra: &[(u16, ValueRef<'_>)],
    ) -> Result<u64, Error> {
        let before = outbox.len();
        let length_key = self.terms.dialect.content_length_key();
        // What is ours in a packet that somebody has recorded, say, would be taken for this request's own.
        let keeps = |key| key != length_key && !key::TRANSPORT.contains(&key);
        let head = Extended { packet, keeps, extra, len: packet.entity.len() };
        let encoder = Encoder::new(extension::own(self.terms.dialect));
        outbox.append(|out| encoder.head(&head, out))?;
        let head = self.enqueued + (outbox.len() - before) as u64;
        outbox.push_shared(&packet.entity);
        self.enqueued = head + packet.entity.len() as u64;
        Ok(head)
    }

    /// What comes next from the input, taking bytes from its front; nothing when it is used up.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Option<Result<Event, Cause>> {
        loop {
            match self.decoder.next(input)? {
                Err(error) => return Some(Err(Cause::Decode(error))),
                Ok(fixp_codec::Event::Head(head)) => match head.to_packet() {
                    Ok(packet) if head.entity_len() > self.terms.entity => {
                        let (size, limit) = (head.entity_len(), self.terms.entity);
                        self.coming = Coming::Dropped;
                        return Some(self.answer(packet, Some(Cause::TooLarge { size, limit })));
                    }
                    Ok(packet) => self.coming = Coming::Entity(packet, head.entity_len()),
                    Err(error) => return Some(Err(Cause::Decode(error))),
                },
                Ok(fixp_codec::Event::Entity(piece)) => match &mut self.coming {
                    // Most come in one piece.
                    Coming::Entity(packet, len) if piece.len() == *len => {
                        packet.entity = Bytes::copy_from_slice(piece);
                    }
                    Coming::Entity(..) => self.gathered.extend_from_slice(piece),
                    Coming::Head | Coming::Dropped => {}
                },
                Ok(fixp_codec::Event::End) => {
                    let coming = mem::replace(&mut self.coming, Coming::Head);
                    let Coming::Entity(mut packet, _) = coming else { continue };
                    if !self.gathered.is_empty() {
                        packet.entity = mem::take(&mut self.gathered).freeze();
                    }
                    return Some(self.answer(packet, None));
                }
            }
        }
    }

    /// An answer has come; `beyond` says that its entity is more than is taken.
    fn answer(&mut self, mut packet: Packet, beyond: Option<Cause>) -> Result<Event, Cause> {
        let Code::Answer(code) = packet.code else { return Err(Cause::Unexpected) };
        if self.partner == Partner::Unknown {
            self.partner = match Capabilities::of_answer(&packet) {
                Some(theirs) => Partner::Ours(Capabilities::OURS.common(theirs)),
                None => Partner::Other,
            };
        }
        if self.stage == Stage::Greeting {
            if let Some(cause) = beyond {
                return Err(cause);
            }
            if tables::of(self.terms.dialect).asks_security {
                if packet.code != laxcus6::answer::SECURE_NOTIFY {
                    return Err(Cause::Security(code));
                }
                let mode = packet.entity.first_chunk().map_or(-1, |mode| i32::from_le_bytes(*mode));
                // Bit 1 asks for a cipher (the issue of encryption).
                if mode < 0 || mode & 2 != 0 {
                    return Err(Cause::Security(u16::try_from(mode).unwrap_or(u16::MAX)));
                }
            }
            let ordered = matches!(self.partner, Partner::Ours(capabilities) if capabilities.ordered());
            if self.terms.ordered && !ordered {
                return Err(Cause::NotOrdered);
            }
            self.stage = Stage::Open;
            return Ok(Event::Open);
        }
        let (mut serial, mut refusal) = (None, None);
        if let Partner::Ours(_) = self.partner {
            serial = packet.first(key::SERIAL).and_then(fixp_codec::Value::as_i64);
            refusal = packet.first(key::REFUSAL).and_then(fixp_codec::Value::as_i16).map(Refusal::of_number);
            packet.messages.retain(|message| !key::TRANSPORT.contains(&message.key));
        }
        if serial == Some(PING_SERIAL) {
            return Ok(Event::Pong);
        }
        let outcome = beyond.map_or(Ok(packet), |cause| Err(CallError::possibly_executed(cause)));
        Ok(Event::Answer { serial, refusal, outcome })
    }

    /// The bytes of input that it holds.
    #[cfg(feature = "properties")]
    pub(crate) fn held(&self) -> usize {
        let held = match &self.coming {
            Coming::Head => self.decoder.pending(),
            Coming::Entity(packet, _) => packet.entity.len(),
            Coming::Dropped => 0,
        };
        held + self.gathered.capacity()
    }

    /// Whether the stream may end here.
    pub(crate) fn between_packets(&self) -> bool {
        self.decoder.pending() == 0
    }
}

#[cfg(test)]
mod tests {
    use fixp_codec::LEXST1;

    use super::*;

    /// SPEC 10.2, 10.3: a packet that was recorded between peers of ours, and is sent again.
    #[test]
    fn what_is_ours_in_a_request_is_not_sent() {
        let terms = Terms {
            dialect: &LEXST1,
            extensions: false,
            announce_first: false,
            ordered: false,
            head: 4096,
            entity: 4096,
        };
        let recorded = Packet::new(Code::Request { major: 1, minor: 1 })
            .with(key::SERIAL, 7_i64)
            .with(key::CAPABILITIES, Capabilities::OURS.in_request());
        for (tag, serials) in [(Tag::None, &[][..]), (Tag::Serial(3), &[3])] {
            let mut outbox = Outbox::default();
            let mut session = Session::new(terms, &mut outbox);
            assert!(session.request(&mut outbox, &recorded, tag, 1000).is_ok());
            let wire = outbox.append(|out| out.to_vec());
            let sent = Decoder::new(&LEXST1).packet(&wire).and_then(|packet| packet.to_packet());
            let sent = sent.unwrap_or_else(|error| panic!("{error}"));
            let read: Vec<_> = sent.all(key::SERIAL).filter_map(|value| value.as_i64()).collect();
            assert_eq!((read, sent.first(key::CAPABILITIES)), (serials.to_vec(), None));
        }
    }
}
