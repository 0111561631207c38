"""What an act is given to write with: the open transaction, the staged log, the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from audit.log.log import Stage
from exchange.store.log_position import epoch_of, index_of, log_position
from exchange.store.store import Transaction
from keys.values import hot_value

RandomBytes = Callable[[int], bytes]


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

    def position(self, index: int) -> int:
        """Return the position of an entry of this log, as rows keep it."""
        return log_position(self.log.epoch, index)

    def refers(self, position: int) -> Reference:
        """Name an entry by its position: its index, and its epoch where that is an earlier one."""
        epoch = epoch_of(position)
        return {"refers_to": index_of(position), "refers_to_epoch": 0 if epoch == self.log.epoch else epoch}
