//! Bodies under a rate that they share: whose turn it is, and what that is worth. On a clock that is turned by hand.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::time::Duration;

use bytes::Bytes;
use fixp_transport::rate::RateLimiter;
use fixp_transport::{Body, BodyError};
use futures_util::future::join_all;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::{Instant, timeout};

const RATE: u64 = 1 << 20;
const LEN: u64 = 64 << 20;
const TIME: Duration = Duration::from_secs(10);

/// Pieces of this length, which are all there.
fn pieces(len: usize) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::iter((0..LEN as usize / len).map(move |_| Ok(Bytes::from(vec![7; len]))))
}

/// The same where each is there only when the source is asked once more.
fn tardy(len: usize) -> impl Stream<Item = io::Result<Bytes>> + Send {
    pieces(len).then(|piece| async {
        tokio::task::yield_now().await;
        piece
    })
}

/// The bytes of a body that come within [`TIME`].
async fn taken(mut body: Body) -> usize {
    let mut came = 0;
    let _ = timeout(TIME, async {
        while let Some(piece) = body.chunk().await {
            came += piece.unwrap().len();
        }
    })
    .await;
    came
}

fn assert_shared(got: &[usize]) {
    let (all, rate) = (got.iter().sum::<usize>() as f64, (RATE * TIME.as_secs()) as f64);
    // What may go at once is there at the beginning.
    assert!((0.98..1.01).contains(&(all / rate)), "{all} of {rate}");
    for came in got {
        let share = *came as f64 * got.len() as f64 / all;
        assert!((0.96..1.04).contains(&share), "{share} of a fair share: {got:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_shared_by_bytes_whatever_the_pieces() {
    let rate = RateLimiter::new(RATE);
    let body = |len| Body::from_stream(LEN, pieces(len)).paced(&rate);
    for lens in [&[64 << 10, 4 << 10, 1 << 10][..], &[10, 50_000, 100_000]] {
        let got = join_all(lens.iter().map(|len| taken(body(*len)))).await;
        assert_shared(&got);
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_shared_with_sources_that_take_a_moment() {
    let rate = RateLimiter::new(RATE);
    let whole = Body::from_bytes(vec![7; LEN as usize]).paced(&rate);
    let tardy = |len| Body::from_stream(LEN, tardy(len)).paced(&rate);
    let got = join_all([whole, tardy(64 << 10), tardy(1 << 10)].map(taken)).await;
    assert_shared(&got);
}

/// Who has little takes no more of the rate than that: the others need not wait for what it does not send.
#[tokio::test(start_paused = true)]
async fn a_source_that_is_slow_holds_no_turn() {
    let rate = RateLimiter::new(RATE);
    let slow = |_| {
        let piece = stream::iter([Ok(Bytes::from(vec![7; 1 << 10]))]);
        Body::from_stream(LEN, piece.chain(stream::pending())).paced(&rate)
    };
    let ready = Body::from_stream(LEN, pieces(64 << 10)).paced(&rate);
    let got = join_all((0..100).map(slow).chain([ready]).map(taken)).await;
    assert_eq!(got[..100], [1 << 10; 100]);
    assert!(got[100] as u64 > RATE * TIME.as_secs() * 98 / 100, "{}", got[100]);
}

/// A turn that is waited for no longer is the others'.
#[tokio::test(start_paused = true)]
async fn who_leaves_the_line_is_not_waited_for() {
    let rate = RateLimiter::new(RATE);
    let mut line: Vec<_> = (0..100).map(|_| Body::from_bytes(vec![7; 1 << 20]).paced(&rate)).collect();
    for body in &mut line {
        let _ = timeout(Duration::ZERO, body.chunk()).await;
    }
    drop(line);
    let begun = Instant::now();
    Body::from_bytes(vec![7; 64 << 10]).paced(&rate).chunk().await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
}

/// Nothing is lost of what is read ahead, nor told out of order.
#[tokio::test(start_paused = true)]
async fn what_is_read_ahead_comes_before_the_error_behind_it() {
    let rate = RateLimiter::new(RATE);
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| at as u8).collect();
    for len in [1, 999, 50_000, 70_000] {
        let pieces: Vec<_> = bytes.chunks(len).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let broken = stream::iter(pieces).chain(stream::iter([Err(io::ErrorKind::BrokenPipe.into())]));
        // Of two rates the slower counts.
        let mut body = Body::from_stream(LEN, broken).paced(&rate);
        let mut came = body.chunk().await.unwrap().unwrap().to_vec();
        body = body.paced(&RateLimiter::new(RATE / 2));
        let error = loop {
            match body.chunk().await.unwrap() {
                Ok(piece) => came.extend_from_slice(&piece),
                Err(error) => break error,
            }
        };
        assert_eq!(error, BodyError::Source(io::ErrorKind::BrokenPipe));
        assert!(came == bytes, "{} bytes", came.len());
        assert_eq!(body.chunk().await, None);
    }
}

/// The limit is one of bytes, wherever they are.
#[tokio::test(start_paused = true)]
async fn what_is_read_ahead_is_collected_within_the_limit() {
    let rate = RateLimiter::new(RATE);
    let first = async || {
        let mut body = Body::from_bytes(vec![7; 200_000]).paced(&rate);
        let left = 200_000 - body.chunk().await.unwrap().unwrap().len();
        (body, left)
    };
    let (body, left) = first().await;
    assert_eq!(body.collect(left - 1).await, Err(BodyError::TooLarge { len: left as u64, limit: left - 1 }));
    let (body, left) = first().await;
    assert_eq!(body.collect(left).await.unwrap().len(), left);
}
