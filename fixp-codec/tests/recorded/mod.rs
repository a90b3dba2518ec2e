//! What was recorded of remote calls: the vectors, as they are committed, and the transcripts.

use std::path::Path;

use fixp_codec::rpc::{Call, Error, Reply};
use fixp_codec::{Decoder, Dialect, PacketRef};
use serde_json::Value as Json;

/// What a payload holds.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Payload {
    Call(Call),
    Reply(Reply),
}

/// How a dialect reads and writes them.
pub(crate) struct Codec {
    pub(crate) dialect: &'static Dialect,
    pub(crate) decode_call: fn(&[u8]) -> Result<Call, Error>,
    pub(crate) decode_reply: fn(&[u8]) -> Result<Reply, Error>,
    pub(crate) encode_call: fn(&Call) -> Result<Vec<u8>, Error>,
    pub(crate) encode_reply: fn(&Reply) -> Result<Vec<u8>, Error>,
}

impl Codec {
    /// The payload of a vector's bytes.
    pub(crate) fn decode(&self, vector: &Json) -> Result<Payload, Error> {
        self.decode_wire(vector["kind"] == "reply", &wire(vector))
    }

    fn decode_wire(&self, reply: bool, wire: &[u8]) -> Result<Payload, Error> {
        if reply {
            (self.decode_reply)(wire).map(Payload::Reply)
        } else {
            (self.decode_call)(wire).map(Payload::Call)
        }
    }

    pub(crate) fn encode(&self, payload: &Payload) -> Result<Vec<u8>, Error> {
        match payload {
            Payload::Call(call) => (self.encode_call)(call),
            Payload::Reply(reply) => (self.encode_reply)(reply),
        }
    }

    /// A payload, written and read.
    pub(crate) fn again(&self, payload: &Payload) -> Payload {
        let wire = self.encode(payload).unwrap();
        self.decode_wire(matches!(payload, Payload::Reply(_)), &wire).unwrap()
    }

    /// The recorded vectors.
    pub(crate) fn vectors(&self) -> Vec<Json> {
        let file = format!("../conformance-vectors/vectors/rpc-{}.jsonl", self.dialect.name());
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let vectors = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
        vectors.filter(|vector| vector.get("recorded").is_some()).collect()
    }

    /// Reads the calls and answers of the transcripts whose names begin so, and sees that they are written as they
    /// were, but for bytes behind them. Gives how many calls and answers that were, and which could not be read.
    pub(crate) fn transcripts(
        &self,
        names: &[&str],
        is_payload: fn(&PacketRef<'_>) -> bool,
    ) -> (usize, usize, Vec<String>) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixp-transport/tests/transcripts");
        let (mut counts, mut refused) = ([0, 0], Vec::new());
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        for path in files {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let named = names.iter().any(|it| name.starts_with(it));
            if !named || path.extension().is_none_or(|it| it != "jsonl") {
                continue;
            }
            let mut wires = [Vec::new(), Vec::new()];
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let line: Json = serde_json::from_str(line).unwrap();
                let Some(hex) = line["hex"].as_str() else { continue };
                wires[usize::from(line["dir"] == "s2c")].extend(hex::decode(hex).unwrap());
            }
            for (answers, wire) in wires.iter().enumerate() {
                let mut rest = &wire[..];
                while let Ok(packet) = Decoder::new(self.dialect).packet(rest) {
                    rest = &rest[packet.wire_len()..];
                    if !is_payload(&packet) {
                        continue;
                    }
                    counts[answers] += 1;
                    match self.decode_wire(answers == 1, packet.entity()) {
                        Ok(read) => {
                            let written = self.encode(&read).unwrap();
                            assert!(packet.entity().starts_with(&written), "{name}: {written:x?}");
                        }
                        Err(error) => refused.push(format!("{name}: {error}")),
                    }
                }
            }
        }
        (counts[0], counts[1], refused)
    }
}

/// The bytes of a vector.
pub(crate) fn wire(vector: &Json) -> Vec<u8> {
    hex::decode(vector["hex"].as_str().unwrap()).unwrap()
}
