"""Peers' checkpoints that their quorum has cosigned: only up to them is anything in a peer's log called proven.

Receipts carry the log's own line alone; the cosigned checkpoint follows within a minute and lies as a file,
``peers/<AGENCY>/witnessed``. It is taken only if it is the peer's, its quorum's, and of one history with the newest
checkpoint that we hold of that log; it moves forward only.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from audit.note.checkpoint import Checkpoint, parse_note, verify_note
from audit.note.policy import WitnessPolicy
from audit.tree.proof import verify_consistency
from audit.verify.trust import policy_of
from exchange.acts.delivery import known_checkpoint
from exchange.node.node import Node
from keys.errors import RefusedError
from keys.files import PUBLIC, write_file
from keys.identity import AgencyId

Prove = Callable[[int, int], Awaitable[Sequence[bytes]]]
WITNESSED_FILE = "witnessed"


def witnessed_path(checkpoint: Path) -> Path:
    """Return where the cosigned checkpoint lies, beside the newest one."""
    return checkpoint.with_name(WITNESSED_FILE)


def newest_note(checkpoint: Path, known: str) -> str:
    """Return what the file of a peer's newest checkpoint should say: cosigned where that is of this size or more.

    Args:
        checkpoint: The file's path.
        known: The newest note that we hold, with the log's own line.
    """
    try:
        note = witnessed_path(checkpoint).read_text("utf-8")
        cosigned, bare = parse_note(note).checkpoint, parse_note(known).checkpoint
    except (FileNotFoundError, UnicodeDecodeError, RefusedError):
        return known
    return note if cosigned.origin == bare.origin and cosigned.size >= bare.size else known


class PeerWitnessed:
    """Keeps one peer's cosigned checkpoint."""

    def __init__(self, node: Node, peer: AgencyId) -> None:
        self._node, self._peer = node, peer
        self._path = witnessed_path(node.paths.peer_checkpoint(peer))
        self._work = threading.Lock()  # a stream that ended leaves its last write to its thread, the next one begins

    def is_behind(self) -> bool:
        """Return whether we hold a newer checkpoint of the peer than its cosigned one."""
        known = known_checkpoint(self._node.reads, self._peer, self._node.view)
        return known is not None and self._size_of(parse_note(known[1]).checkpoint.origin) < known[0]

    async def take(self, note: str, prove: Prove) -> bool:
        """Take a cosigned checkpoint that the peer shows.

        1. The peer has signed it, in its newest epoch. 2. Every line of a known witness verifies, and they are a quorum.
        3. It is newer than the one we have. 4. It is of one history with the newest that we hold.

        Args:
            note: As shown; empty where the peer has none.
            prove: Gives the peer's consistency proof from one size to another.

        Returns:
            Whether it was newer.

        Raises:
            RefusedError: What notes, policies and proofs raise; RECEIPT_INVALID where no quorum has cosigned it.
        """
        if not note:
            return False
        view = self._node.view
        new = verify_note(note, view.log_key(self._peer))  # 1
        policy: WitnessPolicy = policy_of(view.federation.roster, self._peer)
        if not policy.judge(note).reached:  # 2
            raise RefusedError("RECEIPT_INVALID", f"{self._peer} shows a checkpoint as cosigned that no quorum has")
        if new.size <= self._size_of(new.origin):  # 3
            return False
        known = known_checkpoint(self._node.reads, self._peer, view)
        if known is not None:
            old = verify_note(known[1], view.log_key(self._peer))
            await _check_one_history(old, new, prove)  # 4
        return await asyncio.to_thread(self._write, new, note)

    def _write(self, new: Checkpoint, note: str) -> bool:
        """Write it, if it is newer still."""
        with self._work:
            if new.size <= self._size_of(new.origin):
                return False
            _write(self._path, note)
            return True

    def _size_of(self, origin: str) -> int:
        """Return the size that we have of this origin."""
        try:
            checkpoint = parse_note(self._path.read_text("utf-8")).checkpoint
        except (FileNotFoundError, UnicodeDecodeError, RefusedError):
            return 0  # none, or one that was damaged: the next one takes its place
        return checkpoint.size if checkpoint.origin == origin else 0


async def _check_one_history(one: Checkpoint, two: Checkpoint, prove: Prove) -> None:
    old, new = sorted((one, two), key=lambda each: each.size)
    hashes = await prove(old.size, new.size) if old.size < new.size else []
    verify_consistency(old, new, hashes)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written again with each newer one; the peer is asked for it again where it was lost.
    write_file(path, text.encode(), mode=PUBLIC, replace=True, durable=False)
