"""Publishing: an author's signed statement becomes a sealed dispatch in the lanes of its recipients.

``exchange.acts.statement_checks`` checks and seals, before the transaction; ``publish`` enters the result into the lanes
and the log, inside it. Nothing is acknowledged before that transaction is durable.
"""

from __future__ import annotations

from audit.entry.entry import Body, Kind, Role
from audit.record.lane import Delivery, LaneClass, LaneId, class_of, delivery_digest
from audit.record.statement import opening
from exchange.acts.node_view import NodeView
from exchange.acts.notices import apply_notices
from exchange.acts.statement_checks import Prepared
from exchange.acts.stored_bulletin import retention_of
from exchange.acts.unit_of_work import UnitOfWork
from exchange.store.rows import Content, OutboundRow, StoredBulletin
from keys.errors import RefusedError
from keys.identity import AgencyId, short
from keys.values import hot_value


@hot_value(frozen=True, slots=True, kw_only=True)
class Queued:
    """A delivery that entered a lane, with what travels."""

    lane: LaneId
    row: OutboundRow
    dispatch: bytes
    body: bytes


@hot_value(frozen=True, slots=True, kw_only=True)
class PublishOutcome:
    """What the author is told: the entry that the receipt will prove."""

    entry_index: int  # its position
    statement_digest: bytes
    queued: tuple[Queued, ...]  # none where the same statement was published before


def publish(work: UnitOfWork, prepared: Prepared, view: NodeView) -> PublishOutcome:
    """Enter a prepared statement into the log and its recipients' lanes.

    13 (sender, bulletin_id) is unique for ever.

    Raises:
        RefusedError: EQUIVOCATION, another statement has this id.
    """
    stored = work.rows.find(view.agency, prepared.bulletin_id)
    if stored is not None and stored.statement_digest == prepared.digest:
        return PublishOutcome(entry_index=stored.entry_index, statement_digest=prepared.digest, queued=())
    check_unique(stored, prepared)  # 13
    rule, day = retention_of(prepared.bulletin)
    index = _log_published(work, prepared, view, rule, day)
    position, dispatch = work.position(index), prepared.sealed.dispatch.encode()
    work.rows.add_bulletin(
        StoredBulletin(
            entry_index=position,
            sender=view.agency,
            bulletin_id=prepared.bulletin_id,
            statement_digest=prepared.digest,
            facts=prepared.facts,
            at_ms=work.now_ms,
            retain_until_day=day,
            retention_rule=rule,
        ),
        Content(dispatch=dispatch, body=prepared.sealed.body, wrap=b"", stored_key=prepared.stored_key),
    )
    queued = _queue(work, prepared, view, index, dispatch)
    apply_notices(work, prepared.bulletin, view.agency, prepared.bulletin_id, index)
    return PublishOutcome(entry_index=position, statement_digest=prepared.digest, queued=queued)


def check_unique(stored: StoredBulletin | None, prepared: Prepared) -> None:
    if stored is not None:
        raise RefusedError(
            "EQUIVOCATION",
            f"bulletin {short(prepared.bulletin_id)} was published as statement {short(stored.statement_digest)},"
            f" this is {short(prepared.digest)}",
        )


def _log_published(work: UnitOfWork, prepared: Prepared, view: NodeView, rule: int, day: int) -> int:
    return work.log.add(
        Body(
            kind=Kind.PUBLISHED,
            actor=view.pseudonym(prepared.author.key.owner),
            actor_epoch=view.pseudonym_epoch,
            role=Role.AUTHOR,
            bulletin_id=prepared.bulletin_id,
            dispatch_digest=prepared.dispatch_digest,
            statement_digest=prepared.digest,
            retain_until_day=day,
            retention_rule=rule,
            key_id=prepared.author.key.key_id,
            digest=prepared.disclosure_root,
        )
    )


def _queue(work: UnitOfWork, prepared: Prepared, view: NodeView, index: int, dispatch: bytes) -> tuple[Queued, ...]:
    """Number one delivery for each recipient, in its lane."""
    lane_class, body, queued = class_of(prepared.bulletin.header.urgency), prepared.sealed.body, []
    for agency in prepared.recipients:
        lane, row = _deliver(work, prepared, view, agency, lane_class, index)
        queued.append(Queued(lane=lane, row=row, dispatch=dispatch, body=body))
    work.rows.add_outbound([step.row for step in queued])
    return tuple(queued)


def _deliver(
    work: UnitOfWork, prepared: Prepared, view: NodeView, agency: AgencyId, lane_class: LaneClass, index: int
) -> tuple[LaneId, OutboundRow]:
    state = work.rows.open_lane(outgoing=True, peer=agency, lane_class=lane_class, epoch=view.epoch)
    sequence = state.sequence + 1
    lane = LaneId(
        federation_id=view.federation.federation_id,
        sender=view.agency,
        recipient=agency,
        lane_class=lane_class,
        epoch=view.epoch,
    )
    delivery = Delivery(
        lane=lane,
        sequence=sequence,
        previous=state.digest,
        dispatch_digest=prepared.dispatch_digest,
        time_ms=work.now_ms,
    ).encode()
    digest = delivery_digest(delivery)
    queued_index = work.log.add(
        Body(
            kind=Kind.QUEUED,
            peer=view.member_number(agency),
            bulletin_id=prepared.bulletin_id,
            dispatch_digest=prepared.dispatch_digest,
            delivery_digest=digest,
            refers_to=index,
            count=sequence,
        )
    )
    work.rows.move_lane(state.moved_to(sequence, digest))
    row = OutboundRow(
        lane=state.row,
        sequence=sequence,
        entry_index=work.position(index),
        queued_index=work.position(queued_index),
        delivery=delivery,
        digest=digest,
        wrap=prepared.sealed.wraps[agency],
        opening=opening(prepared.statement.salt, digest),
        since_ms=work.now_ms,
    )
    return lane, row
