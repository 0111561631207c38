"""When a commit group departs: the clock is passed in, so each sentence here is exact."""

from __future__ import annotations

import pytest

from exchange.node.departure import FULL_GROUP, JUST_SECONDS, MOST_SECONDS, PATIENCE_SECONDS, Departure


def looks(departure: Departure, *waiting: int, since: float = 0.0) -> list[bool]:
    """Look once in each step of patience, with so many acts waiting."""
    return [departure.is_due(acts, since + (turn + 1) * PATIENCE_SECONDS) for turn, acts in enumerate(waiting)]


def test_an_act_alone_departs_at_the_first_look_and_that_is_at_the_next_turn() -> None:
    departure = Departure()
    assert departure.plan(1, 1, 0.0) == 0
    assert departure.is_due(1, 0.0)


def test_an_act_alone_departs_at_once_also_after_another_that_was_alone() -> None:
    departure = Departure()
    departure.answered(1, 0.0)
    assert departure.plan(1, 1, 0.0) == 0
    assert departure.is_due(1, 0.0)


def test_who_comes_in_the_same_turn_makes_the_group_wait_for_more() -> None:
    departure = Departure()
    departure.plan(1, 1, 0.0)
    assert looks(departure, 2, 3, 4, 4, 4) == [False, False, False, False, True]


@pytest.mark.parametrize(("waiting", "answered"), [(3, 0), (2, 1), (1, 2), (1, 32)])
def test_three_callers_who_wait_or_were_just_answered_are_waited_beside(waiting: int, answered: int) -> None:
    departure = Departure()
    departure.answered(answered, 0.0)
    assert departure.plan(waiting, waiting, JUST_SECONDS / 2) == PATIENCE_SECONDS
    assert looks(departure, waiting, waiting) == [False, True]


def test_who_was_answered_a_while_ago_is_not_expected_back() -> None:
    departure = Departure()
    departure.answered(32, 0.0)
    assert departure.plan(1, 1, JUST_SECONDS) == 0
    assert departure.is_due(1, JUST_SECONDS)


def test_callers_who_wait_elsewhere_count_as_well() -> None:
    departure = Departure()
    assert departure.plan(1, 3, 0.0) == PATIENCE_SECONDS
    assert looks(departure, 1, 1) == [False, True]


def test_one_look_without_a_further_act_is_forgotten_when_one_comes() -> None:
    departure = Departure()
    departure.plan(5, 5, 0.0)
    assert looks(departure, 5, 6, 6, 7, 7, 7) == [False, False, False, False, False, True]


def test_a_full_group_waits_no_longer() -> None:
    departure = Departure()
    departure.plan(5, 5, 0.0)
    assert looks(departure, FULL_GROUP - 1, FULL_GROUP) == [False, True]


def test_no_group_waits_longer_than_it_may_however_many_come() -> None:
    departure = Departure()
    departure.plan(3, 3, 7.0)
    assert not departure.is_due(4, 7.0 + MOST_SECONDS / 2)
    assert departure.is_due(5, 7.0 + MOST_SECONDS)
