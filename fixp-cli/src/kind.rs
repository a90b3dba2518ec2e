//! What an input consists of: packets, lone commands, lone messages.

use clap::ValueEnum;
use fixp_codec::explain::{Explanation, explain, explain_command, explain_message};
use fixp_codec::{Cause, Command, Decoder, Encoder, Error, Message, MessageRef, Packet};
use serde::Serialize;

use crate::dialects::Doubt;
use crate::failure::Failure;
use crate::json_text::{self, BadJson};

// The comments on arguments are plain ones where documentation would make clap print several lines for each value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Kind {
    // Whole packets.
    Packet,
    // Lone commands, the 7 bytes in front of a packet.
    Command,
    // Lone messages.
    Message,
}

/// What was decoded, in its JSON form.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Decoded {
    Packet(Packet),
    Command(Command),
    Message(Message),
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Command => "command",
            Self::Message => "message",
        }
    }

    pub(crate) fn explain<'a>(self, decoder: &Decoder<'a>, input: &'a [u8]) -> Explanation<'a> {
        match self {
            Self::Packet => explain(decoder, input),
            Self::Command => explain_command(decoder, input),
            Self::Message => explain_message(decoder, input),
        }
    }

    /// What stands at the start of `input`, and how many bytes it has.
    pub(crate) fn decode(self, decoder: &Decoder<'_>, input: &[u8]) -> Result<(Decoded, usize), Error> {
        match self.decode_alone(decoder, input) {
            // A strict reader wants nothing behind it, and here the next may follow.
            Err(error) if error.cause() == Cause::TrailingBytes => {
                self.decode_alone(decoder, input.get(..error.offset()).unwrap_or(input))
            }
            result => result,
        }
    }

    fn decode_alone(self, decoder: &Decoder<'_>, input: &[u8]) -> Result<(Decoded, usize), Error> {
        match self {
            Self::Packet => {
                let packet = decoder.packet(input)?;
                let mut at = Command::WIRE_LEN;
                for message in packet.messages() {
                    inflates(decoder, &message, at)?;
                    at += message.wire_len();
                }
                Ok((Decoded::Packet(packet.to_packet()?), packet.wire_len()))
            }
            Self::Command => Ok((Decoded::Command(decoder.command(input)?), Command::WIRE_LEN)),
            Self::Message => {
                let message = decoder.message(input)?;
                inflates(decoder, &message, 0)?;
                Ok((Decoded::Message(message.to_message()?), message.wire_len()))
            }
        }
    }

    /// Encodes every JSON value of a text and hands its bytes on.
    pub(crate) fn encode(
        self,
        encoder: &Encoder<'_>,
        text: &[u8],
        take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self {
            Self::Packet => {
                let mut doubt = Doubt::default();
                let encode = |packet: &Packet, out: &mut Vec<u8>| {
                    doubt.look(packet, encoder.dialect());
                    encoder.packet(packet, out)
                };
                each(text, encode, take)
            }
            Self::Command => each(text, |command, out| encoder.command(command, out), take),
            Self::Message => each(text, |message, out| encoder.message(message, out), take),
        }
    }
}

/// The JSON form of a compressed value is its content. Whether it has one is seen here, before a line is begun.
fn inflates(decoder: &Decoder<'_>, message: &MessageRef<'_>, at: usize) -> Result<(), Error> {
    let limit = decoder.limits().inflated;
    let result = match (message.as_zraw(), message.as_zstring()) {
        (Some(stream), _) => stream.inflate(limit).map(drop),
        (_, Some(stream)) => stream.inflate_text(limit).map(drop),
        (None, None) => Ok(()),
    };
    let value_at = at + message.wire_len() - message.bytes().len();
    result.map_err(|error| error.in_message(message.key(), message.ty()).moved(value_at))
}

fn each<T: serde::de::DeserializeOwned>(
    text: &[u8],
    mut write: impl FnMut(&T, &mut Vec<u8>) -> Result<usize, Error>,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let mut values = json_text::values::<T>(text).peekable();
    if values.peek().is_none() {
        return Err(Failure::Json(BadJson::nothing()));
    }
    for value in values {
        let (offset, value) = value.map_err(Failure::Json)?;
        bytes.clear();
        write(&value, &mut bytes).map_err(|error| Failure::Unwritable { error, offset })?;
        take(&bytes)?;
    }
    Ok(())
}
