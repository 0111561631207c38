"""Content that comes back after a loss: what a member gives of what it has, and what we make of it.

Whoever asks gets nothing but its own: the content of what it wrote, sealed to its present key, and a new delivery of what
was sent to it. Never what was erased or recalled, or whose day has passed. A delivery is made again once for each key of
the member's, so that nobody fills a log by asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from audit.entry.entry import Body, Kind
from audit.record.dispatch import (
    Absent,
    AbsentReason,
    Dispatch,
    Recipient,
    dispatch_digest,
    parse_dispatch,
    wrap_digest,
)
from audit.record.lane import Delivery, LaneId, class_of, delivery_digest
from audit.record.statement import opening, parse_statement
from exchange.acts.node_view import NodeView
from exchange.acts.notices import RECALLS
from exchange.acts.publishing import Queued
from exchange.acts.retention_rules import day_of, is_due
from exchange.acts.statement_checks import TRANSPORT_MS
from exchange.acts.stored_bulletin import ReturnedContent, check_returned, is_lost, open_content
from exchange.acts.unit_of_work import RandomBytes, UnitOfWork
from exchange.store.rows import Content, DeliveryState, OutboundRow, StoredBulletin, Wanted
from exchange.store.store import Reads
from keys.dsse import SignedPayload, sign
from keys.errors import RefusedError
from keys.identity import AgencyId, short
from keys.seal import unopenable, wrap, wrap_info
from keys.signer import PublicKey

PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenContent:
    """Content on its way back to whoever wrote it."""

    key_id: bytes  # 32 bytes
    wrap: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchedAgain:
    """A delivery of a bulletin of ours, made again for one recipient, before it has its number."""

    stored: StoredBulletin
    recipient: AgencyId
    dispatch: Dispatch
    signed: SignedPayload
    wrap: bytes
    body: bytes
    salt: bytes  # 32 bytes, of the statement


@dataclass(frozen=True, slots=True, kw_only=True)
class EnteredAgain:
    """What entered a lane; ``queued`` is what the node deals out to followers."""

    queued: tuple[Queued, ...]


def living_content(reads: Reads, sender: str, bulletin_id: bytes, now_ms: int) -> tuple[StoredBulletin, Content]:
    """Return a bulletin whose content may be given back.

    Raises:
        RefusedError: NO_SUCH_BULLETIN; KEY_GONE, it was erased, its day has passed, or it was lost here, too;
            NOT_ALLOWED, it was recalled.
    """
    stored = reads.find(sender, bulletin_id)
    content = reads.content(stored.entry_index) if stored is not None else None
    name = short(bulletin_id)
    if stored is None or content is None:
        raise RefusedError("NO_SUCH_BULLETIN", f"no bulletin {name} of {sender} is here")
    on_hold = bool(reads.open_holds(stored.entry_index))
    if content.erased or is_due(stored, day_of(now_ms), on_hold=on_hold, erased_before=False):
        raise RefusedError("KEY_GONE", f"bulletin {name} of {sender} is not here any more, or its day has passed")
    if any(each.relation == RECALLS for each in reads.notices(sender, bulletin_id)):
        raise RefusedError("NOT_ALLOWED", f"bulletin {name} of {sender} was recalled")
    return stored, content


def is_given(reads: Reads, sender: str, bulletin_id: bytes, now_ms: int) -> bool:
    """Return whether ``living_content`` would return something."""
    try:
        living_content(reads, sender, bulletin_id, now_ms)
    except RefusedError:
        return False
    return True


def give(
    wanted: Wanted, peer: AgencyId, view: NodeView, reads: Reads, now_ms: int
) -> GivenContent | DispatchedAgain | None:
    """Answer a member that wants a content back; None where a delivery of it is on its way already.

    1 it is the caller's own, or ours and the caller received it; 2 it may be given; 3 the caller has a key now.

    Raises:
        RefusedError: As ``living_content``; NOT_FOR_US (1); KEY_SHEET_EXPIRED (3); TOO_MANY, it was dispatched again to
            this very key before.
    """
    stored, content = living_content(reads, wanted.sender, wanted.bulletin_id, now_ms)  # 2
    if stored.statement_digest != wanted.statement_digest:
        raise RefusedError("NO_SUCH_BULLETIN", f"bulletin {short(wanted.bulletin_id)} is another statement here")
    key = view.federation.encryption_key(peer, now_ms)
    if key is None:
        raise RefusedError("KEY_SHEET_EXPIRED", f"no key of {peer} holds now")  # 3
    if wanted.sender == peer:
        content_key = view.storage.recover(content.stored_key, stored.statement_digest)
        info = wrap_info(view.federation.federation_id, stored.statement_digest, key.key_id)
        return GivenContent(key_id=key.key_id, wrap=wrap(content_key, key, info), body=content.body)
    if wanted.sender != view.agency:
        raise RefusedError("NOT_FOR_US", f"bulletin {short(wanted.bulletin_id)} is neither {peer}'s nor ours")  # 1
    return dispatch_again(stored, content, key, view, reads, now_ms)


def dispatch_again(
    stored: StoredBulletin, content: Content, key: PublicKey, view: NodeView, reads: Reads, now_ms: int
) -> DispatchedAgain | None:
    """Seal a bulletin of ours once more for one recipient of it: the same body, a new wrap, a new dispatch.

    Raises:
        RefusedError: NOT_FOR_US, that agency is no recipient; TOO_MANY, as ``give``.
    """
    peer, before = AgencyId(key.owner), parse_dispatch(SignedPayload.decode(content.dispatch).payload)
    rows = [row for row in reads.outbound_of(stored.entry_index) if reads_peer(reads, row) == peer]
    if peer not in before.served or not rows:
        raise RefusedError("NOT_FOR_US", f"bulletin {short(stored.bulletin_id)} was never sent to {peer}")
    for row in rows:
        again = reads.dispatch_of(row.queued_index)
        if again is None or parse_dispatch(SignedPayload.decode(again).payload).recipients[0].key_id != key.key_id:
            continue
        if row.state is DeliveryState.WAITING:
            return None
        raise RefusedError("TOO_MANY", f"bulletin {short(stored.bulletin_id)} was sent to this very key before")
    content_key = view.storage.recover(content.stored_key, stored.statement_digest)
    wrapped = wrap(content_key, key, wrap_info(before.federation_id, stored.statement_digest, key.key_id))
    absent = {each.agency: each for each in before.absent}
    absent |= {each: Absent(agency=each, reason=AbsentReason.SERVED_BEFORE) for each in before.served if each != peer}
    dispatch = replace(
        before,
        recipients=(Recipient(agency=peer, key_id=key.key_id, wrap_digest=wrap_digest(wrapped)),),
        absent=tuple(absent[each] for each in sorted(absent)),
        expires_ms=now_ms + TRANSPORT_MS,
    )
    return DispatchedAgain(
        stored=stored,
        recipient=peer,
        dispatch=dispatch,
        signed=sign(dispatch.encode(), ("dispatch", view.operations)),
        wrap=wrapped,
        body=content.body,
        salt=parse_statement(open_content(content, stored, view.storage).payload).salt,
    )


def reads_peer(reads: Reads, row: OutboundRow) -> str:
    """Return whose lane a delivery is in."""
    return next(each.peer for each in reads.lanes() if each.row == row.lane)


def enter_again(work: UnitOfWork, again: DispatchedAgain, view: NodeView) -> EnteredAgain:
    """Number the delivery in its recipient's lane, behind all others."""
    stored, peer, digest = again.stored, again.recipient, dispatch_digest(again.signed.payload)
    lane_class = class_of(int(again.dispatch.urgency))
    state = work.rows.open_lane(outgoing=True, peer=peer, lane_class=lane_class, epoch=view.epoch)
    lane = LaneId(
        federation_id=view.federation.federation_id,
        sender=view.agency,
        recipient=peer,
        lane_class=lane_class,
        epoch=view.epoch,
    )
    delivery = Delivery(
        lane=lane,
        sequence=state.sequence + 1,
        previous=state.digest,
        dispatch_digest=digest,
        time_ms=work.now_ms,
    ).encode()
    named = delivery_digest(delivery)
    queued = work.log.add(
        Body(
            kind=Kind.QUEUED,
            peer=view.member_number(peer),
            bulletin_id=stored.bulletin_id,
            dispatch_digest=digest,
            delivery_digest=named,
            count=state.sequence + 1,
            **work.refers(stored.entry_index),
        )
    )
    work.rows.move_lane(state.moved_to(state.sequence + 1, named))
    row = OutboundRow(
        lane=state.row,
        sequence=state.sequence + 1,
        entry_index=stored.entry_index,
        queued_index=work.position(queued),
        delivery=delivery,
        digest=named,
        wrap=again.wrap,
        opening=opening(again.salt, named),
        since_ms=work.now_ms,
    )
    work.rows.add_outbound([row])
    work.rows.add_dispatch(row.queued_index, again.signed.encode())
    return EnteredAgain(queued=(Queued(lane=lane, row=row, dispatch=again.signed.encode(), body=again.body),))


# ------------------------------------------------------------------ the side that has lost


def want_lost(work: UnitOfWork) -> int:
    """Ask every content back that was lost and not erased; returns how many those are."""
    count, after, today = 0, -1, day_of(work.now_ms)
    while rows := work.rows.lost(after, PAGE):
        after = rows[-1].entry_index
        for each in rows:
            on_hold = bool(work.rows.open_holds(each.entry_index))
            if not is_due(each, today, on_hold=on_hold, erased_before=False):
                count += 1
                work.rows.want(
                    Wanted(sender=each.sender, bulletin_id=each.bulletin_id, statement_digest=each.statement_digest)
                )
    return count


def take_back(
    stored: StoredBulletin, given: GivenContent, view: NodeView, reads: Reads, random_bytes: RandomBytes
) -> ReturnedContent:
    """Verify a content of ours that a recipient gave back, and put its key under the storage key.

    Raises:
        RefusedError: UNOPENABLE, and as ``check_returned``.
    """
    key = view.encryption.get(given.key_id)
    info = wrap_info(view.federation.federation_id, stored.statement_digest, given.key_id)
    content_key = key.try_unwrap(given.wrap, info) if key is not None else None
    if content_key is None:
        raise unopenable()
    facts, content = check_returned(stored, (given.body, b""), content_key, view, reads)
    stored_key = view.storage.store(content_key, stored.statement_digest, random_bytes)
    return ReturnedContent(stored=stored, facts=facts, content=replace(content, stored_key=stored_key))


def givers(wanted: Wanted, view: NodeView, reads: Reads) -> Sequence[str]:
    """Return who may have a content that is wanted, and has not refused it: its sender, or of ours its recipients."""
    if wanted.sender != view.agency:
        found = [wanted.sender]
    else:
        stored = reads.find(wanted.sender, wanted.bulletin_id)
        rows = reads.outbound_of(stored.entry_index) if stored is not None else []
        taken = (DeliveryState.RECEIVED, DeliveryState.DUPLICATE)
        found = sorted({reads_peer(reads, row) for row in rows if row.state in taken})
    return [each for each in found if each not in wanted.refused]


def is_back(wanted: Wanted, reads: Reads) -> bool:
    """Return whether nothing has to be asked any more: the content is here, or the bulletin was erased."""
    stored = reads.find(wanted.sender, wanted.bulletin_id)
    return stored is not None and not is_lost(stored, reads.content(stored.entry_index))
