//! What a vector came to.

use std::fmt;

use serde::Serialize;

/// What a vector came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// Every check that was made holds.
    Passed {
        /// What is worth knowing all the same, such as a refusal of another kind than the vector names.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// A check does not hold.
    Failed {
        /// Which, and where.
        failure: Failure,
    },
    /// Nothing was checked, or the testee skipped a part of it.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It failed, as the list of known failures says.
    KnownFailure {
        /// Which check does not hold, and where.
        failure: Failure,
    },
}

/// The check that does not hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The operation, `decode` or `encode` for example.
    pub op: String,
    /// What is wrong, in one sentence.
    pub what: String,
    /// The field of the value, `messages[2].value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The bytes of the vector that the field stands in, or the one byte that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    /// What should have come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<String>,
}

/// Some bytes of a vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// The element of `hex_list` or `chunks` that they are in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<usize>,
    /// The first byte.
    pub offset: usize,
    /// How many.
    pub length: usize,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.op, self.what)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, offset, length } = self;
        match length {
            1 => write!(f, "byte {offset}")?,
            _ => write!(f, "bytes {offset}..{}", offset + length)?,
        }
        part.map_or(Ok(()), |part| write!(f, " of part {part}"))
    }
}
