//! Testees that lie, die and keep silent, as small Python programs.

use std::fs;
use std::path::PathBuf;

use conformance_vectors::runner::{Program, Runner, Target};
use conformance_vectors::{Vector, parse};

/// Five vectors that the scripted testees below are judged by: `a`, `b`, `d` and `e` are valid, `c` is
/// invalid.
pub(crate) fn vectors() -> Vec<Vector> {
    let valid = |name: &str, number: u8| {
        format!(
            r#"{{"id":"laxcus6/{name}","dialect":"laxcus6","kind":"message","class":"valid","hex":"e9030150{number:02x}",
            "value":{{"key":1001,"type":"int32","value":{number}}},"rules":["4.1"],"source":"test","comment":"int32 {number}",
            "map":[{{"offset":0,"length":2,"path":"key","meaning":"key 1001"}},{{"offset":2,"length":2,"path":"type","meaning":"int32, 1 byte"}},
            {{"offset":4,"length":1,"path":"value","meaning":"{number}"}}]}}"#
        )
        .replace('\n', "")
    };
    let invalid = r#"{"id":"laxcus6/c","dialect":"laxcus6","kind":"message","class":"invalid","hex":"e9","error":"truncated","rules":["3.4"],
        "source":"test","comment":"cut","map":[{"offset":0,"length":1,"path":"key","meaning":"cut"}]}"#
        .replace('\n', "");
    let text = [valid("a", 1), valid("b", 2), invalid, valid("d", 4), valid("e", 5)].join("\n");
    parse("test", &text).expect("the vectors of the test can be read")
}

/// A runner for a scripted testee.
///
/// The script is the body of `answer(request, honest)`, where `honest` is the answer that passes; it may call
/// `say(fields)`, and `at("b")` says whether the request is about that vector. The file is named after the
/// test, so that tests do not meet.
pub(crate) fn runner(test: &str, script: &str) -> Runner {
    Runner::new(Target::Command(program(test, script)))
}

/// The program of [`runner`].
pub(crate) fn program(test: &str, script: &str) -> Program {
    let indented: String = script.lines().map(|line| format!("    {line}\n")).collect();
    let vectors = serde_json::to_string(&vectors()).expect("vectors are JSON");
    let text = format!(
        r#"
import json, sys, time
VECTORS = json.loads({vectors:?})
HELLO = dict(implementation="scripted", version="1", dialects=["laxcus6"], ops=["decode", "encode"])
def say(fields):
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()
def vector_of(request):
    for vector in VECTORS:
        if request.get("hex") == vector["hex"] or request.get("value", 0) == vector.get("value"):
            return vector
def honest_answer(request):
    vector = vector_of(request)
    if request["op"] == "hello":
        fields = dict(HELLO)
    elif "error" in vector:
        fields = dict(error=vector["error"])
    elif request["op"] == "decode":
        fields = dict(value=vector["value"], consumed=len(vector["hex"]) // 2)
    else:
        fields = dict(hex=vector["hex"])
    return dict(fields, seq=request["seq"])
def answer(request, honest):
    hello = request["op"] == "hello"
    at = lambda name: not hello and vector_of(request)["id"] == "laxcus6/" + name
{indented}
for line in sys.stdin:
    request = json.loads(line)
    answer(request, honest_answer(request))
"#
    );
    let path = scratch(&format!("{test}.py"));
    fs::write(&path, text).expect("the test's own directory can be written to");
    Program::new("python3").arg(path).quiet()
}

/// The path of a file of the test's own, where nothing is left of an earlier run.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    // There may be none.
    let _ = fs::remove_file(&path);
    path
}
