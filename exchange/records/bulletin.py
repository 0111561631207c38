"""A bulletin is its generated message; its bytes are signed as they are and never written again.

The schema is the rules, so no second class repeats it. This module holds the two directions of the bytes and the few
facts that the node needs without understanding a kind.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from enum import IntEnum
from functools import cache
from uuid import UUID

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from audit.record.wire import need_agency
from exchange.v1.bulletin_pb2 import Addressee, Bulletin
from keys.errors import RefusedError
from keys.identity import AgencyId
from keys.scan import parse_scanned, scan

_UUID7 = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")  # RFC 9562, section 5.7
MAX_BULLETIN_BYTES = 1 << 20  # what a sealed body may hold; an officer's file is at most a quarter of it
EPOCH = dt.date(1970, 1, 1)

# Body key (as in YAML) -> field number, in the order of the schema.
KINDS = {field.name: field.number for field in Bulletin.DESCRIPTOR.oneofs_by_name["body"].fields}


class Tlp(IntEnum):
    """Who may be told, least restrictive first (TLP 2.0)."""

    CLEAR = 1
    GREEN = 2
    AMBER = 3
    AMBER_STRICT = 4
    RED = 5


class Classification(IntEnum):
    """Protective marking, lowest first; TOP SECRET may not enter this system."""

    UNCLASSIFIED = 1
    RESTRICTED = 2
    CONFIDENTIAL = 3
    SECRET = 4


def parse_bulletin(data: bytes, *, newer_minor: bool = False) -> Bulletin:
    """Parse a bulletin after the strict wire scan.

    Args:
        data: The bytes that were signed.
        newer_minor: The catalogue in force names a newer schema, so canonical unknown fields are admitted.

    Raises:
        RefusedError: MALFORMED, or NOT_UNDERSTOOD for unknown fields that are not admitted.
    """
    if len(data) > MAX_BULLETIN_BYTES:
        raise RefusedError("MALFORMED", f"bulletin of {len(data)} bytes, at most {MAX_BULLETIN_BYTES}")
    return parse_scanned(data, Bulletin, unknown=newer_minor)


def encode_bulletin(bulletin: Bulletin) -> bytes:
    """Encode a bulletin once, for signing: ascending fields, no defaults, the form that the scan admits."""
    return bulletin.SerializeToString(deterministic=True)


def is_understood(data: bytes) -> bool:
    """Return whether every field of these (already scanned) bytes is in our schema."""
    return not scan(data, Bulletin.DESCRIPTOR, unknown=True)


def kind_of(bulletin: Bulletin) -> str:
    """Name the body key, as ``travel_alert``; "" where a newer schema's body is not understood."""
    return bulletin.WhichOneof("body") or ""


def id_bytes(bulletin_id: str) -> bytes:
    """Return the 16 bytes of a bulletin id, or raise RefusedError MALFORMED."""
    if not _UUID7.fullmatch(bulletin_id):
        raise RefusedError("MALFORMED", "bulletin_id is no lower-case UUID version 7")
    return bytes.fromhex(bulletin_id.replace("-", ""))


def uuid7(now_ms: int, random_bytes: bytes) -> str:
    """Make a bulletin id from a time and ten random bytes. Source: RFC 9562, section 5.7."""
    if len(random_bytes) != 10:
        raise ValueError(f"ten random bytes, not {len(random_bytes)}")
    value = int.from_bytes(now_ms.to_bytes(6) + random_bytes)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=value))


def uuid7_ms(bulletin_id: str) -> int:
    """Read the milliseconds UTC out of a bulletin id."""
    return int(bulletin_id[:8] + bulletin_id[9:13], 16)


def milliseconds(instant: Timestamp) -> int:
    """Convert to milliseconds UTC; the finer part is cut off."""
    return int(instant.seconds * 1000 + instant.nanos // 1_000_000)


def expires_ms(bulletin: Bulletin) -> int | None:
    """Return when the bulletin itself expires (which never stops transport), or None."""
    header = bulletin.header
    return milliseconds(header.expires_at) if header.HasField("expires_at") else None


def reply_by_ms(bulletin: Bulletin) -> int | None:
    """Return until when the originator wants an answer, or None."""
    header = bulletin.header
    return milliseconds(header.reply_by) if header.HasField("reply_by") else None


def retention_class(bulletin: Bulletin) -> int:
    """Return the number of the retention class (``class`` is a Python word)."""
    return int(getattr(bulletin.header.retention, "class"))


def review_day(bulletin: Bulletin) -> int:
    """Count the days from 1970-01-01 to the day of review; 0 where none is given or it is no date."""
    try:
        return max(0, (dt.date.fromisoformat(bulletin.header.retention.review_by) - EPOCH).days)
    except ValueError:
        return 0


def tlp_of(bulletin: Bulletin) -> Tlp:
    """Return the TLP; one that we do not know counts as the most restrictive."""
    value = bulletin.header.marking.tlp
    return Tlp(value) if Tlp.CLEAR <= value <= Tlp.RED else Tlp.RED


def classification_of(bulletin: Bulletin) -> Classification:
    """Return the protective marking; one that we do not know counts as the most restrictive."""
    value = bulletin.header.marking.classification
    known = Classification.UNCLASSIFIED <= value <= Classification.SECRET
    return Classification(value) if known else Classification.SECRET


def enum_word(enum: EnumDescriptor, number: int) -> str:
    """Write an enum value as officers do: ``AMBER_STRICT`` of ``Tlp`` is ``amber-strict``; "" for none.

    A number from a newer schema reads ``unknown-7``.
    """
    if number == 0:
        return ""
    value = enum.values_by_number.get(number)
    if value is None:
        return f"unknown-{number}"
    prefix = len(enum.values_by_number[0].name) - len("UNSPECIFIED")
    return value.name[prefix:].lower().replace("_", "-")


@cache
def enum_words(enum: EnumDescriptor) -> dict[str, int]:
    """Map an enum's words, as officers type them, to numbers; "unspecified" is none of them."""
    return {enum_word(enum, value.number): value.number for value in enum.values if value.number}


def recipients_of(addressees: Iterable[Addressee], sender: str) -> tuple[AgencyId, ...]:
    """Return the recipients that a bulletin's addressees mean: each once, ascending by bytes, the sender left out.

    Author's client, publishing, intake and reader each compute it again. Groups are no agencies yet and are refused.

    Raises:
        RefusedError: NO_RECIPIENT if nobody is left; MALFORMED for what is no agency.
    """
    found = {need_agency(addressee.agency) for addressee in addressees}
    recipients = tuple(sorted(agency for agency in found if agency != sender))
    if not recipients:
        raise RefusedError("NO_RECIPIENT", f"nobody but {sender} is addressed")
    return recipients
