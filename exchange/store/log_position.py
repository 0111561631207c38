"""Where an entry stands over all epochs of our log: its epoch and its index, as one number that only grows.

Rows of the store outlive the epoch that they were written in: after a recovery the log begins again at index 0, while
the bulletins, lanes and cursors of before go on. So every index that is kept, or handed to a client as a cursor, is a
position. In the first epoch it is the index itself.
"""

from __future__ import annotations

EPOCH_BITS = 40  # entries of one epoch; the rest of SQLite's 63 bits numbers eight million epochs
_INDEX = (1 << EPOCH_BITS) - 1


def log_position(epoch: int, index: int) -> int:
    """Return the position of entry *index* of our log's epoch *epoch*, which counts from 1."""
    return (epoch - 1) << EPOCH_BITS | index


def epoch_of(position: int) -> int:
    """Return the epoch in which an entry stands."""
    return (position >> EPOCH_BITS) + 1


def index_of(position: int) -> int:
    """Return an entry's index in its epoch."""
    return position & _INDEX


def peer_epoch(peer: str, epoch: int) -> str:
    """Name one epoch of a peer's log: codes hold no slash, and the first epoch is the code alone."""
    return peer if epoch == 1 else f"{peer}/{epoch}"
