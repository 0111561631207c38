"""Messages built from bytes that are already encoded, so that a dispatch is not parsed again for each follower."""

from __future__ import annotations

from typing import Any

from exchange.v1 import node_pb2
from keys.varint import write_varint

_DELIVERY, _DISPATCH, _WRAP, _BODY = b"\x0a", b"\x12", b"\x1a", b"\x22"  # fields 1 to 4 of Parcel, length-delimited
_PARCELS, _HEAD = b"\x0a", b"\x12"  # fields 1 and 2 of LaneBatch
_BATCH = b"\x12"  # field 2 of FollowResponse


def parcel(delivery: bytes, dispatch: bytes, wrap: bytes, body: bytes) -> bytes:
    """Encode ``Parcel`` as a field of a LaneBatch; wrap and body are empty where it is withdrawn."""
    parts = [_DELIVERY, write_varint(len(delivery)), delivery, _DISPATCH, write_varint(len(dispatch)), dispatch]
    if wrap:
        parts += (_WRAP, write_varint(len(wrap)), wrap)
    if body:
        parts += (_BODY, write_varint(len(body)), body)
    inner = sum(map(len, parts))
    return b"".join((_PARCELS, write_varint(inner), *parts))


def batch(parcels: list[bytes], head: bytes) -> bytes:
    """Encode ``FollowResponse`` with a batch: parcels from ``parcel``, the head a SignedPayload."""
    parts = [*parcels, _HEAD, write_varint(len(head)), head]
    inner = sum(map(len, parts))
    return b"".join((_BATCH, write_varint(inner), *parts))


def serialize(message: Any) -> bytes:
    """Serialise what a method answers: bytes that are a message already, or a message."""
    return message if isinstance(message, bytes) else bytes(message.SerializeToString())


def lane_position(lane_class: int, epoch: int, sequence: int, digest: bytes) -> node_pb2.LanePosition:
    """Make a ``LanePosition``; its field ``class`` is a word of Python's own."""
    made = node_pb2.LanePosition(epoch=epoch, sequence=sequence, delivery_digest=digest if sequence else b"")
    setattr(made, "class", lane_class)
    return made


def lane_taken(lane_class: int, sequence: int) -> node_pb2.LaneTaken:
    """Make a ``LaneTaken``."""
    made = node_pb2.LaneTaken(sequence=sequence)
    setattr(made, "class", lane_class)
    return made


def class_of(message: Any) -> int:
    """Read the field ``class`` of a message that has one."""
    return int(getattr(message, "class"))
