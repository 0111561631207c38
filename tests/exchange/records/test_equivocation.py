"""A sender that says two things is proven by its own signatures, and nobody by anything less."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.records.equivocation import Equivocation, parse_equivocation, verify_equivocation
from tests.exchange.records import formats
from tests.exchange.records.refusing import refusal

LANE = formats.LANE

FOLDER = Path(__file__).parents[2] / "vectors" / "formats"


# ---------------------------------------------------------------- evidence


def evidence(sides: tuple[list[bytes], list[bytes]], first: int = 1) -> Equivocation:
    heads = [
        formats.sign_head(formats.head_of(side, len(side), time_ms=formats.NOW_MS + index))
        for index, side in enumerate(sides)
    ]
    return Equivocation(
        head_a=heads[0],
        deliveries_a=tuple(sides[0][first - 1 :]),
        head_b=heads[1],
        deliveries_b=tuple(sides[1][first - 1 :]),
    )


TWO_SIDES = (formats.chain(3), formats.chain(2, mark="other "))


def test_row_16_the_vector_of_an_equivocation_verifies_with_the_senders_key_alone() -> None:
    vector = json.loads((FOLDER / "equivocation.json").read_text())
    data = bytes.fromhex(vector["evidence"])
    proof = parse_equivocation(data)
    assert proof.encode() == data
    assert verify_equivocation(proof, formats.OPERATIONS.key) == (LANE, vector["sequence"])


def test_row_16_evidence_from_the_first_difference_proves_it() -> None:
    proof = evidence(TWO_SIDES)
    assert verify_equivocation(parse_equivocation(proof.encode()), formats.OPERATIONS.key) == (LANE, 1)


def test_row_16_two_heads_alone_can_prove_it() -> None:
    proof = replace(evidence((formats.chain(2), formats.chain(2, mark="other "))), deliveries_a=(), deliveries_b=())
    assert verify_equivocation(proof, formats.OPERATIONS.key) == (LANE, 2)


@pytest.mark.parametrize(
    ("proof", "code"),
    [
        (evidence((formats.chain(2), formats.chain(2))), "MALFORMED"),
        (evidence((formats.chain(3), formats.chain(2))), "MALFORMED"),
        (replace(evidence(TWO_SIDES), deliveries_a=()), "MALFORMED"),
        (replace(evidence(TWO_SIDES), deliveries_a=tuple(formats.chain(3)[1:])), "MALFORMED"),
        (replace(evidence(TWO_SIDES), deliveries_b=tuple(formats.chain(2))), "MALFORMED"),
        (
            replace(evidence(TWO_SIDES), deliveries_a=(formats.chain(3, mark="forged ")[0], *formats.chain(3)[1:])),
            "MALFORMED",
        ),
        (
            replace(
                evidence(TWO_SIDES),
                head_b=formats.sign_head(formats.head_of(TWO_SIDES[1], 2, lane=replace(LANE, epoch=2))),
            ),
            "LANE_HEAD_INVALID",
        ),
        (
            replace(evidence(TWO_SIDES), head_b=formats.sign_head(formats.head_of(TWO_SIDES[1], 2), formats.STRANGER)),
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
    assert refusal(verify_equivocation, proof, formats.OPERATIONS.key) == code


def test_row_16_a_stranger_cannot_be_accused_with_keys_that_are_not_the_senders() -> None:
    heads = [formats.sign_head(formats.head_of(side, len(side)), formats.STRANGER) for side in TWO_SIDES]
    proof = replace(evidence(TWO_SIDES), head_a=heads[0], head_b=heads[1])
    assert refusal(verify_equivocation, proof, formats.STRANGER.key) == "WRONG_MAKER"


@settings(max_examples=100)
@given(data=st.binary(max_size=200))
def test_garbage_is_no_evidence(data: bytes) -> None:
    assert refusal(parse_equivocation, data) in {"MALFORMED", "NOT_UNDERSTOOD"}
