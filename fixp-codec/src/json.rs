//! The JSON forms of the conformance protocol (`docs/CONFORMANCE.md`), by serde.
//!
//! A packet: `{"type":"request","major":1,"minor":5,"version":256,"messages":[...],"data":"deadbeef"}`.
//! A message: `{"key":1000,"type":"string","value":"TEST!"}`. int64 is a decimal string, floats are bit
//! patterns in hex, bytes are hex, `zraw` and `zstring` are their content, not their stream.

use core::marker::PhantomData;

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Unexpected, Visitor};
use serde::ser::{self, Serialize, SerializeSeq, SerializeStruct, Serializer};

use crate::{Code, Command, Deflated, Limits, Message, Packet, Type, VERSION, Value};

impl Serialize for Packet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = serializer.serialize_struct("Packet", code_fields(self.code) + 3)?;
        code_form(&mut form, self.code)?;
        form.serialize_field("version", &self.version)?;
        form.serialize_field("messages", &Messages(&self.messages))?;
        form.serialize_field("data", &hex::encode(&self.entity))?;
        form.end()
    }
}

/// The most bytes that the compressed values of one packet may inflate to together, when it becomes JSON:
/// a head of 1 MiB could otherwise become gigabytes.
const INFLATED_TOGETHER: usize = 16 << 20;

/// The messages of a packet, whose compressed values share a bound.
struct Messages<'a>(&'a [Message]);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut left = INFLATED_TOGETHER;
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for message in self.0 {
            list.serialize_element(&Inflated { message, content: content(&message.value, &mut left)? })?;
        }
        list.end()
    }
}

/// A message with the content of its compressed value.
struct Inflated<'a> {
    message: &'a Message,
    content: Vec<u8>,
}

/// The content of a compressed value, within a bound that it then takes its part of; of others, nothing.
fn content<E: ser::Error>(value: &Value, left: &mut usize) -> Result<Vec<u8>, E> {
    let (Value::ZRaw(stream) | Value::ZString(stream)) = value else { return Ok(Vec::new()) };
    let content = inflate(stream, Limits::INFLATED.min(*left))?;
    *left -= content.len();
    Ok(content)
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = serializer.serialize_struct("Command", code_fields(self.code) + 2)?;
        code_form(&mut form, self.code)?;
        form.serialize_field("version", &self.version)?;
        form.serialize_field("message_count", &self.message_count)?;
        form.end()
    }
}

const fn code_fields(code: Code) -> usize {
    if code.is_request() { 3 } else { 2 }
}

fn code_form<S: SerializeStruct>(form: &mut S, code: Code) -> Result<(), S::Error> {
    match code {
        Code::Request { major, minor } => {
            form.serialize_field("type", "request")?;
            form.serialize_field("major", &major)?;
            form.serialize_field("minor", &minor)
        }
        Code::Answer(code) => {
            form.serialize_field("type", "answer")?;
            form.serialize_field("code", &code)
        }
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut left = Limits::INFLATED;
        let content = content(&self.value, &mut left)?;
        Inflated { message: self, content }.serialize(serializer)
    }
}

impl Serialize for Inflated<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = serializer.serialize_struct("Message", 3)?;
        form.serialize_field("key", &self.message.key)?;
        match &self.message.value {
            Value::Unknown { code, .. } => form.serialize_field("type", &format!("unknown{code}"))?,
            value => form.serialize_field("type", value.ty().map_or("", Type::name))?,
        }
        match &self.message.value {
            Value::Boolean(value) => form.serialize_field("value", value)?,
            Value::Int16(value) => form.serialize_field("value", value)?,
            Value::Int32(value) => form.serialize_field("value", value)?,
            Value::Int64(value) => form.serialize_field("value", &value.to_string())?,
            Value::Float32(value) => form.serialize_field("value", &format!("{:08x}", value.to_bits()))?,
            Value::Float64(value) => form.serialize_field("value", &format!("{:016x}", value.to_bits()))?,
            Value::String(text) => form.serialize_field("value", text)?,
            Value::Raw(bytes) | Value::Unknown { bytes, .. } => {
                form.serialize_field("value", &hex::encode(bytes))?;
            }
            Value::ZRaw(_) => form.serialize_field("value", &hex::encode(&self.content))?,
            Value::ZString(_) => {
                let text = core::str::from_utf8(&self.content).map_err(ser::Error::custom)?;
                form.serialize_field("value", text)?;
            }
        }
        form.end()
    }
}

#[cfg(feature = "zlib")]
fn inflate<E: ser::Error>(stream: &Deflated, limit: usize) -> Result<Vec<u8>, E> {
    stream.view().inflate(limit).map_err(E::custom)
}

#[cfg(not(feature = "zlib"))]
fn inflate<E: ser::Error>(_: &Deflated, _: usize) -> Result<Vec<u8>, E> {
    Err(E::custom("compressed values need the feature zlib of fixp-codec"))
}

#[cfg(feature = "zlib")]
fn deflate<E: de::Error>(content: &[u8]) -> Result<Deflated, E> {
    Ok(Deflated::of(content))
}

#[cfg(not(feature = "zlib"))]
fn deflate<E: de::Error>(_: &[u8]) -> Result<Deflated, E> {
    Err(E::custom("compressed values need the feature zlib of fixp-codec"))
}

/// A packet or a command as it comes: which fields must be there depends on `type`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default, deserialize_with = "there")]
    major: Option<u8>,
    #[serde(default, deserialize_with = "there")]
    minor: Option<u8>,
    #[serde(default, deserialize_with = "there")]
    code: Option<u16>,
    #[serde(default, deserialize_with = "there")]
    version: Option<u16>,
    #[serde(default, deserialize_with = "there")]
    message_count: Option<u16>,
    #[serde(default, deserialize_with = "there")]
    messages: Option<Vec<Message>>,
    #[serde(default, deserialize_with = "there")]
    data: Option<String>,
}

/// A field that may be left out, but is not `null`.
fn there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Form<'_> {
    fn code<E: de::Error>(&self) -> Result<Code, E> {
        match (&*self.kind, self.major, self.minor, self.code) {
            ("request", Some(major), Some(minor), None) => Ok(Code::Request { major, minor }),
            ("answer", None, None, Some(code)) => Ok(Code::Answer(code)),
            ("request", ..) => Err(E::custom("a request has major and minor, and no code")),
            ("answer", ..) => Err(E::custom("an answer has code, and no major or minor")),
            (kind, ..) => Err(E::unknown_variant(kind, &["request", "answer"])),
        }
    }
}

impl<'de> Deserialize<'de> for Packet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form: Form<'_> = object(deserializer)?;
        if form.message_count.is_some() {
            return Err(de::Error::unknown_field("message_count", &["messages", "data"]));
        }
        Ok(Self {
            code: form.code()?,
            version: form.version.unwrap_or(VERSION),
            entity: bytes(form.data.as_deref().unwrap_or_default())?,
            messages: form.messages.unwrap_or_default(),
        })
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form: Form<'_> = object(deserializer)?;
        if form.messages.is_some() || form.data.is_some() {
            return Err(de::Error::custom("a command has message_count, and no messages or data"));
        }
        Ok(Self {
            code: form.code()?,
            version: form.version.unwrap_or(VERSION),
            message_count: form.message_count.unwrap_or(0),
        })
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageForm<'a> {
    key: u16,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    value: Scalar,
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form: MessageForm<'_> = object(deserializer)?;
        let value = match (Type::by_name(&form.kind), form.value) {
            (Some(Type::Boolean), Scalar::Boolean(value)) => Value::Boolean(value),
            (Some(Type::Int16), Scalar::Integer(value)) => Value::Int16(fitting(value)?),
            (Some(Type::Int32), Scalar::Integer(value)) => Value::Int32(fitting(value)?),
            (Some(Type::Int64), Scalar::Text(text)) => Value::Int64(decimal(&text)?),
            (Some(Type::Float32), Scalar::Text(text)) => {
                Value::Float32(f32::from_bits(bits(&text, 8)? as u32))
            }
            (Some(Type::Float64), Scalar::Text(text)) => Value::Float64(f64::from_bits(bits(&text, 16)?)),
            (Some(Type::String), Scalar::Text(text)) => Value::String(text),
            (Some(Type::Raw), Scalar::Text(text)) => Value::Raw(bytes(&text)?),
            (Some(Type::ZRaw), Scalar::Text(text)) => Value::ZRaw(deflate(&bytes(&text)?)?),
            (Some(Type::ZString), Scalar::Text(text)) => Value::ZString(deflate(text.as_bytes())?),
            (Some(ty), _) => {
                return Err(de::Error::custom(format_args!("not a JSON value of type {}", ty.name())));
            }
            (None, Scalar::Text(text)) => Value::Unknown { code: unknown(&form.kind)?, bytes: bytes(&text)? },
            (None, _) => return Err(de::Error::custom("a value of an unknown type is hex digits")),
        };
        Ok(Self { key: form.key, value })
    }
}

fn fitting<T: TryFrom<i64>, E: de::Error>(value: i64) -> Result<T, E> {
    T::try_from(value)
        .map_err(|_| E::invalid_value(Unexpected::Signed(value), &"an integer of the type's range"))
}

/// A decimal number as Rust and Java write it: no sign but `-`, no leading zeros.
fn decimal<E: de::Error>(text: &str) -> Result<i64, E> {
    let refuse = || E::invalid_value(Unexpected::Str(text), &"a decimal int64");
    let value: i64 = text.parse().map_err(|_| refuse())?;
    if value.to_string() == text { Ok(value) } else { Err(refuse()) }
}

fn bits<E: de::Error>(text: &str, digits: usize) -> Result<u64, E> {
    let lower_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() == digits && text.bytes().all(lower_hex) {
        return u64::from_str_radix(text, 16).map_err(E::custom);
    }
    Err(E::invalid_value(Unexpected::Str(text), &"a bit pattern in lower-case hex digits"))
}

fn bytes<E: de::Error>(text: &str) -> Result<Bytes, E> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(E::custom("hex digits are lower-case"));
    }
    hex::decode(text).map(Bytes::from).map_err(E::custom)
}

/// `unknown9` is type code 9.
fn unknown<E: de::Error>(kind: &str) -> Result<u8, E> {
    let code = kind
        .strip_prefix("unknown")
        .and_then(|code| code.parse().ok().filter(|n: &u8| n.to_string() == code));
    code.filter(|code| *code < 16).ok_or_else(|| {
        E::invalid_value(Unexpected::Str(kind), &"one of the ten types, or unknown0 to unknown15")
    })
}

/// Reads a JSON object: the derived forms alone would take an array of their fields too.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(Object(PhantomData))
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

/// The value of a message before its type is known.
enum Scalar {
    Boolean(bool),
    Integer(i64),
    Text(String),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("true, false, an integer or a string")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Boolean(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
        i64::try_from(value)
            .map(Scalar::Integer)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &"an integer of the type's range"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.into()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(text))
    }
}
