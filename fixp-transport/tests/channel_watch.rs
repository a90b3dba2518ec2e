//! What the system and a subscriber see of a channel: TCP's keep-alive, and spans.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixp_codec::{LAXCUS6, LEXST1, Packet, laxcus6::notify};
use fixp_transport::server::PublicKey;
use fixp_transport::{Channel, Echo, Server};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Which timer the system runs for the socket at this local port: 2 is that of the keep-alive.
#[cfg(target_os = "linux")]
fn timer(port: u16) -> Option<u8> {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let line = table.lines().skip(1).find(|line| {
        let local = line.split_whitespace().nth(1).unwrap_or_default();
        local.ends_with(&format!(":{port:04X}"))
    })?;
    let timer = line.split_whitespace().nth(5)?;
    u8::from_str_radix(timer.split(':').next()?, 16).ok()
}

/// lexst1 has no request that asks whether a peer is there (SPEC 11.17).
#[cfg(target_os = "linux")]
#[tokio::test]
async fn tcp_keeps_a_lexst1_channel_alive() {
    for (heartbeat, expected) in [(Some(Duration::from_secs(30)), 2), (None, 0)] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let builder = Channel::builder(&LEXST1).heartbeat(heartbeat, Duration::from_secs(10));
        let channel = builder.connect(listener.local_addr().unwrap()).await.unwrap();
        let (_accepted, client) = listener.accept().await.unwrap();
        assert_eq!(timer(client.port()), Some(expected), "{heartbeat:?}");
        drop(channel);
    }
}

/// Keeps the names and fields of spans.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("fixp_transport")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut spans = self.0.lock().unwrap();
        let fields: Vec<_> = span.metadata().fields().iter().map(|field| field.name()).collect();
        spans.push(format!("{} {fields:?}", span.metadata().name()));
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn channels_connections_and_calls_have_spans() {
    let spans = Spans::default();
    tracing::subscriber::set_global_default(spans.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
        let server = Server::builder(Echo).public_key(key).bind("127.0.0.1:0".parse().unwrap());
        let server = server.start().await.unwrap();
        let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
        channel.call(Packet::new(notify::FLUSH_LOG)).await.unwrap();
    });
    let spans = spans.0.lock().unwrap();
    for span in ["channel [\"peer\"]", "connection [\"peer\"]", "call [\"code\"]"] {
        assert!(spans.iter().any(|found| found == span), "{span} is not in {spans:?}");
    }
}
