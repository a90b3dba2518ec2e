//! Several calls in one packet, each with its own result (SPEC 13.8).
//!
//! ```
//! use fixp_codec::LAXCUS6;
//! use fixp_rpc::{Client, Rpc};
//! use fixp_transport::{Channel, Server};
//!
//! #[fixp_rpc::service]
//! trait Adder {
//!     async fn add(&self, a: i64, b: i64) -> Result<i64, String>;
//!     async fn name(&self) -> String;
//! }
//!
//! struct Carefully;
//!
//! impl Adder for Carefully {
//!     async fn add(&self, a: i64, b: i64) -> Result<i64, String> {
//!         a.checked_add(b).ok_or_else(|| "too much".to_owned())
//!     }
//!     async fn name(&self) -> String {
//!         "carefully".to_owned()
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let rpc = Rpc::new().serve(AdderService::new(Carefully));
//! let server = Server::builder(rpc).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
//! let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
//! let client = Client::over(channel);
//!
//! let calls = AdderClient::new(client.clone()).calls();
//! let (sums, name) = client.batch(((1..4).map(|n| calls.add(n, n)).collect::<Vec<_>>(), calls.name())).await;
//! assert_eq!(sums, [Ok(2), Ok(4), Ok(6)]);
//! assert_eq!(name.unwrap(), "carefully");
//! # });
//! ```

use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};
use fixp_codec::{Decoder, Dialect, Encoder, Packet};
use fixp_transport::extension::{self, Refusal};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{read, typed};
use crate::failure::{Failure, Never};
use crate::format::{Format, FormatError};
use crate::interface::Method;
use crate::wire::{self, Asked, BATCH, Outcome, SPEAK, key};

/// The most calls of a batch: costs a packet and a future of some hundred bytes each.
pub const CALLS: usize = 1024;

/// The bytes of all answers of a batch, 4 MiB, beyond which a result is left out as soon as it is there (SPEC 13.8).
/// Costs that much until the answer has left, and once more while it is put together.
pub const ANSWERS: usize = 4 << 20;

/// The same over UDP, where all of them go in one datagram: it has 107 bytes for its own head.
pub const ANSWERS_OF_A_DATAGRAM: usize = 65_400;

/// A call that is written and has not been sent: what the methods of `LogClient::calls()` make, say, for
/// [`Client::batch`](crate::Client::batch).
#[derive(Clone, Debug)]
pub struct Prepared<T, E> {
    method: &'static Method,
    format: Format,
    argument: Result<Bytes, FormatError>,
    result: PhantomData<fn() -> Result<T, E>>,
}

impl<T, E> Prepared<T, E> {
    pub(crate) fn new<A: Serialize + ?Sized>(method: &'static Method, format: Format, arguments: &A) -> Self {
        Self { method, format, argument: format.write(arguments), result: PhantomData }
    }
}

/// Calls that go together, and what they give: one call, a `Vec` of such, or a tuple of up to eight.
pub trait Calls {
    /// A result for each, in the same shape.
    type Results;

    /// Writes them down.
    #[doc(hidden)]
    fn write(&self, batch: &mut Batch);

    /// Takes their answers.
    #[doc(hidden)]
    fn read(self, answers: &mut Answers) -> Self::Results;
}

impl<T: DeserializeOwned, E: DeserializeOwned> Calls for Prepared<T, E> {
    type Results = Result<T, Failure<E>>;

    fn write(&self, batch: &mut Batch) {
        if let Ok(argument) = &self.argument {
            let Method { path, one_way, .. } = *self.method;
            let asked = Asked { method: path, format: self.format, one_way };
            batch.calls += 1;
            batch.repeatable &= self.method.idempotent;
            let call = asked.packet(batch.dialect, argument.clone());
            let encoder = Encoder::new(extension::own(batch.dialect));
            if let Err(error) = encoder.packet(&call, &mut batch.entity) {
                batch.broken.get_or_insert_with(|| FormatError::new(&error));
            }
        }
    }

    fn read(self, answers: &mut Answers) -> Self::Results {
        self.argument.map_err(Failure::Unwritable)?;
        let answer = answers.next().map_err(|failure| failure.map(|never| match never {}))?;
        typed(self.method, self.format, read(answers.dialect, answer)?)
    }
}

impl<C: Calls> Calls for Vec<C> {
    type Results = Vec<C::Results>;

    fn write(&self, batch: &mut Batch) {
        self.iter().for_each(|calls| calls.write(batch));
    }

    fn read(self, answers: &mut Answers) -> Self::Results {
        self.into_iter().map(|calls| calls.read(answers)).collect()
    }
}

macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: Calls),*> Calls for ($($name,)*) {
            type Results = ($($name::Results,)*);

            fn write(&self, batch: &mut Batch) {
                #[allow(non_snake_case, reason = "each has the name of its type")]
                let ($($name,)*) = self;
                $($name.write(batch);)*
            }

            fn read(self, answers: &mut Answers) -> Self::Results {
                #[allow(non_snake_case, reason = "each has the name of its type")]
                let ($($name,)*) = self;
                ($($name.read(answers),)*)
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D F);
tuples!(A B C D F G);
tuples!(A B C D F G H);
tuples!(A B C D F G H I);

/// Calls as they are written.
#[doc(hidden)]
#[derive(Debug)]
pub struct Batch {
    dialect: &'static Dialect,
    entity: BytesMut,
    calls: usize,
    repeatable: bool,
    /// Why one of them cannot be written.
    broken: Option<FormatError>,
}

impl Batch {
    /// The packet, and whether it may be sent twice; nothing where nothing has to be sent.
    pub(crate) fn of(
        dialect: &'static Dialect,
        calls: &impl Calls,
    ) -> Result<Option<(Packet, bool)>, Failure> {
        let mut batch = Self { dialect, entity: BytesMut::new(), calls: 0, repeatable: true, broken: None };
        calls.write(&mut batch);
        if batch.calls > CALLS {
            return Err(Failure::TooMany);
        }
        if let Some(error) = batch.broken {
            return Err(Failure::Unwritable(error));
        }
        let packet = Packet::new(BATCH).with_entity(batch.entity.freeze());
        Ok((batch.calls > 0).then_some((packet, batch.repeatable)))
    }
}

/// The answers of a batch, as they are taken by its calls.
#[doc(hidden)]
#[derive(Debug)]
pub struct Answers {
    dialect: &'static Dialect,
    entity: Result<Bytes, Failure>,
}

impl Answers {
    /// Those of an answer to a batch; or one failure for every call of it.
    pub(crate) fn of(dialect: &'static Dialect, answer: Result<Packet, Failure>) -> Self {
        let entity = answer.and_then(|answer| read(dialect, answer)).and_then(|written| match written {
            Ok(entity) => Ok(entity),
            Err(_) => Err(Failure::NotAnAnswer),
        });
        Self { dialect, entity }
    }

    fn next(&mut self) -> Result<Packet, Failure<Never>> {
        let entity = self.entity.as_mut().map_err(|failure| failure.clone())?;
        first(&Decoder::new(self.dialect), entity).ok_or(Failure::NotAnAnswer)
    }
}

/// The calls of a batch; or what is wrong with it, so that none of them is executed.
pub(crate) fn calls(dialect: &'static Dialect, mut entity: Bytes) -> Result<Vec<Packet>, Outcome> {
    let decoder = Decoder::new(extension::own(dialect));
    let mut calls = Vec::new();
    while !entity.is_empty() {
        if calls.len() == CALLS {
            return Err(Outcome::TooMany);
        }
        calls.push(first(&decoder, &mut entity).ok_or(Outcome::BadBatch)?);
    }
    Ok(calls)
}

/// What room is left for the answers of a batch, for all of its calls at once.
pub(crate) struct Room {
    dialect: &'static Dialect,
    /// What stands in place of an answer that has no room; there is always room for that.
    left_out: Packet,
    least: usize,
    /// The bytes beyond that for every call.
    left: AtomicUsize,
}

impl Room {
    /// For so many calls, with so many bytes at most.
    pub(crate) fn new(dialect: &'static Dialect, calls: usize, most: usize) -> Self {
        let left_out = Outcome::NoResult.packet(dialect, Bytes::new());
        let refused = wire::refused(dialect, Refusal::Overloaded);
        let least = [&left_out, &refused].map(|it| Encoder::new(dialect).packet_len(it).unwrap_or(0));
        let least = least.into_iter().fold(0, usize::max);
        Self { dialect, left_out, least, left: AtomicUsize::new(most.saturating_sub(least * calls)) }
    }

    /// The answer that has come now, if it has room beside those before it, and can be written. So never more is held
    /// than is sent. In place of one that has not stands `NoResult`, where it is a result; what says that there is
    /// none is said without its words.
    pub(crate) fn take(&self, mut answer: Packet) -> Packet {
        if let Ok(len) = Encoder::new(self.dialect).packet_len(&answer) {
            let more = len.saturating_sub(self.least);
            if self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(more)).is_ok() {
                return answer;
            }
        }
        match Outcome::of(self.dialect, &answer) {
            Some(Outcome::Returned | Outcome::Failed) => self.left_out.clone(),
            _ => {
                answer.remove(SPEAK);
                answer.remove(key::FORMATS);
                answer
            }
        }
    }
}

/// Answers that have been given room, as one entity.
pub(crate) fn answers(dialect: &Dialect, answers: impl IntoIterator<Item = Packet>) -> Bytes {
    let encoder = Encoder::new(dialect);
    let mut entity = BytesMut::new();
    for answer in answers {
        let written = encoder.packet(&answer, &mut entity);
        debug_assert!(written.is_ok(), "what has been measured can be written");
    }
    entity.freeze()
}

/// Takes the first packet off.
fn first(decoder: &Decoder<'_>, entity: &mut Bytes) -> Option<Packet> {
    let len = decoder.packet(entity).ok()?.wire_len();
    decoder.shared(&entity.split_to(len)).ok()
}

#[cfg(test)]
mod tests {
    use fixp_codec::{LAXCUS6, LEXST1};

    use super::*;

    /// SPEC 13.8: a result says that it was left out; what was not executed says so, if in no more words.
    #[test]
    fn what_is_no_result_stays_what_it_is() {
        for dialect in [&LAXCUS6, &LEXST1] {
            let outcome = |outcome: Outcome| outcome.packet(dialect, Bytes::new());
            let refused = wire::refused(dialect, Refusal::Overloaded);
            let bad = outcome(Outcome::BadArgument);
            let format = outcome(Outcome::Format);
            let words = "x".repeat(1000);
            let came = [
                Outcome::Returned.packet(dialect, words.clone().into()),
                Outcome::Failed.packet(dialect, words.clone().into()),
                bad.clone().with(SPEAK, words.clone()),
                format.clone().with(key::FORMATS, words),
                refused.clone(),
                outcome(Outcome::Expired),
            ];
            let room = Room::new(dialect, came.len(), 500);
            let taken = came.map(|answer| room.take(answer));
            let left_out = outcome(Outcome::NoResult);
            let expired = outcome(Outcome::Expired);
            assert_eq!(taken, [left_out.clone(), left_out, bad, format, refused, expired]);
            assert!(answers(dialect, taken).len() <= 500);
        }
    }
}
