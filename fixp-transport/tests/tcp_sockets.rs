//! What a channel asks of the system for its connections.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixp_codec::{LAXCUS6, LEXST1};
use fixp_transport::socket::{Connect, TcpConnector};
use fixp_transport::{Channel, ChannelBuilder, Echo, Server, server::PublicKey};
use socket2::SockRef;
use tokio::net::TcpStream;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The keep-alive of a socket: after how much silence it is tried, how far apart, and how often.
type KeepAlive = Option<(Duration, Duration, u32)>;

fn keep_alive(stream: &TcpStream) -> io::Result<KeepAlive> {
    let socket = SockRef::from(stream);
    if !socket.keepalive()? {
        return Ok(None);
    }
    let (time, interval) = (socket.tcp_keepalive_time()?, socket.tcp_keepalive_interval()?);
    Ok(Some((time, interval, socket.tcp_keepalive_retries()?)))
}

/// Connects over TCP, and looks at what that makes.
struct Looking(TcpConnector, Arc<Mutex<Vec<KeepAlive>>>);

impl Connect for Looking {
    type Stream = TcpStream;

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = self.0.connect().await?;
        self.1.lock().unwrap().push(keep_alive(&stream)?);
        Ok(stream)
    }

    fn peer(&self) -> SocketAddr {
        self.0.peer()
    }

    fn set_keep_alive(&mut self, after: Duration, time: Duration) {
        self.0.set_keep_alive(after, time);
    }
}

async fn seen(builder: ChannelBuilder, connector: TcpConnector) -> KeepAlive {
    let seen = Arc::default();
    let channel = builder.open(Looking(connector, Arc::clone(&seen)));
    channel.ready().await.unwrap();
    channel.close().await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    seen[0]
}

/// SPEC 11.17: what TEST and PING do for others TCP does for lexst1, however the channel was made, and a peer that has
/// gone is found in the same time: that of all tries.
#[tokio::test]
async fn a_channel_without_a_request_for_it_is_kept_alive_by_the_system() {
    let key = PublicKey::new(&[0xff; 64], &[1, 0, 1]).unwrap();
    let server = Server::builder(Echo).bind("127.0.0.1:0".parse().unwrap()).public_key(key);
    let server = server.start().await.unwrap();
    let connector = || TcpConnector::new(server.local_addr().unwrap());
    for (after, time, expected) in [
        (seconds(30), seconds(10), (seconds(30), seconds(2), 5)),
        (seconds(60), seconds(60), (seconds(60), seconds(15), 4)),
        (seconds(5), seconds(3), (seconds(5), seconds(1), 3)),
        // The system counts in seconds, from 1 to 32767.
        (Duration::ZERO, Duration::from_millis(1), (seconds(1), seconds(1), 1)),
        (Duration::MAX, Duration::MAX, (seconds(32767), seconds(8191), 5)),
    ] {
        let builder = Channel::builder(&LEXST1).heartbeat(Some(after), time);
        assert_eq!(seen(builder, connector()).await, Some(expected));
    }
    assert_eq!(seen(Channel::builder(&LEXST1).heartbeat(None, seconds(10)), connector()).await, None);
    assert_eq!(seen(Channel::builder(&LAXCUS6), connector()).await, None);
    // What the connector was told before stays.
    let told = connector().with_keep_alive(seconds(8));
    let expected = Some((seconds(8), seconds(2), 4));
    assert_eq!(seen(Channel::builder(&LEXST1), told.clone()).await, expected);
    assert_eq!(seen(Channel::builder(&LAXCUS6), told).await, expected);
}
