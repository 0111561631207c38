"""Lanes: nothing numbered is lost, doubled or held back unseen, and a sender that says two things is proven."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.dispatch import Urgency
from exchange.equivocation import Equivocation, parse_equivocation, verify_equivocation
from exchange.lane import (
    MAX_DELIVERY_BYTES,
    MAX_LANE_HEAD_BYTES,
    Delivery,
    EquivocationError,
    LaneClass,
    LaneForkError,
    LaneGapError,
    LaneHead,
    LaneHeadInvalidError,
    LaneId,
    Position,
    Step,
    Withdrawn,
    WithdrawnReason,
    advance,
    check_class,
    check_head,
    class_of,
    delivery_digest,
    lane_head_digest,
    parse_delivery,
    parse_lane_head,
)
from exchange.v1 import dispatch_pb2
from keys.dsse import SignedPayload, sign
from keys.errors import IntegrityError, RefusedError
from keys.scan import scan
from tests.exchange import formats as world

FOLDER = Path(__file__).parents[1] / "vectors" / "formats"
RECORDS = json.loads((FOLDER / "records.json").read_text())["records"]
LANE = world.LANE
DIGEST = st.binary(min_size=32, max_size=32)
NUMBER = st.integers(1, (1 << 64) - 1)
LANES = st.builds(
    LaneId,
    federation_id=DIGEST,
    sender=st.just(world.SENDER),
    recipient=st.sampled_from([world.PEER, world.OTHER]),
    lane_class=st.sampled_from(LaneClass),
    epoch=st.integers(1, (1 << 32) - 1),
)
DELIVERIES = st.builds(Delivery, lane=LANES, sequence=NUMBER, previous=DIGEST, dispatch_digest=DIGEST, time_ms=NUMBER)


class Taker:
    """A recipient of one lane: what it holds, and where it stands."""

    def __init__(self) -> None:
        self.position = Position()
        self.digests: dict[int, bytes] = {}

    def take(self, payloads: list[bytes], head: LaneHead, lane: LaneId = LANE) -> list[Step]:
        """Judge a message and hold what is new."""
        head = parse_lane_head(head.encode())
        steps = advance(self.position, lane, head, payloads, self.digests.get)
        self.position = self.position.after(head, steps)
        self.digests |= {step.delivery.sequence: step.digest for step in steps if step.new}
        return steps


@pytest.fixture
def taker() -> Taker:
    """Give a recipient that holds the first three deliveries."""
    made = Taker()
    made.take(world.chain(3), world.head_of(world.chain(3), 3))
    return made


def refusal(action: Any, *values: Any, **named: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        action(*values, **named)
    return caught.value.code


def later(payloads: list[bytes], last: int, **changes: Any) -> LaneHead:
    """Return a head dated well after all others."""
    return world.head_of(payloads, last, **({"time_ms": world.NOW_MS + 1_000_000} | changes))


# ---------------------------------------------------------------- encodings


def test_a_delivery_is_read_and_written_as_its_vector() -> None:
    vector = RECORDS["delivery"]
    payload = bytes.fromhex(vector["payload"])
    delivery = parse_delivery(payload)
    assert delivery.encode() == payload == world.chain(1)[0]
    assert delivery_digest(payload).hex() == vector["digest"]
    assert delivery.sequence == vector["fields"]["sequence"]


@pytest.mark.parametrize("name", ["lane-head", "lane-head: empty lane"])
def test_a_lane_head_is_read_and_written_as_its_vector(name: str) -> None:
    vector = RECORDS[name]
    payload = bytes.fromhex(vector["payload"])
    head = parse_lane_head(payload)
    assert head.encode() == payload
    assert lane_head_digest(payload).hex() == vector["digest"]
    for field in ("sequence", "latest", "time_ms"):
        assert getattr(head, field) == vector["fields"][field]
    assert [item.sequence for item in head.withdrawn] == [item["sequence"] for item in vector["fields"]["withdrawn"]]


@settings(max_examples=100)
@given(delivery=DELIVERIES)
def test_every_delivery_comes_back_as_it_was_and_passes_the_scan(delivery: Delivery) -> None:
    payload = delivery.encode()
    assert not scan(payload, dispatch_pb2.Delivery.DESCRIPTOR)
    assert parse_delivery(payload) == delivery


@settings(max_examples=100)
@given(
    lane=LANES,
    sequence=st.integers(0, 1 << 40),
    more=st.integers(0, 1 << 20),
    digest=DIGEST.filter(any),
    withdrawn=st.sets(NUMBER, max_size=5),
    reason=st.sampled_from(WithdrawnReason),
    time_ms=NUMBER,
)
def test_every_lane_head_comes_back_as_it_was_and_passes_the_scan(
    lane: LaneId, sequence: int, more: int, digest: bytes, withdrawn: set[int], reason: WithdrawnReason, time_ms: int
) -> None:
    head = LaneHead(
        lane=lane,
        sequence=sequence,
        delivery_digest=digest if sequence else bytes(32),
        latest=sequence + more,
        withdrawn=tuple(Withdrawn(sequence=number, reason=reason) for number in sorted(withdrawn)),
        time_ms=time_ms,
    )
    payload = head.encode()
    assert not scan(payload, dispatch_pb2.LaneHead.DESCRIPTOR)
    assert parse_lane_head(payload) == head


@settings(max_examples=200)
@given(data=st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    for parse in (parse_delivery, parse_lane_head):
        assert refusal(parse, data) in {"MALFORMED", "NOT_UNDERSTOOD"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sequence": 0}, "MALFORMED"),
        ({"previous": b""}, "MALFORMED"),
        ({"dispatch_digest": bytes(31)}, "MALFORMED"),
        ({"time_ms": 0}, "MALFORMED"),
        ({"lane": replace(LANE, federation_id=bytes(31))}, "MALFORMED"),
        ({"lane": replace(LANE, epoch=0)}, "MALFORMED"),
        ({"lane": replace(LANE, recipient=world.SENDER)}, "MALFORMED"),
        ({"lane": replace(LANE, recipient="pdrm")}, "MALFORMED"),
        ({"lane": replace(LANE, lane_class=0)}, "MALFORMED"),  # type: ignore[arg-type] # wrong or merged on purpose
        ({"lane": replace(LANE, lane_class=3)}, "NOT_UNDERSTOOD"),  # type: ignore[arg-type] # wrong or merged on purpose
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_delivery_with_a_field_out_of_bounds_is_refused(changes: dict[str, Any], code: str) -> None:
    delivery = replace(parse_delivery(world.chain(1)[0]), **changes)
    assert refusal(parse_delivery, delivery.encode()) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"time_ms": 0}, "MALFORMED"),
        ({"delivery_digest": b""}, "MALFORMED"),
        ({"delivery_digest": bytes(32)}, "MALFORMED"),
        ({"sequence": 0}, "MALFORMED"),
        ({"latest": 0}, "MALFORMED"),
        ({"latest": 2}, "MALFORMED"),
        ({"withdrawn": (Withdrawn(sequence=2, reason=WithdrawnReason.ERASED),) * 2}, "MALFORMED"),
        ({"withdrawn": (Withdrawn(sequence=0, reason=WithdrawnReason.ERASED),)}, "MALFORMED"),
        ({"withdrawn": (Withdrawn(sequence=1, reason=0),)}, "MALFORMED"),  # type: ignore[arg-type] # wrong or merged on purpose
        ({"withdrawn": (Withdrawn(sequence=1, reason=4),)}, "NOT_UNDERSTOOD"),  # type: ignore[arg-type] # wrong or merged on purpose
        (
            {"withdrawn": tuple(Withdrawn(sequence=n, reason=WithdrawnReason.ERASED) for n in range(1, 1002))},
            "MALFORMED",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_lane_head_with_a_field_out_of_bounds_is_refused(changes: dict[str, Any], code: str) -> None:
    head = world.head_of(world.chain(3), 3, **changes)
    assert refusal(parse_lane_head, head.encode()) == code


def test_deliveries_and_heads_above_their_limits_are_too_large() -> None:
    assert refusal(parse_delivery, bytes(MAX_DELIVERY_BYTES + 1)) == "TOO_LARGE"
    assert refusal(parse_lane_head, bytes(MAX_LANE_HEAD_BYTES + 1)) == "TOO_LARGE"


# ---------------------------------------------------------------- the head


def test_a_head_of_the_sender_is_taken() -> None:
    head = world.head_of(world.chain(2), 2)
    assert check_head(world.sign_head(head), LANE, world.KEYS.get) == head


@pytest.mark.parametrize(
    "other",
    [
        replace(LANE, recipient=world.OTHER),
        replace(LANE, sender=world.KEYLESS),
        replace(LANE, lane_class=LaneClass.ROUTINE),
        replace(LANE, epoch=2),
        replace(LANE, federation_id=bytes(32)),
    ],
    ids=["recipient", "sender", "class", "epoch", "federation"],
)
def test_row_58_the_head_of_an_empty_lane_shown_for_another_lane_is_refused(other: LaneId) -> None:
    empty = world.head_of([], 0, lane=other)
    assert refusal(check_head, world.sign_head(empty), LANE, world.KEYS.get) == "LANE_HEAD_INVALID"


def test_row_59_nobody_but_the_sender_can_sign_a_head() -> None:
    head = world.head_of(world.chain(1), 1)
    assert refusal(check_head, world.sign_head(head, world.STRANGER), LANE, world.KEYS.get) == "WRONG_MAKER"
    assert refusal(check_head, world.sign_head(head, world.STRANGER), LANE, {}.get) == "SIGNER_UNKNOWN"


def test_row_06_a_head_of_another_federation_is_refused() -> None:
    head = world.head_of([], 0, lane=replace(LANE, federation_id=bytes(32)))
    assert refusal(check_head, world.sign_head(head), LANE, world.KEYS.get) == "LANE_HEAD_INVALID"


def test_a_head_whose_signature_does_not_verify_is_refused() -> None:
    signed = world.sign_head(world.head_of(world.chain(1), 1))
    other = SignedPayload(payload=world.head_of(world.chain(1), 1, latest=9).encode(), signatures=signed.signatures)
    assert refusal(check_head, other, LANE, world.KEYS.get) == "SIGNATURE_INVALID"


def test_a_dispatch_signature_is_no_head() -> None:
    signed = sign(world.head_of(world.chain(1), 1).encode(), ("dispatch", world.OPERATIONS))
    assert refusal(check_head, signed, LANE, world.KEYS.get) == "WRONG_TYPE"


# ---------------------------------------------------------------- the rules


def test_a_lane_is_taken_from_its_beginning_in_messages_of_any_length() -> None:
    taker, payloads, at = Taker(), world.chain(12), 0
    for count in (1, 4, 0, 5, 2):
        at += count
        steps = taker.take(
            payloads[at - count : at],
            world.head_of(payloads[:at], at, time_ms=world.NOW_MS + at * 10 + 1 + (count == 0)),
        )
        assert [step.delivery.sequence for step in steps] == list(range(at - count + 1, at + 1))
        assert all(step.new and step.withdrawn is None for step in steps)
    assert taker.position.sequence == 12
    assert taker.position.digest == delivery_digest(payloads[-1])


def test_an_empty_lane_says_so() -> None:
    taker = Taker()
    assert taker.take([], world.head_of([], 0)) == []
    assert taker.position.sequence == 0


def test_the_very_same_message_again_is_all_duplicates_and_moves_nothing(taker: Taker) -> None:
    before, payloads = taker.position, world.chain(3)
    steps = taker.take(payloads, world.head_of(payloads, 3))
    assert [step.new for step in steps] == [False, False, False]
    assert taker.position == before


def test_row_14_an_older_message_again_is_all_duplicates_and_moves_nothing(taker: Taker) -> None:
    payloads = world.chain(5)
    taker.take(payloads[3:], world.head_of(payloads, 5))
    before = taker.position
    for _ in range(100):
        steps = taker.take(payloads[:3], world.head_of(payloads[:3], 3))
        assert not any(step.new for step in steps)
        assert taker.position == before


def test_a_message_that_overlaps_brings_only_what_is_new(taker: Taker) -> None:
    payloads = world.chain(5)
    steps = taker.take(payloads[1:], later(payloads, 5))
    assert [step.new for step in steps] == [False, False, True, True]
    assert taker.position.sequence == 5


@settings(max_examples=60)
@given(dropped=st.integers(1, 19), count=st.integers(2, 5))
def test_row_15_any_dropped_delivery_is_seen_in_the_next_message(dropped: int, count: int) -> None:
    taker, payloads = Taker(), world.chain(20)
    taker.take(payloads[: dropped - 1], world.head_of(payloads[: dropped - 1], dropped - 1))
    rest = payloads[dropped : dropped + count]
    with pytest.raises(LaneGapError) as caught:
        taker.take(rest, later(rest, dropped + len(rest)))
    assert caught.value.expected == dropped


def test_a_head_without_deliveries_shows_what_was_held_back(taker: Taker) -> None:
    payloads = world.chain(5)
    with pytest.raises(LaneGapError) as caught:
        taker.take([], later(payloads, 5))
    assert (caught.value.code, caught.value.expected) == ("LANE_GAP", 4)


def test_a_delivery_that_follows_another_one_than_the_last_held_is_a_fork(taker: Taker) -> None:
    payloads = world.chain(1, first=4, previous=bytes(31) + b"\1")
    with pytest.raises(LaneForkError) as caught:
        taker.take(payloads, later(payloads, 4))
    assert caught.value.code == "LANE_FORK"


def test_the_first_delivery_of_a_first_lane_follows_zeros() -> None:
    payloads = world.chain(1, previous=bytes(31) + b"\1")
    assert refusal(Taker().take, payloads, world.head_of(payloads, 1)) == "LANE_FORK"


@pytest.mark.parametrize("sequence", [1, 2, 3])
def test_row_16_another_delivery_under_a_held_number_is_equivocation(taker: Taker, sequence: int) -> None:
    payloads = world.chain(4, mark="other ")[sequence - 1 :]
    before = taker.position
    with pytest.raises(EquivocationError) as caught:
        taker.take(payloads, later(payloads, 4))
    assert caught.value.code == "EQUIVOCATION"
    assert caught.value.sequence == sequence
    assert caught.value.held == taker.digests[sequence]
    assert caught.value.shown == delivery_digest(payloads[0])
    assert taker.position == before


def test_row_16_a_head_alone_can_equivocate(taker: Taker) -> None:
    for sequence in (2, 3):
        head = later(world.chain(sequence, mark="other "), sequence, latest=3)
        assert refusal(taker.take, [], head) == "EQUIVOCATION"


def test_row_16_equivocation_is_seen_in_a_head_of_any_date(taker: Taker) -> None:
    payloads = world.chain(3, mark="other ")
    assert refusal(taker.take, payloads, world.head_of(payloads, 3, time_ms=1)) == "EQUIVOCATION"


def test_a_position_that_holds_what_the_store_does_not_stops_the_node(taker: Taker) -> None:
    taker.digests.clear()
    payloads = world.chain(2)
    with pytest.raises(IntegrityError):
        taker.take(payloads, later(payloads, 2, latest=3))


def wrong_lane() -> tuple[list[bytes], LaneHead]:
    payloads = world.chain(1, lane=replace(LANE, recipient=world.OTHER), first=4)
    return payloads, later(payloads, 4)


def not_consecutive() -> tuple[list[bytes], LaneHead]:
    payloads = world.chain(6)
    return [payloads[3], payloads[5]], later(payloads, 6)


def not_chained() -> tuple[list[bytes], LaneHead]:
    payloads = [world.chain(4)[3], *world.chain(1, first=5)]
    return payloads, later(payloads, 5)


def head_of_fewer() -> tuple[list[bytes], LaneHead]:
    payloads = world.chain(5)
    return payloads[3:], later(payloads[:4], 4, latest=5)


def another_digest() -> tuple[list[bytes], LaneHead]:
    payloads = world.chain(4)
    return payloads[3:], later(payloads, 4, delivery_digest=bytes(31) + b"\1")


def withdraws_another() -> tuple[list[bytes], LaneHead]:
    payloads = world.chain(4)
    withdrawn = (Withdrawn(sequence=3, reason=WithdrawnReason.ERASED),)
    return payloads[3:], later(payloads, 4, withdrawn=withdrawn)


def goes_back() -> tuple[list[bytes], LaneHead]:
    return [], later(world.chain(2), 2)


def empties() -> tuple[list[bytes], LaneHead]:
    return [], later([], 0)


def dated_before() -> tuple[list[bytes], LaneHead]:
    payloads = world.chain(4)
    return payloads[3:], world.head_of(payloads, 4, time_ms=world.NOW_MS + 29)


def dated_the_same() -> tuple[list[bytes], LaneHead]:
    return [], world.head_of(world.chain(3), 3, latest=4)


def old_silence() -> tuple[list[bytes], LaneHead]:
    return [], world.head_of(world.chain(3), 3, time_ms=world.NOW_MS + 29)


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
    silence = later(world.chain(3), 3)
    taker.take([], silence)
    before = taker.position
    assert taker.take([], silence) == []
    assert taker.position == before


def test_withdrawn_deliveries_are_named_in_their_steps(taker: Taker) -> None:
    payloads = world.chain(6)
    withdrawn = (Withdrawn(sequence=5, reason=WithdrawnReason.RECALLED),)
    steps = taker.take(payloads[3:], later(payloads, 6, withdrawn=withdrawn))
    assert [step.withdrawn for step in steps] == [None, WithdrawnReason.RECALLED, None]


def test_a_lane_begun_anew_starts_at_one_after_the_last_delivery_held(taker: Taker) -> None:
    lane = replace(LANE, epoch=2)
    payloads = world.chain(2, lane=lane, previous=taker.position.digest)
    taker.digests.clear()  # of the new epoch nothing is held
    steps = taker.take(payloads, world.head_of(payloads, 2, lane=lane), lane)
    assert [step.new for step in steps] == [True, True]
    assert (taker.position.epoch, taker.position.sequence) == (2, 2)


def test_a_lane_begun_anew_that_does_not_follow_is_a_fork(taker: Taker) -> None:
    lane = replace(LANE, epoch=2)
    payloads = world.chain(1, lane=lane)
    assert refusal(taker.take, payloads, world.head_of(payloads, 1, lane=lane), lane) == "LANE_FORK"


def test_a_lane_begun_anew_and_still_empty_keeps_the_last_digest(taker: Taker) -> None:
    lane, digest = replace(LANE, epoch=2), taker.position.digest
    taker.take([], world.head_of([], 0, lane=lane, time_ms=1), lane)
    assert (taker.position.epoch, taker.position.sequence, taker.position.digest) == (2, 0, digest)


def test_an_earlier_epoch_of_a_lane_is_refused(taker: Taker) -> None:
    lane = replace(LANE, epoch=2)
    taker.take([], world.head_of([], 0, lane=lane), lane)
    assert refusal(taker.take, [], later(world.chain(3), 3)) == "LANE_HEAD_INVALID"


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


# ---------------------------------------------------------------- evidence


def evidence(sides: tuple[list[bytes], list[bytes]], first: int = 1) -> Equivocation:
    heads = [
        world.sign_head(world.head_of(side, len(side), time_ms=world.NOW_MS + place))
        for place, side in enumerate(sides)
    ]
    return Equivocation(
        head_a=heads[0],
        deliveries_a=tuple(sides[0][first - 1 :]),
        head_b=heads[1],
        deliveries_b=tuple(sides[1][first - 1 :]),
    )


TWO_SIDES = (world.chain(3), world.chain(2, mark="other "))


def test_row_16_the_vector_of_an_equivocation_verifies_with_the_senders_key_alone() -> None:
    vector = json.loads((FOLDER / "equivocation.json").read_text())
    data = bytes.fromhex(vector["evidence"])
    proof = parse_equivocation(data)
    assert proof.encode() == data
    assert verify_equivocation(proof, world.OPERATIONS.key) == (LANE, vector["sequence"])


def test_row_16_evidence_from_the_first_difference_proves_it() -> None:
    proof = evidence(TWO_SIDES)
    assert verify_equivocation(parse_equivocation(proof.encode()), world.OPERATIONS.key) == (LANE, 1)


def test_row_16_two_heads_alone_can_prove_it() -> None:
    proof = replace(evidence((world.chain(2), world.chain(2, mark="other "))), deliveries_a=(), deliveries_b=())
    assert verify_equivocation(proof, world.OPERATIONS.key) == (LANE, 2)


@pytest.mark.parametrize(
    ("proof", "code"),
    [
        (evidence((world.chain(2), world.chain(2))), "MALFORMED"),
        (evidence((world.chain(3), world.chain(2))), "MALFORMED"),
        (replace(evidence(TWO_SIDES), deliveries_a=()), "MALFORMED"),
        (replace(evidence(TWO_SIDES), deliveries_a=tuple(world.chain(3)[1:])), "MALFORMED"),
        (replace(evidence(TWO_SIDES), deliveries_b=tuple(world.chain(2))), "MALFORMED"),
        (
            replace(evidence(TWO_SIDES), deliveries_a=(world.chain(3, mark="forged ")[0], *world.chain(3)[1:])),
            "MALFORMED",
        ),
        (
            replace(
                evidence(TWO_SIDES), head_b=world.sign_head(world.head_of(TWO_SIDES[1], 2, lane=replace(LANE, epoch=2)))
            ),
            "LANE_HEAD_INVALID",
        ),
        (
            replace(evidence(TWO_SIDES), head_b=world.sign_head(world.head_of(TWO_SIDES[1], 2), world.STRANGER)),
            "SIGNER_UNKNOWN",
        ),
    ],
    ids=[
        "same-side-twice",
        "one-side-longer",
        "side-without-deliveries",
        "sides-begin-apart",
        "other-deliveries-than-the-head",
        "forged-first-delivery",
        "heads-of-two-lanes",
        "head-of-a-stranger",
    ],
)
def test_row_16_evidence_that_proves_nothing_is_refused(proof: Equivocation, code: str) -> None:
    assert refusal(verify_equivocation, proof, world.OPERATIONS.key) == code


def test_row_16_a_stranger_cannot_be_accused_with_keys_that_are_not_the_senders() -> None:
    heads = [world.sign_head(world.head_of(side, len(side)), world.STRANGER) for side in TWO_SIDES]
    proof = replace(evidence(TWO_SIDES), head_a=heads[0], head_b=heads[1])
    assert refusal(verify_equivocation, proof, world.STRANGER.key) == "WRONG_MAKER"


@settings(max_examples=100)
@given(data=st.binary(max_size=200))
def test_garbage_is_no_evidence(data: bytes) -> None:
    assert refusal(parse_equivocation, data) in {"MALFORMED", "NOT_UNDERSTOOD"}


def test_the_enums_have_the_numbers_of_the_schema() -> None:
    for mirror, enum, prefix in (
        (LaneClass, dispatch_pb2.LaneClass, "LANE_CLASS"),
        (WithdrawnReason, dispatch_pb2.WithdrawnReason, "WITHDRAWN_REASON"),
    ):
        names = {f"{prefix}_{each.name}": int(each) for each in mirror}
        assert {f"{prefix}_UNSPECIFIED": 0} | names == dict(enum.items())
