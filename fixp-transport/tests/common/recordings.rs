//! The recorded conversations in `tests/transcripts`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet};
use serde_json::Value;

/// The modulus of the key of the recorded laxcus6 server.
pub(crate) const MODULUS: &str = "9a40edbe9edfe3d8d39269a7ee2767e8514750811a99fc1b36583f5fd5503ebcd262a746e54c8a32e7c1efd5\
    10855a958ed8b1841d96277b6f2f5f30a4dff33d2aa1f438d130325bfd6dfa8e52b9cbb2be370d6fc961a3d5479237de543dc2bdf8cfc71c\
    1d377f817089dd8729b892da0d8830796a2657b04fa0c480b680310b";

/// A line of a recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    /// A datagram from the client, or what was read of its stream at once.
    Client(Vec<u8>),
    /// The same from the server.
    Server(Vec<u8>),
    /// The client's end of its stream.
    ClientEnd,
    /// The server's end of its stream.
    ServerEnd,
}

/// A recorded conversation.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) dialect: &'static Dialect,
    pub(crate) tcp: bool,
    /// Made request by request, and not by the program's own client.
    pub(crate) by_hand: bool,
    /// Its connections, or its one socket for datagrams.
    pub(crate) connections: Vec<Vec<Line>>,
}

fn folder() -> PathBuf {
    // Other crates replay them, too.
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixp-transport/tests/transcripts")
}

/// Every recording that there is, and what becomes of it here: `replayed`, or why it is not.
pub(crate) fn table() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder().join("all.txt")).unwrap();
    let row =
        |line: &str| line.split_once(": ").map(|(name, what)| (name.to_owned(), what.to_owned())).unwrap();
    text.lines().map(row).collect()
}

/// The names of the files of the folder.
pub(crate) fn files() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    files
}

/// The recordings that are replayed.
pub(crate) fn all() -> Vec<Recording> {
    table().into_iter().filter(|(_, what)| what == "replayed").map(|(name, _)| recording(&name)).collect()
}

/// One of them.
pub(crate) fn recording(name: &str) -> Recording {
    let read = |ending: &str| std::fs::read_to_string(folder().join(format!("{name}{ending}"))).unwrap();
    let client: Value = serde_json::from_str(&read(".client.json")).unwrap();
    let mut connections: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for line in read(".jsonl").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let bytes = hex::decode(line["hex"].as_str().unwrap()).unwrap();
        let client = line["dir"] == "c2s";
        let line_of = match line.get("event").and_then(Value::as_str) {
            None if client => Line::Client(bytes),
            None => Line::Server(bytes),
            Some("eof") if client => Line::ClientEnd,
            Some("eof") => Line::ServerEnd,
            // The recorder's own trouble with a connection that had ended.
            Some(error) if error.starts_with("error") => continue,
            Some(other) => panic!("{name}: what is {other}?"),
        };
        let peer = line.get("peer").and_then(Value::as_str).unwrap_or_default();
        connections.entry(peer.to_owned()).or_default().push(line_of);
    }
    Recording {
        name: name.to_owned(),
        dialect: if client["dialect"] == "lexst1" { &LEXST1 } else { &LAXCUS6 },
        tcp: client["transport"] == "tcp",
        by_hand: client["op"] == "by-hand",
        connections: connections.into_values().collect(),
    }
}

impl Recording {
    /// The packets that the client sent over a connection, and those that the server did.
    pub(crate) fn packets(&self, connection: &[Line]) -> (Vec<Packet>, Vec<Packet>) {
        let side = |wanted: fn(&Line) -> Option<&Vec<u8>>| -> Vec<Packet> {
            let pieces = connection.iter().filter_map(wanted);
            if self.tcp {
                packets(self.dialect, &pieces.flatten().copied().collect::<Vec<u8>>())
            } else {
                pieces.map(|bytes| packet(self.dialect, bytes)).collect()
            }
        };
        (
            side(|line| if let Line::Client(bytes) = line { Some(bytes) } else { None }),
            side(|line| if let Line::Server(bytes) = line { Some(bytes) } else { None }),
        )
    }
}

/// The packet of a datagram.
pub(crate) fn packet(dialect: &'static Dialect, bytes: &[u8]) -> Packet {
    Decoder::new(dialect).packet(bytes).unwrap().to_packet().unwrap()
}

/// The packets of a stream, up to the first that is not one, or not whole.
pub(crate) fn packets(dialect: &'static Dialect, mut input: &[u8]) -> Vec<Packet> {
    let mut stream = Decoder::new(dialect).stream();
    let mut packets = Vec::new();
    let mut entity = Vec::new();
    let mut head = None;
    while let Some(Ok(event)) = stream.next(&mut input) {
        match event {
            fixp_codec::Event::Head(of) => head = Some(of.to_packet().unwrap()),
            fixp_codec::Event::Entity(piece) => entity.extend_from_slice(piece),
            fixp_codec::Event::End => {
                let packet: Packet = head.take().unwrap();
                packets.push(packet.with_entity(std::mem::take(&mut entity)));
            }
        }
    }
    packets
}
