"""The ordered streams between agencies: their deliveries and heads as they are written and read.

A delivery is numbered and chained but not signed; the lane head at the end of each message signs for all of it. What a
recipient takes is judged by ``exchange.records.lane_rules``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

from audit.record.dispatch import Urgency
from audit.record.wire import (
    ZERO_DIGEST,
    encode,
    malformed,
    need_ascending,
    need_bytes,
    need_count,
    need_enum,
    parse,
)
from audit.v1 import dispatch_pb2
from keys.identity import AgencyId, parse_agency, record_digest
from keys.values import hot_value

MAX_DELIVERY_BYTES = 1 << 10  # a delivery has about 200
MAX_LANE_HEAD_BYTES = 64 << 10
MAX_WITHDRAWN = 1000  # one message's deliveries are fewer


class LaneClass(IntEnum):
    """Urgent overtakes backlog because it has a lane of its own (row 57)."""

    URGENT = 1  # flash and urgent
    ROUTINE = 2  # priority and routine


class WithdrawnReason(IntEnum):
    """Why a delivery travels without content; the numbers of ``audit.v1.WithdrawnReason``."""

    EXPIRED = 1
    RECALLED = 2
    ERASED = 3


@hot_value(frozen=True, slots=True, kw_only=True)
class LaneId:
    """One stream from one agency to another."""

    federation_id: bytes  # 32 bytes
    sender: AgencyId
    recipient: AgencyId
    lane_class: LaneClass
    epoch: int  # the sender's log epoch in which it began, from 1

    def __str__(self) -> str:
        return f"lane {self.sender} to {self.recipient} {self.lane_class.name.lower()} {self.epoch}"


@hot_value(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One numbered step of a lane."""

    lane: LaneId
    sequence: int  # 1, 2, 3 …
    previous: bytes  # 32 bytes, digest of the delivery before; 32 zero bytes at the start of the first lane
    dispatch_digest: bytes  # 32 bytes
    time_ms: int  # milliseconds UTC, the sender's claim
    digest: bytes = field(default=b"", compare=False)  # of the bytes as received; empty in one that we make

    def encode(self) -> bytes:
        """Write the delivery; a lane head covers it by its digest."""
        return encode(
            dispatch_pb2.Delivery(
                lane=_lane_message(self.lane),
                sequence=self.sequence,
                previous=self.previous,
                dispatch_digest=self.dispatch_digest,
                time_ms=self.time_ms,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """One delivery of the message that travels without content."""

    sequence: int
    reason: WithdrawnReason


@hot_value(frozen=True, slots=True, kw_only=True)
class LaneHead:
    """The sender's word on where a lane stands."""

    lane: LaneId
    sequence: int  # of the last delivery in the message, or of the last sent; 0 in an empty lane
    delivery_digest: bytes  # 32 bytes; 32 zero bytes in an empty lane
    latest: int  # the lane's highest number; 0 in an empty lane
    withdrawn: tuple[Withdrawn, ...] = ()  # ascending by sequence
    time_ms: int  # milliseconds UTC, later with each head
    digest: bytes = field(default=b"", compare=False)  # of the payload as received; empty in one that we make

    def encode(self) -> bytes:
        """Write the payload of type ``lane-head``."""
        return encode(
            dispatch_pb2.LaneHead(
                lane=_lane_message(self.lane),
                sequence=self.sequence,
                delivery_digest=self.delivery_digest,
                latest=self.latest,
                withdrawn=[_withdrawn_message(each) for each in self.withdrawn],
                time_ms=self.time_ms,
            )
        )


def class_of(urgency: int) -> LaneClass:
    """Return the lane class of an urgency."""
    return LaneClass.URGENT if urgency in (Urgency.FLASH, Urgency.URGENT) else LaneClass.ROUTINE


def parse_delivery(payload: bytes) -> Delivery:
    """Read a delivery; whether its sender signed for it, the lane head says.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE or NOT_UNDERSTOOD.
    """
    message = parse("delivery", payload, dispatch_pb2.Delivery, MAX_DELIVERY_BYTES)
    need_bytes("delivery", "previous", message.previous)
    need_bytes("delivery", "dispatch_digest", message.dispatch_digest)
    if not message.sequence or not message.time_ms:
        raise malformed("delivery", "no sequence or no time")
    return Delivery(
        lane=_parse_lane("delivery", message.lane),
        sequence=message.sequence,
        previous=message.previous,
        dispatch_digest=message.dispatch_digest,
        time_ms=message.time_ms,
        digest=delivery_digest(payload),
    )


def parse_lane_head(payload: bytes) -> LaneHead:
    """Read the payload of a lane head whose signature is already verified.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE or NOT_UNDERSTOOD.
    """
    message = parse("lane head", payload, dispatch_pb2.LaneHead, MAX_LANE_HEAD_BYTES)
    need_bytes("lane head", "delivery_digest", message.delivery_digest)
    if not message.time_ms:
        raise malformed("lane head", "no time")
    empty = message.delivery_digest == ZERO_DIGEST
    if empty != (message.sequence == 0) or message.latest < message.sequence:
        raise malformed("lane head", "sequence, digest and latest contradict each other")
    withdrawn = tuple(_parse_withdrawn(item) for item in message.withdrawn)
    need_count("lane head", "withdrawn", len(withdrawn), 0, MAX_WITHDRAWN)
    need_ascending("lane head", "withdrawn", [0, *(item.sequence for item in withdrawn)])
    return LaneHead(
        lane=_parse_lane("lane head", message.lane),
        sequence=message.sequence,
        delivery_digest=message.delivery_digest,
        latest=message.latest,
        withdrawn=withdrawn,
        time_ms=message.time_ms,
        digest=lane_head_digest(payload),
    )


def own_dispatch_digest(payload: bytes) -> bytes:
    """Return which dispatch a delivery names that we made ourselves: its form needs no check, and none is made."""
    return dispatch_pb2.Delivery.FromString(payload).dispatch_digest


def delivery_digest(payload: bytes) -> bytes:
    """Return the 32-byte digest that the next delivery, the head and both logs name."""
    return record_digest("delivery", payload)


def lane_head_digest(payload: bytes) -> bytes:
    """Return the 32-byte digest of a lane head."""
    return record_digest("lane-head", payload)


def _parse_lane(record: str, message: dispatch_pb2.LaneId) -> LaneId:
    number = getattr(message, "class")  # a word of Python's own
    return _lane(record, message.federation_id, message.sender, message.recipient, number, message.epoch)


@lru_cache(maxsize=1024)  # every delivery of a message names the same lane
def _lane(record: str, federation_id: bytes, sender: str, recipient: str, number: int, epoch: int) -> LaneId:
    need_bytes(record, "lane.federation_id", federation_id)
    if not epoch or sender == recipient:
        raise malformed(record, "no lane.epoch, or a lane that leads to its own sender")
    return LaneId(
        federation_id=federation_id,
        sender=parse_agency(sender),
        recipient=parse_agency(recipient),
        lane_class=need_enum(record, "lane.class", number, LaneClass),
        epoch=epoch,
    )


def _lane_message(lane: LaneId) -> dispatch_pb2.LaneId:
    message = dispatch_pb2.LaneId(
        federation_id=lane.federation_id, sender=lane.sender, recipient=lane.recipient, epoch=lane.epoch
    )
    setattr(message, "class", dispatch_pb2.LaneClass.ValueType(lane.lane_class))
    return message


def _parse_withdrawn(message: dispatch_pb2.Withdrawn) -> Withdrawn:
    reason = need_enum("lane head", "withdrawn.reason", message.reason, WithdrawnReason)
    return Withdrawn(sequence=message.sequence, reason=reason)


def _withdrawn_message(withdrawn: Withdrawn) -> dispatch_pb2.Withdrawn:
    reason = dispatch_pb2.WithdrawnReason.ValueType(withdrawn.reason)
    return dispatch_pb2.Withdrawn(sequence=withdrawn.sequence, reason=reason)
