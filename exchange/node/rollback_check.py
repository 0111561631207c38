"""What a node must know before it signs: whether anybody holds more of its log, or another log, than it has itself.

A restored copy is sound in itself, lock and all; only other members can tell that it is old. Whatever they show counts
only if it is signed with this log's key. What is larger than the log, or another history at its size, means that this
node was rolled back, or that its key signs elsewhere: either way a signature of this node would be a fork.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from audit.note.checkpoint import Checkpoint, parse_note, verify_note
from audit.note.epochs import split_origin
from exchange.acts import forks
from exchange.acts.node_view import House
from exchange.store.store import Reads
from exchange.acts.unit_of_work import Writing
from keys.errors import IntegrityError, UnavailableError

if TYPE_CHECKING:
    from exchange.node.node import Node

EVIDENCE_FOLDER = "evidence"
T = TypeVar("T")


class RolledBackError(IntegrityError):
    """Another member holds a checkpoint of ours, under our key, that this node's log does not contain."""

    def __init__(self, peer: str, shown: Checkpoint, own: Checkpoint, *, running: bool = False) -> None:
        """Say who holds what; *running* if this node has signed something since its start."""
        copy = "another copy of this node runs" if running else "it is an older copy"
        if shown.origin != own.origin:
            found = f"of {shown.origin}, and this node is still in {own.origin}: {copy}"
        elif shown.size > own.size:
            found = f"of size {shown.size}, and this log ends at {own.size}: {copy}"
        else:
            found = f"of size {shown.size} with another history than this log, which has {own.size} entries"
            found += f": {copy}" if running else ""
        signed = "nothing more is signed here" if running else "nothing is signed"
        super().__init__(f"{peer} holds our checkpoint {found}, or our log's key signs elsewhere; {signed}")
        self.hint = (
            "look for the other copy: if it goes on, leave this one off; if none does, run"
            if running
            else "stop every other copy of this node; then bring back the newest database, or run"
        ) + " exchange node recover --from-peers, which begins a new epoch"
        self.peer, self.shown, self.own = peer, shown, own


def read_answer(note: str, house: House) -> Checkpoint | None:
    """Read what a peer shows as our checkpoint; None where it holds none, or one of an epoch that has ended since.

    Raises:
        RefusedError: It is malformed or not signed by us, so it says nothing.
    """
    if not note:
        return None
    _, epoch = split_origin(parse_note(note).checkpoint.origin)
    shown = verify_note(note, house.log_key(house.agency, epoch))
    return shown if epoch >= house.epoch else None


def check_answer(peer: str, shown: Checkpoint, own: Checkpoint, root: bytes) -> None:
    """Hold a checkpoint of ours that a peer shows against our log.

    Args:
        peer: Who shows it.
        shown: From ``read_answer``.
        own: What our log commits to.
        root: Our log's at the shown size; empty where it is smaller.

    Raises:
        RolledBackError: It is no part of our log, or of a later epoch of it.
    """
    if shown.origin != own.origin or shown.size > own.size or shown.root != root:
        raise RolledBackError(peer, shown, own)


def write_unsigned(node: Node, act: Callable[[Writing], T]) -> T:
    """Run an act of a node that has asked nobody, so that it may not sign: the next start signs for it.

    Args:
        node: Opened and not started; nobody else writes.
        act: As the writer's.

    Raises:
        RefusedError: The act's; nothing was written.
        UnavailableError: This machine's clock is in doubt.
    """
    reading = node.clock()
    if reading.held:
        raise UnavailableError(reading.held, 5)
    stage = node.log.begin(reading.now_us)
    try:
        with node.store.transaction() as rows:
            value = act(Writing(rows, stage, reading.now_us // 1000))
            stage.write(rows)
    except BaseException:
        node.log.rollback(stage)
        raise
    stage.verify_read_back(node.reads)
    node.log.commit(stage)
    return value


def save_evidence(folder: Path, name: str, text: str) -> Path:
    """Write evidence as a file, once and whole; what is there stays."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    if not path.exists():
        fresh = folder / f".{name}.new"
        fresh.write_text(text, "utf-8")
        os.replace(fresh, path)
    return path


def export_forks(reads: Reads, home: Path) -> None:
    """Write every pair of notes that is kept as a file that anybody can verify."""
    for name, text in forks.kept(reads):
        save_evidence(home / EVIDENCE_FOLDER, f"{name}.fork", text)
