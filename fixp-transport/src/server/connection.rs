//! The protocol of one TCP connection at the server, without socket and clock: bytes in, requests out;
//! answers in, bytes out.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use fixp_codec::{
    Decoder, Dialect, Encoder, Error, Limits, MAX_ENTITY, Message, Packet, StreamDecoder, ValueRef,
};

use super::shared::{DialectChoice, places};
use super::sniff::{Sniffed, Sniffer};
use crate::body::{Body, PIECE};
use crate::extended::Extended;
use crate::extension::{self, Capabilities, Refusal, key};
use crate::handler::Answer;
use crate::limits::ServerLimits;
use crate::outbox::Outbox;
use crate::tables;

/// So many bytes of a head are held before there is room for them: what an idle connection may cost.
pub(crate) const FREE: usize = 4 << 10;

/// What a piece of input has brought.
#[derive(Debug)]
pub(crate) enum Event<'i> {
    /// A head has come, or much of one, or more of the entity behind it, and needs so many bytes: nothing more is taken before
    /// [`Connection::grant`]. What has not come needs none yet.
    Room(Room),
    /// A request with its whole entity.
    Request(Incoming),
    /// A request whose entity, of this length, comes in pieces. From a peer of ours it may be longer than is taken.
    Large(Incoming, u64),
    /// The next bytes of a large entity. Where it has a reader, they go by [`Connection::pass`].
    Piece(
        #[cfg_attr(
            not(feature = "properties"),
            expect(dead_code, reason = "only the properties look at it")
        )]
        &'i [u8],
    ),
    /// A large entity is complete.
    End,
    /// The caller of the request with this serial has gone, which is said in so many bytes.
    Cancel(i64, usize),
}

/// The room that what has come needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    pub(crate) bytes: usize,
    /// The whole packet is there.
    pub(crate) whole: bool,
}

/// A request, and how it is to be answered.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) packet: Packet,
    pub(crate) ticket: Ticket,
    pub(crate) ordered: Option<Ordered>,
    /// When its caller stops waiting.
    pub(crate) deadline: Option<Instant>,
}

/// Where an answer belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    /// The serial to be repeated; without one, answers go in the order of the requests.
    pub(crate) serial: Option<i64>,
    /// Whether our capabilities are announced with the answer.
    announce: bool,
    /// The bytes that the request counts for.
    pub(crate) cost: usize,
    /// Whether others are answered in between: it has a serial, and a deadline, which a transfer on a connection of its
    /// own has not (SPEC 10.9).
    pub(crate) among_others: bool,
}

impl Ticket {
    #[cfg(test)]
    pub(crate) const fn of_serial(serial: i64) -> Self {
        Self { serial: Some(serial), announce: false, cost: 0, among_others: false }
    }

    /// Whether a packet is how a client begins that must know what we can do before its first request, in a
    /// dialect without a request for it: an answer that nobody asked for. A peer of another make swallows it;
    /// we answer (SPEC 10.2).
    pub(crate) const fn greets(self, packet: &Packet) -> bool {
        self.announce && !packet.code.is_request()
    }
}

/// The place of a request on an ordered channel (SPEC 10.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ordered {
    pub(crate) channel: [u8; 16],
    pub(crate) serial: i64,
    pub(crate) predecessor: i64,
    pub(crate) answered: i64,
}

/// Why a connection cannot go on (SPEC 11.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A packet cannot be read.
    Malformed(Error),
    /// An entity is longer than is taken, and its peer cannot be told.
    TooLarge(u64),
    /// One of our own commands from a peer that has announced nothing (SPEC 10.2), or one that is broken.
    Extension,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    extensions: bool,
    choice: DialectChoice,
    head_limit: usize,
    entity_limit: u64,
    gather: usize,
    reading: Reading,
    phase: Phase,
    /// What the peer has announced, if anything.
    partner: Option<Capabilities>,
    /// When the first byte came of a head that is not whole.
    head_since: Option<Instant>,
    beginning: Beginning,
    outbox: Outbox,
    /// The bytes that were taken in.
    came: u64,
    /// The pieces that are held of an entity that is handed on in pieces.
    pieces: usize,
}

#[derive(Debug)]
enum Reading {
    Unknown(Sniffer),
    Known(&'static Dialect, StreamDecoder<'static>),
}

#[derive(Debug)]
enum Phase {
    Head,
    /// A head that takes much more once it is decoded waits for [`Connection::grant`]: what it counts for, and how long
    /// the entity is.
    Decode(Bytes, usize, u64),
    /// A large packet waits for [`Connection::grant`]: how much room, how long the entity.
    Room(Packet, usize, u64),
    Gather(Gathering),
    /// The large packet is to be told of.
    Tell(Packet, usize, u64),
    /// The entity goes on in pieces, so many bytes are to come.
    Large(u64),
    /// There was a fault.
    Over,
}

/// The head that is coming.
#[derive(Debug, Default)]
struct Beginning {
    came: usize,
    /// The room that it has, and waits for.
    room: usize,
    asked: Option<usize>,
}

/// An entity that is gathered.
#[derive(Debug)]
struct Gathering {
    packet: Packet,
    /// The room that it has.
    cost: usize,
    /// The bytes that may be taken now: they have room.
    granted: usize,
    /// The bytes that wait for room.
    asked: Option<usize>,
    /// The bytes that have not been taken.
    left: usize,
    /// Since when it is coming.
    since: Instant,
    gathered: BytesMut,
}

/// What the decoder has found, with nothing borrowed from it.
enum Found<'i> {
    Head(Packet, usize, u64),
    /// A head that is not decoded before there is room for it.
    Long(Bytes, usize, u64),
    Piece(&'i [u8]),
    End,
}

impl Beginning {
    const fn ask(&mut self, room: Room) -> Event<'static> {
        self.asked = Some(room.bytes);
        Event::Room(room)
    }
}

impl Gathering {
    /// For an entity of this length; its head counts so much.
    fn new(packet: Packet, head: usize, left: usize, since: Instant) -> Self {
        Self { packet, cost: head, granted: 0, asked: None, left, since, gathered: BytesMut::new() }
    }

    /// The room for as much of it as is at hand.
    fn ask(&mut self, at_hand: usize) -> Room {
        let bytes = at_hand.min(self.left);
        self.asked = Some(bytes);
        Room { bytes, whole: bytes == self.left }
    }

    fn grant(&mut self) {
        let bytes = self.asked.take().unwrap_or_default();
        self.granted += bytes;
        self.cost += bytes;
    }

    fn take(&mut self, piece: &[u8]) {
        self.granted -= piece.len();
        self.left -= piece.len();
        // Most come in one piece.
        if self.left == 0 && self.gathered.is_empty() {
            self.packet.entity = Bytes::copy_from_slice(piece);
        } else {
            self.gathered.extend_from_slice(piece);
        }
    }
}

fn known(dialect: &'static Dialect, head: usize) -> Reading {
    Reading::Known(dialect, decoder(dialect, head).stream())
}

fn decoder(dialect: &'static Dialect, head: usize) -> Decoder<'static> {
    // How long an entity may be is this connection's own limit: the decoder's is for those who gather.
    let limits = Limits { head, entity: MAX_ENTITY, ..Limits::default() };
    Decoder::new(extension::own(dialect)).with_limits(limits)
}

fn read<'i>(decoder: &mut StreamDecoder<'static>, input: &mut &'i [u8]) -> Option<Result<Found<'i>, Error>> {
    let before = *input;
    Some(match decoder.next(input)? {
        Err(error) => Err(error),
        Ok(fixp_codec::Event::End) => Ok(Found::End),
        Ok(fixp_codec::Event::Head(head)) => {
            let cost = head.head_bytes().len() + places(head.messages().len());
            let entity = head.entity_len() as u64;
            if cost > FREE {
                Ok(Found::Long(Bytes::copy_from_slice(head.head_bytes()), cost, entity))
            } else {
                head.to_packet().map(|packet| Found::Head(packet, cost, entity))
            }
        }
        // What is taken of the input is the piece.
        Ok(fixp_codec::Event::Entity(_)) => Ok(Found::Piece(&before[..before.len() - input.len()])),
    })
}

impl Connection {
    pub(crate) fn new(choice: DialectChoice, limits: &ServerLimits, extensions: bool) -> Self {
        let reading = match choice {
            DialectChoice::Fixed(dialect) => known(dialect, limits.head),
            DialectChoice::Told { .. } => Reading::Unknown(Sniffer::new()),
        };
        Self {
            extensions,
            choice,
            head_limit: limits.head,
            entity_limit: limits.entity,
            gather: limits.gather,
            reading,
            phase: Phase::Head,
            partner: None,
            head_since: None,
            beginning: Beginning::default(),
            outbox: Outbox::default(),
            came: 0,
            pieces: 1,
        }
    }

    /// The same where so many pieces are held of an entity that is handed on in pieces, and not one.
    pub(crate) const fn holding(mut self, pieces: usize) -> Self {
        self.pieces = pieces;
        self
    }

    /// The dialect: until it is known, that of those who do not tell.
    pub(crate) fn dialect(&self) -> &'static Dialect {
        match (&self.reading, self.choice) {
            (Reading::Known(dialect, _), _) => dialect,
            (_, DialectChoice::Fixed(dialect) | DialectChoice::Told { default: dialect }) => dialect,
        }
    }

    /// Whether the peer is one of ours.
    pub(crate) const fn is_own(&self) -> bool {
        self.partner.is_some()
    }

    /// Since when a head is coming.
    pub(crate) const fn head_since(&self) -> Option<Instant> {
        self.head_since
    }

    /// Whether an entity is coming.
    pub(crate) const fn in_entity(&self) -> bool {
        matches!(self.phase, Phase::Gather(..) | Phase::Large(_))
    }

    /// Since when an entity is coming that is gathered.
    pub(crate) const fn gathers_since(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Gather(gathering) => Some(gathering.since),
            _ => None,
        }
    }

    /// Whether a packet is coming that has room.
    pub(crate) const fn has_room(&self) -> bool {
        self.beginning.room > 0 || !matches!(self.phase, Phase::Head | Phase::Over)
    }

    /// The bytes of a head that have no room.
    pub(crate) const fn without_room(&self) -> usize {
        self.beginning.came.saturating_sub(self.beginning.room)
    }

    /// How many bytes have been taken in.
    pub(crate) const fn came(&self) -> u64 {
        self.came
    }

    /// How many bytes of a large entity are still to come.
    pub(crate) const fn large_left(&self) -> u64 {
        match self.phase {
            Phase::Large(left) => left,
            _ => 0,
        }
    }

    /// What is to be written.
    pub(crate) const fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether the stream may end here.
    pub(crate) fn between_packets(&self) -> bool {
        matches!(self.phase, Phase::Head) && self.head_since.is_none()
    }

    /// The bytes of input that it holds.
    #[cfg(feature = "properties")]
    pub(crate) fn held(&self) -> usize {
        let head = match &self.reading {
            Reading::Unknown(sniffer) => sniffer.held(),
            Reading::Known(_, decoder) if matches!(self.phase, Phase::Head) => decoder.pending(),
            Reading::Known(..) => 0,
        };
        head + match &self.phase {
            Phase::Gather(gathering) => gathering.packet.entity.len() + gathering.gathered.capacity(),
            Phase::Room(packet, ..) | Phase::Tell(packet, ..) => packet.entity.len(),
            Phase::Decode(head, ..) => head.len(),
            Phase::Head | Phase::Large(_) | Phase::Over => 0,
        }
    }

    /// What the input brings next, taking bytes from its front. Nothing when it is used up, or while the room
    /// for a packet is not granted, or after a fault.
    pub(crate) fn next<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
    ) -> Option<Result<Event<'i>, Fault>> {
        let before = input.len();
        let event = self.advance(now, input);
        self.came += (before - input.len()) as u64;
        if let Some(Err(_)) = event {
            // Nothing is waited for any more: what runs has its time.
            self.phase = Phase::Over;
            self.head_since = None;
            self.beginning = Beginning::default();
        }
        event
    }

    fn advance<'i>(&mut self, now: Instant, input: &mut &'i [u8]) -> Option<Result<Event<'i>, Fault>> {
        loop {
            if self.beginning.asked.is_some() {
                return None;
            }
            let at_hand = input.len();
            let mut most = at_hand;
            match &mut self.phase {
                Phase::Tell(_, _, len) => {
                    let len = *len;
                    return self.told(now, len);
                }
                Phase::Room(..) | Phase::Over => return None,
                // Of what is gathered only that is taken which has room.
                Phase::Gather(gathering) => {
                    if gathering.asked.is_some() {
                        return None;
                    }
                    if gathering.granted == 0 && gathering.left > 0 && most > 0 {
                        return Some(Ok(Event::Room(gathering.ask(most))));
                    }
                    most = most.min(gathering.granted);
                }
                Phase::Head if self.head_since.is_none() && most > 0 => self.head_since = Some(now),
                Phase::Head | Phase::Decode(..) | Phase::Large(_) => {}
            }
            let found = match &mut self.reading {
                Reading::Known(dialect, _) if let Phase::Decode(head, cost, entity) = &self.phase => {
                    let packet =
                        decoder(dialect, self.head_limit).head(head).and_then(|head| head.to_packet());
                    Some(packet.map(|packet| Found::Head(packet, *cost, *entity)))
                }
                Reading::Known(_, decoder) => {
                    let mut part = &input[..most];
                    let found = read(decoder, &mut part);
                    *input = &input[most - part.len()..];
                    found
                }
                Reading::Unknown(sniffer) => {
                    let default = match self.choice {
                        DialectChoice::Fixed(dialect) | DialectChoice::Told { default: dialect } => dialect,
                    };
                    let sniffed = match sniffer.take(input, self.head_limit) {
                        Sniffed::More => None,
                        Sniffed::Head(head, dialect) => Some((head, dialect.unwrap_or(default))),
                        // What is wrong with it, a decoder says.
                        Sniffed::Bad(head) => Some((head, default)),
                    };
                    match sniffed {
                        None => None,
                        Some((head, dialect)) => match self.first(dialect, &head) {
                            None => continue,
                            found => found,
                        },
                    }
                }
            };
            if matches!(self.phase, Phase::Head) {
                self.beginning.came += at_hand - input.len();
            }
            let Some(found) = found else {
                let bytes = self.without_room();
                return (bytes > FREE).then(|| Ok(self.beginning.ask(Room { bytes, whole: false })));
            };
            match found {
                Err(error) => return Some(Err(Fault::Malformed(error))),
                Ok(Found::Long(head, cost, entity)) => {
                    self.head_since = None;
                    // With an entity that is there already it is a whole packet.
                    let gathers = self.entity_limit.min(self.gather as u64);
                    let whole = entity <= gathers.min(input.len() as u64);
                    let bytes = cost + if whole { entity as usize } else { 0 } - self.beginning.room;
                    self.phase = Phase::Decode(head, cost, entity);
                    return Some(Ok(self.beginning.ask(Room { bytes, whole })));
                }
                Ok(Found::Head(packet, head, entity)) => {
                    self.head_since = None;
                    let had = std::mem::take(&mut self.beginning).room;
                    let beyond = entity > self.entity_limit;
                    let announces = || self.extensions && Capabilities::of_request(&packet).is_some();
                    if beyond && self.partner.is_none() && !announces() {
                        return Some(Err(Fault::TooLarge(entity)));
                    }
                    let large = beyond || entity > self.gather as u64;
                    if large {
                        // It counts for what is held of it.
                        let bytes = head + self.pieces * PIECE;
                        self.phase = Phase::Room(packet, bytes, entity);
                        return Some(Ok(Event::Room(Room { bytes: bytes - had, whole: false })));
                    }
                    let mut gathering = Gathering::new(packet, head, entity as usize, now);
                    let room = gathering.ask(input.len());
                    self.phase = Phase::Gather(gathering);
                    let bytes = head + room.bytes - had;
                    if bytes > 0 {
                        return Some(Ok(Event::Room(Room { bytes, ..room })));
                    }
                    self.grant();
                }
                Ok(Found::Piece(piece)) => match &mut self.phase {
                    Phase::Gather(gathering) => gathering.take(piece),
                    Phase::Large(left) => {
                        *left = left.saturating_sub(piece.len() as u64);
                        return Some(Ok(Event::Piece(piece)));
                    }
                    // An entity comes behind its head and nowhere else.
                    Phase::Head | Phase::Decode(..) | Phase::Room(..) | Phase::Tell(..) | Phase::Over => {
                        return Some(Err(Fault::Extension));
                    }
                },
                Ok(Found::End) => match std::mem::replace(&mut self.phase, Phase::Head) {
                    Phase::Gather(Gathering { mut packet, cost, gathered, .. }) => {
                        if !gathered.is_empty() {
                            packet.entity = gathered.freeze();
                        }
                        return Some(self.incoming(now, packet, cost));
                    }
                    _ => return Some(Ok(Event::End)),
                },
            }
        }
    }

    /// What the first head is, now that its dialect is known.
    fn first(&mut self, dialect: &'static Dialect, head: &[u8]) -> Option<Result<Found<'static>, Error>> {
        let mut decoder = decoder(dialect, self.head_limit).stream();
        let found = match read(&mut decoder, &mut &head[..]) {
            Some(Ok(Found::Head(packet, cost, entity))) => Some(Ok(Found::Head(packet, cost, entity))),
            Some(Ok(Found::Long(head, cost, entity))) => Some(Ok(Found::Long(head, cost, entity))),
            Some(Err(error)) => Some(Err(error)),
            // A head has neither.
            Some(Ok(Found::Piece(_) | Found::End)) | None => None,
        };
        self.reading = Reading::Known(dialect, decoder);
        found
    }

    /// The large packet that is to be told of, whose entity of this length is what comes next.
    fn told(&mut self, now: Instant, len: u64) -> Option<Result<Event<'static>, Fault>> {
        let Phase::Tell(packet, cost, _) = std::mem::replace(&mut self.phase, Phase::Large(len)) else {
            return None;
        };
        Some(self.incoming(now, packet, cost).map(|event| match event {
            Event::Request(incoming) => Event::Large(incoming, len),
            other => other,
        }))
    }

    /// As [`Connection::next`], of bytes that are all of a large entity: there is nothing to be found in them.
    pub(crate) fn pass(&mut self, mut piece: &[u8]) {
        debug_assert!(piece.len() as u64 <= self.large_left(), "bytes behind an entity");
        if let (Phase::Large(left), Reading::Known(_, decoder)) = (&mut self.phase, &mut self.reading) {
            *left = left.saturating_sub(piece.len() as u64);
            self.came += piece.len() as u64;
            // It counts them, too: what it says of them is known.
            let _ = decoder.next(&mut piece);
        }
    }

    /// Gives what [`Event::Room`] asked for.
    pub(crate) fn grant(&mut self) {
        if let Some(bytes) = self.beginning.asked.take() {
            self.beginning.room += bytes;
            return;
        }
        if let Phase::Gather(gathering) = &mut self.phase {
            return gathering.grant();
        }
        self.phase = match std::mem::replace(&mut self.phase, Phase::Head) {
            Phase::Room(packet, cost, len) => Phase::Tell(packet, cost, len),
            other => other,
        };
    }

    /// A whole request, or a head whose entity follows: takes out what is ours.
    fn incoming(&mut self, now: Instant, mut packet: Packet, cost: usize) -> Result<Event<'static>, Fault> {
        // In an answer that nobody asked for it is a greeting: see `Ticket::greets`.
        let announced = if self.extensions { Capabilities::of_request(&packet) } else { None };
        if announced.is_some() {
            self.partner = announced;
        }
        if extension::is_own(packet.code) && self.partner.is_none() {
            return Err(Fault::Extension);
        }
        let mut ticket = Ticket { serial: None, announce: announced.is_some(), cost, among_others: false };
        let (mut ordered, mut deadline) = (None, None);
        if self.partner.is_some() {
            let number = |key| packet.first(key).and_then(fixp_codec::Value::as_i64);
            ticket.serial = number(key::SERIAL);
            deadline = packet
                .first(key::DEADLINE)
                .and_then(fixp_codec::Value::as_i32)
                .map(|left| now + Duration::from_millis(u64::try_from(left).unwrap_or(0)));
            ticket.among_others = ticket.serial.is_some() && deadline.is_some();
            if packet.code == extension::CANCEL {
                let serial = number(key::SERIAL).ok_or(Fault::Extension)?;
                return Ok(Event::Cancel(serial, cost));
            }
            if let Some(channel) = packet.first(key::CHANNEL) {
                let place = || {
                    Some(Ordered {
                        channel: channel.as_raw()?.try_into().ok()?,
                        serial: number(key::SERIAL)?,
                        predecessor: number(key::PREDECESSOR)?,
                        answered: number(key::ANSWERED).unwrap_or(0),
                    })
                };
                // A place that cannot be read must not be executed as if it had none.
                ordered = Some(place().ok_or(Fault::Extension)?);
            }
            packet.messages.retain(|message| !key::TRANSPORT.contains(&message.key));
        }
        Ok(Event::Request(Incoming { packet, ticket, ordered, deadline }))
    }

    /// Writes an answer: all of it, or, where it has a body, its head. What cannot be written is refused
    /// instead, so that the caller does not wait.
    pub(crate) fn answer(&mut self, ticket: Ticket, answer: &mut Answer) -> Result<(), Error> {
        let dialect = self.dialect();
        let (own, length_key) = (self.partner.is_some(), dialect.content_length_key());
        // The serial of an answer is ours to say, whatever its handler has put there.
        let keeps = |key| key != length_key && extension::may_answer(key, own);
        let capabilities = Capabilities::OURS.in_answer();
        let ours = [
            (key::SERIAL, ValueRef::Int64(ticket.serial.unwrap_or_default())),
            (key::CAPABILITIES, capabilities.view()),
        ];
        let extra = &ours[usize::from(ticket.serial.is_none())..1 + usize::from(ticket.announce)];
        let entity = match answer.body {
            None => std::mem::take(&mut answer.packet.entity),
            Some(_) => Bytes::new(),
        };
        let len = answer.body.as_ref().map_or(entity.len() as u64, Body::len);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let head = Extended { packet: &answer.packet, keeps, extra, len };
        self.outbox.append(|out| Encoder::new(dialect).head(&head, out))?;
        self.outbox.push(entity);
        Ok(())
    }

    /// The answer to a request that was not executed; to a peer of ours with the reason.
    pub(crate) fn refused(&self, refusal: Refusal) -> Answer {
        let mut packet = Packet::new(tables::of(self.dialect()).refuse);
        if self.partner.is_some() {
            packet.messages.push(Message::new(key::REFUSAL, refusal.number()));
        }
        packet.into()
    }
}

#[cfg(test)]
mod tests {
    use fixp_codec::{LEXST1, lexst1};

    use super::*;

    fn connection() -> Connection {
        Connection::new(DialectChoice::Fixed(&LEXST1), &ServerLimits::default(), true)
    }

    /// What ran before the fault has its time: the head that will never be whole is not waited for.
    #[test]
    fn after_a_fault_nothing_comes_and_nothing_is_waited_for() {
        let ping = Packet::new(extension::PING).to_bytes(extension::own(&LEXST1)).unwrap_or_default();
        let request = Packet::new(lexst1::notify::HELO).to_bytes(&LEXST1).unwrap_or_default();
        for bad in [&[0; 8][..], &ping] {
            let mut connection = connection();
            let mut input = &[bad, &request][..].concat()[..];
            let fault = loop {
                match connection.next(Instant::now(), &mut input) {
                    Some(Ok(Event::Room(_))) => connection.grant(),
                    Some(Err(fault)) => break fault,
                    other => panic!("{other:?}"),
                }
            };
            assert!(matches!(fault, Fault::Malformed(_) | Fault::Extension), "{fault:?}");
            assert!(connection.next(Instant::now(), &mut &request[..]).is_none());
            assert_eq!(connection.head_since(), None);
            assert!(!connection.in_entity());
        }
    }

    #[test]
    fn room_is_asked_for_what_has_come() {
        let wire = Packet::new(lexst1::notify::HELO).with_entity(vec![7; 1000]);
        let wire = wire.to_bytes(&LEXST1).unwrap_or_default();
        let head = wire.len() - 1000;
        // CONTENT_LENGTH is its only message.
        let place = places(1);
        let mut connection = connection();
        let mut asked = Vec::new();
        let mut rest = &wire[..];
        for come in [head + 3, 0, 400, 597] {
            let (mut input, behind) = rest.split_at(come);
            rest = behind;
            while let Some(Ok(event)) = connection.next(Instant::now(), &mut input) {
                match event {
                    Event::Room(room) => {
                        asked.push((room.bytes, room.whole));
                        assert!(connection.next(Instant::now(), &mut input).is_none(), "without room");
                        connection.grant();
                    }
                    Event::Request(incoming) => {
                        let cost = incoming.ticket.cost;
                        assert_eq!((incoming.packet.entity.len(), cost), (1000, wire.len() + place));
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(input.is_empty());
        }
        assert_eq!(asked, [(head + place + 3, false), (400, false), (597, true)]);
        assert!(connection.between_packets());
    }

    /// A long head needs room as it comes, and for its messages before it is decoded.
    #[test]
    fn room_is_asked_for_a_long_head() {
        // A few that are long, and many that are short.
        for (count, len) in [(5, 3000), (2000, 1)] {
            let packet = Packet::new(lexst1::notify::HELO).with_entity(vec![7; 1000]);
            let packet = (0..count).fold(packet, |packet, _| packet.with(5001, &[7; 3000][..len]));
            let wire = packet.to_bytes(&LEXST1).unwrap_or_default();
            let cost = wire.len() + places(count + 1);
            for pieces in [1, 1000, wire.len()] {
                for choice in [DialectChoice::Fixed(&LEXST1), DialectChoice::Told { default: &LEXST1 }] {
                    let mut connection = Connection::new(choice, &ServerLimits::default(), true);
                    let (mut asked, mut come, mut whole) = (0, 0, false);
                    let mut request = None;
                    for piece in wire.chunks(pieces) {
                        come += piece.len();
                        let mut input = piece;
                        while let Some(Ok(event)) = connection.next(Instant::now(), &mut input) {
                            assert!(request.is_none());
                            match event {
                                Event::Room(room) => {
                                    asked += room.bytes;
                                    whole = room.whole;
                                    assert!(connection.next(Instant::now(), &mut input).is_none());
                                    connection.grant();
                                }
                                Event::Request(incoming) => request = Some(incoming),
                                other => panic!("{other:?}"),
                            }
                        }
                        assert!(asked + FREE >= come, "{asked} bytes have room of {come}");
                        assert!(connection.has_room() || asked == 0 || request.is_some());
                    }
                    assert_eq!((asked, whole), (cost, true));
                    let Some(Incoming { packet: came, ticket, .. }) = request else { panic!("no request") };
                    assert_eq!((ticket.cost, &came.entity), (cost, &packet.entity));
                    assert_eq!(came.messages[..count], packet.messages[..]);
                    assert!(connection.between_packets() && !connection.has_room());
                }
            }
        }
    }

    /// SPEC 10.3: whatever the handler has put there.
    #[test]
    fn the_serial_of_an_answer_is_that_of_its_request() {
        let mut connection = connection();
        let request = Packet::new(lexst1::notify::HELO)
            .with(key::CAPABILITIES, Capabilities::OURS.in_request())
            .with(key::SERIAL, 5_i64);
        let wire = request.to_bytes(&LEXST1).unwrap_or_default();
        let mut input = &wire[..];
        assert!(matches!(connection.next(Instant::now(), &mut input), Some(Ok(Event::Room(_)))));
        connection.grant();
        let event = connection.next(Instant::now(), &mut input);
        let Some(Ok(Event::Request(incoming))) = event else { panic!("{event:?}") };
        let mut answer = Packet::new(lexst1::answer::OKAY).with(key::SERIAL, 6_i64).into();
        assert!(connection.answer(incoming.ticket, &mut answer).is_ok());
        let wire = connection.outbox().append(|out| out.to_vec());
        let sent = Decoder::new(&LEXST1).packet(&wire).and_then(|packet| packet.to_packet());
        let sent = sent.unwrap_or_else(|error| panic!("{error}"));
        let serials: Vec<_> = sent.all(key::SERIAL).filter_map(|value| value.as_i64()).collect();
        assert_eq!(serials, [5]);
    }
}
