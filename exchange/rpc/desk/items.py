"""Rows of the store as Desk shows them: facts, states and proofs, never text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from audit.note.checkpoint import VerifierKey
from audit.record.dispatch import parse_dispatch
from exchange.acts.node_view import NodeView
from exchange.records.receipt import decode_receipt, origin_of, reason_name
from exchange.rpc.transport.silence import Silence
from exchange.store.rows import LaneState, OutboundRow, StoredBulletin
from exchange.store.store import Reads
from exchange.v1 import node_pb2
from keys.dsse import SignedPayload
from keys.identity import AgencyId

MAX_NOTICES = 50  # of one bulletin, the newest: a page must fit a message


def inbox_item(stored: StoredBulletin, reads: Reads) -> node_pb2.InboxItem:
    """Show what may be shown of a received bulletin without a reason."""
    facts = stored.facts
    return node_pb2.InboxItem(
        index=stored.entry_index,
        sender=stored.sender,
        bulletin_id=stored.bulletin_id,
        statement_digest=stored.statement_digest,
        kind=facts.kind,
        number=facts.number,
        tlp=facts.tlp,
        classification=facts.classification,
        urgency=facts.urgency,
        status=facts.status,
        received_ms=stored.at_ms,
        reply_due_ms=facts.reply_due_ms,
        expires_ms=facts.expires_ms,
        opened=stored.opened,
        notices=[
            node_pb2.AppliedNotice(relation=notice.relation, bulletin_id=notice.bulletin_id)
            for notice in reads.notices(stored.sender, stored.bulletin_id)[-MAX_NOTICES:]
        ],
        not_understood=facts.not_understood,
        erased=stored.erased,
    )


def outbox_item(
    stored: StoredBulletin, lanes: dict[int, LaneState], view: NodeView, reads: Reads
) -> node_pb2.OutboxItem:
    """Show what became of a bulletin of ours: one state and one reason for each recipient."""
    facts, content = stored.facts, reads.content(stored.entry_index)
    item = node_pb2.OutboxItem(
        index=stored.entry_index,
        bulletin_id=stored.bulletin_id,
        statement_digest=stored.statement_digest,
        kind=facts.kind,
        number=facts.number,
        tlp=facts.tlp,
        classification=facts.classification,
        urgency=facts.urgency,
        status=facts.status,
        published_ms=stored.at_ms,
        erased=stored.erased,
        manifest=reads.records_at(view.agency, stored.entry_index).digests[1],
    )
    states = [_state(row, peer, view) for peer, row in _newest(reads.outbound_of(stored.entry_index), lanes)]
    if content is not None:
        signed = SignedPayload.decode(content.dispatch)
        item.dispatch.CopyFrom(signed.to_message())
        states += [
            node_pb2.OutboxState(
                agency=absent.agency,
                state=node_pb2.DELIVERY_STATE_ABSENT,
                reason=absent.reason.name,
                since_ms=stored.at_ms,
            )
            for absent in parse_dispatch(signed.payload).absent
        ]
    item.recipients.extend(sorted(states, key=lambda state: state.agency))
    return item


def tell_silence(item: node_pb2.OutboxItem, silent: Mapping[AgencyId, Silence]) -> None:
    """Say of each recipient that is still waited for whether it stays away."""
    for state in item.recipients:
        known = silent.get(AgencyId(state.agency))
        if known is not None and state.state == node_pb2.DELIVERY_STATE_WAITING:
            state.silent_since_ms = known.since_ms


def lanes_by_row(reads: Reads) -> dict[int, LaneState]:
    """Return our lanes by the engine's numbers."""
    return {lane.row: lane for lane in reads.lanes() if lane.outgoing}


def _newest(rows: Iterable[OutboundRow], lanes: dict[int, LaneState]) -> list[tuple[str, OutboundRow]]:
    """Choose one delivery for each recipient: the receipted one, else that of our log's newest epoch."""
    chosen: dict[str, OutboundRow] = {}
    for row in sorted(rows, key=lambda row: (bool(row.receipt), lanes[row.lane].epoch, row.sequence)):
        chosen[lanes[row.lane].peer] = row
    return list(chosen.items())


def _state(row: OutboundRow, peer: str, view: NodeView) -> node_pb2.OutboxState:
    state = node_pb2.OutboxState(
        agency=peer,
        state=node_pb2.DeliveryState.ValueType(int(row.state)),
        reason=reason_name(row.reason),
        sequence=row.sequence,
        delivery=row.delivery,
        opening=row.opening,
        since_ms=row.since_ms,
        log_key=str(_log_key(row, AgencyId(peer), view)),
    )
    if row.receipt:
        state.receipt.CopyFrom(decode_receipt(row.receipt).to_message())
    return state


def _log_key(row: OutboundRow, peer: AgencyId, view: NodeView) -> VerifierKey:
    """Return the key that a receipt verifies under, of whichever epoch of the peer's log it is."""
    return view.key_of(peer, origin_of(decode_receipt(row.receipt))) if row.receipt else view.log_key(peer)


def cursor(items: Iterable[StoredBulletin], after: int) -> int:
    """Return from where to ask on."""
    return max((item.entry_index for item in items), default=after)
