"""Gathering: callers publish one by one, and what comes within two milliseconds travels as one message.

A message costs more than a bulletin in it, so that is what makes ten thousand a second possible. Any number of
threads may hand in statements; answers come in the order of the statements, as the service promises.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from exchange.v1 import node_pb2
from keys.dsse import SignedPayload
from keys.errors import UnavailableError
from keys.v1 import signed_pb2

MAX_COUNT = 32
MAX_BYTES = 256 << 10
WAIT_SECONDS = 0.002

Call = Callable[[Iterator[node_pb2.PublishRequest]], Iterable[node_pb2.PublishResponse]]
Translate = Callable[[Exception], Exception]


@dataclass(frozen=True, slots=True)
class _Waiting:
    message: signed_pb2.SignedPayload
    size: int
    future: Future[node_pb2.PublishResult]


class Batcher:
    """One stream to the node; when it breaks, everything that waits on it is told so, and a new one is needed."""

    def __init__(self, call: Call, translate: Translate) -> None:
        self._call, self._translate = call, translate
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._sent: deque[list[_Waiting]] = deque()
        self._carried: _Waiting | None = None  # taken from the queue, too large for the message before
        self._lock = threading.Lock()
        self.broken = False
        self._thread = threading.Thread(target=self._run, name="gather", daemon=True)
        self._thread.start()

    def submit(self, signed: SignedPayload) -> Future[node_pb2.PublishResult]:
        """Return in a statement; the future has the node's answer, or UnavailableError."""
        future: Future[node_pb2.PublishResult] = Future()
        message = signed.to_message()
        with self._lock:
            if self.broken:
                raise UnavailableError("the stream to the node ended")
            self._waiting.put(_Waiting(message, message.ByteSize(), future))
        return future

    def close(self) -> None:
        """Wait for the answers that are owed, then end the stream."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        error: Exception = UnavailableError("the node ended the stream")
        try:
            for response in self._call(self._requests()):
                for waiting, result in zip(self._sent.popleft(), response.results, strict=True):
                    waiting.future.set_result(result)
        except Exception as raised:  # noqa: BLE001 - whatever ends the stream must reach those who wait
            error = self._translate(raised)
        self._fail(error)

    def _requests(self) -> Iterator[node_pb2.PublishRequest]:
        while batch := self._gather():
            self._sent.append(batch)
            yield node_pb2.PublishRequest(statements=[each.message for each in batch])

    def _gather(self) -> list[_Waiting]:
        """Take what is there, and what comes within the wait; nothing once the end was asked for."""
        first = self._carried or self._waiting.get()
        self._carried = None
        if first is None:
            return []
        batch, size = [first], first.size
        while len(batch) < MAX_COUNT:
            try:
                more = self._waiting.get(timeout=WAIT_SECONDS)
            except queue.Empty:
                break
            if more is None:
                self._waiting.put(None)
                break
            if size + more.size > MAX_BYTES:
                self._carried = more
                break
            batch.append(more)
            size += more.size
        return batch

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self.broken = True
        owed = [each for batch in self._sent for each in batch]
        if self._carried is not None:
            owed.append(self._carried)
        while not self._waiting.empty():
            more = self._waiting.get()
            if more is not None:
                owed.append(more)
        for each in owed:
            if not each.future.done():
                each.future.set_exception(error)
