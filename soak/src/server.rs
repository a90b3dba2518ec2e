//! The process of the server. It answers every line of its standard input by one of JSON that says what it
//! holds, and ends with its input: no server outlives its conductor.

use std::io::{BufRead, Write};
use std::time::Duration;

use fixp_transport::limits::ServerLimits;
use fixp_transport::server::PublicKey;
use fixp_transport::{Echo, Server};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::{Failure, counting};

/// Threads of the server's runtime. Each has a buffer for reading, so their number is part of the start value.
const THREADS: usize = 2;

/// Serves until the standard input ends.
pub(crate) fn serve(connections: usize, head_time: Duration) -> Result<(), Failure> {
    let descriptors = rlimit::increase_nofile_limit(u64::MAX)?;
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let limits = ServerLimits {
        // All else as it is by default.
        connections: ServerLimits::CONNECTIONS.max(connections),
        head_time,
        ..ServerLimits::default()
    };
    // Any key will do: nobody encrypts by it, and making one is not what is measured.
    let key = PublicKey::new(&[0xc5; 128], &[1, 0, 1])?;
    let builder = Server::builder(Echo).limits(limits).public_key(key);
    let server = runtime.block_on(builder.bind(([127, 0, 0, 1], 0).into()).start())?;
    let addr = server.local_addr().ok_or("the server has no address")?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", json!({ "addr": addr.to_string(), "descriptors": descriptors }))?;
    for line in std::io::stdin().lock().lines() {
        line?;
        // Before anything is written: the words for it are not the server's.
        let (live, peak, stats) = (counting::live(), counting::peak(), server.stats());
        writeln!(
            output,
            "{}",
            json!({
                "live": live,
                "peak": peak,
                "resident": status("VmRSS:"),
                "resident_peak": status("VmHWM:"),
                "open": stats.open,
                "accepted": stats.accepted,
                "turned_away": stats.turned_away,
                "requests": stats.requests,
                "answers": stats.answers,
                "malformed": stats.malformed,
                "timed_out": stats.timed_out,
                "lost": stats.lost,
                "datagrams": stats.datagrams,
                "datagrams_dropped": stats.datagrams_dropped,
                "datagrams_sent": stats.datagrams_sent,
                "cut": stats.cut,
                "bytes_in_flight": stats.bytes_in_flight,
            })
        )?;
    }
    runtime.block_on(server.shutdown(Duration::from_secs(5)));
    Ok(())
}

/// A number of kibibytes that Linux tells of a process, in bytes; null where it is not Linux.
fn status(name: &str) -> Value {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number =
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    number.map_or(Value::Null, |kibibytes: u64| (kibibytes * 1024).into())
}
