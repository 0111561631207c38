"""Refusals that are not answers to numbered deliveries: one log entry for each peer, reason and minute, with a count.

A stranger can so make the log grow by a few entries a minute and no faster.
"""

from __future__ import annotations

import asyncio

from audit.entry.entry import Body, Kind, Outcome
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.node import Node
from keys.errors import UnavailableError

FLUSH_SECONDS = 60.0


class Refusals:
    """Counts since the last entry; bounded by members times codes."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._counts: dict[tuple[int, Outcome], int] = {}

    def count(self, peer: int, code: str) -> None:
        """Count one refusal of a member, or of nobody known (0)."""
        outcome = Outcome.__members__.get(code)
        if outcome is not None and outcome is not Outcome.DONE:
            self._counts[peer, outcome] = self._counts.get((peer, outcome), 0) + 1

    async def flush_forever(self) -> None:
        """Write down in turn what was counted."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write down what was counted."""
        if not self._counts:
            return
        counts, self._counts = self._counts, {}
        try:
            await self._node.writer.submit(lambda work: _enter(work, counts))
        except UnavailableError:
            for (peer, outcome), count in counts.items():
                self._counts[peer, outcome] = self._counts.get((peer, outcome), 0) + count


def _enter(work: UnitOfWork, counts: dict[tuple[int, Outcome], int]) -> None:
    for (peer, outcome), count in sorted(counts.items()):
        work.log.add(Body(kind=Kind.REFUSED, peer=peer, outcome=outcome, count=count))
