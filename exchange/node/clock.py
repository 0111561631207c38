"""The node's clock: what time its entries carry, and when it may sign at all.

Two rules, each with the same bound of five minutes. The wall clock must go as the monotonic one does: a jump is
entered once as CLOCK_STEPPED, stamped with what the clock would show had it not jumped, and nothing new is signed
until somebody else tells the time. And it must agree with the median of the newest times that this federation's
witnesses have told, the own clock among them; of fewer than three nothing is concluded, so that no single witness
moves anything. At start the last entry's time and the cosignatures that are known take the monotonic clock's place.

Source: docs/log.md, "Time".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

MAX_STEP_US = 300 * 1_000_000  # what is more than drift, a leap second or a slow NTP daemon
MIN_TIMES = 3  # of two, one liar would be half


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clock says before a group of entries."""

    now_us: int  # microseconds UTC, for the group's entries
    stepped_us: int = 0  # how far it has jumped since the reading before; told once
    doubt: str = ""  # why nothing may be signed


class NodeClock:
    """One node's clock; reading it is what checks it.

    Args:
        wall_us: Microseconds UTC, as this machine has them.
        monotonic_us: Microseconds since any moment; it never jumps.
    """

    def __init__(self, wall_us: Callable[[], int], monotonic_us: Callable[[], int]) -> None:
        self._wall_us, self._monotonic_us = wall_us, monotonic_us
        self._line = (wall_us(), monotonic_us())  # the time that was right last, and when that was
        self._heard: dict[str, tuple[int, int]] = {}  # by witness: its newest time, and when we heard it
        self._waiting = False  # it jumped, and nobody has told the time since
        self._trusted = False  # an operator has compared it

    def start(self, last_us: int, cosigned_s: Iterable[int] = ()) -> None:
        """Take what the log holds as the time before this run.

        Args:
            last_us: Of the last entry.
            cosigned_s: Seconds UTC of the newest known cosignatures of the own log: it cannot be earlier than most say.
        """
        told = [last_us, *(each * 1_000_000 for each in cosigned_s)]
        least = max(last_us, _median(told)) if len(told) >= MIN_TIMES else last_us
        wall = self._wall_us()
        self._line = (max(wall, least) if least - wall > MAX_STEP_US else wall, self._monotonic_us())

    def heard(self, witness: str, time_us: int) -> None:
        """Take a witness's time, which came this moment: of a cosignature, or of an answer to a question.

        Args:
            witness: Whose; one counts once, its newest.
            time_us: Microseconds UTC.
        """
        self._heard[witness] = (time_us, self._monotonic_us())

    def trust(self) -> None:
        """Take this machine's clock as right: an operator has compared it with another."""
        self._trusted = True
        self._line = (self._wall_us(), self._monotonic_us())
        self._waiting = False

    def __call__(self) -> Reading:
        """Read the clock: 1 it went as the monotonic one; 2 it agrees with the witnesses."""
        wall, monotonic = self._wall_us(), self._monotonic_us()
        expected = self._line[0] + monotonic - self._line[1]
        step = wall - expected
        if abs(step) > MAX_STEP_US:  # 1
            return self._stepped(wall, expected, monotonic)
        self._line, self._waiting = (wall, monotonic), False
        median = self._median_time(wall, monotonic)
        if median is not None and abs(wall - median) > MAX_STEP_US and not self._trusted:  # 2
            return Reading(
                wall, doubt=f"this machine's clock differs by {_told(wall - median)} from the other members'"
            )
        return Reading(wall)

    def _stepped(self, wall: int, expected: int, monotonic: int) -> Reading:
        if self._waiting and self._confirmed(wall, monotonic):
            self._line, self._waiting = (wall, monotonic), False
            return Reading(wall)
        first, self._waiting = not self._waiting, True
        self._line = (expected, monotonic)
        step = wall - expected
        return Reading(expected, step if first else 0, f"this machine's clock jumped by {_told(step)}")

    def _confirmed(self, wall: int, monotonic: int) -> bool:
        """Return whether more than half of the witnesses, and two at least, say what the clock says after its jump."""
        agree = [abs(wall - told) <= MAX_STEP_US for told in self._told_times(monotonic)]
        return len(agree) >= MIN_TIMES - 1 and 2 * sum(agree) > len(agree)

    def _median_time(self, wall: int, monotonic: int) -> int | None:
        """Return the median of the newest times, the own included; None where too few have told one."""
        times = [wall, *self._told_times(monotonic)]
        return _median(times) if len(times) >= MIN_TIMES else None

    def _told_times(self, monotonic: int) -> list[int]:
        return [told + monotonic - at for told, at in self._heard.values()]


def system_clock() -> NodeClock:
    """Make this machine's clock."""
    return NodeClock(lambda: time.time_ns() // 1000, lambda: time.monotonic_ns() // 1000)


def _median(values: list[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]


def _told(microseconds: int) -> str:
    seconds = round(microseconds / 1_000_000)
    return f"{seconds:+,} s"
