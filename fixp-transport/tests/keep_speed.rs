//! What the machines of KEEP UDP cost a core, without sockets and without waiting. Not run with the others:
//! `cargo test --release -p fixp-transport --test keep_speed -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::keep::{Requester, Responder, requester, responder};

const MEBIBYTE: usize = 1 << 20;
const ROUNDS: u32 = 50;

/// The time that each part takes: request out, request in, answer out, answer in; and how many pieces.
fn parts(dialect: &'static Dialect, allowed: bool) -> ([Duration; 4], u32) {
    let client: SocketAddr = "10.0.0.1:4000".parse().unwrap();
    let server: SocketAddr = "10.0.0.2:6600".parse().unwrap();
    // The clock is virtual, so the pace costs nothing but its own work.
    let mut now = Instant::now();
    let mut config = responder::Config::new(dialect);
    if allowed {
        config.allow = fixp_transport::server::AllowList::everyone();
    }
    let mut answering = Responder::new(config);
    let mut asking = Requester::new(requester::Config::new(dialect), server);
    let code = if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
    let entity = Bytes::from(vec![7; MEBIBYTE]);
    let (mut spent, mut pieces) = ([Duration::ZERO; 4], 0);
    for _ in 0..ROUNDS {
        asking.request(now, Packet::new(code).with_entity(entity.clone())).unwrap();
        let mut out: Vec<Bytes> = Vec::new();
        let begin = Instant::now();
        loop {
            while let Some(sent) = asking.poll_transmit(now) {
                out.push(sent.bytes);
            }
            if out.len() == 2185 {
                break;
            }
            now = asking.poll_timeout().unwrap();
            asking.handle_timeout(now);
        }
        spent[0] += begin.elapsed();
        pieces += 2185;
        let begin = Instant::now();
        for bytes in &out {
            answering.handle_datagram(now, client, bytes);
        }
        spent[1] += begin.elapsed();
        let event = answering.poll_event().unwrap();
        let okay = Packet::new(fixp_transport::tables::of(dialect).okay).with_entity(entity.clone());
        answering.answer(now, event.ticket, Some(okay)).unwrap();
        out.clear();
        let begin = Instant::now();
        loop {
            while let Some(sent) = answering.poll_transmit(now) {
                out.push(sent.bytes);
            }
            if out.len() >= 2185 + 3 * usize::from(dialect.name() != "lexst1") {
                break;
            }
            now = answering.poll_timeout().unwrap();
            answering.handle_timeout(now);
        }
        spent[2] += begin.elapsed();
        let begin = Instant::now();
        for bytes in &out {
            asking.handle_datagram(now, server, bytes);
        }
        spent[3] += begin.elapsed();
        assert_eq!(asking.poll_event().unwrap().unwrap().entity, entity);
        answering.handle_datagram(now, client, &asking.poll_transmit(now).unwrap().bytes);
        asking.handle_datagram(now, server, &answering.poll_transmit(now).unwrap().bytes);
        assert!(asking.is_idle());
        assert_eq!((answering.held(), answering.exchanges()), (0, 0));
    }
    (spent, pieces)
}

#[test]
#[ignore = "a measurement"]
fn pieces_a_second() {
    for (dialect, allowed) in [(&LAXCUS6, false), (&LAXCUS6, true), (&LEXST1, false)] {
        let mut best = [Duration::MAX; 4];
        let mut pieces = 0;
        for _ in 0..7 {
            let (spent, count) = parts(dialect, allowed);
            pieces = count;
            for (best, spent) in best.iter_mut().zip(spent) {
                *best = (*best).min(spent);
            }
        }
        print!("{}{}:", dialect.name(), if allowed { " (not limited)" } else { "" });
        for (name, spent) in ["request out", "request in", "answer out", "answer in"].iter().zip(best) {
            print!(" {name} {:.0} ns,", spent.as_nanos() as f64 / f64::from(pieces));
        }
        println!(" a piece of 480 bytes, {pieces} in all, best of 7");
    }
}
