"""From a commit to everybody who waits for it: one call for a group, bounded queues behind it.

The writer hands over what was queued; here it is dealt out to the followers' lanes. A queue that is full is emptied,
and its follower reads on from the store, so a slow follower costs no memory and loses nothing.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable

from exchange.acts.publishing import Queued
from exchange.node.writer import Group

STALE_SECONDS = 1.0  # what waited longer is read from the store, which knows what was recalled or expired meanwhile


class Queue:
    """The newest deliveries of one follower's lane, without holes."""

    __slots__ = ("_bytes", "_filled", "_items", "_limit", "latest", "wake")

    def __init__(self, limit: int, latest: int, wake: Callable[[], None]) -> None:
        self._limit, self.latest, self.wake = limit, latest, wake
        self._items: deque[Queued] = deque()
        self._bytes = 0
        self._filled = 0.0

    def put(self, item: Queued) -> None:
        """Add a delivery; if the queue is full it is emptied first."""
        self.latest = item.row.sequence
        self._bytes += _size(item)
        if self._bytes > self._limit:
            self.clear()
            if _size(item) > self._limit:
                return
            self._bytes = _size(item)
        if not self._items:
            self._filled = time.monotonic()
        self._items.append(item)

    def take(self, after: int) -> Queued | None:
        """Return the delivery after *after*, or None where only the store has it."""
        items = self._items
        if items and time.monotonic() - self._filled > STALE_SECONDS:
            self.clear()
        while items and items[0].row.sequence <= after:
            self._bytes -= _size(items.popleft())
        if not items or items[0].row.sequence != after + 1:
            return None
        item = items.popleft()
        self._bytes -= _size(item)
        return item

    def put_back(self, item: Queued) -> None:
        """Return what ``take`` gave and no message had room for."""
        self._items.appendleft(item)
        self._bytes += _size(item)

    def clear(self) -> None:
        """Forget everything; the store has it."""
        self._items.clear()
        self._bytes = 0


class Fanout:
    """Deals committed groups out in the event loop it was made in."""

    def __init__(self) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._queues: dict[tuple[str, int], Queue] = {}
        self._watchers: set[asyncio.Event] = set()

    def on_group(self, group: Group, queued: list[Queued]) -> None:
        """Take a committed group, in whichever thread it ended."""
        if not group.entries or self._loop.is_closed():
            return
        if threading.get_ident() == self._thread:
            self._deal(queued)
        else:
            self._loop.call_soon_threadsafe(self._deal, queued)

    def follow(self, peer: str, lane_class: int, queue: Queue) -> None:
        """Fill *queue* from now on; a newer one takes its place."""
        self._queues[peer, lane_class] = queue

    def leave(self, peer: str, lane_class: int, queue: Queue) -> None:
        """Fill it no longer."""
        if self._queues.get((peer, lane_class)) is queue:
            del self._queues[peer, lane_class]

    def watch(self) -> asyncio.Event:
        """Return an event that is set whenever something was committed."""
        event = asyncio.Event()
        self._watchers.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        """Set it no longer."""
        self._watchers.discard(event)

    def wake_all(self) -> None:
        """Wake every watcher, for instance because the node is stopping."""
        for event in self._watchers:
            event.set()

    def _deal(self, queued: list[Queued]) -> None:
        touched: set[Queue] = set()
        for item in queued:
            queue = self._queues.get((item.lane.recipient, item.lane.lane_class))
            if queue is not None:
                queue.put(item)
                touched.add(queue)
        for queue in touched:
            queue.wake()
        self.wake_all()


def _size(item: Queued) -> int:
    return len(item.dispatch) + len(item.body) + len(item.row.wrap) + len(item.row.delivery)
