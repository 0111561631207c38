"""The directory: which rosters, manifests and key sheets a node has adopted, and how it came to them.

A record is verified, written down and logged before it is used. Own records come first, in the order GENESIS,
ROSTER_ADOPTED, MANIFEST_ADOPTED, KEY_SHEET_ADOPTED; a lower version than the known one is refused, two digests for one
version are evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from audit.entry.entry import Body, Kind, Outcome
from exchange.acts.node_view import NodeView
from exchange.acts.unit_of_work import UnitOfWork
from exchange.store.rows import AdoptedRecord
from exchange.store.store import Reads
from keys.dsse import SignedPayload, payload_type
from keys.errors import RefusedError
from keys.federation import Adopted, Federation
from keys.identity import AgencyId, record_digest, records_digest, short
from keys.key_sheet import KeySheet, PinKind, parse_key_sheet
from keys.manifest import Manifest, parse_manifest
from keys.roster import Roster
from keys.timed_key import shown_rank


class RecordKind(IntEnum):
    """The numbers of ``exchange.v1.RecordKind``."""

    ROSTER = 1
    MANIFEST = 2
    KEY_SHEET = 3
    REVOCATION = 4


END = 1 << 62  # behind every position
_Record = Adopted[Roster] | Adopted[Manifest] | Adopted[KeySheet]
_NAMES = {RecordKind.ROSTER: "roster", RecordKind.MANIFEST: "manifest", RecordKind.KEY_SHEET: "key-sheet"}
_KINDS = {
    RecordKind.ROSTER: Kind.ROSTER_ADOPTED,
    RecordKind.MANIFEST: Kind.MANIFEST_ADOPTED,
    RecordKind.KEY_SHEET: Kind.KEY_SHEET_ADOPTED,
}


ADOPTABLE = (RecordKind.MANIFEST, RecordKind.KEY_SHEET)  # in this order: a sheet is signed by a key of the manifest


def in_force(federation: Federation) -> dict[RecordKind, Mapping[AgencyId, Adopted[Any]]]:
    """Return what is adopted of each kind that agencies make, by agency."""
    return {RecordKind.MANIFEST: federation.manifests, RecordKind.KEY_SHEET: federation.key_sheets}


def digest_of(kind: RecordKind, signed: SignedPayload) -> bytes:
    """Return the digest of a record: its payload's, signatures left out."""
    return record_digest(_NAMES[kind], signed.payload)


class FreshRecord(NamedTuple):
    """A record that was adopted, as the view takes it up once it is durable."""

    federation: Federation
    position: int  # of the entry that says so
    now_ms: int  # when, milliseconds UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRecords:
    """What a node's log begins with."""

    agency: AgencyId  # ours
    roster: SignedPayload  # version 1
    manifest: SignedPayload  # ours
    key_sheet: SignedPayload  # ours
    catalogue: Mapping[str, bytes]  # the files that the roster's digest is of
    others: Sequence[SignedPayload] = ()  # members' manifests and key sheets, each agency's manifest first

    def federation(self, now_ms: int) -> Federation:
        """Verify roster, manifest and key sheet, and return what they amount to; errors as ``Federation``'s."""
        return Federation.found(self.roster).with_manifest(self.manifest, now_ms).with_key_sheet(self.key_sheet, now_ms)


def begin(work: UnitOfWork, first: FirstRecords, federation: Federation) -> None:
    """Write the first four entries of a log, GENESIS and our own records, then adopt the others'.

    Args:
        work: The first transaction of an empty log.
        first: What it begins with.
        federation: From ``first.federation``, so that its signatures are verified.

    Raises:
        RefusedError: NOT_A_MEMBER, and what adopting the others' records raises.
    """
    agency, member = first.agency, federation.roster.member(first.agency)
    if member is None:
        raise RefusedError("NOT_A_MEMBER", f"{agency} is not in roster {federation.roster.version}")
    genesis = digest_of(RecordKind.ROSTER, first.roster)
    work.log.add(Body(kind=Kind.GENESIS, digest=genesis))
    _write(work, RecordKind.ROSTER, "", federation.rosters[-1], 0)
    work.rows.add_catalogue(federation.roster.catalogue_digest, first.catalogue)
    _write(work, RecordKind.MANIFEST, agency, federation.manifests[agency], member.number)
    _write(work, RecordKind.KEY_SHEET, agency, federation.key_sheets[agency], member.number)
    for record in first.others:
        federation = adopt_into(work, kind_of_record(record), record, federation)


def begin_again(work: UnitOfWork, view: NodeView, catalogue: Mapping[str, bytes]) -> None:
    """Write the first four entries of a later epoch: GENESIS, then our own records, which the home may hold already.

    Args:
        work: The first transaction of the epoch.
        view: Ours, in that epoch.
        catalogue: The files of the newest roster's, where the home has lost them.
    """
    federation = view.federation
    genesis = work.log.add(Body(kind=Kind.GENESIS, digest=federation.rosters[0].digest))
    for roster in federation.rosters:
        _keep(work, RecordKind.ROSTER, "", roster, genesis)
    newest = federation.rosters[-1]
    work.log.add(Body(kind=Kind.ROSTER_ADOPTED, count=newest.record.version, digest=newest.digest))
    work.rows.add_catalogue(federation.roster.catalogue_digest, catalogue)
    manifest, sheet = federation.manifests[view.agency], federation.key_sheets[view.agency]
    _write_again(work, RecordKind.MANIFEST, view.agency, manifest, view.number)
    _write_again(work, RecordKind.KEY_SHEET, view.agency, sheet, view.number)


def adopt_again(work: UnitOfWork, view: NodeView) -> None:
    """Log that other members' records are in force, and keep those that the home had lost; manifests first."""
    federation = view.federation
    for kind, known in ((RecordKind.MANIFEST, federation.manifests), (RecordKind.KEY_SHEET, federation.key_sheets)):
        for agency in sorted(known):
            if agency != view.agency:
                _write_again(work, kind, agency, known[agency], view.member_number(agency))


def _write_again(work: UnitOfWork, kind: RecordKind, agency: str, known: _Record, number: int) -> None:
    _keep(work, kind, agency, known, _log_adopted(work, kind, known, number))


def _keep(work: UnitOfWork, kind: RecordKind, agency: str, known: _Record, index: int) -> None:
    """Keep a record that the home may have lost; what it has stays where it was adopted first."""
    if work.rows.record_by_digest(known.digest) is None:
        _add(work, kind, agency, known, index)


def _add(work: UnitOfWork, kind: RecordKind, agency: str, known: _Record, index: int) -> None:
    """Keep a record with the entry that adopted it."""
    work.rows.add_record(
        AdoptedRecord(
            kind=int(kind),
            agency=agency,
            version=known.record.version,
            rank=known.rank,
            position=work.position(index),
            digest=known.digest,
            signed=known.signed.encode(),
        )
    )


def _log_adopted(work: UnitOfWork, kind: RecordKind, known: _Record, number: int) -> int:
    return work.log.add(Body(kind=_KINDS[kind], peer=number, count=known.record.version, digest=known.digest))


def adopt(work: UnitOfWork, kind: RecordKind, signed: SignedPayload, view: NodeView) -> FreshRecord:
    """Verify a manifest or a key sheet, write it down, log it.

    Returns:
        What comes of it; it is in force once the transaction is durable.

    Raises:
        RefusedError: What the record's own checks raise; EQUIVOCATION for another record of a known version, for
            ``keep``; REPLAYED for an older version, MALFORMED for the very record that is known.
    """
    return _adopt(work, kind, signed, view.federation)


def adopt_into(work: UnitOfWork, kind: RecordKind, signed: SignedPayload, before: Federation) -> Federation:
    """As ``adopt``, where a node is only being made."""
    return _adopt(work, kind, signed, before).federation


def _adopt(work: UnitOfWork, kind: RecordKind, signed: SignedPayload, before: Federation) -> FreshRecord:
    federation, record = _verify(kind, signed, before, work.now_ms)
    agency = record.record.agency
    check_rank(find(work.rows, kind, agency), record, agency)  # 1
    member = federation.roster.member(agency)
    if member is None:
        raise RefusedError("NOT_A_MEMBER", f"{agency} is not in roster {federation.roster.version}")
    return FreshRecord(federation, _write(work, kind, agency, record, member.number), work.now_ms)


def with_record(kind: RecordKind, signed: SignedPayload, before: Federation, now_ms: int) -> Federation:
    """Return the federation with a record that is durable by now; others may have been adopted beside it."""
    return _verify(kind, signed, before, now_ms)[0]


def keep(work: UnitOfWork, kind: RecordKind, signed: SignedPayload, view: NodeView) -> None:
    """Keep the second of two records of one version, both signed by their maker; of each maker the first such pair.

    Args:
        work: The open transaction, not the one in which ``adopt`` refused.
        kind: Manifest or key sheet.
        signed: What ``adopt`` refused as EQUIVOCATION.
        view: Ours.
    """
    agency, _ = named(kind, signed)
    what = evidence_name(kind, agency)
    if any(kept == what for _, kept, _ in work.rows.evidence()):
        return
    body = Body(
        kind=Kind.REFUSED,
        peer=view.member_number(agency),
        outcome=Outcome.EQUIVOCATION,
        digest=digest_of(kind, signed),
    )
    work.rows.add_evidence(work.position(work.log.add(body)), what, signed.encode())


def evidence_name(kind: RecordKind, agency: str) -> str:
    """Name two records of one version as the evidence of it is named."""
    return f"{_NAMES[kind]} {agency}"


def named(kind: RecordKind, signed: SignedPayload) -> tuple[AgencyId, int]:
    """Return whose record this is and its version; what is refused is malformed or of no kind that is adopted."""
    if kind is RecordKind.MANIFEST:
        manifest = parse_manifest(signed.payload)
        return manifest.agency, manifest.version
    if kind is RecordKind.KEY_SHEET:
        sheet = parse_key_sheet(signed.payload)
        return sheet.agency, sheet.version
    raise RefusedError("NOT_UNDERSTOOD", f"records of kind {int(kind)} are not adopted")


def title(signed: SignedPayload) -> str:
    """Write a record as ``manifest 1 of TH-DSI``."""
    kind = kind_of_record(signed)
    agency, version = named(kind, signed)
    return f"{_NAMES[kind].replace('-', ' ')} {version} of {agency}"


def endpoints_before(reads: Reads, newest: Adopted[Manifest]) -> list[str]:
    """Return what an agency's manifests before the newest have said of where it is, the later ones' first."""
    agency = newest.record.agency
    kept = [each for each in reads.standing_records() if each.kind == RecordKind.MANIFEST and each.agency == agency]
    older = sorted(kept, key=lambda each: each.rank, reverse=True)
    signed = [SignedPayload.decode(each.signed) for each in older if each.digest != newest.digest]
    return [endpoint for each in signed for endpoint in parse_manifest(each.payload).endpoints]


def check_own(kind: RecordKind, signed: SignedPayload, view: NodeView, now_ms: int) -> None:
    """Refuse a record of our own that this node could not work under; records of others pass.

    A manifest 1 names the operations key that this node signs with, 2 leaves its log in the epoch in which it is. A key
    sheet 3 names no window, not yet over, whose key is not here, 4 pins a leaf that the one before has pinned for this
    node, so that peers go on knowing it.

    Raises:
        RefusedError: SIGNER_UNKNOWN, MALFORMED, UNOPENABLE, PEER_UNTRUSTED; and as the record's parser.
    """
    agency, _ = named(kind, signed)
    if agency != view.agency:
        return
    what = title(signed)
    if kind is RecordKind.MANIFEST:
        manifest = parse_manifest(signed.payload)
        if view.operations.key.key_id not in manifest.operations_by_id:  # 1
            raise RefusedError("SIGNER_UNKNOWN", f"{what} does not name the operations key that this node signs with")
        epoch = max(each.epoch for each in manifest.log_epochs)
        if epoch != view.epoch:  # 2
            how = "exchange node recover takes it" if epoch > view.epoch else "make it from the present manifest"
            raise RefusedError("MALFORMED", f"{what} is of epoch {epoch} of our log, which is in {view.epoch}: {how}")
    if kind is RecordKind.KEY_SHEET:
        sheet, known = parse_key_sheet(signed.payload), view.federation.key_sheets.get(agency)
        named_windows = {each.public.key_id for each in sheet.encryption_keys if each.until_ms > now_ms}
        if missing := named_windows - view.encryption.keys():  # 3
            raise RefusedError(
                "UNOPENABLE", f"{what} names {len(missing)} encryption keys that this node does not have"
            )
        pins = known.record.pins if known is not None else sheet.pins
        ours = {each.spki_sha256 for each in pins if each.kind is PinKind.NODE}
        if not any(each.spki_sha256 in ours for each in sheet.pins if each.kind is PinKind.NODE):  # 4
            raise RefusedError("PEER_UNTRUSTED", f"{what} pins no leaf by which peers know this node")


def is_known(reads: Reads, kind: RecordKind, signed: SignedPayload) -> bool:
    """Return whether this very record was adopted here before; errors as ``named``."""
    named(kind, signed)
    return reads.record_by_digest(digest_of(kind, signed)) is not None


def kind_of_record(signed: SignedPayload) -> RecordKind:
    """Return a record's kind by its signatures' payload type; RefusedError WRONG_TYPE where it has none of ours."""
    for kind, name in _NAMES.items():
        if signed.signatures and signed.signatures[0].payload_type == payload_type(name):
            return kind
    raise RefusedError("WRONG_TYPE", "neither a roster, a manifest nor a key sheet")


def _verify(
    kind: RecordKind, signed: SignedPayload, before: Federation, now_ms: int
) -> tuple[Federation, Adopted[Manifest] | Adopted[KeySheet]]:
    agency, _ = named(kind, signed)
    if kind is RecordKind.MANIFEST:
        federation = before.with_manifest(signed, now_ms)
        return federation, federation.manifests[agency]
    federation = before.with_key_sheet(signed, now_ms)
    return federation, federation.key_sheets[agency]


def records_of(reads: Reads, agency: str, before: int = END) -> bytes:
    """Return one digest over an agency's records in force, now or before a position."""
    return records_digest(*reads.records_at(agency, before).digests)


def find(reads: Reads, kind: RecordKind, agency: str) -> AdoptedRecord | None:
    """Return the newest version that is known."""
    versions = [record for record in reads.standing_records() if record.kind == kind and record.agency == agency]
    return max(versions, key=lambda record: record.rank, default=None)


def check_rank(known: AdoptedRecord | None, record: Adopted[Manifest] | Adopted[KeySheet], agency: str) -> None:
    """Refuse what does not go forward.

    Raises:
        RefusedError: EQUIVOCATION, MALFORMED.
    """
    if known is None or record.rank > known.rank:
        return
    version = shown_rank(record.rank)
    if record.rank == known.rank and record.digest != known.digest:
        text = f"{agency}: version {version} is {short(known.digest)} and {short(record.digest)}"
        raise RefusedError("EQUIVOCATION", text)
    raise RefusedError("MALFORMED", f"{agency}: version {version}, {shown_rank(known.rank)} is known already")


def _write(work: UnitOfWork, kind: RecordKind, agency: str, known: _Record, number: int) -> int:
    index = _log_adopted(work, kind, known, number)
    _add(work, kind, agency, known, index)
    return work.position(index)


def adopted(reads: Reads) -> list[AdoptedRecord]:
    """List the newest version of every record, ascending by kind and agency."""
    newest: dict[tuple[int, str], AdoptedRecord] = {}
    for record in reads.standing_records():
        newest[record.kind, record.agency] = record
    return [newest[key] for key in sorted(newest)]
