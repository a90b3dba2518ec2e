//! Every row of the programs' state tables in KEEP UDP, every quirk and every weakness of theirs, with the test that
//! is about it; or why there is none. A row without one fails here, and so does one whose test has gone.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::PathBuf;

/// The row, and the file and name of its test. Behind a dash: why it has none.
const ROWS: &[(&str, &str)] = &[
    // 2.6, lexst1's requester, in the order of its table.
    ("X1 requester 1: START, request", "keep_rows::lexst1_requester_start"),
    (
        "X1 requester 2: WAIT, silence with R > 0",
        "keep_rows::lexst1_requester_wait_silence_resends_at_fifteen_seconds_and_ends",
    ),
    ("X1 requester 3: WAIT, silence with R = 0", "keep_servers::q4_a_request_lost_as_a_whole_is_sent_again"),
    ("X1 requester 4: RETRY", "keep_rows::lexst1_requester_retry_sends_the_first_serial_and_no_more_all"),
    ("X1 requester 5: any other datagram", "keep_rows::lexst1_requester_collect_mismatch_does_not_abort"),
    (
        "X1 requester 6: COLLECT, silence, nothing of the answer",
        "keep_rows::lexst1_requester_retry_sends_the_first_serial_and_no_more_all",
    ),
    ("X1 requester 7: COLLECT, silence", "keep_rows::lexst1_requester_collect_silence_asks_one_by_one"),
    (
        "X1 requester 8: CANCEL1, silence or anything",
        "keep_rows::lexst1_requester_cancel1_silence_says_it_again_each_five_seconds_with_an_end",
    ),
    ("X1 requester 9: CANCEL1, NOTFOUND", "keep_rows::lexst1_requester_cancel1_not_found_is_done"),
    (
        "X1 requester 10: CANCEL1, OKAY",
        "keep_rows::lexst1_requester_cancel2_okay_is_final_and_spoils_the_port",
    ),
    (
        "X1 requester 11: CANCEL2, anything",
        "keep_rows::lexst1_requester_cancel2_okay_is_final_and_spoils_the_port",
    ),
    ("X1 requester 12: CANCEL2, NOTFOUND", "keep_rows::lexst1_requester_cancel1_anything_else_is_left_alone"),
    // 2.7, lexst1's responder.
    ("X1 responder 1: NONE, piece", "keep_rows::responder_complete_sends_once_in_order"),
    (
        "X1 responder 2: ASSEMBLING, piece",
        "keep_rows::lexst1_responder_assembling_asks_after_the_pieces_own_silence",
    ),
    (
        "X1 responder 3: ASSEMBLING, silence",
        "keep_rows::lexst1_responder_assembling_asks_after_the_pieces_own_silence",
    ),
    (
        "X1 responder 4: ASSEMBLING, another's piece",
        "keep_rows::responder_assembling_mismatch_is_ignored_until_the_group_is_stale",
    ),
    (
        "X1 responder 5: ASSEMBLING, 20 minutes",
        "keep_rows::responder_assembling_ends_in_time_and_leaves_nothing",
    ),
    ("X1 responder 6: COMPLETE", "keep_rows::responder_complete_sends_once_in_order"),
    ("X1 responder 7: HELD, RETRY", "keep_rows::responder_held_retry_sends_what_is_listed_of_its_identity"),
    ("X1 responder 8: HELD, CANCEL", "keep_rows::lexst1_responder_any_cancel_is_not_found_and_all_is_gone"),
    (
        "X1 responder 9: HELD, 20 minutes or the next",
        "keep_rows::responder_held_answer_ends_in_time_and_by_no_other",
    ),
    ("X1 responder 10: any, CANCEL", "keep_rows::lexst1_responder_any_cancel_is_not_found_and_all_is_gone"),
    ("X1 responder 11: NONE, RETRY", "keep_rows::responder_none_retry_is_nothing"),
    ("X1 responder 12: duplicates", "keep_rows::responder_duplicate_is_not_executed_again"),
    // 2.8, laxcus6's requester.
    ("L6 requester 1: SECURE", "keep_client::the_security_question"),
    ("L6 requester 2: P1, enter", "keep_rows::laxcus6_requester_p1_enter"),
    (
        "L6 requester 3: P1, silence, nothing of the answer",
        "keep_rows::laxcus6_requester_p1_silence_empty_resends_all_and_the_tail_early",
    ),
    (
        "L6 requester 4: P1, silence",
        "keep_rows::laxcus6_requester_p1_silence_partly_filled_asks_fifty_at_a_time",
    ),
    ("L6 requester 5: P1, RETRY", "keep_rows::laxcus6_requester_p1_retry_sends_every_listed"),
    ("L6 requester 6: P1, ACCEPTED", "keep_rows::laxcus6_requester_p1_accepted_only_with_its_identity"),
    (
        "L6 requester 7: P1, another's ACCEPTED",
        "keep_rows::laxcus6_requester_p1_accepted_only_with_its_identity",
    ),
    ("L6 requester 8: any other packet", "keep_rows::laxcus6_requester_takes_no_identity_from_a_stray_piece"),
    (
        "L6 requester 9: P2, silence",
        "keep_rows::laxcus6_requester_p2_silence_asks_where_the_program_never_does",
    ),
    ("L6 requester 10: P2, RETRY or ACCEPTED", "keep_rows::laxcus6_requester_p2_retry_is_ignored"),
    (
        "L6 requester 11: CANCEL, enter",
        "keep_rows::laxcus6_requester_cancel_ends_by_either_answer_or_in_time",
    ),
    (
        "L6 requester 12: CANCEL, answered",
        "keep_rows::laxcus6_requester_cancel_ends_by_either_answer_or_in_time",
    ),
    (
        "L6 requester 13: CANCEL, anything else",
        "keep_rows::laxcus6_requester_cancel_ends_by_either_answer_or_in_time",
    ),
    ("L6 requester 14: CANCEL, silence", "keep_servers::q10_cancel_has_an_end"),
    ("L6 requester 15: FAIL", "keep_rows::laxcus6_requester_fail_cancels_and_keeps_the_port"),
    // 2.9, laxcus6's responder.
    ("L6 responder 1: NONE, piece", "keep_rows::responder_complete_sends_once_in_order"),
    (
        "L6 responder 2: NONE, piece without a key",
        "keep_rows::laxcus6_responder_none_a_piece_lacking_a_key_is_nothing",
    ),
    (
        "L6 responder 3: ASSEMBLING, piece",
        "keep_rows::laxcus6_responder_assembling_gap_is_asked_for_at_once_and_each_second",
    ),
    (
        "L6 responder 4: ASSEMBLING, another's piece",
        "keep_rows::responder_assembling_mismatch_is_ignored_until_the_group_is_stale",
    ),
    (
        "L6 responder 5: ASSEMBLING, gap",
        "keep_rows::laxcus6_responder_assembling_gap_is_asked_for_at_once_and_each_second",
    ),
    (
        "L6 responder 6: ASSEMBLING, silence",
        "keep_rows::laxcus6_responder_assembling_lost_tail_is_asked_for_sooner_than_in_six_seconds",
    ),
    (
        "L6 responder 7: ASSEMBLING, DISABLE",
        "keep_rows::responder_assembling_ends_in_time_and_leaves_nothing",
    ),
    ("L6 responder 8: ASSEMBLING, CANCEL", "keep_rows::laxcus6_responder_cancel_is_for_its_identity"),
    ("L6 responder 9: COMPLETE", "keep_rows::responder_complete_sends_once_in_order"),
    ("L6 responder 10: HELD, RETRY", "keep_rows::responder_held_retry_sends_what_is_listed_of_its_identity"),
    ("L6 responder 11: HELD, CANCEL", "keep_rows::laxcus6_responder_cancel_is_for_its_identity"),
    ("L6 responder 12: HELD, another's CANCEL", "keep_rows::laxcus6_responder_cancel_is_for_its_identity"),
    ("L6 responder 13: HELD, 60 s", "keep_rows::responder_held_answer_ends_in_time_and_by_no_other"),
    (
        "L6 responder 14: HELD, the next answer",
        "keep_rows::responder_held_answer_ends_in_time_and_by_no_other",
    ),
    ("L6 responder 15: a request doubled", "keep_rows::responder_duplicate_is_not_executed_again"),
    ("L6 responder 16: no answer", "keep_rows::responder_without_an_answer_sends_none"),
    // 2.10, the quirks.
    ("Q1", "keep_servers::q1_after_a_failure_the_next_exchange_succeeds"),
    ("Q2", "keep_programs::lexst1_clients_finish_if_one_piece_arrives"),
    ("Q3", "keep_servers::q3_lost_pieces_of_an_answer_are_asked_for_one_by_one"),
    ("Q4", "keep_servers::q4_a_request_lost_as_a_whole_is_sent_again"),
    ("Q5", "keep_rows::lexst1_responder_any_cancel_is_not_found_and_all_is_gone"),
    ("Q6", "keep_servers::q6_no_storm_of_cancels"),
    ("Q7", "- ciphers are not built"),
    ("Q8", "keep_programs::laxcus6_clients_finish"),
    ("Q9", "keep_rows::responder_held_answer_of_an_earlier_identity_is_not_sent_unasked"),
    ("Q10", "keep_servers::q10_cancel_has_an_end"),
    ("Q11", "replay::the_recorded_client_against_our_server_over_udp"),
    ("Q12", "keep_servers::q12_questions_for_what_is_late_are_served"),
    ("Q13", "keep_servers::q13_a_lost_tail_is_sent_again_early"),
    ("Q14", "keep_servers::q14_q16_all_pieces_say_the_same"),
    ("Q15", "keep_rows::laxcus6_requester_takes_an_answer_without_disable_key"),
    ("Q16", "keep_servers::q14_q16_all_pieces_say_the_same"),
    ("Q17", "keep_servers::q17_serials_out_of_range_are_nothing"),
    ("Q18", "keep_servers::q18_q9_what_lingers_of_an_earlier_exchange_is_left_alone"),
    ("Q19", "keep_servers::q19_a_question_of_another_identity_is_not_served"),
    ("Q20", "keep_servers::q20_a_piece_lost_after_accepted_is_asked_for"),
    ("Q21", "keep_servers::q21_a_stale_group_is_cured"),
    // 2.11, the weaknesses.
    ("W1: counts without bound", "keep_rows::responder_bounds"),
    ("W2: amplification", "keep_bounds::forged_requests_draw_no_more_than_the_rates"),
    ("W3: groups without number and end", "keep_properties::every_request_ends"),
    ("W4: forged CANCEL and RETRY", "keep_bounds::floods_of_controls_draw_no_more_than_the_rates"),
    ("W5: memory for what CONTENT_LENGTH says", "keep_rows::responder_a_length_that_lies_costs_nothing"),
    ("W6: a datagram that ends the socket", "keep_properties::arbitrary_datagrams"),
    ("W7: strays at the client, and no end", "keep_rows::lexst1_requester_collect_mismatch_does_not_abort"),
    ("W8: no pace", "keep_bounds::both_machines_keep_the_pace_and_slow_down_for_losses"),
    ("W9: a cipher that locks out", "- ciphers are not built"),
    ("W10: executed twice", "keep_rows::responder_duplicate_is_not_executed_again"),
];

/// How many rows there are of each kind.
const KINDS: [(&str, usize); 6] = [
    ("X1 requester ", 12),
    ("X1 responder ", 12),
    ("L6 requester ", 15),
    ("L6 responder ", 16),
    ("Q", 21),
    ("W", 10),
];

#[test]
fn every_row_has_its_test() {
    let names: BTreeSet<&str> = ROWS.iter().map(|(row, _)| row.split(':').next().unwrap()).collect();
    assert_eq!(names.len(), ROWS.len(), "each once");
    for (kind, count) in KINDS {
        for nth in 1..=count {
            assert!(names.contains(&*format!("{kind}{nth}")), "{kind}{nth} is missing");
        }
    }
    assert_eq!(ROWS.len(), KINDS.iter().map(|(_, count)| count).sum::<usize>());
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (row, test) in ROWS {
        if test.starts_with("- ") {
            continue;
        }
        let (file, name) = test.split_once("::").unwrap();
        let text = std::fs::read_to_string(folder.join(format!("{file}.rs"))).unwrap();
        // The attribute stands right above it.
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let declared = [format!("fn {name}("), format!("async fn {name}(")];
        let at = lines.iter().position(|line| declared.iter().any(|declared| line.starts_with(declared)));
        let at = at.unwrap_or_else(|| panic!("{row}: there is no {test}"));
        assert!(
            at > 0 && (lines[at - 1].contains("test]") || lines[at - 1].contains("test(")),
            "{row}: {test} is none"
        );
    }
}
