//! Writes seeds for the fuzzers, from the vectors, to a folder: `cargo run -p conformance-vectors --example
//! seeds -- DIR`.
//!
//! The bytes of every vector that the fuzzers can use, each once, and the JSON of every value, named by
//! their order. The dictionary beside them, `fuzz/fixp.dict`, comes from the dialects' tables:
//! `--dictionary` prints it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use conformance_vectors::Kind;
use fixp_codec::dialect::{BUILT_IN, RequestOrder};
use fixp_codec::{Code, Dialect, Type};

/// Longer inputs slow the fuzzers down and teach them nothing.
const LONGEST: usize = 4096;

fn main() -> ExitCode {
    match std::env::args().nth(1) {
        Some(flag) if flag == "--dictionary" => print!("{}", dictionary()),
        Some(dir) => match write_seeds(&PathBuf::from(dir)) {
            Ok(count) => println!("{count} seeds"),
            Err(error) => {
                eprintln!("seeds: {error}");
                return ExitCode::FAILURE;
            }
        },
        None => {
            eprintln!("usage: seeds DIR | seeds --dictionary");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn write_seeds(dir: &std::path::Path) -> Result<usize, Box<dyn std::error::Error>> {
    let mut seeds = BTreeSet::new();
    for vector in conformance_vectors::all()? {
        // The payloads of remote calls have targets of their own, which start from their corpora.
        if let Kind::Call | Kind::Reply | Kind::Other(_) = vector.kind {
            continue;
        }
        let parts = vector.hex.iter().chain(vector.hex_list.iter().flatten());
        for part in parts {
            seeds.insert(hex::decode(part).map_err(|error| error.to_string())?);
        }
        if let Some(chunks) = &vector.chunks {
            seeds.insert(hex::decode(chunks.concat()).map_err(|error| error.to_string())?);
        }
        if let Some(value) = &vector.value {
            seeds.insert(serde_json::to_vec(value)?);
        }
    }
    std::fs::create_dir_all(dir)?;
    seeds.retain(|seed| seed.len() <= LONGEST);
    for (i, seed) in seeds.iter().enumerate() {
        std::fs::write(dir.join(format!("{i:04}")), seed)?;
    }
    Ok(seeds.len())
}

/// libFuzzer's dictionary: the first bytes of commands, keys with their types, words of the JSON forms.
fn dictionary() -> String {
    let mut entries = BTreeSet::new();
    for dialect in BUILT_IN {
        for code in named_codes(dialect) {
            entries.insert(bytes(&command(dialect, code)));
        }
        for key in dialect.keys() {
            let ty = key.ty.unwrap_or(Type::Raw);
            let code = dialect.code_of(ty).unwrap_or(0);
            let [k0, k1] = key.number.to_le_bytes();
            entries.insert(bytes(&[k0, k1, 1, code << 4]));
        }
    }
    for ty in Type::ALL {
        entries.insert(format!("\"\\\"type\\\":\\\"{}\\\"\"", ty.name()));
    }
    for word in ["request", "answer", "major", "minor", "code", "version", "messages", "data", "key", "value"]
    {
        entries.insert(format!("\"\\\"{word}\\\":\""));
    }
    let mut text =
        String::from("# Made by `cargo run -p conformance-vectors --example seeds -- --dictionary`.\n");
    for entry in entries {
        let _ = writeln!(text, "{entry}");
    }
    text
}

fn named_codes(dialect: &Dialect) -> Vec<Code> {
    let requests = dialect.requests().majors().iter().flat_map(|major| {
        let code = |minor: u8| Code::Request { major: major.number, minor };
        major.minors.iter().map(move |row| code(row.number))
    });
    let answers = dialect.answer_names().iter().map(|row| Code::Answer(row.number));
    requests.chain(answers).collect()
}

/// Tag, version and code: the count is the fuzzer's.
fn command(dialect: &Dialect, code: Code) -> [u8; 5] {
    match (code, dialect.request_order()) {
        (Code::Request { major, minor }, RequestOrder::MajorFirst) => [0x87, 0, 1, major, minor],
        (Code::Request { major, minor }, RequestOrder::MinorFirst) => [0x87, 0, 1, minor, major],
        (Code::Answer(code), _) => [0xc7, 0, 1, code.to_le_bytes()[0], code.to_le_bytes()[1]],
    }
}

fn bytes(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{digits}\"")
}
