//! A network laboratory: hosts and links for testing protocols, from a seed and on a virtual clock.
//!
//! The same seed gives the same run, byte for byte and nanosecond for nanosecond; an hour of it takes as long
//! as the work in it. Links delay, jitter, lose, duplicate, reorder and flip bits, have a bandwidth and an
//! MTU ([`LinkConfig`]); networks are partitioned and healed, hosts crash, connections are cut at a chosen
//! byte ([`Cut`]), single datagrams are picked out ([`Verdict`]). A test that fails prints its seed and leaves
//! a capture file for Wireshark.
//!
//! Streams and datagrams in async code, for which [`Stream`] and [`Socket`] stand in for tokio's:
//!
//! ```
//! use std::time::Duration;
//! use fixp_laboratory::{Laboratory, LinkConfig};
//! use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
//!
//! Laboratory::run("greeting", |lab| async move {
//!     let (a, b) = (lab.host("10.0.0.1".parse()?), lab.host("10.0.0.2".parse()?));
//!     lab.set_links(LinkConfig::default().with_delay(Duration::from_millis(20)).with_loss(0.1));
//!
//!     let listener = b.listen(6900)?;
//!     let server = tokio::spawn(async move {
//!         let (mut stream, _) = listener.accept().await?;
//!         stream.write_all(b"hello").await
//!     });
//!     let mut stream = a.connect("10.0.0.2:6900".parse()?).await?;
//!     let mut greeting = String::new();
//!     stream.read_to_string(&mut greeting).await?;
//!     assert_eq!(greeting, "hello");
//!     assert!(lab.now() >= Duration::from_millis(60));
//!     server.await??;
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! State machines without I/O need no runtime: [`Wire`] carries datagrams between any addresses with the
//! clock as an argument, and [`Link`] is one direction between two.
//!
//! # What makes a run repeatable, and what would not
//!
//! The runtime has one thread and a paused clock, which jumps to the next timer when every task waits. The
//! network keeps time in nanoseconds; tokio's timers, and so the program's view of it, in milliseconds. What
//! a program must do for its part: `select!` with `biased`, no threads, no other clock or random numbers than
//! those of tokio and the laboratory, no walking through a `HashMap`.

mod capture;
mod config;
mod connection;
mod cut;
mod driver;
mod headers;
mod host;
mod laboratory;
mod link;
mod pcapng;
mod random;
mod segment;
mod socket;
mod stream;
mod wire;
mod world;

pub use config::{HostConfig, LinkConfig};
pub use cut::{ConnectionId, Cut, Direction};
pub use host::{Host, Listener};
pub use laboratory::{Laboratory, NextConnection, Outcome};
pub use link::Link;
pub use random::Random;
pub use socket::Socket;
pub use stream::Stream;
pub use wire::{Delivery, Verdict, Wire};
