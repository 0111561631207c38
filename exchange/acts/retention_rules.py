"""Retention: which bulletins must be erased on a day, decided from values alone.

A bulletin is kept until the end of the day that its retention names, and as long as an officer holds it. What was
erased once and came back, from a backup or from a peer, is due at once, whatever else is said of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from exchange.store.rows import StoredBulletin
from keys.durations import DAY_MS

STORAGE_KEY_DAYS = 30  # a storage key serves new bulletins so long
DRAIN_MS = 3_600_000  # what was wrapped under the key before is long committed by then
WINDOW_GRACE_MS = 7 * DAY_MS  # an encryption key outlives its window so long, for what was on its way
WINDOW_MOST_MS = 60 * DAY_MS  # and never longer than this, whoever is silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """The newest head of one lane into us."""

    head_time_ms: int  # 0 where none was ever shown
    complete: bool  # we hold every delivery up to its latest


def day_of(at_ms: int) -> int:
    """Count the days from 1970-01-01, UTC."""
    return at_ms // DAY_MS


def is_due(stored: StoredBulletin, today: int, *, on_hold: bool, erased_before: bool) -> bool:
    """Return whether a bulletin must be erased.

    Args:
        stored: As the database has it.
        today: ``day_of`` now; a bulletin is kept until the end of its day.
        on_hold: An officer's hold is open.
        erased_before: The lock says that this statement was erased.
    """
    if stored.erased:
        return False
    return erased_before or (0 < stored.retain_until_day < today and not on_hold)


def storage_change_due(present_from_ms: int, now_ms: int) -> bool:
    """Return whether the present storage key has served its time."""
    return now_ms - present_from_ms >= STORAGE_KEY_DAYS * DAY_MS


def storage_keys_gone(from_ms: Iterable[int], now_ms: int) -> list[int]:
    """Name, by the time they began, the storage keys that a later one has replaced long enough ago."""
    *before, present = sorted(from_ms)
    return before if now_ms - present >= DRAIN_MS else []


def window_gone(until_ms: int, sights: Iterable[Sight], now_ms: int) -> bool:
    """Return whether the encryption key of a window must be destroyed now.

    Seven days after its window, once every lane into us has shown a head from after the window whose latest we hold:
    nothing sealed to this key can still be on its way. Sixty days after the window in any case.
    """
    if now_ms - until_ms >= WINDOW_MOST_MS:
        return True
    seen = all(each.complete and each.head_time_ms > until_ms for each in sights)
    return seen and now_ms - until_ms >= WINDOW_GRACE_MS
