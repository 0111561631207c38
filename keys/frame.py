"""The bytes that are signed: the DSSE v1 frame, with one payload type for each role.

A signature covers its type and its payload, so a lane head can never pass for a dispatch. Source: DSSE v1.0,
"PAE"; the types: proto/README.md, section 3.
"""

from __future__ import annotations

from functools import cache


@cache
def payload_type(role: str) -> str:
    """Name the type of a role: ``lane-head`` → ``application/vnd.exchange.lane-head.v1+protobuf``."""
    return f"application/vnd.exchange.{role}.v1+protobuf"


def pae(payload_type: str, payload: bytes) -> bytes:
    """Frame a payload: ``DSSEv1 <len> <type> <len> <payload>``.

    Lengths count bytes after encoding, in decimal: DSSE counts UTF-8 bytes, not characters.
    """
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)
