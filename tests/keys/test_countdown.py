"""What ends is told at 90, 30 and 7 days, to whoever can do something, with what helps."""

from __future__ import annotations

import pytest

from keys.certificate import ends_ms
from keys.countdown import Deadline, deadlines, own_deadlines, warned
from keys.durations import DAY_MS
from keys.identity import AgencyId
from tests.keys.world import NOW, agency, federation_of, roster_of

HK = AgencyId("HK-SB")
KEYS = agency("HK-SB")
FEDERATION = federation_of([KEYS], roster_of([KEYS]))


@pytest.mark.parametrize(
    ("days", "step"), [(90, None), (89, 90), (30, 90), (29, 30), (7, 30), (6, 7), (0, 7), (-1, 0), (-400, 0)]
)
def test_a_countdown_has_three_steps_and_an_end(days: int, step: int | None) -> None:
    each = Deadline(what="manifest", whose=HK, ends_ms=NOW + days * DAY_MS)
    assert (each.days(NOW), each.step(NOW)) == (days, step)


def test_what_the_node_renews_by_itself_is_told_once_it_should_have() -> None:
    each = Deadline(what="windows", whose=HK, ends_ms=NOW + 7 * DAY_MS, first=7)
    assert (each.step(NOW), each.step(NOW + DAY_MS)) == (None, 7)


@pytest.mark.parametrize(
    ("what", "days", "line"),
    [
        ("manifest", 23, "HK-SB's manifest ends in 23 days; your operator runs exchange node renewal-request"),
        ("certificate", 1, "HK-SB's certificate ends tomorrow; your operator runs exchange node renewal-request"),
        ("roster", 0, "HK-SB's roster ends today; the federation signs a new roster"),
        ("key", -1, "HK-SB's key ended 1 day ago; your operator runs exchange node renewal-request"),
        (
            "windows",
            -2,
            "HK-SB's encryption windows ended 2 days ago; your operator looks at exchange node check: the node makes "
            "them by itself",
        ),
    ],
)
def test_it_is_one_line_with_what_helps(what: str, days: int, line: str) -> None:
    assert Deadline(what=what, whose=HK, ends_ms=NOW + days * DAY_MS).line(NOW) == line


def test_a_node_has_four_ends_and_an_officer_two_more() -> None:
    leaf = ends_ms(KEYS.tls_leaf)
    found = deadlines(FEDERATION, HK, leaf)
    assert found == sorted(found, key=lambda each: each.ends_ms)
    assert {each.what for each in found} == {"windows", "certificate", "manifest", "roster"}
    assert {each.what for each in found if each.by_root} == {"certificate", "manifest"}
    own = own_deadlines(FEDERATION, HK, "duty", leaf)
    assert {each.what: each.whose for each in own} == {"key": "HK-SB/duty", "certificate": "HK-SB/duty"}
    assert [each.what for each in own_deadlines(FEDERATION, HK, "nobody", leaf)] == ["certificate"]
    assert warned(found[1:], NOW) == []
    assert [each.step(NOW + 300 * DAY_MS) for each in warned(found[1:], NOW + 300 * DAY_MS)] == [90, 90, 90]
    assert {each.what for each in deadlines(FEDERATION, HK, None)} == {"windows", "manifest", "roster"}
