//! A channel's bookkeeping with a peer that executes what has reached it, sooner or later, over one
//! connection after another: each request ends once, with its own answer or with what is true of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Packet, laxcus6};

use super::script::Script;
use crate::Repeat;
use crate::channel::ledger::{Ledger, Matched, Matching, Outcome, Submission, Tag};
use crate::error::{CallError, Cause, Fate};
use crate::extension::{PING, Refusal};
use crate::limits::ServerLimits;
use crate::server::connection::Ordered;
use crate::server::ordered::{OrderedChannels, Verdict};

const MOST_STEPS: usize = 800;

/// Any submissions, writes, answers, refusals, timeouts, cancellations, cuts and restarts of the peer.
pub fn ledger(input: &[u8]) {
    let mut script = Script::new(input);
    let mut world = World::new(script.byte());
    // Everything is looked at after each step, so that many steps would be slow.
    for _ in 0..MOST_STEPS {
        if script.is_over() {
            break;
        }
        world.step(&mut script);
        world.check();
    }
    world.end();
}

/// A request, as its caller and its peer know it.
struct Asked {
    size: usize,
    deadline: Instant,
    repeat: Repeat,
    canceled: bool,
    told: bool,
    /// It was said that it is certainly not executed.
    disclaimed: bool,
    /// How often it was executed.
    executed: u32,
    /// It was put on some connection.
    placed: bool,
    /// The whole head of a copy of it went over a connection that is gone.
    copied: bool,
    /// It may be that for which the peer sent what nobody can use.
    spoiled: bool,
    /// Its ordered channel, and its serial there.
    serial: Option<([u8; 16], i64)>,
}

/// A copy of a request on a connection. The channel's own have no number.
struct Frame {
    request: Option<u32>,
    tag: Tag,
    /// Where its head ends, behind which the peer may begin.
    head: u64,
    deadline: Instant,
    progress: Progress,
}

#[derive(PartialEq, Debug)]
enum Progress {
    Sent,
    /// It has reached the peer.
    Taken,
    /// The peer has an answer to it.
    Ready(Option<Refusal>),
    Answered,
}

#[derive(Default)]
struct Line {
    frames: Vec<Frame>,
    enqueued: u64,
    written: u64,
    /// The answers of this connection.
    answered: u64,
}

/// Where an answer of the peer belongs: the connection and the frame.
type Place = (usize, usize);

struct World {
    ledger: Ledger<u32>,
    /// What the matching is once the peer is known.
    matching: Matching,
    /// Whether the peer answers only what it has executed, or refused.
    honest: bool,
    now: Instant,
    asked: Vec<Asked>,
    lines: Vec<Line>,
    /// The last line is a connection that stands.
    up: bool,
    /// The ordered channels of the peer, what runs on each, and for what it was refused while it did.
    peer: OrderedChannels<Place, Option<u32>>,
    running: Vec<([u8; 16], Option<u32>, Option<Refusal>)>,
    /// The last request executed, and the last new serial, of each ordered channel.
    last_executed: BTreeMap<[u8; 16], u32>,
    last_serial: BTreeMap<[u8; 16], i64>,
    /// Ordered channels on which a request has lost its place.
    broken: BTreeSet<[u8; 16]>,
    freed: (usize, usize),
}

impl World {
    fn new(settings: u8) -> Self {
        let matching = match settings & 3 {
            0 => Matching::InOrder(1 + usize::from(settings >> 4 & 3)),
            1 => Matching::Tagged,
            _ => Matching::Ordered,
        };
        let first = if matching == Matching::Ordered { matching } else { Matching::InOrder(1) };
        Self {
            ledger: Ledger::new(u128::from(settings), first),
            matching,
            honest: settings & 4 == 0,
            now: Instant::now(),
            asked: Vec::new(),
            lines: Vec::new(),
            up: false,
            peer: peer(settings),
            running: Vec::new(),
            last_executed: BTreeMap::new(),
            last_serial: BTreeMap::new(),
            broken: BTreeSet::new(),
            freed: (0, 0),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(16) {
            0 | 1 => {
                for _ in 0..=script.below(4) {
                    self.submit(script);
                }
            }
            2 | 3 if !self.up => self.connect(script.flag()),
            2 | 3 => self.send(script),
            4 | 5 => {
                if let Some(line) = self.line() {
                    line.written = (line.written + u64::from(script.byte())).min(line.enqueued);
                }
            }
            6 | 7 => {
                for _ in 0..=script.below(4) {
                    self.reach(script);
                }
            }
            8 => self.finish(script),
            9 | 10 => {
                for _ in 0..=script.below(4) {
                    self.answer(script);
                }
            }
            11 => {
                self.now += Duration::from_millis(u64::from(script.byte()) * 4);
                self.expire();
            }
            12 => self.cancel(script),
            13 if self.up => {
                let unreadable = self.asked.len() % 4 == 3;
                self.cut(if unreadable {
                    Cause::Unexpected
                } else {
                    Cause::Lost(ErrorKind::ConnectionReset)
                });
            }
            14 => self.stray(script),
            _ => match script.below(4) {
                0 => self.restart(script.byte()),
                1 => self.fail_all(Cause::NotOrdered),
                // Another client makes the peer forget.
                _ => {
                    let place =
                        Ordered { channel: [0xee; 16], serial: 1, predecessor: 0, answered: i64::MAX };
                    if let (Verdict::Run(_), _) = self.peer.submit(self.now, place, None, (usize::MAX, 0)) {
                        let _ = self.peer.finished(self.now, place.channel, None, 0);
                    }
                }
            },
        }
    }

    fn line(&mut self) -> Option<&mut Line> {
        self.lines.last_mut().filter(|_| self.up)
    }

    fn submit(&mut self, script: &mut Script<'_>) {
        let id = self.asked.len() as u32;
        let choices = script.byte();
        let (size, deadline) =
            (usize::from(choices), self.now + Duration::from_millis(u64::from(script.byte()) * 16));
        let repeat = if choices & 1 == 0 { Repeat::Pieces } else { Repeat::Harmless };
        self.asked.push(Asked {
            size,
            deadline,
            repeat,
            canceled: false,
            told: false,
            disclaimed: false,
            executed: 0,
            placed: false,
            copied: false,
            spoiled: false,
            serial: None,
        });
        let packet = packet(Some(id));
        self.ledger.submit(Submission {
            id: u64::from(id),
            packet,
            size,
            since: self.now,
            deadline,
            repeat,
            tag: u64::from(id),
            waiter: Some(id),
        });
    }

    /// One of the channel's own.
    fn own(&self) -> Submission<u32> {
        let deadline = self.now + Duration::from_millis(500);
        Submission {
            id: 0,
            packet: packet(None),
            size: 0,
            since: self.now,
            deadline,
            repeat: Repeat::Never,
            tag: 0,
            waiter: None,
        }
    }

    fn connect(&mut self, known: bool) {
        self.up = true;
        self.lines.push(Line::default());
        self.ledger.set_matching(if known { self.matching } else { Matching::InOrder(1) });
    }

    fn send(&mut self, script: &mut Script<'_>) {
        let canceled = std::mem::take(&mut self.ledger.canceled);
        for serial in canceled {
            let frames = &self.lines[self.lines.len() - 1].frames;
            let frame = frames.iter().find(|frame| frame.tag == Tag::Serial(serial));
            let gone = frame.is_some_and(|frame| frame.request.is_none_or(|id| self.is_over(id)));
            assert!(gone, "only what was sent and is given up is canceled at the peer");
        }
        if self.ledger.wants_opening() {
            let opening = self.own();
            self.ledger.open(opening);
        } else if self.matching != Matching::Ordered && self.ledger.is_idle() && script.byte() == 0 {
            let heartbeat = self.own();
            self.ledger.submit(heartbeat);
        }
        for _ in 0..=script.below(8) {
            let Some((packet, tag, deadline)) = self.ledger.next() else { return };
            let request = id_of(packet);
            if request.is_some_and(|id| id % 32 == 31 && !self.asked[id as usize].placed) {
                self.ledger.unsendable(Cause::Full);
                self.tell();
                continue;
            }
            let length = 1 + u64::from(script.below(32));
            let up_to = self.lines[self.lines.len() - 1].enqueued + length;
            self.sending(request, tag);
            let head = up_to - length / 2;
            self.ledger.sent(head);
            if let Some(line) = self.line() {
                line.enqueued = up_to;
                line.frames.push(Frame { request, tag, head, deadline, progress: Progress::Sent });
            }
        }
    }

    /// A request goes on the connection: whether it may, and under its own serial.
    fn sending(&mut self, request: Option<u32>, tag: Tag) {
        let frames = &self.lines[self.lines.len() - 1].frames;
        let open = frames.iter().filter(|frame| frame.progress != Progress::Answered).count();
        if let Some(id) = request {
            let asked = &self.asked[id as usize];
            let again = self.matching == Matching::Ordered && asked.placed;
            assert!(again || !self.is_over(id), "nobody waits for request {id}");
            assert!(!asked.spoiled, "request {id} would end this connection, too");
        }
        match (self.ledger.matching(), tag) {
            (Matching::InOrder(depth), Tag::None) => assert!(open < depth, "{open} are under way"),
            (Matching::Tagged, Tag::Serial(serial)) => {
                assert!(frames.iter().all(|frame| frame.tag != Tag::Serial(serial)), "a serial is used once");
            }
            (Matching::Ordered, Tag::Ordered { channel, serial, predecessor, answered }) => {
                assert_eq!(predecessor, serial - 1);
                let waited = self.asked.iter().filter(|asked| !asked.told && !asked.canceled);
                let mut serials = waited.filter_map(|asked| asked.serial);
                let denied = serials.any(|(number, serial)| number == channel && serial <= answered);
                assert!(!denied, "not every answer up to {answered} has come");
                let before = frames.iter().rev().find_map(|frame| match frame.tag {
                    Tag::Ordered { channel: number, serial, .. } if number == channel => Some(serial),
                    _ => None,
                });
                assert!(before.is_none_or(|before| before < serial), "in their order");
                let known = request.and_then(|id| self.asked[id as usize].serial);
                let last = self.last_serial.entry(channel).or_insert(0);
                match (known, request) {
                    (Some(known), _) => assert_eq!(known, (channel, serial), "a request keeps its serial"),
                    (None, None) => assert_eq!(serial, 1, "the channel is opened first"),
                    (None, Some(_)) => assert_eq!(serial, *last + 1, "serials have no gap"),
                }
                *last = serial.max(*last);
                let lost = self.broken.contains(&channel);
                assert!(known.is_some() || !lost, "nothing new goes where it would be refused");
                if let Some(id) = request {
                    self.asked[id as usize].serial = Some((channel, serial));
                }
            }
            (matching, tag) => panic!("{tag:?} where answers come {matching:?}"),
        }
        if let Some(id) = request {
            self.asked[id as usize].placed = true;
        }
    }

    /// Whether nobody waits for it.
    fn is_over(&self, id: u32) -> bool {
        let asked = &self.asked[id as usize];
        asked.told || asked.canceled
    }

    /// The next request of some connection whose head is whole, perhaps one that is gone, reaches the peer.
    fn reach(&mut self, script: &mut Script<'_>) {
        let back = if script.below(4) == 0 { usize::from(script.below(3)) } else { 0 };
        let Some(line) = self.lines.len().checked_sub(1 + back) else { return };
        let written = self.lines[line].written;
        let frames = &mut self.lines[line].frames;
        let Some(at) =
            frames.iter().position(|frame| frame.progress == Progress::Sent && frame.head <= written)
        else {
            return;
        };
        frames[at].progress = Progress::Taken;
        let (request, tag) = (frames[at].request, frames[at].tag);
        let refused = script.byte();
        let Tag::Ordered { channel, serial, predecessor, answered } = tag else {
            let refusal = match refused {
                1 => Some(Refusal::Overloaded),
                2 => Some(Refusal::Late),
                3 => Some(Refusal::Unwritable),
                4 => Some(Refusal::Other(99)),
                _ => None,
            };
            if refusal.is_none_or(|refusal| !refusal.is_unexecuted()) {
                self.execute(request);
            }
            frames_of(&mut self.lines, line)[at].progress = Progress::Ready(refusal);
            return;
        };
        if request.is_some_and(|id| id % 32 == 30) {
            // A peer refuses a large entity whenever it comes.
            frames_of(&mut self.lines, line)[at].progress = Progress::Ready(Some(Refusal::TooLarge));
            return;
        }
        let place = Ordered { channel, serial, predecessor, answered };
        let (verdict, _) = self.peer.submit(self.now, place, request, (line, at));
        let progress = match verdict {
            Verdict::Run(request) => {
                self.run(channel, request, refused);
                return;
            }
            Verdict::Wait => return,
            Verdict::Refused(refusal) => Some(refusal),
            Verdict::Kept(None) => return,
            Verdict::Kept(Some(answer)) => {
                if self.honest {
                    assert_eq!(id_of(&answer), request, "a kept answer is that of the request");
                }
                answer.first(REFUSAL).and_then(fixp_codec::Value::as_i16).map(Refusal::of_number)
            }
        };
        frames_of(&mut self.lines, line)[at].progress = Progress::Ready(progress);
    }

    /// A request of an ordered channel begins; one that is late is not executed.
    fn run(&mut self, channel: [u8; 16], request: Option<u32>, refused: u8) {
        let refusal = match refused {
            2 if request.is_some() => Some(Refusal::Late),
            3 => Some(Refusal::Unwritable),
            _ => None,
        };
        if refusal != Some(Refusal::Late) {
            self.execute(request);
            if let Some(id) = request {
                let last = self.last_executed.insert(channel, id);
                assert!(!self.honest || last.is_none_or(|last| last < id), "{last:?} before {id}");
            }
        }
        self.running.push((channel, request, refusal));
    }

    fn execute(&mut self, request: Option<u32>) {
        let Some(id) = request else { return };
        let asked = &mut self.asked[id as usize];
        asked.executed += 1;
        let honest = self.honest;
        assert!(!honest || !asked.disclaimed, "request {id} was said to be not executed");
        let may_repeat = asked.repeat == Repeat::Harmless && self.matching != Matching::Ordered;
        assert!(!honest || may_repeat || asked.executed == 1, "request {id} is executed once more");
    }

    /// Something that runs on an ordered channel of the peer ends.
    fn finish(&mut self, script: &mut Script<'_>) {
        if self.running.is_empty() {
            return;
        }
        let at = usize::from(script.byte()) % self.running.len();
        let (channel, request, refusal) = self.running.remove(at);
        let mut answer = packet(request);
        if let Some(refusal) = refusal {
            answer = answer.with(REFUSAL, refusal.number());
        }
        let finished = self.peer.finished(self.now, channel, Some(&answer), usize::from(script.byte()));
        for (line, at) in finished.waiters {
            // One that is not honest has answered before.
            let frame = self.lines.get_mut(line).and_then(|line| line.frames.get_mut(at));
            if let Some(frame) = frame.filter(|frame| frame.progress != Progress::Answered) {
                frame.progress = Progress::Ready(refusal);
            }
        }
        if let Some(request) = finished.next {
            self.run(channel, request, script.byte());
        }
    }

    /// The peer answers something.
    fn answer(&mut self, script: &mut Script<'_>) {
        let (in_order, honest) = (matches!(self.ledger.matching(), Matching::InOrder(_)), self.honest);
        let choice = usize::from(script.byte());
        let Some(line) = self.line() else { return };
        let open = |frame: &Frame| frame.progress != Progress::Answered;
        let ready = |frame: &Frame| matches!(frame.progress, Progress::Ready(_)) || !honest && open(frame);
        let at = if in_order {
            line.frames.iter().position(open).filter(|at| ready(&line.frames[*at]))
        } else {
            let all: Vec<usize> = (0..line.frames.len()).filter(|at| ready(&line.frames[*at])).collect();
            (!all.is_empty()).then(|| all[choice % all.len()])
        };
        let Some(frame) = at.map(|at| &mut line.frames[at]) else { return };
        let before = std::mem::replace(&mut frame.progress, Progress::Answered);
        let refusal = if let Progress::Ready(refusal) = before { refusal } else { None };
        let (request, tag) = (frame.request, frame.tag);
        let serial = serial_of(tag);
        if let (Tag::Ordered { channel, .. }, Some(refusal)) = (tag, refusal)
            && !refusal.keeps_place()
        {
            self.broken.insert(channel);
        }
        let late = matches!(tag, Tag::Serial(_)) && request.is_some_and(|id| self.is_over(id));
        let expected = match request {
            None => Matched::Internal,
            Some(_) if late => Matched::Late,
            Some(_) => Matched::Answered,
        };
        let was_open = request.is_some_and(|id| !self.is_over(id));
        assert_eq!(self.ledger.answer(serial, refusal, Ok(packet(request))), expected);
        if let Some(line) = self.line() {
            line.answered += u64::from(expected == Matched::Answered);
        }
        self.tell();
        if let (Some(id), true) = (request, was_open) {
            assert!(self.is_over(id), "the answer to request {id} goes to it");
        }
        if self.ledger.matching() == Matching::InOrder(1) {
            self.ledger.set_matching(self.matching);
        }
    }

    /// An answer comes that nobody asked for.
    fn stray(&mut self, script: &mut Script<'_>) {
        let byte = script.byte();
        let Some(line) = self.line() else { return };
        let serials: Vec<i64> = line.frames.iter().filter_map(|frame| serial_of(frame.tag)).collect();
        let serial = match serials.get(usize::from(byte) % (serials.len() + 1)) {
            _ if byte == 0 => None,
            Some(serial) => Some(*serial),
            None => Some((i64::from(byte) - 128) << (byte & 31)),
        };
        let open = line.frames.iter().filter(|frame| frame.progress != Progress::Answered);
        let (mut count, mut asked) = (0, false);
        for frame in open {
            count += 1;
            asked |= serial.is_some() && serial == serial_of(frame.tag);
        }
        if let Matching::InOrder(_) = self.ledger.matching() {
            if count == 0 {
                assert_eq!(self.ledger.answer(serial, None, Ok(packet(None))), Matched::Unexpected);
                self.cut(Cause::Unexpected);
            }
        } else if !asked {
            assert_eq!(self.ledger.answer(serial, None, Ok(packet(None))), Matched::Late);
        }
        assert!(self.ledger.ended.is_empty(), "nobody gets what nobody asked for");
    }

    fn expire(&mut self) {
        let now = self.now;
        let cause = if self.up { Cause::Timeout } else { Cause::Connect(ErrorKind::ConnectionRefused) };
        let in_order = matches!(self.ledger.matching(), Matching::InOrder(_));
        let awaited = |frame: &Frame| {
            let own = in_order || frame.request.is_none();
            own && frame.progress != Progress::Answered && frame.deadline <= now
        };
        let expected = self.line().is_some_and(|line| line.frames.iter().any(awaited));
        let written = self.line().map_or(0, |line| line.written);
        let close = self.ledger.expire(now, cause, written);
        assert_eq!(close, expected, "a late answer would go to another");
        self.tell();
        for (id, asked) in self.asked.iter().enumerate() {
            assert!(asked.deadline > now || asked.told || asked.canceled, "the time of request {id} is over");
        }
        if close {
            self.cut(Cause::Lost(ErrorKind::TimedOut));
        }
    }

    fn cancel(&mut self, script: &mut Script<'_>) {
        if let Some(count) = self.asked.len().checked_sub(1) {
            let id = count - usize::from(script.byte()) % (count + 1);
            self.asked[id].canceled |= !self.asked[id].told;
            self.ledger.cancel(id as u64);
        }
    }

    fn cut(&mut self, cause: Cause) {
        let Some(line) = self.line() else { return };
        let (written, answered) = (line.written, line.answered);
        let open: Vec<(u32, bool)> = (line.frames.iter())
            .filter(|frame| frame.progress != Progress::Answered)
            .filter_map(|frame| Some((frame.request?, frame.head <= written)))
            .collect();
        let tagged = self.ledger.matching() == Matching::Tagged;
        let (mut not_sent, mut possibly) = (Vec::new(), Vec::new());
        for (id, begun) in open {
            self.asked[id as usize].spoiled |= begun && cause == Cause::Unexpected;
            if !(tagged && self.is_over(id)) {
                let asked = &mut self.asked[id as usize];
                asked.copied |= begun;
                if asked.copied { &mut possibly } else { &mut not_sent }.push(u64::from(id));
            }
        }
        // Those that wait to be sent.
        let line = self.line().map_or(&[][..], |line| &line.frames);
        let sent: Vec<u32> = line.iter().filter_map(|frame| frame.request).collect();
        for (id, asked) in (0..).zip(&self.asked) {
            if !(asked.told || asked.canceled || sent.contains(&id)) {
                if asked.copied { &mut possibly } else { &mut not_sent }.push(u64::from(id));
            }
        }
        let mut report = self.ledger.cut(cause, written);
        assert_eq!(report.answered, answered);
        for tags in [&mut report.not_sent, &mut report.possibly_executed, &mut not_sent, &mut possibly] {
            tags.sort_unstable();
        }
        assert_eq!((report.not_sent, report.possibly_executed), (not_sent, possibly));
        self.up = false;
        assert_eq!(self.ledger.in_flight(), 0);
        self.tell();
    }

    /// The peer starts anew: what it knew is gone, and what had not reached it.
    fn restart(&mut self, settings: u8) {
        self.cut(Cause::Lost(ErrorKind::ConnectionReset));
        self.lines.clear();
        self.running.clear();
        self.peer = peer(settings);
    }

    fn fail_all(&mut self, cause: Cause) {
        self.cut(cause);
        self.ledger.fail_all(cause);
        self.tell();
        assert!(self.ledger.is_idle());
        assert!((0..self.asked.len()).all(|id| self.is_over(id as u32)), "everybody is told");
    }

    /// Callers are told.
    fn tell(&mut self) {
        for (id, outcome) in std::mem::take(&mut self.ledger.ended) {
            self.outcome(id, outcome);
        }
    }

    fn outcome(&mut self, id: u32, outcome: Outcome) {
        let now = self.now;
        let asked = &mut self.asked[id as usize];
        if let Err(CallError { cause: Cause::Timeout, .. }) = outcome {
            assert!(asked.deadline <= now, "request {id} had time");
        }
        assert!(!asked.told && !asked.canceled, "request {id} ends once, and only for those who wait");
        asked.told = true;
        match outcome {
            Ok(answer) => {
                assert_eq!(id_of(&answer), Some(id), "the answer of another");
                assert!(!self.honest || asked.executed > 0);
            }
            Err(CallError { fate: Fate::NotSent, .. }) => {
                asked.disclaimed = true;
                assert!(!self.honest || asked.executed == 0, "request {id} was executed");
                assert!(!asked.copied, "the head of request {id} was sent");
            }
            Err(CallError { fate: Fate::PossiblyExecuted, cause }) => {
                assert!(asked.placed, "request {id} was never sent: {cause}");
            }
        }
    }

    fn check(&mut self) {
        self.tell();
        let (requests, bytes) = std::mem::take(&mut self.ledger.freed);
        self.freed = (self.freed.0 + requests, self.freed.1 + bytes);
        let (live, live_bytes) = self.ledger.check();
        let all: usize = self.asked.iter().map(|asked| asked.size).sum();
        assert_eq!((self.freed.0 + live, self.freed.1 + live_bytes), (self.asked.len(), all));
        let waiting = self.asked.iter().filter(|asked| !asked.told && !asked.canceled);
        if let Some(first) = waiting.map(|asked| asked.deadline).min() {
            assert!(self.ledger.earliest().is_some_and(|earliest| earliest <= first), "nobody looks in time");
        }
    }

    /// The channel is closed: nothing is left.
    fn end(mut self) {
        self.fail_all(Cause::Closed);
        self.check();
        assert_eq!(self.freed.0, self.asked.len());
        assert_eq!((self.ledger.queued(), self.ledger.queued_bytes(), self.ledger.in_flight()), (0, 0, 0));
    }
}

/// The key of a refusal in the answers that the peer keeps.
const REFUSAL: u16 = crate::extension::key::REFUSAL;

fn frames_of(lines: &mut [Line], line: usize) -> &mut [Frame] {
    lines.get_mut(line).map_or(&mut [], |line| &mut line.frames[..])
}

const fn serial_of(tag: Tag) -> Option<i64> {
    match tag {
        Tag::None => None,
        Tag::Serial(serial) | Tag::Ordered { serial, .. } => Some(serial),
    }
}

/// A request, or its answer: what it is for stands in its entity.
fn packet(request: Option<u32>) -> Packet {
    let mut packet = Packet::new(if request.is_some() { laxcus6::answer::OKAY } else { PING });
    packet.entity = request.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(&id.to_le_bytes()));
    packet
}

fn id_of(packet: &Packet) -> Option<u32> {
    packet.entity.first_chunk().map(|id| u32::from_le_bytes(*id))
}

fn peer(settings: u8) -> OrderedChannels<Place, Option<u32>> {
    OrderedChannels::new(&ServerLimits {
        requests_per_connection: if settings & 8 == 0 { 1024 } else { 2 },
        ordered_channels: if settings & 64 == 0 { 100 } else { 1 },
        ordered_bytes: if settings & 128 == 0 { 10_000 } else { 200 },
        ordered_time: Duration::from_secs(2),
        ..ServerLimits::default()
    })
}
