//! What a testee's answers to one vector come to (SPEC 7.1).

use fixp_codec::Policy;
use serde_json::{Map, Value};

use crate::answerer::{Answerer, Trouble};
use crate::compare::{first_difference, first_different_byte, shorten};
use crate::protocol::{Answer, Hello, Op};
use crate::vector::{Class, Kind, Vector};
use crate::verdict::{Bytes, Failure, Verdict};

/// How much is expected of a testee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// What every implementation must do.
    Conformance,
    /// What a reader of this policy does: strict takes nothing lenient, compatible takes all of it but the
    /// named refusals.
    Exactly(Policy),
}

/// Why a vector cannot be run with such a testee.
pub(crate) fn skip_reason(vector: &Vector, hello: &Hello) -> Option<String> {
    if vector.class == Class::Note {
        return Some("a note, nothing to run".to_owned());
    }
    if let Kind::Other(name) = &vector.kind {
        return Some(format!("the protocol has no operation for kind {name}"));
    }
    if !hello.has_dialect(&vector.dialect) {
        return Some(format!("the testee does not speak {}", vector.dialect));
    }
    let ops = ops_of(vector);
    if ops.iter().any(|op| hello.has_op(op)) {
        return None;
    }
    Some(format!("the testee has no operation {}", ops.join(" or ")))
}

/// Runs one vector. [`skip_reason`] must have found none.
pub(crate) fn judge(
    vector: &Vector,
    expect: Expect,
    hello: &Hello,
    answerer: &mut dyn Answerer,
) -> Result<Verdict, Trouble> {
    let mut case = Case { vector, expect, hello, answerer, notes: Vec::new(), skips: Vec::new() };
    let stop = match (&vector.kind, vector.class) {
        (Kind::Stream, _) => case.stream(),
        (Kind::Group, _) => case.group(),
        (_, Class::RefuseEncode) => case.refuse_encode(),
        (_, Class::Valid) => case.valid(),
        (_, Class::DecodeOnly) => case.decode_only(),
        (_, Class::Lenient) => case.lenient(),
        (_, Class::Invalid | Class::Note) => case.invalid(),
    };
    match stop {
        Ok(()) if case.skips.is_empty() => Ok(Verdict::Passed { notes: case.notes }),
        Ok(()) => Ok(Verdict::Skipped { reason: case.skips.join("; ") }),
        Err(Stop::Failure(failure)) => Ok(Verdict::Failed { failure: *failure }),
        Err(Stop::Trouble(trouble)) => Err(trouble),
    }
}

/// The operations that can say something about a vector.
fn ops_of(vector: &Vector) -> &'static [&'static str] {
    match (&vector.kind, vector.class) {
        (Kind::Stream, _) => &["stream"],
        (Kind::Group, Class::Valid) => &["split", "join"],
        (Kind::Group, _) => &["join"],
        (_, Class::RefuseEncode) => &["encode"],
        (_, Class::Valid) => &["decode", "encode"],
        _ => &["decode"],
    }
}

/// A vector on its way through a testee.
struct Case<'a> {
    vector: &'a Vector,
    expect: Expect,
    hello: &'a Hello,
    answerer: &'a mut dyn Answerer,
    notes: Vec<String>,
    skips: Vec<String>,
}

/// The end of a case before its end.
enum Stop {
    Failure(Box<Failure>),
    Trouble(Trouble),
}

/// What an operation gave.
enum Outcome<T> {
    Done(T),
    Refused(Refused),
    Skipped,
}

/// A refusal.
struct Refused {
    kind: String,
    detail: Option<String>,
    /// The packets of a stream before the error.
    packets: Option<Vec<Value>>,
}

/// What a decoder gave.
struct Decoded {
    value: Value,
    consumed: Option<u64>,
}

impl Case<'_> {
    fn valid(&mut self) -> Result<(), Stop> {
        if self.announced("decode") {
            self.decodes_to_value()?;
        }
        if self.announced("encode")
            && let Outcome::Done(hex) = self.encode(need(&self.vector.value, "value")?)?
        {
            self.same_bytes("encode", None, need(&self.vector.hex, "hex")?, &hex)?;
        }
        Ok(())
    }

    fn decode_only(&mut self) -> Result<(), Stop> {
        self.decodes_to_value()?;
        if !self.announced("encode") {
            return Ok(());
        }
        let decoded = self.skips.is_empty();
        match self.encode(need(&self.vector.value, "value")?)? {
            Outcome::Done(hex) => {
                if let Outcome::Done(again) = self.decode(&hex)? {
                    let value = need(&self.vector.value, "value")?;
                    self.same_value("decode of its own encoding", value, &again.value)?;
                }
            }
            // What is only to be decoded has been judged by then: nobody has to write everything that he reads.
            Outcome::Skipped if decoded => self.notes.append(&mut self.skips),
            Outcome::Skipped | Outcome::Refused(_) => {}
        }
        Ok(())
    }

    fn lenient(&mut self) -> Result<(), Stop> {
        let hex = need(&self.vector.hex, "hex")?;
        let answer = self.try_decode(hex)?;
        match (self.must_take(), answer) {
            (_, Outcome::Skipped) => {}
            (Some(true), Outcome::Refused(refused)) => return Err(refused.fails("decode")),
            (Some(false), Outcome::Done(decoded)) => return Err(accepted("decode", &decoded.value)),
            (_, Outcome::Refused(refused)) => self.note_kind(self.vector.refusal.as_deref(), &refused.kind),
            (_, Outcome::Done(decoded)) => match &self.vector.value {
                Some(value) => {
                    self.same_value("decode", value, &decoded.value)?;
                    self.same_consumed(self.vector.consumed, decoded.consumed)?;
                }
                None => self.notes.push("accepted; no value is recorded to compare with".to_owned()),
            },
        }
        Ok(())
    }

    fn invalid(&mut self) -> Result<(), Stop> {
        match self.try_decode(need(&self.vector.hex, "hex")?)? {
            Outcome::Refused(refused) => self.note_kind(self.vector.error.as_deref(), &refused.kind),
            Outcome::Done(decoded) => return Err(accepted("decode", &decoded.value)),
            Outcome::Skipped => {}
        }
        Ok(())
    }

    fn refuse_encode(&mut self) -> Result<(), Stop> {
        match self.try_encode(need(&self.vector.value, "value")?)? {
            Outcome::Refused(refused) => self.note_kind(self.vector.error.as_deref(), &refused.kind),
            Outcome::Done(hex) => {
                return Err(fail("encode", format!("must be refused, but gave {}", shorten(&hex))));
            }
            Outcome::Skipped => {}
        }
        Ok(())
    }

    fn stream(&mut self) -> Result<(), Stop> {
        let vector = self.vector;
        let chunks = need(&vector.chunks, "chunks")?.clone();
        let op = Op::Stream { dialect: vector.dialect.clone(), chunks };
        let answer = self.settle(op, |answer| {
            let packets = answer.packets.take()?;
            Some((packets, answer.pending))
        })?;
        let must_take = if vector.class == Class::Invalid { Some(false) } else { self.must_take() };
        match (must_take, answer) {
            (_, Outcome::Skipped) => {}
            (Some(true), Outcome::Refused(refused)) => return Err(refused.fails("stream")),
            (Some(false), Outcome::Done((packets, _))) => {
                return Err(accepted("stream", &Value::Array(packets)));
            }
            (_, Outcome::Refused(refused)) => {
                self.note_kind(vector.error.as_deref().or(vector.refusal.as_deref()), &refused.kind);
                if let (Some(expected), Some(got)) = (&vector.packets, refused.packets) {
                    self.packets_before_error(expected, got)?;
                }
            }
            (_, Outcome::Done((packets, pending))) => {
                let expected = stream_value(need(&vector.packets, "packets")?.clone(), vector.pending);
                let got = stream_value(packets, vector.pending.and(pending));
                self.same_value("stream", &expected, &got)?;
            }
        }
        Ok(())
    }

    /// Packets read before an error stand (SPEC 8.3). A testee need not tell all of them, but those it tells
    /// must be right. Our own must tell all of an `invalid` stream; where a lenient one is refused depends on
    /// the policy.
    fn packets_before_error(&self, expected: &[Value], got: Vec<Value>) -> Result<(), Stop> {
        let all = self.vector.class == Class::Invalid && self.expect != Expect::Conformance;
        let told = if all { expected.len() } else { got.len().min(expected.len()) };
        let expected = stream_value(expected[..told].to_vec(), None);
        self.same_value("stream", &expected, &stream_value(got, None))
    }

    fn group(&mut self) -> Result<(), Stop> {
        let vector = self.vector;
        let hex_list = need(&vector.hex_list, "hex_list")?;
        let field = |name: &str| {
            let value = vector.value.as_ref().and_then(|value| value.get(name));
            value.ok_or_else(|| fail("vector", format!("its value has no {name}")))
        };
        if vector.class == Class::Valid && self.announced("split") {
            let op = Op::Split {
                dialect: vector.dialect.clone(),
                packet_id: field("packet_id")?.as_i64().unwrap_or_default(),
                size: field("size").ok().and_then(Value::as_u64).unwrap_or(SUB_PACKET_SIZE),
                value: field("whole")?.clone(),
            };
            match self.settle(op, |answer| answer.hex_list.take())? {
                Outcome::Done(got) => {
                    for (part, (expected, got)) in hex_list.iter().zip(&got).enumerate() {
                        self.same_bytes("split", Some(part), expected, got)?;
                    }
                    if got.len() != hex_list.len() {
                        let what = format!("expected {} sub-packets, got {}", hex_list.len(), got.len());
                        return Err(fail("split", what));
                    }
                }
                Outcome::Refused(refused) => return Err(refused.fails("split")),
                Outcome::Skipped => {}
            }
        }
        if self.announced("join") {
            let op = Op::Join { dialect: vector.dialect.clone(), hex_list: hex_list.clone() };
            match (vector.class, self.settle(op, |answer| answer.value.take())?) {
                (_, Outcome::Skipped) => {}
                (Class::Invalid, Outcome::Done(value)) => return Err(accepted("join", &value)),
                (Class::Invalid, Outcome::Refused(refused)) => {
                    self.note_kind(vector.error.as_deref(), &refused.kind);
                }
                (_, Outcome::Done(value)) => self.same_value("join", field("composed")?, &value)?,
                (Class::Lenient, Outcome::Refused(refused)) => {
                    self.note_kind(vector.refusal.as_deref(), &refused.kind);
                }
                (_, Outcome::Refused(refused)) => return Err(refused.fails("join")),
            }
        }
        Ok(())
    }

    /// Whether a stream or a lenient vector has to be accepted, where that is not free.
    fn must_take(&self) -> Option<bool> {
        match (self.vector.class, self.expect) {
            (Class::Lenient, Expect::Conformance) => None,
            (Class::Lenient, Expect::Exactly(Policy::Compatible)) => Some(self.vector.refusal.is_none()),
            (Class::Lenient, Expect::Exactly(_)) => Some(self.is_payload() && self.vector.refusal.is_none()),
            _ => Some(true),
        }
    }

    /// Whether the vector is the payload of a remote call, of which there is one reader, whatever the policy.
    fn is_payload(&self) -> bool {
        matches!(self.vector.kind, Kind::Call | Kind::Reply)
    }

    /// Whether the testee has an operation; a note says that it was not asked.
    fn announced(&mut self, op: &str) -> bool {
        let announced = self.hello.has_op(op);
        if !announced {
            self.notes.push(format!("not judged by {op}, which the testee does not have"));
        }
        announced
    }

    fn decodes_to_value(&mut self) -> Result<(), Stop> {
        let vector = self.vector;
        let hex = need(&vector.hex, "hex")?;
        if let Outcome::Done(decoded) = self.decode(hex)? {
            self.same_value("decode", need(&vector.value, "value")?, &decoded.value)?;
            let whole = hex.len() as u64 / 2;
            self.same_consumed(Some(vector.consumed.unwrap_or(whole)), decoded.consumed)?;
        }
        Ok(())
    }

    /// A decoding that must not be refused.
    fn decode(&mut self, hex: &str) -> Result<Outcome<Decoded>, Stop> {
        match self.try_decode(hex)? {
            Outcome::Refused(refused) => Err(refused.fails("decode")),
            other => Ok(other),
        }
    }

    /// An encoding that must not be refused.
    fn encode(&mut self, value: &Value) -> Result<Outcome<String>, Stop> {
        match self.try_encode(value)? {
            Outcome::Refused(refused) => Err(refused.fails("encode")),
            other => Ok(other),
        }
    }

    fn try_decode(&mut self, hex: &str) -> Result<Outcome<Decoded>, Stop> {
        let Vector { dialect, kind, .. } = self.vector;
        let op = Op::Decode { dialect: dialect.clone(), kind: kind.name().to_owned(), hex: hex.to_owned() };
        self.settle(op, |answer| {
            let value = answer.value.take()?;
            Some(Decoded { value, consumed: answer.consumed })
        })
    }

    fn try_encode(&mut self, value: &Value) -> Result<Outcome<String>, Stop> {
        let Vector { dialect, kind, .. } = self.vector;
        let op = Op::Encode { dialect: dialect.clone(), kind: kind.name().to_owned(), value: value.clone() };
        self.settle(op, |answer| answer.hex.take())
    }

    /// Asks, and takes from the answer the one thing that it must be: a result, a refusal or a skip.
    fn settle<T>(
        &mut self,
        op: Op,
        result: impl FnOnce(&mut Answer) -> Option<T>,
    ) -> Result<Outcome<T>, Stop> {
        let name = op.name();
        let mut answer = self.answerer.ask(op).map_err(Stop::Trouble)?;
        if let Some(reason) = answer.skip {
            self.skips.push(format!("{name}: {}", shorten(&reason)));
            return Ok(Outcome::Skipped);
        }
        if let Some(kind) = answer.error.take() {
            // A stream tells the packets before the error; anywhere else a result beside an error is two
            // answers.
            if name != "stream" && result(&mut answer).is_some() {
                return Err(fail(name, format!("it gives a result and the error {}", shorten(&kind))));
            }
            return Ok(Outcome::Refused(Refused { kind, detail: answer.detail, packets: answer.packets }));
        }
        match result(&mut answer) {
            Some(result) => Ok(Outcome::Done(result)),
            None => Err(fail(name, "the answer has neither a result nor an error nor a skip".to_owned())),
        }
    }

    fn same_value(&self, op: &str, expected: &Value, got: &Value) -> Result<(), Stop> {
        let Some(difference) = first_difference(expected, got) else { return Ok(()) };
        let bytes = match self.vector.kind {
            // The packet that a group makes is not laid out like any of its parts.
            Kind::Group => None,
            _ => self.vector.span_of_path(&difference.path),
        };
        let bytes = bytes.map(|(part, range)| Bytes { part, offset: range.start, length: range.len() });
        let place = if difference.path.is_empty() { "the value" } else { &difference.path };
        let from = difference.character.map(|at| format!(" from character {at} on")).unwrap_or_default();
        let mut what = format!("{place}{from}: expected {}, got {}", difference.expected, difference.got);
        if let Some(bytes) = &bytes {
            what.push_str(&format!(" ({bytes})"));
        }
        Err(Stop::Failure(Box::new(Failure {
            op: op.to_owned(),
            what,
            path: Some(difference.path),
            bytes,
            expected: Some(difference.expected),
            got: Some(difference.got),
        })))
    }

    fn same_bytes(&self, op: &str, part: Option<usize>, expected: &str, got: &str) -> Result<(), Stop> {
        let expected = hex::decode(expected).map_err(|error| fail("vector", format!("its hex: {error}")))?;
        let Ok(got) = hex::decode(got) else {
            return Err(fail(op, format!("not hex: {}", shorten(got))));
        };
        let Some(offset) = first_different_byte(&expected, &got) else { return Ok(()) };
        let show = |bytes: &[u8]| {
            bytes.get(offset).map_or_else(|| "the end".to_owned(), |byte| format!("{byte:02x}"))
        };
        let span = self.vector.span_at(part, offset);
        let bytes = Bytes { part, offset, length: 1 };
        let field =
            span.map(|span| format!(" ({}: {})", span.path, shorten(&span.meaning))).unwrap_or_default();
        let (expected, got) = (show(&expected), show(&got));
        Err(Stop::Failure(Box::new(Failure {
            op: op.to_owned(),
            what: format!("{bytes}{field}: expected {expected}, got {got}"),
            path: span.map(|span| span.path.clone()),
            bytes: Some(bytes),
            expected: Some(expected),
            got: Some(got),
        })))
    }

    fn same_consumed(&self, expected: Option<u64>, got: Option<u64>) -> Result<(), Stop> {
        match (expected, got) {
            (Some(expected), Some(got)) if expected != got => Err(Stop::Failure(Box::new(Failure {
                op: "decode".to_owned(),
                what: format!("consumed: expected {expected}, got {got}"),
                expected: Some(expected.to_string()),
                got: Some(got.to_string()),
                ..Failure::default()
            }))),
            _ => Ok(()),
        }
    }

    /// The kinds of refusals are for information (SPEC 7.6).
    fn note_kind(&mut self, expected: Option<&str>, got: &str) {
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            self.notes.push(format!("refused as {}, the vector says {expected}", shorten(got)));
        }
    }
}

/// The bytes of the entity in one sub-packet, unless a vector says otherwise (SPEC 9.1).
const SUB_PACKET_SIZE: u64 = 480;

fn stream_value(packets: Vec<Value>, pending: Option<u64>) -> Value {
    let mut fields = Map::new();
    fields.insert("packets".to_owned(), Value::Array(packets));
    if let Some(pending) = pending {
        fields.insert("pending".to_owned(), pending.into());
    }
    Value::Object(fields)
}

fn fail(op: &str, what: String) -> Stop {
    Stop::Failure(Box::new(Failure { op: op.to_owned(), what, ..Failure::default() }))
}

impl Refused {
    /// The failure of an operation that must not be refused.
    fn fails(&self, op: &str) -> Stop {
        let detail = self.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        fail(op, format!("must be accepted, but was refused: {}", shorten(&format!("{}{detail}", self.kind))))
    }
}

fn accepted(op: &str, value: &Value) -> Stop {
    fail(op, format!("must be refused, but gave {}", shorten(&value.to_string())))
}

/// A field that the class of the vector requires.
fn need<'a, T>(field: &'a Option<T>, name: &str) -> Result<&'a T, Stop> {
    field.as_ref().ok_or_else(|| fail("vector", format!("it has no {name}")))
}

#[cfg(test)]
mod tests;
