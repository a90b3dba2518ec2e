//! KEEP UDP and its competitors, interleaved in one run.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use fixp_benches::keep::bulk::{BYTES, Call, Way, call};
use fixp_benches::keep::quic::{Identity, Tuning};
use fixp_benches::keep::{fixp, kcp, legacy, link, link_fixp, link_kcp, link_quic, quinn, tcp};
use fixp_benches::transport::args::{self, Args, on};
use fixp_benches::transport::fixp::BULK;
use fixp_benches::transport::raw;
use fixp_benches::transport::sample::{Sample, sample};
use fixp_benches::transport::table::{Table, verdict};
use fixp_transport::keep::own::Config;
use tokio::runtime::Handle;

fn main() -> ExitCode {
    args::main("keep", "bulk up, bulk down, ping, legacy, link", async |args, servers| {
        sockets(&args, &servers).await + laboratory(&args)
    })
}

/// Every row has its turn in every round; the order turns from round to round.
async fn contest(args: &Args, name: String, rows: Vec<(&'static str, Call)>, depth: usize) -> Table {
    let names: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
    let mut table = Table::new(name, &names);
    for round in 0..=args.rounds {
        for turn in 0..rows.len() {
            let row = (turn + round) % rows.len();
            let call = rows[row].1.clone();
            let one = sample(depth, args.turn(round, row), move || call()).await;
            // The first round warms up.
            if round > 0 {
                table.add(row, one);
            }
        }
    }
    table.print(args.markdown);
    table
}

async fn sockets(args: &Args, servers: &Handle) -> usize {
    let mut missed = 0;
    let (_server, addr) = on(servers, fixp::serve()).await;
    for (direction, way) in [("up", Way::Up), ("down", Way::Down)] {
        for depth in [1, 4] {
            let name = format!("bulk {direction}, 1 MiB, {depth} in flight");
            if args.wants(&name) && args.wants_depth(depth) {
                missed += bulk(args, servers, addr, name, way, depth).await;
            }
        }
    }
    let name = "ping-pong of 64 bytes".to_owned();
    if args.wants(&name) {
        let ours = fixp::client(addr, true).await;
        let (echo, socket) = (on(servers, raw::serve_datagrams()).await, Arc::new(raw::datagrams().await));
        let by_hand = call(move || {
            let socket = Arc::clone(&socket);
            async move { raw::ping(&socket, echo, &BYTES[..64]).await }
        });
        let rows = vec![("fixp", fixp::echo(ours, addr, 64)), ("raw UDP", by_hand)];
        let table = contest(args, name, rows, 1).await;
        let micros = |row, quantile| table.numbers(row, |sample: &Sample| sample.micros(quantile))[1];
        verdict(&mut missed, "p50, times raw UDP's", micros(0, 0.5) / micros(1, 0.5), 1.3, false);
        verdict(&mut missed, "p99, times raw UDP's", micros(0, 0.99) / micros(1, 0.99), 3.0, false);
        println!();
    }
    let name = "legacy, 1 MiB and 1 MiB back in pieces of 480 bytes".to_owned();
    if args.wants(&name) {
        let ours = fixp::client(addr, false).await;
        let by_hand = legacy::raw(on(servers, legacy::serve_raw()).await).await;
        let rows = vec![("fixp", fixp::echo(ours, addr, BULK)), ("raw, the same datagrams", by_hand)];
        let table = contest(args, name, rows, 1).await;
        verdict(&mut missed, "time, times raw's", 1.0 / table.ratio(1), 4.0, false);
        println!();
    }
    missed
}

async fn bulk(
    args: &Args,
    servers: &Handle,
    addr: SocketAddr,
    name: String,
    way: Way,
    depth: usize,
) -> usize {
    let identity = Arc::new(Identity::new());
    let mut rows: Vec<(&'static str, Call)> = Vec::new();
    rows.push(("fixp", fixp::bulk(fixp::client(addr, true).await, addr, way)));
    for (name, tuning) in [
        ("quinn", Tuning::Default),
        ("quinn, windows", Tuning::Windows),
        ("quinn, loopback", Tuning::Loopback),
    ] {
        let of = Arc::clone(&identity);
        let addr = on(servers, async move { quinn::serve(&of, tuning).await }).await;
        rows.push((name, quinn::client(addr, &identity, tuning, way).await));
    }
    for (name, config) in [("tokio_kcp, fastest", kcp::fastest()), ("tokio_kcp, flushed", kcp::flushed())] {
        let addr = on(servers, kcp::serve(config)).await;
        rows.push((name, kcp::client(addr, config, way, depth).await));
    }
    let addr = on(servers, tcp::serve()).await;
    rows.push(("raw TCP", tcp::client(addr, way, depth).await));
    let table = contest(args, name, rows, depth).await;
    // The best of each is what counts.
    let times = |rows: std::ops::Range<usize>| rows.map(|row| table.ratio(row)).fold(f64::INFINITY, f64::min);
    let mut missed = 0;
    verdict(&mut missed, "rate, times quinn's", times(1..4), 1.0, true);
    verdict(&mut missed, "rate, times tokio_kcp's", times(4..6), 10.0, true);
    println!("  aim: rate, of raw TCP's: {:.2}, 0.50", table.ratio(6));
    println!();
    missed
}

fn laboratory(args: &Args) -> usize {
    let mut missed = 0;
    for (loss, bound) in [(0.0, None), (0.01, Some(0.9)), (0.05, Some(0.7))] {
        let name = format!("link of 100 Mbit/s and 50 ms, {:.0}% lost", loss * 100.0);
        if !args.wants(&name) {
            continue;
        }
        let name = format!("{name}, seeds 1 to {}", args.seeds);
        if args.markdown {
            println!(
                "| {name} | share of the link, min | median | max | sent, median |\n|---|---|---|---|---|"
            );
        } else {
            println!("{name}");
        }
        let start = Instant::now();
        let ours = [("fixp", 1), ("fixp, 4 exchanges at once", 4)];
        let mut reached = Vec::new();
        for (name, exchanges) in ours {
            let share = shares(args, name, |seed| {
                let mut sender = link_fixp::End::sender(start, Config::default(), seed, exchanges);
                let mut receiver = link_fixp::End::receiver(Config::default(), seed);
                link::transfer(&mut sender, &mut receiver, start, seed, loss)
            });
            reached.push((name, share));
        }
        if !args.ours {
            theirs(args, start, loss);
        }
        if let Some(bound) = bound {
            for (name, share) in reached {
                verdict(&mut missed, &format!("{name}, the least share"), share, bound, true);
            }
        }
        println!();
    }
    missed
}

fn theirs(args: &Args, start: Instant, loss: f64) {
    let identity = Identity::new();
    for (name, tuning) in [("quinn-proto, CUBIC", Tuning::Windows), ("quinn-proto, BBR", Tuning::Bbr)] {
        shares(args, name, |seed| {
            let mut sender = link_quic::End::sender(start, &identity, tuning, seed);
            let mut receiver = link_quic::End::receiver(&identity, tuning, seed);
            link::transfer(&mut sender, &mut receiver, start, seed, loss)
        });
    }
    for window in link_kcp::WINDOWS {
        shares(args, &format!("kcp, window {window}"), |seed| {
            let mut sender = link_kcp::End::new(start, window, true);
            let mut receiver = link_kcp::End::new(start, window, false);
            link::transfer(&mut sender, &mut receiver, start, seed, loss)
        });
    }
}

/// Runs all seeds; gives the least share.
fn shares(args: &Args, name: &str, of: impl Fn(u64) -> link::Transfer) -> f64 {
    let sorted = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        [numbers[0], numbers[numbers.len() / 2], numbers[numbers.len() - 1]]
    };
    let all: Vec<link::Transfer> = (1..=args.seeds).map(of).collect();
    let [min, median, max] = sorted(all.iter().map(|one| one.share).collect());
    let [_, sent, _] = sorted(all.iter().map(|one| one.sent).collect());
    if args.markdown {
        println!("| {name} | {min:.3} | {median:.3} | {max:.3} | {sent:.3} |");
    } else {
        println!("  {name:28} {min:>9.3} {median:>9.3} {max:>9.3} of the link, sent {sent:.3}");
    }
    min
}
