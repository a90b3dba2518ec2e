//! A batch is not held back until all of it is done: the answers to its first requests leave while the last are being
//! handled, and callers have their turn before too many others are told.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use fixp_codec::{LAXCUS6, LEXST1, Packet, laxcus6::answer, laxcus6::notify, lexst1};
use fixp_transport::extension::{Capabilities, key};
use fixp_transport::limits::ServerLimits;
use fixp_transport::server::PublicKey;
use fixp_transport::socket::Connect;
use fixp_transport::{Answer, Body, CallOptions, Channel, Handler, Request, Server, handler_fn};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;
use tokio::task::coop::{poll_proceed, unconstrained};

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5000);

/// Until this is so, which takes the others a few turns.
async fn soon(is: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if is() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never was so");
}

/// What has come so far.
fn come(stream: &mut DuplexStream) -> usize {
    let mut buffer = vec![0; 1 << 16];
    unconstrained(stream.read(&mut buffer)).now_or_never().map_or(0, Result::unwrap)
}

#[tokio::test]
async fn the_first_answers_leave_while_the_last_requests_are_handled() {
    const REQUESTS: usize = 300;
    let (here, there) = duplex(1 << 20);
    let there = Arc::new(Mutex::new(there));
    // What had come of the answers when each request was handled.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (far, log) = (Arc::clone(&there), Arc::clone(&seen));
    let handler = handler_fn(move |_: Request| {
        let came = come(&mut far.lock().unwrap_or_else(PoisonError::into_inner));
        log.lock().unwrap().push(came);
        async { Packet::new(answer::OKAY).with_entity(&[7; 30][..]).into() }
    });
    let server = Server::builder(handler).start().await.unwrap();
    server.serve_stream(here, PEER, PEER).unwrap();
    let mut batch = Packet::new(notify::TEST)
        .with(key::CAPABILITIES, Capabilities::OURS.in_request())
        .to_bytes(&LAXCUS6)
        .unwrap()
        .to_vec();
    for serial in 0..REQUESTS as i64 {
        let request = Packet::new(notify::FLUSH_LOG).with(key::SERIAL, serial);
        batch.extend(request.to_bytes(&LAXCUS6).unwrap());
    }
    there.lock().unwrap().write_all(&batch).now_or_never().unwrap().unwrap();
    soon(|| seen.lock().unwrap().len() == REQUESTS).await;
    let seen = seen.lock().unwrap().clone();
    let parts: Vec<_> = seen.iter().enumerate().filter(|(_, came)| **came > 0).collect();
    assert!(parts[0].0 < 20, "the first part is small: {parts:?}");
    assert!((3..8).contains(&parts.len()), "each is twice as long as the one before: {parts:?}");
}

/// One connection, to a peer that the test plays.
struct Once(Mutex<Option<DuplexStream>>);

impl Connect for Once {
    type Stream = DuplexStream;

    async fn connect(&self) -> io::Result<DuplexStream> {
        self.0.lock().unwrap().take().ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }

    fn peer(&self) -> SocketAddr {
        PEER
    }
}

#[tokio::test]
async fn callers_have_their_turn_before_more_are_told() {
    const CALLS: usize = 400;
    let (here, mut there) = duplex(1 << 20);
    let channel = Channel::builder(&LEXST1).depth(CALLS).open(Once(Mutex::new(Some(here))));
    let okay = Packet::new(lexst1::answer::OKAY).to_bytes(&LEXST1).unwrap();
    let call = || channel.try_call(Packet::new(lexst1::app::ADD_LOG), CallOptions::default()).unwrap();
    let first = call();
    // It announces nothing, so it is of another make, which answers in order.
    let mut buffer = vec![0; 1 << 16];
    assert!(there.read(&mut buffer).await.unwrap() > 0);
    there.write_all(&okay).await.unwrap();
    first.await.unwrap();
    let mut calls: Vec<_> = (0..CALLS).map(|_| Box::pin(unconstrained(call()))).collect();
    assert!(there.read(&mut buffer).await.unwrap() > 0);
    there.write_all(&okay.repeat(CALLS)).await.unwrap();
    calls.remove(0).await.unwrap();
    // This task is one of those that were told: what the others know is looked at in its first turn.
    let before = calls.len();
    calls.retain_mut(|call| call.now_or_never().is_none());
    assert_eq!(before - calls.len(), 127);
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(channel.stats().answered, 1 + CALLS as u64);
}

/// A connection whose peer has said something before it broke.
#[derive(Clone, Default)]
struct Breaks(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    taken: usize,
    /// What a read gives, each.
    comes: VecDeque<Vec<u8>>,
    broken: bool,
    reader: Option<Waker>,
}

impl AsyncRead for Breaks {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut said = self.0.lock().unwrap();
        match said.comes.pop_front() {
            Some(bytes) => buf.put_slice(&bytes),
            None if said.broken => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => {
                said.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Breaks {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut said = self.0.lock().unwrap();
        if said.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        said.taken += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Breaks {
    /// The peer has said these, and there is an end to it, or not.
    fn says(&self, all: impl IntoIterator<Item = Vec<u8>>, broken: bool) {
        let mut said = self.0.lock().unwrap();
        said.comes.extend(all);
        said.broken = broken;
        if let Some(reader) = said.reader.take() {
            reader.wake();
        }
    }
}

struct Made(Mutex<Option<Breaks>>);

impl Connect for Made {
    type Stream = Breaks;

    async fn connect(&self) -> io::Result<Breaks> {
        self.0.lock().unwrap().take().ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }

    fn peer(&self) -> SocketAddr {
        PEER
    }
}

/// A connection that broke while so many callers were told that nothing more was read in that turn: what had come
/// before is read in the next, and is the answer of its requests.
#[tokio::test]
async fn what_came_before_the_end_is_read_though_many_are_told() {
    // As many as are told in a turn, and others.
    const CALLS: usize = 400;
    let stream = Breaks::default();
    let channel = Channel::builder(&LEXST1).depth(CALLS + 1).open(Made(Mutex::new(Some(stream.clone()))));
    let okay = Packet::new(lexst1::answer::OKAY).to_bytes(&LEXST1).unwrap();
    let call = || channel.try_call(Packet::new(lexst1::app::ADD_LOG), CallOptions::default()).unwrap();
    let taken = |stream: &Breaks| stream.0.lock().unwrap().taken;
    let first = call();
    soon(|| taken(&stream) > 0).await;
    stream.says([okay.to_vec()], false);
    first.await.unwrap();
    let before = taken(&stream);
    let calls: Vec<_> = (0..CALLS).map(|_| call()).collect();
    soon(|| taken(&stream) > before).await;
    // Of one more request no byte can be written any more.
    let last = call();
    stream.says([okay.repeat(CALLS / 2), okay.repeat(CALLS / 2)], true);
    for (number, call) in calls.into_iter().enumerate() {
        assert!(call.await.is_ok(), "the answer to request {number} had come");
    }
    // It was not sent, and waits for another connection, which there will not be.
    drop(last);
    assert_eq!((channel.stats().answered, channel.stats().cuts), (1 + CALLS as u64, 1));
}

/// A peer that has said the beginning of a request, and, once it goes on, has its next bytes there at every look.
#[derive(Clone)]
struct Endless(Arc<Mutex<Flow>>);

struct Flow {
    rest: Bytes,
    /// How many bytes are there before it goes on.
    first: usize,
    waker: Option<Waker>,
    answered: usize,
}

impl AsyncRead for Endless {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut flow = self.0.lock().unwrap();
        let count = flow.first.max(1);
        if flow.waker.is_some() && flow.first > 0 || flow.rest.is_empty() {
            flow.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if flow.first > 0 {
            flow.waker = Some(cx.waker().clone());
        }
        let count = count.min(flow.rest.len());
        buf.put_slice(&flow.rest.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().answered += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// SPEC 11.17: an entity that comes without end, so that its connection never waits for it, is not taken for slow where
/// another has no room.
#[tokio::test(start_paused = true)]
async fn who_makes_progress_without_end_is_not_slow() {
    // Half of it is for what has not come: the room of a large entity, and not that of another beside it.
    let limits = ServerLimits { bytes: 300_000, ..ServerLimits::default() };
    let handler = handler_fn(async |request: Request| {
        if let Some(mut body) = request.body {
            while let Some(Ok(_)) = body.chunk().await {}
        }
        Packet::new(answer::OKAY).into()
    });
    let key = PublicKey::new(&[0xff; 64], &[3]).unwrap();
    let server = Server::builder(handler).limits(limits).public_key(key).start().await.unwrap();
    let wire = |len: usize| {
        let packet = Packet::new(notify::FLUSH_LOG).with_entity(vec![7; len]);
        packet.to_bytes(&LAXCUS6).unwrap().to_vec()
    };
    let flow = Flow { rest: wire(1_200_000).into(), first: 1000, waker: None, answered: 0 };
    let endless = Endless(Arc::new(Mutex::new(flow)));
    server.serve_stream(endless.clone(), "10.0.0.1:1".parse().unwrap(), PEER).unwrap();
    // It waits for its peer once, and then has its next bytes whenever it looks.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let waker = {
        let mut flow = endless.0.lock().unwrap();
        assert!(flow.rest.len() > 1_190_000 && server.stats().bytes_in_flight > 0);
        flow.first = 0;
        flow.waker.take().unwrap()
    };
    waker.wake();
    let (here, mut there) = duplex(1 << 20);
    server.serve_stream(here, "10.0.0.2:1".parse().unwrap(), PEER).unwrap();
    there.write_all(&wire(200_000)).await.unwrap();
    let (mut time, mut came, mut ended) = (0, 0, 0);
    while came == 0 || ended == 0 {
        assert!(time < 10_000, "no end: {ended} ms, {came} bytes");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(server.stats().timed_out, 0, "after {time} ms");
        time += 1;
        came += come(&mut there);
        if ended == 0 {
            ended = if endless.0.lock().unwrap().answered > 0 { time } else { 0 };
        }
        assert!(came == 0 || ended > 0, "the other had room all the time");
    }
    // It takes so long that others are asked for their room, and has ended before the other gives up.
    assert!((300..1900).contains(&ended) && time <= ended + 2, "{ended} ms, {time} ms");
}

/// Each connection is one to this server.
struct Served<H>(Arc<Server<H>>);

impl<H: Handler> Connect for Served<H> {
    type Stream = DuplexStream;

    async fn connect(&self) -> io::Result<DuplexStream> {
        let (here, there) = duplex(1 << 20);
        self.0.serve_stream(there, PEER, PEER).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(here)
    }

    fn peer(&self) -> SocketAddr {
        PEER
    }
}

/// A channel whose transfers may stand still for five seconds, and a server that reads what comes and answers with so
/// many bytes.
async fn transferring(answers: usize) -> Channel {
    let handler = handler_fn(move |request: Request| async move {
        if let Some(mut body) = request.body {
            while let Some(Ok(_)) = body.chunk().await {}
        }
        let answer = Answer::from(Packet::new(answer::OKAY));
        answer.with_body(Body::from_bytes(vec![7; answers])).into()
    });
    let key = PublicKey::new(&[0xff; 64], &[3]).unwrap();
    let server = Server::builder(handler).public_key(key).start().await.unwrap();
    Channel::builder(&LAXCUS6).timeout(Duration::from_secs(5)).open(Served(Arc::new(server)))
}

/// A source that was silent for longer than the peer may be, and then has more than goes in one turn.
#[tokio::test(start_paused = true)]
async fn the_silence_of_a_source_is_not_that_of_the_peer() {
    const PIECES: usize = 200;
    let channel = transferring(10).await;
    let (pieces, mut source) = mpsc::unbounded_channel();
    let source = futures_util::stream::poll_fn(move |cx| source.poll_recv(cx));
    let body = Body::from_stream(PIECES as u64 * 1000, source);
    let sending =
        tokio::spawn(async move { channel.transfer(Packet::new(notify::FLUSH_LOG), body).await.map(drop) });
    tokio::time::sleep(Duration::from_secs(6)).await;
    for _ in 0..PIECES {
        pieces.send(Ok(Bytes::from_static(&[7; 1000]))).unwrap();
    }
    sending.await.unwrap().unwrap();
}

/// Uses up the turn of the task that is polled.
fn use_up(cx: &mut Context<'_>) {
    while let Poll::Ready(turn) = poll_proceed(cx) {
        turn.made_progress();
    }
}

/// A reader that paused for longer than the peer may be silent, and looks again when it is not its turn any more.
#[tokio::test(start_paused = true)]
async fn the_pause_of_a_reader_is_not_that_of_the_peer() {
    const LEN: usize = 300_000;
    let channel = transferring(LEN).await;
    let request = Packet::new(notify::FLUSH_LOG);
    let mut answer = channel.transfer(request, Body::from_bytes(Bytes::new())).await.unwrap();
    let mut came = answer.body.chunk().await.unwrap().unwrap().len();
    tokio::time::sleep(Duration::from_secs(6)).await;
    poll_fn(|cx| {
        use_up(cx);
        Poll::Ready(())
    })
    .await;
    while let Some(piece) = answer.body.chunk().await {
        came += piece.unwrap().len();
    }
    assert_eq!(came, LEN);
}

/// Connections that take whatever they get.
struct Taking(Breaks);

impl Connect for Taking {
    type Stream = Breaks;

    async fn connect(&self) -> io::Result<Breaks> {
        Ok(self.0.clone())
    }

    fn peer(&self) -> SocketAddr {
        PEER
    }
}

/// Once a connection has shown what it carries, others have their turn between the parts of an upload, however fast
/// they leave.
#[tokio::test]
async fn others_have_their_turn_between_the_parts_of_an_upload() {
    const PIECE: usize = 64 << 10;
    const PIECES: usize = 384;
    let stream = Breaks::default();
    let channel = Channel::builder(&LEXST1).open(Taking(stream.clone()));
    let pieces = std::iter::repeat_n(Bytes::from_static(&[7; PIECE]), PIECES).map(Ok);
    let body = Body::from_stream((PIECES * PIECE) as u64, futures_util::stream::iter(pieces));
    let request = Packet::new(lexst1::app::ADD_LOG);
    let mut transfer = Box::pin(unconstrained(channel.transfer(request, body)));
    let mut turns = Vec::new();
    poll_fn(|cx| {
        assert!(transfer.poll_unpin(cx).is_pending(), "nobody answers");
        let taken = stream.0.lock().unwrap().taken;
        turns.push(taken);
        if taken < PIECES * PIECE { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let parts: Vec<_> = turns.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(turns[0] > 8 << 20 && turns[0] < 9 << 20, "{turns:?}");
    assert!(parts.iter().all(|part| *part <= 5 * PIECE) && parts.len() >= 50, "{parts:?}");
}

/// A server that looks again when the time of an entity is over, its next bytes are there, and its reader has used up
/// the turn.
#[tokio::test(start_paused = true)]
async fn where_a_reader_uses_up_the_turn_its_peer_is_not_slow() {
    const LEN: usize = 600_000;
    let limits = ServerLimits { entity_time: Duration::from_secs(5), ..ServerLimits::default() };
    let greedy = Arc::new(AtomicBool::new(false));
    let uses = Arc::clone(&greedy);
    let handler = handler_fn(move |request: Request| {
        let uses = Arc::clone(&uses);
        async move {
            let mut body = request.body.unwrap();
            let whole = poll_fn(|cx| {
                if uses.swap(false, Relaxed) {
                    use_up(cx);
                }
                loop {
                    match ready!(body.poll_chunk(cx)) {
                        Some(Ok(_)) => {}
                        end => return Poll::Ready(end.is_none()),
                    }
                }
            });
            assert!(whole.await, "the entity was cut");
            Packet::new(answer::OKAY).into()
        }
    });
    let key = PublicKey::new(&[0xff; 64], &[3]).unwrap();
    let server = Server::builder(handler).limits(limits).public_key(key).start().await.unwrap();
    let (here, mut there) = duplex(1 << 20);
    server.serve_stream(here, PEER, PEER).unwrap();
    let wire = Packet::new(notify::FLUSH_LOG).with_entity(vec![7; LEN]).to_bytes(&LAXCUS6).unwrap();
    let (first, rest) = wire.split_at(LEN / 2);
    there.write_all(first).await.unwrap();
    soon(|| server.stats().bytes_in_flight > 0).await;
    there.write_all(rest).now_or_never().unwrap().unwrap();
    greedy.store(true, Relaxed);
    tokio::time::advance(Duration::from_secs(6)).await;
    soon(|| !greedy.load(Relaxed)).await;
    let mut answer = vec![0; 64];
    assert!(there.read(&mut answer).await.unwrap() > 0, "it was taken for slow");
    assert_eq!(server.stats().timed_out, 0);
}
