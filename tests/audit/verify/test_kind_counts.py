"""When a start alone is over: once an entry stands there that nobody writes before a member has shown its echo."""

from __future__ import annotations

import itertools

import pytest

from audit.entry.kinds import Kind
from audit.verify.kind_counts import ANSWERED, KindCounts

ALONE, STARTED, BEAT = Kind.STARTED_ALONE, Kind.NODE_STARTED, Kind.HEARTBEAT
FIRST = (Kind.GENESIS, Kind.ROSTER_ADOPTED, Kind.MANIFEST_ADOPTED, Kind.KEY_SHEET_ADOPTED)
CASES = [
    ((STARTED, BEAT), None),
    ((ALONE, STARTED, BEAT, Kind.PUBLISHED, Kind.QUEUED), 4),
    *(((ALONE, STARTED, BEAT, kind), None) for kind in ANSWERED),
    ((*ANSWERED, ALONE, STARTED), 4 + len(ANSWERED)),
    ((ALONE, STARTED, BEAT, STARTED), None),  # the next start was answered
    ((ALONE, STARTED, ALONE, STARTED), 6),
    ((ALONE, STARTED, Kind.RECEIVED, ALONE, STARTED), 7),
]


@pytest.mark.parametrize(("kinds", "since"), CASES)
def test_a_start_alone_is_shown_until_somebody_has_answered_row_61(kinds: tuple[Kind, ...], since: int | None) -> None:
    whole = bytes(FIRST + kinds)
    for cut in itertools.chain([len(whole)], range(1, len(whole))):  # however they are dealt out
        counted = KindCounts()
        for part in filter(None, (whole[:cut], whole[cut:])):
            counted.add(part)
        assert counted.alone_since == since, cut
