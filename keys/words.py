"""Twelve words for a digest, so that two people can compare it over the telephone."""

from __future__ import annotations

from functools import cache

from mnemonic import Mnemonic

from keys.identity import DIGEST_BYTES


@cache
def _list() -> Mnemonic:
    return Mnemonic("english")


def words(digest: bytes) -> list[str]:
    """Return the 12 words of a 32-byte digest: BIP-39 of its first 16 bytes, checksum included."""
    if len(digest) != DIGEST_BYTES:
        raise ValueError("a digest has 32 bytes")
    return _list().to_mnemonic(digest[:16]).split()
