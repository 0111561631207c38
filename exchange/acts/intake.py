"""Intake: a message of a lane becomes received bulletins, or refusals that say why.

``check_message`` judges a whole message before the transaction; ``take_message`` enters the verdicts inside it.
What is wrong with the message as such ends the stream and moves nothing. What is wrong with one bulletin is refused,
logged, and moves the lane, so that no bulletin can block those behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypedDict

from audit.entry.entry import Body, Kind, Outcome
from audit.record.dispatch import Dispatch
from audit.record.lane import LaneHead, LaneId
from audit.record.statement import opening
from exchange.acts.delivery_checks import Accepted, accept, judge_all, read_dispatch, returned
from exchange.acts.judgement import Judgement, Parcel, SenderKeys, Terms, case_of, check_size, terms_of, window_key
from exchange.acts.lane_position import attempts_at, check_clock, check_not_stopped, lane_of, standing, stored_digest
from exchange.acts.node_view import NodeView
from exchange.acts.notices import apply_notices
from exchange.acts.reissue import OldEntry, renew
from exchange.acts.stored_bulletin import ReturnedContent, bring_back, retention_of
from exchange.acts.unit_of_work import RandomBytes, UnitOfWork
from exchange.records.lane_rules import LaneStep, advance, check_head
from exchange.store.rows import Content, InboundRow, LaneState, StoredBulletin, Wanted
from exchange.store.store import Reads
from keys.dsse import SignedPayload
from keys.errors import RefusedError, UnavailableError
from keys.identity import AgencyId
from keys.refusals import Cure, cured_by
from keys.values import hot_value

AT_ONCE = 32  # judged together, check by check
QUARANTINE_AFTER = 2  # intakes that died on one delivery
ENDS_STREAM = frozenset({"DAMAGED"})  # these move nothing: the sender's bytes are not what the sender signed
# Of a dispatch: what another attempt may cure, once we hold the maker's newest records.
CURABLE = cured_by(Cure.RECORDS, Cure.RENEWAL)

Opening = Callable[[int, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """How the deliveries of a message are opened."""

    random_bytes: RandomBytes  # for storing content keys
    given_up: Collection[tuple[int, int]] = ()  # (class, sequence) of what came damaged too often: refused now
    on_open: Opening | None = None  # told (class, epoch, sequence) before each step of opening and judging a delivery


class DamagedError(RefusedError):
    """A delivery whose bytes are not what its sender signed: the stream ends, and the third time it is refused."""

    def __init__(self, delivery: tuple[int, int], refusal: RefusedError) -> None:
        super().__init__(refusal.code, str(refusal))
        self.delivery = delivery  # class, sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Consecutive deliveries of one lane and the head that covers them."""

    parcels: tuple[Parcel, ...]
    head: SignedPayload


@hot_value(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of one delivery: accepted, refused with a code, withdrawn by its sender, or known already."""

    step: LaneStep
    parcel: Parcel
    dispatch: Dispatch | None  # None where it is not its maker's
    accepted: Accepted | None = None
    refusal: RefusedError | None = None
    back: ReturnedContent | None = None  # of a duplicate, where we had lost the content


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A message that may be entered."""

    lane: LaneId
    begun_after: bytes  # 32 bytes, digest of the delivery that the first of this lane and epoch must follow
    head: LaneHead
    signed_head: SignedPayload
    verdicts: tuple[Verdict, ...]
    until_ms: int  # the first millisecond without the keys and records that it was judged by


@hot_value(frozen=True, slots=True, kw_only=True)
class DeliveryAnswer:
    """The position of the entry that answers a delivery; for a duplicate also of the RECEIVED that it repeats."""

    sequence: int
    entry_index: int
    original_index: int = 0
    refusal: RefusedError | None = None
    new: bool = True


def check_message(
    message: Message,
    *,
    peer: AgencyId,
    view: NodeView,
    reads: Reads,
    now_ms: int,
    handling: Handling,
) -> Checked:
    """Judge a message of a lane into us.

    1 size and number; 2 the head is of a lane from the peer to us in an epoch of the peer's log, and signed by an
    operations key of the peer; 3 it is not from far ahead; 4 the lane is not stopped; 5 the lane's rules (gap, fork,
    equivocation); then each delivery's own checks (``exchange.acts.delivery_checks``).

    Args:
        message: As received.
        peer: Whose certificate brought it.
        view: Ours, now.
        reads: What is committed.
        now_ms: Milliseconds UTC.
        handling: Of its deliveries.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE, LANE_HEAD_INVALID, CLOCK_DIFFERS and those of signatures; LANE_GAP, LANE_FORK,
            EQUIVOCATION, DAMAGED. Nothing moves.
    """
    check_size(message.parcels)  # 1
    keys = SenderKeys(view, peer, now_ms)
    head = check_head(message.head, lambda claimed: lane_of(claimed, peer, view), keys.operations)  # 2
    lane = head.lane
    check_clock(head, now_ms)  # 3
    state = reads.lane(outgoing=False, peer=peer, lane_class=int(lane.lane_class), epoch=lane.epoch)
    check_not_stopped(state)  # 4
    deliveries = [parcel.delivery for parcel in message.parcels]
    position = standing(reads, state, peer, lane, deliveries)
    steps = advance(position, lane, head, deliveries, lambda sequence: stored_digest(reads, state, sequence))  # 5
    judging = _Judging(view, reads, head, keys, terms_of(view, now_ms), handling, attempts_at(reads, state, steps))
    verdicts = judging.verdicts([*zip(steps, message.parcels, strict=True)])
    return Checked(
        lane=lane,
        begun_after=position.digest,
        head=head,
        signed_head=message.head,
        verdicts=verdicts,
        until_ms=keys.until_ms,
    )


def _distinct(read: Iterable[Verdict]) -> Iterator[list[Verdict]]:
    """Cut a message into runs that are judged together: none is long, and none has a dispatch twice."""
    some: dict[bytes, Verdict] = {}  # by digest of the dispatch
    for verdict in read:
        digest = verdict.step.delivery.dispatch_digest
        if len(some) == AT_ONCE or digest in some:
            yield [*some.values()]
            some = {}
        some[digest] = verdict
    if some:
        yield [*some.values()]


def _unseen(lane_class: int, epoch: int, sequence: int) -> None:
    """Note nothing: nobody wants to know what is opened."""


@dataclass(frozen=True, slots=True)
class _Judging:
    """What the verdicts on the deliveries of one message have in common.

    What was accepted before in the same message, by digest of its dispatch, is not opened and judged once more.
    """

    view: NodeView
    reads: Reads
    head: LaneHead
    keys: SenderKeys
    terms: Terms
    handling: Handling
    attempts: Mapping[int, int]  # that died, by sequence
    accepted: set[bytes] = field(default_factory=set)  # digests of dispatches

    def verdicts(self, deliveries: Sequence[tuple[LaneStep, Parcel]]) -> tuple[Verdict, ...]:
        """Judge all deliveries; what ends the stream is raised, every other refusal is part of its verdict."""
        read = [self._read(step, parcel) for step, parcel in deliveries]
        sent = [each.dispatch.bulletin_id for each in read if each.dispatch is not None]
        stored = self.reads.statement_digests(self.head.lane.sender, sent)
        return tuple([verdict for some in _distinct(read) for verdict in self._judged(some, stored)])

    def _read(self, step: LaneStep, parcel: Parcel) -> Verdict:
        """Read a delivery's dispatch; the verdict is the last one where it is not its maker's."""
        try:
            dispatch = read_dispatch(step, parcel, self.head, self.view, self.keys)
        except RefusedError as refusal:
            if refusal.code in CURABLE:
                raise
            numbered = self._numbered(step)
            if numbered not in self.handling.given_up or not step.new:
                raise DamagedError(numbered, refusal) from refusal
            return Verdict(step=step, parcel=parcel, dispatch=None, refusal=RefusedError("DAMAGED", str(refusal)))
        return Verdict(step=step, parcel=parcel, dispatch=dispatch)

    def _judged(self, some: list[Verdict], stored: Mapping[bytes, bytes]) -> list[Verdict]:
        """Open and judge those of a run that need it; *stored* are the statements here, by bulletin id."""
        found, opened, turns, cases = list(some), list[int](), [], []
        for index, verdict in enumerate(some):
            step, dispatch = verdict.step, verdict.dispatch
            if dispatch is None or not step.new or step.withdrawn is not None:
                continue
            if step.delivery.dispatch_digest in self.accepted:
                continue
            if self.attempts.get(step.delivery.sequence, 0) >= QUARANTINE_AFTER:
                gone = f"intake died {QUARANTINE_AFTER} times on it; it is not opened again"
                found[index] = replace(verdict, refusal=RefusedError("QUARANTINED", gone))
                continue
            turns.append(self._turn(step))
            turns[-1]()
            known = stored.get(dispatch.bulletin_id, b"")
            case = case_of(step, verdict.parcel, dispatch, self.terms, self.keys, known)
            cases.append((case, window_key(dispatch, self.view)))
            opened.append(index)
        outcomes = judge_all(cases, self.view.catalogues, turns)
        for index, turn, outcome in zip(opened, turns, outcomes, strict=True):
            turn()
            found[index] = self._concluded(some[index], outcome)
        return found

    def _concluded(self, verdict: Verdict, outcome: Judgement | RefusedError | None) -> Verdict:
        step, dispatch = verdict.step, verdict.dispatch
        if dispatch is None:
            return verdict
        if outcome is None:
            return replace(
                verdict, back=returned(verdict.parcel, dispatch, self.view, self.reads, self.handling.random_bytes)
            )
        try:
            if isinstance(outcome, RefusedError):
                raise outcome
            accepted = accept(outcome, dispatch, self.view.storage, self.reads, self.handling.random_bytes)
        except RefusedError as refusal:
            numbered = self._numbered(step)
            if refusal.code in ENDS_STREAM and numbered not in self.handling.given_up:
                raise DamagedError(numbered, refusal) from refusal
            return replace(verdict, refusal=refusal)
        self.accepted.add(step.delivery.dispatch_digest)
        return Verdict(step=step, parcel=verdict.parcel, dispatch=dispatch, accepted=accepted)

    def _turn(self, step: LaneStep) -> Callable[[], None]:
        """Return what has it noted that a delivery is looked at from now on."""
        on_open, lane = self.handling.on_open or _unseen, self.head.lane
        return partial(on_open, int(lane.lane_class), lane.epoch, step.delivery.sequence)

    def _numbered(self, step: LaneStep) -> tuple[int, int]:
        return int(self.head.lane.lane_class), step.delivery.sequence


def take_message(
    work: UnitOfWork, checked: Checked, *, peer: AgencyId, view: NodeView, old_entry: OldEntry | None = None
) -> list[DeliveryAnswer]:
    """Enter a checked message: one entry for each new delivery, and the lane's new position.

    Args:
        work: The open transaction.
        checked: By ``check_message``.
        peer: Whose lane it is.
        view: Ours.
        old_entry: Reads an entry of an earlier epoch of our log by its position; None where there is none.

    Raises:
        UnavailableError: The lane has moved since it was checked, or a record; check again.
        RefusedError: LANE_STOPPED, meanwhile.
    """
    work.check_in_force(view.adopted_at, checked.until_ms)
    lane, records = checked.lane, view.records[peer]
    state = work.rows.open_lane(outgoing=False, peer=peer, lane_class=int(lane.lane_class), epoch=lane.epoch)
    check_not_stopped(state)
    work.rows.expect(peer, [each.dispatch.bulletin_id for each in checked.verdicts if each.dispatch is not None])
    answers, number = [], view.member_number(peer)
    sequence, previous = state.sequence, state.digest if state.sequence else checked.begun_after
    for verdict in checked.verdicts:
        delivery = verdict.step.delivery
        if not verdict.step.new:
            answers.append(_answered(work, state, delivery.sequence))
            continue
        if delivery.sequence != sequence + 1 or delivery.previous != previous:
            raise UnavailableError(f"the lane from {peer} moved meanwhile; ask again", 0.1)
        answers.append(_take(work, verdict, state, (number, records), old_entry))
        sequence, previous = delivery.sequence, verdict.step.digest
    if sequence != state.sequence:
        state = state.moved_to(sequence, previous)
    # Only a head of the very delivery where the lane stands is kept: evidence of equivocation needs one that covers it.
    if checked.head.time_ms > state.head_time_ms and checked.head.sequence == state.sequence:
        state = replace(state, head=checked.signed_head.encode(), head_time_ms=checked.head.time_ms)
    work.rows.move_lane(state)
    return answers


def _answered(work: UnitOfWork, state: LaneState, sequence: int) -> DeliveryAnswer:
    row = work.rows.inbound(state.row, sequence)
    if row is None:
        raise UnavailableError(f"delivery {sequence} from {state.peer} is not committed yet", 0.1)
    return DeliveryAnswer(sequence=sequence, entry_index=row.entry_index, original_index=row.original_index, new=False)


def _take(
    work: UnitOfWork, verdict: Verdict, state: LaneState, sender: tuple[int, bytes], old_entry: OldEntry | None
) -> DeliveryAnswer:
    """Write the one entry that answers a delivery; *sender* is its number and the digest over its records in force."""
    delivery, dispatch = verdict.step.delivery, verdict.dispatch
    about = _About(
        peer=sender[0],
        bulletin_id=dispatch.bulletin_id if dispatch is not None else b"",
        dispatch_digest=delivery.dispatch_digest,
        delivery_digest=verdict.step.digest,
    )
    stored = work.rows.find(state.peer, dispatch.bulletin_id) if dispatch is not None else None
    refusal, original = verdict.refusal, 0
    if verdict.step.withdrawn is not None:
        index = work.log.add(Body(kind=Kind.WITHDRAWN, **about))
    elif refusal is None and stored is not None and dispatch is not None and _same(stored, dispatch):
        original = renew(work, stored.entry_index, old_entry)
        index = work.log.add(Body(kind=Kind.DUPLICATE, **about, **work.refers(original)))
        bring_back(work, verdict.back)
    elif refusal is None and verdict.accepted is not None and stored is None:
        index = _receive(work, verdict, verdict.accepted, about, state.peer, sender[1])
    else:
        refusal = refusal or RefusedError("EQUIVOCATION", f"delivery {delivery.sequence}: its bulletin came as another")
        index = work.log.add(Body(kind=Kind.REFUSED, outcome=Outcome[refusal.code], **about))
        if refusal.code == "EQUIVOCATION":
            work.rows.add_evidence(work.position(index), "dispatch", verdict.parcel.dispatch.encode())
        if refusal.code == "KEY_GONE" and dispatch is not None and stored is None:
            work.rows.want(
                Wanted(sender=state.peer, bulletin_id=dispatch.bulletin_id, statement_digest=dispatch.statement_digest)
            )
    position = work.position(index)
    work.rows.add_inbound(
        InboundRow(
            lane=state.row,
            sequence=delivery.sequence,
            delivery=verdict.parcel.delivery,
            digest=verdict.step.digest,
            entry_index=position,
            original_index=original,
        )
    )
    return DeliveryAnswer(sequence=delivery.sequence, entry_index=position, original_index=original, refusal=refusal)


class _About(TypedDict):
    """What every answer to a delivery names."""

    peer: int
    bulletin_id: bytes
    dispatch_digest: bytes
    delivery_digest: bytes


def _same(stored: StoredBulletin, dispatch: Dispatch) -> bool:
    return stored.statement_digest == dispatch.statement_digest


def _receive(work: UnitOfWork, verdict: Verdict, accepted: Accepted, about: _About, peer: str, records: bytes) -> int:
    judgement = accepted.judgement
    rule, day = retention_of(judgement.bulletin)
    index = work.log.add(
        Body(
            kind=Kind.RECEIVED,
            **about,
            opening=opening(judgement.statement.salt, verdict.step.digest),
            retain_until_day=day,
            retention_rule=rule,
            digest=judgement.disclosure_root,
            records=records,
        )
    )
    work.rows.add_bulletin(
        StoredBulletin(
            entry_index=work.position(index),
            sender=peer,
            bulletin_id=accepted.bulletin_id,
            statement_digest=accepted.statement_digest,
            facts=accepted.facts,
            at_ms=work.now_ms,
            retain_until_day=day,
            retention_rule=rule,
        ),
        Content(
            dispatch=verdict.parcel.dispatch.encode(),
            body=verdict.parcel.body,
            wrap=verdict.parcel.wrap,
            stored_key=accepted.stored_key,
        ),
    )
    apply_notices(work, judgement.bulletin, peer, accepted.bulletin_id, index)
    return index
