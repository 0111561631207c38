"""The rules by which a recipient takes what arrives in a lane.

The head is checked first, so nobody without the sender's operations key can stop a lane. Then: known and same is a
duplicate, known and different is equivocation (two signatures that prove it to anybody), beyond next is a gap, another
previous digest is a fork. Nothing numbered can be lost, doubled or kept back without being seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from audit.record.lane import (
    Delivery,
    LaneHead,
    LaneId,
    WithdrawnReason,
    class_of,
    parse_delivery,
    parse_lane_head,
)
from audit.record.wire import ZERO_DIGEST
from keys.dsse import SignedPayload, verify
from keys.errors import IntegrityError, RefusedError
from keys.identity import short
from keys.signer import PublicKey
from keys.values import hot_value


class LaneGapError(RefusedError):
    """A delivery beyond the next one: ask again from ``expected``."""

    def __init__(self, message: str, *, expected: int) -> None:
        super().__init__("LANE_GAP", message)
        self.expected = expected


class LaneForkError(RefusedError):
    """The next delivery names another one before it than the one we hold."""

    def __init__(self, message: str) -> None:
        super().__init__("LANE_FORK", message)


class LaneHeadInvalidError(RefusedError):
    """A head that does not fit its message, its lane or the heads before: the stream ends, nothing moves."""

    def __init__(self, message: str) -> None:
        super().__init__("LANE_HEAD_INVALID", message)


class EquivocationError(RefusedError):
    """Two different deliveries for one number: keep both heads, stop the lane, alarm."""

    def __init__(self, message: str, *, sequence: int, known: bytes, shown: bytes) -> None:
        super().__init__("EQUIVOCATION", message)
        self.sequence = sequence  # of the first difference in this message
        self.known = known  # 32 bytes, digest that we have
        self.shown = shown  # 32 bytes, digest that the new head signs for


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a recipient stands in a peer's lane; the default is a lane of which nothing was ever seen."""

    epoch: int = 0
    sequence: int = 0  # last stored
    digest: bytes = ZERO_DIGEST  # of the last stored
    latest_head_time_ms: int = 0
    head_digest: bytes = b""  # of the newest head, so that the very same one may come again

    def after(self, head: LaneHead, steps: Sequence[LaneStep]) -> Position:
        """Return where the lane stands once *steps* of a message with this *head* are durable."""
        fresh = [step for step in steps if step.new]
        begun = self.epoch == head.lane.epoch
        newer = not begun or head.time_ms > self.latest_head_time_ms
        return Position(
            epoch=head.lane.epoch,
            sequence=fresh[-1].delivery.sequence if fresh else (self.sequence if begun else 0),
            digest=fresh[-1].digest if fresh else self.digest,
            latest_head_time_ms=head.time_ms if newer else self.latest_head_time_ms,
            head_digest=head.digest if newer else self.head_digest,
        )


@hot_value(frozen=True, slots=True, kw_only=True)
class LaneStep:
    """One delivery that the lane rules let pass."""

    delivery: Delivery
    digest: bytes  # 32 bytes
    new: bool  # False: stored already, answer with the same receipt
    withdrawn: WithdrawnReason | None  # content must be there exactly if this is None


def check_class(lane: LaneId, urgency: int) -> None:
    """Refuse a dispatch in the wrong lane as LANE_CLASS: an intake check, after the lane has moved."""
    if class_of(urgency) is not lane.lane_class:
        raise RefusedError("LANE_CLASS", f"{lane}: urgency {urgency} belongs into the other lane")


def check_head(
    signed: SignedPayload, lane: LaneId | Callable[[LaneId], LaneId], find: Callable[[bytes], PublicKey | None]
) -> LaneHead:
    """Verify a lane head, before anything else of its message is looked at.

    1. One signature of type ``lane-head`` by an operations key that *find* knows. 2. Canonical and in bounds. 3. For
    exactly this lane (row 58): the head of an empty lane shown for another one is refused. 4. Signed by the lane's
    sender.

    Args:
        signed: As received.
        lane: The lane that the stream follows, in the epoch that it stands in; or what names it by the one that the
            head claims to be of, once its signature is verified.
        find: Looks a key id up among the sender's operations keys that are valid now.

    Raises:
        RefusedError: What ``dsse.verify`` and ``parse_lane_head`` raise, LANE_HEAD_INVALID, WRONG_MAKER.
    """
    (key,) = verify(signed, "lane-head", find)  # 1
    head = parse_lane_head(signed.payload)  # 2
    expected = lane if isinstance(lane, LaneId) else lane(head.lane)
    if head.lane != expected:  # 3
        raise LaneHeadInvalidError(f"{expected}: the head is of another, {head.lane}")
    if key.owner != expected.sender:  # 4
        raise RefusedError("WRONG_MAKER", f"{expected}: its head is signed by {key.owner}")
    return head


def advance(
    position: Position,
    lane: LaneId,
    head: LaneHead,
    deliveries: Sequence[bytes],
    digest_of: Callable[[int], bytes | None],
) -> list[LaneStep]:
    """Judge one message by the lane rules; nothing moves if anything is refused.

    1. Every delivery is of this lane. 2. They are consecutive and chained. 3. The head's sequence and digest are the
    last delivery's. 4. The head withdraws only deliveries of this message. 5. Known and different → equivocation.
    6. Beyond next → gap. 7. Previous differs → fork. 8. The lane goes no way back. 9. The head is later than the one
    before, unless it is the very same or the whole message is known.

    Args:
        position: Where we stand. A lane of a later epoch begins again at sequence 1, its ``previous`` the last digest
            that we hold; whether the sender's log has that epoch, the caller has checked.
        lane: The lane that the head was checked for.
        head: From ``check_head``.
        deliveries: Payloads of the message, in order; none where only the head is sent.
        digest_of: Gives the digest of a stored delivery of this lane and epoch.

    Returns:
        One step for each delivery. ``position.after(head, steps)`` says where the lane then stands.

    Raises:
        RefusedError: MALFORMED, and the four of this module. IntegrityError: we lack what our position says.
    """
    if lane.epoch < position.epoch:
        raise LaneHeadInvalidError(f"{lane}: it began anew in epoch {position.epoch}")
    at = position if position.epoch == lane.epoch else Position(epoch=lane.epoch, digest=position.digest)
    parsed = [parse_delivery(payload) for payload in deliveries]
    digests = [delivery.digest for delivery in parsed]
    _check_message(lane, head, parsed, digests)  # 1 to 4
    known = [_known(at, lane, d.sequence, digest, digest_of) for d, digest in zip(parsed, digests, strict=True)]  # 5
    if not parsed and head.sequence:
        _known(at, lane, head.sequence, head.delivery_digest, digest_of)  # 5
    fresh = [delivery for delivery, seen in zip(parsed, known, strict=True) if not seen]
    first = fresh[0].sequence if fresh else head.sequence
    if first > at.sequence + bool(fresh):  # 6
        raise LaneGapError(f"{lane}: {first} follows {at.sequence}", expected=at.sequence + 1)
    if fresh and fresh[0].previous != at.digest:  # 7
        raise LaneForkError(f"{lane}: {first} follows {short(fresh[0].previous)}, we hold {short(at.digest)}")
    replayed = bool(parsed) and not fresh  # changes nothing and is answered as before
    _check_later(at, lane, head, replayed=replayed)  # 8, 9
    reasons = {item.sequence: item.reason for item in head.withdrawn}
    return [
        LaneStep(delivery=delivery, digest=digest, new=not seen, withdrawn=reasons.get(delivery.sequence))
        for delivery, digest, seen in zip(parsed, digests, known, strict=True)
    ]


def _check_message(lane: LaneId, head: LaneHead, parsed: Sequence[Delivery], digests: Sequence[bytes]) -> None:
    """Check that a message is what its head signs for (1 to 4 of ``advance``)."""
    for delivery in parsed:
        if delivery.lane is not lane and delivery.lane != lane:
            raise LaneHeadInvalidError(f"{lane}: holds a delivery of {delivery.lane}")
    for (before, digest), delivery in zip(zip(parsed, digests, strict=True), parsed[1:], strict=False):
        if delivery.sequence != before.sequence + 1 or delivery.previous != digest:
            raise LaneHeadInvalidError(f"{lane}: {delivery.sequence} does not follow in its message")
    if parsed and (head.sequence, head.delivery_digest) != (parsed[-1].sequence, digests[-1]):
        raise LaneHeadInvalidError(f"{lane}: the head is of {head.sequence}, the message ends in another")
    numbers = {delivery.sequence for delivery in parsed}
    if not all(item.sequence in numbers for item in head.withdrawn):
        raise LaneHeadInvalidError(f"{lane}: the head withdraws what its message does not hold")


def _check_later(at: Position, lane: LaneId, head: LaneHead, *, replayed: bool) -> None:
    """Check a head against the one before (8 and 9 of ``advance``)."""
    if head.latest < at.sequence and head.time_ms > at.latest_head_time_ms:
        raise LaneHeadInvalidError(f"{lane}: latest is {head.latest}, we hold {at.sequence}")
    if head.time_ms <= at.latest_head_time_ms and not replayed and head.digest != at.head_digest:
        raise LaneHeadInvalidError(f"{lane}: head of {head.time_ms} after one of {at.latest_head_time_ms}")


def _known(at: Position, lane: LaneId, sequence: int, digest: bytes, digest_of: Callable[[int], bytes | None]) -> bool:
    """Return whether we hold this delivery; refuse another one under its number."""
    if sequence > at.sequence:
        return False
    ours = at.digest if sequence == at.sequence else digest_of(sequence)
    if ours is None:
        raise IntegrityError(f"{lane}: {sequence} is not stored, the position is {at.sequence}")
    if ours != digest:
        raise EquivocationError(
            f"{lane}: {sequence} is {short(ours)} and {short(digest)}", sequence=sequence, known=ours, shown=digest
        )
    return True
