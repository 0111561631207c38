"""What a subscriber can prove: every delivery that the sender signed for is answered in the subscriber's own log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from audit.entry.kinds import Kind
from audit.record.lane import LaneClass, delivery_digest, parse_delivery
from exchange.acts.delivery import sign_head
from exchange.acts.lane_position import lane_id
from exchange.cli.auditor.audit_lanes import lane_line
from exchange.evidence.completeness import MAX_HEAD_AGE_MS, Completeness, prove_lanes
from exchange.store.rows import InboundRow, LaneState
from exchange.store.store import Reads
from keys.errors import RefusedError
from keys.identity import AgencyId
from tests.audit.compare.paired import deliver
from tests.support.world import NOW_MS, Desk, advisory, keys_of, records

SENDER, RECEIVER = "HK-IMMD", "TH-DSI"


@pytest.fixture(scope="module")
def desks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Desk]]:
    sender = Desk(SENDER, tmp_path_factory.mktemp("sender"))
    receiver = Desk(RECEIVER, tmp_path_factory.mktemp("receiver"))
    for serial in range(1, 5):
        sender.publish(advisory(SENDER, RECEIVER, serial=serial))
    sender.publish(advisory(SENDER, RECEIVER, serial=5, urgency=2))
    deliver(sender, receiver)
    deliver(sender, receiver, 1)
    yield sender, receiver
    sender.close()
    receiver.close()


class Altered:
    """A database in which somebody has changed a lane or its deliveries."""

    def __init__(self, reads: Reads, *, lane: dict[str, Any] | None = None, rows: Any = None) -> None:
        self._reads, self._lane, self._rows = reads, lane or {}, rows or (lambda rows: rows)

    def lanes(self) -> list[LaneState]:
        return [replace(each, **self._lane) for each in self._reads.lanes() if each.lane_class == 2]

    def inbound_after(self, lane: int, after: int, limit: int) -> list[InboundRow]:
        return [] if after else self._rows(self._reads.inbound_after(lane, after, limit))


def prove(receiver: Desk, reads: Any = None, size: int | None = None) -> list[Completeness]:
    own = receiver.node.reads

    def read(index: int) -> bytes | None:
        return own.read_entries(index, 1)[0] if index < (own.size() if size is None else size) else None

    return prove_lanes(reads or own, records().adopted(NOW_MS), AgencyId(RECEIVER), read)


def state_of(sender: Desk) -> LaneState:
    state = sender.node.reads.lane(outgoing=True, peer=RECEIVER, lane_class=2, epoch=1)
    assert state is not None
    return state


def head_of(sender: Desk, latest: int, digest: bytes | None = None, signer: str = SENDER) -> bytes:
    """Sign a head of the routine lane, as the sender's node would."""
    state = state_of(sender)
    view = replace(sender.view, operations=keys_of(signer).node.operations)
    last = (state.sequence, digest or state.digest)
    return sign_head(lane_id(state, sender.view), last, latest, [], view, NOW_MS + 9).encode()


def test_both_lanes_are_complete_as_their_sender_has_signed(desks: tuple[Desk, Desk]) -> None:
    found = prove(desks[1])
    assert {(each.lane.lane_class, each.answered, each.latest, each.complete) for each in found} == {
        (LaneClass.ROUTINE, 4, 4, True),
        (LaneClass.URGENT, 1, 1, True),
    }


def test_a_lane_of_which_more_was_signed_for_is_not_complete(desks: tuple[Desk, Desk]) -> None:
    sender, receiver = desks
    [found] = prove(receiver, Altered(receiver.node.reads, lane={"head": head_of(sender, 6)}))
    assert (found.answered, found.latest, found.complete) == (4, 6, False)


def test_an_answer_that_is_not_published_yet_is_not_complete(desks: tuple[Desk, Desk]) -> None:
    receiver = desks[1]
    last = max(i for i, body in enumerate(receiver.bodies()) if body.kind == Kind.RECEIVED)
    assert any(not each.complete and each.unpublished for each in prove(receiver, size=last))


def test_what_is_complete_is_so_as_of_the_newest_head_for_two_minutes(desks: tuple[Desk, Desk]) -> None:
    [found] = prove(desks[1], Altered(desks[1].node.reads))
    at_ms, said = found.head_ms, f"{datetime.fromtimestamp(found.head_ms / 1000, UTC):%H:%M}"
    assert lane_line(found, at_ms).endswith(f": complete as of {said}")
    assert not found.overdue(at_ms + MAX_HEAD_AGE_MS)
    assert found.overdue(at_ms + MAX_HEAD_AGE_MS + 1)
    assert lane_line(found, at_ms + 14 * 3_600_000).endswith(
        f": complete as of {said}, and nothing newer for 14 hours: is HK-IMMD connected?"
    )
    less = replace(found, answered=3)
    assert lane_line(less, at_ms).endswith(": not complete yet")
    assert "nothing newer for 121 seconds" not in lane_line(less, at_ms + 121_000)  # in minutes
    assert lane_line(less, at_ms + 121_000).endswith("yet, and nothing newer for 2 minutes: is HK-IMMD connected?")


def test_a_lane_that_goes_on_in_a_later_epoch_is_asked_for_no_newer_head(desks: tuple[Desk, Desk]) -> None:
    sender, receiver = desks
    state = next(each for each in receiver.node.reads.lanes() if each.lane_class == 2)
    lane = replace(lane_id(state_of(sender), sender.view), epoch=2)
    head = sign_head(lane, (0, bytes(32)), 0, [], sender.view, NOW_MS + 99).encode()

    class Later(Altered):
        def lanes(self) -> list[LaneState]:
            return [*super().lanes(), replace(state, row=99, epoch=2, sequence=0, digest=b"", head=head)]

        def inbound_after(self, lane: int, after: int, limit: int) -> list[InboundRow]:
            return [] if lane == 99 else super().inbound_after(lane, after, limit)

    old, new = prove(receiver, Later(receiver.node.reads))
    assert (old.lane.epoch, old.complete, old.overdue(old.head_ms + 10**9)) == (1, True, False)
    assert (new.lane.epoch, new.complete, new.overdue(new.head_ms + 10**9)) == (2, True, True)


def following(row: InboundRow, previous: bytes) -> InboundRow:
    """Put another delivery before this one."""
    changed = replace(parse_delivery(row.delivery), previous=previous).encode()
    return replace(row, delivery=changed, digest=delivery_digest(changed))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: [rows[0], *rows[2:]], "delivery 3: 2 was expected"),
        (lambda rows: [rows[0], rows[2], rows[1], rows[3]], "delivery 3: 2 was expected"),
        (lambda rows: rows[:3], "the head names delivery 4, which is not stored"),
        (lambda rows: [replace(rows[0], digest=bytes(32)), *rows[1:]], "delivery 1: it is of another lane"),
        (lambda rows: [replace(rows[0], delivery=rows[1].delivery), *rows[1:]], "delivery 1: 1 was expected"),
        (lambda rows: [rows[0], following(rows[1], bytes(range(32))), *rows[2:]], "delivery 2: it follows 00010203"),
        (lambda rows: [following(rows[0], bytes(range(32))), *rows[1:]], "delivery 1: the first of a first lane"),
        (lambda rows: [replace(rows[0], entry_index=3), *rows[1:]], "delivery 1: entry 3 does not answer it"),
        (lambda rows: [replace(rows[0], entry_index=rows[1].entry_index), *rows[1:]], "does not answer it"),
    ],
)
def test_a_delivery_that_is_missing_or_altered_is_named_row_15(
    change: Any, said: str, desks: tuple[Desk, Desk]
) -> None:
    receiver = desks[1]
    assert prove(receiver, Altered(receiver.node.reads))[0].complete  # control: unaltered
    with pytest.raises(RefusedError, match=said):
        prove(receiver, Altered(receiver.node.reads, rows=change))


def test_a_head_of_another_agency_or_another_last_delivery_is_refused(desks: tuple[Desk, Desk]) -> None:
    sender, receiver = desks
    for head in (head_of(sender, 4, signer="TW-NHRC"), head_of(sender, 4, digest=bytes(range(32)))):
        with pytest.raises(RefusedError):
            prove(receiver, Altered(receiver.node.reads, lane={"head": head}))
    assert prove(receiver, Altered(receiver.node.reads, lane={"head": head_of(sender, 4)}))[0].complete  # control


def test_the_head_of_another_lane_proves_nothing_here(desks: tuple[Desk, Desk], tmp_path: Path) -> None:
    receiver = desks[1]
    urgent = receiver.node.reads.lane(outgoing=False, peer=SENDER, lane_class=1, epoch=1)
    assert urgent is not None
    with pytest.raises(RefusedError, match="the head is of another"):
        prove(receiver, Altered(receiver.node.reads, lane={"head": urgent.head}))
