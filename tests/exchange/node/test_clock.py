"""The node's clock against the monotonic one and against the witnesses' times; both clocks are set by the test."""

from __future__ import annotations

import pytest

from exchange.node.clock import MAX_STEP_US, NodeClock, Reading

SECOND = 1_000_000
HOUR, DAY, YEAR = 3600 * SECOND, 86_400 * SECOND, 365 * 86_400 * SECOND
NOW = 1_800_000_000 * SECOND
YEAR_2100 = 4_102_444_800 * SECOND
JUMPS = [sign * size for size in (HOUR, DAY, YEAR) for sign in (1, -1)]


class Machine:
    """A machine's two clocks."""

    def __init__(self) -> None:
        self.wall, self.monotonic = NOW, 5 * SECOND
        self.clock = NodeClock(lambda: self.wall, lambda: self.monotonic)
        self.clock.start(NOW - SECOND)

    def pass_(self, microseconds: int) -> None:
        self.wall += microseconds
        self.monotonic += microseconds

    def hear(self, **times: int) -> None:
        for name, told in times.items():
            self.clock.heard(name, told)


def test_a_clock_that_goes_is_read_as_it_stands() -> None:
    machine = Machine()
    for _ in range(10):
        machine.pass_(HOUR)
        assert machine.clock() == Reading(machine.wall)


def test_five_minutes_are_drift_and_one_microsecond_more_is_a_jump() -> None:
    machine = Machine()
    machine.wall += MAX_STEP_US
    assert machine.clock() == Reading(machine.wall)
    machine.wall -= MAX_STEP_US + 1
    assert machine.clock().stepped_us == -MAX_STEP_US - 1


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_is_told_once_stamped_by_the_monotonic_clock_and_holds_the_node_row_29(jump: int) -> None:
    machine = Machine()
    machine.clock()
    machine.wall += jump
    machine.pass_(7 * SECOND)
    first, second = machine.clock(), machine.clock()
    assert (first.now_us, first.stepped_us) == (NOW + 7 * SECOND, jump)
    assert (second.now_us, second.stepped_us) == (NOW + 7 * SECOND, 0)
    assert first.doubt == second.doubt != ""
    # Control: the same seven seconds without the jump.
    quiet = Machine()
    quiet.pass_(7 * SECOND)
    assert quiet.clock() == Reading(NOW + 7 * SECOND)


@pytest.mark.parametrize("jump", JUMPS)
def test_it_waits_until_the_jump_is_undone_or_most_witnesses_say_the_new_hour_row_29(jump: int) -> None:
    machine = Machine()
    machine.hear(A=NOW, B=NOW)
    machine.wall += jump
    assert machine.clock().doubt
    machine.pass_(SECOND)
    assert machine.clock().doubt  # what they told before the jump speaks for the old time
    machine.hear(A=machine.wall)
    assert machine.clock().doubt  # one of two is not most
    machine.hear(B=machine.wall)
    assert machine.clock() == Reading(machine.wall)
    machine.wall -= jump
    assert machine.clock().stepped_us == -jump  # the next jump is one again
    machine.wall += jump
    assert machine.clock() == Reading(machine.wall)  # undone


def test_an_operator_who_has_compared_the_clock_ends_the_wait_row_29() -> None:
    machine = Machine()
    machine.hear(A=NOW, B=NOW)
    machine.wall += DAY
    assert machine.clock().doubt
    machine.clock.trust()
    assert machine.clock() == Reading(machine.wall)
    machine.wall -= DAY
    assert machine.clock().stepped_us == -DAY  # trusted once is not trusted for the next jump


@pytest.mark.parametrize("wrong", JUMPS)
def test_a_clock_that_most_witnesses_contradict_signs_nothing_row_29(wrong: int) -> None:
    machine = Machine()
    machine.hear(A=NOW - wrong, B=NOW - wrong)
    assert "differs" in machine.clock().doubt
    machine.hear(A=NOW, B=NOW)
    assert machine.clock() == Reading(NOW)


@pytest.mark.parametrize("others", [1, 2, 3, 6])
@pytest.mark.parametrize("dated", [YEAR_2100, 0])
def test_one_witness_dated_2100_moves_nothing_row_68(others: int, dated: int) -> None:
    machine = Machine()
    machine.hear(**{f"W{number}": NOW for number in range(others - 1)}, liar=dated)
    assert machine.clock() == Reading(NOW)
    # Control: were every witness believed, or most of them liars, the node would stand still.
    machine.hear(**{f"liar{number}": dated for number in range(others + 1)})
    assert machine.clock().doubt


def test_one_witness_cannot_confirm_a_jump_row_68() -> None:
    machine = Machine()
    machine.wall += DAY
    assert machine.clock().doubt
    machine.hear(liar=machine.wall)
    assert machine.clock().doubt
    machine.hear(honest=NOW)
    assert machine.clock().doubt
    machine.hear(liar=machine.wall, second=machine.wall)
    assert not machine.clock().doubt  # control: two of three


@pytest.mark.parametrize("back", [HOUR, DAY, YEAR])
def test_a_clock_set_back_while_the_node_was_stopped_is_seen_at_start_row_29(back: int) -> None:
    machine = Machine()
    machine.clock.start(NOW + back)
    machine.pass_(SECOND)
    reading = machine.clock()
    assert (reading.now_us, reading.stepped_us) == (NOW + back + SECOND, -back)
    assert reading.doubt
    # Control: a node that was down for so long finds its clock ahead of its log, as it must be.
    machine.clock.start(NOW - back)
    assert machine.clock() == Reading(machine.wall)


def test_at_start_the_known_cosignatures_say_what_time_it_is_at_least_row_68() -> None:
    machine = Machine()
    behind = [(NOW + DAY) // SECOND] * 2
    machine.clock.start(NOW - DAY, behind)
    assert machine.clock().stepped_us == -DAY
    machine.clock.start(NOW - DAY, [YEAR_2100 // SECOND, NOW // SECOND])
    assert machine.clock() == Reading(NOW)  # one of them dated 2100 moves nothing
    machine.clock.start(NOW - DAY, [YEAR_2100 // SECOND])
    assert machine.clock() == Reading(NOW)
