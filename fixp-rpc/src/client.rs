//! The client's side: where calls go, how they are written, and how long their callers wait.
//!
//! See [`Rpc`](crate::Rpc) for both sides together.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Dialect, Packet, Value};
use fixp_transport::bulk::Transferred;
use fixp_transport::extension::{self, Refusal};
use fixp_transport::{Body, CallError, Cause, Channel, Fate, Repeat, tables, udp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

#[cfg(feature = "tower")]
use crate::balance::{Balanced, Unbalanced};
use crate::batch::{Answers, Batch, Calls, Prepared};
use crate::failure::Failure;
use crate::format::{Format, FormatError};
use crate::interface::Method;
use crate::line::Line;
use crate::server::Rpc;
use crate::wire::{self, Asked, Outcome, SPEAK, beside_stream, key, streamed};

/// Where calls go. Clones share it.
#[derive(Clone)]
pub struct Client {
    way: Way,
    format: Format,
    timeout: Option<Duration>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way: _, format, timeout } = self;
        f.debug_struct("Client")
            .field("dialect", &self.dialect().name())
            .field("format", format)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
enum Way {
    One(Line),
    #[cfg(feature = "tower")]
    Balanced(Balanced),
}

impl Client {
    /// Calls over a channel: TCP, or KEEP UDP.
    ///
    /// In lexst1 over TCP the channel must [announce itself first](fixp_transport::ChannelBuilder::announce_first).
    #[must_use]
    pub const fn over(channel: Channel) -> Self {
        Self { way: Way::One(Line::Channel(channel)), format: Format::Postcard, timeout: None }
    }

    /// Calls to one peer over plain UDP: argument and result must each have room in one datagram.
    ///
    /// A network that doubles a datagram makes two calls of one once the first is answered (SPEC 10.3), and an answer
    /// to a forged sender is bounded by the server's
    /// [`plain_rate`](fixp_transport::limits::ServerLimits::plain_rate) only.
    #[must_use]
    pub const fn over_udp(client: udp::Client, peer: SocketAddr) -> Self {
        Self { way: Way::One(Line::Udp(client, peer)), format: Format::Postcard, timeout: None }
    }

    /// Calls that go to whichever of several servers has least to do: see [`balance`](crate::balance). The clients'
    /// own formats and times count for nothing. Must be called where a tokio runtime is.
    ///
    /// # Errors
    ///
    /// There are no clients, or they speak different dialects.
    #[cfg(feature = "tower")]
    pub fn balanced(clients: impl IntoIterator<Item = Self>) -> Result<Self, Unbalanced> {
        let way = Way::Balanced(Balanced::new(clients)?);
        Ok(Self { way, format: Format::Postcard, timeout: None })
    }

    /// The same with another format.
    #[must_use]
    pub const fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// The same with so much time for each call and all that is sent for it; that of the channel or client, for each
    /// packet, unless it is given. It travels with the call, and ends its work at the server too. Of a call that
    /// streams it is the time to the result; a stream that comes with it takes its own, and without a time given there
    /// is none.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The dialect in which calls go.
    #[must_use]
    pub fn dialect(&self) -> &'static Dialect {
        match &self.way {
            Way::One(line) => line.dialect(),
            #[cfg(feature = "tower")]
            Way::Balanced(balanced) => balanced.dialect,
        }
    }

    /// Calls a method. Dropping the future cancels the call, at the server too.
    ///
    /// # Errors
    ///
    /// Why there is no result, and what that says of the call.
    pub async fn call<A, T, E>(&self, method: &Method, arguments: &A) -> Result<T, Failure<E>>
    where
        A: Serialize + ?Sized,
        T: DeserializeOwned,
        E: DeserializeOwned,
    {
        let dialect = self.dialect();
        let asked = Asked { method: method.path, format: self.format, one_way: method.one_way };
        let write = || {
            let argument = self.format.write(arguments).map_err(Failure::Unwritable)?;
            Ok(asked.packet(dialect, argument))
        };
        let answer = self.ask::<Failure<E>>(write, method.idempotent).await?;
        typed(method, self.format, read(dialect, answer)?)
    }

    /// Calls a method that streams (SPEC 13.10): what it gives beside the stream, and the stream, empty where it gives
    /// none. Over TCP it has a connection of its own, and there is no limit in time but that something moves. It is
    /// never repeated, and has no place on an ordered channel. Dropping the future, or the stream that comes, ends it.
    ///
    /// # Errors
    ///
    /// Why there is no result, and what that says of the call. What breaks off behind the result, its stream tells.
    pub async fn stream<A, T, E>(
        &self,
        method: &Method,
        arguments: &A,
        body: Body,
    ) -> Result<(T, Body), Failure<E>>
    where
        A: Serialize + ?Sized,
        T: DeserializeOwned,
        E: DeserializeOwned,
    {
        let argument = self.format.write(arguments).map_err(Failure::Unwritable)?;
        let (written, body) = self.stream_written(method.path, argument, body).await?;
        Ok((typed(method, self.format, written)?, body))
    }

    /// Calls a method that streams by its path, with arguments that are written already in the client's format: gives
    /// its result, or its own error, as they are written, and the stream, empty where it gives none.
    ///
    /// # Errors
    ///
    /// Any but [`Failure::Failed`].
    pub async fn stream_written<E>(
        &self,
        path: &str,
        argument: Bytes,
        body: Body,
    ) -> Result<(Result<Bytes, Bytes>, Body), Failure<E>> {
        let channel = match &self.way {
            Way::One(Line::Channel(channel)) => channel,
            Way::One(Line::Udp(..)) => return Err(Failure::NoStreams),
            #[cfg(feature = "tower")]
            Way::Balanced(balanced) => {
                let (client, timeout) = balanced.next(self.timeout).await?;
                let client = Self { format: self.format, timeout, ..client.clone() };
                return Box::pin(client.stream_written(path, argument, body)).await;
            }
        };
        let dialect = channel.dialect();
        let len = argument.len();
        let asked = Asked { method: path, format: self.format, one_way: false };
        let call = streamed(asked.packet(dialect, Bytes::new()), argument).ok_or(Failure::TooLong(len))?;
        let until = self.timeout.and_then(|time| Instant::now().checked_add(time));
        let Transferred { mut packet, body } = match until {
            None => channel.transfer(call, body).await?,
            Some(until) => {
                let mut left = false;
                // Whoever gives up here drops the transfer, which tells the server.
                let transfer = channel.transfer_with(call, body, |call| {
                    left = true;
                    wire::tell_time(call, until.saturating_duration_since(Instant::now()));
                });
                match tokio::time::timeout_at(until, transfer).await {
                    Ok(transferred) => transferred?,
                    Err(_) if left => return Err(Failure::MayHaveRun(Cause::Timeout)),
                    Err(_) => return Err(Failure::NotSent(Cause::Timeout)),
                }
            }
        };
        // SPEC 13.10: what is not a result has its entity in it, whatever STREAM says.
        let returned = Outcome::of(dialect, &packet) == Some(Outcome::Returned);
        if returned && let Some(value) = beside_stream(&packet) {
            return Ok((Ok(value), body));
        }
        packet.entity = match body.collect(Rpc::GATHERED).await {
            Ok(entity) => entity,
            Err(error) => return Err(Failure::MayHaveRun(Cause::Body(error))),
        };
        Ok((read(dialect, packet)?, Body::from_bytes(Bytes::new())))
    }

    /// A call that is not sent yet, but stands in a [`Client::batch`].
    pub fn prepare<A, T, E>(&self, method: &'static Method, arguments: &A) -> Prepared<T, E>
    where
        A: Serialize + ?Sized,
    {
        Prepared::new(method, self.format, arguments)
    }

    /// Calls several methods by one packet (SPEC 13.8). They run at the same time, and each has its own result;
    /// what becomes of the whole packet becomes of each. It is repeated only if all of them are idempotent.
    /// Dropping the future cancels all.
    pub async fn batch<C: Calls>(&self, calls: C) -> C::Results {
        let dialect = self.dialect();
        let answer = match Batch::of(dialect, &calls) {
            Ok(Some((packet, repeatable))) => self.ask(|| Ok(packet.clone()), repeatable).await,
            Ok(None) => Err(Failure::NotAnAnswer),
            Err(failure) => Err(failure),
        };
        calls.read(&mut Answers::of(dialect, answer))
    }

    /// Calls a method by its path, with an argument that is written already in the client's format: gives its
    /// result, or its own error, as they are written.
    ///
    /// # Errors
    ///
    /// Any but [`Failure::Failed`].
    pub async fn call_written<E>(
        &self,
        path: &str,
        idempotent: bool,
        one_way: bool,
        argument: Bytes,
    ) -> Result<Result<Bytes, Bytes>, Failure<E>> {
        let dialect = self.dialect();
        let asked = Asked { method: path, format: self.format, one_way };
        let write = || Ok(asked.packet(dialect, argument.clone()));
        read(dialect, self.ask::<Failure<E>>(write, idempotent).await?)
    }

    /// Sends one of our own commands, and what must come before it. It is written anew where it has to leave again,
    /// which is seldom, rather than kept.
    pub(crate) async fn ask<F: From<CallError>>(
        &self,
        write: impl Fn() -> Result<Packet, F>,
        repeatable: bool,
    ) -> Result<Packet, F> {
        let begun = Instant::now();
        let left = || self.timeout.map(|whole| whole.saturating_sub(begun.elapsed()));
        match self.send(write()?, repeatable, left()).await {
            Err(CallError { cause: Cause::NotOurs, fate: Fate::NotSent }) => {
                // It has not been asked yet, or it has been silent for long: what asks for nothing may announce us.
                let probe = Packet::new(tables::of(self.dialect()).probe);
                self.send(probe, true, left()).await.map_err(|error| CallError::not_sent(error.cause))?;
                Ok(self.send(write()?, repeatable, left()).await?)
            }
            answer => Ok(answer?),
        }
    }

    /// Waits until there is a connection, where calls go over one; tells whether there still may be.
    #[cfg(feature = "tower")]
    pub(crate) async fn connected(&self) -> bool {
        if let Way::One(Line::Channel(channel)) = &self.way {
            // Its pauses lie between the attempts; once it is closed nobody need wait.
            while let Err(error) = channel.ready().await {
                if error.cause == Cause::Closed {
                    return false;
                }
            }
        }
        true
    }

    /// Ends in order what calls go over: what is under way is waited for. Clones end with it.
    pub async fn close(self) {
        match self.way {
            Way::One(line) => line.close().await,
            #[cfg(feature = "tower")]
            Way::Balanced(balanced) => balanced.close().await,
        }
    }

    async fn send(
        &self,
        packet: Packet,
        repeatable: bool,
        timeout: Option<Duration>,
    ) -> Result<Packet, CallError> {
        match &self.way {
            Way::One(line) => {
                let repeat = if repeatable { Repeat::Harmless } else { Repeat::Never };
                line.send(packet, repeat, timeout).await
            }
            #[cfg(feature = "tower")]
            Way::Balanced(balanced) => balanced.send(packet, repeatable, timeout).await,
        }
    }
}

/// What a method gave, as it is typed.
pub(crate) fn typed<T, E>(
    method: &Method,
    format: Format,
    written: Result<Bytes, Bytes>,
) -> Result<T, Failure<E>>
where
    T: DeserializeOwned,
    E: DeserializeOwned,
{
    let bad = Failure::BadResult;
    match written {
        Ok(_) if method.one_way => Format::Postcard.read(&[]).map_err(bad),
        Ok(result) => format.read(&result).map_err(bad),
        Err(error) => Err(Failure::Failed(format.read(&error).map_err(bad)?)),
    }
}

/// What an answer says.
pub(crate) fn read<E>(dialect: &Dialect, answer: Packet) -> Result<Result<Bytes, Bytes>, Failure<E>> {
    // Where it stands in a batch, the transport has not seen it.
    if let Some(refusal) = answer.first(extension::key::REFUSAL).and_then(Value::as_i16) {
        return Err(CallError::refused(Refusal::of_number(refusal)).into());
    }
    let said = |key| match answer.first(key) {
        Some(Value::String(text)) => text.to_string(),
        _ => String::new(),
    };
    Err(match Outcome::of(dialect, &answer) {
        // SPEC 13.10: the entity is not the result then.
        Some(Outcome::Returned) if beside_stream(&answer).is_some() => Failure::Streams,
        Some(Outcome::Returned) => return Ok(Ok(answer.entity)),
        Some(Outcome::Failed) => return Ok(Err(answer.entity)),
        Some(Outcome::NoInterface) => Failure::NoInterface,
        Some(Outcome::NoMethod) => Failure::NoMethod,
        Some(Outcome::BadArgument) => Failure::BadArgument(FormatError::new(&said(SPEAK))),
        Some(Outcome::Format) => Failure::Format(said(key::FORMATS).into()),
        Some(Outcome::NoResult) => Failure::NoResult(FormatError::new(&said(SPEAK))),
        Some(Outcome::Broken) => Failure::Broken,
        Some(Outcome::Expired) => Failure::Expired,
        Some(Outcome::BadBatch) => Failure::BadBatch,
        Some(Outcome::TooMany) => Failure::TooMany,
        Some(Outcome::Other(_)) | None => Failure::NotAnAnswer,
    })
}
