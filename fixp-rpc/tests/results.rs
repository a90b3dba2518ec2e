//! Results that cannot be sent: their callers learn why, and so does whoever runs the server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use fixp_codec::{Dialect, LAXCUS6, LEXST1, Message};
use fixp_rpc::wire::{Asked, Outcome};
use fixp_rpc::{Client, Executed, Failure, Format, Rpc};
use fixp_transport::{Channel, Handler, Reply, Request, Server, tables};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

#[fixp_rpc::service]
trait Texts {
    async fn text(&self, len: usize) -> String;
    async fn fails(&self, len: usize) -> Result<u8, String>;
    /// What JSON has no form for.
    async fn map(&self) -> BTreeMap<(u8, u8), u8>;
    async fn panics(&self);
    #[one_way]
    async fn note(&self, number: u8);
}

struct Xs;

impl Texts for Xs {
    async fn text(&self, len: usize) -> String {
        "x".repeat(len)
    }
    async fn fails(&self, len: usize) -> Result<u8, String> {
        Err("x".repeat(len))
    }
    async fn map(&self) -> BTreeMap<(u8, u8), u8> {
        [((1, 2), 3)].into()
    }
    async fn panics(&self) {
        panic!("as it was asked to");
    }
    async fn note(&self, _: u8) {}
}

async fn served(rpc: Rpc) -> Server<Rpc> {
    let rpc = rpc.serve(TextsService::new(Xs));
    Server::builder(rpc).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap()
}

async fn ways(server: &Server<Rpc>, dialect: &'static Dialect) -> [Client; 2] {
    let addr = server.local_addr().unwrap();
    let channel = Channel::builder(dialect).announce_first();
    [channel.clone().connect(addr).await.unwrap(), channel.keep_udp(addr)].map(Client::over)
}

/// SPEC 13.9.
#[tokio::test]
async fn results_have_a_limit() {
    let server = served(Rpc::new()).await;
    let short = served(Rpc::new().returned_limit(1000)).await;
    for dialect in [&LAXCUS6, &LEXST1] as [&'static Dialect; 2] {
        for client in ways(&server, dialect).await {
            let texts = TextsClient::new(client);
            assert_eq!(texts.text(Rpc::RETURNED - 4).await.map(|text| text.len()), Ok(Rpc::RETURNED - 4));
            // The largest is more than the client takes: without a limit its channel would have to be cut.
            for len in [Rpc::RETURNED - 3, 17 << 20] {
                let none = texts.text(len).await.unwrap_err();
                assert_eq!(none.executed(), Executed::Yes);
                let why = format!("the result cannot be sent: it has {} bytes, more than 4194304", len + 4);
                assert_eq!(none.to_string(), format!("{why}; it was executed"));
            }
            assert_eq!(texts.text(3).await.unwrap(), "xxx");
        }
        for client in ways(&short, dialect).await {
            let texts = TextsClient::new(client);
            assert!(matches!(texts.fails(999).await, Err(Failure::NoResult(_))));
            assert!(matches!(texts.fails(998).await, Err(Failure::Failed(_))));
        }
    }
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("fixp_rpc") && *metadata.level() <= Level::DEBUG
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// SPEC 13.4: the caller is told why; and what he is not told, or cannot mend, stands in the server's log.
#[tokio::test]
async fn why_there_is_none() {
    let log = Log::default();
    let _logging = tracing::subscriber::set_default(log.clone());
    let server = served(Rpc::new()).await;
    let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
    let texts = TextsClient::new(Client::over(channel.clone()).format(Format::Json));
    let none = texts.map().await.unwrap_err();
    assert_eq!(none.to_string(), "the result cannot be sent: key must be a string; it was executed");
    assert_eq!(texts.panics().await, Err(Failure::Broken));
    let note = Asked { method: "Texts.note", format: Format::Json, one_way: true };
    let taken = channel.call(note.packet(&LAXCUS6, "{}".into())).await.unwrap();
    assert_eq!(Outcome::of(&LAXCUS6, &taken), Some(Outcome::Returned));
    // The work of a one-way call is a task of its own.
    while log.0.lock().unwrap().len() < 3 {
        tokio::task::yield_now().await;
    }
    let lines = log.0.lock().unwrap();
    for (line, level, tells) in [
        (&lines[0], "WARN", r#"method="Texts.map" outcome=NoResult why="key must be a string""#),
        (&lines[1], "WARN", r#"method="Texts.panics" outcome=Broken"#),
        (&lines[2], "DEBUG", r#"method="Texts.note" outcome=BadArgument why="missing field `number`"#),
    ] {
        assert!(line.starts_with(level) && line.contains(tells) && line.contains(" peer=127."), "{line}");
    }
}

/// Gives calls another format than their client did.
struct Unheard(Rpc);

impl Handler for Unheard {
    async fn handle(&self, mut request: Request) -> Reply {
        let serial_type = tables::of(request.peer.dialect).serial_type;
        request.packet.remove(serial_type);
        request.packet.messages.push(Message::new(serial_type, "protobuf"));
        self.0.handle(request).await
    }
}

/// SPEC 13.3: a peer that lacks the format says which it has.
#[tokio::test]
async fn a_format_that_is_not_read() {
    let rpc = Unheard(Rpc::new().serve(TextsService::new(Xs)));
    let server = Server::builder(rpc).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
    for dialect in [&LAXCUS6, &LEXST1] as [&'static Dialect; 2] {
        let channel = Channel::builder(dialect).announce_first();
        let channel = channel.connect(server.local_addr().unwrap()).await.unwrap();
        let none = TextsClient::new(Client::over(channel)).text(3).await.unwrap_err();
        assert_eq!((&none, none.executed()), (&Failure::Format("postcard,json,cbor".into()), Executed::No));
        let told = "the server does not read this format, but postcard,json,cbor; it was not executed";
        assert_eq!(none.to_string(), told);
    }
}
