//! A [`Channel`] as a `tower::Service`, for tower's layers on the client's side: retries, balancing, limits.
//!
//! ```
//! use fixp_codec::{LAXCUS6, Packet, laxcus6::notify};
//! use fixp_transport::channel::tower::ChannelService;
//! use fixp_transport::{Channel, Echo, Server};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//!
//! let server = Server::builder(Echo).bind("127.0.0.1:0".parse().unwrap()).start().await.unwrap();
//! let channel = Channel::builder(&LAXCUS6).connect(server.local_addr().unwrap()).await.unwrap();
//!
//! let mut service = ServiceBuilder::new().concurrency_limit(8).service(ChannelService::new(channel));
//! let answer = service.ready().await.unwrap().call(Packet::new(notify::FLUSH_LOG)).await.unwrap();
//! # let _ = answer;
//! # });
//! ```

use std::pin::Pin;
use std::task::{Context, Poll};

use fixp_codec::Packet;
use tower_service::Service;

use super::{CallOptions, Channel};
use crate::error::CallError;

/// A channel as a service of packets. It is always ready: a call waits for room in the channel by itself.
///
/// Its error says what a retry needs to know: after [`Fate::NotSent`](crate::Fate::NotSent) every request may
/// be sent again, after [`Fate::PossiblyExecuted`](crate::Fate::PossiblyExecuted) only a harmless one.
#[derive(Clone, Debug)]
pub struct ChannelService {
    channel: Channel,
    options: CallOptions,
}

impl ChannelService {
    /// The service of a channel.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self { channel, options: CallOptions::default() }
    }

    /// The same with options for every call.
    #[must_use]
    pub const fn with(mut self, options: CallOptions) -> Self {
        self.options = options;
        self
    }
}

impl Service<Packet> for ChannelService {
    type Response = Packet;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Packet, CallError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: Packet) -> Self::Future {
        let (channel, options) = (self.channel.clone(), self.options);
        Box::pin(async move { channel.call_with(packet, options).await })
    }
}
