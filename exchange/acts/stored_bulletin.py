"""Stored bulletins, opened under the storage key: for a reader whose entry is durable, and to check a correction."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from audit.record.dispatch import Dispatch, ciphertext_digest, parse_dispatch
from audit.record.statement import parse_statement, statement_digest
from exchange.acts.node_view import NodeView
from exchange.acts.unit_of_work import UnitOfWork
from exchange.records.bulletin import (
    expires_ms,
    id_bytes,
    is_understood,
    kind_of,
    parse_bulletin,
    reply_by_ms,
    retention_class,
    review_day,
)
from exchange.records.corrections import mismatches
from exchange.records.sealed_statement import open_sealed
from exchange.rules.catalogue import Catalogue
from exchange.store.rows import AdoptedRecord, Content, Facts, StoredBulletin
from exchange.store.storage_key import ID_BYTES, StorageKeys
from exchange.store.store import Reads
from exchange.v1 import bulletin_pb2
from exchange.v1.bulletin_pb2 import Bulletin, Relation
from keys.dsse import SignedPayload, verify
from keys.durations import HOUR_MS
from keys.errors import IntegrityError, RefusedError
from keys.identity import short
from keys.manifest import Manifest, parse_manifest
from keys.seal import open_body, unpad
from keys.signer import PublicKey
from keys.values import hot_value

MANIFESTS = 2  # exchange.v1.RecordKind


def open_content(content: Content, stored: StoredBulletin, storage: StorageKeys) -> SignedPayload:
    """Open stored bytes under the storage key.

    Raises:
        RefusedError: KEY_GONE, erased or under a storage key that was destroyed.
        IntegrityError: They are not what was stored.
    """
    if is_lost(stored, content):
        raise RefusedError("KEY_GONE", f"bulletin {short(stored.bulletin_id)} was lost with this node's disk or keys")
    if content.erased:
        raise RefusedError("KEY_GONE", f"bulletin {short(stored.bulletin_id)} was erased")
    dispatch = parse_dispatch(SignedPayload.decode(content.dispatch).payload)
    content_key = storage.recover(content.stored_key, stored.statement_digest)
    try:
        return open_sealed(dispatch, content.body, content_key)
    except RefusedError as error:
        raise IntegrityError(f"bulletin {short(stored.bulletin_id)} does not open as it was stored: {error}") from error


def is_lost(stored: StoredBulletin, content: Content | None) -> bool:
    """Return whether a bulletin's content went with a disk or a key, and was not erased."""
    return content is not None and content.erased and not stored.erased


@hot_value(frozen=True, slots=True, kw_only=True)
class ReturnedContent:
    """The content of a bulletin that we had lost, verified."""

    stored: StoredBulletin
    facts: Facts
    content: Content


def check_returned(
    stored: StoredBulletin, sealed: tuple[bytes, bytes], content_key: bytes, view: NodeView, reads: Reads
) -> tuple[Facts, Content]:
    """Judge content that came back by what our own log says of it; it was judged whole when it was accepted.

    1 it opens as this very statement; 2 its author's signature, by a key of any manifest of the sender that we adopted.

    Args:
        stored: What was kept of the bulletin.
        sealed: The body, and our wrap; empty where we sent it.
        content_key: That opens the body.
        view: Ours.
        reads: What is committed.

    Returns:
        Its facts, and its content without the stored key.

    Raises:
        RefusedError: UNOPENABLE, STATEMENT_DIFFERS, SIGNERS_DIFFER, SIGNER_UNKNOWN, SIGNATURE_INVALID, ROSTER_UNKNOWN.
    """
    body, wrapped = sealed
    padded = open_body(content_key, view.federation.federation_id, stored.statement_digest, body)
    signed = SignedPayload.decode(unpad(padded))
    if statement_digest(signed.payload) != stored.statement_digest:  # 1
        raise RefusedError("STATEMENT_DIFFERS", f"bulletin {short(stored.bulletin_id)}: another statement came back")
    authors = _author_keys(stored.sender, reads)
    verify(signed, "statement", authors.get)  # 2
    statement = parse_statement(signed.payload)
    catalogue = view.catalogue(statement.roster_digest)
    newer = catalogue.schema_minor > 0
    bulletin = parse_bulletin(statement.bulletin, newer_minor=newer)
    due = reply_due(bulletin, catalogue, None if stored.sender == view.agency else stored.at_ms)
    facts = facts_of(bulletin, due, understood=not newer or is_understood(statement.bulletin))
    return facts, Content(dispatch=b"", body=body, wrap=wrapped, stored_key=b"")


def bring_back(work: UnitOfWork, back: ReturnedContent | None) -> None:
    """Store what came back, if it is still missing: meanwhile it may have been erased, or have come twice."""
    if back is None:
        return
    stored = work.rows.find(back.stored.sender, back.stored.bulletin_id)
    if stored is not None and is_lost(stored, work.rows.content(stored.entry_index)):
        work.rows.bring_back(stored.entry_index, back.facts, back.content)


def _author_keys(agency: str, reads: Reads) -> dict[bytes, PublicKey]:
    """Return the keys of every person that a manifest of an agency has named, by key id."""
    found = [each for each in reads.records() if each.kind == MANIFESTS and each.agency == agency]
    manifests = [parse_manifest(SignedPayload.decode(each.signed).payload) for each in found]
    return {officer.public.key_id: officer.public for each in manifests for officer in each.officers}


def check_showable(stored: StoredBulletin, storage: StorageKeys, reads: Reads) -> None:
    """Check all of a stored bulletin that can be checked without opening it, before a reading of it is entered.

    1 its bytes are here, and the storage key that opens them; 2 the body is the one that its dispatch names; 3 the
    dispatch is signed by its sender, and a manifest of the sender names the author's key.

    Raises:
        RefusedError: KEY_GONE; DAMAGED, the stored bytes are not what was received; SIGNER_UNKNOWN and those of
            signatures. One damaged bulletin is no reason to stop a node.
    """
    content = reads.content(stored.entry_index)
    if content is None or content.erased or content.stored_key[:ID_BYTES] not in storage.secrets:  # 1
        raise RefusedError("KEY_GONE", f"nothing here opens bulletin {short(stored.bulletin_id)} any more")
    signed = SignedPayload.decode(content.dispatch)
    dispatch = parse_dispatch(signed.payload)
    if ciphertext_digest(content.body) != dispatch.ciphertext_digest:  # 2
        raise RefusedError("DAMAGED", f"the body of bulletin {short(stored.bulletin_id)} is not what was received")
    manifest_of(stored, lambda each: author_key(dispatch) in each.officers_by_key, reads)  # 3
    maker = signed.signatures[0].key_id if signed.signatures else b""
    keys = manifest_of(stored, lambda each: maker in each.operations_by_id, reads)[0].operations_by_id
    verify(signed, "dispatch", lambda key_id: keys[key_id].public if key_id in keys else None)


def author_key(dispatch: Dispatch) -> bytes:
    """Return the key id of a dispatch's author: its first signer."""
    return dispatch.signers[0].key_id


def manifest_of(
    stored: StoredBulletin, names: Callable[[Manifest], bool], reads: Reads
) -> tuple[Manifest, AdoptedRecord]:
    """Return the sender's manifest that was in force where a bulletin was accepted, if it names a key.

    What came back after a loss was accepted again later: where that manifest does not name the key, the newest of the
    sender's that does.

    Args:
        stored: The bulletin.
        names: Whether a manifest names the key.
        reads: The store.

    Raises:
        RefusedError: SIGNER_UNKNOWN, none names it.
    """
    at = reads.records_at(stored.sender, stored.entry_index).manifest
    others = [each for each in reads.records() if each.kind == MANIFESTS and each.agency == stored.sender]
    for each in (*((at,) if at is not None else ()), *reversed(others)):
        manifest = _manifest(each.signed)
        if names(manifest):
            return manifest, each
    raise RefusedError("SIGNER_UNKNOWN", f"no manifest of {stored.sender} that is here names a signer of its bulletin")


@lru_cache(16)
def _manifest(signed: bytes) -> Manifest:
    """Parse a manifest that was verified when it was adopted."""
    return parse_manifest(SignedPayload.decode(signed).payload)


def corrected_by(bulletin: Bulletin, sender: str, reads: Reads, storage: StorageKeys) -> Bulletin | None:
    """Open what a correction is about; None where it is none, or its target has not come yet or is erased.

    The node looks at its own bytes to compare one value; nobody is shown anything.
    """
    for relation in bulletin.header.relations:
        if relation.type != bulletin_pb2.RELATION_TYPE_CORRECTS or not relation.bulletin_id:
            continue
        stored = reads.find(sender, id_bytes(relation.bulletin_id))
        content = reads.content(stored.entry_index) if stored is not None else None
        if stored is not None and content is not None and not content.erased:
            signed = open_content(content, stored, storage)
            return parse_bulletin(parse_statement(signed.payload).bulletin, newer_minor=stored.facts.not_understood)
    return None


def check_correction(correction: Bulletin, target: Bulletin) -> None:
    """Refuse a correction whose old values are not those of its target.

    Raises:
        RefusedError: TARGET_DIFFERS, naming the path.
    """
    for path in mismatches(correction, target):
        raise RefusedError("TARGET_DIFFERS", f"the old value at {path[:80]!a} is not what stands there")


_TARGETED = frozenset(
    {
        bulletin_pb2.RELATION_TYPE_REPLIES_TO,
        bulletin_pb2.RELATION_TYPE_CORRECTS,
        bulletin_pb2.RELATION_TYPE_RECALLS,
        bulletin_pb2.RELATION_TYPE_SUPERSEDES,
    }
)


_RETENTION_CLASSES = frozenset(bulletin_pb2.RetentionClass.values())
_URGENCY_WORDS = {1: "flash", 2: "urgent", 3: "priority", 4: "routine"}


def facts_of(bulletin: Bulletin, reply_due_ms: int, *, understood: bool = True) -> Facts:
    """Take the facts out of a bulletin that passed its rules.

    Args:
        bulletin: Verified.
        reply_due_ms: From ``reply_due``.
        understood: False where it has fields of a newer schema.
    """
    header = bulletin.header
    return Facts(
        kind=kind_of(bulletin),
        number=header.number,
        tlp=header.marking.tlp,
        classification=header.marking.classification,
        urgency=header.urgency,
        status=header.status,
        reply_due_ms=reply_due_ms,
        expires_ms=expires_ms(bulletin) or 0,
        not_understood=not understood,
    )


def reply_due(bulletin: Bulletin, catalogue: Catalogue, received_ms: int | None) -> int:
    """Return when an answer is due, 0 where none is owed; the earlier of what the bulletin wants and the urgency's limit.

    Args:
        bulletin: Verified.
        catalogue: Its deadlines by urgency apply.
        received_ms: When it was received: the clock of a reply starts then. None where we sent it.
    """
    wanted = reply_by_ms(bulletin) or 0
    hours = catalogue.deadline_hours.get(_URGENCY_WORDS.get(bulletin.header.urgency, ""))
    if not wanted or received_ms is None or hours is None:
        return wanted
    return min(wanted, received_ms + hours * HOUR_MS)


def bulletin_id_of(bulletin: Bulletin) -> bytes:
    """Return the 16 bytes of the header's bulletin id; RefusedError MALFORMED for anything else."""
    return id_bytes(bulletin.header.bulletin_id)


def retention_of(bulletin: Bulletin) -> tuple[int, int]:
    """Return the retention rule's number and the day of review, counted from 1970-01-01.

    A class that our schema does not name (a newer one's; on the wire it may even be negative) is told as 0, no rule:
    the log holds what we understood, and the day of review holds whatever the class.
    """
    rule = retention_class(bulletin)
    return rule if rule in _RETENTION_CLASSES else 0, review_day(bulletin)


def needs_target(relation: Relation) -> bool:
    """Return whether a relation must name the statement it is about."""
    return relation.type in _TARGETED and bool(relation.bulletin_id)
