//! The ordered channels of a server against a naive model, which forgets nothing it should not and looks at
//! everything each time.

use std::time::{Duration, Instant};

use fixp_codec::{Packet, laxcus6};

use super::script::Script;
use crate::extension::Refusal;
use crate::limits::ServerLimits;
use crate::server::connection::Ordered;
use crate::server::ordered::{OrderedChannels, Verdict};

/// The channels that are spoken of.
const IDS: u8 = 5;
/// What a kept answer costs beside its bytes.
const KEPT: usize = 64;

/// Any requests, repeated, out of order, of channels known and forgotten, that end at any time.
pub fn ordered(input: &[u8]) {
    let mut script = Script::new(input);
    let settings = script.byte();
    let limits = ServerLimits {
        requests_per_connection: usize::from(settings & 3) + 1,
        ordered_channels: usize::from(settings >> 2 & 3),
        ordered_bytes: [0, 200, 500, 5000][usize::from(settings >> 4 & 3)],
        ordered_time: Duration::from_secs(8),
        ..ServerLimits::default()
    };
    let mut run = Run::new(limits);
    while !script.is_over() {
        match script.below(8) {
            0..=3 => run.submit(&mut script),
            4 | 5 => run.finish(&mut script),
            6 => run.now += Duration::from_millis(u64::from(script.byte()) * 40),
            _ => run.again(&mut script),
        }
    }
    run.end();
}

/// A channel as the model has it: everything that was ever taken on it.
struct Model {
    id: u8,
    last: i64,
    taken: Vec<Taken>,
    touched: Instant,
}

struct Taken {
    serial: i64,
    /// What is executed.
    request: u32,
    state: State,
    /// Who asked and has not been told.
    askers: Vec<u32>,
}

#[derive(PartialEq, Debug)]
enum State {
    Waiting,
    Running,
    /// Its answer and the bytes that it costs, while it is kept.
    Done(Option<(Option<Packet>, usize)>),
}

struct Run {
    limits: ServerLimits,
    real: OrderedChannels<u32, u32>,
    models: Vec<Model>,
    now: Instant,
    swept: Option<Instant>,
    requests: u32,
    /// How often each asker was told.
    told: Vec<u8>,
    /// What was executed, and how often.
    executed: Vec<u8>,
}

impl Run {
    fn new(limits: ServerLimits) -> Self {
        Self {
            real: OrderedChannels::new(&limits),
            limits,
            models: Vec::new(),
            now: Instant::now(),
            swept: None,
            requests: 0,
            told: Vec::new(),
            executed: Vec::new(),
        }
    }

    /// Any request: mostly the next one of its channel, or one that was there.
    fn submit(&mut self, script: &mut Script<'_>) {
        let id = script.below(IDS);
        let last = self.models.iter().find(|model| model.id == id).map_or(0, |model| model.last);
        let near = |byte: u8| last + i64::from(byte as i8 % 4);
        let (serial, predecessor) = match script.below(8) {
            0..=4 => (last + 1 + i64::from(script.byte() == 7), last),
            5 => (near(script.byte()), near(script.byte())),
            6 => (near(script.byte()), 0),
            _ => (i64::MIN, i64::MAX),
        };
        let answered = match script.below(6) {
            0..=3 => 0,
            4 => near(script.byte()),
            _ => i64::MAX,
        };
        self.request(Ordered { channel: [id; 16], serial, predecessor, answered });
    }

    /// One that was taken comes again.
    fn again(&mut self, script: &mut Script<'_>) {
        let all: Vec<_> = self
            .models
            .iter()
            .flat_map(|model| {
                model.taken.iter().map(|taken| Ordered {
                    channel: [model.id; 16],
                    serial: taken.serial,
                    predecessor: taken.serial - 1,
                    answered: 0,
                })
            })
            .collect();
        if !all.is_empty() {
            self.request(all[usize::from(script.byte()) % all.len()]);
        }
    }

    fn request(&mut self, place: Ordered) {
        let asker = self.told.len() as u32;
        self.told.push(0);
        let request = self.requests;
        self.requests += 1;
        self.executed.push(0);
        let expected = self.expect(place, request, asker);
        let (verdict, back) = self.real.submit(self.now, place, request, asker);
        assert_eq!(verdict, expected, "{place:?}");
        let kept = matches!(verdict, Verdict::Run(_) | Verdict::Wait);
        assert_eq!(back, (!kept).then_some(asker), "who is told at once is given back, others are kept");
        if let Some(asker) = back {
            self.told[asker as usize] += 1;
        }
        if let Verdict::Run(request) = verdict {
            self.execute(request);
        }
        self.check();
    }

    fn expect(&mut self, place: Ordered, request: u32, asker: u32) -> Verdict<u32> {
        let now = self.now;
        let silent = |model: &Model| now.duration_since(model.touched);
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= self.limits.ordered_time / 4) {
            self.swept = Some(now);
            let time = self.limits.ordered_time;
            self.models.retain(|model| model.works() || silent(model) < time);
        }
        let id = place.channel[0];
        if !self.models.iter().any(|model| model.id == id) {
            if place.predecessor != 0 {
                return Verdict::Refused(Refusal::Forgotten);
            }
            if self.models.len() >= self.limits.ordered_channels {
                // Of those that are silent for equally long, the one with the lowest number goes.
                let idle = self.models.iter().filter(|model| !model.works());
                let Some(gone) = idle.max_by_key(|model| (silent(model), u8::MAX - model.id)).map(|it| it.id)
                else {
                    return Verdict::Refused(Refusal::Overloaded);
                };
                self.models.retain(|model| model.id != gone);
            }
            self.models.push(Model { id, last: 0, taken: Vec::new(), touched: now });
        }
        let waiting = self.limits.requests_per_connection;
        let Some(model) = self.models.iter_mut().find(|model| model.id == id) else {
            return Verdict::Refused(Refusal::Forgotten);
        };
        model.touched = now;
        for taken in &mut model.taken {
            if taken.serial <= place.answered
                && let State::Done(kept) = &mut taken.state
            {
                *kept = None;
            }
        }
        if let Some(known) = model.taken.iter_mut().find(|taken| taken.serial == place.serial) {
            return match &known.state {
                State::Waiting | State::Running => {
                    known.askers.push(asker);
                    Verdict::Wait
                }
                State::Done(Some((answer, _))) => Verdict::Kept(answer.clone()),
                State::Done(None) => Verdict::Refused(Refusal::NotKept),
            };
        }
        if place.serial <= model.last {
            return Verdict::Refused(Refusal::NotKept);
        }
        if place.predecessor != model.last {
            return Verdict::Refused(Refusal::Gap);
        }
        if model.working() >= waiting {
            return Verdict::Refused(Refusal::Overloaded);
        }
        model.last = place.serial;
        let state = if model.works() { State::Waiting } else { State::Running };
        let verdict = if model.works() { Verdict::Wait } else { Verdict::Run(request) };
        model.taken.push(Taken { serial: place.serial, request, state, askers: vec![asker] });
        verdict
    }

    fn execute(&mut self, request: u32) {
        self.executed[request as usize] += 1;
        assert_eq!(self.executed[request as usize], 1, "a request runs once");
    }

    /// What runs on a channel ends; on one where nothing runs, nothing does.
    fn finish(&mut self, script: &mut Script<'_>) {
        let id = script.below(IDS);
        let kind = script.byte();
        let answer = (kind & 1 == 0)
            .then(|| Packet::new(laxcus6::answer::OKAY).with(laxcus6::key::SPEAK, i32::from(kind)));
        self.end_of(id, answer, usize::from(script.byte()));
    }

    fn end_of(&mut self, id: u8, answer: Option<Packet>, bytes: usize) {
        let finished = self.real.finished(self.now, [id; 16], answer.as_ref(), bytes);
        let limit = self.limits.ordered_bytes;
        let mut next = None;
        let mut askers = Vec::new();
        if let Some(model) = self.models.iter_mut().find(|model| model.id == id) {
            model.touched = self.now;
            if let Some(at) = model.taken.iter().position(|taken| taken.state == State::Running) {
                model.taken[at].state = State::Done(Some((answer, bytes + KEPT)));
                askers = std::mem::take(&mut model.taken[at].askers);
                if let Some(behind) = model.taken.get_mut(at + 1) {
                    assert_eq!(behind.state, State::Waiting, "the order is kept");
                    behind.state = State::Running;
                    next = Some(behind.request);
                }
            }
            model.drop_kept(limit);
        }
        assert_eq!(finished.waiters, askers, "all who asked are told, each once");
        assert_eq!(finished.next, next);
        for asker in askers {
            self.told[asker as usize] += 1;
        }
        if let Some(request) = next {
            self.execute(request);
        }
        self.check();
    }

    fn check(&self) {
        let (channels, waiting, bytes) = self.real.held();
        assert_eq!(channels, self.models.len());
        assert!(channels <= self.limits.ordered_channels);
        assert_eq!(waiting, self.models.iter().map(Model::working).max().unwrap_or(0));
        assert!(waiting <= self.limits.requests_per_connection);
        assert_eq!(bytes, self.models.iter().map(Model::kept).max().unwrap_or(0));
        assert!(bytes <= self.limits.ordered_bytes);
    }

    /// All that runs ends: then everybody has been told, once.
    fn end(mut self) {
        while let Some(id) = self.models.iter().find(|model| model.works()).map(|model| model.id) {
            self.end_of(id, None, 0);
        }
        assert!(self.told.iter().all(|times| *times == 1), "{:?}", self.told);
    }
}

impl Model {
    /// The requests that run or wait.
    fn working(&self) -> usize {
        self.taken.iter().filter(|taken| !matches!(taken.state, State::Done(_))).count()
    }

    fn works(&self) -> bool {
        self.working() > 0
    }

    /// The bytes of the answers that are kept.
    fn kept(&self) -> usize {
        let bytes = |taken: &Taken| match &taken.state {
            State::Done(Some((_, bytes))) => *bytes,
            _ => 0,
        };
        self.taken.iter().map(bytes).sum()
    }

    fn drop_kept(&mut self, limit: usize) {
        while self.kept() > limit {
            let oldest = self.taken.iter_mut().find(|taken| matches!(taken.state, State::Done(Some(_))));
            if let Some(oldest) = oldest {
                oldest.state = State::Done(None);
            }
        }
    }
}

/// Who waits here is a number, and never goes.
impl crate::server::ordered::Waits for u32 {
    fn has_gone(&self) -> bool {
        false
    }
}

/// In the ledger's property, a place.
impl crate::server::ordered::Waits for (usize, usize) {
    fn has_gone(&self) -> bool {
        false
    }
}
