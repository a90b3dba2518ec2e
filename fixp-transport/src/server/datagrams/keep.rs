//! KEEP UDP beside plain datagrams: the machines of a socket, one for each dialect, made when it is first heard.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use fixp_codec::{Code, Dialect, Encoder, Packet, PacketRef};
use tracing::debug;

use super::answer::Unsent;
use super::own::Own;
use crate::keep::own::Transmission;
use crate::keep::pieces::Mark;
use crate::keep::responder::{self, AnswerError, Event, Responder};
use crate::keep::{Transmit, table};
use crate::server::shared::Counters;
use crate::socket::Datagrams;

/// Dialects at a time: the three of the programs, and some of one's own. Datagrams of a further one are not
/// listened to.
const DIALECTS: usize = 8;
/// Datagrams that are made in a row, to be put together by peer.
const ROUND: usize = 128;
/// What every way carries whole. Longer pieces may be cut on theirs, shorter ones go together.
const WHOLE: usize = 1200;

/// An exchange of KEEP UDP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Ticket {
    dialect: usize,
    ticket: responder::Ticket,
}

/// A whole request.
pub(super) struct Whole {
    pub(super) ticket: Ticket,
    pub(super) from: SocketAddr,
    pub(super) dialect: &'static Dialect,
    pub(super) packet: Packet,
}

/// Whether a packet is one of KEEP UDP's, and no plain request (SPEC 9.1).
pub(super) fn claims(dialect: &Dialect, packet: &PacketRef<'_>) -> bool {
    let code = packet.code();
    if !code.is_request() {
        return false;
    }
    let table = table::of(dialect);
    code == table.retry || code == table.cancel || Mark::is_claimed(packet) && !table.plain.contains(&code)
}

/// Whether a request only says what became of the pieces of an answer.
pub(super) fn is_about_answers(dialect: &Dialect, code: Code) -> bool {
    let table = table::of(dialect);
    code == table.retry || code == table.cancel
}

/// See the [module](self).
pub(super) struct Keep {
    /// What a machine is made with, but for what is its own.
    config: responder::Config,
    machines: Vec<Machine>,
    /// Whose turn it is to be asked for a request, and to send.
    turn: usize,
    sends: usize,
    /// Whether the own transport is the next to send.
    own_sends: bool,
    /// Requests that no room was found for yet: at most one of each dialect, the others wait in their machine.
    waiting: Vec<Whole>,
    /// A machine has had a datagram since the last look at what there is to be sent.
    heard: bool,
    /// Somebody has spoken KEEP UDP, of whichever kind.
    used: bool,
    /// The own transport, where extensions are on.
    pub(super) own: Option<Own>,
    sending: Sending,
    /// What the counters have by now.
    counted: Counted,
}

/// What machines count themselves.
#[derive(Clone, Copy, Default)]
struct Counted {
    again: u64,
    refused: u64,
    opened: u64,
    lost: u64,
}

struct Machine {
    dialect: &'static Dialect,
    responder: Responder,
}

/// Datagrams on their way to the socket.
#[derive(Default)]
struct Sending {
    /// In the order of their peers, the next one last.
    made: Vec<Transmit>,
    /// Those of one length to one peer, how long each is, and how many bytes of them have gone.
    wire: Vec<u8>,
    to: Option<SocketAddr>,
    segment: usize,
    gone: usize,
    /// They may be cut on their way.
    fragments: bool,
}

impl Keep {
    /// No machine yet; this is what each is made with, but for its dialect.
    pub(super) fn new(config: responder::Config, own: Option<Own>) -> Self {
        Self {
            config,
            machines: Vec::new(),
            turn: 0,
            sends: 0,
            own_sends: false,
            waiting: Vec::new(),
            heard: false,
            used: false,
            own,
            sending: Sending::default(),
            counted: Counted::default(),
        }
    }

    /// A datagram that [`claims`] to be of KEEP UDP, sent to this address. Tells whether it is.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        (from, local): (SocketAddr, IpAddr),
        dialect: &'static Dialect,
        bytes: &[u8],
    ) -> bool {
        (self.heard, self.used) = (true, true);
        let at = self.machines.iter().position(|machine| std::ptr::eq(machine.dialect, dialect));
        let at = at.unwrap_or_else(|| {
            if self.machines.len() < DIALECTS {
                let config = responder::Config { dialect, random: rand::random(), ..self.config.clone() };
                self.machines.push(Machine { dialect, responder: Responder::new(config) });
            }
            self.machines.len() - 1
        });
        self.machines
            .get_mut(at)
            .filter(|machine| std::ptr::eq(machine.dialect, dialect))
            .is_some_and(|machine| machine.responder.handle_datagram_at(now, from, Some(local), bytes))
    }

    /// A datagram that may be of the own transport. Tells whether it is.
    pub(super) fn handle_own(
        &mut self,
        now: Instant,
        from: SocketAddr,
        dialect: &'static Dialect,
        bytes: &[u8],
    ) -> bool {
        let own = self.own.as_mut();
        let is_own = own.is_some_and(|own| own.endpoint.handle_datagram(now, from, dialect, bytes));
        self.used |= is_own;
        is_own
    }

    /// Whether there may be anything to do here at all.
    pub(super) const fn is_used(&self) -> bool {
        self.used
    }

    /// Whether something has come of which there may be requests and datagrams.
    pub(super) const fn has_heard(&self) -> bool {
        self.heard
    }

    /// The next whole request, of each dialect in turn.
    pub(super) fn poll_request(&mut self) -> Option<Whole> {
        if let Some(whole) = self.waiting.pop() {
            return Some(whole);
        }
        for _ in 0..self.machines.len() {
            let at = self.turn % self.machines.len();
            self.turn = at + 1;
            let Some(Machine { dialect, responder }) = self.machines.get_mut(at) else { continue };
            if let Some(Event { ticket, from, packet }) = responder.poll_event() {
                return Some(Whole { ticket: Ticket { dialect: at, ticket }, from, dialect, packet });
            }
        }
        None
    }

    /// There was no room for a request: it is the next one again.
    pub(super) fn put_back(&mut self, whole: Whole) {
        self.waiting.push(whole);
    }

    /// The next request whose client has cancelled it.
    pub(super) fn poll_cancelled(&mut self) -> Option<Ticket> {
        let mut machines = self.machines.iter_mut().enumerate();
        machines.find_map(|(dialect, machine)| {
            let ticket = machine.responder.poll_cancelled()?;
            Some(Ticket { dialect, ticket })
        })
    }

    /// Whether somebody still waits for the answer of a request.
    pub(super) fn is_awaited(&self, ticket: Ticket) -> bool {
        let machine = self.machines.get(ticket.dialect);
        machine.is_some_and(|machine| machine.responder.is_awaited(ticket.ticket))
    }

    /// A request has been handled, with an answer or without one.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        ticket: Ticket,
        answer: Option<Packet>,
    ) -> Result<(), Unsent> {
        let Some(Machine { responder, .. }) = self.machines.get_mut(ticket.dialect) else { return Ok(()) };
        responder.answer(now, ticket.ticket, answer).map_err(|error| match error {
            AnswerError::Encode(error) => Unsent::Encode(error),
            AnswerError::TooLarge => Unsent::TooLarge { size: 0, most: self.config.limits.entity },
            AnswerError::Full => Unsent::Full,
        })
    }

    /// Why an answer cannot be given, if so: once it was given, it cannot be replaced.
    pub(super) fn hinders(&self, ticket: Ticket, answer: &Packet) -> Option<Unsent> {
        let Machine { dialect, .. } = self.machines.get(ticket.dialect)?;
        let (size, most) = (answer.entity.len(), self.config.limits.entity);
        if size > most {
            return Some(Unsent::TooLarge { size, most });
        }
        Encoder::new(dialect).packet_len(answer).err().map(Unsent::Encode)
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for Machine { responder, .. } in &mut self.machines {
            if responder.poll_timeout().is_some_and(|at| at <= now) {
                responder.handle_timeout(now);
            }
        }
        if let Some(own) = &mut self.own
            && own.endpoint.poll_timeout().is_some_and(|at| at <= now)
        {
            own.endpoint.handle_timeout(now);
        }
    }

    /// When there will be something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let machines = self.machines.iter().filter_map(|machine| machine.responder.poll_timeout());
        machines.chain(self.own.as_ref().and_then(|own| own.endpoint.poll_timeout())).min()
    }

    /// Sends what there is, as far as the socket takes it: ready when there is no more for now.
    pub(super) fn poll_send<S: Datagrams>(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        socket: &S,
        counters: &Counters,
    ) -> Poll<()> {
        self.heard = false;
        let most = socket.max_segments();
        // Others have their turn, too.
        for _ in 0..ROUND {
            ready!(self.sending.poll(cx, socket, counters));
            if self.sending.made.is_empty() {
                // Another one each time is the first to fill the row.
                self.sends = self.sends.wrapping_add(1);
                let first = self.sends % self.machines.len().max(1);
                let (later, sooner) = self.machines.split_at_mut(first);
                for Machine { responder, .. } in sooner.iter_mut().chain(later) {
                    let room = ROUND - self.sending.made.len();
                    self.sending.made.extend(std::iter::from_fn(|| responder.poll_transmit(now)).take(room));
                }
                // Those of one peer together, in their order.
                self.sending.made.sort_by_key(|transmit| transmit.to);
                self.sending.made.reverse();
            }
            // In turns, as long as both have something.
            self.own_sends = !self.own_sends;
            let mut own =
                |sending: &mut Sending| self.own.as_mut().is_some_and(|own| sending.take_own(now, own, most));
            let sending = &mut self.sending;
            let any = self.own_sends && own(sending) || sending.gather(most) || own(sending);
            if !any {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Adds what the machines have counted to the counters of the server.
    pub(super) fn count(&mut self, counters: &Counters) {
        let mut now = Counted::default();
        for machine in &self.machines {
            let stats = machine.responder.stats();
            now.again += stats.again;
            now.refused += stats.refused;
        }
        if let Some(own) = &self.own {
            let stats = own.endpoint.counted();
            now.again += stats.datagrams_lost;
            now.refused += stats.refused;
            now.opened = stats.opened;
            now.lost = stats.lost;
        }
        let before = std::mem::replace(&mut self.counted, now);
        for (counter, now, before) in [
            (&counters.keep_again, now.again, before.again),
            (&counters.keep_refused, now.refused, before.refused),
            (&counters.keep_opened, now.opened, before.opened),
            (&counters.keep_lost, now.lost, before.lost),
        ] {
            if now > before {
                counter.fetch_add(now - before, Relaxed);
            }
        }
    }

    /// Begins nothing more.
    pub(super) fn close(&mut self, now: Instant) {
        if let Some(own) = &mut self.own {
            own.endpoint.close_all(now);
        }
    }

    /// Whether every answer has left: its pieces once, over the own transport so that its peer has it.
    pub(super) fn is_idle(&self) -> bool {
        self.unsent_answers() == 0 && self.own.as_ref().is_none_or(Own::is_idle)
    }

    /// Answers of which some pieces have not left even once.
    fn unsent_answers(&self) -> usize {
        self.machines.iter().map(|machine| machine.responder.unsent_answers()).sum()
    }

    /// How many requests wait, which are not kept any longer, and how many answers have not left.
    pub(super) fn give_up(&mut self) -> usize {
        let own = self.own.as_ref().map_or(0, |own| own.endpoint.stats().exchanges);
        std::iter::from_fn(|| self.poll_request()).count() + self.unsent_answers() + own
    }
}

impl Sending {
    /// The same of the own transport, which are never cut on their way.
    fn take_own(&mut self, now: Instant, own: &mut Own, most: usize) -> bool {
        self.wire.clear();
        self.gone = 0;
        let Some(Transmission { to, segment }) = own.endpoint.poll_transmit(now, &mut self.wire, most) else {
            return false;
        };
        (self.to, self.segment, self.fragments) = (Some(to), segment, false);
        true
    }

    /// Takes the next datagrams of one length to one peer, as many as go at once. False where there are none.
    fn gather(&mut self, most: usize) -> bool {
        let Some(first) = self.made.pop() else { return false };
        self.wire.clear();
        self.wire.extend_from_slice(&first.bytes);
        (self.to, self.segment, self.gone) = (Some(first.to), first.bytes.len(), 0);
        self.fragments = self.segment > WHOLE;
        let mut count = 1;
        let mut last = first.bytes.len();
        while count < most
            && last == self.segment
            && !self.fragments
            && let Some(next) = self.made.pop_if(|next| next.to == first.to && next.bytes.len() <= last)
        {
            self.wire.extend_from_slice(&next.bytes);
            (count, last) = (count + 1, next.bytes.len());
        }
        true
    }

    fn poll<S: Datagrams>(&mut self, cx: &mut Context<'_>, socket: &S, counters: &Counters) -> Poll<()> {
        while let (Some(rest), Some(to)) =
            (self.wire.get(self.gone..).filter(|rest| !rest.is_empty()), self.to)
        {
            let sent = if self.fragments {
                socket.poll_send_to(cx, rest, to).map_ok(|_| rest.len())
            } else {
                socket.poll_send_segments(cx, rest, self.segment, to)
            };
            let (counter, bytes) = match ready!(sent) {
                Ok(bytes) => (&counters.datagrams_sent, bytes),
                Err(error) => {
                    debug!(peer = %to, %error, "datagrams were not sent");
                    (&counters.datagrams_unsent, rest.len())
                }
            };
            Counters::add_many(counter, bytes.div_ceil(self.segment.max(1)));
            self.gone += bytes;
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::task::Waker;

    use fixp_codec::{LAXCUS6, LEXST1, laxcus6, lexst1};
    use tokio::io::ReadBuf;

    use super::*;
    use crate::keep::Ledger;
    use crate::keep::own::{self, Endpoint};
    use crate::keep::pieces::{Form, Pieces};
    use crate::server::datagrams::own::Happened;
    use crate::tables;

    /// To whom datagrams went, of which it takes so many.
    struct Few(Mutex<(usize, Vec<SocketAddr>)>);

    impl Datagrams for Few {
        fn poll_recv_from(&self, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<SocketAddr>> {
            Poll::Pending
        }

        fn poll_send_to(&self, _: &mut Context<'_>, buf: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
            let mut few = self.0.lock().unwrap();
            if few.0 == 0 {
                return Poll::Pending;
            }
            few.0 -= 1;
            few.1.push(to);
            Poll::Ready(Ok(buf.len()))
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok("10.0.0.9:1".parse().unwrap())
        }
    }

    /// Both dialects of the programs and the own transport have much to send: none waits for another's end.
    #[test]
    fn everybody_sends_in_turns() {
        let now = Instant::now();
        let [laxcus6_peer, lexst1_peer, own_peer] =
            [1, 2, 3].map(|last| SocketAddr::from(([10, 0, 0, last], 4000)));
        let endpoint = |seed| Endpoint::new(own::Config::default(), Ledger::new(64 << 20), seed);
        let own = Own::new(endpoint(1));
        let mut keep = Keep::new(responder::Config::new(&LAXCUS6), Some(own));

        let mut client = endpoint(2);
        let association = client.connect(now, laxcus6_peer, &LAXCUS6);
        client.request(now, association, Packet::new(laxcus6::notify::FLUSH_LOG)).unwrap();
        let mut buffer = Vec::new();
        let ticket = loop {
            while client.poll_transmit(now, &mut buffer, 1).is_some() {
                let server = &mut keep.own.as_mut().unwrap().endpoint;
                assert!(server.handle_datagram(now, own_peer, &LAXCUS6, &buffer));
                buffer.clear();
            }
            let server = keep.own.as_mut().unwrap();
            if let Some(Happened::Asks(asks)) = server.poll_event() {
                break asks.ticket;
            }
            while server.endpoint.poll_transmit(now, &mut buffer, 1).is_some() {
                assert!(client.handle_datagram(now, laxcus6_peer, &LAXCUS6, &buffer));
                buffer.clear();
            }
        };
        let large = |dialect| Packet::new(tables::of(dialect).okay).with_entity(vec![7; 1 << 20]);
        keep.own.as_mut().unwrap().answer(now, ticket, Some((large(&LAXCUS6), None))).unwrap();

        let local: IpAddr = "10.0.0.9".parse().unwrap();
        // One dialect has more than is made in two rows, by the pace of each answer.
        let others = (11..14).map(|last| SocketAddr::from(([10, 0, 0, last], 4000)));
        let log = laxcus6::notify::FLUSH_LOG;
        let laxcus6 = std::iter::once(laxcus6_peer).chain(others).map(|peer| (&LAXCUS6, log, peer));
        for (dialect, code, from) in laxcus6.chain([(&LEXST1, lexst1::app::ADD_LOG, lexst1_peer)]) {
            let request = Packet::new(code).with_entity(vec![1; 10]);
            let pieces = Pieces::cut(dialect, request, Form::of_request(dialect, 1)).unwrap();
            assert!(keep.handle_datagram(now, (from, local), dialect, &pieces.datagram(0).unwrap()));
            let whole = keep.poll_request().unwrap();
            keep.answer(now, whole.ticket, Some(large(dialect))).unwrap();
        }

        let socket = Few(Mutex::new((4, Vec::new())));
        let mut cx = Context::from_waker(Waker::noop());
        let counters = Counters::default();
        assert!(keep.poll_send(&mut cx, now, &socket, &counters).is_pending());
        let to = std::mem::take(&mut socket.0.lock().unwrap().1);
        assert!(to.contains(&own_peer) && to.iter().any(|to| *to != own_peer), "{to:?}");
        // The other dialect is the first in one of two rows.
        socket.0.lock().unwrap().0 = 2 * ROUND + 20;
        let _ = keep.poll_send(&mut cx, now, &socket, &counters);
        let to = std::mem::take(&mut socket.0.lock().unwrap().1);
        assert!(to.contains(&laxcus6_peer) && to.contains(&lexst1_peer), "{to:?}");
    }
}
