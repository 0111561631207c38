"""Checkpoints of others that we hold, and ours that others hold.

Each peer's newest one lies as a file under ``peers/``, for auditors who want an outside word about that peer's log.
What a peer holds of us (the *echo*) must be a part of our log: if it is signed by us and is not, this node was rolled
back or its log key is used elsewhere, and it signs nothing more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from audit.checkpoint import Checkpoint, parse_note, verify_note
from audit.epochs import epoch_of_origin
from audit.proof import verify_consistency
from exchange.delivery import held_checkpoint
from exchange.node import Node
from exchange.rpc.logs import Log
from exchange.writer import Group
from exchange.writing import Writing
from keys.errors import IntegrityError
from keys.identity import AgencyId

WRITE_SECONDS = 1.0  # a peer's file follows so soon
Prove = Callable[[int, int], Awaitable[Sequence[bytes]]]


class Checkpoints:
    """Keeps both kinds."""

    def __init__(self, node: Node, log: Log) -> None:
        self._node, self._log = node, log
        self._dirty: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._echoed = (0, b"")  # largest of ours that was echoed and is in our log

    def seen(self, peer: str) -> None:
        """Write the peer's newest checkpoint to its file, soon."""
        self._dirty.add(peer)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what was seen."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for peer in sorted(self._dirty):
            held = held_checkpoint(self._node.reads, AgencyId(peer), self._node.house)
            if held is not None:
                _write(self._node.paths.peer_checkpoint(peer), held[1])
        self._dirty.clear()

    async def check_echo(self, note: str) -> None:
        """Hold a checkpoint of ours that somebody shows us against our log.

        Raises:
            RefusedError: It is not signed by us, or malformed: RECEIPT_INVALID or what ``verify_note`` raises.
            IntegrityError: It is signed by us and is not in our log; from now on nothing is signed.
        """
        if not note or self._is_of_earlier_epoch(note):
            return
        shown = verify_note(note, self._node.vkey)
        if (shown.size, shown.root) == self._echoed:
            return
        ours = await self._node.writer.submit(_nothing, lambda _, group: _root(group, shown.size))
        if ours != shown.root:
            error = IntegrityError(f"a peer holds our checkpoint of size {shown.size}; our log is another")
            self._node.writer.fail(error)
            self._log.alarm("own-log-contradicted", size=shown.size)
            raise error
        self._echoed = max(self._echoed, (shown.size, shown.root))

    def _is_of_earlier_epoch(self, note: str) -> bool:
        """Tell whether a peer has only seen an epoch of ours that is over; RefusedError if it is not signed by us.

        Where that epoch ended our manifest says; a note beyond that end shows what the break has cost.
        """
        house = self._node.house
        origin = parse_note(note).checkpoint.origin
        if origin == house.origin:
            return False
        shown = verify_note(note, house.key_of(house.agency, origin))
        end = house.before
        if end is not None and end.origin == origin and shown.size > end.size:
            self._log.alarm("own-epoch-went-further", size=shown.size)
        return True

    async def take(self, peer: AgencyId, note: str, prove: Prove) -> None:
        """Take a peer's newest checkpoint, which its AuditLog serves, after a proof that it extends ours.

        Args:
            peer: Whose log.
            note: As served.
            prove: Gives the consistency proof from one size to another.

        Raises:
            RefusedError: RECEIPT_INVALID and those of notes.
        """
        key = self._node.house.log_key(peer)
        new = verify_note(note, key)
        held = held_checkpoint(self._node.reads, peer, self._node.house)
        if held is not None:
            old = verify_note(held[1], key)
            if new.size < old.size:
                return  # a receipt was faster; that the peer's log did not shrink, its echo will show it
            hashes = await prove(old.size, new.size) if new.size > old.size else []
            verify_consistency(old, new, hashes)
        await self._node.writer.submit(lambda writing: _advance(writing, peer, new, note), lambda *_: None)
        self.seen(peer)


def _advance(writing: Writing, peer: str, new: Checkpoint, note: str) -> None:
    epoch = epoch_of_origin(new.origin)
    held = writing.rows.peer_checkpoint(peer, epoch)
    if held is None or held[0] < new.size:
        writing.rows.set_peer_checkpoint(peer, new.size, note, epoch)


def _root(group: Group, size: int) -> bytes:
    try:
        return group.log.root(size)
    except LookupError:
        return b""


def _nothing(writing: Writing) -> None:
    return None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, "utf-8")
    os.replace(fresh, path)
