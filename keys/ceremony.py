"""How a federation begins, as functions of values: each step takes what the step before handed out.

1. The federation's name and its catalogue. 2. Each agency makes its keys (``make_agency``) and sends its application.
3. Somebody puts roster 1 together. 4. Every roster root signs it. 5. Its digest is the federation's id; people compare
its twelve words. 6. Each agency's root signs the manifest, 7. its operations key the key sheet. 8. Each node's log
begins with GENESIS, whose digest is the roster's; that step is the node's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from keys import certificate
from keys.agency import (
    ENTRY_FILE,
    ISSUING_FILE,
    OPERATIONS_FILE,
    TLS_FILE,
    AgencyKeys,
    MadeOfficer,
    Person,
    load_application,
    load_authority,
    make_agency,
    make_officer,
    make_windows,
    save_agency,
    save_officer,
)
from keys.dsse import SignedPayload, add, sign
from keys.durations import YEAR_MS
from keys.errors import RefusedError
from keys.identity import AgencyId, federation_id, short
from keys.key_files import OFFICERS_FOLDER, NodeKeys
from keys.key_sheet import KeySheet, PinKind, TlsPin, parse_key_sheet
from keys.manifest import LogEpoch, Manifest, Officer, parse_manifest, parse_officer_entry, parse_operations
from keys.roster import FIRST_ID, Application, ExternalWitness, Roster, load_signed, parse_roster, save_signed
from keys.signer import Signer
from keys.timed_key import TimedKey

__all__ = [
    "AgencyKeys",
    "MadeOfficer",
    "Person",
    "RecordHead",
    "RosterTerms",
    "agency_key_sheet",
    "agency_manifest",
    "default_quorum",
    "load_application",
    "load_authority",
    "load_signed",
    "make_agency",
    "make_key_sheet",
    "make_manifest",
    "make_officer",
    "make_roster_1",
    "make_windows",
    "member_of",
    "read_entries",
    "read_issuing",
    "read_pins",
    "save_agency",
    "save_officer",
    "save_signed",
    "sign_roster",
]

FIRST_EPOCH = (LogEpoch(epoch=1),)


def member_of(keys: AgencyKeys) -> Application:
    """Return what the agency sends to the person who puts the roster together."""
    return keys.application


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterTerms:
    """What the founders agree on beside who they are."""

    valid_ms: int = YEAR_MS  # until the roster expires
    threshold: int | None = None  # owners of roots that later versions need; None for more than half of them
    witness_quorum: int | None = None  # cosignatures that make a checkpoint witnessed; None for ``default_quorum``


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHead:
    """What a manifest and a key sheet begin with."""

    agency: AgencyId
    federation: bytes  # its id
    now_ms: int  # issued, milliseconds UTC
    version: int = 1
    valid_ms: int | None = None  # None for a year; of a key sheet for as long as its last encryption key
    manifest_version: int = 1  # of a key sheet: the manifest in force; its versions begin again under each
    log_epochs: tuple[LogEpoch, ...] = FIRST_EPOCH  # of a manifest: those that the agency's log has had


FOUNDING = RosterTerms()


def make_roster_1(
    applications: Sequence[Application],
    *,
    catalogue_digest: bytes,
    now_ms: int,
    witnesses: Sequence[ExternalWitness] = (),
    terms: RosterTerms = FOUNDING,
) -> SignedPayload:
    """Put the first roster together, unsigned: members numbered by their codes' order, from 1.

    Args:
        applications: One for each agency, all for one federation name.
        catalogue_digest: Of the catalogue in force.
        now_ms: Issued, milliseconds UTC.
        witnesses: Without a node; their own files, decoded. They count with the other members in ``default_quorum``.
        terms: As agreed.

    Raises:
        RefusedError: MALFORMED where names differ, no agency brings a root, or anything is out of bounds.
    """
    names = {each.federation_name for each in applications}
    if len(names) != 1:
        raise RefusedError("MALFORMED", f"the applications name {len(names)} federations")
    ordered = sorted(applications, key=lambda each: each.member.agency)
    roots = sorted((each.roster_root for each in ordered if each.roster_root is not None), key=lambda root: root.key_id)
    quorum = default_quorum(len(ordered) - 1 + len(witnesses))
    roster = Roster(
        federation_id=FIRST_ID,
        version=1,
        federation_name=names.pop(),
        issued_ms=now_ms,
        expires_ms=now_ms + terms.valid_ms,
        roots=tuple(roots),
        threshold=terms.threshold if terms.threshold is not None else len({each.owner for each in roots}) // 2 + 1,
        catalogue_digest=catalogue_digest,
        members=tuple(replace(each.member, number=number) for number, each in enumerate(ordered, start=1)),
        witness_quorum=terms.witness_quorum if terms.witness_quorum is not None else quorum,
        witnesses=tuple(sorted(witnesses, key=lambda each: each.name)),
    )
    payload = roster.encode()
    parse_roster(payload)
    return SignedPayload(payload=payload)


def default_quorum(witnesses: int) -> int:
    """Return the cosignatures that make a checkpoint witnessed, of so many witnesses.

    Two thirds and one: the smallest number of which any so many honest ones exclude a split view and still answer.
    Of one or two witnesses it is all of them. Source: docs/log.md, "Quorum".
    """
    return 2 * witnesses // 3 + 1 if witnesses > 2 else witnesses


def sign_roster(signed: SignedPayload, signer: Signer) -> SignedPayload:
    """Add a root's signature, after a person has compared the twelve words.

    Raises:
        RefusedError: SIGNER_UNKNOWN if the roster does not name this root.
    """
    if signer.key.key_id not in {each.key_id for each in parse_roster(signed.payload).roots}:
        raise RefusedError("SIGNER_UNKNOWN", f"root {short(signer.key.key_id)} does not stand in this roster")
    return add(signed, "roster", signer)


def make_manifest(
    root: Signer,
    head: RecordHead,
    *,
    operations: Sequence[TimedKey],
    officers: Sequence[Officer],
    endpoints: Sequence[str],
    issuing: bytes = b"",
) -> SignedPayload:
    """Make and sign a manifest; *endpoints* are host:port of the peers' listener, *issuing* a certificate if any.

    Raises:
        RefusedError: As ``parse_manifest``; nothing is signed that nobody would adopt.
    """
    manifest = Manifest(
        federation_id=head.federation,
        agency=head.agency,
        version=head.version,
        issued_ms=head.now_ms,
        expires_ms=head.now_ms + (YEAR_MS if head.valid_ms is None else head.valid_ms),
        operations_keys=tuple(sorted(operations, key=lambda each: (each.from_ms, each.public.key_id))),
        officers=tuple(sorted(officers, key=lambda each: each.id)),
        endpoints=tuple(endpoints),
        log_epochs=head.log_epochs,
        issuing=issuing,
    )
    payload = manifest.encode()
    parse_manifest(payload)
    return sign(payload, ("manifest", root))


def make_key_sheet(
    operations: Signer, head: RecordHead, *, encryption: Sequence[TimedKey], pins: Sequence[TlsPin]
) -> SignedPayload:
    """Make and sign a key sheet.

    Raises:
        RefusedError: As ``parse_key_sheet``.
    """
    last = max((each.until_ms for each in encryption), default=head.now_ms + YEAR_MS)
    sheet = KeySheet(
        federation_id=head.federation,
        agency=head.agency,
        version=head.version,
        issued_ms=head.now_ms,
        expires_ms=last if head.valid_ms is None else head.now_ms + head.valid_ms,
        encryption_keys=tuple(sorted(encryption, key=lambda each: (each.from_ms, each.public.key_id))),
        pins=tuple(sorted(pins, key=lambda each: (each.owner, each.spki_sha256))),
        manifest_version=head.manifest_version,
    )
    payload = sheet.encode()
    parse_key_sheet(payload)
    return sign(payload, ("key-sheet", operations))


def agency_manifest(keys: AgencyKeys, roster: SignedPayload, endpoints: Sequence[str], now_ms: int) -> SignedPayload:
    """Make the first manifest of an agency whose keys are all here."""
    return make_manifest(
        keys.root.root,
        RecordHead(agency=keys.agency, federation=federation_id(roster.payload), now_ms=now_ms),
        operations=[keys.operations],
        officers=[each.entry for each in keys.officers],
        endpoints=endpoints,
        issuing=keys.issuing,
    )


def agency_key_sheet(keys: AgencyKeys, roster: SignedPayload, now_ms: int) -> SignedPayload:
    """Make the first key sheet of an agency whose keys are all here."""
    pins = [_pin(keys.agency, PinKind.NODE, keys.tls_leaf)]
    for each in keys.officers:
        kind = PinKind.SYSTEM if each.entry.is_system else PinKind.OFFICER
        pins.append(_pin(each.entry.key.owner, kind, each.tls_leaf))
    return make_key_sheet(
        keys.node.operations,
        RecordHead(agency=keys.agency, federation=federation_id(roster.payload), now_ms=now_ms),
        encryption=window_keys(keys.node),
        pins=pins,
    )


def window_keys(node: NodeKeys) -> list[TimedKey]:
    """Return the public halves of a node's encryption keys, as the key sheet lists them."""
    return [each.timed() for each in node.encryption]


def read_entries(home: Path, agency: AgencyId) -> tuple[TimedKey, list[Officer]]:
    """Read what a manifest needs from a home folder without opening a key; errors as ``parse_manifest``."""
    operations = parse_operations((home / OPERATIONS_FILE).read_bytes(), agency)
    files = sorted((home / OFFICERS_FOLDER).glob(f"*/{ENTRY_FILE}"))
    return operations, [parse_officer_entry(each.read_bytes(), agency) for each in files]


def read_issuing(home: Path) -> bytes:
    """Read the issuing key's certificate from a home folder; empty where the agency has none, or took it away."""
    path = home / ISSUING_FILE
    return path.read_bytes() if path.exists() else b""


def read_pins(home: Path, agency: AgencyId) -> list[TlsPin]:
    """Read the pins of all leaves in a home folder; errors as ``parse_manifest``."""
    pins = [_pin(agency, PinKind.NODE, (home / TLS_FILE).read_bytes())]
    for each in read_entries(home, agency)[1]:
        kind = PinKind.SYSTEM if each.is_system else PinKind.OFFICER
        pins.append(_pin(each.key.owner, kind, (home / OFFICERS_FOLDER / each.id / TLS_FILE).read_bytes()))
    return pins


def _pin(owner: str, kind: PinKind, leaf: bytes) -> TlsPin:
    return TlsPin(owner=owner, kind=kind, spki_sha256=certificate.spki_sha256(leaf))
