//! What a method may know of the call that it serves.

use std::time::Duration;

use fixp_transport::Peer;
use tokio::time::Instant;

/// Who calls, and until when. A method that wants it has a first parameter of this type.
///
/// ```
/// use fixp_rpc::Context;
///
/// #[fixp_rpc::service]
/// trait Whoami {
///     async fn address(&self, context: Context) -> String;
/// }
///
/// struct Mirror;
///
/// impl Whoami for Mirror {
///     async fn address(&self, context: Context) -> String {
///         context.peer.addr.to_string()
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Who calls.
    pub peer: Peer,
    /// When the caller stops waiting, where he said so. The work is dropped then.
    pub deadline: Option<Instant>,
}

impl Context {
    /// How long the caller still waits: what a call on his behalf has at most.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}
