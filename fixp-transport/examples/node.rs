//! A whole node: its options from a TOML file, heartbeats, SHUTDOWN, and an echo of everything else.
//!
//!     cargo run --example node -- [server.toml]

use std::error::Error;

use fixp_transport::server::config::Config;
use fixp_transport::server::{Node, Stop};
use fixp_transport::{Echo, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = match std::env::args().nth(1) {
        Some(file) => Config::from_toml(&std::fs::read_to_string(file)?)?,
        None => Config { listen: vec!["127.0.0.1:5000".parse()?], ..Config::default() },
    };
    let stop = Stop::new();
    let node = Node::new(Echo).with_shutdown(stop.clone(), config.shutdown_from());
    let server: Server<_> = config.builder(node).stop(stop.clone()).start().await?;
    for addr in server.local_addrs() {
        println!("listening on {addr}, over TCP and UDP");
    }
    tokio::select! {
        () = stop.stopped() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    let report = server.shutdown(config.shutdown.deadline).await;
    println!("{} requests cut off; {:?}", report.cut, report.stats);
    Ok(())
}
