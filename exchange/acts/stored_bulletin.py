"""Stored bulletins, opened under the storage key: for a reader whose entry is durable, and to check a correction."""

from __future__ import annotations

from exchange.records.bulletin import id_bytes, parse_bulletin
from exchange.records.corrections import mismatches
from exchange.records.dispatch import parse_dispatch
from exchange.records.sealed_statement import open_sealed
from exchange.records.statement import parse_statement
from exchange.store.storage_key import StorageKeys
from exchange.store.store import Content, HeldBulletin, Reads
from exchange.v1 import bulletin_pb2
from exchange.v1.bulletin_pb2 import Bulletin
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError
from keys.identity import short


def open_content(content: Content, held: HeldBulletin, storage: StorageKeys) -> SignedPayload:
    """Open stored bytes under the storage key.

    Raises:
        RefusedError: KEY_GONE, erased or under a storage key that was destroyed.
        IntegrityError: They are not what was stored.
    """
    if content.erased:
        raise RefusedError("KEY_GONE", f"bulletin {short(held.bulletin_id)} was erased")
    dispatch = parse_dispatch(SignedPayload.decode(content.dispatch).payload)
    content_key = storage.recover(content.stored_key, held.statement_digest)
    try:
        return open_sealed(dispatch, content.body, content_key)
    except RefusedError as error:
        raise IntegrityError(f"bulletin {short(held.bulletin_id)} does not open as it was stored: {error}") from error


def corrected_by(bulletin: Bulletin, sender: str, reads: Reads, storage: StorageKeys) -> Bulletin | None:
    """Open what a correction is about; None where it is none, or its target has not come yet or is erased.

    The node looks at its own bytes to compare one value; nobody is shown anything.
    """
    for relation in bulletin.header.relations:
        if relation.type != bulletin_pb2.RELATION_TYPE_CORRECTS or not relation.bulletin_id:
            continue
        held = reads.find(sender, id_bytes(relation.bulletin_id))
        content = reads.content(held.entry_index) if held is not None else None
        if held is not None and content is not None and not content.erased:
            signed = open_content(content, held, storage)
            return parse_bulletin(parse_statement(signed.payload).bulletin, newer_minor=held.facts.not_understood)
    return None


def check_correction(correction: Bulletin, target: Bulletin) -> None:
    """Refuse a correction whose old values are not those of its target.

    Raises:
        RefusedError: TARGET_DIFFERS, naming the path.
    """
    for path in mismatches(correction, target):
        raise RefusedError("TARGET_DIFFERS", f"the old value at {path[:80]!a} is not what stands there")
