"""Years of a federation: what only ages is renewed in time and late, people come and go, nodes move and are away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.flow.years import Years
from tests.support.scale import SCALE

TWELVE = (
    "HK-HKPF",
    "HK-IMMD",
    "HK-SB",
    "KH-KSPP",
    "KH-NCCT",
    "MM-CG-HK",
    "TH-MOJ",
    "TH-DSI",
    "KH-MFAIC",
    "TH-RTP",
    "TH-TPB",
    "TW-NHRC",
)
LIVES = [pytest.param(("HK-IMMD", "HK-SB", "TH-DSI"), 392, 7, id="a-year-of-three")]
if SCALE > 1:  # half an hour and more
    LIVES.append(pytest.param(TWELVE, 3 * 365, 3, id="three-years-of-twelve", marks=pytest.mark.timeout(7200)))


@pytest.mark.parametrize(("agencies", "days", "step"), LIVES)
def test_nothing_that_was_accepted_is_lost_over_the_years(
    tmp_path: Path, agencies: tuple[str, ...], days: int, step: int
) -> None:
    years = Years(tmp_path, agencies, seed=days)
    try:
        asyncio.run(_live(years, days, step))
        years.check_readable()
    finally:
        years.close()
    years.check_logs()


async def _live(years: Years, days: int, step: int) -> None:
    """Live on; each of these happens on its day, the same over and over in longer lives."""
    members = [*years.agencies.values()]
    away, late = members[-1], members[0]
    years.silent.add(late.agency)  # its root is looked for when its manifest has ended, and found five days later
    for day in range(0, days, step):
        today = range(day, day + step)
        if any(each % 55 == 7 for each in today):
            years.join(years.chance.choice(years.signing()))
        if any(each % 60 == 40 for each in today):
            years.leave(years.chance.choice(years.signing()))
        if any(each % 91 == 60 for each in today):
            years.move(years.chance.choice(years.signing()))
        if 100 in today:
            years.stop(away)  # longer than its windows last
        if 140 in today:
            years.start(away)
        if 370 in today:
            years.silent.discard(late.agency)
        await years.pass_days(step, bulletins=1)
