//! What leaves: requests, the question before them, and the word that nobody waits.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use fixp_codec::{Dialect, Encoder, Packet};

use super::{ANNOUNCEMENT, Call, Exchange, Out, Port, Stage, Ticket, Transmit};
use crate::extension::{self, Capabilities, key};
use crate::udp::peers::Kind;
use crate::udp::{MAX_DATAGRAM, bind_ip, security};
use crate::{Cause, tables};

impl Exchange {
    /// The next datagram to be sent. Its fate goes to [`Exchange::handle_transmitted`].
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        loop {
            match self.outbox.pop_front()? {
                Out::Call(ticket) => {
                    if let Some(transmit) = self.transmit(now, ticket) {
                        return Some(transmit);
                    }
                }
                Out::Cancel { port, to, serial } => {
                    let packet = Packet::new(extension::CANCEL)
                        .with(key::CAPABILITIES, Capabilities::OURS.in_request())
                        .with(key::SERIAL, serial);
                    if let Some(bytes) = self.encode(port, to, packet, extension::own(self.config.dialect)) {
                        return Some(Transmit { ticket: None, port, to, bytes, copy: 0 });
                    }
                }
            }
        }
    }

    fn transmit(&mut self, now: Instant, ticket: Ticket) -> Option<Transmit> {
        let call = self.calls.get_mut(&ticket)?;
        call.queued = false;
        let (to, stage) = (call.peer, call.stage);
        let port = stage.port()?;
        let left = call.deadline.saturating_duration_since(now);
        let mut packet = if let Stage::Query { .. } = stage {
            Packet::new(security::QUERY)
        } else {
            call.copies += 1;
            call.sent.get_or_insert(now);
            match stage {
                // The only copy: nothing but its code is looked at again.
                Stage::Own { .. } if call.times == 0 => {
                    let code = call.packet.code;
                    std::mem::replace(&mut call.packet, Packet::new(code))
                }
                _ => call.packet.clone(),
            }
        };
        let (copies, notice) = (call.copies, call.notice);
        match stage {
            Stage::Waiting => return None,
            Stage::Query { .. } => {
                self.stats.queries += 1;
                if self.announcing(&self.calls[&ticket], port, &packet) {
                    packet = packet.with(key::CAPABILITIES, Capabilities::OURS.in_request());
                }
            }
            Stage::Legacy { announces, .. } => {
                self.stats.repeats += u64::from(copies > 1);
                if announces {
                    packet = packet.with(key::CAPABILITIES, Capabilities::OURS.in_request());
                }
            }
            Stage::Own { serial, .. } => {
                self.stats.repeats += u64::from(copies > 1);
                if !notice {
                    let left = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
                    packet = packet
                        .with(key::CAPABILITIES, Capabilities::OURS.in_request())
                        .with(key::SERIAL, serial)
                        .with(key::DEADLINE, left);
                }
            }
        }
        if let Some(peer) = self.peers.get_mut(to) {
            peer.traffic = now;
        }
        let dialect = extension::table_of(self.config.dialect, packet.code);
        let Some(bytes) = self.encode(port, to, packet, dialect) else {
            // What can be encoded has been checked: only a port that has gone comes here.
            self.fail(now, ticket, Cause::Lost(io::ErrorKind::NotConnected));
            return None;
        };
        let copy = if let Stage::Query { .. } = stage { 0 } else { copies };
        Some(Transmit { ticket: Some(ticket), port, to, bytes, copy })
    }

    fn encode(&mut self, port: Port, to: SocketAddr, mut packet: Packet, dialect: &Dialect) -> Option<Bytes> {
        let socket = self.ports.iter().find(|socket| socket.port == port)?;
        if let Some(key) = tables::of(dialect).bind_ip
            && packet.first(key).is_none()
        {
            let mut ip = socket.local?.ip();
            if ip.is_unspecified() {
                let peer = self.peers.get_mut(to)?;
                ip = *peer.source.get_or_insert_with(|| (self.config.source)(to).unwrap_or(ip));
            }
            packet = packet.with(key, bind_ip::text(ip));
        }
        // Measured when it came: this is only where it begins to grow.
        let mut wire = Vec::with_capacity(128 + packet.entity.len());
        Encoder::new(dialect).packet(&packet, &mut wire).ok()?;
        let bytes = Bytes::from(wire);
        let warn = if to.is_ipv4() { self.config.warn_v4 } else { self.config.warn_v6 };
        if bytes.len() > warn {
            self.stats.long += 1;
            tracing::warn!(peer = %to, len = bytes.len(), warn, "a datagram that the network cuts in pieces");
        }
        Some(bytes)
    }

    /// What became of a datagram: the socket took it, or not.
    pub fn handle_transmitted(
        &mut self,
        now: Instant,
        transmit: &Transmit,
        outcome: Result<(), io::ErrorKind>,
    ) {
        match outcome {
            Ok(()) => {
                self.stats.sent += 1;
                self.stats.sent_bytes += transmit.bytes.len() as u64;
            }
            Err(_) => self.stats.refused += 1,
        }
        let Some(ticket) = transmit.ticket else { return };
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        // It may have gone on meanwhile.
        if call.stage.port() != Some(transmit.port) || call.copies != transmit.copy {
            return;
        }
        match (outcome, call.stage) {
            (Ok(()), Stage::Query { .. }) => {}
            (Ok(()), _) if call.notice => {
                let to = call.peer;
                self.events.push_back((ticket, Ok(None)));
                self.leave(now, ticket, true);
                self.pump(now, to);
            }
            (Err(kind), Stage::Query { .. }) => self.fail(now, ticket, Cause::Connect(kind)),
            (Err(kind), _) if call.copies <= 1 => {
                (call.copies, call.sent) = (0, None);
                self.fail(now, ticket, Cause::Connect(kind));
            }
            // An earlier copy has gone out: its answer may come.
            _ => {}
        }
    }

    /// Whether a request of this size announces us.
    pub(super) fn announcing(&self, call: &Call, port: Port, packet: &Packet) -> bool {
        let fits = || {
            let size = if packet.code == security::QUERY { 0 } else { call.size };
            size + ANNOUNCEMENT <= MAX_DATAGRAM
        };
        let unknown = self.peers.get(call.peer).is_some_and(|peer| peer.kind == Kind::Unknown);
        let open = self.ports.iter().any(|socket| socket.port == port);
        self.config.extensions && unknown && open && fits()
    }
}
