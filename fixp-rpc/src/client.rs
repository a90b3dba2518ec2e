//! The client's side: where calls go, how they are written, and how long their callers wait.
//!
//! See [`Rpc`](crate::Rpc) for both sides together.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{Dialect, Packet, Value};
use fixp_transport::{CallError, CallOptions, Cause, Channel, Repeat, tables, udp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::format::{Format, FormatError};
use crate::interface::Method;
use crate::wire::{Asked, Outcome, SPEAK, key};

/// Where calls go. Clones share it.
#[derive(Clone)]
pub struct Client {
    way: Way,
    format: Format,
    timeout: Option<Duration>,
}

#[derive(Clone)]
enum Way {
    Channel(Channel),
    Udp(udp::Client, SocketAddr),
}

/// How often a call over UDP that may be repeated leaves again, and after how much silence.
const UDP_REPEAT: udp::Repeat = udp::Repeat::Harmless { times: 3, every: Duration::from_millis(500) };

impl Client {
    /// Calls over a channel: TCP, or KEEP UDP.
    ///
    /// In lexst1 over TCP the channel must [announce itself first](fixp_transport::ChannelBuilder::announce_first).
    #[must_use]
    pub const fn over(channel: Channel) -> Self {
        Self { way: Way::Channel(channel), format: Format::Postcard, timeout: None }
    }

    /// Calls to one peer over plain UDP: argument and result must each have room in one datagram.
    #[must_use]
    pub const fn over_udp(client: udp::Client, peer: SocketAddr) -> Self {
        Self { way: Way::Udp(client, peer), format: Format::Postcard, timeout: None }
    }

    /// The same with another format.
    #[must_use]
    pub const fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// The same with so much time for each call; that of the channel or client unless it is given. It travels with
    /// the call, and ends its work at the server too.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The dialect in which calls go.
    #[must_use]
    pub fn dialect(&self) -> &'static Dialect {
        match &self.way {
            Way::Channel(channel) => channel.dialect(),
            Way::Udp(client, _) => client.dialect(),
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
        let argument = self.format.write(arguments).map_err(Failure::Unwritable)?;
        let answer = self.call_written(method.path, method.idempotent, method.one_way, argument).await?;
        let bad = Failure::BadResult;
        match answer {
            Ok(_) if method.one_way => Format::Postcard.read(&[]).map_err(bad),
            Ok(result) => self.format.read(&result).map_err(bad),
            Err(error) => Err(Failure::Failed(self.format.read(&error).map_err(bad)?)),
        }
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
        let asked = Asked { method: path.into(), format: self.format, one_way };
        let packet = asked.packet(dialect, argument.clone());
        let answer = match self.send(packet, idempotent).await {
            Err(CallError { cause: Cause::NotOurs, .. }) => {
                // It has not been asked yet, or it has been silent for long: what asks for nothing may announce us.
                let probe = Packet::new(tables::of(dialect).probe);
                self.send(probe, true).await.map_err(|error| Failure::NotSent(error.cause))?;
                self.send(asked.packet(dialect, argument), idempotent).await?
            }
            answer => answer?,
        };
        read(dialect, answer)
    }

    /// Ends in order what calls go over: what is under way is waited for. Clones end with it.
    pub async fn close(self) {
        match self.way {
            Way::Channel(channel) => channel.close().await,
            Way::Udp(client, _) => client.close(),
        }
    }

    async fn send(&self, packet: Packet, repeatable: bool) -> Result<Packet, CallError> {
        match &self.way {
            Way::Channel(channel) => {
                let repeat = if repeatable { Repeat::Harmless } else { Repeat::Never };
                channel.call_with(packet, CallOptions { timeout: self.timeout, repeat }).await
            }
            Way::Udp(client, peer) => {
                let repeat = if repeatable { UDP_REPEAT } else { udp::Repeat::Never };
                let options = udp::Options { timeout: self.timeout, repeat, ..udp::Options::default() };
                client.request_with(*peer, packet, options).await
            }
        }
    }
}

/// What an answer says.
fn read<E>(dialect: &Dialect, answer: Packet) -> Result<Result<Bytes, Bytes>, Failure<E>> {
    let said = |key| match answer.first(key) {
        Some(Value::String(text)) => text.to_string(),
        _ => String::new(),
    };
    Err(match Outcome::of(dialect, &answer) {
        Some(Outcome::Returned) => return Ok(Ok(answer.entity)),
        Some(Outcome::Failed) => return Ok(Err(answer.entity)),
        Some(Outcome::NoInterface) => Failure::NoInterface,
        Some(Outcome::NoMethod) => Failure::NoMethod,
        Some(Outcome::BadArgument) => Failure::BadArgument(FormatError::new(&said(SPEAK))),
        Some(Outcome::Format) => Failure::Format(said(key::FORMATS).into()),
        Some(Outcome::NoResult) => Failure::NoResult,
        Some(Outcome::Broken) => Failure::Broken,
        Some(Outcome::Expired) => Failure::Expired,
        Some(Outcome::Other(_)) | None => Failure::NotAnAnswer,
    })
}
