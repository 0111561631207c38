"""Work through numbered tasks in copies of this process, and hand back what each gave in the order of the numbers.

A copy knows what this process knows and begins at once: nothing is imported for it, nothing sent. It takes the next
number when it has finished one, and ends when whoever asked has gone. A process that has other threads must not be
copied: one of them may hold a lock that the copy never gets.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

_AHEAD = 4  # tasks given out for each copy: nobody idles, and little waits for its turn
_NUMBER = 8  # bytes of a number, or of a length, in a pipe: read and written whole
_Result = TypeVar("_Result")


def in_copies(work: Callable[[int], _Result], tasks: int, copies: int) -> Iterator[_Result]:
    """Yield what ``work(0)``, ``work(1)`` … up to ``work(tasks - 1)`` return.

    Where there is no room for as many copies, fewer do the work; where there is none for any, this process does it.

    Raises:
        ChildProcessError: *work* raised an error, which this names when its turn comes, or a copy ended before its work.
        OSError: There are no pipes to be had.
    """
    asking, giving = os.pipe()
    answers: dict[int, int] = {}  # pipe from a copy → its process
    try:
        while len(answers) < copies and _copy(work, asking, giving, answers):
            pass
        yield from _in_order(giving, list(answers), tasks) if answers else map(work, range(tasks))
    finally:
        # Without this end nobody is given another number, and without the others nobody waits to answer.
        for pipe in (giving, asking, *answers):
            os.close(pipe)
        for process in answers.values():
            with suppress(ChildProcessError):  # where SIGCHLD is ignored, nobody is left to be waited for
                os.waitpid(process, 0)


def _copy(work: Callable[[int], object], asking: int, giving: int, answers: dict[int, int]) -> bool:
    """Make one more copy; False where there is no room for another process."""
    pipe, answer = os.pipe()
    # Whoever ends the original ends its copies: a copy that an interrupt reached could go on as if it were the original.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        process = os.fork()
        if process == 0:
            _serve(work, asking, answer, (giving, pipe, *answers))
        answers[pipe] = process
    except OSError:
        os.close(pipe)
        return False
    finally:
        os.close(answer)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return True


def _in_order(giving: int, answers: list[int], tasks: int) -> Iterator[Any]:
    ready = select.poll()
    for pipe in answers:
        ready.register(pipe, select.POLLIN)
    given, early = 0, dict[int, tuple[bool, Any]]()
    for wanted in range(tasks):
        while given < min(tasks, wanted + _AHEAD * len(answers)):
            os.write(giving, given.to_bytes(_NUMBER, "big"))
            given += 1
        while wanted not in early:
            for pipe, _ in ready.poll():
                number, good, value = pickle.loads(_receive(pipe))  # noqa: S301 (from a copy of this process)
                early[number] = good, value
        good, value = early.pop(wanted)
        if not good:
            raise ChildProcessError(value)
        yield value


def _serve(work: Callable[[int], object], asking: int, answer: int, others: tuple[int, ...]) -> NoReturn:
    """Be a copy: work until there is nobody to work for. What this process would do at its end is the original's."""
    try:
        for pipe in others:
            os.close(pipe)
        gc.freeze()  # what was there before is no garbage of this process
        while data := os.read(asking, _NUMBER):
            number = int.from_bytes(data, "big")
            try:
                told: tuple[int, bool, object] = number, True, work(number)
            except Exception as error:  # noqa: BLE001 (not every error can be sent, its words can)
                told = number, False, f"{type(error).__name__}: {error}"
            _send(answer, pickle.dumps(told, pickle.HIGHEST_PROTOCOL))
    finally:
        os._exit(0)


def _send(pipe: int, data: bytes) -> None:
    view = memoryview(len(data).to_bytes(_NUMBER, "big") + data)
    while view:
        view = view[os.write(pipe, view) :]


def _receive(pipe: int) -> bytes:
    return _exactly(pipe, int.from_bytes(_exactly(pipe, _NUMBER), "big"))


def _exactly(pipe: int, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        more = os.read(pipe, count - len(data))
        if not more:
            raise ChildProcessError("a process that was given a part of the work ended before it")
        data += more
    return bytes(data)
