"""Which test is which row: every attack of docs/log.md, and those rows of docs/threat-model.md that the log answers for.

``tests/test_rows.py`` fails if a test that stands here does not exist. A control shows the other outcome: the same
set-up without the attack, or without the defence; where it is not a test of its own it is in the row's.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One attack or fault."""

    what: str
    tests: tuple[str, ...]  # names of functions
    controls: tuple[str, ...] = ()  # empty: inside the tests


ATTACKS: dict[int, Row] = {
    1: Row(
        "edit, delete, insert or reorder an entry",
        ("test_attack_01_and_row_19_an_edited_log_is_refuted_at_the_entry",),
        ("test_attack_01_control_the_same_entries_written_again_verify",),
    ),
    2: Row(
        "rewrite a suffix, old note kept",
        ("test_attack_02_a_rewritten_suffix_under_the_old_note_is_refuted",),
        ("test_attack_01_control_the_same_entries_written_again_verify",),
    ),
    3: Row(
        "the same, signed anew with the real key",
        (
            "test_attack_03_the_same_signed_anew_with_the_real_key_is_refuted_by_an_older_note",
            "test_attack_03_a_suffix_rewritten_and_signed_anew_gets_no_quorum",
        ),
    ),
    4: Row(
        "cut the tail",
        (
            "test_attack_04_a_cut_tail_signed_anew_is_seen_from_outside_only",
            "test_attack_04_a_receipt_for_a_vanished_entry_refutes",
            "test_attack_04_a_log_cut_after_a_partner_saw_it_is_behind",
        ),
    ),
    5: Row(
        "cut the tail and show an older genuine note",
        ("test_attack_05_an_older_genuine_note_is_stale",),
    ),
    6: Row(
        "restore an old backup and go on",
        (
            "test_attack_06_a_restored_backup_is_stopped_by_the_lock_and_by_a_witness",
            "test_attack_06_a_restored_copy_is_refused_before_its_first_signature_row_18",
        ),
        ("test_attack_06_control_without_the_question_a_restored_copy_forks_its_log_row_18",),
    ),
    7: Row(
        "two copies of a node running",
        (
            "test_attack_07_of_two_running_copies_one_signs",
            "test_attack_07_of_two_live_copies_on_one_host_the_second_signs_nothing_row_18",
            "test_attack_07_a_live_copy_on_another_host_is_refused_by_what_the_peers_hold_row_18",
            "test_attack_07_a_copy_that_passed_its_question_stops_when_it_meets_the_vouched_one_row_18",
            "test_attack_07_a_copy_that_only_a_witness_knows_another_history_of_stops_row_18",
            "test_attack_07_of_two_copies_that_no_majority_vouches_for_neither_signs_on_row_18",
            "test_attack_07_of_two_copies_started_in_one_moment_at_most_one_signs_on_row_18",
        ),
        ("test_attack_07_control_one_of_the_two_alone_meets_everybody_and_signs_on_row_18",),
    ),
    8: Row(
        "split view to two peers",
        ("test_attack_08_a_split_view_needs_more_liars_than_the_quorum_leaves",),
    ),
    9: Row(
        "log key stolen",
        ("test_attack_09_a_stolen_log_key_gets_no_quorum_and_convicts_itself",),
    ),
    10: Row(
        "witness keys stolen",
        (
            "test_attack_10_a_fork_needs_2k_minus_n_stolen_witness_keys",
            "test_attack_10_two_cosignatures_by_one_key_on_a_fork_are_proof",
        ),
    ),
    11: Row(
        "all agencies collude",
        ("test_attack_11_all_agencies_collude_and_a_token_kept_outside_refutes_them",),
    ),
    12: Row(
        "an entry never written; not detectable where both are silent",
        (
            "test_attack_12_a_delivery_that_was_never_queued_is_found_by_the_recipients_log",
            "test_attack_12_an_answer_that_was_never_written_is_found_by_the_senders_log",
        ),
        ("test_attack_12_the_last_delivery_that_both_keep_silent_about_is_not_detectable",),
    ),
    13: Row(
        "an entry dated back or forth",
        ("test_attack_13_a_misdated_entry_lies_outside_its_bracket",),
    ),
    14: Row(
        "clock stepped",
        (
            "test_attack_14_time_never_decreases_whatever_the_clock_does",
            "test_a_jump_is_told_once_stamped_by_the_monotonic_clock_and_holds_the_node_row_29",
        ),
    ),
    15: Row(
        "a witness's clock lies",
        (
            "test_attack_15_one_lying_clock_refutes_nothing",
            "test_attack_15_a_witness_whose_clock_lies_is_caught_by_a_token",
        ),
    ),
    16: Row(
        "an entry from another log, epoch or position",
        (
            "test_attack_16_entries_of_another_log_are_refuted",
            "test_attack_16_an_entry_from_another_position_is_refuted",
        ),
        ("test_attack_01_control_the_same_entries_written_again_verify",),
    ),
    17: Row(
        "a body that reads two ways",
        ("test_attack_17_a_body_that_reads_two_ways_or_breaks_its_rule_is_refuted",),
        ("test_attack_17_control_a_newer_body_is_not_understood_and_not_refuted",),
    ),
    18: Row(
        "an entry hidden by a filtered view",
        ("test_attack_18_the_counts_of_kinds_add_up_to_the_size",),
    ),
    19: Row(
        "an unsigned or empty file passed off as a log",
        (
            "test_attack_19_an_unsigned_or_empty_log_is_never_verified",
            "test_attack_19_an_empty_folder_is_never_verified",
        ),
        ("test_a_log_with_outside_key_and_checkpoint_is_verified",),
    ),
    20: Row(
        "old entries signed again by another key",
        ("test_attack_20_a_log_signed_by_another_key_is_refuted",),
        ("test_a_log_with_outside_key_and_checkpoint_is_verified",),
    ),
    21: Row(
        "a bulletin's content swapped after the fact",
        ("test_attack_21_content_swapped_afterwards_is_not_what_was_dispatched",),
        ("test_sender_and_recipient_prove_a_bulletin_with_and_without_its_content",),
    ),
    22: Row(
        "guessing erased content from the log",
        ("test_attack_22_guessing_the_other_fields_fails_though_their_values_are_known",),
    ),
    23: Row(
        "a bulletin kept past its date; a secret copy is not detectable",
        ("test_attack_23_a_bulletin_kept_past_its_date_is_reported",),
        ("test_attack_23_a_secret_copy_of_erased_content_is_not_detectable",),
    ),
    24: Row(
        "bit rot on disk",
        ("test_attack_24_bit_rot_is_found_before_the_next_signature_and_by_the_nightly_verification",),
    ),
    25: Row(
        "a malformed note, a proof bomb, giant sizes",
        (
            "test_attack_25_a_malformed_note_is_refused_before_any_signature",
            "test_attack_25_a_malformed_proof_is_refused",
            "test_attack_25_any_bytes_in_any_file_are_refuted_in_one_sentence",
            "test_attack_25_no_malformed_file_ends_in_0_or_in_a_traceback",
        ),
        ("test_attack_25_control_the_same_note_unchanged_is_accepted",),
    ),
}

ROWS: dict[int, Row] = {
    17: Row(
        "split view of a log",
        (
            "test_attack_08_a_split_view_needs_more_liars_than_the_quorum_leaves",
            "test_an_honest_proof_of_the_other_history_proves_a_fork_of_any_two_sizes",
        ),
    ),
    18: Row(
        "rollback of the own log or database",
        ("test_restores_of_any_age_are_refused_before_the_first_signature_row_18",),
        ("test_with_the_question_switched_off_a_restored_copy_forks_row_18",),
    ),
    20: Row(
        "witness race or rollback",
        ("test_racing_requests_never_go_back_row_20",),
        ("test_a_state_without_the_comparison_goes_back_row_20_control",),
    ),
    61: Row(
        "isolated start from a snapshot, lost lock",
        (
            "test_a_missing_lock_is_refused_and_not_made_anew_row_61",
            "test_until_somebody_has_answered_nothing_is_signed_and_lists_are_read_row_61",
        ),
        ("test_control_nobody_goes_on_alone_without_an_operator_row_61",),
    ),
    62: Row(
        "a restored witness cosigns a branch",
        ("test_row_62_a_restored_witness_cosigns_no_branch",),
    ),
    63: Row(
        "a new epoch hides a cut",
        (
            "test_row_63_a_new_epoch_that_cuts_entries_is_not_cosigned",
            "test_a_cut_is_refused_whoever_saw_more_row_63",
        ),
        ("test_row_63_a_new_epoch_that_extends_what_the_witness_holds_is_cosigned",),
    ),
    64: Row(
        "an erased bulletin opened by window key, backup or restore",
        ("test_an_erased_bulletin_opens_neither_by_window_key_nor_backup_nor_restore_row_64",),
    ),
    68: Row(
        "one witness dated 2100",
        (
            "test_one_witness_dated_2100_does_not_move_the_median_row_68",
            "test_one_witness_dated_2100_moves_nothing_row_68",
        ),
    ),
}
