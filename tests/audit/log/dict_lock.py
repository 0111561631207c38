"""A lock in dictionaries: the whole contract of ``audit.log.lock`` without a file, to show that it is one.

What outlives a lock that is closed is ``KeptLock``. One mutex stands for the disk: whoever swaps, holds it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from audit.log.lock import Cosigned
from audit.note.checkpoint import Checkpoint
from audit.note.fork import Fork
from audit.tree.merkle import EMPTY_ROOT
from keys.errors import IntegrityError


@dataclass
class KeptLock:
    """All that one lock, or one witness's state, keeps."""

    heads: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    cosigned: dict[str, Cosigned] = field(default_factory=dict)
    conflicts: dict[str, Fork] = field(default_factory=dict)
    erased: set[bytes] = field(default_factory=set)
    turn: threading.RLock = field(default_factory=threading.RLock)


class DictWitnessState:
    """What a witness has cosigned."""

    def __init__(self, kept: KeptLock) -> None:
        self._kept = kept

    def cosigned(self, origin: str) -> Cosigned | None:
        return self._kept.cosigned.get(origin)

    def all_cosigned(self) -> list[Cosigned]:
        return [each for _, each in sorted(self._kept.cosigned.items())]

    def swap(self, known: Cosigned | None, new: Checkpoint, note: str, clock_s: Callable[[], int]) -> int | None:
        if known is not None and (known.origin != new.origin or new.size < known.size):
            raise IntegrityError(f"from size {known.size} of {known.origin} to {new.size} of {new.origin}")
        with self._kept.turn:
            time_s, found = clock_s(), self._kept.cosigned.get(new.origin)
            size_root = None if found is None else (found.size, found.root)
            if size_root != (None if known is None else (known.size, known.root)):
                return None
            if size_root != (new.size, new.root):
                made = Cosigned(origin=new.origin, size=new.size, root=new.root, note=note)
                self._kept.cosigned[new.origin] = made
            return time_s

    def keep_conflict(self, origin: str, fork: Fork) -> Fork:
        return self._kept.conflicts.setdefault(origin, fork)

    def conflict(self, origin: str) -> Fork | None:
        return self._kept.conflicts.get(origin)

    def conflicts(self) -> list[str]:
        return sorted(self._kept.conflicts)

    def close(self) -> None:
        pass


class DictLock:
    """A node's lock."""

    def __init__(self, name: str, kept: KeptLock) -> None:
        self._name, self._kept, self._closed = name, kept, False

    @property
    def name(self) -> str:
        return self._name

    def read(self, origin: str) -> tuple[int, bytes] | None:
        return self._open().heads.get(origin)

    def compare_and_swap(self, origin: str, old_size: int, new: Checkpoint) -> None:
        if new.origin != origin or new.size < old_size:
            raise IntegrityError(f"{self._name}: from size {old_size} of {origin} to {new.size} of {new.origin}")
        with self._open().turn:
            found = self.read(origin)
            if found is None or found[0] != old_size:
                raise IntegrityError(f"{self._name} is at {found}, not {old_size}: another copy of this node signs")
            self._kept.heads[origin] = (new.size, new.root)

    def begin_epoch(self, origin: str) -> None:
        self._open().heads.setdefault(origin, (0, EMPTY_ROOT))

    def remember_erased(self, statement_digests: Iterable[bytes]) -> None:
        self._open().erased.update(statement_digests)

    def is_erased(self, statement_digest: bytes) -> bool:
        return statement_digest in self._open().erased

    def erased_count(self) -> int:
        return len(self._open().erased)

    def witness_state(self) -> DictWitnessState:
        return DictWitnessState(self._open())

    def close(self) -> None:
        self._closed = True

    def _open(self) -> KeptLock:
        if self._closed:
            raise IntegrityError(f"{self._name} cannot be used: it is closed")
        return self._kept
