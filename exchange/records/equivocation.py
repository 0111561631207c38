"""Proof that a sender signed two different deliveries under one number of one lane.

It needs nothing of the node that keeps it: anybody who has the sender's operations keys can check it, offline
(row 16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.record.lane import LaneHead, LaneId, delivery_digest, parse_delivery, parse_lane_head
from audit.record.wire import encode, malformed, parse
from audit.v1 import dispatch_pb2
from exchange.records.lane_rules import check_head
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import short
from keys.signer import PublicKey

MAX_EVIDENCE_BYTES = 64 << 20  # some 400,000 deliveries back: nine months of one a minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivocation:
    """Two heads, and of each side the deliveries from the difference up to its head."""

    head_a: SignedPayload  # the one that was known first
    deliveries_a: tuple[bytes, ...]  # empty where the head itself names the number
    head_b: SignedPayload
    deliveries_b: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Write the evidence as it is kept and handed on."""
        return encode(
            dispatch_pb2.Equivocation(
                head_a=self.head_a.to_message(),
                deliveries_a=self.deliveries_a,
                head_b=self.head_b.to_message(),
                deliveries_b=self.deliveries_b,
            )
        )


def parse_equivocation(data: bytes) -> Equivocation:
    """Read evidence; whether it proves anything, ``verify_equivocation`` says.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE or NOT_UNDERSTOOD.
    """
    message = parse("equivocation", data, dispatch_pb2.Equivocation, MAX_EVIDENCE_BYTES)
    return Equivocation(
        head_a=SignedPayload.from_message(message.head_a),
        deliveries_a=tuple(message.deliveries_a),
        head_b=SignedPayload.from_message(message.head_b),
        deliveries_b=tuple(message.deliveries_b),
    )


def verify_equivocation(evidence: Equivocation, *keys: PublicKey) -> tuple[LaneId, int]:
    """Check that the evidence proves equivocation, with the sender's keys alone.

    1. Both heads verify under one of *keys* and are of one lane. 2. On each side the deliveries are of that lane,
    consecutive, chained, and end in the head. 3. Both sides begin with the same number. 4. What they say of it
    differs.

    Returns:
        The lane and the number that was given twice.

    Raises:
        RefusedError: What ``check_head`` raises; MALFORMED if it proves nothing.
    """
    lane = parse_lane_head(evidence.head_a.payload).lane
    find = {key.key_id: key for key in keys}.get
    head_a = check_head(evidence.head_a, lane, find)  # 1
    head_b = check_head(evidence.head_b, lane, find)
    number_a, digest_a = _first(head_a, evidence.deliveries_a)  # 2
    number_b, digest_b = _first(head_b, evidence.deliveries_b)
    if number_a != number_b or not number_a:  # 3
        raise malformed("equivocation", f"the sides begin with {number_a} and {number_b}")
    if digest_a == digest_b:  # 4
        raise malformed("equivocation", f"both sides say {short(digest_a)}")
    return lane, number_a


def _first(head: LaneHead, deliveries: Sequence[bytes]) -> tuple[int, bytes]:
    """Return the first number that one side speaks of, with its digest; follow the chain back from the head."""
    sequence, digest, previous = head.sequence, head.delivery_digest, b""
    for index, payload in enumerate(reversed(deliveries)):
        delivery = parse_delivery(payload)
        if index:
            sequence, digest = sequence - 1, previous
        signed_for = (delivery.lane, delivery.sequence, delivery_digest(payload))
        if signed_for != (head.lane, sequence, digest):
            raise RefusedError("MALFORMED", f"equivocation: {delivery.sequence} is not what the head signs for")
        previous = delivery.previous
    return sequence, digest
