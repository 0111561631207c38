"""Lanes: nothing numbered is lost, doubled or kept back unseen, and a sender that says two things is proven."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.record.dispatch import Urgency
from audit.record.lane import (
    LaneClass,
    LaneHead,
    LaneId,
    Withdrawn,
    WithdrawnReason,
    class_of,
    delivery_digest,
    parse_lane_head,
)
from exchange.records.lane_rules import (
    EquivocationError,
    LaneForkError,
    LaneGapError,
    LaneHeadInvalidError,
    LaneStep,
    Position,
    advance,
    check_class,
    check_head,
)
from keys.dsse import SignedPayload, sign
from keys.errors import IntegrityError
from tests.exchange.records import formats
from tests.exchange.records.refusing import refusal

LANE = formats.LANE


class Taker:
    """A recipient of one lane: what it holds, and where it stands."""

    def __init__(self) -> None:
        self.position = Position()
        self.digests: dict[int, bytes] = {}

    def take(self, payloads: list[bytes], head: LaneHead, lane: LaneId = LANE) -> list[LaneStep]:
        """Judge a message and hold what is new."""
        head = parse_lane_head(head.encode())
        steps = advance(self.position, lane, head, payloads, self.digests.get)
        self.position = self.position.after(head, steps)
        self.digests |= {step.delivery.sequence: step.digest for step in steps if step.new}
        return steps


@pytest.fixture
def taker() -> Taker:
    """Return a recipient that holds the first three deliveries."""
    made = Taker()
    made.take(formats.chain(3), formats.head_of(formats.chain(3), 3))
    return made


def later(payloads: list[bytes], last: int, **changes: Any) -> LaneHead:
    """Return a head dated well after all others."""
    return formats.head_of(payloads, last, **({"time_ms": formats.NOW_MS + 1_000_000} | changes))


# ---------------------------------------------------------------- the head


def test_a_head_of_the_sender_is_taken() -> None:
    head = formats.head_of(formats.chain(2), 2)
    assert check_head(formats.sign_head(head), LANE, formats.KEYS.get) == head


@pytest.mark.parametrize(
    "other",
    [
        replace(LANE, recipient=formats.OTHER),
        replace(LANE, sender=formats.KEYLESS),
        replace(LANE, lane_class=LaneClass.ROUTINE),
        replace(LANE, epoch=2),
        replace(LANE, federation_id=bytes(32)),
    ],
    ids=["recipient", "sender", "class", "epoch", "federation"],
)
def test_row_58_the_head_of_an_empty_lane_shown_for_another_lane_is_refused(other: LaneId) -> None:
    empty = formats.head_of([], 0, lane=other)
    assert refusal(check_head, formats.sign_head(empty), LANE, formats.KEYS.get) == "LANE_HEAD_INVALID"


def test_row_59_nobody_but_the_sender_can_sign_a_head() -> None:
    head = formats.head_of(formats.chain(1), 1)
    assert refusal(check_head, formats.sign_head(head, formats.STRANGER), LANE, formats.KEYS.get) == "WRONG_MAKER"
    assert refusal(check_head, formats.sign_head(head, formats.STRANGER), LANE, {}.get) == "SIGNER_UNKNOWN"


def test_row_06_a_head_of_another_federation_is_refused() -> None:
    head = formats.head_of([], 0, lane=replace(LANE, federation_id=bytes(32)))
    assert refusal(check_head, formats.sign_head(head), LANE, formats.KEYS.get) == "LANE_HEAD_INVALID"


def test_a_head_whose_signature_does_not_verify_is_refused() -> None:
    signed = formats.sign_head(formats.head_of(formats.chain(1), 1))
    other = SignedPayload(payload=formats.head_of(formats.chain(1), 1, latest=9).encode(), signatures=signed.signatures)
    assert refusal(check_head, other, LANE, formats.KEYS.get) == "SIGNATURE_INVALID"


def test_a_dispatch_signature_is_no_head() -> None:
    signed = sign(formats.head_of(formats.chain(1), 1).encode(), ("dispatch", formats.OPERATIONS))
    assert refusal(check_head, signed, LANE, formats.KEYS.get) == "WRONG_TYPE"


# ---------------------------------------------------------------- the rules


def test_a_lane_is_taken_from_its_beginning_in_messages_of_any_length() -> None:
    taker, payloads, at = Taker(), formats.chain(12), 0
    for count in (1, 4, 0, 5, 2):
        at += count
        steps = taker.take(
            payloads[at - count : at],
            formats.head_of(payloads[:at], at, time_ms=formats.NOW_MS + at * 10 + 1 + (count == 0)),
        )
        assert [step.delivery.sequence for step in steps] == list(range(at - count + 1, at + 1))
        assert all(step.new and step.withdrawn is None for step in steps)
    assert taker.position.sequence == 12
    assert taker.position.digest == delivery_digest(payloads[-1])


def test_an_empty_lane_says_so() -> None:
    taker = Taker()
    assert taker.take([], formats.head_of([], 0)) == []
    assert taker.position.sequence == 0


def test_the_very_same_message_again_is_all_duplicates_and_moves_nothing(taker: Taker) -> None:
    before, payloads = taker.position, formats.chain(3)
    steps = taker.take(payloads, formats.head_of(payloads, 3))
    assert [step.new for step in steps] == [False, False, False]
    assert taker.position == before


def test_row_14_an_older_message_again_is_all_duplicates_and_moves_nothing(taker: Taker) -> None:
    payloads = formats.chain(5)
    taker.take(payloads[3:], formats.head_of(payloads, 5))
    before = taker.position
    for _ in range(100):
        steps = taker.take(payloads[:3], formats.head_of(payloads[:3], 3))
        assert not any(step.new for step in steps)
        assert taker.position == before


def test_a_message_that_overlaps_brings_only_what_is_new(taker: Taker) -> None:
    payloads = formats.chain(5)
    steps = taker.take(payloads[1:], later(payloads, 5))
    assert [step.new for step in steps] == [False, False, True, True]
    assert taker.position.sequence == 5


@settings(max_examples=60)
@given(dropped=st.integers(1, 19), count=st.integers(2, 5))
def test_row_15_any_dropped_delivery_is_seen_in_the_next_message(dropped: int, count: int) -> None:
    taker, payloads = Taker(), formats.chain(20)
    taker.take(payloads[: dropped - 1], formats.head_of(payloads[: dropped - 1], dropped - 1))
    rest = payloads[dropped : dropped + count]
    with pytest.raises(LaneGapError) as caught:
        taker.take(rest, later(rest, dropped + len(rest)))
    assert caught.value.expected == dropped


def test_a_head_without_deliveries_shows_what_was_held_back(taker: Taker) -> None:
    payloads = formats.chain(5)
    with pytest.raises(LaneGapError) as caught:
        taker.take([], later(payloads, 5))
    assert (caught.value.code, caught.value.expected) == ("LANE_GAP", 4)


def test_a_delivery_that_follows_another_one_than_the_last_held_is_a_fork(taker: Taker) -> None:
    payloads = formats.chain(1, first=4, previous=bytes(31) + b"\1")
    with pytest.raises(LaneForkError) as caught:
        taker.take(payloads, later(payloads, 4))
    assert caught.value.code == "LANE_FORK"


def test_the_first_delivery_of_a_first_lane_follows_zeros() -> None:
    payloads = formats.chain(1, previous=bytes(31) + b"\1")
    assert refusal(Taker().take, payloads, formats.head_of(payloads, 1)) == "LANE_FORK"


@pytest.mark.parametrize("sequence", [1, 2, 3])
def test_row_16_another_delivery_under_a_held_number_is_equivocation(taker: Taker, sequence: int) -> None:
    payloads = formats.chain(4, mark="other ")[sequence - 1 :]
    before = taker.position
    with pytest.raises(EquivocationError) as caught:
        taker.take(payloads, later(payloads, 4))
    assert caught.value.code == "EQUIVOCATION"
    assert caught.value.sequence == sequence
    assert caught.value.known == taker.digests[sequence]
    assert caught.value.shown == delivery_digest(payloads[0])
    assert taker.position == before


def test_row_16_a_head_alone_can_equivocate(taker: Taker) -> None:
    for sequence in (2, 3):
        head = later(formats.chain(sequence, mark="other "), sequence, latest=3)
        assert refusal(taker.take, [], head) == "EQUIVOCATION"


def test_row_16_equivocation_is_seen_in_a_head_of_any_date(taker: Taker) -> None:
    payloads = formats.chain(3, mark="other ")
    assert refusal(taker.take, payloads, formats.head_of(payloads, 3, time_ms=1)) == "EQUIVOCATION"


def test_a_position_that_holds_what_the_store_does_not_stops_the_node(taker: Taker) -> None:
    taker.digests.clear()
    payloads = formats.chain(2)
    with pytest.raises(IntegrityError):
        taker.take(payloads, later(payloads, 2, latest=3))


def wrong_lane() -> tuple[list[bytes], LaneHead]:
    payloads = formats.chain(1, lane=replace(LANE, recipient=formats.OTHER), first=4)
    return payloads, later(payloads, 4)


def not_consecutive() -> tuple[list[bytes], LaneHead]:
    payloads = formats.chain(6)
    return [payloads[3], payloads[5]], later(payloads, 6)


def not_chained() -> tuple[list[bytes], LaneHead]:
    payloads = [formats.chain(4)[3], *formats.chain(1, first=5)]
    return payloads, later(payloads, 5)


def head_of_fewer() -> tuple[list[bytes], LaneHead]:
    payloads = formats.chain(5)
    return payloads[3:], later(payloads[:4], 4, latest=5)


def another_digest() -> tuple[list[bytes], LaneHead]:
    payloads = formats.chain(4)
    return payloads[3:], later(payloads, 4, delivery_digest=bytes(31) + b"\1")


def withdraws_another() -> tuple[list[bytes], LaneHead]:
    payloads = formats.chain(4)
    withdrawn = (Withdrawn(sequence=3, reason=WithdrawnReason.ERASED),)
    return payloads[3:], later(payloads, 4, withdrawn=withdrawn)


def goes_back() -> tuple[list[bytes], LaneHead]:
    return [], later(formats.chain(2), 2)


def empties() -> tuple[list[bytes], LaneHead]:
    return [], later([], 0)


def dated_before() -> tuple[list[bytes], LaneHead]:
    payloads = formats.chain(4)
    return payloads[3:], formats.head_of(payloads, 4, time_ms=formats.NOW_MS + 29)


def dated_the_same() -> tuple[list[bytes], LaneHead]:
    return [], formats.head_of(formats.chain(3), 3, latest=4)


def old_silence() -> tuple[list[bytes], LaneHead]:
    return [], formats.head_of(formats.chain(3), 3, time_ms=formats.NOW_MS + 29)


@pytest.mark.parametrize(
    "message",
    [
        wrong_lane,
        not_consecutive,
        not_chained,
        head_of_fewer,
        another_digest,
        withdraws_another,
        goes_back,
        empties,
        dated_before,
        dated_the_same,
        old_silence,
    ],
)
def test_a_head_that_does_not_fit_moves_nothing(taker: Taker, message: Any) -> None:
    before = taker.position
    with pytest.raises(LaneHeadInvalidError) as caught:
        taker.take(*message())
    assert caught.value.code == "LANE_HEAD_INVALID"
    assert taker.position == before


def test_the_same_silence_again_is_taken(taker: Taker) -> None:
    silence = later(formats.chain(3), 3)
    taker.take([], silence)
    before = taker.position
    assert taker.take([], silence) == []
    assert taker.position == before


def test_withdrawn_deliveries_are_named_in_their_steps(taker: Taker) -> None:
    payloads = formats.chain(6)
    withdrawn = (Withdrawn(sequence=5, reason=WithdrawnReason.RECALLED),)
    steps = taker.take(payloads[3:], later(payloads, 6, withdrawn=withdrawn))
    assert [step.withdrawn for step in steps] == [None, WithdrawnReason.RECALLED, None]


def test_a_lane_begun_anew_starts_at_one_after_the_last_delivery_held(taker: Taker) -> None:
    lane = replace(LANE, epoch=2)
    payloads = formats.chain(2, lane=lane, previous=taker.position.digest)
    taker.digests.clear()  # of the new epoch nothing is stored
    steps = taker.take(payloads, formats.head_of(payloads, 2, lane=lane), lane)
    assert [step.new for step in steps] == [True, True]
    assert (taker.position.epoch, taker.position.sequence) == (2, 2)


def test_a_lane_begun_anew_that_does_not_follow_is_a_fork(taker: Taker) -> None:
    lane = replace(LANE, epoch=2)
    payloads = formats.chain(1, lane=lane)
    assert refusal(taker.take, payloads, formats.head_of(payloads, 1, lane=lane), lane) == "LANE_FORK"


def test_a_lane_begun_anew_and_still_empty_keeps_the_last_digest(taker: Taker) -> None:
    lane, digest = replace(LANE, epoch=2), taker.position.digest
    taker.take([], formats.head_of([], 0, lane=lane, time_ms=1), lane)
    assert (taker.position.epoch, taker.position.sequence, taker.position.digest) == (2, 0, digest)


def test_an_earlier_epoch_of_a_lane_is_refused(taker: Taker) -> None:
    lane = replace(LANE, epoch=2)
    taker.take([], formats.head_of([], 0, lane=lane), lane)
    assert refusal(taker.take, [], later(formats.chain(3), 3)) == "LANE_HEAD_INVALID"


@pytest.mark.parametrize(
    ("urgency", "lane_class"),
    [
        (Urgency.FLASH, LaneClass.URGENT),
        (Urgency.URGENT, LaneClass.URGENT),
        (Urgency.PRIORITY, LaneClass.ROUTINE),
        (Urgency.ROUTINE, LaneClass.ROUTINE),
    ],
)
def test_row_57_urgency_decides_the_lane(urgency: Urgency, lane_class: LaneClass) -> None:
    assert class_of(urgency) is lane_class
    check_class(replace(LANE, lane_class=lane_class), urgency)
    other = LaneClass.ROUTINE if lane_class is LaneClass.URGENT else LaneClass.URGENT
    assert refusal(check_class, replace(LANE, lane_class=other), urgency) == "LANE_CLASS"
