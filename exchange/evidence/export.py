"""Taking content out of a stopped node's home: EXPORTED is durable before anything is opened.

Whoever has the node's passphrase has its storage key, and is logged as the node's operator, under a pseudonym, and the
node says STARTED_ALONE first, because it asks nobody and its own start will. A running node is asked over Desk, by an
officer, instead.
"""

from __future__ import annotations

from audit.entry.entry import Body, Kind, Role
from audit.record.statement import ReadPurpose, ReadRequest, opened_digest, read_digest
from exchange.acts.node_view import NodeView
from exchange.acts.stored_bulletin import open_content
from exchange.acts.unit_of_work import RandomBytes, UnitOfWork
from exchange.evidence.gather_evidence import Shown
from exchange.node.node import Node, now_ms
from exchange.store.rows import StoredBulletin
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import short

OPERATOR = "operator"  # not an officer's id: who has the node's own passphrase
CASE = "evidence"


def export_alone(node: Node, stored: StoredBulletin, purpose: str, fields: tuple[str, ...] = ()) -> Shown:
    """Log EXPORTED in a node without sockets, then open the bulletin.

    Args:
        node: Opened, not begun.
        stored: What is taken out.
        purpose: Why; its digest alone goes into the log.
        fields: Show these alone; none: all of it.

    Raises:
        RefusedError: KEY_GONE for an erased bulletin; UnavailableError and IntegrityError as the node's own start.
    """
    if stored.erased:
        raise RefusedError("KEY_GONE", f"bulletin {short(stored.bulletin_id)} of {stored.sender} was erased")
    node.open()
    node.begin(alone=True)
    view = node.view
    request = SignedPayload(payload=_request(view, stored, purpose, node.random_bytes).encode())
    blind = node.random_bytes(32)
    index = node.writer.run(lambda work: _enter(work, view, stored, request, blind))
    content = node.reads.content(stored.entry_index)
    if content is None:
        raise RefusedError("NO_SUCH_BULLETIN", f"the content of {short(stored.bulletin_id)} is not here")
    statement = open_content(content, stored, view.storage)
    return Shown(statement=statement, exported_index=index, request=request, blind=blind, fields=fields)


def _request(view: NodeView, stored: StoredBulletin, purpose: str, random_bytes: RandomBytes) -> ReadRequest:
    return ReadRequest(
        federation_id=view.federation.federation_id,
        agency=view.agency,
        officer=OPERATOR,
        purpose=ReadPurpose.EXPORT,
        case=CASE,
        reason=purpose,
        nonce=random_bytes(16),
        time_ms=now_ms(),
        sender=stored.sender,
        bulletin_id=stored.bulletin_id,
        statement_digest=stored.statement_digest,
    )


def _enter(work: UnitOfWork, view: NodeView, stored: StoredBulletin, request: SignedPayload, blind: bytes) -> int:
    index = work.log.add(
        Body(
            kind=Kind.EXPORTED,
            actor=view.pseudonym(f"{view.agency}/{OPERATOR}"),
            actor_epoch=view.pseudonym_epoch,
            role=Role.OPERATOR,
            bulletin_id=stored.bulletin_id,
            purpose=int(ReadPurpose.EXPORT),
            digest=opened_digest(blind, read_digest(request.payload)),
            **work.refers(stored.entry_index),
        )
    )
    work.rows.add_reading(work.position(index), blind, request.encode())
    return index
