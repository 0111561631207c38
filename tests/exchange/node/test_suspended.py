"""A suspended writer: nothing new is signed, questions are answered; a jump of the clock is one entry. Rows 29 and 61."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.entry.entry import Body, Kind, parse_body, parse_entry
from audit.note.checkpoint import parse_note
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.clock import NodeClock
from keys.errors import UnavailableError
from tests.support.world import NOW_MS, Desk

NOW = NOW_MS * 1000
HOUR, DAY, YEAR = 3_600_000_000, 86_400_000_000, 365 * 86_400_000_000


class Clocked(Desk):
    """A desk whose two clocks the test sets."""

    def __init__(self, home: Path) -> None:
        self.wall = self.monotonic = NOW
        super().__init__("HK-IMMD", home)
        clock = NodeClock(lambda: self.wall, lambda: self.monotonic)
        clock.start(self.node.log.time_us)
        self.node.clock = self.node.writer._clock = clock

    def beat(self) -> int:
        return self.node.writer.run(beat)

    def entries(self, kind: Kind) -> list[tuple[int, Body]]:
        """Return time and body of the entries of one kind."""
        reads = self.node.reads
        heads = [parse_entry(entry) for entry in reads.read_entries(0, reads.size())]
        found = [(head.time_us, parse_body(head.body)) for head in heads]
        return [(time_us, body) for time_us, body in found if body.kind == kind]


def beat(work: UnitOfWork) -> int:
    work.rows.set_meta("beaten", b"1")
    return work.log.add(Body(kind=Kind.HEARTBEAT))


def test_a_suspended_writer_turns_away_what_would_be_an_entry_and_answers_the_rest_row_61(tmp_path: Path) -> None:
    desk = Clocked(tmp_path)
    size, note = desk.node.log.size, desk.node.note
    desk.node.writer.suspend("no other member has told")
    with pytest.raises(UnavailableError, match="no other member has told"):
        desk.beat()
    assert desk.node.reads.meta("beaten") is None  # nothing of the act is left
    assert desk.node.writer.run(lambda work: 7, lambda value, group: (value, group.log.size)) == (7, size)
    assert (desk.node.log.size, desk.node.note) == (size, note)
    desk.node.writer.resume()
    assert desk.beat() == size  # control
    desk.close()


@pytest.mark.parametrize("jump", [HOUR, -HOUR, DAY, -DAY, YEAR, -YEAR])
def test_a_jump_is_one_entry_and_then_nothing_is_signed_until_it_is_undone_row_29(tmp_path: Path, jump: int) -> None:
    desk = Clocked(tmp_path)
    first = desk.beat()
    desk.wall += jump + 7_000_000
    desk.monotonic += 7_000_000
    for _ in range(3):
        with pytest.raises(UnavailableError, match="clock jumped"):
            desk.beat()
    assert desk.entries(Kind.CLOCK_STEPPED) == [(NOW + 7_000_000, Body(kind=Kind.CLOCK_STEPPED, count=abs(jump)))]
    assert parse_note(desk.node.note).checkpoint.size == first + 2  # the jump itself is signed for
    desk.wall -= jump
    assert desk.beat() == first + 2
    times = [time_us for time_us, _ in desk.entries(Kind.HEARTBEAT)]
    assert times == [NOW, NOW + 7_000_000]
    desk.close()


def test_a_clock_that_jumps_back_during_a_commit_brings_no_wrong_order_row_29(tmp_path: Path) -> None:
    desk = Clocked(tmp_path)

    def jump(work: UnitOfWork) -> int:
        desk.wall -= DAY
        return beat(work)

    desk.node.writer.run(jump)
    with pytest.raises(UnavailableError):
        desk.beat()
    ((before, _),) = desk.entries(Kind.HEARTBEAT)
    ((after, _),) = desk.entries(Kind.CLOCK_STEPPED)
    assert before <= after
    desk.close()


def test_a_jump_before_the_start_is_over_is_entered_when_it_is(tmp_path: Path) -> None:
    """Nothing may be signed yet, so the entry waits; it is not forgotten."""
    desk = Clocked(tmp_path)
    desk.node.writer.suspend("no other member has told")
    desk.wall += DAY
    with pytest.raises(UnavailableError):
        desk.beat()
    assert desk.entries(Kind.CLOCK_STEPPED) == []
    desk.node.clock.trust()
    desk.node.writer.resume()
    desk.beat()
    assert len(desk.entries(Kind.CLOCK_STEPPED)) == 1
    desk.close()
