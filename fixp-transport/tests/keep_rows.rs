//! The rows of the state tables of KEEP UDP, each with a test that names it: `lexst1_requester`, `lexst1_responder`,
//! `laxcus6_requester`, `laxcus6_responder`, then the state and what happens in it. Where the program fails there,
//! ours does not, and the test says what it does (SPEC 9.5, 9.6, 9.7, 9.8, 9.9, 9.11).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixp_codec::{Decoder, Dialect, LAXCUS2, LAXCUS6, LEXST1, Packet, laxcus6, lexst1};
use fixp_transport::keep::pieces::{Form, Mark, Pieces};
use fixp_transport::keep::{Limits, Requester, Responder, control, requester, responder};
use fixp_transport::{Cause, Fate};

const SECOND: Duration = Duration::from_secs(1);

fn client() -> SocketAddr {
    "10.0.0.1:4000".parse().unwrap()
}

fn server() -> SocketAddr {
    "10.0.0.2:6600".parse().unwrap()
}

fn request_of(dialect: &Dialect, size: usize) -> Packet {
    let code = if dialect.name() == "lexst1" { lexst1::app::ADD_LOG } else { laxcus6::notify::FLUSH_LOG };
    Packet::new(code).with_entity(vec![7; size])
}

fn answer_of(dialect: &Dialect, size: usize) -> Packet {
    Packet::new(fixp_transport::tables::of(dialect).okay).with_entity(vec![9; size])
}

fn request(dialect: &'static Dialect, identity: i32, size: usize) -> Pieces {
    Pieces::cut(dialect, request_of(dialect, size), Form::of_request(dialect, identity)).unwrap()
}

fn answer(dialect: &'static Dialect, identity: i32, size: usize) -> Pieces {
    Pieces::cut(dialect, answer_of(dialect, size), Form::of_answer(dialect, identity)).unwrap()
}

/// A side of an exchange, and its clock.
struct Side<M> {
    machine: M,
    dialect: &'static Dialect,
    now: Instant,
}

fn asks(dialect: &'static Dialect, size: usize) -> Side<Requester> {
    let mut side = Side {
        machine: Requester::new(requester::Config::new(dialect), server()),
        dialect,
        now: Instant::now(),
    };
    side.machine.request(side.now, request_of(dialect, size)).unwrap();
    side
}

fn answers(dialect: &'static Dialect) -> Side<Responder> {
    Side { machine: Responder::new(responder::Config::new(dialect)), dialect, now: Instant::now() }
}

impl Side<Requester> {
    /// What it sends now.
    fn sent(&mut self) -> Vec<Bytes> {
        std::iter::from_fn(|| self.machine.poll_transmit(self.now)).map(|sent| sent.bytes).collect()
    }

    fn gets(&mut self, bytes: impl AsRef<[u8]>) {
        self.machine.handle_datagram(self.now, server(), bytes.as_ref());
    }

    /// Lets time pass, and collects what is sent with the time since.
    fn after(&mut self, time: Duration) -> Vec<(Duration, Bytes)> {
        let (begin, end) = (self.now, self.now + time);
        let mut all = Vec::new();
        while let Some(at) = self.machine.poll_timeout().filter(|&at| at <= end) {
            self.now = at;
            self.machine.handle_timeout(at);
            all.extend(self.sent().into_iter().map(|bytes| (at - begin, bytes)));
        }
        self.now = end;
        all
    }
}

impl Side<Responder> {
    fn sent(&mut self) -> Vec<Bytes> {
        std::iter::from_fn(|| self.machine.poll_transmit(self.now)).map(|sent| sent.bytes).collect()
    }

    fn gets(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.machine.handle_datagram(self.now, client(), bytes.as_ref()));
    }

    fn after(&mut self, time: Duration) -> Vec<(Duration, Bytes)> {
        let (begin, end) = (self.now, self.now + time);
        let mut all = Vec::new();
        while let Some(at) = self.machine.poll_timeout().filter(|&at| at <= end) {
            self.now = at;
            self.machine.handle_timeout(at);
            all.extend(self.sent().into_iter().map(|bytes| (at - begin, bytes)));
        }
        self.now = end;
        all
    }

    /// Executes what has come, with an answer of this size.
    fn executes(&mut self, size: usize) -> usize {
        let mut times = 0;
        while let Some(event) = self.machine.poll_event() {
            times += 1;
            self.machine.answer(self.now, event.ticket, Some(answer_of(self.dialect, size))).unwrap();
        }
        times
    }

    /// A whole exchange up to its held answer.
    fn holds(dialect: &'static Dialect, size: usize) -> Self {
        let mut side = answers(dialect);
        side.gets(request(dialect, 1, 10).datagram(0).unwrap());
        assert_eq!(side.executes(size), 1);
        side.sent();
        side
    }
}

fn all(pieces: &Pieces) -> Vec<Bytes> {
    (0..pieces.count()).map(|index| pieces.datagram(index).unwrap()).collect()
}

fn retry(dialect: &Dialect, identity: i32, serials: &[u32]) -> Bytes {
    control::retry(dialect, None, identity, serials).unwrap()
}

fn cancel(dialect: &Dialect, identity: i32) -> Bytes {
    control::cancel(dialect, None, identity).unwrap()
}

fn cancelled(dialect: &Dialect, found: bool) -> Bytes {
    control::cancelled(dialect, None, found).unwrap()
}

fn accepted(identity: i32) -> Bytes {
    control::accepted(&LAXCUS6, identity).unwrap().unwrap()
}

fn only(at: u32, all: &[Bytes]) -> Vec<(Duration, Bytes)> {
    all.iter().map(|bytes| (at * SECOND, bytes.clone())).collect()
}

/// Asked for at once where the answer has begun, then after pauses that double up to the time of the program.
fn soon(all: &[Bytes]) -> Vec<(Duration, Bytes)> {
    let times = [200, 600, 1400, 3000].map(Duration::from_millis);
    times.iter().flat_map(|&at| all.iter().map(move |bytes| (at, bytes.clone()))).collect()
}

// 2.6, lexst1's requester.

#[test]
fn lexst1_requester_start() {
    assert_eq!(asks(&LEXST1, 1000).sent(), all(&request(&LEXST1, 1, 1000)));
}

#[test]
fn lexst1_requester_wait_silence_resends_at_fifteen_seconds_and_ends() {
    let mut side = asks(&LEXST1, 1000);
    let whole = side.sent();
    assert_eq!(side.after(29 * SECOND), only(15, &whole));
    side.after(91 * SECOND);
    let error = side.machine.poll_event().unwrap().unwrap_err();
    assert_eq!((error.cause, error.fate), (Cause::Timeout, Fate::PossiblyExecuted));
    // CANCEL clears nothing at lexst1: another port.
    assert!(side.machine.is_spoilt());
    assert_eq!(side.after(60 * SECOND).len(), 4);
    assert!(side.machine.is_idle());
}

#[test]
fn requester_that_sent_nothing_says_so() {
    let mut side = asks(&LEXST1, 1000);
    side.machine.handle_timeout(side.now + 120 * SECOND);
    assert_eq!(side.machine.poll_event().unwrap().unwrap_err().fate, Fate::NotSent);
    assert!(side.machine.is_idle() && !side.machine.is_spoilt());
}

#[test]
fn lexst1_requester_retry_sends_the_first_serial_and_no_more_all() {
    let mut side = asks(&LEXST1, 1000);
    let whole = side.sent();
    side.gets(retry(&LEXST1, 1, &[2, 3]));
    assert_eq!(side.sent(), [whole[1].clone()]);
    // Q19: not for another identity, not for a serial that is none.
    side.gets(retry(&LEXST1, 9, &[2]));
    side.gets(retry(&LEXST1, 1, &[0]));
    side.gets(retry(&LEXST1, 1, &[4]));
    assert!(side.sent().is_empty());
    let later = side.after(60 * SECOND);
    // COLLECT with an empty bucket: the program is silent; ours asks for the answer's first piece.
    assert!(later.iter().all(|(_, bytes)| *bytes == retry(&LEXST1, 1, &[1])), "{later:?}");
    assert_eq!(later[0].0, 6 * SECOND);
}

#[test]
fn lexst1_requester_collect_mismatch_does_not_abort() {
    let mut side = asks(&LEXST1, 1000);
    side.sent();
    let pieces = answer(&LEXST1, 1, 600);
    side.gets(pieces.datagram(0).unwrap());
    side.gets(answer_of(&LEXST1, 3).to_bytes(&LEXST1).unwrap());
    side.gets(answer(&LEXST1, 2, 600).datagram(1).unwrap());
    side.gets(answer(&LEXST1, 1, 2000).datagram(1).unwrap());
    side.gets([0; 9]);
    let (now, other) = (side.now, "10.0.0.9:6600".parse().unwrap());
    side.machine.handle_datagram(now, other, &pieces.datagram(1).unwrap());
    assert!(side.machine.poll_event().is_none());
    side.gets(pieces.datagram(1).unwrap());
    assert_eq!(side.machine.poll_event().unwrap().unwrap(), answer_of(&LEXST1, 600));
}

#[test]
fn lexst1_requester_collect_silence_asks_one_by_one() {
    let mut side = asks(&LEXST1, 1000);
    side.sent();
    side.gets(answer(&LEXST1, 1, 1500).datagram(2).unwrap());
    let asked = [1, 2, 4].map(|serial| retry(&LEXST1, 1, &[serial]));
    assert_eq!(side.after(4 * SECOND), soon(&asked));
}

fn answered(dialect: &'static Dialect) -> Side<Requester> {
    let mut side = asks(dialect, 1000);
    side.sent();
    side.gets(answer(dialect, 1, 0).datagram(0).unwrap());
    assert!(side.machine.poll_event().unwrap().is_ok());
    assert_eq!(side.sent(), [cancel(dialect, 1)]);
    side
}

#[test]
fn lexst1_requester_cancel1_silence_says_it_again_each_five_seconds_with_an_end() {
    let mut side = answered(&LEXST1);
    let again: Vec<_> = (1..5).map(|nth| (nth * 5 * SECOND, cancel(&LEXST1, 1))).collect();
    assert_eq!(side.after(100 * SECOND), again);
    assert!(side.machine.is_idle() && side.machine.is_spoilt());
}

#[test]
fn lexst1_requester_cancel1_not_found_is_done() {
    let mut side = answered(&LEXST1);
    side.gets(cancelled(&LEXST1, false));
    assert!(side.machine.is_idle() && !side.machine.is_spoilt());
}

#[test]
fn lexst1_requester_cancel2_okay_is_final_and_spoils_the_port() {
    let mut side = answered(&LEXST1);
    side.gets(cancelled(&LEXST1, true));
    assert!(side.machine.is_idle() && side.machine.is_spoilt());
    assert!(side.after(60 * SECOND).is_empty());
}

// 2.7, lexst1's responder.

#[test]
fn lexst1_responder_assembling_asks_after_the_pieces_own_silence() {
    let mut side = answers(&LEXST1);
    let pieces = request(&LEXST1, 1, 1500);
    side.gets(pieces.datagram(0).unwrap());
    side.gets(pieces.datagram(2).unwrap());
    let asked = [2, 4].map(|serial| retry(&LEXST1, 1, &[serial]));
    let mut expected = only(3, &asked);
    expected.extend(only(6, &asked));
    assert_eq!(side.after(6 * SECOND), expected);
    // A piece starts the time anew, and the last completes it.
    side.gets(pieces.datagram(1).unwrap());
    assert_eq!(side.after(3 * SECOND), only(3, &asked[1..]));
    side.gets(pieces.datagram(3).unwrap());
    assert_eq!(side.machine.poll_event().unwrap().packet, request_of(&LEXST1, 1500));
}

#[test]
fn responder_assembling_mismatch_is_ignored_until_the_group_is_stale() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut side = answers(dialect);
        let (old, new) = (request(dialect, 1, 1500), request(dialect, 1, 600));
        side.gets(old.datagram(0).unwrap());
        side.gets(new.datagram(0).unwrap());
        side.gets(new.datagram(1).unwrap());
        assert!(side.machine.poll_event().is_none());
        side.after(3 * SECOND);
        side.gets(new.datagram(0).unwrap());
        side.gets(new.datagram(1).unwrap());
        assert_eq!(side.machine.poll_event().unwrap().packet, request_of(dialect, 600));
    }
}

#[test]
fn responder_assembling_ends_in_time_and_leaves_nothing() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut side = answers(dialect);
        let pieces = request(dialect, 1, 1500);
        side.gets(pieces.datagram(2).unwrap());
        let came = pieces.datagram(2).unwrap().len();
        let asked: usize = side.after(60 * SECOND).iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(asked > 0 && asked <= came);
        assert_eq!((side.machine.held(), side.machine.exchanges()), (0, 0));
    }
}

#[test]
fn responder_complete_sends_once_in_order() {
    let mut side = answers(&LEXST1);
    side.gets(request(&LEXST1, 1, 10).datagram(0).unwrap());
    assert!(side.sent().is_empty());
    side.executes(1000);
    assert_eq!(side.sent(), all(&answer(&LEXST1, 1, 1000)));

    let mut side = answers(&LAXCUS6);
    side.gets(request(&LAXCUS6, 1, 10).datagram(0).unwrap());
    assert_eq!(side.sent(), [accepted(1), accepted(1), accepted(1)]);
    side.executes(1000);
    assert_eq!(side.sent(), all(&answer(&LAXCUS6, 1, 1000)));
}

#[test]
fn responder_held_retry_sends_what_is_listed_of_its_identity() {
    let mut side = Side::holds(&LEXST1, 1000);
    let pieces = all(&answer(&LEXST1, 1, 1000));
    side.gets(retry(&LEXST1, 1, &[2, 3]));
    assert_eq!(side.sent(), pieces[1..2]);

    let mut side = Side::holds(&LAXCUS6, 1000);
    let pieces = all(&answer(&LAXCUS6, 1, 1000));
    side.gets(retry(&LAXCUS6, 1, &[2, 0, 7, u32::MAX]));
    assert_eq!(side.sent(), [pieces[2].clone(), pieces[0].clone()]);
    side.gets(retry(&LAXCUS6, 99, &[1]));
    assert!(side.sent().is_empty());
}

#[test]
fn lexst1_responder_any_cancel_is_not_found_and_all_is_gone() {
    for side in [Side::holds(&LEXST1, 1000), answers(&LEXST1)] {
        let mut side = side;
        side.gets(request(&LEXST1, 2, 1000).datagram(1).unwrap());
        for identity in [1, 2, 77] {
            side.gets(cancel(&LEXST1, identity));
            assert_eq!(side.sent(), [cancelled(&LEXST1, false)]);
        }
        side.gets(retry(&LEXST1, 1, &[1]));
        assert!(side.sent().is_empty() && side.after(20 * SECOND).is_empty());
        assert_eq!((side.machine.held(), side.machine.exchanges()), (0, 0));
    }
}

#[test]
fn responder_none_retry_is_nothing() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut side = answers(dialect);
        side.gets(retry(dialect, 1, &[1]));
        assert!(side.sent().is_empty());
        assert_eq!(side.machine.held(), 0);
    }
}

#[test]
fn responder_duplicate_is_not_executed_again() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut side = answers(dialect);
        let pieces = all(&request(dialect, 1, 1000));
        for _ in 0..2 {
            pieces.iter().for_each(|piece| side.gets(piece));
        }
        assert_eq!(side.executes(600), 1);
        side.sent();
        side.after(SECOND / 2);
        pieces.iter().for_each(|piece| side.gets(piece));
        assert_eq!(side.executes(600), 0);
        assert_eq!(side.sent(), all(&answer(dialect, 1, 600)));
        // After the answer is forgotten, too, as long as the tombstone stands.
        side.after(Limits::HOLD + SECOND);
        pieces.iter().for_each(|piece| side.gets(piece));
        assert_eq!((side.executes(600), side.sent().len()), (0, 0));
        side.after(Limits::TOMBSTONE);
        assert_eq!((side.machine.held(), side.machine.exchanges()), (0, 0));
        // Another request with the identity and port of an earlier one is another request.
        let mut side = Side::holds(dialect, 600);
        side.gets(request(dialect, 1, 11).datagram(0).unwrap());
        assert_eq!(side.executes(5), 1);
    }
}

// 2.8, laxcus6's requester. SECURE is the caller's (the state before it has a port for KEEP UDP).

#[test]
fn laxcus6_requester_p1_enter() {
    assert_eq!(asks(&LAXCUS6, 1000).sent(), all(&request(&LAXCUS6, 1, 1000)));
}

#[test]
fn laxcus6_requester_p1_silence_empty_resends_all_and_the_tail_early() {
    let mut side = asks(&LAXCUS6, 1000);
    let whole = side.sent();
    let mut expected = only(1, &whole[2..]);
    expected.extend(only(3, &whole));
    assert_eq!(side.after(5 * SECOND), expected);
    // Q13 is not for a request of one piece: that would be executed again.
    let mut side = asks(&LAXCUS6, 10);
    let whole = side.sent();
    assert_eq!(side.after(5 * SECOND), only(3, &whole));
}

#[test]
fn laxcus6_requester_p1_silence_partly_filled_asks_fifty_at_a_time() {
    let mut side = asks(&LAXCUS6, 10);
    side.sent();
    side.gets(answer(&LAXCUS6, 1, 480 * 60).datagram(0).unwrap());
    let (first, second): (Vec<u32>, Vec<u32>) = ((1..=50).collect(), (51..60).collect());
    let asked = [retry(&LAXCUS6, 1, &first), retry(&LAXCUS6, 1, &second)];
    assert_eq!(side.after(4 * SECOND), soon(&asked));
}

#[test]
fn laxcus6_requester_p1_retry_sends_every_listed() {
    let mut side = asks(&LAXCUS6, 2000);
    let whole = side.sent();
    side.gets(retry(&LAXCUS6, 1, &[4, 1, 5, 1]));
    assert_eq!(side.sent(), [whole[4].clone(), whole[1].clone()]);
}

#[test]
fn laxcus6_requester_p1_accepted_only_with_its_identity() {
    let mut side = asks(&LAXCUS6, 10);
    let whole = side.sent();
    side.gets(accepted(2));
    assert_eq!(side.after(3 * SECOND), only(3, &whole));
    side.gets(accepted(1));
    // P2: never all again.
    assert!(side.after(60 * SECOND).iter().all(|(_, bytes)| *bytes == retry(&LAXCUS6, 1, &[0])));
}

#[test]
fn laxcus6_requester_p2_silence_asks_where_the_program_never_does() {
    let mut side = asks(&LAXCUS6, 10);
    side.sent();
    side.gets(accepted(1));
    side.gets(answer(&LAXCUS6, 1, 1000).datagram(0).unwrap());
    side.gets(answer(&LAXCUS6, 1, 1000).datagram(2).unwrap());
    assert_eq!(side.after(4 * SECOND), soon(&[retry(&LAXCUS6, 1, &[1])]));
}

/// So its server hears of a loss while the rest of a long answer leaves.
#[test]
fn laxcus6_requester_p2_asks_for_each_hole_once_while_more_comes() {
    let mut side = asks(&LAXCUS6, 10);
    side.sent();
    side.gets(accepted(1));
    let pieces = answer(&LAXCUS6, 1, 480 * 100);
    let mut asked = Vec::new();
    for index in (0..100).filter(|index| ![3, 4, 60].contains(index)) {
        side.gets(pieces.datagram(index).unwrap());
        asked.extend(side.sent().into_iter().map(|bytes| (index, bytes)));
        side.now += Duration::from_millis(10);
    }
    // What was there when the first piece came, and so on each 200 ms.
    assert_eq!(asked, [(42, retry(&LAXCUS6, 1, &[3, 4])), (83, retry(&LAXCUS6, 1, &[60]))]);
    side.gets(pieces.datagram(60).unwrap());
    assert_eq!(side.after(SECOND / 2), [(Duration::from_millis(200), retry(&LAXCUS6, 1, &[3, 4]))]);
}

#[test]
fn laxcus6_requester_p2_retry_is_ignored() {
    let mut side = asks(&LAXCUS6, 1000);
    side.sent();
    side.gets(accepted(1));
    side.gets(retry(&LAXCUS6, 1, &[0]));
    assert!(side.sent().is_empty());
}

#[test]
fn laxcus6_requester_takes_no_identity_from_a_stray_piece() {
    let mut side = asks(&LAXCUS6, 10);
    side.sent();
    side.gets(answer(&LAXCUS6, 9, 10).datagram(0).unwrap());
    assert!(side.machine.poll_event().is_none());
    side.gets(answer(&LAXCUS6, 1, 10).datagram(0).unwrap());
    assert!(side.machine.poll_event().unwrap().is_ok());
}

#[test]
fn laxcus6_requester_takes_an_answer_without_disable_key() {
    // Q15: EXIT inside KEEP.
    let mut side = asks(&LAXCUS6, 10);
    side.sent();
    let goodbye = Packet::new(laxcus6::answer::GOODBYE).with(laxcus6::key::SPEAK, "SEE YOU NEXT TIME!");
    let goodbye = goodbye.with(3001, 1).with(3002, 0).with(3000, 1).with(3003, 3000);
    side.gets(goodbye.to_bytes(&LAXCUS6).unwrap());
    assert_eq!(side.machine.poll_event().unwrap().unwrap().code, laxcus6::answer::GOODBYE);
}

#[test]
fn laxcus6_requester_cancel_ends_by_either_answer_or_in_time() {
    for found in [false, true] {
        let mut side = answered(&LAXCUS6);
        side.gets(accepted(1));
        assert!(!side.machine.is_idle());
        side.gets(cancelled(&LAXCUS6, found));
        assert!(side.machine.is_idle() && !side.machine.is_spoilt());
    }
    let mut side = answered(&LAXCUS6);
    assert_eq!(side.after(600 * SECOND).len(), 4);
    assert!(side.machine.is_idle() && side.machine.is_spoilt());
}

#[test]
fn laxcus6_requester_fail_cancels_and_keeps_the_port() {
    let mut side = asks(&LAXCUS6, 10);
    side.sent();
    assert_eq!(side.after(120 * SECOND).last().unwrap().1, cancel(&LAXCUS6, 1));
    side.gets(cancelled(&LAXCUS6, false));
    assert!(side.machine.is_idle() && !side.machine.is_spoilt());
}

#[test]
fn laxcus6_requester_cures_a_stale_group() {
    // Q21.
    let mut side = asks(&LAXCUS6, 10);
    let whole = side.sent();
    side.gets(retry(&LAXCUS6, 7, &[0]));
    assert_eq!(side.sent(), [cancel(&LAXCUS6, 7), whole[0].clone()]);
    side.gets(retry(&LAXCUS6, 7, &[0]));
    assert!(side.sent().is_empty());
}

// 2.9, laxcus6's responder.

#[test]
fn laxcus6_responder_none_a_piece_lacking_a_key_is_nothing() {
    let mut side = answers(&LAXCUS6);
    let lacking = request_of(&LAXCUS6, 10).with(3001, 1).with(3002, 0).to_bytes(&LAXCUS6).unwrap();
    side.gets(lacking);
    // Recorded (probe `subpacket-no-timeout`): silence.
    side.gets(hex::decode("87000133010300b90b015001ba0b015000b80b01502b").unwrap());
    assert!(side.sent().is_empty() && side.machine.poll_event().is_none());
    assert_eq!((side.machine.held(), side.machine.exchanges()), (0, 0));
}

#[test]
fn laxcus6_responder_assembling_gap_is_asked_for_at_once_and_each_second() {
    let mut side = answers(&LAXCUS6);
    let pieces = request(&LAXCUS6, 1, 2000);
    side.gets(pieces.datagram(0).unwrap());
    side.gets(pieces.datagram(2).unwrap());
    // At once only what is before the last: the program asks for what is still on its way, too.
    assert_eq!(side.sent(), [retry(&LAXCUS6, 1, &[1])]);
    side.gets(pieces.datagram(3).unwrap());
    assert!(side.sent().is_empty());
    let asked = [retry(&LAXCUS6, 1, &[1, 4])];
    let mut expected = only(1, &asked);
    expected.extend(only(2, &asked));
    assert_eq!(side.after(2 * SECOND), expected);
}

#[test]
fn laxcus6_responder_assembling_lost_tail_is_asked_for_sooner_than_in_six_seconds() {
    let mut side = answers(&LAXCUS6);
    side.gets(request(&LAXCUS6, 1, 1000).datagram(0).unwrap());
    assert_eq!(side.after(SECOND), only(1, &[retry(&LAXCUS6, 1, &[1, 2])]));
}

#[test]
fn laxcus6_responder_cancel_is_for_its_identity() {
    let mut side = Side::holds(&LAXCUS6, 1000);
    side.gets(request(&LAXCUS6, 2, 1000).datagram(0).unwrap());
    side.gets(cancel(&LAXCUS6, 3));
    assert_eq!(side.sent(), [cancelled(&LAXCUS6, false)]);
    side.gets(cancel(&LAXCUS6, 1));
    assert_eq!(side.sent(), [cancelled(&LAXCUS6, true)]);
    side.gets(cancel(&LAXCUS6, 1));
    assert_eq!(side.sent(), [cancelled(&LAXCUS6, false)]);
    // The group of the other lives.
    side.gets(request(&LAXCUS6, 2, 1000).datagram(1).unwrap());
    side.gets(request(&LAXCUS6, 2, 1000).datagram(2).unwrap());
    assert_eq!(side.executes(1), 1);
    // Without an identity there is no answer.
    side.sent();
    side.gets(Packet::new(laxcus6::notify::CANCEL_PACKET).to_bytes(&LAXCUS6).unwrap());
    assert!(side.sent().is_empty());
}

#[test]
fn responder_held_answer_is_sent_again_until_cancel() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut side = Side::holds(dialect, 600);
        let pieces = all(&answer(dialect, 1, 600));
        let mut expected = only(1, &pieces);
        expected.extend(only(3, &pieces));
        assert_eq!(side.after(4 * SECOND), expected);
        side.gets(cancel(dialect, 1));
        side.sent();
        // At once, with no timer left.
        assert_eq!((side.machine.held(), side.machine.exchanges()), (0, 0));
        assert_eq!(side.machine.poll_timeout(), None);
    }
}

#[test]
fn responder_tombstone_lasts_while_its_client_asks() {
    let mut side = Side::holds(&LEXST1, 600);
    side.after(Limits::HOLD + SECOND);
    for _ in 0..10 {
        side.after(Limits::TOMBSTONE - 2 * SECOND);
        side.gets(request(&LEXST1, 1, 10).datagram(0).unwrap());
        assert_eq!(side.executes(600), 0);
    }
    side.after(Limits::TOMBSTONE);
    assert_eq!((side.machine.held(), side.machine.exchanges()), (0, 0));
}

#[test]
fn lexst1_answer_without_entity_has_its_keys_last() {
    // Recorded: EXIT in KEEP UDP, whose answer comes as one piece (2.1).
    let text = include_str!("keep_recorded/lexst1-keepudp-rpc-null.jsonl");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let recorded = |nth: usize| hex::decode(lines[nth].get("hex").unwrap().as_str().unwrap()).unwrap();
    let local = Some("127.0.0.1".parse().unwrap());
    let exit = Form { bind_ip: local, ..Form::of_request(&LEXST1, 2) };
    let exit = Pieces::cut(&LEXST1, Packet::new(lexst1::notify::EXIT), exit).unwrap();
    assert_eq!(exit.datagram(0).unwrap(), recorded(4));
    let okay = Packet::new(lexst1::answer::OKAY).with(lexst1::key::SPEAK, "see you next time");
    let form = Form { bind_ip: local, ..Form::of_answer(&LEXST1, 2) };
    assert_eq!(Pieces::cut(&LEXST1, okay, form).unwrap().datagram(0).unwrap(), recorded(5));
    // It ends an exchange as any answer does.
    let config = requester::Config { identity: 2, bind_ip: local, ..requester::Config::new(&LEXST1) };
    let mut machine = Requester::new(config, server());
    let now = Instant::now();
    machine.request(now, Packet::new(lexst1::notify::EXIT)).unwrap();
    assert_eq!(machine.poll_transmit(now).unwrap().bytes, recorded(4));
    machine.handle_datagram(now, server(), &recorded(5));
    assert!(machine.poll_event().unwrap().is_ok());
    assert_eq!(machine.poll_transmit(now).unwrap().bytes, recorded(6));
    machine.handle_datagram(now, server(), &recorded(7));
    assert!(machine.is_idle() && !machine.is_spoilt());
}

#[test]
fn responder_after_cancel_a_late_duplicate_is_not_executed() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut side = Side::holds(dialect, 600);
        side.gets(cancel(dialect, 1));
        side.after(Limits::SETTLE / 2);
        side.gets(request(dialect, 1, 10).datagram(0).unwrap());
        assert_eq!(side.executes(600), 0);
        // A client that begins anew with the same identity is served after that.
        side.after(Limits::SETTLE);
        side.gets(request(dialect, 1, 10).datagram(0).unwrap());
        assert_eq!(side.executes(600), 1);
    }
}

#[test]
fn responder_after_cancel_nothing_cancelled_later_hides_what_was_before() {
    // Found by the fuzzer: the second CANCEL of an identity took the place of the first.
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut side = Side::holds(dialect, 600);
        side.gets(cancel(dialect, 1));
        side.gets(request(dialect, 1, 1000).datagram(0).unwrap());
        side.gets(cancel(dialect, 1));
        side.gets(request(dialect, 1, 10).datagram(0).unwrap());
        side.gets(request(dialect, 1, 1000).datagram(1).unwrap());
        assert_eq!((side.executes(600), side.machine.exchanges()), (0, 0));
    }
}

#[test]
fn responder_held_answer_of_an_earlier_identity_is_not_sent_unasked() {
    let mut side = Side::holds(&LAXCUS6, 600);
    side.gets(request(&LAXCUS6, 2, 1000).datagram(0).unwrap());
    let sent = side.after(40 * SECOND);
    assert!(sent.iter().all(|(_, bytes)| {
        let packet = Decoder::new(&LAXCUS6).packet(bytes).unwrap();
        Mark::of(&LAXCUS6, &packet).is_none()
    }));
}

#[test]
fn responder_without_an_answer_sends_none() {
    let mut side = answers(&LAXCUS6);
    side.gets(request(&LAXCUS6, 1, 10).datagram(0).unwrap());
    side.sent();
    let event = side.machine.poll_event().unwrap();
    side.machine.answer(side.now, event.ticket, None).unwrap();
    assert!(side.after(60 * SECOND).is_empty());
    assert_eq!((side.machine.held(), side.machine.exchanges()), (0, 0));
}

#[test]
fn responder_bounds() {
    // 2.11, 1: a count allocates nothing and asks for no more than came.
    let mut side = answers(&LAXCUS6);
    let huge = |count: i32, serial: i32| {
        let packet = request_of(&LAXCUS6, 0).with(3001, count).with(3002, serial).with(3000, 1).with(3003, 1);
        packet.to_bytes(&LAXCUS6).unwrap()
    };
    side.gets(huge(i32::MAX, i32::MAX - 1));
    assert_eq!(side.machine.held(), 0);
    side.gets(huge(65536, 65535));
    assert!(side.machine.held() < 2000);
    let sent = side.after(600 * SECOND);
    let sent: usize = sent.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(sent <= huge(65536, 65535).len());
    // 2.11, 3: groups of one address and port.
    for identity in 0..100 {
        side.gets(request(&LAXCUS6, identity, 1000).datagram(0).unwrap());
    }
    assert_eq!(side.machine.exchanges(), Limits::EXCHANGES_PER_PEER);
}

#[test]
fn requester_bounds_its_cures() {
    let mut side = asks(&LAXCUS6, 10);
    side.sent();
    let mut cancels = 0;
    for _ in 0..50 {
        side.gets(retry(&LAXCUS6, 7, &[0]));
        let sent = side.sent().into_iter().chain(side.after(2 * SECOND).into_iter().map(|(_, bytes)| bytes));
        cancels += sent.filter(|bytes| *bytes == cancel(&LAXCUS6, 7)).count();
    }
    assert_eq!(cancels, 5);
}

#[test]
fn responder_bounds_what_an_answer_may_cost_the_network() {
    // 2.11, 4: a forged RETRY has it sent again, but not for ever.
    let mut side = Side::holds(&LAXCUS6, 600);
    let mut sent = 0;
    for _ in 0..500 {
        side.gets(retry(&LAXCUS6, 1, &[0, 1]));
        sent += side.sent().len();
    }
    assert_eq!(sent, 2 * Limits::SENDINGS as usize - 2);
}

#[test]
fn lexst1_requester_cancel1_anything_else_is_left_alone() {
    // The program answers whatever comes by another CANCEL, at once, and aborts at some of it.
    let mut side = answered(&LEXST1);
    side.gets(answer(&LEXST1, 1, 0).datagram(0).unwrap());
    side.gets(answer(&LEXST1, 2, 600).datagram(1).unwrap());
    side.gets(retry(&LEXST1, 9, &[1]));
    side.gets(&answer_of(&LEXST1, 3).to_bytes(&LEXST1).unwrap()[..9]);
    assert!(side.sent().is_empty() && !side.machine.is_idle());
    side.gets(cancelled(&LEXST1, false));
    assert!(side.machine.is_idle() && !side.machine.is_spoilt());
    // What comes afterwards is nothing either.
    side.gets(cancelled(&LEXST1, true));
    assert!(side.sent().is_empty() && !side.machine.is_spoilt());
}

#[test]
fn responder_held_answer_ends_in_time_and_by_no_other() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut side = Side::holds(dialect, 600);
        side.gets(request(dialect, 2, 10).datagram(0).unwrap());
        assert_eq!(side.executes(700), 1);
        side.sent();
        // The programs hold one for an address and port; here both are.
        let first = dialect.first_serial();
        for (identity, size) in [(1, 600), (2, 700)] {
            side.gets(retry(dialect, identity, &[first]));
            assert_eq!(side.sent(), [answer(dialect, identity, size).datagram(0).unwrap()]);
        }
        side.after(Limits::HOLD);
        for identity in [1, 2] {
            side.gets(retry(dialect, identity, &[first]));
        }
        assert!(side.sent().is_empty());
    }
}

#[test]
fn responder_a_length_that_lies_costs_nothing() {
    for dialect in [&LEXST1, &LAXCUS6] {
        let mut side = answers(dialect);
        let mut piece = request(dialect, 1, 480).datagram(0).unwrap().to_vec();
        // CONTENT_LENGTH, 480: now 2 GiB less a little, in as many bytes as it has room for beside the entity.
        let at = piece.len() - 480 - 2;
        piece.splice(at - 2..at + 2, [0x04, piece[at - 1], 0xff, 0xff, 0xff, 0x7f]);
        assert!(!side.machine.handle_datagram(side.now, client(), &piece));
        // Cut short, too.
        let whole = request(dialect, 1, 480).datagram(0).unwrap();
        assert!(!side.machine.handle_datagram(side.now, client(), &whole[..whole.len() - 1]));
        assert_eq!((side.machine.held(), side.machine.exchanges()), (0, 0));
    }
}

/// laxcus2 has no program: it is served as laxcus6, in its own order of the request's bytes, and with no names but
/// those. Its CONTENT_LENGTH has laxcus6's key.
#[test]
fn laxcus2_as_laxcus6() {
    let whole = request(&LAXCUS2, 1, 1000);
    let laxcus6 = request(&LAXCUS6, 1, 1000);
    for index in 0..3 {
        let (mut ours, theirs) = (whole.datagram(index).unwrap().to_vec(), laxcus6.datagram(index).unwrap());
        // The major command first, as the book has it.
        assert_eq!(ours[3..5], [1, 51]);
        ours.swap(3, 4);
        assert_eq!(ours, theirs);
    }
    let mut side = answers(&LAXCUS2);
    side.gets(whole.datagram(0).unwrap());
    side.gets(whole.datagram(2).unwrap());
    let question = side.sent();
    assert_eq!(question, [retry(&LAXCUS2, 1, &[1])]);
    assert_eq!(question[0][..7], hex::decode("870001010b0300").unwrap());
    let mut other = asks(&LAXCUS2, 1000);
    assert_eq!(other.sent(), all(&whole));
    other.gets(&question[0]);
    assert_eq!(other.sent(), [whole.datagram(1).unwrap()]);
    side.gets(whole.datagram(1).unwrap());
    assert_eq!(side.executes(600), 1);
    let sent = side.sent();
    assert_eq!(sent.len(), 5);
    // Its answers have the same bytes: their code is a number of 16 bits in all dialects.
    assert_eq!(sent[..3], [accepted(1), accepted(1), accepted(1)]);
    assert_eq!(sent[3..], all(&answer(&LAXCUS6, 1, 600)));
    for bytes in &sent {
        other.gets(bytes);
    }
    assert_eq!(other.machine.poll_event().unwrap().unwrap(), answer_of(&LAXCUS2, 600));
    let end = other.sent();
    assert_eq!(end, [cancel(&LAXCUS2, 1)]);
    side.gets(&end[0]);
    other.gets(&side.sent()[0]);
    assert!(other.machine.is_idle() && !other.machine.is_spoilt());
    assert_eq!((side.machine.held(), side.machine.exchanges()), (0, 0));
}
