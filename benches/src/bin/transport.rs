//! `fixp-transport` and its competitors, interleaved in one run.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use fixp_benches::rpc::tarpc;
use fixp_benches::transport::args::{self, Args, on};
use fixp_benches::transport::sample::{Sample, sample};
use fixp_benches::transport::table::{Table, verdict};
use fixp_benches::transport::{fixp, raw};
use fixp_transport::rate::RateLimiter;
use tokio::runtime::Handle;

static PAYLOAD: [u8; 64] = [7; 64];

fn main() -> ExitCode {
    args::main("transport", "echo, bulk, udp", run)
}

async fn run(args: Args, servers: Handle) -> usize {
    let servers = &servers;
    let mut missed = 0;
    let (_server, addr) = on(servers, fixp::serve()).await;
    let channel = Arc::new(fixp::channel(addr).await);
    if args.wants("echo") {
        let client = tarpc::client(on(servers, tarpc::serve()).await).await;
        let plain =
            Arc::new(tokio::sync::Mutex::new(raw::connect(on(servers, raw::serve_echo()).await).await));
        for (depth, bound) in [(1, 1.0), (64, 2.0), (256, 3.0)] {
            if !args.wants_depth(depth) {
                continue;
            }
            let mut table = Table::new(
                format!("echo of 64 bytes, {depth} in flight"),
                &["fixp", "tarpc", "raw, by hand"],
            );
            for round in 0..=args.rounds {
                for turn in 0..3 {
                    let row = (turn + round) % 3;
                    let time = args.turn(round, row);
                    let one = match row {
                        0 => {
                            let channel = Arc::clone(&channel);
                            let call = move || {
                                let channel = Arc::clone(&channel);
                                async move { fixp::echo(&channel, &PAYLOAD).await }
                            };
                            sample(depth, time, call).await
                        }
                        1 => {
                            let client = client.clone();
                            let call = move || {
                                let client = client.clone();
                                async move { tarpc::echo(&client, &PAYLOAD).await }
                            };
                            sample(depth, time, call).await
                        }
                        _ => {
                            // In a task of the runtime, as the others are.
                            let plain = Arc::clone(&plain);
                            let task =
                                async move { raw::echoes(&mut *plain.lock().await, depth, time).await };
                            tokio::spawn(task).await.expect("it does not panic")
                        }
                    };
                    // The first round warms up.
                    if round > 0 {
                        table.add(row, one);
                    }
                }
            }
            table.print(args.markdown);
            if args.ours {
                println!("  {:?}", channel.stats());
            }
            verdict(&mut missed, "rate, times tarpc's", table.ratio(1), bound, true);
            if depth == 256 {
                let p99 = |row| table.numbers(row, |sample: &Sample| sample.micros(0.99))[1];
                verdict(&mut missed, "p99, times tarpc's", p99(0) / p99(1), 0.5, false);
            }
            println!();
        }
    }
    if args.wants("bulk") {
        // A rate that is never reached.
        let limiter = RateLimiter::new(1 << 40);
        for (name, up) in [("bulk up, 1 MiB", true), ("bulk down, 1 MiB", false)] {
            let mut table = Table::new(name.to_owned(), &["fixp", "raw", "fixp, rate limiter on"]);
            let peer = if up {
                on(servers, raw::serve_uploads()).await
            } else {
                on(servers, raw::serve_downloads()).await
            };
            for round in 0..=args.rounds {
                // Each round with new connections, ours as theirs: the system tunes them by what they have done, and its
                // BBR now and then paces one for as long as it lives.
                let plain = (raw::connect(peer).await, vec![0; 64 << 10]);
                let plain = Arc::new(tokio::sync::Mutex::new(plain));
                let channel = Arc::new(fixp::channel(addr).await);
                let time = if round == 0 { args.time / 3 } else { args.time };
                for turn in 0..3 {
                    let row = (turn + round) % 3;
                    let one = if row == 1 {
                        let plain = Arc::clone(&plain);
                        let call = move || {
                            let plain = Arc::clone(&plain);
                            async move {
                                let (stream, buffer) = &mut *plain.lock().await;
                                if up {
                                    raw::upload(stream).await
                                } else {
                                    raw::download(stream, buffer).await
                                }
                            }
                        };
                        warmed(time, call).await
                    } else {
                        let channel = Arc::clone(&channel);
                        let limiter = (row == 2).then(|| limiter.clone());
                        let call = move || {
                            let channel = Arc::clone(&channel);
                            let limiter = limiter.clone();
                            async move { fixp::bulk(&channel, up, limiter.as_ref()).await }
                        };
                        warmed(time, call).await
                    };
                    if round > 0 {
                        table.add(row, one);
                    }
                }
            }
            table.print(args.markdown);
            verdict(&mut missed, "rate, of raw TCP's", table.ratio(1), 0.9, true);
            verdict(&mut missed, "with the limiter on, of that", 1.0 / table.ratio(2), 0.95, true);
            println!();
        }
    }
    if args.wants("udp") {
        let mut table = Table::new("udp ping-pong of 64 bytes".to_owned(), &["fixp", "raw"]);
        let client = fixp::datagrams(addr).await;
        let echo = on(servers, raw::serve_datagrams()).await;
        let plain = Arc::new(raw::datagrams().await);
        for round in 0..=args.rounds {
            let time = if round == 0 { args.time / 3 } else { args.time };
            for turn in 0..2 {
                let row = (turn + round) % 2;
                let one = if row == 0 {
                    let client = client.clone();
                    let call = move || {
                        let client = client.clone();
                        async move { fixp::ping(&client, addr, &PAYLOAD).await }
                    };
                    sample(1, time, call).await
                } else {
                    let plain = Arc::clone(&plain);
                    let call = move || {
                        let plain = Arc::clone(&plain);
                        async move { raw::ping(&plain, echo, &PAYLOAD).await }
                    };
                    sample(1, time, call).await
                };
                if round > 0 {
                    table.add(row, one);
                }
            }
        }
        table.print(args.markdown);
        let p50 = |row| table.numbers(row, |sample: &Sample| sample.micros(0.5))[1];
        verdict(&mut missed, "p50, times raw UDP's", p50(0) / p50(1), 1.3, false);
        println!();
    }
    missed
}

/// A turn on a connection that has just been made.
async fn warmed<C, R>(time: Duration, call: C) -> Sample
where
    C: Fn() -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    sample(1, time / 10, call.clone()).await;
    sample(1, time, call).await
}
