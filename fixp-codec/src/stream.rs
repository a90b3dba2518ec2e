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
//!     while let Some(event) = stream.next(&mut piece) {
//!         match event? {
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
use crate::{Cause, Code, Command, Decoder, Dialect, Error, ErrorKind, HeadRef};

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
/// Packets follow each other (SPEC 8.1), and how they are cut has no meaning (SPEC 8.2): the same bytes
/// give the same events and the same error, and cost the same per byte. What is wrong is told as soon as
/// its field has come.
///
/// A head that comes whole is read where it stands. Of one that comes in pieces the bytes are kept, at most
/// [`Limits::head`](crate::Limits::head) and only those that have come; the buffer, which grows by doubling,
/// is kept for the next such head if it is small. An entity is never kept (SPEC 5.4).
#[derive(Debug)]
pub struct StreamDecoder<'d> {
    decoder: Decoder<'d>,
    state: State,
    /// The head so far, while one is gathered.
    head: Vec<u8>,
    /// How long `head` must be for the next step, 0 while the entity comes and after an error.
    need: usize,
    check: Check,
    /// The messages of the gathered head that have not been checked.
    messages: u16,
    /// The lengths of head and entity of the packet whose head is out.
    lengths: (usize, usize),
    /// The bytes of its entity that have not come.
    missing: usize,
    /// Where in the stream the current packet begins.
    start: u64,
    /// What has ended the stream (SPEC 8.3).
    failure: Option<Error>,
}

/// The bytes of the first step, between packets.
const TAG: usize = 1;
/// The largest buffer that is kept from one gathered head to the next.
const KEPT: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Between packets: the next step is the tag.
    Start,
    /// The next step is the command.
    Command,
    /// The next step is the head of a message.
    MessageHead,
    /// The next step is a value of this length.
    Value(u16),
    /// The head is out, and the entity is coming.
    Entity,
    /// An error has ended the stream.
    Failed,
}

/// What a step has come to. The event is made of it where the caller can see it being made, so that
/// nothing is moved around that nobody looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The input is used up.
    More,
    /// The gathered head is whole.
    Gathered,
    /// The bytes that were taken are a whole head.
    Whole,
    Failed,
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
            need: TAG,
            check: Check::new(),
            messages: 0,
            lengths: (0, 0),
            missing: 0,
            start: 0,
            failure: None,
        }
    }

    /// The next event, taking bytes from the front of `input`; nothing when `input` is used up.
    ///
    /// Ask until there is nothing, even once `input` is empty: the end of a packet is an event without bytes.
    /// An event borrows from `input` or from the decoder: it is done with when the next is asked for. (Where
    /// `input` is a `Bytes`, its `slice_ref` makes a piece of an entity a shared one.)
    ///
    /// # Errors
    ///
    /// As [`Decoder::packet`], the offset counted from the start of the packet ([`StreamDecoder::position`]
    /// tells where that is). An error ends the stream (SPEC 8.3): the rest of `input` is dropped, and every
    /// further input gives the same error.
    #[inline(always)]
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Option<Result<Event<'s>, Error>> {
        let bytes: &'i [u8] = input;
        let (step, taken) = if let [byte] = *bytes
            && self.head.len() < self.need
        {
            // A stream that comes a byte at a time.
            *input = &[];
            self.keep(&[byte]);
            if self.head.len() < self.need || self.begins(byte) {
                return None;
            }
            (self.advance(byte), bytes)
        } else if self.missing > 0 {
            if bytes.is_empty() {
                return None;
            }
            let (taken, rest) = bytes.split_at_checked(self.missing).unwrap_or((bytes, &[]));
            *input = rest;
            self.missing -= taken.len();
            return Some(Ok(Event::Entity(taken)));
        } else if self.state == State::Entity {
            self.end();
            return Some(Ok(Event::End));
        } else if bytes.is_empty() {
            return None;
        } else {
            // The input goes by value: a caller's slice whose address is known would live in memory.
            let (step, taken) = self.step(bytes);
            let (taken, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            *input = rest;
            (step, taken)
        };
        match step {
            Step::More => None,
            Step::Gathered => Some(Ok(self.head_event(&self.head))),
            Step::Whole => Some(Ok(self.head_event(taken))),
            Step::Failed => self.failure.map(Err),
        }
    }

    #[inline(always)]
    fn head_event<'s>(&self, bytes: &'s [u8]) -> Event<'s>
    where
        'd: 's,
    {
        let (_, entity_len) = self.lengths;
        Event::Head(HeadRef { dialect: self.decoder.dialect(), bytes, entity_len })
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
            State::Entity => self.lengths.0 + self.lengths.1 - self.missing,
            _ => self.head.len(),
        }
    }

    /// Says that the stream has ended.
    ///
    /// # Errors
    ///
    /// That which [`Decoder::packet`] finds in the unfinished packet, if there is one.
    pub fn finish(&self) -> Result<(), Error> {
        let (head, entity) = self.lengths;
        match self.state {
            State::Start => Ok(()),
            State::Failed => self.failure.map_or(Ok(()), Err),
            State::Entity if self.missing == 0 => Ok(()),
            State::Entity => Err(Error::new(Cause::EntityCut, head).sizes(entity, entity - self.missing)),
            // The head is not whole, or it would have left this state.
            State::Command | State::MessageHead | State::Value(_) => {
                self.decoder.head(&self.head).map(|_| ())
            }
        }
    }

    /// The packet is complete.
    #[inline(never)]
    fn end(&mut self) {
        self.start += (self.lengths.0 + self.lengths.1) as u64;
        self.state = State::Start;
        self.need = TAG;
        self.head.clear();
        if self.head.capacity() > KEPT {
            self.head = Vec::new();
        }
    }

    /// Heads in pieces of more than a byte: what a step has come to, and how many bytes of `input` it took.
    #[inline(never)]
    fn step(&mut self, input: &[u8]) -> (Step, usize) {
        match self.state {
            State::Failed => (Step::Failed, input.len()),
            State::Start => match self.decoder.head(input) {
                // A head that is whole in `input` is read where it stands.
                Ok(head) => {
                    let (length, entity) = (head.head_bytes().len(), head.entity_len());
                    self.expect(length, entity);
                    (Step::Whole, length)
                }
                Err(error) if error.kind() == ErrorKind::Truncated => self.gather(input),
                Err(error) => (self.fail(error), input.len()),
            },
            _ => self.gather(input),
        }
    }

    /// Gathers the head: where it ends is found message by message.
    fn gather(&mut self, input: &[u8]) -> (Step, usize) {
        let mut rest = input;
        while let Some((taken, behind)) = rest.split_at_checked(self.need - self.head.len()) {
            self.keep(taken);
            rest = behind;
            match self.advance(taken.last().copied().unwrap_or_default()) {
                Step::More => {}
                Step::Failed => return (Step::Failed, input.len()),
                found => return (found, input.len() - rest.len()),
            }
        }
        self.keep(rest);
        (Step::More, input.len())
    }

    /// Keeps bytes of the head. The buffer grows by doubling, but not beyond the longest head.
    #[inline(always)]
    fn keep(&mut self, bytes: &[u8]) {
        if bytes.len() > self.head.capacity() - self.head.len() {
            self.grow(bytes.len());
        }
        self.head.extend_from_slice(bytes);
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) {
        let len = self.head.len() + more;
        let most = (2 * self.head.capacity()).max(64).min(self.decoder.limits().head);
        self.head.reserve_exact(most.max(len) - self.head.len());
    }

    /// A packet begins with this tag, which is a good one: the next step is the rest of the command.
    #[inline(always)]
    fn begins(&mut self, tag: u8) -> bool {
        let begins = self.state == State::Start
            && (tag == Code::REQUEST_TAG || tag == Code::ANSWER_TAG)
            && self.decoder.limits().head >= Command::WIRE_LEN;
        if begins {
            self.state = State::Command;
            self.need = Command::WIRE_LEN;
        }
        begins
    }

    /// `head` has the bytes of this step, of which this is the last: takes it, and finds out how many bytes
    /// the next one needs.
    #[inline(always)]
    fn advance(&mut self, last: u8) -> Step {
        if self.state == State::MessageHead && self.passes(last) {
            return Step::More;
        }
        match self.check() {
            Ok(()) if self.state == State::Entity => Step::Gathered,
            Ok(()) => Step::More,
            Err(error) => self.fail(error),
        }
    }

    /// `head` ends with a message head that is good by itself. If nothing can be wrong with its value either,
    /// value and next message head are one step.
    #[inline]
    fn passes(&mut self, last: u8) -> bool {
        // The last byte is not read back from where it has just been put: bytes that were put one by one
        // are slow to read together.
        let Some(&[k0, k1, low, _]) = self.head.last_chunk() else { return false };
        let (key, code, length) = head::split(&[k0, k1, low, last]);
        let (dialect, strict) = (self.decoder.dialect(), self.decoder.policy().is_strict());
        let next = self.need + length + HEAD;
        if next > self.decoder.limits().head || !dialect.plain(code, length) || strict || length == 0 {
            return false;
        }
        if self.messages > 1 && self.check.passes(dialect, strict, key, code, length) {
            self.messages -= 1;
            self.need = next;
        } else {
            self.state = State::Value(length as u16);
            self.need += length;
        }
        true
    }

    /// Checks the bytes of this step.
    #[inline(never)]
    fn check(&mut self) -> Result<(), Error> {
        let (dialect, strict) = (self.decoder.dialect(), self.decoder.policy().is_strict());
        match self.state {
            State::Start => match self.head.first().copied() {
                Some(tag) if self.begins(tag) => Ok(()),
                // A wrong tag, or a limit below any command.
                _ => self.decoder.head(&self.head).map(|_| ()),
            },
            State::Command => {
                let Some(bytes) = self.head.first_chunk() else { return Ok(()) };
                let command = Command::read(dialect, strict, bytes)?;
                head::too_many(&command, self.decoder.limits())?;
                self.messages = command.message_count;
                self.check = Check::new();
                self.want_message()
            }
            State::MessageHead => {
                let at = self.need - HEAD;
                let (key, code, length) = head::split(self.head.last_chunk().unwrap_or(&[0; HEAD]));
                let ty = head::known(dialect, strict, key, code, at)?;
                self.want(State::Value(length as u16), length).map_err(|error| error.in_message(key, ty))?;
                if length == 0 { self.value(0) } else { Ok(()) }
            }
            State::Value(length) => self.value(length),
            State::Entity | State::Failed => Ok(()),
        }
    }

    /// Checks the message whose value of this length has come.
    #[inline(always)]
    fn value(&mut self, length: u16) -> Result<(), Error> {
        let (dialect, strict) = (self.decoder.dialect(), self.decoder.policy().is_strict());
        let at = self.need - usize::from(length) - HEAD;
        let Some((head, value)) = self.head.get(at..).and_then(<[u8]>::split_first_chunk) else {
            return Ok(());
        };
        let (key, code, _) = head::split(head);
        self.check.message(dialect, strict, (key, code, value), || at)?;
        self.messages -= 1;
        self.want_message()
    }

    /// The next step is a message head, or the head is whole.
    #[inline]
    fn want_message(&mut self) -> Result<(), Error> {
        if self.messages > 0 {
            return self.want(State::MessageHead, HEAD);
        }
        let (dialect, strict) = (self.decoder.dialect(), self.decoder.policy().is_strict());
        let entity_len = self.check.finish(dialect, strict, self.decoder.limits(), self.need)?;
        self.expect(self.need, entity_len);
        Ok(())
    }

    /// The next step needs so many bytes more.
    #[inline]
    fn want(&mut self, state: State, length: usize) -> Result<(), Error> {
        let (at, limit) = (self.need, self.decoder.limits().head);
        self.state = state;
        self.need += length;
        if self.need > limit {
            return Err(Error::new(Cause::HeadLimit, at).sizes(self.need, limit));
        }
        Ok(())
    }

    /// The head is out: next comes the entity.
    fn expect(&mut self, head: usize, entity: usize) {
        self.state = State::Entity;
        self.need = 0;
        self.lengths = (head, entity);
        self.missing = entity;
    }

    #[cold]
    fn fail(&mut self, error: Error) -> Step {
        self.state = State::Failed;
        self.need = 0;
        self.failure = Some(error);
        Step::Failed
    }
}
