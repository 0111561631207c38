"""What an act is given to write with: the open transaction, the staged log, the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from audit.log.log import Stage
from exchange.store.log_position import epoch_of, index_of, log_position
from exchange.store.store import Transaction
from keys.errors import UnavailableError
from keys.values import hot_value

NEVER_MS = 1 << 62
RandomBytes = Callable[[int], bytes]


class RecordsMovedError(UnavailableError):
    """What was judged is judged once more, by the records that have come into force since."""


class Reference(TypedDict):
    """The two fields of an entry that name another one."""

    refers_to: int
    refers_to_epoch: int  # 0 in the same epoch


NOTHING = Reference(refers_to=0, refers_to_epoch=0)


@hot_value(frozen=True, slots=True)
class UnitOfWork:
    """One transaction. What an act adds to ``log`` and ``rows`` becomes durable together or not at all."""

    rows: Transaction
    log: Stage
    now_ms: int

    @property
    def epoch(self) -> int:
        """Our log's epoch, as its origin says."""
        return self.log.epoch

    def check_in_force(self, adopted_at: int, until_ms: int = NEVER_MS) -> None:
        """Refuse to enter what was judged by other records or keys than those that hold for its entry.

        The entry names the records in force, and whoever verifies it judges by the entry's time.

        Args:
            adopted_at: Of the view by which it was judged.
            until_ms: The first millisecond without the keys and records that it was judged by.

        Raises:
            RecordsMovedError: Judge it again.
        """
        if self.rows.adopted_at() != adopted_at or self.now_ms >= until_ms:
            raise RecordsMovedError("a record was adopted or ran out meanwhile; ask again", 0.1)

    def position(self, index: int) -> int:
        """Return the position of an entry of this log, as rows keep it."""
        return log_position(self.log.epoch, index)

    def refers(self, position: int) -> Reference:
        """Name an entry by its position: its index, and its epoch where that is an earlier one."""
        epoch = epoch_of(position)
        return {"refers_to": index_of(position), "refers_to_epoch": 0 if epoch == self.log.epoch else epoch}
