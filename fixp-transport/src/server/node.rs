//! What every node does above the network server: heartbeats, the call for heartbeats, and SHUTDOWN.
//!
//! ```
//! use fixp_transport::Nobody;
//! use fixp_transport::server::node::{Helo, Node, ShutdownFrom, Verdict};
//! use fixp_transport::server::{Server, Stop};
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
//!
//! let stop = Stop::new();
//! let node = Node::new(Nobody)
//!     .with_membership(|helo: &Helo<'_>| {
//!         if helo.peer.addr.ip().is_loopback() { Verdict::ISee } else { Verdict::Unknown }
//!     })
//!     .with_shutdown(stop.clone(), ShutdownFrom::own_addresses());
//! let server = Server::builder(node).stop(stop).bind("127.0.0.1:0".parse().unwrap()).start().await?;
//! # Ok::<(), fixp_transport::server::ServerError>(())
//! # }).unwrap();
//! ```

use std::net::IpAddr;

use fixp_codec::{Packet, Value, laxcus6, lexst1};

use super::Stop;
use super::admission::AllowList;
use crate::handler::{Answer, Handler, Peer, Reply, Request};
use crate::host::{self, Transport};
use crate::tables;

/// Serves HELO, COMEBACK and SHUTDOWN over UDP (SPEC 11.13, 11.15, 11.16), and leaves everything else to the
/// handler inside.
///
/// Over TCP the recorded programs leave these, too, to the handler.
#[derive(Clone, Debug)]
pub struct Node<H, M = Everyone> {
    inner: H,
    membership: M,
    shutdown: Option<(Stop, ShutdownFrom)>,
}

/// A heartbeat that has come.
#[derive(Clone, Copy, Debug)]
pub struct Helo<'a> {
    /// Who says to be alive.
    pub site: &'a Site,
    /// Where the heartbeat came from.
    pub peer: &'a Peer,
}

/// A site as a heartbeat tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Site {
    /// laxcus6's.
    Laxcus6(host::Node),
    /// lexst1's.
    Lexst1 {
        /// What the site is for: 1 top, 2 home, 3 live, 4 log, 5 data, 6 call, 7 work, 8 build.
        kind: i32,
        /// Its address.
        ip: IpAddr,
        /// The TCP port of its communications server.
        tcp: u16,
        /// The UDP port of its communications server.
        udp: u16,
    },
}

/// What a hub makes of a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// It is one of ours: ISEE.
    ISee,
    /// A home node, seen by a top node: HOME_ISEE in lexst1, ISEE in laxcus6.
    HomeISee,
    /// A live node, seen by a top node: LIVE_ISEE in lexst1, ISEE in laxcus6.
    LiveISee,
    /// It has to log in (again): NOTLOGIN.
    NotLogin,
    /// It is not known here: no answer at all in lexst1, as its home nodes do it, NOTLOGIN in laxcus6.
    Unknown,
    /// Nobody can tell: SERVER_ERROR.
    ServerError,
}

/// Knows who belongs here. Called in the loop that reads datagrams: it must not block.
///
/// Any `Fn(&Helo<'_>) -> Verdict` is one, which hears no COMEBACK.
pub trait Membership: Send + Sync + 'static {
    /// Judges a heartbeat.
    fn helo(&self, helo: &Helo<'_>) -> Verdict;

    /// A hub asks this node for heartbeats at once: it is the heartbeat's client that sends them.
    fn comeback(&self, _peer: &Peer, _request: &Packet) {}
}

impl<F: Fn(&Helo<'_>) -> Verdict + Send + Sync + 'static> Membership for F {
    fn helo(&self, helo: &Helo<'_>) -> Verdict {
        self(helo)
    }
}

/// Everyone belongs here.
#[derive(Clone, Copy, Default, Debug)]
pub struct Everyone;

impl Membership for Everyone {
    fn helo(&self, _: &Helo<'_>) -> Verdict {
        Verdict::ISee
    }
}

/// Who may shut the server down. A source address is all that is asked: as in the programs, SHUTDOWN is no
/// safer than the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShutdownFrom {
    own: bool,
    list: AllowList,
}

impl ShutdownFrom {
    /// This host: what comes from a loopback address, or from the address that it came to.
    #[must_use]
    pub fn own_addresses() -> Self {
        Self { own: true, list: AllowList::nobody() }
    }

    /// Nobody, unless a list is added.
    #[must_use]
    pub fn nobody() -> Self {
        Self { own: false, list: AllowList::nobody() }
    }

    /// Only those of a list.
    #[must_use]
    pub const fn list(list: AllowList) -> Self {
        Self { own: false, list }
    }

    /// The same, and those of a list.
    #[must_use]
    pub fn and(mut self, list: AllowList) -> Self {
        self.list = list;
        self
    }

    /// Whether this peer may.
    #[must_use]
    pub fn allows(&self, peer: &Peer) -> bool {
        let (from, to) = (peer.addr.ip().to_canonical(), peer.local.ip().to_canonical());
        (self.own && (from.is_loopback() || from == to)) || self.list.allows(from)
    }
}

impl<H: Handler> Node<H> {
    /// A node of which everyone is a member and that nobody shuts down.
    pub const fn new(inner: H) -> Self {
        Self { inner, membership: Everyone, shutdown: None }
    }
}

impl<H: Handler, M: Membership> Node<H, M> {
    /// The same with its own members.
    #[must_use]
    pub fn with_membership<N: Membership>(self, membership: N) -> Node<H, N> {
        Node { inner: self.inner, membership, shutdown: self.shutdown }
    }

    /// The same, stopped by those who may.
    #[must_use]
    pub fn with_shutdown(mut self, stop: Stop, from: ShutdownFrom) -> Self {
        self.shutdown = Some((stop, from));
        self
    }

    fn laxcus6_helo(&self, request: &Request) -> Reply {
        use laxcus6::{answer, key};
        let Some(address) = request.packet.first(key::NODE_ADDRESS).and_then(Value::as_raw) else {
            return Reply::Silence;
        };
        let Some(site) = host::Node::read(address).map(Site::Laxcus6) else {
            return Packet::new(answer::CLIENT_ERROR).into();
        };
        let code = match self.membership.helo(&Helo { site: &site, peer: &request.peer }) {
            Verdict::ISee | Verdict::HomeISee | Verdict::LiveISee => answer::ISEE,
            Verdict::NotLogin | Verdict::Unknown => answer::NOTLOGIN,
            Verdict::ServerError => answer::SERVER_ERROR,
        };
        Packet::new(code).with(key::SPEAK, "i say helo!").into()
    }

    fn lexst1_helo(&self, request: &Request) -> Reply {
        use lexst1::{answer, key};
        let Some(site) = lexst1_site(&request.packet) else { return Reply::Silence };
        let (code, text) = match self.membership.helo(&Helo { site: &site, peer: &request.peer }) {
            Verdict::ISee => (answer::ISEE, "i accepted"),
            Verdict::HomeISee => (answer::HOME_ISEE, "hello"),
            Verdict::LiveISee => (answer::LIVE_ISEE, "hello"),
            Verdict::NotLogin => (answer::NOTLOGIN, "hello"),
            Verdict::ServerError => (answer::SERVER_ERROR, "hello"),
            Verdict::Unknown => return Reply::Silence,
        };
        Packet::new(code).with(key::SPEAK, text).into()
    }

    fn shutdown(&self, peer: &Peer) -> Reply {
        let habits = tables::of(peer.dialect);
        let allowed = self.shutdown.as_ref().filter(|(_, from)| from.allows(peer));
        let code = if allowed.is_some() { habits.okay } else { habits.refuse };
        if let Some((stop, _)) = allowed {
            // What has begun is finished, and so is the answer to this.
            tracing::info!(peer = %peer.addr, "shut down");
            stop.stop();
        }
        let answer = Answer::from(Packet::new(code).with(laxcus6::key::SPEAK, "goodbye!"));
        answer.in_copies(habits.shutdown_copies).into()
    }
}

impl<H: Handler, M: Membership> Handler for Node<H, M> {
    async fn handle(&self, request: Request) -> Reply {
        let peer = &request.peer;
        let habits = tables::of(peer.dialect);
        if peer.transport != Transport::Tcp {
            if request.packet.code == habits.helo {
                return if peer.dialect.name() == fixp_codec::LEXST1.name() {
                    self.lexst1_helo(&request)
                } else {
                    self.laxcus6_helo(&request)
                };
            }
            if request.packet.code == habits.comeback {
                self.membership.comeback(peer, &request.packet);
                return Reply::Silence;
            }
            if request.packet.code == habits.shutdown {
                return self.shutdown(peer);
            }
        }
        self.inner.handle(request).await
    }

    async fn finished(&self) {
        self.inner.finished().await;
    }
}

fn lexst1_site(packet: &Packet) -> Option<Site> {
    use lexst1::key;
    let number = |key| packet.first(key)?.as_i32();
    let port = |key| number(key).and_then(|port| u16::try_from(port).ok());
    Some(Site::Lexst1 {
        kind: number(key::SITE_TYPE)?,
        ip: packet.first(key::IP)?.as_str()?.parse().ok()?,
        tcp: port(key::TCPORT)?,
        udp: port(key::UDPORT)?,
    })
}
