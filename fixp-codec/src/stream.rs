//! The decoder of packets in a stream, whatever the pieces they come in (SPEC 8).
//!
//! ```
//! use fixp_codec::{Event, LAXCUS6, StreamDecoder, laxcus6::notify};
//!
//! let wire = b"\x87\x00\x01\x05\x01\x01\x00\xfc\x03\x01\x50\x03abc";
//! let mut stream = StreamDecoder::new(&LAXCUS6);
//! let mut entity = Vec::new();
//! let mut packets = 0;
//! for mut piece in wire.chunks(5) {
//!     while let Some(event) = stream.next(&mut piece)? {
//!         match event {
//!             Event::Head(head) => assert_eq!((head.code(), head.entity_len()), (notify::TEST, 3)),
//!             Event::Entity(bytes) => entity.extend_from_slice(bytes),
//!             Event::End => packets += 1,
//!         }
//!     }
//! }
//! stream.finish()?;
//! assert_eq!((packets, &entity[..]), (1, &b"abc"[..]));
//! # Ok::<(), fixp_codec::Error>(())
//! ```

use alloc::vec::Vec;

use crate::head::{self, Check};
use crate::message::HEAD;
use crate::{Cause, Code, Command, Decoder, Dialect, Error, ErrorKind, HeadRef, Policy};

/// What a stream decoder finds. A packet is a `Head`, then its entity in pieces of any size (none
/// for a packet without one), then `End`.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A whole head, checked.
    Head(HeadRef<'a>),
    /// The next bytes of the entity, never empty.
    Entity(&'a [u8]),
    /// The packet is complete.
    End,
}

/// Reads packets from a stream in any pieces: an accumulator over the same check that [`Decoder`] uses.
///
/// Packets follow each other (SPEC 8.1), and how they are cut has no meaning (SPEC 8.2).
///
/// Keeps the bytes of an unfinished head, at most [`Limits::head`](crate::Limits::head) and only those
/// that have come; never an entity (SPEC 5.4). Costs the same per byte however the stream is cut.
#[derive(Debug)]
pub struct StreamDecoder<'d> {
    decoder: Decoder<'d>,
    state: State,
    /// The head so far, empty between packets and while heads come whole.
    head: Vec<u8>,
    /// How long `head` must be for the next step, 0 while nothing is gathered.
    need: usize,
    check: Check,
    command: Command,
    messages_left: u16,
    /// Where in the stream the current packet begins.
    start: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Between packets.
    Start,
    /// The next step is the command.
    Command,
    /// The next step is a message head.
    MessageHead,
    /// The next step is the value of the message whose head stands here.
    Value(usize),
    /// The head is out; of its `entity` bytes so many are `missing`.
    Entity { head: usize, entity: usize, missing: usize },
    /// An error has ended the stream (SPEC 8.3).
    Failed(Error),
}

impl<'d> StreamDecoder<'d> {
    /// A compatible decoder with the default limits.
    #[must_use]
    pub fn new(dialect: &'d Dialect) -> Self {
        Self::with(Decoder::new(dialect))
    }

    pub(crate) const fn with(decoder: Decoder<'d>) -> Self {
        Self {
            decoder,
            state: State::Start,
            head: Vec::new(),
            need: 0,
            check: Check::new(),
            command: Command { code: Code::Answer(0), version: 0, message_count: 0 },
            messages_left: 0,
            start: 0,
        }
    }

    /// The next event, taking bytes from the front of `input`; nothing when `input` is used up.
    ///
    /// An event borrows from `input` or from the decoder: it is done with when the next is asked for.
    ///
    /// # Errors
    ///
    /// As [`Decoder::packet`], the offset counted from the start of the packet ([`StreamDecoder::position`]
    /// tells where that is). An error ends the stream: the same one is given ever after (SPEC 8.3).
    #[inline]
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<Event<'s>>, Error> {
        // The path that is taken a byte at a time.
        if let [byte] = **input
            && self.head.len() + 1 < self.need
        {
            self.head.push(byte);
            *input = &[];
            return Ok(None);
        }
        self.step(input)
    }

    /// Where in the stream the current packet begins, or, between packets, the next one.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.start
    }

    /// The bytes taken of the current packet, 0 between packets.
    #[must_use]
    pub const fn pending(&self) -> usize {
        match self.state {
            State::Start => 0,
            State::Entity { head, entity, missing } => head + entity - missing,
            _ => self.head.len(),
        }
    }

    /// Says that the stream has ended.
    ///
    /// # Errors
    ///
    /// That which [`Decoder::packet`] finds in the unfinished packet, if there is one.
    pub fn finish(&self) -> Result<(), Error> {
        match self.state {
            State::Start => Ok(()),
            State::Failed(error) => Err(error),
            State::Entity { missing: 0, .. } => Ok(()),
            State::Entity { head, entity, missing } => {
                Err(Error::new(Cause::EntityCut, head).sizes(entity, entity - missing))
            }
            // The head is not whole, or it would have left these states.
            State::Command | State::MessageHead | State::Value(_) => {
                self.decoder.head(&self.head).map(|_| ())
            }
        }
    }

    fn step<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<Event<'s>>, Error> {
        match self.state {
            State::Start => self.start(input),
            State::Entity { missing: 0, head, entity } => {
                self.start += (head + entity) as u64;
                self.state = State::Start;
                Ok(Some(Event::End))
            }
            State::Entity { missing, head, entity } => {
                let (taken, rest) = input.split_at(missing.min(input.len()));
                *input = rest;
                self.state = State::Entity { missing: missing - taken.len(), head, entity };
                Ok((!taken.is_empty()).then_some(Event::Entity(taken)))
            }
            State::Failed(error) => Err(error),
            State::Command | State::MessageHead | State::Value(_) => {
                if !self.accumulate(input)? {
                    return Ok(None);
                }
                let entity_len = match self.state {
                    State::Entity { entity, .. } => entity,
                    _ => 0,
                };
                let dialect = self.decoder.dialect();
                Ok(Some(Event::Head(HeadRef {
                    dialect,
                    command: self.command,
                    bytes: &self.head,
                    entity_len,
                })))
            }
        }
    }

    /// Between packets: a head that is whole in `input` is read where it stands.
    fn start<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<Event<'s>>, Error> {
        let bytes: &'i [u8] = input;
        self.head.clear();
        if bytes.is_empty() {
            return Ok(None);
        }
        match self.decoder.head(bytes) {
            Ok(head) => {
                *input = bytes.get(head.bytes().len()..).unwrap_or_default();
                self.state = State::Entity {
                    head: head.bytes().len(),
                    entity: head.entity_len(),
                    missing: head.entity_len(),
                };
                Ok(Some(Event::Head(head)))
            }
            Err(error) if error.kind() == ErrorKind::Truncated => {
                self.state = State::Command;
                self.need = Command::WIRE_LEN;
                self.check = Check::new();
                self.step(input)
            }
            Err(error) => self.fail(error),
        }
    }

    /// Gathers the head step by step. True when it is whole; false when `input` is used up.
    fn accumulate(&mut self, input: &mut &[u8]) -> Result<bool, Error> {
        loop {
            let missing = self.need - self.head.len();
            let Some((taken, rest)) = input.split_at_checked(missing) else {
                self.head.extend_from_slice(input);
                *input = &[];
                return Ok(false);
            };
            self.head.extend_from_slice(taken);
            *input = rest;
            if let Err(error) = self.advance() {
                return self.fail(error);
            }
            if let State::Entity { .. } = self.state {
                return Ok(true);
            }
        }
    }

    /// `head` has the bytes of the next step.
    fn advance(&mut self) -> Result<(), Error> {
        let (dialect, strict) = (self.decoder.dialect(), self.decoder.policy() == Policy::Strict);
        match self.state {
            State::Command => {
                let limits = self.decoder.limits();
                if self.need > limits.head {
                    return Err(Error::new(Cause::HeadLimit, 0).sizes(self.need, limits.head));
                }
                if let Some(bytes) = self.head.first_chunk() {
                    self.command = Command::read(dialect, strict, bytes)?;
                }
                head::too_many(&self.command, limits)?;
                self.messages_left = self.command.message_count;
                self.want_message()
            }
            State::MessageHead => {
                let at = self.need - HEAD;
                let (key, code, length) = self.message_at(at);
                let ty = head::known(dialect, strict, key, code, at)?;
                self.need += length;
                self.within_limit(at + HEAD, length).map_err(|error| error.in_message(key, ty))?;
                self.state = State::Value(at);
                if length == 0 { self.advance() } else { Ok(()) }
            }
            State::Value(at) => {
                let (key, code, _) = self.message_at(at);
                let value = self.head.get(at + HEAD..).unwrap_or_default();
                self.check.message(dialect, strict, (key, code, value), || at)?;
                self.messages_left -= 1;
                self.want_message()
            }
            _ => Ok(()),
        }
    }

    /// The next step is a message head, or the end of the head.
    fn want_message(&mut self) -> Result<(), Error> {
        if self.messages_left > 0 {
            let at = self.need;
            self.need += HEAD;
            self.state = State::MessageHead;
            return self.within_limit(at, HEAD);
        }
        let (dialect, strict) = (self.decoder.dialect(), self.decoder.policy() == Policy::Strict);
        let entity_len = self.check.finish(dialect, strict, self.decoder.limits(), self.need)?;
        self.state = State::Entity { head: self.need, entity: entity_len, missing: entity_len };
        self.need = 0;
        Ok(())
    }

    fn within_limit(&self, at: usize, length: usize) -> Result<(), Error> {
        let limit = self.decoder.limits().head;
        if at + length > limit {
            return Err(Error::new(Cause::HeadLimit, at).sizes(at + length, limit));
        }
        Ok(())
    }

    fn message_at(&self, at: usize) -> (u16, u8, usize) {
        head::split(self.head.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default())
    }

    #[cold]
    fn fail<T>(&mut self, error: Error) -> Result<T, Error> {
        self.state = State::Failed(error);
        self.need = 0;
        Err(error)
    }
}
