"""Corrections and recalls: kept by what they are about, applied when both are there, in whichever order they come."""

from __future__ import annotations

from audit.entry.entry import Body, Kind
from exchange.acts.unit_of_work import UnitOfWork
from exchange.records.bulletin import id_bytes
from exchange.store.rows import Notice
from exchange.v1 import bulletin_pb2
from exchange.v1.bulletin_pb2 import Bulletin

RECALLS = int(bulletin_pb2.RELATION_TYPE_RECALLS)
_KINDS = {int(bulletin_pb2.RELATION_TYPE_CORRECTS): Kind.CORRECTED, RECALLS: Kind.RECALLED}


def apply_notices(work: UnitOfWork, bulletin: Bulletin, sender: str, bulletin_id: bytes, index: int) -> None:
    """Note what a new bulletin says of others of its sender, and what others have said of it before it came.

    Args:
        work: The open transaction; the bulletin stands in it.
        bulletin: Verified; a correction or recall holds only for bulletins of its own sender.
        sender: The originator.
        bulletin_id: Its own, 16 bytes.
        index: Of its PUBLISHED or RECEIVED entry.
    """
    for relation in bulletin.header.relations:
        if relation.type in _KINDS and relation.bulletin_id:
            target_id = id_bytes(relation.bulletin_id)
            work.rows.add_notice(
                Notice(sender=sender, target_id=target_id, relation=int(relation.type), bulletin_id=bulletin_id)
            )
            stored = work.rows.find(sender, target_id)
            if stored is not None:
                _log(work, int(relation.type), target_id, stored.entry_index)
    for notice in work.rows.notices(sender, bulletin_id):
        if notice.bulletin_id != bulletin_id:
            _log(work, notice.relation, bulletin_id, work.position(index))


def _log(work: UnitOfWork, relation: int, target_id: bytes, position: int) -> None:
    work.log.add(Body(kind=_KINDS[relation], bulletin_id=target_id, **work.refers(position)))
