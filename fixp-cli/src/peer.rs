//! Whom `send`, `ping`, `load` and the calls talk to, and how.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use clap::ValueHint;
use fixp_codec::{Dialect, Packet};
use fixp_transport::channel::{CallOptions, Channel};
use fixp_transport::keep;
use fixp_transport::limits::ChannelLimits;
use fixp_transport::udp::{self, Security};
use fixp_transport::{CallError, Cause, Repeat};
use tokio::time::timeout;

use crate::dialects::{DEFAULT, named};
use crate::failure::Failure;
use crate::runtime;

/// How long the end of a conversation may take: nobody waits for it.
const GOODBYE: Duration = Duration::from_secs(1);

/// What is asked of a socket beside a request's own limits.
const HEAD: usize = 64 << 10;

/// The arguments of a command that talks to a peer.
#[derive(Debug, clap::Args)]
pub(crate) struct Peer {
    /// The peer, HOST:PORT; of a name with several addresses IPv4 is taken before IPv6
    #[arg(value_name = "ADDR", value_hint = ValueHint::Hostname)]
    addr: String,

    /// Send datagrams; otherwise everything goes over TCP
    #[arg(long)]
    pub(crate) udp: bool,

    /// Send over KEEP UDP: datagrams, and packets of any size cut into them
    #[arg(long, conflicts_with = "udp")]
    pub(crate) keep_udp: bool,

    /// The dialect to speak
    #[arg(long, value_name = "DIALECT", default_value = DEFAULT, value_parser = named())]
    pub(crate) dialect: &'static Dialect,

    /// Announce no extensions; otherwise they are, and used where the peer has them too
    #[arg(long)]
    no_extensions: bool,
}

/// How a peer is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// How long an answer, or a connection, may take.
    pub(crate) timeout: Duration,
    /// Requests under way at a time.
    pub(crate) depth: usize,
    /// Bytes of a request.
    pub(crate) size: usize,
    /// Whether laxcus6's SECURE_QUERY is asked before a datagram.
    pub(crate) security: Security,
    /// How long an answer that came too late keeps its UDP port from being used.
    pub(crate) quarantine: Duration,
    /// What KEEP UDP may send again.
    pub(crate) repeat: Repeat,
}

impl Manner {
    /// One request after another.
    pub(crate) fn one_by_one(timeout: Duration) -> Self {
        let (security, quarantine) = (Security::Always, udp::Config::QUARANTINE);
        Self { timeout, depth: 1, size: 0, security, quarantine, repeat: Repeat::Pieces }
    }
}

/// Where requests go.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Tcp(Channel),
    Udp(udp::Client, SocketAddr),
    Keep(keep::Client, SocketAddr, Repeat),
}

impl Peer {
    pub(crate) const fn transport(&self) -> &'static str {
        if self.udp {
            "udp"
        } else if self.keep_udp {
            "keep udp"
        } else {
            "tcp"
        }
    }

    /// Calls it, and ends the conversation in order.
    pub(crate) fn calling<T>(
        &self,
        timeout: Duration,
        work: impl AsyncFnOnce(&fixp_rpc::Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let addr = self.address()?;
        runtime::small(async {
            let client = self.rpc(addr, timeout).await?;
            let outcome = work(&client).await;
            client.close().await;
            outcome
        })
    }

    /// Where calls to it go.
    async fn rpc(&self, addr: SocketAddr, timeout: Duration) -> Result<fixp_rpc::Client, Failure> {
        if self.no_extensions {
            return Err(Failure::Usage(
                "calls are extensions: --no-extensions would not let them go".to_owned(),
            ));
        }
        if self.udp {
            let client = udp::Client::builder().dialect(self.dialect).timeout(timeout).build();
            return Ok(fixp_rpc::Client::over_udp(client, addr));
        }
        let channel = Channel::builder(self.dialect)
            .announce_first()
            .timeout(timeout)
            .connect_time(timeout)
            .heartbeat(None, timeout);
        let channel = if self.keep_udp { channel.keep_udp(addr) } else { channel.connect(addr).await? };
        Ok(fixp_rpc::Client::over(channel))
    }

    /// Its address.
    pub(crate) fn address(&self) -> Result<SocketAddr, Failure> {
        let failure = |error| Failure::Peer { name: self.addr.clone(), error };
        // A link-local address may name its interface: the system reads those, without the brackets.
        let host = self.addr.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
        let scoped = host
            .filter(|(host, _)| host.contains('%'))
            .and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let found = match scoped {
            Some((host, port)) => <(&str, u16)>::to_socket_addrs(&(host, port)),
            None => self.addr.to_socket_addrs(),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(Failure::Usage(format!("{:?} is not HOST:PORT", self.addr)));
            }
            Err(error) => return Err(failure(error)),
        };
        found
            .min_by_key(SocketAddr::is_ipv6)
            .ok_or_else(|| failure(io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
    }

    /// Connects, which over UDP is nothing.
    pub(crate) async fn connect(&self, addr: SocketAddr, manner: Manner) -> Result<Caller, CallError> {
        let bytes = manner.depth.saturating_mul(manner.size.saturating_add(HEAD));
        if self.udp {
            let client = udp::Client::builder()
                .dialect(self.dialect)
                .extensions(!self.no_extensions)
                .timeout(manner.timeout)
                .security(manner.security)
                .configure(|config| {
                    config.quarantine = manner.quarantine;
                    config.bytes = config.bytes.max(bytes);
                    config.requests = config.requests.max(manner.depth);
                });
            return Ok(Caller::Udp(client.build(), addr));
        }
        if self.keep_udp {
            let client = keep::Client::builder()
                .dialect(self.dialect)
                .extensions(!self.no_extensions)
                .timeout(manner.timeout)
                .security(manner.security)
                .configure(|config| {
                    config.bytes = config.bytes.max(bytes.saturating_mul(2));
                    config.requests = config.requests.max(manner.depth);
                    let entity = config.exchange.bounds.entity.max(manner.size);
                    config.exchange.bounds.entity = entity;
                    config.own.gather_answers = entity as u64;
                });
            return Ok(Caller::Keep(client.build(), addr, manner.repeat));
        }
        let limits = ChannelLimits {
            requests: manner.depth.max(ChannelLimits::REQUESTS),
            bytes: bytes.max(ChannelLimits::BYTES),
            entity: manner.size.max(ChannelLimits::ENTITY),
            ..ChannelLimits::default()
        };
        let channel = Channel::builder(self.dialect)
            .extensions(!self.no_extensions)
            .timeout(manner.timeout)
            .connect_time(manner.timeout)
            .depth(manner.depth)
            // Nothing goes over the wire but what was asked for.
            .heartbeat(None, manner.timeout)
            .limits(limits);
        Ok(Caller::Tcp(channel.connect(addr).await?))
    }
}

impl Caller {
    pub(crate) async fn call(&self, packet: Packet, time: Duration) -> Result<Packet, CallError> {
        match self {
            Self::Tcp(channel) => {
                channel.call_with(packet, CallOptions { timeout: Some(time), ..CallOptions::default() }).await
            }
            Self::Udp(client, addr) => {
                let options = udp::Options { timeout: Some(time), ..udp::Options::default() };
                client.request_with(*addr, packet, options).await
            }
            Self::Keep(client, addr, repeat) => {
                let options = keep::caller::Options { timeout: Some(time), repeat: *repeat, wait: true };
                client.request_with(*addr, packet, options).await
            }
        }
    }

    /// Sends what has no answer.
    pub(crate) async fn notice(&self, packet: Packet) -> Result<(), CallError> {
        match self {
            Self::Tcp(_) | Self::Keep(..) => Err(CallError::not_sent(Cause::Unexpected)),
            Self::Udp(client, addr) => client.notice(*addr, packet).await,
        }
    }

    /// How many ports it has open for plain datagrams.
    pub(crate) fn ports(&self) -> usize {
        if let Self::Udp(client, _) = self { client.stats().ports } else { 0 }
    }

    /// Ends it in order, if that does not take long.
    pub(crate) async fn close(self) {
        match self {
            Self::Tcp(channel) => timeout(GOODBYE, channel.close()).await.unwrap_or_default(),
            Self::Udp(client, _) => client.close(),
            Self::Keep(client, ..) => {
                client.close();
                timeout(GOODBYE, client.closed()).await.unwrap_or_default();
            }
        }
    }
}
