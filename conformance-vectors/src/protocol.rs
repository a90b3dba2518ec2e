//! The protocol between a runner and an implementation under test, the *testee*: JSON Lines over the testee's
//! standard input and output.
//!
//! One request a line, one answer a line, in order, each answer with the `seq` of its request.
//! A testee that cannot do a thing answers `skip`; that is never a failure.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the protocol that `hello` carries.
pub const PROTOCOL: u64 = 1;

/// A request of the runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The number of the request, which the answer repeats.
    pub seq: u64,
    /// What is asked.
    #[serde(flatten)]
    pub op: Op,
}

/// What is asked of a testee.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Op {
    /// Who are you? The first request.
    Hello {
        /// The version of the protocol, [`PROTOCOL`].
        protocol: u64,
    },
    /// What do these bytes mean?
    Decode {
        /// The name of the dialect.
        dialect: String,
        /// `command`, `message` or `packet`.
        kind: String,
        /// The bytes.
        hex: String,
    },
    /// Which bytes does this value make?
    Encode {
        /// The name of the dialect.
        dialect: String,
        /// `command`, `message` or `packet`.
        kind: String,
        /// The value.
        value: Value,
    },
    /// Which packets come out of a stream that arrives in these pieces?
    Stream {
        /// The name of the dialect.
        dialect: String,
        /// The pieces in hex.
        chunks: Vec<String>,
    },
    /// Into which sub-packets is this packet cut?
    Split {
        /// The name of the dialect.
        dialect: String,
        /// The value of PACKET_IDENTIFY.
        packet_id: i64,
        /// The bytes of the entity that go into one sub-packet.
        size: u64,
        /// The packet.
        value: Value,
    },
    /// Which packet do these sub-packets make?
    Join {
        /// The name of the dialect.
        dialect: String,
        /// The sub-packets in hex.
        hex_list: Vec<String>,
    },
    /// Anything a later version of the protocol asks; it is answered with `skip`.
    #[serde(other)]
    Unknown,
}

/// An answer of a testee.
///
/// The fields are those of all operations together; which of them are filled depends on the request.
/// Fields that are not known are passed over, so that a testee may say more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The number of the request; none where the request could not be read so far.
    pub seq: Option<u64>,
    /// `hello`: the name of the implementation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub implementation: Option<String>,
    /// `hello`: its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `hello`: the dialects it speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialects: Option<Vec<String>>,
    /// `hello`: the operations it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ops: Option<Vec<String>>,
    /// `decode`, `join`: what the bytes mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// `decode`: how many of the bytes were taken; it need not be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumed: Option<u64>,
    /// `encode`: the bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// `stream`: the packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<Vec<Value>>,
    /// `stream`: how many bytes wait for more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
    /// `split`: the sub-packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hex_list: Option<Vec<String>>,
    /// The kind of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// More about the refusal, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Why the request was not tried at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
}

/// What a testee says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The name of the implementation.
    pub implementation: String,
    /// Its version.
    pub version: String,
    /// The dialects it speaks.
    pub dialects: Vec<String>,
    /// The operations it has.
    pub ops: Vec<String>,
}

impl Op {
    /// The name, as it stands in a request.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Decode { .. } => "decode",
            Self::Encode { .. } => "encode",
            Self::Stream { .. } => "stream",
            Self::Split { .. } => "split",
            Self::Join { .. } => "join",
            Self::Unknown => "unknown",
        }
    }
}

impl Answer {
    /// A refusal.
    pub fn error(kind: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { error: Some(kind.into()), detail: Some(detail.into()), ..Self::default() }
    }

    /// The request was not tried.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self { skip: Some(reason.into()), ..Self::default() }
    }
}

impl Hello {
    /// What an answer says about the testee.
    ///
    /// # Errors
    ///
    /// A sentence about what is missing.
    pub fn from_answer(answer: Answer) -> Result<Self, String> {
        if let Some(error) = answer.error {
            return Err(format!("it answers with the error {error}"));
        }
        let missing = |field: &str| format!("its answer lacks {field}");
        Ok(Self {
            implementation: answer.implementation.ok_or_else(|| missing("implementation"))?,
            version: answer.version.unwrap_or_default(),
            dialects: answer.dialects.ok_or_else(|| missing("dialects"))?,
            ops: answer.ops.ok_or_else(|| missing("ops"))?,
        })
    }

    /// Whether the testee speaks a dialect.
    pub fn has_dialect(&self, dialect: &str) -> bool {
        self.dialects.iter().any(|name| name == dialect)
    }

    /// Whether the testee has an operation.
    pub fn has_op(&self, op: &str) -> bool {
        self.ops.iter().any(|name| name == op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the protocol's own page, read and written back.
    #[test]
    fn the_examples_of_the_protocol_keep_their_form() {
        for line in [
            r#"{"seq":0,"op":"hello","protocol":1}"#,
            r#"{"seq":1,"op":"decode","dialect":"laxcus6","kind":"packet","hex":"87000105010000"}"#,
            r#"{"seq":3,"op":"encode","dialect":"laxcus6","kind":"message","value":{"key":1001,"type":"int32","value":0}}"#,
            r#"{"seq":4,"op":"stream","dialect":"laxcus6","chunks":["87","00"]}"#,
            r#"{"seq":5,"op":"split","dialect":"laxcus6","packet_id":7,"size":480,"value":{}}"#,
            r#"{"seq":6,"op":"join","dialect":"laxcus6","hex_list":["87"]}"#,
        ] {
            let request: Request = serde_json::from_str(line).expect(line);
            assert_eq!(serde_json::to_string(&request).expect("json"), line);
        }
        for line in [
            r#"{"seq":0,"implementation":"x","version":"0.1.0","dialects":["laxcus6"],"ops":["decode","encode"]}"#,
            r#"{"seq":1,"value":{"type":"request"},"consumed":7}"#,
            r#"{"seq":2,"error":"truncated","detail":"command needs 7 bytes, 2 given"}"#,
            r#"{"seq":3,"hex":"e903015000"}"#,
            r#"{"seq":5,"skip":"kind group is not implemented"}"#,
        ] {
            let answer: Answer = serde_json::from_str(line).expect(line);
            assert_eq!(serde_json::to_string(&answer).expect("json"), line);
        }
    }

    #[test]
    fn an_operation_of_a_later_version_can_be_read() {
        let request: Request =
            serde_json::from_str(r#"{"seq":9,"op":"compress","level":3}"#).expect("a request");
        assert_eq!(request, Request { seq: 9, op: Op::Unknown });
    }

    #[test]
    fn a_hello_without_operations_is_refused() {
        let answer: Answer =
            serde_json::from_str(r#"{"seq":0,"implementation":"x","dialects":[]}"#).expect("an answer");
        assert_eq!(Hello::from_answer(answer), Err("its answer lacks ops".to_owned()));
    }
}
