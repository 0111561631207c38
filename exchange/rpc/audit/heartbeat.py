"""What a node enters when nothing happens: that it lives, and how far its peers' logs have come.

HEARTBEAT when nothing was entered for ``heartbeat_seconds``: so "no news" is a signed and cosigned statement.
CHECKPOINT_SEEN pins a peer's newest checkpoint in our log, at most once an hour for each peer and only if it has grown;
when that was last is kept with the entry, so that a restart does not begin the wait again. Both are looked at together,
at least once in each interval.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from audit.entry.entry import Body, Kind, parse_entry
from audit.note.checkpoint import parse_note
from exchange.acts.delivery import known_checkpoint
from exchange.acts.unit_of_work import UnitOfWork
from exchange.rpc.transport.runtime import Runtime
from keys.errors import UnavailableError
from keys.identity import AgencyId
from keys.roster import Member

LEAST_SECONDS = 0.2  # between two looks
SEEN_MS = 3_600_000  # of one peer's log at most one entry an hour
_SEEN = "checkpoint-seen "  # with the agency: when, and at what size


class Heartbeat:
    """Looks whether something is due."""

    def __init__(self, runtime: Runtime) -> None:
        self._node, self._now_ms, self._log = runtime.node, runtime.now_ms, runtime.log
        self._seconds = runtime.settings.heartbeat_seconds

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await asyncio.sleep(max(LEAST_SECONDS, self._seconds - self._idle_ms() / 1000))
            try:
                await self.beat()
            except UnavailableError:
                continue  # nothing is signed now; why not, others say
            except Exception as error:  # noqa: BLE001 - a silent log must not be a fault's doing
                self._log.fault("heartbeat", error)

    async def beat(self) -> None:
        """Enter what is due at this moment."""
        idle = self._idle_ms() >= self._seconds * 1000
        grown = self._grown()
        if idle or grown:
            await self._node.writer.submit(lambda work: self._enter(work, idle, grown))

    def _idle_ms(self) -> int:
        """Return for how long nothing was entered."""
        reads = self._node.reads
        size = reads.size()
        last_ms = parse_entry(reads.read_entries(size - 1, 1)[0]).time_us // 1000 if size else 0
        return self._now_ms() - last_ms

    def _grown(self) -> list[tuple[Member, str]]:
        """Find whose log has grown since an entry of ours named it, an hour ago or more."""
        view, reads = self._node.view, self._node.reads
        found = []
        for member in view.federation.roster.members:
            known = known_checkpoint(reads, member.agency, view) if member.agency != view.agency else None
            if known is None:
                continue
            at_ms, origin, size = _last(reads.meta(_SEEN + member.agency))
            new = parse_note(known[1]).checkpoint
            if (new.origin != origin or new.size > size) and self._now_ms() - at_ms >= SEEN_MS:
                found.append((member, known[1]))
        return found

    def _enter(self, work: UnitOfWork, idle: bool, grown: Sequence[tuple[Member, str]]) -> None:
        for member, note in grown:
            seen = parse_note(note).checkpoint
            body = Body(kind=Kind.CHECKPOINT_SEEN, peer=member.number, peer_size=seen.size, peer_root=seen.root)
            work.log.add(body)
            state = f"{self._now_ms()} {seen.size} {seen.origin}"
            work.rows.set_meta(_SEEN + AgencyId(member.agency), state.encode())
        if idle and not grown:
            work.log.add(Body(kind=Kind.HEARTBEAT))


def _last(state: bytes | None) -> tuple[int, str, int]:
    """Read when, of which origin and at what size a peer's log was entered last."""
    if state is None:
        return 0, "", 0
    at_ms, size, origin = state.decode().split(" ", 2)
    return int(at_ms), origin, int(size)
