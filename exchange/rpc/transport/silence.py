"""Peers that do not come for what waits for them: who, since when, how much.

A recipient dials the sender; so a peer that has moved, or is down, or cannot reach us looks from here like one that
has nothing to ask. That is told as soon as something waits for it: in the program's log, in ``node status`` and
``node check``, and to officers in their outbox.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from audit.record.lane import LaneClass
from exchange.rpc.transport.runtime import Runtime
from keys.identity import AgencyId

AGAIN_MS = 600_000  # an alarm is repeated so often
LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """One peer that stays away."""

    peer: AgencyId
    since_ms: int  # it has not followed us since then, milliseconds UTC
    waiting: int  # deliveries


def silences(runtime: Runtime) -> dict[AgencyId, Silence]:
    """Find the peers that stay away while something waits for them."""
    epoch, now_ms, settings = runtime.node.view.epoch, runtime.now_ms(), runtime.settings
    waiting: dict[AgencyId, dict[int, int]] = {}
    for lane in runtime.node.reads.lanes():
        if lane.outgoing and lane.epoch == epoch and lane.sequence > lane.taken:
            waiting.setdefault(AgencyId(lane.peer), {})[lane.lane_class] = lane.sequence - lane.taken
    found = {}
    for peer, lanes in sorted(waiting.items()):
        since_ms = runtime.connections.silent_since_ms(peer)
        patience = settings.silent_urgent_seconds if LaneClass.URGENT in lanes else settings.silent_seconds
        if since_ms and now_ms - since_ms >= patience * 1000:
            found[peer] = Silence(peer=peer, since_ms=since_ms, waiting=sum(lanes.values()))
    return found


class SilenceWatch:
    """Writes an alarm for each such peer: once, again every ten minutes, and when it is over."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self._log = runtime, runtime.log
        self._told: dict[AgencyId, int] = {}  # when, of those that stay away

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - a fault here must not end the node
                self._log.fault("silence", error)

    def look(self) -> None:
        """Write what is due at this moment."""
        found, now_ms = silences(self._runtime), self._runtime.now_ms()
        for peer, each in found.items():
            if now_ms - self._told.get(peer, -AGAIN_MS) >= AGAIN_MS:
                self._told[peer] = now_ms
                seconds = (now_ms - each.since_ms) // 1000
                self._log.alarm("peer-does-not-follow", peer=peer, count=each.waiting, seconds=seconds)
        for peer in self._told.keys() - found.keys():
            del self._told[peer]
            comes = self._runtime.connections.of(peer).follows_since_ms
            self._log.alarm("peer-follows-again" if comes else "nothing-waits-for-peer", peer=peer)
