"""One act that waits for its group: what it is, how it is run, and whom its outcome is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from audit.log.log import Stage
from audit.note.checkpoint import Checkpoint
from exchange.acts.unit_of_work import UnitOfWork
from exchange.store.store import Transaction
from keys.errors import RefusedError, UnavailableError

SUSPENDED_SECONDS = 5.0  # so soon a suspended node may have been let go
T = TypeVar("T")
U = TypeVar("U")


@dataclass(slots=True)
class Job(Generic[T, U]):
    """One act, who waits for it, and what became of it."""

    act: Callable[[UnitOfWork], T]  # may be run twice; what it returns the last time counts
    finish: Callable[[T, Any], U] | None  # also given its Group; None where the act's own value is the answer
    future: Future[U] | asyncio.Future[U]
    value: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class CommitGroup:
    """A group between its acts and its answers."""

    jobs: list[Job[Any, Any]]
    stage: Stage
    transaction: AbstractContextManager[Transaction] | None  # None before it was opened and once it is over
    thread: int  # whose loop it belongs to
    before: int = 0  # size of the log when it began
    checkpoint: Checkpoint | None = None
    finished: bool = False


def no_act(work: UnitOfWork) -> None:
    """Change nothing: the act of those who only read the log, in the writer's turn, when they finish."""


def act_freely(job: Job[Any, Any], work: UnitOfWork) -> RefusedError | UnavailableError | None:
    """Run one act without a savepoint; return the refusal that leaves something to be undone."""
    mark, changes = work.log.mark(), work.rows.changes()
    try:
        job.value, job.error = job.act(work), None
    except (RefusedError, UnavailableError) as refusal:
        job.error = refusal
        if work.log.mark() > mark or work.rows.changes() != changes:
            return refusal
    return None


def act_in_savepoint(job: Job[Any, Any], work: UnitOfWork, suspended: str) -> None:
    """Run one act in a savepoint: what it leaves when it is refused is undone."""
    job.error = None
    mark = work.log.mark()
    try:
        with work.rows.savepoint():
            job.value = job.act(work)
            if suspended and work.log.mark() > mark:
                raise UnavailableError(f"this node signs nothing now: {suspended}", SUSPENDED_SECONDS)
    except (RefusedError, UnavailableError) as refusal:
        work.log.undo(mark)
        job.error = refusal


def settle(jobs: list[Job[Any, Any]]) -> None:
    """Release the answers of a group: at once in the loop's own thread, with one call from any other."""
    elsewhere: dict[asyncio.AbstractEventLoop, list[Job[Any, Any]]] = {}
    here = _running_loop()
    for job in jobs:
        if isinstance(job.future, asyncio.Future) and job.future.get_loop() is not here:
            elsewhere.setdefault(job.future.get_loop(), []).append(job)
        elif not job.future.done():
            _resolve(job)
    for loop, waiting in elsewhere.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve_all, waiting)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _resolve_all(jobs: list[Job[Any, Any]]) -> None:
    for job in jobs:
        if not job.future.done():
            _resolve(job)


def _resolve(job: Job[Any, Any]) -> None:
    if job.error is not None:
        job.future.set_exception(job.error)
    else:
        job.future.set_result(job.value)
