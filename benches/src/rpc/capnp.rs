//! capnp-rpc over TCP, through buffers as its documentation wants it. It lives in one thread, so it has threads of
//! its own: one for each side, or one for both.
//!
//! `echo_capnp.rs` is of `echo.capnp` beside it. To write it anew: `capnp` of Cap'n Proto 0.9, and a program with
//! `capnpc::CompilerCommand::new().file("echo.capnp").default_parent_module(vec!["rpc".into()]).output_path(".").run()`.

use std::net::SocketAddr;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use capnp::Error;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, new_client, twoparty};
use futures_util::io::{BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::echo_capnp::echo;
use crate::transport::fixp::ANY;
use crate::transport::sample::{Sample, sample_local};

struct Back;

impl echo::Server for Back {
    async fn echo(
        self: Rc<Self>,
        params: echo::EchoParams,
        mut results: echo::EchoResults,
    ) -> Result<(), Error> {
        results.get().set_payload(params.get()?.get_payload()?);
        Ok(())
    }
}

/// What the thread of the client is asked for.
struct Turn {
    payload: &'static [u8],
    depth: usize,
    time: Duration,
    sample: oneshot::Sender<Sample>,
}

/// A client, in its thread.
#[derive(Debug)]
pub struct Client(mpsc::UnboundedSender<Turn>);

/// A server and a client of it, in one thread or in one each.
pub async fn client(one_thread: bool) -> Client {
    let (turns, mut waiting) = mpsc::unbounded_channel::<Turn>();
    let (bound, addr) = oneshot::channel();
    let mut calls = async move |addr| {
        let client = connect(addr).await;
        while let Some(Turn { payload, depth, time, sample }) = waiting.recv().await {
            let client = client.clone();
            let call = move || {
                let client = client.clone();
                async move { call(&client, payload).await }
            };
            let _ = sample.send(sample_local(depth, time, call).await);
        }
    };
    if one_thread {
        local(async move || {
            spawn_local(serve(bound));
            calls(addr.await.expect("a server")).await;
        });
    } else {
        local(async move || serve(bound).await);
        local(async move || calls(addr.await.expect("a server")).await);
    }
    Client(turns)
}

/// Runs in a thread of its own.
fn local(main: impl AsyncFnOnce() + Send + 'static) {
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, main());
    });
}

async fn serve(bound: oneshot::Sender<SocketAddr>) {
    let listener = TcpListener::bind(ANY).await.expect("a listener");
    let _ = bound.send(listener.local_addr().expect("it is bound"));
    let back: echo::Client = new_client(Back);
    while let Ok((stream, _)) = listener.accept().await {
        let network = network(stream, Side::Server);
        spawn_local(RpcSystem::new(network, Some(back.clone().client)));
    }
}

async fn connect(addr: SocketAddr) -> echo::Client {
    let stream = TcpStream::connect(addr).await.expect("a connection");
    let mut system = RpcSystem::new(network(stream, Side::Client), None);
    let client = system.bootstrap(Side::Server);
    spawn_local(system);
    client
}

fn network(stream: TcpStream, side: Side) -> Box<twoparty::VatNetwork<impl futures_util::AsyncRead + Unpin>> {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let (reader, writer) = (BufReader::new(reader.compat()), BufWriter::new(writer.compat_write()));
    Box::new(twoparty::VatNetwork::new(reader, writer, side, Default::default()))
}

async fn call(client: &echo::Client, payload: &'static [u8]) {
    let mut request = client.echo_request();
    request.get().set_payload(payload);
    let answer = request.send().promise.await.expect("an echo");
    let answer = answer.get().and_then(|answer| answer.get_payload()).expect("a payload");
    assert_eq!(answer.len(), payload.len());
}

impl Client {
    /// So many calls in flight for so long.
    ///
    /// # Panics
    ///
    /// Where its thread is gone.
    pub async fn sample(&self, payload: &'static [u8], depth: usize, time: Duration) -> Sample {
        let (sample, done) = oneshot::channel();
        self.0.send(Turn { payload, depth, time, sample }).expect("the thread is there");
        done.await.expect("the thread is there")
    }
}
