"""What an act is given to write with: the open transaction, the staged log, the hour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audit.log import Stage
from exchange.store import Transaction

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Writing:
    """One transaction. What an act adds to ``log`` and ``rows`` becomes durable together or not at all."""

    rows: Transaction
    log: Stage
    now_ms: int
