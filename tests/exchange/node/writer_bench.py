"""A home whose store, lock and signer a test has put together, and acts that a writer runs in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audit.entry.entry import Body, Kind
from audit.log.lock import check_start
from audit.log.log import Log, verify_entries
from audit.log.sqlite_lock import SqliteLock
from audit.note.checkpoint import Checkpoint
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node import node
from exchange.node.clock import Reading
from exchange.node.writer import Group, Writer
from exchange.store.sqlite import SqliteStore
from keys.errors import IntegrityError, RefusedError
from keys.identity import AgencyId
from keys.signer import PublicKey, Signer
from tests.exchange.store.faulty_store import FaultyStore
from tests.support.home_files import DATABASE, LOCK
from tests.support.world import NOW_MS, records, view_of

BEFORE = 4  # entries of a node just made


DURABLE = {"after-commit", "read-back", "other-bytes"}  # steps after the commit


class CountingSigner:
    """The true signer; it remembers what it was asked to sign."""

    def __init__(self, inner: Signer) -> None:
        self.inner = inner
        self.signed: list[bytes] = []

    @property
    def key(self) -> PublicKey:
        return self.inner.key

    def sign(self, frame: bytes) -> bytes:
        self.signed.append(frame)
        return self.inner.sign(frame)


class FaultyLock:
    """A lock that cannot be moved, or says so although it was."""

    def __init__(self, inner: SqliteLock) -> None:
        self.inner, self.fail = inner, ""

    @property
    def name(self) -> str:
        return self.inner.name

    def read(self, origin: str) -> tuple[int, bytes] | None:
        return self.inner.read(origin)

    def compare_and_swap(self, origin: str, old_size: int, new: Checkpoint) -> None:
        if self.fail == "before":
            raise IntegrityError("lock: disk I/O error")
        self.inner.compare_and_swap(origin, old_size, new)
        if self.fail == "after":
            raise IntegrityError("lock: disk I/O error")


class Bench:
    """A home whose store, lock and signer the test has put together."""

    def __init__(self, home: Path, *, fail: str = "", times: int = 1, lock_fails: str = "") -> None:
        self.home = home
        if not (home / DATABASE).exists():
            made = records()
            node.create(
                home,
                made.first_records("HK-IMMD", introduced=False),
                pseudonym_key=bytes(32),
                now_us=NOW_MS * 1000,
            )
        view = view_of("HK-IMMD")
        self.store = FaultyStore(SqliteStore(home / DATABASE), fail, times)
        self.lock = FaultyLock(SqliteLock.open(home / LOCK))
        self.log = Log.open(view.origin, self.store.reader())
        check_start(self.log, self.lock, self.store.reader(), str(home / DATABASE))
        self.lock.fail = lock_fails  # from here on
        self.signer = CountingSigner(view.log_signer)
        self.told: list[Group] = []
        self.writer = Writer(
            self.store, self.log, self.lock, self.signer, lambda: Reading(NOW_MS * 1000), self.told.append
        )
        self.vkey = view.log_key(AgencyId("HK-IMMD"))

    def __enter__(self) -> Bench:
        self.writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.stop()
        self.store.close()
        self.lock.inner.close()

    def beat(self) -> int:
        """Write one entry and return its index."""
        return self.writer.run(heartbeat)

    @property
    def size(self) -> int:
        return self.store.inner.reads().size()


def heartbeat(work: UnitOfWork) -> int:
    return work.log.add(Body(kind=Kind.HEARTBEAT))


def refuse(work: UnitOfWork) -> int:
    heartbeat(work)
    work.rows.set_meta("refused", b"1")
    raise RefusedError("RULES", "no")


def assert_sound(home: Path, size: int) -> None:
    """The next start finds *size* entries, verifies them, and goes on."""
    with Bench(home) as bench:
        assert bench.size == size
        verify_entries(bench.store.reader(), 0, size, bench.log.genesis)
        assert bench.lock.read(bench.log.origin) == (size, bench.log.root(size))
        assert bench.beat() == size


def together(bench: Bench, *acts: Callable[[UnitOfWork], int]) -> list[Any]:
    """Run acts in one group: what is queued before the loop turns goes together."""

    async def run() -> list[Any]:
        futures = [bench.writer.submit(act) for act in acts]
        return await asyncio.gather(*futures, return_exceptions=True)

    return asyncio.run(run())
