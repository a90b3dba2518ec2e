//! The codec of this project as a testee.
//!
//! This is also the example of how little a testee is. The same for another codec, as a whole program:
//!
//! ```no_run
//! use conformance_vectors::Policy;
//! use std::io;
//!
//! conformance_vectors::testee::serve(Policy::Compatible, io::stdin().lock(), io::stdout().lock())?;
//! # Ok::<(), io::Error>(())
//! ```

use std::io::{self, BufRead, Write};

use fixp_codec::Policy;
use serde_json::Value;

use crate::calls::Unmade;
use crate::codec::{self, Refusal};
use crate::lines::{Line, read_line, skip_line};
use crate::protocol::{Answer, Hello, Op, Request};

/// How many bytes a request may have. A request that is longer is answered with the error `limit`, and not
/// kept.
pub const REQUEST_LIMIT: usize = 64 << 20;

/// Answers requests until the input ends.
///
/// Nothing in a request can end it: what cannot be read is answered with an error, what is not known with
/// `skip`.
///
/// # Errors
///
/// Those of the input and of the output.
pub fn serve(policy: Policy, input: impl BufRead, output: impl Write) -> io::Result<()> {
    serve_bounded(policy, input, output, REQUEST_LIMIT)
}

/// The codec with a policy.
#[derive(Debug, Clone, Copy)]
pub struct Testee {
    policy: Policy,
}

impl Testee {
    /// The codec with a policy.
    pub fn new(policy: Policy) -> Self {
        Self { policy }
    }

    /// What the testee says of itself.
    pub fn hello() -> Hello {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Hello {
            implementation: "fixp-codec".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            dialects: names(&codec::DIALECTS),
            ops: names(&["decode", "encode", "stream"]),
        }
    }

    /// The answer to a request.
    pub fn answer(&self, request: &Request) -> Answer {
        let answer = match &request.op {
            Op::Hello { .. } => {
                let Hello { implementation, version, dialects, ops } = Self::hello();
                Answer {
                    implementation: Some(implementation),
                    version: Some(version),
                    dialects: Some(dialects),
                    ops: Some(ops),
                    ..Answer::default()
                }
            }
            Op::Decode { dialect, kind, hex } => {
                self.known(dialect, Some(kind)).unwrap_or_else(|| self.decode(dialect, kind, hex))
            }
            Op::Encode { dialect, kind, value } => {
                self.known(dialect, Some(kind)).unwrap_or_else(|| self.encode(dialect, kind, value))
            }
            Op::Stream { dialect, chunks } => {
                self.known(dialect, None).unwrap_or_else(|| self.stream(dialect, chunks))
            }
            op @ (Op::Split { .. } | Op::Join { .. } | Op::Unknown) => {
                Answer::skip(format!("operation {} is not implemented", op.name()))
            }
        };
        Answer { seq: Some(request.seq), ..answer }
    }

    /// The skip for a dialect or a kind that is not implemented.
    fn known(&self, dialect: &str, kind: Option<&str>) -> Option<Answer> {
        if !codec::DIALECTS.contains(&dialect) {
            return Some(Answer::skip(format!("dialect {dialect} is not implemented")));
        }
        let reason = match kind? {
            "command" | "message" | "packet" => return None,
            "call" | "reply" if codec::has_calls(dialect) => return None,
            "call" | "reply" => format!("{dialect} has no remote calls"),
            kind => format!("kind {kind} is not implemented"),
        };
        Some(Answer::skip(reason))
    }

    fn decode(&self, dialect: &str, kind: &str, hex: &str) -> Answer {
        if let "call" | "reply" = kind {
            return Self::decode_payload(dialect, kind, hex);
        }
        let decoded = bytes(hex).and_then(|bytes| match kind {
            "command" => codec::decode_command(dialect, self.policy, &bytes),
            "message" => codec::decode_message(dialect, self.policy, &bytes),
            _ => codec::decode_packet(dialect, self.policy, &bytes),
        });
        match decoded {
            Ok((value, consumed)) => {
                Answer { value: Some(value), consumed: Some(consumed as u64), ..Answer::default() }
            }
            Err(refusal) => refused(refusal),
        }
    }

    /// The payload of a remote call. Its reader takes what it needs, whatever follows, and does not say how
    /// much that was.
    fn decode_payload(dialect: &str, kind: &str, hex: &str) -> Answer {
        let decoded = bytes(hex).and_then(|bytes| match kind {
            "call" => codec::decode_call(dialect, &bytes),
            _ => codec::decode_reply(dialect, &bytes),
        });
        match decoded {
            Ok(value) => Answer { value: Some(value), ..Answer::default() },
            Err(refusal) => refused(refusal),
        }
    }

    fn encode_payload(dialect: &str, kind: &str, value: &Value) -> Answer {
        let encoded = match kind {
            "call" => codec::encode_call(dialect, value),
            _ => codec::encode_reply(dialect, value),
        };
        match encoded {
            Ok(bytes) => Answer { hex: Some(hex::encode(bytes)), ..Answer::default() },
            Err(Unmade::Refused(refusal)) => refused(refusal),
            Err(Unmade::Skipped(reason)) => Answer::skip(reason),
        }
    }

    fn encode(&self, dialect: &str, kind: &str, value: &Value) -> Answer {
        if let "call" | "reply" = kind {
            return Self::encode_payload(dialect, kind, value);
        }
        let encoded = match kind {
            "command" => codec::encode_command(dialect, value),
            "message" => codec::encode_message(dialect, value),
            _ => codec::encode_packet(dialect, value),
        };
        match encoded {
            Ok(bytes) => Answer { hex: Some(hex::encode(bytes)), ..Answer::default() },
            Err(refusal) => refused(refusal),
        }
    }

    fn stream(&self, dialect: &str, chunks: &[String]) -> Answer {
        let chunks = match chunks.iter().map(|chunk| bytes(chunk)).collect::<Result<Vec<_>, _>>() {
            Ok(chunks) => chunks,
            Err(refusal) => return refused(refusal),
        };
        let decoded = codec::decode_stream(dialect, self.policy, &chunks);
        let answer = decoded.error.map(refused).unwrap_or_default();
        // Behind an error nothing waits: the stream is over (SPEC 8.3).
        let pending = answer.error.is_none().then_some(decoded.pending as u64);
        Answer { packets: Some(decoded.packets), pending, ..answer }
    }
}

fn refused(refusal: Refusal) -> Answer {
    Answer::error(refusal.kind, refusal.detail)
}

/// The bytes of lower-case hex.
pub(crate) fn bytes(hex: &str) -> Result<Vec<u8>, Refusal> {
    if hex.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return Err(Refusal { kind: "bad-value", detail: "hex digits are lower-case".to_owned() });
    }
    hex::decode(hex).map_err(|error| Refusal { kind: "bad-value", detail: format!("hex: {error}") })
}

fn serve_bounded(
    policy: Policy,
    mut input: impl BufRead,
    mut output: impl Write,
    limit: usize,
) -> io::Result<()> {
    let testee = Testee::new(policy);
    let mut line = Vec::new();
    loop {
        let answer = match read_line(&mut input, &mut line, limit)? {
            Line::End => return Ok(()),
            Line::TooLong => {
                skip_line(&mut input)?;
                Answer::error("limit", format!("a request has at most {limit} bytes"))
            }
            Line::Whole => match serde_json::from_slice::<Request>(&line) {
                Ok(request) => testee.answer(&request),
                Err(error) => unreadable(&line, &error),
            },
        };
        let mut answer = serde_json::to_vec(&answer)?;
        answer.push(b'\n');
        output.write_all(&answer)?;
        output.flush()?;
    }
}

/// The answer to a line that is no request, with its number if it has one.
fn unreadable(line: &[u8], error: &serde_json::Error) -> Answer {
    let seq = serde_json::from_slice::<Value>(line).ok().and_then(|value| value.get("seq")?.as_u64());
    Answer { seq, ..Answer::error("bad-value", format!("not a request: {error}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers to some lines, as JSON.
    fn answers(policy: Policy, input: &[u8], limit: usize) -> Vec<Value> {
        let mut output = Vec::new();
        serve_bounded(policy, input, &mut output, limit).expect("memory cannot fail");
        let text = String::from_utf8(output).expect("answers are text");
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).expect("answers are JSON")).collect()
    }

    /// The answer to one line, as text.
    fn answer(line: &str) -> String {
        let mut output = Vec::new();
        serve(Policy::Compatible, line.as_bytes(), &mut output).expect("memory cannot fail");
        String::from_utf8(output).expect("answers are text").trim_end().to_owned()
    }

    /// The conversation on the page of the protocol.
    #[test]
    fn the_conversation_of_the_protocol_goes_as_written() {
        let hello = answer(r#"{"seq":0,"op":"hello","protocol":1}"#);
        assert!(hello.starts_with(r#"{"seq":0,"implementation":"fixp-codec","version":""#), "{hello}");
        assert!(
            hello.ends_with(
                r#""dialects":["lexst1","laxcus6","laxcus2"],"ops":["decode","encode","stream"]}"#
            ),
            "{hello}"
        );
        assert_eq!(
            answer(r#"{"seq":1,"op":"decode","dialect":"laxcus6","kind":"packet","hex":"87000105010000"}"#),
            r#"{"seq":1,"value":{"type":"request","major":1,"minor":5,"version":256,"messages":[],"data":""},"consumed":7}"#
        );
        let refusal = answer(r#"{"seq":2,"op":"decode","dialect":"laxcus6","kind":"packet","hex":"8700"}"#);
        assert!(refusal.starts_with(r#"{"seq":2,"error":"truncated","detail":""#), "{refusal}");
        assert_eq!(
            answer(
                r#"{"seq":3,"op":"encode","dialect":"laxcus6","kind":"message","value":{"key":1001,"type":"int32","value":0}}"#
            ),
            r#"{"seq":3,"hex":"e903015000"}"#
        );
        let refusal = answer(
            r#"{"seq":4,"op":"encode","dialect":"lexst1","kind":"message","value":{"key":1,"type":"zraw","value":"00"}}"#,
        );
        assert!(refusal.starts_with(r#"{"seq":4,"error":"unknown-type","#), "{refusal}");
        assert_eq!(
            answer(r#"{"seq":5,"op":"decode","dialect":"laxcus6","kind":"group","hex":""}"#),
            r#"{"seq":5,"skip":"kind group is not implemented"}"#
        );
    }

    #[test]
    fn what_is_not_implemented_is_skipped() {
        for line in [
            r#"{"seq":1,"op":"decode","dialect":"laxcus7","kind":"packet","hex":""}"#,
            r#"{"seq":1,"op":"split","dialect":"laxcus6","packet_id":1,"size":480,"value":{}}"#,
            r#"{"seq":1,"op":"join","dialect":"laxcus6","hex_list":[]}"#,
            r#"{"seq":1,"op":"dance"}"#,
        ] {
            assert!(answer(line).starts_with(r#"{"seq":1,"skip":""#), "{line}");
        }
    }

    #[test]
    fn the_policy_is_that_of_the_testee() {
        let padded = br#"{"seq":1,"op":"decode","dialect":"laxcus6","kind":"message","hex":"e90302500100"}"#;
        assert_eq!(answers(Policy::Compatible, padded, 1000)[0]["value"]["value"], 1);
        assert_eq!(answers(Policy::Strict, padded, 1000)[0]["error"], "not-canonical");
    }

    #[test]
    fn a_stream_tells_what_came_before_its_end() {
        let whole = "87000105010100fc03015000";
        let line =
            |chunks: &str| format!(r#"{{"seq":1,"op":"stream","dialect":"laxcus6","chunks":[{chunks}]}}"#);
        let waiting: Value =
            serde_json::from_str(&answer(&line(&format!(r#""{whole}87","00","""#)))).expect("JSON");
        assert_eq!(
            (waiting["packets"].as_array().map(Vec::len), &waiting["pending"]),
            (Some(1), &Value::from(2))
        );
        let broken: Value = serde_json::from_str(&answer(&line(&format!(r#""{whole}00""#)))).expect("JSON");
        assert_eq!(
            (broken["packets"].as_array().map(Vec::len), &broken["error"]),
            (Some(1), &Value::from("bad-tag"))
        );
        assert!(broken.get("pending").is_none());
    }

    #[test]
    fn each_packet_of_a_stream_has_its_own_entity() {
        let packet = |entity: &str| format!("87000105010100fc030150{:02x}{entity}", entity.len() / 2);
        let stream = packet("aabb") + &packet("cc") + &packet("");
        let line = format!(
            r#"{{"seq":1,"op":"stream","dialect":"laxcus6","chunks":["{}","{}"]}}"#,
            &stream[..26],
            &stream[26..]
        );
        let answer: Value = serde_json::from_str(&answer(&line)).expect("JSON");
        let entities: Vec<_> = (0..3).map(|index| answer["packets"][index]["data"].clone()).collect();
        assert_eq!(entities, ["aabb", "cc", ""]);
    }

    #[test]
    fn nothing_in_a_request_ends_the_testee() {
        let deep = "[".repeat(100_000);
        let lines = [
            "",
            "x",
            "null",
            "[]",
            "{}",
            r#"{"seq":-1,"op":"hello","protocol":1}"#,
            r#"{"seq":1}"#,
            r#"{"seq":1,"op":5}"#,
            r#"{"seq":1,"op":"decode"}"#,
            r#"{"seq":1,"op":"decode","dialect":"laxcus6","kind":"packet","hex":5}"#,
            r#"{"seq":1,"op":"decode","dialect":"laxcus6","kind":"packet","hex":"8"}"#,
            r#"{"seq":1,"op":"decode","dialect":"laxcus6","kind":"packet","hex":"\u00e9\u00e9"}"#,
            r#"{"seq":1,"op":"encode","dialect":"laxcus6","kind":"packet","value":null}"#,
            r#"{"seq":1,"op":"encode","dialect":"laxcus6","kind":"message","value":{"key":70000,"type":"raw","value":""}}"#,
            r#"{"seq":1,"op":"encode","dialect":"laxcus6","kind":"command","value":{"type":"answer","code":-1}}"#,
            r#"{"seq":1,"op":"stream","dialect":"laxcus6","chunks":["zz"]}"#,
            deep.as_str(),
        ];
        for line in lines {
            let input = format!("{line}\n{{\"seq\":7,\"op\":\"hello\",\"protocol\":1}}\n");
            let answers = answers(Policy::Compatible, input.as_bytes(), 1 << 20);
            assert_eq!(answers.len(), 2, "{line}");
            assert_eq!(answers[0]["error"], "bad-value", "{line}: {}", answers[0]);
            assert!(answers[0]["detail"].is_string(), "{line}");
            assert_eq!(answers[1]["seq"], 7, "{line}");
        }
        let not_text = answers(Policy::Compatible, b"{\"seq\":1,\"op\":\"\xff\"}\n", 1000);
        assert_eq!(not_text[0]["error"], "bad-value");
    }

    #[test]
    fn a_line_that_is_no_request_is_answered_with_its_number() {
        assert!(answer(r#"{"seq":12,"op":"decode"}"#).starts_with(r#"{"seq":12,"error":"bad-value""#));
        assert!(answer("no").starts_with(r#"{"seq":null,"error":"bad-value""#));
    }

    #[test]
    fn a_request_that_is_too_long_is_refused_and_the_next_is_read() {
        let long = format!(
            r#"{{"seq":1,"op":"decode","dialect":"laxcus6","kind":"packet","hex":"{}"}}"#,
            "00".repeat(500)
        );
        let input = format!("{long}\n{{\"seq\":2,\"op\":\"hello\",\"protocol\":1}}");
        let bounded = answers(Policy::Compatible, input.as_bytes(), 500);
        assert_eq!(
            (bounded.len(), &bounded[0]["error"], &bounded[1]["seq"]),
            (2, &Value::from("limit"), &Value::from(2))
        );
        assert_eq!(answers(Policy::Compatible, input.as_bytes(), long.len())[0]["error"], "bad-tag");
    }

    /// One packet may carry hundreds of values that inflate to a mebibyte each.
    #[test]
    fn compressed_values_are_bounded_together() {
        let zeros = serde_json::json!({"key": 1, "type": "zraw", "value": "00".repeat(1 << 20)});
        let message = codec::encode_message("laxcus2", &zeros).expect("it can be written");
        let answer_to = |count: u8| {
            let command = [0x87, 0, 1, 1, 1, count, 0];
            let packet = [command.as_slice(), &message.repeat(count.into())].concat();
            codec::decode_packet("laxcus2", Policy::Compatible, &packet)
                .map(|_| ())
                .map_err(|refusal| refusal.kind)
        };
        assert_eq!(answer_to(2), Ok(()));
        assert_eq!(answer_to(17), Err("limit"));
    }
}
