//! Clients that behave as the state tables say the programs' do, with their faults, at our responder: over a
//! network that loses, doubles and reorders they finish, where their own servers would leave them hanging.
//!
//! laxcus6's is silent once it has had ACCEPTED (Q8) and adopts the identity of the first piece it sees (Q9).
//! lexst1's never sends its request again (R = 0, Q4), hears one serial of a RETRY (Q3), asks only when it has
//! something, and aborts at anything unexpected (Q2); it says CANCEL until NOTFOUND (Q5).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::laxcus6::key::{PACKET_IDENTIFY, SUBPACKET_SERIAL};
use fixp_codec::{Decoder, Dialect, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_laboratory::{LinkConfig, Random, Wire};
use fixp_transport::keep::pieces::{Added, Bounds, Form, Gather, Mark, Pieces};
use fixp_transport::keep::{Responder, control, responder, table};

const MILLI: Duration = Duration::from_millis(1);

struct Client {
    dialect: &'static Dialect,
    pieces: Pieces,
    bucket: Option<Gather>,
    heard: bool,
    accepted: bool,
    answer: Option<Packet>,
    done: bool,
    quiet: Duration,
    out: Vec<Bytes>,
}

impl Client {
    fn lexst1(&self) -> bool {
        self.dialect.name() == "lexst1"
    }

    fn all(&mut self) {
        self.out.extend((0..self.pieces.count()).map(|index| self.pieces.datagram(index).unwrap()));
    }

    fn gets(&mut self, now: Duration, bytes: &[u8]) {
        let table = table::of(self.dialect);
        let packet = Decoder::new(self.dialect).packet(bytes).unwrap();
        let code = packet.code();
        self.quiet = now + Duration::from_secs(3);
        if self.answer.is_some() {
            if code == table.cancel_not_found || code == table.cancel_okay && !self.lexst1() {
                self.done = true;
            } else if self.lexst1() {
                self.cancel();
            }
        } else if code == table.retry {
            if !self.accepted {
                self.heard = true;
                for serial in packet.all(SUBPACKET_SERIAL).take(table.retry_serials) {
                    let index = serial.as_i32().unwrap().cast_unsigned() - self.dialect.first_serial();
                    self.out.push(self.pieces.datagram(index).unwrap());
                }
            }
        } else if code == laxcus6::answer::SUBPACKETS_ACCEPTED && !self.lexst1() {
            assert_eq!(packet.first(PACKET_IDENTIFY).unwrap().as_i32(), Some(1));
            self.accepted = true;
        } else {
            let mark = Mark::of(self.dialect, &packet).expect("nothing but pieces of the answer");
            assert_eq!(mark.identity, 1);
            self.heard = true;
            let bucket = self.bucket.get_or_insert_with(|| Gather::new(mark));
            match bucket.add(mark, &packet, 0, Bounds::default()) {
                Added::Whole => {
                    self.answer = Some(self.bucket.take().unwrap().join(self.dialect).unwrap());
                    self.cancel();
                }
                Added::Kept | Added::Known => {}
                other => panic!("{other:?} aborts the program"),
            }
        }
    }

    fn cancel(&mut self) {
        self.out.push(control::cancel(self.dialect, None, 1).unwrap());
    }

    fn silence(&mut self, now: Duration) {
        self.quiet = now + Duration::from_secs(3);
        if self.answer.is_some() {
            self.cancel();
        } else if let Some(bucket) = self.bucket.as_ref().filter(|_| !self.accepted) {
            let first = self.dialect.first_serial();
            let missing = bucket.missing(false, 1000).into_iter().map(|index| index + first);
            let missing: Vec<u32> = missing.collect();
            for serials in missing.chunks(table::of(self.dialect).retry_serials) {
                self.out.push(control::retry(self.dialect, None, 1, serials).unwrap());
            }
        } else if !self.lexst1() && !self.accepted {
            self.all();
        }
    }
}

/// Whether the client has its answer, and how often it was executed.
fn run(dialect: &'static Dialect, seed: u64, loss: f64, size: usize) -> (bool, usize) {
    println!("seed {seed}");
    let (at, server): (SocketAddr, SocketAddr) =
        ("10.0.0.1:4000".parse().unwrap(), "10.0.0.2:6600".parse().unwrap());
    let mut wire = Wire::new(seed);
    let link = LinkConfig::default().with_delay(10 * MILLI).with_jitter(20 * MILLI).with_loss(loss);
    wire.set_links(link.with_duplicate(0.1).with_reorder(0.1, 80 * MILLI));
    let code = if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
    let request = Packet::new(code).with_entity(Random::new(seed).bytes(size));
    let answer = Packet::new(table_okay(dialect)).with_entity(Random::new(seed ^ 1).bytes(size));
    let mut client = Client {
        dialect,
        pieces: Pieces::cut(dialect, request.clone(), Form::of_request(dialect, 1)).unwrap(),
        bucket: None,
        heard: false,
        accepted: false,
        answer: None,
        done: false,
        quiet: Duration::from_secs(3),
        out: Vec::new(),
    };
    client.all();
    let mut responder = Responder::new(responder::Config::new(dialect));
    let (start, mut now, mut executed) = (Instant::now(), Duration::ZERO, 0);
    // The program gives up after 120 s of silence, or never.
    while now < Duration::from_secs(240) {
        while let Some(delivery) = wire.poll(now) {
            if delivery.to == server {
                responder.handle_datagram(start + now, at, &delivery.bytes);
            } else if !client.done {
                client.gets(now, &delivery.bytes);
            }
        }
        responder.handle_timeout(start + now);
        while let Some(event) = responder.poll_event() {
            executed += 1;
            assert_eq!(event.packet, request);
            responder.answer(start + now, event.ticket, Some(answer.clone())).unwrap();
        }
        while let Some(sent) = responder.poll_transmit(start + now) {
            wire.send(now, server, at, sent.bytes);
        }
        if client.quiet <= now && !client.done {
            client.silence(now);
        }
        for bytes in client.out.drain(..) {
            wire.send(now, at, server, bytes);
        }
        let quiet = (!client.done).then_some(client.quiet);
        let timer = responder.poll_timeout().map(|at| at - start);
        let Some(next) = [wire.next_time(), quiet, timer].into_iter().flatten().min() else { break };
        now = next.max(now);
    }
    if let Some(got) = &client.answer {
        assert_eq!(*got, answer);
    }
    if client.done {
        assert_eq!((responder.held(), responder.exchanges()), (0, 0));
    }
    (client.answer.is_some() && client.done, executed)
}

fn table_okay(dialect: &Dialect) -> fixp_codec::Code {
    fixp_transport::tables::of(dialect).okay
}

#[test]
fn laxcus6_clients_finish() {
    for seed in 0..200 {
        let size = Random::new(seed).below(8000) as usize;
        assert_eq!(run(&LAXCUS6, seed, 0.15, size), (true, 1), "seed {seed}");
    }
}

#[test]
fn lexst1_clients_finish_if_one_piece_arrives() {
    let mut whole_request_lost = 0;
    for seed in 0..200 {
        let size = Random::new(seed).below(8000) as usize;
        match run(&LEXST1, seed, 0.15, size) {
            (true, 1) => {}
            // The program never sends again what has been lost as a whole, and no server can help it.
            (false, 0) if size < 2000 => whole_request_lost += 1,
            other => panic!("seed {seed}: {other:?} with {size} bytes"),
        }
    }
    assert!(whole_request_lost < 20, "{whole_request_lost}");
}
