"""Times of lane heads: later each time, over restarts and whatever the clock does."""

from __future__ import annotations

import asyncio
from pathlib import Path

from audit.record.lane import LaneClass, LaneId
from exchange.rpc.lane.headtimes import RESERVE_MS, RESERVED, HeadTimes
from keys.identity import AgencyId
from tests.support.world import NOW_MS, Desk


def lane_of(desk: Desk) -> LaneId:
    return LaneId(
        federation_id=desk.view.federation.federation_id,
        sender=desk.view.agency,
        recipient=AgencyId("TH-DSI"),
        lane_class=LaneClass.URGENT,
        epoch=1,
    )


async def run(desk: Desk, clock_ms: int, number: int) -> list[int]:
    """Make heads in one run of the node, with a clock that stands."""
    times = HeadTimes(desk.node, lambda: clock_ms)
    made = [times.next(lane_of(desk)) for _ in range(number)]
    while int.from_bytes(desk.node.reads.meta(RESERVED) or b"", "big") < made[-1]:  # it is written beside them
        await asyncio.sleep(0.01)
    desk.close()
    return made


def test_a_clock_set_back_while_the_node_was_stopped_does_not_show_row_29(tmp_path: Path) -> None:
    made: list[int] = []
    for clock_ms in (NOW_MS, NOW_MS - 3_600_000, NOW_MS - 86_400_000, NOW_MS + 1):
        made += asyncio.run(run(Desk("HK-IMMD", tmp_path), clock_ms, 3))
    assert made == sorted(set(made))
    assert max(made) <= NOW_MS + RESERVE_MS + 100  # and it does not run ahead with each restart
    # Control: kept in memory alone, the second run began a day before the first one's heads.
    assert made[0] > NOW_MS - 86_400_000


def test_the_clocks_own_time_is_used_where_it_goes_on(tmp_path: Path) -> None:
    assert asyncio.run(run(Desk("HK-IMMD", tmp_path), NOW_MS, 2)) == [NOW_MS, NOW_MS + 1]
    later = NOW_MS + 10 * RESERVE_MS
    assert asyncio.run(run(Desk("HK-IMMD", tmp_path), later, 2)) == [later, later + 1]
