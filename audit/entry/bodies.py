"""Write the bodies of a group: each in its one canonical form, each by the rule of its kind.

This is the law: it writes them one by one and words a fault. Many of one shape are written at once (``bodies_fast``).
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.entry.bodies_fast import FEW, encode_shape, group_by_shape
from audit.entry.body import Body
from audit.entry.grammar import PATTERNS, explain, read_number
from keys.errors import IntegrityError, RefusedError
from keys.fast import FAST

MANY = 256  # bodies at a time: of more, what is made on the way would leave the processor's cache
_RULES = {bytes([kind]): (rule.fullmatch, "refers" in rule.groupindex) for kind, rule in PATTERNS.items()}


def encode_bodies(bodies: Sequence[Body | bytes], first: int) -> list[bytes]:
    """Return the canonical bytes of bodies that follow each other in a log.

    Args:
        bodies: By the rules of their kinds; one that is bytes already stays as it is.
        first: Index of the first one's entry.

    Raises:
        IntegrityError: A body breaks its kind's rule: this program must never write what no verifier accepts.
        ValueError: A field is out of its bounds, or a body was read without being understood.
    """
    encoded: list[bytes] = []
    for start in range(0, len(bodies), MANY):
        encoded += _encode_some(bodies[start : start + MANY], first + start)
    return encoded


def _encode_some(bodies: Sequence[Body | bytes], first: int) -> list[bytes]:
    if not FAST or len(bodies) < FEW:
        return [_encode_one(body, at) for at, body in enumerate(bodies, first)]
    encoded = [b""] * len(bodies)
    for positions, columns in group_by_shape(bodies):
        indices = [first + position for position in positions]
        found = encode_shape(columns, indices)
        if found is None:
            found = [_encode_one(bodies[position], at) for position, at in zip(positions, indices, strict=True)]
        for position, data in zip(positions, found, strict=True):
            encoded[position] = data
    return encoded


def _encode_one(body: Body | bytes, at: int) -> bytes:
    data = body if isinstance(body, bytes) else body.encode()
    _check(data, at)
    return data


def _check(data: bytes, at: int) -> None:
    fullmatch, refers_back = _RULES.get(data[1:2], (None, False))
    match = fullmatch(data) if fullmatch is not None else None
    if match is None:
        try:
            reason = explain(data) or "not understood"
        except RefusedError as error:
            reason = str(error)
        raise IntegrityError(f"entry {at} would break its rule: {reason}")
    if refers_back:
        refers, epoch = match.group("refers", "epoch")
        if refers is not None and epoch is None and read_number(refers) >= at:
            raise IntegrityError(f"entry {at} would refer to {read_number(refers)}, which is not before it")
