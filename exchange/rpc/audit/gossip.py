"""What peers tell each other of third members' logs, so that a log shown differently to two of them is found by the two.

Each stream begins with the newest checkpoints that its sides hold of others, and receipts carry what is newer than that.
A note of the size that we hold must have its root. Of another size the log itself is asked for the proof that joins
the two; where it cannot give one, everybody who holds both notes knows, and where its own proof shows that they are
two histories, that is FORK_SEEN. Nobody's word moves what we hold: only a log's own proof does that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Protocol

import grpc

from audit.note.checkpoint import Checkpoint, parse_note, verify_note
from audit.note.epochs import epoch_of_origin
from audit.tree.proof import ConsistencyError, verify_consistency
from audit.verify.trust import member_of_log
from exchange.node.node import Node
from exchange.rpc.transport import status
from exchange.rpc.transport.program_log import ProgramLog
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.identity import AgencyId
from keys.refusals import Cure, cured_by

SHOW_SECONDS = 1.0  # receipts carry others' notes no more often
UNKNOWN = cured_by(Cure.RECORDS)  # the peer has adopted what we have not, or the reverse
Prove = Callable[[int, int], Awaitable[Sequence[bytes]]]


class Judge(Protocol):
    """Who decides about two notes; ``exchange.rpc.audit.peer_checkpoints``."""

    async def check_echo(self, peer: AgencyId, note: str) -> None: ...
    async def contradicted(
        self, peer: AgencyId, first: str, second: str, proof: Sequence[bytes], prove: Prove | None = None
    ) -> bool: ...


def third_notes(node: Node, peer: str) -> list[str]:
    """Return the newest checkpoints that we hold of all members but one and ourselves."""
    view, reads = node.view, node.reads
    known = [
        reads.peer_checkpoint(member.agency, view.newest_epoch(member.agency))
        for member in view.federation.roster.members
        if member.agency not in (peer, view.agency)
    ]
    return [note for _, note in filter(None, known)]


class ShownNotes:
    """What of others' notes was shown on one stream."""

    def __init__(self, node: Node, peer: str) -> None:
        self._node, self._peer = node, peer
        self._shown: dict[str, int] = {}
        self._next = 0.0

    def fresh(self) -> list[str]:
        """Return what is newer than before, at most once a second."""
        if time.monotonic() < self._next:
            return []
        self._next = time.monotonic() + SHOW_SECONDS
        fresh = []
        for note in third_notes(self._node, self._peer):
            checkpoint = parse_note(note).checkpoint
            if self._shown.get(checkpoint.origin, 0) < checkpoint.size:
                self._shown[checkpoint.origin] = checkpoint.size
                fresh.append(note)
        return fresh


class Gossip:
    """Hears what peers hold of third members' logs."""

    def __init__(self, node: Node, judge: Judge, log: ProgramLog, seconds: float) -> None:
        """Prepare; of one log a proof is asked for at most once in so many *seconds*."""
        self._node, self._judge, self._log, self._seconds = node, judge, log, seconds
        self.provers: dict[AgencyId, Prove] = {}  # of members that we follow now
        self._next: dict[str, float] = {}  # by origin, when a proof may be asked for again
        self._tasks: set[asyncio.Task[None]] = set()

    async def hear(self, peer: AgencyId, notes: Sequence[str]) -> None:
        """Take a peer's notes; what must be asked for is asked beside the stream.

        Raises:
            RefusedError: TOO_MANY; a note that its log has not signed: the peer holds none that it has not verified.
            RolledBackError: One of our own log shows that this node is an old copy.
        """
        view = self._node.view
        if len(notes) > len(view.federation.roster.members):
            raise RefusedError("TOO_MANY", f"{len(notes)} checkpoints of {len(view.federation.roster.members)} logs")
        for note in notes:
            origin = parse_note(note).checkpoint.origin
            try:
                member, _ = member_of_log(view.federation.roster, origin)
                key = view.key_of(member.agency, origin)
            except RefusedError as refusal:
                if refusal.code in UNKNOWN:
                    continue
                raise
            if member.agency == view.agency:
                await self._judge.check_echo(peer, note)
                continue
            known = self._node.reads.peer_checkpoint(member.agency, epoch_of_origin(origin))
            if known is not None:
                await self._compare(member.agency, known[1], note, verify_note(note, key))

    async def _compare(self, agency: AgencyId, known: str, note: str, told: Checkpoint) -> None:
        ours = parse_note(known).checkpoint
        if ours.size == told.size:
            if ours.root != told.root:
                await self._judge.contradicted(agency, known, note, ())
            return
        prove = self.provers.get(agency)
        if prove is None or time.monotonic() < self._next.get(told.origin, 0.0):
            return  # it will be told again
        self._next[told.origin] = time.monotonic() + self._seconds
        self._beside(self._join(agency, (known, ours), (note, told), prove))

    def _beside(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(
        self, agency: AgencyId, known: tuple[str, Checkpoint], told: tuple[str, Checkpoint], prove: Prove
    ) -> None:
        """Ask a log for the proof that joins two of its notes."""
        older, newer = sorted((known[1], told[1]), key=lambda each: each.size)
        try:
            hashes = await prove(older.size, newer.size)
            try:
                verify_consistency(older, newer, hashes)
            except ConsistencyError:
                await self._judge.contradicted(agency, known[0], told[0], hashes, prove)
        except grpc.RpcError as error:
            if isinstance(status.error_of(error), RefusedError):  # it has no such proof
                self._log.alarm("checkpoints-not-joined", peer=agency, size=newer.size)
        except (RefusedError, UnavailableError, IntegrityError):
            return  # whoever the stream or the writer belongs to finds out
