//! `fixp send`: requests and their answers, both dialects, both transports.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use crate::common::{command, file};
use crate::served::{Nobody, Running, Served, run};
use fixp_codec::{Decoder, LAXCUS6, Packet, laxcus6};
use serde_json::{Value, json};

fn sent(served: &Served, args: &[&str]) -> Value {
    let mut line = vec!["send", &served.addr, "--json"];
    line.extend(args);
    serde_json::from_str(&run(&line).fine()).expect("JSON")
}

#[test]
fn a_request_of_options_is_echoed() {
    let served = Served::echo();
    let once = ["--keep-udp", "--no-extensions", "--once"];
    for transport in [&[][..], &["--udp"], &["--keep-udp"], &["--keep-udp", "--no-extensions"], &once] {
        for (dialect, request, okay) in [("laxcus6", "NOTIFY/FLUSH_LOG", 1010), ("lexst1", "4/9", 2000)] {
            let options = ["--dialect", dialect, "--request", request, "--entity", "hex:cafe"];
            let messages = ["--message", "SPEAK=string:hello", "--message", "5001=int64:-1"];
            let answer = sent(&served, &[transport, &options, &messages].concat());
            assert_eq!((&answer["code"], &answer["data"]), (&json!(okay), &json!("cafe")), "{answer}");
            let messages = &answer["messages"];
            assert_eq!(messages[0], json!({"key": 1000, "type": "string", "value": "hello"}), "{answer}");
            assert_eq!(messages[1], json!({"key": 5001, "type": "int64", "value": "-1"}), "{answer}");
        }
    }
}

#[test]
fn a_request_of_json_is_echoed() {
    let served = Served::echo();
    for transport in [&[][..], &["--udp"], &["--keep-udp"]] {
        for (dialect, major, minor, okay) in [("laxcus6", 1, 51, 1010), ("lexst1", 4, 9, 2000)] {
            let packet = json!({"type": "request", "major": major, "minor": minor, "data": "14"}).to_string();
            let answer = sent(&served, &[transport, &["--dialect", dialect, &packet]].concat());
            assert_eq!((&answer["code"], &answer["data"]), (&json!(okay), &json!("14")), "{answer}");
        }
    }
}

#[test]
fn what_people_read_is_what_decode_prints() {
    let served = Served::echo();
    let out = run(&["send", &served.addr, "--request", "1/51", "--entity", "it works"]).fine();
    let expected = "\
{
  \"type\": \"answer\",
  \"code\": 1010,
  \"version\": 256,
  \"messages\": [
    {\"key\": 1020, \"type\": \"int32\", \"value\": 8}
  ],
  \"data\": \"697420776f726b73\"
}
";
    assert_eq!(out, expected);
}

#[test]
fn several_requests_go_one_after_another() {
    let served = Served::echo();
    let packet = |data: &str| json!({"type": "request", "major": 1, "minor": 51, "data": data}).to_string();
    let path = file("send-two.jsonl", format!("{}\n{}\n", packet("01"), packet("02")));
    for transport in [&[][..], &["--udp"], &["--no-extensions"], &["--keep-udp"]] {
        let out = run(&[&["send", &served.addr, &path, "--json", "--count", "2"], transport].concat()).fine();
        let data: Vec<Value> = out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["data"].clone())
            .collect();
        assert_eq!(data, ["01", "02", "01", "02"]);
    }
}

#[test]
fn an_entity_comes_from_a_file() {
    let served = Served::echo();
    let path = file("send-entity.bin", vec![7; 300_000]);
    for transport in [&[][..], &["--keep-udp"], &["--keep-udp", "--no-extensions"]] {
        let entity = ["--request", "1/51", "--entity", &format!("@{path}")];
        let answer = sent(&served, &[transport, &entity].concat());
        assert_eq!(answer["data"], json!("07".repeat(300_000)));
    }
}

#[test]
fn without_an_answer_it_says_what_became_of_the_request() {
    let nobody = Nobody::new();
    let refused = run(&["send", &nobody.addr, "--request", "1/5"]);
    refused.refused(1, "no connection: connection refused; the request was certainly not executed");
    let silent = run(&["send", &nobody.addr, "--udp", "--request", "1/5", "--timeout", "100ms"]);
    silent.refused(1, "no answer in time; the request may have been executed");
    let keep = ["send", &nobody.addr, "--keep-udp", "--request", "1/51", "--timeout", "100ms"];
    // It is asked SECURE_QUERY first, so nothing was sent.
    run(&keep).refused(1, "no answer in time; the request was certainly not executed");
    let lexst1 = ["send", &nobody.addr, "--keep-udp", "--dialect", "lexst1", "--request", "4/9"];
    let lexst1 = run(&[&lexst1[..], &["--timeout", "100ms"]].concat());
    lexst1.refused(1, "no answer in time; the request may have been executed");
    let unknown = run(&["send", "no-such-host.invalid:5000", "--request", "1/5"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.starts_with("fixp: no-such-host.invalid:5000: "), "{}", unknown.err);
}

/// A program answers nothing but SECURE_QUERY: with `--once` one piece leaves, and without it again after 3 s, as the
/// programs' own do.
#[test]
fn once_is_once() {
    let pieces = |once: bool| {
        let program = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        program.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
        let addr = program.local_addr().expect("its address").to_string();
        let mut line = vec!["send", &addr, "--keep-udp", "--no-extensions", "--timeout", "5s"];
        line.extend(["--request", "1/51", "--entity", "hello"]);
        line.extend(once.then_some("--once"));
        let mut sending = Running::start(command().args(line));
        let (mut buffer, mut pieces) = ([0; 2048], Vec::new());
        loop {
            let runs = sending.runs();
            while let Ok((len, from)) = program.recv_from(&mut buffer) {
                let packet = Decoder::new(&LAXCUS6).packet(&buffer[..len]).expect("a packet");
                if packet.code() == laxcus6::notify::SECURE_QUERY {
                    let plain = Packet::new(laxcus6::answer::SECURE_NOTIFY).with_entity(vec![0; 4]);
                    program.send_to(&plain.to_bytes(&LAXCUS6).expect("bytes"), from).expect("sent");
                } else if packet.code() == laxcus6::notify::FLUSH_LOG {
                    pieces.push(buffer[..len].to_vec());
                }
            }
            // What it sent before it ended has been looked at since.
            if !runs {
                break;
            }
        }
        sending.ended().refused(1, "no answer in time; the request may have been executed");
        pieces
    };
    let (once, again) = thread::scope(|scope| {
        let once = scope.spawn(|| pieces(true));
        let again = pieces(false);
        (once.join().expect("no panic"), again)
    });
    assert_eq!((once.len(), again.len()), (1, 2));
    assert_eq!(again[0], again[1]);
}

#[test]
fn what_has_no_answer_is_not_waited_for() {
    let served = Served::echo();
    let send = ["send", &served.addr, "--udp", "--no-answer", "--request", "NOTIFY/EMPTY_OPERATE"];
    assert_eq!(run(&send).fine(), "");
    // Over TCP there is no such thing.
    let tcp = run(&["send", &served.addr, "--no-answer", "--request", "1/9"]);
    assert_eq!((tcp.code, tcp.out.as_str()), (Some(2), ""));
}

#[test]
fn wrong_arguments_are_refused_before_anything_is_sent() {
    let nobody = Nobody::new();
    let send = |args: &[&str]| run(&[&["send", &nobody.addr], args].concat());
    send(&["--request", "TEST"]).refused(
        2,
        "\"TEST\" is no request of laxcus6, such as NOTIFY/TEST or 1/5 (see fixp dialects laxcus6)",
    );
    send(&["--request", "1/5", "--message", "SPEAK=text:a"]).refused(
        2,
        "--message \"SPEAK=text:a\": \"text\" is no type; there are raw, boolean, string, int16, int32, int64, float32, float64, zraw, zstring",
    );
    send(&["--request", "1/200"]).refused(1, "illegal-command: request 1/200 is not legal in this dialect");
    send(&["{\"type\":x}"]).refused(1, "bad-json at byte 8 (line 1, column 9): expected value");
    run(&["send", "127.0.0.1", "--request", "1/5"]).refused(2, "\"127.0.0.1\" is not HOST:PORT");
    assert_eq!(send(&["--request", "1/5", "{}"]).code, Some(2));
    assert_eq!(send(&["--entity", "x"]).code, Some(2));
    assert_eq!(send(&["--timeout", "0", "--request", "1/5"]).code, Some(2));
    assert_eq!(send(&["--udp", "--keep-udp", "--request", "1/5"]).code, Some(2));
    assert_eq!(send(&["--udp", "--once", "--request", "1/5"]).code, Some(2));
    assert_eq!(send(&["--keep-udp", "--raw", "00"]).code, Some(2));
    assert_eq!(send(&["--keep-udp", "--no-answer", "--request", "1/9"]).code, Some(2));
}

#[test]
fn json_comes_from_standard_input() {
    let served = Served::echo();
    let path = file("send-stdin.json", "{\"type\":\"request\",\"major\":1,\"minor\":51,\"data\":\"aa\"}");
    let input = std::fs::File::open(path).expect("a file");
    let mut send = command();
    send.args(["send", &served.addr, "--json"]);
    let out = Running::start_reading(&mut send, input.into()).ended().fine();
    assert!(out.ends_with("\"data\":\"aa\"}\n"), "{out}");
}
