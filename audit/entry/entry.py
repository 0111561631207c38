"""A log entry to the byte: a head of 52 bytes that chains, and a body that says what happened.

``entry = head || body``; ``head = magic 4 | index 8 | time 8 | previous 32``, big-endian, at fixed offsets, so that
the chain is checked without protobuf. ``previous`` is the leaf hash of the entry before: one hash serves the chain
and the tree. Bytes are the truth: hash what was stored, parse after verification.
"""

import struct
from collections.abc import Iterable
from hashlib import sha256

from audit.entry.body import Body, parse_body
from audit.entry.kinds import Kind, Outcome, Role
from keys.errors import RefusedError
from keys.values import hot_value

__all__ = [
    "HEAD_LENGTH",
    "MAGIC",
    "MAX_ENTRY_BYTES",
    "Body",
    "Entry",
    "Head",
    "Kind",
    "Outcome",
    "Role",
    "chain_entries",
    "encode_entry",
    "genesis_previous",
    "leaf_hash",
    "leaf_hashes",
    "parse_body",
    "parse_entry",
    "parse_head",
]

MAGIC = b"exl1"  # one version, one constant; a change is a new magic
HEAD_LENGTH = 52
MAX_ENTRY_BYTES = 4096  # far above any body of known fields, far below the 65,535 of an entry bundle
_HEAD = struct.Struct(">4sQQ32s")
_MAX_NUMBER = (1 << 64) - 1
_LEAF = sha256(b"\0")  # a copy that has taken the prefix costs less than a new one and a longer input


@hot_value(frozen=True, slots=True, kw_only=True)
class Head:
    """Where an entry stands in its log."""

    index: int  # from 0, the leaf index
    time_us: int  # microseconds UTC, never smaller than the entry before it
    previous: bytes  # 32 bytes, leaf hash of the entry before; of entry 0 see genesis_previous

    def encode(self) -> bytes:
        """Return the 52 bytes."""
        return _HEAD.pack(MAGIC, self.index, self.time_us, self.previous)


@hot_value(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry, its body still in bytes; ``parse_body`` reads them."""

    index: int
    time_us: int
    previous: bytes
    body: bytes

    def encode(self) -> bytes:
        """Return the bytes that are stored, hashed and shown.

        Raises:
            ValueError: A number does not fit, or the entry is too long or has no body.
        """
        return encode_entry(self.index, self.time_us, self.previous, self.body)


def encode_entry(index: int, time_us: int, previous: bytes, body: bytes) -> bytes:
    """Return ``Entry(…).encode()`` without the object: the writer makes a hundred thousand a second.

    Raises:
        ValueError: A number does not fit, or the entry is too long or has no body.
    """
    if len(previous) != 32 or not 0 <= index <= _MAX_NUMBER or not 0 <= time_us <= _MAX_NUMBER:
        raise ValueError("the head of an entry is out of its bounds")
    if not 2 <= len(body) <= MAX_ENTRY_BYTES - HEAD_LENGTH:
        raise ValueError(f"an entry whose body has {len(body)} bytes")
    return _HEAD.pack(MAGIC, index, time_us, previous) + body


def chain_entries(
    bodies: Iterable[bytes], first: int, times_us: Iterable[int], previous: bytes
) -> tuple[list[bytes], list[bytes]]:
    """Make the entries of a group, each chained to the one before, and their leaf hashes.

    Args:
        bodies: Canonical bytes, by the rules of their kinds: 2 to 4,044 each.
        first: Index of the first entry.
        times_us: Of each entry; none smaller than the one before it.
        previous: 32 bytes, leaf hash of the entry before the first.
    """
    entries, leaves, pack, copy = [], [], _HEAD.pack, _LEAF.copy  # encode_entry and leaf_hash, without their calls
    for index, (time_us, body) in enumerate(zip(times_us, bodies, strict=True), first):
        entry = pack(MAGIC, index, time_us, previous) + body
        leaf = copy()
        leaf.update(entry)
        previous = leaf.digest()
        entries.append(entry)
        leaves.append(previous)
    return entries, leaves


def parse_head(data: bytes) -> Head:
    """Read the head of an entry, length and magic checked.

    Raises:
        RefusedError: MALFORMED.
    """
    index, time_us, previous = _split(data)
    return Head(index=index, time_us=time_us, previous=previous)


def parse_entry(data: bytes) -> Entry:
    """Split an entry into its head's fields and its body's bytes.

    Raises:
        RefusedError: MALFORMED; the length or the magic is wrong. The body is not looked at.
    """
    index, time_us, previous = _split(data)
    return Entry(index=index, time_us=time_us, previous=previous, body=bytes(data[HEAD_LENGTH:]))


def _split(data: bytes) -> tuple[int, int, bytes]:
    if not HEAD_LENGTH + 2 <= len(data) <= MAX_ENTRY_BYTES:
        raise RefusedError("MALFORMED", f"entry: {len(data)} bytes instead of 54 to {MAX_ENTRY_BYTES}")
    magic, index, time_us, previous = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise RefusedError("MALFORMED", f"entry: begins with {magic.hex()} instead of {MAGIC.hex()}")
    return index, time_us, previous


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 || entry): the link of the chain and the leaf of the tree.

    Source: RFC 6962, section 2.1.
    """
    return sha256(b"\0" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the ``leaf_hash`` of each entry: what is made of a thousand at a time."""
    hashes, copy = [], _LEAF.copy
    for entry in entries:
        leaf = copy()
        leaf.update(entry)
        hashes.append(leaf.digest())
    return hashes


def genesis_previous(origin: str, final_root: bytes | None = None) -> bytes:
    """Return the ``previous`` of entry 0, which binds the log to its name and to the epoch before.

    Args:
        origin: The checkpoint's origin.
        final_root: Root hash of the previous epoch's last checkpoint, 32 bytes; None in the first epoch.
    """
    return sha256(b"exl1 genesis\n" + origin.encode() + b"\n" + (final_root or bytes(32))).digest()
