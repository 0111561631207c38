"""What manifests and key sheets share: keys with windows, and the checks of version, maker and time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from keys import bounds
from keys.identity import AgencyId, Usage, short
from keys.signer import KeyRecord, PublicKey, public_key
from keys.v1 import manifest_pb2

CLOCK_SKEW_MS = 600_000  # ten minutes: a record may be issued so much after our clock
MAX_MAJOR = (1 << 31) - 1  # of what orders before the version, so that a rank is a positive number of 64 bits


class Made(Protocol):
    """What every record of an agency says of itself."""

    @property
    def federation_id(self) -> bytes:
        """32 bytes."""

    @property
    def agency(self) -> AgencyId:
        """The maker."""

    @property
    def issued_ms(self) -> int:
        """Milliseconds UTC."""

    @property
    def expires_ms(self) -> int:
        """Milliseconds UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedKey:
    """A key and its window; ``until_ms`` is the first millisecond without it."""

    key: KeyRecord
    from_ms: int
    until_ms: int
    public: PublicKey = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "public", public_key(self.key))

    def holds_at(self, now_ms: int) -> bool:
        """Return whether the window holds this time."""
        return self.from_ms <= now_ms < self.until_ms

    def encode(self) -> bytes:
        """Encode by itself, as a file of the ceremony."""
        return bounds.encode_record(timed_message(self))


def rank_of(major: int, version: int) -> int:
    """Return the place of a record in its maker's order: first by *major*, then by version.

    Args:
        major: Of a manifest the sequence of the root that signed it, of a key sheet the manifest version that it names.
        version: The record's own.
    """
    return major << 32 | version


def shown_rank(rank: int) -> str:
    """Write a rank for people: the version, before it what it is under where there is such a number."""
    return f"{rank >> 32}.{rank & 0xFFFFFFFF}" if rank >> 32 else str(rank)


def check_head(message: manifest_pb2.Manifest | manifest_pb2.KeySheet, agency: AgencyId) -> None:
    bounds.digest_field(message.federation_id, "the federation id")
    bounds.require(message.version >= 1, f"a record of {agency} has no version")
    bounds.window(message.issued_ms, message.expires_ms, f"a record of {agency}")


def check_maker(record: Made, agency: AgencyId, federation_id: bytes) -> None:
    bounds.require(
        record.federation_id == federation_id,
        f"a record of federation {short(record.federation_id)} in {short(federation_id)}",
        "WRONG_FEDERATION",
    )
    bounds.require(record.agency == agency, f"a record of {record.agency} signed for {agency}", "WRONG_MAKER")


def check_time(record: Made, now_ms: int, expired: str) -> None:
    bounds.require(now_ms < record.expires_ms, f"a record of {record.agency} has expired", expired)
    check_issued(record, now_ms)


def check_issued(record: Made, now_ms: int) -> None:
    bounds.require(
        record.issued_ms <= now_ms + CLOCK_SKEW_MS,
        f"a record of {record.agency} is issued in the future",
        "CLOCK_DIFFERS",
    )


def require_in_window(holds: bool, key_id: bytes, agency: str) -> None:
    bounds.require(holds, f"key {short(key_id)} of {agency} is outside its window", "KEY_EXPIRED")


def parse_timed(message: manifest_pb2.TimedKey, agency: AgencyId, usage: Usage) -> TimedKey:
    record = KeyRecord.from_message(message.key)
    bounds.require(record.usage == usage, "a key of another usage stands in this list", "WRONG_TYPE")
    bounds.require(record.owner == agency, f"a key of {agency} has another owner", "WRONG_MAKER")
    bounds.window(message.from_ms, message.until_ms, f"key {short(record.key_id)}")
    return TimedKey(key=record, from_ms=message.from_ms, until_ms=message.until_ms)


def timed_message(each: TimedKey) -> manifest_pb2.TimedKey:
    return manifest_pb2.TimedKey(key=each.key.to_message(), from_ms=each.from_ms, until_ms=each.until_ms)
