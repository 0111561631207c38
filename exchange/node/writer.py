"""The one writer: takes the acts that wait, runs them in one transaction, signs one checkpoint, releases the answers.

The order is the promise (docs/log.md, "Writing order"): transaction, read back, lock, signature, answers. It commits
what is queued; ``exchange.node.departure`` says when. A refused act leaves nothing and does not spoil its neighbours.
After any other error nothing is signed any more: the node stops and is verified again at its next start. As long as
the writer is *suspended*, because no other member has told yet what it holds of this log or because the clock is in
doubt, acts that would write an entry are turned away and the others go on: nothing new is signed.

Acts run in the event loop's own thread, one group at a time; only the two flushes to disk, of the state and of the
lock, run beside it. Every statement of SQLite lets go of the interpreter's lock, and a second thread would wait for it
after each one as long as the loop is busy with cryptography (measured: five times slower).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from audit.entry.entry import Body, Kind
from audit.log.lock import Lock
from audit.log.log import Log
from audit.note.checkpoint import Checkpoint, sign_checkpoint
from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.clock import Reading
from exchange.node.departure import PATIENCE_SECONDS, Departure
from exchange.node.failpoint import failpoint
from exchange.node.job import CommitGroup, Job, act_freely, act_in_savepoint, settle
from exchange.records.receipt import Receipt, make_receipt
from exchange.records.shared_receipts import SharedReceipts
from exchange.store.log_position import epoch_of, index_of
from exchange.store.store import NodeStore
from keys.errors import UnavailableError
from keys.signer import Signer

MAX_GROUP = 1000  # acts; what waits longer is in the next group
CAREFUL_GROUPS = 100  # after a group that had to be run again, so many are run with a savepoint an act from the start
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Group:
    """What was committed together, with the checkpoint that covers it."""

    log: Log
    note: str  # the newest signed checkpoint
    checkpoint: Checkpoint
    entries: dict[int, bytes]
    queued: list[Any]  # exchange.acts.publishing.Queued, in the order of their lanes

    def receipt(self, position: int, rows: Callable[[int], bytes]) -> Receipt:
        """Make the receipt of an entry of this group, or of one before it, which *rows* reads by its index.

        Args:
            position: Of an entry of this epoch of the log; those of earlier epochs are renewed first.
            rows: Reads an entry.

        Raises:
            UnavailableError: It is of an earlier epoch.
        """
        index = self.index(position)
        entry = self.entries.get(index) or rows(index)
        return make_receipt(entry, index, self.log.inclusion(index, self.checkpoint.size), self.note)

    def shared_receipts(self, positions: Sequence[tuple[int, int]], rows: Callable[[int], bytes]) -> SharedReceipts:
        """Make the receipts of several entries at once.

        Args:
            positions: Sequence of the delivery and position of its answer, both ascending.
            rows: As for ``receipt``.

        Raises:
            UnavailableError: One is of an earlier epoch.
        """
        indices = [self.index(position) for _, position in positions]
        return SharedReceipts(
            note=self.note,
            sequences=tuple(sequence for sequence, _ in positions),
            entries=tuple(self.entries.get(index) or rows(index) for index in indices),
            hashes=tuple(self.log.shared_inclusion(indices, self.checkpoint.size)),
        )

    def index(self, position: int) -> int:
        """Return an entry's index in this epoch of the log; UnavailableError for one of an earlier epoch."""
        if epoch_of(position) != self.log.epoch:
            raise UnavailableError(
                f"entry {index_of(position)} of epoch {epoch_of(position)} is proved by that epoch alone"
            )
        return index_of(position)


_StepOf = Callable[[CommitGroup], None]
_AfterOf = Callable[[asyncio.AbstractEventLoop, CommitGroup], None]


class Writer:
    """The only one who writes. ``submit`` serves an event loop, ``run`` a caller without one; both share the groups."""

    def __init__(
        self,
        store: NodeStore,
        log: Log,
        lock: Lock,
        signer: Signer,
        clock: Callable[[], Reading],
        after_group: Callable[[Group], None],
    ) -> None:
        self._store, self._log, self._lock, self._signer = store, log, lock, signer
        self._clock, self._after_group = clock, after_group
        self._suspended, self._reading = "", Reading(0)
        self._stepped_us = 0  # a jump of the clock that has no entry yet
        self._jobs: deque[Job[Any, Any]] = deque()
        self._turn = threading.Lock()  # taken while a group is on its way
        self._group: CommitGroup | None = None  # of an event loop
        self._flush = ThreadPoolExecutor(1, "flush")
        self._stopping = True
        self.failure: BaseException | None = None
        self.note = ""  # of the newest signed checkpoint
        self.groups = 0
        self._signed_size = log.size
        self._careful = 0  # groups that are still run with a savepoint an act
        self._planned = False  # the beginning of the next one stands in the loop's queue
        self._departure = Departure()

    def start(self) -> None:
        """Take acts from now on."""
        self._stopping = False

    def stop(self) -> None:
        """Commit what waits, then take nothing more."""
        self._finish_own()
        with self._turn:
            self._stopping = True
            while jobs := self._take():
                self._run_whole(jobs)
        self._flush.shutdown()

    def suspend(self, why: str) -> None:
        """Sign nothing new until ``resume``; *why* is what everybody is told who would write."""
        self._suspended = why

    def resume(self) -> None:
        """Sign again."""
        self._suspended = ""

    @property
    def suspended(self) -> str:
        """Return why nothing new is signed; empty where it is."""
        return self._suspended or self._reading.doubt

    def fail(self, error: BaseException) -> None:
        """Stop signing: something after the signature went wrong, and only a new start verifies what stands."""
        self.failure = self.failure or error

    @overload
    def run(self, act: Callable[[UnitOfWork], T]) -> T: ...
    @overload
    def run(self, act: Callable[[UnitOfWork], T], finish: Callable[[T, Group], U]) -> U: ...
    def run(self, act: Callable[[UnitOfWork], Any], finish: Callable[[Any, Group], Any] | None = None) -> Any:
        """Run one act, with whatever else waits, and return its result; for callers without an event loop."""
        future: Future[Any] = Future()
        self._submit(Job(act, finish, future))
        self._finish_own()
        while not future.done():
            with self._turn:
                jobs = self._take()
                if jobs:
                    self._run_whole(jobs)
        return future.result()

    @overload
    def submit(self, act: Callable[[UnitOfWork], T]) -> asyncio.Future[T]: ...
    @overload
    def submit(self, act: Callable[[UnitOfWork], T], finish: Callable[[T, Group], U]) -> asyncio.Future[U]: ...
    def submit(
        self, act: Callable[[UnitOfWork], Any], finish: Callable[[Any, Group], Any] | None = None
    ) -> asyncio.Future[Any]:
        """Queue one act; the future has its value, or what *finish* makes of it, once it is durable and signed for."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._submit(Job(act, finish, future))
        if self._group is None:
            self._plan(loop)
        return future

    def _submit(self, job: Job[Any, Any]) -> None:
        if self.failure is not None or self._stopping:
            job.error = UnavailableError("the node is stopping; its log is verified at the next start", 30)
            settle([job])
        else:
            self._jobs.append(job)

    def _take(self) -> list[Job[Any, Any]]:
        """Take the next group; after a failure all that waits is turned away instead."""
        jobs = [self._jobs.popleft() for _ in range(min(len(self._jobs), MAX_GROUP))]
        if self.failure is None:
            return jobs
        self._turn_away(jobs)
        return self._take() if self._jobs else []

    def _turn_away(self, jobs: list[Job[Any, Any]]) -> None:
        for job in jobs:
            job.error = UnavailableError("the node stopped while it wrote; whether this was committed is open", 30)
        settle(jobs)

    # ---- one group, all at once

    def _run_whole(self, jobs: list[Job[Any, Any]]) -> None:
        group = self._begin(jobs)
        for step in (self._commit, self._read_back, self._advance, self._answer):
            if group is not None:
                self._step(group, step)

    # ---- one group, in an event loop: the two flushes beside it

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin the next group at the loop's next turn, so that whoever is ready now still joins it, or later."""
        if not self._planned:
            self._planned = True
            self._departure.plan(len(self._jobs), len(self._jobs), loop.time())
            loop.call_soon(self._begin_due, loop)

    def _begin_due(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._departure.is_due(len(self._jobs), len(self._jobs), loop.time()):
            loop.call_later(PATIENCE_SECONDS, self._begin_due, loop)
            return
        self._planned = False
        if not self._jobs or self._group is not None:
            return
        if not self._turn.acquire(blocking=False):  # a caller without a loop has it; a flush is soon over
            self._planned = True
            loop.call_later(0.001, self._begin_due, loop)
            return
        jobs = self._take()
        if not jobs:
            self._turn.release()
            return
        group = self._group = self._begin(jobs)
        if group is None:
            self._turn.release()
        else:
            self._beside(loop, group, self._commit, self._committed)

    def _beside(self, loop: asyncio.AbstractEventLoop, group: CommitGroup, step: _StepOf, after: _AfterOf) -> None:
        done = self._flush.submit(self._step, group, step)
        done.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(after, loop, group))

    def _committed(self, loop: asyncio.AbstractEventLoop, group: CommitGroup) -> None:
        if not group.finished:
            self._step(group, self._read_back)
            self._beside(loop, group, self._advance, self._locked)

    def _locked(self, loop: asyncio.AbstractEventLoop, group: CommitGroup) -> None:
        if not group.finished:
            self._finish(group)
            self._departure.answered(len(group.jobs) + len(self._jobs), loop.time())
            if self._jobs:
                self._plan(loop)

    def _finish(self, group: CommitGroup) -> None:
        group.finished = True
        self._step(group, self._answer)
        self._group = None
        self._turn.release()

    def _finish_own(self) -> None:
        """Bring a group of this thread's loop to its end, where the loop cannot: its caller waits here."""
        group = self._group
        if group is None or group.thread != threading.get_ident():
            return
        self._flush.submit(lambda: None).result()  # what it flushes is flushed
        for step in (self._read_back, self._advance):
            self._step(group, step)
        self._finish(group)

    # ---- the steps; each does nothing once one has failed or once it is done

    def _begin(self, jobs: list[Job[Any, Any]]) -> CommitGroup | None:
        """Run the acts of a group; None where not even that could begin, and everybody was turned away."""
        failpoint("before-transaction")
        try:
            self._reading = self._clock()
            stage = self._log.begin(self._reading.now_us)
        except Exception as error:  # noqa: BLE001 - any failure of the writing order stops the node
            self.failure = error
            self._turn_away(jobs)
            return None
        self._stepped_us = self._reading.stepped_us or self._stepped_us
        group = CommitGroup(jobs, stage, None, threading.get_ident(), self._log.size)
        self._step(group, self._act_all)
        return group

    def _step(self, group: CommitGroup, step: _StepOf) -> None:
        if self.failure is None:
            try:
                step(group)
            except Exception as error:  # noqa: BLE001 - any failure of the writing order stops the node
                self.failure = error
        if self.failure is not None and step == self._answer:
            self._turn_away(group.jobs)

    def _act_all(self, group: CommitGroup) -> None:
        """Run the acts, and write what they leave.

        A savepoint an act costs two statements, and hardly any act is refused once it has begun to write. So there are
        none at first. Where an act is refused after it wrote, all of it is undone and the group is run once more, with
        a savepoint an act; so are the next groups, because a peer who can bring that about must not double what
        everybody else's acts cost. Nothing was answered of the first run, and an act that tells somebody outside the
        transaction (the lock's list of what is erased) may do so twice.
        """
        savepoints = bool(self.suspended) or self._careful > 0
        self._careful = max(0, self._careful - 1)
        try:
            if not self._run_acts(group, savepoints=savepoints):
                self._careful = CAREFUL_GROUPS
                self._run_acts(group, savepoints=True)
            self._stepped_us = 0 if not self._suspended else self._stepped_us
            failpoint("inside-transaction")
        except BaseException as error:
            self._undo(group, error)
            raise

    def _run_acts(self, group: CommitGroup, *, savepoints: bool) -> bool:
        """Run the acts in a transaction; False where one was refused after it wrote, and all of it is undone."""
        transaction, stage, now_us = self._store.transaction(), group.stage, self._reading.now_us
        rows = transaction.__enter__()
        group.transaction = transaction
        if self._stepped_us and not self._suspended:
            stage.add(Body(kind=Kind.CLOCK_STEPPED, count=abs(self._stepped_us)), now_us)
        work = UnitOfWork(rows, stage, now_us // 1000)
        for job in group.jobs:
            if savepoints:
                act_in_savepoint(job, work, self.suspended)
            elif (refusal := act_freely(job, work)) is not None:
                self._undo(group, refusal)
                stage.undo(0)
                return False
        stage.write(rows)
        rows.flush()
        return True

    def _undo(self, group: CommitGroup, error: BaseException) -> None:
        transaction, group.transaction = group.transaction, None
        if transaction is not None:
            transaction.__exit__(type(error), error, error.__traceback__)

    def _commit(self, group: CommitGroup) -> None:
        if group.transaction is None:
            raise AssertionError("a group without a transaction is not committed")
        group.transaction.__exit__(None, None, None)
        failpoint("committed-before-receipt")
        # Durable from here. A crash now loses only the answers; the caller asks again.

    def _read_back(self, group: CommitGroup) -> None:
        if group.checkpoint is None:
            group.stage.verify_read_back(self._store.reads())
            self._log.commit(group.stage)
            group.checkpoint = self._log.checkpoint()

    def _advance(self, group: CommitGroup) -> None:
        if len(group.stage) and group.checkpoint is not None and self._signed_size != group.checkpoint.size:
            self._lock.compare_and_swap(group.checkpoint.origin, group.before, group.checkpoint)
            self._signed_size = group.checkpoint.size
            failpoint("locked-before-signing")
            # The lock holds what we are about to sign: a copy from a backup finds itself behind it.

    def _answer(self, group: CommitGroup) -> None:
        checkpoint = group.checkpoint or self._log.checkpoint()
        if len(group.stage):
            self.note = sign_checkpoint(checkpoint, self._signer)
            failpoint("signed-before-tiles")
        queued = [item for job in group.jobs if job.error is None for item in getattr(job.value, "queued", ())]
        entries = {index: entry for index, entry, _ in group.stage.rows()}
        committed = Group(self._log, self.note, checkpoint, entries, queued)
        self.groups += 1
        for job in group.jobs:
            if job.error is None and job.finish is not None:
                job.value = job.finish(job.value, committed)
        self._after_group(committed)
        settle(group.jobs)
