"""The times of lane heads: the clock's, but each later than every head of its lane before, whatever the clock does.

A recipient refuses a head that is not later than the one it holds, so a clock set back while the node was stopped
must not show. Times are reserved a minute ahead in the database; a new run begins after what the last one reserved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from audit.record.lane import LaneId
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.node import Node

RESERVED = "head-time"  # the name in the database: milliseconds UTC, eight bytes
RESERVE_MS = 60_000  # a write a minute, and at a restart no head is dated more than that ahead


class HeadTimes:
    """Makes them, over all streams of one node."""

    def __init__(self, node: Node, now_ms: Callable[[], int]) -> None:
        self._node, self.now_ms = node, now_ms
        self._floor = int.from_bytes(node.reads.meta(RESERVED) or b"", "big")
        self._reserved = self._floor
        self._last: dict[LaneId, int] = {}

    def next(self, lane: LaneId) -> int:
        """Return the next head's time."""
        now = self.now_ms()
        made = max(now, self._last.get(lane, self._floor) + 1)
        if made > self._reserved:
            self._reserve(max(made, now + RESERVE_MS))
        self._last[lane] = made
        return made

    def _reserve(self, until_ms: int) -> None:
        # Nobody waits for it: it is lost only if the node dies at once and its clock is set back as well.
        self._reserved = until_ms
        self._node.writer.submit(lambda work: _keep(work, until_ms)).add_done_callback(_seen)


def _keep(work: UnitOfWork, until_ms: int) -> None:
    work.rows.set_meta(RESERVED, until_ms.to_bytes(8, "big"))


def _seen(future: asyncio.Future[None]) -> None:
    """Look at the outcome, which the next reservation makes good."""
    if not future.cancelled():
        future.exception()
