//! `fixp-rpc` and its competitors, interleaved in one run.

use std::process::ExitCode;
use std::time::Duration;

use fixp_benches::rpc::allocations::Counting;
use fixp_benches::rpc::{capnp, fixp, tarpc, tonic};
use fixp_benches::transport::args::{self, Args, on};
use fixp_benches::transport::sample::{Sample, sample};
use fixp_benches::transport::table::{Table, verdict};
use tokio::runtime::Handle;

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

static SMALL: [u8; 64] = [7; 64];
static LARGE: [u8; 22 << 10] = [7; 22 << 10];

const ROWS: [&str; 4] = ["fixp", "tarpc", "tonic", "capnp-rpc"];

fn main() -> ExitCode {
    args::main("rpc", "64 bytes, 22 KiB, allocations", run)
}

/// A client of each.
struct Clients {
    fixp: fixp::EchoClient,
    tarpc: tarpc::EchoClient,
    tonic: ::tonic::transport::Channel,
    capnp: capnp::Client,
}

/// Calls made by a task again and again.
macro_rules! by_tasks {
    ($of:ident, $clients:ident, $payload:ident, $depth:ident, $time:ident) => {{
        let client = $clients.$of.clone();
        let call = move || {
            let client = client.clone();
            async move { $of::echo(&client, $payload).await }
        };
        sample($depth, $time, call).await
    }};
}

impl Clients {
    async fn sample(&self, row: usize, payload: &'static [u8], depth: usize, time: Duration) -> Sample {
        match row {
            0 => by_tasks!(fixp, self, payload, depth, time),
            1 => by_tasks!(tarpc, self, payload, depth, time),
            2 => by_tasks!(tonic, self, payload, depth, time),
            _ => self.capnp.sample(payload, depth, time).await,
        }
    }
}

async fn run(args: Args, servers: Handle) -> usize {
    let (_server, addr) = on(&servers, fixp::serve()).await;
    let clients = Clients {
        fixp: fixp::client(addr).await,
        tarpc: tarpc::client(on(&servers, tarpc::serve()).await).await,
        tonic: tonic::client(on(&servers, tonic::serve()).await).await,
        capnp: capnp::client(args.one_core()).await,
    };
    let mut missed = 0;
    for (name, payload, held) in [("64 bytes", &SMALL[..], true), ("22 KiB", &LARGE, false)] {
        for depth in [1, 16, 64, 256, 1024] {
            if !args.wants(name) || !args.wants_depth(depth) {
                continue;
            }
            let mut table = Table::new(format!("call of {name}, {depth} in flight"), &ROWS);
            for round in 0..=args.rounds {
                for turn in 0..ROWS.len() {
                    let row = (turn + round) % ROWS.len();
                    let one = clients.sample(row, payload, depth, args.turn(round, row)).await;
                    // The first round warms up.
                    if round > 0 {
                        table.add(row, one);
                    }
                }
            }
            table.print(args.markdown);
            compare(&table, depth, held, &mut missed);
            println!();
        }
    }
    if args.wants("allocations") {
        allocations(&args, &clients).await;
    }
    missed
}

/// Ours beside the best of them: the best rate of any, the best p99 of any.
fn compare(table: &Table, depth: usize, held: bool, missed: &mut usize) {
    let rate = (1..ROWS.len()).map(|row| table.ratio(row)).fold(f64::MAX, f64::min);
    let p99 = |row| table.numbers(row, |sample: &Sample| sample.micros(0.99))[1];
    let p99 = (1..ROWS.len()).map(|row| p99(0) / p99(row)).fold(0.0, f64::max);
    match (held, depth) {
        (true, 1) => verdict(missed, "rate, times the best of them", rate, 1.0, true),
        (true, 64..) => verdict(missed, "rate, times the best of them", rate, 2.0, true),
        _ => println!("  rate, times the best of them: {rate:.2}"),
    }
    match (held, depth) {
        (true, 256) => verdict(missed, "p99, times the best of them", p99, 0.5, false),
        _ => println!("  p99, times the best of them: {p99:.2}"),
    }
}

/// What a call costs in memory that is asked for, by client and server together.
async fn allocations(args: &Args, clients: &Clients) {
    println!("allocations of a call, client and server together");
    for (name, payload) in [("64 bytes", &SMALL[..]), ("22 KiB", &LARGE)] {
        for depth in [1, 64] {
            for (row, competitor) in ROWS.into_iter().enumerate() {
                clients.sample(row, payload, depth, args.time / 3).await;
                ALLOCATOR.start();
                let calls = clients.sample(row, payload, depth, args.time).await.count() as f64;
                let count = ALLOCATOR.stop();
                let (times, bytes) = (count.calls as f64 / calls, count.bytes as f64 / calls);
                println!(
                    "  {name}, {depth:>2} in flight  {competitor:10} {times:>6.1}, of {bytes:>8.0} bytes"
                );
            }
        }
    }
}
