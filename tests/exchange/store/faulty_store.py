"""A store that keeps the contract and breaks at a named step, once or as often as asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from exchange.store.store import NodeStore, Reads, Transaction

STEPS = (
    "begin",  # no transaction opens
    "before-append",  # inside it, before the entries are written
    "after-append",  # inside it, after that
    "commit",  # at its end, and nothing took place
    "after-commit",  # an error is returned although all of it took place
    "read-back",  # the entries cannot be read again
    "other-bytes",  # they are read as something else
)


class StorageFailedError(OSError):
    """What a disk says."""


class FaultyStore:
    """*inner*, but for one step."""

    def __init__(self, inner: NodeStore, fail: str = "", times: int = 1) -> None:
        if fail and fail not in STEPS:
            raise ValueError(f"no step {fail}")
        self.inner, self.fail, self.left = inner, fail, times if fail else 0

    def breaks(self, step: str) -> bool:
        """Return whether to break here, and count it."""
        if step != self.fail or self.left == 0:
            return False
        self.left -= 1
        return True

    @property
    def name(self) -> str:
        return self.inner.name

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        if self.breaks("begin"):
            raise StorageFailedError("begin")
        with self.inner.transaction() as rows:
            yield _FaultyTransaction(rows, self)  # type: ignore[misc] # the rest is passed on
            if self.breaks("commit"):
                raise StorageFailedError("commit")
        if self.breaks("after-commit"):
            raise StorageFailedError("after-commit")

    def reads(self) -> Reads:
        return _FaultyReads(self.inner.reads(), self)  # type: ignore[return-value] # the rest is passed on

    def reader(self) -> Reads:
        return self.inner.reader()

    def guard(self) -> AbstractContextManager[None]:
        return self.inner.guard()

    def carry_from(self, uri: str) -> None:
        self.inner.carry_from(uri)

    def drop_copies(self, made_before_ms: int | None = None) -> None:
        self.inner.drop_copies(made_before_ms)

    def evidence(self) -> Iterator[tuple[int, str, bytes]]:
        return self.inner.evidence()

    def scrub(self) -> bool:
        return self.inner.scrub()

    def close(self) -> None:
        self.inner.close()


class _Passing:
    """Passes on whatever it does not break."""

    def __init__(self, inner: Any, store: FaultyStore) -> None:
        self._inner, self._store = inner, store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _FaultyTransaction(_Passing):
    def savepoint(self) -> AbstractContextManager[None]:
        return self._inner.savepoint()  # type: ignore[no-any-return] # passes on what it wraps

    def append_entries(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        if self._store.breaks("before-append"):
            raise StorageFailedError("before-append")
        self._inner.append_entries(rows)
        if self._store.breaks("after-append"):
            raise StorageFailedError("after-append")


class _FaultyReads(_Passing):
    def read_entries(self, first: int, count: int) -> list[bytes]:
        if self._store.breaks("read-back"):
            raise StorageFailedError("read-back")
        found: list[bytes] = self._inner.read_entries(first, count)
        if found and self._store.breaks("other-bytes"):
            return [found[0][:-1] + bytes([found[0][-1] ^ 1]), *found[1:]]
        return found
