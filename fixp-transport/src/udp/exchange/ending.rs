//! How a request ends, and what becomes of its port: an answer may still come there.

use std::time::Instant;

use super::{CANCELS, Exchange, Out, Stage, Ticket, Timer};
use crate::timer::after;
use crate::udp::peers::Kind;
use crate::{CallError, Cause};

impl Exchange {
    pub(super) fn fail_waiting(&mut self, now: Instant, v6: bool, cause: Cause) {
        let peers: Vec<_> = self.waiting.iter().copied().filter(|peer| peer.is_ipv6() == v6).collect();
        for to in peers {
            let waiting = self.peers.get(to).map(|peer| peer.waiting.clone()).unwrap_or_default();
            for ticket in waiting {
                self.fail(now, ticket, cause);
            }
        }
    }

    /// Ends a request by an error.
    pub(super) fn fail(&mut self, now: Instant, ticket: Ticket, cause: Cause) {
        let Some(call) = self.calls.get(&ticket) else { return };
        let error =
            if call.copies > 0 { CallError::possibly_executed(cause) } else { CallError::not_sent(cause) };
        if cause == Cause::Timeout {
            self.stats.timeouts += 1;
        } else {
            self.stats.failed += 1;
        }
        self.events.push_back((ticket, Err(error)));
        self.end(now, ticket);
    }

    /// Takes a request away that has no answer.
    pub(super) fn end(&mut self, now: Instant, ticket: Ticket) {
        let Some(to) = self.calls.get(&ticket).map(|call| call.peer) else { return };
        self.leave(now, ticket, false);
        self.pump(now, to);
    }

    /// Takes a request away and gives its port back, for what may still come there.
    pub(super) fn leave(&mut self, now: Instant, ticket: Ticket, answered: bool) {
        let Some(call) = self.calls.remove(&ticket) else { return };
        self.bytes -= call.size;
        self.timers.remove(&(call.timer, Timer::Call(ticket)));
        let (quarantine, settle) = (after(now, self.config.quarantine), after(now, self.config.settle));
        let Some(peer) = self.peers.get_mut(call.peer) else { return };
        let (port, until) = match call.stage {
            Stage::Waiting => {
                peer.waiting.retain(|&waiting| waiting != ticket);
                return;
            }
            // Its answers are told from all others by their code: nothing can be mistaken.
            Stage::Query { port, .. } => {
                peer.lane_mut(port).outstanding = None;
                (port, None)
            }
            Stage::Legacy { port, .. } => {
                let lane = peer.lane_mut(port);
                lane.outstanding = None;
                if call.notice {
                    lane.resting = lane.resting.max(Some(settle));
                    (port, Some(settle))
                } else if call.copies == 0 {
                    (port, None)
                } else if answered && call.copies == 1 {
                    lane.resting = lane.resting.max(Some(settle));
                    (port, Some(settle))
                } else {
                    lane.tainted = lane.tainted.max(Some(quarantine));
                    (port, Some(quarantine))
                }
            }
            Stage::Own { port, serial, .. } => {
                self.serials.remove(&serial);
                let lane = peer.lane_mut(port);
                lane.own -= 1;
                let lost = !answered && !call.notice && call.copies > 0;
                if lost {
                    // Should another program have taken its place, its answer has no serial.
                    lane.tainted = lane.tainted.max(Some(quarantine));
                    if peer.heard <= call.sent {
                        peer.kind = Kind::Unknown;
                    }
                    if call.deadline > now
                        && self.outbox.len() < self.config.requests.saturating_add(CANCELS)
                        && !self.closed
                    {
                        self.outbox.push_back(Out::Cancel { port, to: call.peer, serial });
                    }
                }
                (port, lost.then_some(quarantine))
            }
        };
        peer.expire(now);
        self.release(now, port, until);
    }
}
