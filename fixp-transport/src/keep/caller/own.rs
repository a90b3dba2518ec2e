//! The own transport's part: one endpoint for each address family, on its first port, one association for each peer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use fixp_codec::{Dialect, Packet};

use super::{Port, Ticket};
use crate::keep::own::{self, AssociationId, Endpoint};
use crate::{CallError, Cause};

/// The endpoint of a port.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) port: Port,
    pub(super) endpoint: Endpoint,
    associations: BTreeMap<SocketAddr, AssociationId>,
    tickets: BTreeMap<own::Ticket, Ticket>,
    /// The timer that stands for it.
    pub(super) timer: Option<Instant>,
    /// Whether it stands in the outbox.
    pub(super) queued: bool,
}

impl Own {
    pub(super) fn new(port: Port, endpoint: Endpoint) -> Self {
        let (associations, tickets) = Default::default();
        Self { port, endpoint, associations, tickets, timer: None, queued: false }
    }

    /// Begins an exchange, in an association that is opened for it if there is none.
    pub(super) fn request(
        &mut self,
        now: Instant,
        to: SocketAddr,
        dialect: &'static Dialect,
        packet: &Packet,
        ticket: Ticket,
    ) -> Result<own::Ticket, CallError> {
        let known = self.associations.get(&to).copied();
        let first = known.map(|association| self.endpoint.request(now, association, packet.clone()));
        let begun = match first {
            // One that has just ended is not told of yet.
            None | Some(Err(CallError { cause: Cause::Closed, .. })) => {
                let association = self.endpoint.connect(now, to, dialect);
                self.associations.insert(to, association);
                self.endpoint.request(now, association, packet.clone())
            }
            Some(begun) => begun,
        };
        let begun = begun?;
        self.tickets.insert(begun, ticket);
        Ok(begun)
    }

    /// Whose exchange it was. It has ended.
    pub(super) fn take(&mut self, ticket: own::Ticket) -> Option<Ticket> {
        self.tickets.remove(&ticket)
    }

    /// Ends an exchange that nobody waits for.
    pub(super) fn cancel(&mut self, now: Instant, ticket: own::Ticket) {
        if self.tickets.remove(&ticket).is_some() {
            self.endpoint.cancel(now, ticket);
        }
    }

    /// An association has ended, or is of no more use.
    pub(super) fn forget(&mut self, association: AssociationId) {
        self.associations.retain(|_, known| *known != association);
    }

    /// Ends the association with a peer in order.
    pub(super) fn close(&mut self, now: Instant, to: SocketAddr) {
        if let Some(association) = self.associations.remove(&to) {
            self.endpoint.close(now, association);
        }
    }
}
