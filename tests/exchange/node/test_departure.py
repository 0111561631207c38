"""When a commit group departs: the clock is passed in, so each sentence here is exact."""

from __future__ import annotations

import pytest

from exchange.node.departure import FULL_GROUP, JUST_SECONDS, MOST_SECONDS, PATIENCE_SECONDS, Departure


def looks(departure: Departure, *waiting: int) -> list[bool]:
    """Look at the next turn, and then in each step of patience, with so many acts waiting and nobody elsewhere."""
    return [departure.is_due(acts, acts, turn * PATIENCE_SECONDS) for turn, acts in enumerate(waiting)]


def test_an_act_alone_departs_at_the_next_turn() -> None:
    departure = Departure()
    departure.plan(1, 1, 0.0)
    assert looks(departure, 1) == [True]


def test_an_act_alone_departs_at_once_also_after_another_that_was_alone() -> None:
    departure = Departure()
    departure.answered(1, 0.0)
    departure.plan(1, 1, 0.0)
    assert looks(departure, 1) == [True]


def test_who_comes_in_the_same_turn_makes_the_group_wait_for_more() -> None:
    departure = Departure()
    departure.plan(1, 1, 0.0)
    assert looks(departure, 2, 3, 4, 4, 4) == [False, False, False, False, True]


@pytest.mark.parametrize(("callers", "answered"), [(3, 0), (1, 3), (1, 64)])
def test_from_three_callers_on_the_next_is_waited_for(callers: int, answered: int) -> None:
    departure = Departure()
    departure.answered(answered, 0.0)
    departure.plan(1, callers, JUST_SECONDS / 2)
    assert looks(departure, 1, 1, 1) == [False, False, True]


def test_who_was_answered_a_while_ago_is_not_expected_back() -> None:
    departure = Departure()
    departure.answered(32, 0.0)
    departure.plan(1, 1, JUST_SECONDS)
    assert departure.is_due(1, 1, JUST_SECONDS)


def test_a_group_departs_once_all_are_back_who_were_there() -> None:
    departure = Departure()
    departure.answered(5, 0.0)
    departure.plan(1, 1, 0.0)
    assert looks(departure, 2, 4, 5) == [False, False, True]


def test_who_waits_elsewhere_is_not_waited_for() -> None:
    departure = Departure()
    departure.answered(5, 0.0)
    departure.plan(1, 4, 0.0)
    assert not departure.is_due(1, 4, 0.0)
    assert departure.is_due(2, 5, PATIENCE_SECONDS)


def test_one_look_without_a_further_act_is_forgotten_when_one_comes() -> None:
    departure = Departure()
    departure.plan(5, 5, 0.0)
    assert looks(departure, 5, 5, 6, 6, 7, 7, 7) == [False, False, False, False, False, False, True]


def test_a_full_group_waits_no_longer() -> None:
    departure = Departure()
    departure.plan(5, 5, 0.0)
    assert looks(departure, FULL_GROUP - 1, FULL_GROUP) == [False, True]


def test_no_group_waits_longer_than_it_may_however_many_come() -> None:
    departure = Departure()
    departure.plan(3, 3, 7.0)
    assert not departure.is_due(4, 4, 7.0 + MOST_SECONDS / 2)
    assert departure.is_due(5, 5, 7.0 + MOST_SECONDS)
