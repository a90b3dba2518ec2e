//! One end of a stream: a small TCP, without I/O and without a clock.
//!
//! What it leaves out of TCP are the parts that a test would rather not meet: no congestion control, no
//! delayed acknowledgements, no Nagle. Each segment has a timer of its own, and what came behind a gap is
//! acknowledged at once, so a loss costs the stream the patience of its [`Path`] and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::segment::{End, Segment, Side};
use crate::wire::Path;
use crate::{Cut, HostConfig};

/// The longest time between two attempts.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) end: End,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    config: HostConfig,
    phase: Phase,
    /// It has been open at some time.
    pub(crate) opened: bool,
    /// What every read (after the bytes that have come) and every write fails with.
    error: Option<ErrorKind>,
    /// The stream has been dropped.
    orphan: bool,
    /// The attempts to open the connection.
    handshake: Attempts,
    /// Segments that go out before anything else.
    control: VecDeque<Control>,

    unsent: BytesMut,
    /// The position of the next byte to be sent.
    next: u64,
    /// Everything before this position has been acknowledged.
    unacknowledged: u64,
    /// The receiver has room up to this position.
    edge: u64,
    flights: BTreeMap<u64, Flight>,
    deadlines: BTreeSet<(Duration, u64)>,
    overdue: BTreeSet<u64>,
    fin: Fin,
    /// Asks a receiver without room whether it has any by now.
    probe: Option<Attempts>,

    arrived: VecDeque<Bytes>,
    arrived_bytes: usize,
    /// The position of the next byte to come.
    expected: u64,
    /// What came behind a gap.
    ahead: BTreeMap<u64, (Bytes, bool)>,
    /// The peer has been told of room up to this position.
    advertised: u64,
    /// The peer's stream has ended.
    ended: bool,
    /// The bytes that have come, in order.
    received: u64,
    /// After how many bytes the connection is cut, and how.
    cut: Option<(u64, Cut)>,

    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    /// The timer that the world has set for this end.
    pub(crate) armed: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Opening,
    Open,
    /// Nothing is sent or taken any more.
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fin {
    No,
    Wanted,
    Sent,
    Acknowledged,
}

#[derive(Clone, Copy, Debug)]
enum Control {
    Acknowledge { ahead: Option<(u64, u64)> },
    Reset,
}

#[derive(Clone, Copy, Debug)]
struct Attempts {
    /// The first, or the last that was answered.
    since: Duration,
    /// When the next one is due.
    due: Duration,
    made: u32,
}

#[derive(Debug)]
struct Flight {
    payload: Bytes,
    fin: bool,
    since: Duration,
    due: Duration,
    sent: u32,
}

impl Flight {
    fn len(&self) -> u64 {
        self.payload.len() as u64 + u64::from(self.fin)
    }
}

impl Connection {
    /// An end that is being opened: by a SYN from a client, or by the answer to one.
    pub(crate) fn new(
        end: End,
        local: SocketAddr,
        peer: SocketAddr,
        config: HostConfig,
        cut: Option<(u64, Cut)>,
        now: Duration,
    ) -> Self {
        Self {
            end,
            local,
            peer,
            config,
            phase: Phase::Opening,
            opened: false,
            error: None,
            orphan: false,
            handshake: Attempts { since: now, due: now, made: 0 },
            control: VecDeque::new(),
            unsent: BytesMut::new(),
            next: 0,
            unacknowledged: 0,
            edge: 0,
            flights: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            overdue: BTreeSet::new(),
            fin: Fin::No,
            probe: None,
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            expected: 0,
            ahead: BTreeMap::new(),
            advertised: 0,
            ended: false,
            received: 0,
            cut,
            reader: None,
            writer: None,
            armed: None,
        }
    }

    pub(crate) fn is_opening(&self) -> bool {
        self.phase == Phase::Opening
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.phase == Phase::Dead
    }

    pub(crate) const fn error(&self) -> Option<ErrorKind> {
        self.error
    }

    /// Nothing is left to do, and nobody holds the stream.
    pub(crate) fn is_finished(&self) -> bool {
        self.orphan && (self.is_dead() || (self.fin == Fin::Acknowledged && self.ended))
    }

    /// The position after what has been sent.
    pub(crate) const fn sent(&self) -> u64 {
        self.next
    }

    // What the program does.

    /// The next bytes that have come, at most `most`, empty at the end of the stream; nothing if there is
    /// nothing yet.
    pub(crate) fn read(&mut self, most: usize) -> io::Result<Option<Bytes>> {
        if most == 0 {
            return Ok(Some(Bytes::new()));
        }
        let Some(front) = self.arrived.front_mut() else {
            return match self.error {
                Some(kind) if !self.ended => Err(kind.into()),
                _ => Ok(self.ended.then(Bytes::new)),
            };
        };
        let bytes = front.split_to(front.len().min(most));
        if front.is_empty() {
            self.arrived.pop_front();
        }
        self.arrived_bytes -= bytes.len();
        // Worth telling a sender that may be waiting for it.
        let half = (self.config.receive_buffer / 2).max(1) as u64;
        if self.phase == Phase::Open && !self.ended && self.expected + self.window() >= self.advertised + half
        {
            self.acknowledge(None);
        }
        Ok(Some(bytes))
    }

    /// Takes as many of these bytes as there is room for; nothing if there is none.
    pub(crate) fn write(&mut self, mut pieces: &[io::IoSlice<'_>]) -> io::Result<Option<usize>> {
        if let Some(kind) = self.error {
            return Err(kind.into());
        }
        if self.fin != Fin::No {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut room = self.room();
        if room == 0 && pieces.iter().any(|piece| !piece.is_empty()) {
            return Ok(None);
        }
        let before = self.unsent.len();
        while let [piece, rest @ ..] = pieces
            && room > 0
        {
            let taken = piece.len().min(room);
            self.unsent.extend_from_slice(&piece[..taken]);
            room -= taken;
            pieces = rest;
        }
        Ok(Some(self.unsent.len() - before))
    }

    /// Ends the stream after what has been written.
    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        if let Some(kind) = self.error {
            return Err(kind.into());
        }
        if self.fin == Fin::No {
            self.fin = Fin::Wanted;
        }
        Ok(())
    }

    /// The stream is dropped.
    pub(crate) fn close(&mut self) {
        self.orphan = true;
        match self.phase {
            Phase::Open if self.arrived_bytes == 0 => {
                if self.fin == Fin::No {
                    self.fin = Fin::Wanted;
                }
            }
            // The peer should know that its bytes have not been read.
            Phase::Open => self.reset(ErrorKind::ConnectionReset),
            Phase::Opening => self.fail(ErrorKind::ConnectionAborted),
            Phase::Dead => {}
        }
    }

    /// Fails, without a word to the peer.
    pub(crate) fn fail(&mut self, kind: ErrorKind) {
        if self.phase == Phase::Dead {
            return;
        }
        self.phase = Phase::Dead;
        self.error = Some(kind);
        self.control.clear();
        self.unsent.clear();
        self.flights.clear();
        self.deadlines.clear();
        self.overdue.clear();
        self.ahead.clear();
        self.probe = None;
    }

    /// Fails as its host does: what has come is gone too.
    pub(crate) fn crash(&mut self) {
        self.arrived.clear();
        self.arrived_bytes = 0;
        self.ended = false;
        self.fail(ErrorKind::ConnectionAborted);
        self.error = Some(ErrorKind::ConnectionAborted);
    }

    /// Fails, and tells the peer.
    pub(crate) fn reset(&mut self, kind: ErrorKind) {
        if self.phase == Phase::Dead {
            return;
        }
        // What has been acknowledged by now is told as such: it opens the peer's end, if that is opening.
        let mut control = std::mem::take(&mut self.control);
        self.fail(kind);
        control.push_back(Control::Reset);
        self.control = control;
    }

    /// Sets where the connection is to be cut.
    pub(crate) const fn set_cut(&mut self, after: u64, cut: Cut) {
        self.cut = Some((after, cut));
    }

    /// The cut, once the bytes before it have come.
    pub(crate) fn cut_due(&mut self) -> Option<Cut> {
        let (after, cut) = self.cut?;
        let due = self.phase == Phase::Open && self.received >= after;
        due.then(|| self.cut.take()).map(|_| cut)
    }

    /// Ends both directions as if the peer had: what it has sent until now, up to this position, is taken
    /// and thrown away.
    pub(crate) fn sever(&mut self, sent: u64) {
        self.ahead.clear();
        self.expected = self.expected.max(sent);
        self.ended = true;
        if self.fin == Fin::No {
            self.fin = Fin::Wanted;
        }
        self.acknowledge(None);
    }

    // What the network does.

    /// Takes a segment; true if it has opened the connection.
    pub(crate) fn handle(&mut self, now: Duration, segment: Segment) -> bool {
        if segment.rst {
            self.fail(match (self.phase, self.end.side) {
                (Phase::Opening, Side::Client) => ErrorKind::ConnectionRefused,
                _ => ErrorKind::ConnectionReset,
            });
            return false;
        }
        let mut opens = false;
        match self.phase {
            Phase::Dead => {
                self.control.push_back(Control::Reset);
                return false;
            }
            Phase::Opening if self.end.side == Side::Client => {
                if !segment.syn || segment.ack.is_none() {
                    return false;
                }
                opens = true;
            }
            Phase::Opening if segment.syn => {
                // The answer was lost, or is late: the timer sees to it.
                return false;
            }
            Phase::Opening => opens = segment.ack.is_some(),
            Phase::Open => {}
        }
        if opens {
            self.phase = Phase::Open;
            self.opened = true;
        }
        if let Some(ack) = segment.ack {
            self.acknowledged(now, ack, segment.window, segment.ahead);
        }
        if segment.syn {
            self.acknowledge(None);
        } else if segment.payload.is_empty() && !segment.fin {
            // A probe stands before what is expected.
            if segment.seq < self.expected {
                self.acknowledge(None);
            }
        } else {
            self.take(segment);
        }
        opens
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub(crate) fn next_time(&self) -> Option<Duration> {
        let give_up = |since: Duration| since.saturating_add(self.config.give_up);
        match self.phase {
            Phase::Dead => None,
            Phase::Opening => {
                let end = self.handshake.since.saturating_add(self.config.connect_timeout);
                Some(self.handshake.due.min(end))
            }
            Phase::Open => {
                let flight = self.flights.first_key_value().map(|(_, flight)| give_up(flight.since));
                let overdue = self.deadlines.first().map(|(due, _)| *due);
                let probe = self.probe.map(|probe| probe.due.min(give_up(probe.since)));
                [flight, overdue, probe].into_iter().flatten().min()
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        let passed = |since: Duration, limit: Duration| now >= since.saturating_add(limit);
        let flight = self.flights.first_key_value().map(|(_, flight)| flight.since);
        let oldest = flight.or(self.probe.map(|probe| probe.since));
        match self.phase {
            Phase::Opening if passed(self.handshake.since, self.config.connect_timeout) => {
                self.fail(ErrorKind::TimedOut);
            }
            Phase::Open if oldest.is_some_and(|since| passed(since, self.config.give_up)) => {
                self.fail(ErrorKind::TimedOut);
            }
            _ => {}
        }
        while let Some((due, seq)) = self.deadlines.pop_first() {
            if due > now {
                self.deadlines.insert((due, seq));
                break;
            }
            self.overdue.insert(seq);
        }
    }

    /// The next segment to be sent, to be followed by [`departed`](Self::departed).
    pub(crate) fn output(&mut self, now: Duration, path: Path) -> Option<Segment> {
        if let Some(control) = self.control.pop_front() {
            let mut segment = self.segment(self.next);
            match control {
                Control::Acknowledge { ahead } => segment.ahead = ahead,
                Control::Reset => segment.rst = true,
            }
            return Some(segment);
        }
        match self.phase {
            Phase::Dead => None,
            Phase::Opening => {
                if self.handshake.due > now {
                    return None;
                }
                self.handshake.due = next_attempt(now, path.patience, self.handshake.made);
                self.handshake.made += 1;
                let mut segment = self.segment(0);
                segment.syn = true;
                segment.longest = path.segment as u16;
                if self.end.side == Side::Client {
                    segment.ack = None;
                }
                Some(segment)
            }
            Phase::Open => self
                .overdue_output(now, path)
                .or_else(|| self.new_output(now, path))
                .or_else(|| self.probe_output(now, path)),
        }
    }

    /// The segment that begins here has left the host: its acknowledgement cannot come before.
    pub(crate) fn departed(&mut self, seq: u64, now: Duration, departs: Duration) {
        if let Some(flight) = self.flights.get_mut(&seq)
            && departs > now
            && self.deadlines.remove(&(flight.due, seq))
        {
            flight.due = flight.due.saturating_add(departs - now);
            self.deadlines.insert((flight.due, seq));
        }
    }

    fn overdue_output(&mut self, now: Duration, path: Path) -> Option<Segment> {
        let seq = self.overdue.pop_first()?;
        let flight = self.flights.get_mut(&seq)?;
        flight.due = next_attempt(now, path.patience, flight.sent);
        flight.sent += 1;
        self.deadlines.insert((flight.due, seq));
        let (payload, fin) = (flight.payload.clone(), flight.fin);
        Some(Segment { payload, fin, ..self.segment(seq) })
    }

    fn new_output(&mut self, now: Duration, path: Path) -> Option<Segment> {
        let room = usize::try_from(self.edge.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let len = self.unsent.len().min(path.segment).min(room);
        // The end of the stream needs no room.
        let fin = len == self.unsent.len() && self.fin == Fin::Wanted;
        if len == 0 && !fin {
            return None;
        }
        let payload = self.unsent.split_to(len).freeze();
        let seq = self.next;
        let due = next_attempt(now, path.patience, 0);
        let flight = Flight { payload: payload.clone(), fin, since: now, due, sent: 1 };
        self.next += flight.len();
        if fin {
            self.fin = Fin::Sent;
        }
        self.flights.insert(seq, flight);
        self.deadlines.insert((due, seq));
        Some(Segment { payload, fin, ..self.segment(seq) })
    }

    /// Asks for room, if there is something to send, and no acknowledgement to come that would tell of any.
    fn probe_output(&mut self, now: Duration, path: Path) -> Option<Segment> {
        if self.unsent.is_empty() || !self.flights.is_empty() {
            self.probe = None;
            return None;
        }
        let first = Attempts { since: now, due: next_attempt(now, path.patience, 0), made: 1 };
        let probe = self.probe.get_or_insert(first);
        if probe.due > now {
            return None;
        }
        probe.due = next_attempt(now, path.patience, probe.made);
        probe.made += 1;
        // A position that has long been acknowledged asks for an answer.
        Some(self.segment(self.next.saturating_sub(1)))
    }

    fn acknowledged(&mut self, now: Duration, ack: u64, window: u64, ahead: Option<(u64, u64)>) {
        if ack > self.unacknowledged && ack <= self.next {
            self.unacknowledged = ack;
            while let Some((&seq, flight)) = self.flights.first_key_value()
                && seq + flight.len() <= ack
            {
                self.landed(seq);
            }
            if self.fin == Fin::Sent && ack == self.next {
                self.fin = Fin::Acknowledged;
            }
        }
        if let Some((start, end)) = ahead {
            let seqs = self.flights.range(start..end).filter(|(seq, flight)| **seq + flight.len() <= end);
            for seq in seqs.map(|(seq, _)| *seq).collect::<Vec<_>>() {
                self.landed(seq);
            }
        }
        self.edge = self.edge.max(ack.saturating_add(window));
        if let Some(probe) = &mut self.probe {
            probe.since = now;
        }
    }

    fn landed(&mut self, seq: u64) {
        if let Some(flight) = self.flights.remove(&seq) {
            self.deadlines.remove(&(flight.due, seq));
            self.overdue.remove(&seq);
        }
    }

    /// Takes what a segment carries.
    fn take(&mut self, segment: Segment) {
        let next = segment.next();
        if next > self.expected && (self.orphan || self.ended) && !segment.payload.is_empty() {
            // Nobody will read this.
            self.reset(ErrorKind::ConnectionReset);
            return;
        }
        let mut ahead = None;
        if segment.seq > self.expected {
            ahead = Some((segment.seq, next));
            self.ahead.entry(segment.seq).or_insert((segment.payload, segment.fin));
        } else if next > self.expected {
            self.arrive(segment.seq, segment.payload, segment.fin);
            while let Some(first) = self.ahead.first_entry()
                && *first.key() <= self.expected
            {
                let (seq, (payload, fin)) = first.remove_entry();
                if seq + payload.len() as u64 + u64::from(fin) > self.expected {
                    self.arrive(seq, payload, fin);
                }
            }
        }
        self.acknowledge(ahead);
    }

    /// The next bytes of the stream, and perhaps some that have been there before, have come.
    fn arrive(&mut self, seq: u64, mut payload: Bytes, fin: bool) {
        payload.advance(usize::try_from(self.expected - seq).unwrap_or(usize::MAX).min(payload.len()));
        if let Some((after, _)) = self.cut {
            let most = after.saturating_sub(self.received);
            if payload.len() as u64 >= most {
                // What is behind the cut never comes.
                payload.truncate(most as usize);
                self.ahead.clear();
                return self.keep(payload);
            }
        }
        self.keep(payload);
        if fin {
            self.expected += 1;
            self.ended = true;
        }
    }

    fn keep(&mut self, payload: Bytes) {
        self.expected += payload.len() as u64;
        self.received += payload.len() as u64;
        self.arrived_bytes += payload.len();
        if !payload.is_empty() {
            self.arrived.push_back(payload);
        }
    }

    fn acknowledge(&mut self, ahead: Option<(u64, u64)>) {
        self.control.push_back(Control::Acknowledge { ahead });
    }

    fn segment(&mut self, seq: u64) -> Segment {
        self.advertised = self.expected + self.window();
        Segment { window: self.window(), ..Segment::empty(self.end.other(), seq, Some(self.expected)) }
    }

    const fn window(&self) -> u64 {
        self.config.receive_buffer.saturating_sub(self.arrived_bytes) as u64
    }

    /// How many bytes a writer may write.
    fn room(&self) -> usize {
        let kept = self.unsent.len() + (self.next - self.unacknowledged) as usize;
        self.config.send_buffer.saturating_sub(kept)
    }

    /// Whether a reader would find something.
    pub(crate) fn is_readable(&self) -> bool {
        self.error.is_some() || self.ended || !self.arrived.is_empty()
    }

    /// Whether a writer would get anywhere.
    pub(crate) fn is_writable(&self) -> bool {
        self.error.is_some() || self.fin != Fin::No || (self.phase == Phase::Open && self.room() > 0)
    }
}

/// The time of the next attempt after this many.
fn next_attempt(now: Duration, patience: Duration, made: u32) -> Duration {
    let doubled = patience.saturating_mul(1 << made.min(16));
    now.saturating_add(doubled.min(LONGEST_PATIENCE.max(patience)))
}
