//! One vector: bytes, what they mean, and where the knowledge comes from.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One vector, with the fields of a line of a vector file in the order in which they are written.
///
/// A field that the model does not know is refused: a misspelled `eror` would otherwise make a vector that
/// tests nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// The name, unique over all files; it begins with the dialect and a slash.
    pub id: String,
    /// The name of the dialect.
    pub dialect: String,
    /// What the bytes are.
    pub kind: Kind,
    /// What an implementation must do with it.
    pub class: Class,
    /// The bytes in lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// The datagrams of a group, in lower-case hex each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex_list: Option<Vec<String>>,
    /// The pieces in which a stream arrives, in lower-case hex each; a piece may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<Vec<String>>,
    /// What the bytes mean, in the JSON forms of the conformance protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The packets that come out of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<Vec<Value>>,
    /// How many bytes of a stream wait for more behind the last packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
    /// How many of the bytes are taken, where it is not all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed: Option<u64>,
    /// Why an `invalid` or `refuse-encode` vector is refused: a kind of SPEC 7.6. For information: no runner
    /// insists on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// On a `lenient` vector: our compatible reader refuses it all the same, with this kind of error (SPEC
    /// 7.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The numbers of the rules of docs/SPEC.md that it tests.
    pub rules: Vec<String>,
    /// Where it comes from, in words.
    pub source: String,
    /// What the recorded program did, where it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<String>,
    /// How many bytes of the heap a reader may take for it at any one time, its input not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Every byte, once and in order, with what it is.
    pub map: Vec<Span>,
    /// What is special about it, in one sentence.
    pub comment: String,
}

/// What the bytes of a vector are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Kind {
    /// The seven bytes of a command.
    Command,
    /// One message.
    Message,
    /// One packet.
    Packet,
    /// A packet cut into the sub-packets of KEEP UDP.
    Group,
    /// Pieces of a stream of packets.
    Stream,
    /// The payload of a remote call: the entity of its request.
    Call,
    /// The payload of the answer to a remote call.
    Reply,
    /// Anything else, such as a cipher with its key: data for which the testee protocol has no operation.
    Other(String),
}

/// What an implementation must do with a vector (SPEC 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Decodes to the value, and the value encodes to exactly these bytes.
    Valid,
    /// May be refused, or accepted with the value.
    Lenient,
    /// Must be refused.
    Invalid,
    /// A value that an encoder must refuse; it has no bytes.
    RefuseEncode,
    /// Decodes to the value; the bytes need not come back from encoding.
    DecodeOnly,
    /// For reading only; nothing is run.
    Note,
}

/// A few bytes of a vector and what they are: one entry of its byte map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// In which element of `hex_list` or `chunks` the bytes are; absent where the vector has `hex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<usize>,
    /// The first byte, counted from the beginning of the vector or of its part.
    pub offset: usize,
    /// How many bytes.
    pub length: usize,
    /// Where in the value the field stands, `messages[2].value`.
    pub path: String,
    /// What the bytes say, in words.
    pub meaning: String,
}

impl Vector {
    /// The parts of the vector that have bytes, in hex: `hex` alone, or the elements of `hex_list` or
    /// `chunks`.
    pub fn parts(&self) -> &[String] {
        match (&self.hex, &self.hex_list, &self.chunks) {
            (Some(hex), _, _) => std::slice::from_ref(hex),
            (None, Some(list), _) | (None, None, Some(list)) => list,
            (None, None, None) => &[],
        }
    }

    /// How many bytes the vector has, all parts together.
    pub fn byte_count(&self) -> usize {
        self.parts().iter().map(|part| part.len() / 2).sum()
    }

    /// The entry of the byte map that covers a byte.
    pub fn span_at(&self, part: Option<usize>, offset: usize) -> Option<&Span> {
        self.map.iter().find(|span| span.part == part && span.range().contains(&offset))
    }

    /// The bytes that a path of the value stands for, with the part they are in: those of all its fields, and
    /// where the map does not know the path, those of the nearest thing around it. A field that is cut by the
    /// border of two parts is given with what the first part has of it. `None` where nothing around the path
    /// is mapped either.
    pub fn span_of_path(&self, path: &str) -> Option<(Option<usize>, Range<usize>)> {
        let path = self.mapped_path(path);
        let mut path = path.as_str();
        while !path.is_empty() {
            let mut spans =
                self.map.iter().filter(|span| is_within(&span.path, path) || is_within(path, &span.path));
            if let Some(first) = spans.next() {
                let range = spans
                    .filter(|span| span.part == first.part)
                    .map(Span::range)
                    .fold(first.range(), |all, next| all.start.min(next.start)..all.end.max(next.end));
                return Some((first.part, range));
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        }
        None
    }

    /// The path by which the byte map knows a field of the value. They differ where one byte says more than
    /// one thing, and where the value has no room for the structure of the bytes.
    fn mapped_path(&self, path: &str) -> String {
        let (packet, field) = match &self.kind {
            Kind::Stream => {
                path.split_once('.').map_or(("", path), |(packet, _)| path.split_at(packet.len() + 1))
            }
            _ => ("", path),
        };
        let field = match field {
            "type" if self.kind == Kind::Message => "type_length".to_owned(),
            "type" => "command.tag".to_owned(),
            "version" | "major" | "minor" | "code" | "message_count" => format!("command.{field}"),
            "data" => "entity".to_owned(),
            _ => match field.strip_suffix(".type") {
                Some(message) => format!("{message}.type_length"),
                None => field.to_owned(),
            },
        };
        format!("{packet}{field}")
    }
}

impl Span {
    /// The bytes, counted as in [`Span::offset`].
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset.saturating_add(self.length)
    }
}

impl Kind {
    /// The name, as it stands in a vector file.
    pub fn name(&self) -> &str {
        match self {
            Self::Command => "command",
            Self::Message => "message",
            Self::Packet => "packet",
            Self::Group => "group",
            Self::Stream => "stream",
            Self::Call => "call",
            Self::Reply => "reply",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for Kind {
    fn from(name: String) -> Self {
        match name.as_str() {
            "command" => Self::Command,
            "message" => Self::Message,
            "packet" => Self::Packet,
            "group" => Self::Group,
            "stream" => Self::Stream,
            "call" => Self::Call,
            "reply" => Self::Reply,
            _ => Self::Other(name),
        }
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Other(name) => name,
            known => known.name().to_owned(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Class {
    /// The name, as it stands in a vector file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Lenient => "lenient",
            Self::Invalid => "invalid",
            Self::RefuseEncode => "refuse-encode",
            Self::DecodeOnly => "decode-only",
            Self::Note => "note",
        }
    }

    /// The class of a name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Valid, Self::Lenient, Self::Invalid, Self::RefuseEncode, Self::DecodeOnly, Self::Note]
            .into_iter()
            .find(|class| class.name() == name)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether `inner` is the path `outer` or stands below it.
fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector() -> Vector {
        serde_json::from_str(
            r#"{"id":"laxcus6/message/x","dialect":"laxcus6","kind":"message","class":"valid","hex":"e9030150ff","rules":["4.1"],
            "source":"test","map":[{"offset":0,"length":2,"path":"key","meaning":"key 1001"},
            {"offset":2,"length":2,"path":"type_length","meaning":"int32, 1 byte"},{"offset":4,"length":1,"path":"value","meaning":"255"}],"comment":"c"}"#,
        )
        .expect("a vector")
    }

    #[test]
    fn the_fields_are_written_in_the_order_of_the_files() {
        let line = serde_json::to_string(&vector()).expect("json");
        assert!(line.starts_with(r#"{"id":"laxcus6/message/x","dialect":"laxcus6","kind":"message","class":"valid","hex":"e9030150ff","rules""#));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let text =
            serde_json::to_string(&vector()).expect("json").replace("\"source\"", "\"sauce\":1,\"source\"");
        assert!(serde_json::from_str::<Vector>(&text).is_err());
    }

    #[test]
    fn a_kind_without_a_name_is_kept() {
        let kind: Kind = serde_json::from_str("\"cipher\"").expect("a kind");
        assert_eq!(kind, Kind::Other("cipher".to_owned()));
        assert_eq!(serde_json::to_string(&kind).expect("json"), "\"cipher\"");
    }

    #[test]
    fn bytes_and_paths_find_each_other() {
        let vector = vector();
        assert_eq!(vector.span_at(None, 3).map(|span| span.path.as_str()), Some("type_length"));
        assert_eq!(vector.span_at(None, 5), None);
        assert_eq!(vector.span_of_path("value"), Some((None, 4..5)));
        assert_eq!(vector.span_of_path("type"), Some((None, 2..4)));
        assert_eq!(vector.span_of_path("key.low"), Some((None, 0..2)));
        assert_eq!(vector.span_of_path("valu"), None);
        assert_eq!(vector.span_of_path(""), None);
    }

    #[test]
    fn fields_of_the_value_are_found_where_the_bytes_say_them() {
        let mut vector = vector();
        vector.kind = Kind::Packet;
        let paths = [
            "command.tag",
            "command.major",
            "messages[0].key",
            "messages[0].type_length",
            "messages[1].value",
            "entity",
        ];
        let spans = |part: Option<usize>, prefix: &str| {
            let span = |(offset, path): (usize, &&str)| Span {
                part,
                offset,
                length: 1,
                path: format!("{prefix}{path}"),
                meaning: String::new(),
            };
            paths.iter().enumerate().map(span).collect::<Vec<_>>()
        };
        vector.map = spans(None, "");
        for (path, range) in [
            ("type", 0..1),
            ("major", 1..2),
            ("messages[0].type", 3..4),
            ("messages[0].value", 2..4),
            ("messages[0]", 2..4),
            ("messages[7].value", 2..5),
            ("messages", 2..5),
            ("data", 5..6),
        ] {
            assert_eq!(vector.span_of_path(path), Some((None, range)), "{path}");
        }
        vector.kind = Kind::Stream;
        vector.map = [spans(Some(0), "packets[0]."), spans(Some(1), "packets[1].")].concat();
        assert_eq!(vector.span_of_path("packets[1].type"), Some((Some(1), 0..1)));
        assert_eq!(vector.span_of_path("packets[1].data"), Some((Some(1), 5..6)));
        assert_eq!(vector.span_of_path("packets[0]"), Some((Some(0), 0..6)));
        assert_eq!(vector.span_of_path("pending"), None);
    }

    #[test]
    fn classes_have_one_name_each() {
        for class in [
            Class::Valid,
            Class::Lenient,
            Class::Invalid,
            Class::RefuseEncode,
            Class::DecodeOnly,
            Class::Note,
        ] {
            assert_eq!(Class::by_name(class.name()), Some(class));
            assert_eq!(serde_json::to_string(&class).expect("json"), format!("\"{class}\""));
        }
    }
}
