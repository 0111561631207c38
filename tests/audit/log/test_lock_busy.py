"""The lock's file is written by the witness, too: a log waits for its turn, because one that gives up signs no more."""

from __future__ import annotations

import threading
from pathlib import Path

import apsw

from audit.log.sqlite_lock import SqliteLock
from audit.note.checkpoint import Checkpoint
from tests.audit.store import ORIGIN

SUSPENDED_SECONDS = 3.0  # by a witness whom many ask at once, where each flush takes its time


def test_a_lock_that_is_written_to_for_seconds_is_waited_for(tmp_path: Path) -> None:
    lock = SqliteLock.create(tmp_path / "lock.db", ORIGIN)
    witness = apsw.Connection(str(tmp_path / "lock.db"))
    witness.execute("BEGIN IMMEDIATE")
    release = threading.Timer(SUSPENDED_SECONDS, witness.execute, ("COMMIT",))
    release.start()
    lock.compare_and_swap(ORIGIN, 0, Checkpoint(origin=ORIGIN, size=1, root=bytes(32)))
    release.join()
    assert lock.read(ORIGIN) == (1, bytes(32))
    witness.close()
    lock.close()
