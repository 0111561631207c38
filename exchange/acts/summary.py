"""What a node keeps of a bulletin beside its bytes: numbers, enums and hours, never text."""

from __future__ import annotations

from exchange.records.bulletin import expires_ms, id_bytes, kind_of, reply_by_ms, retention_class, review_day
from exchange.rules.catalogue import Catalogue
from exchange.store.store import Facts
from exchange.v1 import bulletin_pb2
from exchange.v1.bulletin_pb2 import Bulletin, Relation

HOUR_MS = 3_600_000
_TARGETED = frozenset(
    {
        bulletin_pb2.RELATION_TYPE_REPLIES_TO,
        bulletin_pb2.RELATION_TYPE_CORRECTS,
        bulletin_pb2.RELATION_TYPE_RECALLS,
        bulletin_pb2.RELATION_TYPE_SUPERSEDES,
    }
)
_URGENCY_WORDS = {1: "flash", 2: "urgent", 3: "priority", 4: "routine"}


def facts_of(bulletin: Bulletin, catalogue: Catalogue, received_ms: int | None, *, understood: bool = True) -> Facts:
    """Take the facts out of a bulletin that passed its rules.

    Args:
        bulletin: Verified.
        catalogue: Its deadlines by urgency apply.
        received_ms: When it was received; None where we sent it. The clock of a reply starts at receipt.
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
        reply_due_ms=_reply_due(bulletin, catalogue, received_ms),
        expires_ms=expires_ms(bulletin) or 0,
        not_understood=not understood,
    )


def _reply_due(bulletin: Bulletin, catalogue: Catalogue, received_ms: int | None) -> int:
    wanted = reply_by_ms(bulletin) or 0
    hours = catalogue.deadline_hours.get(_URGENCY_WORDS.get(bulletin.header.urgency, ""))
    if not wanted or received_ms is None or hours is None:
        return wanted
    return min(wanted, received_ms + hours * HOUR_MS)


def bulletin_id_of(bulletin: Bulletin) -> bytes:
    """Give the 16 bytes of the header's bulletin id; RefusedError MALFORMED for anything else."""
    return id_bytes(bulletin.header.bulletin_id)


def retention_of(bulletin: Bulletin) -> tuple[int, int]:
    """Give the retention rule's number and the day of review, counted from 1970-01-01.

    A class that our schema does not name (a newer one's; on the wire it may even be negative) is told as 0, no rule:
    the log holds what we understood, and the day of review holds whatever the class.
    """
    rule = retention_class(bulletin)
    return rule if rule in bulletin_pb2.RetentionClass.values() else 0, review_day(bulletin)


def needs_target(relation: Relation) -> bool:
    """Tell whether a relation must name the statement it is about."""
    return relation.type in _TARGETED and bool(relation.bulletin_id)
