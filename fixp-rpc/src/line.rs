//! The way to one peer: what calls go over, our own and those of the programs.

use std::net::SocketAddr;
use std::time::Duration;

use fixp_codec::{Dialect, Packet};
use fixp_transport::{CallError, CallOptions, Channel, Repeat, udp};

/// Clones share it.
#[derive(Clone)]
pub(crate) enum Line {
    /// TCP, or KEEP UDP.
    Channel(Channel),
    /// Plain UDP.
    Udp(udp::Client, SocketAddr),
}

/// How often a call over UDP that may be repeated leaves again, and after how much silence.
const UDP_REPEAT: udp::Repeat = udp::Repeat::Harmless { times: 3, every: Duration::from_millis(500) };

impl Line {
    /// The dialect in which calls go.
    pub(crate) fn dialect(&self) -> &'static Dialect {
        match self {
            Self::Channel(channel) => channel.dialect(),
            Self::Udp(client, _) => client.dialect(),
        }
    }

    /// Sends a request, within this time or its own.
    pub(crate) async fn send(
        &self,
        packet: Packet,
        repeat: Repeat,
        timeout: Option<Duration>,
    ) -> Result<Packet, CallError> {
        match self {
            Self::Channel(channel) => {
                channel.call_with(packet, CallOptions { timeout, repeat, ..CallOptions::default() }).await
            }
            Self::Udp(client, peer) => {
                let repeat = if repeat == Repeat::Harmless { UDP_REPEAT } else { udp::Repeat::Never };
                let options = udp::Options { timeout, repeat, ..udp::Options::default() };
                client.request_with(*peer, packet, options).await
            }
        }
    }

    /// Ends it in order. Clones end with it.
    pub(crate) async fn close(self) {
        match self {
            Self::Channel(channel) => channel.close().await,
            Self::Udp(client, _) => client.close(),
        }
    }
}
