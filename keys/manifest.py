"""What an agency says of itself: its people, in the manifest; the key sheet beside it has a module of its own.

The **manifest** is signed by the agency's root, which stands in the roster: operations keys, officers and systems,
endpoints, log epochs. The **key sheet** is signed by an operations key of the manifest and changes often: encryption
keys with windows, and the pins of TLS leaves. Neither is believed after it expires; no key in them is registered
unless its owner is the agency (or one of its people) and it has signed its own key
id (docs/design.md, "Manifest and key sheet").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from keys import bounds
from keys.dsse import SignedPayload, verify
from keys.errors import RefusedError
from keys.identity import AgencyId, Usage, parse_agency, parse_officer, record_digest, short
from keys.issuing import MAX_ISSUING_BYTES, check_issuing
from keys.roster import Member
from keys.signer import KeyRecord, PublicKey, public_key, register
from keys.timed_key import (
    MAX_MAJOR,
    TimedKey,
    check_head,
    check_maker,
    check_time,
    parse_timed,
    require_in_window,
    timed_message,
)
from keys.v1 import manifest_pb2

MAX_OPERATIONS_KEYS = 32
MAX_OFFICERS = 1000  # thirteen fields each, within the scan's 20,000
MAX_ENDPOINTS = 8
MAX_LOG_EPOCHS = 256
MAX_CEILING = 15  # exchange.v1.Classification has fewer values; what they mean is the catalogue's

ROLES = frozenset({"auditor", "author", "reader", "releaser"})

_ENDPOINT = re.compile(r"([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\]):[1-9][0-9]{0,4}")


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
        """Return whether this is an automaton, which never releases."""
        return self.key.usage == Usage.SYSTEM

    def holds_at(self, now_ms: int) -> bool:
        """Return whether the person may act at this time."""
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
    issuing: bytes = b""  # DER; empty where no key beside the node renews its leaf
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

    def operations_key(self, key_id: bytes, now_ms: int | None) -> PublicKey:
        """Find an operations key by its id, at any time if none is given; RefusedError SIGNER_UNKNOWN, KEY_EXPIRED."""
        found = self.operations_by_id.get(key_id)
        if found is None:
            raise RefusedError("SIGNER_UNKNOWN", f"key {short(key_id)} is no operations key of {self.agency}")
        require_in_window(now_ms is None or found.holds_at(now_ms), key_id, self.agency)
        return found.public

    def person(self, key_id: bytes, now_ms: int) -> tuple[Officer, PublicKey]:
        """Find an officer or a system by the key; RefusedError SIGNER_UNKNOWN or KEY_EXPIRED."""
        found = self.officers_by_key.get(key_id)
        if found is None:
            raise RefusedError("SIGNER_UNKNOWN", f"key {short(key_id)} is nobody's of {self.agency}")
        require_in_window(found.holds_at(now_ms), key_id, self.agency)
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
                operations_keys=[timed_message(each) for each in self.operations_keys],
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
                issuing=self.issuing,
            )
        )


def parse_manifest(payload: bytes) -> Manifest:
    """Parse a manifest and check every bound, order and rule that needs no signature.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE, NOT_UNDERSTOOD, WRONG_MAKER, WRONG_TYPE, SUITE_UNKNOWN.
    """
    message = bounds.parse_record(payload, manifest_pb2.Manifest)
    agency = parse_agency(message.agency)
    check_head(message, agency)
    bounds.require(message.version <= MAX_MAJOR, f"a manifest of {agency} has a version beyond {MAX_MAJOR}")
    operations = tuple(parse_timed(each, agency, Usage.AGENCY) for each in message.operations_keys)
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
    bounds.require(len(message.issuing) <= MAX_ISSUING_BYTES, "the issuing key's certificate is too large")
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
        issuing=message.issuing,
    )


def parse_operations(data: bytes, agency: AgencyId) -> TimedKey:
    """Parse the file ``operations``: an operations key with its window; errors as ``parse_manifest``."""
    return parse_timed(bounds.parse_record(data, manifest_pb2.TimedKey), agency, Usage.AGENCY)


def parse_officer_entry(data: bytes, agency: AgencyId) -> Officer:
    """Parse the file ``officer``: one person's entry; errors as ``parse_manifest``."""
    return _officer(bounds.parse_record(data, manifest_pb2.Officer), agency)


def verify_manifest(signed: SignedPayload, member: Member, federation_id: bytes, now_ms: int | None) -> Manifest:
    """Verify an agency's manifest.

    1. the signature, by the root that the roster names for the member, 2. form and bounds, 3. federation and agency,
    4. time, 5. each key is the agency's or its person's, and has signed its own key id, 6. the issuing key's
    certificate has our profile, under the CA that the roster names.

    Args:
        signed: As received.
        member: From the newest roster; the caller has checked that it takes part.
        federation_id: Ours.
        now_ms: The receiver's clock, milliseconds UTC; None for one that was adopted before, whose time was right then.

    Raises:
        RefusedError: SIGNERS_DIFFER, WRONG_TYPE, SIGNER_UNKNOWN, SIGNATURE_INVALID, WRONG_FEDERATION, WRONG_MAKER,
            MANIFEST_EXPIRED, CLOCK_DIFFERS, PEER_UNTRUSTED, and as ``parse_manifest``.
    """
    verify(signed, "manifest", {member.root_key.key_id: member.root_key}.get)
    manifest = parse_manifest(signed.payload)
    check_maker(manifest, member.agency, federation_id)
    if now_ms is not None:
        check_time(manifest, now_ms, "MANIFEST_EXPIRED")
    for each in manifest.operations_keys:
        register(each.key, owner=member.agency, usage={Usage.AGENCY})
    for officer in manifest.officers:
        owner = f"{member.agency}/{officer.id}"
        register(officer.key, owner=owner, usage={Usage.OFFICER, Usage.SYSTEM})
    if manifest.issuing:
        check_issuing(manifest.issuing, member.tls_ca, member.agency)
    return manifest


def manifest_digest(signed: SignedPayload) -> bytes:
    """Return the digest by which logs and peers name this manifest."""
    return record_digest("manifest", signed.payload)


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


def _officer_message(each: Officer) -> manifest_pb2.Officer:
    return manifest_pb2.Officer(
        id=each.id,
        key=each.key.to_message(),
        roles=each.roles,
        ceiling=each.ceiling,
        from_ms=each.from_ms,
        until_ms=each.until_ms,
    )
