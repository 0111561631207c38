"""The one writer: takes the acts that wait, runs them in one transaction, signs one checkpoint, releases the answers.

The order is the promise (audit.md 2.6): transaction, read back, lock, signature, answers. It commits what is queued
and never waits for more. A refused act leaves nothing and does not spoil its neighbours. After any other error nothing
is signed any more: the node stops and is verified anew at its next start.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.lock import Lock
from audit.log import Log, Stage
from exchange.failpoint import failpoint
from exchange.receipt import Receipt, make_receipt
from exchange.store import NodeStore, Transaction
from exchange.writing import Writing
from keys.errors import RefusedError, UnavailableError
from keys.signing import Signer

MAX_GROUP = 1000  # acts; what waits longer is in the next group
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Group:
    """What was committed together, with the checkpoint that covers it."""

    log: Log
    note: str  # the newest signed checkpoint
    checkpoint: Checkpoint
    entries: dict[int, bytes]
    queued: list[Any]  # exchange.publishing.Queued, in the order of their lanes

    def receipt(self, index: int, rows: Callable[[int], bytes]) -> Receipt:
        """Make the receipt of an entry of this group, or of one before it, which *rows* reads."""
        entry = self.entries.get(index) or rows(index)
        return make_receipt(entry, index, self.log.inclusion(index, self.checkpoint.size), self.note)


@dataclass(slots=True)
class _Job(Generic[T, U]):
    act: Callable[[Writing], T]
    finish: Callable[[T, Group], U]
    future: Future[U] | asyncio.Future[U]
    value: Any = None
    error: BaseException | None = None
    settled: bool = field(default=False)


class Writer:
    """A thread with the only writing connection."""

    def __init__(
        self,
        store: NodeStore,
        log: Log,
        lock: Lock,
        signer: Signer,
        clock_us: Callable[[], int],
        after_group: Callable[[Group], None],
    ) -> None:
        self._store, self._log, self._lock, self._signer = store, log, lock, signer
        self._clock_us, self._after_group = clock_us, after_group
        self._jobs: deque[_Job[Any, Any]] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._ended = False
        self.failure: BaseException | None = None
        self.note = ""  # of the newest signed checkpoint
        self.groups = 0
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Commit what waits, then end."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def fail(self, error: BaseException) -> None:
        """Stop signing: something after the signature went wrong, and only a new start verifies what stands."""
        self.failure = self.failure or error

    def run(self, act: Callable[[Writing], T], finish: Callable[[T, Group], U]) -> U:
        """Run one act and wait for it; for callers without an event loop."""
        future: Future[U] = Future()
        self._submit(_Job(act, finish, future))
        return future.result()

    def submit(self, act: Callable[[Writing], T], finish: Callable[[T, Group], U]) -> asyncio.Future[U]:
        """Queue one act; the future has what *finish* makes of its result once it is durable and signed for."""
        future: asyncio.Future[U] = asyncio.get_running_loop().create_future()
        self._submit(_Job(act, finish, future))
        return future

    def _submit(self, job: _Job[Any, Any]) -> None:
        if self.failure is not None or self._stopping:
            job.error = UnavailableError("the node is stopping; its log is verified at the next start", 30)
            _settle([job])
            return
        self._jobs.append(job)
        self._wake.set()
        if self._ended:  # it came in while the thread went out
            self._turn_away()

    def _turn_away(self) -> None:
        while self._jobs:
            try:
                job = self._jobs.popleft()
            except IndexError:  # another thread was faster
                return
            job.error = UnavailableError("the node is stopping", 30)
            _settle([job])

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._jobs:
                self._run_group([self._jobs.popleft() for _ in range(min(len(self._jobs), MAX_GROUP))])
            if self._stopping:
                self._ended = True
                self._turn_away()
                return

    def _run_group(self, jobs: list[_Job[Any, Any]]) -> None:
        if self.failure is None:
            try:
                self._commit(jobs)
            except Exception as error:  # noqa: BLE001 - any failure of the writing order stops the node
                self.failure = error
                self._after_failure(jobs)
        else:
            self._after_failure(jobs)
        _settle(jobs)

    def _after_failure(self, jobs: list[_Job[Any, Any]]) -> None:
        for job in jobs:
            job.error = UnavailableError("the node stopped while it wrote; whether this was committed is open", 30)

    def _commit(self, jobs: list[_Job[Any, Any]]) -> None:
        failpoint("before-transaction")
        now_us = self._clock_us()
        stage = self._log.begin(now_us)
        with self._store.transaction() as rows:
            for job in jobs:
                _act(job, Writing(rows, stage, now_us // 1000), rows, stage)
            stage.write(rows)
            failpoint("inside-transaction")
        failpoint("committed-before-receipt")
        # Durable from here. A crash now loses only the answers; whoever asked asks again.
        stage.verify_read_back(self._store.reads())
        before = self._log.size
        self._log.commit(stage)
        checkpoint = self._log.checkpoint()
        if len(stage):
            self._sign(before, checkpoint)
        queued = [item for job in jobs if job.error is None for item in getattr(job.value, "queued", ())]
        entries = {index: entry for index, entry, _ in stage.rows()}
        group = Group(self._log, self.note, checkpoint, entries, queued)
        self.groups += 1
        for job in jobs:
            if job.error is None:
                job.value = job.finish(job.value, group)
        self._after_group(group)

    def _sign(self, before: int, checkpoint: Checkpoint) -> None:
        self._lock.compare_and_swap(checkpoint.origin, before, checkpoint)
        failpoint("locked-before-signing")
        # The lock holds what we are about to sign: a copy that comes back from a backup finds itself behind it.
        self.note = sign_checkpoint(checkpoint, self._signer)
        failpoint("signed-before-tiles")


def _act(job: _Job[Any, Any], writing: Writing, rows: Transaction, stage: Stage) -> None:
    mark = stage.mark()
    try:
        with rows.savepoint():
            job.value = job.act(writing)
    except (RefusedError, UnavailableError) as refusal:
        stage.undo(mark)
        job.error = refusal


def _settle(jobs: list[_Job[Any, Any]]) -> None:
    """Release the answers of a group: at once where a thread waits, with one call into each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[_Job[Any, Any]]] = {}
    for job in jobs:
        if isinstance(job.future, asyncio.Future):
            loops.setdefault(job.future.get_loop(), []).append(job)
        else:
            _resolve(job)
    for loop, waiting in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve_all, waiting)


def _resolve_all(jobs: list[_Job[Any, Any]]) -> None:
    for job in jobs:
        if not job.future.done():
            _resolve(job)


def _resolve(job: _Job[Any, Any]) -> None:
    if job.error is not None:
        job.future.set_exception(job.error)
    else:
        job.future.set_result(job.value)
