"""Publishing: an author's signed statement becomes a sealed dispatch in the lanes of its recipients.

``prepare`` checks and seals, before the transaction; ``publish`` enters the result into the lanes and the log,
inside it. Nothing is acknowledged before that transaction is durable. The checks are numbered; each is proved by a
test that goes red without it.
"""

from __future__ import annotations

from typing import NamedTuple

from audit.entry.entry import Body, Kind, Role
from audit.record.commitments import disclosure_root
from audit.record.dispatch import Absent, AbsentReason, Urgency, dispatch_digest
from audit.record.lane import Delivery, LaneClass, LaneId, class_of, delivery_digest
from audit.record.statement import Statement, opening, parse_statement, statement_digest
from exchange.acts.authorship import Author, check_author_named, check_role, check_signature, find_author
from exchange.acts.node_view import NodeView
from exchange.acts.notices import apply_notices
from exchange.acts.stored_bulletin import (
    bulletin_id_of,
    check_correction,
    corrected_by,
    facts_of,
    needs_target,
    reply_due,
    retention_of,
)
from exchange.acts.unit_of_work import RandomBytes, UnitOfWork
from exchange.records.bulletin import id_bytes, parse_bulletin, recipients_of
from exchange.records.seal_order import SealOrder
from exchange.records.sealed_statement import Sealed, seal_statement
from exchange.rules import check_bulletin
from exchange.rules.complaint import RulesError
from exchange.store.rows import Content, Facts, OutboundRow, StoredBulletin
from exchange.store.store import Reads
from exchange.v1.bulletin_pb2 import Bulletin
from keys.dsse import SignedPayload
from keys.durations import DAY_MS
from keys.errors import RefusedError
from keys.identity import AgencyId, short
from keys.roster import MemberStatus
from keys.seal import CONTENT_KEY_BYTES
from keys.signer import PublicKey
from keys.values import hot_value

TRANSPORT_MS = 14 * DAY_MS  # the recipients' encryption keys are published so far ahead


@hot_value(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A statement that passed every check, sealed and ready to be entered."""

    bulletin: Bulletin
    bulletin_id: bytes
    statement: Statement
    digest: bytes  # of the statement
    author: Author
    facts: Facts
    sealed: Sealed
    dispatch_digest: bytes
    stored_key: bytes
    disclosure_root: bytes  # 32 bytes: what the log commits to, field by field
    recipients: tuple[AgencyId, ...]  # those served


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


def prepare(
    signed: SignedPayload, *, caller: str, view: NodeView, reads: Reads, now_ms: int, random_bytes: RandomBytes
) -> Prepared | StoredBulletin:
    """Check a statement and seal it.

    1 size; 2 federation; 3 roster in force; 4 originator is this agency; 5 the caller is the author; 6 the bulletin
    names the author; 7 role and ceiling; 8 exactly the author's signature; 9 recipients are the addressees; 10 the
    targets of relations are known; 11 the bulletin's rules; 12 a correction's old values stand there. Uniqueness is checked again when it is entered.

    Args:
        signed: As the client sent it.
        caller: Owner of the certificate that brought it, AGENCY/id.
        view: Ours, now.
        reads: What is committed.
        now_ms: Milliseconds UTC.
        random_bytes: For the content key and nonces.

    Returns:
        What ``publish`` enters; or, where this very statement was published before, what is stored of it.

    Raises:
        RefusedError: With the public code of the check that failed.
    """
    statement = parse_statement(signed.payload)  # 1
    check_federation(statement, view)  # 2
    check_roster(statement, view, now_ms)  # 3
    bulletin = parse_bulletin(statement.bulletin)
    check_originator(bulletin, view)  # 4
    author = find_author(signed, view.agency, view, now_ms)
    check_caller(author, caller)  # 5
    check_author_named(bulletin, author)  # 6
    check_role(author, bulletin)  # 7
    check_signature(signed, author)  # 8
    digest = statement_digest(signed.payload)
    bulletin_id = bulletin_id_of(bulletin)
    stored = reads.find(view.agency, bulletin_id)
    if stored is not None and stored.statement_digest == digest:
        return stored
    check_recipients(statement, bulletin, view)  # 9
    check_targets(bulletin, view, reads)  # 10
    check_rules(bulletin, statement, view)  # 11
    check_old_values(bulletin, view, reads)  # 12
    checked = _CheckedStatement(signed, statement, bulletin, bulletin_id, digest, author)
    return _seal(checked, view, now_ms, random_bytes)


def check_federation(statement: Statement, view: NodeView) -> None:
    if statement.federation_id != view.federation.federation_id:
        ours, theirs = short(view.federation.federation_id), short(statement.federation_id)
        raise RefusedError("WRONG_FEDERATION", f"signed for federation {theirs}, this is {ours}")


def check_roster(statement: Statement, view: NodeView, now_ms: int) -> None:
    roster, digest = view.federation.roster, view.federation.roster_digest
    if statement.roster_digest != digest:
        signed_under = short(statement.roster_digest)
        raise RefusedError(
            "STALE_ROSTER", f"signed under roster {signed_under}; in force is {roster.version}, {short(digest)}"
        )
    view.federation.check_traffic(now_ms)


def check_originator(bulletin: Bulletin, view: NodeView) -> None:
    if bulletin.header.originator != view.agency:
        raise RefusedError("SENDER_DIFFERS", f"originator {bulletin.header.originator} at the node of {view.agency}")


def check_caller(author: Author, caller: str) -> None:
    if author.key.owner != caller:
        raise RefusedError("AUTHOR_DIFFERS", f"signed by {author.key.owner}, brought by {caller}")


def check_recipients(statement: Statement, bulletin: Bulletin, view: NodeView) -> None:
    expected = recipients_of(bulletin.header.addressees, view.agency)
    if statement.recipients != expected:
        raise RefusedError("RECIPIENTS_DIFFER", f"signed for {len(statement.recipients)} agencies, addressed to others")
    for agency in expected:
        view.member_number(agency)


def check_targets(bulletin: Bulletin, view: NodeView, reads: Reads) -> None:
    for relation in bulletin.header.relations:
        if not needs_target(relation):
            continue
        known = [found.statement_digest for found in reads.find_any(id_bytes(relation.bulletin_id))]
        if not relation.statement_digest or relation.statement_digest not in known:
            raise RefusedError(
                "TARGET_MISSING", f"relation to {relation.bulletin_id}: that statement is not known here"
            )


def check_rules(bulletin: Bulletin, statement: Statement, view: NodeView) -> None:
    complaints = check_bulletin(bulletin, view.catalogue(statement.roster_digest))
    if complaints:
        raise RulesError(complaints)


def check_old_values(bulletin: Bulletin, view: NodeView, reads: Reads) -> None:
    target = corrected_by(bulletin, view.agency, reads, view.storage)
    if target is not None:
        check_correction(bulletin, target)


class _CheckedStatement(NamedTuple):
    """A statement that passed every check, not yet sealed."""

    signed: SignedPayload
    statement: Statement
    bulletin: Bulletin
    bulletin_id: bytes
    digest: bytes  # of the statement
    author: Author


def _seal(checked: _CheckedStatement, view: NodeView, now_ms: int, random_bytes: RandomBytes) -> Prepared:
    signed, statement, bulletin, bulletin_id, digest, author = checked
    served: dict[AgencyId, PublicKey] = {}
    absent: list[Absent] = []
    for agency in statement.recipients:
        reason, key = _serve(agency, view, now_ms)
        if key is None:
            absent.append(Absent(agency=agency, reason=reason))
        else:
            served[agency] = key
    if not served:
        raise RefusedError("NO_RECIPIENT", "none of the recipients can be served: no key, suspended or left")
    order = SealOrder(
        federation_id=statement.federation_id,
        sender=view.agency,
        bulletin_id=bulletin_id,
        urgency=Urgency(bulletin.header.urgency),
        expires_ms=now_ms + TRANSPORT_MS,
        content_key=random_bytes(CONTENT_KEY_BYTES),
        signed=signed,
        recipients=tuple(served.values()),  # ascending, as a statement's recipients are
        absent=tuple(absent),
    )
    sealed = seal_statement(order, statement, view.operations)
    return Prepared(
        bulletin=bulletin,
        bulletin_id=bulletin_id,
        statement=statement,
        digest=digest,
        author=author,
        facts=facts_of(bulletin, reply_due(bulletin, view.catalogue(statement.roster_digest), None)),
        sealed=sealed,
        dispatch_digest=dispatch_digest(sealed.dispatch.payload),
        stored_key=view.storage.store(sealed.content_key, digest, random_bytes),
        disclosure_root=disclosure_root(statement.salt, statement.bulletin),
        recipients=tuple(served),
    )


def _serve(agency: AgencyId, view: NodeView, now_ms: int) -> tuple[AbsentReason, PublicKey | None]:
    member = view.federation.roster.member(agency)
    if member is None or member.status is MemberStatus.LEFT:
        return AbsentReason.LEFT, None
    if member.status is MemberStatus.SUSPENDED:
        return AbsentReason.SUSPENDED, None
    return AbsentReason.NO_KEY, view.federation.encryption_key(agency, now_ms)


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
