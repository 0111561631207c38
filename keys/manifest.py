"""What an agency says of itself: its people, and its encryption keys and pins.

The **manifest** is signed by the agency's root, which stands in the roster: operations keys, officers and systems,
endpoints, log epochs. The **key sheet** is signed by an operations key of the manifest and changes often: encryption
keys with windows, and the pins of TLS leaves. Neither is believed after it expires; no key in them is registered
unless its owner is the agency (or one of its people) and it has signed its own key id (design, section 4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from keys import bounds
from keys.dsse import SignedPayload, verify
from keys.errors import RefusedError
from keys.identity import AgencyId, Usage, parse_agency, parse_officer, record_digest, short, split_owner
from keys.roster import Member
from keys.sealing import register_encryption
from keys.signing import KeyRecord, PublicKey, public_key, register
from keys.v1 import manifest_pb2

MAX_OPERATIONS_KEYS = 32
MAX_OFFICERS = 4000  # about 200 bytes each, within 1 MiB
MAX_ENDPOINTS = 8
MAX_LOG_EPOCHS = 256
MAX_ENCRYPTION_KEYS = 400  # a year of daily windows and the old ones
MAX_PINS = 4000
MAX_CEILING = 15  # exchange.v1.Classification has fewer values; what they mean is the catalogue's
CLOCK_SKEW_MS = 600_000  # ten minutes: a record may be issued so much after our clock

ROLES = frozenset({"auditor", "author", "reader", "releaser"})

_ENDPOINT = re.compile(r"([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\]):[1-9][0-9]{0,4}")


class PinKind(IntEnum):
    """Whose TLS leaf a pin is for; a node's is refused at the desk, a person's at the peers' listener."""

    NODE = 1
    OFFICER = 2
    SYSTEM = 3


_PIN_KINDS = frozenset(each.value for each in PinKind)


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
        """Say whether the window holds this time."""
        return self.from_ms <= now_ms < self.until_ms

    def encode(self) -> bytes:
        """Encode by itself, as a file of the ceremony."""
        return bounds.encode_record(_timed_message(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Officer:
    """An officer, or one of the agency's own systems, with the one key that the agency vouches for."""

    id: str
    key: KeyRecord  # usage OFFICER or SYSTEM; owner AGENCY/id
    roles: tuple[str, ...]  # of ROLES, ascending
    ceiling: int  # exchange.v1.Classification that this person may see and write up to
    from_ms: int
    until_ms: int
    public: PublicKey = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "public", public_key(self.key))

    @property
    def is_system(self) -> bool:
        """Say whether this is an automaton, which never releases."""
        return self.key.usage == Usage.SYSTEM

    def holds_at(self, now_ms: int) -> bool:
        """Say whether the person may act at this time."""
        return self.from_ms <= now_ms < self.until_ms

    def encode(self) -> bytes:
        """Encode by itself, as a file of the ceremony."""
        return bounds.encode_record(_officer_message(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEpoch:
    """An epoch of the agency's log; all but the first name where the one before ended."""

    epoch: int
    previous_origin: str = ""
    previous_size: int = 0
    previous_root: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An agency's people and operations keys, in one version."""

    federation_id: bytes
    agency: AgencyId
    version: int
    issued_ms: int
    expires_ms: int
    operations_keys: tuple[TimedKey, ...]  # ascending by (from_ms, key id)
    officers: tuple[Officer, ...]  # ascending by id
    endpoints: tuple[str, ...]  # host:port of the peers' listener, in order of preference
    log_epochs: tuple[LogEpoch, ...]  # ascending
    operations_by_id: Mapping[bytes, TimedKey] = field(init=False, repr=False, compare=False)
    officers_by_key: Mapping[bytes, Officer] = field(init=False, repr=False, compare=False)
    officers_by_id: Mapping[str, Officer] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_id = {each.public.key_id: each for each in self.operations_keys}
        object.__setattr__(self, "operations_by_id", by_id)
        object.__setattr__(self, "officers_by_key", {each.public.key_id: each for each in self.officers})
        object.__setattr__(self, "officers_by_id", {each.id: each for each in self.officers})

    @property
    def records(self) -> tuple[KeyRecord, ...]:
        """Every key record in it."""
        return (*(each.key for each in self.operations_keys), *(each.key for each in self.officers))

    def operations_key(self, key_id: bytes, now_ms: int) -> PublicKey:
        """Find an operations key by its id; RefusedError SIGNER_UNKNOWN or KEY_EXPIRED."""
        found = self.operations_by_id.get(key_id)
        if found is None:
            raise RefusedError("SIGNER_UNKNOWN", f"key {short(key_id)} is no operations key of {self.agency}")
        _require_in_window(found.holds_at(now_ms), key_id, self.agency)
        return found.public

    def person(self, key_id: bytes, now_ms: int) -> tuple[Officer, PublicKey]:
        """Find an officer or a system by the key; RefusedError SIGNER_UNKNOWN or KEY_EXPIRED."""
        found = self.officers_by_key.get(key_id)
        if found is None:
            raise RefusedError("SIGNER_UNKNOWN", f"key {short(key_id)} is nobody's of {self.agency}")
        _require_in_window(found.holds_at(now_ms), key_id, self.agency)
        return found, found.public

    def encode(self) -> bytes:
        """Encode to the payload that the agency's root signs."""
        return bounds.encode_record(
            manifest_pb2.Manifest(
                federation_id=self.federation_id,
                agency=self.agency,
                version=self.version,
                issued_ms=self.issued_ms,
                expires_ms=self.expires_ms,
                operations_keys=[_timed_message(each) for each in self.operations_keys],
                officers=[_officer_message(each) for each in self.officers],
                endpoints=self.endpoints,
                log_epochs=[
                    manifest_pb2.LogEpoch(
                        epoch=each.epoch,
                        previous_origin=each.previous_origin,
                        previous_size=each.previous_size,
                        previous_root=each.previous_root,
                    )
                    for each in self.log_epochs
                ],
            )
        )


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
    pins_by_spki: Mapping[bytes, TlsPin] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pins_by_spki", {each.spki_sha256: each for each in self.pins})

    def encryption_key(self, now_ms: int) -> PublicKey | None:
        """Give the key whose window holds this time and began last."""
        holding = [each for each in self.encryption_keys if each.holds_at(now_ms)]
        return holding[-1].public if holding else None

    def encode(self) -> bytes:
        """Encode to the payload that an operations key signs."""
        return bounds.encode_record(
            manifest_pb2.KeySheet(
                federation_id=self.federation_id,
                agency=self.agency,
                version=self.version,
                issued_ms=self.issued_ms,
                expires_ms=self.expires_ms,
                encryption_keys=[_timed_message(each) for each in self.encryption_keys],
                pins=[
                    manifest_pb2.TlsPin(
                        owner=each.owner,
                        kind=manifest_pb2.PinKind.ValueType(each.kind),
                        spki_sha256=each.spki_sha256,
                    )
                    for each in self.pins
                ],
            )
        )


def parse_manifest(payload: bytes) -> Manifest:
    """Parse a manifest and check every bound, order and rule that needs no signature.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE, NOT_UNDERSTOOD, WRONG_MAKER, WRONG_TYPE, SUITE_UNKNOWN.
    """
    message = bounds.parse_record(payload, manifest_pb2.Manifest)
    agency = parse_agency(message.agency)
    _check_head(message, agency)
    operations = tuple(_timed(each, agency, Usage.AGENCY) for each in message.operations_keys)
    bounds.count(operations, 1, MAX_OPERATIONS_KEYS, "operations keys")
    bounds.ascending([(each.from_ms, each.public.key_id) for each in operations], "operations keys")
    officers = tuple(_officer(each, agency) for each in message.officers)
    bounds.count(officers, 0, MAX_OFFICERS, "officers")
    bounds.ascending([each.id for each in officers], "officers")
    endpoints = tuple(message.endpoints)
    bounds.count(endpoints, 0, MAX_ENDPOINTS, "endpoints")
    bounds.require(
        len(set(endpoints)) == len(endpoints) and all(_ENDPOINT.fullmatch(each) for each in endpoints),
        "an endpoint is not host:port, or stands twice",
    )
    return Manifest(
        federation_id=message.federation_id,
        agency=agency,
        version=message.version,
        issued_ms=message.issued_ms,
        expires_ms=message.expires_ms,
        operations_keys=operations,
        officers=officers,
        endpoints=endpoints,
        log_epochs=_epochs(message),
    )


def parse_operations(data: bytes, agency: AgencyId) -> TimedKey:
    """Parse the file ``operations``: an operations key with its window; errors as ``parse_manifest``."""
    return _timed(bounds.parse_record(data, manifest_pb2.TimedKey), agency, Usage.AGENCY)


def parse_officer_entry(data: bytes, agency: AgencyId) -> Officer:
    """Parse the file ``officer``: one person's entry; errors as ``parse_manifest``."""
    return _officer(bounds.parse_record(data, manifest_pb2.Officer), agency)


def verify_manifest(signed: SignedPayload, member: Member, federation_id: bytes, now_ms: int) -> Manifest:
    """Verify an agency's manifest.

    1. the signature, by the root that the roster names for the member, 2. form and bounds, 3. federation and agency,
    4. time, 5. each key is the agency's or its person's, and has signed its own key id.

    Args:
        signed: As received.
        member: From the newest roster; the caller has checked that it takes part.
        federation_id: Ours.
        now_ms: The receiver's clock, milliseconds UTC.

    Raises:
        RefusedError: SIGNERS_DIFFER, WRONG_TYPE, SIGNER_UNKNOWN, SIGNATURE_INVALID, WRONG_FEDERATION, WRONG_MAKER,
            MANIFEST_EXPIRED, CLOCK_DIFFERS, and as ``parse_manifest``.
    """
    verify(signed, "manifest", {member.root_key.key_id: member.root_key}.get)
    manifest = parse_manifest(signed.payload)
    _check_maker(manifest, member.agency, federation_id)
    _check_time(manifest, now_ms, "MANIFEST_EXPIRED")
    for each in manifest.operations_keys:
        register(each.key, owner=member.agency, usage={Usage.AGENCY})
    for officer in manifest.officers:
        owner = f"{member.agency}/{officer.id}"
        register(officer.key, owner=owner, usage={Usage.OFFICER, Usage.SYSTEM})
    return manifest


def manifest_digest(signed: SignedPayload) -> bytes:
    """Give the digest by which logs and peers name this manifest."""
    return record_digest("manifest", signed.payload)


def parse_key_sheet(payload: bytes) -> KeySheet:
    """Parse a key sheet and check every bound, order and rule that needs no signature.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE, NOT_UNDERSTOOD, WRONG_MAKER, WRONG_TYPE, SUITE_UNKNOWN.
    """
    message = bounds.parse_record(payload, manifest_pb2.KeySheet)
    agency = parse_agency(message.agency)
    _check_head(message, agency)
    keys = tuple(_timed(each, agency, Usage.ENCRYPTION) for each in message.encryption_keys)
    bounds.count(keys, 0, MAX_ENCRYPTION_KEYS, "encryption keys")
    bounds.ascending([(each.from_ms, each.public.key_id) for each in keys], "encryption keys")
    pins = tuple(_pin(each, agency) for each in message.pins)
    bounds.count(pins, 0, MAX_PINS, "pins")
    bounds.ascending([(each.owner, each.spki_sha256) for each in pins], "pins")
    bounds.require(len({each.spki_sha256 for each in pins}) == len(pins), "one pin stands for two owners")
    return KeySheet(
        federation_id=message.federation_id,
        agency=agency,
        version=message.version,
        issued_ms=message.issued_ms,
        expires_ms=message.expires_ms,
        encryption_keys=keys,
        pins=pins,
    )


def verify_key_sheet(signed: SignedPayload, manifest: Manifest, federation_id: bytes, now_ms: int) -> KeySheet:
    """Verify an agency's key sheet.

    1. the signature, by an operations key of the manifest whose window holds now, 2. form and bounds, 3. federation
    and agency, 4. time, 5. each encryption key takes a trial wrap.

    Args:
        signed: As received.
        manifest: The agency's newest, verified.
        federation_id: Ours.
        now_ms: The receiver's clock, milliseconds UTC.

    Raises:
        RefusedError: SIGNERS_DIFFER, WRONG_TYPE, SIGNER_UNKNOWN, KEY_EXPIRED, SIGNATURE_INVALID, WRONG_FEDERATION,
            WRONG_MAKER, KEY_SHEET_EXPIRED, CLOCK_DIFFERS, and as ``parse_key_sheet``.
    """
    verify(signed, "key-sheet", lambda key_id: manifest.operations_key(key_id, now_ms))
    sheet = parse_key_sheet(signed.payload)
    _check_maker(sheet, manifest.agency, federation_id)
    _check_time(sheet, now_ms, "KEY_SHEET_EXPIRED")
    for each in sheet.encryption_keys:
        register_encryption(each.key, owner=manifest.agency)
    return sheet


def key_sheet_digest(signed: SignedPayload) -> bytes:
    """Give the digest by which logs and peers name this key sheet."""
    return record_digest("key-sheet", signed.payload)


def _check_head(message: manifest_pb2.Manifest | manifest_pb2.KeySheet, agency: AgencyId) -> None:
    bounds.digest_field(message.federation_id, "the federation id")
    bounds.require(message.version >= 1, f"a record of {agency} has no version")
    bounds.window(message.issued_ms, message.expires_ms, f"a record of {agency}")


def _check_maker(record: Manifest | KeySheet, agency: AgencyId, federation_id: bytes) -> None:
    bounds.require(
        record.federation_id == federation_id,
        f"a record of federation {short(record.federation_id)} in {short(federation_id)}",
        "WRONG_FEDERATION",
    )
    bounds.require(record.agency == agency, f"a record of {record.agency} signed for {agency}", "WRONG_MAKER")


def _check_time(record: Manifest | KeySheet, now_ms: int, expired: str) -> None:
    bounds.require(now_ms < record.expires_ms, f"a record of {record.agency} has expired", expired)
    bounds.require(
        record.issued_ms <= now_ms + CLOCK_SKEW_MS,
        f"a record of {record.agency} is issued in the future",
        "CLOCK_DIFFERS",
    )


def _require_in_window(holds: bool, key_id: bytes, agency: str) -> None:
    bounds.require(holds, f"key {short(key_id)} of {agency} is outside its window", "KEY_EXPIRED")


def _timed(message: manifest_pb2.TimedKey, agency: AgencyId, usage: Usage) -> TimedKey:
    record = KeyRecord.from_message(message.key)
    bounds.require(record.usage == usage, "a key of another usage stands in this list", "WRONG_TYPE")
    bounds.require(record.owner == agency, f"a key of {agency} has another owner", "WRONG_MAKER")
    bounds.window(message.from_ms, message.until_ms, f"key {short(record.key_id)}")
    return TimedKey(key=record, from_ms=message.from_ms, until_ms=message.until_ms)


def _officer(message: manifest_pb2.Officer, agency: AgencyId) -> Officer:
    name = parse_officer(message.id)
    record = KeyRecord.from_message(message.key)
    bounds.require(record.usage in (Usage.OFFICER, Usage.SYSTEM), "a person's key is of another usage", "WRONG_TYPE")
    bounds.require(record.owner == f"{agency}/{name}", f"the key of {name} has another owner", "WRONG_MAKER")
    bounds.window(message.from_ms, message.until_ms, f"officer {name}")
    bounds.ascending(message.roles, "roles")
    bounds.require(bool(message.roles) and ROLES.issuperset(message.roles), f"{name} has no role, or an unknown one")
    bounds.require(0 < message.ceiling <= MAX_CEILING, f"{name} has no ceiling of ours")
    return Officer(
        id=name,
        key=record,
        roles=tuple(message.roles),
        ceiling=message.ceiling,
        from_ms=message.from_ms,
        until_ms=message.until_ms,
    )


def _epochs(message: manifest_pb2.Manifest) -> tuple[LogEpoch, ...]:
    bounds.count(message.log_epochs, 1, MAX_LOG_EPOCHS, "log epochs")
    bounds.ascending([each.epoch for each in message.log_epochs], "log epochs")
    for each in message.log_epochs:
        fields = (bool(each.previous_origin), bool(each.previous_size), len(each.previous_root) == 32)
        first = each.epoch == 1 and not (any(fields) or each.previous_root)
        bounds.require(
            first or (each.epoch > 1 and all(fields) and len(each.previous_origin) <= 255),
            "a log epoch names its predecessor wrongly",
        )
    return tuple(
        LogEpoch(
            epoch=each.epoch,
            previous_origin=each.previous_origin,
            previous_size=each.previous_size,
            previous_root=each.previous_root,
        )
        for each in message.log_epochs
    )


def _pin(message: manifest_pb2.TlsPin, agency: AgencyId) -> TlsPin:
    bounds.require(message.kind in _PIN_KINDS, "a pin has no kind of ours")
    kind = PinKind(message.kind)
    owner, person = split_owner(message.owner)
    bounds.require(owner == agency, f"a pin of {agency} has another owner", "WRONG_MAKER")
    bounds.require((person is None) == (kind is PinKind.NODE), "a pin's owner and kind do not fit")
    return TlsPin(owner=message.owner, kind=kind, spki_sha256=bounds.digest_field(message.spki_sha256, "a pin"))


def _timed_message(each: TimedKey) -> manifest_pb2.TimedKey:
    return manifest_pb2.TimedKey(key=each.key.to_message(), from_ms=each.from_ms, until_ms=each.until_ms)


def _officer_message(each: Officer) -> manifest_pb2.Officer:
    return manifest_pb2.Officer(
        id=each.id,
        key=each.key.to_message(),
        roles=each.roles,
        ceiling=each.ceiling,
        from_ms=each.from_ms,
        until_ms=each.until_ms,
    )
