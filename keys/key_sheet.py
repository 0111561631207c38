"""An agency's encryption keys and pins: the key sheet, signed by an operations key, often made again.

It is not believed after it expires; every encryption key in it must take a trial wrap (docs/design.md, "Manifest and key sheet").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from keys import bounds
from keys.dsse import SignedPayload, verify
from keys.identity import AgencyId, Usage, parse_agency, record_digest, split_owner
from keys.seal import register_encryption
from keys.signer import PublicKey
from keys.timed_key import (
    MAX_MAJOR,
    TimedKey,
    check_head,
    check_maker,
    check_time,
    parse_timed,
    rank_of,
    timed_message,
)
from keys.v1 import manifest_pb2

if TYPE_CHECKING:
    from keys.manifest import Manifest

MAX_ENCRYPTION_KEYS = 400  # a year of daily windows and the old ones
MAX_PINS = 2100  # every person twice while leaves change, and the node's


class PinKind(IntEnum):
    """Whose TLS leaf a pin is for; a node's is refused at the desk, a person's at the peers' listener."""

    NODE = 1
    OFFICER = 2
    SYSTEM = 3


_PIN_KINDS = frozenset(each.value for each in PinKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPin:
    """The public key of a TLS leaf, and whose it is."""

    owner: str  # AGENCY for a node, AGENCY/id for a person or a system
    kind: PinKind
    spki_sha256: bytes  # 32 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySheet:
    """An agency's encryption keys and pins, in one version."""

    federation_id: bytes
    agency: AgencyId
    version: int
    issued_ms: int
    expires_ms: int
    encryption_keys: tuple[TimedKey, ...]  # ascending by (from_ms, key id)
    pins: tuple[TlsPin, ...]  # ascending by (owner, spki)
    manifest_version: int = 0  # of the manifest in force when it was made; 0 in sheets of before, which are the lowest
    pins_by_spki: Mapping[bytes, TlsPin] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pins_by_spki", {each.spki_sha256: each for each in self.pins})

    @property
    def rank(self) -> int:
        """Return its place among its maker's key sheets: by the manifest that it names, then by its version."""
        return rank_of(self.manifest_version, self.version)

    def encryption_key(self, now_ms: int) -> PublicKey | None:
        """Return the key whose window holds this time and began last."""
        for each in reversed(self.encryption_keys):
            if each.from_ms <= now_ms < each.until_ms:  # holds_at, without a call for each: asked for every recipient
                return each.public
        return None

    def encode(self) -> bytes:
        """Encode to the payload that an operations key signs."""
        return bounds.encode_record(
            manifest_pb2.KeySheet(
                federation_id=self.federation_id,
                agency=self.agency,
                version=self.version,
                issued_ms=self.issued_ms,
                expires_ms=self.expires_ms,
                encryption_keys=[timed_message(each) for each in self.encryption_keys],
                pins=[
                    manifest_pb2.TlsPin(
                        owner=each.owner,
                        kind=manifest_pb2.PinKind.ValueType(each.kind),
                        spki_sha256=each.spki_sha256,
                    )
                    for each in self.pins
                ],
                manifest_version=self.manifest_version,
            )
        )


def parse_key_sheet(payload: bytes) -> KeySheet:
    """Parse a key sheet and check every bound, order and rule that needs no signature.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE, NOT_UNDERSTOOD, WRONG_MAKER, WRONG_TYPE, SUITE_UNKNOWN.
    """
    message = bounds.parse_record(payload, manifest_pb2.KeySheet)
    agency = parse_agency(message.agency)
    check_head(message, agency)
    keys = tuple(parse_timed(each, agency, Usage.ENCRYPTION) for each in message.encryption_keys)
    bounds.count(keys, 0, MAX_ENCRYPTION_KEYS, "encryption keys")
    bounds.ascending([(each.from_ms, each.public.key_id) for each in keys], "encryption keys")
    pins = tuple(_pin(each, agency) for each in message.pins)
    bounds.count(pins, 0, MAX_PINS, "pins")
    bounds.ascending([(each.owner, each.spki_sha256) for each in pins], "pins")
    bounds.require(len({each.spki_sha256 for each in pins}) == len(pins), "one pin stands for two owners")
    bounds.require(message.manifest_version <= MAX_MAJOR, f"a key sheet of {agency} names no manifest of ours")
    return KeySheet(
        federation_id=message.federation_id,
        agency=agency,
        version=message.version,
        issued_ms=message.issued_ms,
        expires_ms=message.expires_ms,
        encryption_keys=keys,
        pins=pins,
        manifest_version=message.manifest_version,
    )


def verify_key_sheet(signed: SignedPayload, manifest: Manifest, federation_id: bytes, now_ms: int | None) -> KeySheet:
    """Verify an agency's key sheet.

    1. the signature, by an operations key of the manifest whose window holds now, 2. form and bounds, 3. federation
    and agency, 4. time, 5. it names no manifest above this one, 6. each encryption key takes a trial wrap.

    Args:
        signed: As received.
        manifest: The agency's newest, verified.
        federation_id: Ours.
        now_ms: The receiver's clock, milliseconds UTC; None for one that was adopted before, whose time was right then.

    Raises:
        RefusedError: SIGNERS_DIFFER, WRONG_TYPE, SIGNER_UNKNOWN, KEY_EXPIRED, SIGNATURE_INVALID, WRONG_FEDERATION,
            WRONG_MAKER, KEY_SHEET_EXPIRED, CLOCK_DIFFERS, and as ``parse_key_sheet``.
    """
    verify(signed, "key-sheet", lambda key_id: manifest.operations_key(key_id, now_ms))  # 1
    sheet = parse_key_sheet(signed.payload)  # 2
    check_maker(sheet, manifest.agency, federation_id)  # 3
    if now_ms is not None:
        check_time(sheet, now_ms, "KEY_SHEET_EXPIRED")  # 4
    bounds.require(  # 5
        sheet.manifest_version <= manifest.version,
        f"key sheet {sheet.version} of {manifest.agency} names manifest {sheet.manifest_version},"
        f" {manifest.version} is in force here",
        "SIGNER_UNKNOWN",
    )
    for each in sheet.encryption_keys:  # 6
        register_encryption(each.key, owner=manifest.agency)
    return sheet


def key_sheet_digest(signed: SignedPayload) -> bytes:
    """Return the digest by which logs and peers name this key sheet."""
    return record_digest("key-sheet", signed.payload)


def _pin(message: manifest_pb2.TlsPin, agency: AgencyId) -> TlsPin:
    bounds.require(message.kind in _PIN_KINDS, "a pin has no kind of ours")
    kind = PinKind(message.kind)
    owner, person = split_owner(message.owner)
    bounds.require(owner == agency, f"a pin of {agency} has another owner", "WRONG_MAKER")
    bounds.require((person is None) == (kind is PinKind.NODE), "a pin's owner and kind do not fit")
    return TlsPin(owner=message.owner, kind=kind, spki_sha256=bounds.digest_field(message.spki_sha256, "a pin"))
