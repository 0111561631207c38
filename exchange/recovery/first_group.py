"""The first group of a new epoch: RESTORED, what peers gave back, and what still waited, numbered again.

Everything is entered in one transaction, so that a recovery is whole or has not been. RESTORED stays in the log for
ever, and every verdict on it says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from audit.entry.entry import Body, Kind
from audit.note.checkpoint import Checkpoint
from audit.note.epochs import epoch_of_origin
from audit.note.tlogproof import parse_proof
from audit.record.dispatch import parse_dispatch
from audit.record.lane import Delivery, LaneClass, LaneId, delivery_digest, parse_delivery
from audit.record.statement import opening, parse_statement
from exchange.acts import directory
from exchange.acts.delivery import Settled, record_answer
from exchange.acts.node_view import NodeView
from exchange.acts.stored_bulletin import open_content
from exchange.acts.unit_of_work import UnitOfWork
from exchange.recovery.hand_back import want_lost
from exchange.recovery.proven_answers import ProvenDelivery, ProvenReceipt, Recovered
from exchange.store.rows import Content, Facts, LaneState, OutboundRow, StoredBulletin
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId, short

PAGE = 1000  # rows read at once
UNKNOWN = (1 << 40) - 1  # of a peer that was not asked: whatever it claims to have receipts for may be true


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """What came of it, for the operator."""

    bulletins: int  # of ours that the home had lost
    deliveries: int  # of ours that the home had lost
    receipts: int  # of peers that the home had lost
    renumbered: int  # deliveries that waited and wait under new numbers
    given: int  # receipts of our own lost log, kept as files
    wanted: int  # bulletins whose content is asked back once the node runs


def enter(
    work: UnitOfWork,
    recovered: Sequence[Recovered],
    view: NodeView,
    end: Checkpoint,
    without: Iterable[AgencyId] = (),
) -> Entered:
    """Enter a recovery, after the first entries of the new epoch.

    1. RESTORED with where the epoch before ended and how many entries were given back, in all and by each peer.
    2. Our deliveries that the home had lost, as PUBLISHED, QUEUED and RECEIPT_RECORDED, so that no bulletin's id is
    used twice. 3. Where each peer's lanes stood: what we lost of them is redelivered. 4. Our lanes begin again after
    the last receipted delivery, and what was waiting is queued again. 5. What has lost its content is wanted back.

    Args:
        work: The first transaction of the new epoch; the home's old rows, if there were any, stand in it.
        recovered: What peers gave back.
        view: Ours, in the new epoch.
        end: Where the epoch before ended.
        without: Members that were not asked.

    Raises:
        RefusedError: EQUIVOCATION; a peer holds another delivery or statement of ours than the home does.
    """
    view = _begin(work, recovered, view, end)  # 1
    bulletins = deliveries = receipts = 0
    for answer in recovered:
        for each in answer.deliveries:
            entered = _take_back(work, each, answer.peer, view)  # 2
            bulletins, deliveries, receipts = bulletins + entered[0], deliveries + entered[1], receipts + entered[2]
        _stand_where_they_do(work, answer.receipts, answer.peer, view.newest_epoch(answer.peer))  # 3
        _see(work, answer)
    for peer in without:
        for lane_class in LaneClass:
            _expect(work, peer, lane_class, view.newest_epoch(peer), UNKNOWN)
    renumbered = sum(_begin_anew(work, lane, view) for lane in _newest_lanes(work, view))  # 4
    wanted = want_lost(work)  # 5
    return Entered(
        bulletins=bulletins,
        deliveries=deliveries,
        receipts=receipts,
        renumbered=renumbered,
        given=sum(len(answer.receipts) for answer in recovered),
        wanted=wanted,
    )


def _begin(work: UnitOfWork, recovered: Sequence[Recovered], view: NodeView, end: Checkpoint) -> NodeView:
    """Say what the epoch goes on from, and whose records are in force; return our view with those."""
    _log_restored(work, None, end, sum(each.count for each in recovered))
    for answer in recovered:
        if answer.newest is not None:
            _log_restored(work, view.member_number(answer.peer), answer.newest, answer.count)
    directory.adopt_again(work, view)
    members = [each.agency for each in view.federation.roster.members]
    return replace(view, records={each: directory.records_of(work.rows, each) for each in members})


def _log_restored(work: UnitOfWork, peer: int | None, checkpoint: Checkpoint, count: int) -> None:
    work.log.add(
        Body(kind=Kind.RESTORED, peer=peer or 0, peer_size=checkpoint.size, peer_root=checkpoint.root, count=count)
    )


# ------------------------------------------------------------------ what we sent


def _take_back(work: UnitOfWork, each: ProvenDelivery, peer: AgencyId, view: NodeView) -> tuple[int, int, int]:
    """Enter one delivery of ours where the home lacks it or its receipt; returns bulletins, deliveries, receipts."""
    state = work.rows.open_lane(outgoing=True, peer=peer, lane_class=int(each.lane.lane_class), epoch=each.lane.epoch)
    row = _row(work, state, each.sequence)
    fresh = 0
    if row is None:
        fresh, row = _number_again(work, each, state, view)
    elif row.digest != each.digest:
        raise RefusedError(
            "EQUIVOCATION",
            f"{each.lane}: the home numbered {short(row.digest)} as {each.sequence}, {peer} answered"
            f" {short(each.digest)}: two copies of this node were sending",
        )
    if each.sequence > state.sequence:
        state = replace(state, sequence=each.sequence, digest=each.digest)
    recorded = row is not None and not row.receipt
    if row is not None and recorded:
        settled = Settled(row=row, receipt=each.receipt, proven=each.proven, peer_number=view.member_number(peer))
        work.rows.settle_outbound([record_answer(work, settled, view.records[peer])])
    work.rows.move_lane(replace(state, taken=max(state.taken, each.sequence)))
    return fresh, int(row is not None and row.sequence == each.sequence and _is_new(row, work)), int(recorded)


def _row(work: UnitOfWork, state: LaneState, sequence: int) -> OutboundRow | None:
    found = work.rows.outbound(state.row, sequence - 1, 1)
    return found[0] if found and found[0].sequence == sequence else None


def _is_new(row: OutboundRow, work: UnitOfWork) -> bool:
    return row.queued_index >= work.position(0)


def _number_again(
    work: UnitOfWork, each: ProvenDelivery, state: LaneState, view: NodeView
) -> tuple[int, OutboundRow | None]:
    """Log a delivery that the home has lost, and its bulletin if that is lost too; None where nobody kept what."""
    body = each.proven.body
    bulletin_id = parse_dispatch(each.dispatch.payload).bulletin_id if each.dispatch is not None else body.bulletin_id
    stored = work.rows.find(view.agency, bulletin_id) if bulletin_id else None
    fresh = 0
    if stored is None and each.dispatch is not None:
        stored, fresh = _publish_again(work, each, view), 1
    if stored is None:
        return 0, None
    queued = work.log.add(
        Body(
            kind=Kind.QUEUED,
            peer=view.member_number(each.lane.recipient),
            bulletin_id=stored.bulletin_id,
            dispatch_digest=each.dispatch_digest,
            delivery_digest=each.digest,
            count=each.sequence,
            **work.refers(stored.entry_index),
        )
    )
    row = OutboundRow(
        lane=state.row,
        sequence=each.sequence,
        entry_index=stored.entry_index,
        queued_index=work.position(queued),
        delivery=each.delivery,
        digest=each.digest,
        wrap=b"",
        opening=body.opening,  # whose salt is lost: what the peer's entry says
        since_ms=work.now_ms,
    )
    work.rows.add_outbound([row])
    return fresh, row


def _publish_again(work: UnitOfWork, each: ProvenDelivery, view: NodeView) -> StoredBulletin:
    """Take a bulletin of ours back that only its recipients have: its id, its digests, its dispatch, no content."""
    signed = each.dispatch
    if signed is None:
        raise AssertionError("the caller has looked")
    dispatch, body = parse_dispatch(signed.payload), each.proven.body
    index = work.log.add(
        Body(
            kind=Kind.PUBLISHED,
            bulletin_id=dispatch.bulletin_id,
            dispatch_digest=each.dispatch_digest,
            statement_digest=dispatch.statement_digest,
            retain_until_day=body.retain_until_day,
            retention_rule=body.retention_rule,
            records=view.records[view.agency],
        )
    )
    stored = StoredBulletin(
        entry_index=work.position(index),
        sender=view.agency,
        bulletin_id=dispatch.bulletin_id,
        statement_digest=dispatch.statement_digest,
        facts=Facts(
            kind=each.kind,
            number=each.number,
            tlp=0,
            classification=0,
            urgency=int(dispatch.urgency),
            status=0,
            reply_due_ms=0,
            expires_ms=0,
            not_understood=True,
        ),
        at_ms=parse_delivery(each.delivery).time_ms,
        retain_until_day=body.retain_until_day,
        retention_rule=body.retention_rule,
    )
    work.rows.add_bulletin(stored, Content(dispatch=signed.encode(), body=b"", wrap=b"", stored_key=b""))
    _raise_number(work, each.number, view.agency)
    return stored


def _raise_number(work: UnitOfWork, number: str, agency: str) -> None:
    """Reserve the serial numbers that were given: AGENCY/KIND/YEAR/NNNNNN, as the recipient read it in the bulletin."""
    parts = number.split("/")
    if len(parts) == 4 and parts[0] == agency and parts[2].isdecimal() and parts[3].isdecimal():
        work.rows.raise_number(parts[1], int(parts[2]), int(parts[3]))


# ------------------------------------------------------------------ where peers' lanes to us stood


def _stand_where_they_do(
    work: UnitOfWork, receipts: Sequence[ProvenReceipt], peer: AgencyId, newest_epoch: int
) -> None:
    """Remember up to where a peer has receipts of ours, so that it may give again what we lost."""
    for each in receipts:
        lane_class, epoch = each.lane.lane_class, each.lane.epoch
        state = _expect(work, peer, lane_class, epoch, each.sequence)
        if epoch < newest_epoch and each.sequence > state.sequence:
            # Nothing of a lane that is over comes again; the one that runs now goes on from its last delivery.
            work.rows.move_lane(replace(state, sequence=each.sequence, digest=each.digest))


def _expect(work: UnitOfWork, peer: AgencyId, lane_class: LaneClass, epoch: int, taken: int) -> LaneState:
    state = work.rows.open_lane(outgoing=False, peer=peer, lane_class=int(lane_class), epoch=epoch)
    state = replace(state, taken=max(state.taken, taken))
    work.rows.move_lane(state)
    return state


def _see(work: UnitOfWork, answer: Recovered) -> None:
    """Keep the peer's own newest checkpoint, where the home knows none of that epoch to hold it against."""
    for each in sorted(answer.deliveries, key=lambda each: each.proven.checkpoint.size, reverse=True):
        checkpoint = each.proven.checkpoint
        epoch = epoch_of_origin(checkpoint.origin)
        if work.rows.peer_checkpoint(answer.peer, epoch) is None:
            note = parse_proof(each.receipt.proof).note
            work.rows.set_peer_checkpoint(answer.peer, checkpoint.size, note, epoch)


# ------------------------------------------------------------------ our lanes, again


def _newest_lanes(work: UnitOfWork, view: NodeView) -> list[LaneState]:
    """Return the newest epoch before this one of each of our lanes."""
    newest: dict[tuple[str, int], LaneState] = {}
    for lane in work.rows.lanes():
        if lane.outgoing and lane.epoch < view.epoch:
            before = newest.get((lane.peer, lane.lane_class))
            newest[lane.peer, lane.lane_class] = lane if before is None or lane.epoch > before.epoch else before
    return [newest[key] for key in sorted(newest)]


def _begin_anew(work: UnitOfWork, old: LaneState, view: NodeView) -> int:
    """Begin a lane at sequence 1 after what the recipient receipted last; queue again what was waiting."""
    digest = _last_receipted(work, old)
    state = work.rows.open_lane(outgoing=True, peer=old.peer, lane_class=old.lane_class, epoch=view.epoch)
    state = replace(state, digest=digest)
    count, after = 0, old.taken
    while rows := work.rows.outbound(old.row, after, PAGE):
        after = rows[-1].sequence
        for row in rows:
            state = _queue_again(work, row, state, view)
            count += 1
    work.rows.move_lane(state)
    return count


def _last_receipted(work: UnitOfWork, lane: LaneState) -> bytes:
    """Return the digest of the last delivery that the recipient receipted; what that lane began after, if none."""
    if lane.sequence == 0:
        return lane.digest
    if lane.taken == lane.sequence:
        return lane.digest
    first = work.rows.outbound(lane.row, lane.taken, 1)
    return parse_delivery(first[0].delivery).previous if first else lane.digest


def _queue_again(work: UnitOfWork, row: OutboundRow, state: LaneState, view: NodeView) -> LaneState:
    old = parse_delivery(row.delivery)
    lane = LaneId(
        federation_id=old.lane.federation_id,
        sender=view.agency,
        recipient=old.lane.recipient,
        lane_class=old.lane.lane_class,
        epoch=view.epoch,
    )
    delivery = Delivery(
        lane=lane,
        sequence=state.sequence + 1,
        previous=state.digest,
        dispatch_digest=old.dispatch_digest,
        time_ms=work.now_ms,
    ).encode()
    digest = delivery_digest(delivery)
    stored, salt = _stored_of(work, row, view)
    queued = work.log.add(
        Body(
            kind=Kind.QUEUED,
            peer=view.member_number(lane.recipient),
            bulletin_id=stored.bulletin_id,
            dispatch_digest=old.dispatch_digest,
            delivery_digest=digest,
            count=state.sequence + 1,
            **work.refers(row.entry_index),
        )
    )
    if (again := work.rows.dispatch_of(row.queued_index)) is not None:
        work.rows.add_dispatch(work.position(queued), again)
    work.rows.add_outbound(
        [
            replace(
                row,
                lane=state.row,
                sequence=state.sequence + 1,
                queued_index=work.position(queued),
                delivery=delivery,
                digest=digest,
                opening=opening(salt, digest) if salt else bytes(32),
                since_ms=work.now_ms,
            )
        ]
    )
    return replace(state, sequence=state.sequence + 1, digest=digest)


def _stored_of(work: UnitOfWork, row: OutboundRow, view: NodeView) -> tuple[StoredBulletin, bytes]:
    """Find a delivery's bulletin and its statement's salt; no salt where it cannot be opened, and travels without."""
    content = work.rows.content(row.entry_index)
    dispatch = parse_dispatch(SignedPayload.decode(content.dispatch).payload) if content is not None else None
    stored = work.rows.find(view.agency, dispatch.bulletin_id) if dispatch is not None else None
    if content is None or stored is None:
        raise RefusedError("DAMAGED", f"delivery {row.sequence}: its bulletin is not in the home's database")
    try:
        return stored, parse_statement(open_content(content, stored, view.storage).payload).salt
    except RefusedError:
        return stored, b""
