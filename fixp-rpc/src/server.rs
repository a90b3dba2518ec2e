//! The server's side: interfaces as a [`Handler`].
//!
//! ```
//! use fixp_codec::LAXCUS6;
//! use fixp_rpc::{Client, Rpc};
//! use fixp_transport::{Channel, Server};
//!
//! #[fixp_rpc::service]
//! trait Adder {
//!     async fn add(&self, a: i64, b: i64) -> Result<i64, String>;
//! }
//!
//! struct Carefully;
//!
//! impl Adder for Carefully {
//!     async fn add(&self, a: i64, b: i64) -> Result<i64, String> {
//!         a.checked_add(b).ok_or_else(|| "too much".to_owned())
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let rpc = Rpc::new().serve(AdderService::new(Carefully));
//! let server = Server::builder(rpc).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
//!
//! let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
//! let adder = AdderClient::new(Client::over(channel));
//! assert_eq!(adder.add(2, 3).await, Ok(5));
//! # });
//! ```

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use fixp_codec::{Dialect, MAX_VALUE, Packet};
use fixp_transport::extension::Refusal;
use fixp_transport::host::Transport;
use fixp_transport::{Answer, Body, BodyError, Handler, Nobody, Peer, Reply, Request};
use futures_util::FutureExt;
use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::batch;
use crate::context::Context;
use crate::describe::{DirectoryClient, DirectoryService, Interfaces};
use crate::format::{Format, FormatError};
use crate::interface::Interface;
use crate::one_way::OneWay;
use crate::wire::{self, Asked, BATCH, CALL, Outcome, SPEAK, key};

/// An interface with something behind it: made by [`service`](macro@crate::service), as `AdderService`.
pub trait Service: Send + Sync + 'static {
    /// What it offers.
    fn interface(&self) -> &'static Interface;

    /// Runs the method of this place in [`Interface::methods`]. Dropping the future ends the work.
    fn run(&self, method: usize, call: Call) -> Running;
}

/// A method that runs.
pub type Running = Pin<Box<dyn Future<Output = Returned> + Send>>;

/// A call on its way to its method.
#[derive(Debug)]
pub struct Call {
    /// Who calls, and until when.
    pub context: Context,
    format: Format,
    argument: Bytes,
    body: Option<Body>,
}

/// What a method made of a call.
#[derive(Debug)]
pub struct Returned {
    outcome: Outcome,
    entity: Bytes,
    body: Option<Body>,
    error: Option<FormatError>,
}

impl Call {
    /// The arguments; or what is to be returned in place of a result.
    ///
    /// # Errors
    ///
    /// They do not decode.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T, Returned> {
        self.format
            .read(&self.argument)
            .map_err(|error| Returned { error: Some(error), ..Returned::only(Outcome::BadArgument) })
    }

    /// The stream that its arguments stand beside, once; empty where there is none.
    pub fn take_body(&mut self) -> Body {
        self.body.take().unwrap_or_else(|| Body::from_bytes(Bytes::new()))
    }

    /// How its result is to be written.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }
}

impl Returned {
    /// What a method without an error of its own returned.
    pub fn value<T: Serialize>(format: Format, value: &T) -> Self {
        Self::written(Outcome::Returned, format.write(value))
    }

    /// What a method returned.
    pub fn result<T: Serialize, E: Serialize>(format: Format, result: &Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::value(format, value),
            Err(error) => Self::written(Outcome::Failed, format.write(error)),
        }
    }

    /// What a method returned, beside a stream (SPEC 13.10).
    pub fn stream<T: Serialize, E: Serialize>(format: Format, result: Result<(T, Body), E>) -> Self {
        match result {
            Ok((value, body)) => Self { body: Some(body), ..Self::value(format, &value) },
            Err(error) => Self::written(Outcome::Failed, format.write(&error)),
        }
    }

    /// There is no such method.
    #[must_use]
    pub const fn no_method() -> Self {
        Self::only(Outcome::NoMethod)
    }

    const fn only(outcome: Outcome) -> Self {
        Self { outcome, entity: Bytes::new(), body: None, error: None }
    }

    fn written(outcome: Outcome, written: Result<Bytes, FormatError>) -> Self {
        match written {
            Ok(entity) => Self { entity, ..Self::only(outcome) },
            Err(error) => Self::no_result(error),
        }
    }

    fn no_result(why: FormatError) -> Self {
        Self { error: Some(why), ..Self::only(Outcome::NoResult) }
    }

    /// It, if it is no longer than this, and, beside a stream, no longer than what has a place there.
    fn within(self, most: usize) -> Self {
        let most = if self.body.is_some() { most.min(MAX_VALUE) } else { most };
        match self.entity.len() {
            len if len > most => {
                Self::no_result(FormatError::new(&format_args!("it has {len} bytes, more than {most}")))
            }
            _ => self,
        }
    }

    /// Tells whoever runs the server what went wrong in it, and what the caller of a one-way call is not told.
    fn log(&self, context: &Context, method: &str) {
        let (peer, outcome) = (context.peer.addr, self.outcome);
        let why = self.error.as_ref().map_or("", FormatError::as_str);
        match outcome {
            Outcome::Returned | Outcome::Failed => {}
            Outcome::NoResult | Outcome::Broken => tracing::warn!(%peer, method, ?outcome, why, "a call"),
            _ => tracing::debug!(%peer, method, ?outcome, why, "a call"),
        }
    }

    fn answer(self, dialect: &Dialect) -> Answer {
        let Self { outcome, entity, body, error } = self;
        if let (Outcome::Returned, Some(body)) = (outcome, body) {
            return match wire::streamed(outcome.packet(dialect, Bytes::new()), entity) {
                Some(packet) => Answer::from(packet).with_body(body),
                None => Outcome::NoResult.packet(dialect, Bytes::new()).into(),
            };
        }
        let packet = outcome.packet(dialect, entity);
        match error {
            Some(error) => packet.with(SPEAK, error.as_str()).into(),
            None => packet.into(),
        }
    }
}

/// Interfaces by their names, as a [`Handler`]. What is no call goes to the handler behind it.
pub struct Rpc<H = Nobody> {
    services: Vec<Arc<dyn Service>>,
    methods: HashMap<&'static str, (usize, usize), foldhash::fast::RandomState>,
    one_way: OneWay,
    gathered: usize,
    returned: usize,
    next: H,
}

impl Rpc {
    /// No interface yet but the one that tells which there are, [`describe`](crate::describe).
    #[must_use]
    pub fn new() -> Self {
        let empty = Self {
            services: Vec::new(),
            methods: HashMap::default(),
            one_way: OneWay::new(Self::RUNNING, Self::RUNNING_OF_A_PEER),
            gathered: Self::GATHERED,
            returned: Self::RETURNED,
            next: Nobody,
        };
        empty.described()
    }

    /// How many one-way calls (SPEC 13.6) run at a time, if nothing else is said, 4096: each costs its argument and
    /// its task.
    pub const RUNNING: usize = 4096;

    /// How many of them run at a time for one peer, if nothing else is said, 1024: an IPv4 address, or an IPv6 /64.
    pub const RUNNING_OF_A_PEER: usize = 1024;

    /// The bytes of the arguments of a call, or of the calls of a batch, that are taken if nothing else is said,
    /// 4 MiB. Costs that much for each that is under way. What is longer is streamed, or refused as `TooLarge`.
    pub const GATHERED: usize = 4 << 20;

    /// The bytes of a result, or of a method's own error, that are sent if nothing else is said, 4 MiB: a quarter of
    /// what a channel takes unless told otherwise. Costs that much for each that waits to be sent. What is longer is
    /// streamed, or has the outcome [`NoResult`](Outcome::NoResult).
    pub const RETURNED: usize = 4 << 20;
}

impl Default for Rpc {
    fn default() -> Self {
        Self::new()
    }
}

impl<H> Rpc<H> {
    /// The same with one more interface, in place of another of its name.
    #[must_use]
    pub fn serve(self, service: impl Service) -> Self {
        let described = self.interfaces().any(|known| known.name == DirectoryClient::INTERFACE.name);
        let with = self.with(service);
        if described { with.described() } else { with }
    }

    /// The same without the interface that tells which there are.
    #[must_use]
    pub fn undescribed(mut self) -> Self {
        self.services.retain(|service| service.interface().name != DirectoryClient::INTERFACE.name);
        let services = std::mem::take(&mut self.services);
        self.methods.clear();
        services.into_iter().fold(self, Self::with_shared)
    }

    fn described(self) -> Self {
        let mut interfaces: Vec<_> = self.interfaces().collect();
        interfaces.retain(|known| known.name != DirectoryClient::INTERFACE.name);
        interfaces.push(&DirectoryClient::INTERFACE);
        self.with(DirectoryService::new(Interfaces(interfaces)))
    }

    fn with(self, service: impl Service) -> Self {
        self.with_shared(Arc::new(service))
    }

    fn with_shared(mut self, service: Arc<dyn Service>) -> Self {
        let interface = service.interface();
        let place = self.services.iter().position(|known| known.interface().name == interface.name);
        let place = place.unwrap_or(self.services.len());
        self.methods.retain(|_, (service, _)| *service != place);
        for (index, method) in interface.methods.iter().enumerate() {
            self.methods.insert(method.path, (place, index));
        }
        match self.services.get_mut(place) {
            Some(old) => *old = service,
            None => self.services.push(service),
        }
        self
    }

    /// The same with a handler for all that is no call.
    #[must_use]
    pub fn or<N>(self, next: N) -> Rpc<N> {
        let Self { services, methods, one_way, gathered, returned, .. } = self;
        Rpc { services, methods, one_way, gathered, returned, next }
    }

    /// The same with so many bytes of arguments at most, in place of [`Rpc::GATHERED`].
    #[must_use]
    pub const fn gathered_limit(mut self, bytes: usize) -> Self {
        self.gathered = bytes;
        self
    }

    /// The same with so many bytes of a result at most, in place of [`Rpc::RETURNED`]. Its clients must take them, too:
    /// see [`ChannelLimits::entity`](fixp_transport::limits::ChannelLimits::entity).
    #[must_use]
    pub const fn returned_limit(mut self, bytes: usize) -> Self {
        self.returned = bytes;
        self
    }

    /// The same with room for so many one-way calls at a time; one more is refused for overload.
    #[must_use]
    pub const fn one_way_limit(mut self, calls: usize) -> Self {
        self.one_way.limit = calls;
        self
    }

    /// The same with room for so many one-way calls of one peer at a time, in place of [`Rpc::RUNNING_OF_A_PEER`]: so
    /// that none takes the room of all.
    #[must_use]
    pub const fn one_way_limit_of_a_peer(mut self, calls: usize) -> Self {
        self.one_way.limit_of_one = calls;
        self
    }

    /// The interfaces that it has.
    pub fn interfaces(&self) -> impl Iterator<Item = &'static Interface> {
        self.services.iter().map(|service| service.interface())
    }

    /// Serves a call whose arguments are its entity.
    async fn call(&self, context: Context, packet: Packet, body: Option<Body>) -> Answer {
        let dialect = context.peer.dialect;
        let Asked { method, format, one_way } = match Asked::read(dialect, &packet) {
            Ok(asked) => asked,
            Err(Outcome::Format) => {
                let formats = Format::ALL.map(Format::name).join(",");
                return Outcome::Format.packet(dialect, Bytes::new()).with(key::FORMATS, formats).into();
            }
            Err(outcome) => return outcome.packet(dialect, Bytes::new()).into(),
        };
        let Some((&path, &(service, method))) = self.methods.get_key_value(method) else {
            let interface = method.rsplit_once('.').map_or(method, |(interface, _)| interface);
            let known = self.interfaces().any(|known| known.name == interface);
            let outcome = if known { Outcome::NoMethod } else { Outcome::NoInterface };
            return outcome.packet(dialect, Bytes::new()).into();
        };
        let Some(service) = self.services.get(service) else {
            return Outcome::NoInterface.packet(dialect, Bytes::new()).into();
        };
        let call = Call { context, format, argument: packet.entity, body };
        let running = service.run(method, call);
        if one_way {
            let work = async move { ended(running, context).await.log(&context, path) };
            let begun = self.one_way.begin(context.peer.addr.ip(), work);
            return if begun {
                Outcome::Returned.packet(dialect, Bytes::new())
            } else {
                wire::refused(dialect, Refusal::Overloaded)
            }
            .into();
        }
        let returned = ended(running, context).await.within(self.returned);
        returned.log(&context, path);
        returned.answer(dialect)
    }

    /// Serves the calls of a batch at the same time (SPEC 13.8).
    async fn batch(&self, context: Context, packet: Packet) -> Packet {
        let Peer { dialect, transport, .. } = context.peer;
        let calls = match batch::calls(dialect, packet.entity) {
            Ok(calls) => calls,
            Err(outcome) => return outcome.packet(dialect, Bytes::new()),
        };
        let most = if transport == Transport::Udp { batch::ANSWERS_OF_A_DATAGRAM } else { batch::ANSWERS };
        let room = &batch::Room::new(dialect, calls.len(), most);
        let answers = join_all(calls.into_iter().map(|call| async move {
            room.take(match call.code {
                CALL => {
                    let answer = self.call(context, call, None).await;
                    // A stream has no place in it.
                    let whole = answer.body.is_none();
                    let left_out =
                        || Outcome::NoResult.packet(dialect, Bytes::new()).with(SPEAK, "it is a stream");
                    if whole { answer.packet } else { left_out() }
                }
                _ => Outcome::NoMethod.packet(dialect, Bytes::new()),
            })
        }));
        Outcome::Returned.packet(dialect, batch::answers(dialect, answers.await))
    }
}

/// Runs a method to its end, until it breaks off, or until its caller does not wait any more (SPEC 13.5).
async fn ended(running: Running, context: Context) -> Returned {
    let mut running = pin!(AssertUnwindSafe(running).catch_unwind());
    // Most return at once, and need no timer.
    let first = poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await;
    let outcome = match (first, context.deadline) {
        (Poll::Ready(outcome), _) => outcome,
        (Poll::Pending, None) => running.await,
        (Poll::Pending, Some(deadline)) => match tokio::time::timeout_at(deadline, running).await {
            Ok(outcome) => outcome,
            Err(_) => return Returned::only(Outcome::Expired),
        },
    };
    outcome.unwrap_or_else(|_| Returned::only(Outcome::Broken))
}

impl<H: Handler> Handler for Rpc<H> {
    async fn handle(&self, mut request: Request) -> Reply {
        let batch = match request.packet.code {
            CALL => false,
            BATCH => true,
            _ => return self.next.handle(request).await,
        };
        let context = Context { peer: request.peer, deadline: request.deadline };
        if !batch && let Some(arguments) = wire::beside_stream(&request.packet) {
            let entity = std::mem::replace(&mut request.packet.entity, arguments);
            let body = request.body.unwrap_or_else(|| Body::from_bytes(entity));
            // SPEC 13.10: the transport has no deadline for it.
            let time = wire::time(&request.packet);
            if time.is_some_and(|time| time.is_zero()) {
                return wire::refused(context.peer.dialect, Refusal::Late).into();
            }
            let deadline = context.deadline.or(time.map(|time| Instant::now() + time));
            let context = Context { deadline, ..context };
            return self.call(context, request.packet, Some(body)).await.into();
        }
        // SPEC 13.9.
        match request.gather(self.gathered).await {
            Ok(packet) if batch => self.batch(context, packet).await.into(),
            Ok(packet) => self.call(context, packet, None).await.into(),
            Err(BodyError::TooLarge { .. }) => wire::refused(context.peer.dialect, Refusal::TooLarge).into(),
            // Whoever called has gone.
            Err(_) => Reply::Silence,
        }
    }

    async fn finished(&self) {
        self.one_way.finished().await;
        self.next.finished().await;
    }
}
