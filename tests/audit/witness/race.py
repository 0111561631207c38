"""Requests that race for one witness's file: ``python -m tests.audit.witness.race FILE SEED COUNT with|without``.

Each process has three threads; each thread asks for a random longer checkpoint of the log, or of a branch of it, from
the size it believes the witness to hold. Cosignatures are printed as ``time size root``; the time is the machine's
monotonic clock in nanoseconds, so that those of all processes have one order.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from audit.log.lock import Cosigned
from audit.log.sqlite_witness import SqliteWitnessState
from audit.note.checkpoint import Checkpoint, parse_note
from audit.note.cosignature import parse_lines
from audit.witness.request import parse_request
from audit.witness.witness import Witness, WitnessRefusal
from keys.errors import UnavailableError
from tests.audit.witness.witness_world import GrowingLog, make_witness

THREADS = 3
SIZE, FORK_AT = 4000, 40


class Forgetful(SqliteWitnessState):
    """The control: it writes what it is given, without comparing with what is there."""

    def swap(self, known: Cosigned | None, new: Checkpoint, note: str, clock_s: Callable[[], int]) -> int | None:
        self._run("INSERT OR REPLACE INTO cosigned VALUES (?, ?, ?, ?)", (new.origin, new.size, new.root, note))
        return clock_s()


def ask(witness: Witness, logs: list[GrowingLog], dice: random.Random, count: int, out: list[str]) -> None:
    """Send *count* requests, and keep what was cosigned."""
    old = 0
    for _ in range(count):
        log = dice.choice(logs)
        size = min(SIZE, old + dice.choice((0, 1, 1, 2, 5)))
        request = log.request(old, size)
        try:
            line = witness.add_checkpoint(request)
        except WitnessRefusal as refusal:
            old = refusal.size if refusal.size is not None else old
            continue
        except UnavailableError:
            continue
        checkpoint = parse_note(parse_request(request).note).checkpoint
        [read] = parse_lines(line)
        out.append(f"{int.from_bytes(read.signature[:8], 'big')} {checkpoint.size} {checkpoint.root.hex()}")
        old = checkpoint.size


def main(path: Path, seed: int, count: int, compares: bool) -> None:
    logs = [GrowingLog().grow(SIZE), GrowingLog().grow(FORK_AT).grow(SIZE - FORK_AT, salt="branch")]
    witness = make_witness(path, logs[0].key, clock_s=time.monotonic_ns)
    if not compares:
        object.__setattr__(witness, "state", Forgetful(path))
    lists: list[list[str]] = [[] for _ in range(THREADS)]
    threads = [
        threading.Thread(target=ask, args=(witness, logs, random.Random(f"{seed} {n}"), count // THREADS + 1, lists[n]))
        for n in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(line for each in lists for line in each))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "with")
