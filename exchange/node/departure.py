"""When a commit group departs: an act alone at once, several once they are many or no further one comes up.

A group costs two flushes and a signature, however many acts it has. While one is on its way the event loop prepares
hardly more than one further act, so whatever took only what was there would never have large groups. Callers who wait
beside one another, or had their answers just now, are therefore taken as a sign that more are on their way. Nothing
here reads a clock; the writer says what time it is.
"""

from __future__ import annotations

FULL_GROUP = 32  # acts; a group of them has hardly more to gain from a further one
CROWD = 3  # callers who wait or were just answered: from so many on, a group waits for others like them
PATIENCE_SECONDS = 0.0005  # between two looks; a loop with calls to take begins with the next one sooner
IDLE_LOOKS = 2  # without a further act; before the first of them the loop may only have given answers
MOST_SECONDS = 0.05  # that a group waits at all: what 32 acts take to be prepared
JUST_SECONDS = 0.02  # after its answer, a caller who publishes one by one has sent the next act


class Departure:
    """Watches one group after the other fill."""

    __slots__ = ("_expected", "_idle", "_known", "_known_at", "_latest", "_seen")

    def __init__(self) -> None:
        self._known, self._known_at = 0, 0.0
        self._seen, self._idle, self._latest, self._expected = 0, 0, 0.0, FULL_GROUP

    def answered(self, callers: int, now: float) -> None:
        """Learn that a group has ended, and how many callers there were then, with and without an answer."""
        self._known, self._known_at = callers, now

    def plan(self, waiting: int, callers: int, now: float) -> None:
        """Begin to watch a group; ``is_due`` is to be asked at the loop's next turn.

        Args:
            waiting: Acts in it.
            callers: Who waits for something, here or elsewhere; who was answered just now is known already.
            now: Seconds of a steady clock.
        """
        known = self._known if now - self._known_at < JUST_SECONDS else 0
        crowded = max(known, callers) >= CROWD
        self._expected = known if known >= CROWD else FULL_GROUP
        self._seen, self._idle, self._latest = waiting, -1 if crowded else IDLE_LOOKS, now + MOST_SECONDS

    def is_due(self, waiting: int, callers: int, now: float) -> bool:
        """Return whether it departs; where it does not, ask again in ``PATIENCE_SECONDS``."""
        self._idle = self._idle + 1 if waiting == self._seen else 0
        self._seen = waiting
        return (
            self._idle >= IDLE_LOOKS
            or waiting >= FULL_GROUP
            or callers >= self._expected  # nobody else is known who could come
            or now >= self._latest
        )
