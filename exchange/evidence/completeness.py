"""Prove to a subscriber that nothing of a peer's lane was kept from it: by the peer's own signature, not by its word.

The sender's newest lane head says how many deliveries there are and which one is the last it sent. Deliveries chain
backwards from there, so their digests are fixed by that signature. Each of them has its answer in our log. What the
sender never numbered stands in no lane; for that its log is compared with ours (``exchange audit compare``). All that is
known is as of the newest head: whoever holds back its heads holds back what it numbered since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from audit.entry.entry import HEAD_LENGTH, parse_body
from audit.entry.grammar import ANSWERS
from audit.record.lane import LaneClass, LaneHead, LaneId, delivery_digest, parse_delivery
from audit.record.wire import ZERO_DIGEST
from exchange.records.lane_rules import check_head
from exchange.store.rows import InboundRow, LaneState
from exchange.store.store import Reads
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.federation import Federation
from keys.identity import AgencyId, short
from keys.signer import PublicKey

_PAGE = 1000
MAX_HEAD_AGE_MS = 2 * 60_000  # a sender that is connected signs a head every 30 s

ReadEntry = Callable[[int], bytes | None]
"""Reads an entry of our published log; None beyond its checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """What is proven of one lane into us."""

    lane: LaneId
    answered: int  # 1 to here, without a hole
    latest: int  # by the sender's signature
    head_ms: int  # when it said so, milliseconds UTC
    unpublished: int = 0  # answers that our published log does not hold yet
    followed: bool = False  # the sender's log goes on in a later epoch, whose lane says more: this one stands still

    @property
    def complete(self) -> bool:
        """Return whether all that the sender has numbered is answered in our log."""
        return self.answered == self.latest and not self.unpublished

    def overdue(self, now_ms: int) -> bool:
        """Return whether the newest head is so old that the sender may have numbered more, and nobody has told us."""
        return not self.followed and now_ms - self.head_ms > MAX_HEAD_AGE_MS


def prove_lanes(reads: Reads, federation: Federation, agency: AgencyId, read_entry: ReadEntry) -> list[Completeness]:
    """Examine every lane into an agency of which a head is known.

    Raises:
        RefusedError: A head, a delivery or an entry contradicts another; the message names lane and number.
    """
    found = []
    states = [state for state in reads.lanes() if not state.outgoing and state.head]
    newest: dict[tuple[str, int], int] = {}
    for state in states:
        key = state.peer, state.lane_class
        newest[key] = max(newest.get(key, 0), state.epoch)
    for state in states:
        lane = LaneId(
            federation_id=federation.federation_id,
            sender=AgencyId(state.peer),
            recipient=agency,
            lane_class=LaneClass(state.lane_class),
            epoch=state.epoch,
        )
        proven = _prove(reads, state, lane, federation, read_entry)
        found.append(replace(proven, followed=state.epoch < newest[state.peer, state.lane_class]))
    return found


def _prove(reads: Reads, state: LaneState, lane: LaneId, federation: Federation, read_entry: ReadEntry) -> Completeness:
    """1. the head is the sender's, 2. numbers and chain, 3. the head's delivery is ours, 4. each has its answer."""
    head = _head(state, lane, federation)  # 1
    member = federation.roster.member(lane.sender)
    number = member.number if member is not None else 0
    answered = unpublished = 0
    previous = b""
    for row in _rows(reads, state):
        _check_row(lane, row, answered + 1, previous)  # 2
        if row.sequence == head.sequence and row.digest != head.delivery_digest:  # 3
            raise _wrong(lane, row, f"the sender signed for {short(head.delivery_digest)}")
        entry = read_entry(row.entry_index)
        if entry is None:
            unpublished += 1
        else:
            _check_answer(lane, row, entry, number)  # 4
        answered, previous = row.sequence, row.digest
    if head.sequence > answered and head.sequence <= state.sequence:
        raise RefusedError("LANE_GAP", f"{lane}: the head names delivery {head.sequence}, which is not stored")
    return Completeness(lane=lane, answered=answered, latest=head.latest, head_ms=head.time_ms, unpublished=unpublished)


def _head(state: LaneState, lane: LaneId, federation: Federation) -> LaneHead:
    def find(key_id: bytes) -> PublicKey | None:
        try:
            return federation.operations_key(lane.sender, key_id, state.head_time_ms)
        except RefusedError:
            return None

    return check_head(SignedPayload.decode(state.head), lane, find)


def _rows(reads: Reads, state: LaneState) -> Iterator[InboundRow]:
    after = 0
    while rows := reads.inbound_after(state.row, after, _PAGE):
        yield from rows
        after = rows[-1].sequence


def _check_row(lane: LaneId, row: InboundRow, expected: int, previous: bytes) -> None:
    delivery = parse_delivery(row.delivery)
    if row.sequence != expected or delivery.sequence != expected:
        raise _wrong(lane, row, f"{expected} was expected")
    if delivery.lane != lane or delivery_digest(row.delivery) != row.digest:
        raise _wrong(lane, row, "it is of another lane, or has another digest")
    if previous and delivery.previous != previous:
        raise _wrong(lane, row, f"it follows {short(delivery.previous)}, not {short(previous)}")
    if not previous and lane.epoch == 1 and delivery.previous != ZERO_DIGEST:
        raise _wrong(lane, row, "the first of a first lane follows nothing")


def _check_answer(lane: LaneId, row: InboundRow, entry: bytes, number: int) -> None:
    body = parse_body(entry[HEAD_LENGTH:])
    if (body.delivery_digest, body.peer) != (row.digest, number) or (body.understood and body.kind not in ANSWERS):
        raise _wrong(lane, row, f"entry {row.entry_index} does not answer it")


def _wrong(lane: LaneId, row: InboundRow, what: str) -> RefusedError:
    return RefusedError("LANE_GAP", f"{lane}: delivery {row.sequence}: {what}")
