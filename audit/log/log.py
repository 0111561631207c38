"""The head of one log: entries are chained and numbered here, within the caller's transaction.

No SQL, no clock, no signature. A group of acts is *staged*: each entry is numbered at once, because an act refers to
its own entries by index, and an act that is refused undoes its tail. What is left is encoded, checked by the rule of
its kind, chained and hashed together, before any of it is written. The order of durability is the caller's:

1. ``stage = log.begin(now_us)``, ``stage.add(body)`` …
2. one transaction: the state change and ``stage.write(store)``
3. ``stage.verify_read_back(store)``: what the disk holds is what was hashed
4. ``log.commit(stage)``, compare-and-swap of ``log.checkpoint()`` into the lock, then sign
A failure at 2 is ``log.rollback(stage)``; at 3 or 4 the log is opened again before anything is signed.
One thread, the writer's, uses a Log.
"""

from collections.abc import Sequence
from typing import Protocol

from audit.entry.bodies import encode_bodies
from audit.entry.body import Body
from audit.entry.entry import chain_entries, genesis_previous, leaf_hash, leaf_hashes, parse_head
from audit.note.checkpoint import Checkpoint
from audit.note.epochs import epoch_of_origin
from audit.tree.merkle import TILE_WIDTH, Tree
from audit.tree.multiproof import places_of
from keys.errors import IntegrityError, RefusedError

Row = tuple[int, bytes, bytes]
"""(index, entry, leaf hash) as the store keeps them."""


class LogReads(Protocol):
    """What may be asked of a database that keeps a log."""

    def read_entries(self, first: int, count: int) -> list[bytes]:
        """Return the bytes of at most *count* entries from *first* on, in order."""

    def leaf_hashes(self, first: int, count: int) -> list[bytes]:
        """Return at most *count* leaf hashes from *first* on, in order."""

    def get_tile(self, level: int, index: int) -> bytes | None:
        """Return a complete hash tile, or None where there is none."""

    def size(self) -> int:
        """Return the number of entries."""


class LogStore(LogReads, Protocol):
    """What a database keeps of one log. Rows are only ever added; each call runs in the caller's transaction."""

    def append_entries(self, rows: Sequence[Row]) -> None:
        """Add entries; indices go on where the table ends."""

    def put_tiles(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        """Add complete hash tiles: (level, index, 8,192 bytes)."""


class Stage:
    """Entries of one commit group, numbered at once, written and chained together. Made by ``Log.begin``."""

    __slots__ = ("_bodies", "_entries", "_leaves", "_log", "_now_us", "_times", "epoch", "first", "written")

    def __init__(self, log: "Log", now_us: int) -> None:
        self._log = log
        self._now_us = now_us
        self._bodies: list[Body | bytes] = []
        self._times: list[int] = []
        self._entries: list[bytes] = []  # of the first so many bodies, as their leaf hashes
        self._leaves: list[bytes] = []
        self.first = log.size
        self.epoch = log.epoch
        self.written = False

    def __len__(self) -> int:
        """Return the number of staged entries."""
        return len(self._bodies)

    def add(self, body: Body | bytes, now_us: int | None = None) -> int:
        """Number one entry and return its index.

        Args:
            body: By the rule of its kind, which is asked before anything is written; ``refers_to`` names an entry
                before this one.
            now_us: Microseconds UTC; by default the group's time. A time before the last entry's is raised to it.
        """
        if self.written:
            raise IntegrityError("an entry after its group was written")
        time_us = self._now_us if now_us is None else now_us
        last_us = self._times[-1] if self._times else self._log.time_us
        self._bodies.append(body)
        self._times.append(time_us if time_us > last_us else last_us)
        return self.first + len(self._bodies) - 1

    def tip(self) -> tuple[bytes, int]:
        """Return the last entry's leaf hash and time: what the next one is chained to."""
        self._chain()
        return (self._leaves[-1], self._times[-1]) if self._leaves else (self._log.tip, self._log.time_us)

    def mark(self) -> int:
        """Return what to ``undo`` to."""
        return len(self._bodies)

    def undo(self, mark: int) -> None:
        """Drop every entry added since *mark*; their indices are given out again."""
        if self.written:
            raise IntegrityError("an entry is taken back after its group was written")
        for column in (self._bodies, self._times, self._entries, self._leaves):
            del column[mark:]

    def entry(self, index: int) -> bytes:
        """Return a staged entry by its index in the log; errors as ``write``."""
        self._chain()
        return self._entries[index - self.first]

    def rows(self) -> list[Row]:
        """Return what the store will hold; errors as ``write``."""
        self._chain()
        indices = range(self.first, self.first + len(self._entries))
        return list(zip(indices, self._entries, self._leaves, strict=True))

    def write(self, store: LogStore) -> None:
        """Put the entries, and the tiles they complete, into the caller's transaction. Nothing may be added after.

        Raises:
            IntegrityError: A body breaks its kind's rule: this program must never write what no verifier accepts.
            ValueError: A field of a body is out of its bounds.
        """
        rows = self.rows()
        self.written = True
        store.append_entries(rows)
        tiles = self._log.extend(self._leaves)
        if tiles:
            store.put_tiles(tiles)

    def _chain(self) -> None:
        """Encode, chain and hash what has been added since the last time."""
        done = len(self._entries)
        if done == len(self._bodies):
            return
        start = self.first + done
        previous = self._leaves[-1] if self._leaves else self._log.tip
        bodies = encode_bodies(self._bodies[done:], start)
        entries, leaves = chain_entries(bodies, start, self._times[done:], previous)
        self._entries += entries
        self._leaves += leaves

    def verify_read_back(self, store: LogReads) -> None:
        """Read the group back, hash it again, compare.

        Raises:
            IntegrityError: The store holds something else: sign nothing, open the log again.
        """
        if leaf_hashes(store.read_entries(self.first, len(self._entries))) != self._leaves:
            raise IntegrityError(f"entries {self.first} and on: the database returns other bytes than were written")


class Log:
    """One origin's log in memory: size, tip of the chain, newest part of the tree."""

    def __init__(self, origin: str, tree: Tree, genesis: bytes, tip: bytes, time_us: int) -> None:
        self.origin = origin
        self.epoch = epoch_of_origin(origin)
        self.genesis = genesis  # 32 bytes: ``previous`` of entry 0
        self.size = tree.size  # committed entries
        self.tip = tip  # 32 bytes: ``previous`` of the next entry
        self.time_us = time_us  # of the last entry
        self._tree = tree
        self._stage: Stage | None = None

    @classmethod
    def open(cls, origin: str, store: LogReads, final_root: bytes | None = None) -> "Log":
        """Rebuild the head from the store and re-verify its last, incomplete tile.

        Args:
            origin: As in checkpoints.
            store: Read only here, and later for proofs of old entries.
            final_root: Root of the epoch before, 32 bytes; None in epoch 1.

        Raises:
            IntegrityError: Entries, leaf hashes or tiles are missing or contradict each other.
        """
        size = store.size()
        try:
            tree = Tree(size, store.get_tile, store.leaf_hashes)
        except LookupError as error:
            raise IntegrityError(f"the log's tables contradict each other: {error}") from error
        genesis = genesis_previous(origin, final_root)
        if size == 0:
            return cls(origin, tree, genesis, genesis, 0)
        verify_entries(store, (size - 1) // TILE_WIDTH * TILE_WIDTH, size, genesis)
        [last] = store.read_entries(size - 1, 1)
        return cls(origin, tree, genesis, leaf_hash(last), parse_head(last).time_us)

    def begin(self, now_us: int) -> Stage:
        """Open the one stage that may be open.

        Args:
            now_us: Microseconds UTC, the time of the group's entries.

        Raises:
            IntegrityError: Another stage was neither committed nor rolled back.
        """
        if self._stage is not None:
            raise IntegrityError("two groups at once in one log")
        self._stage = Stage(self, now_us)
        return self._stage

    def extend(self, leaves: Sequence[bytes]) -> list[tuple[int, int, bytes]]:
        """Grow the tree by a stage's leaves and return the tiles completed. Called by ``Stage.write`` alone."""
        self._tree.extend(leaves)
        return self._tree.complete_tiles(self.size)

    def commit(self, stage: Stage) -> None:
        """Adopt a written stage, after its transaction is durable."""
        if len(stage) and not stage.written:
            raise IntegrityError("a group is committed before it was written")
        self._close(stage)
        self.tip, self.time_us = stage.tip()
        self.size = self._tree.size
        self._tree.prune()

    def rollback(self, stage: Stage) -> None:
        """Forget a stage whose transaction did not take place."""
        self._close(stage)
        self._tree.rollback(self.size)

    def checkpoint(self) -> Checkpoint:
        """Return what the committed log commits to."""
        return Checkpoint(origin=self.origin, size=self.size, root=self.root(self.size))

    def root(self, size: int) -> bytes:
        """Return the root at an earlier or the present size.

        Raises:
            LookupError: The log is smaller.
        """
        self._check_size(size)
        return self._tree.root(size)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the inclusion proof of an entry at a committed *size*, lowest level first.

        Raises:
            LookupError: Not ``index < size <= self.size``.
        """
        self._check_size(size)
        return self._tree.inclusion(index, size)

    def shared_inclusion(self, indices: Sequence[int], size: int) -> list[bytes]:
        """Return the hashes that the inclusion proofs of several entries need and the entries do not give.

        Args:
            indices: Of the entries, ascending.
            size: Committed; what comes out is for ``audit.tree.multiproof.single_proofs``.

        Raises:
            LookupError: Not every index is below *size*, or not ``size <= self.size``.
        """
        self._check_size(size)
        if indices and not 0 <= indices[0] <= indices[-1] < size:
            raise LookupError(f"no entries {indices[0]} to {indices[-1]} at size {size}")
        return self._tree.siblings(places_of(indices, size), size)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that size *new* extends size *old*, lowest level first.

        Raises:
            LookupError: Not ``1 <= old <= new <= self.size``.
        """
        self._check_size(new)
        return self._tree.consistency(old, new)

    def hash_tile(self, level: int, index: int, width: int) -> bytes:
        """Return the first *width* hashes of a tile, concatenated, as tlog-tiles serve them.

        Raises:
            LookupError: The committed log does not fill it so far.
        """
        if index * TILE_WIDTH + width > self.size >> 8 * level:
            raise LookupError(f"tile {level}/{index} is not {width} wide at size {self.size}")
        return b"".join(self._tree.hashes(level, index, width))

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise LookupError(f"no size {size} in a log of {self.size}")

    def _close(self, stage: Stage) -> None:
        if stage is not self._stage:
            raise IntegrityError("a group that is not the open one")
        self._stage = None


def verify_entries(store: LogReads, first: int, end: int, genesis: bytes) -> None:
    """Re-hash entries *first* to *end* - 1 and compare with their leaf hashes, numbers and links.

    Args:
        store: Read only.
        first: Index of the first entry looked at.
        end: Index after the last one.
        genesis: 32 bytes, ``previous`` of entry 0.

    Raises:
        IntegrityError: The message names the first entry that is wrong.
    """
    link = b"".join(store.leaf_hashes(first - 1, 1)) if first else genesis
    for start in range(first, end, TILE_WIDTH):
        count = min(TILE_WIDTH, end - start)
        entries, leaves = store.read_entries(start, count), store.leaf_hashes(start, count)
        if len(entries) != count or len(leaves) != count:
            raise IntegrityError(f"entries {start} to {start + count - 1} are not all in the database")
        for index, (entry, leaf) in enumerate(zip(entries, leaves, strict=True), start):
            if leaf_hash(entry) != leaf or not _follows(entry, index, link):
                raise IntegrityError(f"entry {index} is not the one that was logged")
            link = leaf


def _follows(entry: bytes, index: int, link: bytes) -> bool:
    try:
        head = parse_head(entry)
    except RefusedError:
        return False
    return head.index == index and head.previous == link
