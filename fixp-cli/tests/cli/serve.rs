//! `fixp serve`: how it begins, and how it ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::common::{bytes, command, file};
use crate::served::{Running, Served, run};
use serde_json::{Value, json};

#[test]
fn it_says_where_it_listens_as_json() {
    let process = Running::start(command().args(["serve", "--listen", "127.0.0.1:0", "--json"]));
    let line: Value = serde_json::from_str(&process.line()).expect("JSON");
    let addr: SocketAddr = line["listening"][0].as_str().expect("an address").parse().expect("an address");
    assert!(addr.ip().is_loopback() && addr.port() != 0);
}

#[test]
fn an_address_that_is_taken_is_refused() {
    let served = Served::echo();
    let ended = run(&["serve", "--listen", &served.addr]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    let begin = format!("fixp: cannot serve: tcp {}: ", served.addr);
    assert!(ended.remarks().starts_with(&begin) && ended.remarks().lines().count() == 1, "{}", ended.err);
}

#[cfg(unix)]
#[test]
fn signals_let_it_finish_and_sum_up() {
    for signal in ["TERM", "INT"] {
        let served = Served::echo();
        run(&["send", &served.addr, "--request", "1/5"]).fine();
        run(&["ping", &served.addr, "--udp", "-c", "2", "-i", "0"]).fine();
        served.process.signal(signal);
        let out = served.process.ended().fine();
        let lines: Vec<_> = out.lines().skip(1).collect();
        assert_eq!(lines[0].split_once(',').map(|halves| halves.0), Some("tcp: 1 connections"), "{out}");
        assert_eq!(
            lines[1..],
            ["udp: 2 datagrams, 2 sent, 0 dropped", "stopped; no request was cut off"],
            "{out}"
        );
    }
}

#[cfg(unix)]
#[test]
fn keep_udp_is_on_the_same_port_and_in_the_sum() {
    let served = Served::echo();
    for dialect in ["laxcus6", "lexst1"] {
        let request = if dialect == "lexst1" { "4/9" } else { "1/51" };
        let keep = ["send", &served.addr, "--keep-udp", "--dialect", dialect, "--request", request];
        run(&[&keep[..], &["--no-extensions", "--entity", "it works"]].concat()).fine();
    }
    served.process.signal("TERM");
    let out = served.process.ended().fine();
    assert!(out.contains("\nkeep udp: 2 requests, 2 answers\n"), "{out}");
}

#[cfg(unix)]
#[test]
fn what_keep_udp_refuses_is_in_the_sum() {
    let served = Served::echo();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    // One of 2,147,483,647 pieces: FLUSH_LOG with an entity of one byte.
    let piece =
        "8700013301 0600 b90b0450ffffff7f ba0b015000 b80b015001 bb0b02507017 bc0b025060ea fc03015001 07";
    let piece = hex::decode(piece.replace(' ', "")).expect("hex");
    socket.send_to(&piece, &served.addr).expect("sent");
    let mut answer = [0; 200];
    let len = socket.recv(&mut answer).expect("an answer");
    assert_eq!(answer[..5], *b"\xc7\x00\x01\xd0\x07", "REFUSE in {len} bytes");
    served.process.signal("TERM");
    let out = served.process.ended().fine();
    assert!(out.contains("\nkeep udp: 0 requests, 0 answers, 1 refused\n"), "{out}");
}

#[cfg(unix)]
#[test]
fn the_sum_is_there_as_json() {
    let process = Running::start(command().args(["serve", "--listen", "127.0.0.1:0", "--json"]));
    process.line();
    process.signal("TERM");
    let out = process.ended().fine();
    let last: Value = serde_json::from_str(out.lines().last().expect("a line")).expect("JSON");
    let stopped = &last["stopped"];
    assert_eq!(
        [&stopped["requests"], &stopped["cut"], &stopped["at_once"]],
        [&json!(0), &json!(0), &json!(false)]
    );
}

/// A laxcus6 request of which the first byte of the entity has come.
#[cfg(unix)]
fn half_a_request(addr: &str, length: u32) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    // A whole one first, whose answer tells that the connection is served.
    stream.write_all(&bytes("87000105010100fc03015000")).expect("written");
    let mut answer = [0; 57];
    stream.read_exact(&mut answer).expect("an answer");
    let [a, b, c, d] = length.to_le_bytes();
    stream.write_all(&bytes("87000133010100fc030450")).expect("written");
    stream.write_all(&[a, b, c, d, 0xca]).expect("written");
    // It is read, or will be: the server stops where it is.
    std::thread::sleep(Duration::from_millis(100));
    stream
}

#[cfg(unix)]
#[test]
fn the_deadline_ends_what_does_not() {
    let served = Served::with(&["--echo", "--deadline", "100ms"]);
    let _stream = half_a_request(&served.addr, 2);
    served.process.signal("TERM");
    let out = served.process.ended().fine();
    assert!(out.ends_with("stopped at the deadline; no request was cut off\n"), "{out}");
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_it_at_once() {
    let mut served = Served::with(&["--echo", "--deadline", "1h"]);
    let _stream = half_a_request(&served.addr, 1 << 20);
    served.process.signal("TERM");
    std::thread::sleep(Duration::from_millis(300));
    assert!(served.process.runs());
    served.process.signal("INT");
    let ended = served.process.ended();
    assert_eq!((ended.code, ended.remarks()), (Some(1), String::new()));
    assert!(ended.out.ends_with("stopped at once; what was under way is cut off\n"), "{}", ended.out);
}

#[cfg(unix)]
#[test]
fn levels_come_from_the_variable() {
    let mut served = command();
    served.args(["serve", "--listen", "127.0.0.1:0"]).env("FIXP_LOG", "fixp_transport=loud");
    let ended = Running::start(&mut served).ended();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.starts_with("fixp: FIXP_LOG is \"fixp_transport=loud\": "), "{}", ended.err);
}

#[cfg(unix)]
#[test]
fn it_logs_what_it_is_asked_to() {
    let served = Served::with(&["-v"]);
    run(&["send", &served.addr, "--raw", "0000", "--timeout", "0.2"]);
    served.process.signal("TERM");
    let ended = served.process.ended();
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.contains("DEBUG") && !ended.err.contains('\x1b'), "{}", ended.err);
}

#[test]
fn shutdown_over_udp_stops_it() {
    let served = Served::echo();
    let answer = run(&["send", &served.addr, "--udp", "--request", "NOTIFY/SHUTDOWN", "--json"]).fine();
    // 1010 is OKAY.
    assert!(answer.starts_with("{\"type\":\"answer\",\"code\":1010,"), "{answer}");
    let out = served.process.ended().fine();
    assert!(out.ends_with("stopped; no request was cut off\n"), "{out}");
}

#[test]
fn a_configuration_is_used() {
    let config = "listen = [\"127.0.0.1:0\"]\ndialect = \"lexst1\"\n\n[shutdown]\nown_addresses = false\n\n[key]\nbits = 512\n";
    let path = file("serve-config.toml", config);
    let mut served = Served::of(command().args(["serve", "--config", &path]));
    // lexst1's REFUSE is 3001, and the server goes on.
    let send = ["send", &served.addr, "--dialect", "lexst1", "--udp", "--json"];
    let refused = run(&[&send[..], &["--request", "NOTIFY/SHUTDOWN"]].concat()).fine();
    assert!(refused.contains("goodbye!"), "{refused}");
    assert!(served.process.runs());
    // Without --echo nobody serves a log.
    let unserved = run(&[&send[..], &["--request", "APP/ADD_LOG"]].concat()).fine();
    assert!(unserved.contains("sorry!"), "{unserved}");
}

#[test]
fn a_configuration_that_is_wrong_is_refused_at_its_line() {
    let path = file("serve-wrong.toml", "listen = []\ndialect = \"lexst2\"\n");
    let ended = run(&["serve", "--config", &path]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""));
    let begin = format!("fixp: cannot use {path}: line 2: ");
    assert!(ended.err.starts_with(&begin) && ended.err.lines().count() == 1, "{}", ended.err);
    let missing = run(&["serve", "--config", "/no/such/file"]);
    missing.refused(2, "cannot use /no/such/file: No such file or directory (os error 2)");
    let both = run(&["serve", "--config", &path, "--dialect", "lexst1"]);
    assert_eq!(both.code, Some(2));
}

/// `fixp serve` with so many descriptors: `ulimit` says whether as the soft limit, or the hard one as well.
#[cfg(unix)]
fn with_descriptors(ulimit: &str, args: &[&str]) -> Served {
    // The shell sets them for itself, and becomes the command.
    let mut shell = std::process::Command::new("sh");
    let fixp = env!("CARGO_BIN_EXE_fixp");
    shell.args(["-c", &format!("{ulimit} && exec \"$0\" \"$@\""), fixp, "serve", "--echo"]);
    Served::of(shell.args(["--listen", "127.0.0.1:0"]).args(args))
}

/// One source may have 4096 connections: its own limit stands in its way, and not the lack of descriptors, which
/// would keep out everybody else.
#[cfg(unix)]
#[test]
fn descriptors_are_had_for_the_connections() {
    let served = with_descriptors("ulimit -S -n 64", &[]);
    let _held: Vec<_> = (0..100).map(|_| TcpStream::connect(&served.addr).expect("a connection")).collect();
    run(&["send", &served.addr, "--request", "NOTIFY/TEST", "--timeout", "20"]).fine();
    served.process.signal("TERM");
    served.process.ended().fine();
}

#[cfg(unix)]
#[test]
fn descriptors_that_cannot_be_had_are_told_of() {
    let served = with_descriptors("ulimit -n 100", &[]);
    served.process.signal("TERM");
    let ended = served.process.ended();
    assert_eq!(ended.code, Some(0));
    let told = "fixp: note: the system lets this process have 36 sockets, and the server may want 16386: raise the hard limit \
        (ulimit -Hn), or lower limits.connections\n";
    assert_eq!(ended.err, told);
    // As many as there is room for are no matter.
    let config = "listen = [\"127.0.0.1:0\"]\n[limits]\nconnections = 30\n[key]\nbits = 512\n";
    let path = file("serve-few.toml", config);
    let served = with_descriptors("ulimit -n 100", &["--config", &path]);
    served.process.signal("TERM");
    assert_eq!(served.process.ended().err, "");
}

/// A request without a message tells no dialect, and its answer tells which one the server takes it for.
#[test]
fn the_dialect_of_those_who_do_not_tell_theirs() {
    for (dialect, okay) in [("laxcus6", "c70001f2030100fc03015000"), ("lexst1", "c70001d00701000604016000")] {
        let served = Served::with(&["--echo", "--default-dialect", dialect]);
        // 1/1, which both have.
        let send = ["send", &served.addr, "--raw", "87000101010000", "--timeout", "1"];
        assert_eq!(run(&send).fine(), format!("{okay}\n"), "{dialect}");
    }
}
