"""The lock: what must survive a restore, in a file of its own that no backup ever brings back.

What this log has signed last (*heads*), what was cosigned for others and the first two notes of a log that contradict
each other, and which statements were erased. Before a checkpoint is signed, (origin, size, root) move here in one
compare-and-swap, durable before the signature exists. At start the store must reach the lock and have its root there:
an older copy, a second copy or a missing lock are caught before they fork the log.

An engine keeps this contract, proved by ``tests/audit/log/lock_contract.py``; which one it is stands in a URI, and
``audit.log.lock_factory`` alone knows the engines. Whatever returns without an error is durable, through a power cut;
after an error nothing may be signed, cosigned or erased, and what is kept may or may not have moved.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from audit.log.log import Log, LogReads, verify_entries
from audit.note.checkpoint import Checkpoint
from audit.note.fork import Fork
from keys.errors import IntegrityError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """The newest checkpoint of one log that this witness has cosigned."""

    origin: str
    size: int
    root: bytes  # 32 bytes
    note: str


class WitnessState(Protocol):
    """What one witness has cosigned, one checkpoint a log; for all threads and processes that serve it.

    Every method raises IntegrityError where what is kept cannot be read or written, and UnavailableError where another
    process holds it for seconds. A question is one look-up, a change one flush of the disk.
    """

    def cosigned(self, origin: str) -> Cosigned | None:
        """Return what was cosigned last of *origin*; None if nothing was."""

    def all_cosigned(self) -> list[Cosigned]:
        """Return what was cosigned last of every log, ascending by origin."""

    def swap(self, known: Cosigned | None, new: Checkpoint, note: str, clock_s: Callable[[], int]) -> int | None:
        """Move from *known* to *new*, durably, and return the time at which that was so.

        The time is taken while nobody else can swap, so later times never stand on smaller sizes.

        Args:
            known: What ``cosigned`` returned, and what *new* was found to extend.
            new: The same size and root again only takes the time.
            note: The log's own, that says *new*.
            clock_s: Seconds since 1970.

        Returns:
            None if the state is not at *known* any more; nothing has changed then.

        Raises:
            IntegrityError: Also where *new* goes back or is another log's. Answer nothing.
        """

    def keep_conflict(self, origin: str, fork: Fork) -> Fork:
        """Keep two notes of one log for ever, and return what is kept: the first such pair."""

    def conflict(self, origin: str) -> Fork | None:
        """Return the first two notes of *origin* that contradict each other."""

    def conflicts(self) -> list[str]:
        """Return the origins of the logs of which such a pair is kept, ascending."""

    def close(self) -> None:
        """Let go of it; the next use opens it again."""


class Lock(Protocol):
    """A node's lock. Any of its threads may ask; a question is one look-up, a change one flush of the disk.

    Every method raises IntegrityError where what is kept cannot be read or written.
    """

    @property
    def name(self) -> str:
        """Return what to call it in messages: a file's path."""

    def read(self, origin: str) -> tuple[int, bytes] | None:
        """Return (size, root) of the last checkpoint signed, or None for an origin that it does not know."""

    def compare_and_swap(self, origin: str, old_size: int, new: Checkpoint) -> None:
        """Move from *old_size* to *new*, durably before returning. It waits long for a witness of the same lock.

        Raises:
            IntegrityError: Also where the lock is elsewhere (another copy of this node signs), or *new* goes back or
                names another origin. Sign nothing.
        """

    def begin_epoch(self, origin: str) -> None:
        """Know one origin more, at size 0: the log's next epoch. What is known of others stays; again is nothing."""

    def remember_erased(self, statement_digests: Iterable[bytes]) -> None:
        """Write down that these statements are erased, all or none, so that a restore erases them again.

        Raises:
            IntegrityError: Erase nothing yet.
        """

    def is_erased(self, statement_digest: bytes) -> bool:
        """Return whether a statement was erased here, whatever the store says."""

    def erased_count(self) -> int:
        """Return how many statements were erased here. May walk over all; asked at a start and once a day."""

    def witness_state(self) -> WitnessState:
        """Return what was cosigned for others, opened for one who asks or cosigns beside the rest; he closes it."""

    def close(self) -> None:
        """Let go of it; whatever was written stays."""


def check_start(log: Log, lock: Lock, store: LogReads, database: str) -> None:
    """Compare the database with the lock before anything is signed, and bring the lock up to the database.

    1. The lock knows this origin.
    2. The database holds at least the entries that were signed.
    3. Its root at that size is the one that was signed.
    4. Entries after it, a group whose lock was not reached before a crash, are verified; then the lock moves on.

    Args:
        log: Just opened from *store*.
        lock: Just opened.
        store: The log's tables.
        database: What to call them in messages: a file's path.

    Raises:
        IntegrityError: The message says which file, which size, and what to do.
    """
    found = lock.read(log.origin)
    if found is None:
        raise IntegrityError(f"{lock.name} knows nothing of {log.origin}: nothing is signed; it is another log's lock")
    size, root = found
    if log.size < size:
        raise IntegrityError(
            f"{database} holds {log.size} entries, but {lock.name} says that {size} were signed: {database} is an"
            " older copy; nothing is signed; bring back the newest one, or begin a new epoch:"
            " exchange node recover --from-peers"
        )
    if log.root(size) != root:
        raise IntegrityError(
            f"{database} has another history than was signed: its root at size {size} is not the one in {lock.name};"
            " nothing is signed; keep both files as evidence and begin a new epoch: exchange node recover --from-peers"
        )
    if log.size > size:
        verify_entries(store, size, log.size, log.genesis)
        lock.compare_and_swap(log.origin, size, log.checkpoint())
