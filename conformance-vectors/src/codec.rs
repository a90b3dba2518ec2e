//! Between the JSON forms and `fixp-codec`: everything that this crate asks of the codec.

use fixp_codec::rpc::{self, laxcus6, lexst1};
use fixp_codec::{
    Command, Decoder, Dialect, Encoder, Error, Event, Limits, Message, MessageRef, Packet, Policy,
    Value as Content,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::calls::{self, Unmade};

/// The dialects that are built in.
pub(crate) const DIALECTS: [&str; 3] = ["lexst1", "laxcus6", "laxcus2"];

/// How many bytes the compressed values of one packet may inflate to together. The codec bounds each value
/// alone; the JSON form holds them all at once.
const INFLATED_TOGETHER: usize = 16 * Limits::INFLATED;

/// Why something was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// A kind of SPEC 7.6.
    pub(crate) kind: &'static str,
    /// A sentence.
    pub(crate) detail: String,
}

/// What came out of a stream.
pub(crate) struct Streamed {
    /// The packets, up to an error.
    pub(crate) packets: Vec<Value>,
    /// How many bytes wait for more.
    pub(crate) pending: usize,
    /// What ended the stream.
    pub(crate) error: Option<Refusal>,
}

/// The value of a lone command, and how many bytes it took.
pub(crate) fn decode_command(dialect: &str, policy: Policy, bytes: &[u8]) -> Result<(Value, usize), Refusal> {
    let command = Decoder::new(named(dialect)?).with_policy(policy).command(bytes)?;
    Ok((form(&command)?, Command::WIRE_LEN))
}

/// The value of a lone message, and how many bytes it took.
pub(crate) fn decode_message(dialect: &str, policy: Policy, bytes: &[u8]) -> Result<(Value, usize), Refusal> {
    let message = Decoder::new(named(dialect)?).with_policy(policy).message(bytes)?;
    let mut budget = INFLATED_TOGETHER;
    Ok((form(&owned(&message, &mut budget)?)?, message.wire_len()))
}

/// The value of a packet, and how many bytes it took.
pub(crate) fn decode_packet(dialect: &str, policy: Policy, bytes: &[u8]) -> Result<(Value, usize), Refusal> {
    let packet = Decoder::new(named(dialect)?).with_policy(policy).packet(bytes)?;
    let owned = packet.to_packet()?;
    let mut budget = INFLATED_TOGETHER;
    for message in &owned.messages {
        inflates(message, &mut budget)?;
    }
    Ok((form(&owned)?, packet.wire_len()))
}

/// The bytes of a lone command.
pub(crate) fn encode_command(dialect: &str, value: &Value) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    Encoder::new(named(dialect)?).command(&content(value)?, &mut bytes)?;
    Ok(bytes)
}

/// The bytes of a lone message.
pub(crate) fn encode_message(dialect: &str, value: &Value) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    Encoder::new(named(dialect)?).message(&content(value)?, &mut bytes)?;
    Ok(bytes)
}

/// The bytes of a packet.
pub(crate) fn encode_packet(dialect: &str, value: &Value) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    Encoder::new(named(dialect)?).packet(&content::<Packet>(value)?, &mut bytes)?;
    Ok(bytes)
}

/// Whether a dialect has remote calls whose payloads are known.
pub(crate) fn has_calls(dialect: &str) -> bool {
    matches!(dialect, "lexst1" | "laxcus6")
}

/// The value of the payload of a remote call.
pub(crate) fn decode_call(dialect: &str, bytes: &[u8]) -> Result<Value, Refusal> {
    let decode = if dialect == "lexst1" { lexst1::decode_call } else { laxcus6::decode_call };
    calls::call_form(&decode(bytes)?)
}

/// The value of the payload of an answer.
pub(crate) fn decode_reply(dialect: &str, bytes: &[u8]) -> Result<Value, Refusal> {
    let decode = if dialect == "lexst1" { lexst1::decode_reply } else { laxcus6::decode_reply };
    calls::reply_form(&decode(bytes)?)
}

/// The payload of a remote call.
pub(crate) fn encode_call(dialect: &str, value: &Value) -> Result<Vec<u8>, Unmade> {
    let encode = if dialect == "lexst1" { lexst1::encode_call } else { laxcus6::encode_call };
    Ok(encode(&calls::call_of(value)?).map_err(Refusal::from)?)
}

/// The payload of an answer.
pub(crate) fn encode_reply(dialect: &str, value: &Value) -> Result<Vec<u8>, Unmade> {
    let encode = if dialect == "lexst1" { lexst1::encode_reply } else { laxcus6::encode_reply };
    Ok(encode(&calls::reply_of(value)?).map_err(Refusal::from)?)
}

/// The packets of a stream that comes in these pieces.
pub(crate) fn decode_stream(dialect: &str, policy: Policy, chunks: &[Vec<u8>]) -> Streamed {
    let mut streamed = Streamed { packets: Vec::new(), pending: 0, error: None };
    streamed.error = streamed.read(dialect, policy, chunks).err();
    streamed
}

impl Streamed {
    fn read(&mut self, dialect: &str, policy: Policy, chunks: &[Vec<u8>]) -> Result<(), Refusal> {
        let mut stream = Decoder::new(named(dialect)?).with_policy(policy).stream();
        let mut budget = INFLATED_TOGETHER;
        let mut packet = Packet::answer(0);
        let mut entity = Vec::new();
        for chunk in chunks {
            let mut chunk = chunk.as_slice();
            while let Some(event) = stream.next(&mut chunk) {
                match event? {
                    Event::Head(head) => {
                        let messages = head.messages().map(|message| owned(&message, &mut budget));
                        let messages = messages.collect::<Result<_, _>>()?;
                        let Command { code, version, .. } = head.command();
                        packet = Packet { code, version, messages, ..packet };
                    }
                    Event::Entity(piece) => entity.extend_from_slice(piece),
                    Event::End => {
                        packet.entity = std::mem::take(&mut entity).into();
                        self.packets.push(form(&packet)?);
                    }
                }
            }
        }
        self.pending = stream.pending();
        Ok(())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { kind: error.kind().name(), detail: error.to_string() }
    }
}

impl From<rpc::Error> for Refusal {
    fn from(error: rpc::Error) -> Self {
        Self { kind: error.kind().name(), detail: error.to_string() }
    }
}

fn named(dialect: &str) -> Result<&'static Dialect, Refusal> {
    Dialect::by_name(dialect)
        .ok_or_else(|| Refusal { kind: "bad-value", detail: format!("there is no dialect {dialect}") })
}

fn owned(message: &MessageRef<'_>, budget: &mut usize) -> Result<Message, Refusal> {
    let message = message.to_message()?;
    inflates(&message, budget)?;
    Ok(message)
}

/// The JSON form of a compressed value is its content, so it is inflated here, where the codec can still say
/// what is wrong with it.
fn inflates(message: &Message, budget: &mut usize) -> Result<(), Refusal> {
    let limit = Limits::INFLATED.min(*budget);
    let inflated = match &message.value {
        Content::ZRaw(stream) => stream.view().inflate(limit)?.len(),
        Content::ZString(stream) => stream.view().inflate_text(limit)?.len(),
        _ => 0,
    };
    *budget -= inflated;
    Ok(())
}

fn form(content: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(content).map_err(|error| bad_value(&error))
}

fn content<'a, T: Deserialize<'a>>(value: &'a Value) -> Result<T, Refusal> {
    T::deserialize(value).map_err(|error| bad_value(&error))
}

fn bad_value(error: &serde_json::Error) -> Refusal {
    Refusal { kind: "bad-value", detail: error.to_string() }
}
