"""Publishing: an author's signed statement becomes a sealed dispatch in the lanes of its recipients.

``admit`` checks and seals, before the transaction, by ``exchange.acts.statement_checks``; ``publish`` enters the result into
the lanes and the log, inside it. Nothing is acknowledged before that transaction is durable. The checks are numbered; each
is proved by a test that goes red without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from audit.entry.entry import Body, Kind, Role
from audit.record.dispatch import AbsentReason, dispatch_digest
from audit.record.lane import Delivery, LaneClass, LaneId, class_of, delivery_digest
from audit.record.statement import Statement, opening, parse_statement
from exchange.acts.authorship import find_author
from exchange.acts.node_view import NodeView
from exchange.acts.notices import apply_notices
from exchange.acts.statement_checks import prepare_all
from exchange.acts.stored_bulletin import bulletin_id_of, corrected_by, facts_of, needs_target, retention_of
from exchange.acts.unit_of_work import RandomBytes, UnitOfWork
from exchange.records.bulletin import id_bytes, parse_bulletin
from exchange.records.case_refusal import CaseRefusal, refusal_of
from exchange.records.sealed_statement import Sealed, sign_sealed
from exchange.records.statement_case import CaseRecipient, CaseTarget, SealedStatement, StatementCase, StatementTerms
from exchange.store.rows import Content, Facts, OutboundRow, StoredBulletin
from exchange.store.store import Reads
from exchange.v1.bulletin_pb2 import Bulletin
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId, short
from keys.manifest import Officer
from keys.roster import MemberStatus
from keys.seal import CONTENT_KEY_BYTES
from keys.signer import PublicKey
from keys.values import hot_value


@hot_value(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A statement that passed every check, sealed and ready to be entered."""

    bulletin: Bulletin
    bulletin_id: bytes
    statement: Statement
    digest: bytes  # of the statement
    author: Officer
    facts: Facts
    sealed: Sealed
    dispatch_digest: bytes
    stored_key: bytes
    disclosure_root: bytes  # 32 bytes: what the log commits to, field by field
    recipients: tuple[AgencyId, ...]  # those served
    until_ms: int  # the first millisecond without the keys and records that it was checked by


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """How a batch of statements came, and to which node."""

    caller: str  # owner of the certificate that brought it, AGENCY/id
    view: NodeView  # ours, now
    reads: Reads  # what is committed
    now_ms: int  # milliseconds UTC
    random_bytes: RandomBytes  # for content keys and nonces


Outcome = Prepared | StoredBulletin | RefusedError


class ReadStatement(NamedTuple):
    """A statement as it came, and what is in it."""

    signed: SignedPayload
    statement: Statement
    bulletin: Bulletin
    bulletin_id: bytes  # 16 bytes


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


def admit(signed: SignedPayload, arrival: Arrival) -> Prepared | StoredBulletin:
    """Check a statement and seal it: gather its case, ``prepare`` it, sign the dispatch and store the key.

    Returns:
        What ``publish`` enters; or, where this very statement was published before, what is stored of it.

    Raises:
        RefusedError: With the public code of the check that failed.
    """
    outcome = admit_all([signed], arrival)[0]
    if isinstance(outcome, RefusedError):
        raise outcome
    return outcome


def admit_all(batch: Sequence[SignedPayload], arrival: Arrival) -> list[Outcome]:
    """Check and seal a batch as ``admit`` does each; what is refused is answered, and stops no other."""
    view, read = arrival.view, [_read(signed) for signed in batch]
    readable = [each for each in read if not isinstance(each, RefusedError)]
    stored = arrival.reads.statement_digests(view.agency, [each.bulletin_id for each in readable])
    terms = terms_of(arrival)
    cases = [look_up(each, stored.get(each.bulletin_id, b""), terms, arrival) for each in readable]
    outcomes = prepare_all(cases, view.catalogues)
    signed_of = [_signed(*each, arrival) for each in zip(cases, outcomes, strict=True)]
    admitted = iter([_admitted(*each, arrival) for each in zip(readable, cases, outcomes, signed_of, strict=True)])
    return [each if isinstance(each, RefusedError) else next(admitted) for each in read]


def terms_of(arrival: Arrival) -> StatementTerms:
    """Return what is the same for every statement of a batch; what no key in force would sign is refused."""
    view, federation, traffic = arrival.view, arrival.view.federation, None
    try:
        federation.check_traffic(arrival.now_ms)
        federation.operations_key(view.agency, view.operations.key.key_id, arrival.now_ms)
    except RefusedError as error:
        traffic = refusal_of(error)
    return StatementTerms(
        federation_id=federation.federation_id,
        agency=view.agency,
        caller=arrival.caller,
        now_ms=arrival.now_ms,
        roster_digest=federation.roster_digest,
        roster_version=federation.roster.version,
        catalogue_digest=federation.roster.catalogue_digest,
        traffic=traffic,
    )


def _read(signed: SignedPayload) -> ReadStatement | RefusedError:
    try:
        return read_statement(signed)
    except RefusedError as refusal:
        return refusal


def read_statement(signed: SignedPayload) -> ReadStatement:
    """Parse a statement and its bulletin.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE or NOT_UNDERSTOOD.
    """
    statement = parse_statement(signed.payload)  # 1
    bulletin = parse_bulletin(statement.bulletin)
    return ReadStatement(signed, statement, bulletin, bulletin_id_of(bulletin))


def look_up(read: ReadStatement, stored_digest: bytes, terms: StatementTerms, arrival: Arrival) -> StatementCase:
    """Gather what a statement is checked and sealed by; what cannot be looked up is refused when its check comes.

    Args:
        read: The statement.
        stored_digest: Of the statement that is stored under its bulletin id; empty where none is.
        terms: Of its batch.
        arrival: Of its batch.
    """
    signed, statement, bulletin, _ = read
    author = no_author = None
    try:
        author = find_author(signed, arrival.view.agency, arrival.view, arrival.now_ms).officer
    except RefusedError as error:
        no_author = refusal_of(error)
    recipients, no_member = _recipients(statement, arrival)
    targets, corrected, no_target = _targets(bulletin, arrival) if bulletin.header.relations else ((), None, None)
    return StatementCase(
        terms=terms,
        signed=signed,
        statement=statement,
        bulletin=bulletin,
        author=author,
        no_author=no_author,
        stored_digest=stored_digest,
        no_member=no_member,
        targets=targets,
        corrected=corrected,
        no_target=no_target,
        recipients=recipients,
        content_key=arrival.random_bytes(CONTENT_KEY_BYTES),
    )


def _recipients(statement: Statement, arrival: Arrival) -> tuple[tuple[CaseRecipient, ...], CaseRefusal | None]:
    found = []
    try:
        for agency in statement.recipients:
            arrival.view.member_number(agency)
            absent, key = _serve(agency, arrival.view, arrival.now_ms)
            found.append(CaseRecipient(agency, key, absent if key is None else None))
    except RefusedError as error:
        return (), refusal_of(error)
    return tuple(found), None


def _serve(agency: AgencyId, view: NodeView, now_ms: int) -> tuple[AbsentReason, PublicKey | None]:
    member = view.federation.roster.member(agency)
    if member is None or member.status is MemberStatus.LEFT:
        return AbsentReason.LEFT, None
    if member.status is MemberStatus.SUSPENDED:
        return AbsentReason.SUSPENDED, None
    return AbsentReason.NO_KEY, view.federation.encryption_key(agency, now_ms)


def _targets(
    bulletin: Bulletin, arrival: Arrival
) -> tuple[tuple[CaseTarget, ...], Bulletin | None, CaseRefusal | None]:
    """Look up what the relations name: the statements that are known, and the bulletin that is corrected.

    Each id is asked for once, and none behind the first that is missing: that one is what check 10 refuses, and asking
    walks over the store.
    """
    targets: dict[CaseTarget, None] = {}
    asked: set[bytes] = set()
    try:
        for relation in bulletin.header.relations:
            if not needs_target(relation):
                continue
            known = id_bytes(relation.bulletin_id)
            if known not in asked:
                asked.add(known)
                found = arrival.reads.find_any(known)
                targets.update((CaseTarget(known, each.statement_digest), None) for each in found)
            if CaseTarget(known, relation.statement_digest) not in targets:
                break
        corrected = corrected_by(bulletin, arrival.view.agency, arrival.reads, arrival.view.storage)
    except RefusedError as error:
        return (), None, refusal_of(error)
    return tuple(targets), corrected, None


def _signed(case: StatementCase, sealed: SealedStatement | RefusedError | None, arrival: Arrival) -> Sealed | None:
    if not isinstance(sealed, SealedStatement):
        return None
    return sign_sealed(sealed.parts, case.content_key, arrival.view.operations)


def _admitted(
    read: ReadStatement,
    case: StatementCase,
    sealed: SealedStatement | RefusedError | None,
    signed: Sealed | None,
    arrival: Arrival,
) -> Outcome:
    """Put the content key under the storage key, and say what ``publish`` enters."""
    if isinstance(sealed, RefusedError):
        return sealed
    if sealed is None or signed is None or case.author is None:
        stored = arrival.reads.find(arrival.view.agency, read.bulletin_id)
        assert stored is not None  # what is recognised is stored
        return stored
    dispatch, view = sealed.parts.dispatch, arrival.view
    return Prepared(
        bulletin=case.bulletin,
        bulletin_id=dispatch.bulletin_id,
        statement=case.statement,
        digest=dispatch.statement_digest,
        author=case.author,
        facts=facts_of(case.bulletin, sealed.reply_due_ms),
        sealed=signed,
        dispatch_digest=dispatch_digest(signed.dispatch.payload),
        stored_key=view.storage.store(case.content_key, dispatch.statement_digest, arrival.random_bytes),
        disclosure_root=sealed.disclosure_root,
        recipients=dispatch.served,
        until_ms=min(case.author.until_ms, view.own_until_ms),
    )


def publish(work: UnitOfWork, prepared: Prepared, view: NodeView) -> PublishOutcome:
    """Enter a prepared statement into the log and its recipients' lanes.

    13 (sender, bulletin_id) is unique for ever.

    Raises:
        RefusedError: EQUIVOCATION, another statement has this id.
        RecordsMovedError: Check it again, by what is in force now.
    """
    work.check_in_force(view.adopted_at, prepared.until_ms)
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
            actor=view.pseudonym(prepared.author.public.owner),
            actor_epoch=view.pseudonym_epoch,
            role=Role.AUTHOR,
            bulletin_id=prepared.bulletin_id,
            dispatch_digest=prepared.dispatch_digest,
            statement_digest=prepared.digest,
            retain_until_day=day,
            retention_rule=rule,
            key_id=prepared.author.public.key_id,
            digest=prepared.disclosure_root,
            records=view.records[view.agency],
        )
    )


def _queue(work: UnitOfWork, prepared: Prepared, view: NodeView, index: int, dispatch: bytes) -> tuple[Queued, ...]:
    """Number one delivery for each recipient, in its lane."""
    lane_class, body = class_of(prepared.bulletin.header.urgency), prepared.sealed.body
    steps = [_deliver(work, prepared, view, agency, lane_class, index) for agency in prepared.recipients]
    work.rows.add_outbound([row for _, row in steps])
    return tuple([Queued(lane=lane, row=row, dispatch=dispatch, body=body) for lane, row in steps])


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
