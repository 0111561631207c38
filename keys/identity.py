"""Who is meant: agencies, officers, owners, and the digests that name keys, records and federations.

Every digest here is SHA-256 over a label of its own, so that no digest of one thing can pass for another's
(proto/README.md, section 1).
"""

from __future__ import annotations

import hashlib
import re
from enum import IntEnum
from typing import NewType

from keys.errors import RefusedError

AgencyId = NewType("AgencyId", str)  # upper-case code, e.g. "HK-IMMD"; its DNS label is the lower case

DIGEST_BYTES = 32

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_WITNESS = re.compile(rf"{_LABEL}(\.{_LABEL})+(/[a-z0-9]([a-z0-9-]{{0,30}}[a-z0-9])?){{0,4}}")
_AGENCY = re.compile(r"[A-Z]{2}(-[A-Z0-9]{2,8}){1,3}")
MAX_WITNESS_NAME = 180  # characters: an owner has 255 bytes of room in a key id

_OFFICER = re.compile(r"[a-z0-9](-?[a-z0-9]){0,30}")


class Usage(IntEnum):
    """What a key may be used for; part of its key id. A key has one usage for ever."""

    OFFICER = 1
    SYSTEM = 2
    AGENCY = 3
    ENCRYPTION = 4
    LOG = 5
    WITNESS = 6
    AGENCY_ROOT = 7
    ROSTER_ROOT = 8


def parse_agency(text: str) -> AgencyId:
    """Take an agency's code, e.g. ``HK-IMMD``; RefusedError MALFORMED for anything else."""
    if not _AGENCY.fullmatch(text):
        raise RefusedError("MALFORMED", f"{_shown(text)} is not an agency's code")
    return AgencyId(text)


def parse_officer(text: str) -> str:
    """Take an officer's or a system's id within the agency; RefusedError MALFORMED for anything else."""
    if not _OFFICER.fullmatch(text):
        raise RefusedError("MALFORMED", f"{_shown(text)} is not an officer's id")
    return text


def is_witness_name(text: str) -> bool:
    """Return whether a text is the name of a witness without a node, as ``oversight.example/witness``.

    A URL without its scheme, as C2SP wants it: a lower-case dNSName of at least two labels, then up to four path
    segments. So it is never an agency's code, nor an officer's owner.
    """
    return len(text) <= MAX_WITNESS_NAME and bool(_WITNESS.fullmatch(text))


def parse_witness_name(text: str) -> str:
    """Take the name of a witness without a node; RefusedError MALFORMED for anything else."""
    if not is_witness_name(text):
        raise RefusedError("MALFORMED", f"{_shown(text)} is no witness's name, which reads oversight.example/witness")
    return text


def split_owner(owner: str) -> tuple[AgencyId, str | None]:
    """Split ``AGENCY`` or ``AGENCY/officer``; RefusedError MALFORMED for anything else."""
    agency, slash, officer = owner.partition("/")
    return parse_agency(agency), parse_officer(officer) if slash else None


def dns_label(agency: AgencyId) -> str:
    """Return the agency's label in dNSNames and log origins."""
    return agency.lower()


def key_id(usage: int, suite: int, owner: str, public_key: bytes) -> bytes:
    """Name a public key: 32 bytes over usage, suite, owner and key, so that none of them can be exchanged.

    Source: proto/README.md, section 1. All integers big-endian.
    """
    name = owner.encode()
    return hashlib.sha256(
        b"exchange/v1/key-id\0"
        + usage.to_bytes(1, "big")
        + suite.to_bytes(2, "big")
        + len(name).to_bytes(1, "big")
        + name
        + len(public_key).to_bytes(4, "big")
        + public_key
    ).digest()


def record_digest(record: str, payload: bytes) -> bytes:
    """Digest a record's payload (signatures left out), a wrap or a ciphertext: 32 bytes.

    Args:
        record: Its name in the formats: statement, dispatch, delivery, lane-head, roster, wrap, ciphertext …
        payload: The bytes exactly as received or made.
    """
    return hashlib.sha256(b"exchange/v1/" + record.encode() + b"\0" + payload).digest()


def records_digest(roster: bytes, manifest: bytes, key_sheet: bytes) -> bytes:
    """Return one digest over those of an agency's three records in force: 32 bytes.

    Args:
        roster: 32 bytes, its ``record_digest``.
        manifest: 32 bytes; 32 zero bytes where none of the agency is known.
        key_sheet: As *manifest*.

    Raises:
        ValueError: One of them has not 32 bytes: two lists of three would have one digest.

    Source: proto/README.md, section 1.
    """
    if not len(roster) == len(manifest) == len(key_sheet) == DIGEST_BYTES:
        raise ValueError("a digest of records is made of three digests of 32 bytes")
    return record_digest("records", roster + manifest + key_sheet)


def federation_id(roster1_payload: bytes) -> bytes:
    """Name a federation by its first roster, which carries 32 zero bytes in that field itself."""
    return record_digest("federation", roster1_payload)


def short(digest: bytes) -> str:
    """Show a digest to people: its first eight hex digits."""
    return digest[:4].hex()


def _shown(text: str) -> str:
    """Quote a stranger's text for an error message: ASCII, short."""
    return ascii(text if len(text) <= 40 else text[:40] + "…")
