//! The server's side: objects by the names of their Java interfaces, as a [`Handler`].

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::rpc::{Call, Reply, Throwable, Type, Value};
use fixp_transport::host::Transport;
use fixp_transport::{BodyError, Handler, Nobody, Request};
use futures_util::FutureExt;
use tokio::time::Instant;

use super::form::Form;
use super::signature::{self, Signature};
use crate::{Context, Rpc, Service};

/// A Java object, as its callers see it.
///
/// What a method throws reaches the caller as the cause of an InvocationTargetException, as Java's reflection has it.
/// A class of exceptions that no recording shows is written as a RuntimeException whose message begins with its name
/// (SPEC 12.40).
pub trait Visit: Send + Sync + 'static {
    /// The name of its class, which the text of a NoSuchMethodException begins with (SPEC 12.4). That of the
    /// interface, where this is none.
    fn class(&self) -> Option<&str> {
        None
    }

    /// The methods that are found.
    fn methods(&self) -> Vec<Signature>;

    /// Runs one of them. There are as many values as it has parameters, each of its type: a number is widened to it,
    /// an object of a class is any object, or null. [`Value::Null`] is the result of a method that returns nothing.
    fn invoke(
        &self,
        context: Context,
        method: &Signature,
        params: Vec<Value>,
    ) -> impl Future<Output = Result<Value, Throwable>> + Send;
}

/// Calls of the two programs, served. What is no such call goes to the handler behind it.
///
/// The answers are those of the real servers, exceptions included, but for their stack traces, which tell of their
/// insides: ours have none (SPEC 12.3 to 12.7). Whoever cancels a call, or is cut off, ends its work.
pub struct Visits<H = Nobody> {
    objects: HashMap<Box<str>, Arc<Object>, foldhash::fast::RandomState>,
    gathered: usize,
    time: Duration,
    next: H,
}

struct Object {
    class: Box<str>,
    methods: Vec<Signature>,
    visit: Box<dyn Invoke>,
}

type Invoked<'o> = Pin<Box<dyn Future<Output = Result<Value, Throwable>> + Send + 'o>>;

trait Invoke: Send + Sync + 'static {
    fn invoke<'o>(&'o self, context: Context, method: &'o Signature, params: Vec<Value>) -> Invoked<'o>;
}

impl<V: Visit> Invoke for V {
    fn invoke<'o>(&'o self, context: Context, method: &'o Signature, params: Vec<Value>) -> Invoked<'o> {
        // Within the future, so that what it does before its own first step is, too.
        Box::pin(async move { Visit::invoke(self, context, method, params).await })
    }
}

impl Visits {
    /// Default of [`Visits::time_limit`]: 60 s, as long as the programs keep a request at most.
    pub const TIME_LIMIT: Duration = Duration::from_secs(60);

    /// No object yet.
    #[must_use]
    pub fn new() -> Self {
        Self { objects: HashMap::default(), gathered: Rpc::GATHERED, time: Self::TIME_LIMIT, next: Nobody }
    }
}

impl Default for Visits {
    fn default() -> Self {
        Self::new()
    }
}

impl<H> Visits<H> {
    /// The same with an object under the name of this Java interface, in place of another there.
    #[must_use]
    pub fn serve(mut self, interface: &str, object: impl Visit) -> Self {
        let class = object.class().unwrap_or(interface).into();
        let object = Object { class, methods: object.methods(), visit: Box::new(object) };
        self.objects.insert(interface.into(), Arc::new(object));
        self
    }

    /// The same with a typed interface, under its own name.
    #[must_use]
    pub fn with(self, service: impl Service + Visit) -> Self {
        let name = service.interface().name;
        self.serve(name, service)
    }

    /// The same with a handler for all that is no such call.
    #[must_use]
    pub fn or<N>(self, next: N) -> Visits<N> {
        let Self { objects, gathered, time, .. } = self;
        Visits { objects, gathered, time, next }
    }

    /// The same with so many bytes of a call at most, in place of [`Rpc::GATHERED`]. A longer one is thrown back as
    /// an OutOfMemoryError (SPEC 12.9).
    #[must_use]
    pub const fn gathered_limit(mut self, bytes: usize) -> Self {
        self.gathered = bytes;
        self
    }

    /// The same with so much time at most for a call over datagrams that has no deadline, in place of
    /// [`Visits::TIME_LIMIT`]: nothing tells that a program over them has gone. Its work is dropped then, and it has
    /// no answer (SPEC 12.9). [`Duration::MAX`] is no limit.
    #[must_use]
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.time = limit;
        self
    }

    /// What comes of the entity of a call.
    async fn reply(&self, form: Form, context: Context, entity: Bytes) -> Reply {
        if entity.is_empty() {
            return Reply::threw(&form.empty(context.peer.transport));
        }
        let call = form.read_call(&entity).map_err(|error| form.undecodable(error));
        drop(entity);
        let found = call.and_then(|call| self.find(form, call));
        let (object, at, params) = match found {
            Ok(found) => found,
            Err(thrown) => return Reply::threw(&thrown),
        };
        let Some(method) = object.methods.get(at) else { return Reply::default() };
        let outcome = AssertUnwindSafe(object.visit.invoke(context, method, params)).catch_unwind().await;
        match outcome {
            Ok(Ok(value)) => Reply::returned(value),
            Ok(Err(thrown)) => Reply::threw(&Throwable::invocation_target(thrown)),
            Err(_) => {
                let thrown = Throwable::new("java.lang.Error", "the method broke off");
                Reply::threw(&Throwable::invocation_target(thrown))
            }
        }
    }

    /// The object and the method of a call, and what it passes (SPEC 12.3, 12.4, 12.5).
    fn find(&self, form: Form, call: Call) -> Result<(Arc<Object>, usize, Vec<Value>), Throwable> {
        let name =
            |text: Option<fixp_codec::rpc::Text>| text.map_or_else(|| "null".to_owned(), |it| it.to_string());
        let interface = name(call.interface);
        let Some(object) = self.objects.get(&*interface) else {
            return Err(form.no_interface(&interface));
        };
        let (method, types) = (name(call.method), call.types.unwrap_or_default());
        let Some(at) = object.methods.iter().position(|known| known.is(&method, &types)) else {
            let types = signature::names(types.iter().map(Option::<Type>::as_ref));
            let text = format!("{}.{method}({types})", object.class);
            return Err(Throwable::new("java.lang.NoSuchMethodException", text));
        };
        let params = call.params.unwrap_or_default();
        let passed = object.methods.get(at).map_or(Ok(Vec::new()), |method| method.passed(params));
        match passed {
            Ok(params) => Ok((Arc::clone(object), at, params)),
            Err(text) => Err(Throwable::new("java.lang.IllegalArgumentException", text)),
        }
    }
}

impl<H: Handler> Handler for Visits<H> {
    async fn handle(&self, request: Request) -> fixp_transport::Reply {
        use fixp_transport::Reply as Answer;
        let context = Context { peer: request.peer, deadline: request.deadline };
        let Context { peer, deadline } = context;
        let form = Form::of(peer.dialect);
        let called = form.and_then(|form| Some((form, form.way(&request.packet, peer.transport)?)));
        let Some((form, way)) = called else { return self.next.handle(request).await };
        let reply = async {
            match request.gather(self.gathered).await {
                Ok(packet) => Some(self.reply(form, context, packet.entity).await),
                Err(BodyError::TooLarge { len, limit }) => {
                    let len = usize::try_from(len).unwrap_or(usize::MAX);
                    Some(Reply::threw(&Form::too_large(len, limit)))
                }
                // Whoever called has gone.
                Err(_) => None,
            }
        };
        let deadline = match peer.transport {
            Transport::Tcp => deadline,
            // SPEC 12.9.
            Transport::Udp | Transport::KeepUdp => deadline.or_else(|| Instant::now().checked_add(self.time)),
        };
        let reply = match deadline {
            None => reply.await,
            Some(deadline) => tokio::time::timeout_at(deadline, reply).await.unwrap_or_default(),
        };
        let Some(reply) = reply else { return Answer::Silence };
        match form.write_reply(&reply, peer.transport) {
            Ok(entity) => form.answer(way).with_entity(entity).into(),
            // SPEC 12.7.
            Err(error) => {
                tracing::warn!(peer = %peer.addr, %error, "the result of a call cannot be written");
                Answer::Unwritable
            }
        }
    }

    async fn finished(&self) {
        self.next.finished().await;
    }
}

impl<H> fmt::Debug for Visits<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.objects.keys().collect();
        names.sort();
        f.debug_struct("Visits").field("interfaces", &names).finish_non_exhaustive()
    }
}
